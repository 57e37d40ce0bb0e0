"""Releases: what a training pipeline ends in, and the one pointer that the inference pipeline reads.

A release is one JSON file, never changed once written. `releases/current` holds the name of the one in use; it is
replaced in one move, so that a reader sees the old release or the new one and never a mixture of parts.
"""

from __future__ import annotations

import fcntl
import getpass
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.storage import Storage
from shared.errors import ArtefactError, DataError, SettingsError, did_you_mean
from shared.files import read_json, write_json, write_text
from shared.gates import GateResult
from shared.release import API_VERSION, RELEASE_ID, timestamp

POINTER: Final = "current"
HISTORY: Final = "history.jsonl"
KEYS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "name": str,
    "created": str,
    "parent": (str, type(None)),
    "manifest": dict,
    "revision": (str, type(None)),
    "versions": dict,
    "data": dict,
    "parts": dict,
    "gates": list,
}
"""What every reader of a release relies on."""
MOVE: Final = ("at", "by", "from", "move", "to", "why")
"""What a line of the history holds."""


class GateError(SettingsError):
    """A release that must not be promoted, because a gate is not met."""


@dataclass(frozen=True)
class Release:
    """One release: its file, and what it says."""

    path: Path
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The release's name: that of its file."""
        return self.path.stem

    @property
    def approved(self) -> bool:
        """Whether all gates were met."""
        return all(gate["met"] for gate in self.content["gates"])

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """The gates, and what the metrics were."""
        return tuple(GateResult.from_json(gate) for gate in self.content["gates"])

    def uri(self, part: str) -> str:
        """Where a part lies, relative to the storage.

        Raises:
            DataError: the release has no such part.
        """
        try:
            return str(self.content["parts"][part]["uri"])
        except KeyError:
            raise DataError(
                f"release {self.id!r} has no {part!r}. Train again with the step that makes it, or switch off the "
                "inference step that reads it."
            ) from None


def write_release(storage: Storage, release_id: str, content: Mapping[str, Any]) -> Release:
    """A new release file.

    Raises:
        SettingsError: there is one of this name already.
    """
    path = storage.release(release_id)
    if path.exists():
        raise SettingsError(f"release {release_id!r} exists already, and releases never change. Take another --run-id.")
    write_json(path, content)
    return Release(path, content)


def read_release(storage: Storage, release_id: str) -> Release:
    """The release of this id.

    Raises:
        SettingsError: there is none, or no release could have this id.
        ArtefactError: its file is no release.
    """
    if not RELEASE_ID.fullmatch(release_id):
        raise SettingsError(
            f"release id is {release_id!r}, wanted letters, digits, hyphens, dots and underscores. "
            "`status` lists the releases."
        )
    path = storage.release(release_id)
    if not path.is_file():
        hint = did_you_mean(release_id, release_ids(storage))
        raise SettingsError(f"release {release_id!r} does not exist in {storage.releases}.{hint}")
    content = read_json(path, "release")
    if not isinstance(content, dict) or content.get("apiVersion") != API_VERSION:
        raise ArtefactError(f"release {path} is no {API_VERSION} release. Run the training pipeline again.")
    lacking = next(absent(content), None)
    if lacking is not None:
        raise ArtefactError(f"release {path} has no usable {lacking}. Restore the file, or run the training pipeline.")
    return Release(path, content)


def absent(content: Mapping[str, Any]) -> Iterator[str]:
    """Paths of the keys that a release lacks, or whose value is of the wrong type; take no more than the first."""
    yield from _lacking(content, KEYS, "")
    yield from _lacking(content["data"], {"uri": str, "periods": list}, "data.")
    for name, part in content["parts"].items():
        yield from _lacking(part, {"uri": str}, f"parts.{name}.")
    for number, gate in enumerate(content["gates"]):
        yield from _lacking(gate, {"metric": str, "met": bool, "value": (int, float, type(None))}, f"gates[{number}].")


def _lacking(value: Any, keys: Mapping[str, type | tuple[type, ...]], path: str) -> Iterator[str]:
    for key, kind in keys.items():
        if not isinstance(value, Mapping) or key not in value or not isinstance(value[key], kind):
            yield path + key


def release_ids(storage: Storage) -> list[str]:
    """The names of all releases, sorted."""
    return sorted(path.stem for path in storage.releases.glob("*.json") if RELEASE_ID.fullmatch(path.stem))


