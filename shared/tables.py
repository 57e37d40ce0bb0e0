"""Tables on disk, streamed in batches: CSV with or without a header, Parquet, JSON lines, text also gzipped.

Rows keep their order: files in the order of their names, rows as they stand. Memory is bounded by the batch, not by
the data. CSV cells are read as text and then made what the schema says, so that a wrong cell is named by file, row,
column and value instead of by a parser's offset.
"""

from __future__ import annotations

import codecs
import functools
import gzip
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import polars as pl
from polars.exceptions import PolarsError

from shared.errors import DataError, names
from shared.files import replacing
from shared.ragged import first_ragged_of
from shared.schema import Column, Schema, Type, polars_type, schema_type

T = TypeVar("T")
log = logging.getLogger("tables")
BATCH_ROWS: Final = 65_536
FORMATS: Final = {
    ".csv": "csv",
    ".out": "csv",  # Batch Transform calls the answer to x.csv x.csv.out
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
Format = Literal["csv", "parquet", "jsonl"]
BYTE_ORDER_MARK: Final = codecs.BOM_UTF8
SEPARATORS: Final = (";", "\t", "|")
"""What separates cells in some CSV files, in the place of commas."""
SHOWN: Final = 60
"""Characters of a header that a sentence shows."""
ZLIB_IN_TEXT: Final = (b"x^", b"x\x01")
"""How zlib begins, as far as text can begin so too."""


@dataclass(frozen=True)
class Csv:
    """How CSV files are written: with a header line or not, what separates cells, and which cells mean "missing"."""

    header: bool = True
    separator: str = ","
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null", "NULL")


HEADERLESS: Final = Csv(header=False)


def files_in(folder: Path, what: str) -> tuple[Path, ...]:
    """The data files below `folder`, sorted by name; hidden files and empty marker files are not data.

    Raises:
        DataError: there are none, or one has an ending that no reader knows, or the formats are mixed.
    """
    found = [path for path in sorted(folder.rglob("*")) if not is_hidden(path, folder)]
    warn_of_links(what, tuple(path for path in found if path.is_symlink() and not path.is_file()))
    present = [path for path in found if path.is_file()]
    for path in present:
        check_name(path, what)
    unknown = [path for path in present if format_of(path) is None]
    if unknown:
        raise DataError(
            f"{what} holds {unknown[0].name!r}, which is none of {names(FORMATS)} (text also with .gz). "
            "Keep only data files below the prefix."
        )
    if not present:
        raise DataError(
            f"{what} is empty: {folder} holds no .csv, .parquet or .jsonl file. "
            "Check the S3 prefix or the mounted folder."
        )
    if len({format_of(path) for path in present}) > 1:
        raise DataError(
            f"{what} mixes formats: {names(path.name for path in present)}. Keep one format below the prefix."
        )
    return tuple(present)


@functools.cache
def warn_of_links(what: str, links: tuple[Path, ...]) -> None:
    """Say, once, that links to folders and links to nothing are not followed: SageMaker makes none."""
    if links:
        log.warning(
            "%s holds %d links that lead to no file and are skipped, the first is %r", what, len(links), links[0].name
        )


def check_name(path: Path, what: str) -> None:
    """Make sure that a file's name is text.

    Raises:
        DataError: it is not UTF-8, and no reader here could open it.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise DataError(f"{what} holds {os.fsencode(path.name)!r}, whose name is not UTF-8. Rename the file.") from None


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a file is no data by its name: dot files, and Spark's `_SUCCESS` and its like."""
    return any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)


def format_of(path: Path) -> Format | None:
    """The format that a file's name tells, or None."""
    suffixes = path.suffixes[:-1] if path.suffix == ".gz" else path.suffixes
    known = FORMATS.get(suffixes[-1]) if suffixes else None
    return known  # type: ignore[return-value]  # the values of FORMATS are the literals


