"""Probabilities of pieces → probabilities of the words that they make."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Grouping = Literal["none", "simple", "first", "average", "max"]


def scores_of_words(pieces: Tensor, firsts: Tensor, grouping: Grouping) -> Tensor:
    """Return how probable each class is for each word.

    Args:
        pieces: (P, C) probabilities of each piece.
        firsts: (W,) the number of each word's first piece, in order, from 0; its others follow it.
        grouping: "first" takes the first piece's, "average" the mean over the pieces, "max" those of the piece whose
            best class is the most probable, of equals the first.

    Returns:
        (W, C).
    """
    if grouping == "first":
        return pieces[firsts]
    counts = torch.diff(firsts, append=firsts.new_tensor([len(pieces)]))
    words = torch.repeat_interleave(counts)  # (P,) the word of each piece
    if grouping == "average":
        return torch.zeros(len(firsts), pieces.shape[1]).index_add_(0, words, pieces) / counts[:, None]
    best = pieces.max(dim=-1).values if len(pieces) else pieces.new_empty(0)
    highest = torch.zeros(len(firsts)).scatter_reduce_(0, words, best, "amax")
    (chosen,) = torch.where(best == highest[words])
    # Of several in one word the first.
    return pieces[chosen[torch.diff(words[chosen], prepend=words.new_tensor([-1])) > 0]]
