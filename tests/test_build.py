"""The builder's arithmetic: which images, which commands, which errors. No engine is needed."""

from __future__ import annotations

import gc
import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest
from click.testing import CliRunner

import build
from build import BuildError, Image, build_arguments, build_command, build_prefix, images, touched
from components.spec import NAMES, Variant, specs

CPU = Image("processing", Variant("cpu", "requirements/cpu.txt", base="registry/python:3.13-slim-trixie"), "amd64")
CUDA = Image("algorithm", Variant("torch-cuda", "requirements/torch-cuda.txt", accelerator="cuda"), "amd64")


# --- Which images


def test_every_component_has_an_image_for_the_cpu() -> None:
    chosen = build.defaults(images(specs()))

    assert [image.component for image in chosen] == list(NAMES)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"component": "procesing"}, "there is no component 'procesing', wanted one of 'processing', 'algorithm'"),
        ({"component": "procesing"}, "Did you mean 'processing'?"),
        ({"component": "processing", "variant": "cuda"}, "processing has no variant 'cuda': Polars' GPU engine"),
        ({"variant": "cud"}, "are 'cpu', 'xgboost-cpu', 'xgboost-cuda', 'torch-cpu', 'torch-cuda'."),
        ({"component": "algorithm", "variant": "cpu"}, "the variants of 'algorithm' are 'xgboost-cpu', 'xgboost-cuda'"),
        (
            {"component": "algorithm", "variant": "xgboost-cuda", "architecture": "arm64"},
            "algorithm's variant 'xgboost-cuda' is built for 'amd64' and not for 'arm64'.",
        ),
    ],
)
def test_an_image_that_there_is_not_is_said_in_one_sentence(wanted: dict[str, str], said: str) -> None:
    with pytest.raises(BuildError) as caught:
        images(specs(), **wanted)

    assert said in str(caught.value)


def test_a_machine_builds_for_its_own_processor_unless_it_is_told_another() -> None:
    """An image for another processor must not take the name of the one that runs here."""
    own = build.selected("processing", None, None)
    other: Any = "arm64" if build.OWN == "amd64" else "amd64"
    foreign = build.selected("processing", None, other)

    assert [(image.architecture, image.local) for image in own] == [(build.OWN, "quartet/processing:cpu")]
    assert [(image.architecture, image.local) for image in foreign] == [(other, f"quartet/processing:cpu-{other}")]
    assert build.selected("processing", "cpu", None) == own


def test_what_runs_on_the_cpu_alone_is_declared_for_both_processors() -> None:
    """But for torch-cpu, whose wheel comes as a file for one of them."""
    both = {(image.component, image.variant.name) for image in images(specs(), architecture="arm64")}

    assert both == {
        ("processing", "cpu"),
        ("algorithm", "xgboost-cpu"),
        ("monitoring", "cpu"),
        ("explainability", "cpu"),
    }


def test_the_cuda_image_of_trees_leaves_out_what_the_cpu_image_does_and_nccl() -> None:
    variants = specs()["algorithm"].variants

    assert set(variants["xgboost-cuda"].without) == {*variants["xgboost-cpu"].without, "nvidia/nccl"}


def test_a_processor_that_the_engine_lacks_is_said_before_anything_is_built() -> None:
    foreign = build.selected("processing", None, "arm64")

    build.refuse_foreign(foreign, {"amd64", "arm64"})
    with pytest.raises(BuildError, match="this engine builds for 'amd64' and not for 'arm64': build on a machine"):
        build.refuse_foreign(foreign, {"amd64"})


