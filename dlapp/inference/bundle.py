"""A bundle, ready to answer."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Self

import numpy as np

from dlapp.errors import BundleError
from dlapp.files import find_folder, sha256
from dlapp.signature import Signature

ROOT = Path("export")
SIGNATURE = "signature.json"
ONNX = "model.onnx"


class Bundle:
    """The ONNX file of a bundle in ONNX Runtime.

    Attributes:
        folder: where it lies.
        signature: what goes in and what comes out.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None) -> None:
        """Opens a bundle.

        Args:
            folder: what ``dlapp export`` wrote.
            threads: of ONNX Runtime; one for each processor where it is None.

        Raises:
            BundleError: a file is missing, was altered, or cannot be loaded.
        """
        import onnxruntime

        self.folder = Path(folder)
        self.signature = Signature.read(self.folder / SIGNATURE)
        if ONNX not in self.signature.files:
            raise BundleError(f"{folder} has no {ONNX}: it was exported without. Export it again with --to onnx.")
        check_files(self.folder, self.signature, only=[ONNX])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                self.folder / ONNX, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own classes share no base but this
            raise BundleError(f"{self.folder / ONNX} cannot be loaded by ONNX Runtime: {error}") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        differs = [key for key, value in self.signature.metadata().items() if metadata.get(key) != value]
        if differs:
            raise BundleError(
                f"{self.folder / SIGNATURE} and the metadata of {ONNX} disagree on {', '.join(differs)}. "
                "Export the model again."
            )

    @classmethod
    def find(cls, name: str, *, threads: int | None = None) -> Self:
        """The bundle of that path, or of that name below ``export/``.

        Raises:
            UnknownName: there is none.
            BundleError: a file is missing, was altered, or cannot be loaded.
        """
        return cls(find_folder(name, kind="bundle", root=str(ROOT), holds=SIGNATURE), threads=threads)

    def run(
        self, inputs: np.ndarray, *, min_score: float | None = None, max_overlap: float | None = None
    ) -> dict[str, np.ndarray]:
        """Raw values in, final values out.

        Args:
            inputs: (batch, height, width, channels) uint8 or (batch, columns) float32.
            min_score, max_overlap: of a detector, instead of the thresholds that were chosen at export.

        Returns:
            The outputs of the signature by name, e.g. ``probabilities`` (batch, classes) float32.

        Raises:
            ValueError: dtype or shape are not those of the signature, or a picture is smaller than the window.
        """
        given = self.signature.inputs[0]
        given.check(inputs)
        if self.signature.windows is not None:
            self.signature.windows.check(*inputs.shape[1:3])
        thresholds = {"min_score": min_score, "max_overlap": max_overlap}
        chosen = {name: np.array(value, np.float32) for name, value in thresholds.items() if value is not None}
        if chosen and self.signature.detection is None:
            raise ValueError(f"{self.folder} finds no boxes: leave {' and '.join(chosen)} out.")
        names = [output.name for output in self.signature.outputs]
        return dict(zip(names, self._session.run(names, {given.name: inputs, **chosen}), strict=True))


def check_files(folder: Path, signature: Signature, *, only: Collection[str] | None = None) -> None:
    """Compares the files of a bundle with the hashes in its signature.

    Args:
        folder: the bundle.
        signature: of the bundle.
        only: the files to look at; all of them where it is None.

    Raises:
        BundleError: a file is missing or was altered.
    """
    for name, expected in signature.files.items():
        if only is not None and name not in only:
            continue
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name} is missing: the bundle is not complete. Export the model again.")
        if sha256(folder / name) != expected:
            raise BundleError(
                f"{folder / name} was altered: its SHA-256 is not the one in {SIGNATURE}. Export the model again."
            )
