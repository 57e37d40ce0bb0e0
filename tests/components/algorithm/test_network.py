"""The network: the same settings, artefact and evaluation as trees."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.algorithm.serve import load
from shared.artefact import open_artefact
from shared.errors import ArtefactError
from shared.files import read_json, sha256_of, write_json
from shared.report import read_report

pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.torch

FEATURES = ["age", "income", "visits", "noise"]
NETWORK = {"framework": "torch", "num_round": "30", "eta": "0.01", "hidden": "[32, 16]", "batch_size": "128"}


@pytest.fixture
def fitted(job: Any, known_table: Callable[..., pl.DataFrame]) -> Any:
    job.channel("train", known_table(2000, 1))
    job.channel("validation", known_table(1000, 2))
    del job.hyperparameters["max_depth"]
    outcome = job.run(**NETWORK)
    assert outcome.code == 0, outcome.failure
    return outcome


def test_a_network_learns_the_known_problem_and_leaves_the_same_artefact(fitted: Any) -> None:
    artefact = open_artefact(fitted.model, "algorithm", "model")
    found = fitted.read("model/evaluation.json")

    assert {path.name for path in fitted.model.iterdir()} == {
        "evaluation.json",
        "manifest.json",
        "model.safetensors",
        "network.json",
        "scores.json",
    }
    # Whoever serves it may be another user than the one who trained.
    assert len({path.stat().st_mode for path in fitted.model.iterdir()}) == 1
    assert artefact.extra["framework"] == "torch"
    assert set(artefact.versions) >= {"torch", "safetensors"}
    assert found["metrics"]["validation:auc"] > 0.85
    assert found["training"]["best_round"] < found["training"]["rounds"]
    assert read_report(fitted.root / "output/data").state == "good"


def test_a_network_is_served_as_trees_are(fitted: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    """The golden batch is reproduced, and a score does not depend on the rows sent with it."""
    table = known_table(100, 7).select("flight", *FEATURES)
    answer = load(fitted.model, {}).answer

    together = answer(table)
    alone = [answer(table[row]) for row in range(table.height)]

    assert isinstance(together, pl.DataFrame)
    assert together.columns == ["flight", "score"]
    assert pl.concat([part for part in alone if isinstance(part, pl.DataFrame)]).equals(together)


def test_a_network_that_answers_its_golden_batch_otherwise_is_refused(fitted: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fitted.model, tmp_path / "copy"))
    manifest = read_json(folder / "manifest.json")
    manifest["golden"]["outputs"]["score"][0] += 0.01
    write_json(folder / "manifest.json", manifest)

    with pytest.raises(ArtefactError, match="row 0 of its golden batch"):
        load(folder, {})


def test_a_file_that_is_no_network_is_refused(fitted: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fitted.model, tmp_path / "copy"))
    (folder / "model.safetensors").write_bytes(b"\x80\x04 a pickle, perhaps")
    manifest = read_json(folder / "manifest.json")
    manifest["files"]["model.safetensors"] = sha256_of(folder / "model.safetensors")
    write_json(folder / "manifest.json", manifest)

    with pytest.raises(ArtefactError, match="are no network"):
        load(folder, {})


@pytest.mark.parametrize(
    ("objective", "derive", "metric"),
    [
        ("reg:squarederror", pl.col("age") * 30 + 500, "rmse"),
        ("multi:softprob", (pl.col("age") > 0) + (pl.col("age") > 1).cast(pl.Int64), "logloss"),
    ],
)
def test_other_tasks_are_learned(
    job: Any, known_table: Callable[..., pl.DataFrame], objective: str, derive: pl.Expr, metric: str
) -> None:
    """Numbers far from 0 too: the target is standardised."""
    for name, seed in (("train", 1), ("validation", 2)):
        job.channel(name, known_table(500, seed, missing=0).with_columns(late=derive.cast(pl.Float64)))
    outcome = job.run(**NETWORK, objective=objective)
    found = outcome.read("model/evaluation.json")["metrics"]

    assert outcome.code == 0, outcome.failure
    assert found[f"validation:{metric}"] < found[f"baseline:{metric}"] / 2


def test_the_mean_replaces_a_value_that_was_never_missing_in_training(
    job: Any, known_table: Callable[..., pl.DataFrame]
) -> None:
    for name, seed in (("train", 1), ("validation", 2)):
        job.channel(name, known_table(300, seed, missing=0))
    outcome = job.run(**{**NETWORK, "num_round": "3"})
    mean = known_table(300, 1, missing=0)["age"].to_numpy().astype(np.float32).mean()
    answer = load(outcome.model, {}).answer
    rows = {"income": [0.5], "visits": [1.0], "noise": [0.0]}

    missing = answer(pl.DataFrame({"age": [None], **rows}, schema_overrides={"age": pl.Float64}))
    present = answer(pl.DataFrame({"age": [mean], **rows}))

    assert isinstance(missing, pl.DataFrame)
    assert isinstance(present, pl.DataFrame)
    assert missing["score"].to_list() == pytest.approx(present["score"].to_list(), abs=1e-6)
