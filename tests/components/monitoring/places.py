"""A folder laid out as SageMaker lays out a processing job, and a table to run the component on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.monitoring.component import COMPONENT
from shared.artefact import write_artefact
from shared.entrypoint import run
from shared.files import write_json
from shared.schema import Column, Schema

IDS = {"target": "y", "ids": ["id"]}
"""The settings of the tables below."""


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

    def mount_baseline(self, trained: Place) -> None:
        """Mount the baseline that another place's train wrote."""
        shutil.copytree(trained.output("baseline"), self.root / "processing/input/baseline", dirs_exist_ok=True)

    def run(self, mode: str, **settings: Any) -> int:
        """Run a mode with settings in a file, as the pipelines hand them over; the exit code."""
        self.put("settings", json.dumps(settings, sort_keys=True), "settings.json")
        return run(COMPONENT, [mode], {"SAGEMAKER_BASE_DIR": str(self.root)})

    def hosts(self, *names: str) -> None:
        """Say that the job runs on these hosts, of which this is the first."""
        path = self.root / "config/resourceconfig.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"hosts": names, "current_host": names[0]}))

    def output(self, name: str) -> Path:
        """Folder of an output."""
        return self.root / "processing/output" / name

    def read(self, name: str, output: str = "report") -> Any:
        """A JSON file of an output."""
        return json.loads((self.output(output) / name).read_text())

    def written(self) -> list[str]:
        """Every file of every output, hidden ones too."""
        folder = self.root / "processing/output"
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    @property
    def message(self) -> str:
        """What the job said at its end."""
        return (self.root / "output/message").read_text()

    def violations(self) -> set[tuple[str, str]]:
        """Column and check of each violation."""
        found = self.read("constraint_violations.json")["violations"]
        return {(item["feature_name"], item["constraint_check_type"]) for item in found}


@dataclass
class Places:
    """Fresh places below one folder."""

    folder: Path
    given: int = 0

    def __call__(self) -> Place:
        self.given += 1
        return Place(self.folder / str(self.given))

    def trained(self, data: pl.DataFrame | str, model: Path | None = None, **settings: Any) -> Place:
        """A place whose train ended well."""
        place = self()
        place.put("data", data)
        if model is not None:
            shutil.copytree(model, place.root / "processing/input/model")
        assert place.run("train", **{**IDS, **settings}) == 0, place.message
        return place

    def served(
        self,
        trained: Place,
        data: pl.DataFrame | str,
        scores: pl.DataFrame | str | None = None,
        labels: pl.DataFrame | str | None = None,
        **settings: Any,
    ) -> Place:
        """A place whose serve has run, well or not."""
        place = self()
        place.put("data", data)
        place.mount_baseline(trained)
        if scores is not None:
            text = scores if isinstance(scores, str) else scores.write_csv(include_header=False)
            place.put("scores", text, "part-0000-of-0001.csv.out")
        if labels is not None:
            place.put("labels", labels)
        place.run("serve", **settings)
        return place


def rows(count: int, seed: int = 0, shift: float = 0.0) -> pl.DataFrame:
    """A table of independent rows: ids, a day, numbers, whole numbers, levels, and an outcome."""
    random = np.random.default_rng(seed)
    amount = random.normal(shift, 1, count)
    return pl.DataFrame(
        {
            "id": [f"r{seed}-{number}" for number in range(count)],
            "day": [date(2024, 1, 1) + timedelta(days=number * 60 // count) for number in range(count)],
            "amount": amount,
            "wait": random.integers(0, 500, count),
            "size": random.integers(1, 5, count),
            "city": random.choice(["Oslo", "Bergen", "Narvik"], count, p=[0.6, 0.3, 0.1]),
            "note": np.where(random.random(count) < 0.2, np.nan, random.normal(5, 1, count).round(3)),
            "y": (random.random(count) < 1 / (1 + np.exp(-amount))).astype(int),
        }
    ).with_columns(pl.col("note").fill_nan(None))


def model_of(objective: str | None, outputs: list[str], folder: Path) -> Path:
    """Write a model's folder; without objective one that does not tell its task."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", {"edges": [0.0, 0.25, 0.5, 0.75, 1.0], "counts": [500, 500, 500, 500]})
    write_artefact(
        folder,
        component="algorithm",
        schema=Schema((Column("amount", "number"),)),
        settings={},
        extra={"outputs": outputs, "threshold": 0.4, **({"objective": objective} if objective else {})},
    )
    return folder
