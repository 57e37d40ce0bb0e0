"""Checkpoints: the rounds so far in one file, from which another start of the same training goes on exactly.

A checkpoint is a ZIP archive that is not compressed: `checkpoint.json`, which says what made it and how each round was
measured, and the framework's own files. Its name holds the number of rounds and the digest of its bytes, so that a file
that was cut off or changed on its way is known before anything in it is read. Nothing in it is a pickle.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import signal
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from components.algorithm.model import Progress, rounds_in
from components.algorithm.rows import Tables
from components.algorithm.settings import AlgorithmSettings
from components.algorithm.stop import Stop
from shared.artefact import library_versions
from shared.errors import ArtefactError, Stopped, names
from shared.files import json_text, write_bytes
from shared.version import VERSION

CONTENT: Final = "checkpoint.json"
NAME: Final = re.compile(r"checkpoint-([0-9]{6,})-([0-9a-f]{16})\.zip")
"""Of a checkpoint's file: how many rounds it holds, and the digest of its bytes."""
KEPT: Final = 2
"""The newest, and the one before in case the newest is damaged on its way."""
SECONDS: Final = 30.0
"""Least time between two checkpoints: what a job that is killed without a signal has to train again."""
SHARE: Final = 0.02
"""Most of the time that writing checkpoints may take, whatever the size of the model and the speed of the folder."""

UNREADABLE: Final = (
    OSError, EOFError, KeyError, ValueError, TypeError, AttributeError,
    # An archive that is damaged, encrypted, or compressed in a way that Python does not know.
    zipfile.BadZipFile, RuntimeError, zlib.error,
)  # fmt: skip
"""What reading a file that is no checkpoint may raise; NotImplementedError is a RuntimeError, as is RecursionError."""

Files = Mapping[str, bytes]
Origin = Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """What a training has come to.

    Attributes:
        path: where it lies.
        origin: what made it; see `origin_of`.
        progress: what `Progress.state` gave.
        files: what the framework needs to go on.
    """

    path: Path
    origin: Origin
    progress: Mapping[str, Any]
    files: Files

    @property
    def rounds(self) -> int:
        """How many rounds it holds."""
        return rounds_in(self.progress["curves"])


