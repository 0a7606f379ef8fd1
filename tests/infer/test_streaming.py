"""Pipelines on any number of inputs, from several threads, left early."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    DataError,
    InputError,
    Pipeline,
    SentenceEncoder,
    learn_vocabulary,
    pipeline,
)
from glassbert.infer import abilities
from glassbert.infer import inputs as module

WORDS = ["the", "sun", "is", "warm", "and", "rain", "or", "snow", "fall", "all", "day", "long"]
TEXTS = [" ".join(WORDS[place % 7 : place % 7 + 1 + place % 5]) for place in range(50)]
TOKENIZER = BertTokenizer(learn_vocabulary(TEXTS, size=90, min_frequency=1), model_max_length=16)


def model(kind: type[Any], **settings: Any) -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.5,
        **settings,
    )
    return kind(config).eval()


@pytest.fixture(scope="module")
def classify() -> Pipeline:
    return pipeline(None, model(BertForSequenceClassification, id2label={0: "dry", 1: "wet"}), tokenizer=TOKENIZER)


def test_an_iterator_is_answered_as_it_comes(classify: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 8)
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for text in TEXTS:
            read += 1
            yield text

    answers = classify(texts())
    assert read == 0
    first = next(answers)
    assert read == 9  # a window, and the one after it
    expected = classify(TEXTS)
    for ours, theirs in zip([first, *answers], expected, strict=True):
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-6)
    assert read == len(TEXTS)
    assert list(classify(iter([]))) == []


def test_long_texts_make_a_window_shorter(classify: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_CHARACTERS", 30)
    windows = module.windows_of(classify.task, ["a" * 20, "b", "c" * 20, "d" * 100, "e"], alone=False)
    assert [len(window) for window in windows] == [2, 1, 1, 1]


def test_who_stops_early_leaves_nothing_running(classify: Pipeline) -> None:
    before = threading.active_count()
    answers = classify(iter(TEXTS), progress=True)
    next(answers)
    answers.close()
    assert threading.active_count() <= before


def test_a_bar_is_no_answer(classify: Pipeline, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(classify(TEXTS, progress=True)) == len(TEXTS)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")  # no terminal


def test_eight_threads_get_the_same_answers() -> None:
    pipelines = [
        pipeline("fill-mask", model(BertForMaskedLM), tokenizer=TOKENIZER),
        pipeline("sentence-embedding", model(SentenceEncoder), tokenizer=TOKENIZER),
        pipeline("feature-extraction", model(BertModel), tokenizer=TOKENIZER, layers=[-1, -2]),
        pipeline("similarity", model(SentenceEncoder), tokenizer=TOKENIZER).pipeline,
    ]
    for answering in pipelines:
        texts = [f"{text} [MASK]" for text in TEXTS]
        expected = [answer.to_dict() for answer in answering(texts)]
        with ThreadPoolExecutor(8) as threads:
            rounds = list(threads.map(lambda _: [one.to_dict() for one in answering(texts)], range(16)))  # noqa: B023
        assert all(found == expected for found in rounds)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (["a", 3], InputError, r"inputs\[1\]: the text is of type int, expected a string"),
        (["a", "b", " \n"], DataError, r"inputs\[2\]: the text is empty"),
        ("", DataError, "^the text is empty"),
        (["a", {"text": "a", "pair": "b"}], InputError, r"inputs\[1\]: an input with 'text', 'pair' stands beside"),
        (["a", {"txt": "a"}], InputError, r"inputs\[1\]: the input has 'txt', expected 'text', 'pair'"),
        ({"a", "b"}, InputError, "of type set"),
        (b"ab", InputError, "of type bytes"),
        (7, InputError, "of type int"),
        (None, InputError, "of type NoneType"),
        ([None], InputError, r"inputs\[0\]: the text is of type NoneType"),
        ([["a"]], InputError, r"inputs\[0\]: the text is of type list"),
    ],
)
def test_a_bad_input_is_named(classify: Pipeline, inputs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        classify(inputs)


def test_ten_million_characters_are_cut(classify: Pipeline) -> None:
    answer = classify("sun " * 2_500_000)
    assert answer.cut == 2_500_000 - 14


def test_what_a_model_does_not_do_it_says() -> None:
    words = model(BertForMaskedLM)
    assert abilities(words) == ["fill-mask", "feature-extraction"]
    with pytest.raises(CheckpointError, match="a BertForMaskedLM does not do next-sentence; this one does fill"):
        pipeline("next-sentence", words, tokenizer=TOKENIZER)
    bare = model(BertModel)
    with pytest.raises(CheckpointError, match="it does feature-extraction, if that is named; train it first"):
        pipeline(None, bare, tokenizer=TOKENIZER)
    with pytest.raises(CheckpointError, match="does not do text-classification; this one does feature-ex"):
        pipeline("sentiment-analysis", bare, tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match="task is 'fill', expected one of text-classification, "):
        pipeline("fill", words, tokenizer=TOKENIZER)
    assert pipeline(None, words, tokenizer=TOKENIZER).task.name == "fill-mask"


def test_several_labels_and_their_thresholds() -> None:
    names = {0: "dry", 1: "wet", 2: "cold"}
    several = model(BertForSequenceClassification, id2label=names, problem_type="multi_label_classification")
    ask = pipeline("text-classification", several, tokenizer=TOKENIZER)
    scores = ask(TEXTS[3]).scores
    middle = sorted(scores.values())[1]
    assert ask(TEXTS[3], threshold=0.0).labels == tuple(sorted(names.values(), key=lambda name: -scores[name]))
    assert len(ask(TEXTS[3], threshold=middle).labels) == 2
    assert ask(TEXTS[3], threshold={"dry": 0.0, "wet": 1.0, "cold": 1.0}).labels == ("dry",)
    for wrong, message in ((1.5, "numbers from 0 to 1"), ({"hot": 0.5}, "names 'hot'"), ("a", "numbers from 0")):
        with pytest.raises(ConfigError, match=message):
            ask(TEXTS[3], threshold=wrong)
    # A model that does not say how its labels are meant may be asked in both ways.
    silent = model(BertForSequenceClassification, id2label=names)
    one = pipeline("text-classification", silent, tokenizer=TOKENIZER)(TEXTS[3])
    each = pipeline("multi-label-classification", silent, tokenizer=TOKENIZER)(TEXTS[3])
    assert sum(one.scores.values()) == pytest.approx(1.0)
    assert each.scores == pytest.approx(scores, abs=1e-6)


def test_options_for_all_calls_and_for_one() -> None:
    fill = pipeline("fill-mask", model(BertForMaskedLM), tokenizer=TOKENIZER, top_k=2)
    assert len(fill("[MASK]").fills) == 2
    assert len(fill("[MASK]", top_k=3).fills) == 3
    assert len(fill("[MASK]").fills) == 2
    assert "top_k=2" in repr(fill)
