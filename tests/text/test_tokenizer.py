"""What both tokenizers do with texts and ids. `golden` and the fuzzer hold them against other programs."""

from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glassbert import BertTokenizer, InputError, VocabularyError
from glassbert.text import AddedToken, Encoding, core, save_vocabulary
from tests.text.small import CLS, MASK, NEXT, PAD, SEP, TOKENS, UNK, VOCAB, A

VOCAB_OF_FIVE = {token: VOCAB[token] for token in TOKENS[:5]}
B, C, D, E, F, G = range(A + 1, A + 7)


def one(tokenizer: BertTokenizer, first: str, second: str | None = None, **settings: Any) -> Encoding:
    return tokenizer.encodings([first], None if second is None else [second], **settings)[0]


def spelled(tokenizer: BertTokenizer, ids: list[int]) -> str:
    """Write ids as letters: `(` for `[CLS]`, `|` for `[SEP]`, `.` for `[PAD]`."""
    return "".join({"[CLS]": "(", "[SEP]": "|", "[PAD]": "."}.get(TOKENS[index], TOKENS[index]) for index in ids)


# -- one text, a pair, several -------------------------------------------------------------------------


def test_the_golden_sentence(shared: Path, kind: type[BertTokenizer]) -> None:
    tokenizer = kind(shared / "data/vocab/bert-base-uncased.vocab.txt")
    result = tokenizer("I like natural language progressing!")
    assert result.input_ids == [101, 1045, 2066, 3019, 2653, 27673, 999, 102]
    assert (result.token_type_ids, result.attention_mask) == ([0] * 8, [1] * 8)
    assert tokenizer.decode(result.input_ids) == "[CLS] i like natural language progressing! [SEP]"


def test_one_text(tokenizer: BertTokenizer) -> None:
    encoding = one(tokenizer, "UNwantéd, running")
    assert tokenizer.tokenize("UNwantéd, running") == ["un", "##want", "##ed", ",", "runn", "##ing"]
    assert encoding.ids == [CLS, 9, 6, 7, 12, 10, 11, SEP]
    assert encoding.types == [0] * 8
    assert encoding.special == [1, 0, 0, 0, 0, 0, 0, 1]
    assert (len(encoding), encoding.cut) == (8, 0)
    assert tokenizer.encode("UNwantéd, running") == encoding.ids


def test_a_pair(tokenizer: BertTokenizer) -> None:
    encoding = one(tokenizer, "low, low", "unwanted")
    assert encoding.ids == [CLS, 13, 12, 13, SEP, 9, 6, 7, SEP]
    assert encoding.types == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert encoding.special == [1, 0, 0, 0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("first", "second", "ids", "types"),
    [
        ("", None, [CLS, SEP], [0, 0]),
        ("", "", [CLS, SEP, SEP], [0, 0, 1]),
        ("a", "", [CLS, A, SEP, SEP], [0, 0, 0, 1]),
        ("", "a", [CLS, SEP, A, SEP], [0, 0, 1, 1]),
        ("zzz", None, [CLS, UNK, SEP], [0, 0, 0]),
    ],
)
def test_empty_and_unknown(
    tokenizer: BertTokenizer, first: str, second: str | None, ids: list[int], types: list[int]
) -> None:
    encoding = one(tokenizer, first, second)
    assert (encoding.ids, encoding.types) == (ids, types)
    result = tokenizer(first, second)
    assert (result.input_ids, result.token_type_ids) == (ids, types)


def test_without_special_tokens(tokenizer: BertTokenizer) -> None:
    encoding = one(tokenizer, "a b", "c", add_special_tokens=False)
    assert (encoding.ids, encoding.types, encoding.special) == ([A, B, C], [0, 0, 1], [0, 0, 0])
    result = tokenizer("a b", "c", add_special_tokens=False, return_special_tokens_mask=True)
    assert (result.input_ids, result.special_tokens_mask) == ([A, B, C], [0, 0, 0])


def test_one_text_gives_one_row_and_a_list_gives_rows(tokenizer: BertTokenizer) -> None:
    assert tokenizer("a") == {"input_ids": [CLS, A, SEP], "token_type_ids": [0] * 3, "attention_mask": [1] * 3}
    assert tokenizer(["a"])["input_ids"] == [[CLS, A, SEP]]
    assert tokenizer("a", "b").input_ids == [CLS, A, SEP, B, SEP]
    assert tokenizer([]) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}


def test_pairs_come_as_two_lists_or_as_tuples(tokenizer: BertTokenizer) -> None:
    two = tokenizer(["a", "b c"], ["d", "e"])
    assert two.input_ids == [[CLS, A, SEP, D, SEP], [CLS, B, C, SEP, E, SEP]]
    assert two.token_type_ids == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1]]
    assert tokenizer([("a", "d"), ("b c", "e")]) == two
    assert tokenizer(("a", "b")).input_ids == [[CLS, A, SEP], [CLS, B, SEP]]


def test_the_older_methods_are_calls(tokenizer: BertTokenizer) -> None:
    assert tokenizer.encode_plus("a", "b") == tokenizer("a", "b")
    assert tokenizer.batch_encode_plus(["a", "b c"], padding=True) == tokenizer(["a", "b c"], padding=True)
    assert tokenizer.batch_encode_plus([("a", "b")]) == tokenizer(["a"], ["b"])


