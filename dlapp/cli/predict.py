"""``dlapp predict``: a bundle and pictures, tables or texts -> answers, with ONNX Runtime, NumPy and Pillow alone."""

import argparse
import importlib.util
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dlapp.cli.arguments import positive, share

if TYPE_CHECKING:
    from dlapp.inference.bundle import Bundle

Item = TypeVar("Item")

HELP = (
    "Predicts the class of pictures or texts, the objects in pictures, tags, replies, or answers for the rows of a "
    "table; exit status 1 if some of them cannot be read."
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
    from dlapp.inference.reading import gather

    bundle = Bundle(find_bundle(options.bundle), variant=options.variant)
    _check_fits(bundle, options)
    files: list[Any]
    if bundle.signature.preprocessing.vocabulary is not None:
        files = list(gather(options.inputs, encoding=options.encoding or "utf-8", verbatim=options.text))
    else:
        files = expand(options.inputs)
    tell: Callable[[Bundle, Sequence[Any], argparse.Namespace], Iterable[predictions.Answer]]
    tell = predictions.tell_classes
    if bundle.signature.windows is not None:
        tell = predictions.tell_windows
    elif bundle.signature.detection is not None:
        tell = predictions.tell_objects
    elif bundle.signature.preprocessing.vocabulary is not None:
        tell = predictions.tell_texts
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
        help="pictures, folders of them or globs; .csv or .npy for a bundle of rows; for one of texts each is a text, "
        "or a .txt file with a text a line, or - for standard input",
    )
    parser.add_argument("--text", action="store_true", help="every input is a text, also what looks like a file")
    parser.add_argument("--encoding", metavar="NAME", help="of files of text; utf-8")
    parser.add_argument("--beams", metavar="N", type=positive, help="beginnings that are kept of a reply; 1")
    parser.add_argument("--top", metavar="K", type=positive, help="how many of the likeliest classes; 1")
    parser.add_argument("--slide", action="store_true", help="draw what a sliding bundle finds over each picture")
    parser.add_argument(
        "--draw",
        metavar="DIR",
        type=Path,
        help="where to draw what was found; with --slide slides/ where it is left out",
    )
    parser.add_argument(
        "--min-score", metavar="P", type=share, help="of what is told; 0.5 of windows, chosen at export of objects"
    )
    parser.add_argument(
        "--max-overlap", metavar="P", type=share, help="of two objects of a class (IoU); chosen at export"
    )
    parser.add_argument(
        "--variant", metavar="NAME", default="float32", help="a smaller one that was exported too: int8 or float16"
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
        "--text": options.text,
        "--encoding": options.encoding is not None,
        "--beams": options.beams is not None,
    }
    if signature.task == "tensors":
        raise BundleError(
            f"{folder} holds a model that dlapp did not train, and nobody told what its numbers mean: "
            f"dlapp.inference.Bundle({str(folder)!r}).run(...) takes arrays and gives arrays"
        )
    if signature.task == "language_model":
        raise BundleError(f"{folder} makes texts: dlapp generate {shlex.quote(folder.name)} --prompt TEXT")
    if signature.preprocessing.vocabulary is None:
        for option in ("--text", "--encoding", "--beams"):
            if given[option]:
                raise BundleError(f"{option} is for bundles that read texts; {folder} reads none. Leave it out.")
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
    elif signature.preprocessing.vocabulary is not None:
        only = f"is for bundles of pictures; {folder} reads texts. Leave it out."
        wrong = {option: f"{option} {only}" for option in ("--slide", "--draw", "--min-score", "--max-overlap")}
        if signature.task != "classification":
            wrong["--top"] = f"--top is for classes; {folder} does {signature.task}. Leave it out."
        if signature.task != "sequence_to_sequence":
            wrong["--beams"] = f"--beams is for replies; {folder} does {signature.task}. Leave it out."
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


def _with_bar(items: Iterable[Item], total: int) -> Iterable[Item]:
    if total < _MANY or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        return items
    import rich.progress
    from rich.console import Console

    return rich.progress.track(items, "predicting", total=total, console=Console(stderr=True), transient=True)
