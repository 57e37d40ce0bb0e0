"""Train: two streamed passes over the training data, the first for ranges and levels, the second for exact counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.monitoring import findings
from components.monitoring.baseline import Baseline, ColumnBaseline, PredictionBaseline
from components.monitoring.blocks import DAY_S, LEAST_BLOCKS, LENGTHS, MOST_BLOCKS, Blocking, whole_blocks
from components.monitoring.cells import PRESENCE, Cells, of_levels, of_numbers
from components.monitoring.comparison import block_variability
from components.monitoring.distributions import Counts, quantile_edges
from components.monitoring.modelmonitor import baseline_statistics, constraints_json
from components.monitoring.overview import Overview
from components.monitoring.reading import Reading, check_hosts, readings, seconds, time_column
from components.monitoring.settings import MonitoringSettings
from components.monitoring.tally import ColumnTally, Tally
from shared.artefact import open_artefact, write_artefact
from shared.component import Job
from shared.errors import ArtefactError, DataError, SettingsError, did_you_mean, names
from shared.files import read_json, write_json
from shared.report import write_report
from shared.schema import Column, Schema
from shared.tables import column_names, files_in, inferred_schema

LIBRARIES: Final = ("numpy", "polars", "scipy")
ALL_LEVELS: Final = 6000
"""Levels named in a baseline over all columns, which keeps it below 150 KB."""
LONG: Final = 64
"""Characters beyond which a level is a text and no level."""
MOST_WRONG: Final = 0.05
"""Greatest share of training values that may be of another type than the one inferred."""


def train(job: Job[MonitoringSettings]) -> None:
    """Learn the baseline from the `data` input, and from a `model` how its scores are distributed."""
    settings = job.settings
    check_hosts(job.hosts)
    files = files_in(job.input("data"), "input 'data'")
    schema = inferred_schema(files, ids=settings.ids, csv=settings.csv())
    model = job.optional("model")
    prediction, parents = prediction_baseline(model) if model else (None, {})
    roles = monitored(schema, settings, job.log.warning)
    baseline = learnt(files, roles, settings, prediction)
    folder = job.output("baseline")
    baseline.write(folder)
    write_json(folder / "statistics.json", baseline_statistics(baseline.rows, baseline.columns))
    write_json(folder / "constraints.json", constraints_json(baseline.columns, settings))
    write_artefact(
        folder,
        component="monitoring",
        schema=roles,
        settings=settings.model_dump(mode="json"),
        libraries=LIBRARIES,
        parents=parents,
        extra={"raw_columns": list(schema.names)},
    )
    write_report(findings.of_training(baseline, settings), job.output("report"))
    job.message = (
        f"Baseline of {len(baseline.columns)} columns from {baseline.rows} rows, {findings.blocks_text(baseline)}."
    )


def monitored(schema: Schema, settings: MonitoringSettings, warn: Callable[[str], Any]) -> Schema:
    """The columns that production is expected to have: ids, time, and those that are monitored.

    Raises:
        DataError: a column that has a role is not there, or none is left to monitor.
    """
    if settings.time is not None and settings.time not in schema.names:
        hint = did_you_mean(settings.time, schema.names)
        raise DataError(f"the data lack the time column {settings.time!r}; they have {names(schema.names)}.{hint}")
    unknown = [name for name in settings.drop if name not in schema.names]
    if unknown:
        warn(f"drop names {names(unknown)}, which the data do not have.{did_you_mean(unknown[0], schema.names)}")
    left_out = {*settings.drop, *([settings.target] if settings.target else ())} - {*settings.ids, settings.time}
    kept = schema.select(name for name in schema.names if name not in left_out)
    if not set(kept.names) - {*settings.ids, settings.time}:
        raise DataError("no column is left to monitor: all are ids, time, target or dropped. Drop fewer of them.")
    # Ids are text whatever they look like: they are joined by, and 007 is not 7.
    columns = tuple(Column(column.name, "text") if column.name in settings.ids else column for column in kept.columns)
    return Schema(columns, kept.ids)


def learnt(
    files: Sequence[Path], schema: Schema, settings: MonitoringSettings, prediction: PredictionBaseline | None = None
) -> Baseline:
    """The baseline of files whose columns are known.

    Raises:
        DataError: a file cannot be read, or too many values are of another type than their column's.
        SettingsError: the blocks wanted cannot be cut from these data.
    """
    schema = schema.select(name for name in schema.names if name not in settings.ids or name == settings.time)
    overview = surveyed(files, schema, settings)
    watched = [name for name in schema.names if name != settings.time]
    cells = chosen_cells(schema, watched, overview, settings)
    time = time_column(schema, settings.time)
    span = overview.time.high - overview.time.low if overview.time.count else None
    blocking = Blocking.parsed(settings.block).settled(overview.rows, len(files), span)
    check_blocking(blocking, span, settings)
    tally = Tally(cells)
    for reading in readings(files, schema, settings.csv(), [raw_names(files, settings)]):
        start = overview.time.low // DAY_S * DAY_S if overview.time.count else 0.0
        tally.update(reading, block_numbers(reading, blocking, time.name if time else None, start))
    lengths = block_lengths(blocking, settings, tally)
    return Baseline(
        rows=overview.rows,
        columns=tuple(
            column_baseline(name, schema, overview, tally.columns[name], [step for _, step in lengths])
            for name in watched
        ),
        blocks=blocking.by,
        lengths=tuple(length for length, _ in lengths),
        block_counts=tuple(count_of_blocks(tally, step) for _, step in lengths),
        prediction=prediction,
    )


def raw_names(files: Sequence[Path], settings: MonitoringSettings) -> tuple[str, ...]:
    """Names of the columns as the files have them."""
    return column_names(files[0], settings.csv())


def surveyed(files: Sequence[Path], schema: Schema, settings: MonitoringSettings) -> Overview:
    """The first pass."""
    time = time_column(schema, settings.time)
    overview = Overview(schema, time.name if time else None, settings.integer_levels)
    for reading in readings(files, schema, settings.csv(), [raw_names(files, settings)]):
        schema.check_names(reading.table.columns, files[reading.file].name)
        overview.update(reading)
    if not overview.rows:
        raise DataError(f"input 'data' holds no rows in {names(path.name for path in files)}.")
    for column in schema.columns:
        wrong, given = overview.wrong[column.name], overview.valid[column.name] + overview.wrong[column.name]
        if wrong > MOST_WRONG * given:
            raise DataError(
                f"column {column.name!r} begins as {column.type}, but {wrong} of its {given} values are none. "
                "Correct the data, or drop the column."
            )
    return overview


def chosen_cells(
    schema: Schema, watched: Sequence[str], overview: Overview, settings: MonitoringSettings
) -> dict[str, Cells]:
    """What each monitored column is counted in."""
    with_levels = [name for name in watched if overview.levels.get(name) and overview.levels[name].counts]
    most = min(settings.max_levels, max(20, ALL_LEVELS // max(len(with_levels), 1)))
    sample = overview.sample.result()
    return {name: column_cells(name, schema, overview, sample, most, settings.bins) for name in watched}


def column_cells(name: str, schema: Schema, overview: Overview, sample: pl.DataFrame, most: int, bins: int) -> Cells:
    """What one column is counted in: levels if it has few, bins if it holds numbers, else only whether it is there."""
    counts = overview.levels[name].counts if name in overview.levels else None
    if counts:
        ranked = sorted(counts, key=lambda level: (-counts[level], level))[:most]
        free = len(counts) > most and len(counts) > overview.valid[name] / 2
        if not free and max(len(level) for level in ranked) <= LONG:
            return of_levels(tuple(ranked))
        return PRESENCE
    found = overview.ranges.get(name)
    if found is None or not found.count:
        return PRESENCE
    values = sample[name].drop_nulls().to_numpy()
    # A column that is nearly always missing may have none of its values in the sample.
    values = values if values.size else np.array([found.low, found.high])
    return of_numbers(quantile_edges(values, found.low, found.high, bins))


def check_blocking(blocking: Blocking, span_s: float | None, settings: MonitoringSettings) -> None:
    """Make sure that the blocks wanted can be cut.

    Raises:
        SettingsError: there is no time to cut by, or there would be too few or too many blocks.
    """
    if blocking.by != "time":
        return
    if span_s is None:
        found = f"time is {settings.time!r}, which holds no dates" if settings.time else "no time column is set"
        raise SettingsError(f"block is {settings.block!r}, but {found}. Set `time`, or give a number of rows.")
    count = int(span_s // blocking.length) + 1
    if count < 2 or count > MOST_BLOCKS:
        raise SettingsError(
            f"block is {settings.block!r}, which cuts the data into {count} blocks, wanted 2 to {MOST_BLOCKS}. "
            f"Choose a {'shorter' if count < 2 else 'longer'} one."
        )


def block_numbers(reading: Reading, blocking: Blocking, time: str | None, start_s: float) -> NDArray[np.int64] | None:
    """Number of the block that each row lies in, from 0; rows without a time lie in the first one."""
    height = reading.table.height
    if blocking.by == "rows":
        return (np.arange(reading.start, reading.start + height, dtype=np.int64)) // blocking.length
    if blocking.by == "file":
        return np.full(height, reading.file, dtype=np.int64)
    if blocking.by == "time" and time is not None:
        elapsed = seconds(reading.table[time]).cast(pl.Float64).fill_null(start_s).to_numpy() - start_s
        return (elapsed // blocking.length).astype(np.int64)
    return None


def block_lengths(blocking: Blocking, settings: MonitoringSettings, tally: Tally) -> list[tuple[float, int]]:
    """Lengths of blocks to judge by, each with how many of the counted blocks make one.

    By `auto` those of `LENGTHS` of which the data hold at least eight; otherwise the one that was counted.
    """
    if blocking.by == "none":
        return []
    if blocking.by == "time" and settings.block == "auto":
        days = 1 + max(int(column.matrix()[0].max()) for column in tally.columns.values())
        # Half a block may be lacking: whole_blocks counts a rest of that size as one.
        return [(length, length) for length in LENGTHS if days >= (LEAST_BLOCKS - 0.5) * length]
    unit = DAY_S if blocking.by == "time" else 1
    return [(blocking.length / unit, 1)]


def count_of_blocks(tally: Tally, step: int) -> int:
    """How many blocks there are when `step` of the counted ones make one."""
    keys, counts = next(iter(tally.columns.values())).matrix()
    return len(whole_blocks(keys, counts, step))


def column_baseline(
    name: str, schema: Schema, overview: Overview, tally: ColumnTally, steps: Sequence[int]
) -> ColumnBaseline:
    """One column's counts, with its variability over blocks of each length."""
    keys, matrix = tally.matrix()
    levels = overview.levels[name].counts if name in overview.levels else None
    size = tally.cells.size
    spread, missing_spread = [], []
    for step in steps:
        blocks = whole_blocks(keys, matrix, step)
        spread.append(_rounded(block_variability(blocks[:, :size], in_order=tally.cells.ordered)))
        missing_spread.append(_rounded(block_variability(_missing(blocks), in_order=False)))
    return ColumnBaseline(
        name=name,
        type=schema.column(name).type,
        cells=tally.cells,
        counts=tally.counts,
        missing=tally.missing,
        wrong=tally.wrong,
        distinct=len(levels) if levels is not None else None,
        single=sum(1 for count in levels.values() if count == 1) if levels else 0,
        moments=tally.moments,
        spread=tuple(spread),
        missing_spread=tuple(missing_spread),
    )


