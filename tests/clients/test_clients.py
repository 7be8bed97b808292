"""The programs of export/clients/ say what dlapp.inference says, each where its tools are installed."""

import dataclasses
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlapp.architectures import builder
from dlapp.exporting import export
from dlapp.exporting.runtimes import NODE_MODULES
from dlapp.inference.bundle import Bundle
from dlapp.inference.detecting import detect_files
from dlapp.inference.predicting import predict
from dlapp.signature import Column, Detection, Layout, Preprocessing, Target

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "export" / "clients"
COLUMNS = (Column("size"), Column("district", ("1", "north", "sömewhere"), missing=True))
TABLE = Preprocessing(
    0, None, False, "standardize", (90.0, 0.0), (900.0, 1.0), COLUMNS,
    Layout(";", True, ("size", "district", "price"), "price"),
)  # fmt: skip
NUMBERS = Preprocessing(0, None, False, "standardize", (9.0, 1.0, -4.0), (3.0, 4.0, 5.0))
BOXES = Preprocessing(3, (48, 48), True, "unit", letterbox=True)
# name: architecture, what the builder is asked, preprocessing, more of export()
BUNDLES = {
    "lenet5-digits": ("lenet5", {"classes": 3}, Preprocessing(1, (16, 16), scale="unit"), {}),
    "alpha": ("softmax_regression", {"classes": 3}, Preprocessing(4, (8, 8), scale="unit"), {}),
    "numbers": ("softmax_regression", {"classes": 3}, NUMBERS, {}),
    "houses": ("linear_unit", {}, TABLE, {"target": Target("price", 250_000.0, 90_000.0)}),
    "shapes": (
        "yolo_grid",
        {"classes": 3, "boxes": 2},
        BOXES,
        {"detection": Detection((12, 12), ((0.3, 0.3), (0.5, 0.4)), 0.05, 0.2, 6)},
    ),
}
LABELS = ('a "quoted" \\ label', "zwölf", "tab\tno")
PICTURES = ("grey.png", "colours.png", "palette.png", "transparent.png", "photograph.jpg", "turned.jpg")
INPUTS = {
    "lenet5-digits": PICTURES,
    "alpha": PICTURES,
    "numbers": ("numbers.csv",),
    "houses": ("new-houses.csv",),
    "shapes": PICTURES,
}


def _write_inputs(folder: Path) -> None:
    random = np.random.default_rng(2)
    colours = random.integers(0, 256, (40, 60, 4), np.uint8)
    Image.fromarray(colours[..., 0]).save(folder / "grey.png")
    Image.fromarray(colours[..., :3]).save(folder / "colours.png")
    Image.fromarray(colours[..., :3]).convert("P").save(folder / "palette.png")
    Image.fromarray(colours).save(folder / "transparent.png")
    photograph = Image.fromarray(colours[..., :3]).resize((90, 70))
    photograph.save(folder / "photograph.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph.save(folder / "turned.jpg", exif=exif)
    (folder / "numbers.csv").write_text("8,2.5,-4\n1e1, 0 ,+7\n")
    lines = ["district;size", "north;80,5", "1.0;1e2", '"s\u00f6mewhere";-3', "", '"""no""\nwhere";45', ";?", "NA;.5"]
    (folder / "new-houses.csv").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """``export/`` with bundles of random weights and the clients in it; inputs lie beside each client."""
    root = tmp_path_factory.mktemp("clients") / "export"
    random = np.random.default_rng(1)
    for name, (architecture, options, preprocessing, more) in BUNDLES.items():
        size = preprocessing.size
        model = builder(architecture)((*size, preprocessing.channels) if size else (preprocessing.width,), **options)
        for layer in model.layers if architecture != "yolo_grid" else model.layers[-1:]:
            layer.set_weights([random.normal(0, 0.3, weight.shape) for weight in layer.get_weights()])
        shape = (2, 40, 60, preprocessing.channels) if size else (2, len(preprocessing.mean))
        samples = random.integers(0, 2 if name == "houses" else 256, shape).astype(np.uint8 if size else np.float32)
        labels = () if "target" in more else LABELS
        export(model, root / name, labels=labels, preprocessing=preprocessing, samples=samples, **more)
    shutil.copytree(CLIENTS, root / "clients", ignore=shutil.ignore_patterns("node_modules", "client"))
    for client in ("python", "node", "c", "browser"):
        _write_inputs(root / "clients" / client)
        shutil.copy(root / "clients" / client / "grey.png", root / "clients" / client / "picture.png")
    return root


def _link_packages(folder: Path, *names: str) -> None:
    for packages in (CLIENTS / folder.name / "node_modules", NODE_MODULES):
        if all((packages / name / "package.json").is_file() for name in names):
            (folder / "node_modules").symlink_to(packages)
            return
    pytest.skip(f"needs the npm packages {', '.join(names)}: make clients")


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@pytest.fixture(scope="module", params=["python", "node", "c"])
def folder(request, site) -> Path:
    """Of a client, ready to run; commands find this Python first."""
    folder = site / "clients" / request.param
    if request.param == "node":
        _need("node")
        _link_packages(folder, "onnxruntime-node", "onnxruntime-common", "sharp")
    if request.param == "c":
        _need("make", "cc")
        where = find_spec("tensorflow").submodule_search_locations[0]
        _run(folder, f"make CFLAGS=-Werror TENSORFLOW={where}")
    return folder


def _run(folder: Path, command: str, *, fails: bool = False) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, env=environment, encoding="utf-8", timeout=120
    )
    assert (done.returncode != 0) is fails, done.stderr
    return done


