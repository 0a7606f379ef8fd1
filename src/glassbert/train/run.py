"""What recipes do round their training: whose random numbers are drawn, who is told, what outlasts an interruption."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from glassbert import native
from glassbert.errors import ConfigError
from glassbert.settings import CheckpointSettings, LoopSettings, RunSettings
from glassbert.train.devices import Devices
from glassbert.train.events import Evaluation, Event, Notice, OnEvent, Step, StopTraining
from glassbert.train.interruption import Interrupted, Interruption
from glassbert.train.state import Checkpoints, Keeper, Stateful

# Runs that share torch's random state would not be the same again.
_ONE_AT_A_TIME: Final = threading.RLock()


@dataclasses.dataclass
class Run:
    """One run of a recipe, from the first random number to the result.

    Attributes:
        settings: as they were given; those without a place for checkpoints have none.
        devices: this process among those that train together.
        on_event: tells whoever listens: the caller, TensorBoard.
        interruption: a wish to end, which is looked at often.
    """

    settings: LoopSettings
    devices: Devices
    on_event: OnEvent
    interruption: Interruption = dataclasses.field(default_factory=Interruption)
    _checkpoints: Checkpoints | None = None

    def separate(self) -> None:
        """Give each process dropout of its own; called when all have made the same model."""
        if self.devices.rank:
            torch.manual_seed(self.settings.seed + self.devices.rank)

    def keeper(self, told: Mapping[str, Any], others: Mapping[str, Stateful]) -> Keeper | None:
        """Return what saves the state of this run; None where that is not wanted.

        Args:
            told: what makes the run the run that it is, beside its settings.
            others: what is kept beside model, optimizer and steps.
        """
        settings = self.settings
        if not isinstance(settings, CheckpointSettings) or settings.keep_checkpoints == 0:
            return None
        everything = {
            "settings": settings.to_dict(),
            **told,
            "processes": self.devices.processes,
            "machine": {
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "kernels in C": native.available,
            },
        }
        self._checkpoints = Checkpoints(
            settings.checkpoints, everything, every=settings.save_every, keep=settings.keep_checkpoints
        )
        if settings.overwrite and not settings.resume and self.devices.first:
            self._checkpoints.clear()
        say = functools.partial(_say, self.on_event)
        return Keeper(self._checkpoints, self.devices, others, resume=settings.resume, say=say)

    def finish(self) -> None:
        """Tidy up: the result stands."""
        if self._checkpoints is not None and self.devices.first:
            self._checkpoints.finish()

    def tell_saved(self) -> None:
        """Say where an interrupted run can go on from."""
        if self._checkpoints is not None and self._checkpoints.found() and self.devices.first:
            self.on_event(Notice(message=f"saved in {self._checkpoints.found()[0]}; --resume goes on from there"))


@contextlib.contextmanager
def run_of(settings: RunSettings, devices: Devices, on_event: OnEvent) -> Iterator[Run]:
    """Give a run: torch's random state is seeded, and as before at the end; signals are wishes.

    Runs in several threads wait for each other, since dropout draws from torch's one random state.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ONE_AT_A_TIME)
        if settings.tensorboard is not None and devices.first:
            from glassbert.train.tensorboard import TensorBoard  # with a library of its own

            board = stack.enter_context(TensorBoard(settings.tensorboard))
            on_event = _both(board.show, on_event)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(settings.seed)
        run = Run(settings, devices, on_event)
        stack.enter_context(run.interruption.watched())
        try:
            yield run
        except Interrupted:
            run.tell_saved()
            raise


def check_begin(settings: RunSettings, out: Path) -> None:
    """Refuse what would do harm at the end, before the work.

    Raises:
        ConfigError: TensorBoard's folder is the output folder, or inside it.
        OutputExistsError: there are checkpoints of another run, and neither `resume` nor `overwrite` is given.
    """
    if settings.tensorboard is not None and Path(settings.tensorboard).resolve().is_relative_to(out.resolve()):
        raise ConfigError(
            f"tensorboard is {settings.tensorboard}, inside {settings.out}, which appears as a whole at the end; "
            f"take a folder beside it, such as {out}-runs"
        )
    if not settings.resume and not settings.overwrite:
        Checkpoints(settings.checkpoints, {}).check_new()


def patient(on_event: OnEvent) -> OnEvent:
    """Let a wish to stop that comes with a notice wait for the next step, or evaluation, which can follow it."""
    stop = False

    def show(event: Event) -> None:
        nonlocal stop
        try:
            on_event(event)
        except StopTraining:
            stop = True
        if stop and isinstance(event, Step | Evaluation):
            raise StopTraining

    return show


def _say(on_event: OnEvent, message: str) -> None:
    on_event(Notice(message=message))


def _both(one: OnEvent, other: OnEvent) -> OnEvent:
    def show(event: Event) -> None:
        one(event)
        other(event)

    return show
