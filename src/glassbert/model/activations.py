"""Activation functions by the names that config files use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glassbert import native
from glassbert.model.config import HiddenAct


class _NativeGELU(torch.autograd.Function):
    """The same by kernels in C, whose backward pass is twice as fast; what is differentiated again is torch's own."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        ctx.save_for_forward(values)
        return native.gelu(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,), (values,) = gradients, ctx.saved_tensors
        if torch.is_grad_enabled() or not native.takes(gradient, values):
            return _times_slope(gradient, values)
        return native.gelu_backward(values, gradient)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _times_slope(tangents[0], *ctx.saved_for_forward)


def _times_slope(factors: Tensor, values: Tensor) -> Tensor:
    product: Tensor = torch.ops.aten.gelu_backward(factors, values)
    return product


class GELUActivation(nn.Module):
    """x·Φ(x), computed exactly with erf (arXiv 1606.08415)."""

    def forward(self, values: Tensor) -> Tensor:
        """Apply to each element; any shape."""
        if torch.is_grad_enabled() and values.requires_grad and native.takes(values):
            result: Tensor = _NativeGELU.apply(values)  # type: ignore[no-untyped-call]
            return result
        return F.gelu(values)


class NewGELUActivation(nn.Module):
    """The tanh form of GELU, as in Google's code (arXiv 1606.08415, section 2)."""

    def forward(self, values: Tensor) -> Tensor:
        """Apply to each element; any shape."""
        return F.gelu(values, approximate="tanh")


def activation(act: HiddenAct | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function that a config names, or the one that it holds."""
    return act if callable(act) else ACT2FN[act]


# Modules, so that a printed model shows them; without state, so that all layers may share one.
ACT2FN: Final[dict[HiddenAct, nn.Module]] = {
    "gelu": GELUActivation(),
    "gelu_new": NewGELUActivation(),
    "relu": nn.ReLU(),
    "silu": nn.SiLU(),
}
