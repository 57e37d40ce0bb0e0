"""XGBoost: training with histograms, and scoring."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from components.algorithm import trees
from components.algorithm.checkpoints import Checkpoint, Checkpoints, Files, origin_of
from components.algorithm.model import Fitted, Progress
from components.algorithm.rows import Floats, Rows, Tables, class_weights, sample
from components.algorithm.settings import AlgorithmSettings
from components.algorithm.stop import Stop, postponed
from shared.artefact import Artefact
from shared.errors import ArtefactError, SettingsError
from shared.imports import XGBOOST_EXTRAS, without

with without(*XGBOOST_EXTRAS):
    import xgboost as xgb

log = logging.getLogger("algorithm")

FILE: Final = "model.ubj"
STATE: Final = "state.json"
LIBRARIES: Final = ("numpy", "xgboost", "xgboost-cpu", "xgboost-cu12")
FORBIDDEN: Final = ("[", "]", "<")
"""Characters that XGBoost refuses in feature names."""
FEW_ROWS: Final = 8
"""Up to so many rows the numpy walk is quicker than a call into XGBoost, which has a large cost of its own."""
TOLERANCE: Final = 1e-6
KEEPS_RANDOM_STATE: Final = (3, 3)
"""The XGBoost whose state first holds that of its random numbers (Context::ToJson in src/context.cc)."""


class Booster:
    """A booster that answers a few rows by walking its trees in numpy and many rows by itself.

    Args:
        booster: the trained trees.
        walk: the same trees as arrays; None when the booster is one that the walk does not know.
    """

    def __init__(self, booster: xgb.Booster, walk: trees.Forest | None = None) -> None:
        # More than one thread costs more than it brings on rows of one request, and hangs after a fork
        # (https://github.com/dmlc/xgboost/issues/8040).
        booster.set_param({"nthread": 1, "device": "cpu"})
        self.booster = booster
        self.walk = walk

    def predictions(self, features: Floats) -> Floats:
        """Probability of label 1, predicted number, or class probabilities."""
        if self.walk is None:
            return self.inplace(features, "value")
        # One link for both ways, so that a score does not depend on how many rows were sent with it.
        return trees.linked(self.margins(features), self.walk.link)

    def margins(self, features: Floats) -> Floats:
        """The sum of the trees' leaves and the intercept."""
        if self.walk is not None and len(features) <= FEW_ROWS:
            return trees.margins(self.walk, features)
        return self.inplace(features, "margin")

    def inplace(self, features: Floats, kind: str) -> Floats:
        """XGBoost's own answer: `value` for predictions, `margin` for margins."""
        # Names are compared once, at load; here the order of the columns is the contract.
        answer = self.booster.inplace_predict(features, predict_type=kind, validate_features=False)
        return np.asarray(answer, dtype=np.float32)


def fit(tables: Tables, settings: AlgorithmSettings, log: logging.Logger, folder: Path | None = None) -> Fitted:
    """Train until the rounds are over or the validation rows gain nothing more; the best round is kept.

    Args:
        tables: rows to learn from and, if there are any, rows to stop by.
        settings: what to train.
        log: gets one line for each metric of each round.
        folder: where checkpoints lie, if there are to be any.

    Raises:
        SettingsError: XGBoost refuses a combination of settings.
        Stopped: a signal came, and there is a checkpoint to go on from.
    """
    threads = settings.nthread or len(os.sched_getaffinity(0))
    chosen = parameters(settings, tables.classes, threads, log)
    if folder is not None and (why := inexact(chosen)):
        log.warning("no checkpoints: training could not go on exactly as it was, because %s.", why)
        folder = None
    weights = class_weights(tables.train.target, settings, tables.classes)
    # XGBoost takes the rows through callbacks from C, and an exception that a signal's handler raises inside such a
    # callback is printed and forgotten: what follows is an error about the rows, or training that nothing stops.
    with postponed():
        train = matrix(tables.train, tables.schema.features, settings, threads, weights=weights)
        # Measuring every training row after every round would take as long as training on them.
        seen = sample(tables.train)
        measured = (
            train if seen is tables.train else matrix(seen, tables.schema.features, settings, threads, reference=train)
        )
        watched = [(measured, "train")]
        if tables.validation is not None:
            checked = matrix(tables.validation, tables.schema.features, settings, threads, reference=train)
            watched.append((checked, "validation"))
    progress = Progress(settings.metrics, settings.early_stopping_rounds, log)
    made_by = {} if folder is None else origin_of(tables, settings, LIBRARIES, threads=threads, device=chosen["device"])
    checkpoints = Checkpoints(folder, made_by, log)
    found = checkpoints.newest()
    if found is not None:
        progress.resume(found.progress)
    try:
        with postponed() as stop:
            booster = xgb.train(
                chosen,
                train,
                0 if progress.over else settings.num_round - progress.rounds,
                evals=watched,
                verbose_eval=False,
                xgb_model=None if found is None else resumed(found, chosen),
                callbacks=[Watch(progress, checkpoints, stop)],
            )
    except xgb.core.XGBoostError as error:
        raise SettingsError(f"XGBoost cannot train with these settings: {reason(error)}.") from None
    kept = booster[: progress.best_round + 1]
    return Fitted(
        model=opened(kept),
        curves=progress.curves,
        best_round=progress.best_round,
        save=lambda folder: save(kept, folder),
        libraries=LIBRARIES,
        gain=gains(kept, tables.schema.features),
        stopped=stop.signum,
    )


