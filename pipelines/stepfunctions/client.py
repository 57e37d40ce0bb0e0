"""Starts the state machines and awaits their end. `connect` gives a boto3 client by the service's name."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from pipelines.aws.calls import Connect, RunFailedError, asking
from pipelines.aws.places import Site
from shared.errors import EXIT_INTERNAL, SettingsError

POLL: Final = 10.0
"""Seconds between two questions for how a run goes on."""
RUN: Final = re.compile(r"[A-Za-z0-9-]{1,40}")


def start(connect: Connect, site: Site, pipeline: str, parameters: Mapping[str, str], run: str) -> str:
    """Start a pipeline; the ARN of its execution.

    Args:
        connect: gives clients.
        site: where the use case lives.
        pipeline: `training` or `inference`.
        parameters: the execution's input.
        run: the execution's name, which is the run's id. A name is used once.

    Raises:
        SettingsError: the machine is not there, or the name is taken.
        CloudError: AWS refuses.
    """
    client = connect("stepfunctions")
    name = f"{site.title}-{pipeline}"
    given = {"stateMachineArn": site.arn("states", f"stateMachine:{name}"), "name": run}
    with asking(f"start of {name}"):
        try:
            return str(client.start_execution(**given, input=json.dumps(dict(parameters)))["executionArn"])
        except client.exceptions.StateMachineDoesNotExist:
            raise SettingsError(
                f"state machine {name!r} does not exist in {site.region}. Deploy the use case."
            ) from None
        except client.exceptions.ExecutionAlreadyExists:
            raise SettingsError(f"run {run!r} of {name} exists already. Take another --run-id.") from None


def wait(
    connect: Connect, execution: str, poll: float = POLL, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Wait for the end of a run; its output.

    Raises:
        RunFailedError: it failed, or somebody stopped it.
        CloudError: AWS refuses.
    """
    client = connect("stepfunctions")
    while True:
        with asking(f"execution {execution}"):
            answer = client.describe_execution(executionArn=execution)
        if answer["status"] == "SUCCEEDED":
            return dict(json.loads(answer.get("output") or "{}"))
        if answer["status"] not in ("RUNNING", "PENDING_REDRIVE"):
            reason = str(answer.get("cause") or answer.get("error") or "somebody stopped it")
            code = re.search(r"exit code: (\d+)", reason)
            ended = answer["status"].lower().replace("_", " ")
            raise RunFailedError(f"{execution} has {ended}: {reason}", int(code[1]) if code else EXIT_INTERNAL)
        sleep(poll)
