from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glassbert import BertTokenizer, BertTokenizerFast, InputError, VocabularyError
from glassbert.text import Encoding, save_vocabulary

# fmt: off
TOKENS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ",", "low",
    "lowest", "é", "a", "b", "c", "d", "e", "f", "g",
]
# fmt: on
PAD, UNK, CLS, SEP, MASK = range(5)


@pytest.fixture(params=[BertTokenizer, BertTokenizerFast])
def tokenizer(request: pytest.FixtureRequest) -> BertTokenizer:
    made: BertTokenizer = request.param({token: index for index, token in enumerate(TOKENS)}, model_max_length=12)
    return made


def one(tokenizer: BertTokenizer, first: str, second: str | None = None, **settings: Any) -> Encoding:
    return tokenizer.encodings([first], None if second is None else [second], **settings)[0]


def test_the_golden_sentence(shared: Path) -> None:
    tokenizer = BertTokenizer(shared / "data/vocab/bert-base-uncased.vocab.txt")
    ids = tokenizer.encode("I like natural language progressing!")
    assert ids == [101, 1045, 2066, 3019, 2653, 27673, 999, 102]
    assert tokenizer.decode(ids) == "[CLS] i like natural language progressing! [SEP]"


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
        ("a", "", [CLS, 16, SEP, SEP], [0, 0, 0, 1]),
        ("zzz", None, [CLS, UNK, SEP], [0, 0, 0]),
    ],
)
def test_empty_and_unknown(
    tokenizer: BertTokenizer, first: str, second: str | None, ids: list[int], types: list[int]
) -> None:
    encoding = one(tokenizer, first, second)
    assert (encoding.ids, encoding.types) == (ids, types)


def test_without_special_tokens(tokenizer: BertTokenizer) -> None:
    encoding = one(tokenizer, "a b", "c", add_special_tokens=False)
    assert (encoding.ids, encoding.types, encoding.special) == ([16, 17, 18], [0, 0, 1], [0, 0, 0])


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
    ],
)
def test_special_tokens_written_in_the_text(tokenizer: BertTokenizer, text: str, tokens: list[str]) -> None:
    assert tokenizer.tokenize(text) == tokens


def test_never_split_words_keep_their_case(tokenizer: BertTokenizer) -> None:
    own = BertTokenizer({**tokenizer.vocab, "E.T.": len(TOKENS)}, never_split=["E.T.", "Z!"])
    assert own.tokenize("a E.T. b") == ["a", "E.T.", "b"]
    assert own.encode("Z! E.T.") == [CLS, UNK, len(TOKENS), SEP]


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({}, ["e", "low"]),
        ({"strip_accents": False}, ["é", "low"]),
        ({"do_lower_case": False}, ["[UNK]", "[UNK]"]),
    ],
)
def test_settings_of_the_basic_tokenizer(tokenizer: BertTokenizer, settings: dict[str, Any], tokens: list[str]) -> None:
    assert BertTokenizer(tokenizer.vocab, **settings).tokenize("É LOW") == tokens


