"""The server as SageMaker starts and asks it: a process, a port, requests."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.algorithm.serve import load

ROOT = Path(__file__).parents[3]
STARTUP_SECONDS = 60
CSV = {"Content-Type": "text/csv"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def lines(self) -> list[str]:
        return self.body.decode().splitlines()


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def score(self, body: str, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", "/invocations", body.encode(), {**CSV, **named})

    def wait(self) -> None:
        for _ in range(STARTUP_SECONDS * 10):
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}"
            try:
                if self.ask("GET", "/ping").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError("the server did not become healthy")


@contextmanager
def started(root: Path, **environment: str) -> Iterator[Running]:
    """A server over `root`/model; ended, however the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"SAGEMAKER_BASE_DIR": str(root), "SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "components.algorithm", "serve"],
        cwd=ROOT,
        env={**os.environ, **told, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Running(process, port)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server(trained: Any) -> Iterator[Running]:
    with started(trained.root) as running:
        running.wait()
        yield running


def scores(trained: Any, *rows: list[float | None]) -> list[str]:
    """The scores as the server has to write them, from a model loaded here."""
    names = ["age", "income", "visits", "noise"]
    table = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64), orient="row")
    answer = load(trained.model, {}).answer(table)
    assert isinstance(answer, pl.DataFrame)
    return answer.write_csv(include_header=False).splitlines()


def test_one_line_a_record(server: Running, trained: Any) -> None:
    answer = server.score("1,2,3,4\n-1,0,,2\n")

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.lines == scores(trained, [1, 2, 3, 4], [-1, 0, None, 2])
    assert answer.body.endswith(b"\n")


@pytest.mark.parametrize(
    "body", ["1,2,3,4\n5,6,7,8", "1,2,3,4\r\n5,6,7,8\r\n", "1,2,3,4\r\n5,6,7,8", "1,2,3,4\n\n5,6,7,8\n"]
)
def test_line_ends_and_blank_lines_do_not_count(server: Running, trained: Any, body: str) -> None:
    assert server.score(body).lines == scores(trained, [1, 2, 3, 4], [5, 6, 7, 8])


def test_one_record_without_a_line_end(server: Running, trained: Any) -> None:
    assert server.score("1,2,3,4").lines == scores(trained, [1, 2, 3, 4])


def test_ids_that_were_sent_stand_before_the_score(server: Running, trained: Any) -> None:
    first, second = scores(trained, [1, 2, 3, 4], [5, 6, 7, 8])

    assert server.score("F1,1,2,3,4\nF2,5,6,7,8\n").lines == [f"F1,{first}", f"F2,{second}"]


def test_many_records_keep_their_order(server: Running) -> None:
    body = "".join(f"id-{row},{row % 7},{row % 5},{row % 3},{row % 2}\n" for row in range(5000))

    lines = server.score(body).lines

    assert [line.partition(",")[0] for line in lines] == [f"id-{row}" for row in range(5000)]


def test_json_in_and_out(server: Running, trained: Any) -> None:
    row = {"flight": "F1", "age": 1, "income": 2, "visits": 3, "noise": None}

    answer = server.score(json.dumps({"instances": [row]}), Content_Type="application/json")

    (expected,) = scores(trained, [1, 2, 3, None])
    (found,) = json.loads(answer.body)["predictions"]
    assert found["flight"] == "F1"
    assert found["score"] == pytest.approx(float(expected))


def test_a_content_type_may_carry_parameters(server: Running, trained: Any) -> None:
    answer = server.score("noise,age,income,visits\n4,1,2,3\n", Content_Type="text/csv; charset=utf-8; header=present")

    assert answer.status == 200
    assert answer.lines[-1:] == scores(trained, [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("body", "headers", "status", "sentence"),
    [
        ("1,2,x,4\n", {}, 400, "row 1: column 'visits' is 'x', wanted a finite number."),
        ("1,2,inf,4\n", {}, 400, "row 1: column 'visits' is"),
        ("1,2,1e39,4\n", {}, 400, "row 1: column 'visits' is '1e+39', wanted a number from -3.4028235e+38 to"),
        ("1,2,3\n", {}, 400, "line 1 has 3 values, wanted 4 or 5: 'flight', 'age', 'income', 'visits', 'noise'."),
        ("1,2,3,4,5,6\n", {}, 400, "line 1 has 6 values, wanted 4 or 5"),
        ("age,income,visits,noise\n1,2,3,4\n", {}, 400, "line 1 is a header line where none was said."),
        ("age,income,noise\n1,2,4\n", {"Content_Type": "text/csv; header=present"}, 400, "the rows lack 'visits'"),
        ('{"age": 1, "income": 2, "noise": 4}', {"Content_Type": "application/json"}, 400, "row 1 lacks 'visits'"),
        ("{", {"Content_Type": "application/json"}, 400, "the body is no application/json"),
        ("1,2,3,4\n", {"Content_Type": "text/libsvm"}, 415, "Content-Type 'text/libsvm' is not read"),
        ("1,2,3,4\n", {"Accept": "image/png"}, 406, "Accept 'image/png' cannot be answered"),
    ],
)
def test_a_request_that_cannot_be_used(
    server: Running, body: str, headers: dict[str, str], status: int, sentence: str
) -> None:
    answer = server.score(body, **headers)

    assert (answer.status, sentence in answer.body.decode()) == (status, True), answer.body.decode()


def test_an_empty_body_has_no_answer(server: Running) -> None:
    assert server.score("").status == 204


def test_execution_parameters_are_whole_numbers_within_the_limit(server: Running) -> None:
    found = json.loads(server.ask("GET", "/execution-parameters").body)

    assert found["BatchStrategy"] == "MULTI_RECORD"
    assert type(found["MaxConcurrentTransforms"]) is type(found["MaxPayloadInMB"]) is int
    assert found["MaxConcurrentTransforms"] * found["MaxPayloadInMB"] <= 100


def test_sigterm_ends_the_server_with_0(trained: Any) -> None:
    """And the environment chose what it answered."""
    with started(trained.root, SAGEMAKER_INFERENCE_OUTPUT="predicted_label,score") as running:
        running.wait()
        line = running.score("9,0,0,0\n").lines[0]
        running.process.send_signal(signal.SIGTERM)
        code = running.process.wait(timeout=40)

    assert code == 0
    assert line.startswith("1,0.")


def test_a_tampered_model_ends_the_process_with_3(trained: Any, tmp_path: Path) -> None:
    """A transform job waits half an hour for a container that stays sick, so it must not stay. With two workers too."""
    shutil.copytree(trained.model, tmp_path / "model")
    content = (tmp_path / "model/model.ubj").read_bytes()
    (tmp_path / "model/model.ubj").write_bytes(content[:-1] + b"!")
    with started(tmp_path, SAGEMAKER_MODEL_SERVER_WORKERS="2") as running:
        output, _ = running.process.communicate(timeout=STARTUP_SECONDS)

    assert running.process.returncode == 3
    assert "model file 'model.ubj' is not the one that was written" in output
    assert "model.ubj" in (tmp_path / "output/failure").read_text()
