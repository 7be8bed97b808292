"""``dlapp predict``: a bundle and pictures or tables -> answers, with ONNX Runtime, NumPy and Pillow alone."""

import argparse
import importlib.util
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dlapp.inference.bundle import Bundle

Item = TypeVar("Item")

HELP = (
    "Predicts the class of pictures or the objects in them, or answers for the rows of a table; exit status 1 if some "
    "of them cannot be read."
)
_NOTES = 5  # that are printed
_MANY = 100  # from here on a terminal shows a bar


def main(arguments: Sequence[str]) -> int:
    """Runs the verb and gives its exit status."""
    options = _parser().parse_args(arguments)

    from dlapp.cli import predictions
    from dlapp.cli.console import find_bundle, print_json
    from dlapp.inference.bundle import Bundle
    from dlapp.inference.predicting import expand

    bundle = Bundle(find_bundle(options.bundle))
    _check_fits(bundle, options)
    files = expand(options.inputs)
    tell = predictions.tell_classes
    if bundle.signature.windows is not None:
        tell = predictions.tell_windows
    elif bundle.signature.detection is not None:
        tell = predictions.tell_objects
    answers: list[dict[str, Any]] = []
    notes: list[str] = []
    failed = 0
    for answer in _with_bar(tell(bundle, files, options), len(files)):
        if options.json:
            answers.append(answer.to_dict())
        else:
            print("".join(f"{line}\n" for line in answer.lines), end="")
        if answer.error is not None:
            failed += 1
            print(f"Error: {answer.error}", file=sys.stderr)
        if answer.note:
            notes.append(f"Note: {answer.input}: {answer.note}")
    print(*notes[:_NOTES], sep="\n", end="\n" if notes else "", file=sys.stderr)
    if len(notes) > _NOTES:
        print(f"... and {len(notes) - _NOTES} more notes (--json has all)", file=sys.stderr)
    if options.json:
        print_json({"bundle": str(bundle.folder), **_shape(bundle, options), "predictions": answers})
    if failed:
        print(f"{failed} {'input' if failed == 1 else 'inputs'} could not be read.", file=sys.stderr)
    return 1 if failed else 0


def _shape(bundle: "Bundle", options: argparse.Namespace) -> dict[str, Any]:
    """What the answers of a bundle have in common."""
    signature = bundle.signature
    if signature.windows is not None:
        return {"window": signature.windows.size, "stride": signature.windows.stride, "labels": signature.labels}
    if signature.detection is None:
        return {}
    chosen = {"min_score": options.min_score, "max_overlap": options.max_overlap}
    said = {key: getattr(signature.detection, key) if value is None else value for key, value in chosen.items()}
    return {"labels": signature.labels, **said}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dlapp predict", description=HELP, allow_abbrev=False)
    parser.add_argument("bundle", metavar="BUNDLE", help="a folder, or its name below export/")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="pictures, folders of them or globs; .csv or .npy for a bundle of rows",
    )
    parser.add_argument("--top", metavar="K", type=_positive, help="how many of the likeliest classes; 1")
    parser.add_argument("--slide", action="store_true", help="draw what a sliding bundle finds over each picture")
    parser.add_argument(
        "--draw",
        metavar="DIR",
        type=Path,
        help="where to draw what was found; with --slide slides/ where it is left out",
    )
    parser.add_argument(
        "--min-score", metavar="P", type=_share, help="of what is told; 0.5 of windows, chosen at export of objects"
    )
    parser.add_argument(
        "--max-overlap", metavar="P", type=_share, help="of two objects of a class (IoU); chosen at export"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _check_fits(bundle: "Bundle", options: argparse.Namespace) -> None:
    """Refuses options that are for bundles of another kind.

    Raises:
        BundleError: there is one.
    """
    from dlapp.errors import BundleError

    signature, folder = bundle.signature, bundle.folder
    given = {
        "--top": options.top is not None,
        "--slide": options.slide,
        "--draw": options.draw is not None,
        "--min-score": options.min_score is not None,
        "--max-overlap": options.max_overlap is not None,
    }
    if signature.detection is not None:
        wrong = {
            "--top": f"--top is for one answer a picture; {folder} finds objects. Leave it out.",
            "--slide": f"--slide is for sliding bundles; {folder} finds objects: --draw DIR draws them.",
        }
        if signature.task == "localization":
            wrong["--max-overlap"] = (
                f"--max-overlap is for several objects; {folder} finds one a picture. Leave it out."
            )
    elif signature.windows is not None:
        wrong = {
            "--top": f"--top is for one answer a picture; {folder} slides. Leave it out.",
            "--max-overlap": f"--max-overlap is for bundles that find objects; {folder} slides. Leave it out.",
        }
    else:
        remedy = "Leave it out."
        if signature.task == "classification" and signature.preprocessing.size is not None:
            name = shlex.quote(signature.provenance.get("name", "MODEL"))
            remedy = f"Export the model so that it slides: dlapp export {name} --sliding"
        what = f"{folder} gives one answer an input"
        wrong = {
            "--slide": f"--slide is for sliding bundles; {what}. {remedy}",
            "--draw": f"--draw is for sliding bundles and those that find objects; {what}. {remedy}",
            "--min-score": f"--min-score is for sliding bundles and those that find objects; {what}. {remedy}",
            "--max-overlap": f"--max-overlap is for bundles that find objects; {what}. Leave it out.",
        }
    for option, told in wrong.items():
        if given[option]:
            raise BundleError(told)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a positive number; got {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1; got {text!r}")
    return share


def _with_bar(items: Iterable[Item], total: int) -> Iterable[Item]:
    if total < _MANY or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        return items
    import rich.progress
    from rich.console import Console

    return rich.progress.track(items, "predicting", total=total, console=Console(stderr=True), transient=True)
