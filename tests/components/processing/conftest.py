"""A folder laid out as SageMaker lays out a processing job, to run the component's modes in."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.processing.component import COMPONENT
from tests.components.trees import Tree


class Place(Tree):
    """A tree of processing's."""

    component = COMPONENT

    def table(self, name: str) -> pl.DataFrame:
        """An output of train."""
        return pl.read_parquet(self.output(name) / "part-0000-of-0001.parquet")

    def state(self) -> Any:
        """The state that train wrote, as JSON values."""
        return self.read("state.json", "state")

    def manifest(self) -> Any:
        """The manifest of that state."""
        return self.read("manifest.json", "state")

    def served(self) -> pl.DataFrame:
        """What serve wrote, cells as text."""
        path = self.output("data") / "part-0000-of-0001.csv"
        found = pl.read_csv(path, has_header=False, infer_schema=False, null_values=[""])
        # Polars counts the columns from 0 or from 1 by its version.
        return found.rename({name: f"column_{number}" for number, name in enumerate(found.columns, start=1)})

    def report(self) -> Any:
        """The report's document."""
        return self.read("report.json")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty folder."""
    return Place(tmp_path / "train")


@pytest.fixture
def production(tmp_path: Path) -> Place:
    """Another one, to serve in."""
    return Place(tmp_path / "serve")


def trips(rows: int = 400, seed: int = 1) -> pl.DataFrame:
    """Made-up trips: an id with leading zeros, a day, text with a rare and a missing level, numbers with gaps."""
    chance = np.random.default_rng(seed)
    index = np.arange(rows)
    distance = chance.gamma(2.0, 400.0, rows).round(1)
    return pl.DataFrame(
        {
            "trip": [f"{number:05d}" for number in index],
            "day": [date(2013, 1, 1) + timedelta(days=int(number)) for number in index // 4],
            "carrier": [None if x < 0.05 else "RARE" if x > 0.995 else "ABC"[int(x * 3)] for x in chance.random(rows)],
            "distance": pl.Series(distance).set(pl.Series(chance.random(rows) < 0.1), None),
            "seats": chance.integers(2, 300, rows),
            "private": chance.random(rows) < 0.2,
            "delay": pl.Series(chance.normal(5, 20, rows).round(0)).set(pl.Series(index % 17 == 5), None),
        }
    )


COMMON = {
    "target": "late",
    "ids": ["trip"],
    "time": "day",
    "where": "delay IS NOT NULL",
    "derive": {"late": "delay >= 15"},
}


@pytest.fixture
def table() -> pl.DataFrame:
    """400 trips."""
    return trips()


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings that fit the trips."""
    return dict(COMMON)


@pytest.fixture
def trained(place: Place, table: pl.DataFrame, settings: dict[str, Any]) -> Place:
    """A place where train has run on the trips."""
    place.put("data", table)
    assert place.run("train", **settings) == 0
    return place
