"""The two DAGs: their tasks, in the provider's operators, and what comes before what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pipelines.airflow.literals import Call, Code, literal
from pipelines.airflow.references import (
    RELEASE_BEFORE,
    RELEASE_IN_USE,
    folded,
    from_task,
    guarded,
    quoted,
    with_data_type,
)
from pipelines.airflow.schedule import schedule_of
from pipelines.aws.places import NO_PERIOD, Site
from pipelines.graph import (
    RELEASE_STEP,
    Destination,
    Graph,
    Job,
    ProcessingJob,
    Resolve,
    TrainingJob,
    TransformJob,
    TuningJob,
)
from pipelines.manifest import Drift, Manifest
from shared.release import VERDICT

DRIFT: Final = "drift.json"
WINDOW: Final = "training_window"
"""The task that finds the window which ends with the period at hand."""

Edge = tuple[tuple[str, ...], tuple[str, ...]]
"""Tasks that come before others, by their variables."""


@dataclass(frozen=True)
class Dag:
    """One DAG: how it is declared, its tasks by variable, and which come before which."""

    name: str
    declaration: Call
    tasks: Mapping[str, Call]
    edges: tuple[Edge, ...]

    def source(self) -> str:
        """The `with` statement."""
        lines = [f"with {literal(self.declaration)} as {self.name}:"]
        lines += [f"    {name} = {literal(task, 4, 4 + len(name) + 3)}\n" for name, task in self.tasks.items()]
        return "\n".join([*lines, *(f"    {_side(before)} >> {_side(after)}" for before, after in self.edges)])


def _side(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


def _operator(name: str, task: str, *unpacked: str, **arguments: Any) -> Call:
    """A task; an argument that is None is left out."""
    said = {key: value for key, value in arguments.items() if value is not None}
    return Call(name, (), {"task_id": task, **said}, unpacked, tall="config" in said)


def _jobs(graph: Graph, resolve: Resolve) -> dict[str, Call]:
    """The tasks that run the graph's jobs."""
    tasks: dict[str, Call] = {}
    for job in map(_safe, graph.jobs):
        common: dict[str, Any] = {"retries": job.retries or None}
        polls = Code(f"polls({job.sizes.max_runtime})")
        request = folded(with_data_type(job.request(resolve)))
        if isinstance(job, ProcessingJob):
            tasks[job.name] = _operator(
                "SageMakerProcessingOperator", job.name, "JOB", config=request, max_attempts=polls, **common
            )
        elif isinstance(job, TuningJob):
            # Waits for as long as it takes: how long all trainings take one after another, nobody said.
            tasks[job.name] = _operator("SageMakerTuningOperator", job.name, "TUNING", config=request)
        elif isinstance(job, TrainingJob):
            tasks[job.name] = _operator(
                "SageMakerTrainingOperator",
                job.name,
                "JOB",
                config=request,
                max_attempts=polls,
                print_log=Code("PRINT_LOG"),
                **common,
            )
        elif isinstance(job, TransformJob):
            model = _model_task(job)
            tasks[model] = _operator(
                "SageMakerModelOperator", model, "AWS", config=job.model_request(resolve), **common
            )
            # The model that was made, whichever try made it.
            request["ModelName"] = from_task(model, "Model", "ModelName")
            tasks[job.name] = _operator(
                "SageMakerTransformOperator", job.name, "JOB", config=request, max_attempts=polls, **common
            )
    return tasks


def _safe(job: Job) -> Job:
    """The job with the texts of the manifest that travel in its request guarded against being read as templates."""
    job = replace(job, sizes=replace(job.sizes, tags=quoted(job.sizes.tags)))
    if isinstance(job, TuningJob):
        job = replace(job, configuration=guarded(job.configuration))
    if isinstance(job, TrainingJob):
        return replace(job, hyperparameters=quoted(job.hyperparameters))
    return replace(job, environment=quoted(job.environment)) if isinstance(job, TransformJob) else job


def _model_task(job: Job) -> str:
    return f"{job.name}_model"


