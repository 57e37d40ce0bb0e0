"""nDCG of a ranking of features."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.explainability.ranking import normalised_discounted_cumulative_gain as ndcg

IMPORTANCE = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 100, allow_subnormal=False))
PAIRS = st.integers(2, 12).flatmap(lambda size: st.tuples(*[st.lists(IMPORTANCE, min_size=size, max_size=size)] * 2))


@given(PAIRS)
def test_it_is_what_scikit_learn_computes_ties_included(pair: tuple[list[float], list[float]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    training, production = map(np.array, pair)
    if training.sum() > 1e-9:
        assert ndcg(training, production) == pytest.approx(metrics.ndcg_score([training], [production]), abs=1e-9)


def test_the_same_order_is_perfect_whatever_the_sizes() -> None:
    assert ndcg(np.array([3.0, 2.0, 1.0]), np.array([0.9, 0.8, 0.1])) == 1


def test_two_features_that_change_places() -> None:
    """Gains 3 and 1 in the wrong order, by hand."""
    wrong = (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3))

    assert ndcg(np.array([3.0, 1.0]), np.array([0.1, 0.2])) == pytest.approx(wrong)


def test_where_training_saw_no_importance_any_order_is_right() -> None:
    assert ndcg(np.zeros(3), np.array([1.0, 2.0, 3.0])) == 1


def test_a_single_feature_cannot_change_places() -> None:
    assert ndcg(np.array([2.0]), np.array([0.0])) == 1


@given(PAIRS)
def test_how_features_are_listed_does_not_matter(pair: tuple[list[float], list[float]]) -> None:
    training, production = map(np.array, pair)

    assert ndcg(training[::-1], production[::-1]) == pytest.approx(ndcg(training, production))


@pytest.mark.parametrize(("training", "production"), [([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]]), ([-1.0], [1.0])])
def test_what_is_no_pair_of_importances_is_refused(training: list[float], production: list[float]) -> None:
    with pytest.raises(ValueError, match=r"shapes|negative"):
        ndcg(np.array(training), np.array(production))
