"""EventBridge's schedule expressions, which the manifest uses, in Airflow's terms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipelines.airflow.literals import Code
from shared.errors import SettingsError

UNITS: Final = {"minute": "minutes", "hour": "hours", "day": "days"}
HIGHEST: Final = (59, 23, 31, 12, 6)
"""Of minute, hour, day of the month, month, and day of the week (0 is Sunday)."""
DAY_OF_MONTH, DAY_OF_WEEK = 2, 4
START: Final = Code("pendulum.datetime(2025, 1, 1, tz=TIMEZONE)")
"""Before anything is due. Fixed, because rendering reads no clock; nothing is caught up, so it matters little."""


@dataclass(frozen=True)
class Schedule:
    """When a DAG starts by itself: its `schedule` and its `start_date`."""

    schedule: Any = None
    start: Code = START


def schedule_of(expression: str | None, key: str) -> Schedule:
    """A schedule as Airflow takes it: text for cron, a timedelta for a rate, `@once` for a moment.

    Raises:
        SettingsError: the expression is no EventBridge expression, or says what Airflow cannot: a year, or the weekday
            nearest to a day.
    """
    if expression is None:
        return Schedule()
    kind, _, rest = expression.partition("(")
    words = rest.removesuffix(")").split()
    try:
        if kind == "cron":
            return Schedule(cron(words))
        if kind == "rate":
            return Schedule(rate(words))
        return moment(words)
    except ValueError as error:
        raise SettingsError(f"{key} is {expression!r}, wanted {error}.") from None


def checked_timezone(name: str) -> str:
    """A time zone's name.

    Raises:
        SettingsError: there is no such zone.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"schedule.timezone is {name!r}, wanted a name such as UTC or Europe/Berlin.") from None
    return name


def rate(words: list[str]) -> Code:
    """`5 minutes` as a timedelta."""
    unit = UNITS.get(words[1].removesuffix("s")) if len(words) == 2 else None
    if unit is None or not words[0].isdigit() or int(words[0]) < 1:
        raise ValueError("rate(<number> minutes|hours|days)")
    return Code(f"timedelta({unit}={int(words[0])})")


def moment(words: list[str]) -> Schedule:
    """One moment, in the schedule's time zone."""
    try:
        (at,) = (datetime.fromisoformat(word) for word in words)
    except ValueError:
        at = None
    if at is None or at.tzinfo is not None:
        raise ValueError("at(<year>-<month>-<day>T<hour>:<minute>:<second>), in schedule.timezone")
    numbers = f"{at.year}, {at.month}, {at.day}, {at.hour}, {at.minute}, {at.second}"
    return Schedule("@once", Code(f"pendulum.datetime({numbers}, tz=TIMEZONE)"))


def cron(words: list[str]) -> str:
    """EventBridge's six fields as cron's five."""
    if len(words) != 6:
        raise ValueError("cron(<minute> <hour> <day of month> <month> <day of week> <year>)")
    if words[5] != "*":
        raise ValueError("* as the year, because Airflow's cron has no years")
    if (words[DAY_OF_MONTH] == "?") == (words[DAY_OF_WEEK] == "?"):
        raise ValueError("? as either day of month or day of week, and not as both")
    return " ".join(_field(word, position) for position, word in enumerate(words[:5]))


def _field(word: str, position: int) -> str:
    if word == "?":
        return "*"
    return ",".join(_part(part, position) for part in word.upper().split(","))


def _part(part: str, position: int) -> str:
    """One part of a field: `*`, `5`, `1-5`, `0/15`, `MON-FRI`, and for days `L`, `6L`, `6#3`."""
    if "W" in part and position == DAY_OF_MONTH:
        raise ValueError("no W, because Airflow's cron does not know the nearest weekday")
    if part == "L" and position == DAY_OF_MONTH:
        return "L"
    if position == DAY_OF_WEEK:
        if part == "L":
            return "6"
        if match := re.fullmatch(r"(\w+)L", part):
            return f"L{_number(match[1], position)}"
        if match := re.fullmatch(r"(\w+)#([1-5])", part):
            return f"{_number(match[1], position)}#{match[2]}"
    match = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", part)
    if match is None:
        raise ValueError(f"fields that cron knows, and {part!r} is none")
    first, last, step = match.groups()
    start = "*" if first == "*" else _number(first, position)
    if last is not None:
        start += f"-{_number(last, position)}"
    elif step is not None and first != "*":
        start += f"-{HIGHEST[position]}"
    return f"{start}/{step}" if step else start


def _number(word: str, position: int) -> str:
    """A value; days of the week count from 1 in EventBridge and from 0 in cron, and names are the same in both."""
    if position != DAY_OF_WEEK or not word.isdigit():
        if not (word.isdigit() or (position >= 3 and re.fullmatch("[A-Z]{3}", word))):
            raise ValueError(f"fields that cron knows, and {word!r} is none")
        return word
    if not 1 <= int(word) <= 7:
        raise ValueError(f"days of the week from 1 (Sunday) to 7, and {word} is none")
    return str(int(word) - 1)
