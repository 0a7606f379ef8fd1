"""How the learning rate goes up and down: the six schedules of transformers 4.4.2, by function and by name."""

from __future__ import annotations

import abc
import dataclasses
import enum
import inspect
import math
from collections.abc import Callable
from typing import Any, Final

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from glassbert.errors import ConfigError
from glassbert.train.checks import check_count, check_number


class SchedulerType(enum.StrEnum):
    """The names of the schedules; each is also the string that it equals."""

    LINEAR = "linear"
    COSINE = "cosine"
    COSINE_WITH_RESTARTS = "cosine_with_restarts"
    POLYNOMIAL = "polynomial"
    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"

    @classmethod
    def _missing_(cls, value: object) -> SchedulerType:
        raise ConfigError(f"schedule is {value!r}, expected one of {', '.join(cls)}")


# A factor of the rate is an object with fields, not a closure: a scheduler's state then holds it, and can be pickled.


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Factor(abc.ABC):
    num_warmup_steps: int

    def __call__(self, step: int) -> float:
        if step < self.num_warmup_steps:
            return step / self.num_warmup_steps
        return self.after_warmup(step)

    @abc.abstractmethod
    def after_warmup(self, step: int) -> float:
        """Return the factor from the end of the warm-up on."""


class _Constant(_Factor):
    def after_warmup(self, step: int) -> float:
        return 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Decreasing(_Factor, abc.ABC):
    num_training_steps: int

    @property
    def steps(self) -> int:
        """How many steps the way down has; at least one, since it is divided by."""
        return max(1, self.num_training_steps - self.num_warmup_steps)

    def progress(self, step: int) -> float:
        """From 0 at the end of the warm-up to 1 at the end of training, and on."""
        return (step - self.num_warmup_steps) / self.steps


class _Linear(_Decreasing):
    def after_warmup(self, step: int) -> float:
        return max(0.0, (self.num_training_steps - step) / self.steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cosine(_Decreasing):
    num_cycles: float

    def after_warmup(self, step: int) -> float:
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * self.num_cycles * 2.0 * self.progress(step))))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _HardRestarts(_Decreasing):
    num_cycles: int

    def after_warmup(self, step: int) -> float:
        progress = self.progress(step)
        if progress >= 1.0:
            return 0.0
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * (self.num_cycles * progress % 1.0))))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Polynomial(_Decreasing):
    lr: float
    lr_end: float
    power: float

    def after_warmup(self, step: int) -> float:
        if step >= self.num_training_steps:
            return self.lr_end / self.lr
        share: float = (1.0 - self.progress(step)) ** self.power
        return ((self.lr - self.lr_end) * share + self.lr_end) / self.lr


def get_constant_schedule(optimizer: Optimizer, last_epoch: int = -1) -> LambdaLR:
    """Leave the rate as it is. Source: the function of this name of transformers 4.4.2.

    Args:
        optimizer: whose rates are set, at once and by each `step()`.
        last_epoch: how many steps were made before, less one; -1 begins anew.
    """
    return LambdaLR(optimizer, _Constant(num_warmup_steps=0), last_epoch)


