"""Sets a rendering for AWS Batch to work: registers it, submits a pipeline's jobs, awaits them and does what follows.

What only an engine with conditions of its own could do alone, the one who waits does here: a training whose gates are
met moves the pointer, an inference whose data have drifted tells EventBridge.

Every function takes `connect`, which gives a boto3 client by the service's name:

    connect = boto3.Session(region_name=site.region).client
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipelines.aws.calls import CloudError, Connect, RunFailedError, asking
from pipelines.aws.executions import first_failed
from pipelines.aws.places import NO_PERIOD, Rendered, Site, object_of
from pipelines.aws.releases import Releases, current_release, release_parameters
from pipelines.aws.uploads import store
from pipelines.batch.limits import check_submission
from pipelines.batch.printer import FILES, QUEUES, check_run, read_pipeline
from pipelines.graph import PARTS
from pipelines.manifest import Data
from shared.errors import EXIT_INTERNAL, SettingsError, did_you_mean, names
from shared.release import NO_PARENT, VERDICT

DIGEST_TAG: Final = "quartet:digest"
"""A tag of a definition: what was registered, so that the same is not registered again."""
ENDED: Final = frozenset({"SUCCEEDED", "FAILED"})
POLL: Final = 15.0
"""Seconds between two questions for how a run goes on."""
DRIFT_REPORT: Final = "monitoring/report/drift.json"


@dataclass(frozen=True)
class Submitted:
    """A run that was started.

    Attributes:
        pipeline: `training` or `inference`.
        run: its id.
        parameters: what its jobs were given.
        jobs: the id of each step's job.
    """

    pipeline: str
    run: str
    parameters: Mapping[str, str]
    jobs: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What followed from a run.

    Attributes:
        verdict: verdict.json of a training, drift.json of an inference; empty when the step is switched off.
        promoted: whether the pointer was moved.
        drifted: whether EventBridge was told of drift.
    """

    submitted: Submitted
    verdict: Mapping[str, Any] = field(default_factory=dict)
    promoted: bool = False
    drifted: bool = False


# --- Deploying


def deploy(connect: Connect, rendered: Rendered) -> list[str]:
    """Store what the jobs read, and register those definitions that are not there yet; the ARNs of the new ones.

    Queues and compute environments are not made here: they belong to the deployment.

    Raises:
        CloudError: AWS refuses.
    """
    store(connect, rendered.uploads)
    client = connect("batch")
    return [
        arn
        for name in FILES.values()
        if name in rendered.files
        for request in read_pipeline(rendered.files[name])["definitions"]
        if (arn := _registered(client, request)) is not None
    ]


def _registered(client: Any, request: Mapping[str, Any]) -> str | None:
    """Register a definition; None when the latest one of its name is the same."""
    name = request["jobDefinitionName"]
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    if _latest(client, name).get("tags", {}).get(DIGEST_TAG) == digest:
        return None
    with asking(f"job definition {name}"):
        answer = client.register_job_definition(**{**request, "tags": {**request["tags"], DIGEST_TAG: digest}})
    return str(answer["jobDefinitionArn"])


def _latest(client: Any, name: str) -> Mapping[str, Any]:
    """The latest revision of a definition; empty when there is none."""
    with asking(f"job definition {name}"):
        pages = client.get_paginator("describe_job_definitions").paginate(jobDefinitionName=name, status="ACTIVE")
        found = [item for page in pages for item in page["jobDefinitions"]]
    return max(found, key=lambda item: int(item["revision"]), default={})


def make_queues(connect: Connect, rendered: Rendered) -> list[str]:
    """Make the queues that are not there; their names. Where a stack makes them, it need not be called.

    Raises:
        CloudError: AWS refuses, for example because a compute environment is missing.
    """
    client = connect("batch")
    made = []
    for request in json.loads(rendered.files[QUEUES]):
        name = request["jobQueueName"]
        with asking(f"job queue {name}"):
            if not client.describe_job_queues(jobQueues=[name])["jobQueues"]:
                client.create_job_queue(**request)
                made.append(name)
    return made


# --- Starting


