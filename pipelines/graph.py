"""The two pipelines as graphs of typed jobs: what every engine prints, each in its own language.

A job holds what the API's CreateProcessingJob, CreateTrainingJob, CreateHyperParameterTuningJob or CreateTransformJob
wants to know. Where a value is known only to an engine (the place of an earlier output, a job's name, an image) it
holds a reference, and `job.request(resolve)` gives the API's request with each reference replaced by what `resolve`
makes of it: a path on a laptop, `{"Get": …}` in a SageMaker pipeline, a Jinja template in Airflow.

The edges are fixed by the design, so a graph is a pure function of the manifest and the components' declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Final, Literal

from components.spec import NAMES, Mode, Spec
from pipelines import choices
from pipelines.limits import JOB_NAME
from pipelines.manifest import Component, Data, Gate, Manifest, Resources, Serve, Train, Tuning
from pipelines.settings import schema_of
from pipelines.tuning import TUNING_NAME, as_hyperparameter, configuration, fixed, metric_definitions
from shared.errors import SettingsError, names
from shared.release import PARTS as RELEASE_PARTS
from shared.release import STEP

PARTS: Final = tuple(RELEASE_PARTS)
"""What a release is made of."""
MODEL_OUTPUT: Final = "model"
SCORES_OUTPUT: Final = "scores"
RELEASE_STEP: Final = STEP
PROCESSING_ROOT: Final = "/opt/ml/processing"


@dataclass(frozen=True)
class Raw:
    """Data that the manifest names; `listed` when it is a list of files rather than everything below a prefix."""

    name: Literal["train", "score", "labels"]
    listed: bool = False


@dataclass(frozen=True)
class Output:
    """An output of an earlier job of the same run: a folder, or `model.tar.gz` of a training job."""

    step: str
    name: str


@dataclass(frozen=True)
class Released:
    """A part of the release that is current when the run starts."""

    part: str


@dataclass(frozen=True)
class SettingsFile:
    """The settings.json that the job of this name reads."""

    step: str


@dataclass(frozen=True)
class Destination:
    """Where a job's output goes."""

    step: str
    name: str


@dataclass(frozen=True)
class JobName:
    """The name under which a job (or the model it serves) is created; `longest` counts its characters."""

    step: str
    longest: int = JOB_NAME


@dataclass(frozen=True)
class ImageOf:
    """A component's image."""

    component: str


@dataclass(frozen=True)
class Role:
    """The role that the jobs run under."""


@dataclass(frozen=True)
class RunId:
    """The id of this run, which becomes the release's."""


@dataclass(frozen=True)
class StartedBy:
    """What started this run: `command`, `schedule` or `drift <inference run>`."""


@dataclass(frozen=True)
class Parent:
    """The uri of the release that is current when the run starts, or `none`."""


Place = Raw | Output | Released | SettingsFile
Reference = Place | Destination | JobName | ImageOf | Role | RunId | StartedBy | Parent
Word = Mode | Literal["release"]
"""What a job tells its image to do."""
Resolve = Callable[[Reference], Any]
Request = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """The machines of a job, with every default filled in."""

    instance: str = "ml.m5.xlarge"
    count: int = 1
    volume_gb: int = 30
    max_runtime: int = 86400  # seconds
    network_isolation: bool = True
    spot: bool = False
    kms_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def cluster(self) -> Request:
        """`InstanceCount`, `InstanceType` and `VolumeSizeInGB`, the same three for processing and training."""
        return {"InstanceCount": self.count, "InstanceType": self.instance, "VolumeSizeInGB": self.volume_gb}


@dataclass(frozen=True)
class Job:
    """What all jobs have. `name` is the step's, unique in its graph; `retries` is how often an engine tries again."""

    name: str
    component: str
    mode: Word
    after: tuple[str, ...] = ()
    sizes: Sizes = Sizes()
    retries: int = 0
    operation: ClassVar[str]
    """The operation of the API that takes the request."""

    def request(self, resolve: Resolve) -> Request:
        """The request that creates the job."""
        raise NotImplementedError

    def outputs(self) -> tuple[str, ...]:
        """Names of what the job leaves for others."""
        raise NotImplementedError


