"""Backends are equal to each other and to the formula computed by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from glassbert.model import ATTENTION, BertConfig, BertForSequenceClassification, BertModel, Packed, Padded
from tests.model.oracle import BACKENDS, seeded

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=20,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    num_labels=4,
)
MASKS = {
    "no padding": torch.ones(4, 9),
    "right": (torch.arange(9) < torch.tensor([[9], [2], [5], [1]])).long(),
    "left": (torch.arange(9) >= torch.tensor([[0], [2], [8], [3]])).long(),
    "holes": torch.tensor(
        [[1, 0, 1, 0, 1, 0, 1, 0, 1], [0, 1, 1, 1, 1, 1, 1, 1, 0], [1] * 9, [1, 1, 0, 0, 0, 0, 0, 0, 1]]
    ),
    "nothing real": torch.tensor([[0] * 9, [1] * 9, [1, 1, 1] + [0] * 6, [0] * 9]),
}


def batch(seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "input_ids": torch.randint(0, 50, (4, 9), generator=generator),
        "token_type_ids": torch.randint(0, 2, (4, 9), generator=generator),
    }


def test_two_tokens_by_hand() -> None:
    # One head of size 1, two tokens: scores are products, weights follow from e^x.
    query = torch.tensor([[[[1.0]], [[2.0]]]])
    key = torch.tensor([[[[1.0]], [[0.0]]]])
    value = torch.tensor([[[[10.0]], [[20.0]]]])
    first = math.e / (math.e + 1)
    second = math.e**2 / (math.e**2 + 1)
    expected = torch.tensor([10 * first + 20 * (1 - first), 10 * second + 20 * (1 - second)])
    for name in ("eager", "sdpa"):
        context, weights = ATTENTION[name](query, key, value, Padded.from_mask(None, shape=(1, 2)), dropout=0.0)
        assert torch.allclose(context.flatten(), expected)
        if weights is not None:
            assert torch.allclose(weights.flatten(), torch.tensor([first, 1 - first, second, 1 - second]))
    layout = Packed.from_mask(torch.ones(1, 2, dtype=torch.bool))
    context, _ = ATTENTION["packed"](query[0], key[0], value[0], layout, dropout=0.0)
    assert torch.allclose(context.flatten(), expected)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_backends_agree_on_real_rows_and_first_tokens(mask: Tensor) -> None:
    model = seeded(CONFIG, BertModel)
    results = []
    for backend in BACKENDS:
        model.attention_backend = backend
        with torch.inference_mode():
            results.append(model(**batch(), attention_mask=mask, output_hidden_states=True))
    for other in results[1:]:
        assert (other.pooler_output - results[0].pooler_output).abs().max() < 1e-5
        for found, expected in zip(other.hidden_states, results[0].hidden_states, strict=True):
            assert (found - expected)[mask.bool()].abs().max() < 1e-5
    # Rows that were not computed come back as zeros from the packed layout.
    padding = mask == 0
    padding[:, 0] = False
    assert not results[2].last_hidden_state[padding].any()


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_backends_agree_in_logits_loss_and_gradients(mask: Tensor) -> None:
    model = seeded(CONFIG, BertForSequenceClassification).train()
    losses, gradients = [], []
    for backend in BACKENDS:
        model.attention_backend = backend
        model.zero_grad()
        result = model(**batch(), attention_mask=mask, labels=torch.tensor([0, 3, 1, 2]))
        result.loss.backward()
        losses.append(float(result.loss.detach()))
        found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        assert len(found) == len(list(model.parameters()))
        assert all(torch.isfinite(gradient).all() for gradient in found)
        gradients.append(found)
    assert losses[1:] == pytest.approx([losses[0]] * 2, abs=1e-5)
    for other in gradients[1:]:
        for one, expected in zip(other, gradients[0], strict=True):
            assert (one - expected).abs().max() < 1e-4 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_and_batch_mates_change_nothing(backend: str) -> None:
    model = seeded(CONFIG, BertForSequenceClassification)
    model.attention_backend = backend  # type: ignore[assignment]
    mask = MASKS["right"]
    values = batch()
    with torch.inference_mode():
        together = model(**values, attention_mask=mask).logits
        for row, length in enumerate(mask.sum(dim=1).tolist()):
            alone = model(**{name: value[row : row + 1, :length] for name, value in values.items()}).logits
            assert (alone[0] - together[row]).abs().max() < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_acts_in_training_and_only_there(backend: str) -> None:
    # Dropout of attention weights alone, so that a backend that forgets it is found out.
    config = dataclasses.replace(CONFIG, attention_probs_dropout_prob=0.5)
    model = seeded(config, BertModel)
    model.attention_backend = backend  # type: ignore[assignment]
    values = batch()
    with torch.no_grad():
        torch.manual_seed(0)
        first, second = (model(**values).last_hidden_state for _ in range(2))
        assert torch.equal(first, second)
        model.train()
        torch.manual_seed(0)
        first, second = (model(**values).last_hidden_state for _ in range(2))
        assert not torch.allclose(first, second)
        torch.manual_seed(0)
        assert torch.equal(first, model(**values).last_hidden_state)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_of_attention_keeps_the_mean(backend: str) -> None:
    # The expected context under dropout is the context without; 4,000 draws come within a few standard errors.
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(1, 4, 1, 2, generator=generator) for _ in range(3))
    layout = Padded.from_mask(None, shape=(1, 4)) if backend != "packed" else Packed.from_mask(torch.ones(1, 4).bool())
    if backend == "packed":
        query, key, value = query[0], key[0], value[0]
    function = ATTENTION[backend]  # type: ignore[index]
    plain, _ = function(query, key, value, layout, dropout=0.0)
    torch.manual_seed(0)
    draws = torch.stack([function(query, key, value, layout, dropout=0.3)[0] for _ in range(4000)])
    error = draws.std(dim=0) / math.sqrt(len(draws))
    assert ((draws.mean(dim=0) - plain).abs() < 5 * error).all()


def test_asking_for_weights_computes_them_whatever_is_set() -> None:
    model = seeded(CONFIG, BertModel)
    mask = MASKS["right"]
    with torch.inference_mode():
        assert model.attention_backend == "packed"
        result = model(**batch(), attention_mask=mask, output_attentions=True)
        plain = model(**batch(), attention_mask=mask)
    assert len(result.attentions) == 3
    for weights in result.attentions:
        assert weights.shape == (4, 3, 9, 9)
        assert torch.allclose(weights.sum(dim=-1), torch.ones(4, 3, 9))
        assert not weights[:, :, :, :].masked_select(~mask.bool()[:, None, None, :]).any()
    assert (result.last_hidden_state - plain.last_hidden_state)[mask.bool()].abs().max() < 1e-5
