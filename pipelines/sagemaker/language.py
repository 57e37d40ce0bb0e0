"""Words of pipeline definitions (schema 2020-12-01): what the service fills in when a pipeline runs.

Source: "Pipelines overview", "Pipelines steps" and "Retry Policy for Pipeline Steps" in the SageMaker Developer Guide;
what the pages leave open is as the SageMaker Python SDK 2.257 writes it.
"""

from __future__ import annotations

from typing import Any, Final

VERSION: Final = "2020-12-01"
Value = Any
"""Text, or an expression that becomes text."""

RUN: Final = {"Get": "Execution.PipelineExecutionId"}
"""The run's id: twelve letters and digits, given by the service."""


def parameter(name: str) -> dict[str, str]:
    """The value of a pipeline parameter."""
    return {"Get": f"Parameters.{name}"}


def attribute(step: str, path: str) -> dict[str, str]:
    """A value of what Describe answers of a step's job."""
    return {"Get": f"Steps.{step}.{path}"}


def processed(step: str, name: str) -> dict[str, str]:
    """The uri of an output of a processing step: of an earlier run, when the step was answered from the cache."""
    return attribute(step, f"ProcessingOutputConfig.Outputs['{name}'].S3Output.S3Uri")


def joined(*pieces: Value) -> Value:
    """Texts and expressions, one after the other."""
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    return {"Std:Join": {"On": "", "Values": [piece for piece in pieces if piece != ""]}}


def from_file(step: str, file: str, path: str) -> dict[str, Any]:
    """A value of a JSON file that a processing step declares as a property file."""
    return {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.{step}.PropertyFiles.{file}"}, "Path": path}}


def equals(left: Value, right: Value) -> dict[str, Any]:
    """A condition."""
    return {"Type": "Equals", "LeftValue": left, "RightValue": right}


def declared(name: str, default: str | None = None, kind: str = "String") -> dict[str, str]:
    """A parameter of the pipeline; without a default, whoever starts the pipeline has to give it."""
    return {"Name": name, "Type": kind} | ({} if default is None else {"DefaultValue": default})


def duration(seconds: int) -> str:
    """A duration as ISO 8601 writes it: `P30D`, `PT36H` or `PT90S`."""
    for size, before, unit in ((86400, "P", "D"), (3600, "PT", "H"), (60, "PT", "M")):
        if seconds % size == 0:
            return f"{before}{seconds // size}{unit}"
    return f"PT{seconds}S"


def retry_policies(retries: int) -> list[dict[str, Any]]:
    """When the service tries a step again: always where it was at fault itself or too busy, else as often as wanted.

    A job whose program failed is never tried again: the service has no such policy, and the same program would fail in
    the same way.
    """
    busy = {"IntervalSeconds": 10, "BackoffRate": 2.0, "MaxAttempts": 5}
    policies = [{"ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"], **busy}]
    if retries:
        lost = ["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"]
        again = {"IntervalSeconds": 60, "BackoffRate": 2.0, "MaxAttempts": min(retries, 20)}
        policies.append({"ExceptionType": lost, **again})
    return policies


def step(name: str, kind: str, arguments: dict[str, Any], after: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A step of a pipeline."""
    waits = {"DependsOn": list(after)} if after else {}
    return {"Name": name, "Type": kind, "Arguments": arguments, **waits, **more}


def condition(
    name: str, tests: list[dict[str, Any]], then: list[dict[str, Any]], after: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A step whose further steps run when all tests hold, and that is done otherwise."""
    return step(name, "Condition", {"Conditions": tests, "IfSteps": then, "ElseSteps": []}, after)


def definition(parameters: list[dict[str, str]], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """A pipeline. No experiment is made of its runs: releases and the registry hold what they did."""
    return {
        "Version": VERSION,
        "Metadata": {},
        "Parameters": parameters,
        "PipelineExperimentConfig": None,
        "Steps": steps,
    }