def start(
    connect: Connect,
    site: Site,
    rendered: Rendered,
    pipeline: str,
    run: str,
    parameters: Mapping[str, str] | None = None,
) -> Submitted:
    """Submit the jobs of a pipeline, each after those that it depends on.

    Args:
        connect: gives clients.
        site: where the use case lives.
        rendered: what was deployed.
        pipeline: `training` or `inference`.
        run: an id that no other run has.
        parameters: values for the pipeline's parameters. Those of the release are looked up.

    Raises:
        SettingsError: the pipeline has no such parameter, wants one that is not given, a job is too long, or its
            definition is not deployed.
        DataError: inference has no release to work with.
        CloudError: AWS refuses; what was submitted is cancelled.
    """
    if FILES.get(pipeline) not in rendered.files:
        raise SettingsError(f"pipeline {pipeline!r} was not rendered. The manifest has no data for it.")
    plan = read_pipeline(rendered.files[FILES[pipeline]])
    values = {"Run": check_run(run), **run_values(connect, site, pipeline, plan["parameters"], parameters or {})}
    definitions = {item["jobDefinitionName"]: item for item in plan["definitions"]}
    client = connect("batch")
    # All at once: what is deployed while the jobs are submitted belongs to the next run.
    revisions = {name: _revision(client, name) for name in definitions}
    jobs: dict[str, str] = {}
    for item in plan["jobs"]:
        request = submission(item, values, jobs)
        check_submission(request, definitions[request["jobDefinition"]])
        request["jobDefinition"] = revisions[request["jobDefinition"]]
        try:
            with asking(f"job {request['jobName']}"):
                jobs[item["step"]] = str(client.submit_job(**request)["jobId"])
        except CloudError as error:
            cancel(connect, jobs.values(), f"the pipeline could not be submitted: {error}")
            raise
    return Submitted(pipeline, run, values, jobs)


def _revision(client: Any, name: str) -> str:
    """The ARN of a definition's latest revision.

    Raises:
        SettingsError: there is none.
    """
    found = _latest(client, name)
    if not found:
        raise SettingsError(f"job definition {name!r} does not exist. Deploy the use case.")
    return str(found["jobDefinitionArn"])


def run_values(
    connect: Connect, site: Site, pipeline: str, declared: Mapping[str, str | None], given: Mapping[str, str]
) -> dict[str, str]:
    """The value of each parameter: as given, looked up, or the default.

    Raises:
        SettingsError: a name is unknown, or a value is missing.
    """
    for name in given:
        if name not in declared:
            hint = did_you_mean(name, declared) or f" It has {names(declared)}."
            raise SettingsError(f"the {pipeline} pipeline has no parameter {name!r}.{hint}")
    if pipeline == "training":
        looked_up = {"Parent": current_release(connect, site) or NO_PARENT}
    elif {part.capitalize() for part in PARTS} & set(declared) <= set(given):
        looked_up = {}
    else:
        looked_up = release_parameters(connect, site)
    values = {**declared, **looked_up, **given}
    lacking = [name for name in declared if not values[name]]
    if lacking:
        raise SettingsError(f"the {pipeline} pipeline wants {names(lacking)}, which nobody has given. Name a value.")
    return {name: str(values[name]) for name in declared}


def submission(item: Mapping[str, Any], values: Mapping[str, str], jobs: Mapping[str, str]) -> dict[str, Any]:
    """SubmitJob of one of a pipeline's jobs in a run."""
    request = dict(item["request"])
    request["jobName"] = f"{request['jobName']}-{values['Run']}"
    request["parameters"] = {name: values[name] for name in item["parameters"]}
    if item["after"]:
        request["dependsOn"] = [{"jobId": jobs[step]} for step in item["after"]]
    return request


def period_parameters(site: Site, data: Data, period: str) -> dict[str, str]:
    """What the inference pipeline is given for a period: its name, and what to score when the uri has it.

    Labels are left out: whoever starts knows whether they are there.
    """
    assert data.score is not None
    return {"Period": period, "ScoreData": site.path(data.score.uri).replace("{period}", period)}


def cancel(connect: Connect, jobs: Sequence[str] | Any, reason: str) -> None:
    """End jobs that wait or run, without complaint about those that have ended.

    Raises:
        CloudError: AWS refuses.
    """
    client = connect("batch")
    for job in jobs:
        with asking(f"job {job}"):
            client.terminate_job(jobId=job, reason=reason[:1024])


# --- Waiting


