"""The stack deployed: as far as moto plays CloudFormation, and what it leaves out is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto import mock_aws

from pipelines.aws.calls import CloudError
from pipelines.aws.places import Rendered, Site
from pipelines.cloudformation.stack import Stack
from shared.errors import SettingsError
from tests.aws.cloud import BUCKET, CREDENTIALS, REGION, ROLE
from tests.pipelines.cloudformation.conftest import Rendering

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")
# moto warns of what it leaves out; `SKIPPED` names it.

SKIPPED = {
    "sagemaker-pipelines": {
        "AWS::CloudWatch::Alarm", "AWS::Pipes::Pipe", "AWS::SageMaker::ModelPackageGroup", "AWS::SageMaker::Pipeline",
        "AWS::Scheduler::Schedule", "AWS::SQS::QueuePolicy",
    },
    "step-functions": {"AWS::CloudWatch::Alarm", "AWS::Scheduler::Schedule", "AWS::SQS::QueuePolicy"},
}  # fmt: skip
"""What moto's CloudFormation reads and does not make."""


SITE = Site("flights", "prod", f"s3://{BUCKET}/flights", REGION, ROLE)


@pytest.fixture(params=["sagemaker-pipelines", "step-functions"])
def engine(request: pytest.FixtureRequest) -> str:
    """Not on AWS Batch: moto wants a service role of every compute environment, which the service makes itself."""
    return str(request.param)


@pytest.fixture
def connect() -> Iterator[Callable[[str], Any]]:
    """Clients of an empty account."""
    import boto3

    with mock_aws():
        session = boto3.Session(**CREDENTIALS)
        place = {"LocationConstraint": CREDENTIALS["region_name"]}
        session.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        yield session.client


def deployed(connect: Callable[[str], Any], rendered: Rendered, name: str = "flights") -> Stack:
    stack = Stack(connect, name, poll=0)
    change_set, _ = stack.planned(rendered, {})
    stack.execute(change_set)
    return stack


@pytest.mark.parametrize("tags", [{"quartet:use-case": "flights"}, {}], ids=["tagged", "made without tags"])
def test_a_stack_gets_its_tags_when_it_is_made_and_keeps_them(
    rendered: Rendering, connect: Callable[[str], Any], tags: dict[str, str]
) -> None:
    """CloudFormation passes them on. AWS Batch's compute environments can get none later."""
    for given, change in ((tags, "max_depth: 6"), ({"quartet:use-case": "other"}, "max_depth: 5")):
        stack = Stack(connect, "flights", poll=0, tags=given)
        change_set, _ = stack.planned(rendered("step-functions", ("max_depth: 6", change)), {})
        stack.execute(change_set)
        (found,) = connect("cloudformation").describe_stacks(StackName="flights")["Stacks"]

        assert {item["Key"]: item["Value"] for item in found["Tags"]} == tags


def test_a_plan_names_every_resource_and_makes_none(
    engine: str, rendered: Rendering, connect: Callable[[str], Any]
) -> None:
    found = rendered(engine)
    _, changes = Stack(connect, "flights", poll=0).planned(found, {})

    resources = json.loads(found.files["template.json"])["Resources"]
    assert {change.resource for change in changes} == set(resources)
    assert {change.action for change in changes} == {"Add"}
    assert connect("iam").list_roles()["Roles"] == []


def test_what_moto_supports_is_made_and_the_rest_is_known_by_name(
    engine: str, rendered: Rendering, connect: Callable[[str], Any]
) -> None:
    found = rendered(engine)
    deployed(connect, found)

    wanted = json.loads(found.files["template.json"])["Resources"]
    pages = connect("cloudformation").get_paginator("list_stack_resources").paginate(StackName="flights")
    made = {item["LogicalResourceId"] for page in pages for item in page["StackResourceSummaries"]}
    left = {resource["Type"] for name, resource in wanted.items() if name not in made}
    assert left == SKIPPED[engine]
    roles = {role["RoleName"] for role in connect("iam").list_roles()["Roles"]}
    assert roles == {item["Properties"]["RoleName"] for item in wanted.values() if item["Type"] == "AWS::IAM::Role"}
    machines = {item["name"] for item in connect("stepfunctions").list_state_machines()["stateMachines"]}
    assert "quartet-flights-retrain" in machines


def test_a_second_deployment_of_the_same_changes_nothing_more_than_it_must(
    rendered: Rendering, connect: Callable[[str], Any]
) -> None:
    first = rendered("step-functions")
    stack = deployed(connect, first)
    change_set, changes = stack.planned(rendered("step-functions", ("max_depth: 6", "max_depth: 5")), {})

    touched = {change.resource for change in changes if change.action == "Modify"}
    assert "TrainingMachine" in touched
    assert "JobsRole" not in touched
    stack.execute(change_set)
    assert stack.status() == "UPDATE_COMPLETE"


def test_a_stack_that_is_destroyed_is_gone_and_destroying_it_again_is_no_error(
    rendered: Rendering, connect: Callable[[str], Any]
) -> None:
    stack = deployed(connect, rendered("step-functions"))

    assert stack.destroy() is True
    assert stack.status() in (None, "DELETE_COMPLETE")
    assert stack.destroy() is False


def test_a_stack_that_nothing_can_update_is_named_with_its_state(
    rendered: Rendering, connect: Callable[[str], Any]
) -> None:
    class Broken(Stack):
        def status(self) -> str | None:
            return "ROLLBACK_COMPLETE"

    with pytest.raises(CloudError, match="ROLLBACK_COMPLETE, which nothing can update"):
        Broken(connect, "flights").planned(rendered("step-functions"), {})


def test_what_aws_refuses_is_one_sentence(rendered: Rendering) -> None:
    import boto3
    from botocore.stub import Stubber

    client = boto3.Session(**CREDENTIALS).client("cloudformation")
    with Stubber(client) as stubber:
        stubber.add_client_error("describe_stacks", "AccessDenied", "alice may not")
        with pytest.raises(CloudError, match=r"^stack flights: AWS answers AccessDenied: alice may not$"):
            Stack(lambda _: client, "flights").planned(rendered("step-functions"), {})


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (None, "it says nothing, wanted"),
        ("Acme's website", r"it says \"Acme's website\", wanted"),
        ("Quartet: use case flights-prod", "it says 'Quartet: use case flights-prod', wanted"),
    ],
)
def test_a_stack_that_does_not_say_to_be_this_use_case_s_is_another_s(described: str | None, said: str) -> None:
    import boto3
    from botocore.stub import Stubber

    client = boto3.Session(**CREDENTIALS).client("cloudformation")
    stack = {"StackName": "x", "CreationTime": "2026-01-01T00:00:00Z", "StackStatus": "CREATE_COMPLETE"}
    told = {"Stacks": [stack if described is None else {**stack, "Description": described}]}
    with Stubber(client) as stubber:
        for _ in range(2):
            stubber.add_response("describe_stacks", told)
        if described is None:
            stubber.add_response("get_template", {"TemplateBody": "Resources: {}"})
        with pytest.raises(SettingsError, match=said):
            Stack(lambda _: client, "x").check_owner(SITE)
