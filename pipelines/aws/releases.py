"""Releases in the cloud: files in S3, and one parameter that holds the uri of the one in use.

Parameter Store replaces a parameter in one step and keeps its earlier values with time and author: the pointer is moved
atomically, and its history, the latest hundred moves, writes itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipelines.aws.calls import CloudError, Connect, asking
from pipelines.aws.places import Site, object_of
from pipelines.releases import GateError, no_way_back
from shared.errors import ArtefactError, DataError, SettingsError, did_you_mean
from shared.release import RELEASE, RELEASE_ID

KEPT: Final = 100
"""Versions of a parameter that Parameter Store keeps."""


@dataclass(frozen=True)
class CloudRelease:
    """One release: where its file is, and what it says."""

    uri: str
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its name: that of its folder."""
        return release_id(self.uri)

    @property
    def approved(self) -> bool:
        """Whether all gates were met."""
        return all(gate["met"] for gate in self.content["gates"])


@dataclass(frozen=True)
class Move:
    """The pointer at one time of its life."""

    at: datetime
    by: str
    to: str  # a release's id


def release_id(uri: str) -> str:
    """The id of the release whose file has this uri."""
    return uri.rpartition("/")[0].rpartition("/")[2]


@dataclass(frozen=True)
class Releases:
    """The releases of one use case in one environment."""

    connect: Connect
    site: Site

    @property
    def prefix(self) -> str:
        """Where they lie."""
        return f"{self.site.storage}/releases/"

    def uri(self, release: str) -> str:
        """The uri of the file of a release.

        Raises:
            SettingsError: no release can have this id.
        """
        if not RELEASE_ID.fullmatch(release):
            raise SettingsError(
                f"release id is {release!r}, wanted letters, digits, hyphens, dots and underscores. "
                "`status` lists the releases."
            )
        return f"{self.prefix}{release}/{RELEASE}"

    def ids(self) -> list[str]:
        """The ids of all releases, sorted."""
        bucket, key = object_of(self.prefix)
        pages = self.connect("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key, Delimiter="/")
        with asking(f"releases below {self.prefix}"):
            folders = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
        return sorted(folder.rstrip("/").rpartition("/")[2] for folder in folders)

    def all(self) -> list[CloudRelease]:
        """All releases, oldest first. What a run that failed has left without a release.json is none."""
        found = [release for name in self.ids() if (release := self._read(self.uri(name))) is not None]
        return sorted(found, key=lambda release: (str(release.content["created"]), release.id))

    def read(self, release: str) -> CloudRelease:
        """The release of this id.

        Raises:
            SettingsError: there is none.
            ArtefactError: its file is no release of this use case.
        """
        found = self._read(self.uri(release))
        if found is None:
            hint = did_you_mean(release, self.ids())
            raise SettingsError(f"release {release!r} does not exist below {self.prefix}.{hint}")
        return found

    def _read(self, uri: str) -> CloudRelease | None:
        bucket, key = object_of(uri)
        s3 = self.connect("s3")
        with asking(f"release {uri}"):
            try:
                text = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            except s3.exceptions.NoSuchKey:
                return None
        try:
            content = json.loads(text)
            known = content["name"] == self.site.name
            content["created"], content["gates"], content["parts"]
        except (ValueError, KeyError, TypeError):
            raise ArtefactError(f"{uri} is no release. Remove it, or run the training pipeline again.") from None
        if not known:
            raise ArtefactError(f"{uri} is a release of {content['name']!r}, wanted one of {self.site.name!r}.")
        return CloudRelease(uri, content)

    def pointer(self) -> str | None:
        """The uri that the pointer holds; None when nothing was promoted yet."""
        return self._pointer()[0]

    def _pointer(self) -> tuple[str | None, int]:
        """What the pointer holds, and how often it was moved."""
        ssm = self.connect("ssm")
        with asking(f"parameter {self.site.pointer}"):
            try:
                found = ssm.get_parameter(Name=self.site.pointer)["Parameter"]
            except ssm.exceptions.ParameterNotFound:
                return None, 0
        return str(found["Value"]), int(found["Version"])

    def current(self) -> CloudRelease:
        """The release in use.

        Raises:
            DataError: nothing was promoted yet, or the pointer leads nowhere.
        """
        uri = self.pointer()
        if uri is None:
            raise DataError(
                f"no release is current at {self.site.pointer}. Run the training pipeline, or promote a release."
            )
        found = self._read(uri)
        if found is None:
            raise DataError(f"{self.site.pointer} holds {uri}, where nothing lies. Promote another release.")
        return found

    def promote(self, release: CloudRelease, *, force: bool = False) -> str | None:
        """Make a release the one in use; the id of the one before.

        Raises:
            GateError: a gate of the release is not met, and nobody insists.
            CloudError: another has moved the pointer at the same time, or AWS refuses.
        """
        if not release.approved and not force:
            unmet = ", ".join(gate["metric"] for gate in release.content["gates"] if not gate["met"])
            raise GateError(f"release {release.id!r} does not meet its gates ({unmet}). Train again, or use --force.")
        before, moves = self._pointer()
        if before != release.uri:
            self._move(release.uri, moves)
        return None if before is None else release_id(before)

    def rollback(self) -> tuple[str, str]:
        """Go back to the release that was in use before the one that is; the ids from and to.

        Raises:
            SettingsError: there is none.
            CloudError: another has moved the pointer at the same time, or AWS refuses.
        """
        now, moves = self._pointer()
        target = before(tuple(move.to for move in self.history()))
        if now is None or target is None:
            raise no_way_back(None if now is None else release_id(now))
        self._move(self.read(target).uri, moves)
        return release_id(now), target

    def _move(self, uri: str, moves: int) -> None:
        """Move the pointer, which had been moved so often when its mover looked.

        Parameter Store writes under no condition. But it counts, so that of two who move at once one is told.
        """
        ssm = self.connect("ssm")
        with asking(f"parameter {self.site.pointer}"):
            try:
                written = ssm.put_parameter(Name=self.site.pointer, Value=uri, Type="String", Overwrite=moves > 0)
            except ssm.exceptions.ParameterAlreadyExists:
                written = {"Version": 0}
        if written["Version"] != moves + 1:
            raise CloudError(
                f"another has moved {self.site.pointer} at the same time, and it holds {self.pointer()} now. "
                "Look at `history`, and promote the release that is wanted."
            )

    def history(self) -> list[Move]:
        """Where the pointer has stood, oldest first; at most the latest hundred."""
        return list(self._history())

    def _history(self) -> Iterator[Move]:
        ssm = self.connect("ssm")
        pages = ssm.get_paginator("get_parameter_history").paginate(Name=self.site.pointer)
        with asking(f"history of {self.site.pointer}"):
            try:
                versions = [item for page in pages for item in page["Parameters"]]
            except ssm.exceptions.ParameterNotFound:
                return
        for item in sorted(versions, key=lambda item: int(item["Version"])):
            yield Move(item["LastModifiedDate"], item.get("LastModifiedUser", ""), release_id(item["Value"]))


def current_release(connect: Connect, site: Site) -> str | None:
    """The uri of the release in use; None when nothing was promoted yet."""
    return Releases(connect, site).pointer()


def release_parameters(connect: Connect, site: Site) -> dict[str, str]:
    """The release in use as the inference pipeline's parameters: its uri, and that of each part.

    Raises:
        DataError: nothing was promoted yet.
        ArtefactError: the pointer leads to something else than a release of this use case.
        CloudError: AWS refuses.
    """
    release = Releases(connect, site).current()
    parts = release.content["parts"]
    return {"Release": release.uri, **{name.capitalize(): str(part["uri"]) for name, part in parts.items()}}


def before(places: tuple[str, ...]) -> str | None:
    """The place to go back to, given where the pointer has stood: a second step back goes further, not forth again.

    Going back is seen as such: a move to the place that was next on the way back. What lay above it is forgotten.
    """
    way: list[str] = []
    for place in places:
        if way and place == way[-1]:
            continue
        if len(way) > 1 and place == way[-2]:
            way.pop()
        else:
            way.append(place)
    return way[-2] if len(way) > 1 else None
