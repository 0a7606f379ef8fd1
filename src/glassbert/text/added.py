"""Tokens beside the pieces of words: special ones such as `[MASK]`, and those that a user adds.

They are found in a text as a whole, before it is split into words, as `tokenizers` finds them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from glassbert.errors import InputError
from glassbert.text.characters import Rules, characters, check_text
from glassbert.text.checks import check_flags, shown


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """A token that is taken as a whole wherever it stands in a text.

    Attributes:
        content: how it is written.
        single_word: only where no letter or digit touches it.
        lstrip: take the white space before it along.
        rstrip: take the white space after it along.
        normalized: look for it in the normalized text, itself normalized: then `NewWord` is also found as `newword`
            where text is lowered. None: yes, but for special tokens.
        special: left out where `skip_special_tokens` is asked for.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = False

    @property
    def is_normalized(self) -> bool:
        """Whether it is looked for in the normalized text."""
        return not self.special if self.normalized is None else self.normalized


# Begin and end of a part of a text, and the id of the token that it is; None where it is plain text.
Part = tuple[int, int, int | None]


class Finder:
    """Finds added tokens in a text: the leftmost, and of several there the longest.

    Args:
        tokens: what to look for, and the ids.
        rules: whose white space and letters count.
        normalize: brings the tokens into the form of the text.
    """

    def __init__(
        self, tokens: Sequence[tuple[AddedToken, int]], rules: Rules, normalize: Callable[[str], str] | None = None
    ) -> None:
        """Compile one pattern of all tokens."""
        self._tokens = by_form(tokens, normalize)
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if self._tokens else None
        table = characters(rules)
        self._word = re.compile(f"[{table.word.pattern}]")
        self._space = re.compile(f"[{table.whitespace.pattern}]")
        self._spaces = re.compile(f"[{table.whitespace.pattern}]*")

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return self._pattern is not None

    def split(self, text: str) -> Iterable[Part]:
        """Cut `text` at the tokens; the parts cover it from begin to end.

        They overlap where a token begins in the white space that the one before took along, as in `tokenizers`.
        """
        if self._pattern is None or self._pattern.search(text) is None:
            return [(0, len(text), None)] if text else []
        return self._parts(text)

    def _parts(self, text: str) -> Iterator[Part]:
        begin = 0
        for start, stop, index in self._found(text):
            if start > begin:
                yield begin, start, None
            yield start, stop, index
            begin = stop
        if begin < len(text):
            yield begin, len(text), None

    def _found(self, text: str) -> Iterator[tuple[int, int, int]]:
        if self._pattern is None:
            return
        last = 0
        for match in self._pattern.finditer(text):
            token, index = self._tokens[match.group()]
            start, stop = match.span()
            if token.single_word and self._touched(text, start, stop):
                continue
            if token.lstrip:
                while start > last and self._space.match(text[start - 1]):
                    start -= 1
                start = max(start, last)
            if token.rstrip:
                stop = self._spaces.match(text, stop).end()  # type: ignore[union-attr]  # it also fits nothing
            if start < stop:
                yield start, stop, index
                last = stop

    def _touched(self, text: str, start: int, stop: int) -> bool:
        before, after = text[start - 1 : start] if start else "", text[stop : stop + 1]
        return any(side and self._word.match(side) is not None for side in (before, after))


def by_form(
    tokens: Iterable[tuple[AddedToken, int]], normalize: Callable[[str], str] | None
) -> dict[str, tuple[AddedToken, int]]:
    """Return the tokens by what is to be found in a text.

    Of several with one form the first is found, and one that normalization leaves nothing of never is.
    """
    found: dict[str, tuple[AddedToken, int]] = {}
    for token, index in tokens:
        form = token.content if normalize is None else normalize(token.content)
        if form:
            found.setdefault(form, (token, index))
    return found


def as_tokens(given: str | AddedToken | Iterable[str | AddedToken], *, special: bool) -> list[AddedToken]:
    """Make tokens of what a user gives: one or several, strings or tokens.

    Raises:
        InputError: something else, or a token without any character or with a lone surrogate.
    """
    if not isinstance(given, str | AddedToken | Iterable):
        raise InputError(f"tokens to add are of type {type(given).__name__}, expected strings")
    tokens = []
    for one in [given] if isinstance(given, str | AddedToken) else given:
        token = one if isinstance(one, AddedToken) else AddedToken(one)
        if not isinstance(token.content, str) or not token.content:
            raise InputError(f"a token to add is {shown(token.content)}, expected a string with something in it")
        check_flags(single_word=token.single_word, lstrip=token.lstrip, rstrip=token.rstrip, special=token.special)
        check_flags(normalized=token.is_normalized)
        check_text(token.content, f"the token {token.content!r}")
        tokens.append(dataclasses.replace(token, special=token.special or special))
    return tokens
