"""What a run on this machine would do, told without doing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from components.spec import Spec
from pipelines import choices
from pipelines.graph import Graph, inference_graph, training_graph
from pipelines.local.places import Places, first_window
from pipelines.local.retraining import hindrance, read_state
from pipelines.local.workspace import files
from pipelines.manifest import Manifest, Source, UseCase
from pipelines.releases import current_id, release_ids
from pipelines.storage import Storage


def plan(use_case: UseCase, specs: Mapping[str, Spec], storage: Storage, now: datetime) -> Iterator[str]:
    """The plan, line by line."""
    manifest = use_case.manifest
    yield f"{manifest.name}: engine {manifest.engine}, storage {storage.root}"
    yield ""
    yield f"training    {_order(training_graph(manifest, specs))}"
    yield from _training(use_case, storage)
    if manifest.data.score:
        yield ""
        yield f"inference   {_order(inference_graph(manifest, specs))}"
        yield from _inference(use_case, storage)
    if manifest.drift and manifest.drift.then == "retrain":
        why = hindrance(read_state(storage.drift_state), manifest.drift, now)
        yield f"  drift     {f'would train nothing now: {why}' if why else 'of a period trains again'}"
    yield from left_out(manifest, "left out of the manifest, and chosen (machines matter in the cloud alone):")


def left_out(manifest: Manifest, title: str) -> Iterator[str]:
    """What is chosen where the manifest is silent, with the reasons."""
    chosen = list(choices.left_out(manifest))
    if chosen:
        yield ""
        yield title
        width = max(len(named.key) for named in chosen)
        for named in chosen:
            yield f"  {named.key.ljust(width)}  {named.choice.value}"
            yield f"  {'':{width}}    because {named.choice.reason}"


def _order(graph: Graph) -> str:
    return " → ".join(", ".join(layer) for layer in graph.layers())


def _training(use_case: UseCase, storage: Storage) -> Iterator[str]:
    data = use_case.manifest.data
    places = Places(use_case, storage, "training", "none")
    window = first_window(data)
    paths = [places.path(window.uri, period) for period in window.periods or (None,)]
    yield f"  data      {_size(paths, data.prepare)}"
    yield f"  split     {choices.split(use_case.manifest).value}"
    if untuned := choices.untuned(use_case.manifest, "local"):
        yield f"  tuning    {untuned}"
    yield f"  checks    {choices.checks(use_case.manifest).value}"
    yield f"  release   {use_case.manifest.pipelines.training.release.approve}; {_released(storage)}"


def _released(storage: Storage) -> str:
    current = current_id(storage)
    return f"{current} is current" if current else f"none of {len(release_ids(storage))} is current"


def _inference(use_case: UseCase, storage: Storage) -> Iterator[str]:
    data = use_case.manifest.data
    assert data.score is not None
    places = Places(use_case, storage, "inference", "none")
    periods = data.periods or (None,)
    if "{period}" in data.score.uri and not data.periods:
        yield "  data      one period a run: name it with --period"
        return
    yield f"  data      {_size(_paths(places, data.score, periods), data.prepare)}"
    if data.labels:
        known = [path for path in _paths(places, data.labels, periods) if path.exists()]
        yield f"  outcomes  known of {len(known)} of {len(periods)}"


def _paths(places: Places, source: Source, periods: tuple[str | None, ...]) -> list[Path]:
    return [places.path(source.uri, period) for period in periods]


def _size(paths: list[Path], prepare: str | None) -> str:
    found = [(path, size) for path in paths for path, size in [(path, _bytes(path))] if size is not None]
    lacking = [path for path in paths if _bytes(path) is None]
    total = sum(size for _, size in found)
    text = f"{len(found)} of {len(paths)} there, {total / 1e6:,.1f} MB"
    if lacking and prepare:
        return f"{text}; {prepare} makes the others first"
    return f"{text}; {lacking[0]} does not exist" if lacking else text


def _bytes(path: Path) -> int | None:
    return sum(file.stat().st_size for file, _ in files(path)) if path.exists() else None
