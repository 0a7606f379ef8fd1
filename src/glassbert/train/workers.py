"""Trials of a search, each a fine-tuning of its own, here or in another process."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import pickle
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import torch

from glassbert.data.processes import interrupts_held_back
from glassbert.errors import ConfigError, GlassbertError, InputError, TrainingError
from glassbert.settings import FinetuneSettings
from glassbert.tasks import AnyTask
from glassbert.train.events import Evaluation, Event, OnEvent
from glassbert.train.finetuning import finetune
from glassbert.train.trials import State


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended, and why if it failed."""

    state: State
    why: str = ""


class Pruned(Exception):  # noqa: N818  # a decision, not an error
    """Raised by a callback to end a trial without saving anything."""


def run_trial(settings: FinetuneSettings, task: AnyTask | None, tell: OnEvent) -> Outcome:
    """Fine-tune as the settings say.

    Args:
        settings: of the trial.
        task: in place of that which the settings name.
        tell: takes every event; may raise `Pruned`.

    Raises:
        GlassbertError: what would be wrong with every other trial as well.
    """
    try:
        finetune(settings, task=task, on_event=tell)
    except Pruned:
        return Outcome("pruned")
    except InputError as error:
        # Scores that are not finite, of weights that are; what is wrong with the data has been told before any trial.
        return Outcome("failed", f"{error}; a lower learning rate may help")
    except (TrainingError, torch.OutOfMemoryError) as error:
        return Outcome("failed", str(error))
    return Outcome("done")


class LostError(Exception):
    """A worker has ended without a word.

    Attributes:
        code: its exit code; below 0 the number of the signal that killed it.
    """

    def __init__(self, code: int) -> None:
        """Take the exit code."""
        super().__init__(code)
        self.code = code


class Worker:
    """A process that runs one trial after the other. Use as a context manager.

    Args:
        task: in place of that which the settings name.
        threads: with which it computes.

    Attributes:
        connection: has something to read when the worker has something to say.

    Raises:
        ConfigError: a task that cannot be sent to another process.
    """

    def __init__(self, task: AnyTask | None, threads: int) -> None:
        """Start the process."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, task, threads), daemon=True)
        with _sendable("the task"), interrupts_held_back():
            self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        """Go on."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End the process, whatever it is at; a trial that is not done leaves nothing behind."""
        self.connection.close()
        self._process.terminate()
        self._process.join()

    def begin(self, settings: FinetuneSettings) -> None:
        """Run a trial; `receive` gives its events and then its outcome.

        Raises:
            ConfigError: settings that hold what cannot be sent to another process.
        """
        with _sendable("the data"):
            message = pickle.dumps(settings)
        with contextlib.suppress(ConnectionError):  # `receive` tells
            self.connection.send_bytes(message)

    def receive(self) -> Event | Outcome:
        """Return the next event or the outcome; every evaluation waits for `answer`.

        Raises:
            GlassbertError: what the trial raised.
            LostError: the process is gone.
        """
        try:
            message: Event | Outcome | GlassbertError = self.connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise LostError(self._process.exitcode or 0) from None
        if isinstance(message, GlassbertError):
            raise message
        return message

    def answer(self, *, prune: bool) -> None:
        """Say whether the trial is to be ended, after an evaluation."""
        with contextlib.suppress(ConnectionError):
            self.connection.send(prune)


def _work(connection: Connection, task: AnyTask | None, threads: int) -> None:
    """Run trials until the other side is gone, be it by a crash."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began this
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing half-written stays behind
    torch.set_num_threads(threads)

    def tell(event: Event) -> None:
        connection.send(event)
        if isinstance(event, Evaluation) and connection.recv():
            raise Pruned

    try:
        while True:
            settings = pickle.loads(connection.recv_bytes())
            try:
                connection.send(run_trial(settings, task, tell))
            except GlassbertError as error:
                connection.send(error)
    except (EOFError, ConnectionError):
        return
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # on the way out there is nothing to interrupt


@contextlib.contextmanager
def _sendable(what: str) -> Iterator[None]:
    try:
        yield
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(f"{what} cannot be sent to workers ({error}); run with one worker") from None
