"""Exact attributions: by hand, by both routes, and refused when they do not add up."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from components.explainability.attributions import MANY_ROWS, Explainer, check_additivity, predicted
from components.explainability.settings import Method
from shared.errors import QuartetError, SettingsError
from tests.components.explainability.models import features, labels, trained

Array = NDArray[np.floating[Any]]

EXACT_SQUARES = {"objective": "reg:squarederror", "base_score": 0, "eta": 1, "lambda": 0, "min_child_weight": 0}
"""A leaf is the mean of its rows' residuals."""
ROUTES: tuple[Method, ...] = ("contributions", "woodelf")
TRUTH = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
"""All cells of two binary features."""


def attributed(booster: xgboost.Booster, method: Method, rows: Array) -> tuple[Array, float]:
    """Attributions to the only output, shape (rows, features), and the expected value."""
    found = Explainer(booster, method).attributions(rows)
    return found.values[:, 0], float(found.expected[0])


@pytest.mark.parametrize("method", ROUTES)
def test_a_stump_gives_its_feature_the_distance_of_the_leaf_from_the_mean(method: Method) -> None:
    """30 rows of 0 and 10 rows of 4: the mean is 1, so the leaves lie 1 below and 3 above it."""
    matrix = np.column_stack([np.zeros(40), np.repeat([-1.0, 1.0], [30, 10])])
    stump = trained({**EXACT_SQUARES, "max_depth": 1}, matrix, np.repeat([0.0, 4.0], [30, 10]), rounds=1)

    values, expected = attributed(stump, method, np.array([[0.0, -1.0], [0.0, 1.0]]))

    assert expected == pytest.approx(1)
    assert_allclose(values, [[0, -1], [0, 3]], atol=1e-6)


@pytest.mark.parametrize("method", ROUTES)
def test_features_that_add_up_are_attributed_each_on_its_own(method: Method) -> None:
    """The target is 2a + 5b over all four cells: a moves by 1 either way, b by 2.5, around a mean of 3.5."""
    model = trained({**EXACT_SQUARES, "max_depth": 1}, TRUTH, TRUTH @ [2.0, 5.0], rounds=2)

    values, expected = attributed(model, method, TRUTH)

    assert expected == pytest.approx(3.5)
    assert_allclose(values, [[-1, -2.5], [-1, 2.5], [1, -2.5], [1, 2.5]], atol=1e-6)


@pytest.mark.parametrize("method", ROUTES)
def test_features_that_act_together_share_what_they_do(method: Method) -> None:
    """The target is 4 where a and b: alone, a 1 doubles the mean of 1 and a 0 makes it 0; both orders count alike."""
    model = trained({**EXACT_SQUARES, "max_depth": 2}, TRUTH, 4 * TRUTH.prod(axis=1), rounds=1)

    values, expected = attributed(model, method, TRUTH)

    assert expected == pytest.approx(1)
    assert_allclose(values, [[-0.5, -0.5], [-1.5, 0.5], [0.5, -1.5], [1.5, 1.5]], atol=1e-6)


