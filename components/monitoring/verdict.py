"""The verdict: every way in which production could differ is a hypothesis, judged together with all others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from components.monitoring.baseline import Baseline, ColumnBaseline
from components.monitoring.comparison import Comparison, compared, events, ordered
from components.monitoring.distributions import Counts
from components.monitoring.drift import adjusted
from components.monitoring.settings import MonitoringSettings
from components.monitoring.tally import ColumnTally, Tally

CEILING: Final = math.sqrt(3.6)
"""No blocks make a threshold greater: at this effect, 1.9, the distributions have only a tenth in common.

What they have in common is the sum over cells of 2 p q / (p + q), which is 1 - effect² / 4.
"""
Level = Literal["ok", "warn", "drift"]
Aspect = Literal["distribution", "missing", "new levels", "prediction"]
PREDICTION: Final = "(prediction)"
"""What stands for a column where the scores are meant; no column of a table can be called so by accident."""


@dataclass(frozen=True)
class Hypothesis:
    """One way in which a column may have changed, before all are judged.

    Attributes:
        threshold: the effect from which it matters.
    """

    column: str
    aspect: Aspect
    comparison: Comparison
    threshold: float


@dataclass(frozen=True)
class Finding:
    """A hypothesis judged.

    Attributes:
        p: adjusted for all hypotheses of the run, from 0 to 1.
        effect: from 0 to 2.
        threshold: the effect from which it matters.
        level: warn is significant and does not matter, drift is both.
    """

    column: str
    aspect: Aspect
    p: float
    effect: float
    threshold: float
    level: Level


@dataclass(frozen=True)
class Verdict:
    """What the production data are like beside the training data.

    Attributes:
        findings: one for each hypothesis that could be tested.
        reason: why nothing was tested, or empty.
    """

    findings: tuple[Finding, ...]
    rows: int
    baseline_rows: int
    days: int | None = None
    block_days: float | None = None
    reason: str = ""

    def columns(self, level: Level) -> tuple[str, ...]:
        """Columns whose worst finding has this level, in order; the prediction is no column."""
        names = dict.fromkeys(finding.column for finding in self.findings if finding.column != PREDICTION)
        return tuple(name for name in names if self.level(name) == level)

    def level(self, column: str) -> Level:
        """The worst level of a column's findings; ok without any."""
        levels = {finding.level for finding in self.findings if finding.column == column}
        return "drift" if "drift" in levels else "warn" if "warn" in levels else "ok"

    def of(self, column: str) -> tuple[Finding, ...]:
        """The findings of one column."""
        return tuple(finding for finding in self.findings if finding.column == column)

    @property
    def score(self) -> float:
        """The greatest effect of the significant findings, in multiples of its threshold: drift from 1."""
        return max((_ratio(finding) for finding in self.findings if finding.level != "ok"), default=0.0)

    @property
    def detected(self) -> bool:
        """Whether anything drifted, the prediction included."""
        return any(finding.level == "drift" for finding in self.findings)

    @property
    def prediction_drift(self) -> bool | None:
        """Whether the scores drifted; None when they were not tested."""
        found = self.of(PREDICTION)
        return any(finding.level == "drift" for finding in found) if found else None

    def to_json(self) -> dict[str, Any]:
        """What `drift.json` holds: the little that a pipeline's condition reads."""
        drifted = self.columns("drift")
        tested = {finding.column for finding in self.findings} - {PREDICTION}
        return {
            "detected": self.detected,
            "score": round(self.score, 4),
            "threshold": 1.0,
            "columns": list(drifted),
            "number": len(drifted),
            "warned": list(self.columns("warn")),
            "tested": len(tested),
            "prediction_drift": self.prediction_drift,
            "rows": self.rows,
            "baseline_rows": self.baseline_rows,
            "days": self.days,
            "block_days": self.block_days,
            "reason": self.reason,
        }


def _ratio(finding: Finding) -> float:
    return finding.effect / finding.threshold if finding.threshold else float(finding.effect > 0)


def judged(hypotheses: Sequence[Hypothesis], false_discovery_rate: float) -> tuple[Finding, ...]:
    """All hypotheses judged together: significant by Benjamini and Hochberg, material by their own threshold."""
    p_values = adjusted(np.array([hypothesis.comparison.p for hypothesis in hypotheses], dtype=np.float64))
    findings = []
    for hypothesis, p in zip(hypotheses, p_values.tolist(), strict=True):
        effect = hypothesis.comparison.effect
        level: Level = "ok"
        if p <= false_discovery_rate:
            level = "drift" if effect >= hypothesis.threshold and effect > 0 else "warn"
        findings.append(Finding(hypothesis.column, hypothesis.aspect, p, effect, hypothesis.threshold, level))
    return tuple(findings)


