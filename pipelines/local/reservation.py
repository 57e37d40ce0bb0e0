"""A run's id is used once: its folders are taken before anything runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.storage import Storage
from shared.errors import SettingsError


@contextmanager
def reserved(storage: Storage, run: str, pipeline: str, periods: Sequence[str | None]) -> Iterator[None]:
    """The run's folders, which nobody else gets. Those in which nothing was made by the block's end are given back.

    Raises:
        SettingsError: a run of this id exists, or is under way.
    """
    _refuse_results(storage, run, pipeline)
    made: list[Path] = []
    try:
        for folder in run_folders(storage, run, pipeline, periods):
            _take(folder, run)
            made.append(folder)
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def run_folders(storage: Storage, run: str, pipeline: str, periods: Sequence[str | None]) -> list[Path]:
    """The folders of a run: one for its training, one for each period that it scores."""
    training = [] if pipeline == "inference" else [storage.run("training", run)]
    scored = () if pipeline == "training" else dict.fromkeys(periods)
    return [*training, *(storage.run("inference", f"{run}-{period}" if period else run) for period in scored)]


def _refuse_results(storage: Storage, run: str, pipeline: str) -> None:
    """What a run of this id would write over."""
    release = [] if pipeline == "inference" else [storage.releases / f"{run}.json"]
    for path in (storage.reports / f"{run}.html", *release):
        if path.exists():
            raise _taken(run, path)


def _take(folder: Path, run: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        raise _taken(run, folder) from None


def _taken(run: str, path: Path) -> SettingsError:
    return SettingsError(f"run {run!r} exists already: {path} is there. Take another --run-id, or give none.")