@pytest.mark.parametrize(
    ("prefix", "listed", "found"),
    [
        (["docker", "build"], "", {"amd64"}),
        (["docker", "buildx", "build"], "Platforms: linux/amd64, linux/amd64/v2, linux/386", {"amd64"}),
        (["docker", "buildx", "build"], "Platforms: linux/amd64*, linux/arm64, linux/arm/v7", {"amd64", "arm64"}),
    ],
)
def test_an_engine_builds_for_what_buildkit_names_or_for_itself(
    prefix: list[str], listed: str, found: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_output", lambda *_: listed)
    client: Any = SimpleNamespace(info=lambda: {"Architecture": "x86_64"})

    assert build.platforms(client, prefix) == found


def test_a_published_name_has_the_processor_in_its_tag() -> None:
    assert CPU.published("here:5000", "1.2.0") == "here:5000/quartet/processing:1.2.0-cpu-amd64"


def test_a_digest_takes_the_tags_place_and_not_the_ports() -> None:
    assert build.by_digest("here:5000/quartet/x:1-cpu-amd64", "sha256:ab") == "here:5000/quartet/x@sha256:ab"


def test_the_matrix_is_what_github_takes() -> None:
    found = build.matrix([CPU])

    assert json.loads(json.dumps(found)) == {
        "include": [
            {
                "component": "processing",
                "variant": "cpu",
                "arch": "amd64",
                "accelerator": "none",
                "image": "quartet/processing:cpu",
            }
        ]
    }


def test_the_matrix_names_an_image_as_the_runner_with_its_processor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow builds each image on a runner of its own processor, and saves it there under this name."""
    both = build.images(specs(), "processing", "cpu")
    listed = [(row["arch"], row["image"]) for row in build.matrix(both)["include"]]
    runners = []
    for image in both:
        monkeypatch.setattr(build, "OWN", image.architecture)
        runners.append((image.architecture, image.local))

    assert listed == runners
    assert len(listed) == 2


# --- What a change touches


@pytest.mark.parametrize(
    "path",
    [
        "shared/tables.py",
        "shared/report/style.css",
        "build.py",
        ".dockerignore",
        "base-images.lock",
        "pyproject.toml",
        "shared/é.json",
        "shared/two\nlines.py",
        "packing/symbols.py",
        "requirements/uv.txt",
        "components/__init__.py",
        "components/spec.py",
        "components/monitoring/Dockerfile",
    ],
)
def test_what_all_are_made_with_touches_all(path: str) -> None:
    assert touched([path]) == list(NAMES)


@pytest.mark.parametrize(
    ("paths", "components"),
    [
        ([], []),
        (["components/monitoring/drift.py"], ["monitoring"]),
        (["components/monitoring/drift.py", "components/processing/plan.py"], ["processing", "monitoring"]),
        (["components/algorithm/requirements/xgboost-cpu.txt"], ["algorithm"]),
        (["components/algorithm/component.toml"], ["algorithm"]),
        (["requirements/torch-cpu.txt"], ["algorithm"]),
        (["components/algorithm/README.md", "components/algorithm/requirements/xgboost-cpu.in"], []),
        (["shared/README.md", "pipelines/graph.py", "tests/shared/test_tables.py", "requirements/dev.txt"], []),
    ],
)
def test_a_change_touches_the_components_whose_images_hold_it(paths: list[str], components: list[str]) -> None:
    assert touched(paths) == components


@dataclass(frozen=True)
class Repository:
    """A repository of git, with one commit."""

    root: Path

    def git(self, *arguments: str) -> str:
        done = subprocess.run(("git", *arguments), cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a commit")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """One that `build` takes for its own."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@example.org")
    made = Repository(tmp_path / "repository")
    made.write("components/processing/plan.py", "a plan\n" * 20)
    made.write("components/algorithm/train.py", "a training\n")
    made.write("tests/test_plan.py", "a test\n")
    made.git("init", "--quiet", "--initial-branch", "main")
    made.commit()
    monkeypatch.setattr(build, "ROOT", made.root)
    return made


def test_what_is_changed_is_compared_with_a_commit_that_git_knows(repository: Repository) -> None:
    with pytest.raises(BuildError, match="git knows no commit 'nowhere'"):
        build.changed_files("nowhere")


def test_nothing_is_changed_in_a_fresh_checkout(repository: Repository) -> None:
    assert build.changed_files("main") == []


