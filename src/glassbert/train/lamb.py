"""LAMB, for batches of thousands of examples: Adam whose steps are as long as the weights that they change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from glassbert.train.moments import MomentOptimizer, Operands, correction, run_kernel

# Numbers in the parameters that are computed together: few, for a CPU's cache; many, for a device that is told what to
# do one call at a time. A larger parameter is computed alone.
_TOGETHER: Final = {"cpu": 2**20}
_TOGETHER_ELSEWHERE: Final = 2**25
# Numbers whose squares are summed in float32 before they go on in float64.
_SUMMED: Final = 2**18


class Lamb(MomentOptimizer):
    """LAMB (You et al. 2019, arXiv 1904.00962, algorithm 2 with φ(z) = z).

    With gradient g and the moments m = β1·m + (1 - β1)·g and v = β2·v + (1 - β2)·g², step t of a parameter p, each
    tensor by itself, does

        u = m / (1 - β1^t) / (sqrt(v / (1 - β2^t)) + eps) + weight_decay · p
        p = p - lr · |p| / |u| · u

    with L2 norms, so that a step is `lr` times as long as what it changes. The ratio |p| / |u| is 1 where one of them
    is 0, and in groups with `adapted=False`, whose steps are then those of `torch.optim.AdamW`.

    Which parameters are adapted is for the groups to say, by default all. `parameter_groups(…, adaptation=True)` and
    the recipes' "lamb" leave out biases and LayerNorm, which have no weight decay either. That is what the code of the
    paper's authors does, as google-research/albert has it: `exclude_from_layer_adaptation` is there the list
    `exclude_from_weight_decay` unless another is given. That code has no bias correction (`correct_bias=False`).
    NVIDIA's `FusedLAMB` leaves out what has no weight decay, or adapts all with `use_nvlamb`; it corrects the bias, and
    first clips the gradients to a joint norm of 1, which here is `clip_gradients`.

    A learning rate is a share of the weights' length, so it is another than AdamW's: for fine-tuning in batches of 64
    that code names 3e-4 to 5e-4. Batches k times as large take sqrt(k) times the rate, in the paper.

    The moments have the parameters' dtype, but float32 for 16-bit parameters; those are brought to float32, updated
    and rounded once. A parameter's step counts from its own first gradient. States are those of `AdamW`.

    Args:
        params: parameters, groups of them, or parameters with names.
        lr: learning rate.
        betas: decay rates (β1, β2) of the two moments.
        eps: added to the square root.
        weight_decay: how much of a weight is added to its step's direction.
        correct_bias: whether to make up for moments that began at zero.
        adapted: whether steps are as long as the weights.

    Raises:
        ConfigError: an option out of range or unknown, by name.
    """

    switches: ClassVar[tuple[str, ...]] = ("correct_bias", "adapted")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        correct_bias: bool = True,
        *,
        adapted: bool = True,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "correct_bias": correct_bias,
            "adapted": adapted,
        }
        super().__init__(params, options)

    def _compute(self, operands: Operands, group: dict[str, Any], step: int) -> None:
        (first, second), rate, decay = group["betas"], float(group["lr"]), group["weight_decay"]
        size, late = correction(group, step)
        kernel = {"eps": group["eps"] * late, "beta1": first, "beta2": second}
        if not group["adapted"]:
            size *= rate
            run_kernel(operands, {"lr": size, "weight_decay": rate * decay / size if size else 0.0, **kernel})
            return
        for packs in _packs(operands):
            # Made once: fresh memory costs a CPU more than what is computed in it.
            memory = packs[0].weights[0].new_empty(max(_count(pack) for pack in packs))
            for pack in packs:
                weights = pack.weights
                # From weight_decay·p the kernel goes on to u if its rate is negative.
                directions = _times(weights, decay, memory)
                run_kernel(pack._replace(weights=directions), {"lr": -size, "weight_decay": 0.0, **kernel})
                lengths, others = _norms(weights), _norms(directions)
                ratios = torch.where((lengths > 0.0) & (others > 0.0), lengths / others, 1.0)
                # The ratios stay on their device: nothing waits for them.
                torch._foreach_addcmul_(weights, directions, ratios.to(weights[0].dtype).unbind(), value=-rate)


def _packs(operands: Operands) -> Iterator[list[Operands]]:
    """Divide operands into what is computed together; each list lies on one device, in one dtype."""
    kinds: dict[tuple[torch.device, torch.dtype], list[Operands]] = {}
    room: dict[tuple[torch.device, torch.dtype], int] = {}
    for weights, gradient, first, second in zip(*operands, strict=True):
        kind = weights.device, weights.dtype
        packs = kinds.setdefault(kind, [])
        if not packs or room[kind] < weights.numel():
            packs.append(Operands([], [], [], []))
            room[kind] = _TOGETHER.get(weights.device.type, _TOGETHER_ELSEWHERE)
        room[kind] -= weights.numel()
        for place, tensor in zip(packs[-1], (weights, gradient, first, second), strict=True):
            place.append(tensor)
    yield from kinds.values()


def _count(pack: Operands) -> int:
    return sum(weights.numel() for weights in pack.weights)


def _times(tensors: list[Tensor], factor: float, memory: Tensor) -> list[Tensor]:
    """Return the tensors `factor` times as large, in that memory."""
    sizes = [tensor.numel() for tensor in tensors]
    parts = memory[: sum(sizes)].split(sizes)
    made = [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
    torch._foreach_copy_(made, tensors)
    torch._foreach_mul_(made, factor)
    return made


def _norms(tensors: list[Tensor]) -> Tensor:
    """Return the L2 norm of each tensor, on their device."""
    if tensors[0].device.type == "cpu" and tensors[0].dtype == torch.float32:
        # torch's norm is a third as fast here, and a thousandth too small for a vocabulary's embeddings.
        squares = [[float(torch.dot(part, part)) for part in tensor.flatten().split(_SUMMED)] for tensor in tensors]
        return torch.tensor([sum(parts) for parts in squares], dtype=torch.float64).sqrt()
    return torch.stack(torch._foreach_norm(tensors))
