"""Attention in blocks: the formula written out, with the same weights dropped, forward and backward."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from glassbert.model import ATTENTION, Packed, blocks
from glassbert.model.blocks import Blocks, attend_in_blocks
from glassbert.model.dropout import draw, rate_of

HEADS, SIZE = 3, 4
LENGTHS = {
    "one": [1],
    "equal": [5, 5, 5],
    "near": [3, 4, 4, 5, 5, 7],
    "far": [1, 2, 9, 30, 31],
}


def stream(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, HEADS, SIZE, generator=generator, dtype=torch.float64).requires_grad_()


def masks(plan: Blocks, lengths: list[int], keep: Tensor) -> list[Tensor]:
    """Return what is kept of the weights of each sequence, (A, Q, n)."""
    found: list[Tensor] = []
    place = 0
    for piece in plan.pieces:
        end = place + piece.matrices * piece.queries * piece.keys
        found.extend(keep[place:end].view(piece.matrices, piece.queries, piece.keys))
        place = end
    assert place == len(keep)
    by_sequence = [torch.stack(found[i : i + HEADS]) for i in range(0, len(found), HEADS)]
    return [mask[:, : 1 if plan.first_only else n, :n].double() for mask, n in zip(by_sequence, lengths, strict=True)]


def by_hand(query: Tensor, key: Tensor, value: Tensor, lengths: list[int], kept: list[Tensor], scale: float) -> Tensor:
    contexts, begin = [], 0
    for number, (length, mask) in enumerate(zip(lengths, kept, strict=True)):
        rows = slice(begin, begin + length)
        q = query[number : number + 1] if len(query) == len(lengths) and mask.shape[1] == 1 else query[rows]
        weights = torch.einsum("qad,kad->aqk", q, key[rows]).div(math.sqrt(SIZE)).softmax(dim=-1)
        contexts.append(torch.einsum("aqk,kad->qad", weights * mask * scale, value[rows]))
        begin += length
    return torch.cat(contexts)


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("call", [0, 30, 10_000])
@pytest.mark.parametrize("piece", [1, 60, 1 << 18])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_context_and_gradients_are_those_of_the_formula(
    lengths: list[int], piece: int, call: int, first_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_CALL", call)
    monkeypatch.setattr(blocks, "_PIECE", piece)
    plan = Blocks.plan(lengths, HEADS, first_only=first_only)
    rate = rate_of(0.3)
    given = (stream(len(lengths) if first_only else sum(lengths), 0), stream(sum(lengths), 1), stream(sum(lengths), 2))
    torch.manual_seed(5)
    found = attend_in_blocks(*given, plan, rate)
    torch.manual_seed(5)
    kept = masks(plan, lengths, draw(plan.scores, rate))
    expected = by_hand(*given, lengths, kept, rate.scale)
    assert torch.allclose(found, expected, atol=1e-12)
    factors = stream(len(expected), 3).detach()
    for one, other in zip(
        torch.autograd.grad(found, given, factors), torch.autograd.grad(expected, given, factors), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("call", [0, 7, 30, 400, 10**6])
def test_the_blocks_are_the_cheapest(lengths: list[int], call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_CALL", call)

    def cost(cuts: list[tuple[int, int]]) -> int:
        return sum(call + (end - begin) * lengths[end - 1] ** 2 for begin, end in cuts)

    count = len(lengths)
    every = [
        list(itertools.pairwise((0, *inner, count)))
        for size in range(count)
        for inner in itertools.combinations(range(1, count), size)
    ]
    found = blocks._cuts(lengths)
    assert [begin for begin, _ in found[1:]] == [end for _, end in found[:-1]]
    assert (found[0][0], found[-1][1]) == (0, count)
    assert cost(found) == min(map(cost, every))


def test_equal_lengths_need_nothing_to_fill_up() -> None:
    plan = Blocks.plan([6, 6], HEADS, first_only=False)
    assert len(plan.filled) == 0
    assert [piece.hidden for piece in plan.pieces] == [None]
    assert plan.scores == 2 * HEADS * 36


def test_a_sequence_does_not_see_its_neighbours() -> None:
    lengths = LENGTHS["near"]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    layout = Packed.from_mask(mask)
    query, key, value = (stream(sum(lengths), seed).detach() for seed in range(3))
    torch.manual_seed(1)
    before, _ = ATTENTION["packed"](query, key, value, layout, dropout=0.1)
    for states in (query, key, value):
        states[-lengths[-1] :] = math.nan
    torch.manual_seed(1)
    after, _ = ATTENTION["packed"](query, key, value, layout, dropout=0.1)
    kept = sum(lengths) - lengths[-1]
    assert torch.equal(before[:kept], after[:kept])


def test_blocks_are_planned_once_for_all_layers() -> None:
    layout = Packed.from_mask(torch.ones(2, 3, dtype=torch.bool))
    assert layout.blocks(HEADS) is layout.blocks(HEADS)
    assert layout.narrow_to_first().blocks(HEADS).first_only
