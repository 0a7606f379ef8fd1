"""What a set of rules does with each character of Unicode: tables that are frozen in this package.

`characters.json` is written by `tools/characters.py`. Nothing here asks `unicodedata`: its answers change with the
version of Python, and with them the ids of a text.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import json
import sys
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final, Literal, get_args

from glassbert.errors import InputError

# "hf": those of Hugging Face's `tokenizers`, which every served BERT sees; "google": those of Google's own program.
Rules = Literal["hf", "google"]
_FILE: Final = "characters.json"


class Ranges:
    """A set of code points, as runs in rising order."""

    def __init__(self, text: str) -> None:
        """Read runs such as "41-5a 61"."""
        runs = [run.partition("-") for run in text.split()]
        self.starts = [int(low, 16) for low, _, _ in runs]
        self.stops = [int(high or low, 16) for low, _, high in runs]

    def __contains__(self, point: int) -> bool:
        """Whether the code point is in one of the runs."""
        place = bisect.bisect_right(self.starts, point) - 1
        return place >= 0 and point <= self.stops[place]

    def __iter__(self) -> Iterator[int]:
        """Give all code points, lowest first."""
        for low, high in zip(self.starts, self.stops, strict=True):
            yield from range(low, high + 1)

    @functools.cached_property
    def pattern(self) -> str:
        """The inside of a class of `re`: what stands between its brackets."""
        runs = zip(self.starts, self.stops, strict=True)
        return "".join(f"\\U{low:08x}" if low == high else f"\\U{low:08x}-\\U{high:08x}" for low, high in runs)


def all_but(*sets: Ranges) -> str:
    """Return the inside of a class of `re` with every code point that is in none of the sets."""
    low, runs = 0, []
    for start, stop in sorted(run for one in sets for run in zip(one.starts, one.stops, strict=True)):
        if low < start:
            runs.append(f"\\U{low:08x}-\\U{start - 1:08x}")
        low = max(low, stop + 1)
    return "".join([*runs, f"\\U{low:08x}-\\U{sys.maxunicode:08x}"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Characters:
    """The classes of characters and their maps under one set of rules.

    Attributes:
        dropped: control, format and the like: taken out of a text.
        spaces: turned into a plain space.
        whitespace: ends a word where a text is not cleaned.
        chinese: each is a word of its own.
        punctuation: so is each of these.
        marks: left out where accents are stripped.
        word: letters and digits, beside which an added token is not "a single word".
        orders: canonical combining class of those that have one.
        decomposed: canonical decomposition, to the end; Korean syllables are computed.
        lower: lower case, one character or more.
        cased: of these a capital sigma at the end of a word becomes a final one; none under `hf`.
        ignorable: passed over in looking for them.
    """

    dropped: Ranges
    spaces: Ranges
    whitespace: Ranges
    chinese: Ranges
    punctuation: Ranges
    marks: Ranges
    word: Ranges
    orders: dict[str, int]
    decomposed: dict[str, str]
    lower: dict[str, str]
    cased: Ranges
    ignorable: Ranges

    def decompose(self, char: str) -> str:
        """Return the canonical decomposition of one character."""
        # Unicode 3.12: a Korean syllable is a leading consonant, a vowel, and perhaps a trailing consonant.
        place = ord(char) - 0xAC00
        if 0 <= place < 11172:
            lead, vowel, trail = place // 588, place // 28 % 21, place % 28
            return chr(0x1100 + lead) + chr(0x1161 + vowel) + (chr(0x11A7 + trail) if trail else "")
        return self.decomposed.get(char, char)


@functools.cache
def characters(rules: Rules) -> Characters:
    """Return the tables of a set of rules.

    Raises:
        InputError: there is no such set.
    """
    if rules not in get_args(Rules):
        raise InputError(f"rules is {rules!r}, expected one of {', '.join(get_args(Rules))}")
    table = _tables()[rules]
    names = ("dropped", "spaces", "whitespace", "chinese", "punctuation", "marks", "word", "cased", "ignorable")
    return Characters(
        **{name: Ranges(table.get(name, "")) for name in names},
        orders={chr(point): int(order) for order, text in table["orders"].items() for point in Ranges(text)},
        decomposed=_map(table["decomposed"]),
        lower=_map(table["lower"]),
    )


@functools.cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(resources.files("glassbert.text").joinpath(_FILE).read_bytes())
    return tables


def check_text(text: str, where: str = "the text") -> None:
    """Refuse a text with a lone surrogate.

    Raises:
        InputError: it has one; the message says where.
    """
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} holds a lone surrogate (U+{ord(text[error.start]):X}, character {error.start}), which is no "
            "character"
        ) from None


def _map(text: str) -> dict[str, str]:
    """Read a map such as "c0:41,300 c1:41,301"."""
    pairs = (entry.split(":") for entry in text.split())
    return {chr(int(char, 16)): "".join(chr(int(one, 16)) for one in value.split(",")) for char, value in pairs}
