"""The HTTP contract, in process and as a real server."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient

from shared.component import Component
from shared.contract import Contract
from shared.entrypoint import run
from shared.errors import SettingsError
from shared.server import Holder, Serving, application, processors

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(mean: Component, data: Path) -> Path:
    """A root folder whose model is the mean 2."""
    assert run(mean, ["train"], {"SAGEMAKER_BASE_DIR": str(data)}) == 0
    shutil.copytree(data / "processing/output/state", data / "model")
    shutil.rmtree(data / "processing")
    return data


@pytest.fixture
def client(mean: Component, root: Path) -> FlaskClient:
    holder = Holder(mean, Contract(root), {})
    holder.load()
    return application(holder, Serving.from_environment({})).test_client()


def test_ping_is_503_while_loading_and_then_200_with_an_empty_body(mean: Component, root: Path) -> None:
    holder = Holder(mean, Contract(root), {})
    client = application(holder, Serving.from_environment({})).test_client()

    assert client.get("/ping").status_code == 503
    holder.load()
    answer = client.get("/ping")

    assert (answer.status_code, answer.data) == (200, b"")


def test_ping_is_503_until_every_worker_has_loaded(mean: Component, root: Path) -> None:
    holder = Holder(mean, Contract(root), {}, workers=2)
    client = application(holder, Serving.from_environment({})).test_client()

    holder.load(1)
    assert client.get("/ping").status_code == 503
    in_another_process(partial(holder.load, 2))
    assert client.get("/ping").status_code == 200
    holder.lost(1)
    assert client.get("/ping").status_code == 200


def test_a_worker_that_ended_before_all_had_loaded_counts_no_longer(mean: Component, root: Path) -> None:
    holder = Holder(mean, Contract(root), {}, workers=2)
    in_another_process(partial(holder.load, 1))
    holder.lost(1)
    in_another_process(partial(holder.load, 3))

    assert not holder.ready


def in_another_process(work: Callable[[], None]) -> None:
    """As gunicorn starts workers: by fork, with the memory that was there before."""
    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    worker.join(60)

    assert worker.exitcode == 0


def test_n_rows_in_are_n_rows_out_with_their_ids(client: FlaskClient) -> None:
    answer = client.post("/invocations", data=b"a,1\nb,5\n", content_type="text/csv; charset=utf-8")

    assert answer.data == b"a,-1.0\nb,3.0\n"
    assert answer.content_type == "text/csv"


def test_a_header_that_was_announced_is_answered_with_a_header(client: FlaskClient) -> None:
    answer = client.post("/invocations", data=b"x\n1\n", content_type="text/csv; header=present")

    assert answer.data == b"distance\n-1.0\n"


def test_another_type_may_be_asked_for(client: FlaskClient) -> None:
    answer = client.post("/invocations", data=b"1\n", content_type="text/csv", headers={"Accept": "application/json"})

    assert answer.json == {"predictions": [{"distance": -1.0}]}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {"Content-Type": "text/csv"}, 204),
        (b"[]", {"Content-Type": "application/json"}, 204),
        (b"id,x\n", {"Content-Type": "text/csv; header=present"}, 204),
        (rb'[["\ud800", 1]]', {"Content-Type": "application/json"}, 400),
        (b"1,2,3\n", {"Content-Type": "text/csv"}, 400),
        (b"1\n", {"Content-Type": "image/png"}, 415),
        (b"1\n", {"Content-Type": "text/csv", "Accept": "image/png"}, 406),
        (b"13\n", {"Content-Type": "text/csv"}, 500),
    ],
)
def test_each_refusal_has_its_status(client: FlaskClient, body: bytes, headers: dict[str, str], status: int) -> None:
    answer = client.post("/invocations", data=body, headers=headers)

    assert answer.status_code == status
    assert b"Traceback" not in answer.data
    assert b"a bug" not in answer.data


@pytest.mark.parametrize("header", ["", "; header=present"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/csv", gzip.compress(b"x\n1\n", mtime=0)),
        ("text/csv", b"\n\r\n" + gzip.compress(b"x\n1\n", mtime=0)),
        ("text/csv", zlib.compress(b"x\n1\n", 0)),
        ("text/csv", zlib.compress(b"x\n1\n", 4)),
        ("text/csv", zlib.compress(b"x\n1\n", 6)),
        ("text/csv", zlib.compress(b"x\n1\n", 9)),
        ("text/csv", b"\x28\xb5\x2f\xfd\x04\x00\x21\x00\x00x\n1\n"),
        ("application/json", gzip.compress(b"[[1]]", mtime=0)),
        ("application/jsonlines", gzip.compress(b"[1]", mtime=0)),
    ],
)
def test_a_compressed_body_is_refused_in_one_sentence(client: FlaskClient, kind: str, body: bytes, header: str) -> None:
    answer = client.post("/invocations", data=body, content_type=f"{kind}{header}")

    assert answer.status_code == 400
    assert re.fullmatch(r"the body is compressed \((gzip|zlib|zstd)\), wanted plain text\. Send it .*\n", answer.text)


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 415), ("br", 415), ("identity", 200)])
def test_a_content_encoding_is_refused_unless_it_is_none(client: FlaskClient, encoding: str, status: int) -> None:
    answer = client.post("/invocations", data=b"1\n", headers={"Content-Encoding": encoding})

    assert answer.status_code == status
    assert status == 200 or answer.text.startswith(f"Content-Encoding '{encoding}' is not read")


@pytest.mark.parametrize("name", ["x^2", "x\u06a5"])
def test_text_that_begins_as_zlib_does_is_text(client: FlaskClient, name: str) -> None:
    body = f"{name},x\n9,1\n".encode()

    assert client.post("/invocations", data=body, content_type="text/csv; header=present").text == "distance\n-1.0\n"


def test_unknown_paths_are_404_and_wrong_methods_405(client: FlaskClient) -> None:
    nowhere, wrong = client.get("/" + "nowhere" * 1000), client.get("/invocations")

    assert (nowhere.status_code, wrong.status_code) == (404, 405)
    assert "POST" in wrong.headers["Allow"]
    for answer in (nowhere, wrong):
        assert answer.content_type == "text/plain; charset=utf-8"
        assert re.fullmatch(r"GET /\S+ is answered by nothing, wanted .* or POST /invocations\.\n", answer.text)
        assert len(answer.text) < 300


def test_custom_attributes_come_back(client: FlaskClient) -> None:
    name = "X-Amzn-SageMaker-Custom-Attributes"

    assert client.post("/invocations", data=b"1\n", headers={name: "trace=7"}).headers[name] == "trace=7"


@pytest.mark.parametrize("payload_mb", ["0", "6", "50", "100"])
def test_execution_parameters_are_whole_numbers_within_100_megabytes(payload_mb: str) -> None:
    serving = Serving.from_environment(
        {"SAGEMAKER_MAX_PAYLOAD_IN_MB": payload_mb, "SAGEMAKER_MODEL_SERVER_WORKERS": "64"}
    )

    found = serving.execution_parameters()

    assert found["BatchStrategy"] == "MULTI_RECORD"
    assert type(found["MaxPayloadInMB"]) is type(found["MaxConcurrentTransforms"]) is int
    assert found["MaxPayloadInMB"] * found["MaxConcurrentTransforms"] <= 100


@pytest.mark.parametrize("value", ["True", "true", "TRUE"])
def test_batch_transform_is_recognised_however_it_is_spelt(value: str) -> None:
    assert Serving.from_environment({"SAGEMAKER_BATCH": value}).timeout_s >= 600


@pytest.mark.parametrize("text", ["http", "²", "٣"])
def test_a_variable_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=f"SAGEMAKER_BIND_TO_PORT is '{text}', wanted a whole number"):
        Serving.from_environment({"SAGEMAKER_BIND_TO_PORT": text})


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu.max": "rubbish\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_a_containers_quota_of_processors_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], wanted: int
) -> None:
    """On a machine of which 8 processors may be used."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    assert processors(tmp_path) == wanted


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


