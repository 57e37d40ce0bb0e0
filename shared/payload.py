"""Bodies of HTTP requests to tables, and tables to bodies: CSV, JSON, JSON lines and Parquet."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from shared.errors import names
from shared.ragged import first_ragged
from shared.schema import Schema
from shared.tables import BYTE_ORDER_MARK, HEADERLESS, conformed, is_text, missing_cell

CSV: Final = "text/csv"
JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonlines"
PARQUET: Final = "application/x-parquet"
SYNONYMS: Final = {
    "application/x-jsonlines": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
    "application/vnd.apache.parquet": PARQUET,
    "text/plain": CSV,
}
TYPES: Final = (CSV, JSON, JSON_LINES, PARQUET)
COMPRESSED: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x78\x01": "zlib",
    b"\x78\x5e": "zlib",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
}
"""First bytes by which Polars knows a compressed body (RFC 1952, 8878, 1950), which it would decompress to any size."""
NEVER: Final = re.compile(r"(^|;)q=0(\.0{0,3})?(;|$)")
"""A weight of nothing after a media range: that type is not acceptable (RFC 9110, section 12.4.2)."""
LONGEST: Final = 100
"""Characters of what a caller sent that a sentence repeats."""
FEW_BYTES: Final = 4096
"""A body of CSV up to which Python reads it in less time than Polars' query engine takes to begin."""
FEW_ROWS: Final = 8
"""Rows of an answer up to which the same holds of writing it."""
CELL: Final = rb"(-?[0-9]{1,17}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?)?"
"""A cell that Python and Polars read alike, as a finite number or nothing."""
CELLS: Final = re.compile(CELL + rb"(," + CELL + rb")*")


class RefusedRequest(Exception):
    """A request that gets an error status and one sentence."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class MediaType:
    """A media type and its parameters: `text/csv; header=present`."""

    name: str
    parameters: Mapping[str, str]

    @property
    def has_header(self) -> bool:
        """Whether a CSV body says that its first line names the columns (RFC 4180, section 3)."""
        return self.parameters.get("header", "absent").lower() in ("present", "true")


def media_type(value: str | None) -> MediaType:
    """The parsed `Content-Type`.

    Raises:
        RefusedRequest: 415, none of the types that are read.
    """
    name, _, rest = (value or CSV).partition(";")
    name = SYNONYMS.get(name.strip().lower(), name.strip().lower())
    if name not in TYPES:
        raise RefusedRequest(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type {shortened(name)!r} is not read, wanted one of {names(TYPES)}.",
        )
    pairs = (item.partition("=") for item in rest.split(";") if "=" in item)
    return MediaType(name, {key.strip().lower(): text.strip().strip('"') for key, _, text in pairs})


def shortened(text: str) -> str:
    """What a caller sent, as a sentence may repeat it."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def check_encoding(value: str | None) -> None:
    """Make sure that a request's `Content-Encoding` is none.

    Raises:
        RefusedRequest: 415, the body is compressed.
    """
    if (value or "identity").strip().lower() != "identity":
        raise RefusedRequest(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding {shortened(value or '')!r} is not read, wanted none. Send the body uncompressed.",
        )


def accepted_type(accept: str | None, default: str) -> str:
    """The media type to answer in.

    Raises:
        RefusedRequest: 406, none of the wanted types can be written.
    """
    items = [item.lower().replace(" ", "").partition(";") for item in (accept or "*/*").split(",")]
    refused = {SYNONYMS.get(name, name) for name, _, rest in items if NEVER.search(rest)}
    choices = [known for known in dict.fromkeys((default, *TYPES)) if known not in refused]
    for name, _, rest in items:
        wanted = SYNONYMS.get(name, name) or "*/*"
        match = next((known for known in choices if _is_in(known, wanted)), None)
        if match and not NEVER.search(rest):
            return match
    told = f"Accept {shortened(accept or '')!r} cannot be answered, wanted one of {names(TYPES)}."
    raise RefusedRequest(HTTPStatus.NOT_ACCEPTABLE, told)


def _is_in(name: str, media_range: str) -> bool:
    """Whether a media type is in a media range: `text/csv` is in `text/csv`, `text/*` and `*/*`."""
    kind = media_range.removesuffix("*")
    return media_range in ("*/*", name) or (kind.endswith("/") and name.startswith(kind))