def _edges(graph: Graph, start: str) -> Iterator[Edge]:
    """What comes before what among the jobs; those that wait for no other job come after `start`."""
    before = {job.name: set(job.after) for job in graph.jobs}
    for earlier in before.values():
        earlier |= {first for name in tuple(earlier) for first in before[name]}
    for job in graph.jobs:
        # What comes before another one that this job waits for need not be said again.
        direct = tuple(name for name in job.after if not any(name in before[other] for other in job.after))
        if isinstance(job, TransformJob):
            yield (start,), (_model_task(job),)
            direct += (_model_task(job),)
        yield (direct or (start,)), (job.name,)


@dataclass(frozen=True)
class Surroundings:
    """What the DAGs have to know beside their graphs.

    Attributes:
        manifest: as it is in the environment.
        site: where the use case lives.
        training_data: uri of what to train on when nobody says otherwise.
        labels: uri of the file that stands for outcomes which nobody knows yet.
    """

    manifest: Manifest
    site: Site
    training_data: str
    labels: str

    @property
    def policy(self) -> Drift | None:
        """What happens after a drift; None where nothing watches for one."""
        watched = self.manifest.data.score is not None and "monitoring" in self.manifest.pipelines.inference.steps
        return self.manifest.drift if watched else None


def training_dag(around: Surroundings, graph: Graph, resolve: Resolve) -> Dag:
    """The training DAG: the jobs, then the pointer moves or does not."""
    tasks = {"previous": _python(RELEASE_BEFORE, "release_before")} | _jobs(graph, resolve)
    edges = list(_edges(graph, "previous"))
    verdict = [_file(resolve, RELEASE_STEP, RELEASE_STEP, VERDICT)]
    tasks |= {
        "judgement": _python("judge_release", "judge_release", verdict, branch=True),
        "promotion": _python("promote", "promote", verdict),
        "candidate": _operator(
            "EmptyOperator", "candidate", doc_md="The release is kept, and the pointer did not move."
        ),
    }
    edges += [((RELEASE_STEP,), ("judgement",)), (("judgement",), ("promotion", "candidate"))]
    parameters = {
        "TrainData": _parameter(around.training_data, "Uri of the data to train on: a prefix, or a .manifest of files"),
        "StartedBy": _parameter(
            "command", "command, or drift and the name of the inference run", pattern="^(command|schedule|drift .+)$"
        ),
    }
    return Dag("training", _declaration(around, "training", parameters), tasks, tuple(edges))


def inference_dag(around: Surroundings, graph: Graph, resolve: Resolve) -> Dag:
    """The inference DAG: the jobs, then what a drift entails."""
    tasks = {"current": _python(RELEASE_IN_USE, "release_in_use")} | _jobs(graph, resolve)
    edges = list(_edges(graph, "current"))
    score = around.manifest.data.score
    assert score is not None
    if around.policy:
        more, after = _drift_tasks(around, _file(resolve, "monitoring", "report", DRIFT))
        tasks |= more
        edges += after
    parameters = {
        "ScoreData": _parameter(around.site.path(score.uri), "Uri of the data to score"),
        "Labels": _parameter(around.labels, "Uri of the outcomes; the default holds none"),
        "Period": _parameter(NO_PERIOD, "Name of the period that is scored, or none"),
    }
    return Dag("inference", _declaration(around, "inference", parameters), tasks, tuple(edges))