@dataclass(frozen=True)
class ProcessingJob(Job):
    """A CreateProcessingJob request; settings travel as an input, which has no length limits."""

    inputs: Mapping[str, Place] = field(default_factory=dict)
    results: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str | Reference] = field(default_factory=dict)
    operation: ClassVar[str] = "CreateProcessingJob"

    def outputs(self) -> tuple[str, ...]:
        """The processing outputs."""
        return self.results

    def request(self, resolve: Resolve) -> Request:
        """CreateProcessingJob."""
        resources = self.sizes.cluster() | ({"VolumeKmsKeyId": self.sizes.kms_key} if self.sizes.kms_key else {})
        return {
            "ProcessingJobName": resolve(JobName(self.name)),
            "AppSpecification": {
                "ImageUri": resolve(ImageOf(self.component)),
                # Named although the image has it: SDK local mode fails on arguments without an entrypoint.
                "ContainerEntrypoint": ["python", "-m", f"components.{self.component}"],
                "ContainerArguments": [self.mode],
            },
            "Environment": {
                name: value if isinstance(value, str) else resolve(value) for name, value in self.environment.items()
            },
            "ProcessingInputs": [_processing_input(name, place, resolve) for name, place in self.inputs.items()],
            "ProcessingOutputConfig": {"Outputs": [self._output(name, resolve) for name in self.results]},
            "ProcessingResources": {"ClusterConfig": resources},
            "RoleArn": resolve(Role()),
            "StoppingCondition": {"MaxRuntimeInSeconds": self.sizes.max_runtime},
            "NetworkConfig": {"EnableNetworkIsolation": self.sizes.network_isolation},
            **_tags(self.sizes),
        }

    def _output(self, name: str, resolve: Resolve) -> Request:
        output = {
            "S3Uri": resolve(Destination(self.name, name)),
            "LocalPath": f"{PROCESSING_ROOT}/output/{name}",
            "S3UploadMode": "EndOfJob",
        }
        return {"OutputName": name, "S3Output": output, "AppManaged": False}


@dataclass(frozen=True)
class TrainingJob(Job):
    """A CreateTrainingJob request."""

    channels: Mapping[str, Place] = field(default_factory=dict)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    max_wait: int | None = None  # seconds, for spot instances
    checkpoint: bool = False
    operation: ClassVar[str] = "CreateTrainingJob"

    def outputs(self) -> tuple[str, ...]:
        """A training job leaves its model, and output.tar.gz beside it."""
        return (MODEL_OUTPUT,)

    def request(self, resolve: Resolve) -> Request:
        """CreateTrainingJob."""
        destination = resolve(Destination(self.name, MODEL_OUTPUT))
        resources = self.sizes.cluster() | ({"VolumeKmsKeyId": self.sizes.kms_key} if self.sizes.kms_key else {})
        stopping = {"MaxRuntimeInSeconds": self.sizes.max_runtime}
        if self.sizes.spot:
            stopping["MaxWaitTimeInSeconds"] = max(self.max_wait or 0, self.sizes.max_runtime)
        request: Request = {
            "TrainingJobName": resolve(JobName(self.name)),
            "AlgorithmSpecification": {"TrainingImage": resolve(ImageOf(self.component)), "TrainingInputMode": "File"},
            "RoleArn": resolve(Role()),
            "HyperParameters": dict(self.hyperparameters),
            "InputDataConfig": [_channel(name, place, resolve) for name, place in self.channels.items()],
            "OutputDataConfig": {"S3OutputPath": destination},
            "ResourceConfig": resources,
            "StoppingCondition": stopping,
            "EnableNetworkIsolation": self.sizes.network_isolation,
            "EnableManagedSpotTraining": self.sizes.spot,
            **_tags(self.sizes),
        }
        if self.checkpoint:
            checkpoints = resolve(Destination(self.name, "checkpoints"))
            request["CheckpointConfig"] = {"S3Uri": checkpoints, "LocalPath": "/opt/ml/checkpoints"}
        return request


