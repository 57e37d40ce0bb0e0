"""The description of a job that lies in S3: the requests that would create it on SageMaker, with holes for values.

    {"CreateProcessingJob": {…}}                       or
    {"CreateTrainingJob": {…}}                         or
    {"CreateModel": {…}, "CreateTransformJob": {…}}    and beside it
    "Parameters": ["Run", …]                           the holes: `{Run}` in any text is the run's value
    "Failure": "s3://…/{Run}/<step>/failure"           where the reason goes when the job fails; may be left out

Container overrides hold 8,192 characters, a job 30 KiB: hence a file, and its uri in the command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.errors import SettingsError, did_you_mean, names

VARIABLE: Final = "QUARTET_JOB"
RUN_VARIABLE: Final = "QUARTET_RUN"
RUN: Final = "Run"

Kind = Literal["processing", "training", "transform"]
ACTIONS: Final[Mapping[str, Kind]] = {
    "CreateProcessingJob": "processing",
    "CreateTrainingJob": "training",
    "CreateTransformJob": "transform",
}
MODEL_ACTION: Final = "CreateModel"


@dataclass(frozen=True)
class Description:
    """A job, all holes filled."""

    kind: Kind
    request: Mapping[str, Any]
    model: Mapping[str, Any] | None  # CreateModel, of a transform job
    failure: str | None  # uri


@dataclass(frozen=True)
class Told:
    """What the program was started with: where the description lies, and the run's values."""

    uri: str
    parameters: Mapping[str, str]


def told(argv: Sequence[str], environment: Mapping[str, str]) -> Told:
    """The description's uri and the parameters, from `--name value` arguments and two variables; arguments win.

    Raises:
        SettingsError: an argument is no pair, or no description is named.
    """
    values: dict[str, str] = {}
    rest = list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--") or not (equals or rest):
            raise SettingsError(f"argument {name!r} is no pair, wanted --job s3://… and `--Parameter value`.")
        values[name.removeprefix("--")] = value if equals else rest.pop(0)
    uri = values.pop("job", None) or environment.get(VARIABLE)
    if not uri:
        raise SettingsError("no job is described, wanted --job s3://bucket/key.")
    run = environment.get(RUN_VARIABLE)
    return Told(uri, ({RUN: run} if run else {}) | values)


def described(content: bytes, uri: str, parameters: Mapping[str, str]) -> Description:
    """The job that a description describes, with these values.

    Raises:
        SettingsError: it is no description, or values and holes do not agree.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"job description {uri} is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise SettingsError(f"job description {uri} holds a {type(value).__name__}, wanted a JSON object.")
    found = [action for action in ACTIONS if action in value]
    if len(found) != 1 or ("CreateTransformJob" in found) != (MODEL_ACTION in value):
        raise SettingsError(
            f"job description {uri} has the requests {names(value)}, wanted one of {names(ACTIONS)} "
            f"(and {MODEL_ACTION!r} with the last)."
        )
    known = tuple(value.get("Parameters", ()))
    check_parameters(known, parameters, uri)
    full = filled(value, {name: parameters[name] for name in known})
    return Description(ACTIONS[found[0]], full[found[0]], full.get(MODEL_ACTION), full.get("Failure"))


def check_parameters(known: Sequence[str], given: Mapping[str, str], uri: str) -> None:
    """Every hole has a value, and every value a hole; the run's id, which a variable may hold, need not have one.

    Raises:
        SettingsError: one has not.
    """
    # What AWS Batch leaves of a command's parameter that nobody has given a value.
    lacking = [name for name in known if given.get(name, "") in ("", f"Ref::{name}")]
    if lacking:
        raise SettingsError(f"job description {uri} wants {names(lacking)}: give --{lacking[0]} and its value.")
    for name in given:
        if name not in known and name != RUN:
            hint = did_you_mean(name, known) or f" It has {names(known) or 'none'}."
            raise SettingsError(f"job description {uri} has no parameter {name!r}.{hint}")


def filled(value: Any, parameters: Mapping[str, str]) -> Any:
    """A JSON value with `{Name}` replaced in every text, for the names of the parameters and no others."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: parameters.get(match[1], match[0]), value)
    if isinstance(value, Mapping):
        return {key: filled(item, parameters) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, parameters) for item in value]
    return value
