"""Every code block of the README runs, in the order in which a reader meets it."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dlapp.cli import main
from dlapp.data import shapes

ROOT = Path(__file__).parents[1]
SHORTER = {
    "shapes": "shapes?examples=40&size=48",
    "dates": "dates?examples=60",
    "lines:names.txt": "lines:names.txt",
}


def run_line(line: str, monkeypatch) -> None:
    command = shlex.split(line, comments=True)
    if command[0] == "make":
        # the targets do their own set-up, which CI has done; what they would run is looked at
        done = subprocess.run([*command, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert {"demo": "dlapp demo", "test": "-m pytest"}[command[1]] in done.stdout
        return
    for source, fewer in SHORTER.items():  # what takes a reader some minutes
        if command[1] == "train" and source in command:
            command[command.index(source)] = fewer
            command += ["--epochs", "1"]
    if command[1:] == ["verify", "with-l2", "--all"]:
        command[3:] = ["--runtime", "onnxruntime", "--runtime", "openvino"]
    if command[1] == "benchmark":
        command += ["--seconds", "0.05", "--runtime", "onnxruntime"]
    if command[1] == "tune":
        command[command.index("--trials") + 1] = "2"
    if "--from" in command or "resnet20" in command:
        command[command.index("--epochs") + 1] = "1"
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, line


def _write_houses(folder: Path) -> None:
    random = np.random.default_rng(0)
    lines = ["size,rooms,district,price"]
    for _ in range(300):
        size, rooms, district = (
            random.uniform(30, 200),
            random.integers(1, 7),
            random.choice(["north", "south", "west"]),
        )
        price = 2000 * size + 10_000 * rooms + {"north": 0, "south": 50_000, "west": 90_000}[district]
        lines.append(
            f"{size:.1f},{'' if random.random() < 0.05 else rooms},{district},{price + random.normal(0, 9000):.0f}"
        )
    (folder / "houses.csv").write_text("\n".join(lines) + "\n")
    new = ["size,rooms,district", "80,3,south", "45.5,,east"]  # a missing cell, and a district that is new
    (folder / "new-houses.csv").write_text("\n".join(new) + "\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_block_runs(workplace, monkeypatch, capsys):
    digits = load_digits()
    for number, (image, digit) in enumerate(zip(digits.images[:300], digits.target[:300], strict=True)):
        folder = workplace / "pictures" / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(folder / f"{number}.png")
    shutil.copy(workplace / "pictures/7/7.png", workplace / "pictures/7/0.png")
    for number, (image, digit) in enumerate(zip(digits.images[300:420], digits.target[300:420], strict=True)):
        folder = workplace / "letters" / ("l" if digit == 1 else "o" if digit == 0 else "x")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(folder / f"{number}.png")
    strip = np.kron(np.concatenate(digits.images[:6], axis=1) * 255 / 16, np.ones((4, 4))).astype(np.uint8)
    Image.fromarray(strip).save(workplace / "strip.png")
    _write_houses(workplace)
    (workplace / "names.txt").write_text(
        "\n".join(f"Ka{'lmnrst'[k % 6]}{'aeiou'[k % 5]}{'nrs'[k % 3]}a" for k in range(60))
    )
    Image.fromarray(shapes.load("examples=1").parts["train"].inputs[0]).save(workplace / "street.png")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    assert {language for language, _ in blocks} == {"sh", "python", "toml"}
    for language, block in blocks:
        if language == "python":
            exec(compile(block, "README.md", "exec"), {})
        elif language == "sh":  # tests/test_recipe.py reads the recipe
            for line in block.splitlines():
                run_line(line, monkeypatch)
    assert capsys.readouterr().out.splitlines()[-1].startswith("7 "), "the last block names the class of a 7"


def test_every_picture_and_file_it_names_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (ROOT / path).is_file()
