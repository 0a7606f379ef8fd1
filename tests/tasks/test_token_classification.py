"""Tags of words: rows, windows, answers, metrics."""

from __future__ import annotations

import html
import importlib
import json
import random
import re
import warnings
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from glassbert import (
    BertConfig,
    BertForTokenClassification,
    BertTokenizer,
    BertTokenizerFast,
    ConfigError,
    DataError,
    InputError,
    pipeline,
)
from glassbert.data import Record
from glassbert.model.outputs import TokenClassifierOutput
from glassbert.tasks import Entity, TaggedSentence, TokenClassification, task_of
from glassbert.tasks import TokenClassificationExample as Example
from glassbert.tasks.pieces import Grouping
from glassbert.tasks.token_classification import TokenFeatures
from glassbert.train.loop import backward

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = {token: n for n, token in enumerate((*SPECIAL, *"abcdefg", "##a", "##b", "##c", "#", "!", "中", "国"))}
TOKENIZER = BertTokenizer(VOCABULARY)
TAGS = ("B-LOC", "B-PER", "I-PER", "O")
TASK = TokenClassification(tags=TAGS, scheme="IOB2")


def row(**values: Any) -> Record:
    return Record(values=values, file="f.conll", line=7)


COLUMNS: dict[str, str | int] = {"tokens": "tokens", "tags": "tags"}


def example(words: str, tags: str | None = None, **more: Any) -> Example:
    return Example(words=tuple(words.split()), tags=None if tags is None else tuple(tags.split()), **more)


def features(*examples: Example, max_length: int = 16, labelled: bool = True) -> list[TokenFeatures]:
    return list(TASK.features(examples, TOKENIZER, max_length=max_length, labelled=labelled))


def small(**changes: Any) -> BertForTokenClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **changes,
    )
    return BertForTokenClassification(TASK.configure(config)).eval()


# -- rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "tags"),
    [(["a", "b c"], ["O", "B-LOC"]), (("a", "b c"), "O B-LOC"), (["a", "b c"], "O  B-LOC ")],
)
def test_words_and_tags_are_lists_or_texts_with_spaces(words: Any, tags: Any) -> None:
    (found,) = TASK.examples([row(tokens=words, tags=tags)], COLUMNS)
    assert (found.words, found.tags) == (("a", "b c"), ("O", "B-LOC"))
    assert (found.file, found.line) == ("f.conll", 7)


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        (["a", "b"], ["O"], "2 words, but 1 tag$"),
        (["a"], ["O", "O"], "1 word, but 2 tags"),
        ([], [], "a sentence without words"),
        (["a", ""], ["O", "O"], "word 2 is empty"),
        (["a"], [""], "the tag of word 1 is empty"),
    ],
)
def test_a_bad_record_is_found_when_it_is_read(words: list[str], tags: list[str], message: str) -> None:
    with pytest.raises(DataError, match=rf"f\.conll:7: {message}"):
        list(TASK.examples([row(tokens=words, tags=tags)], COLUMNS))


@pytest.mark.parametrize("text", ["['a', 'b']", '["a", "b"]', "['a' 'b']", " [ 'a',\n'b' ] "])
def test_a_list_that_was_written_as_text_is_refused(text: str) -> None:
    with pytest.raises(
        DataError, match=r"f\.conll:7: .* in the column 'tokens' is a list that was written as text; .*"
    ):
        list(TASK.examples([row(tokens=text, tags=["O"])], COLUMNS))


def test_words_between_spaces_may_be_other_white_space_and_brackets() -> None:
    (found,) = TASK.examples([row(tokens="[ a \u3000 \u00a0 ]", tags="O O O O O")], COLUMNS)
    assert found.words == ("[", "a", "\u3000", "\u00a0", "]")


@pytest.mark.parametrize("value", [{"a": 1}, [1.5], None, 3.0])
def test_what_is_no_list_of_words_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"f\.conll:7: .*'tokens'"):
        list(TASK.examples([row(tokens=value, tags=["O"])], COLUMNS))


