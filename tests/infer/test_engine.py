"""The engine gives what the model gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glassbert import BertConfig, BertForSequenceClassification, BertModel, BertPreTrainedModel, Engine, InputError
from glassbert.infer.linear import PreparedLinear
from glassbert.model import ACT2FN
from glassbert.model.config import HiddenAct
from tests.model.oracle import seeded

CONFIG = BertConfig(
    vocab_size=60,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=30,
    num_labels=4,
)


def sequences(count: int = 20) -> list[list[int]]:
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, 31, (count,), generator=generator).tolist()
    return [torch.randint(0, 60, (n,), generator=generator).tolist() for n in lengths]


def collate(batch: Any) -> dict[str, Tensor]:
    rows = [torch.tensor(ids) for ids in batch]
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return {"input_ids": nn.utils.rnn.pad_sequence(rows, batch_first=True), "attention_mask": mask}


@pytest.mark.parametrize("tokens_per_call", [1, 40, 10_000])
def test_hidden_states(tokens_per_call: int) -> None:
    model = seeded(CONFIG, BertModel)
    found = Engine(model, tokens_per_call=tokens_per_call).hidden_states(sequences())
    with torch.inference_mode():
        for ids, states in zip(sequences(), found, strict=True):
            assert (model(torch.tensor([ids])).last_hidden_state[0] - states).abs().max() < 1e-5


@pytest.mark.parametrize("tokens_per_call", [1, 40, 10_000])
def test_logits(tokens_per_call: int) -> None:
    model = seeded(CONFIG, BertForSequenceClassification)
    found = Engine(model, tokens_per_call=tokens_per_call).logits(sequences(), collate)
    with torch.inference_mode():
        expected = torch.cat([model(**collate([ids])).logits for ids in sequences()])
    assert (found - expected).abs().max() < 1e-5


def test_the_model_itself_is_left_alone() -> None:
    model = seeded(CONFIG, BertForSequenceClassification)
    names = list(model.state_dict())
    Engine(model)
    assert list(model.state_dict()) == names
    assert isinstance(model.bert, BertModel)
    model.train()
    assert model.bert.training
    first = Engine(model).logits(sequences(), collate)
    assert torch.equal(first, Engine(model).logits(sequences(), collate))
    assert model.training


def test_no_texts() -> None:
    assert Engine(seeded(CONFIG, BertModel)).hidden_states([]) == []


@pytest.mark.parametrize("ids", [[], [60], [1] * 31])
def test_bad_sequences_are_named(ids: list[int]) -> None:
    with pytest.raises(InputError):
        Engine(seeded(CONFIG, BertModel)).hidden_states([[1, 2], ids])


def test_what_it_cannot_do_it_says() -> None:
    with pytest.raises(InputError, match="hidden_states"):
        Engine(seeded(CONFIG, BertModel)).logits(sequences(), collate)
    engine = Engine(seeded(CONFIG, BertForSequenceClassification))
    assert engine.head is not None
    with pytest.raises(InputError, match="ask the model itself"):
        engine.head(torch.tensor([[1]]), output_attentions=True)

    class Other(BertPreTrainedModel):
        pass

    with pytest.raises(InputError, match="Other"):
        Engine(Other(CONFIG))


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prepared_linear_equals_the_plain_one(activation: HiddenAct, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight, bias, values = torch.randn(13, 7), torch.randn(13), torch.randn(5, 7)
    linear = PreparedLinear(weight.to(dtype), bias.to(dtype), activation)
    assert linear.prepared is (dtype == torch.float32 and torch.backends.mkldnn.is_available())
    with torch.inference_mode():
        expected = ACT2FN[activation](nn.functional.linear(values.double(), weight.double(), bias.double()))
        assert (linear(values.to(dtype)).double() - expected).abs().max() < 1e-5
        plain = PreparedLinear(weight, bias)
        assert (plain(values) - nn.functional.linear(values, weight, bias)).abs().max() < 1e-5


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
def test_every_activation(activation: HiddenAct) -> None:
    model = seeded(dataclasses.replace(CONFIG, hidden_act=activation), BertModel)
    found = Engine(model).hidden_states(sequences(4))
    with torch.inference_mode():
        for ids, states in zip(sequences(4), found, strict=True):
            assert (model(torch.tensor([ids])).last_hidden_state[0] - states).abs().max() < 1e-5
