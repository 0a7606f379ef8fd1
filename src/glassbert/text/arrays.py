"""Encodings → rows of one length: lists, numpy arrays or torch tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from glassbert.errors import InputError
from glassbert.text.checks import shown

if TYPE_CHECKING:
    from glassbert.text.encoding import Encoding

Tensors = Literal["np", "pt"]


class Padding(NamedTuple):
    """How rows are filled up.

    Attributes:
        length: tokens a row has at least.
        left: whether the filling stands on the left.
        ids: its token.
    """

    length: int
    left: bool
    ids: int


def as_lists(encodings: Sequence[Encoding], padding: Padding, names: Iterable[str]) -> dict[str, list[list[Any]]]:
    """Return rows by name as lists.

    Args:
        encodings: one a row.
        padding: fills up the rows that are shorter.
        names: of `input_ids`, `token_type_ids`, `attention_mask`, `special_tokens_mask`, `offset_mapping`.
    """
    values: dict[str, list[list[Any]]] = {}
    for name in names:
        filler = _filler(name, padding)
        values[name] = rows = []
        for encoding in encodings:
            row = _row_of(encoding, name)
            fill = [filler] * (padding.length - len(row))
            rows.append(fill + row if padding.left else row + fill)
    return values


def _row_of(encoding: Encoding, name: str) -> list[Any]:
    if name == "input_ids":
        return encoding.ids
    if name == "token_type_ids":
        return encoding.types
    if name == "attention_mask":
        return [1] * len(encoding.ids)
    if name == "special_tokens_mask":
        return encoding.special
    return encoding.offsets or []


def _filler(name: str, padding: Padding) -> Any:
    if name == "input_ids":
        return padding.ids
    if name == "offset_mapping":
        return 0, 0
    return int(name == "special_tokens_mask")


def as_arrays(encodings: Sequence[Encoding], padding: Padding, names: Iterable[str], kind: Tensors) -> dict[str, Any]:
    """Return rows by name as numpy arrays or torch tensors, int64, (B, S), offsets (B, S, 2).

    torch is imported only when asked for.

    Raises:
        InputError: rows that differ in length, or another kind.
    """
    check_kind(kind)
    import numpy as np

    lengths = [len(encoding.ids) for encoding in encodings]
    tokens, longest = sum(lengths), max(lengths, default=0)
    shape = len(lengths), max(longest, padding.length)
    full = tokens == shape[0] * shape[1]
    if not full and padding.length < longest:
        raise InputError("the sequences differ in length; pass padding=True to get arrays")
    if not full:  # where the tokens stand, (B, S)
        places, filled = np.arange(shape[1]), np.array(lengths)[:, None]
        real = places >= shape[1] - filled if padding.left else places < filled

    paired = [encoding for encoding in encodings if encoding.second is not None]
    arrays: dict[str, Any] = {}
    for name in names:
        if name == "attention_mask" and not full:
            array = real.astype(np.int64)
        elif name == "attention_mask":
            array = np.ones(shape, dtype=np.int64)
        elif name == "token_type_ids" and not paired:
            array = np.zeros(shape, dtype=np.int64)
        else:
            each = [_row_of(encoding, name) for encoding in encodings]
            if name == "offset_mapping":
                pairs = chain.from_iterable(chain.from_iterable(each))
                flat = np.fromiter(pairs, dtype=np.int64, count=2 * tokens).reshape(-1, 2)
            else:
                flat = np.fromiter(chain.from_iterable(each), dtype=np.int64, count=tokens)
            if full:
                array = flat.reshape(shape + flat.shape[1:])
            else:
                array = np.full(shape + flat.shape[1:], _filler(name, padding), dtype=np.int64)
                array[real] = flat
        arrays[name] = array
    return arrays if kind == "np" else as_tensors(arrays)


def as_vectors(values: dict[str, Any], kind: Tensors) -> dict[str, Any]:
    """Turn lists into arrays or tensors.

    Raises:
        InputError: rows that differ in length, or another kind.
    """
    check_kind(kind)
    import numpy as np

    arrays = {}
    for name, rows in values.items():
        try:
            arrays[name] = np.asarray(rows)
        except ValueError:
            raise InputError(f"the rows of {name} differ in length, so they make no array") from None
    if kind == "np":
        return arrays
    return as_tensors(arrays)


def check_kind(kind: Any) -> None:
    """Refuse what is no kind of arrays.

    Raises:
        InputError: it is none.
    """
    if not isinstance(kind, str) or kind not in ("np", "pt"):
        raise InputError(f"return_tensors is {shown(kind)}, expected 'np' or 'pt'")


def as_tensors(arrays: dict[str, Any]) -> dict[str, Any]:
    """Turn numpy arrays into torch tensors that share their memory."""
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}
