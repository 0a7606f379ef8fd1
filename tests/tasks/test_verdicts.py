"""How wrong an answer is, for each task: values by hand, and texts that a person can read."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from glassbert import DataError
from glassbert.tasks import (
    Answer,
    AnyTask,
    Choice,
    Classification,
    ClassificationExample,
    Embedding,
    EmbeddingExample,
    Entity,
    Estimate,
    MultiLabel,
    MultiLabelClassification,
    MultiLabelExample,
    MultipleChoice,
    MultipleChoiceExample,
    QuestionAnswering,
    QuestionAnsweringExample,
    Reference,
    Regression,
    RegressionExample,
    SentenceEmbedding,
    TaggedSentence,
    TextClassification,
    TokenClassification,
    TokenClassificationExample,
    Verdict,
)
from glassbert.tasks.metrics import surprise
from glassbert.tasks.task import Example
from glassbert.tasks.texts import brief


def near(value: float) -> Any:
    return pytest.approx(value)


def test_texts_become_one_line_and_short_ones_leave_their_room_to_long_ones() -> None:
    assert brief("one\n two", None, "three") == "one two ‖ three"
    line = brief("a" * 1000, "b" * 20, "c" * 1000)
    first, second, third = line.split(" ‖ ")
    assert (len(first), second, len(third)) == (140, "b" * 20, 140)
    assert first.endswith("a…")
    assert brief("x" * 300) == "x" * 300


def test_surprise_is_0_for_the_certain_and_finite_for_the_impossible() -> None:
    assert surprise(1.0) == surprise(1.0000001) == 0.0
    assert surprise(0.5) == pytest.approx(math.log(2))
    assert surprise(0.2) < surprise(1e-30) < surprise(0.0) < 200.0


def test_a_class() -> None:
    task = TextClassification(labels=("bad", "good"))
    example = ClassificationExample(text="so\nlala", pair="and so", label="good")
    scores = {"bad": 0.75, "good": 0.25}
    verdict = task.verdict(example, Classification(label="bad", score=0.75, scores=scores))
    assert verdict == Verdict(text="so lala ‖ and so", expected="good", answered="bad", error=near(math.log(4)))


def test_labels() -> None:
    task = MultiLabelClassification(labels=("x", "y"), thresholds=(0.5, 0.5))
    example = MultiLabelExample(text="a", labels=("x",))
    verdict = task.verdict(example, MultiLabel(labels=("y",), scores={"x": 0.25, "y": 0.5}))
    assert (verdict.expected, verdict.answered) == ("x", "y")
    assert verdict.error == pytest.approx((math.log(4) + math.log(2)) / 2)
    nothing = task.verdict(MultiLabelExample(text="a", labels=()), MultiLabel(labels=(), scores={"x": 0.0, "y": 0.0}))
    assert nothing == Verdict(text="a", expected="none", answered="none", error=0.0)


def test_a_number() -> None:
    verdict = Regression().verdict(RegressionExample(text="a", score=4.0), Estimate(score=1.23456))
    assert verdict == Verdict(text="a", expected="4", answered="1.235", error=near(2.76544))


def test_entities() -> None:
    task = TokenClassification(tags=("B-LOC", "B-PER", "I-PER", "O"), scheme="IOB2")
    example = TokenClassificationExample(words=("Ada", "Byron", "in", "Rome"), tags=("B-PER", "I-PER", "O", "B-LOC"))
    found = TaggedSentence(
        words=example.words,
        tags=("B-PER", "O", "O", "O"),
        scores=(0.9, 0.8, 1.0, 0.6),
        entities=(Entity(type="PER", start_word=0, end_word=1, text="Ada", score=0.9),),
    )
    verdict = task.verdict(example, found)
    assert (verdict.text, verdict.expected) == ("Ada Byron in Rome", "PER Ada Byron, LOC Rome")
    assert verdict.answered == "PER Ada"
    assert verdict.error == pytest.approx((0.8 + 0.6) / 4)
    none = TaggedSentence(words=("a",), tags=("O",), scores=(1.0,), entities=())
    nothing = task.verdict(TokenClassificationExample(words=("a",), tags=("O",)), none)
    assert nothing == Verdict(text="a", expected="none", answered="none", error=0.0)


def test_a_choice() -> None:
    example = MultipleChoiceExample(question="and then", context="She sat.", choices=("she ran", "it rained"), label=1)
    verdict = MultipleChoice().verdict(example, Choice(index=0, text="she ran", score=0.75, scores=(0.75, 0.25)))
    assert verdict == Verdict(
        text="She sat. ‖ and then", expected="it rained", answered="she ran", error=near(math.log(4))
    )
    bare = MultipleChoiceExample(question="", context="She sat.", choices=("a", "b"), label=0)
    assert MultipleChoice().verdict(bare, Choice(index=0, text="a", score=1.0, scores=(1.0, 0.0))).text == "She sat."


def test_an_answer_is_shown_with_what_stands_around_it() -> None:
    context = "word " * 200 + "the tower of London is old " + "more " * 200
    right = Reference(text="tower of London", start=context.index("tower"))
    example = QuestionAnsweringExample(question="What is old?", context=context, answers=(right,))
    task = QuestionAnswering()
    start = context.index("London")
    verdict = task.verdict(example, Answer(text="London", start=start, end=start + 6, score=0.5))
    assert verdict.text.startswith("What is old? ‖ …word word")
    assert "the tower of London is old more" in verdict.text
    assert len(verdict.text) < 320
    assert (verdict.expected, verdict.answered) == ("tower of London", "London")
    assert verdict.error == pytest.approx(1 - 2 * 1 / (1 + 3))
    # Articles and case do not count.
    exact = task.verdict(example, Answer(text="The Tower of London", start=0, end=1, score=0.5))
    assert exact.error == 0.0
    chinese = QuestionAnsweringExample(question="谁？", context="字" * 500, answers=(Reference(text="字", start=300),))
    assert task.verdict(chinese, Answer(text="字", start=0, end=1, score=0.5)).text.startswith("谁？ ‖ …字")


def test_no_answer_is_right_where_there_is_none() -> None:
    task = QuestionAnswering(null_threshold=0.0)
    without = QuestionAnsweringExample(question="q", context="a b", answers=())
    none = Answer(text="", start=None, end=None, score=0.9)
    assert task.verdict(without, none) == Verdict(text="q ‖ a b", expected="no answer", answered="no answer", error=0.0)
    assert task.verdict(without, Answer(text="b", start=2, end=3, score=0.9)).error == 1.0
    two = QuestionAnsweringExample(
        question="q", context="a b", answers=(Reference(text="a", start=0), Reference(text="b", start=2))
    )
    verdict = task.verdict(two, none)
    assert (verdict.expected, verdict.answered, verdict.error) == ("a / b", "no answer", 1.0)


def test_cosines() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    scored = SentenceEmbedding(scored=True, low=0.0, high=5.0)
    example = EmbeddingExample(text="a", pair="b", score=4.0)
    verdict = scored.verdict(example, Embedding(vector=east, pair=north))
    assert verdict == Verdict(text="a ‖ b", expected="cosine 0.800 (score 4)", answered="cosine 0.000", error=near(0.8))
    pairs = SentenceEmbedding()
    pair = EmbeddingExample(text="a", pair="b")
    assert pairs.verdict(pair, Embedding(vector=east, pair=east)).error == 0.0
    assert pairs.verdict(pair, Embedding(vector=east, pair=north)).error == 1.0
    triple = EmbeddingExample(text="a", pair="b", negative="c")
    worst = pairs.verdict(triple, Embedding(vector=east, pair=north, negative=east))
    assert (worst.text, worst.answered) == ("a ‖ b ‖ c", "cosine 0.000, of the third text 1.000")
    assert worst.error == 2.0
    with pytest.raises(DataError, match="no second text"):
        pairs.verdict(EmbeddingExample(text="a"), Embedding(vector=east))


@pytest.mark.parametrize(
    ("task", "example", "result"),
    [
        (TextClassification(labels=("x",)), ClassificationExample(text="a", file="f", line=3), None),
        (MultiLabelClassification(labels=("x",)), MultiLabelExample(text="a", file="f", line=3), None),
        (Regression(), RegressionExample(text="a", file="f", line=3), None),
        (TokenClassification(scheme="IOB2"), TokenClassificationExample(words=("a",), file="f", line=3), None),
        (MultipleChoice(), MultipleChoiceExample(question="q", choices=("a", "b"), file="f", line=3), None),
        (QuestionAnswering(), QuestionAnsweringExample(question="q", context="c", file="f", line=3), None),
    ],
)
def test_an_example_that_does_not_say_what_is_right_is_named(task: AnyTask, example: Example, result: None) -> None:
    with pytest.raises(DataError, match=r"f:3: no "):
        task.verdict(example, result)
