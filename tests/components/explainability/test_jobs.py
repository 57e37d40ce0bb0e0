"""Train and serve as jobs over files."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost
from numpy.testing import assert_allclose

from shared.artefact import open_artefact
from shared.report import read_report
from tests.components.explainability.models import FEATURES, Tree, features, table_of, trained, write_model


def contributions(booster: xgboost.Booster, rows: int, seed: int) -> np.ndarray:
    """XGBoost's own answer: attributions and then the expected value, shape (rows, features + 1)."""
    return booster.predict(xgboost.DMatrix(features(rows, seed)), pred_contribs=True)


def shap(tree: Tree) -> pl.DataFrame:
    return pl.read_csv(tree.output("explanations") / "explanations_shap/out.csv")


def reasons(tree: Tree) -> pl.DataFrame:
    return pl.read_csv(tree.output("explanations") / "reasons.csv", infer_schema_length=None)


# --- Train


def test_train_writes_the_global_picture_as_xgboost_and_numpy_compute_it(
    trainable: Tree, booster: xgboost.Booster
) -> None:
    own = contributions(booster, 400, 2)

    assert trainable.run("train") == 0
    label = trainable.json("report/analysis.json")["explanations"]["kernel_shap"]["label0"]
    picture = trainable.json("explainer/explainer.json")

    assert label["expected_value"] == pytest.approx(own[0, -1])
    assert label["global_shap_values"] == pytest.approx(
        dict(zip(FEATURES, np.abs(own[:, :-1]).mean(axis=0), strict=True))
    )
    assert picture["space"] == "margin"
    assert picture["outputs"]["label0"]["mean_absolute"] == label["global_shap_values"]
    assert picture["outputs"]["label0"]["mean"] == pytest.approx(
        dict(zip(FEATURES, own[:, :-1].mean(axis=0), strict=True)), abs=1e-6
    )


def test_the_explainer_carries_its_model_and_names_it_as_its_parent(trainable: Tree) -> None:
    assert trainable.run("train") == 0

    model = open_artefact(trainable.input("model"), "algorithm", "model")
    explainer = open_artefact(trainable.output("explainer"), "explainability", "explainer")

    assert explainer.parents == {"model": model.digest}
    assert explainer.file("model.ubj").read_bytes() == model.file("model.ubj").read_bytes()


def test_train_explains_a_sample_and_says_how_many_rows_there_were(trainable: Tree) -> None:
    assert trainable.run("train", "--rows", "50") == 0

    report = read_report(trainable.output("report"))

    assert report.rows == 400
    assert trainable.json("explainer/explainer.json")["rows"] == 50
    assert trainable.message == "Completed: explained 50 of 400 rows by 4 features, all of them additive."


@pytest.mark.parametrize("method", ["contributions", "woodelf"])
def test_the_same_train_gives_the_same_bytes(trainable: Tree, method: str) -> None:
    arguments = ("train", "--rows", "100", "--method", method)
    assert trainable.run(*arguments) == 0
    first = {name: (trainable.root / "processing/output" / name).read_bytes() for name in trainable.written()}

    assert trainable.run(*arguments, "--batch-rows", "400") == 0
    settings_apart = {"explainer/manifest.json"}  # holds the settings, batch_rows among them

    again = {name: (trainable.root / "processing/output" / name).read_bytes() for name in trainable.written()}
    assert {name for name in first if first[name] != again[name]} <= settings_apart

    assert trainable.run(*arguments) == 0
    last = {name: (trainable.root / "processing/output" / name).read_bytes() for name in trainable.written()}
    assert last == first


def test_train_reads_csv_with_a_header(trainable: Tree) -> None:
    for path in trainable.input("data").iterdir():
        pl.read_parquet(path).write_csv(path.with_suffix(".csv"))
        path.unlink()

    assert trainable.run("train") == 0


# --- Serve


def test_each_row_is_explained_in_order_and_as_xgboost_explains_it(servable: Tree, booster: xgboost.Booster) -> None:
    assert servable.run("serve", "--batch-rows", "100") == 0
    found = shap(servable)

    assert found.columns == ["flight_id", *(f"{name}_label0" for name in FEATURES)]
    assert found["flight_id"].to_list() == table_of(features(250, 3))["flight_id"].to_list()
    assert_allclose(found.drop("flight_id").to_numpy(), contributions(booster, 250, 3)[:, :-1], atol=1e-6)


def test_reasons_give_score_feature_value_and_attribution(servable: Tree, booster: xgboost.Booster) -> None:
    own, rows = contributions(booster, 250, 3)[:, :-1], features(250, 3)

    assert servable.run("serve", "--reasons", "2") == 0
    found = reasons(servable)
    first = np.abs(own).argmax(axis=1)

    assert found.columns == [
        "flight_id", "score", "reason_1", "value_1", "attribution_1", "reason_2", "value_2", "attribution_2",
    ]  # fmt: skip
    assert_allclose(found["score"], booster.predict(xgboost.DMatrix(rows)), rtol=1e-6)
    assert found["reason_1"].to_list() == [FEATURES[index] for index in first]
    assert_allclose(found["value_1"].fill_null(np.nan), rows[np.arange(250), first], rtol=1e-6)
    assert_allclose(found["attribution_1"], own[np.arange(250), first], atol=1e-6)


