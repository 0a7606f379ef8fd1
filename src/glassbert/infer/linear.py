"""Linear layers with weights laid out for the processor in advance.

oneDNN, the library under torch's matrix products, wants weights in blocks of its own and re-orders them at every call.
Here that is done once, and the activation is computed while the product's result is still in the cache. The operators
are those that `torch.compile` emits for frozen weights; where they are missing, or for other types and devices, the
plain product is used, with the same result to rounding.
"""

from __future__ import annotations

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
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS) if self.prepared else weight

    @property
    def nbytes(self) -> int:
        """Bytes of weight and bias."""
        return self.weight.nbytes + self.bias.nbytes

    def forward(self, values: Tensor) -> Tensor:
        """(T, in) -> (T, out)."""
        fused = self.prepared and not callable(self.act)
        if self.prepared:
            function, algorithm = _FUSED[self.act] if self.act and not callable(self.act) else ("none", "")
            result: Tensor = torch.ops.mkldnn._linear_pointwise(values, self.weight, self.bias, function, [], algorithm)
        else:
            result = nn.functional.linear(values, self.weight, self.bias)
        return result if fused or self.act is None else activation(self.act)(result)


def _can_prepare(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )
