"""Optional packages that are hidden from a library's import."""

from __future__ import annotations

import sys

import pytest

from shared.imports import without


def test_a_hidden_package_cannot_be_imported_until_the_block_ends() -> None:
    sys.modules.pop("colorsys", None)

    with without("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)


def test_a_package_that_is_in_use_stays() -> None:
    with without("pytest"):
        assert sys.modules["pytest"] is pytest