def test_what_is_returned_is_chosen(tokenizer: BertTokenizer) -> None:
    few = tokenizer("a", return_token_type_ids=False, return_attention_mask=False)
    assert few == {"input_ids": [CLS, A, SEP]}
    more = tokenizer("a", return_special_tokens_mask=True, return_offsets_mapping=True, return_length=True)
    assert list(more) == [
        *("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "offset_mapping", "length"),
    ]
    assert (more.special_tokens_mask, more.offset_mapping, more.length) == ([1, 0, 1], [(0, 0), (0, 1), (0, 0)], 3)
    assert tokenizer(["a", "b c"], padding=True, return_length=True).length == [4, 4]
    assert tokenizer(["a", "b c"], return_length=True).length == [3, 4]


def test_encode_takes_two_texts_at_most(tokenizer: BertTokenizer) -> None:
    pair = [CLS, A, SEP, B, SEP]
    assert tokenizer.encode("a", "b") == tokenizer.encode(["a", "b"]) == tokenizer.encode(("a", "b")) == pair
    assert tokenizer.encode(["a"]) == [CLS, A, SEP]
    with pytest.warns(UserWarning, match="encode takes two texts; 2 more are left out"):
        assert tokenizer.encode(["a", "b", "c", "d"]) == pair
    assert tokenizer.encode(["a", "b", "c"], is_split_into_words=True) == [CLS, A, B, C, SEP]
    assert tokenizer.encode("a b", add_special_tokens=False, truncation=True, max_length=1) == [A]


@pytest.mark.parametrize("texts", [[], (), None, 5, b"a", {"a": 1}, ["a", 5], [["a"]], {"a"}])
def test_encode_refuses_what_is_no_text(tokenizer: BertTokenizer, texts: Any) -> None:
    with pytest.raises(InputError, match="expected a string"):
        tokenizer.encode(texts)


# -- given words ---------------------------------------------------------------------------------------


def test_words_are_taken_as_they_are_given(tokenizer: BertTokenizer) -> None:
    result = tokenizer(["unwanted", "a,b", "", "c d"], is_split_into_words=True, return_offsets_mapping=True)
    assert result.input_ids == [CLS, 9, 6, 7, A, 12, B, C, D, SEP]
    assert result.word_ids() == [None, 0, 0, 0, 1, 1, 1, 3, 3, None]
    # Places count from the beginning of each word.
    assert result.offset_mapping[1:-1] == [(0, 2), (2, 6), (6, 8), (0, 1), (1, 2), (2, 3), (0, 1), (2, 3)]


def test_batches_and_pairs_of_words(tokenizer: BertTokenizer) -> None:
    batch = tokenizer([["a", "b"], ["unwanted"], []], is_split_into_words=True)
    assert batch.input_ids == [[CLS, A, B, SEP], [CLS, 9, 6, 7, SEP], [CLS, SEP]]
    pair = tokenizer(["a", "b"], ["c"], is_split_into_words=True)
    assert (pair.input_ids, pair.token_type_ids) == ([CLS, A, B, SEP, C, SEP], [0, 0, 0, 0, 1, 1])
    assert (pair.word_ids(), pair.sequence_ids()) == ([None, 0, 1, None, 0, None], [None, 0, 0, None, 1, None])
    pairs = tokenizer([["a"], ["b", "c"]], [["d", "e"], []], is_split_into_words=True)
    assert pairs.input_ids == [[CLS, A, SEP, D, E, SEP], [CLS, B, C, SEP, SEP]]
    assert tokenizer([], is_split_into_words=True).input_ids == [CLS, SEP]


# -- special tokens in a text, words that stay whole ----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a [MASK] b", ["a", "[MASK]", "b"]),
        ("a[MASK]b", ["a", "[MASK]", "b"]),
        ("[CLS]a[SEP][PAD]", ["[CLS]", "a", "[SEP]", "[PAD]"]),
        ("[UNK]", ["[UNK]"]),
        # Only as they are spelled.
        ("[mask]", ["[UNK]"] * 3),
        ("[MA SK]", ["[UNK]"] * 4),
        ("[MA\u00adSK]", ["[UNK]"] * 3),
    ],
)
def test_special_tokens_written_in_the_text(tokenizer: BertTokenizer, text: str, tokens: list[str]) -> None:
    assert tokenizer.tokenize(text) == tokens


def test_tokenize_puts_special_tokens_round_the_pieces_when_asked(tokenizer: BertTokenizer) -> None:
    assert tokenizer.tokenize("a b", "c") == ["a", "b", "c"]
    assert tokenizer.tokenize("a b", add_special_tokens=True) == ["[CLS]", "a", "b", "[SEP]"]
    assert tokenizer.tokenize("a", "c", add_special_tokens=True) == ["[CLS]", "a", "[SEP]", "c", "[SEP]"]


def test_googles_program_takes_no_special_tokens_out_of_a_text(kind: type[BertTokenizer]) -> None:
    assert kind(VOCAB, rules="google").tokenize("a [MASK]") == ["a", "[UNK]", "[UNK]", "[UNK]"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a E.T. b", ["a", "E.T.", "b"]),
        ("E.T.", ["E.T."]),
        ("\tE.T.\u3000E.T.", ["E.T.", "E.T."]),
        # Not beside a mark or another letter, as in 4.4.2, but beside Chinese characters, which stand alone.
        ("E.T., b", ["e", "[UNK]", "[UNK]", "[UNK]", ",", "b"]),
        ("aE.T.", ["[UNK]", "[UNK]", "[UNK]", "[UNK]"]),
        ("e.t.", ["e", "[UNK]", "[UNK]", "[UNK]"]),
        ("字E.T.字", ["[UNK]", "E.T.", "[UNK]"]),
        # As it is written, though the vocabulary has no such token.
        ("Z! a", ["Z!", "a"]),
        ("E.T. [MASK] Z!", ["E.T.", "[MASK]", "Z!"]),
    ],
)
def test_words_that_are_never_split(kind: type[BertTokenizer], text: str, tokens: list[str]) -> None:
    own = kind({**VOCAB, "E.T.": NEXT}, never_split=["E.T.", "Z!"])
    assert own.tokenize(text) == tokens
    assert own.encode(text, add_special_tokens=False) == own.convert_tokens_to_ids(tokens)


def test_places_and_words_beside_what_is_never_split(kind: type[BertTokenizer]) -> None:
    own = kind({**VOCAB, "E.T.": NEXT}, never_split=["E.T.", "Z!"])
    result = own("unwanted, E.T. Z! b", return_offsets_mapping=True)
    assert result.input_ids == [CLS, 9, 6, 7, 12, NEXT, UNK, B, SEP]
    assert result.offset_mapping[1:-1] == [(0, 2), (2, 6), (6, 8), (8, 9), (10, 14), (15, 17), (18, 19)]
    assert result.word_ids() == [None, 0, 0, 0, 1, 2, 3, 4, None]
    words = own(["a", "E.T.", "b Z!"], is_split_into_words=True)
    assert words.input_ids == [CLS, A, NEXT, B, UNK, SEP]
    assert words.word_ids() == [None, 0, 1, 2, 2, None]


def test_a_word_that_is_never_split_may_be_an_added_token(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, never_split=["Z!"])
    own.add_tokens("Z!")
    assert own.encode("a Z!", add_special_tokens=False) == [A, NEXT]


def test_nothing_is_kept_whole_without_the_basic_tokenizer(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, never_split=["a,b"], do_basic_tokenize=False)
    assert own.tokenize("a,b a") == ["[UNK]", "a"]


# -- settings of the two steps --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text", "tokens"),
    [
        ({}, "É LOW", ["e", "low"]),
        ({"strip_accents": False}, "É LOW", ["é", "low"]),
        ({"do_lower_case": False}, "É LOW é low", ["[UNK]", "[UNK]", "é", "low"]),
        ({"do_lower_case": False, "strip_accents": True}, "é LOW", ["e", "[UNK]"]),
        ({}, "a字b", ["a", "[UNK]", "b"]),
        ({"tokenize_chinese_chars": False}, "a字b", ["[UNK]"]),
        ({}, "a\x00\u200b\ufffd", ["a"]),
        ({"clean_text": False}, "a\u200b a", ["[UNK]", "a"]),
        # Other white space still parts words.
        ({"clean_text": False}, "a\u00a0b\tc", ["a", "b", "c"]),
        ({"do_basic_tokenize": False}, "a A a,b low", ["a", "[UNK]", "[UNK]", "low"]),
        ({"do_basic_tokenize": False}, "unwanted\u3000é[MASK]a", ["un", "##want", "##ed", "é", "[MASK]", "a"]),
        ({"max_input_chars_per_word": 3}, "low want", ["low", "[UNK]"]),
        ({"max_input_chars_per_word": 8}, "unwanted", ["un", "##want", "##ed"]),
        ({"max_input_chars_per_word": 7}, "unwanted", ["[UNK]"]),
    ],
)
def test_settings(kind: type[BertTokenizer], settings: dict[str, Any], text: str, tokens: list[str]) -> None:
    own = kind(VOCAB, **settings)
    assert own.tokenize(text) == tokens
    detailed = own(text, add_special_tokens=False, return_offsets_mapping=True)
    assert detailed.input_ids == own.convert_tokens_to_ids(tokens)


