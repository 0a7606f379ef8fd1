"""Whether a text follows another."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from glassbert import (
    BertConfig,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertTokenizer,
    DataError,
    InputError,
    learn_vocabulary,
    pipeline,
)

PAIRS = [("the sun is warm", "it is summer"), ("snow and ice", "all day long " * 20), ("a", "b")]
TOKENIZER = BertTokenizer(learn_vocabulary([" ".join(pair) for pair in PAIRS], size=90, min_frequency=1))


@pytest.mark.parametrize("kind", [BertForNextSentencePrediction, BertForPreTraining])
def test_the_probability_of_the_head(kind: Any) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        initializer_range=0.5,
    )
    model = kind(config).eval()
    follows = pipeline("next-sentence", model, tokenizer=TOKENIZER)
    batch = TOKENIZER([a for a, _ in PAIRS], [b for _, b in PAIRS], padding=True, truncation=True, max_length=24)
    with torch.inference_mode():
        output = model(**{name: torch.tensor(values) for name, values in batch.items()})
    scores = output.seq_relationship_logits if kind is BertForPreTraining else output.logits
    answers = follows(PAIRS)
    assert [one.score for one in answers] == pytest.approx(scores.softmax(-1)[:, 0].tolist(), abs=1e-6)
    assert [one.follows for one in answers] == [one.score >= 0.5 for one in answers]
    assert [one.cut > 0 for one in answers] == [False, True, False]
    with pytest.raises(InputError, match=r"next-sentence needs pair \(--pair\)"):
        follows("alone")
    with pytest.raises(DataError, match=r"inputs\[1\]: the second text \(pair\) is empty"):
        follows([("a", "b"), ("a", " ")])
    with pytest.raises(InputError, match="cannot be evaluated"):
        follows.evaluate([])
