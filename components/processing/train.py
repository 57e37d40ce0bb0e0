"""Train: learn how raw rows become features from the training rows, and make the features of all rows.

Each step is a pass over batches, so that memory does not grow with the rows: the raw files once, into a typed table on
disk; then that table, for what is known of each column, for medians where they are wanted, and for the output.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl

from components.processing.findings import Distributions, training_report, training_sentence
from components.processing.fitting import Fitted, fitted, sources
from components.processing.passes import Parted, known, parted, quantiles
from components.processing.plan import Plan, planned
from components.processing.profile import profile
from components.processing.reading import Reading, raw_schema
from components.processing.settings import ProcessingSettings
from components.processing.spool import Spool
from components.processing.state import STATE_FILE, State, applied, transformed
from shared.artefact import Golden, write_artefact
from shared.component import Job
from shared.errors import SettingsError
from shared.files import sha256_of, write_json
from shared.report import write_report
from shared.schema import Schema
from shared.tables import files_in, write_parquet

GOLDEN_ROWS: Final = 15


def train(job: Job[ProcessingSettings]) -> None:
    """Fit the transformation on the training rows and write train, validation, test, state and report.

    Raises:
        SettingsError: the target is not named, or settings do not fit the data.
        DataError: the data cannot be read or teach nothing.
    """
    settings = job.settings
    if settings.target is None:
        raise SettingsError("'target' is missing, wanted the name of the column to predict. Set target.")
    if len(job.hosts.all) > 1:
        raise SettingsError(
            f"processing train runs on one host, found {len(job.hosts.all)}. Set the instance count to 1."
        )
    files = files_in(job.input("data"), "input 'data'")
    plan = planned(settings, raw_schema(files, settings.csv()))
    # Beside an output, because that is the volume sized for the data; gone before the outputs move to their places.
    with tempfile.TemporaryDirectory(prefix=".spool-", dir=job.output("train")) as folder:
        reading = Reading(files, plan, settings.csv(), settings.where)
        data = Spool.written(Path(folder) / "data", reading.tables())
        job.log.info("read %s rows, kept %s", f"{reading.rows:,}", f"{reading.kept:,}")
        rows = parted(data, validation_rows(job, plan, Path(folder)), settings.time, settings.split)
        facts = known(rows, (*plan.features, plan.target), sources(plan.features, settings))
        job.log.info("%s rows for training, %s for validation, %s for test", *(f"{n:,}" for n in facts.rows.values()))
        result = fitted(plan, facts, settings, partial(quantiles, rows))
        for name, why in result.left_out.items():
            if why.startswith("constant"):
                job.log.warning("column %r is no feature, %s", name, why)
        distributions = Distributions(plan.features, facts.columns["train"])
        for part in ("train", "validation", *(("test",) if settings.split.test else ())):
            write_part(job, part, distributions.watching(part, rows.batches(part)), result.state)
        digest = write_state(job, result, golden(rows, result), digests(job))
    job.log.info("state %s", digest)
    write_json(job.output("report") / "profile.json", profile((*plan.features, plan.target), facts))
    write_report(training_report(plan, facts, result, distributions, reading), job.output("report"))
    job.message = training_sentence(facts, result)


def validation_rows(job: Job[ProcessingSettings], plan: Plan, folder: Path) -> Spool | None:
    """The prepared rows of the input `validation`, which takes the place of the split's validation share."""
    mounted = job.optional("validation")
    if mounted is None:
        return None
    files = files_in(mounted, "input 'validation'")
    reading = Reading(files, plan, job.settings.csv(), job.settings.where, "input 'validation'")
    spool = Spool.written(folder / "validation", reading.tables())
    job.log.info("read %s rows for validation, kept %s", f"{reading.rows:,}", f"{reading.kept:,}")
    return spool


def write_part(job: Job[ProcessingSettings], part: str, batches: Iterator[pl.DataFrame], state: State) -> None:
    """Write one part as Parquet; a part without rows is a file without rows, because an empty S3 prefix fails a job."""
    schema = state.output_schema.dtypes()
    tables = (transformed(batch, state, with_target=True).cast(pl.Schema(schema)) for batch in batches)
    write_parquet(job.output(part) / f"{job.hosts.part}.parquet", tables, schema)


def golden(rows: Parted, result: Fitted) -> Golden:
    """Training values that belong to no one row, and a row where everything is missing, with what they give."""
    head = unlinked(next(islice(rows.batches("train"), 1)).head(GOLDEN_ROWS).select(result.serving.names), result)
    inputs = pl.concat([head, pl.DataFrame({name: [None] for name in head.columns}, schema=head.schema)])
    outputs = applied(inputs, result.state)
    return Golden(json_columns(inputs), json_columns(outputs))


def unlinked(table: pl.DataFrame, result: Fitted) -> pl.DataFrame:
    """The table with its k-th column moved down by k rows and ids that are no ids.

    An artefact travels further than the data it was made from: whoever reads it must not find a customer in it.
    """
    rows = table.height
    moved = [
        pl.concat([column.tail(k % rows), column.head(rows - k % rows)])
        for k, column in enumerate(table.get_columns(), start=1)
    ]
    kept = {column.name: column for column in moved}
    ids = {name: [f"golden {row}" for row in range(rows)] for name in result.state.ids}
    return pl.DataFrame({**kept, **ids}, schema=table.schema)


def json_columns(table: pl.DataFrame) -> dict[str, list[Any]]:
    """The table's columns as JSON values: dates and timestamps as text."""
    return {
        column.name: [value.isoformat() if hasattr(value, "isoformat") else value for value in column.to_list()]
        for column in table.get_columns()
    }


def digests(job: Job[ProcessingSettings]) -> dict[str, str]:
    """SHA-256 of each raw file by its name below its input: what a release says that it learnt from."""
    folders = {"": job.input("data"), "validation/": job.optional("validation")}
    return {
        prefix + path.relative_to(folder).as_posix(): sha256_of(path)
        for prefix, folder in folders.items()
        if folder is not None
        for path in files_in(folder, "the input")
    }


def write_state(job: Job[ProcessingSettings], result: Fitted, rows: Golden, data: Mapping[str, str]) -> str:
    """Write the artefact; its digest."""
    folder = job.output("state")
    write_json(folder / STATE_FILE, result.state.to_json())
    return write_artefact(
        folder,
        component="processing",
        schema=Schema(result.serving.columns, result.state.ids),
        settings=job.settings.model_dump(mode="json"),
        libraries=("polars",),
        extra={
            "output_schema": result.state.output_schema.to_json(),
            "classes": list(result.state.target.classes),
            "data": dict(data),
        },
        golden=rows,
    )
