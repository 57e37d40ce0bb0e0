"""Carries a job to where nothing of `/opt/ml` exists, such as AWS Batch: inputs from S3, the program, outputs to S3.

    docker run … quartet/processing --job s3://bucket/config/0123/job.json --Run 20260102-030405-abcd

On SageMaker the service does this around the container. Here the container does it around its own program, which runs
as a child and finds the same tree. What the program leaves is uploaded also when it fails or is stopped; the exit code
is the program's, so that a retry rule can tell settings (2) and data (3) from what may go well another time.

Nothing here is imported unless a job is described, and S3's client only here.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from shared import logs
from shared.carrier.description import described, told
from shared.carrier.jobs import KINDS, Carried, JobFailedError, base_folder, hosts_of
from shared.carrier.s3 import Place, Store
from shared.contract import Contract, cut
from shared.errors import EXIT_INTERNAL, EXIT_OK, QuartetError, Stopped
from shared.files import is_full, without_room

LAST_SECONDS: Final = {True: 15.0, False: 300.0}
"""For the last upload, by whether we were told to stop: AWS Batch kills 30 s after SIGTERM, and the child had 12."""


class LateError(Exception):
    """The last upload took too long."""


def carry(component: str, argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do the job that the arguments, or `QUARTET_JOB`, name.

    Args:
        component: whose image this is.
        argv: `--job URI` and the run's values.
        environment: of this container.

    Returns:
        The exit code: that of the component's program, or of what kept it from running.
    """
    log = logs.configure(component, environment)
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return carried_out(component, argv, environment, log)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def carried_out(component: str, argv: Sequence[str], environment: Mapping[str, str], log: logging.Logger) -> int:
    """Do it and say how it ended; on leaving, signals are ignored."""
    carried: list[Carried] = []
    try:
        with stopping():
            job = opened(component, argv, environment, log)
            carried.append(job)
            if not job.down():
                log.info("no object is left for host %s of %s: nothing to do", job.hosts.rank, len(job.hosts.all))
                return EXIT_OK
            job.work()
            job.up()
        return EXIT_OK
    except Stopped as stopped:
        reason, code = f"stopped by {signal.Signals(stopped.signum).name}.", stopped.exit_code
    except JobFailedError as error:
        # Its own log says it already.
        return failed(carried[0], str(error), error.exit_code, log)
    except QuartetError as error:
        reason, code = str(error), error.exit_code
    except Exception as error:
        if carried and is_full(error):
            full = without_room("what the job carries", carried[0].contract.root)
            reason, code = str(full), full.exit_code
        else:
            log.exception("internal error")
            reason, code = f"internal error: {type(error).__name__}: {error}", EXIT_INTERNAL
    log.error(reason)
    return failed(carried[0], reason, code, log) if carried else code


def opened(component: str, argv: Sequence[str], environment: Mapping[str, str], log: logging.Logger) -> Carried:
    """The job that is described.

    Raises:
        QuartetError: the description cannot be read or used.
    """
    hosts = hosts_of(environment)
    said = told(argv, environment)
    store = Store.connected()
    description = described(store.read(Place.of(said.uri)), said.uri, said.parameters)
    contract = Contract(base_folder(environment))
    log.info("%s job %s in %s", description.kind, said.uri, contract.root)
    return KINDS[description.kind](component, description, contract, hosts, store, environment, log)


def failed(job: Carried, reason: str, code: int, log: logging.Logger) -> int:
    """Upload what there is and the reason, within bounded time; the exit code stays."""
    try:
        with limited(LAST_SECONDS[code > 128]):
            failure = job.description.failure
            if failure:
                # First: it is small, and who reads it wants it most. Each job of an array has its own.
                suffix = f"-{job.hosts.rank:04d}" if len(job.hosts.all) > 1 else ""
                job.store.write(Place.of(failure + suffix), cut(reason))
            job.up()
    except LateError:
        log.warning("not everything was uploaded in time")
    except Exception as error:
        log.warning("not everything was uploaded: %s", error)
    return code


@contextmanager
def stopping() -> Iterator[None]:
    """SIGTERM and SIGINT raise `Stopped` in here, once; a second one finds us leaving already."""

    def stop(signum: int, _frame: FrameType | None) -> NoReturn:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        raise Stopped(signum)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        yield
    finally:
        # Until the end nothing is to come between: the last upload has a limit of its own.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """`LateError` is raised in here after so many seconds."""

    def late(_signum: int, _frame: FrameType | None) -> NoReturn:
        raise LateError

    old = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
