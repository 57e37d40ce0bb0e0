"""Facts about the repository as a whole: what it may not hold, and what has to agree with what."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmarks", "components", "pipelines", "shared")
COMPONENTS = ("algorithm", "explainability", "monitoring", "processing")
SHAPE = (
    "README.md",
    "__init__.py",
    "__main__.py",
    "component.py",
    "component.toml",
    "requirements",
    "sample.py",
    "serve.py",
    "settings.py",
    "train.py",
)
"""What each component's folder holds, beside its modules of arithmetic."""

LARGEST = 1_000_000
"""Bytes that one committed file may have."""

APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # pragma: allowlist secret
"""SHA-256 of the licence's text as the Apache Software Foundation publishes it."""

# In parts, so that this file does not hold what it looks for.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("registry", "npmjs", "org"),
    )
)
MACHINE_PATH = re.compile(r"(?<![\w.*])/(home|Users|root|work|farm|tmp/s|opt/wheels|opt/pypi)[/-][\w.]")
UNSAFE = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
"""Modules that run code from the data they read."""

HEAVY = {"pandas", "scipy", "sklearn", "torch", "treelite", "woodelf", "xgboost"}
"""Packages that cost a command that does not need them its quick answer."""


@pytest.fixture(scope="module")
def committed() -> list[Path]:
    """The files that are, or would be, committed."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout: nothing tells which files are committed")
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def locks() -> list[Path]:
    """Each lock file: all of requirements/ but the one that says why it has no hash."""
    found = [*(ROOT / "requirements").glob("*.txt"), *(ROOT / "components").glob("*/requirements/*.txt")]
    return sorted(path for path in found if path != ROOT / "requirements/torch-cpu.txt")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def requirements(path: Path) -> list[Requirement]:
    """The requirements of an .in or .txt file, without their hashes."""
    text = path.read_text().replace("\\\n", " ")
    lines = [re.split(r"(?:^|\s)#|\s--hash", line)[0].strip() for line in text.splitlines()]
    return [Requirement(line) for line in lines if line]


def pins(path: Path) -> dict[str, set[str]]:
    """Name to the versions that a lock file pins, more than one where markers part them."""
    found: dict[str, set[str]] = {}
    for requirement in requirements(path):
        found.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    return found


def specification(component: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "components" / component / "component.toml").read_text())


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def targets() -> set[str]:
    """The Makefile's targets that carry a line of help."""
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


# --- What the repository may not hold


def test_no_file_names_a_package_registry(committed: list[Path]) -> None:
    found = [relative(path) for path in committed for host in REGISTRY_HOSTS if host.encode() in path.read_bytes()]

    assert found == []


def test_no_file_carries_a_path_of_somebodys_machine(committed: list[Path]) -> None:
    found = [relative(path) for path in committed if MACHINE_PATH.search(path.read_text(errors="replace"))]

    assert found == []


def test_no_file_is_over_a_megabyte(committed: list[Path]) -> None:
    assert [relative(path) for path in committed if path.stat().st_size > LARGEST] == []


def test_nothing_reads_a_format_that_runs_code() -> None:
    found = [(relative(path), name) for path in modules() for name in _imported(path) & UNSAFE]

    assert found == []


# --- Code


@pytest.mark.parametrize("folder", sorted({path.parent for path in modules()}), ids=relative)
def test_a_package_says_what_it_is(folder: Path) -> None:
    source = folder / "__init__.py"

    assert source.is_file(), f"{relative(folder)} has no __init__.py"
    assert ast.get_docstring(ast.parse(source.read_text())), f"{relative(source)} has no docstring"


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_has_the_shape_of_the_other_three(component: str) -> None:
    folder = ROOT / "components" / component

    assert [name for name in SHAPE if not (folder / name).exists()] == []


def test_there_are_four_components() -> None:
    folders = {path.parent.name for path in (ROOT / "components").glob("*/component.py")}

    assert folders == set(COMPONENTS)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_specification_has_the_keys_of_the_other_three(component: str) -> None:
    found = specification(component)

    assert set(found) == {"name", "summary", "train", "serve", "variants"}
    assert found["name"] == component
    for mode in (found["train"], found["serve"]):
        assert (
            {"job", "inputs", "outputs"}
            <= set(mode)
            <= {
                "job",
                "inputs",
                "optional_inputs",
                "outputs",
                "optional_outputs",
            }
        )


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_variant_has_its_lock_and_each_lock_its_variant(component: str) -> None:
    folder = ROOT / "components" / component
    variants = specification(component)["variants"].values()
    named = {variant["requirements"] for variant in variants if "left_out" not in variant}

    assert named == {path.relative_to(folder).as_posix() for path in folder.glob("requirements/*.txt")}


