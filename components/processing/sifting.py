"""Production rows on their way through the state: those that fit become features, the others are set aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from components.processing.derivation import derived, infinities
from components.processing.state import Category, Number, State, transformed
from shared.errors import DataError
from shared.schema import Schema, polars_type
from shared.single import GREATEST
from shared.tables import conformed

NAMED: Final = 1_000
"""Different reasons, or unseen levels of one column, that are counted one by one; production may bring any number."""
OTHERS: Final = "(others)"
NEARLY_GREATEST: Final = 3e38
"""Features up to it are well, which spares a closer look at nearly all batches; float32 reaches to 3.4e38."""


@dataclass
class Served:
    """Rows on their way through the state, and what was met on the way.

    Attributes:
        state: the fitted transformation.
        schema: the raw columns that it is applied to.
        rejected: the file that rows which do not fit are written to; absent when all fit.
        rows: rows read.
        refused: rows written to `rejected`.
        reasons: how many rows were refused for each reason.
        first: the first refused row, as a sentence.
        unseen: by column, how many rows had a level that training did not see, by level.
    """

    state: State
    schema: Schema
    rejected: Path
    rows: int = 0
    refused: int = 0
    first: str = ""
    reasons: dict[str, int] = field(default_factory=dict)
    unseen: dict[str, dict[str, int]] = field(default_factory=dict)

    def tables(self, batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The features of the rows that fit, in their order; the others are written to `rejected`."""
        for batch in batches:
            fitting = self._sifted(batch)
            self._count_unseen(fitting)
            yield transformed(fitting, self.state)

    def _sifted(self, batch: pl.DataFrame) -> pl.DataFrame:
        table, reasons = conformed(batch, self.schema)
        table, late = derived_or_not(table, self.state)
        reasons = pl.select(pl.coalesce(reasons, late, beyond_single(table, self.state)).alias("reason")).to_series()
        wrong = reasons.is_not_null()
        if wrong.any():
            numbered = batch.with_row_index("row", self.rows + 1).with_columns(reasons)
            self._refuse(numbered.filter(wrong).select("row", "reason", *batch.columns))
        self.rows += batch.height
        return table.filter(~wrong)

    def _refuse(self, rows: pl.DataFrame) -> None:
        if not self.refused:
            self.first = f"row {rows['row'][0]}: {rows['reason'][0]}"
        with self.rejected.open("ab") as stream:
            rows.write_csv(stream, include_header=not self.refused)
        self.refused += rows.height
        for reason, count in rows["reason"].value_counts().iter_rows():
            key = reason if reason in self.reasons or len(self.reasons) < NAMED else OTHERS
            self.reasons[key] = self.reasons.get(key, 0) + count

    def _count_unseen(self, table: pl.DataFrame) -> None:
        for feature in self.state.features:
            if not isinstance(feature, Category):
                continue
            # Of a column and not of its table, because whatever is asked of a table costs time for all its columns.
            found = table[feature.column].to_frame().filter(feature.unseen()).to_series()
            counts = self.unseen.setdefault(feature.column, {})
            for level, count in found.value_counts().iter_rows():
                key = level if level in counts or len(counts) < NAMED else OTHERS
                counts[key] = counts.get(key, 0) + count


def derived_or_not(table: pl.DataFrame, state: State) -> tuple[pl.DataFrame, pl.Series]:
    """The table with its derived columns, and per row why they cannot be computed, null where they can: shape (rows,).

    An expression that fails for one value fails for the table, so it is halved until the rows that fail are alone.
    """
    try:
        full = derived(table, state.derivations)
    except DataError as error:
        if table.height == 1:
            blank = [pl.lit(None, polars_type(item.type)).alias(item.name) for item in state.derivations]
            return table.with_columns(blank), pl.Series("reason", [str(error)], dtype=pl.String)
        half = table.height // 2
        first, second = (derived_or_not(part, state) for part in (table[:half], table[half:]))
        return pl.concat([first[0], second[0]]), pl.concat([first[1], second[1]])
    return full, infinities(full, state.derivations)


def beyond_single(table: pl.DataFrame, state: State) -> pl.Series:
    """Per row why the algorithm would refuse its features: one is too large for float32. Null where none is.

    Args:
        table: raw and derived columns, shape (rows, …).
        state: makes the features.

    Returns:
        Text, shape (rows,).
    """
    # Of columns and not of their table, whose query engine takes its time to begin for a request of one row.
    columns = {column.name: column for column in table.get_columns()}
    great = [item for item in state.features if isinstance(item, Number) and reaches_far(columns[item.column], item)]
    if not great:
        return pl.Series("reason", [None] * table.height, dtype=pl.String)
    reasons = [
        pl.when(item.expressions()[0].cast(pl.Float32).is_infinite()).then(
            pl.lit(f"column {item.column!r} is '")
            + pl.col(item.column).cast(pl.String)
            + pl.lit(f"', wanted a number whose feature is from -{GREATEST} to {GREATEST}")
        )
        for item in great
    ]
    return table.select(pl.coalesce(reasons).alias("reason")).to_series()


def reaches_far(values: pl.Series, feature: Number) -> bool:
    """Whether a feature may be beyond float32 somewhere, told from the least and the greatest of its column."""
    if not values.dtype.is_float() or values.null_count() == len(values):
        return False
    ends: list[Any] = [values.min(), values.max()]
    return bool(max(map(abs, ends)) + abs(feature.centre) > NEARLY_GREATEST * feature.scale)
