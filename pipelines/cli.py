"""The command line: `python -m pipelines`, or `quartet` where the package is installed.

Exit codes: 0 fine; that of the step when one failed; 2 for a manifest or an option that cannot be used; 3 for data;
130 and 143 when the run was interrupted or told to stop.
"""

from __future__ import annotations

import asyncio
import functools
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from pipelines.manifest import PERIOD, UseCase, read_manifest
from pipelines.storage import Storage, run_id, storage_of
from shared.errors import QuartetError, SettingsError, Stopped

PIPELINES: Final = ("training", "inference", "both")
RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., None])


def spoken(command: Command) -> Command:
    """The command with our errors as a sentence and an exit code."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except QuartetError as error:
            _end(str(error), error.exit_code)
        except Stopped as stopped:
            _end(f"stopped by {signal.Signals(stopped.signum).name}; its jobs were stopped too.", stopped.exit_code)

    return wrapped  # type: ignore[return-value]


def _end(text: str, code: int) -> NoReturn:
    # click's own exceptions would always exit with 1 or 2, and a failed step has a code of its own.
    click.echo(f"error: {text}", err=True)
    sys.exit(code)


manifest_argument = click.argument("manifest", type=click.Path(path_type=Path))
storage_option = click.option(
    "--storage", type=click.Path(path_type=Path, file_okay=False), help="Where all goes (default: the manifest's)."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    r"""One manifest, two pipelines: train and release, then score with the release.

    \b
    Examples:
      python -m pipelines validate pipelines/flights/use-case.yaml
      python -m pipelines run pipelines/flights/use-case.yaml --pipeline both
      python -m pipelines status pipelines/flights/use-case.yaml
    """


@main.command()
@manifest_argument
@click.option("--pipeline", type=click.Choice(PIPELINES), default="both", show_default=True)
@click.option("--period", "periods", multiple=True, help="Score this period; repeatable (default: the manifest's).")
@storage_option
@click.option("--jobs", type=click.IntRange(min=1), help="Most jobs at once (default: one a processor).")
@click.option("--run-id", "given_id", help="Letters, digits and hyphens (default: the time and a random part).")
@click.option("--keep", is_flag=True, help="Keep the /opt/ml tree of every job; those of failed jobs always stay.")
@spoken
def run(
    manifest: Path,
    pipeline: str,
    periods: tuple[str, ...],
    storage: Path | None,
    jobs: int | None,
    given_id: str | None,
    keep: bool,
) -> None:
    r"""Run a pipeline on this machine.

    \b
    Examples:
      python -m pipelines run use-case.yaml --pipeline training
      python -m pipelines run use-case.yaml --pipeline inference --period 2013-05 --period 2013-06
      python -m pipelines run use-case.yaml --storage /tmp/demo --jobs 4
    """
    # Late: what runs jobs takes longer to import than --help and a manifest's errors should take to print.
    from components.spec import specs
    from pipelines.local.engine import Machine
    from pipelines.local.reservation import reserved
    from pipelines.local.runs import Runner, prepare
    from pipelines.progress import Lines
    from pipelines.reports import write_run_report

    use_case, place = _opened(manifest, storage)
    _refuse_other_engines(use_case)
    _check_periods(periods)
    run_name = _run_name(given_id)
    machine = Machine.here(jobs, keep=keep)
    with Lines() as lines:
        runner = Runner(use_case, specs(), place, machine, lines, run_name)
        with reserved(place, run_name, pipeline, runner.periods(periods)):
            if prepare(use_case, place, machine.programs.folder):
                lines.say(f"data written to {place.root / 'data'}")
            if pipeline == "training":
                outcome = interruptible(runner.training())
            else:
                work = runner.both if pipeline == "both" else runner.inference
                outcome = interruptible(work(periods))
    click.echo(f"report: {write_run_report(outcome, place, use_case.manifest.name)}")


def _check_periods(periods: Sequence[str]) -> None:
    """A period becomes part of paths.

    Raises:
        SettingsError: one could lead elsewhere.
    """
    for period in periods:
        if not re.fullmatch(PERIOD, period):
            raise SettingsError(f"--period is {period!r}, wanted letters, digits, '.', '_' and '-', such as 2013-05.")


def _refuse_other_engines(use_case: UseCase) -> None:
    """Only the local engine runs from here.

    Raises:
        SettingsError: the manifest names another one.
    """
    engine = use_case.manifest.engine
    if engine != "local":
        raise SettingsError(f"engine is {engine!r}, but `run` runs only 'local' here now. Set engine: local.")


def _run_name(given: str | None) -> str:
    """The run's id.

    Raises:
        SettingsError: the one given holds characters that a job's name must not have.
    """
    if given is not None and not RUN_ID.fullmatch(given):
        raise SettingsError(f"--run-id is {given!r}, wanted at most 40 letters, digits and hyphens.")
    return given or run_id()


@main.command()
@manifest_argument
@spoken
def validate(manifest: Path) -> None:
    r"""Check a manifest; every problem is told with its line.

    \b
    Example:
      python -m pipelines validate pipelines/flights/use-case.yaml
    """
    from components.spec import specs
    from pipelines.graph import inference_graph, training_graph

    use_case = read_manifest(manifest)
    graphs = [training_graph(use_case.manifest, specs())]
    if use_case.manifest.data.score:
        graphs.append(inference_graph(use_case.manifest, specs()))
    for graph in graphs:
        click.echo(f"{graph.pipeline}: {' → '.join(', '.join(layer) for layer in graph.layers())}")
    click.echo(f"{manifest} is fine.")


@main.command()
@manifest_argument
@click.argument("release", required=False)
@click.option("--latest", is_flag=True, help="The latest release.")
@click.option("--force", is_flag=True, help="Even if a gate is not met; the history says so.")
@storage_option
@spoken
def promote(manifest: Path, release: str | None, latest: bool, force: bool, storage: Path | None) -> None:
    r"""Make a release the one that inference reads.

    \b
    Examples:
      python -m pipelines promote use-case.yaml 20240131-040000-a1b2
      python -m pipelines promote use-case.yaml --latest
    """
    from pipelines import releases

    _, place = _opened(manifest, storage)
    if (release is None) == (not latest):
        raise SettingsError("name one release, or give --latest. `status` lists the releases.")
    if not releases.release_ids(place):
        raise SettingsError(f"there is no release in {place.releases}. Run the training pipeline first.")
    chosen = releases.all_releases(place)[-1] if release is None else releases.read_release(place, release)
    before = releases.promote(place, chosen, "by hand, forced" if force else "by hand", force=force)
    click.echo(f"current: {chosen.id} (before: {before or 'none'})")


@main.command()
@manifest_argument
@storage_option
@spoken
def rollback(manifest: Path, storage: Path | None) -> None:
    r"""Go back to the release before the current one.

    \b
    Example:
      python -m pipelines rollback use-case.yaml
    """
    from pipelines import releases

    _, place = _opened(manifest, storage)
    before, now = releases.rollback(place)
    click.echo(f"current: {now} (before: {before})")


@main.command()
@manifest_argument
@storage_option
@spoken
def status(manifest: Path, storage: Path | None) -> None:
    r"""List the releases, which one is current, and the latest moves of the pointer.

    \b
    Example:
      python -m pipelines status use-case.yaml
    """
    from pipelines import releases

    use_case, place = _opened(manifest, storage)
    current = releases.current_id(place)
    click.echo(f"{use_case.manifest.name} in {place.root}")
    for release in releases.all_releases(place):
        mark = "*" if release.id == current else " "
        gates = "gates met" if release.approved else "gates not met"
        click.echo(f"{mark} {release.id}  {release.content['created']}  {gates}  {_metrics(release.content)}".rstrip())
    if current is None:
        click.echo("no release is current.")
    for move in releases.history(place)[-5:]:
        path = f"{move['from'] or 'none'} → {move['to']}"
        click.echo(f"  {move['at']}  {move['move']}  {path}  {move['by']}, {move['why']}")


def _metrics(content: Any) -> str:
    """The metrics that the gates of a release read, in a few words."""
    return ", ".join(f"{gate['metric']} {gate['value']:.4f}" for gate in content["gates"] if gate["value"] is not None)


def _opened(manifest: Path, storage: Path | None) -> tuple[UseCase, Storage]:
    use_case = read_manifest(manifest)
    return use_case, storage_of(use_case.manifest.name, use_case.manifest.storage, storage)


def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; SIGINT and SIGTERM cancel it, and it ends its jobs before we go.

    Raises:
        Stopped: a signal came.
    """

    async def watched() -> T:
        task = asyncio.ensure_future(work)
        received: list[int] = []

        def on_signal(number: int) -> None:
            received.append(number)
            task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        try:
            return await task
        except asyncio.CancelledError:
            if received:
                raise Stopped(received[0]) from None
            raise

    return asyncio.run(watched())
