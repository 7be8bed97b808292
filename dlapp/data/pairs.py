"""A text and what it is to become, a line each: ``pairs:FILE``."""

from dlapp.data.examples import Loaded
from dlapp.data.text_files import digest_of, files_by_split, lines_of, parse_options, text_examples
from dlapp.errors import SourceError


def load(rest: str) -> Loaded:
    """Reads ``FILE?encoding=utf-8``, a tab between source and target; files may be splits, as those of ``lines:``.

    Raises:
        SourceError: a file cannot be read or is of another encoding, or a line has not one tab with text on both sides.
    """
    place, options = parse_options(rest, {"encoding": "utf-8"}, source="pairs:")
    by_split = files_by_split(place, [".txt", ".tsv"], source="pairs:")
    parts, empty = {}, 0
    for split, paths in by_split.items():
        sources, targets, origins = [], [], []
        for path in paths:
            lines = list(lines_of(path, options["encoding"]))
            for number, line in enumerate(lines, start=1):
                if not line.text.strip():
                    empty += number < len(lines)
                    continue
                sides = [side.strip() for side in line.text.split("\t")]
                if len(sides) != 2 or not all(sides):
                    raise SourceError(
                        f"{line.where}: a pair is a text, one tab and another text; got {line.text[:80]!r}. Repair "
                        "the line or remove it."
                    )
                sources.append(sides[0])
                targets.append(sides[1])
                origins.append(line.where)
        if not sources:
            raise SourceError(f"{paths[0]} has no pair: a pair is a text, a tab and another text.")
        parts[split] = text_examples(sources, wanted=targets, origins=origins)
    notes = (f"{empty:,} empty lines are left out.",) if empty else ()
    return Loaded(parts, (), digest_of(by_split), task="sequence_to_sequence", notes=notes)
