"""Numbers that depend on nothing but what they are for."""

from __future__ import annotations

import numpy as np
import pytest

from glassbert.data.sampling import Order, followed, fractions, hashed


@pytest.mark.parametrize("count", [1, 2, 3, 10, 255, 256, 257, 1000, 10_000])
def test_an_order_is_a_permutation(count: int) -> None:
    order = Order(count, 7, 3)
    found = order.at(np.arange(count))
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == list(range(count))
    # Any place by itself, in any shape.
    assert int(order.at(count - 1)) == found[-1]
    assert order.at([[0], [count // 2]]).tolist() == [[found[0]], [found[count // 2]]]


def test_a_very_long_order_needs_no_memory() -> None:
    order = Order(10**15, 1)
    found = order.at(np.arange(10**15 - 1000, 10**15))
    assert len(set(found.tolist())) == 1000
    assert found.min() >= 0
    assert found.max() < 10**15


def test_orders_differ() -> None:
    first = Order(1000, 0, 0).at(np.arange(1000))
    assert (first == Order(1000, 0, 0).at(np.arange(1000))).all()
    for parts in ((0, 1), (1, 0), (1, 1)):
        assert (first == Order(1000, *parts).at(np.arange(1000))).sum() < 10


@pytest.mark.parametrize("place", [-1, 10, 2**40])
def test_a_place_outside_is_refused(place: int) -> None:
    with pytest.raises(IndexError, match="not from 0 to 9"):
        Order(10, 0).at([0, place])


@pytest.mark.parametrize("count", [10, 100])
def test_all_stand_everywhere_equally_often(count: int) -> None:
    # Orders of several epochs: chi-square of what stands where, and of what follows what.
    epochs = 250
    orders = np.stack([Order(count, 5, epoch).at(np.arange(count)) for epoch in range(epochs)])
    standing = np.zeros((count, count))
    for place in range(count):
        standing[place] = np.bincount(orders[:, place], minlength=count)
    expected = epochs / count
    freedom = (count - 1) ** 2
    assert abs(((standing - expected) ** 2 / expected).sum() - freedom) < 5 * (2 * freedom) ** 0.5
    following = np.bincount((orders[:, 1:] - orders[:, :-1]).ravel() % count, minlength=count)[1:]
    expected = epochs * (count - 1) / (count - 1)
    assert abs(((following - expected) ** 2 / expected).sum() - count) < 6 * (2 * count) ** 0.5


def test_a_long_order_looks_random() -> None:
    found = Order(10_000, 3).at(np.arange(10_000))
    # Pairs of neighbours in a 10 by 10 grid.
    grid = np.bincount(found[:-1] // 1000 * 10 + found[1:] // 1000, minlength=100)
    assert abs(((grid - 99.99) ** 2 / 99.99).sum() - 99) < 5 * 198**0.5
    assert abs(np.corrcoef(np.arange(10_000), found)[0, 1]) < 0.04


def test_hashes() -> None:
    bits = hashed(1, 2, np.arange(10_000))
    assert bits.dtype == np.uint64
    assert len(np.unique(bits)) == 10_000
    assert bits[7] == hashed(1, 2, 7)
    assert hashed(2, 1) != hashed(1, 2)
    assert hashed(0) != hashed(0, 0)
    assert hashed(np.arange(3)[:, None], np.arange(4)).shape == (3, 4)
    before = hashed(1, 2)
    assert (followed(before, np.arange(10_000)) == bits).all()
    assert before == hashed(1, 2)
    # Each bit is set in half of them, whatever bit of the place changes.
    for shift in (0, 13, 40):
        ones = np.unpackbits(hashed(9, np.arange(10_000) << shift).view(np.uint8)).reshape(10_000, 64).mean(0)
        assert (abs(ones - 0.5) < 0.03).all()


def test_hashes_are_the_same_for_ever() -> None:
    # A run that was begun with one version goes on with another.
    assert hashed(0).tolist() == 16294208416658607535
    assert hashed(1, 2, 3).tolist() == 17281550289527850393
    assert Order(10, 1, 2).at(np.arange(10)).tolist() == [3, 2, 9, 4, 5, 0, 1, 7, 8, 6]


def test_fractions() -> None:
    found = fractions(hashed(4, np.arange(100_000)))
    assert found.min() >= 0.0
    assert found.max() < 1.0
    tenths = np.bincount((found * 10).astype(int), minlength=10)
    assert abs(((tenths - 10_000) ** 2 / 10_000).sum() - 9) < 5 * 18**0.5
    assert fractions(np.array([2**64 - 1], np.uint64))[0] < 1.0
