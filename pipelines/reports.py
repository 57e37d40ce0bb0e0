"""The report of a run: one page that holds the graph with its times, the periods, the release, the jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pipelines.graph import RELEASE_STEP
from pipelines.local.engine import REPORT, Result
from pipelines.local.runs import Outcome, Scored, Trained, drifted_columns
from pipelines.releases import Release
from pipelines.storage import Storage
from shared.files import write_text
from shared.release import timestamp
from shared.report.document import Block, Cell, Fact, Facts, Graph, Lines, Node, Report, Section, Series, Table, Text
from shared.report.page import read_report, render

PAGE_BYTES: Final = 1_000_000
"""A page stays below this, so that it can be sent by mail; details give way to it."""
TRIVIAL_AUC: Final = 0.5
"""The AUC of a model that gives every row the same score."""
REMEMBERED: Final = " *"
"""Marks a period that its release was trained on."""


@dataclass(frozen=True)
class Detail:
    """A job's report as a part of the page."""

    heading: str
    path: Path

    def document(self) -> Report:
        """The report, with the heading before its title."""
        report = read_report(self.path)
        return replace(report, title=f"{self.heading}: {report.title}")


def write_run_report(outcome: Outcome, storage: Storage, name: str) -> Path:
    """Write the page of a run, and a copy under the name that stays; the path of the page."""
    path = storage.reports / f"{outcome.run}.html"
    text = page(outcome, storage, name)
    write_text(path, text)
    write_text(storage.latest_report, text)
    return path


def page(outcome: Outcome, storage: Storage, name: str) -> str:
    """The page: the run itself, then its jobs in the order of the graph, as many as fit."""
    documents = [detail.document() for detail in details(outcome) if detail.path.is_file()]
    overview = run_report(outcome, storage, name)
    while True:
        left_out = len([detail for detail in details(outcome) if detail.path.is_file()]) - len(documents)
        subtitle = f"run {outcome.run}" + (f"; {left_out} job reports left out to stay below 1 MB" if left_out else "")
        text = render([overview, *documents], title=name, subtitle=subtitle, created=timestamp())
        if len(text.encode()) < PAGE_BYTES or not documents:
            return text
        documents.pop()


def run_report(outcome: Outcome, storage: Storage, name: str) -> Report:
    """What the run did, as a document of its own."""
    sections = [Section("Jobs", (graph_block(outcome),), "Seconds are wall time, with other jobs running beside.")]
    if outcome.scored:
        sections.append(periods_section(outcome, storage))
    if outcome.retrained:
        sections.append(retraining_section(outcome))
    if outcome.suppressed:
        said = f"{outcome.suppressed.cause.period} drifted, but nothing was trained: {outcome.suppressed.why}."
        sections.append(Section("Retraining", (), said))
    if outcome.unscored:
        sections.append(Section("Scores", (), sentence(outcome.unscored)))
    if outcome.trained:
        sections.append(release_section(outcome.trained))
        if outcome.retrained:
            sections.append(release_section(outcome.retrained.trained, "Release of the retraining"))
    elif outcome.scored:
        sections.append(used_section(outcome.scored[0].release))
    verdict, state = verdict_of(outcome)
    mode = "both" if outcome.trained and outcome.scored else "training" if outcome.trained else "inference"
    return Report(f"{name}: {mode}", "pipelines", mode, rows_of(outcome), tuple(sections), verdict, state)


def rows_of(outcome: Outcome) -> int:
    """Rows that the run trained on and scored."""
    trained = _rows(outcome.trained.results, "processing") if outcome.trained else 0
    return trained + sum(scored.rows or 0 for scored in outcome.scored)


def verdict_of(outcome: Outcome) -> tuple[str, str]:
    """One sentence on the run, and its sign."""
    parts = []
    latest = outcome.retrained.trained if outcome.retrained else outcome.trained
    if latest:
        parts.append(f"release {latest.release.id} is {'current' if latest.promoted else 'not promoted'}")
    drifted = [scored.period or "the data" for scored in outcome.scored if scored.drifted]
    if outcome.scored:
        parts.append(f"{len(drifted)} of {len(outcome.scored)} periods drifted")
    if outcome.retrained:
        parts.append(f"retrained after {outcome.retrained.cause.period}")
    if outcome.suppressed:
        parts.append(f"not retrained after {outcome.suppressed.cause.period}")
    if outcome.unscored:
        parts.append("nothing was scored")
    attention = bool(drifted) or (outcome.trained is not None and not outcome.trained.promoted)
    return sentence(", ".join(parts)), "attention" if attention else "good"


