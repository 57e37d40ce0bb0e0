"""A graph's jobs as states: in order, side by side where they may, each tried again or failing with its reason.

What travels from state to state is one small object:

    {"made": {<training job>: <uri of its model.tar.gz>}, "tries": <failures of the job at hand>}

and, after a failure, what it was.

Everything else is known beforehand, or is in a variable.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pipelines.graph import Job, ProcessingJob, Request, Resolve, TrainingJob, TransformJob, TuningJob
from pipelines.stepfunctions.language import (
    PATIENT,
    Expression,
    State,
    States,
    choice,
    expression,
    failure,
    made,
    quoted,
    task,
)

FAILED: Final = "Failed"
"""The state in which every run that went wrong ends."""
HOPELESS: Final = ("2", "3")
"""Exit codes of jobs that would fail again: settings or data are wrong."""
THROTTLED: Final[list[State]] = [
    {
        # A busy service, and no instance of this type left: both pass. A request that is wrong has the first of these
        # names too; it costs some minutes more and ends with the same reason.
        "ErrorEquals": [
            "SageMaker.AmazonSageMakerException",
            "SageMaker.ResourceLimitExceededException",
            "SageMaker.ThrottlingException",
        ],
        "IntervalSeconds": 15,
        "MaxAttempts": 5,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    }
]
THIS_TRY: Final = (
    "$join([$states.context.Execution.Id, $states.context.State.Name, $string($states.input.tries), "
    "$string($states.context.State.RetryCount), $string($states.context.Execution.RedriveCount)], '/')"
)
"""What no other try of a job has in common with this one."""
TUNING_PREFIX: Final = 23
"""Characters of a tuning job's name, of 32 at most, that say whose it is; the rest tells one try from another."""
MADE: Final = expression("{'made': $states.input.made}")
"""The travelling object after a job that leaves nothing an engine must remember."""

Named = tuple[str, State]


@dataclass(frozen=True)
class Block:
    """Some states that are entered at `entry` and left from `exit`, whose `Next` is still open."""

    entry: str
    exit: str
    states: States


@dataclass(frozen=True)
class Words:
    """The reason that a job itself gave for its failure.

    Attributes:
        call: the task that asks for it; its end is still open.
        reason: JSONata of the run's reason; `$states.input` is the travelling object, `$states.result` the answer.
    """

    call: State
    reason: str


class Tasks(Protocol):
    """How a service does jobs."""

    def __call__(self, job: Job) -> Sequence[Named]:
        """The states that do a job, in order; the last one waits for its end."""

    def retries(self, job: Job) -> int:
        """How often the machine tries a job again."""

    def words(self, job: Job) -> Words | None:
        """Where the reason of a job that failed is found; None when the service itself tells it."""


def job_block(job: Job, tasks: Tasks, failed: str) -> Block:
    """The states of one job: what does it, and what follows its failure.

    Args:
        job: the job.
        tasks: gives the states that do it.
        failed: the name of the state that ends the run, or the branch, in failure.
    """
    named = tasks(job)
    name, last = named[-1]
    retries, words = tasks.retries(job), tasks.words(job)
    reason = failed if words is None else f"{name} reason"
    again = f"{name} again?" if retries else reason
    caught = _caught(job)
    states: States = {}
    for (earlier, state), (following, _) in itertools.pairwise(named):
        states[earlier] = {**state, "Catch": [{**caught, "Next": failed}], "Next": following}
    states[name] = {**last, "Catch": [{**caught, "Next": again}]}
    if retries:
        states[again] = choice(f"$states.input.hope and $states.input.tries <= {retries}", name, reason)
    if words is not None:
        states[reason] = _read_words(words, failed)
    return Block(named[0][0], name, made(states))


def _read_words(words: Words, failed: str) -> State:
    """Put a failed job's own words in the place of what the service says; there are none when it never started."""
    return {
        **words.call,
        "Output": expression(f"$merge([$states.input, {{'reason': {words.reason}}}])"),
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": expression("$states.input"), "Next": failed}],
        "Next": failed,
    }


