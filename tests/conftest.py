"""What every test gets: a plain environment, and a skip with its reason where the machine lacks what the test needs."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

# No deadline: a busy machine's seconds say nothing. The same examples each time: a red run can be repeated.
hypothesis.settings.register_profile("quartet", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("quartet")

SKIPS = os.environ.get("QUARTET_SKIPS")
"""A pattern of the reasons for which a test may be skipped; without it, any. Where all is installed, none is silent."""
CARRIERS = ("AWS_", "QUARTET_", "SAGEMAKER_", "SM_")
"""Prefixes of the environment variables by which a carrier speaks to a component."""


@cache
def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


@cache
def has_airflow() -> bool:
    return Path(f"{sys.prefix}-airflow/bin/airflow").is_file()


@cache
def has_peers() -> bool:
    return Path(f"{sys.prefix}-benchmarks/.installed").is_file()


@cache
def has_clients() -> bool:
    return all(Path(f"{sys.prefix}-sagemaker-{sdk}/.installed").is_file() for sdk in ("v2", "v3"))


@cache
def has_mlflow() -> bool:
    return Path(f"{sys.prefix}-mlflow/.installed").is_file()


@cache
def has_scanners() -> bool:
    return Path(f"{sys.prefix}-supply-chain/.installed").is_file()


@cache
def has_cuda() -> bool:
    return shutil.which("nvidia-smi") is not None and _answers("nvidia-smi", "--list-gpus")


@cache
def has_docker() -> bool:
    return shutil.which("docker") is not None and _answers("docker", "version", "--format", "{{.Server.Version}}")


@cache
def has_browser() -> bool:
    return shutil.which("chromium") is not None


NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "airflow": (has_airflow, "Airflow is not installed: make airflow"),
    "benchmarks": (has_peers, "the benchmarks' peers are not installed: make bench"),
    "browser": (has_browser, "chromium is not installed"),
    "clients": (has_clients, "the clients' environments are not made: make clients"),
    "cuda": (has_cuda, "no NVIDIA device answers"),
    "docker": (has_docker, "no Docker engine answers"),
    "mlflow": (has_mlflow, "the MLflow server is not installed: make mlflow"),
    "scanners": (has_scanners, "the scanners are not installed: make supply-chain"),
    "torch": (has_torch, "torch is not installed: make torch"),
}


def pytest_configure() -> None:
    """No variable of a carrier reaches a test, or a process that a test starts, unless the test sets it."""
    for name in [name for name in os.environ if name.startswith(CARRIERS)]:
        del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """What a component told the root logger ends with its test: it would write to a stream that is closed by then."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return (yield)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose marker names something that this machine lacks."""
    for marker, (present, reason) in NEEDS.items():
        if item.get_closest_marker(marker) and not present():
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip for a reason that is not allowed is a failure."""
    return judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Likewise of a module that is skipped whole."""
    return judged((yield))


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def judged(report: Report) -> Report:
    """The report, as a failure where it is a skip for a reason that is not allowed."""
    if SKIPS is not None and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
        if not re.fullmatch(SKIPS, reason.removeprefix("Skipped: ")):
            report.outcome, report.longrepr = "failed", f"{reason}: only {SKIPS!r} may be skipped here (QUARTET_SKIPS)."
    return report


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False
