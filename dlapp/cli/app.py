"""The application: its verbs, and how it ends when something goes wrong."""

import sys
from typing import Annotated

import typer

import dlapp
from dlapp.cli import demo, evaluate, export, predict, show, train, verify
from dlapp.cli import list as listing
from dlapp.errors import DlappError

app = typer.Typer(
    help="Train classic networks on your own data, and ship them as SavedModel and ONNX files that agree.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, listing, show, train, evaluate, export, verify, predict):
    app.command(verb.__name__.rpartition(".")[2])(verb.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dlapp {dlapp.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options before the verb; ``--debug`` is read by ``main`` and may stand anywhere."""


def main() -> None:
    """Runs the command line. Exit status: 0 done, 1 a check did not hold, 2 the input or the call is wrong."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(arguments, prog_name="dlapp")
    except DlappError as error:
        if debug:
            raise
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except OSError as error:  # a full disk, a missing permission
        if debug:
            raise
        print(
            f"Error: {error.strerror or error}: {error.filename or 'the file system refused'}. "
            "What was there before is unchanged.",
            file=sys.stderr,
        )
        sys.exit(2)
