"""Probabilities of pieces → probabilities of words, by hand and beside a slow way."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from glassbert.tasks.pieces import scores_of_words

# Two words of two pieces each, and one of one.
PIECES = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.75, 0.25], [0.0, 1.0], [0.125, 0.875]])
FIRSTS = torch.tensor([0, 2, 4])


@pytest.mark.parametrize(
    ("grouping", "expected"),
    [
        ("first", [[0.5, 0.5], [0.75, 0.25], [0.125, 0.875]]),
        ("average", [[0.375, 0.625], [0.375, 0.625], [0.125, 0.875]]),
        ("max", [[0.25, 0.75], [0.0, 1.0], [0.125, 0.875]]),
    ],
)
def test_words_by_hand(grouping: Any, expected: list[list[float]]) -> None:
    assert scores_of_words(PIECES, FIRSTS, grouping).tolist() == expected


def test_of_equally_sure_pieces_the_first_answers() -> None:
    pieces = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.75, 0.25], [0.75, 0.25], [0.25, 0.75]])
    assert scores_of_words(pieces, torch.tensor([0, 3]), "max").tolist() == [[0.25, 0.75], [0.75, 0.25]]


@pytest.mark.parametrize("grouping", ["first", "average", "max"])
def test_a_slow_way_gives_the_same(grouping: Any) -> None:
    chance = random.Random(1)
    for _ in range(50):
        counts = [chance.randint(1, 4) for _ in range(chance.randint(1, 9))]
        # Few different values, so that several pieces are equally sure.
        scores = [[chance.choice([1.0, 2.0, 3.0]) for _ in range(3)] for _ in range(sum(counts))]
        firsts = [sum(counts[:number]) for number in range(len(counts))]
        expected = []
        for first, count in zip(firsts, counts, strict=True):
            word = scores[first : first + count]
            if grouping == "average":
                expected.append([sum(column) / count for column in zip(*word, strict=True)])
            else:
                expected.append(word[0] if grouping == "first" else max(word, key=max))
        found = scores_of_words(torch.tensor(scores), torch.tensor(firsts), grouping)
        torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("grouping", ["first", "average", "max"])
def test_no_words(grouping: Any) -> None:
    nothing = torch.tensor([], dtype=torch.int64)
    assert scores_of_words(torch.empty(0, 3), nothing, grouping).shape == (0, 3)
