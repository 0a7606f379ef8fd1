"""Linear layers in int8: a quarter of the memory, and products of whole numbers, which processors add up faster.

A weight is a whole number of -127 … 127 times a scale of its output. The input is quantised as it comes, each token by
itself over the range from its least to its largest number, so that no text's answer depends on its batch-mates. The
products are summed exactly, in int32, by the operators that `torch.compile` emits for quantised models; the result is
float32 again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

from glassbert import native
from glassbert.errors import InputError
from glassbert.model.config import HiddenAct

# The largest whole number of a weight; -128 is left out, so that weights are symmetric around 0.
_LARGEST: Final = 127
# In place, since fresh memory costs more than an activation does.
_IN_PLACE: Final[dict[HiddenAct, Callable[[Tensor], Tensor]]] = {
    "gelu": torch.ops.aten.gelu_,
    "gelu_new": functools.partial(torch.ops.aten.gelu_, approximate="tanh"),
    "relu": torch.relu_,
    "silu": functools.partial(nn.functional.silu, inplace=True),
}
# Ranges below this are taken for a single number: the steps between would be too small to divide by.
_LEAST: Final = 1e-30
# The number of rows that the blocks of the weight are chosen for; other numbers work as well.
_ROWS: Final = 1024


class QuantizedLinear(nn.Module):
    """y = f(x Wᵀ + b) for inference, with W and x rounded to 8 bits; f is an activation or nothing.

    Rounding moves a weight by half a scale at most, a number of a token by half a step, 1/510 of the token's range.
    A token with a number that is not finite gets NaN everywhere, before f.
    """

    def __init__(self, weight: Tensor, bias: Tensor, act: HiddenAct | Callable[[Tensor], Tensor] | None = None) -> None:
        """Round `weight` (out, in); `bias` is (out,), `act` an activation or a function.

        Raises:
            InputError: weights that are not float32 on a CPU, or a torch or a processor without products of int8.
        """
        super().__init__()
        _check(weight)
        weight = weight.detach()
        self.act = act
        self.levels = levels()
        # (out,); an output without weights keeps zeros
        largest = weight.abs().amax(dim=1)
        self.scales = torch.where(largest == 0, 1.0, largest / _LARGEST)
        rounded = (weight / self.scales[:, None]).round_().to(torch.int8)
        self.sums = self.scales * rounded.sum(dim=1)
        self.bias = bias.detach()
        self.weight = _prepack(rounded)

    @property
    def nbytes(self) -> int:
        """Bytes of the weight and of what belongs to it."""
        return sum(tensor.nbytes for tensor in (self.weight, self.scales, self.sums, self.bias))

    def forward(self, values: Tensor) -> Tensor:
        """(T, in) -> (T, out)."""
        rounded, least, step = quantize(values, self.levels)
        product = _product(rounded, self.weight, self.scales)
        # x = least + step * rounded, so x W is the step times the product, plus `least` times the sum of the weights.
        if native.takes(product, least, step, self.sums, self.bias):
            native.rescale(product, least, step, self.sums, self.bias)
        else:
            product.mul_(step).addcmul_(least, self.sums).add_(self.bias)
        if self.act is None:
            return product
        return self.act(product) if callable(self.act) else _IN_PLACE[self.act](product)


def quantize(values: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Round each token to whole numbers 0 … `levels`, its least number to 0 and its largest to `levels`.

    Args:
        values: (T, H) float32.
        levels: at most 255.

    Returns:
        (T, H) uint8, the least number of each token (T, 1), and its step (T, 1): values ≈ least + step · rounded. The
        least number of a token that is not finite throughout is NaN.
    """
    if native.takes(values):
        return native.quantize(values, levels)
    least = values.amin(dim=1, keepdim=True)
    span = values.amax(dim=1, keepdim=True).sub_(least)
    factor = torch.where(span > _LEAST, levels / span, 0.0)
    rounded = (values - least).mul_(factor).round_().to(torch.uint8)
    # Infinity times zero is NaN; a finite span adds nothing.
    return rounded, least.add_(span * 0), span.div_(levels)


@functools.cache
def levels() -> int:
    """Return the largest whole number that inputs are rounded to: 255, or 127 where products are added in 16 bits.

    Processors without instructions for int8 (VNNI, AMX) add two neighbouring products in 16 bits, and 2 · 255 · 127 is
    cut off there. This is found out by a product, not from a list of processors.
    """
    weight = torch.full((64, 64), _LARGEST, dtype=torch.int8)
    for rows in (1, 64):
        found = _product(torch.full((rows, 64), 255, dtype=torch.uint8), _prepack(weight), torch.ones(64))
        if not (found == 64 * 255 * _LARGEST).all():
            return _LARGEST
    return 255


def _prepack(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.onednn.qlinear_prepack(weight, [_ROWS, weight.shape[1]])
    return packed


def _product(values: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """(T, in) uint8, a prepacked (out, in) int8 and (out,) -> (T, out) float32, each output times its scale."""
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    inputs: tuple[Any, ...] = (values, 1.0, 0, weight, scales, zeros, None)
    product: Tensor = torch.ops.onednn.qlinear_pointwise(*inputs, 1.0, 0, torch.float32, "none", [], "")
    return product


def _check(weight: Tensor) -> None:
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        raise InputError(
            f"int8 is made of float32 weights on the CPU, but these are {str(weight.dtype)[6:]} on {weight.device}; "
            "call model.to('cpu', torch.float32) first"
        )
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        raise InputError("this torch has no products of int8 for this processor (oneDNN); use dtype='float32'")
