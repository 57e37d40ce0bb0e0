"""Runs of a use case on this machine: the training pipeline, the inference pipeline, and both with the drift loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from components.spec import Spec
from pipelines import choices
from pipelines.graph import RELEASE_STEP, Graph, Origin, inference_graph, training_graph
from pipelines.local.artefacts import verify_release
from pipelines.local.engine import Machine, Observer, Result, Run, first_failure
from pipelines.local.places import Places, Window, first_window, latest_window, output_path
from pipelines.local.retraining import claim
from pipelines.manifest import Manifest, UseCase
from pipelines.releases import Release, current_id, current_release, promote, write_release
from pipelines.storage import Storage, local_path
from shared.errors import DataError
from shared.files import read_json
from shared.gates import GateResult, metrics_of
from shared.release import RELEASE


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def untracked(_release: Release) -> None:
    """Tell nobody of a release."""


class Teller(Observer, Protocol):
    """An observer that can also say a sentence."""

    def say(self, text: str, style: str = "") -> None:
        """Say it."""


@dataclass(frozen=True)
class Trained:
    """What a training run gave."""

    run: str
    graph: Graph
    results: Mapping[str, Result]
    release: Release
    gates: tuple[GateResult, ...]
    promoted: bool
    folder: Path


@dataclass(frozen=True)
class Scored:
    """What an inference run gave for one period (None: the manifest has no periods)."""

    run: str
    period: str | None
    graph: Graph
    results: Mapping[str, Result]
    release: Release
    folder: Path

    @property
    def remembered(self) -> bool:
        """Whether the release was trained on this period too, so that its quality here says nothing of new data."""
        return self.period is not None and self.period in (self.release.content["data"]["periods"] or ())

    @property
    def drift(self) -> Mapping[str, Any]:
        """The verdict in monitoring's drift.json; empty without one."""
        return _optional_json(self.folder / "monitoring/report/drift.json")

    @property
    def drifted(self) -> bool:
        """Whether monitoring says that the period has drifted."""
        return bool(self.drift.get("detected"))

    @property
    def quality(self) -> Mapping[str, float]:
        """The numbers in monitoring's model_quality.json by their path; empty while the outcomes are not known."""
        return metrics_of(_optional_json(self.folder / "monitoring/report/model_quality.json"))

    @property
    def rows(self) -> int | None:
        """Records that got a score."""
        result = self.results.get("algorithm") or next(iter(self.results.values()), None)
        return result.rows if result else None


@dataclass(frozen=True)
class Retrained:
    """What the drift loop gave: the period that drifted, the training that followed, the next period scored anew."""

    cause: Scored
    trained: Trained
    following: Scored | None


@dataclass(frozen=True)
class Suppressed:
    """A retraining that drift asked for and the policy did not allow."""

    cause: Scored
    why: str


@dataclass(frozen=True)
class Outcome:
    """All that one call of `run` did.

    Attributes:
        unscored: why nothing was scored although scoring was asked for; empty otherwise.
    """

    run: str
    trained: Trained | None = None
    scored: tuple[Scored, ...] = ()
    retrained: Retrained | None = None
    suppressed: Suppressed | None = None
    unscored: str = ""


