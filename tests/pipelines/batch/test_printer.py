"""Rendering for AWS Batch: definitions, queues, jobs and the descriptions that their images read."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from components.spec import specs
from pipelines.aws.places import Rendered
from pipelines.batch.limits import check_submission
from pipelines.batch.printer import INFERENCE, QUEUES, TRAINING, render
from shared.carrier.description import described
from shared.errors import SettingsError
from tests.aws.data import STORAGE, flights_use_case, toy_use_case


@pytest.fixture
def rendered(tmp_path: Path) -> Rendered:
    return render(flights_use_case(tmp_path), specs(), {})


def pipeline(rendered: Rendered, name: str) -> Any:
    return json.loads(rendered.files[name])


def definitions(rendered: Rendered) -> dict[str, Any]:
    both = [item for name in (TRAINING, INFERENCE) for item in pipeline(rendered, name)["definitions"]]
    return {item["jobDefinitionName"]: item for item in both}


def description(rendered: Rendered, name: str) -> dict[str, Any]:
    """What the image of a definition reads."""
    command = definitions(rendered)[name]["containerProperties"]["command"]
    value: dict[str, Any] = json.loads(rendered.uploads[command[command.index("--job") + 1]])
    return value


def fits(operation: str, request: Any) -> str:
    """What botocore says against a request."""
    shape = botocore.session.Session().get_service_model("batch").operation_model(operation).input_shape
    return str(ParamValidator().validate(request, shape).generate_report())


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, rendered: Rendered) -> None:
    again = render(flights_use_case(tmp_path), specs(), {})

    assert again == rendered
    assert list(again.uploads) == sorted(again.uploads)


@pytest.mark.parametrize("platform", ["EC2", "FARGATE"])
def test_every_request_fits_botocores_model(tmp_path: Path, platform: Any) -> None:
    made = render(flights_use_case(tmp_path), specs(), {}, platform=platform)

    for request in definitions(made).values():
        assert fits("RegisterJobDefinition", request) == ""
        assert request["platformCapabilities"] == [platform]
    for request in pipeline(made, QUEUES):
        assert fits("CreateJobQueue", request) == ""
    for name in (TRAINING, INFERENCE):
        for job in pipeline(made, name)["jobs"]:
            assert fits("SubmitJob", job["request"]) == ""


def test_each_job_waits_for_those_whose_outputs_it_reads(rendered: Rendered) -> None:
    after = {
        name: {job["step"]: job["after"] for job in pipeline(rendered, name)["jobs"]} for name in (TRAINING, INFERENCE)
    }

    assert after[TRAINING] == {
        "processing": [],
        "algorithm": ["processing"],
        "monitoring": ["algorithm"],
        "explainability": ["processing", "algorithm"],
        "release": ["processing", "algorithm", "monitoring", "explainability"],
    }
    assert after[INFERENCE]["algorithm"] == ["processing"]
    assert after[INFERENCE]["monitoring"] == ["algorithm"]


def test_what_scores_goes_before_what_learns(rendered: Rendered) -> None:
    priorities = {item["jobQueueName"]: item["priority"] for item in pipeline(rendered, QUEUES)}

    assert priorities["quartet-flights-inference"] > priorities["quartet-flights-training"]
    for name in (TRAINING, INFERENCE):
        assert {job["request"]["jobQueue"] for job in pipeline(rendered, name)["jobs"]} <= set(priorities)


def test_gpus_and_spot_capacity_have_queues_and_environments_of_their_own(tmp_path: Path) -> None:
    spot = ("  explainability: {}", "  explainability: {}\ndefaults: {spot: true}\n")
    gpu = ("  monitoring:\n", "  monitoring:\n    train: {instance: ml.g5.xlarge}\n")
    use_case = flights_use_case(tmp_path, spot, gpu)
    made = render(use_case, specs(), {}, platform="FARGATE")
    queues = {item["jobQueueName"]: item["computeEnvironmentOrder"] for item in pipeline(made, QUEUES)}

    assert queues["quartet-flights-training-gpu-spot"] == [
        {"order": 1, "computeEnvironment": "quartet-flights-gpu-spot"}
    ]
    assert queues["quartet-flights-training-spot"] == [{"order": 1, "computeEnvironment": "quartet-flights-spot"}]
    monitoring = definitions(made)["quartet-flights-training-monitoring"]
    assert monitoring["platformCapabilities"] == ["EC2"]
    assert {"type": "GPU", "value": "1"} in monitoring["containerProperties"]["resourceRequirements"]
    assert definitions(made)["quartet-flights-training-processing"]["platformCapabilities"] == ["FARGATE"]


def test_an_image_by_tag_is_refused(tmp_path: Path) -> None:
    use_case = flights_use_case(tmp_path, (", digest: 'sha256:" + "2" * 64 + "'", ""))

    with pytest.raises(SettingsError, match=r"the image of 'algorithm' is .*, wanted one by digest"):
        render(use_case, specs(), {})


def retried(
    strategy: Any, exit_code: str, status: str = "Essential container in task exited", reason: str = ""
) -> bool:
    """Whether AWS Batch tries again: as the first rule says all of whose conditions fit, and when none does.

    As "evaluateOnExit" in the API reference has it.
    """
    for rule in strategy["evaluateOnExit"]:
        seen = {"onExitCode": exit_code, "onStatusReason": status, "onReason": reason}
        if all(fnmatch.fnmatchcase(seen[name], pattern) for name, pattern in rule.items() if name != "action"):
            return str(rule["action"]) == "RETRY"
    return True


def test_settings_and_data_are_not_tried_again_and_lost_machines_are(tmp_path: Path) -> None:
    use_case = flights_use_case(tmp_path, ("  explainability: {}", "  explainability: {}\ndefaults: {retries: 2}\n"))
    for request in definitions(render(use_case, specs(), {})).values():
        strategy = request["retryStrategy"]

        assert strategy["attempts"] == 3
        assert len(strategy["evaluateOnExit"]) <= 5
        assert not retried(strategy, "2")
        assert not retried(strategy, "3")
        assert not retried(strategy, "137", reason="OutOfMemoryError: Container killed due to memory usage")
        assert retried(strategy, "1")
        assert retried(strategy, "143", status="Host EC2 (instance i-0123) terminated.")


def test_a_spot_machine_that_is_lost_does_not_end_a_run_that_nobody_wants_tried_again(tmp_path: Path) -> None:
    last = "      early_stopping_rounds: 20\n"
    use_case = flights_use_case(tmp_path, (last, f"{last}    train: {{spot: true}}\n"))
    found = definitions(render(use_case, specs(), {}))
    training = {name: request for name, request in found.items() if "-training-" in name}
    strategies = {name.rpartition("-")[2]: request["retryStrategy"] for name, request in training.items()}

    assert {step: strategy["attempts"] for step, strategy in strategies.items()} == {
        "processing": 1, "algorithm": 4, "monitoring": 1, "explainability": 1, "release": 1,
    }  # fmt: skip
    assert retried(strategies["algorithm"], "143", status="Host EC2 (instance i-0123) terminated.")
    assert not retried(strategies["algorithm"], "1")


def test_more_tries_than_the_service_has_are_refused(tmp_path: Path) -> None:
    use_case = flights_use_case(tmp_path, ("  explainability: {}", "  explainability: {}\ndefaults: {retries: 10}\n"))

    with pytest.raises(SettingsError, match="has 10 retries, and AWS Batch tries a job 10 times at most"):
        render(use_case, specs(), {})


def test_a_description_with_its_values_is_what_the_carrier_takes(rendered: Rendered) -> None:
    """Each hole has a parameter in the command, and no hole is left."""
    for name, request in definitions(rendered).items():
        command = request["containerProperties"]["command"]
        uri = command[1]
        pairs = dict(zip(command[2::2], command[3::2], strict=True))

        assert all(value == f"Ref::{key.removeprefix('--')}" for key, value in pairs.items())
        values = {key.removeprefix("--"): "s3://b/value" for key in pairs}
        made = described(rendered.uploads[uri], uri, values | {"Run": "r-1"})
        assert "{Run}" not in json.dumps(made.request)
        assert made.failure == f"{STORAGE}/{name.split('-')[2]}/r-1/{name.split('-')[3]}/failure"


def test_the_model_lies_where_the_training_job_puts_it(rendered: Rendered) -> None:
    training = description(rendered, "quartet-flights-training-algorithm")["CreateTrainingJob"]
    made = f"{training['OutputDataConfig']['S3OutputPath']}/{training['TrainingJobName']}/output/model.tar.gz"
    monitoring = description(rendered, "quartet-flights-training-monitoring")["CreateProcessingJob"]
    inputs = {item["InputName"]: item["S3Input"]["S3Uri"] for item in monitoring["ProcessingInputs"]}

    assert inputs["model"] == made


def test_the_release_goes_where_every_engine_puts_it(rendered: Rendered) -> None:
    release = description(rendered, "quartet-flights-training-release")["CreateProcessingJob"]
    (output,) = release["ProcessingOutputConfig"]["Outputs"]

    assert output["S3Output"]["S3Uri"] == f"{STORAGE}/releases/{{Run}}"
    assert release["Environment"]["QUARTET_RUN"] == "{Run}"
    assert release["Environment"]["QUARTET_STARTED_BY"] == "{StartedBy}"
    assert release["Environment"]["QUARTET_PARENT"] == "{Parent}"


def test_parameters_and_their_defaults_are_told(rendered: Rendered) -> None:
    training, inference = (pipeline(rendered, name)["parameters"] for name in (TRAINING, INFERENCE))

    assert training["StartedBy"] == "command"
    assert training["Parent"] == "none"
    assert rendered.uploads[training["TrainData"]].startswith(b'[{"prefix": "')
    assert rendered.uploads[inference["Labels"]] == b"flight_id,late\n"
    assert inference["ScoreData"] is None
    assert {"Model", "State", "Baseline", "Explainer"} <= set(inference)


def test_a_step_on_several_machines_is_an_array_that_shares_out_its_objects(tmp_path: Path) -> None:
    change = ("  processing:\n", "  processing:\n    serve: {count: 4}\n")
    made = render(flights_use_case(tmp_path, change), specs(), {})
    (job,) = [job for job in pipeline(made, INFERENCE)["jobs"] if job["step"] == "processing"]
    inputs = description(made, "quartet-flights-inference-processing")["CreateProcessingJob"]["ProcessingInputs"]
    shared = {item["InputName"]: item["S3Input"]["S3DataDistributionType"] for item in inputs}

    assert job["request"]["arrayProperties"] == {"size": 4}
    assert shared["data"] == "ShardedByS3Key"
    assert shared["state"] == "FullyReplicated"


def test_a_step_that_cannot_use_several_machines_is_refused(tmp_path: Path) -> None:
    use_case = flights_use_case(tmp_path, ("  monitoring:\n", "  monitoring:\n    serve: {count: 2}\n"))

    with pytest.raises(SettingsError, match="step 'monitoring' wants 2 machines to serve, and on AWS Batch only"):
        render(use_case, specs(), {})


def test_an_environment_has_names_and_roles_of_its_own(tmp_path: Path) -> None:
    more = "environments: {prod: {role: 'arn:aws:iam::210987654321:role/prod'}}\n"
    made = render(toy_use_case(tmp_path, ("drift: {then", f"{more}drift: {{then")), specs(), {}, "prod")
    request = definitions(made)["quartet-toy-prod-training-processing"]["containerProperties"]

    assert request["jobRoleArn"] == "arn:aws:iam::210987654321:role/prod"
    assert request["executionRoleArn"] == "arn:aws:iam::210987654321:role/quartet/quartet-toy-prod-execution"
    assert request["logConfiguration"]["options"]["awslogs-group"] == "/quartet/toy/prod/batch"


def test_a_manifest_without_data_to_score_has_one_pipeline(tmp_path: Path) -> None:
    lines = flights_use_case(tmp_path).document.path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("  score:", "  labels:", "  periods:"))]
    use_case = flights_use_case(tmp_path, ("\n".join(lines), "\n".join(kept)))

    assert set(render(use_case, specs(), {}).files) == {QUEUES, TRAINING}


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (
            {"containerOverrides": {"environment": [{"name": "X", "value": "x" * 8200}]}},
            "has overrides of 8,2",
        ),
        ({"parameters": {"Run": "x" * 31_000}}, "has 31,"),
    ],
)
def test_a_job_longer_than_the_service_takes_is_refused(request_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        check_submission({"jobName": "j", **request_})

    assert sentence in str(raised.value)
