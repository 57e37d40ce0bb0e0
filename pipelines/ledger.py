"""The releases of a use case, wherever they are kept: in a folder on this machine, or in S3 and Parameter Store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines import releases
from pipelines.aws.releases import CloudRelease, Releases, release_id
from pipelines.storage import Storage

SHOWN = 5
"""Moves of the pointer that are shown."""


class Entry(Protocol):
    """A release."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def content(self) -> Mapping[str, Any]:
        """What its file says."""

    @property
    def approved(self) -> bool:
        """Whether all gates were met."""


class Ledger(Protocol):
    """All releases, and the pointer to the one in use."""

    @property
    def place(self) -> str:
        """Where they are kept, for people."""

    def all(self) -> list[Any]:
        """All releases, oldest first."""

    def read(self, release: str) -> Any:
        """The release of an id."""

    def current_id(self) -> str | None:
        """The id of the one in use."""

    def current(self) -> Any:
        """The one in use; an error says what to do when there is none."""

    def promote(self, release: Any, why: str, *, force: bool) -> str | None:
        """Make a release the one in use; the id of the one before."""

    def rollback(self) -> tuple[str, str]:
        """Go back to the one before; the ids from and to."""

    def moves(self) -> Iterator[str]:
        """The latest moves of the pointer, a line each, oldest first."""


@dataclass(frozen=True)
class LocalLedger:
    """Releases in a folder."""

    storage: Storage

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.storage.root)

    def all(self) -> list[releases.Release]:
        """All releases, oldest first."""
        return releases.all_releases(self.storage)

    def read(self, release: str) -> releases.Release:
        """The release of an id."""
        return releases.read_release(self.storage, release)

    def current_id(self) -> str | None:
        """The id of the one in use."""
        return releases.current_id(self.storage)

    def current(self) -> releases.Release:
        """The one in use."""
        return releases.current_release(self.storage)

    def promote(self, release: releases.Release, why: str, *, force: bool) -> str | None:
        """Make a release the one in use."""
        return releases.promote(self.storage, release, why, force=force)

    def rollback(self) -> tuple[str, str]:
        """Go back to the one before."""
        return releases.rollback(self.storage)

    def moves(self) -> Iterator[str]:
        """The latest moves of the pointer."""
        for move in releases.history(self.storage)[-SHOWN:]:
            path = f"{move['from'] or 'none'} → {move['to']}"
            yield f"{move['at']}  {move['move']}  {path}  {move['by']}, {move['why']}"


@dataclass(frozen=True)
class CloudLedger:
    """Releases in S3; Parameter Store's own history tells who moved the pointer when."""

    found: Releases

    @property
    def place(self) -> str:
        """Where they lie, and which parameter is the pointer."""
        return f"{self.found.prefix}, pointer {self.found.site.pointer}"

    def all(self) -> list[CloudRelease]:
        """All releases, oldest first."""
        return self.found.all()

    def read(self, release: str) -> CloudRelease:
        """The release of an id."""
        return self.found.read(release)

    def current_id(self) -> str | None:
        """The id of the one in use."""
        uri = self.found.pointer()
        return None if uri is None else release_id(uri)

    def current(self) -> CloudRelease:
        """The one in use."""
        return self.found.current()

    def promote(self, release: CloudRelease, why: str, *, force: bool) -> str | None:
        """Make a release the one in use."""
        return self.found.promote(release, force=force)

    def rollback(self) -> tuple[str, str]:
        """Go back to the one before."""
        return self.found.rollback()

    def moves(self) -> Iterator[str]:
        """The latest moves of the pointer."""
        history = self.found.history()
        for earlier, move in list(zip([None, *history], history, strict=False))[-SHOWN:]:
            path = f"{earlier.to if earlier else 'none'} → {move.to}"
            yield f"{move.at:%Y-%m-%dT%H:%M:%SZ}  {path}  {move.by}".rstrip()
