r"""The stack of one use case in one environment: its pipelines, roles, schedules, drift loop and alarms.

    aws cloudformation deploy --stack-name quartet-flights --template-file template.json \
        --capabilities CAPABILITY_NAMED_IAM

What all use cases of an account share (image repositories, the bucket, roles for CI) is in infrastructure/account.yaml.
The pointer to the release in use is no resource of the stack: a deployment must never move it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pipelines.aws.places import Site
from pipelines.cloudformation import policies
from pipelines.cloudformation.policies import Statement, allow
from pipelines.cloudformation.resources import (
    Resource,
    Resources,
    alarm,
    attribute,
    compact,
    dead_letters,
    failed_pipelines,
    failures,
    letters_waiting,
    location,
    log_group,
    queue,
    reference,
    role,
    rule,
    schedule,
    state_machine,
    target,
)
from pipelines.graph import Graph, Job
from pipelines.manifest import Manifest

DRIFT: Final = {"source": ["quartet"], "detail-type": ["Drift"]}
SCHEDULED: Final = compact({"Time": "<aws.scheduler.scheduled-time>", "StartedBy": "schedule"})
"""What a schedule gives a state machine; EventBridge Scheduler fills in the time that it was due."""
LETTERS: Final = "DeadLetters"
SAGEMAKER_RULES: Final = {
    "CreateProcessingJob": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    "CreateTrainingJob": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "CreateTransformJob": "StepFunctionsGetEventsForSageMakerTransformJobsRule",
    "CreateHyperParameterTuningJob": "StepFunctionsGetEventsForSageMakerTuningJobsRule",
}
PIPELINES: Final = "pipelines-"
"""What the names that a SageMaker pipeline gives its jobs and models begin with, followed by the execution's id."""
STARTERS: Final = {"training": "train", "inference": "start"}
"""What a schedule starts where a SageMaker pipeline cannot read Parameter Store: the machine that does it for it."""
BATCH_RULES: Final = ("StepFunctionsGetEventsForBatchJobsRule",)


@dataclass(frozen=True)
class Engine:
    """What an engine gives to the stack.

    Attributes:
        machines: the uris of the definitions of state machines: training, inference, retrain, promote, start, train.
        pipelines: the uris of the definitions of SageMaker pipelines: training, inference.
        images: the images that the jobs run.
        graphs: the jobs of the pipelines.
        platform: what runs them.
        resources: what else the engine needs.
        digest: SHA-256 of the manifest.
    """

    machines: Mapping[str, str]
    pipelines: Mapping[str, str]
    images: Mapping[str, str]
    digest: str
    graphs: Mapping[str, Graph]
    platform: Literal["sagemaker", "batch"] = "sagemaker"
    resources: Resources = field(default_factory=dict)


def template(site: Site, manifest: Manifest, engine: Engine) -> dict[str, Any]:
    """The template.

    Args:
        site: where the use case lives.
        manifest: as it is in the environment.
        engine: what runs the pipelines.
    """
    resources = {
        **_jobs_role(site, manifest, engine),
        **_machines(site, engine),
        **_pipelines(site, engine),
        **_loop(site, manifest, engine),
        **_approval(site, engine),
        **_schedules(site, manifest, engine),
        **engine.resources,
        **_record(site, engine),
    }
    resources |= _alarms(site, manifest, engine, resources)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": site.description,
        "Parameters": _parameters(engine, resources),
        "Conditions": {
            **({"MakesModelGroup": _says("MakeModelGroup")} if engine.pipelines else {}),
            "Bounded": {"Fn::Not": [{"Fn::Equals": [reference("BoundaryArn"), ""]}]},
            "MakesJobsRole": _says("MakeJobsRole"),
        },
        "Resources": used(resources),
    }


def _says(parameter: str) -> dict[str, Any]:
    """Whether a parameter is `true`."""
    return {"Fn::Equals": [reference(parameter), "true"]}


def used(resources: Resources) -> Resources:
    """The resources by name, in an order that does not change with the way they were put together."""
    return dict(sorted(resources.items()))


