"""Counts of a table's values in fixed cells: the summary that both modes stream data through. Merging is addition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.monitoring.cells import Cells
from components.monitoring.distributions import Counts
from components.monitoring.reading import Reading

NAMED: Final = 1000
"""Unknown levels whose names are kept of one column."""


@dataclass
class Moments:
    """Count, sum, mean, squared deviations and range of the numbers seen."""

    count: int = 0
    total: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def update(self, values: NDArray[np.float64]) -> None:
        """Take values without NaN."""
        if values.size:
            mean = float(values.mean())
            squares = float(np.sum((values - mean) ** 2))
            self.merge(
                Moments(values.size, float(values.sum()), mean, squares, float(values.min()), float(values.max()))
            )

    def merge(self, other: Moments) -> None:
        """Take another's numbers.

        Source: the pairwise update of Chan, Golub and LeVeque (1979), which does not cancel as sums of squares do.
        """
        count = self.count + other.count
        if not other.count:
            return
        gap = other.mean - self.mean
        self.squares += other.squares + gap**2 * self.count * other.count / count
        self.mean += gap * other.count / count
        self.count, self.total = count, self.total + other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def deviation(self) -> float:
        """Standard deviation of the numbers as a whole (divided by their count); 0 without any."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


@dataclass(frozen=True)
class Blocks:
    """Which block each row of a table lies in: the blocks' numbers, ascending, and each row's place among them."""

    keys: tuple[int, ...]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, numbers: NDArray[np.int64]) -> Blocks:
        """Blocks from each row's number."""
        keys, places = np.unique(numbers, return_inverse=True)
        return cls(tuple(keys.tolist()), places)


@dataclass
class ColumnTally:
    """Counts of one column: per block its cells, then the missing values, then those of the wrong type."""

    cells: Cells
    blocks: dict[int, Counts] = field(default_factory=dict)
    moments: Moments = field(default_factory=Moments)
    unknown: dict[str, int] = field(default_factory=dict)

    def update(self, values: pl.Series, wrong: NDArray[np.bool_], blocks: Blocks) -> None:
        """Take values of the column's type, which of them were wrong, and the block that each lies in."""
        width = self.cells.size + 2
        numbers = np.where(wrong, width - 1, self.cells.numbers(values))
        height = len(blocks.keys)
        counted = np.bincount(blocks.places * width + numbers, minlength=height * width).reshape(height, width)
        for key, row in zip(blocks.keys, counted, strict=True):
            self._count(key, row)
        if self.cells.kind == "numbers":
            self.moments.update(values.drop_nulls().cast(pl.Float64).to_numpy())
        elif self.cells.kind == "levels":
            self._name(values.filter(pl.Series(numbers == len(self.cells.levels))).cast(pl.String))

    def merge(self, other: ColumnTally) -> None:
        """Take another's counts in the same cells."""
        for key, row in other.blocks.items():
            self._count(key, row)
        self.moments.merge(other.moments)
        self._add_names(other.unknown)

    def _count(self, key: int, row: Counts) -> None:
        self.blocks[key] = self.blocks[key] + row if key in self.blocks else row

    def _name(self, values: pl.Series) -> None:
        if len(values):
            self._add_names(dict(values.value_counts(sort=True).head(NAMED).iter_rows()))

    def _add_names(self, more: Mapping[str, int]) -> None:
        for level, count in more.items():
            if level in self.unknown or len(self.unknown) < NAMED:
                self.unknown[level] = self.unknown.get(level, 0) + count

    def matrix(self) -> tuple[NDArray[np.int64], Counts]:
        """Numbers of the blocks, ascending, shape (n_blocks,), and their counts, shape (n_blocks, n_cells + 2)."""
        keys = sorted(self.blocks)
        rows = [self.blocks[key] for key in keys] or [np.zeros(self.cells.size + 2, dtype=np.int64)]
        return np.array(keys or [0], dtype=np.int64), np.stack(rows)

    @property
    def counts(self) -> Counts:
        """Counts per cell over all blocks, shape (n_cells,)."""
        total: Counts = self.matrix()[1].sum(axis=0)
        return total[: self.cells.size]

    @property
    def missing(self) -> int:
        """How many values were missing."""
        return int(self.matrix()[1].sum(axis=0)[-2])

    @property
    def wrong(self) -> int:
        """How many values were of another type, or infinite."""
        return int(self.matrix()[1].sum(axis=0)[-1])


class Tally:
    """Counts of all columns that are there, and how many rows and which time they cover."""

    def __init__(self, cells: Mapping[str, Cells]) -> None:
        self.columns = {name: ColumnTally(one) for name, one in cells.items()}
        self.rows = 0

    def update(self, reading: Reading, blocks: NDArray[np.int64] | None = None) -> None:
        """Take the rows of a reading; `blocks` says which block each lies in, one block without it."""
        height = reading.table.height
        self.rows += height
        numbered = Blocks.of(np.zeros(height, dtype=np.int64) if blocks is None else blocks)
        # Once: Polars lists the names anew, of all columns, each time that it is asked.
        there = set(reading.table.columns)
        for name, column in self.columns.items():
            if name in there:
                column.update(reading.table[name], reading.wrong[name], numbered)

    def merge(self, other: Tally) -> None:
        """Take another's counts of the same columns."""
        self.rows += other.rows
        for name, column in self.columns.items():
            column.merge(other.columns[name])
