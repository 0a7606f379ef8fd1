"""Records of question answering in any of their usual shapes → one record for each question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from glassbert.data.records import Record, Skipped, refuse
from glassbert.errors import DataError


def to_questions(records: Iterable[Record], *, skipped: Skipped | None = None) -> Iterator[Record]:
    """Give a record for each question, in one shape.

    The records may be articles of SQuAD 1.1 or 2.0 (`paragraphs` with `context` and `qas`), or questions (`context`,
    `question`, `answers`) as flat files and the data sets of the hub have them. What is given has these values:

    - id: as it stands, be it a number; the question's position where it has none.
    - title: the empty text where there is none.
    - context, question: to the character as they stand.
    - answers: `{"text": [str, …], "answer_start": [int, …]}`; offsets, in characters, are not checked. None where
      nobody gave answers (a file to predict on), which does not make the question impossible.
    - is_impossible: None where nothing tells. Plausible answers are no answers, and left out.
    - answer: as it stands in a record that has this and no answers, for a message.

    Records that are in this shape already stay as they are.

    Args:
        records: from files or from memory.
        skipped: counts articles and questions of another shape; None refuses them.

    Raises:
        DataError: a record of another shape, with its place and the question's id; records that hold no question.
    """
    position = 0
    record = None
    for record in records:
        try:
            found = _found_in(record)
        except DataError as error:
            refuse(error, skipped)
            continue
        for question in found:
            position += 1
            place = Record(values={}, file=record.file, line=record.line, position=position)
            name = question.values.get("id")
            try:
                place.values = _values(question, position)
            except ValueError as error:
                refuse(place.error(f"{error} (question {position if name is None else name!r})"), skipped)
            else:
                yield place
    if record is not None and not position and not (skipped and skipped.count):
        raise DataError("holds no questions: its articles are empty", file=record.file)


class _Found(NamedTuple):
    values: Mapping[str, Any]
    context: Any
    title: Any


def _found_in(record: Record) -> list[_Found]:
    values = record.values
    if "paragraphs" not in values:
        if values.get("data") == [] and "question" not in values:
            raise record.error("holds no questions: data is an empty list")
        return [_Found(values, values.get("context"), values.get("title"))]
    paragraphs = values["paragraphs"]
    if not isinstance(paragraphs, list) or not all(isinstance(one, dict) for one in paragraphs):
        raise record.error("paragraphs is not a list of objects")
    found = []
    for paragraph in paragraphs:
        questions = paragraph.get("qas")
        if not isinstance(questions, list) or not all(isinstance(one, dict) for one in questions):
            raise record.error("a paragraph's qas is not a list of objects")
        found += [_Found(question, paragraph.get("context"), values.get("title")) for question in questions]
    return found


def _values(found: _Found, position: int) -> dict[str, Any]:
    for name, value in (("context", found.context), ("question", found.values.get("question"))):
        if not isinstance(value, str):
            raise ValueError(f"no {name}" if value is None else f"the {name} is no text")
    impossible = found.values.get("is_impossible")
    if not isinstance(impossible, bool | None):
        raise ValueError(f"is_impossible is {impossible!r}, expected true or false")
    given = found.values.get("answers")
    answers = None if given is None else _answers(given)
    if answers is not None and answers["text"]:
        if impossible:
            raise ValueError("is said to be impossible, and has answers")
        impossible = False
    elif impossible is None and isinstance(given, dict):
        impossible = True  # the flat form has no other way to say so
    elif not impossible:
        answers = None
    identity = found.values.get("id")
    return {
        "id": position if identity is None else identity,
        "title": "" if found.title is None else found.title,
        "context": found.context,
        "question": found.values["question"],
        "answers": {"text": [], "answer_start": []} if impossible else answers,
        "is_impossible": impossible,
        **({"answer": found.values["answer"]} if given is None and "answer" in found.values else {}),
    }


def _answers(given: Any) -> dict[str, list[Any]]:
    """Bring `[{text, answer_start}, …]` and `{text: […], answer_start: […]}` to the second form."""
    if isinstance(given, list) and all(isinstance(one, dict) for one in given):
        given = {name: [one.get(name) for one in given] for name in ("text", "answer_start")}
    texts, starts = (given.get("text"), given.get("answer_start")) if isinstance(given, dict) else (None, None)
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise ValueError("answers have neither the form [{text, answer_start}, …] nor {text: […], answer_start: […]}")
    for text, start in zip(texts, starts):
        if not isinstance(text, str):
            raise ValueError(f"an answer's text is {text!r}, expected a string")
        if isinstance(start, bool) or not isinstance(start, int):
            shown = text if len(text) <= 60 else text[:59] + "…"
            raise ValueError(f"the answer_start of {shown!r} is {start!r}, expected a whole number")
    return {"text": texts, "answer_start": starts}
