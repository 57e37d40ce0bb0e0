"""What the verdict promises: few false alarms at any size, and no blindness. Fixed seeds, few repetitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from components.monitoring.comparison import Comparison, events, ordered, unordered
from components.monitoring.distributions import Counts, bin_numbers, quantile_edges
from components.monitoring.drift import adjusted

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Q = 0.01
MINIMUM_EFFECT = 0.1

KINDS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda random, count: random.normal(size=count),
    "lognormal": lambda random, count: random.lognormal(size=count),
    "whole": lambda random, count: np.floor(random.gamma(2, 3, size=count)),
    "mostly zero": lambda random, count: random.exponential(size=count) * (random.random(count) < 0.1),
}


def binned(training: Floats, production: Floats) -> tuple[Counts, Counts]:
    """Both samples in the bins that training makes."""
    edges = quantile_edges(training, float(training.min()), float(training.max()), 64)
    first, second = (
        np.bincount(bin_numbers(values, edges), minlength=len(edges) + 1) for values in (training, production)
    )
    return first, second


def drifted(comparisons: list[Comparison]) -> list[bool]:
    """Which of the columns are both significant and material."""
    p_values = adjusted(np.array([comparison.p for comparison in comparisons]))
    return [
        bool(p <= Q and comparison.effect >= MINIMUM_EFFECT)
        for p, comparison in zip(p_values, comparisons, strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("training", "production"), [(300, 300), (10_000, 300), (1000, 10_000)])
def test_p_values_of_unchanged_numbers_are_not_too_small(kind: str, training: int, production: int) -> None:
    random = np.random.default_rng(11)
    draw = KINDS[kind]
    p_values = [ordered(*binned(draw(random, training), draw(random, production))).p for _ in range(200)]

    # 200 draws at 5 %: 10 expected, 21 or more have a chance of 1 in 1,000.
    assert sum(p < 0.05 for p in p_values) <= 20
    assert sum(p < 0.001 for p in p_values) <= 2


@pytest.mark.parametrize("levels", [3, 50, 500])
@pytest.mark.parametrize(("training", "production"), [(300, 300), (5000, 500)])
def test_p_values_of_unchanged_levels_are_not_too_small(levels: int, training: int, production: int) -> None:
    random = np.random.default_rng(12)
    shares = random.dirichlet(np.full(levels, 0.5))
    draws = [
        unordered(random.multinomial(training, shares), random.multinomial(production, shares)).p for _ in range(200)
    ]

    assert sum(p < 0.05 for p in draws) <= 20


@pytest.mark.parametrize("share", [0.001, 0.02, 0.4])
def test_p_values_of_unchanged_rates_are_not_too_small(share: float) -> None:
    random = np.random.default_rng(13)
    draws = [
        events(int(random.binomial(5000, share)), 5000, int(random.binomial(500, share)), 500).p for _ in range(300)
    ]

    # 15 expected, 29 or more have a chance of 1 in 1,000.
    assert sum(p < 0.05 for p in draws) <= 28


@pytest.mark.parametrize(("training", "production"), [(300, 300), (10_000, 1000)])
def test_fifty_unchanged_columns_hardly_ever_alarm(training: int, production: int) -> None:
    random = np.random.default_rng(14)
    runs = 0
    for _ in range(30):
        columns = [binned(random.normal(size=training), random.normal(size=production)) for _ in range(50)]
        runs += any(drifted([ordered(*column) for column in columns]))

    # At most 1 % each: 3 or more of 30 have a chance of 3 in 1,000.
    assert runs <= 2


def test_a_shift_of_a_fifth_in_three_of_fifty_columns_is_found() -> None:
    """A tenth of ten thousand rows, 0.2 standard deviations: at least four of five shifted columns are found."""
    random = np.random.default_rng(15)
    found = []
    for _ in range(12):
        columns = [
            binned(random.normal(size=10_000), random.normal(0.2 if number < 3 else 0.0, 1, size=1000))
            for number in range(50)
        ]
        verdicts = drifted([ordered(*column) for column in columns])
        found += verdicts[:3]
        assert sum(verdicts[3:]) <= 1

    assert np.mean(found) >= 0.8


def test_a_large_sample_does_not_alarm_on_a_shift_that_does_not_matter() -> None:
    random = np.random.default_rng(16)
    comparison = ordered(*binned(random.normal(size=100_000), random.normal(0.04, 1, size=100_000)))

    assert comparison.p < 1e-6
    assert comparison.effect < MINIMUM_EFFECT


def test_more_zeros_than_before_are_found() -> None:
    """A column that is 0 in 95 of 100 rows, then in 85: the change is in the rest."""
    random = np.random.default_rng(17)
    first = random.exponential(size=5000) * (random.random(5000) < 0.05)
    second = random.exponential(size=1000) * (random.random(1000) < 0.15)

    assert drifted([ordered(*binned(first, second))]) == [True]