def test_sentences_that_cannot_be_learned_are_named() -> None:
    place: dict[str, Any] = {"file": "f.conll", "line": 3}
    for bad, message in (
        (example("a b", "O", **place), "2 words, but 1 tag"),
        (
            example("a b", "O B-ORG", **place),
            r"the tag 'B-ORG' of word 2 \('b'\) is not one the model knows \(B-LOC, B-PER, I-PER, O\)",
        ),
        (example("", "", **place), "a sentence without words"),
        (Example(words=("a", ""), tags=("O", "O"), **place), "word 2 is empty"),
        (Example(words=("a", "b"), tags=("O", ""), **place), "the tag of word 2 is empty"),
        (example("a", None, **place), "no tags"),
        (Example(words=("a", "\ud800"), tags=("O", "O"), **place), "lone surrogate"),
    ):
        with pytest.raises(DataError, match=rf"f\.conll:3: .*{message}"):
            features(example("a", "O"), bad)
    assert len(features(example("a b"), labelled=False)) == 1


# -- learning the tags --------------------------------------------------------------------------------------


def learned(*sentences: str, **options: Any) -> TokenClassification:
    TokenClassification.check_options(options)
    return TokenClassification(**options).learn(
        [example(" ".join("a" for _ in tags.split()), tags, file="f", line=n) for n, tags in enumerate(sentences, 1)]
    )


@pytest.mark.parametrize(
    ("sentences", "scheme", "tags"),
    [
        (["B-a I-a O", "O B-b"], "IOB2", "B-a B-b I-a I-b O"),
        (["I-a I-a B-a O", "O I-b"], "IOB1", "B-a B-b I-a I-b O"),
        (["B-a I-a O", "O I-a", "B-a"], "IOB2", "B-a I-a O"),  # the more of both
        (["B-a O", "O I-a"], "IOB2", "B-a I-a O"),  # as many of both
        (["B-a I-a E-a", "S-a O"], "IOBES", "B-a E-a I-a O S-a"),
        (["B-a M-a E-a", "S-a O", "M-b"], "BMES", "B-a B-b E-a E-b M-a M-b O S-a S-b"),
        (["B E", "S"], "IOBES", "B E I S"),
        (["DET NOUN", "VERB"], "none", "DET NOUN VERB"),
    ],
)
def test_the_scheme_is_found_and_its_tags_are_completed(sentences: list[str], scheme: str, tags: str) -> None:
    task = learned(*sentences)
    assert task.scheme == scheme
    assert task.tags == tuple(tags.split())
    config = task.configure(BertConfig())
    assert config.id2label == dict(enumerate(task.tags))
    assert task_of(config, "BertForTokenClassification") == task


def test_the_scheme_may_be_set() -> None:
    assert learned("I-a O", "O I-a", scheme="BIO").scheme == "IOB2"
    assert learned("B-a O", scheme="none").scheme == "none"
    with pytest.raises(
        DataError, match=r"f:2: the tag 'E-a' of word 2 \('a'\) is not .* scheme IOB2; .* --option scheme=none"
    ):
        learned("B-a O", "B-a E-a", scheme="IOB2")
    with pytest.raises(ConfigError, match="scheme is 'BOI'"):
        learned("B-a O", scheme="BOI")
    with pytest.raises(ConfigError, match="no option 'skema'; it has scheme"):
        learned("B-a O", skema="IOB2")


def test_tags_that_fit_no_scheme_are_refused() -> None:
    with pytest.raises(DataError, match=r"f:2: the tag 'PER' of word 2 \('a'\) is not one of the scheme IOB2"):
        learned("B-a I-a", "O PER")
    with pytest.raises(DataError, match="letters of several schemes"):
        learned("B-a M-a", "L-a O")
    with pytest.raises(DataError, match=r"1 class \(O\)"):
        learned("O O")