def table_of(body: bytes, kind: MediaType, schema: Schema) -> pl.DataFrame:
    """The rows of a request with the schema's types; ids only when they were sent.

    Raises:
        RefusedRequest: 400, the body cannot be read, a column is missing, or a value is not of its column's type.
    """
    body = uncompressed(without_blank_lines(body)) if kind.name == CSV else body
    if kind.name == CSV and not kind.has_header and len(body) <= FEW_BYTES:
        few = _few_numbers(body, schema)
        if few is not None:
            return few
    ragged = first_ragged(io.BytesIO(body)) if kind.name == CSV else None
    if ragged is not None:
        raise _bad(f"line {ragged.line} has {ragged.cells} values, wanted {ragged.wanted} as in line 1.")
    if kind.name == CSV and not kind.has_header:
        plain = _plain_numbers(body, schema)
        if plain is not None:
            return plain
    try:
        raw = _raw_table(body, kind, schema)
    except (PolarsError, OSError, UnicodeEncodeError) as error:
        # The last is half a surrogate pair, which JSON can spell and UTF-8 cannot.
        raise _bad(f"the body cannot be read as {kind.name}: {str(error).splitlines()[0]}.") from None
    sent = [name for name in schema.names if name in raw.columns]
    missing = [name for name in schema.features if name not in sent]
    if missing:
        raise _bad(f"the rows lack {names(missing)}; they have {names(raw.columns) or 'nothing'}.")
    table, reasons = conformed(raw.select(sent), schema.select(sent))
    wrong = reasons.is_not_null()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise _bad(f"row {row + 1}: {reasons[row]}.")
    return table


def _few_numbers(body: bytes, schema: Schema) -> pl.DataFrame | None:
    """What `_plain_numbers` reads, of a few rows and of plain cells alone: a fifth of its cost for one row.

    None when a row, a cell or a type asks for more.
    """
    lines = body.removesuffix(b"\n").split(b"\n")
    dtypes = _plain_columns(lines[0].count(b",") + 1, schema)
    if dtypes is None or not all(dtype.is_numeric() for dtype in dtypes.values()):
        return None
    if not all(line and CELLS.fullmatch(line) for line in lines):
        return None
    kinds = [int if dtype.is_integer() else float for dtype in dtypes.values()]
    try:
        rows = [
            [kind(cell) if cell else None for kind, cell in zip(kinds, line.split(b","), strict=True)] for line in lines
        ]
    except ValueError:  # a fraction where an integer is wanted, or a row of another width
        return None
    return pl.DataFrame(rows, schema=dtypes, orient="row")


def _plain_columns(width: int, schema: Schema) -> dict[str, pl.DataType] | None:
    """The columns of headerless rows of this width, when the features are numbers; ids may be anything."""
    dtypes, ids, features = schema.dtypes(), schema.ids, schema.features
    columns = features if width == len(features) else (*ids, *features)
    if width != len(columns) or any(not dtypes[name].is_numeric() for name in features):
        return None
    return {name: dtypes[name] for name in columns}


def _plain_numbers(body: bytes, schema: Schema) -> pl.DataFrame | None:
    """Headerless CSV whose cells are finite numbers (and ids), read in one pass, seven times as fast as by way of text.

    None when a cell, the number of columns or a type asks for more: then the way by text reads it or refuses it.
    """
    if b"n" in body or b"N" in body:  # a letter is found at once, the words are not
        lowered = body.lower()
        if b"nan" in lowered or b"inf" in lowered:
            return None
    dtypes = _plain_columns(body.split(b"\n", 1)[0].count(b",") + 1, schema)
    if dtypes is None:
        return None
    try:
        table = pl.read_csv(body, has_header=False, schema=dtypes, null_values=list(HEADERLESS.missing))
    except (PolarsError, OSError):
        return None
    # 1e999 is infinite without saying so.
    return None if any(table[name].is_infinite().any() for name in schema.features) else table


def _raw_table(body: bytes, kind: MediaType, schema: Schema) -> pl.DataFrame:
    if kind.name == PARQUET:
        return pl.read_parquet(io.BytesIO(body))
    if kind.name == CSV:
        return _csv_table(body, kind, schema)
    rows = _json_rows(body, kind)
    named = [_named_row(row, position, schema) for position, row in enumerate(rows, start=1)]
    columns = [name for name in schema.names if name in schema.features or any(name in row for row in named)]
    _check_keys(named, columns)
    # Text first, so that "1", 1 and 1.0 in one column are judged by the schema and not by the first row.
    return pl.DataFrame(
        {name: [_cell(row.get(name)) for row in named] for name in columns}, schema=dict.fromkeys(columns, pl.String)
    )


def _check_keys(rows: list[Mapping[str, Any]], columns: list[str]) -> None:
    """See that each row names all columns: a value that is missing is null, and a name that is missing a mistake."""
    for position, row in enumerate(rows, start=1):
        missing = [name for name in columns if name not in row]
        if missing:
            raise _bad(f"row {position} lacks {names(missing)}; it has {names(row) or 'nothing'}.")


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _json_rows(body: bytes, kind: MediaType) -> list[Any]:
    uncompressed(body)
    if kind.name == JSON_LINES:
        lines = enumerate(body.split(b"\n"), start=1)
        return [_json_value(line, f"line {number} of the body", kind) for number, line in lines if line.strip()]
    value = _json_value(body, "the body", kind)
    if isinstance(value, dict) and "instances" in value:
        value = value["instances"]
    return value if isinstance(value, list) and not _is_row(value) else [value]


def _json_value(text: bytes, what: str, kind: MediaType) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"{what} is no {kind.name}: {error}.") from None
    except ValueError:
        raise _bad(f"{what} is no {kind.name}: a number has thousands of digits.") from None


