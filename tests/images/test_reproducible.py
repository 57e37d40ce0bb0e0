"""One commit built twice, in other folders with other times and modes, once without a cache, gives the same layers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

import build
from benchmarks.start import CONTEXT

ROOT = Path(__file__).parents[2]
COMPONENTS = ("processing", "algorithm")
"""Most of what steps do is done in every image; parts of packages are left out of algorithm's alone."""


@dataclass(frozen=True)
class Entry:
    """One file of a layer, but for its time."""

    kind: bytes
    mode: int
    owner: tuple[int, int]
    size: int
    target: str
    sha256: str


@dataclass(frozen=True)
class Layer:
    """The files of a layer by path, and their times in seconds."""

    entries: Mapping[str, Entry]
    times: Mapping[str, float]


@dataclass(frozen=True)
class Built:
    """An image as `docker save` gives it."""

    config: Mapping[str, Any]
    layers: tuple[Layer, ...]


def layer_of(file: IO[bytes]) -> Layer:
    entries, times = {}, {}
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            digest = hashlib.sha256(content.read()).hexdigest() if content else ""
            owner = (member.uid, member.gid)
            entries[member.name] = Entry(member.type, member.mode, owner, member.size, member.linkname, digest)
            times[member.name] = member.mtime
    return Layer(entries, times)


def saved(engine: Any, name: str, path: Path) -> Built:
    """The image's configuration and layers."""
    with path.open("wb") as written:
        for chunk in engine.images.get(name).save():
            written.write(chunk)
    with tarfile.open(path) as archive:

        def file(member: str) -> IO[bytes]:
            found = archive.extractfile(member)

            assert found is not None
            return found

        (manifest,) = json.load(file("manifest.json"))
        # The base comes first, and both builds stand on the same one.
        layers = [layer_of(file(member)) for member in manifest["Layers"][1:]]
        return Built(json.load(file(manifest["Config"])), tuple(layers))


def checkout(folder: Path, *, time_s: int, group_writes: bool) -> Path:
    """What an image is built of, in another folder, as another checkout would leave it."""
    folder.mkdir()
    for name in CONTEXT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.whl"))
        else:
            shutil.copy(source, folder / name)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode & 0o755 | (0o020 if group_writes else 0))
        os.utime(path, (time_s, time_s))
    return folder


@pytest.fixture(scope="module", params=COMPONENTS)
def twice(
    request: pytest.FixtureRequest, engine: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Built, Built]]:
    """One image, built as ever, of what earlier builds left in the cache, and once more without it."""
    component = str(request.param)
    root = tmp_path_factory.mktemp("twice")
    # Both are copied before either is built, so that both are one state of the files.
    one = checkout(root / "one", time_s=1_600_000_000, group_writes=False)
    other = checkout(root / "another", time_s=1_700_000_000, group_writes=True)
    tags = {one: f"{root.name}-one", other: f"{root.name}-other"}
    try:
        yield built(engine, component, one, tags[one]), built(engine, component, other, tags[other], "--no-cache")
    finally:
        for tag in tags.values():
            if engine.images.list(f"{build.NAMESPACE}/{component}:{tag}"):
                engine.images.remove(f"{build.NAMESPACE}/{component}:{tag}")


def built(engine: Any, component: str, folder: Path, tag: str, *how: str) -> Built:
    done = subprocess.run(
        (sys.executable, "build.py", "build", component, "--tag", tag, *how),
        cwd=folder, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    return saved(engine, f"{build.NAMESPACE}/{component}:{tag}", folder / "image.tar")


def test_the_layers_hold_the_same_files(twice: tuple[Built, Built]) -> None:
    """Paths, kinds, modes, owners, sizes, targets of links, and content."""
    one, other = twice

    assert len(one.layers) == len(other.layers) >= 3
    for first, second in zip(one.layers, other.layers, strict=True):
        assert list(first.entries) == list(second.entries)
        assert [name for name in first.entries if first.entries[name] != second.entries[name]] == []


def test_the_files_have_the_one_time_of_all_builds(twice: tuple[Built, Built]) -> None:
    times = {time for image in twice for layer in image.layers for time in layer.times.values()}

    assert times == {build.EPOCH}


def test_so_the_layers_have_the_same_digests(twice: tuple[Built, Built]) -> None:
    """A registry takes a layer that it has seen before in no time, whoever built it."""
    one, other = twice

    assert one.config["rootfs"] == other.config["rootfs"]


def test_only_the_moment_of_the_build_differs_in_what_an_image_says_of_itself(twice: tuple[Built, Built]) -> None:
    """And so the image's own digest: Docker 20.10 asks the clock, BuildKit from 0.11 on takes what it is told."""
    one, other = (timeless(image.config) for image in twice)

    assert one == other


def timeless(config: Mapping[str, Any]) -> dict[str, Any]:
    steps = [{name: value for name, value in step.items() if name != "created"} for step in config["history"]]
    return {**{name: value for name, value in config.items() if name != "created"}, "history": steps}
