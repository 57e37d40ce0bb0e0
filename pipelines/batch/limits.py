"""Limits of AWS Batch that its models do not tell, checked before anything is sent.

Source: "Service quotas" and "ContainerOverrides" in AWS Batch's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pipelines.limits import check_overrides
from shared.errors import SettingsError

JOB_BYTES: Final = 30 * 1024
ATTEMPTS: Final = 10
ARRAY: Final = (2, 10_000)
LEAST_SECONDS: Final = 60
"""The shortest `attemptDurationSeconds`."""


def check_submission(request: Mapping[str, Any], definition: Mapping[str, Any] | None = None) -> None:
    """Make sure that a SubmitJob request is not longer than the service takes, with its definition where it is known.

    Raises:
        SettingsError: it is.
    """
    name = request["jobName"]
    check_overrides(json.dumps(request.get("containerOverrides", {})), name)
    size = len(json.dumps([request, definition or {}]).encode())
    if size > JOB_BYTES:
        raise SettingsError(
            f"job {name!r} has {size:,} bytes with its definition, wanted at most {JOB_BYTES:,}. "
            "Give shorter parameters, or put what is long into a file in S3."
        )


def attempts(retries: int, step: str) -> int:
    """How often a job is tried in all.

    Raises:
        SettingsError: AWS Batch does not try so often.
    """
    if retries + 1 > ATTEMPTS:
        raise SettingsError(f"step {step!r} has {retries} retries, and AWS Batch tries a job {ATTEMPTS} times at most.")
    return retries + 1
