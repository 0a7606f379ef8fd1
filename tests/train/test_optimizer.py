"""AdamW in all its forms against the formula written out, torch's, and by hand; states; clipping."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from glassbert import AdamW, BertConfig, BertForSequenceClassification, ConfigError, InputError, clip_gradients
from glassbert.train import get_linear_schedule_with_warmup, make_optimizer, moments

FORMS: list[dict[str, Any]] = [
    dict(zip(("correct_bias", "decay_first", "eps_after_correction"), switches, strict=True))
    for switches in itertools.product((True, False), repeat=3)
]
SETTINGS: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.3}


def parameters(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)) for shape in shapes]


def gradient(like: Tensor, step: int) -> Tensor:
    """Small enough for eps to count."""
    generator = torch.Generator().manual_seed(1000 + step)
    return (torch.randn(like.shape, generator=generator, dtype=torch.float64) * 1e-2).to(like.dtype)


def run(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: int, begin: int = 0) -> list[Tensor]:
    for step in range(begin, begin + steps):
        for weight in weights:
            weight.grad = gradient(weight, step)
        optimizer.step()
    return [weight.detach().clone() for weight in weights]


def written_out(
    weight: Tensor,
    steps: int,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    correct_bias: bool,
    decay_first: bool,
    eps_after_correction: bool,
) -> Tensor:
    """The formulas, one line each."""
    p, m, v = weight.detach().clone(), torch.zeros_like(weight), torch.zeros_like(weight)
    for step in range(steps):
        g = gradient(p, step)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        first, second = (1 - beta ** (step + 1) if correct_bias else 1.0 for beta in betas)
        if decay_first:
            p = p - lr * weight_decay * p
        if eps_after_correction:
            p = p - lr * (m / first) / ((v / second).sqrt() + eps)
        else:
            p = p - lr * math.sqrt(second) / first * m / (v.sqrt() + eps)
        if not decay_first:
            p = p - lr * weight_decay * p
    return p


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_is_its_formula(form: dict[str, Any]) -> None:
    weights = parameters((3, 5), (7,), (), dtype=torch.float64)
    expected = [written_out(weight, 12, **SETTINGS, **form) for weight in weights]
    found = run(AdamW(weights, **SETTINGS, **form), weights, 12)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 1e-13


def test_the_forms_differ() -> None:
    # Where the bias is not corrected, there is no other place for eps.
    ends = set()
    for form in FORMS:
        weights = parameters((4,), dtype=torch.float64)
        ends.add(tuple(run(AdamW(weights, **SETTINGS, **form), weights, 3)[0].mul(1e9).round().tolist()))
    assert len(ends) == 6


def test_one_step_by_hand() -> None:
    # The gradient is 2: m = 0.2, v = 0.004; the corrected step is 0.1 · 2 / 2, the other 0.1 · 0.2 / sqrt(0.004).
    settings: dict[str, Any] = {"lr": 0.1, "eps": 0.0, "weight_decay": 0.5}
    cases: list[tuple[dict[str, Any], float]] = [
        ({}, (1 - 0.1) * 0.95),
        ({"decay_first": True}, 0.95 - 0.1),
        ({"correct_bias": False}, (1 - 0.1 * math.sqrt(10)) * 0.95),
        ({"correct_bias": False, "decay_first": True}, 0.95 - 0.1 * math.sqrt(10)),
    ]
    for form, expected in cases:
        weight = nn.Parameter(torch.ones(1))
        weight.grad = torch.full((1,), 2.0)
        AdamW([weight], **settings, **form).step()
        assert weight.item() == pytest.approx(expected, abs=1e-6), form


def test_torchs_form_is_torchs() -> None:
    ours, theirs = (parameters((3, 5), (7,), dtype=torch.float64) for _ in range(2))
    found = run(AdamW(ours, **SETTINGS, decay_first=True, eps_after_correction=True), ours, 20)
    expected = run(torch.optim.AdamW(theirs, **SETTINGS), theirs, 20)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 1e-13


def test_the_defaults_are_those_of_4_4_2() -> None:
    assert AdamW(parameters((1,))).defaults == {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-6,
        "weight_decay": 0.0,
        "correct_bias": True,
        "decay_first": False,
        "eps_after_correction": False,
    }


def test_a_group_is_one_call_of_torchs_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, bool]] = []

    def counted(parameters: list[Tensor], *arguments: Any, **options: Any) -> None:
        calls.append((len(parameters), options["fused"]))
        adamw(parameters, *arguments, **options)

    monkeypatch.setattr(moments, "adamw", counted)
    weights = parameters((3, 5), (7,), (2,))
    run(AdamW([{"params": weights[:2]}, {"params": weights[2:]}]), weights, 2)
    assert calls == [(2, True), (1, True)] * 2


def test_devices_without_a_fused_kernel_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fused, other = (parameters((3, 5), (7,), dtype=torch.float64) for _ in range(2))
    expected = run(AdamW(fused, **SETTINGS), fused, 5)
    monkeypatch.setattr(moments, "_FUSED", ())
    for one, two in zip(run(AdamW(other, **SETTINGS), other, 5), expected, strict=True):
        assert (one - two).abs().max() < 1e-14


# Groups


def test_each_group_has_its_own_options() -> None:
    options: list[dict[str, Any]] = [
        {"lr": 0.1, "correct_bias": False},
        {"weight_decay": 0.0, "decay_first": True},
        {"betas": (0.5, 0.6)},
    ]
    weights = parameters((4,), (4,), (4,), dtype=torch.float64)
    usual = SETTINGS | FORMS[0] | {"decay_first": False}
    expected = [written_out(w, 6, **(usual | option)) for w, option in zip(weights, options, strict=True)]
    groups: list[dict[str, Any]] = [
        {"params": [weight], **option} for weight, option in zip(weights, options, strict=True)
    ]
    for one, other in zip(run(AdamW(groups, **usual), weights, 6), expected, strict=True):
        assert (one - other).abs().max() < 1e-13


def test_a_group_that_comes_later_counts_its_own_steps() -> None:
    early, late = parameters((4,), (4,), dtype=torch.float64)
    expected = [written_out(early, 5, **SETTINGS, **FORMS[0]), late.detach().clone()]
    optimizer = AdamW([early], **SETTINGS, **FORMS[0])
    run(optimizer, [early], 3)
    optimizer.add_param_group({"params": [late]})
    run(optimizer, [early, late], 2, begin=3)
    assert (early - expected[0]).abs().max() < 1e-13
    # Its first steps are corrected as first steps: by about lr each, whatever the gradient.
    alone = nn.Parameter(expected[1])
    run(AdamW([alone], **SETTINGS, **FORMS[0]), [alone], 2, begin=3)
    assert torch.equal(late, alone)


def test_parameters_of_one_group_may_be_at_different_steps() -> None:
    often, seldom = parameters((4,), (4,), dtype=torch.float64)
    begin = seldom.detach().clone()
    expected = written_out(often, 3, **SETTINGS, **FORMS[0])
    optimizer = AdamW([often, seldom], **SETTINGS, **FORMS[0])
    for step in range(3):
        often.grad, seldom.grad = gradient(often, step), gradient(seldom, 0) if step == 2 else None
        optimizer.step()
        if step < 2:
            assert torch.equal(seldom, begin)
            assert seldom not in optimizer.state
    assert (often - expected).abs().max() < 1e-13
    assert (seldom - written_out(begin, 1, **SETTINGS, **FORMS[0])).abs().max() < 1e-13


def test_named_parameters_are_taken() -> None:
    linear = nn.Linear(2, 1)
    assert AdamW(linear.named_parameters()).param_groups[0]["param_names"] == ["weight", "bias"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": math.nan}, "lr is nan"),
        ({"lr": "1e-3"}, "lr is '1e-3'"),
        ({"eps": -1e-8}, "eps is -1e-08"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"betas": (0.9, 1.0)}, "one of betas is 1.0"),
        ({"betas": (-0.1, 0.9)}, "one of betas is -0.1"),
        ({"betas": 0.9}, "betas is 0.9, expected two"),
        ({"correct_bias": 1}, "correct_bias is 1"),
        ({"decay_first": "yes"}, "decay_first is 'yes'"),
    ],
    ids=str,
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AdamW(parameters((1,)), **options)
    with pytest.raises(ConfigError, match=message):
        AdamW([{"params": parameters((1,)), **options}])


def test_a_misspelt_option_of_a_group_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no option 'weigth_decay'; known: lr, betas, eps, weight_decay"):
        AdamW([{"params": parameters((1,)), "weigth_decay": 0.1}])


def test_a_decay_of_more_than_all_is_refused_before_anything_changes() -> None:
    weights = parameters((2,), (2,))
    begin = [weight.detach().clone() for weight in weights]
    groups: list[dict[str, Any]] = [{"params": weights[:1]}, {"params": weights[1:], "weight_decay": 10.0}]
    optimizer = AdamW(groups, lr=0.1)
    with pytest.raises(ConfigError, match=r"lr · weight_decay is 0\.1 · 10\.0, expected less than 1"):
        run(optimizer, weights, 1)
    assert all(torch.equal(*pair) for pair in zip(weights, begin, strict=True))


def test_a_sparse_gradient_is_refused_before_anything_changes() -> None:
    table, other = nn.Embedding(5, 3, sparse=True), nn.Parameter(torch.ones(2))
    begin = table.weight.detach().clone()
    weights: list[Tensor] = [other, table.weight]
    optimizer = AdamW(weights)
    (table(torch.tensor([1, 2])).sum() + other.sum()).backward()
    with pytest.raises(InputError, match=r"shape \(5, 3\) is sparse.*sparse=False"):
        optimizer.step()
    assert torch.equal(table.weight, begin)
    assert torch.equal(other, torch.ones(2))
    assert not optimizer.state


# What it works together with


def test_a_closure_computes_the_gradients() -> None:
    weight = nn.Parameter(torch.tensor(3.0))
    optimizer = AdamW([weight], lr=0.5)

    def closure() -> float:
        optimizer.zero_grad()
        loss = weight**2
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 9.0
    assert weight.item() == pytest.approx(2.5, abs=1e-4)
    assert optimizer.step() is None


def test_schedules_set_its_rate_and_a_rate_of_zero_changes_no_weight() -> None:
    (weight,) = parameters((4,), dtype=torch.float64)
    begin = weight.detach().clone()
    optimizer = AdamW([weight], **SETTINGS)
    schedule = get_linear_schedule_with_warmup(optimizer, 2, 4)
    run(optimizer, [weight], 1)
    assert torch.equal(weight, begin)
    assert optimizer.state[weight]["exp_avg"].abs().min() > 0
    schedule.step()
    run(optimizer, [weight], 1, begin=1)
    assert optimizer.param_groups[0]["lr"] == SETTINGS["lr"] / 2
    assert 0 < (weight - begin).abs().max() < SETTINGS["lr"]


@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy", "file"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_goes_on_from_a_saved_state_to_the_bit(way: str, dtype: torch.dtype, tmp_path: Any) -> None:
    settings = SETTINGS | {"correct_bias": False, "decay_first": True}
    straight, halfway = (parameters((3, 5), (7,), dtype=dtype) for _ in range(2))
    reference = AdamW(straight, **settings)
    expected = run(reference, straight, 9)
    optimizer = AdamW(halfway, **settings)
    run(optimizer, halfway, 4)
    if way == "deepcopy":
        resumed = copy.deepcopy(optimizer)
    elif way == "pickle":
        resumed = pickle.loads(pickle.dumps(optimizer))
    else:
        resumed = AdamW([nn.Parameter(weight.detach().clone()) for weight in halfway], lr=77.0)
        state = optimizer.state_dict()
        if way == "file":
            torch.save(state, tmp_path / "state.pt")
            state = torch.load(tmp_path / "state.pt", weights_only=True)
        resumed.load_state_dict(state)
    weights = resumed.param_groups[0]["params"]
    for one, other in zip(run(resumed, weights, 5, begin=4), expected, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(weights, straight, strict=True):
        for name, value in reference.state[other].items():
            found = resumed.state[one][name]
            assert torch.equal(found, value) if isinstance(value, Tensor) else found == value


@pytest.mark.parametrize("turned", [False, True], ids=["contiguous", "turned"])
def test_it_goes_on_from_torchs_own_state(turned: bool) -> None:
    # A weight that is turned has moments that are, there.
    memory = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theirs = [nn.Parameter(memory.T if turned else memory)]
    peer = torch.optim.AdamW(theirs, **SETTINGS, foreach=False)
    run(peer, theirs, 4)
    ours = [nn.Parameter(theirs[0].detach().clone())]
    optimizer = AdamW(ours, decay_first=True, eps_after_correction=True)
    optimizer.load_state_dict(copy.deepcopy(peer.state_dict()))
    expected = run(peer, theirs, 3, begin=4)
    assert (run(optimizer, ours, 3, begin=4)[0] - expected[0]).abs().max() < 1e-14
    assert optimizer.state[ours[0]]["step"] == 7


@pytest.mark.parametrize("option", ["amsgrad", "maximize"])
def test_a_state_of_another_algorithm_is_refused(option: str) -> None:
    settings: dict[str, Any] = {option: True}
    peer = torch.optim.AdamW(parameters((2,)), **settings)
    with pytest.raises(ConfigError, match=f"{option} set"):
        AdamW(parameters((2,))).load_state_dict(peer.state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_short_floats_are_computed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    short = parameters((3, 5), dtype=dtype)
    whole = [nn.Parameter(short[0].detach().float())]
    ours, reference = AdamW(short, **SETTINGS), AdamW(whole, **SETTINGS)
    for step in range(5):
        short[0].grad = gradient(short[0], step)
        whole[0].grad = short[0].grad.float()
        with torch.no_grad():
            whole[0].copy_(short[0])
        ours.step()
        reference.step()
        assert torch.equal(short[0], whole[0].to(dtype))
        assert torch.equal(ours.state[short[0]]["exp_avg_sq"], reference.state[whole[0]]["exp_avg_sq"])
    assert ours.state[short[0]]["exp_avg"].dtype == torch.float32


def test_gradients_scaled_for_float16_are_unscaled_and_overflows_skipped() -> None:
    plain, scaled = (parameters((4,)) for _ in range(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    ours, reference = AdamW(scaled, **SETTINGS), AdamW(plain, **SETTINGS)
    for step, factor in enumerate((1024.0, math.inf)):
        scaler.scale(scaled[0].sum()).backward()  # so that the scaler knows its device
        scaled[0].grad = gradient(scaled[0], step) * factor
        scaler.step(ours)
        scaler.update()
    run(reference, plain, 1)
    assert (scaled[0] - plain[0]).abs().max() < 1e-7
    assert ours.state[scaled[0]]["step"] == 1


def test_weights_that_share_memory_with_others_are_changed_alone() -> None:
    # torch's fused kernel walks through memory, and changes the wrong numbers here.
    memory = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = memory.clone()
    weight = nn.Parameter(memory[:, :3])
    expected = written_out(weight, 3, **SETTINGS, **FORMS[0])
    run(AdamW([weight], **SETTINGS, **FORMS[0]), [weight], 3)
    assert (weight - expected).abs().max() < 1e-13
    assert weight.data_ptr() == memory.data_ptr()
    assert torch.equal(memory[:, 3:], before[:, 3:])


def test_a_weight_that_lies_otherwise_in_memory_is_computed_right() -> None:
    weight = nn.Parameter(torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).T)
    assert not weight.is_contiguous()
    usual = nn.Parameter(weight.detach().contiguous())
    ours, reference = AdamW([weight], **SETTINGS), AdamW([usual], **SETTINGS)
    assert torch.equal(run(ours, [weight], 3)[0], run(reference, [usual], 3)[0])
    assert torch.equal(ours.state[weight]["exp_avg"], reference.state[usual]["exp_avg"])


def test_a_gradient_that_lies_otherwise_in_memory_is_read_right() -> None:
    (weight,) = parameters((3, 5), dtype=torch.float64)
    expected = written_out(weight, 1, **SETTINGS, **FORMS[0])
    weight.grad = gradient(weight, 0).T.contiguous().T
    assert not weight.grad.is_contiguous()
    AdamW([weight], **SETTINGS, **FORMS[0]).step()
    assert (weight - expected).abs().max() < 1e-13


# The recipes' choice


def small() -> BertForSequenceClassification:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertForSequenceClassification(BertConfig(**sizes, intermediate_size=12, max_position_embeddings=8))


def test_recipes_take_torchs_fused_form_unless_told_otherwise() -> None:
    usual = make_optimizer(small(), learning_rate=1e-3, weight_decay=0.01)
    assert type(usual) is torch.optim.AdamW
    assert usual.defaults["fused"]
    assert usual.defaults["eps"] == 1e-6
    for form, switches in {
        "transformers": {"correct_bias": True, "decay_first": False},
        "google": {"correct_bias": False, "decay_first": True},
    }.items():
        optimizer = make_optimizer(
            small(),
            learning_rate=1e-3,
            weight_decay=0.01,
            optimizer=form,  # type: ignore[arg-type]
        )
        assert type(optimizer) is AdamW
        assert switches.items() <= optimizer.defaults.items()
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
        assert {group["lr"] for group in optimizer.param_groups} == {1e-3}
    with pytest.raises(ConfigError, match="optimizer is 'adam', expected one of torch, transformers, google, lamb"):
        make_optimizer(small(), learning_rate=1e-3, weight_decay=0.01, optimizer="adam")  # type: ignore[arg-type]


def test_recipes_pass_rates_by_part_on() -> None:
    optimizer = make_optimizer(
        small(), learning_rate=1.0, weight_decay=0.01, layer_decay=0.5, head_learning_rate=3.0, optimizer="transformers"
    )
    rates = [group["lr"] for group in optimizer.param_groups if group["weight_decay"]]
    assert rates == [0.0625, 0.125, 0.25, 0.5, 3.0]


# Clipping


class Holder(nn.Module):
    """Parameters with gradients."""

    def __init__(self, *gradients: Tensor) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.zeros_like(one) for one in gradients])
        for weight, one in zip(self.weights, gradients, strict=True):
            weight.grad = one

    def gradients(self) -> list[list[float]]:
        return [[] if weight.grad is None else weight.grad.tolist() for weight in self.weights]


def test_gradients_are_scaled_to_the_joint_norm() -> None:
    model = Holder(torch.tensor([3.0, 0.0]), torch.tensor([4.0]))
    assert clip_gradients(model, 10.0) == 5.0
    assert model.gradients() == [[3.0, 0.0], [4.0]]
    assert clip_gradients(model, 1.0) == 5.0
    assert model.gradients() == [[pytest.approx(0.6), 0.0], [pytest.approx(0.8)]]
    assert clip_gradients(model, math.inf) == pytest.approx(1.0)


def test_frozen_parameters_and_those_without_gradients_count_for_nothing() -> None:
    model = Holder(torch.tensor([3.0]), torch.tensor([400.0]), torch.tensor([1.0]))
    model.weights[1].requires_grad_(False)
    model.weights[2].grad = None
    assert clip_gradients(model, 1.5) == 3.0
    assert model.gradients() == [[pytest.approx(1.5)], [400.0], []]
    model.requires_grad_(False)
    assert clip_gradients(model, 1.0) == 0.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_norms_of_short_floats_are_whole(dtype: torch.dtype) -> None:
    # 300 · 300 · 1000 is past float16, and sqrt(1001) · 300 is no bfloat16.
    model = Holder(torch.full((1000,), 300.0, dtype=dtype), torch.full((1,), 300.0, dtype=torch.float32))
    expected = 300.0 * math.sqrt(1001)
    assert clip_gradients(model, 1.0) == pytest.approx(expected, rel=1e-6)
    assert model.weights[0].grad is not None
    assert model.weights[0].grad.dtype == dtype
    assert clip_gradients(model, 10.0) == pytest.approx(1.0, rel=4e-3)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_gradients_that_are_not_finite_stay_to_be_seen(value: float) -> None:
    model = Holder(torch.tensor([value, 5.0]), torch.tensor([7.0]))
    assert not math.isfinite(clip_gradients(model, 1.0))
    assert model.gradients()[1] == [7.0]


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan])
def test_a_bound_that_is_none_is_refused(bound: float) -> None:
    with pytest.raises(ConfigError, match="max_norm is"):
        clip_gradients(Holder(torch.ones(1)), bound)
