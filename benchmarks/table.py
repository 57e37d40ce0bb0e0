"""The arithmetic of a comparison, and the tables that show it. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

FIGURES: Final = 3
"""Significant figures that a measurement has here: the fourth is noise."""


@dataclass(frozen=True)
class Line:
    """One cost of ours beside that of another way to the same result.

    Attributes:
        work: what was done, with its size.
        unit: of both costs; less is better.
        ours: what it costs here, above 0.
        theirs: what it costs there; where `beside` is the bar itself, the most that it may cost.
        beside: who or what `theirs` is.
        bar: the least `ratio` that is good enough; None where none was set.
        quoted: `theirs` was measured by somebody else, on another machine.
    """

    work: str
    unit: str
    ours: float
    theirs: float
    beside: str
    bar: float | None = None
    quoted: bool = False

    @property
    def ratio(self) -> float:
        """How many times our cost theirs is: above 1 when ours is less. NaN when nothing was measured."""
        return self.theirs / self.ours if self.ours > 0 else math.nan

    @property
    def holds(self) -> bool | None:
        """Whether the bar holds; None without a bar."""
        return None if self.bar is None else self.ratio >= self.bar


@dataclass(frozen=True)
class Answer:
    """Whether what was measured did its work: a fast wrong answer is no answer.

    Attributes:
        work: what was compared.
        found: what came out.
        wanted: what should have; empty where it is told for reading only.
        right: whether it did; None where it is told for reading only.
    """

    work: str
    found: str
    wanted: str = ""
    right: bool | None = None


@dataclass(frozen=True)
class Result:
    """What a benchmark found."""

    lines: Sequence[Line] = ()
    answers: Sequence[Answer] = ()
    raw: dict[str, Any] = field(default_factory=dict)
    """Every measurement by side, as it was taken."""


def near(work: str, difference: float, most: float) -> Answer:
    """That two ways to the same numbers differ by no more than `most`; NaN is a difference."""
    return Answer(work, f"{difference:.2g}", f"at most {most:g}", difference <= most)


def significant(value: float) -> str:
    """`1234.5` as 1,230, `0.012345` as 0.0123."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    digits = FIGURES - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def verdict(holds: bool | None) -> str:
    """`yes`, `no`, or nothing where nothing was asked."""
    return {True: "yes", False: "**no**", None: ""}[holds]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """A table in Markdown that can be read as it stands.

    Args:
        header: names of the columns.
        rows: cells.
        left: indices of the columns of text; the others are numbers.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = "|".join(
        "-" * (width + 2) if index in left else "-" * (width + 1) + ":" for index, width in enumerate(widths)
    )
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def costs(lines: Sequence[Line], theirs: str) -> str:
    """The table of costs; `theirs` heads the other's column."""
    rows = [
        (
            line.work,
            line.unit,
            significant(line.ours),
            significant(line.theirs),
            line.beside,
            significant(line.ratio),
            "" if line.bar is None else f"≥ {significant(line.bar)}",
            verdict(line.holds),
        )
        for line in lines
    ]
    return table(("work", "unit", "ours", theirs, "which is", "theirs ÷ ours", "bar", "holds"), rows, (0, 1, 4, 7))


def shown(results: Sequence[Result]) -> str:
    """All tables: what was measured here, what was quoted, and whether the answers were right."""
    lines = [line for result in results for line in result.lines]
    measured, quoted = [line for line in lines if not line.quoted], [line for line in lines if line.quoted]
    answers = [answer for result in results for answer in result.answers]
    parts = [costs(measured, "theirs")] if measured else []
    if quoted:
        parts += ["Beside figures that were measured elsewhere, on another machine:", costs(quoted, "quoted")]
    if answers:
        told = [(answer.work, answer.found, answer.wanted, verdict(answer.right)) for answer in answers]
        parts += ["Answers:", table(("what", "found", "wanted", "right"), told, (0, 1, 2, 3))]
    return "\n\n".join(parts)


def as_json(results: Sequence[Result], machine: dict[str, Any]) -> dict[str, Any]:
    """Everything, with each single measurement."""
    return {
        "machine": machine,
        "lines": [
            {**asdict(line), "ratio": line.ratio if math.isfinite(line.ratio) else None, "holds": line.holds}
            for result in results
            for line in result.lines
        ],
        "answers": [asdict(answer) for result in results for answer in result.answers],
        "raw": {name: measured for result in results for name, measured in result.raw.items()},
    }
