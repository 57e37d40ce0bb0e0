"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from pipelines.cli import main
from pipelines.local.engine import Machine
from pipelines.local.reservation import reserved


@pytest.fixture
def quartet(toy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command with the toy components, on the toy use case."""
    toy.declare()
    declared = toy.runner().specs
    monkeypatch.setattr("components.spec.specs", lambda: declared)
    monkeypatch.setattr("pipelines.settings.schema_of", lambda component: {})
    monkeypatch.setattr(Machine, "here", lambda jobs=None, **options: toy.machine(**options))

    def call(*words: str) -> Result:
        command, *rest = words
        options = [] if command == "validate" else ["--storage", str(toy.storage.root)]
        return CliRunner().invoke(main, [command, str(toy.path), *rest, *options])

    return call


@pytest.mark.parametrize("command", sorted(main.commands))
def test_each_command_explains_itself_with_an_example(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])

    assert result.exit_code == 0
    lines = [line.strip() for line in result.output.splitlines()]
    examples = lines.index("Examples:") if "Examples:" in lines else lines.index("Example:")
    assert f"python -m pipelines {command} " in lines[examples + 1]
    assert "\\b" not in result.output


def test_a_run_prints_a_line_a_step_and_ends_with_its_report(quartet: Any, toy: Any) -> None:
    result = quartet("run", "--pipeline", "both", "--period", "p3", "--run-id", "r1")

    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [
        ["training", "processing", "done"],
        ["training", "algorithm", "done"],
    ]
    assert "10 rows" in lines[0]
    assert "release r1 is current" in result.output
    assert lines[-1] == f"report: {toy.storage.root / 'reports/r1.html'}"
    assert (toy.storage.root / "report.html").read_bytes() == (toy.storage.root / "reports/r1.html").read_bytes()


def test_the_exit_code_is_the_failed_steps_own(quartet: Any, toy: Any) -> None:
    toy.declare(("auc: 0.7", "auc: 0.7, fail: 3"))
    result = quartet("run", "--pipeline", "training")

    assert result.exit_code == 3
    assert "error: step training algorithm failed (exit code 3): algorithm cannot go on" in result.output
    assert "Traceback" not in result.output


def test_a_bad_manifest_is_exit_code_2_with_every_line(quartet: Any, toy: Any) -> None:
    toy.path.write_text("apiVersion: quartet/v1\nname: x\nnmae: y\n")
    result = quartet("validate")

    assert result.exit_code == 2
    assert f"{toy.path}:3: nmae: no known key. Did you mean 'name'?" in result.output


def test_validate_shows_both_graphs(quartet: Any, toy: Any) -> None:
    result = quartet("validate")

    assert result.exit_code == 0
    assert "training: processing → algorithm → monitoring, explainability" in result.output


def test_inference_without_a_release_is_exit_code_3(quartet: Any) -> None:
    result = quartet("run", "--pipeline", "inference")

    assert result.exit_code == 3
    assert "Run the training pipeline first" in result.output


def test_promote_rollback_and_status_follow_the_pointer(quartet: Any, toy: Any) -> None:
    toy.declare(("automatic", "manual"))
    for name in ("r1", "r2"):
        quartet("run", "--pipeline", "training", "--run-id", name)

    assert "no release is current." in quartet("status").output
    assert quartet("promote", "r1").output == "current: r1 (before: none)\n"
    assert quartet("promote", "--latest").output == "current: r2 (before: r1)\n"
    assert "* r2" in quartet("status").output
    assert quartet("rollback").output == "current: r1 (before: r2)\n"
    assert "r2 → r1" in quartet("status").output


@pytest.mark.parametrize("words", [("promote",), ("promote", "r1", "--latest")])
def test_promote_wants_one_release(quartet: Any, words: tuple[str, ...]) -> None:
    result = quartet(*words)

    assert result.exit_code == 2
    assert "name one release, or give --latest" in result.output


def test_a_run_id_that_a_jobs_name_could_not_hold_is_refused(quartet: Any) -> None:
    result = quartet("run", "--run-id", "a/b")

    assert result.exit_code == 2
    assert "--run-id is 'a/b', wanted at most 40 letters, digits and hyphens" in result.output


def test_data_that_are_absent_are_prepared_by_the_module_that_the_manifest_names(
    quartet: Any, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys, pathlib; pathlib.Path(sys.argv[2], 'made.csv').write_text('1,1\\n')"
    (toy.programs.folder / "toy_prepare.py").write_text(f"import pathlib\n{code}\n")
    toy.storage.root.mkdir()
    toy.declare(
        ('uri: "raw/train/{period}.csv", periods: [p1, p2]', 'uri: "{storage}/made.csv"'),
        ("target: late", "target: late\n  prepare: toy_prepare"),
        ("drift: {then: retrain, with: {periods: 2}}", ""),
    )
    result = quartet("run", "--pipeline", "training")

    assert result.exit_code == 0, result.output
    assert result.output.startswith("data written to")


def test_a_preparation_that_fails_stops_the_run(quartet: Any, toy: Any) -> None:
    (toy.programs.folder / "bad_prepare.py").write_text("raise SystemExit('the source is gone')\n")
    toy.declare(
        ('uri: "raw/train/{period}.csv", periods: [p1, p2]', 'uri: "{storage}/made.csv"'),
        ("target: late", "target: late\n  prepare: bad_prepare"),
        ("drift: {then: retrain, with: {periods: 2}}", ""),
    )
    result = quartet("run", "--pipeline", "training")

    assert result.exit_code == 1
    assert "data.prepare 'bad_prepare' failed (exit code 1): the source is gone" in result.output


@pytest.mark.parametrize("pipeline", ["training", "inference", "both"])
def test_a_run_id_that_exists_is_refused_before_anything_runs(quartet: Any, toy: Any, pipeline: str) -> None:
    quartet("run", "--pipeline", "both", "--period", "p3", "--run-id", "r1")
    ended = len(list(toy.storage.root.rglob("log.txt")))
    result = quartet("run", "--pipeline", pipeline, "--period", "p3", "--run-id", "r1")

    assert result.exit_code == 2
    assert "error: run 'r1' exists already: " in result.output
    assert "Take another --run-id" in result.output
    assert len(list(toy.storage.root.rglob("log.txt"))) == ended


def test_a_run_id_that_another_run_has_just_taken_is_refused(quartet: Any, toy: Any) -> None:
    with reserved(toy.storage, "r1", "inference", ("p4",)):
        result = quartet("run", "--period", "p3", "--period", "p4", "--run-id", "r1")

        assert result.exit_code == 2
        assert "run 'r1' exists already" in result.output
        assert not (toy.storage.root / "training/r1").exists()
        assert not (toy.storage.root / "inference/r1-p3").exists()


def test_a_run_that_made_nothing_gives_its_id_back(quartet: Any, toy: Any) -> None:
    assert quartet("run", "--pipeline", "inference", "--run-id", "r1").exit_code == 3
    assert quartet("run", "--pipeline", "both", "--period", "p3", "--run-id", "r1").exit_code == 0


def test_a_period_that_is_named_twice_is_scored_once(quartet: Any) -> None:
    result = quartet("run", "--period", "p3", "--period", "p3")

    assert result.exit_code == 0, result.output
    assert result.output.count("p3 processing") == 1


def test_a_period_that_only_names_the_one_file_is_told(quartet: Any, toy: Any) -> None:
    assert "only names" not in quartet("run", "--period", "p3").output
    toy.declare(('score: {uri: "raw/score/{period}.csv"}', 'score: {uri: "raw/score/p3.csv"}'))
    result = quartet("run", "--pipeline", "inference", "--period", "2020-01")

    assert "data.score.uri 'raw/score/p3.csv' has no {period}: the period only names what lies there." in result.output


def test_promote_takes_no_path_for_a_release(quartet: Any, toy: Any) -> None:
    quartet("run", "--pipeline", "training", "--run-id", "r1")
    result = quartet("promote", "../evil")

    assert result.exit_code == 2
    assert "error: release id is '../evil', wanted letters" in result.output


def test_the_latest_release_is_the_one_made_last(quartet: Any, toy: Any) -> None:
    toy.declare(("automatic", "manual"))
    for name in ("z-first", "a-second"):
        quartet("run", "--pipeline", "training", "--run-id", name)
    first = toy.storage.releases / "z-first.json"
    first.write_text(json.dumps({**json.loads(first.read_text()), "created": "2024-01-01T00:00:00Z"}))

    assert quartet("promote", "--latest").output == "current: a-second (before: none)\n"


def test_another_engine_than_local_is_refused(quartet: Any, toy: Any) -> None:
    toy.declare(("name: toy", "name: toy\nengine: airflow"))
    result = quartet("run")

    assert result.exit_code == 2
    assert "engine is 'airflow', but `run` runs only 'local' here now" in result.output


@pytest.mark.parametrize("period", ["../p3", "p3/..", ".p3", ""])
def test_a_period_that_could_lead_elsewhere_is_refused(quartet: Any, period: str) -> None:
    result = quartet("run", "--pipeline", "inference", "--period", period)

    assert result.exit_code == 2
    assert f"--period is {period!r}" in result.output


def test_a_first_run_that_misses_its_gate_writes_its_report_and_ends_with_3(quartet: Any, toy: Any) -> None:
    toy.declare(("auc: 0.7", "auc: 0.55"))
    result = quartet("run", "--run-id", "r1")

    assert result.exit_code == 3
    assert f"report: {toy.storage.root / 'reports/r1.html'}" in result.output
    assert "validation:auc is 0.5500, wanted at least 0.6" in result.output
    assert "error: nothing was scored: no release is current" in result.output
    page = (toy.storage.root / "reports/r1.html").read_text(encoding="utf-8")
    assert "nothing was scored" in page


def test_a_plan_runs_nothing_and_tells_what_is_chosen(quartet: Any, toy: Any) -> None:
    result = quartet("plan")

    assert result.exit_code == 0, result.output
    assert "training    processing → algorithm → monitoring, explainability → release" in result.output
    assert "data      2 of 2 there" in result.output
    assert "outcomes  known of 3 of 3" in result.output
    assert "components.algorithm.train.instance" in result.output
    assert not (toy.storage.root / "training").exists()


def test_a_plan_names_data_that_are_not_there(quartet: Any, toy: Any) -> None:
    (toy.folder / "raw/train/p2.csv").unlink()

    assert f"1 of 2 there, 0.0 MB; {toy.folder / 'raw/train/p2.csv'} does not exist" in quartet("plan").output


def test_lineage_is_told_as_text_and_as_json(quartet: Any) -> None:
    quartet("run", "--pipeline", "training", "--run-id", "r1")

    assert quartet("lineage").output.startswith("r1  ")
    (traced,) = json.loads(quartet("lineage", "r1", "--json").output)
    assert traced["release"] == "r1"


def test_lineage_without_a_release_says_what_to_run(quartet: Any) -> None:
    assert quartet("lineage").exit_code == 3


def test_a_manifest_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,0\n2,1\n3,1\n")
    output = tmp_path / "use-case.yaml"
    words = ["init", str(tmp_path / "a.csv"), "--output", str(output)]

    assert CliRunner().invoke(main, words).exit_code == 0
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 2
    assert "exists already. Take another --output, or --force" in again.output
    assert CliRunner().invoke(main, [*words, "--force"]).exit_code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_completion(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])

    assert result.exit_code == 0
    assert "_QUARTET_COMPLETE" in result.output


def test_releases_are_completed(quartet: Any, toy: Any) -> None:
    quartet("run", "--pipeline", "training", "--run-id", "r1")
    (argument,) = (item for item in main.commands["promote"].params if item.name == "release")
    context = click.Context(main.commands["promote"])
    context.params = {"manifest": str(toy.path), "storage": toy.storage.root}

    assert [item.value for item in argument.shell_complete(context, "r")] == ["r1"]
    assert argument.shell_complete(context, "x") == []


def test_settings_are_judged_before_anything_runs(toy: Any) -> None:
    toy.declare(("algorithm: {settings: {auc: 0.7}", "algorithm: {settings: {max_dept: 3}"))
    for words in (["validate"], ["run", "--storage", str(toy.storage.root)]):
        result = CliRunner().invoke(main, [words[0], str(toy.path), *words[1:]])
        assert result.exit_code == 2
        assert "components.algorithm.settings.max_dept: no known setting. Did you mean 'max_depth'?" in result.output
    assert not toy.storage.root.exists()


def test_an_environment_that_requires_gates_is_validated_with_them(quartet: Any, toy: Any) -> None:
    gates = 'training: {gates: [{metric: "validation:auc", min: 0.6}], release: {approve: automatic}}'
    toy.declare((gates, "training: {}"), ("name: toy\n", "name: toy\nenvironments: {prod: {gates_required: true}}\n"))

    assert quartet("validate").exit_code == 0
    result = quartet("validate", "--environment", "prod")
    assert result.exit_code == 2
    assert "environment 'prod' requires gates" in result.output


def test_a_storage_that_cannot_be_made_is_one_sentence(quartet: Any, toy: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["run", str(toy.path), "--storage", str(tmp_path / "file/x")])

    assert result.exit_code == 2, result.output
    assert (
        result.output
        == f"error: storage {tmp_path / 'file/x'} cannot be made: Not a directory. Give another --storage.\n"
    )
