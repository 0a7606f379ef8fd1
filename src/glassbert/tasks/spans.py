"""Places in a text: where an answer stands, windows over a long text, and the best places by a model's scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.text.windows import windows


class Place(NamedTuple):
    """Begin and end of a part of a text, in characters."""

    start: int
    end: int


def locate(context: str, text: str, start: int) -> Place | None:
    """Find an answer in its context: at its stated place, or else where it stands nearest to that.

    White space at the ends of an answer is left aside, and any in it counts as any other.

    Args:
        context: the text that holds the answer.
        text: the answer.
        start: where it is said to begin, in characters.

    Returns:
        where it stands; None where it stands nowhere.
    """
    words = text.split()
    if not words:
        return None
    bare = text.strip()
    begin = stated(text, start)
    if begin >= 0 and context.startswith(bare, begin):
        return Place(begin, begin + len(bare))
    found = re.finditer(r"\s+".join(map(re.escape, words)), context)
    places = (Place(*match.span()) for match in found)
    return min(places, key=lambda place: abs(place.start - begin), default=None)


def stated(text: str, start: int) -> int:
    """Return where an answer is said to begin, without the white space before it."""
    return start + len(text) - len(text.lstrip())


def windows_over(tokens: int, room: int, step: int) -> list[slice]:
    """Return windows of `room` tokens over a text of `tokens`, each `step` further on; the last may be shorter."""
    return [window.second for window in windows(0, tokens, room, way="only_second", overflow=True, stride=room - step)]


def with_most_context(windows: Sequence[slice], tokens: int) -> list[Tensor]:
    """Tell for each window which of its tokens have most context in it, and not in another.

    A token has as much context as there are tokens on the poorer side of it, in the window; between equals the longer
    window has it, and then the first.

    Args:
        windows: over the text, in order.
        tokens: of the text.

    Returns:
        a bool tensor for each window, as long as that is.

    Source: google-research/bert, run_squad.py, `_check_is_max_context`.
    """
    if len(windows) == 1:
        return [torch.ones(tokens, dtype=torch.bool)]
    most = torch.full((tokens,), -1.0, dtype=torch.float64)
    owner = torch.zeros(tokens, dtype=torch.int64)
    for number, window in enumerate(windows):
        length = window.stop - window.start
        place = torch.arange(length)
        context = torch.minimum(place, place.flip(0)).double() + 0.01 * length
        more = context > most[window]
        most[window] = torch.where(more, context, most[window])
        owner[window] = torch.where(more, number, owner[window])
    return [owner[window] == number for number, window in enumerate(windows)]


class ScoredSpan(NamedTuple):
    """The tokens from `first` to `last`, and how well they answer."""

    score: float
    first: int
    last: int


def best_spans(start: Tensor, end: Tensor, may_begin: Tensor, longest: int) -> Iterator[ScoredSpan]:
    """Give the spans of tokens that may be an answer, best first; of equals the first and shortest.

    Args:
        start: (N,) scores of each token as the first of the answer.
        end: (N,) as the last.
        may_begin: (N,) bool, true where a span may begin.
        longest: most tokens of a span.
    """
    count = len(start)
    if not count:
        return
    width = min(longest, count)
    # In double precision sums are exact, so that the order does not depend on how they are rounded.
    begins = start.double().masked_fill(~may_begin, -torch.inf)
    ends = F.pad(end.double(), (0, width - 1), value=-torch.inf).unfold(0, width, 1)  # (N, width): from each token on
    scores = (begins[:, None] + ends).flatten()
    ordered, places = scores.sort(descending=True, stable=True)
    for score, place in zip(ordered.tolist(), places.tolist(), strict=True):
        if score == -torch.inf:
            return
        first, more = divmod(place, width)
        yield ScoredSpan(score, first, first + more)
