"""Metrics agree with scikit-learn's, and with closed forms where those are shorter."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.algorithm import evaluation
from components.algorithm.evaluation import Array

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Array, Array]:
    """Labels of both kinds and probabilities with many ties."""
    rows = draw(st.integers(2, 60))
    target = draw(arrays(np.float32, rows, elements=st.sampled_from([0.0, 1.0])))
    target[0], target[1] = 0, 1
    steps = draw(st.sampled_from([3, 20, 10_000]))
    score = draw(arrays(np.int32, rows, elements=st.integers(0, steps)))
    return target, (score / steps).astype(np.float32)


@given(labelled())
def test_roc_auc_counts_ties_half(data: tuple[Array, Array]) -> None:
    target, score = data

    assert evaluation.roc_auc(evaluation.ranking(target, score)) == pytest.approx(metrics.roc_auc_score(target, score))


@given(labelled())
def test_the_roc_curve_is_that_of_every_distinct_score(data: tuple[Array, Array]) -> None:
    target, score = data
    expected = metrics.roc_curve(target, score, drop_intermediate=False)

    false_rate, true_rate = evaluation.roc_curve(evaluation.ranking(target, score))

    assert false_rate == pytest.approx(expected[0])
    assert true_rate == pytest.approx(expected[1])


@given(labelled())
def test_average_precision(data: tuple[Array, Array]) -> None:
    target, score = data

    found = evaluation.average_precision(evaluation.ranking(target, score))

    assert found == pytest.approx(metrics.average_precision_score(target, score))


@given(labelled())
def test_the_precision_recall_curve(data: tuple[Array, Array]) -> None:
    target, score = data
    precision, recall, _ = metrics.precision_recall_curve(target, score)

    found = evaluation.precision_recall(evaluation.ranking(target, score))

    # scikit-learn lists from the lowest threshold and adds the point (1, 0) at the end.
    assert found[0] == pytest.approx(precision[-2::-1])
    assert found[1] == pytest.approx(recall[-2::-1])


@given(labelled())
def test_log_loss_and_brier_score(data: tuple[Array, Array]) -> None:
    target, score = data

    assert evaluation.log_loss(target, score) == pytest.approx(metrics.log_loss(target, score, labels=[0, 1]), rel=1e-4)
    assert evaluation.brier_score(target, score) == pytest.approx(metrics.brier_score_loss(target, score))


@given(labelled(), st.sampled_from([0.2, 0.5, 0.9]))
def test_figures_at_a_threshold(data: tuple[Array, Array], threshold: float) -> None:
    target, score = data
    label = score >= threshold

    found = evaluation.binary_scalars(target, score, threshold)

    options = {"zero_division": 0}
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(target, label))
    assert found["precision"] == pytest.approx(metrics.precision_score(target, label, **options))
    assert found["recall"] == pytest.approx(metrics.recall_score(target, label, **options))
    assert found["f1"] == pytest.approx(metrics.f1_score(target, label, **options))
    assert found["f0_5"] == pytest.approx(metrics.fbeta_score(target, label, beta=0.5, **options))
    assert found["f2"] == pytest.approx(metrics.fbeta_score(target, label, beta=2, **options))
    assert found["true_negative_rate"] == pytest.approx(metrics.recall_score(target, label, pos_label=0))
    assert evaluation.confusion(target, label.astype(np.float32), 2).tolist() == (
        metrics.confusion_matrix(target, label, labels=[0, 1]).tolist()
    )


@given(labelled())
def test_the_best_f1_is_that_of_the_best_threshold(data: tuple[Array, Array]) -> None:
    target, score = data
    possible = [metrics.f1_score(target, score >= cut) for cut in np.unique(score)]

    threshold = evaluation.best_f1(evaluation.ranking(target, score))

    assert metrics.f1_score(target, score >= np.float32(threshold)) == pytest.approx(max(possible))


def test_calibration_is_scikit_learns_in_bins_of_equally_many() -> None:
    calibration_curve = importlib.import_module("sklearn.calibration").calibration_curve
    generator = np.random.default_rng(0)
    score = generator.random(1000)
    target = (generator.random(1000) < score**2).astype(np.float32)

    found = evaluation.calibration(target, score)
    observed, predicted = calibration_curve(target, score, n_bins=10, strategy="quantile")

    assert found.predicted == pytest.approx(predicted)
    assert found.observed == pytest.approx(observed)
    assert found.counts.tolist() == [100] * 10


def test_calibration_of_one_prediction_is_one_bin() -> None:
    found = evaluation.calibration(np.array([0.0, 1.0, 1.0, 1.0]), np.full(4, 0.5))

    assert found.counts.tolist() == [4]
    assert found.error == pytest.approx(0.25)


def test_figures_of_more_than_two_classes() -> None:
    generator = np.random.default_rng(1)
    target = generator.integers(0, 3, 300).astype(np.float32)
    chance = generator.dirichlet([1, 1, 1], 300)
    label = chance.argmax(axis=1)

    found = evaluation.multiclass_scalars(target, chance)

    options = {"average": "weighted", "zero_division": 0}
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(target, label))
    assert found["weighted_precision"] == pytest.approx(metrics.precision_score(target, label, **options))
    assert found["weighted_recall"] == pytest.approx(metrics.recall_score(target, label, **options))
    assert found["weighted_f1"] == pytest.approx(metrics.f1_score(target, label, **options))
    assert found["weighted_f2"] == pytest.approx(metrics.fbeta_score(target, label, beta=2, **options))
    assert found["logloss"] == pytest.approx(metrics.log_loss(target, chance), rel=1e-6)
    assert found["accuracy_best_constant_classifier"] == pytest.approx(np.bincount(target.astype(int)).max() / 300)


def test_figures_of_numbers() -> None:
    generator = np.random.default_rng(2)
    target = generator.normal(size=200)
    predicted = target + generator.normal(size=200)

    found = evaluation.regression_scalars(target, predicted)

    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(target, predicted))
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(target, predicted))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(target, predicted))
    assert found["r2"] == pytest.approx(metrics.r2_score(target, predicted))


def test_a_constant_target_has_no_r2() -> None:
    assert np.isnan(evaluation.regression_scalars(np.ones(3), np.zeros(3))["r2"])


def test_one_label_alone_has_no_auc() -> None:
    assert np.isnan(evaluation.roc_auc(evaluation.ranking(np.ones(3), np.array([0.1, 0.2, 0.3]))))


def test_a_certain_mistake_costs_a_finite_log_loss() -> None:
    assert evaluation.log_loss(np.array([1.0]), np.array([0.0])) == pytest.approx(-np.log(np.finfo(np.float32).eps))


def test_the_constant_answers_of_a_rare_label() -> None:
    """One row in four is 1: always 1 has precision 1/4 and F1 2/5, always 0 is right three times in four."""
    found = evaluation.binary_scalars(np.array([1.0, 0, 0, 0]), np.array([0.9, 0.1, 0.1, 0.1]), 0.5)

    assert found["precision_best_constant_classifier"] == 0.25
    assert found["recall_best_constant_classifier"] == 1
    assert found["accuracy_best_constant_classifier"] == 0.75
    assert found["f1_best_constant_classifier"] == pytest.approx(0.4)


def test_a_thinned_curve_keeps_its_ends() -> None:
    values = np.linspace(0, 1, 10_001)

    kept = evaluation.thinned(values)

    assert len(kept) == 200
    assert (kept[0], kept[-1]) == (0, 1)
    assert kept == sorted(kept)
