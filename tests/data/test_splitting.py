from __future__ import annotations

import pytest

from glassbert import InputError
from glassbert.data import split

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def test_every_item_is_in_one_part_and_every_pass_the_same() -> None:
    first = list(split(range(10_000), SHARES))
    assert [item for _, item in first] == list(range(10_000))
    assert list(split(iter(range(10_000)), SHARES)) == first
    counts = {name: sum(part == name for part, _ in first) for name in SHARES}
    # Four standard deviations of 30.
    assert abs(counts["validation"] - 1000) < 120 > abs(counts["test"] - 1000)
    assert sum(counts.values()) == 10_000


def test_the_parts_do_not_depend_on_what_follows() -> None:
    assert list(split(range(100), SHARES)) == list(split(range(1000), SHARES))[:100]


def test_the_seed_decides() -> None:
    parts = [[part for part, _ in split(range(1000), {"a": 0.5, "b": 0.5}, seed=seed)] for seed in range(3)]
    for one in range(3):
        same = sum(x == y for x, y in zip(parts[one], parts[one - 1], strict=True))
        assert 400 < same < 600


def test_the_parts_are_these() -> None:
    # The same on every machine and in every version.
    assert "".join(part for part, _ in split(range(20), {"a": 0.7, "b": 0.3}, seed=1)) == "ababaaaabaabbaaaabab"


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 0.5, "b": 0.6}, {"a": 1.0, "b": 0.0}, {"a": 2.0, "b": -1.0}])
def test_shares_that_are_not_one_together(shares: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected numbers more than 0 that are 1 together"):
        split([], shares)


def test_one_part_takes_all() -> None:
    assert list(split("ab", {"all": 1.0})) == [("all", "a"), ("all", "b")]
