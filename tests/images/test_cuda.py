"""The image for NVIDIA devices, mostly on machines without one: it starts, trains and serves there all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import build
from components.spec import specs
from tests.images.containers import USERS, Done, Jobs, Start
from tests.images.variants import NUMBERS, channels, image_of, prepared, scored, starter

FALLBACK = "device cuda is not there"
HYPERPARAMETERS = {"target": "late", "ids": '["flight"]', "num_round": "20", "max_depth": "3", "nthread": "1"}
FULL_OF_DEVICES = {"device_requests": [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]}


@pytest.fixture(scope="module")
def image(engine: Any, image_named: Callable[[str], build.Image]) -> Any:
    return engine.images.get(image_named("xgboost-cuda").local)


@pytest.fixture(scope="module")
def cuda(engine: Any, image: Any) -> Start:
    return starter(engine, image.id)


@pytest.fixture(scope="module")
def cpu(engine: Any) -> Start:
    return starter(engine, image_of("xgboost-cpu").local)


def trained(start: Start, root: Path, device: str, **options: Any) -> Done:
    user = options.pop("user", USERS["root"])
    (root / "job").mkdir(parents=True)
    jobs = Jobs(start, root / "job", user)
    return jobs.training("algorithm", channels(root), {**HYPERPARAMETERS, "device": device}, **options)


def rows(count: int) -> bytes:
    return prepared(count).select("flight", *NUMBERS).write_csv(include_header=False).encode()


def test_it_is_labelled_and_asks_the_runtime_for_devices(image: Any) -> None:
    environment = dict(item.split("=", 1) for item in image.attrs["Config"]["Env"])

    assert image.labels["quartet.component"] == "algorithm"
    assert image.labels["quartet.variant"] == "xgboost-cuda"
    assert image.labels["org.opencontainers.image.base.name"] == specs()["algorithm"].variants["xgboost-cuda"].base
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    # With it NVIDIA's runtime would not start the container where the driver is older, and the CPU could not be used.
    assert "NVIDIA_REQUIRE_CUDA" not in environment


def test_its_xgboost_was_built_with_cuda_12_and_opens_nccl_only_when_it_needs_it(engine: Any, image: Any) -> None:
    """NCCL is for several devices at once and left out, which XGBoost bears because it does not link to it."""
    script = "import json, xgboost; print(json.dumps(xgboost.build_info()))"
    code, said = build.run(engine, image.id, ["-P", "-c", script], entrypoint=["/opt/venv/bin/python"])
    info = json.loads(said.splitlines()[-1])

    assert code == 0, said
    assert info["USE_CUDA"] is True
    assert info["CUDA_VERSION"][0] == 12
    assert info["USE_DLOPEN_NCCL"] is True


@pytest.mark.parametrize("user", USERS)
def test_without_a_device_it_trains_on_the_cpu_and_says_so_once(cuda: Start, tmp_path: Path, user: str) -> None:
    done = trained(cuda, tmp_path, "cuda", user=USERS[user])
    told = [line for line in done.said.splitlines() if FALLBACK in line]

    assert done.code == 0, done.said
    assert len(told) == 1
    assert told[0].endswith("Training on the CPU.")
    assert "GPU" not in done.said
    assert "Traceback" not in done.said
    assert json.loads((done.outputs["data"] / "evaluation.json").read_text())["metrics"]["validation:auc"] > 0.8


def test_a_device_without_a_driver_is_no_device(cuda: Start, tmp_path: Path) -> None:
    """A node below /dev is no proof: the driver may be older than CUDA 12, as on batch transform's hosts."""
    done = trained(cuda, tmp_path, "cuda", devices=["/dev/null:/dev/nvidia0:rw"])

    assert done.code == 0, done.said
    assert done.said.count(FALLBACK) == 1


def test_it_leaves_the_same_trees_and_serves_the_same_scores_as_the_cpu_image(
    cuda: Start, cpu: Start, tmp_path: Path
) -> None:
    """Two builds of one release of XGBoost: scores equal within the precision of float32."""
    here = trained(cuda, tmp_path / "cuda", "cuda")
    there = trained(cpu, tmp_path / "cpu", "cpu")
    scores = {
        name: np.array(scored(start, done.outputs["model"], rows(200), user=USERS["anybody"]))
        for name, start, done in (("here", cuda, here), ("there", cpu, there), ("crossed", cpu, here))
    }

    assert np.ptp(scores["there"]) > 0.5
    np.testing.assert_allclose(scores["here"], scores["there"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(scores["crossed"], scores["here"], rtol=1e-6, atol=1e-6)


@pytest.mark.cuda
def test_with_a_device_it_trains_there(cuda: Start, tmp_path: Path) -> None:
    """Docker's way to devices, which needs NVIDIA's container toolkit. The scores are compared in tests/components."""
    done = trained(cuda, tmp_path, "cuda", **FULL_OF_DEVICES)

    assert done.code == 0, done.said
    assert FALLBACK not in done.said
    assert json.loads((done.outputs["data"] / "evaluation.json").read_text())["metrics"]["validation:auc"] > 0.8
