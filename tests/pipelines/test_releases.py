"""Releases and the pointer to the one in use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.releases import (
    GateError,
    Release,
    all_releases,
    current_id,
    current_release,
    history,
    promote,
    read_release,
    rollback,
    write_release,
)
from pipelines.storage import Storage
from shared.errors import ArtefactError, DataError, SettingsError

CONTENT = {
    "apiVersion": "quartet/v1",
    "name": "toy",
    "created": "2024-01-31T04:00:00Z",
    "parent": None,
    "manifest": {"sha256": "0"},
    "revision": None,
    "versions": {},
    "data": {"uri": "train.csv", "periods": []},
    "parts": {},
}


def released(storage: Storage, name: str, *, met: bool = True, **changes: Any) -> Release:
    gates = [{"metric": "auc", "met": met, "value": 0.7}]
    return write_release(storage, name, {**CONTENT, "gates": gates, **changes})


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def test_the_pointer_is_moved_and_the_history_says_who_when_from_and_to(storage: Storage) -> None:
    promote(storage, released(storage, "one"), "first")
    before = promote(storage, released(storage, "two"), "second")

    moves = history(storage)
    assert before == "one"
    assert current_id(storage) == "two"
    assert [(move["from"], move["to"]) for move in moves] == [(None, "one"), ("one", "two")]
    assert [move["why"] for move in moves] == ["first", "second"]
    assert all(move["by"] and move["at"].endswith("Z") for move in moves)


def test_rolling_back_again_goes_further_back(storage: Storage) -> None:
    for name in ("one", "two", "three"):
        promote(storage, released(storage, name), "")

    assert rollback(storage) == ("three", "two")
    assert rollback(storage) == ("two", "one")
    with pytest.raises(SettingsError, match="no release before 'one'"):
        rollback(storage)


def test_promoting_the_current_release_is_no_move(storage: Storage) -> None:
    one = released(storage, "one")
    promote(storage, one, "")
    promote(storage, one, "")

    assert len(history(storage)) == 1


def test_a_release_whose_gate_is_not_met_is_promoted_by_force_only(storage: Storage) -> None:
    poor = released(storage, "poor", met=False)

    with pytest.raises(GateError, match=r"'poor' does not meet its gates \(auc\)"):
        promote(storage, poor, "")
    promote(storage, poor, "forced", force=True)
    assert current_id(storage) == "poor"


def test_a_release_never_changes(storage: Storage) -> None:
    released(storage, "one")

    with pytest.raises(SettingsError, match="exists already"):
        released(storage, "one")


def test_a_reader_never_sees_half_a_pointer(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(storage, released(storage, "one"), "")
    two = released(storage, "two")

    def torn(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", torn)
    with pytest.raises(OSError, match="full"):
        promote(storage, two, "")
    assert current_id(storage) == "one"
    assert sorted(path.name for path in storage.releases.iterdir()) == [
        ".lock",
        "current",
        "history.jsonl",
        "one.json",
        "two.json",
    ]


def test_no_current_release_says_what_to_do(storage: Storage) -> None:
    with pytest.raises(DataError, match="Run the training pipeline first"):
        current_release(storage)
    released(storage, "one")
    with pytest.raises(DataError, match="Promote one: 'one' is the latest"):
        current_release(storage)


def test_a_misspelt_release_names_the_nearest(storage: Storage) -> None:
    released(storage, "20130501-one")

    with pytest.raises(SettingsError, match="Did you mean '20130501-one'"):
        read_release(storage, "20130501-oen")


def test_a_file_that_is_no_release_is_refused(storage: Storage) -> None:
    write_release(storage, "one", {"apiVersion": "other"})

    with pytest.raises(ArtefactError, match=r"is no quartet/v1 release"):
        read_release(storage, "one")


@pytest.mark.parametrize("name", ["../evil", "", "a/b", ".hidden", "a\n"])
def test_an_id_that_is_a_path_is_no_releases(storage: Storage, name: str) -> None:
    with pytest.raises(SettingsError, match=r"release id is .*, wanted letters"):
        read_release(storage, name)


@pytest.mark.parametrize("content", [b"../evil\n", b"\xff\x00\xfe", b"one\ntwo\n"])
def test_a_pointer_that_holds_no_id_is_refused(storage: Storage, content: bytes) -> None:
    released(storage, "one")
    (storage.releases / "current").write_bytes(content)

    with pytest.raises(ArtefactError, match="wanted a release's id"):
        current_release(storage)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"created": None}, "created"),
        ({"data": {"uri": "x"}}, "data.periods"),
        ({"parts": {"model": {}}}, "parts.model.uri"),
        ({"gates": [{"metric": "auc", "value": 0.7}]}, r"gates\[0\].met"),
        ({"gates": ["auc"]}, r"gates\[0\].metric"),
    ],
)
def test_a_key_that_a_release_lacks_is_named(storage: Storage, changes: dict[str, Any], named: str) -> None:
    released(storage, "one", **changes)

    with pytest.raises(ArtefactError, match=f"one.json has no usable {named}"):
        read_release(storage, "one")


@pytest.mark.parametrize("line", [b"garbage", b"{}", b"[1]", b"\xff", b""])
def test_a_line_of_the_history_that_is_no_move_is_told_with_its_number(storage: Storage, line: bytes) -> None:
    promote(storage, released(storage, "one"), "")
    with (storage.releases / "history.jsonl").open("ab") as stream:
        stream.write(line + b"\n")

    with pytest.raises(ArtefactError, match=r"history\.jsonl:2 is no move"):
        history(storage)


def test_releases_are_in_the_order_of_their_making_not_of_their_names(storage: Storage) -> None:
    released(storage, "a-new-one", created="2024-02-01T00:00:00Z")
    released(storage, "z-old-one", created="2024-01-01T00:00:00Z")

    assert [release.id for release in all_releases(storage)] == ["z-old-one", "a-new-one"]


def test_a_part_that_a_release_lacks_is_named(storage: Storage) -> None:
    with pytest.raises(DataError, match="release 'one' has no 'baseline'"):
        released(storage, "one").uri("baseline")
