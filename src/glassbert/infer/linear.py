"""Linear layers with weights laid out for the processor in advance.

oneDNN, the library under torch's matrix products, wants weights in blocks of its own and re-orders them at every call.
Here that is done once, and the activation is computed while the product's result is still in the cache. The operators
are those that `torch.compile` emits for frozen weights; where they are missing, or for other types and devices, the
plain product is used, with the same result to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from glassbert.model.activations import activation
from glassbert.model.config import HiddenAct

# Names of the activations in oneDNN's operators: (function, algorithm).
_FUSED: Final[dict[HiddenAct, tuple[str, str]]] = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
}
# The number of rows that the blocks are chosen for; other numbers work as well.
_ROWS: Final = 1024


class PreparedLinear(nn.Module):
    """y = f(x Wᵀ + b) for inference; f is an activation or nothing.

    Attributes:
        prepared: whether the weights were laid out in advance.
    """

    def __init__(self, weight: Tensor, bias: Tensor, act: HiddenAct | Callable[[Tensor], Tensor] | None = None) -> None:
        """Lay out `weight` (out, in) if this machine can; `bias` is (out,), `act` an activation or a function."""
        super().__init__()
        self.bias = bias.detach()
        self.act = act
        self.prepared = _can_prepare(weight)
        weight = weight.detach()
        self.weight = _reordered(weight) if self.prepared else weight

    @property
    def nbytes(self) -> int:
        """Bytes of weight and bias."""
        return self.weight.nbytes + self.bias.nbytes

    def forward(self, values: Tensor) -> Tensor:
        """(T, in) -> (T, out)."""
        fused = self.prepared and not callable(self.act)
        if self.prepared:
            result = _pointwise(values, self.weight, self.bias, self.act)
        else:
            result = nn.functional.linear(values, self.weight, self.bias)
        return result if fused or self.act is None else activation(self.act)(result)


class BFloat16Linear(nn.Module):
    """y = f(x Wᵀ + b) for inference, all rounded to bfloat16; f is an activation or nothing.

    Products are summed in float32, f is taken of the sum, and y is rounded once. The processor has to have tiles.
    """

    def __init__(self, weight: Tensor, bias: Tensor, act: HiddenAct | Callable[[Tensor], Tensor] | None = None) -> None:
        """Round and lay out `weight` (out, in); `bias` is (out,), `act` an activation or a function."""
        super().__init__()
        self.act = act
        self.weight = _reordered(weight.detach().to(torch.bfloat16))
        self.bias = bias.detach().to(torch.bfloat16)

    @property
    def nbytes(self) -> int:
        """Bytes of weight and bias."""
        return self.weight.nbytes + self.bias.nbytes

    def forward(self, values: Tensor) -> Tensor:
        """(T, in) of any floats -> (T, out) bfloat16."""
        result = _pointwise(values.to(torch.bfloat16), self.weight, self.bias, self.act)
        # A function of the user's may hold weights of its own, in float32.
        return self.act(result.float()).to(torch.bfloat16) if callable(self.act) else result


def bfloat16_linear(
    weight: Tensor, bias: Tensor, act: HiddenAct | Callable[[Tensor], Tensor] | None = None
) -> BFloat16Linear | PreparedLinear:
    """Return a linear layer with `weight` (out, in) rounded to bfloat16, on the CPU.

    Where the processor multiplies bfloat16 in tiles (AMX), products are those of bfloat16. Elsewhere those are slower
    than products of float32, so the rounded weights are kept, and multiplied, in the floats that they came in.
    """
    if has_tiles():
        return BFloat16Linear(weight, bias, act)
    return PreparedLinear(weight.detach().to(torch.bfloat16).to(weight.dtype), bias, act)


@functools.cache
def has_tiles() -> bool:
    """Return whether this processor multiplies matrices of bfloat16 in tiles (AMX), and torch can ask it to."""
    return (
        bool(torch.cpu._is_amx_tile_supported())
        and _has_operators()
        # Asks oneDNN, which may have been told to leave instructions unused.
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _reordered(weight: Tensor) -> Tensor:
    reordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
    return reordered


def _pointwise(
    values: Tensor, weight: Tensor, bias: Tensor, act: HiddenAct | Callable[[Tensor], Tensor] | None
) -> Tensor:
    """Return the product with the activation, or without it where that is a function."""
    function, algorithm = _FUSED[act] if act and not callable(act) else ("none", "")
    product: Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, function, [], algorithm)
    return product


def _can_prepare(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and _has_operators()


def _has_operators() -> bool:
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )
