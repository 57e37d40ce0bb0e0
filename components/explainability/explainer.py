"""The explainer: the artefact that train writes and that serve compares with. It holds its own copy of the model, so
that its folder alone can answer HTTP.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from components.explainability.analysis import column, label
from components.explainability.attributions import Attributions
from components.explainability.importance import Importance
from components.explainability.model import BOOSTER, Model, read_model
from components.explainability.settings import ExplainabilitySettings
from shared.artefact import Artefact, Golden, open_artefact, write_artefact
from shared.errors import ArtefactError
from shared.files import read_json, write_json

Array = NDArray[np.floating[Any]]

FILE: Final = "explainer.json"
SPACE: Final = "margin"
GOLDEN_ROWS: Final = 5
COLOURED: Final = (0.05, 0.95)
"""Quantiles between which a feature's value is coloured: a few extreme values do not make all others look the same."""
LIBRARIES: Final = ("xgboost-cpu", "xgboost", "woodelf-explainer", "numpy")


@dataclass(frozen=True)
class Picture:
    """The global picture of a model's attributions on its training data, in margin space.

    Attributes:
        importance: means over the explained rows.
        expected: margin of a row of which nothing is known, shape (outputs,).
        ranges: for each feature the values between which it is coloured, shape (features, 2); NaN when never present.
    """

    importance: Importance
    expected: Array
    ranges: Array


def feature_ranges(matrix: Array) -> Array:
    """The `COLOURED` quantiles of each column, missing values left out.

    Args:
        matrix: shape (rows, features), NaN where missing.

    Returns:
        Shape (features, 2); NaN for a column without a value.
    """
    ranges = np.full((matrix.shape[1], 2), np.nan)
    present = ~np.isnan(matrix).all(axis=0)
    ranges[present] = np.nanquantile(matrix[:, present], COLOURED, axis=0).T
    return ranges


def write_explainer(
    folder: Path,
    *,
    model: Model,
    parent: Artefact,
    settings: ExplainabilitySettings,
    picture: Picture,
    golden: tuple[Array, Attributions],
) -> str:
    """Write the explainer artefact.

    Args:
        folder: where to.
        model: what was explained.
        parent: the model's artefact.
        settings: the settings of the run.
        picture: what was found.
        golden: features and attributions of a few rows, checked again at every load.

    Returns:
        Its digest.
    """
    shutil.copyfile(parent.file(BOOSTER), folder / BOOSTER)
    write_json(folder / FILE, picture_json(picture, model.features))
    return write_artefact(
        folder,
        component="explainability",
        schema=model.schema,
        settings=settings.model_dump(mode="json"),
        libraries=LIBRARIES,
        parents={"model": parent.digest},
        extra={"framework": parent.extra["framework"], "objective": model.objective, "space": SPACE},
        golden=golden_rows(model, *golden),
    )


def golden_rows(model: Model, matrix: Array, attributions: Attributions) -> Golden:
    """The first few rows with their attributions."""
    inputs = {
        name: [_typed(value, model.schema.column(name).type) for value in matrix[:GOLDEN_ROWS, index].tolist()]
        for index, name in enumerate(model.features)
    }
    values = attributions.values[:GOLDEN_ROWS]
    outputs = {
        column(name, output): [float(value) for value in values[:, output, index]]
        for output in range(values.shape[1])
        for index, name in enumerate(model.features)
    }
    return Golden(inputs, outputs)


def _typed(value: float, kind: str) -> float | int | bool | None:
    if np.isnan(value):
        return None
    return bool(value) if kind == "boolean" else int(value) if kind == "integer" else value


def picture_json(picture: Picture, features: Sequence[str]) -> dict[str, Any]:
    """The picture as explainer.json holds it."""
    importance = picture.importance
    return {
        "space": SPACE,
        "rows": importance.rows,
        "features": list(features),
        "outputs": {
            label(output): {
                "expected_value": float(expected),
                "mean_absolute": _by_feature(features, importance.mean_absolute[output]),
                "mean": _by_feature(features, importance.mean[output]),
            }
            for output, expected in enumerate(picture.expected)
        },
        "ranges": {
            name: None if np.isnan(low) else [float(low), float(high)]
            for name, (low, high) in zip(features, picture.ranges, strict=True)
        },
    }


def _by_feature(features: Sequence[str], values: Array) -> dict[str, float]:
    return {name: float(value) for name, value in zip(features, values, strict=True)}


def open_explainer(folder: Path) -> tuple[Artefact, Picture]:
    """The explainer artefact in a folder.

    Raises:
        ArtefactError: it cannot be trusted.
    """
    artefact = open_artefact(folder, "explainability", "explainer")
    return artefact, picture_of(read_json(artefact.file(FILE), "explainer"), artefact.schema.features)


def picture_of(value: Mapping[str, Any], features: Sequence[str]) -> Picture:
    """The picture that `picture_json` wrote.

    Raises:
        ArtefactError: it has another form.
    """
    try:
        outputs = [value["outputs"][label(output)] for output in range(len(value["outputs"]))]
        importance = Importance(
            value["rows"],
            np.array([[output["mean_absolute"][name] for name in features] for output in outputs]),
            np.array([[output["mean"][name] for name in features] for output in outputs]),
        )
        ranges = np.array([value["ranges"][name] or (np.nan, np.nan) for name in features], dtype=float)
        return Picture(importance, np.array([output["expected_value"] for output in outputs]), ranges)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"explainer {FILE} cannot be read: {error!r}. Train the explainer again.") from None


def own_model(artefact: Artefact) -> Model:
    """The model that an explainer carries. Raises as `read_model`."""
    return read_model(artefact.file(BOOSTER), artefact)


def check_parent(artefact: Artefact, model: Artefact) -> None:
    """Make sure that the explainer was trained on this model.

    Raises:
        ArtefactError: it was trained on another one.
    """
    found = artefact.parents.get("model", "")
    if found != model.digest:
        raise ArtefactError(
            f"the explainer was trained on model {found[:12]}, and the model given is {model.digest[:12]}. "
            "Give the model and the explainer of one release, or train the explainer again."
        )
