"""What users give a tokenizer, checked and brought into one form."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, Final

from glassbert.errors import InputError
from glassbert.text.characters import check_text
from glassbert.text.checks import all_strings, shown

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
    hint = "; batch_decode decodes several rows" if getattr(index, "ndim", 0) or isinstance(index, list) else ""
    raise InputError(f"an id is {shown(index)}, expected a whole number{hint}")


def is_number(value: Any) -> bool:
    """Whether this is one id rather than several."""
    dimensions = getattr(value, "ndim", None)
    return not isinstance(value, Iterable) if dimensions is None else bool(dimensions == 0)


def whole_numbers(ids: Any) -> list[int]:
    """Return several ids as a list.

    Raises:
        InputError: these are no whole numbers, or not several.
    """
    if is_number(ids) or isinstance(ids, bytes):
        raise InputError(f"ids are {shown(ids)}, expected several")
    return list(map(whole_number, ids))


def as_texts(text: Any, text_pair: Any, split: bool) -> tuple[list[Text], list[Text] | None, bool]:
    """Bring what a user gives into one form.

    Returns:
        the texts; the second one of each, None where there are none; whether it was one text.

    Raises:
        InputError: what is no text, and lists that do not belong together.
    """
    if text_pair is None and not split:  # what comes most often
        if type(text) is str:
            return [text], None, True
        if type(text) is list and all_strings(text):
            return list(text), None, False
    single = _is_text(text, split)
    firsts: list[Any]
    seconds: list[Any] | None
    if single:
        firsts, seconds = [text], None if text_pair is None else [text_pair]
        if text_pair is not None and not _is_text(text_pair, split):
            expected = "a list of words" if split else "one string"
            raise InputError(f"text is {expected}, so text_pair must be {expected} too")
    else:
        if isinstance(text, str | bytes) or not isinstance(text, Sequence):
            hint = "; ids go to prepare_for_model" if hasattr(text, "tolist") else ""
            expected = "a list of words or of lists of words" if split else "a string or a list of strings"
            raise InputError(f"text is of type {type(text).__name__}, expected {expected}{hint}")
        firsts, seconds = list(text), None
        if text_pair is not None:
            if _is_text(text_pair, split) or not isinstance(text_pair, Sequence) or len(text_pair) != len(firsts):
                raise InputError(f"text is a list of {len(firsts)}, so text_pair must be a list of {len(firsts)} too")
            seconds = list(text_pair)
        elif not split and firsts and all(isinstance(one, tuple) for one in firsts):
            for place, one in enumerate(firsts):
                if len(one) != 2:
                    raise InputError(f"text[{place}] is a tuple of {len(one)}, expected a pair of strings")
            firsts, seconds = [one for one, _ in firsts], [other for _, other in firsts]
    for name, side in (("text", firsts), ("text_pair", seconds or ())):
        if split or not all_strings(side):
            for place, one in enumerate(side):
                _check_text(one, name if single else f"{name}[{place}]", split)
    if split:  # lists of the caller's own, which may change them
        firsts = list(map(list, firsts))
        seconds = None if seconds is None else list(map(list, seconds))
    return firsts, seconds, single


def length_of(name: str, ids: Any) -> int:
    """Return how many ids there are.

    Raises:
        InputError: these are not several.
    """
    if not isinstance(ids, Sized):
        raise InputError(f"{name} is {shown(ids)}, expected several ids")
    return len(ids)


def check_each(texts: Any, name: str) -> None:
    """Refuse what is no sequence of texts, each a string or a list of words.

    Raises:
        InputError: by its place.
    """
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        one = "one string" if isinstance(texts, str) else f"of type {type(texts).__name__}"
        hint = "; pass [text]" if isinstance(texts, str) else ""
        raise InputError(f"{name} is {one}, expected a list of texts{hint}")
    if not all_strings(texts):
        for place, text in enumerate(texts):
            _check_text(text, f"{name}[{place}]", split=not isinstance(text, str))


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
        hint = ""
        if isinstance(value, list):
            hint = "; a pair is a tuple (first, second), and words need is_split_into_words=True"
        raise InputError(f"{where} is of type {type(value).__name__}, expected a string{hint}")


def check_characters(firsts: Sequence[Text], seconds: Sequence[Text] | None) -> None:
    """Refuse lone surrogates.

    Raises:
        InputError: by the place of the text and of the character.
    """
    for number in range(len(firsts)):
        for name, side in (("text", firsts), ("text_pair", seconds)):
            if side is None:
                continue
            where = name if len(firsts) == 1 else f"{name}[{number}]"
            text = side[number]
            if isinstance(text, str):
                check_text(text, where)
            else:
                for place, word in enumerate(text):
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
