"""The machine `retrain`: whether the drift that a run tells of starts a training.

**At most one training for each state of the loop.** When two runs drift at once, two executions of `retrain` may read
the same state before either has written a new one, and Parameter Store has no compare-and-set. So the training's own
name (on SageMaker Pipelines its ClientRequestToken) is made of the version of the state that was read: two executions
that decide on the same version ask for the same training, which the service starts once. The one that comes second is
told that the name is taken, or is given the execution that runs already, and writes the same state as the first. An
execution that dies between start and note does no harm either: the next event finds the name taken, and writes the
note. Stale reads of Parameter Store end in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pipelines.aws.places import Site, windows
from pipelines.graph import Request
from pipelines.manifest import Drift, Manifest
from pipelines.stepfunctions.language import (
    NOT_FOUND,
    PATIENT,
    State,
    States,
    choice,
    expression,
    failure,
    filled,
    get_parameter,
    machine,
    made,
    put_parameter,
    quoted,
    success,
    task,
    variable,
)
from shared.errors import SettingsError
from shared.release import NO_PARENT

Starter = Literal["step-functions", "sagemaker-pipelines"]
"""Whose training pipeline is started."""
ANSWER: Final = "decision"
"""The output parameter of the callback step in which a SageMaker pipeline waits."""
STARTED: Final = "started"
TAKEN: Final[Mapping[Starter, str]] = {
    "step-functions": "StepFunctions.ExecutionAlreadyExistsException",
    "sagemaker-pipelines": "SageMaker.ConflictException",
}
"""The error of a second start under the same name."""
REASON: Final = 256
"""Most characters of a callback's FailureReason."""
MONTH: Final = "$substring($Now, 0, 7)"
"""The month in UTC, such as 2026-11."""
CAUGHT: Final[list[State]] = [
    {
        "ErrorEquals": ["States.ALL"],
        "Assign": {"Trouble": expression("$states.errorOutput.Cause")},
        "Next": "Trouble",
    }
]
"""A SageMaker pipeline that waits is answered whatever happens."""

STARTING: Final[Mapping[Starter, str]] = {
    "step-functions": "Start the training",
    "sagemaker-pipelines": "Find the release before",
}
"""The state that starts it, or goes before: a state machine reads Parameter Store for itself, a pipeline cannot."""


@dataclass(frozen=True)
class Windows:
    """What a retraining learns from.

    Attributes:
        listings: for each period that may drift, the list of files of the window that ends with it: uri and content.
        uri: or one uri for all, which may hold `{period}`.
    """

    listings: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    uri: str | None = None

    @property
    def data(self) -> str:
        """The uri for the event's period; an expression's body."""
        if self.uri is not None:
            return filled(self.uri, {"period": "$Event.period"}).body
        return f"$lookup({quoted({period: uri for period, (uri, _) in self.listings.items()})}, $Event.period)"

    @property
    def known(self) -> str:
        """Whether there is one for the event's period; an expression's body."""
        return "true" if self.uri is not None else f"$Event.period in {quoted(sorted(self.listings))}"


def drift_windows(manifest: Manifest, site: Site) -> Windows:
    """The windows that the manifest's policy declares.

    Raises:
        SettingsError: the policy is one that the cloud cannot keep.
    """
    policy = manifest.drift
    if policy is None or policy.with_ is None:
        return Windows()
    if policy.when.runs > 1:
        raise SettingsError(
            f"drift.when.runs is {policy.when.runs}, but in the cloud every run that drifts is judged by itself. "
            "Leave it at 1; drift.cooldown keeps retrainings apart."
        )
    if policy.with_.uri is None:
        return Windows(listings=windows(site, manifest.data, policy.with_.periods or 1))
    if manifest.data.train.periods:
        raise SettingsError(
            "drift.with.data.train is one uri, but the training reads a list of the files of data.train.periods. "
            "Give drift.with.periods, how many of the latest."
        )
    return Windows(uri=site.path(policy.with_.uri))


def retrain_machine(site: Site, policy: Drift, given: Windows, engine: Starter, training: str) -> Request:
    """Drift → training, unless one was started lately or often enough this month.

    The input is the event `Drift`. Its detail may hold a `token`: then a SageMaker pipeline waits for the answer.

    Args:
        site: where the use case lives.
        policy: `then: notify` answers and starts nothing.
        given: what to train on.
        engine: whose pipeline is started.
        training: the name of that state machine, or of that SageMaker pipeline.
    """
    judging = policy.then == "retrain"
    answer = {} if judging else {"Answer": "suppressed: the manifest says drift.then: notify"}
    states: States = {
        "Start": {
            "Type": "Pass",
            "Assign": made({"Event": expression("$states.input.detail"), "Now": expression("$now()"), **answer}),
            "Next": "Is the period known?" if judging else "Does anyone wait?",
        },
        **(_judge(site, policy, given, STARTING[engine]) if judging else {}),
        **(_train(site, engine, training, given.data) if judging else {}),
        **_answer_token(),
    }
    return machine(f"Quartet: whether drift of {site.title} starts a training", "Start", states)


