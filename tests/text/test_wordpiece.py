from __future__ import annotations

import pytest

from glassbert import WordpieceTokenizer

VOCAB = {
    "[UNK]",
    "un",
    "want",
    "##want",
    "##ed",
    "runn",
    "##ing",
    "##aff",
    "##able",
    "a",
    "##a",
    "ab",
    "##b",
    "abc",
    "d",
}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("unwanted running", ["un", "##want", "##ed", "runn", "##ing"]),
        ("unaffable", ["un", "##aff", "##able"]),
        ("  unwanted\t\nrunning ", ["un", "##want", "##ed", "runn", "##ing"]),
        # One piece that is not known makes the whole word unknown, and that word only.
        ("unwantedX running", ["[UNK]", "runn", "##ing"]),
        ("unx", ["[UNK]"]),
        # Greedy: "abc" is taken although "ab" alone would leave a way on.
        ("abcb", ["abc", "##b"]),
        ("aba", ["ab", "##a"]),
        ("abcd", ["[UNK]"]),
        # A piece for the middle of a word does not begin one, nor the other way round.
        ("ing", ["[UNK]"]),
        ("ad", ["[UNK]"]),
    ],
)
def test_longest_match_first(text: str, pieces: list[str]) -> None:
    assert WordpieceTokenizer(VOCAB).tokenize(text) == pieces


@pytest.mark.parametrize(
    ("length", "pieces"), [(1, ["a"]), (100, ["a"] + ["##a"] * 99), (101, ["[UNK]"]), (1000, ["[UNK]"])]
)
def test_a_word_of_more_than_100_characters_is_unknown(length: int, pieces: list[str]) -> None:
    assert WordpieceTokenizer(VOCAB).tokenize("a" * length) == pieces


def test_length_counts_characters_not_bytes() -> None:
    tokenizer = WordpieceTokenizer({"\U00020000", "##\U00020000"}, max_input_chars_per_word=3)
    assert tokenizer.split("\U00020000" * 3) == ["\U00020000"] + ["##\U00020000"] * 2
    assert tokenizer.split("\U00020000" * 4) == ["[UNK]"]


def test_the_unknown_token_is_a_setting() -> None:
    assert WordpieceTokenizer({"a"}, unk_token="<unk>").tokenize("a b") == ["a", "<unk>"]
