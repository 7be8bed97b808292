"""``dlapp evaluate``: how good a model is, on its own data or on others."""

import shlex
from enum import StrEnum
from typing import Annotated

import typer

_SHOWN = 20  # of more classes than a matrix has


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
    data_dir: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where the set of tfds:NAME is prepared.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a source of texts, such as latin-1; utf-8 where left out.")
    ] = None,
    split: Annotated[
        Split | None,
        typer.Option(help="Which examples: test where it is left out, or all of a --data without a test split."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measures accuracy, per-class figures and the confusion matrix, or the errors of a regression."""
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    import numpy as np

    from dlapp.cli.reports import tell_count, tell_scores
    from dlapp.data import load
    from dlapp.data.examples import join, with_labels
    from dlapp.data.pipelines import naming_unreadable
    from dlapp.data.sources import with_data_dir, with_encoding
    from dlapp.errors import SourceError
    from dlapp.training.answering import answer_and_measure, score_answers
    from dlapp.training.grid_loss import GridLoss
    from dlapp.training.model_folder import ModelFolder
    from dlapp.training.preparing import load_own_data

    folder = ModelFolder.find(model)
    signature = folder.read_signature()
    if data is None and data_dir is not None:
        raise SourceError("--data-dir goes with --data tfds:NAME.")
    if data is None and encoding is not None:
        raise SourceError("--encoding goes with --data text:FILE or another source of texts.")
    if data is None:
        found = load_own_data(folder)
    else:
        wanted = folder.read_recipe().split
        found = load(
            with_encoding(with_data_dir(data, data_dir), encoding),
            dev=wanted.dev,
            test=wanted.test,
            seed=wanted.seed,
            channels=signature.preprocessing.channels or None,
            columns=signature.preprocessing.columns or None,
            flawed=folder.read_recipe().detection.flawed,
            single=signature.task == "localization",
        )
    kind = "detection" if signature.detection is not None else signature.task
    if found.task != kind:
        raise SourceError(
            f"{found.source} is a {found.task}; {folder.path} was trained for {signature.task}. "
            f"Of a CSV file, &task={signature.task} says which."
        )
    if split is None:
        split = Split.all if data is not None and "test" not in found.own_splits else Split.test
    splits = found.splits()
    examples = join(list(splits.values())) if split is Split.all else splits[split.value]
    if signature.labels:
        examples = with_labels(examples, found.labels, signature.labels, source=found.source)
    if examples.are_texts != (signature.preprocessing.vocabulary is not None):
        kinds = ("texts", "pictures or rows") if examples.are_texts else ("pictures or rows", "texts")
        raise SourceError(f"{found.source} holds {kinds[0]}; {folder.path} reads {kinds[1]}.")
    try:
        if not examples.are_texts:
            signature.inputs[0].check(examples.read(0)[np.newaxis])
    except ValueError as error:
        raise SourceError(f"{found.source} does not fit {folder.path}: {error}") from error
    grid_loss = None
    if signature.detection is not None:
        grid_loss = GridLoss.of(signature.detection, len(signature.labels), folder.read_recipe().detection)
    with naming_unreadable(examples):
        answers, loss = answer_and_measure(folder.load_model(), examples, signature, grid_loss)
    scores = score_answers(examples, answers, signature, loss)
    if as_json:
        print_json({"model": str(folder.path), "data": found.source, "split": split.value, **scores})
        return
    print(f"{folder.path} on {split.value} of {found.source}: {tell_count(scores)}")
    print(tell_scores(scores) + (f"  macro F1 {scores['f1_macro']:.4f}" if "f1_macro" in scores else ""))
    if "roc_auc" in scores:
        print(f"area under the ROC curve {scores['roc_auc']:.4f}, threshold {scores['threshold']}")
    if signature.detection is not None:
        _print_boxes(scores)
    elif signature.labels:
        _print_classes(scores)
    print(f"Next: dlapp export {shlex.quote(folder.path.name)}")


def _print_boxes(scores: dict) -> None:
    """The classes of a detector; of many those that have the most objects."""
    import rich
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    columns = {"ap_50": "AP@0.5", "ap_50_95": "AP@0.5:0.95", "precision": "precision", "recall": "recall", "f1": "F1"}
    columns |= {"mean_iou": "mean IoU", "localization_error": "localization error"}
    shown = [key for key in columns if key in scores["per_class"][0]]
    for column in ("class", "objects", *(columns[key] for key in shown)):
        table.add_column(column, justify="left" if column == "class" else "right")
    rows = sorted(scores["per_class"], key=lambda row: -row["objects"])
    for row in rows[:_SHOWN]:
        figures = ("-" if row[key] is None else f"{row[key]:.4f}" for key in shown)
        table.add_row(escape(row["label"]), f"{row['objects']:,}", *figures)
    rich.print(table)
    if len(rows) > _SHOWN:
        print(f"... and {len(rows) - _SHOWN:,} more classes (--json has all)")


def _print_classes(scores: dict) -> None:
    import rich
    from rich.markup import escape
    from rich.table import Table

    from dlapp.evaluation import worst_classes

    rows = scores["per_class"]
    many = "confusion_matrix" not in scores
    if many:
        print(f"the {_SHOWN} of {len(rows):,} classes with the lowest F1 (--json has all):")
        rows = worst_classes(rows)[:_SHOWN]
    table = Table()
    for column in ("class", "examples", "precision", "recall", "F1"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in rows:
        figures = (f"{row[key]:.4f}" for key in ("precision", "recall", "f1"))
        table.add_row(escape(row["label"]), f"{row['examples']:,}", *figures)
    rich.print(table)
    if many:
        print("most often mistaken:")
        for pair in scores["confused"][:_SHOWN]:
            print(f"  {pair['true']} for {pair['predicted']}: {pair['count']:,} ({100 * pair['share']:.0f} %)")
        return
    print("confusion matrix, a row a true class:")
    width = max(len(str(count)) for row in scores["confusion_matrix"] for count in row)
    for row in scores["confusion_matrix"]:
        print("  " + " ".join(f"{count:>{width}}" for count in row))