@dataclass(frozen=True)
class TuningJob(TrainingJob):
    """A CreateHyperParameterTuningJob request: trainings that differ in some hyperparameters, of which the best counts.

    Attributes:
        configuration: HyperParameterTuningJobConfig.
        metrics: MetricDefinitions, by which the service reads the metric in the log.
    """

    configuration: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Mapping[str, str], ...] = ()
    operation: ClassVar[str] = "CreateHyperParameterTuningJob"

    def request(self, resolve: Resolve) -> Request:
        """CreateHyperParameterTuningJob. `retries` are of each training, where the service itself was at fault."""
        training = super().request(resolve)
        definition = {name: value for name, value in training.items() if name in DEFINED}
        definition["StaticHyperParameters"] = training["HyperParameters"]
        metrics = [dict(metric) for metric in self.metrics]
        definition["AlgorithmSpecification"] = {**training["AlgorithmSpecification"], "MetricDefinitions": metrics}
        if self.retries:
            definition["RetryStrategy"] = {"MaximumRetryAttempts": self.retries}
        return {
            "HyperParameterTuningJobName": resolve(JobName(self.name, TUNING_NAME)),
            "HyperParameterTuningJobConfig": dict(self.configuration),
            "TrainingJobDefinition": definition,
            **_tags(self.sizes),
        }


DEFINED: Final = (
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableManagedSpotTraining",
)
"""What a tuning job's definition of its trainings says as a training job's request does."""


@dataclass(frozen=True)
class TransformJob(Job):
    """A CreateModel request and the CreateTransformJob request that uses the model."""

    data: Place = Raw("score")
    model: Place = Released("model")
    environment: Mapping[str, str] = field(default_factory=dict)
    strategy: str | None = None
    max_payload_mb: int | None = None
    concurrency: int | None = None
    operation: ClassVar[str] = "CreateTransformJob"

    def outputs(self) -> tuple[str, ...]:
        """One `<name>.out` for each input object."""
        return (SCORES_OUTPUT,)

    def model_request(self, resolve: Resolve) -> Request:
        """CreateModel."""
        return {
            "ModelName": resolve(JobName(self.name)),
            "PrimaryContainer": {
                "Image": resolve(ImageOf(self.component)),
                "ModelDataUrl": resolve(self.model),
                "Environment": dict(self.environment),
            },
            "ExecutionRoleArn": resolve(Role()),
            "EnableNetworkIsolation": self.sizes.network_isolation,
        }

    def request(self, resolve: Resolve) -> Request:
        """CreateTransformJob. What is left out is what the container answers on /execution-parameters."""
        chosen = {
            "BatchStrategy": self.strategy,
            "MaxPayloadInMB": self.max_payload_mb,
            "MaxConcurrentTransforms": self.concurrency,
        }
        return {
            "TransformJobName": resolve(JobName(self.name)),
            "ModelName": resolve(JobName(self.name)),
            **{name: value for name, value in chosen.items() if value is not None},
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": resolve(self.data)}},
                "ContentType": "text/csv",
                "CompressionType": "None",
                "SplitType": "Line",
            },
            "TransformOutput": {
                "S3OutputPath": resolve(Destination(self.name, SCORES_OUTPUT)),
                "Accept": "text/csv",
                # Our server ends each answer with a newline; "Line" would add a second one.
                "AssembleWith": "None",
            },
            "TransformResources": {"InstanceType": self.sizes.instance, "InstanceCount": self.sizes.count},
            **_tags(self.sizes),
        }


@dataclass(frozen=True)
class Publication:
    """What the training pipeline's last job, the release step, is about; engines branch on what it answers."""

    parts: Mapping[str, Output]
    gates: tuple[Gate, ...]
    approve: Literal["automatic", "manual"]
    evaluation: Output | None  # the training job whose evaluation.json the gates read
    after: tuple[str, ...]
    name: str = RELEASE_STEP


