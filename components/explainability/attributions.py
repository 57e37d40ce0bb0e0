"""Exact attributions of tree ensembles: by which route they are computed, and the check that they add up.

An attribution is a Shapley value of one row's margin: how much a feature's value moved the margin away from the
ensemble's expected value, averaged over all orders in which features can become known. An unknown feature is averaged
over both branches of its splits in proportion to the training rows that took them ("path-dependent").
The margin is what the trees sum to, before a link such as the logistic function: log-odds for `binary:logistic`.

Source: Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature Machine
Intelligence 2 (2020), algorithm 2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from components.explainability import ensemble
from components.explainability.settings import Method
from shared.errors import QuartetError, SettingsError

if TYPE_CHECKING:
    import xgboost

Array = NDArray[np.floating[Any]]
Route = Literal["contributions", "woodelf"]

MANY_ROWS: Final = 2_000
"""From how many rows on the vectorised route is cheaper: below, its tables cost more than the rows save."""
TOLERANCE: Final = 1e-4
"""Greatest error of a sum of attributions, as a share of what is summed: single precision gives about 1e-6."""
SMALLEST_SCALE: Final = 1e-3
"""Sums of less than this are compared absolutely: a model of a constant has margins that are all rounding."""


@dataclass(frozen=True)
class Attributions:
    """Attributions of some rows, in margin space.

    Attributes:
        values: attribution of each feature to each output of each row, shape (rows, outputs, features).
        expected: margin of a row of which nothing is known, shape (outputs,).
        margins: what the model answers before its link, shape (rows, outputs). Equal to
            `values.sum(axis=2) + expected`, which was checked when this was made.
    """

    values: Array
    expected: Array
    margins: Array


class Explainer:
    """A booster and a route: what has been computed for one batch serves the next."""

    def __init__(self, booster: xgboost.Booster, method: Method = "auto") -> None:
        """Choose the route.

        Args:
            booster: the model.
            method: as in the settings. `auto` starts with XGBoost's own contributions, and goes over to woodelf's
                tables with the first batch of `MANY_ROWS` rows if the model allows it.

        Raises:
            SettingsError: `method` is woodelf, which cannot explain this model.
        """
        obstacle = "" if method == "contributions" else ensemble.obstacle(booster)
        if obstacle and method == "woodelf":
            raise SettingsError(
                f"method 'woodelf' cannot explain this model: {obstacle}. Use 'auto' or 'contributions'."
            )
        self._booster = booster
        self._may_change = method == "auto" and not obstacle
        self._tables = ensemble.Tables.of(booster) if method == "woodelf" else None

    @property
    def route(self) -> Route:
        """How the latest batch was computed."""
        return "contributions" if self._tables is None else "woodelf"

    def attributions(self, matrix: Array) -> Attributions:
        """Attributions of rows, checked for additivity.

        Args:
            matrix: features in the model's order, NaN where missing, shape (rows, features), at least one row.

        Raises:
            QuartetError: they do not add up.
        """
        matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        if self._may_change and self._tables is None and len(matrix) >= MANY_ROWS:
            self._tables = ensemble.Tables.of(self._booster)
        margins = predicted(self._booster, matrix, output_margin=True)
        if self._tables is None:
            values, expected = contributions(self._booster, matrix)
        else:
            _, expected = contributions(self._booster, matrix[:1])
            values = self._tables.attributions(matrix)
        check_additivity(values, expected, margins)
        return Attributions(values, expected, margins)


def contributions(booster: xgboost.Booster, matrix: Array) -> tuple[Array, Array]:
    """XGBoost's own attributions.

    Args:
        booster: the model.
        matrix: shape (rows, features).

    Returns:
        Attributions, shape (rows, outputs, features), and the expected value, shape (outputs,).
    """
    both = predicted(booster, matrix, pred_contribs=True)
    return both[:, :, :-1], both[0, :, -1].astype(np.float64)


def predicted(booster: xgboost.Booster, matrix: Array, **options: bool) -> Array:
    """`Booster.predict` on rows without names, with an axis for outputs also when there is one."""
    import xgboost

    table = xgboost.DMatrix(
        matrix, feature_names=booster.feature_names, feature_types=booster.feature_types, nthread=threads()
    )
    answer: Array = booster.predict(table, strict_shape=True, **options)
    return answer


def threads() -> int:
    """Processors that this process may use, or fewer when OMP_NUM_THREADS says so."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_additivity(values: Array, expected: Array, margins: Array) -> None:
    """Make sure that attributions and expected value sum to the margin, in every row and for every output.

    Args:
        values: shape (rows, outputs, features).
        expected: shape (outputs,).
        margins: shape (rows, outputs).

    Raises:
        QuartetError: the error exceeds `TOLERANCE` times what is summed, `|expected| + sum |values|` (at least
            `SMALLEST_SCALE`), or is not a number. Relative to the terms and not to the sum: single precision loses
            their digits, and a margin near zero may be the sum of large terms that cancel.
    """
    sums = values.sum(axis=2, dtype=np.float64) + expected
    scale = np.abs(values).sum(axis=2, dtype=np.float64) + np.abs(expected)
    error = np.abs(sums - margins) / np.maximum(scale, SMALLEST_SCALE)
    if bool((error <= TOLERANCE).all()):
        return
    row, output = np.unravel_index(np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape)
    raise QuartetError(
        f"attributions do not add up: in row {row + 1} of a batch, output {output}, they and the expected value sum to "
        f"{sums[row, output]:.6g} where the model's margin is {margins[row, output]:.6g}. "
        "Nothing was written; try the other method, and report this with the model."
    )
