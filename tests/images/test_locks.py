"""Each lock holds for the processors and Pythons that it is for, also where an image itself is not built here.

The wheels of torch-cuda are 3 GB and those of another processor cannot run: what can be said of them without fetching
them is said, by the hashes that the index names.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import build
from components.spec import specs

ROOT = Path(__file__).parents[2]
ALL = build.images(specs())
PROCESSORS = {"amd64": "x86_64", "arm64": "aarch64"}


@pytest.fixture(scope="session")
def uv(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The locked uv, from this machine's package index."""
    folder = tmp_path_factory.mktemp("uv")
    done = subprocess.run(
        (
            *(sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"),
            *("--target", str(folder), "--requirement", "requirements/uv.txt"),
        ),
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no package index answers: {done.stderr.strip().splitlines()[-1]}")
    return str(folder / "bin/uv")


def environment() -> dict[str, str]:
    """What uv has to be told, because it reads no setting of pip: as inside a build."""
    settings = subprocess.run(
        (sys.executable, "-m", "pip", "config", "list"), capture_output=True, text=True, check=True
    ).stdout
    exports = build.index_settings(build.pip_settings(settings), os.environ, certificates=False)
    told = (line.removeprefix("export ").split("=", 1) for line in exports.splitlines())
    return {**os.environ, **{name: shlex.split(value)[0] for name, value in told}}


@dataclass(frozen=True)
class Wheels:
    """What an index has for an image's platform, by package: the hashes of the wheels that fit."""

    hashes: Mapping[str, set[str]]

    def missing(self, lock: str) -> list[str]:
        """The packages of which no wheel has a hash in a lock."""
        locked = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock))
        return [name for name, hashes in self.hashes.items() if not hashes & locked]


def wheels_of(uv: str, lock: Path, processor: str, python: str) -> Wheels:
    """What an index has for a lock. No wheel is fetched: the index tells their hashes."""
    command = (
        *(uv, "--no-config", "pip", "compile", "--quiet", "--format", "pylock.toml", "--only-binary", ":all:"),
        *("--python-platform", f"{PROCESSORS[processor]}-manylinux_2_28", "--python-version", python),
        # Any interpreter will do, and looking for one of that version takes seconds.
        *("--python", sys.executable, str(lock)),
    )
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=300)

    assert done.returncode == 0, done.stderr
    packages = tomllib.loads(done.stdout)["packages"]
    return Wheels({item["name"]: {wheel["hashes"]["sha256"] for wheel in item.get("wheels", ())} for item in packages})


@pytest.mark.parametrize("image", ALL, ids=[image.key for image in ALL])
def test_a_wheel_with_a_locked_hash_is_there_for_everything(uv: str, image: build.Image) -> None:
    """For everything that the locked packages ask for, too: what the lock lacks has no hash in it."""
    lock = ROOT / "components" / image.component / image.variant.requirements
    found = wheels_of(uv, lock, image.architecture, build.python_of(image))

    assert {"polars", "numpy", "gunicorn"} <= set(found.hashes)
    assert found.missing(lock.read_text()) == []


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("name", ["demo", "dev", "publish", "supply-chain"])
def test_what_the_workflows_install_is_there_on_runners_of_both_processors(
    uv: str, name: str, processor: str, python: str
) -> None:
    lock = ROOT / f"requirements/{name}.txt"

    assert wheels_of(uv, lock, processor, python).missing(lock.read_text()) == []


def test_a_lock_with_another_hash_or_without_a_package_is_found_out(uv: str) -> None:
    lock = ROOT / "components/processing/requirements/cpu.txt"
    found = wheels_of(uv, lock, "amd64", "3.13")
    (one,) = found.hashes["flask"]
    text = lock.read_text()

    assert found.missing(text.replace(one, "0" * 64)) == ["flask"]
    assert Wheels({**found.hashes, "unlocked": {"1" * 64}, "source-only": set()}).missing(text) == [
        "unlocked",
        "source-only",
    ]
