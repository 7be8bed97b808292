"""Running text, which a language model learns to go on with: ``text:FILE`` and ``pydoc``."""

import hashlib
import platform

from dlapp import texts
from dlapp.data.examples import Loaded
from dlapp.data.text_files import digest_of, files_by_split, parse_options, text_examples

_PYDOC = "pydoc"


def load(rest: str) -> Loaded:
    """Reads ``FILE?encoding=utf-8``, or the text of ``pydoc``.

    A text is one example, whatever its length. Where the names of several files, with commas between, or of the .txt
    files of a folder tell of splits, each split is one text.

    Args:
        rest: the file or ``pydoc``.

    Raises:
        SourceError: a file cannot be read, is empty or of another encoding.
    """
    if rest == _PYDOC:
        return _load_pydoc()
    place, options = parse_options(rest, {"encoding": "utf-8"}, source="text:")
    by_split = files_by_split(place, [".txt"], source="text:")
    parts = {
        split: text_examples(
            ["\n".join(texts.read(path, options["encoding"]) for path in paths)], origins=[str(paths[0])]
        )
        for split, paths in by_split.items()
    }
    return Loaded(parts, (), digest_of(by_split), task="language_model")


def _load_pydoc() -> Loaded:
    """The English text of Python's own documentation topics, one behind the other in the order of the alphabet."""
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n"
    note = f"the text is that of Python {platform.python_version()}; other versions have others."
    return Loaded(
        {"train": text_examples([text], origins=[_PYDOC])},
        (),
        hashlib.sha256(text.encode()).hexdigest(),
        task="language_model",
        notes=(note,),
    )