@pytest.mark.parametrize(("rules", "longest"), [("hf", 100), ("google", 200)])
def test_the_longest_word(kind: type[BertTokenizer], rules: Any, longest: int) -> None:
    own = kind({**VOCAB, "##a": NEXT}, rules=rules)
    assert own.encode("a" * longest, add_special_tokens=False) == [A] + [NEXT] * (longest - 1)
    assert own.encode("a" * (longest + 1), add_special_tokens=False) == [UNK]


def test_places_are_those_of_the_text_as_it_was_given(tokenizer: BertTokenizer) -> None:
    text = "  É\u0301\u00ad字 UN\u200bWANTE\u0301D"
    result = tokenizer(text, return_offsets_mapping=True)
    assert result.input_ids == [CLS, 20, UNK, 9, 6, 7, SEP]
    assert result.offset_mapping == [(0, 0), (2, 3), (5, 6), (7, 9), (10, 14), (14, 17), (0, 0)]
    assert text[14:17] == "E\u0301D"


def test_an_unknown_word_has_one_place(tokenizer: BertTokenizer) -> None:
    result = tokenizer("a wantxyz b", return_offsets_mapping=True)
    assert result.input_ids == [CLS, A, UNK, B, SEP]
    assert result.offset_mapping[1:-1] == [(0, 1), (2, 9), (10, 11)]


# -- truncation ------------------------------------------------------------------------------------------


# a b c d with e f g, and the places that are left.
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("way", "limit", "first", "second"),
    [
        ("longest_first", 10, 4, 3),
        ("longest_first", 9, 3, 3),
        ("longest_first", 8, 3, 2),
        ("longest_first", 7, 2, 2),
        ("longest_first", 5, 1, 1),
        ("longest_first", 4, 1, 0),
        ("longest_first", 3, 0, 0),
        (True, 7, 2, 2),
        ("only_first", 9, 3, 3),
        ("only_first", 7, 1, 3),
        ("only_second", 9, 4, 2),
        ("only_second", 8, 4, 1),
        (False, None, 4, 3),
        ("do_not_truncate", None, 4, 3),
    ],
)
def test_truncation_of_a_pair(
    kind: type[BertTokenizer], way: Any, limit: int | None, first: int, second: int, side: Any
) -> None:
    own = kind(VOCAB, truncation_side=side)
    right = side == "right"
    kept = "abcd"[:first] if right else "abcd"[4 - first :], "efg"[:second] if right else "efg"[3 - second :]
    encoding = one(own, "a b c d", "e f g", truncation=way, max_length=limit)
    assert spelled(own, encoding.ids) == f"({kept[0]}|{kept[1]}|"
    assert encoding.cut == 7 - first - second
    assert encoding.types == [0] * (first + 2) + [1] * (second + 1)
    assert own("a b c d", "e f g", truncation=way, max_length=limit).input_ids == encoding.ids


@pytest.mark.parametrize(("way", "limit", "kept"), [(True, 5, "abc"), ("only_first", 3, "a"), ("longest_first", 2, "")])
def test_truncation_of_one_text(tokenizer: BertTokenizer, way: Any, limit: int, kept: str) -> None:
    assert spelled(tokenizer, tokenizer.encode("a b c d", truncation=way, max_length=limit)) == f"({kept}|"


@pytest.mark.parametrize(("count", "cut"), [(10, 0), (11, 1), (30, 20)])
def test_what_is_cut_is_reported(tokenizer: BertTokenizer, count: int, cut: int) -> None:
    encoding = one(tokenizer, "a " * count, truncation=True)
    assert (len(encoding), encoding.cut) == (12, cut)
    batch = tokenizer(["a", "a " * count], truncation=True)
    assert batch.cut == [0, cut]
    assert tokenizer("a " * count, truncation=True).cut == [cut]


def test_places_and_words_are_cut_along(tokenizer: BertTokenizer) -> None:
    result = tokenizer("a unwanted b", truncation=True, max_length=5, return_offsets_mapping=True)
    assert result.offset_mapping == [(0, 0), (0, 1), (2, 4), (4, 8), (0, 0)]
    assert result.word_ids() == [None, 0, 1, 1, None]


@pytest.mark.parametrize("way", ["longest_first", "only_first"])
@pytest.mark.parametrize("limit", [0, 1])
def test_too_little_room_for_the_special_tokens_is_an_error(tokenizer: BertTokenizer, way: Any, limit: int) -> None:
    with pytest.raises(InputError, match=f"max_length leaves {limit - 2} places for text; it has to hold the special"):
        tokenizer.encode("a b", truncation=way, max_length=limit)


@pytest.mark.parametrize(
    ("way", "texts", "limit"),
    [
        ("only_second", ("a b c", "d"), 5),
        ("only_first", ("a", "b c d"), 5),
        # Nothing of it would be left.
        ("only_first", ("a b c d", "e f g"), 6),
        ("only_second", ("a b c d", "e f g"), 7),
    ],
)
def test_a_text_that_cannot_give_enough_is_an_error(
    tokenizer: BertTokenizer, way: Any, texts: tuple[str, str], limit: int
) -> None:
    with pytest.raises(InputError, match=f"truncation='{way}' cannot leave"):
        tokenizer.encode(*texts, truncation=way, max_length=limit)


