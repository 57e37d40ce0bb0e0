"""A tuning job as a step of a pipeline."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines.sagemaker import render
from tests.aws import tuning
from tests.aws.data import toy_use_case
from tests.aws.pipelines_interpreter import gets, unresolved
from tests.aws.sagemaker import validated
from tests.pipelines.sagemaker.test_printer import filled, steps

TUNED = (
    "{settings: {auc: 0.7}}",
    "{settings: {auc: 0.7}, train: {tuning: {metric: 'validation:auc', direction: maximize, max_jobs: 4, "
    "ranges: {auc: {min: 0.6, max: 0.9}}}}}",
)
SDK = Path(__file__).parents[3] / ".venv-sagemaker-v2/bin/python"
PRINT = """
import json
from sagemaker.workflow.functions import Join
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.steps import StepTypeEnum, TuningStep
properties = TuningStep.__new__(TuningStep)
from sagemaker.workflow.properties import Properties
properties._properties = Properties("algorithm", shape_names=[
    "DescribeHyperParameterTuningJobResponse", "ListTrainingJobsForHyperParameterTuningJobResponse"])
folder = properties.properties.TrainingJobDefinition.OutputDataConfig.S3OutputPath
top = properties.get_top_model_s3_uri(0, "bucket", "prefix")
print(json.dumps({"kind": StepTypeEnum.TUNING.value, "folder": folder.expr, "top": top.expr}))
"""


@pytest.fixture
def definition(tmp_path: Path) -> Any:
    return json.loads(render(toy_use_case(tmp_path, TUNED), specs(), {}).files["training.json"])


def test_the_step_is_a_tuning_job_that_fits_the_service(definition: Any) -> None:
    step = steps(definition)["algorithm"]
    request = {**filled(step["Arguments"]), "HyperParameterTuningJobName": "example"}

    assert step["Type"] == "Tuning"
    assert "HyperParameterTuningJobName" not in step["Arguments"]
    assert validated("CreateHyperParameterTuningJob", request) == request
    assert list(tuning.inconsistent(request)) == []
    assert list(unresolved(definition)) == []


def test_whoever_reads_the_model_reads_that_of_the_best_training(definition: Any) -> None:
    """Where the trainings were stored is asked of the step itself: after a cache hit it is an earlier run's folder."""
    archive = {
        "Std:Join": {
            "On": "",
            "Values": [
                {"Get": "Steps.algorithm.TrainingJobDefinition.OutputDataConfig.S3OutputPath"},
                "/",
                {"Get": "Steps.algorithm.TrainingJobSummaries[0].TrainingJobName"},
                "/output/model.tar.gz",
            ],
        }
    }
    found = steps(definition)
    inputs = {
        name: {item["InputName"]: item["S3Input"]["S3Uri"] for item in found[name]["Arguments"]["ProcessingInputs"]}
        for name in ("monitoring", "explainability", "release")
    }

    assert {name: given["model"] for name, given in inputs.items()} == dict.fromkeys(inputs, archive)
    (container,) = found["register"]["Arguments"]["InferenceSpecification"]["Containers"]
    assert container["ModelDataUrl"] == archive
    assert not [path for path in gets(definition) if "ModelArtifacts" in path]


@pytest.mark.skipif(not SDK.exists(), reason="the SageMaker SDK has an environment of its own")
def test_the_sdk_names_the_same_properties(definition: Any) -> None:
    done = subprocess.run((str(SDK), "-c", PRINT), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    used = {path for path in gets(definition) if path.startswith("Steps.algorithm.")}

    assert told["kind"] == steps(definition)["algorithm"]["Type"]
    assert used == {told["folder"]["Get"], *gets(told["top"])}
    assert told["top"]["Std:Join"]["Values"][-1] == "output/model.tar.gz"
