"""Nothing that runs asks for what it may not have: machines, pipelines, schedules and rules under their stack's roles,
and the commands under the account's.

That the roles which run jobs may do no more than this is told here too; the rest is test_template's business.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore import xform_name

from pipelines.aws.places import Rendered
from tests.aws.cloud import ACCOUNT, CREDENTIALS, REGION
from tests.aws.data import STORAGE
from tests.pipelines.cloudformation.conftest import Rendering
from tests.pipelines.cloudformation.test_template import of_type, statements, steps, template_of
from tests.supply_chain.test_account import as_list, permitted
from tests.supply_chain.test_account import template as account

TUNING: Final = (
    "      early_stopping_rounds: 20\n",
    "      early_stopping_rounds: 20\n    train: {tuning: {metric: 'validation:auc', direction: maximize, "
    "ranges: {max_depth: {min: 3, max: 8}}}}\n",
)
"""A change of the manifest that searches for settings."""
ROOT: Final = Path(__file__).parents[3]
WAITED: Final = {
    "Processing": "ProcessingJob", "Training": "TrainingJob", "Transform": "TransformJob",
    "Tuning": "HyperParameterTuningJob",
}  # fmt: skip
"""The kinds of jobs that Step Functions waits for (`.sync`), by what it calls the rules that tell it of their end."""
PERMISSIONS: Final = {"s3:ListObjectsV2": "s3:ListBucket"}
"""Operations whose permission has another name."""
ANSWERS: Final = ("sagemaker:SendPipelineExecutionStepFailure", "sagemaker:SendPipelineExecutionStepSuccess")
Wanted = Iterator[tuple[str, str | None]]
"""Actions, and the ARN that each is asked for, where the definition tells it."""


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def allows(template: Mapping[str, Any], role: str, action: str, resource: str | None) -> bool:
    """Whether a role of the stack may do this. Resources that the template names by `Fn::GetAtt` allow any."""
    for statement in statements(template, role):
        fits = resource is None or any(
            not isinstance(one, str) or fnmatch.fnmatchcase(resource, one) for one in as_list(statement["Resource"])
        )
        if action in statement["Action"] and fits:
            return True
    return False


def tasks(node: Any) -> Iterator[dict[str, Any]]:
    """All task states of a machine, those in branches too."""
    if isinstance(node, dict):
        if node.get("Type") == "Task":
            yield node
        for value in node.values():
            yield from tasks(value)
    elif isinstance(node, list):
        for value in node:
            yield from tasks(value)


def asked(template: Mapping[str, Any], task: Mapping[str, Any]) -> Wanted:
    """What a task state does, as IAM names it."""
    *_, service, call = task["Resource"].split(":")
    operation, _, pattern = call.partition(".")
    given = task["Arguments"]
    action = f"{service}:{operation[:1].upper()}{operation[1:]}"
    action = PERMISSIONS.get(action, action)
    if "Name" in given and service == "ssm":
        yield action, arn("ssm", f"parameter{given['Name']}")
    elif service == "states":
        yield action, given["StateMachineArn"]
    elif "PipelineName" in given:
        yield action, arn("sagemaker", f"pipeline/{given['PipelineName']}")
    elif service == "events":
        yield from ((action, arn("events", f"event-bus/{entry['EventBusName']}")) for entry in given["Entries"])
    elif service == "batch":
        definition = template["Resources"][given["JobDefinition"].strip("${}")]["Properties"]["JobDefinitionName"]
        yield action, arn("batch", f"job-definition/{definition}:7")
        yield action, arn("batch", f"job-queue/{given['JobQueue']}")
        yield from (("batch:DescribeJobs", None), ("batch:TerminateJob", None))
        yield "events:PutRule", arn("events", "rule/StepFunctionsGetEventsForBatchJobsRule")
    else:
        yield action, None
    for word, kind in WAITED.items() if pattern == "sync" else ():
        if action != f"sagemaker:Create{kind}":
            continue
        yield from ((f"sagemaker:{verb}{kind}", None) for verb in ("Describe", "Stop"))
        rule = arn("events", f"rule/StepFunctionsGetEventsForSageMaker{word}JobsRule")
        yield from ((f"events:{verb}", rule) for verb in ("PutTargets", "PutRule", "DescribeRule"))
    for name in ("RoleArn", "ExecutionRoleArn"):
        if name in given:
            yield "iam:PassRole", given[name]
    if "Tags" in given:
        yield "sagemaker:AddTags", None


NAMES: Final = {
    "ProcessingJobName": "processing-job",
    "TrainingJobName": "training-job",
    "HyperParameterTuningJobName": "hyper-parameter-tuning-job",
    "TransformJobName": "transform-job",
    "ModelName": "model",
}
"""Where SageMaker's requests name what they make, and what the ARNs of such begin with."""
AT_LEAST: Final = {"sagemaker:AddTags", "sagemaker:ListTags"}
"""What Step Functions and SageMaker Pipelines do besides: they mark what is theirs."""


