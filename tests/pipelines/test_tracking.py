"""Releases as runs of MLflow, read back from a real tracking server; and servers that are none."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
import requests
from click.testing import CliRunner, Result
from moto import mock_aws

from pipelines.cli import main
from pipelines.commands import cloud
from pipelines.local.engine import Machine
from pipelines.tracking import managed
from pipelines.tracking import server as tracking_server
from pipelines.tracking.managed import server_of
from pipelines.tracking.record import curves, key_of, params_of
from tests.aws.cloud import BUCKET, CREDENTIALS, REGION, ROLE
from tests.aws.runners import free_port
from tests.mlflow.tracking_server import TrackingServer, serving

CREATED = "2026-11-22T06:40:50Z"
DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials of whoever runs the tests."""
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    with serving(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@dataclass
class Tracked:
    """The toy use case on the command line, tracked by a server."""

    toy: Any

    def declare(self, uri: str, experiment: str | None = None) -> None:
        named = f", experiment: {experiment}" if experiment else ""
        self.toy.declare(("\ndrift:", f'\ntracking: {{uri: "{uri}"{named}}}\ndrift:'))

    def __call__(self, command: str, *words: str) -> Result:
        storage = ["--storage", str(self.toy.storage.root)]
        return CliRunner().invoke(main, [command, str(self.toy.path), *words, *storage])


@pytest.fixture
def tracked(toy: Any, monkeypatch: pytest.MonkeyPatch) -> Tracked:
    declared = toy.runner().specs
    monkeypatch.setattr("components.spec.specs", lambda: declared)
    monkeypatch.setattr("pipelines.settings.schema_of", lambda component: {})
    monkeypatch.setattr(Machine, "here", lambda jobs=None, **options: toy.machine(**options))
    return Tracked(toy)


@pytest.mark.mlflow
def test_every_release_of_a_run_becomes_a_run_and_the_same_release_only_one(
    tracked: Tracked, mlflow: TrackingServer
) -> None:
    tracked.declare(mlflow.uri)
    done = tracked("run", "--pipeline", "both", "--run-id", "r1")
    assert done.exit_code == 0, done.output
    runs = mlflow.runs("toy")

    assert set(runs) == {"r1", "r1-drift-p4"}
    storage = tracked.toy.storage
    for name, run in runs.items():
        release = json.loads(storage.release(name).read_text())
        assert run.info["status"] == "FINISHED"
        assert run.info["end_time"] == datetime.fromisoformat(release["created"]).timestamp() * 1000
        assert 0 <= run.info["end_time"] - run.info["start_time"] < 600_000
        assert run.named("metrics")["validation/auc"] == 0.7
        assert run.named("tags")["quartet.manifest"] == release["manifest"]["sha256"]
        assert run.named("tags")["quartet.digest.state"] == release["parts"]["state"]["digest"]
        assert run.named("tags")["quartet.gates_met"] == "true"
        assert json.loads(run.file("release.json")) == release
        assert json.loads(run.file("evaluation.json")) == {"validation": {"auc": 0.7}}
        assert json.loads(run.file("model/manifest.json"))["component"] == "algorithm"
    assert runs["r1"].named("tags")["quartet.started_by"] == "command"
    assert "quartet.parent" not in runs["r1"].named("tags")
    assert runs["r1-drift-p4"].named("tags")["quartet.started_by"] == "drift r1-p4"
    assert runs["r1-drift-p4"].named("tags")["quartet.parent"] == "r1"
    # Of p3, p4 and p5 the second has drifted; the retrained release has scored the third alone.
    assert runs["r1"].history("inference/drift_detected") == {1: 0, 2: 1, 3: 0}
    assert runs["r1-drift-p4"].history("inference/drift_detected") == {3: 0}

    again = tracked("track")
    assert (again.exit_code, again.output.count("tracked before")) == (0, 2), again.output
    after = mlflow.runs("toy")
    assert {name: run.content for name, run in after.items()} == {name: run.content for name, run in runs.items()}
    assert after["r1"].history("validation/auc") == {0: 0.7}


@pytest.mark.mlflow
def test_a_run_that_was_left_half_done_is_completed(tracked: Tracked, mlflow: TrackingServer) -> None:
    tracked.declare(mlflow.uri, "half done")
    tracked("run", "--pipeline", "training", "--run-id", "r1")
    before = mlflow.runs("half done")["r1"]
    mlflow.ask("runs/update", run_id=before.id, status="RUNNING")
    mlflow.ask("runs/delete-tag", run_id=before.id, key="quartet.manifest")
    done = tracked("track", "r1")

    after = mlflow.runs("half done")["r1"]
    assert done.output == f"r1  run {before.id}\n"
    assert after.info["status"] == "FINISHED"
    assert after.named("tags") == before.named("tags")


# --- In the cloud


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """An account with a bucket, and credentials for it in the environment."""
    for name, key in (("AWS_ACCESS_KEY_ID", "aws_access_key_id"), ("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key")):
        monkeypatch.setenv(name, CREDENTIALS[key])
    with mock_aws():
        client = boto3.Session(region_name=REGION).client
        client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client


def archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


ROUNDS = 1100
SETTINGS = {"eta": 0.1, "eval_metric": ["auc", "logloss"], "params": {"max_depth": 6}, "long": "x" * 9000}
WIDE = {f"column_{number}": number for number in range(130)}


def released(connect: Callable[[str], Any], name: str, storage: str = "toy") -> None:
    """A release in S3 as a training in the cloud leaves it."""
    series = {"name": "validation", "x": list(range(ROUNDS)), "y": [1 / (x + 1) for x in range(ROUNDS)]}
    report = {"sections": [{"title": "Training", "blocks": [{"title": "RMSE", "series": [series]}]}]}
    training = f"{storage}/training/{name}"
    model = {"evaluation.json": b'{"a": 1}', "manifest.json": json.dumps({"settings": SETTINGS}).encode()}
    content = {
        "name": "toy",
        "created": CREATED,
        "parent": f"s3://{BUCKET}/{storage}/releases/r0/release.json",
        "started_by": {"cause": "drift", "run": "may"},
        "revision": "b6f4b63",
        "manifest": {"sha256": "c" * 64},
        "images": {"algorithm": f"repository@{DIGEST}"},
        "gates": [{"metric": "validation:auc", "met": False, "value": 0.5}],
        "metrics": {"validation:auc": 0.5, "validation:recall@5": 0.25},
        "data": {"uri": "s3://raw/may"},
        "parts": {
            "model": {"uri": f"s3://{BUCKET}/{training}/algorithm/job/output/model.tar.gz", "digest": "d" * 64},
            "state": {"uri": f"s3://{BUCKET}/{training}/processing/state/", "digest": "e" * 64},
        },
    }
    files = {
        f"{training}/algorithm/job/output/model.tar.gz": archive({**model, "model.ubj": b"x"}),
        f"{training}/algorithm/job/output/output.tar.gz": archive(
            {"report.html": b"<p>", "report.json": json.dumps(report).encode()}
        ),
        f"{training}/processing/state/manifest.json": json.dumps({"settings": WIDE}).encode(),
        f"{storage}/releases/{name}/release.json": json.dumps(content).encode(),
    }
    for key, body in files.items():
        connect("s3").put_object(Bucket=BUCKET, Key=key, Body=body)


def in_the_cloud(folder: Path, uri: str, experiment: str) -> Path:
    path = folder / "use-case.yaml"
    path.write_text(f"""\
apiVersion: quartet/v1
name: toy
engine: step-functions
region: {REGION}
storage: s3://{BUCKET}/toy
role: {ROLE}
data: {{train: {{uri: "s3://raw/may"}}}}
components: {{}}
tracking: {{uri: "{uri}", experiment: {experiment}}}
environments: {{prod: {{}}}}
""")
    return path


@pytest.mark.mlflow
def test_a_release_in_s3_is_tracked_with_settings_images_curves_and_files(
    tmp_path: Path, account: Callable[[str], Any], mlflow: TrackingServer
) -> None:
    released(account, "r1", "toy/prod")
    manifest = in_the_cloud(tmp_path, mlflow.uri, "cloud")
    words = ["track", str(manifest), "r1", "--environment", "prod"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    run = mlflow.runs("cloud")["r1"]

    params = run.named("params")
    assert len(params) == len(WIDE) + 4
    assert params["algorithm.params.max_depth"] == "6"
    assert params["algorithm.eval_metric"] == '["auc", "logloss"]'
    assert params["algorithm.long"] == "x" * 6000
    assert params["processing.column_129"] == "129"
    tags = run.named("tags")
    expected = {
        "quartet.release": "r1",
        "quartet.use_case": "toy",
        "quartet.environment": "prod",
        "quartet.parent": "r0",
        "quartet.started_by": "drift may",
        "quartet.image.algorithm": f"repository@{DIGEST}",
        "quartet.manifest": "c" * 64,
        "quartet.gates_met": "false",
        "mlflow.source.git.commit": "b6f4b63",
    }
    assert {key: tags.get(key) for key in expected} == expected
    assert run.named("metrics")["validation/auc"] == 0.5
    assert run.named("metrics")["validation/recall_5"] == 0.25
    assert run.history("training/validation/rmse") == {x: 1 / (x + 1) for x in range(ROUNDS)}
    assert run.file("report.html") == b"<p>"
    assert run.file("evaluation.json") == b'{"a": 1}'
    assert json.loads(run.file("model/manifest.json")) == {"settings": SETTINGS}

    assert "tracked before" in CliRunner().invoke(main, words).output
    # The same name in another environment is another release.
    assert "tracked before" not in CliRunner().invoke(main, words[:-2]).output


@pytest.mark.mlflow
def test_files_go_to_s3_where_the_experiment_keeps_them_there(
    tmp_path: Path, account: Callable[[str], Any], mlflow: TrackingServer
) -> None:
    released(account, "r1")
    mlflow.ask("experiments/create", name="in s3", artifact_location=f"s3://{BUCKET}/runs")
    done = CliRunner().invoke(main, ["track", str(in_the_cloud(tmp_path, mlflow.uri, "in s3"))])

    run = mlflow.runs("in s3")["r1"]
    assert done.output == f"r1  run {run.id}\n"
    keys = [item["Key"] for item in account("s3").list_objects_v2(Bucket=BUCKET, Prefix="runs/")["Contents"]]
    files = ("evaluation.json", "model/manifest.json", "release.json", "report.html")
    assert keys == [f"runs/{run.id}/artifacts/{name}" for name in files]


@pytest.mark.mlflow
def test_where_only_the_server_can_write_the_run_is_complete_but_for_its_files(
    tmp_path: Path, account: Callable[[str], Any], mlflow: TrackingServer
) -> None:
    released(account, "r1")
    mlflow.ask("experiments/create", name="elsewhere", artifact_location="gs://bucket/runs")
    done = CliRunner().invoke(main, ["track", str(in_the_cloud(tmp_path, mlflow.uri, "elsewhere"))])

    run = mlflow.runs("elsewhere")["r1"]
    assert run.info["status"] == "FINISHED"
    said = "its files were not stored, for only the server can write to gs://bucket/runs/"
    assert (done.exit_code, done.output.startswith(f"r1  run {run.id}; {said}")) == (0, True), done.output


@pytest.mark.mlflow
@pytest.mark.parametrize(
    ("experiment", "execution"),
    [
        ("machines", "arn:aws:states:eu-west-1:111122223333:execution:quartet-toy-training:r1"),
        ("sagemaker", "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/quartet-toy-training/execution/r1"),
    ],
)
def test_start_tracks_the_release_of_the_training_that_it_waited_for(
    tmp_path: Path, account: Any, mlflow: TrackingServer, monkeypatch: Any, experiment: str, execution: str
) -> None:
    released(account, "r1")
    monkeypatch.setattr(cloud, "begin", lambda *rest: execution)
    monkeypatch.setattr(cloud, "awaited", lambda *rest: "ended")
    monkeypatch.setattr("pipelines.settings.schema_of", lambda component: {})
    manifest = in_the_cloud(tmp_path, mlflow.uri, experiment)
    done = CliRunner().invoke(main, ["start", str(manifest), "--wait"])

    assert done.exit_code == 0, done.output
    assert done.output == f"{execution}\nended\n"
    assert set(mlflow.runs(experiment)) == {"r1"}


# --- MLflow on SageMaker

ARNS = {
    "mlflow-tracking-server": "arn:aws:sagemaker:eu-west-1:111122223333:mlflow-tracking-server/ours",
    "mlflow-app": "arn:aws:sagemaker:eu-west-1:111122223333:mlflow-app/app-1A2B3C",
}
PLUGIN = """
import datetime, json, sys
import boto3, botocore.auth
from requests import PreparedRequest
from sagemaker_mlflow.auth_provider import AuthProvider
from sagemaker_mlflow.mlflow_sagemaker_request_header_provider import MlflowSageMakerRequestHeaderProvider
import mlflow

answers = []
for given in json.load(sys.stdin):
    moment = datetime.datetime.strptime(given["headers"]["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    botocore.auth.get_current_datetime = lambda *rest, **named: moment
    mlflow.set_tracking_uri(given["arn"])
    provider = AuthProvider()
    provider.host_metadata_provider.set_arn(given["arn"])
    named = MlflowSageMakerRequestHeaderProvider().request_headers()
    request = PreparedRequest()
    request.prepare(given["method"], given["url"], headers={**named, "Connection": "keep-alive"}, data=given["body"])
    for name in set(request.headers) - {*named, "Connection"}:
        del request.headers[name]
    signed = provider.get_auth()(request)
    address = provider.host_metadata_provider.construct_tracking_server_url()
    answers.append([address, signed.url, signed.headers["Authorization"]])
print(json.dumps(answers))
"""
"""Signs requests with the plugin that AWS publishes for MLflow's own client, each at a given time."""


@pytest.fixture
def signing(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Credentials in the environment, and the environment for a process that signs with them too."""
    names = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "session"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **names}


@pytest.mark.clients
def test_requests_to_sagemaker_are_signed_as_by_the_plugin_that_aws_publishes(signing: dict[str, str]) -> None:
    asked = [("GET", {"params": {"experiment_name": "half done"}}), ("POST", {"json": {"name": "half done"}})]
    given, expected = [], []
    for arn in ARNS.values():
        for method, options in asked:
            found = server_of(arn)
            url = f"{found.uri}/api/2.0/mlflow/experiments/x"
            ours = requests.Request(method, url, auth=found.auth, **options).prepare()
            body = ours.body.decode() if isinstance(ours.body, bytes) else ours.body
            given.append({"arn": arn, "method": method, "url": ours.url, "body": body, "headers": dict(ours.headers)})
            expected.append([found.uri, ours.url, ours.headers["Authorization"]])
    # One process for all: the plugin takes seconds to import.
    done = subprocess.run(
        [f"{sys.prefix}-sagemaker-v3/bin/python", "-W", "ignore", "-c", PLUGIN],
        input=json.dumps(given), env=signing, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert json.loads(done.stdout.splitlines()[-1]) == expected


@pytest.mark.mlflow
def test_the_server_of_an_arn_is_named_in_a_header_and_asked_like_any_other(
    tracked: Tracked, signing: dict[str, str], mlflow: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(managed.KINDS["mlflow-tracking-server"], address=mlflow.uri)
    monkeypatch.setitem(managed.KINDS, "mlflow-tracking-server", own)
    tracked.declare(ARNS["mlflow-tracking-server"], "sagemaker s")
    done = tracked("run", "--pipeline", "training", "--run-id", "r1")

    assert "tracked" not in done.output
    assert mlflow.runs("sagemaker s")["r1"].info["status"] == "FINISHED"


def test_without_credentials_sagemaker_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(tracking_server.TrackingError, match="wants AWS credentials, and there are none"):
        server_of(ARNS["mlflow-app"])


# --- Servers that are none


@pytest.mark.parametrize("silent", [False, True])
def test_a_server_that_does_not_answer_costs_one_warning(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """Two trainings and four verdicts, and it is asked once: nobody listens, or somebody who never says anything."""
    monkeypatch.setattr(tracking_server, "ANSWER", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        tracked.declare(f"http://127.0.0.1:{listener.getsockname()[1]}")
        done = tracked("run", "--pipeline", "both", "--run-id", "r1")

    assert done.exit_code == 0, done.output
    assert "release r1-drift-p4 is current" in done.output
    warnings = [line for line in done.output.splitlines() if "tracked" in line]
    kind = "ReadTimeout" if silent else "ConnectionError"
    assert len(warnings) == 1
    assert warnings[0].startswith("release r1 is not tracked, `track` does it later: http://127.0.0.1:")
    assert warnings[0].endswith(f" does not answer ({kind}).")


def test_the_time_for_one_release_is_bounded_however_quick_each_answer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_server, "ALL", 0.0)
    found = tracking_server.Server("http://127.0.0.1:1")

    with pytest.raises(tracking_server.TrackingError, match="took more than 0 s, so tracking was given up"):
        found.experiment("toy")


class Unreachable(requests.Session):
    """A session that notes how long it may take, and fails."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed: list[tuple[float, float]] = []

    def request(self, *_rest: Any, timeout: Any = None, **_named: Any) -> requests.Response:
        self.allowed.append(timeout)
        raise requests.ConnectionError


def test_connection_and_answer_have_their_limits_and_never_more_than_what_is_left_of_the_whole() -> None:
    session = Unreachable()
    for ends in (time.monotonic() + 1000, time.monotonic() + 1):
        with pytest.raises(tracking_server.TrackingError):
            tracking_server.Server("http://127.0.0.1:1", session=session, ends=ends).experiment("toy")

    first, last = session.allowed
    assert first == (3.0, 10.0)
    assert max(last) <= 1


def test_the_command_fails_where_a_pipeline_would_not(tracked: Tracked) -> None:
    tracked.toy.declare()
    tracked("run", "--pipeline", "training", "--run-id", "r1")
    without = tracked("track")
    tracked.declare(f"http://127.0.0.1:{free_port()}")
    dead = tracked("track")

    assert (without.exit_code, "has no tracking. Add tracking.uri" in without.output) == (2, True), without.output
    assert (dead.exit_code, "does not answer (ConnectionError)" in dead.output) == (1, True), dead.output


@dataclass
class Stranger:
    """A server of HTTP that is no MLflow."""

    uri: str
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def stranger(status: int, body: bytes) -> Iterator[Stranger]:
    found = Stranger("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.headers["Authorization"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_rest: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        found.uri = f"http://127.0.0.1:{http.server_port}"
        thread = Thread(target=http.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            http.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>", "does not answer as MLflow does. Check tracking.uri."),
        (200, b'{"experiment": 3}', "does not answer as MLflow does. Check tracking.uri."),
        (403, b'{"message": "who\\nare you?"}', "answers 403: who are you?"),
    ],
)
def test_what_is_no_mlflow_or_refuses_is_told_in_one_sentence(status: int, body: bytes, said: str) -> None:
    with stranger(status, body) as found, pytest.raises(tracking_server.TrackingError) as caught:
        tracking_server.Server(found.uri).experiment("toy")

    assert str(caught.value) == f"{found.uri} {said}"


def test_credentials_come_from_the_variables_of_mlflows_own_client(monkeypatch: pytest.MonkeyPatch) -> None:
    with stranger(403, b"no") as found:
        for name, value in (("USERNAME", "ann"), ("PASSWORD", "secret"), ("TOKEN", "t0")):
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
            if name != "USERNAME":
                with pytest.raises(tracking_server.TrackingError):
                    tracking_server.Server(found.uri).experiment("toy")
            if name == "PASSWORD":
                monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")

    assert found.asked == ["Basic YW5uOnNlY3JldA==", "Bearer t0"]


# --- The manifest, and arithmetic


@pytest.mark.parametrize(
    ("tracking", "said"),
    [
        ("{uri: mlruns}", "tracking.uri: found 'mlruns', wanted the uri of an MLflow server, such as"),
        ('{uri: "https://ann@host"}', "wanted a uri without credentials: they belong in MLFLOW_TRACKING_USER"),
        ("{experiment: a}", "tracking.uri: nothing found, but this key is required."),
        ('{uri: "http://host", experiment: ""}', "tracking.experiment: found '', wanted"),
        ('{uri: "http://host", exprimnt: a}', "tracking.exprimnt: no known key. Did you mean 'experiment'?"),
    ],
)
def test_a_tracking_that_cannot_be_used_is_refused_with_its_line(tracked: Tracked, tracking: str, said: str) -> None:
    text = tracked.toy.path.read_text() + f"tracking: {tracking}\n"
    tracked.toy.path.write_text(text)
    done = CliRunner().invoke(main, ["validate", str(tracked.toy.path)])

    assert done.exit_code == 2
    assert f"{tracked.toy.path}:{len(text.splitlines())}: " in done.output
    assert said in done.output


def test_names_hold_only_what_every_mlflow_takes() -> None:
    assert key_of("validation:auc") == "validation/auc"
    assert key_of("a@b=ü:c d.e-f_g") == "a_b__/c d.e-f_g"
    assert len(key_of("x" * 300)) == 250


def test_settings_are_flat_and_a_component_without_any_has_no_params() -> None:
    found = params_of(
        {"processing": {"derive": {"a": "x + 1"}, "drop": [], "split": {}, "none": None}, "algorithm": {}}
    )

    assert found == {
        "processing.derive.a": "x + 1",
        "processing.drop": "[]",
        "processing.split": "{}",
        "processing.none": "null",
    }


def test_a_round_without_a_number_is_left_out() -> None:
    series = {"name": "train", "x": [1, 2, 3], "y": [0.5, None, float("nan")]}
    report = {"sections": [{"title": "Training", "blocks": [{"title": "log loss", "series": [series]}]}]}

    found = list(curves(report, 7))
    assert [(point.key, point.step, point.value, point.timestamp) for point in found] == [
        ("training/train/log loss", 1, 0.5, 7)
    ]
