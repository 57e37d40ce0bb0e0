"""Serve: production data beside the baseline, in one streamed pass; over HTTP the same for the rows of one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from components.monitoring import findings, model_quality
from components.monitoring.baseline import Baseline, Task
from components.monitoring.blocks import period_days
from components.monitoring.modelmonitor import constraints_json, production_statistics
from components.monitoring.overview import Range
from components.monitoring.quality import Violation, by_check, violations, violations_json
from components.monitoring.reading import Reading, check_hosts, names_in, readings, seconds, time_column, typed_reading
from components.monitoring.scores import Outcomes, check_rows, joined, read_scores
from components.monitoring.settings import MonitoringSettings, serving_settings
from components.monitoring.tally import Tally
from components.monitoring.verdict import Verdict, verdict
from shared.artefact import Artefact, open_artefact
from shared.component import Job, Predictor
from shared.errors import DataError, SettingsError, names
from shared.files import write_json
from shared.report import write_report
from shared.schema import Schema
from shared.settings import environment_values, parsed
from shared.tables import files_in, format_of

WELL: Final = "Completed: Job completed successfully with no violations."
"""Model Monitor reads the status of a schedule from these words."""
BROKEN: Final = "CompletedWithViolations: "


@dataclass(frozen=True)
class Checked:
    """Production data in counts.

    Attributes:
        present: monitored columns that production has.
        missing: columns that production lacks, ids and time among them.
        extra: columns that training did not have.
        days: how many days the rows cover; None when that is not known.
        ids: of the rows, as text; without columns when they were not wanted.
    """

    tally: Tally
    present: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    days: int | None
    ids: pl.DataFrame


def serve(job: Job[MonitoringSettings]) -> None:
    """Check the `data` input against the `baseline`, with `scores` the predictions, with `labels` the model too."""
    check_hosts(job.hosts)
    artefact = open_artefact(job.input("baseline"), "monitoring", "baseline")
    baseline = Baseline.from_artefact(artefact)
    settings = serving_settings(artefact.settings, job.settings)
    scores_folder, labels_folder = job.optional("scores"), job.optional("labels")
    if labels_folder and not scores_folder:
        raise SettingsError("labels are given without scores to compare them with. Add the input 'scores'.")
    files = files_in(job.input("data"), "input 'data'")
    checked = checked_files(files, artefact, baseline, settings, with_ids=scores_folder is not None)
    scores, unscored = None, 0
    if scores_folder:
        ids = artefact.schema.ids
        outputs = baseline.prediction.outputs if baseline.prediction else ()
        scores = read_scores(scores_folder, ids, outputs)
        unscored = check_rows(scores, ids, checked.ids, checked.tally.rows)
    counted = baseline.prediction.counted(scores.values) if baseline.prediction and scores else None
    outcomes, problem = None, problem_of(baseline, settings)
    unmeasured = findings.MANY_CLASSES if labels_folder and problem == "multiclass" else ""
    if unmeasured:
        job.log.warning("%s", unmeasured)
    elif labels_folder and scores:
        binary_only = problem == "binary"
        outcomes = joined(
            labels_folder, scores, artefact.schema.ids, settings.target, settings.csv(), binary=binary_only
        )
    found = verdict(baseline, checked.tally, settings, present=checked.present, days=checked.days, scores=counted)
    broken = violations(
        baseline, checked.tally, found, settings, missing_columns=checked.missing, extra_columns=checked.extra
    )
    folder = job.output("report")
    write_json(folder / "drift.json", {**found.to_json(), "violations": len(broken)})
    write_json(folder / "constraint_violations.json", violations_json(broken))
    write_json(folder / "statistics.json", production_statistics(baseline.columns, checked.tally, checked.present))
    write_json(folder / "constraints.json", constraints_json(baseline.columns, settings))
    binary = outcomes is not None and (problem == "binary" or (problem is None and outcomes.looks_binary))
    threshold = decision_threshold(baseline, settings)
    if outcomes is not None:
        write_json(folder / "model_quality.json", quality_json(outcomes, binary, threshold))
    report = findings.of_production(
        baseline,
        checked.tally,
        found,
        broken,
        present=checked.present,
        scores=counted,
        unscored=unscored,
        outcomes=outcomes,
        unmeasured=unmeasured,
        binary=binary,
        threshold=threshold,
    )
    write_report(report, folder)
    job.message = message(found, broken)


def checked_files(
    files: Sequence[Path], artefact: Artefact, baseline: Baseline, settings: MonitoringSettings, *, with_ids: bool
) -> Checked:
    """All rows of the files in counts.

    Raises:
        DataError: a file cannot be read, there are no rows, or no column is one of the baseline's.
    """
    schema = artefact.schema
    raw = [str(name) for name in artefact.extra.get("raw_columns", schema.names)]
    headerless = [raw, [name for name in raw if name != settings.target], list(schema.names)]
    columns = [names_in(path, settings.csv(), headerless) for path in files]
    anywhere, everywhere = set().union(*columns), set(columns[0]).intersection(*columns)
    present = [column.name for column in baseline.columns if column.name in anywhere]
    if not present:
        hint = " If its first line is data, say that there is no header." if format_of(files[0]) == "csv" else ""
        raise DataError(
            f"{files[0].name} has none of the baseline's columns {names(column.name for column in baseline.columns)}; "
            f"it has {names(columns[0])}. Give data like those that the baseline was made from.{hint}"
        )
    known = {*schema.names, *raw, settings.target}
    tally = Tally({column.name: column.cells for column in baseline.columns})
    time, wanted = Range(), wanted_columns(schema, settings, with_ids=with_ids)
    ids: list[pl.DataFrame] = []
    for reading in readings(files, wanted, settings.csv(), headerless):
        tally.update(reading)
        update_time(time, reading, time_column(schema, settings.time))
        if with_ids and set(schema.ids) <= set(reading.table.columns):
            ids.append(reading.table.select(schema.ids))
    if not tally.rows:
        raise DataError(f"input 'data' holds no rows in {names(path.name for path in files)}.")
    return Checked(
        tally=tally,
        present=tuple(present),
        missing=tuple(name for name in schema.names if name not in everywhere),
        extra=tuple(dict.fromkeys(name for found in columns for name in found if name not in known)),
        days=period_days(time.low, time.high) if time.count else None,
        ids=pl.concat(ids) if ids else pl.DataFrame(),
    )


def wanted_columns(schema: Schema, settings: MonitoringSettings, *, with_ids: bool) -> Schema:
    """The columns to read: those monitored, the time, and the ids where they are needed."""
    return schema.select(name for name in schema.names if with_ids or name not in schema.ids or name == settings.time)


def update_time(time: Range, reading: Reading, column: Any) -> None:
    """Widen the period by a reading's times."""
    if column is not None and column.name in reading.table.columns:
        time.update(seconds(reading.table[column.name]).drop_nulls().cast(pl.Float64).to_numpy())


