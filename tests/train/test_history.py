"""The steps of a run: a few numbers each, `Step`s when asked for; and what is kept of long runs."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest

from glassbert import TrainingError
from glassbert.train import Step
from glassbert.train.history import MOST_RECORDED, History, curves_of, ends_of


def steps(count: int, **figures: float) -> list[Step]:
    """Steps whose numbers are all different."""
    return [
        Step(
            step=number,
            steps=count + 5,
            epoch=1 + number // 7,
            loss=1.0 / number,
            learning_rate=1e-3 / (number + 1),
            grad_norm=float(number % 5),
            tokens=2**40 + number,
            seconds=0.1 * number,
            figures={name: value + number for name, value in figures.items()},
        )
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("figures", [{}, {"masked_loss": 0.5, "accuracy": 0.1}], ids=str)
def test_a_history_gives_back_what_was_appended(figures: dict[str, float]) -> None:
    told = steps(20, **figures)
    history = History(25)
    for step in told:
        history.append(step)
    assert len(history) == 20
    assert list(history) == told
    assert (history[0], history[-1], history[-20]) == (told[0], told[-1], told[0])
    assert history[3:17:4] == told[3:17:4]
    assert history[::-1] == told[::-1]
    assert history.figures == tuple(figures)
    for place in (20, -21):
        with pytest.raises(IndexError):
            history[place]
    again = History.of_matrix(history.to_matrix(), 25, history.figures)
    assert list(again) == told
    assert History.of(told).to_matrix().tolist() == again.to_matrix().tolist()
    assert History.of(again) is again
    again.append(dataclasses.replace(told[-1], step=21))
    assert again[-1].step == 21
    assert history.column("loss").tolist() == [step.loss for step in told]
    assert history.column("tokens").tolist() == [step.tokens for step in told]
    for name in figures:
        assert history.figure(name).tolist() == [step.figures[name] for step in told]


def test_an_empty_history() -> None:
    assert len(History(3)) == 0
    assert not History(3)
    assert History.of_matrix(np.zeros((0, 6)), 3)[:] == []
    assert History.of([]).to_matrix().shape == (0, 6)


def test_what_cannot_follow_is_refused() -> None:
    history = History(8)
    one, two, three = steps(3, masked=0.0)
    history.append(one)
    with pytest.raises(TrainingError, match="step 3 is reported after 1 steps"):
        history.append(three)
    with pytest.raises(TrainingError, match="the figures of step 2 are none; before they were masked"):
        history.append(dataclasses.replace(two, figures={}))
    history.append(two)
    assert list(history) == [one, two]


def test_a_step_takes_some_tens_of_bytes() -> None:
    history, (step,) = History(30_000), steps(1, masked=0.0)
    tracemalloc.start()
    for number in range(1, 30_001):
        history.append(dataclasses.replace(step, step=number))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 30_000 * 8 * 7 * 1.3


@pytest.mark.parametrize("count", [1, 7, MOST_RECORDED])
def test_of_a_run_that_is_not_long_every_step_is_kept(count: int) -> None:
    told = steps(count, accuracy=0.5)
    curves = curves_of(History.of(told))
    assert curves.steps_per_point == 1
    assert curves.losses == [step.loss for step in told]
    assert curves.learning_rates == [step.learning_rate for step in told]
    assert curves.grad_norms == [step.grad_norm for step in told]
    assert curves.figures == {"accuracy": [step.figures["accuracy"] for step in told]}
    assert ends_of(count, count, 1) == list(range(1, count + 1))


@pytest.mark.parametrize(("count", "size"), [(5001, 2), (9_999, 2), (10_000, 2), (10_001, 3), (12_345, 3)])
def test_of_a_long_run_means_over_equal_windows_are_kept(count: int, size: int) -> None:
    told = steps(count, accuracy=0.5)
    curves = curves_of(History.of(told))
    parts = [told[begin : begin + size] for begin in range(0, count, size)]
    assert curves.steps_per_point == size
    assert len(parts) <= MOST_RECORDED
    assert curves.losses == pytest.approx([sum(step.loss for step in part) / len(part) for part in parts])
    assert curves.grad_norms == pytest.approx([sum(step.grad_norm for step in part) / len(part) for part in parts])
    assert curves.figures["accuracy"] == pytest.approx(
        [sum(step.figures["accuracy"] for step in part) / len(part) for part in parts]
    )
    assert curves.learning_rates == [part[-1].learning_rate for part in parts]
    assert ends_of(len(parts), count, size) == [part[-1].step for part in parts]
