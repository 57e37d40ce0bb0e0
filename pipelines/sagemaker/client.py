"""Sets rendered pipelines to work: stores what they need, creates or updates them, starts them and awaits their end.

Every function takes `connect`, which gives a boto3 client by the service's name:

    connect = boto3.Session(region_name=site.region).client
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipelines.aws.calls import Connect, RunFailedError, asking
from pipelines.aws.places import Rendered, Site
from pipelines.aws.releases import current_release, release_parameters
from pipelines.aws.uploads import store
from pipelines.sagemaker.printer import FILES, read_definition
from shared.errors import EXIT_INTERNAL, SettingsError, did_you_mean, names
from shared.release import NO_PARENT

ENDED: Final = frozenset({"Succeeded", "Failed", "Stopped"})
POLL: Final = 15.0
"""Seconds between two questions for how a run goes on."""


@dataclass(frozen=True)
class Step:
    """What became of a step."""

    name: str
    status: str
    reason: str = ""


@dataclass(frozen=True)
class Ended:
    """A run that ended well."""

    execution: str
    steps: tuple[Step, ...]

    @property
    def run(self) -> str:
        """The run's id, as it stands in the names of what the run has stored."""
        return self.execution.rpartition("/")[2]


def pipeline_name(site: Site, pipeline: str) -> str:
    """What a pipeline is called: `quartet-flights-training`, or `quartet-flights-prod-training` in an environment."""
    return f"{site.title}-{pipeline}"


# --- Deploying


def upsert(connect: Connect, site: Site, rendered: Rendered, role: str | None = None) -> dict[str, str]:
    """Create the pipelines that are not there, and update the others; the ARN of each by its name.

    Args:
        connect: gives clients.
        site: where the use case lives.
        rendered: what `render` gave.
        role: the role that the pipelines run under; the jobs' own where there is no other.

    Raises:
        CloudError: AWS refuses.
    """
    store(connect, rendered.uploads)
    client = connect("sagemaker")
    made = {}
    for pipeline, file in FILES.items():
        if file in rendered.files:
            name = pipeline_name(site, pipeline)
            body = {"PipelineDefinition": rendered.files[file].decode(), "RoleArn": role or site.role}
            made[name] = _upserted(client, name, body)
    return made


def _upserted(client: Any, name: str, body: Mapping[str, str]) -> str:
    """Update a pipeline, or create it when there is none."""
    with asking(f"pipeline {name}"):
        try:
            return str(client.update_pipeline(PipelineName=name, **body)["PipelineArn"])
        except client.exceptions.ResourceNotFound:
            token = hashlib.sha256(f"{name} {body}".encode()).hexdigest()
            made = client.create_pipeline(PipelineName=name, ClientRequestToken=token, **body)
            return str(made["PipelineArn"])


# --- Starting


def start(
    connect: Connect,
    site: Site,
    pipeline: str,
    parameters: Mapping[str, str] | None = None,
    key: str | None = None,
) -> str:
    """Start a pipeline; the ARN of its execution.

    Args:
        connect: gives clients.
        site: where the use case lives.
        pipeline: `training` or `inference`.
        parameters: values for the pipeline's parameters. Those of the release are looked up.
        key: the same key starts the same run once, however often it is asked for.

    Raises:
        SettingsError: the pipeline has no such parameter, or wants one that is not given.
        DataError: inference has no release to work with.
        CloudError: AWS refuses.
    """
    client = connect("sagemaker")
    name = pipeline_name(site, pipeline)
    with asking(f"pipeline {name}"):
        try:
            found = client.describe_pipeline(PipelineName=name)["PipelineDefinition"]
        except client.exceptions.ResourceNotFound:
            raise SettingsError(f"pipeline {name!r} does not exist in {site.region}. Deploy the use case.") from None
    declared = {item["Name"]: item.get("DefaultValue") for item in read_definition(found.encode())["Parameters"]}
    if pipeline == "training":
        looked_up = {"Parent": current_release(connect, site) or NO_PARENT}
    else:
        looked_up = release_parameters(connect, site)
    values = {**{name: value for name, value in looked_up.items() if name in declared}, **(parameters or {})}
    _check_parameters(pipeline, declared, values)
    token = hashlib.sha256(f"{name} {key}".encode()).hexdigest() if key else uuid.uuid4().hex
    with asking(f"start of {name}"):
        answer = client.start_pipeline_execution(
            PipelineName=name,
            PipelineParameters=[{"Name": name, "Value": value} for name, value in sorted(values.items())],
            ClientRequestToken=token,
        )
    return str(answer["PipelineExecutionArn"])


