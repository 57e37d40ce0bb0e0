"""A small network for tables in PyTorch: training and scoring. The only module that imports torch."""

from __future__ import annotations

import copy
import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes

from components.algorithm.checkpoints import Checkpoints, Files, origin_of
from components.algorithm.evaluation import ROUND_METRICS
from components.algorithm.model import Fitted, Progress
from components.algorithm.rows import Floats, Rows, Tables, class_weights, sample
from components.algorithm.settings import AlgorithmSettings, Task
from components.algorithm.stop import postponed
from shared.artefact import Artefact
from shared.errors import ArtefactError, DataError
from shared.files import read_json, write_json

WEIGHTS: Final = "model.safetensors"
SHAPE: Final = "network.json"
STATE: Final = "state.safetensors"
LIBRARIES: Final = ("numpy", "safetensors", "torch")
SCORING_ROWS: Final = 16_384
"""Rows that are scored at once, so that memory does not grow with the data."""


@dataclass(frozen=True)
class Shape:
    """What a network looks like; with its weights, all that is needed to rebuild it.

    Attributes:
        inputs: features.
        masked: positions of the features that were missing somewhere in training: each has a second input that is 1
            where it is missing. A missing value itself becomes the feature's mean.
        hidden: units of each hidden layer.
        outputs: 1, or one a class.
        dropout: share of hidden units left out in training.
    """

    task: Task
    inputs: int
    masked: tuple[int, ...]
    hidden: tuple[int, ...]
    outputs: int
    dropout: float


class Network(torch.nn.Module):  # type: ignore[misc]  # torch counts as untyped, so that a machine without it agrees
    """Standardised inputs, hidden layers of linear, ReLU and dropout, one linear layer at the end.

    The means and scales of features and target are part of the weights, so the network takes and gives plain values.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape.inputs))
        self.register_buffer("scale", torch.ones(shape.inputs))
        self.register_buffer("target_mean", torch.zeros(()))
        self.register_buffer("target_scale", torch.ones(()))
        self.masked = list(shape.masked)
        layers: list[Any] = []
        width = shape.inputs + len(shape.masked)
        for units in shape.hidden:
            layers += [torch.nn.Linear(width, units), torch.nn.ReLU(), torch.nn.Dropout(shape.dropout)]
            width = units
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(width, shape.outputs))
        self.single = shape.outputs == 1

    def forward(self, features: Any) -> Any:
        """Margins, shape (rows,) or (rows, classes), of features, shape (rows, inputs), NaN where missing."""
        absent = torch.isnan(features)
        standard = torch.where(absent, 0.0, (features - self.mean) / self.scale)
        inputs = torch.cat([standard, absent[:, self.masked].to(standard.dtype)], dim=1)
        margin = self.layers(inputs)
        return margin[:, 0] * self.target_scale + self.target_mean if self.single else margin


class Scorer:
    """A trained network that answers rows."""

    def __init__(self, network: Network, shape: Shape) -> None:
        # In double precision the last digit of a score no longer depends on how many rows are scored together.
        self.network = copy.deepcopy(network).to("cpu").double().eval()
        self.shape = shape

    def margins(self, features: Floats) -> Floats:
        """Log odds, predicted number, or unnormalised log probabilities."""
        return self._scored(features, linked=False)

    def predictions(self, features: Floats) -> Floats:
        """Probability of label 1, predicted number, or class probabilities."""
        return self._scored(features, linked=True)

    def _scored(self, features: Floats, *, linked: bool) -> Floats:
        parts = []
        with torch.inference_mode():
            for start in range(0, max(len(features), 1), SCORING_ROWS):
                rows = torch.from_numpy(features[start : start + SCORING_ROWS]).double()
                margin = self.network(rows)
                parts.append((link(margin, self.shape.task) if linked else margin).float().numpy())
        return np.concatenate(parts)


def link(margin: Any, task: Task) -> Any:
    """Probabilities of margins; numbers stay as they are."""
    if task == "binary":
        return torch.sigmoid(margin)
    return torch.softmax(margin, dim=1) if task == "multiclass" else margin


def fit(tables: Tables, settings: AlgorithmSettings, log: logging.Logger, folder: Path | None = None) -> Fitted:
    """Train until the epochs are over or the validation rows gain nothing more; the best epoch's weights are kept.

    Args:
        tables: rows to learn from and, if there are any, rows to stop by.
        settings: what to train.
        log: gets one line for each metric of each epoch.
        folder: where checkpoints lie, if there are to be any.

    Raises:
        DataError: the loss is no number any more.
        Stopped: a signal came, and there is a checkpoint to go on from.
    """
    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    threads = settings.nthread or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    try:
        device = device_of(settings.device, log)
        origin = {} if folder is None else origin_of(tables, settings, LIBRARIES, threads=threads, device=device)
        # The generator of the process is put back afterwards: who called us may draw from it too.
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            return learned(tables, settings, device, Checkpoints(folder, origin, log), log)
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(mode=deterministic)


def learned(
    tables: Tables, settings: AlgorithmSettings, device: str, checkpoints: Checkpoints, log: logging.Logger
) -> Fitted:
    """The epochs. Raises as `fit`."""
    if device == "cuda":
        # Deterministic products of matrices on a device need a workspace of fixed size, or torch refuses them
        # (https://docs.nvidia.com/cuda/cublas/#results-reproducibility).
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    shape = shape_of(tables, settings)
    network = Network(shape)
    standardise(network, tables.train, shape.task)
    network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)
    rows = tensors(tables.train, row_weights(tables, settings), device)
    progress = Progress(settings.metrics, settings.early_stopping_rounds, log)
    best = copy.deepcopy(network.state_dict())
    found = checkpoints.newest()
    if found is not None:
        progress.resume(found.progress)
        best = resume(found.files, network, optimiser)
    with postponed() as stop:
        while progress.rounds < settings.num_round and not progress.over:
            one_epoch(network, optimiser, rows, shape.task, settings.batch_size)
            progress.ended(round_metrics(network, shape, tables, settings.metrics))
            if progress.best_round == progress.rounds - 1:
                best = copy.deepcopy(network.state_dict())
            if checkpoints.after_round(progress, stop, partial(state, network, optimiser, best)):
                break
    network.load_state_dict(best)
    return Fitted(
        model=Scorer(network, shape),
        curves=progress.curves,
        best_round=progress.best_round,
        save=lambda folder: save(network, shape, folder),
        libraries=LIBRARIES,
        stopped=stop.signum,
    )


def state(network: Network, optimiser: Any, best: Mapping[str, Any]) -> Files:
    """All that the next epoch depends on: weights, the best ones, the optimiser's moments, and the random numbers."""
    moments = optimiser.state_dict()["state"]
    held = {
        **{f"network.{name}": tensor for name, tensor in network.state_dict().items()},
        **{f"best.{name}": tensor for name, tensor in best.items()},
        **{f"optimiser.{index}.{name}": tensor for index, own in moments.items() for name, tensor in own.items()},
        "random.cpu": torch.get_rng_state(),
    }
    if next(network.parameters()).is_cuda:
        held["random.cuda"] = torch.cuda.get_rng_state()
    return {STATE: as_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in held.items()})}


