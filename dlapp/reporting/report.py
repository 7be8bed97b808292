"""``report.html``: one file, no network."""

import base64
import dataclasses
import io
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

import dlapp
from dlapp.evaluation import worst_classes
from dlapp.files import write_text
from dlapp.pictures import shrink
from dlapp.recipe import Recipe
from dlapp.reporting import plots
from dlapp.reporting.explanation import overlay

_SHOWN = 256  # pixels of a side of a picture on the page
UNITS = {"regression": "the target's unit", "language_model": "bits a character"}  # of errors that are no shares
_ROWS = 30  # of more classes than a matrix has


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrong answer.

    Attributes:
        where: the file, or which example of the split.
        picture: (height, width, channels) uint8; None for rows.
        true, predicted: a label and the probability that the network gave it, or a value.
        details: what else is known of the example, such as the cells of its row.
        heat: (rows, columns) float32, not negative: what spoke for the prediction in each part of the picture.
    """

    where: str
    picture: np.ndarray | None
    true: str
    predicted: str
    details: str = ""
    heat: np.ndarray | None = None

    @property
    def data_uri(self) -> str:
        """The picture as text that stands inside a page, at most 256 pixels wide or high."""
        return "" if self.picture is None else _data_uri(shrink(self.picture, _SHOWN))

    @property
    def overlay_uri(self) -> str:
        """The picture under its map, likewise; nothing where there is no map."""
        if self.picture is None or self.heat is None:
            return ""
        return _data_uri(overlay(shrink(self.picture, _SHOWN), self.heat))


def _data_uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclasses.dataclass(frozen=True)
class Page:
    """What every report tells.

    Attributes:
        title: the name of the model.
        recipe: resolved.
        recipe_path: where it stands, for the command that repeats the run.
        metrics: what ``metrics.json`` holds.
        history: the rows of ``history.csv``.
        labels: the classes; none for a regression.
        augmented: rows of training pictures with their labels, first as they are; none where nothing is augmented.
        diagnosis: what ``diagnosis.json`` holds; without, the section is left out.
        flow: of a recurrent network: norms of the gradient at the last step and those before it, and what they show.
    """

    title: str
    recipe: Recipe
    recipe_path: str
    metrics: Mapping[str, Any]
    history: Sequence[dict[str, float]]
    labels: Sequence[str]
    augmented: Sequence[Sequence[tuple[np.ndarray, str]]] = ()
    diagnosis: Mapping[str, Any] | None = None
    flow: tuple[Sequence[float], str] | None = None


def write_page(path: Path, template: str, page: Page, **context: Any) -> None:
    """Writes a page from a template that extends ``page.html.jinja``.

    Args:
        path: of the page.
        template: its name.
        page: what every report tells.
        context: what the template tells beside that.
    """
    diagnosis, history = page.diagnosis, page.history
    unit = UNITS.get(page.metrics["task"], "%")
    write_template(
        path,
        template,
        title=page.title,
        recipe=page.recipe,
        recipe_text=page.recipe.to_toml(),
        recipe_path=shlex.quote(page.recipe_path),
        metrics=page.metrics,
        splits=("train", "dev", "test"),
        best=min(history, key=lambda row: row["dev_loss"]),
        seconds=sum(row["seconds"] for row in history),
        labels=page.labels,
        augmented=[[(_data_uri(shrink(picture, _SHOWN)), label) for picture, label in row] for row in page.augmented],
        diagnosis=diagnosis,
        percent=unit == "%",
        diagnosis_plots=_plot_diagnosis(diagnosis, unit) if diagnosis else {},
        flow=page.flow and (plots.gradient_flow(page.flow[0]), page.flow[1]),
        **context,
    )


def write_template(path: Path, template: str, **context: Any) -> None:
    """Writes any template of this folder, with the version of dlapp and ``context``."""
    write_text(path, render_template(template, **context))


def render_template(template: str, **context: Any) -> str:
    """The text of a template of this folder, with the version of dlapp and ``context``; escaped where it is HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dlapp.reporting", "."),
        autoescape=template.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(version=dlapp.__version__, **context)


def write_report(
    path: Path, page: Page, *, target: str, test: tuple[np.ndarray, np.ndarray], mistakes: Sequence[Mistake]
) -> None:
    """Writes the report of a classifier or a regression.

    Args:
        path: of the page.
        page: what every report tells.
        target: the name of what a regression predicts.
        test: the targets of test, (n,), and what the network answers, (n, outputs).
        mistakes: the worst on test, worst first.
    """
    scores, labels = page.metrics["test"], page.labels
    classes = page.metrics["task"] == "classification"
    many = classes and "confusion_matrix" not in scores
    write_page(
        path,
        "report.html.jinja",
        page,
        target=target,
        mistakes=mistakes,
        wrong=round((1 - scores["accuracy"]) * scores["examples"]) if classes else None,
        curves=plots.curves(page.history, "accuracy" if classes else "r2"),
        confusion=plots.confusion(scores["confusion_matrix"], labels) if classes and not many else None,
        many=many,
        rows=worst_classes(scores["per_class"])[:_ROWS] if many else scores.get("per_class"),
        confused=scores["confused"][:_ROWS] if many else None,
        scatter=None if classes else plots.scatter(test[0], test[1][:, 0], target),
        kinds=None,
        errors_are="shares of wrong answers" if classes else "mean absolute errors in the target's unit",
    )


def _plot_diagnosis(diagnosis: Mapping[str, Any], unit: str) -> dict[str, str]:
    drawn = {"errors": plots.errors(diagnosis["errors"], diagnosis["bayes_error"], unit=unit)}
    if diagnosis["learning_curve"]:
        drawn["learning_curve"] = plots.learning_curve(diagnosis["learning_curve"], unit=unit)
    return drawn
