"""The program that every image runs as PID 1: finds out how it was started and does that one thing.

    train, serve      as told, or without a word: a processing job's or a training job's configuration says what
                      this is
    release           the training pipeline's last step (shared.release)
    schema            prints the settings as JSON Schema
    selftest          trains and serves a small known problem and says how it went
    --job s3://…      the job that is described there, as on AWS Batch (shared.carrier)
    --help            explains itself
    anything else     that is a program on PATH is executed in our place (`docker run IMAGE bash`)

Exit codes: 0 fine, 1 ours, 2 settings, 3 data, 143 and 130 on SIGTERM and SIGINT.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from shared import logs
from shared.component import MODES, Component, Job, Mode, check_known, output_folders
from shared.contract import OPT_ML, Contract, present
from shared.errors import (
    EXIT_DATA,
    EXIT_INTERNAL,
    EXIT_OK,
    EXIT_SETTINGS,
    QuartetError,
    SettingsError,
    Stopped,
    did_you_mean,
    names,
)
from shared.files import check_readable
from shared.settings import gathered
from shared.signals import ignore

HELP_OPTIONS = frozenset({"--help", "-h"})
HELP_WORDS = HELP_OPTIONS | {"help"}
SDK_CHANNELS = frozenset({"code", "sm_drivers"})
"""Channels that the SageMaker Python SDK adds for itself (version 3, ModelTrainer with source code)."""


@dataclass(frozen=True)
class Start:
    """How the program was started: what to do, over files or over HTTP, and the arguments left for the settings."""

    mode: Mode
    over_http: bool
    arguments: tuple[str, ...]


def run(component: Component, argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Do what the program was started for.

    Args:
        component: whose image this is.
        argv: arguments without the program's name.
        environment: variables to read settings and the root folder from.

    Returns:
        The exit code.
    """
    if argv and (argv[0] in HELP_WORDS or (argv[0] in MODES and HELP_OPTIONS & set(argv[1:]))):
        return printed(usage(component))
    if argv and argv[0] == "schema":
        return printed(json.dumps(component.settings.model_json_schema(), indent=2))
    if argv and argv[0] == "selftest":
        return tried(component, argv[1:], environment)
    if carried(argv, environment):
        from shared.carrier import carry

        return carry(component.name, argv, environment)
    contract = Contract.from_environment(environment)
    log = logs.configure(component.name, environment)
    try:
        if argv and argv[0] == "release":
            with stoppable():
                return run_release(contract, environment, log)
        start = recognised(component, argv, contract, environment)
        if start is None:
            print(usage(component), file=sys.stderr)
            return EXIT_SETTINGS
        if start.over_http:
            return serve_http(component, contract, environment, start)
        with stoppable():
            return run_job(component, contract, environment, start, log)
    except Stopped as stopped:
        return failed(contract, log, f"stopped by {signal.Signals(stopped.signum).name}.", stopped.exit_code)
    except QuartetError as error:
        return failed(contract, log, str(error), error.exit_code)
    except Exception as error:
        if isinstance(error, PermissionError) and is_mounted(error.filename, contract):
            # Whoever came upon it first: what is wrong with a mount is for the one who mounted it to mend.
            said = f"{error.filename} cannot be used: {error.strerror}. Let the container's user use it."
            return failed(contract, log, said, EXIT_DATA)
        log.exception("internal error")
        return failed(contract, log, f"internal error: {type(error).__name__}: {error}", EXIT_INTERNAL)


