"""Strings → ids of pieces, without the special tokens round a text: what stands under both tokenizers.

Everything that a tokenizer does beside (pairs, truncation, padding, arrays) is built on `Core`, so that another one
that gives the same pieces can take the place of these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple, Protocol

from glassbert.text.added import AddedToken, Finder
from glassbert.text.basic import BasicTokenizer
from glassbert.text.characters import Rules, characters, check_text
from glassbert.text.wordpiece import WordpieceTokenizer

# How much text is looked at together: long enough to be quick, short enough for the processor's cache.
_STRETCH: Final = 1 << 16
# Most words of a text come again, so that their ids are remembered: of so many, and of so many characters.
_REMEMBERED: Final = 1 << 16
_LONGEST_REMEMBERED: Final = 64


class Pieces(NamedTuple):
    """The pieces of one text.

    Attributes:
        ids: of the pieces.
        offsets: begin and end of each in the text, in characters; None where they were not asked for.
        words: which word of the text each belongs to, from 0; marks and added tokens count as words.
    """

    ids: list[int]
    offsets: list[tuple[int, int]] | None = None
    words: list[int] | None = None


class Core(Protocol):
    """Splits texts into pieces."""

    def encode(self, texts: Sequence[str], *, details: bool) -> list[Pieces]:
        """Return the pieces of each text; with `details` their offsets and words too.

        Raises:
            InputError: a text holds a lone surrogate.
        """


class PlainCore:
    """The reference, in plain Python.

    Args:
        vocab: pieces and ids.
        wordpiece: splits words into pieces.
        basic: splits a text into words; None splits at white space alone.
        added: tokens that are found in a text as a whole, and their ids.
        rules: whose white space counts.

    Attributes:
        raw: finds those of the added tokens that are looked for before the text is normalized.
    """

    def __init__(
        self,
        vocab: dict[str, int],
        wordpiece: WordpieceTokenizer,
        basic: BasicTokenizer | None,
        added: Sequence[tuple[AddedToken, int]],
        rules: Rules,
    ) -> None:
        """Keep the parts."""
        self._vocab = vocab
        self._wordpiece = wordpiece
        self._basic = basic
        self._ids = _Remembered(self._ids_of_word)
        # Nothing in a normalization reaches over a space: what stands between two always has the same ids.
        self._ids_between_spaces = _Remembered(self._ids_of_run)
        table = characters(rules)
        self._words = re.compile(f"[^{table.whitespace.pattern}]+") if basic is None else basic.word_pattern
        self._space = re.compile(f"[{table.whitespace.pattern}]")
        self.raw = Finder([(token, index) for token, index in added if not token.is_normalized], rules)
        normalize = None if basic is None else basic.normalizer.normalize
        self._normalized = Finder([(token, index) for token, index in added if token.is_normalized], rules, normalize)

    def encode(self, texts: Sequence[str], *, details: bool) -> list[Pieces]:
        """Return the pieces of each text; with `details` their offsets and words too."""
        for text in texts:
            check_text(text)
        return [self._detailed(text) if details else Pieces(self._quick(text)) for text in texts]

    def _quick(self, text: str) -> list[int]:
        """Return the ids alone."""
        ids: list[int] = []
        for start, stop, index in self.raw.split(text):
            if index is not None:
                ids.append(index)
            elif self._normalized:  # a token that a user added may hold spaces
                ids.extend(self._ids_of(text[start:stop]))
            else:
                for begin, end in self._stretches(text, start, stop):
                    parts = text[begin:end].split(" ")
                    ids.extend(chain.from_iterable(map(self._ids_between_spaces.__getitem__, parts)))
        return ids

    def _ids_of_run(self, run: str) -> tuple[int, ...]:
        # Most runs are one word of plain letters, of which no rules change more than the case.
        if run.isascii() and run.isalpha():
            return self._ids[run.lower() if self._basic is not None and self._basic.do_lower_case else run]
        return self._ids_of(run)

    def _ids_of(self, text: str) -> tuple[int, ...]:
        normalized = text if self._basic is None else self._basic.normalizer.normalize(text)
        ids: list[int] = []
        for start, stop, index in self._normalized.split(normalized):
            if index is not None:
                ids.append(index)
            else:
                words = self._words.findall(normalized, start, stop)
                ids.extend(chain.from_iterable(map(self._ids.__getitem__, words)))
        return tuple(ids)

    def _ids_of_word(self, word: str) -> tuple[int, ...]:
        whole = self._vocab.get(word)
        if whole is not None and len(word) <= self._wordpiece.max_input_chars_per_word:  # as most new words are
            return (whole,)
        return tuple([self._vocab[piece] for piece in self._wordpiece.split(word)])

    def _stretches(self, text: str, start: int, stop: int) -> Iterable[tuple[int, int]]:
        """Cut a long text at white space, where no word can be cut in two."""
        return [(start, stop)] if stop - start <= _STRETCH else self._cut(text, start, stop)

    def _cut(self, text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
        while stop - start > _STRETCH:
            found = self._space.search(text, start + _STRETCH, stop)
            if found is None:
                break
            yield start, found.end()
            start = found.end()
        yield start, stop

    def _detailed(self, text: str) -> Pieces:
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        words: list[int] = []
        for number, (word, places, end, index) in enumerate(self.located(text)):
            if index is not None:
                ids.append(index)
                offsets.append((places[0], end))
                words.append(number)
                continue
            start = 0
            for piece, stop in zip(self._ids[word], self._ends(word), strict=True):
                ids.append(piece)
                offsets.append((places[start], places[stop - 1] + 1))
                words.append(number)
                start = stop
        return Pieces(ids, offsets, words)

    def _ends(self, word: str) -> list[int]:
        """Tell where each piece of a word ends in it."""
        pieces = self._wordpiece.split(word)
        if len(pieces) == 1:
            return [len(word)]  # also what stands for a word that is unknown
        ends = [len(pieces[0])]
        for piece in pieces[1:]:
            ends.append(ends[-1] + len(piece) - 2)
        return ends

    def located(self, text: str) -> Iterator[tuple[str, Sequence[int], int, int | None]]:
        """Give each word or added token: where its characters stand in the text, its end there, the id of a token."""
        for start, stop, index in self.raw.split(text):
            if index is not None:
                yield text[start:stop], (start,), stop, index
                continue
            part = text[start:stop]
            if self._basic is None:
                normalized, origins = part, list(range(len(part)))
            else:
                normalized, origins = self._basic.normalizer.with_origins(part)
            if start:
                origins = [start + place for place in origins]
            for begin, end, inner in self._normalized.split(normalized):
                if inner is not None:
                    yield normalized[begin:end], origins[begin : begin + 1], origins[end - 1] + 1, inner
                    continue
                for found in self._words.finditer(normalized, begin, end):
                    places = origins[found.start() : found.end()]
                    yield found.group(), places, places[-1] + 1, None


class _Remembered(dict[str, tuple[int, ...]]):
    """Text → ids, remembered where the text is short.

    The ids are tuples, since Python's collector does not come back to tuples of numbers.
    """

    def __init__(self, ids_of: Callable[[str], tuple[int, ...]]) -> None:
        self._ids_of = ids_of

    def __missing__(self, text: str) -> tuple[int, ...]:
        ids = self._ids_of(text)
        if len(text) <= _LONGEST_REMEMBERED:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[text] = ids
        return ids
