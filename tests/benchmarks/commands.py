"""How long a command takes from cold, against the least that its work needs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tests.benchmarks.timing import interleave, tell

_BARE = """
import sys
import numpy as np, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
image = np.asarray(Image.open(sys.argv[2]).convert("L"))[np.newaxis, ..., np.newaxis]
print(session.run(None, {"image": image})[0].argmax())
"""
_KERAS = """
import sys
import keras, numpy as np
from PIL import Image
model = keras.models.load_model(sys.argv[1] + "/model.keras")
image = np.asarray(Image.open(sys.argv[2]).convert("L").resize((32, 32)), "float32")[np.newaxis, ..., np.newaxis]
print(model.predict(image / 255, verbose=0).argmax())
"""


def run(folder: Path) -> None:
    """Compares ``--help`` and ``predict`` on one picture with bare scripts."""

    def python(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)

    python("-m", "dlapp", "train", "lenet5", "--data", "digits", "--epochs", "1", "--name", "lenet")
    python("-m", "dlapp", "export", "lenet")
    Image.fromarray((load_digits().images[0] * 255 / 16).astype(np.uint8)).save(folder / "digit.png")
    command = str(Path(sys.executable).with_name("dlapp"))
    best = interleave(
        {
            "help": lambda: subprocess.run([command, "--help"], check=True, capture_output=True),
            "imports": lambda: python("-c", "import typer, rich.console"),
            "predict": lambda: subprocess.run(
                [command, "predict", "lenet", "digit.png"], cwd=folder, check=True, capture_output=True
            ),
            "bare": lambda: python("-c", _BARE, "export/lenet", "digit.png"),
            "keras": lambda: python("-c", _KERAS, "models/lenet", "digit.png"),
        },
        turns=7,
    )
    tell("dlapp --help / import typer, rich.console", best["help"] / best["imports"], "at most 1.5")
    tell("dlapp predict / bare onnxruntime script", best["predict"] / best["bare"], "at most 1.5")
    tell("loading model.keras and predicting / dlapp predict", best["keras"] / best["predict"], "at least 8")
