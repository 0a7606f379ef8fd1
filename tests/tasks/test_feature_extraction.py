"""The vectors of tokens, beside the model's own and transformers'."""

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
    ConfigError,
    DataError,
    InputError,
    Pipeline,
    learn_vocabulary,
    pipeline,
)

TEXTS = ["The e-mail wasn't long.", "中文 und Häuser", "sun " * 30]
TOKENIZER = BertTokenizer(learn_vocabulary(TEXTS, size=45, min_frequency=1), model_max_length=20)
CONFIG = BertConfig(
    vocab_size=len(TOKENIZER),
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=20,
    initializer_range=0.5,
)


def model(**settings: Any) -> BertModel:
    torch.manual_seed(0)
    return BertModel(CONFIG, **settings).eval()


@pytest.fixture(scope="module")
def extract() -> Pipeline:
    return pipeline("feature-extraction", model(), tokenizer=TOKENIZER)


def states(text: str) -> Any:
    batch = TOKENIZER(text, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        return model()(**batch, output_hidden_states=True)


def test_the_same_vectors_as_transformers(extract: Pipeline, tmp_path: Path) -> None:
    import transformers

    model().save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    peer = transformers.pipeline("feature-extraction", str(tmp_path / "model"), tokenize_kwargs={"truncation": True})
    for text, answer in zip(TEXTS, extract(TEXTS), strict=True):
        theirs = torch.tensor(peer(text))[0]
        assert answer.vectors.shape == theirs.shape == (len(answer.tokens), 16)
        assert torch.allclose(answer.vectors, theirs, atol=1e-5)
        for token, (start, end), of in zip(answer.tokens, answer.offsets, answer.texts, strict=True):
            assert (of is None) == (token in ("[CLS]", "[SEP]"))
            assert of is None or len(token.removeprefix("##")) == end - start or "ä" in text[start:end]
    assert extract(TEXTS[2]).cut == 12


def test_layers_and_how_they_are_combined(extract: Pipeline) -> None:
    output = states(TEXTS[0])
    every = torch.stack([layer[0] for layer in output.hidden_states])  # (L + 1, T, H)
    for layer in (0, 1, 3, -1, -4):
        assert torch.allclose(extract(TEXTS[0], layers=layer).vectors, every[layer], atol=1e-5)
    some = every[[-1, 0]]
    for combine, expected in {
        "stack": some,
        "concat": torch.cat(list(some), dim=-1),
        "mean": some.mean(0),
        "sum": some.sum(0),
    }.items():
        found = extract(TEXTS[0], layers=[-1, 0], combine=combine).vectors
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, atol=1e-5)


def test_one_vector_for_a_text(extract: Pipeline) -> None:
    output = states(TEXTS[1])
    last = output.last_hidden_state[0]
    expected = {"cls": last[0], "mean": last.mean(0), "max": last.amax(0), "pooler": output.pooler_output[0]}
    for pooling, vector in expected.items():
        # Beside others, so that there is padding.
        answer = extract(TEXTS, pooling=pooling)[1]
        assert torch.allclose(answer.vectors, vector, atol=1e-5)
        assert answer.tokens == ()


def test_one_vector_for_each_word_at_its_place_in_the_text(extract: Pipeline) -> None:
    pieces = extract(TEXTS[0])
    for words in ("first", "mean"):
        answer = extract(TEXTS[0], words=words)
        assert answer.tokens == ("The", "e", "-", "mail", "wasn", "'", "t", "long", ".")
        for token, (start, end), vector in zip(answer.tokens, answer.offsets, answer.vectors, strict=True):
            assert TEXTS[0][start:end] == token
            own = [n for n, (a, b) in enumerate(pieces.offsets) if b and start <= a and b <= end]
            expected = pieces.vectors[own[0]] if words == "first" else pieces.vectors[own].mean(0)
            assert torch.allclose(vector, expected, atol=1e-6)


def test_given_words_and_pairs(extract: Pipeline) -> None:
    given = ["The", "e-mail", "sun"]
    answer = extract({"tokens": given}, words="mean", layers=[-1, -2])
    assert answer.tokens == tuple(given)
    assert answer.offsets == ((0, 1), (1, 2), (2, 3))
    assert answer.vectors.shape == (2, 3, 16)
    pair = extract(("The sun", "long"), words="first")
    assert pair.tokens == ("The", "sun", "long")
    assert pair.texts == (0, 0, 1)
    assert pair.offsets == ((0, 3), (4, 7), (0, 4))


def test_any_model_has_vectors() -> None:
    torch.manual_seed(0)
    head = BertForSequenceClassification(CONFIG).eval()
    answer = pipeline("feature-extraction", head, tokenizer=TOKENIZER)(TEXTS[0])
    with torch.inference_mode():
        expected = head.bert(**TOKENIZER(TEXTS[0], return_tensors="pt")).last_hidden_state[0]
    assert torch.allclose(answer.vectors, expected, atol=1e-5)


def test_it_is_read_shortly(extract: Pipeline) -> None:
    answer = extract("sun", pooling="cls")
    assert repr(answer).startswith("TextVectors(vectors=<(16,) float32: ")
    assert len(repr(answer)) < 140
    assert answer.to_dict()["vectors"] == answer.vectors.tolist()


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ("a", {"layers": 4}, InputError, "layer 4 does not exist; they go from 0, the embeddings, to 3"),
        ("a", {"layers": [-1, -5]}, InputError, "layer -5 does not exist"),
        ("a", {"layers": []}, ConfigError, "layers is"),
        ("a", {"combine": "max"}, ConfigError, "combine is 'max', expected one of stack, concat, mean, sum"),
        ("a", {"combine": None}, ConfigError, "combine is None"),
        ("a", {"pooling": "average"}, ConfigError, "pooling is 'average'"),
        ("a", {"pooling": "mean", "words": "mean"}, ConfigError, "choose one of them"),
        ("a", {"pooling": "pooler", "layers": -2}, ConfigError, "the pooler reads the last layer alone"),
        ({"tokens": [" "]}, {}, DataError, "the text is empty"),
        ({"text": "a", "tokens": ["a"]}, {}, DataError, "not both"),
        ({"pair": "a"}, {}, DataError, "expected a text, or its words"),
        ({"tokens": "a b"}, {}, DataError, "tokens is of type str, expected a list of strings"),
    ],
)
def test_what_cannot_be_answered(
    extract: Pipeline, given: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        extract(given, **options)


def test_a_model_without_a_pooler_says_so() -> None:
    bare = pipeline("feature-extraction", model(add_pooling_layer=False), tokenizer=TOKENIZER)
    with pytest.raises(InputError, match="the model has no pooler"):
        bare("a", pooling="pooler")
