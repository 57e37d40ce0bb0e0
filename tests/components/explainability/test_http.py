"""The explainer's folder served over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import xgboost
from flask.testing import FlaskClient
from numpy.testing import assert_allclose

from components.explainability.component import COMPONENT
from shared.errors import ArtefactError, SettingsError
from shared.server import Serving, application
from tests.components.explainability.models import FEATURES, Tree, features, table_of


@pytest.fixture
def explainer(trainable: Tree) -> Path:
    assert trainable.run("train") == 0
    return trainable.output("explainer")


def client(explainer: Path, **environment: str) -> FlaskClient:
    predictor = COMPONENT.load(explainer, environment)
    holder = SimpleNamespace(ready=True, predictor=lambda: predictor)
    return application(holder, Serving.from_environment({})).test_client()  # type: ignore[arg-type]  # all it asks of a holder


def predictions(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json["predictions"]
    return found


def test_rows_with_ids_get_ids_and_one_attribution_a_feature(explainer: Path, booster: xgboost.Booster) -> None:
    rows = table_of(features(6, seed=3))

    answer = client(explainer).post("/invocations", data=rows.write_csv(include_header=False), content_type="text/csv")
    found = pl.read_csv(answer.data, has_header=False, new_columns=["id", *FEATURES])
    own = booster.predict(xgboost.DMatrix(features(6, seed=3)), pred_contribs=True)

    assert answer.status_code == 200
    assert found["id"].to_list() == rows["flight_id"].to_list()
    assert_allclose(found.drop("id").to_numpy(), own[:, :-1], atol=1e-6)


def test_rows_without_ids_get_attributions_alone(explainer: Path) -> None:
    rows = table_of(features(3)).drop("flight_id").to_dicts()

    answer = client(explainer).post(
        "/invocations", data=json.dumps({"instances": rows}), content_type="application/json"
    )

    assert [list(row) for row in predictions(answer)] == [[f"{name}_label0" for name in FEATURES]] * 3


@pytest.mark.parametrize("method", ["auto", "woodelf"])
@pytest.mark.parametrize("answer", ["attributions", "reasons"])
def test_a_number_that_float32_cannot_hold_is_refused(explainer: Path, method: str, answer: str) -> None:
    """As the algorithm's server refuses it, in the same words."""
    rows = table_of(features(3)).with_columns(pl.Series("wind", [1.0, None, 1e39])).drop("flight_id")
    served = client(explainer, QUARTET_METHOD=method, QUARTET_ANSWER=answer)

    found = served.post("/invocations", data=rows.write_csv(include_header=False), content_type="text/csv")

    assert found.status_code == 400
    assert found.text == ("row 3: column 'wind' is '1e+39', wanted a number from -3.4028235e+38 to 3.4028235e+38.\n")


@pytest.mark.parametrize("method", ["auto", "woodelf"])
def test_the_greatest_number_of_float32_is_explained(explainer: Path, booster: xgboost.Booster, method: str) -> None:
    matrix = features(3).astype(float)
    matrix[:, 0], matrix[:, 3] = 3.4028235e38, -3.4028235e38
    rows = table_of(matrix).drop("flight_id")
    served = client(explainer, QUARTET_METHOD=method)

    answer = served.post("/invocations", data=rows.write_csv(include_header=False), content_type="text/csv")
    found = pl.read_csv(answer.data, has_header=False).to_numpy()
    own = booster.predict(xgboost.DMatrix(matrix.astype("float32")), pred_contribs=True)

    assert_allclose(found, own[:, :-1], rtol=1e-5)


def test_asked_for_reasons_it_gives_the_score_and_its_reasons(explainer: Path) -> None:
    """Behind processing in an inference pipeline: score and reasons in one request."""
    rows = table_of(features(3)).to_dicts()
    served = client(explainer, QUARTET_ANSWER="reasons", QUARTET_REASONS="1")

    answer = served.post("/invocations", data=json.dumps({"instances": rows}), content_type="application/json")

    assert [list(row) for row in predictions(answer)] == [
        ["flight_id", "score", "reason_1", "value_1", "attribution_1"]
    ] * 3


def test_an_explainer_that_was_changed_is_not_served(explainer: Path) -> None:
    (explainer / "model.ubj").write_bytes((explainer / "model.ubj").read_bytes() + b" ")

    with pytest.raises(ArtefactError, match="not the one that was written"):
        client(explainer)


def test_an_explainer_that_explains_otherwise_than_when_it_was_trained_is_not_served(explainer: Path) -> None:
    manifest = json.loads((explainer / "manifest.json").read_text())
    manifest["golden"]["outputs"]["seats_label0"][0] += 0.01
    (explainer / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(ArtefactError, match="gives 'seats_label0' = "):
        client(explainer)


def test_a_setting_that_cannot_be_used_is_not_served(explainer: Path) -> None:
    with pytest.raises(SettingsError, match="'reason' is no setting"):
        client(explainer, QUARTET_REASON="1")
