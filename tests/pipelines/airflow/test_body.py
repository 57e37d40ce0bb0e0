"""What the tasks of a DAG file decide, without Airflow."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.airflow import body

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def run_of(dag: str = "a", run: str = "manual__1", kind: str = "manual", due: datetime = NOW) -> Any:
    return SimpleNamespace(dag_id=dag, run_id=run, run_type=kind, run_after=due)


def state(last: str | None, month: str | None, count: int) -> dict[str, Any]:
    return {"last": last, "month": month, "count": count}


def test_runs_of_one_second_have_different_names() -> None:
    names = {body.run_name(run_of(dag, run)) for dag in ("a", "b") for run in ("manual__1", "manual__2")}

    assert len(names) == 4
    assert all(name.startswith("20261122T120000-") and len(name) == 20 for name in names)


def test_the_name_of_a_run_is_the_same_each_time() -> None:
    assert body.run_name(run_of()) == body.run_name(run_of())


@pytest.mark.parametrize(
    ("before", "allowed"),
    [
        (state(None, None, 0), True),
        (state("2026-11-21T12:00:00Z", "2026-11", 1), True),
        (state("2026-11-21T12:00:01Z", "2026-11", 1), False),
        (state("2026-11-10T00:00:00Z", "2026-11", 4), False),
        (state("2026-11-10T00:00:00Z", "2026-11", 3), True),
        (state("2026-10-31T00:00:00Z", "2026-10", 4), True),
    ],
    ids=["never", "cooled down", "a second too early", "cap reached", "below the cap", "another month"],
)
def test_a_retraining_needs_the_cool_down_and_the_cap(before: dict[str, Any], allowed: bool) -> None:
    assert (body.hindrance(before, NOW) is None) == allowed


def test_drift_of_data_without_a_period_starts_nothing_and_is_no_failure() -> None:
    assert body.may_retrain("training_window", "none") == "no_retraining"


def test_a_retraining_is_counted_in_its_month() -> None:
    first = body.after_retraining(state(None, None, 0), NOW)
    second = body.after_retraining(first, NOW)
    third = body.after_retraining(second, datetime(2026, 12, 1, tzinfo=UTC))

    assert first == state("2026-11-22T12:00:00Z", "2026-11", 1)
    assert second["count"] == 2
    assert third == state("2026-12-01T00:00:00Z", "2026-12", 1)


@pytest.mark.parametrize(
    ("kind", "due"),
    [("month", "2026-11"), ("day", "2026-11-22"), ("year", "2026"), ("week", "2026-W47"), ("quarter", "2026-Q4")],
)
def test_a_run_that_is_told_no_period_scores_the_one_that_it_is_due_in(
    monkeypatch: pytest.MonkeyPatch, kind: str, due: str
) -> None:
    monkeypatch.setattr(body, "CALENDAR", kind)
    params = {"Period": "none", "ScoreData": "s3://bucket/{period}.csv"}

    assert body.score_data(params, run_of()) == f"s3://bucket/{due}.csv"
    assert body.period(params, run_of()) == due
    assert body.period({**params, "ScoreData": "s3://bucket/all/"}, run_of()) == "none"


def test_the_period_is_filled_into_the_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "CALENDAR", None)
    params = {"Period": "p5", "ScoreData": "s3://bucket/{period}.csv"}

    assert body.score_data(params, run_of()) == "s3://bucket/p5.csv"
    assert body.score_data({**params, "ScoreData": "s3://bucket/all/"}, run_of()) == "s3://bucket/all/"
    with pytest.raises(ValueError, match="Start the DAG with Period"):
        body.score_data({**params, "Period": "none"}, run_of())


@pytest.mark.parametrize("kind", ["Processing", "Training", "Transform"])
def test_a_job_that_was_stopped_fails_its_task(kind: str) -> None:
    job = {f"{kind}JobName": "a-job", f"{kind}JobStatus": "Stopped"}

    body.completed({}, {kind: {**job, f"{kind}JobStatus": "Completed"}})
    with pytest.raises(RuntimeError, match=f"{kind} job a-job is Stopped, wanted Completed"):
        body.completed({}, {kind: job})


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("SageMaker resource failed because AlgorithmError: See job logs for more information, exit code: 3", True),
        ("Error training a-job: Failed Reason: AlgorithmError: no column 'late', exit code: 2", True),
        ("SageMaker job failed because AlgorithmError: , exit code: 1", False),
        ("SageMaker job failed because AlgorithmError: , exit code: 35", False),
        ("SageMaker resource failed because InternalServerError: We encountered an internal error.", False),
    ],
)
def test_settings_and_data_do_not_get_better_by_trying_again(reason: str, wanted: bool) -> None:
    assert body.hopeless(reason) is wanted


def test_some_drifts_in_a_row_are_counted_and_a_calm_run_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    store: dict[str, str] = {}
    monkeypatch.setattr(body, "DRIFTS_IN_A_ROW", 2)
    monkeypatch.setattr(body, "parameter", store.get)
    monkeypatch.setattr(body, "put_parameter", store.__setitem__)
    verdicts = iter([True, False, True, True, True])
    monkeypatch.setattr(body, "read_json", lambda uri: {"detected": next(verdicts)})

    found = [body.judge_drift("s3://bucket/drift.json") for _ in range(5)]

    assert found == ["no_drift", "no_drift", "no_drift", "announce_drift", "announce_drift"]
