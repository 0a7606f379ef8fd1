"""The events of a run as curves in TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from glassbert.errors import MissingExtraError, SaveError
from glassbert.train.events import Evaluation, Event, Step

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """Writes the events of a run into a folder that `tensorboard --logdir` shows.

    Use as a context manager and pass `show` as `on_event`. By step it writes `train/loss`, `train/learning_rate`,
    `train/grad_norm`, `train/tokens_per_second` and the figures of a loss that has parts, and `eval/…` for every
    figure of an evaluation.

    Args:
        folder: where to; it may hold other runs.

    Raises:
        MissingExtraError: tensorboard is not installed.
        SaveError: nothing can be written there.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open the file of this run."""
        writer = _writer_class()
        try:
            self._writer: SummaryWriter = writer(str(folder))
        except OSError as error:
            raise SaveError(f"cannot write {folder}: {error.strerror or error}") from None

    def __enter__(self) -> TensorBoard:
        """Go on."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left and close the file."""
        self._writer.close()

    def show(self, event: Event) -> None:
        """Take one event of a training run."""
        if isinstance(event, Step):
            values = {
                **{f"train/{name}": value for name, value in event.figures.items()},
                "train/loss": event.loss,
                "train/learning_rate": event.learning_rate,
                "train/grad_norm": event.grad_norm,
                "train/tokens_per_second": event.tokens / event.seconds if event.seconds > 0 else math.nan,
            }
        elif isinstance(event, Evaluation):
            values = {f"eval/{name}": value for name, value in event.metrics.figures().items()}
        else:
            return
        for name, value in values.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, event.step)
        if isinstance(event, Evaluation):
            self._writer.flush()


def _writer_class() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("tensorboard", "train") from None
    return SummaryWriter
