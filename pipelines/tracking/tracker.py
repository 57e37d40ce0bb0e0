"""Tracks releases: each becomes one run, once, and what happens to it later is added to that run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.ledger import Entry
from pipelines.manifest import Manifest
from pipelines.tracking.evidence import Evidence, Place, evidence
from pipelines.tracking.managed import server_of
from pipelines.tracking.record import identity, record, verdict_metrics
from pipelines.tracking.server import FINISHED, Server, TrackedRun
from shared.files import json_text
from shared.release import RELEASE


@dataclass(frozen=True)
class Tracked:
    """What tracking a release gave.

    Attributes:
        run: the id of its run.
        new: whether anything was added.
        remark: what could not be stored; empty otherwise.
    """

    run: str
    new: bool
    remark: str = ""


@dataclass(frozen=True)
class Book:
    """Where the releases of one use case, in one environment, are tracked.

    Attributes:
        server: makes a connection, whose time is bounded from then on.
    """

    server: Callable[[], Server]
    experiment: str
    environment: str | None
    place: Place

    def release(self, release: Entry) -> Tracked:
        """Track a release. A run that is finished stays as it is; one that was left half done is completed.

        Raises:
            TrackingError: the server does not answer, or refuses.
            CloudError: files in S3 cannot be read or written.
        """
        return self._release(self.server(), release)[0]

    def verdict(self, release: Entry, drift: Mapping[str, Any], step: int) -> None:
        """Add the drift verdict of one scored period to the run of the release that scored it.

        Raises:
            TrackingError: the server does not answer, or refuses.
            CloudError: files in S3 cannot be read or written.
        """
        server = self.server()
        _, run = self._release(server, release)
        server.log(run, {}, verdict_metrics(drift, step, int(time.time() * 1000)), {})

    def _release(self, server: Server, release: Entry) -> tuple[Tracked, TrackedRun]:
        content = release.content
        experiment = server.experiment(self.experiment)
        run = server.find(experiment, identity(release.id, content["name"], self.environment))
        if run is not None and run.status == FINISHED:
            return Tracked(run.id, new=False), run
        found = evidence(self.place, content)
        began = self.place.began(release.id)
        said = record(release.id, content, self.environment, found.settings, found.report, began)
        run = run or server.begin(experiment, said.name, said.start, said.identity)
        server.log(run, said.params, said.metrics, said.tags)
        stored = [server.store(run, name, text) for name, text in _files(content, found).items()]
        server.finish(run, said.end)
        remark = "" if all(stored) else f"its files were not stored, for only the server can write to {run.artefacts}"
        return Tracked(run.id, new=True, remark=remark), run


def _files(content: Mapping[str, Any], found: Evidence) -> dict[str, bytes]:
    return {RELEASE: json_text(content).encode(), **found.files}


@dataclass
class Watch:
    """A book beside a pipeline that must not notice: what goes wrong is one warning, after which nothing is tried."""

    book: Book
    warn: Callable[[str], None]
    given_up: bool = False

    def release(self, release: Entry) -> None:
        """Track a release."""
        self.named(release.id, lambda _id: release)

    def named(self, release: str, read: Callable[[str], Entry]) -> None:
        """Track the release of an id."""
        self._guarded(f"release {release} is not tracked, `track` does it later", lambda: self._track(read(release)))

    def verdict(self, release: Entry, drift: Mapping[str, Any], step: int) -> None:
        """Add the drift verdict of one scored period."""
        what = f"the drift that release {release.id} has met is not tracked"
        self._guarded(what, lambda: self.book.verdict(release, drift, step))

    def _track(self, release: Entry) -> None:
        remark = self.book.release(release).remark
        if remark:
            self.warn(f"release {release.id} is tracked, but {remark}.")

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        if self.given_up:
            return
        try:
            work()
        # Whatever it is, a fault of ours too: the training has ended well, and looking on must not change that.
        except Exception as error:
            self.given_up = True
            self.warn(f"{what}: {error}")


def book_of(manifest: Manifest, environment: str | None, place: Place) -> Book | None:
    """Where a use case's releases are tracked; None when its manifest has no `tracking`."""
    tracking = manifest.tracking
    if tracking is None:
        return None
    return Book(lambda: server_of(tracking.uri), tracking.experiment or manifest.name, environment, place)