def _caught(job: Job) -> State:
    """A job's failure as the travelling object has it.

    The cause of a failed job is what Describe says of it, as JSON text; of anything else it is a sentence. The job's
    own words come first: ExitMessage of a processing job, FailureReason of the others; AWS Batch has its reason. The
    exit code is in the text in every case, as SageMaker writes it: whoever waits for the run ends with it.
    """
    steps = (
        "$cause := $states.errorOutput.Cause",
        "$told := $substring($cause, 0, 1) = '{' and $substring($cause, -1) = '}' ? $parse($cause) : {}",
        r"$code := [$string($told.Container.ExitCode), $match($told.FailureReason, /exit code: (\d+)/).groups[0]][0]",
        "$exit := $exists($code) ? ' (exit code: ' & $code & ')' : ''",
        "$words := [$told.ExitMessage, $told.Container.Reason][0]",
        "$reason := $exists($words) ? $words & $exit : $exists($told.FailureReason) ? $told.FailureReason : "
        "$exists($told.StatusReason) ? $told.StatusReason & $exit : $cause",
    )
    output = ", ".join(
        (
            "'made': $states.input.made",
            "'tries': ($exists($states.input.tries) ? $states.input.tries : 0) + 1",
            # Only a job that ran and failed may do better another time.
            f"'hope': $states.errorOutput.Error = 'States.TaskFailed' and $not($code in {quoted(list(HOPELESS))})",
            f"'error': {quoted(error_name(job))}",
            f"'reason': {quoted(f'step {job.name} failed: ')} & $reason",
            "'exit': $exit",
            *(["'job': $told.HyperParameterTuningJobName"] if isinstance(job, TuningJob) else []),
        )
    )
    return {"ErrorEquals": ["States.ALL"], "Output": expression(f"({'; '.join(steps)}; {{{output}}})")}


def error_name(job: Job) -> str:
    """The error of a failed job: a name of our own, because `States.*` may not be raised again."""
    return f"{job.name[:1].upper()}{job.name[1:]}Failed"


def failed_state() -> State:
    """The end of a run, or of a branch, with the reason that the travelling object holds."""
    return failure(expression("$states.input.error"), expression("$states.input.reason"))


def in_order(blocks: Sequence[Block]) -> Block:
    """Blocks one after the other."""
    states: States = {}
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        states |= block.states
        if following is not None:
            states[block.exit] = {**block.states[block.exit], "Next": following.entry}
    return Block(blocks[0].entry, blocks[-1].exit, states)


def side_by_side(name: str, blocks: Sequence[Block], failures: Sequence[str], failed: str) -> Block:
    """Blocks at the same time; when one fails the others are stopped.

    Args:
        name: of the state that holds them.
        blocks: the branches.
        failures: for each branch, the name of the state in which it fails.
        failed: the name of the state that ends the whole in failure.
    """
    branches = [
        {
            "StartAt": block.entry,
            "States": {
                **block.states,
                block.exit: {**block.states[block.exit], "End": True},
                end: failed_state(),
            },
        }
        for block, end in zip(blocks, failures, strict=True)
    ]
    error = "$states.errorOutput.Error"
    caught = expression(
        # The language raises `States.BranchFailed` or the branch's own error; only the latter may be raised again.
        f"{{'error': $substring({error}, 0, 7) = 'States.' ? 'StepFailed' : {error}, "
        "'reason': $states.errorOutput.Cause}"
    )
    state = {
        "Type": "Parallel",
        "Branches": branches,
        "Output": expression("{'made': $merge($states.result.made)}"),
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": caught, "Next": failed}],
    }
    return Block(name, name, {name: made(state)})


def graph_block(jobs: Sequence[Job], tasks: Tasks, failed: str = FAILED) -> Block:
    """All jobs of a graph, as soon as what they need is there.

    Jobs that do not depend on one another, directly or through others, are branches; each branch is arranged likewise.
    So a chain of jobs does not wait for its neighbour's chain, as it would if the graph were cut into layers.
    """
    names = {job.name for job in jobs}
    groups = connected(jobs)
    if len(groups) > 1:
        titles = [" and ".join(job.name for job in group) for group in groups]
        failures = [f"{title} failed" for title in titles]
        branches = [graph_block(group, tasks, end) for group, end in zip(groups, failures, strict=True)]
        return side_by_side(" beside ".join(titles), branches, failures, failed)
    first = [job for job in jobs if not names.intersection(job.after)]
    rest = [job for job in jobs if job not in first]
    head = job_block(first[0], tasks, failed) if len(first) == 1 else graph_block(first, tasks, failed)
    return in_order([head, graph_block(rest, tasks, failed)]) if rest else head


