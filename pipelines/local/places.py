"""Where the references of a graph lie on this machine, for one run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.graph import (
    MODEL_OUTPUT,
    Destination,
    ImageOf,
    JobName,
    Output,
    Parent,
    Raw,
    Reference,
    Released,
    Role,
    RunId,
    SettingsFile,
    StartedBy,
)
from pipelines.limits import JOB_NAME
from pipelines.local.workspace import write_listing
from pipelines.manifest import Data, Source, UseCase
from pipelines.periods import window_of
from pipelines.releases import Release, current_id
from pipelines.storage import Storage, local_path, uri_of
from shared.errors import SettingsError
from shared.release import NO_PARENT


@dataclass(frozen=True)
class Window:
    """The data that a training run learns from: the parts of `uri` that `periods` names, or all of it."""

    uri: str
    periods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """Resolves references: to `file://` uris of one run.

    Attributes:
        pipeline: `training` or `inference`.
        window: what to train on (training only).
        period: what to score (inference only).
        release: what to score with (inference only).
        started_by: `command`, or `drift <inference run>`.
        images: the image of each component, where containers run the jobs.
    """

    use_case: UseCase
    storage: Storage
    pipeline: str
    run: str
    window: Window | None = None
    period: str | None = None
    release: Release | None = None
    started_by: str = "command"
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.storage.run(self.pipeline, self.run)

    def __call__(self, reference: Reference) -> str:
        """Where the reference lies, or what it is called."""
        match reference:
            case Raw(name):
                return uri_of(self._raw(name))
            case Output(step, name):
                return uri_of(output_path(self.folder, step, name))
            case Released(part):
                assert self.release is not None
                return uri_of(self.storage.root / self.release.uri(part))
            case SettingsFile(step):
                return uri_of(self.folder / step / "settings")
            case Destination(step, name):
                return uri_of(self.folder / step if name == MODEL_OUTPUT else self.folder / step / name)
            case JobName(step):
                return job_name(self.use_case.manifest.name, step, self.run)
            case ImageOf(component):
                return self.images.get(component, f"quartet/{component}")
            case Role():
                return self.use_case.manifest.role or "arn:aws:iam::000000000000:role/local"
            case RunId():
                return self.run
            case StartedBy():
                return self.started_by
            case Parent():
                parent = current_id(self.storage)
                return uri_of(self.storage.release(parent)) if parent else NO_PARENT

    def _raw(self, name: str) -> Path:
        data = self.use_case.manifest.data
        if name == "train":
            assert self.window is not None
            return self._window(self.window)
        source: Source | None = getattr(data, name)
        assert source is not None
        return self.path(source.uri, self.period)

    def _window(self, window: Window) -> Path:
        """The training data: a path, or a list of the files of some periods."""
        if not window.periods:
            return self.path(window.uri, None)
        found = [self.path(window.uri, period) for period in window.periods]
        prefix = self.path(window.uri.partition("{period}")[0] + "x", None).parent
        listing = self.folder / "train.manifest"
        write_listing(listing, uri_of(prefix), [path.relative_to(prefix).as_posix() for path in found])
        return listing

    def path(self, uri: str, period: str | None) -> Path:
        """A uri of the manifest as a path; relative ones are relative to the manifest's folder.

        Raises:
            SettingsError: the uri wants a period and there is none, or lies elsewhere than on this machine.
        """
        if "{period}" in uri and period is None:
            raise SettingsError(f"uri {uri!r} wants a period. Give --period, or list data.periods in the manifest.")
        filled = uri.replace("{period}", period or "").replace("{run}", self.run)
        filled = filled.replace("{storage}", str(self.storage.root))
        return local_path(filled, self.use_case.document.path.absolute().parent)

    def has_labels(self) -> bool:
        """Whether the outcomes of the period are known by now."""
        labels = self.use_case.manifest.data.labels
        return labels is not None and self.path(labels.uri, self.period).exists()


def output_path(folder: Path, step: str, name: str) -> Path:
    """Where a run keeps an output of a step."""
    return folder / step / ("output/model.tar.gz" if name == MODEL_OUTPUT else name)


def job_name(use_case: str, step: str, run: str) -> str:
    """A job's name as the API allows it: letters, digits and hyphens, at most 63 of them."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{use_case}-{step}-{run}").strip("-")
    return name[:JOB_NAME].rstrip("-")


def first_window(data: Data) -> Window:
    """What a training run learns from when nobody says otherwise."""
    return Window(data.train.uri, data.train.periods)


def latest_window(data: Data, count: int, last: str) -> Window:
    """The latest `count` periods up to and including `last`.

    Raises:
        SettingsError: no window ends with it.
    """
    return Window(data.train.uri, window_of(data.known_periods, count, last))
