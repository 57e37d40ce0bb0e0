"""Bytecode in a tree of its own, which a process takes instead of compiling."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        (sys.executable, *arguments), env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout


def bytecode(*arguments: str, **environment: str) -> str:
    return python(str(ROOT / "packing/bytecode.py"), *arguments, **environment)


def test_what_was_imported_is_compiled_with_pythons_own_modules(tmp_path: Path) -> None:
    bytecode(str(tmp_path), "--import", "tomllib", "no_such_module")
    found = {path.name.split(".")[0] for path in tmp_path.rglob("*.pyc")}

    assert {"_parser", "_types"} <= found
    assert "bytecode" not in found


def test_a_folder_is_compiled_whole_and_the_tree_is_used(tmp_path: Path) -> None:
    """The source has changed without the tree, so what runs tells which of the two was read."""
    source = tmp_path / "program/toy.py"
    source.parent.mkdir()
    source.write_text("print('compiled')\n")
    bytecode(str(tmp_path / "tree"), "--folder", str(source.parent))
    source.write_text("print('source')\n")
    said = python("-c", "import toy", PYTHONPATH=str(source.parent), PYTHONPYCACHEPREFIX=str(tmp_path / "tree"))

    assert said == "compiled\n"


def test_the_bytes_do_not_tell_when_they_were_made(tmp_path: Path) -> None:
    source = tmp_path / "program/toy.py"
    source.parent.mkdir()
    source.write_text("VALUE = 1\n")
    trees = []
    for number in range(2):
        os.utime(source, (number, number))
        bytecode(str(tmp_path / f"tree{number}"), "--folder", str(source.parent))
        (made,) = (tmp_path / f"tree{number}").rglob("*.pyc")
        trees.append(made.read_bytes())

    assert trees[0] == trees[1]
