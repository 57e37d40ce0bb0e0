"""Batch Transform over HTTP: cuts objects into records, posts them, checks the answers and puts them back in order.

Source: "Use Batch Transform for inference" in the SageMaker Developer Guide, and TransformInput, TransformOutput and
ModelClientConfig in the API reference.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import requests

from pipelines.graph import Request
from pipelines.local.workspace import files
from shared.errors import EXIT_DATA, EXIT_INTERNAL, DataError
from shared.files import replacing

MEGABYTE: Final = 1024 * 1024
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


class TransformError(Exception):
    """An object that could not be transformed; `exit_code` is 3 when the records are to blame."""

    def __init__(self, text: str, exit_code: int = EXIT_INTERNAL) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Cutting:
    """How objects are cut into requests, how many of these are under way at once, and how answers are joined."""

    strategy: str = "MultiRecord"  # or SingleRecord
    payload_mb: int = 6
    concurrency: int = 1
    split: bool = True  # by line; otherwise an object is one request
    newline: bool = False  # AssembleWith Line: a newline after each answer

    @property
    def payload(self) -> int:
        """Most bytes of a request."""
        return self.payload_mb * MEGABYTE


@dataclass(frozen=True)
class Payload:
    """The body of one request, and how many records it holds."""

    body: bytes
    records: int


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks SageMaker's HTTP contract."""

    url: str
    content_type: str = "text/csv"
    accept: str = "text/csv"


def cutting(request: Request, answered: dict[str, Any]) -> Cutting:
    """What the request says, else what the container answered on /execution-parameters, else SageMaker's defaults."""
    strategies = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}
    default = Cutting()
    strategy = str(answered.get("BatchStrategy", default.strategy))
    said = Cutting(
        strategy=strategies.get(strategy, strategy),
        payload_mb=int(answered.get("MaxPayloadInMB", default.payload_mb)),
        concurrency=int(answered.get("MaxConcurrentTransforms", default.concurrency)),
        split=request["TransformInput"].get("SplitType", "None") == "Line",
        newline=request["TransformOutput"].get("AssembleWith", "None") == "Line",
    )
    return replace(
        said,
        strategy=request.get("BatchStrategy", said.strategy),
        payload_mb=request.get("MaxPayloadInMB", said.payload_mb),
        concurrency=request.get("MaxConcurrentTransforms", said.concurrency),
    )


def payloads(lines: Iterable[bytes], cut: Cutting) -> Iterator[Payload]:
    """Requests made of an object's lines, in order. Empty lines are no records.

    Raises:
        TransformError: a record alone is larger than a request may be.
    """
    held: list[bytes] = []
    size = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = line if line.endswith(b"\n") else line + b"\n"
        if len(record) > cut.payload:
            raise TransformError(
                f"line {number} has {len(record):,} bytes, more than a request of {cut.payload_mb} MB may hold. "
                "Raise max_payload_mb.",
                EXIT_DATA,
            )
        if held and (size + len(record) > cut.payload or cut.strategy == "SingleRecord"):
            yield Payload(b"".join(held), len(held))
            held, size = [], 0
        held.append(record)
        size += len(record)
    if held:
        yield Payload(b"".join(held), len(held))


def record_count(body: bytes) -> int:
    """Lines of an answer that are not empty."""
    return sum(1 for line in body.splitlines() if line.strip())


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


def checked(payload: Payload, body: bytes) -> bytes:
    """The answer, if it has as many records as the request.

    Raises:
        TransformError: it has not; records and scores could no longer be told to belong together.
    """
    found = record_count(body)
    if found != payload.records:
        raise TransformError(f"{payload.records:,} records were sent and {found:,} came back, wanted as many.")
    return body


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
                    for done, size in _transformed(path, temporary, client, cut, pool):
                        records += done
                        sent += size
                        advanced(sent, total)
            except TransformError as error:
                failures.append((name, error))
    if failures:
        text = "; ".join(f"{name}: {error}" for name, error in failures)
        raise TransformError(text, max(error.exit_code for _, error in failures))
    return records


def _transformed(
    path: Path, target: Path, client: Client, cut: Cutting, pool: ThreadPoolExecutor
) -> Iterator[tuple[int, int]]:
    """Post an object's payloads, a bounded number ahead, and write the answers in order; records and bytes of each."""
    waiting: collections.deque[tuple[Payload, Future[bytes]]] = collections.deque()
    with path.open("rb") as stream, target.open("wb") as output:

        def written() -> tuple[int, int]:
            payload, answer = waiting.popleft()
            output.write(answer.result())
            if cut.newline:
                output.write(b"\n")
            return payload.records, len(payload.body)

        try:
            for payload in payloads(stream, cut) if cut.split else [_whole(stream.read())]:
                waiting.append((payload, pool.submit(client.post, payload)))
                if len(waiting) > cut.concurrency:
                    yield written()
            while waiting:
                yield written()
        finally:
            for _, answer in waiting:
                answer.cancel()


def _whole(body: bytes) -> Payload:
    return Payload(body, record_count(body))


def wait_until_healthy(client: Client, ended: Callable[[], bool], seconds: float) -> bool:
    """Ask /ping until it answers 200; False when the server has ended or the time is over."""
    deadline = time.monotonic() + seconds
    while not ended() and time.monotonic() < deadline:
        if client.healthy():
            return True
        time.sleep(0.05)
    return False
