"""AWS Batch in a stack: compute environments, queues with priorities, job definitions, and the roles behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pipelines.aws.places import Site
from pipelines.batch.definitions import environment_name, execution_role, log_group, platform_of
from pipelines.cloudformation import policies
from pipelines.cloudformation.policies import allow
from pipelines.cloudformation.resources import Resource, Resources, attribute, reference, role
from pipelines.cloudformation.resources import log_group as kept_log_group
from pipelines.graph import Job
from pipelines.manifest import Manifest
from shared.errors import SettingsError, names

FREE: Final = ("options", "parameters", "tags")
"""Members of requests that are maps of people's own keys, which keep their case."""
AGENT: Final = "service-role/AmazonEC2ContainerServiceforEC2Role"
"""AWS's policy for instances on which containers run."""

LAUNCH: Final = "AWS::EC2::LaunchTemplate"
DISK: Final = "/dev/xvda"
"""The one volume of Amazon's images of Amazon Linux 2023 for ECS, which AWS Batch takes when nobody names another.

Source: "Launch template support" in the AWS Batch User Guide.
"""
SYSTEM: Final = 30
"""GB of the disk for the system and for container images, as Amazon's images have it; the jobs' come on top."""


def resources(
    site: Site, manifest: Manifest, jobs: Sequence[Job], files: Mapping[str, Any], images: Iterable[str]
) -> Resources:
    """What the jobs of a use case need on AWS Batch.

    Args:
        site: where the use case lives.
        manifest: as it is in the environment.
        jobs: those of both pipelines.
        files: what `pipelines.batch.render` gave: queues, and a pipeline's definitions.
        images: what the jobs run.

    Raises:
        SettingsError: the manifest does not say in which network the machines start.
    """
    _check_network(manifest)
    queues = files["queues"]
    definitions = [item for name in ("training", "inference") for item in files.get(name, {}).get("definitions", ())]
    environments: Resources = {}
    for name in sorted({environment_name(site, job) for job in jobs}):
        sharing = [job for job in jobs if environment_name(site, job) == name]
        environments |= _environment(site, manifest, name, sharing)
    on_machines = any(resource["Type"] == LAUNCH for resource in environments.values())
    return {
        "BatchLogs": kept_log_group(log_group(site)),
        "BatchExecutionRole": _execution_role(site, images),
        **(_instances(site) if on_machines else {}),
        **environments,
        **{_title(_kind(site, queue["jobQueueName"]), "Queue"): _queue(site, queue) for queue in queues},
        **{definition_title(site, item["jobDefinitionName"]): _definition(item) for item in definitions},
    }


def _check_network(manifest: Manifest) -> None:
    lacking = [name for name in ("subnets", "security_groups") if not getattr(manifest.batch, name)]
    if lacking:
        keys = names([f"batch.{name}" for name in lacking])
        raise SettingsError(f"the manifest has no {keys}, where AWS Batch starts machines. Name them.")


def _kind(site: Site, name: str) -> str:
    """What follows the use case in a name: `cpu`, `training-gpu`."""
    return name.removeprefix(f"{site.title}-")


def _title(kind: str, what: str) -> str:
    """A resource's name in the template: `TrainingGpuQueue`."""
    return "".join(word.capitalize() for word in re.split(r"[^a-z0-9]+", kind)) + what


def definition_title(site: Site, name: str) -> str:
    """The name in the template of a job definition."""
    return _title(_kind(site, name), "Job")


def with_revisions(site: Site, machine: bytes) -> bytes:
    """A state machine that names its jobs' definitions by holes, where the stack writes the revisions that it makes.

    By name alone a job would get the latest revision, which may have been deployed since its run has begun.
    """

    def hole(found: re.Match[str]) -> str:
        return f'{found[1]}"${{{definition_title(site, found[2])}}}"'

    return re.sub(rf'("JobDefinition": )"({re.escape(site.title)}-[^"]+)"', hole, machine.decode()).encode()


