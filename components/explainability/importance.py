"""Global importance: how much each feature moves the margin, over all explained rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Importance:
    """Means over rows, in margin space, shape (outputs, features) each.

    Attributes:
        rows: how many rows were explained.
        mean_absolute: mean of `|attribution|`: at least 0, the usual "global SHAP value".
        mean: mean of the attribution: near 0 on rows like the training's, apart from it where rows have moved.
    """

    rows: int
    mean_absolute: Array
    mean: Array


class ImportanceSummary:
    """Importance of a stream of batches. Sums are double precision: in whatever batches the rows come, and merged in
    whatever order, results agree to about 1e-15 times their size per batch.
    """

    def __init__(self, outputs: int, features: int) -> None:
        self.rows = 0
        self._absolute = np.zeros((outputs, features))
        self._signed = np.zeros((outputs, features))

    def update(self, values: Array) -> None:
        """Add a batch of attributions, shape (rows, outputs, features)."""
        self.rows += values.shape[0]
        self._absolute += np.abs(values).sum(axis=0, dtype=np.float64)
        self._signed += values.sum(axis=0, dtype=np.float64)

    def merge(self, other: ImportanceSummary) -> None:
        """Add what another summary has seen."""
        self.rows += other.rows
        self._absolute += other._absolute
        self._signed += other._signed

    def result(self) -> Importance:
        """The means so far; zeros when there was no row."""
        rows = max(self.rows, 1)
        return Importance(self.rows, self._absolute / rows, self._signed / rows)
