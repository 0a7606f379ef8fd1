"""Whether the weights of a model are still those that an engine was made of.

An engine computes with copies of some weights and with others themselves; once the model's change, its answers belong
to neither model. Looked at are the versions that torch counts for changes in place (of `load_state_dict`, by hand),
where in memory the numbers lie, and whether the modules are still there. Kernels of optimizers that do a whole step
(`fused=True`, and those of other libraries) count no version, so once there is an engine it is counted for them, after
each step. What goes past all this leaves no trace: writing through `.data` or through numpy.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from glassbert.errors import InputError

# Called for every weight at every call of an engine, so looked up once.
_version_of: Final = torch.Tensor._version.__get__  # type: ignore[attr-defined]
_place_of: Final = torch.Tensor.data_ptr


class Watch:
    """Notices that a model was changed, and keeps none of it alive."""

    def __init__(self, model: nn.Module | None) -> None:
        """Remember how the parameters of `model` stand now; None is one that nobody can change."""
        self._model = None if model is None else weakref.ref(model)
        if model is None:
            return
        _count_steps()
        own = [module for module in model.modules() if any(one is not None for one in module._parameters.values())]
        self._modules = [weakref.ref(module) for module in own]
        self._state = _state_of(own)

    def __reduce__(self) -> tuple[type[Watch], tuple[None]]:
        """Watch nothing in a copy: it has weights of its own."""
        return Watch, (None,)

    def check(self) -> None:
        """Do nothing where the weights are what they were, or where the model is gone.

        Raises:
            InputError: they are not.
        """
        if self._model is None or self._model() is None:
            return
        modules = [module for reference in self._modules if (module := reference()) is not None]
        if len(modules) < len(self._modules) or _state_of(modules) != self._state:
            raise InputError("the weights of the model changed after the engine was built; make a new engine")


def _state_of(modules: list[Any]) -> tuple[list[int | None], list[int]]:
    """Return version and place in memory of each parameter; a new one has another place while the old one is there."""
    found: list[Tensor] = [one for module in modules for one in module._parameters.values() if one is not None]
    try:
        versions: list[int | None] = list(map(_version_of, found))
    except RuntimeError:  # a tensor made in inference mode has none
        versions = [None if one.is_inference() else one._version for one in found]
    return versions, list(map(_place_of, found))


@functools.cache
def _count_steps() -> None:
    """Let every step of an optimizer count as a change of its parameters, from now on."""
    register_optimizer_step_post_hook(_count)


def _count(optimizer: Optimizer, arguments: Any, named: Any) -> None:
    changed = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
    increment_version([one for one in changed if not one.is_inference()])