def test_edited_and_untracked_files_are_changed_and_ignored_ones_are_not(repository: Repository) -> None:
    repository.write(".gitignore", "*.log\n")
    repository.commit()
    repository.write("components/algorithm/train.py", "another training\n")
    repository.write("components/monitoring/new.py", "new\n")
    repository.write("components/processing/run.log", "ignored\n")

    assert build.changed_files("main") == ["components/algorithm/train.py", "components/monitoring/new.py"]


def test_a_moved_file_is_changed_under_both_names(repository: Repository) -> None:
    """The image that it left differs too, though git shows a rename by its new name alone."""
    repository.git("mv", "components/processing/plan.py", "tests/plan.py")
    repository.commit()

    found = build.changed_files("main~1")

    assert found == ["components/processing/plan.py", "tests/plan.py"]
    assert touched(found) == ["processing"]


@pytest.mark.parametrize("committed", [True, False])
def test_a_name_is_told_as_it_is_whatever_its_letters(repository: Repository, committed: bool) -> None:
    """Between quotes and backslashes, as git writes such names without -z, it would lie in no folder of ours."""
    repository.write("shared/é.json", "{}")
    if committed:
        repository.commit()

    assert build.changed_files("main~1" if committed else "main") == ["shared/é.json"]


def test_what_others_did_since_is_no_change_of_this_work(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "work")
    repository.write("components/monitoring/drift.py", "ours\n")
    repository.commit()
    repository.git("checkout", "--quiet", "main")
    repository.write("components/algorithm/train.py", "theirs\n")
    repository.commit()
    repository.git("checkout", "--quiet", "work")

    assert build.changed_files("main") == ["components/monitoring/drift.py"]


