"""AdamW in each of its published forms, and the norm that gradients are clipped to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, cast, get_args, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw
from torch.optim.optimizer import ParamsT

from glassbert.errors import ConfigError, InputError
from glassbert.settings import AdamWForm
from glassbert.train.checks import check_number, check_switch
from glassbert.train.groups import parameter_groups

# What a group may hold beside the options: torch's names of its parameters, and a scheduler's first rate.
_BESIDE: Final = ("params", "param_names", "initial_lr")
# Where torch's fused kernel is as mature as its other ones.
_FUSED: Final = ("cpu", "cuda")


class AdamW(Optimizer):
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
        _check_options(options)
        super().__init__(params, options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; what it does not say is as the optimizer was made.

        Raises:
            ConfigError: an option out of range or unknown, by name.
        """
        if isinstance(param_group, dict):
            unknown = sorted(map(str, param_group.keys() - self.defaults.keys() - set(_BESIDE)))
            if unknown:
                raise ConfigError(f"a parameter group has no option {unknown[0]!r}; known: {', '.join(self.defaults)}")
            _check_options({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state; groups of another form of AdamW lack some options, which are then as this one was made."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state: of this class, of transformers 4.4.2's AdamW, or of `torch.optim.AdamW`.

        Raises:
            ConfigError: a state with `amsgrad` or `maximize`, which are not computed here.
        """
        for option in ("amsgrad", "maximize"):
            if any(group.get(option) for group in state_dict["param_groups"]):
                raise ConfigError(f"the saved optimizer has {option} set, which AdamW does not have")
        super().load_state_dict(state_dict)
        # torch brings all that is loaded to the parameters' dtype, which for 16-bit parameters is not the moments'.
        numbers = itertools.chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        parameters = itertools.chain.from_iterable(group["params"] for group in self.param_groups)
        for number, parameter in zip(numbers, parameters, strict=True):
            for name in ("exp_avg", "exp_avg_sq"):
                if number in state_dict["state"]:
                    moment = state_dict["state"][number][name].to(parameter.device, _computed(parameter.dtype))
                    self.state[parameter][name] = moment.contiguous()

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters that have a gradient.

        Args:
            closure: computes the loss and the gradients anew; its loss is returned.

        Raises:
            InputError: a gradient is sparse.
            ConfigError: lr · weight_decay is 1 or more, which takes more than all of a weight.
                Either is told before anything is changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            _check_step(group)
        for group in self.param_groups:
            together: dict[int, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    together.setdefault(self._count(parameter), []).append(parameter)
            for step, parameters in together.items():
                self._update(parameters, group, step)
        return loss

    def _count(self, parameter: Tensor) -> int:
        """Begin the moments where there are none; return the number of this step of the parameter, from 1."""
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(
                    parameter, dtype=_computed(parameter.dtype), memory_format=torch.contiguous_format
                )
        state["step"] = int(state["step"]) + 1  # torch's own AdamW, whose state may have been loaded, has a tensor
        return cast(int, state["step"])

    def _update(self, parameters: list[Tensor], group: dict[str, Any], step: int) -> None:
        """Do step number `step` of some parameters of a group."""
        options = _for_kernel(group, step)
        direct: list[Tensor] = []
        for parameter in parameters:
            state = self.state[parameter]
            gradient, dtype = cast(Tensor, parameter.grad), state["exp_avg"].dtype
            if parameter.dtype == gradient.dtype == dtype and parameter.is_contiguous() and gradient.is_contiguous():
                direct.append(parameter)
                continue
            # The kernel walks through memory from the first number on, in one dtype.
            weights = parameter.to(dtype, copy=True, memory_format=torch.contiguous_format)
            gradient = gradient.to(dtype).contiguous()
            _run_kernel([weights], [gradient], [state["exp_avg"]], [state["exp_avg_sq"]], options)
            parameter.copy_(weights)
        if direct:
            _run_kernel(
                direct,
                [cast(Tensor, parameter.grad) for parameter in direct],
                [self.state[parameter]["exp_avg"] for parameter in direct],
                [self.state[parameter]["exp_avg_sq"] for parameter in direct],
                options,
            )


def _check_options(options: dict[str, Any]) -> None:
    for name in ("lr", "eps", "weight_decay"):
        check_number(name, options[name], least=0.0)
    betas = options["betas"]
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ConfigError(f"betas is {betas!r}, expected two numbers")
    for beta in betas:
        check_number("one of betas", beta, least=0.0, below=1.0)
    for name in ("correct_bias", "decay_first", "eps_after_correction"):
        check_switch(name, options[name])


def _check_step(group: dict[str, Any]) -> None:
    share = float(group["lr"]) * group["weight_decay"]
    if not share < 1.0:
        raise ConfigError(
            f"lr · weight_decay is {group['lr']} · {group['weight_decay']}, expected less than 1: a step would take "
            "more than all of a weight"
        )
    for parameter in group["params"]:
        if parameter.grad is not None and parameter.grad.layout != torch.strided:
            raise InputError(
                f"the gradient of a parameter of shape {tuple(parameter.shape)} is sparse, and AdamW's moments change "
                "in every row; make the nn.Embedding with sparse=False"
            )


def _computed(dtype: torch.dtype) -> torch.dtype:
    """Return what a parameter of `dtype` is computed in."""
    return torch.promote_types(dtype, torch.float32)


def _for_kernel(group: dict[str, Any], step: int) -> dict[str, float]:
    """Say a group's step in the terms of torch's kernel without its bias correction.

    The kernel does p = p - rate·decay·p, then p = p - rate·m / (sqrt(v) + eps). The correction is one factor of `rate`,
    and of `eps` where that is added after it. Decay after the step takes its share from the step as well.
    """
    (first, second), rate, eps = group["betas"], float(group["lr"]), group["eps"]
    share = rate * group["weight_decay"]
    if group["correct_bias"]:
        late = math.sqrt(1.0 - second**step)
        rate *= late / (1.0 - first**step)
        if group["eps_after_correction"]:
            eps *= late
    if not group["decay_first"]:
        rate *= 1.0 - share
    return {"lr": rate, "weight_decay": share / rate if rate else 0.0, "eps": eps, "beta1": first, "beta2": second}


def _run_kernel(
    parameters: list[Tensor], gradients: list[Tensor], first: list[Tensor], second: list[Tensor], options: Any
) -> None:
    # At step infinity β^t is 0, so torch leaves the bias as it is. The devices' own steps would have to be waited for.
    fused = all(parameter.device.type in _FUSED for parameter in parameters)
    never = {device: torch.full((), math.inf, device=device) for device in {p.device for p in parameters}}
    steps = [never[parameter.device] for parameter in parameters]
    adamw(
        parameters,
        gradients,
        first,
        second,
        [],
        steps,
        fused=True if fused else None,
        amsgrad=False,
        maximize=False,
        **options,
    )


def make_adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float | None = None,
    head_learning_rate: float | None = None,
    form: AdamWForm = "torch",
) -> Optimizer:
    """Return AdamW over `parameter_groups`, with β 0.9 and 0.999 and eps 1e-6 as BERT was trained.

    Args:
        model: what is trained; frozen parameters are left out.
        learning_rate: its highest value.
        weight_decay: of weights; biases and LayerNorm have none.
        layer_decay: see `parameter_groups`.
        head_learning_rate: see `parameter_groups`.
        form: "torch", the default, is `torch.optim.AdamW` in its fused form; "transformers" and "google" are `AdamW`
            with the switches of its table. They part in the place of eps and in the bias correction of the first steps.

    Raises:
        ConfigError: an unknown form, or what `parameter_groups` raises.
    """
    groups = parameter_groups(
        model,
        weight_decay,
        learning_rate=None if layer_decay is None and head_learning_rate is None else learning_rate,
        layer_decay=layer_decay,
        head_learning_rate=head_learning_rate,
    )
    if form == "torch":
        return torch.optim.AdamW(groups, lr=learning_rate, eps=1e-6, fused=True)
    if form == "transformers":
        return AdamW(groups, lr=learning_rate)
    if form == "google":
        return AdamW(groups, lr=learning_rate, correct_bias=False, decay_first=True)
    raise ConfigError(f"form is {form!r}, expected one of {', '.join(get_args(AdamWForm))}")


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
    norm: Tensor = torch.linalg.vector_norm(values, dtype=_computed(values.dtype))
    return norm.to(torch.float64).square()