OBJECTIVES: list[tuple[dict[str, Any], int]] = [
    ({"objective": "binary:logistic"}, 2),
    ({"objective": "reg:squarederror"}, 2),
    ({"objective": "reg:absoluteerror"}, 2),
    ({"objective": "count:poisson"}, 2),
    ({"objective": "reg:tweedie"}, 2),
    ({"objective": "multi:softprob", "num_class": 4}, 4),
    ({"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.5}, 2),
    ({"objective": "binary:logistic", "gamma": 20.0}, 2),
    ({"objective": "binary:logistic", "tree_method": "exact"}, 2),
    ({"objective": "binary:logistic", "base_score": 0.1, "max_depth": 9, "min_child_weight": 0.1}, 2),
]


@pytest.mark.parametrize(("parameters", "classes"), OBJECTIVES, ids=lambda value: str(value)[:60])
def test_both_routes_give_the_same_numbers(parameters: dict[str, Any], classes: int) -> None:
    """Missing values, whole numbers and several outputs included."""
    matrix = features(1500)
    booster = trained({"max_depth": 5, **parameters}, matrix, labels(matrix, classes))
    rows = features(3000, seed=9)
    rows[::7] = np.nan
    own = Explainer(booster, "contributions").attributions(rows)
    tables = Explainer(booster, "woodelf").attributions(rows)

    assert tables.values.shape == own.values.shape == (3000, classes if classes > 2 else 1, 4)
    assert_allclose(tables.values, own.values, atol=1e-5)
    assert_allclose(tables.expected, own.expected, atol=1e-6)
    assert (tables.margins == own.margins).all()


def test_values_on_a_threshold_and_right_below_it_go_the_way_xgboost_sends_them() -> None:
    """One step of single precision decides, so a reader that moves thresholds is found out."""
    matrix = features(2000)
    booster = trained({"objective": "binary:logistic", "max_depth": 3}, matrix, labels(matrix))
    splits = booster.trees_to_dataframe().query("Feature == 'f0'")["Split"].to_numpy(dtype=np.float32)
    below = np.nextafter(splits, np.float32(-np.inf))
    rows = np.repeat(features(1), len(splits) * 2, axis=0)
    rows[:, 0] = np.concatenate([splits, below])

    own, tables = (Explainer(booster, method).attributions(rows).values for method in ROUTES)

    assert len(splits) > 10
    assert_allclose(tables, own, atol=1e-5)


@pytest.mark.parametrize("method", ROUTES)
def test_in_every_row_attributions_and_expected_value_sum_to_the_margin(
    method: Method, multiclass: xgboost.Booster
) -> None:
    rows = features(500, seed=4)

    found = Explainer(multiclass, method).attributions(rows)
    table = xgboost.DMatrix(rows)

    assert_allclose(found.values.sum(axis=2) + found.expected, multiclass.predict(table, output_margin=True), atol=1e-5)


def test_a_model_without_a_split_attributes_nothing() -> None:
    matrix = features(100)
    booster = trained({"objective": "reg:squarederror"}, matrix, np.full(100, 3.0))

    for method in ROUTES:
        values, expected = attributed(booster, method, matrix)

        assert (values == 0).all()
        assert expected == pytest.approx(3)


def test_batches_of_any_size_give_the_same_attributions(booster: xgboost.Booster) -> None:
    rows = features(3000, seed=5)
    whole = Explainer(booster, "woodelf").attributions(rows).values
    explainer = Explainer(booster, "woodelf")

    parts = [explainer.attributions(rows[start : start + 700]).values for start in range(0, 3000, 700)]

    assert_allclose(np.concatenate(parts), whole, atol=1e-6)


# --- Routes


def test_few_rows_go_to_xgboost_and_many_to_the_tables_where_all_that_follow_stay(booster: xgboost.Booster) -> None:
    explainer = Explainer(booster)
    routes = []
    for rows in (10, MANY_ROWS, 10):
        explainer.attributions(features(rows))
        routes.append(explainer.route)

    assert routes == ["contributions", "woodelf", "woodelf"]


def _deep() -> xgboost.Booster:
    draws = np.random.default_rng(0)
    matrix = draws.normal(size=(3000, 12))
    parameters = {"objective": "reg:squarederror", "max_depth": 14, "min_child_weight": 0}
    return trained(parameters, matrix, draws.normal(size=3000), rounds=1)


def _categorical() -> xgboost.Booster:
    matrix = np.column_stack([np.arange(300) % 7, np.arange(300) % 2]).astype(float)
    table = xgboost.DMatrix(matrix, np.arange(300) % 7 % 3, feature_types=["c", "q"], enable_categorical=True)
    return xgboost.train({"objective": "reg:squarederror"}, table, 2)


def _dart() -> xgboost.Booster:
    matrix = features(500)
    parameters = {"booster": "dart", "rate_drop": 0.5, "objective": "binary:logistic"}
    return trained(parameters, matrix, labels(matrix), rounds=5)


def _linear() -> xgboost.Booster:
    matrix = np.nan_to_num(features(500))
    return trained({"booster": "gblinear", "objective": "reg:squarederror"}, matrix, labels(matrix))


UNUSUAL = [
    (_deep, "deeper than 10"),
    (_categorical, "splits on categories"),
    (_dart, "booster is 'dart'"),
    (_linear, "booster is 'gblinear'"),
]


@pytest.mark.parametrize(("make", "said"), UNUSUAL)
def test_models_that_tables_cannot_explain_are_explained_by_xgboost(make: Any, said: str) -> None:
    """And asking for tables all the same is refused with the reason."""
    booster = make()
    rows = np.abs(np.nan_to_num(np.resize(features(MANY_ROWS), (MANY_ROWS, booster.num_features())))) % 2
    explainer = Explainer(booster)

    explainer.attributions(rows)

    assert explainer.route == "contributions"
    with pytest.raises(SettingsError, match=said):
        Explainer(booster, "woodelf")


def test_nothing_is_printed(booster: xgboost.Booster, capfd: pytest.CaptureFixture[str]) -> None:
    """Progress bars are noise in a log that shows each of their steps as a line."""
    Explainer(booster, "woodelf").attributions(features(100))

    assert capfd.readouterr() == ("", "")


# --- Additivity


def test_attributions_that_do_not_add_up_are_an_error() -> None:
    values, expected = np.ones((5, 2, 3)), np.zeros(2)
    margins = np.full((5, 2), 3.0)
    check_additivity(values, expected, margins)
    margins[3, 1] = 3.01

    with pytest.raises(
        QuartetError, match=r"row 4 of a batch, output 1, they .* sum to 3 where .* margin is 3\.01"
    ) as error:
        check_additivity(values, expected, margins)
    assert error.value.exit_code == 1


@pytest.mark.parametrize("place", ["values", "margins"])
def test_an_attribution_that_is_no_number_does_not_add_up(place: str) -> None:
    arrays = {"values": np.ones((2, 1, 3)), "margins": np.full((2, 1), 3.0)}
    arrays[place][1] = np.nan

    with pytest.raises(QuartetError, match="row 2 of a batch"):
        check_additivity(arrays["values"], np.zeros(1), arrays["margins"])


def test_what_single_precision_loses_of_large_terms_is_no_error() -> None:
    """Targets of a million around zero: margins near zero are sums of terms that cancel."""
    draws = np.random.default_rng(0)
    matrix = draws.normal(size=(2000, 4)).astype(np.float32)
    target = (matrix[:, 0] - matrix[:, 1]) * 1e6
    booster = trained({"objective": "reg:squarederror", "max_depth": 6}, matrix, target, rounds=40)

    for method in ROUTES:
        Explainer(booster, method).attributions(matrix)


def test_an_explainer_whose_route_goes_wrong_says_so(booster: xgboost.Booster, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: xgboost.Booster, matrix: Array, **options: bool) -> Array:
        answer = predicted(model, matrix, **options)
        return answer * 1.01 if options.get("pred_contribs") else answer

    monkeypatch.setattr("components.explainability.attributions.predicted", wrong)

    with pytest.raises(QuartetError, match="do not add up"):
        Explainer(booster, "contributions").attributions(features(10))
