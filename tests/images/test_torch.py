"""The image with a network in the place of trees; skipped where pip does not find its wheel, which no index has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import build
from tests.images.containers import USERS, Done, Jobs, Start
from tests.images.variants import NUMBERS, TORCH, Training, channels, prepared, scored, starter

HYPERPARAMETERS = {
    "framework": "torch",
    "target": "late",
    "ids": '["flight"]',
    **TORCH,
}


@pytest.fixture(scope="module")
def torch(engine: Any, image_named: Callable[[str], build.Image]) -> Start:
    """Start the image, built with the wheel that this machine's pip finds."""
    return starter(engine, image_named("torch-cpu").local)


@pytest.fixture(scope="module")
def trained(torch: Start, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A training job as root, and what it left."""
    return job(torch, tmp_path_factory.mktemp("torch"), "root")


def job(start: Start, root: Path, user: str) -> Done:
    root.chmod(0o755)
    (root / "job").mkdir()
    return Jobs(start, root / "job", USERS[user]).training("algorithm", channels(root), HYPERPARAMETERS)


def test_it_trains_a_network_without_a_network(trained: Done) -> None:
    evaluation = json.loads((trained.outputs["data"] / "evaluation.json").read_text())

    assert trained.code == 0, trained.said
    assert "WARNING" not in trained.said.upper().replace("NO CHANNEL", "")
    assert {"model.safetensors", "network.json", "manifest.json"} <= {
        path.name for path in trained.outputs["model"].iterdir()
    }
    assert evaluation["metrics"]["validation:auc"] > 0.8


def test_anybody_trains_the_same_network(torch: Start, trained: Done, tmp_path: Path) -> None:
    done = job(torch, tmp_path, "anybody")

    assert done.code == 0, done.said
    assert (done.outputs["model"] / "model.safetensors").read_bytes() == (
        trained.outputs["model"] / "model.safetensors"
    ).read_bytes()


def test_after_sigterm_another_container_goes_on_to_the_same_network(torch: Start, tmp_path: Path) -> None:
    longer = {**HYPERPARAMETERS, "num_round": "150", "early_stopping_rounds": "0"}
    (tmp_path / "alone").mkdir()
    (tmp_path / "stopped").mkdir()
    alone = Training(torch, tmp_path / "alone", longer, checkpoints=None)
    job = Training(torch, tmp_path / "stopped", longer)
    stopped = job.run("SIGTERM", "validation-logloss=", nano_cpus=500_000_000)
    left = job.made()

    assert (alone.run().code, stopped.code, left) == (0, 143, {}), stopped.said
    assert job.run().code == 0
    assert job.made() == alone.made()


def test_it_serves_what_the_network_says(torch: Start, trained: Done, tmp_path: Path) -> None:
    """The forward pass written out in numpy, from the weights in the artefact."""
    table = prepared(50)
    rows = table.select("flight", *NUMBERS).write_csv(include_header=False).encode()
    scores = np.array(scored(torch, trained.outputs["model"], rows, user=USERS["anybody"]))

    np.testing.assert_allclose(scores, forward(trained.outputs["model"], table), rtol=1e-5, atol=1e-6)


def forward(model: Path, table: Any) -> Any:
    """Scores of a network with one hidden layer, without torch."""
    weights = tensors(model / "model.safetensors")
    rows = (table.select(NUMBERS).to_numpy().astype(np.float32) - weights["mean"]) / weights["scale"]
    first, last = sorted({name.rpartition(".")[0] for name in weights if name.startswith("layers.")})
    hidden = np.maximum(rows @ weights[f"{first}.weight"].T + weights[f"{first}.bias"], 0)
    margin = (hidden @ weights[f"{last}.weight"].T + weights[f"{last}.bias"])[:, 0]
    return 1 / (1 + np.exp(-margin))


def tensors(path: Path) -> dict[str, Any]:
    """A safetensors file: eight bytes with the header's size, the header as JSON, then the numbers."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, told in header.items():
        start, end = (8 + size + offset for offset in told["data_offsets"])
        assert told["dtype"] == "F32"
        found[name] = np.frombuffer(content[start:end], np.float32).reshape(told["shape"])
    return found


def test_it_tries_itself(torch: Start) -> None:
    with torch("algorithm", ["selftest"]) as container:
        done = container.ended(300)

    assert done.code == 0, done.said
    assert "torch" in done.said


def test_trees_are_refused_with_the_way_out(torch: Start, tmp_path: Path) -> None:
    """It has no XGBoost, and says so instead of failing at an import."""
    (tmp_path / "job").mkdir()
    trees = {**HYPERPARAMETERS, "framework": "xgboost"}
    done = Jobs(torch, tmp_path / "job", USERS["root"]).training("algorithm", channels(tmp_path), trees)

    assert done.code == 2
    assert "framework 'xgboost' is not installed here" in done.failure
    assert "Traceback" not in done.said
