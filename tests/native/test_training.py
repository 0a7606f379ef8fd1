"""A model trains with the kernels as it does without, and what they cannot do is left to torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from glassbert import BertConfig, BertForSequenceClassification, InputError, native
from glassbert.model import ACT2FN, ATTENTION, Packed
from glassbert.model.dropout import dropout

needs_kernels = pytest.mark.skipif(not native.available, reason="the kernels were not built")

LENGTHS = [1, 4, 4, 9, 20]
MASK = torch.arange(20) < torch.tensor(LENGTHS)[torch.tensor([2, 0, 4, 3, 1])][:, None]


def small(**options: Any) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=20,
        **options,
    )
    return BertForSequenceClassification(config).train()


def step(model: BertForSequenceClassification) -> list[Tensor]:
    torch.manual_seed(7)
    model.zero_grad()
    ids = torch.arange(5 * 20).view(5, 20) % 50
    output = model(ids, MASK.long(), labels=torch.tensor([0, 1, 1, 0, 1]))
    assert output.loss is not None
    output.loss.backward()
    found = [parameter.grad for parameter in model.parameters()]
    return [output.logits.detach(), *(gradient for gradient in found if gradient is not None)]


@needs_kernels
def test_without_dropout_both_give_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    found = step(model)
    monkeypatch.setattr(native, "available", False)
    expected = step(model)
    assert not all(map(torch.equal, found, expected))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


@needs_kernels
def test_the_seed_decides_and_threads_do_not() -> None:
    model, before = small(), torch.get_num_threads()
    found = step(model)
    assert all(map(torch.equal, found, step(model)))
    try:
        torch.set_num_threads(before + 1)
        torch.manual_seed(7)
        again = dropout(torch.ones(100_000), 0.3)
        torch.set_num_threads(1)
        torch.manual_seed(7)
        assert torch.equal(again, dropout(torch.ones(100_000), 0.3))
    finally:
        torch.set_num_threads(before)
    torch.manual_seed(8)
    assert not torch.equal(dropout(torch.ones(100_000), 0.3), again)


@needs_kernels
def test_the_model_uses_them_where_it_trains_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []

    def counted(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            used.append(name)
            return kernel(*arguments)

        return count

    for name in ("gelu", "gelu_backward", "dropout", "attend", "attend_backward"):
        monkeypatch.setattr(native, name, counted(name, getattr(native, name)))
    model = small()
    step(model)
    # Two layers; dropout after the embeddings, twice in each of them and before the classifier.
    wanted = {"gelu": 2, "gelu_backward": 2, "dropout": 12, "attend": 2, "attend_backward": 2}
    assert {name: used.count(name) for name in used} == wanted
    used.clear()
    with torch.no_grad():
        model.eval()(torch.ones(2, 5, dtype=torch.int64))
    assert used == []


@needs_kernels
@pytest.mark.parametrize("first_only", [False, True])
def test_attention_without_dropout_is_torch_s(first_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Packed.from_mask(MASK)
    layout = layout.narrow_to_first() if first_only else layout
    generator = torch.Generator().manual_seed(0)
    count = sum(LENGTHS)
    query = torch.randn(len(LENGTHS) if first_only else count, 3, 8, generator=generator).requires_grad_()
    key, value = (torch.randn(count, 3, 8, generator=generator).requires_grad_() for _ in range(2))
    found, _ = ATTENTION["packed"](query, key, value, layout, dropout=0.0)
    monkeypatch.setattr(native, "available", False)
    expected, _ = ATTENTION["packed"](query, key, value, layout, dropout=0.0)
    assert torch.allclose(found, expected, atol=1e-6)
    # A gradient that is one number in memory, as that of a sum is.
    for one, other in zip(
        torch.autograd.grad(found.sum(), (query, key, value)),
        torch.autograd.grad(expected.sum(), (query, key, value)),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("first_only", [False, True])
def test_several_gradients_of_attention_at_once(first_only: bool) -> None:
    layout = Packed.from_mask(MASK)
    layout = layout.narrow_to_first() if first_only else layout
    count = sum(LENGTHS)
    query, key, value = (torch.randn(len(LENGTHS) if first_only and not n else count, 3, 8) for n in range(3))
    given = [tensor.requires_grad_() for tensor in (query, key, value)]
    found, _ = ATTENTION["packed"](query, key, value, layout, dropout=0.0)
    seeds = torch.randn(2, *found.shape)
    many = torch.autograd.grad(found, given, seeds, is_grads_batched=True, retain_graph=True)
    for number, seed in enumerate(seeds):
        for one, other in zip(many, torch.autograd.grad(found, given, seed, retain_graph=True), strict=True):
            assert torch.allclose(one[number], other, atol=1e-5)
    dropped, _ = ATTENTION["packed"](query, key, value, layout, dropout=0.5)
    with pytest.raises(InputError, match="one gradient at a time"):
        torch.autograd.grad(dropped, given, seeds, is_grads_batched=True)


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@needs_kernels
def test_what_they_take() -> None:
    plain = torch.ones(4, 6)
    assert native.takes(plain, torch.nn.Parameter(plain))
    for other in (
        plain.double(),
        plain.T,
        plain[:, ::2],
        plain[:0],
        plain.to("meta"),
        plain.to_sparse(),
        torch._efficientzerotensor(4, 6),
        torch.nn.Buffer(plain).as_subclass(type("Other", (Tensor,), {})),
    ):
        assert not native.takes(plain, other)
    with Watching():  # type: ignore[no-untyped-call]
        assert not native.takes(plain)
    seen = []

    def look(row: Tensor) -> Tensor:
        seen.append(native.takes(plain))
        return row

    torch.func.vmap(look)(plain)
    assert seen == [False]


@needs_kernels
def test_gelu_can_be_differentiated_as_before() -> None:
    gelu = ACT2FN["gelu"]
    values, seeds = torch.linspace(-3, 3, 50).requires_grad_(), torch.rand(50).requires_grad_()
    (first,) = torch.autograd.grad(gelu(values), values, seeds, create_graph=True)
    (expected,) = torch.autograd.grad(F.gelu(values), values, seeds, create_graph=True)
    assert torch.allclose(first, expected, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad(first.sum(), (values, seeds)),
        torch.autograd.grad(expected.sum(), (values, seeds)),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-6)
    batched = torch.rand(3, 50)
    (many,) = torch.autograd.grad(gelu(values), values, batched, is_grads_batched=True)
    (slope,) = torch.autograd.grad(gelu(values).sum(), values)
    assert torch.allclose(many, batched * slope, atol=1e-6)


@needs_kernels
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, where it begins
def test_gelu_in_forward_mode() -> None:
    values, tangent = torch.linspace(-3, 3, 50).requires_grad_(), torch.rand(50)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(ACT2FN["gelu"](forward_ad.make_dual(values, tangent))).tangent
        expected = forward_ad.unpack_dual(F.gelu(forward_ad.make_dual(values, tangent))).tangent
    assert found is not None
    assert torch.allclose(found, expected, atol=1e-6)


@needs_kernels
def test_dropout_of_batched_gradients_drops_alike() -> None:
    values = torch.ones(50, requires_grad=True)
    found = dropout(values, 0.5)
    (many,) = torch.autograd.grad(found, values, torch.ones(3, 50), is_grads_batched=True)
    assert torch.equal(many, found.detach().expand(3, 50))


WITHOUT = """
import torch
from glassbert import native
from tests.native.test_training import small, step
assert not native.available
assert not native.takes(torch.ones(3))
print(all(gradient.isfinite().all() for gradient in step(small())))
"""


def test_a_model_trains_where_they_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSBERT_NATIVE", "0")
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
