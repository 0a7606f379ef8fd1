from __future__ import annotations

from typing import Any

import pytest

from glassbert import DataError
from glassbert.data import Record, guess_columns


def _record(*names: str, **values: Any) -> Record:
    return Record(values=dict.fromkeys(names, "some text") | values, file="a.csv", line=2)


def _unnamed(*values: str) -> Record:
    return Record(values={str(index): value for index, value in enumerate(values)}, file="a.csv", line=1)


@pytest.mark.parametrize(
    ("names", "wanted", "optional", "found"),
    [
        (["text", "label"], ["text", "label"], [], {"text": "text", "label": "label"}),
        (["id", "Review", "Sentiment"], ["text", "label"], [], {"text": "Review", "label": "Sentiment"}),
        (["text", "category"], ["text", "label"], ["pair"], {"text": "text", "label": "category"}),
        (["label", "text_a"], ["text", "label"], ["pair"], {"text": "text_a", "label": "label"}),
        (
            ["index", "sentence1", "sentence2", "label"],
            ["text", "label"],
            ["pair"],
            {"text": "sentence1", "pair": "sentence2", "label": "label"},
        ),
        (
            ["gold_label", "premise", "hypothesis"],
            ["text", "pair", "label"],
            [],
            {"text": "premise", "pair": "hypothesis", "label": "gold_label"},
        ),
        (["question", "sentence"], ["text", "pair"], [], {"text": "question", "pair": "sentence"}),
        (
            ["sentence1", "sentence2", "similarity_score"],
            ["text", "pair", "score"],
            [],
            {"text": "sentence1", "pair": "sentence2", "score": "similarity_score"},
        ),
        (["tokens", "ner_tags"], ["tokens", "tags"], [], {"tokens": "tokens", "tags": "ner_tags"}),
        (["tokens", "1", "tags"], ["tokens", "tags"], [], {"tokens": "tokens", "tags": "tags"}),
        (["text_a", "label"], ["tokens", "tags"], [], {"tokens": "text_a", "tags": "label"}),
        (
            ["id", "title", "context", "question", "answers"],
            ["context", "question"],
            ["answers", "id"],
            {"id": "id", "context": "context", "question": "question", "answers": "answers"},
        ),
        (["text", "labels"], ["text", "labels"], [], {"text": "text", "labels": "labels"}),
        (["content"], ["text"], ["label"], {"text": "content"}),
    ],
)
def test_by_name(names: list[str], wanted: list[str], optional: list[str], found: dict[str, str]) -> None:
    columns = guess_columns(_record(*names), wanted, optional=optional)
    assert columns.columns == found
    guesses = [f"{role} is {name!r}" for role, name in found.items() if role != name]
    assert columns.note == ("columns by name: " + ", ".join(guesses) if guesses else "")


@pytest.mark.parametrize(
    ("names", "choices", "rest"),
    [
        (
            ["", "sent1", "sent2", "ending0", "ending1", "ending2", "ending3", "label"],
            ("ending0", "ending1", "ending2", "ending3"),
            {"context": "sent1", "question": "sent2", "label": "label"},
        ),
        (
            ["id", "context", "question", "answer1", "answer0", "label"],
            ("answer0", "answer1"),
            {"context": "context", "question": "question", "label": "label"},
        ),
        (["premise", "choice1", "choice2", "label"], ("choice1", "choice2"), {"context": "premise", "label": "label"}),
        (
            ["question", "option_A", "option_B", "option_C", "answer"],
            ("option_A", "option_B", "option_C"),
            {"question": "question", "label": "answer"},
        ),
        (["question", "choices", "answerKey"], ("choices",), {"question": "question", "label": "answerKey"}),
        (
            ["question", *(f"choice{number}" for number in range(12)), "label"],
            tuple(f"choice{number}" for number in range(12)),
            {"question": "question", "label": "label"},
        ),
    ],
)
def test_choices(names: list[str], choices: tuple[str, ...], rest: dict[str, str]) -> None:
    columns = guess_columns(_record(*names), ["choices", "label"], optional=["context", "question"])
    spread = {"choices": choices[0]} if len(choices) == 1 else {f"choices.{i}": one for i, one in enumerate(choices)}
    assert columns.columns == {**rest, **spread}
    assert (f"choices is {' '.join(map(repr, choices))}" in columns.note) is (choices != ("choices",))


def test_what_is_given_is_not_guessed() -> None:
    record = _record("text", "title", "label")
    columns = guess_columns(record, ["text", "label"], given={"text": "title"})
    assert columns.columns == {"text": "title", "label": "label"}
    assert columns.note == ""
    columns = guess_columns(record, ["text", "label"], given={"text": 1, "label": "0"})
    assert columns.columns == {"text": 1, "label": "0"}
    assert columns.note == ""
    with pytest.raises(DataError, match="no column 'body'"):
        guess_columns(record, ["text"], given={"text": "body"})


def test_the_second_of_a_pair_whose_first_is_given() -> None:
    record = _record("premise", "hypothesis", "sentence1", "sentence2")
    columns = guess_columns(record, ["text", "pair"], given={"text": "sentence1"})
    assert columns.columns == {"text": "sentence1", "pair": "sentence2"}
    with pytest.raises(DataError, match="which column is the pair"):
        guess_columns(_record("body", "sentence2"), ["text", "pair"], given={"text": "body"})


