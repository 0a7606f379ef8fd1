"""Words for masks, beside transformers' own pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertTokenizer,
    ConfigError,
    DataError,
    InputError,
    Pipeline,
    learn_vocabulary,
    pipeline,
)

TEXTS = [
    "The sun is [MASK] and the moon is not.",
    "[MASK]",
    "Ein [MASK], zwei [MASK]: drei!  [MASK]",
    "naïve 中[MASK]文 text",
]
TOKENIZER = BertTokenizer(
    learn_vocabulary([text.replace("[MASK]", "thing") for text in TEXTS] * 2, size=150, min_frequency=1),
    model_max_length=40,
)


def model(kind: type[Any] = BertForMaskedLM, extra_rows: int = 0) -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENIZER) + extra_rows,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        initializer_range=0.5,
    )
    return kind(config).eval()


@pytest.fixture(scope="module")
def fill() -> Pipeline:
    return pipeline("fill-mask", model(), tokenizer=TOKENIZER)


def test_the_same_words_as_transformers(fill: Pipeline, tmp_path: Path) -> None:
    import transformers

    model().save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    peer = transformers.pipeline("fill-mask", str(tmp_path / "model"), top_k=7)
    for text in TEXTS:
        found = peer(text)
        found = found if isinstance(found[0], list) else [found]
        answer = fill(text, top_k=7)
        assert len(answer.masks) == len(found) == text.count("[MASK]")
        for mask, theirs in zip(answer.masks, found, strict=True):
            assert text[mask.start : mask.end] == "[MASK]"
            assert [one.id for one in mask.fills] == [one["token"] for one in theirs]
            assert [one.token for one in mask.fills] == [TOKENIZER.ids_to_tokens[one["token"]] for one in theirs]
            assert [one.score for one in mask.fills] == pytest.approx([one["score"] for one in theirs], abs=1e-6)
    words = ["sun", "moon", "is"]
    theirs = peer(TEXTS[0], targets=words, top_k=3)
    ours = fill(TEXTS[0], candidates=words).fills
    assert [(one.token, one.score) for one in ours] == [
        (one["token_str"], pytest.approx(one["score"], abs=1e-6)) for one in theirs
    ]


def test_the_model_of_both_heads_fills_too() -> None:
    whole = model(BertForPreTraining)
    fill = pipeline("fill-mask", whole, tokenizer=TOKENIZER)
    batch = TOKENIZER(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        scores = whole(**batch).prediction_logits[0][batch["input_ids"][0] == TOKENIZER.mask_token_id].softmax(-1)
    best = fill(TEXTS[0], top_k=1).fills[0]
    assert best.score == pytest.approx(float(scores.max()), abs=1e-6)
    assert best.id == int(scores.argmax())


def test_rows_beyond_the_vocabulary_are_no_words() -> None:
    fill = pipeline("fill-mask", model(extra_rows=9), tokenizer=TOKENIZER)
    answer = fill("[MASK]", top_k=len(TOKENIZER))
    assert len(answer.fills) == len(TOKENIZER)
    assert sum(one.score for one in answer.fills) < 1.0
    assert all(TOKENIZER.ids_to_tokens[one.id] == one.token for one in answer.fills)


def test_the_text_is_filled_as_it_was_given(fill: Pipeline) -> None:
    answer = fill("Ein [MASK],  zwei [MASK].", top_k=1)
    first, second = (mask.fills[0].token for mask in answer.masks)
    assert answer.text == answer.with_tokens([first, second])
    assert answer.with_tokens(["Haus", "##mal"]) == "Ein Haus,  zweimal."
    assert answer.to_dict()["masks"][1]["start"] == 18
    with pytest.raises(InputError, match="1 token for 2 masks"):
        answer.with_tokens(["a"])


def test_every_mask_of_a_long_text_is_answered_where_it_has_most_context(fill: Pipeline) -> None:
    text = " ".join("[MASK]" if place % 7 == 3 else "sun" for place in range(200))
    answer = fill(text, top_k=2)
    assert [mask.start for mask in answer.masks] == [place for place in range(len(text)) if text[place] == "["]
    # A short text whose window is the same gives the same words: the first window's first half stands alone in it.
    words = text.split(" ")
    first = fill(" ".join(words[:38]), top_k=2)
    assert [one.id for one in first.masks[0].fills] == [one.id for one in answer.masks[0].fills]
    assert first.masks[0].fills[0].score == pytest.approx(answer.masks[0].fills[0].score, abs=1e-6)


def test_candidates_may_differ_from_record_to_record(fill: Pipeline) -> None:
    first, other = fill(
        [
            {"text": "[MASK] sun", "candidates": ["moon"]},
            {"text": "the [MASK]", "candidates": ["is", "not", "is"]},
        ]
    )
    assert [one.token for one in first.fills] == ["moon"]
    assert {one.token for one in other.fills} == {"is", "not"}
    plain = {one.token: one.score for one in fill("the [MASK]", top_k=len(TOKENIZER)).fills}
    assert {fill.token: fill.score for fill in other.fills} == pytest.approx(
        {name: plain[name] for name in ("is", "not")}
    )


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ("no mask", {}, DataError, r"there is no \[MASK\] in the text 'no mask'"),
        (["[MASK]", "none"], {}, DataError, r"inputs\[1\]: there is no \[MASK\]"),
        ("  ", {}, DataError, "the text is empty"),
        ("[MASK]", {"top_k": 10_000}, InputError, "top_k is 10000, but the vocabulary has"),
        ("[MASK]", {"top_k": 0}, ConfigError, "top_k is 0"),
        ("[MASK]", {"top_k": True}, ConfigError, "top_k is True"),
        ("[MASK]", {"candidates": ["☃"]}, InputError, "'☃' cannot stand for a mask.*does not know it"),
        ("[MASK]", {"candidates": ["the.sun"]}, InputError, r"it is the 3 tokens the \. sun"),
        ("[MASK]", {"candidates": "sun"}, ConfigError, "expected a list of tokens"),
        ("[MASK]", {"candidates": []}, ConfigError, "expected a list of tokens, or None for all"),
        ([{"text": "[MASK]", "candidates": []}], {}, DataError, r"inputs\[0\]: candidates is empty"),
        ("[MASK]", {"topk": 1}, ConfigError, "fill-mask has no option 'topk'.*top_k, candidates"),
    ],
)
def test_what_cannot_be_answered(
    fill: Pipeline, given: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fill(given, **options)


def test_places_to_score_are_checked() -> None:
    batch = TOKENIZER(TEXTS[0], return_tensors="pt")
    asked = batch["input_ids"] == TOKENIZER.mask_token_id
    for whole in (model(), model(BertForPreTraining)):
        every, some = whole(**batch)[0], whole(**batch, asked=asked)[0]
        assert some.shape == (1, len(TOKENIZER))
        assert torch.allclose(every[asked], some, atol=1e-5)
        with pytest.raises(InputError, match="expected a bool tensor of the shape"):
            whole(**batch, asked=asked.long())
        with pytest.raises(InputError, match="asked is for scores without labels"):
            whole(**batch, asked=asked, labels=batch["input_ids"])
