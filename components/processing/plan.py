"""Which column is used for what: decided once, from the settings and the columns that the data has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from components.processing.derivation import Derivation, check_condition, derivations, parsed, raw_columns
from components.processing.settings import ProcessingSettings
from shared.errors import DataError, SettingsError, did_you_mean, names
from shared.schema import Column, Schema


@dataclass(frozen=True)
class Plan:
    """The columns of a training run.

    Attributes:
        raw: the raw columns that train reads; ids are text, whatever they look like, so that "007" stays "007".
        serving: the raw columns wanted at serving, ids first.
        target: the column to predict, raw or derived.
        time: the column by which rows are ordered, if any.
        features: columns that features are made of, raw ones in the order of the data, then derived ones.
        derivations: derived columns of training, each after those that it uses.
        lasting: those of them that serving computes too.
        left_out: columns that are no features, and why.
    """

    raw: Schema
    serving: Schema
    target: Column
    time: str | None
    features: tuple[Column, ...]
    derivations: tuple[Derivation, ...]
    lasting: tuple[Derivation, ...]
    left_out: Mapping[str, str]

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the columns that identify a row."""
        return self.serving.ids

    @property
    def prepared(self) -> Schema:
        """The columns of the prepared table: those of serving, raw and derived, the target and the time."""
        columns = {column.name: column for column in (*self.serving.columns, *typed_columns(self.lasting), self.target)}
        if self.time is not None:
            columns.setdefault(self.time, self.raw.column(self.time))
        return Schema(tuple(columns.values()), self.ids, self.target.name)


def typed_columns(among: Iterable[Derivation]) -> tuple[Column, ...]:
    """What the derived columns are."""
    return tuple(Column(item.name, item.type) for item in among)


def planned(settings: ProcessingSettings, raw: Schema) -> Plan:
    """The plan for data with the columns `raw`.

    Raises:
        DataError: a named column is not there.
        SettingsError: an expression cannot be used, the target is a feature's source, or no feature is left.
    """
    ids = settings.ids
    columns = tuple(Column(item.name, "text") if item.name in ids else item for item in raw.columns)
    raw = Schema(columns, ids)
    raw.check_names(raw.names, "input 'data'")
    derived = derivations(settings.derive, raw)
    everything = {column.name: column for column in (*raw.columns, *typed_columns(derived))}
    _check_columns(settings, raw, everything)
    target = everything[str(settings.target)]
    left_out = _roles(settings, everything, derived)
    wanted = settings.features or tuple(name for name in everything if name not in left_out)
    _check_features(wanted, target.name, derived)
    chosen = set(wanted)
    left_out = {name: why for name, why in left_out.items() if name not in chosen}
    left_out |= {
        name: "not among `features`"
        for name in everything
        if name not in chosen and name not in left_out and name not in (target.name, *ids)
    }
    lasting = tuple(item for item in derived if item.name in used_for(wanted, derived))
    sources = set().union(*(raw_columns(name, derived) for name in wanted))
    serving = raw.select([*ids, *(name for name in raw.names if name in sources and name not in ids)])
    trained = {item.name for item in derived if item.name in used_for(_training_names(settings, everything), derived)}
    needed = tuple(item for item in derived if item in lasting or item.name in trained)
    reading = {*serving.names, *_training_raw(settings, everything, derived)}
    return Plan(
        raw=raw.select(name for name in raw.names if name in reading),
        serving=serving,
        target=target,
        time=settings.time,
        features=tuple(everything[name] for name in wanted),
        derivations=needed,
        lasting=lasting,
        left_out=left_out,
    )


def used_for(wanted: Iterable[str], derived: Iterable[Derivation]) -> set[str]:
    """Names of the derived columns that the wanted ones are, or are made of."""
    by_name = {item.name: item for item in derived}
    found: set[str] = set()
    rest = [name for name in wanted if name in by_name]
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            rest += [used for used in by_name[name].expression().meta.root_names() if used in by_name]
    return found


