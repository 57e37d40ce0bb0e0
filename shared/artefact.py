"""Artefacts: folders of open formats with a manifest that says what they are and what they must contain.

A model, a processing state, a baseline and an explainer are all artefacts. `manifest.json` holds the format's version,
the component, its settings, the schema of its input, library versions, the SHA-256 of every other file, the digests of
the artefacts it was made from, and a golden batch: a few inputs with the outputs they gave when the artefact was made.
Nothing is ever unpickled, and nothing in an artefact holds a time, a path or a random number: the same input and
settings give the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import math
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from shared.errors import ArtefactError
from shared.files import is_there, json_text, read_json, sha256_of, write_json
from shared.schema import Schema

if TYPE_CHECKING:
    import polars as pl

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
ARCHIVE: Final = "model.tar.gz"


@dataclass(frozen=True)
class Golden:
    """A few rows and what they gave: columns of equal length, JSON values only."""

    inputs: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Artefact:
    """An artefact on disk whose files are the ones its manifest names."""

    folder: Path
    component: str
    schema: Schema
    settings: Mapping[str, Any]
    parents: Mapping[str, str]
    versions: Mapping[str, str]
    extra: Mapping[str, Any]
    golden: Golden
    digest: str
    """SHA-256 of the manifest's bytes, which holds the digests of all other files: it stands for the whole artefact."""

    def file(self, name: str) -> Path:
        """Path of one of its files."""
        return self.folder / name

    def check_golden(self, answer: Callable[[pl.DataFrame], pl.DataFrame], tolerance: float = 1e-6) -> None:
        """Make sure that the artefact still answers its golden batch as it did when it was made.

        Args:
            answer: the loaded artefact's function on a table with the golden inputs' columns.
            tolerance: greatest absolute difference of a number, plus the same share of its size.

        Raises:
            ArtefactError: an answer differs.
        """
        import polars as pl

        if not self.golden.inputs:
            return
        wanted = self.schema.select(self.golden.inputs).dtypes()
        given = answer(pl.DataFrame(self.golden.inputs, schema=wanted, strict=False))
        for name, expected in self.golden.outputs.items():
            for row, (old, new) in enumerate(zip(expected, given[name].to_list(), strict=True)):
                if not agrees(old, new, tolerance):
                    raise ArtefactError(
                        f"the {self.component} artefact gives {name!r} = {new!r} for row {row} of its golden batch, "
                        f"where it gave {old!r} when it was made with {versions_text(self.versions)}. "
                        "Run it with those versions, or train again."
                    )


def agrees(old: Any, new: Any, tolerance: float) -> bool:
    """Whether two values are equal, numbers within `tolerance * (1 + |old|)`."""
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        return math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance)
    return bool(old == new)


def versions_text(versions: Mapping[str, str]) -> str:
    """`polars 2.1.0, xgboost 3.4.1`."""
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def library_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Installed versions of the distributions that are there."""
    versions = {}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def write_artefact(
    folder: Path,
    *,
    component: str,
    schema: Schema,
    settings: Mapping[str, Any],
    libraries: Iterable[str] = (),
    parents: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    golden: Golden | None = None,
) -> str:
    """Seal a folder: write the manifest for the files that lie in it now.

    Args:
        folder: holds the artefact's data files.
        component: the component that made it.
        schema: columns of the input that it is applied to.
        settings: the settings it was made with.
        libraries: distributions whose versions matter when it is used.
        parents: digests of the artefacts it was made from, by role (`state`, `model`).
        extra: whatever else the component's loader needs.
        golden: rows and their answers, checked at every load.

    Returns:
        The artefact's digest.
    """
    golden = golden or Golden()
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    manifest = {
        "format": FORMAT,
        "component": component,
        "schema": schema.to_json(),
        "settings": dict(settings),
        "versions": library_versions(libraries),
        "parents": dict(parents or {}),
        "extra": dict(extra or {}),
        "golden": {"inputs": dict(golden.inputs), "outputs": dict(golden.outputs)},
        "files": files,
    }
    write_json(folder / MANIFEST, manifest)
    return hashlib.sha256(json_text(manifest).encode()).hexdigest()


def open_artefact(folder: Path, component: str, what: str) -> Artefact:
    """The artefact in `folder`, its files checked against the manifest.

    Args:
        folder: holds manifest.json, or model.tar.gz as SageMaker packs a model.
        component: the component that must have made it.
        what: how errors call it, for example `model`.

    Raises:
        ArtefactError: it is absent, incomplete, changed, of another component, or older or newer than this code reads.
    """
    try:
        if not is_there(folder / MANIFEST) and is_there(folder / ARCHIVE):
            folder = unpacked(folder / ARCHIVE, what)
        if not is_there(folder / MANIFEST):
            raise ArtefactError(
                f"{what} {folder} holds no {MANIFEST}. Mount the folder that the {component} component wrote."
            )
        manifest = read_json(folder / MANIFEST, what)
        found = manifest["format"]
        if found != FORMAT:
            age = "older" if isinstance(found, int) and found < FORMAT else "newer"
            raise ArtefactError(
                f"{what} has format {found}, {age} than the format {FORMAT} that this version reads. "
                "Train again with this version, or use the version that made it."
            )
        if manifest["component"] != component:
            raise ArtefactError(f"{what} was made by {manifest['component']!r}, wanted one of {component!r}.")
        check_files(folder, manifest["files"], what)
        return Artefact(
            folder=folder,
            component=component,
            schema=Schema.from_json(manifest["schema"]),
            settings=manifest["settings"],
            parents=manifest["parents"],
            versions=manifest["versions"],
            extra=manifest["extra"],
            golden=Golden(**manifest["golden"]),
            digest=sha256_of(folder / MANIFEST),
        )
    except OSError as error:
        raise ArtefactError(
            f"{what} {error.filename} cannot be read: {error.strerror}. Let the container's user read it."
        ) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{what} {MANIFEST} cannot be read: {error!r}. Train again.") from None


def check_files(folder: Path, digests: Mapping[str, str], what: str) -> None:
    """Make sure that the files are the ones that were sealed.

    Raises:
        ArtefactError: one is missing or has changed. Files that the manifest does not name are left alone, because
            SageMaker's local mode leaves model.tar.gz beside what it unpacked.
    """
    for name, digest in sorted(digests.items()):
        path = folder / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ArtefactError(f"{what} names the file {name!r}, which lies outside it.")
        if not path.is_file():
            raise ArtefactError(f"{what} lacks its file {name!r}. Copy the whole folder, or train again.")
        if sha256_of(path) != digest:
            raise ArtefactError(
                f"{what} file {name!r} is not the one that was written (its SHA-256 differs). "
                "Restore it from where it was trained, or train again."
            )


_UNPACKED: list[tempfile.TemporaryDirectory[str]] = []


def unpacked(archive: Path, what: str) -> Path:
    """A temporary folder with the archive's files, removed when the process ends.

    Raises:
        ArtefactError: the archive is damaged or tries to write outside its folder.
    """
    holder = tempfile.TemporaryDirectory(prefix="quartet-")
    _UNPACKED.append(holder)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(holder.name, filter="data")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        _UNPACKED.pop().cleanup()  # now: a server whose artefact is damaged leaves without looking back
        raise ArtefactError(f"{what} {archive.name} cannot be unpacked: {error}.") from None
    return Path(holder.name)
