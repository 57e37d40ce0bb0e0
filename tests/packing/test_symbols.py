"""Libraries without what no process loads."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from packing import symbols


@pytest.fixture(scope="module")
def library() -> Path:
    """A compiled module of another package, as its wheel brings it."""
    from pydantic_core import _pydantic_core

    path = Path(_pydantic_core.__file__)
    if not path.read_bytes().startswith(symbols.ELF64_LITTLE):
        pytest.skip("the libraries of this machine are no 64-bit ELF files")
    return path


def test_a_cut_library_does_what_it_did(library: Path, tmp_path: Path) -> None:
    shutil.copytree(library.parent, tmp_path / "pydantic_core", ignore=shutil.ignore_patterns("__pycache__"))
    symbols.main(tmp_path)
    script = "import pydantic_core as p; print(p.SchemaValidator({'type': 'int'}).validate_python('7'), p.__file__)"
    done = subprocess.run(
        (sys.executable, "-c", script), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.split() == ["7", str(tmp_path / "pydantic_core/__init__.py")], done.stderr


def test_a_cut_library_is_a_prefix_but_for_its_section_table(library: Path) -> None:
    before = library.read_bytes()
    after = symbols.cut(before)

    assert len(after) <= len(before)
    assert after[64:] == before[64 : len(after)]
    assert after[:0x28] == before[:0x28]
    assert struct.unpack_from("<QIHHHHHH", after, 0x28)[0] == 0
    assert after[0x3A:0x40] == bytes(6)


def test_cutting_twice_changes_nothing_more(library: Path) -> None:
    once = symbols.cut(library.read_bytes())

    assert symbols.cut(once) == once


def test_symbols_behind_the_segments_go() -> None:
    """One segment of 16 bytes behind the two headers, then symbols, then the table of sections."""
    header = (
        symbols.ELF64_LITTLE + bytes(10) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 200, 0, 64, 56, 1, 64, 2, 1)
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 120, 0, 0, 16, 16, 8)
    loaded, names = b"0123456789abcdef", b"symbols" * 9

    assert symbols.cut(header + segment + loaded + names)[64:] == segment + loaded


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF\x01\x01 32 bits", b"GROUP ( libc.so.6 )"], ids=["empty", "32", "script"]
)
def test_anything_else_stays_as_it_is(data: bytes) -> None:
    assert symbols.cut(data) == data
