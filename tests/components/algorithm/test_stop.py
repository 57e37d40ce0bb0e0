"""Signals that wait until nothing is half done."""

from __future__ import annotations

import os
import signal
from types import FrameType

import pytest

from components.algorithm.stop import postponed
from shared.errors import Stopped


def stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    """Inside a callback from C the exception would be printed and forgotten."""
    done = []

    def interrupted() -> None:
        with postponed():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("the rest of the block")

    signal.signal(signal.SIGTERM, stop)
    with pytest.raises(Stopped) as stopped:
        interrupted()

    assert done == ["the rest of the block"]
    assert stopped.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is stop


def test_a_signal_that_somebody_has_taken_is_not_sent_again() -> None:
    signal.signal(signal.SIGINT, stop)
    with postponed() as noted:
        os.kill(os.getpid(), signal.SIGINT)
        taken = noted.take()

    assert taken == signal.SIGINT


def test_once_the_block_has_ended_by_a_signal_another_does_not_end_the_clean_up() -> None:
    def interrupted() -> None:
        with postponed() as noted:
            os.kill(os.getpid(), signal.SIGTERM)
            raise Stopped(noted.take())

    signal.signal(signal.SIGTERM, stop)
    with pytest.raises(Stopped):
        interrupted()

    os.kill(os.getpid(), signal.SIGTERM)


def test_without_a_signal_the_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with postponed() as noted:
        assert signal.getsignal(signal.SIGTERM) is not before

    assert noted.signum is None
    assert signal.getsignal(signal.SIGTERM) is before
