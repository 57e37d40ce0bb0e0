"""Artefacts: sealed, verified, refused when anything is off."""

from __future__ import annotations

import io
import json
import random
import tarfile
import tempfile
from pathlib import Path

import polars as pl
import pytest

from shared.artefact import FORMAT, Golden, open_artefact, write_artefact
from shared.errors import ArtefactError
from shared.schema import Column, Schema

SCHEMA = Schema((Column("id", "text"), Column("x", "number"), Column("late", "integer")), ("id",), "late")
GOLDEN = Golden({"id": ["a", "b"], "x": [1.5, None]}, {"y": [3.0, 0.0]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/state.json").write_text("{}\n")
    seal(tmp_path / "state")
    return tmp_path / "state"


def seal(folder: Path) -> str:
    return write_artefact(
        folder, component="processing", schema=SCHEMA, settings={"eta": 0.1}, libraries=["polars"], golden=GOLDEN
    )


def doubled(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(y=(pl.col("x") * 2).fill_null(0.0))


def edited(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_was_sealed_is_opened(folder: Path) -> None:
    found = open_artefact(folder, "processing", "state")

    assert found.schema == SCHEMA
    assert found.settings == {"eta": 0.1}
    assert found.versions == {"polars": pl.__version__}
    assert found.golden == GOLDEN


def test_the_digest_is_that_of_the_manifest_and_the_same_each_time(folder: Path) -> None:
    assert open_artefact(folder, "processing", "state").digest == seal(folder) == seal(folder)


def test_a_changed_file_is_refused(folder: Path) -> None:
    (folder / "state.json").write_text("{ }\n")

    with pytest.raises(ArtefactError, match=r"'state.json' is not the one that was written"):
        open_artefact(folder, "processing", "state")


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "state.json").unlink()

    with pytest.raises(ArtefactError, match=r"lacks its file 'state.json'"):
        open_artefact(folder, "processing", "state")


def test_files_beside_the_artefact_do_no_harm(folder: Path) -> None:
    """SageMaker's local mode leaves model.tar.gz in the folder."""
    (folder / "model.tar.gz").write_bytes(b"x")

    assert open_artefact(folder, "processing", "state").component == "processing"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": FORMAT - 1}, "older than the format"),
        ({"format": FORMAT + 1}, "newer than the format"),
        ({"component": "monitoring"}, "made by 'monitoring', wanted one of 'processing'"),
        ({"files": {"../../etc/passwd": "0"}}, "lies outside"),
        ({"files": {"/etc/passwd": "0"}}, "lies outside"),
        ({"files": None}, "cannot be read"),
        (
            {"schema": {"columns": [{"name": "x", "type": "pickle"}], "ids": [], "target": None}},
            "schema cannot be read",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder: Path, changes: dict[str, object], said: str) -> None:
    edited(folder, **changes)

    with pytest.raises(ArtefactError, match=said):
        open_artefact(folder, "processing", "state")


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"holds no manifest.json"):
        open_artefact(tmp_path, "processing", "state")


def test_a_model_archive_is_unpacked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    with tarfile.open(tmp_path / "input/model.tar.gz", "w:gz") as tar:
        for path in folder.iterdir():
            tar.add(path, path.name)

    found = open_artefact(tmp_path / "input", "processing", "model")

    assert found.file("state.json").read_text() == "{}\n"


def test_an_archive_that_writes_outside_its_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("../evil")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))

    with pytest.raises(ArtefactError, match="cannot be unpacked"):
        open_artefact(tmp_path, "processing", "model")
    assert not (tmp_path.parent / "evil").exists()


def damaged(folder: Path, how: str) -> bytes:
    """An archive of the folder that is no gzip, was cut short, or was overwritten in its middle."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(folder, ".")
        entry = tarfile.TarInfo("more")
        entry.size = 100_000
        tar.addfile(entry, io.BytesIO(random.Random(0).randbytes(entry.size)))
    whole = stream.getvalue()
    half = len(whole) // 2
    return {
        "no gzip": b"\x1f\x8bnot really",
        "empty": b"",
        "cut": whole[:half],
        "overwritten": whole[:20] + b"\xff" * 500 + whole[520:],
    }[how]


@pytest.mark.parametrize("how", ["no gzip", "empty", "cut", "overwritten"])
def test_a_damaged_archive_is_refused_and_nothing_of_it_is_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (tmp_path / "model.tar.gz").write_bytes(damaged(folder, how))
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "room"))

    with pytest.raises(ArtefactError, match="cannot be unpacked"):
        open_artefact(tmp_path, "processing", "model")
    assert not list((tmp_path / "room").iterdir())


def test_the_golden_batch_is_reproduced(folder: Path) -> None:
    open_artefact(folder, "processing", "state").check_golden(doubled)


def test_another_answer_to_the_golden_batch_is_refused(folder: Path) -> None:
    artefact = open_artefact(folder, "processing", "state")

    with pytest.raises(ArtefactError, match=r"gives 'y' = 3.1 for row 0 .* gave 3.0 when it was made with polars"):
        artefact.check_golden(lambda table: doubled(table) + 0.1)


def test_a_missing_answer_is_not_taken_for_a_number(folder: Path) -> None:
    artefact = open_artefact(folder, "processing", "state")

    with pytest.raises(ArtefactError, match="gives 'y' = None"):
        artefact.check_golden(lambda table: table.select(y=pl.col("x") * 2))
