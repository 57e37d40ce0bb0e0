"""The commands that put a use case into the cloud, against moto's services."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import click
import pytest
from click.testing import CliRunner, Result
from moto import mock_aws

from components.spec import specs
from pipelines import cloudformation
from pipelines.aws.executions import latest
from pipelines.aws.places import Site
from pipelines.cli import main
from pipelines.cloudformation import stack
from pipelines.cloudformation.printer import TEMPLATE
from tests.aws.cloud import BUCKET, CREDENTIALS, REGION, ROLE
from tests.aws.data import flights_use_case
from tests.pipelines.aws.test_releases import write

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")

DAY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SITE = Site("flights", None, f"s3://{BUCKET}/flights", REGION, ROLE)
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


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
    from pipelines.aws.releases import Releases

    found = Releases(aws, Site("flights", None, f"s3://{BUCKET}/flights", REGION, ROLE))
    write(found, name, f"2026-01-0{name[1:]}T00:00:00Z")
    found.promote(found.read(name))


def test_nothing_happens_when_nobody_says_yes(manifest: Path, aws: Callable[[str], Any]) -> None:
    done = CliRunner().invoke(main, ["deploy", str(manifest)], input="n\n")

    assert done.exit_code == 1
    assert aws("stepfunctions").list_state_machines()["stateMachines"] == []
    # Deleted stacks are listed too.
    left = [item["StackStatus"] for item in aws("cloudformation").list_stacks()["StackSummaries"]]
    assert set(left) <= {"DELETE_COMPLETE"}


def test_saying_no_to_an_update_leaves_no_change_set(manifest: Path, aws: Callable[[str], Any]) -> None:
    assert quartet("deploy", manifest, "--yes", "--no-start").exit_code == 0
    before = aws("cloudformation").list_change_sets(StackName="quartet-flights")["Summaries"]
    done = CliRunner().invoke(main, ["deploy", str(manifest), "--set", "LogRetentionDays=30"], input="n\n")

    assert "Carry this out?" in done.output, done.output
    assert aws("cloudformation").list_change_sets(StackName="quartet-flights")["Summaries"] == before


def test_start_gives_the_machine_the_period_s_data(manifest: Path, aws: Callable[[str], Any]) -> None:
    assert quartet("deploy", manifest, "--yes", "--no-start").exit_code == 0
    done = quartet("start", manifest, "--pipeline", "inference", "--period", "2013-05", "--run-id", "may")

    assert done.exit_code == 0, done.output
    execution = aws("stepfunctions").describe_execution(executionArn=done.output.strip())
    assert json.loads(execution["input"]) == {
        "Period": "2013-05",
        "ScoreData": f"s3://{BUCKET}/flights/data/score/2013-05.csv",
    }


def given(aws: Callable[[str], Any], *words: str) -> Any:
    """What `start` gives the machine, which nobody has to make for that."""
    aws("stepfunctions").create_state_machine(
        name=f"quartet-flights-{words[1]}",
        definition='{"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}',
        roleArn=ROLE,
    )
    done = quartet("start", *words[:1], "--pipeline", *words[1:])
    assert done.exit_code == 0, done.output
    return json.loads(aws("stepfunctions").describe_execution(executionArn=done.output.strip())["input"])


@pytest.mark.parametrize(
    ("policy", "period", "files"),
    [
        # drift.with.periods of the flights is 4.
        ("", "2014-02", ["2013-11.csv", "2013-12.csv", "2014-01.csv", "2014-02.csv"]),
        ("", "2013-02", ["2013-01.csv", "2013-02.csv"]),
        ("periods: 2", "2014-01", ["2013-12.csv", "2014-01.csv"]),
    ],
)
def test_a_training_of_a_period_learns_from_the_window_that_ends_with_it(
    manifest: Path, aws: Callable[[str], Any], policy: str, period: str, files: list[str]
) -> None:
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("periods: 4", policy or "periods: 4"), encoding="utf-8")
    found = given(aws, str(manifest), "training", "--period", period)

    listed = found["TrainData"].removeprefix(f"s3://{BUCKET}/")
    rows = json.loads(aws("s3").get_object(Bucket=BUCKET, Key=listed)["Body"].read())
    assert rows == [{"prefix": f"s3://{BUCKET}/flights/data/train/"}, *files]


def test_who_answers_drift_by_the_client_lists_the_files_of_a_month_that_the_manifest_does_not_list(
    tmp_path: Path, aws: Callable[[str], Any]
) -> None:
    from pipelines.batch.retraining import window

    uri = window(aws, SITE, flights_use_case(tmp_path).manifest, "2014-02")

    stored = aws("s3").get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    assert json.loads(stored)[1:] == ["2013-11.csv", "2013-12.csv", "2014-01.csv", "2014-02.csv"]


def test_data_that_are_named_want_no_period(manifest: Path, aws: Callable[[str], Any]) -> None:
    found = given(aws, str(manifest), "inference", "-p", "ScoreData=s3://b/x.csv")

    assert found == {"ScoreData": "s3://b/x.csv", "Period": "none"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training", "--period", "2012-12"], "period '2012-12' is no month from 2013-01 on"),
        (["training", "--period", "2014-02", "-p", "TrainData=s3://b/x"], "both --period and TrainData say"),
        (["inference"], "wants a period. Give --period, or -p ScoreData=<uri>."),
        (["inference", "--period", "2013-05", "-p", "Period=2013-06"], "Give one of them."),
        (["inference", "-p", "ScoreData=nonsense"], "ScoreData is 'nonsense', wanted a uri in S3"),
        (["inference", "-p", "ScoreData="], "ScoreData is '', wanted a uri in S3"),
        (["training", "-p", "TrainData=/tmp/x.csv"], "TrainData is '/tmp/x.csv', wanted a uri in S3"),
        (["training", "-p", f"TrainData=s3://b/{'x' * 262_144}"], "wanted at most 262,144"),
        (["training", "-p", f"TrainData=s3://b/{'x' * 250}"], "TrainData has 257 characters, wanted at most 256"),
        (["training", "-p", f"StartedBy={'x' * 257}"], "StartedBy has 257 characters, wanted at most 256"),
    ],
)
def test_what_start_cannot_do_is_said_before_anything_is_asked(manifest: Path, words: list[str], said: str) -> None:
    done = quartet("start", manifest, "--pipeline", *words)

    assert (done.exit_code, said in done.output) == (2, True), done.output


def test_a_training_without_periods_has_no_window(tmp_path: Path) -> None:
    use_case = tmp_path / "use-case.yaml"
    flights_use_case(tmp_path, ("\ndrift:\n", "\nengine: step-functions\n\ndrift:\n"))
    text = use_case.read_text(encoding="utf-8").replace("periods: 4", "data.train: s3://b/latest/")
    text = re.sub(r"train/\{period\}\.csv", "train/", text)
    text = re.sub(r"\n +periods: \[2013-01[^\]]*\]", "", text)
    use_case.write_text(text, encoding="utf-8")
    done = quartet("start", use_case, "--period", "2014-02")

    assert (done.exit_code, "which has no {period}. Leave --period out." in done.output) == (2, True), done.output


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


@pytest.mark.parametrize("command", ["deploy", "destroy", "plan"])
def test_use_cases_whose_stacks_would_share_a_name_are_kept_apart(
    tmp_path: Path, aws: Callable[[str], Any], command: str
) -> None:
    """`flights` in the environment `prod` is deployed, and `flights-prod` comes without an environment."""
    engine = ("\ndrift:\n", "\nengine: step-functions\nenvironments: {prod: {}}\n\ndrift:\n")
    template = json.loads(
        cloudformation.render(flights_use_case(tmp_path, engine), specs(), {}, "prod").files[TEMPLATE]
    )
    template["Resources"] = {"Letters": {"Type": "AWS::SQS::Queue"}}
    # By hand, because moto forgets the description of a stack that a change set has made.
    aws("cloudformation").create_stack(StackName="quartet-flights-prod", TemplateBody=json.dumps(template))
    flights_use_case(tmp_path, ("name: flights\n", "name: flights-prod\n"), engine)
    done = quartet(command, tmp_path / "use-case.yaml", *(["--yes"] if command != "plan" else []))

    assert done.exit_code == 2, done.output
    assert (
        "it says 'Quartet: use case flights in environment prod', wanted 'Quartet: use case flights-prod'"
        in done.output
    )


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


@pytest.mark.parametrize("pipeline", ["training", "inference"])
def test_a_parameter_that_a_machine_does_not_read_is_refused(manifest: Path, pipeline: str) -> None:
    wrong = {"training": "TrainDat", "inference": "ScoreDat"}[pipeline]
    done = quartet("start", manifest, "--pipeline", pipeline, "--period", "2013-05", "-p", f"{wrong}=s3://b/x")

    assert done.exit_code == 2, done.output
    assert f"the {pipeline} pipeline has no parameter {wrong!r}. Did you mean '{wrong}a'?" in done.output


@pytest.mark.parametrize("words", [["--period", "../x"], ["--period", "2013-05", "-p", "Period=a/b"]])
def test_a_period_that_could_lead_elsewhere_is_refused(manifest: Path, words: list[str]) -> None:
    done = quartet("start", manifest, "--pipeline", "inference", *words)

    assert (done.exit_code, "wanted letters, digits" in done.output) == (2, True), done.output


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("region: eu-west-1\n", "", "no 'region', which every engine in the cloud wants"),
        ("role: arn", "# role: arn", "no 'role', which every engine in the cloud wants"),
        ("digest:", "variant: cpu  # ", "wanted one by digest"),
        ("\nengine: step-functions", "\nengine: batch", "subnets"),
    ],
)
def test_validate_tells_what_the_engine_lacks(tmp_path: Path, manifest: Path, old: str, new: str, said: str) -> None:
    assert quartet("validate", manifest).exit_code == 0
    text = manifest.read_text(encoding="utf-8")
    assert old in text
    changed = text.replace(old, new) if "digest" not in old else re.sub(r", digest: '[^']*'", "", text)
    manifest.write_text(changed, encoding="utf-8")
    done = quartet("validate", manifest)

    assert (done.exit_code, said in done.output) == (2, True), done.output


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("defaults: {max_runtime: 300d}", "defaults.max_runtime"),
        ("environments: {dev: {defaults: {instance: ml.nosuch.large}}}", "environments.dev.defaults.instance"),
        ("environments: {dev: {storage: here}}", "environments.dev.storage"),
        ("environments: {dev: {role: me}}", "environments.dev.role"),
    ],
)
def test_what_only_an_engine_finds_is_told_with_its_line_and_the_manifest_s_word(
    manifest: Path, more: str, path: str
) -> None:
    text = manifest.read_text(encoding="utf-8")
    text = text.replace("environments: {dev: {}}", "") if "environments" in more else text
    manifest.write_text(f"{text}\n{more}\n", encoding="utf-8")
    line = len(manifest.read_text(encoding="utf-8").splitlines())
    done = quartet("validate", manifest, *(["--environment", "dev"] if "dev" in more else []))

    assert done.exit_code == 2, done.output
    assert f"error: {manifest}:{line}: {path}: " in done.output


def test_status_tells_the_stack_and_the_latest_runs(manifest: Path, aws: Callable[[str], Any]) -> None:
    assert "there is no stack quartet-flights: deploy the use case." in quartet("status", manifest).output
    quartet("deploy", manifest, "--yes", "--no-start")
    for run in ("one", "two", "three", "four"):
        quartet("start", manifest, "--run-id", run)
    done = quartet("status", manifest)

    assert done.exit_code == 0, done.output
    assert "stack quartet-flights: CREATE_COMPLETE" in done.output
    assert len([line for line in done.output.splitlines() if line.startswith("training ")]) == 3
    assert not [line for line in done.output.splitlines() if line.startswith("inference ")]


def test_a_failed_run_is_told_with_its_reason_in_one_line() -> None:
    from botocore.stub import Stubber

    client = boto3.client("stepfunctions", region_name=REGION, **KEYS)
    arn = f"arn:aws:states:{REGION}:123456789012:execution:quartet-flights-training:one"
    item = {"executionArn": arn, "stateMachineArn": "m", "name": "one", "status": "FAILED", "startDate": DAY}
    described = {**item, "cause": "exit code: 3\nno rows"}
    with Stubber(client) as stub:
        stub.add_response("list_executions", {"executions": [item]})
        stub.add_response("describe_execution", described)
        stub.add_client_error("list_executions", "StateMachineDoesNotExist")
        assert list(latest(lambda _: client, SITE, "step-functions")) == [
            "training   one  2026-01-02T03:04:05Z  failed: exit code: 3 no rows"
        ]


def test_a_failed_run_on_sagemaker_is_told_with_its_step() -> None:
    from botocore.stub import Stubber

    client = boto3.client("sagemaker", region_name=REGION, **KEYS)
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:pipeline/quartet-flights-training/execution/abc123"
    summary = {"PipelineExecutionArn": arn, "PipelineExecutionStatus": "Failed", "StartTime": DAY}
    step = {"StepName": "algorithm", "StepStatus": "Failed", "FailureReason": "exit code: 3"}
    with Stubber(client) as stub:
        stub.add_response("list_pipeline_executions", {"PipelineExecutionSummaries": [summary]})
        stub.add_response("list_pipeline_execution_steps", {"PipelineExecutionSteps": [step]})
        stub.add_client_error("list_pipeline_executions", "ResourceNotFound")
        assert list(latest(lambda _: client, SITE, "sagemaker-pipelines")) == [
            "training   abc123  2026-01-02T03:04:05Z  failed: step algorithm: exit code: 3"
        ]


def test_status_says_what_it_may_not_show(
    manifest: Path, aws: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.aws import executions
    from pipelines.aws.calls import CloudError

    def refused(*_: Any) -> Any:
        raise CloudError("AWS answers AccessDeniedException: not you")

    monkeypatch.setattr(executions, "latest", refused)
    monkeypatch.setattr(stack.Stack, "status", refused)
    done = quartet("status", manifest)

    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-2:] == ["not shown: AWS answers AccessDeniedException: not you"] * 2


def test_airflow_is_not_destroyed_from_here(manifest: Path) -> None:
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("engine: step-functions", "engine: airflow"))
    done = quartet("destroy", manifest, "--yes")

    assert (done.exit_code, "Airflow has no stack" in done.output) == (2, True), done.output


def test_a_rollback_without_a_current_release_says_so(manifest: Path, aws: Callable[[str], Any]) -> None:
    done = quartet("rollback", manifest)

    assert done.exit_code == 2
    assert "no release is current, so there is none to go back from" in done.output


def test_a_shell_s_completion_does_not_ask_aws(manifest: Path) -> None:
    """There is no account here: asking would fail, and local releases are not this engine's."""
    from pipelines.commands.common import releases_of

    lines = [line for line in manifest.read_text(encoding="utf-8").splitlines() if not line.startswith("storage: ")]
    manifest.write_text("\n".join(lines), encoding="utf-8")
    context = click.Context(main.commands["promote"])
    context.params = {"manifest": str(manifest)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.releases.release_ids", lambda _: ["local"])
        assert releases_of(context, main.commands["promote"].params[0], "") == []


def test_lineage_of_a_release_without_a_parent_s_name_is_one_sentence(
    manifest: Path, aws: Callable[[str], Any]
) -> None:
    release(aws)
    done = quartet("lineage", manifest)

    assert (done.exit_code, "release 'r1' has no usable parent" in done.output) == (3, True), done.output
