"""Chance without a state: numbers that depend on nothing but a seed and a place, so that any of them is there at once.

A generator that is drawn from has to be wound forward to go on in the middle of a run, and what it gives depends on
who drew before. Here a number is a hash of what it is for, so a sequence is read in the same place and masked in the
same way whatever the batches, the processes or the interruptions.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Hashes = NDArray[np.uint64]

# The constants of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
# Halves of a Feistel network have so many bits at least; with fewer there are too few different orders.
_FEWEST_BITS: Final = 4
_ROUNDS: Final = 6


def hashed(*parts: ArrayLike) -> Hashes:
    """Return 64 evenly distributed bits for whole numbers, of the shape that they have together.

    Args:
        parts: whole numbers from 0 that say what the bits are for, such as seed, epoch, sequence and place.
    """
    return followed(np.zeros((), np.uint64), *parts)


def followed(bits: Hashes, *parts: ArrayLike) -> Hashes:
    """Return what `hashed` gives for the parts of `bits` and these behind them."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64
        for part in parts:
            bits = bits + np.asarray(part).astype(np.uint64)
            bits *= _STEP
            bits += _STEP
            bits = _finished(bits)
    return bits


def _finished(values: Hashes) -> Hashes:
    # In their own place: these are most of what masks cost.
    values ^= values >> np.uint64(30)
    values *= _FIRST
    values ^= values >> np.uint64(27)
    values *= _SECOND
    values ^= values >> np.uint64(31)
    return values


def fractions(bits: Hashes) -> NDArray[np.float64]:
    """Return a number from 0 to below 1 for each hash."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Order:
    """A random order of 0 … count - 1 that is never written down: each place is computed by itself.

    A Feistel network (Luby and Rackoff 1988) permutes a range that is a power of 4; what falls outside `count` goes
    through it again until it falls inside, at most 4 times on average.

    Args:
        count: how many there are.
        parts: whole numbers that decide the order, such as seed and epoch.
    """

    def __init__(self, count: int, *parts: int) -> None:
        """Compute nothing in the length of `count`."""
        bits = max(_FEWEST_BITS, -(-max(1, count - 1).bit_length() // 2))
        self.count = count
        self._bits, self._mask = np.uint64(bits), np.uint64((1 << bits) - 1)
        self._keys = [hashed(*parts, number) for number in range(_ROUNDS)]

    def at(self, places: ArrayLike) -> NDArray[np.int64]:
        """Return what stands at some places of the order, of their shape.

        Raises:
            IndexError: a place outside of it.
        """
        values: NDArray[Any] = np.atleast_1d(np.asarray(places)).astype(np.uint64)  # of a negative one a large number
        if (values >= self.count).any():
            raise IndexError(f"a place is not from 0 to {self.count - 1}")
        values = self._permuted(values)
        while (outside := values >= self.count).any():
            values[outside] = self._permuted(values[outside])
        return values.astype(np.int64).reshape(np.shape(places))

    def _permuted(self, values: Hashes) -> Hashes:
        left, right = values >> self._bits, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (hashed(key, right) & self._mask)
        return (left << self._bits) | right
