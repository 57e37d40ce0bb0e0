"""The model to explain, as the algorithm component wrote it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.explainability.attributions import predicted, threads
from shared.artefact import Artefact, Golden, open_artefact
from shared.errors import ArtefactError, SettingsError, names
from shared.imports import XGBOOST_EXTRAS, without
from shared.schema import Schema

if TYPE_CHECKING:
    import xgboost

Array = NDArray[np.floating[Any]]

BOOSTER: Final = "model.ubj"
EXPLAINED_FRAMEWORKS: Final = ("xgboost",)
SCORE: Final = "score"
"""The output of the algorithm that is computed here as well, to see whether both mean the same model."""
GOLDEN_TOLERANCE: Final = 1e-5
NUMERIC: Final = ("integer", "number", "boolean")


@dataclass(frozen=True)
class Model:
    """A booster, and what its inputs and outputs are called."""

    booster: xgboost.Booster
    schema: Schema
    """Ids and features, no target."""
    objective: str

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in the booster's order."""
        return self.schema.features

    def matrix(self, table: pl.DataFrame) -> Array:
        """The features of a table as double precision, NaN where missing, shape (rows, features)."""
        chosen = table.select(pl.col(self.features).cast(pl.Float64).fill_null(float("nan")))
        values: Array = chosen.to_numpy()
        return values

    def scores(self, margins: Array) -> Array:
        """Predictions of rows from their margins: a probability for logistic objectives, one a class for many classes.

        Args:
            margins: shape (rows, outputs).

        Returns:
            The same shape.
        """
        return linked(margins, self.objective)


def linked(margins: Array, objective: str) -> Array:
    """Margins through the link of XGBoost's objective; of objectives without one, the margins themselves.

    Args:
        margins: shape (rows, outputs).
        objective: XGBoost's name of it.

    Returns:
        The same shape.
    """
    wide: Array = margins.astype(np.float64)
    if objective.startswith("multi:"):
        raised: Array = np.exp(wide - wide.max(axis=1, keepdims=True))
        shares: Array = raised / raised.sum(axis=1, keepdims=True)
        return shares
    if objective in ("binary:logistic", "reg:logistic"):
        return 1 / (1 + np.exp(-np.clip(wide, -700, 700)))
    if objective in ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"):
        return np.exp(wide)
    return wide


def open_model(folder: Path) -> tuple[Artefact, Model]:
    """The model artefact in a folder, or in the model.tar.gz there.

    Raises:
        ArtefactError: it cannot be trusted, or its parts do not fit each other.
        SettingsError: it is of a kind that is not explained.
    """
    artefact = open_artefact(folder, "algorithm", "model")
    framework = artefact.extra.get("framework")
    if framework not in EXPLAINED_FRAMEWORKS:
        raise SettingsError(
            f"the model's framework is {framework!r}, and exact attributions exist for {names(EXPLAINED_FRAMEWORKS)}. "
            "Train the algorithm with one of these, or leave the explainability steps out."
        )
    model = read_model(artefact.file(BOOSTER), artefact)
    check_scores(artefact, model)
    return artefact, model


def read_model(path: Path, artefact: Artefact) -> Model:
    """The booster in a file, called as an artefact's manifest says.

    Raises:
        ArtefactError: the file is no booster, or is one of other features.
        SettingsError: a feature is no number, so no tree can have split on it.
    """
    booster = read_booster(path)
    schema = artefact.schema.without_target()
    if booster.num_features() != len(schema.features):
        raise ArtefactError(
            f"the model's manifest names {len(schema.features)} features and its booster has {booster.num_features()}. "
            "Train again."
        )
    if booster.feature_names and tuple(booster.feature_names) != schema.features:
        raise ArtefactError(
            f"the model's manifest names features {names(schema.features)} and its booster "
            f"{names(booster.feature_names)}. Train again."
        )
    for feature in schema.features:
        if schema.column(feature).type not in NUMERIC:
            raise SettingsError(
                f"feature {feature!r} is {schema.column(feature).type}, wanted a number. Encode it in processing."
            )
    return Model(booster, schema, str(artefact.extra.get("objective", "")))


def read_booster(path: Path) -> xgboost.Booster:
    """The booster in a UBJSON file.

    Raises:
        ArtefactError: XGBoost cannot read it.
    """
    # Its threads would spin while they wait for one another: 0.15 CPU-seconds of a job on few rows, a quarter of all.
    # Read once, when its library is loaded: https://gcc.gnu.org/onlinedocs/libgomp/OMP_005fWAIT_005fPOLICY.html
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with without(*XGBOOST_EXTRAS):
        import xgboost

    try:
        return xgboost.Booster({"nthread": threads()}, model_file=path)
    except (xgboost.core.XGBoostError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ArtefactError(f"the model's {path.name} cannot be read by XGBoost: {reason}. Train again.") from None


def check_scores(artefact: Artefact, model: Model) -> None:
    """Make sure that what will be explained is what the algorithm answers, on the model's own golden batch.

    A model that is scored with fewer trees than it holds would else be explained with all of them.

    Raises:
        ArtefactError: an answer differs.
    """
    if SCORE in artefact.golden.outputs:
        golden = Golden(artefact.golden.inputs, {SCORE: artefact.golden.outputs[SCORE]})
        replace(artefact, golden=golden).check_golden(lambda table: scored(model, table), GOLDEN_TOLERANCE)


def scored(model: Model, table: pl.DataFrame) -> pl.DataFrame:
    """The score of each row: of many classes, the probability of the most probable one."""
    scores = model.scores(predicted(model.booster, model.matrix(table), output_margin=True))
    return pl.DataFrame({SCORE: scores.max(axis=1)})
