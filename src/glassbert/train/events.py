"""What a run tells while it goes on, and what it returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from glassbert.tasks import AnyTask
from glassbert.tasks.task import Metrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What one optimizer step did.

    Attributes:
        step, steps: its number, from 1, and how many there will be.
        epoch: from 1.
        loss: mean over the examples of the step; where a loss has several parts, the sum of their means.
        learning_rate: that the step was made with, the highest where parts have rates of their own.
        grad_norm: joint norm of the gradients before clipping.
        tokens: real tokens of the step.
        seconds: that the step took.
        figures: what else was measured of the step, by name: the parts of a loss, accuracies.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics on held-out data after optimizer step `step`, in epoch `epoch`, from 1.

    Attributes:
        value: the figure that models are compared by, made so that more is better.
        name: of that figure.
        best: whether it is better than all before it.
    """

    epoch: int
    step: int
    metrics: Metrics
    name: str
    value: float
    best: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Notice:
    """Something the user should know, as one line."""

    message: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How many examples have been read, turned into tokens or answered so far; told now and then.

    Attributes:
        doing: what is done, such as "reading training data".
        done: how many.
        total: of how many, where that is known.
    """

    doing: str
    done: int
    total: int | None


Event = Step | Evaluation | Notice | Progress
OnEvent = Callable[[Event], None]


class StopTraining(Exception):  # noqa: N818  # a wish, not an error
    """Raised by a callback to end training after this step or evaluation; the model is saved as at any other end."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a recipe returns.

    Attributes:
        name: of what the model has learned, as a task has it.
        task: that it has learned; None where this is none, as in pretraining.
        folder: where the model stands now.
        history: every step.
        evaluations: on held-out data, in order.
        saved: the evaluation of the saved weights, if they were evaluated.
        test: metrics of the saved model on the test data, if there is such.
    """

    name: str
    task: AnyTask | None
    folder: Path
    history: Sequence[Step]
    evaluations: tuple[Evaluation, ...]
    saved: Evaluation | None
    test: Metrics | None

    @property
    def metrics(self) -> Metrics | None:
        """The metrics of the saved model: on test data, else on held-out data, if there is either."""
        return self.test or (self.saved.metrics if self.saved else None)


def silent(_: Event) -> None:
    """Take an event and do nothing."""