class Checkpoints:
    """The checkpoints of one training in a folder; without a folder there are none.

    Args:
        folder: where they lie; None when nobody asked for any.
        origin: what makes them.
        log: gets one line for whatever is found, used or refused.
    """

    def __init__(self, folder: Path | None, origin: Origin, log: logging.Logger) -> None:
        self._folder = folder
        self._origin = origin
        self._log = log
        self._own: list[Path] = []
        self._cost = 0.0
        self._last = time.monotonic()
        self._writable = folder is not None and self._cleared(folder)

    def _cleared(self, folder: Path) -> bool:
        """Remove what a killed job has left half-written; whether the folder can be written."""
        try:
            # Tried, because for root and on some mounts the permissions alone do not tell.
            with tempfile.NamedTemporaryFile(prefix=".checkpoint-", dir=folder):
                pass
            for path in folder.glob(".checkpoint-*"):
                path.unlink()
        except OSError as error:
            self._log.warning("no checkpoints: %s cannot be written: %s.", folder, error.strerror)
            return False
        return True

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that this training itself has made; None when it must start anew."""
        if self._folder is None:
            return None
        foreign: Checkpoint | None = None
        paths, others = stored(self._folder)
        for other in others:
            self._log.warning("%s is no file that is called checkpoint-<rounds>-<SHA-256>.zip: it is not used.", other)
        for path in reversed(paths):
            try:
                found = opened(path)
            except ArtefactError as error:
                self._log.warning("%s", error)
                continue
            if found.origin == self._origin:
                self._own = [path]
                self._log.info("training goes on after round %d, from checkpoint %s.", found.rounds, path)
                return found
            foreign = foreign or found
        if foreign is not None:
            told = names(differences(self._origin, foreign.origin))
            self._log.warning("checkpoint %s is of another training (other %s): starting anew.", foreign.path, told)
        return None

    def after_round(self, progress: Progress, stop: Stop, files: Callable[[], Files]) -> bool:
        """Write a checkpoint if it is time for one, or if the process was told to stop.

        Args:
            progress: the training, the round that has just ended included.
            stop: tells whether a signal has come.
            files: makes what the framework needs to go on.

        Returns:
            Whether training should end now, because of a signal, with the rounds that there are.

        Raises:
            Stopped: a signal has come, and another start can go on from the checkpoint that was written.
        """
        if stop.signum is None:
            if self._writable and time.monotonic() - self._last >= max(SECONDS, self._cost / SHARE):
                self._write(progress, files())
            return False
        name = signal.Signals(stop.take()).name
        path = self._write(progress, files()) if self._writable else None
        if path is not None:
            self._log.warning("stopped by %s after round %d: the checkpoint is %s.", name, progress.rounds, path)
            raise Stopped(stop.take())
        self._log.warning(
            "stopped by %s after round %d: no checkpoint, so the model of these rounds is kept.", name, progress.rounds
        )
        return True

    def _write(self, progress: Progress, files: Files) -> Path | None:
        """Write a checkpoint and remove those that it makes needless; None when it cannot be written."""
        assert self._folder is not None
        started = time.monotonic()
        content = packed({CONTENT: description(self._origin, progress.state()), **files})
        path = self._folder / f"checkpoint-{progress.rounds:06d}-{digest_of(content)}.zip"
        try:
            write_bytes(path, content)
        except OSError as error:
            self._log.warning("checkpoint %s cannot be written: %s.", path, error.strerror)
            return None
        finally:
            self._last = time.monotonic()
            self._cost = self._last - started
        self._own = [*(kept for kept in self._own if kept != path), path][-KEPT:]
        for other in set(stored(self._folder)[0]) - set(self._own):
            with suppress(OSError):
                other.unlink()
        return path


def origin_of(tables: Tables, settings: AlgorithmSettings, libraries: tuple[str, ...], **machine: Any) -> Origin:
    """What decides every bit of a model: JSON values, equal for two trainings only if their models are.

    Args:
        tables: the rows, and what is known of them.
        settings: what to train.
        libraries: distributions that do the arithmetic.
        machine: what else it depends on, such as the number of threads, by which sums are split.
    """
    data = hashlib.sha256(json_text([tables.schema.to_json(), tables.classes, tables.state]).encode())
    for rows in (tables.train, tables.validation):
        for array in (rows.features, rows.target) if rows is not None else ():
            data.update(str(array.shape).encode())
            data.update(np.ascontiguousarray(array).data.cast("B"))
    return {
        "quartet": VERSION,
        **library_versions(libraries),
        **{f"setting {name}": value for name, value in settings.model_dump(mode="json").items()},
        **machine,
        "data": data.hexdigest(),
    }


def differences(wanted: Origin, found: Origin) -> Iterator[str]:
    """Names of what two origins do not agree in."""
    return (name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name))


def description(origin: Origin, progress: Mapping[str, Any]) -> bytes:
    """`checkpoint.json`. A metric may be infinite or no number, which Python's JSON can say."""
    return json.dumps({"origin": origin, "progress": progress}).encode()


def packed(files: Files) -> bytes:
    """The files as a ZIP archive: the same files, the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            # With a fixed time, 1980: that is ZipInfo's default.
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def stored(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of checkpoints in a folder, those of the fewest rounds first; and what is called almost so."""
    alike = sorted(folder.glob("checkpoint-*.zip"))
    # Reading a named pipe would wait for ever.
    found = [path for path in alike if NAME.fullmatch(path.name) and path.is_file()]
    return sorted(found, key=lambda path: int(path.name.split("-")[1])), [path for path in alike if path not in found]


def opened(path: Path) -> Checkpoint:
    """The checkpoint in a file.

    Raises:
        ArtefactError: it is not what was written.
    """
    try:
        named = NAME.fullmatch(path.name)
        content = path.read_bytes()
        if named is None or named[2] != digest_of(content):
            raise ArtefactError(f"checkpoint {path} is damaged (its SHA-256 differs from its name): it is not used.")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        told = json.loads(files.pop(CONTENT))
        found = Checkpoint(path, told["origin"], told["progress"], files)
        if found.rounds != int(named[1]):
            raise ArtefactError(f"checkpoint {path} holds {found.rounds} rounds, its name says others: it is not used.")
        return found
    except UNREADABLE as error:
        raise ArtefactError(f"checkpoint {path} cannot be read: {error}. It is not used.") from None


def digest_of(content: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]
