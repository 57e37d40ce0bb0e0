"""Lines of CSV that are too short: Polars fills them with missing cells, so a truncated file would pass."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

CHUNK_BYTES: Final = 4 * 2**20
MANY_BYTES: Final = 2**20
"""Bytes from which counting by numpy saves more than it takes to import."""


class Ragged(NamedTuple):
    """A line whose number of cells is not that of the first line."""

    line: int
    cells: int
    wanted: int


def first_ragged(stream: BinaryIO, separator: str = ",") -> Ragged | None:
    """The first line with more or fewer cells than the first one, counted from 1; None when all have as many.

    Blank lines are none. Without quotes it is enough to count separators and line ends, at about the speed of reading;
    only when they do not fit, or there are quotes, are the lines taken apart one by one.
    """
    if _adds_up(stream, separator.encode()):
        return None
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
    try:
        wanted = 0
        reader = csv.reader(text, delimiter=separator)
        for row in _rows(reader):
            wanted = wanted or len(row)
            if len(row) != wanted:
                return Ragged(reader.line_num, len(row), wanted)
        return None
    finally:
        text.detach()


def _rows(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The rows that are not blank; what the standard library cannot split is left for the real reader to refuse."""
    try:
        yield from (row for row in reader if row)
    except csv.Error:
        return


def _adds_up(stream: BinaryIO, separator: bytes) -> bool:
    """Whether there are no quotes and the separators are as many as the lines want; False when in doubt."""
    first = stream.readline()
    per_line = first.count(separator)
    separators, ends, last = per_line, first.count(b"\n"), first[-1:]
    if b'"' in first or not first.strip():
        return False
    while chunk := stream.read(CHUNK_BYTES):
        if b'"' in chunk:
            return False
        separators, ends, last = separators + _count(chunk, separator), ends + _count(chunk, b"\n"), chunk[-1:]
    return separators == per_line * (ends + (last != b"\n"))


def _count(chunk: bytes, byte: bytes) -> int:
    """How often a character occurs. `bytes.count` takes ten times as long as numpy before Python 3.13."""
    if len(chunk) < MANY_BYTES or len(byte) > 1:
        return chunk.count(byte)
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == ord(byte)))


def first_ragged_of(path: Path, separator: str) -> Ragged | None:
    """`first_ragged` of a file, gzipped or not."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return first_ragged(stream, separator)  # type: ignore[arg-type]  # a GzipFile reads as a BinaryIO does
