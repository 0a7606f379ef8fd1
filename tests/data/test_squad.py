from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from glassbert import DataError, read_records
from glassbert.data import Skipped, as_records, to_questions

CONTEXT = "\ufeffThe ferry leaves at noon.\nBring a coat."


def _article(*questions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"paragraphs": [{"context": CONTEXT, "qas": list(questions)}], **more}


def _one(question: dict[str, Any]) -> dict[str, Any]:
    (record,) = to_questions(as_records([{"id": "q", "question": "When?", "context": CONTEXT, **question}]))
    return record.values


def test_articles_become_questions(tmp_path: Path) -> None:
    noon = {"text": "noon", "answer_start": 21}
    articles = [
        _article(
            {"id": "a", "question": " When? ", "answers": [noon, noon], "is_impossible": False},
            {
                "id": "b",
                "question": "Why?",
                "answers": [],
                "is_impossible": True,
                "plausible_answers": [{"text": "a coat", "answer_start": 33}],
            },
            title="Ferry",
        ),
        _article({"id": 3, "question": "When?", "answers": [noon]}),
    ]
    (tmp_path / "a.json").write_text(json.dumps({"version": "v2.0", "data": articles}))
    records = list(read_records(tmp_path / "a.json"))
    assert [record.values for record in records] == [
        {
            "id": "a",
            "title": "Ferry",
            "context": CONTEXT,
            "question": " When? ",
            "answers": {"text": ["noon", "noon"], "answer_start": [21, 21]},
            "is_impossible": False,
        },
        {
            "id": "b",
            "title": "Ferry",
            "context": CONTEXT,
            "question": "Why?",
            "answers": {"text": [], "answer_start": []},
            "is_impossible": True,
        },
        {
            "id": 3,
            "title": "",
            "context": CONTEXT,
            "question": "When?",
            "answers": {"text": ["noon"], "answer_start": [21]},
            "is_impossible": False,
        },
    ]
    assert [(record.position, record.line) for record in records] == [(1, None), (2, None), (3, None)]
    assert [record.values for record in to_questions(records)] == [record.values for record in records]
    assert CONTEXT[21:25] == "noon"


NONE: dict[str, Any] = {"text": [], "answer_start": []}
NOON = {"text": ["noon"], "answer_start": [21]}


@pytest.mark.parametrize(
    ("given", "answers", "impossible"),
    [
        ({"answers": [{"text": "noon", "answer_start": 21}]}, NOON, False),
        ({"answers": NOON}, NOON, False),
        ({"answers": NOON, "is_impossible": False}, NOON, False),
        ({"answers": [], "is_impossible": True}, NONE, True),
        ({"is_impossible": True}, NONE, True),
        # A file to predict on is not one of impossible questions.
        ({"answers": []}, None, None),
        ({}, None, None),
        ({"answers": None}, None, None),
        ({"answers": [], "is_impossible": False}, None, False),
        # The flat form of the hub has no is_impossible.
        ({"answers": NONE}, NONE, True),
        ({"answers": NONE, "is_impossible": False}, None, False),
    ],
)
def test_what_is_known_of_the_answer(
    given: dict[str, Any], answers: dict[str, Any] | None, impossible: bool | None
) -> None:
    found = _one(given)
    assert (found["answers"], found["is_impossible"]) == (answers, impossible)


@pytest.mark.parametrize("content", ["[{}, {}]", '{{"data": [{}, {}]}}', "{}\n{}\n"])
def test_flat_files(tmp_path: Path, content: str) -> None:
    rows = [{"id": f"q{number}", "question": "When?", "context": CONTEXT, "answers": NOON} for number in range(2)]
    (tmp_path / "a.json").write_text(content.format(*map(json.dumps, rows)))
    records = list(read_records(tmp_path / "a.json", format="squad"))
    assert [record.get("id") for record in records] == ["q0", "q1"]
    assert [record.line for record in records] == ([1, 2] if content.startswith("{}") else [None, None])
    assert records[0].value("answers") == NOON


def test_a_line_of_json_lines_is_a_question_even_alone(tmp_path: Path) -> None:
    answers = [{"text": "noon", "answer_start": 21}]
    row = {"id": "q", "question": "When?", "context": CONTEXT, "answers": answers}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (record,) = read_records(tmp_path / "a.jsonl", format="squad")
    assert (record.line, record.value("answers")) == (1, NOON)
    skipped = Skipped()
    (tmp_path / "a.jsonl").write_text("nonsense\n{}\n" + json.dumps(row))
    assert len(list(read_records(tmp_path / "a.jsonl", format="squad", skip_bad=skipped))) == 1
    assert [error.line for error in skipped.errors] == [1, 2]


def test_a_question_without_an_id_has_its_position() -> None:
    rows: list[dict[str, Any]] = [{"question": "When?", "context": CONTEXT}] * 2
    assert [record.value("id") for record in to_questions(as_records(rows))] == [1, 2]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"context": None}, "no context (question 'q')"),
        ({"question": None}, "no question (question 'q')"),
        ({"question": 3}, "the question is no text (question 'q')"),
        ({"answers": NOON, "is_impossible": True}, "is said to be impossible, and has answers"),
        ({"is_impossible": "no"}, "is_impossible is 'no', expected true or false"),
        ({"answers": "noon"}, "answers have neither the form"),
        ({"answers": ["noon"]}, "answers have neither the form"),
        ({"answers": {"text": ["noon"], "answer_start": []}}, "answers have neither the form"),
        ({"answers": [{"text": 12, "answer_start": 0}]}, "an answer's text is 12, expected a string"),
        ({"answers": [{"text": "noon"}]}, "the answer_start of 'noon' is None, expected a whole number"),
        (
            {"answers": [{"text": "noon", "answer_start": True}]},
            "the answer_start of 'noon' is True, expected a whole number",
        ),
        ({"answers": [{"text": "noon", "answer_start": "21"}]}, "the answer_start of 'noon' is '21', expected a whole"),
    ],
)
def test_another_shape_is_refused_by_place_and_id(question: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        _one(question)
    assert str(caught.value).startswith(f"<list>, record 1: {message}")


def test_data_without_a_question_is_refused() -> None:
    with pytest.raises(DataError, match=r"<list>, record 1: holds no questions: data is an empty list"):
        list(to_questions(as_records([{"version": "v2.0", "data": []}])))
    with pytest.raises(DataError, match=r"<list>: holds no questions: its articles are empty"):
        list(to_questions(as_records([_article(), {"paragraphs": []}])))
    assert list(to_questions(iter(()))) == []


def test_an_answer_without_a_place_is_kept_for_a_message() -> None:
    assert _one({"answer": "noon"})["answer"] == "noon"
    assert "answer" not in _one({"answer": "noon", "answers": NOON})


@pytest.mark.parametrize("article", [{"paragraphs": {}}, {"paragraphs": [1]}, {"paragraphs": [{"qas": 3}]}])
def test_a_broken_article_is_refused_or_skipped(article: dict[str, Any]) -> None:
    rows = [article, _article({"id": 1, "question": 2}, {"id": 2, "question": "When?"})]
    with pytest.raises(DataError, match=r"<list>, record 1: .* is not a list of objects"):
        list(to_questions(as_records(rows)))
    skipped = Skipped()
    assert [record.value("id") for record in to_questions(as_records(rows), skipped=skipped)] == [2]
    assert skipped.count == 2
