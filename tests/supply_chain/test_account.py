"""The account's roles: each may do what its workflow does, and the one for pull requests can change nothing."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from moto import mock_aws
from ruamel.yaml import YAML, Node

from pipelines.cli import main
from shared.release import API_VERSION
from tests.supply_chain.test_scripts import LOCK
from tests.supply_chain.workflows import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")
# moto warns of resources that it leaves out.

REGION = "eu-west-1"
BUCKET = "quartet-123456789012-eu-west-1"
VALUES = {
    "AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": "123456789012", "Repository": "acme/customers",
    "PublishRepository": "acme/quartet",
    "DeployEnvironment": "dev", "PublishEnvironment": "release", "Storage.Arn": f"arn:aws:s3:::{BUCKET}",
}  # fmt: skip
ACTIONS = {"s3:ListObjectsV2": "s3:ListBucket"}
"""Operations whose permission has another name."""
SERVICES = {"stepfunctions": "states"}


def template() -> dict[str, Any]:
    """The account's template, with CloudFormation's short forms resolved for one account."""
    reader = YAML(typ="safe")

    def resolved(loader: Any, tag: str, node: Node) -> Any:
        if not isinstance(node.value, str):
            return loader.construct_sequence(node, deep=True)
        text = VALUES.get(node.value, f"<{node.value}>") if tag != "Sub" else node.value
        for name, value in VALUES.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    reader.constructor.add_multi_constructor("!", resolved)
    return dict(reader.load((ROOT / "infrastructure/account.yaml").read_text()))


def statements(role: str) -> list[dict[str, Any]]:
    """What a role may do."""
    policies = template()["Resources"][role]["Properties"]["Policies"]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def permitted(role: str, action: str, resource: str | None = None) -> bool:
    return any(
        any(fnmatch.fnmatchcase(action, pattern) for pattern in as_list(statement["Action"]))
        and (resource is None or any(fnmatch.fnmatchcase(resource, one) for one in as_list(statement["Resource"])))
        for statement in statements(role)
    )


@dataclass
class Account:
    """An empty account, and what is asked of it."""

    manifest: Path
    asked: list[tuple[str, Mapping[str, Any]]]

    def call(self, *words: str, code: int = 0) -> str:
        self.asked.clear()
        command, *rest = words
        done = CliRunner().invoke(main, [command, str(self.manifest), *rest, "--environment", "dev"])

        assert done.exit_code == code, done.output
        return done.output

    @property
    def actions(self) -> set[str]:
        return {action for action, _ in self.asked}


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """The template's use case in an account of moto's."""
    import boto3
    from botocore.client import BaseClient

    text = (ROOT / "template/use-case.yaml").read_text().replace("111111111111", VALUES["AWS::AccountId"])
    (tmp_path / "use-case.yaml").write_text(text)
    (tmp_path / "images.lock.json").write_text(json.dumps(LOCK))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    asked: list[tuple[str, Mapping[str, Any]]] = []
    unwatched = BaseClient._make_api_call

    def watched(client: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        action = f"{SERVICES.get(service, service)}:{operation}"
        asked.append((ACTIONS.get(action, action), parameters))
        return unwatched(client, operation, parameters)

    with mock_aws():
        boto3.client("s3", region_name=REGION).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        monkeypatch.setattr(BaseClient, "_make_api_call", watched)
        yield Account(tmp_path / "use-case.yaml", asked)


def released(run: str) -> None:
    """A release, as the training leaves it."""
    import boto3

    content = {"apiVersion": API_VERSION, "name": "customers", "created": run, "gates": [], "parts": {}}
    key = f"customers/dev/releases/{run}/release.json"
    boto3.client("s3", region_name=REGION).put_object(Bucket=BUCKET, Key=key, Body=json.dumps(content))


def test_the_plan_s_role_may_do_what_planning_does_and_can_carry_nothing_out(account: Account) -> None:
    account.call("plan")

    assert "cloudformation:CreateChangeSet" in account.actions
    # The empty stack that a first change set makes is removed by who may; planning goes well without.
    refused = [action for action in sorted(account.actions) if not permitted("PlanRole", action)]
    assert refused == ["cloudformation:DeleteStack"]
    for action in (
        "cloudformation:ExecuteChangeSet",
        "cloudformation:DeleteStack",
        "ssm:PutParameter",
        "states:StartExecution",
    ):
        assert not permitted("PlanRole", action)


def test_the_plan_s_role_writes_only_files_that_are_named_by_their_content(account: Account) -> None:
    account.call("plan")
    keys = [parameters["Key"] for action, parameters in account.asked if action == "s3:PutObject"]

    assert keys
    assert all(permitted("PlanRole", "s3:PutObject", f"arn:aws:s3:::{BUCKET}/{key}") for key in keys)
    assert not permitted("PlanRole", "s3:PutObject", f"arn:aws:s3:::{BUCKET}/customers/dev/releases/a/release.json")


def test_the_deployment_s_role_may_do_what_each_step_of_the_workflow_does(account: Account) -> None:
    actions = set()
    for words in (("deploy", "--no-start", "--yes"), ("start", "--run-id", "github-7-1")):
        account.call(*words)
        actions |= account.actions
    for run in ("github-7-1", "github-8-1"):
        released(run)
        account.call("promote", run)
        actions |= account.actions
    for command in ("status", "rollback"):
        account.call(command)
        actions |= account.actions

    assert {"cloudformation:ExecuteChangeSet", "states:StartExecution", "ssm:PutParameter"} <= actions
    assert [action for action in sorted(actions) if not permitted("DeployRole", action)] == []


def test_the_deployment_s_role_may_touch_what_the_steps_touch_and_no_other_stack_or_parameter(account: Account) -> None:
    where = f"{REGION}:123456789012"
    account.call("deploy", "--no-start", "--yes")
    stacks = {parameters["StackName"] for _, parameters in account.asked if "StackName" in parameters}
    released("github-7-1")
    account.call("promote", "github-7-1")
    names = {parameters["Name"] for action, parameters in account.asked if action == "ssm:PutParameter"}

    assert stacks
    assert names
    for stack in stacks:
        assert permitted(
            "DeployRole", "cloudformation:ExecuteChangeSet", f"arn:aws:cloudformation:{where}:stack/{stack}/1"
        )
    for name in names:
        assert permitted("DeployRole", "ssm:PutParameter", f"arn:aws:ssm:{where}:parameter{name}")
    assert not permitted(
        "DeployRole", "cloudformation:ExecuteChangeSet", f"arn:aws:cloudformation:{where}:stack/other/1"
    )
    assert not permitted("DeployRole", "ssm:PutParameter", f"arn:aws:ssm:{where}:parameter/other")


@pytest.mark.parametrize(
    ("role", "repository", "environment"),
    [
        ("PublishRole", "acme/quartet", "release"),
        ("DeployRole", "acme/customers", "dev"),
        ("PlanRole", "acme/customers", "dev-plan"),
    ],
)
def test_a_role_trusts_one_environment_of_one_repository(role: str, repository: str, environment: str) -> None:
    (statement,) = template()["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]

    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": f"repo:{repository}:environment:{environment}",
        }
    }


@pytest.mark.parametrize(
    ("repository", "taken"),
    [
        ("acme/quartet", True),
        ("acme@123456/quartet@456789", True),  # what tokens say of repositories made since July 2026
        ("acme/*", False),
        ("acme/quartet:environment:prod", False),
        ("acme@*/quartet@1", False),
    ],
)
@pytest.mark.parametrize("parameter", ["Repository", "PublishRepository"])
def test_a_repository_is_named_as_tokens_name_it_and_never_by_a_pattern(
    parameter: str, repository: str, taken: bool
) -> None:
    pattern = template()["Parameters"][parameter]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, repository)) is taken


@pytest.mark.parametrize(("given", "publishes"), [({}, False), ({"PublishRepository": "acme/quartet"}, True)])
@mock_aws
def test_an_account_has_a_role_that_publishes_only_where_a_repository_is_named(
    given: Mapping[str, str], publishes: bool
) -> None:
    import boto3

    stacks = boto3.client("cloudformation", REGION)
    parameters = {"Repository": "acme/customers", "ProviderArn": "arn:aws:iam::1:oidc-provider/x", **given}
    stacks.create_stack(
        StackName="account",
        TemplateBody=(ROOT / "infrastructure/account.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    found = stacks.list_stack_resources(StackName="account")["StackResourceSummaries"]
    made = {item["LogicalResourceId"] for item in found}

    assert ("PublishRole" in made, "DeployRole" in made) == (publishes, True)


@pytest.mark.parametrize("component", ["Processing", "Algorithm", "Monitoring", "Explainability"])
def test_other_accounts_may_pull_images_where_they_are_named_and_push_none(component: str) -> None:
    properties = template()["Resources"][f"{component}Repository"]["Properties"]
    condition, policy, otherwise = properties["RepositoryPolicyText"]["Fn::If"]
    (statement,) = policy["Statement"]

    assert (condition, otherwise) == ("Shares", "<AWS::NoValue>")
    assert statement["Principal"] == {"AWS": "<PullAccounts>"}
    assert set(statement["Action"]) == {
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
    }


@pytest.mark.parametrize(
    "action",
    [
        "iam:ListRolePolicies", "iam:ListAttachedRolePolicies", "iam:CreateInstanceProfile", "iam:AttachRolePolicy",
        "s3:GetObject", "sqs:CreateQueue", "pipes:CreatePipe", "states:CreateStateMachine", "scheduler:CreateSchedule",
        "sagemaker:CreatePipeline", "sagemaker:CreateModelPackageGroup", "events:PutRule", "logs:CreateLogGroup",
        "batch:CreateComputeEnvironment", "cloudwatch:PutMetricAlarm", "ssm:PutParameter", "iam:CreateRole",
    ],
)  # fmt: skip
def test_cloudformation_s_role_may_make_what_templates_hold(action: str) -> None:
    assert permitted("StackRole", action)


def test_the_deploying_role_may_ask_sagemaker_s_mlflow_all_that_tracking_asks() -> None:
    actions = {
        "experiments/create": "CreateExperiment", "experiments/get-by-name": "GetExperimentByName",
        "runs/create": "CreateRun", "runs/log-batch": "LogBatch", "runs/search": "SearchRuns",
        "runs/update": "UpdateRun",
    }  # fmt: skip
    asked = re.findall(r'_ask\("\w+", "([a-z/-]+)"', (ROOT / "pipelines/tracking/server.py").read_text())
    server = f"arn:aws:sagemaker:{REGION}:123456789012:mlflow-tracking-server/ours"

    assert set(asked) == set(actions)
    assert all(permitted("DeployRole", f"sagemaker-mlflow:{actions[path]}", server) for path in asked)