SERVED = "import sys; from shared.entrypoint import run; from conftest import MEAN; sys.exit(run(MEAN, ['serve']))"


def started(root: Path, port: int, code: str = SERVED, **variables: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}",
        "SAGEMAKER_BASE_DIR": str(root),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def ping(url: str) -> int:
    """The status of a health check, on a connection of its own: 0 while nobody listens."""
    try:
        return requests.get(f"{url}/ping", timeout=2).status_code
    except requests.ConnectionError:
        return 0


def wait_for(process: subprocess.Popen[bytes], url: str, status: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None and ping(url) != status:
        time.sleep(0.05)


@pytest.fixture
def server(root: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    process = started(root, port)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(process, url, 200)
        yield process, url
    finally:
        process.kill()
        process.communicate()


ONE_WORKER_IS_LATE = """
import dataclasses, sys, time
from pathlib import Path
from shared.entrypoint import run
from conftest import MEAN

def load(folder, environment):
    try:
        (folder.parent / "first").touch(exist_ok=False)
    except FileExistsError:
        while not (folder.parent / "go").exists():
            time.sleep(0.02)
    found = MEAN.load(folder, environment)
    (folder.parent / "loaded").touch()
    return found

sys.exit(run(dataclasses.replace(MEAN, load=load), ["serve"]))
"""


def test_health_is_the_same_whichever_worker_is_asked(root: Path) -> None:
    port = free_port()
    process, url = (
        started(root, port, ONE_WORKER_IS_LATE, SAGEMAKER_MODEL_SERVER_WORKERS="2"),
        f"http://127.0.0.1:{port}",
    )
    try:
        wait_for(process, url, 503)
        while not (root / "loaded").exists():
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.1)  # the file is written just before the worker says that it has loaded
        assert {ping(url) for _ in range(40)} == {503}
        (root / "go").touch()
        wait_for(process, url, 200)
        assert {ping(url) for _ in range(40)} == {200}
    finally:
        process.terminate()
        process.communicate(timeout=30)


def chunks() -> Iterator[bytes]:
    yield b"a,1\n"
    yield b"b,2\n"


def test_a_real_server_answers_and_stops_cleanly(server: tuple[subprocess.Popen[bytes], str]) -> None:
    process, url = server

    answer = requests.post(f"{url}/invocations", data=chunks(), headers={"Content-Type": "text/csv"}, timeout=10)
    process.send_signal(signal.SIGTERM)

    assert answer.text == "a,-1.0\nb,0.0\n"
    assert process.wait(30) == 0


@pytest.mark.parametrize("kept", [True, False], ids=["while the caller listens on", "when the caller has ended"])
def test_a_body_that_is_not_whole_is_refused_and_the_connection_closed(
    server: tuple[subprocess.Popen[bytes], str], kept: bool
) -> None:
    """A body that is cut off would be answered as if it were whole, one row short."""
    process, url = server
    length, chunked = "Content-Length: 100", "Transfer-Encoding: chunked"
    wrong = [(chunked, b"ZZ\r\na,1\n\r\n0\r\n\r\n"), (chunked, b"4\r\na,1\nxx0\r\n\r\n")]
    cut = [(length, b"a,1\nb,2"), (length, b""), (chunked, b"100\r\na,1\n"), (chunked, b"4\r\na,1\n\r\n")]
    for header, body in wrong if kept else cut:
        head = f"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: text/csv\r\n{header}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=20) as connection:
            connection.sendall(head.encode() + body)
            if not kept:
                connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(partial(connection.recv, 65_536), b""))  # ends when the server closes

        assert answer.startswith(b"HTTP/1.1 400 "), (header, body)
        assert answer.count(b"HTTP/1.1") == 1
        assert re.search(rb"\r\n\r\nthe body [^\n]*\.\n$", answer)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert process.stdout is not None
    assert b"Traceback" not in process.stdout.read()


def test_a_wrong_variable_of_the_component_ends_the_server_as_settings_do(root: Path) -> None:
    process = started(root, free_port(), SHIFT="much")
    output, _ = process.communicate(timeout=60)

    assert (process.returncode, b"SHIFT is 'much'" in output) == (2, True), output


def test_a_broken_artefact_ends_the_process_with_its_sentence(root: Path) -> None:
    (root / "model/state.json").write_text("{}")

    process = started(root, free_port())
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 3
    assert b"is not the one that was written" in output
    assert "is not the one that was written" in (root / "output/failure").read_text()
