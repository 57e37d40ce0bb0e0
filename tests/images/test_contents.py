"""What is in an image, and what is not."""

from __future__ import annotations

import json
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import build
from components.spec import NAMES, specs

ROOT = Path(__file__).parents[2]
COMPILERS = {"cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "rustc", "go", "javac", "nvcc", "uv"}


@pytest.fixture(scope="session", params=(*NAMES, "torch-cpu", "xgboost-cuda"))
def built(request: pytest.FixtureRequest, image_named: Callable[[str], build.Image]) -> build.Image:
    return image_named(request.param)


@pytest.fixture(scope="session")
def component(built: build.Image) -> str:
    return built.component


@pytest.fixture(scope="session")
def image(engine: Any, built: build.Image) -> Any:
    return engine.images.get(built.local)


@pytest.fixture(scope="session")
def files(engine: Any, image: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tarfile.TarInfo]:
    """Everything in the image, by its path without the first slash; layers put together, but no container started."""
    container = engine.containers.create(image.id)
    path = tmp_path_factory.mktemp("image") / "image.tar"
    try:
        with path.open("wb") as written:
            for chunk in container.export():
                written.write(chunk)
        with tarfile.open(path) as archive:
            return {member.name.rstrip("/"): member for member in archive}
    finally:
        path.unlink(missing_ok=True)
        container.remove(force=True)


def below(files: dict[str, tarfile.TarInfo], folder: str) -> Iterator[str]:
    return (name for name in files if name.startswith(f"{folder}/"))


def test_nothing_lies_where_sagemaker_mounts(files: dict[str, tarfile.TarInfo]) -> None:
    assert list(below(files, "opt/ml")) == []


def test_it_holds_shared_and_its_own_component_alone(files: dict[str, tarfile.TarInfo], component: str) -> None:
    assert {name.split("/")[2] for name in below(files, "opt/program")} == {"bin", "components", "shared"}
    assert {name.split("/")[3] for name in below(files, "opt/program/components")} == {"__init__.py", component}


def test_its_modules_are_those_of_the_checkout(files: dict[str, tarfile.TarInfo], component: str) -> None:
    """The folder is the import path, in the image too."""
    packages = (ROOT / "shared", ROOT / "components" / component)
    wanted = {path.relative_to(ROOT).as_posix() for package in packages for path in package.rglob("*.py")}
    found = {name.removeprefix("opt/program/") for name in below(files, "opt/program") if name.endswith(".py")}

    assert found == wanted | {"components/__init__.py"}


def test_each_file_of_the_program_is_tracked_by_git(files: dict[str, tarfile.TarInfo]) -> None:
    """A key or a note that lies in the checkout is in no image; a module that is new wants `git add` first."""
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, check=True, text=True).stdout
    commands = {f"bin/{name}" for name in ("quartet-component", "serve", "train")}
    found = {name.removeprefix("opt/program/") for name in below(files, "opt/program") if not files[name].isdir()}

    assert found >= commands
    assert found - commands - set(listed.split("\0")) == set()


def test_each_file_is_readable_by_everybody_and_writable_by_root_alone(files: dict[str, tarfile.TarInfo]) -> None:
    ours = [files[name] for top in ("opt/program", "opt/venv", "opt/bytecode") for name in below(files, top)]
    wrong = [
        member.name
        for member in ours
        if not member.issym()
        and (not member.mode & stat.S_IROTH or member.mode & stat.S_IWOTH or member.uid or member.gid)
    ]

    assert wrong == []
    assert [member.name for member in ours if member.isdir() and not member.mode & stat.S_IXOTH] == []


def test_no_compiler_and_no_installer_but_the_bases_is_there(files: dict[str, tarfile.TarInfo]) -> None:
    programs = {Path(name).name for name in files if Path(name).parent.name in ("bin", "sbin")}

    assert programs & COMPILERS == set()


def test_no_cache_is_left(files: dict[str, tarfile.TarInfo]) -> None:
    caches = ("root/.cache", "build", "var/lib/apt/lists", "var/cache/apt")

    # The base's package manager leaves empty files to lock with.
    assert [name for cache in caches for name in below(files, cache) if files[name].isfile() and files[name].size] == []
    assert list(below(files, "tmp")) == []


def test_no_bytecode_lies_beside_a_source(files: dict[str, tarfile.TarInfo]) -> None:
    """Beside it, it could be older than the source; in its own tree it is made with the image."""
    assert [name for top in ("opt/program", "opt/venv") for name in below(files, top) if name.endswith(".pyc")] == []
    assert any(name.endswith(".pyc") for name in below(files, "opt/bytecode/opt/program"))


def test_the_labels_tell_what_it_is(image: Any, built: build.Image) -> None:
    labels = image.labels

    assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert labels["quartet.component"] == built.component
    assert labels["quartet.variant"] == built.variant.name
    assert labels["org.opencontainers.image.title"] == f"quartet/{built.component}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == build.version()
    assert labels["org.opencontainers.image.revision"] == build.revision()
    assert labels["org.opencontainers.image.base.name"] == built.variant.base


def test_it_starts_its_program_as_process_1_and_no_server_by_itself(image: Any, component: str) -> None:
    config = image.attrs["Config"]

    assert config["Entrypoint"] == ["/opt/venv/bin/python", "-P", "-m", f"components.{component}"]
    assert not config["Cmd"]
    assert config["User"] in ("", "0", "root")
    assert not config.get("Healthcheck")


def test_an_image_asks_for_the_device_that_it_is_made_for(image: Any, built: build.Image) -> None:
    environment = dict(item.split("=", 1) for item in image.attrs["Config"]["Env"])
    asked = (environment["NVIDIA_VISIBLE_DEVICES"], environment["NVIDIA_DRIVER_CAPABILITIES"])

    assert asked == (("void", "") if built.variant.accelerator == "none" else ("all", "compute,utility"))


def test_nothing_of_this_machine_is_in_its_history(image: Any) -> None:
    told = json.dumps([image.history(), image.attrs["Config"]["Env"]])

    assert "INDEX_URL" not in told
    assert "PIP_" not in told.replace("PIP_CERT", "")
    assert "http://" not in told
    assert "https://" not in told


@pytest.fixture(scope="module")
def megabytes(engine: Any) -> dict[str, float]:
    """By component, the image as a registry stores it: gzip -6 of `docker save`, two images at a time."""
    found = {name: engine.images.get(build.defaults(build.images(specs(), name))[0].local) for name in NAMES}
    with ThreadPoolExecutor(2) as pool:
        sizes = pool.map(lambda image: build.compressed(image.save()), found.values())
        return {name: size / 1e6 for name, size in zip(found, sizes, strict=True)}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_not_larger_than_its_bar(megabytes: dict[str, float], name: str) -> None:
    bars = {"processing": 130, "algorithm": 140, "monitoring": 170, "explainability": 210}

    assert megabytes[name] <= bars[name]


def test_it_imports_nothing_heavy_before_it_must(engine: Any, image: Any, component: str) -> None:
    heavy = "{'numpy', 'pandas', 'polars', 'scipy', 'torch', 'treelite', 'woodelf', 'xgboost'}"
    script = f"import json, sys, components.{component}.component; print(json.dumps([*({heavy} & sys.modules.keys())]))"
    code, said = build.run(engine, image.id, ["-P", "-c", script], entrypoint=["/opt/venv/bin/python"])

    assert code == 0, said
    # What tables are held in comes at once; what computes comes when it is asked for.
    assert set(json.loads(said)) <= {"numpy", "polars"}
