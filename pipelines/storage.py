"""Where a use case keeps what its pipelines make: one folder, named as the prefixes in S3 are.

Below it lie:

    <storage>/<pipeline>/<run id>/<step>/<output>/    what a job made
    <storage>/<pipeline>/<run id>/<step>/log.txt      what it said
    <storage>/<pipeline>/<run id>/<step>/ml/          the /opt/ml tree of a job that failed
    <storage>/releases/<release id>.json              releases, never changed once written
    <storage>/releases/current, history.jsonl         the pointer, and who moved it when
    <storage>/drift.json                              when drift last trained, and how often this month
    <storage>/reports/<run id>.html, report.html      the report of each run, and the latest
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from shared.errors import SettingsError

FOLDER: Final = ".quartet"
"""Where storage lies when neither the manifest nor the command line says: `.quartet/<name>` in the current folder."""


@dataclass(frozen=True)
class Storage:
    """The folder of one use case."""

    root: Path

    def run(self, pipeline: str, run: str) -> Path:
        """The folder of one run of one pipeline."""
        return self.root / pipeline / run

    @property
    def releases(self) -> Path:
        """The folder of the releases and of the pointer to the current one."""
        return self.root / "releases"

    def release(self, release_id: str) -> Path:
        """The file of a release."""
        return self.releases / f"{release_id}.json"

    @property
    def reports(self) -> Path:
        """The folder of the run reports."""
        return self.root / "reports"

    @property
    def drift_state(self) -> Path:
        """When drift last started a training, and how often this month."""
        return self.root / "drift.json"

    @property
    def latest_report(self) -> Path:
        """The report of the latest run, under a name that stays."""
        return self.root / "report.html"

    def relative(self, path: Path) -> str:
        """A path below the storage as a relative uri, so that the folder can be moved."""
        return path.relative_to(self.root).as_posix()

    def relative_uri(self, uri: str) -> str:
        """A `file://` uri below the storage as a relative one; any other uri as it is."""
        path = local_path(uri, self.root)
        return self.relative(path) if path.is_relative_to(self.root) else uri


def storage_of(name: str, declared: str | None, given: Path | None) -> Storage:
    """The storage of a use case: what the command line gives, else what the manifest declares, else the default.

    Raises:
        SettingsError: the manifest's storage is no local folder.
    """
    root = given or (local_path(declared, Path.cwd()) if declared else Path(FOLDER) / name)
    return Storage(root.absolute())


def local_path(uri: str, folder: Path) -> Path:
    """The path that a uri means: a `file://` uri, an absolute path, or a path relative to `folder`.

    Raises:
        SettingsError: the uri has another scheme, which the local engine does not read.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme:
        raise SettingsError(
            f"uri {uri!r} is not on this machine, which the local engine wants. Give a path or file://."
        )
    return folder / Path(uri).expanduser()


def uri_of(path: Path) -> str:
    """A path as a `file://` uri."""
    return path.absolute().as_uri()


def run_id(now: float | None = None) -> str:
    """A new run id: sorts by time, and two runs of the same second differ."""
    moment = time.gmtime(time.time() if now is None else now)
    return f"{time.strftime('%Y%m%d-%H%M%S', moment)}-{secrets.token_hex(2)}"


def same_bytes(source: Path, target: Path) -> None:
    """`target` with the bytes of `source`, a hard link if possible: for files nobody writes again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())
