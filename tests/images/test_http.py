"""Each image as a server: what SageMaker's hosting and Batch Transform ask of it."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.images.containers import SERVED, USERS
from tests.images.data import ROWS

TABLES = ("processing", "algorithm", "explainability", "torch-cpu")
"""Those that answer a row with a row; monitoring answers all rows with one verdict."""
SENTENCE = re.compile(rb"[^\n]+, wanted [^\n]+\.\n")
"""What was found, and what was wanted, in one line."""


@pytest.fixture(scope="module", params=SERVED)
def component(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def artefact(component: str, served_of: Callable[[str, str], Path]) -> Path:
    """What root trained, which is how SageMaker starts images."""
    return served_of(component, USERS["root"])


@pytest.fixture(scope="module", params=USERS)
def server(
    component: str,
    request: pytest.FixtureRequest,
    listen: Callable[..., Any],
    served_of: Callable[[str, str], Path],
) -> Iterator[Any]:
    user = USERS[request.param]
    with listen(component, served_of(component, user), user=user) as container:
        yield container.ready()


def test_ping_is_200_with_an_empty_body(server: Any) -> None:
    assert server.request("GET", "/ping") == (200, b"")


def test_as_many_rows_come_back_as_were_sent(server: Any, component: str, requests_of: Mapping[str, bytes]) -> None:
    status, body = server.request("POST", "/invocations", requests_of[component], Content_Type="text/csv")

    assert status == 200, body
    if component in TABLES:
        assert len(body.splitlines()) == ROWS
    else:
        assert json.loads(body)["detected"] in (True, False)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\n\n"], ids=["none", "LF", "CRLF", "blank line"])
def test_one_row_is_answered_by_one_row_however_it_ends(
    server: Any, component: str, requests_of: Mapping[str, bytes], ending: bytes
) -> None:
    row = requests_of[component].splitlines()[0]
    status, body = server.request("POST", "/invocations", row + ending, Content_Type="text/csv")

    assert status == 200, body
    if component in TABLES:
        assert len(body.splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.rstrip(b"\n"),
        lambda body: body.replace(b"\n", b"\r\n"),
        lambda body: body.replace(b"\n", b"\r\n").rstrip(b"\r\n"),
        lambda body: body + b"\n",
        lambda body: body.replace(b"\n", b"\r\n") + b"\r\n",
    ],
    ids=["no last newline", "CRLF", "CRLF, no last newline", "a blank last line", "CRLF, a blank last line"],
)
def test_rows_are_answered_in_number_and_alike_however_their_lines_end(
    server: Any, component: str, requests_of: Mapping[str, bytes], change: Callable[[bytes], bytes]
) -> None:
    """Batch Transform cuts files where it likes, and joins the answers line by line."""
    plain = server.request("POST", "/invocations", requests_of[component], Content_Type="text/csv")
    changed = server.request("POST", "/invocations", change(requests_of[component]), Content_Type="text/csv")

    assert changed == plain
    assert plain[0] == 200
    if component in TABLES:
        assert plain[1].count(b"\n") == ROWS
        assert plain[1].endswith(b"\n")


def test_a_body_of_20_megabytes_is_answered_row_by_row(
    server: Any, component: str, requests_of: Mapping[str, bytes]
) -> None:
    """No proxy and no default limit stands before the program."""
    times = 20_000_000 // len(requests_of[component]) + 1
    status, body = server.request("POST", "/invocations", requests_of[component] * times, Content_Type="text/csv")

    assert status == 200, body[:300]
    if component in TABLES:
        assert body.count(b"\n") == ROWS * times
    else:
        assert json.loads(body)["rows"] == ROWS * times


def test_a_request_without_a_length_is_read_to_its_end(
    server: Any, component: str, requests_of: Mapping[str, bytes]
) -> None:
    whole = server.request("POST", "/invocations", requests_of[component], Content_Type="text/csv")
    chunks = iter([requests_of[component][:1000], requests_of[component][1000:]])
    status, body = server.request("POST", "/invocations", chunks, Content_Type="text/csv")

    assert status == 200, body
    if component in TABLES:
        assert (status, body) == whole


def test_an_empty_body_is_answered_by_204(server: Any) -> None:
    assert server.request("POST", "/invocations", b"", Content_Type="text/csv") == (204, b"")


def test_what_cannot_be_read_is_refused_in_one_sentence(server: Any) -> None:
    status, body = server.request("POST", "/invocations", b"x", Content_Type="application/x-nothing")

    assert status == 415
    assert SENTENCE.fullmatch(body)


def test_an_answer_that_cannot_be_given_is_refused_in_one_sentence(
    server: Any, requests_of: Mapping[str, bytes], component: str
) -> None:
    status, body = server.request(
        "POST",
        "/invocations",
        requests_of[component],
        Content_Type="text/csv",
        Accept="application/x-recordio-protobuf",
    )

    assert status == 406
    assert SENTENCE.fullmatch(body)


def test_a_wrong_row_is_the_callers_error(server: Any) -> None:
    status, body = server.request("POST", "/invocations", b"1,2,3,4,5,6,7,8,9,10,11,12\n", Content_Type="text/csv")

    assert status == 400
    assert SENTENCE.fullmatch(body)


@pytest.mark.parametrize("body", [b"1,2", b""], ids=["cut off", "cut off before it began"])
def test_a_body_that_is_cut_off_is_the_callers_error(server: Any, body: bytes) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: text/csv\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(partial(connection.recv, 65_536), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")


def test_execution_parameters_keep_batch_transform_within_its_limits(server: Any) -> None:
    status, body = server.request("GET", "/execution-parameters")
    found = json.loads(body)

    assert status == 200
    assert set(found) == {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}
    assert found["BatchStrategy"] == "MULTI_RECORD"
    assert [type(found[name]) for name in ("MaxConcurrentTransforms", "MaxPayloadInMB")] == [int, int]
    assert found["MaxConcurrentTransforms"] * found["MaxPayloadInMB"] <= 100


def test_process_1_is_python_itself(server: Any) -> None:
    """A shell in its place would swallow SIGTERM."""
    command = server.executed("cat", "/proc/1/cmdline").split("\0")

    assert command[0] == "/opt/venv/bin/python"


def test_another_port_is_taken_when_told(component: str, listen: Callable[..., Any], artefact: Path) -> None:
    with listen(component, artefact, environment={"SAGEMAKER_BIND_TO_PORT": "8181"}) as container:
        until = time.monotonic() + 60
        answer = ""
        while answer != "200" and time.monotonic() < until and container.running:
            time.sleep(0.1)
            script = (
                "import urllib.request as r\n"
                "try: print(r.urlopen('http://127.0.0.1:8181/ping').status, end='')\n"
                "except OSError: pass"
            )
            answer = container.executed("python3", "-c", script)

        assert answer == "200", container.said()


def test_sigterm_ends_it_and_the_request_in_flight_is_answered(
    component: str, listen: Callable[..., Any], artefact: Path, requests_of: Mapping[str, bytes]
) -> None:
    """The caller is still sending when the signal comes: its request is in flight, however quick the answer is."""
    rows = requests_of[component]
    sent, signalled = threading.Event(), threading.Event()
    answers: list[tuple[int, bytes]] = []

    def slowly() -> Iterator[bytes]:
        yield rows[:1000]
        sent.set()
        signalled.wait(30)
        time.sleep(0.5)
        yield rows[1000:]

    with listen(component, artefact) as container:
        container.ready()
        request = threading.Thread(
            target=lambda: answers.append(container.request("POST", "/invocations", slowly(), Content_Type="text/csv"))
        )
        request.start()
        sent.wait(30)
        time.sleep(0.3)
        container.signal("SIGTERM")
        signalled.set()
        request.join(60)
        ended = container.ended(60)

    assert [status for status, _ in answers] == [200], ended.said
    assert ended.code == 0, ended.said


def test_a_broken_artefact_ends_the_process(
    component: str, listen: Callable[..., Any], artefact: Path, tmp_path: Path
) -> None:
    """A container that stayed would be waited for, half an hour long."""
    for path in artefact.rglob("*"):
        if path.is_file():
            copy = tmp_path / "model" / path.relative_to(artefact)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes() + (b" " if path.name != "manifest.json" else b""))
    with listen(component, tmp_path / "model") as container:
        ended = container.ended(60)

    assert ended.code == 3, ended.said
    assert "Traceback" not in ended.said


def test_an_empty_model_folder_ends_the_process(component: str, listen: Callable[..., Any], tmp_path: Path) -> None:
    with listen(component, tmp_path) as container:
        ended = container.ended(60)

    assert ended.code in (2, 3), ended.said
    assert "Traceback" not in ended.said
