"""Where a use case lies in the cloud: prefixes in S3, names in Parameter Store, roles and images.

Below the manifest's `storage`, which is `s3://bucket/prefix`:

    training/<run>/<step>/<output>/      what a job made; inference/ likewise
    training/<run>/algorithm/            a training job's output path: the service adds <job>/output/model.tar.gz
    releases/<run>/release.json          with verdict.json and evaluation.json beside it
    config/<digest>/                     what rendering makes and deploying stores: named by its content, never changed

All of this is arithmetic on names: nothing is asked of AWS, so the same manifest gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from pipelines.graph import (
    MODEL_OUTPUT,
    RELEASE_STEP,
    SCORES_OUTPUT,
    Destination,
    Graph,
    ImageOf,
    JobName,
    Output,
    Parent,
    ProcessingJob,
    Raw,
    Reference,
    Released,
    Role,
    RunId,
    SettingsFile,
    StartedBy,
)
from pipelines.limits import JOB_NAME, check_parameter
from pipelines.manifest import Data, Manifest
from pipelines.periods import window_of
from shared.errors import SettingsError, names
from shared.files import json_text

NO_PERIOD: Final = "none"
"""The value of the parameter `Period` when what is scored has no name."""
DIGITS: Final = 16
"""Hexadecimal digits of a digest that name a prefix: 64 bits, enough for files that nobody forges."""
RUN: Final = 200
"""Characters of a run's id, at most."""
ROLE_NAME: Final = 64
"""Characters of a role's name, at most, without its path. Source: "IAM and AWS STS quotas"."""
ROLE: Final = re.compile(r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/.+")


@dataclass(frozen=True)
class Rendered:
    """What rendering gives.

    Attributes:
        files: by relative name, what people read and deploy.
        uploads: by S3 uri, what has to lie there before anything starts. Named by content: stored once, never changed.
    """

    files: Mapping[str, bytes]
    uploads: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Where one use case, in one environment, lives.

    Attributes:
        name: the use case's.
        environment: dev, prod or another; None when the manifest is deployed once.
        storage: `s3://bucket/prefix` without a slash at its end: what runs make, releases, what jobs read.
        region: such as eu-west-1.
        role: the ARN of the role that jobs run under.
        data: what `{storage}` means in the uris of the manifest's data, which environments may share.
        scores: where scores go when the manifest says so; `{run}` stands for the run's id.
    """

    name: str
    environment: str | None
    storage: str
    region: str
    role: str
    data: str = ""
    scores: str = ""

    @property
    def title(self) -> str:
        """What stacks, pipelines, machines, queues and model groups are called, such as `quartet-flights-prod`.

        The prefix tells people whose they are, and lets a role be limited to them.
        """
        return f"quartet-{self.name}-{self.environment}" if self.environment else f"quartet-{self.name}"

    @property
    def tags(self) -> dict[str, str]:
        """What the use case's resources and jobs are tagged with, so that costs and permissions can be told apart."""
        found = {"quartet:use-case": self.name}
        return {**found, "quartet:environment": self.environment} if self.environment else found

    @property
    def description(self) -> str:
        """What a stack says of itself, which tells `flights-prod` from `flights` in the environment `prod`."""
        return f"Quartet: use case {self.name}" + (f" in environment {self.environment}" if self.environment else "")

    @property
    def parameters(self) -> str:
        """The path of all its parameters in Parameter Store."""
        return f"/{self.name}/{self.environment}" if self.environment else f"/{self.name}"

    @property
    def pointer(self) -> str:
        """The parameter that holds the uri of the release in use."""
        return f"{self.parameters}/releases/current"

    @property
    def drift_state(self) -> str:
        """The parameter that remembers the last retraining."""
        return f"{self.parameters}/drift/state"

    @property
    def account(self) -> str:
        """The account, which is the role's."""
        return self._role["account"]

    @property
    def partition(self) -> str:
        """The partition, such as aws or aws-cn."""
        return self._role["partition"]

    @property
    def _role(self) -> re.Match[str]:
        match = ROLE.fullmatch(self.role)
        assert match is not None, self.role
        return match

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def queue_url(self, name: str) -> str:
        """The url of a queue of this account and region."""
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"https://sqs.{self.region}.{suffix}/{self.account}/{name}"

    @property
    def drift_queue(self) -> str:
        """The name of the queue on which a SageMaker pipeline tells of drift and waits for an answer."""
        return f"{self.title}-drift"

    def path(self, uri: str) -> str:
        """A uri of the manifest with `{storage}` filled in.

        Raises:
            SettingsError: it does not lie in S3.
        """
        filled = uri.replace("{storage}", self.data or self.storage)
        if not filled.startswith("s3://"):
            raise SettingsError(f"uri {uri!r} does not lie in S3, where jobs in the cloud read. Give s3://bucket/….")
        return filled

    def config(self, name: str, content: bytes) -> tuple[str, bytes]:
        """Uri and content of a file that is named by its content."""
        return f"{self.storage}/config/{hashlib.sha256(content).hexdigest()[:DIGITS]}/{name}", content


def object_of(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 uri."""
    parts = urlsplit(uri)
    return parts.netloc, parts.path.removeprefix("/")


def site_of(manifest: Manifest, environment: str | None = None) -> Site:
    """Where the use case lives.

    Args:
        manifest: as it is in the environment (see `manifest.for_environment`).
        environment: its name.

    Raises:
        SettingsError: the manifest lacks what the cloud has to know, or has it in another form.
    """
    lacking = [name for name in ("region", "role", "storage") if not getattr(manifest, name)]
    if lacking:
        raise SettingsError(f"the manifest has no {names(lacking)}, which every engine in the cloud wants. Add it.")
    storage, role = str(manifest.storage).rstrip("/"), str(manifest.role)
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^{}]*)?", storage):
        raise SettingsError(f"storage is {manifest.storage!r}, wanted s3://bucket/prefix for an engine in the cloud.")
    if not ROLE.fullmatch(role):
        raise SettingsError(f"role is {role!r}, wanted the ARN of a role: arn:aws:iam::<account>:role/<name>.")
    name = role.rpartition("/")[2]
    if len(name) > ROLE_NAME:
        raise SettingsError(f"the role's name has {len(name)} characters, wanted at most {ROLE_NAME}. Rename the role.")
    # Two environments that share a storage must not share releases: one would promote what the other has trained.
    shared = environment is not None and manifest.environments[environment].storage is None
    place = f"{storage}/{environment}" if shared else storage
    site = Site(manifest.name, environment, place, str(manifest.region), role, storage)
    check_parameter(site.pointer, f"{place}/releases/{'r' * RUN}/release.json")
    output = manifest.pipelines.inference.output
    if output and "{period}" in output:
        raise SettingsError(
            f"pipelines.inference.output is {output!r}, wanted a uri without {{period}}: {{run}} is known."
        )
    return replace(site, scores=site.path(output).rstrip("/")) if output else site


def settings_files(site: Site, graph: Graph) -> dict[str, tuple[str, bytes]]:
    """The settings.json of each job that reads one: by step, uri and content."""
    return {
        job.name: site.config("settings.json", json_text(dict(job.settings)).encode())
        for job in graph.jobs
        if isinstance(job, ProcessingJob) and "settings" in job.inputs
    }


def listing(site: Site, uri: str, periods: Sequence[str]) -> tuple[str, bytes]:
    """A manifest file of some periods, as SageMaker reads it: uri and content.

    Args:
        site: where it goes.
        uri: with `{period}`.
        periods: which of them.

    Raises:
        SettingsError: the uri does not lie in S3.
    """
    template = site.path(uri)
    prefix = listed_prefix(template)
    rows = [template.replace("{period}", period).removeprefix(prefix) for period in periods]
    return site.config("train.manifest", (json.dumps([{"prefix": prefix}, *rows]) + "\n").encode())


def listed_prefix(uri: str) -> str:
    """What the uris of all periods begin with: the folder in which, or in a subfolder of which, they lie."""
    return uri[: uri.index("{period}")].rpartition("/")[0] + "/"


def training_data(site: Site, data: Data) -> tuple[str, dict[str, bytes]]:
    """What the training pipeline learns from when nobody says otherwise: the uri, and what to store for it."""
    if not data.train.periods:
        return site.path(data.train.uri), {}
    uri, content = listing(site, data.train.uri, data.train.periods)
    return uri, {uri: content}


def windows(site: Site, data: Data, count: int) -> dict[str, tuple[str, bytes]]:
    """For each period of the manifest, the listing of the `count` periods that end with it: uri and content."""
    return {period: window_ending(site, data, count, period) for period in data.known_periods}


def window_ending(site: Site, data: Data, count: int, last: str) -> tuple[str, bytes]:
    """The listing of the `count` periods that end with `last`: uri and content.

    Raises:
        SettingsError: no window ends with it.
    """
    return listing(site, data.train.uri, window_of(data.known_periods, count, last))


def no_labels(site: Site, data: Data) -> tuple[str, bytes]:
    """The file that stands for outcomes which nobody knows yet: a header, and no row."""
    columns = [*data.ids, *([data.target] if data.target else [])]
    return site.config("labels.csv", (",".join(columns) + "\n").encode())


def score_data(site: Site, data: Data) -> str | None:
    """The uri of what to score; None when it wants a period, which only who starts a run knows."""
    uri = site.path(data.score.uri) if data.score else None
    return None if uri is None or "{period}" in uri else uri


Joined = Callable[..., Any]
"""Joins texts and an engine's own expressions to one text, made when the run starts."""


@dataclass(frozen=True)
class Places:
    """Resolves a graph's references: what all engines know here, what only one knows as that one says it.

    Attributes:
        site: where the use case lives.
        pipeline: `training` or `inference`.
        images: the image of each component.
        settings: for each step that reads settings, the prefix of its settings.json.
        joined: makes one text of pieces.
        run: the engine's expression for the run's id.
        raw: by `train`, `score` and `labels`, the expression of the uri.
        archive: for a training step, the expression of the uri of its model.tar.gz.
        released: for a part of the release, the expression of its uri.
        job_name: for a step, the expression of the name of its job.
        started_by: the expression of what started the run.
        parent: the expression of the release before.
        output: overrides where an earlier step's output is read, for an engine that knows better.
        short_name: the same as `job_name` for a tuning job, whose name is short.
    """

    site: Site
    pipeline: str
    images: Mapping[str, str]
    settings: Mapping[str, str]
    joined: Joined
    run: Any
    raw: Mapping[str, Any]
    archive: Callable[[str], Any]
    released: Callable[[str], Any]
    job_name: Callable[[str], Any]
    started_by: Any = "command"
    parent: Any = "none"
    output: Callable[[Output], Any] | None = None
    short_name: Callable[[str], Any] | None = None

    def __call__(self, reference: Reference) -> Any:
        """Where the reference lies, or what it is called."""
        match reference:
            case Raw(name):
                return self.raw[name]
            case Output(step, name):
                if name == MODEL_OUTPUT:
                    return self.archive(step)
                return self.output(reference) if self.output else self.destination(step, name)
            case Released(part):
                return self.released(part)
            case SettingsFile(step):
                return self.settings[step]
            case Destination(step, name):
                return self.destination(step, name)
            case JobName(step, longest):
                return self.job_name(step) if longest == JOB_NAME or not self.short_name else self.short_name(step)
            case ImageOf(component):
                return self.images[component]
            case Role():
                return self.site.role
            case RunId():
                return self.run
            case StartedBy():
                return self.started_by
            case Parent():
                return self.parent

    def destination(self, step: str, name: str) -> Any:
        """Where an output goes."""
        if step == RELEASE_STEP:
            return self.joined(f"{self.site.storage}/releases/", self.run)
        if name == SCORES_OUTPUT and self.site.scores:
            before, found, after = self.site.scores.partition("{run}")
            return self.joined(before, self.run, after) if found else self.joined(f"{before}/", self.run)
        folder = f"/{step}" if name == MODEL_OUTPUT else f"/{step}/{name}"
        return self.joined(f"{self.site.storage}/{self.pipeline}/", self.run, folder)


def prefixes(files: Mapping[str, tuple[str, bytes]]) -> dict[str, str]:
    """For each file of `settings_files`, the prefix that a job reads it from."""
    return {step: uri.rpartition("/")[0] for step, (uri, _) in files.items()}