def test_what_is_said_of_the_tags() -> None:
    def notes(*sentences: str) -> list[str]:
        examples = [example(" ".join("a" for _ in tags.split()), tags) for tags in sentences]
        return list(TokenClassification().learn(examples).notes(examples, []))

    assert notes("B-a I-a O", "B-b") == [
        "the 4 tags are read as IOB2; types of entities: a, b",
        "tags of the scheme that never occur, but that the model knows too: I-b",
    ]
    (line,) = notes("B-a I-a O", "B-a", "O I-a")
    assert line.endswith("a; entities that begin with I, against the scheme, and are taken as they are: 1")
    assert notes("X Y") == ["the 2 tags are no chunks: each word is scored by itself"]


def test_somebody_elses_tags() -> None:
    names = {0: "O", 1: "B-PER", 2: "I-PER", 3: "X"}
    assert TokenClassification.of_model(BertConfig(id2label=names)).scheme == "IOB2"
    assert TokenClassification.of_model(BertConfig(num_labels=2)).scheme == "none"
    with pytest.raises(ConfigError, match="scheme is 'x'"):
        TokenClassification.of_model(BertConfig(extra={"glassbert_task": {"scheme": "x"}}))


# -- words to tokens ----------------------------------------------------------------------------------------


def test_the_first_piece_of_each_word_has_its_tag() -> None:
    found = features(example("ab c abc", "B-PER O B-LOC"), example("d", "O"))
    batch = TASK.collate(found, TOKENIZER)
    names = {index: token for token, index in VOCABULARY.items()}
    assert [names[index] for index in batch["input_ids"][0].tolist()] == [
        "[CLS]",
        "a",
        "##b",
        "c",
        "a",
        "##b",
        "##c",
        "[SEP]",
    ]
    assert batch["labels"].tolist() == [[-100, 1, -100, 3, 0, -100, -100, -100], [-100, 3, *[-100] * 6]]
    assert batch["attention_mask"].sum(dim=1).tolist() == [8, 3]
    assert TASK.weight(found) == 4.0
    assert "labels" not in TASK.collate(features(example("a"), labelled=False), TOKENIZER)


def test_padding_on_the_left_changes_nothing() -> None:
    left = BertTokenizer(VOCABULARY, padding_side="left")
    found = features(example("ab c", "B-PER O"), example("d", "O"))
    for name, values in TASK.collate(found, left).items():
        assert torch.equal(values, TASK.collate(found, TOKENIZER)[name])


@pytest.mark.parametrize("kind", [BertTokenizer, BertTokenizerFast])
def test_a_word_of_which_nothing_is_left_is_read_as_unknown(kind: type[BertTokenizer]) -> None:
    (found,) = TASK.features(
        [Example(words=("\u200b", "a", "\u200b", " ", "b", "\ufe0f"))], kind(VOCABULARY), max_length=16, labelled=False
    )
    a, b = VOCABULARY["a"], VOCABULARY["b"]
    assert found.encoding.ids == [2, 1, a, 1, 1, b, 1, 3]
    assert found.places == (1, 2, 3, 4, 5, 6)


