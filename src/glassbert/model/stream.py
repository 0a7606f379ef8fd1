"""Attention straight on a packed stream, for training on a CPU where the kernels in C are there (`glassbert.native`).

A kernel takes each head of each sequence as it lies in the stream, so nothing is copied, grouped or filled up. What the
backward pass needs beside the inputs is two numbers for each query and head: the weights, and which of them are
dropped, are made again.

Letters: B batch, T tokens in the stream, A heads, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert import native
from glassbert.errors import InputError


def attend_in_stream(
    query: Tensor, key: Tensor, value: Tensor, sequences: native.Sequences, dropping: native.Dropping
) -> Tensor:
    """Return softmax(QKᵀ / √D), with dropout, times V, within each sequence; it can be differentiated once.

    What goes backward is one gradient at a time where there is dropout: several (`is_grads_batched`) are an InputError.

    Args:
        query: (T, A, D), or (B, A, D) where there is one for each sequence, in the order of the stream.
        key: (T, A, D).
        value: (T, A, D).
        sequences: where they lie.
        dropping: of the weights.
    """
    context: Tensor = _StreamAttention.apply(query, key, value, sequences, dropping)  # type: ignore[no-untyped-call]
    return context


class _StreamAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, sequences: native.Sequences, dropping: native.Dropping
    ) -> Tensor:
        context, rows = native.attend(query, key, value, sequences, dropping)
        ctx.save_for_backward(query, key, value, rows)
        ctx.sequences, ctx.dropping = sequences, dropping
        return context

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, rows = ctx.saved_tensors
        gradient = gradient.contiguous()
        if not native.readable(gradient):
            # Several gradients at once (`is_grads_batched`), whose numbers only torch's functions can see.
            if ctx.dropping != native.KEEP_ALL:
                raise InputError("attention with dropout takes one gradient at a time; set is_grads_batched=False")
            return *_backward_by_torch(gradient, query, key, value, ctx.sequences), None, None
        gradients = native.attend_backward(gradient, query, key, value, rows, ctx.sequences, ctx.dropping)
        return *gradients, None, None


@torch.enable_grad()
def _backward_by_torch(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, sequences: native.Sequences
) -> tuple[Tensor, ...]:
    given = [tensor.detach().requires_grad_() for tensor in (query, key, value)]
    lengths = sequences.starts.diff().tolist()
    asked = [1] * len(lengths) if sequences.first_only else lengths
    contexts = [
        # (n, A, D) -> (A, n, D)
        F.scaled_dot_product_attention(*(tensor.transpose(0, 1) for tensor in one)).transpose(0, 1)
        for one in zip(given[0].split(asked), given[1].split(lengths), given[2].split(lengths), strict=True)
    ]
    return torch.autograd.grad(torch.cat(contexts), given, gradient)
