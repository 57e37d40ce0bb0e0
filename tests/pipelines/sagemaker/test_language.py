"""Words of pipeline definitions."""

from __future__ import annotations

import pytest

from pipelines.sagemaker.language import duration, joined, retry_policies


@pytest.mark.parametrize(
    ("seconds", "written"), [(2592000, "P30D"), (86400, "P1D"), (5400, "PT90M"), (7200, "PT2H"), (61, "PT61S")]
)
def test_durations_are_iso_8601(seconds: int, written: str) -> None:
    assert duration(seconds) == written


def test_texts_alone_are_joined_at_once() -> None:
    assert joined("a", "/", "b") == "a/b"
    assert joined("a/", {"Get": "X"}, "") == {"Std:Join": {"On": "", "Values": ["a/", {"Get": "X"}]}}


def test_each_exception_has_one_policy_within_the_services_bounds() -> None:
    for retries in (0, 1, 30):
        policies = retry_policies(retries)
        kinds = [kind for policy in policies for kind in policy["ExceptionType"]]

        assert len(set(kinds)) == len(kinds)
        assert all(1 <= policy["MaxAttempts"] <= 20 for policy in policies)
        assert ("SageMaker.CAPACITY_ERROR" in kinds) == (retries > 0)