class Watch(xgb.callback.TrainingCallback):
    """Hands each round's metrics to `Progress`, and the trees so far to `Checkpoints`."""

    def __init__(self, progress: Progress, checkpoints: Checkpoints, stop: Stop) -> None:
        super().__init__()
        self._progress = progress
        self._checkpoints = checkpoints
        self._stop = stop

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Whether training should stop after this round."""
        over = self._progress.ended(
            {rows: {metric: values[-1] for metric, values in metrics.items()} for rows, metrics in evals_log.items()}
        )
        return self._checkpoints.after_round(self._progress, self._stop, lambda: state(model)) or over


def inexact(parameters: Mapping[str, Any]) -> str | None:
    """Why training that goes on from a checkpoint would end in another model; None when it ends in the same."""
    if parameters["device"] != "cpu":
        # A row's leaves are added one by one while it trains, but for a model that was loaded their sum is
        # (PredictKernel in src/predictor/gpu_predictor.cu): the last digits differ, and soon a split does.
        return "XGBoost adds up a loaded model's trees in another order on a device"
    random = parameters["subsample"] < 1 or parameters["colsample_bytree"] < 1
    if random and tuple(int(part) for part in xgb.__version__.split(".")[:2]) < KEEPS_RANDOM_STATE:
        return f"XGBoost {xgb.__version__} forgets where its random numbers were; 3.3 and later do not"
    return None


def state(booster: xgb.Booster) -> Files:
    """All that XGBoost needs to go on: the trees, and its configuration with the state of its random numbers."""
    return {FILE: bytes(booster.save_raw("ubj")), STATE: booster.save_config().encode()}


def resumed(checkpoint: Checkpoint, parameters: Mapping[str, Any]) -> xgb.Booster:
    """The booster of a checkpoint, as it was after its last round."""
    booster = xgb.Booster(dict(parameters))
    booster.load_model(bytearray(checkpoint.files[FILE]))
    booster.load_config(checkpoint.files[STATE].decode())
    return booster


def parameters(settings: AlgorithmSettings, classes: int, threads: int, log: logging.Logger) -> dict[str, Any]:
    """The settings as XGBoost's parameters."""
    chosen: dict[str, Any] = {
        "objective": settings.objective,
        "eval_metric": list(settings.metrics),
        "tree_method": "hist",
        "device": device(settings.device, log),
        "seed": settings.seed,
        "nthread": threads,
        "verbosity": 0,
        "eta": settings.rate,
        "max_depth": settings.max_depth,
        "min_child_weight": settings.min_child_weight,
        "gamma": settings.gamma,
        "subsample": settings.subsample,
        "colsample_bytree": settings.colsample_bytree,
        "lambda": settings.reg_lambda,
        "alpha": settings.reg_alpha,
        "max_bin": settings.max_bin,
    }
    if settings.task == "multiclass":
        chosen["num_class"] = classes
    if settings.scale_pos_weight != 1:
        chosen["scale_pos_weight"] = settings.scale_pos_weight
    return chosen


def device(wanted: str, log: logging.Logger) -> str:
    """The device that is there: `cpu`, said in the log, where `cuda` was wanted and is missing."""
    if wanted == "cpu":
        return "cpu"
    if not xgb.build_info().get("USE_CUDA"):
        log.warning("device cuda is not there: this xgboost was built without CUDA. Training on the CPU.")
        return "cpu"
    if not reached():
        log.warning("device cuda is not there: XGBoost finds no NVIDIA device that it can use. Training on the CPU.")
        return "cpu"
    return "cuda"