def test_each_word_counts_in_the_window_that_shows_most_around_it() -> None:
    chance = random.Random(0)
    for case in range(200):
        words = tuple(
            "".join(["a", *chance.choices("abc", k=chance.choice([0, 0, 1, 9]))]) for _ in range(chance.randint(1, 40))
        )
        max_length = chance.randint(3, 14)
        (whole,) = TASK.features([Example(words=words)], TOKENIZER, max_length=10**6, labelled=False)
        found = list(TASK.features([Example(words=words)], TOKENIZER, max_length=max_length, labelled=False))
        assert max(map(len, found)) <= max_length
        # Every word once, in order.
        assert [feature.first + n for feature in found for n in range(len(feature.places))] == list(range(len(words)))
        pieces = whole.encoding.ids[1:-1]
        room = max_length - 2
        step = room - room // 4
        starts = range(0, max(1, len(pieces) - room // 4), step)
        for feature in found:
            start = whole.places[feature.first] - feature.places[0]
            assert start in starts
            assert feature.encoding.ids[1:-1] == pieces[start : start + room]
            for n, place in enumerate(feature.places):
                at = start + place - 1
                assert at == whole.places[feature.first + n] - 1
                seen = {begin: around(at, begin, room, len(pieces)) for begin in starts if begin <= at < begin + room}
                assert seen[start] == max(seen.values()), case


def around(at: int, begin: int, room: int, length: int) -> float:
    """Count what a window shows beside a piece, on the poorer side; an end of the sentence is no want."""
    left = float("inf") if begin == 0 else at - begin
    right = float("inf") if begin + room >= length else begin + room - 1 - at
    return min(left, right)


def test_a_long_sentence_is_answered_as_a_short_one_where_it_fits() -> None:
    """Windows change nothing for a sentence that fits, and lose no word of one that does not."""
    model = small()
    tag = pipeline("token-classification", model=model, tokenizer=TOKENIZER)
    words = ["a", "bc", "d", "e"] * 20
    (long,) = tag([{"tokens": words}])
    assert (len(long.tags), min(long.scores) > 0.0) == (80, True)
    # The windows by hand: 14 pieces, 3 of them shared.
    pieces = [piece for word in words for piece in TOKENIZER.tokenize(word)]
    firsts = [n for n, piece in enumerate(pieces) if not piece.startswith("##")]
    expected: dict[int, tuple[float, int]] = {}
    for start in range(0, len(pieces) - 3, 11):
        part = pieces[start : start + 14]
        ids = torch.tensor([[2, *map(VOCABULARY.__getitem__, part), 3]])
        with torch.inference_mode():
            scores = model(ids).logits[0].softmax(dim=-1)
        for n in range(len(part)):
            left, right = n if start else 99, len(part) - 1 - n if start + 14 < len(pieces) else 99
            old = expected.get(start + n)
            if old is None or min(left, right) > old[0]:
                expected[start + n] = (min(left, right), int(scores[n + 1].argmax()))
    assert list(long.tags) == [TAGS[expected[place][1]] for place in firsts]


def test_the_loss_is_a_mean_over_words_however_they_are_split() -> None:
    examples = [example("a b c d e f g " * 5, "B-PER I-PER O B-LOC O O O " * 5), example("ab", "B-LOC")]
    found = features(*examples, max_length=10)
    assert len(found) > 5
    losses, gradients = [], []
    for budget in (10**6, 12):
        model = small().train()
        losses.append(
            backward(model, found, lambda some: TASK.collate(some, TOKENIZER), token_budget=budget, weight=TASK.weight)
        )
        gradients.append(model.classifier.weight.grad)
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    # By hand: every word once.
    with torch.inference_mode():
        logits = torch.cat(TASK.rows(small()(**TASK.collate(found, TOKENIZER)), found))
    labels = torch.tensor([label for feature in found for label in feature.labels or ()])
    assert len(labels) == 36
    assert losses[0][0] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)


# -- answers ------------------------------------------------------------------------------------------------


def test_answers_have_a_tag_for_each_word_and_the_entities() -> None:
    sentence = example("a b c d")
    (feature,) = features(sentence, labelled=False)
    sure = torch.tensor([[0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9], [9.0, 0, 0, 0]])
    (answer,) = TASK.answers([sentence], [feature], [sure])
    assert answer.tags == ("B-PER", "I-PER", "O", "B-LOC")
    score = float(sure[0].softmax(dim=-1).max())
    assert answer.scores == pytest.approx([score] * 4)
    person, place = answer.entities
    assert (person.type, person.start_word, person.end_word, person.text) == ("PER", 0, 2, "a b")
    assert (place.type, place.start_word, place.end_word, place.text) == ("LOC", 3, 4, "d")
    assert person.score == pytest.approx(score)
    assert (person.start, person.end) == (None, None)
    assert json.loads(json.dumps(answer.to_dict()))["entities"][1]["text"] == "d"
    with pytest.raises(InputError, match="not finite"):
        TASK.answers([sentence], [feature], [sure * float("nan")])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", ["a", "b"]),
        (" a,  (b)...\n", ["a", ",", "(", "b", ")", "..."]),
        ("e-mail U.S. don't #a", ["e-mail", "U.S", ".", "don't", "#", "a"]),
        ("ab中国x 3.5%", ["ab", "中", "国", "x", "3.5", "%"]),
        ("a\u00a0b\u3000c\u200b \u200b ?!", ["a", "b", "c\u200b", "?", "!"]),
        ("", []),
    ],
)
def test_a_text_is_split_into_words(text: str, words: list[str]) -> None:
    found = Example.of_text(text)
    assert list(found.words) == words
    assert [text[start:stop] for start, stop in found.offsets] == words


