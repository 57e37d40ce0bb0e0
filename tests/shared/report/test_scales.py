"""Numbers as text and axes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.report import scales

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (1234567.0, "1,234,567"),
        (0.70312, "0.703"),
        (0.7, "0.7"),
        (12.345, "12.3"),
        (1234.56, "1235"),
        (0, "0"),
        (-0.0, "0"),
        (-12.0, "\u221212"),
        (0.00001234, "1.23\u00d710\u207b\u2075"),
        (1.2e-11, "1.2\u00d710\u207b\u00b9\u00b9"),
        (2.5e20, "2.5\u00d710\u00b2\u2070"),
        (336_776, "336,776"),
        (2013, "2013"),  # a year
        (1530.0, "1530"),  # half past three
        (-9999, "\u22129999"),
        (10_000, "10,000"),
        (9999.6, "10,000"),
        (None, "\u2013"),
        (math.nan, "\u2013"),
        (math.inf, "\u2013"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert scales.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.1234, "12.3 %"), (1.0, "100.0 %"), (0.34, "34.0 %"), (0.0001, "<0.1 %"), (0.0, "0 %"), (None, "\u2013")],
)
def test_percentage(share: float | None, text: str) -> None:
    assert scales.percentage(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4213, "0.42 s"),
        (12.34, "12.3 s"),
        (125, "2 min 05 s"),
        (3725, "1 h 02 min"),
        (59.999, "60 s"),
        (None, "\u2013"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert scales.duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(9999, "9999"), (12_345, "12.3k"), (4_500_000, "4.5M"), (200_000, "200k")])
def test_compact(value: float, text: str) -> None:
    assert scales.compact(value) == text


def test_cells_of_a_table_say_yes_no_and_text_as_it_is() -> None:
    assert [scales.cell(value) for value in (True, False, "2013-01-01", None, 3)] == [
        "yes",
        "no",
        "2013-01-01",
        "\u2013",
        "3",
    ]


def test_fractions_of_a_column_have_their_points_in_line() -> None:
    assert scales.column((0.7, 0.703, 12.5, None)) == ("0.700", "0.703", "12.500", "\u2013")


def test_a_column_of_very_different_sizes_keeps_each_number_short() -> None:
    assert scales.column((1e-9, 123456.7)) == ("1\u00d710\u207b\u2079", "123,457")


def test_values_to_compare_have_the_decimals_of_the_greatest() -> None:
    assert scales.measured((0.4, -0.13333, 0.0333, None)) == ("0.400", "\u22120.133", "0.033", "\u2013")
    assert scales.measured((1200, 30)) == ("1200", "30")


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0, 1, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0, 0.3, (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)),
        (-5, 81, (0.0, 20.0, 40.0, 60.0, 80.0)),
        (3, 3, (3.0,)),
    ],
)
def test_ticks_are_round(low: float, high: float, marks: tuple[float, ...]) -> None:
    assert scales.ticks(low, high) == marks


def test_labels_of_ticks_have_equally_many_decimals() -> None:
    assert scales.tick_labels((0.0, 0.05, 0.1)) == ("0.00", "0.05", "0.10")
    assert scales.tick_labels((0.0, 10_000.0, 20_000.0)) == ("0", "10k", "20k")


def test_a_scale_maps_its_ends_and_its_middle() -> None:
    scale = scales.Scale(10, 20, 100, 0)

    assert (scale(10), scale(15), scale(20)) == (100, 50, 0)
    assert scales.Scale(3, 3, 0, 10)(3) == 5


@given(finite, finite)
def test_no_range_has_many_ticks_and_none_lies_outside(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)

    marks = scales.ticks(low, high)

    slack = 1e-6 * max(abs(low), abs(high))
    assert len(marks) <= 12
    assert all(low - slack <= mark <= high + slack for mark in marks)
    assert all(math.isfinite(scales.Scale(low, high, 0, 100)(mark)) for mark in marks)


@given(finite, finite)
def test_a_widened_range_holds_the_range(one: float, other: float) -> None:
    low, high = scales.roomy(min(one, other), max(one, other))

    slack = 1e-6 * max(abs(low), abs(high))
    assert low - slack <= min(one, other) <= max(one, other) <= high + slack


@given(st.one_of(st.none(), st.integers(), st.floats()))
def test_every_number_has_a_text(value: float | None) -> None:
    assert scales.number(value)
    assert scales.column((value, 1.0))
