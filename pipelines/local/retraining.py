"""How often drift may train again: the cool-down and the monthly cap, kept beside the releases.

The state is what the cloud engines keep in Parameter Store: when drift last started a training, and how often in this
month. Both count real time, in UTC, over all runs of the use case.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipelines.manifest import Drift
from pipelines.storage import Storage
from shared.errors import ArtefactError
from shared.files import read_json, write_json

TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
UNITS: Final = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


@dataclass(frozen=True)
class State:
    """When drift last started a training, and how often it did in `month`."""

    last: str | None = None
    month: str = ""
    count: int = 0

    def after(self, now: datetime) -> State:
        """The state when drift starts a training now."""
        month = now.strftime("%Y-%m")
        return State(now.strftime(TIME), month, self.count + 1 if self.month == month else 1)


def hindrance(state: State, policy: Drift, now: datetime) -> str:
    """Why drift must not train again now; empty when it may."""
    if state.last is not None:
        passed = (now - datetime.strptime(state.last, TIME).replace(tzinfo=UTC)).total_seconds()
        if passed < policy.cooldown:
            ago = duration(max(1, int(passed)))
            return f"the last retraining was {ago} ago, and drift.cooldown is {duration(policy.cooldown)}"
    if state.month == now.strftime("%Y-%m") and state.count >= policy.max_per_month:
        times = "once" if state.count == 1 else f"{state.count} times"
        return f"drift has trained {times} this month, and drift.max_per_month is {policy.max_per_month}"
    return ""


def duration(seconds: int) -> str:
    """Seconds in the greatest unit that they fill: `1 day`, `90 minutes`."""
    name, size = next((name, size) for name, size in UNITS if seconds >= size)
    if seconds % size and size > 1:
        name, size = UNITS[[unit for unit, _ in UNITS].index(name) + 1]
    count = seconds // size
    return f"{count} {name}{'' if count == 1 else 's'}"


def claim(storage: Storage, policy: Drift, now: datetime) -> str:
    """Take the right to train again now and note it; why there is none otherwise."""
    path = storage.drift_state
    with _locked(path):
        state = read_state(path)
        why = hindrance(state, policy, now)
        if not why:
            write_json(path, asdict(state.after(now)))
    return why


def read_state(path: Path) -> State:
    """The state in a file; that of a use case which drift has never trained when there is none.

    Raises:
        ArtefactError: the file holds something else.
    """
    if not path.exists():
        return State()
    value = read_json(path, "drift state")
    try:
        state = State(value["last"], str(value["month"]), int(value["count"]))
        if state.last is not None:
            datetime.strptime(state.last, TIME)
    except (KeyError, TypeError, ValueError):
        raise ArtefactError(
            f"drift state {path} is none, wanted JSON with last, month and count. Remove the file to begin anew."
        ) from None
    return state


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