def resume(files: Files, network: Network, optimiser: Any) -> Mapping[str, Any]:
    """Put the network, its optimiser and the random numbers where `state` found them.

    Returns:
        The best weights.
    """
    held = from_bytes(files[STATE])
    network.load_state_dict(below(held, "network"))
    moments: dict[int, dict[str, Any]] = {}
    for name, tensor in below(held, "optimiser").items():
        index, _, moment = name.partition(".")
        moments.setdefault(int(index), {})[moment] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    random = below(held, "random")
    torch.set_rng_state(random["cpu"])
    if "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"])
    return below(held, "best")


def below(held: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names begin with a prefix, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in held.items() if name.startswith(f"{prefix}.")}


def device_of(wanted: str, log: logging.Logger) -> str:
    """The device that is there: `cpu`, said in the log, where `cuda` was wanted and is missing."""
    with warnings.catch_warnings():
        # What torch says of a driver that is too old is said below.
        warnings.simplefilter("ignore")
        there = wanted == "cuda" and torch.cuda.is_available()
    if wanted == "cuda" and not there:
        log.warning("device cuda is not there: torch finds no NVIDIA device that it can use. Training on the CPU.")
        return "cpu"
    return wanted


def shape_of(tables: Tables, settings: AlgorithmSettings) -> Shape:
    """The network that the settings and the data ask for."""
    partial = np.flatnonzero(np.isnan(tables.train.features).any(axis=0))
    return Shape(
        task=settings.task,
        inputs=tables.train.features.shape[1],
        masked=tuple(int(position) for position in partial),
        hidden=settings.hidden,
        outputs=tables.classes if settings.task == "multiclass" else 1,
        dropout=settings.dropout,
    )


