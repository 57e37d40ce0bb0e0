"""Batch Transform inside one container: the component's own server on the loopback, and objects posted to it.

The server is the one that SageMaker's Batch Transform would ask, so its answers are the same bytes.
"""

from __future__ import annotations

import http.client
import json
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from shared.carrier.cutting import Cutting, Payload, TransformError, checked, transformed
from shared.carrier.s3 import Object, Place, Store
from shared.errors import EXIT_DATA, EXIT_INTERNAL

HEALTHY_SECONDS: Final = 240.0
"""How long a server may take until /ping answers 200, as hosting gives it."""
ANSWER_SECONDS: Final = 600.0
"""ModelClientConfig.InvocationsTimeoutInSeconds."""
RETRIES: Final = 3
"""ModelClientConfig.InvocationsMaxRetries."""
PAUSE: Final = 0.2
"""Seconds before the first retry; each further one waits twice as long."""
SHOWN: Final = 500
"""Characters of a refused request's answer that an error repeats."""


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes


class Client:
    """Asks the server with connections that are kept open, one a thread."""

    def __init__(self, port: int, content_type: str, accept: str) -> None:
        self._port = port
        self._headers = {"Content-Type": content_type, "Accept": accept}
        self._local = threading.local()

    def ask(self, method: str, path: str, body: bytes | None = None, timeout: float = 2) -> Answer:
        """One request. Raises OSError or http.client.HTTPException, after which the connection is a new one."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout)
            self._local.connection = connection
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            connection.request(method, path, body, self._headers if body is not None else {})
            response = connection.getresponse()
            return Answer(response.status, response.read())
        except BaseException:
            connection.close()
            self._local.connection = None
            raise

    def healthy(self) -> bool:
        """Whether /ping answers 200 within the 2 seconds that SageMaker gives it."""
        try:
            return self.ask("GET", "/ping").status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def execution_parameters(self) -> Mapping[str, Any]:
        """The server's answer to /execution-parameters; empty when it has none."""
        answer = self.ask("GET", "/execution-parameters", timeout=10)
        value = json.loads(answer.body) if answer.status == HTTPStatus.OK else {}
        return value if isinstance(value, dict) else {}

    def post(self, payload: Payload) -> bytes:
        """The answer to one payload. Tried again after a broken connection or an answer of 500 and more.

        Raises:
            TransformError: the server refuses it, cannot be reached, or answers another number of records.
        """
        problem, code = "", EXIT_INTERNAL
        for attempt in range(RETRIES + 1):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                answer = self.ask("POST", "/invocations", payload.body, ANSWER_SECONDS)
            except (OSError, http.client.HTTPException) as error:
                problem = f"unable to get a response from the algorithm: {type(error).__name__}"
                continue
            if answer.status == HTTPStatus.OK:
                return checked(payload, answer.body)
            said = answer.body.decode(errors="replace").strip()[:SHOWN]
            problem = f"bad HTTP status from the algorithm: {answer.status}: {said}"
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                # It says that the records are wrong, and would say so again.
                code = EXIT_DATA
                break
        raise TransformError(problem, code)


def wait_until_healthy(client: Client, server: subprocess.Popen[bytes], seconds: float = HEALTHY_SECONDS) -> bool:
    """Ask /ping until it answers 200; False when the server has ended or the time is over."""
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        if client.healthy():
            return True
        time.sleep(0.05)
    return False


def transform_objects(
    found: list[Object], target: Place, folder: Path, store: Store, client: Client, cut: Cutting, log: logging.Logger
) -> int:
    """Transform objects to `<name>.out` below a prefix, each whole or not at all; how many records.

    `folder` is room for one object and its answers.

    Raises:
        TransformError: objects failed; the others are done.
        QuartetError: S3 cannot be read or written.
    """
    records = 0
    failures: list[tuple[str, TransformError]] = []
    folder.mkdir(parents=True, exist_ok=True)
    source, answers = folder / "object", folder / "answers"
    with ThreadPoolExecutor(cut.concurrency) as pool:
        for item in found:
            store.fetch([(item.place, source)])
            try:
                done = sum(count for count, _ in transformed(source, answers, client.post, cut, pool))
            except TransformError as error:
                failures.append((item.name, error))
                log.error("%s: %s", item.name, error)
                continue
            store.send([(answers, target.below(f"{item.name}.out"))])
            log.info("%s: %s records transformed", item.name, done)
            records += done
    if failures:
        text = "; ".join(f"{name}: {error}" for name, error in failures)
        raise TransformError(text, max(error.exit_code for _, error in failures))
    return records


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
