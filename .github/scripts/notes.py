"""Prints the section of CHANGELOG.md for a tag such as v0.1.0: the release's notes.

Ends with 1 and a sentence where the tag is not the version of pyproject.toml, or the section is not there or empty.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


def notes(tag: str, version: str, changelog: str) -> str:
    """The section of a version.

    Raises:
        ValueError: the tag is another version's, or nothing was written about it.
    """
    if tag != f"v{version}":
        raise ValueError(
            f"the tag is {tag!r} and pyproject.toml says {version}: wanted v{version}. Change one of the two."
        )
    found = re.search(rf"^## \[{re.escape(version)}\].*\n((?:(?!## |\[).*\n?)*)", changelog, flags=re.MULTILINE)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md says nothing about {version}. Give what is under Unreleased its number.")
    return found[1].strip() + "\n"


def main(tag: str) -> None:
    """Print the section of this checkout."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    try:
        text = notes(tag, version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    except ValueError as error:
        sys.exit(str(error))
    print(text, end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
