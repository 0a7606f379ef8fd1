"""Which tokens of a text, or of two, go into a sequence of limited length: arithmetic on lengths alone.

The ways to cut are those of Hugging Face's `tokenizers`.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from glassbert.errors import InputError
from glassbert.text.checks import shown

Truncation = bool | Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Side = Literal["right", "left"]
WAYS: Final = (True, False, "longest_first", "only_first", "only_second", "do_not_truncate")


def check_way(truncation: Truncation) -> Truncation:
    """Return how texts are to be cut, False where they are not.

    Raises:
        InputError: there is no such way.
    """
    if not isinstance(truncation, bool | str) or truncation not in WAYS:
        raise InputError(
            f"truncation is {shown(truncation)}, expected True, False, longest_first, only_first, only_second or "
            "do_not_truncate"
        )
    return False if truncation == "do_not_truncate" else truncation


class Window(NamedTuple):
    """The tokens `first` of one text and `second` of another, as slices; `second` is empty where there is none."""

    first: slice
    second: slice


def windows(
    first: int,
    second: int | None,
    room: int,
    *,
    way: Truncation = True,
    side: Side = "right",
    overflow: bool = False,
    stride: int = 0,
) -> list[Window]:
    """Return what is kept and, where asked for, the windows over what is not.

    Args:
        first: tokens of the text.
        second: those of the second text, or None.
        room: tokens that may be kept of both.
        way: True or "longest_first" shortens the longer one until both are equal, then both; "only_first" and
            "only_second" that one alone.
        side: where tokens are cut off; windows then go on to that side.
        overflow: give further windows, until every token is in one; where both texts are cut, each part of the one
            comes together with each of the other.
        stride: tokens by which neighbouring windows overlap.

    Raises:
        InputError: the way cannot reach `room`, or windows of that overlap would not move on.
    """
    whole = Window(slice(0, first), slice(0, second or 0))
    excess = first + (second or 0) - room
    if way in (False, "do_not_truncate") or excess <= 0:
        return [whole]
    if room < 0:
        raise InputError(f"max_length leaves {room} places for text; it has to hold the special tokens")
    if second is None and way == "only_second":
        raise InputError("truncation='only_second', but there is no second text")
    if second is None or way == "only_first":
        if first <= excess and second is not None:
            raise _too_short(way, room, first)
        return [Window(part, whole.second) for part in _parts(first, first - excess, side, overflow, stride)]
    if way == "only_second":
        if second <= excess:
            raise _too_short(way, room, second)
        return [Window(whole.first, part) for part in _parts(second, second - excess, side, overflow, stride)]
    keep_first, keep_second = _shares(first, second, room)
    firsts = _parts(first, keep_first, side, overflow, stride)
    seconds = _parts(second, keep_second, side, overflow, stride)
    # In the order of `tokenizers`: what is kept of the first text comes first, and last with the rest of the second.
    return [
        Window(firsts[0], seconds[0]),
        *(Window(part, other) for part in firsts[1:] for other in seconds),
        *(Window(firsts[0], other) for other in seconds[1:]),
    ]


def _shares(first: int, second: int, room: int) -> tuple[int, int]:
    """Tell how many tokens of each are kept: all of the shorter one, if that leaves the longer one no less."""
    short = min(first, second)
    keep_short, keep_long = short, max(short, room - short)
    if keep_short + keep_long > room:
        # The spare place of an odd number goes to the longer one, between equals to the second.
        keep_short, keep_long = room // 2, room - room // 2
    return (keep_long, keep_short) if first > second else (keep_short, keep_long)


def _parts(length: int, size: int, side: Side, overflow: bool, stride: int) -> list[slice]:
    """Cut 0 … length into windows of `size` that overlap by `stride`; the last one may be shorter."""
    if length <= size:
        return [slice(0, length)]
    if not overflow:
        return [slice(0, size) if side == "right" else slice(length - size, length)]
    if size == 0:
        raise InputError("max_length leaves no place in a window for a text that has to be cut")
    if stride >= size:
        raise InputError(f"stride is {stride}, but a window has {size} places for the text; it has to be less")
    starts = range(0, length - stride, size - stride)
    if side == "right":
        return [slice(start, min(start + size, length)) for start in starts]
    return [slice(max(0, length - start - size), length - start) for start in starts]


def _too_short(way: Truncation, room: int, length: int) -> InputError:
    return InputError(f"truncation={way!r} cannot leave {room} tokens in all: that text has {length} tokens only")
