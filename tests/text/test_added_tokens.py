"""Tokens beside the vocabulary, and special ones."""

from __future__ import annotations

import time
from typing import Any

import pytest

from glassbert import BertTokenizer, InputError, VocabularyError
from glassbert.text import AddedToken
from tests.text.small import CLS, MASK, NEXT, SEP, TOKENS, VOCAB, A


def split(tokenizer: BertTokenizer, text: str) -> list[str]:
    """Return the tokens, having made sure that the ids are the same with and without places."""
    ids = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).input_ids
    assert tokenizer.encode(text, add_special_tokens=False) == ids
    tokens: list[str] = tokenizer.convert_ids_to_tokens(ids)
    return tokens


def test_added_tokens_follow_the_vocabulary(tokenizer: BertTokenizer) -> None:
    assert tokenizer.add_tokens(["<x>", "new word", "want", "<x>"]) == 3
    assert tokenizer.add_tokens("<x>") == 0
    assert tokenizer.convert_tokens_to_ids(["<x>", "new word", "want"]) == [NEXT, NEXT + 1, VOCAB["want"]]
    assert (len(tokenizer), tokenizer.vocab_size) == (NEXT + 2, NEXT)
    assert tokenizer.get_added_vocab() == {"<x>": NEXT, "new word": NEXT + 1}
    assert tokenizer.get_vocab() == VOCAB | {"<x>": NEXT, "new word": NEXT + 1}
    assert [token.content for token, _ in tokenizer.added_tokens] == ["want", "<x>", "new word"]
    assert tokenizer.decode([A, NEXT, NEXT + 1]) == "a <x> new word"
    assert tokenizer.add_tokens([]) == 0


@pytest.mark.parametrize(
    ("settings", "text", "tokens"),
    [
        # As a whole, wherever it stands; in the normalized text, so in any case.
        ({}, "a ab b aab", ["a", "ab", "b", "a", "ab"]),
        ({}, "AB Áb\u0301", ["ab", "ab"]),
        ({"normalized": False}, "ab AB", ["ab", "[UNK]"]),
        ({"single_word": True}, "aab ab, _ab ab1 é-ab", ["[UNK]", "ab", ",", *["[UNK]"] * 3, "e", "[UNK]", "ab"]),
        ({"special": True}, "ab AB", ["ab", "[UNK]"]),
        ({"special": True, "normalized": True}, "ab AB", ["ab", "ab"]),
    ],
)
def test_how_it_is_found(kind: type[BertTokenizer], settings: dict[str, bool], text: str, tokens: list[str]) -> None:
    own = kind(VOCAB)
    own.add_tokens(AddedToken("ab", **settings))
    assert split(own, text) == tokens


@pytest.mark.parametrize(
    ("lstrip", "rstrip", "place"),
    [(False, False, (3, 6)), (True, False, (1, 6)), (False, True, (3, 9)), (True, True, (1, 9))],
)
@pytest.mark.parametrize("normalized", [True, False])
def test_white_space_may_be_taken_along(
    kind: type[BertTokenizer], lstrip: bool, rstrip: bool, place: tuple[int, int], normalized: bool
) -> None:
    own = kind(VOCAB)
    own.add_tokens(AddedToken("<x>", lstrip=lstrip, rstrip=rstrip, normalized=normalized))
    result = own("a \t<x>\u3000 \nb", add_special_tokens=False, return_offsets_mapping=True)
    assert result.input_ids == [A, NEXT, A + 1]
    assert result.offset_mapping == [(0, 1), place, (9, 10)]


def test_two_that_take_the_same_white_space_along(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB)
    own.add_tokens([AddedToken("<x>", rstrip=True), AddedToken("<y>", lstrip=True)])
    result = own("<x>  <y>", add_special_tokens=False, return_offsets_mapping=True)
    assert result.offset_mapping == [(0, 5), (5, 8)]


@pytest.mark.parametrize("lstrip", [False, True])
def test_what_is_white_space_when_it_is_normalized_may_be_a_token(kind: type[BertTokenizer], lstrip: bool) -> None:
    own = kind(VOCAB)
    own.add_tokens([AddedToken("\n\u0301", lstrip=lstrip), AddedToken("<x>", rstrip=True)])
    result = own("a<x>\u3000 b", add_special_tokens=False)
    assert result.input_ids == ([A, NEXT + 1, A + 1] if lstrip else [A, NEXT + 1, NEXT, NEXT, A + 1])


