"""Kinds of options of the verbs that do without typer."""

import argparse


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a positive number; got {text!r}")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    number = _number(text)
    if number is None or not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1; got {text!r}")
    return number


def at_least_zero(text: str) -> float:
    """A number from 0 on, not infinite."""
    number = _number(text)
    if number is None or not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number from 0 on; got {text!r}")
    return number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