@dataclass(frozen=True)
class Runner:
    """Runs the pipelines of one use case."""

    use_case: UseCase
    specs: Mapping[str, Spec]
    storage: Storage
    machine: Machine
    teller: Teller
    run: str
    images: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], datetime] = utc_now
    track: Callable[[Release], None] = untracked

    @property
    def manifest(self) -> Manifest:
        """What the use case declares."""
        return self.use_case.manifest

    async def training(self) -> Outcome:
        """The training pipeline."""
        return Outcome(self.run, trained=await self._train(self.run, first_window(self.manifest.data)))

    async def inference(self, periods: Sequence[str]) -> Outcome:
        """The inference pipeline, on each period.

        Raises:
            DataError: no release is current.
            ArtefactError: the release is not this use case's, or its parts are not the ones released.
        """
        release = await self._verified(current_release(self.storage))
        scored = await self._score_all(self.periods(periods), release)
        return Outcome(self.run, scored=scored)

    async def both(self, periods: Sequence[str]) -> Outcome:
        """Training, then inference on each period; the first drift retrains when the manifest says so.

        Periods are scored side by side with the current release; their verdicts are read in order. Without a current
        one (a gate was not met, or somebody has to approve) nothing is scored, and the outcome says why.
        """
        trained = await self._train(self.run, first_window(self.manifest.data))
        try:
            current = current_release(self.storage)
        except DataError as error:
            return Outcome(self.run, trained, unscored=f"nothing was scored: {error}")
        release = await self._verified(current)
        every = self.periods(periods)
        retraining: asyncio.Task[Retrained] | None = None
        suppressed: Suppressed | None = None
        async with Together() as together:
            scoring = [
                together.start(self._score(period, release, priority, len(every)))
                for priority, period in enumerate(every)
            ]
            inarow = 0
            scored = []
            for position, task in enumerate(scoring):
                scored.append(await task)
                inarow = inarow + 1 if scored[-1].drifted else 0
                if retraining is None and suppressed is None and self._retrains(inarow):
                    suppressed = self._suppressed(scored[-1])
                    following = every[position + 1] if position + 1 < len(every) else None
                    if suppressed is None:
                        retraining = together.start(self._retrain(scored[-1], following, release))
        return Outcome(self.run, trained, tuple(scored), retraining.result() if retraining else None, suppressed)

    async def _verified(self, release: Release) -> Release:
        await asyncio.to_thread(verify_release, release, self.storage, self.manifest.name)
        return release

    def _retrains(self, drifted_in_a_row: int) -> bool:
        policy = self.manifest.drift
        return policy is not None and policy.then == "retrain" and drifted_in_a_row >= policy.when.runs

    def _suppressed(self, cause: Scored) -> Suppressed | None:
        """Why the period's drift must not train again now; None when it may, which is then noted."""
        policy = self.manifest.drift
        assert policy is not None
        why = claim(self.storage, policy, self.clock())
        if not why:
            return None
        self.teller.say(f"{cause.period} has drifted, but nothing is trained: {why}", "yellow")
        return Suppressed(cause, why)

    def periods(self, given: Sequence[str]) -> tuple[str | None, ...]:
        """What to score: the periods given, else the manifest's (None: it has no periods)."""
        return tuple(dict.fromkeys(given)) or self.manifest.data.periods or (None,)

    async def _train(self, run: str, window: Window, cause: Scored | None = None) -> Trained:
        programs = self.machine.programs
        origin = Origin(self.use_case.document.digest, code_revision(programs.folder), programs.images(self.images))
        graph = training_graph(self.manifest, self.specs, origin)
        if untuned := choices.untuned(self.manifest, "local"):
            self.teller.say(untuned, "yellow")
        started_by = "command" if cause is None else f"drift {cause.run}"
        places = Places(
            self.use_case, self.storage, "training", run, window=window, started_by=started_by, images=self.images
        )
        label = "training" if cause is None else f"retraining {cause.period}"
        results = await self._execute(graph, places, label, beside=1, priority=-1)
        release = await asyncio.to_thread(self._publish, places, cause)
        promoted = self._approve(release, cause)
        await asyncio.to_thread(self.track, release)
        return Trained(run, graph, results, release, release.gates, promoted, places.folder)

    async def _score_all(self, periods: Sequence[str | None], release: Release) -> tuple[Scored, ...]:
        async with Together() as together:
            tasks = [
                together.start(self._score(period, release, priority, len(periods)))
                for priority, period in enumerate(periods)
            ]
        return tuple(task.result() for task in tasks)

    async def _score(
        self, period: str | None, release: Release, priority: int, beside: int, suffix: str = ""
    ) -> Scored:
        run = f"{self.run}-{period}{suffix}" if period else self.run + suffix
        places = Places(
            self.use_case, self.storage, "inference", run, period=period, release=release, images=self.images
        )
        graph = inference_graph(self.manifest, self.specs, labelled=places.has_labels())
        label = f"{period or 'inference'}{suffix.replace('-', ' ')}"
        results = await self._execute(graph, places, label, beside, priority)
        return Scored(run, period, graph, results, release, places.folder)

    async def _retrain(self, cause: Scored, following: str | None, old: Release) -> Retrained:
        """Train on the window that the drift policy declares, and score the next period with what comes out."""
        policy = self.manifest.drift
        assert policy is not None
        assert policy.with_ is not None
        assert cause.period is not None
        columns = ", ".join(drifted_columns(cause.drift)[:6])
        self.teller.say(f"{cause.period} has drifted{f' ({columns})' if columns else ''}: training again", "yellow")
        window = Window(policy.with_.uri) if policy.with_.uri else None
        window = window or latest_window(self.manifest.data, policy.with_.periods or 1, cause.period)
        trained = await self._train(f"{self.run}-drift-{cause.period}", window, cause)
        scored = None
        if following is not None and trained.release.id != old.id:
            scored = await self._score(following, await self._verified(trained.release), -1, 1, "-retrained")
        return Retrained(cause, trained, scored)

    async def _execute(self, graph: Graph, places: Places, label: str, beside: int, priority: int) -> dict[str, Result]:
        run = Run(graph, places, places.folder, label, self.machine, self.teller, beside, priority)
        return await run.execute()

    def _publish(self, places: Places, cause: Scored | None) -> Release:
        """Take over what the release step wrote, with uris that hold wherever the storage is moved to."""
        made = read_json(output_path(places.folder, RELEASE_STEP, RELEASE_STEP) / RELEASE, "release")
        assert places.window is not None
        content = {
            **made,
            "parent": made["parent"] and local_path(made["parent"], self.storage.root).stem,
            "started_by": _cause(cause),
            "data": {**made["data"], "uri": places.window.uri},
            "parts": {
                name: {**part, "uri": self.storage.relative_uri(part["uri"])} for name, part in made["parts"].items()
            },
        }
        return write_release(self.storage, places.run, content)

    def _approve(self, release: Release, cause: Scored | None) -> bool:
        """Move the pointer if the manifest lets us and every gate is met; whether it was moved."""
        unmet = [gate for gate in release.gates if not gate.met]
        if unmet:
            now = current_id(self.storage)
            said = "; ".join(map(str, unmet))
            self.teller.say(f"release {release.id}: {said}. The current release stays {now or 'none'}.", "yellow")
            return False
        if self.manifest.pipelines.training.release.approve == "manual":
            self.teller.say(f"release {release.id} waits for approval: promote it by hand.", "yellow")
            return False
        promote(self.storage, release, "gates met" if cause is None else f"drift of {cause.period}, gates met")
        self.teller.say(f"release {release.id} is current")
        return True