@pytest.mark.parametrize("lstrip", [False, True])
def test_white_space_may_be_a_token(kind: type[BertTokenizer], lstrip: bool) -> None:
    own = kind(VOCAB)
    own.add_tokens([AddedToken("\n", lstrip=lstrip, normalized=False)])
    assert split(own, "a\nb \n c") == ["a", "\n", "b", "\n", "c"]
    # One that the token before took is gone, where it takes white space itself; there the library breaks down.
    own.add_tokens(AddedToken("<x>", rstrip=True, normalized=False))
    assert split(own, "<x>\na") == (["<x>", "a"] if lstrip else ["<x>", "\n", "a"])


def test_the_longest_of_those_that_begin_first_is_found(tokenizer: BertTokenizer) -> None:
    tokenizer.add_tokens(["<x", "<x>", "x>y", "<x>y z"])
    assert split(tokenizer, "<x>y z") == ["<x>y z"]
    assert split(tokenizer, "<x>y") == ["<x>", "[UNK]"]
    assert split(tokenizer, "<xx>y") == ["<x", "x>y"]


def test_tokens_as_they_are_written_come_before_normalized_ones(tokenizer: BertTokenizer) -> None:
    tokenizer.add_tokens(["ab cd", AddedToken("cd", normalized=False)])
    assert split(tokenizer, "ab cd") == ["[UNK]", "cd"]
    assert split(tokenizer, "AB CD") == ["ab cd"]


def test_of_two_that_read_the_same_the_first_is_found(tokenizer: BertTokenizer) -> None:
    tokenizer.add_tokens(["New", "new", "NÉW"])
    assert tokenizer.encode("new NEW New", add_special_tokens=False) == [NEXT] * 3
    # Special ones come first.
    tokenizer.add_tokens(AddedToken("nEw", special=True, normalized=True))
    assert tokenizer.encode("new NEW New", add_special_tokens=False) == [NEXT + 3] * 3


def test_of_two_that_read_the_same_the_one_with_the_lowest_id_is_found(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB)
    own.add_tokens("A")
    own.add_tokens("a")  # of the vocabulary, so that its id is lower
    assert own.encode("a A", add_special_tokens=False) == [A] * 2
    # Files keep the ids, not who came first.
    loaded = kind(own.vocab, added_tokens=own.added_tokens)
    assert loaded.encode("a A", add_special_tokens=False) == [A] * 2


@pytest.mark.parametrize("token", ["\u0301", "\u200b", "\ufffd\u00ad"])
def test_a_token_that_normalization_leaves_nothing_of_is_never_found(tokenizer: BertTokenizer, token: str) -> None:
    tokenizer.add_tokens(token)
    assert split(tokenizer, f"a{token}b a") == ["[UNK]", "a"]
    assert tokenizer.convert_tokens_to_ids(token) == NEXT
    # As it is written it can be.
    tokenizer.add_tokens(AddedToken(token, normalized=False))
    assert split(tokenizer, f"a{token}b a") == ["a", token, "b", "a"]


def test_a_token_of_the_vocabulary_is_found_as_a_whole_once_it_is_added(tokenizer: BertTokenizer) -> None:
    assert split(tokenizer, "wantc") == ["[UNK]"]
    assert tokenizer.add_tokens("want") == 1
    assert split(tokenizer, "wantc") == ["want", "c"]
    assert len(tokenizer) == len(TOKENS)


def test_adding_it_again_changes_how_it_is_found(tokenizer: BertTokenizer) -> None:
    tokenizer.add_tokens("ab")
    assert split(tokenizer, "aab AB") == ["a", "ab", "ab"]
    assert tokenizer.add_tokens(AddedToken("ab", single_word=True, normalized=False)) == 0
    assert split(tokenizer, "aab AB ab") == ["[UNK]", "[UNK]", "ab"]
    # A string says nothing about that.
    assert tokenizer.add_tokens("ab") == 0
    assert split(tokenizer, "aab AB ab") == ["[UNK]", "[UNK]", "ab"]
    assert len(tokenizer) == NEXT + 1


def test_a_special_token_may_take_white_space_along(tokenizer: BertTokenizer) -> None:
    assert tokenizer.add_special_tokens({"mask_token": AddedToken("[MASK]", lstrip=True)}) == 0
    result = tokenizer("a  [MASK]", add_special_tokens=False, return_offsets_mapping=True)
    assert (result.input_ids, result.offset_mapping) == ([A, MASK], [(0, 1), (1, 9)])
    assert tokenizer.mask_token_id == MASK
    tokenizer.add_tokens(AddedToken("[SEP]", single_word=True))
    assert split(tokenizer, "[sep] a[SEP] [SEP]") == ["[UNK]"] * 3 + ["a", "[UNK]", "[UNK]", "[UNK]", "[SEP]"]


