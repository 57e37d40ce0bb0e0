"""Renders a use case for AWS Batch: a pure function of the manifest, the components and the images.

    queues.json       CreateJobQueue requests: inference before training, GPUs and spot capacity apart
    training.json     the training pipeline: its parameters, RegisterJobDefinition requests, and its jobs
    inference.json    the inference pipeline, when the manifest has data to score

What a job does lies in S3, in a file named by its content: the request that SageMaker would get, with holes such as
`{Run}` that the image fills from its command's `--Run Ref::Run` (shared.carrier.description). So whoever submits a job,
our client, a state machine or a person, gives it a few short parameters and no overrides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from components.spec import Spec
from pipelines.aws.deployment import deployment_of
from pipelines.aws.places import (
    NO_PERIOD,
    Places,
    Rendered,
    Site,
    no_labels,
    prefixes,
    score_data,
    settings_files,
    training_data,
    windows,
)
from pipelines.aws.shapes import checked
from pipelines.batch.definitions import definition, definition_name, queue_name, queues
from pipelines.batch.limits import check_submission
from pipelines.batch.machines import Platform
from pipelines.graph import (
    MODEL_OUTPUT,
    PARTS,
    Graph,
    Job,
    ProcessingJob,
    Request,
    TransformJob,
)
from pipelines.limits import JOB_NAME
from pipelines.manifest import Manifest, UseCase
from shared.errors import SettingsError
from shared.files import json_text
from shared.release import NO_PARENT

QUEUES: Final = "queues.json"
TRAINING: Final = "training.json"
INFERENCE: Final = "inference.json"
FILES: Final = {"training": TRAINING, "inference": INFERENCE}
PARAMETERS: Final = (
    "Run", "StartedBy", "Parent", "TrainData", "ScoreData", "Labels", "Period", "Release",
    *(part.capitalize() for part in PARTS),
)  # fmt: skip
SHARED_OUT: Final = "data"
"""The input that the children of an array share out among them."""
RUN_CHARACTERS: Final = 40


def hole(name: str) -> str:
    """Where a parameter's value goes in a description."""
    return f"{{{name}}}"


def has_hole(value: Any) -> bool:
    """Whether a value is known only when a job starts."""
    return isinstance(value, str) and any(hole(name) in value for name in PARAMETERS)


def render(
    use_case: UseCase,
    specs: Mapping[str, Spec],
    images: Mapping[str, str],
    environment: str | None = None,
    revision: str | None = None,
    platform: Platform | None = None,
) -> Rendered:
    """The pipelines of a use case on AWS Batch, and what has to lie in S3 for them.

    Args:
        use_case: the manifest that was read.
        specs: the components.
        images: locked images by component, for those that the manifest does not name.
        environment: one of the manifest's.
        revision: the code's git revision, for the releases.
        platform: where jobs run that want no GPU, if not where the manifest says.

    Raises:
        SettingsError: the manifest lacks what the cloud has to know, an image has no digest, or a step wants what AWS
            Batch does not have.
    """
    deployment = deployment_of(use_case, specs, images, environment, revision)
    deployment.check_drift()
    manifest, site = deployment.manifest, deployment.site
    platform = platform or manifest.batch.capacity
    graphs = deployment.graphs()
    data, uploads = training_data(site, manifest.data)
    defaults: dict[str, dict[str, str | None]] = {
        "training": {"TrainData": data, "StartedBy": "command", "Parent": NO_PARENT}
    }
    if "inference" in graphs:
        labels, header = no_labels(site, manifest.data)
        uploads |= {labels: header} if manifest.data.labels else {}
        defaults["inference"] = {"ScoreData": score_data(site, manifest.data), "Labels": labels, "Period": NO_PERIOD}

    files: dict[str, Any] = {
        FILES[name]: pipeline_file(site, graph, deployment.images, defaults[name], platform, uploads)
        for name, graph in graphs.items()
    }
    uploads |= _windows(manifest, site)
    made = queues(site, {name: graph.jobs for name, graph in graphs.items()})
    files[QUEUES] = [checked("CreateJobQueue", request, service="batch") for request in made]
    encoded = {name: json_text(value).encode() for name, value in sorted(files.items())}
    return Rendered(encoded, dict(sorted(uploads.items())))


def _windows(manifest: Manifest, site: Site) -> dict[str, bytes]:
    """The data windows that a retraining may ask for."""
    policy = manifest.drift
    if policy is None or policy.then != "retrain" or policy.with_ is None or policy.with_.periods is None:
        return {}
    return dict(windows(site, manifest.data, policy.with_.periods).values())


