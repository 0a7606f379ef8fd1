"""Text of any kind has an answer, and what is none is refused in one line that says which it is."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from glassbert import BertTokenizer, InputError, VocabularyError
from tests.text.small import CLS, NEXT, SEP, TOKENS, UNK, VOCAB, A

CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0)))).translate(dict.fromkeys(map(ord, "\t\n\r")))
MARKS = "".join(random.Random(0).choices("\u0301\u0323\u0345\u0334\u05b0\u064b\u0f71", k=10_000))
FAMILY = "👩\u200d👩\u200d👧"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("    ", []),
        (" \t\n\r\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000", []),
        ("\x00", []),
        (CONTROLS, []),
        (f"a{CONTROLS}b", ["ab"]),
        ("a\ufffdb \ufffd", ["ab"]),
        ("co\u00adop", ["coop"]),
        ("a\u200b\u200c\u200d\u200e\u200fb", ["ab"]),
        ("\ufeffa", ["a"]),
        # Composed or not.
        ("é e\u0301 \u00c5 \u212b A\u030a", ["e", "e", "a", "a", "a"]),
        (MARKS, []),
        (f"a{MARKS}b", ["ab"]),
        ("ΟΣ Σ", ["οσ", "σ"]),
        ("İı I", ["iı", "i"]),
        ("Straße ẞ", ["straße", "ß"]),
        (FAMILY, ["👩👩👧"]),
        ("🇩🇪🇫🇷 1\ufe0f\u20e3", ["🇩🇪🇫🇷", "1\u20e3"]),
        ("שָׁלוֹם \u202eabc\u202c العَرَبِية", ["שלום", "abc", "العربية"]),
        # Chinese characters, but for those that the library's table leaves out.
        ("字a\U00020000\U0002b820a", ["字", "a", "\U00020000", "\U0002b820a"]),
        ("a\ue000b \U000f0000 \U0010fffd", ["ab"]),
        # Unassigned, and none at all: both stay.
        ("\u0378 \ufdd0 \U0010ffff", ["\u0378", "\ufdd0", "\U0010ffff"]),
        ("[MASK][MASK] [ MASK ]", ["[MASK]", "[MASK]", "[", "mask", "]"]),
        *((f"x{'y' * (length - 1)}", [f"x{'y' * (length - 1)}"]) for length in (99, 100)),
        *((f"x{'y' * (length - 1)} a", ["[UNK]", "a"]) for length in (101, 200, 201, 1_000_000)),
    ],
    ids=lambda value: ascii(value)[:30] if isinstance(value, str) else None,
)
def test_text_of_any_kind(kind: type[BertTokenizer], text: str, words: list[str]) -> None:
    own = kind({token: number for number, token in enumerate(dict.fromkeys([*TOKENS, *words]))})
    assert own.tokenize(text) == words
    detailed = own(text, add_special_tokens=False, return_offsets_mapping=True)
    assert own.convert_ids_to_tokens(detailed.input_ids) == words
    places = [0] + [place for pair in detailed.offset_mapping for place in pair] + [len(text)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ΟΣ Σ ΑΣ. ΑΣΑ", ["ος", "σ", "ας", ".", "ασα"]),
        ("a\ue000b", ["a\ue000b"]),
        ("a\U0002b820", ["a", "\U0002b820"]),
        ("a\u0890b\u1acd", ["ab"]),
        ("[MASK]", ["[", "mask", "]"]),
        ("İ", ["i"]),
        ("a\u0378", ["a\u0378"]),
    ],
    ids=ascii,
)
def test_what_googles_program_makes_of_it(kind: type[BertTokenizer], text: str, words: list[str]) -> None:
    own = kind({token: number for number, token in enumerate(dict.fromkeys([*TOKENS, *words]))}, rules="google")
    assert own.tokenize(text) == words


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536, 65_537, 200_001])
def test_a_text_of_any_length(kind: type[BertTokenizer], length: int) -> None:
    own = kind(VOCAB)
    assert own.encode("a " * length, add_special_tokens=False) == [A] * length
    assert own.encode("字" * length, add_special_tokens=False) == [UNK] * length


# -- what is no text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (None, None, "text is of type NoneType, expected a string or a list of strings"),
        (5, None, "text is of type int, expected a string or a list of strings"),
        (b"ab", None, "text is of type bytes, expected a string or a list of strings"),
        ({"text": "a"}, None, "text is of type dict, expected a string or a list of strings"),
        ({"a"}, None, "text is of type set, expected a string or a list of strings"),
        (iter("a"), None, "text is of type str_ascii_iterator, expected a string or a list of strings"),
        (
            np.array([1, 2]),
            None,
            "text is of type ndarray, expected a string or a list of strings; ids go to prepare_for",
        ),
        ([1], None, "text[0] is of type int, expected a string"),
        (["a", None], None, "text[1] is of type NoneType, expected a string"),
        (["a", float("nan")], None, "text[1] is of type float, expected a string"),
        (["a", ["b"]], None, "text[1] is of type list, expected a string; pass is_split_into_words=True for lists of"),
        (["a"], [b"b"], "text_pair[0] is of type bytes, expected a string"),
        (["a", "b"], ["c"], "text is a list of 2, so text_pair must be a list of 2 too"),
        (["a", "b"], "cd", "text is a list of 2, so text_pair must be a list of 2 too"),
        (["a"], 5, "text is a list of 1, so text_pair must be a list of 1 too"),
        ("a", ["b"], "text is one string, so text_pair must be one string too"),
        ("a", 5, "text is one string, so text_pair must be one string too"),
        # An empty half of a pair is a text; one that is missing is none.
        ([("a", "b"), ("c",)], None, "text[1] is a tuple of 1, expected a pair of strings"),
        ([("a", "b", "c")], None, "text[0] is a tuple of 3, expected a pair of strings"),
        ([("a", None), ("b", "c")], None, "text_pair[0] is of type NoneType, expected a string"),
        ([("a", None)], None, "text_pair[0] is of type NoneType, expected a string"),
        (["a", "b"], ["c", None], "text_pair[1] is of type NoneType, expected a string"),
        ([("a", "b"), "c"], None, "text[0] is of type tuple, expected a string"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place(
    tokenizer: BertTokenizer, first: Any, second: Any, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        tokenizer(first, second)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("a b", None, "text is of type str, expected a list of words or of lists of words"),
        (["a", 5], None, "text[1] is of type int, expected a string"),
        ([["a"], "b"], None, "text[1] is of type str, expected a list of words"),
        ([["a"], ["b", None]], None, "text[1][1] is of type NoneType, expected a string"),
        (["a"], "b", "text is a list of words, so text_pair must be a list of words too"),
        ([["a"]], [["b"], ["c"]], "text is a list of 1, so text_pair must be a list of 1 too"),
    ],
)
def test_what_is_no_list_of_words_is_refused(tokenizer: BertTokenizer, first: Any, second: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        tokenizer(first, second, is_split_into_words=True)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("texts", "settings", "where"),
    [
        (("a\ud800",), {}, "text holds a lone surrogate (U+D800, character 1)"),
        ((["a", "bc\udfff"],), {}, "text[1] holds a lone surrogate (U+DFFF, character 2)"),
        (("a", "b\udc00"), {}, "text_pair holds a lone surrogate (U+DC00, character 1)"),
        ((["a", "b"], ["c", "\ud801d"]), {}, "text_pair[1] holds a lone surrogate (U+D801, character 0)"),
        ((["a", "b\ud800"],), {"is_split_into_words": True}, "text[1] holds a lone surrogate (U+D800, character 1)"),
        (([["a"], ["b", "\ud800"]],), {"is_split_into_words": True}, "text[1][1] holds a lone surrogate"),
        # Beside what moves marks about, and in what stays whole.
        (("\U0001d15f\ud834",), {}, "text holds a lone surrogate (U+D834, character 1)"),
        (("[MASK] \ud834 [MASK]",), {}, "text holds a lone surrogate (U+D834, character 7)"),
    ],
)
@pytest.mark.parametrize("basic", [True, False])
@pytest.mark.parametrize("details", [True, False])
def test_a_lone_surrogate_is_refused_by_its_place(
    kind: type[BertTokenizer], texts: tuple[Any, ...], settings: dict[str, Any], where: str, basic: bool, details: bool
) -> None:
    own = kind(VOCAB, do_basic_tokenize=basic, never_split=["E.T."])
    with pytest.raises(InputError) as caught:
        own(*texts, return_offsets_mapping=details, **settings)
    assert str(caught.value).startswith(where)
    assert str(caught.value).endswith("which is no character")


@pytest.mark.parametrize("rules", ["hf", "google"])
def test_tokenize_refuses_it_too(kind: type[BertTokenizer], rules: Any) -> None:
    own = kind(VOCAB, rules=rules)
    for text, message in ((5, "text is of type int"), (["a"], "text is of type list"), ("\ud800", "lone surrogate")):
        with pytest.raises(InputError, match=message):
            own.tokenize(text)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="there are 2 texts, but 1 second ones"):
        own.encodings(["a", "b"], ["c"])


# -- what is no vocabulary -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"x": A}, f"the vocabulary gives the id {A} to 'a' and to 'x'"),
        ({"x": -1}, "the vocabulary gives 'x' the id -1, expected a whole number from 0 on"),
        ({"x": 50.0}, "the vocabulary gives 'x' the id 50.0"),
        ({"x": "50"}, "the vocabulary gives 'x' the id '50'"),
        ({"x": None}, "the vocabulary gives 'x' the id None"),
        ({"x": True}, "the vocabulary gives 'x' the id True"),
        ({5: 50}, "the vocabulary gives 5 the id 50"),
        ({"x\ud800": 50}, "the vocabulary's 'x\\ud800' holds a lone surrogate"),
    ],
)
def test_what_is_no_vocabulary_is_refused(kind: type[BertTokenizer], more: Any, message: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        kind({**VOCAB, **more})
    assert str(caught.value).startswith(message)


def test_tokens_may_be_anything_else(kind: type[BertTokenizer]) -> None:
    tokens = ["", " ", "\u00a0", "\u2028", "##\u2028", "##", "\n", "a b", "[MASK] ", "x" * 1000]
    own = kind(VOCAB | {token: NEXT + number for number, token in enumerate(tokens)})
    assert own.encode("a\u2028 \u00a0 a b [MASK] #") == [CLS, A, A, A + 1, VOCAB["[MASK]"], UNK, SEP]
    for number, token in enumerate(tokens):
        assert own.convert_tokens_to_ids(token) == NEXT + number
        assert own.convert_ids_to_tokens(NEXT + number) == token
