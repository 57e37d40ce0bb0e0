"""A folder laid out as SageMaker lays out a processing job, to run the component's modes in."""

from __future__ import annotations

import json
import logging
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.processing.component import COMPONENT
from shared.entrypoint import run


@dataclass
class Place:
    """The folder, and what a test does with it."""

    root: Path

    def put(self, name: str, content: pl.DataFrame | str | bytes, file: str = "data.csv") -> Path:
        """Mount content as a file of an input."""
        path = self.root / "processing/input" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path) if path.suffix == ".parquet" else content.write_csv(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def mount_state(self, trained: Place) -> None:
        """Mount the state that another place's train wrote."""
        shutil.copytree(trained.output("state"), self.root / "processing/input/state", dirs_exist_ok=True)

    def run(self, mode: str, **settings: Any) -> int:
        """Run a mode with settings in a file, as the pipelines hand them over; the exit code."""
        self.put("settings", json.dumps(settings, sort_keys=True), "settings.json")
        return run(COMPONENT, [mode], {"SAGEMAKER_BASE_DIR": str(self.root)})

    def hosts(self, *names: str, current: str) -> None:
        """Say that the job runs on these hosts."""
        path = self.root / "config/resourceconfig.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"hosts": names, "current_host": current}))

    def output(self, name: str) -> Path:
        """Folder of an output."""
        return self.root / "processing/output" / name

    def written(self) -> list[str]:
        """Every file of every output, hidden ones too."""
        folder = self.root / "processing/output"
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def message(self) -> str:
        """How the job ended."""
        return (self.root / "output/message").read_text()

    def failure(self) -> str:
        """Why the job failed."""
        return (self.root / "output/failure").read_text()

    def table(self, name: str) -> pl.DataFrame:
        """An output of train."""
        return pl.read_parquet(self.output(name) / "part-0000-of-0001.parquet")

    def state(self) -> dict[str, Any]:
        """The state that train wrote, as JSON values."""
        value: dict[str, Any] = json.loads((self.output("state") / "state.json").read_text())
        return value

    def manifest(self) -> dict[str, Any]:
        """The manifest of that state."""
        value: dict[str, Any] = json.loads((self.output("state") / "manifest.json").read_text())
        return value

    def served(self) -> pl.DataFrame:
        """What serve wrote, cells as text."""
        path = self.output("data") / "part-0000-of-0001.csv"
        found = pl.read_csv(path, has_header=False, infer_schema=False, null_values=[""])
        # Polars counts the columns from 0 or from 1 by its version.
        return found.rename({name: f"column_{number}" for number, name in enumerate(found.columns, start=1)})

    def report(self) -> dict[str, Any]:
        """The report's document."""
        value: dict[str, Any] = json.loads((self.output("report") / "report.json").read_text())
        return value


@pytest.fixture(autouse=True)
def _signals_and_logs() -> Iterator[None]:
    """A job takes over signals and the root logger, which belong to the test run."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    root.handlers[:] = before
    root.setLevel(level)


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
