"""What values of the manifest must look like so that AWS takes them, told where the manifest is read.

Each function gives a value back, or raises a ValueError whose text is what was wanted. Sources: the API references of
SageMaker, Systems Manager, SNS, KMS and S3, and the user guide of EventBridge Scheduler.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

ENVIRONMENT: Final = r"^[a-z][a-z0-9]{0,15}$"
"""No hyphens: use case a-b in c and use case a in b-c would share a stack. No capitals: SageMaker's ARNs have none."""
REGION: Final = r"^[a-z]{2}(-[a-z]+)+-\d$"
ARN: Final = r"arn:aws(-[a-z]+)*:%s:[a-z0-9-]+:\d{12}:%s"
TOPIC: Final = re.compile(ARN % ("sns", r"[A-Za-z0-9_-]{1,256}(\.fifo)?"))
KEY: Final = re.compile(ARN % ("kms", r"key/[A-Za-z0-9-]+"))
RESERVED: Final = ("aws", "ssm")
"""Beginnings of names that Parameter Store keeps for itself."""
TAG_KEY: Final = 128
"""Characters of a tag's key."""
TAGS: Final = 47
"""Tags of a job, of which AWS takes 50: three say whose it is (use case, environment, step)."""
CRON: Final = "cron(<minute> <hour> <day of month> <month> <day of week> <year>)"


class CronField(NamedTuple):
    """One field of a cron expression: what it counts, from where to where, what its values are also called.

    `day` is what a field of days takes besides, such as L for the last one; what it catches is a value of the field.
    """

    said: str
    least: int
    most: int
    called: tuple[str, ...] = ()
    day: str = "(?!)"


CRON_FIELDS: Final = (
    CronField("minutes", 0, 59),
    CronField("hours", 0, 23),
    CronField("days of the month", 1, 31, day=r"(\d+)W|L(?:W|-(\d+))?"),
    CronField("months", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")),
    CronField("days of the week", 1, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), r"(\w+)(?:L|#[1-5])|L"),
    CronField("years", 1970, 2199),
)
CRON_PART: Final = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([0-9]{1,4}))?")
"""Every value, one or a range, and how far apart: `*`, `5`, `MON-FRI`, `0/15`."""
RATE: Final = re.compile(r"[1-9][0-9]* (minute|hour|day)s?")
MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
DAY_OF_MONTH, DAY_OF_WEEK = 2, 4
"""The fields of which one has the value that ? stands for."""


def use_case_name(value: str) -> str:
    """A name that can begin the path of a parameter."""
    if value.startswith(RESERVED):
        raise ValueError(f"a name that does not begin with {' or '.join(RESERVED)}, which Parameter Store reserves")
    return value


def stored(value: str) -> str:
    """Storage that can stand in policies and uris; a folder of this machine may be called anything."""
    if value.startswith("s3://") and re.search(r"[\s*?'\"\\$]", value):
        raise ValueError("s3://bucket/prefix without spaces, quotes, backslashes, *, ? and $, which policies read")
    return value


def topic(value: str) -> str:
    """The ARN of an SNS topic."""
    if not TOPIC.fullmatch(value):
        raise ValueError("the ARN of an SNS topic: arn:aws:sns:<region>:<account>:<name>")
    return value


def encryption_key(value: str) -> str:
    """The ARN of a KMS key. An alias will not do: policies name the key itself."""
    if not KEY.fullmatch(value):
        raise ValueError("the ARN of a KMS key: arn:aws:kms:<region>:<account>:key/<id>")
    return value


def tag_key(value: str) -> str:
    """The key of a tag that users may set."""
    if not 1 <= len(value) <= TAG_KEY or value.lower().startswith("aws:"):
        raise ValueError(f"a tag of 1 to {TAG_KEY} characters that does not begin with aws:, which AWS reserves")
    return value


def tags(value: dict[str, str]) -> dict[str, str]:
    """A job's tags, as many as AWS takes beside ours."""
    if len(value) > TAGS:
        raise ValueError(f"at most {TAGS} tags, since AWS takes 50 and three are Quartet's own")
    return value


def time_zone(value: str) -> str:
    """A time zone's name."""
    try:
        if value != "UTC":  # known everywhere, also where no database of zones is installed
            ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("the name of a time zone, such as UTC or Europe/Berlin") from None
    return value


def schedule(value: str) -> str:
    """A schedule expression of EventBridge."""
    kind, bracket, rest = value.partition("(")
    check = {"cron": _cron, "rate": _rate, "at": _moment}.get(kind)
    if check is None or not bracket or not rest.endswith(")"):
        raise ValueError("cron(…), rate(…) or at(…), such as cron(0 4 * * ? *)")
    check(rest.removesuffix(")"))
    return value


def _cron(text: str) -> None:
    fields = text.upper().split()
    if len(fields) != len(CRON_FIELDS) or not text.isascii():
        raise ValueError(f"six fields: {CRON}")
    if (fields[DAY_OF_MONTH] == "?") == (fields[DAY_OF_WEEK] == "?"):
        raise ValueError("? as either day of month or day of week, and not as both, such as cron(0 4 * * ? *)")
    if "#" in fields[DAY_OF_WEEK] and "," in fields[DAY_OF_WEEK]:
        raise ValueError("one day of the week where # counts it")
    fields[fields.index("?", DAY_OF_MONTH)] = "*"
    for field, parts in zip(CRON_FIELDS, fields, strict=True):
        for part in parts.split(","):
            if not _fits(part, field):
                called = f" or {field.called[0]} to {field.called[-1]}" if field.called else ""
                raise ValueError(f"{field.said} from {field.least} to {field.most}{called}, and {part[:40]!r} is none")


def _fits(part: str, field: CronField) -> bool:
    """Whether a field takes one of the parts between its commas; a range may go over the end, as FRI-MON does."""
    found = re.fullmatch(field.day, part)
    step = None
    if found is None:
        found = CRON_PART.fullmatch(part)
        step = found and found[3]
    if found is None or (step is not None and not 1 <= int(step) <= field.most):
        return False
    values = [value for value in found.groups()[:2] if value is not None]
    return all(
        value in field.called or (re.fullmatch("[0-9]{1,4}", value) and field.least <= int(value) <= field.most)
        for value in values
    )


def _rate(text: str) -> None:
    if not RATE.fullmatch(text):
        raise ValueError("rate(<number> minutes|hours|days), such as rate(7 days)")


def _moment(text: str) -> None:
    try:
        found = MOMENT.fullmatch(text) and datetime.fromisoformat(text)
    except ValueError:
        found = None
    if not found:
        raise ValueError("at(<year>-<month>-<day>T<hour>:<minute>:<second>), such as at(2027-01-31T04:00:00)")