def test_the_import_rules_hold() -> None:
    command = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    result = subprocess.run(
        (sys.executable, "-c", command, "--no-cache"), cwd=ROOT, capture_output=True, check=False, text=True
    )

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_starts_without_its_heavy_packages(component: str) -> None:
    """Help, a settings error and a cold start need no arithmetic."""
    command = f"import sys, components.{component}.component; print(*sorted(sys.modules))"
    result = subprocess.run((sys.executable, "-c", command), cwd=ROOT, capture_output=True, check=False, text=True)

    assert result.returncode == 0, result.stderr
    assert HEAVY & set(result.stdout.split()) == set()


# --- Requirements


@pytest.mark.parametrize("path", locks(), ids=relative)
def test_a_lock_file_pins_and_hashes_each_line_and_names_no_address(path: Path) -> None:
    text = path.read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.lstrip().startswith("#")]

    assert "://" not in text
    assert lines
    assert [line for line in lines if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []


@pytest.mark.parametrize("path", locks(), ids=relative)
def test_a_lock_file_is_as_new_as_what_it_locks(path: Path) -> None:
    """Each requirement of its .in files is pinned, to versions that the requirement admits: else, `make lock`."""
    sources = re.findall(r"-r (\S+\.in)", path.read_text())
    own = path.with_suffix(".in")
    wanted = [
        requirement
        for name in {*sources, *([relative(own)] if own.exists() else [])}
        for requirement in requirements(ROOT / name)
    ]
    pinned = pins(path)

    assert wanted
    for requirement in wanted:
        versions = [pin.removeprefix("==") for pin in pinned.get(canonicalize_name(requirement.name), ())]
        assert versions, f"{relative(path)} does not pin {requirement.name}"
        assert all(requirement.specifier.contains(version) for version in versions), f"{relative(path)}: {requirement}"


def test_all_locks_pin_the_same_versions() -> None:
    """What one component writes another reads: a model is explained by the library that trained it."""
    runtime = pins(ROOT / "requirements/demo.txt")
    apart = [
        (relative(path), name, versions, runtime[name])
        for path in locks()
        for name, versions in pins(path).items()
        if name in runtime and not versions <= runtime[name]
    ]

    assert apart == []


def test_each_component_is_an_extra() -> None:
    """Declared once: the metadata reads the .in files that the locks are made from."""
    extras = project()["tool"]["setuptools"]["dynamic"]["optional-dependencies"]

    assert set(extras) == {*COMPONENTS, "dev", "flights", "pipelines", "torch"}
    assert [name for extra in extras.values() for name in extra["file"] if not (ROOT / name).is_file()] == []


def test_the_torch_that_is_installed_is_the_torch_of_the_extra() -> None:
    (wanted,) = requirements(ROOT / "requirements/torch.in")
    installed = requirements(ROOT / "requirements/torch-cpu.txt")

    assert {requirement.name for requirement in installed} == {wanted.name}
    assert {str(requirement.specifier).partition("+")[0] for requirement in installed} == {str(wanted.specifier)}


@pytest.mark.torch
def test_the_torch_lock_names_all_that_torch_asks_for() -> None:
    """Torch is installed without its dependencies, which the lock therefore has to name."""
    asked = [Requirement(line) for line in importlib.metadata.requires("torch") or ()]
    pinned = pins(ROOT / "components/algorithm/requirements/torch-cpu.txt")

    for requirement in asked:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            versions = [pin.removeprefix("==") for pin in pinned[canonicalize_name(requirement.name)]]
            assert all(requirement.specifier.contains(version) for version in versions), f"torch asks for {requirement}"


# --- Documents


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_a_document_names_only_commands_that_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    fenced = "\n".join(re.findall(r"^```.*?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    named = {
        *re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE),
        *re.findall(r"^make ([a-z-]+)", fenced, re.MULTILINE),
    }

    assert named
    assert named - targets() == set()


def test_make_alone_lists_each_target() -> None:
    listed = subprocess.run(("make",), cwd=ROOT, capture_output=True, check=True, text=True).stdout
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)

    assert declared
    assert set(declared[1].split()) == targets()
    assert set(re.findall(r"make ([a-z-]+)", listed)) == targets()


def test_the_changelog_tells_of_this_version() -> None:
    version = project()["project"]["version"]

    assert re.search(rf"^## \[{re.escape(version)}\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


def test_the_licence_is_apache_2() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2
    assert project()["project"]["license"] == "Apache-2.0"


def _imported(path: Path) -> set[str]:
    """The top-level modules that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | named}
