"""Real clients at work on the images, and the same jobs run by the engine itself, which says what has to come out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker.errors
import pytest

import build
from components.spec import NAMES, specs
from pipelines.graph import ProcessingJob, TrainingJob, training_graph
from pipelines.manifest import read_manifest
from shared.carrier.client import free_port
from tests.aws.cloud import Cloud, serving_cloud
from tests.aws.data import CALM, DRIFTED, MANIFEST, Flights, flights_in
from tests.images.conftest import engine, image_named, listen, start
from tests.images.containers import Jobs, Start, outputs_of

__all__ = ["engine", "image_named", "listen", "start"]

HERE: Final = Path(__file__).parent
SDKS: Final = ("v2", "v3")
LONGEST_S: Final = 900
NETWORK: Final = "sagemaker-local"
"""What local mode calls the network of its containers."""
WORKING_DIR: Final = "com.docker.compose.project.working_dir"
"""Docker compose's label with the folder of its file."""


@pytest.fixture(scope="session")
def manifest() -> dict[str, dict[str, Any]]:
    """By component, the settings (for the algorithm: hyperparameters) of mode train, which hold for serve as well."""
    jobs = training_graph(read_manifest(MANIFEST).manifest, specs()).jobs
    settings = {job.name: dict(job.settings) for job in jobs if isinstance(job, ProcessingJob)}
    return settings | {job.name: dict(job.hyperparameters) for job in jobs if isinstance(job, TrainingJob)}


@pytest.fixture(scope="session")
def account() -> Iterator[Cloud]:
    """An account of the clients' own, so that what lies in it is theirs."""
    with serving_cloud() as cloud:
        yield cloud


