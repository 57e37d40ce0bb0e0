"""How good predictions are: pure functions of targets and predictions.

Targets are class numbers (0, 1, …) or numbers; predictions are the probability of label 1, shape (rows,), class
probabilities, shape (rows, classes), or numbers. Each metric agrees with the function of the same meaning in
scikit-learn, which the tests compare it with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from components.algorithm.settings import Task

Array = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
CURVE_POINTS: Final = 200
"""Most points of a curve that is written down."""
CALIBRATION_BINS: Final = 10
FLOOR: Final = float(np.finfo(np.float32).eps)
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken; scikit-learn does so for float32."""


@dataclass(frozen=True)
class Ranking:
    """Counts above each distinct score, from the highest score to the lowest.

    Attributes:
        thresholds: distinct scores, falling, shape (distinct,).
        hits: rows of label 1 with at least that score, shape (distinct,).
        alarms: rows of label 0 with at least that score, shape (distinct,).
    """

    thresholds: Array
    hits: Doubles
    alarms: Doubles


def ranking(target: Array, score: Array) -> Ranking:
    """Counts of both labels above each distinct score.

    Args:
        target: 0 or 1, shape (rows,).
        score: higher means more likely 1, shape (rows,).
    """
    order = np.argsort(-score, kind="stable")
    falling, positive = score[order], target[order] > 0
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    hits = np.cumsum(positive, dtype=np.float64)[last]
    return Ranking(falling[last], hits, last + 1.0 - hits)


def roc_curve(ranked: Ranking) -> tuple[Doubles, Doubles]:
    """False and true positive rates, both rising from 0 to 1; NaN when a label is absent."""
    with np.errstate(invalid="ignore"):
        false_rate = np.append(0.0, ranked.alarms) / ranked.alarms[-1]
        true_rate = np.append(0.0, ranked.hits) / ranked.hits[-1]
    return false_rate, true_rate


def roc_auc(ranked: Ranking) -> float:
    """Probability that a row of label 1 has a higher score than one of label 0, ties counting half; NaN without both.

    Source: the Mann-Whitney statistic; Fawcett (2006), "An introduction to ROC analysis".
    """
    false_rate, true_rate = roc_curve(ranked)
    return float(np.trapezoid(true_rate, false_rate))


def precision_recall(ranked: Ranking) -> tuple[Doubles, Doubles]:
    """Precision and recall at each threshold, recall rising; NaN recall when no row has label 1."""
    with np.errstate(invalid="ignore"):
        return ranked.hits / (ranked.hits + ranked.alarms), ranked.hits / ranked.hits[-1]


def average_precision(ranked: Ranking) -> float:
    """Area under the precision-recall curve as a sum of steps, from 0 to 1; the share of label 1 for a blind score."""
    precision, recall = precision_recall(ranked)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def best_f1(ranked: Ranking) -> float:
    """The threshold with the highest F1; the highest such threshold when several share it."""
    f1 = 2 * ranked.hits / (ranked.hits + ranked.alarms + ranked.hits[-1])
    return float(ranked.thresholds[int(np.argmax(f1))])


def log_loss(target: Array, probability: Array) -> float:
    """Mean negative log likelihood in nats; at least 0.

    Args:
        target: class numbers, shape (rows,).
        probability: of label 1, shape (rows,), or of each class, shape (rows, classes).
    """
    chances = np.clip(probability.astype(np.float64), FLOOR, 1 - FLOOR)
    if chances.ndim == 1:
        return float(-np.mean(np.where(target > 0, np.log(chances), np.log1p(-chances))))
    chances /= chances.sum(axis=1, keepdims=True)
    return float(-np.mean(np.log(chances[np.arange(len(target)), target.astype(np.int64)])))


def brier_score(target: Array, probability: Array) -> float:
    """Mean squared difference of probability and label, from 0 to 1. Source: Brier (1950)."""
    return float(np.mean((probability.astype(np.float64) - target) ** 2))


def confusion(target: Array, label: Array, classes: int) -> NDArray[np.int64]:
    """Rows counted by actual class (first axis) and predicted class (second axis), shape (classes, classes)."""
    cells = target.astype(np.int64) * classes + label.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def ratio(part: float, whole: float) -> float:
    """`part / whole`, and 0 where the whole is 0: no prediction of a label means no correct one."""
    return part / whole if whole else 0.0


def f_score(precision: float, recall: float, beta: float) -> float:
    """Weighted harmonic mean of precision and recall; recall counts beta times as much."""
    return ratio((1 + beta**2) * precision * recall, beta**2 * precision + recall)


