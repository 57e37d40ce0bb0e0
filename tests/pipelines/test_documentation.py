"""The README's table says what the manifest's models say."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from components.spec import NAMES
from pipelines.manifest import Manifest, Part, known_keys

README = Path(__file__).parents[2] / "pipelines/README.md"
ROW = re.compile(r"^\| `([^`]+)` \| (.*?) ?\| .*\|$", re.MULTILINE)


def declared(part: type[Part], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every leaf of the manifest by its path; names that a user chooses as <name>, items of a list as []."""
    for name, info in part.model_fields.items():
        key = f"{path}{info.alias or name}"
        below, mark = nested(info.annotation)
        if below is None:
            yield key, info
        else:
            yield from declared(below, f"{key}{mark}.")


def nested(annotation: Any) -> tuple[type[Part] | None, str]:
    """The Part inside an annotation, and how a path goes through what holds it."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation, ""
    marks: dict[Any, str] = {dict: ".<name>", tuple: "[]"}
    for inner in typing.get_args(annotation):
        found, _ = nested(inner)
        if found is not None:
            return found, marks.get(typing.get_origin(annotation), "")
    return None, ""


def manifest_keys() -> dict[str, FieldInfo]:
    """The leaves, the four components written as one."""
    pattern = re.compile(rf"^components\.({'|'.join(NAMES)})\.")
    return {pattern.sub("components.<name>.", key): info for key, info in declared(Manifest)}


@pytest.fixture(scope="module")
def table() -> dict[str, str]:
    section = README.read_text(encoding="utf-8").partition("## The manifest\n")[2]
    return {key: default.strip("` ") for key, default in ROW.findall(section)}


def test_the_table_has_every_key_and_no_other(table: dict[str, str]) -> None:
    assert sorted(table) == sorted(manifest_keys())


def test_the_table_has_every_default(table: dict[str, str]) -> None:
    words = {"86400": "24h", "True": "true", "False": "false", str(NAMES): "all four", "None": "", "()": "", "{}": ""}
    for key, info in manifest_keys().items():
        default = str(info.get_default(call_default_factory=True))
        wanted = "required" if info.is_required() else words.get(default, default)
        assert (key, table[key]) == (key, wanted)


def test_the_topic_s_policy_admits_whoever_tells() -> None:
    """EventBridge publishes of its rule, CloudWatch of its alarms, and both only as what the stack makes."""
    text = (README.parents[1] / "docs/templates.md").read_text(encoding="utf-8")
    statement = json.loads(text.partition("```json\n")[2].partition("```")[0])

    assert statement["Principal"]["Service"] == ["events.amazonaws.com", "cloudwatch.amazonaws.com"]
    assert statement["Action"] == "sns:Publish"
    sources = statement["Condition"]["ArnLike"]["aws:SourceArn"]
    assert [source.split(":", 2)[2].split(":")[0] for source in sources] == ["events", "cloudwatch"]


def test_known_keys_follow_lists_mappings_and_optional_parts() -> None:
    assert known_keys(("pipelines", "training", "gates", 0)) == ["metric", "step", "min", "max"]
    assert known_keys(("environments", "prod")) == ["region", "storage", "role", "defaults", "gates_required"]
    assert known_keys(("drift", "with")) == ["periods", "data.train"]
    assert known_keys(("components", "algorithm", "settings")) == []
