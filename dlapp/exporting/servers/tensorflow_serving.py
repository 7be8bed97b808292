"""TensorFlow Serving: ``models.config``, warm-up requests, and a signature that takes encoded pictures.

The format of the requests: https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dlapp.errors import ParityError
from dlapp.exporting.comparing import TOLERANCE
from dlapp.exporting.recording import StepCase
from dlapp.exporting.servers.names import model_name
from dlapp.files import write_text
from dlapp.inference.bundle import SAVED_MODEL
from dlapp.signature import Signature

CONFIG = "tfserving/models.config"
WARM_UP = "assets.extra/tf_serving_warmup_requests"
ENCODED = "serving_encoded"
_MOST = 8  # requests of each signature


def takes_encoded(signature: Signature) -> bool:
    """Whether there is a signature for encoded pictures: each must have an answer of the same shape."""
    return signature.preprocessing.size is not None and signature.windows is None


def decoding_function(serve: Any, signature: Signature) -> Any:
    """``encoded`` (batch,) JPEG or PNG files -> what ``serve`` gives of each picture, which may differ in size.

    None where pictures have no answers of one shape, or the bundle takes something else.

    Args:
        serve: as :func:`serving_function` gives it.
        signature: of the function.
    """
    if not takes_encoded(signature):
        return None
    answers = {one.name: tf.TensorSpec(one.shape[1:], one.dtype) for one in signature.outputs}

    def answer(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = serve(decode(encoded, signature.preprocessing.channels)[tf.newaxis])
        return {name: values[0] for name, values in outputs.items()}

    def serve_encoded(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        return tf.map_fn(answer, encoded, fn_output_signature=answers)

    return tf.function(serve_encoded, input_signature=[tf.TensorSpec([None], tf.string, name="encoded")])


def decode(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """A JPEG or PNG file as :func:`dlapp.pictures.read` reads it, but for its EXIF orientation.

    Returns:
        (height, width, channels) uint8.
    """

    def from_jpeg() -> tf.Tensor:
        # the default is up to 5 of 255 off what Pillow gives
        rgb = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.pad(rgb, [[0, 0], [0, 0], [0, 1]], constant_values=255)

    def from_png() -> tf.Tensor:
        rgb, alpha = tf.split(tf.io.decode_png(encoded, channels=4), [3, 1], axis=-1)
        # TensorFlow makes 1 or 15 of opaque, not 255, where a channel or an index has 1 or 4 bits
        depth = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 24, 1), tf.uint8)[0], tf.int32)
        opaque = tf.cast(tf.reduce_min(alpha), tf.int32) == tf.bitwise.left_shift(1, depth) - 1
        return tf.concat([rgb, tf.where(opaque, tf.constant(255, tf.uint8), alpha)], axis=-1)

    picture = tf.cond(tf.io.is_jpeg(encoded), from_jpeg, from_png)
    if channels != 4:
        picture = _on_white(tf.cast(picture, tf.int32))
        if channels == 1:  # the luma of ITU-R 601, in 16 bits
            luma = tf.reduce_sum(picture * [19595, 38470, 7471], axis=-1, keepdims=True)
            picture = tf.bitwise.right_shift(luma + 0x8000, 16)
        picture = tf.cast(picture, tf.uint8)
    return tf.ensure_shape(picture, (None, None, channels))


def _on_white(picture: tf.Tensor) -> tf.Tensor:
    """RGBA -> RGB, rounded as Pillow does."""
    rgb, alpha = tf.split(picture, [3, 1], axis=-1)
    mixed = (rgb * alpha + 255 * (255 - alpha) + 128) * 128
    return tf.bitwise.right_shift(mixed + tf.bitwise.right_shift(mixed, 8), 15)


def encode(sample: np.ndarray) -> bytes:
    """A picture as a PNG file."""
    return tf.io.encode_png(sample).numpy()


def write(
    bundle: Path, name: str, signature: Signature, samples: Mapping[str, np.ndarray], steps: StepCase | None
) -> None:
    """Writes ``tfserving/models.config`` and the warm-up requests of ``saved_model/1/``."""
    from google.protobuf import text_format
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    from tensorflow_serving.config import model_server_config_pb2

    model = model_name(name)
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=model, base_path=f"/models/{model}", model_platform="tensorflow")
    (bundle / CONFIG).parent.mkdir()
    write_text(bundle / CONFIG, text_format.MessageToString(config))
    path = bundle / SAVED_MODEL / WARM_UP
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for served, inputs in _requests(signature, samples, steps):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model
            request.model_spec.signature_name = served
            for given, values in inputs.items():
                request.inputs[given].CopyFrom(tf.make_tensor_proto(values))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString(deterministic=True))


def _requests(
    signature: Signature, samples: Mapping[str, np.ndarray], steps: StepCase | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each signature: its name and what it takes, one sample at a time."""
    count = min(len(values) for values in samples.values())
    for number in range(min(count, _MOST)):
        alone = {name: values[number : number + 1] for name, values in samples.items()}
        yield "serving_default", alone
        if takes_encoded(signature):
            yield ENCODED, {"encoded": [encode(alone[signature.inputs[0].name][0])]}
        if steps is not None and signature.step is not None:
            given = (steps.tokens[:, 0], *steps.states)
            rows = (values[number : number + 1] for values in given)
            yield "step", dict(zip((one.name for one in signature.step.inputs), rows, strict=True))


def prove(bundle: Path, signature: Signature, samples: Mapping[str, np.ndarray]) -> None:
    """Compares what ``serving_encoded`` gives of the samples as PNG files with what ``serving_default`` gives.

    Raises:
        ParityError: an answer differs.
    """
    if not takes_encoded(signature):
        return
    (pictures,) = samples.values()
    # the functions live only as long as the object that was loaded
    loaded = tf.saved_model.load(str(bundle / SAVED_MODEL))
    found = loaded.signatures[ENCODED](encoded=tf.constant([encode(picture) for picture in pictures]))
    for number in range(len(pictures)):
        sample = tf.constant(pictures[number : number + 1])
        for name, values in loaded.signatures["serving_default"](**{signature.inputs[0].name: sample}).items():
            # boxes are pixels of some hundreds; float32 sums in another order
            if not np.allclose(found[name][number], values[0], rtol=TOLERANCE, atol=TOLERANCE):
                raise ParityError(
                    f"{ENCODED} gives other {name} of sample {number} as a PNG file than serving_default; no bundle "
                    "was left."
                )
