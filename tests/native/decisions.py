"""The random bits of the kernels once more, slowly, in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint32]


def words(seed: int, places: npt.NDArray[np.uint64]) -> Numbers:
    """Return the words at `places`."""
    word = places.astype(np.uint32)
    high = (places >> np.uint64(32)).astype(np.uint32)
    word ^= np.uint32(seed & 0xFFFFFFFF) ^ high * np.uint32(0x85EBCA6B)
    word *= np.uint32(0x9E3779B1)
    word ^= word >> np.uint32(16)
    word ^= np.uint32(seed >> 32)
    word *= np.uint32(0x7FEB352D)
    word ^= word >> np.uint32(15)
    word *= np.uint32(0x846CA68B)
    return word ^ word >> np.uint32(16)


def draws(seed: int, count: int, first: int = 0) -> Numbers:
    """Return the draws, 0 to 65,535, of `count` numbers in a row whose words begin at `first`."""
    number = np.arange(count, dtype=np.uint64)
    word = words(seed, np.uint64(first) + number // np.uint64(32) * np.uint64(16) + number % np.uint64(16))
    return np.where(number & np.uint64(16), word >> np.uint32(16), word & np.uint32(0xFFFF)).astype(np.uint32)


def attention_draws(seed: int, lengths: Sequence[int], heads: int, *, first_only: bool) -> list[Numbers]:
    """Return the draws (A, Q, n) of the weights of each sequence."""
    row_words = (lengths[-1] + 31) // 32 * 16
    found, begin = [], 0
    for length in lengths:
        queries = 1 if first_only else length
        by_key = [
            [draws(seed, queries, ((begin + key) * heads + head) * row_words) for key in range(length)]
            for head in range(heads)
        ]
        found.append(np.array(by_key).transpose(0, 2, 1))  # (A, n, Q) -> (A, Q, n)
        begin += length
    return found
