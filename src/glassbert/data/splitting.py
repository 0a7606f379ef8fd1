"""Records → parts, drawn by chance, one record at a time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TypeVar

from glassbert.errors import InputError

Item = TypeVar("Item")


def split(items: Iterable[Item], shares: Mapping[str, float], *, seed: int = 0) -> Iterator[tuple[str, Item]]:
    """Give each item with the name of the part that it falls into.

    Seed and place decide, and nothing else, so that any number of passes over the same data gives the same parts, on
    every machine. Each item is drawn by itself: a part of share p has n p items on average, with a standard deviation
    of √(n p (1 − p)).

    Args:
        items: records in a fixed order.
        shares: of each part, by name; together 1.
        seed: decides who falls where.

    Raises:
        InputError: shares that are not of (0, 1), or not 1 together.
    """
    if any(not 0.0 < share <= 1.0 for share in shares.values()) or not math.isclose(sum(shares.values()), 1.0):
        raise InputError(f"shares are {dict(shares)!r}, expected numbers more than 0 that are 1 together")
    return _split(items, shares, seed)


def _split(items: Iterable[Item], shares: Mapping[str, float], seed: int) -> Iterator[tuple[str, Item]]:
    names = list(shares)
    ends = list(accumulate(shares.values()))[:-1]
    for place, item in enumerate(items):
        digest = hashlib.blake2b(f"{seed} {place}".encode(), digest_size=8).digest()
        drawn = int.from_bytes(digest, "big") / 2**64
        yield names[sum(drawn >= end for end in ends)], item