def _check_parameters(pipeline: str, declared: Mapping[str, str | None], values: Mapping[str, str]) -> None:
    for name in values:
        if name not in declared:
            hint = did_you_mean(name, declared) or f" It has {names(declared)}."
            raise SettingsError(f"the {pipeline} pipeline has no parameter {name!r}.{hint}")
    lacking = [name for name, default in declared.items() if default is None and name not in values]
    if lacking:
        raise SettingsError(f"the {pipeline} pipeline wants {names(lacking)}, which nobody has given. Name a value.")


# --- Waiting


def wait(
    connect: Connect,
    execution: str,
    poll: float = POLL,
    tell: Callable[[Step], None] = lambda step: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Ended:
    """Wait for the end of a run.

    Args:
        connect: gives clients.
        execution: the ARN that `start` gave.
        poll: seconds between two questions.
        tell: is told each step whose status has changed.
        sleep: waits.

    Raises:
        RunFailedError: a step failed, or somebody stopped the run.
        CloudError: AWS refuses.
    """
    client = connect("sagemaker")
    known: dict[str, str] = {}
    while True:
        with asking(f"execution {execution}"):
            answer = client.describe_pipeline_execution(PipelineExecutionArn=execution)
            found = _steps(client, execution)
        for step in found:
            if known.get(step.name) != step.status:
                known[step.name] = step.status
                tell(step)
        if answer["PipelineExecutionStatus"] in ENDED:
            return _ended(execution, answer, found)
        sleep(poll)


def _ended(execution: str, answer: Mapping[str, Any], steps: tuple[Step, ...]) -> Ended:
    status = answer["PipelineExecutionStatus"]
    if status == "Succeeded":
        return Ended(execution, steps)
    failed = [step for step in steps if step.status == "Failed"]
    reason = "; ".join(f"step {step.name} failed: {step.reason}" for step in failed)
    reason = reason or answer.get("FailureReason") or "somebody stopped it"
    code = re.search(r"exit code: (\d+)", reason)
    raise RunFailedError(f"{execution} has {status.lower()}: {reason}", int(code[1]) if code else EXIT_INTERNAL)


def _steps(client: Any, execution: str) -> tuple[Step, ...]:
    """The steps of a run so far, in the order in which they started."""
    pages = client.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=execution, SortOrder="Ascending"
    )
    found = (item for page in pages for item in page["PipelineExecutionSteps"])
    return tuple(Step(item["StepName"], item["StepStatus"], _reason(client, item)) for item in found)


def _reason(client: Any, item: Mapping[str, Any]) -> str:
    """Why a step failed. What a processing job says of itself stands in its own description alone.

    A tuning job says that its trainings have failed, and each of them says why.
    """
    if item["StepStatus"] != "Failed":
        return ""
    reason = str(item.get("FailureReason", ""))
    metadata = item.get("Metadata", {})
    tuning = metadata.get("TuningJob", {}).get("Arn", "").rpartition("/")[2]
    if tuning:
        return _with_training(client, tuning, reason)
    job = metadata.get("ProcessingJob", {}).get("Arn", "").rpartition("/")[2]
    message = client.describe_processing_job(ProcessingJobName=job).get("ExitMessage") if job else None
    return f"{message} ({reason})" if message else reason


def _with_training(client: Any, tuning: str, reason: str) -> str:
    """The reason of a tuning job's failure, and that of one of its trainings that have failed."""
    request = {"HyperParameterTuningJobName": tuning, "StatusEquals": "Failed", "MaxResults": 1}
    found = client.list_training_jobs_for_hyper_parameter_tuning_job(**request)["TrainingJobSummaries"]
    own = [f"{training['TrainingJobName']}: {training.get('FailureReason', 'no reason given')}" for training in found]
    return "; ".join([reason, *own])
