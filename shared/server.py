"""HTTP as SageMaker speaks it: `/ping`, `/invocations` and `/execution-parameters` on port 8080.

Flask under gunicorn, threads in a few worker processes, no proxy in front. Each worker loads the artefact in the
background, so `/ping` answers 503 at once while one of them loads; an artefact that cannot be loaded ends the process,
because a transform job waits half an hour for a container that stays sick.

Source: "Use Your Own Inference Code with Hosting Services" and "… with Batch Transform", SageMaker Developer Guide.
"""

from __future__ import annotations

import logging
import math
import mmap
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from shared import payload
from shared.component import Component, Predictor
from shared.contract import Contract
from shared.errors import EXIT_DATA, EXIT_SETTINGS, SettingsError
from shared.payload import RefusedRequest

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker

log = logging.getLogger("server")

LOADING_SECONDS: Final = 240
"""How long a request waits for its worker's artefact: SageMaker's limit for a container to become healthy."""
GRACEFUL_SECONDS: Final = 25
"""Time to end requests in flight after SIGTERM: SageMaker kills after 30 s."""
EXIT_CODES: Final = {Arbiter.WORKER_BOOT_ERROR: EXIT_DATA, Arbiter.APP_LOAD_ERROR: EXIT_SETTINGS}
"""What the server ends with, by the codes of a worker with which gunicorn ends itself and starts no other."""
PAYLOAD_MB: Final = 6
SENTENCE: Final = "text/plain; charset=utf-8"
WANTED: Final = "GET /ping, GET /execution-parameters or POST /invocations"
CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Serving:
    """How the server runs, from SageMaker's variables."""

    port: int
    workers: int
    threads: int
    timeout_s: int
    payload_mb: int
    batch: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Serving:
        """Read the variables that AWS's own servers honour.

        Raises:
            SettingsError: one of them is no whole number in its range.
        """
        batch = environment.get("SAGEMAKER_BATCH", "").lower() == "true"
        return cls(
            port=_whole(environment, "SAGEMAKER_BIND_TO_PORT", 8080, 1, 65_535),
            workers=_whole(environment, "SAGEMAKER_MODEL_SERVER_WORKERS", processors(), 1, 256),
            threads=4,
            timeout_s=_whole(environment, "SAGEMAKER_MODEL_SERVER_TIMEOUT", 3600 if batch else 60, 1, 86_400),
            payload_mb=_whole(environment, "SAGEMAKER_MAX_PAYLOAD_IN_MB", PAYLOAD_MB, 0, 100),
            batch=batch,
        )

    def execution_parameters(self) -> dict[str, int | str]:
        """The answer to `/execution-parameters`: concurrency times payload stays within SageMaker's 100 MB."""
        payload_mb = self.payload_mb or PAYLOAD_MB
        return {
            "MaxConcurrentTransforms": max(1, min(self.workers, 100 // payload_mb)),
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": payload_mb,
        }


def processors(groups: Path = CONTROL_GROUPS) -> int:
    """Processors this process may use, at least 1: those of its affinity, or fewer where its control group has a quota.

    Half a processor counts as one. Source: "CPU" in the kernel's cgroup-v2.rst, and sched-bwc.rst for version 1.
    """
    usable = len(os.sched_getaffinity(0))
    quota, period = _quota(groups)
    return max(1, min(usable, math.ceil(quota / period))) if quota > 0 and period > 0 else usable


def _quota(groups: Path) -> tuple[int, int]:
    """Microseconds of processor time in each period of so many microseconds; a quota of -1 is none."""
    try:
        if (groups / "cpu.max").exists():
            quota, period = (groups / "cpu.max").read_text().split()
            return (-1 if quota == "max" else int(quota)), int(period)
        return int((groups / "cpu/cpu.cfs_quota_us").read_text()), int((groups / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return -1, 1


def _whole(environment: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environment.get(name) or str(default)
    # ² is a digit to `isdigit`, and no number to `int`.
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise SettingsError(f"{name} is {text!r}, wanted a whole number from {low} to {high}.")
    return int(text)


class Holder:
    """The artefact of one worker process: being loaded, or ready. Made before the workers are, of which there are some.

    Which workers have loaded it is known to all of them, by memory that they share: a health check reaches any, and
    must not be told 200 by one and 503 by the next. Once all are ready, one that takes another's place changes nothing.
    """

    def __init__(
        self, component: Component, contract: Contract, environment: Mapping[str, str], workers: int = 1
    ) -> None:
        self._component = component
        self._contract = contract
        self._environment = environment
        self._workers = workers
        self._loaded = mmap.mmap(-1, mmap.PAGESIZE)  # a byte each, by its number, so that no lock is needed
        self._ready = threading.Event()
        self._predictor: Predictor | None = None

    @property
    def ready(self) -> bool:
        """Whether as many workers have loaded their artefact as there are."""
        return self._loaded[:].count(1) >= self._workers

    def load(self, worker: int = 1) -> None:
        """Load the artefact as the worker of this number, from 1 on. Raises what the component's `load` raises."""
        self._predictor = self._component.load(self._contract.model, self._environment)
        self._ready.set()
        self._loaded[worker % mmap.PAGESIZE] = 1

    def lost(self, worker: int) -> None:
        """Count a worker no longer that has ended: another one takes its place and loads anew."""
        if not self.ready:
            self._loaded[worker % mmap.PAGESIZE] = 0

    def predictor(self) -> Predictor:
        """The loaded artefact, waiting for it if it is still being loaded.

        Raises:
            RefusedRequest: 503, it took too long.
        """
        self._ready.wait(LOADING_SECONDS)
        if self._predictor is None:
            raise RefusedRequest(HTTPStatus.SERVICE_UNAVAILABLE, "the artefact is still being loaded.")
        return self._predictor


def application(holder: Holder, serving: Serving) -> Flask:
    """The WSGI application of one component."""
    app = Flask("quartet")

    @app.get("/ping")
    def ping() -> Response:
        return Response(status=HTTPStatus.OK if holder.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    @app.get("/execution-parameters")
    def execution_parameters() -> dict[str, int | str]:
        return serving.execution_parameters()

    @app.post("/invocations")
    def invocations() -> Response:
        body = whole_body()
        if not body.strip():
            return Response(status=HTTPStatus.NO_CONTENT)
        payload.check_encoding(request.content_encoding)
        kind = payload.media_type(request.content_type)
        accept = request.headers.get("Accept") or os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT")
        wanted = payload.accepted_type(accept, kind.name)
        predictor = holder.predictor()
        table = payload.table_of(body, kind, predictor.schema)
        if table.is_empty():
            return Response(status=HTTPStatus.NO_CONTENT)
        answer = predictor.answer(table)
        content_type = payload.JSON if isinstance(answer, dict) else wanted
        response = Response(payload.body_of(answer, wanted, header=kind.has_header), content_type=content_type)
        return echoed(response)

    @app.errorhandler(RefusedRequest)
    def refused(error: RefusedRequest) -> Response:
        return Response(f"{error}\n", status=error.status, content_type=SENTENCE)

    @app.errorhandler(HTTPException)
    def unanswered(error: HTTPException) -> AnyResponse:
        response = AnyResponse.force_type(error.get_response())  # with its headers: 405 has Allow
        response.data = f"{request.method} {payload.shortened(request.path)} is answered by nothing, wanted {WANTED}.\n"
        response.content_type = SENTENCE
        return response

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        log.exception("the request could not be answered")
        text = f"internal error: {type(error).__name__}\n"
        return Response(text, status=HTTPStatus.INTERNAL_SERVER_ERROR, content_type=SENTENCE)

    return app


def whole_body() -> bytes:
    """The body of the request that is being answered.

    Raises:
        RefusedRequest: 400, the connection ended before the body did, or what came are no chunks. Where the next
            request begins is then unknown, and gunicorn closes the connection.
    """
    try:
        body = request.get_data(cache=False)
    except (OSError, ParseException) as error:
        reason = str(error) or type(error).__name__
        raise RefusedRequest(HTTPStatus.BAD_REQUEST, f"the body cannot be read to its end: {reason}.") from None
    if request.content_length not in (None, len(body)):
        told = f"the body has {len(body)} bytes, wanted {request.content_length} as its Content-Length says."
        raise RefusedRequest(HTTPStatus.BAD_REQUEST, told)
    return body


def echoed(response: Response) -> Response:
    """The response with the caller's custom attributes, which SageMaker hands back to it."""
    name = "X-Amzn-SageMaker-Custom-Attributes"
    if name in request.headers:
        response.headers[name] = request.headers[name]
    return response


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn around one application."""

    def __init__(self, holder: Holder, serving: Serving, contract: Contract) -> None:
        self._holder = holder
        self._serving = serving
        self._contract = contract
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn: threads, because a long request must not keep `/ping` from its 2 seconds."""
        settings = {
            "bind": f"0.0.0.0:{self._serving.port}",
            "workers": self._serving.workers,
            "worker_class": "gthread",
            "threads": self._serving.threads,
            "timeout": self._serving.timeout_s,
            "graceful_timeout": GRACEFUL_SECONDS,
            "keepalive": 60,
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
            "post_worker_init": self.load_in_background,
            "child_exit": lambda _, worker: self._holder.lost(worker.age),
            "loglevel": "warning",
            # It would lie in the home folder, which a container may not have and two servers would share.
            "control_socket_disable": True,
            "accesslog": None,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The WSGI application."""
        return application(self._holder, self._serving)

    def load_in_background(self, worker: Worker) -> None:
        """Start loading in a thread of the worker, which answers `/ping` meanwhile."""
        threading.Thread(target=self._load_or_die, args=(worker.age,), name="load", daemon=True).start()

    def _load_or_die(self, worker: int) -> None:
        try:
            self._holder.load(worker)
        except Exception as error:
            log.error("%s", error)
            try:
                self._contract.write_failure(str(error))
            finally:
                badly_set = isinstance(error, SettingsError)
                os._exit(Arbiter.APP_LOAD_ERROR if badly_set else Arbiter.WORKER_BOOT_ERROR)


def run(component: Component, contract: Contract, environment: Mapping[str, str]) -> int:
    """Serve until told to stop; the exit code."""
    # Each worker predicts in one thread: two OpenMP threads on two busy cores are slower than one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    serving = Serving.from_environment(environment)
    try:
        Server(Holder(component, contract, environment, serving.workers), serving, contract).run()
    except SystemExit as done:
        code = int(done.code or 0)
    except HaltServer as halted:
        # Two workers that fail in the same moment make gunicorn raise this once more while it ends itself.
        code = int(halted.exit_status)
    else:
        code = 0
    return EXIT_CODES.get(code, code)