def test_only_second_needs_a_second_text(tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match="there is no second text"):
        tokenizer("a b c", truncation="only_second", max_length=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 5}, "max_length=5 has an effect with truncation=True or padding='max_length'"),
        ({"max_length": 5, "padding": True}, "max_length=5 has an effect"),
        ({"max_length": 5, "truncation": "do_not_truncate"}, "max_length=5 has an effect"),
        ({"max_length": -1, "truncation": True}, "max_length is -1"),
        ({"max_length": 5.0, "truncation": True}, "max_length is 5.0, expected a whole number"),
        ({"max_length": True, "truncation": True}, "max_length is True"),
        ({"truncation": "nonsense"}, "truncation is 'nonsense'"),
        ({"truncation": None}, "truncation is None"),
        ({"padding": "nonsense"}, "padding is 'nonsense'"),
        ({"padding": None}, "padding is None"),
        ({"padding_side": "up"}, "padding_side is 'up'"),
        ({"return_tensors": "tf"}, "return_tensors is 'tf'"),
        ({"pad_to_multiple_of": 8}, "pad_to_multiple_of has an effect with padding"),
        ({"pad_to_multiple_of": 0, "padding": True}, "pad_to_multiple_of is 0"),
        ({"pad_to_multiple_of": 2.5, "padding": True}, "pad_to_multiple_of is 2.5"),
        ({"stride": 1}, "stride has an effect with return_overflowing_tokens=True"),
        ({"stride": -1, "return_overflowing_tokens": True}, "stride is -1"),
        ({"stride": 1.5, "return_overflowing_tokens": True}, "stride is 1.5"),
        ({"stride": 1, "overlap": 2, "return_overflowing_tokens": True}, "overlap=2 and stride=1 are two names"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    tokenizer: BertTokenizer, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer("a b", "c d", **settings)


def test_a_misspelt_argument_is_refused(tokenizer: BertTokenizer) -> None:
    with pytest.raises(TypeError, match="truncate"):
        tokenizer("a b", truncate=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="lower"):
        type(tokenizer)(VOCAB, lower=True)  # type: ignore[call-arg]


# -- windows ---------------------------------------------------------------------------------------------


def windows(tokenizer: BertTokenizer, *texts: str, **settings: Any) -> list[str]:
    result = tokenizer(*texts, truncation=settings.pop("truncation", True), return_overflowing_tokens=True, **settings)
    assert result.overflow_to_sample_mapping == [0] * len(result.input_ids)
    assert result.cut == [0] * len(result.input_ids)
    return [spelled(tokenizer, row) for row in result.input_ids]


@pytest.mark.parametrize(
    ("side", "limit", "stride", "rows"),
    [
        ("right", 4, 0, ["(ab|", "(cd|", "(ef|", "(g|"]),
        ("right", 5, 0, ["(abc|", "(def|", "(g|"]),
        ("right", 5, 1, ["(abc|", "(cde|", "(efg|"]),
        ("right", 5, 2, ["(abc|", "(bcd|", "(cde|", "(def|", "(efg|"]),
        ("right", 9, 3, ["(abcdefg|"]),
        ("left", 5, 0, ["(efg|", "(bcd|", "(a|"]),
        ("left", 5, 1, ["(efg|", "(cde|", "(abc|"]),
        ("left", 6, 2, ["(defg|", "(bcde|", "(abc|"]),
    ],
)
def test_windows_of_one_text(kind: type[BertTokenizer], side: Any, limit: int, stride: int, rows: list[str]) -> None:
    own = kind(VOCAB, truncation_side=side)
    assert windows(own, "a b c d e f g", max_length=limit, stride=stride) == rows


def test_overlap_is_another_name_for_stride(tokenizer: BertTokenizer) -> None:
    rows = windows(tokenizer, "a b c d e f g", max_length=5, overlap=1)
    assert rows == windows(tokenizer, "a b c d e f g", max_length=5, stride=1)
    assert rows == windows(tokenizer, "a b c d e f g", max_length=5, stride=1, overlap=1)


@pytest.mark.parametrize(
    ("way", "limit", "stride", "rows"),
    [
        ("only_second", 7, 0, ["(ab|cd|", "(ab|ef|", "(ab|g|"]),
        ("only_second", 8, 1, ["(ab|cde|", "(ab|efg|"]),
        ("only_first", 9, 0, ["(a|cdefg|", "(b|cdefg|"]),
        # Where both are cut, each part of the one comes with each of the other.
        ("longest_first", 7, 0, ["(ab|cd|", "(ab|ef|", "(ab|g|"]),
        ("longest_first", 6, 0, ["(a|cd|", "(b|cd|", "(b|ef|", "(b|g|", "(a|ef|", "(a|g|"]),
        (True, 10, 0, ["(ab|cdefg|"]),
    ],
)
def test_windows_of_a_pair(tokenizer: BertTokenizer, way: Any, limit: int, stride: int, rows: list[str]) -> None:
    found = windows(tokenizer, "a b", "c d e f g", truncation=way, max_length=limit, stride=stride)
    assert found == rows


def test_windows_of_a_batch_know_their_text(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(
        ["a b c", "d", "e unwanted f"],
        truncation=True,
        max_length=4,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding=True,
    )
    assert batch.overflow_to_sample_mapping == [0, 0, 1, 2, 2, 2]
    assert [spelled(tokenizer, row) for row in batch.input_ids] == [
        *("(ab|", "(c|.", "(d|.", "(eun|", "(##want##ed|", "(f|."),
    ]
    assert batch.offset_mapping[4] == [(0, 0), (4, 8), (8, 10), (0, 0)]
    assert batch.word_ids(4) == [None, 1, 1, None]
    assert batch.tokens(5) == ["[CLS]", "f", "[SEP]", "[PAD]"]


def test_windows_come_as_rows_for_one_text_too(tokenizer: BertTokenizer) -> None:
    result = tokenizer("a", return_overflowing_tokens=True, return_length=True)
    assert (result.input_ids, result.overflow_to_sample_mapping, result.length) == ([[CLS, A, SEP]], [0], [3])


@pytest.mark.parametrize(("limit", "stride"), [(5, 3), (5, 4), (2, 1)])
def test_a_stride_as_long_as_a_window_is_an_error(tokenizer: BertTokenizer, limit: int, stride: int) -> None:
    # Also where this text needs no second window: the next one would.
    for text in ("a b c d", "a"):
        with pytest.raises(InputError, match=f"stride is {stride}, but a window has {limit - 2} places"):
            tokenizer(text, truncation=True, max_length=limit, stride=stride, return_overflowing_tokens=True)
    with pytest.raises(InputError, match="stride is 2, but a window has 2 places"):
        tokenizer(
            "a b c",
            "d e f",
            truncation="only_second",
            max_length=8,
            stride=2,
            return_overflowing_tokens=True,
        )


def test_a_window_without_a_place_is_an_error(tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match="no place in a window"):
        tokenizer("a b", truncation=True, max_length=2, return_overflowing_tokens=True)


# -- padding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("padding", "limit", "side", "rows"),
    [
        (False, None, "right", ["(a|", "(abc|"]),
        ("do_not_pad", None, "right", ["(a|", "(abc|"]),
        (True, None, "right", ["(a|..", "(abc|"]),
        ("longest", None, "left", ["..(a|", "(abc|"]),
        ("max_length", 7, "right", ["(a|....", "(abc|.."]),
        ("max_length", 7, "left", ["....(a|", "..(abc|"]),
        ("max_length", None, "right", ["(a|" + "." * 9, "(abc|" + "." * 7]),
    ],
)
@pytest.mark.parametrize("given", ["constructor", "call"])
def test_padding(
    kind: type[BertTokenizer], padding: Any, limit: int | None, side: Any, rows: list[str], given: str
) -> None:
    of_the_call = given == "call"
    own = kind(VOCAB, model_max_length=12, **({} if of_the_call else {"padding_side": side}))
    batch = own(
        ["a", "a b c"],
        padding=padding,
        max_length=limit,
        padding_side=side if of_the_call else None,
        return_special_tokens_mask=True,
        return_offsets_mapping=True,
    )
    assert [spelled(own, row) for row in batch.input_ids] == rows
    assert batch.attention_mask == [[int(char != ".") for char in row] for row in rows]
    assert batch.special_tokens_mask == [[int(char in "(|.") for char in row] for row in rows]
    assert batch.token_type_ids == [[0] * len(row) for row in rows]
    assert batch.offset_mapping[0] == [(0, 1) if char == "a" else (0, 0) for char in rows[0]]


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"padding": True, "pad_to_multiple_of": 4}, 8),
        ({"padding": True, "pad_to_multiple_of": 5}, 5),
        ({"padding": True, "pad_to_multiple_of": 1}, 5),
        ({"padding": "max_length", "max_length": 6, "pad_to_multiple_of": 8}, 8),
        ({"padding": "max_length", "max_length": 8, "pad_to_multiple_of": 8}, 8),
    ],
)
def test_padding_to_a_multiple(tokenizer: BertTokenizer, settings: dict[str, Any], length: int) -> None:
    for kind in (None, "np"):
        batch = tokenizer(["a", "a b c"], return_tensors=kind, **settings)
        assert [len(row) for row in batch.input_ids] == [length, length]