@dataclass(frozen=True)
class Origin:
    """What a release says of where it comes from and the manifest does not hold.

    Attributes:
        digest: SHA-256 of the manifest's file.
        revision: the code's git revision.
        images: what the components run in, by name; None: what the manifest names.
    """

    digest: str | None = None
    revision: str | None = None
    images: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Graph:
    """Jobs in an order in which each comes after all that it needs, and the release they end in (training only)."""

    pipeline: Literal["training", "inference"]
    jobs: tuple[Job, ...]
    publication: Publication | None = None

    def job(self, name: str) -> Job:
        """The job of this name."""
        return next(job for job in self.jobs if job.name == name)

    def layers(self) -> tuple[tuple[str, ...], ...]:
        """Names of the jobs that may run side by side, layer after layer."""
        depth: dict[str, int] = {}
        for job in self.jobs:
            depth[job.name] = 1 + max((depth[name] for name in job.after), default=-1)
        return tuple(tuple(name for name, at in depth.items() if at == level) for level in sorted(set(depth.values())))


Wiring = Mapping[str, Place]


def training_graph(
    manifest: Manifest, specs: Mapping[str, Spec], origin: Origin = Origin(), *, tunes: bool = False
) -> Graph:
    """The training pipeline: processing → algorithm → (monitoring, explainability) → release.

    Args:
        manifest: the use case.
        specs: the components.
        origin: what the release says besides.
        tunes: whether the engine has tuning jobs. One that has none trains once, with the settings as they stand.

    Raises:
        SettingsError: a step that another one needs is switched off.
    """
    raw = Raw("train", listed=bool(manifest.data.train.periods))
    processed = {name: Output("processing", name) for name in specs["processing"].train.all_outputs}
    model = Output("algorithm", MODEL_OUTPUT)
    wiring: dict[str, Wiring] = {
        "processing": {"data": raw},
        "algorithm": processed,
        "monitoring": {"data": raw, "model": model},
        "explainability": {"data": processed.get("train", raw), "model": model},
    }
    jobs = tuple(_jobs(manifest, specs, "train", manifest.pipelines.training.steps, wiring))
    tuning = manifest.components.algorithm.train.tuning
    if tunes and tuning is not None:
        jobs = tuple(_tuned(job, tuning) if isinstance(job, TrainingJob) else job for job in jobs)
    made = {output: job.name for job in jobs for output in job.outputs()}
    gates = manifest.pipelines.training.gates
    algorithm = model if any(job.name == "algorithm" for job in jobs) else None
    if gates and algorithm is None:
        raise SettingsError("pipelines.training.gates need step 'algorithm', which is switched off. Add it to steps.")
    publication = Publication(
        parts={part: Output(made[part], part) for part in PARTS if part in made},
        gates=gates,
        approve=manifest.pipelines.training.release.approve,
        evaluation=algorithm,
        after=tuple(job.name for job in jobs),
    )
    return Graph("training", (*jobs, _release(manifest, publication, raw, origin)), publication)


def _tuned(job: TrainingJob, tuning: Tuning) -> TuningJob:
    """The tuning job that stands in a training job's place."""
    schema = schema_of(job.component)
    seed = 0 if "seed" in tuning.ranges else int(job.hyperparameters.get("seed", "0"))
    training = {item.name: getattr(job, item.name) for item in fields(job)}
    return TuningJob(
        **{**training, "hyperparameters": fixed(job.hyperparameters, tuning, schema)},
        configuration=configuration(tuning, schema, seed),
        metrics=tuple(metric_definitions(tuning.metric)),
    )


