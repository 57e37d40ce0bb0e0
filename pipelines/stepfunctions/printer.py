"""Renders a use case as state machines: a pure function of the manifest, the components and the images.

    training.asl.json     the training pipeline
    inference.asl.json    the inference pipeline, when the manifest has data to score
    retrain.asl.json      what answers drift, when the manifest says `then: retrain`

The machines are called after the use case: `quartet-flights-training`, or `quartet-flights-prod-training` in an
environment. One finds the other by this name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from components.spec import Spec
from pipelines.aws.deployment import deployment_of
from pipelines.aws.places import (
    Places,
    Rendered,
    Site,
    no_labels,
    prefixes,
    settings_files,
    training_data,
)
from pipelines.aws.shapes import checked, jsonata_hole
from pipelines.batch import printer as batch
from pipelines.graph import Graph, Request, TransformJob
from pipelines.limits import check_answer
from pipelines.manifest import Manifest, UseCase
from pipelines.stepfunctions.batch import BatchTasks
from pipelines.stepfunctions.jobs import SageMakerTasks, Tasks, job_name, short_name
from pipelines.stepfunctions.language import SUFFIX, as_bytes, expression, joined, variable
from pipelines.stepfunctions.machines import inference_machine, training_machine
from pipelines.stepfunctions.retraining import drift_windows, retrain_machine

Machine = Literal["training", "inference", "retrain"]
Platform = Literal["sagemaker", "batch"]
"""What runs the jobs."""


def machine_name(site: Site, machine: Machine) -> str:
    """What a machine is called."""
    return f"{site.title}-{machine}"


def render(
    use_case: UseCase,
    specs: Mapping[str, Spec],
    images: Mapping[str, str],
    environment: str | None = None,
    revision: str | None = None,
    platform: Platform | None = None,
) -> Rendered:
    """The state machines of a use case, and what has to lie in S3 for them.

    Args:
        use_case: the manifest that was read.
        specs: the components.
        images: locked images by component, for those that the manifest does not name.
        environment: one of the manifest's.
        revision: the code's git revision, for the releases.
        platform: what runs the jobs, if not what the manifest says. For `batch` the rendering also holds what
            `pipelines.batch` deploys.

    Raises:
        SettingsError: the manifest lacks what the cloud has to know, an image has no digest, or a request does not fit
            the service.
    """
    deployment = deployment_of(use_case, specs, images, environment, revision)
    deployment.check_drift()
    manifest, site = deployment.manifest, deployment.site
    platform = platform or manifest.platform
    machines: dict[Machine, Request] = {}
    described = batch.render(use_case, specs, images, environment, revision) if platform == "batch" else Rendered({})
    uploads: dict[str, bytes] = {**described.uploads}

    def tasks(graph: Graph) -> Tasks:
        if platform == "batch":
            return BatchTasks(site, graph.pipeline, batch.read_pipeline(described.files[f"{graph.pipeline}.json"]))
        uploads.update(settings_files(site, graph).values())
        return _sagemaker_tasks(site, graph, deployment.images)

    graphs = deployment.graphs(tunes=platform == "sagemaker", tagged=platform == "sagemaker")
    graph = graphs["training"]
    data, listed = training_data(site, manifest.data)
    deployment.check_data(data)
    machines["training"] = training_machine(graph, tasks(graph), site, data)
    uploads |= listed

    if "inference" in graphs:
        graph = graphs["inference"]
        labels, header = no_labels(site, manifest.data)
        machines["inference"] = inference_machine(graph, tasks(graph), site, manifest.data, labels)
        uploads |= {labels: header} if manifest.data.labels else {}

    machines |= _loop(manifest, site, uploads)
    files = {f"{name}{SUFFIX}": as_bytes(machine) for name, machine in machines.items()} | dict(described.files)
    return Rendered(files, dict(sorted(uploads.items())))


def _loop(manifest: Manifest, site: Site, uploads: dict[str, bytes]) -> dict[Machine, Request]:
    """The machine that answers drift, and what it hands over."""
    if manifest.drift is None or manifest.drift.then != "retrain":
        return {}
    given = drift_windows(manifest, site)
    uploads |= dict(given.listings.values())
    training = machine_name(site, "training")
    return {"retrain": retrain_machine(site, manifest.drift, given, "step-functions", training)}


def _sagemaker_tasks(site: Site, graph: Graph, images: Mapping[str, str]) -> SageMakerTasks:
    """The jobs of a graph as states, each request held against the service's model."""
    places = Places(
        site=site,
        pipeline=graph.pipeline,
        images=images,
        settings=prefixes(settings_files(site, graph)),
        joined=joined,
        run=variable("Run"),
        raw={"train": variable("TrainData"), "score": variable("ScoreData"), "labels": variable("Labels")},
        # Found out when the job is done: its name, and so the place of its archive, is another one at every try.
        archive=lambda step: expression(f"$states.input.made.{step}"),
        released=lambda part: variable(f"Parts.{part}"),
        job_name=lambda step: job_name(f"{site.title}-{step}"),
        short_name=lambda step: short_name(f"{site.title}-{step}"),
        started_by=variable("StartedBy"),
        parent=variable("Parent"),
    )
    for job in graph.jobs:
        request = checked(job.operation, job.request(places), jsonata_hole)
        check_answer(json.dumps(request), job.name)
        if isinstance(job, TransformJob):
            checked("CreateModel", job.model_request(places), jsonata_hole)
    return SageMakerTasks(places, site.title)


def definitions(rendered: Rendered) -> dict[str, Any]:
    """The machines of a rendering, by name."""
    return {
        name.removesuffix(SUFFIX): json.loads(text) for name, text in rendered.files.items() if name.endswith(SUFFIX)
    }