def sagemaker_of(template: Mapping[str, Any], role: str) -> dict[str, set[str]]:
    """The actions of SageMaker's jobs and models that a role may do, with the names of those that it may do them to."""
    kinds = tuple(f":{kind}/" for kind in NAMES.values())
    found: dict[str, set[str]] = {}
    for statement in statements(template, role):
        for resource in (one for one in as_list(statement["Resource"]) if any(kind in str(one) for kind in kinds)):
            for action in statement["Action"]:
                found.setdefault(action, set()).add(resource.partition(f"{ACCOUNT}:")[2])
    return found


def definitions(rendered: Rendered, kind: str, place: Callable[[Any], Any]) -> Iterator[tuple[str, str, Any]]:
    """Name, role and definition of what the stack makes of a kind."""
    for name, properties in of_type(template_of(rendered), kind).items():
        found = place(properties)
        content = rendered.uploads[f"s3://{found['Bucket']}/{found['Key']}"]
        yield name, properties["RoleArn"]["Fn::GetAtt"][0], json.loads(content)


def test_a_state_machine_s_role_may_do_what_each_of_its_states_does(engine: str, rendered: Rendering) -> None:
    found = rendered(engine)
    template = template_of(found)
    machines = list(
        definitions(found, "AWS::StepFunctions::StateMachine", lambda properties: properties["DefinitionS3Location"])
    )

    assert len(machines) >= 3
    for name, role, definition in machines:
        wanted = {one for task in tasks(definition) for one in asked(template, task)}
        if engine != "sagemaker-pipelines":  # where no pipeline waits, an event holds no token, and nobody is answered
            wanted -= {(action, None) for action in ANSWERS}
        assert wanted, name
        refused = sorted((one for one in wanted if not allows(template, role, *one)), key=str)
        assert refused == [], (name, role)


@pytest.mark.parametrize("change", [(), (TUNING,)], ids=["trained once", "tuned"])
def test_a_state_machine_s_role_may_start_its_own_kinds_of_jobs_under_its_own_names_alone(
    rendered: Rendering, change: tuple[tuple[str, str], ...]
) -> None:
    found = rendered("step-functions", *change)
    template = template_of(found)
    machines = {
        role: definition
        for _, role, definition in definitions(
            found, "AWS::StepFunctions::StateMachine", lambda properties: properties["DefinitionS3Location"]
        )
    }

    for role in ("TrainingRole", "InferenceRole"):
        made: dict[str, str] = {}
        wanted: set[str] = set()
        for task in tasks(machines[role]):
            wanted |= {action for action, _ in asked(template, task) if action.startswith("sagemaker:")}
            if task["Resource"].partition("sagemaker:create")[1]:
                # A job names what it makes before anything else: CreateTransformJob names its model too.
                name = next(name for name in NAMES if name in task["Arguments"])
                made[NAMES[name]] = re.findall("""['"](quartet-[a-z-]+)['"]""", task["Arguments"][name])[0]
        allowed = sagemaker_of(template, role)
        assert set(allowed) - AT_LEAST == wanted - AT_LEAST, role
        everything = set.union(*allowed.values())
        assert everything == {f"{kind}/quartet-flights-*" for kind in made}, role
        for kind, name in made.items():
            assert name.startswith("quartet-flights-"), (kind, name)


@pytest.mark.parametrize("change", [(), (TUNING,)], ids=["trained once", "tuned"])
def test_a_pipeline_s_role_may_start_the_kinds_of_jobs_of_its_steps_alone(
    rendered: Rendering, change: tuple[tuple[str, str], ...]
) -> None:
    """Under the names that the service gives, which begin with `pipelines-`."""
    allowed = sagemaker_of(template_of(rendered("sagemaker-pipelines", *change)), "PipelineRole")

    training = "hyper-parameter-tuning-job" if change else "training-job"
    kinds = {"processing-job", training, "transform-job", "model"}
    assert set.union(*allowed.values()) == {f"{kind}/pipelines-*" for kind in kinds}
    assert ("sagemaker:CreateTrainingJob" in allowed) == (not change)


