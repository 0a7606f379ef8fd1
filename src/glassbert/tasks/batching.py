"""From features to calls of the model: how many at once, in which order, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import TypeVar

import torch
from torch import Tensor

FeaturesT = TypeVar("FeaturesT", bound=Sized)
# Makes the keyword arguments of a forward call from some features.
Collate = Callable[[Sequence[FeaturesT]], dict[str, Tensor]]


def by_tokens(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Group the places 0 … N - 1, longest first, so that no group has more than `token_budget` tokens.

    A text that is longer than the budget stands alone. Equal lengths keep their order.
    """
    groups: list[list[int]] = []
    tokens = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if not groups or tokens + lengths[place] > token_budget:
            groups.append([])
            tokens = 0
        groups[-1].append(place)
        tokens += lengths[place]
    return groups


def score(
    features: Sequence[FeaturesT],
    collate: Collate[FeaturesT],
    forward: Callable[[dict[str, Tensor]], Tensor],
    *,
    token_budget: int,
) -> Tensor:
    """Run `forward` on all features in calls of at most `token_budget` tokens; return its rows in their order."""
    groups = by_tokens([len(feature) for feature in features], token_budget)
    rows = torch.cat([forward(collate([features[place] for place in group])) for group in groups])
    places = torch.tensor([place for group in groups for place in group])
    return torch.empty_like(rows).index_copy_(0, places, rows)


def drop_tokens(ids: Tensor, rate: float, *, special: Tensor, mask_id: int) -> Tensor:
    """Replace each token of `ids` (B, S) by `mask_id` with probability `rate`, but none of the ids in `special` (N,).

    Draws from torch's own random state.
    """
    chosen = (torch.rand(ids.shape) < rate) & ~torch.isin(ids, special)
    return ids.masked_fill(chosen, mask_id)
