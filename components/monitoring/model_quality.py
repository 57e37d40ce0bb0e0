"""How good a model's scores were, once the outcome is known. Arithmetic on arrays, and Model Monitor's file of it.

Source of names and shapes: "Model Quality Metrics" in the SageMaker Developer Guide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.monitoring.distributions import FloatArray

Labels: TypeAlias = NDArray[np.bool_]
CURVE_POINTS: Final = 200
"""Most points of a curve that is written down."""
FEW: Final = 200
"""Below so many rows Model Monitor gives no standard deviation."""
CALIBRATION_BINS: Final = 10


@dataclass(frozen=True)
class Confusion:
    """Rows by outcome and decision."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def accuracy(self) -> float:
        """Share of the rows decided rightly, from 0 to 1."""
        total = self.true_positive + self.false_positive + self.true_negative + self.false_negative
        return _share(self.true_positive + self.true_negative, total)

    @property
    def precision(self) -> float:
        """Share of the rows decided positive that are; 0 when none was."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """Share of the positive rows that were decided so; 0 when there are none."""
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def false_positive_rate(self) -> float:
        """Share of the negative rows that were decided positive; 0 when there are none."""
        return _share(self.false_positive, self.false_positive + self.true_negative)

    def f(self, beta: float) -> float:
        """The F measure, from 0 to 1: recall weighs beta times as much as precision (van Rijsbergen 1979)."""
        return f_measure(self.precision, self.recall, beta)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def f_measure(precision: float, recall: float, beta: float) -> float:
    """(1 + b²) P R / (b² P + R), from 0 to 1; 0 when both are 0."""
    return _share((1 + beta**2) * precision * recall, beta**2 * precision + recall)


def confusion(labels: Labels, decisions: Labels) -> Confusion:
    """Rows by outcome and decision, both of shape (rows,)."""
    return Confusion(
        int(np.sum(labels & decisions)),
        int(np.sum(~labels & decisions)),
        int(np.sum(~labels & ~decisions)),
        int(np.sum(labels & ~decisions)),
    )


@dataclass(frozen=True)
class Curve:
    """Rows above each distinct score, from the highest score down: true and false positives, each shape (points,)."""

    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]

    @property
    def true_positive_rates(self) -> FloatArray:
        """Share of the positive rows above each score, beginning at 0 above them all, ending at 1."""
        return _rates(self.true_positives)

    @property
    def false_positive_rates(self) -> FloatArray:
        """Share of the negative rows above each score, beginning at 0, ending at 1."""
        return _rates(self.false_positives)

    @property
    def precisions(self) -> FloatArray:
        """Share of positive rows among those above each score."""
        return np.asarray(self.true_positives / (self.true_positives + self.false_positives), dtype=np.float64)

    @property
    def recalls(self) -> FloatArray:
        """Share of the positive rows above each score."""
        return self.true_positive_rates[1:]


def _rates(counts: NDArray[np.int64]) -> FloatArray:
    return np.concatenate([[0.0], counts / max(int(counts[-1]), 1)])


def curve(labels: Labels, scores: FloatArray) -> Curve:
    """What deciding at each distinct score would give; rows of equal score are decided alike. Shapes (rows,)."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    positives = np.cumsum(labels[order])[ends]
    return Curve(positives.astype(np.int64), (ends + 1 - positives).astype(np.int64))


def area_under_roc(labels: Labels, scores: FloatArray) -> float | None:
    """Chance that a positive row scores above a negative one, ties counted half.

    Args:
        labels: shape (rows,).
        scores: shape (rows,), finite.

    Returns:
        From 0 to 1; None when all rows have the same outcome.

    Source: Hanley and McNeil (1982).
    """
    if labels.all() or not labels.any():
        return None
    found = curve(labels, scores)
    return float(np.trapezoid(found.true_positive_rates, found.false_positive_rates))


def average_precision(labels: Labels, scores: FloatArray) -> float | None:
    """Precision averaged over recall, step by step, from 0 to 1; None without a positive row."""
    if not labels.any():
        return None
    found = curve(labels, scores)
    return float(np.sum(np.diff(found.true_positive_rates) * found.precisions))


def brier_score(labels: Labels, scores: FloatArray) -> float:
    """Mean squared difference of score and outcome; the base rate b alone gives b (1 - b). Source: Brier (1950)."""
    return float(np.mean((scores - labels) ** 2))


def calibration(labels: Labels, scores: FloatArray, bins: int = CALIBRATION_BINS) -> tuple[FloatArray, FloatArray]:
    """Mean score and share of positive rows in bins of about equal size, each of shape (at most bins,)."""
    edges = np.unique(np.quantile(scores, np.arange(1, bins) / bins, method="inverted_cdf"))
    places = np.searchsorted(edges, scores, side="left")
    rows = np.bincount(places, minlength=len(edges) + 1)
    held = rows > 0
    means = np.bincount(places, weights=scores, minlength=len(edges) + 1)[held] / rows[held]
    shares = np.bincount(places, weights=labels.astype(np.float64), minlength=len(edges) + 1)[held] / rows[held]
    return means, shares