def test_many_classes_have_attributions_for_each_and_reasons_for_the_likeliest(
    tmp_path: Path, trainable: Tree, multiclass: xgboost.Booster
) -> None:
    for path in trainable.input("model").iterdir():
        path.unlink()
    write_model(trainable.input("model"), multiclass, objective="multi:softprob")
    assert trainable.run("train") == 0
    tree = serving(tmp_path / "many", trainable, 60)

    assert tree.run("serve") == 0
    scores = multiclass.predict(xgboost.DMatrix(features(60, 3)))

    assert shap(tree).columns[1:] == [f"{name}_label{label}" for label in range(3) for name in FEATURES]
    assert reasons(tree)["predicted_label"].to_list() == scores.argmax(axis=1).tolist()
    assert_allclose(reasons(tree)["score"], scores.max(axis=1), rtol=1e-5)
    assert set(tree.json("report/analysis.json")["explanations"]["kernel_shap"]) == {"label0", "label1", "label2"}


def serving(root: Path, trainable: Tree, rows: int) -> Tree:
    """Everything mounted to serve what `trainable` has trained."""
    tree = Tree(root)
    for name, source in (("model", trainable.input("model")), ("explainer", trainable.output("explainer"))):
        for path in source.iterdir():
            (tree.input(name) / path.name).write_bytes(path.read_bytes())
    table_of(features(rows, seed=3)).write_csv(tree.input("data") / "part-0000.csv", include_header=False)
    return tree


def test_rows_like_trainings_have_not_drifted(servable: Tree) -> None:
    assert servable.run("serve") == 0

    assert servable.json("report/constraint_violations.json") == {"version": "1.0", "violations": []}
    assert servable.message.startswith("Completed: explained 250 rows; no attribution drift")


def test_rows_that_are_scored_for_other_reasons_are_a_violation_and_no_failure(tmp_path: Path, trainable: Tree) -> None:
    """Only very long and very short distances matter, and production has neither: the other features lead."""
    matrix = features(2000)
    far = (matrix[:, 0] > 1300) * 3.0 - (matrix[:, 0] < 700) * 3.0
    target = far + (matrix[:, 1] > 175) * 0.5 + matrix[:, 2] * 0.2
    for path in trainable.input("model").iterdir():
        path.unlink()
    model = trained({"objective": "reg:squarederror", "max_depth": 3}, matrix, target, rounds=40)
    write_model(trainable.input("model"), model, objective="reg:squarederror")
    assert trainable.run("train") == 0
    tree = serving(tmp_path / "drifted", trainable, 1)
    rows = table_of(features(200)).with_columns(distance=pl.lit(1000.0))
    rows.write_csv(tree.input("data") / "part-0000.csv", include_header=False)

    assert tree.run("serve") == 0
    training, production = (importances(job) for job in (trainable, tree))
    order = sorted(range(len(FEATURES)), key=lambda index: -production[index])
    ndcg = gain(training[index] for index in order) / gain(sorted(training, reverse=True))

    assert ndcg < 0.9
    assert tree.json("report/constraint_violations.json")["violations"] == [
        {
            "label": "label0",
            "metric_name": "shap",
            "constraint_check_type": "feature_attribution_drift_check",
            "description": f"Feature attribution drift {ndcg:.4f} exceeds threshold 0.9",
        }
    ]
    assert tree.message.startswith("CompletedWithViolations: explained 200 rows; attribution drift")
    assert read_report(tree.output("report")).state == "attention"


def gain(importances_in_order: Iterable[float]) -> float:
    """Discounted cumulative gain."""
    return sum(value / math.log2(place + 1) for place, value in enumerate(importances_in_order, start=1))


def importances(tree: Tree) -> list[float]:
    values = tree.json("report/analysis.json")["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
    return [values[name] for name in FEATURES]


def test_rows_without_ids_are_explained_without_ids(servable: Tree) -> None:
    table_of(features(20)).drop("flight_id").write_csv(
        servable.input("data") / "part-0000-of-0001.csv", include_header=False
    )

    assert servable.run("serve") == 0
    assert shap(servable).columns == [f"{name}_label0" for name in FEATURES]
    assert reasons(servable).columns[0] == "score"


def test_several_files_gzipped_and_with_a_header_are_one_table(servable: Tree) -> None:
    (servable.input("data") / "part-0000-of-0001.csv").unlink()
    table = table_of(features(30, seed=3))
    for index in range(3):
        text = table[index * 10 : index * 10 + 10].select(reversed(table.columns)).write_csv()
        (servable.input("data") / f"part-{index}.csv.gz").write_bytes(gzip.compress(text.encode()))

    assert servable.run("serve", "--header") == 0
    assert shap(servable)["flight_id"].to_list() == table["flight_id"].to_list()


def test_the_same_serve_gives_the_same_bytes(servable: Tree) -> None:
    assert servable.run("serve") == 0
    first = [(servable.root / "processing/output" / name).read_bytes() for name in servable.written()]

    assert servable.run("serve") == 0
    assert [(servable.root / "processing/output" / name).read_bytes() for name in servable.written()] == first


def test_both_methods_write_the_same_explanations(servable: Tree) -> None:
    assert servable.run("serve", "--method", "woodelf") == 0
    tables = shap(servable)
    assert servable.run("serve", "--method", "contributions") == 0

    assert_allclose(tables.drop("flight_id").to_numpy(), shap(servable).drop("flight_id").to_numpy(), atol=1e-5)


def test_settings_come_as_a_file_too(servable: Tree) -> None:
    (servable.input("settings") / "settings.json").write_text('{"reasons": 1}')

    assert servable.run("serve") == 0
    assert "reason_2" not in reasons(servable).columns
