"""What MLflow is told of a release: arithmetic on its file and on the files of its run, within MLflow's limits."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipelines.aws.releases import release_id

KEY: Final = 250
"""Characters of a name, at most."""
VALUE: Final = 6000
"""Characters of a param's value, and here of a tag's too, at most."""
RELEASE_TAG: Final = "quartet.release"
CURVES: Final = "Training"
"""The section of a training report whose lines are the rounds of training."""


@dataclass(frozen=True)
class Metric:
    """One point of one metric."""

    key: str
    value: float
    timestamp: int  # milliseconds since 1970, UTC
    step: int = 0


@dataclass(frozen=True)
class Record:
    """A release as a run.

    Attributes:
        name: the release's id.
        start: when its training began, in milliseconds since 1970, UTC; `end` likewise.
        identity: the tags by which the run is found again.
        tags: all others.
        params: the components' settings.
        metrics: what the release reached, and the rounds of its training.
    """

    name: str
    start: int
    end: int
    identity: Mapping[str, str]
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Sequence[Metric]


def record(
    release: str,
    content: Mapping[str, Any],
    environment: str | None,
    settings: Mapping[str, Mapping[str, Any]],
    report: Mapping[str, Any],
    started: float | None,
) -> Record:
    """The run of a release.

    Args:
        release: its id.
        content: what its file says.
        environment: where it was made; None where the manifest has none.
        settings: by component, those that the parts were made with.
        report: the report.json of its training job; empty without one.
        started: when the training began, in seconds since 1970, UTC; None when nobody knows.
    """
    end = milliseconds(content["created"])
    start = end if started is None else min(end, int(started * 1000))
    final = [Metric(key_of(name), value, end) for name, value in sorted(content.get("metrics", {}).items())]
    return Record(
        release,
        start,
        end,
        identity(release, content["name"], environment),
        tags_of(release, content),
        params_of(settings),
        [*final, *curves(report, end)],
    )


def identity(release: str, name: str, environment: str | None) -> dict[str, str]:
    """The tags that no other run has: an experiment may hold several use cases and environments."""
    return {RELEASE_TAG: release, "quartet.use_case": name, "quartet.environment": environment or "none"}


def milliseconds(time: str) -> int:
    """A release's time, such as 2026-11-22T06:40:50Z, in milliseconds since 1970."""
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def tags_of(release: str, content: Mapping[str, Any]) -> dict[str, str]:
    """Where a release comes from; `mlflow.…` are the names under which MLflow's pages show them."""
    started = content.get("started_by", {})
    parent = content.get("parent")
    digests = {f"quartet.digest.{name}": part.get("digest") for name, part in content["parts"].items()}
    images = {f"quartet.image.{name}": image for name, image in content.get("images", {}).items()}
    found = {
        "mlflow.runName": release,
        "mlflow.source.name": "quartet",
        "mlflow.source.git.commit": content.get("revision"),
        "quartet.revision": content.get("revision"),
        "quartet.manifest": content.get("manifest", {}).get("sha256"),
        "quartet.parent": release_id(parent) if parent and "://" in parent else parent,
        "quartet.started_by": " ".join(str(started[key]) for key in ("cause", "run") if started.get(key)),
        "quartet.data": content.get("data", {}).get("uri"),
        "quartet.gates_met": str(all(gate["met"] for gate in content["gates"])).lower(),
        **digests,
        **images,
    }
    return {key_of(name): str(value)[:VALUE] for name, value in found.items() if value}


def params_of(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Every setting under its path, such as `algorithm.params.max_depth`; a list is one value, as JSON."""
    return {key_of(name): text for component, own in settings.items() if own for name, text in _leaves(component, own)}


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in sorted(value.items()):
            yield from _leaves(f"{path}.{key}", item)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        yield path, text[:VALUE]


def key_of(name: str) -> str:
    """A name that every MLflow takes: `validation:auc` as `validation/auc`, which its pages show as a group."""
    return re.sub(r"[^\w.\-/ ]", "_", name.replace(":", "/"), flags=re.ASCII)[:KEY]


def curves(report: Mapping[str, Any], timestamp: int) -> Iterator[Metric]:
    """The rounds of training that a report draws: `training/<series>/<metric>`, a round a step."""
    for section in report.get("sections", ()):
        if section.get("title") == CURVES:
            for block in section.get("blocks", ()):
                for series in block.get("series", ()):
                    key = key_of(f"training/{series['name']}/{str(block['title']).lower()}")
                    yield from _points(key, series, timestamp)


def _points(key: str, series: Mapping[str, Any], timestamp: int) -> Iterator[Metric]:
    for x, y in zip(series["x"], series["y"], strict=True):
        if isinstance(y, int | float) and math.isfinite(y):
            yield Metric(key, float(y), timestamp, int(x))


def verdict_metrics(drift: Mapping[str, Any], step: int, timestamp: int) -> list[Metric]:
    """What monitoring says of one scored period, as points of the metrics of the release that scored it."""
    values = {"inference/drift_score": drift.get("score"), "inference/drift_detected": drift.get("detected")}
    return [Metric(key, float(value), timestamp, step) for key, value in values.items() if value is not None]