def reached() -> bool:
    """Whether XGBoost trains on an NVIDIA device here, tried on two rows.

    Asked of XGBoost itself, which takes the CPU without a word where it finds no device or its driver is too old.
    """
    rows = np.array([[0.0], [1.0]], dtype=np.float32)
    try:
        with xgb.config_context(verbosity=0):
            tried = xgb.train({"device": "cuda", "tree_method": "hist"}, xgb.DMatrix(rows, rows[:, 0]), 1)
            found: str = json.loads(tried.save_config())["learner"]["generic_param"]["device"]
    except xgb.core.XGBoostError:
        return False
    return found.startswith("cuda")


def matrix(
    rows: Rows,
    features: tuple[str, ...],
    settings: AlgorithmSettings,
    threads: int,
    *,
    weights: Floats | None = None,
    reference: xgb.QuantileDMatrix | None = None,
) -> xgb.QuantileDMatrix:
    """Rows as XGBoost's binned matrix; those of `reference` lend their bins to rows that are only measured on."""
    return xgb.QuantileDMatrix(
        rows.features,
        rows.target,
        weight=weights,
        feature_names=xgboost_names(features),
        nthread=threads,
        max_bin=settings.max_bin,
        ref=reference,
    )


def xgboost_names(features: tuple[str, ...]) -> list[str] | None:
    """The features' names, or None when XGBoost would refuse one: the manifest names them all the same."""
    if any(character in name for name in features for character in FORBIDDEN):
        return None
    return list(features)


def gains(booster: xgb.Booster, features: tuple[str, ...]) -> dict[str, float]:
    """Mean loss reduction of each feature's splits, 0 for a feature without a split."""
    scores = booster.get_score(importance_type="gain")
    keys = xgboost_names(features) or [f"f{index}" for index in range(len(features))]
    return {name: float(scores.get(key, 0.0)) for name, key in zip(features, keys, strict=True)}  # type: ignore[arg-type]  # one class, one number


def reason(error: Exception) -> str:
    """The sentence in an XGBoost error, without the C++ stack below it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "Check failed" in line), lines[0] if lines else type(error).__name__)
    return told.rpartition("Check failed: ")[2].rstrip(".")


def save(booster: xgb.Booster, folder: Path) -> None:
    """Write the trees as UBJSON."""
    booster.save_model(folder / FILE)


def load(artefact: Artefact) -> Booster:
    """The booster of an artefact.

    Raises:
        ArtefactError: the file is no booster, or one over other features.
    """
    booster = xgb.Booster()
    try:
        booster.load_model(artefact.file(FILE))
    except (xgb.core.XGBoostError, ValueError) as error:
        raise ArtefactError(f"model file {FILE} is no XGBoost model: {reason(error)}. Train again.") from None
    features = artefact.schema.features
    if booster.num_features() != len(features) or list(booster.feature_names or features) != list(features):
        raise ArtefactError(
            f"model file {FILE} is over {booster.num_features()} features that are not the {len(features)} of its "
            "manifest. Train again."
        )
    model = opened(booster)
    if model.walk is not None and not proven(model, model.walk, artefact):
        log.warning("the tree walk does not repeat this xgboost's scores: requests of a few rows will be slower.")
        model.walk = None
    return model


def proven(model: Booster, walk: trees.Forest, artefact: Artefact) -> bool:
    """Whether the walk gives what XGBoost gives on the rows of the artefact's golden batch."""
    inputs = artefact.golden.inputs
    rows = np.array([inputs[name] for name in artefact.schema.features], dtype=np.float32).T
    return np.allclose(trees.margins(walk, rows), model.inplace(rows, "margin"), rtol=TOLERANCE, atol=TOLERANCE)


def opened(booster: xgb.Booster) -> Booster:
    """The booster with its trees as arrays, where they are of the kind that the walk knows."""
    return Booster(booster, trees.forest(as_json(booster), lambda: intercept(booster)))


def as_json(booster: xgb.Booster) -> Mapping[str, Any]:
    """The booster's trees and parameters."""
    content: Mapping[str, Any] = json.loads(bytes(booster.save_raw(raw_format="json")))
    return content


def intercept(booster: xgb.Booster) -> Floats:
    """The margin before the first tree, shape (groups,).

    Asked of XGBoost, because its own logarithm of the base score may differ from numpy's in the last digit; and of one
    round with empty leaves, because XGBoost takes a model without any tree for an untrained one.
    """
    bare = xgb.Booster({"nthread": 1})
    bare.load_model(bytearray(json.dumps(trees.levelled(as_json(booster[:1]))).encode()))
    row = np.full((1, bare.num_features()), np.nan, dtype=np.float32)
    return np.asarray(bare.inplace_predict(row, predict_type="margin"), dtype=np.float32).reshape(-1)
