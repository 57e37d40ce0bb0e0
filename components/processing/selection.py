"""Exact order statistics of data too large to sort, by counting: some passes over the data, memory that does not grow.

Numbers become 64-bit keys in the same order. A pass counts the leading 16 bits, which tells in which of 65,536 buckets
each wanted rank lies; the next pass looks only into those buckets, and when a bucket holds few keys it is sorted.
Unlike a sketch, the answer is the median itself, whatever the order and the batches of the rows.

Source: radix selection; Munro and Paterson, "Selection and sorting with limited storage" (1980), for passes and memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
DIGIT: Final = 16
BUCKETS: Final = 1 << DIGIT
FEW: Final = 65_536
"""Keys of one bucket that are worth sorting at once: half a megabyte."""
_SIGN: Final = np.uint64(1 << 63)


def number_keys(values: NDArray[np.float64]) -> Keys:
    """Keys in the order of finite numbers, shape (n,); -0.0 and 0.0 have the same key."""
    bits = (values + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def number_of(key: int) -> float:
    """The number with this key: `number_keys` undone."""
    bits = key ^ (1 << 63) if key >> 63 else ~key & (2**64 - 1)
    return float(np.uint64(bits).view(np.float64))


def integer_keys(values: NDArray[np.int64]) -> Keys:
    """Keys in the order of integers, shape (n,)."""
    return values.view(np.uint64) ^ _SIGN


@dataclass
class _Bucket:
    """The keys that begin with `prefix`, its length in bits; what is sought among them, and what was seen.

    Keys are kept while they are few, which most columns are to the end; more are counted, and no longer kept.
    """

    prefix: int
    length: int
    ranks: dict[int, int]
    """Rank wanted overall → rank among the keys of this bucket."""
    counts: NDArray[np.int64] | None = None
    kept: list[Keys] = field(default_factory=list)
    seen: int = 0

    def update(self, keys: Keys) -> None:
        if self.length:
            keys = keys[(keys >> np.uint64(64 - self.length)) == np.uint64(self.prefix)]
        self.seen += keys.size
        self.kept.append(keys)
        if self.seen > FEW:
            counts = self.counts if self.counts is not None else np.zeros(BUCKETS, np.int64)
            self.counts = sum(map(self._counted, self.kept), start=counts)
            self.kept.clear()

    def _counted(self, keys: Keys) -> NDArray[np.int64]:
        digits = (keys >> np.uint64(64 - self.length - DIGIT)) & np.uint64(BUCKETS - 1)
        return np.bincount(digits.astype(np.int64), minlength=BUCKETS)

    def narrowed(self) -> tuple[dict[int, int], list[_Bucket]]:
        """Keys that are found, by rank, and the buckets to look into next."""
        if self.counts is None:
            ordered = np.sort(np.concatenate(self.kept))
            return {rank: int(ordered[inside]) for rank, inside in self.ranks.items()}, []
        upto = np.cumsum(self.counts)
        found: dict[int, int] = {}
        next_ones: dict[int, _Bucket] = {}
        for rank, inside in self.ranks.items():
            digit = int(np.searchsorted(upto, inside, side="right"))
            prefix, length = self.prefix << DIGIT | digit, self.length + DIGIT
            if length == 64:
                found[rank] = prefix
                continue
            bucket = next_ones.setdefault(digit, _Bucket(prefix, length, {}))
            bucket.ranks[rank] = inside - int(upto[digit] - self.counts[digit])
        return found, list(next_ones.values())


class Selection:
    """The keys at some ranks of a stream that is read again until they are known, at most four times."""

    def __init__(self, ranks: Sequence[int]) -> None:
        """Seek the keys at `ranks`, counted from 0 in ascending order."""
        self._found: dict[int, int] = {}
        self._buckets = [_Bucket(0, 0, {rank: rank for rank in ranks})] if ranks else []

    @property
    def done(self) -> bool:
        """Whether all keys are known."""
        return not self._buckets

    def update(self, keys: Keys) -> None:
        """Take in a batch of the current pass, shape (n,)."""
        for bucket in self._buckets:
            bucket.update(keys)

    def narrow(self) -> None:
        """End a pass."""
        buckets: list[_Bucket] = []
        for bucket in self._buckets:
            found, more = bucket.narrowed()
            self._found |= found
            buckets += more
        self._buckets = buckets

    def result(self) -> Mapping[int, int]:
        """The key at each rank."""
        return dict(self._found)


@dataclass(frozen=True)
class Quantile:
    """A quantile of n numbers as two of them and how far it lies between: linear interpolation, NumPy's default.

    Source: Hyndman and Fan, "Sample quantiles in statistical packages" (1996), definition 7.
    """

    below: int
    above: int
    weight: float

    @classmethod
    def of(cls, count: int, probability: float) -> Quantile:
        """The quantile at `probability` in [0, 1] of `count` numbers, at least one."""
        place = (count - 1) * probability
        below = int(place)
        return cls(below, min(below + 1, count - 1), place - below)

    def value(self, keys: Mapping[int, int]) -> float:
        """The quantile, from the keys at the two ranks."""
        low, high = number_of(keys[self.below]), number_of(keys[self.above])
        return low + (high - low) * self.weight


def key_array(values: Any) -> Keys:
    """Keys of a NumPy array of integers or floats."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return number_keys(array.astype(np.float64))
    return integer_keys(array.astype(np.int64))
