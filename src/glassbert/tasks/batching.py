"""From features to calls of the model: how many at once, in which order, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Final, TypeVar, cast

import torch
from torch import Tensor

from glassbert.errors import DataError

FeaturesT = TypeVar("FeaturesT", bound=Sized)
RowT = TypeVar("RowT")
ItemT = TypeVar("ItemT")
# Examples that are tried together before they are tried one by one.
_TRIED: Final = 512
# Makes the keyword arguments of a forward call from some features.
Collate = Callable[[Sequence[FeaturesT]], dict[str, Tensor]]


# What a batch holds only for the loss.
_LABELS: Final = ("labels", "start_positions", "end_positions")


def without_labels(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a model needs of a batch to answer, without what it needs for a loss."""
    return {name: tensor for name, tensor in batch.items() if name not in _LABELS}


def of_good(
    examples: Iterable[ItemT],
    features: Callable[[Sequence[ItemT]], Iterable[Any]],
    on_bad: Callable[[DataError], object],
) -> Iterator[tuple[Sequence[ItemT], list[Any]]]:
    """Give examples with their features, some at a time, and leave out those that have none.

    Args:
        examples: any number.
        features: makes them, each with the number of its example among those that it is given.
        on_bad: called with the error of each example that is left out.
    """
    rest = iter(examples)
    while some := list(islice(rest, _TRIED)):
        try:
            yield some, list(features(some))
        except DataError:
            for example in some:  # which one is it?
                try:
                    found = list(features([example]))
                except DataError as error:
                    on_bad(error)
                else:
                    yield [example], found


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


def run(
    features: Sequence[FeaturesT],
    collate: Collate[FeaturesT],
    forward: Callable[[dict[str, Tensor], Sequence[FeaturesT]], Sequence[RowT]],
    *,
    token_budget: int,
) -> list[RowT]:
    """Compute all features in calls of at most `token_budget` tokens.

    Args:
        features: any number.
        collate: makes the arguments of a call from some of them.
        forward: makes a row for each of those that it is given, from the arguments and the features themselves.
        token_budget: most tokens of a call.

    Returns:
        the rows, in the order of the features.
    """
    rows: list[RowT | None] = [None] * len(features)
    for group in by_tokens([len(feature) for feature in features], token_budget):
        some = [features[place] for place in group]
        for place, row in zip(group, forward(collate(some), some), strict=True):
            rows[place] = row
    return cast(list[RowT], rows)


def drop_tokens(ids: Tensor, rate: float, *, special: Tensor, mask_id: int) -> Tensor:
    """Replace each token of `ids` (B, S) by `mask_id` with probability `rate`, but none of the ids in `special` (N,).

    Draws from torch's own random state.
    """
    chosen = (torch.rand(ids.shape) < rate) & ~torch.isin(ids, special)
    return ids.masked_fill(chosen, mask_id)
