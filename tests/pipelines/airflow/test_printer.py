"""The DAG file as text; tests/aws/test_airflow.py has Airflow run it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.airflow import render
from pipelines.aws.places import Rendered
from pipelines.periods import kind_of
from shared.errors import SettingsError
from tests.aws.data import DIGESTS, flights_use_case, toy_use_case

TWO_STEPS = (
    "  training: {",
    "  inference: {steps: [processing, algorithm]}\n  training: {steps: [processing, algorithm], ",
)
MONTHS = [("periods: [p1, p2]}", "periods: [2013-10, 2013-11]}"), ("periods: [p3, p4]", "periods: [2013-12]")]
VECTORS = json.loads((Path(__file__).parents[1] / "periods.json").read_text(encoding="utf-8"))


def rendered(folder: Path, *changes: tuple[str, str], **options: Any) -> Rendered:
    return render(toy_use_case(folder, *changes), specs(), {}, **options)


def source(folder: Path, *changes: tuple[str, str], **options: Any) -> str:
    (content,) = rendered(folder, *changes, **options).files.values()
    return content.decode()


def constants(text: str) -> dict[str, Any]:
    """The constants of a file whose values are literals."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def test_the_same_manifest_gives_the_same_bytes(tmp_path: Path) -> None:
    assert rendered(tmp_path) == rendered(tmp_path)


