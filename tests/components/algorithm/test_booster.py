"""XGBoost's edges: devices, names and errors."""

from __future__ import annotations

import logging

import pytest
import xgboost as xgb

from components.algorithm import booster


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


@pytest.mark.parametrize(
    ("version", "changed", "exact"),
    [
        ("3.2.0", {}, True),
        ("3.2.0", {"subsample": 0.9}, False),
        ("3.2.0", {"colsample_bytree": 0.9}, False),
        ("3.10.0", {"subsample": 0.9, "colsample_bytree": 0.9}, True),
        ("3.4.1", {"device": "cuda"}, False),
    ],
)
def test_training_goes_on_only_where_it_ends_in_the_same_model(
    version: str, changed: dict[str, object], exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xgb, "__version__", version)
    plain = {"device": "cpu", "subsample": 1.0, "colsample_bytree": 1.0}

    assert (booster.inexact({**plain, **changed}) is None) == exact


@pytest.mark.parametrize("name", ["a[0]", "x<3"])
def test_names_that_xgboost_refuses_are_kept_from_it(name: str) -> None:
    assert booster.xgboost_names(("plain", name)) is None


def test_an_xgboost_error_is_told_without_its_stack() -> None:
    text = (
        "[04:16:00] src/tree.cc:12: Check failed: depth > 0: max_depth must be positive.\nStack trace:\n  [bt] (0) lib"
    )

    assert booster.reason(Exception(text)) == "depth > 0: max_depth must be positive"
