"""What train and serve found, as report documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from components.monitoring import model_quality
from components.monitoring.baseline import Baseline, ColumnBaseline, PredictionBaseline
from components.monitoring.distributions import Counts, FloatArray
from components.monitoring.quality import Violation
from components.monitoring.scores import Outcomes
from components.monitoring.settings import MonitoringSettings
from components.monitoring.tally import ColumnTally, Tally
from components.monitoring.verdict import CEILING, PREDICTION, Level, Thresholds, Verdict, distances
from shared.report import (
    Block,
    Categories,
    Fact,
    Facts,
    Histograms,
    Lines,
    Matrix,
    Report,
    Section,
    Series,
    Table,
    Text,
)

STATES: Final = {"ok": "good", "warn": "", "drift": "bad"}
"""With many rows nearly every column warns, and a page full of signs says nothing: only drift has one."""
SHOWN_VIOLATIONS: Final = 50
TAIL: Final = 0.01
"""Share of the values that may lie beyond each end of a drawing."""
DRAWN_BINS: Final = 24
DRAWN: Final = 60
"""Most columns whose distributions are drawn; those that drifted come first."""
MANY_CLASSES: Final = "The quality of a model of more than two classes is not measured yet."


def days_text(days: float) -> str:
    """`3 days`, `1 day`, `12 hours`."""
    number, unit = (days, "day") if days >= 1 else (days * 24, "hour")
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


def blocks_text(baseline: Baseline) -> str:
    """What the blocks were, as a clause."""
    if baseline.blocks == "none":
        return "not cut into blocks"
    if baseline.blocks == "time":
        lengths = [
            f"{count} of {days_text(days)}" for days, count in zip(baseline.lengths, baseline.block_counts, strict=True)
        ]
        return f"blocks by time: {', '.join(lengths)}"
    if baseline.blocks == "file":
        return f"{baseline.block_counts[0]} blocks, one a file"
    return f"{baseline.block_counts[0]} blocks of {baseline.lengths[0]:g} rows"


def of_training(baseline: Baseline, settings: MonitoringSettings) -> Report:
    """The report of train: what the baseline holds."""
    facts = Facts(
        (
            Fact("rows", baseline.rows),
            Fact("columns monitored", len(baseline.columns)),
            Fact("with missing values", sum(1 for column in baseline.columns if column.missing)),
            Fact("scores of a model", "yes" if baseline.prediction else "no"),
        )
    )
    sections = [
        Section("Training data", (facts, _baseline_table(baseline))),
        Section(
            "How much they differ from themselves", _spread_blocks(baseline, settings), text=_spread_text(baseline)
        ),
    ]
    return Report(
        title="Monitoring baseline",
        component="monitoring",
        mode="train",
        rows=baseline.rows,
        sections=tuple(sections),
        verdict=f"Baseline of {len(baseline.columns)} columns from {baseline.rows:,} rows",
        state="good",
    )


def _baseline_table(baseline: Baseline) -> Table:
    rows = [
        (
            column.name,
            column.type,
            {"numbers": "bins", "levels": "levels", "presence": "presence only"}[column.cells.kind],
            column.cells.size if column.cells.kind != "presence" else None,
            _percent(1 - column.completeness),
            _digits(column.moments.low) if column.moments.count else None,
            _digits(column.moments.mean) if column.moments.count else None,
            _digits(column.moments.high) if column.moments.count else None,
        )
        for column in baseline.columns
    ]
    return Table(("column", "type", "counted in", "cells", "missing", "least", "mean", "greatest"), tuple(rows))


def _spread_text(baseline: Baseline) -> str:
    return (
        "Each block of the training data is compared with all others. Production has to lie further away than the "
        f"furthest block did before it counts as drift. Here: {blocks_text(baseline)}."
    )


def _spread_blocks(baseline: Baseline, settings: MonitoringSettings) -> tuple[Block, ...]:
    if not baseline.lengths:
        return (Text(f"Every effect is compared with {settings.minimum_effect:g}, the least that matters."),)
    labels = [days_text(length) if baseline.blocks == "time" else "a block" for length in baseline.lengths]
    rows = [
        (column.name, *(_digits(Thresholds(settings, place).above(column.spread)) for place in range(len(labels))))
        for column in baseline.columns
        if column.cells.kind != "presence"
    ]
    note = (
        f"{settings.margin:g} times the greatest effect of a block, at least {settings.minimum_effect:g} and at most "
        f"{CEILING:.2g}, where two distributions have only a tenth in common."
    )
    return (Table(("column", *labels), tuple(rows), note=note, title="Effect from which a column has drifted"),)


def of_production(
    baseline: Baseline,
    tally: Tally,
    verdict: Verdict,
    violations: Sequence[Violation],
    *,
    present: Sequence[str],
    scores: Counts | None = None,
    unscored: int = 0,
    outcomes: Outcomes | None = None,
    unmeasured: str = "",
    binary: bool = False,
    threshold: float = 0.5,
) -> Report:
    """The report of serve: verdict, columns, distributions, scores, outcomes or why they were not used, violations."""
    sections = [_verdict_section(baseline, tally, verdict, violations, present)]
    drawn = _distributions(baseline, tally, verdict, present)
    if drawn:
        sections.append(Section("Distributions", drawn, "Drifted columns first. Training filled, production outlined."))
    if baseline.prediction is not None and scores is not None:
        sections.append(_prediction_section(baseline.prediction, scores, verdict, unscored))
    if outcomes is not None:
        sections.append(_quality_section(outcomes, binary, threshold))
    elif unmeasured:
        sections.append(Section("Model quality", (Text(unmeasured),)))
    sections.append(_violations_section(violations))
    return Report(
        title="Monitoring",
        component="monitoring",
        mode="serve",
        rows=tally.rows,
        sections=tuple(sections),
        verdict=headline(verdict) + _also_broken(violations),
        state=_state(verdict, violations),
    )


def headline(verdict: Verdict) -> str:
    """The verdict as one short sentence."""
    if verdict.reason:
        return f"Not tested: {verdict.reason}"
    tested = len({finding.column for finding in verdict.findings} - {PREDICTION})
    drifted = verdict.columns("drift")
    also = " and the prediction" if verdict.prediction_drift and drifted else ""
    if drifted:
        return f"Drift in {len(drifted)} of {tested} columns{also}"
    if verdict.prediction_drift:
        return f"Drift of the prediction, none in {tested} columns"
    return f"No drift in {tested} columns"


def _also_broken(violations: Sequence[Violation]) -> str:
    """How many violations are of quality, to follow the headline: those of drift are in it already."""
    count = sum(1 for violation in violations if violation.check != "baseline_drift_check")
    return f", {count:,} quality violation{'s' if count > 1 else ''}" if count else ""


def _state(verdict: Verdict, violations: Sequence[Violation]) -> str:
    if verdict.detected:
        return "bad"
    return "attention" if violations or verdict.reason else "good"


def _verdict_section(
    baseline: Baseline, tally: Tally, verdict: Verdict, violations: Sequence[Violation], present: Sequence[str]
) -> Section:
    facts = Facts(
        (
            Fact("rows checked", tally.rows, note=f"against {baseline.rows:,} of training"),
            Fact(
                "columns drifted",
                len(verdict.columns("drift")),
                note=f"{len(verdict.columns('warn'))} changed a little",
            ),
            Fact("violations", len(violations)),
            Fact("period", days_text(verdict.days) if verdict.days else "unknown", note=_yardstick(baseline, verdict)),
        )
    )
    rows = [row for column in baseline.columns if column.name in present for row in [_row(column, tally, verdict)]]
    table = Table(
        ("column", "type", "rows", "missing", "p", "effect", "threshold", "verdict", "PSI", "JS", "KS", "Wasserstein"),
        tuple(rows),
        note="p is adjusted for all tests together. A column drifted when p is at most the false discovery rate and "
        "the effect reaches the threshold; warn means the first without the second. PSI (nats), Jensen-Shannon, "
        "Kolmogorov-Smirnov and Wasserstein (standard deviations) are for reading only.",
    )
    return Section("Verdict", (facts, table))


def _yardstick(baseline: Baseline, verdict: Verdict) -> str:
    if verdict.block_days is not None:
        return f"judged by blocks of {days_text(verdict.block_days)}"
    return f"judged by {blocks_text(baseline)}" if baseline.lengths else "no blocks"


def _row(column: ColumnBaseline, tally: Tally, verdict: Verdict) -> tuple[str | float | int | None, ...]:
    """One line of the verdict's table: the finding that decides the column's level."""
    found = tally.columns[column.name]
    findings = verdict.of(column.name)
    level = verdict.level(column.name)
    worst = max(
        (finding for finding in findings if finding.level == level),
        key=lambda finding: (
            (finding.aspect == "distribution", finding.effect) if level == "ok" else (True, finding.effect)
        ),
        default=None,
    )
    said = level if worst is None or worst.aspect == "distribution" or level == "ok" else f"{level}: {worst.aspect}"
    apart = distances(column, found)
    rows = int(found.counts.sum()) + found.missing + found.wrong
    return (
        column.name,
        column.type,
        rows,
        _percent(found.missing / rows) if rows else None,
        _p_text(worst.p) if worst else None,
        _digits(worst.effect) if worst else None,
        _digits(worst.threshold) if worst else None,
        said if findings else "not tested",
        *(_digits(apart[name]) for name in ("psi", "js", "ks", "wasserstein")),
    )


def _distributions(
    baseline: Baseline, tally: Tally, verdict: Verdict, present: Sequence[str]
) -> tuple[Histograms | Categories, ...]:
    order: dict[Level, int] = {"drift": 0, "warn": 1, "ok": 2}
    columns = [column for column in baseline.columns if column.name in present and column.cells.kind != "presence"]
    columns.sort(key=lambda column: order[verdict.level(column.name)])
    return tuple(_drawing(column, tally.columns[column.name], verdict.level(column.name)) for column in columns[:DRAWN])


def _drawing(column: ColumnBaseline, tally: ColumnTally, level: Level) -> Histograms | Categories:
    if column.cells.ordered:
        edges, expected, actual = drawn_bins(column, tally)
        return Histograms(column.name, edges, expected, actual, badge=level, state=STATES[level])
    labels = (*column.cells.levels, "all others")
    expected, actual = tuple(column.counts.tolist()), tuple(tally.counts.tolist())
    if not expected[-1] and not actual[-1]:
        labels, expected, actual = labels[:-1], expected[:-1], actual[:-1]
    return Categories(column.name, labels, expected, actual, badge=level, state=STATES[level])


def drawn_bins(
    column: ColumnBaseline, tally: ColumnTally
) -> tuple[tuple[float | None, ...], tuple[int, ...], tuple[int, ...]]:
    """A column's quantile bins as bins of equal width, which show its shape.

    Returns:
        Edges, and the counts of training and production between them. The ends are open where values lie beyond the
        range drawn, which leaves out at most a hundredth at each end: an outlier must not flatten the rest.
    """
    low = min(column.moments.low, tally.moments.low)
    high = max(column.moments.high, tally.moments.high)
    places = np.concatenate(
        [[min(low, column.cells.edges[0])], column.cells.edges, [max(high, column.cells.edges[-1])]]
    )
    known = np.concatenate([[0], np.cumsum(column.counts)])
    seen = np.concatenate([[0], np.cumsum(tally.counts)])
    # Without a single value in production, training alone decides what is drawn.
    inside = shown_range(places, known / known[-1], (seen / seen[-1]) if seen[-1] else (known / known[-1]))
    bounds = shown_bounds(*inside, whole=column.type == "integer")
    marks: list[float | None] = [float(bound) for bound in bounds]
    first = _between(bounds, places, known)
    second = _between(bounds, places, seen)
    ends = [(first[place] or second[place]) > 0 for place in (0, -1)]
    kept = slice(0 if ends[0] else 1, None if ends[1] else -1)
    marks = [*([None] if ends[0] else []), *marks, *([None] if ends[1] else [])]
    return tuple(marks), tuple(first[kept]), tuple(second[kept])


def shown_range(places: FloatArray, known: FloatArray, seen: FloatArray) -> tuple[float, float]:
    """The range between the bin edges that leave out at most a hundredth of either distribution at each end."""
    lower = int(np.flatnonzero((known <= TAIL) & (seen <= TAIL))[-1])
    upper = int(np.flatnonzero((known >= 1 - TAIL) & (seen >= 1 - TAIL))[0])
    return float(places[lower]), float(places[max(upper, lower)])


def shown_bounds(low: float, high: float, *, whole: bool) -> FloatArray:
    """About 24 bins of equal width from `low` to `high`; of whole numbers each holds equally many."""
    if whole:
        low, high = float(np.floor(low)), float(np.ceil(high))
        width = max(1.0, float(np.ceil((high - low) / DRAWN_BINS)))
        steps = np.arange(int(np.ceil(max(high - low, 1.0) / width)) + 1)
        return np.asarray(low + width * steps, dtype=np.float64)
    return np.asarray(np.linspace(low, high, DRAWN_BINS + 1) if high > low else [low, low], dtype=np.float64)


def _between(bounds: FloatArray, places: FloatArray, cumulative: Counts) -> list[int]:
    """Counts below the first bound, between the bounds, and above the last."""
    inner = np.round(np.interp(bounds, places, cumulative)).astype(np.int64)
    # At the ends a value that is the bound itself belongs inside, which interpolation cannot tell from outside.
    below, above = int(np.interp(bounds[0], places, cumulative)), int(cumulative[-1])
    counts: list[int] = np.diff(np.concatenate([[0, below], inner[1:], [above]])).tolist()
    return counts


def _prediction_section(prediction: PredictionBaseline, scores: Counts, verdict: Verdict, unscored: int) -> Section:
    level = verdict.level(PREDICTION)
    found = verdict.of(PREDICTION)
    text = "What the model said in production, beside what it said of its validation data."
    if unscored:
        text += f" {unscored:,} rows have no score: processing rejected them."
    note = f"effect {found[0].effect:.3f}, threshold {found[0].threshold:.3f}" if found else ""
    drawing = Histograms(
        "score",
        tuple(prediction.edges.tolist()),
        tuple(prediction.counts.tolist()),
        tuple(scores.tolist()),
        names=("validation", "production"),
        note=note,
        badge=level,
        state=STATES[level],
    )
    return Section("Predictions", (drawing,), text=text)


def _quality_section(outcomes: Outcomes, binary: bool, threshold: float) -> Section:
    text = f"{len(outcomes.labels):,} scored rows have an outcome, {outcomes.unlabelled:,} have none yet"
    text += f", {outcomes.unmatched:,} outcomes have no score." if outcomes.unmatched else "."
    blocks = _binary_blocks(outcomes, threshold) if binary else _regression_blocks(outcomes)
    return Section("Model quality", blocks, text=text)


def _binary_blocks(outcomes: Outcomes, threshold: float) -> tuple[Block, ...]:
    labels, scores = outcomes.labels > 0, outcomes.scores
    figures = model_quality.binary_scalars(labels, scores, threshold)
    constant = model_quality.constant_scalars(labels)
    rate = float(labels.mean())
    base = {
        "auc": 0.5,
        "average_precision": rate,
        "brier_score": rate * (1 - rate),
        **{name.removesuffix("_best_constant_classifier"): value for name, value in constant.items()},
    }
    shown = ("auc", "average_precision", "brier_score", "accuracy", "precision", "recall", "f1")
    table = Table(
        ("figure", "model", "best constant"),
        tuple((name.replace("_", " "), _digits(figures[name]), _digits(base[name])) for name in shown),
        note=f"Decided at a score of {threshold:g}. The best constant knows the share of positive rows, {rate:.1%}, "
        "and nothing else.",
    )
    found = model_quality.confusion(labels, scores >= threshold)
    matrix = Matrix(
        "Confusion",
        ("0", "1"),
        ("0", "1"),
        ((found.true_negative, found.false_positive), (found.false_negative, found.true_positive)),
    )
    if labels.all() or not labels.any():
        return (table, matrix)
    return (table, *_curves(labels, scores, rate), matrix)


def _curves(labels: model_quality.Labels, scores: FloatArray, rate: float) -> tuple[Lines, ...]:
    points = model_quality.curve(labels, scores)
    thin = model_quality.thinned
    means, shares = model_quality.calibration(labels, scores)
    return (
        Lines(
            "ROC",
            "false positive rate",
            "true positive rate",
            (Series("model", tuple(thin(points.false_positive_rates)), tuple(thin(points.true_positive_rates))),),
            diagonal=True,
        ),
        Lines(
            "Precision and recall",
            "recall",
            "precision",
            (
                Series("model", tuple(thin(points.recalls)), tuple(thin(points.precisions))),
                Series("base rate", (0.0, 1.0), (rate, rate), dashed=True),
            ),
        ),
        Lines(
            "Calibration",
            "mean score",
            "share positive",
            (Series("model", tuple(means.tolist()), tuple(shares.tolist())),),
            diagonal=True,
        ),
    )


def _regression_blocks(outcomes: Outcomes) -> tuple[Block, ...]:
    figures = model_quality.regression_scalars(outcomes.labels, outcomes.scores)
    mean = np.full_like(outcomes.labels, outcomes.labels.mean())
    constant = model_quality.regression_scalars(outcomes.labels, mean)
    rows = tuple((name, _digits(figures[name]), _digits(constant[name])) for name in ("rmse", "mae", "r2"))
    return (Table(("figure", "model", "always the mean"), rows),)


def _violations_section(violations: Sequence[Violation]) -> Section:
    if not violations:
        return Section("Data quality", (Text("Nothing that training promised is broken."),))
    rows = tuple(
        (violation.column, violation.check, violation.description) for violation in violations[:SHOWN_VIOLATIONS]
    )
    more = len(violations) - SHOWN_VIOLATIONS
    table = Table(("column", "check", "what was found"), rows, note=f"and {more} more" if more > 0 else "")
    return Section("Data quality", (table,))


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _digits(value: float | None) -> float | None:
    """A number cut to the four digits that a reader looks at."""
    return None if value is None else float(f"{value:.4g}")


def _p_text(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"