def standardise(network: Network, rows: Rows, task: Task) -> None:
    """Set the network's means and scales from the training rows; a constant column has scale 1."""
    mean, scale = moments(rows.features)
    network.mean.copy_(torch.from_numpy(mean))
    network.scale.copy_(torch.from_numpy(scale))
    if task == "regression":
        target_mean, target_scale = moments(rows.target[:, None])
        network.target_mean.fill_(float(target_mean[0]))
        network.target_scale.fill_(float(target_scale[0]))


def moments(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column, missing values left out, shape (columns,) each; 1 for 0."""
    doubles = values.astype(np.float64)
    spread = np.nanstd(doubles, axis=0)
    return np.nanmean(doubles, axis=0).astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32)


def row_weights(tables: Tables, settings: AlgorithmSettings) -> Floats:
    """How much each training row counts, shape (rows,)."""
    weights = class_weights(tables.train.target, settings, tables.classes)
    if weights is not None:
        return weights
    return np.where(tables.train.target == 1, settings.scale_pos_weight, 1.0).astype(np.float32)


def tensors(rows: Rows, weights: Floats, device: str) -> tuple[Any, Any, Any]:
    """Features, target and weights on the device."""
    features, target, weight = (torch.from_numpy(array).to(device) for array in (rows.features, rows.target, weights))
    return features, target, weight


def one_epoch(network: Network, optimiser: Any, rows: tuple[Any, Any, Any], task: Task, batch_size: int) -> None:
    """One pass over the rows in random order.

    Raises:
        DataError: the loss is no number any more.
    """
    features, target, weights = rows
    network.train()
    order = torch.randperm(len(target)).to(target.device)
    for chosen in order.split(batch_size):
        optimiser.zero_grad()
        losses = loss(network(features[chosen]), target[chosen], task, network)
        mean = (losses * weights[chosen]).sum() / weights[chosen].sum()
        mean.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    if not torch.isfinite(mean):
        raise DataError(
            "the network's loss is no number any more. Lower eta, or look for extreme values in the features."
        )


def loss(margin: Any, target: Any, task: Task, network: Network) -> Any:
    """Loss of each row, shape (rows,): log loss, or the squared error in units of the target's scale."""
    if task == "binary":
        return torch.nn.functional.binary_cross_entropy_with_logits(margin, target, reduction="none")
    if task == "multiclass":
        return torch.nn.functional.cross_entropy(margin, target.long(), reduction="none")
    return ((margin - target) / network.target_scale) ** 2


def round_metrics(
    network: Network, shape: Shape, tables: Tables, metrics: tuple[str, ...]
) -> Mapping[str, Mapping[str, float]]:
    """Metrics of the network as it is now, by channel."""
    scorer = Scorer(network, shape)
    measured = {}
    for name, rows in (("train", sample(tables.train)), ("validation", tables.validation)):
        if rows is not None:
            predicted = scorer.predictions(rows.features)
            measured[name] = {metric: ROUND_METRICS[metric](rows.target, predicted) for metric in metrics}
    return measured


def save(network: Network, shape: Shape, folder: Path) -> None:
    """Write the weights as safetensors and the shape as JSON."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # safetensors itself makes a file that nobody else may read, so that only the user who trained could serve.
    (folder / WEIGHTS).write_bytes(as_bytes(weights))
    write_json(folder / SHAPE, asdict(shape))


def load(artefact: Artefact) -> Scorer:
    """The network of an artefact.

    Raises:
        ArtefactError: the files are not what `save` writes, or the network is over other features.
    """
    # Rows of one request are too little work for more than one thread.
    torch.set_num_threads(1)
    try:
        told = read_json(artefact.file(SHAPE), "model file")
        shape = Shape(**{**told, "masked": tuple(told["masked"]), "hidden": tuple(told["hidden"])})
        network = Network(shape)
        network.load_state_dict(load_file(artefact.file(WEIGHTS)))
    except (DataError, SafetensorError, RuntimeError, TypeError, KeyError, OSError, json.JSONDecodeError) as error:
        told_by = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtefactError(f"model files {WEIGHTS} and {SHAPE} are no network: {told_by}. Train again.") from None
    if shape.inputs != len(artefact.schema.features):
        raise ArtefactError(
            f"model file {SHAPE} is over {shape.inputs} features, its manifest over {len(artefact.schema.features)}. "
            "Train again."
        )
    return Scorer(network, shape)
