"""Checks of what users give, each with a message of one line."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from glassbert.errors import InputError, VocabularyError

_STRINGS: Final = frozenset({str})
Refusal = type[InputError] | type[VocabularyError]


def shown(value: Any) -> str:
    """Return what a message says of a value: itself where it is short, else its type."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return f"{value!r:.80}"
    return f"of type {type(value).__name__}"


def place_of(name: str, value: Any) -> int:
    """Return a whole number, which may be negative, as an int.

    Raises:
        InputError: it is none, by the argument's name.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {shown(value)}, expected a whole number") from None


def count_of(name: str, value: Any, *, least: int = 0, refusal: Refusal = InputError) -> int:
    """Return a number of something as an int.

    Raises:
        InputError: it is none, or below `least`, by the setting's name; or another error, where one is given.
    """
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise refusal(f"{name} is {shown(value)}, expected a whole number from {least} on")
    return number


def check_flags(**flags: Any) -> None:
    """Refuse what is neither true nor false.

    Raises:
        InputError: by the setting's name.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InputError(f"{name} is {shown(value)}, expected True or False")


def all_strings(texts: Iterable[Any]) -> bool:
    """Whether these are strings and nothing else, not even strings of a class of their own."""
    return {*map(type, texts)} <= _STRINGS


def check_string(name: str, value: Any, refusal: Refusal = InputError) -> None:
    """Refuse what is no string.

    Raises:
        InputError: by the argument's name; or another error, where one is given.
    """
    if not isinstance(value, str):
        raise refusal(f"{name} is of type {type(value).__name__}, expected a string")


def check_strings(texts: Sequence[Any], name: str = "text") -> None:
    """Refuse what is no string.

    Raises:
        InputError: by its place.
    """
    for place, text in enumerate(texts):
        check_string(f"{name}[{place}]" if len(texts) > 1 else name, text)


def words_of(name: str, value: Any, refusal: Refusal = InputError) -> list[str]:
    """Return several strings as a list.

    Raises:
        InputError: these are none, or one alone; or another error, where one is given.
    """
    if isinstance(value, str):
        raise refusal(f"{name} is {shown(value)}, expected several strings; pass [{shown(value)}]")
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise refusal(f"{name} is {shown(value)}, expected several strings")
    words = list(value)
    for place, word in enumerate(words):
        check_string(f"{name}[{place}]", word, refusal)
    return words


def check_path(name: str, value: Any) -> None:
    """Refuse what cannot be the path of a vocabulary.

    Raises:
        VocabularyError: by the argument's name.
    """
    if not isinstance(value, str | os.PathLike):
        raise VocabularyError(f"{name} is {shown(value)}, expected the path of a file")


def check_counts(counts: Any) -> None:
    """Refuse what does not tell how often words occur.

    Raises:
        VocabularyError: no words with whole numbers.
    """
    if not isinstance(counts, Mapping):
        raise VocabularyError(f"counts is {shown(counts)}, expected words and how often each occurs")
    for word, count in counts.items():
        if not isinstance(word, str) or (type(count) is not int and not _is_whole(count)):
            raise VocabularyError(f"counts gives {shown(word)} the count {shown(count)}, expected a whole number")


def _is_whole(value: Any) -> bool:
    try:
        operator.index(value)
    except TypeError:
        return False
    return True
