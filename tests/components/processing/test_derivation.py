from __future__ import annotations

import polars as pl
import pytest

from components.processing.derivation import derivations, derived, infinities, parsed, raw_columns
from shared.errors import DataError, SettingsError
from shared.schema import Column, Schema

RAW = Schema(
    (Column("a", "integer"), Column("b", "number"), Column("t", "text"), Column("d", "date"), Column("m", "datetime"))
)


def made(**derive: str) -> list[tuple[str, str]]:
    return [(item.name, item.type) for item in derivations(derive, RAW)]


def test_the_type_of_a_derived_column_follows_from_its_expression() -> None:
    assert made(
        flag="a > 3",
        ratio="a / b",
        whole="a // 2",
        word="UPPER(t)",
        month="EXTRACT(month FROM d)",
        day="CAST(m AS DATE)",
    ) == [
        ("day", "date"),
        ("flag", "boolean"),
        ("month", "integer"),
        ("ratio", "number"),
        ("whole", "integer"),
        ("word", "text"),
    ]


def test_derived_columns_come_after_those_that_they_use_in_whatever_order_they_are_given() -> None:
    assert made(a2="c3 + 1", b1="a + 1", c3="b1 + 1") == made(c3="b1 + 1", b1="a + 1", a2="c3 + 1")
    assert [name for name, _ in made(a2="c3 + 1", b1="a + 1", c3="b1 + 1")] == ["b1", "c3", "a2"]


def test_raw_columns_are_found_through_derived_ones() -> None:
    among = derivations({"x": "a + b", "y": "x * 2 + LENGTH(t)"}, RAW)

    assert raw_columns("y", among) == {"a", "b", "t"}
    assert raw_columns("d", among) == {"d"}


def test_derived_values_are_those_of_sql() -> None:
    among = derivations(
        {"hour": "a // 100", "late": "CASE WHEN b >= 15 THEN TRUE ELSE FALSE END", "known": "t IS NOT NULL"}, RAW
    )
    table = pl.DataFrame({"a": [515, 2359, None], "b": [15.0, 14.9, None], "t": ["x", None, ""]})

    found = derived(table.with_columns(d=None, m=None), among)

    assert found["hour"].to_list() == [5, 23, None]
    assert found["late"].to_list() == [True, False, False]
    assert found["known"].to_list() == [True, False, True]


def test_zero_by_zero_is_missing_and_one_by_zero_is_infinite() -> None:
    among = derivations({"ratio": "b / a"}, RAW)
    table = derived(pl.DataFrame({"a": [0, 0, 2], "b": [0.0, 1.0, 1.0]}), among)

    reasons = infinities(table, among)

    assert table["ratio"][0] is None
    assert reasons.is_null().to_list() == [True, False, True]
    assert "'ratio' (b / a) is infinite" in str(reasons[1])


@pytest.mark.parametrize(
    "sql",
    [
        "SUM(a)",
        "a - MAX(a)",
        "a - LAG(a) OVER (ORDER BY a)",
        "ROW_NUMBER() OVER ()",
        "COUNT(*) > 1000",
        "FIRST(a)",
        "RANK() OVER (ORDER BY b)",
        "QUANTILE_CONT(b, 0.5)",
        "CORR(a, b)",
    ],
)
def test_an_expression_that_looks_at_other_rows_is_refused(sql: str) -> None:
    with pytest.raises(SettingsError, match="depends on other rows"):
        derivations({"x": sql}, RAW)


@pytest.mark.parametrize(
    "sql",
    [
        "a IN (1, 2)",
        "b BETWEEN 1 AND 2",
        "GREATEST(a, b)",
        "COALESCE(t, 'none')",
        "t LIKE 'x%'",
        "TRY_CAST(t AS INT)",
        "d > DATE '2013-02-01'",
        "CAST(t AS DATE)",
        "1",
    ],
)
def test_an_expression_of_one_row_is_taken(sql: str) -> None:
    assert derivations({"x": sql}, RAW)


@pytest.mark.parametrize(
    ("derive", "sentence"),
    [
        ({"x": "a >="}, "derive 'x' is 'a >=', which is no SQL expression"),
        ({"x": "SELECT a FROM t"}, "no SQL expression"),
        ({"x": "speed / 2"}, "derive 'x' uses 'speed', but the columns are 'a', 'b'"),
        ({"a": "b + 1"}, "derive names 'a', which the data has already"),
        ({"x": "y + 1", "y": "x + 1"}, "derive 'x', 'y' use one another in a circle"),
        ({"x": "d - d"}, "derive 'x' is 'd - d', which cannot be computed: columns of type Duration"),
        ({"x": "t + 1.5 > d"}, "which cannot be computed"),
    ],
)
def test_an_expression_that_cannot_be_used_is_named(derive: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        derivations(derive, RAW)

    assert sentence in str(error.value)


def test_a_misspelt_column_gets_a_hint() -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'distance'\?"):
        parsed("distanze > 3", "where", ["distance", "seats"])


def test_a_value_that_an_expression_fails_on_is_told_with_a_way_out() -> None:
    among = derivations({"x": "CAST(t AS INTEGER)"}, RAW)

    with pytest.raises(DataError, match=r"derive 'x' .* cannot be computed: .*TRY_CAST"):
        derived(pl.DataFrame({"t": ["seven"]}), among)
