"""Requests held against botocore's models of the services, before anything is sent.

A rendered request has holes: values that only the engine knows, when it runs. A hole stands for any value; all around
it is checked as the service checks it: names, types, required members, lengths, ranges, patterns and choices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from functools import cache
from typing import Any, Final

from shared.errors import SettingsError, did_you_mean, names

Hole = Callable[[Any], bool]
"""Whether a value is one that the engine fills in."""

KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "structure": Mapping,
    "map": Mapping,
    "list": (list, tuple),
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
}
"""The Python type of each of botocore's, as far as the requests of our engines have them."""


def no_hole(value: Any) -> bool:
    """There are no holes: the request is complete."""
    return False


def pipeline_hole(value: Any) -> bool:
    """What SageMaker Pipelines fills in: `{"Get": …}`, `{"Std:Join": …}`, `{"Std:JsonGet": …}`."""
    return (
        isinstance(value, Mapping) and len(value) == 1 and bool({"Get", "Std:Join", "Std:JsonGet"}.intersection(value))
    )


def jsonata_hole(value: Any) -> bool:
    """What Step Functions fills in: `{% … %}`."""
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def jinja_hole(value: Any) -> bool:
    """What Airflow fills in: text with `{{ … }}`."""
    return isinstance(value, str) and "{{" in value and "}}" in value


def checked(
    operation: str, request: Any, hole: Hole = no_hole, without: Container[str] = (), service: str = "sagemaker"
) -> Any:
    """The request, if it fits.

    Args:
        operation: such as `CreateProcessingJob`.
        request: what would be sent.
        hole: tells the values that are filled in later.
        without: required members at the top that the engine adds by itself, such as a job's name.
        service: as botocore calls it.

    Raises:
        SettingsError: it does not fit; each problem is named with its path, a line each.
    """
    found = list(problems(operation, request, hole, without, service))
    if found:
        raise SettingsError("\n".join(found))
    return request


def problems(
    operation: str, request: Any, hole: Hole = no_hole, without: Container[str] = (), service: str = "sagemaker"
) -> Iterator[str]:
    """What does not fit, a sentence each."""
    shape = model(service).operation_model(operation).input_shape
    for sentence in _unfit(shape, request, operation, hole):
        if not any(
            sentence == _missing(operation, name) for name in shape.metadata.get("required", ()) if name in without
        ):
            yield sentence


@cache
def model(service: str) -> Any:
    """Botocore's model of a service, which comes with the package: nothing is asked over the network."""
    import botocore.session

    return botocore.session.Session().get_service_model(service)


def _unfit(shape: Any, value: Any, path: str, hole: Hole) -> Iterator[str]:
    if hole(value):
        return
    if not _of_kind(shape, value):
        yield f"{path} is {_shown(value)}, wanted a value of type {shape.type_name}."
    elif shape.type_name == "structure":
        yield from _structure(shape, value, path, hole)
    else:
        yield from _size(shape, value, path)
        if shape.type_name == "string":
            yield from _text(shape, value, path)
        if shape.type_name == "list":
            for number, item in enumerate(value):
                yield from _unfit(shape.member, item, f"{path}[{number}]", hole)
        if shape.type_name == "map":
            for key, item in value.items():
                yield from _unfit(shape.key, key, f"{path}.{key}", hole)
                yield from _unfit(shape.value, item, f"{path}.{key}", hole)


def _of_kind(shape: Any, value: Any) -> bool:
    kind = KINDS[shape.type_name]
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _structure(shape: Any, value: Mapping[str, Any], path: str, hole: Hole) -> Iterator[str]:
    for name in shape.metadata.get("required", ()):
        if name not in value:
            yield _missing(path, name)
    for name, item in value.items():
        if name in shape.members:
            yield from _unfit(shape.members[name], item, f"{path}.{name}", hole)
        else:
            yield f"{path} has no {name!r}.{did_you_mean(name, shape.members) or f' It has {names(shape.members)}.'}"


def _missing(path: str, name: str) -> str:
    return f"{path}.{name} is missing, and the service requires it."


def _size(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Lengths of texts, lists and maps; values of numbers."""
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    size, what = (len(value), "long") if shape.type_name in {"string", "list", "map"} else (value, "large")
    if least is not None and size < least:
        yield f"{path} is {_shown(value)}, wanted it at least {least:,} {what}."
    if most is not None and size > most:
        yield f"{path} is {size:,} {what}, wanted at most {most:,}: {_shown(value)}."


def _text(shape: Any, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{path} is {value!r}, wanted one of {names(shape.enum, 12)}."
    pattern = _pattern(shape.metadata.get("pattern", ""))
    if pattern and not pattern.fullmatch(value):
        yield f"{path} is {_shown(value)}, wanted text that matches {pattern.pattern}"


@cache
def _pattern(java: str) -> re.Pattern[str] | None:
    """A pattern of the models; None for the few that use classes which Python's `re` lacks."""
    try:
        return re.compile(java) if java else None
    except re.error:
        return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
