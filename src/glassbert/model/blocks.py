"""Attention of a packed stream with dropout, for training on a CPU: forward and backward written out in torch.

It is what trains where the kernels in C were not built, and in other dtypes than float32 (see `stream.py`).

torch's fused kernel has no dropout on a CPU, and autograd pays for each small operation several times. So this is one
function for autograd, and what it remembers is its inputs, the weights before dropout and which of them are kept.

A matrix product takes many equal matrices at once, so sequences stand in blocks: `(k, A, n, D)`, k sequences of
nearly equal length side by side, filled up to the longest of them. Keys that fill up are masked, and queries that do
are dropped again, so a sequence never sees how long its neighbours are.

Letters: B batch, T tokens in the stream, A heads, D head size, Q queries and K keys of a block.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from glassbert.model.dropout import Rate, draw

# How many scores of a head one more block costs: its calls take as long as these.
_CALL: Final = 400
# Most scores of a piece, so that the steps from scores to context find them in the cache.
_PIECE: Final = 1 << 18


class Piece(NamedTuple):
    """Matrices of one size, side by side: heads of the sequences of a block.

    Attributes:
        matrices: how many.
        queries, keys: rows and columns of their scores.
        hidden: (matrices, 1, K) bool, true at keys that fill up; None where there are none.
    """

    matrices: int
    queries: int
    keys: int
    hidden: Tensor | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """Where the rows (T·A, D) of a stream lie in blocks.

    Attributes:
        pieces: runs of the blocks' matrices, from the first to the last.
        enter: (R,) int64, for each row of the blocks the row of the stream that it holds; where it fills up, some row
            of the same sequence.
        leave: (T·A,) int64, for each row of the stream its row in the blocks.
        filled: int64, the rows of the blocks that fill up.
        first_only: a sequence has one query.
        scores: how many there are in all.
        largest: how many the largest piece has.
    """

    pieces: tuple[Piece, ...]
    enter: Tensor
    leave: Tensor
    filled: Tensor
    first_only: bool
    scores: int
    largest: int

    @classmethod
    def plan(cls, lengths: Sequence[int], heads: int, *, first_only: bool) -> Blocks:
        """Choose the blocks of sequences in a stream.

        Args:
            lengths: of the sequences, in the order of the stream: the shortest first.
            heads: A.
            first_only: the queries are the first tokens.
        """
        sizes = [(end - begin, lengths[end - 1]) for begin, end in _cuts(lengths)]  # k, n of each block
        real = torch.tensor(lengths)  # (B,)
        full = torch.tensor([length for count, length in sizes for _ in range(count)])  # (B,)
        starts, corners = real.cumsum(0) - real, (full.cumsum(0) - full) * heads
        sequence = torch.arange(len(lengths)).repeat_interleave(real)  # (T,)
        column = torch.arange(len(sequence)) - starts[sequence]
        # Token j of a sequence, head a, lies at corner + a·n + j.
        leave = (corners[sequence] + column)[:, None] + full[sequence, None] * torch.arange(heads)
        enter = (starts * heads).repeat_interleave(full * heads)
        real_row = torch.zeros(len(enter), dtype=torch.bool)
        real_row[leave.flatten()] = True
        enter[leave.flatten()] = torch.arange(leave.numel())
        pieces = tuple(_pieces(sizes, real, heads, first_only=first_only))
        scores = [piece.matrices * piece.queries * piece.keys for piece in pieces]
        return cls(
            pieces=pieces,
            enter=enter,
            leave=leave.flatten(),
            filled=(~real_row).nonzero().flatten(),
            first_only=first_only,
            scores=sum(scores),
            largest=max(scores),
        )

    def to_blocks(self, stream: Tensor) -> Tensor:
        """(T, A, D) -> (R, D)."""
        return stream.reshape(-1, stream.shape[-1]).index_select(0, self.enter)

    def to_stream(self, rows: Tensor, heads: int) -> Tensor:
        """(R, D) -> (T, A, D)."""
        return rows.index_select(0, self.leave).view(-1, heads, rows.shape[-1])

    def queries_to_blocks(self, stream: Tensor) -> Tensor:
        """Bring queries, or what belongs to them, into blocks: one query of a sequence stands there as it is."""
        return stream.reshape(-1, stream.shape[-1]) if self.first_only else self.to_blocks(stream)

    def queries_to_stream(self, rows: Tensor, heads: int) -> Tensor:
        """Bring them back."""
        return rows.view(-1, heads, rows.shape[-1]) if self.first_only else self.to_stream(rows, heads)

    def walk(
        self, scores: Sequence[Tensor], queries: Sequence[Tensor], keys: Sequence[Tensor]
    ) -> Iterator[tuple[Piece, list[Tensor], list[Tensor], list[Tensor]]]:
        """Go through the pieces.

        Yields:
            the piece; a view (m, Q, K) of each of `scores`, which are flat; a view (m, Q, D) of each of `queries` and
            (m, K, D) of each of `keys`, which are rows of blocks.
        """
        size = queries[0].shape[-1]
        score = query = key = 0
        for piece in self.pieces:
            m, q, k, _ = piece
            yield (
                piece,
                [values[score : score + m * q * k].view(m, q, k) for values in scores],
                [rows[query : query + m * q].view(m, q, size) for rows in queries],
                [rows[key : key + m * k].view(m, k, size) for rows in keys],
            )
            score, query, key = score + m * q * k, query + m * q, key + m * k


def _cuts(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Choose the cheapest blocks, from begin to end, of lengths in rising order: few of them, and little filled up."""
    ends = [place for place in range(1, len(lengths)) if lengths[place] != lengths[place - 1]] + [len(lengths)]
    best, cut = [0], [0]  # the cost of the first runs of equal length, and where their last block begins
    for last, end in enumerate(ends):
        length, waste = lengths[end - 1], 0
        cost, begin = best[last] + _CALL, last
        for run in range(last - 1, -1, -1):
            first = ends[run - 1] if run else 0
            more = (ends[run] - first) * (length**2 - lengths[ends[run] - 1] ** 2)
            if more > _CALL:
                break  # cheaper in a block of its own, and so is all before it
            waste += more
            if best[run] + waste + _CALL < cost:
                cost, begin = best[run] + waste + _CALL, run
        best.append(cost)
        cut.append(begin)
    found, last = [], len(ends)
    while last:
        first = cut[last]
        found.append((ends[first - 1] if first else 0, ends[last - 1]))
        last = first
    return found[::-1]


