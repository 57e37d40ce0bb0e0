"""How the latest runs of a use case's pipelines have ended, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pipelines.aws.calls import asking
from pipelines.aws.places import Site

Connect = Callable[[str], Any]
PIPELINES: Final = ("training", "inference")
SHOWN: Final = 3
"""Runs of each pipeline that are told."""
FAILED: Final = frozenset({"failed", "timed_out"})
REASON: Final = 200
"""Characters of a reason that are shown."""


def latest(connect: Connect, site: Site, engine: str) -> Iterator[str]:
    """The latest runs of each pipeline, a line each, newest first; none on an engine that keeps no list of them.

    Raises:
        CloudError: AWS refuses.
    """
    ask = {"step-functions": _machine_runs, "sagemaker-pipelines": _pipeline_runs}.get(engine)
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


def _line(run: str, status: str, started: Any, reason: str) -> str:
    words = " ".join(reason.split())
    short = words if len(words) <= REASON else words[: REASON - 1] + "…"
    text = f"{run}  {started:%Y-%m-%dT%H:%M:%SZ}  {status.lower().replace('_', ' ')}"
    return f"{text}: {short}" if short else text
