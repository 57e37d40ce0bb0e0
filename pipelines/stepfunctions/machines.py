"""The training and the inference pipeline as state machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipelines.aws.places import Site
from pipelines.graph import Graph, Request
from pipelines.manifest import Data
from pipelines.stepfunctions.current import choose_data, find_parent, find_release, given, released_parts, take_input
from pipelines.stepfunctions.jobs import FAILED, Block, Tasks, failed_state, graph_block
from pipelines.stepfunctions.language import (
    PATIENT,
    States,
    choice,
    expression,
    failure,
    get_object,
    joined,
    machine,
    made,
    put_parameter,
    quoted,
    success,
    task,
    variable,
)
from shared.release import RELEASE_ID, VERDICT

NOTHING_MADE: Final = expression("{'made': {}}")
"""The travelling object (see `jobs`) at the start."""
BUS: Final = "default"
"""The event bus on which drift is told."""


def training_machine(graph: Graph, tasks: Tasks, site: Site, data: str) -> Request:
    """The training pipeline: all jobs, the release last, and the pointer moved when its verdict says so.

    The execution's input may hold `TrainData` (a uri; the default is `data`) and `StartedBy`.
    """
    jobs = graph_block(graph.jobs, tasks)
    verdict = joined(f"{site.storage}/releases/", variable("Run"), f"/{VERDICT}")
    parameters = {"TrainData": given("TrainData", quoted(data)), "StartedBy": given("StartedBy", quoted("command"))}
    ended = {"Release": variable("Verdict.release"), "GatesMet": variable("Verdict.gates_met"), "Run": variable("Run")}
    states: States = {
        **_named_run("Take the parameters"),
        "Take the parameters": {"Type": "Pass", "Assign": made(parameters), "Next": "Find the release before"},
        **find_parent(site.pointer, jobs.entry, Output=NOTHING_MADE),
        **_then(jobs, "Read the verdict"),
        "Read the verdict": get_object(
            verdict, Assign={"Verdict": _picked("gates_met", "promote", "release")}, Next="May it be used?"
        ),
        "May it be used?": choice("$Verdict.promote", "Move the pointer", "Candidate"),
        "Move the pointer": put_parameter(site.pointer, variable("Verdict.release"), Next="Current"),
        "Current": success({"Status": "current", **ended}),
        "Candidate": success({"Status": "candidate", **ended}),
        FAILED: failed_state(),
    }
    return machine(f"Quartet: the training pipeline of {site.title}", "Start", states)


def inference_machine(graph: Graph, tasks: Tasks, site: Site, data: Data, labels: str) -> Request:
    """The inference pipeline: the release in use is found, the data are scored, and drift is told.

    The execution's input may hold `ScoreData` (a uri), `Labels` (a uri; the default is `labels`), `Period`, and `Time`.
    Without ScoreData the manifest's uri is taken, its `{period}` filled with Period, else with the period of Time.
    """
    jobs = graph_block(graph.jobs, tasks)
    watched = any(job.name == "monitoring" for job in graph.jobs)
    ended = {
        "Status": "scored",
        "Release": variable("Release"),
        "Run": variable("Run"),
        "Period": variable("Period"),
        "Drifted": variable("Drifted") if watched else False,
    }
    states: States = {
        **_named_run("Name the period"),
        **choose_data(site, data, "Find the release", Labels=given("Labels", quoted(labels))),
        **find_release(site.pointer, released_parts(graph.jobs), jobs.entry, NOTHING_MADE),
        **_then(jobs, "Read drift.json" if watched else "Scored"),
        **(_tell_drift(site) if watched else {}),
        "Scored": success(ended),
        FAILED: failed_state(),
    }
    return machine(f"Quartet: the inference pipeline of {site.title}", "Start", states)


def _named_run(following: str) -> States:
    """Take the execution's name for the run's id, which becomes a part of paths and the release's name."""
    wanted = ", wanted letters, digits, hyphens, dots and underscores. Start it under another name."
    return {
        **take_input("Is it a run's name?", Run=expression("$states.context.Execution.Name")),
        "Is it a run's name?": choice(f"$contains($Run, /^{RELEASE_ID.pattern}$/)", following, "No run's name"),
        "No run's name": failure("NoRunName", expression(f"'the execution is called ' & $Run & {quoted(wanted)}")),
    }


def _picked(*keys: str) -> str:
    """Some values of the JSON object that was read."""
    picked: Mapping[str, Any] = {key: f"$read.{key}" for key in keys}
    body = ", ".join(f"{quoted(key)}: {value}" for key, value in picked.items())
    return expression(f"($read := $parse($states.result.Body); {{{body}}})")


def _then(block: Block, following: str) -> States:
    """A block's states, the last one leading on."""
    return {**block.states, block.exit: {**block.states[block.exit], "Next": following}}


def _tell_drift(site: Site) -> States:
    """Read what monitoring found, and put the event that starts the drift loop."""
    verdict = joined(f"{site.storage}/inference/", variable("Run"), "/monitoring/report/drift.json")
    detail = {
        "useCase": site.name,
        "environment": site.environment or "",
        "run": variable("Run"),
        "period": variable("Period"),
        "verdict": verdict,
    }
    entry = {"Source": "quartet", "DetailType": "Drift", "EventBusName": BUS, "Detail": detail}
    return {
        "Read drift.json": get_object(
            verdict, Assign={"Drifted": expression("$parse($states.result.Body).detected")}, Next="Has it drifted?"
        ),
        "Has it drifted?": choice("$Drifted", "Tell of the drift", "Scored"),
        "Tell of the drift": task("events:putEvents", {"Entries": [entry]}, Retry=PATIENT, Next="Scored"),
    }
