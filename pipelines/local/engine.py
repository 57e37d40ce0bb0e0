"""Runs a graph on this machine: independent jobs side by side, the first failure stops the run."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from pipelines.graph import Graph, Job, ProcessingJob, Request, Resolve, SettingsFile, TrainingJob, TransformJob
from pipelines.local import workspace
from pipelines.local.children import GRACE, Launcher, Process, Programs, Work, exit_code, last_lines
from pipelines.local.transform import transform_objects
from pipelines.storage import local_path
from shared.carrier.client import HEALTHY_SECONDS, Client, free_port
from shared.carrier.cutting import TransformError, batch_variables, cutting
from shared.errors import EXIT_INTERNAL, QuartetError
from shared.files import write_json

REPORT: Final = "report"
SIGNALLED: Final = 128
"""Exit codes above this name the signal that ended the process."""


class StepFailedError(QuartetError):
    """A step failed. `exit_code` is the job's own."""

    def __init__(self, step: str, reason: str, code: int, tree: Path, log: Path) -> None:
        super().__init__(f"step {step} failed (exit code {code}): {reason}\n  log:  {log}\n  tree: {tree}")
        self.step = step
        self.reason = reason
        self.exit_code = code


class Observer(Protocol):
    """Who is told how a run goes on."""

    def started(self, label: str) -> None:
        """A step has started."""

    def advanced(self, label: str, done: int, total: int) -> None:
        """A step has done a part of its work."""

    def finished(self, label: str, rows: int | None, seconds: float) -> None:
        """A step has ended well."""

    def failed(self, label: str, seconds: float) -> None:
        """A step has failed."""

    def stopped(self, label: str, seconds: float) -> None:
        """A step was stopped: another one failed, or the run was interrupted."""

    def retrying(self, label: str, reason: str, attempt: int, retries: int) -> None:
        """A step has failed in a way that another attempt may mend; `attempt` counts from 1."""


@dataclass(frozen=True)
class Result:
    """What became of a step."""

    step: str
    component: str
    seconds: float
    rows: int | None
    folder: Path


