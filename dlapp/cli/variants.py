"""``--quantize`` and ``--float16`` of ``dlapp export``: what a variant is calibrated and measured on."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlapp.errors import DlappError, UnknownName

if TYPE_CHECKING:
    import numpy as np

    from dlapp.exporting.variants import Measured, Wanted
    from dlapp.inference.bundle import Bundle
    from dlapp.training.model_folder import ModelFolder

_CALIBRATED_ON = 256  # training examples
_BATCH = 16
_MAX_DROP = 0.01


def chosen_variants(quantize: str | None, *, float16: bool, sliding: bool, max_drop: float | None) -> list[str]:
    """The variants that the options ask for.

    Raises:
        UnknownName: of ``--quantize`` with something else than int8.
        DlappError: options that do not go together.
    """
    if quantize not in (None, "int8"):
        raise UnknownName("--quantize", quantize, ["int8"])
    names = (["int8"] if quantize else []) + (["float16"] if float16 else [])
    if max_drop is not None and not names:
        raise DlappError("--max-drop is for smaller variants: give --quantize int8 or --float16 with it.")
    if names and sliding:
        raise DlappError(
            "--quantize and --float16 are proven on dev, whose examples have a class each and no map: leave --sliding "
            "out."
        )
    return names


def wanted_variants(folder: "ModelFolder", names: Sequence[str], max_drop: float | None) -> "Wanted":
    """The variants ``names`` with the data of the run: calibrated on examples all over train, measured on dev.

    Raises:
        SourceError: the data cannot be read any more, or have changed.
    """
    import numpy as np

    from dlapp.exporting.variants import Wanted
    from dlapp.training.answering_bundles import raw_batches
    from dlapp.training.preparing import load_own_data

    data, signature = load_own_data(folder), folder.read_signature()

    def calibration() -> "Iterator[np.ndarray]":
        count = min(len(data.train), _CALIBRATED_ON)
        places = np.linspace(0, len(data.train) - 1, count).astype(int).tolist()  # those of a class lie together
        return raw_batches(data.train, signature, places, size=_BATCH)

    return Wanted(
        names,
        calibration,
        lambda bundle: measure(bundle, data.dev),
        _MAX_DROP if max_drop is None else max_drop,
    )


def measure(bundle: "Bundle", examples: Any) -> "Measured":
    """The metric that a bundle is judged by."""
    import numpy as np

    from dlapp.exporting.variants import Measured
    from dlapp.training.answering import JUDGED_BY, SMALLER_IS_BETTER, score_answers
    from dlapp.training.answering_bundles import answer

    name = JUDGED_BY[bundle.signature.task]
    answers = answer(bundle, examples)
    if isinstance(answers, np.ndarray) and np.isnan(answers).any():  # too large for float16, which cannot be scored
        value = float("nan")
    else:
        value = score_answers(examples, answers, bundle.signature).get(name)
    return Measured(name, value, len(examples), name in SMALLER_IS_BETTER)


def read_measured(bundle: Path) -> dict[str, Any]:
    """What ``variants.json`` of a bundle holds."""
    from dlapp.exporting.variants import MEASURED

    return json.loads((bundle / MEASURED).read_text(encoding="utf-8"))


def tell_variants(measured: dict[str, Any]) -> str:
    """A line for each variant."""
    metric = measured["metric"]
    before = measured["float32"][metric]
    lines = (
        f"{name}: {100 * found['size_ratio']:.0f} % of the size, {metric.replace('_', ' ')} on dev {found[metric]:.4f} "
        f"(float32 {before:.4f})"
        for name, found in measured["variants"].items()
    )
    return "\n".join(lines)