def _judge(site: Site, policy: Drift, given: Windows, starting: str) -> States:
    """`$Answer`: started, or why not."""
    unknown = " is not among the manifest's periods, so no window ends with it. Add it, and deploy again."
    read = "$states.result.Parameter"
    first = {"State": {"last": None, "month": "none", "count": 0}, "Version": "0"}
    return {
        "Is the period known?": choice(given.known, "Read the state", "Unknown period"),
        "Unknown period": {
            "Type": "Pass",
            "Assign": made({"Trouble": expression(f"'period ' & $Event.period & {quoted(unknown)}")}),
            "Next": "Trouble",
        },
        "Read the state": get_parameter(
            site.drift_state,
            Assign={
                "State": expression(f"$parse({read}.Value)"),
                # With the time, because the versions of a parameter that is deleted and made again start at 1 again.
                "Version": expression(
                    f"$string({read}.Version) & '-' & "
                    f"$substring($hash($string({read}.LastModifiedDate), 'SHA-256'), 0, 8)"
                ),
            },
            Catch=[{"ErrorEquals": [NOT_FOUND], "Assign": first, "Next": "Judge"}, *CAUGHT],
            Next="Judge",
        ),
        "Judge": {
            "Type": "Pass",
            "Assign": made({"Answer": expression(answer_of(policy))}),
            "Next": "May a training start?",
        },
        "May a training start?": choice(f"$Answer = '{STARTED}'", starting, "Does anyone wait?"),
    }


def answer_of(policy: Drift) -> str:
    """The body of an expression of `$State` and `$Now`: `started`, or why not."""
    until = f"$until := $State.last ? $toMillis($State.last) + {policy.cooldown * 1000} : 0"
    trained = f"$trained := $State.month = {MONTH} ? $State.count : 0"
    return (
        f"({until}; {trained}; $until > $toMillis($Now) ? 'suppressed: cool-down until ' & $fromMillis($until) : "
        f"$trained >= {policy.max_per_month} ? 'suppressed: cap of {policy.max_per_month} a month is reached' : "
        f"'{STARTED}')"
    )


def _train(site: Site, engine: Starter, training: str, data: str) -> States:
    """Start the training pipeline, once for each version of the loop's state, and write the new state."""
    given = {"TrainData": expression(data), "StartedBy": expression("'drift ' & $Event.run")}
    if engine == "sagemaker-pipelines":
        token = expression(f"$hash({quoted(f'{training} drift ')} & $Version, 'SHA-256')")
        resource, arguments = start_pipeline(training, {**given, "Parent": variable("Parent")}, token)
    else:
        resource = "states:startExecution"
        machine_arn = site.arn("states", f"stateMachine:{training}")
        arguments = {"StateMachineArn": machine_arn, "Name": expression("'drift-' & $Version"), "Input": given}
    state = f"{{'last': $Now, 'month': {MONTH}, 'count': ($State.month = {MONTH} ? $State.count : 0) + 1}}"
    return {
        **(_find_parent(site) if engine == "sagemaker-pipelines" else {}),
        "Start the training": task(
            resource,
            arguments,
            Retry=[{"ErrorEquals": [TAKEN[engine]], "MaxAttempts": 0}, *PATIENT],
            Catch=[{"ErrorEquals": [TAKEN[engine]], "Next": "Already started"}, *CAUGHT],
            Next="Write the state",
        ),
        "Already started": {
            "Type": "Pass",
            "Assign": {"Answer": "suppressed: another event has just started a training"},
            "Next": "Write the state",
        },
        "Write the state": put_parameter(
            site.drift_state, expression(f"$string({state})"), Catch=CAUGHT, Next="Does anyone wait?"
        ),
    }


def _find_parent(site: Site) -> States:
    """`$Parent`: the uri of the release that is in use now, or `none`."""
    return {
        "Find the release before": get_parameter(
            site.pointer,
            Assign={"Parent": expression("$states.result.Parameter.Value")},
            Catch=[
                {"ErrorEquals": [NOT_FOUND], "Assign": {"Parent": NO_PARENT}, "Next": "Start the training"},
                *CAUGHT,
            ],
            Next="Start the training",
        ),
    }


def start_pipeline(pipeline: str, given: Mapping[str, Any], token: str) -> tuple[str, Request]:
    """The call that starts a SageMaker pipeline. With a token that was used before it starts nothing."""
    arguments = {
        "PipelineName": pipeline,
        "PipelineParameters": [{"Name": name, "Value": value} for name, value in given.items()],
        "ClientRequestToken": token,
    }
    return "aws-sdk:sagemaker:startPipelineExecution", arguments


def _answer_token() -> States:
    """Answer the pipeline that waits, if one does, and end."""
    waits, token = "$exists($Event.token)", variable("Event.token")
    reason = expression(f"$substring($Trouble, 0, {REASON})")
    ended = {"Answer": variable("Answer"), "Run": variable("Event.run"), "Period": variable("Event.period")}
    return {
        "Does anyone wait?": choice(waits, "Answer", "Judged"),
        "Answer": task(
            "aws-sdk:sagemaker:sendPipelineExecutionStepSuccess",
            {"CallbackToken": token, "OutputParameters": [{"Name": ANSWER, "Value": variable("Answer")}]},
            Retry=PATIENT,
            Next="Judged",
        ),
        "Judged": success(ended),
        "Trouble": choice(waits, "Answer with the trouble", "Failed"),
        "Answer with the trouble": task(
            "aws-sdk:sagemaker:sendPipelineExecutionStepFailure",
            {"CallbackToken": token, "FailureReason": reason},
            Retry=PATIENT,
            Next="Failed",
        ),
        "Failed": failure("RetrainFailed", variable("Trouble")),
    }
