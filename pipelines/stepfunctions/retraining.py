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

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pipelines.aws.places import DIGITS, NO_PERIOD, Site, listed_prefix, windows
from pipelines.graph import Request
from pipelines.limits import check_payload
from pipelines.manifest import Drift, Manifest
from pipelines.periods import kind_of, no_window
from pipelines.stepfunctions.calendar import later_window
from pipelines.stepfunctions.current import find_parent
from pipelines.stepfunctions.language import (
    NOT_FOUND,
    PATIENT,
    State,
    States,
    bucket_and_key,
    choice,
    expression,
    failure,
    filled,
    get_parameter,
    joined,
    machine,
    made,
    put_parameter,
    quoted,
    success,
    task,
    variable,
)

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


PERIOD: Final = "$states.input.detail.period"
"""The event's period, in the first state."""
PERIODLESS: Final = "the data that were scored have no period with which a window could end"
"""Why drift of such data starts nothing, which is no failure."""
FILES: Final = "train.manifest"
LOOKS: Final = 10
"""Files that are looked for at once."""


@dataclass(frozen=True)
class Windows:
    """What a retraining learns from.

    Attributes:
        listings: for each period of the manifest, the list of files of the window that ends with it: uri and content.
        uri: or one uri for all, which may hold `{period}`.
        later: what the machine lists by itself while it runs; None where no window ends with an unlisted period.
        unknown: what is wrong with a period with which no window ends, behind its name.
    """

    listings: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    uri: str | None = None
    later: Later | None = None
    unknown: str = ""

    @property
    def data(self) -> str:
        """The uri for the event's period, or an empty text; the body of an expression in the first state."""
        if self.uri is not None:
            return filled(self.uri, {"period": PERIOD}).body
        uris = {period: uri for period, (uri, _) in self.listings.items()}
        return f"[$lookup({quoted(uris)}, {PERIOD}), ''][0]"


@dataclass(frozen=True)
class Later:
    """Windows of the calendar.

    Attributes:
        kind: what the manifest's periods are, such as `month`.
        listed: those.
        count: how many make a window.
        uri: of a period's data, with `{period}`.
    """

    kind: str
    listed: tuple[str, ...]
    count: int
    uri: str

    @property
    def prefix(self) -> str:
        """What the uris of all files begin with."""
        return listed_prefix(self.uri)

    @property
    def files(self) -> str:
        """The uris of the window's files, none where there is no window; the body of an expression."""
        periods = later_window(self.kind, self.listed, self.count, PERIOD)
        return f"[$map({periods}, function($one) {{ {filled(self.uri, {'period': '$one'}).body} }})]"


def drift_windows(manifest: Manifest, site: Site) -> Windows:
    """The windows that the manifest's policy declares.

    Raises:
        SettingsError: its list of files is too long, or its data do not lie in S3.
    """
    policy, data = manifest.drift, manifest.data
    if policy is None or policy.with_ is None:
        return Windows()
    if policy.with_.periods is not None:
        count, kind = policy.with_.periods, kind_of(data.known_periods)
        uri = site.path(data.train.uri)
        later = Later(kind, data.known_periods, count, uri) if kind else None
        check_payload(json.dumps([uri] * count), f"the list of {count:,} files", "Lower drift.with.periods.")
        return Windows(windows(site, data, count), later=later, unknown=no_window(data.known_periods))
    return Windows(uri=site.path(str(policy.with_.uri)))


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
    chosen = {"TrainData": expression(given.data)} if judging else {}
    if judging and given.later:
        chosen["Files"] = expression(given.later.files)
    states: States = {
        "Start": {
            "Type": "Pass",
            "Assign": made(
                {"Event": expression("$states.input.detail"), "Now": expression("$now()"), **answer, **chosen}
            ),
            "Next": "Is the period known?" if judging else "Does anyone wait?",
        },
        **(_judge(site, policy, given, STARTING[engine]) if judging else {}),
        **(_list_files(site, given.later, STARTING[engine]) if judging and given.later else {}),
        **(_train(site, engine, training) if judging else {}),
        **_answer_token(),
    }
    return machine(f"Quartet: whether drift of {site.title} starts a training", "Start", states)


