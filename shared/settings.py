"""Settings: parsed once at the edge into one frozen, typed object per component.

They come from four places, the later ones winning: a settings file (`--settings FILE`, `$QUARTET_SETTINGS`, or an input
named `settings`), the environment (`QUARTET_<NAME>`), hyperparameters.json, and arguments (`--name value`).
Hyperparameters and arguments are strings, sometimes JSON inside a string; the declared type decides what they mean.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.contract import Contract, present, read_config
from shared.errors import SettingsError, did_you_mean

ENVIRONMENT_PREFIX: Final = "QUARTET_"
RESERVED_VARIABLES: Final = frozenset({"QUARTET_LOG", "QUARTET_MODE", "QUARTET_SETTINGS", "QUARTET_IMAGE"})
"""Variables with the prefix that are no settings of a component."""


class Settings(BaseModel):
    """Base of every component's settings: immutable, no unknown names, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


S = TypeVar("S", bound=Settings)


def parsed(model: type[S], values: Mapping[str, Any]) -> S:
    """`values` as settings of type `model`; strings are decoded by each field's declared type.

    Raises:
        SettingsError: one sentence that names every value that cannot be used.
    """
    known = model.model_fields
    decoded = {
        name: decode(value, known[name].annotation) if name in known else value for name, value in values.items()
    }
    try:
        return model.model_validate(decoded)
    except ValidationError as error:
        problems = "; ".join(_problems(error.errors(include_url=False), known, decoded))
        raise SettingsError(f"settings cannot be used: {problems}{'' if problems.endswith('?') else '.'}") from None


