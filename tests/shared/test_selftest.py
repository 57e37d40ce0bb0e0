"""The self-test: it tells the truth about a component that works and about one that does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared import entrypoint, selftest
from shared.component import Component
from shared.sample import Row, Sample, csv_of, flights
from shared.selftest import Program
from shared.version import VERSION

ROOT = Path(__file__).parents[2]
CODE = "import sys; from shared.entrypoint import run; from conftest import MEAN; sys.exit(run(MEAN, sys.argv[1:]))"


def program(environment: Mapping[str, str] = os.environ) -> Program:
    """How the component of these tests is started, which is no module of its own."""
    path = {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    return Program((sys.executable, "-c", CODE), {**environment, **path})


def tried(mean: Component, capsys: pytest.CaptureFixture[str], **changes: Any) -> tuple[int, dict[str, Any]]:
    """The exit code and what was printed as JSON, for the component with a changed sample."""

    def changed(folder: Path) -> Sample:
        return replace(mean.sample(folder), **changes)

    code = selftest.run(replace(mean, sample=changed), ["--json"], os.environ, program())
    return code, json.loads(capsys.readouterr().out)


def test_a_component_that_works_is_ok(mean: Component, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = tried(mean, capsys)

    assert (code, told["ok"], told["error"]) == (0, True, "")
    assert [(step["name"], step["said"].split(";")[0]) for step in told["steps"]] == [
        ("train", "Learnt from 3 rows."),
        ("serve", "Completed."),
        ("serve over HTTP", "2 rows sent, 2 lines came back"),
    ]
    assert told["device"] == "cpu"
    assert {"polars", "flask"} <= set(told["libraries"])


def test_it_prints_the_same_for_people(mean: Component, capsys: pytest.CaptureFixture[str]) -> None:
    code = selftest.run(mean, [], os.environ, program())
    lines = capsys.readouterr().out.splitlines()

    assert code == 0
    assert lines[0] == f"quartet mean {VERSION}"
    assert lines[-1].startswith("ok, ")
    assert sum(" s   " in line for line in lines) == 3


def test_a_component_that_serves_no_files_is_tried_over_http_alone(
    mean: Component, capsys: pytest.CaptureFixture[str]
) -> None:
    code = selftest.run(replace(mean, serve=None), ["--json"], os.environ, program())

    assert code == 0
    assert [step["name"] for step in json.loads(capsys.readouterr().out)["steps"]] == ["train", "serve over HTTP"]


@pytest.mark.parametrize(
    ("changes", "worked", "error"),
    [
        ({"hyperparameters": {"end": "crash"}}, 0, "train ended with exit code 1: "),
        ({"serve": {}}, 1, "serve ended with exit code 2: "),
        ({"request": b"four\n"}, 2, "serve over HTTP answered with status 400: "),
        ({"answers": 3}, 2, "serve over HTTP answered 2 rows with 2 lines, wanted 3."),
        ({"answers": None}, 2, "JSONDecodeError: "),
    ],
    ids=["train", "serve", "request", "answers", "json"],
)
def test_a_step_that_fails_is_named_with_the_reason(
    mean: Component, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], worked: int, error: str
) -> None:
    code, told = tried(mean, capsys, **changes)

    assert (code, told["ok"], len(told["steps"])) == (1, False, worked)
    assert told["error"].startswith(error)
    assert "\n" not in told["error"]


def test_a_failure_is_the_last_line_for_people(mean: Component, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(folder: Path) -> Sample:
        raise ImportError("libgomp.so.1: cannot open shared object file")

    code = selftest.run(replace(mean, sample=broken), [], os.environ, program())

    assert code == 1
    assert capsys.readouterr().out.endswith("\nfailed: ImportError: libgomp.so.1: cannot open shared object file\n")


def test_a_jobs_variables_do_not_reach_it(mean: Component) -> None:
    """Otherwise the test of an image would be one of its settings."""
    found = Program.of(mean, {"PATH": "/bin", "QUARTET_SHIFT": "-1", "SAGEMAKER_BASE_DIR": "/x", "AWS_REGION": "y"})

    assert found.environment == {"PATH": "/bin"}
    assert found.command[-2:] == ("-m", "components.mean")


def test_an_unknown_argument_is_refused(mean: Component, capsys: pytest.CaptureFixture[str]) -> None:
    assert entrypoint.run(mean, ["selftest", "--jsno"], {}) == 2
    assert "--jsno" in capsys.readouterr().err


def test_without_a_folder_to_write_to_it_says_what_to_mount(
    mean: Component, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refused)

    assert selftest.run(mean, [], os.environ, program()) == 1
    assert "--tmpfs /tmp" in capsys.readouterr().out


def test_a_stopped_selftest_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "components.processing", "selftest"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)})
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*/train/output")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 143
    assert list(tmp_path.iterdir()) == []


DEVICES = [
    ("cpu", [], "cpu"),
    ("cuda", ["device cuda is not there: this machine shows no NVIDIA device. Training on the CPU."], "cpu"),
    ("cuda", [], "cuda: NVIDIA H100 80GB HBM3"),
]


@pytest.mark.parametrize(("wanted", "notes", "named"), DEVICES, ids=["cpu build", "no device", "device"])
def test_the_device_is_the_one_that_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, notes: list[str], named: str
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert selftest.device(Sample({"device": wanted}, {}, {}, b"", 0), notes) == named


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION


def test_the_flights_are_the_same_each_time_and_teach_something() -> None:
    rows = flights(400, seed=1)
    late = [row for row in rows if row["late"]]

    assert rows == flights(400, seed=1) != flights(400, seed=2)
    assert 0.3 < len(late) / len(rows) < 0.7
    assert mean_of(late, "distance") > mean_of(rows, "distance") + 300


def mean_of(rows: list[Any], column: str) -> float:
    return sum(float(row[column]) for row in rows) / len(rows)


def test_rows_become_csv_with_the_columns_that_are_wanted() -> None:
    rows: list[Row] = [{"a": 1, "b": "x,y", "c": 0}]

    assert csv_of(rows, ("b", "a"), header=True) == b'b,a\n"x,y",1\n'
    assert csv_of(rows, ("c",), header=False) == b"0\n"
