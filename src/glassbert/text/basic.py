"""The first step: raw text → words.

Clean-up, spaces round Chinese characters, lower case, accents, punctuation split off. What counts as which is a set of
rules: `hf` (BertNormalizer and BertPreTokenizer of Hugging Face's `tokenizers`) or `google` (tokenization.py of
google-research/bert).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from glassbert.text.characters import Characters, Rules, all_but, characters, check_text
from glassbert.text.checks import check_flags, check_string, words_of


class Normalizer:
    """Text → text, character by character, with the place that each one comes from.

    The order of the steps is that of the rules: `hf` strips accents and then lowers, `google` lowers first.

    Args:
        rules: "hf" or "google".
        clean_text: drop control characters and make every white space a plain one.
        tokenize_chinese_chars: set each Chinese character apart by spaces.
        strip_accents: decompose, and drop the marks.
        do_lower_case: lower each character; a capital sigma at the end of a word becomes a final one under `google`.
    """

    def __init__(
        self,
        rules: Rules = "hf",
        *,
        clean_text: bool = True,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool = True,
        do_lower_case: bool = True,
    ) -> None:
        """Keep the settings."""
        self.rules = rules
        self.clean_text = clean_text
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.do_lower_case = do_lower_case
        self._characters = characters(rules)
        # What becomes of one character by itself, found when it is met; it is all that matters in almost every text.
        self._table = _Table(self)

    def normalize(self, text: str) -> str:
        """Return the normalized text."""
        return self._steps(text)[0] if self._in_context(text) else text.translate(self._table)

    def with_origins(self, text: str) -> tuple[str, list[int]]:
        """Return the normalized text, and for each character of it the place in `text` that it comes from."""
        if self._in_context(text):
            return self._steps(text)
        table = self._table
        parts = [table[ord(char)] for char in text]
        return "".join(parts), [place for place, part in enumerate(parts) for _ in part]

    def _in_context(self, text: str) -> bool:
        """Whether what becomes of a character depends on its neighbours."""
        if text.isascii():
            return False
        if self.rules == "google" and self.do_lower_case and "Σ" in text:
            return True
        return self.strip_accents and not _movable(self.rules).isdisjoint(text)

    def _steps(self, text: str) -> tuple[str, list[int]]:
        """Take every step in turn: the definition of what this class does."""
        chars = [(char, place) for place, char in enumerate(text)]
        table = self._characters
        if self.clean_text:
            chars = [(" " if ord(char) in table.spaces else char, place) for char, place in chars]
            chars = [(char, place) for char, place in chars if ord(char) not in table.dropped]
        if self.tokenize_chinese_chars:
            chars = [(one, place) for char, place in chars for one in self._apart(char)]
        if self.do_lower_case and self.rules == "google":
            chars = _lowered(_with_final_sigmas(chars, table), table)
        if self.strip_accents:
            chars = [(char, place) for char, place in _decomposed(chars, table) if ord(char) not in table.marks]
        if self.do_lower_case and self.rules == "hf":
            chars = _lowered(chars, table)
        return "".join(char for char, _ in chars), [place for _, place in chars]

    def _apart(self, char: str) -> str:
        return f" {char} " if ord(char) in self._characters.chinese else char


class _Table(dict[int, str]):
    """Code point → what becomes of the character by itself; what `str.translate` takes."""

    def __init__(self, normalizer: Normalizer) -> None:
        self._normalizer = normalizer

    def __missing__(self, point: int) -> str:
        self[point] = result = self._normalizer._steps(chr(point))[0]
        return result

    def __reduce__(self) -> tuple[type[_Table], tuple[Normalizer]]:
        return _Table, (self._normalizer,)


def _lowered(chars: list[tuple[str, int]], table: Characters) -> list[tuple[str, int]]:
    return [(one, place) for char, place in chars for one in table.lower.get(char, char)]


def _decomposed(chars: list[tuple[str, int]], table: Characters) -> list[tuple[str, int]]:
    """Decompose, and put marks that follow each other in canonical order.

    Places go by order, as in `tokenizers`: the n-th whole character of a run has the n-th place, whichever it was.
    """
    parts = [
        (one, not number, table.orders.get(one, 0))
        for char, _ in chars
        for number, one in enumerate(table.decompose(char))
    ]
    begin = 0
    while begin < len(parts):
        end = begin
        while end < len(parts) and parts[end][2]:
            end += 1
        parts[begin:end] = sorted(parts[begin:end], key=lambda part: part[2])
        begin = end + 1
    result, seen = [], 0
    for one, first, _ in parts:
        seen += first
        result.append((one, chars[max(0, seen - 1)][1]))
    return result


def _with_final_sigmas(chars: list[tuple[str, int]], table: Characters) -> list[tuple[str, int]]:
    """Lower the capital sigmas that end a word: something cased comes before, and nothing cased after."""

    def cased(beside: Iterable[int]) -> bool:
        """Whether the first that is not passed over is cased."""
        point = next((ord(chars[number][0]) for number in beside if ord(chars[number][0]) not in table.ignorable), 0)
        return point in table.cased

    result = list(chars)
    for number, (char, place) in enumerate(chars):
        before, after = range(number - 1, -1, -1), range(number + 1, len(chars))
        if char == "Σ" and cased(before) and not cased(after):
            result[number] = ("ς", place)
    return result


@functools.cache
def _movable(rules: Rules) -> frozenset[str]:
    """Return the characters that stay when marks are stripped, and may change places with marks beside them.

    Also those that such characters come out of.
    """
    table = characters(rules)
    staying = {char for char in table.orders if ord(char) not in table.marks}
    whole = {char for char, parts in table.decomposed.items() if not staying.isdisjoint(parts)}
    return frozenset(staying | whole)


class BasicTokenizer:
    """Splits text into words.

    Args:
        do_lower_case: lower each character.
        never_split: words, set off by white space, that are passed through as they stand, in case and marks.
        tokenize_chinese_chars: make each Chinese character a word of its own.
        strip_accents: drop combining marks after decomposition; None does so when lowering.
        clean_text: drop control characters and make every white space a plain one.
        rules: "hf" or "google".

    Raises:
        InputError: a setting is none of those it can be.
    """

    def __init__(
        self,
        do_lower_case: bool = True,
        never_split: Iterable[str] | None = (),
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        clean_text: bool = True,
        rules: Rules = "hf",
    ) -> None:
        """Keep the settings."""
        check_flags(do_lower_case=do_lower_case, tokenize_chinese_chars=tokenize_chinese_chars, clean_text=clean_text)
        if strip_accents is not None:
            check_flags(strip_accents=strip_accents)
        check_string("rules", rules)
        self.do_lower_case = do_lower_case
        self.never_split = frozenset(_kept(never_split))
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = do_lower_case if strip_accents is None else strip_accents
        self.clean_text = clean_text
        self.rules = rules
        self.normalizer = Normalizer(
            rules,
            clean_text=clean_text,
            tokenize_chinese_chars=tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            do_lower_case=do_lower_case,
        )
        self.word_pattern = _words(rules)

    def tokenize(self, text: str, never_split: Iterable[str] | None = None) -> list[str]:
        """Return the words of `text`, punctuation marks as words of their own.

        Args:
            text: any string.
            never_split: further words to pass through.

        Raises:
            InputError: no string, or a lone surrogate.
        """
        check_string("the text", text)
        kept = self.never_split.union(_kept(never_split))
        if not kept:
            return self.words(text)
        words: list[str] = []
        for start, stop, whole in self.around(text, kept):
            words.extend([text[start:stop]] if whole else self.words(text[start:stop]))
        return words

    def words(self, text: str) -> list[str]:
        """Return the words of `text`, whatever `never_split` says.

        Raises:
            InputError: no string, or a lone surrogate.
        """
        check_string("the text", text)
        check_text(text)
        return self.word_pattern.findall(self.normalizer.normalize(text))

    def around(self, text: str, kept: frozenset[str] | None = None) -> Iterator[tuple[int, int, bool]]:
        """Cut `text` at the words that are not to be split: begin, end, and whether it is one of them."""
        begin = 0
        pattern = _standing_alone(self.never_split if kept is None else kept, self.rules, self.tokenize_chinese_chars)
        for found in pattern.finditer(text):
            if found.start() > begin:
                yield begin, found.start(), False
            yield found.start(), found.end(), True
            begin = found.end()
        if begin < len(text):
            yield begin, len(text), False


def _kept(never_split: Iterable[str] | None) -> list[str]:
    return [] if never_split is None else [word for word in words_of("never_split", never_split) if word]


@functools.cache
def _words(rules: Rules) -> re.Pattern[str]:
    """Find words in a normalized text: what stands between marks and white space, or a mark."""
    table = characters(rules)
    # `re` is quick to find a character in a class, but slow to find that it is in none of the runs beyond U+FFFF; so
    # letters are named, not excluded, and come first.
    letters = all_but(table.punctuation, table.whitespace)
    return re.compile(f"[{letters}]+|[^{table.whitespace.pattern}]")


@functools.lru_cache(maxsize=64)
def _standing_alone(words: frozenset[str], rules: Rules, chinese: bool) -> re.Pattern[str]:
    """Find any of `words` between white space, or Chinese characters where these are words of their own."""
    table = characters(rules)
    edge = table.whitespace.pattern + (table.chinese.pattern if chinese else "")
    choices = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(f"(?<![^{edge}])(?:{choices})(?![^{edge}])")