def _parameters(engine: Engine, resources: Resources) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "BoundaryArn": {
            "Type": "String",
            "Default": "",
            "AllowedPattern": "|arn:[a-z-]+:iam::[0-9]{12}:policy/.+",
            "Description": "The permissions boundary of all roles; infrastructure/account.yaml has one.",
        },
        "LogRetentionDays": {
            "Type": "Number",
            "Default": 90,
            "AllowedValues": [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653],
            "Description": "How long logs are kept.",
        },
        "MakeJobsRole": _choice(
            "Whether the stack makes the role that the manifest names, or somebody else has made it.", "true", "false"
        ),
    }
    if engine.pipelines:
        parameters["MakeModelGroup"] = _choice(
            "Whether the stack makes the group of models; an earlier stack leaves one behind.", "true", "false"
        )
    if any(name.endswith("Schedule") for name in resources):
        parameters["Schedules"] = _choice("Whether the manifest's schedules start anything.", "ENABLED", "DISABLED")
    return parameters


def _choice(said: str, *values: str) -> dict[str, Any]:
    """A parameter that is one of some values: the first when nobody says otherwise."""
    return {"Type": "String", "Default": values[0], "AllowedValues": list(values), "Description": said}


def _jobs_role(site: Site, manifest: Manifest, engine: Engine) -> Resources:
    """The role that the manifest names, under that very name."""
    path, _, name = site.role.partition(":role/")[2].rpartition("/")
    service = "ecs-tasks.amazonaws.com" if engine.resources else "sagemaker.amazonaws.com"
    made = role(site, "jobs", [service], policies.jobs(site, manifest, engine.images.values(), engine.platform))
    named = {**made["Properties"], "Path": f"/{path}/" if path else "/", "RoleName": name}
    return {"JobsRole": {**made, "Condition": "MakesJobsRole", "Properties": named}}


# --- What runs the pipelines


def _machines(site: Site, engine: Engine) -> Resources:
    """The state machines of the pipelines themselves: one may move the pointer, the other may tell of drift."""
    own = {
        "training": [policies.pointer(site, moves=True)],
        "inference": [
            policies.pointer(site, moves=False),
            allow(["events:PutEvents"], [site.arn("events", "event-bus/default")]),
        ],
    }
    found: Resources = {}
    for name in (name for name in own if name in engine.machines):
        # What a run leaves for its machine to read: verdicts, and on AWS Batch why a job failed.
        objects = policies.reading(site, [f"{site.storage}/releases/", f"{site.storage}/{name}/"])
        running = (
            batch_statements(site, name) if engine.platform == "batch" else waiting(site, engine.graphs[name].jobs)
        )
        statements = [*running, *objects, *own[name], policies.state_machine_logs()]
        found |= _working(site, engine, name, statements)
    return found


def _jobs_of(engine: Engine, pipeline: str) -> list[str]:
    """The job definitions of a pipeline on AWS Batch."""
    kind = "AWS::Batch::JobDefinition"
    found = [name for name, resource in engine.resources.items() if resource["Type"] == kind]
    return sorted(name for name in found if name.startswith(pipeline.capitalize()))


def _pipelines(site: Site, engine: Engine) -> Resources:
    """The SageMaker pipelines, the role that makes their jobs, and the group that their models are registered in."""
    if not engine.pipelines:
        return {}
    jobs = [job for graph in engine.graphs.values() for job in graph.jobs]
    statements = [
        *policies.sagemaker_jobs(site, jobs, PIPELINES, ("Create", "Delete", "Describe")),
        allow(
            ["sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackageGroup"],
            [
                site.arn("sagemaker", f"model-package-group/{site.title}"),
                site.arn("sagemaker", f"model-package/{site.title}/*"),
            ],
        ),
        *policies.reading(site, [f"{site.storage}/"]),
    ]
    if "retrain" in engine.machines:
        statements.append(allow(["sqs:SendMessage"], [site.arn("sqs", site.drift_queue)]))
    found = {
        f"{name.capitalize()}Pipeline": {
            "Type": "AWS::SageMaker::Pipeline",
            "Properties": {
                "PipelineName": f"{site.title}-{name}",
                "PipelineDescription": f"Quartet: the {name} pipeline of {site.title}",
                "PipelineDefinition": {"PipelineDefinitionS3Location": location(definition)},
                "RoleArn": attribute("PipelineRole"),
            },
        }
        for name, definition in engine.pipelines.items()
    }
    group = {
        "Type": "AWS::SageMaker::ModelPackageGroup",
        "Properties": {
            "ModelPackageGroupName": site.title,
            "ModelPackageGroupDescription": f"Quartet: the models of {site.title}, one version a release",
        },
        "Condition": "MakesModelGroup",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
    }
    return {"PipelineRole": role(site, "pipelines", ["sagemaker.amazonaws.com"], statements), "Models": group, **found}