def _problems(errors: Sequence[Any], known: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """A problem for each wrong value; of a value that may be one of several things, all that it may be in one."""
    told: set[Any] = set()
    for item in errors:
        name = str(item["loc"][0]) if item["loc"] else ""
        if name not in known or not is_union(known[name].annotation) or item["type"] == "value_error":
            yield _problem(item, known)
        elif name not in told:
            told.add(name)
            branches = [_wanted(other) for other in errors if other["loc"][:1] == (name,)]
            yield f"{name} is {given[name]!r}, wanted {' or '.join(dict.fromkeys(branches))}"


def _wanted(item: Any) -> str:
    """What one branch of a union wants: where the value is a list or a mapping, of the wrong thing in it."""
    wanted = str(item["msg"]).removeprefix("Input should be ").partition(", unable")[0].replace("a valid ", "a ")
    plain = {"a string": "text", "a dictionary": "a mapping", "a integer": "a whole number"}.get(wanted, wanted)
    inner = ".".join(map(str, item["loc"][2:]))
    return f"{inner!r} to be {plain}" if inner else plain


def is_union(annotation: Any) -> bool:
    """Whether a value may be one of several things, None apart."""
    if typing.get_origin(annotation) is typing.Annotated:
        return is_union(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return False
    return len([item for item in typing.get_args(annotation) if item is not types.NoneType]) > 1


def _problem(item: Any, known: Mapping[str, Any]) -> str:
    """One pydantic error as `name is <found>, wanted <what>`."""
    name = ".".join(str(part) for part in item["loc"]) or "settings"
    if item["type"] == "extra_forbidden":
        hint = did_you_mean(name, known) or f" Known: {', '.join(sorted(known))}."
        return f"{name!r} is no setting.{hint}".rstrip(".")
    if item["type"] == "missing":
        return f"{name!r} is missing"
    wanted = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if item["type"] == "value_error":
        return wanted if name == "settings" else f"{name}: {wanted}"
    return f"{name} is {item['input']!r}, wanted {wanted}"


def decode(value: Any, annotation: Any) -> Any:
    r"""A string from outside as the value that `annotation` declares; anything else unchanged.

    `"6"` for a number becomes 6, `"[1, 2]"` or `"a,b"` for a list becomes a list, `"\"abc\""` for text becomes abc
    (SDKs JSON-encode some hyperparameters), and `"007"` for text stays "007".
    """
    if not isinstance(value, str):
        return value
    declared = declared_types(annotation)
    try:
        loaded = json.loads(value)
    except json.JSONDecodeError:
        return _listed(value) if declared & {list, tuple} and not declared & {str, dict} else value
    if isinstance(loaded, str) and declared & {list, tuple}:
        return decode(loaded, annotation)
    if declared <= {str, types.NoneType}:
        return loaded if isinstance(loaded, str) or (loaded is None and types.NoneType in declared) else value
    if isinstance(loaded, bool) and bool not in declared:
        return value  # Python counts true as 1: `--eta` without its number must not become a rate of 1
    return loaded


def _listed(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def declared_types(annotation: Any) -> set[type]:
    """The plain types in an annotation: `list[str] | None` gives {list, NoneType}, a Literal its values' types."""
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return {type(value) for value in typing.get_args(annotation)}
    if origin is typing.Annotated:
        return declared_types(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return set().union(*(declared_types(item) for item in typing.get_args(annotation)))
    return {origin or annotation}


def gathered(
    model: type[S],
    contract: Contract,
    environment: Mapping[str, str],
    arguments: Sequence[str],
    settings_input: Path | None = None,
) -> S:
    """The settings of a run from all its sources.

    Raises:
        SettingsError: a source cannot be read, or holds a name or value that cannot be used.
    """
    check_values(model, arguments)
    from_arguments = argument_values(arguments)
    file = from_arguments.pop("settings", None) or environment.get("QUARTET_SETTINGS") or settings_file(settings_input)
    values: dict[str, Any] = {}
    values.update(file_values(Path(file)) if file else {})
    values.update(environment_values(environment))
    values.update(hyperparameter_values(contract))
    values.update(from_arguments)
    return parsed(model, values)


def settings_file(folder: Path | None) -> Path | None:
    """The one settings file of an input folder; None when there is no such input.

    Raises:
        SettingsError: the folder holds no file, or more than one.
    """
    if folder is None:
        return None
    found = [path for path in sorted(folder.glob("*")) if path.suffix in (".json", ".yaml", ".yml")]
    if len(found) != 1:
        raise SettingsError(
            f"input 'settings' ({folder}) holds {len(found)} settings files, wanted one .json or .yaml."
        )
    return found[0]


def file_values(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file (JSON is YAML too).

    Raises:
        SettingsError: the file is missing, is no YAML, or holds no mapping.
    """
    if path.suffix == ".json" and path.exists():
        return read_config(path)
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        value = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"settings file {path} does not exist.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(value, dict):
        raise SettingsError(f"settings file {path} holds {type(value).__name__}, wanted a mapping of names to values.")
    return value


def environment_values(environment: Mapping[str, str]) -> dict[str, str]:
    """`QUARTET_MAX_DEPTH=6` as `{"max_depth": "6"}`."""
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX) and name not in RESERVED_VARIABLES
    }


def hyperparameter_values(contract: Contract) -> dict[str, Any]:
    """The hyperparameters without those that SageMaker and its tuner add for themselves."""
    if not present(contract.hyperparameters):
        return {}
    return {
        name.replace("-", "_"): value
        for name, value in read_config(contract.hyperparameters).items()
        if not name.startswith("sagemaker_") and name != "_tuning_objective_metric"
    }


def argument_values(arguments: Sequence[str]) -> dict[str, str]:
    """`["--max-depth", "6", "--eta=0.1"]` as `{"max_depth": "6", "eta": "0.1"}`; a name without a value is true.

    Raises:
        SettingsError: an argument stands where a `--name` was wanted.
    """
    return {name: "true" if value is None else value for name, value in argument_pairs(arguments).items()}


def check_values(model: type[Settings], arguments: Sequence[str]) -> None:
    """Make sure that only a setting that may be true stands without a value.

    Raises:
        SettingsError: another does. `--target` alone would look for a column called true.
    """
    annotations = {"settings": str} | {name: field.annotation for name, field in model.model_fields.items()}
    for name, value in argument_pairs(arguments).items():
        if value is None and name in annotations and bool not in declared_types(annotations[name]):
            raise SettingsError(f"`--{name}` has no value, wanted `--{name} value`.")


def argument_pairs(arguments: Sequence[str]) -> dict[str, str | None]:
    """The arguments by name, None where one stands without a value.

    Raises:
        SettingsError: an argument stands where a `--name` was wanted.
    """
    values: dict[str, str | None] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            raise SettingsError(f"argument {argument!r} is no setting, wanted `--name value`.")
        name, equals, text = argument.removeprefix("--").partition("=")
        value: str | None = text
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else None
        values[name.replace("-", "_")] = value
    return values
