"""Where a release comes from."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.ledger import Entry, LocalLedger
from pipelines.lineage import ancestry, origin, tree
from pipelines.releases import Release, current_release
from pipelines.storage import Storage
from shared.errors import ArtefactError, SettingsError


@pytest.fixture(scope="module")
def line(lasting_toy: Any) -> list[Entry]:
    """The release of a retraining, and the one before it."""
    asyncio.run(lasting_toy.runner().both(()))
    return ancestry(LocalLedger(lasting_toy.storage), current_release(lasting_toy.storage))


def test_the_line_goes_from_parent_to_parent_up_to_the_first(line: list[Entry]) -> None:
    assert [release.id for release in line] == ["r1-drift-p4", "r1"]


def test_a_release_traces_to_the_digests_of_its_data_and_settings(line: list[Entry], lasting_toy: Any) -> None:
    traced = origin(line[-1])

    raw = (lasting_toy.folder / "raw/train/p1.csv").read_bytes()
    assert traced["data"]["sha256"]["p1.csv"] == hashlib.sha256(raw).hexdigest()
    assert set(traced["settings"]) == {"processing", "algorithm", "monitoring", "explainability"}
    assert traced["manifest"]["sha256"] == hashlib.sha256(lasting_toy.path.read_bytes()).hexdigest()
    assert json.loads(json.dumps(traced)) == traced


def test_the_tree_tells_parts_data_and_causes(line: list[Entry]) -> None:
    text = list(tree(line))

    assert text[0].startswith("r1-drift-p4  ")
    assert text[0].endswith("after drift of p4")
    parent = next(index for index, row in enumerate(text) if "└─ r1 " in row)
    assert text[parent].endswith("by command")
    digest = line[0].content["parts"]["model"]["digest"]
    assert any(f"model      {digest[:16]}  training/r1-drift-p4/algorithm/output/model.tar.gz" in row for row in text)
    assert any("p3, p4" in row for row in text[:parent])
    assert any("p1, p2" in row for row in text[parent:])


def test_a_parent_that_is_gone_is_told(line: list[Entry], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="release 'r1-drift-p4' names its parent, but release 'r1' does not exist"):
        ancestry(LocalLedger(Storage(tmp_path)), line[0])


@pytest.mark.parametrize("lacking", ["parent", "data", "manifest"])
def test_a_release_that_does_not_say_where_it_comes_from_is_told(
    line: list[Entry], tmp_path: Path, lacking: str
) -> None:
    content = {key: value for key, value in line[0].content.items() if key != lacking}

    with pytest.raises(ArtefactError, match=f"release 'r' has no usable {lacking}"):
        ancestry(LocalLedger(Storage(tmp_path)), Release(tmp_path / "r.json", content))