def _machine(name: str) -> str:
    return f"{name.capitalize()}Machine"


def _working(site: Site, engine: Engine, name: str, statements: Sequence[Statement]) -> Resources:
    """A state machine, with a log group and a role of its own."""
    title = name.capitalize()
    logs, worker = f"{title}Logs", f"{title}Role"
    return {
        logs: log_group(f"/aws/vendedlogs/states/{site.title}-{name}"),
        worker: role(site, name, ["states.amazonaws.com"], statements),
        _machine(name): state_machine(site, name, engine.machines[name], logs, worker, _jobs_of(engine, name)),
    }


def _starting(site: Site, engine: Engine, name: str) -> Statement:
    """Starting one of the pipelines."""
    if name in engine.pipelines:
        return allow(["sagemaker:StartPipelineExecution"], [site.arn("sagemaker", f"pipeline/{site.title}-{name}")])
    return allow(["states:StartExecution"], [site.arn("states", f"stateMachine:{site.title}-{name}")])


# --- The drift loop


def _loop(site: Site, manifest: Manifest, engine: Engine) -> Resources:
    """Drift → the machine that judges whether to train, and whoever wants to be told."""
    policy = manifest.drift
    if policy is None:
        return {}
    resources: Resources = {LETTERS: dead_letters(f"{site.title}-dead-letters")}
    targets: list[Resource] = []
    if "retrain" in engine.machines:
        resources |= _retraining(site, manifest, engine)
        targets.append(target("retrain", reference("RetrainMachine"), "EventsRole", LETTERS))
        resources["EventsRole"] = _events_role(site, engine)
    if policy.notify:
        letter = {"DeadLetterConfig": {"Arn": attribute(LETTERS)}}
        targets.append({"Id": "notify", "Arn": policy.notify, **letter})
    if not targets:
        return {}
    pattern = {**DRIFT, "detail": {"useCase": [site.name], "environment": [site.environment or ""]}}
    resources["DriftRule"] = rule(site, "drift", f"Drift of {site.title}", pattern, targets)
    resources["DeadLettersPolicy"] = _letters_policy(site, "DriftRule")
    return resources


def _events_role(site: Site, engine: Engine) -> Resource:
    machines = [name for name in ("promote", "retrain") if name in engine.machines]
    arns = [site.arn("states", f"stateMachine:{site.title}-{name}") for name in machines]
    return role(site, "events", ["events.amazonaws.com"], [allow(["states:StartExecution"], arns)])


