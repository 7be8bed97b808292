"""``report.html`` of a network that answers with a sequence: tags, the next token, or another text."""

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dlapp.evaluation import worst_classes
from dlapp.evaluation.sequences import Steps, edit_distance
from dlapp.reporting import plots
from dlapp.reporting.report import Page, write_page

_SAMPLES = 12
_WORDS = 60  # of a sentence that is shown
_ROWS = 30  # of more classes than a matrix has
_ERRORS_ARE = {
    "tagging": "shares of wrong tags of a sentence",
    "language_model": "bits a character of a text",
    "sequence_to_sequence": "shares of replies that are another text",
}


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a text on the page.

    Attributes:
        text: what it is.
        below: what was answered for it.
        wrong: whether that is marked as wrong.
        wanted: what it should have been; told of what is wrong.
    """

    text: str
    below: str = ""
    wrong: bool = False
    wanted: str = ""


@dataclasses.dataclass(frozen=True)
class Sample:
    """A text with its answer.

    Attributes:
        where: file and line, or which example of the split.
        pieces: the text; of a reply what was read.
        wanted: what should have been replied.
        reply: what was replied instead, or the same.
    """

    where: str
    pieces: tuple[Piece, ...]
    wanted: str = ""
    reply: tuple[Piece, ...] = ()


def write_sequence_report(
    path: Path,
    page: Page,
    *,
    steps: Steps,
    inputs: Sequence[str | Sequence[str]],
    wanted: Sequence[str],
    names: Sequence[str],
    generated: Sequence[str] = (),
) -> None:
    """Writes the report of a tagger, a language model or an encoder-decoder.

    Args:
        path: of the page.
        page: what every report tells.
        steps: what the network answers on test.
        inputs: n texts of test, or their words.
        wanted: n texts that were to be replied; nothing for other tasks.
        names: file and line of each.
        generated: texts that a language model made.
    """
    scores, task = page.metrics["test"], page.metrics["task"]
    many = task == "tagging" and "confusion_matrix" not in scores
    if task == "tagging":
        samples = _tagged(steps, inputs, names, page.labels)
    elif task == "sequence_to_sequence":
        samples = _replied(steps, inputs, names, wanted)
    else:
        samples = []
    write_page(
        path,
        "sequence.html.jinja",
        page,
        curves=plots.curves(page.history, "accuracy"),
        confusion=plots.confusion(scores["confusion_matrix"], page.labels) if task == "tagging" and not many else None,
        rows=worst_classes(scores["per_class"])[:_ROWS] if many else scores.get("per_class"),
        confused=scores["confused"][:_ROWS] if many else None,
        samples=samples,
        generated=generated,
        kinds=None,
        errors_are=_ERRORS_ARE[task],
    )


def _tagged(
    steps: Steps, inputs: Sequence[str | Sequence[str]], names: Sequence[str], labels: Sequence[str]
) -> list[Sample]:
    """The sentences with the most wrong tags; others where there are not so many."""
    ends = np.cumsum(steps.lengths)
    wrong = steps.lengths - steps.correct
    found = []
    order: list[int] = np.argsort(-wrong, kind="stable")[:_SAMPLES].tolist()
    for index in order:
        here = slice(ends[index] - steps.lengths[index], ends[index])
        true: list[int] = steps.wanted[here].tolist()
        told: list[int] = steps.predicted[here].tolist()
        pieces = [
            Piece(str(word), labels[answer], answer != tag, labels[tag])
            for word, tag, answer in zip(inputs[index], true, told, strict=False)
        ]
        found.append(Sample(names[index], tuple(pieces[:_WORDS])))
    return found


def _replied(
    steps: Steps, inputs: Sequence[str | Sequence[str]], names: Sequence[str], wanted: Sequence[str]
) -> list[Sample]:
    """The replies that are furthest from what was wanted, and as many from the beginning of test."""
    distances = [edit_distance(reply, text) for reply, text in zip(steps.replies, wanted, strict=True)]
    far = sorted(range(len(wanted)), key=lambda index: -distances[index])
    chosen = [index for index in far[: _SAMPLES // 2] if distances[index]]
    chosen += [index for index in range(len(wanted)) if index not in chosen][: _SAMPLES - len(chosen)]
    return [
        Sample(
            names[index],
            (Piece(str(inputs[index])),),
            wanted[index],
            tuple(_differences(steps.replies[index], wanted[index])),
        )
        for index in chosen
    ]


def _differences(reply: str, wanted: str) -> Iterator[Piece]:
    for kind, begin, end, other, last in difflib.SequenceMatcher(None, reply, wanted, autojunk=False).get_opcodes():
        if kind == "equal":
            yield Piece(reply[begin:end])
        else:
            yield Piece(reply[begin:end] or "\N{NO-BREAK SPACE}", wrong=True, wanted=wanted[other:last])
