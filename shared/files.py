"""Files that are either whole or absent: written beside their place and moved there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from shared.errors import DataError, QuartetError, SettingsError

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
FULL_IN_WORDS: Final = (*(f"(os error {number})" for number in FULL), "FileStream.Write incomplete")
"""How a full disk is told by libraries that raise an exception without its number: those in Rust, and XGBoost."""


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or the user's share of it, is full."""
    if isinstance(error, QuartetError):
        return False
    return getattr(error, "errno", None) in FULL or any(words in str(error) for words in FULL_IN_WORDS)


def without_room(what: str, place: Path) -> SettingsError:
    """What cannot be written to an existing place because the volume there is full."""
    total = shutil.disk_usage(place).total
    return SettingsError(
        f"{what} cannot be written to {place}: no space left, the volume holds {total:,} bytes in all. "
        "Give the job a larger one (VolumeSizeInGB), or fewer rows."
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends well, and vanishes otherwise.

    The same folder, because `os.replace` is atomic only within one file system and each `/opt/ml` mount may be its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def json_text(value: Any) -> str:
    """Strict JSON (no NaN, no Infinity) with sorted keys and a newline at its end: the same value, the same bytes."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically, as `json_text` renders it.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    write_text(path, json_text(value))


def read_json(path: Path, what: str = "file") -> Any:
    """The JSON value in `path`.

    Raises:
        DataError: the file is missing, may not be read, is not UTF-8, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{what} {path} does not exist.") from None
    except OSError as error:
        raise DataError(f"{what} {path} cannot be read: {error.strerror}. Let the container's user read it.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what} {path} is no JSON: {error}.") from None


def is_there(path: Path) -> bool:
    """Whether there is something at a path, which `Path.exists` does not tell alike in all versions of Python.

    Raises:
        OSError: that cannot be told, because a folder on the way may not be looked into.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def check_readable(folder: Path, what: str) -> None:
    """Make sure that each folder with data below `folder` may be looked into: `rglob` passes over others in silence.

    Raises:
        DataError: one may not; that there is none is for whoever wants its files.
    """
    try:
        for place, inside, _ in os.walk(folder, onerror=_refused):
            os.stat(os.path.join(place, "."))
            # No data, as for whoever reads them; a volume's lost+found is root's alone.
            inside[:] = [name for name in inside if not name.startswith((".", "_")) and name != "lost+found"]
    except OSError as error:
        place = error.filename.removesuffix("/.")
        raise DataError(f"{what} {place} cannot be read: {error.strerror}. Let the container's user read it.") from None


def _refused(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
