"""Blocks: how they are cut, put together, and what they say."""

from __future__ import annotations

import numpy as np
import pytest

from components.monitoring.blocks import (
    DAY_S,
    Blocking,
    chosen_length,
    period_days,
    whole_blocks,
)
from components.monitoring.comparison import block_variability


@pytest.mark.parametrize(
    ("value", "by", "length"),
    [
        ("auto", "auto", 0),
        ("none", "none", 0),
        ("file", "file", 0),
        ("3d", "time", 3 * DAY_S),
        ("12h", "time", DAY_S // 2),
        ("90min", "time", 5400),
        ("2w", "time", 14 * DAY_S),
        ("5000", "rows", 5000),
        (5000, "rows", 5000),
    ],
)
def test_the_setting_says_what_blocks_are_cut_by(value: str | int, by: str, length: int) -> None:
    found = Blocking.parsed(value)

    assert (found.by, found.length) == (by, length)


@pytest.mark.parametrize("value", ["", "3 d", "d", "0d", "-3d", "3y", "0", 0, -1])
def test_other_blocks_are_refused(value: str | int) -> None:
    with pytest.raises(ValueError, match="block is"):
        Blocking.parsed(value)


@pytest.mark.parametrize(
    ("rows", "files", "span_s", "by", "length"),
    [
        (1000, 1, 120 * DAY_S, "time", DAY_S),
        (1000, 1, 2 * DAY_S, "rows", 50),
        (1000, 9, None, "file", 0),
        (1001, 3, None, "rows", 51),
        (3, 1, None, "rows", 1),
    ],
)
def test_auto_takes_time_then_files_then_stretches(
    rows: int, files: int, span_s: float | None, by: str, length: int
) -> None:
    found = Blocking.parsed("auto").settled(rows, files, span_s)

    assert (found.by, found.length) == (by, length)


def test_short_blocks_make_long_ones() -> None:
    counts = np.arange(14).reshape(7, 2)

    assert whole_blocks(np.arange(7), counts, 3).tolist() == [[6, 9], [36, 40]]


def test_a_rest_of_half_a_block_is_a_block_and_less_joins_the_one_before() -> None:
    counts = np.ones((8, 1), dtype=np.int64)

    assert whole_blocks(np.arange(8), counts, 3).ravel().tolist() == [3, 3, 2]
    assert whole_blocks(np.arange(8), counts, 7).ravel().tolist() == [8]


def test_days_without_rows_keep_their_place() -> None:
    counts = np.ones((3, 1), dtype=np.int64)

    assert whole_blocks(np.array([0, 1, 5]), counts, 2).ravel().tolist() == [2, 1]


@pytest.mark.parametrize(("days", "position"), [(None, None), (1, 0), (5, 0), (7, 1), (30, 2), (31, 2), (400, 2)])
def test_a_period_is_judged_by_the_longest_blocks_that_fit(days: int | None, position: int | None) -> None:
    assert chosen_length((3, 7, 30), days) == position


def test_the_only_length_is_the_one() -> None:
    assert chosen_length((30,), None) == 0


def test_both_days_of_a_night_count() -> None:
    assert period_days(DAY_S - 1, DAY_S) == 2
    assert period_days(0, 0) == 1


@pytest.mark.parametrize("in_order", [True, False])
def test_blocks_of_independent_rows_do_not_differ(*, in_order: bool) -> None:
    random = np.random.default_rng(8)
    blocks = random.multinomial(200, np.full(12, 1 / 12), size=20)

    assert block_variability(blocks, in_order=in_order) == 0


def test_a_block_unlike_the_others_is_the_yardstick() -> None:
    blocks = np.array([[100, 100], [100, 100], [100, 100], [180, 20]])
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])

    found = block_variability(blocks, in_order=False)

    assert found == pytest.approx(np.sqrt(2 * np.sum((p - q) ** 2 / (p + q)) - (1 / 600 + 1 / 200)))


def test_one_block_says_nothing() -> None:
    assert block_variability(np.array([[10, 20]]), in_order=True) == 0