def _pieces(sizes: Sequence[tuple[int, int]], real: Tensor, heads: int, *, first_only: bool) -> Iterator[Piece]:
    first = 0
    for count, length in sizes:
        own = real[first : first + count]
        first += count
        hidden = None
        if int(own[0]) < length:
            # (k, n) -> (k·A, 1, n)
            hidden = (torch.arange(length) >= own[:, None]).repeat_interleave(heads, dim=0)[:, None]
        queries, step = 1 if first_only else length, max(1, _PIECE // length**2)
        for begin in range(0, count * heads, step):
            some = min(step, count * heads - begin)
            yield Piece(some, queries, length, None if hidden is None else hidden[begin : begin + some])


def attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, blocks: Blocks, rate: Rate) -> Tensor:
    """Return softmax(QKᵀ / √D), with dropout, times V; it can be differentiated once.

    Args:
        query: (T, A, D), or (B, A, D) where there is one for each sequence, in the order of the stream.
        key: (T, A, D).
        value: (T, A, D).
        blocks: how the sequences stand.
        rate: of dropout.
    """
    context: Tensor = _BlockAttention.apply(query, key, value, blocks, rate)  # type: ignore[no-untyped-call]
    return context


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, blocks: Blocks, rate: Rate) -> Tensor:
        q, k, v = blocks.queries_to_blocks(query), blocks.to_blocks(key), blocks.to_blocks(value)
        weights, keep, context = q.new_empty(blocks.scores), draw(blocks.scores, rate), torch.empty_like(q)
        # One piece after the other in the same memory, which stays in the cache.
        scratch = q.new_empty(blocks.largest)
        for piece, (w, kept), (qs, made), (ks, vs) in blocks.walk((weights, keep), (q, context), (k, v)):
            _product(qs, ks.mT, w, 1.0 / math.sqrt(q.shape[-1]))
            if piece.hidden is not None:
                w.masked_fill_(piece.hidden, -math.inf)
            torch.softmax(w, -1, out=w)
            dropped = scratch[: w.numel()].view(w.shape).copy_(kept).mul_(w)
            _product(dropped, vs, made, rate.scale)
        ctx.save_for_backward(q, k, v, weights, keep)
        ctx.blocks, ctx.rate = blocks, rate
        return blocks.queries_to_stream(context, query.shape[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, keep = ctx.saved_tensors
        blocks, rate, heads = ctx.blocks, ctx.rate, gradient.shape[1]
        g = blocks.queries_to_blocks(gradient)
        if not blocks.first_only:
            g.index_fill_(0, blocks.filled, 0.0)  # a query that fills up has told nobody anything
        by_q, by_k, by_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        scratch = q.new_empty(2, blocks.largest)
        factor = 1.0 / math.sqrt(q.shape[-1])
        for _, (w, kept), (qs, gs, dq), (ks, vs, dk, dv) in blocks.walk(
            (weights, keep), (q, g, by_q), (k, v, by_k, by_v)
        ):
            by_weights, dropped = scratch[:, : w.numel()].view(2, *w.shape)
            dropped.copy_(kept)
            _product(gs, vs.mT, by_weights, rate.scale).mul_(dropped)
            _product(dropped.mul_(w).mT, gs, dv, rate.scale)
            by_scores = torch._softmax_backward_data(by_weights, w, -1, w.dtype, grad_input=by_weights)
            _product(by_scores, ks, dq, factor)
            _product(by_scores.mT, qs, dk, factor)
        by_query = blocks.queries_to_stream(by_q, heads)
        return by_query, blocks.to_stream(by_k, heads), blocks.to_stream(by_v, heads), None, None


def _product(one: Tensor, other: Tensor, out: Tensor, factor: float) -> Tensor:
    """Write factor · one · other into `out`."""
    return torch.baddbmm(out, one, other, beta=0, alpha=factor, out=out)
