"""Global importance, streamed."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from components.explainability.importance import ImportanceSummary

VALUES = np.random.default_rng(0).normal(size=(1000, 2, 5)).astype(np.float32)


def summary(values: np.ndarray) -> ImportanceSummary:
    found = ImportanceSummary(2, 5)
    found.update(values)
    return found


def test_it_is_the_mean_of_absolute_values_per_output_and_feature() -> None:
    found = summary(VALUES).result()

    assert found.rows == 1000
    assert_allclose(found.mean_absolute, np.abs(VALUES.astype(float)).mean(axis=0))
    assert_allclose(found.mean, VALUES.astype(float).mean(axis=0))


def test_merged_parts_give_what_one_pass_gives() -> None:
    merged = summary(VALUES[:1])
    for start, end in ((1, 300), (300, 300), (300, 1000)):
        merged.merge(summary(VALUES[start:end]))

    whole = summary(VALUES).result()

    assert merged.result().rows == whole.rows
    assert_allclose(merged.result().mean_absolute, whole.mean_absolute, rtol=1e-14)
    assert_allclose(merged.result().mean, whole.mean, rtol=1e-12, atol=1e-16)


def test_no_rows_have_no_importance() -> None:
    assert (ImportanceSummary(1, 3).result().mean_absolute == 0).all()
