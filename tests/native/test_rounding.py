"""What int8 needs around its products, for every level of processor that this one is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from glassbert import native

if not native.available:
    pytest.skip("the kernels were not built", allow_module_level=True)
kernels: Any = native._kernels
LEVELS: list[str] = kernels.levels()
SIZES = [1, 2, 3, 15, 16, 17, 31, 33, 384, 1000]


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    kernels.use_level(request.param)
    yield request.param
    kernels.use_level(LEVELS[-1])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("most", [127, 255])
def test_quantize(size: int, most: int, level: str) -> None:
    values = torch.randn(41, size, generator=torch.Generator().manual_seed(size)) * 3 - 1
    rounded, least, steps = native.quantize(values, most)
    assert torch.equal(least, values.amin(dim=1, keepdim=True))
    assert torch.allclose(steps, (values.amax(dim=1, keepdim=True) - least) / most, rtol=1e-6)
    assert rounded.amax() <= most
    near = least.double() + steps.double() * rounded
    assert ((near - values).abs() <= 0.5001 * steps + 1e-7).all()


@pytest.mark.parametrize("size", SIZES)
def test_rescale(size: int, level: str) -> None:
    generator = torch.Generator().manual_seed(size)
    products, sums, bias = (torch.randn(rows, size, generator=generator) for rows in (23, 1, 1))
    least, steps = torch.randn(2, 23, 1, generator=generator).unbind()
    exact = products.double() * steps + least.double() * sums + bias
    native.rescale(products, least, steps, sums, bias)
    assert (products - exact).abs().max() < 3e-6


def test_nothing_is_written_beyond_the_end(level: str) -> None:
    for size in SIZES:
        memory, ranges = torch.full((5 * size + 64,), 7, dtype=torch.uint8), torch.full((16,), 7.0)
        values = torch.randn(5, size)
        address = ranges.data_ptr()
        kernels.quantize(values.data_ptr(), memory.data_ptr(), address, address + 20, 5, size, 255, 1)
        assert (memory[5 * size :] == 7).all()
        assert (ranges[10:] == 7.0).all()
        products, ones = torch.full((5 * size + 64,), 7.0), torch.ones(size)
        kernels.rescale(products.data_ptr(), address, address + 20, ones.data_ptr(), ones.data_ptr(), 5, size, 1)
        assert (products[5 * size :] == 7.0).all()


def test_threads_change_nothing(level: str) -> None:
    values, sums, bias = torch.randn(300, 100), torch.randn(100), torch.randn(100)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            rounded, least, steps = native.quantize(values, 255)
            products = rounded.float()
            native.rescale(products, least, steps, sums, bias)
            found.append((rounded, least, steps, products))
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *found))
