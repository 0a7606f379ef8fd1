"""Text to typed results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from glassbert import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    DataError,
    InputError,
    learn_vocabulary,
    pipeline,
)
from glassbert.data import Skipped
from glassbert.tasks import ClassificationExample as Example

TEXTS = ["the sun is warm", "rain", "snow and ice and wind and hail all day long"]
TOKENIZER = BertTokenizer(learn_vocabulary(TEXTS, size=100, min_frequency=1), model_max_length=8)


def classifier() -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=8,
        initializer_range=0.5,
        id2label={0: "dry", 1: "wet"},
    )
    return BertForSequenceClassification(config).eval()


def test_one_text_or_several_in_order() -> None:
    model = classifier()
    classify = pipeline("text-classification", model=model, tokenizer=TOKENIZER)
    answers = classify(TEXTS)
    values = TOKENIZER(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**values).logits.softmax(dim=-1)
    for answer, row in zip(answers, expected.tolist(), strict=True):
        assert list(answer.scores.values()) == pytest.approx(row, abs=1e-6)
        assert answer.score == max(answer.scores.values()) == answer.scores[answer.label]
    assert [answer.cut > 0 for answer in answers] == [False, False, True]
    alone = classify(TEXTS[1])
    assert alone.score == pytest.approx(answers[1].score, abs=1e-6)
    assert classify([]) == []


def test_a_tuple_is_one_input() -> None:
    classify = pipeline("text-classification", model=classifier(), tokenizer=TOKENIZER)
    with pytest.raises(InputError, match=r"one input, \(text, pair\), but this has 3 values; a list holds several"):
        classify(("one", "two", "three"))


def test_evaluation_compares_with_the_true_labels() -> None:
    classify = pipeline("text-classification", model=classifier(), tokenizer=TOKENIZER)
    gold = [classify(TEXTS[0]).label, "wet", "dry"]
    metrics, answers = classify.evaluate([Example(text=t, label=g) for t, g in zip(TEXTS, gold, strict=True)])
    right = sum(answer.label == label for answer, label in zip(answers, gold, strict=True))
    assert metrics.accuracy == pytest.approx(right / 3)
    with pytest.raises(DataError, match=r"f\.tsv:2: label 'snow'"):
        classify.evaluate([Example(text="a", label="snow", file="f.tsv", line=2)])


def test_bad_examples_can_be_passed_over_in_evaluation() -> None:
    classify = pipeline("text-classification", model=classifier(), tokenizer=TOKENIZER)
    good = [Example(text=text, label="wet") for text in TEXTS]
    bad = [Example(text=text, label=label, file="f.tsv", line=2) for text, label in [("a", "snow"), (" ", "wet")]]
    skipped = Skipped()
    metrics, answers = classify.evaluate([bad[0], *good[:2], bad[1], good[2]], skipped=skipped)
    expected, expected_answers = classify.evaluate(good)
    assert (metrics, [one.label for one in answers]) == (expected, [one.label for one in expected_answers])
    assert [error.reason for error in skipped.errors] == [
        "label 'snow' is not one the model knows (dry, wet)",
        "the text is empty",
    ]
    with pytest.raises(InputError, match=r"no examples to evaluate; 2 bad records skipped"):
        classify.evaluate(bad, skipped=Skipped())


def test_int8_is_an_engine() -> None:
    model = classifier()
    ours, others = (pipeline(model=model, tokenizer=TOKENIZER, engine=engine)(TEXTS) for engine in ("float32", "int8"))
    for one, other in zip(ours, others, strict=True):
        assert 0 < abs(one.scores["wet"] - other.scores["wet"]) < 0.05
    with pytest.raises(ConfigError, match="engine is 'int4', expected one of float32, bfloat16, int8, onnx"):
        pipeline(model="no folder", engine="int4")


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="empty"):
        pipeline("text-classification", model=classifier(), tokenizer=TOKENIZER)(text)


def test_what_is_no_text_is_refused() -> None:
    classify = pipeline("text-classification", model=classifier(), tokenizer=TOKENIZER)
    with pytest.raises(InputError, match="int"):
        classify([1])


def test_a_pipeline_needs_a_task_a_tokenizer_and_a_head(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text-clasification"):
        pipeline("text-clasification", model=classifier(), tokenizer=TOKENIZER)
    with pytest.raises(InputError, match="tokenizer="):
        pipeline("text-classification", model=classifier())
    BertModel(classifier().config).save_pretrained(tmp_path / "bare")
    with pytest.raises(CheckpointError, match="glassbert train"):
        pipeline("text-classification", model=tmp_path / "bare")


def test_a_vocabulary_too_large_for_the_model_is_refused() -> None:
    model = classifier()
    larger = BertTokenizer({**TOKENIZER.vocab, "one": len(TOKENIZER)})
    with pytest.raises(ConfigError, match="rows"):
        pipeline("text-classification", model=model, tokenizer=larger)


@pytest.mark.parametrize("texts", [3, None, b"abc"])
def test_what_is_no_list_of_texts_is_refused(texts: object) -> None:
    with pytest.raises(InputError, match=type(texts).__name__):
        pipeline("text-classification", model=classifier(), tokenizer=TOKENIZER)(texts)


def test_damaged_weights_give_no_answer() -> None:
    model = classifier()
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    with pytest.raises(InputError, match="not finite"):
        pipeline("text-classification", model=model, tokenizer=TOKENIZER)("rain")


@pytest.mark.parametrize(
    ("pairs", "good", "bad", "message"),
    [
        (True, ("rain", "snow"), "rain", "pairs of texts, but here is no second text"),
        (False, "rain", ("rain", "snow"), "single texts, but here is a second text"),
    ],
)
def test_a_model_takes_pairs_or_single_texts_as_it_learned(pairs: bool, good: Any, bad: Any, message: str) -> None:
    model = classifier()
    model.config.extra["glassbert_task"] = {"name": "text-classification", "pairs": pairs}
    classify = pipeline(model=model, tokenizer=TOKENIZER)
    assert classify(good).label in ("dry", "wet")
    with pytest.raises(InputError, match=message):
        classify(bad)


def test_pairs_and_mappings_are_inputs_too() -> None:
    classify = pipeline("text-classification", model=classifier(), tokenizer=TOKENIZER)
    (pair,) = classify([("rain", "snow")])
    assert pair == classify({"text": "rain", "pair": "snow"}) == classify(("rain", "snow"))
    assert pair != classify("rain")
    with pytest.raises(InputError, match="'text', 'title', expected 'text', 'pair'"):
        classify({"text": "rain", "title": "x"})
    with pytest.raises(InputError, match=r"an input with 'text', 'pair' stands beside one with 'text'; .* alike"):
        classify(["rain", ("rain", "snow")])