def test_padding_does_not_cut(tokenizer: BertTokenizer) -> None:
    assert len(tokenizer("a b c d e f", padding="max_length", max_length=4).input_ids) == 8


def test_padding_of_one_text_and_of_none(tokenizer: BertTokenizer) -> None:
    assert tokenizer("a", padding=True).input_ids == [CLS, A, SEP]
    assert tokenizer("a", padding="max_length", max_length=5).input_ids == [CLS, A, SEP, PAD, PAD]
    assert tokenizer([], padding=True).input_ids == []
    assert tokenizer([], padding=True, return_tensors="np").input_ids.shape == (0, 0)


def test_types_of_padding_after_a_pair(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(["a", "b"], ["c", "d e"], padding=True)
    assert batch.token_type_ids == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]]
    left = tokenizer(["a", "b"], ["c", "d e"], padding=True, padding_side="left")
    assert left.token_type_ids == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]


def test_a_tokenizer_without_a_limit_does_not_pad_to_it(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, model_max_length=int(1e30))
    assert len(own("a " * 1000, truncation=True).input_ids) == 1002
    with pytest.raises(InputError, match="no model_max_length"):
        own("a", padding="max_length")
    assert len(own("a", padding="max_length", max_length=6).input_ids) == 6


# -- arrays and tensors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("texts", [(["a b", "c"],), (["a b", "c"], ["d", "e f g"])], ids=["texts", "pairs"])
def test_arrays_hold_what_lists_do(tokenizer: BertTokenizer, texts: tuple[list[str], ...], side: Any) -> None:
    settings: dict[str, Any] = {
        "padding": True,
        "padding_side": side,
        "truncation": True,
        "max_length": 6,
        "return_overflowing_tokens": True,
        "return_special_tokens_mask": True,
        "return_offsets_mapping": True,
        "return_length": True,
    }
    lists = tokenizer(*texts, **settings)
    arrays = tokenizer(*texts, return_tensors="np", **settings)
    tensors = tokenizer(*texts, return_tensors="pt", **settings)
    assert list(lists) == list(arrays) == list(tensors)
    for name, rows in lists.items():
        if name == "offset_mapping":
            rows = [[list(place) for place in row] for row in rows]
        assert isinstance(arrays[name], np.ndarray)
        assert arrays[name].dtype == np.int64
        assert arrays[name].tolist() == rows
        assert tensors[name].dtype == torch.int64
        assert tensors[name].tolist() == rows
    assert arrays.cut == tensors.cut == lists.cut


def test_one_text_makes_an_array_of_one_row(tokenizer: BertTokenizer) -> None:
    assert tokenizer("a b", return_tensors="pt").input_ids.shape == (1, 4)
    assert tokenizer("a b", return_tensors="np", return_offsets_mapping=True).offset_mapping.shape == (1, 4, 2)


def test_tensors_move_to_a_device(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(["a"], return_tensors="pt").to("meta")
    assert batch.input_ids.device.type == "meta"
    assert tokenizer("a").to("meta").input_ids == [CLS, A, SEP]


def test_arrays_of_rows_that_differ_are_refused(tokenizer: BertTokenizer) -> None:
    for kind in ("np", "pt"):
        with pytest.raises(InputError, match="padding=True"):
            tokenizer(["a", "b c"], return_tensors=kind)


# -- ids and tokens --------------------------------------------------------------------------------------


def test_ids_and_tokens(tokenizer: BertTokenizer) -> None:
    assert tokenizer.convert_tokens_to_ids("want") == 5
    assert tokenizer.convert_tokens_to_ids(["want", "nothing"]) == [5, UNK]
    assert tokenizer.convert_ids_to_tokens(5) == "want"
    assert tokenizer.convert_ids_to_tokens([CLS, 5], skip_special_tokens=True) == ["want"]
    assert tokenizer.convert_tokens_to_string(["un", "##want", "##ed", ",", "a"]) == "unwanted , a"
    assert len(tokenizer) == tokenizer.vocab_size == len(TOKENS)
    assert tokenizer.all_special_tokens == ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]
    assert tokenizer.all_special_ids == [UNK, SEP, PAD, CLS, MASK]
    assert tokenizer.get_vocab() == VOCAB
    assert tokenizer.get_vocab() is not tokenizer.vocab
    assert [tokenizer.num_special_tokens_to_add(pair) for pair in (False, True)] == [2, 3]
    assert repr(tokenizer) == f"{type(tokenizer).__name__}(23 tokens, uncased, rules='hf')"


@pytest.mark.parametrize(
    ("ids", "skip", "clean", "text"),
    [
        ([CLS, 9, 6, 7, 12, 10, 11, SEP, PAD], False, True, "[CLS] unwanted, running [SEP] [PAD]"),
        ([CLS, 9, 6, 7, 12, 10, 11, SEP, PAD], True, True, "unwanted, running"),
        ([CLS, 9, 6, 7, 12, 10, 11, SEP, PAD], True, False, "unwanted , running"),
        ([], False, True, ""),
        ([6, 7], False, True, "##wanted"),
        ([A, UNK, MASK], True, True, "a"),
    ],
)
@pytest.mark.parametrize("form", [list, np.array, torch.tensor, tuple])
def test_decode(tokenizer: BertTokenizer, ids: list[int], skip: bool, clean: bool, text: str, form: Any) -> None:
    given = form(ids)
    assert tokenizer.decode(given, skip_special_tokens=skip, clean_up_tokenization_spaces=clean) == text
    assert tokenizer.batch_decode([given, form([A])], skip, clean) == [text, "a"]


def test_batch_decode_takes_rows_of_arrays(tokenizer: BertTokenizer) -> None:
    rows = [[CLS, A, SEP], [CLS, B, SEP]]
    for form in (list, np.array, torch.tensor):
        assert tokenizer.batch_decode(form(rows), skip_special_tokens=True) == ["a", "b"]
    assert tokenizer.batch_decode([]) == []


@pytest.mark.parametrize(
    "one_id", [A, np.int64(A), np.array(A), torch.tensor(A)], ids=lambda one_id: type(one_id).__name__
)
def test_one_id_is_decoded_too(tokenizer: BertTokenizer, one_id: Any) -> None:
    assert tokenizer.decode(one_id) == "a"
    assert tokenizer.convert_ids_to_tokens(one_id) == "a"
    # Several are a list, be it of one.
    assert tokenizer.convert_ids_to_tokens([one_id]) == ["a"]
    assert tokenizer.convert_ids_to_tokens(torch.tensor([A])) == ["a"]


