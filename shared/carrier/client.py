"""A client of a component's own server on the loopback, as SageMaker's Batch Transform asks it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from shared.carrier.cutting import Payload, TransformError, checked
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
    """Asks the server with connections that are kept open, one a thread; a proxy for the internet never sees them."""

    def __init__(self, port: int, content_type: str = "text/csv", accept: str = "*/*") -> None:
        self._port = port
        self._headers = {"Content-Type": content_type, "Accept": accept}
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Try nothing again from now on."""
        self._stopped.set()

    def close(self) -> None:
        """Close the kept connections with a last request each.

        A server that is told to stop lingers two seconds for connections that it might still get a request on.
        """
        for connection in self._connections:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if connection.sock is not None:
                    connection.sock.settimeout(2)
                    connection.request("GET", "/ping", headers={"Connection": "close"})
                    connection.getresponse().read()
            connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, timeout: float = 2) -> Answer:
        """One request. Raises OSError or http.client.HTTPException, after which the connection is a new one."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPConnection("127.0.0.1", self._port)
            self._connections.append(connection)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            connection.request(method, path, body, self._headers if body is not None else {})
            response = connection.getresponse()
            return Answer(response.status, response.read())
        except BaseException:
            connection.close()
            raise

    def healthy(self) -> bool:
        """Whether /ping answers 200 within the 2 seconds that SageMaker gives it."""
        try:
            return self.ask("GET", "/ping").status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def wait_until_healthy(self, ended: Callable[[], bool], seconds: float = HEALTHY_SECONDS) -> bool:
        """Ask /ping until it answers 200; False when the server has ended or the time is over."""
        deadline = time.monotonic() + seconds
        while not ended() and time.monotonic() < deadline:
            if self.healthy():
                return True
            time.sleep(0.05)
        return False

    def execution_parameters(self) -> Mapping[str, Any]:
        """The server's answer to /execution-parameters; empty when it has none (404)."""
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
            if attempt and self._stopped.wait(PAUSE * 2 ** (attempt - 1)):
                break
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


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