def test_a_text_as_input_gives_entities_with_their_places() -> None:
    tag = pipeline(model=small(), tokenizer=TOKENIZER)
    text = "  ab,\tc!! 中国\u3000d"
    answer = tag(text)
    assert isinstance(answer, TaggedSentence)
    assert answer.words == ("ab", ",", "c", "!!", "中", "国", "d")
    assert answer.entities
    for entity in answer.entities:
        assert entity.start is not None
        assert text[entity.start : entity.end] == entity.text
        assert entity.text.startswith(answer.words[entity.start_word])
        assert entity.text.endswith(answer.words[entity.end_word - 1])
    # The same words, given as words: the same tags, and no places.
    given = tag({"tokens": list(answer.words)})
    assert given.tags == answer.tags
    assert all(entity.start is None for entity in given.entities)
    assert [one.text for one in tag([text, "a"])[0].entities] == [one.text for one in answer.entities]


def test_inputs_that_are_no_sentences_are_refused() -> None:
    tag = pipeline(model=small(), tokenizer=TOKENIZER)
    with pytest.raises(DataError, match="the text is empty"):
        tag(" \u200b")
    with pytest.raises(DataError, match="without words"):
        tag({"tokens": []})
    with pytest.raises(DataError, match="expected a list of strings"):
        tag({"tokens": [1]})
    with pytest.raises(InputError, match="an input with 'tokens' stands beside one with 'text'"):
        tag(["a", {"tokens": ["a"]}])
    with pytest.raises(InputError, match="given by its words"):
        tag({})


# -- groupings and boundaries -------------------------------------------------------------------------------


def by_token(task: TokenClassification, given: Example, table: Tensor, max_length: int = 10**6) -> TaggedSentence:
    """Answer with scores that depend on the token alone, (V, C)."""
    found = list(task.features([given], TOKENIZER, max_length=max_length, labelled=False))
    batches = [task.collate([feature], TOKENIZER)["input_ids"] for feature in found]
    outputs = [TokenClassifierOutput(logits=table[ids]) for ids in batches]
    rows = [task.rows(output, [feature])[0] for output, feature in zip(outputs, found, strict=True)]
    (answer,) = task.answers([given], found, rows)
    return answer


def scores_for(**tags: tuple[str, float]) -> Tensor:
    """Return logits by token: one tag has this probability and the others share the rest; all other tokens are O."""
    table = torch.tensor([float(tag == "O") for tag in TAGS]).repeat(len(VOCABULARY), 1)
    for piece, (tag, probability) in tags.items():
        token = piece.replace("__", "##")
        table[VOCABULARY[token]] = torch.tensor((1 - probability) / 3).log()
        table[VOCABULARY[token], TAGS.index(tag)] = torch.tensor(probability).log()
    return table


# a: a person begins, surely; ##b: outside, surer; ##c: goes on.
TABLE = scores_for(a=("B-PER", 0.7), __b=("O", 0.9), __c=("I-PER", 0.8), d=("O", 0.97), e=("I-PER", 0.76))


