"""The workflows as data, and their steps run as GitHub runs them: by its shell, with the variables they name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

ROOT: Final = Path(__file__).parents[2]
FILES: Final = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEMPLATE: Final = ROOT / "template/.github/workflows/use-case.yml"
SHELL: Final = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
"""What `shell: bash` means on a runner."""


@dataclass(frozen=True)
class Step:
    """One `run:` of a workflow, and where it stands."""

    workflow: str
    job: str
    name: str
    script: str
    variables: frozenset[str]
    """The environment variables that the job and the step set."""


def read(path: Path) -> dict[str, Any]:
    """A YAML file, as YAML 1.2 reads it: `on` is a word."""
    return dict(YAML(typ="safe").load(path.read_text(encoding="utf-8")))


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each job of each workflow of ours, as workflow, name and content."""
    for path in FILES:
        for name, job in read(path)["jobs"].items():
            yield path.name, name, job


def steps() -> list[Step]:
    """Each step that runs a script."""
    return [
        Step(
            workflow,
            job,
            step.get("name", ""),
            step["run"],
            frozenset({**content.get("env", {}), **step.get("env", {})}),
        )
        for workflow, job, content in jobs()
        for step in content.get("steps", [])
        if "run" in step
    ]


def step(workflow: str, name: str, job: str | None = None) -> Step:
    """The one step of a workflow with a name."""
    (found,) = {item for item in steps() if (item.workflow, item.name) == (workflow, name) and job in (None, item.job)}
    return found


def run(wanted: Step, workspace: Path, variables: Mapping[str, str], **given: str) -> subprocess.CompletedProcess[str]:
    """Run a step in a folder, with exactly the variables that the workflow sets, and what a runner or a test adds.

    Args:
        wanted: the step.
        workspace: the folder, which a runner fills with the checkout.
        variables: what the workflow sets, with a test's values.
        given: what the runner sets beside.
    """
    assert set(variables) == set(wanted.variables), f"{wanted.workflow}, {wanted.name}: other variables than the test's"
    environment = {**os.environ, **variables, **given}
    return subprocess.run(
        (*SHELL, wanted.script),
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def fill(workspace: Path, *folders: str) -> Path:
    """Make a folder look like a checkout that has been set up, by links; below `folders` if it is one of several."""
    checkout = workspace.joinpath(*folders)
    checkout.mkdir(parents=True, exist_ok=True)
    for path in ROOT.iterdir():
        if not path.name.startswith(".venv") and path.name != "images.lock.json":
            (checkout / path.name).symlink_to(path)
    for suffix in ("", "-supply-chain"):
        (checkout / f".venv{suffix}").symlink_to(f"{sys.prefix}{suffix}")
    return checkout


def program(folder: Path, name: str, text: str) -> Path:
    """A shell script in the place of a program, which writes the words it is given into `<name>.said`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\nprintf '%s\\n' \"$*\" >>'{folder / name}.said'\n{text}\n")
    path.chmod(0o755)
    return path
