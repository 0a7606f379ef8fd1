"""The second step: a word → pieces of the vocabulary."""

from __future__ import annotations

from collections.abc import Collection


class WordpieceTokenizer:
    """Greedy longest match first, from the left (arXiv 1609.08144, as in google-research/bert).

    Args:
        vocab: the known pieces; a piece inside a word begins with `##`. It is not to grow afterwards.
        unk_token: stands for a word that cannot be split into known pieces.
        max_input_chars_per_word: a longer word is `unk_token` as a whole.
    """

    def __init__(self, vocab: Collection[str], unk_token: str = "[UNK]", max_input_chars_per_word: int = 100) -> None:
        """Keep the settings."""
        self.vocab = vocab
        self._longest = max(map(len, vocab), default=0)
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word

    def tokenize(self, text: str) -> list[str]:
        """Return the pieces of words that are separated by white space."""
        return [piece for word in text.split() for piece in self.split(word)]

    def split(self, word: str) -> list[str]:
        """Return the pieces of one word."""
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
