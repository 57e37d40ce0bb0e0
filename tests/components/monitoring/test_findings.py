"""The reports: the verdict first, drifted columns first, and drawings that keep all rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.monitoring.findings import days_text, shown_bounds
from shared.report import Categories, Histograms, Lines, Matrix, Report, Table, read_report
from tests.components.monitoring.places import Place, Places, rows


@pytest.fixture
def report(places: Places, table: pl.DataFrame, model: Path) -> Report:
    production = rows(2000, seed=2, shift=3.0)
    place = places.served(
        places.trained(table, time="day", model=model),
        production.drop("y"),
        scores=production.select("id", score=pl.int_range(pl.len()) / pl.len()),
        labels=production.select("id", "y"),
    )
    return read_report(place.output("report"))


def test_the_verdict_comes_first(report: Report) -> None:
    table = report.sections[0].blocks[1]

    assert report.verdict == "Drift in 1 of 5 columns"
    assert report.state == "bad"
    assert [section.title for section in report.sections] == [
        *("Verdict", "Distributions", "Predictions", "Model quality", "Data quality"),
    ]
    assert isinstance(table, Table)
    assert {row[0]: row[7] for row in table.rows}["amount"] == "drift"


def test_drifted_columns_are_drawn_first_with_all_their_rows(report: Report) -> None:
    drawn = report.sections[1].blocks
    first = drawn[0]

    assert isinstance(first, Histograms)
    assert (first.title, first.badge, first.state) == ("amount", "drift", "bad")
    assert sum(count or 0 for count in first.expected) == 4000
    assert sum(count or 0 for count in first.actual) == 2000
    assert [block.title for block in drawn if isinstance(block, Categories)] == ["size", "city"]


def test_model_quality_is_drawn(report: Report) -> None:
    blocks = report.sections[3].blocks

    assert [block.title for block in blocks if isinstance(block, Lines | Matrix)] == [
        *("ROC", "Precision and recall", "Calibration", "Confusion"),
    ]


def test_training_tells_how_far_each_column_has_to_go(trained: Place) -> None:
    report = read_report(trained.output("report"))
    table = report.sections[1].blocks[0]

    assert report.rows == 4000
    assert isinstance(table, Table)
    assert table.columns == ("column", "1 day", "3 days", "7 days")
    assert {row[1:] for row in table.rows} == {(0.1, 0.1, 0.1)}


@pytest.mark.parametrize(("low", "high", "bins"), [(0, 23, 23), (0, 24, 24), (0, 100, 20), (5, 5, 1)])
def test_bins_of_whole_numbers_hold_equally_many(low: float, high: float, bins: int) -> None:
    bounds = shown_bounds(low, high, whole=True)

    assert len(bounds) == bins + 1
    assert set(np.diff(bounds) % 1) == {0.0}
    assert bounds[-1] >= high


@pytest.mark.parametrize(("days", "text"), [(1, "1 day"), (30, "30 days"), (0.5, "12 hours"), (1 / 24, "1 hour")])
def test_lengths_are_told_in_words(days: float, text: str) -> None:
    assert days_text(days) == text
