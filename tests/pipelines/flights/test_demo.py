"""The example use case with the real components, on a sample of the flights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.flights.prepare import prepare

ROOT = Path(__file__).parents[3]
MANIFEST = "pipelines/flights/use-case.yaml"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Storage after both pipelines, with one month to score, and what the run printed."""
    storage = tmp_path_factory.mktemp("demo")
    prepare(storage / "data", rows=1500)
    command = [sys.executable, "-m", "pipelines", "run", MANIFEST, "--storage", str(storage), "--run-id", "demo"]
    done = subprocess.run([*command, "--period", "2013-05"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return storage, done.stdout


def test_each_step_has_a_line_with_its_rows(demo: tuple[Path, str]) -> None:
    lines = demo[1].splitlines()

    steps = [line for line in lines if " rows " in line]
    assert len(steps) >= 8
    assert all(" done " in line for line in steps)


def test_every_flight_has_one_score_under_its_own_id_in_order(demo: tuple[Path, str]) -> None:
    scores = next((demo[0] / "inference/demo-2013-05/algorithm/scores").rglob("*.out")).read_text().splitlines()
    raw = (demo[0] / "data/score/2013-05.csv").read_text().splitlines()[1:]

    assert [line.split(",")[0] for line in scores] == [line.split(",")[0] for line in raw]
    assert all(0 <= float(line.split(",")[1]) <= 1 for line in scores)


def test_the_release_is_current_and_its_gate_is_met(demo: tuple[Path, str]) -> None:
    release = json.loads((demo[0] / "releases/demo.json").read_text())

    assert release["metrics"]["validation:auc"] >= 0.6
    assert all(gate["met"] for gate in release["gates"])
    assert set(release["parts"]) == {"model", "state", "baseline", "explainer"}


def test_the_run_ends_by_naming_a_report_below_one_megabyte(demo: tuple[Path, str]) -> None:
    path = Path(demo[1].splitlines()[-1].removeprefix("report: "))

    assert path == demo[0] / "reports/demo.html"
    assert path.stat().st_size < 1_000_000
    assert "AUC" in path.read_text(encoding="utf-8")
