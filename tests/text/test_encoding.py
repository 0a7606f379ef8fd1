"""Characters, words and tokens of what a tokenizer returns."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from glassbert import BatchEncoding, BertTokenizer, InputError
from glassbert.text import RowEncoding
from glassbert.text.core import Pieces
from tests.text.small import CLS, SEP, VOCAB, A

#       0123456789012
TEXT = "unwanted, a é"
PIECES = ["un", "##want", "##ed", ",", "a", "e"]
PLACES = [(0, 2), (2, 6), (6, 8), (8, 9), (10, 11), (12, 13)]
WORDS = [0, 0, 0, 1, 2, 3]


@pytest.fixture(params=["right", "left"])
def batch(request: pytest.FixtureRequest, kind: type[BertTokenizer]) -> BatchEncoding:
    """A text and a longer pair: two tokens of padding stand on either side of the text."""
    own = kind(VOCAB, padding_side=request.param)
    return own([TEXT, TEXT], ["b", "c runn low"], padding=True)


@pytest.fixture
def left(batch: BatchEncoding) -> int:
    """How much padding stands before the first row."""
    return 2 if batch.attention_mask[0][0] == 0 else 0


def test_tokens_words_and_places_of_a_row(batch: BatchEncoding, left: int) -> None:
    before, after = [None] * left, [None] * (2 - left)
    assert batch.tokens(0) == ["[PAD]"] * left + ["[CLS]", *PIECES, "[SEP]", "b", "[SEP]"] + ["[PAD]"] * (2 - left)
    assert batch.word_ids(0) == [*before, None, *WORDS, None, 0, None, *after]
    assert batch.sequence_ids(0) == [*before, None, *[0] * 6, None, 1, None, *after]
    none = (0, 0)
    assert batch.offsets(0) == [*[none] * left, none, *PLACES, none, (0, 1), none, *[none] * (2 - left)]
    assert batch.tokens(1) == ["[CLS]", *PIECES, "[SEP]", "c", "runn", "low", "[SEP]"]
    assert batch.word_ids(-1) == batch.word_ids(1)


def test_from_a_character(batch: BatchEncoding, left: int) -> None:
    tokens = [batch.char_to_token(char) for char in range(14)]
    first = left + 1
    expected = [0, 0, 1, 1, 1, 1, 2, 2, 3, None, 4, None, 5, None]
    assert tokens == [None if number is None else first + number for number in expected]
    assert [batch.char_to_word(char) for char in range(14)] == [*[0] * 8, 1, None, 2, None, 3, None]
    assert batch.char_to_token(0, 0, 1) == batch.char_to_token(0, sequence_index=1) == first + 7
    assert batch.char_to_token(1, 0, sequence_index=1) == 8
    assert batch.char_to_word(1, 3, 1) == 1


def test_from_a_word(batch: BatchEncoding, left: int) -> None:
    first = left + 1
    assert batch.word_to_tokens(0) == (first, first + 3)
    assert batch.word_to_tokens(3) == (first + 5, first + 6)
    assert batch.word_to_tokens(4) is None
    assert batch.word_to_tokens(1, 2, 1) == (10, 11)
    assert [batch.word_to_chars(word) for word in range(5)] == [(0, 8), (8, 9), (10, 11), (12, 13), None]
    assert batch.word_to_chars(batch_or_word_index=1, word_index=1, sequence_index=1) == (2, 6)


def test_from_a_token(batch: BatchEncoding, left: int) -> None:
    first = left + 1
    assert batch.token_to_chars(first + 1) == (2, 6)
    assert batch.token_to_word(first + 3) == 1
    assert (batch.token_to_sequence(first), batch.token_to_sequence(first + 7)) == (0, 1)
    for special in (first - 1, first + 6, first + 8, 0 if left else -1):
        assert batch.token_to_chars(special) is None
        assert batch.token_to_word(special) is None
        assert batch.token_to_sequence(special) is None


def test_one_text_needs_no_row(kind: type[BertTokenizer]) -> None:
    result = kind(VOCAB)(TEXT)
    assert result.tokens() == ["[CLS]", *PIECES, "[SEP]"]
    assert result.word_ids() == [None, *WORDS, None]
    with pytest.raises(InputError, match="row 1 is asked for, but there are 1"):
        result.word_ids(1)


def test_arrays_know_their_words_too(kind: type[BertTokenizer]) -> None:
    result = kind(VOCAB)([TEXT], return_tensors="pt")
    assert result.word_ids(0) == [None, *WORDS, None]


def test_words_are_those_of_the_call_whatever_came_later(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB)
    result = own("a unwanted")
    own.add_tokens("a unwanted")
    assert len(own.encode("a unwanted")) == 3
    assert result.tokens() == ["[CLS]", "a", "un", "##want", "##ed", "[SEP]"]
    assert result.word_ids() == [None, 0, 1, 1, 1, None]


def test_it_is_a_dict_with_attributes(kind: type[BertTokenizer]) -> None:
    result = kind(VOCAB)("a")
    assert dict(result) == {"input_ids": [CLS, A, SEP], "token_type_ids": [0] * 3, "attention_mask": [1] * 3}
    assert result.input_ids is result["input_ids"]
    result["labels"] = 1
    assert result.labels == 1
    with pytest.raises(AttributeError, match="'special_tokens_mask'; it has input_ids, token_type_ids, attention_mask"):
        result.special_tokens_mask  # noqa: B018


def _copied(batch: BatchEncoding, way: str) -> BatchEncoding:
    if way == "pickle":
        other = pickle.loads(pickle.dumps(batch))
        assert isinstance(other, BatchEncoding)
        return other
    return {"deepcopy": copy.deepcopy, "copy": copy.copy, "method": BatchEncoding.copy}[way](batch)


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "copy", "method"])
def test_a_copy_has_the_values_and_what_was_cut(kind: type[BertTokenizer], way: str) -> None:
    result = kind(VOCAB)("a b c", truncation=True, max_length=4)
    other = _copied(result, way)
    assert type(other) is BatchEncoding
    assert (other, other.cut) == (result, [1])
    other["labels"] = 1
    assert "labels" not in result


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_a_pickle_leaves_the_texts_behind_and_says_so(kind: type[BertTokenizer], way: str) -> None:
    result = kind(VOCAB)("a b c")
    assert len(pickle.dumps(result)) < 500
    other = _copied(result, way)
    assert (other.encodings, other.is_fast, other.n_sequences) == (None, False, None)
    with pytest.raises(InputError, match="it came out of a pickle, which takes them along where return_offsets_map"):
        other.word_ids()


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "copy", "method"])
def test_a_copy_knows_words_where_offsets_were_asked_for(kind: type[BertTokenizer], way: str) -> None:
    own = kind(VOCAB)
    result = own([TEXT, "a b"], ["b", "c"], padding=True, return_offsets_mapping=True)
    other = _copied(result, way)
    for row in (0, 1):
        for name in (*LISTS, "overflowing"):
            assert getattr(other[row], name) == getattr(result[row], name)
    assert other.char_to_token(0, 2) == result.char_to_token(0, 2) is not None
    # Those of the windows too; what is in no window stays behind.
    settings: dict[str, Any] = {"truncation": True, "max_length": 4, "return_offsets_mapping": True}
    windows = _copied(own("a b c d", return_overflowing_tokens=True, **settings), way)
    assert [row.tokens[1:-1] for row in windows[0].overflowing] == [["c", "d"]]
    cut = _copied(own(["a b c", "a"], **settings), way)
    assert cut[1].overflowing == []
    if way in ("pickle", "deepcopy"):
        with pytest.raises(InputError, match="came out of a pickle, which leaves behind what did not fit"):
            cut[0].overflowing  # noqa: B018


# -- a row of its own ------------------------------------------------------------------------------------

LISTS = (
    "ids",
    "type_ids",
    "tokens",
    "offsets",
    "word_ids",
    "sequence_ids",
    "special_tokens_mask",
    "attention_mask",
)


def _theirs() -> Any:
    """The library's tokenizer of the same vocabulary, and special tokens round texts."""
    own = Tokenizer(models.WordPiece(VOCAB, unk_token="[UNK]"))
    own.normalizer = normalizers.BertNormalizer()
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    own.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    return own


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("tensors", [None, "np", "pt"])
@pytest.mark.parametrize("pairs", [False, True])
def test_a_row_is_what_the_library_says(kind: type[BertTokenizer], side: Any, tensors: Any, pairs: bool) -> None:
    theirs = _theirs()
    theirs.enable_padding(direction=side, pad_id=0, pad_token="[PAD]")
    firsts, seconds = [TEXT, "a", "runn low b"], ["b", "c runn low", "lowest lowest a b c"]
    given = list(zip(firsts, seconds, strict=True)) if pairs else firsts
    expected = theirs.encode_batch(given)
    batch = kind(VOCAB, padding_side=side)(given, padding=True, return_tensors=tensors)
    found = batch.encodings
    assert found is not None
    assert len(found) == 3
    for row, other in enumerate(expected):
        assert isinstance(batch[row], RowEncoding)
        for name in LISTS:
            assert getattr(batch[row], name) == getattr(found[row], name) == getattr(other, name), name
        assert (len(batch[row]), batch[row].n_sequences) == (len(other), other.n_sequences)
        assert batch[row].overflowing == other.overflowing == []
        for place in range(15):
            for text in range(1 + pairs):
                for name in ("char_to_token", "char_to_word", "word_to_tokens", "word_to_chars"):
                    assert getattr(batch[row], name)(place, text) == getattr(other, name)(place, text), name
            if place < len(other):
                assert batch[row].token_to_word(place) == other.word_ids[place]
    assert [row.ids for row in batch[1:]] == [row.ids for row in expected[1:]]
    assert batch[-1].ids == batch[np.int64(2)].ids == expected[-1].ids
    assert batch.n_sequences == 1 + pairs


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("pairs", [False, True])
def test_what_did_not_fit_into_a_row(kind: type[BertTokenizer], windows: bool, pairs: bool) -> None:
    stride = 1 if windows else 0
    theirs = _theirs()
    theirs.enable_truncation(6, stride=stride, strategy="only_first")
    given = [("a b c d e f g", "a"), ("a b", "c")] if pairs else ["a b c d e f g", "a b"]
    batch = kind(VOCAB)(
        given, truncation="only_first", max_length=6, return_overflowing_tokens=windows, stride=stride, padding=True
    )
    place = 0
    for other in theirs.encode_batch(given):
        rest = batch[place].overflowing
        expected = [one.ids for one in other.overflowing]
        assert [[index for index in one.ids if index] for one in rest] == expected
        assert [len(one) for one in rest] == [6] * len(expected)
        place += 1
        if windows:
            for one in other.overflowing:
                assert [index for index in batch[place].ids if index] == one.ids
                assert batch[place].overflowing == []
                place += 1
    assert place == len(batch.input_ids)


