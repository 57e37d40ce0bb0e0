"""How much the training data differ from themselves: the yardstick for how much production may differ from them.

Rows that lie near in time share a day's weather or a week's fares, so even without any change two stretches of data
differ by more than independent rows would. The training data are cut into blocks, each block is compared with all
others, and production has to lie further away than the furthest block did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from components.monitoring.distributions import Counts

DAY_S: Final = 86_400
UNITS: Final = {"min": 60, "h": 3600, "d": DAY_S, "w": 7 * DAY_S}
LENGTHS: Final = (1, 3, 7, 14, 30, 91, 365)
"""Lengths in days that `auto` looks at: serve takes the one of the period that it checks."""
LEAST_BLOCKS: Final = 8
"""Of fewer blocks the furthest says too little about how far a further one may lie."""
MOST_BLOCKS: Final = 4096
STRETCHES: Final = 20
"""Blocks of data without a time column."""

By = Literal["auto", "time", "rows", "file", "none"]


@dataclass(frozen=True)
class Blocking:
    """How training data are cut: by what, and the length of a block in seconds or rows (0: to be found)."""

    by: By
    length: int = 0

    @classmethod
    def parsed(cls, value: str | int) -> Self:
        """The setting `block`.

        Raises:
            ValueError: it is none of the forms.
        """
        if isinstance(value, int) or value.isdigit():
            if int(value) < 1:
                raise ValueError(f"block is {value!r}, wanted at least 1 row")
            return cls("rows", int(value))
        if value in ("auto", "file", "none"):
            return cls(value)  # type: ignore[arg-type]  # the literals just named
        match = re.fullmatch(r"(\d+)(min|h|d|w)", value)
        if match is None or not int(match[1]):
            raise ValueError(
                f"block is {value!r}, wanted auto, none, file, a number of rows, or a time such as '3d' or '12h'"
            )
        return cls("time", int(match[1]) * UNITS[match[2]])

    def settled(self, rows: int, files: int, span_s: float | None) -> Self:
        """The same with nothing left to be found.

        Args:
            rows: rows of the training data.
            files: files that they lie in.
            span_s: seconds from the first to the last time; None without a time column.
        """
        if self.by != "auto":
            return self
        if span_s is not None and span_s >= (LEAST_BLOCKS - 1) * DAY_S:
            return type(self)("time", DAY_S)
        if files >= LEAST_BLOCKS:
            return type(self)("file")
        return type(self)("rows", max(1, -(-rows // STRETCHES)))


def whole_blocks(keys: NDArray[np.int64], counts: Counts, length: int) -> Counts:
    """Counts of longer blocks from those of short ones.

    Args:
        keys: numbers of the short blocks, from 0, shape (n_blocks,).
        counts: shape (n_blocks, n_cells).
        length: how many short blocks make a long one.

    Returns:
        Shape (n_long, n_cells), in order. A last block that is less than half as long as the others joins the one
        before it: judged alone, its shortness would pass for variability.
    """
    numbers = keys // length
    whole = int((keys.max() + 1) // length)
    if (keys.max() + 1) % length < length / 2 and whole:
        numbers = np.minimum(numbers, whole - 1)
    _, places = np.unique(numbers, return_inverse=True)
    summed = np.zeros((int(places.max()) + 1, counts.shape[1]), dtype=np.int64)
    np.add.at(summed, places, counts)
    return summed


def period_days(first_s: float, last_s: float) -> int:
    """Days that a period touches, at least 1; both ends in seconds since any midnight."""
    return int(last_s // DAY_S) - int(first_s // DAY_S) + 1


def chosen_length(lengths: tuple[float, ...], days: int | None) -> int | None:
    """Position of the block length that a period is judged by: the longest that fits into it, or the shortest there is.

    None when the period is not known: then the greatest variability of all lengths counts.
    """
    if len(lengths) == 1:
        return 0
    if days is None or not lengths:
        return None
    fitting = [position for position, length in enumerate(lengths) if length <= days]
    return fitting[-1] if fitting else 0
