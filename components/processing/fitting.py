"""From what is known of the training rows to the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.processing.passes import Known
from components.processing.plan import Plan, narrowed
from components.processing.selection import Quantile
from components.processing.settings import Impute, ProcessingSettings
from components.processing.state import Category, Feature, Number, State, Target
from components.processing.summary import Levels, Numbers
from shared.errors import DataError, names
from shared.schema import Column, Schema

PROBABILITIES = {"median": 0.5, "lower": 0.25, "upper": 0.75}
GREATEST = 1e150
"""Numbers below it can be squared and summed in double precision, whose greatest is 1.8e308."""
Wanted = Mapping[Number, Mapping[str, Quantile]]
Found = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Fitted:
    """The state, the raw columns that it is applied to, and the columns that became no feature, with the reason."""

    state: State
    serving: Schema
    left_out: Mapping[str, str]


def sources(columns: Iterable[Column], settings: ProcessingSettings) -> tuple[Number, ...]:
    """The unfitted numbers that will be features: columns of numbers and booleans, and the parts of dates.

    Raises:
        DataError: a part of a date would have the name of another column.
    """
    found: list[Number] = []
    wanted = tuple(columns)
    for column in wanted:
        if column.type in ("date", "datetime"):
            parts = (part for part in settings.dates if part != "hour" or column.type == "datetime")
            found += [Number(column.name, part) for part in parts]
        elif column.type != "text":
            found.append(Number(column.name))
    check_distinct([source.name for source in found] + [item.name for item in wanted if item.type == "text"])
    return tuple(found)


def fitted(plan: Plan, known: Known, settings: ProcessingSettings, quantiles_of: Callable[[Wanted], Found]) -> Fitted:
    """The transformation that the training rows suggest.

    Args:
        plan: which column is what.
        known: what a pass over the rows has found.
        settings: how to impute, scale and encode.
        quantiles_of: finds quantiles of the training rows, which takes passes of its own.

    Raises:
        DataError: the target or a column teaches nothing or holds too great numbers, no feature is left, or two
            would have one name.
    """
    check_strays(plan, known)
    check_target(plan, known)
    check_present(plan, known)
    check_measured(plan, known)
    left_out = dict(plan.left_out)
    numbers: list[Number] = []
    for source in sources(plan.features, settings):
        if constant_number(known.numbers[source.name], settings.impute):
            left_out[source.name] = f"constant: {known.numbers[source.name].maximum:g} in all training rows"
        else:
            numbers.append(source)
    found = quantiles_of({source: wanted_quantiles(known.numbers[source.name], settings) for source in numbers})
    made: dict[str, list[Feature]] = {column.name: [] for column in plan.features}
    for source in numbers:
        made[source.column].append(fitted_number(source, known.numbers[source.name], found[source.name], settings))
    for name, levels in known.columns["train"].items():
        if name in made and isinstance(levels, Levels):
            category = fitted_category(name, levels, settings)
            if constant_category(category):
                left_out[name] = constant_reason(levels)
            else:
                made[name].append(category)
    features = tuple(feature for column in made.values() for feature in column)
    check_outputs(features, plan)
    serving, lasting = narrowed(plan, (feature.column for feature in features))
    state = State(plan.ids, fitted_target(plan, known), lasting, features, settings.csv(), known.rows["train"])
    return Fitted(state, serving, left_out)


def wanted_quantiles(numbers: Numbers, settings: ProcessingSettings) -> dict[str, Quantile]:
    """The quantiles that fitting a column of numbers needs."""
    needed = ["median"] if settings.impute == "median" or settings.scale == "robust" else []
    needed += ["lower", "upper"] if settings.scale == "robust" else []
    return {name: Quantile.of(numbers.count, PROBABILITIES[name]) for name in needed}


def fitted_number(
    source: Number, numbers: Numbers, quantiles: Mapping[str, float], settings: ProcessingSettings
) -> Number:
    """The number as a feature; every figure is of the cells that are there, so imputing does not shrink the scale."""
    centre, scale = 0.0, 1.0
    match settings.scale:
        case "standard":
            centre, scale = numbers.mean, numbers.deviation
        case "minmax":
            centre, scale = numbers.minimum, numbers.maximum - numbers.minimum
        case "robust":
            centre, scale = quantiles["median"], quantiles["upper"] - quantiles["lower"]
        case "none":
            pass
    fill = {"median": quantiles.get("median"), "mean": numbers.mean, "zero": 0.0, "none": None}[settings.impute]
    # A scale of 0, which a column that seldom varies can have, would make infinities; 1 leaves differences as they are.
    return Number(source.column, source.part, fill, centre, scale or 1.0)


def constant_number(numbers: Numbers, impute: Impute) -> bool:
    """Whether the feature would have one value in all rows once missing cells are replaced."""
    if numbers.minimum != numbers.maximum:
        return False
    filled_alike = impute in ("median", "mean") or (impute == "zero" and numbers.minimum == 0)
    return numbers.missing == 0 or filled_alike


def fitted_category(column: str, levels: Levels, settings: ProcessingSettings) -> Category:
    """The text as features: levels at least as frequent as `min_frequency` are kept, the others pooled."""
    rows = levels.count + levels.missing
    kept = sorted(name for name, count in levels.counts.items() if count >= settings.min_frequency * rows)
    rare = sorted(set(levels.counts) - set(kept))
    return Category(
        column=column,
        encode=settings.encode,
        levels=tuple(kept),
        shares=tuple(levels.counts[name] / rows for name in kept),
        rare=tuple(rare),
        other=sum(levels.counts[name] for name in rare) / rows,
        missing=levels.missing / rows,
    )


def constant_category(category: Category) -> bool:
    """Whether all rows have the same level; missing is a level, and so is "other"."""
    return len(category.levels) + (category.other > 0) + (category.missing > 0) < 2


def constant_reason(levels: Levels) -> str:
    """Why text is constant: there is one level, or too many rare ones."""
    if len(levels.counts) == 1:
        return f"constant: {next(iter(levels.counts))!r} in all training rows"
    return f"constant: all its {len(levels.counts):,} levels are rarer than min_frequency"


def fitted_target(plan: Plan, known: Known) -> Target:
    """The target, its classes in order of their names when it is text.

    Raises:
        DataError: validation or test rows have a class that training rows lack.
    """
    name = plan.target.name
    training = known.columns["train"][name]
    if not isinstance(training, Levels):
        return Target(name, plan.target.type)
    for part in ("validation", "test"):
        other = known.columns[part][name]
        assert isinstance(other, Levels)
        unknown = sorted(set(other.counts) - set(training.counts))
        if unknown:
            raise DataError(
                f"target {name!r} has {names(unknown)} in {part} rows and in no training row, wanted the same classes. "
                "Split at random, leave such rows out with `where`, or give more rows."
            )
    return Target(name, plan.target.type, tuple(sorted(training.counts)))


def check_strays(plan: Plan, known: Known) -> None:
    """Refuse raw text that is nearly all numbers: some of its cells are not what their column is.

    Raises:
        DataError: up to a twentieth of a column's cells are no numbers.
    """
    derived = {item.name for item in plan.derivations}
    for column in (*plan.features, plan.target):
        levels = known.columns["train"][column.name]
        strays = levels.strays() if isinstance(levels, Levels) and column.name not in derived else None
        if strays:
            raise DataError(
                f"column {column.name!r} holds {names(sorted(strays), 3)} in {strays.total():,} of {levels.count:,} "
                "training rows and numbers in all others, wanted one or the other. Correct these cells, name them "
                f'under `missing`, or derive CAST("{column.name}" AS VARCHAR) if they are codes.'
            )


def check_target(plan: Plan, known: Known) -> None:
    """Refuse a target that teaches nothing.

    Raises:
        DataError: it has one value in all training rows.
    """
    summary = known.columns["train"][plan.target.name]
    values = list(summary.counts if isinstance(summary, Levels) else summary.distinct)
    if len(values) == 1:
        shown = repr(values[0]) if isinstance(values[0], str) else f"{values[0]:g}"
        raise DataError(
            f"target {plan.target.name!r} is {shown} in all {known.rows['train']:,} training rows, wanted at least two "
            "values. Check the data, `where` and `derive`."
        )


def check_present(plan: Plan, known: Known) -> None:
    """Refuse columns of which nothing is known.

    Raises:
        DataError: a column is missing in all training rows.
    """
    empty = [column.name for column in plan.features if not known.columns["train"][column.name].count]
    if empty:
        is_, it = ("are", "them") if len(empty) > 1 else ("is", "it")
        raise DataError(
            f"column{'s' if len(empty) > 1 else ''} {names(empty)} {is_} missing in all {known.rows['train']:,} "
            f"training rows, wanted values to learn from. Name {it} under `drop`."
        )


def check_measured(plan: Plan, known: Known) -> None:
    """Refuse columns of numbers that are so great that no mean or deviation of them can be computed.

    Raises:
        DataError: a column's squares overflow in training, validation or test rows.
    """
    for column in (*plan.features, plan.target):
        for part, summaries in known.columns.items():
            numbers = summaries[column.name]
            if isinstance(numbers, Numbers) and not numbers.measured:
                raise DataError(
                    f"column {column.name!r} reaches from {numbers.minimum:g} to {numbers.maximum:g} in {part} rows, "
                    f"wanted numbers that can be squared (below {GREATEST:g}). Correct the data, name the cells under "
                    "`missing` if they stand for nothing, or name the column under `drop`."
                )


def check_outputs(features: Iterable[Feature], plan: Plan) -> None:
    """Make sure that the finished table can have its columns.

    Raises:
        DataError: no feature is left, or two columns would have one name.
    """
    made = [column.name for feature in features for column in feature.outputs]
    if not made:
        raise DataError("all features are constant in the training rows, wanted columns that vary. Check the data.")
    check_distinct([*plan.ids, *made, plan.target.name])


def check_distinct(every: Sequence[str]) -> None:
    """Make sure that no two columns of the finished table have one name.

    Raises:
        DataError: some have.
    """
    doubled = [name for name, count in Counter(every).items() if count > 1]
    if doubled:
        raise DataError(
            f"the finished table would have two columns called {names(doubled)}. Rename or drop one of them."
        )
