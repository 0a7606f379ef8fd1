"""Attention as pure functions of one signature, in one table.

Each takes queries, keys and values with their heads split, `(…, A, D)`, in the layout's own shape, and
returns the context in the shape of the queries. `eager` also returns the weights. A query that sees no key
at all gets a context of zeros on every backend, so padding never leaks into an answer and nothing is NaN.

| backend | layout | what it can | what it cannot |
| --- | --- | --- | --- |
| `eager` | padded | everything, and it alone returns the weights | – |
| `sdpa` | padded | everything else | weights |
| `packed` | packed | self-attention: causal, relative positions, dropout | weights, 3-D masks, cache, cross-attention |
| `varlen` | packed | self-attention: causal; CUDA, float16 or bfloat16 | the same, relative positions, dropout |

What a call needs and the chosen backend cannot, another one computes: `backend_for` says which.

Source: scaled dot-product attention of arXiv 1706.03762, section 3.2; relative positions of arXiv 1803.02155 (by the
query) and arXiv 2009.13658 (by query and key).
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert import native
from glassbert.errors import InputError
from glassbert.model.blocks import attend_in_blocks
from glassbert.model.dropout import drawable, dropping_of, rate_of
from glassbert.model.layout import Layout, Packed, PackedBackend, Padded, PaddedBackend
from glassbert.model.stream import attend_in_stream

AttentionBackend = Literal["eager", "sdpa", "packed", "varlen"]


class Relative(NamedTuple):
    """What distances between places add to the scores.

    Attributes:
        table: (2P - 1, D), one row for each distance from -(P - 1) to P - 1.
        with_keys: keys are multiplied with the rows too (relative_key_query), not queries alone (relative_key).
    """

    table: Tensor
    with_keys: bool

    def scores(self, query: Tensor, key: Tensor, distances: Tensor, reach: int) -> Tensor:
        """Return what is added to Q·Kᵀ, (b, A, Q, K).

        Args:
            query: (b, A, Q, D).
            key: (b, A, K, D).
            distances: (b or 1, 1, Q, K), each between -reach and reach.
            reach: no distance is larger.
        """
        middle = self.table.shape[0] // 2
        near = self.table[middle - reach : middle + reach + 1].to(query.dtype)  # (2·reach + 1, D)
        index = distances + reach
        # Each token times all near rows, then the row that belongs to each pair; (b, A, Q, 2·reach + 1) -> (b, A, Q, K)
        added = (query @ near.T).gather(-1, index.expand(*query.shape[:2], -1, -1))
        if self.with_keys:
            by_key = (key @ near.T).gather(-1, index.transpose(-1, -2).expand(*key.shape[:2], -1, -1))  # (b, A, K, Q)
            added = added + by_key.transpose(-1, -2)
        return added


class AttentionFunction(Protocol):
    """The one signature; `weights` is None where a backend does not form them."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layout: Layout,
        *,
        dropout: float,
        relative: Relative | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context, in the shape of `query`, and the weights (B, A, Q, K) or None."""


def eager(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, dropout: float, relative: Relative | None = None
) -> tuple[Tensor, Tensor | None]:
    """Write the formula out: softmax(QKᵀ / √D) V over a padded batch, weights kept."""
    assert isinstance(layout, Padded)
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))  # (B, S, A, D) -> (B, A, S, D)
    scores = query @ key.transpose(-1, -2)  # (B, A, Q, K)
    if relative is not None:
        scores = scores + relative.scores(query, key, layout.distances(query.device), layout.keys - 1)
    scores = scores / math.sqrt(query.shape[-1])
    mask, bias = layout.visible(layout.mask), layout.visible(layout.bias)
    if bias is not None:
        scores = scores + bias
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        # The lowest finite number in place of -inf keeps a row without any key finite, forward and
        # backward; the product then makes it the zeros that it should be.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1) * mask
    weights = F.dropout(weights, dropout, training=dropout > 0.0)
    context = (weights @ value).transpose(1, 2)  # (B, A, Q, D) -> (B, Q, A, D)
    return context, weights


def sdpa(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, dropout: float, relative: Relative | None = None
) -> tuple[Tensor, None]:
    """Leave a padded batch to torch's fused kernel."""
    assert isinstance(layout, Padded)
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))  # (B, S, A, D) -> (B, A, S, D)
    mask, bias = layout.visible(layout.mask), layout.visible(layout.bias)
    if relative is not None:
        added = relative.scores(query, key, layout.distances(query.device), layout.keys - 1)
        added = added / math.sqrt(query.shape[-1])
        bias = added if bias is None else added + bias
    if bias is not None:
        # The kernel takes one mask, which it adds.
        mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    return context.transpose(1, 2), None