def _is_row(value: list[Any]) -> bool:
    """Whether a JSON array is one row of cells, not a list of rows."""
    return bool(value) and not isinstance(value[0], (list, dict))


def _named_row(row: Any, position: int, schema: Schema) -> Mapping[str, Any]:
    if isinstance(row, dict) and "features" in row and isinstance(row["features"], list):
        row = row["features"]
    if isinstance(row, dict):
        return row
    if isinstance(row, list):
        return dict(zip(_positional_names(len(row), schema, f"row {position}"), row, strict=True))
    raise _bad(f"row {position} is {shortened(repr(row))}, wanted an object of named values or an array.")


def _positional_names(width: int, schema: Schema, where: str) -> tuple[str, ...]:
    """Which columns a row without names holds: the features, or the ids and then the features."""
    known = schema.without_target()
    choices = {len(known.features): known.features, len(known.ids) + len(known.features): (*known.ids, *known.features)}
    if width not in choices:
        widths = " or ".join(str(count) for count in sorted(choices))
        raise _bad(f"{where} has {width} values, wanted {widths}: {names((*known.ids, *known.features))}.")
    return choices[width]


def _csv_table(body: bytes, kind: MediaType, schema: Schema) -> pl.DataFrame:
    missing = list(HEADERLESS.missing)
    if kind.has_header:
        return pl.read_csv(body, infer_schema=False, null_values=missing)
    first = body.split(b"\n", 1)[0]
    peek = pl.read_csv(first or b"\n", has_header=False, infer_schema=False)
    columns = _positional_names(peek.width, schema, "line 1")
    if peek.height and peek.row(0) == columns:
        raise _bad(
            "line 1 is a header line where none was said. "
            "Leave it out, or send Content-Type 'text/csv; header=present'."
        )
    return pl.read_csv(body, has_header=False, schema=dict.fromkeys(columns, pl.String), null_values=missing)


def uncompressed(body: bytes) -> bytes:
    """The body of text, so that Polars takes it for nothing else: `x^2` begins as zlib does.

    Raises:
        RefusedRequest: 400, it is compressed.
    """
    found = next((name for magic, name in COMPRESSED.items() if body.startswith(magic)), None)
    if found is None:
        return body
    if body[1] in b"^\xda" and is_text(body):
        # Polars looks for compression first and skips the mark afterwards.
        return BYTE_ORDER_MARK + body
    raise _bad(f"the body is compressed ({found}), wanted plain text. Send it uncompressed.")


def without_blank_lines(body: bytes) -> bytes:
    """CSV without the blank lines that Batch Transform and SDKs add. Quoted cells may hold such lines and are left.

    Raises:
        RefusedRequest: 400, one lies between rows of one value, where it may be a row whose value is missing.
    """
    if body[:1] in (b"", b"\r", b"\n") or body[-1:] != b"\n" or body[-2:-1] in (b"\r", b"\n"):
        body = body.strip(b"\r\n") + b"\n"  # else as it is: two copies of 100 MB take their time
    if b'"' in body or not (_has_empty_line(body) or (b"\r" in body and b"\n\r\n" in body)):
        return body
    if b"," not in body.split(b"\n", 1)[0]:
        blank = re.search(rb"\n(?=\r?\n)", body)
        line = body.count(b"\n", 0, blank.end() if blank else 0) + 1
        raise _bad(f'line {line} is empty, wanted one value a line. Write "" for one that is missing.')
    return re.sub(rb"(\r?\n)+", b"\n", body)


def _has_empty_line(body: bytes) -> bool:
    """Whether two newlines follow each other; to look for them as bytes takes four times as long."""
    ends = np.flatnonzero(np.frombuffer(body, np.uint8) == ord("\n"))
    return bool((np.diff(ends) == 1).any())


def body_of(answer: pl.DataFrame | dict[str, Any], kind: str, *, header: bool = False) -> bytes:
    """An answer as a body: CSV without a header unless asked for, one line a row, always ended by a newline."""
    if isinstance(answer, dict):
        return (json.dumps(answer, allow_nan=False) + "\n").encode()
    if kind == CSV:
        few = None if header or answer.height > FEW_ROWS else _few_lines(answer)
        return few or answer.write_csv(include_header=header, null_value=missing_cell(answer)).encode()
    if kind == JSON_LINES:
        return answer.write_ndjson().encode()
    if kind == PARQUET:
        stream = io.BytesIO()
        answer.write_parquet(stream)
        return stream.getvalue()
    return (json.dumps({"predictions": answer.to_dicts()}, allow_nan=False, default=str) + "\n").encode()


def _few_lines(answer: pl.DataFrame) -> bytes | None:
    """What Polars writes as CSV, without its query engine; None where a cell may need quotes."""
    if not all(dtype.is_numeric() for dtype in answer.dtypes):
        return None
    columns = [column.cast(pl.String).fill_null(missing_cell(answer)).to_list() for column in answer.iter_columns()]
    return "".join(f"{','.join(row)}\n" for row in zip(*columns, strict=True)).encode()


def _bad(text: str) -> RefusedRequest:
    return RefusedRequest(HTTPStatus.BAD_REQUEST, text)
