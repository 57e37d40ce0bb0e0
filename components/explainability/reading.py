"""Input `data`, as train and serve read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from components.explainability.settings import ExplainabilitySettings
from shared.component import Job
from shared.errors import SettingsError
from shared.schema import Schema
from shared.tables import Csv, batches, column_names, files_in, format_of


def check_one_host(job: Job[Any]) -> None:
    """Refuse a job on several hosts, whose outputs would overwrite one another. Raises SettingsError."""
    if len(job.hosts.all) > 1:
        raise SettingsError(
            f"{job.component} runs on one host, found {len(job.hosts.all)}. Set the instance count to 1."
        )


def input_batches(
    folder: Path, schema: Schema, settings: ExplainabilitySettings, *, header: bool
) -> Iterator[pl.DataFrame]:
    """Batches of input `data` with a schema's columns; ids are left out where the data has none.

    Raises:
        DataError: as `shared.tables.batches`.
    """
    files = files_in(folder, "input 'data'")
    csv = Csv(header=header)
    found = column_names(files[0], csv)
    named = header or format_of(files[0]) != "csv"
    lacks_ids = not set(schema.ids) <= set(found) if named else len(found) == len(schema.features)
    yield from batches(files, schema.select(schema.features) if lacks_ids else schema, csv, settings.batch_rows)