def tried(component: Component, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the self-test, which is no job: how it ends is printed, and nothing is written below /opt/ml."""
    from shared import selftest

    try:
        with stoppable():
            return selftest.run(component, arguments, environment)
    except Stopped as stopped:
        return stopped.exit_code
    except SettingsError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def carried(argv: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a description in S3 says what to do, so that nobody has laid out `/opt/ml`: on AWS Batch."""
    return bool(environment.get("QUARTET_JOB")) or any(word.partition("=")[0] == "--job" for word in argv)


def printed(text: str) -> int:
    """Print; a reader that has seen enough, such as `head`, is no failure."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python would flush once more at its end, and say that it could not.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OK


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGINT raise `Stopped` in here. PID 1 has no default handlers: without this it would ignore both."""
    old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def stop(signum: int, _frame: FrameType | None) -> NoReturn:
    """Signal handler: leave whatever is under way, so that `finally` blocks clean up, which no other signal ends."""
    ignore()
    raise Stopped(signum)


def failed(contract: Contract, log: logging.Logger, text: str, code: int) -> int:
    """Write the failure where SageMaker looks for it, and say it in the log."""
    log.error(text)
    try:
        contract.write_failure(text)
    except OSError as error:
        # A read-only mount must not hide the failure: the exit code and the log still tell.
        log.info("the failure file cannot be written: %s", error.strerror)
    return code


def recognised(
    component: Component, argv: Sequence[str], contract: Contract, environment: Mapping[str, str]
) -> Start | None:
    """How the program was started; None when nothing tells.

    Raises:
        SettingsError: the first argument is neither a mode nor a program.
    """
    if argv and not argv[0].startswith("--"):
        word, rest = argv[0], tuple(argv[1:])
        if word == "train":
            return Start("train", over_http=False, arguments=rest)
        if word == "serve":
            return Start("serve", answers_http(component, contract), rest)
        return execute(component, argv, environment)
    told = environment.get("QUARTET_MODE")
    if told is not None and told not in MODES:
        raise SettingsError(f"QUARTET_MODE is {told!r}, wanted one of {names(MODES)}.")
    if present(contract.processing_job_config):
        serving = told == "serve" or (told is None and serves_files(component, contract))
        return Start("serve" if serving else "train", over_http=False, arguments=tuple(argv))
    if contract.is_training_job:
        return Start("train", over_http=False, arguments=tuple(argv))
    return None


def serves_files(component: Component, contract: Contract) -> bool:
    """Whether the inputs that are there are those that serve reads, so that this is a job and not a server."""
    if component.serve is None:
        return False
    return set(component.serve_ports.inputs) <= set(contract.processing_inputs())


def answers_http(component: Component, contract: Contract) -> bool:
    """Whether the word `serve` means HTTP. Where a processing job lacks an input, it is still no server."""
    if present(contract.processing_job_config) or serves_files(component, contract):
        return False
    return contract.model.is_dir() or component.serve is None or not contract.processing_inputs()


def execute(component: Component, argv: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become the program that the arguments name.

    Raises:
        SettingsError: there is no such program.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise SettingsError(
            f"{component.name} knows no command {argv[0]!r}, wanted train, serve, schema, selftest or --help."
            f"{did_you_mean(argv[0], [*MODES, 'schema', 'selftest', '--help'])}"
        )
    os.execve(program, list(argv), dict(environment))


def serve_http(component: Component, contract: Contract, environment: Mapping[str, str], start: Start) -> int:
    """Answer HTTP until told to stop."""
    if start.arguments:
        raise SettingsError(f"serve over HTTP takes no arguments, found {names(start.arguments)}. Set the environment.")
    if not contract.model.is_dir():
        found = "is no folder" if present(contract.model) else "does not exist"
        raise SettingsError(
            f"{contract.model} {found}, so there is nothing to serve. Mount the folder with the artefact there."
        )
    from shared import server

    return server.run(component, contract, environment)


def is_mounted(place: object, contract: Contract) -> bool:
    """Whether an error's file lies below the folder that carriers mount into; some errors name none, or a number."""
    return isinstance(place, str) and contract.root in Path(place).parents


def run_job(
    component: Component, contract: Contract, environment: Mapping[str, str], start: Start, log: logging.Logger
) -> int:
    """Run a mode over files, all its outputs or none."""
    work = component.train if start.mode == "train" else component.serve
    if work is None:
        raise SettingsError(f"{component.name} serves over HTTP only: run it with `serve` and no processing job.")
    contract.clear_outcome()
    inputs = job_inputs(component, start.mode, contract, log)
    for name, folder in inputs.items():
        if name in component.known_inputs:
            check_readable(folder, f"input {name!r}")
    job: Job[Any] = Job(
        component=component.name,
        mode=start.mode,
        settings=gathered(component.settings, contract, environment, start.arguments, inputs.get("settings")),
        inputs=inputs,
        outputs=output_folders(component, start.mode, contract),
        checkpoints=checkpoint_folder(contract, log),
        on_demand=component.ports(start.mode).optional_outputs,
        hosts=contract.hosts(),
        log=log,
    )
    for name in component.ports(start.mode).inputs:
        job.input(name)
    with job.staged():
        work(job)
    if job.stopped is not None:
        raise Stopped(job.stopped)
    contract.write_message(job.message or "Completed.", log)
    log.info(job.message or "completed")
    return EXIT_OK


def checkpoint_folder(contract: Contract, log: logging.Logger) -> Path | None:
    """Where checkpoints go; None when nobody asked for any, or, with a line that says so, where there is no folder."""
    folder = contract.checkpoints
    if folder.is_dir():
        return folder
    if contract.wants_checkpoints:
        found = "is no folder" if present(folder) else "does not exist"
        log.warning(
            "no checkpoints: the job asks for them, and %s %s. One that is interrupted starts anew.",
            folder, found,
        )  # fmt: skip
    return None


def run_release(contract: Contract, environment: Mapping[str, str], log: logging.Logger) -> int:
    """Run the training pipeline's last step, which belongs to no component; every image can."""
    from shared.release import release

    release(contract, environment, log)
    return EXIT_OK


def job_inputs(component: Component, mode: Mode, contract: Contract, log: logging.Logger) -> dict[str, Path]:
    """Inputs of a processing job, channels of a training job; on a laptop, whatever folders exist.

    Raises:
        SettingsError: nothing is mounted at all, a file is where a folder was wanted, or a processing job names an
            input that no mode reads.
    """
    known = component.known_inputs
    if present(contract.processing_job_config):
        inputs = contract.processing_inputs()
        check_known("input", inputs, known, component.name)
        return inputs
    if contract.is_training_job:
        channels = contract.channels()
        unread = [name for name in channels if name not in known and name not in SDK_CHANNELS]
        if unread:
            # Not refused: clients add channels of their own.
            log.warning("channels %s are not read.%s", names(unread), did_you_mean(unread[0], known))
        return channels
    found = {**contract.channels(), **contract.processing_inputs()}
    for path in contract.stray_files():
        if path.stem in known or not found:
            raise SettingsError(f"{path} is a file, wanted a folder with the files of one input. Mount their folder.")
    if not found:
        wanted = component.ports(mode).inputs
        place = "processing/input" if component.serve else "input/data"
        raise SettingsError(
            f"nothing is mounted: {contract.root} has no input. Mount {names(wanted)} at "
            f"{OPT_ML}/{place}/<name>, or run `--help` for an example."
        )
    return found


def usage(component: Component) -> str:
    """What `--help` prints."""
    train, serve = component.train_ports, component.serve_ports
    lines = [
        f"quartet {component.name}: {component.summary}",
        "",
        f"  train   reads {_listed(train.inputs, train.optional_inputs)}; "
        f"writes {_listed(train.outputs, train.optional_outputs)}",
        f"  serve   reads {_listed(serve.inputs, serve.optional_inputs)}; "
        f"writes {_listed(serve.outputs, serve.optional_outputs) or 'HTTP answers'}",
        "  serve   without a processing job: HTTP on port 8080 (/ping, /invocations, /execution-parameters)",
        "  schema  prints the settings as JSON Schema",
        "  selftest [--json]  trains and serves a small known problem and says how it went",
        "  --job s3://…/job.json  does the job described there, its inputs and outputs in S3 (AWS Batch)",
        "",
        "Inputs lie in /opt/ml/processing/input/<name> (a training job: /opt/ml/input/data/<channel>),",
        "outputs go to /opt/ml/processing/output/<name>. SAGEMAKER_BASE_DIR replaces /opt/ml.",
        "",
        "Example:",
        f"  docker run --rm -v $PWD/in:/opt/ml/processing/input -v $PWD/out:/opt/ml/processing/output "
        f"quartet/{component.name}:{component.variant} train{_example_setting(component)}",
        "",
        "Settings (--name value, QUARTET_<NAME>, hyperparameters, or a settings file):",
    ]
    lines += [f"  {name:<22} {field.description or ''}" for name, field in component.settings.model_fields.items()]
    return "\n".join(lines)


def _listed(required: Sequence[str], optional: Sequence[str]) -> str:
    return " ".join([*required, *(f"[{name}]" for name in optional)])


def _example_setting(component: Component) -> str:
    return " --target late" if "target" in component.settings.model_fields else ""