def binary_scalars(labels: Labels, scores: FloatArray, threshold: float) -> dict[str, float | None]:
    """Every figure of a binary model by Model Monitor's name, and average precision and Brier score besides."""
    found = confusion(labels, scores >= threshold)
    return {
        "accuracy": found.accuracy,
        "precision": found.precision,
        "recall": found.recall,
        "true_positive_rate": found.recall,
        "true_negative_rate": 1 - found.false_positive_rate if not labels.all() else 0.0,
        "false_positive_rate": found.false_positive_rate,
        "false_negative_rate": 1 - found.recall if labels.any() else 0.0,
        "auc": area_under_roc(labels, scores),
        "f0_5": found.f(0.5),
        "f1": found.f(1),
        "f2": found.f(2),
        "average_precision": average_precision(labels, scores),
        "brier_score": brier_score(labels, scores),
    }


def constant_scalars(labels: Labels) -> dict[str, float]:
    """The best that a model without any inputs could do: all rows positive, or for accuracy the commoner outcome."""
    rate = float(labels.mean())
    return {
        "accuracy_best_constant_classifier": max(rate, 1 - rate),
        "precision_best_constant_classifier": rate,
        "recall_best_constant_classifier": 1.0 if rate else 0.0,
        "f0_5_best_constant_classifier": f_measure(rate, 1.0, 0.5) if rate else 0.0,
        "f1_best_constant_classifier": f_measure(rate, 1.0, 1) if rate else 0.0,
        "f2_best_constant_classifier": f_measure(rate, 1.0, 2) if rate else 0.0,
    }


def regression_scalars(labels: FloatArray, scores: FloatArray) -> dict[str, float | None]:
    """Mean absolute and squared error, its root, and the share of variance explained (None for a constant outcome)."""
    errors = scores - labels
    variance = float(np.mean((labels - labels.mean()) ** 2))
    mse = float(np.mean(errors**2))
    return {
        "mae": float(np.mean(np.abs(errors))),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": 1 - mse / variance if variance > 0 else None,
    }


def with_deviations(
    figures: Callable[[NDArray[Any], FloatArray], Mapping[str, float | None]], labels: NDArray[Any], scores: FloatArray
) -> dict[str, dict[str, Any]]:
    """Figures as Model Monitor writes them, each with its standard deviation over five samples of 80 % of the rows.

    The samples are the same every time. Below 200 rows the deviation is the text `NaN`, as there. A figure that cannot
    be told (the AUC of rows with one outcome) is left out.
    """
    values = figures(labels, scores)
    random = np.random.default_rng(0)
    samples = []
    if len(labels) >= FEW:
        for _ in range(5):
            rows = random.permutation(len(labels))[: len(labels) * 4 // 5]
            samples.append(figures(labels[rows], scores[rows]))
    written: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if value is None:
            continue
        found = [sample[name] for sample in samples]
        known = [one for one in found if one is not None]
        written[name] = {"value": value, "standard_deviation": float(np.std(known)) if known else "NaN"}
    return written


def thinned(values: NDArray[Any], most: int = CURVE_POINTS) -> list[float]:
    """At most so many of the values, evenly spaced, the first and the last among them."""
    places = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return [float(value) for value in values[places]]


def binary_json(labels: Labels, scores: FloatArray, threshold: float) -> dict[str, Any]:
    """The content of `binary_classification_metrics`; curves only when both outcomes occur."""

    def figures(some: NDArray[Any], theirs: FloatArray) -> Mapping[str, float | None]:
        return binary_scalars(some, theirs, threshold) | constant_scalars(some)

    found = confusion(labels, scores >= threshold)
    value: dict[str, Any] = {
        "confusion_matrix": {
            "0": {"0": found.true_negative, "1": found.false_positive},
            "1": {"0": found.false_negative, "1": found.true_positive},
        },
        **with_deviations(figures, labels, scores),
    }
    if labels.any() and not labels.all():
        points = curve(labels, scores)
        value["receiver_operating_characteristic_curve"] = {
            "false_positive_rates": thinned(points.false_positive_rates),
            "true_positive_rates": thinned(points.true_positive_rates),
        }
        value["precision_recall_curve"] = {"precisions": thinned(points.precisions), "recalls": thinned(points.recalls)}
    return value


def regression_json(labels: FloatArray, scores: FloatArray) -> dict[str, Any]:
    """The content of `regression_metrics`, and what always guessing the mean would give."""
    constant = regression_scalars(labels, np.full_like(labels, labels.mean()))
    base = {f"{name}_best_constant": {"value": value} for name, value in constant.items() if value is not None}
    return {**with_deviations(regression_scalars, labels, scores), **base}
