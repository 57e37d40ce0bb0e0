"""Processes of jobs: started in a session of their own, stopped by process id, always waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import components

GRACE: Final = 30.0
"""Seconds between SIGTERM and SIGKILL, as hosting gives them."""

INHERITED: Final = ("QUARTET_LOG", "SAGEMAKER_CONTAINER_LOG_LEVEL")
REMOVED: Final = ("QUARTET_", "SAGEMAKER_", "SM_", "TRAINING_JOB_", "AWS_BATCH_")
"""Variables by which a component recognises how it was started: those of this process must not reach a job."""
THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(frozen=True)
class Work:
    """What one job wants started.

    Attributes:
        name: the job's name.
        component: whose program it is.
        image: what holds the program, for whoever runs containers.
        arguments: what the program is told.
        tree: the job's `/opt/ml` on this machine.
        mounts: which folders of the tree the job sees, by their place in a container; `ro` or `rw`.
        environment: the variables that the job's description gives it.
        threads: how many it may use.
        log: where its output goes.
        port: where a server is wanted on this machine's loopback interface; None for a job that serves nothing.
        grace: seconds between SIGTERM and SIGKILL.
    """

    name: str
    component: str
    image: str
    arguments: tuple[str, ...]
    tree: Path
    mounts: Mapping[str, str]
    environment: Mapping[str, str]
    threads: int
    log: Path
    port: int | None = None
    grace: float = GRACE


Process = contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]


class Launcher(Protocol):
    """What runs the programs of jobs: processes of this machine, or containers."""

    @property
    def folder(self) -> Path:
        """The checkout, or whatever else holds the code."""

    def images(self, declared: Mapping[str, str]) -> Mapping[str, str]:
        """What to say of the images in a release: by component; nothing where none is used."""

    def started(self, work: Work) -> Process:
        """The program at work. It has ended, however the block is left."""


@dataclass(frozen=True)
class Programs:
    """Where the components' programs lie: `python -m components.<name>` is run in this folder."""

    folder: Path = Path(components.__path__[0]).resolve().parent

    def images(self, declared: Mapping[str, str]) -> Mapping[str, str]:
        """Processes use no image, whatever the manifest names."""
        return {}

    def started(self, work: Work) -> Process:
        """The program as a process of this machine."""
        own = {**work.environment, **({"SAGEMAKER_BIND_TO_PORT": str(work.port)} if work.port else {})}
        environment = self.environment(work.tree, work.threads, own)
        return child(self.command(work.component, *work.arguments), environment, self.folder, work.log, work.grace)

    def command(self, component: str, *arguments: str) -> tuple[str, ...]:
        """The command that an image's entrypoint stands for."""
        return (sys.executable, "-m", f"components.{component}", *arguments)

    def environment(self, tree: Path, threads: int, own: Mapping[str, str]) -> dict[str, str]:
        """The environment of a job: this process's without what belongs to other jobs, then the job's own."""
        kept = {name: value for name, value in os.environ.items() if name in INHERITED or not name.startswith(REMOVED)}
        # Named although it is the current folder, which PYTHONSAFEPATH would hide.
        path = os.pathsep.join(filter(None, (str(self.folder), os.environ.get("PYTHONPATH"))))
        base = {"SAGEMAKER_BASE_DIR": str(tree), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        return {**kept, **limits(threads), **base, **own}


def limits(threads: int) -> dict[str, str]:
    """The variables that keep libraries to so many threads."""
    return {**dict.fromkeys(THREADS, str(threads)), "OMP_WAIT_POLICY": "passive"}


@contextlib.asynccontextmanager
async def child(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, grace: float = GRACE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running process whose output goes to `log`. It has ended, however the block is left.

    A session of its own keeps the terminal's Ctrl-C from it: we decide when and in which order processes stop.
    """
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stream,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await ended(process, grace)


async def ended(process: asyncio.subprocess.Process, grace: float) -> None:
    """Stop a process; who cancels the wait for its end gets it killed at once, and waits for that."""
    try:
        await stop(process, grace)
    except BaseException:
        kill(process)
        while process.returncode is None:
            # Nothing survives SIGKILL, so the wait is short: another cancellation must not end it before the child.
            with contextlib.suppress(asyncio.CancelledError):
                await process.wait()
        raise


def kill(process: asyncio.subprocess.Process) -> None:
    """SIGKILL for all of a process's session, unless the process has ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def stop(process: asyncio.subprocess.Process, grace: float = GRACE) -> int:
    """End a process: SIGTERM, and after `grace` seconds SIGKILL for all of its session. Gives its exit code."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            kill(process)
    return await process.wait()


def exit_code(returncode: int) -> int:
    """A return code as shells tell it: 128 + the signal's number for a process that a signal ended."""
    return 128 - returncode if returncode < 0 else returncode


def last_lines(log: Path, count: int = 12, window: int = 16384) -> str:
    """The last lines of a log, at most `count`, from its last `window` bytes."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - window))
        return "\n".join(stream.read().decode("utf-8", "replace").splitlines()[-count:])
    return ""
