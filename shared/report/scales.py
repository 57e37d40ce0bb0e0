"""Numbers as text, round axis marks, and the linear map from data to drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.report.document import Cell, Number

MISSING = "\u2013"
"""An en dash: what stands where no number is known."""

_SUPERSCRIPT = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
_MINUS = "\u2212"


def number(value: Number, digits: int = 3) -> str:
    """A number for reading: fractions to `digits` significant digits, whole numbers in full, long ones with thousands
    apart. Those of four digits stay whole: many are years, or times of day such as 1530.

    1234567 is `1,234,567`; 0.70312 is `0.703`; 1234.56 is `1235`; 0.00001234 is `1.23×10⁻⁵`; None and NaN an en dash.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0 or (isinstance(value, int) and abs(value) < 1e15):
        return _signed(_grouped(value, 0))
    if not 1e-4 <= abs(value) < 1e15:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return _signed(f"{_short(mantissa)}\u00d710{str(int(exponent)).translate(_SUPERSCRIPT)}")
    return _signed(_short(_grouped(value, _decimals(value, digits))))


def _grouped(value: float, decimals: int) -> str:
    """So many decimals, and thousands apart where more than four digits stand before the point."""
    text = f"{value:.{decimals}f}"
    return text if len(text.lstrip("-").partition(".")[0]) <= 4 else f"{value:,.{decimals}f}"


def _decimals(value: float, digits: int) -> int:
    """How many decimals show `digits` significant digits of a value that is not zero."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _short(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _signed(text: str) -> str:
    """With a true minus, as wide as a plus and a digit; nothing shows as minus zero."""
    return text.replace("-", _MINUS) if any(digit in text for digit in "123456789") else text.lstrip("-")


def percentage(share: Number) -> str:
    """A share of one as per cent with one decimal: 0.1234 is `12.3 %`, 0.0001 is `<0.1 %`, nothing at all `0 %`."""
    if share is None or not math.isfinite(share):
        return MISSING
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{100 * share:.1f} %" if share else "0 %"


def compact(value: float) -> str:
    """A number for a tight place: 12,345 is `12.3k`, 4,500,000 is `4.5M`; below 10,000 as `number` has it."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if limit <= abs(value) < 1e15:
            return number(float(f"{value / (1e3 if letter == 'k' else limit):.3g}")) + letter
    return number(value)


def duration(seconds: Number) -> str:
    """Seconds for reading: `0.42 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{number(float(f'{seconds:.2f}'))} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def cell(value: Cell) -> str:
    """One table cell on its own: text as it is, numbers as `number` has them, truth as yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)


def column(values: Sequence[Cell]) -> tuple[str, ...]:
    """The cells of one table column, fractions below 100 with equally many decimals so that points stand in line."""
    fractions = [value for value in values if isinstance(value, float) and value != 0]
    if not fractions or not all(1e-3 <= abs(value) < 100 for value in fractions):
        return tuple(cell(value) for value in values)
    wanted = max(len(number(value).partition(".")[2]) for value in fractions)
    return tuple(_signed(f"{value:.{wanted}f}") if isinstance(value, float) else cell(value) for value in values)


def measured(values: Sequence[Number]) -> tuple[str, ...]:
    """Values to compare with each other: equally many decimals, three significant digits of the greatest."""
    greatest = max((abs(value) for value in values if value is not None), default=0.0)
    if not 1e-3 <= greatest < 100 or all(isinstance(value, int | None) for value in values):
        return tuple(number(value) for value in values)
    wanted = _decimals(greatest, 3)
    return tuple(MISSING if value is None else _signed(f"{value:.{wanted}f}") for value in values)


@dataclass(frozen=True)
class Scale:
    """A linear map from low..high to start..end; a domain without width maps to the middle."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value is drawn."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        # Halved, because the distance between two numbers of either sign may be more than a float holds.
        return self.start + (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2) * (self.end - self.start)


def extent(values: Iterable[Number]) -> tuple[float, float]:
    """Least and greatest of the known values; 0..1 when there are none."""
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    return (min(known), max(known)) if known else (0.0, 1.0)


def step(low: float, high: float, count: int) -> float:
    """The distance 1, 2 or 5 times a power of ten that divides low..high into about `count` parts; positive."""
    rough = (high - low) / max(count, 1)
    if not 1e-300 < rough < math.inf:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(rough))
    # The nearest by ratio: the limits are the geometric means of neighbouring factors.
    return power * next(
        (factor for factor, limit in ((1, 2**0.5), (2, 10**0.5), (5, 50**0.5)) if rough < limit * power), 10
    )


def ticks(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Round marks within low..high, about `count` of them; one mark when the range has no width."""
    if not high > low:
        return (low,)
    if not math.isfinite(high - low):
        return low, high
    apart = step(low, high, count)
    first, last = math.ceil(low / apart - 1e-9), math.floor(high / apart + 1e-9)
    # Twelve digits hide what 3 * 0.1 is in binary; the same text twice is one mark.
    return tuple(dict.fromkeys(float(f"{index * apart:.12g}") for index in range(first, last + 1)))


def roomy(low: float, high: float, count: int = 5) -> tuple[float, float]:
    """The range widened to round marks on both sides; a range without width is given some."""
    if not high > low:
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    if not math.isfinite(high - low):
        return low, high
    apart = step(low, high, count)
    return (
        float(f"{math.floor(low / apart + 1e-9) * apart:.12g}"),
        float(f"{math.ceil(high / apart - 1e-9) * apart:.12g}"),
    )


def tick_labels(marks: Sequence[float]) -> tuple[str, ...]:
    """The marks as text with equally many decimals, compact from 10,000 on."""
    if max((abs(mark) for mark in marks), default=0) >= 1e4:
        return tuple(compact(mark) for mark in marks)
    texts = [number(mark, 6) for mark in marks]
    if any("\u00d7" in text for text in texts):
        return tuple(texts)
    wanted = max((len(text.partition(".")[2]) for text in texts), default=0)
    return tuple(_signed(_grouped(mark, wanted)) for mark in marks)
