"""The signature: what goes into a bundle, what comes out, and what happens to it inside.

It is read in every process that predicts, so it is made of plain dataclasses: importing pydantic
would cost such a process more than running the network does.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from dlapp.errors import BundleError
from dlapp.files import write_json

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
Scale = Literal["unit", "standardize", "none"]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A named input or output. A string in ``shape`` names a dimension that varies."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def check(self, array: "np.ndarray") -> None:
        """Compares an array with what is said here.

        Raises:
            ValueError: dtype or shape differ, or there is nothing in the batch.
        """
        fits = array.ndim == len(self.shape) and all(
            size > 0 if isinstance(wanted, str) else size == wanted
            for wanted, size in zip(self.shape, array.shape, strict=True)
        )
        if array.dtype != self.dtype or not fits:
            raise ValueError(f"{self.name} must be {self.dtype} of {self.shape}; got {array.dtype} of {array.shape}.")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What the graph does to raw values before the network sees them.

    Attributes:
        channels: channels of the picture: 1 grey, 3 RGB, 4 RGB and alpha; 0 for rows of a table.
        size: height and width that pictures are resized to (bilinear); None for rows.
        antialias: whether resizing averages over all the pixels that it drops.
        scale: ``unit`` divides by 255, ``standardize`` subtracts ``mean`` and divides by the square
            root of ``variance``, ``none`` leaves the values alone.
        mean, variance: of the training split, one for each channel or column.
    """

    channels: int
    size: tuple[int, int] | None = None
    antialias: bool = False
    scale: Scale = "none"
    mean: tuple[float, ...] = ()
    variance: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Signature:
    """What ``signature.json`` holds, and the metadata of the ONNX file.

    Attributes:
        task: ``classification``.
        inputs, outputs: the tensors of the graph, under the same names in every format.
        labels: the classes, in the order of the last axis of ``probabilities``.
        preprocessing: what the graph does to its input.
        provenance: which model, trained on what, by which versions.
        files: SHA-256 of every file of the bundle that must not change; empty outside of a bundle.
    """

    task: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    files: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def to_dict(self) -> dict[str, Any]:
        """The signature as JSON has it."""
        return {"format": FORMAT, **json.loads(json.dumps(dataclasses.asdict(self)))}

    def metadata(self) -> dict[str, str]:
        """The signature as ONNX metadata: one property a field, its value in JSON."""
        fields = self.to_dict()
        del fields["files"]  # the ONNX file is one of them
        return {key: json.dumps(value, ensure_ascii=False) for key, value in fields.items()}

    def write(self, path: Path) -> None:
        """Writes ``signature.json``."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads ``signature.json``.

        Raises:
            BundleError: the file is missing, is not JSON, or comes from a newer dlapp.
        """
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BundleError(f"{path} is missing: {path.parent} is not complete. Export the model again.") from None
        except ValueError as error:
            raise BundleError(f"{path} is not JSON ({error}). Export the model again.") from error
        return cls.from_dict(fields, where=str(path))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], *, where: str) -> Self:
        """The inverse of :meth:`to_dict`; ``where`` is named in errors."""
        try:
            if fields["format"] > FORMAT:
                raise BundleError(
                    f"{where} has format {fields['format']}; this dlapp reads up to {FORMAT}. Install a newer dlapp."
                )
            pre = fields["preprocessing"]
            return cls(
                task=fields["task"],
                inputs=tuple(Tensor(t["name"], t["dtype"], tuple(t["shape"])) for t in fields["inputs"]),
                outputs=tuple(Tensor(t["name"], t["dtype"], tuple(t["shape"])) for t in fields["outputs"]),
                labels=tuple(fields["labels"]),
                preprocessing=Preprocessing(
                    channels=pre["channels"],
                    size=None if pre["size"] is None else (pre["size"][0], pre["size"][1]),
                    antialias=pre["antialias"],
                    scale=pre["scale"],
                    mean=tuple(pre["mean"]),
                    variance=tuple(pre["variance"]),
                ),
                provenance=fields["provenance"],
                files=fields["files"],
            )
        except (KeyError, TypeError, IndexError) as error:
            raise BundleError(f"{where} is not a signature ({error!r}). Export the model again.") from error


def classification(
    labels: tuple[str, ...], preprocessing: Preprocessing, provenance: Mapping[str, Any] | None = None
) -> Signature:
    """The signature of a classifier of pictures, or of rows where ``preprocessing`` has no size."""
    if preprocessing.size is None:
        given = Tensor("features", "float32", ("batch", len(preprocessing.mean)))
    else:
        given = Tensor("image", "uint8", ("batch", "height", "width", preprocessing.channels))
    return Signature(
        task="classification",
        inputs=(given,),
        outputs=(Tensor("probabilities", "float32", ("batch", len(labels))),),
        labels=labels,
        preprocessing=preprocessing,
        provenance=provenance or {},
    )
