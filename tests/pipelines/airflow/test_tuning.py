"""A tuning job as a task."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.airflow import body, render
from tests.aws.data import toy_use_case
from tests.pipelines.sagemaker.test_tuning import TUNED

WITH_BRACES = ("ranges: {", "ranges: {objective: ['{{ a', 'b'], ")


@pytest.fixture
def source(tmp_path: Path) -> str:
    (content,) = render(toy_use_case(tmp_path, (TUNED[0], TUNED[1].replace(*WITH_BRACES))), specs(), {}).files.values()
    return content.decode()


def test_the_task_is_the_providers_operator_without_words_that_it_does_not_know(source: str) -> None:
    (task,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SageMakerTuningOperator"
    ]

    assert {item.arg for item in task.keywords} == {"task_id", "config", None}
    assert set(body.TUNING) == {"aws_conn_id", "check_interval", "post_execute", "deferrable"}


def test_the_model_is_that_of_the_best_training(source: str) -> None:
    result = "{{ ti.xcom_pull('algorithm')['Tuning']"
    folder = f"{result}['TrainingJobDefinition']['OutputDataConfig']['S3OutputPath'] }}}}"
    best = f"{result}['BestTrainingJob']['TrainingJobName'] }}}}"

    assert f"{folder}/{best}/output/model.tar.gz" in source.replace('"\n', "").replace("\n", "")
    assert "ModelArtifacts" not in source


def test_a_tuning_jobs_name_has_at_most_32_characters(source: str) -> None:
    assert '"HyperParameterTuningJobName": f"tuning-{RUN}-{TRY}"' in source
    assert len("tuning-20261122T041500-0a1b-9999") == 32


def test_texts_that_look_like_templates_stay_texts(source: str) -> None:
    assert "{{ '{' }}{ a" in source


def test_a_tuning_job_that_was_stopped_fails_its_task() -> None:
    description: dict[str, Any] = {
        "HyperParameterTuningJobName": "tuning-1",
        "HyperParameterTuningJobStatus": "Stopped",
    }

    with pytest.raises(RuntimeError, match="Tuning job tuning-1 is Stopped, wanted Completed"):
        body.completed({}, {"Tuning": description})
    body.completed({}, {"Tuning": {**description, "HyperParameterTuningJobStatus": "Completed"}})