def pipeline_file(
    site: Site,
    graph: Graph,
    images: Mapping[str, str],
    defaults: Mapping[str, str | None],
    platform: Platform,
    uploads: dict[str, bytes],
) -> dict[str, Any]:
    """One pipeline: its parameters with their defaults (null: who starts it gives a value), definitions and jobs.

    What its jobs need in S3 is added to `uploads`.
    """
    settings = settings_files(site, graph)
    uploads |= dict(settings.values())
    places = places_of(site, graph, images, prefixes(settings))
    jobs, definitions, used = [], [], set()
    for job in graph.jobs:
        content = json_text(description(site, graph.pipeline, job, places)).encode()
        uri, _ = stored = site.config("job.json", content)
        uploads |= [stored]
        wanted = [name for name in PARAMETERS if hole(name) in content.decode()]
        used |= set(wanted)
        words = [word for name in wanted for word in (f"--{name}", f"Ref::{name}")]
        known = {name: value for name, value in defaults.items() if name in wanted and value is not None}
        made = definition(
            site, graph.pipeline, job, images[job.component], ["--job", uri, *words], known, platform
        )  # fmt: skip
        definitions.append(checked("RegisterJobDefinition", made, service="batch"))
        jobs.append(submission(site, graph.pipeline, job, wanted, made))
    parameters = {name: defaults.get(name) for name in PARAMETERS if name in used and name != "Run"}
    # Known to whoever starts the pipeline, although no job of it reads the value: drift's event tells the period.
    parameters |= {name: value for name, value in defaults.items() if name == "Period"}
    return {"parameters": parameters, "definitions": definitions, "jobs": jobs}


def places_of(site: Site, graph: Graph, images: Mapping[str, str], settings: Mapping[str, str]) -> Places:
    """Where the references of a graph lead, with holes for what a run brings."""

    def archive(step: str) -> str:
        """As a training job's service names it: below the output path, by the job's name."""
        folder = f"{site.storage}/{graph.pipeline}/{hole('Run')}/{step}/{job_name(site, step)}"
        return f"{folder}/output/{MODEL_OUTPUT}.tar.gz"

    return Places(
        site=site,
        pipeline=graph.pipeline,
        images=images,
        settings=settings,
        joined=lambda *pieces: "".join(pieces),
        run=hole("Run"),
        raw={"train": hole("TrainData"), "score": hole("ScoreData"), "labels": hole("Labels")},
        archive=archive,
        released=lambda part: hole(part.capitalize()),
        job_name=lambda step: job_name(site, step),
        started_by=hole("StartedBy"),
        parent=hole("Parent"),
    )


def job_name(site: Site, step: str) -> str:
    """What a job is called in its own description: the same in every run, whose id is in the prefix."""
    return f"{site.title}-{step}"[:JOB_NAME]


def description(site: Site, pipeline: str, job: Job, places: Places) -> dict[str, Any]:
    """What a job does: see `shared.carrier.description`.

    Raises:
        SettingsError: the requests do not fit SageMaker's shapes, or the step cannot use several machines.
    """
    kind = type(job).__name__
    requests = {f"Create{kind}": job.request(places)}
    if isinstance(job, TransformJob):
        requests["CreateModel"] = job.model_request(places)
    for action, request in requests.items():
        checked(action, request, has_hole)
    if job.sizes.count > 1:
        share_out(job, requests)
    text = json.dumps(requests)
    return {
        **requests,
        "Parameters": [name for name in PARAMETERS if name == "Run" or hole(name) in text],
        "Failure": f"{site.storage}/{pipeline}/{hole('Run')}/{job.name}/failure",
    }


def share_out(job: Job, requests: Mapping[str, Request]) -> None:
    """Let the children of an array share out a job's objects: rows of one file stay together, files do not meet.

    Raises:
        SettingsError: the job looks at all rows together, and there is only one machine for it here.
    """
    if isinstance(job, TransformJob):
        return
    if not (isinstance(job, ProcessingJob) and job.name == "processing" and job.mode == "serve"):
        raise SettingsError(
            f"step {job.name!r} wants {job.sizes.count} machines to {job.mode}, and on AWS Batch only what serves by "
            "processing and algorithm is shared out. Set count: 1, and take a larger instance."
        )
    for item in requests["CreateProcessingJob"]["ProcessingInputs"]:
        if item["InputName"] == SHARED_OUT:
            item["S3Input"]["S3DataDistributionType"] = "ShardedByS3Key"


def submission(
    site: Site, pipeline: str, job: Job, wanted: list[str], made: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """A job of a pipeline: its step, the steps before it, the parameters it takes, and the rest of SubmitJob."""
    request: Request = {
        "jobName": definition_name(site, pipeline, job.name),
        "jobQueue": queue_name(site, pipeline, job),
        "jobDefinition": definition_name(site, pipeline, job.name),
    }
    if job.sizes.count > 1:
        request["arrayProperties"] = {"size": job.sizes.count}
    check_submission(request, made)
    return {"step": job.name, "after": list(job.after), "parameters": wanted, "request": request}


def read_pipeline(content: bytes) -> dict[str, Any]:
    """A pipeline of a rendering."""
    value: dict[str, Any] = json.loads(content)
    return value


def check_run(run: str) -> str:
    """The run's id, if it can be a part of uris and of jobs' names.

    Raises:
        SettingsError: it cannot.
    """
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9-]{{0,{RUN_CHARACTERS - 1}}}", run):
        raise SettingsError(f"the run's id is {run!r}, wanted at most {RUN_CHARACTERS} letters, digits and hyphens.")
    return run
