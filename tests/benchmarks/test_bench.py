"""What processes cost: all that they start is counted, and one that fails is no measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bench import (
    ROOT,
    Bench,
    FailedSide,
    Usage,
    cpu_of,
    environment,
    interleaved,
    last_object,
    least,
    run,
    server,
)

BUSY = "import time\nwhile time.process_time() < 0.3: pass"
LARGE = 400_000_000
"""Bytes: more than what starts the measured process holds."""


def python(text: str) -> tuple[str, str, str]:
    return sys.executable, "-c", text


def test_the_processes_that_a_process_starts_are_counted() -> None:
    inner = f"import subprocess, sys; subprocess.run((sys.executable, '-c', {BUSY!r}), check=True)"

    assert run(python(inner)).cpu_s >= 0.3


def test_the_greatest_memory_is_counted_in_megabytes() -> None:
    """From a process that is small, as the benchmarks' is: this one may have grown larger than what is measured."""
    measured = f"from benchmarks.bench import run; print(run({python(f'bytearray({LARGE})')}).peak_mb)"
    done = subprocess.run(python(measured), cwd=ROOT, capture_output=True, check=True, text=True)

    assert LARGE / 1e6 <= float(done.stdout) < 3 * LARGE / 1e6


def test_the_last_line_says_what_a_side_measured_itself() -> None:
    assert run(python("print('words'); print('{\"cpu_s\": 1.5}')")).said == {"cpu_s": 1.5}
    assert last_object('{"a": 1}\nwords') == {}
    assert last_object("{words") == {}
    assert last_object("") == {}


def test_a_process_that_fails_is_no_measurement() -> None:
    with pytest.raises(FailedSide, match=r"ended with code 3: nothing to read"):
        run(python("print('nothing to read'); raise SystemExit(3)"))


def test_a_program_of_a_peer_wants_the_peers_environment(tmp_path: Path) -> None:
    with pytest.raises(FailedSide, match="make bench"):
        Bench(tmp_path).peer("tree_shap")


def test_sides_run_in_turn_and_each_time_in_the_other_order() -> None:
    order: list[str] = []

    def side(name: str) -> Usage:
        order.append(name)
        return Usage(len(order), 0)

    measured = interleaved(3, ours=lambda: side("ours"), theirs=lambda: side("theirs"))

    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert [usage.cpu_s for usage in measured["theirs"]] == [2, 3, 6]


def test_the_least_cost_and_the_greatest_memory_are_taken() -> None:
    assert least([Usage(2, 10, {"a": 1}), Usage(1, 5, {"a": 2}), Usage(3, 20, {"a": 3})]) == Usage(1, 20, {"a": 2})


def test_no_variable_changes_what_a_side_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("QUARTET_MAX_DEPTH", "9")

    assert {"OMP_NUM_THREADS", "QUARTET_MAX_DEPTH"} & set(environment()) == set()
    assert environment(OMP_NUM_THREADS="1")["OMP_NUM_THREADS"] == "1"


def test_a_server_and_its_workers_are_counted_while_they_run_and_are_gone_afterwards() -> None:
    worker = f"{BUSY}\nprint(flush=True)\ntime.sleep(60)"
    parent = (
        f"import subprocess, sys, time\nworker = subprocess.Popen((sys.executable, '-c', {worker!r}), stdout=-1)\n"
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: (worker.kill(), sys.exit()))\n"
        "worker.stdout.readline()\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    with server(python(parent)) as process:
        while cpu_of(process.pid) < 0.3:
            assert process.poll() is None
            subprocess.run(("sleep", "0.05"), check=True)

    assert process.returncode == 0
    assert cpu_of(process.pid) == 0
    assert not Path(f"/proc/{process.pid}").exists()
    assert os.getpid() != process.pid
