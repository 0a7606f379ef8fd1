"""Linear layers with weights laid out for the processor in advance.

oneDNN, the library under torch's matrix products, wants weights in blocks of its own and re-orders them at every call.
Here that is done once, and the activation is computed while the product's result is still in the cache. The operators
are those that `torch.compile` emits for frozen weights; where they are missing, or for other types and devices, the
plain product is used, with the same result to rounding.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from glassbert.model.activations import ACT2FN
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

    def __init__(self, weight: Tensor, bias: Tensor, activation: HiddenAct | None = None) -> None:
        """Lay out `weight` (out, in) if this machine can; `bias` is (out,)."""
        super().__init__()
        self.bias = bias.detach()
        self.activation = activation
        self.prepared = _can_prepare(weight)
        weight = weight.detach()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS) if self.prepared else weight

    def forward(self, values: Tensor) -> Tensor:
        """(T, in) -> (T, out)."""
        if self.prepared:
            function, algorithm = _FUSED[self.activation] if self.activation else ("none", "")
            result: Tensor = torch.ops.mkldnn._linear_pointwise(values, self.weight, self.bias, function, [], algorithm)
            return result
        result = nn.functional.linear(values, self.weight, self.bias)
        return ACT2FN[self.activation](result) if self.activation else result


def _can_prepare(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )
