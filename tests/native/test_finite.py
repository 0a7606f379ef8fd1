"""The look for NaN and infinity: what the kernel says of arrays of any floats, and what torch says of the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from glassbert import native
from glassbert.checkpoint import filling

if not native.available:
    pytest.skip("the kernels were not built", allow_module_level=True)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Bytes of a piece that one thread takes at once (PIECE in kernels.h).
PIECE = 256 * 1024


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def largest(dtype: torch.dtype, *shape: int) -> Tensor:
    """Numbers whose sum is too large: the largest that there are, of both signs."""
    values = torch.full(shape, torch.finfo(dtype).max, dtype=dtype)
    values.view(-1)[::3] *= -1
    return values


@pytest.mark.parametrize("bad", [float("nan"), -float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_number_at_any_place(dtype: torch.dtype, bad: float) -> None:
    for size in (1, 2, 3, 5, 31, 32, 33, 127, 768):
        values = largest(dtype, size)
        assert native.finite([values]) == [True]
        for place in range(size):
            values = largest(dtype, size)
            values[place] = bad
            assert native.finite([values]) == [False], (size, place)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pattern_of_a_number_of_16_bits_and_the_ends_of_wider_ones(dtype: torch.dtype) -> None:
    if dtype.itemsize == 2:
        bits = torch.arange(2**16).to(torch.int16)
        values = bits.view(dtype)
    else:
        whole = torch.tensor([1.0, 2.0]).to(dtype).view(torch.int32 if dtype.itemsize == 4 else torch.int64)
        step = (whole[1] - whole[0]).item()  # the lowest bit of the exponent
        exponents = torch.arange(2048 if dtype.itemsize == 8 else 256) * step
        fractions = torch.tensor([0, 1, step // 2, step - 1])
        signs = torch.tensor([0, torch.iinfo(whole.dtype).min])
        values = (exponents[:, None, None] + fractions[:, None] + signs).flatten().to(whole.dtype).view(dtype)
    found = native.finite(list(values.split(1)))
    assert found == values.isfinite().tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_of_pieces(dtype: torch.dtype, threads: int) -> None:
    piece = PIECE // dtype.itemsize
    for size in (piece - 1, piece, piece + 1, 3 * piece + 5):
        values = largest(dtype, size)
        assert native.finite([values]) == [True]
        for place in {0, size // 2, piece - 1, piece, 2 * piece, size - 1}:
            if place < size:
                kept, values[place] = values[place].clone(), float("nan")
                assert native.finite([values]) == [False]
                values[place] = kept


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_beside_an_array_are_not_its_own(dtype: torch.dtype) -> None:
    memory = torch.full((400,), float("nan"), dtype=dtype)
    for start in range(1, 40):
        for size in (1, 7, 64, 129):
            inside = memory[start : start + size]
            inside.fill_(torch.finfo(dtype).max)
            assert native.finite([inside]) == [True]
            inside.fill_(float("nan"))


def test_a_start_between_two_numbers() -> None:
    # As in a file whose header has any length.
    for shift in range(8):
        memory = torch.zeros(8 * 100 + 8, dtype=torch.uint8)
        for dtype in DTYPES:
            view = torch.frombuffer(memory.numpy(), dtype=dtype, count=90, offset=shift)
            view.fill_(-3.0)
            assert native.finite([view]) == [True]
            view[89] = float("inf")
            assert native.finite([view]) == [False]


def test_many_arrays_at_once(threads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(0,), (3,), (300, 400), (1,), (0, 7), (768,), (70_000,), (2, 3, 5), (0,)]
    dtypes = [DTYPES[place % 4] for place in range(len(shapes))]
    arrays = [torch.randn(shape, generator=generator).to(dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    assert native.finite(arrays) == [True] * len(arrays)
    for place, array in enumerate(arrays):
        if array.numel():
            array.view(-1)[-1] = float("nan")
            assert native.finite(arrays) == [other != place for other in range(len(arrays))]
            array.view(-1)[-1] = 1.0
    arrays[2][0, 0] = arrays[6][9] = float("inf")
    assert native.finite(arrays) == [place not in (2, 6) for place in range(len(arrays))]
    assert native.finite([]) == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_with_and_without_the_kernels(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[list[Tensor], int | None]] = []
    for bad in (None, 0, 1, 2):
        tensors = [largest(dtype, 65), largest(dtype, 3, 5), torch.zeros(2, 2, dtype=dtype), largest(dtype, 0)]
        if bad is not None:
            tensors[bad].view(-1)[-1] = float("nan")
            tensors[2][0, 0] = float("inf")
        # A turned one is no row of numbers: torch looks at all of them.
        cases += [(tensors, bad), ([*tensors, largest(dtype, 3, 5).T], bad)]
    for available in (True, False):
        monkeypatch.setattr(native, "available", available)
        for tensors, bad in cases:
            assert filling.first_not_finite(tensors) == bad


def test_another_default_device_has_no_part_in_it() -> None:
    values = torch.tensor([1.0, float("nan")])
    with torch.device("meta"):
        assert filling.first_not_finite([values]) == 0
