"""How Batch Transform cuts objects into requests and puts the answers back together.

Source: "Use Batch Transform for inference" in the SageMaker Developer Guide, and TransformInput and TransformOutput in
the API reference.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from shared.errors import EXIT_DATA, EXIT_INTERNAL, QuartetError

MEGABYTE: Final = 1024 * 1024


class TransformError(QuartetError):
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


Post = Callable[[Payload], bytes]
"""Sends a payload and gives its answer; raises TransformError."""


def cutting(request: Mapping[str, Any], answered: Mapping[str, Any]) -> Cutting:
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


def batch_variables(request: Mapping[str, Any]) -> dict[str, str]:
    """What the service tells the container of a CreateTransformJob request; only what the caller has set."""
    known = {
        "MaxPayloadInMB": "SAGEMAKER_MAX_PAYLOAD_IN_MB",
        "MaxConcurrentTransforms": "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
    }
    variables = {variable: str(request[name]) for name, variable in known.items() if name in request}
    if "BatchStrategy" in request:
        strategies = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
        variables["SAGEMAKER_BATCH_STRATEGY"] = strategies[request["BatchStrategy"]]
    return variables


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


def checked(payload: Payload, body: bytes) -> bytes:
    """The answer, if it has as many records as the request.

    Raises:
        TransformError: it has not; records and scores could no longer be told to belong together.
    """
    found = record_count(body)
    if found != payload.records:
        raise TransformError(f"{payload.records:,} records were sent and {found:,} came back, wanted as many.")
    return body


def transformed(
    path: Path, target: Path, post: Post, cut: Cutting, pool: ThreadPoolExecutor
) -> Iterator[tuple[int, int]]:
    """Post an object's payloads, a bounded number ahead, and write the answers in order; records and bytes of each.

    Raises:
        TransformError: a payload got no usable answer.
    """
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
                waiting.append((payload, pool.submit(post, payload)))
                if len(waiting) > cut.concurrency:
                    yield written()
            while waiting:
                yield written()
        finally:
            for _, answer in waiting:
                answer.cancel()


def _whole(body: bytes) -> Payload:
    return Payload(body, record_count(body))
