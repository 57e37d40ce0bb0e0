"""`python -m benchmarks`: what it lists, refuses and writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as program
from benchmarks.bench import ROOT, Bench, Benchmark, FailedSide, Size
from benchmarks.table import Line, Result


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[Size]:
    """The sizes that were run, with benchmarks that cost nothing in the place of ours."""
    ran: list[Size] = []

    def work(bench: Bench, size: Size) -> Result:
        assert bench.folder.is_dir()
        ran.append(size)
        return Result([Line("work", "CPU-s", 2, 1, "a limit", 0.9)], raw={"one": []})

    def fail(bench: Bench, size: Size) -> Result:
        raise FailedSide("a side ended with code 1.")

    made = (
        Benchmark("one", "one thing", work, Size(1000), Size(10)),
        Benchmark("two", "another", fail, Size(1), Size(1)),
    )
    monkeypatch.setattr(program, "BENCHMARKS", {benchmark.name: benchmark for benchmark in made})
    return ran


def test_without_a_name_the_benchmarks_are_listed() -> None:
    done = CliRunner().invoke(program.main)

    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "scoring", "transformation", "drift", "attributions", "training",
    ]  # fmt: skip


def test_a_misspelt_name_is_a_setting_that_cannot_be_used() -> None:
    done = CliRunner().invoke(program.main, ["drfit"])

    assert done.exit_code == 2
    assert done.stderr == "There is no benchmark 'drfit'. Did you mean 'drift'? `python -m benchmarks` lists them.\n"


def test_without_the_peers_environment_it_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sizes: list[Size]
) -> None:
    monkeypatch.setattr(program, "PEERS", tmp_path / ".venv-benchmarks/bin/python")

    done = CliRunner().invoke(program.main, ["one"])

    assert (done.exit_code, sizes) == (2, [])
    assert "The peers' environment .venv-benchmarks is not there. `make bench` makes it" in done.stderr


def test_a_missed_bar_is_no_failure(sizes: list[Size]) -> None:
    done = CliRunner().invoke(program.main, ["one", "--without-peers"])

    assert done.exit_code == 0
    assert "**no**" in done.stdout
    assert sizes == [Size(1000)]


def test_a_side_that_fails_is_one_and_the_others_are_told(sizes: list[Size]) -> None:
    done = CliRunner().invoke(program.main, ["all", "--without-peers"])

    assert done.exit_code == 1
    assert "two: a side ended with code 1.\n" in done.stderr
    assert "| work " in done.stdout


def test_quick_takes_the_small_size_and_json_keeps_everything(tmp_path: Path, sizes: list[Size]) -> None:
    file = tmp_path / "benchmarks.json"

    done = CliRunner().invoke(program.main, ["one", "--quick", "--without-peers", "--json", str(file)])

    assert done.exit_code == 0, done.stderr
    assert sizes == [Size(10)]
    kept = json.loads(file.read_text())
    assert (kept["machine"]["quick"], kept["lines"][0]["ratio"], kept["raw"]) == (True, 0.5, {"one": []})


def test_the_readme_tells_of_each_benchmark() -> None:
    told = re.findall(r"^\| `([a-z]+)` \|", (ROOT / "benchmarks/README.md").read_text(), flags=re.MULTILINE)

    assert told == list(program.BENCHMARKS)
