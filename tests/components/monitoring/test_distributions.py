"""Edges, bins and pooling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.monitoring.distributions import (
    bin_numbers,
    comparable_bins,
    equal_width_counts,
    merged_neighbours,
    pooled_levels,
    quantile_edges,
)

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


def counted(values: Floats, edges: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """How many of the values each bin holds."""
    return np.bincount(bin_numbers(values, edges), minlength=len(edges) + 1)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300), st.integers(8, 64))
def test_the_outer_bins_hold_nothing_of_the_column_itself(values: list[float], bins: int) -> None:
    column = np.array(values)
    edges = quantile_edges(column, column.min(), column.max(), bins)
    counts = counted(column, edges)

    assert len(counts) <= bins
    assert np.all(np.diff(edges) > 0)
    assert counts[0] == counts[-1] == 0
    assert counts.sum() == len(values)


def test_bins_of_a_continuous_column_hold_equally_many() -> None:
    column = np.random.default_rng(0).normal(size=6200)

    counts = counted(column, quantile_edges(column, column.min(), column.max(), 64))

    assert counts[1:-1] == pytest.approx(100, abs=1)


def test_few_different_values_get_a_bin_each() -> None:
    column = np.repeat([1.0, 2.0, 5.0], [50, 30, 20])

    assert counted(column, quantile_edges(column, 1, 5, 64)).tolist() == [0, 50, 30, 20, 0]


def test_of_a_constant_column_smaller_and_greater_values_are_told_apart() -> None:
    edges = quantile_edges(np.array([3.0, 3.0]), 3, 3, 64)

    assert counted(np.array([2.9, 3.0, 3.1, 3.1]), edges).tolist() == [1, 1, 2]


@pytest.mark.parametrize(("rows", "cells"), [(0, 4), (1, 4), (32, 4), (1000, 16), (10_000, 40), (10**9, 64)])
def test_the_number_of_cells_grows_with_the_power_two_fifths(rows: int, cells: int) -> None:
    assert comparable_bins(rows) == cells


def test_merging_keeps_all_rows_and_aims_at_equal_totals() -> None:
    first, second = np.full(64, 10), np.full(64, 30)

    merged = merged_neighbours(first, second, 16)

    assert [len(one) for one in merged] == [16, 16]
    assert merged[0].tolist() == [40] * 16
    assert merged[1].sum() == 64 * 30


def test_a_heavy_bin_and_the_little_beside_it_stay_apart() -> None:
    """Of a column that is nearly always 0 the rest is a cell, though it is far less than a cell's share."""
    merged = merged_neighbours(np.array([0, 960, 15, 15, 10, 0]), np.array([0, 900, 40, 40, 20, 0]), 16)

    assert merged[0][0] == 960
    assert len(merged[0]) > 1


def test_a_tail_of_which_the_smaller_sample_expects_too_little_joins_its_neighbour() -> None:
    merged = merged_neighbours(np.array([500, 496, 4]), np.array([50, 50, 0]), 3)

    assert merged[0].tolist() == [500, 500]


def test_merging_looks_at_the_totals_alone() -> None:
    """Swapping the samples merges the same bins: no sample decides."""
    random = np.random.default_rng(3)
    first, second = random.integers(0, 50, 64), random.integers(0, 50, 64)

    one, other = merged_neighbours(first, second, 12), merged_neighbours(second, first, 12)

    assert one[0].tolist() == other[1].tolist()
    assert one[1].tolist() == other[0].tolist()


def test_levels_expected_fewer_than_five_times_are_pooled_by_their_total() -> None:
    first, second = np.array([500, 300, 3, 2, 4, 0]), np.array([480, 310, 2, 3, 2, 7])

    pooled = pooled_levels(first, second)

    assert pooled[0].tolist() == [500, 300, 9]
    assert pooled[1].tolist() == [480, 310, 14]


def test_pooled_levels_that_are_still_too_few_join_the_smallest() -> None:
    pooled = pooled_levels(np.array([500, 300, 2]), np.array([480, 310, 1]))

    assert pooled[0].tolist() == [500, 302]
    assert pooled[1].tolist() == [480, 311]


def test_levels_without_any_rows_give_nothing() -> None:
    pooled = pooled_levels(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64))

    assert [len(one) for one in pooled] == [0, 0]


def test_a_histogram_of_equal_widths_keeps_all_rows_and_is_near_the_true_one() -> None:
    column = np.random.default_rng(5).normal(size=20_000)
    edges = quantile_edges(column, column.min(), column.max(), 64)

    bounds, held = equal_width_counts(edges, counted(column, edges), float(column.min()), float(column.max()), 10)

    true, _ = np.histogram(column, bins=bounds)
    assert held.sum() == 20_000
    assert held == pytest.approx(true, abs=20_000 / 62 * 2)


def test_a_constant_columns_histogram_is_one_bucket() -> None:
    edges = quantile_edges(np.array([3.0]), 3, 3, 64)

    bounds, held = equal_width_counts(edges, np.array([0, 7, 0]), 3, 3, 10)

    assert bounds.tolist() == [3, 3]
    assert held.tolist() == [7]
