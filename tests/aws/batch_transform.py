"""Batch Transform, the service's side: cuts objects into payloads, asks the container, stores the answers.

Source: "Use Your Own Inference Code with Batch Transform" and "Use Batch Transform" in the Developer Guide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import requests

from tests.aws.cloud import Cloud
from tests.aws.opt_ml import JobError, Request, below

MEGABYTE: Final = 1024 * 1024
HEALTHY_S: Final = 60
STRATEGIES: Final = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}


@dataclass(frozen=True)
class Server:
    """A container that serves."""

    url: str
    ended: Callable[[], bool]

    def wait(self) -> None:
        """Wait until /ping answers 200."""
        until = time.monotonic() + HEALTHY_S
        while time.monotonic() < until and not self.ended():
            try:
                with self._session() as session:
                    if session.get(f"{self.url}/ping", timeout=2).status_code == 200:
                        return
            except requests.RequestException:
                pass
            time.sleep(0.05)
        raise JobError("AlgorithmError: the container did not answer /ping with 200. See job logs.")

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # a proxy for the internet must not see it
        return session

    def parameters(self) -> Mapping[str, Any]:
        """What the container says of itself on /execution-parameters; nothing when it does not know that path."""
        with self._session() as session:
            answer = session.get(f"{self.url}/execution-parameters", timeout=10)
        if answer.status_code != 200:
            return {}
        said = answer.json()
        assert set(said) <= {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}, said
        assert said.get("BatchStrategy", "MULTI_RECORD") in STRATEGIES, said
        assert all(type(value) is int for name, value in said.items() if name != "BatchStrategy"), said
        return {**said, "BatchStrategy": STRATEGIES[said.get("BatchStrategy", "MULTI_RECORD")]}

    def post(self, body: bytes, request: Request) -> bytes:
        """The answer to one payload; a broken connection and 5xx are tried three times more."""
        headers = {"Content-Type": request["TransformInput"].get("ContentType", "application/octet-stream")}
        if "Accept" in request["TransformOutput"]:
            headers["Accept"] = request["TransformOutput"]["Accept"]
        problem = ""
        for _ in range(4):
            try:
                with self._session() as session:
                    answer = session.post(f"{self.url}/invocations", data=body, headers=headers, timeout=600)
            except requests.RequestException as error:
                problem = f"Unable to get response from algorithm: {type(error).__name__}"
                continue
            if answer.status_code == 200:
                return answer.content
            problem = f"Bad HTTP status received from algorithm: {answer.status_code} {answer.text[:500]}"
            if answer.status_code < 500:
                break
        raise JobError(f"ClientError: {problem}")


def transform(cloud: Cloud, request: Request, server: Server) -> None:
    """Every object of the input becomes `<its path>.out`; an object that fails has no output, and fails the job."""
    server.wait()
    chosen = {"MaxPayloadInMB": 6, "MaxConcurrentTransforms": 1, "BatchStrategy": "MultiRecord", **server.parameters()}
    chosen |= {name: request[name] for name in chosen if name in request}
    uri = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    objects = dict(below(cloud, uri))
    if not objects:
        raise JobError(f"ClientError: No S3 objects found under S3 URL {uri!r}.")
    joint = b"\n" if request["TransformOutput"].get("AssembleWith", "None") == "Line" else b""
    problems = []
    for name, source in objects.items():
        cut = payloads(cloud.get(source), request["TransformInput"].get("SplitType", "None"), chosen)
        try:
            with ThreadPoolExecutor(chosen["MaxConcurrentTransforms"]) as pool:
                answers = list(pool.map(lambda body: server.post(body, request), cut))
        except JobError as error:
            problems.append(f"{error} ({name})")
            continue
        target = f"{request['TransformOutput']['S3OutputPath'].rstrip('/')}/{name}.out"
        cloud.put(target, b"".join(answer + joint for answer in answers))
    if problems:
        raise JobError("; ".join(problems))


def payloads(body: bytes, split_type: str, chosen: Mapping[str, Any]) -> Iterator[bytes]:
    """The bodies of an object's requests."""
    assert split_type in {"None", "Line"}, split_type
    limit = chosen["MaxPayloadInMB"] * MEGABYTE
    if split_type == "None":
        yield body
        return
    held: list[bytes] = []
    size = 0
    for line in body.splitlines(keepends=True):
        if len(line) > limit:
            raise JobError("ClientError: a record is larger than MaxPayloadInMB.")
        if held and (chosen["BatchStrategy"] == "SingleRecord" or size + len(line) > limit):
            yield b"".join(held)
            held, size = [], 0
        held.append(line)
        size += len(line)
    if held:
        yield b"".join(held)
