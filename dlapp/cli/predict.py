"""``dlapp predict``: a bundle and pictures or tables -> answers, with ONNX Runtime, NumPy and Pillow alone."""

import argparse
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlapp.inference.predicting import Prediction

HELP = "Predicts the class of pictures, or of the rows of a table; exit status 1 if some of them cannot be read."
_NOTES = 5  # that are printed
_MANY = 100  # from here on a terminal shows a bar


def main(arguments: Sequence[str]) -> int:
    """Runs the verb and gives its exit status."""
    options = _parser().parse_args(arguments)

    from dlapp.cli.console import find_bundle
    from dlapp.inference.bundle import Bundle
    from dlapp.inference.predicting import expand, predict

    bundle = Bundle(find_bundle(options.bundle))
    files = expand(options.inputs)
    answers: list[dict[str, Any]] = []
    notes: list[str] = []
    failed = 0
    for prediction in _with_bar(predict(bundle, files, top=options.top), len(files)):
        if options.json:
            answers.append(_as_dict(prediction))
        elif prediction.value is not None:
            print(f"{prediction.input}  {prediction.value:.6g}")
        elif prediction.error is None:
            print(f"{prediction.input}  " + "  ".join(f"{label} {share:.4f}" for label, share in prediction.top))
        if prediction.error is not None:
            failed += 1
            print(f"Error: {prediction.error}", file=sys.stderr)
        if prediction.note:
            notes.append(f"Note: {prediction.input}: {prediction.note}")
    print(*notes[:_NOTES], sep="\n", end="\n" if notes else "", file=sys.stderr)
    if len(notes) > _NOTES:
        print(f"... and {len(notes) - _NOTES} more notes (--json has all)", file=sys.stderr)
    if options.json:
        from dlapp.cli.console import print_json

        print_json({"bundle": str(bundle.folder), "predictions": answers})
    if failed:
        print(f"{failed} {'input' if failed == 1 else 'inputs'} could not be read.", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dlapp predict", description=HELP, allow_abbrev=False)
    parser.add_argument("bundle", metavar="BUNDLE", help="a folder, or its name below export/")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="pictures, folders of them or globs; .csv or .npy for a bundle of rows",
    )
    parser.add_argument("--top", metavar="K", type=_positive, default=1, help="how many of the likeliest classes")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a positive number; got {text!r}")
    return int(text)


def _as_dict(prediction: "Prediction") -> dict[str, Any]:
    if prediction.error is not None:
        return {"input": prediction.input, "error": prediction.error}
    note = {"note": prediction.note} if prediction.note else {}
    if prediction.value is not None:
        return {"input": prediction.input, "value": prediction.value, **note}
    top = [{"label": label, "probability": share} for label, share in prediction.top]
    return {"input": prediction.input, **top[0], "top": top, **note}


def _with_bar(predictions: "Iterator[Prediction]", total: int) -> "Iterable[Prediction]":
    if total < _MANY or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        return predictions
    import rich.progress
    from rich.console import Console

    return rich.progress.track(predictions, "predicting", total=total, console=Console(stderr=True), transient=True)
