"""Folders laid out as SageMaker lays out a processing job, and a table to run the component on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.monitoring.component import COMPONENT
from shared.artefact import write_artefact
from shared.files import write_json
from shared.schema import Column, Schema
from tests.components.trees import Tree

IDS = {"target": "y", "ids": ["id"]}
"""The settings of the tables below."""


class Place(Tree):
    """A tree of monitoring's."""

    component = COMPONENT

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
        place.mount("baseline", trained)
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


def model_of(task: str | None, outputs: list[str], folder: Path) -> Path:
    """Write a model's folder as far as monitoring reads it; without task, as no version wrote it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", {"edges": [0.0, 0.25, 0.5, 0.75, 1.0], "counts": [500, 500, 500, 500]})
    write_artefact(
        folder,
        component="algorithm",
        schema=Schema((Column("amount", "number"),)),
        settings={},
        extra={"outputs": outputs, "threshold": 0.4, **({"task": task} if task else {})},
    )
    return folder
