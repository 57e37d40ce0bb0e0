"""A loaded model: what it answers, and when it refuses to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import xgboost as xgb

from components.algorithm import booster, trees
from components.algorithm.serve import load
from shared.errors import ArtefactError, SettingsError
from shared.files import read_json, sha256_of, write_json
from shared.payload import RefusedRequest

FEATURES = ["age", "income", "visits", "noise"]


@pytest.fixture
def copied(trained: Any, tmp_path: Path) -> Path:
    """A copy of the model that may be spoilt."""
    return Path(shutil.copytree(trained.model, tmp_path / "model"))


def expected(trained: Any, rows: pl.DataFrame) -> Any:
    model = xgb.Booster(model_file=trained.model / "model.ubj")
    return model.inplace_predict(rows.select(FEATURES).cast(pl.Float32).to_numpy(), validate_features=False)


@pytest.mark.parametrize("rows", [1, 8, 9, 500])
def test_scores_are_xgboosts_own(trained: Any, known_table: Callable[..., pl.DataFrame], rows: int) -> None:
    """For few rows, which are walked in numpy, and for many."""
    table = known_table(rows, 5)

    answer = load(trained.model, {}).answer(table.select("flight", *FEATURES))

    assert isinstance(answer, pl.DataFrame)
    assert answer.columns == ["flight", "score"]
    assert answer["flight"].to_list() == table["flight"].to_list()
    assert answer["score"].to_numpy() == pytest.approx(expected(trained, table), rel=3e-7)


def test_a_score_does_not_depend_on_the_rows_sent_with_it(
    trained: Any, known_table: Callable[..., pl.DataFrame]
) -> None:
    """To the last bit: Batch Transform may cut the records anywhere."""
    table = known_table(200, 6).select(FEATURES)
    answer = load(trained.model, {}).answer

    together = answer(table)
    alone = [answer(table[row]) for row in range(table.height)]

    assert isinstance(together, pl.DataFrame)
    assert pl.concat([part for part in alone if isinstance(part, pl.DataFrame)]).equals(together)


@pytest.mark.parametrize("rows", [2, 300])
def test_a_number_that_float32_cannot_hold_is_refused(
    trained: Any, known_table: Callable[..., pl.DataFrame], rows: int
) -> None:
    """Few rows and many take two ways to float32; explainability refuses such a row too."""
    table = known_table(rows, 6).select(FEATURES)
    spoilt = table.with_columns(visits=pl.Series([*table["visits"][:-1], -1e39]))

    with pytest.raises(RefusedRequest, match=f"^row {rows}: column 'visits' is '-1e[+]39', wanted a number") as refusal:
        load(trained.model, {}).answer(spoilt)

    assert refusal.value.status == 400


@pytest.mark.parametrize("rows", [2, 300])
def test_the_greatest_number_of_float32_is_scored(
    trained: Any, known_table: Callable[..., pl.DataFrame], rows: int
) -> None:
    table = known_table(rows, 6).select(FEATURES).with_columns(age=3.4028235e38, income=-3.4028235e38)

    answer = load(trained.model, {}).answer(table)

    assert isinstance(answer, pl.DataFrame)
    assert answer["score"].to_numpy() == pytest.approx(expected(trained, table), rel=3e-7)


def test_ids_that_were_not_sent_are_not_answered(trained: Any, known_table: Callable[..., pl.DataFrame]) -> None:
    answer = load(trained.model, {}).answer(known_table(3, 5).select(FEATURES))

    assert isinstance(answer, pl.DataFrame)
    assert answer.columns == ["score"]


@pytest.mark.parametrize("variable", ["SAGEMAKER_INFERENCE_OUTPUT", "QUARTET_OUTPUTS"])
def test_outputs_are_chosen_by_the_environment(
    trained: Any, known_table: Callable[..., pl.DataFrame], variable: str
) -> None:
    table = known_table(50, 5).select(FEATURES)

    answer = load(trained.model, {variable: "predicted_label, probabilities,raw_score"}).answer(table)

    assert isinstance(answer, pl.DataFrame)
    score = expected(trained, table)
    assert answer.columns == ["predicted_label", "probability_0", "probability_1", "raw_score"]
    assert answer["predicted_label"].to_list() == (score >= 0.5).astype(int).tolist()
    assert answer["probability_0"].to_numpy() == pytest.approx(1 - score, abs=1e-6)
    assert answer["raw_score"].to_numpy() == pytest.approx(np.log(score / (1 - score)), abs=1e-4)


def test_an_output_that_there_is_not_is_refused(trained: Any) -> None:
    with pytest.raises(SettingsError, match="SAGEMAKER_INFERENCE_OUTPUT is 'labels', wanted"):
        load(trained.model, {"SAGEMAKER_INFERENCE_OUTPUT": "labels"})


@pytest.mark.parametrize("name", ["model.ubj", "evaluation.json"])
def test_a_file_that_was_changed_is_refused(copied: Path, name: str) -> None:
    (copied / name).write_bytes((copied / name).read_bytes() + b"\n")

    with pytest.raises(ArtefactError, match=f"model file '{name}' is not the one that was written"):
        load(copied, {})


def test_a_file_that_is_gone_is_refused(copied: Path) -> None:
    (copied / "model.ubj").unlink()

    with pytest.raises(ArtefactError, match=r"model lacks its file 'model\.ubj'"):
        load(copied, {})


def resealed(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the manifest, and make its digests right again, as a newer library or a clever hand would."""
    manifest = read_json(folder / "manifest.json")
    change(manifest)
    manifest["files"] = {name: sha256_of(folder / name) for name in manifest["files"]}
    write_json(folder / "manifest.json", manifest)


