"""What a search for settings tells while it goes on, and what it returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from glassbert.settings import FinetuneSettings
from glassbert.train.events import Evaluation, Notice, Progress, Step

State = Literal["running", "done", "pruned", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One training with settings of its own.

    Attributes:
        number: from 1; a trial that was interrupted and runs again keeps it.
        values: the searched settings, by name.
        state: pruned trials were ended early, failed ones could not go on.
        metric: by which trials are compared.
        figure: the best that was reached, as the metric has it; None before the first evaluation.
        value: the same, made so that more is better.
        step, epoch: at which that was.
        seconds: that the trial took.
        tokens: that it learned from.
        why: it failed.
    """

    number: int
    values: Mapping[str, float]
    state: State
    metric: str = ""
    figure: float | None = None
    value: float | None = None
    step: int | None = None
    epoch: int | None = None
    seconds: float = 0.0
    tokens: int = 0
    why: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialEvent:
    """A trial began, went on or ended.

    Attributes:
        trial: as it is now.
        trials: of how many.
        finished: how many are behind us.
        best: of those that are done, if there is one.
        event: of the training; None where the trial begins or ends.
    """

    trial: Trial
    trials: int
    finished: int
    best: Trial | None
    event: Step | Evaluation | Notice | Progress | None = None


TuningEvent = TrialEvent | Notice | Progress
OnTuningEvent = Callable[[TuningEvent], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningResult:
    """What a search for settings returns.

    Attributes:
        folder: where the model of the best trial stands now.
        settings: of the best trial; `finetune` with them gives the same model again.
        trials: all of them, by number.
        best: the best of those that are done, the earliest of equals.
    """

    folder: Path
    settings: FinetuneSettings
    trials: Sequence[Trial]
    best: Trial


def in_short(value: float) -> str:
    """Return the value of a setting as one reads it; rates are all of one form."""
    return f"{value:.2e}" if 0 < abs(value) <= 1e-3 else f"{value:.3g}" if isinstance(value, float) else str(value)


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """Return the best trial that is done, the earliest of equals; None where there is none."""
    done = [trial for trial in trials if trial.state == "done" and trial.value is not None]
    return max(done, key=lambda trial: (trial.value, -trial.number), default=None)


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials in the order of a table: done before pruned before failed, the best first."""
    order: Sequence[State] = ("done", "pruned", "failed", "running")

    def rank(trial: Trial) -> tuple[int, float, int]:
        return order.index(trial.state), -(trial.value or 0.0), trial.number

    return sorted(trials, key=rank)


def best_so_far(trials: Iterable[Trial]) -> list[tuple[int, float]]:
    """Return the number of each trial and the best figure until then, from the first trial that is done."""
    found: list[tuple[int, float]] = []
    best: Trial | None = None
    for trial in sorted(trials, key=lambda trial: trial.number):
        best = best_of([trial] if best is None else [best, trial])
        if best is not None and best.figure is not None:
            found.append((trial.number, best.figure))
    return found
