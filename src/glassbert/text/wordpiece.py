"""The second step: a word → pieces of the vocabulary."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from glassbert.errors import VocabularyError
from glassbert.text.checks import all_strings, check_string, count_of, shown


class WordpieceTokenizer:
    """Greedy longest match first, from the left (arXiv 1609.08144, as in google-research/bert).

    Args:
        vocab: the known pieces; a piece inside a word begins with `##`. It is not to grow afterwards.
        unk_token: stands for a word that cannot be split into known pieces.
        max_input_chars_per_word: a longer word is `unk_token` as a whole.

    Raises:
        VocabularyError: the pieces are none.
        InputError: another setting is none of those it can be.
    """

    def __init__(self, vocab: Collection[str], unk_token: str = "[UNK]", max_input_chars_per_word: int = 100) -> None:
        """Keep the settings."""
        check_pieces(vocab)
        check_string("unk_token", unk_token)
        count_of("max_input_chars_per_word", max_input_chars_per_word)
        self.vocab = vocab
        self._longest = max(map(len, vocab), default=0)
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word

    def tokenize(self, text: str) -> list[str]:
        """Return the pieces of words that are separated by white space.

        Raises:
            InputError: no string.
        """
        check_string("the text", text)
        return [piece for word in text.split() for piece in self.split(word)]

    def split(self, word: str) -> list[str]:
        """Return the pieces of one word.

        Raises:
            InputError: no string.
        """
        check_string("the word", word)
        if len(word) > self.max_input_chars_per_word:
            return [self.unk_token]
        vocab, length = self.vocab, len(word)
        pieces: list[str] = []
        start, prefix = 0, ""
        while start < length:
            # Nothing longer is known; without this the time would grow with the square of a word's length.
            end = min(length, start + self._longest)
            while end > start and (piece := prefix + word[start:end]) not in vocab:
                end -= 1
            if end == start:
                return [self.unk_token]
            pieces.append(piece)
            start, prefix = end, "##"
        return pieces


def check_pieces(vocab: Any) -> None:
    """Refuse what is no vocabulary.

    Raises:
        VocabularyError: no collection of strings.
    """
    if isinstance(vocab, str | bytes) or not isinstance(vocab, Collection):
        raise VocabularyError(f"the vocabulary is {shown(vocab)}, expected tokens")
    if not all_strings(vocab):
        for piece in vocab:
            if not isinstance(piece, str):
                raise VocabularyError(f"the vocabulary holds what is {shown(piece)}, expected strings")
