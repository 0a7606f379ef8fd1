"""Write `src/glassbert/text/characters.json`: what each set of rules does with every character of Unicode.

    python tools/characters.py            # writes the file
    python tools/characters.py --check    # says whether the file is what this program would write

The rules `hf` are asked of the pinned `tokenizers`, code point by code point; the rules `google` are those of Google's
program with the tables of Unicode 14, which Python 3.11 has. Neither is asked when glassbert runs: a newer library or
another Python would give other ids for the same text.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

TARGET = Path(__file__).resolve().parents[1] / "src" / "glassbert" / "text" / "characters.json"
POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
# Decomposed by arithmetic, so not listed.
HANGUL = range(0xAC00, 0xD7A4)
UNICODE = "14.0.0"


def ranges(points: Iterable[int]) -> str:
    """Write points as "41-5a 61": runs in hexadecimal, in rising order."""
    runs: list[list[int]] = []
    for point in sorted(points):
        if runs and point == runs[-1][1] + 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return " ".join(f"{low:x}" if low == high else f"{low:x}-{high:x}" for low, high in runs)


def mapping(pairs: Mapping[int, str]) -> str:
    """Write a map as "c0:41,300 c1:41,301"."""
    return " ".join(
        f"{point:x}:" + ",".join(f"{ord(char):x}" for char in text) for point, text in sorted(pairs.items())
    )


def changed(function: Callable[[str], str]) -> dict[int, str]:
    """Ask a function what it makes of each character; leave out what it leaves alone."""
    results = ((point, function(chr(point))) for point in POINTS)
    return {point: text for point, text in results if text != chr(point)}


def orders(decompose: Callable[[str], str]) -> dict[int, int]:
    """Find each character's canonical combining class from how it changes places with marks whose class is known."""

    def swaps(one: str, other: str) -> bool:
        return one != other and decompose(one + other) == other + one

    def moves(char: str) -> bool:
        return swaps(char, LOWEST) or swaps(HIGHEST, char) or char in (LOWEST, HIGHEST)

    # Of each class the first that the library knows to be a mark.
    marks: dict[int, str] = {}
    for point in range(0x300, 0x20000):
        if (order := unicodedata.combining(chr(point))) and order not in marks and moves(chr(point)):
            marks[order] = chr(point)
    found = {}
    for point in POINTS:
        char = chr(point)
        if not moves(char):
            continue
        same = [order for order, mark in marks.items() if not swaps(char, mark) and not swaps(mark, char)]
        assert len(same) == 1, (hex(point), same)
        found[point] = same[0]
    return found


# Marks of the lowest class that moves and of the highest.
LOWEST, HIGHEST = "\u0334", "\u0345"


def of_tokenizers() -> dict[str, Any]:
    """Ask `tokenizers`."""

    def bert(**settings: bool) -> Callable[[str], str]:
        off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
        normalizer: Callable[[str], str] = normalizers.BertNormalizer(**(off | settings)).normalize_str
        return normalizer

    cleaned, decomposed = changed(bert(clean_text=True)), changed(normalizers.NFD().normalize_str)
    stripped = changed(bert(strip_accents=True))
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    parts = {point: [word for word, _ in split(f"a{chr(point)}b")] for point in POINTS}
    # Those that come out of strip_accents as nothing, and decompose to themselves.
    marks = {point for point, text in stripped.items() if not text and point not in decomposed}
    check_strip(stripped, decomposed, marks)
    words = pre_tokenizers.WhitespaceSplit().pre_tokenize_str
    return {
        "dropped": ranges(point for point, text in cleaned.items() if not text),
        "spaces": ranges(point for point, text in cleaned.items() if text == " "),
        "whitespace": ranges(point for point in POINTS if len(words(f"a{chr(point)}b")) == 2),
        "chinese": ranges(changed(bert(handle_chinese_chars=True))),
        "punctuation": ranges(point for point, found in parts.items() if len(found) == 3),
        "marks": ranges(marks),
        "orders": {str(order): ranges(points) for order, points in grouped(orders(normalizers.NFD().normalize_str))},
        "decomposed": mapping({point: text for point, text in decomposed.items() if point not in HANGUL}),
        "lower": mapping(changed(bert(lowercase=True))),
        "word": ranges(point for point in POINTS if in_a_word(chr(point))),
    }