def _check_columns(settings: ProcessingSettings, raw: Schema, everything: Mapping[str, Column]) -> None:
    _check_known("ids", settings.ids, raw.names)
    _check_known("time", (settings.time,) if settings.time else (), raw.names)
    _check_known("target", (str(settings.target),), everything)
    _check_known("drop", settings.drop, everything)
    _check_known("features", settings.features or (), everything)
    if settings.time and raw.column(settings.time).type in ("text", "boolean"):
        raise DataError(
            f"time {settings.time!r} holds {raw.column(settings.time).type}, wanted dates, timestamps or numbers. "
            "Write it as 2013-01-31 or 2013-01-31 17:05, or name another column."
        )
    if everything[str(settings.target)].type in ("date", "datetime"):
        raise DataError(f"target {settings.target!r} holds dates, wanted numbers, booleans or text. Derive a number.")
    if settings.where is not None:
        check_condition(settings.where, Schema(tuple(everything.values())))


def _check_known(role: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise DataError(
            f"input 'data' lacks {names(unknown)}, which `{role}` names; it has {names(known, 20)}."
            f"{did_you_mean(unknown[0], known)}"
        )


def _training_names(settings: ProcessingSettings, everything: Mapping[str, Column]) -> set[str]:
    """Columns that only training looks at: the target, those that `where` uses, the time."""
    found = {str(settings.target)}
    if settings.where is not None:
        found |= set(parsed(settings.where, "where", everything).meta.root_names())
    return found | ({settings.time} if settings.time else set())


def _training_raw(
    settings: ProcessingSettings, everything: Mapping[str, Column], derived: Iterable[Derivation]
) -> set[str]:
    among = tuple(derived)
    return set().union(*(raw_columns(name, among) for name in _training_names(settings, everything)))


def _roles(
    settings: ProcessingSettings, everything: Mapping[str, Column], derived: tuple[Derivation, ...]
) -> dict[str, str]:
    """Columns that are no features unless `features` names them, and why."""
    target = str(settings.target)
    of_target = raw_columns(target, derived) | used_for([target], derived)
    of_where: set[str] = set()
    if settings.where is not None:
        used = parsed(settings.where, "where", everything).meta.root_names()
        of_where = set().union(set(used), *(raw_columns(name, derived) for name in used))
    others = [item.name for item in derived if item.name not in {*settings.drop, *of_target, *of_where}]
    shared = set().union(*(raw_columns(name, derived) | used_for([name], derived) for name in others))
    why: dict[str, str] = {}
    for name in everything:
        if name == target:
            why[name] = "the target"
        elif name in settings.ids:
            why[name] = "an id"
        elif name in settings.drop:
            why[name] = "dropped"
        elif name == settings.time:
            why[name] = "the time"
        elif name in of_target - shared:
            why[name] = "used by the target"
        elif name in of_where - shared:
            why[name] = "used by `where`"
    return why


def _check_features(wanted: Iterable[str], target: str, derived: tuple[Derivation, ...]) -> None:
    wanted = tuple(wanted)
    if not wanted:
        raise SettingsError("no column is left to make features of. Name some under `features`, or drop fewer.")
    leaking = [name for name in wanted if target in used_for([name], derived) | raw_columns(name, derived)]
    if leaking:
        raise SettingsError(
            f"features {names(leaking)} are made of the target {target!r}, which serving lacks. Drop them."
        )


def narrowed(plan: Plan, features: Iterable[str]) -> tuple[Schema, tuple[Derivation, ...]]:
    """The raw columns and the derived ones that serving needs when only these features are left."""
    wanted = tuple(features)
    sources = set().union(*(raw_columns(name, plan.lasting) for name in wanted))
    lasting = used_for(wanted, plan.lasting)
    serving = plan.serving.select(name for name in plan.serving.names if name in sources or name in plan.ids)
    return serving, tuple(item for item in plan.lasting if item.name in lasting)
