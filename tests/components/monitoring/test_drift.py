"""Distances and tests agree with SciPy, with closed forms, and with what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from components.monitoring import drift
from components.monitoring.distributions import Counts

Pair = tuple[Counts, Counts]


def pairs(least: int = 0, size: int = 6) -> st.SearchStrategy[Pair]:
    """Two samples over the same cells."""
    counts = st.lists(st.integers(least, 400), min_size=size, max_size=size).map(
        lambda found: np.array(found, np.int64)
    )
    return st.tuples(counts, counts).filter(lambda pair: bool(pair[0].sum() and pair[1].sum()))


@given(pairs(least=1))
def test_chi_square_is_scipys(pair: Pair) -> None:
    expected = stats.chi2_contingency(np.stack(pair), correction=False)

    statistic, freedom = drift.chi_square(*pair)

    assert statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert freedom == expected.dof
    assert drift.chi_square_p(statistic, freedom) == pytest.approx(expected.pvalue, abs=1e-12)


def test_cells_that_nothing_fell_into_cost_no_degree_of_freedom() -> None:
    first, second = np.array([10, 0, 20, 0]), np.array([15, 0, 15, 0])

    assert drift.chi_square(first, second) == pytest.approx(drift.chi_square(first[[0, 2]], second[[0, 2]]))


@pytest.mark.parametrize("pair", [([0, 0], [3, 4]), ([3, 4], [0, 0]), ([5, 0], [9, 0])])
def test_a_sample_without_rows_or_with_one_cell_is_no_evidence(pair: tuple[list[int], list[int]]) -> None:
    first, second = np.array(pair[0]), np.array(pair[1])

    assert drift.chi_square_p(*drift.chi_square(first, second)) == 1.0
    assert drift.effect(first, second) == 0.0


def test_ks_distance_is_scipys_where_each_value_has_its_bin() -> None:
    random = np.random.default_rng(1)
    first, second = random.integers(0, 8, 300), random.integers(0, 9, 200)

    found = drift.ks_distance(np.bincount(first, minlength=9), np.bincount(second, minlength=9))

    assert found == pytest.approx(stats.ks_2samp(first, second).statistic)


def test_ks_p_is_near_the_exact_one() -> None:
    random = np.random.default_rng(2)
    first, second = random.normal(size=250), random.normal(0.2, 1, size=200)
    exact = stats.ks_2samp(first, second, method="exact")

    found = drift.ks_p(float(exact.statistic), 250 * 200 / 450)

    assert found == pytest.approx(exact.pvalue, rel=0.1)


@given(pairs(least=1))
def test_rank_sum_is_scipys_mann_whitney_with_ties(pair: Pair) -> None:
    first, second = (np.repeat(np.arange(len(counts)), counts) for counts in pair)
    expected = stats.mannwhitneyu(first, second, use_continuity=False, method="asymptotic").pvalue

    assert drift.rank_sum_p(*pair) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 40), st.integers(1, 40))
def test_rate_p_is_the_binomial_tail(expected: int, actual: int) -> None:
    wanted = stats.binomtest(actual, expected + actual, 300 / 1300, alternative="greater").pvalue

    assert drift.rate_p(expected, 1000, actual, 300) == pytest.approx(wanted)


def test_the_effect_of_a_small_shift_is_the_shift() -> None:
    edges = stats.norm.ppf(np.arange(1, 64) / 64)
    rows = 10**8
    first = np.diff(np.concatenate([[0], stats.norm.cdf(edges), [1]]))
    second = np.diff(np.concatenate([[0], stats.norm.cdf(edges - 0.1), [1]]))

    found = drift.effect((first * rows).round().astype(int), (second * rows).round().astype(int))

    assert found == pytest.approx(0.1, rel=0.02)


@given(pairs(least=1))
def test_the_effect_of_equal_sizes_is_the_excess_of_chi_square(pair: Pair) -> None:
    first, second = pair[0] * int(pair[1].sum()), pair[1] * int(pair[0].sum())
    statistic, freedom = drift.chi_square(first, second)
    rows = drift.effective_rows(first, second)

    wanted = math.sqrt(max(0.0, (statistic - freedom) / rows))
    assert drift.effect(first, second) == pytest.approx(wanted, abs=1e-6)


def test_the_effect_does_not_depend_on_how_many_rows_one_side_has() -> None:
    first, second = np.array([400, 300, 300]) * 1000, np.array([300, 300, 400]) * 1000

    assert drift.effect(first * 50, second) == pytest.approx(drift.effect(first, second), rel=1e-3)


def test_nothing_in_common_is_an_effect_of_two() -> None:
    assert drift.effect(np.array([10**6, 0]), np.array([0, 10**6])) == pytest.approx(2, abs=1e-3)


def proportions(size: int = 5) -> st.SearchStrategy[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Shares that sum to 1, some of them perhaps 0."""
    counts = st.lists(st.integers(0, 1000), min_size=size, max_size=size).filter(any)
    return counts.map(lambda found: np.array(found) / sum(found))


