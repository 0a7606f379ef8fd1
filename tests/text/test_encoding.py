"""Characters, words and tokens of what a tokenizer returns."""

from __future__ import annotations

import copy
import pickle

import pytest

from glassbert import BatchEncoding, BertTokenizer, InputError
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
    assert batch.char_to_token(0, 0, 1) == first + 7
    assert batch.char_to_token(0, 1, sequence_index=1) == 8
    assert batch.char_to_word(3, 1, 1) == 1


def test_from_a_word(batch: BatchEncoding, left: int) -> None:
    first = left + 1
    assert batch.word_to_tokens(0) == (first, first + 3)
    assert batch.word_to_tokens(3) == (first + 5, first + 6)
    assert batch.word_to_tokens(4) is None
    assert batch.word_to_tokens(2, 1, 1) == (10, 11)
    assert [batch.word_to_chars(word) for word in range(5)] == [(0, 8), (8, 9), (10, 11), (12, 13), None]
    assert batch.word_to_chars(1, 1, sequence_index=1) == (2, 6)


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


@pytest.mark.parametrize("copied", ["pickle", "deepcopy", "copy"])
def test_a_copy_has_the_values_and_what_was_cut(kind: type[BertTokenizer], copied: str) -> None:
    result = kind(VOCAB)("a b c", truncation=True, max_length=4, return_offsets_mapping=True)
    if copied == "pickle":
        other = pickle.loads(pickle.dumps(result))
    else:
        other = copy.deepcopy(result) if copied == "deepcopy" else copy.copy(result)
    assert type(other) is BatchEncoding
    assert (other, other.cut) == (result, [1])
    # The texts stay behind.
    with pytest.raises(InputError, match="knows no words or places"):
        other.word_ids()


def test_what_no_tokenizer_gave_knows_no_words() -> None:
    with pytest.raises(InputError, match="was not made by calling a tokenizer"):
        BatchEncoding({"input_ids": [[1]]}).tokens(0)
