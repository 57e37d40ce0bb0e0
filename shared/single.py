"""Numbers in single precision, which trees compute in: what is too large for it is refused as an infinite number is."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError

if TYPE_CHECKING:
    import polars as pl

GREATEST: Final = "3.4028235e+38"
"""The greatest finite number of float32, 2^128 - 2^104 (IEEE 754, binary32), as a sentence says it."""


def single(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Numbers as float32, row after row; infinite, and without a warning, where they are too large for it."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def first_beyond(values: NDArray[np.floating[Any]], table: pl.DataFrame, columns: Sequence[str]) -> tuple[int, str]:
    """The first row with a number that float32 cannot hold.

    Args:
        values: columns of the table, as float32 or as float64, shape (rows, columns), NaN where missing.
        table: where the numbers come from.
        columns: the columns' names, in the order of `values`.

    Returns:
        The row, from 0, and what is wrong with it; -1 and nothing when all numbers are within.
    """
    beyond = np.isinf(single(values))
    if not beyond.any():
        return -1, ""
    row, position = divmod(int(beyond.argmax()), len(columns))
    name = columns[position]
    return row, f"column {name!r} is '{table[name][row]}', wanted a number from -{GREATEST} to {GREATEST}"


def check_rows(
    values: NDArray[np.floating[Any]], table: pl.DataFrame, columns: Sequence[str], what: str, start: int
) -> None:
    """Make sure that float32 can hold the numbers of a job's rows, of which `start` came before.

    Raises:
        DataError: it cannot; the row and the column are named.
    """
    row, reason = first_beyond(values, table, columns)
    if reason:
        raise DataError(f"{what}, row {start + row + 1}: {reason}.")


def check_request(values: NDArray[np.floating[Any]], table: pl.DataFrame, columns: Sequence[str]) -> None:
    """Make sure that float32 can hold the numbers of a request.

    Raises:
        RefusedRequest: 400, it cannot; the row and the column are named.
    """
    row, reason = first_beyond(values, table, columns)
    if reason:
        from shared.payload import RefusedRequest

        raise RefusedRequest(HTTPStatus.BAD_REQUEST, f"row {row + 1}: {reason}.")