@pytest.mark.parametrize(
    ("grouping", "words", "tags", "entities"),
    [
        ("first", "ab d ac e", "B-PER O B-PER I-PER", [("PER", "ab", 0.7), ("PER", "ac e", 0.73)]),
        # ab: O has (0.1 + 0.9) / 2; ac: B-PER (0.7 + 0.2 / 3) / 2, I-PER (0.1 + 0.8) / 2.
        ("average", "ab d ac e", "O O I-PER I-PER", [("PER", "ac e", (0.45 + 0.76) / 2)]),
        ("max", "ab d ac e", "O O I-PER I-PER", [("PER", "ac e", 0.78)]),
        (
            "simple",
            "a b d a c e",
            "B-PER O O B-PER I-PER I-PER",
            [("PER", "a", 0.7), ("PER", "ac e", (0.7 + 0.8 + 0.76) / 3)],
        ),
        (
            "none",
            "a b d a c e",
            "B-PER O O B-PER I-PER I-PER",
            [("B-PER", "a", 0.7), ("B-PER", "a", 0.7), ("I-PER", "c", 0.8), ("I-PER", "e", 0.76)],
        ),
    ],
)
@pytest.mark.parametrize("boundaries", ["spaces", "marks"])
def test_groupings_by_hand(
    grouping: str, words: str, tags: str, entities: list[tuple[str, str, float]], boundaries: str
) -> None:
    task = TASK.chosen({"grouping": grouping, "word_boundaries": boundaries})
    text = " ab  d\tac e"
    answer = by_token(task, Example.of_text(text), TABLE)
    assert (answer.words, answer.tags, answer.text) == (tuple(words.split()), tuple(tags.split()), text)
    assert [(one.type, one.text) for one in answer.entities] == [one[:2] for one in entities]
    assert [one.score for one in answer.entities] == pytest.approx([one[2] for one in entities])
    for one in answer.entities:
        assert text[one.start : one.end] == one.text
        assert answer.words[one.start_word] == one.text[: len(answer.words[one.start_word])]
    # The same words, given as words: no places, the same all else.
    given = by_token(task, example("ab d ac e"), TABLE)
    assert (given.words, given.tags, given.scores, given.text) == (answer.words, answer.tags, answer.scores, None)
    assert [(one.type, one.text, one.start) for one in given.entities] == [(*one[:2], None) for one in entities]


def test_choices_that_there_are_not() -> None:
    for name, message in (
        ("grouping", "grouping is 'last', expected one of none, simple, first, average, max"),
        ("word_boundaries", "word_boundaries is 'last', expected one of spaces, marks"),
    ):
        with pytest.raises(ConfigError, match=message):
            TASK.chosen({name: "last"})
    with pytest.raises(ConfigError, match="no option 'tags' for its answers; it has grouping, word_boundaries"):
        TASK.chosen({"tags": ("O",)})


@pytest.mark.parametrize("grouping", ["none", "simple"])
def test_pieces_are_not_compared_with_words(grouping: str) -> None:
    task = TASK.chosen({"grouping": grouping})
    message = f"grouping is '{grouping}', which answers for pieces.*take first, average or max"
    with pytest.raises(InputError, match=message):
        task.measure([example("a", "O")], [tagged("O")])
    with pytest.raises(InputError, match=message):
        task.verdict(example("a", "O"), tagged("O"))


@pytest.mark.parametrize("boundaries", ["spaces", "marks"])
@pytest.mark.parametrize("grouping", get_args(Grouping))
def test_windows_change_no_answer(grouping: str, boundaries: str) -> None:
    """Where scores depend on the token alone, no entity is lost or cut where windows meet."""
    chance = random.Random(5)
    generator = torch.Generator().manual_seed(5)
    task = TASK.chosen({"grouping": grouping, "word_boundaries": boundaries})
    across = 0
    for _ in range(60):
        table = 2.0 * torch.randn(len(VOCABULARY), len(TAGS), generator=generator)
        table[:, TAGS.index("I-PER")] += 3.0
        parts = [
            "".join([chance.choice("abcd"), *chance.choices("abc", k=chance.choice([0, 0, 1, 2, 9]))])
            + chance.choice(["", "", "!", "#a", "中"])
            for _ in range(chance.randint(1, 60))
        ]
        text = " ".join(parts)
        given = Example.of_text(text) if chance.random() < 0.7 else Example(words=tuple(parts))
        whole = by_token(task, given, table)
        max_length = chance.randint(3, 20)
        assert by_token(task, given, table, max_length) == whole
        across += any(one.end_word - one.start_word > max_length for one in whole.entities)
    assert across > 10 or grouping == "none"


