"""The notebooks run, are committed as they ran, and are found by the map of the notes."""

import ast
import itertools
import re
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))
_SECONDS = 240  # that one may take on two cores
_LONGEST = 16  # lines of a function; what is longer belongs into dlapp


def _read(path):
    return nbformat.read(path, as_version=4)


def _code(path):
    return [cell for cell in _read(path).cells if cell.cell_type == "code"]


def _headings(path):
    """As a code-hosting site makes anchors of them."""
    text = "\n".join(cell.source for cell in _read(path).cells if cell.cell_type == "markdown")
    return {heading.strip().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}


def _kinds(cell):
    """What a cell shows, without what another machine may give otherwise: numbers, notices, how text was divided."""
    shown = (output for output in cell.outputs if output.get("name") != "stderr")
    kinds = ((output.output_type, output.get("name"), *sorted(output.get("data", {}))) for output in shown)
    return [kind for kind, _ in itertools.groupby(kinds, key=lambda kind: kind)]


def test_there_is_one_a_chapter():
    assert [path.name[:2] for path in NOTEBOOKS] == ["1-", "2-", "3-", "4-", "5-"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the client's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_time_and_shows_what_is_committed(path, tmp_path):
    notebook, committed = _read(path), _code(path)
    began = time.perf_counter()
    NotebookClient(notebook, timeout=_SECONDS, kernel_name="python3").execute(cwd=tmp_path)
    assert time.perf_counter() - began < _SECONDS
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [_kinds(cell) for cell in ran] == [_kinds(cell) for cell in committed]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_was_run_from_top_to_bottom_and_is_small(path):
    cells = _code(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5
    assert path.stat().st_size < 450_000
    text = "".join(output.get("text", "") for output in outputs)
    assert not re.search(r"/tmp/|/home/|/root/|0x[0-9a-f]{6}", text), "paths and addresses of a machine"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_functions_are_formulas(path):
    for cell in _code(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < _LONGEST, f"{node.name} belongs into dlapp"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_map_names_every_section(path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(rf"\({re.escape(path.name)}#(.*?)\)", text))
    assert linked == {heading for heading in _headings(path) if heading != "Next" and not heading[0].isdigit()}