def _missing(blocks: Counts) -> Counts:
    """Present and missing values of each block, shape (n_blocks, 2)."""
    return np.column_stack([blocks[:, :-2].sum(axis=1), blocks[:, -2]])


def _rounded(effect: float) -> float:
    """An effect as the baseline holds it: digits that a library's next version may change are of no use."""
    return round(effect, 6)


def prediction_baseline(folder: Path) -> tuple[PredictionBaseline | None, dict[str, str]]:
    """How a model's scores were distributed on its validation data, and the model's digest by its role.

    Raises:
        ArtefactError: the folder holds no model, or its `scores.json` has another form.
    """
    model = open_artefact(folder, "algorithm", "model")
    path = model.file("scores.json")
    if not path.exists():
        return None, {"model": model.digest}
    value = read_json(path, "model scores.json")
    try:
        edges = np.array(value["edges"], dtype=np.float64)
        counts = np.array(value["counts"], dtype=np.int64)
        spread = spread_of_stretches(value.get("blocks"), counts.size)
        outputs = tuple(str(name) for name in model.extra.get("outputs") or ("score",))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"model scores.json cannot be read: {error!r}. Train the model again.") from None
    if counts.ndim != 1 or edges.shape != (counts.size + 1,) or not counts.size:
        raise ArtefactError(
            f"model scores.json has {edges.size} edges and {counts.size} counts, wanted one edge more. "
            "Train the model again."
        )
    threshold = model.extra.get("threshold")
    decides = float(threshold) if isinstance(threshold, (int, float)) else None
    prediction = PredictionBaseline(outputs, edges, counts, spread, decides, model.extra.get("task"))
    return prediction, {"model": model.digest}


def spread_of_stretches(stretches: Sequence[Sequence[int]] | None, size: int) -> float | None:
    """How far stretches of the validation rows differ in their scores; None when the model does not tell.

    Args:
        stretches: counts of each stretch, shape (n_stretches, size).
        size: number of bins.

    Raises:
        ValueError: a stretch has another number of bins.
    """
    if not stretches:
        return None
    return _rounded(block_variability(np.array(stretches, dtype=np.int64).reshape(-1, size), in_order=True))
