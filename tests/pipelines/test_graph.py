"""The two graphs, and the requests that their jobs become."""

from __future__ import annotations

from typing import Any

import pytest

from components.spec import Spec, specs
from pipelines.graph import (
    Destination,
    Graph,
    ImageOf,
    JobName,
    Origin,
    Output,
    Parent,
    ProcessingJob,
    Raw,
    Reference,
    Released,
    Role,
    RunId,
    SettingsFile,
    StartedBy,
    TrainingJob,
    TransformJob,
    inference_graph,
    training_graph,
)
from pipelines.manifest import Manifest
from shared.errors import SettingsError


def manifest(**changes: Any) -> Manifest:
    data = {
        "train": {"uri": "{period}.csv", "periods": ["p1"]},
        "score": {"uri": "new.csv"},
        "labels": {"uri": "labels.csv"},
        "ids": ["id"],
        "target": "late",
    }
    said = {"apiVersion": "quartet/v1", "name": "toy", "data": data, "components": {}}
    return Manifest.model_validate(said | changes)


def components(**declared: Any) -> Manifest:
    return manifest(components=declared)


def resolve(reference: Reference) -> str:
    """A reference as an S3 engine might print it."""
    match reference:
        case Raw(name) | Released(name) | SettingsFile(name):
            return f"s3://bucket/{type(reference).__name__.lower()}/{name}"
        case Output(step, name) | Destination(step, name):
            return f"s3://bucket/run/{step}/{name}"
        case JobName(step):
            return f"toy-{step}"
        case ImageOf(component):
            return f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{component}@sha256:{'0' * 64}"
        case Role():
            return "arn:aws:iam::123456789012:role/jobs"
        case RunId() | StartedBy() | Parent():
            return type(reference).__name__


@pytest.fixture(scope="module")
def declared() -> dict[str, Spec]:
    return specs()


def test_training_is_processing_then_algorithm_then_both_others_then_a_release(declared: dict[str, Spec]) -> None:
    graph = training_graph(manifest(), declared)

    assert graph.layers() == (("processing",), ("algorithm",), ("monitoring", "explainability"), ("release",))
    assert graph.publication is not None
    assert {name: part.step for name, part in graph.publication.parts.items()} == {
        "model": "algorithm",
        "state": "processing",
        "baseline": "monitoring",
        "explainer": "explainability",
    }


def test_the_release_step_is_a_processing_job_that_is_told_of_its_run(declared: dict[str, Spec]) -> None:
    request = training_graph(manifest(), declared).job("release").request(resolve)

    assert request["AppSpecification"]["ContainerEntrypoint"] == ["python", "-m", "components.processing"]
    assert request["AppSpecification"]["ContainerArguments"] == ["release"]
    assert request["Environment"] == {
        "QUARTET_RUN": "RunId",
        "QUARTET_STARTED_BY": "StartedBy",
        "QUARTET_PARENT": "Parent",
        "QUARTET_DATA": "s3://bucket/raw/train",
    }
    inputs = {item["InputName"]: item["S3Input"]["S3Uri"] for item in request["ProcessingInputs"]}
    assert inputs == {
        "model": "s3://bucket/run/algorithm/model",
        "state": "s3://bucket/run/processing/state",
        "baseline": "s3://bucket/run/monitoring/baseline",
        "explainer": "s3://bucket/run/explainability/explainer",
        "settings": "s3://bucket/settingsfile/release",
    }


def test_the_release_step_is_told_what_the_manifest_says_of_images_and_gates(declared: dict[str, Spec]) -> None:
    digest = f"sha256:{'0' * 64}"
    images = {"algorithm": {"uri": "r/a", "digest": digest, "variant": "xgboost-cpu"}, "processing": {"uri": "r/p:1"}}
    training = {"gates": [{"metric": "validation:auc", "min": 0.6}], "release": {"approve": "automatic"}}
    said = manifest(images=images, pipelines={"training": training})
    job = training_graph(said, declared, Origin("abc", "0" * 40)).job("release")

    assert isinstance(job, ProcessingJob)
    assert job.settings == {
        "name": "toy",
        "gates": [{"metric": "validation:auc", "step": "algorithm", "min": 0.6, "max": None}],
        "approve": "automatic",
        "manifest": {"sha256": "abc"},
        "revision": "0" * 40,
        "images": {"algorithm": f"r/a@{digest}", "processing": "r/p:1"},
        "variant": "xgboost-cpu",
        "data": {"uri": "{period}.csv"},
    }


def test_inference_explains_beside_scoring_and_reads_the_release(declared: dict[str, Spec]) -> None:
    graph = inference_graph(manifest(), declared)

    assert graph.layers() == (("processing",), ("algorithm", "explainability"), ("monitoring",))
    processing, monitoring = graph.job("processing"), graph.job("monitoring")
    assert isinstance(processing, ProcessingJob)
    assert isinstance(monitoring, ProcessingJob)
    assert processing.inputs["state"] == Released("state")
    assert monitoring.inputs["scores"] == Output("algorithm", "scores")
    assert monitoring.inputs["labels"] == Raw("labels")


def test_a_job_comes_after_those_whose_outputs_it_reads(declared: dict[str, Spec]) -> None:
    for graph in (training_graph(manifest(), declared), inference_graph(manifest(), declared)):
        position = {job.name: index for index, job in enumerate(graph.jobs)}
        for job in graph.jobs:
            assert all(position[name] < position[job.name] for name in job.after)


