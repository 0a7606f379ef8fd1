"""A loss of several parts, each a mean over a number of its own, is the same however a step is divided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glassbert import BertForSequenceClassification, TrainingError
from glassbert.train import Step, TrainingSettings, fit
from glassbert.train.loop import backward
from tests.train.test_loop import NO_DROPOUT, Feature, collate, features, fresh


def is_long(feature: Feature) -> bool:
    return len(feature) > 6


def weight(some: Sequence[Feature]) -> dict[str, float]:
    long = float(sum(map(is_long, some)))
    return {"all": float(len(some)), "long": long, "found": long}


def to_batch(some: Any) -> dict[str, Tensor]:
    return {**collate(some), "long": torch.tensor([is_long(one) for one in some])}


def loss(model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The second loss and the accuracy are NaN where no text is long."""
    long, labels = batch["long"], batch["labels"]
    logits = model(batch["input_ids"], batch["attention_mask"]).logits
    return {
        "all": F.cross_entropy(logits, labels),
        "long": F.cross_entropy(-logits[long], labels[long]),
        "found": (logits.argmax(-1) == labels)[long].float().mean(),
    }


def trained(model: BertForSequenceClassification, **changes: Any) -> tuple[Sequence[Step], list[Tensor]]:
    settings = TrainingSettings(**{"epochs": 2, "batch_size": 12, "learning_rate": 1e-3, **changes})
    history = fit(model, features(24), to_batch, settings, weight=weight, loss=loss)
    return history, [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize(
    "changes", [{"token_budget": 1}, {"token_budget": 17}, {"batch_size": 4, "accumulation": 3}], ids=str
)
def test_parts_are_the_same_whatever_is_computed_at_once(changes: dict[str, Any]) -> None:
    whole, expected = trained(fresh(**NO_DROPOUT), token_budget=10_000)
    parts, found = trained(fresh(**NO_DROPOUT), **changes)
    assert [set(step.figures) for step in parts] == [{"all", "long", "found"}] * 4
    for one, other in zip(whole, parts, strict=True):
        assert other.figures == pytest.approx(dict(one.figures), abs=1e-6)
        assert other.loss == pytest.approx(one.loss, abs=1e-6)
        assert one.loss == pytest.approx(one.figures["all"] + one.figures["long"], abs=1e-6)
    assert all(float((a - b).abs().max()) <= 1e-6 for a, b in zip(expected, found, strict=True))


def test_the_parts_are_means_over_their_own_numbers() -> None:
    data = features(24)
    model, single = fresh(**NO_DROPOUT), fresh(**NO_DROPOUT)
    value, parts = backward(model, data, to_batch, 20, weight, loss)
    expected = loss(single, to_batch(data))
    total = expected["all"] + expected["long"]
    total.backward()
    assert parts == pytest.approx({name: float(mean.detach()) for name, mean in expected.items()}, abs=1e-6)
    assert value == pytest.approx(float(total.detach()), abs=1e-6)
    for one, other in zip(model.parameters(), single.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert float((one.grad - other.grad).abs().max()) < 1e-6


def test_a_part_with_nothing_to_be_a_mean_over_counts_for_nothing() -> None:
    short = [feature for feature in features(40) if not is_long(feature)]
    history = fit(fresh(), short, to_batch, TrainingSettings(epochs=1), weight=weight, loss=loss)
    (step,) = history
    assert step.figures == {"all": step.loss, "long": 0.0, "found": 0.0}
    assert math.isfinite(step.grad_norm)


@pytest.mark.parametrize(
    ("given", "weights", "message"),
    [
        ({"a": 1.0}, {"a": 1.0, "b": 1.0}, "the loss has the parts a, but the weights are those of a, b"),
        ({"a": 1.0, "c": 1.0}, {"a": 1.0, "b": 1.0}, "the loss has the parts a, c, but the weights"),
        (1.0, {"a": 1.0}, "the loss has the parts one Tensor, but the weights are those of a"),
        ({"a": 1.0}, 3.0, r"the loss has parts \(a\), but its weight is one number for all of them"),
        ({"a": [1.0, 2.0]}, {"a": 1.0}, r"the part a of the loss has shape \(2,\), expected one number"),
    ],
    ids=str,
)
def test_parts_and_weights_that_do_not_fit_are_named(given: Any, weights: Any, message: str) -> None:
    def told(model: Any, batch: dict[str, Tensor]) -> Any:
        zero = 0.0 * model(**batch).loss
        return {name: zero + torch.tensor(one) for name, one in given.items()} if type(given) is dict else zero + given

    with pytest.raises(TrainingError, match=message):
        fit(fresh(), features(), collate, TrainingSettings(epochs=1), weight=lambda _: weights, loss=told)


def test_figures_alone_are_no_loss() -> None:
    def told(model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"a": model(**batch).loss.detach()}

    with pytest.raises(TrainingError, match=r"no part of the loss \(a\) depends on weights that are trained"):
        fit(fresh(), features(), collate, TrainingSettings(epochs=1), weight=lambda some: {"a": len(some)}, loss=told)


def test_one_loss_has_no_figures() -> None:
    history = fit(fresh(), features(), collate, TrainingSettings(epochs=1))
    assert {tuple(step.figures) for step in history} == {()}
