"""What optimizers that keep two moments of each gradient have in common: options, state, and torch's fused kernel."""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple, cast, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw
from torch.optim.optimizer import ParamsT

from glassbert.errors import ConfigError, InputError
from glassbert.train.checks import check_number, check_switch

# What a group may hold beside the options: torch's names of its parameters, and a scheduler's first rate.
_BESIDE: Final = ("params", "param_names", "initial_lr")
# Where torch's fused kernel is as mature as its other ones.
_FUSED: Final = ("cpu", "cuda")


class Operands(NamedTuple):
    """What a step reads and writes, parameter by parameter: contiguous, and of one dtype in each place.

    Attributes:
        weights: changed by the step.
        gradients: read alone.
        first: the moments m, changed.
        second: the moments v, changed.
    """

    weights: list[Tensor]
    gradients: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]


class MomentOptimizer(Optimizer, abc.ABC):
    """An optimizer by the moments m = β1·m + (1 - β1)·g and v = β2·v + (1 - β2)·g² of the gradient g.

    The moments have the parameters' dtype, but float32 for 16-bit parameters; those are brought to float32, updated
    and rounded once. A parameter's step counts from its own first gradient.

    Attributes:
        switches: names of the options that are True or False.

    Args:
        params: parameters, groups of them, or parameters with names.
        options: what each group has that does not say otherwise: `lr`, `betas`, `eps`, `weight_decay`, the switches.

    Raises:
        ConfigError: an option out of range or unknown, by name.
    """

    switches: ClassVar[tuple[str, ...]]

    def __init__(self, params: ParamsT, options: dict[str, Any]) -> None:
        """Check the options."""
        self._check_options(options)
        super().__init__(params, options)

    @abc.abstractmethod
    def _compute(self, operands: Operands, group: dict[str, Any], step: int) -> None:
        """Do step number `step`, from 1, of some parameters with the options of their group."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; what it does not say is as the optimizer was made.

        Raises:
            ConfigError: an option out of range or unknown, by name.
        """
        if isinstance(param_group, dict):
            unknown = sorted(map(str, param_group.keys() - self.defaults.keys() - set(_BESIDE)))
            if unknown:
                raise ConfigError(f"a parameter group has no option {unknown[0]!r}; known: {', '.join(self.defaults)}")
            self._check_options({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state; groups of another optimizer lack some options, which are then as this one was made."""
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
                raise ConfigError(f"the saved optimizer has {option} set, which {type(self).__name__} does not have")
        super().load_state_dict(state_dict)
        # torch brings all that is loaded to the parameters' dtype, which for 16-bit parameters is not the moments'.
        numbers = itertools.chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        parameters = itertools.chain.from_iterable(group["params"] for group in self.param_groups)
        for number, parameter in zip(numbers, parameters, strict=True):
            for name in ("exp_avg", "exp_avg_sq"):
                if number in state_dict["state"]:
                    moment = state_dict["state"][number][name].to(parameter.device, computed(parameter.dtype))
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
            self._check_step(group)
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
                    parameter, dtype=computed(parameter.dtype), memory_format=torch.contiguous_format
                )
        state["step"] = int(state["step"]) + 1  # torch's own AdamW, whose state may have been loaded, has a tensor
        return cast(int, state["step"])

    def _update(self, parameters: list[Tensor], group: dict[str, Any], step: int) -> None:
        """Do step number `step` of some parameters of a group."""
        direct = Operands([], [], [], [])
        for parameter in parameters:
            state = self.state[parameter]
            first, second = state["exp_avg"], state["exp_avg_sq"]
            gradient, dtype = cast(Tensor, parameter.grad), first.dtype
            if parameter.dtype == gradient.dtype == dtype and parameter.is_contiguous() and gradient.is_contiguous():
                for place, tensor in zip(direct, (parameter, gradient, first, second), strict=True):
                    place.append(tensor)
                continue
            # The kernel walks through memory from the first number on, in one dtype.
            weights = parameter.to(dtype, copy=True, memory_format=torch.contiguous_format)
            gradient = gradient.to(dtype).contiguous()
            self._compute(Operands([weights], [gradient], [first], [second]), group, step)
            parameter.copy_(weights)
        if direct.weights:
            self._compute(direct, group, step)

    def _check_options(self, options: dict[str, Any]) -> None:
        for name in ("lr", "eps", "weight_decay"):
            check_number(name, options[name], least=0.0)
        betas = options["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ConfigError(f"betas is {betas!r}, expected two numbers")
        for beta in betas:
            check_number("one of betas", beta, least=0.0, below=1.0)
        for name in self.switches:
            check_switch(name, options[name])

    def _check_step(self, group: dict[str, Any]) -> None:
        share = float(group["lr"]) * group["weight_decay"]
        if not share < 1.0:
            raise ConfigError(
                f"lr · weight_decay is {group['lr']} · {group['weight_decay']}, expected less than 1: a step would "
                "take more than all of a weight"
            )
        for parameter in group["params"]:
            if parameter.grad is not None and parameter.grad.layout != torch.strided:
                raise InputError(
                    f"the gradient of a parameter of shape {tuple(parameter.shape)} is sparse, and "
                    f"{type(self).__name__}'s moments change in every row; make the nn.Embedding with sparse=False"
                )


def computed(dtype: torch.dtype) -> torch.dtype:
    """Return what a parameter of `dtype` is computed in."""
    return torch.promote_types(dtype, torch.float32)


def correction(group: dict[str, Any], step: int) -> tuple[float, float]:
    """Return what makes up for moments that began at zero: a factor of the step m / (sqrt(v) + eps), and one of eps.

    The second is for an eps beside the corrected root: sqrt(v / c) + eps is (sqrt(v) + eps · sqrt(c)) / sqrt(c).
    Both are 1 in a group without `correct_bias`.
    """
    if not group["correct_bias"]:
        return 1.0, 1.0
    first, second = group["betas"]
    late = math.sqrt(1.0 - second**step)
    return late / (1.0 - first**step), late


def run_kernel(operands: Operands, options: dict[str, Any]) -> None:
    """Call torch's AdamW without its bias correction.

    With the new moments it does p = p - lr·weight_decay·p, then p = p - lr·m / (sqrt(v) + eps).

    Args:
        operands: as above.
        options: `lr`, `weight_decay`, `eps`, `beta1`, `beta2`.
    """
    # At step infinity β^t is 0, so torch leaves the bias as it is. The devices' own steps would have to be waited for.
    fused = all(weights.device.type in _FUSED for weights in operands.weights)
    never = {device: torch.full((), math.inf, device=device) for device in {p.device for p in operands.weights}}
    adamw(
        *operands,
        [],
        [never[weights.device] for weights in operands.weights],
        fused=True if fused else None,
        amsgrad=False,
        maximize=False,
        **options,
    )
