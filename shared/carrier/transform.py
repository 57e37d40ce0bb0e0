"""Batch Transform inside one container: the component's own server on the loopback, and objects posted to it.

The server is the one that SageMaker's Batch Transform would ask, so its answers are the same bytes.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared.carrier.client import Client
from shared.carrier.cutting import Cutting, TransformError, transformed
from shared.carrier.s3 import Object, Place, Store


def transform_objects(
    found: list[Object], target: Place, folder: Path, store: Store, client: Client, cut: Cutting, log: logging.Logger
) -> int:
    """Transform objects to `<name>.out` below a prefix, each whole or not at all; how many records.

    `folder` is room for one object and its answers.

    Raises:
        TransformError: objects failed; the others are done.
        QuartetError: S3 cannot be read or written.
    """
    records = 0
    failures: list[tuple[str, TransformError]] = []
    folder.mkdir(parents=True, exist_ok=True)
    source, answers = folder / "object", folder / "answers"
    with ThreadPoolExecutor(cut.concurrency) as pool:
        for item in found:
            store.fetch([(item.place, source)])
            try:
                done = sum(count for count, _ in transformed(source, answers, client.post, cut, pool))
            except TransformError as error:
                failures.append((item.name, error))
                log.error("%s: %s", item.name, error)
                continue
            store.send([(answers, target.below(f"{item.name}.out"))])
            log.info("%s: %s records transformed", item.name, done)
            records += done
    if failures:
        text = "; ".join(f"{name}: {error}" for name, error in failures)
        raise TransformError(text, max(error.exit_code for _, error in failures))
    return records
