"""Where tokens lie: the two layouts of a batch.

Linear, LayerNorm and GELU act on each token alone, so they take `(B, S, H)` and `(T, H)` alike. Only
three places care where a sentence begins: the embeddings, attention, and a head's choice of rows. They ask
the layout; nobody else does.

- `Padded` keeps `(B, S, H)` as it is. It is what tracing and export take.
- `Packed` is a flat stream `(T, H)` of the real tokens. Padding is squeezed out once on the way in and put
  back as zeros once on the way out; between, nothing is computed for it. Sequences of one length lie side by
  side in the stream, so attention views each such group as `(k, n, …)` without copying a token.

Letters: B batch, S sequence, T tokens in the stream, H hidden, A heads, D head size.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import NamedTuple, final

import torch
from torch import Tensor


class Layout(ABC):
    """What embeddings, attention and heads may ask about where tokens lie."""

    @abstractmethod
    def enter(self, values: Tensor) -> Tensor:
        """Bring `(B, S, …)` into this layout."""

    @abstractmethod
    def leave(self, stream: Tensor) -> Tensor:
        """Bring a stream of this layout back to `(B, S, …)`; rows that were not computed are zeros."""

    @abstractmethod
    def first(self, stream: Tensor) -> Tensor:
        """Return the first token's row of every sequence, `(B, 1, …)`, in the order of the batch."""

    @abstractmethod
    def queries(self, stream: Tensor) -> Tensor:
        """Return the rows that the next layer computes: all, unless `narrow` chose fewer."""

    @abstractmethod
    def narrow(self) -> Layout:
        """Return this layout with only first tokens as queries; keys and values stay all."""


@final
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Padded(Layout):
    """`(B, S, …)`, padding included.

    Attributes:
        mask: bool, broadcastable to (B, A, S, S), true where a query sees a key; None where all is seen.
        length: S.
        first_only: the queries are the first tokens.
    """

    mask: Tensor | None
    length: int
    first_only: bool = False

    @classmethod
    def from_mask(cls, mask: Tensor | None, *, length: int) -> Padded:
        """Build from a mask (B, S), true at real tokens; None means that all are real."""
        # (B, S) -> (B, 1, 1, S): the same keys for all heads and queries.
        return cls(mask=None if mask is None else mask[:, None, None, :], length=length)

    def enter(self, values: Tensor) -> Tensor:
        """Return `values` as they are."""
        return values

    def leave(self, stream: Tensor) -> Tensor:
        """Return `stream` as it is, with zeros for the rows that `narrow` left out."""
        if not self.first_only:
            return stream
        full = stream.new_zeros(stream.shape[0], self.length, *stream.shape[2:])
        return torch.cat((stream, full[:, 1:]), dim=1)

    def first(self, stream: Tensor) -> Tensor:
        """Return `(B, 1, …)`."""
        return stream[:, :1]

    def queries(self, stream: Tensor) -> Tensor:
        """Return the first token of each sequence after `narrow`, else all."""
        return stream[:, :1] if self.first_only else stream

    def narrow(self) -> Padded:
        """Return this layout with the first tokens as queries."""
        return dataclasses.replace(self, first_only=True)


class Group(NamedTuple):
    """Sequences of one length, side by side in the stream: `sequences` times `length` tokens."""

    sequences: int
    length: int


@final
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Packed(Layout):
    """`(T, …)`: the real tokens of all sequences, shortest sequence first.

    Attributes:
        rows: (T,) int64, place of each token of the stream in the flattened batch (B·S).
        starts: (B,) int64, place in the stream of each sequence's first token, in the order of the batch.
        groups: runs of equal length that fill the stream from its beginning to its end.
        keys: (T,) bool, false at a token that is computed although it is masked, so that none attends to
            it; None where the stream holds real tokens only.
        shape: (B, S).
        first_only: the queries are the first tokens.
    """

    rows: Tensor
    starts: Tensor
    groups: tuple[Group, ...]
    keys: Tensor | None
    shape: tuple[int, int]
    first_only: bool = False

    @classmethod
    def from_mask(cls, mask: Tensor) -> Packed:
        """Build from a bool mask (B, S), true at real tokens.

        Pooler and classifiers read the first token of every sequence, so that one is in the stream even
        where it is masked (texts padded on the left, texts of nothing but padding).
        """
        batch, length = mask.shape
        kept = mask
        if not bool(mask[:, 0].all()):
            kept = mask.clone()
            kept[:, 0] = True
        lengths = kept.sum(dim=1)
        lengths_sorted, order = lengths.sort(stable=True)
        # (B, S) -> (T,): sequence by sequence in sorted order, places counted in the batch as it came.
        sequence, column = kept[order].nonzero(as_tuple=True)
        rows = order[sequence] * length + column
        starts = torch.empty_like(lengths)
        starts[order] = lengths_sorted.cumsum(0) - lengths_sorted
        sizes, counts = lengths_sorted.unique_consecutive(return_counts=True)
        groups = tuple(Group(k, n) for n, k in zip(sizes.tolist(), counts.tolist(), strict=True))
        keys = None if kept is mask else mask.reshape(-1)[rows]
        return cls(rows=rows, starts=starts, groups=groups, keys=keys, shape=(batch, length))

    def enter(self, values: Tensor) -> Tensor:
        """(B, S, …) -> (T, …)."""
        return values.flatten(0, 1).index_select(0, self.rows)

    def leave(self, stream: Tensor) -> Tensor:
        """(T, …) -> (B, S, …), zeros at padding; after `narrow`, zeros at all but the first tokens."""
        batch, length = self.shape
        full = stream.new_zeros(batch * length, *stream.shape[1:])
        rows = self.queries(self.rows)
        padded: Tensor = full.index_copy(0, rows, stream).unflatten(0, (batch, length))
        return padded

    def first(self, stream: Tensor) -> Tensor:
        """(T, …) -> (B, 1, …)."""
        places = self._places() if self.first_only else self.starts
        return stream.index_select(0, places)[:, None]

    def sequences(self, stream: Tensor) -> list[Tensor]:
        """(T, …) -> a view (n, …) of each sequence, in the order of the batch."""
        lengths = [group.length for group in self.groups for _ in range(group.sequences)]
        in_stream = stream.split(lengths)
        return [in_stream[place] for place in self._places().tolist()]

    def _places(self) -> Tensor:
        """(B,) int64, how many sequences stand before each sequence of the batch in the stream."""
        return self.starts.argsort().argsort()

    def queries(self, stream: Tensor) -> Tensor:
        """Return the first tokens, in the order of the stream, after `narrow`, else all."""
        return stream.index_select(0, self.starts.sort().values) if self.first_only else stream

    def narrow(self) -> Packed:
        """Return this layout with the first tokens as queries."""
        return dataclasses.replace(self, first_only=True)