@given(proportions(), proportions())
def test_psi_is_symmetric_and_zero_only_for_equals(
    p: np.ndarray[tuple[int], np.dtype[np.float64]], q: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    found = drift.population_stability_index(p, q)

    assert found == pytest.approx(drift.population_stability_index(q, p))
    assert found >= 0
    assert (found == 0) == bool(np.array_equal(p, q))
    assert drift.population_stability_index(p, p) == 0


def test_psi_of_a_known_pair() -> None:
    """Of (0.5, 0.5) and (0.25, 0.75): 0.25 ln 2 + 0.25 ln 1.5 = 0.25 ln 3."""
    found = drift.population_stability_index(np.array([0.5, 0.5]), np.array([0.25, 0.75]))

    assert found == pytest.approx(0.25 * math.log(3))


@given(proportions(), proportions())
def test_jensen_shannon_is_scipys(
    p: np.ndarray[tuple[int], np.dtype[np.float64]], q: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    from scipy.spatial.distance import jensenshannon

    assert drift.jensen_shannon_distance(p, q) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-6)


def test_wasserstein_of_a_column_moved_by_one_bin_is_the_bins_width() -> None:
    edges = np.arange(0.0, 9.0)
    first = np.array([0, 0, 0.25, 0.5, 0.25, 0, 0, 0, 0, 0])

    assert drift.wasserstein_distance(edges, first, np.roll(first, 1)) == pytest.approx(1.0)


def test_wasserstein_is_near_scipys_on_fine_bins() -> None:
    random = np.random.default_rng(4)
    first, second = random.normal(size=5000), random.normal(0.5, 1.5, size=5000)
    edges = np.linspace(-8, 8, 400)
    shares = [np.bincount(np.searchsorted(edges, one), minlength=401) / 5000 for one in (first, second)]

    found = drift.wasserstein_distance(edges, shares[0], shares[1])

    assert found == pytest.approx(stats.wasserstein_distance(first, second), rel=0.02)


@pytest.mark.parametrize("distance", [drift.population_stability_index, drift.jensen_shannon_distance])
def test_bins_that_do_not_match_are_refused(distance: drift.Distance) -> None:
    with pytest.raises(ValueError, match="same bins"):
        distance(np.array([0.5, 0.5]), np.array([1.0]))


@pytest.mark.parametrize("distance", [drift.population_stability_index, drift.jensen_shannon_distance])
def test_a_negative_share_is_refused(distance: drift.Distance) -> None:
    with pytest.raises(ValueError, match="negative"):
        distance(np.array([1.5, -0.5]), np.array([0.5, 0.5]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_scipys(values: list[float]) -> None:
    expected = stats.false_discovery_control(values, method="bh")

    assert drift.adjusted(np.array(values)) == pytest.approx(expected)


def test_nothing_to_adjust_is_fine() -> None:
    assert drift.adjusted(np.empty(0)).size == 0
