"""Pooling: one vector of a text's vectors."""

from __future__ import annotations

import pytest
import torch

from glassbert.model.sentence import Pooling, pool

STATES = torch.tensor([[[1.0, -8.0], [2.0, -4.0], [9.0, -9.0]], [[3.0, 5.0], [7.0, 1.0], [2.0, 3.0]]])
REAL = torch.tensor([[True, True, False], [True, True, True]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("cls", [[1.0, -8.0], [3.0, 5.0]]),
        ("mean", [[1.5, -6.0], [4.0, 3.0]]),
        ("max", [[2.0, -4.0], [7.0, 5.0]]),
    ],
)
def test_padding_is_left_out(pooling: Pooling, expected: list[list[float]]) -> None:
    assert pool(STATES, REAL, pooling).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tokens", [1, 7, 300])
def test_without_padding_not_a_bit_is_another(tokens: int, dtype: torch.dtype) -> None:
    states = torch.randn(3, tokens, 20, generator=torch.Generator().manual_seed(0)).to(dtype)
    real = torch.ones(3, tokens, dtype=torch.bool)
    # The long way, which a batch with a text of nothing but padding takes.
    more = torch.cat((states, states[:1])), torch.cat((real, ~real[:1]))
    for pooling in ("mean", "max"):
        assert torch.equal(pool(states, real, pooling), pool(*more, pooling)[:3])
