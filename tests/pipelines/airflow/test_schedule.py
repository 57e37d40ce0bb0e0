"""EventBridge's schedules in Airflow's terms. The pairs are from EventBridge's and cron's manuals."""

from __future__ import annotations

import pytest

from pipelines.airflow.literals import Code
from pipelines.airflow.schedule import START, Schedule, checked_timezone, schedule_of
from shared.errors import SettingsError


@pytest.mark.parametrize(
    ("expression", "cron"),
    [
        ("cron(0 10 * * ? *)", "0 10 * * *"),
        ("cron(15 12 * * ? *)", "15 12 * * *"),
        ("cron(0 18 ? * MON-FRI *)", "0 18 * * MON-FRI"),
        ("cron(0 8 1 * ? *)", "0 8 1 * *"),
        ("cron(0/15 * * * ? *)", "0-59/15 * * * *"),
        ("cron(0/10 * ? * MON-FRI *)", "0-59/10 * * * MON-FRI"),
        ("cron(0/5 8-17 ? * 2-6 *)", "0-59/5 8-17 * * 1-5"),
        ("cron(0 9 ? * 2#1 *)", "0 9 * * 1#1"),
        ("cron(0 9 ? * 6L *)", "0 9 * * L5"),
        ("cron(0 0 L * ? *)", "0 0 L * *"),
        ("cron(0 0 1,15 jan-mar ? *)", "0 0 1,15 JAN-MAR *"),
        ("cron(0 0 ? * L *)", "0 0 * * 6"),
    ],
)
def test_a_cron_expression_loses_its_year_and_counts_days_from_sunday_as_zero(expression: str, cron: str) -> None:
    assert schedule_of(expression, "schedule.training") == Schedule(cron, START)


@pytest.mark.parametrize(
    ("expression", "delta"),
    [
        ("rate(1 hour)", "timedelta(hours=1)"),
        ("rate(5 minutes)", "timedelta(minutes=5)"),
        ("rate(7 days)", "timedelta(days=7)"),
    ],
)
def test_a_rate_is_a_timedelta(expression: str, delta: str) -> None:
    assert schedule_of(expression, "schedule.training") == Schedule(Code(delta), START)


def test_a_moment_comes_once() -> None:
    start = Code("pendulum.datetime(2026, 12, 1, 4, 30, 0, tz=TIMEZONE)")

    assert schedule_of("at(2026-12-01T04:30:00)", "schedule.training") == Schedule("@once", start)


def test_without_an_expression_nothing_starts_by_itself() -> None:
    assert schedule_of(None, "schedule.training").schedule is None


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("cron(0 10 * * ? 2027)", "as the year, because Airflow's cron has no years"),
        ("cron(0 10 * * * *)", "? as either day of month or day of week"),
        ("cron(0 10 ? * ? *)", "? as either day of month or day of week"),
        ("cron(0 10 * * ?)", "cron(<minute> <hour> <day of month> <month> <day of week> <year>)"),
        ("cron(0 10 15W * ? *)", "nearest weekday"),
        ("cron(0 10 ? * 8 *)", "days of the week from 1 (Sunday) to 7"),
        ("cron(a 10 * * ? *)", "'A' is none"),
        ("rate(0 hours)", "rate(<number> minutes|hours|days)"),
        ("rate(1 month)", "rate(<number> minutes|hours|days)"),
        ("at(tomorrow)", "at(<year>-<month>-<day>T"),
    ],
)
def test_what_airflow_cannot_do_is_refused_in_one_sentence(expression: str, wanted: str) -> None:
    with pytest.raises(SettingsError) as error:
        schedule_of(expression, "schedule.inference")

    assert str(error.value).startswith(f"schedule.inference is {expression!r}, wanted ")
    assert wanted in str(error.value)


def test_a_time_zone_has_to_exist() -> None:
    assert checked_timezone("Europe/Berlin") == "Europe/Berlin"
    with pytest.raises(SettingsError, match=r"schedule\.timezone is 'Mars/Olympus'"):
        checked_timezone("Mars/Olympus")
