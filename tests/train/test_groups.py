"""Parameter groups: decay, rates by depth as in ELECTRA's code, heads; freezing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
    BertPreTrainedModel,
    ConfigError,
    SentenceEncoder,
    freeze,
    parameter_groups,
)

CONFIG = BertConfig(
    vocab_size=30,
    hidden_size=8,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=10,
)
LAYERS = 3


class Scorer(BertPreTrainedModel):
    """A model of a user's own: the head is made first, and the BERT has another name."""

    base_model_prefix = "reader"

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.score = nn.Linear(config.hidden_size, 1)
        self.reader = BertModel(config)
        self.init_weights()

    def forward(self, input_ids: Tensor) -> Tensor:
        scores: Tensor = self.score(self.norm(self.reader(input_ids).pooler_output))
        return scores


class Wrapper(BertPreTrainedModel):
    """A model around another with a head."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertForTokenClassification(config)
        self.init_weights()


MODELS: list[type[BertPreTrainedModel]] = [
    BertModel,
    BertForPreTraining,
    BertForMaskedLM,
    BertLMHeadModel,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForMultipleChoice,
    BertForTokenClassification,
    BertForQuestionAnswering,
    SentenceEncoder,
    Scorer,
    Wrapper,
]


def made(model_class: type[BertPreTrainedModel] = BertForSequenceClassification) -> BertPreTrainedModel:
    torch.manual_seed(0)
    return model_class(CONFIG)


def found_in(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The options of each parameter by name; none is in two groups."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    pairs = [(names[id(p)], group) for group in groups for p in group["params"]]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def depth_by_name(name: str) -> int:
    """The depth of a parameter by its name, as in ELECTRA's code: 0 embeddings, 1 … L layers, then pooler and head."""
    if "embeddings." in name:
        return 0
    if "encoder.layer." in name:
        return 1 + int(name.split("encoder.layer.")[1].split(".")[0])
    return LAYERS + 1 if "pooler." in name else LAYERS + 2


def decays_by_name(name: str) -> bool:
    """By name as in transformers' examples, and in the user's model the norm."""
    return not any(part in name for part in ("bias", "LayerNorm.weight", "norm.weight"))


@pytest.mark.parametrize("model_class", MODELS)
def test_every_parameter_has_the_rate_of_its_depth_and_decay_by_kind(model_class: type[BertPreTrainedModel]) -> None:
    model = made(model_class)
    found = found_in(model, parameter_groups(model, 0.01, learning_rate=1.0, layer_decay=0.5))
    assert {name: (group["lr"], group["weight_decay"]) for name, group in found.items()} == {
        name: (0.5 ** (LAYERS + 2 - depth_by_name(name)), 0.01 if decays_by_name(name) else 0.0)
        for name, _ in model.named_parameters()
    }


@pytest.mark.parametrize("model_class", MODELS)
def test_without_rates_there_are_two_groups_with_all_parameters(model_class: type[BertPreTrainedModel]) -> None:
    model = made(model_class)
    groups = parameter_groups(model, 0.01)
    assert [set(group) for group in groups] == [{"params", "weight_decay"}] * 2
    assert {name: bool(group["weight_decay"]) for name, group in found_in(model, groups).items()} == {
        name: decays_by_name(name) for name, _ in model.named_parameters()
    }


def test_groups_go_upwards_and_none_is_empty() -> None:
    model = made(BertForMaskedLM)
    groups = parameter_groups(model, 0.01, learning_rate=1.0, layer_decay=0.5)
    rates = [group["lr"] for group in groups]
    assert rates == sorted(rates)
    assert len(groups) == 10  # embeddings, three layers and the head, each with decay and without; there is no pooler
    assert all(group["params"] for group in groups)


def test_the_head_may_have_a_rate_of_its_own() -> None:
    model = made(Scorer)
    cases: list[tuple[dict[str, Any], set[float | None]]] = [
        ({}, {None}),
        ({"learning_rate": 2.0}, {2.0}),
        ({"learning_rate": 1.0, "layer_decay": 0.5}, {0.5, 0.25, 0.125, 0.0625, 0.03125}),
    ]
    for settings, below in cases:
        found = found_in(model, parameter_groups(model, 0.01, head_learning_rate=9.0, **settings))
        assert found.keys() == dict(model.named_parameters()).keys()
        assert {group.get("lr") for name, group in found.items() if name.startswith(("score", "norm"))} == {9.0}
        assert {group.get("lr") for name, group in found.items() if name.startswith("reader")} == below


def test_one_rate_for_all_parts_is_two_groups() -> None:
    model = made()
    cases: list[dict[str, Any]] = [{"learning_rate": 0.1}, {"learning_rate": 0.1, "layer_decay": 1.0}]
    for settings in cases:
        groups = parameter_groups(model, 0.01, **settings)
        assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.1, 0.01), (0.1, 0.0)]


