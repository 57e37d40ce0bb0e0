"""Batch Transform over HTTP: posts the records that objects are cut into, and checks the answers.

Source: "Use Batch Transform for inference" in the SageMaker Developer Guide, and TransformInput, TransformOutput and
ModelClientConfig in the API reference.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from pipelines.local.workspace import files
from shared.carrier.cutting import Cutting, Payload, TransformError, checked, cutting, transformed
from shared.errors import EXIT_DATA, EXIT_INTERNAL, DataError
from shared.files import replacing

# How objects are cut is the same for whoever posts them: here, or the image itself on AWS Batch.
__all__ = ["Client", "Endpoint", "TransformError", "cutting", "transform_objects", "wait_until_healthy"]

TIMEOUT: Final = 600.0
"""Seconds for one answer: ModelClientConfig.InvocationsTimeoutInSeconds."""
RETRIES: Final = 3
"""ModelClientConfig.InvocationsMaxRetries."""
PAUSE: Final = 0.2
"""Seconds before the first retry; each further one waits twice as long."""
SHOWN: Final = 500
"""Characters of a refused request's answer that an error repeats."""
HTTP_OK: Final = 200
HTTP_SERVER_ERROR: Final = 500
HTTP_NOT_FOUND: Final = 404


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks SageMaker's HTTP contract."""

    url: str
    content_type: str = "text/csv"
    accept: str = "text/csv"


class Client:
    """Posts payloads to one endpoint with connections that are kept open, one a thread.

    A request is tried again after a broken connection or an answer of 500 and more; an answer of 4xx says that the
    records are wrong, and would say so again.
    """

    def __init__(self, endpoint: Endpoint, timeout: float = TIMEOUT, retries: int = RETRIES) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._retries = retries
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Try nothing again from now on."""
        self._stopped.set()

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False  # a proxy for the internet must not see a local server's requests
            self._sessions.append(self._local.session)
        session: requests.Session = self._local.session
        return session

    def healthy(self) -> bool:
        """Whether /ping answers 200 within the 2 seconds that SageMaker gives it."""
        try:
            return self._session().get(f"{self._endpoint.url}/ping", timeout=2).status_code == HTTP_OK
        except requests.RequestException:
            return False

    def close(self) -> None:
        """Close the kept connections with a last request each.

        A server that is told to stop lingers two seconds for connections that it might still get a request on.
        """
        for session in self._sessions:
            with contextlib.suppress(requests.RequestException):
                session.get(f"{self._endpoint.url}/ping", timeout=2, headers={"Connection": "close"})
            session.close()

    def execution_parameters(self) -> dict[str, Any]:
        """The container's answer to /execution-parameters; empty when it has none (404)."""
        answer = self._session().get(f"{self._endpoint.url}/execution-parameters", timeout=10)
        if answer.status_code != HTTP_OK:
            return {}
        value = answer.json()
        return value if isinstance(value, dict) else {}

    def post(self, payload: Payload) -> bytes:
        """The answer to one payload.

        Raises:
            TransformError: the server refuses it, cannot be reached, or answers another number of records.
        """
        problem, code = "", EXIT_INTERNAL
        for attempt in range(self._retries + 1):
            if attempt and self._stopped.wait(PAUSE * 2 ** (attempt - 1)):
                break
            try:
                answer = self._session().post(
                    f"{self._endpoint.url}/invocations",
                    data=payload.body,
                    headers={"Content-Type": self._endpoint.content_type, "Accept": self._endpoint.accept},
                    timeout=self._timeout,
                )
            except requests.RequestException as error:
                problem = f"unable to get a response from the algorithm: {type(error).__name__}"
                continue
            if answer.status_code == HTTP_OK:
                return checked(payload, answer.content)
            problem = f"bad HTTP status from the algorithm: {answer.status_code}: {answer.text.strip()[:SHOWN]}"
            if answer.status_code < HTTP_SERVER_ERROR:
                code = EXIT_DATA
                break
        raise TransformError(problem, code)


def transform_objects(
    source: Path, target: Path, client: Client, cut: Cutting, advanced: Callable[[int, int], None]
) -> int:
    """Transform every object below `source` to `<name>.out` below `target`.

    Args:
        source: a file or a folder.
        target: where outputs go; an object that fails has none.
        client: posts the payloads.
        cut: how objects are cut.
        advanced: is told the bytes done so far, and all there are.

    Returns:
        How many records were transformed.

    Raises:
        DataError: there are no objects.
        TransformError: objects failed; the others are done.
    """
    objects = list(files(source))
    if not objects:
        raise DataError(f"{source} holds no object to transform. Check the job before.")
    total = sum(path.stat().st_size for path, _ in objects)
    records, sent = 0, 0
    failures: list[tuple[str, TransformError]] = []
    with ThreadPoolExecutor(cut.concurrency) as pool:
        for path, name in objects:
            try:
                with replacing(target / f"{name}.out") as temporary:
                    for done, size in transformed(path, temporary, client.post, cut, pool):
                        records += done
                        sent += size
                        advanced(sent, total)
            except TransformError as error:
                failures.append((name, error))
    if failures:
        text = "; ".join(f"{name}: {error}" for name, error in failures)
        raise TransformError(text, max(error.exit_code for _, error in failures))
    return records


def wait_until_healthy(client: Client, ended: Callable[[], bool], seconds: float) -> bool:
    """Ask /ping until it answers 200; False when the server has ended or the time is over."""
    deadline = time.monotonic() + seconds
    while not ended() and time.monotonic() < deadline:
        if client.healthy():
            return True
        time.sleep(0.05)
    return False