def test_what_is_not_found_is_asked_for_by_its_flag() -> None:
    with pytest.raises(DataError) as caught:
        guess_columns(_record("a", "b"), ["text", "label"])
    assert str(caught.value) == (
        "a.csv:2: which column is the text and the label? --text-column and --label-column can tell; the columns are "
        "'a', 'b' (a file without a header row needs --no-header)"
    )
    with pytest.raises(DataError, match="which column is the choices"):
        guess_columns(_record("question", "label"), ["choices", "label"])
    # One column is not two roles.
    with pytest.raises(DataError, match="which column is the score"):
        guess_columns(_record("text", "label"), ["text", "label", "score"])


def test_by_position() -> None:
    columns = guess_columns(_unnamed("some text", "1"), ["label", "text"], optional=["pair"])
    assert columns.columns == {"text": "0", "label": "1"}
    assert columns.note == "columns by position: text is '0', label is '1'"
    columns = guess_columns(_unnamed("some text", "more", "1"), ["label", "text"], optional=["pair"])
    assert columns.columns == {"text": "0", "pair": "1", "label": "2"}
    columns = guess_columns(_unnamed("7", "some text", "1"), ["text", "label"], given={"text": "1", "label": 2})
    assert columns.columns == {"text": "1", "label": 2}


@pytest.mark.parametrize("values", [["1", "some text"], ["7", "8", "9", "some text"], ["some text"]])
def test_a_position_that_tells_nothing(values: list[str]) -> None:
    with pytest.raises(DataError, match="which column is the text and the label"):
        guess_columns(_unnamed(*values), ["text", "label"], optional=["pair"])


def test_choices_are_not_told_by_position() -> None:
    with pytest.raises(DataError, match="which column is the question and the choices and the label"):
        guess_columns(_unnamed("a question", "an answer", "1"), ["question", "choices", "label"])


def test_a_header_that_is_read_as_a_row() -> None:
    with pytest.raises(DataError, match=r"^a\.csv:1: this row looks like a header; .*--no-header"):
        guess_columns(_unnamed("Text", "Label"), ["text", "label"])


def test_a_second_text_that_nobody_asked_for_needs_a_clear_name() -> None:
    columns = guess_columns(_record("title", "text", "label"), ["text", "label"], optional=["pair"])
    assert columns.columns == {"text": "text", "label": "label"}
    columns = guess_columns(_record("title", "text", "label"), ["text", "pair", "label"])
    assert columns.columns == {"text": "title", "pair": "text", "label": "label"}


def test_numbers_tell_scores_from_texts() -> None:
    optional = ["negative", "score"]
    columns = guess_columns(_unnamed("a text", "a like one", "4.5"), ["text", "pair"], optional=optional)
    assert columns.columns == {"text": "0", "pair": "1", "score": "2"}
    columns = guess_columns(_unnamed("a text", "a like one", "another"), ["text", "pair"], optional=optional)
    assert columns.columns == {"text": "0", "pair": "1", "negative": "2"}


def test_texts_that_are_not_used_are_told() -> None:
    columns = guess_columns(_record("index", "question", "sentence", "label"), ["text", "label"], optional=["pair"])
    assert columns.columns == {"text": "sentence", "label": "label"}
    assert columns.note == "columns by name: text is 'sentence'; not used: 'question'"
    names = ["Content", "title", "abstract", "body", "review", "tweet", "query", "label", "other"]
    note = guess_columns(_record(*names), ["text", "label"]).note
    assert note == "columns by name: text is 'Content'; not used: 'title', 'abstract', 'body', 'review', 'tweet', …"
    # One that was named is no guess.
    assert guess_columns(_record("question", "sentence", "label"), ["text", "label"], given={"text": 1}).note == ""


def test_an_empty_name_says_that_there_is_no_column() -> None:
    record = _record("sentence1", "sentence2", "label")
    columns = guess_columns(record, ["text", "label"], optional=["pair"], given={"pair": ""})
    assert columns.columns == {"text": "sentence1", "label": "label"}
    assert columns.note == "columns by name: text is 'sentence1'; not used: 'sentence2'"
    columns = guess_columns(_unnamed("a", "1"), ["text", "label"], optional=["pair"], given={"pair": ""})
    assert columns.columns == {"text": "0", "label": "1"}
    with pytest.raises(DataError, match=r"a\.csv:2: the label cannot be left out"):
        guess_columns(record, ["text", "label"], given={"label": ""})


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (["tokens", "tags"], "token-classification"),
        (["id", "words", "ner_tags"], "token-classification"),
        (["id", "question", "choices", "answerKey"], "multiple-choice"),
        (["sent1", "ending0", "ending1"], "multiple-choice"),
        (["id", "title", "context", "question", "answers"], "question-answering"),
    ],
)
def test_the_data_of_another_task_is_known(names: list[str], task: str) -> None:
    with pytest.raises(DataError, match=rf"which column is the .*; they look like those of --task {task}$"):
        guess_columns(_record(*names), ["text", "label", "score"])


def test_a_column_for_each_label_is_known() -> None:
    record = _record("comment_text", id=1, toxic=0, obscene="1", threat=False)
    with pytest.raises(DataError, match=r"which column is the labels\? .*; .* --column labels=toxic,obscene,threat$"):
        guess_columns(record, ["text", "labels"])
    given = {"labels.0": "toxic", "labels.1": "obscene"}
    assert guess_columns(record, ["text", "labels"], given=given).columns == {**given, "text": "comment_text"}


def test_data_of_no_task_gives_no_hint() -> None:
    with pytest.raises(DataError, match=r"--no-header\)$"):
        guess_columns(_record("tokens", "text"), ["text", "label"])
    with pytest.raises(DataError, match=r"--no-header\)$"):
        guess_columns(_record("question", "choices"), ["question", "choices", "label"])