def test_the_file_imports_nothing_of_ours(tmp_path: Path) -> None:
    nodes = list(ast.walk(ast.parse(source(tmp_path))))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}

    assert {str(module).partition(".")[0] for module in modules} <= {"airflow", "pendulum", *sys.stdlib_module_names}


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [
            (
                "drift: {then: retrain, with: {periods: 2}}",
                "drift: {then: notify, notify: 'arn:aws:sns:eu-west-1:123456789012:a'}",
            )
        ],
        [("drift: {then: retrain, with: {periods: 2}}", "")],
        [("with: {periods: 2}", "with: {data.train: '{storage}/all/'}")],
        [('  score: {uri: "{storage}/raw/score/{period}.csv"}\n', "")],
        [TWO_STEPS],
        MONTHS,
    ],
    ids=["retraining", "notice only", "no policy", "a fixed uri", "training only", "nobody watches", "months"],
)
def test_formatters_and_linters_have_nothing_to_change(tmp_path: Path, changes: list[tuple[str, str]]) -> None:
    path = tmp_path / "made.py"
    path.write_text(source(tmp_path, *changes), encoding="utf-8")
    ruff = (sys.executable, "-m", "ruff")
    options = ("--isolated", "--line-length=120", str(path))

    for command in (("format", "--diff"), ("check", "--select=B,D1,E,F,I,N,RUF,SIM,UP,W")):
        done = subprocess.run((*ruff, *command, *options), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_image_by_tag_is_refused(tmp_path: Path) -> None:
    digest = f", digest: '{DIGESTS['monitoring']}'"

    with pytest.raises(SettingsError, match=r"the image of 'monitoring' is '[^']*', wanted one by digest"):
        rendered(tmp_path, (digest, ""))


def test_a_job_name_is_at_most_63_characters_long(tmp_path: Path) -> None:
    name = "a" * 24
    text = source(tmp_path, ("name: toy\n", f"name: {name}\n"))
    steps = {line.split("-")[1] for line in text.splitlines() if 'Name": f"{USE_CASE}-' in line}

    assert steps == {"processing", "algorithm", "monitoring", "explainability", "release"}
    assert max(len(f"{name}-{step}-20261122T120000-3fa2-31") for step in steps) == 63


def test_a_setting_that_looks_like_a_template_stays_the_text_it_is(tmp_path: Path) -> None:
    jinja2 = pytest.importorskip("jinja2")
    setting = "{{ it }} {% is %} {# plain #} {x} }}"
    text = source(tmp_path, ("{auc: 0.7}", f"{{auc: 0.7, note: '{setting}'}}"))
    (template,) = re.findall(r'"note": "([^"]*)"', text)

    assert jinja2.Template(template).render() == setting


def test_whether_a_window_ends_with_the_period_is_asked_before_a_retraining(tmp_path: Path) -> None:
    assert 'op_args=["training_window", PERIOD]' in source(tmp_path)
    uri = source(tmp_path, ("with: {periods: 2}", "with: {data.train: '{storage}/all/'}"))
    assert 'op_args=["note_retraining"]' in uri


def test_each_period_has_the_window_that_ends_with_it(tmp_path: Path) -> None:
    made = rendered(tmp_path)
    windows = constants(source(tmp_path))["WINDOWS"]

    assert list(windows) == ["p1", "p2", "p3", "p4"]
    assert b'"p3.csv", "p4.csv"' in made.uploads[windows["p4"]]
    assert b"p2" not in made.uploads[windows["p1"]]


def test_a_dag_file_reckons_with_the_calendar_as_every_engine_does(tmp_path: Path) -> None:
    text = source(tmp_path, *MONTHS)
    section = text[text.index("# --- Calendar") : text.index("# --- Runs and releases")]
    found: dict[str, Any] = {}
    exec("import re\nfrom datetime import date\nfrom typing import Sequence\n" + section, found)

    for one in VECTORS["windows"]:
        kind = kind_of(one["listed"])
        assert list(found["later_window"](kind, one["listed"], one["count"], one["last"])) == one["window"], one["fact"]
    for one in VECTORS["days"]:
        assert found["period_at"](one["kind"], date.fromisoformat(one["day"])) == one["period"]


def test_what_a_job_reads_is_uploaded(tmp_path: Path) -> None:
    made = rendered(tmp_path)
    text = source(tmp_path)
    folders = {uri.rpartition("/")[0] for uri in made.uploads}

    assert all(folder in text for folder in folders)


def test_environments_are_dags_of_their_own(tmp_path: Path) -> None:
    change = ("data:\n", "environments: {prod: {storage: 's3://prod/toy'}}\ndata:\n")
    (name,) = rendered(tmp_path, change, environment="prod").files
    found = constants(source(tmp_path, change, environment="prod"))

    assert name == "quartet-toy.prod.py"
    assert (found["TRAINING"], found["INFERENCE"]) == ("quartet-toy.prod-training", "quartet-toy.prod-inference")
    assert found["POINTER"] == "/toy/prod/releases/current"
    assert found["STORAGE"] == "s3://prod/toy"


def test_an_environment_s_dags_are_not_those_of_a_use_case_whose_name_ends_like_it(tmp_path: Path) -> None:
    """Both files lie in one dags folder, where nobody would tell that one has replaced the other."""
    change = ("data:\n", "environments: {prod: {storage: 's3://prod/toy'}}\ndata:\n")
    names = ("TRAINING", "INFERENCE")
    inside, alone = tmp_path / "inside", tmp_path / "alone"
    inside.mkdir()
    alone.mkdir()
    (first,) = rendered(inside, change, environment="prod").files.items()
    (second,) = rendered(alone, ("name: toy\n", "name: toy-prod\n")).files.items()
    ids = [{constants(text.decode())[name] for name in names} for _, text in (first, second)]

    assert (first[0], second[0]) == ("quartet-toy.prod.py", "quartet-toy-prod.py")
    assert ids[0].isdisjoint(ids[1])


def test_switched_off_steps_are_no_tasks(tmp_path: Path) -> None:
    text = source(tmp_path, TWO_STEPS)

    assert "MONITORING_IMAGE" not in text
    assert "judge_drift" not in text
    assert constants(text)["PARTS"] == ["model", "state"]


def test_a_manifest_without_data_to_score_has_one_dag(tmp_path: Path) -> None:
    text = source(tmp_path, ('  score: {uri: "{storage}/raw/score/{period}.csv"}\n', ""))

    assert text.count("with DAG(") == 1


def test_a_request_that_the_service_would_refuse_is_refused_here(tmp_path: Path) -> None:
    change = ("{auc: 0.7}", "{auc: 0.7, " + f"note: '{'x' * 3000}'" + "}")

    with pytest.raises(SettingsError, match=r"CreateTrainingJob\.HyperParameters\.note is 3,000 long"):
        rendered(tmp_path, change)


def test_the_drift_policy_becomes_constants(tmp_path: Path) -> None:
    text = source(
        tmp_path, ("with: {periods: 2}", "with: {periods: 2}, cooldown: 36h, max_per_month: 3, when: {runs: 2}")
    )
    found = constants(text)

    assert "COOLDOWN = timedelta(hours=36)" in text
    assert (found["MAX_PER_MONTH"], found["DRIFTS_IN_A_ROW"]) == (3, 2)
    assert found["DRIFT_STATE"] == "/toy/drift/state"


def test_months_can_be_told_of_any_day(tmp_path: Path) -> None:
    (content,) = render(flights_use_case(tmp_path), specs(), {}).files.values()

    assert constants(content.decode())["CALENDAR"] == "month"
    assert constants(source(tmp_path))["CALENDAR"] is None
