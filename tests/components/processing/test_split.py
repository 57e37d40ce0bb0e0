from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.processing.selection import integer_keys
from components.processing.split import Cuts, cut_ranks, held_out, parts, random_keys

shares = st.floats(0, 0.45)


def test_a_share_is_rounded_up_but_not_by_how_a_decimal_is_stored() -> None:
    assert held_out(100, 0.07) == 7  # 100 * 0.07 is 7.000000000000001
    assert held_out(11, 0.1) == 2
    assert held_out(3, 0.01) == 1
    assert held_out(1_000, 0.0) == 0


def test_test_rows_are_the_last_and_validation_rows_come_before_them() -> None:
    assert cut_ranks(10, 0.2, 0.1) == (7, 9)
    assert cut_ranks(10, 0.2, 0.0) == (8, None)
    assert cut_ranks(10, 0.0, 0.0) == (None, None)


def test_a_single_row_can_not_be_held_out_and_trained_on() -> None:
    assert cut_ranks(1, 0.2, 0.0) == (0, None)


@given(st.integers(1, 3_000), shares, shares, st.integers(0, 2**63 - 1))
def test_a_random_split_meets_its_shares_to_the_row(rows: int, validation: float, test: float, seed: int) -> None:
    keys = random_keys(0, rows, seed)
    ordered = np.sort(keys)
    ranks = cut_ranks(rows, validation, test)
    cuts = Cuts(*(int(ordered[max(rank, 0)]) if rank is not None else None for rank in ranks))

    counts = np.bincount(parts(keys, cuts), minlength=3)

    if all(rank is None or rank > 0 for rank in ranks):
        assert counts[2] == held_out(rows, test)
        assert counts[1] == held_out(rows, validation)


@given(st.integers(0, 2**63 - 1), st.integers(1, 500), st.integers(1, 500))
def test_a_row_has_the_same_random_key_in_whatever_batch_it_comes(seed: int, first: int, second: int) -> None:
    whole = random_keys(0, first + second, seed)

    assert (np.concatenate([random_keys(0, first, seed), random_keys(first, second, seed)]) == whole).all()
    assert np.unique(whole).size == whole.size


def test_another_seed_holds_out_other_rows() -> None:
    assert (np.argsort(random_keys(0, 100, 0)) != np.argsort(random_keys(0, 100, 1))).any()


def test_random_keys_are_spread_evenly() -> None:
    """Of 100,000 keys in 100 equal ranges each holds 1,000, give or take six standard deviations."""
    counts = np.bincount((random_keys(0, 100_000, 3) // np.uint64(2**64 // 100 + 1)).astype(np.int64), minlength=100)

    assert abs(counts - 1_000).max() < 6 * np.sqrt(990)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=200), st.data())
def test_equal_times_are_never_parted_and_no_training_row_is_later_than_a_held_out_one(
    times: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.sampled_from(times))
    keys = integer_keys(np.array(times, np.int64))
    codes = parts(keys, Cuts(validation=int(integer_keys(np.array([cut], np.int64))[0])))

    training, held = np.array(times)[codes == 0], np.array(times)[codes == 1]

    assert (training < cut).all()
    assert (held >= cut).all()
