"""How a job's program is run: as a process from this checkout, or in the container that the request names.

A runner takes a `Launch` and gives a context: the program runs inside it, and is gone when it ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

ROOT: Final = Path(__file__).parents[2]
THREADS: Final = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
"""One thread a job: several jobs share a test machine, and sums come out the same whatever it has."""
CARRIERS: Final = ("AWS_", "QUARTET_", "SAGEMAKER_", "SM_", "TRAINING_JOB_")
"""Variables by which a program recognises how it was started: only those of its own job may reach it."""


@dataclass(frozen=True)
class Launch:
    """A program to run, as the service asks for it.

    Attributes:
        component: whose image it is.
        root: the tree that the program finds at /opt/ml.
        entrypoint: what replaces the image's entrypoint; None leaves it.
        arguments: what follows it; None leaves the image's command.
        environment: the job's variables.
        isolated: whether it may reach nothing at all.
        serves: whether it answers HTTP.
        read_only: folders of the tree that it may not write to.
    """

    component: str
    root: Path
    entrypoint: tuple[str, ...] | None = None
    arguments: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    isolated: bool = True
    serves: bool = False
    read_only: frozenset[str] = frozenset()


class Running(Protocol):
    """A program at work."""

    @property
    def url(self) -> str:
        """Where it answers HTTP."""

    def ended(self) -> bool:
        """Whether it has come to its end."""

    def wait(self) -> int:
        """Wait for its end: its exit code, 128 + the signal's number when a signal ended it."""

    def stop(self, grace: float) -> None:
        """SIGTERM, and after `grace` seconds SIGKILL."""

    def said(self) -> str:
        """Its standard output and standard error, so far."""


Runner = Callable[[Launch], AbstractContextManager[Running]]


@dataclass
class Process:
    """A program of this checkout."""

    popen: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def ended(self) -> bool:
        return self.popen.poll() is not None

    def wait(self) -> int:
        code = self.popen.wait()
        return 128 - code if code < 0 else code

    def stop(self, grace: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.popen.terminate()
        try:
            self.popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End whatever is left of the program and of what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Processes:
    """Runs `python -m components.<name>` of a folder, with the tree as its /opt/ml."""

    folder: Path = ROOT

    @contextmanager
    def __call__(self, launch: Launch) -> Iterator[Running]:
        """A process, and its end."""
        port = free_port() if launch.serves else 0
        entrypoint = launch.entrypoint or ("python", "-m", f"components.{launch.component}")
        assert entrypoint[0] in {"python", "python3"}, f"{entrypoint} is no Python program"
        log = launch.root.with_name(f"{launch.root.name}.log")
        with log.open("wb") as stream:
            popen = subprocess.Popen(
                (sys.executable, *entrypoint[1:], *(launch.arguments or ())),
                cwd=self.folder,
                env=self._environment(launch, port),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(popen, log, f"http://127.0.0.1:{port}")
        try:
            yield process
        finally:
            if not process.ended():
                process.stop(10)
            process.kill()

    def _environment(self, launch: Launch, port: int) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(CARRIERS)}
        server = {"SAGEMAKER_BIND_TO_PORT": str(port)} if port else {}
        base = {"SAGEMAKER_BASE_DIR": str(launch.root), "PYTHONPATH": str(self.folder), "PYTHONUNBUFFERED": "1"}
        return {**kept, **THREADS, "OMP_WAIT_POLICY": "passive", **base, **server, **launch.environment}


@dataclass
class Container:
    """A program in a container."""

    container: Any

    @property
    def url(self) -> str:
        self.container.reload()
        (bound,) = self.container.ports["8080/tcp"]
        return f"http://{bound['HostIp']}:{bound['HostPort']}"

    def ended(self) -> bool:
        self.container.reload()
        return str(self.container.status) == "exited"

    def wait(self) -> int:
        return int(self.container.wait(timeout=600)["StatusCode"])

    def stop(self, grace: float) -> None:
        self.container.stop(timeout=int(grace))

    def said(self) -> str:
        return str(self.container.logs().decode(errors="replace"))


@dataclass(frozen=True)
class Containers:
    """Runs the images of this checkout, with each folder of the tree mounted in its place below /opt/ml.

    Attributes:
        engine: a docker client.
        images: the engine's name of each component's image.
    """

    engine: Any
    images: Mapping[str, str]

    @contextmanager
    def __call__(self, launch: Launch) -> Iterator[Running]:
        """A container, and its end."""
        folders = sorted(path for path in launch.root.iterdir() if path.is_dir())
        mounts = {
            str(path): {"bind": f"/opt/ml/{path.name}", "mode": "ro" if path.name in launch.read_only else "rw"}
            for path in folders
        }
        # A server is reached through a port, which a container without any network cannot have.
        network = {"network_mode": "bridge", "ports": {"8080/tcp": ("127.0.0.1", None)}}
        container = self.engine.containers.create(
            self.images[launch.component],
            list(launch.arguments) if launch.arguments is not None else None,
            entrypoint=list(launch.entrypoint) if launch.entrypoint is not None else None,
            environment={**THREADS, **launch.environment},
            volumes=mounts,
            # Root on the service, and any user by our promise: as ourselves, so that the trees can be removed.
            user=f"{os.getuid()}:{os.getgid()}",
            **(network if launch.serves else {"network_mode": "none" if launch.isolated else "bridge"}),
        )
        try:
            container.start()
            yield Container(container)
        finally:
            container.remove(force=True, v=True)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
