"""Fixtures: fresh places, a baseline to serve with, a model."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.components.monitoring.places import Place, Places, model_of, rows


@pytest.fixture
def places(tmp_path: Path) -> Places:
    folder = tmp_path / "places"
    folder.mkdir()
    return Places(folder)


@pytest.fixture(scope="session")
def table() -> pl.DataFrame:
    return rows(4000)


@pytest.fixture(scope="session")
def trained(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A baseline of the table, without a model; not to be changed."""
    return Places(tmp_path_factory.mktemp("trained")).trained(table, time="day")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder as far as monitoring reads it: scores spread evenly from 0 to 1."""
    return model_of("binary", ["score"], tmp_path_factory.mktemp("model"))