def verdict(
    baseline: Baseline,
    tally: Tally,
    settings: MonitoringSettings,
    *,
    present: Sequence[str],
    days: int | None = None,
    scores: Counts | None = None,
) -> Verdict:
    """The verdict on what was counted.

    Args:
        baseline: of the training data.
        tally: of the production data, in the baseline's cells.
        settings: thresholds.
        present: monitored columns that production has.
        days: how many days production covers; None when that is not known.
        scores: counts of the model's scores in the baseline's bins.
    """
    position = baseline.length_for(days)
    block_days = baseline.lengths[position] if position is not None else None
    if tally.rows < settings.min_rows:
        reason = f"{tally.rows} rows are too few to test for drift, wanted at least {settings.min_rows}"
        return Verdict((), tally.rows, baseline.rows, days, block_days, reason)
    thresholds = Thresholds(settings, position)
    hypotheses = [
        hypothesis
        for column in baseline.columns
        if column.name in present
        for hypothesis in column_hypotheses(column, tally.columns[column.name], thresholds)
    ]
    if baseline.prediction is not None and scores is not None and scores.sum():
        comparison = ordered(baseline.prediction.counts, scores)
        hypotheses.append(Hypothesis(PREDICTION, "prediction", comparison, thresholds.of_prediction(baseline)))
    return Verdict(judged(hypotheses, settings.false_discovery_rate), tally.rows, baseline.rows, days, block_days)


@dataclass(frozen=True)
class Thresholds:
    """From which effect a finding matters: the settings, and which length of blocks counts (None: the worst)."""

    settings: MonitoringSettings
    position: int | None

    def above(self, spread: tuple[float, ...]) -> float:
        """The threshold of something whose blocks differ by `spread`, one value for each length of blocks."""
        found = spread[self.position] if self.position is not None else max(spread, default=0.0)
        return max(self.settings.minimum_effect, min(CEILING, self.settings.margin * found))

    def of_prediction(self, baseline: Baseline) -> float:
        """The threshold of the scores: how far stretches of the validation rows differ in them.

        Of a model that does not tell, the median of the columns': scores are made of the columns, and are taken to move
        from block to block as they do.
        """
        if baseline.prediction is not None and baseline.prediction.spread is not None:
            return self.above((baseline.prediction.spread,) * max(1, len(baseline.lengths)))
        found = [self.above(column.spread) for column in baseline.columns if column.cells.kind != "presence"]
        return float(np.median(found)) if found else self.settings.minimum_effect


def column_hypotheses(column: ColumnBaseline, tally: ColumnTally, thresholds: Thresholds) -> list[Hypothesis]:
    """What can be asked of one column. What no counts could answer is not asked, so that it costs no power."""
    found = []
    counts = tally.counts
    if (
        column.cells.kind != "presence"
        and column.counts.sum()
        and counts.sum()
        and np.sum(column.counts + counts > 0) > 1
    ):
        comparison = compared(column.counts, counts, in_order=column.cells.ordered)
        found.append(Hypothesis(column.name, "distribution", comparison, thresholds.above(column.spread)))
    rows = int(counts.sum()) + tally.missing
    known_rows = int(column.counts.sum()) + column.missing
    if 0 < column.missing + tally.missing < rows + known_rows and rows:
        tolerance = thresholds.settings.completeness_tolerance
        comparison = events(column.missing, known_rows, tally.missing, rows, tolerance=tolerance)
        found.append(Hypothesis(column.name, "missing", comparison, thresholds.above(column.missing_spread)))
    if column.knows_all_levels and column.single + counts[-1] and counts.sum():
        comparison = events(
            column.single,
            int(column.counts.sum()),
            int(counts[-1]),
            int(counts.sum()),
            tolerance=thresholds.settings.level_tolerance,
            more_only=True,
        )
        found.append(Hypothesis(column.name, "new levels", comparison, thresholds.settings.minimum_effect))
    return found


def distances(column: ColumnBaseline, tally: ColumnTally) -> Mapping[str, float | None]:
    """Distances for reading: PSI, Jensen-Shannon, Kolmogorov-Smirnov and Wasserstein in standard deviations."""
    from components.monitoring import drift
    from components.monitoring.comparison import shares

    counts = tally.counts
    if column.cells.kind == "presence" or not column.counts.sum() or not counts.sum():
        return {"psi": None, "js": None, "ks": None, "wasserstein": None}
    p, q = shares(column.counts), shares(counts)
    in_order = column.cells.ordered
    deviation = column.moments.deviation
    return {
        "psi": drift.population_stability_index(p, q),
        "js": drift.jensen_shannon_distance(p, q),
        "ks": drift.ks_distance(column.counts, counts) if in_order else None,
        "wasserstein": drift.wasserstein_distance(column.cells.edges, p, q) / deviation
        if in_order and deviation
        else None,
    }
