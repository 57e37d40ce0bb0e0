"""What each role of a use case may do: the least that its part of the work needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pipelines.aws.places import Site
from pipelines.graph import Job
from pipelines.manifest import Manifest
from pipelines.periods import kind_of
from pipelines.stepfunctions.jobs import TUNING_PREFIX

Statement = dict[str, Any]
VERSION: Final = "2012-10-17"
REPOSITORY: Final = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<name>[^@:]+)"
)
"""An image of ECR, without digest or tag."""

TUNING: Final = "HyperParameterTuningJob"
RESOURCES: Final = {
    "ProcessingJob": "processing-job",
    "TrainingJob": "training-job",
    TUNING: "hyper-parameter-tuning-job",
    "TransformJob": "transform-job",
}
"""The kinds of SageMaker's jobs, and what their ARNs begin with."""


def allow(actions: Sequence[str], resources: Sequence[Any] | str, **condition: Any) -> Statement:
    """One statement of a policy.

    Args:
        actions: such as s3:GetObject.
        resources: ARNs, or `*` for actions that take none.
        condition: operators of conditions, by name.
    """
    statement: Statement = {"Effect": "Allow", "Action": sorted(actions), "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement


def document(statements: Sequence[Statement]) -> dict[str, Any]:
    """A policy document."""
    return {"Version": VERSION, "Statement": list(statements)}


def trust(services: Sequence[str], site: Site) -> dict[str, Any]:
    """Who may take a role: services, on behalf of this account alone (the confused deputy's remedy)."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": sorted(services)},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": site.account}},
    }
    return document([statement])


def passing(site: Site, role: Any, service: str) -> Statement:
    """Handing a role to a service."""
    return allow(["iam:PassRole"], [role], StringEquals={"iam:PassedToService": service})


def reading(site: Site, uris: Sequence[str]) -> list[Statement]:
    """Reading what lies below some S3 uris; a placeholder and what follows it stand for anything.

    The whole bucket may be listed: which requests SageMaker makes before it reads is not documented, and those about
    the bucket itself have no prefix; nor has GetObject, and only who may list is told by S3 that a key does not exist,
    which machines have to know.
    """
    buckets = sorted({bucket for bucket, _ in map(_prefix, uris)})
    return [
        allow(["s3:GetBucketLocation", "s3:ListBucket"], [f"arn:{site.partition}:s3:::{bucket}" for bucket in buckets]),
        _objects(site, uris),
    ]


def reading_ours(site: Site, uris: Sequence[str]) -> list[Statement]:
    """The same for programs of ours, which list nothing but what lies below the uris."""
    return [*_listing(site, uris), _objects(site, uris)]


def _objects(site: Site, uris: Sequence[str]) -> Statement:
    """Getting the objects below some S3 uris."""
    prefixes = sorted({_prefix(uri) for uri in uris})
    return allow(["s3:GetObject"], [f"arn:{site.partition}:s3:::{bucket}/{prefix}*" for bucket, prefix in prefixes])


def _listing(site: Site, uris: Sequence[str]) -> Iterator[Statement]:
    """Listing what lies below some S3 uris, a folder with its closing slash and without; one statement a bucket."""
    by_bucket: dict[str, set[str]] = {}
    for bucket, prefix in map(_prefix, uris):
        by_bucket.setdefault(bucket, set()).update([f"{prefix}*"] + [prefix[:-1]] * prefix.endswith("/"))
    for bucket, prefixes in sorted(by_bucket.items()):
        # A request for a whole bucket need not say that its prefix is empty.
        condition = {} if "*" in prefixes else {"StringLike": {"s3:prefix": sorted(prefixes)}}
        yield allow(["s3:ListBucket"], [f"arn:{site.partition}:s3:::{bucket}"], **condition)


def writing(site: Site, uris: Iterable[str]) -> Statement:
    """Writing below some S3 uris."""
    resources = [f"arn:{site.partition}:s3:::{bucket}/{prefix}*" for bucket, prefix in sorted(map(_prefix, set(uris)))]
    return allow(["s3:AbortMultipartUpload", "s3:PutObject"], resources)


def listing(site: Site, manifest: Manifest) -> list[Statement]:
    """Listing the files of a window that ends with a period which the manifest does not list: looking, and writing."""
    policy = manifest.drift
    counted = policy is not None and policy.with_ is not None and policy.with_.periods is not None
    if not counted or kind_of(manifest.data.known_periods) is None:
        return []
    return [*_listing(site, [site.path(manifest.data.train.uri)]), writing(site, [f"{site.storage}/config/"])]


def _prefix(uri: str) -> tuple[str, str]:
    """Bucket and fixed beginning of the keys of an S3 uri."""
    bucket, _, key = uri.partition("{")[0].removeprefix("s3://").partition("/")
    return bucket, key


def data_uris(site: Site, manifest: Manifest) -> list[str]:
    """Where the manifest's raw data lie."""
    data = manifest.data
    retraining = manifest.drift.with_.uri if manifest.drift and manifest.drift.with_ else None
    given = [source.uri for source in (data.train, data.score, data.labels) if source is not None]
    return [site.path(uri) for uri in [*given, *([retraining] if retraining else [])]]


def pulling(site: Site, images: Iterable[str]) -> list[Statement]:
    """Pulling images from the repositories that hold them."""
    found = [match for image in sorted(set(images)) if (match := REPOSITORY.match(image))]
    arns = [f"arn:{site.partition}:ecr:{m['region']}:{m['account']}:repository/{m['name']}" for m in found]
    if not arns:
        return []
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    # The one call that cannot be limited to a repository.
    return [allow(["ecr:GetAuthorizationToken"], "*"), allow(pull, sorted(set(arns)))]


def keys(manifest: Manifest) -> list[Statement]:
    """Using the keys that the manifest names for volumes and data."""
    components = manifest.components
    parts = [getattr(components, name) for name in type(components).model_fields]
    every = [manifest.defaults, *(mode for part in parts for mode in (part.train, part.serve))]
    arns = sorted({part.kms_key for part in every if part.kms_key and part.kms_key.startswith("arn:")})
    return [allow(["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"], arns)] if arns else []


def written(site: Site) -> list[str]:
    """Where jobs write: below the storage, and where the manifest sends the scores."""
    return [f"{site.storage}/", *([f"{site.scores}/"] if site.scores else [])]


def jobs(site: Site, manifest: Manifest, images: Iterable[str], platform: str) -> list[Statement]:
    """What the role of the jobs may: read the data, write below the storage, pull the images, log.

    On AWS Batch our own images copy what a job reads and writes; elsewhere SageMaker does.
    """
    read = reading_ours if platform == "batch" else reading
    logs = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    return [
        *read(site, [*written(site), *data_uris(site, manifest)]),
        writing(site, written(site)),
        *pulling(site, images),
        *keys(manifest),
        allow(logs, [site.arn("logs", "log-group:/aws/sagemaker/*")]),
        allow(["cloudwatch:PutMetricData"], "*", StringLike={"cloudwatch:namespace": ["/aws/sagemaker/*"]}),
    ]


def sagemaker_jobs(site: Site, jobs: Iterable[Job], names: str, models: Sequence[str]) -> list[Statement]:
    """Starting and watching the kinds of SageMaker jobs that there are.

    The trainings of a tuning are not ours to start: its service does that.

    Args:
        site: where the use case lives.
        jobs: those of one pipeline or of several.
        names: what the names of jobs and models begin with.
        models: what is done with the model of a transform job: Create, …
    """
    kinds = {job.operation.removeprefix("Create") for job in jobs}
    arns: dict[str, str] = {}
    found: list[Statement] = []
    for kind, resource in RESOURCES.items():
        if kind in kinds:
            beginning = names[:TUNING_PREFIX] if kind == TUNING else names
            arns[kind] = site.arn("sagemaker", f"{resource}/{beginning}*")
            found.append(allow([f"sagemaker:{verb}{kind}" for verb in ("Create", "Describe", "Stop")], [arns[kind]]))
    if TUNING in arns:  # which training was the best, and why one has failed
        found.append(allow(["sagemaker:ListTrainingJobsForHyperParameterTuningJob"], [arns[TUNING]]))
    if "TransformJob" in arns:
        arns["Model"] = site.arn("sagemaker", f"model/{names}*")
        found.append(allow([f"sagemaker:{verb}Model" for verb in models], [arns["Model"]]))
    return [
        *found,
        allow(["sagemaker:AddTags", "sagemaker:ListTags"], list(arns.values())),
        passing(site, site.role, "sagemaker.amazonaws.com"),
    ]


def pointer(site: Site, *, moves: bool) -> Statement:
    """Reading, and perhaps moving, the pointer to the release in use."""
    actions = ["ssm:GetParameter", *(["ssm:PutParameter"] if moves else [])]
    return allow(actions, [site.arn("ssm", f"parameter{site.pointer}")])


def watched(site: Site, rules: Sequence[str]) -> Statement:
    """The rules that Step Functions makes for itself to hear of the end of what it started (`.sync`)."""
    return allow(
        ["events:DescribeRule", "events:PutRule", "events:PutTargets"],
        [site.arn("events", f"rule/{rule}") for rule in rules],
    )


def state_machine_logs() -> Statement:
    """Delivering a state machine's log: actions that take no resource."""
    return allow(
        [
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
            "logs:GetLogDelivery",
            "logs:ListLogDeliveries",
            "logs:PutResourcePolicy",
            "logs:UpdateLogDelivery",
        ],
        "*",
    )
