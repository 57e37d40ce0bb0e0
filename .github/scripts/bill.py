"""Compares an image's bill of materials, CycloneDX as syft writes it, with the lock that the image was built from.

python .github/scripts/bill.py bom.cdx.json processing cpu

Ends with 1, and a line for each difference, unless the image's packages are exactly those of the lock.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[2]
PLACE: Final = re.compile(r"/opt/venv/lib/python(\d+\.\d+)/site-packages/")
"""Where our packages lie; what lies elsewhere is the base image's."""


def packages(bill: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """The versions of the packages that were installed for the component, by name, and the Python they are for.

    Raises:
        ValueError: there is none.
    """
    found: dict[str, str] = {}
    pythons: set[str] = set()
    for item in bill.get("components", []):
        if item.get("purl", "").startswith("pkg:pypi/"):
            places = [PLACE.match(entry["value"]) for entry in item.get("properties", [])]
            if here := next((match for match in places if match), None):
                found[canonicalize_name(item["name"])] = item["version"]
                pythons.add(here[1])
    if len(pythons) != 1:
        raise ValueError(f"the bill has packages of {len(pythons)} Pythons below /opt/venv, wanted one.")
    return found, pythons.pop()


def pins(lines: Iterable[str], python: str) -> dict[str, str]:
    """The versions that a lock pins for a Python on Linux, by name."""
    wanted = [Requirement(line.rstrip(" \\\n")) for line in lines if re.match(r"[A-Za-z0-9]", line)]
    there = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    return {
        canonicalize_name(item.name): str(item.specifier).removeprefix("==")
        for item in wanted
        if item.marker is None or item.marker.evaluate(there)
    }


def differences(held: Mapping[str, str], locked: Mapping[str, str]) -> list[str]:
    """What an image holds and its lock does not name, or the other way round, as sentences."""
    return [
        f"{name}: the image holds {held.get(name, 'none')}, the lock names {locked.get(name, 'none')}."
        for name in sorted({*held, *locked})
        if held.get(name) != locked.get(name)
    ]


def locked_for(component: str, variant: str, python: str) -> dict[str, str]:
    """The pins of a variant, with those of wheels that no index has."""
    folder = ROOT / "components" / component
    declared = tomllib.loads((folder / "component.toml").read_text(encoding="utf-8"))["variants"][variant]
    paths = [folder / declared["requirements"], *([ROOT / declared["wheels"]] if "wheels" in declared else [])]
    return {
        name: version
        for path in paths
        for name, version in pins(path.read_text(encoding="utf-8").splitlines(), python).items()
    }


def main(path: str, component: str, variant: str) -> int:
    """Compare, and tell the differences."""
    held, python = packages(json.loads(Path(path).read_text(encoding="utf-8")))
    found = differences(held, locked_for(component, variant, python))
    print(
        "\n".join(found)
        or f"{component} {variant}: {len(held)} packages for Python {python}, each as its lock names it."
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
