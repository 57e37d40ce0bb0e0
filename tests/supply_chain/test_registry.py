"""A release's image, from its build to its verification, by the steps of the workflow and the commands of SECURITY.md.

The registry is one of this machine, and the signature is by a key: an identity of GitHub is only there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import build
from components.spec import specs
from tests.images.test_registry import Registry, forget, serving
from tests.supply_chain.workflows import ROOT, SHELL, fill, run, step

pytestmark = [pytest.mark.docker, pytest.mark.scanners]
TAG = "v0.1.0"
(PROCESSING,) = build.defaults(build.images(specs(), "processing"))
ENTRY = {"COMPONENT": "processing", "VARIANT": "cpu", "ARCH": build.OWN}


@pytest.fixture(scope="module")
def engine() -> Any:
    """The engine, with the image of this checkout."""
    client = build.engine()
    done = subprocess.run(
        (sys.executable, "build.py", "build", "processing"),
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    return client


def fetched(name: str) -> str:
    """A program of Debian's that engine/ fetches."""
    done = subprocess.run((ROOT / "engine" / name,), capture_output=True, text=True, check=False, timeout=300)
    if "no apt-get" in done.stderr or "No cosign" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])

    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def registry(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(fetched("registry"), tmp_path_factory.mktemp("registry") / "data") as started:
        yield started
        forget(engine, started.address)


@dataclass(frozen=True)
class Released:
    """An image that has been released, and where."""

    workspace: Path
    registry: Registry
    outputs: Mapping[str, str]

    @property
    def image(self) -> str:
        return self.outputs["image"]

    @property
    def digest(self) -> str:
        return self.outputs["digest"]


@pytest.fixture(scope="module")
def cosign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cosign and a pair of keys."""
    folder = tmp_path_factory.mktemp("cosign")
    (folder / "cosign").symlink_to(fetched("cosign"))
    environment = {**os.environ, "COSIGN_PASSWORD": ""}
    for name in ("key", "other"):
        words = ("./cosign", "generate-key-pair", "--output-key-prefix", name)
        subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def released(engine: Any, registry: Registry, cosign: Path, tmp_path_factory: pytest.TempPathFactory) -> Released:
    """The image of processing, taken through the steps of release.yml."""
    workspace = fill(tmp_path_factory.mktemp("release"))
    outputs = workspace / "outputs"
    image = {**ENTRY, "IMAGE": PROCESSING.name}
    held = run(step("release.yml", "What it holds, compared with its lock"), workspace, {**image, "FOLDER": "image"})
    kept = run(step("release.yml", "Keep it as it was tested"), workspace, image)
    loaded = run(step("release.yml", "Load what was tested"), workspace, ENTRY)
    pushed = run(
        step("release.yml", "Push, and see that SageMaker takes what the registry holds"),
        workspace,
        {**ENTRY, "REGISTRY": registry.address, "TAG": TAG, "LOCK": "published.json"},
        GITHUB_OUTPUT=str(outputs),
    )
    assert [done.returncode for done in (held, kept, loaded, pushed)] == [0, 0, 0, 0], (
        held.stderr + kept.stderr + loaded.stderr + pushed.stderr
    )
    (workspace / "image/image.tar.gz").unlink()  # large, and loaded
    found = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    key = {"COSIGN": str(cosign / "cosign"), "COSIGN_KEY": str(cosign / "key.key"), "COSIGN_PASSWORD": ""}
    signed = run(step("release.yml", "Sign"), workspace, {**ENTRY, "IMAGE": found["image"]}, **key)

    assert signed.returncode == 0, signed.stderr
    return Released(workspace, registry, found)


def verified(cosign: Path, image: str, key: str = "key") -> subprocess.CompletedProcess[str]:
    words = (cosign / "cosign", "verify", "--key", f"{key}.pub", "--insecure-ignore-tlog=true", image)
    return subprocess.run(words, cwd=cosign, capture_output=True, text=True, check=False, timeout=60)


def test_the_image_starts_locked_down(engine: Any, tmp_path: Path) -> None:
    done = run(step("ci.yml", "Start it locked down"), fill(tmp_path / "workspace"), ENTRY)

    assert (done.returncode, done.stdout) == (0, f"{PROCESSING.local} explains itself.\n"), done.stderr


def test_the_digest_is_that_of_a_plain_manifest_which_signing_left_as_it_was(released: Released) -> None:
    kind, body = released.registry.manifest(PROCESSING, TAG)

    assert kind == "application/vnd.docker.distribution.manifest.v2+json"
    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == released.digest
    assert released.image == f"{released.outputs['repository']}@{released.digest}"


def test_a_job_that_is_run_again_elsewhere_publishes_the_same(released: Released, engine: Any, tmp_path: Path) -> None:
    """Its engine was given the image as an archive, and knows nothing of the registry; the tag is there, and stays."""
    forget(engine, released.registry.address)
    outputs = tmp_path / "outputs"
    again = run(
        step("release.yml", "Push, and see that SageMaker takes what the registry holds"),
        released.workspace,
        {**ENTRY, "REGISTRY": released.registry.address, "TAG": TAG, "LOCK": "again.json"},
        GITHUB_OUTPUT=str(outputs),
    )

    assert again.returncode == 0, again.stderr
    assert dict(line.split("=", 1) for line in outputs.read_text().splitlines()) == released.outputs


def test_the_signature_is_an_artefact_of_its_own_for_that_digest(released: Released, cosign: Path) -> None:
    name = f"quartet/processing/manifests/{released.digest.replace(':', '-')}.sig"
    status, _, body = released.registry.get(f"/v2/{name}")
    payload = json.loads(verified(cosign, released.image).stdout)[0]

    assert status == 200
    assert json.loads(body)["layers"][0]["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert payload["critical"]["image"]["docker-manifest-digest"] == released.digest


def test_another_key_verifies_nothing(released: Released, cosign: Path) -> None:
    done = verified(cosign, released.image, key="other")

    assert done.returncode != 0
    assert "no matching signatures" in done.stderr


def test_an_image_that_nobody_signed_is_not_verified(released: Released, cosign: Path, engine: Any) -> None:
    """The same layers with another configuration are another digest."""
    name = f"{released.outputs['repository']}:other"
    other = engine.containers.create(PROCESSING.local)
    try:
        other.commit(repository=released.outputs["repository"], tag="other", changes='LABEL somebody="else"')
    finally:
        other.remove()
    digest = build.pushed_digest(engine.api.push(name, stream=True, decode=True), name)
    image = engine.images.get(name)
    engine.images.remove(image.id, force=True)
    done = verified(cosign, f"{released.outputs['repository']}@{digest}")

    assert digest != released.digest
    assert done.returncode != 0
    assert "no signatures found" in done.stderr


def test_the_bills_name_what_is_in_the_image_and_the_image_that_it_is(released: Released) -> None:
    cyclone = json.loads((released.workspace / "image/bom.cdx.json").read_text())
    spdx = json.loads((released.workspace / "image/bom.spdx.json").read_text())
    packages = {item["name"] for item in spdx["packages"]}

    assert cyclone["bomFormat"] == "CycloneDX"
    assert spdx["spdxVersion"].startswith("SPDX-2")
    assert {"polars", "pydantic", "numpy"} <= packages & {item["name"] for item in cyclone["components"]}
    assert any(item.get("purl", "").startswith("pkg:deb/") for item in cyclone["components"])


# --- SECURITY.md


def commands() -> dict[str, str]:
    """The commands of SECURITY.md by their headings."""
    text = (ROOT / "SECURITY.md").read_text()
    return dict(re.findall(r"^##+ ([^\n]+)\n(?:(?!^##).)*?```sh\n(.*?)```", text, flags=re.MULTILINE | re.DOTALL))


RUN = {
    "The registry holds what the lock says, in a form that SageMaker takes": "published.json says the same.",
    "Its packages are those of the lock file, no more and no fewer": "each as its lock names it.",
    "You have signed it yourself, with a key": "docker-manifest-digest",
}
"""What a section's commands say when all is well."""
GITHUB = {
    "The release workflow of this repository has signed it": ("cosign", "verify"),
    "It was built by that workflow from that commit, and holds what the bill says": ("gh", "attestation", "verify"),
}
"""Sections that ask GitHub and the public log, so that only their words can be judged here."""


def test_every_section_with_commands_is_known() -> None:
    assert set(commands()) == {"Verifying an image", *RUN, *GITHUB}


@pytest.mark.parametrize("section", RUN)
def test_the_commands_of_security_md_verify_the_image(
    section: str, released: Released, cosign: Path, engine: Any
) -> None:
    (released.workspace / "bill").mkdir(exist_ok=True)
    given = {
        **ENTRY, "REGISTRY": released.registry.address, "TAG": TAG, "LOCK": "published.json",
        "KEY": str(cosign / "key"), "COSIGN_PASSWORD": "", "PATH": f"{cosign}:{os.environ['PATH']}",
    }  # fmt: skip
    image = commands()["Verifying an image"].splitlines()[-1]
    done = subprocess.run(
        (*SHELL, f"{image}\n{commands()[section]}"),
        cwd=released.workspace, env={**os.environ, **given}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert RUN[section] in done.stdout + done.stderr


def test_a_moved_tag_is_found_by_the_first_command(released: Released) -> None:
    lock = released.workspace / "other.json"
    lock.write_text((released.workspace / "published.json").read_text().replace(released.digest, "sha256:" + "0" * 64))
    given = {**ENTRY, "REGISTRY": released.registry.address, "TAG": TAG, "LOCK": "other.json"}
    done = subprocess.run(
        (*SHELL, commands()["The registry holds what the lock says, in a form that SageMaker takes"]),
        cwd=released.workspace, env={**os.environ, **given}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 1
    assert "Somebody moved a tag" in done.stderr


def test_cosign_knows_the_words_of_the_command_that_asks_github(cosign: Path) -> None:
    text = commands()["The release workflow of this repository has signed it"]
    helped = subprocess.run((cosign / "cosign", "verify", "--help"), capture_output=True, text=True, check=True)

    assert [word for word in re.findall(r"--[a-z-]+", text) if word not in helped.stdout] == []
