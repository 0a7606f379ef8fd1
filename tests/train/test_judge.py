"""What judges a model while it is trained, whatever is measured: best weights, patience, state."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch

from glassbert.settings import LoopSettings
from glassbert.tasks.task import Metrics
from glassbert.train import Evaluation, Notice, StopTraining
from glassbert.train.judge import Judge
from tests.train.test_loop import fresh


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held(Metrics):
    """Of held-out text."""

    main_name: ClassVar[str] = "loss"
    lower_is_better: ClassVar[tuple[str, ...]] = ("loss",)

    loss: float
    accuracy: float
    examples: int = 10


class TextJudge(Judge):
    """Measures losses as they are given, and notes which were kept."""

    def __init__(self, losses: Sequence[float], **settings: Any) -> None:
        self.model, self.events, self.kept = fresh(), list[Any](), list[float]()
        super().__init__(self.model, LoopSettings(**settings), self.events.append)
        self.left = list(losses)
        self.latest = 0.0

    def measure(self) -> Held | None:
        if not self.left:
            return None
        self.latest = self.left.pop(0)
        return Held(loss=self.latest, accuracy=1.0 - self.latest / 10)

    def keep(self) -> None:
        self.kept.append(self.latest)

    def train(self, evaluations: int) -> None:
        """Evaluate after each of some steps, which count themselves in the weights."""
        for step in range(len(self.evaluations) + 1, len(self.evaluations) + evaluations + 1):
            with torch.no_grad():
                self.model.classifier.bias.fill_(float(step))
            self.evaluate(1, step)

    @property
    def weight(self) -> float:
        return float(self.model.classifier.bias[0].detach())


LOSSES = [5.0, 3.0, 4.0, 3.0, 3.5]


def test_less_is_better_where_the_figure_says_so() -> None:
    judge = TextJudge(LOSSES, keep="best")
    judge.train(5)
    assert [one.best for one in judge.evaluations] == [True, True, False, False, False]
    assert [one.value for one in judge.evaluations] == [-loss for loss in LOSSES]
    assert judge.best is judge.saved is judge.evaluations[1]
    assert judge.kept == [5.0, 3.0]
    assert judge.weight == 5.0
    assert judge.finish() is True
    assert judge.weight == 2.0
    assert judge.events[-1] == Notice(message="kept: step 2, the best with loss 3.0000")
    assert not judge.model.training


def test_another_figure_may_be_chosen_of_which_more_is_better() -> None:
    judge = TextJudge(LOSSES, keep="best", metric="accuracy")
    judge.train(5)
    assert judge.saved is judge.evaluations[1]
    assert (judge.saved.name, judge.saved.value) == ("accuracy", 0.7)


def test_the_last_weights_are_kept_unless_the_best_are_wanted() -> None:
    judge = TextJudge(LOSSES)
    judge.train(5)
    assert judge.saved is judge.evaluations[-1]
    assert judge.kept == LOSSES
    assert judge.finish() is False
    assert judge.weight == 5.0
    assert [type(event) for event in judge.events] == [Evaluation] * 5


def test_patience_counts_evaluations_without_a_lower_loss() -> None:
    judge = TextJudge([*LOSSES, 1.0], patience=3)
    with pytest.raises(StopTraining):
        judge.train(6)
    assert len(judge.evaluations) == 5
    assert judge.events[-1] == Notice(message="stopped: loss was no better for 3 evaluations, patience is over")
    assert judge.finish() is True
    assert judge.weight == 2.0


def test_a_judge_goes_on_from_its_state() -> None:
    first = TextJudge(LOSSES, keep="best")
    first.train(3)
    tensors, values = first.state()
    second = TextJudge(LOSSES[3:], keep="best")
    second.put_state(tensors, values)
    assert second.evaluations == first.evaluations
    assert second.saved == first.saved
    assert isinstance(second.evaluations[0].metrics, Held)
    second.train(2)
    assert second.finish() is True
    assert second.weight == 2.0


def test_without_held_out_data_nothing_is_judged() -> None:
    judge = TextJudge([], keep="best")
    judge.train(2)
    assert judge.evaluations == judge.events == []
    assert judge.finish() is False
    assert judge.weight == 2.0