def check_strip(stripped: dict[int, str], decomposed: dict[int, str], marks: set[int]) -> None:
    """Make sure that stripping is what we take it for: decompose, then leave out marks."""
    for point in POINTS:
        whole = decomposed.get(point, chr(point))
        left = "".join(char for char in whole if ord(char) not in marks)
        assert stripped.get(point, chr(point)) == left, hex(point)


_WORDS = Tokenizer(models.WordPiece({"[UNK]": 0, "@": 1}, unk_token="[UNK]"))
_WORDS.add_tokens([AddedToken("@", single_word=True, normalized=False)])


def in_a_word(char: str) -> bool:
    """Whether a token that stands as a word of its own is not seen beside `char`."""
    return 1 not in _WORDS.encode(f"{char}@").ids


def of_google() -> dict[str, Any]:
    """Ask Python's tables as Google's program does."""
    category = unicodedata.category
    lowered = changed(str.lower)
    return {
        "dropped": ranges(
            point
            for point in POINTS
            if point in (0, 0xFFFD) or (category(chr(point)) in ("Cc", "Cf") and chr(point) not in "\t\n\r")
        ),
        # What is no space by its class but ends a word for `str.split`.
        "spaces": ranges(
            point
            for point in POINTS
            if chr(point) in "\t\n\r"
            or (
                point != 0x20
                and (category(chr(point)) == "Zs" or (chr(point).isspace() and category(chr(point)) != "Cc"))
            )
        ),
        "whitespace": ranges(point for point in POINTS if chr(point).isspace()),
        "chinese": "3400-4dbf 4e00-9fff f900-faff 20000-2a6df 2a700-2ceaf 2f800-2fa1f",
        "punctuation": ranges(
            point
            for point in POINTS
            if category(chr(point)).startswith("P") or (0x21 <= point <= 0x7E and not chr(point).isalnum())
        ),
        "marks": ranges(point for point in POINTS if category(chr(point)) == "Mn"),
        "orders": {
            str(order): ranges(points)
            for order, points in grouped(
                {point: unicodedata.combining(chr(point)) for point in POINTS if unicodedata.combining(chr(point))}
            )
        },
        "decomposed": mapping(
            {
                point: text
                for point, text in changed(lambda char: unicodedata.normalize("NFD", char)).items()
                if point not in HANGUL
            }
        ),
        "lower": mapping(lowered),
        "word": ranges(point for point in POINTS if chr(point).isalnum() or chr(point) == "_"),
        # Python lowers a sigma at the end of a word to another letter than elsewhere.
        "cased": ranges(point for point in POINTS if (chr(point) + "Σ").lower().endswith("ς")),
        "ignorable": ranges(
            point
            for point in POINTS
            if ("A" + chr(point) + "Σ").lower().endswith("ς") and not (chr(point) + "Σ").lower().endswith("ς")
        ),
    }


def grouped(orders_: Mapping[int, int]) -> Iterator[tuple[int, list[int]]]:
    """Turn point → class into class → points."""
    groups: dict[int, list[int]] = {}
    for point, order in orders_.items():
        groups.setdefault(order, []).append(point)
    yield from sorted(groups.items())


def main() -> None:
    """Write the file, or check it."""
    if unicodedata.unidata_version != UNICODE:
        sys.exit(f"characters: this Python has Unicode {unicodedata.unidata_version}, the tables need {UNICODE}")
    tables = {
        "made from": {"hf": f"tokenizers {version('tokenizers')}", "google": f"Unicode {UNICODE}"},
        "hf": of_tokenizers(),
        "google": of_google(),
    }
    text = json.dumps(tables, indent=1) + "\n"
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="ascii")
    elif TARGET.read_text(encoding="ascii") != text:
        sys.exit(f"characters: {TARGET.name} is not what this program writes")


if __name__ == "__main__":
    main()
