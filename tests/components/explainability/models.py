"""Models as the algorithm component writes them, rows for them, and a folder that stands for /opt/ml."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xgboost
from numpy.typing import NDArray

from components.explainability.component import COMPONENT
from shared.artefact import Golden, write_artefact
from shared.entrypoint import run
from shared.schema import Column, Schema

Array = NDArray[np.floating[Any]]

FEATURES = ("distance", "seats", "delayed_before", "wind")
SCHEMA = Schema(
    (
        Column("flight_id", "text"),
        Column("distance", "number"),
        Column("seats", "integer"),
        Column("delayed_before", "boolean"),
        Column("wind", "number"),
        Column("late", "integer"),
    ),
    ids=("flight_id",),
    target="late",
)


def features(rows: int, seed: int = 0) -> Array:
    """Features in the schema's order: continuous, whole numbers, 0 or 1, and one that is missing in a tenth of rows."""
    draws = np.random.default_rng(seed)
    wind = draws.exponential(10, rows)
    wind[draws.random(rows) < 0.1] = np.nan
    return np.column_stack(
        [draws.normal(1000, 300, rows), draws.integers(50, 300, rows), draws.integers(0, 2, rows), wind]
    ).astype(np.float32)


def table_of(matrix: Array) -> pl.DataFrame:
    """Rows with the schema's ids and features."""
    columns = {name: matrix[:, index].tolist() for index, name in enumerate(FEATURES)}
    table = pl.DataFrame({"flight_id": [f"2013-01-01 UA{row} EWR" for row in range(len(matrix))], **columns})
    return table.with_columns(
        pl.col("seats").cast(pl.Int64), pl.col("delayed_before").cast(pl.Boolean), pl.col("wind").fill_nan(None)
    )


def labels(matrix: Array, classes: int = 2, seed: int = 1) -> NDArray[np.integer[Any]]:
    """Classes that follow the first three features and their interplay, not surely."""
    push = (matrix[:, 0] - 1000) / 300 + (matrix[:, 1] > 200) * matrix[:, 2] * 2 - 1
    noise = np.random.default_rng(seed).normal(size=len(matrix))
    return np.digitize(push + noise, np.linspace(-1, 1, classes - 1) if classes > 2 else [0.0])


def trained(
    parameters: Mapping[str, Any], matrix: Array, target: Array | NDArray[np.integer[Any]], rounds: int = 12
) -> xgboost.Booster:
    return xgboost.train({"nthread": 1, "seed": 0, **parameters}, xgboost.DMatrix(matrix, target), rounds)


def write_model(
    folder: Path,
    booster: xgboost.Booster,
    *,
    objective: str = "binary:logistic",
    framework: str = "xgboost",
    schema: Schema = SCHEMA,
    golden: Golden | None = None,
) -> Path:
    """A model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    booster.save_model(folder / "model.ubj")
    write_artefact(
        folder,
        component="algorithm",
        schema=schema,
        settings={},
        extra={"framework": framework, "objective": objective, "outputs": ["score"]},
        golden=golden,
    )
    return folder


def packed(model: Path, folder: Path) -> Path:
    """The model as SageMaker hands it to a processing job."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, path.name)
    return folder


@dataclass(frozen=True)
class Tree:
    """A folder that stands for /opt/ml, with everything mounted for train; `serve` mounts what train wrote."""

    root: Path

    def input(self, name: str) -> Path:
        path = self.root / "processing/input" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def output(self, name: str) -> Path:
        return self.root / "processing/output" / name

    def run(self, mode: str, *arguments: str) -> int:
        return run(COMPONENT, [mode, *arguments], {"SAGEMAKER_BASE_DIR": str(self.root)})

    @property
    def message(self) -> str:
        return (self.root / "output/message").read_text()

    def json(self, name: str) -> Any:
        return json.loads((self.root / "processing/output" / name).read_text())

    def written(self) -> list[str]:
        """All files of all outputs."""
        outputs = self.root / "processing/output"
        return sorted(path.relative_to(outputs).as_posix() for path in outputs.rglob("*") if path.is_file())
