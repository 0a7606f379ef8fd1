"""Gradients of large embeddings: the same numbers, in memory that is kept."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from glassbert.train import clip_gradients, gradients
from glassbert.train.gradients import EmbeddingGradients


class Reader(nn.Module):
    """Looks up ids and adds a number to each vector."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 3, padding_idx=0)
        self.linear = nn.Linear(3, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        squared: torch.Tensor = (self.linear(self.table(ids)) ** 2).sum()
        return squared


STEPS = [[[1, 2, 2], [0, 5, 1]], [[7, 7, 7]], [[1, 0, 19], [2, 3, 4]]]


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "_LARGE", 1)


def test_the_same_numbers_step_after_step(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    plain, kept = Reader(), Reader()
    memory = EmbeddingGradients(kept)
    places = set()
    for parts in STEPS:
        for part in parts:
            plain(torch.tensor(part)).backward()
        with memory.collected():
            for part in parts:
                kept(torch.tensor(part)).backward()
            assert kept.table.weight.grad is not None
            assert kept.table.weight.grad.is_sparse
        for one, other in zip(plain.parameters(), kept.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            assert not other.grad.is_sparse
            assert torch.allclose(one.grad, other.grad, atol=1e-6)
        places.add(kept.table.weight.grad.data_ptr())
        assert not kept.table.sparse
        plain.zero_grad(set_to_none=True)
        kept.zero_grad(set_to_none=True)
    assert len(places) == 1


def test_tables_that_are_tied_frozen_or_small_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EmbeddingGradients(Reader())._tables == []
    small(monkeypatch)
    model = Reader()
    assert EmbeddingGradients(model)._tables == [model.table]
    model.table.weight.requires_grad_(False)
    assert EmbeddingGradients(model)._tables == []
    model.table.weight.requires_grad_(True)
    tied = nn.ModuleList([model, nn.Linear(3, 20, bias=False)])
    tied[1].weight = model.table.weight
    assert EmbeddingGradients(tied)._tables == []


def test_the_table_is_as_before_when_a_step_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    model = Reader()
    with pytest.raises(IndexError), EmbeddingGradients(model).collected():
        model(torch.tensor([20]))
    assert not model.table.sparse


def test_clipping_by_the_rows_that_were_read_is_clipping(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    plain, kept = Reader(), Reader()
    memory = EmbeddingGradients(kept)
    assert memory.rows() == {}
    for parts in STEPS:
        for part in parts:
            plain(torch.tensor(part)).backward()
        with memory.collected():
            for part in parts:
                kept(torch.tensor(part)).backward()
        rows = memory.rows()
        (read,) = rows.values()
        assert set(read.tolist()) - {0} == {number for part in parts for number in part} - {0}
        bound = 0.25 * clip_gradients(plain, math.inf)
        assert clip_gradients(kept, bound, rows=rows) == pytest.approx(clip_gradients(plain, bound), rel=1e-6)
        for one, other in zip(plain.parameters(), kept.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            assert torch.allclose(one.grad, other.grad, atol=1e-7)
        plain.zero_grad(set_to_none=True)
        kept.zero_grad(set_to_none=True)
        assert memory.rows() == {}


def test_the_norm_of_many_numbers_is_exact_enough() -> None:
    torch.manual_seed(0)
    holder = nn.Linear(3000, 1000, bias=False)
    holder.weight.grad = torch.randn(1000, 3000) * torch.logspace(-6, 2, 1000)[:, None]
    expected = float(holder.weight.grad.double().norm())
    assert clip_gradients(holder, math.inf) == pytest.approx(expected, rel=1e-5)
