"""Which rows train, validate and test: all by ranks of one key a row, so that by time and at random are one thing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.processing.selection import Keys

PARTS: Final = ("train", "validation", "test")


@dataclass(frozen=True)
class Cuts:
    """The smallest keys that validate and that test; None where no row does."""

    validation: int | None = None
    test: int | None = None


def held_out(rows: int, share: float) -> int:
    """How many of `rows` a share is: rounded up, so that a share above 0 is never no row."""
    return math.ceil(rows * share - 1e-9)


def cut_ranks(rows: int, validation: float, test: float) -> tuple[int | None, int | None]:
    """Ranks, in ascending order of the keys, of the first row that validates and of the first that tests.

    Returns:
        None for a share of 0. The first is at most the second; a rank of 0 or less leaves no row for training.
    """
    tests = held_out(rows, test)
    validates = held_out(rows, validation)
    return (rows - tests - validates if validates else None), (rows - tests if tests else None)


def parts(keys: Keys, cuts: Cuts) -> NDArray[np.int8]:
    """The index in `PARTS` of each row, shape (n,): equal keys are never parted."""
    codes = np.zeros(keys.size, np.int8)
    if cuts.validation is not None:
        codes[keys >= np.uint64(cuts.validation)] = 1
    if cuts.test is not None:
        codes[keys >= np.uint64(cuts.test)] = 2
    return codes


def random_keys(start: int, count: int, seed: int) -> Keys:
    """Keys of the rows `start`, `start + 1`, …: a random order of all rows, the same for the same seed, shape (count,).

    The finaliser is a bijection of 64 bits, so no two rows have the same key and shares are met to the row.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), SplitMix64.
    """
    offset = (seed * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) % 2**64
    with np.errstate(over="ignore"):
        z = np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(offset)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