def _drift_tasks(around: Surroundings, verdict: Code) -> tuple[dict[str, Call], list[Edge]]:
    """The tasks after monitoring: an event for every drift, and a retraining when the policy says so."""
    policy = around.policy
    assert policy is not None
    names = {"useCase": "USE_CASE", "environment": "ENVIRONMENT", "run": "RUN", "period": "PERIOD"}
    detail = {key: Code(name) for key, name in names.items()}
    event = {"Source": "quartet", "DetailType": "Drift", "Detail": Call("json.dumps", [{**detail, "verdict": verdict}])}
    tasks = {
        "judgement": _python("judge_drift", "judge_drift", [verdict], branch=True),
        "announcement": _operator("EventBridgePutEventsOperator", "announce_drift", "AWS", entries=[event]),
        "calm": _operator("EmptyOperator", "no_drift"),
    }
    edges: list[Edge] = [
        (("monitoring",), ("judgement",)),
        (("judgement",), ("announcement", "calm")),
    ]
    if policy.notify:
        message = Code('f"{USE_CASE}: {PERIOD} has drifted (run {RUN})."')
        subject = Code('f"{USE_CASE}: drift"')
        tasks["notice"] = _operator(
            "SnsPublishOperator", "notify", "AWS", target_arn=policy.notify, subject=subject, message=message
        )
        edges.append((("announcement",), ("notice",)))
    if policy.then == "retrain":
        listed = policy.with_ is not None and policy.with_.periods is not None
        allowed = [WINDOW, Code("PERIOD")] if listed else ["note_retraining"]
        tasks |= {
            "permission": _python("may_retrain", "may_retrain", allowed, branch=True),
            **({"found": _python(WINDOW, WINDOW, [Code("PERIOD")])} if listed else {}),
            "note": _python("note_retraining", "note_retraining"),
            "retraining": _operator(
                "TriggerDagRunOperator",
                "retrain",
                trigger_dag_id=Code("TRAINING"),
                trigger_run_id=Code('f"drift__{RUN}"'),
                conf={"TrainData": _training_data(around), "StartedBy": Code('f"drift {RUN}"')},
                # The run's name is that of the cause, so a second try cannot start a second training.
                skip_when_already_exists=True,
            ),
            "suppressed": _operator("EmptyOperator", "no_retraining"),
        }
        edges += [
            (("announcement",), ("permission",)),
            (("permission",), ("found" if listed else "note", "suppressed")),
            *([(("found",), ("note",))] if listed else []),
            (("note",), ("retraining",)),
        ]
    return tasks, edges


def _training_data(around: Surroundings) -> str | None:
    """What a retraining trains on: the window that was found, or the policy's uri."""
    policy = around.policy
    if policy is None or policy.with_ is None:
        return None
    return around.site.path(policy.with_.uri) if policy.with_.uri else from_task(WINDOW)


def _file(resolve: Resolve, step: str, output: str, name: str) -> Code:
    """The uri of a file in an output."""
    folder: Code = resolve(Destination(step, output))
    return Code(f'{folder.text[:-1]}/{name}"')


def _python(task: str, function: str, arguments: list[Any] | None = None, *, branch: bool = False) -> Call:
    name = "BranchPythonOperator" if branch else "PythonOperator"
    return _operator(name, task, python_callable=Code(function), op_args=arguments)


def _parameter(default: str, description: str, **more: str) -> Call:
    return Call("Param", [default], {"type": "string", "description": description, **more})


def _declaration(around: Surroundings, pipeline: str, parameters: Mapping[str, Call]) -> Call:
    manifest = around.manifest
    expression = getattr(manifest.schedule, pipeline)
    when = schedule_of(expression, f"schedule.{pipeline}")
    alarm = {str(name): topic for name, topic in manifest.alarms.items()}.get(f"{pipeline}_failed")
    macros = {"run_name": Code("run_name")}
    if pipeline == "inference":
        macros |= {name: Code(name) for name in ("period", "score_data")}
    arguments: dict[str, Any] = {
        "dag_id": Code(pipeline.upper()),
        "doc_md": Code("__doc__"),
        "schedule": when.schedule,
        "start_date": when.start,
        "catchup": False,
        "max_active_runs": 1,
        "params": parameters,
        "default_args": Code("TASK"),
        "user_defined_macros": macros,
        # A text that ends with a line break keeps it.
        "jinja_environment_kwargs": {"keep_trailing_newline": True},
        "tags": ["quartet", Code("USE_CASE")],
    }
    if alarm:
        message = Code('f"{USE_CASE}: run {RUN} of the ' + pipeline + ' pipeline has failed."')
        arguments["on_failure_callback"] = Call(
            "send_sns_notification", (), {"target_arn": alarm, "message": message}, ["AWS"]
        )
    return Call("DAG", (), arguments, tall=True)