@pytest.mark.parametrize("pipeline", ["training", "inference"])
def test_on_aws_batch_a_machine_may_submit_the_jobs_of_its_own_pipeline_alone(
    rendered: Rendering, pipeline: str
) -> None:
    template = template_of(rendered("step-functions on Batch"))
    submitting = [
        statement
        for statement in statements(template, f"{pipeline.capitalize()}Role")
        if "batch:SubmitJob" in statement["Action"]
    ]

    (statement,) = submitting
    name = f"quartet-flights-{pipeline}"
    assert statement["Resource"] == [arn("batch", f"job-definition/{name}-*"), arn("batch", f"job-queue/{name}*")]


def created(rendered: Rendered) -> Iterator[Mapping[str, Any]]:
    """What machines and pipelines ask of SageMaker where they make jobs."""
    for _, _, definition in definitions(
        rendered, "AWS::StepFunctions::StateMachine", lambda properties: properties["DefinitionS3Location"]
    ):
        made = [one for one in tasks(definition) if "sagemaker:create" in one["Resource"]]
        yield from (one["Arguments"] for one in made if not one["Resource"].endswith("createModel"))
    for _, _, definition in definitions(
        rendered,
        "AWS::SageMaker::Pipeline",
        lambda properties: properties["PipelineDefinition"]["PipelineDefinitionS3Location"],
    ):
        yield from (one["Arguments"] for one in steps(definition["Steps"]) if one["Type"] in WAITED)


@pytest.mark.parametrize("change", [(), (TUNING,)], ids=["trained once", "tuned"])
@pytest.mark.parametrize("on_sagemaker", ["sagemaker-pipelines", "step-functions"])
def test_each_job_of_sagemaker_says_whose_it_is(
    rendered: Rendering, on_sagemaker: str, change: tuple[tuple[str, str], ...]
) -> None:
    """The manifest's own tags stay: `stage` is one of prod's."""
    found = list(created(rendered(on_sagemaker, *change, environment="prod")))

    assert len(found) == 9
    for request in found:
        tags = {item["Key"]: item["Value"] for item in request["Tags"]}
        assert tags == {"quartet:use-case": "flights", "quartet:environment": "prod", "stage": "prod"}


def may_list(template: Mapping[str, Any], role: str, bucket: str, prefix: str) -> bool:
    """Whether S3 lets a role list what begins with a prefix."""
    found = [one for one in statements(template, role) if "s3:ListBucket" in one["Action"]]
    return any(
        f"arn:aws:s3:::{bucket}" in one["Resource"]
        and (
            "Condition" not in one
            or any(fnmatch.fnmatchcase(prefix, p) for p in one["Condition"]["StringLike"]["s3:prefix"])
        )
        for one in found
    )


ELSEWHERE: Final = ("{storage}/data/train/", "s3://raw/flights/")
"""A change of the manifest: training data lie in another bucket than the storage."""


def test_on_aws_batch_jobs_list_what_they_read_and_write_and_nothing_else(rendered: Rendering) -> None:
    """The storage is s3://…/flights; a prefix is listed as it is given, with its closing slash or without."""
    template = template_of(rendered("step-functions on Batch", ELSEWHERE))
    bucket = STORAGE.removeprefix("s3://").split("/")[0]
    storage = STORAGE.removeprefix(f"s3://{bucket}/")

    for prefix in (f"{storage}/config/0a1b/", f"{storage}/training/r1/algorithm", f"{storage}/data/score/2013-05.csv"):
        assert may_list(template, "JobsRole", bucket, prefix), prefix
    for prefix in ("flights", "flights/", "flights/2013-01.csv"):
        assert may_list(template, "JobsRole", "raw", prefix), prefix
    for place in ((bucket, ""), (bucket, "other/"), (bucket, f"{storage}-two/"), ("raw", ""), ("raw", "churn/")):
        assert not may_list(template, "JobsRole", *place), place


def test_where_the_data_are_a_whole_bucket_jobs_may_list_all_of_it(rendered: Rendering) -> None:
    template = template_of(rendered("step-functions on Batch", ("{storage}/data/score/", "s3://raw/")))

    assert may_list(template, "JobsRole", "raw", "")


def test_the_machine_that_looks_for_a_window_s_files_lists_where_they_lie_alone(rendered: Rendering) -> None:
    template = template_of(rendered("step-functions", ELSEWHERE))

    assert may_list(template, "RetrainRole", "raw", "flights/2014-02.csv")
    assert not may_list(template, "RetrainRole", "raw", "churn/2014-02.csv")


