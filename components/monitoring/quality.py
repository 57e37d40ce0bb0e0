"""Data quality: what training data promise about a column, and where production breaks the promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.monitoring.baseline import Baseline, ColumnBaseline
from components.monitoring.settings import MonitoringSettings
from components.monitoring.tally import ColumnTally, Tally
from components.monitoring.verdict import PREDICTION, Finding, Verdict
from shared.errors import names

Check = Literal[
    "data_type_check",
    "completeness_check",
    "missing_column_check",
    "extra_column_check",
    "categorical_values_check",
    "non_negative_check",
    "baseline_drift_check",
]
"""Model Monitor's names of checks; it has none for signs, so `non_negative_check` is ours."""


@dataclass(frozen=True)
class Violation:
    """One promise broken."""

    column: str
    check: Check
    description: str

    def to_json(self) -> dict[str, str]:
        """The form of `constraint_violations.json`."""
        return {
            "feature_name": self.column,
            "constraint_check_type": self.check,
            "description": self.description,
        }


@dataclass(frozen=True)
class Constraints:
    """What training data promise about one column.

    Attributes:
        wrong_share: greatest share of values of another type, from 0 to 1.
        completeness: least share of rows that have a value, from 0 to 1.
        non_negative: whether no number is below 0.
        domain: the levels there are; None where they are not all known, or are no levels.
    """

    wrong_share: float
    completeness: float
    non_negative: bool
    domain: tuple[str, ...] | None


def constraints(column: ColumnBaseline, settings: MonitoringSettings) -> Constraints:
    """The promises of one column, with the settings' tolerances."""
    return Constraints(
        wrong_share=min(1.0, column.wrong / column.rows + settings.type_tolerance),
        completeness=max(0.0, column.completeness - settings.completeness_tolerance)
        if column.missing < column.rows
        else 0.0,
        non_negative=column.moments.count > 0 and column.moments.low >= 0,
        domain=column.cells.levels if column.knows_all_levels else None,
    )


def column_violations(column: ColumnBaseline, tally: ColumnTally, settings: MonitoringSettings) -> list[Violation]:
    """The promises that one column of production breaks."""
    promised = constraints(column, settings)
    counts = tally.counts
    rows = int(counts.sum()) + tally.missing + tally.wrong
    if not rows:
        return []
    found = []
    wrong, complete = tally.wrong / rows, 1 - tally.missing / rows
    if wrong > promised.wrong_share:
        text = f"{tally.wrong} of {rows} values are no {column.type}: {wrong:.2%}, allowed {promised.wrong_share:.2%}"
        found.append(Violation(column.name, "data_type_check", text))
    if complete < promised.completeness:
        text = f"{complete:.2%} of the rows have a value, wanted at least {promised.completeness:.2%}"
        found.append(Violation(column.name, "completeness_check", text))
    if promised.non_negative and tally.moments.low < 0:
        text = f"the least value is {tally.moments.low:g}, in training none was below 0"
        found.append(Violation(column.name, "non_negative_check", text))
    if promised.domain is not None and counts[-1] > settings.level_tolerance * counts.sum():
        unknown = sorted(tally.unknown, key=lambda level: (-tally.unknown[level], level))
        text = (
            f"{counts[-1]} of {counts.sum()} values are none that training had ({names(unknown, 5)}): "
            f"{counts[-1] / counts.sum():.2%}, allowed {settings.level_tolerance:.2%}"
        )
        found.append(Violation(column.name, "categorical_values_check", text))
    return found


def drift_violation(finding: Finding) -> Violation:
    """The violation that a finding of drift is."""
    what = "prediction" if finding.column == PREDICTION else finding.aspect
    text = f"Baseline drift distance of the {what}: {finding.effect:.4f} exceeds threshold: {finding.threshold:.4f}"
    return Violation(finding.column, "baseline_drift_check", text)


def violations(
    baseline: Baseline,
    tally: Tally,
    verdict: Verdict,
    settings: MonitoringSettings,
    *,
    missing_columns: Sequence[str],
    extra_columns: Sequence[str],
) -> tuple[Violation, ...]:
    """All promises broken: columns first, then values, then drift."""
    found = [
        Violation(name, "missing_column_check", "training had this column, production has not")
        for name in missing_columns
    ]
    found += [
        Violation(name, "extra_column_check", "production has this column, training had not") for name in extra_columns
    ]
    for column in baseline.columns:
        if column.name not in missing_columns:
            found += column_violations(column, tally.columns[column.name], settings)
    found += [drift_violation(finding) for finding in verdict.findings if finding.level == "drift"]
    return tuple(found)


def by_check(found: Sequence[Violation]) -> Mapping[str, int]:
    """How many violations there are of each kind."""
    counted: dict[str, int] = {}
    for violation in found:
        counted[violation.check] = counted.get(violation.check, 0) + 1
    return counted


def violations_json(found: Sequence[Violation]) -> dict[str, Any]:
    """What `constraint_violations.json` holds; an empty list when all is well."""
    return {"violations": [violation.to_json() for violation in found]}
