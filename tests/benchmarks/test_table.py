"""What a line says: who costs less, by how much, and whether that is enough."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.table import Answer, Line, Result, as_json, near, shown, significant, table


def line(ours: float, theirs: float, bar: float | None = None, *, quoted: bool = False) -> Line:
    return Line("some work", "CPU-s", ours, theirs, "a peer", bar, quoted)


def cells(text: str, start: str) -> list[str]:
    (row,) = [row for row in text.splitlines() if row.startswith(f"| {start}")]
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.parametrize(
    ("ours", "theirs", "bar", "ratio", "holds"),
    [
        (2.0, 12.0, 5.6, 6.0, True),
        (2.0, 11.2, 5.6, 5.6, True),
        (2.0, 11.0, 5.6, 5.5, False),
        (1.1, 1.0, 1 / 1.1, 1 / 1.1, True),
        (4.0, 2.0, None, 0.5, None),
    ],
)
def test_a_ratio_is_their_cost_in_ours_and_the_bar_is_its_least(
    ours: float, theirs: float, bar: float | None, ratio: float, holds: bool | None
) -> None:
    made = line(ours, theirs, bar)

    assert made.ratio == pytest.approx(ratio)
    assert made.holds is holds


def test_what_cost_nothing_was_not_measured_and_holds_no_bar() -> None:
    made = line(0.0, 1.0, 1.0)

    assert math.isnan(made.ratio)
    assert made.holds is False
    assert cells(shown([Result([made])]), "some")[5] == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,230"),
        (99.96, "100.0"),
        (12.345, "12.3"),
        (1.0, "1.00"),
        (0.0123456, "0.0123"),
        (0.0, "0"),
        (-2.5, "-2.50"),
        (2_345_678, "2,350,000"),
        (math.inf, "–"),
    ],
)
def test_a_figure_has_three_digits_that_mean_something(value: float, text: str) -> None:
    assert significant(value) == text


def test_quoted_figures_stand_apart_from_measured_ones() -> None:
    text = shown([Result([line(1, 3, 2.0), line(1, 4, 5.0, quoted=True)])])
    measured, quoted = text.split("measured elsewhere")

    assert cells(measured, "some")[2:] == ["1.00", "3.00", "a peer", "3.00", "≥ 2.00", "yes"]
    assert cells(quoted, "some")[2:] == ["1.00", "4.00", "a peer", "4.00", "≥ 5.00", "**no**"]


def test_every_row_of_a_table_is_as_wide_as_its_header() -> None:
    text = table(("what", "n"), [("a long one", "1"), ("é", "1,000")], (0,))

    assert len({len(row) for row in text.splitlines()}) == 1
    assert text.splitlines()[1] == "|------------|------:|"


@pytest.mark.parametrize(("difference", "right"), [(1e-7, True), (1e-6, True), (2e-6, False), (math.nan, False)])
def test_numbers_that_are_no_numbers_are_not_near(difference: float, right: bool) -> None:
    assert near("scores", difference, 1e-6).right is right


def test_a_wrong_answer_is_told() -> None:
    text = shown([Result([], [near("scores", 0.5, 1e-6), Answer("columns found by a peer", "3")])])

    assert cells(text, "scores") == ["scores", "0.5", "at most 1e-06", "**no**"]
    assert cells(text, "columns")[2:] == ["", ""]


def test_json_holds_the_ratio_the_verdict_and_each_measurement() -> None:
    made = as_json([Result([line(2, 12, 5.6), line(0, 1)], [], {"drift": {"ours": [1, 2]}})], {"commit": "abc"})

    assert [(each["ratio"], each["holds"]) for each in made["lines"]] == [(6.0, True), (None, None)]
    assert made["raw"] == {"drift": {"ours": [1, 2]}}
    assert json.loads(json.dumps(made, allow_nan=False)) == made
