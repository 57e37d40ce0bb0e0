"""Places at work, threads, and what happens to children when a run is interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.graph import inference_graph, training_graph
from pipelines.local.children import Programs, child, exit_code, last_lines
from pipelines.local.engine import Machine, Run, Slots, reported_rows

DRIVER = """
import importlib.util, sys
from pathlib import Path
from pipelines.commands.common import interruptible, spoken
from pipelines.local.children import Programs
spec = importlib.util.spec_from_file_location("toys", sys.argv[1])
toys = importlib.util.module_from_spec(spec)
sys.modules["toys"] = toys
spec.loader.exec_module(toys)
toy = toys.Toy(Path(sys.argv[2]), Programs(Path(sys.argv[3])))
runner = toy.runner(("processing: {settings: {}}", "processing: {settings: {sleep: 60}}"))
spoken(lambda: interruptible(runner.training()))()
"""


def wait_for(path: Path) -> None:
    """Wait until a job has started, which its log's existence shows."""
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_jobs_and_then_the_run(toy: Any, number: signal.Signals, code: int) -> None:
    conftest = Path(__file__).parents[1] / "conftest.py"
    command = [sys.executable, "-c", DRIVER, str(conftest), str(toy.folder), str(toy.programs.folder)]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)
    wait_for(toy.storage.root / "training/r1/processing/log.txt")
    time.sleep(0.1)
    started = jobs_in(toy.folder)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)

    assert process.returncode == code
    assert f"stopped by {number.name}" in said
    assert started
    assert not jobs_in(toy.folder)
    assert (toy.storage.root / "training/r1/processing/ml").is_dir()


def jobs_in(folder: Path) -> list[int]:
    """Processes whose `/opt/ml` tree lies below a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = entry.read_bytes()
        except OSError:
            continue
        if f"SAGEMAKER_BASE_DIR={folder}/".encode() in environment:
            found.append(int(entry.parent.name))
    return found


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(toy: Any, tmp_path: Path) -> None:
    async def scenario() -> int:
        code = "from signal import *; signal(SIGTERM, SIG_IGN); print('up', flush=True); pause()"
        async with child([sys.executable, "-c", code], os.environ, tmp_path, tmp_path / "log", 0.2) as process:
            while "up" not in (tmp_path / "log").read_text():
                await asyncio.sleep(0.02)
        assert process.returncode is not None
        return process.returncode

    assert asyncio.run(scenario()) == -signal.SIGKILL


@pytest.mark.parametrize("cancellations", [2, 3])
def test_a_child_whose_stop_is_cancelled_too_is_killed_at_once(tmp_path: Path, cancellations: int) -> None:
    code = "from signal import *; signal(SIGTERM, SIG_IGN); print('up', flush=True)\nwhile True: pause()"
    started: list[asyncio.subprocess.Process] = []

    async def work() -> None:
        async with child([sys.executable, "-c", code], os.environ, tmp_path, tmp_path / "log", 60) as process:
            started.append(process)
            await asyncio.sleep(60)

    async def scenario() -> None:
        task = asyncio.create_task(work())
        while not started or "up" not in (tmp_path / "log").read_text():
            await asyncio.sleep(0.02)
        for _ in range(cancellations):
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(scenario(), 20))

    assert started[0].returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)


def test_of_those_that_wait_the_lowest_priority_goes_first() -> None:
    async def scenario() -> list[int]:
        slots, order = Slots(1), []

        async def job(priority: int) -> None:
            async with slots.slot(priority):
                order.append(priority)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for priority in (5, 3, 1, 4):
                group.create_task(job(priority))
        return order

    assert asyncio.run(scenario()) == [5, 1, 3, 4]


def test_a_job_of_two_threads_waits_for_two_places_and_is_not_overtaken() -> None:
    async def scenario() -> list[str]:
        slots, order = Slots(2), []

        async def job(name: str, places: int) -> None:
            async with slots.slot(0, places):
                order.append(f"{name} in")
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                order.append(f"{name} out")

        async with asyncio.TaskGroup() as group:
            for name, places in (("a", 1), ("wide", 9), ("b", 1)):
                group.create_task(job(name, places))
        return order

    assert asyncio.run(scenario()) == ["a in", "a out", "wide in", "wide out", "b in", "b out"]


def test_a_place_is_given_back_when_its_holder_or_a_waiter_is_cancelled() -> None:
    async def scenario() -> bool:
        slots = Slots(1)

        async def job() -> None:
            async with slots.slot(0):
                await asyncio.sleep(60)

        tasks = [asyncio.create_task(job()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(5), slots.slot(0):
            return True

    assert asyncio.run(scenario())


def test_threads_follow_from_the_graph_and_not_from_what_is_running(toy: Any) -> None:
    manifest = toy.declare().manifest
    machine = Machine(Slots(4), processors=4, jobs=4)

    def threads(graph: Any, beside: int) -> dict[str, int]:
        run = Run(graph, str, toy.folder, "", machine, toy.told, beside)
        return {job.name: run.threads(job) for job in graph.jobs}

    training = threads(training_graph(manifest, specs()), 1)
    assert training == {"processing": 4, "algorithm": 4, "monitoring": 2, "explainability": 2, "release": 4}
    assert set(threads(inference_graph(manifest, specs()), 8).values()) == {1}


def test_a_job_sees_no_variable_that_belongs_to_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUARTET_MAX_DEPTH", "9")
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    monkeypatch.setenv("QUARTET_LOG", "json")
    environment = Programs(tmp_path).environment(tmp_path / "ml", 2, {"QUARTET_ETA": "0.1"})

    assert "QUARTET_MAX_DEPTH" not in environment
    assert "SAGEMAKER_BATCH" not in environment
    assert environment["QUARTET_LOG"] == "json"
    assert environment["QUARTET_ETA"] == "0.1"
    assert environment["SAGEMAKER_BASE_DIR"] == str(tmp_path / "ml")
    assert environment["OMP_NUM_THREADS"] == "2"


def test_a_signals_exit_code_is_told_as_shells_do() -> None:
    assert exit_code(-signal.SIGKILL) == 137
    assert exit_code(3) == 3


def test_only_the_end_of_a_long_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {number}\n" for number in range(100_000)))

    assert last_lines(tmp_path / "log", count=2) == "line 99998\nline 99999"
    assert last_lines(tmp_path / "absent") == ""


def test_rows_are_unknown_without_a_report_or_with_a_broken_one(tmp_path: Path) -> None:
    assert reported_rows(tmp_path) is None
    (tmp_path / "report").mkdir()
    (tmp_path / "report/report.json").write_text("{")
    assert reported_rows(tmp_path) is None
    (tmp_path / "report/report.json").write_text('{"rows": 7}')
    assert reported_rows(tmp_path) == 7
