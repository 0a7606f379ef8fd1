"""AdamW in each of its published forms, the optimizers of the recipes, and the norm that gradients are clipped to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, cast, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from glassbert.errors import ConfigError
from glassbert.settings import OptimizerName
from glassbert.train.groups import parameter_groups
from glassbert.train.lamb import Lamb
from glassbert.train.moments import MomentOptimizer, Operands, computed, correction, run_kernel


class AdamW(MomentOptimizer):
    """Adam with decoupled weight decay (arXiv 1711.05101), in the form of transformers 4.4.2 unless told otherwise.

    With gradient g and the moments m = β1·m + (1 - β1)·g and v = β2·v + (1 - β2)·g², step t does

        p = p - size · m / (sqrt(v) + eps),    size = lr · sqrt(1 - β2^t) / (1 - β1^t)
        p = p - lr · weight_decay · p

    and the switches change that into every other form in use:

    ==================================================== ============ =========== ====================
    form                                                 correct_bias decay_first eps_after_correction
    ==================================================== ============ =========== ====================
    transformers 4.4.2                                   True         False       False
    the same, as 4.4.2 says for BERT's TensorFlow code   False        False       –
    `AdamWeightDecayOptimizer` of google-research/bert   False        True        –
    `torch.optim.AdamW`                                  True         True        True
    ==================================================== ============ =========== ====================

    Every form is one call of torch's own fused kernel a group, hence as fast as `torch.optim.AdamW(fused=True)`.
    Each option may be given for a group by itself. A parameter's step counts from its own first gradient.

    The moments have the parameters' dtype, but float32 for 16-bit parameters; those are brought to float32, updated
    and rounded once. Rounding to bfloat16 loses what is less than 1/256 of a weight, so small rates want float32
    parameters under `torch.autocast`.

    Args:
        params: parameters, groups of them, or parameters with names.
        lr: learning rate.
        betas: decay rates (β1, β2) of the two moments.
        eps: added to the square root.
        weight_decay: share of a weight that a step takes away, times `lr`.
        correct_bias: whether to make up for moments that began at zero.
        decay_first: decay the weight as it was before the step, not after.
        eps_after_correction: add `eps` to the corrected square root, sqrt(v / (1 - β2^t)), not to sqrt(v). Means
            nothing without `correct_bias`.

    Raises:
        ConfigError: an option out of range or unknown, by name.
    """

    switches: ClassVar[tuple[str, ...]] = ("correct_bias", "decay_first", "eps_after_correction")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        correct_bias: bool = True,
        *,
        decay_first: bool = False,
        eps_after_correction: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "correct_bias": correct_bias,
            "decay_first": decay_first,
            "eps_after_correction": eps_after_correction,
        }
        super().__init__(params, options)

    def _compute(self, operands: Operands, group: dict[str, Any], step: int) -> None:
        run_kernel(operands, _for_kernel(group, step))


def _for_kernel(group: dict[str, Any], step: int) -> dict[str, float]:
    """Say a group's step in the terms of torch's kernel without its bias correction.

    The kernel does p = p - rate·decay·p, then p = p - rate·m / (sqrt(v) + eps). The correction is one factor of `rate`,
    and of `eps` where that is added after it. Decay after the step takes its share from the step as well.
    """
    (first, second), rate, eps = group["betas"], float(group["lr"]), group["eps"]
    share = rate * group["weight_decay"]
    size, late = correction(group, step)
    rate *= size
    if group["eps_after_correction"]:
        eps *= late
    if not group["decay_first"]:
        rate *= 1.0 - share
    return {"lr": rate, "weight_decay": share / rate if rate else 0.0, "eps": eps, "beta1": first, "beta2": second}


def make_optimizer(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float | None = None,
    head_learning_rate: float | None = None,
    optimizer: OptimizerName = "torch",
) -> Optimizer:
    """Return an optimizer over `parameter_groups`, with β 0.9 and 0.999 and eps 1e-6 as BERT was trained.

    Args:
        model: what is trained; frozen parameters are left out.
        learning_rate: its highest value.
        weight_decay: of weights; biases and LayerNorm have none.
        layer_decay: see `parameter_groups`.
        head_learning_rate: see `parameter_groups`.
        optimizer: "torch", the default, is `torch.optim.AdamW` in its fused form; "transformers" and "google" are
            `AdamW` with the switches of its table. They part in the place of eps and in the bias correction of the
            first steps. "lamb" is `Lamb`, which does not adapt biases and LayerNorm.

    Raises:
        ConfigError: an unknown name, or what `parameter_groups` raises.
    """
    groups = parameter_groups(
        model,
        weight_decay,
        learning_rate=None if layer_decay is None and head_learning_rate is None else learning_rate,
        layer_decay=layer_decay,
        head_learning_rate=head_learning_rate,
        adaptation=optimizer == "lamb",
    )
    if optimizer == "torch":
        return torch.optim.AdamW(groups, lr=learning_rate, eps=1e-6, fused=True)
    if optimizer == "transformers":
        return AdamW(groups, lr=learning_rate)
    if optimizer == "google":
        return AdamW(groups, lr=learning_rate, correct_bias=False, decay_first=True)
    if optimizer == "lamb":
        return Lamb(groups, lr=learning_rate)
    raise ConfigError(f"optimizer is {optimizer!r}, expected one of {', '.join(get_args(OptimizerName))}")


def clip_gradients(model: nn.Module, max_norm: float, *, rows: Mapping[Tensor, Tensor] | None = None) -> float:
    """Scale the gradients of all trainable parameters so that their joint L2 norm is at most `max_norm`.

    The norm is taken in float32 at least, whatever the gradients are: in bfloat16 it would be rounded to 8 bits, in
    float16 it would end at 65,504. A frozen parameter counts for nothing, even where an old gradient hangs on it.

    Args:
        model: what is trained.
        max_norm: infinity clips nothing.
        rows: the only rows, int64, of a parameter's gradient that are not zero, where that is known; the others are not
            looked at. `EmbeddingGradients.rows` knows them.

    Returns:
        The norm before. Where it is not finite, the gradients are left as they are.

    Raises:
        ConfigError: a `max_norm` that is not above 0.
    """
    if not max_norm > 0.0:
        raise ConfigError(f"max_norm is {max_norm!r}, expected a number more than 0")
    known = {} if rows is None else rows
    trained = [p for p in model.parameters() if p.requires_grad and p.grad is not None]
    # What is in a gradient: the gradient itself, or a copy of its rows.
    parts = [cast(Tensor, p.grad) if p not in known else cast(Tensor, p.grad)[known[p]] for p in trained]
    if not parts:
        return 0.0
    squares = torch.stack([_square(part).to(parts[0].device, torch.float64) for part in parts])
    norm = float(squares.sum().sqrt())
    if max_norm < norm < math.inf:
        factor = max_norm / (norm + 1e-6)
        torch._foreach_mul_(parts, factor)
        for parameter, part in zip(trained, parts, strict=True):
            if parameter in known:
                cast(Tensor, parameter.grad)[known[parameter]] = part
    return norm


def _square(values: Tensor) -> Tensor:
    """Return the sum of the squares, in float32 at least."""
    if values.dtype == torch.float32 and values.device.type == "cpu":
        flat = values.flatten()
        return torch.dot(flat, flat)  # three times as fast as the norm, which does the same here
    norm: Tensor = torch.linalg.vector_norm(values, dtype=computed(values.dtype))
    return norm.to(torch.float64).square()
