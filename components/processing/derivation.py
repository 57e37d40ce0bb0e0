"""Columns made from other columns of the same row, each by one SQL expression."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import polars as pl
from polars.exceptions import PolarsError

from shared.errors import DataError, SettingsError, did_you_mean, names
from shared.schema import Column, Schema, Type, polars_type, schema_type

ACROSS_ROWS: Final = frozenset({"Agg", "Len", "Over", "Rank", "Shift", "Window"})
"""Nodes of Polars' expression tree whose value depends on more rows than one."""
PROBES: Final[dict[Type, list[Any]]] = {
    "integer": [3, 1, 2, None],
    "number": [3.5, 1.5, 2.5, None],
    "boolean": [True, False, True, None],
    "text": ["3", "1", "2", None],
    "date": [date(2013, 3, 3), date(2013, 1, 1), date(2013, 2, 2), None],
    "datetime": [datetime(2013, 3, 3, 3), datetime(2013, 1, 1, 1), datetime(2013, 2, 2, 2), None],
}
_ACROSS_ROWS: Final = "{where} is {sql!r}, which depends on other rows. Use an expression of one row: no SUM, no OVER."


@dataclass(frozen=True)
class Derivation:
    """One derived column: its name, the expression, and the type of what it gives."""

    name: str
    sql: str
    type: Type

    def expression(self) -> pl.Expr:
        """The expression with the column's name and type; NaN is missing, as everywhere."""
        value = pl.sql_expr(self.sql).cast(polars_type(self.type))
        return (value.fill_nan(None) if self.type == "number" else value).alias(self.name)


def parsed(sql: str, where: str, columns: Iterable[str]) -> pl.Expr:
    """The expression that `sql` says.

    Args:
        sql: an expression such as `arr_delay >= 15`.
        where: how errors call it, for example `derive 'late'`.
        columns: names that it may use.

    Raises:
        SettingsError: it is no SQL expression, uses unknown columns, or depends on other rows than its own, so that
            production data would get other values than training data.
    """
    try:
        expression = pl.sql_expr(sql)
    except PolarsError as error:
        raise SettingsError(f"{where} is {sql!r}, which is no SQL expression: {first_line(error)}.") from None
    known = tuple(columns)
    unknown = [name for name in expression.meta.root_names() if name not in known]
    if unknown:
        raise SettingsError(
            f"{where} uses {names(dict.fromkeys(unknown))}, but the columns are {names(known, 20)}."
            f"{did_you_mean(unknown[0], known)}"
        )
    if looks_around(json.loads(expression.meta.serialize(format="json"))):
        raise SettingsError(_ACROSS_ROWS.format(where=where, sql=sql))
    return expression


def looks_around(node: Any) -> bool:
    """Whether a serialised expression holds an aggregate or a window.

    `meta.is_row_separable` says so of `SUM(a)` too, because of how SQL's sum is spelt in Polars.
    """
    if isinstance(node, dict):
        return any(key in ACROSS_ROWS or looks_around(value) for key, value in node.items())
    if isinstance(node, list):
        return any(looks_around(value) for value in node)
    return node in ACROSS_ROWS if isinstance(node, str) else False


def type_of(expression: pl.Expr, schema: Schema) -> Type:
    """What an expression gives. Raises PolarsError or DataError where it gives nothing that a column can hold."""
    return schema_type(pl.LazyFrame(schema=schema.dtypes()).select(expression.alias("it")).collect_schema()["it"])


def differs_alone(expression: pl.Expr, schema: Schema) -> bool:
    """Whether a row gives another value among others than by itself; that finds what `looks_around` has no name for."""
    probe = pl.DataFrame({column.name: PROBES[column.type] for column in schema.columns}, schema=schema.dtypes())
    value = expression.alias("value")
    try:
        together = probe.with_columns(value)["value"].to_list()
        return together != [probe[row : row + 1].with_columns(value)["value"][0] for row in range(probe.height)]
    except PolarsError:
        return False  # the probe's text is no date, for example; the data's may be


