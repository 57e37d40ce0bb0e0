"""Images by digest."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.aws.images import image_uris
from pipelines.manifest import Manifest
from shared.errors import SettingsError

ONE = f"registry/quartet/processing@sha256:{'1' * 64}"
TWO = f"registry/quartet/algorithm@sha256:{'2' * 64}"


def manifest(**images: Any) -> Manifest:
    return Manifest.model_validate(
        {"apiVersion": "quartet/v1", "name": "toy", "data": {"train": {"uri": "x"}}, "components": {}, "images": images}
    )


def test_the_manifest_comes_before_the_lock() -> None:
    own = {"uri": "registry/own", "digest": f"sha256:{'3' * 64}"}

    assert image_uris(manifest(processing=own), {"processing": ONE, "algorithm": TWO}, ["processing", "algorithm"]) == {
        "processing": f"registry/own@sha256:{'3' * 64}",
        "algorithm": TWO,
    }


@pytest.mark.parametrize("uri", ["registry/quartet/processing:1.2", "registry/quartet/processing", "r/p@sha256:123"])
def test_an_image_without_a_digest_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match=f"the image of 'processing' is '{uri}', wanted one by digest"):
        image_uris(manifest(processing={"uri": uri}), {}, ["processing"])


def test_a_tag_from_the_lock_is_refused_too() -> None:
    with pytest.raises(SettingsError, match="wanted one by digest"):
        image_uris(manifest(), {"processing": "registry/quartet/processing:latest"}, ["processing"])


def test_an_image_that_nobody_names_is_missed() -> None:
    with pytest.raises(SettingsError, match=r"there is no image of 'monitoring'\. Push it with build\.py"):
        image_uris(manifest(), {"processing": ONE}, ["processing", "monitoring"])