# Those of transformers 4.4.2, in its order.
CLEANED = [
    *((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s")),
    *((" 've", "'ve"), (" 're", "'re")),
]


def test_decode_closes_up_spaces_as_transformers_4_4_2_does(kind: type[BertTokenizer]) -> None:
    pieces = [".", "?", "!", ",", "'", "n't", "'m", "'s", "'ve", "'re", "s", "t", "##s", ":", "a"]
    own = kind({token: number for number, token in enumerate(dict.fromkeys([*TOKENS, *pieces]))})
    rng = random.Random(0)
    for _ in range(300):
        tokens = rng.choices(pieces, k=rng.randint(1, 12))
        expected = spaced = " ".join(tokens).replace(" ##", "").strip()
        for found, put in CLEANED:
            expected = expected.replace(found, put)
        ids = own.convert_tokens_to_ids(tokens)
        assert own.decode(ids) == expected
        assert own.decode(ids, clean_up_tokenization_spaces=False) == spaced


@pytest.mark.parametrize("index", [-1, len(TOKENS), 10**9, 10**30])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: BertTokenizer, index: int) -> None:
    with pytest.raises(InputError, match=f"id {index} is not in the vocabulary of {len(TOKENS)}"):
        tokenizer.decode([index])
    with pytest.raises(InputError, match=f"id {index} is not"):
        tokenizer.convert_ids_to_tokens(index)


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        ([3.0], "3.0"),
        ([2.7], "2.7"),
        ([float("nan")], "nan"),
        (np.array([3.0]), "3.0"),
        (torch.tensor([3.0]), "of type Tensor"),
        (["3"], "'3'"),
        ("3", "'3'"),
        ([None], "None"),
        (None, "None"),
        ([[A, A]], "of type list"),
        (torch.tensor([[A]]), "of type Tensor"),
        (np.array([[A]]), "of type ndarray"),
        (3.5, "3.5"),
    ],
)
def test_what_is_no_id_is_refused(tokenizer: BertTokenizer, ids: Any, shown: str) -> None:
    with pytest.raises(InputError, match=f"an id is .*{shown}.*, expected a whole number"):
        tokenizer.decode(ids)


# -- from ids to sequences -------------------------------------------------------------------------------


def test_special_tokens_go_round_ids(tokenizer: BertTokenizer) -> None:
    assert tokenizer.build_inputs_with_special_tokens([A, B]) == [CLS, A, B, SEP]
    assert tokenizer.build_inputs_with_special_tokens([A], [B]) == [CLS, A, SEP, B, SEP]
    assert tokenizer.create_token_type_ids_from_sequences([A, B]) == [0] * 4
    assert tokenizer.create_token_type_ids_from_sequences([A], [B, C]) == [0, 0, 0, 1, 1, 1]
    assert tokenizer.get_special_tokens_mask([A, B]) == [1, 0, 0, 1]
    assert tokenizer.get_special_tokens_mask([A], [B]) == [1, 0, 1, 0, 1]
    whole = [CLS, A, MASK, SEP, PAD]
    assert tokenizer.get_special_tokens_mask(whole, already_has_special_tokens=True) == [1, 0, 1, 1, 1]
    with pytest.raises(InputError, match="leave out token_ids_1"):
        tokenizer.get_special_tokens_mask(whole, [A], already_has_special_tokens=True)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("pair", "remove", "way", "stride", "expected"),
    [
        (None, 0, "longest_first", 0, ("abcd", None, "")),
        (None, 2, "longest_first", 0, ("ab", None, "cd")),
        (None, 2, "only_first", 1, ("ab", None, "bcd")),
        ("efg", 2, "only_second", 0, ("abcd", "e", "fg")),
        ("efg", 2, "only_second", 5, ("abcd", "e", "efg")),
        ("efg", 3, "longest_first", 0, ("ab", "ef", "")),
        ("efg", 3, "only_first", 0, ("a", "efg", "bcd")),
    ],
)
def test_sequences_are_truncated(
    kind: type[BertTokenizer], side: Any, pair: str | None, remove: int, way: Any, stride: int, expected: Any
) -> None:
    own = kind(VOCAB, truncation_side=side)

    def ids(letters: str | None) -> list[int] | None:
        if letters is None:
            return None
        return [VOCAB[letter] for letter in (letters if side == "right" else letters[::-1])]

    # From the left it is the same in a mirror.
    found = own.truncate_sequences(ids("abcd") or [], ids(pair), remove, way, stride)
    assert found == tuple(ids(letters) for letters in expected)


def test_ids_are_prepared_for_a_model(tokenizer: BertTokenizer) -> None:
    assert tokenizer.prepare_for_model([A, B], [C]) == tokenizer("a b", "c")
    cut = tokenizer.prepare_for_model([A, B, C], truncation=True, max_length=4, return_special_tokens_mask=True)
    assert (cut.input_ids, cut.special_tokens_mask, cut.cut) == ([CLS, A, B, SEP], [1, 0, 0, 1], [1])
    ids: Any = np.array([A])
    padded = tokenizer.prepare_for_model(ids, padding="max_length", max_length=5, return_tensors="pt")
    assert padded.input_ids.tolist() == [[CLS, A, SEP, PAD, PAD]]
    assert padded.attention_mask.tolist() == [[1, 1, 1, 0, 0]]
    assert tokenizer.prepare_for_model([A], add_special_tokens=False).input_ids == [A]


