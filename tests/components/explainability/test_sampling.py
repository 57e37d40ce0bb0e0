"""A uniform sample of a stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.explainability.sampling import Sample


def sampled(rows: int, size: int, seed: int = 0, batch: int = 7) -> list[float]:
    sample = Sample(size, seed)
    values = np.arange(float(rows))
    for start in range(0, rows, batch):
        sample.update(values[start : start + batch], -values[start : start + batch])
    kept, mirrored = sample.arrays
    assert (kept == -mirrored).all()
    return [float(value) for value in kept]


@given(st.integers(1, 60), st.integers(1, 80), st.integers(1, 90))
def test_it_holds_as_many_rows_as_asked_for_or_as_there_are_in_order(size: int, rows: int, batch: int) -> None:
    found = sampled(rows, size, batch=batch)

    assert len(found) == min(size, rows)
    assert found == sorted(set(found))


def test_how_the_stream_is_cut_does_not_matter_and_the_seed_does() -> None:
    assert sampled(500, 20, batch=3) == sampled(500, 20, batch=499)
    assert sampled(500, 20, seed=1) != sampled(500, 20, seed=2)


def test_each_row_is_as_likely_as_any_other() -> None:
    """400 samples of 10 of 40 rows: each row in a quarter of them, 100 ± 5 standard deviations of 8.7."""
    counts = np.zeros(40)
    for seed in range(400):
        counts[np.array(sampled(40, 10, seed=seed), dtype=int)] += 1

    assert counts.sum() == 4000
    assert counts == pytest.approx(np.full(40, 100), abs=43)
