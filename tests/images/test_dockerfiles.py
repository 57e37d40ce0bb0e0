"""The Dockerfiles as text: one shape, and a language that the oldest engine we build with understands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

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


def allowed() -> list[PurePosixPath]:
    """The patterns of .dockerignore that let files into a build."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert lines[0] == "*"
    assert all(line.startswith("!") for line in lines[1:])
    return [PurePosixPath(line[1:]) for line in lines[1:]]


def sent(path: str) -> bool:
    """Whether a build gets a file: its folder is named in full, and its name fits a pattern, where * holds no slash."""
    file = PurePosixPath(path)
    return any(file.parent == item.parent and fnmatchcase(file.name, item.name) for item in allowed())


def tracked() -> list[str]:
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [name for name in listed.split("\0") if name]


def test_the_context_names_each_folder_in_full() -> None:
    """Docker 20.10 looks only into folders that a line names as they are; and a line for a folder takes all in it."""
    patterns = allowed()

    assert [item for item in patterns if re.search(r"[*?\[\\!]", str(item.parent))] == []
    assert [item for item in patterns if not re.fullmatch(r"(\*|\w+)\.\w+", item.name)] == []
    assert [item for item in patterns if not (ROOT / item.parent).is_dir()] == []


def test_each_file_that_an_image_is_made_with_is_in_the_context() -> None:
    """A new folder of `shared` or a new kind of file in it wants a line of its own."""
    left_out = re.compile(r".*\.(md|in)|components/[^/]+/(Dockerfile|component\.toml)|components/spec\.py")
    copied = ("components/", "packing/", "shared/")
    wanted = {name for name in tracked() if name.startswith(copied) and not left_out.fullmatch(name)}

    assert wanted
    assert {name for name in tracked() if sent(name)} == wanted | {"requirements/uv.txt", "wheelhouse/README.md"}


def test_a_wheel_is_in_the_context_and_its_folder_without_one_too() -> None:
    """Newer versions of BuildKit send no empty folder, and the Dockerfile's mount wants it."""
    assert sent("wheelhouse/torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl")
    assert sent("wheelhouse/README.md")


@pytest.mark.parametrize(
    "name",
    [
        ".env", ".env.local", ".netrc", ".pytest_cache/README.md", ".git-credentials", "__pycache__/x.cpython-313.pyc",
        "id_rsa", "key.pem", "secret.key", "credentials", "token.json", "notes.txt", "notes.md", "x.py.orig",
        "rows.csv", "new/x.py",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "folder", ["", "shared/", "shared/report/", "components/", "components/processing/", "packing/", "wheelhouse/"]
)
def test_what_somebody_left_in_a_folder_stays_out_of_the_context(folder: str, name: str) -> None:
    assert not sent(folder + name)


def test_what_libraries_write_goes_where_a_read_only_root_lets_them() -> None:
    """All of them below /tmp; Polars, without its variable, spills to /var/tmp (polars-config, spill_path.rs)."""
    (line,) = (line for line in instructions(dockerfile(NAMES[0])) if line.startswith("ENV PATH="))
    set_to = dict(re.findall(r"(\w+)=(\S+)", line))
    folders = {"HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "POLARS_OOC_SPILL_DIR"}

    assert {name: set_to[name] for name in folders if not re.match(r"/tmp(/|$)", set_to[name])} == {}


def test_polars_spills_where_the_variable_says(tmp_path: Path) -> None:
    """It keeps quiet on a name that it does not know, and spills elsewhere."""
    script = (
        "import polars as pl; rows = pl.LazyFrame({'a': range(300_000)}); "
        "rows.sort('a', descending=True).collect(engine='streaming')"
    )
    variables = {"POLARS_OOC_SPILL_DIR": str(tmp_path / "new" / "polars"), "POLARS_OOC_MEMORY_BUDGET_MB": "1"}
    always = {"POLARS_OOC_SPILL_MIN_BYTES": "1", "POLARS_MAX_THREADS": "2"}
    subprocess.run((sys.executable, "-c", script), env={**os.environ, **variables, **always}, check=True, timeout=60)

    assert list((tmp_path / "new" / "polars").iterdir())
