"""LAMB against its formula in numpy's float64, by hand, and in a run; groups, states, refusals."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glassbert import (
    AdamW,
    BertConfig,
    BertForSequenceClassification,
    ConfigError,
    InputError,
    Lamb,
    finetune,
    parameter_groups,
)
from glassbert.train import lamb as room
from glassbert.train import make_optimizer, moments
from tests.train.runs import make_model, outcome
from tests.train.test_resume import Cut, cut_after, settings

Numbers = NDArray[np.float64]
SETTINGS: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.3}


def parameters(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> list[nn.Parameter]:
    generator = np.random.default_rng(seed)
    return [nn.Parameter(torch.from_numpy(np.asarray(generator.normal(size=shape))).to(dtype)) for shape in shapes]


def gradient(shape: tuple[int, ...], step: int) -> Numbers:
    """Small enough for eps to count."""
    return np.asarray(np.random.default_rng(1000 + step).normal(scale=1e-2, size=shape))


def run(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: int, begin: int = 0) -> list[Tensor]:
    for step in range(begin, begin + steps):
        for weight in weights:
            weight.grad = torch.from_numpy(gradient(tuple(weight.shape), step)).to(weight.dtype)
        optimizer.step()
    return [weight.detach().clone() for weight in weights]


def written_out(weight: Tensor, steps: int, *, gradients: Numbers | None = None, **options: Any) -> Numbers:
    """Algorithm 2 of the paper, one line for each of its own."""
    p = weight.detach().double().numpy().copy()
    m, v = np.zeros_like(p), np.zeros_like(p)
    options = {"correct_bias": True, "adapted": True, **options}
    for step in range(steps):
        g = gradient(p.shape, step) if gradients is None else gradients
        m = options["betas"][0] * m + (1 - options["betas"][0]) * g
        v = options["betas"][1] * v + (1 - options["betas"][1]) * g**2
        first, second = (1 - beta ** (step + 1) if options["correct_bias"] else 1.0 for beta in options["betas"])
        u = (m / first) / (np.sqrt(v / second) + options["eps"]) + options["weight_decay"] * p
        length, other = np.sqrt(np.sum(p**2)), np.sqrt(np.sum(u**2))
        ratio = length / other if options["adapted"] and length > 0 and other > 0 else 1.0
        p = p - options["lr"] * ratio * u
    return np.asarray(p)


def distance(one: Tensor, other: Numbers) -> float:
    return float(np.abs(one.detach().double().numpy() - other).max())


@pytest.mark.parametrize("adapted", [True, False])
@pytest.mark.parametrize("correct_bias", [True, False])
def test_it_is_the_formula(correct_bias: bool, adapted: bool) -> None:
    weights = parameters((3, 5), (7,), ())
    options = {**SETTINGS, "correct_bias": correct_bias, "adapted": adapted}
    expected = [written_out(weight, 12, **options) for weight in weights]
    for one, other in zip(run(Lamb(weights, **options), weights, 12), expected, strict=True):
        assert distance(one, other) < 1e-13


def test_the_options_make_a_difference() -> None:
    ends = set()
    for options in ({}, {"correct_bias": False}, {"adapted": False}, {"weight_decay": 0.0}, {"eps": 0.0}):
        weights = parameters((4,))
        ends.add(tuple(run(Lamb(weights, **{**SETTINGS, **options}), weights, 3)[0].mul(1e9).round().tolist()))
    assert len(ends) == 5


def test_one_step_by_hand() -> None:
    # The corrected direction is the gradient's signs, (1, -1); half of (3, 4) makes that (2.5, 1), of length √7.25.
    weight = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    weight.grad = torch.tensor([0.2, -0.7], dtype=torch.float64)
    Lamb([weight], lr=0.1, eps=0.0, weight_decay=0.5).step()
    share = 0.1 * 5 / math.sqrt(7.25)
    assert weight.tolist() == pytest.approx([3 - share * 2.5, 4 - share * 1.0], abs=1e-12)


def test_a_step_is_as_long_as_the_rate_says_whatever_the_gradients_size() -> None:
    for scale in (1e-3, 1.0, 1e3):
        (weight,) = parameters((6, 4))
        begin = weight.detach().clone()
        weight.grad = torch.from_numpy(gradient((6, 4), 0)) * scale
        Lamb([weight], lr=0.02).step()
        assert float((weight.detach() - begin).norm() / begin.norm()) == pytest.approx(0.02, rel=1e-12)


def test_what_is_zero_has_the_ratio_one() -> None:
    fresh = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    still, decayed, empty = (nn.Parameter(torch.ones(n, dtype=torch.float64)) for n in (4, 4, 0))
    groups: list[dict[str, Any]] = [{"params": [fresh, still, empty]}, {"params": [decayed], "weight_decay": 0.5}]
    # Without a gradient there has to be something under the fraction.
    optimizer = Lamb(groups, lr=0.1, eps=1e-12)
    fresh.grad = torch.tensor([0.5, -2.0, 7.0], dtype=torch.float64)
    still.grad, decayed.grad, empty.grad = (torch.zeros_like(one) for one in (still, decayed, empty))
    optimizer.step()
    assert fresh.tolist() == pytest.approx([-0.1, 0.1, -0.1])
    assert still.tolist() == [1.0] * 4
    # Decay alone is a direction too, and the step is as long as the rate says.
    assert decayed.tolist() == pytest.approx([0.9] * 4)


@pytest.mark.parametrize("correct_bias", [True, False])
def test_weights_and_gradients_that_are_zero_are_the_formulas_too(correct_bias: bool) -> None:
    options = {**SETTINGS, "correct_bias": correct_bias}
    fresh, still = nn.Parameter(torch.zeros(4, 3, dtype=torch.float64)), parameters((5,))[0]
    expected = written_out(fresh, 6, **options), written_out(still, 6, gradients=np.zeros(5), **options)
    optimizer = Lamb([fresh, still], **options)
    for step in range(6):
        fresh.grad, still.grad = torch.from_numpy(gradient((4, 3), step)), torch.zeros_like(still)
        optimizer.step()
    assert distance(fresh, expected[0]) < 1e-13
    assert distance(still, expected[1]) < 1e-13


def test_the_usual_options() -> None:
    assert Lamb(parameters((1,))).defaults == {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-6,
        "weight_decay": 0.0,
        "correct_bias": True,
        "adapted": True,
    }


def test_what_is_not_adapted_steps_as_torchs_adamw() -> None:
    ours, theirs = parameters((3, 5), (7,)), parameters((3, 5), (7,))
    found = run(Lamb(ours, **SETTINGS, adapted=False), ours, 20)
    expected = run(torch.optim.AdamW(theirs, **SETTINGS), theirs, 20)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 1e-13


def test_float32_is_as_near_as_float32_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    # The larger one's squares are summed in several parts.
    monkeypatch.setattr(room, "_SUMMED", 1000)
    weights = parameters((90, 70), (7,), dtype=torch.float32)
    expected = [written_out(weight, 12, **SETTINGS) for weight in weights]
    for one, other in zip(run(Lamb(weights, **SETTINGS), weights, 12), expected, strict=True):
        assert distance(one, other) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_how_many_are_computed_together_changes_nothing(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = ((3, 5), (7,), (30,), (2,), (), (40, 2))
    ends = []
    for most in (1, 16, 40, 10**6):
        monkeypatch.setitem(room._TOGETHER, "cpu", most)
        weights = parameters(*shapes, dtype=dtype)
        ends.append(run(Lamb(weights, **SETTINGS), weights, 3))
    for end in ends[1:]:
        assert all(torch.allclose(one, other, rtol=1e-6) for one, other in zip(end, ends[0], strict=True))


def test_devices_without_a_fused_kernel_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = parameters((3, 5), (7,))
    expected = [written_out(weight, 5, **SETTINGS) for weight in weights]
    monkeypatch.setattr(moments, "_FUSED", ())
    for one, other in zip(run(Lamb(weights, **SETTINGS), weights, 5), expected, strict=True):
        assert distance(one, other) < 1e-13


# Groups


def test_each_group_has_its_own_options() -> None:
    options: list[dict[str, Any]] = [
        {"lr": 0.1, "correct_bias": False},
        {"weight_decay": 0.0, "adapted": False},
        {"betas": (0.5, 0.6)},
    ]
    weights = parameters((4,), (4,), (4,))
    expected = [written_out(w, 6, **(SETTINGS | option)) for w, option in zip(weights, options, strict=True)]
    groups: list[dict[str, Any]] = [{"params": [w], **option} for w, option in zip(weights, options, strict=True)]
    for one, other in zip(run(Lamb(groups, **SETTINGS), weights, 6), expected, strict=True):
        assert distance(one, other) < 1e-13


def small() -> BertForSequenceClassification:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertForSequenceClassification(BertConfig(**sizes, intermediate_size=12, max_position_embeddings=8))


@pytest.mark.parametrize("weight_decay", [0.01, 0.0])
def test_recipes_adapt_all_but_biases_and_layer_norm(weight_decay: float) -> None:
    model = small()
    optimizer = make_optimizer(model, learning_rate=1e-3, weight_decay=weight_decay, optimizer="lamb")
    assert type(optimizer) is Lamb
    adapted = {id(p): group["adapted"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert adapted[id(parameter)] is not name.endswith(("bias", "LayerNorm.weight")), name


def test_rates_by_depth_and_adaptation_go_together() -> None:
    groups = parameter_groups(small(), 0.01, learning_rate=1.0, layer_decay=0.5, adaptation=True)
    assert [(group["lr"], group["adapted"]) for group in groups[:4]] == [
        (0.0625, True),
        (0.0625, False),
        (0.125, True),
        (0.125, False),
    ]
    assert not any("adapted" in group for group in parameter_groups(small(), 0.01))
    with pytest.raises(ConfigError, match="no option 'adapted'"):
        AdamW(groups)
    with pytest.raises(ConfigError, match="adaptation is 1"):
        parameter_groups(small(), 0.01, adaptation=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr is -1.0"),
        ({"eps": math.nan}, "eps is nan"),
        ({"weight_decay": "0.1"}, "weight_decay is '0.1'"),
        ({"betas": (0.9, 1.0)}, "one of betas is 1.0"),
        ({"correct_bias": None}, "correct_bias is None"),
        ({"adapted": 1}, "adapted is 1"),
    ],
    ids=str,
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Lamb(parameters((1,)), **options)
    with pytest.raises(ConfigError, match=message):
        Lamb([{"params": parameters((1,)), **options}])


def test_a_misspelt_option_of_a_group_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no option 'decay_first'; known: lr, betas, eps, weight_decay"):
        Lamb([{"params": parameters((1,)), "decay_first": True}])


def test_what_cannot_be_computed_is_refused_before_anything_changes() -> None:
    table, other = nn.Embedding(5, 3, sparse=True), nn.Parameter(torch.ones(2))
    begin = table.weight.detach().clone()
    weights: list[Tensor] = [other, table.weight]
    optimizer = Lamb(weights)
    (table(torch.tensor([1, 2])).sum() + other.sum()).backward()
    with pytest.raises(InputError, match=r"shape \(5, 3\) is sparse, and Lamb's moments.*sparse=False"):
        optimizer.step()
    assert torch.equal(table.weight, begin)
    assert torch.equal(other, torch.ones(2))
    assert not optimizer.state
    with pytest.raises(ConfigError, match=r"lr · weight_decay is 0\.1 · 10\.0"):
        Lamb([other], lr=0.1, weight_decay=10.0).step()
    assert torch.equal(other, torch.ones(2))


# What it works together with


def test_a_closure_computes_the_gradients() -> None:
    weight = nn.Parameter(torch.tensor([3.0]))
    optimizer = Lamb([weight], lr=0.5)

    def closure() -> float:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 9.0
    assert weight.item() == pytest.approx(1.5)
    assert optimizer.step() is None


@pytest.mark.parametrize("way", ["file", "memory", "copy", "pickle"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_saved_state_goes_on_with_the_same_bits(way: str, dtype: torch.dtype, tmp_path: Path) -> None:
    def made(weights: list[nn.Parameter], lr: float) -> Lamb:
        groups: list[dict[str, Any]] = [{"params": weights[:2]}, {"params": weights[2:], "adapted": False}]
        return Lamb(groups, lr=lr, weight_decay=0.1)

    straight, halfway = (parameters((3, 5), (7,), (2,), dtype=dtype) for _ in range(2))
    expected = run(made(straight, 0.01), straight, 9)
    optimizer = made(halfway, 0.01)
    run(optimizer, halfway, 4)
    if way in ("copy", "pickle"):
        resumed = copy.deepcopy(optimizer) if way == "copy" else pickle.loads(pickle.dumps(optimizer))
    else:
        resumed = made([nn.Parameter(weight.detach().clone()) for weight in halfway], 0.5)
        state = optimizer.state_dict()
        if way == "file":
            torch.save(state, tmp_path / "state.pt")
            state = torch.load(tmp_path / "state.pt", weights_only=True)
        resumed.load_state_dict(state)
    weights = [weight for group in resumed.param_groups for weight in group["params"]]
    for one, other in zip(run(resumed, weights, 5, begin=4), expected, strict=True):
        assert torch.equal(one, other)
    assert [group["adapted"] for group in resumed.param_groups] == [True, False]


@pytest.mark.parametrize("option", ["amsgrad", "maximize"])
def test_a_state_of_another_algorithm_is_refused(option: str) -> None:
    changes: dict[str, Any] = {option: True}
    peer = torch.optim.AdamW(parameters((2,)), **changes)
    with pytest.raises(ConfigError, match=f"{option} set, which Lamb does not have"):
        Lamb(parameters((2,))).load_state_dict(peer.state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_short_floats_are_computed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    short = parameters((3, 5), dtype=dtype)
    whole = [nn.Parameter(short[0].detach().float())]
    ours, reference = Lamb(short, **SETTINGS), Lamb(whole, **SETTINGS)
    for step in range(5):
        short[0].grad = torch.from_numpy(gradient((3, 5), step)).to(dtype)
        whole[0].grad = short[0].grad.float()
        with torch.no_grad():
            whole[0].copy_(short[0])
        ours.step()
        reference.step()
        assert torch.equal(short[0], whole[0].to(dtype))
    assert ours.state[short[0]]["exp_avg"].dtype == torch.float32
    assert torch.equal(ours.state[short[0]]["exp_avg_sq"], reference.state[whole[0]]["exp_avg_sq"])


def test_weights_that_lie_otherwise_in_memory_are_computed_right() -> None:
    memory = parameters((4, 6))[0].detach()
    before = memory.clone()
    part, turned = nn.Parameter(memory[:, :3]), nn.Parameter(parameters((3, 5), seed=1)[0].detach().T)
    expected = [written_out(weight, 3, **SETTINGS) for weight in (part, turned)]
    for one, other in zip(run(Lamb([part, turned], **SETTINGS), [part, turned], 3), expected, strict=True):
        assert distance(one, other) < 1e-13
    assert part.data_ptr() == memory.data_ptr()
    assert torch.equal(memory[:, 3:], before[:, 3:])


def test_gradients_are_left_as_they_were() -> None:
    weights = parameters((3, 5), (7,), dtype=torch.float32)
    run(Lamb(weights, **SETTINGS), weights, 1)
    for weight in weights:
        assert weight.grad is not None
        assert torch.equal(weight.grad, torch.from_numpy(gradient(tuple(weight.shape), 0)).float())


# It learns


def test_it_learns_from_few_steps_of_big_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8192, 12, generator=generator)
    labels = (inputs[:, :6].sum(1) > inputs[:, 6:].square().mean(1)).long()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = Lamb(parameter_groups(model, 0.01, adaptation=True), lr=0.05)
    losses = []
    for place in range(60):
        batch = slice(4096 * (place % 2), 4096 * (place % 2 + 1))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 0.6
    assert losses[-1] < 0.2


def test_a_run_that_was_cut_off_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    make_model(tmp_path)
    base, changes = tmp_path / "base", {"optimizer": "lamb", "epochs": 2}
    whole = finetune(settings(base, "whole", **changes))
    with pytest.raises(Cut):
        finetune(settings(base, "cut", save_every=2, **changes), on_event=cut_after(5))
    finetune(settings(base, "cut", save_every=2, resume=True, **changes))
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
    adamw = finetune(settings(base, "adamw", **changes | {"optimizer": "torch"}))
    assert [step.loss for step in adamw.history] != [step.loss for step in whole.history]
