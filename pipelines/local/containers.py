"""Containers of jobs: the same job descriptions, run in the components' images by a Docker engine on this machine.

A container sees the folders of its job's `/opt/ml` tree that SageMaker would mount, one by one, on a read-only root
with a `/tmp` of its own. A job has no network; a server has one, and is reached from this machine alone.

The `docker` program does the work: it passes signals on to the container and ends with the container's exit code, so
that a container is stopped and waited for as any other child.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import components
from components.spec import Spec
from pipelines.local.children import INHERITED, Process, Work, child, limits
from pipelines.manifest import Manifest, variant_of
from shared.errors import SettingsError, names

PORT: Final = 8080
"""Where a server in a container listens."""
LABEL: Final = "quartet.job"
"""Marks our containers: `docker ps --filter label=quartet.job` finds what a killed run has left."""


@dataclass(frozen=True)
class Containers:
    """Runs the programs of jobs in containers.

    Attributes:
        found: the identity (`sha256:…`) of each image that this machine has, by its name.
        folder: the checkout, whose revision a release names.
    """

    found: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path(components.__path__[0]).resolve().parent

    def images(self, declared: Mapping[str, str]) -> Mapping[str, str]:
        """What runs: by digest as the manifest names it, else by name and the identity that it has here."""
        return {name: image if "@" in image else f"{image} {self.found[image]}" for name, image in declared.items()}

    def started(self, work: Work) -> Process:
        """The program in a container of its own, which is gone however the block is left."""
        return _container(work)


@contextlib.asynccontextmanager
async def _container(work: Work) -> AsyncIterator[asyncio.subprocess.Process]:
    name = f"{work.name}-{secrets.token_hex(4)}"
    try:
        async with child(command(work, name), os.environ, work.tree, work.log, work.grace) as process:
            yield process
    finally:
        # A killed `docker run` leaves its container behind, and one that ended well has removed it.
        await asyncio.shield(_removed(name))


async def _removed(name: str) -> None:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec("docker", "rm", "--force", name, stdout=quiet, stderr=quiet)
    await process.wait()


def command(work: Work, name: str) -> tuple[str, ...]:
    """The `docker run` of a job, without a shell in between."""
    inherited = {variable: os.environ[variable] for variable in INHERITED if variable in os.environ}
    environment = {**inherited, **limits(work.threads), **work.environment}
    network = ("--network", "none") if work.port is None else ("--publish", f"127.0.0.1:{work.port}:{PORT}")
    options = [
        *("--rm", "--pull", "never", "--name", name, "--label", f"{LABEL}={work.name}"),
        *("--user", f"{os.getuid()}:{os.getgid()}", "--read-only", "--tmpfs", "/tmp"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *network,
    ]
    for variable, value in sorted(environment.items()):
        options += ["--env", f"{variable}={value}"]
    for place, mode in work.mounts.items():
        source = work.tree / Path(place).relative_to("/opt/ml")
        options += ["--mount", f"type=bind,source={source},target={place}{',readonly' if mode == 'ro' else ''}"]
    return ("docker", "run", *options, work.image, *work.arguments)


def images_of(manifest: Manifest, specs: Mapping[str, Spec]) -> dict[str, str]:
    """The image of each component: what the manifest names, else what `build.py build` makes.

    Raises:
        SettingsError: there is no such variant.
    """
    chosen = {}
    for name, spec in specs.items():
        image = manifest.images.get(name)  # type: ignore[call-overload]
        variant = variant_of(manifest, name)
        if image is None and variant not in spec.variants:
            raise SettingsError(f"component {name!r} has no variant {variant!r}. It has {names(spec.variants)}.")
        chosen[name] = image.reference if image else f"quartet/{name}:{variant}"
    return chosen


def here(images: Iterable[str]) -> Containers:
    """Containers of these images.

    Raises:
        SettingsError: no engine answers, or it has not all of them.
    """
    wanted = sorted(set(images))
    try:
        done = subprocess.run(["docker", "image", "inspect", *wanted], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SettingsError("there is no program 'docker' here. Install it, or run with --on process.") from None
    lacking = [image for image in wanted if f"No such image: {image}" in done.stderr]
    if lacking:
        raise SettingsError(
            f"this machine has no image {lacking[0]!r}. Build it with `python build.py build`, or pull it."
        )
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise SettingsError(f"no Docker engine answers: {said}. Start one with engine/start, or run with --on process.")
    return Containers({image: str(item["Id"]) for image, item in zip(wanted, json.loads(done.stdout), strict=True)})
