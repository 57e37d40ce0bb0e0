"""Periods of the calendar, by vectors that JSONata and Airflow's DAG files are held to as well."""

from __future__ import annotations

import itertools
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from pipelines.periods import KINDS, kind_of, period_at, period_of, position, window

VECTORS: Final = json.loads(Path(__file__).with_name("periods.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS["windows"], ids=lambda vector: vector["fact"])
def test_a_window_of_the_calendar(vector: dict[str, Any]) -> None:
    assert list(window(vector["listed"], vector["count"], vector["last"])) == vector["window"]


@pytest.mark.parametrize("vector", VECTORS["days"], ids=lambda vector: vector["day"])
def test_a_day_lies_in_a_period(vector: dict[str, Any]) -> None:
    assert period_at(vector["kind"], date.fromisoformat(vector["day"])) == vector["period"]


def test_periods_that_are_names_end_with_the_list_and_keep_its_order() -> None:
    listed = ("spring", "2013", "autumn")

    assert window(listed, 2, "autumn") == ("2013", "autumn")
    assert window(listed, 9, "2013") == ("spring", "2013")
    assert window(listed, 2, "2014") == ()


@pytest.mark.parametrize(
    ("periods", "kind"),
    [
        ((), None),
        (("2013",), "year"),
        (("2013", "2013-01"), None),
        (("2013-1",), None),
        (("0999",), None),
        (("2013-W01", "2013-W52"), "week"),
        (("2013-W53",), None),
        (("2013-02-28", "2013-02-29"), None),
    ],
)
def test_periods_are_of_a_kind_when_all_of_them_are(periods: tuple[str, ...], kind: str | None) -> None:
    assert kind_of(periods) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_periods_of_successive_days_are_the_same_or_neighbours(kind: str) -> None:
    days = [date(1999, 12, 1) + timedelta(days=number) for number in range(9000)]
    places = [position(kind, period_at(kind, day)) for day in days]

    steps = {after - before for before, after in itertools.pairwise(places)}  # type: ignore[operator]
    assert steps <= {0, 1}
    assert [period_of(kind, place) for place in places if place] == [period_at(kind, day) for day in days]
