"""The tree walk gives what XGBoost gives, to the last bit before the link."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from components.algorithm import trees
from components.algorithm.booster import opened
from components.algorithm.rows import Floats

OBJECTIVES = tuple(trees.LINKS)


def rows_of(seed: int, rows: int, features: int, missing: float) -> Floats:
    generator = np.random.default_rng(seed)
    # Few distinct values, so that many rows lie exactly on a split.
    values: Floats = generator.integers(-4, 5, size=(rows, features)).astype(np.float32) / np.float32(2)
    values[generator.random(values.shape) < missing] = np.nan
    return values


def booster_of(objective: str, features: Floats, seed: int, depth: int, rounds: int = 8, **extra: Any) -> xgb.Booster:
    generator = np.random.default_rng(seed)
    signal = np.nan_to_num(features[:, 0]) + generator.normal(size=len(features))
    target = np.exp(signal / 4) if objective.startswith(("reg:gamma", "reg:tweedie", "count")) else signal
    if objective == "binary:logistic":
        target = signal > 0
    if objective == "multi:softprob":
        target, extra = np.digitize(signal, [-1, 1]), {**extra, "num_class": 3}
    parameters = {"objective": objective, "max_depth": depth, "nthread": 1, "seed": seed, **extra}
    return xgb.train(parameters, xgb.QuantileDMatrix(features, target.astype(np.float32), nthread=1), rounds)


def walk_of(booster: xgb.Booster) -> trees.Forest | None:
    return opened(booster).walk


@settings(max_examples=60)
@given(
    objective=st.sampled_from(OBJECTIVES),
    seed=st.integers(0, 10_000),
    depth=st.integers(1, 7),
    missing=st.sampled_from([0.0, 0.2, 0.9]),
    unseen=st.sampled_from([0.0, 0.3]),
)
def test_the_walk_gives_xgboosts_margins_exactly(
    objective: str, seed: int, depth: int, missing: float, unseen: float
) -> None:
    """Missing values take the default direction, also where none was missing in training."""
    booster = booster_of(objective, rows_of(seed, 120, 3, missing), seed, depth)
    rows = rows_of(seed + 1, 40, 3, unseen)

    walk = walk_of(booster)

    assert walk is not None
    expected = booster.inplace_predict(rows, predict_type="margin")
    assert np.array_equal(trees.margins(walk, rows), expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_link_gives_xgboosts_predictions(objective: str) -> None:
    features = rows_of(3, 300, 4, 0.1)
    booster = booster_of(objective, features, 3, 4)
    walk = walk_of(booster)

    assert walk is not None
    found = trees.linked(trees.margins(walk, features), walk.link)
    assert found == pytest.approx(booster.inplace_predict(features), rel=3e-7)
    assert found.dtype == np.float32


def test_a_tree_without_a_split_is_walked() -> None:
    features = rows_of(5, 30, 2, 0)
    booster = booster_of("binary:logistic", features, 5, 3, gamma=1e9)
    walk = walk_of(booster)

    assert walk is not None
    assert walk.depth == 0
    assert np.array_equal(trees.margins(walk, features), booster.inplace_predict(features, predict_type="margin"))


def test_no_rows_give_no_margins() -> None:
    walk = walk_of(booster_of("binary:logistic", rows_of(6, 30, 2, 0), 6, 2))

    assert walk is not None
    assert trees.margins(walk, np.empty((0, 2), np.float32)).shape == (0,)


@pytest.mark.parametrize("odd", [{"booster": "dart", "rate_drop": 0.5}, {"booster": "gblinear"}])
def test_other_boosters_are_left_to_xgboost(odd: dict[str, Any]) -> None:
    features = rows_of(7, 60, 2, 0)
    target = (features[:, 0] > 0).astype(np.float32)
    parameters = {"objective": "binary:logistic", "nthread": 1, **odd}
    booster = xgb.train(parameters, xgb.DMatrix(features, target), 3)

    assert walk_of(booster) is None


def test_categories_are_left_to_xgboost() -> None:
    features = np.random.default_rng(8).integers(0, 6, size=(200, 1)).astype(np.float32)
    target = np.isin(features[:, 0], [1, 4]).astype(np.float32)
    matrix = xgb.DMatrix(features, target, feature_types=["c"], enable_categorical=True)
    parameters = {"objective": "binary:logistic", "nthread": 1, "max_cat_to_onehot": 1}
    booster = xgb.train(parameters, matrix, 2)

    assert walk_of(booster) is None


def test_other_objectives_are_left_to_xgboost() -> None:
    features = rows_of(9, 60, 2, 0)
    booster = xgb.train(
        {"objective": "binary:hinge", "nthread": 1}, xgb.DMatrix(features, (features[:, 0] > 0).astype(np.float32)), 2
    )

    assert walk_of(booster) is None
