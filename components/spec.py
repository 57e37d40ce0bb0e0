"""What each component is, as its `component.toml` declares it: read by the builder, the pipelines and the tests.

Build-time only: no image carries this module.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from shared.errors import SettingsError, did_you_mean, names

JobKind = Literal["processing", "training", "transform"]
Mode = Literal["train", "serve"]
Accelerator = Literal["none", "cuda"]
Architecture = Literal["amd64", "arm64"]

NAMES: Final = ("processing", "algorithm", "monitoring", "explainability")
"""The four components, in the order in which a pipeline runs them."""
FOLDER: Final = Path(__file__).resolve().parent
MODES: Final = get_args(Mode)
LISTS: Final = ("inputs", "optional_inputs", "outputs", "optional_outputs")
BASE: Final = "public.ecr.aws/docker/library/python:3.13-slim-trixie"
"""The base image of a variant that names none."""


@dataclass(frozen=True)
class ModeSpec:
    """One mode of a component: the SageMaker job that runs it, and the names of what goes in and comes out."""

    job: JobKind
    inputs: tuple[str, ...] = ()
    optional_inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    optional_outputs: tuple[str, ...] = ()

    @property
    def all_inputs(self) -> tuple[str, ...]:
        """Inputs that must be there, then those that may be."""
        return self.inputs + self.optional_inputs

    @property
    def all_outputs(self) -> tuple[str, ...]:
        """Outputs that are always made, then those that settings ask for."""
        return self.outputs + self.optional_outputs


@dataclass(frozen=True)
class Variant:
    """One image of a component.

    Attributes:
        requirements: its lock file, below the component's folder.
        base: the image that it stands on.
        accelerator: the device that its packages can use; every image also works without.
        architectures: the processors that it is built for.
        without: parts of the installed packages, folders such as scipy/stats or patterns of files, that no job reads.
        wheels: a file below the repository's root with what comes as a file and not from an index, installed without
            its dependencies; None for most.
        purpose: what the variant is for, in one sentence; empty where the name says it.
    """

    name: str
    requirements: str
    base: str = BASE
    accelerator: Accelerator = "none"
    architectures: tuple[Architecture, ...] = ("amd64",)
    without: tuple[str, ...] = ()
    wheels: str | None = None
    purpose: str = ""


@dataclass(frozen=True)
class Spec:
    """One component.

    Attributes:
        left_out: variants that there are not, and why, so that nobody looks for them.
    """

    name: str
    summary: str
    train: ModeSpec
    serve: ModeSpec
    variants: Mapping[str, Variant] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def mode(self, mode: Mode) -> ModeSpec:
        """The `train` or the `serve` half."""
        return self.train if mode == "train" else self.serve


def specs(folder: Path = FOLDER) -> dict[str, Spec]:
    """The four components by name, in pipeline order.

    Raises:
        SettingsError: a `component.toml` is missing or cannot be used.
    """
    return {name: read_spec(folder / name / "component.toml") for name in NAMES}


def read_spec(path: Path) -> Spec:
    """The component that one `component.toml` declares.

    Raises:
        SettingsError: the file is missing, is no TOML, or lacks, misnames or mistypes something.
    """
    table = _table(path)
    _check_names(table, ("name", "summary", "train", "serve", "variants"), str(path))
    for name in ("name", "summary"):
        if not isinstance(table.get(name), str):
            raise SettingsError(f"{path}: {name} is {table.get(name)!r}, wanted text.")
    if table["name"] != path.parent.name:
        raise SettingsError(f"{path}: name is {table['name']!r}, wanted the folder's name {path.parent.name!r}.")
    train, serve = (_mode(table.get(mode), f"{path}: [{mode}]") for mode in MODES)
    tables = _variant_tables(table.get("variants", {}), path)
    absent = _absent(tables)
    there = {
        name: _variant(name, value, f"{path}: [variants.{name}]")
        for name, value in tables.items()
        if name not in absent
    }
    return Spec(table["name"], table["summary"], train, serve, there, absent)


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist. Each component needs its component.toml.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} is no TOML: {error}.") from None


def _mode(value: Any, where: str) -> ModeSpec:
    if not isinstance(value, dict):
        raise SettingsError(f"{where} is missing, wanted a table with job, inputs and outputs.")
    _check_names(value, ("job", *LISTS), where)
    kinds: dict[Any, JobKind] = {kind: kind for kind in get_args(JobKind)}
    if value.get("job") not in kinds:
        raise SettingsError(f"{where} job is {value.get('job')!r}, wanted one of {names(kinds)}.")
    lists = {name: _strings(value.get(name, []), f"{where} {name}") for name in LISTS}
    for kind in ("inputs", "outputs"):
        both = lists[kind] + lists[f"optional_{kind}"]
        twice = sorted({item for item in both if both.count(item) > 1})
        if twice:
            raise SettingsError(f"{where} names {kind} {names(twice)} more than once.")
    return ModeSpec(kinds[value["job"]], **lists)


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingsError(f"{where} is {value!r}, wanted a list of names.")
    return tuple(value)


def _variant_tables(value: Any, path: Path) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise SettingsError(f"{path}: variants is {value!r}, wanted one table a variant.")
    return value


def _absent(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The variants that say why they do not exist."""
    return {name: str(table["left_out"]) for name, table in tables.items() if set(table) == {"left_out"}}


def _variant(name: str, table: Mapping[str, Any], where: str) -> Variant:
    known = tuple(item.name for item in fields(Variant) if item.name != "name")
    _check_names(table, known, where)
    text = {key: value for key, value in table.items() if key not in ("accelerator", "architectures", "without")}
    if "requirements" not in text:
        raise SettingsError(
            f"{where} names no requirements, wanted the variant's lock file, or left_out with a reason."
        )
    for key, value in text.items():
        if not isinstance(value, str) or not value:
            raise SettingsError(f"{where} {key} is {value!r}, wanted text.")
    accelerators: dict[Any, Accelerator] = {item: item for item in get_args(Accelerator)}
    accelerator = table.get("accelerator", "none")
    if accelerator not in accelerators:
        raise SettingsError(f"{where} accelerator is {accelerator!r}, wanted one of {names(accelerators)}.")
    return Variant(
        name=name,
        accelerator=accelerators[accelerator],
        architectures=_architectures(table.get("architectures", ["amd64"]), f"{where} architectures"),
        without=_strings(table.get("without", []), f"{where} without"),
        **text,
    )


def _architectures(value: Any, where: str) -> tuple[Architecture, ...]:
    known: dict[Any, Architecture] = {item: item for item in get_args(Architecture)}
    listed = _strings(value, where)
    if not listed or any(item not in known for item in listed):
        raise SettingsError(f"{where} is {value!r}, wanted a list of {names(known)}.")
    return tuple(known[item] for item in listed)


def _check_names(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in known:
            hint = did_you_mean(name, known) or f" Known: {names(known)}."
            raise SettingsError(f"{where}: {name!r} is no known key.{hint}")
