"""What the verbs hand to the report: the folder's files and the worst mistakes on test."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from dlapp.data import Data
    from dlapp.training.model_folder import ModelFolder

_MISTAKES = 16


def report_classification(folder: "ModelFolder", data: "Data", probabilities: "dict[str, np.ndarray]") -> None:
    """Writes ``report.html`` of a finished run.

    Args:
        folder: of the run.
        data: what it was trained on.
        probabilities: of every split, (n, classes), by its name.
    """
    from dlapp.evaluation import worst_mistakes
    from dlapp.reporting.report import Mistake, write_classification
    from dlapp.training.callbacks import read_history

    mistakes = []
    for index in worst_mistakes(data.test.targets, probabilities["test"], _MISTAKES).tolist():
        row = probabilities["test"][index]
        mistakes.append(
            Mistake(
                where=str(data.test.inputs[index]) if data.test.are_files else f"test example {index}",
                picture=data.test.read(index) if data.channels else None,
                true=data.labels[data.test.targets[index]],
                true_probability=float(row[data.test.targets[index]]),
                predicted=data.labels[row.argmax()],
                predicted_probability=float(row.max()),
            )
        )
    write_classification(
        folder.report,
        title=folder.path.name,
        recipe=folder.read_recipe(),
        recipe_path=str(folder.recipe),
        metrics=folder.read_metrics(),
        history=read_history(folder.history),
        labels=data.labels,
        mistakes=mistakes,
    )
