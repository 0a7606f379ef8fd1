"""Dropout that is quick on a CPU: 16 random bits decide about each number.

`torch.nn.functional.dropout` asks torch's generator for a number of its own for each decision, one after the other;
there it costs more than the matrix product before it. Here torch's generator gives a seed, and all decisions are made
of that: by a kernel in C, which makes them again in the backward pass, or, where it was not built, by numpy's quickest
generator, one word of 64 bits for four numbers. So the rate is rounded to a multiple of 1/65,536, and what is kept is
scaled by that rounded rate, which leaves the mean exact. What is dropped depends on `torch.manual_seed` alone, as with
torch's own function, but is not the same, nor the same with the kernel and without.

Source: arXiv 1207.0580; scaled while training, as everywhere today.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glassbert import native
from glassbert.model.inputs import has_values

_VALUES: Final = 1 << 16  # that a draw has
# A rate under 1/1,024 would be more than 1% off, one near 1 keeps too little to be scaled by a rounded rate.
_LEAST: Final = 1 / 1024


class Rate(NamedTuple):
    """A rate of dropout in terms of draws.

    Attributes:
        least: the smallest draw, of -32,768 to 32,767, that keeps its number.
        scale: factor of what is kept, 1 / (1 - rate).
    """

    least: int
    scale: float


def drawable(values: Tensor, rate: float) -> bool:
    """Whether dropout of `values` can be decided by draws; what cannot is torch's own."""
    return (
        _LEAST <= rate <= 1.0 - _LEAST
        and has_values(values)
        and values.is_floating_point()
        and not torch._C._are_functorch_transforms_active()
    )


def rate_of(dropout: float) -> Rate:
    """Round a rate to what draws can tell."""
    dropped = round(dropout * _VALUES)
    return Rate(dropped - _VALUES // 2, _VALUES / (_VALUES - dropped))


def dropping_of(dropout: float) -> native.Dropping:
    """Say a rate in the terms of the kernels in C, with a seed of torch's generator."""
    rate = rate_of(dropout)
    return native.Dropping(_seed(), rate.least + _VALUES // 2, rate.scale)


def _seed() -> int:
    return int(torch.empty((), dtype=torch.int64).random_())


def draw(count: int, rate: Rate) -> Tensor:
    """Return `count` decisions, int16: 1 keeps its number and 0 drops it."""
    words = np.random.SFC64(_seed()).random_raw((count + 3) // 4)
    # In place, and in 16 bits to the end: of all forms of a mask this is the quickest to make and to multiply with.
    return torch.from_numpy(words.view(np.int16))[:count].ge_(rate.least)


class _Drawn(torch.autograd.Function):
    """Dropout by draws; the decisions are what is remembered, two bytes a number."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rate: Rate) -> Tensor:
        keep = draw(values.numel(), rate).view(values.shape)
        ctx.save_for_backward(keep)
        ctx.save_for_forward(keep)
        ctx.scale = rate.scale
        return torch.empty_like(values).copy_(keep).mul_(values).mul_(rate.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (keep,) = gradients, ctx.saved_tensors
        return gradient * torch.empty_like(gradient).copy_(keep).mul_(ctx.scale), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        (tangent, _), (keep,) = tangents, ctx.saved_for_forward
        result: Tensor = tangent * keep * ctx.scale
        return result


class _Seeded(torch.autograd.Function):
    """Dropout by a kernel in C that makes its decisions from a seed, so the seed is all that is remembered."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, dropping: native.Dropping) -> Tensor:
        ctx.dropping = dropping
        ctx.shape = values.shape
        return native.dropout(values, dropping)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _drop_alike(gradients[0], ctx), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _drop_alike(tangents[0], ctx)


def _drop_alike(values: Tensor, ctx: Any) -> Tensor:
    """Drop what was dropped before."""
    if native.takes(values):
        result: Tensor = _Seeded.apply(values, ctx.dropping)  # type: ignore[no-untyped-call]
        return result
    return values * native.dropout(torch.ones(ctx.shape), ctx.dropping)


def dropout(values: Tensor, rate: float) -> Tensor:
    """Set each of `values`, of any shape, to zero with probability `rate`, and scale the others by 1 / (1 - rate)."""
    if not drawable(values, rate):
        return F.dropout(values, rate)
    if native.takes(values):
        seeded: Tensor = _Seeded.apply(values, dropping_of(rate))  # type: ignore[no-untyped-call]
        return seeded
    result: Tensor = _Drawn.apply(values, rate_of(rate))  # type: ignore[no-untyped-call]
    return result


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, quicker on a CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Apply to each element; any shape."""
        if self.inplace or not self.training:
            return super().forward(input)
        return dropout(input, self.p)
