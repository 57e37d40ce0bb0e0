"""Containers as SageMaker starts them: each test's own, locked down, and gone at its end whatever happens.

Only what the engine runs is real here; the folders that a service would mount are made below `tmp_path`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

import build
from components.spec import NAMES, specs
from tests.images.containers import USERS, Container, Done, Jobs, Start, artefacts_of, outputs_of, packed
from tests.images.data import BASELINE, FEATURES, SETTINGS, Settings, production, training
from tests.images.variants import TORCH, built, image_of

ROOT: Final = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is here and asks for an image needs an engine."""
    for item in items:
        if "images" in item.path.parts and "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def engine() -> Any:
    """The engine, with the images of this checkout: built now, which takes a second where nothing changed."""
    client = build.engine()
    done = subprocess.run(
        (sys.executable, "build.py", "build"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=900
    )

    assert done.returncode == 0, done.stderr[-3000:]
    return client


@pytest.fixture(scope="session")
def image_named(engine: Any) -> Callable[[str], build.Image]:
    """A component's CPU image, or the algorithm's in a variant, built when it is first asked for.

    Skips where pip does not find the wheel that the variant wants, which no index has.
    """

    @cache
    def image(name: str) -> build.Image:
        if name in NAMES:
            return build.defaults(build.images(specs(), name))[0]
        found = image_of(name)
        based = subprocess.run(
            (ROOT / "engine/base", found.variant.base), capture_output=True, text=True, check=False, timeout=600
        )

        assert based.returncode == 0, based.stderr[-3000:]
        done, wheel = built(name), build.wheel_of(found)
        if wheel and f"pip found no {wheel}" in done.stderr + done.stdout:
            pytest.skip(f"pip finds no {wheel} on this machine: see wheelhouse/README.md")

        assert done.returncode == 0, done.stderr[-3000:]
        return found

    return image


@pytest.fixture(scope="session")
def start(engine: Any, image_named: Callable[[str], build.Image]) -> Start:
    """Start a container of an image, locked down; a context that removes it."""

    @contextmanager
    def started(name: str, command: Sequence[str] = (), **options: Any) -> Iterator[Container]:
        image = image_named(name).local
        container = engine.containers.create(image, list(command), **{**build.HARDENED, **options})
        try:
            container.start()
            yield Container(container)
        finally:
            container.remove(force=True)

    return started


@pytest.fixture(scope="session")
def listen(start: Start) -> Start:
    """Start a server, reached from this machine alone: like `start`, with a network and a port."""

    def listening(component: str, model: Path, **options: Any) -> Any:
        volumes = {str(model): {"bind": "/opt/ml/model", "mode": "ro"}}
        port = {"8080/tcp": ("127.0.0.1", None)}
        return start(component, ["serve"], **{"volumes": volumes, "network_mode": "bridge", "ports": port, **options})

    return listening


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with raw tables: `training` and `production`."""
    folder = tmp_path_factory.mktemp("raw")
    for name, table in (("training", training()), ("production", production())):
        (folder / name).mkdir()
        table.write_csv(folder / name / "data.csv")
    return folder


Runs = dict[str, Done]


@pytest.fixture(scope="session")
def runs_of(start: Start, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Runs]:
    """Both pipelines as a user, by `component mode`: run when they are first asked for, and once."""

    @cache
    def runs(user: str) -> Runs:
        root = tmp_path_factory.mktemp("runs")
        root.chmod(0o755)
        return both_pipelines(Jobs(start, root, user), raw)

    return runs


def both_pipelines(jobs: Jobs, raw: Path) -> Runs:
    """One job after the other; each must end well for the next."""
    root = jobs.root
    found: Runs = {}

    def kept(name: str, done: Done) -> Mapping[str, Path]:
        assert done.code == 0, f"{name}: {done.said}"
        found[name] = done
        return done.outputs

    def job(component: str, mode: str, inputs: Mapping[str, Path], settings: Settings | None = None) -> Any:
        return kept(f"{component} {mode}", jobs.processing(component, inputs, outputs_of(component, mode), settings))

    made = job("processing", "train", {"data": raw / "training"}, SETTINGS)
    channels = {name: made[name] for name in ("train", "validation", "state")}
    hyperparameters = {"num_round": "20", "max_depth": "3", "nthread": "1"}
    trained = kept("algorithm train", jobs.training("algorithm", channels, hyperparameters))
    model = packed(trained["model"], root / "packed")
    learnt = job("monitoring", "train", {"data": raw / "training"}, BASELINE)
    explained = job("explainability", "train", {"data": made["train"], "model": model})
    prepared = job("processing", "serve", {"data": raw / "production", "state": made["state"]})
    job("monitoring", "serve", {"data": raw / "production", "baseline": learnt["baseline"]})
    job(
        "explainability", "serve",
        {"data": prepared["data"], "model": model, "explainer": explained["explainer"]},
    )  # fmt: skip
    return found


@pytest.fixture(scope="session")
def served_of(
    start: Start, runs_of: Callable[[str], Runs], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """The folder that an image serves over HTTP, by the image's name and the user who trained it."""

    @cache
    def served(name: str, user: str) -> Path:
        runs = runs_of(user)
        if name in NAMES:
            return artefacts_of(runs)[name]
        root = tmp_path_factory.mktemp(name)
        root.chmod(0o755)
        made = runs["processing train"].outputs
        channels = {part: made[part] for part in ("train", "validation", "state")}
        done = Jobs(start, root, user).training(name, channels, {"framework": "torch", **TORCH})

        assert done.code == 0, done.said
        return done.outputs["model"]

    return served


@pytest.fixture
def runs(runs_of: Callable[[str], Runs]) -> Runs:
    """Both pipelines as root, which is how SageMaker starts images."""
    return runs_of(USERS["root"])


@pytest.fixture
def artefacts(runs: Runs) -> dict[str, Path]:
    """By component, the folder that it serves over HTTP."""
    return artefacts_of(runs)


@pytest.fixture
def requests_of(runs: Runs) -> dict[str, bytes]:
    """By image, rows that it answers over HTTP, without a header."""
    prepared = next(runs["processing serve"].outputs["data"].glob("*.csv")).read_bytes()
    rows = production()
    raw = {
        "processing": rows.select("flight", *FEATURES).write_csv(include_header=False).encode(),
        "monitoring": rows.write_csv(include_header=False).encode(),
    }
    return dict.fromkeys((*NAMES, "torch-cpu"), prepared) | raw