def test_sagemaker_may_list_buckets_whole_because_nobody_knows_how_it_asks(rendered: Rendering) -> None:
    template = template_of(rendered("step-functions", ELSEWHERE))

    assert may_list(template, "JobsRole", "raw", "")


def test_a_pipeline_s_role_may_do_what_each_of_its_steps_does(rendered: Rendering) -> None:
    found = rendered("sagemaker-pipelines")
    template = template_of(found)
    jobs = {**WAITED, "Model": "Model"}
    others = {"RegisterModel": "sagemaker:CreateModelPackage", "Callback": "sqs:SendMessage", "Condition": ""}
    pipelines = list(
        definitions(
            found,
            "AWS::SageMaker::Pipeline",
            lambda properties: properties["PipelineDefinition"]["PipelineDefinitionS3Location"],
        )
    )

    assert len(pipelines) == 2
    for _, role, definition in pipelines:
        for step in (step for step in steps(definition["Steps"]) if "Arguments" in step):
            if step["Type"] in jobs:
                verbs = ("Create", "Describe", "Delete" if step["Type"] == "Model" else "Stop")
                wanted = [f"sagemaker:{verb}{jobs[step['Type']]}" for verb in verbs]
            else:
                wanted = [others[step["Type"]]] if others[step["Type"]] else []
            assert [action for action in wanted if not allows(template, role, action, None)] == [], step["Name"]
            for key in ("RoleArn", "ExecutionRoleArn"):
                if key in step["Arguments"]:
                    assert allows(template, role, "iam:PassRole", step["Arguments"][key])


def test_schedules_and_rules_may_start_what_they_start_and_leave_letters(engine: str, rendered: Rendering) -> None:
    template = template_of(rendered(engine))
    machines = of_type(template, "AWS::StepFunctions::StateMachine")
    schedules = [item["Target"] for item in of_type(template, "AWS::Scheduler::Schedule").values()]
    rules = [one for item in of_type(template, "AWS::Events::Rule").values() for one in item["Targets"]]

    assert len(schedules) == 2
    for target in (*schedules, *(rule for rule in rules if "RoleArn" in rule)):
        name = machines[target["Arn"]["Ref"]]["StateMachineName"]
        role = target["RoleArn"]["Fn::GetAtt"][0]
        assert allows(template, role, "states:StartExecution", arn("states", f"stateMachine:{name}"))
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    for target in schedules:
        assert allows(template, target["RoleArn"]["Fn::GetAtt"][0], "sqs:SendMessage", None)
    assert "DeadLetters" in template["Resources"]


# --- The account's roles, under which commands run

SERVICES: Final = ("batch", "cloudformation", "events", "s3", "sagemaker", "ssm", "stepfunctions")
CALLED: Final = {"stepfunctions": "states"}
"""How IAM calls a service that boto3 calls otherwise."""
NOT_IN_CI: Final = {
    "batch:CreateJobQueue", "batch:RegisterJobDefinition", "sagemaker:CreatePipeline", "sagemaker:UpdatePipeline",
}  # fmt: skip
"""What functions do that no command calls: a stack makes these."""
UNLIMITED: Final = {
    "batch:DescribeJobDefinitions", "batch:DescribeJobQueues", "batch:DescribeJobs", "batch:ListJobs",
    "sagemaker:ListModelPackageGroups",
}  # fmt: skip
"""Actions that the service authorization reference gives no resource type."""


def operations() -> dict[str, set[str]]:
    """The actions behind each method of a client: `describe_jobs` is `batch:DescribeJobs`."""
    found: dict[str, set[str]] = {}
    for service in SERVICES:
        for operation in boto3.Session(**CREDENTIALS).client(service).meta.service_model.operation_names:
            action = f"{CALLED.get(service, service)}:{operation}"
            found.setdefault(xform_name(operation), set()).add(PERMISSIONS.get(action, action))
    return found