def test_without_a_common_ancestor_all_that_differs_is_changed(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.write("shared/new.py", "new\n")
    repository.commit()

    assert build.changed_files("main") == ["shared/new.py"]


@pytest.mark.parametrize("command", ["diff", "ls-files", "merge-base"])
@pytest.mark.parametrize("asked", [["changed"], ["matrix"]])
def test_a_failure_of_git_is_never_nothing_changed(
    repository: Repository, asked: list[str], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI would skip the images that a change needs."""
    real = shutil.which("git")
    (tmp_path / "git").write_text(
        f'#!/bin/sh\n[ "$1" != {command} ] || {{ echo "fatal: index file corrupt" >&2; exit 128; }}\nexec {real} "$@"\n'
    )
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    outcome = CliRunner().invoke(build.cli, [*asked, "--base", "main"])

    assert outcome.exit_code == 1
    assert outcome.output == (
        f"Error: git {command} failed (fatal: index file corrupt): what has changed is not known.\n"
    )


def test_outside_of_a_repository_what_has_changed_is_not_known(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(build, "ROOT", tmp_path)

    with pytest.raises(BuildError, match=r"git rev-parse failed \(fatal: not a git repository"):
        build.changed_files("main")


def test_the_revision_tells_of_files_that_differ_from_it(repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")

    assert build.revision() == commit
    repository.write("components/algorithm/train.py", "another training\n")
    assert build.revision() == f"{commit}-dirty"
    repository.commit()
    assert build.revision() == repository.git("rev-parse", "HEAD") != commit
    repository.write("new.py", "")
    assert build.revision().endswith("-dirty")


def test_outside_of_a_repository_the_revision_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(build, "ROOT", tmp_path)

    assert build.revision() == "unknown"


def test_the_matrix_leaves_out_what_no_index_has_where_it_is_told_to() -> None:
    def listed(*options: str) -> set[str]:
        outcome = CliRunner().invoke(build.cli, ["matrix", *options])
        return {row["image"] for row in json.loads(outcome.output)["include"]}

    assert listed() - listed("--from-index") == {"quartet/algorithm:torch-cpu"}
    assert listed("--accelerator", "cuda") == {"quartet/algorithm:xgboost-cuda", "quartet/algorithm:torch-cuda"}


def test_the_matrix_has_the_components_that_differ_alone(repository: Repository) -> None:
    repository.write("components/monitoring/drift.py", "new\n")
    outcome = CliRunner().invoke(build.cli, ["matrix", "--base", "main"])

    assert {row["component"] for row in json.loads(outcome.output)["include"]} == {"monitoring"}


# --- The commands


def test_the_command_names_everything_and_bakes_nothing(tmp_path: Path) -> None:
    command = build_command(["docker", "build"], CPU, {"VARIANT": "cpu"}, {"index": tmp_path / "index"})

    assert command == [
        *("docker", "build"),
        *("--file", "-"),
        *("--platform", "linux/amd64"),
        *("--build-arg", "VARIANT=cpu"),
        *("--secret", f"id=index,src={tmp_path}/index"),
        *("--tag", "quartet/processing:cpu"),
        str(build.ROOT),
    ]


def test_what_is_asked_for_beside_is_in_the_command() -> None:
    how = build.How(tag="twice", cache=False)
    command = build_command(["docker", "build"], CPU, {}, {}, how)

    assert "--no-cache" in command
    assert command[command.index("--tag") + 1] == "quartet/processing:twice"
    assert "--label" not in command


def test_a_pinned_base_is_named_with_its_tag_and_digest() -> None:
    """The digest decides; the tag says to people what it is, and is what the label holds."""
    base, digest = CPU.variant.base, f"sha256:{'ab' * 32}"
    how = build.How(bases={base: {"amd64": digest}})
    arguments = build_arguments(CPU, "1", "abc", [], "", how)
    command = build_command(["docker", "build"], CPU, arguments, {}, how)

    assert f"BASE_IMAGE={base}@{digest}" in command
    assert f"BASE_NAME={base}" in command
    assert command[command.index("--label") + 1] == f"org.opencontainers.image.base.digest={digest}"
    assert build_arguments(CPU, "1", "abc", [], "")["BASE_IMAGE"] == base


def test_a_base_without_a_digest_is_said_with_the_way_out() -> None:
    with pytest.raises(
        BuildError, match=r"no digest of registry/python:3.13-slim-trixie for amd64: run .*build.py bases"
    ):
        build_arguments(CPU, "1", "abc", [], "", build.How(bases={CPU.variant.base: {}}))


def test_the_file_of_digests_names_every_base() -> None:
    """It may lack digests, which only the bases' registry knows."""
    found = build.read_bases()

    assert set(found) == {image.variant.base for image in images(specs())}


@pytest.mark.parametrize("content", ["{", '{"base": "sha256:ab"}', '{"base": {"amd64": "latest"}}', "[]", "3"])
def test_a_file_of_something_else_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "base-images.lock").write_text(content)

    with pytest.raises(BuildError, match=r"base-images\.lock .*wanted JSON"):
        build.read_bases(tmp_path / "base-images.lock")


def test_the_time_of_all_files_is_the_one_in_the_dockerfiles() -> None:
    text = (build.ROOT / CPU.dockerfile).read_text()

    assert text.count(f"ARG SOURCE_DATE_EPOCH={build.EPOCH}\n") == text.count("ARG SOURCE_DATE_EPOCH") == 2
    assert build_arguments(CPU, "1", "abc", [], "")["SOURCE_DATE_EPOCH"] == str(build.EPOCH)


@pytest.mark.parametrize(
    ("version", "buildx", "prefix"),
    [
        ("20.10.24+dfsg1", False, ["docker", "build"]),
        ("28.2.2", False, None),
        ("", False, None),
        ("26.1.5", True, ["docker", "buildx", "build", "--load", "--provenance=false", "--sbom=false"]),
    ],
)
def test_buildkit_is_reached_as_the_client_has_it(version: str, buildx: bool, prefix: list[str] | None) -> None:
    """Clients from 23 on have it in the plugin alone, and before in themselves."""
    assert build_prefix("docker", version, buildx) == prefix


def test_a_cuda_image_asks_the_runtime_for_its_devices() -> None:
    cuda = build_arguments(CUDA, "1", "abc", [], "")
    cpu = build_arguments(CPU, "1", "abc", ["polars", "re"], "")

    assert cuda["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert cuda["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert "NVIDIA_VISIBLE_DEVICES" not in cpu
    assert cpu["IMPORTS"] == "polars re"


def test_the_imports_are_those_of_the_sources_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "components/toy").mkdir(parents=True)
    (tmp_path / "shared/tables.py").write_text("from __future__ import annotations\nimport polars as pl, json\n")
    (tmp_path / "components/toy/train.py").write_text(
        "from components.toy import model\nfrom shared import tables\ndef f():\n    from scipy.stats import norm\n"
    )

    assert build.imports_of("toy", tmp_path) == sorted(["json", "polars", "scipy.stats", *build.LOADED_BY_NAME])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"import json\ndef f(:\n", r"shared/broken\.py, line 2, is no Python \(.+\): mend it, then build\.$"),
        (b"name = '\xe9'\n", r"shared/broken\.py.* is no Python"),
        (b"a = 1\0\n", r"shared/broken\.py.* is no Python"),
    ],
)
def test_a_source_that_is_no_python_is_named_with_its_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/broken.py").write_bytes(content)

    with pytest.raises(BuildError, match=said):
        build.imports_of("toy", tmp_path)


