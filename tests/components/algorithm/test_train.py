"""What training leaves behind, and that it is what it says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import xgboost as xgb

from shared.artefact import open_artefact
from shared.report import read_report

ROOT = Path(__file__).parents[3]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def features_of(table: pl.DataFrame) -> Any:
    return table.select("age", "income", "visits", "noise").cast(pl.Float32).to_numpy()


def test_the_model_folder_is_a_sealed_artefact(trained: Any) -> None:
    artefact = open_artefact(trained.model, "algorithm", "model")

    assert {path.name for path in trained.model.iterdir()} == {
        "evaluation.json",
        "manifest.json",
        "model.ubj",
        "scores.json",
    }
    assert artefact.schema.names == ("flight", "age", "income", "visits", "noise", "late")
    assert (artefact.schema.ids, artefact.schema.target) == (("flight",), "late")
    assert artefact.extra["outputs"] == ["score"]
    assert artefact.parents == {}


def test_a_known_problem_is_learned(trained: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    """The true odds are the best score there is; the model reaches nearly their AUC on rows that it never saw."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rows = known_table(4000, 9, missing=0)
    values = rows.select("age", "income", "visits").to_numpy()
    booster = xgb.Booster(model_file=trained.model / "model.ubj")

    found = metrics.roc_auc_score(rows["late"], booster.inplace_predict(features_of(rows), validate_features=False))
    best = metrics.roc_auc_score(rows["late"], 2 * values[:, 0] + values[:, 1] * values[:, 2])

    assert best - 0.02 < found < best


