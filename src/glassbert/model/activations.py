"""Activation functions by the names that config files use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from glassbert.model.config import HiddenAct


class GELUActivation(nn.Module):
    """x·Φ(x), computed exactly with erf (arXiv 1606.08415)."""

    def forward(self, values: Tensor) -> Tensor:
        """Apply to each element; any shape."""
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
