"""The settings of a call: checked once and remembered, since most calls of a program have the same ones."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

from glassbert.errors import InputError
from glassbert.text.arrays import Padding, Tensors, check_kind
from glassbert.text.checks import check_flags, count_of, shown
from glassbert.text.framing import Frame
from glassbert.text.windows import Side, Truncation, check_way

PaddingWay = bool | Literal["longest", "max_length", "do_not_pad"]

# What stands for no `model_max_length` at all.
NO_LIMIT: Final = 10**20
_PADDINGS: Final = (True, False, "longest", "max_length", "do_not_pad")
# Of a program that cuts each text to a length of its own.
_REMEMBERED: Final = 256


class Basis(NamedTuple):
    """What a tokenizer brings along to each of its calls.

    Attributes:
        begin: the id of `[CLS]`.
        end: the id of `[SEP]`.
        filler: the id of `[PAD]`.
        longest: its `model_max_length`.
        truncation_side: where it cuts.
        padding_side: where it fills up.
    """

    begin: int
    end: int
    filler: int
    longest: int
    truncation_side: Side
    padding_side: Side


class Filling(NamedTuple):
    """How far rows are to be filled up, before their lengths are known.

    Attributes:
        length: tokens that a row has at least; None stands for those of the longest.
        multiple: the length is a multiple of it.
        left: whether the filling stands on the left.
        ids: its token.
    """

    length: int | None
    multiple: int
    left: bool
    ids: int

    def of(self, lengths: Iterable[int]) -> Padding:
        """Return how rows of these lengths are filled up."""
        length = max(lengths, default=0) if self.length is None else self.length
        return Padding(-(-length // self.multiple) * self.multiple, self.left, self.ids)


class Call(NamedTuple):
    """What a call does, whatever its texts are.

    Attributes:
        frame: how pieces become sequences.
        filling: how rows are filled up.
        names: of what is returned for each token.
        kind: of the arrays; None for lists.
        details: whether offsets are among that.
        windows: whether what is cut off goes into further rows.
        lengths: whether the lengths of the rows are returned.
    """

    frame: Frame
    filling: Filling
    names: tuple[str, ...]
    kind: Tensors | None
    details: bool
    windows: bool
    lengths: bool


# Typed, since 1 is equal to True, but no flag.
@functools.lru_cache(maxsize=_REMEMBERED, typed=True)
def call_of(
    basis: Basis,
    add_special_tokens: bool,
    padding: PaddingWay,
    truncation: Truncation,
    max_length: int | None,
    stride: int,
    overlap: int | None,
    is_split_into_words: bool,
    pad_to_multiple_of: int | None,
    padding_side: Side | None,
    return_tensors: Tensors | None,
    return_token_type_ids: bool,
    return_attention_mask: bool,
    return_overflowing_tokens: bool,
    return_special_tokens_mask: bool,
    return_offsets_mapping: bool,
    return_length: bool,
) -> Call:
    """Check the settings of a call, which are told in `BertTokenizer.__call__`.

    Raises:
        InputError: a setting is none of those it can be, or some mean nothing together.
    """
    check_flags(
        is_split_into_words=is_split_into_words,
        return_token_type_ids=return_token_type_ids,
        return_attention_mask=return_attention_mask,
        return_overflowing_tokens=return_overflowing_tokens,
        return_special_tokens_mask=return_special_tokens_mask,
        return_offsets_mapping=return_offsets_mapping,
        return_length=return_length,
    )
    stride = count_of("stride", stride)
    if overlap is not None:
        overlap = count_of("overlap", overlap)
        if stride not in (0, overlap):
            raise InputError(f"overlap={overlap} and stride={stride} are two names for one setting; give one")
        stride = overlap
    if stride and not return_overflowing_tokens:
        raise InputError("stride has an effect with return_overflowing_tokens=True")
    filling = filling_of(basis, padding, max_length, pad_to_multiple_of, padding_side)
    frame = frame_of(
        basis, add_special_tokens, truncation, max_length, padding, overflow=return_overflowing_tokens, stride=stride
    )
    places = frame.limit - frame.extra(False)
    if stride and frame.way is not False and stride >= places:
        raise InputError(f"stride is {stride}, but a window has {places} places for the text; it has to be less")
    if return_tensors is not None:
        check_kind(return_tensors)
    names = {
        "input_ids": True,
        "token_type_ids": return_token_type_ids,
        "attention_mask": return_attention_mask,
        "special_tokens_mask": return_special_tokens_mask,
        "offset_mapping": return_offsets_mapping,
    }
    return Call(
        frame=frame,
        filling=filling,
        names=tuple(name for name, wanted in names.items() if wanted),
        kind=return_tensors,
        details=return_offsets_mapping,
        windows=return_overflowing_tokens,
        lengths=return_length,
    )


def frame_of(
    basis: Basis,
    special: bool,
    truncation: Truncation,
    max_length: int | None,
    padding: PaddingWay = False,
    *,
    overflow: bool = False,
    stride: int = 0,
) -> Frame:
    """Check how sequences are to be made.

    Raises:
        InputError: no flag, way or length, or a length without an effect.
    """
    check_flags(add_special_tokens=special)
    way = check_way(truncation)
    limit = _limit(basis, max_length)
    if max_length is not None and way is False and padding != "max_length":
        raise InputError(f"max_length={max_length} has an effect with truncation=True or padding='max_length'")
    return Frame(
        begin=[basis.begin] * special,
        end=[basis.end] * special,
        limit=limit,
        way=way,
        side=basis.truncation_side,
        overflow=overflow,
        stride=stride,
    )


def filling_of(
    basis: Basis, padding: PaddingWay, max_length: int | None, multiple: int | None, side: Side | None
) -> Filling:
    """Check how rows are to be filled up.

    Raises:
        InputError: no way, side or length, or one without an effect.
    """
    if not _is_one_of(padding, _PADDINGS):
        raise InputError(f"padding is {shown(padding)}, expected True, False, longest, max_length or do_not_pad")
    if not _is_one_of(side, (None, "right", "left")):
        raise InputError(f"padding_side is {shown(side)}, expected 'right' or 'left'")
    length: int | None = 0
    if padding == "max_length":
        length = _limit(basis, max_length)
        if length >= NO_LIMIT:
            raise InputError("padding='max_length' needs max_length, since this tokenizer has no model_max_length")
    elif padding in (True, "longest"):
        length = None
    if multiple is not None:
        multiple = count_of("pad_to_multiple_of", multiple, least=1)
        if padding in (False, "do_not_pad"):
            raise InputError("pad_to_multiple_of has an effect with padding=True or padding='max_length'")
    return Filling(length, multiple or 1, (side or basis.padding_side) == "left", basis.filler)


def _limit(basis: Basis, max_length: int | None) -> int:
    return basis.longest if max_length is None else count_of("max_length", max_length)


def _is_one_of(value: Any, choices: tuple[Any, ...]) -> bool:
    """Whether a value is one of the choices; 1 is equal to True, but none."""
    return isinstance(value, bool | str | None) and value in choices
