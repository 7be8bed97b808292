"""The command line in this process, and one small model that went the whole way."""

import os

import numpy as np
import pytest
from PIL import Image

from dlapp.cli import main


@pytest.fixture
def dlapp(monkeypatch, capfd):
    """Runs ``dlapp ARGUMENT...`` and gives (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["dlapp", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def write_stripes(folder, *, each: int = 40, size: int = 16) -> None:
    """Pictures of two classes that a linear unit tells apart: bright above, bright below."""
    random = np.random.default_rng(0)
    for name, rows in (("above", slice(0, size // 2)), ("below", slice(size // 2, size))):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            picture = random.integers(0, 90, (size, size), np.uint8)
            picture[rows] += 120
            Image.fromarray(picture).save(folder / name / f"{number:02}.png")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A working directory with pictures/, models/stripes and export/stripes; copy it before changing it."""
    from rich.console import Console

    from dlapp.cli.export import export_folder
    from dlapp.recipe import Recipe
    from dlapp.training import preparing, run
    from dlapp.training.model_folder import ModelFolder

    folder = tmp_path_factory.mktemp("trained")
    before = os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    try:
        write_stripes(folder / "pictures")
        values = {"architecture": "logistic_unit", "data": "folder:pictures", "training": {"epochs": 3}}
        model = ModelFolder(folder / "models" / "stripes")
        with (folder / "log").open("w") as log:
            run.train(preparing.prepare(Recipe.from_values(values)), model, Console(file=log))
        export_folder(model, folder / "export" / "stripes")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def copy_of_trained(trained, tmp_path, monkeypatch):
    """``trained``, to change at will, as the working directory."""
    import shutil

    folder = shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(folder)
    return folder
