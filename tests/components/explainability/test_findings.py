"""What the reports draw."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from components.explainability.explainer import feature_ranges
from components.explainability.findings import DEPENDENCE_BINS, dependence, scaled


def test_a_feature_of_few_values_has_a_point_for_each() -> None:
    x, y = dependence(np.array([1.0, 0.0, 1.0, np.nan]), np.array([3.0, -1.0, 5.0, 100.0]))

    assert x.tolist() == [0, 1]
    assert y.tolist() == [-1, 4]


def test_a_feature_of_many_values_has_a_point_for_each_twentieth_of_the_rows() -> None:
    column = np.random.default_rng(0).permutation(1000).astype(float)
    x, y = dependence(column, 2 * column)

    assert x.size == DEPENDENCE_BINS
    assert_allclose(x, np.arange(20) * 50 + 24.5)
    assert_allclose(y, 2 * x)


def test_colours_run_from_the_low_to_the_high_quantile_of_training() -> None:
    ranges = np.array([[0.0, 10.0], [3.0, 3.0], [np.nan, np.nan]])
    matrix = np.array([[-5.0, 3.0, 1.0], [2.5, 9.0, np.nan], [99.0, np.nan, 1.0]])

    assert_allclose(scaled(matrix, ranges), [[0, 0.5, 0.5], [0.25, 0.5, np.nan], [1, np.nan, 0.5]])


def test_ranges_are_quantiles_of_the_values_that_are_there() -> None:
    column = np.concatenate([np.arange(101.0), [np.nan] * 50])

    ranges = feature_ranges(np.column_stack([column, np.full(151, np.nan)]))

    assert ranges[0] == pytest.approx([5, 95])
    assert np.isnan(ranges[1]).all()
