"""The page of a run, from toy components."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from pipelines import reports
from pipelines.local.runs import Outcome
from shared.report.document import Graph, Table


@pytest.fixture(scope="module")
def toy(lasting_toy: Any) -> Any:
    return lasting_toy


@pytest.fixture(scope="module")
def both(toy: Any) -> Outcome:
    outcome: Outcome = asyncio.run(toy.runner().both(()))
    return outcome


def blocks(outcome: Outcome, toy: Any, title: str) -> Any:
    document = reports.run_report(outcome, toy.storage, "toy")
    return next(section for section in document.sections if section.title == title).blocks


def test_the_graph_has_both_pipelines_the_release_and_the_retraining(both: Outcome) -> None:
    graph = reports.graph_block(both)

    nodes = {node.id: node for node in graph.nodes}
    assert isinstance(graph, Graph)
    assert list(nodes) == [
        *(f"training {name}" for name in ("processing", "algorithm", "monitoring", "explainability")),
        "release",
        *(f"inference {name}" for name in ("processing", "algorithm", "monitoring", "explainability")),
        "retraining",
    ]
    assert nodes["training algorithm"].rows == 10
    assert nodes["inference algorithm"].rows == 16
    assert nodes["inference algorithm"].note == "3 periods"
    assert ("release", "inference processing") in graph.edges


def test_each_period_has_a_row_with_its_verdict_and_both_aucs(both: Outcome, toy: Any) -> None:
    table = blocks(both, toy, "Periods")[0]

    assert isinstance(table, Table)
    assert [row[:7] for row in table.rows] == [
        ("p3", 5, "no drift", "", 0.65, None, 0.5),
        ("p4", 6, "drift", "value", 0.65, None, 0.5),
        ("p5", 5, "no drift", "", 0.65, 0.65, 0.5),
    ]
    assert table.rows[0][7] == "inference/r1-p3"


def test_a_period_that_the_release_was_trained_on_is_marked(both: Outcome, toy: Any) -> None:
    release = both.scored[0].release
    learnt = {**release.content, "data": {**release.content["data"], "periods": ["p3"]}}
    known = replace(both.scored[0], release=replace(release, content=learnt))

    table = blocks(replace(both, scored=(known, *both.scored[1:])), toy, "Periods")[0]

    assert [row[0] for row in table.rows] == ["p3 *", "p4", "p5"]


def test_the_release_of_the_retraining_stands_beside_the_first(both: Outcome, toy: Any) -> None:
    document = reports.run_report(both, toy.storage, "toy")

    said = {section.title: section.text for section in document.sections}
    assert said["Release"] == "Release r1 became current."
    assert said["Release of the retraining"] == "Release r1-drift-p4 became current."


def test_the_verdict_counts_what_drifted(both: Outcome, toy: Any) -> None:
    document = reports.run_report(both, toy.storage, "toy")

    assert document.verdict == "Release r1-drift-p4 is current, 1 of 3 periods drifted, retrained after p4"
    assert document.state == "attention"
    assert document.rows == 10 + 16


def test_training_the_first_calm_and_the_first_drifted_period_are_shown_in_full(both: Outcome) -> None:
    headings = [detail.heading for detail in reports.details(both) if detail.path.is_file()]

    assert headings == ["training"] * 4 + ["p3"] * 3 + ["p4"] * 3


def test_the_page_is_one_file_that_asks_the_network_for_nothing(both: Outcome, toy: Any) -> None:
    path = reports.write_run_report(both, toy.storage, "toy")

    text = path.read_text(encoding="utf-8")
    assert path == toy.storage.reports / "r1.html"
    assert toy.storage.latest_report.read_text(encoding="utf-8") == text
    assert "r1-drift-p4" in text
    assert "<script src" not in text
    assert "<link" not in text


def test_details_give_way_when_the_page_would_grow_too_large(
    both: Outcome, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = len(reports.page(both, toy.storage, "toy").encode())
    monkeypatch.setattr(reports, "PAGE_BYTES", whole - 200)
    smaller = reports.page(both, toy.storage, "toy")

    assert len(smaller.encode()) < whole
    assert "1 job reports left out to stay below 1 MB" in smaller


def test_a_training_run_alone_and_an_inference_run_alone_have_pages(both: Outcome, toy: Any) -> None:
    for outcome in (replace(both, scored=(), retrained=None), replace(both, trained=None, retrained=None)):
        assert "<html" in reports.page(outcome, toy.storage, "toy")


def test_the_auc_is_found_in_model_monitors_form(both: Outcome) -> None:
    path = both.scored[0].folder / "monitoring/report/model_quality.json"
    path.write_text(json.dumps({"binary_classification_metrics": {"auc": {"value": 0.7, "standard_deviation": 0.1}}}))
    assert reports.auc(both.scored[0]) == 0.7
    path.unlink()
    assert reports.auc(both.scored[0]) is None