def derivations(derive: Mapping[str, str], raw: Schema) -> tuple[Derivation, ...]:
    """The derived columns, each after those that it uses; otherwise by name.

    The order does not depend on the mapping's, because settings travel as JSON objects, which have none.

    Raises:
        SettingsError: an expression cannot be used, a name is taken, or columns use one another in a circle.
    """
    taken = [name for name in derive if name in raw.names]
    if taken:
        raise SettingsError(f"derive names {names(taken)}, which the data has already. Give it another name.")
    everything = (*raw.names, *derive)
    uses = {
        name: set(parsed(sql, f"derive {name!r}", everything).meta.root_names()) & set(derive)
        for name, sql in derive.items()
    }
    done: dict[str, Derivation] = {}
    schema = raw
    while len(done) < len(derive):
        ready = sorted(name for name in derive if name not in done and uses[name] <= set(done))
        if not ready:
            circle = sorted(set(derive) - set(done))
            raise SettingsError(f"derive {names(circle)} use one another in a circle. Start from raw columns.")
        done[ready[0]] = _typed(ready[0], derive[ready[0]], schema)
        schema = Schema((*schema.columns, Column(ready[0], done[ready[0]].type)))
    return tuple(done.values())


def _typed(name: str, sql: str, schema: Schema) -> Derivation:
    try:
        expression = parsed(sql, f"derive {name!r}", schema.names)
        found = type_of(expression, schema)
        if differs_alone(expression, schema):
            raise SettingsError(_ACROSS_ROWS.format(where=f"derive {name!r}", sql=sql))
        return Derivation(name, sql, found)
    except (PolarsError, DataError) as error:
        raise SettingsError(f"derive {name!r} is {sql!r}, which cannot be computed: {first_line(error)}.") from None


def check_condition(sql: str, schema: Schema) -> None:
    """Make sure that `where` is a condition about one row.

    Raises:
        SettingsError: it is no SQL expression, uses unknown columns, depends on other rows, or is no condition.
    """
    expression = parsed(sql, "where", schema.names)
    try:
        found = type_of(expression, schema)
    except (PolarsError, DataError) as error:
        raise SettingsError(f"where is {sql!r}, which cannot be computed: {first_line(error)}.") from None
    if found != "boolean":
        raise SettingsError(f"where is {sql!r}, which gives {found}, wanted a condition such as {sql} > 0.")
    if differs_alone(expression, schema):
        raise SettingsError(_ACROSS_ROWS.format(where="where", sql=sql))


def raw_columns(name: str, among: Sequence[Derivation]) -> set[str]:
    """The raw columns that `name` is made of, through all derived ones; itself when it is raw."""
    by_name = {item.name: item for item in among}
    if name not in by_name:
        return {name}
    used = pl.sql_expr(by_name[name].sql).meta.root_names()
    return set().union(*(raw_columns(item, among) for item in used))


def derived(table: pl.DataFrame, among: Sequence[Derivation]) -> pl.DataFrame:
    """The table with the derived columns added.

    Raises:
        DataError: an expression fails for a value, for example a strict CAST.
    """
    for item in among:
        try:
            table = table.with_columns(item.expression())
        except PolarsError as error:
            raise DataError(
                f"derive {item.name!r} ({item.sql}) cannot be computed: {first_line(error)}. "
                "Guard it, for example with TRY_CAST."
            ) from None
    return table


def infinities(table: pl.DataFrame, among: Sequence[Derivation]) -> pl.Series:
    """Per row why a derived number cannot be used, null where all are finite: shape (rows,)."""
    reasons = [
        pl.when(pl.col(item.name).is_infinite()).then(
            pl.lit(f"derived column {item.name!r} ({item.sql}) is infinite, wanted a finite number")
        )
        for item in among
        if item.type == "number"
    ]
    if not reasons:
        return pl.Series("reason", [None] * table.height, dtype=pl.String)
    return table.select(pl.coalesce(reasons).alias("reason")).to_series()


def first_line(error: Exception) -> str:
    """The first line of an error's text, without the full stop that the sentence around it ends with."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
