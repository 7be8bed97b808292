"""What the verbs hand to the report, and how they tell metrics in a line."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from dlapp.data import Data
    from dlapp.training.answering import Answers
    from dlapp.training.model_folder import ModelFolder

_MISTAKES = 16
_TEXTS = 5  # that a language model makes
_BATCH_BYTES = 32 * 2**20


def tell_splits(metrics: Mapping[str, Any]) -> str:
    """A line for each of train, dev and test: how much was measured, and what came out."""
    splits = ((split, metrics[split]) for split in ("train", "dev", "test"))
    return "\n".join(f"{split:5} {tell_count(scores):>16}  {tell_scores(scores)}" for split, scores in splits)


def tell_count(scores: Mapping[str, Any]) -> str:
    """How much of a split was measured; a running text is one example, so that its tokens are told."""
    measured = "tokens" if "perplexity" in scores else "examples"
    return f"{scores[measured]:,} {measured}"


def tell_scores(scores: Mapping[str, Any]) -> str:
    """The metrics of a split in one line."""
    told = f"loss {scores['loss']:.4f}  "
    if "map_50" in scores:
        found = f"mAP@0.5 {_figure(scores['map_50'])}  mAP@0.5:0.95 {_figure(scores['map_50_95'])}"
        return told + f"{scores['objects']:,} objects  {found}"
    if "mean_iou" in scores:
        wrong = f"localization error {_figure(scores['localization_error'])}"
        return told + f"mean IoU {_figure(scores['mean_iou'])}  {wrong}  accuracy {_figure(scores['accuracy'])}"
    if "perplexity" in scores:
        return told + f"perplexity {scores['perplexity']:.4g}  bits a character {scores['bits_per_character']:.4f}"
    if "exact_match" in scores:
        low, high = scores["exact_match_interval"]
        exact = f"exact match {scores['exact_match']:.4f} (95 %: {low:.4f} to {high:.4f})"
        return told + f"{exact}  edit distance {scores['edit_distance']:.4g}"
    if "accuracy" in scores:
        low, high = scores["accuracy_interval"]
        return told + f"accuracy {scores['accuracy']:.4f} (95 %: {low:.4f} to {high:.4f})"
    low, high = scores["mean_absolute_error_interval"]
    told += f"mean absolute error {scores['mean_absolute_error']:.4g} (95 %: {low:.4g} to {high:.4g})"
    return told + (f"  R2 {scores['r2']:.4f}" if "r2" in scores else "")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"  # there is no object to find


def report(
    folder: "ModelFolder",
    data: "Data",
    answers: "Mapping[str, Answers]",
    diagnosis: Mapping[str, Any] | None = None,
) -> None:
    """Writes ``report.html`` of a finished run.

    Args:
        folder: of the run.
        data: what it was trained on.
        answers: on every split, by its name.
        diagnosis: what ``diagnosis.json`` holds, where there is one.
    """
    from dlapp.boxes import Boxes
    from dlapp.evaluation.sequences import Steps
    from dlapp.reporting.detection_report import write_detection_report
    from dlapp.reporting.report import Page, write_report
    from dlapp.reporting.sequence_report import write_sequence_report
    from dlapp.training.callbacks import read_history

    page = Page(
        title=folder.path.name,
        recipe=folder.read_recipe(),
        recipe_path=str(folder.recipe),
        metrics=folder.read_metrics(),
        history=read_history(folder.history),
        labels=data.labels,
        augmented=_augmented(folder, data),
        diagnosis=diagnosis,
        flow=_flow(folder, data),
    )
    detection, found = folder.read_signature().detection, answers["test"]
    if isinstance(found, Boxes):
        assert detection is not None
        assert data.test.boxes is not None
        write_detection_report(
            folder.report,
            page,
            wanted=data.test.boxes,
            found=found,
            detection=detection,
            read=data.test.read,
            name=lambda index: data.test.name(index, "test"),
        )
        return
    if isinstance(found, Steps):
        test = data.test
        write_sequence_report(
            folder.report,
            page,
            steps=found,
            inputs=test.inputs.tolist(),
            wanted=test.wanted.tolist()
            if page.metrics["task"] == "sequence_to_sequence" and test.wanted is not None
            else (),
            names=[test.name(index, "test") for index in range(len(test))],
            generated=_generated(folder),
        )
        return
    mistakes = _mistakes(folder, data, found)
    write_report(folder.report, page, target=data.target, test=(data.test.targets, found), mistakes=mistakes)


def _generated(folder: "ModelFolder") -> list[str]:
    """A few texts that a language model makes; nothing of others."""
    from dlapp.training.answering_texts import generate

    signature = folder.read_signature()
    return generate(folder.load_model(), signature, count=_TEXTS) if signature.task == "language_model" else []


def _flow(folder: "ModelFolder", data: "Data") -> "tuple[Sequence[float], str] | None":
    """How the gradient fares from step to step of a recurrent network; nothing of others."""
    from dlapp.training.gradient_flow import gradient_flow

    if folder.read_recipe().architecture != "recurrent":
        return None
    flow = gradient_flow(folder.load_model(), data.train, folder.read_signature())
    return flow and (flow.norms, flow.sentence)


def _augmented(folder: "ModelFolder", data: "Data") -> list:
    """Training pictures as an epoch might give them; none where it gives them as they are."""
    from dlapp.recipe import Augment
    from dlapp.training.augmented import augmented_examples

    recipe = folder.read_recipe()
    if not data.channels or recipe.preprocessing.augment == Augment():
        return []
    return augmented_examples(recipe, data.train, folder.read_signature().preprocessing, data.labels)


def _mistakes(folder: "ModelFolder", data: "Data", answers: "np.ndarray") -> list:
    """The worst mistakes on test, of probabilities or of values."""
    from dlapp.evaluation import worst_mistakes, worst_values
    from dlapp.reporting.report import Mistake

    test = data.test
    told: dict[int, tuple[str, str]] = {}
    if data.task == "classification":
        for index in worst_mistakes(test.targets, answers, _MISTAKES).tolist():
            row, true = answers[index], test.targets[index]
            told[index] = f"{data.labels[true]} ({row[true]:.3f})", f"{data.labels[row.argmax()]} ({row.max():.3f})"
    else:
        for index in worst_values(test.targets, answers[:, 0], _MISTAKES).tolist():
            told[index] = f"{test.targets[index]:.6g}", f"{answers[index, 0]:.6g}"
    pictures = {index: test.read(index) for index in told} if data.channels else {}
    heats = _explain(folder, list(pictures.values())) if data.task == "classification" else {}
    return [
        Mistake(
            where=test.name(index, "test"),
            picture=pictures.get(index),
            true=true,
            predicted=predicted,
            details=test.describe(index),
            heat=heats.get(place),
        )
        for place, (index, (true, predicted)) in enumerate(told.items())
    ]


def _explain(folder: "ModelFolder", pictures: "list[np.ndarray]") -> "dict[int, np.ndarray]":
    """What spoke for the predicted class of each picture, by its place; nothing without convolutions."""
    if not pictures:
        return {}
    import numpy as np
    from rich.console import Console

    from dlapp.exporting.explaining import Explainer

    found: dict[int, np.ndarray] = {}
    try:
        explainer = Explainer.of_model(folder.load_model(), folder.read_signature())
        if explainer.feature_layer is None:
            return {}
        for shape in {picture.shape for picture in pictures}:
            places = [place for place, picture in enumerate(pictures) if picture.shape == shape]
            # photographs go a few at a time: inside the graph they are floats
            size = max(1, _BATCH_BYTES // pictures[places[0]].nbytes)
            for start in range(0, len(places), size):
                some = places[start : start + size]
                maps = explainer.grad_cam(np.stack([pictures[place] for place in some])).maps
                found |= dict(zip(some, maps, strict=True))
    except Exception as error:  # a report without these maps is better than a run without its report
        Console(stderr=True, soft_wrap=True, markup=False).print(f"Note: mistakes are not explained: {error}")
    return found
