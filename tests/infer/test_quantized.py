"""Linear layers in int8 are as near to exact ones as their rounding allows."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glassbert import InputError, native
from glassbert.infer import quantized
from glassbert.infer.quantized import QuantizedLinear, levels, quantize
from glassbert.model import ACT2FN
from glassbert.model.config import HiddenAct

SIZES = [(1, 1, 1), (1, 64, 3), (2, 7, 13), (17, 65, 31), (128, 384, 96), (33, 1536, 130)]


@pytest.fixture(params=["kernels", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(native, "available", False)
    elif not native.available:
        pytest.skip("the kernels were not built")
    return str(request.param)


def numbers(tokens: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Values, weight and bias; each token has a range of its own, the second one an outlier."""
    generator = torch.Generator().manual_seed(tokens + inputs)
    values = torch.randn(tokens, inputs, generator=generator) * torch.rand(tokens, 1, generator=generator).add(0.1)
    values[1:2, 0] = 50.0
    return values, torch.randn(outputs, inputs, generator=generator), torch.randn(outputs, generator=generator)


def bound(values: Tensor, weight: Tensor) -> Tensor:
    """How far a product may be off, (T, out): each weight by half a scale, each value by half a step, and both."""
    values, weight = values.double(), weight.double()
    scale = weight.abs().amax(dim=1) / 127
    step = (values.amax(dim=1) - values.amin(dim=1))[:, None] / levels()
    by_weight = values.abs().sum(dim=1)[:, None] * scale / 2
    by_value = weight.abs().sum(dim=1) * step / 2
    # What float32 adds: some units of its last place of the largest sum in between.
    slack = 1e-6 * (values.abs().amax(dim=1)[:, None] * weight.abs().sum(dim=1) + 1)
    return by_weight + by_value + weight.shape[1] * scale * step / 4 + slack


@pytest.mark.parametrize("size", SIZES)
def test_no_further_off_than_rounding_allows(size: tuple[int, int, int], way: str) -> None:
    values, weight, bias = numbers(*size)
    with torch.inference_mode():
        exact = nn.functional.linear(*map(Tensor.double, (values, weight, bias)))
        off = QuantizedLinear(weight, bias)(values).double() - exact
    assert (off.abs() <= bound(values, weight)).all()


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_product_of_what_was_rounded(size: tuple[int, int, int], way: str) -> None:
    values, weight, bias = numbers(*size)
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    rounded_weight = (weight / scale).round().double() * scale
    with torch.inference_mode():
        rounded, least, step = quantize(values, levels())
        near = least.double() + step.double() * rounded
        assert ((near - values).abs() <= 0.5001 * step + 1e-6 * values.abs().amax(dim=1, keepdim=True)).all()
        found = QuantizedLinear(weight, bias)(values).double()
        exact = nn.functional.linear(near, rounded_weight, bias.double())
    largest = values.abs().amax(dim=1)[:, None] * weight.abs().sum(dim=1) + 1
    assert ((found - exact).abs() <= 1e-6 * largest).all()


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu", torch.tanh])
def test_every_activation(act: HiddenAct | Callable[[Tensor], Tensor], way: str) -> None:
    values, weight, bias = numbers(9, 40, 24)
    weight /= 40
    with torch.inference_mode():
        found = QuantizedLinear(weight, bias, act)(values)
        function = act if callable(act) else ACT2FN[act]
        exact = function(nn.functional.linear(*map(Tensor.double, (values, weight, bias))))
        # None of them is steeper than 1.13.
        assert ((found.double() - exact).abs() <= 1.13 * bound(values, weight)).all()
        before = QuantizedLinear(weight, bias)(values)
        assert (found - function(before)).abs().max() < 1e-6
        assert not torch.equal(found, before)


def test_the_ways_agree_but_for_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    if not native.available:
        pytest.skip("the kernels were not built")
    values = numbers(50, 100, 1)[0]
    found = quantize(values, 255)
    monkeypatch.setattr(native, "available", False)
    expected = quantize(values, 255)
    assert (found[0].int() - expected[0].int()).abs().max() <= 1
    assert (found[0] != expected[0]).double().mean() < 0.01
    assert torch.equal(found[1], expected[1])
    assert torch.allclose(found[2], expected[2], rtol=1e-6)


def test_the_ends_of_a_range_are_kept(way: str) -> None:
    values = torch.tensor([[-3.0, 0.1, 5.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0], [1e-35, 2e-35, 3e-35]])
    rounded, least, step = quantize(values, 255)
    assert rounded[0, [0, 2]].tolist() == [0, 255]
    assert rounded[1:].tolist() == [[0, 0, 0]] * 3
    assert least[:, 0].tolist() == values.amin(dim=1).tolist()
    assert step[:3, 0].tolist() == pytest.approx([8 / 255, 0.0, 0.0])


