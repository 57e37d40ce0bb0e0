"""How well one ranking of features agrees with another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def normalised_discounted_cumulative_gain(training: Array, production: Array) -> float:
    """How well production ranks features (nDCG), by the gains that training gave them.

        nDCG = DCG(production's order) / DCG(training's order)
        DCG(order) = sum over positions i = 1, 2, ... of training[order(i)] / log2(i + 1)

    Features of equal importance in production share the mean of the discounts of their positions, so that the order in
    which they happen to stand means nothing.

    Args:
        training: importance of each feature in training, at least 0, shape (features,).
        production: importance of the same features in production, shape (features,).

    Returns:
        From 0 to 1; 1 when both orders agree, and when training gave no feature any importance.

    Raises:
        ValueError: the shapes differ, or a training importance is negative.

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20 (2002); ties as
    McSherry and Najork, ECIR 2008; as attribution drift: "Feature attribution drift for models in production",
    SageMaker Developer Guide.
    """
    if training.shape != production.shape or training.ndim != 1:
        raise ValueError(f"shapes {training.shape} and {production.shape}, wanted two of (features,).")
    if (training < 0).any():
        raise ValueError("a training importance is negative.")
    best = float(np.sort(training)[::-1] @ discounts(training.size))
    if best == 0:
        return 1.0
    return min(1.0, float(training @ shared_discounts(production)) / best)


def discounts(count: int) -> Array:
    """`1 / log2(i + 1)` for positions i = 1 ... count."""
    return 1 / np.log2(np.arange(2, count + 2))


def shared_discounts(scores: Array) -> Array:
    """The discount of each item's position when items are sorted by falling score, averaged over equal scores."""
    _, group, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    totals = np.add.reduceat(discounts(scores.size), np.concatenate([[0], np.cumsum(sizes)[:-1]]))
    return (totals / sizes)[group]
