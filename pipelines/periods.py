"""Periods of the calendar: which one comes next, and which make the window that a retraining learns from.

A manifest lists the periods that there are when it is written. Where all of them are years, quarters, months, ISO weeks
or days, later ones go on as the calendar does, so that the drift loop needs no new manifest every month. Everything
else (`p1`, `spring`) is a name: what is not listed is not known.

Airflow's DAG files carry a copy of the section below, and `pipelines.stepfunctions.calendar` says the same in JSONata:
`tests/pipelines/periods.json` holds what all three have to answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

from shared.errors import SettingsError

KINDS: Final = ("year", "quarter", "month", "week", "day")


def kind_of(periods: Sequence[str]) -> str | None:
    """The kind of calendar periods that all of them are; None where they are names, or of several kinds."""
    return next((kind for kind in KINDS if periods and all(position(kind, one) is not None for one in periods)), None)


# --- Calendar

PATTERNS = {
    "year": r"[1-9]\d{3}",
    "quarter": r"[1-9]\d{3}-Q[1-4]",
    "month": r"[1-9]\d{3}-(0[1-9]|1[0-2])",
    "week": r"[1-9]\d{3}-W(0[1-9]|[1-4]\d|5[0-3])",
    "day": r"[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])",
}
A_YEAR = {"quarter": 4, "month": 12}


def position(kind: str, period: str) -> int | None:
    """Where a period stands in its calendar, so that neighbours differ by 1; None where it is none of this kind."""
    if not re.fullmatch(PATTERNS[kind], period):
        return None
    year, rest = int(period[:4]), period[5:].lstrip("QW")
    if kind == "year":
        return year
    if kind in A_YEAR:
        return year * A_YEAR[kind] + int(rest) - 1
    try:
        # A week is the year's in which its Thursday lies (ISO 8601).
        return date.fromisocalendar(year, int(rest), 4).toordinal() // 7 if kind == "week" else _day(period)
    except ValueError:  # 2013-02-30, or week 53 of a year that has 52
        return None


def _day(period: str) -> int:
    return date.fromisoformat(period).toordinal()


def period_of(kind: str, place: int) -> str:
    """The period that stands at this place of its calendar."""
    if kind in A_YEAR:
        year, part = divmod(place, A_YEAR[kind])
        return f"{year}-Q{part + 1}" if kind == "quarter" else f"{year}-{part + 1:02}"
    if kind == "week":
        year, week, _ = date.fromordinal(place * 7 + 4).isocalendar()
        return f"{year}-W{week:02}"
    return str(place) if kind == "year" else date.fromordinal(place).isoformat()


def period_at(kind: str, day: date) -> str:
    """The period that a day lies in."""
    months = day.year * 12 + day.month - 1
    places = {
        "year": day.year,
        "quarter": months // 3,
        "month": months,
        "week": (day.toordinal() - 1) // 7,
        "day": day.toordinal(),
    }
    return period_of(kind, places[kind])


def later_window(kind: str, listed: Sequence[str], count: int, last: str) -> tuple[str, ...]:
    """The latest `count` periods up to `last`: those that are listed, and all that came after them.

    Args:
        kind: what the listed ones are.
        listed: at least one.
        count: how many, at least 1. There are fewer where the list begins later.
        last: the one to end with, listed or not.

    Returns:
        In the calendar's order; nothing where `last` is none of this kind, or earlier than all that are listed.
    """
    known = sorted(place for one in listed if (place := position(kind, one)) is not None)
    end = position(kind, last)
    if end is None or end < known[0]:
        return ()
    after = range(max(known[-1] + 1, end - count + 1), end + 1)
    places = {*(place for place in known if place <= end), *after, end}
    return tuple(period_of(kind, place) for place in sorted(places)[-count:])


# --- Windows of a list


def window(listed: Sequence[str], count: int, last: str) -> tuple[str, ...]:
    """The window of `count` periods that ends with `last`, in the order of the calendar, else of the list.

    Returns:
        Fewer where the list begins later; nothing where no window ends with `last`.
    """
    kind = kind_of(listed)
    if kind is not None:
        return later_window(kind, listed, count, last)
    end = listed.index(last) + 1 if last in listed else 0
    return tuple(listed[max(0, end - count) : end])


def window_of(listed: Sequence[str], count: int, last: str) -> tuple[str, ...]:
    """`window`, where there has to be one.

    Raises:
        SettingsError: no window ends with `last`.
    """
    found = window(listed, count, last)
    if not found:
        raise SettingsError(f"period {last!r}{no_window(listed)}")
    return found


def no_window(listed: Sequence[str]) -> str:
    """What is wrong with a period with which no window ends: the rest of the sentence that begins with it."""
    kind = kind_of(listed)
    if kind is None:
        return " is not among the manifest's periods, so no window ends with it. Add it to data.periods."
    first = min(listed, key=lambda one: position(kind, one) or 0)
    return f" is no {kind} from {first} on, as the manifest's periods are, so no window ends with it. Name one."