@pytest.mark.parametrize(
    ("ids", "settings", "message"),
    [
        ([1.5], {}, "an id is 1.5"),
        ("ab", {}, "an id is 'a'"),
        (5, {}, "ids are 5, expected several"),
        ([A], {"max_length": 5}, "max_length=5 has an effect"),
        ([A], {"truncation": "nonsense"}, "nonsense"),
        ([A, B], {"truncation": True, "max_length": 1}, "special tokens"),
    ],
)
def test_ids_that_cannot_be_prepared(
    tokenizer: BertTokenizer, ids: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.prepare_for_model(ids, **settings)


ROW: dict[str, Any] = {"input_ids": [CLS, A, SEP], "token_type_ids": [0, 0, 0], "special_tokens_mask": [1, 0, 1]}
LONGER: dict[str, Any] = {"input_ids": [CLS, A, B, SEP], "token_type_ids": [0] * 4, "special_tokens_mask": [1, 0, 0, 1]}


@pytest.mark.parametrize("form", [list, np.array, torch.tensor])
def test_rows_are_padded(tokenizer: BertTokenizer, form: Any) -> None:
    expected = {
        "input_ids": [[CLS, A, SEP, PAD], [CLS, A, B, SEP]],
        "token_type_ids": [[0] * 4] * 2,
        "special_tokens_mask": [[1, 0, 1, 1], [1, 0, 0, 1]],
        "attention_mask": [[1, 1, 1, 0], [1] * 4],
    }
    rows = [{name: form(ids) for name, ids in row.items()} for row in (ROW, LONGER)]
    assert tokenizer.pad(rows) == expected
    by_name = {name: [row[name] for row in rows] for name in ROW}
    assert tokenizer.pad(by_name) == expected
    tensors = tokenizer.pad(rows, return_tensors="pt")
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == expected
    assert tensors.input_ids.dtype == torch.int64


def test_one_row_is_padded(tokenizer: BertTokenizer) -> None:
    result = tokenizer.pad({"input_ids": [CLS, A, SEP]}, padding="max_length", max_length=5)
    assert result == {"input_ids": [CLS, A, SEP, PAD, PAD], "attention_mask": [1, 1, 1, 0, 0]}
    plain = tokenizer.pad({"input_ids": [CLS, A]}, pad_to_multiple_of=4, return_attention_mask=False)
    assert plain == {"input_ids": [CLS, A, PAD, PAD]}
    tensors = tokenizer.pad({"input_ids": torch.tensor([CLS, A])}, return_tensors="pt")
    assert tensors.input_ids.tolist() == [[CLS, A]]


def test_padding_of_rows_stands_on_the_tokenizers_side(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, padding_side="left")
    batch = own(["a", "b c"], return_offsets_mapping=True)
    again = own.pad(batch)
    assert again == own(["a", "b c"], padding=True, return_offsets_mapping=True)
    assert own.pad(again) == again


def test_labels_pass_through(tokenizer: BertTokenizer) -> None:
    rows = [{"input_ids": [CLS, A], "labels": 1}, {"input_ids": [CLS], "labels": 0}]
    assert tokenizer.pad(rows).labels == [1, 0]
    assert tokenizer.pad(rows, return_tensors="pt").labels.tolist() == [1, 0]
    scores = [{"input_ids": [CLS], "labels": 0.5}, {"input_ids": [CLS], "labels": 1.0}]
    assert tokenizer.pad(scores, return_tensors="pt").labels.dtype == torch.float64


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "expected rows with the same names"),
        (5, "expected rows with the same names"),
        (None, "expected rows with the same names"),
        ([{"input_ids": [1]}, {"ids": [1]}], "expected rows with the same names"),
        ([[CLS, A]], "expected rows with the same names"),
        ({}, "no input_ids; they have nothing"),
        ({"labels": [1]}, "no input_ids; they have labels"),
        ({"input_ids": 5}, "of type int, expected a list"),
        ([{"input_ids": 5}], "of type int, expected a list"),
        ({"input_ids": [[CLS, A], CLS]}, "of type int, expected a list"),
        ({"input_ids": [CLS, A], "attention_mask": [1]}, "attention_mask is not as long as input_ids"),
        ({"input_ids": [[CLS], [CLS]], "token_type_ids": [[0]]}, "token_type_ids is not as long as input_ids"),
    ],
)
def test_rows_that_cannot_be_padded(tokenizer: BertTokenizer, rows: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.pad(rows)


def test_labels_that_make_no_array_are_refused(tokenizer: BertTokenizer) -> None:
    rows = [{"input_ids": [CLS], "labels": [1, 2]}, {"input_ids": [CLS], "labels": [1]}]
    assert tokenizer.pad(rows).labels == [[1, 2], [1]]
    with pytest.raises(InputError, match="the rows of labels differ in length"):
        tokenizer.pad(rows, return_tensors="np")
    with pytest.raises(InputError, match="nonsense"):
        tokenizer.pad(rows, return_tensors="nonsense")  # type: ignore[arg-type]


# -- making one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", TOKENS[:5])
def test_every_special_token_has_to_be_there(kind: type[BertTokenizer], missing: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        kind({token: index for token, index in VOCAB.items() if token != missing})
    assert str(caught.value) == f"the vocabulary of {len(TOKENS) - 1} tokens has no {missing}"


def test_special_tokens_may_have_other_names(kind: type[BertTokenizer]) -> None:
    names: dict[str, Any] = {
        "unk_token": "<u>",
        "sep_token": "</s>",
        "pad_token": "<p>",
        "cls_token": "<s>",
        "mask_token": "<m>",
    }
    own = kind({token: index for index, token in enumerate([*names.values(), "a"])}, **names)
    assert own.encode("a<m>zz") == [3, 5, 4, 0, 1]
    assert own("a", padding="max_length", max_length=4).input_ids == [3, 5, 1, 2]
    assert own.special_tokens_map == names
    ids = (own.unk_token_id, own.sep_token_id, own.pad_token_id, own.cls_token_id, own.mask_token_id)
    assert ids == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"padding_side": "up"}, "padding_side is 'up'"),
        ({"truncation_side": None}, "truncation_side is None"),
        ({"rules": "bert"}, "rules is 'bert', expected one of hf, google"),
        ({"model_max_length": 2}, "model_max_length is 2"),
        ({"model_max_length": None}, "model_max_length is None"),
        ({"model_max_length": float("nan")}, "model_max_length is nan"),
        ({"model_max_length": "512"}, "model_max_length is '512'"),
    ],
)
def test_a_setting_that_it_cannot_have_is_refused(
    kind: type[BertTokenizer], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        kind(VOCAB, **settings)


@pytest.mark.parametrize("ids", [range(7, 7 + 3 * len(TOKENS), 3), range(len(TOKENS) - 1, -1, -1)])
def test_ids_need_no_order_and_may_have_gaps(kind: type[BertTokenizer], ids: range) -> None:
    own = kind(dict(zip(TOKENS, ids, strict=True)))
    expected = [own.vocab[token] for token in ("[CLS]", "un", "##want", "##ed", ",", "[MASK]", "[UNK]", "[SEP]")]
    result = own("unwanted, [MASK] z", return_offsets_mapping=True)
    assert (result.input_ids, own.encode("unwanted, [MASK] z")) == (expected, expected)
    assert own.decode(expected, skip_special_tokens=True) == "unwanted,"
    own.add_tokens("<x>")
    assert own.encode("a<x>", add_special_tokens=False) == [own.vocab["a"], max(ids) + 1]


def test_a_vocabulary_file_is_read(kind: type[BertTokenizer], tmp_path: Path) -> None:
    save_vocabulary(VOCAB, tmp_path / "vocab.txt")
    assert kind(tmp_path / "vocab.txt").vocab == kind(str(tmp_path / "vocab.txt")).vocab == VOCAB
    with pytest.raises(VocabularyError, match="no such file"):
        kind(tmp_path / "other.txt")


# -- copies, processes, threads ---------------------------------------------------------------------------


TEXT = "unwanted E.T. <x> [MASK] été 字 zz"


@pytest.fixture
def settled(kind: type[BertTokenizer]) -> BertTokenizer:
    """One with something of everything, which was used already."""
    own = kind(VOCAB, strip_accents=False, never_split=["E.T."], additional_special_tokens=["<u>"], padding_side="left")
    own.add_tokens(["<x>", "low low"])
    own(TEXT, return_offsets_mapping=True)
    return own


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda own: pickle.loads(pickle.dumps(own))])
def test_a_copy_gives_the_same_and_goes_its_own_way(settled: BertTokenizer, copied: Any) -> None:
    before = settled(TEXT, return_offsets_mapping=True)
    other = copied(settled)
    assert type(other) is type(settled)
    assert other(TEXT, return_offsets_mapping=True) == before
    assert (other.padding_side, other.get_vocab()) == ("left", settled.get_vocab())
    # What is built when it is needed does not travel.
    assert "core" in vars(settled)
    assert "core" not in vars(copied(settled))
    if copied is not copy.copy:
        other.add_tokens("été")
        assert other.encode("été", add_special_tokens=False) == [len(settled)]
        assert settled(TEXT, return_offsets_mapping=True) == before
        assert len(other) == len(settled) + 1


def test_a_tokenizer_goes_to_another_process(settled: BertTokenizer) -> None:
    code = "import pickle, sys; own, text = pickle.load(sys.stdin.buffer); print(own.encode(text))"
    sent = pickle.dumps((settled, TEXT))
    answer = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True).stdout
    assert answer.decode().strip() == str(settled.encode(TEXT))


