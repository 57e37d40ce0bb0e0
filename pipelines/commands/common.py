"""What commands share: how errors are told, and the arguments and options that most of them take."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from pipelines.manifest import PERIOD, Manifest, UseCase, for_environment, read_manifest
from pipelines.storage import Storage, storage_of
from shared.errors import QuartetError, SettingsError, Stopped

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., None])
STACKS: Final = ("sagemaker-pipelines", "step-functions", "batch")
"""Engines that live in a CloudFormation stack."""
RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")


def laid_out(command: Command) -> Command:
    r"""The command with its examples on lines of their own: click's mark for that, `\b`, is a control character.

    A docstring with that character in it would be hard to read in the source; with the two it is not.
    """
    command.__doc__ = (command.__doc__ or "").replace("\\b\n", "\b\n")
    return command


def spoken(command: Command) -> Command:
    """The command with our errors as a sentence and an exit code, and its help laid out."""
    laid_out(command)

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except QuartetError as error:
            end(str(error), error.exit_code)
        except Stopped as stopped:
            end(f"stopped by {signal.Signals(stopped.signum).name}; its jobs were stopped too.", stopped.exit_code)

    return wrapped  # type: ignore[return-value]


def end(text: str, code: int) -> NoReturn:
    """Say why there is no good end, and go."""
    # click's own exceptions would always exit with 1 or 2, and a failed step has a code of its own.
    click.echo(f"error: {text}", err=True)
    sys.exit(code)


manifest_argument = click.argument("manifest", type=click.Path(path_type=Path))
environment_option = click.option(
    "--environment", "-e", help="One of the manifest's environments (default: none, the manifest as it stands)."
)
storage_option = click.option(
    "--storage", type=click.Path(path_type=Path, file_okay=False), help="Where all goes (default: the manifest's)."
)


def judged(manifest: Path, environment: str | None = None) -> UseCase:
    """The use case as it is in an environment, with the settings of its components judged too.

    Raises:
        SettingsError: the manifest or a setting cannot be used.
    """
    from pipelines import settings

    use_case = read_manifest(manifest)
    settings.judge(use_case)
    return replace(use_case, manifest=for_environment(use_case.manifest, environment))


def opened(manifest: Path, storage: Path | None, *, judge: bool = False) -> tuple[UseCase, Storage]:
    """The use case, and where it keeps what its pipelines make."""
    use_case = judged(manifest) if judge else read_manifest(manifest)
    return use_case, storage_of(use_case.manifest.name, use_case.manifest.storage, storage)


def made(place: Storage) -> Storage:
    """The storage, once its folder is there.

    Raises:
        SettingsError: nothing can be written there.
    """
    try:
        place.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"storage {place.root} cannot be made: {error.strerror}. Give another --storage.") from None
    if not os.access(place.root, os.W_OK):
        raise SettingsError(f"storage {place.root} cannot be written to. Give another --storage.")
    return place


def releases_of(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The releases of the manifest on the command line, for the shell's completion."""
    from pipelines.releases import release_ids

    try:
        path, storage = Path(context.params["manifest"]), context.params.get("storage")
        manifest = for_environment(read_manifest(path).manifest, context.params.get("environment"))
        if manifest.engine != "local" and storage is None:
            return []  # a shell must not wait for AWS
        place = storage_of(manifest.name, manifest.storage, storage)
        return [name for name in release_ids(place) if name.startswith(incomplete)]
    except (QuartetError, OSError, KeyError, TypeError):
        return []


release_argument = click.argument("release", required=False, shell_complete=releases_of)


def check_periods(periods: Sequence[str]) -> None:
    """A period becomes part of paths.

    Raises:
        SettingsError: one could lead elsewhere.
    """
    for period in periods:
        if not re.fullmatch(PERIOD, period):
            raise SettingsError(f"--period is {period!r}, wanted letters, digits, '.', '_' and '-', such as 2013-05.")


def warn_of_one_file(manifest: Manifest, periods: Sequence[str]) -> None:
    """Say that a period only names what is scored, where the uri is the same for every period."""
    score = manifest.data.score
    if periods and score is not None and "{period}" not in score.uri:
        click.echo(f"data.score.uri {score.uri!r} has no {{period}}: the period only names what lies there.", err=True)


def check_run_id(given: str | None) -> None:
    """A run's id becomes part of names and paths.

    Raises:
        SettingsError: it holds characters that a job's name must not have.
    """
    if given is not None and not RUN_ID.fullmatch(given):
        raise SettingsError(f"--run-id is {given!r}, wanted at most 40 letters, digits and hyphens.")


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
