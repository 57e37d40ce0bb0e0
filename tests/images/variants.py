"""Images of other variants than the default, and a small training job for them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl

import build
from components.spec import specs
from tests.images.containers import Container, Ended, Mounts, Start
from tests.images.data import training

ROOT: Final = Path(__file__).parents[2]
NUMBERS: Final = ("age", "income", "airline")
TORCH: Final = {"num_round": "10", "eta": "0.01", "hidden": "[16]", "nthread": "1"}
"""A network that is trained in a second."""


def image_of(variant: str) -> build.Image:
    """The algorithm's image in a variant."""
    return build.images(specs(), "algorithm", variant)[0]


def built(variant: str) -> subprocess.CompletedProcess[str]:
    """What building the algorithm in a variant says; a second or two where nothing changed."""
    return subprocess.run(
        (sys.executable, "build.py", "build", "algorithm", "--variant", variant),
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip


def starter(engine: Any, image: str) -> Start:
    """Start a container of one image, locked down, whichever component is asked for; a context that removes it."""

    @contextmanager
    def started(_component: str, command: Sequence[str] = (), **options: Any) -> Iterator[Container]:
        container = engine.containers.create(image, list(command), **{**build.HARDENED, **options})
        try:
            container.start()
            yield Container(container)
        finally:
            container.remove(force=True)

    return started


def prepared(rows: int = 2000) -> pl.DataFrame:
    """The known problem as processing would leave it: numbers alone."""
    table = training(rows).with_columns(airline=pl.col("carrier").cast(pl.Categorical).to_physical())
    return table.select("flight", *NUMBERS, "late")


def channels(root: Path) -> Mapping[str, Path]:
    """Folders with rows to learn from and rows to measure on."""
    table = prepared()
    parts = {"train": table[: table.height // 2], "validation": table[table.height // 2 :]}
    for name, part in parts.items():
        (root / name).mkdir(parents=True)
        part.write_csv(root / name / "data.csv")
    return {name: root / name for name in parts}


def scored(start: Start, model: Path, rows: bytes, **options: Any) -> list[float]:
    """The scores that an image's server gives rows; reached from this machine alone."""
    mounted = {str(model): {"bind": "/opt/ml/model", "mode": "ro"}}
    port = {"8080/tcp": ("127.0.0.1", None)}
    network = {"network_mode": "bridge", "ports": port}
    with start("algorithm", ["serve"], **{"volumes": mounted, **network, **options}) as container:
        status, body = container.ready().request("POST", "/invocations", rows, Content_Type="text/csv")

        assert status == 200, body
        assert "Traceback" not in container.said()
    return [float(line.rpartition(",")[2]) for line in body.decode().splitlines()]


class Training:
    """A training job whose folders outlive its containers, as those of a job that is stopped and started again.

    Args:
        start: starts a container.
        root: an empty folder for all mounts.
        hyperparameters: of the job.
        checkpoints: how the folder for checkpoints is mounted; None: the job asks for none.
    """

    def __init__(
        self, start: Start, root: Path, hyperparameters: Mapping[str, str], checkpoints: str | None = "rw"
    ) -> None:
        root.chmod(0o755)
        self._start = start
        self._mounts = Mounts(root / "mounts")
        (self._mounts.folder("/opt/ml/input/config") / "hyperparameters.json").write_text(json.dumps(hyperparameters))
        self._channels = channels(root)
        self.model = self._mounts.folder("/opt/ml/model")
        self.output = self._mounts.folder("/opt/ml/output")
        self.checkpoints = self._mounts.folder("/opt/ml/checkpoints", checkpoints) if checkpoints else None

    def run(self, signal: str = "", after: str = "", **options: Any) -> Ended:
        """Run a container to its end; with a signal, which process 1 gets as soon as the log holds a text."""
        rows = {
            str(path): {"bind": f"/opt/ml/input/data/{name}", "mode": "ro"} for name, path in self._channels.items()
        }
        options = {"command": ["train"], **options, "volumes": {**self._mounts.volumes(), **rows}}
        with self._start("algorithm", **options) as container:
            while signal and container.running:
                if after in container.said():
                    container.signal(signal)
                    break
                time.sleep(0.02)
            return Ended(container.ended(300).code, container.said())

    def made(self) -> dict[str, bytes]:
        """The model's files."""
        return {path.name: path.read_bytes() for path in sorted(self.model.iterdir()) if path.is_file()}
