"""``models/<name>/``: what a run leaves, by name."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlapp.errors import TrainingError
from dlapp.files import find_folder
from dlapp.recipe import Recipe
from dlapp.signature import Signature

if TYPE_CHECKING:
    import keras

ROOT = Path("models")
RESULTS_FORMAT = 1  # of results.json


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """The files of a run.

    Beside what a person reads there are ``signature.json`` (labels and measured preprocessing) and
    ``samples.npz`` (a few raw inputs), so that exporting needs neither the data nor a second
    measurement.
    """

    path: Path

    @classmethod
    def find(cls, name: str) -> "ModelFolder":
        """The folder of that path, or of that name below ``models/``.

        Raises:
            UnknownName: there is none with a recipe in it.
        """
        return cls(find_folder(name, kind="model", root=str(ROOT), holds="recipe.toml"))

    @classmethod
    def of_bundle(cls, signature: Signature) -> "ModelFolder | None":
        """The model that a bundle was exported from, if it is still below ``models/`` as it was then.

        Args:
            signature: of the bundle.
        """
        folder = cls(ROOT / str(signature.provenance.get("name")))
        if not folder.metrics.is_file():
            return None
        return folder if folder.gave(signature) else None

    def gave(self, signature: Signature) -> bool:
        """Whether the bundle with this signature was exported from the run as it is now."""
        trained = self.read_signature().provenance  # exporting adds to it
        return all(signature.provenance.get(key) == value for key, value in trained.items())

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def model(self) -> Path:
        return self.path / "model.keras"

    @property
    def signature(self) -> Path:
        return self.path / "signature.json"

    @property
    def samples(self) -> Path:
        return self.path / "samples.npz"

    @property
    def history(self) -> Path:
        return self.path / "history.csv"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def diagnosis(self) -> Path:
        return self.path / "diagnosis.json"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def card(self) -> Path:
        return self.path / "README.md"

    @property
    def last_model(self) -> Path:
        return self.path / "last" / "model.keras"

    @property
    def last_state(self) -> Path:
        return self.path / "last" / "state.json"

    def stage(self, name: str) -> "ModelFolder":
        """Where a stage of a transfer is trained: ``head`` or ``fine-tuning``."""
        return ModelFolder(self.path / "last" / name)

    def read_recipe(self) -> Recipe:
        """The resolved recipe."""
        return Recipe.read(self.recipe)

    def read_signature(self) -> Signature:
        """Labels and preprocessing."""
        self._check_finished()
        return Signature.read(self.signature)

    def read_metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        self._check_finished()
        return json.loads(self.metrics.read_text(encoding="utf-8"))

    def read_samples(self) -> np.ndarray:
        """A batch of raw inputs: (n, height, width, channels) uint8 or (n, columns) float32."""
        with np.load(self.samples, allow_pickle=False) as archive:
            return archive["inputs"]

    def load_model(self) -> "keras.Model":
        """The network with the weights that were best on dev.

        Raises:
            TrainingError: the run is not finished.
            ModelError: the file cannot be read.
        """
        self._check_finished()
        from dlapp.architectures.loading import load_model  # the rest of this file needs no Keras

        return load_model(self.model)

    def _check_finished(self) -> None:
        if not self.metrics.exists():
            command = f"dlapp train {shlex.quote(str(self.recipe))}"
            if not self.last_state.is_file():
                raise TrainingError(
                    f"no run has begun in {self.path}, which holds a recipe alone. Begin with: {command}"
                )
            raise TrainingError(f"the run in {self.path} is not finished. Go on with: {command} --resume")
