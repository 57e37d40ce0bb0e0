"""The loopback SageMaker itself: it refuses what the service refuses, and runs jobs as the service does."""

from __future__ import annotations

import json
import tarfile
import time
from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.batch_transform import payloads
from tests.aws.cloud import BUCKET, ROLE, Cloud
from tests.aws.data import STORAGE, Flights, image_of, summary
from tests.aws.sagemaker import SageMaker, ServiceError

BASE = f"s3://{BUCKET}/jobs"
SETTINGS = {
    "target": "late",
    "where": "arr_delay IS NOT NULL",
    "derive": {"late": "CAST(arr_delay >= 15 AS INT)"},
    "drop": ["arr_delay"],
}


@pytest.fixture
def toy(toy_sagemaker: SageMaker) -> SageMaker:
    """SageMaker with programs that start in a few hundredths of a second."""
    return toy_sagemaker


def processing(name: str, inputs: dict[str, str], *outputs: str, **changes: Any) -> dict[str, Any]:
    """A CreateProcessingJob request in `train` mode."""
    return {
        "ProcessingJobName": name,
        "AppSpecification": {"ImageUri": image_of("processing"), "ContainerArguments": ["train"]},
        "ProcessingInputs": [
            {
                "InputName": key,
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"/opt/ml/processing/input/{key}",
                    "S3DataType": "ManifestFile" if uri.endswith(".manifest") else "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for key, uri in inputs.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": key,
                    "S3Output": {
                        "S3Uri": f"{BASE}/{name}/{key}",
                        "LocalPath": f"/opt/ml/processing/output/{key}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for key in outputs
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30}
        },
        "RoleArn": ROLE,
        **changes,
    }


def training(name: str, channel: str, **hyperparameters: str) -> dict[str, Any]:
    """A CreateTrainingJob request."""
    source = {"S3DataType": "S3Prefix", "S3Uri": channel}
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image_of("algorithm"), "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "HyperParameters": hyperparameters,
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"{BASE}/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def transform(name: str, uri: str, model: str) -> dict[str, Any]:
    """A CreateTransformJob request."""
    return {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": f"{BASE}/{name}", "Accept": "text/csv", "AssembleWith": "None"},
        "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    }


def model(name: str, artefact: str) -> dict[str, Any]:
    """A CreateModel request."""
    container = {"Image": image_of("algorithm"), "ModelDataUrl": artefact}
    return {"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": ROLE}


def test_a_processing_job_gets_inputs_by_name_and_leaves_its_outputs(toy: SageMaker, cloud: Cloud) -> None:
    cloud.put(f"{BASE}/in/a/x.csv", "1,2\n")
    cloud.put(f"{BASE}/in/b.csv", "3,4\n")
    answer = toy.create("CreateProcessingJob", processing("p1", {"data": f"{BASE}/in"}, "data", "report"))

    assert answer["ProcessingJobStatus"] == "Completed", summary(answer)
    assert cloud.get(f"{BASE}/p1/data/part-0000-of-0001.csv") == b"1,2\n3,4\n"
    assert cloud.json(f"{BASE}/p1/report/report.json")["rows"] == 2


def test_a_manifest_file_lists_what_an_input_takes(toy: SageMaker, cloud: Cloud) -> None:
    for name in ("m1", "m2", "m3"):
        cloud.put(f"{BASE}/many/{name}.csv", f"{name},0\n")
    listing = cloud.put(f"{BASE}/train.manifest", json.dumps([{"prefix": f"{BASE}/many/"}, "m1.csv", "m3.csv"]))
    answer = toy.create("CreateProcessingJob", processing("p2", {"data": listing}, "data", "report"))

    assert answer["ProcessingJobStatus"] == "Completed", summary(answer)
    assert cloud.get(f"{BASE}/p2/data/part-0000-of-0001.csv") == b"m1,0\nm3,0\n"


def test_a_failed_processing_job_tells_its_message_and_keeps_its_outputs(toy: SageMaker, cloud: Cloud) -> None:
    cloud.put(f"{BASE}/in1/x.csv", "1,2\n")
    settings = cloud.put(f"{BASE}/fail/settings.json", json.dumps({"fail": 3}))
    inputs = {"data": f"{BASE}/in1", "settings": settings.rpartition("/")[0]}
    answer = toy.create("CreateProcessingJob", processing("p3", inputs, "data", "report"))

    assert answer["ProcessingJobStatus"] == "Failed"
    assert answer["ExitMessage"] == "processing cannot go on: told so."
    assert answer["FailureReason"].endswith("exit code: 3")
    assert "a line of the log" in toy.said("ProcessingJob", "p3")


def test_an_input_without_objects_fails_the_job(toy: SageMaker) -> None:
    answer = toy.create("CreateProcessingJob", processing("p4", {"data": f"{BASE}/nothing"}, "data"))

    assert "No S3 objects found" in answer["FailureReason"]


def test_an_image_that_nobody_pushed_fails_the_job(toy: SageMaker) -> None:
    application = {"ImageUri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/other:1"}
    answer = toy.create("CreateProcessingJob", processing("p5", {}, AppSpecification=application))

    assert "CannotPullContainerError" in answer["FailureReason"]


def test_a_training_job_packs_its_model_below_its_own_name(toy: SageMaker, cloud: Cloud) -> None:
    cloud.put(f"{BASE}/channel/x.csv", "1,2\n")
    answer = toy.create("CreateTrainingJob", training("t1", f"{BASE}/channel", auc="0.8"))

    assert answer["TrainingJobStatus"] == "Completed", summary(answer)
    uri = answer["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"{BASE}/models/t1/output/model.tar.gz"
    with tarfile.open(fileobj=BytesIO(cloud.get(uri))) as archive:
        assert "evaluation.json" in archive.getnames()
    assert cloud.list(f"{BASE}/models/t1/output/output.tar.gz")


def test_a_failed_training_job_tells_what_its_program_wrote(toy: SageMaker, cloud: Cloud) -> None:
    cloud.put(f"{BASE}/channel/x.csv", "1,2\n")
    answer = toy.create("CreateTrainingJob", training("t2", f"{BASE}/channel", fail="2"))

    assert answer["TrainingJobStatus"] == "Failed"
    assert answer["FailureReason"] == "AlgorithmError: algorithm cannot go on: told so., exit code: 2"


@pytest.fixture(scope="module")
def served(toy_sagemaker: SageMaker, cloud: Cloud) -> str:
    """A model, by name."""
    toy = toy_sagemaker
    cloud.put(f"{BASE}/served/x.csv", "1,2\n")
    answer = toy.create("CreateTrainingJob", training("served", f"{BASE}/served"))
    toy.create("CreateModel", model("served", answer["ModelArtifacts"]["S3ModelArtifacts"]))
    return "served"


def test_a_transform_answers_each_object_under_its_own_name(toy: SageMaker, cloud: Cloud, served: str) -> None:
    cloud.put(f"{BASE}/rows/a/x.csv", "1,2\n2,2\n")
    cloud.put(f"{BASE}/rows/b.csv", "3,4\n")
    answer = toy.create("CreateTransformJob", transform("tr1", f"{BASE}/rows", served))

    assert answer["TransformJobStatus"] == "Completed", summary(answer)
    assert cloud.get(f"{BASE}/tr1/a/x.csv.out") == b"1,0.5\n2,0.5\n"
    assert cloud.get(f"{BASE}/tr1/b.csv.out") == b"3,0.5\n"


def test_an_object_with_a_bad_record_has_no_output_and_fails_the_job(toy: SageMaker, cloud: Cloud, served: str) -> None:
    cloud.put(f"{BASE}/mixed/bad.csv", "bad,2\n")
    cloud.put(f"{BASE}/mixed/good.csv", "3,4\n")
    answer = toy.create("CreateTransformJob", transform("tr2", f"{BASE}/mixed", served))

    assert answer["TransformJobStatus"] == "Failed"
    assert "400 record 'bad' holds no number (bad.csv)" in answer["FailureReason"]
    assert cloud.list(f"{BASE}/tr2/") == [f"{BASE}/tr2/good.csv.out"]


def test_records_are_joined_into_payloads_up_to_the_limit() -> None:
    rows = b"".join(b"%07d\n" % row for row in range(300_000))
    chosen = {"MaxPayloadInMB": 1, "BatchStrategy": "MultiRecord"}
    bodies = list(payloads(rows, "Line", chosen))

    assert [len(body) for body in bodies] == [1024 * 1024, 1024 * 1024, 300_000 * 8 - 2 * 1024 * 1024]
    assert b"".join(bodies) == rows
    assert list(payloads(b"1\n2", "Line", chosen | {"BatchStrategy": "SingleRecord"})) == [b"1\n", b"2"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Colour": "red"}, 'Unknown parameter in input: "Colour"'),
        ({"RoleArn": "admin-of-everything-here"}, "does not match arn:aws"),
        ({"Environment": {"A": "x" * 257}}, "257 is more than 256"),
        ({"Environment": {"a-b": "x"}}, "does not match"),
        ({"ProcessingResources": {"ClusterConfig": {}}}, "Missing required parameter"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": "10"}}, "Invalid type"),
        ({"AppSpecification": {"ImageUri": "x", "ContainerArguments": ["a"] * 101}}, "101 is more than 100"),
    ],
)
def test_what_does_not_fit_the_service_model_is_refused(toy: SageMaker, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ServiceError, match="ValidationException") as refusal:
        toy.call("CreateProcessingJob", processing("refused", {}, **changes))

    assert said in refusal.value.message


def test_a_place_outside_the_processing_folder_is_refused(toy: SageMaker) -> None:
    request = processing("outside", {"data": f"{BASE}/in"})
    request["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/opt/ml/input"

    with pytest.raises(ServiceError, match=r"does not start with /opt/ml/processing/"):
        toy.call("CreateProcessingJob", request)


def test_a_job_name_is_used_once(toy: SageMaker) -> None:
    toy.create("CreateProcessingJob", processing("once", {}))

    with pytest.raises(ServiceError, match="ResourceInUse"):
        toy.call("CreateProcessingJob", processing("once", {}))


def test_real_clients_speak_to_it_over_http(toy: SageMaker, cloud: Cloud) -> None:
    client = toy.client()
    cloud.put(f"{BASE}/http/x.csv", "1,2\n")
    client.create_processing_job(**processing("http1", {"data": f"{BASE}/http"}, "data", "report"))
    waiter = client.get_waiter("processing_job_completed_or_stopped")
    waiter.wait(ProcessingJobName="http1", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    answer = client.describe_processing_job(ProcessingJobName="http1")

    assert answer["ProcessingJobStatus"] == "Completed"
    assert answer["ProcessingEndTime"] >= answer["CreationTime"]
    listed = client.list_processing_jobs(NameContains="http1")["ProcessingJobSummaries"]
    assert [item["ProcessingJobName"] for item in listed] == ["http1"]
    with pytest.raises(ClientError, match="Could not find requested job") as refusal:
        client.describe_training_job(TrainingJobName="nobody")
    assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_a_job_that_is_stopped_gets_sigterm(toy: SageMaker, cloud: Cloud) -> None:
    cloud.put(f"{BASE}/stop/x.csv", "1,2\n")
    settings = cloud.put(f"{BASE}/sleep/settings.json", json.dumps({"sleep": 60})).rpartition("/")[0]
    toy.call("CreateProcessingJob", processing("stop", {"data": f"{BASE}/stop", "settings": settings}, "data"))
    while toy.jobs["ProcessingJob", "stop"].running is None:
        time.sleep(0.01)
    toy.call("StopProcessingJob", {"ProcessingJobName": "stop"})

    assert toy.finished("ProcessingJob", "stop")["ProcessingJobStatus"] == "Stopped"


def test_the_real_programs_run_on_the_flights(sagemaker: SageMaker, flights: Flights, cloud: Cloud) -> None:
    place = cloud.put(f"{BASE}/settings/settings.json", json.dumps(SETTINGS)).rpartition("/")[0]
    inputs = {"data": f"{STORAGE}/data/train/2013-01.csv", "settings": place}
    request = processing("flights", inputs, "train", "validation", "state", "report")
    answer = sagemaker.create("CreateProcessingJob", request)

    assert answer["ProcessingJobStatus"] == "Completed", summary(answer)
    assert cloud.json(f"{BASE}/flights/report/report.json")["rows"] == 1500


@pytest.mark.docker
def test_the_real_images_run_on_the_flights(sagemaker_in_containers: SageMaker, flights: Flights, cloud: Cloud) -> None:
    place = cloud.put(f"{BASE}/settings/settings.json", json.dumps(SETTINGS)).rpartition("/")[0]
    inputs = {"data": f"{STORAGE}/data/train/2013-01.csv", "settings": place}
    request = processing("contained", inputs, "train", "validation", "state", "report")
    answer = sagemaker_in_containers.create("CreateProcessingJob", request)

    assert answer["ProcessingJobStatus"] == "Completed", summary(answer)
    assert cloud.json(f"{BASE}/contained/report/report.json")["rows"] == 1500