def test_a_tied_weight_belongs_to_the_embeddings() -> None:
    model = made(BertForMaskedLM)
    assert isinstance(model, BertForMaskedLM)
    groups = parameter_groups(model, 0.01, learning_rate=1.0, layer_decay=0.5)
    (group,) = [g for g in groups if any(p is model.cls.predictions.decoder.weight for p in g["params"])]
    assert group["lr"] == 0.5 ** (LAYERS + 2)


def test_frozen_parameters_are_left_out() -> None:
    model = made()
    frozen = freeze(model, layers=2)
    cases: list[dict[str, Any]] = [{}, {"learning_rate": 1.0, "layer_decay": 0.5}]
    for settings in cases:
        found = found_in(model, parameter_groups(model, 0.01, **settings))
        assert found.keys() == dict(model.named_parameters()).keys() - set(frozen)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": 1.0, "layer_decay": 0.0}, "layer_decay is 0.0"),
        ({"learning_rate": 1.0, "layer_decay": 1.1}, "layer_decay is 1.1"),
        ({"layer_decay": 0.9}, "layer_decay needs learning_rate"),
        ({"head_learning_rate": float("nan")}, "head_learning_rate is nan"),
    ],
    ids=str,
)
def test_bad_rates_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parameter_groups(made(), **({"weight_decay": 0.01} | settings))


def test_a_rate_for_a_head_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match="BertModel has no head"):
        parameter_groups(made(BertModel), 0.01, head_learning_rate=1.0)


def test_any_module_has_groups_but_depths_need_a_bert() -> None:
    linear = nn.Linear(2, 2)
    decayed, plain = parameter_groups(linear, 0.01)
    assert (decayed["params"], plain["params"]) == ([linear.weight], [linear.bias])
    with pytest.raises(ConfigError, match="Linear has no BertModel under 'bert'"):
        parameter_groups(linear, 0.01, learning_rate=1.0, layer_decay=0.9)


# Freezing


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("model_class", MODELS)
@pytest.mark.parametrize("embeddings", [True, False])
@pytest.mark.parametrize("layers", [0, 2, LAYERS])
def test_what_is_named_is_frozen_and_nothing_else(
    model_class: type[BertPreTrainedModel], embeddings: bool, layers: int
) -> None:
    model = made(model_class)
    names = {name for name, _ in model.named_parameters()}
    expected = {name for name in names if (embeddings if depth_by_name(name) == 0 else depth_by_name(name) <= layers)}
    assert set(freeze(model, embeddings=embeddings, layers=layers)) == expected
    assert trained(model) == names - expected


def test_a_later_call_unfreezes_and_leaves_pooler_and_head_alone() -> None:
    model = made()
    everything = trained(model)
    assert isinstance(model, BertForSequenceClassification)
    model.classifier.requires_grad_(False)
    freeze(model, layers=3)
    assert {depth_by_name(name) for name in trained(model)} == {LAYERS + 1}
    freeze(model, layers=1)
    assert {depth_by_name(name) for name in trained(model)} == {2, 3, LAYERS + 1}
    assert freeze(model, embeddings=False) == []
    assert trained(model) == {name for name in everything if not name.startswith("classifier")}


def test_frozen_parts_get_no_gradients_and_the_rest_the_same_as_before() -> None:
    ids = torch.randint(1, 30, (2, 6), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1])
    whole, part = made().eval(), made().eval()
    frozen = freeze(part, layers=2)
    for model in (whole, part):
        model(ids, labels=labels).loss.backward()
    for (name, one), other in zip(whole.named_parameters(), part.parameters(), strict=True):
        if name in frozen:
            assert other.grad is None
        else:
            assert one.grad is not None
            assert other.grad is not None
            assert (one.grad - other.grad).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 4}, r"layers is 4, expected how many of the 3 layers"),
        ({"layers": -1}, "layers is -1"),
        ({"layers": True}, "layers is True"),
        ({"layers": [0, 1]}, r"layers is \[0, 1\]"),
        ({"embeddings": 1}, "embeddings is 1"),
    ],
    ids=str,
)
def test_what_cannot_be_frozen_is_named_and_nothing_is(settings: dict[str, Any], message: str) -> None:
    model = made()
    with pytest.raises(ConfigError, match=message):
        freeze(model, **settings)
    assert trained(model) == {name for name, _ in model.named_parameters()}


def test_a_model_without_a_bert_has_nothing_to_freeze() -> None:
    class Lost(Scorer):
        base_model_prefix = "body"

    with pytest.raises(ConfigError, match="Lost has no BertModel under 'body'"):
        freeze(made(Lost))
