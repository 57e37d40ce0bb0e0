"""The component's own program, as a child of the carrier: the same code path as wherever `/opt/ml` is there already."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

GRACE_SECONDS: Final = 12.0
"""From SIGTERM to SIGKILL for the child: AWS Batch gives us 30 s, and the last upload needs the rest."""


def command(arguments: Sequence[str]) -> list[str]:
    """The command by which this process was started, with other arguments."""
    own = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    return [sys.executable, *own[1:], *arguments]


@contextmanager
def child(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The program at work; at the end of the block it is told to stop, if it has not ended, and then killed."""
    process = subprocess.Popen(command(arguments), env=dict(environment))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()


def exit_code(status: int) -> int:
    """A process's status as an exit code: 128 + the signal's number when a signal ended it."""
    return status if status >= 0 else 128 - status


def ending(status: int) -> str:
    """How a program ended that did not say why."""
    if status >= 0:
        return f"the program ended with exit code {status} and did not say why. See the log."
    name = signal.Signals(-status).name
    advice = " It may have used more memory than the job has." if -status == signal.SIGKILL else ""
    return f"the program was ended by {name}.{advice}"


def environment_of(inherited: Mapping[str, str], base: str, own: Mapping[str, str]) -> dict[str, str]:
    """The child's environment: what the container has, without what speaks to the carrier, then what the job says."""
    hidden = ("QUARTET_JOB", "QUARTET_RUN")
    kept = {name: value for name, value in inherited.items() if name not in hidden}
    return {**kept, "SAGEMAKER_BASE_DIR": base, **own}
