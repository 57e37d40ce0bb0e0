"""The baseline that the README compares the model with."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.flights.rate_table import auc, rates


@pytest.mark.parametrize(
    ("scores", "late", "expected"),
    [
        ([0.1, 0.9], [False, True], 1.0),
        ([0.9, 0.1], [False, True], 0.0),
        ([0.5, 0.5, 0.5], [False, True, True], 0.5),
        # Four pairs: three in order, one tied.
        ([0.1, 0.4, 0.4, 0.8], [False, False, True, True], 0.875),
    ],
)
def test_auc_counts_the_pairs_in_order(scores: list[float], late: list[bool], expected: float) -> None:
    assert auc(pl.Series(scores), pl.Series(late)) == pytest.approx(expected)


def test_a_rate_is_the_share_of_late_flights_in_its_cell() -> None:
    flown = pl.DataFrame({"carrier": ["UA", "UA", "AA"], "hour": [5, 5, 5], "late": [True, False, False]})

    assert dict(rates(flown).select("carrier", "rate").iter_rows()) == {"UA": 0.5, "AA": 0.0}
