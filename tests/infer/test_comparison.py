"""Two engines beside each other, on every task."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from glassbert import BertConfig, BertForSequenceClassification, BertTokenizer, learn_vocabulary
from glassbert.infer import Engine, Pipeline, compare
from glassbert.tasks import TASKS
from glassbert.tasks.multi_label_classification import MultiLabelExample
from glassbert.tasks.multiple_choice import MultipleChoiceExample
from glassbert.tasks.question_answering import QuestionAnsweringExample, Reference
from glassbert.tasks.regression import RegressionExample
from glassbert.tasks.sentence_embedding import EmbeddingExample
from glassbert.tasks.text_classification import ClassificationExample
from glassbert.tasks.token_classification import TokenClassificationExample

WORDS = ["the", "sun", "is", "warm", "and", "rain", "falls", "on", "hail", "in", "the", "long", "night", "of", "snow"]
TOKENIZER = BertTokenizer(learn_vocabulary([" ".join(WORDS)], size=100, min_frequency=1), model_max_length=24)
TEXTS = [" ".join(WORDS[start : start + 3 + start % 5]) for start in range(12)]
EXAMPLES: dict[str, list[Any]] = {
    "text-classification": [ClassificationExample(text=text, label="ab"[n % 2]) for n, text in enumerate(TEXTS)],
    "multi-label-classification": [
        MultiLabelExample(text=text, labels=("a", "b")[: 1 + n % 2]) for n, text in enumerate(TEXTS)
    ],
    "regression": [RegressionExample(text=text, score=float(n)) for n, text in enumerate(TEXTS)],
    "token-classification": [
        TokenClassificationExample(words=tuple(text.split()), tags=("O", *["B-x"] * (len(text.split()) - 1)))
        for text in TEXTS
    ],
    "multiple-choice": [MultipleChoiceExample(question=text, choices=("sun", "rain"), label=0) for text in TEXTS],
    "question-answering": [
        QuestionAnsweringExample(question="rain", context=text, answers=(Reference(text=text[:3], start=0),))
        for text in TEXTS
    ],
    "sentence-embedding": [EmbeddingExample(text=text, pair="snow", score=float(n)) for n, text in enumerate(TEXTS)],
}


def pipelines(name: str) -> tuple[Pipeline, Pipeline]:
    config = BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        initializer_range=0.5,
    )
    task = TASKS[name]().learn(EXAMPLES[name])
    config = task.configure(config)
    torch.manual_seed(0)
    model = task.model_class(config).eval()
    return Pipeline(task, Engine(model), TOKENIZER), Pipeline(task, Engine(model, dtype="int8"), TOKENIZER)


def test_the_tasks_are_all_there() -> None:
    assert EXAMPLES.keys() == TASKS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("tokens_per_call", [10, 1024])
def test_it_finds_what_evaluate_finds(name: str, tokens_per_call: int) -> None:
    both = pipelines(name)
    for one in both:
        assert isinstance(one.runner, Engine)
        one.runner.tokens_per_call = tokens_per_call
    comparison, answers = compare(*both, EXAMPLES[name])
    (ours, own), (others, theirs) = (one.evaluate(EXAMPLES[name]) for one in both)
    assert (comparison.reference.metrics, comparison.other.metrics) == (ours, others)
    assert len(answers) == len(theirs) == 12
    assert [str(one) for one in answers] == [str(one) for one in theirs] != [str(one) for one in own]
    assert comparison.difference == {figure: value - ours.figure(figure) for figure, value in others.figures().items()}
    assert (comparison.equal_answers is None) is (name in ("regression", "sentence-embedding"))
    assert min(comparison.reference.seconds, comparison.other.seconds) > 0
    assert comparison.reference.weight_bytes > comparison.other.weight_bytes


def test_answers_are_equal_where_they_say_the_same() -> None:
    both = pipelines("text-classification")
    assert compare(both[0], both[0], EXAMPLES["text-classification"])[0].equal_answers == 1.0
    # Of two classes, a head with the opposite sign names the other one.
    turned = pipelines("text-classification")[0]
    assert isinstance(turned.runner, Engine)
    assert isinstance(turned.runner.head, BertForSequenceClassification)
    with torch.no_grad():
        for parameter in turned.runner.head.classifier.parameters():
            parameter.neg_()
    assert compare(both[0], turned, EXAMPLES["text-classification"])[0].equal_answers == 0.0
