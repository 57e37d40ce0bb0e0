"""A component as small as can be: it learns the mean of a column and serves the distance from it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from pydantic import Field

from shared.artefact import open_artefact, write_artefact
from shared.component import Component, Job, Ports, Predictor
from shared.errors import SettingsError
from shared.files import write_json
from shared.sample import Sample, written
from shared.schema import Column, Schema
from shared.settings import Settings
from shared.tables import batches, files_in, write_csv

SCHEMA = Schema((Column("id", "text"), Column("x", "number")), ("id",))


class MeanSettings(Settings):
    target: str = Field("x", description="Column whose mean is learnt.")
    shift: float = Field(0.0, ge=0, description="Added to the mean.")
    end: str = Field("", description="How to end: '', 'crash', or a signal's name.")


def train(job: Job[MeanSettings]) -> None:
    table = pl.concat(batches(files_in(job.input("data"), "input 'data'"), SCHEMA))
    write_json(job.output("state") / "state.json", {"mean": table["x"].mean()})
    (job.output("report") / "deep").mkdir()
    write_json(job.output("report") / "deep/report.json", {"rows": table.height})
    if job.settings.end == "crash":
        raise ZeroDivisionError("a bug")
    if job.settings.end:
        os.kill(os.getpid(), signal.Signals[job.settings.end])
        signal.pause()
    write_artefact(job.output("state"), component="mean", schema=SCHEMA, settings=job.settings.model_dump())
    job.message = f"Learnt from {table.height} rows."


def serve(job: Job[MeanSettings]) -> None:
    artefact = open_artefact(job.input("state"), "mean", "state")
    mean = json.loads(artefact.file("state.json").read_text())["mean"]
    tables = (table.with_columns(pl.col("x") - mean) for table in batches(files_in(job.input("data"), "data"), SCHEMA))
    write_csv(job.output("data") / f"{job.hosts.part}.csv", tables, header=False)


def load(folder: Path, environment: Mapping[str, str]) -> Predictor:
    artefact = open_artefact(folder, "mean", "state")
    mean = json.loads(artefact.file("state.json").read_text())["mean"]
    if not environment.get("SHIFT", "0").isdigit():
        raise SettingsError(f"SHIFT is {environment['SHIFT']!r}, wanted a whole number.")

    def answer(table: pl.DataFrame) -> pl.DataFrame:
        if (table["x"] == 13.0).any():
            raise ZeroDivisionError("a bug")
        kept = [name for name in ("id",) if name in table.columns]
        return table.select(*kept, distance=pl.col("x") - mean)

    return Predictor(artefact.schema, answer)


def sample(folder: Path) -> Sample:
    """Three rows to learn from, two to serve."""
    known, new = written(folder / "known", b"id,x\na,1\nb,3\nc,5\n"), written(folder / "new", b"id,x\nd,4\ne,6\n")
    return Sample({"shift": "1"}, {"data": known}, {"data": new}, b"4\n6\n", 2)


MEAN = Component(
    name="mean",
    summary="learns a mean",
    settings=MeanSettings,
    train=train,
    serve=serve,
    load=load,
    artefact="state",
    train_ports=Ports(("data",), ("state", "report"), optional_inputs=("settings",)),
    serve_ports=Ports(("data", "state"), ("data",), optional_inputs=("settings",)),
    sample=sample,
)


@pytest.fixture
def mean() -> Component:
    return MEAN


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A root folder with an input `data` of two rows whose mean is 2."""
    folder = tmp_path / "processing/input/data"
    folder.mkdir(parents=True)
    (folder / "t.csv").write_text("id,x\na,1\nb,3\n")
    return tmp_path
