"""What lies around a release, on this machine or in S3: how its parts were made, and the files that show it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from pipelines.aws.calls import asking
from pipelines.storage import Storage, local_path
from shared.release import PARTS

ARCHIVE: Final = ".tar.gz"
LARGEST: Final = 16 * 2**20
"""Bytes of a file, at most; a larger one stays where it is."""


class Place(Protocol):
    """Where releases and their runs lie."""

    def open(self, uri: str) -> Any:
        """A stream of bytes, as a context; FileNotFoundError when nothing lies there."""

    def began(self, run: str) -> float | None:
        """When the first file of a training run appeared, in seconds since 1970; None when there is none."""


@dataclass(frozen=True)
class LocalPlace:
    """A folder on this machine."""

    storage: Storage

    def open(self, uri: str) -> Any:
        """The file at a uri relative to the storage."""
        return local_path(uri, self.storage.root).open("rb")

    def began(self, run: str) -> float | None:
        """The earliest time in the run's folder."""
        files = self.storage.run("training", run).rglob("*")
        return min((path.stat().st_mtime for path in files if path.is_file()), default=None)


@dataclass(frozen=True)
class CloudPlace:
    """A prefix in S3."""

    connect: Callable[[str], Any]
    storage: str

    @contextmanager
    def open(self, uri: str) -> Iterator[Any]:
        """The object of a uri."""
        parts = urlsplit(uri)
        s3 = self.connect("s3")
        with asking(uri):
            try:
                body = s3.get_object(Bucket=parts.netloc, Key=parts.path.removeprefix("/"))["Body"]
            except s3.exceptions.NoSuchKey:
                raise FileNotFoundError(uri) from None
            with body:
                yield body

    def began(self, run: str) -> float | None:
        """The earliest time below the run's prefix."""
        parts = urlsplit(f"{self.storage}/training/{run}/")
        with asking(f"files of run {run}"):
            answer = self.connect("s3").list_objects_v2(Bucket=parts.netloc, Prefix=parts.path.removeprefix("/"))
        return min((item["LastModified"].timestamp() for item in answer.get("Contents", ())), default=None)


@dataclass(frozen=True)
class Evidence:
    """What was found.

    Attributes:
        settings: by component, those that its part was made with.
        report: the report.json of the training job; empty without one.
        files: by name, what the run is shown with.
    """

    settings: Mapping[str, Mapping[str, Any]]
    report: Mapping[str, Any]
    files: Mapping[str, bytes]


def evidence(place: Place, content: Mapping[str, Any]) -> Evidence:
    """What lies around a release. What is not there is left out: a run's folder may have been removed since."""
    parts = {name: part["uri"] for name, part in content["parts"].items() if name in PARTS}
    model = members(place, parts.get("model"), ("evaluation.json", "manifest.json"))
    # A training job's other output lies beside its model: the service names both.
    beside = str(parts.get("model", "")).replace(f"model{ARCHIVE}", f"output{ARCHIVE}")
    report = members(place, beside if beside != parts.get("model") else None, ("report.html", "report.json"))
    manifests = {"model": model.get("manifest.json")}
    manifests |= {name: _read(place, _manifest(uri)) for name, uri in parts.items() if name != "model"}
    settings = {PARTS[name]: _json(text).get("settings") or {} for name, text in manifests.items() if text}
    names = {"evaluation.json": "evaluation.json", "manifest.json": "model/manifest.json"}
    files = {named: model[name] for name, named in names.items() if name in model}
    files |= {"report.html": report["report.html"]} if "report.html" in report else {}
    return Evidence(settings, _json(report.get("report.json")), files)


def members(place: Place, uri: str | None, names: tuple[str, ...]) -> dict[str, bytes]:
    """The named files of an archive or a folder, as far as they are there.

    An archive is read up to the last of them and no further: ours are sorted by name, and a model may be large.
    """
    if not uri:
        return {}
    if not uri.endswith(ARCHIVE):
        return {name: text for name in names if (text := _read(place, f"{uri.rstrip('/')}/{name}")) is not None}
    found: dict[str, bytes] = {}
    try:
        with place.open(uri) as stream, tarfile.open(fileobj=stream, mode="r|gz") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                file = archive.extractfile(member) if name in names and member.size <= LARGEST else None
                if file is not None:
                    found[name] = file.read()
                if len(found) == len(names):
                    break
    except (OSError, tarfile.TarError, EOFError):
        pass
    return found


def _manifest(folder: str) -> str:
    return f"{folder.rstrip('/')}/manifest.json"


def _read(place: Place, uri: str) -> bytes | None:
    try:
        with place.open(uri) as stream:
            content: bytes = stream.read(LARGEST + 1)
    except OSError:
        return None
    return content if len(content) <= LARGEST else None


def _json(text: bytes | None) -> Mapping[str, Any]:
    try:
        value = json.loads(text or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, Mapping) else {}