def binary_scalars(target: Array, probability: Array, threshold: float) -> dict[str, float]:
    """Figures of a binary classifier, by the names of SageMaker's model quality metrics.

    Args:
        target: 0 or 1, shape (rows,).
        probability: of label 1, shape (rows,).
        threshold: probabilities from here on mean label 1.
    """
    (true_negative, false_positive), (false_negative, true_positive) = confusion(
        target, (probability >= threshold).astype(np.float32), 2
    ).tolist()
    precision = ratio(true_positive, true_positive + false_positive)
    recall = ratio(true_positive, true_positive + false_negative)
    ranked = ranking(target, probability)
    share = float(np.mean(target))
    return {
        "accuracy": (true_positive + true_negative) / len(target),
        "precision": precision,
        "recall": recall,
        "f0_5": f_score(precision, recall, 0.5),
        "f1": f_score(precision, recall, 1),
        "f2": f_score(precision, recall, 2),
        "true_positive_rate": recall,
        "true_negative_rate": ratio(true_negative, true_negative + false_positive),
        "false_positive_rate": ratio(false_positive, true_negative + false_positive),
        "false_negative_rate": ratio(false_negative, true_positive + false_negative),
        "auc": roc_auc(ranked),
        "aucpr": average_precision(ranked),
        "logloss": log_loss(target, probability),
        "brier": brier_score(target, probability),
        # The constant answer that is best for each figure: always 1, but for accuracy whichever label is more frequent.
        "accuracy_best_constant_classifier": max(share, 1 - share),
        "precision_best_constant_classifier": share,
        "recall_best_constant_classifier": 1.0 if share else 0.0,
        **{f"{name}_best_constant_classifier": f_score(share, 1.0, beta) for name, beta in F_BETAS.items()},
    }


F_BETAS: Final[Mapping[str, float]] = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


def multiclass_scalars(target: Array, probability: Array) -> dict[str, float]:
    """Figures of a classifier of more than two classes; `weighted_` means by the class's share of the rows."""
    label = probability.argmax(axis=1).astype(np.float32)
    constant = np.full_like(label, np.bincount(target.astype(np.int64)).argmax())
    return {
        **labelled_scalars(confusion(target, label, probability.shape[1])),
        "logloss": log_loss(target, probability),
        **{
            f"{name}_best_constant_classifier": value
            for name, value in labelled_scalars(confusion(target, constant, probability.shape[1])).items()
        },
    }


def labelled_scalars(counts: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy and weighted figures of a confusion matrix, shape (classes, classes), actual class first."""
    right, actual, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    precision = [ratio(part, whole) for part, whole in zip(right.tolist(), predicted.tolist(), strict=True)]
    recall = [ratio(part, whole) for part, whole in zip(right.tolist(), actual.tolist(), strict=True)]
    shares = actual / counts.sum()
    figures = {"precision": precision, "recall": recall}
    for name, beta in F_BETAS.items():
        figures[name] = [f_score(one, other, beta) for one, other in zip(precision, recall, strict=True)]
    return {
        "accuracy": float(right.sum() / counts.sum()),
        **{f"weighted_{name}": float(np.dot(shares, values)) for name, values in figures.items()},
    }


def regression_scalars(target: Array, predicted: Array) -> dict[str, float]:
    """Mean absolute and squared error, its root, and the share of the variance that is explained (at most 1)."""
    error = predicted.astype(np.float64) - target.astype(np.float64)
    spread = target.astype(np.float64) - np.mean(target, dtype=np.float64)
    mse = float(np.mean(error**2))
    variance = float(np.mean(spread**2))
    return {
        "mae": float(np.mean(np.abs(error))),
        "mse": mse,
        "rmse": mse**0.5,
        "r2": 1 - mse / variance if variance else float("nan"),
    }


def scalars(task: Task, target: Array, predicted: Array, threshold: float) -> dict[str, float]:
    """All figures of a task's predictions."""
    if task == "binary":
        return binary_scalars(target, predicted, threshold)
    return multiclass_scalars(target, predicted) if task == "multiclass" else regression_scalars(target, predicted)


@dataclass(frozen=True)
class Calibration:
    """Mean prediction against mean outcome in bins of about equally many rows, shape (bins,) each."""

    predicted: Doubles
    observed: Doubles
    counts: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Mean absolute difference of the two, weighted by rows (the expected calibration error)."""
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.counts))


def calibration(target: Array, predicted: Array, bins: int = CALIBRATION_BINS) -> Calibration:
    """Whether predictions mean what they say: outcomes averaged over rows of like predictions.

    Args:
        target: labels or numbers, shape (rows,).
        predicted: probabilities or numbers, shape (rows,).
        bins: how many bins; fewer are given back where predictions repeat.
    """
    values = predicted.astype(np.float64)
    edges = np.quantile(values, np.linspace(0, 1, bins + 1))
    index = np.searchsorted(edges[1:-1], values)
    counts = np.bincount(index, minlength=bins)
    kept = counts > 0
    return Calibration(
        predicted=np.bincount(index, weights=values, minlength=bins)[kept] / counts[kept],
        observed=np.bincount(index, weights=target.astype(np.float64), minlength=bins)[kept] / counts[kept],
        counts=counts[kept],
    )


def thinned(values: Array, points: int = CURVE_POINTS) -> list[float]:
    """At most `points` of the values, evenly spaced, the first and the last among them."""
    if len(values) > points:
        values = values[np.linspace(0, len(values) - 1, points).round().astype(np.int64)]
    return [float(value) for value in values]


ROUND_METRICS: Final[Mapping[str, Callable[[Array, Array], float]]] = {
    "auc": lambda target, predicted: roc_auc(ranking(target, predicted)),
    "aucpr": lambda target, predicted: average_precision(ranking(target, predicted)),
    "logloss": log_loss,
    "mlogloss": log_loss,
    "error": lambda target, predicted: float(np.mean((predicted > 0.5) != (target > 0))),
    "merror": lambda target, predicted: float(np.mean(predicted.argmax(axis=1) != target)),
    "mae": lambda target, predicted: regression_scalars(target, predicted)["mae"],
    "rmse": lambda target, predicted: regression_scalars(target, predicted)["rmse"],
}
"""Metrics that frameworks without their own report after each round, by XGBoost's names."""
