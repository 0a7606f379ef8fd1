"""Text ↔ words, for tasks that answer for each word."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from glassbert.text.characters import characters


def split_words(text: str) -> list[tuple[int, int]]:
    """Return begin and end of each word of a text, in characters.

    Words stand between white space. Marks at a word's edges are words of their own, equal ones together (`...`); marks
    inside stay (`e-mail`, `U.S`). So is each Chinese character. Characters that a tokenizer drops are no words.
    """
    dropped = characters("hf").dropped
    found = (match.span() for match in _word().finditer(text))
    return [(start, stop) for start, stop in found if any(ord(char) not in dropped for char in text[start:stop])]


def join_words(words: Sequence[str]) -> str:
    """Return words as a text: a space between each two, but none beside a Chinese character."""
    return joined_words(words)[0]


def joined_words(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Return words as such a text, and begin and end of each in it, in characters."""
    chinese = characters("hf").chinese
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    length = 0
    for number, word in enumerate(words):
        if number and ord(words[number - 1][-1]) not in chinese and ord(word[0]) not in chinese:
            parts.append(" ")
            length += 1
        parts.append(word)
        places.append((length, length + len(word)))
        length += len(word)
    return "".join(parts), places


@functools.cache
def _word() -> re.Pattern[str]:
    table = characters("hf")
    chinese, marks = table.chinese.pattern, table.punctuation.pattern
    apart = table.whitespace.pattern + table.spaces.pattern + chinese
    # The second: it begins and ends with what is no mark.
    return re.compile(f"[{chinese}]|[^{marks}{apart}](?:[^{apart}]*[^{marks}{apart}])?|([{marks}])\\1*")