def _judge(site: Site, policy: Drift, given: Windows, starting: str) -> States:
    """`$Answer`: started, or why not."""
    known = "$count($Files) > 0" if given.later else "$TrainData != ''"
    read = "$states.result.Parameter"
    first = {"State": {"last": None, "month": "none", "count": 0}, "Version": "0"}
    return {
        "Is the period known?": choice(known, "Read the state", "Is there a period?"),
        "Is there a period?": choice(f"$Event.period = {quoted(NO_PERIOD)}", "No period", "Unknown period"),
        "No period": {
            "Type": "Pass",
            "Assign": {"Answer": f"suppressed: {PERIODLESS}"},
            "Next": "Does anyone wait?",
        },
        "Unknown period": {
            "Type": "Pass",
            "Assign": made({"Trouble": expression(f"'period ' & $Event.period & {quoted(given.unknown)}")}),
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
        "May a training start?": choice(
            f"$Answer = '{STARTED}'", "Look for the files" if given.later else starting, "Does anyone wait?"
        ),
    }


def _list_files(site: Site, later: Later, starting: str) -> States:
    """Make sure that the window's files are there; `$TrainData`, the list of them, where none was stored before."""
    absent = (
        "'no training data at ' & $join($Missing, ', ') & '. Store what is missing, then run start --pipeline training "
        "--period ' & $Event.period & '.'"
    )
    folder, key = f"{site.storage}/config/", f"$substring($hash($join($Files, ' '), 'SHA-256'), 0, {DIGITS})"
    uri = joined(folder, expression(key), f"/{FILES}")
    content = f"$append([{{'prefix': {quoted(later.prefix)}}}], $map($Files, function($file) {{ {_row(later)} }}))"
    look = {
        "Look": task(
            "aws-sdk:s3:listObjectsV2",
            {**bucket_and_key(variable("states.input"), "Prefix"), "MaxKeys": 1},
            Retry=PATIENT,
            Output=expression("$states.result.KeyCount > 0 ? '' : $states.input"),
            End=True,
        )
    }
    return {
        "Look for the files": {
            "Type": "Map",
            "Items": variable("Files"),
            "MaxConcurrency": LOOKS,
            "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Look", "States": look},
            "Assign": {"Missing": expression("[$filter($states.result, function($uri) { $uri != '' })]")},
            "Output": {},
            "Catch": CAUGHT,
            "Next": "Are they all there?",
        },
        "Are they all there?": choice("$count($Missing) = 0", "Is there a list of them?", "Missing files"),
        "Missing files": {
            "Type": "Pass",
            "Assign": {"Trouble": expression(absent)},
            "Next": "Trouble",
        },
        "Is there a list of them?": choice("$TrainData != ''", starting, "List the files"),
        "List the files": task(
            "aws-sdk:s3:putObject",
            # An array, because the service would store a text with quotation marks around it.
            {**bucket_and_key(uri), "Body": expression(content)},
            Retry=PATIENT,
            Catch=CAUGHT,
            Assign={"TrainData": uri},
            Output={},
            Next=starting,
        ),
    }


def _row(later: Later) -> str:
    """A file as the list names it; an expression's body."""
    return f"$substringAfter($file, {quoted(later.prefix)})"


def answer_of(policy: Drift) -> str:
    """The body of an expression of `$State` and `$Now`: `started`, or why not."""
    until = f"$until := $State.last ? $toMillis($State.last) + {policy.cooldown * 1000} : 0"
    trained = f"$trained := $State.month = {MONTH} ? $State.count : 0"
    return (
        f"({until}; {trained}; $until > $toMillis($Now) ? 'suppressed: cool-down until ' & $fromMillis($until) : "
        f"$trained >= {policy.max_per_month} ? 'suppressed: cap of {policy.max_per_month} a month is reached' : "
        f"'{STARTED}')"
    )


def _train(site: Site, engine: Starter, training: str) -> States:
    """Start the training pipeline, once for each version of the loop's state, and write the new state."""
    given = {"TrainData": variable("TrainData"), "StartedBy": expression("'drift ' & $Event.run")}
    if engine == "sagemaker-pipelines":
        token = expression(f"$hash({quoted(f'{training} drift ')} & $Version, 'SHA-256')")
        resource, arguments = start_pipeline(training, {**given, "Parent": variable("Parent")}, token)
    else:
        resource = "states:startExecution"
        machine_arn = site.arn("states", f"stateMachine:{training}")
        arguments = {"StateMachineArn": machine_arn, "Name": expression("'drift-' & $Version"), "Input": given}
    state = f"{{'last': $Now, 'month': {MONTH}, 'count': ($State.month = {MONTH} ? $State.count : 0) + 1}}"
    return {
        **(find_parent(site.pointer, "Start the training", CAUGHT) if engine == "sagemaker-pipelines" else {}),
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
