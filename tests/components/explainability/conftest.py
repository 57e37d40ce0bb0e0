"""Trained models, and folders with everything mounted for train or for serve."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import xgboost

from tests.components.explainability.models import Tree, features, labels, packed, table_of, trained, write_model


@pytest.fixture(scope="session")
def booster() -> xgboost.Booster:
    """A binary model that has learned from missing values too."""
    matrix = features(3000)
    return trained({"objective": "binary:logistic", "max_depth": 4}, matrix, labels(matrix))


@pytest.fixture(scope="session")
def multiclass() -> xgboost.Booster:
    matrix = features(3000)
    return trained({"objective": "multi:softprob", "num_class": 3, "max_depth": 3}, matrix, labels(matrix, 3))


@pytest.fixture
def trainable(tmp_path: Path, booster: xgboost.Booster) -> Tree:
    """Model and training data in place."""
    tree = Tree(tmp_path / "train")
    packed(write_model(tmp_path / "model", booster), tree.root / "processing/input/model")
    table_of(features(400, seed=2)).with_columns(late=pl.lit(0)).write_parquet(tree.input("data") / "part-0000.parquet")
    return tree


@pytest.fixture
def servable(tmp_path: Path, trainable: Tree) -> Tree:
    """Model, the explainer that train wrote, and production data without a header."""
    assert trainable.run("train", "--batch-rows", "150") == 0
    tree = Tree(tmp_path / "serve")
    for name, source in (("model", trainable.input("model")), ("explainer", trainable.output("explainer"))):
        for path in source.iterdir():
            (tree.input(name) / path.name).write_bytes(path.read_bytes())
    table_of(features(250, seed=3)).write_csv(tree.input("data") / "part-0000-of-0001.csv", include_header=False)
    return tree
