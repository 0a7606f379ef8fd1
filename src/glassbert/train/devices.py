"""Where a run computes: one process or several, on which device.

Alone a run needs nothing of this but the device. Started by `torchrun`, each of its processes computes a part of every
batch and gets the sum of all gradients, so that all make the same steps with the same weights; the first of them
writes, and is the only one that speaks. Processes are joined by lightning-fabric.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar, cast

import torch
from torch import Tensor, nn

from glassbert.errors import ConfigError, MissingExtraError, TrainingError
from glassbert.settings import Device

Item = TypeVar("Item")
# Bytes of gradients that are sent together.
_BUCKET: Final = 32 * 1024 * 1024


class Devices:
    """One process that computes alone.

    Attributes:
        device: where models and batches are.
        rank: the number of this process, from 0; the first is the one that writes and speaks.
        processes: how many there are.
    """

    rank = 0
    processes = 1

    def __init__(self, device: torch.device) -> None:
        """Take the device."""
        self.device = device

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.processes == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's part of some items; all parts together are all items."""
        return list(items[self.rank :: self.processes])

    def to_device(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Bring the tensors among some values to the device."""
        return {
            name: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }

    def gathered(self, item: Item) -> list[Item]:
        """Return what each process gives, in their order, on all of them."""
        return [item]

    def any(self, wish: bool) -> bool:
        """Whether it is true on some process."""
        return any(self.gathered(wish))

    def from_first(self, item: Item) -> Item:
        """Return on all processes what the first one gives."""
        return item

    def add_up(self, model: nn.Module, numbers: Sequence[float]) -> list[float]:
        """Give each parameter the sum of its gradients on all processes.

        Args:
            model: what is trained.
            numbers: such as the loss; equally many on all processes.

        Returns:
            the sum of each of the numbers.
        """
        return list(numbers)

    def wait(self) -> None:
        """Go on when all processes have come here."""


class _Several(Devices):
    """One of several processes."""

    def __init__(self, fabric: Any) -> None:
        super().__init__(fabric.device)
        self.rank, self.processes = fabric.global_rank, fabric.world_size
        self._fabric = fabric

    def gathered(self, item: Item) -> list[Item]:
        found: list[Any] = [None] * self.processes
        with _together():
            torch.distributed.all_gather_object(found, item)
        return found

    def from_first(self, item: Item) -> Item:
        with _together():
            return cast(Item, self._fabric.broadcast(item, src=0))

    def add_up(self, model: nn.Module, numbers: Sequence[float]) -> list[float]:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # A process without examples in this step has no gradients; those that nobody has stay away everywhere.
        here = [float(parameter.grad is not None) for parameter in parameters]
        with _together():
            told = torch.tensor([*numbers, *here], dtype=torch.float64)
            sums: list[float] = self._fabric.all_reduce(told, reduce_op="sum").tolist()
            used = [parameter for parameter, count in zip(parameters, sums[len(numbers) :], strict=True) if count]
            for parameter in used:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            for gradients in _buckets([cast(Tensor, parameter.grad) for parameter in used]):
                flat = torch.cat([gradient.flatten() for gradient in gradients])
                flat = self._fabric.all_reduce(flat, reduce_op="sum")
                for gradient, total in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
                    gradient.copy_(total.view_as(gradient))
        return sums[: len(numbers)]

    def wait(self) -> None:
        with _together():
            self._fabric.barrier()


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Say in one line that another process is gone.

    Raises:
        TrainingError: what the processes do together has failed.
    """
    try:
        yield
    except RuntimeError as error:
        raise TrainingError("lost the connection to the other processes; has one of them ended?") from error


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Divide gradients into runs of one dtype and some megabytes."""
    some: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if some and (size > _BUCKET or gradient.dtype != some[0].dtype):
            yield some
            some, size = [], 0
        some.append(gradient)
        size += gradient.numel() * gradient.element_size()
    if some:
        yield some


def launched() -> int:
    """Return how many processes `torchrun` has started this one among; 1 for a process on its own."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ and "MASTER_ADDR" in os.environ else 1


def rank() -> int:
    """Return the number of this process among those that `torchrun` has started, from 0."""
    return int(os.environ["RANK"]) if launched() > 1 else 0


@contextlib.contextmanager
def joined(wanted: Device) -> Iterator[Devices]:
    """Give the devices of a run: those of all processes, if `torchrun` has started several.

    Raises:
        ConfigError: a device that this machine does not have.
        MissingExtraError: several processes without lightning-fabric.
    """
    device = _device(wanted)
    if launched() == 1:
        yield Devices(device)
        return
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MissingExtraError("lightning-fabric", "train") from None
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    with _together():
        _meet(device)
    fabric = Fabric(accelerator=device.type, devices=here, num_nodes=launched() // here, strategy="ddp")
    fabric.launch()
    try:
        yield _Several(fabric)
    finally:
        torch.distributed.destroy_process_group()


_RUNS: Final = itertools.count()


def _meet(device: torch.device) -> None:
    """Join the processes.

    When `torchrun` starts processes anew it lets them meet in the same store, where the addresses of those before still
    stand (torch 2.13), and most of them wait for the dead. So on one machine each start has names of its own. Machines
    may count starts differently; there `TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1` before `torchrun` gives each a new store.
    It is the same store, too, for each of several runs of a program.
    """
    from torch.distributed.distributed_c10d import PrefixStore  # not there on every system, and never for one process
    from torch.distributed.rendezvous import rendezvous

    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, number, count = next(iter(rendezvous("env://")))
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if os.environ.get("GROUP_WORLD_SIZE", "1") == "1" else "-"
    store = PrefixStore(f"start {start}, run {next(_RUNS)}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, store=store, rank=number, world_size=count)


def _device(wanted: Device) -> torch.device:
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = "cuda" if has["cuda"] else "cpu"
    if not has[wanted]:
        there = ", ".join(name for name, found in has.items() if found)
        raise ConfigError(f"device is {wanted!r}, but this machine has {there}")
    return torch.device(wanted)