def test_a_token_of_one_number_is_exact_but_for_the_weights(way: str) -> None:
    weight, bias = torch.randn(6, 10), torch.randn(6)
    linear = QuantizedLinear(weight, bias)
    with torch.inference_mode():
        assert torch.equal(linear(torch.zeros(3, 10)), bias.expand(3, 6))
        found = linear(torch.full((1, 10), 1000.0))
    assert ((found - 1000 * weight.sum(dim=1) - bias).abs() <= 1000 * 10 * weight.abs().amax(dim=1) / 254 + 1e-2).all()


def test_an_output_without_weights_gives_its_bias(way: str) -> None:
    weight, bias = torch.randn(5, 8), torch.randn(5)
    weight[2] = 0.0
    with torch.inference_mode():
        assert (QuantizedLinear(weight, bias)(torch.randn(4, 8))[:, 2] == bias[2]).all()


def test_no_tokens(way: str) -> None:
    with torch.inference_mode():
        assert QuantizedLinear(torch.randn(5, 8), torch.randn(5), "gelu")(torch.empty(0, 8)).shape == (0, 5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 9, 16, 18])
def test_what_is_not_finite_does_not_become_finite(bad: float, place: int, way: str) -> None:
    values = torch.randn(5, 19)
    values[2, place] = bad
    linear = QuantizedLinear(torch.randn(7, 19), torch.randn(7))
    with torch.inference_mode():
        found = linear(values)
        values[2] = 0.0
        others = linear(values)
    assert found[2].isnan().all()
    assert torch.equal(found[[0, 1, 3, 4]], others[[0, 1, 3, 4]])


def test_a_range_beyond_float32_is_not_finite(way: str) -> None:
    with torch.inference_mode():
        found = QuantizedLinear(torch.randn(7, 2), torch.randn(7))(torch.tensor([[-3e38, 3e38]]))
    assert found.isnan().all()


def test_weights_that_are_not_finite_are_not_rounded_away() -> None:
    weight = torch.randn(3, 8)
    weight[1, 2] = math.nan
    weight[2, 3] = math.inf
    with torch.inference_mode():
        found = QuantizedLinear(weight, torch.zeros(3))(torch.randn(4, 8))
    assert found[:, 0].isfinite().all()
    assert not found[:, 1:].isfinite().any()


def test_a_token_does_not_know_its_neighbours(way: str) -> None:
    values, weight, bias = numbers(128, 70, 50)
    linear = QuantizedLinear(weight, bias, "gelu")
    with torch.inference_mode():
        found = linear(values)
        for token in (0, 1, 77, 127):
            assert torch.equal(linear(values[token : token + 1]), found[token : token + 1])


def test_values_in_any_order_in_memory(way: str) -> None:
    values, weight, bias = numbers(20, 30, 10)
    linear = QuantizedLinear(weight, bias)
    with torch.inference_mode():
        assert torch.allclose(linear(values.T.contiguous().T), linear(values), atol=1e-2)


def test_a_quarter_of_the_memory() -> None:
    assert QuantizedLinear(torch.randn(300, 200), torch.randn(300)).nbytes == 300 * 200 + 3 * 4 * 300


def test_what_it_cannot_take_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for weight, said in (
        (torch.randn(2, 3, dtype=torch.bfloat16), "these are bfloat16 on cpu"),
        (torch.randn(2, 3, device="meta"), "these are float32 on meta"),
    ):
        with pytest.raises(InputError, match=said):
            QuantizedLinear(weight, torch.randn(2))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(InputError, match="no products of int8"):
        QuantizedLinear(torch.randn(2, 3), torch.randn(2))


def test_fewer_levels_where_sums_would_be_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    product: Any = quantized._product

    def in_16_bits(values: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        return product(values, weight, scales).clamp(max=32 * 32767)  # type: ignore[no-any-return]

    monkeypatch.setattr(quantized, "_product", in_16_bits)
    levels.cache_clear()
    assert levels() == 127
    monkeypatch.undo()
    levels.cache_clear()
    assert levels() in (127, 255)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="asks oneDNN for processors of x86")
def test_older_processors_round_more_and_cut_nothing_off() -> None:
    code = """
import torch
from glassbert.infer.quantized import QuantizedLinear, levels
assert levels() == 127, levels()
with torch.inference_mode():
    found = QuantizedLinear(torch.full((32, 64), 1.0), torch.zeros(32))(torch.tensor([[0.0] + [1.0] * 63] * 40))
assert (found - 63.0).abs().max() < 1e-3, found
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