def _letters_policy(site: Site, *rules: str) -> Resource:
    """Lets the rules, and nothing else of EventBridge, leave what they could not deliver."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": attribute(LETTERS),
        "Condition": {"ArnEquals": {"aws:SourceArn": [attribute(name) for name in rules]}},
    }
    properties = {"Queues": [reference(LETTERS)], "PolicyDocument": policies.document([statement])}
    return {"Type": "AWS::SQS::QueuePolicy", "Properties": properties}


def _retraining(site: Site, manifest: Manifest, engine: Engine) -> Resources:
    """The machine `retrain`; for a SageMaker pipeline, which waits for its answer, also what brings it the question."""
    state = allow(["ssm:GetParameter", "ssm:PutParameter"], [site.arn("ssm", f"parameter{site.drift_state}")])
    statements = [
        state,
        _starting(site, engine, "training"),
        policies.state_machine_logs(),
        *policies.listing(site, manifest),
    ]
    resources: Resources = {}
    if engine.pipelines:
        answers = ["sagemaker:SendPipelineExecutionStepFailure", "sagemaker:SendPipelineExecutionStepSuccess"]
        statements += [allow(answers, "*"), policies.pointer(site, moves=False)]
        resources = _pipe(site)
    return {**resources, **_working(site, engine, "retrain", statements)}


def _pipe(site: Site) -> Resources:
    """A SageMaker pipeline's callback step → queue → event `Drift`, with the token that it waits for."""
    bus = site.arn("events", "event-bus/default")
    letters = {"deadLetterTargetArn": attribute(LETTERS), "maxReceiveCount": 5}
    # The arguments of the step are the event's detail; the token goes with them. A pipe quotes a text by itself, as
    # "Input transformation" in the EventBridge User Guide and the CDK's InputTransformation have it.
    known = {"useCase": site.name, "environment": site.environment or ""}
    told = {**{key: f"arguments.{key}" for key in ("run", "period", "verdict", "release")}, "token": "token"}
    detail = ",".join(f'"{key}":<$.body.{path}>' for key, path in told.items())
    statements = [
        allow(["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"], [attribute("DriftQueue")]),
        allow(["events:PutEvents"], [bus]),
    ]
    pipe = {
        "Type": "AWS::Pipes::Pipe",
        "Properties": {
            "Name": f"{site.title}-drift",
            "Description": f"Drift that a pipeline of {site.title} tells, as an event",
            "RoleArn": attribute("PipeRole"),
            "Source": attribute("DriftQueue"),
            "SourceParameters": {"SqsQueueParameters": {"BatchSize": 1}},
            "Target": bus,
            "TargetParameters": {
                "EventBridgeEventBusParameters": {"Source": "quartet", "DetailType": "Drift"},
                "InputTemplate": f"{compact(known)[:-1]},{detail}}}",
            },
        },
    }
    return {
        "DriftQueue": queue(site.drift_queue, RedrivePolicy=letters, VisibilityTimeout=60),
        "PipeRole": role(site, "pipe", ["pipes.amazonaws.com"], statements),
        "DriftPipe": pipe,
    }


def _approval(site: Site, engine: Engine) -> Resources:
    """A model package that is approved, in the registry or by the pipeline → the pointer moves to its release."""
    if "promote" not in engine.machines:
        return {}
    package = site.arn("sagemaker", f"model-package/{site.title}/*")
    statements = [
        allow(["sagemaker:DescribeModelPackage"], [package]),
        policies.pointer(site, moves=True),
        policies.state_machine_logs(),
    ]
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": [site.title], "ModelApprovalStatus": ["Approved"]},
    }
    to = target("promote", reference("PromoteMachine"), "EventsRole", LETTERS)
    return {
        **_working(site, engine, "promote", statements),
        "ApprovalRule": rule(site, "approval", f"A model of {site.title} is approved", pattern, [to]),
        "EventsRole": _events_role(site, engine),
        LETTERS: dead_letters(f"{site.title}-dead-letters"),
        "DeadLettersPolicy": _letters_policy(
            site, "ApprovalRule", *(["DriftRule"] if "retrain" in engine.machines else [])
        ),
    }


# --- Schedules


def _schedules(site: Site, manifest: Manifest, engine: Engine) -> Resources:
    """The manifest's schedules."""
    wanted = {"training": manifest.schedule.training, "inference": manifest.schedule.inference}
    chosen = {name: expression for name, expression in wanted.items() if expression and _startable(engine, name)}
    if not chosen:
        return {}
    resources: Resources = {LETTERS: dead_letters(f"{site.title}-dead-letters")}
    # EventBridge Scheduler leaves its letters under the role that it works under; a queue's policy is for rules.
    statements = [allow(["sqs:SendMessage"], [attribute(LETTERS)])]
    for name, expression in chosen.items():
        started = STARTERS[name] if engine.pipelines else name
        if engine.pipelines:
            resources |= _starter(site, engine, started, name)
        statements.append(_starting(site, engine, started))
        resources[f"{name.capitalize()}Schedule"] = schedule(
            site, name, expression, manifest.schedule.timezone, reference(_machine(started)), SCHEDULED,
            "SchedulerRole", LETTERS,
        )  # fmt: skip
    resources["SchedulerRole"] = role(site, "schedules", ["scheduler.amazonaws.com"], statements)
    return resources