def named(path: Path) -> Iterator[str]:
    """Every method that a module calls, and every name that it gives as text to `get_paginator` and the like."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr
            if node.func.attr == "get_paginator":
                yield from (str(item.value) for item in node.args if isinstance(item, ast.Constant))


def calls() -> dict[str, set[str]]:
    """What the code asks AWS, by method; with the actions that it may be."""
    known = operations()
    known.pop("search")  # a regular expression's too, and no module asks SageMaker for it
    modules = [path for path in (ROOT / "pipelines").rglob("*.py") if path.parent.name != "airflow"]
    return {method: known[method] for path in modules for method in named(path) if method in known}


def test_the_deploying_role_may_do_all_that_commands_ask_for() -> None:
    found = calls()

    assert {"submit_job", "start_execution", "start_pipeline_execution", "create_change_set"} <= set(found)
    refused = {
        method: actions
        for method, actions in found.items()
        if not actions & NOT_IN_CI and not any(permitted("DeployRole", action) for action in actions)
    }
    assert refused == {}


def test_a_plan_for_sagemaker_pipelines_may_look_for_models_that_an_earlier_stack_has_left() -> None:
    assert permitted("PlanRole", "sagemaker:ListModelPackageGroups", "any")


@pytest.mark.parametrize("action", sorted(UNLIMITED))
def test_what_cannot_be_limited_to_a_resource_is_allowed_for_all(action: str) -> None:
    assert permitted("DeployRole", action, "any")


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("batch:SubmitJob", "batch:…:job-definition/quartet-flights-training-algorithm:7"),
        ("batch:SubmitJob", "batch:…:job-queue/quartet-flights-training"),
        ("batch:TerminateJob", "batch:…:job/0a1b2c3d"),
        ("events:PutEvents", "events:…:event-bus/default"),
        ("sagemaker:DescribePipelineExecution", "sagemaker:…:pipeline/quartet-flights-training/execution/a1b2"),
        ("sagemaker:ListPipelineExecutionSteps", "sagemaker:…:pipeline/quartet-flights-training/execution/a1b2"),
        ("sagemaker:ListPipelineExecutions", "sagemaker:…:pipeline/quartet-flights-training"),
        (
            "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
            "sagemaker:…:hyper-parameter-tuning-job/pipelines-a1b2-algorithm",
        ),
        ("sagemaker:StartPipelineExecution", "sagemaker:…:pipeline/quartet-flights-inference"),
        ("ssm:GetParameterHistory", "ssm:…:parameter/flights/prod/releases/current"),
        ("ssm:PutParameter", "ssm:…:parameter/flights/prod/drift/state"),
        ("states:DescribeExecution", "states:…:execution:quartet-flights-training:one"),
        ("states:ListExecutions", "states:…:stateMachine:quartet-flights-training"),
    ],
)
def test_what_can_be_limited_is_allowed_for_a_use_case_of_ours_and_for_no_other(action: str, resource: str) -> None:
    """Types of resources as the service authorization reference has them."""
    ours = f"arn:aws:{resource.replace('…', f'{REGION}:{ACCOUNT}')}"

    assert permitted("DeployRole", action, ours)
    if "quartet-" in ours:
        assert not permitted("DeployRole", action, ours.replace("quartet-", "other-"))


def test_the_boundary_takes_nothing_from_the_roles_of_a_stack(engine: str, rendered: Rendering) -> None:
    found = template_of(rendered(engine))
    allowed = account()["Resources"]["Boundary"]["Properties"]["PolicyDocument"]["Statement"]
    patterns = [one for statement in allowed for one in as_list(statement["Action"])]

    for role in of_type(found, "AWS::IAM::Role"):
        for statement in statements(found, role):
            lacking = [
                action
                for action in statement["Action"]
                if not any(fnmatch.fnmatchcase(action, pattern) for pattern in patterns)
            ]
            assert lacking == [], role


@pytest.mark.parametrize("tagged", [
    "cloudwatch:TagResource", "events:TagResource", "iam:TagRole", "logs:TagResource", "pipes:TagResource",
    "sagemaker:AddTags", "sqs:TagQueue", "ssm:AddTagsToResource", "states:TagResource", "batch:TagResource",
])  # fmt: skip
def test_cloudformation_may_tag_what_it_makes(tagged: str) -> None:
    """Actions as the registry's schemas of the resources name them."""
    assert permitted("StackRole", tagged, "arn:aws:iam::123456789012:role/quartet/x" if "iam" in tagged else "any")


@pytest.mark.parametrize("role", ["DeployRole", "PlanRole"])
def test_a_change_set_may_have_tags(role: str) -> None:
    assert permitted(role, "cloudformation:TagResource", arn("cloudformation", "stack/quartet-flights/0a1b"))


def test_cloudformation_may_make_the_disks_of_machines() -> None:
    for action in ("ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion", "ec2:DeleteLaunchTemplate"):
        assert permitted("StackRole", action, arn("ec2", "launch-template/lt-0a1b2c3d"))
