"""Raw rows prepared, fit and transform, beside scikit-learn on pandas; and whether memory grows with the rows."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.bench import Bench, Benchmark, Size, Usage, interleaved, least, raw
from benchmarks.table import Answer, Line, Result, near

FULL: Final = Size(rows=2_000_000, repeats=1)
QUICK: Final = Size(rows=200_000, repeats=2)
LESS_CPU: Final = 5.6
LESS_MEMORY: Final = 6.0
FLAT: Final = 0.8
"""Peak memory of a quarter of the rows, over that of all: 1 would be quite flat."""
ENCODINGS: Final = ("ordinal", "onehot")


def run(bench: Bench, size: Size) -> Result:
    """Both encodings of text at full size, and a quarter of the rows for the growth of memory."""
    measured: dict[str, list[Usage]] = {}
    lines: list[Line] = []
    answers: list[Answer] = []
    for encode in ENCODINGS:
        sides = compared(bench, size, encode)
        measured |= {f"{encode}, {name}": usages for name, usages in sides.items()}
        ours = least(sides["ours"])
        if "theirs" in sides:
            theirs, work = least(sides["theirs"]), f"fit and transform {size.rows:,} × 30 of CSV, {encode}"
            # The bars were set on ordinal encoding; one-hot encoding shows a table that is four times as wide.
            bars = (LESS_CPU, LESS_MEMORY) if encode == "ordinal" else (None, None)
            lines.append(Line(work, "CPU-s", ours.cpu_s, theirs.cpu_s, "scikit-learn and pandas", bars[0]))
            lines.append(Line(work, "peak MB", ours.peak_mb, theirs.peak_mb, "scikit-learn and pandas", bars[1]))
            answers.append(same_numbers(bench, size, encode))
        if encode == "ordinal":
            quarter = trained(bench, size.rows // 4, encode)
            measured["a quarter"] = [quarter]
            rows = f"memory, {size.rows:,} rows beside {size.rows // 4:,}"
            lines.append(Line(rows, "peak MB", ours.peak_mb, quarter.peak_mb, "ours on a quarter of the rows", FLAT))
    return Result(lines, answers, {"transformation": raw(measured)})


def compared(bench: Bench, size: Size, encode: str) -> dict[str, list[Usage]]:
    """Both sides on the same file."""
    file = bench.data("mixed", size.rows, 3, form="csv") / "data.csv"
    sides = {"ours": lambda: trained(bench, size.rows, encode)}
    if bench.peers:
        sides["theirs"] = lambda: bench.peer("sklearn_transform", file, encode, bench.folder / f"{encode}.npy")
    return interleaved(size.repeats, **sides)


def trained(bench: Bench, rows: int, encode: str) -> Usage:
    """A whole job: read, fit, transform, and write Parquet and the state."""
    settings: dict[str, Any] = {
        "target": "target",
        "scale": "standard",
        "encode": encode,
        "min_frequency": 0,
        # All rows fit, as in the peer.
        "split": {"by": "random", "validation": 0},
    }
    base = bench.folder / f"processing-{rows}-{encode}"
    return bench.job("processing", "train", base, settings, data=bench.data("mixed", rows, 3, form="csv"))


def same_numbers(bench: Bench, size: Size, encode: str) -> Answer:
    """That the standardised numbers of the first rows are the peer's."""
    made = bench.folder / f"processing-{size.rows}-{encode}/processing/output/train"
    said = bench.ours("answers", "transformed", made, bench.folder / f"{encode}.npy").said
    return near(f"numbers of {said['rows']:,} rows ({encode}), against scikit-learn's", said["difference"], 1e-6)


BENCHMARK: Final = Benchmark(
    "transformation", "processing train, beside scikit-learn and pandas; memory as rows grow", run, FULL, QUICK
)
