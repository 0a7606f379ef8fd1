"""Chapter 4 of document 3, training: every name is there, takes what the document gives it, and does what it says."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

import glassbert
from glassbert import (
    TYPE_TO_SCHEDULER_FUNCTION,
    AdamW,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertLMHeadModel,
    BertPreTrainedModel,
    SchedulerType,
    get_constant_schedule,
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_linear_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup,
    get_scheduler,
    parameter_groups,
)

# The names, with their arguments in the order of 4.4.2 and what they are where nothing is said.
NEEDED = inspect.Parameter.empty
STEPS = {"optimizer": NEEDED, "num_warmup_steps": NEEDED, "num_training_steps": NEEDED}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "AdamW": {
        "params": NEEDED,
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-6,
        "weight_decay": 0.0,
        "correct_bias": True,
    },
    "get_scheduler": {"name": NEEDED, "optimizer": NEEDED, "num_warmup_steps": None, "num_training_steps": None},
    "get_constant_schedule": {"optimizer": NEEDED, "last_epoch": -1},
    "get_constant_schedule_with_warmup": {"optimizer": NEEDED, "num_warmup_steps": NEEDED, "last_epoch": -1},
    "get_linear_schedule_with_warmup": {**STEPS, "last_epoch": -1},
    "get_cosine_schedule_with_warmup": {**STEPS, "num_cycles": 0.5, "last_epoch": -1},
    "get_cosine_with_hard_restarts_schedule_with_warmup": {**STEPS, "num_cycles": 1, "last_epoch": -1},
    "get_polynomial_decay_schedule_with_warmup": {**STEPS, "lr_end": 1e-7, "power": 1.0, "last_epoch": -1},
}
TYPES = {
    "LINEAR": "linear",
    "COSINE": "cosine",
    "COSINE_WITH_RESTARTS": "cosine_with_restarts",
    "POLYNOMIAL": "polynomial",
    "CONSTANT": "constant",
    "CONSTANT_WITH_WARMUP": "constant_with_warmup",
}


def model_of(model_class: type[BertPreTrainedModel], **settings: Any) -> BertPreTrainedModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    return model_class(BertConfig(**sizes, intermediate_size=12, max_position_embeddings=10, **settings))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_name_is_there_and_takes_its_arguments_in_their_order(name: str) -> None:
    assert name in glassbert.__all__
    parameters = inspect.signature(getattr(glassbert, name)).parameters.values()
    positional = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert list(positional.items()) == list(ARGUMENTS[name].items())
    # What is ours beside these goes by name alone, and may be left out.
    others = [p for p in parameters if p.kind is not p.POSITIONAL_OR_KEYWORD]
    assert all(p.kind is p.VAR_KEYWORD or (p.kind is p.KEYWORD_ONLY and p.default is not NEEDED) for p in others)


def test_adamw_is_an_optimizer_of_torchs() -> None:
    assert issubclass(AdamW, Optimizer)


def test_the_types_of_schedules_have_their_names_and_values() -> None:
    assert {member.name: member.value for member in SchedulerType} == TYPES
    assert all(isinstance(member, str) and member == value for member, value in zip(SchedulerType, TYPES.values()))


def test_the_table_of_schedules_is_that_of_the_document() -> None:
    expected = {
        SchedulerType.LINEAR: get_linear_schedule_with_warmup,
        SchedulerType.COSINE: get_cosine_schedule_with_warmup,
        SchedulerType.COSINE_WITH_RESTARTS: get_cosine_with_hard_restarts_schedule_with_warmup,
        SchedulerType.POLYNOMIAL: get_polynomial_decay_schedule_with_warmup,
        SchedulerType.CONSTANT: get_constant_schedule,
        SchedulerType.CONSTANT_WITH_WARMUP: get_constant_schedule_with_warmup,
    }
    assert expected == TYPE_TO_SCHEDULER_FUNCTION


@pytest.mark.parametrize("model_class", [BertForMaskedLM, BertLMHeadModel, BertForPreTraining])
@pytest.mark.parametrize("tied", [True, False])
def test_words_are_tied_where_the_config_says_so(model_class: type[BertPreTrainedModel], tied: bool) -> None:
    model = model_of(model_class, tie_word_embeddings=tied)
    output = model.get_output_embeddings()
    assert output is not None
    assert (output.weight is model.get_input_embeddings().weight) is tied
    model.set_input_embeddings(torch.nn.Embedding(30, 8))
    model.tie_weights()
    assert (output.weight is model.get_input_embeddings().weight) is tied


def test_fine_tuning_as_the_document_writes_it() -> None:
    model = model_of(BertForSequenceClassification, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    param_optimizer = list(model.named_parameters())
    no_decay = ["bias", "LayerNorm.bias", "LayerNorm.weight"]
    optimizer_grouped_parameters: list[dict[str, Any]] = [
        {"params": [p for n, p in param_optimizer if not any(nd in n for nd in no_decay)], "weight_decay": 0.01},
        {"params": [p for n, p in param_optimizer if any(nd in n for nd in no_decay)], "weight_decay": 0.0},
    ]
    for by_name, ours in zip(optimizer_grouped_parameters, parameter_groups(model, 0.01), strict=True):
        assert list(map(id, by_name["params"])) == list(map(id, ours["params"]))
        assert by_name["weight_decay"] == ours["weight_decay"]
    optimizer = AdamW(optimizer_grouped_parameters, lr=1e-2)
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=2, num_training_steps=20)
    assert isinstance(scheduler, LambdaLR)
    ids = torch.randint(1, 30, (6, 7), generator=torch.Generator().manual_seed(0))
    losses, rates = [], []
    for _ in range(20):
        loss = model(ids, labels=torch.tensor([0, 1, 0, 1, 1, 0])).loss
        loss.backward()
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    # From 0 to the whole rate in the warm-up, then back to 0.
    assert rates[:3] == [0.0, 0.005, 0.01]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert scheduler.get_last_lr()[0] == 0.0
    assert losses[-1] < 0.5 < losses[0]
