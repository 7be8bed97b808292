"""What the README of a bundle that reads texts says: what tokens are, and the lines for each runtime."""

from dlapp.signature import Signature, Vocabulary

_MOST = 100  # tokens that are written


def describe(signature: Signature) -> str:
    """What ``tokens`` are, and the step; nothing for bundles that read something else."""
    vocabulary, step = signature.preprocessing.vocabulary, signature.step
    if vocabulary is None:
        return ""
    text = _TOKENS.format(
        unit=vocabulary.unit,
        marks=_MARKS if vocabulary.marked else "",
        taken="generate` takes the beginning of a" if signature.task == "language_model" else "predict` takes",
    )
    text += _ANSWERS.get(signature.task, "")
    if step is not None:
        names = [", ".join(f"`{tensor.name}`" for tensor in tensors) for tensors in (step.inputs, step.outputs)]
        states = "what `model.onnx` gives" if signature.task == "sequence_to_sequence" else "zeros"
        text += _STEP.format(inputs=names[0], outputs=names[1], states=states)
    return text


def code(signature: Signature, runtime: str) -> str:
    """A program for ``onnx`` or ``savedmodel`` that reads a text and prints the answer, or writes one."""
    lines = list(_LOAD[runtime])
    if runtime == "onnx" and signature.step is not None:
        lines.append('step = onnxruntime.InferenceSession("step.onnx")')
    if signature.task != "language_model":
        lines += _read(signature)
    if signature.step is None:
        lines += ['labels = json.loads(about["labels"])' if runtime == "onnx" else 'labels = about["labels"]']
        lines += [*_RUN[runtime], *(_TAGS if signature.task == "tagging" else _BEST)]
    else:
        lines += _write(signature, runtime)
    if any("string." in line for line in lines):
        lines.insert(1, "import string")
    return "\n".join(lines)


def _read(signature: Signature) -> list[str]:
    vocabulary = signature.preprocessing.vocabulary
    assert vocabulary is not None
    text = '"some text"'
    if "lower" in vocabulary.standardize:
        text += ".lower()"
    if "punctuation" in vocabulary.standardize:
        text += '.translate(str.maketrans("", "", string.punctuation))'
    numbers = "[ids.get(part, 1) for part in parts]"
    if vocabulary.marked:
        numbers = "[2, *(ids.get(part, 1) for part in parts), 3]"
    kept = "" if vocabulary.length is None else f"[:{vocabulary.length}]"
    return [
        'vocabulary = preprocessing["vocabulary"]["tokens"]',
        f"ids = {{token: number for number, token in enumerate(vocabulary) if number >= {vocabulary.reserved}}}",
        f"parts = {text}.split()" if vocabulary.unit == "word" else f"parts = list({text})",
        f'tokens = np.array([{numbers}{kept}], "int32")  # (1, time)',
    ]


def _write(signature: Signature, runtime: str) -> list[str]:
    """Token by token, from the states that it begins with."""
    assert signature.step is not None
    key = "vocabulary" if signature.preprocessing.target_vocabulary is None else "target_vocabulary"
    vocabulary: Vocabulary = getattr(signature.preprocessing, key)
    if signature.task == "sequence_to_sequence":
        states = _ENCODE[runtime]
    else:
        sizes = ", ".join(
            f'"{tensor.name}": np.zeros((1, {tensor.shape[1]}), "float32")' for tensor in signature.step.inputs[1:]
        )
        states = [f"states = {{{sizes}}}"]
    return [
        *states,
        f'tokens = preprocessing["{key}"]["tokens"]',
        f"token, written = {vocabulary.reserved if vocabulary.start is None else vocabulary.start}, []",
        f"for _ in range({_MOST}):",
        *(f"    {line}" for line in _GO_ON[runtime]),
        "    token = int(probabilities[0].argmax())  # dlapp draws among the likely ones, or keeps several",
        *([] if vocabulary.end is None else [f"    if token == {vocabulary.end}:", "        break"]),
        "    written.append(tokens[token])",
        f'print("{"" if vocabulary.unit == "character" else " "}".join(written))',
    ]


_LOAD = {
    "onnx": (
        "import json",
        "import numpy as np",
        "import onnxruntime",
        "",
        'session = onnxruntime.InferenceSession("model.onnx")',
        "about = session.get_modelmeta().custom_metadata_map",
        'preprocessing = json.loads(about["preprocessing"])',
    ),
    "savedmodel": (
        "import json",
        "from pathlib import Path",
        "import numpy as np",
        "import tensorflow as tf",
        "",
        'about = json.loads(Path("saved_model/1/assets/signature.json").read_text("utf-8"))',
        'preprocessing = about["preprocessing"]',
        'model = tf.saved_model.load("saved_model/1")',
    ),
}
_RUN = {
    "onnx": ['(probabilities,) = session.run(["probabilities"], {"tokens": tokens})'],
    "savedmodel": [
        'outputs = model.signatures["serving_default"](tokens=tf.constant(tokens))',
        'probabilities = outputs["probabilities"].numpy()',
    ],
}
_ENCODE = {
    "onnx": (
        "names = [tensor.name for tensor in session.get_outputs()]",
        'states = dict(zip(names, session.run(names, {"tokens": tokens})))',
    ),
    "savedmodel": ('states = model.signatures["serving_default"](tokens=tf.constant(tokens))',),
}
_GO_ON = {
    "onnx": (
        'probabilities, *after = step.run(None, {"token": np.array([token], "int32"), **states})',
        "states = dict(zip(states, after))",
    ),
    "savedmodel": (
        "given = {name: tf.constant(values) for name, values in states.items()}",
        'outputs = model.signatures["step"](token=tf.constant([token]), **given)',
        'probabilities = outputs["probabilities"].numpy()',
        'states = {name: outputs[f"next_{name}"] for name in states}',
    ),
}
_BEST = ["best = probabilities[0].argmax()", "print(labels[best], probabilities[0, best])"]
_TAGS = ["for part, row in zip(parts, probabilities[0]):", "    print(part, labels[row.argmax()], row.max())"]

_TOKENS = """\
`tokens` are numbers of {unit}s: the place of each in `vocabulary.tokens` of `signature.json`, or 1 where it has none.
{marks}Zeros behind a sequence are padding, as far as the longest of a batch. `dlapp {taken} text.
"""
_ANSWERS = {
    "tagging": "`probabilities` are those of each token, and zero at padding.\n",
    "language_model": "`probabilities` are those of the token behind each, and zero at padding.\n",
}
_MARKS = "A sequence begins with 2 and ends with 3. "
_STEP = """\
`step.onnx`, and the signature `step` of the SavedModel, go on by one token: {inputs} become
{outputs}. The first states are {states}.
"""
