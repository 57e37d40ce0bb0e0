"""The distribution of a model's scores, against which later scores are compared."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from components.algorithm.evaluation import Array

BINS: Final = 20


def distribution(score: Array, bins: int = BINS) -> dict[str, list[Any]]:
    """Scores counted in bins of about equally many.

    Args:
        score: shape (rows,), at least one.
        bins: how many bins are wanted; scores that repeat give fewer.

    Returns:
        `edges`, rising, the lowest and the highest score first and last; and `counts`, one fewer, summing to the rows.
        A bin holds its lower edge, the last bin its upper one too. One distinct score gives one bin without width.
    """
    values = score.astype(np.float64)
    # Edges are scores that occur: interpolated ones would move with the last digit of the arithmetic.
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1), method="nearest"))
    if len(edges) == 1:
        return {"edges": [float(edges[0])] * 2, "counts": [len(values)]}
    counts, _ = np.histogram(values, edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
