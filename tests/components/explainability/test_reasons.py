"""Reasons of a score."""

from __future__ import annotations

import numpy as np
import polars as pl

from components.explainability.reasons import reason_columns, strongest

VALUES = np.array([[0.1, -0.5, 0.3], [0.0, 0.2, 0.0], [0.4, 0.4, -0.4]], dtype=np.float32)
MATRIX = np.array([[1.0, 2.0, np.nan], [4.0, np.nan, 6.0], [7.0, 8.0, 9.0]])


def reasons(count: int) -> pl.DataFrame:
    return pl.DataFrame(reason_columns(VALUES, MATRIX, ("a", "b", "c"), count))


def test_the_strongest_come_first_whatever_their_sign_and_of_equal_ones_the_first() -> None:
    assert strongest(VALUES, 3).tolist() == [[1, 2, 0], [1, 0, 2], [0, 1, 2]]


def test_a_reason_is_a_feature_its_value_and_its_attribution() -> None:
    assert reasons(1).to_dict(as_series=False) == {
        "reason_1": ["b", "b", "a"],
        "value_1": [2.0, None, 7.0],
        "attribution_1": [-0.5, np.float32(0.2), np.float32(0.4)],
    }


def test_a_feature_that_moved_nothing_is_no_reason() -> None:
    assert reasons(2).row(1)[3:] == (None, None, None)


def test_there_are_as_many_columns_as_asked_for_even_where_features_are_fewer() -> None:
    found = reasons(5)

    assert found.columns[-3:] == ["reason_5", "value_5", "attribution_5"]
    assert found["reason_4"].null_count() == found["reason_5"].null_count() == 3
    assert found.schema["reason_5"] == pl.String
