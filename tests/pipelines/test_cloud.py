"""The commands that put a use case into the cloud, against moto's services."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result
from moto import mock_aws

from components.spec import specs
from pipelines.cli import main
from pipelines.cloudformation import stack
from tests.aws.cloud import BUCKET, CREDENTIALS, REGION
from tests.aws.data import flights_use_case
from tests.pipelines.aws.test_releases import write

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """The flights on Step Functions."""
    flights_use_case(tmp_path, ("\ndrift:\n", "\nengine: step-functions\nenvironments: {dev: {}}\n\ndrift:\n"))
    return tmp_path / "use-case.yaml"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """An empty account with a bucket, and credentials for it in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS["aws_secret_access_key"])
    monkeypatch.setattr(stack, "POLL", 0)
    with mock_aws():
        client = boto3.Session(region_name=REGION).client
        client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client


def quartet(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_render_writes_files_and_what_to_store_and_the_same_bytes_again(manifest: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for out in (first, second):
        assert quartet("render", manifest, "--engine", "cloudformation", "--out", out).exit_code == 0

    found = {path.relative_to(first): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert Path("template.json") in found
    assert [path for path in found if path.parts[:3] == ("uploads", "flights", "config")]
    assert found == {path.relative_to(second): path.read_bytes() for path in second.rglob("*") if path.is_file()}


@pytest.mark.parametrize("engine", ["sagemaker-pipelines", "step-functions", "airflow", "batch", "cloudformation"])
def test_every_engine_renders_the_flights(manifest: Path, tmp_path: Path, engine: str) -> None:
    done = quartet("render", manifest, "--engine", engine, "--out", tmp_path / "out")

    assert done.exit_code == 0, done.output
    assert any(path.is_file() for path in (tmp_path / "out").iterdir())


def test_a_plan_changes_nothing(manifest: Path, aws: Callable[[str], Any]) -> None:
    done = quartet("plan", manifest)

    assert done.exit_code == 0, done.output
    assert "Add    TrainingMachine (AWS::StepFunctions::StateMachine)" in done.output
    assert "because" in done.output
    assert aws("stepfunctions").list_state_machines()["stateMachines"] == []


def test_deploy_makes_the_stack_and_starts_the_first_training_once(manifest: Path, aws: Callable[[str], Any]) -> None:
    first = quartet("deploy", manifest, "--yes")
    assert first.exit_code == 0, first.output
    assert "is deployed" in first.output
    machines = {
        item["name"]: item["stateMachineArn"] for item in aws("stepfunctions").list_state_machines()["stateMachines"]
    }
    training = next(arn for name, arn in machines.items() if name.endswith("flights-training"))
    assert len(aws("stepfunctions").list_executions(stateMachineArn=training)["executions"]) == 1

    release(aws)
    second = quartet("deploy", manifest, "--yes")
    assert second.exit_code == 0, second.output
    assert len(aws("stepfunctions").list_executions(stateMachineArn=training)["executions"]) == 1


def release(aws: Callable[[str], Any], name: str = "r1") -> None:
    """A release that is in use."""
    from pipelines.aws.places import Site
    from pipelines.aws.releases import Releases
    from tests.aws.cloud import ROLE

    found = Releases(aws, Site("flights", None, f"s3://{BUCKET}/flights", REGION, ROLE))
    write(found, name, f"2026-01-0{name[1:]}T00:00:00Z")
    found.promote(found.read(name))


def test_nothing_happens_when_nobody_says_yes(manifest: Path, aws: Callable[[str], Any]) -> None:
    done = CliRunner().invoke(main, ["deploy", str(manifest)], input="n\n")

    assert done.exit_code == 1
    assert aws("stepfunctions").list_state_machines()["stateMachines"] == []


def test_start_gives_the_machine_the_period_s_data(manifest: Path, aws: Callable[[str], Any]) -> None:
    assert quartet("deploy", manifest, "--yes", "--no-start").exit_code == 0
    done = quartet("start", manifest, "--pipeline", "inference", "--period", "2013-05", "--run-id", "may")

    assert done.exit_code == 0, done.output
    execution = aws("stepfunctions").describe_execution(executionArn=done.output.strip())
    assert json.loads(execution["input"]) == {
        "Period": "2013-05",
        "ScoreData": f"s3://{BUCKET}/flights/data/score/2013-05.csv",
    }


def test_a_pipeline_on_batch_is_a_chain_of_jobs(tmp_path: Path, aws: Callable[[str], Any], monkeypatch: Any) -> None:
    from pipelines.batch import client, render
    from pipelines.manifest import read_manifest

    flights_use_case(tmp_path, ("\ndrift:\n", "\nengine: batch\n\ndrift:\n"))
    found = render(read_manifest(tmp_path / "use-case.yaml"), specs(), {})
    assert client.deploy(aws, found)
    submitted: list[str] = []
    monkeypatch.setattr(client, "start", started(client.Submitted, submitted))
    done = quartet("start", tmp_path / "use-case.yaml", "--run-id", "first")

    assert (done.exit_code, submitted) == (0, ["training first"]), done.output
    assert "nobody waits for it" in done.output


def started(kind: Any, submitted: list[str]) -> Callable[..., Any]:
    """In place of AWS Batch, for which moto needs a Docker engine: tests/aws/test_batch.py has the real chain."""

    def start(_connect: Any, _site: Any, _rendered: Any, pipeline: str, run: str, _parameters: Any) -> Any:
        submitted.append(f"{pipeline} {run}")
        return kind(pipeline, run, {}, {})

    return start


def test_a_run_s_name_is_used_once(manifest: Path, aws: Callable[[str], Any]) -> None:
    quartet("deploy", manifest, "--yes", "--no-start")
    quartet("start", manifest, "--run-id", "one", "-p", "StartedBy=schedule")
    done = quartet("start", manifest, "--run-id", "one")

    assert (done.exit_code, "Take another --run-id" in done.output) == (2, True), done.output


def test_status_promote_and_rollback_follow_the_pointer_in_parameter_store(
    manifest: Path, aws: Callable[[str], Any]
) -> None:
    release(aws, "r1")
    release(aws, "r2")

    assert "* r2  2026-01-02T00:00:00Z  gates met" in quartet("status", manifest).output
    assert quartet("rollback", manifest).output == "current: r1 (before: r2)\n"
    assert quartet("promote", manifest, "--latest").output == "current: r2 (before: r1)\n"
    assert "no release is current." in quartet("status", manifest, "--environment", "dev").output


def test_destroy_removes_the_stack_and_keeps_the_releases(manifest: Path, aws: Callable[[str], Any]) -> None:
    release(aws)
    quartet("deploy", manifest, "--yes")
    done = quartet("destroy", manifest, "--yes")

    assert done.exit_code == 0, done.output
    assert aws("stepfunctions").list_state_machines()["stateMachines"] == []
    assert "* r1" in quartet("status", manifest).output
    assert "there is no stack" in quartet("destroy", manifest, "--yes").output


def test_the_cloud_s_commands_refuse_a_manifest_of_the_local_engine(tmp_path: Path) -> None:
    flights_use_case(tmp_path)
    done = quartet("deploy", tmp_path / "use-case.yaml", "--yes")

    assert (done.exit_code, "has engine: local" in done.output) == (2, True), done.output


def test_an_environment_that_is_not_declared_is_named(manifest: Path) -> None:
    done = quartet("plan", manifest, "--environment", "prd")

    assert (done.exit_code, "no environment 'prd'" in done.output) == (2, True), done.output
