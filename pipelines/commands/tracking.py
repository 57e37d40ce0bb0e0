"""The command that tracks releases, and what tracking adds to others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.common import environment_option, manifest_argument, release_argument, spoken, storage_option
from pipelines.commands.releases import kept
from pipelines.manifest import Manifest, for_environment, read_manifest
from shared.errors import SettingsError

if TYPE_CHECKING:
    from pipelines.ledger import Ledger
    from pipelines.local.runs import Outcome
    from pipelines.storage import Storage
    from pipelines.tracking.tracker import Book, Watch


@click.command()
@manifest_argument
@release_argument
@environment_option
@storage_option
@spoken
def track(manifest: Path, release: str | None, environment: str | None, storage: Path | None) -> None:
    r"""Make releases runs of MLflow: one, or all that are none yet, such as those that drift or a schedule started.

    \b
    Examples:
      python -m pipelines track use-case.yaml --environment prod
      python -m pipelines track use-case.yaml 20240131-040000-a1b2
    """
    found = for_environment(read_manifest(manifest).manifest, environment)
    _, ledger = kept(manifest, environment, storage)
    book = book_beside(found, environment, ledger)
    if book is None:
        raise SettingsError(f"{manifest} has no tracking. Add tracking.uri, that of an MLflow tracking server.")
    for one in ledger.all() if release is None else [ledger.read(release)]:
        done = book.release(one)
        remark = f"; {done.remark}" if done.remark else ""
        click.echo(f"{one.id}  run {done.run}{'' if done.new else ', tracked before'}{remark}")


def book_beside(manifest: Manifest, environment: str | None, ledger: Ledger) -> Book | None:
    """Where the releases of a ledger are tracked; None when the manifest has no `tracking`."""
    from pipelines.ledger import CloudLedger, LocalLedger
    from pipelines.tracking.evidence import CloudPlace, LocalPlace
    from pipelines.tracking.tracker import book_of

    if isinstance(ledger, CloudLedger):
        return book_of(manifest, environment, CloudPlace(ledger.found.connect, ledger.found.site.storage))
    assert isinstance(ledger, LocalLedger)
    return book_of(manifest, environment, LocalPlace(ledger.storage))


def watch_here(manifest: Manifest, storage: Storage, warn: Callable[[str], None]) -> Watch | None:
    """What looks on while pipelines run on this machine; None when the manifest has no `tracking`."""
    from pipelines.ledger import LocalLedger
    from pipelines.tracking.tracker import Watch

    book = book_beside(manifest, None, LocalLedger(storage))
    return Watch(book, warn) if book else None


def track_verdicts(watch: Watch, outcome: Outcome, periods: Sequence[str]) -> None:
    """Add the drift of every scored period to its release's run: a step is the period's place among the manifest's."""
    following = outcome.retrained.following if outcome.retrained else None
    for scored in (*outcome.scored, *([following] if following else [])):
        if scored.drift and (scored.period is None or scored.period in periods):
            step = 0 if scored.period is None else periods.index(scored.period) + 1
            watch.verdict(scored.release, scored.drift, step)


def track_awaited(manifest: Manifest, environment: str | None, ledger: Ledger, run: str) -> None:
    """Track the release of a training in the cloud that has just ended; a warning when that fails."""
    from pipelines.tracking.tracker import Watch

    book = book_beside(manifest, environment, ledger)
    if book is not None:
        Watch(book, lambda text: click.echo(text, err=True)).named(run, ledger.read)