def wait(
    connect: Connect,
    site: Site,
    submitted: Submitted,
    poll: float = POLL,
    tell: Callable[[str, str], None] = lambda step, status: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for the end of a run.

    Args:
        connect: gives clients.
        site: where the use case lives.
        submitted: the run.
        poll: seconds between two questions.
        tell: is told each step whose status has changed, and the status.
        sleep: waits.

    Raises:
        RunFailedError: a step failed; the others were ended.
        CloudError: AWS refuses.
    """
    known: dict[str, str] = {}
    while True:
        found = _described(connect, submitted)
        for step, job in found.items():
            if known.get(step) != job["status"]:
                known[step] = job["status"]
                tell(step, job["status"])
        failed = first_failed(found)
        if failed is not None:
            left = [job["jobId"] for job in found.values() if job["status"] not in ENDED]
            cancel(connect, left, f"step {failed} failed")
            raise failure(connect, site, submitted, failed, found[failed])
        if all(job["status"] in ENDED for job in found.values()):
            return
        sleep(poll)


def _described(connect: Connect, submitted: Submitted) -> dict[str, Mapping[str, Any]]:
    """What DescribeJobs answers of each step, in the order of the pipeline."""
    client = connect("batch")
    with asking(f"jobs of run {submitted.run}"):
        answer = client.describe_jobs(jobs=list(submitted.jobs.values()))["jobs"]
    by_id = {job["jobId"]: job for job in answer}
    lacking = [step for step, job in submitted.jobs.items() if job not in by_id]
    if lacking:
        raise CloudError(f"run {submitted.run}: AWS Batch knows no job of {names(lacking)} any more.")
    return {step: by_id[job] for step, job in submitted.jobs.items()}


def failure(
    connect: Connect, site: Site, submitted: Submitted, step: str, job: Mapping[str, Any]
) -> RunFailedError:  # fmt: skip
    """A step's failure: what its program wrote of it, else what AWS Batch says."""
    container = job.get("container") or {}
    code = container.get("exitCode")
    folder = f"{site.storage}/{submitted.pipeline}/{submitted.run}/{step}"
    said = next(told(connect, f"{folder}/failure"), "")
    reason = said or container.get("reason") or job.get("statusReason") or "AWS Batch does not say why"
    with_code = f" (exit code {code})" if code is not None else ""
    text = f"run {submitted.run}: step {step} failed{with_code}: {reason}\n  log: {log_of(job)}"
    return RunFailedError(text, int(code) if code else EXIT_INTERNAL)


def told(connect: Connect, prefix: str) -> Iterator[str]:
    """What jobs that failed have written: one object, or one of each child of an array."""
    s3 = connect("s3")
    bucket, key = object_of(prefix)
    with asking(f"read {prefix}"):
        for item in s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", ()):
            yield s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode("utf-8", "replace").strip()


def log_of(job: Mapping[str, Any]) -> str:
    """Where a job's log is."""
    stream = (job.get("container") or {}).get("logStreamName")
    return str(stream) if stream else "the job has none, so its program was never started"


# --- What follows


def finish(connect: Connect, site: Site, submitted: Submitted) -> Outcome:
    """Do what follows from a run that has ended well: move the pointer, or tell of drift.

    Raises:
        CloudError: AWS refuses.
    """
    if submitted.pipeline == "training":
        verdict = json_at(connect, f"{site.storage}/releases/{submitted.run}/{VERDICT}") or {}
        if verdict.get("promote"):
            releases = Releases(connect, site)
            releases.promote(releases.read(submitted.run))
        return Outcome(submitted, verdict, promoted=bool(verdict.get("promote")))
    uri = f"{site.storage}/inference/{submitted.run}/{DRIFT_REPORT}"
    verdict = json_at(connect, uri) or {}
    if verdict.get("detected"):
        tell_of_drift(connect, site, submitted, uri)
    return Outcome(submitted, verdict, drifted=bool(verdict.get("detected")))


def tell_of_drift(connect: Connect, site: Site, submitted: Submitted, verdict: str) -> None:
    """Put the event that a retraining may follow from.

    Raises:
        CloudError: EventBridge does not take it.
    """
    detail = {
        "useCase": site.name,
        "environment": site.environment or "",
        "run": submitted.run,
        "period": submitted.parameters.get("Period", NO_PERIOD),
        "verdict": verdict,
    }
    entry = {"Source": "quartet", "DetailType": "Drift", "Detail": json.dumps(detail, sort_keys=True)}
    with asking("event Drift"):
        answer = connect("events").put_events(Entries=[entry])
    if answer.get("FailedEntryCount"):
        told_back = answer["Entries"][0]
        raise CloudError(f"event Drift: AWS answers {told_back.get('ErrorCode')}: {told_back.get('ErrorMessage')}")


def json_at(connect: Connect, uri: str) -> dict[str, Any] | None:
    """The JSON object that lies at a uri; None when nothing does.

    Raises:
        CloudError: S3 refuses.
    """
    s3 = connect("s3")
    bucket, key = object_of(uri)
    with asking(f"read {uri}"):
        try:
            value: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except s3.exceptions.NoSuchKey:
            return None
    return value


def run(
    connect: Connect,
    site: Site,
    rendered: Rendered,
    pipeline: str,
    run_id: str,
    parameters: Mapping[str, str] | None = None,
    **waiting: Any,
) -> Outcome:
    """Start a pipeline, wait for its end and do what follows.

    Raises:
        QuartetError: as `start`, `wait` and `finish`.
    """
    submitted = start(connect, site, rendered, pipeline, run_id, parameters)
    wait(connect, site, submitted, **waiting)
    return finish(connect, site, submitted)
