"""One sequence a line: ``lines:FILE``, such as names to make more of."""

from dlapp.data.examples import Loaded
from dlapp.data.text_files import digest_of, files_by_split, lines_of, parse_options, text_examples
from dlapp.errors import SourceError


def load(rest: str) -> Loaded:
    """Reads ``FILE?encoding=utf-8``; several files with commas between, or the .txt files of a folder, may be splits.

    Blanks around a line are left out, and so are lines without any text.

    Raises:
        SourceError: a file cannot be read, holds fewer than two lines or is of another encoding.
    """
    place, options = parse_options(rest, {"encoding": "utf-8"}, source="lines:")
    by_split = files_by_split(place, [".txt"], source="lines:")
    parts, empty = {}, 0
    for split, paths in by_split.items():
        lines = [line for path in paths for line in lines_of(path, options["encoding"])]
        kept = [line for line in lines if line.text.strip()]
        if len(kept) < 2:
            raise SourceError(f"{paths[0]} has {len(kept)} lines with text; lines: needs at least 2. text: reads one.")
        # the end of the last line is no line
        empty += len(lines) - len(kept) - len(paths)
        parts[split] = text_examples([line.text.strip() for line in kept], origins=[line.where for line in kept])
    notes = (f"{empty:,} empty lines are left out.",) if empty > 0 else ()
    return Loaded(parts, (), digest_of(by_split), task="language_model", notes=notes)
