"""What becomes of the digests once all images are published.

python .github/scripts/digests.py merge published images.lock.json   one lock of many, below a folder
python .github/scripts/digests.py store images.lock.json             each digest into Parameter Store

`store` writes /quartet/images/<component>/<variant>/<arch>, and leaves alone what is there already. AWS is reached as
boto3 reaches it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

KEY: Final = re.compile(r"[a-z]+/[a-z0-9-]+/(amd64|arm64)")
IMAGE: Final = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


def checked(lock: Mapping[str, str]) -> Mapping[str, str]:
    """The same lock.

    Raises:
        ValueError: it names no image, or one by something else than its digest.
    """
    if not lock:
        raise ValueError("the lock names no image, wanted component/variant/arch to repository@sha256:…")
    for key, image in lock.items():
        if not KEY.fullmatch(key) or not IMAGE.fullmatch(image):
            raise ValueError(f"{key!r} is {image!r}, wanted component/variant/arch to repository@sha256:…")
    return lock


def merge(folder: Path) -> dict[str, str]:
    """All locks below a folder as one."""
    merged: dict[str, str] = {}
    for path in sorted(folder.rglob("*.json")):
        merged |= json.loads(path.read_text(encoding="utf-8"))
    return dict(sorted(checked(merged).items()))


def store(lock: Mapping[str, str], client: Any) -> list[str]:
    """Write the digests that are new; the names of their parameters."""
    written = []
    for key, image in checked(lock).items():
        name = f"/quartet/images/{key}"
        try:
            held = client.get_parameter(Name=name)["Parameter"]["Value"]
        except client.exceptions.ParameterNotFound:
            held = None
        if held != image:
            client.put_parameter(Name=name, Value=image, Type="String", Overwrite=True)
            written.append(name)
    return written


def main(command: str, *arguments: str) -> None:
    """Do what the command line says."""
    if command == "merge":
        folder, out = map(Path, arguments)
        out.write_text(json.dumps(merge(folder), indent=2) + "\n", encoding="utf-8")
    else:
        import boto3

        (path,) = map(Path, arguments)
        for name in store(json.loads(path.read_text(encoding="utf-8")), boto3.client("ssm")):
            print(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
