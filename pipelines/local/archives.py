"""model.tar.gz and output.tar.gz, as SageMaker packs and unpacks them; the same files give the same bytes."""

from __future__ import annotations

import tarfile
from pathlib import Path

from shared.carrier.tree import pack, unpack
from shared.errors import ArtefactError

__all__ = ["member", "pack", "unpack"]


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
