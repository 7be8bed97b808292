"""A bundle, ready to answer."""

import functools
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from dlapp.errors import BundleError, UnknownName
from dlapp.files import find_folder, sha256
from dlapp.signature import Signature, Tensor

if TYPE_CHECKING:
    import onnxruntime

ROOT = Path("export")
SIGNATURE = "signature.json"
ONNX = "model.onnx"
STEP = "step.onnx"  # of what goes on by one token
DATA = ".data"  # at the end of the name of the file that holds the constants of an ONNX file of more than 2 GiB
SAVED_MODEL = "saved_model/1"  # TensorFlow Serving reads the version from the folder's name
# variant: the option of `dlapp export` that writes it
VARIANTS = {"float32": "--to onnx", "int8": "--quantize int8", "float16": "--float16"}


class Bundle:
    """The ONNX files of a bundle in ONNX Runtime.

    Attributes:
        folder: where it lies.
        signature: what goes in and what comes out.
        variant: which of its forms was opened.
    """

    def __init__(self, folder: str | Path, *, variant: str = "float32", threads: int | None = None) -> None:
        """Opens a bundle.

        Args:
            folder: what ``dlapp export`` wrote.
            variant: ``float32``, or a smaller one that was exported beside it: ``int8`` or ``float16``.
            threads: of ONNX Runtime; one for each processor where it is None.

        Raises:
            BundleError: a file is missing, was altered, or cannot be loaded.
            UnknownName: there is no such variant of any bundle.
        """
        if variant not in VARIANTS:
            raise UnknownName("variant", variant, VARIANTS)
        self.folder, self.variant = Path(folder), variant
        self.signature = Signature.read(self.folder / SIGNATURE)
        name = file_of(ONNX, variant)
        if name not in self.signature.files:
            raise BundleError(
                f"{folder} has no {name}: it was exported without. Export it again with {VARIANTS[variant]}."
            )
        self._session = self._open(name, threads or os.cpu_count() or 1)

    def _open(self, name: str, threads: int) -> "onnxruntime.InferenceSession":
        """One of the files, once it is known to be the one that the signature speaks of."""
        import onnxruntime

        check_files(self.folder, self.signature, only=[name, name + DATA])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(self.folder / name, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes share no base but this
            raise BundleError(f"{self.folder / name} cannot be loaded by ONNX Runtime: {error}") from error
        metadata = session.get_modelmeta().custom_metadata_map
        differs = [key for key, value in self.signature.metadata().items() if metadata.get(key) != value]
        if metadata.get("variant", "float32") != self.variant:
            differs.append("variant")
        if differs:
            raise BundleError(
                f"{self.folder / SIGNATURE} and the metadata of {name} disagree on {', '.join(differs)}. "
                "Export the model again."
            )
        self._check_graph(session, name)
        return session

    def _check_graph(self, session: "onnxruntime.InferenceSession", name: str) -> None:
        """Compares the inputs and outputs of a graph with the signature."""
        told = self.signature.step if name.startswith("step.") else self.signature
        assert told is not None
        for kind, given, wanted in (
            ("inputs", session.get_inputs(), told.inputs),
            ("outputs", session.get_outputs(), told.outputs),
        ):
            found = tuple(
                Tensor(one.name, _DTYPES.get(str(one.type), str(one.type)), tuple(one.shape)) for one in given
            )
            if not _agree(found, wanted):
                raise BundleError(
                    f"{self.folder / SIGNATURE} and {name} disagree on {kind}: {_tell(wanted)}, and {_tell(found)}. "
                    "Export the model again."
                )

    @classmethod
    def find(cls, name: str, *, variant: str = "float32", threads: int | None = None) -> Self:
        """The bundle of that path, or of that name below ``export/``.

        Raises:
            UnknownName: there is none.
            BundleError: a file is missing, was altered, or cannot be loaded.
        """
        return cls(find_folder(name, kind="bundle", root=str(ROOT), holds=SIGNATURE), variant=variant, threads=threads)

    def run(
        self,
        inputs: np.ndarray | Mapping[str, np.ndarray],
        *,
        min_score: float | None = None,
        max_overlap: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Raw values in, final values out.

        Args:
            inputs: (batch, height, width, channels) uint8, (batch, columns) float32 or (batch, time) int32 tokens with
                zeros behind the shorter sequences; where there are several inputs, each under its name.
            min_score, max_overlap: of a detector, instead of the thresholds that were chosen at export.

        Returns:
            The outputs of the signature by name, e.g. ``probabilities`` (batch, classes) float32.

        Raises:
            ValueError: dtype or shape are not those of the signature, or a picture is smaller than the window.
        """
        named = inputs if isinstance(inputs, Mapping) else {self.signature.inputs[0].name: inputs}
        for given in self.signature.inputs:
            if given.name not in named:
                raise ValueError(f"{given.name} is an input of {self.folder}; got {', '.join(named)}.")
            given.check(named[given.name])
            if self.signature.windows is not None:
                self.signature.windows.check(*named[given.name].shape[1:3])
        thresholds = {"min_score": min_score, "max_overlap": max_overlap}
        chosen = {name: np.array(value, np.float32) for name, value in thresholds.items() if value is not None}
        if chosen and self.signature.detection is None:
            raise ValueError(f"{self.folder} finds no boxes: leave {' and '.join(chosen)} out.")
        names = [output.name for output in self.signature.outputs]
        return dict(zip(names, self._session.run(names, {**named, **chosen}), strict=True))

    def start(self, batch_size: int = 1) -> list[np.ndarray]:
        """The states of a language model before its first token: zeros, each (batch, units) float32.

        Raises:
            BundleError: it is no language model that goes on token by token.
        """
        self._check_task("language_model")
        assert self.signature.step is not None
        return [np.zeros((batch_size, int(state.shape[1])), np.float32) for state in self.signature.step.inputs[1:]]

    def encode(self, tokens: np.ndarray) -> list[np.ndarray]:
        """The states that an encoder leaves, each (batch, units) float32: what the answer begins with.

        Args:
            tokens: (batch, time) int32, with zeros behind the shorter sequences.

        Raises:
            BundleError: it is no encoder-decoder.
            ValueError: dtype or shape are not those of the signature.
        """
        self._check_task("sequence_to_sequence")
        return list(self.run(tokens).values())

    def step(self, tokens: np.ndarray, states: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Goes on by one token.

        Args:
            tokens: (batch,) int32, the last token of each sequence.
            states: of :meth:`start`, :meth:`encode` or the step before.

        Returns:
            The probabilities of the token that follows, (batch, classes) float32, and the states for the next step.

        Raises:
            BundleError: the bundle has no such step, or its file is missing, was altered or cannot be loaded.
            ValueError: dtype or shape are not those of the signature.
        """
        session = self._step
        step = self.signature.step
        assert step is not None
        given = {}
        for wanted, values in zip(step.inputs, (tokens, *states), strict=True):
            wanted.check(values)
            given[wanted.name] = values
        probabilities, *after = session.run(None, given)
        return probabilities, after

    @functools.cached_property
    def _step(self) -> "onnxruntime.InferenceSession":
        if self.signature.step is None:
            raise BundleError(f"{self.folder} does {self.signature.task}, which has no steps.")
        return self._open(file_of(STEP, self.variant), threads=1)  # a step is too little work to share

    def _check_task(self, task: str) -> None:
        if self.signature.task != task or self.signature.step is None:
            raise BundleError(f"{self.folder} does {self.signature.task}; only a bundle that does {task} has this.")


_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"} | {
    f"tensor({name})": name for name in ("uint8", "int8", "int32", "int64", "bool")
}


def _agree(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    """Whether names, types and sizes are the same; a size that varies agrees with any."""
    if [(one.name, one.dtype, len(one.shape)) for one in found] != [(o.name, o.dtype, len(o.shape)) for o in wanted]:
        return False
    pairs = (
        pair for one, other in zip(found, wanted, strict=True) for pair in zip(one.shape, other.shape, strict=True)
    )
    return all(given == size for given, size in pairs if isinstance(given, int) and isinstance(size, int))


def _tell(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{tensor.name} {tensor.dtype} ({', '.join(map(str, tensor.shape))})" for tensor in tensors)


def file_of(name: str, variant: str) -> str:
    """``model.onnx`` and ``int8`` -> ``model.int8.onnx``; of ``float32`` the name itself."""
    return name if variant == "float32" else f"{Path(name).stem}.{variant}{Path(name).suffix}"


def variants_of(signature: Signature) -> list[str]:
    """The variants of a bundle's ONNX file, by its signature; none where it has no such file."""
    return [variant for variant in VARIANTS if file_of(ONNX, variant) in signature.files]


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