def test_words_and_places_round_added_tokens(tokenizer: BertTokenizer) -> None:
    tokenizer.add_tokens(["<x>", "new word"])
    result = tokenizer("É<x>unwanted New WORD, b", return_offsets_mapping=True)
    assert result.tokens() == ["[CLS]", "e", "<x>", "un", "##want", "##ed", "new word", ",", "b", "[SEP]"]
    assert result.word_ids()[1:-1] == [0, 1, 2, 2, 2, 3, 4, 5]
    assert result.offset_mapping[1:-1] == [
        *((0, 1), (1, 4), (4, 6), (6, 10), (10, 12), (13, 21), (21, 22), (23, 24)),
    ]
    words = tokenizer(["a<x>", "<x>"], is_split_into_words=True)
    assert words.word_ids() == [None, 0, 0, 1, None]


def test_special_tokens_are_added(tokenizer: BertTokenizer) -> None:
    added = tokenizer.add_special_tokens({"cls_token": "<s>", "additional_special_tokens": ["<u>", "<v>", "want"]})
    assert added == 3
    assert tokenizer.convert_tokens_to_ids(["<s>", "<u>", "<v>"]) == [NEXT, NEXT + 1, NEXT + 2]
    assert tokenizer.additional_special_tokens == ["<u>", "<v>", "want"]
    assert tokenizer.all_special_tokens == ["[UNK]", "[SEP]", "[PAD]", "<s>", "[MASK]", "<u>", "<v>", "want"]
    assert tokenizer.special_tokens_map["additional_special_tokens"] == ["<u>", "<v>", "want"]
    assert tokenizer.encode("a<u><U>") == [NEXT, A, NEXT + 1, *[1] * 3, SEP]
    assert tokenizer.decode([NEXT, A, NEXT + 1, SEP], skip_special_tokens=True) == "a"
    # They stay, and come once.
    assert tokenizer.add_special_tokens({"additional_special_tokens": ["<u>", "<w>"]}) == 1
    assert tokenizer.additional_special_tokens == ["<u>", "<v>", "want", "<w>"]


def test_special_tokens_of_the_constructor(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, additional_special_tokens=["<u>", AddedToken("<v>", lstrip=True), "want"])
    assert own.encode("a <v><u>", add_special_tokens=False) == [A, NEXT + 1, NEXT]
    assert own.get_special_tokens_mask([A, NEXT, VOCAB["want"]], already_has_special_tokens=True) == [0, 1, 1]


def test_tokens_that_are_added_as_special_ones_are_skipped(tokenizer: BertTokenizer) -> None:
    tokenizer.add_tokens(["<x>", "<y>"], special_tokens=True)
    tokenizer.add_tokens("<z>")
    assert split(tokenizer, "<x> <X>") == ["<x>", "[UNK]", "[UNK]", "[UNK]"]
    assert tokenizer.decode([A, NEXT, NEXT + 1, NEXT + 2], skip_special_tokens=True) == "a <z>"
    assert tokenizer.get_special_tokens_mask([A, NEXT, NEXT + 2], already_has_special_tokens=True) == [0, 1, 0]
    # As a plain token first, then as a special one.
    tokenizer.add_tokens("<z>", special_tokens=True)
    assert tokenizer.decode([A, NEXT + 2], skip_special_tokens=True) == "a"


def test_a_special_token_added_after_others_keeps_its_id(tokenizer: BertTokenizer) -> None:
    tokenizer.add_tokens("<x>")
    tokenizer.add_special_tokens({"cls_token": "<s>"})
    assert tokenizer.encode("<x> <s>") == [NEXT + 1, NEXT, NEXT + 1, SEP]


def test_added_tokens_of_the_constructor_have_any_ids(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, added_tokens=[(AddedToken("<y>"), NEXT + 7), (AddedToken("<x>"), NEXT + 2), (AddedToken("a"), A)])
    assert own.encode("b<x><y>a") == [CLS, A + 1, NEXT + 2, NEXT + 7, A, SEP]
    own.add_tokens("<z>")
    assert own.convert_tokens_to_ids("<z>") == NEXT + 8
    assert own.encode("<z>", add_special_tokens=False) == [NEXT + 8]
    with pytest.raises(InputError, match=f"id {NEXT} is not in the vocabulary"):
        own.decode([NEXT])


