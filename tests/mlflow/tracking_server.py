"""A real MLflow tracking server on the loopback interface, and what its own API says of the runs in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.aws.runners import free_port

START = 120.0
"""Seconds that a busy machine may take to start it."""


@dataclass(frozen=True)
class TrackingServer:
    """A server that answers."""

    uri: str

    def ask(self, path: str, **body: Any) -> Any:
        """What it answers to a POST."""
        answer = requests.post(f"{self.uri}/api/2.0/mlflow/{path}", json=body, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def get(self, path: str, **parameters: Any) -> Any:
        """What it answers to a GET."""
        answer = requests.get(f"{self.uri}/api/2.0/mlflow/{path}", params=parameters, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def runs(self, experiment: str) -> dict[str, Run]:
        """The runs of an experiment by their names."""
        found = self.get("experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
        runs = [Run(self, content) for content in self.ask("runs/search", experiment_ids=[found]).get("runs", [])]
        assert len({run.name for run in runs}) == len(runs)
        return {run.name: run for run in runs}


@dataclass(frozen=True)
class Run:
    """A run as the server tells of it."""

    server: TrackingServer
    content: Any

    @property
    def id(self) -> str:
        return str(self.content["info"]["run_id"])

    @property
    def name(self) -> str:
        return str(self.content["info"]["run_name"])

    @property
    def info(self) -> Any:
        return self.content["info"]

    def named(self, kind: str) -> dict[str, Any]:
        """Its params, metrics or tags."""
        return {item["key"]: item["value"] for item in self.content["data"].get(kind, [])}

    def history(self, metric: str) -> dict[int, float]:
        """A metric by its steps."""
        points = self.server.get("metrics/get-history", run_id=self.id, metric_key=metric)["metrics"]
        assert len({point["step"] for point in points}) == len(points)
        return {int(point["step"]): point["value"] for point in points}

    def file(self, name: str) -> bytes:
        """One of its files."""
        place = self.info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        url = f"{self.server.uri}/api/2.0/mlflow-artifacts/artifacts/{place}/{name}"
        answer = requests.get(url, timeout=60)
        assert answer.ok, answer.text
        return answer.content


@contextmanager
def serving(folder: Path) -> Iterator[TrackingServer]:
    """A server that keeps all in a folder, and ends with the block."""
    uri = f"http://127.0.0.1:{(port := free_port())}"
    command = [f"{sys.prefix}-mlflow/bin/mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/files"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--workers", "1"],
            cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            _await(server, uri, folder / "log.txt")
            yield TrackingServer(uri)
        finally:
            # Its workers are children of its own.
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _await(server: subprocess.Popen[bytes], uri: str, log: Path) -> None:
    for _ in range(int(START / 0.2)):
        try:
            if requests.get(f"{uri}/health", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        assert server.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(log.read_text())
