"""The first step: raw text → words.

Clean-up, spaces round Chinese characters, lower case, accents, punctuation split off. The order of steps and
the classes of characters are those of Hugging Face's `tokenizers` (its BertNormalizer and BertPreTokenizer),
which every served BERT sees.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable
from typing import Final

# CJK Unified Ideographs and their extensions and compatibility blocks, first and last code point. Kana and
# Hangul are words with spaces or inflection and are left whole.
_CJK_RANGES: Final = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_ASCII_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_DROPPED: Final = frozenset("\0\N{REPLACEMENT CHARACTER}")


def is_whitespace(char: str) -> bool:
    """Whether `char` separates words: Unicode White_Space, tab and line ends included."""
    return char in "\t\n\r" or (char.isspace() and not "\x1c" <= char <= "\x1f")


def is_control(char: str) -> bool:
    """Whether `char` is invisible control, format or private use; tab and line ends are white space instead."""
    return char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf", "Co")


def is_punctuation(char: str) -> bool:
    """Whether `char` stands as a word of its own: all ASCII marks, and Unicode's classes P*."""
    return char in _ASCII_PUNCTUATION or unicodedata.category(char).startswith("P")


def is_cjk(char: str) -> bool:
    """Whether `char` is a Chinese character, each of which is a word of its own."""
    point = ord(char)
    return any(low <= point <= high for low, high in _CJK_RANGES)


class BasicTokenizer:
    """Splits text into words.

    Args:
        do_lower_case: lower each character.
        never_split: words that are passed through as they stand, in case and marks.
        tokenize_chinese_chars: make each Chinese character a word of its own.
        strip_accents: drop combining marks after decomposition; None does so when lowering.
    """

    def __init__(
        self,
        do_lower_case: bool = True,
        never_split: Iterable[str] = (),
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
    ) -> None:
        """Keep the settings."""
        self.do_lower_case = do_lower_case
        self.never_split = frozenset(never_split)
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = do_lower_case if strip_accents is None else strip_accents

    def tokenize(self, text: str) -> list[str]:
        """Return the words of `text`, punctuation marks as words of their own."""
        words: list[str] = []
        for word in self.clean(text).split(" "):
            if word in self.never_split:
                words.append(word)
            elif word:
                words.extend(_split_words(self.fold(word)))
        return words

    def clean(self, text: str) -> str:
        """Drop control characters, make every white space a plain one, set Chinese characters apart."""
        return "".join(_cleaned(char, self.tokenize_chinese_chars) for char in text)

    def fold(self, word: str) -> str:
        """Strip accents and lower, as set."""
        if self.strip_accents:
            word = "".join(_without_marks(char) for char in unicodedata.normalize("NFD", word))
        if self.do_lower_case:
            # Character by character: a final sigma is lowered as any other.
            word = "".join(char.lower() for char in word)
        return word


@functools.lru_cache(maxsize=1 << 16)
def _cleaned(char: str, split_cjk: bool) -> str:
    if char in _DROPPED or is_control(char):
        return ""
    if is_whitespace(char):
        return " "
    return f" {char} " if split_cjk and is_cjk(char) else char


@functools.lru_cache(maxsize=1 << 16)
def _without_marks(char: str) -> str:
    return "" if unicodedata.category(char) == "Mn" else char


@functools.lru_cache(maxsize=1 << 16)
def _apart(char: str) -> str:
    return f" {char} " if is_punctuation(char) else char


def _split_words(word: str) -> list[str]:
    if word.isalnum():
        return [word]
    return [piece for piece in "".join(map(_apart, word)).split(" ") if piece]