def _release(manifest: Manifest, publication: Publication, raw: Raw, origin: Origin) -> ProcessingJob:
    """The last job: it makes one release of the parts (see shared.release)."""
    defaults = manifest.defaults
    return ProcessingJob(
        name=RELEASE_STEP,
        component="processing",
        mode="release",
        after=publication.after,
        sizes=replace(
            _sizes(defaults, Resources(), Resources(volume_gb=choices.volume_gb(manifest).value)),
            instance=choices.release_instance(manifest).value,
            count=1,
        ),
        retries=_first(defaults.retries, 0),
        inputs={**publication.parts, "settings": SettingsFile(RELEASE_STEP)},
        results=(RELEASE_STEP,),
        settings=_release_settings(manifest, publication, origin),
        environment={
            "QUARTET_RUN": RunId(),
            "QUARTET_STARTED_BY": StartedBy(),
            "QUARTET_PARENT": Parent(),
            "QUARTET_DATA": raw,
        },
    )


def _release_settings(manifest: Manifest, publication: Publication, origin: Origin) -> dict[str, Any]:
    """What the release step is told: the same for every run of the same manifest."""
    declared = {name: image.reference for name, image in manifest.images.items()}
    algorithm = manifest.images.get("algorithm")
    return {
        "name": manifest.name,
        "gates": [gate.model_dump(mode="json") for gate in publication.gates],
        "approve": publication.approve,
        "manifest": {"sha256": origin.digest},
        "revision": origin.revision,
        "images": declared if origin.images is None else dict(origin.images),
        "variant": algorithm.variant if algorithm else None,
        "data": {"uri": manifest.data.train.uri},
    }


def inference_graph(manifest: Manifest, specs: Mapping[str, Spec], *, labelled: bool = True) -> Graph:
    """The inference pipeline: processing → (algorithm by Batch Transform → monitoring, explainability).

    Everything that training made comes from the current release. Explaining needs the model and the prepared rows but
    not the scores, so it need not wait for them.

    Args:
        manifest: the use case.
        specs: the components.
        labelled: whether the outcomes have arrived; they come later than the data, and monitoring does without.

    Raises:
        SettingsError: the manifest names no data to score, or a step that another one needs is switched off.
    """
    if manifest.data.score is None:
        raise SettingsError("the manifest has no data.score, which the inference pipeline reads. Add its uri.")
    raw: dict[str, Place] = {"data": Raw("score")}
    labels: dict[str, Place] = {"labels": Raw("labels")} if manifest.data.labels and labelled else {}
    ready: dict[str, Place] = {"data": Output("processing", "data")}
    released: dict[str, Place] = {part: Released(part) for part in PARTS}
    wiring: dict[str, Wiring] = {
        "processing": {**raw, "state": released["state"]},
        "algorithm": {**ready, "model": released["model"]},
        "monitoring": {
            **raw,
            "baseline": released["baseline"],
            "scores": Output("algorithm", SCORES_OUTPUT),
            **labels,
        },
        "explainability": {**ready, "model": released["model"], "explainer": released["explainer"]},
    }
    return Graph("inference", tuple(_jobs(manifest, specs, "serve", manifest.pipelines.inference.steps, wiring)))


def _jobs(
    manifest: Manifest, specs: Mapping[str, Spec], mode: Mode, steps: tuple[str, ...], wiring: Mapping[str, Wiring]
) -> Iterator[Job]:
    for name in NAMES:
        if name in steps:
            yield _job(manifest, specs[name], mode, _inputs(specs[name], mode, wiring[name], steps))


def _inputs(spec: Spec, mode: Mode, wiring: Wiring, steps: tuple[str, ...]) -> dict[str, Place]:
    """The places of a component's inputs, in the order in which it declares them."""

    def available(place: Place) -> bool:
        return not isinstance(place, Output) or place.step in steps

    wanted = spec.mode(mode)
    # A Batch Transform declares what the server reads, if anything; its records and its model are always there.
    declared = wanted.all_inputs if wanted.job != "transform" else tuple(dict.fromkeys((*wiring, *wanted.all_inputs)))
    inputs = {name: wiring[name] for name in declared if name in wiring and available(wiring[name])}
    lacking = [name for name in wanted.inputs if name not in inputs and name != "settings"]
    if lacking:
        makers = {place.step for name in lacking if isinstance(place := wiring.get(name), Output)}
        maker = f"step {names(sorted(makers))} makes and `steps` switches off" if makers else "nothing makes"
        raise SettingsError(f"step {spec.name!r} needs {names(lacking)}, which {maker}. Change pipelines.*.steps.")
    return inputs


