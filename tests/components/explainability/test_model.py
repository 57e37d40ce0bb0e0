"""The model that is explained is the one that the algorithm scores with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xgboost
from numpy.testing import assert_allclose

from components.explainability.attributions import predicted
from components.explainability.model import linked, open_model
from shared.artefact import Golden
from shared.errors import ArtefactError, SettingsError
from shared.schema import Column, Schema
from tests.components.explainability.models import FEATURES, SCHEMA, features, labels, table_of, trained, write_model

OBJECTIVES = (
    "binary:logistic",
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:gamma",
    "reg:tweedie",
    "count:poisson",
    "multi:softprob",
)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_scores_from_margins_are_xgboosts_predictions(objective: str) -> None:
    matrix = features(500)
    target = labels(matrix, 3 if objective == "multi:softprob" else 2) + (objective == "reg:gamma")
    parameters = {"num_class": 3} if objective == "multi:softprob" else {}
    booster = trained({"objective": objective, **parameters}, matrix, target)

    margins, wanted = predicted(booster, matrix, output_margin=True), predicted(booster, matrix)

    assert_allclose(linked(margins, objective), wanted, rtol=1e-5, atol=1e-7)


def test_margins_beyond_any_probability_raise_no_warning() -> None:
    assert linked(np.array([[-1e4], [1e4]]), "binary:logistic").ravel().tolist() == [pytest.approx(0), 1]
    assert linked(np.array([[1e4, 0.0]]), "multi:softprob").ravel().tolist() == [1, 0]


def golden(booster: xgboost.Booster, rows: int = 4) -> Golden:
    """What the algorithm component keeps: a few rows and their scores."""
    table = table_of(features(rows))
    scores = booster.predict(xgboost.DMatrix(features(rows)))
    return Golden(
        table.select(FEATURES).to_dict(as_series=False), {"score": scores.tolist(), "predicted_label": [0] * rows}
    )


def test_a_model_that_scores_as_its_golden_batch_says_is_opened(tmp_path: Path, booster: xgboost.Booster) -> None:
    _, model = open_model(write_model(tmp_path, booster, golden=golden(booster)))

    assert model.features == FEATURES


def test_a_model_that_is_scored_with_fewer_trees_than_it_holds_is_refused(
    tmp_path: Path, booster: xgboost.Booster
) -> None:
    """It would be explained with all of them."""
    with pytest.raises(ArtefactError, match="gives 'score' = "):
        open_model(write_model(tmp_path, booster, golden=golden(booster[:5])))


def test_a_booster_of_other_features_than_the_manifest_names_is_refused(tmp_path: Path) -> None:
    booster = trained({"objective": "reg:squarederror"}, features(50)[:, :2], np.arange(50.0), rounds=1)

    with pytest.raises(ArtefactError, match="names 4 features and its booster has 2"):
        open_model(write_model(tmp_path, booster))


def test_a_booster_whose_features_stand_in_another_order_is_refused(tmp_path: Path) -> None:
    table = xgboost.DMatrix(features(50), np.arange(50.0), feature_names=list(reversed(FEATURES)))
    booster = xgboost.train({"objective": "reg:squarederror"}, table, 1)

    with pytest.raises(ArtefactError, match=r"names features 'distance', .* and its booster 'wind'"):
        open_model(write_model(tmp_path, booster))


def test_a_feature_that_is_text_is_refused(tmp_path: Path, booster: xgboost.Booster) -> None:
    columns = [Column(column.name, "text" if column.name == "seats" else column.type) for column in SCHEMA.columns]

    with pytest.raises(SettingsError, match="feature 'seats' is text, wanted a number"):
        open_model(write_model(tmp_path, booster, schema=Schema(tuple(columns), SCHEMA.ids, SCHEMA.target)))
