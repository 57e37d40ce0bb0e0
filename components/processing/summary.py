"""What is known of a column after one pass: taken in batch by batch, and the summaries of two passes merge.

Moments are merged by the formulas of Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
computing sample variances" (1979), which lose no digits to a large mean.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shared.schema import Type

DISTINCT: Final = 1_000
"""Different numbers that are counted before the count stops."""

NEARLY: Final = 0.05
"""Share of cells up to which those that are no numbers are taken for strays among numbers."""


def numbers_of(column: pl.Series) -> NDArray[np.float64]:
    """The numbers that are there, shape (n,); dates as days, timestamps as microseconds."""
    there = filled(column)
    return (there.to_physical() if there.dtype.is_temporal() else there).cast(pl.Float64).to_numpy()


def filled(column: pl.Series) -> pl.Series:
    """The cells that are there; asked for only where some are not, because Polars plans a query for it."""
    return column.drop_nulls() if column.null_count() else column


@dataclass
class Numbers:
    """Count, moments and extremes of a column of numbers; dates count in days, timestamps in microseconds."""

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared deviations from the mean."""
    minimum: float = math.inf
    maximum: float = -math.inf
    distinct: set[float] = field(default_factory=set)

    def update(self, column: pl.Series) -> None:
        """Take in a batch."""
        values = numbers_of(column)
        self.missing += len(column) - values.size
        if not values.size:
            return
        # Squares of numbers from about 1e154 on overflow: `measured` tells so, once all rows are known.
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values.mean())
            squares = float(np.square(values - mean).sum())
        # An exact minimum and maximum may not depend on how a mean was rounded, so neither is derived from it.
        batch = Numbers(values.size, 0, mean, squares, values.min(), values.max())
        if self.few:
            batch.distinct = set(np.unique(values)[: DISTINCT + 1].tolist())
        self.merge(batch)

    def merge(self, other: Numbers) -> None:
        """Take in what another summary knows of other rows."""
        total = self.count + other.count
        if other.count:
            step = other.mean - self.mean
            self.squares += other.squares + step * step * self.count * other.count / total
            self.mean += step * other.count / total
            self.minimum = min(self.minimum, float(other.minimum))
            self.maximum = max(self.maximum, float(other.maximum))
        if self.few:
            self.distinct |= other.distinct
        self.count = total
        self.missing += other.missing

    @property
    def few(self) -> bool:
        """Whether all different numbers are known; beyond `DISTINCT` they are no longer counted."""
        return len(self.distinct) <= DISTINCT

    @property
    def measured(self) -> bool:
        """Whether the moments are known: they are not where numbers are so great that double precision overflows."""
        return not self.count or (math.isfinite(self.squares) and math.isfinite(self.mean))

    @property
    def deviation(self) -> float:
        """Population standard deviation: the root of the mean squared deviation; 0 without numbers."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    def result(self) -> dict[str, Any]:
        """The figures as JSON values."""
        known = self.count > 0
        return {
            "rows": self.count + self.missing,
            "missing": self.missing,
            "missing_share": share(self.missing, self.count + self.missing),
            "distinct": min(len(self.distinct), DISTINCT),
            "distinct_capped": not self.few,
            "minimum": self.minimum if known else None,
            "mean": self.mean if known else None,
            "deviation": self.deviation if known else None,
            "maximum": self.maximum if known else None,
        }


@dataclass
class Levels:
    """How often each level of a column of text occurs."""

    missing: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def update(self, column: pl.Series) -> None:
        """Take in a batch."""
        self.missing += column.null_count()
        counted = filled(column).cast(pl.String).value_counts(sort=False)
        self.counts.update(dict(counted.iter_rows()))

    def merge(self, other: Levels) -> None:
        """Take in what another summary knows of other rows."""
        self.missing += other.missing
        self.counts.update(other.counts)

    @property
    def count(self) -> int:
        """Rows that are not missing."""
        return self.counts.total()

    def ranked(self) -> list[tuple[str, int]]:
        """Levels with their counts, most frequent first, equals by name."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))

    def strays(self) -> Counter[str]:
        """Levels that are no numbers where nearly all are; empty where most are text, or all are numbers.

        One stray cell makes a column of numbers one of text, which nobody meant; codes such as "12A" make many.
        """
        names = pl.Series(list(self.counts), dtype=pl.String)
        texts = names.filter(names.str.strip_chars().cast(pl.Float64, strict=False).is_null()).to_list()
        found = Counter({name: self.counts[name] for name in texts})
        return found if found.total() <= NEARLY * self.count else Counter()

    def result(self, top: int = 20) -> dict[str, Any]:
        """The figures as JSON values, with the `top` most frequent levels."""
        rows = self.count + self.missing
        return {
            "rows": rows,
            "missing": self.missing,
            "missing_share": share(self.missing, rows),
            "distinct": len(self.counts),
            "distinct_capped": False,
            "top": [{"level": name, "rows": count, "share": share(count, rows)} for name, count in self.ranked()[:top]],
        }


Summary = Numbers | Levels


def summary_of(kind: Type) -> Summary:
    """An empty summary for a column of this type."""
    return Levels() if kind == "text" else Numbers()


def share(part: int, whole: int) -> float | None:
    """`part / whole`, None of nothing."""
    return part / whole if whole else None


@dataclass
class Bins:
    """Counts of numbers between edges: bin i holds edges[i] <= x < edges[i + 1], the outer bins are open."""

    edges: tuple[float, ...]
    counts: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def between(cls, low: float, high: float, bins: int = 20) -> Bins:
        """Empty bins of equal width from `low` to `high`; one bin where the two are equal."""
        edges = np.linspace(low, high, bins + 1) if high > low else np.array([low, low + 1.0])
        return cls(tuple(float(edge) for edge in edges), np.zeros(len(edges) - 1, np.int64))

    @classmethod
    def like(cls, numbers: Numbers) -> Bins:
        """Empty bins from three deviations below the mean to three above, no further than the numbers reach."""
        spread = 3 * numbers.deviation
        return cls.between(max(numbers.minimum, numbers.mean - spread), min(numbers.maximum, numbers.mean + spread))

    def update(self, column: pl.Series) -> None:
        """Take in a batch; missing numbers are in no bin."""
        values = numbers_of(column)
        places = np.searchsorted(np.asarray(self.edges[1:-1]), values, side="right")
        self.counts += np.bincount(places, minlength=self.counts.size)
