"""The manifest `quartet/v1`: everything that a use case declares, in one YAML file.

Read once, at the edge, into frozen objects. Every problem of a file is told in one error, each with its line.
Settings of components stay free-form here: the component that gets them is the one that judges them.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from components.spec import NAMES
from pipelines import values
from shared.errors import SettingsError, did_you_mean, names

Engine = Literal["local", "sagemaker-pipelines", "step-functions", "airflow", "batch"]
ComponentName = Literal["processing", "algorithm", "monitoring", "explainability"]
Loc = tuple[str | int, ...]

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PLACEHOLDERS: Final = ("period", "storage", "run")
IMAGES_LOCK: Final = "images.lock.json"
"""Read beside the manifest when it is there: what `build.py push` writes."""
ARCHITECTURE: Final = "amd64"
"""The processor whose images are taken."""
NODES: Final = 100_000
"""Keys and values of a manifest, counted where an alias repeats them: a few short lines can mean billions."""
PROBLEMS: Final = 100
"""Problems of a manifest that are told, a line each."""
WORDS: Final[Mapping[str, str]] = {
    "MaxRuntimeInSeconds": "max_runtime",
    "MaxWaitTimeInSeconds": "max_wait",
    "InstanceType": "instance",
    "InstanceCount": "count",
    "VolumeSizeInGB": "volume_gb",
}
"""What the manifest calls what the API calls otherwise."""


def seconds(value: Any) -> Any:
    """A duration such as `90s`, `15m`, `2h` or `30d` in seconds; a whole number is already seconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d+)\s*([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration such as 90s, 15m, 2h or 30d")
    return int(match[1]) * SECONDS[match[2]]


def as_text(value: Any) -> Any:
    """A period as text: YAML reads 2013 as a number and 2013-05-01 as a date."""
    if isinstance(value, date):
        return value.isoformat()[:10]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def number(value: Any) -> Any:
    """A number; true is none, though Python takes it for 1."""
    if isinstance(value, bool):
        raise ValueError("a number")
    return value


def known_placeholders(value: str) -> str:
    """A uri whose placeholders are all known."""
    for name in re.findall(r"\{([^}]*)\}", value):
        if name not in PLACEHOLDERS:
            raise ValueError(f"a uri whose placeholders are among {names(PLACEHOLDERS)}, found {{{name}}}")
    return value


Duration = Annotated[int, BeforeValidator(seconds), Field(ge=1)]
PERIOD: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$"
"""A period names files and folders: no separators, and no leading dot."""
Period = Annotated[str, BeforeValidator(as_text), Field(pattern=PERIOD)]
Bound = Annotated[float, BeforeValidator(number)]
Uri = Annotated[str, Field(min_length=1), AfterValidator(known_placeholders)]


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,23}$"), AfterValidator(values.use_case_name)]
EnvironmentName = Annotated[str, Field(pattern=values.ENVIRONMENT)]
Region = Annotated[str, Field(pattern=values.REGION)]
Stored = Annotated[str, AfterValidator(values.stored)]
Topic = Annotated[str, AfterValidator(values.topic)]
EncryptionKey = Annotated[str, AfterValidator(values.encryption_key)]
TagKey = Annotated[str, AfterValidator(values.tag_key)]
Expression = Annotated[str, AfterValidator(values.schedule)]
Alarm = Literal["training_failed", "inference_failed", "loop_failed"]


class Part(BaseModel):
    """Base of every part of the manifest: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Image(Part):
    """Where a component's image is: cloud engines refuse one without a digest, the local engine needs none."""

    uri: str
    digest: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$")
    variant: str | None = None

    @property
    def reference(self) -> str:
        """What pulls the image: `uri@sha256:…`, or the uri alone while there is no digest."""
        return f"{self.uri}@{self.digest}" if self.digest and "@" not in self.uri else self.uri


class Resources(Part):
    """What a job runs on, and how long it may."""

    instance: str | None = Field(default=None, pattern=r"^ml\.[a-z0-9.-]+$")
    count: int | None = Field(default=None, ge=1, le=100)
    volume_gb: int | None = Field(default=None, ge=1, le=16384)
    max_runtime: Duration | None = None
    retries: int | None = Field(default=None, ge=0, le=30)
    network_isolation: bool | None = None
    spot: bool | None = None
    kms_key: EncryptionKey | None = None
    tags: Annotated[dict[TagKey, str], AfterValidator(values.tags)] = Field(default_factory=dict)


class Train(Resources):
    """A component's `train` mode: what differs from `defaults` and from the component's settings."""

    settings: dict[str, Any] = Field(default_factory=dict)
    max_wait: Duration | None = None
    checkpoint: bool = False


class Range(Part):
    """Where tuning looks for a setting's value: between two numbers, which belong to it, or among listed values."""

    min: int | float | None = None
    max: int | float | None = None
    scale: Literal["auto", "linear", "log", "reverse-log"] = "auto"
    values: tuple[Any, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _list_is_short_for_values(cls, said: Any) -> Any:
        return {"values": said} if isinstance(said, list | tuple) else said

    @model_validator(mode="after")
    def _says_where(self) -> Range:
        if self.values:
            self._check_values()
        elif self.min is None or self.max is None or self.min >= self.max:
            raise ValueError("a min below a max, or a list of values")
        elif self.scale == "log" and self.min <= 0:
            raise ValueError("a min above 0, where scale is log")
        elif self.scale == "reverse-log" and not 0 <= self.min < self.max < 1:
            raise ValueError("a min of at least 0 and a max below 1, where scale is reverse-log")
        return self

    def _check_values(self) -> None:
        if (self.min, self.max, self.scale) != (None, None, "auto"):
            raise ValueError("either min and max, or values")
        texts = [json.dumps(value, sort_keys=True, default=str) for value in self.values]
        if not 2 <= len(set(texts)) == len(texts) <= 30:
            raise ValueError("2 to 30 values that are all different")


class Tuning(Part):
    """A search for settings: many trainings, of which the one with the best metric gives the model."""

    metric: str = Field(pattern=r"^validation:[A-Za-z0-9_@.-]{1,200}$")
    direction: Literal["maximize", "minimize"]
    max_jobs: int = Field(default=10, ge=1, le=750)
    parallel: int = Field(default=2, ge=1, le=10)
    strategy: Literal["Bayesian", "Random", "Grid"] = "Bayesian"
    early_stopping: Literal["off", "auto"] = "off"
    ranges: dict[Annotated[str, Field(min_length=1, max_length=256)], Range] = Field(min_length=1, max_length=30)

    @model_validator(mode="after")
    def _jobs_suffice(self) -> Tuning:
        if self.parallel > self.max_jobs:
            raise ValueError(f"parallel of at most max_jobs, which is {self.max_jobs}")
        if self.strategy == "Grid":
            lengths = [len(found.values) for found in self.ranges.values()]
            if 0 in lengths:
                raise ValueError("lists of values alone, where strategy is Grid")
            if math.prod(lengths) > self.max_jobs:
                raise ValueError(f"max_jobs of at least {math.prod(lengths)}, the combinations of the Grid")
        return self


class AlgorithmTrain(Train):
    """The algorithm's `train` mode, which engines on SageMaker can tune."""

    tuning: Tuning | None = None

    @model_validator(mode="after")
    def _trainings_are_apart(self) -> AlgorithmTrain:
        if self.tuning is not None and self.checkpoint:
            raise ValueError("either tuning or checkpoint: trainings would go on from one another's checkpoints")
        return self


class Serve(Resources):
    """A component's `serve` mode; strategy, payload and concurrency are Batch Transform's."""

    settings: dict[str, Any] = Field(default_factory=dict)
    strategy: Literal["MultiRecord", "SingleRecord"] | None = None
    max_payload_mb: int | None = Field(default=None, ge=1, le=100)
    concurrency: int | None = Field(default=None, ge=1, le=100)

    @model_validator(mode="after")
    def _fits_the_service(self) -> Serve:
        if (self.max_payload_mb or 1) * (self.concurrency or 1) > 100:
            raise ValueError("max_payload_mb times concurrency is at most 100")
        return self


class Component(Part):
    """Settings of a component in both modes, and what one mode does differently."""

    settings: dict[str, Any] = Field(default_factory=dict)
    train: Train = Train()
    serve: Serve = Serve()


class Algorithm(Component):
    """The component that may be tuned."""

    train: AlgorithmTrain = AlgorithmTrain()


class Components(Part):
    """The four components."""

    processing: Component = Component()
    algorithm: Algorithm = Algorithm()
    monitoring: Component = Component()
    explainability: Component = Component()


class Source(Part):
    """Where data lie, and in what form. `format` and `header` are hints; without them a component finds out."""

    uri: Uri
    format: Literal["csv", "parquet", "jsonl"] | None = None
    schema_: str | None = Field(default=None, alias="schema")


class TrainSource(Source):
    """The labelled history. With `{period}` in the uri, `periods` says which parts the first training takes."""

    periods: tuple[Period, ...] = ()

    @model_validator(mode="after")
    def _periods_and_uri_agree(self) -> TrainSource:
        if ("{period}" in self.uri) != bool(self.periods):
            raise ValueError("a uri with {period} and the list periods go together")
        return self


class Data(Part):
    """The data of the use case, and what every component should know of its columns."""

    train: TrainSource
    score: Source | None = None
    labels: Source | None = None
    periods: tuple[Period, ...] = ()
    ids: tuple[str, ...] = ()
    target: str | None = None
    time: str | None = None
    drop: tuple[str, ...] = ()
    gigabytes: float | None = Field(default=None, gt=0, le=100_000)
    prepare: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*$")

    @model_validator(mode="after")
    def _periods_are_distinct(self) -> Data:
        if len(set(self.periods)) < len(self.periods):
            raise ValueError("periods that are all different")
        return self

    @property
    def known_periods(self) -> tuple[str, ...]:
        """Every period that the manifest lists, those that the first training learns from first."""
        return tuple(dict.fromkeys((*self.train.periods, *self.periods)))


class Gate(Part):
    """A metric of `evaluation.json` that a release must reach."""

    metric: str = Field(min_length=1)
    step: Literal["algorithm"] = "algorithm"
    min: Bound | None = None
    max: Bound | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Gate:
        if self.min is None and self.max is None:
            raise ValueError("a gate with min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("a gate whose min is at most its max")
        return self


class ReleasePolicy(Part):
    """Who moves the pointer after a training whose gates are met."""

    approve: Literal["automatic", "manual"] = "manual"


Steps = Annotated[tuple[ComponentName, ...], Field(min_length=1)]


class TrainingPipeline(Part):
    """The training pipeline."""

    steps: Steps = NAMES
    cache: Duration | None = None
    gates: tuple[Gate, ...] = ()
    release: ReleasePolicy = ReleasePolicy()


class InferencePipeline(Part):
    """The inference pipeline."""

    steps: Steps = NAMES
    release: Literal["current"] = "current"
    output: Uri | None = None


class Pipelines(Part):
    """The two pipelines. Their edges are fixed; `steps` only switches components off."""

    training: TrainingPipeline = TrainingPipeline()
    inference: InferencePipeline = InferencePipeline()

    @model_validator(mode="after")
    def _released_before_used(self) -> Pipelines:
        lacking = [step for step in self.inference.steps if step not in self.training.steps]
        if lacking:
            raise ValueError(f"inference steps that training has too; {names(lacking)} is switched off in training")
        return self


class Schedule(Part):
    """When the pipelines start by themselves (EventBridge expressions)."""

    inference: Expression | None = None
    training: Expression | None = None
    timezone: Annotated[str, AfterValidator(values.time_zone)] = "UTC"


class DriftCondition(Part):
    """When drift counts: the verdict, and in how many runs one after the other."""

    detected: Literal[True] = True
    runs: int = Field(default=1, ge=1)


class DriftData(Part):
    """What a retraining that drift started trains on: the latest periods, or another uri."""

    periods: int | None = Field(default=None, ge=1)
    uri: Uri | None = Field(default=None, alias="data.train")

    @model_validator(mode="after")
    def _says_one(self) -> DriftData:
        if (self.periods is None) == (self.uri is None):
            raise ValueError("either periods (how many of the latest) or data.train (a uri)")
        return self


class Drift(Part):
    """What happens when a scored period has drifted."""

    when: DriftCondition = DriftCondition()
    then: Literal["retrain", "notify"] = "notify"
    with_: DriftData | None = Field(default=None, alias="with")
    cooldown: Duration = 86400
    max_per_month: int = Field(default=4, ge=1)
    notify: Topic | None = None

    @model_validator(mode="after")
    def _retraining_has_data(self) -> Drift:
        if self.then == "retrain" and self.with_ is None:
            raise ValueError("then: retrain goes together with `with`, the data to train on")
        return self


class Batch(Part):
    """Where jobs run on AWS Batch, for the engine `batch` and for `step-functions` with `platform: batch`."""

    capacity: Literal["EC2", "FARGATE"] = "EC2"
    subnets: tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]+$")], ...] = ()
    security_groups: tuple[Annotated[str, Field(pattern=r"^sg-[0-9a-f]+$")], ...] = ()
    max_vcpus: int = Field(default=64, ge=1)


MANAGED: Final = re.compile(
    r"arn:aws(-us-gov)?:sagemaker:(?P<region>[a-z0-9-]+):\d{12}:(?P<kind>mlflow-tracking-server|mlflow-app)/[A-Za-z0-9-]+"
)
"""The ARN of an MLflow that SageMaker runs."""


def server_uri(value: str) -> str:
    """The uri of a tracking server, without credentials, or the ARN of one that SageMaker runs."""
    if MANAGED.fullmatch(value):
        return value
    found = urlsplit(value)
    if found.scheme not in ("http", "https") or not found.hostname or found.query or found.fragment:
        raise ValueError("the uri of an MLflow server, such as https://mlflow.example.com, or the ARN of SageMaker's")
    if "@" in found.netloc:
        raise ValueError("a uri without credentials: they belong in MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN")
    return value


class Tracking(Part):
    """The MLflow tracking server in which each release becomes a run."""

    uri: Annotated[str, AfterValidator(server_uri)]
    experiment: str | None = Field(default=None, min_length=1, max_length=500)


class Environment(Part):
    """What differs in one deployment (dev, prod)."""

    region: Region | None = None
    storage: Stored | None = None
    role: str | None = None
    defaults: Resources = Resources()
    gates_required: bool = False


class Manifest(Part):
    """A use case."""

    api_version: Literal["quartet/v1"] = Field(alias="apiVersion")
    name: Name
    data: Data
    components: Components
    engine: Engine = "local"
    platform: Literal["sagemaker", "batch"] = "sagemaker"
    batch: Batch = Batch()
    region: Region | None = None
    storage: Stored | None = None
    role: str | None = None
    images: dict[ComponentName, Image] = Field(default_factory=dict)
    images_lock: str | None = Field(default=None, min_length=1)
    defaults: Resources = Resources()
    pipelines: Pipelines = Pipelines()
    schedule: Schedule = Schedule()
    drift: Drift | None = None
    alarms: dict[Alarm, Topic] = Field(default_factory=dict)
    tracking: Tracking | None = None
    environments: dict[EnvironmentName, Environment] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _window_has_periods(self) -> Manifest:
        window = self.drift.with_ if self.drift else None
        if window and window.periods and not self.data.train.periods:
            raise ValueError("drift.with.periods goes together with data.train.periods")
        return self

    @model_validator(mode="after")
    def _platform_has_its_engine(self) -> Manifest:
        if self.platform == "batch" and self.engine not in ("step-functions", "batch", "local"):
            raise ValueError(f"platform: batch goes together with engine: step-functions, found {self.engine}")
        return self


@dataclass(frozen=True)
class Document:
    """A YAML file as it was written: what it holds, and on which line."""

    path: Path
    value: Any
    digest: str  # hex SHA-256 of the file's bytes

    def line(self, loc: Sequence[str | int]) -> int:
        """Line, from 1, of the key or item at `loc`; for what is not there, that of the nearest parent."""
        line, node = 1, self.value
        for key in loc:
            found = _line(node, key)
            if found is None:
                return line
            line, node = found, node[key]
        return line

    def where(self, loc: Sequence[str | int]) -> str:
        """`file:line: path` of the thing at `loc`."""
        return f"{self.path}:{self.line(loc)}: {dotted(loc)}"

    def located(self, problem: str) -> str:
        """A problem that an engine has found, behind the place of the value that it tells; as it is without one."""
        found = [(len(repr(value)), loc) for loc, value in _leaves(self.value) if _tells(problem, loc, value)]
        return f"{self.where(max(found, key=lambda one: one[0])[1])}: {problem}" if found else problem

    @contextmanager
    def locating(self) -> Iterator[None]:
        """What engines find wrong with the manifest inside the block, with its lines."""
        try:
            yield
        except SettingsError as error:
            raise type(error)("\n".join(map(self.located, str(error).splitlines()))) from None


@dataclass(frozen=True)
class UseCase:
    """A manifest that has been read and found good, with the document it came from."""

    manifest: Manifest
    document: Document


def _leaves(node: Any, loc: Loc = ()) -> Iterator[tuple[Loc, Any]]:
    """Every text, number and the like of a document, with its path."""
    if isinstance(node, Mapping):
        for key, item in node.items():
            yield from _leaves(item, (*loc, key))
    elif isinstance(node, list | tuple):
        for index, item in enumerate(node):
            yield from _leaves(item, (*loc, index))
    else:
        yield loc, plain(node)


def _tells(problem: str, loc: Loc, value: Any) -> bool:
    """Whether a problem is one of this value: quotes it, or tells it under the API's word for its key."""
    told = re.match(r"\w+(?:\.\w+|\[\d+\])*\.(\w+) is (\S+)", problem)
    if told is None or told[1] not in WORDS:
        return isinstance(value, str) and repr(value) in problem
    if loc[-1] != WORDS[told[1]]:
        return False
    try:
        return told[2].strip(",") in (repr(value), f"{seconds(value):,}")
    except ValueError:
        return told[2].strip(",") == repr(value)


def _line(node: Any, key: str | int) -> int | None:
    """Line, from 1, where a mapping has `key` or a sequence has item `key`."""
    if isinstance(node, CommentedMap) and key in node:
        return int(node.lc.key(key)[0]) + 1
    if isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
        return int(node.lc.item(key)[0]) + 1
    return None


def dotted(loc: Sequence[str | int]) -> str:
    """`("data", "train", 0, "uri")` as `data.train[0].uri`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in loc)
    return text.removeprefix(".") or "manifest"


def read_manifest(path: Path) -> UseCase:
    """The use case that a file declares, with the images that its lock file names.

    Raises:
        SettingsError: a file is missing, is no YAML or JSON, or has problems: all of them are named, a line each.
    """
    document = read_document(path)
    problems = set(_misread(document))
    try:
        manifest = Manifest.model_validate(plain(document.value))
    except ValidationError as error:
        problems |= {_problem(item, document) for item in error.errors(include_url=False)}
    if problems:
        raise SettingsError("\n".join(at_most(text for _, text in sorted(problems))))
    return UseCase(with_images(manifest, read_images_lock(manifest, path.parent)), document)


def at_most(problems: Iterable[str]) -> Iterator[str]:
    """As many problems as anybody reads, and how many more there are."""
    told = list(problems)
    yield from told[:PROBLEMS]
    if len(told) > PROBLEMS:
        yield f"and {len(told) - PROBLEMS:,} more."


def _misread(document: Document) -> Iterator[tuple[int, str]]:
    """Line and sentence of each period that YAML takes for something that is written otherwise, such as 01 for 1."""
    for above in (("data",), ("data", "train")):
        part = document.value
        for key in (*above, "periods"):
            part = part.get(key) if isinstance(part, Mapping) else None
        for index, period in enumerate(part if isinstance(part, CommentedSeq) else ()):
            if isinstance(period, str | bool) or type(period) in (int, date):
                continue  # as it is written, or refused anyhow
            loc, written = (*above, "periods", index), _as_written(period)
            if isinstance(period, int | date) and written != as_text(period):
                text = f"found {written}, which YAML takes for {as_text(period)}, wanted it in quotes: '{written}'."
                yield document.line(loc), f"{document.where(loc)}: {text}"


def _as_written(value: Any) -> str:
    """A value as it stands in the file."""
    stream = io.StringIO()
    YAML(typ="rt", pure=True).dump([value], stream)
    return re.sub(r"^- (&\S+ )?", "", stream.getvalue().strip())


def read_images_lock(manifest: Manifest, folder: Path) -> dict[str, str]:
    """The images in the lock file that the manifest names, else in the one beside it; none without a file.

    Returns:
        `repository@sha256:…` by `component/variant/architecture`, as `build.py push` writes it.

    Raises:
        SettingsError: the file that the manifest names does not exist, or a file is no such lock.
    """
    path = folder / (manifest.images_lock or IMAGES_LOCK)
    if not path.is_file():
        if manifest.images_lock is None:
            return {}
        raise SettingsError(f"images_lock {path} does not exist. Push the images with build.py, which writes it.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"images_lock {path} is no JSON: {error}. Push the images again.") from None
    if not isinstance(value, dict) or not all(_is_locked(key, image) for key, image in value.items()):
        raise SettingsError(
            f"images_lock {path} is none, wanted component/variant/architecture to repository@sha256:…. "
            "Push the images with build.py, which writes it."
        )
    return value


def _is_locked(key: str, image: Any) -> bool:
    return key.count("/") == 2 and isinstance(image, str) and re.search(r".@sha256:[0-9a-f]{64}$", image) is not None


def with_images(manifest: Manifest, lock: Mapping[str, str]) -> Manifest:
    """The manifest with the locked image of every component that it names no image of."""
    found = dict(manifest.images)
    for name in NAMES:
        key = f"{name}/{variant_of(manifest, name)}/{ARCHITECTURE}"
        if key in lock and name not in found:
            uri, _, digest = lock[key].rpartition("@")
            found[name] = Image(uri=uri, digest=digest, variant=variant_of(manifest, name))
    return manifest.model_copy(update={"images": found}) if found != manifest.images else manifest


def variant_of(manifest: Manifest, component: str) -> str:
    """The variant of an image that runs a component's settings: `cpu`, or what framework and device want."""
    image = manifest.images.get(component)  # type: ignore[call-overload]
    if image is not None and image.variant:
        return str(image.variant)
    if component != "algorithm":
        return "cpu"
    own = manifest.components.algorithm
    settings = {**own.settings, **own.train.settings}
    return f"{settings.get('framework', 'xgboost')}-{settings.get('device', 'cpu')}"


def for_environment(manifest: Manifest, name: str | None) -> Manifest:
    """The manifest as it is in one of its environments: what the environment says comes first, tags are of both.

    Raises:
        SettingsError: there is no such environment, or it requires gates and there are none.
    """
    if name is None:
        return manifest
    if name not in manifest.environments:
        known = f" It has {names(manifest.environments)}." if manifest.environments else " It has none."
        hint = did_you_mean(name, manifest.environments) or known
        raise SettingsError(f"the manifest has no environment {name!r}.{hint}")
    own = manifest.environments[name]
    if own.gates_required and not manifest.pipelines.training.gates:
        raise SettingsError(f"environment {name!r} requires gates. Add pipelines.training.gates.")
    said = {key: value for key in ("region", "storage", "role") if (value := getattr(own, key)) is not None}
    return manifest.model_copy(update={**said, "defaults": merged(manifest.defaults, own.defaults)})


def merged(base: Resources, own: Resources) -> Resources:
    """Resources where what `own` says comes first; tags are of both."""
    said = own.model_dump(exclude_none=True)
    return Resources.model_validate({**base.model_dump(), **said, "tags": {**base.tags, **own.tags}})


def read_document(path: Path) -> Document:
    """The YAML mapping in a file, with its lines.

    Raises:
        SettingsError: the file is missing, is no YAML, repeats a key, holds no mapping, is nested too deeply, or
            has aliases that make it too large.
    """
    try:
        content = path.read_bytes()
        value = YAML(typ="rt", pure=True).load(content.decode("utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise SettingsError(f"manifest {path} does not exist. Name a YAML file such as use-case.yaml.") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: the file is no UTF-8 text ({error.reason} at byte {error.start}).") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise SettingsError(f"{path}:{mark.line + 1 if mark else 1}: no YAML: {_first_line(error.problem)}.") from None
    except YAMLError as error:  # a character that YAML does not know
        line = content.decode("utf-8")[: getattr(error, "position", 0)].count("\n") + 1
        raise SettingsError(f"{path}:{line}: no YAML: {_first_line(str(error))}.") from None
    except RecursionError:
        raise SettingsError(f"{path}:1: the manifest is nested too deeply. Write it flatter.") from None
    _check_size(path, value)
    if not isinstance(value, CommentedMap):
        raise SettingsError(f"{path}:1: found {_kind(value)}, wanted a mapping: apiVersion: quartet/v1 …")
    return Document(path, value, hashlib.sha256(content).hexdigest())


def _check_size(path: Path, value: Any) -> None:
    """Make sure that all that the aliases stand for can be written out.

    Raises:
        SettingsError: it is too much.
    """
    if next(itertools.islice(_nodes(value), NODES, None), None) is not None:
        raise SettingsError(
            f"{path}:1: the manifest has more than {NODES:,} keys and values, aliases (*name) written out. "
            "Use fewer aliases, or shorter lists."
        )


def _nodes(value: Any) -> Iterator[int]:
    """A 1 for each key, item and value in a YAML value."""
    yield 1
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _nodes(item)


def plain(value: Any) -> Any:
    """A round-trip YAML value as plain dictionaries, lists, numbers and text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, date):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return bool(value)


def _problem(error: Any, document: Document) -> tuple[int, str]:
    """Line and sentence of one of pydantic's errors."""
    loc: Loc = tuple(key for key in error["loc"] if key != "[key]")
    where = document.where(loc)
    return document.line(loc), f"{where}: {_found_and_wanted(error, loc)}"


def _found_and_wanted(error: Any, loc: Loc) -> str:
    if error["type"] == "extra_forbidden":
        known = known_keys(loc[:-1])
        hint = did_you_mean(str(loc[-1]), known) or f" Known keys: {', '.join(known)}."
        return f"no known key.{hint}"
    if error["type"] == "missing":
        return "nothing found, but this key is required."
    wanted = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    wanted = wanted.replace("String should match pattern", "text that matches")
    near = did_you_mean(str(error["input"]), _listed(error)) if error["type"] == "literal_error" else ""
    return f"found {_shown(error['input'])}, wanted {wanted}.{near}"


def _listed(error: Any) -> list[str]:
    """The names of which one was wanted."""
    return re.findall(r"'([^']*)'", error["ctx"]["expected"])


def _shown(value: Any) -> str:
    if isinstance(value, Part):
        value = value.model_dump(by_alias=True, exclude_unset=True)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _kind(value: Any) -> str:
    if value is None:
        return "an empty file"
    return "a list" if isinstance(value, list) else f"the {type(value).__name__} {_shown(plain(value))}"


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0].rstrip(".")


def known_keys(loc: Sequence[str | int]) -> list[str]:
    """The keys that the manifest knows at `loc`, as they are written in YAML."""
    part: Any = Manifest
    for key in loc:
        part = _below(part, key)
    if not (isinstance(part, type) and issubclass(part, Part)):
        return []
    return [field.alias or name for name, field in part.model_fields.items()]


def _below(part: Any, key: str | int) -> Any:
    """The declared type one step down: a field of a Part, the values of a mapping, the items of a list."""
    if isinstance(part, type) and issubclass(part, Part):
        fields = {field.alias or name: field.annotation for name, field in part.model_fields.items()}
        return _bare(fields.get(str(key)))
    arguments = typing.get_args(part)
    return _bare(arguments[-1] if typing.get_origin(part) is dict else arguments[0]) if arguments else None


def _bare(annotation: Any) -> Any:
    """An annotation without Annotated and without `| None`."""
    if typing.get_origin(annotation) is Annotated:
        return _bare(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _bare(next(item for item in typing.get_args(annotation) if item is not types.NoneType))
    return annotation