def sentence(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def graph_block(outcome: Outcome) -> Graph:
    """Both pipelines in one drawing, the release between them; inference jobs are summed over the periods."""
    nodes: list[Node] = []
    edges: list[tuple[str, str]] = []
    if outcome.trained:
        trained = outcome.trained
        jobs = [job for job in trained.graph.jobs if job.name != RELEASE_STEP]
        nodes += [_node("training", [trained.results[job.name]]) for job in jobs]
        edges += [(f"training {before}", f"training {job.name}") for job in jobs for before in job.after]
        nodes.append(Node(RELEASE_STEP, "release", "done" if trained.promoted else "waiting", note=trained.release.id))
        # Of all the jobs that the release waits for, only the last ones: the others lead to them.
        edges += [(f"training {name}", RELEASE_STEP) for name in trained.graph.layers()[-2]]
    if outcome.scored:
        first = outcome.scored[0]
        nodes += [_node("inference", _of_step(outcome.scored, job.name)) for job in first.graph.jobs]
        edges += [(f"inference {before}", f"inference {job.name}") for job in first.graph.jobs for before in job.after]
        if outcome.trained:
            edges += [(RELEASE_STEP, f"inference {name}") for name in first.graph.layers()[0]]
    if outcome.retrained:
        seconds = sum(result.seconds for result in outcome.retrained.trained.results.values())
        rows = _rows(outcome.retrained.trained.results, "processing")
        cause = f"after {outcome.retrained.cause.period}"
        nodes.append(Node("retraining", "retraining", "done", seconds, rows, note=cause))
        if any(job.name == "monitoring" for job in outcome.scored[0].graph.jobs):
            edges.append(("inference monitoring", "retraining"))
    return Graph(tuple(nodes), tuple(dict.fromkeys(edges)))


def _node(pipeline: str, results: Sequence[Result]) -> Node:
    rows = sum(result.rows or 0 for result in results)
    note = f"{len(results)} periods" if len(results) > 1 else ""
    seconds = sum(result.seconds for result in results)
    step = results[0].step
    return Node(f"{pipeline} {step}", step, "done", round(seconds, 1), rows or None, note=note)


def _of_step(scored: Iterable[Scored], step: str) -> list[Result]:
    return [one.results[step] for one in scored if step in one.results]


def periods_section(outcome: Outcome, storage: Storage) -> Section:
    """One row a period: rows, verdict, columns, and how good the scores were once the outcomes are known."""
    new = outcome.retrained.following if outcome.retrained else None
    rows: list[tuple[Cell, ...]] = []
    for scored in outcome.scored:
        again = new if new is not None and new.period == scored.period else None
        rows.append(
            (
                f"{scored.period or 'all'}{REMEMBERED if scored.remembered else ''}",
                scored.rows,
                "drift" if scored.drifted else "no drift" if scored.drift else "not checked",
                _columns_text(drifted_columns(scored.drift)),
                _rounded(auc(scored)),
                _rounded(auc(again)) if again else None,
                TRIVIAL_AUC if auc(scored) is not None else None,
                storage.relative(scored.folder),
            )
        )
    columns = ("period", "rows", "verdict", "drifted columns", "AUC", "AUC retrained", "AUC trivial", "step reports in")
    blocks: list[Block] = [Table(columns, tuple(rows), align="lrllrrrl")]
    curve = [(position, auc(scored)) for position, scored in enumerate(outcome.scored, start=1)]
    if len([value for _, value in curve if value is not None]) > 1:
        xs = tuple(x for x, _ in curve)
        series = [
            Series("model", xs, tuple(value for _, value in curve)),
            Series("trivial", xs, (TRIVIAL_AUC,) * len(xs), dashed=True),
        ]
        named = tuple(scored.period or str(place) for place, scored in enumerate(outcome.scored, start=1))
        blocks.append(Lines("AUC by period", "period", "AUC", tuple(series), names=named))
    text = (
        "AUC is the share of pairs of a positive and a negative row that the score puts in the right order, measured "
        "once the outcomes are known; a model that gives every row the same score has 0.5."
    )
    if any(scored.remembered for scored in outcome.scored):
        text += f" A period marked{REMEMBERED} was among its release's training data: its AUC is no forecast."
    return Section("Periods", tuple(blocks), text)


def retraining_section(outcome: Outcome) -> Section:
    """What the drift loop did, and what it gave on the next period."""
    assert outcome.retrained is not None
    cause, trained, following = outcome.retrained.cause, outcome.retrained.trained, outcome.retrained.following
    learnt = trained.release.content["data"]["periods"]
    window = f"{learnt[0]} to {learnt[-1]}" if learnt else str(trained.release.content["data"]["uri"])
    text = f"{cause.period} drifted, so the training pipeline ran again on {window}. Release {trained.release.id} "
    text += "became current." if trained.promoted else "was not promoted."
    if following is None:
        return Section("Retraining", (Text("There is no later period to compare the two releases on."),), text)
    before = next(scored for scored in outcome.scored if scored.period == following.period)
    old, new = auc(before), auc(following)
    facts: tuple[Fact, ...] = (
        Fact(f"AUC on {following.period}, before", _rounded(old), f"release {before.release.id}"),
        Fact(f"AUC on {following.period}, retrained", _rounded(new), f"release {following.release.id}"),
        Fact("drift against the new baseline", "yes" if following.drifted else "no", f"{following.period}"),
    )
    if old is not None and new is not None:
        facts = (*facts, Fact("gain", f"{new - old:+.4f}", "AUC retrained minus before"))
    return Section("Retraining", (Facts(facts),), text)


def release_section(trained: Trained, title: str = "Release") -> Section:
    """A release: its parts, its gates, where it comes from."""
    content = trained.release.content
    parts = tuple((name, part["uri"], part["digest"][:16]) for name, part in content["parts"].items())
    blocks: list[Block] = [Table(("part", "location", "digest"), parts, align="lll")]
    if trained.gates:
        gates = tuple((gate.gate.metric, str(gate), "met" if gate.met else "not met") for gate in trained.gates)
        blocks.append(Table(("gate", "found and wanted", "result"), gates, align="lll"))
    blocks.append(_origin(content))
    state = "became current." if trained.promoted else "was not promoted."
    return Section(title, tuple(blocks), f"Release {trained.release.id} {state}")


def used_section(release: Release) -> Section:
    """The release that an inference run read."""
    return Section("Release", (_origin(release.content),), f"Scored with release {release.id}.")


def _origin(content: Mapping[str, object]) -> Table:
    """Where a release comes from, a fact a row."""
    versions = content["versions"]
    assert isinstance(versions, dict)
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    manifest = content["manifest"]
    digest = manifest["sha256"] if isinstance(manifest, dict) else ""
    rows: tuple[tuple[Cell, ...], ...] = (
        ("created", str(content["created"])),
        ("code revision", str(content["revision"] or "not from a checkout")),
        ("manifest", str(digest)[:16]),
        ("parent", str(content["parent"] or "none")),
        ("made with", libraries),
    )
    return Table(("origin", ""), rows, align="ll")


def details(outcome: Outcome) -> Iterator[Detail]:
    """The job reports that the page shows in full: training, the first calm period and the first that drifted."""
    if outcome.trained:
        yield from _details("training", outcome.trained.results)
    calm = next((scored for scored in outcome.scored if not scored.drifted), None)
    drifted = next((scored for scored in outcome.scored if scored.drifted), None)
    for scored in (calm, drifted):
        if scored is not None:
            yield from _details(scored.period or "inference", scored.results)


def _details(heading: str, results: Mapping[str, Result]) -> Iterator[Detail]:
    for result in results.values():
        yield Detail(heading, result.folder / REPORT / "report.json")


def auc(scored: Scored | None) -> float | None:
    """The AUC in a period's model_quality.json; None while the outcomes are not known."""
    quality = scored.quality if scored else {}
    found = [value for name, value in quality.items() if name.split(":")[-1] == "auc"]
    return found[0] if found else None


def _rows(results: Mapping[str, Result], step: str) -> int:
    return (results[step].rows or 0) if step in results else 0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _columns_text(columns: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(columns) - limit} more" if len(columns) > limit else ""
    return ", ".join(columns[:limit]) + more