class Together:
    """A task group whose failure is the first failure itself, not a group of one."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Together:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> None:
        try:
            await self._group.__aexit__(*details)
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from None

    def start(self, work: Any) -> asyncio.Task[Any]:
        """Start a coroutine; the block ends when it has."""
        return self._group.create_task(work)


def prepare(use_case: UseCase, storage: Storage, folder: Path) -> bool:
    """Make the data that the manifest names with its `data.prepare` module, when some of them are absent.

    Raises:
        QuartetError: the module failed.
    """
    data = use_case.manifest.data
    if data.prepare is None or all(path.exists() for path in _raw_paths(use_case, storage)):
        return False
    command = [sys.executable, "-m", data.prepare, "--storage", str(storage.root)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        error = DataError(f"data.prepare {data.prepare!r} failed (exit code {done.returncode}): {said}")
        error.exit_code = done.returncode
        raise error
    return True


def _raw_paths(use_case: UseCase, storage: Storage) -> list[Path]:
    """Every file or folder of raw data that the manifest names for the periods it lists."""
    data = use_case.manifest.data
    places = Places(use_case, storage, "training", "none")
    wanted = [(data.train, data.train.periods), (data.score, data.periods), (data.labels, data.periods)]
    return [
        places.path(source.uri, period)
        for source, periods in wanted
        if source is not None
        for period in (periods or (None,))
        if period is not None or "{period}" not in source.uri
    ]


def _cause(cause: Scored | None) -> dict[str, Any]:
    """Who started a training run: somebody, or the drift of a period."""
    if cause is None:
        return {"cause": "command"}
    columns = drifted_columns(cause.drift)
    return {"cause": "drift", "period": cause.period, "run": cause.run, "release": cause.release.id, "columns": columns}


def drifted_columns(verdict: Mapping[str, Any]) -> list[str]:
    """What a drift.json calls drifted: names of columns, and the prediction."""
    columns = [str(name) for name in verdict.get("columns", ())]
    return [*columns, "the prediction"] if verdict.get("prediction_drift") else columns


def code_revision(folder: Path) -> str | None:
    """The git revision of the code, with `-dirty` when files differ from it; None outside a checkout."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _optional_json(path: Path) -> Mapping[str, Any]:
    value = read_json(path) if path.is_file() else {}
    return value if isinstance(value, Mapping) else {}
