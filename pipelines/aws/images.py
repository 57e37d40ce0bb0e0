"""Images by digest: the only name by which all steps of a run, and the next run, get the same one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pipelines.manifest import Manifest
from shared.errors import SettingsError, names

DIGEST: Final = re.compile(r".+@sha256:[0-9a-f]{64}")


def image_uris(manifest: Manifest, locked: Mapping[str, str], components: Sequence[str]) -> dict[str, str]:
    """The image of each component, by digest: the manifest's, else the locked one.

    Args:
        manifest: may name images.
        locked: image by component.
        components: whose images are wanted.

    Raises:
        SettingsError: an image is not known, or is named by a tag.
    """
    declared: dict[str, str] = {name: image.reference for name, image in manifest.images.items()}
    found = {name: declared.get(name) or locked.get(name, "") for name in components}
    lacking = [name for name, uri in found.items() if not uri]
    if lacking:
        raise SettingsError(f"there is no image of {names(lacking)}. Push it with build.py, or name it under images.")
    for name, uri in found.items():
        if not DIGEST.fullmatch(uri):
            raise SettingsError(
                f"the image of {name!r} is {uri!r}, wanted one by digest (…@sha256:…): a tag can come to mean another "
                "image between two steps of a run. Write images.*.digest, or push with build.py."
            )
    return found
