"""Files are whole or absent."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shared.errors import DataError
from shared.files import is_full, json_text, read_json, replacing, write_json


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)

    def fail_half_way() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()

    assert path.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": value})

    assert list(tmp_path.iterdir()) == []


def test_the_order_of_keys_does_not_change_the_bytes() -> None:
    assert json_text({"b": 1, "a": 2}) == json_text({"a": 2, "b": 1})


@pytest.mark.parametrize(("content", "said"), [(None, "does not exist"), (b"{", "is no JSON"), (b"\xff", "is no JSON")])
def test_a_json_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=said):
        read_json(path, "labels")


def test_a_json_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    """A folder in its place, because root may read every file."""
    with pytest.raises(DataError, match=r"^model \S+ cannot be read: Is a directory\. Let the"):
        read_json(tmp_path, "model")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        # Polars 2.1 writing CSV or Arrow, and writing Parquet; XGBoost 3.4 writing a model.
        OSError("No space left on device (os error 28)"),
        RuntimeError("parquet: File out of specification: underlying IO error: No space left on device (os error 28)"),
        ValueError("Check failed: std::fwrite(ptr, 1, size, fp_) == size: FileStream.Write incomplete"),
    ],
    ids=str,
)
def test_a_full_disk_is_known_by_its_number_or_in_the_words_of_a_library(error: Exception) -> None:
    assert is_full(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no such file"),
        ValueError("os error 28"),
        DataError("a.csv cannot be read: No space left on device (os error 28)."),
    ],
    ids=str,
)
def test_another_error_is_no_full_disk(error: Exception) -> None:
    assert not is_full(error)
