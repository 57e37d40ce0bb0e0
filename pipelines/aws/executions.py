"""How the latest runs of a use case's pipelines have ended, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pipelines.aws.calls import Connect, asking
from pipelines.aws.places import Site

PIPELINES: Final = ("training", "inference")
SHOWN: Final = 3
"""Runs of each pipeline that are told."""
FAILED: Final = frozenset({"failed", "timed_out"})
KINDS: Final = ("", "-gpu", "-spot", "-gpu-spot")
"""How the queues of a pipeline on AWS Batch are told apart (`pipelines.batch.definitions`)."""
DEPENDENT: Final = "Dependent"
"""How the status reason begins of a job that never ran because another one failed."""
REASON: Final = 200
"""Characters of a reason that are shown."""


def latest(connect: Connect, site: Site, engine: str) -> Iterator[str]:
    """The latest runs of each pipeline, a line each, newest first; none on an engine that keeps no list of them.

    Raises:
        CloudError: AWS refuses.
    """
    ask = {"step-functions": _machine_runs, "sagemaker-pipelines": _pipeline_runs, "batch": _batch_runs}.get(engine)
    if ask is None:
        return
    for pipeline in PIPELINES:
        with asking(f"runs of {site.title}-{pipeline}"):
            yield from [f"{pipeline:<9}  {line}" for line in ask(connect, site, f"{site.title}-{pipeline}")]


def _machine_runs(connect: Connect, site: Site, name: str) -> Iterator[str]:
    client = connect("stepfunctions")
    machine = site.arn("states", f"stateMachine:{name}")
    try:
        found = client.list_executions(stateMachineArn=machine, maxResults=SHOWN)["executions"]
    except client.exceptions.StateMachineDoesNotExist:
        return
    for item in found[:SHOWN]:
        reason = ""
        if item["status"].lower() in FAILED:
            answer = client.describe_execution(executionArn=item["executionArn"])
            reason = str(answer.get("cause") or answer.get("error") or "")
        yield _line(item["name"], item["status"], item["startDate"], reason)


def _pipeline_runs(connect: Connect, site: Site, name: str) -> Iterator[str]:
    client = connect("sagemaker")
    request = {"PipelineName": name, "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": SHOWN}
    try:
        found = client.list_pipeline_executions(**request)["PipelineExecutionSummaries"]
    except client.exceptions.ResourceNotFound:
        return
    for item in found[:SHOWN]:
        execution, status = item["PipelineExecutionArn"], item["PipelineExecutionStatus"]
        reason = _failed_step(client, item) if status.lower() in FAILED else ""
        yield _line(execution.rpartition("/")[2], status, item["StartTime"], reason)


def _failed_step(client: Any, item: Mapping[str, Any]) -> str:
    """The step that failed and its reason; what the run says of itself is only that a step has failed."""
    answer = client.list_pipeline_execution_steps(PipelineExecutionArn=item["PipelineExecutionArn"])
    failed = [step for step in answer["PipelineExecutionSteps"] if step.get("StepStatus") == "Failed"]
    told = [f"step {step['StepName']}: {step.get('FailureReason', 'no reason given')}" for step in failed]
    return "; ".join(told) or str(item.get("PipelineExecutionFailureReason", ""))


def _batch_runs(connect: Connect, site: Site, name: str) -> Iterator[str]:
    """The runs of a chain of jobs, put together by what the jobs are called: `<name>-<step>-<run>`.

    AWS Batch forgets a job a week after its end.
    """
    client = connect("batch")
    queues = client.describe_job_queues(jobQueues=[f"{name}{kind}" for kind in KINDS])["jobQueues"]
    runs: dict[str, dict[str, Mapping[str, Any]]] = {}
    for queue in queues:
        # Without a filter only jobs that run are listed; this one lets all through, the latest first.
        every = [{"name": "AFTER_CREATED_AT", "values": ["0"]}]
        for job in client.list_jobs(jobQueue=queue["jobQueueName"], filters=every)["jobSummaryList"]:
            step, _, run = job["jobName"].removeprefix(f"{name}-").partition("-")
            runs.setdefault(run, {})[step] = job
    began = {run: min(job["createdAt"] for job in jobs.values()) for run, jobs in runs.items()}
    for run in sorted(runs, key=lambda run: began[run], reverse=True)[:SHOWN]:
        status, reason = _of_jobs(runs[run])
        yield _line(run, status, datetime.fromtimestamp(began[run] / 1000, UTC), reason)


def _of_jobs(jobs: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """How a run of jobs stands, and the step that failed with its reason."""
    failed = first_failed(jobs)
    if failed is not None:
        job = jobs[failed]
        reason = (job.get("container") or {}).get("reason") or job.get("statusReason") or "no reason given"
        return "failed", f"step {failed}: {reason}"
    done = all(job["status"] == "SUCCEEDED" for job in jobs.values())
    return ("succeeded" if done else "running"), ""


def first_failed(jobs: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The step that failed by itself, and not because one before it had; None when all goes well."""
    failed = [step for step, job in jobs.items() if job["status"] == "FAILED"]
    own = [step for step in failed if not str(jobs[step].get("statusReason", "")).startswith(DEPENDENT)]
    return next(iter(own or failed), None)


def _line(run: str, status: str, started: Any, reason: str) -> str:
    words = " ".join(reason.split())
    short = words if len(words) <= REASON else words[: REASON - 1] + "…"
    text = f"{run}  {started:%Y-%m-%dT%H:%M:%SZ}  {status.lower().replace('_', ' ')}"
    return f"{text}: {short}" if short else text
