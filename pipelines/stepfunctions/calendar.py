"""`pipelines.periods` in JSONata: what the machines have to know of the calendar while they run.

Every piece is the body of an expression. Numbers with a nought in front are read behind a 1, because JSONata takes
`08` for no number, and a day is counted from the first of its month, because not every JSONata refuses 2013-02-30. A
bare `$`, which would mean the item at hand, has no place in a state machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipelines.periods import PATTERNS
from pipelines.stepfunctions.language import quoted

DAY: Final = 86_400_000
"""Milliseconds."""
MIDNIGHT: Final = "T00:00:00.000Z"
YEAR: Final = "$number($substring($p, 0, 4))"
"""The year of the period `$p`."""


def _days(day: str) -> str:
    """Days since 1970 of a date in ISO's form."""
    return f"$toMillis({day} & '{MIDNIGHT}') / {DAY}"


def _digits(start: int) -> str:
    """The number that two digits of the period `$p` make."""
    return f"($number('1' & $substring($p, {start}, 2)) - 100)"


def _pair(number: str) -> str:
    """A number with two digits."""
    return f"$formatNumber({number}, '00')"


JANUARY_4: Final = _days("$substring($p, 0, 4) & '-01-04'")
FIRST: Final = _days("$substring($p, 0, 8) & '01'")
TODAY: Final = _days("$substring($Time, 0, 10)")
NEW_YEAR: Final = _days("$year & '-01-01'")

POSITION: Final = {
    "year": YEAR,
    "quarter": f"{YEAR} * 4 + $number($substring($p, 6)) - 1",
    "month": f"{YEAR} * 12 + {_digits(5)} - 1",
    # The fourth of January is always in a year's first week. 1970 began with a Thursday.
    "week": f"$floor(({JANUARY_4} + 3) / 7) + {_digits(6)} - 1",
    "day": f"{FIRST} + {_digits(8)} - 1",
}
"""Where the period `$p` stands in its calendar."""
NAME: Final = {
    "year": "$string($n)",
    "quarter": "$floor($n / 4) & '-Q' & ($n % 4 + 1)",
    "month": f"$floor($n / 12) & '-' & {_pair('$n % 12 + 1')}",
    "week": (
        f"($year := $substring($fromMillis($n * {7 * DAY}), 0, 4); $year & '-W' & "
        + _pair(f"$floor(($n * 7 - {NEW_YEAR}) / 7) + 1")
        + ")"
    ),
    "day": f"$substring($fromMillis($n * {DAY}), 0, 10)",
}
"""The period that stands at `$n`."""
AT: Final = {
    "year": "$substring($Time, 0, 4)",
    "quarter": "$substring($Time, 0, 4) & '-Q' & $floor(($number('1' & $substring($Time, 5, 2)) - 98) / 3)",
    "month": "$substring($Time, 0, 7)",
    "week": f"($n := $floor(({TODAY} + 3) / 7); {NAME['week']})",
    "day": "$substring($Time, 0, 10)",
}
"""The period that `$Time` lies in."""


def later_window(kind: str, listed: Sequence[str], count: int, last: str) -> str:
    """`pipelines.periods.later_window`; `last` is an expression's body."""
    steps = (
        f"$last := {last}",
        f"$position := function($p) {{ {POSITION[kind]} }}",
        f"$name := function($n) {{ {NAME[kind]} }}",
        # What is none, or only begins like one, is told by the name that stands at its place: it is another.
        f"$end := $contains($last, /^{PATTERNS[kind]}/) ? $position($last) : 0",
        f"$known := $map({quoted(sorted(listed))}, function($p) {{ $position($p) }})",
        f"$next := $max([$max($known) + 1, $end - {count - 1}])",
        "$listed := $filter($known, function($n) { $n <= $end })",
        "$places := $append($append($listed, $next > $end ? [] : [$next..$end]), $end)",
        "$places := $sort($distinct($places))",
        f"$first := $places[$max([0, $count($places) - {count}])]",
    )
    found = "[$map($filter($places, function($n) { $n >= $first }), function($n) { $name($n) })]"
    return f"({'; '.join(steps)}; $name($end) != $last or $end < $min($known) ? [] : {found})"