def column_names(path: Path, csv: Csv = Csv()) -> tuple[str, ...]:
    """Names of a file's columns; `column_1`, `column_2`, … for CSV without a header.

    Raises:
        DataError: the file is empty, cannot be read, names a column twice, or separates cells by something else.
    """
    scan = _guarded(path, lambda: _scan(path, csv))
    if format_of(path) == "csv" and csv.header and csv.separator == ",":
        # Before a row is read: with decimal commas it has more cells than the header, which is all that Polars tells.
        _check_separator(path, _guarded(path, lambda: scan.collect_schema().names()))
    frame = _guarded(path, lambda: scan.head(1).collect())
    found = tuple(frame.columns)
    if format_of(path) == "csv" and not csv.header:
        # Named here, because Polars counts them from 0 or from 1 by its version.
        return tuple(f"column_{number}" for number in range(1, len(found) + 1))
    if format_of(path) == "csv":
        doubled = [name for name in found if "_duplicated_" in name]
        if doubled:
            raise DataError(
                f"{path.name} names column {doubled[0].split('_duplicated_')[0]!r} twice. Rename one of them."
            )
    return found


def inferred_schema(
    files: Sequence[Path],
    *,
    ids: Sequence[str] = (),
    target: str | None = None,
    csv: Csv = Csv(),
    rows: int = 1_000_000,
) -> Schema:
    """The schema of files whose columns nobody declared; the types of CSV cells from the first `rows` rows.

    Raises:
        DataError: a file cannot be read, holds no rows, or lacks an id or the target.
    """
    path = files[0]
    named = column_names(path, csv)
    for name in (*ids, *([target] if target else ())):
        Schema((Column(name, "text"),)).check_names(named, path.name)
    if format_of(path) == "csv":
        # Whoever reads the rows looks for short lines: looking here too would be one pass more.
        columns = _types_of_cells(_cells(files, named, csv, widths=False), named, rows, path)
    else:
        found = _guarded(path, lambda: _scan(path, csv).collect_schema())
        if next(raw_batches(files, named, csv), None) is None:
            raise DataError(f"{path.name} holds no rows.")
        columns = tuple(Column(name, schema_type(found[name])) for name in named)
    return Schema(columns, tuple(ids), target)


NARROWEST_FIRST: Final[tuple[Type, ...]] = ("integer", "number", "boolean", "date", "datetime", "text")
WIDER: Final[dict[Type, Type]] = {"integer": "number", "date": "datetime"}
"""The type that holds a type's values and more; what has none widens to text."""


def _types_of_cells(tables: Iterator[pl.DataFrame], named: Sequence[str], limit: int, path: Path) -> tuple[Column, ...]:
    """The narrowest type of each column that all its cells fit; a column without any cell is text."""
    types: dict[str, Type] = {}
    count = 0
    for table in tables:
        for name, cells in zip(named, table.iter_columns(), strict=True):
            if cells.null_count() < table.height:
                types[name] = _fitting(cells, types.get(name))
        count += table.height
        if count >= limit:
            break
    if not count:
        raise DataError(f"{path.name} holds a header and no rows.")
    return tuple(Column(name, types.get(name, "text")) for name in named)


FIRST_CELLS: Final = 100


def _fitting(cells: pl.Series, known: Type | None) -> Type:
    """The type for a column's cells that also holds those seen before, which were `known`.

    Of a column and not of its table, because whatever is asked of a table costs time for each of its columns.
    """
    if known is None:
        # What the first cells do not fit, all do not: most columns are tried against a few of the types only.
        head = cells.head(FIRST_CELLS)
        return next(kind for kind in NARROWEST_FIRST if _fits(head, kind) and _fits(cells, kind))
    while not _fits(cells, known):
        known = WIDER.get(known, "text")
    return known


def _fits(values: pl.Series, kind: Type) -> bool:
    """Whether every cell has the type; `1.0` is a number here and no integer, because a fraction may follow."""
    column = Column(values.name, kind)
    if kind == "text" or _cast(values, column, finite=False) is not None:
        return True
    cells = pl.col(values.name).str.strip_chars()
    value = cells.cast(pl.Int64, strict=False) if kind == "integer" else typed(pl.String(), column)
    counts = values.to_frame().select(cells.null_count().alias("before"), value.null_count().alias("after"))
    before, after = counts.row(0)
    return bool(before == after)


