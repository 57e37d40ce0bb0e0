"""XGBoost's edges: signals, devices, names and errors."""

from __future__ import annotations

import logging
import os
import signal
from types import FrameType

import pytest
import xgboost as xgb

from components.algorithm import booster
from shared.errors import Stopped


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    """Inside a callback from C the exception would be printed and forgotten."""
    done = []

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    def interrupted() -> None:
        with booster.postponed_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("the rest of the block")

    signal.signal(signal.SIGTERM, stop)
    with pytest.raises(Stopped) as stopped:
        interrupted()

    assert done == ["the rest of the block"]
    assert stopped.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is stop


def test_without_a_signal_the_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with booster.postponed_signals():
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("built", [False, True])
def test_cuda_without_a_device_is_the_cpu_and_one_line(
    built: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(xgb, "build_info", lambda: {"USE_CUDA": built})
    monkeypatch.setattr(booster, "reached", lambda: False)

    assert booster.device("cuda", logging.getLogger("test")) == "cpu"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Training on the CPU." in caplog.text


def test_cuda_with_a_device_is_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xgb, "build_info", lambda: {"USE_CUDA": True})
    monkeypatch.setattr(booster, "reached", lambda: True)

    assert booster.device("cuda", logging.getLogger("test")) == "cuda"


@pytest.mark.parametrize("name", ["a[0]", "x<3"])
def test_names_that_xgboost_refuses_are_kept_from_it(name: str) -> None:
    assert booster.xgboost_names(("plain", name)) is None


def test_an_xgboost_error_is_told_without_its_stack() -> None:
    text = (
        "[04:16:00] src/tree.cc:12: Check failed: depth > 0: max_depth must be positive.\nStack trace:\n  [bt] (0) lib"
    )

    assert booster.reason(Exception(text)) == "depth > 0: max_depth must be positive"
