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
    "labelled:messages.tsv": "labelled:messages.tsv",
}
ELSEWHERE = ("node", "python3", "docker")  # tests of the clients and of the layouts run what these run


def run_line(line: str, monkeypatch) -> None:
    command = shlex.split(line, comments=True)
    if command[0] == "make":
        # the targets do their own set-up, which CI has done; what they would run is looked at
        done = subprocess.run([*command, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert {"demo": "dlapp demo", "test": "-m pytest"}[command[1]] in done.stdout
        return
    if command[0] in ELSEWHERE:
        for path in re.findall(r"export/clients/\S+", line):
            assert (ROOT / path).is_file()
        return
    for source, fewer in SHORTER.items():  # what takes a reader some minutes
        if command[1] == "train" and source in command:
            command[command.index(source)] = fewer
            command += ["--epochs", "1"]
    if command[1] == "verify" and command[3:] == ["--all"]:
        command[3:] = ["--runtime", "onnxruntime", "--runtime", "openvino"]
    if command[1] == "benchmark":
        command += ["--seconds", "0.05", "--runtime", "onnxruntime"]
    if command[1] == "tune":
        command[command.index("--trials") + 1] = "2"
    if "--from" in command:
        command[command.index("--epochs") + 1] = "1"
    if "resnet20" in command:  # other tests train it
        command[command.index("resnet20")] = "lenet5"
        command += ["--epochs", "1"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, line


def _write_passengers(folder: Path) -> None:
    random = np.random.default_rng(0)
    lines = ["Survived,Pclass,Sex,Age,Fare"]
    for _ in range(300):
        rank, sex, age = random.integers(1, 4), random.choice(["male", "female"]), random.uniform(1, 80)
        survived = random.random() < (0.75 if sex == "female" else 0.2)
        cell = "" if random.random() < 0.1 else f"{age:.0f}"
        lines.append(f"{survived:d},{rank},{sex},{cell},{random.uniform(5, 90) / rank:.2f}")
    (folder / "titanic.csv").write_text("\n".join(lines) + "\n")
    new = ["Pclass,Sex,Age,Fare", "3,male,34,7.75", "1,female,,60"]  # a missing cell
    (folder / "passengers.csv").write_text("\n".join(new) + "\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_block_runs(workplace, monkeypatch, capsys):
    digits = load_digits()
    for number, (image, digit) in enumerate(zip(digits.images[:300], digits.target[:300], strict=True)):
        folder = workplace / "pictures" / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(folder / f"{number}.png")
    shutil.copy(workplace / "pictures/7/7.png", workplace / "pictures/7/101.png")
    for number, (image, digit) in enumerate(zip(digits.images[300:420], digits.target[300:420], strict=True)):
        folder = workplace / "letters" / ("l" if digit == 1 else "o" if digit == 0 else "x")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(folder / f"{number}.png")
    strip = np.kron(np.concatenate(digits.images[:6], axis=1) * 255 / 16, np.ones((4, 4))).astype(np.uint8)
    Image.fromarray(strip).save(workplace / "strip.png")
    _write_passengers(workplace)
    (workplace / "messages.tsv").write_text(
        "\n".join(
            f"{'spam' if k % 3 == 0 else 'ham'}\t{'win a prize' if k % 3 == 0 else 'see you'} {k}" for k in range(90)
        )
    )
    (workplace / "names.txt").write_text(
        "\n".join(f"Ka{'lmnrst'[k % 6]}{'aeiou'[k % 5]}{'nrs'[k % 3]}a" for k in range(60))
    )
    Image.fromarray(shapes.load("examples=1").parts["train"].inputs[0]).save(workplace / "street.png")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    assert {language for language, _ in blocks} == {"sh", "python", "toml", "text"}
    for language, block in blocks:
        if language == "python":
            exec(compile(block, "README.md", "exec"), {})
        elif language == "sh":  # tests/test_recipe.py reads the recipe, and texts are what commands printed elsewhere
            for line in block.replace("\\\n", " ").splitlines():
                run_line(line, monkeypatch)
    assert "\n7 0." in capsys.readouterr().out, "the block for ONNX Runtime names the class of a 7"


def _blocks(name: str) -> list[str]:
    return re.findall(r"^```.*?^```$", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_both_languages_have_the_same_blocks_and_pictures():
    assert _blocks("README.zh-CN.md") == _blocks("README.md")
    pictures, zh = (
        re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / name).read_text(encoding="utf-8"))
        for name in ("README.md", "README.zh-CN.md")
    )
    assert pictures == zh


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "notebooks/README.md", "models/README.md"])
def test_every_file_that_is_linked_is_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    for link in links:
        assert ((ROOT / name).parent / link).exists(), link
