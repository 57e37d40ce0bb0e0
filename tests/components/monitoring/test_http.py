"""Monitoring over HTTP: rows in, their verdict out."""

from __future__ import annotations

import shutil

import pytest
from flask.testing import FlaskClient

from components.monitoring.component import COMPONENT
from shared.contract import Contract
from shared.server import Holder, Serving, application
from tests.components.monitoring.places import Place, Places, rows

CSV_WITH_HEADER = {"Content-Type": "text/csv; header=present"}


@pytest.fixture
def client(places: Places, trained: Place) -> FlaskClient:
    contract = Contract(places.folder / "served")
    shutil.copytree(trained.output("baseline"), contract.model)
    holder = Holder(COMPONENT, contract, {"QUARTET_MINIMUM_EFFECT": "0.2"})
    holder.load()
    return application(holder, Serving.from_environment({})).test_client()


def test_rows_that_moved_are_told(client: FlaskClient) -> None:
    body = rows(1000, seed=2, shift=0.6).drop("y").write_csv()
    answer = client.post("/invocations", data=body, headers=CSV_WITH_HEADER)

    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.json is not None
    assert (answer.json["detected"], answer.json["columns"]) == (True, ["amount"])
    assert answer.json["violations"][0]["constraint_check_type"] == "baseline_drift_check"


def test_rows_like_the_training_data_are_told_so(client: FlaskClient) -> None:
    rows_without_ids = rows(1000, seed=3).drop("y", "id")
    answer = client.post("/invocations", data=rows_without_ids.write_csv(include_header=False))

    assert answer.json is not None
    assert (answer.json["detected"], answer.json["violations"], answer.json["tested"]) == (False, [], 5)


def test_a_few_rows_are_too_few(client: FlaskClient) -> None:
    answer = client.post("/invocations", json=rows(3).drop("y", "day").with_columns(day=None).to_dicts())

    assert answer.json is not None
    assert answer.json["reason"] == "3 rows are too few to test for drift, wanted at least 100"


def test_a_value_of_another_type_is_refused(client: FlaskClient) -> None:
    answer = client.post("/invocations", data="2024-01-01,soon,1,1,Oslo,1\n")

    assert answer.status_code == 400
    assert "column 'amount' is 'soon', wanted a finite number" in answer.text
