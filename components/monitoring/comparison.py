"""Two distributions of a column compared: which cells, tests and effect. The same for blocks and production."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.monitoring import drift
from components.monitoring.distributions import Counts, FloatArray, comparable_bins, merged_neighbours, pooled_levels


@dataclass(frozen=True)
class Comparison:
    """What two samples say about each other: `p` from 0 to 1, `effect` from 0 to 2 (see `drift.effect`)."""

    p: float
    effect: float


def ordered(expected: Counts, actual: Counts) -> Comparison:
    """Two samples over the bins of a column of numbers.

    The p-value is the least of chi-square, Kolmogorov-Smirnov and rank-sum, times three for having looked thrice.
    """
    cells = comparable_bins(int(min(expected.sum(), actual.sum())))
    merged = merged_neighbours(expected, actual, cells)
    p_values = (
        drift.chi_square_p(*drift.chi_square(*merged)),
        drift.ks_p(drift.ks_distance(expected, actual), drift.effective_rows(expected, actual)),
        drift.rank_sum_p(expected, actual),
    )
    return Comparison(min(1.0, 3 * min(p_values)), drift.effect(*merged))


def unordered(expected: Counts, actual: Counts) -> Comparison:
    """Two samples over levels: chi-square with the rare levels pooled."""
    pooled = pooled_levels(expected, actual)
    return Comparison(drift.chi_square_p(*drift.chi_square(*pooled)), drift.effect(*pooled))


def events(
    expected: int, expected_rows: int, actual: int, actual_rows: int, *, tolerance: float = 0.0, more_only: bool = False
) -> Comparison:
    """How often something happened in two samples, for example a value was missing.

    Args:
        expected: rows of the first sample in which it happened.
        expected_rows: all its rows.
        actual: the same of the second sample.
        actual_rows: all its rows.
        tolerance: how far the two shares may differ without any effect, from 0 to 1. The effect weighs cells by their
            rarity, so that 0 and half a percent lie as far apart as a shift of a tenth of a standard deviation.
        more_only: whether only an increase counts.

    Returns:
        Chi-square where at least 5 are expected in each cell and both directions count, else the exact test of rates.
    """
    first = np.array([expected, expected_rows - expected], dtype=np.int64)
    second = np.array([actual, actual_rows - actual], dtype=np.int64)
    excess = actual / actual_rows - expected / expected_rows if actual_rows and expected_rows else 0.0
    effect = drift.effect(first, second) if abs(excess) > tolerance else 0.0
    increase = drift.rate_p(expected, expected_rows, actual, actual_rows)
    if more_only:
        return Comparison(increase, effect if excess > 0 else 0.0)
    rows = expected_rows + actual_rows
    least = min(expected_rows, actual_rows) * min(expected + actual, rows - expected - actual) / rows if rows else 0.0
    if least >= 5:
        return Comparison(drift.chi_square_p(*drift.chi_square(first, second)), effect)
    decrease = drift.rate_p(actual, actual_rows, expected, expected_rows)
    return Comparison(min(1.0, 2 * min(increase, decrease)), effect)


def compared(expected: Counts, actual: Counts, *, in_order: bool) -> Comparison:
    """Two samples over bins (`in_order`) or levels."""
    return ordered(expected, actual) if in_order else unordered(expected, actual)


def block_variability(blocks: Counts, *, in_order: bool, chance: float = 0.01) -> float:
    """The greatest effect of a block against all others.

    A block whose difference chance explains counts as no different, so that independent rows give 0 and not the noise
    of the smallest block.

    Args:
        blocks: counts, shape (n_blocks, n_cells).
        in_order: whether the cells have an order.
        chance: probability that any block of independent rows counts.

    Returns:
        From 0 to 2; 0 with fewer than two blocks.
    """
    total = blocks.sum(axis=0)
    found = [compared(total - block, block, in_order=in_order) for block in blocks if 0 < block.sum() < total.sum()]
    return max((one.effect for one in found if one.p < chance / len(found)), default=0.0)


def shares(counts: Counts) -> FloatArray:
    """Counts as proportions of their sum; zeros when nothing was counted."""
    return np.asarray(counts / max(int(counts.sum()), 1), dtype=np.float64)