def connected(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs in groups that share no dependency among themselves, each group in the jobs' order."""
    groups: list[list[Job]] = []
    for job in jobs:
        linked = [
            group for group in groups if any(other.name in job.after or job.name in other.after for other in group)
        ]
        merged = [other for group in linked for other in group] + [job]
        groups = [group for group in groups if group not in linked] + [merged]
    order = {job.name: position for position, job in enumerate(jobs)}
    groups = [sorted(group, key=lambda job: order[job.name]) for group in groups]
    return sorted(groups, key=lambda group: order[group[0].name])


@dataclass(frozen=True)
class SageMakerTasks:
    """Jobs as SageMaker's own, which a state starts and waits for."""

    resolve: Resolve
    title: str
    """What the names of models begin with: its role may make no others."""

    def retries(self, job: Job) -> int:
        """As the manifest says; the service knows no retries of jobs, but for the trainings of a tuning job."""
        return 0 if isinstance(job, TuningJob) else job.retries

    def words(self, job: Job) -> Words | None:
        """None: Describe tells them, but for a tuning job, of which one training is asked that has failed."""
        if not isinstance(job, TuningJob):
            return None
        arguments = {"HyperParameterTuningJobName": expression("$states.input.job"), "StatusEquals": "Failed"}
        resource = "aws-sdk:sagemaker:listTrainingJobsForHyperParameterTuningJob"
        call = task(resource, {**arguments, "MaxResults": 1}, Retry=PATIENT)
        return Words(call, "$states.input.reason & ' ' & $states.result.TrainingJobSummaries[0].FailureReason")

    def __call__(self, job: Job) -> Sequence[Named]:
        """The states that do a job."""
        match job:
            case ProcessingJob():
                return [(job.name, self._wait("createProcessingJob", job.request(self.resolve), MADE))]
            case TuningJob():
                result = "$states.result"
                folder = f"{result}.TrainingJobDefinition.OutputDataConfig.S3OutputPath"
                best = f"{result}.BestTrainingJob.TrainingJobName"
                archive = f"{{{quoted(job.name)}: {folder} & '/' & {best} & '/output/model.tar.gz'}}"
                output = expression(f"{{'made': $merge([$states.input.made, {archive}])}}")
                return [(job.name, self._wait("createHyperParameterTuningJob", job.request(self.resolve), output))]
            case TrainingJob():
                archive = f"{{{quoted(job.name)}: $states.result.ModelArtifacts.S3ModelArtifacts}}"
                output = expression(f"{{'made': $merge([$states.input.made, {archive}])}}")
                return [(job.name, self._wait("createTrainingJob", job.request(self.resolve), output))]
            case TransformJob():
                return self._transform(job)
        raise TypeError(f"no state for a {type(job).__name__}")

    def _wait(self, action: str, request: Request, output: Expression) -> State:
        return task(f"sagemaker:{action}.sync", request, Retry=THROTTLED, Output=output)

    def _transform(self, job: TransformJob) -> Sequence[Named]:
        """Make the model once, and the job under a new name at every try."""
        model = model_name(self.title, job)
        create = task(
            "sagemaker:createModel",
            {**job.model_request(self.resolve), "ModelName": model},
            Retry=THROTTLED,
            Output=expression("$states.input"),
        )
        request = {**job.request(self.resolve), "ModelName": model}
        return [(f"{job.name} model", create), (job.name, self._wait("createTransformJob", request, MADE))]


def job_name(prefix: str) -> Expression:
    """A name that no other try has: service errors, our own tries and a redrive of the execution each make a new one.

    Args:
        prefix: of use case and step; what is too long of both and the run is cut at its end.
    """
    return _name(prefix, THIS_TRY)


def short_name(prefix: str) -> Expression:
    """The same for a tuning job: at most 32 characters, so the run is in the digest alone."""
    return expression(f"{quoted(prefix[:TUNING_PREFIX] + '-')} & $substring($hash({THIS_TRY}, 'SHA-256'), 0, 8)")


def model_name(title: str, job: TransformJob) -> Expression:
    """The name of the model that a transform job uses: one in an execution."""
    return _name(f"{title}-{job.component}-model", f"$states.context.Execution.Id & {quoted(job.name)}")


def _name(prefix: str, unique: str) -> Expression:
    """`<prefix>-<run>-<eight hexadecimal digits>`: letters, digits and hyphens, at most 63."""
    readable = f"$replace({quoted(prefix + '-')} & $Run, /[^A-Za-z0-9]+/, '-')"
    return expression(f"$substring({readable}, 0, 54) & '-' & $substring($hash({unique}, 'SHA-256'), 0, 8)")
