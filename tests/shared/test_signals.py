"""A signal before the program has been imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.contract import Contract

ROOT = Path(__file__).parents[2]
SLOW = """
from shared import signals
signals.end_at_once()
print("installed", flush=True)
import signal
try:
    while True:
        signal.pause()
except BaseException:
    print("caught by whoever imports", flush=True)
"""


def stopped(root: Path, number: int) -> tuple[int, str]:
    """The exit code and the output of a program that gets a signal while it is still importing."""
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_ends_the_process_and_says_why(tmp_path: Path, number: signal.Signals, code: int) -> None:
    assert stopped(tmp_path, number) == (code, f"stopped by {number.name}.\n")

    contract = Contract(tmp_path)
    assert contract.failure.read_text() == contract.message.read_text() == f"stopped by {number.name}."


def test_it_ends_the_process_where_nothing_can_be_written_too(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.touch()

    assert stopped(root, signal.SIGTERM)[0] == 143