COMMANDS = {"python": "python client.py", "node": "node client.mjs", "c": "./client"}


def _expected(bundle: Bundle, files) -> list[tuple]:
    """Name, label and numbers of each line that a client prints."""
    if bundle.signature.detection is None:
        answers = list(predict(bundle, files))
        assert not any(answer.error for answer in answers)
        return [(answer.input, *(answer.top[0] if answer.top else (answer.value,))) for answer in answers]
    return [
        (answer.input, label, score, *box)
        for answer in detect_files(bundle, files)
        for label, score, box in zip(answer.found.labels, answer.found.scores, answer.found.boxes, strict=True)
    ]


def _same(lines: list[str], expected: list[tuple]) -> None:
    # labels may hold a tab: what is expected says where they end
    assert len(lines) == len(expected)
    for line, wanted in zip(lines, expected, strict=True):
        texts = [part for part in wanted if isinstance(part, str)]
        start = "".join(f"{text}\t" for text in texts)
        assert line.startswith(start)
        numbers = line.removeprefix(start).split("\t")
        decimals = [len(number.partition(".")[2]) for number in numbers]
        assert decimals == ([4, 2, 2, 2, 2][: len(numbers)] if len(texts) == 2 else decimals)
        # one more or less in the last digit, since runtimes differ by 1e-5
        atol = [0.015 if len(numbers) == 5 and place else 1.5e-4 for place in range(len(numbers))]
        rtol = 1e-5 if len(texts) == 1 else 0
        difference = np.abs(np.array(numbers, float) - wanted[len(texts) :])
        assert (difference <= np.array(atol) + rtol * np.abs(wanted[len(texts) :])).all(), (line, wanted)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_client_says_what_dlapp_says(folder, name, monkeypatch):
    monkeypatch.chdir(folder)
    expected = _expected(Bundle(f"../../{name}"), [Path(file) for file in INPUTS[name]])
    assert len(expected) >= len(INPUTS[name]), "something is found in the pictures"
    done = _run(folder, f"{COMMANDS[folder.name]} ../../{name} {' '.join(INPUTS[name])}")
    _same(done.stdout.splitlines(), expected)


def test_the_commands_of_the_readme_run(folder):
    (block,) = re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)
    commands = block.splitlines()
    assert len(commands) == 3
    done = [_run(folder, command) for command in commands if "install" not in command]
    assert done[-1].stdout


def _edited(folder: Path, site: Path, name: str, **fields) -> str:
    bundle = shutil.copytree(site / name, folder / f"{name}-edited", dirs_exist_ok=True)
    signature = json.loads((bundle / "signature.json").read_text("utf-8"))
    (bundle / "signature.json").write_text(json.dumps({**signature, **fields}), encoding="utf-8")
    return bundle.name


