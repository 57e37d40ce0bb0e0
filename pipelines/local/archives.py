"""model.tar.gz and output.tar.gz, as SageMaker packs and unpacks them; the same files give the same bytes."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

from shared.errors import ArtefactError
from shared.files import replacing


def pack(folder: Path, archive: Path) -> None:
    """Pack the content of a folder (its files at the archive's root), without times, owners or order of creation."""
    with (
        replacing(archive) as temporary,
        temporary.open("wb") as stream,
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=1) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*"), key=lambda item: item.relative_to(folder).as_posix()):
            _add(tar, path, path.relative_to(folder).as_posix())


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """One file or folder; links and sockets are left out, as the upload does not follow them."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    entry = tarfile.TarInfo(name)
    if path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
        return
    entry.size, entry.mode = path.stat().st_size, 0o644
    with path.open("rb") as stream:
        tar.addfile(entry, stream)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder.

    Raises:
        ArtefactError: the archive is damaged or tries to write outside the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ArtefactError(f"{archive} cannot be unpacked: {error}. Train again.") from None


def member(archive: Path, name: str) -> bytes | None:
    """The bytes of one file at the archive's root; None when there is no such file.

    Raises:
        ArtefactError: the archive is damaged.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            stream = tar.extractfile(name)
            return stream.read() if stream else None
    except KeyError:
        return None
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ArtefactError(f"{archive} cannot be unpacked: {error}. Train again.") from None
