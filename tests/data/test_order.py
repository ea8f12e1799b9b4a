# SPDX-License-Identifier: Apache-2.0
"""The order is a permutation, looks random, mixes widely and keeps reads local."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.data.order import Order
from vitruvian.errors import InputError


@given(
    st.integers(1, 700),
    st.integers(0, 2**63 - 1),
    st.integers(0, 5),
    st.integers(1, 70),
    st.integers(1, 9),
)
def test_each_sample_exactly_once(length, seed, epoch, block, window):
    order = Order(length=length, seed=seed, block=block, window=window)
    found = order.indices(epoch, np.arange(length))
    assert sorted(found.tolist()) == list(range(length))


@given(st.integers(1, 10**12), st.data())
def test_a_position_alone_is_enough(length, data):
    order = Order(length=length, seed=3)
    position = data.draw(st.integers(0, length - 1))
    start = max(0, position - 5)
    some = order.indices(1, np.arange(start, position + 1))
    assert order.indices(1, position) == some[-1]
    assert some.min() >= 0
    assert some.max() < length
    assert len(set(some.tolist())) == len(some)


def test_seeds_and_epochs_give_other_orders():
    positions = np.arange(5000)
    found = [
        Order(length=5000, seed=seed).indices(epoch, positions)
        for seed in (0, 1, 2)
        for epoch in (0, 1, 2)
    ]
    for i, one in enumerate(found):
        assert abs(np.corrcoef(positions, one)[0, 1]) < 0.06
        for other in found[:i]:
            assert (one == other).mean() < 0.01
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.06


def test_positions_are_uniform():
    """Where sample 0 … 9 of a small set lands over many epochs (chi-squared, 9 degrees)."""
    order = Order(length=10, seed=1, block=2, window=2)
    counts = np.zeros((10, 10))
    for epoch in range(400):
        counts[np.arange(10), order.indices(epoch, np.arange(10))] += 1
    chi = ((counts - 40) ** 2 / 40).sum(axis=1)
    assert chi.max() < 33  # 0.9999 quantile


def test_reads_stay_local_and_batches_mix():
    order = Order(length=1_000_000, seed=0, block=64, window=128)
    window = order.indices(0, np.arange(64 * 128))
    blocks = np.unique(window // 64)
    assert len(blocks) == 128  # a window touches no more blocks than it has
    assert np.ptp(blocks) > 15_000 * 0.9  # from the whole set
    batch = order.indices(0, np.arange(64))
    assert len(np.unique(batch // 64)) > 40


def test_without_shuffling():
    order = Order(length=7, shuffle=False)
    assert order.indices(3, np.arange(7)).tolist() == list(range(7))
    with pytest.raises(InputError, match=r"positions 7 … 7 of an epoch of 7"):
        order.indices(0, [7])


@pytest.mark.parametrize("wrong", [{"length": 0}, {"length": 3, "block": 0}])
def test_sizes(wrong):
    with pytest.raises(InputError, match="1 or more"):
        Order(**wrong)
    with pytest.raises(InputError, match="seed"):
        Order(length=1, seed=-1)


def test_the_order_never_changes():
    """Checkpoints resume in it: a change here makes them see samples twice."""
    order = Order(length=300_000_000, seed=7)
    assert order.indices(2, [0, 1, 65_536, 299_999_999]).tolist() == [
        134479011,
        254071521,
        32956394,
        20503882,
    ]
