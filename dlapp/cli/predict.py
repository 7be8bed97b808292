"""``dlapp predict``: a bundle and pictures or tables -> answers, with ONNX Runtime, NumPy and Pillow alone."""

import argparse
import importlib.util
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from dlapp.inference.bundle import Bundle
    from dlapp.inference.predicting import Prediction
    from dlapp.inference.sliding import Map

Item = TypeVar("Item")

HELP = "Predicts the class of pictures, or of the rows of a table; exit status 1 if some of them cannot be read."
_NOTES = 5  # that are printed
_WINDOWS = 12  # that are printed for a picture
_MANY = 100  # from here on a terminal shows a bar


def main(arguments: Sequence[str]) -> int:
    """Runs the verb and gives its exit status."""
    options = _parser().parse_args(arguments)

    from dlapp.cli.console import find_bundle
    from dlapp.inference.bundle import Bundle
    from dlapp.inference.predicting import expand, predict

    bundle = Bundle(find_bundle(options.bundle))
    _check_fits(bundle, options)
    files = expand(options.inputs)
    if bundle.signature.windows is not None:
        return _slide(bundle, files, options)
    answers: list[dict[str, Any]] = []
    notes: list[str] = []
    failed = 0
    for prediction in _with_bar(predict(bundle, files, top=options.top or 1), len(files)):
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
    parser.add_argument("--top", metavar="K", type=_positive, help="how many of the likeliest classes; 1")
    parser.add_argument("--slide", action="store_true", help="draw what a sliding bundle finds over each picture")
    parser.add_argument("--draw", metavar="DIR", help="where to draw with --slide; slides/ where it is left out")
    parser.add_argument("--min-score", metavar="P", type=_share, help="of windows that --slide tells; 0.5")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _check_fits(bundle: "Bundle", options: argparse.Namespace) -> None:
    """Refuses options of sliding bundles with others, and the other way round.

    Raises:
        BundleError: an option is of the other kind.
    """
    from dlapp.errors import BundleError

    if bundle.signature.windows is not None:
        if options.top is not None:
            raise BundleError(f"--top is for one answer a picture; {bundle.folder} slides. Leave it out.")
        return
    given = {"--slide": options.slide, "--draw": options.draw is not None, "--min-score": options.min_score is not None}
    wrong = next((option for option, said in given.items() if said), None)
    if wrong is None:
        return
    remedy = "Leave it out."
    if bundle.signature.task == "classification" and bundle.signature.preprocessing.size is not None:
        name = shlex.quote(bundle.signature.provenance.get("name", "MODEL"))
        remedy = f"Export the model so that it slides: dlapp export {name} --sliding"
    raise BundleError(f"{wrong} is for sliding bundles; {bundle.folder} gives one answer an input. {remedy}")


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


def _slide(bundle: "Bundle", files: "Sequence[Path]", options: argparse.Namespace) -> int:
    """Tells the best windows of each picture, and draws them with ``--slide``."""
    from pathlib import Path

    from dlapp import pictures
    from dlapp.cli.console import print_json
    from dlapp.errors import UnreadablePicture
    from dlapp.files import next_free, replacing
    from dlapp.inference import sliding

    windows = bundle.signature.windows
    assert windows is not None
    least = 0.5 if options.min_score is None else options.min_score
    folder = Path(options.draw or "slides") if options.slide or options.draw else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    answers: list[dict[str, Any]] = []
    failed = 0
    for file in _with_bar(files, len(files)):
        try:
            picture = pictures.read(file, bundle.signature.preprocessing.channels)
            windows.check(*picture.shape[:2])
        except (UnreadablePicture, ValueError) as error:
            failed += 1
            told = str(error) if str(file) in str(error) else f"{file}: {error}"
            answers.append({"input": str(file), "error": told})
            print(f"Error: {told}", file=sys.stderr)
            continue
        found = sliding.slide(bundle, picture, min_score=least)
        answer: dict[str, Any] = {"input": str(file)}
        if folder is not None:
            drawing = next_free(folder / file.stem, suffix=".png")
            page = sliding.draw(picture, found, windows, bundle.signature.labels, min_score=least)
            with replacing(drawing) as beside:
                page.save(beside)
            answer["drawing"] = str(drawing)
        if not options.json:
            _tell_windows(file, found, answer.get("drawing"))
            continue
        answer["windows"] = [window._asdict() for window in found.best]
        answer["map"] = {"labels": found.labels.tolist(), "scores": found.scores.tolist()}
        answers.append(answer)
    if options.json:
        shape = {"window": windows.size, "stride": windows.stride, "labels": bundle.signature.labels}
        print_json({"bundle": str(bundle.folder), **shape, "predictions": answers})
    if failed:
        print(f"{failed} {'input' if failed == 1 else 'inputs'} could not be read.", file=sys.stderr)
    return 1 if failed else 0


def _tell_windows(file: "Path", found: "Map", drawing: str | None) -> None:
    rows, columns = found.scores.shape
    print(f"{file}  {rows} x {columns} windows, {len(found.best)} of them stand out")
    for window in found.best[:_WINDOWS]:
        top, left, bottom, right = window.box
        print(f"  {window.label} {window.probability:.4f}  rows {top} to {bottom}, columns {left} to {right}")
    if len(found.best) > _WINDOWS:
        print(f"  ... and {len(found.best) - _WINDOWS} more (--json has all)")
    if drawing is not None:
        print(f"Wrote {drawing}")


def _as_dict(prediction: "Prediction") -> dict[str, Any]:
    if prediction.error is not None:
        return {"input": prediction.input, "error": prediction.error}
    note = {"note": prediction.note} if prediction.note else {}
    if prediction.value is not None:
        return {"input": prediction.input, "value": prediction.value, **note}
    top = [{"label": label, "probability": share} for label, share in prediction.top]
    return {"input": prediction.input, **top[0], "top": top, **note}


def _with_bar(items: Iterable[Item], total: int) -> Iterable[Item]:
    if total < _MANY or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        return items
    import rich.progress
    from rich.console import Console

    return rich.progress.track(items, "predicting", total=total, console=Console(stderr=True), transient=True)
