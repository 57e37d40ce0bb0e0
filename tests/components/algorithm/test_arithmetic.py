"""Distributions of scores, golden rows, outputs and weights."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.algorithm import golden, outputs, scores
from components.algorithm.model import Progress
from components.algorithm.rows import Floats, Rows, class_weights, constant_features, sample
from components.algorithm.settings import AlgorithmSettings, Task


class Fixed:
    """A model that gives back its first columns."""

    def __init__(self, width: int) -> None:
        self.width = width

    def predictions(self, features: Floats) -> Floats:
        return features[:, 0] if self.width == 1 else features[:, : self.width]

    def margins(self, features: Floats) -> Floats:
        return self.predictions(features)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=300))
def test_a_distribution_counts_each_score_once(values: list[float]) -> None:
    found = scores.distribution(np.array(values, dtype=np.float32))

    assert sum(found["counts"]) == len(values)
    assert (found["edges"][0], found["edges"][-1]) == (min(values), max(values))
    assert found["edges"] == sorted(found["edges"])


def test_a_distribution_of_distinct_scores_has_bins_of_equally_many() -> None:
    found = scores.distribution(np.arange(1000, dtype=np.float32))

    assert len(found["counts"]) == 20
    assert max(found["counts"]) - min(found["counts"]) <= 2


def test_one_distinct_score_is_one_bin() -> None:
    assert scores.distribution(np.full(7, 0.25, dtype=np.float32)) == {
        "edges": [0.25, 0.25],
        "counts": [7],
        "blocks": [[1]] * 7,
    }


def test_stretches_of_rows_are_counted_in_their_order() -> None:
    found = scores.distribution(np.arange(800, dtype=np.float32), bins=2)

    assert found["blocks"] == [[100, 0]] * 4 + [[0, 100]] * 4


@pytest.mark.parametrize("rows", [1, 2, 16, 17, 1000])
def test_golden_rows_are_at_most_16_and_hold_a_missing_value(rows: int) -> None:
    features = np.zeros((rows, 2), dtype=np.float32)
    features[rows // 3, 1] = np.nan

    chosen = golden.positions(features)

    assert len(chosen) == min(rows, 16)
    assert list(chosen) == sorted(set(chosen))
    assert rows // 3 in chosen or rows <= 16 or np.isnan(features[list(chosen)]).any()


def test_outputs_of_a_classifier() -> None:
    rows = np.array([[0.2, 0.7, 0.1]], dtype=np.float32)
    wanted = outputs.chosen("score,predicted_label,probabilities", (), "multiclass")

    found = outputs.answers(Fixed(3), rows, wanted, "multiclass", 0.5)

    assert {name: values.tolist() for name, values in found.items()} == {
        "score": [pytest.approx(0.7)],
        "predicted_label": [1],
        "probability_0": [pytest.approx(0.2)],
        "probability_1": [pytest.approx(0.7)],
        "probability_2": [pytest.approx(0.1)],
    }
    assert tuple(found) == outputs.column_names(wanted, "multiclass", 3)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_each_known_output_fills_the_columns_that_are_named_for_it(task: Task) -> None:
    width = 3 if task == "multiclass" else 1
    rows = np.full((2, 3), 0.5, dtype=np.float32)
    for output in outputs.KNOWN[task]:
        found = outputs.answers(Fixed(width), rows, (output,), task, 0.5)

        assert tuple(found) == outputs.column_names((output,), task, 3 if task == "multiclass" else 2)


def test_a_score_at_the_threshold_is_label_1() -> None:
    rows = np.array([[0.25], [0.249]], dtype=np.float32)

    assert outputs.answers(Fixed(1), rows, ("predicted_label",), "binary", 0.25)["predicted_label"].tolist() == [1, 0]


def test_balanced_weights_give_each_class_the_same_sum() -> None:
    target = np.array([0, 0, 0, 1], dtype=np.float32)

    weights = class_weights(target, AlgorithmSettings(class_weights="balanced"), 2)

    assert weights is not None
    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


def test_a_sample_for_the_curve_is_evenly_spaced() -> None:
    rows = Rows(np.zeros((30_001, 1), dtype=np.float32), np.arange(30_001, dtype=np.float32))

    found = sample(rows)

    assert len(found) == 10_000
    assert (found.target[0], found.target[-1]) == (0, 30_000)
    assert set(np.diff(found.target)) <= {3, 4}
    assert sample(found) is found


def test_a_column_with_a_missing_value_is_not_constant() -> None:
    rows = np.array([[1, 1, 1], [1, np.nan, 2]], dtype=np.float32)

    assert constant_features(rows, ("same", "partial", "moving")) == ("same",)


def story(values: list[float], metric: str, patience: int) -> tuple[Progress, int]:
    """Progress over validation values, and the round after which it said stop, or the last one."""
    progress = Progress((metric,), patience, logging.getLogger("test"))
    for number, value in enumerate(values):
        if progress.ended({"validation": {metric: value}}):
            return progress, number
    return progress, len(values) - 1


def test_training_stops_after_so_many_rounds_without_gain() -> None:
    progress, stopped = story([0.5, 0.4, 0.41, 0.42, 0.43, 0.1], "logloss", 3)

    assert (progress.best_round, stopped) == (1, 4)


def test_auc_gains_upwards() -> None:
    progress, stopped = story([0.6, 0.7, 0.65, 0.69], "auc", 2)

    assert (progress.best_round, stopped) == (1, 3)


def test_an_equal_value_is_no_gain() -> None:
    assert story([0.5, 0.5, 0.5], "logloss", 5)[0].best_round == 0


def test_without_patience_every_round_is_kept() -> None:
    progress, stopped = story([0.1, 0.2, 0.3, 0.4], "logloss", 0)

    assert (progress.best_round, stopped) == (3, 3)