def test_a_model_that_answers_its_golden_batch_otherwise_is_refused(copied: Path) -> None:
    """As a library of another version may, without any error of its own."""

    def change(manifest: Any) -> None:
        manifest["golden"]["outputs"]["score"][3] += 0.001

    resealed(copied, change)

    with pytest.raises(ArtefactError, match=r"gives 'score' = .* for row 3 of its golden batch"):
        load(copied, {})


def test_a_booster_over_other_features_is_refused(copied: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2))
    model = xgb.train({"nthread": 1}, xgb.DMatrix(rows, rows[:, 0], feature_names=["age", "income"]), 1)
    model.save_model(copied / "model.ubj")
    resealed(copied, lambda _manifest: None)

    with pytest.raises(ArtefactError, match="is over 2 features that are not the 4 of its manifest"):
        load(copied, {})


def test_a_file_that_is_no_booster_is_refused(copied: Path) -> None:
    (copied / "model.ubj").write_bytes(b"\x80\x04not a model")
    resealed(copied, lambda _manifest: None)

    with pytest.raises(ArtefactError, match=r"model file model\.ubj is no XGBoost model"):
        load(copied, {})


def test_an_artefact_of_another_component_is_refused(copied: Path) -> None:
    resealed(copied, lambda manifest: manifest.update(component="processing"))

    with pytest.raises(ArtefactError, match="made by 'processing', wanted one of 'algorithm'"):
        load(copied, {})


def test_a_walk_that_differs_from_xgboost_is_not_used(
    copied: Path, monkeypatch: pytest.MonkeyPatch, trained: Any, known_table: Callable[..., pl.DataFrame]
) -> None:
    right = trees.margins
    monkeypatch.setattr(trees, "margins", lambda forest, rows: right(forest, rows) + np.float32(0.1))
    table = known_table(2, 5).select(FEATURES)

    answer = load(copied, {}).answer(table)

    assert isinstance(answer, pl.DataFrame)
    assert answer["score"].to_numpy() == pytest.approx(expected(trained, table))


def test_one_thread_predicts(trained: Any) -> None:
    """More threads hang after a fork (dmlc/xgboost#8040)."""
    model = booster.opened(xgb.Booster(model_file=trained.model / "model.ubj"))

    assert '"nthread":"1"' in model.booster.save_config().replace(" ", "")
