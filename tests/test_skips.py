"""Where everything is installed, no test is skipped in silence."""

from __future__ import annotations

from typing import Literal

import pytest

from tests import conftest


@pytest.mark.parametrize(
    ("allowed", "outcome"),
    [(None, "skipped"), ("no NVIDIA device.*|no Docker engine answers", "skipped"), ("no NVIDIA device.*", "failed")],
)
def test_a_skip_for_a_reason_that_is_not_allowed_is_a_failure(
    allowed: str | None, outcome: Literal["skipped", "failed"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "SKIPS", allowed)
    why = ("test_x.py", 1, "Skipped: no Docker engine answers")
    report = pytest.TestReport("test_x", ("test_x.py", 1, "test_x"), {}, "skipped", why, "setup")

    assert conftest.judged(report).outcome == outcome
