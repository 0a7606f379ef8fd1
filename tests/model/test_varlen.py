"""The kernel for sequences of different lengths: its limits, what it is told, and what it gives on a GPU."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from glassbert import BertConfig, BertForMaskedLM, InputError
from glassbert.model import ATTENTION, Packed, attention
from tests.model.oracle import seeded

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=40,
    max_position_embeddings=20,
    attention_probs_dropout_prob=0.0,
)
MASKS = {
    "right": (torch.arange(9) < torch.tensor([[9], [2], [5], [1]])).bool(),
    "left": (torch.arange(9) >= torch.tensor([[0], [2], [8], [3]])).bool(),
    "holes": torch.tensor([[1, 0, 1, 0, 1, 0, 1, 0, 1], [0, 1, 1, 1, 1, 1, 1, 1, 0], [1] * 9]).bool(),
    "nothing real": torch.tensor([[0] * 9, [1] * 9, [1, 1, 1] + [0] * 6]).bool(),
}


def reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_ends: Tensor,
    key_ends: Tensor,
    longest_query: int,
    longest_key: int,
    *,
    window_size: tuple[int, int],
) -> Tensor:
    """Do what the kernel's documentation says, sequence by sequence."""
    contexts = []
    spans = zip(query_ends[:-1], query_ends[1:], key_ends[:-1], key_ends[1:], strict=True)
    for q0, q1, k0, k1 in spans:
        q, k, v = query[q0:q1], key[k0:k1], value[k0:k1]
        assert 0 < len(q) <= longest_query
        assert len(k) <= longest_key
        if not len(k):
            contexts.append(torch.zeros_like(q))
            continue
        scores = torch.einsum("qad,kad->aqk", q, k) / math.sqrt(q.shape[-1])
        if window_size == (-1, 0):
            assert len(q) == len(k)
            scores = scores.masked_fill(torch.ones(len(q), len(k)).triu(1).bool(), -torch.inf)
        contexts.append(torch.einsum("aqk,kad->qad", scores.softmax(dim=-1), v))
    return torch.cat(contexts)


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_the_kernel_is_told_where_each_sequence_lies(
    mask: Tensor, first_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", reference)
    layout = Packed.from_mask(mask, backend="varlen")
    layout = layout.narrow_to_first() if first_only else layout
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(len(layout.rows), 2, 8, generator=generator) for _ in range(3))
    query = layout.queries(query)
    expected, _ = ATTENTION["packed"](query, key, value, layout, dropout=0.0)
    found = attention._flash(query, key, value, layout)
    assert (found - expected).abs().max() < 1e-6


def test_a_causal_model_says_so_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", reference)
    layout = Packed.from_mask(MASKS["right"], causal=True, backend="varlen")
    query, key, value = (torch.randn(len(layout.rows), 2, 8) for _ in range(3))
    expected, _ = ATTENTION["packed"](query, key, value, layout, dropout=0.0)
    assert (attention._flash(query, key, value, layout) - expected).abs().max() < 1e-6


def test_its_limits_are_named() -> None:
    model = seeded(CONFIG, BertForMaskedLM)
    model.attention_backend = "varlen"
    with pytest.raises(InputError, match=r"'varlen' runs float16 and bfloat16 on CUDA; this is torch\.float32 on cpu"):
        model(torch.ones(1, 3, dtype=torch.int64))


def test_what_it_cannot_others_compute() -> None:
    model = seeded(CONFIG, BertForMaskedLM)
    model.attention_backend = "varlen"
    ids = torch.ones(1, 3, dtype=torch.int64)
    pairs = torch.ones(1, 3, 3)
    with torch.inference_mode():
        expected = model(ids, output_attentions=True)
        assert (model(ids, pairs).logits - expected.logits).abs().max() < 1e-4
    assert len(expected.attentions) == 2
    assert model.attention_backend == "varlen"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_on_a_gpu_it_equals_the_padded_kernel(mask: Tensor, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model: Any = BertForMaskedLM(CONFIG).to("cuda", dtype)
    ids = torch.randint(0, 50, mask.shape, device="cuda")
    labels = torch.where(mask.cuda(), ids, -100)
    results = []
    for backend in ("sdpa", "varlen"):
        model.attention_backend = backend
        model.zero_grad()
        result = model(ids, mask.cuda(), labels=labels)
        result.loss.backward()
        gradient = model.get_input_embeddings().weight.grad.float().clone()
        results.append((result.logits.detach().float()[mask.cuda()], gradient))
    assert (results[0][0] - results[1][0]).abs().max() < 2e-2
    assert (results[0][1] - results[1][1]).abs().max() < 2e-2
