"""How far two distributions lie apart, how surely, and how much of that matters. All of it on integer counts.

Significance and size are two questions. The chi-square, Kolmogorov-Smirnov and rank-sum tests say whether a difference
is more than chance; the effect says how large it is, in a unit that does not depend on how many rows there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from components.monitoring.distributions import Counts, FloatArray

Distance: TypeAlias = Callable[[FloatArray, FloatArray], float]
"""From two sets of proportions over the same bins to how far they lie apart."""
FLOOR: Final = 1e-6
"""Share that an empty bin counts as in PSI, which bounds it."""


def effective_rows(expected: Counts, actual: Counts) -> float:
    """Half the rows of two equal samples that tell as much as these: n m / (n + m), or 0 when one is empty."""
    first, second = float(expected.sum()), float(actual.sum())
    return first * second / (first + second) if first and second else 0.0


def chi_square(expected: Counts, actual: Counts) -> tuple[float, int]:
    """Pearson's statistic of homogeneity of two samples.

    Args:
        expected: counts per cell, shape (n_cells,).
        actual: counts over the same cells.

    Returns:
        The statistic, at least 0, and its degrees of freedom: cells that anything fell into, less 1, at least 0.

    Source: Pearson (1900); here sum over cells of n m (p - q)^2 / (n p + m q).
    """
    first, second = float(expected.sum()), float(actual.sum())
    totals = expected + actual
    seen = totals > 0
    cells = int(seen.sum())
    if not first or not second or cells < 2:
        return 0.0, 0
    difference = expected[seen] / first - actual[seen] / second
    return float(first * second * np.sum(difference**2 / totals[seen])), cells - 1


def chi_square_p(statistic: float, freedom: int) -> float:
    """Chance of a statistic at least this great when nothing differs, from 0 to 1; 1 without degrees of freedom."""
    if freedom < 1:
        return 1.0
    from scipy.special import chdtrc

    return float(chdtrc(freedom, statistic))


def ks_distance(expected: Counts, actual: Counts) -> float:
    """Greatest difference of the two cumulative distributions over ordered bins, from 0 to 1.

    Never greater than the distance of the samples themselves, so a p-value from it errs on the side of silence.

    Source: Kolmogorov (1933), Smirnov (1939).
    """
    first, second = expected.sum(), actual.sum()
    if not first or not second:
        return 0.0
    return float(np.max(np.abs(np.cumsum(expected) / first - np.cumsum(actual) / second)))


def ks_p(distance: float, rows: float) -> float:
    """Chance of a distance at least this great when nothing differs, from 0 to 1.

    Args:
        distance: from `ks_distance`.
        rows: from `effective_rows`.

    Source: Kolmogorov's limit with the correction for few rows of Stephens (1970).
    """
    from scipy.special import kolmogorov

    root = math.sqrt(rows)
    return float(kolmogorov((root + 0.12 + 0.11 / root) * distance)) if rows else 1.0


def rank_sum_p(expected: Counts, actual: Counts) -> float:
    """Two-sided p-value of the Wilcoxon rank-sum test on ordered bins, from 0 to 1, ties counted as half.

    Of a chi-square with many cells a shift moves only a little each; this test looks at the shift alone, so it sees
    a small one in fewer rows.

    Source: Wilcoxon (1945), Mann and Whitney (1947), normal limit with the variance for ties of Lehmann (1975).
    """
    first, second = float(expected.sum()), float(actual.sum())
    totals = (expected + actual).astype(np.float64)
    rows = first + second
    if not first or not second or rows < 2:
        return 1.0
    ranks = np.cumsum(totals) - totals / 2
    ties = float(np.sum(totals**3 - totals)) / (rows * (rows - 1))
    variance = first * second / 12 * (rows + 1 - ties)
    if variance <= 0:
        return 1.0
    excess = float(np.sum(actual * ranks)) - second * rows / 2
    return math.erfc(abs(excess) / math.sqrt(2 * variance))


def rate_p(expected_events: int, expected_rows: int, actual_events: int, actual_rows: int) -> float:
    """Chance of so many events in the second sample, or more, when both have the same rate; exact, from 0 to 1.

    Given all events of both samples, each lies in the second with probability m / (n + m).

    Source: Przyborowski and Wilenski (1940).
    """
    if not actual_events or not expected_rows or not actual_rows:
        return 1.0
    from scipy.special import bdtrc

    share = actual_rows / (expected_rows + actual_rows)
    return float(bdtrc(actual_events - 1, expected_events + actual_events, share))


def effect(expected: Counts, actual: Counts) -> float:
    """How far two distributions lie apart, cleared of what chance alone would show.

    Args:
        expected: counts per cell, shape (n_cells,).
        actual: counts over the same cells.

    Returns:
        sqrt(max(0, 2 sum((p - q)^2 / (p + q)) - df (1/n + 1/m))), from 0 (no more than chance) to 2 (nothing in
        common). A shift of a normal column by a small d standard deviations gives d. With n = m it is
        sqrt((X2 - df) / neff) of the chi-square statistic X2; weighing both alike makes it a property of the two
        distributions, so that a block's effect and a month's can be compared though one has ten times the rows.

    Source: the triangular discrimination of Vincze (1981) and Le Cam (1986), less its mean when nothing differs.
    """
    rows = effective_rows(expected, actual)
    if not rows:
        return 0.0
    p, q = expected / expected.sum(), actual / actual.sum()
    seen = p + q > 0
    freedom = int(seen.sum()) - 1
    distance = 2 * float(np.sum((p[seen] - q[seen]) ** 2 / (p[seen] + q[seen])))
    return math.sqrt(max(0.0, distance - freedom / rows))


def population_stability_index(expected: FloatArray, actual: FloatArray) -> float:
    """How far a binned distribution has moved from its reference.

    Args:
        expected: reference proportions per bin, shape (n_bins,), summing to 1.
        actual: observed proportions over the same bins, shape (n_bins,), summing to 1.

    Returns:
        PSI in nats: at least 0, and 0 only when the two agree. Swapping the arguments changes nothing.

    Raises:
        ValueError: the shapes differ, or a proportion is negative.

    Source: the symmetric divergence J of Kullback and Leibler (1951). Empty bins count as `FLOOR`, which
    bounds the result.
    """
    _check_proportions(expected, actual)
    p, q = np.maximum(expected, FLOOR), np.maximum(actual, FLOOR)
    return float(np.sum((p - q) * np.log(p / q)))


def jensen_shannon_distance(expected: FloatArray, actual: FloatArray) -> float:
    """Square root of the Jensen-Shannon divergence to base 2: a metric from 0 (equal) to 1 (nothing in common).

    Args:
        expected: reference proportions per bin, shape (n_bins,), summing to 1.
        actual: observed proportions over the same bins.

    Raises:
        ValueError: the shapes differ, or a proportion is negative.

    Source: Lin (1991); that its root is a metric, Endres and Schindelin (2003).
    """
    _check_proportions(expected, actual)
    middle = (expected + actual) / 2
    divergence = (_relative_entropy(expected, middle) + _relative_entropy(actual, middle)) / 2
    return math.sqrt(max(0.0, divergence))


def _relative_entropy(p: FloatArray, q: FloatArray) -> float:
    """Kullback-Leibler divergence in bits; q is positive wherever p is."""
    held = p > 0
    return float(np.sum(p[held] * np.log2(p[held] / q[held])))


def wasserstein_distance(edges: FloatArray, expected: FloatArray, actual: FloatArray) -> float:
    """How far mass has to be carried to make one distribution the other, in the column's unit.

    Args:
        edges: inner edges of the bins, ascending, shape (n_bins - 1,).
        expected: reference proportions per bin, shape (n_bins,).
        actual: observed proportions over the same bins.

    Returns:
        The area between the two cumulative distributions from the first edge to the last: at least 0. What lies outside
        counts as lying at the nearest edge; inside, the error is at most the width of a bin.

    Raises:
        ValueError: the shapes differ, or a proportion is negative.

    Source: Vallender (1974).
    """
    _check_proportions(expected, actual)
    gaps = np.abs(np.cumsum(expected) - np.cumsum(actual))
    # Between two edges the difference runs from one value to the other; its mean is taken.
    return float(np.sum((gaps[:-2] + gaps[1:-1]) / 2 * np.diff(edges)))


def _check_proportions(expected: FloatArray, actual: FloatArray) -> None:
    if expected.shape != actual.shape:
        raise ValueError(f"the distributions have shapes {expected.shape} and {actual.shape}, wanted the same bins.")
    if expected.size and (expected.min() < 0 or actual.min() < 0):
        raise ValueError("a proportion is negative.")


def adjusted(p_values: FloatArray) -> FloatArray:
    """P-values adjusted for how many were looked at: reject where they are at most q, and the expected share of false
    alarms among the rejected is at most q.

    Args:
        p_values: from 0 to 1, shape (n_hypotheses,).

    Returns:
        Adjusted p-values in the same order, each at least the original and at most 1.

    Source: Benjamini and Hochberg (1995), step-up.
    """
    count = p_values.size
    if not count:
        return p_values
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * count / np.arange(1, count + 1)
    stepped = np.minimum.accumulate(scaled[::-1])[::-1]
    result = np.empty(count)
    result[order] = np.minimum(stepped, 1.0)
    return result
