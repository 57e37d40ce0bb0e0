"""Archives as SageMaker packs them, and the same for the same files."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from pipelines.local.archives import member, pack, unpack
from shared.errors import ArtefactError


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_files_lie_at_the_archives_root_and_come_back(tmp_path: Path) -> None:
    pack(folder_with(tmp_path / "model", "model.ubj", "sub/deep.json"), tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "again")

    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert tar.getnames() == ["model.ubj", "sub", "sub/deep.json"]
    assert (tmp_path / "again/sub/deep.json").read_text() == "sub/deep.json"
    assert member(tmp_path / "model.tar.gz", "model.ubj") == b"model.ubj"
    assert member(tmp_path / "model.tar.gz", "absent") is None


def test_times_owners_and_order_of_creation_change_no_byte(tmp_path: Path) -> None:
    one = folder_with(tmp_path / "one", "a", "b", "c/d")
    two = folder_with(tmp_path / "two", "c/d", "b", "a")
    os.utime(two / "a", (1, 1))
    (two / "b").chmod(0o600)
    pack(one, tmp_path / "one.tar.gz")
    pack(two, tmp_path / "two.tar.gz")

    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_links_are_left_out(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "model", "a")
    (folder / "link").symlink_to("a")
    pack(folder, tmp_path / "model.tar.gz")

    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert tar.getnames() == ["a"]


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("../outside")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))

    with pytest.raises(ArtefactError, match="cannot be unpacked"):
        unpack(tmp_path / "evil.tar.gz", tmp_path / "inside")
    assert not (tmp_path / "outside").exists()


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"no archive")

    with pytest.raises(ArtefactError, match="cannot be unpacked"):
        member(tmp_path / "model.tar.gz", "manifest.json")
