"""The loop: order, micro-batches, optimizer groups, rates, and the same bits for the same seed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from glassbert import AdamW, BertConfig, BertForSequenceClassification, ConfigError, TrainingError
from glassbert.train import TrainingSettings, fit, get_linear_schedule_with_warmup, make_optimizer, parameter_groups
from glassbert.train.loop import backward, order_of, predict

CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=16,
    num_labels=3,
)
Feature = tuple[int, ...]


def features(count: int = 23) -> list[Feature]:
    """Texts of 1 to 12 ids; the first id decides the class."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, 13, (count,), generator=generator).tolist()
    return [tuple(torch.randint(1, 40, (n,), generator=generator).tolist()) for n in lengths]


def collate(batch: Any) -> dict[str, Tensor]:
    rows = [torch.tensor(feature) for feature in batch]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {
        "input_ids": ids,
        "attention_mask": (ids > 0).long(),
        "labels": torch.tensor([feature[0] % 3 for feature in batch]),
    }


def scores(model: Any, data: Any, budget: int) -> list[Tensor]:
    return predict(model, data, collate, lambda output, _: list(output.logits), token_budget=budget)


def fresh(**changes: Any) -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(dataclasses.replace(CONFIG, **changes))


NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def test_the_order_is_random_and_depends_on_seed_and_epoch_alone() -> None:
    orders = {(seed, epoch): order_of(50, seed=seed, epoch=epoch) for seed in range(3) for epoch in range(3)}
    assert len({tuple(order) for order in orders.values()}) == 9
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert order_of(50, seed=1, epoch=2) == orders[1, 2]


@pytest.mark.parametrize("budget", [1, 7, 20, 10_000])
def test_micro_batches_change_neither_loss_nor_gradients(budget: int) -> None:
    data = features()
    whole, split = fresh(**NO_DROPOUT), fresh(**NO_DROPOUT)
    expected, parts = backward(whole, data, collate, 10_000)
    assert backward(split, data, collate, budget)[0] == pytest.approx(expected, abs=1e-5)
    assert parts == {}
    with torch.no_grad():
        assert float(whole(**collate(data)).loss) == pytest.approx(expected, abs=1e-5)
    for one, other in zip(whole.parameters(), split.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert (one.grad - other.grad).abs().max() < 1e-5


def test_batches_count_examples_and_every_example_is_used_once_an_epoch() -> None:
    data = features(23)
    seen: list[Feature] = []

    def spy(batch: Any) -> dict[str, Tensor]:
        seen.extend(batch)
        return collate(batch)

    history = fit(fresh(), data, spy, TrainingSettings(epochs=2, batch_size=5, token_budget=11))
    assert len(history) == 10
    assert [step.epoch for step in history] == [1] * 5 + [2] * 5
    assert sorted(seen[:23]) == sorted(seen[23:]) == sorted(data)
    assert sum(step.tokens for step in history) == 2 * sum(map(len, data))
    assert [step.step for step in history] == list(range(1, 11))


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    def run(seed: int) -> list[Tensor]:
        model = fresh()
        torch.manual_seed(seed)
        fit(model, features(), collate, TrainingSettings(epochs=2, batch_size=4, learning_rate=1e-3, seed=seed))
        return [parameter.detach() for parameter in model.parameters()]

    first, again, other = run(1), run(1), run(2)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_it_learns() -> None:
    data = features(60)
    model = fresh(**NO_DROPOUT)
    history = fit(model, data, collate, TrainingSettings(epochs=30, batch_size=16, learning_rate=3e-3))
    assert history[-1].loss < 0.1 < 0.8 < history[0].loss
    predicted = torch.stack(scores(model, data, 64)).argmax(dim=-1)
    assert (predicted == collate(data)["labels"]).float().mean() > 0.95
    assert not model.training


def test_predictions_come_in_order_whatever_the_budget() -> None:
    model = fresh().eval()
    data = features()
    with torch.no_grad():
        expected = torch.cat([model(**collate([feature])).logits for feature in data])
    for budget in (1, 30, 10_000):
        assert (torch.stack(scores(model, data, budget)) - expected).abs().max() < 1e-5


def test_a_loss_that_is_not_finite_stops_before_the_update() -> None:
    model = fresh()
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        fit(model, features(), collate, TrainingSettings(epochs=1))
    for one, other in zip(before, model.parameters(), strict=True):
        assert torch.equal(one.nan_to_num(7), other.detach().nan_to_num(7))


def test_biases_and_layer_norm_have_no_decay() -> None:
    model = fresh()
    decayed, plain = parameter_groups(model, 0.01)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.01, 0.0)
    assert {id(p) for p in decayed["params"]} | {id(p) for p in plain["params"]} == set(names)
    for parameter in plain["params"]:
        assert names[id(parameter)].endswith(("bias", "LayerNorm.weight"))
    for parameter in decayed["params"]:
        assert not names[id(parameter)].endswith(("bias", "LayerNorm.weight"))