def packed(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, dropout: float, relative: Relative | None = None
) -> tuple[Tensor, None]:
    """Run torch's fused kernel once for each group of equally long sequences: no padding and, mostly, no mask.

    On a CPU, where that kernel has no dropout, kernels of our own train on the stream as it is (`stream.py`), or, where
    those were not built, sequences of nearly equal length share a block (`blocks.py`).
    """
    assert isinstance(layout, Packed)
    heads, size = query.shape[-2:]
    plain = relative is None and not layout.causal and layout.keys is None
    drawn = dropout > 0.0 and drawable(query, dropout)
    trained = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    if plain and (drawn or (trained and dropout == 0.0)) and native.takes(query, key, value):
        dropping = dropping_of(dropout) if drawn else native.KEEP_ALL
        return attend_in_stream(query, key, value, layout.in_stream, dropping), None
    if plain and drawn:
        return attend_in_blocks(query, key, value, layout.blocks(heads), rate_of(dropout)), None
    key_counts = [group.sequences * group.length for group in layout.groups]
    query_counts = [group.sequences for group in layout.groups] if layout.first_only else key_counts
    seen = [None] * len(layout.groups) if layout.keys is None else layout.keys.split(key_counts)
    columns = [None] * len(layout.groups) if relative is None else layout.columns().split(key_counts)
    contexts = []
    for group, q, k, v, real, at in zip(
        layout.groups,
        query.split(query_counts),
        key.split(key_counts),
        value.split(key_counts),
        seen,
        columns,
        strict=True,
    ):
        # (k·n, A, D) -> (k, A, n, D)
        q, k, v = (states.unflatten(0, (group.sequences, -1)).transpose(1, 2) for states in (q, k, v))
        mask = None if real is None else real.view(group.sequences, 1, 1, group.length)
        if layout.causal and q.shape[2] > 1:
            after = torch.ones(group.length, group.length, dtype=torch.bool, device=q.device).triu(1)
            mask = ~after if mask is None else mask & ~after
        elif layout.causal and layout.first_only and group.length > 1:
            only = torch.arange(group.length, device=q.device) == 0  # the first token sees itself alone
            mask = only[None, None, None] if mask is None else mask & only
        bias = None
        if relative is not None and at is not None:
            at = at.view(group.sequences, 1, group.length, 1)
            distances = (at[:, :, :1] if layout.first_only else at) - at.transpose(-1, -2)  # (k, 1, Q, n)
            bias = relative.scores(q, k, distances, layout.shape[1] - 1) / math.sqrt(size)
        if dropout > 0.0 and mask is None:
            # On a CPU torch's kernel falls back to a chain of operations with dropout; this chain is shorter.
            scores = (q / math.sqrt(size)) @ k.transpose(-1, -2)
            weights = (scores if bias is None else scores + bias).softmax(dim=-1)
            context = F.dropout(weights, dropout) @ v
        else:
            if bias is not None:
                mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        contexts.append(context.transpose(1, 2).reshape(-1, heads, size))  # (k, A, n, D) -> (k·n, A, D)
    return torch.cat(contexts), None


def varlen(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, dropout: float, relative: Relative | None = None
) -> tuple[Tensor, None]:
    """Run torch's flash kernel for sequences of different lengths, once for the whole stream.

    Raises:
        InputError: anything but float16 or bfloat16 on CUDA, dropout of attention weights, relative positions, or
            masked first tokens of a causal model.
    """
    assert isinstance(layout, Packed)
    if query.device.type != "cuda" or query.dtype not in (torch.float16, torch.bfloat16):
        raise InputError(
            f"attention_backend 'varlen' runs float16 and bfloat16 on CUDA; this is {query.dtype} on "
            f"{query.device.type}; choose 'packed'"
        )
    if dropout > 0.0 or relative is not None:
        what = "dropout of attention weights" if dropout > 0.0 else "relative positions"
        raise InputError(f"attention_backend 'varlen' has no {what}; choose 'packed'")
    if layout.causal and (layout.keys is not None or layout.first_only):
        raise InputError("attention_backend 'varlen' takes no masked tokens in a causal model; choose 'packed'")
    return _flash(query, key, value, layout), None


def _flash(query: Tensor, key: Tensor, value: Tensor, layout: Packed) -> Tensor:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        raise InputError(f"torch {torch.__version__} has no kernel for 'varlen'; choose 'packed'") from None

    lengths = torch.tensor([group.length for group in layout.groups for _ in range(group.sequences)])
    longest = int(lengths[-1])
    ends = F.pad(lengths.cumsum(0), (1, 0)).to(query.device, torch.int32)  # (B + 1,)
    query_ends, longest_query = ends, longest
    if layout.first_only:
        query_ends, longest_query = torch.arange(len(ends), dtype=torch.int32, device=query.device), 1
    if layout.keys is not None:
        # Keys that none sees leave the stream of keys.
        key, value = key[layout.keys], value[layout.keys]
        ends = F.pad(layout.keys.cumsum(0), (1, 0))[ends.long()].to(torch.int32)
    window = (-1, 0) if layout.causal else (-1, -1)
    context = varlen_attn(query, key, value, query_ends, ends, longest_query, longest, window_size=window)
    assert isinstance(context, Tensor)
    return context


# The table: which function a name stands for. Each works on one layout.
ATTENTION: Final[dict[AttentionBackend, AttentionFunction]] = {
    "eager": eager,
    "sdpa": sdpa,
    "packed": packed,
    "varlen": varlen,
}


def backend_for(chosen: AttentionBackend, *, weights: bool, padded: bool) -> PaddedBackend | PackedBackend:
    """Name the backend that computes a call.

    Args:
        chosen: what the model is set to.
        weights: attention weights are asked for; `eager` alone forms them.
        padded: the call has a mask of three dimensions, a cache or cross-attention, which are computed padded: by
            `sdpa` where the chosen backend is a packed one.
    """
    if weights:
        return "eager"
    return "sdpa" if padded and chosen in ("packed", "varlen") else chosen
