"""What the local engine predicts for the flights: the bytes that every engine in the cloud has to give too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from unittest.mock import Mock

from components.spec import specs
from pipelines.local.children import Programs
from pipelines.local.containers import here
from pipelines.local.engine import Machine, Slots
from pipelines.local.runs import Runner
from pipelines.manifest import read_manifest
from pipelines.storage import Storage
from tests.aws.data import CALM, DRIFTED, MANIFEST, Flights


def scored_locally(flights: Flights, images: Mapping[str, str]) -> dict[str, bytes]:
    """The predictions by month, from the same manifest and the same files.

    Args:
        flights: the raw files.
        images: run the jobs in these, by component; in processes where there are none. Libraries of both may differ.
    """
    return _scored(flights.folder, tuple(sorted(images.items())))


@cache
def _scored(folder: Path, images: tuple[tuple[str, str], ...]) -> dict[str, bytes]:
    """Once in a session, however many engines are compared with it."""
    root = folder / ("local-containers" if images else "local-processes")
    root.mkdir()
    (root / "data").symlink_to(folder / "data")
    programs = here(dict(images).values()) if images else Programs()
    machine = Machine(Slots(1), processors=1, jobs=1, programs=programs)
    storage = Storage(root)
    runner = Runner(read_manifest(MANIFEST), specs(), storage, machine, Mock(), "local", dict(images))
    asyncio.run(runner.training())
    asyncio.run(runner.inference([CALM, DRIFTED]))
    return {
        month: next((storage.run("inference", f"local-{month}") / "algorithm/scores").glob("*.out")).read_bytes()
        for month in (CALM, DRIFTED)
    }
