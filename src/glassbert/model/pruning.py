"""Cutting heads out of a layer's weights.

Source: arXiv 1905.10650; the functions are those of transformers 4.4.2.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn


def find_pruneable_heads_and_indices(
    heads: Collection[int], n_heads: int, head_size: int, already_pruned_heads: Collection[int]
) -> tuple[set[int], Tensor]:
    """Say which heads are left to prune, and which rows of a weight stay.

    Args:
        heads: heads to prune, by their numbers in the whole layer.
        n_heads: heads that the layer still has.
        head_size: rows of a head (D).
        already_pruned_heads: heads that are gone, by the same numbers.

    Returns:
        The heads that are still there, and the indices (rows that stay,) int64.
    """
    remaining = [head for head in range(n_heads + len(already_pruned_heads)) if head not in set(already_pruned_heads)]
    going = set(heads) & set(remaining)
    rows = [
        place * head_size + row for place, head in enumerate(remaining) if head not in going for row in range(head_size)
    ]
    return going, torch.tensor(rows, dtype=torch.int64)


def prune_linear_layer(layer: nn.Linear, index: Tensor, dim: int = 0) -> nn.Linear:
    """Return a new Linear with only the rows (`dim` 0, bias too) or columns (`dim` 1) in `index`."""
    weight = layer.weight.detach().index_select(dim, index.to(layer.weight.device)).clone()
    pruned = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None, device="meta", dtype=weight.dtype)
    pruned.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    if layer.bias is not None:
        bias = layer.bias.detach()
        bias = bias.clone() if dim == 1 else bias.index_select(0, index.to(bias.device)).clone()
        pruned.bias = nn.Parameter(bias, requires_grad=layer.bias.requires_grad)
    return pruned.train(layer.training)
