"""Prints the two graphs as pipeline definitions.

    training    processing → algorithm → (monitoring, explainability) → release → gates met? → register
    inference   processing → algorithm-model → algorithm → monitoring → drifted? → drift-event; explainability beside it

A pipeline cannot read Parameter Store. So whoever starts inference reads the pointer and gives the release and its
parts as parameters; and the pointer moves when the model registered here is approved, by a rule that listens for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
)
from pipelines.aws.shapes import checked, pipeline_hole
from pipelines.graph import (
    PARTS,
    RELEASE_STEP,
    SCORES_OUTPUT,
    Graph,
    Job,
    Output,
    ProcessingJob,
    Released,
    TrainingJob,
    TransformJob,
    TuningJob,
)
from pipelines.manifest import Manifest, UseCase
from pipelines.sagemaker.language import (
    RUN,
    attribute,
    condition,
    declared,
    definition,
    duration,
    equals,
    from_file,
    joined,
    parameter,
    processed,
    retry_policies,
    step,
)
from shared.errors import SettingsError
from shared.files import json_text
from shared.release import EVALUATION, NO_PARENT, RELEASE, VERDICT

TRAINING: Final = "training.json"
INFERENCE: Final = "inference.json"
FILES: Final = {"training": TRAINING, "inference": INFERENCE}
JSON: Final = "application/json"
TABLES: Final = ["text/csv", "application/jsonlines", "application/json", "application/vnd.apache.parquet"]
"""What our servers read and write."""
DEFINITION: Final = 1024 * 1024
"""Most bytes of a definition that comes with the request."""
UNNAMED: Final = (
    "ProcessingJobName",
    "TrainingJobName",
    "HyperParameterTuningJobName",
    "TransformJobName",
    "ModelName",
)
"""The service names jobs and models itself."""

Step = dict[str, Any]


def render(
    use_case: UseCase,
    specs: Mapping[str, Spec],
    images: Mapping[str, str],
    environment: str | None = None,
    revision: str | None = None,
) -> Rendered:
    """The definitions of both pipelines; of the first alone where the manifest names no data to score.

    Args:
        use_case: what to print.
        specs: the components.
        images: image by component, by digest, where the manifest names none.
        environment: one of the manifest's environments.
        revision: the code's git revision, for the releases.

    Raises:
        SettingsError: the manifest does not fit the engine, or a request does not fit the service.
    """
    deployment = deployment_of(use_case, specs, images, environment, revision)
    deployment.check_drift()
    deployment.check_data(training_data(deployment.site, deployment.manifest.data)[0])
    files: dict[str, bytes] = {}
    uploads: dict[str, bytes] = {}
    for pipeline, graph in deployment.graphs(tunes=True, tagged=True).items():
        printer = Printer(deployment.manifest, deployment.site, deployment.images, graph)
        name = FILES[pipeline]
        files[name] = _sized(name, json_text(printer.definition()).encode())
        uploads |= printer.uploads()
    return Rendered(files, uploads)


def _sized(name: str, content: bytes) -> bytes:
    if len(content) > DEFINITION:
        raise SettingsError(f"{name} has {len(content):,} bytes, more than {DEFINITION:,}. Shorten the settings.")
    return content


@dataclass(frozen=True)
class Printer:
    """Prints one graph."""

    manifest: Manifest
    site: Site
    images: Mapping[str, str]
    graph: Graph

    def definition(self) -> dict[str, Any]:
        """The pipeline's definition."""
        steps = [printed for job in self.graph.jobs for printed in self.steps(job)]
        if self.graph.pipeline == "training":
            return definition(self.training_parameters(), [*steps, self.gates()])
        watched = self.manifest.drift is not None and any(job.name == "monitoring" for job in self.graph.jobs)
        return definition(self.inference_parameters(), [*steps, self.drift()] if watched else steps)

    def uploads(self) -> dict[str, bytes]:
        """By uri, what has to lie in S3 before the pipeline starts."""
        files = dict(settings_files(self.site, self.graph).values())
        if self.graph.pipeline == "training":
            return files | training_data(self.site, self.manifest.data)[1]
        return files | ({} if self.manifest.data.labels is None else dict([no_labels(self.site, self.manifest.data)]))

    # --- Parameters

    def training_parameters(self) -> list[dict[str, str]]:
        """The training pipeline's."""
        data = training_data(self.site, self.manifest.data)[0]
        return [declared("TrainData", data), declared("StartedBy", "command"), declared("Parent", NO_PARENT)]

    def inference_parameters(self) -> list[dict[str, str]]:
        """The inference pipeline's: the release and the parts that its jobs read have no defaults."""
        data = self.manifest.data
        parameters = [declared("ScoreData", score_data(self.site, data)), declared("Period", NO_PERIOD)]
        if data.labels is not None:
            parameters.append(declared("Labels", no_labels(self.site, data)[0]))
        parts = [part for part in PARTS if part in self.parts()]
        return [*parameters, declared("Release"), *(declared(part.capitalize()) for part in parts)]

    def parts(self) -> set[str]:
        """The parts of a release that the graph's jobs read."""
        places = [place for job in self.graph.jobs if isinstance(job, ProcessingJob) for place in job.inputs.values()]
        places += [job.model for job in self.graph.jobs if isinstance(job, TransformJob)]
        return {place.part for place in places if isinstance(place, Released)}

    # --- Steps

    @property
    def places(self) -> Places:
        """Resolves references to expressions of this engine."""
        return Places(
            site=self.site,
            pipeline=self.graph.pipeline,
            images=self.images,
            settings=prefixes(settings_files(self.site, self.graph)),
            joined=joined,
            run=RUN,
            raw={"train": parameter("TrainData"), "score": parameter("ScoreData"), "labels": parameter("Labels")},
            archive=self.archive,
            released=lambda part: parameter(part.capitalize()),
            job_name=lambda step: step,
            started_by=parameter("StartedBy"),
            parent=parameter("Parent"),
            output=self.output,
        )

    def archive(self, step: str) -> Any:
        """The model.tar.gz of a training job, or of the best one of a tuning job."""
        if not isinstance(self.graph.job(step), TuningJob):
            return attribute(step, "ModelArtifacts.S3ModelArtifacts")
        folder = attribute(step, "TrainingJobDefinition.OutputDataConfig.S3OutputPath")
        return joined(folder, "/", attribute(step, "TrainingJobSummaries[0].TrainingJobName"), "/output/model.tar.gz")

    def output(self, output: Output) -> Any:
        """Where an earlier step's output is: as the step itself says, which after a cache hit is where it was."""
        if isinstance(self.graph.job(output.step), TransformJob):
            assert output.name == SCORES_OUTPUT
            return attribute(output.step, "TransformOutput.S3OutputPath")
        return processed(output.step, output.name)

    def steps(self, job: Job) -> list[Step]:
        """The steps that do a job."""
        more: dict[str, Any] = {"RetryPolicies": retry_policies(job.retries), **self.cache(job)}
        request = job.request(self.places)
        match job:
            case ProcessingJob():
                arguments = arguments_of("CreateProcessingJob", request)
                files = property_files(job)
                return [step(job.name, "Processing", arguments, job.after, **more, **files)]
            case TuningJob():
                return [step(job.name, "Tuning", arguments_of(job.operation, request), job.after, **more)]
            case TrainingJob():
                return [step(job.name, "Training", arguments_of("CreateTrainingJob", request), job.after, **more)]
            case TransformJob():
                model = f"{job.name}-model"
                created = arguments_of("CreateModel", job.model_request(self.places))
                arguments = arguments_of("CreateTransformJob", request)
                arguments["ModelName"] = attribute(model, "ModelName")
                retries = {"RetryPolicies": retry_policies(0)}
                return [
                    step(model, "Model", created, (), **retries),
                    step(job.name, "Transform", arguments, job.after, **more),
                ]
        raise TypeError(f"no step for a {type(job).__name__}")

    def cache(self, job: Job) -> dict[str, Any]:
        """Training steps may be answered by an earlier run with the same arguments; the release step is always new."""
        seconds = self.manifest.pipelines.training.cache
        if seconds is None or self.graph.pipeline != "training" or job.name == RELEASE_STEP:
            return {}
        return {"CacheConfig": {"Enabled": True, "ExpireAfter": duration(seconds)}}

    def gates(self) -> Step:
        """Where the gates are met, the model is registered: approved, or waiting for approval."""
        then = [self.registration()] if self.graph.publication and "model" in self.graph.publication.parts else []
        met = equals(from_file(RELEASE_STEP, "verdict", "gates_met"), True)
        return condition("gates", [met], then, (RELEASE_STEP,))

    def registration(self) -> Step:
        """RegisterModel: its approval is what moves the pointer, to the release that it names."""
        publication = self.graph.publication
        assert publication is not None
        model = publication.parts["model"]
        approved = publication.approve == "automatic"
        container = {
            "Image": self.images["algorithm"],
            "ModelDataUrl": self.archive(model.step),
        }
        request = {
            "ModelPackageGroupName": self.site.title,
            "ModelPackageDescription": joined(f"{self.site.title}: release ", RUN),
            "InferenceSpecification": {
                "Containers": [container],
                "SupportedContentTypes": TABLES,
                "SupportedResponseMIMETypes": TABLES,
            },
            "ModelApprovalStatus": "Approved" if approved else "PendingManualApproval",
            "ModelMetrics": self.model_metrics(),
            "DriftCheckBaselines": self.baselines(),
            "CustomerMetadataProperties": {"release": self.released(RELEASE), "startedBy": parameter("StartedBy")},
        }
        request = {name: value for name, value in request.items() if value != {}}
        arguments = checked("CreateModelPackage", request, pipeline_hole)
        return step("register", "RegisterModel", arguments, RetryPolicies=retry_policies(0))

    def model_metrics(self) -> dict[str, Any]:
        """What the registry shows of the model."""
        made = {job.name for job in self.graph.jobs}
        metrics: dict[str, Any] = {"ModelQuality": {"Statistics": source(self.released(EVALUATION))}}
        if "monitoring" in made:
            metrics["ModelDataQuality"] = self.data_quality()
        if "explainability" in made:
            metrics["Explainability"] = {"Report": self.analysis()}
        return metrics

    def baselines(self) -> dict[str, Any]:
        """What later checks of drift compare with."""
        made = {job.name for job in self.graph.jobs}
        quality = {"ModelDataQuality": self.data_quality()} if "monitoring" in made else {}
        return quality | ({"Explainability": {"Constraints": self.analysis()}} if "explainability" in made else {})

    def data_quality(self) -> dict[str, Any]:
        """Monitoring's statistics.json and constraints.json."""
        baseline = processed("monitoring", "baseline")
        files = {"Statistics": "statistics.json", "Constraints": "constraints.json"}
        return {name: source(joined(baseline, f"/{file}")) for name, file in files.items()}

    def analysis(self) -> dict[str, Any]:
        """Explainability's analysis.json."""
        return source(joined(processed("explainability", "report"), "/analysis.json"))

    def released(self, name: str) -> Any:
        """A file of the release step."""
        return joined(f"{self.site.storage}/releases/", RUN, f"/{name}")

    def drift(self) -> Step:
        """Where the data have drifted, an event goes out by a queue, and the pipeline waits for the answer to it."""
        detail = {
            "useCase": self.site.name,
            "environment": self.site.environment or "",
            "run": RUN,
            "period": parameter("Period"),
            "verdict": joined(processed("monitoring", "report"), "/drift.json"),
            "release": parameter("Release"),
        }
        callback = step(
            "drift-event",
            "Callback",
            detail,
            SqsQueueUrl=self.site.queue_url(self.site.drift_queue),
            OutputParameters=[{"OutputName": "decision", "OutputType": "String"}],
        )
        return condition(
            "drift", [equals(from_file("monitoring", "drift", "detected"), True)], [callback], ("monitoring",)
        )


def arguments_of(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """A step's arguments: the request without the names that the service gives.

    Raises:
        SettingsError: the request does not fit the service.
    """
    arguments = {name: value for name, value in request.items() if name not in UNNAMED}
    arguments = {name: value for name, value in arguments.items() if value != {}}
    return dict(checked(operation, arguments, pipeline_hole, UNNAMED))


def property_files(job: ProcessingJob) -> dict[str, Any]:
    """The small JSON files of a step that conditions read."""
    known = {RELEASE_STEP: ("verdict", RELEASE_STEP, VERDICT), "monitoring": ("drift", "report", "drift.json")}
    if job.name not in known or job.mode == "train":
        return {}
    name, output, path = known[job.name]
    return {"PropertyFiles": [{"PropertyFileName": name, "OutputName": output, "FilePath": path}]}


def source(uri: Any) -> dict[str, Any]:
    """A metrics file of the registry."""
    return {"ContentType": JSON, "S3Uri": uri}


def read_definition(content: bytes) -> dict[str, Any]:
    """A definition as it was rendered."""
    value: dict[str, Any] = json.loads(content)
    return value
