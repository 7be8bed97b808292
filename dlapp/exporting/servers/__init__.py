"""Layouts for servers: what stands beside the files of a bundle so that a server's container takes it as it is."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from dlapp.errors import DlappError, UnknownName
from dlapp.exporting.recording import StepCase
from dlapp.exporting.servers import kserve, tensorflow_serving, triton
from dlapp.exporting.servers.tensorflow_serving import decoding_function
from dlapp.recipe import Format
from dlapp.signature import Signature

__all__ = ["LAYOUTS", "check", "chosen", "decoding_function", "write"]

FORMATS: tuple[str, ...] = get_args(Format)
LAYOUTS = ("tfserving", "triton", "kserve")
# layout: module, and the project that it comes from
_PACKAGES = {"tfserving": ("tensorflow_serving", "tensorflow-serving-api"), "triton": ("tritonclient", "tritonclient")}


def chosen(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Formats and layouts -> formats and layouts with what they need.

    TensorFlow Serving needs the SavedModel; Triton serves the formats that are named, or both. KServe starts one of
    these two in a cluster, whose layout it needs.

    Raises:
        UnknownName: a name is neither, or there is none.
        DlappError: a package is missing.
    """
    unknown = [name for name in names if name not in (*FORMATS, *LAYOUTS)]
    if unknown or not names:
        raise UnknownName("format or layout", unknown[0] if unknown else "", (*FORMATS, *LAYOUTS))
    formats, layouts = set(names) & set(FORMATS), set(names) & set(LAYOUTS)
    if "kserve" in layouts and not layouts & {"tfserving", "triton"}:
        layouts.add("triton" if formats == {"onnx"} else "tfserving")
    if "triton" in layouts and not formats:
        formats = set(FORMATS)
    if "tfserving" in layouts:
        formats.add("savedmodel")
    wanted = tuple(name for name in LAYOUTS if name in layouts)
    found = tuple(name for name in FORMATS if name in formats)
    check(wanted, found)
    return found, wanted


def check(layouts: Sequence[str], formats: Sequence[str]) -> None:
    """Finds what is missing before minutes of work.

    Raises:
        UnknownName: there is no such layout.
        DlappError: a layout lacks a format, another layout or a package.
    """
    for name in layouts:
        if name not in LAYOUTS:
            raise UnknownName("layout", name, LAYOUTS)
        module, project = _PACKAGES.get(name, (None, ""))
        if module is not None and importlib.util.find_spec(module) is None:
            raise DlappError(
                f"the layout {name}{' (kserve starts one)' if 'kserve' in layouts else ''} is written with {project}, "
                "which is not installed: pip install 'dlapp[servers]'."
            )
    if "tfserving" in layouts and "savedmodel" not in formats:
        raise DlappError("the layout tfserving needs the format savedmodel: add it.")
    if "kserve" in layouts and not {"tfserving", "triton"} & set(layouts):
        raise DlappError("the layout kserve needs the layout tfserving or triton: add one.")


def write(
    layouts: Sequence[str],
    bundle: Path,
    name: str,
    signature: Signature,
    samples: Mapping[str, np.ndarray],
    steps: StepCase | None,
    storage_uri: str | None,
) -> None:
    """Writes the layouts beside the formats that are there, and proves what they add to the SavedModel.

    Args:
        layouts: as :func:`chosen` gives them.
        bundle: a folder with the files of its formats.
        name: of the bundle.
        signature: of the bundle.
        samples: raw inputs, by name.
        steps: some steps, of a bundle that has them.
        storage_uri: where KServe finds the folder of the bundle.

    Raises:
        ParityError: the signature that takes encoded pictures gives other answers.
    """
    if "tfserving" in layouts:
        tensorflow_serving.write(bundle, name, signature, samples, steps)
        tensorflow_serving.prove(bundle, signature, samples)
    if "triton" in layouts:  # behind the warm-up requests, which are a part of the SavedModel
        triton.write(bundle, name, signature)
    if "kserve" in layouts:
        kserve.write(bundle, name, storage_uri, served_by="tfserving" if "tfserving" in layouts else "triton")