def test_the_evaluation_is_that_of_the_validation_rows(trained: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rows = known_table(2000, 2)
    booster = xgb.Booster(model_file=trained.model / "model.ubj")
    score = booster.inplace_predict(features_of(rows), validate_features=False)

    found = trained.read("model/evaluation.json")

    assert found["dataset"] == {"item_count": 2000, "channel": "validation", "seen_in_training": False}
    assert found["metrics"]["validation:auc"] == pytest.approx(metrics.roc_auc_score(rows["late"], score))
    assert found["metrics"]["validation:f1"] == pytest.approx(metrics.f1_score(rows["late"], score >= 0.5))
    figure = found["binary_classification_metrics"]["auc"]
    assert figure["value"] == found["metrics"]["validation:auc"]
    assert 0 < figure["standard_deviation"] < 0.02
    counts = metrics.confusion_matrix(rows["late"], score >= 0.5).tolist()
    assert found["binary_classification_metrics"]["confusion_matrix"] == {
        str(actual): {str(label): counts[actual][label] for label in (0, 1)} for actual in (0, 1)
    }


def test_the_baseline_is_the_training_rows_base_rate(trained: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    share = known_table(4000, 1)["late"].mean()
    late = known_table(2000, 2)["late"].to_numpy()

    found = trained.read("model/evaluation.json")["metrics"]

    assert found["baseline:auc"] == 0.5
    assert found["baseline:brier"] == pytest.approx(np.mean((late - share) ** 2))
    assert found["baseline:logloss"] > found["validation:logloss"]


def test_the_best_round_is_kept_and_no_later_one(ready: Any) -> None:
    """With a rash learning rate the validation loss soon rises; the model ends where it was lowest."""
    outcome = ready.run(num_round="200", eta="1", max_depth="6", early_stopping_rounds="5", eval_metric="logloss")
    training = outcome.read("model/evaluation.json")["training"]
    curve = training["curves"]["validation"]["logloss"]

    assert outcome.code == 0
    assert training["best_round"] == int(np.argmin(curve))
    assert len(curve) == training["rounds"] == training["best_round"] + 6 < 200
    assert xgb.Booster(model_file=outcome.model / "model.ubj").num_boosted_rounds() == training["best_round"] + 1
    assert outcome.read("model/evaluation.json")["metrics"]["validation:logloss"] == pytest.approx(min(curve), abs=1e-5)


def test_the_model_is_the_one_that_xgboost_trains(ready: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    outcome = ready.run(num_round="7", max_depth="3", eta="0.3", early_stopping_rounds="0", seed="5", subsample="0.8")
    rows = known_table(600, 1)
    matrix = xgb.QuantileDMatrix(features_of(rows), rows["late"].to_numpy(), nthread=1)
    parameters = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.3, "seed": 5, "subsample": 0.8, "nthread": 1}

    expected = xgb.train(parameters, matrix, 7).inplace_predict(features_of(rows))

    found = xgb.Booster(model_file=outcome.model / "model.ubj")
    assert np.array_equal(found.inplace_predict(features_of(rows), validate_features=False), expected)


@pytest.mark.parametrize("framework", ["xgboost", pytest.param("torch", marks=pytest.mark.torch)])
def test_the_same_rows_and_settings_give_the_same_bytes(ready: Any, framework: str) -> None:
    settings = {"framework": framework, "num_round": "5"}
    if framework == "xgboost":
        settings |= {"subsample": "0.7", "colsample_bytree": "0.7", "nthread": "2"}
    first = digests(ready.run(**settings).model)

    assert digests(ready.run(**settings).model) == first
    assert digests(ready.run(**settings, seed="1").model) != first


def test_each_metric_of_each_round_is_one_line(ready: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A MetricDefinition finds its number, and finds it once a round."""
    ready.run(num_round="4", early_stopping_rounds="0")

    found = re.findall(r"validation-auc=([0-9\.eE+-]+);", capsys.readouterr().out)
    curve = json.loads((ready.root / "model/evaluation.json").read_text())["training"]["curves"]["validation"]["auc"]
    assert [float(text) for text in found] == pytest.approx(curve, rel=1e-5)


def test_without_validation_rows_the_file_says_that_the_model_has_seen_them(
    job: Any, known_table: Callable[..., pl.DataFrame]
) -> None:
    job.channel("train", known_table(300, 1))
    outcome = job.run(num_round="3")
    found = outcome.read("model/evaluation.json")

    assert found["dataset"] == {"item_count": 300, "channel": "train", "seen_in_training": True}
    assert "train:auc" in found["metrics"]
    assert not [name for name in found["metrics"] if name.startswith("validation")]
    assert found["training"]["best_round"] == 2
    assert "already seen" in read_report(outcome.root / "output/data").verdict


def test_the_distribution_of_scores_counts_the_validation_rows(trained: Any) -> None:
    found = trained.read("model/scores.json")

    assert sum(found["counts"]) == 2000
    assert len(found["edges"]) == len(found["counts"]) + 1
    assert found["edges"] == sorted(found["edges"])
    assert found["channel"] == "validation"


def test_the_golden_batch_holds_a_missing_value_and_what_xgboost_answers(trained: Any) -> None:
    golden = open_artefact(trained.model, "algorithm", "model").golden
    rows = np.array([golden.inputs[name] for name in ("age", "income", "visits", "noise")], dtype=np.float32).T
    booster = xgb.Booster(model_file=trained.model / "model.ubj")

    assert rows.shape == (16, 4)
    assert np.isnan(rows).any()
    expected = booster.inplace_predict(rows, validate_features=False)
    assert golden.outputs["score"] == pytest.approx(expected, abs=1e-6)


def test_ids_target_and_the_parents_digest_come_from_the_state(ready: Any, state: Callable[..., Any]) -> None:
    made = {"flight": "text", **dict.fromkeys(("age", "income", "visits", "noise"), "number"), "late": "integer"}
    folder = state(made)
    ready.channels.append("state")
    del ready.hyperparameters["target"], ready.hyperparameters["ids"]
    outcome = ready.run(num_round="3")

    artefact = open_artefact(outcome.model, "algorithm", "model")
    assert artefact.schema.target == "late"
    assert artefact.parents == {"state": hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    ("objective", "derive", "key", "metric"),
    [
        ("reg:squarederror", pl.col("age") * 3, "regression_metrics", "validation:rmse"),
        ("multi:softprob", (pl.col("age") > 0) + (pl.col("age") > 1).cast(pl.Int64), None, "validation:accuracy"),
        ("count:poisson", pl.col("age").clip(0).round(), "regression_metrics", "validation:rmse"),
    ],
)
def test_other_tasks_are_learned_and_served(
    job: Any,
    known_table: Callable[..., pl.DataFrame],
    objective: str,
    derive: pl.Expr,
    key: str | None,
    metric: str,
) -> None:
    for name, seed in (("train", 1), ("validation", 2)):
        job.channel(name, known_table(400, seed, missing=0).with_columns(late=derive.cast(pl.Float64)))
    outcome = job.run(objective=objective, num_round="40", early_stopping_rounds="0")
    found = outcome.read("model/evaluation.json")

    assert outcome.code == 0, outcome.failure
    assert (key or "multiclass_classification_metrics") in found
    better = found["metrics"][metric] - found["metrics"][metric.replace("validation", "baseline")]
    assert better > 0.2 if metric.endswith("accuracy") else better < -0.3
    assert read_report(outcome.root / "output/data").rows == 800


def test_best_f1_moves_the_threshold_and_says_where_it_was_chosen(ready: Any) -> None:
    outcome = ready.run(threshold="best_f1")
    found = outcome.read("model/evaluation.json")

    assert found["binary_classification_metrics"]["threshold"] != 0.5
    assert found["training"]["threshold_from"] == "best F1 on the rows of this evaluation"
    artefact = open_artefact(outcome.model, "algorithm", "model")
    assert artefact.extra["threshold"] == found["binary_classification_metrics"]["threshold"]


def test_weights_move_the_mean_score(ready: Any) -> None:
    plain = ready.run().read("model/evaluation.json")["binary_classification_metrics"]
    weighed = ready.run(class_weights='{"0": 1, "1": 10}').read("model/evaluation.json")[
        "binary_classification_metrics"
    ]

    assert weighed["recall"]["value"] > plain["recall"]["value"] + 0.1


def test_a_missing_cuda_device_is_one_line_and_no_failure(ready: Any, capsys: pytest.CaptureFixture[str]) -> None:
    if not xgb.build_info()["USE_CUDA"]:
        assert ready.run(device="cuda", num_round="2").code == 0
        assert capsys.readouterr().out.count("device cuda is not there") == 1


def test_settings_without_effect_are_one_line(ready: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ready.run(dropout="0.5", num_round="2")

    assert "framework xgboost has no use for 'dropout'" in capsys.readouterr().out


def test_a_feature_name_that_xgboost_refuses_is_no_reason_to_fail(
    job: Any, known_table: Callable[..., pl.DataFrame]
) -> None:
    for name, seed in (("train", 1), ("validation", 2)):
        job.channel(name, known_table(200, seed).rename({"age": "age [years] <90"}))
    outcome = job.run(num_round="3")

    assert outcome.code == 0, outcome.failure
    assert "age [years] <90" in open_artefact(outcome.model, "algorithm", "model").schema.features


def test_the_report_shows_what_the_evaluation_says(trained: Any) -> None:
    report = read_report(trained.root / "output/data")
    found = trained.read("output/data/evaluation.json")

    assert report.rows == 6000
    assert f"{found['metrics']['validation:auc']:.3f}" in report.verdict
    assert report.state == "good"
    assert [section.title for section in report.sections] == [
        "Quality",
        "Ranking",
        "Calibration",
        "Decisions",
        "Training",
        "Features",
    ]
    assert found == trained.read("model/evaluation.json")


def test_sigterm_ends_training_within_a_round(job: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    """143, the reason in the failure file, and a whole model of the rounds so far: nobody asked for checkpoints."""
    job.channel("train", known_table(500, 1))
    job.hyperparameters["num_round"] = "100000"
    job.write()
    command = [sys.executable, "-m", "components.algorithm", "train"]
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(job.root)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "train-logloss" in line:
                break
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        process.stdout.read()
        code = process.wait(timeout=60)

    assert code == 143
    assert time.monotonic() - started < 60
    assert (job.root / "output/failure").read_text() == "stopped by SIGTERM."
    assert open_artefact(job.root / "model", "algorithm", "model").extra["stopped"] is True
    assert not list(job.root.rglob(".staging-*"))
