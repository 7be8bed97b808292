"""What every test stands on: seeds, a fresh Keras session, and the data sets where they lie."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import pytest

_LONGEST = ("test_readme.py", "test_notebooks.py")
DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    """The longest first, so that no worker ends alone with it."""
    items.sort(key=lambda item: (item.path.name not in _LONGEST, item.path.parent.name != "training"))


@pytest.fixture(autouse=True)
def _fresh_session():
    """Seeds Python, NumPy and TensorFlow and forgets the models of the test before."""
    keras.backend.clear_session(free_memory=False)  # collecting garbage takes 0.2 s a test
    keras.utils.set_random_seed(0)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty working directory: models/ and export/ of the commands land there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data_set():
    """A folder of real data by its name; skips the test where the sets are not."""

    def find(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"needs the data set {name}")
        return DATA / name

    return find