# a b c d with e f g, and the places that are left.
@pytest.mark.parametrize(
    ("way", "limit", "first", "second"),
    [
        ("longest_first", 10, "abcd", "efg"),
        ("longest_first", 9, "abc", "efg"),
        ("longest_first", 7, "ab", "ef"),
        ("longest_first", 5, "a", "e"),
        ("longest_first", 3, "", ""),
        (True, 7, "ab", "ef"),
        ("only_first", 9, "abc", "efg"),
        ("only_first", 6, "", "efg"),
        ("only_second", 9, "abcd", "ef"),
        ("only_second", 7, "abcd", ""),
        (False, 3, "abcd", "efg"),
    ],
)
def test_truncation_of_a_pair(tokenizer: BertTokenizer, way: Any, limit: int, first: str, second: str) -> None:
    encoding = one(tokenizer, "a b c d", "e f g", truncation=way, max_length=limit)
    expected = ["[CLS]", *first, "[SEP]", *second, "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(encoding.ids) == expected
    assert encoding.cut == 7 - len(first) - len(second)
    assert encoding.types == [0] * (len(first) + 2) + [1] * (len(second) + 1)


@pytest.mark.parametrize(("count", "cut"), [(10, 0), (11, 1), (30, 20)])
def test_what_is_cut_is_reported(tokenizer: BertTokenizer, count: int, cut: int) -> None:
    encoding = one(tokenizer, "a " * count, truncation=True)
    assert (len(encoding), encoding.cut) == (12, cut)
    batch = tokenizer(["a", "a " * count], truncation=True)
    assert batch.cut == [0, cut]


@pytest.mark.parametrize("way", ["longest_first", "only_first"])
@pytest.mark.parametrize("limit", [-1, 0, 1])
def test_too_little_room_is_an_error(tokenizer: BertTokenizer, way: Any, limit: int) -> None:
    with pytest.raises(InputError, match=f"max_length {limit}"):
        tokenizer.encode("a b", truncation=way, max_length=limit)


@pytest.mark.parametrize(("way", "texts"), [("only_second", ("a b c", "d")), ("only_first", ("a", "b c d"))])
def test_a_text_that_cannot_give_enough_is_an_error(tokenizer: BertTokenizer, way: Any, texts: tuple[str, str]) -> None:
    with pytest.raises(InputError, match=f"'{way}' cannot reach max_length 5"):
        tokenizer.encode(*texts, truncation=way, max_length=5)


@pytest.mark.parametrize(
    ("padding", "side", "rows"),
    [
        (False, "right", [[CLS, 16, SEP], [CLS, 16, 17, 18, SEP]]),
        (True, "right", [[CLS, 16, SEP, PAD, PAD], [CLS, 16, 17, 18, SEP]]),
        ("longest", "left", [[PAD, PAD, CLS, 16, SEP], [CLS, 16, 17, 18, SEP]]),
        ("max_length", "right", [[CLS, 16, SEP, *[PAD] * 4], [CLS, 16, 17, 18, SEP, PAD, PAD]]),
        ("max_length", "left", [[*[PAD] * 4, CLS, 16, SEP], [PAD, PAD, CLS, 16, 17, 18, SEP]]),
    ],
)
def test_padding(tokenizer: BertTokenizer, padding: Any, side: Any, rows: list[list[int]]) -> None:
    padded = BertTokenizer(tokenizer.vocab, padding_side=side)
    batch = padded(["a", "a b c"], padding=padding, max_length=7, return_special_tokens_mask=True)
    assert batch.input_ids == rows
    assert batch.attention_mask == [[int(token != PAD) for token in row] for row in rows]
    assert batch.special_tokens_mask == [[int(token < 5) for token in row] for row in rows]
    assert batch.token_type_ids == [[0] * len(row) for row in rows]


def test_padding_takes_the_length_of_the_model(tokenizer: BertTokenizer) -> None:
    assert len(tokenizer("a", padding="max_length").input_ids) == 12


def test_padding_does_not_cut(tokenizer: BertTokenizer) -> None:
    assert len(tokenizer("a b c d e f", padding="max_length", max_length=4).input_ids) == 8


def test_types_of_padding_after_a_pair(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(["a", "b"], ["c", "d e"], padding=True)
    assert batch.token_type_ids == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]]


def test_one_text_gives_one_row_and_a_list_gives_rows(tokenizer: BertTokenizer) -> None:
    assert tokenizer("a") == {"input_ids": [CLS, 16, SEP], "token_type_ids": [0] * 3, "attention_mask": [1] * 3}
    assert tokenizer(["a"])["input_ids"] == [[CLS, 16, SEP]]
    assert tokenizer("a", "b").input_ids == [CLS, 16, SEP, 17, SEP]
    assert tokenizer([]) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}


def test_arrays(tokenizer: BertTokenizer) -> None:
    texts = ["a b", "c"]
    lists = tokenizer(texts, padding=True)
    arrays = tokenizer(texts, padding=True, return_tensors="np")
    tensors = tokenizer(texts, padding=True, return_tensors="pt")
    for name, rows in lists.items():
        assert isinstance(arrays[name], np.ndarray)
        assert arrays[name].dtype == np.int64
        assert arrays[name].tolist() == rows
        assert tensors[name].dtype == torch.int64
        assert tensors[name].tolist() == rows
    assert tokenizer("a b", return_tensors="pt").input_ids.shape == (1, 4)


def test_arrays_of_rows_that_differ_are_refused(tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match="padding=True"):
        tokenizer(["a", "b c"], return_tensors="np")


