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
from dlapp.files import write_text
from dlapp.recipe import Recipe
from dlapp.reporting import plots


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrong answer.

    Attributes:
        where: the file, or which example of the split.
        picture: (height, width, channels) uint8; None for rows.
        true, predicted: a label and the probability that the network gave it, or a value.
        details: what else is known of the example, such as the cells of its row.
    """

    where: str
    picture: np.ndarray | None
    true: str
    predicted: str
    details: str = ""

    @property
    def data_uri(self) -> str:
        """The picture as text that stands inside a page, at most 256 pixels wide or high."""
        if self.picture is None:
            return ""
        squeezed = self.picture[..., 0] if self.picture.shape[-1] == 1 else self.picture
        image = Image.fromarray(squeezed)
        image.thumbnail((256, 256))
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def write_report(
    path: Path,
    *,
    title: str,
    recipe: Recipe,
    recipe_path: str,
    metrics: Mapping[str, Any],
    history: Sequence[dict[str, float]],
    labels: Sequence[str],
    target: str,
    test: tuple[np.ndarray, np.ndarray],
    mistakes: Sequence[Mistake],
    diagnosis: Mapping[str, Any] | None = None,
) -> None:
    """Writes the report of a classifier or a regression.

    Args:
        path: of the page.
        title: the name of the model.
        recipe: resolved.
        recipe_path: where it stands, for the command that repeats the run.
        metrics: what ``metrics.json`` holds.
        history: the rows of ``history.csv``.
        labels: the classes; none for a regression.
        target: the name of what a regression predicts.
        test: the targets of test, (n,), and what the network answers, (n, outputs).
        mistakes: the worst on test, worst first.
        diagnosis: what ``diagnosis.json`` holds; without, the section is left out.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dlapp.reporting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    classes = metrics["task"] == "classification"
    page = environment.get_template("report.html.jinja").render(
        title=title,
        recipe=recipe,
        recipe_text=recipe.to_toml(),
        recipe_path=shlex.quote(recipe_path),
        metrics=metrics,
        splits=("train", "dev", "test"),
        history=history,
        best=min(history, key=lambda row: row["dev_loss"]),
        seconds=sum(row["seconds"] for row in history),
        labels=labels,
        target=target,
        mistakes=mistakes,
        wrong=round((1 - metrics["test"]["accuracy"]) * metrics["test"]["examples"]) if classes else None,
        curves=plots.curves(history, "accuracy" if classes else "r2"),
        confusion=plots.confusion(metrics["test"]["confusion_matrix"], labels) if classes else None,
        scatter=None if classes else plots.scatter(test[0], test[1][:, 0], target),
        diagnosis=diagnosis,
        diagnosis_plots=_plot_diagnosis(diagnosis, percent=classes) if diagnosis else {},
        version=dlapp.__version__,
    )
    write_text(path, page)


def _plot_diagnosis(diagnosis: Mapping[str, Any], *, percent: bool) -> dict[str, str]:
    drawn = {"errors": plots.errors(diagnosis["errors"], diagnosis["bayes_error"], percent=percent)}
    if diagnosis["learning_curve"]:
        drawn["learning_curve"] = plots.learning_curve(diagnosis["learning_curve"], percent=percent)
    return drawn
