"""Releases: what a training pipeline ends in, and the one pointer that the inference pipeline reads.

A release is one JSON file, never changed once written. `releases/current` holds the name of the one in use; it is
replaced in one move, so that a reader sees the old release or the new one and never a mixture of parts.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.manifest import Gate
from pipelines.storage import Storage, timestamp
from shared.errors import ArtefactError, DataError, SettingsError, did_you_mean
from shared.files import read_json, write_json, write_text

POINTER: Final = "current"
HISTORY: Final = "history.jsonl"
API_VERSION: Final = "quartet/v1"


class GateError(SettingsError):
    """A release that must not be promoted, because a gate is not met."""


@dataclass(frozen=True)
class GateResult:
    """A gate, and what the metric was."""

    gate: Gate
    value: float | None

    @property
    def met(self) -> bool:
        """Whether the metric is there and within the gate's bounds."""
        low = -math.inf if self.gate.min is None else self.gate.min
        high = math.inf if self.gate.max is None else self.gate.max
        return self.value is not None and low <= self.value <= high

    def __str__(self) -> str:
        limits = (("at least", self.gate.min), ("at most", self.gate.max))
        bounds = [f"{word} {bound:g}" for word, bound in limits if bound is not None]
        value = "absent" if self.value is None else f"{self.value:.4f}"
        return f"{self.gate.metric} is {value}, wanted {' and '.join(bounds)}"

    def to_json(self) -> dict[str, Any]:
        """The gate's record in a release."""
        bounds = {"min": self.gate.min, "max": self.gate.max}
        return {"metric": self.gate.metric, "step": self.gate.step, **bounds, "value": self.value, "met": self.met}


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


def metrics_of(evaluation: Any) -> dict[str, float]:
    """Every number of an evaluation.json under its path: `{"validation": {"auc": 0.7}}` gives `validation:auc`."""
    found: dict[str, float] = {}

    def walk(node: Any, path: tuple[str, ...]) -> None:
        if isinstance(node, Mapping):
            for key, value in node.items():
                # SageMaker's evaluation files hold {"auc": {"value": 0.7}}; the metric is called auc all the same.
                walk(value, path if key == "value" else (*path, str(key)))
        elif isinstance(node, int | float) and not isinstance(node, bool) and path and math.isfinite(node):
            found[":".join(path)] = float(node)

    walk(evaluation.get("metrics", evaluation) if isinstance(evaluation, Mapping) else {}, ())
    return found


def gate_results(gates: Sequence[Gate], metrics: Mapping[str, float]) -> tuple[GateResult, ...]:
    """Each gate with its metric's value.

    Raises:
        SettingsError: the evaluation has no such metric, so that the gate could never be met.
    """
    for gate in gates:
        if gate.metric not in metrics:
            hint = did_you_mean(gate.metric, metrics) or f" It has: {', '.join(sorted(metrics)[:12])}."
            raise SettingsError(f"gate {gate.metric!r}: the model's evaluation.json has no such metric.{hint}")
    return tuple(GateResult(gate, metrics[gate.metric]) for gate in gates)


def write_release(storage: Storage, release_id: str, content: Mapping[str, Any]) -> Release:
    """A new release file.

    Raises:
        SettingsError: there is one of this name already.
    """
    path = storage.releases / f"{release_id}.json"
    if path.exists():
        raise SettingsError(f"release {release_id!r} exists already, and releases never change. Take another --run-id.")
    write_json(path, content)
    return Release(path, content)


def read_release(storage: Storage, release_id: str) -> Release:
    """The release of this id.

    Raises:
        SettingsError: there is none.
        ArtefactError: its file is no release.
    """
    path = storage.releases / f"{release_id}.json"
    if not path.is_file():
        hint = did_you_mean(release_id, release_ids(storage))
        raise SettingsError(f"release {release_id!r} does not exist in {storage.releases}.{hint}")
    content = read_json(path, "release")
    if not isinstance(content, dict) or content.get("apiVersion") != API_VERSION:
        raise ArtefactError(f"release {path} is no {API_VERSION} release. Run the training pipeline again.")
    return Release(path, content)


def release_ids(storage: Storage) -> list[str]:
    """All releases, oldest first."""
    return sorted(path.stem for path in storage.releases.glob("*.json"))


def current_id(storage: Storage) -> str | None:
    """The id that the pointer holds; None when nothing was promoted yet."""
    try:
        return (storage.releases / POINTER).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def current_release(storage: Storage) -> Release:
    """The release in use.

    Raises:
        DataError: nothing was promoted yet.
    """
    release_id = current_id(storage)
    if release_id is None:
        candidates = release_ids(storage)
        advice = f"Promote one: {candidates[-1]!r} is the latest." if candidates else "Run the training pipeline first."
        raise DataError(f"no release is current in {storage.releases}. {advice}")
    return read_release(storage, release_id)


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
            raise SettingsError(f"there is no release before {now!r} to go back to. `status` lists the releases.")
        target = read_release(storage, earlier[-1])
        _move(storage, target.id, "rollback", "by hand")
        return now, target.id


def history(storage: Storage) -> list[dict[str, Any]]:
    """Every move of the pointer, oldest first."""
    path = storage.releases / HISTORY
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


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