@pytest.fixture(scope="session")
def raw(account: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Flights:
    """The flights, on this machine and in S3."""
    return flights_in(account, tmp_path_factory.mktemp("flights"))


@dataclass(frozen=True)
class Client:
    """A client that has done its work."""

    result: Mapping[str, Any]
    storage: str
    """What the client wrote lies below this uri."""
    said: str


@pytest.fixture(scope="session")
def started(
    engine: Any,
    account: Cloud,
    raw: Flights,
    manifest: dict[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, tuple[Path, subprocess.Popen[bytes]]]]:
    """Both clients, side by side: they mostly wait, for servers to answer and for containers to end."""
    for component in ("processing", "monitoring"):
        account.put(f"{raw.storage}/config/{component}/settings.json", json.dumps(manifest[component]))
    for path in window(raw):
        account.put(f"{raw.storage}/window/{path.name}", path.read_bytes())
    root = tmp_path_factory.mktemp("clients")
    with network(engine), removed_containers(engine, root):
        programs: dict[str, tuple[Path, subprocess.Popen[bytes]]] = {}
        try:
            for sdk in SDKS:
                folder = root / sdk
                folder.mkdir()
                plan = {
                    "storage": raw.storage,
                    "images": {name: build.defaults(build.images(specs(), name))[0].local for name in NAMES},
                    "hyperparameters": manifest["algorithm"],
                    "period": CALM,
                    "periods": [CALM, DRIFTED],
                    "folder": str(folder),
                    "port": free_port(),
                }
                (folder / "plan.json").write_text(json.dumps(plan))
                programs[sdk] = (folder, client(sdk, folder, account))
            yield programs
        finally:
            for _, program in programs.values():
                stop(program)


def window(raw: Flights) -> list[Path]:
    """The files of the months that the use case trains on."""
    return [raw.folder / f"data/train/{month}.csv" for month in read_manifest(MANIFEST).manifest.data.train.periods]


def client(sdk: str, folder: Path, account: Cloud) -> subprocess.Popen[bytes]:
    """A client at work in a folder of its own."""
    mine = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    # The SDKs report their use to AWS. That ends at once at a closed port, and nothing leaves this machine. To opt out
    # in the SDK's configuration file costs v2 seconds a job, because it validates the file some twenty times for each.
    closed = {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    home = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
    }
    # v3 asks IAM whether the role exists.
    role = {"SAGEMAKER_VALIDATE_ROLE": "false"}
    program = (f"{sys.prefix}-sagemaker-{sdk}/bin/python", HERE / f"{sdk}_flights.py", "plan.json", "result.json")
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(
            program,
            cwd=folder,
            env=mine | account.environment | closed | home | role,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(program: subprocess.Popen[bytes]) -> None:
    """End a client that still works, and the docker compose that it may have started."""
    if program.poll() is None:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


@contextmanager
def network(engine: Any) -> Iterator[None]:
    """Local mode's network, made beforehand: two clients that make it at once would make two of one name."""
    there = engine.networks.list(names=[f"^{NETWORK}$"])
    made = None if there else engine.networks.create(NETWORK, labels={"com.docker.compose.network": NETWORK})
    try:
        yield
    finally:
        if made is not None:
            # Somebody else's containers may be on it by now: then it is theirs.
            with suppress(docker.errors.APIError):
                made.remove()


@contextmanager
def removed_containers(engine: Any, root: Path) -> Iterator[None]:
    """Remove the containers of compose files below a folder: local mode leaves all of its own behind."""
    try:
        yield
    finally:
        for container in engine.containers.list(all=True, filters={"label": WORKING_DIR}):
            if Path(container.labels[WORKING_DIR]).is_relative_to(root):
                container.remove(force=True, v=True)


@pytest.fixture(scope="session")
def clients(
    started: dict[str, tuple[Path, subprocess.Popen[bytes]]], reference: Reference, raw: Flights
) -> dict[str, Client]:
    """Both clients, when they have done. The reference is made while they work."""
    found = {}
    for sdk, (folder, program) in started.items():
        code = program.wait(LONGEST_S)
        said = (folder / "log.txt").read_text(errors="replace")

        assert code == 0, said[-5000:]
        found[sdk] = Client(json.loads((folder / "result.json").read_text()), f"{raw.storage}/{sdk}", said)
    return found


@dataclass(frozen=True)
class Reference:
    """What the images give when the engine runs them on the same data, by step and output."""

    release: dict[str, Path]
    served: dict[str, dict[str, Path]]
    scores: bytes


@pytest.fixture(scope="session")
def reference(
    started: object,
    start: Start,
    listen: Start,
    raw: Flights,
    manifest: dict[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Reference:
    """Both pipelines, one `docker run` after the other."""
    root = tmp_path_factory.mktemp("reference")
    jobs = Jobs(start, root, "0:0")

    def job(component: str, mode: str, **inputs: Path) -> dict[str, Path]:
        done = jobs.processing(component, inputs, outputs_of(component, mode), manifest[component] or None)
        assert done.code == 0, done.said
        return dict(done.outputs)

    data = raw.folder / "data"
    history = folder_of(root / "window", *window(raw))
    made = job("processing", "train", data=history)
    channels = {name: made[name] for name in ("train", "validation", "state")}
    fitted = jobs.training("algorithm", channels, manifest["algorithm"])
    assert fitted.code == 0, fitted.said
    model = fitted.outputs["model"]
    watch = job("monitoring", "train", data=history, model=model)
    explain = job("explainability", "train", data=made["train"], model=model)
    rows = folder_of(root / "rows", data / f"score/{CALM}.csv")
    ready = job("processing", "serve", data=rows, state=made["state"])
    (table,) = ready["data"].glob("*.csv")
    with listen("algorithm", model) as server:
        status, scores = server.ready().request(
            "POST", "/invocations", table.read_bytes(), Content_Type="text/csv", Accept="text/csv"
        )
    assert status == 200, scores
    (root / "scores").mkdir()
    (root / "scores" / f"{table.name}.out").write_bytes(scores)
    labels = folder_of(root / "labels", data / f"labels/{CALM}.csv")
    given = {"data": rows, "baseline": watch["baseline"], "scores": root / "scores", "labels": labels}
    served = {
        "processing": ready,
        "monitoring": job("monitoring", "serve", **given),
        "explainability": job(
            "explainability", "serve", data=ready["data"], model=model, explainer=explain["explainer"]
        ),
    }
    release = {"model": model, "state": made["state"], "baseline": watch["baseline"], "explainer": explain["explainer"]}
    return Reference(release, served, scores)


def folder_of(folder: Path, *files: Path) -> Path:
    """A folder with copies of files."""
    folder.mkdir()
    for path in files:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
