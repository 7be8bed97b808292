"""What the README of a bundle says of its layouts: the command for each server's container, and a request."""

from collections.abc import Sequence

from dlapp.exporting.servers import kserve, tensorflow_serving, triton
from dlapp.exporting.servers.names import TYPES, model_name, service_name
from dlapp.signature import Signature

_TOKENS = 'tokens = np.array([[2, 3, 4]], "int32")  # as above'


def describe(
    signature: Signature, name: str, formats: Sequence[str], layouts: Sequence[str], *, read: str, imports: str
) -> list[str]:
    """A section for each layout.

    Args:
        signature: of the bundle.
        name: of the bundle.
        formats, layouts: that it has.
        read: code that reads a raw input, of a bundle that takes no texts.
        imports: what that needs.
    """
    given = signature.inputs[0]
    model, service = model_name(name), service_name(name)
    if signature.preprocessing.vocabulary is not None:
        read, imports = _TOKENS, ""
    elif signature.task == "tensors":
        read, imports = f'{given.name} = np.load("samples.npz")["{given.name}"]', ""
    words = {"model": model, "input": given.name, "read": read, "imports": imports, "type": TYPES[given.dtype]}
    parts = []
    if "tfserving" in layouts:
        encoded = tensorflow_serving.takes_encoded(signature)
        parts.append(_TENSORFLOW_SERVING.format(**words) + (_ENCODED if encoded else _ROWS).format(**words))
    if "triton" in layouts:
        served = model if "onnx" in formats else f"{model}-savedmodel"
        parts.append(
            _TRITON.format(
                **words,
                served=served,
                release=triton.RELEASE,
                models=_models(signature, model, formats),
            )
        )
    if "kserve" in layouts:
        url = f"v1/models/{service}:predict" if "tfserving" in layouts else f"v2/models/{model}/infer"
        parts.append(_KSERVE.format(manifest=kserve.MANIFEST, service=service, url=url))
    return parts


def _models(signature: Signature, model: str, formats: Sequence[str]) -> str:
    """What the models of the repository are."""
    parts = []
    if "onnx" in formats:
        parts.append(f"`{model}` is the ONNX file.")
    if "savedmodel" in formats:
        parts.append(
            f"`{model}-savedmodel` is the SavedModel. {triton.RELEASE} is the last release that has TensorFlow; for a "
            "newer one export with `--to onnx,triton`."
        )
    if signature.step is not None:
        ends = [end for end, format_ in (("", "onnx"), ("-savedmodel", "savedmodel")) if format_ in formats]
        names = " and ".join(f"`{model}-step{end}`" for end in ends)
        parts.append(f"{names} go on by one token: `token` is (batch, 1), states go from answer to request.")
    if any(isinstance(size, str) for size in signature.inputs[0].shape[1:]):
        parts.append("Requests that come together share a batch where their inputs have the same shape.")
    if signature.detection is not None:
        parts.append("`count` is (batch, 1); thresholds are those of the export.")
    parts.append(f"A request has up to {triton.MOST} examples.")
    return "\n".join(f"- {part}" for part in parts)


_TENSORFLOW_SERVING = """\
## TensorFlow Serving

```sh
docker run --rm -p 8501:8501 -v "$PWD/saved_model:/models/{model}" -v "$PWD/tfserving:/config" \\
  tensorflow/serving --model_config_file=/config/models.config
```

"""

_ENCODED = """\
`serving_encoded` takes JPEG and PNG files of any size, and does not turn them as their EXIF data say:

```sh
echo '{{"signature_name": "serving_encoded", "instances": [{{"encoded": {{"b64": "'"$(base64 < picture.png |
  tr -d '\\n')"'"}}}}]}}' | curl -d @- http://localhost:8501/v1/models/{model}:predict
```
"""

_REQUEST = """\
```python
import json
import urllib.request
import numpy as np
{{imports}}
{{read}}
body = {body}
request = urllib.request.Request("http://localhost:{url}", json.dumps(body).encode())
with urllib.request.urlopen(request) as answer:
    print(json.load(answer)["{answer}"][0])
```
"""

_ROWS = _REQUEST.format(
    body='{{"instances": {input}.tolist()}}', url="8501/v1/models/{model}:predict", answer="predictions"
)

_TRITON = """\
## Triton

```sh
docker run --rm -p 8000:8000 -v "$PWD/triton:/models" nvcr.io/nvidia/tritonserver:{release}-py3 \\
  tritonserver --model-repository=/models
```

{models}

""" + _REQUEST.format(
    body='{{"inputs": [{{"name": "{input}", "shape": {input}.shape, "datatype": "{type}", "data": {input}.ravel()'
    ".tolist()}}]}}",
    url="8000/v2/models/{served}/infer",
    answer="outputs",
)

_KSERVE = """\
## KServe

```sh
kubectl apply -f {manifest}
kubectl get inferenceservice {service} -o jsonpath='{{.status.url}}'
```

Copy this folder to where `storageUri` in the manifest says, or change that first. What the second command prints,
with `/{url}` behind it, takes the requests above.
"""
