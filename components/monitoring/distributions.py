"""Distributions as counts: edges of bins, values and levels in them, and cells pooled until they can be compared."""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]

LEAST_BINS: Final = 4
MOST_BINS: Final = 64
LEAST_EXPECTED: Final = 5.0
"""Least count that a cell should be expected to hold for chi-square's tail to be right (Cochran 1954)."""


def quantile_edges(sample: FloatArray, low: float, high: float, bins: int) -> FloatArray:
    """Edges that cut a column into bins of about equal mass, and set apart what lies outside its range.

    Args:
        sample: values of the column, finite, shape (n_values,), n_values at least 1.
        low: the column's smallest value.
        high: the column's greatest value.
        bins: most bins, at least 4.

    Returns:
        Ascending edges e, shape (at most bins - 1,): bin 0 holds x <= e[0], bin i holds e[i-1] < x <= e[i], the last
        bin x > e[-1]. Bin 0 lies below `low` and the last bin above `high`, so both are empty for the column itself. A
        value that holds more than a bin's mass is an edge, and so the last of its bin.
    """
    inner = bins - 2
    shares = np.arange(1, inner) / inner
    cuts = np.quantile(sample, shares, method="inverted_cdf") if inner > 1 else np.empty(0)
    below = np.nextafter(low, -np.inf)
    return np.unique(np.concatenate([[below], np.clip(cuts, low, high), [high]]))


def bin_numbers(values: FloatArray, edges: FloatArray) -> NDArray[np.intp]:
    """Which bin each value lies in, from 0 to len(edges); shape of `values`, which must hold no NaN."""
    return np.searchsorted(edges, values, side="left")


def comparable_bins(fewer: int) -> int:
    """How many cells two samples are compared on.

    Args:
        fewer: rows of the smaller sample.

    Returns:
        n^(2/5), from 4 to 64: enough to see a shape, few enough that a shift is not lost among them.

    Source: the order is that of Mann and Wald (1942), whose constant, near 4, is known to cost power (Schorr 1974).
    """
    return max(LEAST_BINS, min(round(math.pow(fewer, 0.4)), MOST_BINS))


def merged_neighbours(expected: Counts, actual: Counts, cells: int) -> tuple[Counts, Counts]:
    """Two binned samples with neighbouring bins merged until about `cells` of about equal total are left.

    The totals of both samples decide, never one of them alone: then the merging carries no news about their difference,
    and the test on the merged cells stays calibrated. A bin that holds a cell's share alone stays alone, and what is
    left beside it is a cell as soon as the smaller sample is expected to hold 5 of it: of a column that is nearly
    always 0, it is the rest that tells.

    Args:
        expected: counts per bin, shape (n_bins,).
        actual: counts over the same bins.
        cells: how many to aim at.

    Returns:
        Counts over the merged cells, both of shape (at most n_bins,), with the sums of the originals.
    """
    totals = expected + actual
    rows = float(totals.sum())
    fewer = min(float(expected.sum()), float(actual.sum()))
    wanted = rows / max(cells, 1)
    least = LEAST_EXPECTED * rows / fewer if fewer else rows
    starts, held = [0], 0.0
    for position, total in enumerate(totals.tolist()):
        if held >= max(wanted, least) or (total >= wanted and held >= least):
            starts.append(position)
            held = 0.0
        held += total
    if len(starts) > 1 and held < least:
        starts.pop()
    return np.add.reduceat(expected, starts), np.add.reduceat(actual, starts)


def pooled_levels(expected: Counts, actual: Counts) -> tuple[Counts, Counts]:
    """Two samples over levels without order, with the rare levels pooled into one.

    A level is rare when the smaller sample is expected to hold fewer than 5 of it, judged by the total of both: pooling
    by one sample's counts alone gives two to three times the false alarms.

    Args:
        expected: counts per level, shape (n_levels,).
        actual: counts over the same levels.

    Returns:
        Counts over the frequent levels and, last, all rare ones together; both of shape (at most n_levels,).
    """
    totals = expected + actual
    rows = float(totals.sum())
    if not rows:
        return expected[:0], actual[:0]
    fewer = min(float(expected.sum()), float(actual.sum()))
    rare = totals * fewer / rows < LEAST_EXPECTED
    kept, pooled = ~rare, totals[rare].sum()
    if pooled and pooled * fewer / rows < LEAST_EXPECTED and kept.any():
        # Too few even together: they join the smallest of the frequent ones.
        smallest = int(np.flatnonzero(kept)[np.argmin(totals[kept])])
        kept[smallest], rare[smallest] = False, True
    if not rare.any():
        return expected, actual
    return (
        np.append(expected[kept], expected[rare].sum()),
        np.append(actual[kept], actual[rare].sum()),
    )


def equal_width_counts(
    edges: FloatArray, counts: Counts, low: float, high: float, buckets: int
) -> tuple[FloatArray, Counts]:
    """A histogram of equal widths read off binned counts, mass spread evenly inside each bin.

    Args:
        edges: as `quantile_edges` gives them, shape (n_edges,).
        counts: shape (n_edges + 1,).
        low: smallest value counted.
        high: greatest value counted.
        buckets: how many; one when `low` equals `high`.

    Returns:
        Bounds, shape (buckets + 1,), and whole counts, shape (buckets,), whose sum is that of `counts`. A bucket is off
        by at most the counts of the two bins that its bounds cut.
    """
    if not high > low:
        return np.array([low, high]), np.array([counts.sum()], dtype=np.int64)
    places = np.concatenate([[min(low, edges[0])], edges, [max(high, edges[-1])]])
    cumulative = np.concatenate([[0], np.cumsum(counts)])
    bounds = np.linspace(low, high, buckets + 1)
    inner = np.round(np.interp(bounds[1:-1], places, cumulative)).astype(np.int64)
    return bounds, np.diff(np.concatenate([[0], inner, [counts.sum()]]))
