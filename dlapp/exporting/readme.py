"""The README of a bundle: ten lines of code for each runtime."""

import json
from collections.abc import Sequence

from dlapp.exporting import text_readme
from dlapp.exporting.servers import commands
from dlapp.signature import Signature

_PICTURE = """\
image = np.asarray(Image.open("picture.png").convert("{mode}")){axes}"""
_BEST = """\
best = probabilities[0].argmax()
print(labels[best], probabilities[0, best])"""
_OBJECTS = """\
for number in range(count[0]):
    print(labels[classes[0, number]], scores[0, number], boxes[0, number])  # y1, x1, y2, x2"""
_QUIET = """\
onnxruntime.set_default_logger_severity(3)  # else it warns of inputs that have defaults
"""
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def render(signature: Signature, name: str, formats: Sequence[str], layouts: Sequence[str] = ()) -> str:
    """The text of ``README.md``, for the formats and layouts that the bundle has."""
    coded = signature.preprocessing.vocabulary is not None or signature.task == "tensors"
    words = {"read": "", "imports": ""} if coded else {"read": _read(signature), "imports": _imports(signature)}
    parts = [_head(signature, name), *_formats(signature, formats)]
    if "savedmodel" in formats and "tfserving" not in layouts:
        parts.append(_SERVING)
    return "\n".join([*parts, *commands.describe(signature, name, formats, layouts, **words)])


def _formats(signature: Signature, formats: Sequence[str]) -> list[str]:
    """A section for each format."""
    if signature.preprocessing.vocabulary is not None:
        sections = {"onnx": _ONNX_HEADING, "savedmodel": _SAVED_MODEL_HEADING}
        return [
            heading + _CODE.format(text_readme.code(signature, runtime))
            for runtime, heading in sections.items()
            if runtime in formats
        ]
    if signature.task == "tensors":
        return [_TENSORS[name].format(**_tensor_words(signature)) for name in ("onnx", "savedmodel") if name in formats]
    (given,) = signature.inputs
    words = {"read": _read(signature), "imports": _imports(signature), "input": given.name}
    parts = []
    if "onnx" in formats:
        labels = 'labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])\n'
        names, quoted = _outputs(signature)
        more = _MORE.get(signature.task, "")
        quiet = "" if signature.detection is None else _QUIET
        parts.append(
            _ONNX.format(**words, quiet=quiet, outputs=names, quoted=quoted, more=more, **_answer(signature, labels))
        )
    if "savedmodel" in formats:
        labels = 'labels = json.loads(Path("saved_model/1/assets/signature.json").read_text("utf-8"))["labels"]\n'
        call = f'model.signatures["serving_default"]({given.name}=tf.constant({given.name}))'
        parts.append(_SAVED_MODEL.format(**words, run=_call(signature, call), **_answer(signature, labels)))
    return parts


def _tensor_words(signature: Signature) -> dict[str, str]:
    """Code that reads the inputs of a network of which nothing else is known."""
    given = ", ".join(f'"{tensor.name}": samples["{tensor.name}"]' for tensor in signature.inputs)
    return {"given": "{" + given + "}", "names": json.dumps([tensor.name for tensor in signature.outputs])}


def _outputs(signature: Signature) -> tuple[str, str]:
    """The names that outputs are unpacked to, and the list of them as code."""
    names = [output.name for output in signature.outputs]
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names), json.dumps(names)


def _call(signature: Signature, call: str) -> str:
    """Code that assigns what the SavedModel gives to the names of the outputs."""
    if len(signature.outputs) == 1:
        name = signature.outputs[0].name
        return f'{name} = {call}["{name}"].numpy()'
    names, quoted = _outputs(signature)
    return f"outputs = {call}\n{names} = (outputs[name].numpy() for name in {quoted})"


def _answer(signature: Signature, labels: str) -> dict[str, str]:
    """How labels are read, and how the first answer is printed."""
    if signature.task == "regression":
        return {"labels": "", "show": "print(value[0, 0])"}
    return {"labels": labels, "show": _BEST if signature.detection is None else _OBJECTS}


def _head(signature: Signature, name: str) -> str:
    rows = "\n".join(
        f"| {kind} | `{tensor.name}` | {tensor.dtype} | ({', '.join(map(str, tensor.shape))}) |"
        for kind, tensors in (("input", signature.inputs), ("output", signature.outputs))
        for tensor in tensors
    )
    labels = ", ".join(signature.labels[:10]) + (", ..." if len(signature.labels) > 10 else "")
    return _HEAD.format(
        name=name,
        architecture=signature.provenance.get("architecture", "A network"),
        data=f" trained on `{signature.provenance['data']}`" if "data" in signature.provenance else "",
        rows=rows,
        inside=_OWN
        if signature.task == "tensors"
        else _RAW
        if signature.preprocessing.vocabulary is None
        else _NUMBERS,
        answer=f"Classes: {labels}."
        if labels
        else f"`value` is the {signature.target.name}, in its own unit."
        if signature.target
        else "",
        columns=_columns(signature) + text_readme.describe(signature),
        objects=_objects(signature),
    )


