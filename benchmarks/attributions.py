"""Reasons of each score, beside shap.TreeExplainer."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench, Benchmark, Size, Usage, interleaved, least, raw
from benchmarks.table import Line, Result, near

FULL: Final = Size(rows=100_000, peer_rows=2_000, trees=500, repeats=2)
QUICK: Final = Size(rows=32_000, peer_rows=500, trees=200, repeats=2)
LESS_CPU: Final = 15.0


def run(bench: Bench, size: Size) -> Result:
    """Explain the same rows by a job of ours, and fewer of them by shap."""
    model = bench.model(size.trees) / "model"
    rows = bench.data("numbers", size.rows, 6, form="body") / "data.body"
    trained, served = bench.folder / "explainability-train", bench.folder / "explainability-serve"
    bench.job("explainability", "train", trained, {"rows": 2000}, data=bench.data("numbers", 20_000, 1), model=model)
    explainer = trained / "processing/output/explainer"
    kept = bench.folder / "shap.csv"

    def ours() -> Usage:
        return bench.job("explainability", "serve", served, {}, data=rows, model=model, explainer=explainer)

    def theirs() -> Usage:
        return bench.peer("tree_shap", model / "model.ubj", rows / "000.csv", size.peer_rows, kept)

    measured = interleaved(size.repeats, ours=ours, **({"theirs": theirs} if bench.peers else {}))
    output = served / "processing/output/explanations/explanations_shap/out.csv"
    said = bench.ours("answers", "attributed", output, explainer, rows, *([kept] if bench.peers else [])).said
    answers = [near(f"additivity of {said['rows']:,} rows, relative to the terms", said["additivity"], 1e-4)]
    lines = []
    if bench.peers:
        answers.append(near("attributions, against shap's", said["difference"], 1e-3))
        lines.append(line(size, least(measured["ours"]), least(measured["theirs"])))
    return Result(lines, answers, {"attributions": raw(measured)})


def line(size: Size, ours: Usage, theirs: Usage) -> Line:
    """The cost of a row: all of our job, of theirs without its imports."""
    return Line(
        f"attributions of {size.rows:,} rows × 30, {size.trees} trees",
        "CPU-µs a row",
        ours.cpu_s / size.rows * 1e6,
        theirs.said["cpu_s"] / theirs.said["rows"] * 1e6,
        f"shap.TreeExplainer, by {theirs.said['rows']:,} rows",
        LESS_CPU,
    )


BENCHMARK: Final = Benchmark("attributions", "explainability serve, beside shap.TreeExplainer", run, FULL, QUICK)
