"""The README of a bundle: ten lines of code for each runtime."""

from collections.abc import Sequence

from dlapp.signature import Signature

_PICTURE = """\
image = np.asarray(Image.open("picture.png").convert("{mode}")){axes}"""
_BEST = """\
best = probabilities[0].argmax()
print(labels[best], probabilities[0, best])"""
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def render(signature: Signature, name: str, formats: Sequence[str]) -> str:
    """The text of ``README.md``, for the formats that the bundle has."""
    (given,), (output,) = signature.inputs, signature.outputs
    words = {"read": _read(signature), "imports": _imports(signature), "input": given.name, "output": output.name}
    parts = [_head(signature, name)]
    if "onnx" in formats:
        labels = 'labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])\n'
        parts.append(_ONNX.format(**words, **_answer(signature, labels)))
    if "savedmodel" in formats:
        labels = 'labels = json.loads(Path("saved_model/1/assets/signature.json").read_text("utf-8"))["labels"]\n'
        parts.append(_SAVED_MODEL.format(**words, **_answer(signature, labels)))
    return "\n".join(parts)


def _answer(signature: Signature, labels: str) -> dict[str, str]:
    """How labels are read, and how the first answer is printed."""
    if signature.task == "regression":
        return {"labels": "", "show": "print(value[0, 0])"}
    return {"labels": labels, "show": _BEST}


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
        answer=f"Classes: {labels}."
        if labels
        else f"`value` is the {signature.target.name}, in its own unit."
        if signature.target
        else "",
        columns=_columns(signature),
    )


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


_HEAD = """\
# {name}

{architecture}{data}. Raw values go in and final ones come out: resizing and scaling are inside the
graph. `signature.json` says the same to programs, and holds the hashes of the files.

| | name | type | shape |
| --- | --- | --- | --- |
{rows}

{answer}
{columns}`dlapp verify {name}` replays `samples.npz` in every runtime; `parity.json` is what it measured last.
"""

_ONNX = """\
## ONNX Runtime, Python

```python
import json
import numpy as np
import onnxruntime
{imports}
session = onnxruntime.InferenceSession("model.onnx")
{labels}{read}
({output},) = session.run(["{output}"], {{"{input}": {input}}})
{show}
```
"""

_SAVED_MODEL = """\
## SavedModel, TensorFlow without Keras

```python
import json
from pathlib import Path
import numpy as np
import tensorflow as tf
{imports}
{labels}model = tf.saved_model.load("saved_model/1")
{read}
{output} = model.signatures["serving_default"]({input}=tf.constant({input}))["{output}"].numpy()
{show}
```

## TensorFlow Serving

```sh
docker run -p 8501:8501 -v "$PWD/saved_model:/models/model" tensorflow/serving
```
"""
