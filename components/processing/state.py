"""The fitted transformation: a record of plain numbers and levels, and the expressions that it stands for.

    number     (x or fill - centre) / scale
    category   ordinal     0 missing, 1 other, 2… the kept levels in order of their names
               onehot      a column of 0 and 1 for each kept level, for other where rare levels were pooled, for missing
                           where training had missing cells
               frequency   the level's share of the training rows

A level that training did not see is treated as "other".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from components.processing.derivation import Derivation, derived
from components.processing.settings import Encode, Part
from shared.errors import ArtefactError
from shared.schema import Column, Schema, Type
from shared.tables import Csv

FORMAT: Final = 1
STATE_FILE: Final = "state.json"
MISSING: Final = 0
OTHER: Final = 1
FIRST_LEVEL: Final = 2


@dataclass(frozen=True)
class Number:
    """A number, or a part of a date, as a feature.

    Attributes:
        column: the column it is made of.
        part: the part of the date; None for a number or a boolean.
        fill: what replaces a missing value; None leaves it missing.
        centre: is subtracted.
        scale: divides; never 0.
    """

    column: str
    part: Part | None = None
    fill: float | None = None
    centre: float = 0.0
    scale: float = 1.0

    @property
    def name(self) -> str:
        """The feature's name: the column's, for a part `<column>_<part>`."""
        return self.column if self.part is None else f"{self.column}_{self.part}"

    @property
    def outputs(self) -> tuple[Column, ...]:
        """The one column that it makes."""
        return (Column(self.name, "number"),)

    def source(self) -> pl.Expr:
        """The unscaled number, missing where the column is."""
        value = pl.col(self.column)
        if self.part is not None:
            value = getattr(value.dt, self.part)()
        return value.cast(pl.Float64).alias(self.name)

    def expressions(self) -> list[pl.Expr]:
        """What makes the feature."""
        value = self.source()
        if self.fill is not None:
            value = value.fill_null(self.fill)
        if (self.centre, self.scale) != (0.0, 1.0):
            value = (value - self.centre) / self.scale
        return [value.alias(self.name)]


@dataclass(frozen=True)
class Category:
    """Text as features.

    Attributes:
        column: the column it is made of.
        encode: how its levels become numbers.
        levels: the levels that are kept, in order of their names.
        shares: their shares of the training rows.
        rare: the levels that training saw and pooled into "other".
        other: share of the training rows that "other" had.
        missing: share of the training rows without a level.
    """

    column: str
    encode: Encode
    levels: tuple[str, ...]
    shares: tuple[float, ...]
    rare: tuple[str, ...] = ()
    other: float = 0.0
    missing: float = 0.0

    @property
    def outputs(self) -> tuple[Column, ...]:
        """The columns that it makes."""
        match self.encode:
            case "ordinal":
                return (Column(self.column, "integer"),)
            case "frequency":
                return (Column(self.column, "number"),)
            case _:
                return tuple(Column(name, "integer") for name, _ in self._indicators())

    def expressions(self) -> list[pl.Expr]:
        """What makes the features."""
        match self.encode:
            case "ordinal":
                codes = range(FIRST_LEVEL, FIRST_LEVEL + len(self.levels))
                return [self._replaced(dict(zip(self.levels, codes, strict=True)), MISSING, OTHER, pl.Int64())]
            case "frequency":
                shares = dict(zip(self.levels, self.shares, strict=True))
                return [self._replaced(shares, self.missing, self.other, pl.Float64())]
            case _:
                return [value.cast(pl.Int64).alias(name) for name, value in self._indicators()]

    def unseen(self) -> pl.Expr:
        """Whether the row has a level that training did not see."""
        value = pl.col(self.column)
        return (value.is_not_null() & ~value.is_in([*self.levels, *self.rare])).fill_null(value=False)

    def _replaced(
        self, values: Mapping[str, int | float], missing: int | float, other: int | float, dtype: pl.DataType
    ) -> pl.Expr:
        column = pl.col(self.column)
        known = column.replace_strict(list(values), list(values.values()), default=other, return_dtype=dtype)
        return pl.when(column.is_null()).then(pl.lit(missing, dtype)).otherwise(known).alias(self.column)

    def _indicators(self) -> list[tuple[str, pl.Expr]]:
        column = pl.col(self.column)
        found = [(indicator(self.column, level), column.eq_missing(pl.lit(level))) for level in self.levels]
        if self.other:
            other = column.is_not_null() & ~column.is_in(self.levels).fill_null(value=False)
            found.append((f"{self.column}=(other)", other))
        if self.missing:
            found.append((f"{self.column}=(missing)", column.is_null()))
        return found


Feature = Number | Category


def indicator(column: str, level: str) -> str:
    """Name of a one-hot column: `carrier=UA`; `[`, `]` and `<`, which XGBoost refuses in names, percent-encoded."""
    for sign in "[]<":
        level = level.replace(sign, f"%{ord(sign):02X}")
    return f"{column}={level}"


@dataclass(frozen=True)
class Target:
    """The column to predict: a number or integer as it is, a boolean as 0 and 1, a class of text as its index."""

    name: str
    type: Type
    classes: tuple[str, ...] = ()

    @property
    def output(self) -> Column:
        """The column that it makes."""
        return Column(self.name, "number" if self.type == "number" else "integer")

    def expression(self) -> pl.Expr:
        """What makes the target; a class that training did not see becomes missing."""
        value = pl.col(self.name)
        if self.type == "text":
            codes = list(range(len(self.classes)))
            return value.replace_strict(list(self.classes), codes, default=None, return_dtype=pl.Int64).alias(self.name)
        return value.cast(pl.Float64 if self.type == "number" else pl.Int64).alias(self.name)


@dataclass(frozen=True)
class State:
    """All that serving needs to make of production data what train made of training data."""

    ids: tuple[str, ...]
    target: Target
    derivations: tuple[Derivation, ...]
    features: tuple[Feature, ...]
    csv: Csv
    rows: int
    """Training rows that it was fitted on."""

    @property
    def output_schema(self) -> Schema:
        """The columns of the finished table: ids, features, target."""
        columns = (
            *(Column(name, "text") for name in self.ids),
            *(column for feature in self.features for column in feature.outputs),
            self.target.output,
        )
        return Schema(columns, self.ids, self.target.name)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        kinds = {Number: "number", Category: "category"}
        return {
            "format": FORMAT,
            "ids": list(self.ids),
            "target": asdict(self.target),
            "derivations": [asdict(item) for item in self.derivations],
            "features": [{"kind": kinds[type(item)], **asdict(item)} for item in self.features],
            "csv": asdict(self.csv),
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, value: Any) -> State:
        """The state that `to_json` wrote.

        Raises:
            ArtefactError: the value has another form or format.
        """
        try:
            if value["format"] != FORMAT:
                raise ArtefactError(
                    f"state.json has format {value['format']!r}, wanted {FORMAT}. Train again with this version."
                )
            return cls(
                ids=tuple(value["ids"]),
                target=Target(**_tuples(value["target"])),
                derivations=tuple(Derivation(**item) for item in value["derivations"]),
                features=tuple(_feature(item) for item in value["features"]),
                csv=Csv(**_tuples(value["csv"])),
                rows=int(value["rows"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"state.json cannot be read: {error!r}. Train again.") from None


def _tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}


def _feature(value: Mapping[str, Any]) -> Feature:
    fields = _tuples(value)
    kind = {"number": Number, "category": Category}[fields.pop("kind")]
    made: Feature = kind(**fields)
    return made


def transformation(state: State) -> list[pl.Expr]:
    """The expressions that make the features of a table with its derived columns."""
    return [expression for feature in state.features for expression in feature.expressions()]


def transformed(table: pl.DataFrame, state: State, *, with_target: bool = False) -> pl.DataFrame:
    """The features of a table that has the raw and the derived columns: N rows in, N rows out, in their order.

    Ids that the table lacks are left out.
    """
    ids = [pl.col(name).cast(pl.String) for name in state.ids if name in table.columns]
    target = [state.target.expression()] if with_target else []
    return table.select(*ids, *transformation(state), *target)


def applied(table: pl.DataFrame, state: State) -> pl.DataFrame:
    """The features of raw rows: derived columns first. Raises as `derived`."""
    return transformed(derived(table, state.derivations), state)