def decision_threshold(baseline: Baseline, settings: MonitoringSettings) -> float:
    """The score from which a row is decided positive: as set, else the model's, else a half."""
    if settings.decision_threshold is not None:
        return settings.decision_threshold
    known = baseline.prediction.threshold if baseline.prediction else None
    return 0.5 if known is None else known


def problem_of(baseline: Baseline, settings: MonitoringSettings) -> Task | None:
    """What the labels are: classes if the model predicts classes, else as set, else the model's; None: as they look.

    Classes cannot be set away: neither figures of two classes nor of numbers mean anything for their scores.
    """
    known = baseline.prediction.task if baseline.prediction else None
    return known if known == "multiclass" or settings.problem == "auto" else settings.problem


def quality_json(outcomes: Outcomes, binary: bool, threshold: float) -> dict[str, Any]:
    """What `model_quality.json` holds: Model Monitor's metrics, and how many rows could be judged."""
    value: dict[str, Any] = {
        "version": 0.0,
        "dataset": {"item_count": len(outcomes.labels)},
        "labelled": len(outcomes.labels),
        "unlabelled": outcomes.unlabelled,
        "unmatched": outcomes.unmatched,
    }
    if binary:
        labels = outcomes.labels > 0
        value["binary_classification_metrics"] = model_quality.binary_json(labels, outcomes.scores, threshold)
        value["base_rate"] = float(labels.mean())
        value["decision_threshold"] = threshold
    else:
        value["regression_metrics"] = model_quality.regression_json(outcomes.labels, outcomes.scores)
    return value


def message(found: Verdict, broken: Sequence[Violation]) -> str:
    """How the job ended, beginning as Model Monitor wants it."""
    if not broken:
        return f"{WELL} {findings.headline(found)}."
    counted = ", ".join(f"{count} {check}" for check, count in by_check(broken).items())
    which = f" ({', '.join(found.columns('drift'))})" if found.columns("drift") else ""
    return f"{BROKEN}{findings.headline(found)}{which}; {counted}."


def load(folder: Path, environment: Mapping[str, str]) -> Predictor:
    """The baseline in a folder as a function from rows to their verdict."""
    artefact = open_artefact(folder, "monitoring", "baseline")
    baseline = Baseline.from_artefact(artefact)
    settings = serving_settings(artefact.settings, parsed(MonitoringSettings, environment_values(environment)))
    schema = artefact.schema

    def answer(table: pl.DataFrame) -> dict[str, Any]:
        there = set(table.columns)
        sent = schema.select(name for name in schema.names if name in there)
        reading = typed_reading(table, sent)
        tally, time = Tally({column.name: column.cells for column in baseline.columns}), Range()
        tally.update(reading)
        update_time(time, reading, time_column(schema, settings.time))
        present = [column.name for column in baseline.columns if column.name in there]
        days = period_days(time.low, time.high) if time.count else None
        found = verdict(baseline, tally, settings, present=present, days=days)
        broken = violations(baseline, tally, found, settings, missing_columns=(), extra_columns=())
        return {**found.to_json(), **violations_json(broken)}

    return Predictor(schema, answer)