def test_looking_at_a_row_encodes_no_other(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB)
    batch = own(["a", "b c", "runn"])
    split, seen = own.core.encode, []

    def encode(texts: Sequence[str], *, details: bool) -> list[Pieces]:
        seen.append(list(texts))
        return split(texts, details=details)

    own.core.encode = encode  # type: ignore[method-assign]
    assert batch.word_ids(1) == [None, 0, 1, None]
    assert batch.tokens(1) == batch[1].tokens == ["[CLS]", "b", "c", "[SEP]"]
    assert seen == [["b c"]]
    assert [row.ids for row in batch.encodings or ()] == batch.input_ids
    assert seen == [["b c"], ["a", "runn"]]


def test_offsets_that_were_asked_for_are_not_found_again(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB)
    batch = own(["a", "b c"], return_offsets_mapping=True)
    own.core.encode = None  # type: ignore[method-assign, assignment]
    assert batch.word_ids(1) == [None, 0, 1, None]
    assert batch[1].offsets == batch.offset_mapping[1]


def test_rows_that_are_not_there(kind: type[BertTokenizer]) -> None:
    batch = kind(VOCAB)(["a", "b"])
    for row in (2, -3):
        with pytest.raises(InputError, match=f"row {row} is asked for, but there are 2"):
            batch[row]
    with pytest.raises(InputError, match="the number of a row is of type list, expected a whole number"):
        batch[[0]]  # type: ignore[call-overload]
    with pytest.raises(KeyError, match="labels"):
        batch["labels"]
    with pytest.raises(InputError, match="token 3 is asked for, but the row has 3"):
        batch[0].token_to_word(3)
    assert batch[2:] == []
    assert kind(VOCAB)([]).encodings == []


def test_data_is_the_dict_itself(kind: type[BertTokenizer]) -> None:
    batch = kind(VOCAB)("a")
    assert list(batch.data) == ["input_ids", "token_type_ids", "attention_mask"]
    batch.data["labels"] = 1
    assert batch.labels == 1


def test_what_no_tokenizer_gave_knows_no_words() -> None:
    with pytest.raises(InputError, match="was not made by calling a tokenizer"):
        BatchEncoding({"input_ids": [[1]]}).tokens(0)