def _objects(signature: Signature) -> str:
    """What the rows of ``boxes`` are."""
    detection = signature.detection
    if detection is None:
        return ""
    text = _BOXES.format(detection=detection)
    if signature.task == "detection":
        text += _OVERLAPS.format(detection=detection)
    return text + ".\n"


def _columns(signature: Signature) -> str:
    """What the columns of ``features`` are."""
    columns = signature.preprocessing.columns
    if not columns:
        return ""
    names = ", ".join(column.name for column in columns)
    text = f"Columns of `features`: {names}. NaN is a missing cell."
    categories = [column for column in columns if column.categories is not None]
    if categories:
        text += (
            " Of a column of categories the value is the index of the category in `signature.json`, "
            f"-1 for any other ({', '.join(column.name for column in categories)}); `dlapp predict` takes text."
        )
    return text + "\n"


def _imports(signature: Signature) -> str:
    return "from PIL import Image\n" if signature.preprocessing.size else ""


def _read(signature: Signature) -> str:
    if signature.preprocessing.size is None:
        columns = len(signature.preprocessing.mean)
        return f'features = np.load("rows.npy").astype("float32")  # (rows, {columns})'
    channels = signature.preprocessing.channels
    axes = "[np.newaxis, ..., np.newaxis]" if channels == 1 else "[np.newaxis]"
    return _PICTURE.format(mode=_MODES[channels], axes=axes) + "  # (1, height, width, channels) uint8, any size"


_RAW = """\
Raw values go in and final ones come out: resizing and scaling are inside the
graph."""
_OWN = "It takes and gives what it did in Keras: nothing is prepared, and nothing decoded."
_NUMBERS = "Numbers of tokens go in and final values come out."

_HEAD = """\
# {name}

{architecture}{data}. {inside} `signature.json` says the same to programs, and holds the hashes of the files.

| | name | type | shape |
| --- | --- | --- | --- |
{rows}

{answer}
{columns}{objects}`dlapp verify {name}` replays `samples.npz` in every runtime; `parity.json` is what it measured last.
"""

_BOXES = """\
Of each picture the first `count` rows are objects, surest first; their boxes are y1, x1, y2, x2 in
pixels of the picture that was given. Objects below a score of {detection.min_score:g} are left out"""

_OVERLAPS = """; of two objects
of a class whose boxes overlap by more than {detection.max_overlap:g} (intersection over union), the
less sure one is too"""

_ONNX_HEADING = "## ONNX Runtime, Python\n\n"
_SAVED_MODEL_HEADING = "## SavedModel, TensorFlow without Keras\n\n"
_CODE = "```python\n{}\n```\n"

_ONNX = (
    _ONNX_HEADING
    + """\
```python
import json
import numpy as np
import onnxruntime
{imports}
{quiet}session = onnxruntime.InferenceSession("model.onnx")
{labels}{read}
{outputs} = session.run({quoted}, {{"{input}": {input}}})
{show}
```
{more}"""
)

_MORE = {
    "detection": """\

Other thresholds are inputs that may be left out: beside `"image": image` stand
`"min_score": np.array(0.5, "float32")` and `"max_overlap": np.array(0.3, "float32")`.
""",
    "localization": """\

Another threshold is an input that may be left out: beside `"image": image` stands
`"min_score": np.array(0.5, "float32")`.
""",
}

_SAVED_MODEL = (
    _SAVED_MODEL_HEADING
    + """\
```python
import json
from pathlib import Path
import numpy as np
import tensorflow as tf
{imports}
{labels}model = tf.saved_model.load("saved_model/1")
{read}
{run}
{show}
```
"""
)

_TENSORS = {
    "onnx": _ONNX_HEADING
    + """\
```python
import numpy as np
import onnxruntime

samples = np.load("samples.npz")  # or inputs of your own, as the table above says
session = onnxruntime.InferenceSession("model.onnx")
for name, values in zip({names}, session.run({names}, {given})):
    print(name, values.shape, values[0])
```
""",
    "savedmodel": _SAVED_MODEL_HEADING
    + """\
```python
import numpy as np
import tensorflow as tf

samples = np.load("samples.npz")  # or inputs of your own, as the table above says
model = tf.saved_model.load("saved_model/1")
given = {{name: tf.constant(values) for name, values in {given}.items()}}
for name, values in model.signatures["serving_default"](**given).items():
    print(name, values.shape, values[0].numpy())
```
""",
}

_SERVING = """\
## TensorFlow Serving

```sh
docker run -p 8501:8501 -v "$PWD/saved_model:/models/model" tensorflow/serving
```
"""