def test_true_tags_stand_at_first_pieces_whatever_answers() -> None:
    """Also where a window shows nothing but the middle of one word."""
    given = example("a" + "b" * 30 + " d", "B-PER O")
    labels = []
    for grouping in ("first", "average"):
        task = TASK.chosen({"grouping": grouping})
        found = list(task.features([given], TOKENIZER, max_length=8))
        batch = task.collate(found, TOKENIZER)
        labels.append([label for label in batch["labels"].flatten().tolist() if label >= 0])
        assert task.weight(found) == 2.0
        assert (min(len(feature.places) for feature in found) == 0) == (grouping == "average")
    assert labels == [[TAGS.index("B-PER"), TAGS.index("O")]] * 2


def test_words_between_marks_are_the_tokenizers() -> None:
    task = TASK.chosen({"word_boundaries": "marks"})
    text = "ab#a [MASK]a!! 中国\u200b c\u0301\n"
    for kind in (BertTokenizer, BertTokenizerFast):
        tag = pipeline(model=small(), tokenizer=kind(VOCABULARY))
        tag.task = task
        answer = tag(text)
        assert answer.words == ("ab", "#", "a", "[MASK]", "a", "!", "!", "中", "国", "c")
        assert tag({"tokens": ["ab#a", "!!"]}).words == ("ab#a", "!!")
        # Nothing is left of this one, though a person sees something.
        assert tag("\u0301").words == ()


def test_texts_and_words_may_be_answered_together() -> None:
    task = TASK.chosen({"word_boundaries": "marks"})
    given = [example("ab#a"), Example.of_text("ab#a"), example("a!")]
    found = list(task.features(given, TOKENIZER, max_length=16, labelled=False))
    rows = [torch.zeros(len(feature) - 2, len(TAGS)) for feature in found]
    assert [one.words for one in task.answers(given, found, rows)] == [("ab#a",), ("ab", "#", "a"), ("a!",)]


def test_a_word_of_which_nothing_is_left_is_one_piece() -> None:
    task = TASK.chosen({"grouping": "simple"})
    answer = by_token(task, example("\u200b ab"), TABLE)
    assert answer.words == ("\u200b", "a", "b")


def test_a_notebook_shows_the_text_with_its_entities() -> None:
    text = "<b> ab </b> &\n  ac"
    answer = by_token(TASK, Example.of_text(text), TABLE)
    shown = answer._repr_html_()
    plain = re.sub("<[^>]*>", "", shown)
    assert html.unescape(plain) == text.replace("ac", "acPER").replace("ab", "abPER")
    assert shown.count("<mark") == len(answer.entities) == 2
    colours = set(re.findall(r"hsla\((\d+),", shown))
    assert len(colours) == 1
    given = by_token(TASK, example("<i> d ac e 中 d"), TABLE)
    assert html.unescape(re.sub("<[^>]*>", "", given._repr_html_())) == "<i> d ac ePER 中d"
    assert "<i>" not in given._repr_html_()
    long = Example.of_text("d " * 10_001 + "ab")
    assert by_token(TASK, long, TABLE)._repr_html_().endswith("d …</div>")


def test_pieces_of_one_character_are_shown_once() -> None:
    entities = tuple(
        Entity(type="B-X", start_word=number, end_word=number + 1, text="한", score=1.0, start=0, end=1)
        for number in range(2)
    )
    answer = TaggedSentence(words=("한", "한"), tags=("B-X", "B-X"), scores=(1.0, 1.0), entities=entities, text="한a")
    assert re.sub("<[^>]*>", "", answer._repr_html_()) == "한B-XB-Xa"


