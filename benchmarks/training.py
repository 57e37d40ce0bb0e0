"""A model trained, beside XGBoost with nothing around it."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench, Benchmark, Size, Usage, interleaved, least, raw
from benchmarks.table import Answer, Line, Result, near

FULL: Final = Size(rows=1_000_000, trees=15, repeats=2)
QUICK: Final = Size(rows=200_000, trees=15, repeats=2)
LITTLE_MORE: Final = 1 / 1.1
MOST_MB: Final = {"csv": 600.0, "parquet": 650.0}
"""Peak memory at full size, by format."""
NAMES: Final = {"csv": "CSV", "parquet": "Parquet"}


def run(bench: Bench, size: Size) -> Result:
    """The same rounds on the same file, once for each format."""
    lines: list[Line] = []
    answers: list[Answer] = []
    measured: dict[str, list[Usage]] = {}
    for form in MOST_MB:
        sides, answer = compared(bench, size, form)
        measured |= {f"{form}, {name}": usages for name, usages in sides.items()}
        lines += costs(size, form, least(sides["ours"]), least(sides["limit"]))
        answers.append(answer)
    return Result(lines, answers, {"training": raw(measured)})


def compared(bench: Bench, size: Size, form: str) -> tuple[dict[str, list[Usage]], Answer]:
    """Both sides on one file, and whether their models score alike."""
    data = bench.data("higgs", size.rows, 7, form=form)
    file, base, bare = data / f"data.{form}", bench.folder / f"training-{form}", bench.folder / f"bare-{form}.ubj"
    settings = {"target": "target", "num_round": size.trees, "early_stopping_rounds": 0}
    sides = interleaved(
        size.repeats,
        ours=lambda: bench.job("algorithm", "train", base, settings, train=data),
        limit=lambda: bench.ours("limits.bare_xgboost", file, bare, size.trees),
    )
    said = bench.ours("answers", "trained", base / "model/model.ubj", bare, file).said
    return sides, near(f"scores of {said['rows']:,} rows ({form}), against bare XGBoost's", said["difference"], 1e-6)


def costs(size: Size, form: str, ours: Usage, limit: Usage) -> list[Line]:
    """Time and memory of one format."""
    work, bare = f"train {size.trees} rounds, {size.rows:,} × 28 of {NAMES[form]}", "Polars and xgboost.train"
    most = [Line(work, "peak MB", ours.peak_mb, MOST_MB[form], "the bar", 1.0)] if size.rows == FULL.rows else []
    return [
        Line(work, "CPU-s", ours.cpu_s, limit.cpu_s, bare, LITTLE_MORE),
        Line(work, "peak MB", ours.peak_mb, limit.peak_mb, bare),
        *most,
    ]


BENCHMARK: Final = Benchmark("training", "algorithm train, beside XGBoost with nothing around it", run, FULL, QUICK)
