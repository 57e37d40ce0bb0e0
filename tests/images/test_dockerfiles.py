"""The Dockerfiles as text: one shape, and a language that the oldest engine we build with understands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import build
from components.spec import BASE, NAMES, specs

ROOT = Path(__file__).parents[2]

NEWER = {
    "a syntax line, which fetches a frontend from a registry": r"^#\s*(syntax|escape|check)\s*=",
    "a here-document": r"<<-?\s*['\"]?[A-Za-z_]",
    "COPY --link, --parents or --exclude": r"^(COPY|ADD)\b.*--(link|parents|exclude)\b",
    "ADD from an address": r"^ADD\b.*(https?:|git@)",
    "RUN --network or --security": r"^RUN\b.*--(network|security)\b",
    "a variable in a mount": r"--mount=\S*\$",
    "a secret as a variable": r"--mount=type=secret\S*env=",
    "a bash expansion in a variable": r"^(?!RUN).*\$\{\w+(%|#|/|\^|,)",
    "HEALTHCHECK, which SageMaker does not read": r"^HEALTHCHECK\b",
    "a base by digest in the file": r"^(FROM|ARG)\b.*@sha256:",
}
"""What Docker 20.10 does not build, or what does not build offline, as a regular expression on an instruction."""


def dockerfile(component: str) -> str:
    return (ROOT / "components" / component / "Dockerfile").read_text()


def instructions(text: str) -> list[str]:
    """Each instruction on one line, without comments."""
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [line for line in re.sub(r"\\\n\s*", " ", code).splitlines() if line]


@pytest.mark.parametrize("component", NAMES)
def test_the_four_differ_by_the_components_name_alone(component: str) -> None:
    first = dockerfile(NAMES[0])

    assert dockerfile(component) == first.replace(NAMES[0], component)


@pytest.mark.parametrize(("what", "pattern"), NEWER.items(), ids=list(NEWER))
def test_it_keeps_to_the_language_of_docker_20(what: str, pattern: str) -> None:
    text = dockerfile(NAMES[0])
    # The first lines alone can be directives.
    lines = instructions(text) + text.splitlines()[:1]

    assert [line for line in lines if re.search(pattern, line)] == [], what


def test_its_default_base_is_the_declared_one() -> None:
    assert f"ARG BASE_IMAGE={BASE}" in instructions(dockerfile(NAMES[0]))


def test_the_base_that_is_made_here_is_the_declared_one_too() -> None:
    assert f"set -- {BASE}\n" in (ROOT / "engine/base").read_text()


def test_its_arguments_are_those_that_the_builder_gives() -> None:
    declared = {match[1] for match in re.finditer(r"^ARG (\w+)", dockerfile(NAMES[0]), flags=re.MULTILINE)}
    given = {
        name
        for spec in specs().values()
        for image in build.images({spec.name: spec})
        for name in build.build_arguments(image, "1", "abc", [], "")
    }

    assert declared == given


def test_it_installs_with_hashes_and_asks_no_package_manager_of_the_base() -> None:
    text = "\n".join(instructions(dockerfile(NAMES[0])))

    assert text.count("--require-hashes") == 2
    assert not re.search(r"\b(apt-get|apt|apk|dnf|yum|curl|wget)\b", text)


def test_what_changes_with_each_commit_comes_last() -> None:
    lines = instructions(dockerfile(NAMES[0]))
    first = next(index for index, line in enumerate(lines) if line.startswith("ARG REVISION"))

    assert {line.split()[0] for line in lines[first:]} <= {"ARG", "LABEL"}


def test_the_context_is_named_by_whole_folders() -> None:
    """Docker 20.10 takes no pattern after a `!`."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    taken = [line for line in lines if line.startswith("!")]

    assert lines[0] == "*"
    assert all(re.fullmatch(r"!\w+", line) and (ROOT / line[1:]).is_dir() for line in taken)