def test_a_build_that_fails_is_named_as_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stdout=""))

    with pytest.raises(BuildError, match=r"^quartet/processing:mine was not built"):
        build.build(CPU, ["docker", "build"], {}, build.How(tag="mine"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["build", "--tag", "a b"], "'a b' is no tag, wanted 1 to 128 letters"),
        (["push", "--registry", "here", "--tag", "-1"], "'-1' is no tag"),
        *(
            ([command, "--registry", name, "--tag", "1"], f"{name!r} names no registry, wanted a host as in")
            for command in ("push", "digests")
            for name in ("https://foo", "foo/", "foo bar", "foo/Team", "", "foo:port")
        ),
    ],
)
def test_a_name_that_no_image_can_have_is_said_before_anything_is_done(
    command: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(build, "engine")
    outcome = CliRunner().invoke(build.cli, command)

    assert outcome.exit_code == 1
    assert outcome.output.startswith(f"Error: {said}")


@pytest.mark.parametrize(
    "name", ["here", "127.0.0.1:5000", "[::1]:5000", "registry.example/team/a-b__c.d", "A.example"]
)
def test_registries_are_named_as_docker_names_them(name: str) -> None:
    build.check_names("git-0123.a_B", name)


def test_the_size_of_an_image_that_is_not_there_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "engine", lambda: SimpleNamespace(images=SimpleNamespace(get=missing)))
    outcome = CliRunner().invoke(build.cli, ["size", "processing"])

    assert outcome.exit_code == 1
    assert outcome.output.splitlines() == [
        "Error: there is no image quartet/processing:cpu here: build it first "
        "(python build.py build processing --variant cpu)."
    ]


def test_what_to_build_first_is_said_for_another_processor_too() -> None:
    other: Any = "arm64" if build.OWN == "amd64" else "amd64"
    client: Any = SimpleNamespace(images=SimpleNamespace(get=missing))

    with pytest.raises(BuildError, match=rf"\(python build.py build processing --variant cpu --arch {other}\)"):
        build.built(client, Image(CPU.component, CPU.variant, other).local)


def missing(_name: str) -> Any:
    raise docker.errors.ImageNotFound("404 Client Error")


# --- Running


def test_containers_run_without_network_privileges_or_a_disk_to_write_on() -> None:
    assert dict(build.HARDENED) == {
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {"/tmp": ""},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }


@dataclass
class Container:
    """A container of the engine's, that says and ends as it is told to."""

    code: int
    said: str
    removed: bool = False

    def start(self) -> None:
        """Starts at once."""

    def wait(self, timeout: float) -> dict[str, int]:
        return {"StatusCode": self.code}

    def logs(self) -> bytes:
        return self.said.encode()

    def remove(self, force: bool) -> None:
        self.removed = force


EXPLAINS = {
    "--help": (0, "quartet processing: learns"),
    "schema": (0, '{"properties": {}}'),
    "selftest": (0, "trained\nok, 3 s"),
    "": (2, "quartet processing: learns"),
}
"""What an image that is as it should be answers, by its argument."""


