"""Dates as people write them and in ISO 8601, made from a seed: ``dates``, ``dates?examples=2000&seed=1``."""

import datetime
import hashlib

import numpy as np

from dlapp.data.examples import Loaded
from dlapp.data.text_files import parse_options, text_examples
from dlapp.errors import SourceError

_FIRST, _LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# none leaves open which number is the month: where it is no word, the day stands first with points, as in
# Germany, or the year stands first; a year of two digits stands behind a month in words
_FORMATS = (
    "{day} {month} {year}",
    "{day}{ordinal} {month} {year}",
    "{day} {short} {year}",
    "{day} {short} {yy:02}",
    "{month} {day}, {year}",
    "{month} {day} {year}",
    "{short} {day}, {year}",
    "{short}. {day}{ordinal} {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday} {month} {day} {year}",
    "{weekday}, {month} {day}{ordinal}, {year}",
    "the {day}{ordinal} of {month} {year}",
    "{day}.{number}.{year}",
    "{day:02}.{number:02}.{year}",
    "{year}/{number:02}/{day:02}",
)
_CASES = (str, str, str.lower, str.upper)  # as they are in half of the cases
_MOST = 100_000


def load(rest: str) -> Loaded:
    """Makes pairs such as ``Saturday, 3 May 1979`` and ``1979-05-03``; each text means one day, 1950 to 2049.

    Args:
        rest: ``examples`` (10,000) and ``seed`` (0); the same make the same pairs everywhere.

    Raises:
        SourceError: an option is no fitting number.
    """
    _, options = parse_options(f"?{rest}", {"examples": "10000", "seed": "0"}, source="dates")
    examples = _whole("examples", options["examples"], 10, _MOST)
    draw = np.random.default_rng(_whole("seed", options["seed"], 0, 2**31 - 1))
    pairs: dict[str, str] = {}
    while len(pairs) < examples:  # each text once, so that no split has one of another
        date = datetime.date.fromordinal(int(draw.integers(_FIRST.toordinal(), _LAST.toordinal() + 1)))
        case, form = _CASES[draw.integers(len(_CASES))], _FORMATS[draw.integers(len(_FORMATS))]
        pairs[case(_write(date, form))] = date.isoformat()
    digest = hashlib.sha256("\n".join(map("\t".join, pairs.items())).encode()).hexdigest()
    part = text_examples([*pairs], wanted=[*pairs.values()])
    return Loaded({"train": part}, (), digest, task="sequence_to_sequence")


def _write(date: datetime.date, form: str) -> str:
    month = _MONTHS[date.month - 1]
    teens = 11 <= date.day <= 13
    return form.format(
        day=date.day,
        ordinal="th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(date.day % 10, "th"),
        month=month,
        short=month[:3],
        number=date.month,
        year=date.year,
        yy=date.year % 100,
        weekday=_DAYS[date.weekday()],
    )


def _whole(name: str, value: str, least: int, most: int) -> int:
    if not value.isdecimal() or not least <= int(value) <= most:
        raise SourceError(f"{name} of dates must be a whole number from {least:,} to {most:,}; got {value!r}.")
    return int(value)
