"""Dropout by draws: the rates, the scale, the seed, and what falls back to torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from glassbert import native
from glassbert.model import BertConfig, BertForSequenceClassification
from glassbert.model.dropout import Dropout, drawable, dropout, rate_of

COUNT = 1_000_000


@pytest.fixture(params=["kernels", "torch"], autouse=True)
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(native, "available", False)
    elif not native.available:
        pytest.skip("the kernels were not built")


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.25, 0.5, 0.9, 0.999])
def test_the_share_that_is_dropped_is_the_rate(rate: float) -> None:
    torch.manual_seed(0)
    found = dropout(torch.ones(COUNT), rate)
    assert found.unique().tolist() == [0.0, pytest.approx(1 / (1 - rate), rel=1e-2)]
    dropped = float((found == 0.0).double().mean())
    assert dropped == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / COUNT) + 2**-17)


@pytest.mark.parametrize("rate", [0.1, 0.3, 1 / 3])
def test_the_mean_is_exact(rate: float) -> None:
    # Of all 65,536 draws, so many are kept, times the scale: one.
    rounded = rate_of(rate)
    assert (32_768 - rounded.least) / 65_536 * rounded.scale == pytest.approx(1.0, abs=1e-12)
    assert 1 - 1 / rounded.scale == pytest.approx(rate, abs=2**-17)


def test_neighbours_are_dropped_independently() -> None:
    # Four numbers share a word of the generator; at distances 1 to 8 both are dropped with probability rate².
    torch.manual_seed(0)
    gone = dropout(torch.ones(COUNT), 0.3) == 0.0
    for distance in range(1, 9):
        both = float((gone[distance:] & gone[:-distance]).double().mean())
        assert both == pytest.approx(0.09, abs=5 * math.sqrt(0.09 * 0.91 / COUNT)), distance


def test_the_gradient_goes_where_the_number_went() -> None:
    values = torch.rand(37, 5, dtype=torch.float64).add(0.5).requires_grad_()
    factors = torch.rand(37, 5, dtype=torch.float64)
    found = dropout(values, 0.4)
    found.backward(factors)
    assert values.grad is not None
    assert torch.allclose(values.grad, found.detach() / values.detach() * factors)


def test_the_gradient_has_a_gradient() -> None:
    values = torch.rand(9, requires_grad=True)
    seeds = torch.rand(9, requires_grad=True)
    (first,) = torch.autograd.grad(dropout(values, 0.5), values, seeds, create_graph=True)
    first.sum().backward()
    assert seeds.grad is not None
    assert set(seeds.grad.tolist()) <= {0.0, 2.0}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, where it begins
def test_forward_mode() -> None:
    values, tangent = torch.rand(50).add(0.5), torch.rand(50)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(dropout(forward_ad.make_dual(values, tangent), 0.5))
        assert found.tangent is not None
        assert torch.allclose(found.tangent, found.primal / values * tangent)


def test_the_seed_decides() -> None:
    torch.manual_seed(3)
    one, other = dropout(torch.ones(100), 0.5), dropout(torch.ones(100), 0.5)
    assert not torch.equal(one, other)
    torch.manual_seed(3)
    assert torch.equal(dropout(torch.ones(100), 0.5), one)
    assert torch.equal(dropout(torch.ones(100), 0.5), other)


@pytest.mark.parametrize(
    ("values", "rate"),
    [
        (torch.ones(0), 0.5),
        (torch.ones(3, device="meta"), 0.5),
        (torch.ones(3), 1.0),
        (torch.ones(3), 1e-5),
    ],
)
def test_what_draws_cannot_decide_is_left_to_torch(values: torch.Tensor, rate: float) -> None:
    assert not drawable(values, rate)
    assert dropout(values, rate).shape == values.shape


def test_functional_transforms_are_left_to_torch() -> None:
    torch.manual_seed(0)
    found = torch.func.vmap(lambda row: dropout(row, 0.5), randomness="different")(torch.ones(2, 50))
    assert not torch.equal(found[0], found[1])


def test_the_module_is_torch_s_but_for_speed() -> None:
    module = Dropout(0.5)
    values = torch.ones(50)
    assert isinstance(module, nn.Dropout)
    assert repr(module) == repr(nn.Dropout(0.5))
    assert module.eval()(values) is values
    module.train().inplace = True
    assert module(values) is values
    assert 0.0 in values


def test_all_places_of_a_model_have_it() -> None:
    config = BertConfig(
        vocab_size=9,
        hidden_size=4,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=4,
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        classifier_dropout=0.4,
    )
    found = {
        name: module.p
        for name, module in BertForSequenceClassification(config).named_modules()
        if isinstance(module, Dropout)
    }
    layers = {
        f"bert.encoder.layer.{layer}.{name}": rate
        for layer in range(2)
        for name, rate in (("attention.self.dropout", 0.3), ("attention.output.dropout", 0.2), ("output.dropout", 0.2))
    }
    assert found == {"bert.embeddings.dropout": 0.2, **layers, "dropout": 0.4}
