"""Limits of AWS: the greatest that passes, and what is said of the next one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from components.spec import specs
from pipelines import airflow, batch, cloudformation, limits, sagemaker, stepfunctions
from shared.errors import SettingsError
from tests.aws.data import toy_use_case

LONGEST: list[tuple[Callable[[str], Any], int, str]] = [
    (limits.check_job_name, 63, "has 64 characters, wanted at most 63"),
    (lambda text: limits.check_environment({"QUARTET_DATA": text}, "release"), 256, "has 257 characters"),
    (lambda text: limits.check_parameter("/flights/releases/current", text), 4096, "has 4,097 bytes"),
    (lambda text: limits.check_payload(text, "start"), 262_144, "has 262,145 bytes"),
    (lambda text: limits.check_answer(text, "train"), 262_144 - 16_384, "has 262,145 bytes"),
    (lambda text: limits.check_state_machine(text, "training"), 1_048_576, "has 1,048,577 bytes"),
    (lambda text: limits.check_overrides(text, "train"), 8192, "of 8,193 characters"),
    (lambda text: limits.check_template(text, "flights"), 51_200, "has 51,201 bytes"),
]


@pytest.mark.parametrize(("check", "most", "said"), LONGEST)
def test_what_is_one_character_too_long_is_refused_and_nothing_shorter(
    check: Callable[[str], Any], most: int, said: str
) -> None:
    check("x" * most)

    with pytest.raises(SettingsError, match=said):
        check("x" * (most + 1))


@pytest.mark.parametrize("name", ["a_b", "-a", "a-", "", "a.b"])
def test_a_job_name_has_letters_digits_and_hyphens_between_them(name: str) -> None:
    with pytest.raises(SettingsError, match="wanted letters, digits"):
        limits.check_job_name(name)


def test_bytes_are_counted_and_not_characters() -> None:
    with pytest.raises(SettingsError, match="has 4,098 bytes"):
        limits.check_parameter("p", "é" * 2049)


def test_a_job_has_at_most_a_hundred_variables() -> None:
    with pytest.raises(SettingsError, match="has 101 variables, wanted at most 100"):
        limits.check_environment({f"v{number}": "" for number in range(101)}, "release")


# --- Where they are checked


def test_a_training_whose_answer_a_state_could_not_hold_is_refused_when_it_is_rendered(tmp_path: Path) -> None:
    settings = ", ".join(f"n{number}: {'x' * 2490}" for number in range(99))
    use_case = toy_use_case(tmp_path, ("{auc: 0.7}", f"{{auc: 0.7, {settings}}}"))

    with pytest.raises(
        SettingsError, match=r"the answer on job 'algorithm' has 2\d\d,\d+ bytes, wanted at most 262,144"
    ):
        stepfunctions.render(use_case, specs(), {})


def test_a_list_of_files_that_a_variable_could_not_hold_is_refused_when_it_is_rendered(tmp_path: Path) -> None:
    periods = ("periods: [p1, p2]}", "periods: [2013-01-01]}"), ("  periods: [p3, p4]\n", "")
    use_case = toy_use_case(tmp_path, *periods, ("with: {periods: 2}", "with: {periods: 9000}"))

    with pytest.raises(SettingsError, match=r"the list of 9,000 files has .* Lower drift\.with\.periods"):
        stepfunctions.render(use_case, specs(), {})


@pytest.mark.parametrize("engine", [airflow, batch, sagemaker, stepfunctions])
def test_a_storage_whose_releases_no_parameter_could_name_is_refused_by_every_engine(
    tmp_path: Path, engine: ModuleType
) -> None:
    use_case = toy_use_case(tmp_path, ("s3://quartet-test/toy", f"s3://quartet-test/{'x' * 3900}"))

    with pytest.raises(
        SettingsError, match=r"parameter '/toy/releases/current' has 4,1\d\d bytes, wanted at most 4,096"
    ):
        engine.render(use_case, specs(), {})


@pytest.mark.parametrize("engine", [airflow, sagemaker, stepfunctions])
@pytest.mark.parametrize(
    "changes",
    [
        [("{storage}/raw/train/{period}.csv", f"s3://b/{'z' * 250}"), (", periods: [p1, p2]", "")],
        [("s3://quartet-test/toy", f"s3://quartet-test/{'x' * 200}")],
    ],
    ids=["one uri", "a list of files"],
)
def test_training_data_that_no_release_could_name_are_refused_when_it_is_rendered(
    tmp_path: Path, engine: ModuleType, changes: list[tuple[str, str]]
) -> None:
    drift = ("drift: {then: retrain, with: {periods: 2}}\n", "")

    with pytest.raises(SettingsError, match=r"variable 'QUARTET_DATA' of job 'release' has 257 characters"):
        engine.render(toy_use_case(tmp_path, drift, *changes), specs(), {})


@pytest.mark.parametrize("engine", [airflow, sagemaker, stepfunctions])
def test_a_retraining_s_data_are_measured_with_the_longest_period(tmp_path: Path, engine: ModuleType) -> None:
    whole = ("{storage}/raw/train/{period}.csv", "{storage}/raw/train.csv"), (", periods: [p1, p2]", "")
    long = ("with: {periods: 2}", f"with: {{data.train: 's3://b/{'z' * 240}/{{period}}'}}")
    engine.render(toy_use_case(tmp_path, *whole, long, ("periods: [p3, p4]", "periods: [p3, p4-56789]")), specs(), {})

    with pytest.raises(SettingsError, match=r"variable 'QUARTET_DATA' of job 'release' has 257 characters"):
        engine.render(
            toy_use_case(tmp_path, *whole, long, ("periods: [p3, p4]", "periods: [p3, p4-567890]")), specs(), {}
        )


@pytest.mark.parametrize("engine", [batch, sagemaker, stepfunctions])
@pytest.mark.parametrize("then", ["notify", "retrain"])
def test_two_drifts_in_a_row_are_refused_by_engines_that_judge_each_run_by_itself(
    tmp_path: Path, engine: ModuleType, then: str
) -> None:
    use_case = toy_use_case(tmp_path, ("drift: {then: retrain", f"drift: {{when: {{runs: 2}}, then: {then}"))

    with pytest.raises(SettingsError, match=r"drift\.when\.runs is 2, but on this engine every run"):
        engine.render(use_case, specs(), {})


@pytest.mark.parametrize("engine", [batch, sagemaker, stepfunctions])
def test_one_uri_for_a_training_that_reads_a_list_is_refused_when_it_is_rendered(
    tmp_path: Path, engine: ModuleType
) -> None:
    use_case = toy_use_case(tmp_path, ("with: {periods: 2}", "with: {data.train: 's3://b/all/'}"))

    with pytest.raises(SettingsError, match=r"drift\.with\.data\.train is one uri"):
        engine.render(use_case, specs(), {})


def test_airflow_counts_two_drifts_in_a_row(tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("drift: {then", "drift: {when: {runs: 2}, then"))

    assert b"DRIFTS_IN_A_ROW = 2" in airflow.render(use_case, specs(), {}).files["quartet-toy.py"]


def test_a_name_that_would_make_a_job_s_too_long_is_refused_when_a_dag_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest name that a manifest takes makes exactly the longest name of a job."""
    use_case = toy_use_case(tmp_path, ("name: toy\n", f"name: {'n' * 24}\n"))
    assert airflow.render(use_case, specs(), {}).files

    monkeypatch.setattr(limits, "JOB_NAME", 62)
    with pytest.raises(SettingsError, match=r"job name 'n{24}-explainability-.*' has 63 characters, wanted"):
        airflow.render(use_case, specs(), {})


def test_a_machine_that_is_too_large_is_refused_when_it_is_rendered(tmp_path: Path) -> None:
    """That which answers drift knows the list of files of each period."""
    periods = ", ".join(f"q{number}" for number in range(8000))
    use_case = toy_use_case(tmp_path, ("periods: [p3, p4]", f"periods: [{periods}]"), ("/toy\n", f"/{'x' * 100}\n"))

    with pytest.raises(SettingsError, match=r"state machine .* has 1,\d\d\d,\d\d\d bytes, wanted at most 1,048,576"):
        stepfunctions.render(use_case, specs(), {})


def test_a_template_that_is_too_long_is_refused_when_it_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The toy's, whose size without spaces is between these limits."""
    use_case = toy_use_case(tmp_path, ("name: toy\n", "name: toy\nengine: step-functions\n"))
    monkeypatch.setattr(cloudformation.printer, "TEMPLATE_BYTES", 0)  # at once without spaces
    assert cloudformation.render(use_case, specs(), {}).files

    monkeypatch.setattr(limits, "TEMPLATE_BYTES", 5_000)
    with pytest.raises(SettingsError, match=r"template 'template.json' has \d\d,\d{3} bytes, wanted at most 5,000"):
        cloudformation.render(use_case, specs(), {})
