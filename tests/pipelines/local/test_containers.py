"""Jobs in containers: what Docker is told, and that it makes no difference to the scores."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.flights.prepare import prepare
from pipelines.local import containers
from pipelines.local.children import Work
from pipelines.manifest import Manifest
from shared.errors import SettingsError

ROOT = Path(__file__).parents[3]
FLIGHTS = "pipelines/flights/use-case.yaml"


def manifest(**changes: Any) -> Manifest:
    said = {"apiVersion": "quartet/v1", "name": "toy", "data": {"train": {"uri": "a.csv"}}, "components": {}}
    return Manifest.model_validate(said | changes)


def work(tree: Path, **changes: Any) -> Work:
    told: dict[str, Any] = {
        "name": "toy-processing-r1",
        "component": "processing",
        "image": "quartet/processing:cpu",
        "arguments": ("train",),
        "tree": tree,
        "mounts": {"/opt/ml/config": "ro", "/opt/ml/processing/output/train": "rw"},
        "environment": {"QUARTET_ETA": "0.1"},
        "threads": 2,
        "log": tree / "log.txt",
        "grace": 5.0,
    }
    return Work(**told | changes)


def options(command: tuple[str, ...], name: str) -> list[str]:
    """The values of an option that may be given more than once."""
    return [value for word, value in itertools.pairwise(command) if word == name]


def test_a_job_has_no_network_a_read_only_root_and_only_its_own_folders(tmp_path: Path) -> None:
    command = containers.command(work(tmp_path), "c1")

    assert command[:2] == ("docker", "run")
    assert {"--read-only", "--rm"} <= set(command)
    assert options(command, "--network") == ["none"]
    assert options(command, "--tmpfs") == ["/tmp"]
    assert options(command, "--mount") == [
        f"type=bind,source={tmp_path}/config,target=/opt/ml/config,readonly",
        f"type=bind,source={tmp_path}/processing/output/train,target=/opt/ml/processing/output/train",
    ]
    assert command[-2:] == ("quartet/processing:cpu", "train")


def test_a_server_is_reached_from_this_machine_alone(tmp_path: Path) -> None:
    command = containers.command(work(tmp_path, port=40001), "c1")

    assert options(command, "--publish") == ["127.0.0.1:40001:8080"]
    assert options(command, "--network") == []


def test_a_container_is_told_its_threads_and_its_own_variables_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUARTET_MAX_DEPTH", "9")
    monkeypatch.setenv("QUARTET_LOG", "json")
    told = options(containers.command(work(tmp_path), "c1"), "--env")

    assert {"OMP_NUM_THREADS=2", "QUARTET_ETA=0.1", "QUARTET_LOG=json"} <= set(told)
    assert not [variable for variable in told if variable.startswith(("QUARTET_MAX_DEPTH", "SAGEMAKER_BASE_DIR"))]


def test_the_image_is_the_manifests_or_the_first_variant_that_is_built_here() -> None:
    digest = f"sha256:{'0' * 64}"
    named = manifest(images={"monitoring": {"uri": "r/monitoring", "digest": digest}})

    assert containers.images_of(named, specs()) == {
        "processing": "quartet/processing:cpu",
        "algorithm": "quartet/algorithm:xgboost-cpu",
        "monitoring": f"r/monitoring@{digest}",
        "explainability": "quartet/explainability:cpu",
    }


def test_a_network_runs_in_the_networks_image() -> None:
    named = manifest(components={"algorithm": {"settings": {"framework": "torch"}}})

    assert containers.images_of(named, specs())["algorithm"] == "quartet/algorithm:torch-cpu"


def test_without_docker_the_other_way_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SettingsError, match=r"no program 'docker' here\. Install it, or run with --on process"):
        containers.here(["quartet/processing:cpu"])


@pytest.mark.docker
def test_an_image_that_is_not_here_is_named() -> None:
    with pytest.raises(SettingsError, match=r"no image 'quartet/nothing:at-all'. Build it with"):
        containers.here(["quartet/nothing:at-all"])


@pytest.fixture(scope="module")
def images() -> None:
    """The images of this checkout."""
    command = (sys.executable, "build.py", "build")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)

    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.docker
@pytest.mark.usefixtures("images")
def test_a_container_whose_job_is_cancelled_is_gone(tmp_path: Path) -> None:
    name = f"toy-{os.getpid()}"
    job = work(tmp_path, name=name, arguments=("sleep", "60"), mounts={}, grace=0.5)

    def ours() -> str:
        listing = ("docker", "ps", "--all", "--quiet", "--filter", f"label={containers.LABEL}={name}")
        return subprocess.run(listing, capture_output=True, text=True, check=True).stdout

    async def scenario() -> str:
        async with containers.Containers().started(job):
            while not (found := await asyncio.to_thread(ours)):
                await asyncio.sleep(0.1)
            return found

    assert asyncio.run(scenario())
    assert ours() == ""


@pytest.mark.docker
@pytest.mark.usefixtures("images")
def test_containers_and_processes_give_the_same_scores_byte_for_byte(tmp_path: Path) -> None:
    prepare(tmp_path / "data", rows=1000)
    command = [sys.executable, "-m", "pipelines", "run", FLIGHTS, "--storage", str(tmp_path), "--period", "2013-05"]
    for words in (
        # One release for both: other versions of the libraries than the image's may train another model.
        ("--run-id", "release", "--on", "docker", "--pipeline", "training"),
        ("--run-id", "docker", "--on", "docker", "--pipeline", "inference"),
        ("--run-id", "process", "--on", "process", "--pipeline", "inference"),
    ):
        done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    name = "algorithm/scores/part-0000-of-0001.csv.out"
    scores = (tmp_path / "inference/docker-2013-05" / name).read_bytes()
    assert scores.count(b"\n") == 1000
    assert (tmp_path / "inference/process-2013-05" / name).read_bytes() == scores
