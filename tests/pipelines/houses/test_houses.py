"""The second use case: a regression by a network, from a manifest alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "pipelines/houses"
YEAR = "2013"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage after both pipelines, with one year to score."""
    folder = tmp_path_factory.mktemp("houses")
    command = [sys.executable, "-m", "pipelines", "run", str(FOLDER / "use-case.yaml"), "--storage", str(folder)]
    arguments = ["--run-id", "houses", "--period", YEAR]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_manifest_of_less_than_40_lines_is_all_there_is() -> None:
    assert len((FOLDER / "use-case.yaml").read_text().splitlines()) < 40
    assert not list(FOLDER.rglob("*.py"))


def test_no_scored_row_tells_its_price() -> None:
    for path in (FOLDER / "data/new").glob("*.csv"):
        assert "median" not in path.read_text().splitlines()[0].split(",")


@pytest.mark.torch
def test_the_release_holds_a_network_that_met_its_gate(storage: Path) -> None:
    release = json.loads((storage / "releases/houses.json").read_text())

    assert release["metrics"]["validation:r2"] >= 0.7
    assert set(release["parts"]) == {"model", "state", "baseline"}
    assert (storage / "releases/current").read_text().strip() == "houses"


@pytest.mark.torch
def test_four_years_later_the_network_beats_the_mean_price_that_each_city_had_at_the_end_of_training(
    storage: Path,
) -> None:
    sold = pl.read_csv(FOLDER / f"data/sold/{YEAR}.csv")
    known = pl.read_csv(FOLDER / "data/history/2009.csv").group_by("city").agg(pl.col("median").mean().alias("guess"))
    cities = pl.read_csv(FOLDER / f"data/new/{YEAR}.csv").select("id", "city").join(known, on="city", how="left")
    path = next((storage / f"inference/houses-{YEAR}/algorithm/scores").rglob("*.out"))
    scores = pl.read_csv(path, has_header=False, new_columns=["id", "score"])
    table = sold.join(cities, on="id").join(scores, on="id").drop_nulls()

    assert table.height > 500
    assert squared_error(table, "score") < squared_error(table, "guess")


def squared_error(table: pl.DataFrame, column: str) -> float:
    """Mean squared difference from the prices paid."""
    value = table.select(((pl.col("median") - pl.col(column)) ** 2).mean()).item()
    return float(value)
