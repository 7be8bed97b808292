"""``dlapp evaluate``: how good a model is, on its own data or on others."""

from enum import StrEnum
from typing import Annotated

import typer


class Split(StrEnum):
    """Which examples."""

    train = "train"
    dev = "dev"
    test = "test"
    all = "all"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or its name below models/.")],
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Another source; the model's own where it is left out.")
    ] = None,
    split: Annotated[
        Split | None,
        typer.Option(help="Which examples: test where it is left out, or all of a --data without a test split."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measures loss, accuracy, per-class precision, recall and F1, and the confusion matrix."""
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    import numpy as np

    from dlapp.architectures.heads import with_probabilities
    from dlapp.data import load
    from dlapp.data.examples import join, with_labels
    from dlapp.data.pipelines import naming_unreadable
    from dlapp.errors import SourceError
    from dlapp.evaluation import score
    from dlapp.training.finishing import predict
    from dlapp.training.model_folder import ModelFolder
    from dlapp.training.preparing import load_data

    folder = ModelFolder.find(model)
    signature = folder.read_signature()
    recipe = folder.read_recipe()
    if data is None:
        found = load_data(recipe)
        if found.hash != folder.read_metrics()["data_hash"]:
            raise SourceError(
                f"{recipe.data} has changed since {folder.path} was trained, and its splits with it: test would hold "
                "what was trained on. Name new examples with --data."
            )
    else:
        channels = signature.preprocessing.channels or None
        found = load(data, dev=recipe.split.dev, test=recipe.split.test, seed=recipe.split.seed, channels=channels)
    if split is None:
        split = Split.all if data is not None and "test" not in found.own_splits else Split.test
    splits = found.splits()
    examples = with_labels(
        join(list(splits.values())) if split is Split.all else splits[split.value],
        found.labels,
        signature.labels,
        source=found.source,
    )
    try:
        signature.inputs[0].check(examples.read(0)[np.newaxis])
    except ValueError as error:
        raise SourceError(f"{found.source} does not fit {folder.path}: {error}") from error
    with naming_unreadable(examples):
        probabilities = predict(with_probabilities(folder.load_model()), examples, signature.preprocessing)
    scores = score(examples.targets, probabilities, signature.labels)
    if as_json:
        print_json({"model": str(folder.path), "data": found.source, "split": split.value, **scores})
        return
    low, high = scores["accuracy_interval"]
    print(f"{folder.path} on {split.value} of {found.source}: {scores['examples']:,} examples")
    print(f"loss {scores['loss']:.4f}  accuracy {scores['accuracy']:.4f} (95 %: {low:.4f} to {high:.4f})", end="")
    print(f"  macro F1 {scores['f1_macro']:.4f}")
    if "roc_auc" in scores:
        print(f"area under the ROC curve {scores['roc_auc']:.4f}, threshold {scores['threshold']}")
    _print_classes(scores)
    print(f"Next: dlapp export {folder.path.name}")


def _print_classes(scores: dict) -> None:
    import rich
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for column in ("class", "examples", "precision", "recall", "F1"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in scores["per_class"]:
        figures = (f"{row[key]:.4f}" for key in ("precision", "recall", "f1"))
        table.add_row(escape(row["label"]), f"{row['examples']:,}", *figures)
    rich.print(table)
    print("confusion matrix, a row a true class:")
    width = max(len(str(count)) for row in scores["confusion_matrix"] for count in row)
    for row in scores["confusion_matrix"]:
        print("  " + " ".join(f"{count:>{width}}" for count in row))