def test_components_that_read_raw_data_are_told_of_its_columns(declared: dict[str, Spec]) -> None:
    graph = training_graph(components(processing={"settings": {"target": "own"}}), declared)

    processing, monitoring = graph.job("processing"), graph.job("monitoring")
    assert isinstance(processing, ProcessingJob)
    assert isinstance(monitoring, ProcessingJob)
    assert processing.settings == {"target": "own", "ids": ["id"]}
    assert monitoring.settings == {"target": "late", "ids": ["id"]}


def test_a_modes_settings_override_the_components(declared: dict[str, Spec]) -> None:
    said = components(processing={"settings": {"a": 1, "b": 1}, "serve": {"settings": {"b": 2}}})

    train, serve = training_graph(said, declared).job("processing"), inference_graph(said, declared).job("processing")
    assert isinstance(train, ProcessingJob)
    assert isinstance(serve, ProcessingJob)
    assert (train.settings["a"], train.settings["b"]) == (1, 1)
    assert (serve.settings["a"], serve.settings["b"]) == (1, 2)


def test_hyperparameters_are_strings(declared: dict[str, Spec]) -> None:
    settings = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.1, "flag": True, "list": ["a", 1]}
    job = training_graph(components(algorithm={"settings": settings}), declared).job("algorithm")

    assert isinstance(job, TrainingJob)
    assert job.hyperparameters == {
        "objective": "binary:logistic",
        "max_depth": "6",
        "eta": "0.1",
        "flag": "true",
        "list": '["a", 1]',
    }


def test_a_server_is_told_what_is_said_for_serving_only(declared: dict[str, Spec]) -> None:
    said = components(algorithm={"settings": {"max_depth": 6}, "serve": {"settings": {"outputs": ["score"]}}})
    job = inference_graph(said, declared).job("algorithm")

    assert isinstance(job, TransformJob)
    assert job.environment == {"QUARTET_OUTPUTS": '["score"]'}


def test_a_step_that_another_needs_cannot_be_switched_off(declared: dict[str, Spec]) -> None:
    said = manifest(pipelines={"training": {"steps": ["algorithm"]}, "inference": {"steps": ["algorithm"]}})

    with pytest.raises(SettingsError, match="step 'algorithm' needs 'train', which step 'processing' makes"):
        training_graph(said, declared)


def test_gates_need_a_model(declared: dict[str, Spec]) -> None:
    steps = {"steps": ["processing"]}
    gates = [{"metric": "auc", "min": 0.5}]

    with pytest.raises(SettingsError, match="gates need step 'algorithm'"):
        training_graph(manifest(pipelines={"training": steps | {"gates": gates}, "inference": steps}), declared)


def test_inference_without_data_to_score_is_refused(declared: dict[str, Spec]) -> None:
    with pytest.raises(SettingsError, match=r"has no data\.score"):
        inference_graph(manifest(data={"train": {"uri": "a.csv"}}), declared)


def test_a_window_of_periods_is_a_list_of_files(declared: dict[str, Spec]) -> None:
    for data, wanted in (({"uri": "{period}.csv", "periods": ["p1"]}, "ManifestFile"), ({"uri": "a.csv"}, "S3Prefix")):
        job = training_graph(manifest(data={"train": data}), declared).job("processing")
        assert job.request(resolve)["ProcessingInputs"][0]["S3Input"]["S3DataType"] == wanted


def test_what_the_manifest_says_of_machines_reaches_the_request(declared: dict[str, Spec]) -> None:
    train = {"instance": "ml.m5.4xlarge", "spot": True, "max_wait": "4h", "checkpoint": True, "tags": {"a": "b"}}
    said = manifest(defaults={"volume_gb": 50, "max_runtime": "2h"}, components={"algorithm": {"train": train}})
    request = training_graph(said, declared).job("algorithm").request(resolve)

    assert request["ResourceConfig"] == {"InstanceCount": 1, "InstanceType": "ml.m5.4xlarge", "VolumeSizeInGB": 50}
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 14400}
    assert request["EnableManagedSpotTraining"] is True
    assert request["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert request["Tags"] == [{"Key": "a", "Value": "b"}]


def test_a_graph_is_a_pure_function_of_manifest_and_declarations(declared: dict[str, Spec]) -> None:
    def printed(graph: Graph) -> list[Any]:
        return [job.request(resolve) for job in graph.jobs]

    assert printed(training_graph(manifest(), declared)) == printed(training_graph(manifest(), declared))


REQUIRED = {
    ProcessingJob: {"ProcessingJobName", "AppSpecification", "ProcessingResources", "RoleArn"},
    TrainingJob: {
        "TrainingJobName",
        "AlgorithmSpecification",
        "OutputDataConfig",
        "ResourceConfig",
        "RoleArn",
        "StoppingCondition",
    },
    TransformJob: {"TransformJobName", "ModelName", "TransformInput", "TransformOutput", "TransformResources"},
}
"""What the API reference calls required, by request."""


def test_every_request_has_what_the_api_requires(declared: dict[str, Spec]) -> None:
    for graph in (training_graph(manifest(), declared), inference_graph(manifest(), declared)):
        for job in graph.jobs:
            assert REQUIRED[type(job)] <= set(job.request(resolve))


def test_a_transform_job_has_a_model_of_its_own(declared: dict[str, Spec]) -> None:
    job = inference_graph(manifest(), declared).job("algorithm")

    assert isinstance(job, TransformJob)
    model = job.model_request(resolve)
    assert model["ModelName"] == job.request(resolve)["ModelName"]
    assert model["PrimaryContainer"]["ModelDataUrl"] == "s3://bucket/released/model"
