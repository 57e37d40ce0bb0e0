from __future__ import annotations

import json
from datetime import date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.processing.derivation import Derivation
from components.processing.state import Category, Feature, Number, State, Target, applied, transformed
from shared.errors import ArtefactError
from shared.tables import Csv


def state_of(*features: Feature, **fields: object) -> State:
    values: dict[str, object] = {
        "ids": (),
        "target": Target("y", "integer"),
        "derivations": (),
        "csv": Csv(),
        "rows": 1,
        **fields,
    }
    return State(features=features, **values)  # type: ignore[arg-type]


def made(table: pl.DataFrame, *features: Feature) -> dict[str, list[object]]:
    return transformed(table, state_of(*features)).to_dict(as_series=False)


def category(encode: str, **fields: object) -> Category:
    values: dict[str, object] = {
        "levels": ("UA", "US"),
        "shares": (0.5, 0.3),
        "rare": ("ZZ",),
        "other": 0.15,
        "missing": 0.05,
    }
    return Category("c", encode, **{**values, **fields})  # type: ignore[arg-type]


CELLS = pl.DataFrame({"c": ["US", "UA", "ZZ", "new", None]})


def test_a_number_is_filled_and_then_scaled() -> None:
    table = pl.DataFrame({"x": [1, 4, None]})

    assert made(table, Number("x", None, 2.0, 1.0, 2.0)) == {"x": [0.0, 1.5, 0.5]}


def test_without_a_fill_missing_stays_missing() -> None:
    assert made(pl.DataFrame({"x": [1.0, None]}), Number("x", None, None, 1.0, 2.0)) == {"x": [0.0, None]}


def test_a_boolean_is_one_or_zero() -> None:
    assert made(pl.DataFrame({"x": [True, False]}), Number("x")) == {"x": [1.0, 0.0]}


def test_a_moment_becomes_its_parts() -> None:
    """31 December 2012 was a Monday."""
    table = pl.DataFrame({"m": [datetime(2012, 12, 31, 17, 5)], "d": [date(2012, 12, 31)]})
    parts = [Number("m", part) for part in ("year", "month", "day", "weekday", "hour")]

    assert made(table, *parts, Number("d", "weekday")) == {
        "m_year": [2012.0],
        "m_month": [12.0],
        "m_day": [31.0],
        "m_weekday": [1.0],
        "m_hour": [17.0],
        "d_weekday": [1.0],
    }


def test_ordinal_codes_are_0_for_missing_1_for_other_and_from_2_the_levels() -> None:
    assert made(CELLS, category("ordinal")) == {"c": [3, 2, 1, 1, 0]}


def test_frequencies_are_shares_of_the_training_rows() -> None:
    assert made(CELLS, category("frequency")) == {"c": [0.3, 0.5, 0.15, 0.15, 0.05]}


def test_one_hot_columns_say_level_other_and_missing() -> None:
    assert made(CELLS, category("onehot")) == {
        "c=UA": [0, 1, 0, 0, 0],
        "c=US": [1, 0, 0, 0, 0],
        "c=(other)": [0, 0, 1, 1, 0],
        "c=(missing)": [0, 0, 0, 0, 1],
    }


def test_what_training_did_not_have_gets_no_one_hot_column() -> None:
    found = made(CELLS, category("onehot", rare=(), other=0.0, missing=0.0))

    assert found == {"c=UA": [0, 1, 0, 0, 0], "c=US": [1, 0, 0, 0, 0]}


def test_signs_that_xgboost_refuses_in_names_are_encoded() -> None:
    assert [item.name for item in category("onehot", levels=("[1,2]", "<5"), other=0, missing=0).outputs] == [
        "c=%5B1,2%5D",
        "c=%3C5",
    ]


def test_rare_levels_were_seen_and_new_ones_were_not() -> None:
    assert CELLS.select(category("ordinal").unseen())["c"].to_list() == [False, False, False, True, False]


def test_classes_of_text_become_their_index() -> None:
    target = Target("y", "text", ("no", "yes"))
    table = pl.DataFrame({"x": [1.0, 2.0], "y": ["yes", "no"]})

    found = transformed(table, state_of(Number("x"), target=target), with_target=True)

    assert found["y"].to_list() == [1, 0]


def test_derived_columns_are_made_before_features() -> None:
    state = state_of(Number("hour"), derivations=(Derivation("hour", "t // 100", "integer"),))

    assert applied(pl.DataFrame({"t": [2359]}), state).to_dict(as_series=False) == {"hour": [23.0]}


def test_ids_are_text_and_left_out_where_a_table_lacks_them() -> None:
    state = state_of(Number("x"), ids=("k",))

    assert transformed(pl.DataFrame({"k": [7], "x": [1.0]}), state).rows() == [("7", 1.0)]
    assert transformed(pl.DataFrame({"x": [1.0]}), state).columns == ["x"]


names = st.text("abc é=,", min_size=1, max_size=5)
finite = st.floats(allow_nan=False, allow_infinity=False)
number_features = st.builds(
    Number, names, st.none() | st.sampled_from(["year", "hour"]), st.none() | finite, finite, finite.filter(bool)
)
category_features = st.builds(
    Category,
    names,
    st.sampled_from(["ordinal", "onehot", "frequency"]),
    st.lists(names, max_size=3).map(tuple),
    st.lists(st.floats(0, 1), max_size=3).map(tuple),
    st.lists(names, max_size=3).map(tuple),
    st.floats(0, 1),
    st.floats(0, 1),
)


@given(
    st.lists(number_features | category_features, max_size=4).map(tuple),
    st.lists(names, max_size=2).map(tuple),
    st.sampled_from([Target("y", "boolean"), Target("y", "text", ("a", "b"))]),
)
def test_a_state_survives_json_unchanged(features: tuple[Feature, ...], ids: tuple[str, ...], target: Target) -> None:
    among = (Derivation("h", "t // 100", "integer"),)
    state = State(ids, target, among, features, Csv(False, ";", ("?",)), 17)

    assert State.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False))) == state


@pytest.mark.parametrize(
    "change",
    [{"features": [{"kind": "spline"}]}, {"features": 3}, {"target": {}}, {"rows": None}, {"csv": {"quote": "'"}}],
)
def test_a_state_of_another_form_is_refused(change: dict[str, object]) -> None:
    value = {**state_of(Number("x")).to_json(), **change}

    with pytest.raises(ArtefactError, match=r"state\.json cannot be read"):
        State.from_json(value)


def test_a_state_of_another_format_is_refused() -> None:
    with pytest.raises(ArtefactError, match="has format 0, wanted 1"):
        State.from_json({**state_of(Number("x")).to_json(), "format": 0})


@given(st.lists(st.none() | st.sampled_from(["UA", "US", "ZZ", "new", ""]), max_size=30), st.integers(1, 5))
def test_a_row_is_transformed_alike_in_any_company(cells: list[str | None], size: int) -> None:
    state = state_of(category("ordinal"), Number("x", None, 3.0, 1.0, 7.0))
    table = pl.DataFrame(
        {"c": cells, "x": [None if cell is None else float(len(cell)) for cell in cells]},
        schema={"c": pl.String, "x": pl.Float64},
    )

    whole = transformed(table, state)
    batches = [transformed(table[start : start + size], state) for start in range(0, table.height, size)]

    assert whole.height == table.height
    assert not batches or pl.concat(batches).equals(whole)
