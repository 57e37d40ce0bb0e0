"""Raw tables read leniently: what is missing or of the wrong type is counted, not refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shared.contract import Hosts
from shared.errors import DataError, SettingsError, names
from shared.schema import Column, Schema
from shared.tables import Csv, column_names, format_of, raw_batches, typed_table

SECONDS: Final = ("date", "datetime")
"""Types that tell a time."""
GREATEST: Final = 1e150
"""Numbers up to it can be squared and summed in double precision, whose greatest is 1.8e308; more count as infinite."""


@dataclass(frozen=True)
class Reading:
    """Rows of one file with the schema's types.

    Attributes:
        table: the schema's columns that the file has; a value of another type, NaN, infinity or a number beyond
            `GREATEST` is missing here.
        wrong: per such column, which rows held a value of another type, infinity or such a number, shape (rows,).
        file: number of the file, from 0.
        start: number of the first row over all files, from 0.
    """

    table: pl.DataFrame
    wrong: Mapping[str, NDArray[np.bool_]]
    file: int = 0
    start: int = 0


def readings(
    files: Sequence[Path], schema: Schema, csv: Csv, headerless: Sequence[Sequence[str]] = ()
) -> Iterator[Reading]:
    """All rows of the files, file by file.

    Args:
        files: in the order in which their rows count.
        schema: the columns wanted; those that a file lacks are left out of its readings.
        csv: how CSV files are written.
        headerless: which columns a CSV without header may hold, in order: the one of the file's width is taken.

    Raises:
        DataError: a file cannot be read, or a CSV without header has another number of columns.
    """
    start = 0
    for number, path in enumerate(files):
        found = names_in(path, csv, headerless)
        there = set(found)
        present = [name for name in schema.names if name in there]
        # Without a header the reader needs all columns, because position is what names them.
        wanted = found if format_of(path) == "csv" and not csv.header else present
        if not wanted:
            continue
        for batch in raw_batches([path], wanted, csv):
            yield typed_reading(batch, schema.select(present), number, start)
            start += batch.height


def names_in(path: Path, csv: Csv, headerless: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Names of a file's columns, in order."""
    found = column_names(path, csv)
    if format_of(path) != "csv" or csv.header or not headerless:
        return found
    fitting = [tuple(choice) for choice in headerless if len(choice) == len(found)]
    if not fitting:
        widths = " or ".join(str(count) for count in sorted({len(choice) for choice in headerless}))
        raise DataError(f"{path.name} has {len(found)} columns, wanted {widths}: {names(headerless[0])}.")
    return fitting[0]


def typed_reading(batch: pl.DataFrame, schema: Schema, file: int = 0, start: int = 0) -> Reading:
    """A batch with the schema's types, and where its values were not of them."""
    table, doubtful = typed_table(batch, schema)
    wrong = dict.fromkeys(schema.names, np.zeros(batch.height, dtype=np.bool_))
    wrong |= {column.name: _wrong(batch[column.name], table[column.name]) for column in doubtful}
    numbers = [column.name for column in schema.columns if column.type == "number"]
    great = beyond(table, numbers) if numbers and batch.height else {}
    wrong |= {name: wrong[name] | mask.to_numpy() for name, mask in great.items()}
    table = table.with_columns(table[name].set(mask, None) for name, mask in great.items())
    return Reading(table, wrong, file, start)


def beyond(table: pl.DataFrame, numbers: Sequence[str]) -> dict[str, pl.Series]:
    """By column of numbers, where one is infinite or beyond `GREATEST`; columns without any are left out."""
    highest = table.select(pl.col(numbers).abs().max()).row(0)
    found = [name for name, value in zip(numbers, highest, strict=True) if value is not None and value > GREATEST]
    return {name: (table[name].abs() > GREATEST).fill_null(value=False) for name in found}


def _wrong(before: pl.Series, after: pl.Series) -> NDArray[np.bool_]:
    wrong = before.is_not_null() & after.is_null()
    if before.dtype.is_float():
        wrong &= before.is_not_nan().fill_null(value=False)
    elif before.dtype == pl.String and after.dtype.is_float():
        wrong &= before.str.strip_chars().str.to_lowercase().ne("nan").fill_null(value=False)
    if after.dtype.is_float():
        wrong |= after.is_infinite().fill_null(value=False)
    return wrong.to_numpy()


def check_hosts(hosts: Hosts) -> None:
    """Make sure that one machine does the work: of two, each would write a verdict on its own share of the rows.

    Raises:
        SettingsError: there are more.
    """
    if len(hosts.all) > 1:
        raise SettingsError(f"monitoring runs on one machine, the job has {len(hosts.all)}. Set InstanceCount to 1.")


def seconds(series: pl.Series) -> pl.Series:
    """Dates or timestamps as seconds since 1970, missing where they are; none for other types."""
    if series.dtype == pl.Date:
        return series.cast(pl.Int64) * 86_400
    if series.dtype == pl.Datetime:
        return series.dt.epoch("us").cast(pl.Float64) / 1e6
    return pl.Series(series.name, [None] * len(series), dtype=pl.Float64)


def time_column(schema: Schema, name: str | None) -> Column | None:
    """The time column, if its values tell a time."""
    if name is None or name not in schema.names or schema.column(name).type not in SECONDS:
        return None
    return schema.column(name)
