"""The artefacts of a release on this machine: found by their manifest.json, and trusted only with the right digest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from pipelines.local.archives import member
from pipelines.releases import Release
from pipelines.storage import Storage
from shared.errors import ArtefactError

ARTEFACT_MANIFEST: Final = "manifest.json"


def manifest_bytes(path: Path) -> bytes | None:
    """The manifest.json of an artefact, a folder or an archive; None when it has none."""
    inner = path / ARTEFACT_MANIFEST
    if inner.is_file():
        return inner.read_bytes()
    return member(path, ARTEFACT_MANIFEST) if path.is_file() else None


def digest_of(manifest: bytes) -> str:
    """What stands for the whole artefact: its manifest holds the digests of all other files."""
    return hashlib.sha256(manifest).hexdigest()


def verify_release(release: Release, storage: Storage, name: str) -> None:
    """Make sure that a release is this use case's and that its parts are the ones it was made of.

    Raises:
        ArtefactError: it is of another use case, a part is absent or has changed, or the model was made for other data.
    """
    if release.content["name"] != name:
        raise ArtefactError(
            f"release {release.id!r} is of use case {release.content['name']!r}, wanted one of {name!r}. "
            "Check --storage, or promote a release of this use case."
        )
    manifests = {part: _verified(release, storage, part) for part in release.content["parts"]}
    if "model" in manifests and "state" in manifests:
        _check_parent(release, manifests["model"], digest_of(manifests["state"]))


def _verified(release: Release, storage: Storage, part: str) -> bytes:
    """The manifest of a part, which is the one that the release names."""
    path = storage.root / release.uri(part)
    wanted = release.content["parts"][part].get("digest")
    if not wanted:
        raise ArtefactError(f"release {release.id!r} has no digest of its {part}. Promote another, or train again.")
    content = manifest_bytes(path)
    if content is None:
        raise ArtefactError(
            f"the {part} of release {release.id!r} is not in {path}: no {ARTEFACT_MANIFEST} there. "
            "Restore it, or promote another release."
        )
    if digest_of(content) != wanted:
        raise ArtefactError(
            f"the {part} of release {release.id!r} in {path} has digest {digest_of(content)[:16]}…, "
            f"wanted {str(wanted)[:16]}…: it is not the one released. Restore it, or promote another release."
        )
    return content


def _check_parent(release: Release, model: bytes, state: str) -> None:
    """The model was trained on what this state gives."""
    found = _parents(model).get("state")
    if found != state:
        origin = f"state {str(found)[:16]}…" if found else "no state that it names"
        raise ArtefactError(
            f"the model of release {release.id!r} was trained with {origin}, but the release's state is "
            f"{state[:16]}…. Promote another release, or train again."
        )


def _parents(manifest: bytes) -> dict[str, Any]:
    try:
        parents = json.loads(manifest)["parents"]
    except (ValueError, KeyError, TypeError):
        return {}
    return parents if isinstance(parents, dict) else {}
