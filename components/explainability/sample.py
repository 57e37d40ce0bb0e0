"""What `selftest` tries explainability on: prepared flights, and a model of them in the algorithm's format."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.artefact import write_artefact
from shared.imports import XGBOOST_EXTRAS, without
from shared.sample import PRODUCTION, TRAINING, Row, Sample, csv_of, flights, written
from shared.schema import Column, Schema

FEATURES: Final = ("distance", "wind")
SCHEMA: Final = Schema(
    (Column("flight", "text"), Column("distance", "number"), Column("wind", "number"), Column("late", "integer")),
    ids=("flight",),
    target="late",
)


def sample(folder: Path) -> Sample:
    """Prepared flights, the model that scores them, and later ones."""
    known, new = flights(TRAINING, seed=1), flights(PRODUCTION, seed=2)
    model = write_model(folder / "model", known)
    return Sample(
        hyperparameters={},
        train={"data": written(folder / "train", csv_of(known, SCHEMA.names, header=True)), "model": model},
        serve={"data": written(folder / "serve", csv_of(new, ("flight", *FEATURES), header=False)), "model": model},
        request=csv_of(new, FEATURES, header=False),
        answers=len(new),
    )


def write_model(folder: Path, rows: list[Row]) -> Path:
    """A folder with a small model: no component reads another's code, so the artefact's format is all they share."""
    import numpy as np

    with without(*XGBOOST_EXTRAS):
        import xgboost

    matrix = np.array([[row[name] for name in FEATURES] for row in rows], dtype=np.float32)
    target = np.array([row["late"] for row in rows], dtype=np.float32)
    data = xgboost.DMatrix(matrix, target, feature_names=list(FEATURES), nthread=1)
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, 10)
    folder.mkdir(parents=True)
    booster.save_model(folder / "model.ubj")
    write_artefact(
        folder,
        component="algorithm",
        schema=SCHEMA,
        settings={},
        libraries=("numpy", "xgboost", "xgboost-cpu"),
        extra={"framework": "xgboost", "objective": "binary:logistic", "outputs": ["score"]},
    )
    return folder
