"""What ``predict`` tells of each file, by the kind of bundle: as lines for a person and as JSON."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dlapp.inference.bundle import Bundle
from dlapp.inference.predicting import predict, read_pictures

if TYPE_CHECKING:
    from PIL import Image

    from dlapp.inference.reading import Given

_WINDOWS = 12  # that are printed for a picture


class Answer(NamedTuple):
    """What is told of one input.

    Attributes:
        input: the file, or the file and the line or row.
        lines: for a person; the first begins with the input.
        fields: of JSON, beside the input.
        error: why there is no answer.
        note: what the answer is less sure for.
    """

    input: str
    lines: Sequence[str] = ()
    fields: Mapping[str, Any] = {}
    error: str | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON has it."""
        if self.error is not None:
            return {"input": self.input, "error": self.error}
        return {"input": self.input, **self.fields, **({"note": self.note} if self.note else {})}


def tell_classes(bundle: Bundle, files: Sequence[Path], options: argparse.Namespace) -> Iterator[Answer]:
    """The likeliest classes of each input, or the number that is predicted."""
    for one in predict(bundle, files, top=options.top or 1):
        lines, fields = [], {}
        if one.value is not None:
            lines, fields = [f"{one.input}  {one.value:.6g}"], {"value": one.value}
        elif one.error is None:
            lines, fields = _tell_top(one.input, one.top)
        yield Answer(one.input, lines, fields, one.error, one.note)


def tell_windows(bundle: Bundle, files: Sequence[Path], options: argparse.Namespace) -> Iterator[Answer]:
    """The best windows of each picture, drawn with ``--slide`` or ``--draw``."""
    from dlapp.inference import sliding

    signature, windows = bundle.signature, bundle.signature.windows
    assert windows is not None
    least = 0.5 if options.min_score is None else options.min_score
    folder = options.draw or (Path("slides") if options.slide else None)
    for given in read_pictures(bundle, files):
        if given.value is None:
            yield Answer(given.name, error=given.error)
            continue
        try:
            windows.check(*given.value.shape[:2])
        except ValueError as error:
            yield Answer(given.name, error=f"{given.name}: {error}")
            continue
        found = sliding.slide(bundle, given.value, min_score=least)
        rows, columns = found.scores.shape
        lines = [f"{given.name}  {rows} x {columns} windows, {len(found.best)} of them stand out"]
        lines += [_tell_box(one.label, one.probability, one.box) for one in found.best[:_WINDOWS]]
        if len(found.best) > _WINDOWS:
            lines.append(f"  ... and {len(found.best) - _WINDOWS} more (--json has all)")
        fields: dict[str, Any] = {}
        if folder is not None:
            page = sliding.draw(given.value, found, windows, signature.labels, min_score=least)
            fields["drawing"] = _save(page, folder, given.name)
            lines.append(f"Wrote {fields['drawing']}")
        if options.json:  # a map of many windows
            fields["windows"] = [window._asdict() for window in found.best]
            fields["map"] = {"labels": found.labels.tolist(), "scores": found.scores.tolist()}
        yield Answer(given.name, lines, fields)


def tell_objects(bundle: Bundle, files: Sequence[Path], options: argparse.Namespace) -> Iterator[Answer]:
    """The objects in each picture, drawn with ``--draw``."""
    from dlapp.inference.detecting import detect_files

    labels = bundle.signature.labels
    for one in detect_files(bundle, files, min_score=options.min_score, max_overlap=options.max_overlap):
        if one.found is None or one.picture is None:
            yield Answer(one.input, error=one.error)
            continue
        found = one.found
        objects = list(zip(found.labels, found.scores, found.boxes, strict=True))
        many = {0: "nothing found", 1: "1 object"}.get(len(found), f"{len(found)} objects")
        lines = [f"{one.input}  {many}", *(_tell_box(*each) for each in objects)]
        fields: dict[str, Any] = {
            "objects": [{"label": label, "score": score, "box": list(box)} for label, score, box in objects]
        }
        if options.draw is not None:
            from dlapp.drawing import draw_boxes

            texts = [f"{label} {score:.2f}" for label, score, _ in objects]
            page = draw_boxes(one.picture, found.boxes, texts, [labels.index(label) for label in found.labels])
            fields["drawing"] = _save(page, options.draw, one.input)
            lines.append(f"Wrote {fields['drawing']}")
        yield Answer(one.input, lines, fields)


def tell_texts(bundle: Bundle, given: "Sequence[Given]", options: argparse.Namespace) -> Iterator[Answer]:
    """The class of each text, the tags of its words, or the reply to it."""
    from dlapp.inference.reading import answer_texts

    for one in answer_texts(bundle, given, top=options.top or 1, beams=options.beams or 1):
        lines: list[str] = []
        fields: dict[str, Any] = {}
        if one.tags:
            lines = [" ".join(f"{word}/{tag}" for word, tag, _ in one.tags)]
            fields = {"tags": [{"word": word, "tag": tag, "probability": share} for word, tag, share in one.tags]}
        elif one.replies:
            lines = [f"{one.input}  {one.replies[0][0]}"]
            lines += [f"  {score:.4f}  {text}" for text, score in one.replies if score is not None]
            fields = {"reply": one.replies[0][0]}
            if one.replies[0][1] is not None:
                fields["replies"] = [{"text": text, "score": score} for text, score in one.replies]
        elif one.error is None:
            lines, fields = _tell_top(one.input, one.top)
        yield Answer(one.input, lines, fields, one.error, one.note)


def _tell_top(name: str, top: Sequence[tuple[str, float]]) -> tuple[list[str], dict[str, Any]]:
    told = [{"label": label, "probability": share} for label, share in top]
    return [f"{name}  " + "  ".join(f"{label} {share:.4f}" for label, share in top)], {**told[0], "top": told}


def _tell_box(label: str, score: float, box: Sequence[float]) -> str:
    top, left, bottom, right = (round(side) for side in box)
    return f"  {label} {score:.4f}  rows {top} to {bottom}, columns {left} to {right}"


def _save(drawing: "Image.Image", folder: Path, name: str) -> str:
    """Writes a drawing whole into ``folder``, beside those of other pictures of that name."""
    from dlapp.files import next_free, replacing

    folder.mkdir(parents=True, exist_ok=True)
    path = next_free(folder / Path(name).stem, suffix=".png")
    with replacing(path) as beside:
        drawing.save(beside)
    return str(path)
