from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.processing.selection import (
    Quantile,
    Selection,
    integer_keys,
    key_array,
    number_keys,
    number_of,
)

numbers = st.floats(allow_nan=False, allow_infinity=False)


def selected(values: np.ndarray[tuple[int], np.dtype[np.float64]], ranks: list[int], batch: int = 1_000) -> list[float]:
    selection = Selection(ranks)
    for _ in range(4):
        for start in range(0, len(values), batch):
            selection.update(number_keys(values[start : start + batch]))
        selection.narrow()
        if selection.done:
            break
    keys = selection.result()
    return [number_of(keys[rank]) for rank in ranks]


@given(st.lists(numbers, min_size=2, max_size=2))
def test_keys_have_the_order_of_their_numbers(pair: list[float]) -> None:
    low, high = number_keys(np.array(pair))

    assert (low < high) == (pair[0] < pair[1])
    assert (low == high) == (pair[0] == pair[1])


@given(numbers)
def test_a_key_gives_its_number_back(value: float) -> None:
    assert number_of(int(number_keys(np.array([value]))[0])) == value


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30))
def test_integer_keys_have_the_order_of_their_integers(values: list[int]) -> None:
    keys = integer_keys(np.array(values, np.int64))

    assert np.array(values)[np.argsort(keys, kind="stable")].tolist() == sorted(values)


def test_days_and_fractions_get_the_keys_of_their_kind() -> None:
    assert (key_array(np.array([-3, 0, 7], np.int32)) == integer_keys(np.array([-3, 0, 7], np.int64))).all()
    assert (key_array(np.array([-0.5, 2.0], np.float32)) == number_keys(np.array([-0.5, 2.0]))).all()


@given(st.lists(numbers, min_size=1, max_size=60), st.integers(1, 7), st.data())
def test_the_selected_numbers_are_those_of_a_sort(values: list[float], batch: int, data: st.DataObject) -> None:
    ranks = sorted(data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1, max_size=5)))

    assert selected(np.array(values), ranks, batch) == [sorted(values)[rank] for rank in ranks]


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).normal(1e6, 1e-3, 200_001),  # one bucket of the first digit holds all
        np.repeat([1.0, 2.0, 3.0], 70_000),  # too many equal numbers to sort at once, at every digit
        np.random.default_rng(2).integers(-5, 5, 150_000).astype(float),
    ],
    ids=["close together", "three heavy values", "small integers"],
)
def test_buckets_too_full_to_sort_are_counted_further(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    ranks = [0, len(values) // 2, len(values) - 1]

    assert selected(values, ranks, 65_536) == np.sort(values)[ranks].tolist()


def test_the_keys_of_a_median_are_known_after_two_passes_where_values_differ() -> None:
    selection = Selection([500])
    keys = number_keys(np.arange(1001.0))
    for _ in range(2):
        selection.update(keys)
        selection.narrow()

    assert selection.done
    assert number_of(selection.result()[500]) == 500.0


def test_few_keys_are_kept_and_not_counted() -> None:
    """Counts take half a megabyte a column, which 8,000 columns of 2,000 rows do not need."""
    keys = number_keys(np.arange(1001.0))
    tracemalloc.start()
    selections = [Selection([500]) for _ in range(20)]
    for selection in selections:
        selection.update(keys)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert taken < 20 * 20_000


def test_no_rank_needs_no_pass() -> None:
    assert Selection([]).done


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_a_quantile_is_numpys(values: list[float], probability: float) -> None:
    quantile = Quantile.of(len(values), probability)
    keys = dict(enumerate(int(key) for key in np.sort(number_keys(np.array(values)))))

    assert quantile.value(keys) == pytest.approx(np.quantile(values, probability), rel=1e-12, abs=1e-300)
