"""Source that formatters leave alone and Python reads back."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.airflow.literals import Call, Code, assignment, literal, text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=12,
)


@given(VALUES, st.integers(0, 12))
def test_python_reads_the_value_back(value: Any, indent: int) -> None:
    assert ast.literal_eval(literal(value, indent * 4)) == value


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("plain", '"plain"'),
        ('["logloss", "auc"]', '\'["logloss", "auc"]\''),
        ("it's", '"it\'s"'),
        ("a\nb", '"a\\nb"'),
        ("Zürich", '"Zürich"'),
    ],
)
def test_a_text_stands_in_the_quotes_that_need_fewer_backslashes(value: str, source: str) -> None:
    assert text(value) == source


def test_code_stands_as_it_is() -> None:
    assert literal({"name": Code('f"{USE_CASE}-{RUN}"')}) == '{"name": f"{USE_CASE}-{RUN}"}'


def test_a_call_that_fits_stands_in_one_line_and_a_tall_one_never() -> None:
    arguments: dict[str, Any] = {"fallback": 30}

    assert literal(Call("conf.get", ["a"], arguments, ["MORE"])) == 'conf.get("a", fallback=30, **MORE)'
    assert literal(Call("f", ["a"], arguments, tall=True)) == 'f(\n    "a",\n    fallback=30,\n)'


def test_an_image_is_parted_before_its_digest() -> None:
    uri = f"{'1' * 12}.dkr.ecr.eu-west-1.amazonaws.com/quartet/processing@sha256:{'a' * 64}"

    assert assignment("IMAGE", uri).splitlines() == [
        "IMAGE = (",
        f'    "{uri.partition("@")[0]}"',
        f'    "@sha256:{"a" * 64}"',
        ")",
    ]


def test_formatters_and_linters_have_nothing_to_change(tmp_path: Path) -> None:
    value = {
        "short": [1, True, None, "x"],
        "long": ["word"] * 30,
        "longer": {"key": ["a" * 60, {"deep": "b" * 60}]},
        "quotes": '{"a": "b"}',
        "text": "w " * 80,
        "call": Call("f", ["a" * 100], {"key": "b" * 40}),
        "nothing": {},
    }
    path = tmp_path / "made.py"
    path.write_text(f"def f(*a, **b):\n    return a, b\n\n\nVALUE = {literal(value, 0, 8)}\n")
    ruff = (sys.executable, "-m", "ruff")
    options = ("--isolated", "--line-length=120", str(path))

    for command in (("format", "--check"), ("check", "--select=E,F,W")):
        done = subprocess.run((*ruff, *command, *options), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
