"""What a table's columns are called and what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from shared.errors import ArtefactError, DataError, did_you_mean, names

if TYPE_CHECKING:
    import polars as pl

Type = Literal["integer", "number", "boolean", "text", "date", "datetime"]
TYPES: Final = get_args(Type)


@dataclass(frozen=True)
class Column:
    """One column: its name and what its values are."""

    name: str
    type: Type


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in order; which of them identify a row, and which one is to be predicted."""

    columns: tuple[Column, ...]
    ids: tuple[str, ...] = ()
    target: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All column names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that are neither ids nor the target, in order."""
        return tuple(name for name in self.names if name not in self.ids and name != self.target)

    def column(self, name: str) -> Column:
        """The column called `name`."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> Mapping[str, Column]:
        """The columns, found at once: of a wide table each one is asked for."""
        return {column.name: column for column in self.columns}

    def select(self, wanted: Iterable[str]) -> Schema:
        """The schema of these columns alone, in the order wanted."""
        chosen = tuple(self.column(name) for name in wanted)
        kept = {column.name for column in chosen}
        return Schema(
            chosen,
            tuple(name for name in self.ids if name in kept),
            self.target if self.target in kept else None,
        )

    def without_target(self) -> Schema:
        """The schema of the same rows before the outcome is known."""
        return self.select(name for name in self.names if name != self.target)

    def check_names(self, found: Sequence[str], where: str) -> None:
        """Make sure that every column is there; extra columns are ignored.

        Raises:
            DataError: columns are missing.
        """
        there = set(found)
        missing = [name for name in self.names if name not in there]
        if missing:
            hint = did_you_mean(missing[0], found)
            raise DataError(
                f"{where} lacks column{'s' if len(missing) > 1 else ''} {names(missing)}; it has {names(found)}.{hint}"
            )

    def dtypes(self) -> dict[str, pl.DataType]:
        """The Polars data type of each column."""
        return {column.name: polars_type(column.type) for column in self.columns}

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        return {
            "columns": [{"name": column.name, "type": column.type} for column in self.columns],
            "ids": list(self.ids),
            "target": self.target,
        }

    @classmethod
    def from_json(cls, value: Any) -> Schema:
        """The schema that `to_json` wrote.

        Raises:
            ArtefactError: the value has another form.
        """
        try:
            columns = tuple(Column(str(item["name"]), item["type"]) for item in value["columns"])
            if any(column.type not in TYPES for column in columns):
                raise ValueError(f"a column type is none of {names(TYPES)}")
            return cls(columns, tuple(value["ids"]), value["target"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"a schema cannot be read: {error!r}.") from None


@cache
def polars_types() -> Mapping[Type, pl.DataType]:
    """The Polars data type that holds the values of each schema type."""
    import polars as pl

    return {
        "integer": pl.Int64(),
        "number": pl.Float64(),
        "boolean": pl.Boolean(),
        "text": pl.String(),
        "date": pl.Date(),
        "datetime": pl.Datetime("us"),
    }


def polars_type(name: Type) -> pl.DataType:
    """The Polars data type that holds values of a schema type."""
    return polars_types()[name]


def schema_type(dtype: pl.DataType) -> Type:
    """The schema type of a Polars data type.

    Raises:
        DataError: the type is nested or binary, which no component reads.
    """
    import polars as pl

    if dtype.is_integer():
        return "integer"
    if dtype.is_float() or dtype.is_decimal():
        return "number"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.Date:
        return "date"
    if dtype == pl.Datetime:
        return "datetime"
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return "text"
    raise DataError(f"columns of type {dtype} cannot be read. Use numbers, text, booleans, dates or timestamps.")
