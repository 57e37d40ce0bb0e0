"""The distribution of a model's scores, against which later scores are compared."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from components.algorithm.evaluation import Array

BINS: Final = 20
STRETCHES: Final = 8
"""Stretches of rows whose scores are counted apart: how far they differ is how far scores move without any change."""


def distribution(score: Array, bins: int = BINS) -> dict[str, list[Any]]:
    """Scores counted in bins of about equally many.

    Args:
        score: shape (rows,), at least one.
        bins: how many bins are wanted; scores that repeat give fewer.

    Returns:
        `edges`, rising, the lowest and the highest score first and last; `counts`, one fewer, summing to the rows; and
        `blocks`, the same counts for each of at most `STRETCHES` stretches of rows in their order, summing to `counts`.
        A bin holds its lower edge, the last bin its upper one too. One distinct score gives one bin without width.
    """
    values = score.astype(np.float64)
    # Edges are scores that occur: interpolated ones would move with the last digit of the arithmetic.
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1), method="nearest"))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    stretches = [part for part in np.array_split(values, STRETCHES) if part.size]
    blocks = np.array([np.histogram(part, edges)[0] for part in stretches])
    return {"edges": edges.tolist(), "counts": blocks.sum(axis=0).tolist(), "blocks": blocks.tolist()}