def test_eight_threads_get_what_one_gets(kind: type[BertTokenizer]) -> None:
    rng = random.Random(0)
    texts = [" ".join("".join(rng.choices("abcdefgÉ,字 [MASK]", k=6)) for _ in range(8)) for _ in range(64)]
    batches = [rng.sample(texts, 16) for _ in range(32)]
    expected = [kind(VOCAB)(batch, return_offsets_mapping=True, padding=True) for batch in batches]
    # Fresh, so that the threads also build what it needs.
    own = kind(VOCAB)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda batch: own(batch, return_offsets_mapping=True, padding=True), batches))
        words = list(threads.map(lambda result: [result.word_ids(row) for row in range(16)], found))
    assert found == expected
    assert words == [[result.word_ids(row) for row in range(16)] for result in expected]


def test_a_long_text_is_split_in_stretches_as_it_is_whole(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB)
    text = "unwanted É, [MASK] 字\u3000" * 8000
    ids = [9, 6, 7, 20, 12, MASK, UNK] * 8000
    assert own.encode(text, add_special_tokens=False) == ids
    assert own(text, add_special_tokens=False, return_offsets_mapping=True).input_ids == ids


def test_what_is_remembered_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_REMEMBERED", 10)
    own = BertTokenizer(VOCAB)
    remembered = vars(own.core)["_ids"]
    own.encode(" ".join(f"a{number}" for number in range(25)))
    assert 0 < len(remembered) <= 10
    # What can only be unknown is not worth it, and may be a book without spaces.
    own.encode("b" * 101)
    assert max(map(len, remembered)) <= 100


def test_settings_that_words_were_split_by_are_fixed(tokenizer: BertTokenizer) -> None:
    for name in ("do_lower_case", "strip_accents", "rules"):
        with pytest.raises(InputError, match=f"{name} is fixed"):
            setattr(tokenizer, name, False)
    for name, value in (("padding_side", "lft"), ("model_max_length", "x"), ("pad_token", 5), ("bos_token", "[CLS]")):
        with pytest.raises(InputError, match=name):
            setattr(tokenizer, name, value)
    with pytest.raises(InputError, match="add_special_tokens adds it"):
        tokenizer.additional_special_tokens = ["<y>"]
    tokenizer.padding_side, tokenizer.pad_token = "left", "[MASK]"
    assert tokenizer(["a", "a b"], padding=True)["input_ids"][0] == [MASK, CLS, 16, SEP]


def test_words_of_the_caller_may_change_afterwards(tokenizer: BertTokenizer) -> None:
    words = [["low", "a"], ["b"]]
    batch = tokenizer(words, is_split_into_words=True)
    words[0][:] = ["unwanted"]
    assert batch.tokens(0) == ["[CLS]", "low", "a", "[SEP]"]


@pytest.mark.parametrize("flag", ["add_special_tokens", "return_offsets_mapping", "return_length"])
@pytest.mark.parametrize("value", [2, None, "yes"])
def test_flags_are_true_or_false(tokenizer: BertTokenizer, flag: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{flag} is {value!r}"):
        tokenizer("a", **{flag: value})


def test_lengths_may_be_whole_numbers_of_numpy(tokenizer: BertTokenizer) -> None:
    length = np.int64(3)
    assert tokenizer("a b c", truncation=True, max_length=length)["input_ids"] == [CLS, 16, SEP]  # type: ignore[arg-type]


def test_one_string_in_place_of_several_is_refused(tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match="encode_plus takes one"):
        tokenizer.batch_encode_plus("low")
    with pytest.raises(InputError, match="one string"):
        tokenizer.encodings("low")
    with pytest.raises(InputError, match="never_split"):
        BertTokenizer(tokenizer.vocab, never_split="low")


def test_tensors_go_to_devices_alone(tokenizer: BertTokenizer) -> None:
    batch = tokenizer("a", return_tensors="pt")
    assert batch.to("cpu", non_blocking=True).input_ids.dtype == torch.int64
    with pytest.raises(InputError, match="whole numbers"):
        batch.to(torch.float16)


def test_what_other_programs_ask_a_tokenizer_for(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, model_max_length=12)
    assert own.model_input_names == list(own("a"))
    assert (own.max_len_single_sentence, own.max_len_sentences_pair) == (10, 9)
    assert (own.num_special_tokens_to_add(), own.num_special_tokens_to_add(pair=True)) == (2, 3)
    assert own.ids_to_tokens == dict(enumerate(TOKENS))
    special = dict(enumerate(TOKENS[:5]))
    assert {index: token.content for index, token in own.added_tokens_decoder.items()} == special
    assert all(token.special and not token.is_normalized for token in own.added_tokens_decoder.values())
    own.add_tokens(["a", "new"])
    own.add_special_tokens({"additional_special_tokens": ["<s>"]})
    assert own.ids_to_tokens == dict(enumerate([*TOKENS, "new", "<s>"]))
    assert own.added_tokens_encoder == {**VOCAB_OF_FIVE, "a": A, "new": NEXT, "<s>": NEXT + 1}
    assert list(own.added_tokens_encoder) == [*VOCAB_OF_FIVE, "a", "new", "<s>"]
    assert own.added_tokens_decoder[NEXT] == AddedToken("new")
    assert own.added_tokens_decoder[NEXT + 1] == AddedToken("<s>", special=True)
    own.model_max_length = 5
    assert (own.max_len_single_sentence, own.max_len_sentences_pair) == (3, 2)


def test_settings_that_were_checked_once_are_not_mixed_up_with_others(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB)
    right: dict[str, Any] = {"return_token_type_ids": True, "stride": 0, "padding": True, "truncation": False}
    other: dict[str, Any] = {"return_token_type_ids": 1, "stride": False, "padding": 1, "truncation": 0}
    for name, value in other.items():
        own("a", **right)
        assert value == right[name]
        with pytest.raises(InputError, match=f"{name} is {value}, expected"):
            own("a", **{**right, name: value})
        with pytest.raises(InputError, match=f"{name} is of type list, expected"):
            own("a", **{**right, name: [value]})


def test_what_is_set_between_two_calls_holds_for_the_second(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, model_max_length=4)

    def ids() -> Any:
        return own(["a b c", "d"], padding=True, truncation=True).input_ids

    assert ids() == [[CLS, A, B, SEP], [CLS, D, SEP, PAD]]
    own.padding_side = "left"
    assert ids() == [[CLS, A, B, SEP], [PAD, CLS, D, SEP]]
    own.truncation_side = "left"
    assert ids() == [[CLS, B, C, SEP], [PAD, CLS, D, SEP]]
    own.model_max_length = 3
    assert ids() == [[CLS, C, SEP], [CLS, D, SEP]]
    own.cls_token, own.sep_token = "e", "f"
    assert ids() == [[E, C, F], [E, D, F]]
    own.add_special_tokens({"cls_token": "<s>"})
    assert ids() == [[NEXT, C, F], [NEXT, D, F]]
    own.pad_token = "g"
    assert own("a", padding="max_length", max_length=4).input_ids == [G, NEXT, A, F]
