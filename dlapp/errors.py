"""What can go wrong, as a tree of exceptions.

::

    DlappError                    the input or the call is wrong: exit status 2
    ├── UnknownName               no such architecture, source, key, model or bundle
    ├── RecipeError               a recipe, or an option that stands for a key of one
    ├── SourceError               a source that cannot be read or does not hold what it should
    │   └── UnreadablePicture     one picture that cannot be decoded, or must not be
    ├── AlreadyExists             something is there that would have to be overwritten
    ├── TrainingError             a run that cannot start, go on or be resumed
    │   └── TrainingDiverged      the loss became NaN or infinite
    ├── ModelError                a network that cannot be read from its file, or has no exported form
    ├── NotInstalled              a runtime that is not on this machine
    ├── NotSupported              a runtime that has no way to run a bundle
    ├── BundleError               a bundle that is incomplete, altered or not a bundle
    └── CheckFailed               a check did not hold: exit status 1
        ├── ParityError           two runtimes gave different answers
        └── MetricDropped         a smaller variant answers worse than it may

A message says the rule, what was received and where, and the remedy, in one or two lines.
"""

from collections.abc import Iterable


class DlappError(Exception):
    """The input or the call is wrong."""

    exit_status = 2


class UnknownName(DlappError):
    """A name that stands for nothing; the message suggests the nearest known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, remedy: str = "") -> None:
        import difflib  # only a mistake needs it

        known = sorted(known, key=_natural)
        folded: dict[str, list[str]] = {}
        for one in known:
            folded.setdefault(one.casefold(), []).append(one)
        close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
        near = [one for key in close for one in folded[key]][:3]
        if near:
            hint = f"Did you mean {' or '.join(near)}?"
        elif known:
            hint = f"Known: {', '.join(known)}."
        else:
            hint = "There is none yet."
        super().__init__(f"unknown {kind} {name!r}. {hint}" + (f" {remedy}" if remedy else ""))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts column2 before column10."""
    import re

    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


class RecipeError(DlappError):
    """A recipe does not say something that can be run."""


class SourceError(DlappError):
    """A source cannot be read or does not hold what it should."""


class UnreadablePicture(SourceError):
    """A picture cannot be decoded, or must not be."""


class AlreadyExists(DlappError):
    """Something is in the way and is not overwritten unless told so."""


class TrainingError(DlappError):
    """A run cannot start, go on or be resumed."""


class TrainingDiverged(TrainingError):
    """The loss became NaN or infinite."""


class ModelError(DlappError):
    """A network cannot be read from its file, or has no exported form."""


class NotInstalled(DlappError):
    """What a runtime is made of is not on this machine."""


class NotSupported(DlappError):
    """A runtime has no way to run this bundle."""


class BundleError(DlappError):
    """A bundle is incomplete, altered or not a bundle."""


class CheckFailed(DlappError):
    """A check did not hold."""

    exit_status = 1


class ParityError(CheckFailed):
    """Two runtimes gave different answers for the same input."""


class MetricDropped(CheckFailed):
    """A smaller variant of a network answers worse than it may."""
