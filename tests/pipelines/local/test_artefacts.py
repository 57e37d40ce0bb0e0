"""A release is used only with the parts that it was made of."""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.local.archives import pack
from pipelines.local.artefacts import verify_release
from pipelines.releases import Release, current_release
from shared.errors import ArtefactError


@pytest.fixture
def release(toy: Any) -> Release:
    """The release of a training run."""
    asyncio.run(toy.runner().training())
    return current_release(toy.storage)


def with_part(release: Release, part: str, **changes: Any) -> Release:
    parts = release.content["parts"]
    return replace(release, content={**release.content, "parts": {**parts, part: {**parts[part], **changes}}})


def other_model(archive: Path, tmp_path: Path, **changes: Any) -> None:
    """Pack the model again with another manifest."""
    folder = tmp_path / "unpacked"
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    pack(folder, archive)


def test_a_release_as_it_was_made_is_fine(release: Release, toy: Any) -> None:
    verify_release(release, toy.storage, "toy")


@pytest.mark.parametrize("part", ["state", "baseline", "explainer"])
def test_a_part_that_has_changed_stops_the_run_before_its_first_job(release: Release, toy: Any, part: str) -> None:
    (toy.storage.root / release.uri(part) / "manifest.json").write_text("{}")

    with pytest.raises(ArtefactError, match=f"the {part} of release 'r1' .* is not the one released"):
        asyncio.run(toy.runner(run="r2").inference(("p3",)))
    assert not (toy.storage.root / "inference").exists()


def test_a_model_that_has_changed_is_named(release: Release, toy: Any, tmp_path: Path) -> None:
    other_model(toy.storage.root / release.uri("model"), tmp_path, rows=1)

    with pytest.raises(ArtefactError, match=r"the model of release 'r1' .* is not the one released"):
        verify_release(release, toy.storage, "toy")


@pytest.mark.parametrize("part", ["model", "state"])
def test_a_part_that_is_gone_is_named(release: Release, toy: Any, part: str) -> None:
    path = toy.storage.root / release.uri(part)
    path.rename(path.with_name("away"))

    with pytest.raises(ArtefactError, match=f"the {part} of release 'r1' is not in "):
        verify_release(release, toy.storage, "toy")


@pytest.mark.parametrize("part", ["model", "state", "baseline", "explainer"])
def test_a_part_without_a_digest_is_named(release: Release, toy: Any, part: str) -> None:
    with pytest.raises(ArtefactError, match=f"release 'r1' has no digest of its {part}"):
        verify_release(with_part(release, part, digest=None), toy.storage, "toy")


@pytest.mark.parametrize("parents", [{}, {"state": "f" * 64}, None])
def test_a_model_that_was_made_for_another_state_is_refused(
    release: Release, toy: Any, tmp_path: Path, parents: Any, digest: Callable[[Path], str]
) -> None:
    archive = toy.storage.root / release.uri("model")
    other_model(archive, tmp_path, parents=parents)

    with pytest.raises(ArtefactError, match=r"the model of release 'r1' was trained with .* the release's state is"):
        verify_release(with_part(release, "model", digest=digest(tmp_path / "unpacked")), toy.storage, "toy")


@pytest.fixture
def digest() -> Callable[[Path], str]:
    """The digest of an artefact's folder, as another implementation counts it."""
    from shared.files import sha256_of

    return lambda folder: sha256_of(folder / "manifest.json")


def test_a_release_of_another_use_case_is_refused(release: Release, toy: Any) -> None:
    with pytest.raises(ArtefactError, match="release 'r1' is of use case 'toy', wanted one of 'other'"):
        verify_release(release, toy.storage, "other")
