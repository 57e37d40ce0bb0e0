"""What every framework hands back: a model that answers, and how it was fitted."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from components.algorithm.rows import Floats, Tables
from components.algorithm.settings import MAXIMISED, AlgorithmSettings, Framework
from shared.artefact import Artefact
from shared.errors import SettingsError

Array = NDArray[np.floating]
Curves = Mapping[str, Mapping[str, list[float]]]
"""Metrics by data set, metric and round: `{"validation": {"auc": [0.61, 0.64, …]}}`."""
MODULES: Final[Mapping[Framework, str]] = {
    "xgboost": "components.algorithm.booster",
    "torch": "components.algorithm.network",
}


class Model(Protocol):
    """Something that answers rows of features, float32 of shape (rows, features) with NaN for missing values."""

    def predictions(self, features: Floats) -> Floats:
        """Probability of label 1, or the predicted number, shape (rows,); or class probabilities, (rows, classes)."""

    def margins(self, features: Floats) -> Floats:
        """The same before the link function: log odds, linear predictor, or unnormalised log probabilities."""


@dataclass(frozen=True)
class Fitted:
    """A model and the story of its training.

    Attributes:
        curves: metrics by data set, metric and round.
        best_round: the round that was kept, from 0.
        gain: mean loss reduction of a feature's splits by feature, where the framework has such a thing.
        libraries: distributions whose versions matter when the model is used.
        stopped: the signal that ended the training before its time, if one did.
        save: writes the model's files into a folder.
    """

    model: Model
    curves: Curves
    best_round: int
    save: Callable[[Path], None]
    libraries: tuple[str, ...]
    gain: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    stopped: int | None = None

    @property
    def rounds(self) -> int:
        """How many rounds were run, those after the best one included."""
        return rounds_in(self.curves)


def rounds_in(curves: Curves) -> int:
    """How many rounds the curves tell of."""
    return max((len(values) for metrics in curves.values() for values in metrics.values()), default=0)


class FrameworkModule(Protocol):
    """What a framework's module holds."""

    def fit(
        self, tables: Tables, settings: AlgorithmSettings, log: logging.Logger, folder: Path | None = None
    ) -> Fitted:
        """Train, with checkpoints where there is a folder for them."""

    def load(self, artefact: Artefact) -> Model:
        """Open a model that `Fitted.save` wrote."""


def framework(name: Framework) -> FrameworkModule:
    """The module of a framework, imported only now because frameworks are slow to import.

    Raises:
        SettingsError: the framework is not installed here.
    """
    try:
        module: Any = importlib.import_module(MODULES[name])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in (name, "safetensors"):
            raise
        raise SettingsError(
            f"framework {name!r} is not installed here (no package {error.name!r}). "
            f"Use the image variant with it, or set framework to another of {sorted(set(MODULES) - {name})}."
        ) from None
    return module  # type: ignore[no-any-return]  # a module is checked by the tests, not by mypy


class Progress:
    """Metrics of each round: logged one a line, kept as curves, and asked when to stop.

    The last metric decides, on the validation rows. Without validation rows, or without patience, nothing is decided
    and every round is kept.
    """

    def __init__(self, metrics: tuple[str, ...], patience: int, log: logging.Logger) -> None:
        self.curves: dict[str, dict[str, list[float]]] = {}
        self.best_round = 0
        self._metric = metrics[-1]
        self._sign = 1.0 if self._metric.partition("@")[0] in MAXIMISED else -1.0
        self._patience = patience
        self._log = log

    @property
    def rounds(self) -> int:
        """How many rounds have ended."""
        return rounds_in(self.curves)

    @property
    def over(self) -> bool:
        """Whether patience is at its end: no round after the best one was better for too long."""
        return self._decides and self.rounds - 1 - self.best_round >= self._patience

    @property
    def _decides(self) -> bool:
        """Whether the rounds are compared."""
        return self._patience > 0 and self._metric in self.curves.get("validation", {})

    def ended(self, values: Mapping[str, Mapping[str, float]]) -> bool:
        """Note the metrics of the round that has just ended; whether training should stop now.

        Args:
            values: metric values by data set and metric.
        """
        for rows, metrics in values.items():
            for metric, value in metrics.items():
                self.curves.setdefault(rows, {}).setdefault(metric, []).append(value)
                # One metric a line, in the form that MetricDefinitions search for: validation-auc=([0-9\.eE+-]+);
                self._log.info("%s-%s=%.6g;", rows, metric, value)
        last = self.rounds - 1
        if last == 0 or not self._decides:
            self.best_round = last
            return False
        deciding = self.curves["validation"][self._metric]
        if self._sign * deciding[last] > self._sign * deciding[self.best_round]:
            self.best_round = last
        return self.over

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {"curves": self.curves, "best_round": self.best_round}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Be as it was when `state` gave this."""
        self.curves = {rows: dict(metrics) for rows, metrics in state["curves"].items()}
        self.best_round = state["best_round"]
