"""``dlapp list``: what there is to train, and where data may come from."""

from enum import StrEnum
from typing import Annotated

import typer


class Kind(StrEnum):
    """What can be listed."""

    architectures = "architectures"
    sources = "sources"


def command(
    kind: Annotated[Kind | None, typer.Argument(help="One of the two; both where it is left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Lists architectures and sources."""
    from dlapp.architectures import ARCHITECTURES
    from dlapp.cli.console import print_json
    from dlapp.data.sources import SOURCES

    listed = {
        "architectures": [
            {"name": name, "what": entry.what, "source": entry.source} for name, entry in ARCHITECTURES.items()
        ],
        "sources": [{"name": how, "what": what} for _, how, what in SOURCES.values()],
    }
    if kind is not None:
        listed = {kind.value: listed[kind.value]}
    if as_json:
        print_json(listed)
        return
    for title, rows in listed.items():
        print(title)
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            source = f" ({row['source']})" if "source" in row else ""
            print(f"  {row['name']:{width}}  {row['what']}{source}")
    print("\nNext: dlapp show lenet5, or dlapp train lenet5 --data digits")
