"""What the server may answer for a row, and how it is derived from a model's predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from components.algorithm.model import Model
from components.algorithm.rows import Floats
from components.algorithm.settings import Output, Task
from shared.errors import SettingsError, names

KNOWN: Final[Mapping[Task, tuple[Output, ...]]] = {
    "binary": ("score", "probability", "predicted_label", "probabilities", "raw_score"),
    "multiclass": ("score", "probability", "predicted_label", "probabilities", "raw_score"),
    "regression": ("score", "raw_score"),
}
DEFAULTS: Final[Mapping[Task, tuple[Output, ...]]] = {
    "binary": ("score",),
    "multiclass": ("predicted_label", "score"),
    "regression": ("score",),
}
Columns = dict[str, NDArray[Any]]


def chosen(wanted: str | None, trained: Sequence[Output], task: Task) -> tuple[Output, ...]:
    """The outputs that a server answers.

    Args:
        wanted: a comma list, as the variable SAGEMAKER_INFERENCE_OUTPUT holds it, or None.
        trained: what the settings of the training said.
        task: what kind of model it is.

    Raises:
        SettingsError: the list names something that the model does not answer.
    """
    if not wanted:
        return tuple(trained) or DEFAULTS[task]
    listed = [item.strip() for item in wanted.split(",") if item.strip()]
    unknown = [item for item in listed if item not in KNOWN[task]]
    if unknown or len(set(listed)) < len(listed):
        raise SettingsError(
            f"SAGEMAKER_INFERENCE_OUTPUT is {wanted!r}, wanted a list without repetition of {names(KNOWN[task])}."
        )
    return tuple(name for item in listed for name in KNOWN[task] if name == item)


def column_names(wanted: Sequence[Output], task: Task, classes: int) -> tuple[str, ...]:
    """Names of the columns that the outputs fill, in order."""
    return tuple(name for output in wanted for name in named(output, task, classes))


def named(output: Output, task: Task, classes: int) -> tuple[str, ...]:
    """The columns of one output: one a class for probabilities and, with more than two classes, for raw scores."""
    if output == "probabilities":
        return tuple(f"probability_{label}" for label in range(classes))
    if output == "raw_score" and task == "multiclass":
        return tuple(f"raw_score_{label}" for label in range(classes))
    return (output,)


def answers(model: Model, features: Floats, wanted: Sequence[Output], task: Task, threshold: float) -> Columns:
    """The wanted outputs of each row as columns, shape (rows,) each.

    Args:
        model: what predicts.
        features: shape (rows, features), NaN where a value is missing.
        wanted: which outputs, in order.
        task: what kind of model it is.
        threshold: probabilities from here on mean label 1 (binary only).
    """
    columns: Columns = {}
    predicted = model.predictions(features) if set(wanted) - {"raw_score"} else None
    for output in wanted:
        if output == "raw_score":
            columns |= spread("raw_score", model.margins(features))
        elif predicted is not None:
            columns |= DERIVED[output](output, predicted, task, threshold)
    return columns


def spread(name: str, values: Floats) -> Columns:
    """One column, or one a class."""
    if values.ndim == 1:
        return {name: values}
    return {f"{name}_{label}": values[:, label] for label in range(values.shape[1])}


def score(name: str, predicted: Floats, task: Task, _threshold: float) -> Columns:
    """Probability of label 1, of the likeliest class, or the predicted number."""
    return {name: predicted.max(axis=1) if task == "multiclass" else predicted}


def predicted_label(name: str, predicted: Floats, task: Task, threshold: float) -> Columns:
    """The class that is answered."""
    label = predicted.argmax(axis=1) if task == "multiclass" else predicted >= threshold
    return {name: label.astype(np.int64)}


def probabilities(_name: str, predicted: Floats, task: Task, _threshold: float) -> Columns:
    """Probability of each class."""
    both = predicted if task == "multiclass" else np.stack([np.float32(1) - predicted, predicted], axis=1)
    return spread("probability", both)


DERIVED: Final[Mapping[Output, Callable[[str, Floats, Task, float], Columns]]] = {
    "score": score,
    "probability": score,
    "predicted_label": predicted_label,
    "probabilities": probabilities,
}
