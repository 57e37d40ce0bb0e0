"""Figures of model quality agree with SciPy and with counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from components.monitoring import model_quality as quality

LABELS = np.array([1, 1, 0, 1, 0, 0, 0, 1], dtype=bool)
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.4, 0.3, 0.1])


def test_the_confusion_is_counted() -> None:
    found = quality.confusion(LABELS, SCORES >= 0.5)

    assert (found.true_positive, found.false_positive, found.true_negative, found.false_negative) == (3, 2, 2, 1)
    assert found.accuracy == 5 / 8
    assert found.precision == 3 / 5
    assert found.recall == 3 / 4
    assert found.f(1) == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found.f(2) == pytest.approx(5 * 3 / (5 * 3 + 4 * 1 + 2))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60))
def test_auc_is_the_mann_whitney_statistic_per_pair(rows: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)
    found = quality.area_under_roc(labels, scores)

    if labels.all() or not labels.any():
        assert found is None
    else:
        pairs = stats.mannwhitneyu(scores[labels], scores[~labels]).statistic
        assert found == pytest.approx(pairs / (labels.sum() * (~labels).sum()))


def test_average_precision_is_the_mean_precision_at_the_positives() -> None:
    assert quality.average_precision(LABELS, SCORES) == pytest.approx((1 + 1 + 3 / 4 + 4 / 8) / 4)


def test_scores_without_information_have_the_base_rates_figures() -> None:
    scores = np.full(8, 0.5)

    assert quality.area_under_roc(LABELS, scores) == 0.5
    assert quality.average_precision(LABELS, scores) == 0.5
    assert quality.brier_score(LABELS, scores) == 0.25


def test_the_best_constant_knows_the_base_rate() -> None:
    found = quality.constant_scalars(np.array([True, False, False, False]))

    assert found["accuracy_best_constant_classifier"] == 0.75
    assert found["precision_best_constant_classifier"] == 0.25
    assert found["f1_best_constant_classifier"] == pytest.approx(0.4)


def test_calibrated_scores_lie_on_the_diagonal() -> None:
    random = np.random.default_rng(3)
    scores = random.random(20_000)

    means, shares = quality.calibration(random.random(20_000) < scores, scores)

    assert len(means) == 10
    assert shares == pytest.approx(means, abs=0.05)


def test_regression_figures_are_those_of_their_definitions() -> None:
    labels, scores = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.5, 2.0, 2.0, 5.0])

    found = quality.regression_scalars(labels, scores)

    assert found["mae"] == pytest.approx(2.5 / 4)
    assert found["mse"] == pytest.approx(2.25 / 4)
    assert found["rmse"] == pytest.approx(0.75)
    assert found["r2"] == pytest.approx(1 - 2.25 / 5)


def test_a_constant_outcome_has_no_r2() -> None:
    assert "r2" not in quality.regression_json(np.ones(5), np.arange(5.0))


def test_below_two_hundred_rows_the_deviation_is_the_text_nan() -> None:
    few = quality.binary_json(LABELS, SCORES, 0.5)
    many = quality.binary_json(np.tile(LABELS, 30), np.tile(SCORES, 30), 0.5)

    assert few["auc"]["standard_deviation"] == "NaN"
    assert 0 < many["auc"]["standard_deviation"] < 0.1
    assert few["auc"]["value"] == many["auc"]["value"] == 11 / 16


def test_one_outcome_alone_has_no_curve_and_no_auc() -> None:
    found = quality.binary_json(np.ones(4, dtype=bool), SCORES[:4], 0.5)

    assert "auc" not in found
    assert "receiver_operating_characteristic_curve" not in found
    assert found["recall"]["value"] == 1


def test_curves_keep_their_ends_when_thinned() -> None:
    found = quality.thinned(np.arange(1000.0), most=7)

    assert len(found) == 7
    assert (found[0], found[-1]) == (0, 999)
