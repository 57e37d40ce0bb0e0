"""Each mode as the job that runs it, as root and as anybody, without network, privileges or a writable root."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.images.containers import USERS, artefacts_of
from tests.images.data import FEATURES, ROWS

JOBS = (
    "processing train", "algorithm train", "monitoring train", "explainability train",
    "processing serve", "monitoring serve", "explainability serve",
)  # fmt: skip


@pytest.fixture(params=USERS)
def runs(request: pytest.FixtureRequest, runs_of: Callable[[str], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Both pipelines, as root and as anybody."""
    return runs_of(USERS[request.param])


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_well_and_says_so(runs: Mapping[str, Any], job: str) -> None:
    done = runs[job]

    assert done.code == 0
    assert done.message
    assert len(done.message.encode()) <= 1024
    assert done.failure == ""


@pytest.mark.parametrize("job", JOBS)
def test_a_job_logs_no_warning_and_no_traceback(runs: Mapping[str, Any], job: str) -> None:
    said = runs[job].said

    assert "Warning" not in said
    assert "WARNING" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("job", JOBS)
def test_each_output_holds_something_whole(runs: Mapping[str, Any], job: str) -> None:
    """Nothing was rejected and nothing held out for a test; all else has a file, and nothing unfinished stays."""
    for name, folder in runs[job].outputs.items():
        files = [path for path in folder.rglob("*") if path.is_file()]

        assert bool(files) == (name not in ("rejected", "test")), name
        assert [path for path in folder.rglob(".*")] == []


def test_production_rows_come_out_in_number_and_order(runs: Mapping[str, Any]) -> None:
    prepared = pl.read_csv(_only(runs["processing serve"].outputs["data"], "*.csv"), has_header=False)

    assert prepared.to_series(0).to_list() == [f"P{row:05d}" for row in range(ROWS)]


def test_the_model_is_one_that_the_laptops_library_reads_too(runs: Mapping[str, Any]) -> None:
    """Trained by the image's XGBoost: the same scores here, whichever version this is."""
    import numpy as np
    import xgboost as xgb

    booster = xgb.Booster(model_file=runs["algorithm train"].outputs["model"] / "model.ubj")
    table = pl.read_parquet(_only(runs["processing train"].outputs["validation"], "*.parquet"))
    features = [name for name in table.columns if name not in ("flight", "late")]
    score = booster.inplace_predict(table.select(features).to_numpy().astype(np.float32))

    assert np.corrcoef(score, table["late"])[0, 1] > 0.4


def test_the_sum_of_a_rows_attributions_orders_rows_as_their_scores_do(runs: Mapping[str, Any]) -> None:
    folder = runs["explainability serve"].outputs["explanations"]
    attributions = pl.read_csv(folder / "explanations_shap/out.csv")
    reasons = pl.read_csv(folder / "reasons.csv")
    total = attributions.select(pl.sum_horizontal(pl.col("^.*_label0$"))).to_series()

    assert attributions.height == reasons.height == ROWS
    assert pl.DataFrame({"a": total.rank(), "b": reasons["score"].rank()}).corr()[0, 1] > 0.999


def test_a_clean_month_has_a_verdict(runs: Mapping[str, Any]) -> None:
    report = runs["monitoring serve"].outputs["report"]
    verdict = json.loads((report / "drift.json").read_text())

    assert verdict["detected"] in (True, False)
    assert json.loads((report / "constraint_violations.json").read_text())["violations"] is not None


def test_a_training_job_leaves_its_evaluation_beside_the_model(runs: Mapping[str, Any]) -> None:
    done = runs["algorithm train"]
    evaluation = json.loads((done.outputs["data"] / "evaluation.json").read_text())

    assert evaluation
    assert {"model.ubj", "manifest.json"} <= {path.name for path in done.outputs["model"].iterdir()}
    assert set(FEATURES) <= set(
        json.dumps(json.loads((done.outputs["model"] / "manifest.json").read_text())).split('"')
    )


def _only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def test_whoever_runs_the_jobs_the_artefacts_are_the_same_bytes(runs_of: Callable[[str], Mapping[str, Any]]) -> None:
    one, other = (artefact_bytes(runs_of(user)) for user in USERS.values())

    assert one == other


def artefact_bytes(runs: Mapping[str, Any]) -> dict[str, bytes]:
    """Each file of the four artefacts."""
    return {
        f"{name}/{path.relative_to(folder)}": path.read_bytes()
        for name, folder in artefacts_of(runs).items()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
