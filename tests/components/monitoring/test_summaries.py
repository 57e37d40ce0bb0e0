"""The two passes' summaries: batches and merging make no difference to what they say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from components.monitoring.cells import of_levels, of_numbers
from components.monitoring.overview import Levels, Overview, RowSample, row_hashes
from components.monitoring.reading import Reading, typed_reading
from components.monitoring.tally import Moments, Tally
from shared.schema import Column, Schema

SCHEMA = Schema((Column("a", "number"), Column("b", "text"), Column("c", "integer")))
CELLS = {"a": of_numbers(np.array([0.0, 1.0])), "b": of_levels(("x", "y")), "c": of_levels(("1", "2"))}


def raw(count: int) -> pl.DataFrame:
    """Raw text cells, some missing, some wrong."""
    random = np.random.default_rng(21)
    a = random.normal(size=count).round(3).astype(str)
    a[random.random(count) < 0.1] = "oops"
    b = random.choice(["x", "y", "z"], count)
    c = random.integers(1, 4, count).astype(str)
    c[random.random(count) < 0.1] = "1.5"
    table = pl.DataFrame({"a": a, "b": b, "c": c})
    return table.with_columns(pl.when(pl.Series(random.random(count) < 0.1)).then(None).otherwise("b").alias("b"))


def pieces(table: pl.DataFrame, sizes: list[int]) -> list[Reading]:
    """The table read in batches of these sizes."""
    found, start = [], 0
    for size in [*sizes, table.height]:
        part = table.slice(start, size)
        if part.height:
            found.append(typed_reading(part, SCHEMA, start=start))
        start += part.height
    return found


@given(st.lists(st.integers(1, 400), max_size=5))
def test_counts_are_the_same_whatever_the_batches(sizes: list[int]) -> None:
    table = raw(900)
    whole, parts = Tally(CELLS), Tally(CELLS)
    whole.update(typed_reading(table, SCHEMA))
    for reading in pieces(table, sizes):
        piece = Tally(CELLS)
        piece.update(reading)
        parts.merge(piece)

    for name, column in whole.columns.items():
        assert parts.columns[name].counts.tolist() == column.counts.tolist()
        assert parts.columns[name].missing == column.missing
        assert parts.columns[name].wrong == column.wrong
        assert parts.columns[name].unknown == column.unknown
    assert parts.rows == 900


def test_each_value_is_counted_once_in_its_cell() -> None:
    table = pl.DataFrame(
        {"a": ["0", "0.5", "7", None, "oops", "inf"], "b": ["x", "y", "z", "z", None, "x"], "c": ["1"] * 6}
    )
    tally = Tally(CELLS)
    tally.update(typed_reading(table, SCHEMA))

    number, text = tally.columns["a"], tally.columns["b"]
    assert (number.counts.tolist(), number.missing, number.wrong) == ([1, 1, 1], 1, 2)
    assert (text.counts.tolist(), text.missing, text.wrong) == ([2, 1, 2], 1, 0)
    assert text.unknown == {"z": 2}


def test_blocks_are_counted_apart() -> None:
    table = pl.DataFrame({"a": ["0.5", "0.5", "3"], "b": ["x"] * 3, "c": ["1"] * 3})
    tally = Tally(CELLS)
    tally.update(typed_reading(table, SCHEMA), np.array([4, 7, 4]))

    keys, counts = tally.columns["a"].matrix()
    assert keys.tolist() == [4, 7]
    assert counts[:, :3].tolist() == [[0, 1, 1], [0, 1, 0]]


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=20), min_size=1, max_size=5))
def test_moments_of_parts_are_those_of_the_whole(parts: list[list[float]]) -> None:
    values = np.array([value for part in parts for value in part])
    found = Moments()
    for part in parts:
        other = Moments()
        other.update(np.array(part))
        found.merge(other)

    assert found.count == len(values)
    if len(values):
        assert found.mean == pytest.approx(values.mean(), abs=1e-6)
        assert found.deviation == pytest.approx(values.std(), abs=1e-4)
        assert (found.low, found.high) == (values.min(), values.max())


@given(st.lists(st.integers(1, 700), max_size=4))
def test_the_sample_is_the_same_whatever_the_batches(sizes: list[int]) -> None:
    table = pl.DataFrame({"a": np.arange(2000)})
    whole, parts = RowSample(capacity=300), RowSample(capacity=300)
    whole.update(table, 0)
    start = 0
    for size in [*sizes, 2000]:
        parts.update(table.slice(start, size), start)
        start = min(2000, start + size)

    assert whole.result()["a"].to_list() == parts.result()["a"].to_list()
    assert 75 <= whole.result().height <= 300


def test_a_sample_of_few_rows_is_all_of_them() -> None:
    sample = RowSample(capacity=300)
    sample.update(pl.DataFrame({"a": np.arange(300)}), 0)

    assert sample.result()["a"].to_list() == list(range(300))


def test_merged_samples_are_the_sample_of_all_rows() -> None:
    table = pl.DataFrame({"a": np.arange(2000)})
    whole, first, second = RowSample(capacity=300), RowSample(capacity=300), RowSample(capacity=300)
    whole.update(table, 0)
    first.update(table.head(150), 0)
    second.update(table.slice(150), 150)
    first.merge(second)

    assert first.result()["a"].to_list() == whole.result()["a"].to_list()


def test_the_sample_is_spread_evenly_over_the_rows() -> None:
    sample = RowSample(capacity=3000)
    sample.update(pl.DataFrame({"a": np.arange(20_000)}), 0)
    quarters = np.bincount(sample.result()["a"].to_numpy() // 5000, minlength=4)

    assert stats.chisquare(quarters).pvalue > 0.001


def test_row_hashes_do_not_depend_on_where_a_batch_begins() -> None:
    assert row_hashes(0, 10)[4:].tolist() == row_hashes(4, 6).tolist()


def test_levels_beyond_the_limit_are_given_up_in_any_order() -> None:
    first, second = Levels(2), Levels(2)
    for value in ("x", "y", "z"):
        first.update(pl.Series([value]))
    second.update(pl.Series(["x", "y", "z"]))

    assert first.counts is None
    assert second.counts is None


def test_an_overview_of_parts_is_that_of_the_whole() -> None:
    table = raw(500)
    whole, first, second = (Overview(SCHEMA, None, 10) for _ in range(3))
    whole.update(typed_reading(table, SCHEMA))
    first.update(typed_reading(table.head(200), SCHEMA))
    second.update(typed_reading(table.slice(200), SCHEMA, start=200))
    first.merge(second)

    assert first.rows == whole.rows == 500
    assert first.valid == whole.valid
    assert first.wrong == whole.wrong
    assert first.ranges == whole.ranges
    assert first.levels == whole.levels
    assert first.sample.result().equals(whole.sample.result())
