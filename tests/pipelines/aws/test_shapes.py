"""Requests against botocore's models: what fits, what does not, and where it says so."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.aws.shapes import checked, jinja_hole, jsonata_hole, no_hole, pipeline_hole, problems
from shared.errors import SettingsError

ROLE = "arn:aws:iam::123456789012:role/jobs"


def request(**changes: Any) -> dict[str, Any]:
    """A CreateProcessingJob request."""
    return {
        "ProcessingJobName": "job-1",
        "AppSpecification": {"ImageUri": "image", "ContainerArguments": ["train"]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30}
        },
        "RoleArn": ROLE,
        **changes,
    }


def test_a_request_that_fits_is_given_back() -> None:
    assert checked("CreateProcessingJob", request()) == request()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Rolearn": ROLE}, "CreateProcessingJob has no 'Rolearn'. Did you mean 'RoleArn'?"),
        (
            {"AppSpecification": {}},
            "CreateProcessingJob.AppSpecification.ImageUri is missing, and the service requires it.",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": "60"}},
            "CreateProcessingJob.StoppingCondition.MaxRuntimeInSeconds is '60', wanted a value of type integer.",
        ),
        (
            {"NetworkConfig": {"EnableNetworkIsolation": 1}},
            "CreateProcessingJob.NetworkConfig.EnableNetworkIsolation is 1, wanted a value of type boolean.",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": True}},
            "CreateProcessingJob.StoppingCondition.MaxRuntimeInSeconds is True, wanted a value of type integer.",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "CreateProcessingJob.StoppingCondition.MaxRuntimeInSeconds is 0, wanted it at least 1 large.",
        ),
        (
            {"Environment": {"A": "x" * 257}},
            "CreateProcessingJob.Environment.A is 257 long, wanted at most 256: "
            + repr("x" * 257)[:77]
            + "….",
        ),
        (
            {"ProcessingJobName": "a_b"},
            "CreateProcessingJob.ProcessingJobName is 'a_b', wanted text that matches "
            "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            {"AppSpecification": {"ImageUri": "x", "ContainerArguments": []}},
            "CreateProcessingJob.AppSpecification.ContainerArguments is [], wanted it at least 1 long.",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_path(changes: dict[str, Any], said: str) -> None:
    assert list(problems("CreateProcessingJob", request(**changes))) == [said]


def test_a_value_that_is_none_of_the_choices_is_told_the_choices() -> None:
    source = {"S3Uri": "s3://b/k", "S3DataType": "Manifest", "LocalPath": "/opt/ml/processing/x"}
    (said,) = problems("CreateProcessingJob", request(ProcessingInputs=[{"InputName": "a", "S3Input": source}]))

    assert said.startswith("CreateProcessingJob.ProcessingInputs[0].S3Input.S3DataType is 'Manifest', wanted one of ")
    assert "'ManifestFile'" in said


def test_all_problems_are_told_in_one_error() -> None:
    with pytest.raises(SettingsError) as refusal:
        checked("CreateProcessingJob", request(RoleArn="me", Environment={"a b": "x"}))

    assert len(str(refusal.value).splitlines()) == 3  # the role is too short, and no role; the name is none


def test_what_the_engine_adds_by_itself_may_be_missing() -> None:
    unnamed = request()
    del unnamed["ProcessingJobName"]

    assert len(list(problems("CreateProcessingJob", unnamed))) == 1
    assert not list(problems("CreateProcessingJob", unnamed, without=("ProcessingJobName",)))


@pytest.mark.parametrize(
    ("hole", "value"),
    [
        (pipeline_hole, {"Get": "Parameters.Role"}),
        (pipeline_hole, {"Std:Join": {"On": "/", "Values": []}}),
        (jsonata_hole, "{% $Role %}"),
        (jinja_hole, "{{ params.Role }}"),
    ],
)
def test_a_hole_stands_for_any_value(hole: Any, value: Any) -> None:
    filled = request(RoleArn=value, ProcessingInputs=value)

    assert not list(problems("CreateProcessingJob", filled, hole))
    assert list(problems("CreateProcessingJob", filled, no_hole))


def test_around_a_hole_everything_is_checked() -> None:
    source = {"S3Uri": {"Get": "Parameters.Data"}, "LocalPath": "/opt/ml/processing/x", "S3DataType": "S3Prefix"}
    inputs = [{"InputName": "a", "S3Input": {**source, "Colour": "red"}}]
    (said,) = problems("CreateProcessingJob", request(ProcessingInputs=inputs), pipeline_hole)

    assert said.startswith("CreateProcessingJob.ProcessingInputs[0].S3Input has no 'Colour'.")


def test_an_object_with_more_than_the_reference_is_no_hole() -> None:
    assert not pipeline_hole({"Get": "Parameters.A", "Default": "b"})
    assert not pipeline_hole({"Path": "x"})
    assert not jsonata_hole("{% half")


def test_other_services_have_models_too() -> None:
    found = list(problems("SubmitJob", {"jobName": "a", "jobQueue": "b"}, service="batch"))

    assert found == ["SubmitJob.jobDefinition is missing, and the service requires it."]
