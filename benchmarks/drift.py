"""Drift found by monitoring, beside Evidently and beside decoding the file."""

from __future__ import annotations

import json
from typing import Any, Final

from benchmarks.bench import Bench, Benchmark, Size, Usage, interleaved, least, raw
from benchmarks.table import Answer, Line, Result

FULL: Final = Size(rows=1_000_000, peer_rows=100_000, repeats=2)
QUICK: Final = Size(rows=200_000, peer_rows=20_000, repeats=2)
LESS_CPU: Final = 25.0
DECODING: Final = 0.5
BASELINE_KB: Final = 150.0
SHIFTED: Final = ("n00", "n01", "n02")
"""The columns of the served rows that have moved, by `SHIFT` standard deviations."""
SHIFT: Final = 0.2


def run(bench: Bench, size: Size) -> Result:
    """A baseline of the reference, and a verdict on rows of which three columns have moved."""
    before, after = bench.data("monitored", size.rows, 4), bench.data("drifted", size.rows, 5)
    trained, served = bench.folder / "monitoring-train", bench.folder / "monitoring-serve"
    baseline = trained / "processing/output/baseline"

    def train() -> Usage:
        return bench.job("monitoring", "train", trained, {}, data=before)

    def serve() -> Usage:
        return bench.job("monitoring", "serve", served, {}, data=after, baseline=baseline)

    def decode() -> Usage:
        return bench.ours("limits.decode", after / "data.parquet")

    def theirs() -> Usage:
        files = (before / "data.parquet", after / "data.parquet")
        return bench.peer("evidently_drift", *files, size.peer_rows)

    # Train comes first in every order but the second turn's, when its baseline is there already.
    sides = {"train": train, "serve": serve, "decode": decode, **({"theirs": theirs} if bench.peers else {})}
    measured = interleaved(size.repeats, **sides)
    each = {name: least(usages) for name, usages in measured.items()}
    verdict = json.loads((served / "processing/output/report/drift.json").read_text())
    sizes = {path.name: path.stat().st_size / 1e3 for path in baseline.iterdir()}
    return Result([*lines(size, each), *small(sizes)], answers(verdict, each), {"drift": raw(measured)})


def lines(size: Size, each: dict[str, Usage]) -> list[Line]:
    """Costs of a million rows and of one serve."""
    both = each["train"].cpu_s + each["serve"].cpu_s
    made = []
    if "theirs" in each:
        said = each["theirs"].said
        made.append(
            Line(
                f"drift, {size.rows:,} × 50: train and serve",
                "CPU-s a million rows",
                both / size.rows * 1e6,
                said["cpu_s"] / said["rows"] * 1e6,
                f"Evidently's DataDriftPreset, by {said['rows']:,} rows",
                LESS_CPU,
            )
        )
        made.append(
            Line(
                f"drift, {size.rows:,} × 50",
                "peak MB",
                max(each["train"].peak_mb, each["serve"].peak_mb),
                each["theirs"].peak_mb,
                f"Evidently, {said['rows']:,} rows",
            )
        )
    serve = f"drift, {size.rows:,} × 50: serve"
    made.append(Line(serve, "CPU-s", each["serve"].cpu_s, each["decode"].cpu_s, "decoding the Parquet file", DECODING))
    return made


def small(sizes: dict[str, float]) -> list[Line]:
    """The baseline that serve reads, and all that its folder holds: Model Monitor's two files repeat the edges."""
    return [
        Line("drift: baseline of 50 columns, baseline.json", "KB", sizes["baseline.json"], BASELINE_KB, "the bar", 1.0),
        Line("drift: baseline of 50 columns, the whole folder", "KB", sum(sizes.values()), BASELINE_KB, "the bar", 1.0),
    ]


def answers(verdict: dict[str, Any], each: dict[str, Usage]) -> list[Answer]:
    """That what moved was found, and nothing else."""
    found = sorted(verdict["columns"])
    made = [Answer("columns that drifted", ", ".join(found) or "none", ", ".join(SHIFTED), found == list(SHIFTED))]
    if "theirs" in each:
        said = each["theirs"].said
        made.append(Answer(f"columns that drifted, by Evidently on {said['rows']:,} rows", f"{said['drifted']:g}"))
    return made


BENCHMARK: Final = Benchmark("drift", "monitoring, beside Evidently and beside decoding the file", run, FULL, QUICK)
