"""AWS Batch on this machine: moto's, which runs a container a job; here also as processes of this checkout.

Moto keeps queues, definitions, dependencies and states. What it asks of its docker client is answered here: an image
that the cloud knows by digest is this machine's, or a program of a folder; and a job finds the account's S3.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from moto import settings
from moto.batch import models
from moto.batch.models import Job

from tests.aws.cloud import ACCOUNT, REGION, Cloud
from tests.aws.runners import CARRIERS, ROOT, THREADS

POLL: Final = 0.05


class Process:
    """A program of a folder, as far as moto looks at a container."""

    def __init__(self, component: str, folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._tree = tempfile.TemporaryDirectory(prefix="quartet-batch-")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(CARRIERS)}
        base = {"SAGEMAKER_BASE_DIR": self._tree.name, "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1"}
        self._log = Path(self._tree.name).with_suffix(".log")
        self._stream = self._log.open("wb")
        self._process = subprocess.Popen(
            (sys.executable, "-m", f"components.{component}", *command),
            cwd=folder,
            env={**kept, **THREADS, "OMP_WAIT_POLICY": "passive", **base, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._stream,
            stderr=subprocess.STDOUT,
        )
        self.status = "running"

    def reload(self) -> None:
        self.status = "running" if self._process.poll() is None else "exited"

    def logs(self, *, stdout: bool, stderr: bool, timestamps: bool = False, since: int = 0) -> bytes:
        text = self._log.read_text(encoding="utf-8", errors="replace") if stdout else ""
        return "".join(f"2026-01-01T00:00:00.000000000Z {line}\n" for line in text.splitlines()).encode()

    def wait(self) -> dict[str, int]:
        return {"StatusCode": self._process.wait()}

    def kill(self) -> None:
        """Moto's word for the end of a job: AWS Batch sends SIGTERM first, and so do we."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._process.kill()

    def remove(self) -> None:
        self._process.wait()
        self._stream.close()
        self._log.unlink()
        self._tree.cleanup()


@dataclass
class Engine:
    """What moto takes for a docker client. `run` is told the component, the command and the environment."""

    images: Mapping[str, str]
    environment: Mapping[str, str]
    run_program: Any
    started: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def containers(self) -> Engine:
        return self

    def run(
        self, *, image: str, command: Sequence[str], environment: Mapping[str, str], name: str, **_: Any
    ) -> Any:  # fmt: skip
        component = self.images[image]
        told = {**self.environment, **environment}
        self.started.append((component, told))
        return self.run_program(component, list(command), told, name)


@dataclass
class Batch:
    """The service, and the account that it works in."""

    cloud: Cloud
    engine: Engine

    def connect(self, service: str) -> Any:
        """A real client."""
        return self.cloud.client(service)

    def environments(self, names: Sequence[str]) -> None:
        """Compute environments: a stack's, where there is one."""
        client, iam = self.connect("batch"), self.connect("iam")
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName="batch", AssumeRolePolicyDocument="{}")
        role = f"arn:aws:iam::{ACCOUNT}:role/batch"
        there = {
            item["computeEnvironmentName"] for item in client.describe_compute_environments()["computeEnvironments"]
        }
        for name in set(names) - there:
            client.create_compute_environment(
                computeEnvironmentName=name, type="UNMANAGED", state="ENABLED", serviceRole=role
            )

    def log(self, job: str) -> str:
        """What a job has said."""
        logs = self.connect("logs")
        (answer,) = self.connect("batch").describe_jobs(jobs=[job])["jobs"]
        events = logs.get_log_events(
            logGroupName="/aws/batch/job", logStreamName=answer["container"]["logStreamName"]
        )["events"]  # fmt: skip
        return "\n".join(event["message"] for event in events)


def doze(seconds: float) -> None:
    """A pause that is not worth half a second."""
    time.sleep(min(seconds, POLL))


def described(job: Job, describe: Any) -> Any:
    """What DescribeJobs answers of a job, with the exit code, which moto forgets."""
    answer = describe(job)
    if job.exit_code is not None:
        answer["container"]["exitCode"] = job.exit_code
    return answer


@contextmanager
def serving_batch(cloud: Cloud, engine: Engine) -> Iterator[Batch]:
    """Moto's Batch with this engine, and without its pauses of half a second."""
    describe = Job.describe
    with (
        patch.object(Job, "docker_client", property(lambda self: engine)),
        patch.object(models, "sleep", doze),
        patch.object(models, "time", SimpleNamespace(sleep=doze, mktime=time.mktime)),
        patch.object(Job, "describe", lambda job: described(job, describe)),
        # In a container, moto would look for its own address by a program, and leave that behind.
        patch.object(settings, "moto_server_host", lambda: cloud.endpoint),
    ):
        yield Batch(cloud, engine)


@contextmanager
def in_processes(cloud: Cloud, images: Mapping[str, str], folder: Path = ROOT) -> Iterator[Batch]:
    """Jobs are processes of a folder with the four components."""

    def run(component: str, command: list[str], environment: dict[str, str], name: str) -> Process:
        return Process(component, folder, command, environment)

    with serving_batch(cloud, Engine(images, {**cloud.environment, "AWS_DEFAULT_REGION": REGION}, run)) as batch:
        yield batch


@contextmanager
def in_containers(cloud: Cloud, images: Mapping[str, str], docker: Any, local: Mapping[str, str]) -> Iterator[Batch]:
    """Jobs are containers of the real images, on the host's network: the account's S3 is on its loopback.

    Args:
        cloud: the account.
        images: the component behind each image uri.
        docker: a docker client.
        local: the engine's name of each component's image.
    """

    def run(component: str, command: list[str], environment: dict[str, str], name: str) -> Any:
        return docker.containers.run(
            local[component], command, environment={**THREADS, **environment}, detach=True, network_mode="host",
            name=name,
        )  # fmt: skip

    with serving_batch(cloud, Engine(images, {**cloud.environment, "AWS_DEFAULT_REGION": REGION}, run)) as batch:
        yield batch
