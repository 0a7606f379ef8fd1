"""Equal to the newest transformers on random configs, masks and lengths."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from glassbert.model import BertConfig, BertForSequenceClassification
from tests.model.oracle import BACKENDS, seeded

transformers = pytest.importorskip("transformers", reason="the peer is not installed")


def draw(seed: int) -> dict[str, Any]:
    random.seed(seed)
    heads = random.choice([1, 2, 3, 4])
    return {
        "vocab_size": random.randint(20, 90),
        "hidden_size": heads * random.choice([4, 7, 16]),
        "num_hidden_layers": random.randint(1, 4),
        "num_attention_heads": heads,
        "intermediate_size": random.randint(5, 70),
        "hidden_act": random.choice(["gelu", "gelu_new", "relu", "silu"]),
        "max_position_embeddings": 40,
        "type_vocab_size": random.randint(1, 3),
        "layer_norm_eps": random.choice([1e-12, 1e-5]),
        "num_labels": random.randint(2, 6),
    }


@pytest.mark.parametrize("seed", range(8))
def test_logits_and_loss(seed: int) -> None:
    values = draw(seed)
    model = seeded(BertConfig(**values), BertForSequenceClassification, seed)
    peer = transformers.BertForSequenceClassification(transformers.BertConfig(**values)).eval()
    peer.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(seed)
    batch, length = random.randint(1, 6), random.randint(1, 40)
    mask = (torch.rand(batch, length, generator=generator) < 0.7).long()
    mask[:, 0] = 1
    arguments = {
        "input_ids": torch.randint(0, values["vocab_size"], (batch, length), generator=generator),
        "token_type_ids": torch.randint(0, values["type_vocab_size"], (batch, length), generator=generator),
        "attention_mask": mask,
        "labels": torch.randint(0, values["num_labels"], (batch,), generator=generator),
    }
    with torch.inference_mode():
        expected = peer(**arguments)
        for backend in BACKENDS:
            model.attention_backend = backend
            found = model(**arguments)
            assert (found.logits - expected.logits).abs().max() < 1e-5
            assert (found.loss - expected.loss).abs() < 1e-5