def _startable(engine: Engine, name: str) -> bool:
    return name in engine.machines or name in engine.pipelines


def _starter(site: Site, engine: Engine, name: str, pipeline: str) -> Resources:
    """The machine that finds the release in use and starts a SageMaker pipeline with it."""
    statements = [
        _starting(site, engine, pipeline),
        policies.pointer(site, moves=False),
        *(policies.reading(site, [f"{site.storage}/releases/"]) if pipeline == "inference" else []),
        policies.state_machine_logs(),
    ]
    return _working(site, engine, name, statements)


# --- What people look at


def _record(site: Site, engine: Engine) -> Resources:
    """What is deployed, in Parameter Store: the manifest's digest, and each component's image."""
    said = {"manifest": engine.digest, "images": dict(sorted(engine.images.items()))}
    properties = {
        "Name": f"{site.parameters}/deployment",
        "Type": "String",
        "Value": json.dumps(said, sort_keys=True),
        "Description": f"What of {site.title} is deployed",
    }
    return {"Deployment": {"Type": "AWS::SSM::Parameter", "Properties": properties}}


ALARMS: Final[Mapping[str, str]] = {
    "training_failed": "A run of the training pipeline has failed",
    "inference_failed": "A run of the inference pipeline has failed",
    "loop_failed": "Drift, an approval or a schedule could not be answered, or an event was not delivered",
}


def _alarms(site: Site, manifest: Manifest, engine: Engine, resources: Resources) -> Resources:
    """An alarm for each pipeline and for the loop, which tells whom the manifest names, if anybody."""
    metrics: dict[str, tuple[str, Resource]] = {}
    for name in ("training", "inference"):
        if name in engine.pipelines:
            metrics[f"{name.capitalize()}Failed"] = (f"{name}_failed", failed_pipelines(f"{site.title}-{name}"))
        elif name in engine.machines:
            metrics[f"{name.capitalize()}Failed"] = (f"{name}_failed", failures(reference(_machine(name))))
    for name in ("retrain", "promote", *STARTERS.values()):
        if _machine(name) in resources:
            metrics[f"{name.capitalize()}Failed"] = ("loop_failed", failures(reference(_machine(name))))
    if LETTERS in resources:
        metrics["EventLost"] = ("loop_failed", letters_waiting(LETTERS))
    found: Resources = {}
    for title, (kind, metric) in metrics.items():
        told = [manifest.alarms[kind]] if kind in manifest.alarms else []
        found[f"{title}Alarm"] = alarm(f"{site.title} {title}", ALARMS[kind], metric, told)
    return found


def waiting(site: Site, jobs: Sequence[Job]) -> list[Statement]:
    """What running a graph on SageMaker needs, for the role of a state machine that waits for its jobs."""
    rules = sorted({SAGEMAKER_RULES[job.operation] for job in jobs})
    return [
        *policies.sagemaker_jobs(site, jobs, f"{site.title}-", ("Create",)),
        policies.watched(site, rules),
    ]


def batch_statements(site: Site, pipeline: str) -> list[Statement]:
    """What running a graph on AWS Batch needs, for the role of a state machine that waits for its jobs."""
    name = f"{site.title}-{pipeline}"
    return [
        allow(
            ["batch:SubmitJob"],
            [site.arn("batch", f"job-definition/{name}-*"), site.arn("batch", f"job-queue/{name}*")],
        ),
        allow(["batch:DescribeJobs", "batch:TerminateJob"], "*"),
        policies.watched(site, BATCH_RULES),
    ]
