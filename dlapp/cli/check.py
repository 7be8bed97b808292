"""``dlapp check``: what is wrong with the data, before there is any model."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

_SHOWN = 20  # of each list, on the terminal


def command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Where the data come from.")],
    data_dir: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where the set of tfds:NAME is prepared.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a source of texts, such as latin-1; utf-8 where left out.")
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw 24 pictures with their labels into this file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Audits a source: counts, balance, unreadable items, boxes, duplicates, leaks; exit status 1 for a problem."""
    from dlapp.cli.console import import_tensorflow, print_json
    from dlapp.data.auditing import audit
    from dlapp.data.sources import parse, with_data_dir, with_encoding

    source = with_encoding(with_data_dir(source, data_dir), encoding)
    if parse(source)[0] == "tfds":
        import_tensorflow()
    found = audit(source, drawing=draw)
    problems = any(line["verdict"] == "problem" for line in found["verdicts"])
    if as_json:
        print_json(found)
    else:
        _print(found)
        if found["drawing"]:
            print(f"Wrote {found['drawing']}")
        architecture = "yolo_grid" if found["task"] == "detection" else "ARCHITECTURE"
        if found["texts"]:
            architecture = "recurrent"
        following = "repair that first" if problems else f"dlapp train {architecture} --data {shlex.quote(source)}"
        print(f"Next: {following}")
    if problems:
        raise typer.Exit(1)


def _print(found: Mapping[str, Any]) -> None:
    import rich
    from rich.markup import escape
    from rich.table import Table

    for line in found["verdicts"]:
        print(f"{line['verdict']:8} {line['text']}")
        for detail in line["details"][:_SHOWN]:
            print(f"           {detail}")
        if len(line["details"]) > _SHOWN:
            print(f"           ... and {len(line['details']) - _SHOWN:,} more (--json has all)")
    if found["pictures"]:
        for side in ("height", "width"):
            size = found["pictures"][side]
            print(f"         {side} {size['min']} to {size['max']}, median {size['median']:g}")
    if found["classes"] and len(found["classes"]) <= _SHOWN:
        table = Table()
        for name in ("class", *found["examples"]):
            table.add_column(name, justify="left" if name == "class" else "right")
        for label, counts in found["classes"].items():
            table.add_row(escape(label), *(f"{count:,}" for count in counts.values()))
        rich.print(table)
