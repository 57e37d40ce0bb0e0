"""What train and serve tell: the report documents, and the sentence that ends the job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from components.processing.fitting import Fitted
from components.processing.passes import Known
from components.processing.plan import Plan
from components.processing.profile import readable
from components.processing.reading import Reading
from components.processing.sifting import Served
from components.processing.state import State
from components.processing.summary import Bins, Levels, Numbers, Summary, share
from shared.report import Bars, Categories, Fact, Facts, Histograms, Report, Section, Table, Text
from shared.schema import Column

DRAWN: Final = 24
"""Columns whose distributions are drawn: a report is read by people."""
LEVELS: Final = 10
"""Levels of a column that are drawn by name; those that are rarer in training are drawn as one."""
LISTED: Final = 100
"""Rows of a table in a report."""
PARTS: Final = ("train", "validation")


class Distributions:
    """Counts of the features' columns between common edges, for training and validation rows."""

    def __init__(self, columns: Iterable[Column], training: Mapping[str, Summary]) -> None:
        """Empty counts around the bulk of what the training rows hold."""
        self._counts: dict[str, dict[str, Bins]] = {part: {} for part in PARTS}
        for column in list(columns)[:DRAWN]:
            summary = training[column.name]
            # Of dates the report shows no histogram: training and validation split by time do not overlap.
            if isinstance(summary, Numbers) and summary.count and column.type not in ("date", "datetime"):
                for bins in self._counts.values():
                    bins[column.name] = Bins.like(summary)

    def watching(self, part: str, batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The same batches, counted on their way."""
        bins = self._counts.get(part, {})
        for batch in batches:
            for name, counts in bins.items():
                counts.update(batch[name])
            yield batch

    def histogram(self, name: str) -> Histograms | None:
        """The two distributions of a column of numbers; None for other columns."""
        if name not in self._counts["train"]:
            return None
        expected, actual = (self._counts[part][name] for part in PARTS)
        edges = (None, *expected.edges[1:-1], None) if len(expected.edges) > 2 else expected.edges
        return Histograms(name, edges, tuple(expected.counts), tuple(actual.counts), names=("training", "validation"))


def levels_chart(name: str, training: Levels, validation: Levels) -> Categories:
    """The two distributions of a column of text, most frequent levels of training first."""
    ranked = [level for level, _ in training.ranked()]
    shown = ranked[:LEVELS]
    counts = [[summary.counts[level] for level in shown] for summary in (training, validation)]
    labels = list(shown)
    rest = [summary.count - sum(some) for summary, some in zip((training, validation), counts, strict=True)]
    for label, pair in (("(others)", rest), ("(missing)", [training.missing, validation.missing])):
        if any(pair):
            labels.append(label)
            for some, count in zip(counts, pair, strict=True):
                some.append(count)
    return Categories(name, tuple(labels), tuple(counts[0]), tuple(counts[1]), names=("training", "validation"))


def training_report(plan: Plan, known: Known, result: Fitted, distributions: Distributions, reading: Reading) -> Report:
    """What train found."""
    state = result.state
    features = [column.name for feature in state.features for column in feature.outputs]
    figures = [Fact("rows read", reading.rows), Fact("left out by where", reading.rows - reading.kept)]
    figures += [Fact(f"{part} rows", rows) for part, rows in known.rows.items() if rows]
    figures += [Fact("features", len(features), f"of {len(plan.features)} columns")]
    sections = [
        Section("Rows and target", (Facts(tuple(figures)), target_table(plan, known))),
        Section("Columns", column_tables(plan, known, result)),
    ]
    charts = [chart for chart in (drawn(item, known, distributions) for item in plan.features[:DRAWN]) if chart]
    if known.rows["validation"] and charts:
        more = len(plan.features) - DRAWN
        note = f" The first {DRAWN} columns; {more} more are in profile.json." if more > 0 else ""
        sections.append(
            Section("Training and validation", tuple(charts), f"How the parts differ before fitting.{note}")
        )
    constant = sum(why.startswith("constant") for why in result.left_out.values())
    verdict = f"{len(features)} features from {len(plan.features)} columns"
    verdict += f"; {constant} constant column{'s' if constant > 1 else ''} left out" if constant else ""
    state_word = "attention" if constant else "good"
    return Report(
        "Processing: training data", "processing", "train", reading.rows, tuple(sections), verdict, state_word
    )


def drawn(column: Column, known: Known, distributions: Distributions) -> Histograms | Categories | None:
    """The chart of a column; None for dates."""
    training, validation = (known.columns[part][column.name] for part in PARTS)
    if isinstance(training, Levels) and isinstance(validation, Levels):
        return levels_chart(column.name, training, validation)
    return distributions.histogram(column.name)


def target_table(plan: Plan, known: Known) -> Table:
    """The target's mean or its classes by part."""
    summaries = {part: known.columns[part][plan.target.name] for part, rows in known.rows.items() if rows}
    title = f"Target: {plan.target.name}"
    if all(isinstance(summary, Numbers) for summary in summaries.values()):
        rows = [
            (part, known.rows[part], item.mean, item.deviation, item.minimum, item.maximum)
            for part, item in summaries.items()
            if isinstance(item, Numbers)
        ]
        return Table(("part", "rows", "mean", "deviation", "minimum", "maximum"), tuple(rows), title=title)
    classes = sorted({level for item in summaries.values() if isinstance(item, Levels) for level in item.counts})[
        :LISTED
    ]
    shares = [
        (part, known.rows[part], *(share(item.counts[level], item.count) for level in classes))
        for part, item in summaries.items()
        if isinstance(item, Levels)
    ]
    return Table(("part", "rows", *classes), tuple(shares), title=title, note="Share of the rows by class.")


def column_tables(plan: Plan, known: Known, result: Fitted) -> tuple[Table, ...]:
    """What became of each column."""
    made: dict[str, list[str]] = {}
    for feature in result.state.features:
        made.setdefault(feature.column, []).extend(column.name for column in feature.outputs)
    rows = [column_row(column, known, made.get(column.name, [])) for column in plan.features]
    titles = ("column", "type", "missing", "distinct", "minimum", "mean", "maximum", "becomes")
    tables = [Table(titles, tuple(rows[:LISTED]), title="Columns of the training rows", note=cut_note(len(rows)))]
    if result.left_out:
        why = tuple(sorted(result.left_out.items()))
        tables.append(
            Table(("column", "why"), why[:LISTED], title="Columns that are no features", note=cut_note(len(why)))
        )
    return tuple(tables)


def cut_note(rows: int) -> str:
    """Says that a table is cut, if it is."""
    return f"The first {LISTED} of {rows:,}." if rows > LISTED else ""


def column_row(column: Column, known: Known, made: Sequence[str]) -> tuple[Any, ...]:
    """One line of the table of columns."""
    figures = readable(known.columns["train"][column.name].result(), column.type)
    distinct = f"over {figures['distinct']:,}" if figures["distinct_capped"] else f"{figures['distinct']:,}"
    becomes = ", ".join(made[:4]) + (f" and {len(made) - 4} more" if len(made) > 4 else "")
    some = tuple(figures.get(name) for name in ("minimum", "mean", "maximum"))
    return (column.name, column.type, percent(figures["missing_share"]), distinct, *some, becomes or "nothing")


def percent(value: float | None) -> str:
    """`12.3 %`; 0 and 1 only when exact."""
    return "" if value is None else f"{100 * value:.3g} %"


def training_sentence(known: Known, result: Fitted) -> str:
    """How train ended."""
    features = sum(len(feature.outputs) for feature in result.state.features)
    rows = ", ".join(f"{count:,} {part}" for part, count in known.rows.items() if count)
    return f"{features} features; rows: {rows}."


def serving_report(state: State, digest: str, served: Served) -> Report:
    """What serve found."""
    written = served.rows - served.refused
    facts = Facts(
        (
            Fact("rows read", served.rows),
            Fact("rows written", written),
            Fact("rows rejected", served.refused, percent(share(served.refused, served.rows))),
            Fact("features", sum(len(feature.outputs) for feature in state.features)),
            Fact("state", digest[:12], f"fitted on {state.rows:,} rows"),
        )
    )
    sections = [Section("Rows", (facts,))]
    if served.reasons:
        ranked = sorted(served.reasons.items(), key=lambda item: (-item[1], item[0]))
        table = Table(("reason", "rows"), tuple(ranked[:LISTED]), note=cut_note(len(ranked)))
        sections.append(
            Section("Rejected rows", (table,), "They are in the output `rejected`, with the reason of each.")
        )
    sections.append(Section("Unseen levels", unseen_blocks(served), "Levels of text that training did not see."))
    unseen = sum(sum(levels.values()) for levels in served.unseen.values())
    verdict = f"{written:,} rows written, {served.refused:,} rejected, {unseen:,} unseen levels"
    word = "attention" if served.refused or unseen else "good"
    return Report("Processing: production data", "processing", "serve", served.rows, tuple(sections), verdict, word)


def unseen_blocks(served: Served) -> tuple[Bars | Table | Text, ...]:
    """By column how many rows had a level that training did not see, and which."""
    counts = {name: sum(levels.values()) for name, levels in served.unseen.items()}
    met = {name: count for name, count in counts.items() if count}
    if not met:
        return (Text("None: every level was seen in training."),)
    rows = [
        (name, level, count)
        for name in met
        for level, count in sorted(served.unseen[name].items(), key=lambda item: (-item[1], item[0]))[:20]
    ]
    table = Table(("column", "level", "rows"), tuple(rows[:LISTED]), note=cut_note(len(rows)))
    return Bars("Rows with an unseen level", tuple(met), tuple(met.values()), unit="rows"), table


def serving_sentence(served: Served) -> str:
    """How serve ended."""
    if served.refused:
        return f"{served.rows:,} rows, {served.refused:,} rejected; the first is {served.first}."
    return f"{served.rows:,} rows, none rejected."