def test_frozen_parameters_are_left_out() -> None:
    model = fresh()
    model.bert.requires_grad_(False)
    decayed, plain = parameter_groups(model, 0.01)
    assert len(decayed["params"]) == len(plain["params"]) == 1


def test_rates_rise_and_fall_in_lines() -> None:
    optimizer = make_optimizer(fresh(), learning_rate=1.0, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, 2, 6)
    rates = []
    for _ in range(8):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0])


def test_gradients_are_clipped() -> None:
    history = fit(fresh(), features(), collate, TrainingSettings(epochs=1, max_grad_norm=1e-9, learning_rate=1.0))
    assert history[0].grad_norm > 1e-3
    assert all(math.isfinite(step.loss) for step in history)


def test_the_settings_reach_optimizer_schedule_and_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.optim.Optimizer] = []

    def spy(model: Any, **settings: Any) -> torch.optim.Optimizer:
        made.append(make_optimizer(model, **settings))
        return made[-1]

    monkeypatch.setattr("glassbert.train.loop.make_optimizer", spy)
    model = fresh(**NO_DROPOUT)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    settings = TrainingSettings(
        epochs=1,
        batch_size=4,
        learning_rate=1e-3,
        warmup=0.5,
        schedule="constant_with_warmup",
        optimizer="google",
        layer_decay=0.5,
        head_learning_rate=4e-3,
        freeze_embeddings=True,
        freeze_layers=1,
    )
    history = fit(model, features(), collate, settings)
    assert [step.learning_rate for step in history] == pytest.approx([0, 4e-3 / 3, 8e-3 / 3, 4e-3, 4e-3, 4e-3])
    (optimizer,) = made
    assert isinstance(optimizer, AdamW)
    assert not optimizer.defaults["correct_bias"]
    # The second layer, the pooler, the head.
    assert [group["initial_lr"] for group in optimizer.param_groups] == [2.5e-4] * 2 + [5e-4] * 2 + [4e-3] * 2
    for name, parameter in model.named_parameters():
        if not name.endswith("key.bias"):  # which has no gradient but for rounding
            assert torch.equal(parameter, before[name]) is ("embeddings" in name or "layer.0" in name), name


def test_settings_of_no_layers_leave_what_was_frozen_by_hand() -> None:
    model = fresh()
    model.bert.requires_grad_(False)
    before = {name: parameter.clone() for name, parameter in model.bert.named_parameters()}
    fit(model, features(), collate, TrainingSettings(epochs=1))
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.bert.named_parameters())


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"warmup": 1.5},
        {"weight_decay": -1.0},
        {"token_dropout": 1.0},
        {"token_budget": 0},
        {"seed": -1},
        {"schedule": "lineer"},
        {"optimizer": "adam"},
        {"layer_decay": 0.0},
        {"layer_decay": 1.5},
        {"head_learning_rate": -1.0},
        {"freeze_embeddings": 1},
        {"freeze_layers": -1},
        {"freeze_layers": 1.0},
    ],
    ids=str,
)
def test_bad_settings_are_named(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        TrainingSettings(**values)


def test_weights_that_break_in_the_last_step_are_not_passed_on() -> None:
    with pytest.raises(TrainingError, match=r"not finite after step 1|is (nan|inf) at step"):
        fit(fresh(), features(), collate, TrainingSettings(epochs=1, batch_size=23, learning_rate=3e38))


@pytest.mark.parametrize("values", [{"epochs": "2"}, {"batch_size": 2.0}, {"epochs": True}, {"seed": None}], ids=str)
def test_settings_of_the_wrong_type_are_named(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        TrainingSettings(**values)