def test_chinese_characters_of_an_entity_are_joined_without_spaces() -> None:
    words = Example(words=("中", "国", "a", "b", "国"))
    (feature,) = features(words, labelled=False)
    task = TokenClassification(tags=("B-X", "I-X"), scheme="IOB2")
    (answer,) = task.answers([words], [feature], [torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1], [0, 1]])])
    assert [entity.text for entity in answer.entities] == ["中国a b国"]


# -- metrics ------------------------------------------------------------------------------------------------


def tagged(tags: str) -> TaggedSentence:
    names = tuple(tags.split())
    return TaggedSentence(words=("a",) * len(names), tags=names, scores=(1.0,) * len(names), entities=())


def test_metrics_by_hand() -> None:
    gold = ["B-PER I-PER O B-LOC", "B-PER O", "O O"]
    found = ["B-PER I-PER O B-PER", "I-PER I-PER", "B-LOC O"]
    # PER: 2 true, 3 found, 1 right (an end too far is wrong). LOC: 1 true, 1 found, none right.
    metrics = TASK.measure([example("a " * len(tags.split()), tags) for tags in gold], [tagged(tags) for tags in found])
    person, place = metrics.types["PER"], metrics.types["LOC"]
    assert (person.precision, person.recall, person.f1, person.support) == pytest.approx((1 / 3, 1 / 2, 2 / 5, 2))
    assert (place.precision, place.recall, place.f1, place.support) == (0.0, 0.0, 0.0, 1)
    assert (metrics.precision, metrics.recall, metrics.f1) == pytest.approx((1 / 4, 1 / 3, 2 / 7))
    assert metrics.macro_f1 == pytest.approx(1 / 5)
    assert metrics.token_accuracy == pytest.approx(4 / 8)
    assert (metrics.main, metrics.examples, metrics.words) == (metrics.f1, 3, 8)
    with pytest.raises(InputError, match="no examples"):
        TASK.measure([], [])


def test_an_entity_that_begins_with_i_is_one() -> None:
    metrics = TASK.measure([example("a b", "B-PER I-PER")], [tagged("I-PER I-PER")])
    assert (metrics.f1, metrics.token_accuracy) == (1.0, 0.5)


def test_without_chunks_f1_is_the_accuracy_of_words() -> None:
    task = TokenClassification(tags=("DET", "NOUN"), scheme="none")
    metrics = task.measure([example("a b c", "DET NOUN NOUN")], [tagged("DET NOUN DET")])
    assert (metrics.f1, metrics.token_accuracy) == pytest.approx((2 / 3, 2 / 3))
    assert set(metrics.types) == {"DET", "NOUN"}


def test_metrics_are_those_of_seqeval() -> None:
    pytest.importorskip("seqeval", reason="seqeval is not installed")
    peer: Any = importlib.import_module("seqeval.metrics")
    chance = random.Random(3)
    names = ["O", "O", "B-PER", "I-PER", "B-creative-work", "I-creative-work", "I-LOC"]
    gold = [chance.choices(names, k=chance.randint(1, 9)) for _ in range(60)]
    found = [[tag if chance.random() < 0.7 else chance.choice(names) for tag in tags] for tags in gold]
    examples = [example("a " * len(tags), " ".join(tags)) for tags in gold]
    metrics = TASK.measure(examples, [tagged(" ".join(tags)) for tags in found])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = peer.classification_report(gold, found, output_dict=True)
        assert metrics.f1 == pytest.approx(peer.f1_score(gold, found))
        assert metrics.token_accuracy == pytest.approx(peer.accuracy_score(gold, found))
    assert metrics.macro_f1 == pytest.approx(report["macro avg"]["f1-score"])
    assert metrics.precision == pytest.approx(report["micro avg"]["precision"])
    assert metrics.recall == pytest.approx(report["micro avg"]["recall"])
    assert set(metrics.types) | {"micro avg", "macro avg", "weighted avg"} == set(report)
    for kind, scores in metrics.types.items():
        expected = report[kind]
        assert (scores.precision, scores.recall, scores.f1, scores.support) == pytest.approx(
            (expected["precision"], expected["recall"], expected["f1-score"], expected["support"])
        )
