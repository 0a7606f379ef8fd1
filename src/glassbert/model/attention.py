"""Attention as pure functions of one signature, in one table.

Each takes queries, keys and values with their heads split, `(…, A, D)`, in the layout's own shape, and
returns the context in the shape of the queries. `eager` also returns the weights. A query that sees no key
at all gets a context of zeros on every backend, so padding never leaks into an answer and nothing is NaN.

Source: scaled dot-product attention of arXiv 1706.03762, section 3.2.
"""

from __future__ import annotations

import math
from typing import Final, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.model.layout import Layout, Packed, Padded

AttentionBackend = Literal["eager", "sdpa", "packed"]


class AttentionFunction(Protocol):
    """The one signature; `weights` is None where a backend does not form them."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, dropout: float
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context, in the shape of `query`, and the weights (B, A, S, S) or None."""


def eager(query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, dropout: float) -> tuple[Tensor, Tensor | None]:
    """Write the formula out: softmax(QKᵀ / √D) V over a padded batch, weights kept."""
    assert isinstance(layout, Padded)
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))  # (B, S, A, D) -> (B, A, S, D)
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # (B, A, S, S)
    if layout.mask is None:
        weights = scores.softmax(dim=-1)
    else:
        # The lowest finite number in place of -inf keeps a row without any key finite, forward and
        # backward; the product then makes it the zeros that it should be.
        scores = scores.masked_fill(~layout.mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1) * layout.mask
    weights = F.dropout(weights, dropout, training=dropout > 0.0)
    context = (weights @ value).transpose(1, 2)  # (B, A, S, D) -> (B, S, A, D)
    return context, weights


def sdpa(query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, dropout: float) -> tuple[Tensor, None]:
    """Leave a padded batch to torch's fused kernel."""
    assert isinstance(layout, Padded)
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))  # (B, S, A, D) -> (B, A, S, D)
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=layout.mask, dropout_p=dropout)
    return context.transpose(1, 2), None


def packed(query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, dropout: float) -> tuple[Tensor, None]:
    """Run torch's fused kernel once for each group of equally long sequences: no padding, no mask."""
    assert isinstance(layout, Packed)
    heads, size = query.shape[-2:]
    key_counts = [group.sequences * group.length for group in layout.groups]
    query_counts = [group.sequences for group in layout.groups] if layout.first_only else key_counts
    seen = [None] * len(layout.groups) if layout.keys is None else layout.keys.split(key_counts)
    contexts = []
    for group, q, k, v, mask in zip(
        layout.groups, query.split(query_counts), key.split(key_counts), value.split(key_counts), seen, strict=True
    ):
        # (k·n, A, D) -> (k, A, n, D)
        q, k, v = (states.unflatten(0, (group.sequences, -1)).transpose(1, 2) for states in (q, k, v))
        if mask is not None:
            mask = mask.view(group.sequences, 1, 1, group.length)
        if dropout > 0.0 and mask is None:
            # With dropout torch's kernel falls back to a chain of operations; this chain is shorter.
            weights = ((q / math.sqrt(size)) @ k.transpose(-1, -2)).softmax(dim=-1)
            context = F.dropout(weights, dropout) @ v
        else:
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        contexts.append(context.transpose(1, 2).reshape(-1, heads, size))  # (k, A, n, D) -> (k·n, A, D)
    return torch.cat(contexts), None


# The table: which function a name stands for. Each works on one layout.
ATTENTION: Final[dict[AttentionBackend, AttentionFunction]] = {"eager": eager, "sdpa": sdpa, "packed": packed}
