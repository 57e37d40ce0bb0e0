"""An MLflow tracking server, by its REST interface: experiments, runs, batches of what they log, and their files.

Whatever it does, the time is bounded: each answer by a timeout, all of them together by a deadline, and nothing is
tried again. Who it is told to be stands in the environment, as for MLflow's own client: `MLFLOW_TRACKING_TOKEN`, or
`MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.

Source: https://mlflow.org/docs/latest/api_reference/rest-api.html, and mlflow.store.artifact.mlflow_artifacts_repo.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase

from pipelines.tracking.record import Metric
from shared.errors import QuartetError

CONNECT: Final = 3.0
"""Seconds that a server has to take a connection."""
ANSWER: Final = 10.0
"""Seconds between two pieces of an answer."""
ALL: Final = 30.0
"""Seconds for all that is said of one release."""
METRICS: Final = 900
"""Metrics in a batch; the server takes 1,000, and a megabyte of JSON."""
PARAMS: Final = 100
"""Params, and tags, in a batch: what the server takes."""
FINISHED: Final = "FINISHED"


class TrackingError(QuartetError):
    """The tracking server did not answer, or refused."""


@dataclass(frozen=True)
class TrackedRun:
    """A run on the server."""

    id: str
    status: str
    artefacts: str  # the uri below which its files lie


@dataclass
class Server:
    """A tracking server, for as long as one release takes."""

    uri: str
    auth: AuthBase | None = None  # the environment's, unless given
    session: requests.Session = field(default_factory=requests.Session)
    ends: float = field(default_factory=lambda: time.monotonic() + ALL)

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is made when there is none.

        Raises:
            TrackingError: it was deleted, or the server refuses.
        """
        found = self._ask("GET", "experiments/get-by-name", {"experiment_name": name}, absent=True)
        if not found:
            return str(self._within(self._ask("POST", "experiments/create", {"name": name}), "experiment_id"))
        if self._within(found, "experiment", "lifecycle_stage") == "deleted":
            raise TrackingError(f"{self.uri}: experiment {name!r} is deleted. Restore it, or name another.")
        return str(self._within(found, "experiment", "experiment_id"))

    def find(self, experiment: str, identity: Mapping[str, str]) -> TrackedRun | None:
        """The run that has these tags; None when there is none."""
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in identity.items())
        answer = self._ask("POST", "runs/search", {"experiment_ids": [experiment], "filter": wanted, "max_results": 1})
        return next((self._run(found) for found in answer.get("runs", ())), None)

    def begin(self, experiment: str, name: str, start: int, tags: Mapping[str, str]) -> TrackedRun:
        """A new run."""
        body = {"experiment_id": experiment, "run_name": name, "start_time": start, "tags": _pairs(tags)}
        return self._run(self._within(self._ask("POST", "runs/create", body), "run"))

    def log(
        self, run: TrackedRun, params: Mapping[str, str], metrics: Sequence[Metric], tags: Mapping[str, str]
    ) -> None:
        """Add to a run, in as few requests as the server's limits allow."""
        pairs = _pairs(params), _pairs(tags)
        for start in range(0, max(map(len, pairs)), PARAMS):
            part = slice(start, start + PARAMS)
            self._log(run, params=pairs[0][part], tags=pairs[1][part])
        for start in range(0, len(metrics), METRICS):
            self._log(run, metrics=[asdict(metric) for metric in metrics[start : start + METRICS]])

    def _log(self, run: TrackedRun, **what: Any) -> None:
        self._ask("POST", "runs/log-batch", {"run_id": run.id, **what})

    def finish(self, run: TrackedRun, end: int) -> None:
        """Say that all is there."""
        self._ask("POST", "runs/update", {"run_id": run.id, "status": FINISHED, "end_time": end})

    def store(self, run: TrackedRun, name: str, content: bytes) -> bool:
        """Add a file to a run; whether its place is one that we can write: behind the server, or in S3."""
        place = urlsplit(run.artefacts)
        path = f"{place.path.strip('/')}/{name}"
        if place.scheme == "s3":
            _store_in_s3(place.netloc, path, content)
        elif place.scheme == "mlflow-artifacts":
            base = f"{urlsplit(self.uri).scheme}://{place.netloc}" if place.netloc else self.uri
            self._send("PUT", f"{base}/api/2.0/mlflow-artifacts/artifacts/{quote(path)}", data=content)
        else:
            return False
        return True

    def _ask(self, method: str, path: str, body: Mapping[str, Any], *, absent: bool = False) -> dict[str, Any]:
        where = {"params": body} if method == "GET" else {"json": body}
        answer = self._send(method, f"{self.uri}/api/2.0/mlflow/{path}", absent=absent, **where)
        try:
            found = {} if answer.status_code == 404 else answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._stranger()
        return found

    def _run(self, found: Any) -> TrackedRun:
        return TrackedRun(*(str(self._within(found, "info", key)) for key in ("run_id", "status", "artifact_uri")))

    def _within(self, answer: Any, *path: str) -> Any:
        for key in path:
            if not isinstance(answer, Mapping) or key not in answer:
                raise self._stranger()
            answer = answer[key]
        return answer

    def _stranger(self) -> TrackingError:
        return TrackingError(f"{self.uri} does not answer as MLflow does. Check tracking.uri.")

    def _send(self, method: str, url: str, *, absent: bool = False, **options: Any) -> requests.Response:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TrackingError(f"{self.uri} took more than {ALL:.0f} s, so tracking was given up.")
        who = {"auth": self.auth} if self.auth else {"auth": _login(), "headers": _token()}
        try:
            answer = self.session.request(
                method, url, timeout=(min(CONNECT, left), min(ANSWER, left)), **who, **options
            )
        except requests.RequestException as error:
            raise TrackingError(f"{self.uri} does not answer ({type(error).__name__}).") from None
        if not answer.ok and not (absent and answer.status_code == 404):
            raise TrackingError(f"{self.uri} answers {answer.status_code}: {_said(answer)}")
        return answer


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _said(answer: requests.Response) -> str:
    """What the server says of a refusal, in one line."""
    try:
        text = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        text = answer.text
    return " ".join(text.split())[:200]


def _token() -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _login() -> tuple[str, str] | None:
    name = os.environ.get("MLFLOW_TRACKING_USERNAME")
    return (name, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if name else None


def _store_in_s3(bucket: str, key: str, content: bytes) -> None:
    import boto3
    from botocore.config import Config

    from pipelines.aws.calls import asking

    bounds = Config(connect_timeout=CONNECT, read_timeout=ANSWER, retries={"total_max_attempts": 1})
    with asking(f"s3://{bucket}/{key}"):
        boto3.client("s3", config=bounds).put_object(Bucket=bucket, Key=key, Body=content)
