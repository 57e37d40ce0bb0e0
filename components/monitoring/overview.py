"""The first pass over the training data: ranges, levels, and a sample that the edges of the bins are taken from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.monitoring.reading import Reading, seconds
from shared.schema import Schema

SAMPLE_ROWS: Final = 65_536
"""1,000 rows a bin at 64 bins: a bin's mass is then within 3 % (one standard deviation) of the one aimed at."""
MOST_LEVELS: Final = 100_000
"""A text column with more levels is taken for free text; what it costs to count further is memory without end."""


def row_hashes(start: int, count: int) -> NDArray[np.uint64]:
    """Numbers that look random, one for each row number from `start`: the same ones every time, on every machine.

    Source: the finalizer of splitmix64 (Steele, Lea and Flood 2014).
    """
    value = (np.arange(start + 1, start + count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass
class RowSample:
    """At most `capacity` rows, each as likely as any other, whatever the batches they came in.

    A KLL sketch would do in one pass, but its compactions are random and cannot be seeded, and a baseline has to be
    the same bytes each time. Rows are kept whose number's hash lies below a limit; the limit is halved when they
    become too many. Exact when the data have no more rows than that.
    """

    capacity: int = SAMPLE_ROWS
    _bits: int = 0
    _rows: pl.DataFrame | None = None
    _hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))

    def update(self, rows: pl.DataFrame, start: int) -> None:
        """Take rows whose first has the number `start`."""
        self._add(rows, row_hashes(start, rows.height))

    def merge(self, other: RowSample) -> None:
        """Take what another sample of the same data kept."""
        self._bits = max(self._bits, other._bits)
        if other._rows is not None:
            self._add(other._rows, other._hashes)

    def result(self) -> pl.DataFrame:
        """The rows kept, in the order in which they came."""
        return self._rows if self._rows is not None else pl.DataFrame()

    def _add(self, rows: pl.DataFrame, hashes: NDArray[np.uint64]) -> None:
        self._rows = rows if self._rows is None else pl.concat([self._rows, rows])
        self._hashes = np.concatenate([self._hashes, hashes])
        self._keep()
        while self._rows.height > self.capacity:
            self._bits += 1
            self._keep()

    def _keep(self) -> None:
        kept = (
            (self._hashes >> np.uint64(64 - self._bits)) == 0
            if self._bits
            else np.ones(len(self._hashes), dtype=np.bool_)
        )
        if self._rows is not None and not kept.all():
            self._rows, self._hashes = self._rows.filter(pl.Series(kept)), self._hashes[kept]


@dataclass
class Levels:
    """How often each different value occurs, until there are more than `most` of them: then only that."""

    most: int
    counts: dict[str, int] | None = field(default_factory=dict)

    def update(self, values: pl.Series) -> None:
        """Take values as text."""
        if self.counts is None:
            return
        # Past the limit the exact number is of no interest, so a batch with more is not even listed.
        if values.n_unique() > self.most:
            self.counts = None
            return
        self._add(dict(values.value_counts().iter_rows()))

    def merge(self, other: Levels) -> None:
        """Take another's counts."""
        if other.counts is None:
            self.counts = None
        else:
            self._add(other.counts)

    def _add(self, more: dict[str, int]) -> None:
        if self.counts is None:
            return
        for level, count in more.items():
            self.counts[level] = self.counts.get(level, 0) + count
        if len(self.counts) > self.most:
            self.counts = None


@dataclass
class Range:
    """Smallest and greatest of the values seen, and how many there were; infinite the wrong way round before any."""

    count: int = 0
    low: float = float("inf")
    high: float = float("-inf")

    def update(self, values: NDArray[np.float64]) -> None:
        """Take values without NaN."""
        if values.size:
            self._add(values.size, float(values.min()), float(values.max()))

    def merge(self, other: Range) -> None:
        """Take another's values."""
        self._add(other.count, other.low, other.high)

    def _add(self, count: int, low: float, high: float) -> None:
        self.count, self.low, self.high = self.count + count, min(self.low, low), max(self.high, high)


class Overview:
    """Summary of the first pass, for the columns of one schema: `update`, `merge`, and then its attributes.

    Attributes:
        rows: how many there were.
        valid: per column, how many values were present and of its type.
        ranges: of the columns of numbers.
        levels: of the columns of text, booleans and whole numbers.
        time: range of the time column in seconds since 1970.
        sample: of the columns of numbers.
    """

    def __init__(self, schema: Schema, time: str | None, integer_levels: int) -> None:
        types = {column.name: column.type for column in schema.columns}
        self.rows = 0
        self.valid = dict.fromkeys(schema.names, 0)
        self.wrong = dict.fromkeys(schema.names, 0)
        self.ranges = {name: Range() for name, type_ in types.items() if type_ in ("integer", "number")}
        self.levels = {
            name: Levels(integer_levels if type_ == "integer" else MOST_LEVELS)
            for name, type_ in types.items()
            if type_ in ("integer", "boolean", "text")
        }
        self.time = Range()
        self.sample = RowSample()
        self._time = time

    def update(self, reading: Reading) -> None:
        """Take the rows of one reading, which has all columns of the schema."""
        table = reading.table
        self.rows += table.height
        for name in self.valid:
            self.valid[name] += table.height - table[name].null_count()
            self.wrong[name] += int(reading.wrong[name].sum())
        for name, found in self.ranges.items():
            found.update(table[name].drop_nulls().cast(pl.Float64).to_numpy())
        for name, levels in self.levels.items():
            levels.update(table[name].drop_nulls().cast(pl.String))
        if self._time is not None:
            self.time.update(seconds(table[self._time]).drop_nulls().cast(pl.Float64).to_numpy())
        self.sample.update(table.select(pl.col(list(self.ranges)).cast(pl.Float64)), reading.start)

    def merge(self, other: Overview) -> None:
        """Take another's rows, of the same schema."""
        self.rows += other.rows
        for name in self.valid:
            self.valid[name] += other.valid[name]
            self.wrong[name] += other.wrong[name]
        for name, found in self.ranges.items():
            found.merge(other.ranges[name])
        for name, levels in self.levels.items():
            levels.merge(other.levels[name])
        self.time.merge(other.time)
        self.sample.merge(other.sample)
