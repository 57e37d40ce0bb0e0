"""Numbers that float32 cannot hold; its greatest is (2 - 2^-23) * 2^127 by IEEE 754."""

from __future__ import annotations

import struct

import numpy as np
import polars as pl
import pytest

from shared.errors import DataError
from shared.payload import RefusedRequest
from shared.single import check_request, check_rows, first_beyond, single

GREATEST = (2 - 2**-23) * 2.0**127
NEXT = 2.0**128
"""What would come after it, had binary32 another exponent; from half the way on, numbers are rounded to it."""
COLUMNS = ("age", "income")


def table(*income: float | None) -> pl.DataFrame:
    return pl.DataFrame({"age": [1.0] * len(income), "income": income}, schema=dict.fromkeys(COLUMNS, pl.Float64))


def values(rows: pl.DataFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return rows.select(pl.all().fill_null(float("nan"))).to_numpy()


def test_numbers_are_rounded_as_c_rounds_them() -> None:
    given = [0.1, -1e-46, GREATEST, -3.4028235e38]

    assert single(np.array(given)).tolist() == [struct.unpack("f", struct.pack("f", value))[0] for value in given]


@pytest.mark.parametrize("value", [GREATEST, -GREATEST, 3.4028235e38, 1e-300, 0.0, None])
def test_what_float32_holds_is_well(value: float | None) -> None:
    rows = table(1.0, value)

    check_request(values(rows), rows, COLUMNS)
    check_rows(values(rows), rows, COLUMNS, "input 'data'", 0)


@pytest.mark.parametrize("value", [(GREATEST + NEXT) / 2, 1e39, -1e39, 1.7976931348623157e308])
def test_the_first_number_that_it_does_not_hold_is_named(value: float) -> None:
    rows = table(1.0, None, value, 1e300)

    assert first_beyond(values(rows), rows, COLUMNS)[0] == 2
    with pytest.raises(
        DataError, match=r"^input 'data', row 103: column 'income' is '.*', wanted a number from -3\.40"
    ):
        check_rows(values(rows), rows, COLUMNS, "input 'data'", 100)
    with pytest.raises(
        RefusedRequest, match=r"^row 3: column 'income' is '.*', wanted a number from -3\.40"
    ) as refusal:
        check_request(values(rows), rows, COLUMNS)
    assert refusal.value.status == 400


def test_no_row_is_no_fault() -> None:
    assert first_beyond(values(table()), table(), COLUMNS) == (-1, "")
