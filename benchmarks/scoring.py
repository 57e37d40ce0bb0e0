"""Scores over HTTP: many rows beside parsing and predicting by themselves, one record beside the usual server."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPException
from typing import Final

from benchmarks.bench import ROOT, Bench, Benchmark, FailedSide, Size, Usage, cpu_of, interleaved, raw, server
from benchmarks.table import Answer, Line, Result, near
from shared.carrier.client import ANSWER_SECONDS, Client, free_port

FULL: Final = Size(rows=192_000, trees=500, repeats=3)
QUICK: Final = Size(rows=32_000, trees=200, repeats=2)
SINGLES: Final = 2000
"""Requests of one record each: at least a CPU-second of any server."""
AT_ONCE: Final = 2
"""Requests under way at a time, as many as a transform job sends to an instance of two processors."""
STARTING_S: Final = 120
AWS_ROWS: Final = 47_000
"""Rows per CPU-second of AWS's XGBoost container 3.0-5 with a model of 500 trees of depth 6 and 30 features."""
AWS_SINGLE_MS: Final = 1.24
"""CPU-milliseconds of one record there: the better of two measurements, the other is 1.64."""


def run(bench: Bench, size: Size) -> Result:
    """Score the same bodies by each server and in a process without one."""
    model = bench.model(size.trees)
    booster = model / "model/model.ubj"
    bodies = bench.data("numbers", size.rows, 2, form="bodies") / "data.bodies"
    single = (bodies / "000.csv").read_bytes().partition(b"\n")[0] + b"\n"
    sent = [path.read_bytes() for path in sorted(bodies.iterdir())]
    scores = {"ours": array("d"), **({"theirs": array("d")} if bench.peers else {})}

    def ours() -> Usage:
        port = free_port()
        command = (bench.python, "-m", "components.algorithm", "serve")
        place = {"SAGEMAKER_BASE_DIR": str(model), "SAGEMAKER_BIND_TO_PORT": str(port)}
        return served(command, port, sent, single, scores["ours"], **place)

    def theirs() -> Usage:
        port = free_port()
        options = f"--bind 127.0.0.1:{port} --workers 2 --worker-class gthread --threads 4".split()
        command = (str(bench.peers), "-m", "gunicorn", *options, "flask_server:app")
        place = {"PYTHONPATH": str(ROOT / "benchmarks/peers"), "MODEL": str(booster), "OMP_NUM_THREADS": "1"}
        return served(command, port, sent, single, scores["theirs"], **place)

    def limit() -> Usage:
        return bench.ours("limits.predict", booster, bodies, bench.folder / "limit.txt")

    measured = interleaved(size.repeats, ours=ours, limit=limit, **({"theirs": theirs} if bench.peers else {}))
    expected = numbers((bench.folder / "limit.txt").read_bytes())
    each = {name: cheapest(usages) for name, usages in measured.items()}
    return Result(lines(size, each), answers(expected, scores), {"scoring": raw(measured)})


def cheapest(usages: Sequence[Usage]) -> dict[str, float]:
    """The least of each of a side's figures; they are taken apart, in the same run."""
    return {key: min(float(usage.said[key]) for usage in usages) for key in usages[0].said}


def lines(size: Size, each: dict[str, dict[str, float]]) -> list[Line]:
    """What a row and what a request cost."""
    batch = f"score {size.rows:,} rows × 30 over HTTP, {size.trees} trees"
    record = f"score one record over HTTP, {size.trees} trees"
    row = {name: side["cpu_s"] / size.rows * 1e6 for name, side in each.items()}
    made = [Line(batch, "CPU-µs a row", row["ours"], row["limit"], "parse and predict, no server", 0.9)]
    single = {name: side["single_ms"] for name, side in each.items() if "single_ms" in side}
    if "theirs" in each:
        made.append(Line(batch, "CPU-µs a row", row["ours"], row["theirs"], "Flask, pandas, gunicorn"))
        made.append(Line(record, "CPU-ms", single["ours"], single["theirs"], "Flask, pandas, gunicorn"))
    if size.trees == FULL.trees:
        aws = "AWS's XGBoost container"
        made.append(Line(batch, "CPU-µs a row", row["ours"], 1e6 / AWS_ROWS, aws, 3.0, quoted=True))
        made.append(Line(record, "CPU-ms", single["ours"], AWS_SINGLE_MS, aws, 1 / 0.35, quoted=True))
    return made


def answers(expected: array[float], answered: dict[str, array[float]]) -> list[Answer]:
    """That every server gave the scores of the booster itself."""
    return [
        near(f"scores over HTTP, {name}, against the booster's own", difference(expected, scores), 1e-6)
        for name, scores in answered.items()
    ]


def difference(expected: Sequence[float], found: Sequence[float]) -> float:
    """The greatest difference; infinite where one has more numbers than the other."""
    if len(expected) != len(found):
        return float("inf")
    return max((abs(one - other) for one, other in zip(expected, found, strict=True)), default=float("inf"))


def numbers(text: bytes) -> array[float]:
    """One number a line."""
    return array("d", map(float, text.split()))


def served(
    command: Sequence[str], port: int, sent: Sequence[bytes], single: bytes, scores: array[float], **more: str
) -> Usage:
    """Start a server, warm it, and measure what the bodies and then single records cost it; keeps the scores."""
    client = Client(port, accept="text/csv")

    def answer(body: bytes) -> bytes:
        try:
            said = client.ask("POST", "/invocations", body, ANSWER_SECONDS)
        except (OSError, HTTPException):  # the server has closed a connection that was idle for a while
            said = client.ask("POST", "/invocations", body, ANSWER_SECONDS)
        if said.status != HTTPStatus.OK:
            raise FailedSide(f"a server answered {said.status}: {said.body[:500].decode(errors='replace')}")
        return said.body

    singles = min(SINGLES, sum(body.count(b"\n") for body in sent) // 10)
    with server(command, **more) as process, ThreadPoolExecutor(AT_ONCE) as pool:
        if not client.wait_until_healthy(lambda: process.poll() is not None, STARTING_S):
            raise FailedSide(f"`{' '.join(command)}` was not healthy after {STARTING_S} seconds.")
        # Each of the workers imports its libraries with its first request.
        list(pool.map(answer, [*[sent[0]] * 8, *[single] * 50]))
        before = cpu_of(process.pid)
        answers = list(pool.map(answer, sent))
        between = cpu_of(process.pid)
        for _ in range(singles):
            answer(single)
        after = cpu_of(process.pid)
        client.close()
    scores[:] = numbers(b"".join(answers))
    return Usage(after, 0.0, {"cpu_s": between - before, "single_ms": (after - between) / singles * 1000})


BENCHMARK: Final = Benchmark(
    "scoring", "scores over HTTP, beside parsing and predicting alone, and Flask with pandas", run, FULL, QUICK
)