def all_releases(storage: Storage) -> list[Release]:
    """All releases, oldest first: a name need not tell when its release was made."""
    found = [read_release(storage, release_id) for release_id in release_ids(storage)]
    return sorted(found, key=lambda release: (release.content["created"], release.id))


def current_id(storage: Storage) -> str | None:
    """The id that the pointer holds; None when nothing was promoted yet.

    Raises:
        ArtefactError: it holds something else.
    """
    path = storage.releases / POINTER
    found = path.read_bytes().decode("utf-8", "backslashreplace").strip() if path.is_file() else ""
    if found and not RELEASE_ID.fullmatch(found):
        raise ArtefactError(
            f"pointer {path} holds {found[:40]!r}, wanted a release's id. Remove the file and promote a release."
        )
    return found or None


def current_release(storage: Storage) -> Release:
    """The release in use.

    Raises:
        DataError: nothing was promoted yet.
    """
    release_id = current_id(storage)
    if release_id is None:
        advice = _promotable(all_releases(storage))
        raise DataError(f"no release is current in {storage.releases}. {advice}")
    return read_release(storage, release_id)


def _promotable(releases: Sequence[Release]) -> str:
    """What to do when no release is current."""
    if not releases:
        return "Run the training pipeline first."
    approved = [release.id for release in releases if release.approved]
    if approved:
        return f"Promote one: {approved[-1]!r} is the latest."
    return (
        f"None of the {len(releases)} there meets its gates: change settings or data and train again, change the "
        f"gates, or promote {releases[-1].id!r} with --force."
        if len(releases) > 1
        else f"The only one, {releases[0].id!r}, does not meet its gates: change settings or data and train again, "
        "change the gates, or promote it with --force."
    )


def promote(storage: Storage, release: Release, why: str, *, force: bool = False) -> str | None:
    """Make a release the current one; the id of the one before.

    Raises:
        GateError: a gate of the release is not met, and nobody insists.
    """
    if not release.approved and not force:
        unmet = ", ".join(gate["metric"] for gate in release.content["gates"] if not gate["met"])
        raise GateError(f"release {release.id!r} does not meet its gates ({unmet}). Train again, or use --force.")
    with _locked(storage):
        return _move(storage, release.id, "promote", why)


def rollback(storage: Storage) -> tuple[str, str]:
    """Go back to the release before the current one, as the history has it; the ids from and to.

    Raises:
        SettingsError: there is no earlier release.
    """
    with _locked(storage):
        now = current_id(storage)
        earlier = [move["from"] for move in history(storage) if move["move"] == "promote" and move["to"] == now]
        if now is None or not earlier or earlier[-1] is None:
            raise no_way_back(now)
        target = read_release(storage, earlier[-1])
        _move(storage, target.id, "rollback", "by hand")
        return now, target.id


def no_way_back(now: str | None) -> SettingsError:
    """Why the pointer cannot go back from where it stands."""
    if now is None:
        return SettingsError("no release is current, so there is none to go back from. Promote one first.")
    return SettingsError(f"there is no release before {now!r} to go back to. `status` lists the releases.")


def history(storage: Storage) -> list[dict[str, Any]]:
    """Every move of the pointer, oldest first.

    Raises:
        ArtefactError: a line is no move.
    """
    path = storage.releases / HISTORY
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [_read_move(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def _read_move(line: bytes, where: str) -> dict[str, Any]:
    try:
        move = json.loads(line)
    except ValueError:
        move = None
    if not isinstance(move, dict) or any(key not in move for key in MOVE):
        raise ArtefactError(f"{where} is no move of the pointer, wanted JSON with {', '.join(MOVE)}. Remove the line.")
    return move


def _move(storage: Storage, target: str, move: str, why: str) -> str | None:
    """Note the move, then move: a crash between the two leaves a note too many, never a move that nobody knows of."""
    before = current_id(storage)
    if before == target:
        return before
    event = {"at": timestamp(), "by": _user(), "from": before, "move": move, "to": target, "why": why}
    with (storage.releases / HISTORY).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(event, sort_keys=True) + "\n")
    write_text(storage.releases / POINTER, target + "\n")
    return before


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid need not have a name
        return "unknown"


@contextmanager
def _locked(storage: Storage) -> Iterator[None]:
    """One mover of the pointer at a time."""
    storage.releases.mkdir(parents=True, exist_ok=True)
    with (storage.releases / ".lock").open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
