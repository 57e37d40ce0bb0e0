"""The resources of a use case's stack, each a function of names: CloudFormation's JSON and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipelines.aws.places import Site
from pipelines.cloudformation.policies import Statement, document, trust

Resource = dict[str, Any]
Resources = dict[str, Resource]

WEEK: Final = 7 * 86400
"""Seconds that a message waits in a dead-letter queue; SQS keeps one for 14 days at most."""
MINUTES: Final = 60
PATIENCE: Final = {"MaximumRetryAttempts": 10, "MaximumEventAgeInSeconds": 60 * MINUTES}
"""How long a start is tried again when the service that it asks refuses or does not answer."""


def attribute(resource: str, name: str = "Arn") -> dict[str, list[str]]:
    """`Fn::GetAtt`."""
    return {"Fn::GetAtt": [resource, name]}


def reference(resource: str) -> dict[str, str]:
    """`Ref`."""
    return {"Ref": resource}


def compact(value: Any) -> str:
    """JSON text that is as short as it can be, for a template has a limit of bytes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def role(site: Site, name: str, services: Sequence[str], statements: Sequence[Statement]) -> Resource:
    """A role that services take, with what it may do written out.

    Args:
        site: where the use case lives.
        name: what the role is for, a word.
        services: who takes it.
        statements: what it may do.
    """
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "Path": "/quartet/",
            "RoleName": f"{site.title}-{name}",
            "AssumeRolePolicyDocument": trust(services, site),
            "PermissionsBoundary": {"Fn::If": ["Bounded", reference("BoundaryArn"), reference("AWS::NoValue")]},
            "Policies": [{"PolicyName": name, "PolicyDocument": document(statements)}],
        },
    }


def log_group(name: str) -> Resource:
    """A log group that forgets, as long as the stack says."""
    properties = {"LogGroupName": name, "RetentionInDays": reference("LogRetentionDays")}
    return {"Type": "AWS::Logs::LogGroup", "Properties": properties, **kept("Delete")}


def kept(policy: str) -> dict[str, str]:
    """What becomes of a resource when it leaves the stack."""
    return {"DeletionPolicy": policy, "UpdateReplacePolicy": policy}


def location(uri: str) -> dict[str, str]:
    """An S3 uri as bucket and key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def state_machine(
    site: Site, name: str, definition: str, logs: str, role_name: str, holes: Sequence[str] = ()
) -> Resource:
    """A state machine that logs its failures, with the data left out: inputs hold uris of people's data.

    Args:
        site: where the use case lives.
        name: what the machine does, a word.
        definition: the uri of its definition.
        logs: its log group.
        role_name: the role that it works under.
        holes: resources whose `Ref` the definition holds, as `${name}`.
    """
    filled = {"DefinitionSubstitutions": {hole: reference(hole) for hole in holes}} if holes else {}
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "StateMachineName": f"{site.title}-{name}",
            "StateMachineType": "STANDARD",
            "RoleArn": attribute(role_name),
            "DefinitionS3Location": location(definition),
            **filled,
            "LoggingConfiguration": {
                "Level": "ERROR",
                "IncludeExecutionData": False,
                "Destinations": [{"CloudWatchLogsLogGroup": {"LogGroupArn": attribute(logs)}}],
            },
        },
    }


def queue(name: str, **properties: Any) -> Resource:
    """A queue, encrypted."""
    return {
        "Type": "AWS::SQS::Queue",
        "Properties": {"QueueName": name, "SqsManagedSseEnabled": True, **properties},
        **kept("Delete"),
    }


def dead_letters(name: str) -> Resource:
    """A queue that keeps what could not be delivered until somebody has looked."""
    return queue(name, MessageRetentionPeriod=2 * WEEK)


def rule(site: Site, name: str, said: str, pattern: Mapping[str, Any], targets: Sequence[Resource]) -> Resource:
    """An event rule of the default bus."""
    return {
        "Type": "AWS::Events::Rule",
        "Properties": {
            "Name": f"{site.title}-{name}",
            "Description": said,
            "EventPattern": dict(pattern),
            "State": "ENABLED",
            "Targets": list(targets),
        },
    }


def target(name: str, arn: Any, role_name: str, letters: str) -> Resource:
    """A rule's target: tried for an hour, then kept in the dead-letter queue."""
    return {
        "Id": name,
        "Arn": arn,
        "RoleArn": attribute(role_name),
        "RetryPolicy": PATIENCE,
        "DeadLetterConfig": {"Arn": attribute(letters)},
    }


def schedule(
    site: Site, name: str, expression: str, zone: str, arn: Any, given: str, role_name: str, letters: str
) -> Resource:
    """A schedule of EventBridge Scheduler, which the stack's parameter switches on and off.

    Args:
        site: where the use case lives.
        name: what starts, a word.
        expression: when.
        zone: in which time zone.
        arn: what is started.
        given: its input.
        role_name: the role that starts it, and that leaves a letter in the queue when it cannot.
        letters: the dead-letter queue.
    """
    return {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "Name": f"{site.title}-{name}",
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": zone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": reference("Schedules"),
            "Target": {
                "Arn": arn,
                "RoleArn": attribute(role_name),
                "Input": given,
                "RetryPolicy": PATIENCE,
                "DeadLetterConfig": {"Arn": attribute(letters)},
            },
        },
    }


def alarm(name: str, said: str, metric: Mapping[str, Any], actions: Sequence[str]) -> Resource:
    """An alarm on a metric that counts what should not happen."""
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": name,
            "AlarmDescription": said,
            **metric,
            "Statistic": "Sum",
            "Period": 5 * MINUTES,
            "EvaluationPeriods": 1,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": list(actions),
        },
    }


def failures(arn: Any) -> Resource:
    """The metric of a state machine's failed executions."""
    dimensions = [{"Name": "StateMachineArn", "Value": arn}]
    return {"Namespace": "AWS/States", "MetricName": "ExecutionsFailed", "Dimensions": dimensions}


def failed_pipelines(pipeline: str) -> Resource:
    """The metric of a SageMaker pipeline's failed executions."""
    dimensions = [{"Name": "PipelineName", "Value": pipeline}]
    return {
        "Namespace": "AWS/Sagemaker/ModelBuildingPipeline",
        "MetricName": "ExecutionFailed",
        "Dimensions": dimensions,
    }


def letters_waiting(name: str) -> Resource:
    """The metric of what lies in a dead-letter queue."""
    dimensions = [{"Name": "QueueName", "Value": attribute(name, "QueueName")}]
    return {"Namespace": "AWS/SQS", "MetricName": "ApproximateNumberOfMessagesVisible", "Dimensions": dimensions}