def _job(manifest: Manifest, spec: Spec, mode: Mode, inputs: dict[str, Place]) -> Job:
    """The job that runs one mode of a component."""
    component: Component = getattr(manifest.components, spec.name)
    own: Train | Serve = component.train if mode == "train" else component.serve
    declared = spec.mode(mode)
    settings = {**_vocabulary(manifest.data, spec.name), **component.settings, **own.settings}
    common: dict[str, Any] = {
        "name": spec.name,
        "component": spec.name,
        "mode": mode,
        "after": tuple(dict.fromkeys(place.step for place in inputs.values() if isinstance(place, Output))),
        "sizes": _sizes(manifest.defaults, own, choices.chosen(manifest, spec.name, mode)),
        "retries": _first(own.retries, manifest.defaults.retries, 0),
    }
    if declared.job == "training":
        assert isinstance(own, Train)
        return TrainingJob(
            **common,
            channels=inputs,
            hyperparameters={name: as_hyperparameter(value) for name, value in settings.items()},
            max_wait=own.max_wait,
            checkpoint=own.checkpoint,
        )
    if declared.job == "transform":
        assert isinstance(own, Serve)
        return TransformJob(
            **common,
            data=inputs["data"],
            model=inputs["model"],
            # Only what is said for serving: the model carries the settings it was trained with.
            environment={f"QUARTET_{name.upper()}": as_hyperparameter(value) for name, value in own.settings.items()},
            strategy=own.strategy,
            max_payload_mb=own.max_payload_mb,
            concurrency=own.concurrency,
        )
    if settings:
        inputs = {**inputs, "settings": SettingsFile(spec.name)}
    return ProcessingJob(**common, inputs=inputs, results=declared.outputs, settings=settings)


VOCABULARY: Final[Mapping[str, tuple[str, ...]]] = {
    "processing": ("target", "ids", "time", "drop"),
    "monitoring": ("target", "ids", "time", "drop"),
}
"""Which components read raw data, and so are told what `data` says of its columns. The others read schemas."""


def _vocabulary(data: Data, component: str) -> dict[str, Any]:
    """What the manifest says of the columns, for a component that reads raw data; a setting of its own overrides."""
    said = {"target": data.target, "ids": list(data.ids), "time": data.time, "drop": list(data.drop)}
    return {name: said[name] for name in VOCABULARY.get(component, ()) if said[name]}


def _sizes(defaults: Resources, own: Resources, choice: Resources) -> Sizes:
    """The machines of a job: what its mode says, else the manifest's defaults, else what is chosen, else ours."""
    chosen = {
        name: _first(getattr(own, name), getattr(defaults, name), getattr(choice, name), getattr(Sizes(), name))
        for name in ("instance", "count", "volume_gb", "max_runtime", "network_isolation", "spot", "kms_key")
    }
    return Sizes(**chosen, tags={**defaults.tags, **own.tags})


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _processing_input(name: str, place: Place, resolve: Resolve) -> Request:
    source = {
        "S3Uri": resolve(place),
        "LocalPath": f"{PROCESSING_ROOT}/input/{name}",
        "S3DataType": _data_type(place),
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }
    return {"InputName": name, "S3Input": source, "AppManaged": False}


def _channel(name: str, place: Place, resolve: Resolve) -> Request:
    source = {
        "S3DataType": _data_type(place),
        "S3Uri": resolve(place),
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _data_type(place: Place) -> str:
    return "ManifestFile" if isinstance(place, Raw) and place.listed else "S3Prefix"


def _tags(sizes: Sizes) -> Request:
    return {"Tags": [{"Key": key, "Value": value} for key, value in sorted(sizes.tags.items())]} if sizes.tags else {}
