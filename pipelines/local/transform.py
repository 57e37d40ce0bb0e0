"""Batch Transform of a folder: every object below it, through a server on this machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines.local.workspace import files
from shared.carrier.client import Client
from shared.carrier.cutting import Cutting, TransformError, transformed
from shared.errors import DataError
from shared.files import replacing


def transform_objects(
    source: Path, target: Path, client: Client, cut: Cutting, advanced: Callable[[int, int], None]
) -> int:
    """Transform every object below `source` to `<name>.out` below `target`.

    Args:
        source: a file or a folder.
        target: where outputs go; an object that fails has none.
        client: posts the payloads.
        cut: how objects are cut.
        advanced: is told the bytes done so far, and all there are.

    Returns:
        How many records were transformed.

    Raises:
        DataError: there are no objects.
        TransformError: objects failed; the others are done.
    """
    objects = list(files(source))
    if not objects:
        raise DataError(f"{source} holds no object to transform. Check the job before.")
    total = sum(path.stat().st_size for path, _ in objects)
    records, sent = 0, 0
    failures: list[tuple[str, TransformError]] = []
    with ThreadPoolExecutor(cut.concurrency) as pool:
        for path, name in objects:
            try:
                with replacing(target / f"{name}.out") as temporary:
                    for done, size in transformed(path, temporary, client.post, cut, pool):
                        records += done
                        sent += size
                        advanced(sent, total)
            except TransformError as error:
                failures.append((name, error))
    if failures:
        text = "; ".join(f"{name}: {error}" for name, error in failures)
        raise TransformError(text, max(error.exit_code for _, error in failures))
    return records
