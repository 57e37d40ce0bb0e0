"""Reasons of a score: the features that moved it most."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

KINDS: Final = (pl.String, pl.Float64, pl.Float32)
"""Types of the three columns of a reason."""


def strongest(values: Array, count: int) -> NDArray[np.intp]:
    """Positions of the features with the largest `|attribution|`, the largest first, of equal ones the first.

    Args:
        values: attributions to one output, shape (rows, features).
        count: how many to give; no more than there are features.

    Returns:
        Shape (rows, min(count, features)).
    """
    return np.argsort(-np.abs(values), axis=1, kind="stable")[:, :count]


def reason_columns(values: Array, matrix: Array, features: tuple[str, ...], count: int) -> list[pl.Series]:
    """The reasons of each row as columns `reason_1, value_1, attribution_1, reason_2, ...`.

    Args:
        values: attributions to one output, shape (rows, features).
        matrix: the features' values, NaN where missing, same shape.
        features: their names.
        count: how many reasons a row; those beyond the number of features stay empty.

    Returns:
        For each reason the feature's name, its value (empty when missing), and its attribution. A feature that moved
        nothing is no reason: all three are empty.
    """
    order = strongest(values, count)
    columns = []
    for place in range(count):
        if place >= order.shape[1]:
            columns += _columns(place + 1, *(pl.Series([None] * len(values), dtype=kind) for kind in KINDS))
            continue
        chosen = order[:, place : place + 1]
        attribution = np.take_along_axis(values, chosen, axis=1)[:, 0]
        moved = pl.Series(attribution != 0)
        parts = (
            pl.Series(features, dtype=pl.String).gather(chosen[:, 0]),
            pl.Series(np.take_along_axis(matrix, chosen, axis=1)[:, 0]).fill_nan(None),
            pl.Series(attribution),
        )
        columns += _columns(place + 1, *(part.zip_with(moved, pl.Series([None], dtype=part.dtype)) for part in parts))
    return columns


def _columns(rank: int, name: pl.Series, value: pl.Series, attribution: pl.Series) -> list[pl.Series]:
    return [name.alias(f"reason_{rank}"), value.alias(f"value_{rank}"), attribution.alias(f"attribution_{rank}")]