@pytest.mark.parametrize("argument", [None, *EXPLAINS])
@pytest.mark.parametrize("wrong", [{"code": 1}, {"said": "Traceback"}], ids=["code", "text"])
def test_an_image_that_ends_or_answers_otherwise_fails_its_smoke_test(
    argument: str | None, wrong: dict[str, Any]
) -> None:
    made: list[Container] = []
    options: list[dict[str, Any]] = []

    def create(_image: str, command: list[str], **given: Any) -> Container:
        options.append(given)
        code, said = EXPLAINS[command[0] if command else ""]
        amiss = wrong if "".join(command) == argument else {}
        made.append(Container(amiss.get("code", code), amiss.get("said", said)))
        return made[-1]

    client: Any = SimpleNamespace(containers=SimpleNamespace(create=create))
    if argument is None:
        build.smoke(CPU, client)
        assert len(made) == len(EXPLAINS)
    else:
        code = wrong.get("code", EXPLAINS[argument][0])
        with pytest.raises(BuildError, match=rf"^{CPU.local} {argument}: exit code {code}, wanted"):
            build.smoke(CPU, client)
    assert all(given == build.HARDENED for given in options)
    assert all(container.removed for container in made)


def test_a_missing_docker_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildError, match=r"^DOCKER names '/no/docker', and there is no such command: "):
        build.builder({"DOCKER": "/no/docker"})

    with pytest.raises(BuildError, match=r"^'false' \(no docker\) cannot build with BuildKit: install "):
        build.builder({"DOCKER": "false"})

    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(BuildError, match="there is no docker command on this machine"):
        build.builder({})


@pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")
def test_a_missing_engine_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    outcome = CliRunner().invoke(build.cli, ["build"])
    code, said = outcome.exit_code, outcome.output
    # docker-py leaves the socket open that found nobody: let that be told here and not in another test.
    del outcome
    gc.collect()

    assert code == 1
    assert said == (
        f"Error: no Docker engine answers at unix://{tmp_path}/no.sock (No such file or directory): "
        "run `engine/start`, or set DOCKER_HOST.\n"
    )


# --- This machine's package index


def test_pip_settings_are_read_as_pip_lists_them_and_the_environment_wins() -> None:
    listed = (
        ":env:.index-url='https://b/simple'\nglobal.index-url='https://a/simple'\n"
        "global.extra-index-url='\\nhttps://c\\nhttps://d'\n"
    )

    assert build.pip_settings(listed) == {"index-url": "https://b/simple", "extra-index-url": "https://c https://d"}


def test_the_index_reaches_pip_and_uv_and_a_folder_of_this_machine_does_not() -> None:
    pip = {"index-url": "https://user:a'b@mirror/simple", "extra-index-url": "file:///folder https://extra/simple"}
    lines = build.index_settings(pip, {"https_proxy": "proxy:3128"}, certificates=True).splitlines()

    assert """export PIP_INDEX_URL='https://user:a'"'"'b@mirror/simple'""" in lines
    assert """export UV_DEFAULT_INDEX='https://user:a'"'"'b@mirror/simple'""" in lines
    assert "export PIP_EXTRA_INDEX_URL=https://extra/simple" in lines
    assert "export UV_INDEX_STRATEGY=unsafe-best-match" in lines
    assert "export https_proxy=proxy:3128" in lines
    assert "export SSL_CERT_FILE=/run/secrets/certificates" in lines


def test_a_machine_that_was_told_nothing_tells_nothing() -> None:
    assert build.index_settings({}, {}, certificates=False) == ""


def test_a_wheel_is_fetched_for_the_python_of_the_base() -> None:
    (image,) = images(specs(), "algorithm", "torch-cpu")
    requirement = build.wheel_of(image)
    command = build.wheel_command(image, requirement)

    assert requirement.startswith("torch==")
    assert requirement.endswith("+cpu")
    assert command[command.index("--python-version") + 1] == "3.11"
    assert build.wheel_of(CPU) == ""