REFUSED = {
    "newer": ("houses", {"format": 5}, "new-houses.csv", "format"),
    "texts": ("houses", {"task": "tagging"}, "new-houses.csv", "tagging"),
    "windows": ("lenet5-digits", {"windows": {"size": [8, 8], "stride": [2, 2]}}, "grey.png", "slides"),
    "no number": ("numbers", {}, "7,8,9\n7,north,9\n", "line 2 of .*north"),
    "missing": ("numbers", {}, "7,,9\n", "line 1 of .* must be"),
    "a cell too many": ("numbers", {}, "7,8,9\n7,8,9,1\n", "line 2 of .* has 4 cells"),
    "another table": ("houses", {}, "size;price\n1;2\n", "district"),
    "an open quote": ("houses", {}, 'size;district\n1;"north\n', "given"),
    "damaged": ("lenet5-digits", {}, "\x89PNG\r\n\x1a\n no picture", "given"),
    "16 bits": ("lenet5-digits", {}, np.full((5, 6), 40_000, np.uint16), "more than 8 bits"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_client_cannot_do_is_told(folder, site, case):
    name, fields, given, words = REFUSED[case]
    bundle = _edited(folder, site, name, **fields) if fields else f"../../{name}"
    if isinstance(given, np.ndarray):
        Image.fromarray(given).save(folder / "given.png")
        given = "given.png"
    elif not (folder / given).is_file():
        (folder / "given").write_bytes(given.encode("latin-1"))
        given = "given"
    done = _run(folder, f"{COMMANDS[folder.name]} {bundle} {given}", fails=True)
    assert re.search(f"^Error: .*{words}", done.stderr, re.MULTILINE), done.stderr
    assert not done.stdout or case in ("no number", "a cell too many")  # the row before was good
    assert done.returncode == 1


@pytest.mark.parametrize("path", sorted(CLIENTS.glob("*/*.*")), ids=lambda path: path.relative_to(CLIENTS).as_posix())
def test_programs_are_short(path):
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) < 150
    assert max(map(len, lines)) <= 120


@dataclasses.dataclass
class Browsed:
    """What the page showed in each case, the requests by then, and the bundles' folder."""

    report: dict
    requests: list[tuple[str, str]]
    site: Path


CASES = (
    {"name": "lenet5-digits", "dropped": ["/clients/browser/colours.png"]},
    {"name": "shapes", "dropped": ["/clients/browser/colours.png"], "scale": 8},  # 60 pixels are shown as 480
    {"name": "alpha", "dropped": ["/clients/browser/colours.png"]},
    {"name": "houses", "filled": ["45", ""]},
    {"name": "numbers", "filled": ["8", "2.5", "-4"]},
)
PAGE = "/clients/browser/?bundle=../../"
MORE = (
    {"name": "drawn", "url": f"{PAGE}lenet5-digits", "drawn": [[100, 90], [330, 90], [220, 390]]},
    {"name": "opened", "url": "/clients/browser/", "dropped": ["/shapes/model.onnx", "/shapes/signature.json"]},
    {"name": "too early", "url": "/clients/browser/", "dropped": ["/clients/browser/colours.png"]},
    {"name": "no bundle", "url": f"{PAGE}nothing"},
    {"name": "no picture", "url": f"{PAGE}lenet5-digits", "dropped": ["/clients/browser/README.md"]},
)


@pytest.fixture(scope="module")
def browsed(site, tmp_path_factory) -> Browsed:
    """All the cases, in one start of Chromium."""
    _need("chromium")
    _link_packages(site / "clients" / "browser", "onnxruntime-web")
    found, reported = Browsed({}, [], site), threading.Event()
    harness = (Path(__file__).parent / "harness.html").read_bytes()
    cases = json.dumps([*({"url": PAGE + case["name"], **case} for case in CASES), *MORE]).encode()
    answers = {"/harness": harness, "/cases.json": cases, "/until-reported": b""}

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            found.requests.append((self.command, self.path))

        def do_GET(self):
            if self.path not in answers:
                return super().do_GET()
            if self.path == "/until-reported":
                reported.wait(90)
            return self.answer(answers[self.path])

        def do_POST(self):
            found.report |= json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reported.set()
            self.answer(b"")

        def answer(self, content):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    handler = functools.partial(Handler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        profile = tmp_path_factory.mktemp("chromium")
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={profile}", "--window-size=1000,900", f"--screenshot={profile / 'page.png'}",
            f"http://127.0.0.1:{server.server_port}/harness",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        server.shutdown()
    assert found.report, done.stderr
    assert "failed" not in found.report, found.report["failed"]
    return found


@pytest.mark.parametrize("name", [case["name"] for case in CASES])
def test_the_page_says_what_dlapp_says(browsed, name, monkeypatch, tmp_path):
    monkeypatch.chdir(browsed.site / "clients" / "browser")
    bundle = Bundle(f"../../{name}")
    shown = browsed.report[name]
    assert not shown["error"]
    assert shown["heading"] == name
    if bundle.signature.preprocessing.size is not None:
        expected = _expected(bundle, [Path("colours.png")])
        assert shown["bars"] == (len(expected) if name == "shapes" else len(LABELS))
    else:
        (given,) = [case["filled"] for case in CASES if case["name"] == name]
        row = np.array([[np.nan if value == "" else float(value) for value in given]], np.float32)
        np.save(tmp_path / "row.npy", row)
        expected = [("row", *rest) for _, *rest in _expected(bundle, [tmp_path / "row.npy"])]
    _same(shown["lines"], expected)


def test_boxes_are_drawn_over_the_picture(browsed):
    inked = browsed.report["shapes"]["inked"]
    assert inked["sides"]
    assert all(inked["sides"])
    assert not all(inked["corners"]), "what no box covers is left alone"


def test_the_page_takes_drawings_and_files_of_a_bundle(browsed):
    (line,) = browsed.report["drawn"]["lines"]
    assert line.startswith("drawing\t")
    assert browsed.report["opened"] == {"lines": [], "error": "", "bars": 0, "heading": "shapes"}


def test_the_page_says_what_is_wrong(browsed):
    told = {name: browsed.report[name]["error"] for name in ("too early", "no bundle", "no picture")}
    assert told["too early"].startswith("Open a bundle")
    assert "404" in told["no bundle"]
    assert told["no picture"] == "README.md is no picture that this browser reads."


def test_the_page_sends_nothing(browsed):
    assert [path for method, path in browsed.requests if method != "GET"] == ["/report"]  # the test's own
    assert not [path for method, path in browsed.requests if "?" in path and "?bundle=" not in path]
