"""How well a vocabulary fits a text."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Final

from glassbert.errors import VocabularyError
from glassbert.text.checks import check_counts, count_of
from glassbert.text.wordpiece import WordpieceTokenizer, check_pieces

_UNKNOWN: Final = "[UNK]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coverage:
    """What a vocabulary makes of a text; everything is counted as often as it occurs.

    Attributes:
        words: words of the text.
        characters: characters of these words; of those that are too long to be split, none is counted.
        tokens: pieces that the words become; a word that cannot be written in pieces becomes one, the unknown token.
        covered_characters: characters that the vocabulary can write where they stand: `x` at the beginning of a word,
            `##x` inside one.
        unknown_words: words that cannot be written in pieces.
        whole_words: words that are a token as they stand.
    """

    words: int
    characters: int
    tokens: int
    covered_characters: int
    unknown_words: int
    whole_words: int

    @property
    def character_coverage(self) -> float:
        """Share of the characters that the vocabulary can write; 1 where there are none."""
        return self.covered_characters / self.characters if self.characters else 1.0

    @property
    def unknown_rate(self) -> float:
        """Share of the words that become the unknown token."""
        return self.unknown_words / self.words

    @property
    def whole_rate(self) -> float:
        """Share of the words that are a token as they stand."""
        return self.whole_words / self.words

    @property
    def tokens_per_word(self) -> float:
        """Mean number of pieces of a word, also called fertility; an unknown word counts one."""
        return self.tokens / self.words

    def to_dict(self) -> dict[str, int | float]:
        """Return counts and rates by name."""
        rates = ("character_coverage", "unknown_rate", "whole_rate", "tokens_per_word")
        return {**dataclasses.asdict(self), **{name: getattr(self, name) for name in rates}}


def measure_coverage(vocabulary: Mapping[str, int], counts: Mapping[str, int], *, too_long: int = 0) -> Coverage:
    """Split each word once and count what becomes of it.

    Args:
        vocabulary: ids by token; only the tokens matter.
        counts: occurrences by word, as a `BasicTokenizer` splits words.
        too_long: occurrences of further words, too long for a tokenizer to split: unknown, one token each.

    Raises:
        VocabularyError: there are no words, or what is given is not of that kind.
    """
    check_pieces(vocabulary)
    check_counts(counts)
    words = tokens = unknown = count_of("too_long", too_long, refusal=VocabularyError)
    characters = covered = whole = 0
    split = WordpieceTokenizer(vocabulary, _UNKNOWN).split
    for word, count in counts.items():
        words += count
        characters += count * len(word)
        inside = sum("##" + char in vocabulary for char in word[1:])
        covered += count * ((word[0] in vocabulary) + inside)
        pieces = split(word)
        tokens += count * len(pieces)
        if pieces[0] == _UNKNOWN:
            unknown += count
        elif len(pieces) == 1:
            whole += count
    if not words:
        raise VocabularyError("the text to measure a vocabulary on holds no words")
    return Coverage(
        words=words,
        characters=characters,
        tokens=tokens,
        covered_characters=covered,
        unknown_words=unknown,
        whole_words=whole,
    )


def missing_characters(vocabulary: Mapping[str, int], counts: Mapping[str, int]) -> Counter[str]:
    """Return the characters of a text that are not in a vocabulary, and how often each occurs.

    A word that is a token as a whole, such as `[UNK]`, lacks none.

    Args:
        vocabulary: ids by token; only the tokens matter.
        counts: occurrences by word.

    Raises:
        VocabularyError: what is given is not of that kind.
    """
    check_pieces(vocabulary)
    check_counts(counts)
    missing: Counter[str] = Counter()
    for word, count in counts.items():
        for char in () if word in vocabulary else word:
            if char not in vocabulary:
                missing[char] += count
    return missing
