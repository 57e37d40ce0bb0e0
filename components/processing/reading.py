"""From raw files to the prepared table of a training run: typed, filtered, derived, and without a row that lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from components.processing.derivation import derived, first_line, infinities
from components.processing.plan import Plan
from shared.errors import DataError
from shared.schema import Schema
from shared.tables import Csv, batches, inferred_schema, raw_batches

SNIFFED: Final = 1_000
"""Rows that are looked at to tell a header line from data."""


def raw_schema(files: Sequence[Path], csv: Csv) -> Schema:
    """The columns of raw files and their types.

    Raises:
        DataError: a file cannot be read, or has a header line where none was said.
    """
    schema = inferred_schema(files, csv=csv)
    if not csv.header:
        _check_no_header(files, schema, csv)
    return schema


def _check_no_header(files: Sequence[Path], schema: Schema, csv: Csv) -> None:
    """Refuse a first line that is no number where all lines below it are."""
    head = next(raw_batches(files[:1], schema.names, csv)).head(SNIFFED)
    for column in head.get_columns():
        first, below = column[0], column[1:].drop_nulls()
        number = below.cast(pl.Float64, strict=False)
        lone = first is not None and pl.Series([first]).cast(pl.Float64, strict=False)[0] is None
        if lone and len(below) and not number.has_nulls():
            raise DataError(
                f"{files[0].name} has a header line where none was said: its first line holds {first!r} above a column "
                "of numbers. Set header to true, or remove the line."
            )


@dataclass
class Reading:
    """The prepared table of some files, batch by batch, and how many rows came and were left out."""

    files: Sequence[Path]
    plan: Plan
    csv: Csv
    where: str | None
    what: str = "input 'data'"
    rows: int = 0
    kept: int = 0
    without_target: int = 0
    first_without_target: int = 0

    def tables(self) -> Iterator[pl.DataFrame]:
        """Prepared batches.

        Raises:
            DataError: a value is not of its column's type, a derived number is infinite, or the target or the time is
                missing in a row that `where` keeps.
        """
        plan = self.plan
        for batch in batches(self.files, plan.raw, self.csv):
            table = derived(batch.with_row_index("#row", self.rows + 1), plan.derivations)
            self.rows += batch.height
            table = self._filtered(table)
            self.kept += table.height
            self._check(table)
            yield table.select(plan.prepared.names)
        if self.without_target:
            raise DataError(
                f"target {plan.target.name!r} is missing in {self.without_target:,} of {self.kept:,} rows "
                f"(first in row {self.first_without_target}), wanted in all. "
                f"Leave such rows out, for example with where: '\"{plan.target.name}\" IS NOT NULL'."
            )
        if not self.rows:
            raise DataError(f"{self.what} holds no rows, wanted some to learn from. Check the files.")
        if not self.kept:
            raise DataError(
                f"where ({self.where}) keeps none of {self.rows:,} rows of {self.what}. Check the condition."
            )

    def _filtered(self, table: pl.DataFrame) -> pl.DataFrame:
        if self.where is None:
            return table
        try:
            return table.filter(pl.sql_expr(self.where))
        except PolarsError as error:
            raise DataError(f"where ({self.where}) cannot be computed: {first_line(error)}.") from None

    def _check(self, table: pl.DataFrame) -> None:
        target, time = self.plan.target.name, self.plan.time
        wrong = infinities(table, self.plan.derivations)
        if wrong.is_not_null().any():
            row = int(wrong.is_not_null().arg_max() or 0)
            raise DataError(f"row {table['#row'][row]}: {wrong[row]}. Guard it, for example with NULLIF.")
        lacking = table.filter(pl.col(target).is_null())
        if lacking.height and not self.without_target:
            self.first_without_target = int(lacking["#row"][0])
        self.without_target += lacking.height
        if time is not None and table[time].null_count():
            row = table.filter(pl.col(time).is_null())["#row"][0]
            raise DataError(f"time {time!r} is missing in row {row}, wanted in all. Leave such rows out with `where`.")
