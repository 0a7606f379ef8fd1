"""Losses where numbers are few, or too large for their type."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from glassbert import InputError
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
