"""From the pieces of one text or two to sequences: special tokens round them, and a limited length."""

from __future__ import annotations

from typing import NamedTuple

from glassbert.text.core import Pieces
from glassbert.text.encoding import Encoding, Offset
from glassbert.text.windows import Side, Truncation, Window, windows


class Frame(NamedTuple):
    """How sequences are made.

    Attributes:
        begin: the ids before the first text: `[CLS]`, or none.
        end: those after each text: `[SEP]`, or none.
        limit: most tokens of a sequence.
        way: which text is cut; see `windows`.
        side: where it is cut.
        overflow: whether what is cut off goes into further sequences.
        stride: tokens that these have in common with their neighbours.
    """

    begin: list[int]
    end: list[int]
    limit: int
    way: Truncation
    side: Side
    overflow: bool = False
    stride: int = 0

    def extra(self, pair: bool) -> int:
        """How many special tokens go round one text or a pair."""
        return len(self.begin) + (2 if pair else 1) * len(self.end)

    def sequences(self, first: Pieces, second: Pieces | None) -> list[Encoding]:
        """Return the sequence of one text or a pair, and with `overflow` those of the rest."""
        length = None if second is None else len(second.ids)
        room = self.limit - self.extra(second is not None)
        excess = len(first.ids) + (length or 0) - room
        if excess <= 0 or self.way in (False, "do_not_truncate"):
            return [self._sequence(first, second, 0)]
        places = windows(
            len(first.ids),
            length,
            room,
            way=self.way,
            side=self.side,
            overflow=self.overflow,
            stride=self.stride,
        )
        cut = 0 if self.overflow else excess
        return [self._sequence(*_seen(first, second, window), cut) for window in places]

    def _sequence(self, first: Pieces, second: Pieces | None, cut: int) -> Encoding:
        ids = self.begin + first.ids + self.end
        if second is not None:
            ids += second.ids + self.end
        return Encoding(
            ids=ids,
            first=len(first.ids),
            second=None if second is None else len(second.ids),
            framed=bool(self.begin),
            cut=cut,
            offsets=None if first.offsets is None else self._offsets(first, second),
            words=None if first.words is None else self._words(first, second),
        )

    def _offsets(self, first: Pieces, second: Pieces | None) -> list[Offset]:
        begin, end = [(0, 0)] * len(self.begin), [(0, 0)] * len(self.end)
        rest = [] if second is None else [*(second.offsets or ()), *end]
        return [*begin, *(first.offsets or ()), *end, *rest]

    def _words(self, first: Pieces, second: Pieces | None) -> list[int | None]:
        begin, end = [None] * len(self.begin), [None] * len(self.end)
        rest = [] if second is None else [*(second.words or ()), *end]
        return [*begin, *(first.words or ()), *end, *rest]


def _seen(first: Pieces, second: Pieces | None, window: Window) -> tuple[Pieces, Pieces | None]:
    """Return what a window shows of the texts."""
    return _part(first, window.first), None if second is None else _part(second, window.second)


def _part(pieces: Pieces, place: slice) -> Pieces:
    offsets = None if pieces.offsets is None else pieces.offsets[place]
    return Pieces(pieces.ids[place], offsets, None if pieces.words is None else pieces.words[place])
