"""An engine notices that its model was changed, and keeps none of it alive."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from glassbert import AdamW, BertForSequenceClassification, Engine, InputError
from tests.infer.test_engine import CONFIG, collate, sequences
from tests.model.oracle import seeded

CHANGED = "the weights of the model changed after the engine was built; make a new engine"


def made() -> Any:
    return seeded(CONFIG, BertForSequenceClassification)


def step_of(optimizer: Callable[[Any], torch.optim.Optimizer]) -> Callable[[Any], None]:
    def step(model: Any) -> None:
        model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([1])).loss.backward()
        optimizer(model.parameters()).step()

    return step


def in_place(model: Any) -> None:
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.bias[3] += 1.0


def replaced(model: Any) -> None:
    model.classifier = nn.Linear(24, 4)


def assigned(model: Any) -> None:
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)


CHANGES: dict[str, Callable[[Any], object]] = {
    "a step of AdamW": step_of(lambda parameters: AdamW(parameters, lr=1e-3)),
    "a fused step": step_of(lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, fused=True)),
    "a step of SGD": step_of(lambda parameters: torch.optim.SGD(parameters, lr=1e-3)),
    "load_state_dict": lambda model: model.load_state_dict(copy.deepcopy(model.state_dict())),
    "load_state_dict that assigns": assigned,
    "an edit in place": in_place,
    "another module": replaced,
    "another parameter": lambda model: setattr(model.classifier, "bias", nn.Parameter(torch.zeros(4))),
    "other data": lambda model: setattr(model.classifier.bias, "data", torch.zeros(4)),
    "other floats": lambda model: model.double(),
    "pruning": lambda model: model.prune_heads({1: [0]}),
    "another vocabulary": lambda model: model.resize_token_embeddings(70),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_change_is_noticed(change: Callable[[Any], None], dtype: Any) -> None:
    model = made()
    engine = Engine(model, dtype=dtype)
    engine.logits(sequences(3), collate)
    change(model)
    for call in (lambda: engine.logits(sequences(3), collate), lambda: engine.hidden_states([[1, 2]])):
        with pytest.raises(InputError) as error:
            call()
        assert str(error.value) == CHANGED
    if next(model.parameters()).dtype == torch.float32:
        assert Engine(model, dtype=dtype).logits(sequences(3), collate).shape == (3, 4)


def test_what_changes_no_weight_is_none_of_its_business() -> None:
    model = made()
    engine = Engine(model)
    expected = engine.logits(sequences(), collate)
    model.train()
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([1])).loss.backward()
    model.zero_grad()
    model.requires_grad_(False)
    model.attention_backend = "eager"
    model.state_dict()
    copy.deepcopy(model)
    Engine(model, dtype="int8").logits(sequences(3), collate)
    assert torch.equal(engine.logits(sequences(), collate), expected)


def test_a_model_that_is_gone_cannot_change() -> None:
    model = made()
    engine = Engine(model)
    expected = engine.logits(sequences(), collate)
    gone, body = weakref.ref(model), model.bert
    del model
    gc.collect()
    assert gone() is None
    body.encoder.layer[0].output.dense.weight.data = torch.zeros(24, 40)  # of what is left over
    assert torch.equal(engine.logits(sequences(), collate), expected)


def test_nothing_is_kept_alive() -> None:
    model = made()
    kept = [weakref.ref(module) for module in model.modules() if len(list(module.parameters()))]
    engine = Engine(model)
    del model
    gc.collect()
    assert [one() for one in kept] == [None] * len(kept)
    assert engine.logits(sequences(3), collate).shape == (3, 4)


def test_weights_without_versions_are_known_by_their_place() -> None:
    with torch.inference_mode():
        model = made()
        engine = Engine(model)
        expected = engine.logits(sequences(), collate)
        model.bert.pooler.dense.bias.add_(1.0)  # which leaves no trace
        engine.logits(sequences(3), collate)
        model.bert.pooler.dense.bias.sub_(1.0)
        assert torch.allclose(engine.logits(sequences(), collate), expected, atol=1e-5)
        model.classifier.bias = nn.Parameter(torch.zeros(4), requires_grad=False)
        with pytest.raises(InputError, match="make a new engine"):
            engine.logits(sequences(3), collate)


def test_parameters_that_are_left_out() -> None:
    model = made()
    model.classifier = nn.Linear(24, 4, bias=False)
    assert Engine(model).logits(sequences(3), collate).shape == (3, 4)
