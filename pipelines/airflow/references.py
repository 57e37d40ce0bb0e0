"""A graph's references as a DAG file writes them: constants, Jinja for what only a run knows, XCom between tasks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pipelines.airflow import body
from pipelines.airflow.literals import Call, Code
from pipelines.aws.places import Places, Site
from pipelines.graph import Graph, Job, Reference, Request, Resolve, Role, TuningJob

RUN: Final = "{{ run_name(dag_run) }}"
TRY: Final = "{{ ti.try_number }}"
STARTED_BY: Final = "{{ 'schedule' if dag_run.run_type == 'scheduled' else params.StartedBy }}"
PERIOD: Final = "{{ period(params, dag_run) }}"
RAW: Final = {
    "train": "{{ params.TrainData }}",
    "score": "{{ score_data(params, dag_run) }}",
    "labels": "{{ params.Labels }}",
}
RELEASE_IN_USE: Final = "release_in_use"
RELEASE_BEFORE: Final = "release_before"
DATA_TYPE: Final = "{{ 'ManifestFile' if params.TrainData.endswith('.manifest') else 'S3Prefix' }}"
PREFIX: Final = "S3Prefix"
OPENING: Final = re.compile(r"\{(?=[{%#])")
"""What begins something in Jinja."""


def resolver(site: Site, graph: Graph, settings: Mapping[str, str]) -> Resolve:
    """Resolves the references of one pipeline: to `Code`, or to text with Jinja in it.

    Args:
        site: where the use case lives.
        graph: the jobs of the pipeline.
        settings: for each step that reads settings, the prefix of its settings.json.
    """
    places = Places(
        site,
        graph.pipeline,
        images=_Images(),
        settings=settings,
        joined=lambda *pieces: joined(site, *pieces),
        run=Code("RUN"),
        raw=RAW,
        archive=lambda step: _archive(graph.job(step)),
        released=lambda part: from_task(RELEASE_IN_USE, part),
        job_name=lambda step: Code(f'f"{{USE_CASE}}-{step}-{{RUN}}-{{TRY}}"'),
        started_by=Code("STARTED_BY"),
        parent=from_task(RELEASE_BEFORE),
        # At most 32 characters, of which a run's name takes twenty.
        short_name=lambda step: Code('f"tuning-{RUN}-{TRY}"'),
    )

    def resolve(reference: Reference) -> Any:
        return Code("ROLE") if isinstance(reference, Role) else places(reference)

    return resolve


def _archive(job: Job) -> str:
    """The model.tar.gz of a training job, or of the best one of a tuning job."""
    if not isinstance(job, TuningJob):
        return from_task(job.name, "Training", "ModelArtifacts", "S3ModelArtifacts")
    folder = from_task(job.name, "Tuning", "TrainingJobDefinition", "OutputDataConfig", "S3OutputPath")
    return f"{folder}/{from_task(job.name, 'Tuning', 'BestTrainingJob', 'TrainingJobName')}/output/model.tar.gz"


class _Images(dict[str, Any]):
    """The constant that holds each component's image."""

    def __missing__(self, component: str) -> Code:
        return Code(image_name(component))


def image_name(component: str) -> str:
    """The name of the constant with a component's image."""
    return f"{component.upper()}_IMAGE"


def joined(site: Site, *pieces: str | Code) -> Code:
    """Text made of texts and of constants, as an f-string; the storage in it is the constant."""
    words = [f"{{{piece.text}}}" if isinstance(piece, Code) else piece for piece in pieces]
    return Code('f"' + "".join(words).replace(site.storage, "{STORAGE}", 1) + '"')


def from_task(task: str, *keys: str) -> str:
    """What an earlier task has returned, or a value in it."""
    return f"{{{{ ti.xcom_pull('{task}'){''.join(f'[{key!r}]' for key in keys)} }}}}"


def quoted(values: Mapping[str, str]) -> dict[str, str]:
    """Texts of the manifest guarded from Airflow, which takes every text of a request for a template."""
    return {name: OPENING.sub("{{ '{' }}", value) for name, value in values.items()}


def guarded(value: Any) -> Any:
    """The same for a part of a request: every text in it."""
    if isinstance(value, str):
        return OPENING.sub("{{ '{' }}", value)
    if isinstance(value, Mapping):
        return {name: guarded(item) for name, item in value.items()}
    return [guarded(item) for item in value] if isinstance(value, list) else value


def with_data_type(request: Request) -> Request:
    """The request with its training data read as a list of files or as a prefix, whichever uri the run was given."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            told = {"S3DataType": DATA_TYPE} if value.get("S3Uri") == RAW["train"] else {}
            return {key: walk(item) for key, item in value.items()} | told
        return [walk(item) for item in value] if isinstance(value, list) else value

    found: Request = walk(request)
    return found


def folded(request: Request) -> Request:
    """The request with its inputs and outputs as calls of the functions that the DAG file has for them."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return _call(value) or {key: walk(item) for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    found: Request = walk(request)
    return found


def _call(value: Mapping[str, Any]) -> Call | None:
    """The call whose result is this value, if there is one."""
    match value:
        case {"InputName": name, "S3Input": {"S3Uri": uri, "S3DataType": kind}}:
            function: Callable[..., Any] = body.processing_input
        case {"OutputName": name, "S3Output": {"S3Uri": uri}}:
            function, kind = body.processing_output, PREFIX
        case {"ChannelName": name, "DataSource": {"S3DataSource": {"S3Uri": uri, "S3DataType": kind}}}:
            function = body.channel
        case _:
            return None
    arguments = [name, uri] if kind == PREFIX else [name, uri, Code("DATA_TYPE") if kind == DATA_TYPE else kind]
    expected = [name, uri] if kind == PREFIX else [name, uri, kind]
    return Call(function.__name__, arguments) if function(*expected) == value else None
