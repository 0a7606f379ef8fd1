"""The kernels in C against float64, for every level of processor that this one is, and their random bits."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert import native
from glassbert.native import Dropping, Sequences
from tests.native.decisions import attention_draws, draws

if not native.available:
    pytest.skip("the kernels were not built", allow_module_level=True)
kernels: Any = native._kernels
LEVELS: list[str] = kernels.levels()
TENTH = Dropping(0x1234_5678_9ABC_DEF0, 6554, 65536 / (65536 - 6554))


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    kernels.use_level(request.param)
    yield request.param
    kernels.use_level(LEVELS[-1])


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def erf_share(values: Tensor) -> Tensor:
    share: Tensor = 0.5 * (1 + torch.special.erf(values / math.sqrt(2)))
    return share


def slope(values: Tensor) -> Tensor:
    return erf_share(values) + values * torch.exp(-values * values / 2) / math.sqrt(2 * math.pi)


def test_levels() -> None:
    assert LEVELS[0] == "plain"
    with pytest.raises(ValueError, match="this processor has no level v9"):
        kernels.use_level("v9")


def test_gelu_is_exact(level: str) -> None:
    values = torch.linspace(-10, 10, 2_000_001)
    exact = values.double() * erf_share(values.double())
    found = native.gelu(values).double()
    assert float((found - exact).abs().max()) <= 5e-7  # one unit of the last place at 8
    inner = values.abs() > 1e-3
    share = found[inner] / values[inner].double()
    assert float((2 * share - 1 - torch.special.erf(values[inner].double() / math.sqrt(2))).abs().max()) <= 2.5e-7
    by_one = native.gelu_backward(values, torch.ones_like(values)).double()
    assert float((by_one - slope(values.double())).abs().max()) <= 2.5e-7
    gradient = torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(native.gelu_backward(values, gradient), gradient * by_one.float())


def test_gelu_of_tiny_and_huge_and_no_numbers(level: str) -> None:
    values = torch.tensor([0.0, -0.0, 1e-40, -1e-40, 1e-30, 30.0, -30.0, 1e30, -1e30, math.inf, -math.inf, math.nan])
    # As lanes of a vector and beyond its end.
    for copies in (1, 7):
        given = values.repeat(copies)
        found = native.gelu(given)[-12:]
        assert found[:5].tolist() == (values[:5] * 0.5).tolist()
        assert torch.equal(found[:2].signbit(), values[:2].signbit())
        assert found[5:9].tolist() == [30.0, 0.0, values[7], 0.0]
        assert found[9] == math.inf
        assert found[11].isnan()
        by_one = native.gelu_backward(given, torch.ones_like(given))[-12:]
        assert by_one[:9].tolist() == [0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 0.0, 1.0, 0.0]
        assert by_one[11].isnan()
        assert native.gelu_backward(given, torch.full_like(given, math.nan)).isnan().all()


@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 31, 32, 33, 8_191, 8_193, 100_003])
def test_no_length_leaves_a_number_out(count: int, level: str) -> None:
    whole = torch.linspace(-4, 4, 100_032)
    values = whole[:count]
    # What stands behind the end of a tensor stays as it is.
    for found, expected in (
        (native.gelu(values), native.gelu(whole)),
        (native.gelu_backward(values, values), native.gelu_backward(whole, whole)),
        (native.dropout(values, TENTH), native.dropout(whole, TENTH)),
    ):
        assert torch.allclose(found, expected[:count], rtol=1e-6, atol=1e-7)
    memory = torch.full((count + 64,), 7.0)
    kernels.dropout(values.data_ptr(), memory.data_ptr(), count, *TENTH, 1)
    assert (memory[count:] == 7.0).all()


@pytest.mark.parametrize("dropped", [64, 6554, 32768, 65472])
@pytest.mark.parametrize("seed", [0, 1, TENTH.seed, 2**64 - 1])
def test_what_is_dropped_is_what_the_bits_say(seed: int, dropped: int, level: str) -> None:
    values = torch.rand(5_000).add(0.5)
    found = native.dropout(values, Dropping(seed, dropped, 2.0))
    kept = torch.from_numpy(draws(seed, 5_000) >= dropped)
    assert torch.equal(found, torch.where(kept, 2.0 * values, 0.0))


def test_draws_are_even_and_independent() -> None:
    count = 1 << 20
    some = draws(TENTH.seed, count)
    seen = np.bincount(some >> 8, minlength=256)  # chi-squared with 255 degrees of freedom: mean 255, deviation 22.6
    assert ((seen - count / 256) ** 2).sum() / (count / 256) < 255 + 5 * 22.6
    assert abs(float((some & 1).mean()) - 0.5) < 5 / math.sqrt(4 * count)
    others = [draws(TENTH.seed + step, count) for step in (1, 2, 1 << 16, 1 << 32, 3 << 32)]
    # Neighbours, the two halves of a word, blocks beside each other, rows of attention; and near seeds.
    pairs = [(some[distance:], some[:-distance]) for distance in (1, 2, 3, 4, 8, 15, 16, 17, 32, 64, 512, 8192)]
    pairs += [(some, other) for other in others]
    for one, other in pairs:
        for dropped in (6554, 32768):
            rate = dropped / 65536
            both = float(((one < dropped) & (other < dropped)).mean())
            assert both == pytest.approx(rate**2, abs=5 * math.sqrt(rate**2 * (1 - rate**2) / len(one)))


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_hand(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], kept: list[Tensor] | None, scale: float
) -> Tensor:
    contexts, begin = [], 0
    for number, length in enumerate(lengths):
        rows = slice(begin, begin + length)
        asked = rows if len(query) == len(key) else slice(number, number + 1)
        scores = torch.einsum("qad,kad->aqk", query[asked], key[rows]) / math.sqrt(query.shape[-1])
        weights = scores.softmax(dim=-1)
        weights = weights if kept is None else weights * kept[number] * scale
        contexts.append(torch.einsum("aqk,kad->qad", weights, value[rows]))
        begin += length
    return torch.cat(contexts)


def sequences(lengths: list[int], *, first_only: bool = False) -> Sequences:
    return Sequences(F.pad(torch.tensor(lengths).cumsum(0), (1, 0)), lengths[-1], first_only)


SHAPES: dict[str, tuple[list[int], int, int]] = {
    "one token": ([1], 1, 32),
    "every small length": (list(range(1, 36)), 2, 32),
    "equal": ([24] * 3, 3, 64),
    "one row of heads": ([5, 48], 12, 8),
    "odd sizes": ([2, 17, 33], 3, 20),
    "size one": ([3, 16], 2, 1),
    "wide": ([7, 49], 2, 128),
    "long": ([31, 257], 2, 32),
    "very long": ([600], 1, 64),
}


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_attention_and_its_gradients_are_those_of_the_formula(
    shape: tuple[list[int], int, int], first_only: bool, rate: float, level: str
) -> None:
    lengths, heads, size = shape
    tokens, asked = sum(lengths), len(lengths) if first_only else sum(lengths)
    given = [random(count, heads, size, seed=seed) for seed, count in enumerate((asked, tokens, tokens))]
    dropped = round(rate * 65536)
    dropping = Dropping(TENTH.seed, dropped, 65536 / (65536 - dropped))
    kept = None
    if dropped:
        drawn = attention_draws(TENTH.seed, lengths, heads, first_only=first_only)
        kept = [torch.from_numpy(some >= dropped).double() for some in drawn]
    where = sequences(lengths, first_only=first_only)
    context, rows = native.attend(given[0], given[1], given[2], where, dropping)
    exact = [tensor.double().requires_grad_() for tensor in given]
    expected = by_hand(exact[0], exact[1], exact[2], lengths, kept, dropping.scale)
    assert torch.allclose(context.double(), expected, rtol=1e-5, atol=5e-6)
    gradient = random(*context.shape, seed=3)
    found = native.attend_backward(gradient, given[0], given[1], given[2], rows, where, dropping)
    expected.backward(gradient.double())
    for one, other in zip(found, exact, strict=True):
        assert other.grad is not None
        assert torch.allclose(one.double(), other.grad, rtol=1e-5, atol=1e-5)


def test_scores_of_any_height(level: str) -> None:
    lengths = [4, 20]
    query, key, value = (random(24, 2, 32, seed=seed) for seed in range(3))
    for factor in (1e-20, 30.0, 1e4):
        context, _ = native.attend(query * factor, key, value, sequences(lengths), native.KEEP_ALL)
        expected = by_hand((query * factor).double(), key.double(), value.double(), lengths, None, 1.0)
        assert torch.allclose(context.double(), expected, rtol=1e-3, atol=1e-3)


def test_what_is_not_finite_stays_in_its_sequence(level: str) -> None:
    where = sequences([5, 9])
    query, key, value = (random(14, 2, 32, seed=seed) for seed in range(3))
    before, _ = native.attend(query, key, value, where, TENTH)
    for number, bad in ((6, math.nan), (7, math.inf)):
        key[number] = bad
        after, _ = native.attend(query, key, value, where, TENTH)
        assert torch.equal(after[:5], before[:5])
        assert after[5:].isnan().all()


def run_all() -> list[Tensor]:
    lengths = [3, 11, 11, 40, 90]
    query, key, value = (random(155, 12, 32, seed=seed) for seed in range(3))
    wide = random(155, 1536, seed=4)
    context, rows = native.attend(query, key, value, sequences(lengths), TENTH)
    back = native.attend_backward(context, query, key, value, rows, sequences(lengths), TENTH)
    return [context, rows, *back, native.gelu(wide), native.gelu_backward(wide, wide), native.dropout(wide, TENTH)]


def test_threads_change_nothing(threads: None) -> None:
    torch.set_num_threads(1)
    alone = run_all()
    for count in (2, 3):
        torch.set_num_threads(count)
        for _ in range(5):
            assert all(map(torch.equal, run_all(), alone))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_kernels_run_on_as_many_threads_as_torch_is_told(
    count: int, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    class Recorded:
        def __getattr__(self, name: str) -> Any:
            def kernel(*arguments: Any) -> Any:
                taken.append(getattr(kernels, name)(*arguments))
                return taken[-1]

            return kernel if name != "scratch" else kernels.scratch

    monkeypatch.setattr(native, "_kernels", Recorded())
    torch.set_num_threads(count)
    run_all()
    assert taken == [count] * 5
    taken.clear()
    native.gelu(torch.ones(100))  # not worth a second one
    assert taken == [1]


ONE_RUNTIME = """
import pathlib, torch
from glassbert import native
torch.set_num_threads(2)
torch.ones(1_000_000).add_(1)
native.gelu(torch.ones(1_000_000))
maps = pathlib.Path("/proc/self/maps").read_text().splitlines()
print(len({line.split()[-1] for line in maps if "gomp" in line or "iomp" in line}))
"""


def test_torch_s_openmp_runtime_is_the_only_one() -> None:
    done = subprocess.run([sys.executable, "-c", ONE_RUNTIME], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