def test_another_special_token_may_be_taken_from_the_added_ones(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, pad_token="<p>", added_tokens=[(AddedToken("<p>", special=True), NEXT)])
    assert own("a", padding="max_length", max_length=4).input_ids == [CLS, A, SEP, NEXT]


@pytest.mark.parametrize("taken", [A, CLS])
def test_an_id_that_is_taken_is_refused(kind: type[BertTokenizer], taken: int) -> None:
    with pytest.raises(VocabularyError, match=f"the added token '<x>' has the id {taken}, which is that of"):
        kind(VOCAB, added_tokens=[(AddedToken("<x>"), taken)])
    with pytest.raises(VocabularyError, match=f"'<y>' has the id {NEXT}, which is that of '<x>'"):
        kind(VOCAB, added_tokens=[(AddedToken("<x>"), NEXT), (AddedToken("<y>"), NEXT)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "a token to add is ''"),
        (["a", ""], "a token to add is ''"),
        ([5], "a token to add is 5"),
        (5, "tokens to add are of type int"),
        (None, "tokens to add are of type NoneType"),
        (b"ab", "a token to add is 97"),
        ("x\ud800", "holds a lone surrogate"),
        (AddedToken(""), "a token to add is ''"),
    ],
)
def test_what_is_no_token_is_refused(tokenizer: BertTokenizer, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.add_tokens(given)
    assert len(tokenizer) == len(TOKENS)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"bos_token": "<s>"}, InputError, "no special token is called 'bos_token'; there are unk_token, sep_token"),
        ({"cls_token": ""}, InputError, "a token to add is ''"),
        ({"cls_token": ["<s>", "<t>"]}, InputError, "cls_token is .*, expected one token"),
        ({"unk_token": "<u>"}, VocabularyError, "unk_token is '<u>', which has to be in the vocabulary itself"),
        ({"additional_special_tokens": 5}, InputError, "tokens to add are of type int"),
    ],
)
def test_special_tokens_that_cannot_be_set(
    tokenizer: BertTokenizer, given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tokenizer.add_special_tokens(given)
    assert (len(tokenizer), tokenizer.cls_token, tokenizer.unk_token) == (len(TOKENS), "[CLS]", "[UNK]")


def test_another_unknown_token(tokenizer: BertTokenizer) -> None:
    tokenizer.add_special_tokens({"unk_token": "want"})
    assert tokenizer.encode("zz a", add_special_tokens=False) == [VOCAB["want"], A]
    assert tokenizer(["zz"], return_offsets_mapping=True).input_ids == [[CLS, VOCAB["want"], SEP]]


def test_a_special_token_that_is_set_by_hand_has_to_be_known(tokenizer: BertTokenizer) -> None:
    tokenizer.pad_token = "want"
    assert tokenizer(["a", "a b"], padding=True).input_ids[0] == [CLS, A, SEP, VOCAB["want"]]
    with pytest.raises(InputError, match="pad_token is '<p>', which is no token; add_special_tokens adds it"):
        tokenizer.pad_token = "<p>"


@pytest.mark.parametrize("special", [False, True])
def test_adding_a_token_does_not_go_through_all_that_there_are(kind: type[BertTokenizer], special: bool) -> None:
    vocab = VOCAB | {f"piece{number}": NEXT + number for number in range(30_000)}
    words = [f"<{number}>" for number in range(3_000)]
    ratios = []
    for _ in range(3):
        own = kind(vocab)
        begin = time.perf_counter()
        own.get_vocab()
        middle = time.perf_counter()
        for word in words:
            if special:
                own.add_special_tokens({"additional_special_tokens": [word]})
            else:
                own.add_tokens(word)
        ratios.append((time.perf_counter() - middle) / len(words) / (middle - begin))
        assert own.convert_tokens_to_ids(words) == list(range(len(vocab), len(own)))
    # One takes a small part of the time of going through the vocabulary.
    assert min(ratios) < 0.3


def test_the_list_of_additional_special_tokens_is_a_copy(kind: type[BertTokenizer]) -> None:
    own = kind(VOCAB, additional_special_tokens=["<s>", "a"])
    own.additional_special_tokens.append("b")
    assert own.additional_special_tokens == ["<s>", "a"]
    own.additional_special_tokens = ["a"]
    assert own.special_tokens_map["additional_special_tokens"] == ["a"]
    assert own.all_special_ids == [VOCAB["[UNK]"], SEP, 0, CLS, MASK, A]
