"""SIGTERM and SIGINT while the program is still being imported. Imports nothing slow, for it is imported first.

Process 1 of a container has no default handlers: without one of its own the kernel drops SIGTERM, and a job that is
stopped in its first half second would run on until it is killed.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def end_at_once() -> None:
    """From now on SIGTERM and SIGINT end the process: until a job or a server takes them over, nothing needs care."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ended)


def ignore() -> None:
    """From now on SIGTERM and SIGINT do nothing: one has come, and what is left is to clean up, whole."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def ended(signum: int, _frame: FrameType | None) -> None:
    """Signal handler: say why and leave, with 143 for SIGTERM and 130 for SIGINT.

    The process ends here and now: an exception would rise inside whichever import is under way, and some of those
    catch it. For the same reason nothing is imported here: the paths of `shared.contract` are written out.
    """
    text = f"stopped by {signal.Signals(signum).name}."
    try:
        os.write(1, f"{text}\n".encode())
        folder = os.path.join(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml", "output")
        os.makedirs(folder, exist_ok=True)
        for name in ("failure", "message"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
    finally:
        # Also when there is no room to write: the exit code tells all the same.
        os._exit(128 + signum)