def pascal(value: Any) -> Any:
    """A request of an API whose members begin small, as CloudFormation writes it."""
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: dict(item) if key in FREE else pascal(item) for key, item in value.items()}
    return [pascal(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def _execution_role(site: Site, images: Iterable[str]) -> Resource:
    """The role that pulls the images and writes the logs."""
    logs = ["logs:CreateLogStream", "logs:PutLogEvents"]
    statements = [*policies.pulling(site, images), allow(logs, [site.arn("logs", f"log-group:{log_group(site)}:*")])]
    made = role(site, "execution", ["ecs-tasks.amazonaws.com"], statements)
    assert execution_role(site).endswith(f"/quartet/{made['Properties']['RoleName']}")
    return made


def _instances(site: Site) -> Resources:
    """What the machines themselves may: join the cluster that AWS Batch keeps for them."""
    made = role(site, "instances", ["ec2.amazonaws.com"], [])
    properties = {name: value for name, value in made["Properties"].items() if name != "Policies"}
    properties["ManagedPolicyArns"] = [f"arn:{site.partition}:iam::aws:policy/{AGENT}"]
    # EC2 takes roles for machines, not for an account's requests: it gives no source account to compare.
    for statement in properties["AssumeRolePolicyDocument"]["Statement"]:
        statement.pop("Condition")
    profile = {"Path": "/quartet/", "Roles": [reference("InstanceRole")]}
    return {
        "InstanceRole": {**made, "Properties": properties},
        "InstanceProfile": {"Type": "AWS::IAM::InstanceProfile", "Properties": profile},
    }


def _environment(site: Site, manifest: Manifest, name: str, jobs: Sequence[Job]) -> Resources:
    """A compute environment: machines that come when jobs wait and go when none do, and what they look like."""
    kind = _kind(site, name)
    spot, gpu = "spot" in kind, "gpu" in kind
    batch, launch = manifest.batch, _title(kind, "Launch")
    network = {"Subnets": list(batch.subnets), "SecurityGroupIds": list(batch.security_groups)}
    computing: dict[str, Any] = {"MaxvCpus": batch.max_vcpus, **network}
    found: Resources = {}
    if platform_of(jobs[0], batch.capacity) == "FARGATE":
        computing["Type"] = "FARGATE_SPOT" if spot else "FARGATE"
    else:
        found = {launch: _launch_template(name, jobs)}
        computing |= {
            "Type": "SPOT" if spot else "EC2",
            "MinvCpus": 0,
            "AllocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED" if spot else "BEST_FIT_PROGRESSIVE",
            "InstanceTypes": _families(jobs) if gpu else ["optimal"],
            "InstanceRole": attribute("InstanceProfile"),
            "Tags": site.tags,
            "LaunchTemplate": {
                "LaunchTemplateId": reference(launch),
                "Version": attribute(launch, "LatestVersionNumber"),
            },
        }
    properties = {
        "ComputeEnvironmentName": name,
        "Type": "MANAGED",
        "State": "ENABLED",
        # Changed in place: one that is made anew would want a name that is taken.
        "ReplaceComputeEnvironment": False,
        "ComputeResources": computing,
    }
    environment: Resource = {"Type": "AWS::Batch::ComputeEnvironment", "Properties": properties}
    return {**found, _title(kind, "Machines"): environment}


def _launch_template(name: str, jobs: Sequence[Job]) -> Resource:
    """Machines with an encrypted disk that is large enough for each job, and credentials that want a token.

    Raises:
        SettingsError: jobs that share a disk name different keys for it.
    """
    found = sorted({job.sizes.kms_key for job in jobs if job.sizes.kms_key})
    if len(found) > 1:
        raise SettingsError(
            f"kms_key of jobs that share the disks of {name} is {names(found)}, wanted one key. "
            "Name it in defaults.kms_key alone."
        )
    disk = {
        "VolumeSize": SYSTEM + max(job.sizes.volume_gb for job in jobs),
        "VolumeType": "gp3",
        "Encrypted": True,
        **({"KmsKeyId": found[0]} if found else {}),
        "DeleteOnTermination": True,
    }
    data = {
        "BlockDeviceMappings": [{"DeviceName": DISK, "Ebs": disk}],
        "MetadataOptions": {"HttpTokens": "required"},
    }
    return {"Type": LAUNCH, "Properties": {"LaunchTemplateName": name, "LaunchTemplateData": data}}


def _families(jobs: Sequence[Job]) -> list[str]:
    """The families of the instances that jobs run on, such as g5."""
    return sorted({job.sizes.instance.removeprefix("ml.").split(".")[0] for job in jobs})


def _queue(site: Site, request: Mapping[str, Any]) -> Resource:
    """A queue, with the compute environments of the stack."""
    orders = [
        {
            "Order": order["order"],
            "ComputeEnvironment": attribute(
                _title(_kind(site, order["computeEnvironment"]), "Machines"), "ComputeEnvironmentArn"
            ),
        }
        for order in request["computeEnvironmentOrder"]
    ]
    return {"Type": "AWS::Batch::JobQueue", "Properties": {**pascal(request), "ComputeEnvironmentOrder": orders}}


def _definition(request: Mapping[str, Any]) -> Resource:
    """A job definition. What the definition before it was stays active, so that a run in progress ends as it began."""
    kept = {"ResourceRetentionPolicy": {"SkipDeregisterOnUpdate": True}}
    return {"Type": "AWS::Batch::JobDefinition", "Properties": {**pascal(request), **kept}}