def raw_batches(
    files: Sequence[Path], wanted: Sequence[str], csv: Csv = Csv(), rows: int = BATCH_ROWS
) -> Iterator[pl.DataFrame]:
    """Batches of the columns in `wanted`, in that order, as the files hold them (CSV cells are text).

    CSV without a header has no names: the columns of the file are taken to be `wanted`, in order.

    Raises:
        DataError: a file cannot be read, lacks a column, has a header where none was said, or has more or fewer
            columns.
    """
    return _cells(files, wanted, csv, rows, widths=True)


def _cells(
    files: Sequence[Path], wanted: Sequence[str], csv: Csv, rows: int = BATCH_ROWS, *, widths: bool
) -> Iterator[pl.DataFrame]:
    """What `raw_batches` gives; without `widths` short lines are not looked for, which costs a pass over the file."""
    for path in files:
        _check_names(path, wanted, csv)
        if widths:
            _check_widths(path, csv)
        frame = _scan(path, csv, wanted).select(wanted)
        if path.name.endswith(".out") and len(wanted) > 1:
            # Batch Transform's AssembleWith=Line ends each answer with a newline of its own: blank lines, not rows.
            frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
        yield from _guarded_batches(path, frame, rows)


def batches(files: Sequence[Path], schema: Schema, csv: Csv = Csv(), rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
    """Batches with exactly the schema's columns and types.

    Raises:
        DataError: as `raw_batches`, or a value is not of its column's type: the first such value is named.
    """
    start = 0
    for batch in raw_batches(files, schema.names, csv, rows):
        table, reasons = conformed(batch, schema)
        wrong = reasons.is_not_null().arg_max()
        if wrong is not None and reasons[wrong] is not None:
            raise DataError(f"{_folder_name(files)}, row {start + wrong + 1}: {reasons[wrong]}.")
        start += batch.height
        yield table


def read(files: Sequence[Path], schema: Schema, csv: Csv = Csv()) -> pl.DataFrame:
    """The whole table with exactly the schema's columns and types. Raises as `batches`."""
    return pl.concat([pl.DataFrame(schema=schema.dtypes()), *batches(files, schema, csv)])


def conformed(batch: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, pl.Series]:
    """The batch with the schema's types, and per row why it does not fit.

    Returns:
        The table, where a value that does not fit is missing and NaN is missing; and a series of text, shape (rows,),
        null where the row is fine, otherwise `column 'x' is 'abc', wanted a number`.
    """
    table, doubtful = typed_table(batch, schema)
    found = batch.schema
    checks = {column.name: _is_wrong(found[column.name], column) for column in doubtful}
    if not checks:
        return table, pl.Series("reason", [None] * batch.height, dtype=pl.String)
    both = pl.concat([batch.rename(lambda name: f"{name}{BEFORE}"), table], how="horizontal")
    wrong = both.select(check.any().alias(name) for name, check in checks.items())
    told = zip(doubtful, wrong.row(0), strict=True)
    reasons = [pl.when(checks[column.name]).then(_reason(column)) for column, is_wrong in told if is_wrong]
    if not reasons:
        return table, pl.Series("reason", [None] * batch.height, dtype=pl.String)
    return table, both.select(pl.coalesce(reasons).alias("reason")).to_series()


def typed_table(batch: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, tuple[Column, ...]]:
    """The batch with the schema's types, what does not fit missing; and the columns in which something may not fit."""
    plain = {column.name: _cast(batch[column.name], column) for column in schema.columns}
    doubtful = tuple(column for column in schema.columns if plain[column.name] is None)
    # Once: Polars builds the schema anew, of all columns, each time that it is asked.
    found = batch.schema
    made = {column.name: typed(found[column.name], column).alias(column.name) for column in doubtful}
    return batch.select(made.get(name, plain[name]) for name in schema.names), doubtful


def _cast(values: pl.Series, column: Column, *, finite: bool = True) -> pl.Series | None:
    """The column as the schema wants it, where a cast is all that it takes; None where cells have to be looked at.

    It is enough for nearly all columns of nearly all files, and spares them four passes over their text.
    """
    wanted = polars_type(column.type)
    if values.dtype not in (wanted, pl.String) or (values.dtype != wanted and column.type not in ("integer", "number")):
        return None
    cast = values.cast(wanted, strict=False)
    if cast.null_count() > values.null_count():
        return None
    if column.type == "number" and not (cast.is_finite() if finite else cast.is_not_nan()).all():
        return None
    return cast


BEFORE: Final = "\0before"
"""Ends the names of the columns as they were: no text file has a column whose name holds a zero byte."""


def _is_wrong(found: pl.DataType, column: Column) -> pl.Expr:
    """Where a cell was there and does not fit; NaN is a missing number, and no number is infinite."""
    before, after = pl.col(f"{column.name}{BEFORE}"), pl.col(column.name)
    wrong = before.is_not_null() & after.is_null()
    if found.is_float():
        wrong &= before.is_not_nan()
    if column.type == "number":
        if found == pl.String:
            wrong &= before.str.to_lowercase() != "nan"
        wrong |= after.is_infinite().fill_null(value=False)
    return wrong


def _reason(column: Column) -> pl.Expr:
    article = {"integer": "an ", "number": "a finite "}.get(column.type, "a ")
    shown = pl.col(f"{column.name}{BEFORE}").cast(pl.String).str.slice(0, 40)
    return pl.lit(f"column {column.name!r} is '") + shown + pl.lit(f"', wanted {article}{column.type}")


def typed(found: pl.DataType, column: Column) -> pl.Expr:
    """The expression that makes a column what the schema says; what does not fit becomes missing."""
    value, wanted = pl.col(column.name), polars_type(column.type)
    if found == pl.String and column.type != "text":
        return _from_text(value.str.strip_chars(), column)
    if found.is_temporal() and column.type in ("number", "integer", "boolean"):
        # Polars would count days or microseconds since 1970: a number, and not one that anybody meant.
        return pl.when(value.is_null()).then(None).cast(wanted)
    if column.type == "number":
        return value.cast(pl.Float64, strict=False).fill_nan(None)
    if column.type == "integer" and found.is_float():
        return pl.when(value == value.round()).then(value).cast(pl.Int64, strict=False)
    return value.cast(wanted, strict=False)


def _from_text(text: pl.Expr, column: Column) -> pl.Expr:
    match column.type:
        case "number":
            return text.cast(pl.Float64, strict=False).fill_nan(None)
        case "integer":
            number = text.cast(pl.Float64, strict=False)
            integral = pl.when(number == number.round()).then(number).cast(pl.Int64, strict=False)
            return pl.coalesce(text.cast(pl.Int64, strict=False), integral)
        case "boolean":
            return text.str.to_lowercase().replace_strict(
                {"true": True, "1": True, "false": False, "0": False}, default=None, return_dtype=pl.Boolean
            )
        case "date":
            return text.str.to_date("%Y-%m-%d", strict=False)
        case _:
            plain = text.str.replace(r"(Z|\+00:00)$", "").str.replace("T", " ")
            return pl.coalesce(
                plain.str.to_datetime(form, strict=False, time_unit="us")
                for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
            )


def write_csv(path: Path, tables: Iterable[pl.DataFrame], *, header: bool) -> int:
    """Write batches as one CSV file, atomically; how many rows were written."""
    count, first = 0, True
    with replacing(path) as temporary, temporary.open("wb") as stream:
        for table in tables:
            table.write_csv(stream, include_header=header and first, null_value=missing_cell(table))
            count, first = count + table.height, False
    return count


def missing_cell(table: pl.DataFrame) -> str:
    """What CSV holds for a missing cell: nothing, or quotes where the line would be blank, which readers pass over."""
    return '""' if table.width == 1 else ""


def write_parquet(path: Path, tables: Iterable[pl.DataFrame], schema: dict[str, Any]) -> int:
    """Write batches as one Parquet file, atomically and without holding them all; how many rows were written."""
    from polars.io.plugins import register_io_source

    count = 0

    def source(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal count
        for table in tables:
            count += table.height
            yield table

    with replacing(path) as temporary:
        register_io_source(source, schema=schema).sink_parquet(temporary, compression="zstd", statistics=True)
    return count


def _scan(path: Path, csv: Csv, named: Sequence[str] | None = None) -> pl.LazyFrame:
    """The file as a lazy table; CSV cells as text, headerless columns called `named`."""
    match format_of(path):
        case "parquet":
            return pl.scan_parquet(path, glob=False)
        case "jsonl":
            return pl.scan_ndjson(path, infer_schema_length=None)
        case _:
            schema = dict.fromkeys(named, pl.String) if named and not csv.header else None
            return pl.scan_csv(
                _source(path),
                has_header=csv.header,
                separator=csv.separator,
                null_values=list(csv.missing),
                infer_schema=False,
                schema=schema,
                glob=False,
            )


def _source(path: Path) -> Path | bytes:
    """The file; where it is text that begins as zlib does, its content behind a mark.

    Polars looks for compression first and skips the mark afterwards, and would unpack a column `x^2` into nothing.
    Such a file, and no other, is held in memory.
    """
    with path.open("rb") as stream:
        head = stream.read(2)
        if head not in ZLIB_IN_TEXT:
            return path
        content = head + stream.read()
    return BYTE_ORDER_MARK + content if is_text(content) else path


def is_text(content: bytes) -> bool:
    """Whether bytes are UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_names(path: Path, wanted: Sequence[str], csv: Csv) -> None:
    found = column_names(path, csv)
    if format_of(path) != "csv" or csv.header:
        hint = ""
        if format_of(path) == "csv" and not set(wanted) & set(found):
            hint = " If its first line is data, say that there is no header."
        try:
            Schema(tuple(Column(name, "text") for name in wanted)).check_names(found, path.name)
        except DataError as error:
            raise DataError(f"{error}{hint}") from None
        return
    if len(found) != len(wanted):
        raise DataError(f"{path.name} has {len(found)} columns, wanted {len(wanted)}: {names(wanted)}.")
    first = _guarded(path, lambda: _scan(path, csv).head(1).collect()).row(0)
    if tuple(first) == tuple(wanted):
        raise DataError(f"{path.name} has a header line where none was said. Remove it, or say that there is a header.")


def _check_separator(path: Path, found: Sequence[str]) -> None:
    """Refuse a header of one cell that holds what separates cells elsewhere: as one column of text, all would go on."""
    if len(found) == 1 and any(mark in found[0] for mark in SEPARATORS):
        mark = max(SEPARATORS, key=found[0].count)
        shown = found[0] if len(found[0]) <= SHOWN else f"{found[0][:SHOWN]}…"
        raise DataError(
            f"{path.name} has one column, {shown!r}, wanted columns with commas between them. Write it with commas, "
            f"or set `separator` to {mark!r} where the component has that setting (processing, monitoring)."
        )


def _check_widths(path: Path, csv: Csv) -> None:
    try:
        ragged = first_ragged_of(path, csv.separator) if format_of(path) == "csv" else None
    except gzip.BadGzipFile:
        raise DataError(f"{path.name} is not compressed by gzip as its name says. Rename it, or compress it.") from None
    except (EOFError, zlib.error, OSError) as error:
        raise _unreadable(path, error) from None
    if ragged is not None:
        raise DataError(
            f"{path.name} line {ragged.line} has {ragged.cells} cells, wanted {ragged.wanted} as in its first line. "
            "Was the file cut short?"
        )


def _folder_name(files: Sequence[Path]) -> str:
    return files[0].name if len(files) == 1 else f"{files[0].parent.name}/ ({len(files)} files)"


def _guarded(path: Path, action: Callable[[], T]) -> T:
    """The action's result, its Polars errors told as errors in the data."""
    try:
        return action()
    except (PolarsError, OSError) as error:
        raise _unreadable(path, error) from None


def _guarded_batches(path: Path, frame: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    stream = _guarded(path, lambda: iter(frame.collect_batches(chunk_size=rows, maintain_order=True)))
    while True:
        batch = _guarded(path, lambda: next(stream, None))
        if batch is None:
            return
        if batch.height:
            yield batch


def _unreadable(path: Path, error: Exception) -> DataError:
    if path.exists() and path.stat().st_size == 0:
        return DataError(f"{path.name} is empty (0 bytes).")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    kind = {"csv": "CSV", "parquet": "Parquet", "jsonl": "JSON lines"}[format_of(path) or "csv"]
    return DataError(f"{path.name} cannot be read as {kind}: {reason}. Check the file and the declared format.")