# --- Publishing


def test_a_push_that_fails_in_its_stream_is_an_error() -> None:
    """The engine answers 200 before it knows, and tells what went wrong as one of the events."""
    events: list[dict[str, Any]] = [{"status": "Preparing"}, {"error": "denied: no such repository", "errorDetail": {}}]

    with pytest.raises(BuildError, match="here/x:1 was not pushed: denied: no such repository"):
        build.pushed_digest(events, "here/x:1")


DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    "last",
    [
        {"aux": {"Tag": "1", "Digest": DIGEST, "Size": 5}},
        {"status": f"1: digest: {DIGEST} size: 1094"},  # all that Docker 28.5 says with containerd's store
    ],
)
def test_a_push_ends_with_a_digest(last: dict[str, Any]) -> None:
    events: list[dict[str, Any]] = [{"status": "Pushed"}, last]

    assert build.pushed_digest(events, "here/x:1") == DIGEST
    with pytest.raises(BuildError, match="named no digest"):
        build.pushed_digest(events[:1], "here/x:1")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:ab"}, "which SageMaker refuses"),
        ({"mediaType": build.SCHEMA_2, "digest": "sha256:cd"}, "somebody moved the tag"),
    ],
)
def test_what_a_registry_holds_is_looked_at(found: dict[str, str], said: str) -> None:
    registry = SimpleNamespace(attrs={"Descriptor": found})
    client: Any = SimpleNamespace(images=SimpleNamespace(get_registry_data=lambda _: registry))

    with pytest.raises(BuildError, match=said):
        build.checked_manifest(client, "here/x:1", "sha256:ab")


def test_the_lock_is_written_once_all_images_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A lock with half of a release would let pipelines mix two."""
    lock = tmp_path / "images.lock.json"
    pushed: list[str] = []

    def push(_client: Any, image: Image, _name: str) -> str:
        if len(pushed) == failing:
            raise BuildError("denied")
        pushed.append(image.component)
        return f"sha256:{image.component}"

    def outcome() -> tuple[int, str]:
        pushed.clear()
        done = CliRunner().invoke(build.cli, ["push", "--registry", "here", "--tag", "1", "--lock", str(lock)])
        return done.exit_code, done.output

    monkeypatch.setattr(build, "engine", lambda: None)
    monkeypatch.setattr(build, "push", push)
    failing = 2
    code, said = outcome()

    assert (code, said.splitlines()[-1]) == (1, "Error: denied")
    assert not lock.exists()

    failing = 99
    assert outcome()[0] == 0
    assert {key.split("/")[0] for key in json.loads(lock.read_text())} == set(NAMES)


@pytest.mark.parametrize("held", ["sha256:aa", "sha256:bb", None])
@pytest.mark.parametrize("known", [["here/x@sha256:aa"], []], ids=["pushed from here", "loaded from an archive"])
def test_what_a_registry_holds_already_is_pushed_neither_again_nor_over(
    held: str | None, known: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tags stay where they are; a run that is repeated ends as the first, on another machine too."""
    tagged: list[str] = []
    removed: list[str] = []
    local = SimpleNamespace(id="sha256:1", attrs={"RepoDigests": known}, tag=tagged.append)
    ids = {"here/x@sha256:aa": "sha256:1", "here/x@sha256:bb": "sha256:2"}
    client: Any = SimpleNamespace(
        images=SimpleNamespace(
            get=lambda _: local, pull=lambda name: SimpleNamespace(id=ids[name]), remove=removed.append
        ),
        api=SimpleNamespace(push=lambda *_, **__: [{"aux": {"Digest": "sha256:aa"}}]),
    )
    monkeypatch.setattr(build, "held_digest", lambda *_: held)
    monkeypatch.setattr(build, "checked_manifest", lambda _client, _name, digest: digest)

    if held == "sha256:bb":
        with pytest.raises(BuildError, match="tags are not moved"):
            build.push(client, CPU, "here/x:1")
    else:
        assert build.push(client, CPU, "here/x:1") == "sha256:aa"
    assert tagged == ([] if held else ["here/x:1"])
    assert removed == (["here/x@sha256:bb"] if held == "sha256:bb" else [])


