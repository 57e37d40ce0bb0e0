"""Serve: make of production data what train made of training data, by the same state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

import polars as pl

from components.processing.findings import serving_report, serving_sentence
from components.processing.settings import SERVING, ProcessingSettings
from components.processing.sifting import Served, beyond_single, derived_or_not
from components.processing.state import STATE_FILE, State, applied, transformed
from shared.artefact import Artefact, open_artefact
from shared.component import Job, Predictor
from shared.errors import DataError, names
from shared.files import read_json
from shared.report import write_report
from shared.schema import Schema
from shared.tables import Csv, column_names, files_in, format_of, raw_batches, write_csv


def opened(folder: Path) -> tuple[Artefact, State]:
    """The artefact in a folder and its state, proven to still give what it gave when it was made.

    Raises:
        ArtefactError: it must not be trusted.
    """
    artefact = open_artefact(folder, "processing", "state")
    state = State.from_json(read_json(artefact.file(STATE_FILE), "state"))
    artefact.check_golden(lambda rows: applied(rows, state))
    return artefact, state


def serve(job: Job[ProcessingSettings]) -> None:
    """Apply the state to the input `data`; write data, rejected rows and the report.

    Raises:
        ArtefactError: the state must not be trusted.
        DataError: a file cannot be read, columns are missing, or more rows than `max_rejected` do not fit.
    """
    artefact, state = opened(job.input("state"))
    warn_of_differences(job, artefact)
    csv = dialect(job.settings, state)
    files = shard(job)
    check_columns(files, artefact.schema, csv)
    served = Served(state, artefact.schema, job.output("rejected") / f"{job.hosts.part}.csv")
    tables = served.tables(raw_batches(files, artefact.schema.names, csv))
    written = 0
    if files:
        written = write_csv(job.output("data") / f"{job.hosts.part}.csv", tables, header=False)
    if files and not served.rows:
        raise DataError(f"input 'data' holds {names(path.name for path in files)} without rows, wanted at least one.")
    check_refused(served, job.settings.max_rejected)
    job.log.info("read %s rows, wrote %s, rejected %s", f"{served.rows:,}", f"{written:,}", f"{served.refused:,}")
    if job.hosts.leads:
        # All hosts upload to one prefix: two files of one name would overwrite each other.
        write_report(serving_report(state, artefact.digest, served), job.output("report"))
    job.message = serving_sentence(served)


def shard(job: Job[ProcessingSettings]) -> tuple[Path, ...]:
    """The data files of this host; none where a job with several hosts had no file left for it."""
    folder = job.input("data")
    if len(job.hosts.all) > 1 and not any(path.is_file() for path in folder.rglob("*")):
        return ()
    return files_in(folder, "input 'data'")


def dialect(settings: ProcessingSettings, state: State) -> Csv:
    """How the CSV files are written: as the training data, unless a setting says otherwise."""
    given = settings.model_fields_set
    return Csv(
        settings.header if "header" in given else state.csv.header,
        settings.separator if "separator" in given else state.csv.separator,
        settings.missing if "missing" in given else state.csv.missing,
    )


def warn_of_differences(job: Job[ProcessingSettings], artefact: Artefact) -> None:
    """Say which settings were given to no effect: those of train that differ from what the state was made with."""
    given = job.settings.model_dump(mode="json")
    differing = sorted(
        name
        for name in job.settings.model_fields_set - SERVING
        if given[name] != artefact.settings.get(name, given[name])
    )
    if differing:
        job.log.warning("settings %s have no effect in serve: the state's are used", names(differing))


def check_columns(files: Sequence[Path], schema: Schema, csv: Csv) -> None:
    """Make sure that all files have the columns of the state before any output is made.

    Raises:
        DataError: columns are missing, so the state is one of other data.
    """
    for path in files:
        if format_of(path) == "csv" and not csv.header:
            continue
        found = column_names(path, csv)
        there = set(found)
        missing = [name for name in schema.names if name not in there]
        if missing:
            raise DataError(
                f"{path.name} lacks {names(missing)}, which the state was trained with; it has {names(found)}. "
                "Mount the state of this data, or add the columns."
            )


def check_refused(served: Served, limit: float) -> None:
    """Refuse the job when too many rows were.

    Raises:
        DataError: a greater share of the rows than `limit` was rejected.
    """
    if served.rows and served.refused > limit * served.rows:
        raise DataError(
            f"{served.refused:,} of {served.rows:,} rows do not fit, max_rejected is {limit:g}; the first "
            f"is {served.first}. Correct the data, or raise max_rejected."
        )


def load(folder: Path, environment: Mapping[str, str]) -> Predictor:
    """The state in a folder, for HTTP: raw rows in, their ids and features out."""
    artefact, state = opened(folder)

    def answer(rows: pl.DataFrame) -> pl.DataFrame:
        from shared.payload import RefusedRequest

        table, late = derived_or_not(rows, state)
        reasons = late.zip_with(late.is_not_null(), beyond_single(table, state))
        wrong = reasons.is_not_null()
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            raise RefusedRequest(HTTPStatus.BAD_REQUEST, f"row {row + 1}: {reasons[row]}.")
        return transformed(table, state)

    return Predictor(artefact.schema, answer)
