"""Text of any kind has an answer, and what is none is refused in one line that says which it is."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassbert import (
    BasicTokenizer,
    BatchEncoding,
    BertTokenizer,
    InputError,
    VocabularyError,
    WordpieceTokenizer,
    learn_vocabulary,
)
from glassbert.text import (
    AddedToken,
    learn_from_counts,
    load_vocabulary,
    measure_coverage,
    missing_characters,
    save_vocabulary,
)
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
        (
            ["a", ["b"]],
            None,
            "text[1] is of type list, expected a string; a pair is a tuple (first, second), and words",
        ),
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


# -- what is of another type -------------------------------------------------------------------------------

# Whatever a program may give by mistake; each is refused by the functions below unless they say that they take it.
STRANGE: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "a number": lambda: 5,
    "a fraction": lambda: 1.5,
    "a flag": lambda: True,
    "bytes": lambda: b"x",
    "a string": lambda: "a",
    "numbers": lambda: [5],
    "nothings": lambda: [None],
    "lists": lambda: [["a"], ["b"]],
    "a generator": lambda: (number for number in range(3)),
    "a dict": lambda: {"a": None},
    "an array": lambda: np.zeros((2, 2)),
    "an object": object,
}
TEXT = {"a string"}
OF_NUMBERS = {"numbers", "a generator"}
NUMBER = {"a number"}
SEVERAL = {"numbers", "nothings", "lists", "a dict", "an array"}


def _setting(name: str, values: Any = ("a",), *, of: str = "__call__") -> Callable[..., Any]:
    return lambda own, given: getattr(own, of)(*values, **{name: given})


# What is called, and what it takes of the above.
METHODS: dict[str, tuple[Callable[[BertTokenizer, Any], Any], set[str]]] = {
    "tokenize": (lambda own, given: own.tokenize(given), TEXT),
    "tokenize, pair": (lambda own, given: own.tokenize("a", given), TEXT | {"None"}),
    "tokenize, flag": (lambda own, given: own.tokenize("a", "b", given), {"a flag"}),
    "call": (lambda own, given: own(given), TEXT),
    "call, pair": (lambda own, given: own("a", given), TEXT | {"None"}),
    "call, words": (lambda own, given: own(given, is_split_into_words=True), {"lists"}),
    "encode": (lambda own, given: own.encode(given), TEXT),
    "batch_encode_plus": (lambda own, given: own.batch_encode_plus(given), {"a dict"}),
    "encodings": (lambda own, given: own.encodings(given), {"lists"}),
    "encodings, pairs": (lambda own, given: own.encodings(["a"], given), {"None"}),
    "decode": (lambda own, given: own.decode(given), NUMBER | OF_NUMBERS | {"a flag"}),
    "batch_decode": (lambda own, given: own.batch_decode(given), OF_NUMBERS),
    "convert_tokens_to_ids": (lambda own, given: own.convert_tokens_to_ids(given), TEXT | {"lists", "a dict"}),
    "convert_ids_to_tokens": (lambda own, given: own.convert_ids_to_tokens(given), NUMBER | OF_NUMBERS | {"a flag"}),
    "convert_tokens_to_string": (lambda own, given: own.convert_tokens_to_string(given), {"a dict"}),
    "add_tokens": (lambda own, given: own.add_tokens(given), TEXT | {"a dict"}),
    "add_tokens, flag": (lambda own, given: own.add_tokens("x", given), {"a flag"}),
    "add_special_tokens": (lambda own, given: own.add_special_tokens(given), set()),
    "add_special_tokens, cls": (lambda own, given: own.add_special_tokens({"cls_token": given}), TEXT | {"a dict"}),
    "num_special_tokens_to_add": (lambda own, given: own.num_special_tokens_to_add(given), {"a flag"}),
    "build_inputs": (lambda own, given: own.build_inputs_with_special_tokens(given), OF_NUMBERS),
    "build_inputs, pair": (lambda own, given: own.build_inputs_with_special_tokens([A], given), OF_NUMBERS | {"None"}),
    "types": (lambda own, given: own.create_token_type_ids_from_sequences(given), SEVERAL | TEXT | {"bytes"}),
    "types, pair": (
        lambda own, given: own.create_token_type_ids_from_sequences([A], given),
        SEVERAL | TEXT | {"bytes", "None"},
    ),
    "special mask": (lambda own, given: own.get_special_tokens_mask(given), SEVERAL | TEXT | {"bytes"}),
    "special mask of all": (lambda own, given: own.get_special_tokens_mask(given, None, True), OF_NUMBERS),
    "truncate_sequences": (lambda own, given: own.truncate_sequences(given), OF_NUMBERS),
    "truncate_sequences, pair": (lambda own, given: own.truncate_sequences([A], given), OF_NUMBERS | {"None"}),
    "truncate_sequences, number": (
        lambda own, given: own.truncate_sequences([A] * 9, None, given),
        NUMBER | {"a flag"},
    ),
    "truncate_sequences, way": (lambda own, given: own.truncate_sequences([A], None, 0, given), {"a flag"}),
    "truncate_sequences, stride": (lambda own, given: own.truncate_sequences([A], None, 0, True, given), NUMBER),
    "prepare_for_model": (lambda own, given: own.prepare_for_model(given), OF_NUMBERS),
    "prepare_for_model, pair": (lambda own, given: own.prepare_for_model([A], given), OF_NUMBERS | {"None"}),
    "pad": (lambda own, given: own.pad(given), set()),
    "pad, ids": (lambda own, given: own.pad({"input_ids": given}), {"numbers", "nothings", "lists", "an array"}),
    "pad_encodings": (lambda own, given: own.pad_encodings(given), set()),
    **{
        f"{of}, {name}": (_setting(name, values, of=of), taken)
        for of, values in {"__call__": ("a",), "encodings": (["a"],), "prepare_for_model": ([A],)}.items()
        for name, taken in {"truncation": {"a flag"}, "add_special_tokens": {"a flag"}, "max_length": {"None"}}.items()
    },
    **{
        f"{of}, {name}": (_setting(name, values, of=of), taken)
        for of, values in {"__call__": ("a",), "prepare_for_model": ([A],), "pad": ({"input_ids": [A]},)}.items()
        for name, taken in {"padding": {"a flag"}, "return_tensors": {"None"}}.items()
    },
    **{
        f"call, {name}": (_setting(name), taken)
        for name, taken in {
            "stride": set[str](),
            "overlap": {"None"},
            "pad_to_multiple_of": {"None"},
            "padding_side": {"None"},
            "return_token_type_ids": {"a flag"},
            "return_attention_mask": {"a flag"},
            "return_overflowing_tokens": {"a flag"},
            "return_special_tokens_mask": {"a flag"},
            "return_offsets_mapping": {"a flag"},
            "return_length": {"a flag"},
        }.items()
    },
    **{
        f"{name} of a row": (lambda own, given, name=name: getattr(own(["a"] * 6), name)(given), NUMBER | {"a flag"})  # type: ignore[misc]
        for name in ("tokens", "word_ids", "sequence_ids", "offsets")
    },
    **{
        f"{name} in a row": (
            lambda own, given, name=name: getattr(own("a b c d e f")[0], name)(given),  # type: ignore[misc]
            NUMBER | {"a flag"},
        )
        for name in (
            "token_to_chars",
            "token_to_word",
            "token_to_sequence",
            "char_to_token",
            "char_to_word",
            "word_to_tokens",
            "word_to_chars",
        )
    },
    **{
        f"{name} set": (lambda own, given, name=name: setattr(own, name, given), taken)  # type: ignore[misc]
        for name, taken in {
            "cls_token": TEXT,
            "padding_side": set[str](),
            "model_max_length": NUMBER,
            "additional_special_tokens": {"a dict"},
        }.items()
    },
    **{
        f"made with {name}": (lambda own, given, name=name: type(own)(VOCAB, **{name: given}), taken)  # type: ignore[misc]
        for name, taken in {
            "do_lower_case": {"a flag"},
            "do_basic_tokenize": {"a flag"},
            "never_split": {"None", "a dict"},
            "unk_token": TEXT,
            "cls_token": TEXT,
            "strip_accents": {"None", "a flag"},
            "additional_special_tokens": TEXT | {"a dict"},
            "added_tokens": set[str](),
            "model_max_length": NUMBER,
            "padding_side": set[str](),
            "rules": set[str](),
            "max_input_chars_per_word": NUMBER | {"None"},
            "vocab_file": {"None"},
        }.items()
    },
    "made": (lambda own, given: type(own)(given), set()),
    "made with an added token": (lambda own, given: type(own)(VOCAB, added_tokens=[(given, NEXT)]), set()),
    "made with an added id": (lambda own, given: type(own)(VOCAB, added_tokens=[(AddedToken("x"), given)]), set()),
    "an added token's content": (lambda own, given: own.add_tokens(AddedToken(given)), TEXT),
    "an added token's flag": (lambda own, given: own.add_tokens(AddedToken("x", lstrip=given)), {"a flag"}),
}


def _refused(run: Callable[[Any], Any], strange: str, taken: set[str]) -> None:
    if strange in taken:
        run(STRANGE[strange]())
        return
    with pytest.raises((InputError, VocabularyError)) as caught:
        run(STRANGE[strange]())
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("method", METHODS)
def test_what_is_of_another_type_is_refused_in_one_line(kind: type[BertTokenizer], method: str, strange: str) -> None:
    run, taken = METHODS[method]
    _refused(lambda given: run(kind(VOCAB), given), strange, taken)


COUNTS = {"ab": 5, "a": 5}
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
    "learn_vocabulary": (lambda given: learn_vocabulary(given, size=50, min_frequency=1), {"a dict"}),
    "learn_vocabulary, size": (lambda given: learn_vocabulary(["a"] * 9, size=given), set()),
    "learn_vocabulary, basic": (lambda given: learn_vocabulary(["a"] * 9, size=50, basic=given), {"None"}),
    "learn_vocabulary, frequency": (lambda given: learn_vocabulary(["a"] * 9, size=50, min_frequency=given), NUMBER),
    "learn_from_counts": (lambda given: learn_from_counts(given, size=50), set()),
    "learn_from_counts, size": (lambda given: learn_from_counts(COUNTS, size=given), set()),
    "learn_from_counts, word": (lambda given: learn_from_counts([(given, 5)], size=50), set()),  # type: ignore[arg-type]
    "learn_from_counts, count": (
        lambda given: learn_from_counts({"a": given}, size=50, min_frequency=1),
        NUMBER | {"a flag"},
    ),
    "learn_from_counts, special": (
        lambda given: learn_from_counts({"ab": 5}, size=50, special_tokens=given),
        {"a dict"},
    ),
    "learn_from_counts, alphabet": (
        lambda given: learn_from_counts(COUNTS, size=50, alphabet_size=given),
        NUMBER | {"None"},
    ),
    "learn_from_counts, progress": (
        lambda given: learn_from_counts(COUNTS, size=50, on_progress=given),
        {"None"},
    ),
    "measure_coverage, vocabulary": (lambda given: measure_coverage(given, COUNTS), {"a dict"}),
    "measure_coverage, counts": (lambda given: measure_coverage(VOCAB, given), set()),
    "measure_coverage, too long": (lambda given: measure_coverage(VOCAB, COUNTS, too_long=given), NUMBER),
    "missing_characters, vocabulary": (lambda given: missing_characters(given, COUNTS), {"a dict"}),
    "missing_characters, counts": (lambda given: missing_characters(VOCAB, given), set()),
    "load_vocabulary": (lambda given: load_vocabulary(given), set()),
    "save_vocabulary": (lambda given: save_vocabulary(given, "vocab.txt"), set()),
    "save_vocabulary, path": (lambda given: save_vocabulary(VOCAB, given), TEXT),
    "BasicTokenizer": (lambda given: BasicTokenizer(given), {"a flag"}),
    "BasicTokenizer, never_split": (lambda given: BasicTokenizer(never_split=given), {"None", "a dict"}),
    "BasicTokenizer, rules": (lambda given: BasicTokenizer(rules=given), set()),
    "BasicTokenizer.tokenize": (lambda given: BasicTokenizer().tokenize(given), TEXT),
    "BasicTokenizer.tokenize, never_split": (
        lambda given: BasicTokenizer().tokenize("a", given),
        {"None", "a dict"},
    ),
    "BasicTokenizer.words": (lambda given: BasicTokenizer().words(given), TEXT),
    "WordpieceTokenizer": (lambda given: WordpieceTokenizer(given), {"a dict"}),
    "WordpieceTokenizer, unk_token": (lambda given: WordpieceTokenizer(VOCAB, given), TEXT),
    "WordpieceTokenizer, longest": (lambda given: WordpieceTokenizer(VOCAB, "[UNK]", given), NUMBER),
    "WordpieceTokenizer.tokenize": (lambda given: WordpieceTokenizer(VOCAB).tokenize(given), TEXT),
    "WordpieceTokenizer.split": (lambda given: WordpieceTokenizer(VOCAB).split(given), TEXT),
    "BatchEncoding": (lambda given: BatchEncoding(given), {"a dict"}),
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_refuse_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, strange: str) -> None:
    monkeypatch.chdir(tmp_path)
    run, taken = FUNCTIONS[function]
    _refused(run, strange, taken)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda: learn_vocabulary(["ab", 5], size=50),  # type: ignore[list-item]
            "texts[1] is of type int, expected a string",
        ),
        (lambda: BertTokenizer(None), "vocab is None, expected tokens and their ids, or the path of a vocab.txt"),
        (lambda: BertTokenizer(5), "vocab is 5, expected tokens and their ids, or the path of a vocab.txt"),  # type: ignore[arg-type]
        (
            lambda: BertTokenizer(vocab_file="a/vocab.txt"),  # type: ignore[arg-type]
            "vocab_file is called vocab here: BertTokenizer('a/vocab.txt'); "
            "BertTokenizer.from_pretrained reads a folder",
        ),
        (lambda: BertTokenizer(VOCAB, never_split="ab"), "never_split is 'ab', expected several strings; pass ['ab']"),
        (lambda: BertTokenizer(VOCAB, never_split=["ab", 5]), "never_split[1] is of type int, expected a string"),  # type: ignore[list-item]
        (lambda: WordpieceTokenizer(["a", 5]), "the vocabulary holds what is 5, expected strings"),  # type: ignore[list-item]
        (lambda: load_vocabulary("a\0b"), "'a\\x00b' can be no path of a file"),
        (lambda: BertTokenizer(VOCAB).prepare_for_model([A, 999]), f"id 999 is not in the vocabulary of {NEXT} tokens"),
        (lambda: BertTokenizer(VOCAB).prepare_for_model([A], [-1]), f"id -1 is not in the vocabulary of {NEXT} tokens"),
    ],
)
def test_what_the_message_says(run: Callable[[], Any], message: str) -> None:
    with pytest.raises((InputError, VocabularyError)) as caught:
        run()
    assert str(caught.value) == message
