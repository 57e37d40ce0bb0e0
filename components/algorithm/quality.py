"""`evaluation.json`: what a model is worth, in the shape that SageMaker's model metrics and our gates read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from components.algorithm.evaluation import (
    Array,
    Calibration,
    calibration,
    confusion,
    precision_recall,
    ranking,
    roc_curve,
    scalars,
    thinned,
)
from components.algorithm.settings import Task

KEYS: Final[Mapping[Task, str]] = {
    "binary": "binary_classification_metrics",
    "multiclass": "multiclass_classification_metrics",
    "regression": "regression_metrics",
}
LEAST_ROWS: Final = 200
"""Fewer rows give no standard deviation, as in SageMaker's model quality jobs."""
SAMPLES: Final = 5
SHARE: Final = 0.8
BASELINES: Final[Mapping[Task, str]] = {
    "binary": "the share of label 1 in the training rows, for every row",
    "multiclass": "the share of each class in the training rows, for every row",
    "regression": "the mean of the training rows, for every row",
}


@dataclass(frozen=True)
class Evaluation:
    """A model measured on one set of rows.

    Attributes:
        rows_of: the channel that the rows came from: `train` means that the model has seen them.
        target: labels or numbers, shape (rows,).
        predicted: the model's answers, shape (rows,) or (rows, classes).
        threshold: probabilities from here on mean label 1 (binary only).
        figures: metrics by name.
        baseline: the same metrics of an answer that ignores the features.
    """

    task: Task
    rows_of: Literal["train", "validation"]
    target: Array
    predicted: Array
    threshold: float
    figures: Mapping[str, float]
    baseline: Mapping[str, float]

    @property
    def calibration(self) -> Calibration | None:
        """Predictions against outcomes in bins; None for more than two classes."""
        return None if self.task == "multiclass" else calibration(self.target, self.predicted)

    @property
    def confusion(self) -> Any:
        """Rows by actual and predicted class; None for regression."""
        if self.task == "regression":
            return None
        if self.task == "binary":
            return confusion(self.target, (self.predicted >= self.threshold).astype(np.float32), 2)
        return confusion(self.target, self.predicted.argmax(axis=1).astype(np.float32), self.predicted.shape[1])


def evaluated(
    task: Task,
    rows_of: Literal["train", "validation"],
    target: Array,
    predicted: Array,
    threshold: float,
    learned_from: Array,
) -> Evaluation:
    """Measure predictions, and a baseline that knows the training targets only.

    Args:
        task: what the predictions are.
        rows_of: the channel of the rows.
        target: outcomes, shape (rows,).
        predicted: the model's answers.
        threshold: probabilities from here on mean label 1.
        learned_from: the training rows' targets, from which the baseline is made.
    """
    blind = baseline_predictions(task, learned_from, predicted)
    return Evaluation(
        task, rows_of, target, predicted, threshold,
        figures=scalars(task, target, predicted, threshold),
        baseline=scalars(task, target, blind, threshold),
    )  # fmt: skip


def baseline_predictions(task: Task, learned_from: Array, like: Array) -> Array:
    """The constant answer that the training targets suggest, in the shape of `like`."""
    if task == "multiclass":
        shares = np.bincount(learned_from.astype(np.int64), minlength=like.shape[1]) / len(learned_from)
        return np.broadcast_to(shares, like.shape)
    return np.full(like.shape, np.mean(learned_from, dtype=np.float64))


def document(evaluation: Evaluation, training: Mapping[str, Any]) -> dict[str, Any]:
    """The evaluation as `evaluation.json` holds it: strict JSON values.

    Args:
        evaluation: the model, measured.
        training: what else is told of the training.
    """
    on = evaluation.rows_of
    return {
        "version": 0.0,
        "dataset": {"item_count": len(evaluation.target), "channel": on, "seen_in_training": on == "train"},
        KEYS[evaluation.task]: detailed(evaluation),
        "metrics": {
            **{f"{on}:{name}": value for name, value in known(evaluation.figures).items()},
            **{f"baseline:{name}": value for name, value in known(evaluation.baseline).items()},
        },
        "baseline": {"answer": BASELINES[evaluation.task], **known(evaluation.baseline)},
        "training": dict(training),
    }


def known(figures: Mapping[str, float]) -> dict[str, float]:
    """The figures that have a value, without those that only restate a baseline."""
    return {
        name: value
        for name, value in figures.items()
        if np.isfinite(value) and not name.endswith("_best_constant_classifier")
    }


def detailed(evaluation: Evaluation) -> dict[str, Any]:
    """Figures with their standard deviations, the confusion matrix and the curves, as SageMaker names them."""
    spread = deviations(evaluation)
    found: dict[str, Any] = {
        name: {"value": value if np.isfinite(value) else None, "standard_deviation": spread[name]}
        for name, value in evaluation.figures.items()
    }
    counts = evaluation.confusion
    if counts is not None:
        found["confusion_matrix"] = {
            str(actual): {str(label): int(count) for label, count in enumerate(row)}
            for actual, row in enumerate(counts)
        }
    binned = evaluation.calibration
    if binned is not None:
        found["calibration"] = {
            "predicted": binned.predicted.tolist(),
            "observed": binned.observed.tolist(),
            "counts": binned.counts.tolist(),
            "error": binned.error,
        }
    if evaluation.task == "binary":
        found |= {"threshold": evaluation.threshold} | curves(evaluation)
    return found


def curves(evaluation: Evaluation) -> dict[str, Any]:
    """The two curves of a binary classifier, thinned."""
    ranked = ranking(evaluation.target, evaluation.predicted)
    false_rates, true_rates = roc_curve(ranked)
    precisions, recalls = precision_recall(ranked)
    return {
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": thinned(false_rates),
            "true_positive_rates": thinned(true_rates),
        },
        "precision_recall_curve": {"precisions": thinned(precisions), "recalls": thinned(recalls)},
    }


def deviations(evaluation: Evaluation) -> dict[str, float | str]:
    """Standard deviation of each figure over five random samples of 80 % of the rows; the text NaN for few rows."""
    rows = len(evaluation.target)
    if rows < LEAST_ROWS:
        return dict.fromkeys(evaluation.figures, "NaN")
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(SAMPLES):
        chosen = generator.permutation(rows)[: int(rows * SHARE)]
        drawn.append(
            scalars(evaluation.task, evaluation.target[chosen], evaluation.predicted[chosen], evaluation.threshold)
        )
    spread = {name: float(np.std([sample[name] for sample in drawn])) for name in evaluation.figures}
    return {name: value if np.isfinite(value) else "NaN" for name, value in spread.items()}
