"""Schemas: roles, JSON, and data types."""

from __future__ import annotations

import polars as pl
import pytest

from shared.errors import ArtefactError, DataError
from shared.schema import TYPES, Column, Schema, polars_type, schema_type

SCHEMA = Schema((Column("id", "text"), Column("x", "number"), Column("late", "integer")), ("id",), "late")


def test_features_are_neither_ids_nor_target() -> None:
    assert SCHEMA.features == ("x",)


def test_json_gives_the_same_schema_back() -> None:
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA


def test_without_the_target_nothing_is_to_be_predicted() -> None:
    assert SCHEMA.without_target() == Schema((Column("id", "text"), Column("x", "number")), ("id",))


def test_a_selection_has_the_order_that_was_wanted() -> None:
    assert SCHEMA.select(["x", "id"]).names == ("x", "id")


@pytest.mark.parametrize("value", [None, {}, {"columns": [{}], "ids": [], "target": None}, []])
def test_other_json_is_no_schema(value: object) -> None:
    with pytest.raises(ArtefactError, match="schema cannot be read"):
        Schema.from_json(value)


@pytest.mark.parametrize("name", TYPES)
def test_each_type_is_the_type_of_its_data_type(name: str) -> None:
    assert schema_type(polars_type(name)) == name  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [pl.List(pl.Int64), pl.Struct({"a": pl.Int64}), pl.Binary()])
def test_nested_and_binary_columns_are_refused(dtype: pl.DataType) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        schema_type(dtype)
