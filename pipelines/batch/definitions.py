"""Job definitions and queues, as RegisterJobDefinition and CreateJobQueue want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pipelines.aws.places import Site
from pipelines.batch.limits import LEAST_SECONDS, attempts
from pipelines.batch.machines import Machine, Platform, disk, instance, on
from pipelines.graph import Job, Request

PRIORITIES: Final = {"inference": 10, "training": 1}
"""What is scored goes before what is learnt: somebody waits for it."""
LOST: Final = {"EC2": "Host EC2*", "FARGATE": "Your Spot Task was interrupted*"}
"""How a job's status reason begins when its machine was taken away."""
MACHINES_LOST: Final = 3
"""How often a job on spot machines is tried again when they are taken away, where the manifest has no `retries`."""
SHARED_MEMORY: Final = 4
"""One part in so many of the memory is shared memory: torch's loaders hand batches over in it."""


def machine_of(job: Job, platform: Platform) -> Machine:
    """What a job asks for."""
    return on(platform, instance(job.sizes.instance), job.sizes.instance)


def platform_of(job: Job, platform: Platform) -> Platform:
    """Where a job runs: one that wants GPUs on EC2, for Fargate has none."""
    return "EC2" if instance(job.sizes.instance).gpus else platform


def definition_name(site: Site, pipeline: str, step: str) -> str:
    """What a step's definition, and its jobs before the run's id, are called."""
    return f"{site.title}-{pipeline}-{step}"


def queue_name(site: Site, pipeline: str, job: Job) -> str:
    """The queue that a job waits in: one a pipeline and kind of machine."""
    return f"{site.title}-{pipeline}{_kind(job)}"


def _kind(job: Job) -> str:
    gpu = "-gpu" if instance(job.sizes.instance).gpus else ""
    return f"{gpu}{'-spot' if job.sizes.spot else ''}"


def log_group(site: Site) -> str:
    """The log group of all jobs."""
    return f"/quartet{site.parameters}/batch"


def execution_role(site: Site) -> str:
    """The role that pulls images and writes logs for the jobs; they themselves run under the manifest's."""
    return f"arn:{site.partition}:iam::{site.account}:role/quartet/{site.title}-execution"


def definition(
    site: Site, pipeline: str, job: Job, image: str, command: Sequence[str], defaults: Mapping[str, str],
    platform: Platform,
) -> Request:  # fmt: skip
    """RegisterJobDefinition of a step.

    Args:
        site: where the use case lives.
        pipeline: `training` or `inference`.
        job: the step.
        image: by digest.
        command: what the image's own program is told.
        defaults: values of parameters that a submission may leave out.
        platform: where jobs run that want no GPU.

    Raises:
        SettingsError: the step wants what AWS Batch does not have.
    """
    where = platform_of(job, platform)
    tags = {**site.tags, "quartet:step": f"{pipeline}/{job.name}", **job.sizes.tags}
    return {
        "jobDefinitionName": definition_name(site, pipeline, job.name),
        "type": "container",
        "platformCapabilities": [where],
        "parameters": dict(defaults),
        "containerProperties": {
            "image": image,
            "command": list(command),
            "jobRoleArn": site.role,
            "executionRoleArn": execution_role(site),
            "resourceRequirements": machine_of(job, where).requirements(),
            "environment": [{"name": "AWS_REGION", "value": site.region}],
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": log_group(site),
                    "awslogs-region": site.region,
                    "awslogs-stream-prefix": f"{pipeline}/{job.name}",
                },
            },
            **_on_platform(job, where),
        },
        "retryStrategy": retry_strategy(job, where),
        "timeout": {"attemptDurationSeconds": max(LEAST_SECONDS, job.sizes.max_runtime)},
        "propagateTags": True,
        "tags": tags,
    }


def _on_platform(job: Job, platform: Platform) -> Request:
    """What only one of the platforms knows."""
    if platform == "EC2":
        return {"linuxParameters": {"sharedMemorySize": machine_of(job, platform).memory // SHARED_MEMORY}}
    return {
        "fargatePlatformConfiguration": {"platformVersion": "LATEST"},
        # Without an address of its own it reaches S3 by an endpoint or NAT, as the subnets have it.
        "networkConfiguration": {"assignPublicIp": "DISABLED"},
        "ephemeralStorage": {"sizeInGiB": disk(job.sizes.volume_gb)},
    }


def retry_strategy(job: Job, platform: Platform) -> Request:
    """Again when the machine was lost or the fault was ours or the network's; never for settings (2) and data (3).

    Spot machines are lost every day: a job that is not to be tried again is tried again for that alone.

    The first rule that fits counts, and a job that none fits would be tried again: hence the last one.
    """
    fault = [{"onExitCode": "1", "action": "RETRY"}] if job.retries else []
    return {
        "attempts": attempts(job.retries or (MACHINES_LOST if job.sizes.spot else 0), job.name),
        "evaluateOnExit": [
            {"onExitCode": "2", "action": "EXIT"},
            {"onExitCode": "3", "action": "EXIT"},
            {"onStatusReason": LOST[platform], "action": "RETRY"},
            *fault,
            {"onReason": "*", "action": "EXIT"},
        ],
    }


def queues(site: Site, jobs: Mapping[str, Sequence[Job]]) -> list[Request]:
    """CreateJobQueue of each queue that some jobs wait in; the compute environments are the deployment's.

    Args:
        site: where the use case lives.
        jobs: by pipeline.
    """
    found = {
        queue_name(site, pipeline, job): {
            "jobQueueName": queue_name(site, pipeline, job),
            "state": "ENABLED",
            "priority": PRIORITIES[pipeline],
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": environment_name(site, job)}],
            "tags": site.tags,
        }
        for pipeline, every in jobs.items()
        for job in every
    }
    return [found[name] for name in sorted(found)]


def environment_name(site: Site, job: Job) -> str:
    """The compute environment that a job runs in: pipelines share it, and the queues' priorities say who goes first."""
    return f"{site.title}{_kind(job) or '-cpu'}"
