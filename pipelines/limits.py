"""Limits of AWS that its models do not tell, or tell too late: checked here, where a sentence can still help.

Each check is arithmetic on what would be sent. Sources: the API references of SageMaker, Step Functions, Systems
Manager, CloudFormation and ECS, and their pages on quotas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from shared.errors import SettingsError

JOB_NAME: Final = 63
"""Characters of a job's, a model's or a pipeline step's name."""
ENVIRONMENT_VALUE: Final = 256
"""Characters of a variable's value, and of its name, in a processing job."""
ENVIRONMENT_VARIABLES: Final = 100
ARGUMENT: Final = 256
"""Characters of a container argument of a processing job."""
PARAMETER_BYTES: Final = 4096
"""Bytes of a standard parameter in Parameter Store."""
STATE_BYTES: Final = 256 * 1024
"""Bytes that pass from one state of a state machine to the next."""
ANSWER: Final = 16 * 1024
"""Bytes that a service's answer on a job has beside the request, at most: times, ARNs, uris filled in, a reason."""
MACHINE_BYTES: Final = 1024 * 1024
"""Bytes of a state machine's definition."""
OVERRIDES: Final = 8192
"""Characters of the container overrides of an ECS task or a Batch job."""
TEMPLATE_BYTES: Final = 51_200
"""Bytes of a CloudFormation template that is sent and not read from S3."""
NAME: Final = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


def check_job_name(name: str) -> str:
    """A job's name, if SageMaker takes it.

    Raises:
        SettingsError: it is too long, or holds other characters than letters, digits and hyphens.
    """
    if len(name) > JOB_NAME:
        raise SettingsError(
            f"job name {name!r} has {len(name)} characters, wanted at most {JOB_NAME}. "
            "Give the use case, its environment or the run a shorter name."
        )
    if not NAME.fullmatch(name):
        raise SettingsError(f"job name {name!r} is none, wanted letters, digits, and hyphens between them.")
    return name


def check_environment(variables: Mapping[str, str], job: str) -> None:
    """Make sure that a processing job can be given these variables.

    Raises:
        SettingsError: it cannot.
    """
    if len(variables) > ENVIRONMENT_VARIABLES:
        raise SettingsError(f"job {job!r} has {len(variables)} variables, wanted at most {ENVIRONMENT_VARIABLES}.")
    for name, value in variables.items():
        if max(len(name), len(value)) > ENVIRONMENT_VALUE:
            raise SettingsError(
                f"variable {name[:ENVIRONMENT_VALUE]!r} of job {job!r} has {len(value)} characters, wanted at most "
                f"{ENVIRONMENT_VALUE}. Shorten it: a uri by a shorter prefix."
            )


def check_parameter(name: str, value: str) -> str:
    """A value, if Parameter Store takes it.

    Raises:
        SettingsError: it is too long.
    """
    return _at_most(value, PARAMETER_BYTES, f"parameter {name!r}", "Give the storage a shorter prefix.")


def check_state_machine(definition: str, name: str) -> str:
    """A state machine's definition, if Step Functions takes it.

    Raises:
        SettingsError: it is too long.
    """
    return _at_most(definition, MACHINE_BYTES, f"state machine {name!r}", "Shorten the settings in the manifest.")


def check_payload(payload: str, what: str, advice: str = "Put what is long into a file in S3.") -> str:
    """What goes from state to state, or lies in a variable, if Step Functions takes it.

    Raises:
        SettingsError: it is too long.
    """
    return _at_most(payload, STATE_BYTES, what, advice)


def check_answer(request: str, job: str) -> str:
    """A job's request, if what its service says of the job in the end can be a state's result: the request, and more.

    Args:
        request: as JSON, with the expressions that stand for uris.
        job: the step's name.

    Raises:
        SettingsError: the answer may be too long.
    """
    check_payload(request + " " * ANSWER, f"the answer on job {job!r}", "Shorten the settings in the manifest.")
    return request


def check_overrides(overrides: str, job: str) -> str:
    """The overrides of a container, as JSON, if ECS takes them.

    Raises:
        SettingsError: they are too long.
    """
    if len(overrides) > OVERRIDES:
        raise SettingsError(
            f"job {job!r} has overrides of {len(overrides):,} characters, wanted at most {OVERRIDES:,}. "
            "Put what is long into a file in S3."
        )
    return overrides


def check_template(template: str, name: str) -> str:
    """A template, if CloudFormation takes it without S3.

    Raises:
        SettingsError: it is too long.
    """
    return _at_most(template, TEMPLATE_BYTES, f"template {name!r}", "Name fewer alarms.")


def _at_most(text: str, limit: int, what: str, advice: str) -> str:
    size = len(text.encode())
    if size > limit:
        raise SettingsError(f"{what} has {size:,} bytes, wanted at most {limit:,}. {advice}")
    return text
