"""Each comparison at a size that says nothing about its figures, and everything about whether it does its work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, PEERS
from benchmarks.bench import Bench, Size
from benchmarks.table import Result

TOY = Size(rows=1000, peer_rows=200, trees=3)
LIMITS = {
    "scoring": {"parse and predict, no server"},
    "transformation": {"ours on a quarter of the rows"},
    "drift": {"decoding the Parquet file", "the bar"},
    "attributions": set(),
    "training": {"Polars and xgboost.train"},
}
"""What each is held against where there are no peers."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and models are made once for all."""
    return tmp_path_factory.mktemp("benchmarks")


def wrong(result: Result) -> list[str]:
    return [f"{answer.work}: {answer.found}" for answer in result.answers if answer.right is False]


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="servers are measured on Linux alone")
@pytest.mark.parametrize("name", BENCHMARKS)
def test_beside_limits_every_answer_is_right(name: str, folder: Path) -> None:
    result = BENCHMARKS[name].run(Bench(folder), TOY)

    assert wrong(result) == []
    assert {line.beside for line in result.lines} == LIMITS[name]
    # So few rows may cost a server less than the clock's tick.
    assert all(line.ours > 0 and line.theirs > 0 for line in result.lines) or name == "scoring"


@pytest.mark.benchmarks
@pytest.mark.parametrize("name", sorted({*BENCHMARKS} - {"training"}))
def test_beside_peers_every_answer_is_right(name: str, folder: Path) -> None:
    result = BENCHMARKS[name].run(Bench(folder, str(PEERS)), TOY)

    assert wrong(result) == []
    assert {line.beside for line in result.lines} > LIMITS[name]
