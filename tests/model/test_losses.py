"""Losses where numbers are few, or too large for their type."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from glassbert import BertConfig, BertForMaskedLM, BertForPreTraining, InputError
from glassbert.model import losses


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_many_labels_in_half_precision_neither_overflow_nor_vanish(dtype: torch.dtype, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(70_000, 4, generator=generator) * 10).to(dtype)
    labels = torch.randint(0, 4, (70_000,), generator=generator)
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0]) if weighted else None
    loss = losses.cross_entropy(logits, labels, class_weights=weights)
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, F.cross_entropy(logits.float(), labels, weight=weights), rtol=1e-4)


def test_classes_of_no_weight_count_nothing_smoothed_or_not() -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    loss = losses.cross_entropy(
        logits, torch.tensor([0, 0, -100]), class_weights=torch.tensor([0.0, 1.0]), label_smoothing=0.1
    )
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_word_that_nothing_is_seen_before_is_not_predicted() -> None:
    labels = torch.tensor([[0, 0, 5, 6], [7, 8, 9, 0]])
    real = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]]).bool()
    assert losses.causal_labels(labels, real).tolist() == [[-100, -100, 6, -100], [8, 9, 0, -100]]
    assert losses.causal_labels(labels, None).tolist() == [[0, 5, 6, -100], [8, 9, 0, -100]]


@pytest.mark.parametrize("smoothing", [-0.1, 1.1])
def test_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(InputError, match="label_smoothing"):
        losses.check_choices(smoothing, None, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_projection_whose_scores_are_not_kept_has_the_same_loss_and_gradients(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    for scale in (0.1, 1.0, 30.0):  # with the last, nearly all of a row's probability is in one place
        vectors = torch.randn(40, 16, dtype=dtype, requires_grad=True)
        weight = (scale * torch.randn(300, 16, dtype=dtype)).requires_grad_()
        bias = torch.randn(300, dtype=dtype, requires_grad=True)
        labels = torch.randint(0, 300, (40,))
        labels[:3] = 7  # rows that share a label add up
        scores = torch.nn.functional.linear(vectors, weight, bias)
        expected = torch.nn.functional.cross_entropy(scores, labels)
        wanted = torch.autograd.grad(2.5 * expected, (vectors, weight, bias))
        loss, guessed = losses.projected_cross_entropy(vectors, weight, bias, labels)
        assert torch.allclose(loss, expected, rtol=tolerance)
        assert int(guessed) == int((scores.argmax(-1) == labels).sum())
        found = torch.autograd.grad(2.5 * loss, (vectors, weight, bias))
        for one, other in zip(found, wanted, strict=True):
            assert (one - other).abs().max() <= tolerance * max(1.0, float(other.abs().max()))


def test_a_projection_takes_half_precision_and_no_labels_as_the_plain_loss_does() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(6, 8, dtype=torch.bfloat16, requires_grad=True)
    weight, bias = torch.randn(20, 8, dtype=torch.bfloat16), torch.zeros(20, dtype=torch.bfloat16)
    labels = torch.arange(6)
    loss, guessed = losses.projected_cross_entropy(vectors, weight, bias, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, losses.cross_entropy(torch.nn.functional.linear(vectors, weight, bias), labels))
    loss.backward()
    assert vectors.grad is not None
    none, right = losses.projected_cross_entropy(vectors[:0], weight, bias, labels[:0])
    assert (float(none.detach()), float(right), float(guessed) >= 0.0) == (0.0, 0.0, True)


def test_the_losses_of_pretraining_are_those_of_the_forward_pass() -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    model = BertForPreTraining(config).eval()
    ids = torch.randint(5, 50, (4, 9))
    mask = torch.ones_like(ids)
    mask[2, 5:] = 0
    labels = torch.where((torch.rand(4, 9) < 0.4) & (mask == 1), ids, losses.IGNORED)
    pairs = torch.tensor([0, 1, 1, 0])
    whole = model(ids, mask, labels=labels, next_sentence_label=pairs)
    expected = torch.autograd.grad(whole.loss, list(model.parameters()))
    found = model.pretraining_losses(ids, mask, labels, next_sentence_label=pairs)
    loss = found["masked_lm_loss"] + found["next_sentence_loss"]
    assert torch.allclose(loss, whole.loss, atol=1e-6)
    for one, other in zip(torch.autograd.grad(loss, list(model.parameters())), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    wanted = labels != losses.IGNORED
    right = (whole.prediction_logits.argmax(-1) == labels)[wanted].float().mean()
    assert torch.allclose(found["masked_lm_accuracy"], right)
    right = (whole.seq_relationship_logits.argmax(-1) == pairs).float().mean()
    assert torch.allclose(found["next_sentence_accuracy"], right)
    words = BertForMaskedLM(config).eval()
    assert set(words.pretraining_losses(ids, mask, labels)) == {"masked_lm_loss", "masked_lm_accuracy"}
    with pytest.raises(InputError, match="BertForMaskedLM has no head for next_sentence_label"):
        words.pretraining_losses(ids, mask, labels, next_sentence_label=pairs)
