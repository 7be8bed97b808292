"""The application: its verbs."""

import sys
from typing import Annotated

import typer

import dlapp
from dlapp.cli import (
    benchmark,
    card,
    check,
    demo,
    diagnose,
    evaluate,
    explain,
    export,
    generate,
    gradient_check,
    predict,
    show,
    train,
    tune,
    verify,
)
from dlapp.cli import list as listing

app = typer.Typer(
    help="Train classic networks on your own data, and ship them as SavedModel and ONNX files that agree.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich's help takes twice as long as all the rest of `dlapp --help`
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_VERBS = (
    demo,
    listing,
    show,
    check,
    train,
    evaluate,
    diagnose,
    tune,
    gradient_check,
    export,
    verify,
    benchmark,
    card,
    explain,
)
for verb in _VERBS:
    app.command(verb.__name__.rpartition(".")[2].replace("_", "-"))(verb.command)


@app.command("predict", help=predict.HELP, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def _predict(context: typer.Context) -> None:
    """Stands here for the list of verbs: ``main`` runs ``predict`` without typer."""
    sys.exit(predict.main(context.args))


@app.command(
    "generate", help=generate.HELP, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def _generate(context: typer.Context) -> None:
    """Likewise."""
    sys.exit(generate.main(context.args))


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dlapp {dlapp.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Options before the verb; ``main`` reads ``--debug``."""
