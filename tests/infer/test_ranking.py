"""Documents by how well they fit a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch

from glassbert import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertTokenizer,
    InputError,
    Pipeline,
    learn_vocabulary,
    pipeline,
)
from glassbert.infer import Ranked, Ranker, rank
from glassbert.infer import ranking as module
from glassbert.infer.ranking import scored, scoring

TEXTS = ["the sun is warm", "rain", "snow and ice and wind and hail all day long", "the rain is warm", "ice"]
TOKENIZER = BertTokenizer(learn_vocabulary(TEXTS, size=100, min_frequency=1), model_max_length=12)


def answering(*labels: str, **settings: Any) -> Pipeline:
    """Return a pipeline of a random cross-encoder; without labels it gives a number."""
    torch.manual_seed(0)
    names = {"id2label": dict(enumerate(labels))} if labels else {"num_labels": 1}
    config = BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
        initializer_range=0.5,
        **names,
        **settings,
    )
    return pipeline(model=BertForSequenceClassification(config).eval(), tokenizer=TOKENIZER)


def test_a_model_of_single_texts_ranks_nothing() -> None:
    for labels, name in ((("n", "y"), "text-classification"), ((), "regression")):
        for pairs in (True, None):
            scoring(answering(*labels, extra={"glassbert_task": {"name": name, "pairs": pairs}}))
        with pytest.raises(InputError, match="single texts; ranking takes one that has learned pairs"):
            scoring(answering(*labels, extra={"glassbert_task": {"name": name, "pairs": False}}))


def test_the_best_come_first_with_the_score_of_the_pair() -> None:
    ranking = answering(extra={"glassbert_task": {"name": "regression", "mean": 2.0, "spread": 3.0}})
    alone = [ranking(("rain", text)).score for text in TEXTS]
    found = rank(ranking, "rain", TEXTS, top=None)
    assert [one.index for one in found] == sorted(range(len(TEXTS)), key=lambda index: -alone[index])
    for one in found:
        assert one.text == TEXTS[one.index]
        assert one.score == pytest.approx(alone[one.index], abs=1e-5)
        assert (one.cut > 0) is (one.index == 2)
    assert rank(ranking, "rain", TEXTS, top=2) == found[:2]
    assert rank(ranking, "rain", []) == []
    assert found[0].to_dict() == {
        "index": found[0].index,
        "score": found[0].score,
        "text": found[0].text,
        "cut": found[0].cut,
    }


def test_classes_score_by_the_probability_of_the_one_that_fits() -> None:
    ranking = answering("no", "yes")
    (one,) = rank(ranking, "rain", TEXTS[:1])
    answer = ranking(("rain", TEXTS[0]))
    assert one.score == pytest.approx(answer.scores["yes"], abs=1e-6)
    (other,) = rank(ranking, "rain", TEXTS[:1], label="no")
    assert other.score == pytest.approx(answer.scores["no"], abs=1e-6)
    assert scoring(ranking).said == "the probability of 'yes'"
    assert rank(answering("a", "b", "c"), "rain", TEXTS, label="c")


def test_documents_are_read_as_they_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WINDOW", 3)
    read = []

    def documents() -> Iterator[str]:
        for number in range(10):
            read.append(number)
            yield TEXTS[number % 5]

    found = scored(answering("no", "yes"), "rain", documents())
    assert read == []
    assert next(found).index == 0
    assert read == [0, 1, 2]
    assert [one.index for one in found] == list(range(1, 10))
    # Of equal scores the first goes first; they are equal to the last bit where each text is computed alone.
    monkeypatch.setattr(module, "_WINDOW", 1)
    assert [one.index for one in rank(answering(), "rain", ["ice"] * 7, top=5)] == [0, 1, 2, 3, 4]


def test_what_cannot_be_ranked_is_refused() -> None:
    numbers, classes, three = answering(), answering("no", "yes"), answering("a", "b", "c")
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: rank(numbers, " ", TEXTS), "the query is empty"),
        (lambda: rank(numbers, cast(str, 3), TEXTS), "the query is of type int"),
        (lambda: rank(numbers, "rain", ["a", ""]), r"document 1 \(from 0\) is empty"),
        (lambda: rank(numbers, "rain", TEXTS, label="x"), "has no classes"),
        (lambda: rank(classes, "rain", TEXTS, label="x"), "label is 'x', expected one of .*: no, yes"),
        (lambda: rank(three, "rain", TEXTS), r"3 classes \(a, b, c\)"),
        (lambda: rank(numbers, "rain", TEXTS, top=0), "top is 0"),
    ]
    for call, message in refused:
        with pytest.raises(InputError, match=message):
            call()
    config = BertConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    tagger = pipeline(model=BertForTokenClassification(config), tokenizer=TOKENIZER)
    with pytest.raises(InputError, match="has learned token-classification; ranking takes"):
        rank(tagger, "rain", TEXTS)


def test_a_ranked_document_is_a_plain_value() -> None:
    assert Ranked(index=0, score=1.0, text="a") == Ranked(index=0, score=1.0, text="a", cut=0)


def test_one_document_is_not_taken_for_its_characters() -> None:
    with pytest.raises(InputError, match="documents is of type str, expected several texts, such as a list"):
        rank(answering(), "the sun", "rain")
    assert [one.index for one in pipeline_of_rank()("the sun", TEXTS, top=2)] == [
        one.index for one in rank(answering(), "the sun", TEXTS, top=2)
    ]


def pipeline_of_rank() -> Any:
    found = answering()
    return Ranker(found)
