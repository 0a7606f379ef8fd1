"""How alike texts are, and which come nearest."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from glassbert import BertConfig, BertTokenizer, InputError, SentenceEncoder, learn_vocabulary, pipeline
from glassbert.infer import Searcher, similarities

TEXTS = ["the sun is warm", "rain", "snow and ice and wind", "the rain is warm", "ice"]
TOKENIZER = BertTokenizer(learn_vocabulary(TEXTS, size=100, min_frequency=1), model_max_length=6)


def encoder(**settings: Any) -> SentenceEncoder:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.5,
    )
    return SentenceEncoder(config, **settings).eval()


@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean", "manhattan"])
def test_the_four_ways_to_compare(kind: Any) -> None:
    compare = pipeline("similarity", encoder(similarity=kind, normalize=False), tokenizer=TOKENIZER)
    vectors = compare.vectors(TEXTS)
    found = compare(TEXTS[:2], TEXTS)
    assert isinstance(found, torch.Tensor)
    for one, row in zip(vectors, found, strict=False):
        for other, score in zip(vectors, row.tolist(), strict=True):
            difference = one - other
            expected = {
                "cosine": float(torch.cosine_similarity(one, other, dim=0)),
                "dot": float(one @ other),
                "euclidean": -float(difference.norm()),
                "manhattan": -float(difference.abs().sum()),
            }[kind]
            assert score == pytest.approx(expected, abs=1e-5)
    alone = compare(TEXTS[0], TEXTS[1])
    assert alone == pytest.approx(float(found[0, 1]), abs=1e-6)
    assert similarities(vectors, vectors, kind).diagonal().tolist() == pytest.approx(
        [float(similarities(one[None], one[None], kind)) for one in vectors], abs=1e-5
    )


def test_the_nearest_come_first() -> None:
    search = pipeline("search", encoder(), tokenizer=TOKENIZER)
    index = search.index(TEXTS)
    scores = search.query(["warm rain"]) @ index.vectors.T
    order = scores[0].argsort(descending=True, stable=True).tolist()
    found = index.search("warm rain", top=3)
    assert [one.index for one in found] == order[:3]
    assert [one.text for one in found] == [TEXTS[place] for place in order[:3]]
    assert [one.score for one in found] == pytest.approx([float(scores[0, place]) for place in order[:3]], abs=1e-6)
    assert search("warm rain", TEXTS, top=3) == found
    assert len(index.search("warm rain", top=None)) == len(TEXTS)
    several = index.search(["warm rain", "ice"], top=1)
    assert [one.index for one in several[0]] == [found[0].index]
    assert len(several) == 2
    assert index.search([]) == []
    assert {one.index: one.cut > 0 for one in index.search("ice", top=None)} == {
        0: False, 1: False, 2: True, 3: False, 4: False
    }  # fmt: skip
    assert search.index([]).search("ice") == []


def test_equal_texts_keep_their_order() -> None:
    search = pipeline("search", encoder(), tokenizer=TOKENIZER)
    assert [one.index for one in search("ice", ["rain", "ice", "ice"], top=2)] == [1, 2]


def test_vectors_made_before_are_taken() -> None:
    search = pipeline("search", encoder(), tokenizer=TOKENIZER)
    index = search.index(TEXTS)
    again = search.index(TEXTS, index.vectors)
    assert [one.index for one in again.search("rain")] == [one.index for one in index.search("rain")]
    with pytest.raises(InputError, match=r"vectors is \(4, 16\), expected a tensor of the shape \(5, 16\)"):
        search.index(TEXTS, index.vectors[1:])


def test_prompts_for_queries_and_documents_are_put_before_them() -> None:
    prompts = {"query": "rain ", "passage": "sun "}
    search = pipeline("search", encoder(prompts=prompts), tokenizer=TOKENIZER)
    plain = pipeline("sentence-embedding", encoder(), tokenizer=TOKENIZER)
    index = search.index(["ice"])
    assert torch.allclose(index.vectors[0], plain("sun ice").vector, atol=1e-6)
    assert torch.allclose(search.query(["ice"])[0], plain("rain ice").vector, atol=1e-6)
    assert torch.allclose(search.pipeline("ice", prompt_name="query").vector, plain("rain ice").vector, atol=1e-6)
    assert torch.allclose(search.pipeline("ice", prompt="sun ").vector, plain("sun ice").vector, atol=1e-6)


def test_the_model_may_put_texts_in_lower_case() -> None:
    cased = BertTokenizer(TOKENIZER.get_vocab(), do_lower_case=False)
    lower = pipeline("sentence-embedding", encoder(lower_case=True), tokenizer=cased)
    assert torch.equal(lower("The SUN").vector, lower("the sun").vector)
    assert not torch.equal(pipeline(None, encoder(), tokenizer=cased)("SUN").vector, lower("SUN").vector)


def test_what_cannot_be_searched() -> None:
    search = pipeline("search", encoder(), tokenizer=TOKENIZER)
    with pytest.raises(InputError, match="top is 0"):
        search("ice", TEXTS, top=0)
    with pytest.raises(InputError, match="top is '3'"):
        search.index(TEXTS).search("ice", top="3")  # type: ignore[call-overload]
    with pytest.raises(InputError, match="texts are compared by sentence-embedding, but this model does feature-e"):
        Searcher(pipeline("feature-extraction", encoder(), tokenizer=TOKENIZER))
    with pytest.raises(InputError, match="documents is of type str, expected several texts"):
        search("ice", "ice")
    with pytest.raises(InputError, match="other is of type int, expected several texts"):
        pipeline("similarity", encoder(), tokenizer=TOKENIZER)("ice", 3)  # type: ignore[arg-type]
    assert repr(search.index(TEXTS)) == "Index(5 texts, 'cosine')"
