"""Which Quartet this is: the number of pyproject.toml, which no image holds. A test compares the two."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
