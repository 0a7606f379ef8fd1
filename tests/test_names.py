"""Every name that the documents give to the model and its heads: there, called as they call it, doing what they say."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import glassbert
from glassbert import model as room
from glassbert.model import (
    ACT2FN,
    AttentionBackend,
    BaseModelOutputWithPastAndCrossAttentions,
    BaseModelOutputWithPoolingAndCrossAttentions,
    BertAttention,
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForPreTrainingOutput,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLayer,
    BertLMHeadModel,
    BertModel,
    BertOnlyMLMHead,
    BertOnlyNSPHead,
    BertPreTrainedModel,
    BertPreTrainingHeads,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
    apply_chunking_to_forward,
    find_pruneable_heads_and_indices,
    prune_linear_layer,
)
from tests.model.oracle import BACKENDS, largest_difference, seeded

# The lists

PUBLIC = [
    "BertPreTrainedModel",
    "PreTrainedModel",
    "BertModel",
    "BertConfig",
    "ModelOutput",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertLMHeadModel",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
]
IN_THE_ROOM = [
    "BertEmbeddings",
    "BertEncoder",
    "BertLayer",
    "BertAttention",
    "BertSelfAttention",
    "BertSelfOutput",
    "BertIntermediate",
    "BertOutput",
    "BertPooler",
    "BertPreTrainingHeads",
    "BertLMPredictionHead",
    "BertPredictionHeadTransform",
    "BertOnlyMLMHead",
    "BertOnlyNSPHead",
    "BaseModelOutputWithPoolingAndCrossAttentions",
    "BaseModelOutputWithPastAndCrossAttentions",
    "apply_chunking_to_forward",
    "find_pruneable_heads_and_indices",
    "prune_linear_layer",
]

TOKENS = ["input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds"]
ENCODER = ["encoder_hidden_states", "encoder_attention_mask"]
WANTED = ["output_attentions", "output_hidden_states", "return_dict"]
ATTENTION = [
    "hidden_states",
    "attention_mask",
    "head_mask",
    "encoder_hidden_states",
    "encoder_attention_mask",
    "past_key_value",
    "output_attentions",
]
# The arguments of forward, in the order of 4.4.2.
FORWARD: dict[str, list[str]] = {
    "BertModel": [*TOKENS, *ENCODER, "past_key_values", "use_cache", *WANTED],
    "BertForPreTraining": [*TOKENS, "labels", "next_sentence_label", *WANTED],
    "BertForMaskedLM": [*TOKENS, *ENCODER, "labels", *WANTED],
    "BertLMHeadModel": [*TOKENS, *ENCODER, "labels", "past_key_values", "use_cache", *WANTED],
    "BertForNextSentencePrediction": [*TOKENS, "labels", *WANTED],
    "BertForSequenceClassification": [*TOKENS, "labels", *WANTED],
    "BertForMultipleChoice": [*TOKENS, "labels", *WANTED],
    "BertForTokenClassification": [*TOKENS, "labels", *WANTED],
    "BertForQuestionAnswering": [*TOKENS, "start_positions", "end_positions", *WANTED],
    "BertEmbeddings": ["input_ids", "token_type_ids", "position_ids", "inputs_embeds", "past_key_values_length"],
    "BertSelfAttention": ATTENTION,
    "BertAttention": ATTENTION,
    "BertLayer": ATTENTION,
    "BertEncoder": [
        "hidden_states",
        "attention_mask",
        "head_mask",
        *ENCODER,
        "past_key_values",
        "use_cache",
        *WANTED,
    ],
    "BertSelfOutput": ["hidden_states", "input_tensor"],
    "BertIntermediate": ["hidden_states"],
    "BertOutput": ["hidden_states", "input_tensor"],
    "BertPooler": ["hidden_states"],
    "BertPreTrainingHeads": ["sequence_output", "pooled_output"],
    "BertLMPredictionHead": ["hidden_states"],
    "BertPredictionHeadTransform": ["hidden_states"],
    "BertOnlyMLMHead": ["sequence_output"],
    "BertOnlyNSPHead": ["pooled_output"],
}
# What forward gives back, in the order of 4.4.2.
FIELDS: dict[type[ModelOutput], list[str]] = {
    BaseModelOutputWithPoolingAndCrossAttentions: [
        "last_hidden_state",
        "pooler_output",
        "past_key_values",
        "hidden_states",
        "attentions",
        "cross_attentions",
    ],
    BaseModelOutputWithPastAndCrossAttentions: [
        "last_hidden_state",
        "past_key_values",
        "hidden_states",
        "attentions",
        "cross_attentions",
    ],
    BertForPreTrainingOutput: ["loss", "prediction_logits", "seq_relationship_logits", "hidden_states", "attentions"],
    MaskedLMOutput: ["loss", "logits", "hidden_states", "attentions"],
    CausalLMOutputWithCrossAttentions: [
        "loss",
        "logits",
        "past_key_values",
        "hidden_states",
        "attentions",
        "cross_attentions",
    ],
    NextSentencePredictorOutput: ["loss", "logits", "hidden_states", "attentions"],
    SequenceClassifierOutput: ["loss", "logits", "hidden_states", "attentions"],
    MultipleChoiceModelOutput: ["loss", "logits", "hidden_states", "attentions"],
    TokenClassifierOutput: ["loss", "logits", "hidden_states", "attentions"],
    QuestionAnsweringModelOutput: ["loss", "start_logits", "end_logits", "hidden_states", "attentions"],
}
RETURNS: dict[type[BertPreTrainedModel], type[ModelOutput]] = {
    BertForPreTraining: BertForPreTrainingOutput,
    BertForMaskedLM: MaskedLMOutput,
    BertLMHeadModel: CausalLMOutputWithCrossAttentions,
    BertForNextSentencePrediction: NextSentencePredictorOutput,
    BertForSequenceClassification: SequenceClassifierOutput,
    BertForMultipleChoice: MultipleChoiceModelOutput,
    BertForTokenClassification: TokenClassifierOutput,
    BertForQuestionAnswering: QuestionAnsweringModelOutput,
}
HEADS = tuple(RETURNS)
METHODS: dict[str, list[str]] = {
    "get_input_embeddings": [],
    "set_input_embeddings": ["value"],
    "get_output_embeddings": [],
    "resize_token_embeddings": ["new_num_tokens"],
    "tie_weights": [],
    "init_weights": [],
    "prune_heads": ["heads_to_prune"],
    "_prune_heads": ["heads_to_prune"],
    "get_extended_attention_mask": ["attention_mask", "input_shape", "device"],
    "get_head_mask": ["head_mask", "num_hidden_layers", "is_attention_chunked"],
    "gradient_checkpointing_enable": [],
}
# What 4.4.2 takes where nothing is said, and another value.
CONFIG: dict[str, tuple[Any, Any]] = {
    "vocab_size": (30522, 50),
    "hidden_size": (768, 24),
    "num_hidden_layers": (12, 2),
    "num_attention_heads": (12, 3),
    "intermediate_size": (3072, 40),
    "hidden_act": ("gelu", "relu"),
    "hidden_dropout_prob": (0.1, 0.2),
    "attention_probs_dropout_prob": (0.1, 0.3),
    "max_position_embeddings": (512, 20),
    "type_vocab_size": (2, 3),
    "initializer_range": (0.02, 0.05),
    "layer_norm_eps": (1e-12, 1e-5),
    "pad_token_id": (0, 7),
    "gradient_checkpointing": (False, True),
    "position_embedding_type": ("absolute", "relative_key"),
    "use_cache": (True, False),
    "chunk_size_feed_forward": (0, 4),
    "is_decoder": (False, True),
    "add_cross_attention": (False, True),
    "pruned_heads": ({}, {1: [0, 2]}),
    "tie_word_embeddings": (True, False),
    "num_labels": (2, 3),
    "id2label": ({0: "LABEL_0", 1: "LABEL_1"}, {0: "no", 1: "yes", 2: "perhaps"}),
    "label2id": ({"LABEL_0": 0, "LABEL_1": 1}, {"no": 0, "yes": 1, "perhaps": 2}),
    "problem_type": (None, "regression"),
    "classifier_dropout": (None, 0.4),
    "output_attentions": (False, True),
    "output_hidden_states": (False, True),
    "return_dict": (True, False),
    "torchscript": (False, True),
}
CONFIG_METHODS = ["from_dict", "to_dict", "from_json_file", "to_json_string", "from_pretrained", "save_pretrained"]

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}
GENERATOR = torch.Generator().manual_seed(11)
IDS = torch.randint(1, 50, (3, 7), generator=GENERATOR)
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 1, 0]])
TYPES = torch.tensor([[0, 0, 0, 1, 1, 1, 1]]).repeat(3, 1)
HEAD_MASK = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 2.0]])
CHOICES = 3
POSITIONS = ("absolute", "relative_key", "relative_key_query")


def bert(**settings: Any) -> BertModel:
    model = seeded(BertConfig(**{**SMALL, **settings}), BertModel)
    assert isinstance(model, BertModel)
    return model


def layer_of(model: BertModel, index: int = 0) -> BertLayer:
    layer = model.encoder.layer[index]
    assert isinstance(layer, BertLayer)
    return layer


def difference(found: Any, expected: Any, mask: Tensor | None = MASK) -> float:
    """The largest difference on real rows."""
    return largest_difference(found, expected, mask)


# Names


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there(name: str) -> None:
    assert name in glassbert.__all__
    assert inspect.isclass(getattr(glassbert, name))
    assert getattr(glassbert, name) is getattr(room, name)


@pytest.mark.parametrize("name", IN_THE_ROOM)
def test_a_name_of_the_room_is_there(name: str) -> None:
    assert name in room.__all__
    assert getattr(room, name).__name__ == name
    assert getattr(room, name).__doc__


def test_the_base_class_has_two_names() -> None:
    assert glassbert.PreTrainedModel is glassbert.BertPreTrainedModel
    everything: tuple[type[BertPreTrainedModel], ...] = (BertModel, *HEADS)
    assert all(glassbert.PreTrainedModel in model_class.__mro__ for model_class in everything)


@pytest.mark.parametrize("name", FORWARD)
def test_forward_takes_the_arguments_in_their_order_and_others_by_name_alone(name: str) -> None:
    parameters = list(inspect.signature(getattr(room, name).forward).parameters.values())[1:]
    assert [parameter.name for parameter in parameters[: len(FORWARD[name])]] == FORWARD[name]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[len(FORWARD[name]) :])
    # Whatever a document leaves out of a call may be left out.
    needed = {"hidden_states", "input_tensor", "sequence_output", "pooled_output"}
    assert {p.name for p in parameters if p.default is p.empty} == needed & set(FORWARD[name])


@pytest.mark.parametrize("name", METHODS)
def test_every_model_has_the_method(name: str) -> None:
    for model_class in (BertPreTrainedModel, BertModel, *HEADS):
        assert list(inspect.signature(getattr(model_class, name)).parameters)[1:] == METHODS[name]


@pytest.mark.parametrize("output_class", FIELDS)
def test_a_result_has_the_fields_in_their_order(output_class: type[ModelOutput]) -> None:
    assert [field.name for field in dataclasses.fields(output_class)] == FIELDS[output_class]
    assert {ModelOutput, OrderedDict, dict} <= set(output_class.__mro__)


def test_functions_take_the_arguments_of_the_document() -> None:
    expected: dict[Callable[..., Any], list[str]] = {
        apply_chunking_to_forward: ["forward_fn", "chunk_size", "chunk_dim", "input_tensors"],
        find_pruneable_heads_and_indices: ["heads", "n_heads", "head_size", "already_pruned_heads"],
        prune_linear_layer: ["layer", "index", "dim"],
        BertModel: ["config", "add_pooling_layer"],
    }
    for function, names in expected.items():
        assert list(inspect.signature(function).parameters) == names


# Config


def test_a_config_has_the_fields_with_the_values_of_the_document() -> None:
    config = BertConfig()
    assert {name: getattr(config, name) for name in CONFIG} == {name: usual for name, (usual, _) in CONFIG.items()}


@pytest.mark.parametrize("way", CONFIG_METHODS)
def test_every_field_survives_every_way_of_writing_and_reading(way: str, tmp_path: Path) -> None:
    assert callable(getattr(BertConfig, way))
    config = BertConfig(**{name: other for name, (_, other) in CONFIG.items()})
    for name, (usual, other) in CONFIG.items():
        assert getattr(config, name) == other != usual
    if way == "to_json_string":
        again = BertConfig.from_dict(json.loads(config.to_json_string()))
    elif way in ("from_dict", "to_dict"):
        again = BertConfig.from_dict(config.to_dict())
    else:
        config.save_pretrained(tmp_path)
        file = tmp_path / "config.json"
        again = BertConfig.from_json_file(file) if way == "from_json_file" else BertConfig.from_pretrained(tmp_path)
        assert set(json.loads(file.read_text(encoding="utf-8"))) >= set(CONFIG)
    assert again == config


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"hidden_act": "relu"}, True),
        ({"layer_norm_eps": 0.5}, True),
        ({"is_decoder": True}, True),
        ({"chunk_size_feed_forward": 3}, False),
        ({"gradient_checkpointing": True}, False),
        ({"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}, False),
    ],
    ids=str,
)
def test_a_setting_changes_what_the_model_computes_or_only_how(settings: dict[str, Any], changed: bool) -> None:
    plain, other = bert(), bert(**settings)
    other.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        apart = difference(other(IDS, MASK).last_hidden_state, plain(IDS, MASK).last_hidden_state)
    assert (apart > 1e-3) if changed else (apart < 1e-5)


@pytest.mark.parametrize("name", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_acts_in_training(name: str) -> None:
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = bert(**off).train()
    assert torch.equal(model(IDS)[0], model(IDS)[0])
    model = bert(**{**off, name: 0.5}).train()
    torch.manual_seed(0)
    assert not torch.equal(model(IDS)[0], model(IDS)[0])


def test_sizes_of_the_config_are_sizes_of_the_modules() -> None:
    model = bert(type_vocab_size=3, pad_token_id=7)
    tables = model.embeddings
    assert tuple(tables.word_embeddings.weight.shape) == (50, 24)
    assert tuple(tables.position_embeddings.weight.shape) == (20, 24)
    assert tuple(tables.token_type_embeddings.weight.shape) == (3, 24)
    assert tables.word_embeddings.padding_idx == 7
    assert len(model.encoder.layer) == 2
    assert layer_of(model).intermediate.dense.out_features == 40
    assert layer_of(model).output.LayerNorm.eps == 1e-12


@pytest.mark.parametrize("positions", POSITIONS)
def test_self_attention_has_the_attributes_of_the_document(positions: str) -> None:
    attention = layer_of(bert(position_embedding_type=positions)).attention
    assert attention.self.num_attention_heads == 3
    assert attention.self.attention_head_size == 8
    assert attention.self.all_head_size == 24
    assert attention.self.position_embedding_type == positions
    assert attention.pruned_heads == set()
    if positions != "absolute":
        assert attention.self.distance_embedding is not None
        assert tuple(attention.self.distance_embedding.weight.shape) == (2 * 20 - 1, 8)


# Arguments of BertModel


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "neutral", "telling"),
    [
        ("attention_mask", torch.ones(3, 7), MASK),
        ("attention_mask", torch.ones(3, 7, 7), torch.ones(3, 7, 7).tril()),
        ("token_type_ids", torch.zeros(3, 7, dtype=torch.int64), TYPES),
        ("position_ids", torch.arange(7)[None], torch.arange(7)[None] + 3),
        ("position_ids", torch.arange(7).repeat(3, 1), torch.tensor([[3, 1, 0, 2, 6, 5, 4]]).repeat(3, 1)),
        ("head_mask", torch.ones(3), HEAD_MASK[0]),
        ("head_mask", torch.ones(2, 3), HEAD_MASK),
    ],
)
def test_an_argument_of_the_model_is_used_and_its_neutral_value_says_nothing(
    name: str, neutral: Tensor, telling: Tensor, backend: AttentionBackend
) -> None:
    model = bert()
    model.attention_backend = backend
    with torch.inference_mode():
        plain = model(IDS).pooler_output
        assert difference(model(IDS, **{name: neutral}).pooler_output, plain, None) < 1e-5
        told = model(IDS, **{name: telling}).pooler_output
        assert difference(told, plain, None) > 1e-3
        # And as loud where it is given by its place.
        place = FORWARD["BertModel"].index(name)
        assert torch.equal(model(IDS, *[None] * (place - 1), telling).pooler_output, told)


def test_word_vectors_stand_for_ids() -> None:
    model = bert()
    with torch.inference_mode():
        embeds = model.get_input_embeddings()(IDS)
        assert torch.equal(model(inputs_embeds=embeds, attention_mask=MASK)[0], model(IDS, MASK)[0])
        assert difference(model(inputs_embeds=2 * embeds, attention_mask=MASK)[0], model(IDS, MASK)[0]) > 1e-3


@pytest.mark.parametrize("positions", POSITIONS)
def test_an_encoders_states_their_mask_and_the_cache_are_used(positions: str) -> None:
    model = bert(is_decoder=True, add_cross_attention=True, position_embedding_type=positions)
    states = torch.randn(3, 4, 24, generator=torch.Generator().manual_seed(1))
    seen = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    given: dict[str, Any] = {"encoder_hidden_states": states, "encoder_attention_mask": seen}
    with torch.inference_mode():
        whole = model(IDS, **given, output_attentions=True)
        alone, unmasked = model(IDS), model(IDS, encoder_hidden_states=states)
        assert difference(whole[0], alone[0], None) > 1e-3
        assert difference(whole[0], unmasked[0], None) > 1e-3
        assert tuple(whole.cross_attentions[1].shape) == (3, 3, 7, 4)
        assert not whole.cross_attentions[1][1, :, :, 2:].any()
        # Token by token with the cache.
        past: Any = None
        rows = []
        for column in range(7):
            step = model(IDS[:, column : column + 1], **given, past_key_values=past, use_cache=True)
            past = step.past_key_values
            rows.append(step.last_hidden_state)
        assert difference(torch.cat(rows, dim=1), whole[0], None) < 1e-5
        assert len(past) == 2
        assert [tuple(states.shape) for states in past[0]] == [(3, 3, 7, 8)] * 2 + [(3, 3, 4, 8)] * 2
        assert "past_key_values" in whole
        assert "past_key_values" not in model(IDS, use_cache=False)


@pytest.mark.parametrize("name", ["output_attentions", "output_hidden_states", "return_dict", "use_cache"])
def test_what_a_call_does_not_say_the_config_says(name: str) -> None:
    decoder = name == "use_cache"
    for value in (True, False):
        model = bert(**{"is_decoder": decoder, name: value})
        opposite = bert(**{"is_decoder": decoder, name: not value})
        with torch.inference_mode():
            found, expected = model(IDS), opposite(IDS, **{name: value})
            assert type(found) is type(expected)
            assert len(found) == len(expected)
            if name == "return_dict":
                assert isinstance(found, tuple) is not value
                assert isinstance(opposite(IDS), tuple) is value
            else:
                assert len(found) - len(opposite(IDS)) == (1 if value else -1)


def test_everything_that_can_be_asked_for_comes_in_the_order_of_the_document() -> None:
    model = bert(is_decoder=True, add_cross_attention=True)
    states = torch.randn(3, 4, 24, generator=torch.Generator().manual_seed(1))
    asked = {"encoder_hidden_states": states, "output_attentions": True, "output_hidden_states": True}
    with torch.inference_mode():
        named = model(IDS, MASK, **asked)
        plain = model(IDS, MASK, **asked, return_dict=False)
    assert isinstance(named, BaseModelOutputWithPoolingAndCrossAttentions)
    assert list(named) == FIELDS[BaseModelOutputWithPoolingAndCrossAttentions]
    assert type(plain) is tuple
    assert len(plain) == len(named) == 6
    for place, name in enumerate(named):
        assert difference(_flat(plain[place]), _flat(named[name]), None) == 0.0
    assert tuple(plain[0].shape) == (3, 7, 24)
    assert tuple(plain[1].shape) == (3, 24)
    assert [len(plain[place]) for place in (2, 3, 4, 5)] == [2, 3, 2, 2]


def _flat(values: Any) -> tuple[Tensor, ...]:
    return (values,) if isinstance(values, Tensor) else tuple(one for value in values for one in _flat(value))


def test_without_a_pooler_the_tuple_keeps_its_place_as_in_the_document() -> None:
    # "return (sequence_output, pooled_output) + encoder_outputs[1:]", so callers read states from [2:].
    config = BertConfig(**SMALL)
    model = BertModel(config, add_pooling_layer=False).eval()
    assert model.pooler is None
    with torch.inference_mode():
        assert model(IDS).pooler_output is None
        plain = model(IDS, output_hidden_states=True, return_dict=False)
    assert plain[1] is None
    assert len(plain[2]) == 3


# Results


def test_a_result_is_a_dict_an_object_and_a_tuple() -> None:
    with torch.inference_mode():
        result = bert()(IDS, MASK, output_hidden_states=True)
    assert all(isinstance(result, kind) for kind in (ModelOutput, OrderedDict, dict))
    assert list(result) == list(result.keys()) == ["last_hidden_state", "pooler_output", "hidden_states"]
    assert result["pooler_output"] is result.pooler_output is result[1] is result[-2] is result.get("pooler_output")
    assert result[:2] == (result[0], result[1])
    assert result[1:][-1] is result[2] is result.hidden_states
    assert result.to_tuple() == tuple(result.values()) == result[:]
    assert [name for name, _ in result.items()] == list(result)
    assert dict(**result)["last_hidden_state"] is result[0]
    assert list(result.copy()) == list(result)
    assert result.copy()[0] is result[0]
    assert "attentions" not in result
    assert result.attentions is None
    assert result.get("attentions") is None
    assert len(result) == 3
    with pytest.raises(IndexError):
        result[3]
    with pytest.raises(KeyError):
        result["attentions"]


# The modules by themselves, as in the document


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_embeddings_encoder_and_pooler_by_hand_equal_the_model(positions: str, backend: AttentionBackend) -> None:
    model = bert(position_embedding_type=positions)
    model.attention_backend = backend
    assert model.pooler is not None
    with torch.inference_mode():
        expected = model(IDS, MASK, TYPES, head_mask=HEAD_MASK, output_hidden_states=True)
        hidden = model.embeddings(input_ids=IDS, token_type_ids=TYPES)
        assert difference(hidden, expected.hidden_states[0]) < 1e-5
        extended = model.get_extended_attention_mask(MASK, IDS.shape, IDS.device)
        assert tuple(extended.shape) == (3, 1, 1, 7)
        assert ((extended == 0) == MASK.bool()[:, None, None]).all()
        assert extended[MASK[:, None, None] == 0].max() <= -10_000
        heads = model.get_head_mask(HEAD_MASK, 2)
        given = {"attention_mask": extended, "head_mask": heads, "output_hidden_states": True}
        found = model.encoder(hidden, **given, return_dict=True)
        assert isinstance(found, BaseModelOutputWithPastAndCrossAttentions)
        assert difference(found.last_hidden_state, expected.last_hidden_state) < 1e-5
        assert difference(found.hidden_states, expected.hidden_states) < 1e-5
        plain = model.encoder(hidden, **given, return_dict=False)
        assert type(plain) is tuple
        assert difference(plain[0], found[0]) == 0.0
        assert difference(plain[1], found.hidden_states) == 0.0
        assert difference(model.pooler(plain[0]), expected.pooler_output, None) < 1e-5


@pytest.mark.parametrize("mask", [MASK, MASK.bool(), MASK.float(), (MASK[:, None] * MASK[:, :, None])])
def test_the_mask_that_is_added_may_be_of_any_kind(mask: Tensor) -> None:
    model = bert()
    with torch.inference_mode():
        extended = model.get_extended_attention_mask(mask, IDS.shape, IDS.device)
        assert extended.dtype == torch.float32
        assert tuple(extended.shape) == (3, 1, mask.shape[1] if mask.dim() == 3 else 1, 7)
        expected = model(IDS, mask).last_hidden_state
        found = model.encoder(model.embeddings(IDS), extended)[0]
        assert difference(found, expected) < 1e-5
        # The document's own figure hides as well as the lowest number.
        rough = model.encoder(model.embeddings(IDS), (1.0 - (mask != 0).float().view_as(extended)) * -10_000.0)[0]
        assert difference(rough, expected) < 1e-5


def test_a_decoders_mask_hides_what_comes_after() -> None:
    model = bert(is_decoder=True)
    extended = model.get_extended_attention_mask(MASK, IDS.shape, IDS.device)
    assert ((extended == 0) == (MASK[:, None, None] * torch.ones(7, 7).tril() > 0)).all()
    with torch.inference_mode():
        found = model.encoder(model.embeddings(IDS), extended)[0]
        assert difference(found, model(IDS, MASK)[0]) < 1e-5


def test_head_masks_of_one_and_of_all_layers() -> None:
    model = bert()
    assert model.get_head_mask(None, 2) == [None, None]
    one, two = model.get_head_mask(HEAD_MASK[0], 2), model.get_head_mask(HEAD_MASK, 2)
    assert isinstance(one, Tensor)
    assert isinstance(two, Tensor)
    assert one.shape == two.shape == (2, 1, 3, 1, 1)
    assert torch.equal(one[1].flatten(), HEAD_MASK[0])
    assert torch.equal(two[1].flatten(), HEAD_MASK[1])
    chunked = model.get_head_mask(HEAD_MASK, 2, is_attention_chunked=True)
    assert isinstance(chunked, Tensor)
    assert chunked.shape == (2, 1, 3, 1, 1, 1)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_layer_by_itself_equals_its_part_of_the_model(positions: str) -> None:
    model = bert(position_embedding_type=positions)
    with torch.inference_mode():
        expected = model(IDS, MASK, head_mask=HEAD_MASK, output_hidden_states=True, output_attentions=True)
        extended = model.get_extended_attention_mask(MASK, IDS.shape, IDS.device)
        heads = model.get_head_mask(HEAD_MASK, 2)
        hidden = model.embeddings(IDS)
        for index in range(2):
            layer = layer_of(model, index)
            outputs = layer(hidden, extended, heads[index], output_attentions=True)
            attended = layer.attention(hidden, extended, heads[index], output_attentions=True)
            assert difference(outputs[1], attended[1]) == 0.0
            assert difference(layer(hidden, extended, heads[index])[0], outputs[0]) < 1e-5
            assert difference(layer.feed_forward_chunk(attended[0]), outputs[0]) < 1e-5
            hidden, weights = outputs[0], outputs[1]
            assert difference(hidden, expected.hidden_states[index + 1]) < 1e-5
            assert difference(weights, expected.attentions[index]) < 1e-5


def test_feed_forward_of_a_layer_in_pieces() -> None:
    layer = layer_of(bert())
    states = torch.randn(3, 7, 24, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = layer.output(layer.intermediate(states), states)
        assert torch.equal(layer.feed_forward_chunk(states), expected)
        for size in (layer.chunk_size_feed_forward, 1, 4, 7):
            pieces = apply_chunking_to_forward(layer.feed_forward_chunk, size, 1, states)
            assert difference(pieces, expected, None) < 1e-5


@pytest.mark.parametrize("positions", POSITIONS)
def test_self_attention_equals_the_code_in_the_document(positions: str) -> None:
    model = bert(position_embedding_type=positions)
    attention = layer_of(model).attention.self
    factors = HEAD_MASK[0].view(1, 3, 1, 1)
    with torch.inference_mode():
        hidden_states = model.embeddings(IDS)
        attention_mask = model.get_extended_attention_mask(MASK, IDS.shape, IDS.device)
        query_layer = attention.transpose_for_scores(attention.query(hidden_states))
        key_layer = attention.transpose_for_scores(attention.key(hidden_states))
        value_layer = attention.transpose_for_scores(attention.value(hidden_states))
        assert query_layer.shape == key_layer.shape == value_layer.shape == (3, 3, 7, 8)
        scores = torch.matmul(query_layer, key_layer.transpose(-1, -2))
        assert scores.shape == (3, 3, 7, 7)
        if positions != "absolute":
            assert attention.distance_embedding is not None
            distance = torch.arange(7).view(-1, 1) - torch.arange(7).view(1, -1)
            table = attention.distance_embedding(distance + model.config.max_position_embeddings - 1)
            scores = scores + torch.einsum("bhld,lrd->bhlr", query_layer, table)
            if positions == "relative_key_query":
                scores = scores + torch.einsum("bhrd,lrd->bhlr", key_layer, table)
        scores = scores / math.sqrt(attention.attention_head_size) + attention_mask
        probabilities = attention.dropout(nn.Softmax(dim=-1)(scores)) * factors
        context = torch.matmul(probabilities, value_layer).permute(0, 2, 1, 3).flatten(2)
        outputs = attention(hidden_states, attention_mask, factors, output_attentions=True)
        assert difference(outputs[0], context, None) < 1e-5
        assert difference(outputs[1], probabilities, None) < 1e-5
        assert difference(attention(hidden_states, attention_mask, factors)[0], context, None) < 1e-5
        mixed = layer_of(model).attention.output(context, hidden_states)
        assert difference(mixed, layer_of(model).attention(hidden_states, attention_mask, factors)[0], None) < 1e-5


def test_cross_attention_and_cache_of_a_layer_by_itself() -> None:
    model = bert(is_decoder=True, add_cross_attention=True)
    layer = layer_of(model)
    states = torch.randn(3, 4, 24, generator=torch.Generator().manual_seed(1))
    seen = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    with torch.inference_mode():
        hidden = model.embeddings(IDS)
        whole = layer(
            hidden,
            model.get_extended_attention_mask(torch.ones_like(IDS), IDS.shape, IDS.device),
            encoder_hidden_states=states,
            encoder_attention_mask=model.invert_attention_mask(seen),
            output_attentions=True,
        )
        expected = model(IDS, encoder_hidden_states=states, encoder_attention_mask=seen, output_hidden_states=True)
        assert difference(whole[0], expected.hidden_states[1], None) < 1e-5
        cached = layer(
            hidden[:, -1:],
            None,
            encoder_hidden_states=states,
            encoder_attention_mask=model.invert_attention_mask(seen),
            past_key_value=tuple(
                part[:, :, :-1] if place < 2 else part for place, part in enumerate(expected.past_key_values[0])
            ),
        )
        assert difference(cached[0], whole[0][:, -1:], None) < 1e-5


def test_attention_prunes_its_heads_as_the_document_says() -> None:
    torch.manual_seed(0)
    attention = BertAttention(BertConfig(**SMALL)).eval()
    whole = attention.self.query.weight.detach().clone()
    hidden = torch.randn(3, 7, 24)
    with torch.inference_mode():
        expected = attention(hidden, None, torch.tensor([0.0, 1.0, 1.0]))[0]
    attention.prune_heads([])
    assert attention.pruned_heads == set()
    attention.prune_heads([0])
    assert attention.pruned_heads == {0}
    assert (attention.self.num_attention_heads, attention.self.all_head_size) == (2, 16)
    assert torch.equal(attention.self.query.weight, whole[8:])
    assert tuple(attention.output.dense.weight.shape) == (24, 16)
    with torch.inference_mode():
        assert attention.self.transpose_for_scores(attention.self.key(hidden)).shape == (3, 2, 7, 8)
        assert difference(attention(hidden)[0], expected, None) < 1e-5
    attention.prune_heads({0, 2})
    assert attention.pruned_heads == {0, 2}
    assert torch.equal(attention.self.query.weight, whole[8:16])


def test_the_functions_of_pruning() -> None:
    heads, index = find_pruneable_heads_and_indices([0, 3], 3, 2, {0})
    # Head 0 is gone already; of 1, 2 and 3, two rows each, the last two go.
    assert heads == {3}
    assert index.tolist() == [0, 1, 2, 3]
    torch.manual_seed(0)
    linear = nn.Linear(4, 6)
    rows, columns = prune_linear_layer(linear, torch.tensor([5, 0])), prune_linear_layer(linear, torch.tensor([1]), 1)
    assert torch.equal(rows.weight, linear.weight[[5, 0]])
    assert torch.equal(rows.bias, linear.bias[[5, 0]])
    assert torch.equal(columns.weight, linear.weight[:, [1]])
    assert torch.equal(columns.bias, linear.bias)
    assert (rows.in_features, rows.out_features, columns.in_features, columns.out_features) == (4, 2, 1, 6)
    plain = nn.Linear(4, 6, bias=False)
    assert prune_linear_layer(plain, torch.tensor([2]), dim=0).bias is None


def test_activations_by_their_names() -> None:
    values = torch.linspace(-4, 4, 33, dtype=torch.float64)
    tanh_form = 0.5 * values * (1 + torch.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))
    formulas: dict[str, Tensor] = {
        "gelu": values * 0.5 * (1 + torch.erf(values / math.sqrt(2))),
        "gelu_new": tanh_form,
        "relu": values.clamp(min=0),
        "silu": values / (1 + torch.exp(-values)),
    }
    assert set(formulas) <= set(ACT2FN)
    table = cast(dict[str, nn.Module], ACT2FN)
    for name, expected in formulas.items():
        assert (table[name](values) - expected).abs().max() < 1e-12, name
    assert (formulas["gelu"] - formulas["gelu_new"]).abs().max() > 1e-4


# Heads


def head(model_class: type[BertPreTrainedModel], **settings: Any) -> BertPreTrainedModel:
    decoder = {"is_decoder": True, "use_cache": False} if model_class is BertLMHeadModel else {}
    return seeded(BertConfig(**{**SMALL, **decoder, **settings}), model_class)


def shaped(model_class: type[BertPreTrainedModel], values: Tensor) -> Tensor:
    """(3, …) as it is, or with choices."""
    return values[:, None].repeat_interleave(CHOICES, dim=1) if model_class is BertForMultipleChoice else values


def texts(model_class: type[BertPreTrainedModel]) -> Tensor:
    ids = shaped(model_class, IDS).clone()
    ids[..., 1] = torch.arange(ids[..., 1].numel()).view_as(ids[..., 1]) + 2  # choices differ
    return ids


def logits(result: Any) -> tuple[Tensor, ...]:
    """The answers, without loss and states."""
    return tuple(value for name, value in result.items() if name.endswith("logits"))


@pytest.mark.parametrize("model_class", HEADS)
@pytest.mark.parametrize("name", ["attention_mask", "token_type_ids", "position_ids", "head_mask"])
def test_an_argument_of_a_head_is_used(model_class: type[BertPreTrainedModel], name: str) -> None:
    model, ids = head(model_class), texts(model_class)
    values: dict[str, tuple[Tensor, Tensor]] = {
        "attention_mask": (torch.ones_like(ids), shaped(model_class, MASK)),
        "token_type_ids": (torch.zeros_like(ids), shaped(model_class, TYPES)),
        "position_ids": (torch.arange(7).expand_as(ids), torch.tensor([3, 1, 0, 2, 6, 5, 4]).expand_as(ids)),
        "head_mask": (torch.ones(2, 3), HEAD_MASK),
    }
    neutral, telling = values[name]
    with torch.inference_mode():
        plain = logits(model(ids))
        assert difference(logits(model(ids, **{name: neutral})), plain, None) < 1e-5
        told = logits(model(ids, **{name: telling}))
        for one, other in zip(told, plain, strict=True):
            # In the last text a token before the fourth is masked, so a decoder's answer there changes too.
            rows = (2, 3) if one.shape[1] == 7 else (2,)
            assert difference(one[rows], other[rows], None) > 1e-3
        place = FORWARD[model_class.__name__].index(name)
        again = logits(model(ids, *[None] * (place - 1), telling))
        assert difference(again, told, None) == 0.0


@pytest.mark.parametrize("model_class", HEADS)
def test_a_head_takes_word_vectors_and_gives_what_it_is_asked_for(model_class: type[BertPreTrainedModel]) -> None:
    model, ids = head(model_class), texts(model_class)
    mask = shaped(model_class, MASK)
    rows = MASK if model_class is not BertForMultipleChoice else MASK.repeat_interleave(CHOICES, dim=0)
    with torch.inference_mode():
        result: Any = model(ids, mask, output_attentions=True, output_hidden_states=True)
        assert type(result).__name__ == RETURNS[model_class].__name__
        batch = 3 * CHOICES if model_class is BertForMultipleChoice else 3
        assert [tuple(states.shape) for states in result.hidden_states] == [(batch, 7, 24)] * 3
        assert [tuple(weights.shape) for weights in result.attentions] == [(batch, 3, 7, 7)] * 2
        plain = model(ids, mask, output_attentions=True, output_hidden_states=True, return_dict=False)
        assert type(plain) is tuple
        assert difference(_flat(plain), _flat(result.to_tuple()), None) == 0.0
        short = model(ids, mask)
        assert set(short) == {name for name in FIELDS[type(result)] if name.endswith("logits")}
        assert difference(logits(short), logits(result), None if model_class is BertForMultipleChoice else MASK) < 1e-5
        embeds = model.get_input_embeddings()(ids)
        given = logits(model(inputs_embeds=embeds, attention_mask=mask))
        assert difference(given, logits(short), None) == 0.0
        body = model.base_model(ids.view(-1, 7), mask.view(-1, 7), output_hidden_states=True)
        assert difference(body.hidden_states, result.hidden_states, rows) < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model_class", HEADS)
def test_the_loss_of_a_head_is_the_one_in_the_document(
    model_class: type[BertPreTrainedModel], backend: AttentionBackend
) -> None:
    model, ids = head(model_class), texts(model_class)
    model.attention_backend = backend
    words = torch.where(MASK.bool() & (IDS % 2 == 0), IDS, -100)
    first_two = torch.tensor([0, 1, 1])
    arguments: dict[type[BertPreTrainedModel], dict[str, Tensor]] = {
        BertForPreTraining: {"labels": words, "next_sentence_label": first_two},
        BertForMaskedLM: {"labels": words},
        BertLMHeadModel: {"labels": words},
        BertForNextSentencePrediction: {"labels": first_two},
        BertForSequenceClassification: {"labels": first_two},
        BertForMultipleChoice: {"labels": torch.tensor([2, 0, 1])},
        BertForTokenClassification: {"labels": torch.where(MASK.bool(), IDS % 2, -100)},
        BertForQuestionAnswering: {"start_positions": torch.tensor([1, 0, 3]), "end_positions": first_two},
    }
    labels = arguments[model_class]
    with torch.inference_mode():
        result = model(ids, shaped(model_class, MASK), **labels)
        plain = model(ids, shaped(model_class, MASK), **labels, return_dict=False)
    assert torch.equal(plain[0], result.loss)
    if model_class is BertForPreTraining:
        expected = F.cross_entropy(result.prediction_logits.view(-1, 50), words.view(-1))
        expected = expected + F.cross_entropy(result.seq_relationship_logits.view(-1, 2), first_two.view(-1))
    elif model_class is BertLMHeadModel:
        expected = F.cross_entropy(result.logits[:, :-1].reshape(-1, 50), words[:, 1:].reshape(-1))
    elif model_class is BertForQuestionAnswering:
        expected = F.cross_entropy(result.start_logits, labels["start_positions"])
        expected = (expected + F.cross_entropy(result.end_logits, labels["end_positions"])) / 2
    else:
        expected = F.cross_entropy(result.logits.flatten(0, -2), labels["labels"].flatten())
    assert abs(float(result.loss) - float(expected)) < 1e-5


def test_pretraining_takes_either_label_alone() -> None:
    model = head(BertForPreTraining)
    words, pairs = torch.where(IDS % 2 == 0, IDS, -100), torch.tensor([0, 1, 1])
    with torch.inference_mode():
        both = model(IDS, MASK, labels=words, next_sentence_label=pairs).loss
        one, other = model(IDS, MASK, labels=words).loss, model(IDS, MASK, next_sentence_label=pairs).loss
    assert abs(float(one + other - both)) < 1e-5
    assert float(one) > 0 < float(other)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_label_means_regression_with_squared_error(shape: tuple[int, ...]) -> None:
    model = head(BertForSequenceClassification, num_labels=1)
    labels = torch.tensor([0.5, -2.0, 3.0])
    with torch.inference_mode():
        result = model(IDS, MASK, labels=labels.view(shape))
    assert tuple(result.logits.shape) == (3, 1)
    assert abs(float(result.loss) - float(((result.logits[:, 0] - labels) ** 2).mean())) < 1e-5


def test_answers_outside_the_text_are_clamped_and_the_callers_labels_left_alone() -> None:
    model = head(BertForQuestionAnswering)
    start, end = torch.tensor([-3, 2, 99]), torch.tensor([4, 99, 1])
    before = start.clone(), end.clone()
    with torch.inference_mode():
        result = model(IDS, start_positions=start, end_positions=end)
        expected = F.cross_entropy(result.start_logits[:2], torch.tensor([0, 2]))
        expected = (expected + F.cross_entropy(result.end_logits[[0, 2]], torch.tensor([4, 1]))) / 2
    assert abs(float(result.loss) - float(expected)) < 1e-5
    assert torch.equal(start, before[0])
    assert torch.equal(end, before[1])


def test_the_parts_of_the_language_heads_are_called_as_in_the_document() -> None:
    model = head(BertForPreTraining)
    assert isinstance(model, BertForPreTraining)
    heads = model.cls
    assert isinstance(heads, BertPreTrainingHeads)
    with torch.inference_mode():
        body = model.bert(IDS, MASK)
        sequence_output, pooled_output = body[0], body[1]
        prediction_scores, seq_relationship_score = heads(sequence_output, pooled_output)
        result = model(IDS, MASK)
        assert difference(prediction_scores, result.prediction_logits) < 1e-5
        assert difference(seq_relationship_score, result.seq_relationship_logits, None) < 1e-5
        predictions = heads.predictions
        hidden = predictions.transform.dense(sequence_output)
        hidden = predictions.transform.LayerNorm(predictions.transform.transform_act_fn(hidden))
        assert difference(predictions.transform(sequence_output), hidden, None) == 0.0
        by_hand = hidden @ model.bert.embeddings.word_embeddings.weight.T + predictions.bias
        assert difference(predictions(sequence_output), by_hand, None) < 1e-5
        assert predictions.decoder.bias is predictions.bias
        words, pairs = BertOnlyMLMHead(model.config), BertOnlyNSPHead(model.config)
        words.predictions.load_state_dict(predictions.state_dict())
        pairs.seq_relationship.load_state_dict(heads.seq_relationship.state_dict())
        assert difference(words(sequence_output), prediction_scores, None) == 0.0
        assert difference(pairs(pooled_output), seq_relationship_score, None) == 0.0


@pytest.mark.parametrize(
    ("model_class", "outside"),
    [
        (BertForPreTraining, ["cls.predictions", "cls.seq_relationship"]),
        (BertForMaskedLM, ["cls.predictions"]),
        (BertLMHeadModel, ["cls.predictions"]),
        (BertForNextSentencePrediction, ["cls.seq_relationship"]),
        (BertForSequenceClassification, ["classifier"]),
        (BertForMultipleChoice, ["classifier"]),
        (BertForTokenClassification, ["classifier"]),
        (BertForQuestionAnswering, ["qa_outputs"]),
    ],
)
def test_the_parts_of_a_head_have_their_published_names(
    model_class: type[BertPreTrainedModel], outside: list[str]
) -> None:
    with torch.device("meta"):
        model = model_class(BertConfig(**SMALL))
    names = [name for name in model.state_dict() if not name.startswith("bert.")]
    assert {next(part for part in outside if name.startswith(f"{part}.")) for name in names} == set(outside)
    pooler = any(name.startswith("bert.pooler.") for name in model.state_dict())
    without = (BertForMaskedLM, BertLMHeadModel, BertForTokenClassification, BertForQuestionAnswering)
    assert pooler is (model_class not in without)


@pytest.mark.parametrize("model_class", [BertForTokenClassification, BertForQuestionAnswering])
def test_a_pooler_that_is_not_wanted_is_left_out_by_name(
    model_class: type[BertPreTrainedModel], tmp_path: Path
) -> None:
    patterns = model_class._keys_to_ignore_on_load_unexpected
    assert any(re.search(pattern, "bert.pooler.dense.weight") for pattern in patterns)
    body = bert()
    body.save_pretrained(tmp_path)
    torch.manual_seed(0)
    loaded = model_class.from_pretrained(tmp_path)
    assert loaded.loading_info.ignored == ("pooler.dense.bias", "pooler.dense.weight")
    with torch.inference_mode():
        assert difference(loaded.base_model(IDS, MASK)[0], body(IDS, MASK)[0]) == 0.0
