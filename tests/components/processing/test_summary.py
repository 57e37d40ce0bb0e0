from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.processing.summary import DISTINCT, Bins, Levels, Numbers

cells = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=60)


def summarised(*batches: list[float | None]) -> Numbers:
    numbers = Numbers()
    for batch in batches:
        numbers.update(pl.Series(batch, dtype=pl.Float64))
    return numbers


@given(cells, cells)
def test_moments_are_numpys_however_the_rows_are_batched(first: list[float | None], second: list[float | None]) -> None:
    values = [value for value in (*first, *second) if value is not None]

    found = summarised(first, second)

    assert found.count == len(values)
    assert found.missing == len(first) + len(second) - len(values)
    if values:
        assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
        assert found.deviation == pytest.approx(np.std(values), rel=1e-6, abs=1e-6)
        assert (found.minimum, found.maximum) == (min(values), max(values))
        assert found.distinct == set(values)


@given(cells, cells)
def test_merging_is_updating(first: list[float | None], second: list[float | None]) -> None:
    merged = summarised(first)
    merged.merge(summarised(second))

    found, expected = merged.result(), summarised(first, second).result()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (value if value is None else pytest.approx(value, rel=1e-9, abs=1e-9))


def test_a_small_deviation_survives_a_large_mean() -> None:
    found = summarised([1e9 + 0.1, 1e9 + 0.2], [1e9 + 0.3])

    assert found.deviation == pytest.approx(np.std([0.1, 0.2, 0.3]), rel=1e-6)


def test_nothing_has_neither_mean_nor_extremes() -> None:
    figures = summarised([None, None]).result()

    assert figures["missing_share"] == 1.0
    assert [figures[name] for name in ("minimum", "mean", "deviation", "maximum")] == [None] * 4
    assert summarised().result()["missing_share"] is None


def test_different_numbers_are_counted_up_to_a_cap() -> None:
    found = summarised([float(value) for value in range(5_000)], [1.5])

    assert not found.few
    assert found.result()["distinct"] == DISTINCT
    assert len(found.distinct) == DISTINCT + 1


@given(st.lists(st.none() | st.sampled_from(["a", "b", "", "é"]), max_size=40), st.integers(0, 40))
def test_levels_are_counted_however_they_are_batched(cells: list[str | None], cut: int) -> None:
    first, second = Levels(), Levels()
    first.update(pl.Series(cells[:cut], dtype=pl.String))
    second.update(pl.Series(cells[cut:], dtype=pl.String))
    first.merge(second)

    assert first.counts == Counter(cell for cell in cells if cell is not None)
    assert first.missing == cells.count(None)
    assert first.count + first.missing == len(cells)


def test_ranked_levels_are_in_one_order_whatever_came_first() -> None:
    levels = Levels()
    levels.update(pl.Series(["b", "c", "a", "c"]))

    assert levels.ranked() == [("c", 2), ("a", 1), ("b", 1)]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50))
def test_bins_hold_every_number_once(values: list[float]) -> None:
    bins = Bins.between(-10, 10)
    bins.update(pl.Series([*values, None]))

    inside = np.histogram([value for value in values if -10 <= value < 10], bins=np.linspace(-10, 10, 21))[0]

    assert bins.counts.sum() == len(values)
    assert (bins.counts[1:-1] == inside[1:-1]).all()


def test_a_column_of_one_number_has_one_bin() -> None:
    bins = Bins.like(summarised([7.0, 7.0]))
    bins.update(pl.Series([7.0, 7.0]))

    assert bins.counts.tolist() == [2]
