"""Commands that run pipelines on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from pipelines.commands.common import (
    check_periods,
    check_run_id,
    end,
    interruptible,
    made,
    manifest_argument,
    opened,
    spoken,
    storage_option,
    warn_of_one_file,
)
from pipelines.commands.tracking import track_verdicts, watch_here
from pipelines.manifest import UseCase
from pipelines.storage import run_id
from shared.errors import EXIT_DATA, SettingsError

PIPELINES: Final = ("training", "inference", "both")


@click.command()
@manifest_argument
@click.option("--pipeline", type=click.Choice(PIPELINES), default="both", show_default=True)
@click.option("--period", "periods", multiple=True, help="Score this period; repeatable (default: the manifest's).")
@click.option(
    "--on",
    "platform",
    type=click.Choice(("process", "docker")),
    default="process",
    show_default=True,
    help="Run jobs as processes of this machine, or in containers of the components' images.",
)
@storage_option
@click.option("--jobs", type=click.IntRange(min=1), help="Most jobs at once (default: one a processor).")
@click.option("--run-id", "given_id", help="Letters, digits and hyphens (default: the time and a random part).")
@click.option("--keep", is_flag=True, help="Keep the /opt/ml tree of every job; those of failed jobs always stay.")
@spoken
def run(
    manifest: Path,
    pipeline: str,
    periods: tuple[str, ...],
    platform: str,
    storage: Path | None,
    jobs: int | None,
    given_id: str | None,
    keep: bool,
) -> None:
    r"""Run a pipeline on this machine.

    Exit codes: 0; that of the step that failed; 3 when there was nothing to score with.

    \b
    Examples:
      python -m pipelines run use-case.yaml --pipeline training
      python -m pipelines run use-case.yaml --pipeline inference --period 2013-05 --period 2013-06
      python -m pipelines run use-case.yaml --storage /tmp/demo --jobs 4
      python -m pipelines run use-case.yaml --on docker
    """
    # Late: what runs jobs takes longer to import than --help and a manifest's errors should take to print.
    from components.spec import specs
    from pipelines.local import containers
    from pipelines.local.engine import Machine
    from pipelines.local.reservation import reserved
    from pipelines.local.runs import Runner, prepare, untracked
    from pipelines.progress import Lines
    from pipelines.reports import write_run_report

    use_case, place = opened(manifest, storage, judge=True)
    _refuse_other_engines(use_case)
    check_periods(periods)
    warn_of_one_file(use_case.manifest, periods)
    check_run_id(given_id)
    run_name = given_id or run_id()
    machine = Machine.here(jobs, keep=keep)
    images: dict[str, str] = {}
    if platform == "docker":
        images = containers.images_of(use_case.manifest, specs())
        machine = Machine.here(jobs, keep=keep, programs=containers.here(images.values()))
    with Lines() as lines:
        watch = watch_here(use_case.manifest, place, lambda text: lines.say(text, "yellow"))
        look = watch.release if watch else untracked
        runner = Runner(use_case, specs(), place, machine, lines, run_name, images, track=look)
        with reserved(made(place), run_name, pipeline, runner.periods(periods)):
            if prepare(use_case, place, machine.programs.folder):
                lines.say(f"data written to {place.root / 'data'}")
            if pipeline == "training":
                outcome = interruptible(runner.training())
            else:
                work = runner.both if pipeline == "both" else runner.inference
                outcome = interruptible(work(periods))
        if watch:
            track_verdicts(watch, outcome, use_case.manifest.data.periods)
    click.echo(f"report: {write_run_report(outcome, place, use_case.manifest.name)}")
    if outcome.unscored:
        end(outcome.unscored, EXIT_DATA)


def _refuse_other_engines(use_case: UseCase) -> None:
    """Only the local engine runs from here.

    Raises:
        SettingsError: the manifest names another one.
    """
    engine = use_case.manifest.engine
    if engine != "local":
        raise SettingsError(f"engine is {engine!r}, but `run` runs only 'local' here now. Set engine: local.")
