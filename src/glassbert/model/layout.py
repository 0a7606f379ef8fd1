"""Where tokens lie and which of them see each other: the two layouts of a batch.

Linear, LayerNorm and GELU act on each token alone, so they take `(B, S, H)` and `(T, H)` alike. Only two
places care where a sentence begins: attention, and a head's choice of rows. They ask the layout; nobody else does.

- `Padded` keeps `(B, S, H)` as it is. It is what tracing and export take, and what masks of three dimensions, caches
  and cross-attention need.
- `Packed` is a flat stream `(T, H)` of the real tokens. Padding is squeezed out once on the way in and put
  back as zeros once on the way out; between, nothing is computed for it. Sequences of one length lie side by
  side in the stream, so attention views each such group as `(k, n, …)` without copying a token.

A head that reads few rows lets the last layer compute no others, in one of two ways: first tokens alone are narrowed
before attention (`narrow_to_first`); any other places are picked after it (`narrow_to`), beside the first tokens.

Letters: B batch, S sequence, T tokens in the stream, H hidden, A heads, D head size, Q queries, K keys.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from abc import ABC, abstractmethod
from typing import Final, Literal, NamedTuple, Self, final

import torch
from torch import Tensor

from glassbert import native
from glassbert.errors import InputError
from glassbert.model.blocks import Blocks

PaddedBackend = Literal["eager", "sdpa"]
PackedBackend = Literal["packed", "varlen"]

# In a mask that is added to scores, what lies below hides a key: peers write -10,000, -1e9 or the lowest number.
_HIDDEN: Final = -9_000.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Layout(ABC):
    """What attention and heads may ask about where tokens lie.

    Attributes:
        shape: (B, S) of the batch.
        first_only: the queries are the first tokens.
        picked: (B + N,) int64, after `narrow_to`: places in this layout's rows of the first tokens and of the N
            places that were asked for.
    """

    shape: tuple[int, int]
    first_only: bool = False
    picked: Tensor | None = None

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
        """Return the rows that attend: all, or the first tokens after `narrow_to_first`."""

    @abstractmethod
    def narrow_to(self, asked: Tensor) -> Self:
        """Return this layout with first tokens and the true places of `asked` (B, S) picked after attention."""

    def narrow_to_first(self) -> Self:
        """Return this layout with only first tokens as queries; keys and values stay all."""
        return dataclasses.replace(self, first_only=True)

    def pick(self, attended: Tensor) -> Tensor:
        """Return the rows, of those that attended, that the rest of a layer computes."""
        return attended if self.picked is None else self._flat(attended).index_select(0, self.picked)

    def asked(self, stream: Tensor, places: Tensor) -> Tensor:
        """Return the rows (N, …) at the true places of `places` (B, S), in the order of the batch."""
        if self.picked is not None:
            return stream[self.shape[0] :]
        return self.leave(stream)[places]

    @abstractmethod
    def _flat(self, stream: Tensor) -> Tensor: ...


@final
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Padded(Layout):
    """`(B, S, …)`, padding included.

    Attributes:
        mask: bool, broadcastable to (B, A, Q, K), true where a query sees a key; None where all is seen.
        bias: of the same shapes, added to the scores; None where nothing is.
        keys: K: the sequence, and what a cache holds before it.
        backend: the function that attends.
    """

    mask: Tensor | None
    keys: int
    bias: Tensor | None = None
    backend: PaddedBackend = "sdpa"

    @classmethod
    def from_mask(
        cls,
        mask: Tensor | None,
        *,
        shape: tuple[int, int],
        keys: int | None = None,
        causal: bool = False,
        backend: PaddedBackend = "sdpa",
        device: torch.device | None = None,
    ) -> Padded:
        """Build from a bool mask (B, K) or (B, Q, K), true where a key may be seen; None means all.

        Args:
            mask: of two dimensions, it says which keys are real; of three, it is taken as it is.
            shape: (B, Q).
            keys: K; as many as queries where not given.
            causal: a query sees no key after it, unless `mask` has three dimensions. The last query stands at the last
                key, so a cache lies before all queries.
            backend: the function that attends.
            device: where a mask is made, if none is given.
        """
        length = shape[1]
        keys = length if keys is None else keys
        seen = None
        if mask is not None:
            # (B, K) -> (B, 1, 1, K): the same keys for all heads and queries; (B, Q, K) -> (B, 1, Q, K)
            seen = mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]
        if causal and (mask is None or mask.dim() == 2):
            at = torch.arange(keys, device=device if mask is None else mask.device)
            before = at <= at[keys - length :, None]  # (Q, K)
            seen = before[None, None] if seen is None else seen & before
        return cls(mask=seen, shape=shape, keys=keys, backend=backend)

    @classmethod
    def from_extended(cls, mask: Tensor, *, shape: tuple[int, int], keys: int) -> Padded:
        """Build from a mask that is ready for the scores, broadcastable to (B, A, Q, K).

        Of dtype bool it is true where a key is seen; else it is added to the scores, and what is below -9,000 hides.

        Raises:
            InputError: whole numbers: a mask of ones and zeros is not ready for the scores.
        """
        if not (mask.dtype == torch.bool or mask.is_floating_point()):
            raise InputError(
                f"the mask holds {mask.dtype}, expected bool (B, 1, 1, K) or floats to be added to the scores; "
                "a model's get_extended_attention_mask makes them of ones and zeros"
            )
        if mask.dtype == torch.bool:
            return cls(mask=mask, shape=shape, keys=keys)
        seen = mask > _HIDDEN
        return cls(mask=seen, bias=mask.masked_fill(~seen, 0.0), shape=shape, keys=keys)

    def enter(self, values: Tensor) -> Tensor:
        """Return `values` as they are."""
        return values

    def leave(self, stream: Tensor) -> Tensor:
        """Return `stream` as it is, with zeros for the rows that were left out."""
        batch, length = self.shape
        if self.picked is not None:
            full = stream.new_zeros(batch * length, *stream.shape[1:])
            padded: Tensor = full.index_copy(0, self.picked, stream).unflatten(0, (batch, length))
            return padded
        if self.first_only:
            full = stream.new_zeros(batch, length, *stream.shape[2:])
            return torch.cat((stream, full[:, 1:]), dim=1)
        return stream

    def first(self, stream: Tensor) -> Tensor:
        """Return `(B, 1, …)`."""
        return stream[: self.shape[0], None] if self.picked is not None else stream[:, :1]

    def queries(self, stream: Tensor) -> Tensor:
        """Return the first token of each sequence after `narrow_to_first`, else all."""
        return stream[:, :1] if self.first_only else stream

    def visible(self, mask: Tensor | None) -> Tensor | None:
        """Return `mask` or `bias` for the queries, (…, Q, K)."""
        return mask[..., :1, :] if self.first_only and mask is not None else mask

    def distances(self, device: torch.device) -> Tensor:
        """(1, 1, Q, K) int64: how far after each key a query stands."""
        at = torch.arange(self.keys, device=device)
        queries = at[self.keys - self.shape[1] :]
        queries = queries[:1] if self.first_only else queries
        return (queries[:, None] - at)[None, None]

    def narrow_to(self, asked: Tensor) -> Padded:
        """Return this layout with the first tokens and `asked` picked after attention."""
        batch, length = self.shape
        firsts = torch.arange(batch, device=asked.device) * length
        return dataclasses.replace(self, picked=torch.cat((firsts, asked.flatten().nonzero().flatten())))

    def _flat(self, stream: Tensor) -> Tensor:
        return stream.flatten(0, 1)


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
        causal: a query sees no key after it.
        backend: the function that attends.
    """

    rows: Tensor
    starts: Tensor
    groups: tuple[Group, ...]
    keys: Tensor | None
    causal: bool = False
    backend: PackedBackend = "packed"

    @classmethod
    def from_mask(
        cls,
        mask: Tensor,
        *,
        asked: Tensor | None = None,
        causal: bool = False,
        backend: PackedBackend = "packed",
    ) -> Packed:
        """Build from a bool mask (B, S), true at real tokens.

        Pooler and classifiers read the first token of every sequence, so that one is in the stream even
        where it is masked (texts padded on the left, texts of nothing but padding); so is what is true in `asked`.
        """
        batch, length = mask.shape
        if bool(mask.all()):
            return cls.whole((batch, length), device=mask.device, causal=causal, backend=backend)
        # What is asked for nearly always is real; then the stream is one of real tokens, with all that is quick.
        kept = mask if asked is None or not bool((asked & ~mask).any()) else mask | asked
        if not bool(kept[:, 0].all()):
            kept = kept.clone()
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
        return cls(
            rows=rows, starts=starts, groups=groups, keys=keys, shape=(batch, length), causal=causal, backend=backend
        )

    @classmethod
    def whole(
        cls,
        shape: tuple[int, int],
        *,
        device: torch.device | None = None,
        causal: bool = False,
        backend: PackedBackend = "packed",
    ) -> Packed:
        """Build where all tokens of a batch (B, S) are real: the stream is the batch as it came."""
        batch, length = shape
        return cls(
            rows=torch.arange(batch * length, device=device),
            starts=torch.arange(0, batch * length, length, device=device),
            groups=(Group(batch, length),),
            keys=None,
            shape=shape,
            causal=causal,
            backend=backend,
        )

    def blocks(self, heads: int) -> Blocks:
        """Return how the stream stands in blocks, planned once."""
        if heads not in self._blocks:
            self._blocks[heads] = Blocks.plan(self.lengths, heads, first_only=self.first_only)
        return self._blocks[heads]

    @functools.cached_property
    def in_stream(self) -> native.Sequences:
        """Where sequences lie, in the terms of the kernels in C."""
        starts = torch.tensor([0, *itertools.accumulate(self.lengths)], device="cpu")
        return native.Sequences(starts, self.lengths[-1], self.first_only)

    @functools.cached_property
    def lengths(self) -> list[int]:
        """Tokens of each sequence, in the order of the stream: the shortest first."""
        return [group.length for group in self.groups for _ in range(group.sequences)]

    @property
    def _is_whole(self) -> bool:
        """Whether the stream is the batch as it came: without padding all lengths are equal, and keep their order."""
        return self.groups[0].length == self.shape[1]

    @functools.cached_property
    def _blocks(self) -> dict[int, Blocks]:
        return {}

    def enter(self, values: Tensor) -> Tensor:
        """(B, S, …) -> (T, …), in a row in memory."""
        flat = values.flatten(0, 1)
        return flat.contiguous() if self._is_whole else flat.index_select(0, self.rows)

    def leave(self, stream: Tensor) -> Tensor:
        """(T, …) -> (B, S, …), zeros at padding and at rows that were left out."""
        batch, length = self.shape
        if self._is_whole and self.picked is None and not self.first_only:
            whole: Tensor = stream.unflatten(0, self.shape)
            return whole
        full = stream.new_zeros(batch * length, *stream.shape[1:])
        rows = self.pick(self.queries(self.rows))
        padded: Tensor = full.index_copy(0, rows, stream).unflatten(0, (batch, length))
        return padded

    def first(self, stream: Tensor) -> Tensor:
        """(T, …) -> (B, 1, …)."""
        if self.picked is not None or (self.first_only and len(self.groups) == 1):
            return stream[: self.shape[0], None]  # they stand there in that order already
        # How many sequences stand before each in the stream, or how many tokens.
        places = self.starts.argsort().argsort() if self.first_only else self.starts
        return stream.index_select(0, places)[:, None]

    def sequences(self, stream: Tensor) -> list[Tensor]:
        """(T, …) -> a view (n, …) of each sequence, in the order of the batch."""
        if len(self.lengths) == 1:
            return [stream]
        starts = self.starts.tolist()
        views = dict(zip(sorted(starts), stream.split(self.lengths), strict=True))
        return [views[start] for start in starts]

    def queries(self, stream: Tensor) -> Tensor:
        """Return the first tokens, in the order of the stream, after `narrow_to_first`, else all."""
        return stream.index_select(0, self.starts.sort().values) if self.first_only else stream

    def columns(self) -> Tensor:
        """(T,) int64, the place of each token in its padded sequence."""
        return self.rows % self.shape[1]

    def narrow_to(self, asked: Tensor) -> Packed:
        """Return this layout with the first tokens and `asked` picked after attention."""
        batch, length = self.shape
        place = self.rows.new_empty(batch * length)
        place[self.rows] = torch.arange(self.rows.shape[0], device=self.rows.device)
        return dataclasses.replace(self, picked=torch.cat((self.starts, place[asked.flatten()])))

    def _flat(self, stream: Tensor) -> Tensor:
        return stream
