"""`python -m benchmarks`: what each component costs, beside a peer or a limit, in one run.

Nothing is asserted here: the exit code is 0 whatever the figures, 1 where a side did not do its work, 2 for an option
that cannot be used.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from benchmarks import attributions, drift, scoring, training, transformation
from benchmarks.bench import ROOT, Bench, Benchmark
from benchmarks.table import Result, as_json, shown
from shared.errors import QuartetError, SettingsError, did_you_mean

BENCHMARKS: Final[dict[str, Benchmark]] = {
    benchmark.name: benchmark
    for benchmark in (
        scoring.BENCHMARK,
        transformation.BENCHMARK,
        drift.BENCHMARK,
        attributions.BENCHMARK,
        training.BENCHMARK,
    )
}
PEERS: Final = Path(f"{sys.prefix}-benchmarks/bin/python")
"""The interpreter of the environment that `make bench` makes beside this one."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Small sizes: some minutes in all, and fixed costs weigh too much.")
@click.option("--without-peers", is_flag=True, help="Only beside limits, which needs no other environment.")
@click.option("--json", "file", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Also as JSON.")
def main(names: Sequence[str], quick: bool, without_peers: bool, file: Path | None) -> None:
    """Run the benchmarks NAMES, or `all`; without a name, list them."""
    if not names:
        click.echo(listed())
        return
    try:
        chosen, peers = benchmarks(names), None if without_peers else interpreter()
    except SettingsError as error:
        click.echo(error, err=True)
        sys.exit(error.exit_code)
    results, code = measured(chosen, quick, peers)
    facts = {**machine(), "quick": quick}
    click.echo(f"{', '.join(f'{name} {value}' for name, value in facts.items())}\n\n{shown(results)}")
    if file is not None:
        file.write_text(json.dumps(as_json(results, facts), indent=2) + "\n")
    sys.exit(code)


def listed() -> str:
    """The names and what they compare."""
    width = max(map(len, BENCHMARKS))
    return "\n".join(f"{name:<{width}}  {benchmark.summary}" for name, benchmark in BENCHMARKS.items())


def benchmarks(names: Sequence[str]) -> list[Benchmark]:
    """Those that were asked for.

    Raises:
        SettingsError: one is not known.
    """
    for name in names:
        if name not in {"all", *BENCHMARKS}:
            hint = did_you_mean(name, BENCHMARKS)
            raise SettingsError(f"There is no benchmark {name!r}.{hint} `python -m benchmarks` lists them.")
    return [benchmark for name, benchmark in BENCHMARKS.items() if name in names or "all" in names]


def interpreter() -> str:
    """The interpreter of the peers' environment.

    Raises:
        SettingsError: it is not there.
    """
    if not PEERS.is_file():
        raise SettingsError(
            f"The peers' environment {PEERS.parents[1].name} is not there. `make bench` makes it, and --without-peers "
            "measures without it."
        )
    return str(PEERS)


def measured(chosen: Sequence[Benchmark], quick: bool, peers: str | None) -> tuple[list[Result], int]:
    """Run them one after another, each in a folder that goes with its end; an exit code tells of one that failed."""
    results, code = [], 0
    for benchmark in chosen:
        begun = time.monotonic()
        click.echo(f"{benchmark.name}: {benchmark.summary}", err=True)
        try:
            with tempfile.TemporaryDirectory(prefix="quartet-benchmarks-") as folder:
                results.append(benchmark.run(Bench(Path(folder), peers), benchmark.quick if quick else benchmark.full))
        except QuartetError as error:
            click.echo(f"{benchmark.name}: {error}", err=True)
            code = max(code, error.exit_code)
        click.echo(f"  {time.monotonic() - begun:.0f} s", err=True)
    return results, code


def machine() -> dict[str, Any]:
    """Where and of what this was measured."""
    command = ("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--tags")
    described = subprocess.run(command, capture_output=True, check=False, text=True).stdout.strip()
    return {
        "commit": described or "unknown",
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