class Slots:
    """Places for jobs at work; of those that wait, the one with the lowest priority number goes first.

    A period's last job goes before a later period's first one, so that verdicts come in the order of the periods. A job
    of several threads takes as many places: two that share the same processors are slower than one after the other.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @asynccontextmanager
    async def slot(self, priority: int, places: int = 1) -> AsyncIterator[None]:
        """So many places (at most all of them), for as long as the block runs."""
        places = min(places, self._count)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), places, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(places)
            raise
        try:
            yield
        finally:
            self._release(places)

    def _release(self, places: int) -> None:
        self._free += places
        self._admit()

    def _admit(self) -> None:
        """Let in those at the head of the line; none overtakes one that waits for more places than there are."""
        while self._waiting:
            _, _, places, turn = self._waiting[0]
            if turn.done():
                heapq.heappop(self._waiting)
                continue
            if places > self._free:
                return
            heapq.heappop(self._waiting)
            self._free -= places
            turn.set_result(None)


@dataclass(frozen=True)
class Machine:
    """What a run may use of this machine."""

    slots: Slots
    processors: int
    jobs: int
    programs: Launcher = field(default_factory=Programs)
    grace: float = GRACE
    healthy_seconds: float = HEALTHY_SECONDS
    keep: bool = False  # the /opt/ml trees of jobs that ended well

    @classmethod
    def here(cls, jobs: int | None = None, **options: Any) -> Machine:
        """This machine, with `jobs` places (default: one a processor)."""
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        wanted = jobs or processors
        return cls(Slots(wanted), processors, wanted, **options)


@dataclass(frozen=True)
class Run:
    """One run of one graph.

    Attributes:
        graph: what to run.
        resolve: gives each reference its place on this machine.
        folder: the run's folder; each step has a folder of its own below it.
        label: what progress lines call the run.
        beside: how many runs of this kind are under way at once, which leaves fewer processors for each.
        priority: the lower, the sooner its jobs get a place.
    """

    graph: Graph
    resolve: Resolve
    folder: Path
    label: str
    machine: Machine
    observer: Observer
    beside: int = 1
    priority: int = 0
    results: dict[str, Result] = field(default_factory=dict)

    def threads(self, job: Job) -> int:
        """Threads for a job: the processors, shared among the jobs that the graph lets run at once.

        Taken from the shape of the graph, never from what happens to be running: a sum over another number of threads
        may differ in its last bit, and the same run has to give the same bytes.
        """
        width = next(len(layer) for layer in self.graph.layers() if job.name in layer)
        return max(1, self.machine.processors // min(self.machine.jobs, width * self.beside))

    async def execute(self) -> dict[str, Result]:
        """Run all jobs, each as soon as those it waits for are done.

        Raises:
            StepFailedError: a job failed; those under way were stopped.
        """
        done = {job.name: asyncio.Event() for job in self.graph.jobs}

        async def when_ready(job: Job) -> None:
            for name in job.after:
                await done[name].wait()
            async with self.machine.slots.slot(self.priority, self.threads(job)):
                self.results[job.name] = await self._observed(job)
                done[job.name].set()
                # Those that waited for this job line up for its place before it is given away.
                await asyncio.sleep(0)

        try:
            async with asyncio.TaskGroup() as group:
                for job in self.graph.jobs:
                    group.create_task(when_ready(job))
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from None
        return {job.name: self.results[job.name] for job in self.graph.jobs}

    async def _observed(self, job: Job) -> Result:
        label = f"{self.label} {job.name}"
        self.observer.started(label)
        start = time.monotonic()
        try:
            rows = await self._run(job, label)
        except asyncio.CancelledError:
            self.observer.stopped(label, time.monotonic() - start)
            raise
        except BaseException:
            self.observer.failed(label, time.monotonic() - start)
            raise
        seconds = time.monotonic() - start
        self.observer.finished(label, rows, seconds)
        return Result(job.name, job.component, seconds, rows, self.folder / job.name)

    async def _run(self, job: Job, label: str) -> int | None:
        """Run one job in a fresh tree, again as often as it may be; the tree of a job that failed stays."""
        folder = self.folder / job.name
        tree = folder / "ml"
        folder.mkdir(parents=True)
        step = Step(self, job, folder, tree, folder / "log.txt", label)
        for attempt in range(1, job.retries + 2):
            try:
                rows = await step.attempt()
                break
            except StepFailedError as error:
                if attempt > job.retries or not is_passing(error.exit_code):
                    raise
                self.observer.retrying(label, error.reason, attempt, job.retries)
                await asyncio.to_thread(shutil.rmtree, tree, ignore_errors=True)
        if not self.machine.keep:
            await asyncio.to_thread(shutil.rmtree, tree)
        return rows


@dataclass(frozen=True)
class Step:
    """One job of a run, at work."""

    owner: Run
    job: Job
    folder: Path
    tree: Path
    log: Path
    label: str

    async def attempt(self) -> int | None:
        """Do the job once; how many rows it worked on, when it says.

        Raises:
            StepFailedError: it failed.
        """
        try:
            return await self.run()
        except StepFailedError:
            raise
        except TransformError as error:
            raise self.failure(str(error), error.exit_code) from None
        except QuartetError as error:
            raise self.failure(str(error), error.exit_code) from None

    async def run(self) -> int | None:
        """Do the job; how many rows it worked on, when it says."""
        request = self.job.request(self.owner.resolve)
        if isinstance(self.job, TransformJob):
            return await self._transform(self.job, request)
        if isinstance(self.job, ProcessingJob):
            self._write_settings(self.job)
            await asyncio.to_thread(workspace.processing_tree, request, self.tree)
            await self._process(self._processing(request))
            await asyncio.to_thread(workspace.upload_processing, request, self.tree)
        elif isinstance(self.job, TrainingJob):
            await asyncio.to_thread(workspace.training_tree, request, self.tree)
            await self._process(self._training(request))
            await asyncio.to_thread(workspace.upload_training, request, self.tree)
        return reported_rows(self.folder)

    def _write_settings(self, job: ProcessingJob) -> None:
        if "settings" in job.inputs:
            folder = local_path(self.owner.resolve(SettingsFile(job.name)), self.folder)
            write_json(folder / "settings.json", dict(job.settings))

    def failure(self, reason: str, code: int) -> StepFailedError:
        """The step's failure, with where to look."""
        return StepFailedError(self.label, reason, code, self.tree, self.log)

    def _processing(self, request: Request) -> Work:
        application = request["AppSpecification"]
        return self._work(
            request["ProcessingJobName"],
            application["ImageUri"],
            application["ContainerArguments"],
            workspace.processing_mounts(request),
            workspace.environment_of(request),
        )

    def _training(self, request: Request) -> Work:
        name = request["TrainingJobName"]
        return self._work(
            name,
            request["AlgorithmSpecification"]["TrainingImage"],
            ("train",),
            workspace.training_mounts(request),
            {"TRAINING_JOB_NAME": name} | workspace.environment_of(request),
        )

    def _serving(self, request: Request, model: Request, port: int) -> Work:
        container = model["PrimaryContainer"]
        workers = {"SAGEMAKER_MODEL_SERVER_WORKERS": str(self.owner.threads(self.job))}
        said = {"SAGEMAKER_BATCH": "true"} | batch_variables(request)
        environment = {**workers, **container["Environment"], **said}
        name = request["TransformJobName"]
        work = self._work(name, container["Image"], ("serve",), workspace.server_mounts(), environment)
        return replace(work, port=port)

    def _work(
        self,
        name: str,
        image: str,
        arguments: Iterable[str],
        mounts: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> Work:
        return Work(
            name=name,
            component=self.job.component,
            image=image,
            arguments=tuple(arguments),
            tree=self.tree,
            mounts=mounts,
            environment=environment,
            threads=self.owner.threads(self.job),
            log=self.log,
            grace=self.owner.machine.grace,
        )

    def _started(self, work: Work) -> Process:
        return self.owner.machine.programs.started(work)

    async def _process(self, work: Work) -> None:
        """Run the component's program to its end.

        Raises:
            StepFailedError: it ended with another code than 0.
        """
        async with self._started(work) as process:
            code = exit_code(await process.wait())
        if code:
            raise self.failure(workspace.failure_message(self.tree) or self._tail(), code)

    def _tail(self) -> str:
        return last_lines(self.log) or "it said nothing."

    async def _transform(self, job: TransformJob, request: Request) -> int:
        """Batch Transform: serve the model, post all records, stop the server."""
        model = job.model_request(self.owner.resolve)
        await asyncio.to_thread(workspace.model_tree, model, self.tree)
        port = free_port()
        client = Client(port, request["TransformInput"]["ContentType"], request["TransformOutput"]["Accept"])
        async with self._started(self._serving(request, model, port)) as server:
            try:
                return await asyncio.to_thread(self._post_all, request, client, lambda: server.returncode)
            finally:
                client.stop()

    def _post_all(self, request: Request, client: Client, ended: Callable[[], int | None]) -> int:
        """Wait for the server, then transform every object (in a thread of its own).

        Raises:
            StepFailedError: the server has ended, or never got healthy.
            TransformError: objects failed.
        """
        with closing(client):
            seconds = self.owner.machine.healthy_seconds
            if not client.wait_until_healthy(lambda: ended() is not None, seconds):
                raise self._server_failure(ended(), f"the server did not answer /ping with 200 within {seconds:g} s")
            cut = cutting(request, client.execution_parameters())
            source = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
            target = request["TransformOutput"]["S3OutputPath"]
            try:
                return transform_objects(
                    local_path(source, self.folder), local_path(target, self.folder), client, cut, self._advanced
                )
            except TransformError as error:
                if ended() is not None:
                    raise self._server_failure(ended(), str(error)) from None
                raise

    def _server_failure(self, code: int | None, reason: str) -> StepFailedError:
        if code is None:
            return self.failure(f"{reason}. Its last lines:\n{self._tail()}", EXIT_INTERNAL)
        said = workspace.failure_message(self.tree) or f"its last lines:\n{self._tail()}"
        return self.failure(f"the server ended: {said}", exit_code(code) or EXIT_INTERNAL)

    def _advanced(self, done: int, total: int) -> None:
        self.owner.observer.advanced(self.label, done, total)


def is_passing(code: int) -> bool:
    """Whether a failure may pass when the job is tried again: ours, or a signal's, but never settings or data."""
    return code == EXIT_INTERNAL or code > SIGNALLED


def first_failure(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that stopped a group of tasks; of several, that of a step."""
    found: list[BaseException] = []
    for failure in failures.exceptions:
        found.append(first_failure(failure) if isinstance(failure, BaseExceptionGroup) else failure)
    return next((failure for failure in found if isinstance(failure, QuartetError)), found[0])


def reported_rows(folder: Path) -> int | None:
    """The row count in a step's report; None when it wrote none."""
    try:
        value = json.loads((folder / REPORT / "report.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    rows = value.get("rows") if isinstance(value, dict) else None
    return rows if isinstance(rows, int) else None
