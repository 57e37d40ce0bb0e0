"""Cutting objects into requests, as Batch Transform does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.carrier.cutting import (
    Cutting,
    Payload,
    TransformError,
    checked,
    cutting,
    payloads,
    record_count,
    transformed,
)


def lines(text: bytes) -> list[bytes]:
    return text.splitlines(keepends=True)


def request(**said: Any) -> dict[str, Any]:
    return {"TransformInput": {"SplitType": "Line"}, "TransformOutput": {"AssembleWith": "None"}} | said


def test_records_are_gathered_up_to_the_payload_limit() -> None:
    record = b"x" * 400_000 + b"\n"
    found = list(payloads([record] * 5, Cutting(payload_mb=1)))

    assert [payload.records for payload in found] == [2, 2, 1]


def test_single_record_is_one_record_a_request() -> None:
    found = list(payloads(lines(b"a\nb\nc\n"), Cutting(strategy="SingleRecord")))

    assert found == [Payload(b"a\n", 1), Payload(b"b\n", 1), Payload(b"c\n", 1)]


def test_empty_lines_are_no_records_and_the_last_line_needs_no_end() -> None:
    assert list(payloads(lines(b"\na\n\n \nb"), Cutting())) == [Payload(b"a\nb\n", 2)]


def test_an_empty_object_makes_no_request() -> None:
    assert list(payloads([], Cutting())) == []


def test_a_record_larger_than_a_request_is_refused_with_its_line() -> None:
    with pytest.raises(TransformError, match="line 2 has 1,048,578 bytes, more than a request of 1 MB") as caught:
        list(payloads([b"a\n", b"x" * 1_048_577 + b"\n"], Cutting(payload_mb=1)))
    assert caught.value.exit_code == 3


@given(st.lists(st.integers(0, 400_000).map(lambda size: b"x" * size), max_size=12))
def test_no_record_is_lost_split_or_moved(records: list[bytes]) -> None:
    cut = Cutting(payload_mb=1)
    found = list(payloads([record + b"\n" for record in records], cut))

    kept = [record + b"\n" for record in records if record.strip()]
    assert b"".join(payload.body for payload in found) == b"".join(kept)
    assert sum(payload.records for payload in found) == len(kept)
    assert all(len(payload.body) <= cut.payload for payload in found)


def test_the_request_wins_over_the_containers_answer_and_that_over_the_defaults() -> None:
    answered = {"BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 2}

    assert cutting(request(), {}) == Cutting("MultiRecord", 6, 1)
    assert cutting(request(), answered) == Cutting("SingleRecord", 2, 1)
    said = request(BatchStrategy="MultiRecord", MaxConcurrentTransforms=3)
    assert cutting(said, answered) == Cutting("MultiRecord", 2, 3)


def test_answers_are_counted_without_empty_lines() -> None:
    assert record_count(b"0.1\n0.2\n\n") == 2
    assert checked(Payload(b"a\nb\n", 2), b"0.1\n0.2") == b"0.1\n0.2"
    with pytest.raises(TransformError, match="2 records were sent and 3 came back"):
        checked(Payload(b"a\nb\n", 2), b"1\n2\n3\n")


class LateFirst:
    """A server that answers the first record only after the second and third."""

    def __init__(self) -> None:
        self.later = {b"b\n": Event(), b"c\n": Event()}

    def post(self, payload: Payload) -> bytes:
        if payload.body == b"a\n":
            assert all(event.wait(10) for event in self.later.values())
        elif payload.body in self.later:
            self.later[payload.body].set()
        return payload.body.upper()


def test_answers_are_written_in_the_order_of_the_records_whichever_comes_first(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a\nb\nc\nd\ne\n")
    cut = Cutting(strategy="SingleRecord", concurrency=3)

    with ThreadPoolExecutor(3) as pool:
        done = list(transformed(tmp_path / "x.csv", tmp_path / "x.out", LateFirst().post, cut, pool))

    assert (tmp_path / "x.out").read_bytes() == b"A\nB\nC\nD\nE\n"
    assert done == [(1, 2)] * 5