def get_constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, last_epoch: int = -1) -> LambdaLR:
    """Raise the rate in a line from 0, then leave it. Source: the function of this name of transformers 4.4.2.

    Args:
        optimizer: whose rates are set, at once and by each `step()`.
        num_warmup_steps: optimizer steps until the rate is whole; 0 begins there.
        last_epoch: how many steps were made before, less one; -1 begins anew.

    Raises:
        ConfigError: a number of steps that is none.
    """
    check_count("num_warmup_steps", num_warmup_steps)
    return LambdaLR(optimizer, _Constant(num_warmup_steps=num_warmup_steps), last_epoch)


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Raise the rate in a line from 0, then lower it in a line to 0, where it stays.

    Source: the function of this name of transformers 4.4.2.

    Args:
        optimizer: whose rates are set, at once and by each `step()`.
        num_warmup_steps: optimizer steps until the rate is whole; 0 begins there.
        num_training_steps: optimizer steps in all, the warm-up among them.
        last_epoch: how many steps were made before, less one; -1 begins anew.

    Raises:
        ConfigError: a number of steps that is none.
    """
    check_count("num_warmup_steps", num_warmup_steps)
    check_count("num_training_steps", num_training_steps)
    factor = _Linear(num_warmup_steps=num_warmup_steps, num_training_steps=num_training_steps)
    return LambdaLR(optimizer, factor, last_epoch)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
) -> LambdaLR:
    """Raise the rate in a line from 0, then let it follow a cosine.

    Source: the function of this name of transformers 4.4.2, whose rate rises again past the end; so does this one.

    Args:
        optimizer: whose rates are set, at once and by each `step()`.
        num_warmup_steps: optimizer steps until the rate is whole; 0 begins there.
        num_training_steps: optimizer steps in all, the warm-up among them.
        num_cycles: waves from the end of the warm-up to the end of training; half a wave ends at 0.
        last_epoch: how many steps were made before, less one; -1 begins anew.

    Raises:
        ConfigError: a number of steps or waves that is none.
    """
    check_count("num_warmup_steps", num_warmup_steps)
    check_count("num_training_steps", num_training_steps)
    check_number("num_cycles", num_cycles)
    factor = _Cosine(
        num_warmup_steps=num_warmup_steps, num_training_steps=num_training_steps, num_cycles=float(num_cycles)
    )
    return LambdaLR(optimizer, factor, last_epoch)


def get_cosine_with_hard_restarts_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: int = 1,
    last_epoch: int = -1,
) -> LambdaLR:
    """Raise the rate in a line from 0, then lower it to 0 along half a cosine, several times; then it stays at 0.

    Sources: the function of this name of transformers 4.4.2; SGDR (arXiv 1608.03983).

    Args:
        optimizer: whose rates are set, at once and by each `step()`.
        num_warmup_steps: optimizer steps until the rate is whole; 0 begins there.
        num_training_steps: optimizer steps in all, the warm-up among them.
        num_cycles: how many times.
        last_epoch: how many steps were made before, less one; -1 begins anew.

    Raises:
        ConfigError: a number of steps or times that is none.
    """
    check_count("num_warmup_steps", num_warmup_steps)
    check_count("num_training_steps", num_training_steps)
    check_count("num_cycles", num_cycles)
    if num_cycles == 0:
        raise ConfigError(f"num_cycles is {num_cycles!r}, expected a whole number of 1 or more")
    factor = _HardRestarts(
        num_warmup_steps=num_warmup_steps, num_training_steps=num_training_steps, num_cycles=num_cycles
    )
    return LambdaLR(optimizer, factor, last_epoch)


def get_polynomial_decay_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float = 1e-7,
    power: float = 1.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """Raise the rate in a line from 0, then lower it along a polynomial to `lr_end`, where it stays.

    Source: the function of this name of transformers 4.4.2. Each parameter group ends at `lr_end`, whatever rate it
    begins with.

    Args:
        optimizer: whose rates are set, at once and by each `step()`.
        num_warmup_steps: optimizer steps until the rate is whole; 0 begins there.
        num_training_steps: optimizer steps in all, the warm-up among them.
        lr_end: the rate at the end.
        power: of the polynomial; 1 is a line.
        last_epoch: how many steps were made before, less one; -1 begins anew.

    Raises:
        ConfigError: a number of steps that is none, a power or rate out of range, or a group whose rate is not above
            `lr_end`.
    """
    check_count("num_warmup_steps", num_warmup_steps)
    check_count("num_training_steps", num_training_steps)
    check_number("power", power)
    check_number("lr_end", lr_end, least=0.0)
    factors: list[Callable[[int], float]] = []
    for number, group in enumerate(optimizer.param_groups):
        lr = float(group.get("initial_lr", group["lr"]))
        if not lr > lr_end:
            raise ConfigError(f"lr_end is {lr_end!r}, expected less than the rate of parameter group {number}, {lr!r}")
        factors.append(
            _Polynomial(
                num_warmup_steps=num_warmup_steps,
                num_training_steps=num_training_steps,
                lr=lr,
                lr_end=lr_end,
                power=power,
            )
        )
    return LambdaLR(optimizer, factors, last_epoch)


TYPE_TO_SCHEDULER_FUNCTION: Final[dict[SchedulerType, Callable[..., LambdaLR]]] = {
    SchedulerType.LINEAR: get_linear_schedule_with_warmup,
    SchedulerType.COSINE: get_cosine_schedule_with_warmup,
    SchedulerType.COSINE_WITH_RESTARTS: get_cosine_with_hard_restarts_schedule_with_warmup,
    SchedulerType.POLYNOMIAL: get_polynomial_decay_schedule_with_warmup,
    SchedulerType.CONSTANT: get_constant_schedule,
    SchedulerType.CONSTANT_WITH_WARMUP: get_constant_schedule_with_warmup,
}


def get_scheduler(
    name: str | SchedulerType,
    optimizer: Optimizer,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    **specific: Any,
) -> LambdaLR:
    """Return a schedule by its name.

    Args:
        name: one of `SchedulerType`.
        optimizer: whose rates are set, at once and by each `step()`.
        num_warmup_steps: needed by all but "constant", which takes no notice of it.
        num_training_steps: needed by all but "constant" and "constant_with_warmup", which take no notice of it.
        specific: what the function behind the name takes beside: `num_cycles`, `lr_end`, `power`, `last_epoch`.

    Raises:
        ConfigError: an unknown name, a number that the schedule needs and was not given, or what its function raises.
        TypeError: an argument that its function does not take.
    """
    name = SchedulerType(name)
    function = TYPE_TO_SCHEDULER_FUNCTION[name]
    taken = inspect.signature(function).parameters
    counts = {"num_warmup_steps": num_warmup_steps, "num_training_steps": num_training_steps}
    needed = {count: value for count, value in counts.items() if count in taken}
    for count, value in needed.items():
        if value is None:
            raise ConfigError(f"the schedule {name!s} needs {count}")
    return function(optimizer, **needed, **specific)
