"""What users give a tokenizer, checked and brought into one form."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from glassbert.errors import InputError
from glassbert.text.characters import check_text
from glassbert.text.encoding import Tensors, as_tensors

# One text: a string, or its words.
Text = str | Sequence[str]


def whole_number(index: Any) -> int:
    """Return an id as an int.

    Raises:
        InputError: it is none.
    """
    try:
        if getattr(index, "ndim", 0) == 0:  # an array of one number is none
            return operator.index(index)
    except TypeError:
        pass
    shown = f"{index!r}" if isinstance(index, float | str) else f"of type {type(index).__name__}"
    raise InputError(f"an id is {shown:.80}, expected a whole number")


def is_number(value: Any) -> bool:
    """Whether this is one id rather than several."""
    dimensions = getattr(value, "ndim", None)
    return not isinstance(value, Iterable) if dimensions is None else bool(dimensions == 0)


def whole_numbers(ids: Any) -> list[int]:
    """Return several ids as a list.

    Raises:
        InputError: these are no whole numbers, or not several.
    """
    if is_number(ids):
        raise InputError(f"ids are {ids!r}, expected several")
    return list(map(whole_number, ids))


def check_strings(texts: Sequence[Any], name: str = "text") -> None:
    """Refuse what is no string.

    Raises:
        InputError: by its place.
    """
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            where = f"{name}[{place}]" if len(texts) > 1 else name
            raise InputError(f"{where} is of type {type(text).__name__}, expected a string")


def as_pairs(text: Any, text_pair: Any, split: bool) -> tuple[list[tuple[Text, Text | None]], bool]:
    """Bring what a user gives into one form: pairs of texts; and tell whether it was one.

    Raises:
        InputError: what is no text, and lists that do not belong together.
    """
    single = _is_text(text, split)
    paired = text_pair is not None
    if single:
        firsts: list[Any] = [text]
        seconds: list[Any] = [text_pair]
        if text_pair is not None and not _is_text(text_pair, split):
            expected = "a list of words" if split else "one string"
            raise InputError(f"text is {expected}, so text_pair must be {expected} too")
    else:
        if isinstance(text, str | bytes) or not isinstance(text, Sequence):
            hint = "; ids go to prepare_for_model" if hasattr(text, "tolist") else ""
            expected = "a list of words or of lists of words" if split else "a string or a list of strings"
            raise InputError(f"text is of type {type(text).__name__}, expected {expected}{hint}")
        firsts = list(text)
        if text_pair is None and not split and firsts and all(isinstance(one, tuple) for one in firsts):
            for place, one in enumerate(firsts):
                if len(one) != 2:
                    raise InputError(f"text[{place}] is a tuple of {len(one)}, expected a pair of strings")
            paired = True
            firsts, seconds = [one for one, _ in firsts], [other for _, other in firsts]
        elif text_pair is None:
            seconds = [None] * len(firsts)
        else:
            if _is_text(text_pair, split) or not isinstance(text_pair, Sequence) or len(text_pair) != len(firsts):
                raise InputError(f"text is a list of {len(firsts)}, so text_pair must be a list of {len(firsts)} too")
            seconds = list(text_pair)
    for name, side in (("text", firsts), ("text_pair", seconds if paired else ())):
        for place, one in enumerate(side):
            _check_text(one, name if single else f"{name}[{place}]", split)
    return list(zip(firsts, seconds, strict=True)), single


def _is_text(value: Any, split: bool) -> bool:
    """Whether this is one text: a string, or with `split` a list of words."""
    if not split:
        return isinstance(value, str)
    return isinstance(value, Sequence) and not isinstance(value, str | bytes) and isinstance(next(iter(value), ""), str)


def _check_text(value: Any, where: str, split: bool) -> None:
    if split:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InputError(f"{where} is of type {type(value).__name__}, expected a list of words")
        for place, word in enumerate(value):
            if not isinstance(word, str):
                raise InputError(f"{where}[{place}] is of type {type(word).__name__}, expected a string")
    elif not isinstance(value, str):
        hint = "; pass is_split_into_words=True for lists of words" if isinstance(value, list) else ""
        raise InputError(f"{where} is of type {type(value).__name__}, expected a string{hint}")


def check_pairs(pairs: Sequence[tuple[Text, Text | None]]) -> None:
    """Refuse lone surrogates.

    Raises:
        InputError: by the place of the text and of the character.
    """
    for number, pair in enumerate(pairs):
        for name, text in zip(("text", "text_pair"), pair, strict=True):
            where = name if len(pairs) == 1 else f"{name}[{number}]"
            if isinstance(text, str):
                check_text(text, where)
            for place, word in enumerate(() if text is None or isinstance(text, str) else text):
                check_text(word, f"{where}[{place}]")


def rows_by_name(given: Any) -> tuple[dict[str, list[Any]], bool]:
    """Bring what `pad` takes into one form: rows by name; and tell whether it was one row."""
    if isinstance(given, Mapping):
        values = {name: _listed(value) for name, value in given.items()}
    else:
        rows = list(given) if isinstance(given, Sequence) else []
        names = set(rows[0]) if rows and isinstance(rows[0], Mapping) else set()
        if not rows or any(not isinstance(row, Mapping) or set(row) != names for row in rows):
            raise InputError("expected rows with the same names, as a tokenizer gives them")
        values = {name: [_listed(row[name]) for row in rows] for name in rows[0]}
    if "input_ids" not in values:
        raise InputError(f"the rows have no input_ids; they have {', '.join(values) or 'nothing'}")
    ids = values["input_ids"]
    if not isinstance(ids, list):
        raise InputError(f"input_ids are of type {type(ids).__name__}, expected a list of ids")
    single = isinstance(given, Mapping) and not any(isinstance(row, list) for row in ids)
    values = {name: [value] for name, value in values.items()} if single else values
    for name in ABOUT_TOKENS:
        if name in values and [_length(row) for row in values[name]] != [_length(row) for row in values["input_ids"]]:
            raise InputError(f"{name} is not as long as input_ids")
    return values, single


# What `pad` fills up.
ABOUT_TOKENS: Final = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "offset_mapping")


def _length(row: Any) -> int:
    if not isinstance(row, list):
        raise InputError(f"a row of input_ids is of type {type(row).__name__}, expected a list of ids")
    return len(row)


def _listed(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [one.tolist() if hasattr(one, "tolist") else one for one in value]
    return value


def as_vectors(values: dict[str, Any], kind: Tensors) -> dict[str, Any]:
    """Turn lists into arrays or tensors.

    Raises:
        InputError: rows that differ in length, or another kind.
    """
    if kind not in ("np", "pt"):
        raise InputError(f"return_tensors is {kind!r}, expected 'np' or 'pt'")
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