def test_a_push_that_fails_leaves_no_name_in_the_local_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the engine says that there is such an image, which no registry has."""
    tags: list[str] = []
    local = SimpleNamespace(attrs={"RepoDigests": []}, tag=tags.append)
    events: list[dict[str, Any]] = [{"error": "denied"}]

    def refuse(*_: Any, **__: Any) -> Any:
        raise docker.errors.InvalidRepository("Repository name cannot contain a scheme")

    client: Any = SimpleNamespace(
        images=SimpleNamespace(get=lambda _: local, remove=tags.remove),
        api=SimpleNamespace(push=lambda *_, **__: events),
    )
    monkeypatch.setattr(build, "held_digest", lambda *_: None)

    with pytest.raises(BuildError, match="here/x:1 was not pushed: denied"):
        build.push(client, CPU, "here/x:1")
    assert tags == []

    client.api.push = refuse
    with pytest.raises(BuildError, match="here/x:1 was not pushed: Repository name cannot contain a scheme"):
        build.push(client, CPU, "here/x:1")
    assert tags == []


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ("broken.json", "broken.json cannot be read ("),
        ("list.json", "list.json holds something else than digests, wanted JSON"),
        ("none/images.lock.json", "there is no folder "),
    ],
)
@pytest.mark.parametrize("command", ["push", "digests"])
def test_a_lock_that_cannot_be_kept_is_said_before_anything_is_published(
    command: str, lock: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    monkeypatch.delattr(build, "engine")
    outcome = CliRunner().invoke(
        build.cli, [command, "--registry", "here", "--tag", "1", "--lock", str(tmp_path / lock)]
    )

    assert outcome.exit_code == 1
    assert outcome.output.startswith(f"Error: {said}")


def test_a_lock_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"cannot be written \(Is a directory\)"):
        build.write_sorted({}, tmp_path)


def test_a_digest_that_is_not_the_locked_one_is_named() -> None:
    locked = {"a/cpu/amd64": "r/a@sha256:1", "b/cpu/amd64": "r/b@sha256:2"}

    assert build.moved(locked, locked) == []
    assert build.moved({"a/cpu/amd64": "r/a@sha256:3", "c/cpu/amd64": "r/c@sha256:4"}, locked) == [
        "a/cpu/amd64 is r/a@sha256:3 in the registry and r/a@sha256:1 in images.lock.json.",
        "c/cpu/amd64 is r/c@sha256:4 in the registry and nothing in images.lock.json.",
    ]


def test_the_lock_keeps_what_it_knew(tmp_path: Path) -> None:
    path = tmp_path / "images.lock.json"
    build.write_lock({"b/cpu/amd64": "r/b@sha256:1"}, path)
    build.write_lock({"a/cpu/amd64": "r/a@sha256:2"}, path)

    assert path.read_text() == '{\n  "a/cpu/amd64": "r/a@sha256:2",\n  "b/cpu/amd64": "r/b@sha256:1"\n}\n'


def test_a_size_is_what_gzip_makes_of_all_chunks() -> None:
    chunks = [bytes([number]) * 1000 for number in range(50)]

    def given() -> Iterator[bytes]:
        yield from chunks

    assert build.compressed(given()) == len(gzip.compress(b"".join(chunks), compresslevel=6, mtime=0))


# --- The command line


def test_the_list_names_each_image_and_each_one_left_out() -> None:
    outcome = CliRunner().invoke(build.cli, ["list"])

    assert outcome.exit_code == 0
    for spec in specs().values():
        for variant in (*spec.variants, *spec.left_out):
            assert f"quartet/{spec.name}:{variant}" in outcome.output


def test_what_cannot_be_done_is_one_sentence_and_no_traceback(repository: Repository) -> None:
    outcome = CliRunner().invoke(build.cli, ["changed", "--base", "nowhere"])

    assert outcome.exit_code == 1
    assert outcome.output.startswith("Error: git knows no commit 'nowhere'")
