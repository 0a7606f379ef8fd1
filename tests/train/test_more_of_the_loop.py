"""What else the loop can do: accumulate, count steps, evaluate on the way, stop, save memory, compute in bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from glassbert.train import Step, StopTraining, TrainingSettings, fit
from tests.train.test_loop import NO_DROPOUT, collate, features, fresh


def weights(model: Any) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def trained(settings: TrainingSettings, **more: Any) -> tuple[Sequence[Step], list[Tensor]]:
    model = fresh(**NO_DROPOUT)
    history = fit(model, features(24), collate, settings, **more)
    return history, weights(model)


def close(one: list[Tensor], other: list[Tensor], most: float) -> bool:
    return all(float((a - b).abs().max()) <= most for a, b in zip(one, other, strict=True))


def test_accumulated_batches_are_one_larger_batch() -> None:
    whole, expected = trained(TrainingSettings(epochs=2, batch_size=12, learning_rate=1e-3))
    parts, found = trained(TrainingSettings(epochs=2, batch_size=4, accumulation=3, learning_rate=1e-3))
    assert [step.loss for step in parts] == pytest.approx([step.loss for step in whole], abs=1e-6)
    assert len(parts) == 4
    assert close(found, expected, 1e-6)


def test_where_texts_of_a_batch_are_compared_accumulated_batches_stay_apart() -> None:
    sizes: list[int] = []

    def spy(batch: Any) -> dict[str, Tensor]:
        sizes.append(len(batch))
        return collate(batch)

    settings = TrainingSettings(epochs=1, batch_size=5, accumulation=2, token_budget=1)
    history = fit(fresh(), features(23), spy, settings, whole_batch=True)
    assert sizes == [5, 5, 5, 5, 3]
    assert len(history) == 3


@pytest.mark.parametrize(("steps", "epochs"), [(4, [1] * 4), (6, [1] * 6), (8, [1] * 6 + [2] * 2)])
def test_steps_take_the_place_of_epochs(steps: int, epochs: list[int]) -> None:
    seen: list[tuple[int, int]] = []
    settings = TrainingSettings(steps=steps, batch_size=4)
    history, _ = trained(settings, on_evaluation=lambda epoch, step: seen.append((epoch, step)))
    assert [step.epoch for step in history] == epochs
    assert {step.steps for step in history} == {steps}
    assert history[-1].learning_rate > 0.0
    ends = [(1, 6)] if steps == 6 else [(1, 6), (2, 8)] if steps == 8 else [(1, 4)]
    assert seen == ends


@pytest.mark.parametrize(("every", "expected"), [(None, [6, 12]), (6, [6, 12]), (5, [5, 10, 12]), (100, [12])], ids=str)
def test_evaluations_come_when_they_are_wanted_and_at_the_end(every: int | None, expected: list[int]) -> None:
    seen: list[int] = []
    settings = TrainingSettings(epochs=2, batch_size=4, evaluate_every=every)
    _, found = trained(settings, on_evaluation=lambda epoch, step: seen.append(step))
    assert seen == expected
    _, other = trained(TrainingSettings(epochs=2, batch_size=4))
    assert close(found, other, 0.0)  # looking changes nothing


def test_the_model_trains_on_after_an_evaluation() -> None:
    model = fresh()
    modes: list[bool] = []

    def evaluate(epoch: int, step: int) -> None:
        model.eval()

    def spy(batch: Any) -> dict[str, Tensor]:
        modes.append(model.training)
        return collate(batch)

    fit(model, features(24), spy, TrainingSettings(epochs=2, batch_size=4), on_evaluation=evaluate)
    assert all(modes)


def test_a_wish_to_stop_at_a_step_is_followed_by_a_last_evaluation() -> None:
    seen: list[int] = []

    def stop(step: Step) -> None:
        if step.step == 3:
            raise StopTraining

    settings = TrainingSettings(epochs=2, batch_size=4)
    history, _ = trained(settings, on_step=stop, on_evaluation=lambda epoch, step: seen.append(step))
    assert len(history) == 3
    assert seen == [3]


def test_a_wish_to_stop_at_an_evaluation_ends_there() -> None:
    seen: list[int] = []

    def evaluate(epoch: int, step: int) -> None:
        seen.append(step)
        raise StopTraining

    history, _ = trained(TrainingSettings(epochs=3, batch_size=4), on_evaluation=evaluate)
    assert (len(history), seen) == (6, [6])


def test_layers_computed_anew_give_the_same_and_the_model_is_as_before() -> None:
    settings = TrainingSettings(epochs=1, batch_size=8, learning_rate=1e-3)
    _, expected = trained(settings)
    model = fresh(**NO_DROPOUT)
    calls: list[bool] = []

    def spy(batch: Any) -> dict[str, Tensor]:
        calls.append(model.config.gradient_checkpointing)
        return collate(batch)

    fit(model, features(24), spy, TrainingSettings(**{**settings.to_dict(), "gradient_checkpointing": True}))
    assert all(calls)
    assert calls
    assert not model.config.gradient_checkpointing
    assert close(weights(model), expected, 1e-6)


def test_bfloat16_computes_in_it_and_keeps_weights_as_they_are() -> None:
    kinds: set[torch.dtype] = set()

    def loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
        output = model(**batch)
        kinds.add(output.logits.dtype)
        found: Tensor = output.loss
        return found

    settings = TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3)
    exact, expected = trained(settings)
    history, found = trained(TrainingSettings(**{**settings.to_dict(), "precision": "bf16"}), loss=loss)
    assert kinds == {torch.bfloat16}
    assert {weight.dtype for weight in found} == {torch.float32}
    assert [step.loss for step in history] == pytest.approx([step.loss for step in exact], abs=0.02)
    assert close(found, expected, 0.02)
    assert not close(found, expected, 0.0)
