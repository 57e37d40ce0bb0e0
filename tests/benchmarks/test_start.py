"""What a start costs: the figures, and how a job's first batch is told from what comes after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import build
from benchmarks import first_batch, start
from components.spec import NAMES


def test_the_least_figure_is_compared_and_the_median_told() -> None:
    """Expected cells worked out by hand: the median of 0.5, 0.9 and 0.6 is 0.6; 0.5 is five sevenths of 0.7."""
    table = start.shown([start.Figure("a job", "CPU-s", (0.5, 0.9, 0.6), 0.7)])

    (row,) = [line for line in table.splitlines() if "a job" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["a job", "CPU-s", "0.500", "0.600", "3", "0.700", "0.714", "yes"]


def test_a_missed_bar_is_told() -> None:
    assert "**no**" in start.shown([start.Figure("a job", "CPU-s", (0.71,), 0.7)])


def test_a_figure_at_its_bar_holds() -> None:
    assert "yes" in start.shown([start.Figure("an image", "MB", (130.0,), 130)])


def test_each_figure_is_printed_beside_the_bar_of_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is made up; the bars are those that the design promises, in seconds and megabytes."""
    client = SimpleNamespace(images=SimpleNamespace(get=lambda image: SimpleNamespace(save=lambda: image)))
    monkeypatch.setattr(build, "engine", lambda: client)
    monkeypatch.setattr(build, "compressed", lambda _: 100e6)
    monkeypatch.setattr(build, "largest", lambda *_: [("polars", 40.0)])
    monkeypatch.setattr(start, "first_batches", lambda *_: {"train": (0.6, 0.61), "serve": (0.9, 0.8)})
    monkeypatch.setattr(start, "artefact_of", lambda _: "state")
    monkeypatch.setattr(start, "server_ready", lambda *_: 1.2)
    monkeypatch.setattr(start, "rebuilds", lambda _, repeats: start.Figure("rebuild", "s", (2.5,) * repeats, 2.0))

    done = CliRunner().invoke(start.main, ["--repeats", "2"], catch_exceptions=False)

    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.output.splitlines()[2:]]
    told = {row[0]: (row[1], float(row[2]), int(row[4]), float(row[5]), row[7]) for row in rows}
    jobs = {f"{name}: first batch of {mode}" for name in NAMES if name != "algorithm" for mode in ("train", "serve")}
    sizes = {"processing": 130, "algorithm": 140, "monitoring": 170, "explainability": 210}
    assert told == {
        **{f"{name}: server ready": ("CPU-s", 1.2, 2, 1.5, "yes") for name in NAMES},
        **{job: ("CPU-s", 0.6, 2, 0.7, "yes") for job in jobs if job.endswith("train")},
        **{job: ("CPU-s", 0.8, 2, 0.7, "**no**") for job in jobs if job.endswith("serve")},
        "rebuild": ("s", 2.5, 2, 2.0, "**no**"),
        **{f"{name}: compressed image (polars 40)": ("MB", 100, 1, bar, "yes") for name, bar in sizes.items()},
    }
    assert done.exit_code == 0


def test_every_image_has_a_bar_for_its_size() -> None:
    assert set(start.COMPRESSED_MB) == set(NAMES)


def test_the_artefact_is_the_output_with_a_manifest(tmp_path: Path) -> None:
    for name in ("report", "state"):
        (tmp_path / "train/processing/output" / name).mkdir(parents=True)
    (tmp_path / "train/processing/output/state/manifest.json").touch()

    assert start.artefact_of(tmp_path) == "state"


def test_a_build_of_the_copy_reads_what_a_build_of_the_checkout_does() -> None:
    """What the Dockerfiles copy or mount lies in the copied parts."""
    taken = [
        word
        for name in NAMES
        for line in (build.ROOT / "components" / name / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]

    assert taken
    assert {Path(word).parts[0] for word in taken} <= set(start.CONTEXT)


def test_without_an_engine_it_says_so_in_one_sentence_and_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def engine() -> None:
        raise build.BuildError("no Docker engine answers.")

    monkeypatch.setattr(build, "engine", engine)

    done = CliRunner().invoke(start.main)

    assert done.exit_code == 2
    assert done.output == "no Docker engine answers.\n"


def test_a_batch_is_done_when_the_next_one_is_asked_for() -> None:
    costs: list[float] = []

    def batches(count: int) -> Iterator[int]:
        yield from range(count)

    reading = first_batch.watched(batches, costs)(2)

    assert next(reading) == 0
    assert costs == []
    assert next(reading) == 1
    assert len(costs) == 1
    assert list(reading) == []
    assert len(costs) == 2


def test_it_describes_a_processing_job_that_a_component_understands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same steps as in an image, in this interpreter: jobs of both modes run, and each tells one cost a repeat."""
    monkeypatch.setattr(first_batch, "FOLDER", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(build.ROOT))
    found = first_batch.measured("processing", 1)

    assert {mode: len(costs) for mode, costs in found.items()} == {"train": 1, "serve": 1}
    assert all(cost > 0 for costs in found.values() for cost in costs)
