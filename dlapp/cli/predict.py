"""``dlapp predict``: a bundle and pictures -> labels, with ONNX Runtime alone."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dlapp.inference.predicting import Prediction

_MANY = 100  # from here on a terminal shows a bar


def command(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A folder, or its name below export/.")],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Pictures, folders of them or globs; .npy files of rows.")
    ],
    top: Annotated[int, typer.Option(min=1, help="How many of the likeliest classes.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predicts the class of pictures; exit status 1 if some of them cannot be read."""
    from dlapp.inference.bundle import Bundle
    from dlapp.inference.predicting import expand, predict

    opened = Bundle.find(bundle)
    files = expand(inputs)
    answers = []
    failed = 0
    for prediction in _with_bar(predict(opened, files, top=top), len(files)):
        failed += prediction.error is not None
        if as_json:
            answers.append(_as_dict(prediction))
        elif prediction.error is None:
            print(f"{prediction.input}  " + "  ".join(f"{label} {share:.4f}" for label, share in prediction.top))
        if prediction.error is not None:
            print(f"Error: {prediction.error}", file=sys.stderr)
    if as_json:
        from dlapp.cli.console import print_json

        print_json({"bundle": str(opened.folder), "predictions": answers})
    if failed:
        print(f"{failed} of {len(files)} inputs could not be read.", file=sys.stderr)
        raise typer.Exit(1)


def _as_dict(prediction: "Prediction") -> dict:
    if prediction.error is not None:
        return {"input": prediction.input, "error": prediction.error}
    top = [{"label": label, "probability": share} for label, share in prediction.top]
    return {"input": prediction.input, **top[0], "top": top}


def _with_bar(predictions: "Iterator[Prediction]", total: int) -> "Iterable[Prediction]":
    if total < _MANY or not sys.stderr.isatty():
        return predictions
    import rich.progress
    from rich.console import Console

    return rich.progress.track(predictions, "predicting", total=total, console=Console(stderr=True), transient=True)