def test_a_key_that_is_not_there_names_those_that_are(tokenizer: BertTokenizer) -> None:
    with pytest.raises(AttributeError, match="'special_tokens_mask'; it has input_ids, token_type_ids, attention_mask"):
        tokenizer("a").special_tokens_mask  # noqa: B018


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (["a", "b"], ["c"], "list of 2"),
        (["a", "b"], "cd", "list of 2"),
        ("a", ["b"], "one string"),
        ([1], None, "type int"),
        ([None], None, "type NoneType"),
        (["a"], [b"b"], "type bytes"),
    ],
)
def test_what_is_no_text_is_refused(tokenizer: BertTokenizer, first: Any, second: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer(first, second)


@pytest.mark.parametrize(
    ("ids", "skip", "text"),
    [
        ([CLS, 9, 6, 7, 12, 10, 11, SEP, PAD], False, "[CLS] unwanted , running [SEP] [PAD]"),
        ([CLS, 9, 6, 7, 12, 10, 11, SEP, PAD], True, "unwanted , running"),
        ([], False, ""),
        ([6, 7], False, "##wanted"),
        ([16, UNK, MASK], True, "a"),
    ],
)
def test_decode(tokenizer: BertTokenizer, ids: list[int], skip: bool, text: str) -> None:
    assert tokenizer.decode(ids, skip_special_tokens=skip) == text
    assert tokenizer.decode(torch.tensor(ids), skip_special_tokens=skip) == text  # type: ignore[arg-type]
    assert tokenizer.batch_decode([ids, [16]], skip_special_tokens=skip) == [text, "a"]


def test_ids_and_tokens(tokenizer: BertTokenizer) -> None:
    assert tokenizer.convert_tokens_to_ids("want") == 5
    assert tokenizer.convert_tokens_to_ids(["want", "nothing"]) == [5, UNK]
    assert tokenizer.convert_ids_to_tokens(5) == "want"
    assert tokenizer.convert_ids_to_tokens([CLS, 5], skip_special_tokens=True) == ["want"]
    assert len(tokenizer) == tokenizer.vocab_size == len(TOKENS)
    assert tokenizer.all_special_ids == [UNK, SEP, PAD, CLS, MASK]
    assert tokenizer.get_vocab() == tokenizer.vocab
    assert tokenizer.get_vocab() is not tokenizer.vocab
    assert [tokenizer.num_special_tokens_to_add(pair) for pair in (False, True)] == [2, 3]


@pytest.mark.parametrize("index", [-1, len(TOKENS), 10**9])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: BertTokenizer, index: int) -> None:
    with pytest.raises(InputError, match=f"id {index} is not in the vocabulary of {len(TOKENS)}"):
        tokenizer.decode([index])


@pytest.mark.parametrize("missing", TOKENS[:5])
def test_every_special_token_has_to_be_there(missing: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        BertTokenizer({token: index for index, token in enumerate(TOKENS) if token != missing})
    assert missing in str(caught.value)


def test_special_tokens_may_have_other_names() -> None:
    names: dict[str, Any] = {
        "unk_token": "<u>",
        "sep_token": "</s>",
        "pad_token": "<p>",
        "cls_token": "<s>",
        "mask_token": "<m>",
    }
    own = BertTokenizer({token: index for index, token in enumerate([*names.values(), "a"])}, **names)
    assert own.encode("a<m>zz") == [3, 5, 4, 0, 1]
    assert own("a", padding="max_length", max_length=4).input_ids == [3, 5, 1, 2]


def test_an_unknown_side_is_refused(tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match="'up'"):
        BertTokenizer(tokenizer.vocab, padding_side="up")  # type: ignore[arg-type]


def test_an_unknown_setting_is_refused(tokenizer: BertTokenizer) -> None:
    with pytest.raises(TypeError, match="lower"):
        BertTokenizer(tokenizer.vocab, lower=True)  # type: ignore[call-arg]


def test_a_saved_tokenizer_is_loaded_as_it_was(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    own = BertTokenizer(
        tokenizer.vocab,
        do_lower_case=False,
        strip_accents=True,
        never_split=["E.T."],
        tokenize_chinese_chars=False,
        model_max_length=7,
        padding_side="left",
    )
    own.save_pretrained(tmp_path / "new" / "folder")
    again = BertTokenizer.from_pretrained(tmp_path / "new" / "folder")
    for name in (
        "vocab",
        "do_lower_case",
        "strip_accents",
        "tokenize_chinese_chars",
        "model_max_length",
        "padding_side",
    ):
        assert getattr(again, name) == getattr(own, name)
    assert again.basic_tokenizer.never_split == {"E.T."}


def test_a_vocabulary_file_is_read(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    save_vocabulary(tokenizer.vocab, tmp_path / "vocab.txt")
    assert BertTokenizer(tmp_path / "vocab.txt").vocab == BertTokenizer(str(tmp_path / "vocab.txt")).vocab
    assert BertTokenizer(tmp_path / "vocab.txt").vocab == tokenizer.vocab


def test_a_tokenizer_goes_to_another_process(tokenizer: BertTokenizer) -> None:
    assert pickle.loads(pickle.dumps(tokenizer)).encode("unwanted") == tokenizer.encode("unwanted")


@pytest.mark.parametrize(
    "settings",
    [{"truncation": "nonsense", "max_length": 6}, {"padding": "nonsense"}, {"return_tensors": "nonsense"}],
    ids=lambda settings: next(iter(settings)),
)
def test_an_unknown_way_is_refused(tokenizer: BertTokenizer, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="nonsense"):
        tokenizer("a b c", "d e f", **settings)
