"""What users do by mistake, or are told not to: it works, or it is refused by name and changes nothing."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
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
    CheckpointError,
    ConfigError,
    InputError,
    SentenceEncoder,
)
from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.model import AttentionBackend
from tests.model.oracle import BACKENDS, largest_difference, seeded

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}
DECODER: dict[str, Any] = {"is_decoder": True}
CROSS: dict[str, Any] = {"is_decoder": True, "add_cross_attention": True}
IDS = torch.arange(10).view(2, 5)
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
STATES = torch.randn(2, 4, 24, generator=torch.Generator().manual_seed(5))
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def build(model_class: type[BertPreTrainedModel] = BertModel, **settings: Any) -> Any:
    return seeded(BertConfig(**{**SMALL, **settings}), model_class)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_state(model: nn.Module, expected: dict[str, Tensor]) -> bool:
    found = model.state_dict()
    return found.keys() == expected.keys() and all(torch.equal(found[name], one) for name, one in expected.items())


def tokens(model_class: type[BertPreTrainedModel]) -> Tensor:
    return IDS[:, None] if model_class is BertForMultipleChoice else IDS


# Patterns of loading


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with names of its own for its labels."""
    path = tmp_path_factory.mktemp("classifier")
    build(BertForSequenceClassification, id2label={0: "bad", 1: "good"}).save_pretrained(path)
    return path


def test_a_string_is_one_pattern_of_what_gets_new_values(folder: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=5, fresh="classifier")
    assert model.loading_info.fresh == ("classifier.weight", "classifier.bias")
    listed = BertForSequenceClassification.from_pretrained(folder, num_labels=5, fresh=["classifier"])
    assert listed.loading_info == model.loading_info


def test_a_string_is_one_pattern_of_what_is_left_out(folder: Path) -> None:
    model = BertForMaskedLM.from_pretrained(folder, fresh="^cls", ignore="^classifier")
    assert {"classifier.bias", "classifier.weight"} <= set(model.loading_info.ignored)


@pytest.mark.parametrize("name", ["fresh", "ignore"])
@pytest.mark.parametrize("given", ["clasifier", ["classifier", "clasifier"], ("clasifier",)])
def test_a_pattern_that_fits_no_tensor_is_named(folder: Path, name: str, given: Any) -> None:
    with pytest.raises(CheckpointError, match="'clasifier' fits no tensor"):
        BertForSequenceClassification.from_pretrained(folder, **{name: given})


@pytest.mark.parametrize("name", ["fresh", "ignore"])
@pytest.mark.parametrize(("given", "shown"), [("class(ifier", "'class(ifier'"), (["*"], "'*'"), ([3], "3")])
def test_what_is_no_pattern_is_named(folder: Path, name: str, given: Any, shown: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name} holds {re.escape(shown)}, which is no pattern"):
        BertForSequenceClassification.from_pretrained(folder, **{name: given})


def follow(
    model_class: type[BertPreTrainedModel], path: Path, **settings: Any
) -> tuple[BertPreTrainedModel, dict[str, list[str]]]:
    """Load, and do what each refusal proposes; return the model and what was proposed."""
    proposed: dict[str, list[str]] = {"fresh": [], "ignore": []}
    for _ in range(6):
        try:
            return model_class.from_pretrained(path, **settings, **proposed), proposed
        except CheckpointError as error:
            message = str(error)
        remedy = re.search(r"(fresh|ignore)=\['([^']+)'\]", message)
        assert remedy is not None, message
        assert remedy[2] not in proposed[remedy[1]], message
        proposed[remedy[1]].append(remedy[2])
    raise AssertionError(f"{proposed} do not help")


def lost(model: BertPreTrainedModel, path: Path) -> list[str]:
    """Name what the file holds under a name of the model's, and the model has otherwise."""
    found = model.state_dict()
    return [
        name
        for name, tensor in load_file(path / "model.safetensors").items()
        if name in found and not torch.equal(found[name], tensor)
    ]


class Scaled(BertPreTrainedModel):
    """A head of a user's own."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.scale = nn.Linear(config.hidden_size, 1)
        self.init_weights()


@pytest.mark.parametrize(
    ("saved", "has", "loaded", "asked", "fresh", "ignore"),
    [
        (BertModel, {}, BertModel, {"position_embedding_type": "relative_key"}, ["distance_embedding"], []),
        (BertModel, {}, BertModel, {"position_embedding_type": "relative_key_query"}, ["distance_embedding"], []),
        (BertModel, {}, BertModel, CROSS, ["crossattention"], []),
        (BertLMHeadModel, DECODER, BertLMHeadModel, CROSS, ["crossattention"], []),
        (
            BertForMaskedLM,
            {"position_embedding_type": "relative_key"},
            BertForMaskedLM,
            {"position_embedding_type": "absolute"},
            [],
            ["distance_embedding"],
        ),
        (BertLMHeadModel, CROSS, BertLMHeadModel, {"add_cross_attention": False}, [], ["crossattention"]),
        (BertForSequenceClassification, {}, BertForMaskedLM, {}, ["cls.predictions"], ["classifier"]),
        (BertForQuestionAnswering, {}, BertForSequenceClassification, {}, [], ["qa_outputs"]),
        (BertForTokenClassification, {}, BertForQuestionAnswering, {}, [], ["classifier"]),
        (Scaled, {}, BertForSequenceClassification, {}, [], ["scale"]),
        (Scaled, {}, BertModel, {}, [], ["scale"]),
        (BertModel, {}, Scaled, {}, ["scale"], []),
        (BertForTokenClassification, {}, BertModel, {}, ["pooler"], []),
        (BertForSequenceClassification, {}, BertForSequenceClassification, {"num_labels": 4}, ["classifier"], []),
    ],
)
def test_a_refusal_proposes_the_narrowest_part_and_its_proposal_loads(
    saved: type[BertPreTrainedModel],
    has: dict[str, Any],
    loaded: type[BertPreTrainedModel],
    asked: dict[str, Any],
    fresh: list[str],
    ignore: list[str],
    tmp_path: Path,
) -> None:
    build(saved, **has).save_pretrained(tmp_path)
    model, proposed = follow(loaded, tmp_path, **asked)
    assert proposed == {"fresh": fresh, "ignore": ignore}
    named = [*fresh, *model._keys_to_ignore_on_load_missing]
    assert all(any(re.search(pattern, name) for pattern in named) for name in model.loading_info.fresh)
    assert not [name for name in lost(model, tmp_path) if not any(part in name for part in fresh)]


def test_the_proposal_for_a_missing_layer_costs_no_other_layer(tmp_path: Path) -> None:
    build(num_hidden_layers=12).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({name: one for name, one in load_file(file).items() if ".layer.1." not in name}, file)
    model, _ = follow(BertModel, tmp_path)
    assert lost(model, tmp_path) == []


# Factors of heads


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_factors_of_heads_may_be_other_floats_than_the_model(
    dtype: torch.dtype, weights: bool, backend: AttentionBackend
) -> None:
    model = build(BertForTokenClassification).to(dtype)
    model.attention_backend = backend
    for factors in (torch.tensor([0.5, 0.0, 1.0]), torch.tensor([[0.5, 0.0, 1.0], [1.0, 0.25, 0.0]])):
        with torch.inference_mode():
            plain = model(IDS, MASK).logits
            expected = model(IDS, MASK, head_mask=factors.to(dtype), output_attentions=weights)
            for other in FLOATS:
                found = model(IDS, MASK, head_mask=factors.to(other), output_attentions=weights)
                assert found.logits.dtype == dtype
                assert torch.equal(found.logits, expected.logits)
                if weights:
                    assert {one.dtype for one in found.attentions} == {dtype}
                    assert largest_difference(found.attentions, list(expected.attentions), MASK) == 0.0
        assert largest_difference(expected.logits, plain, MASK) > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_factors_of_heads_train_a_model_of_other_floats(backend: AttentionBackend) -> None:
    model = build(BertForSequenceClassification).double().train()
    model.attention_backend = backend
    factors = torch.ones(3, requires_grad=True)
    model(IDS, MASK, head_mask=factors, labels=torch.tensor([0, 1])).loss.backward()
    assert factors.grad is not None
    assert factors.grad.dtype == torch.float32
    assert bool(factors.grad.abs().min() > 0)


@pytest.mark.parametrize("model_class", MODEL_CLASSES.values())
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_factors_of_heads_that_are_no_numbers_are_refused(model_class: type[BertPreTrainedModel], value: float) -> None:
    model = build(model_class)
    for factors in (torch.tensor([1.0, value, 1.0]), torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, value]])):
        for dtype in FLOATS:
            with pytest.raises(InputError, match="head_mask"):
                model(tokens(model_class), head_mask=factors.to(dtype))


# Dropout of attention weights


def attention_only(**settings: Any) -> Any:
    return build(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5, **settings)


def every_dropout(model: nn.Module, mode: bool, within: str = "") -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and within in name:
            module.train(mode)


def replace_attention_dropout(model: Any, make: Callable[[], nn.Module]) -> None:
    for layer in model.encoder.layer:
        layer.attention.self.dropout = make()


@pytest.mark.parametrize("positions", ["absolute", "relative_key_query"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_eval_model_whose_dropouts_are_in_train_mode_varies(backend: AttentionBackend, positions: str) -> None:
    model = attention_only(position_embedding_type=positions)
    model.attention_backend = backend
    every_dropout(model, True)
    assert not model.training
    torch.manual_seed(0)
    for mask in (None, MASK):
        with torch.inference_mode():
            one, other = model(IDS, mask), model(IDS, mask)
        assert largest_difference(one[0], other[0], mask) > 1e-3


@pytest.mark.parametrize("positions", ["absolute", "relative_key_query"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_train_model_whose_dropouts_are_in_eval_mode_does_not_vary(backend: AttentionBackend, positions: str) -> None:
    model = build(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5, position_embedding_type=positions)
    model.attention_backend = backend
    for mask in (None, MASK):
        with torch.inference_mode():
            expected = model.eval()(IDS, mask)
            model.train()
            every_dropout(model, False)
            assert model.training
            one, other = model(IDS, mask), model(IDS, mask)
        assert torch.equal(one[0], other[0])
        assert largest_difference(one[0], expected[0], mask) == 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_of_cross_attention_follows_its_own_module(backend: AttentionBackend) -> None:
    model = attention_only(**CROSS)
    model.attention_backend = backend
    torch.manual_seed(0)
    with torch.inference_mode():
        every_dropout(model, True, ".crossattention.")
        differences = [
            largest_difference(model(IDS, **given)[0], model(IDS, **given)[0], None)
            for given in ({"encoder_hidden_states": STATES}, {})
        ]
    assert differences[0] > 1e-3
    assert differences[1] == 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_layer_may_drop_and_another_not(backend: AttentionBackend) -> None:
    model = attention_only()
    model.attention_backend = backend
    model.encoder.layer[1].attention.self.dropout.train()
    torch.manual_seed(0)
    with torch.inference_mode():
        one, other = (model(IDS, MASK, output_hidden_states=True).hidden_states for _ in range(2))
    assert largest_difference(one[1], other[1], MASK) == 0.0
    assert largest_difference(one[2], other[2], MASK) > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_of_attention_may_be_replaced_by_nothing(backend: AttentionBackend) -> None:
    model = attention_only()
    model.attention_backend = backend
    with torch.inference_mode():
        expected = model(IDS, MASK)
    replace_attention_dropout(model, nn.Identity)
    model.train()
    found = model(IDS, MASK)
    assert largest_difference(found[0].detach(), expected[0], MASK) < 1e-5
    found.pooler_output.sum().backward()
    assert model.encoder.layer[0].attention.self.query.weight.grad is not None


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", [nn.AlphaDropout, nn.ReLU, lambda: nn.Sequential(nn.Dropout(0.5))])
def test_dropout_of_attention_may_not_be_replaced_by_another_module(
    make: Callable[[], nn.Module], backend: AttentionBackend, training: bool
) -> None:
    model = attention_only().train(training)
    model.attention_backend = backend
    replace_attention_dropout(model, make)
    with pytest.raises(InputError, match=type(make()).__name__):
        model(IDS, MASK)


# Masks

NO_MASKS = [0.5, float("nan"), float("inf"), 2.0, -0.5, -10000.0, torch.finfo(torch.float32).min]


def spoiled(mask: Tensor, value: float) -> Tensor:
    """Return the mask with `value` at its last padding, so that no earlier one is looked at in its place."""
    mask = mask.float()
    mask.view(-1)[int((mask == 0).view(-1).nonzero()[-1])] = value
    return mask


@pytest.mark.parametrize("settings", [{}, DECODER])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", NO_MASKS)
def test_what_is_neither_one_nor_zero_is_no_mask(
    value: float, backend: AttentionBackend, settings: dict[str, Any]
) -> None:
    model = build(**settings)
    model.attention_backend = backend
    for mask in (MASK, MASK[:, None, :].expand(2, 5, 5)):
        with pytest.raises(InputError, match="attention_mask holds " + re.escape(f"{value:g}")):
            model(IDS, spoiled(mask.clone(), value))
        if value in (2.0, -10000.0):
            for dtype in (torch.int64, torch.int32):
                with pytest.raises(InputError, match="attention_mask holds " + re.escape(f"{value:g}")):
                    model(IDS, spoiled(mask.clone(), value).to(dtype))


@pytest.mark.parametrize("model_class", MODEL_CLASSES.values())
@pytest.mark.parametrize("value", NO_MASKS)
def test_every_head_refuses_what_is_no_mask(model_class: type[BertPreTrainedModel], value: float) -> None:
    ids = tokens(model_class)
    with pytest.raises(InputError, match="attention_mask holds " + re.escape(f"{value:g}")):
        build(model_class)(ids, spoiled(MASK, value).view(ids.shape))


@pytest.mark.parametrize("value", NO_MASKS)
def test_generation_refuses_what_is_no_mask(value: float) -> None:
    left = MASK.flip(1)
    with pytest.raises(InputError, match="attention_mask holds " + re.escape(f"{value:g}")):
        build(BertLMHeadModel, **DECODER).generate(IDS, spoiled(left, value))
    states = {"encoder_hidden_states": STATES, "encoder_attention_mask": spoiled(MASK[:, 1:], value)}
    with pytest.raises(InputError, match="encoder_attention_mask holds " + re.escape(f"{value:g}")):
        build(BertLMHeadModel, **CROSS).generate(IDS, **states)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", NO_MASKS)
def test_what_is_neither_one_nor_zero_is_no_mask_of_an_encoder(value: float, backend: AttentionBackend) -> None:
    model = build(**CROSS)
    model.attention_backend = backend
    for mask in (MASK[:, 1:], MASK[:, None, 1:].expand(2, 5, 4)):
        with pytest.raises(InputError, match="encoder_attention_mask holds " + re.escape(f"{value:g}")):
            model(IDS, encoder_hidden_states=STATES, encoder_attention_mask=spoiled(mask.clone(), value))


@pytest.mark.parametrize("backend", BACKENDS)
def test_ones_and_zeros_of_any_kind_are_one_mask(backend: AttentionBackend) -> None:
    model = build(**CROSS)
    model.attention_backend = backend
    kinds = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, *FLOATS)
    pairs = (MASK[:, None, :].expand(2, 5, 5).tril(), MASK[:, None, 1:].expand(2, 5, 4))
    for mask, seen in ((MASK, MASK[:, 1:]), pairs):
        with torch.inference_mode():
            alone = model(IDS, mask.bool(), use_cache=False)[0]
            both = model(IDS, mask.bool(), encoder_hidden_states=STATES, encoder_attention_mask=seen.bool())[0]
            assert largest_difference(both, model(IDS, encoder_hidden_states=STATES)[0], None) > 1e-3
            for kind in kinds:
                assert torch.equal(model(IDS, mask.to(kind), use_cache=False)[0], alone)
                states = {"encoder_hidden_states": STATES, "encoder_attention_mask": seen.to(kind)}
                assert torch.equal(model(IDS, mask.to(kind), **states)[0], both)


# Caches


def cached(model: Any, count: int = 3, **arguments: Any) -> Any:
    with torch.inference_mode():
        return model(IDS[:, :count], use_cache=True, **arguments).past_key_values


@pytest.mark.parametrize("model_class", [BertModel, BertLMHeadModel])
def test_caches_and_states_of_an_encoder_that_do_not_belong_together(model_class: type[BertPreTrainedModel]) -> None:
    model = build(model_class, **CROSS)
    with_states, without = cached(model, encoder_hidden_states=STATES), cached(model)
    assert {len(layer) for layer in with_states} == {4}
    assert {len(layer) for layer in without} == {2}
    rest = IDS[:, 3:]
    for past, states in (
        (with_states, None),
        (without, STATES),
        (with_states, STATES[:, :3]),
        (with_states, torch.cat((STATES, STATES), dim=1)),
        ((with_states[0], without[1]), STATES),
        ((with_states[0], without[1]), None),
        ((without[0], with_states[1]), STATES),
        ((without[0], with_states[1]), None),
    ):
        for use_cache in (True, False):
            with pytest.raises(InputError, match=r"past_key_values|encoder_hidden_states"):
                model(rest, past_key_values=past, encoder_hidden_states=states, use_cache=use_cache)
    with torch.inference_mode():
        for past, states in ((with_states, STATES), (without, None)):
            found = model(rest, past_key_values=past, encoder_hidden_states=states)[0]
            expected = model(IDS, encoder_hidden_states=states)[0][:, 3:]
            assert largest_difference(found, expected, None) < 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda key, value: (key, value[:, :, :2]),
        lambda key, value: (key[:, :, :2], value),
        lambda key, value: (key[:1], value[:1]),
        lambda key, value: (key[..., :4], value[..., :4]),
    ],
    ids=["fewer values", "fewer keys", "one text for two", "narrower"],
)
def test_cached_keys_and_values_of_an_encoder_have_its_shape(
    spoil: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], backend: AttentionBackend
) -> None:
    model = build(**CROSS)
    model.attention_backend = backend
    past = tuple((*layer[:2], *spoil(*layer[2:])) for layer in cached(model, encoder_hidden_states=STATES))
    with torch.inference_mode(), pytest.raises(InputError, match="past_key_values"):
        model(IDS[:, 3:], past_key_values=past, encoder_hidden_states=STATES)


@pytest.mark.parametrize("states", [None, STATES])
@pytest.mark.parametrize("settings", [DECODER, {}])
def test_a_cache_with_keys_of_an_encoder_needs_cross_attention(settings: dict[str, Any], states: Tensor | None) -> None:
    past = cached(build(**CROSS), encoder_hidden_states=STATES)
    with pytest.raises(InputError, match="cross-attention"):
        build(**settings)(IDS[:, 3:], past_key_values=past, encoder_hidden_states=states)


# Configs

Operation = Callable[[Any], Any]
OPERATIONS: dict[str, Operation] = {
    "pruning": lambda model: model.prune_heads({0: [1], -1: [0, 2]}),
    "pruning twice": lambda model: (model.prune_heads({0: [1]}), model.prune_heads({1: [0]})),
    "growing": lambda model: model.resize_token_embeddings(60),
    "shrinking": lambda model: model.resize_token_embeddings(40),
    "other words": lambda model: model.set_input_embeddings(nn.Embedding(33, 24, padding_idx=0)),
    "checkpointing": lambda model: model.gradient_checkpointing_enable(),
    "no checkpointing": lambda model: (model.gradient_checkpointing_enable(), model.gradient_checkpointing_disable()),
    "all of them": lambda model: (
        model.gradient_checkpointing_enable(),
        model.prune_heads({0: [1]}),
        model.resize_token_embeddings(60),
        model.prune_heads({1: [0]}),
        model.gradient_checkpointing_disable(),
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("model_class", MODEL_CLASSES.values())
def test_the_callers_config_stays_as_it_was(model_class: type[BertPreTrainedModel], operation: Operation) -> None:
    config = BertConfig(**SMALL, extra={"note": {"of": ["mine"]}}, pruned_heads={1: [2]})
    before = copy.deepcopy(config)
    model, other = seeded(config, model_class), seeded(config, model_class)
    assert config == before
    ids = tokens(model_class)
    with torch.inference_mode():
        expected = other(ids)[0]
        other_config, other_state = copy.deepcopy(other.config), state(other)
        operation(model)
        assert config == before
        assert other.config == other.base_model.config == other_config
        assert same_state(other, other_state)
        assert torch.equal(other(ids)[0], expected)
        later = seeded(config, model_class)
        assert config == before
        assert same_state(later, other_state)
        assert torch.equal(later(ids)[0], expected)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("model_class", MODEL_CLASSES.values())
def test_a_model_and_the_bert_in_it_agree_about_their_config(
    model_class: type[BertPreTrainedModel], operation: Operation
) -> None:
    model: Any = build(model_class, pruned_heads={1: [2]})
    assert model.config == model.base_model.config
    operation(model)
    assert model.config == model.base_model.config
    assert model.config.vocab_size == model.get_input_embeddings().num_embeddings
    assert model.config.pruned_heads == model.base_model.pruned_heads()
    assert model.config.gradient_checkpointing == model.base_model.encoder.gradient_checkpointing


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_they_agree_also_where_the_bert_in_it_was_changed(operation: Operation) -> None:
    model = build(BertForSequenceClassification)
    operation(model.bert)
    assert model.config == model.bert.config
    ids = torch.full((1, 4), model.get_input_embeddings().num_embeddings - 1)
    assert model(ids).logits.shape == (1, 2)


def test_heads_cut_in_the_bert_inside_are_not_forgotten_by_cutting_others() -> None:
    model = build(BertForSequenceClassification)
    model.bert.prune_heads({0: [1]})
    model.prune_heads({1: [0]})
    assert model.bert.config.pruned_heads == model.bert.pruned_heads() == {0: [1], 1: [0]}
    assert model.config == model.bert.config


def test_settings_of_a_sentence_encoder_are_its_own() -> None:
    config = BertConfig(**SMALL, extra={"note": "mine"})
    before = copy.deepcopy(config)
    model = SentenceEncoder(config, pooling="cls", layers=2, normalize=False)
    assert config == before
    assert model.config == model.bert.config
    assert model.config.extra["note"] == "mine"
    own = {"pooling": "cls", "layers": 2, "normalize": False}
    assert own.items() <= model.config.extra["sentence_encoder"].items()
    other = SentenceEncoder(config)
    assert (other.pooling, other.layers, other.normalize) == ("mean", 1, True)
    assert config == before
    for operation in OPERATIONS.values():
        operation(model)
        assert model.config == model.bert.config
        assert model.config.extra["sentence_encoder"]["pooling"] == "cls"
    assert config == before
    told = SentenceEncoder(model.config)
    assert (told.pooling, told.layers, told.normalize) == ("cls", 2, False)


def test_a_loaded_model_leaves_the_config_that_it_was_given(folder: Path) -> None:
    config = BertConfig.from_pretrained(folder)
    before = copy.deepcopy(config)
    model = BertForSequenceClassification.from_pretrained(folder, config=config, num_labels=3, fresh="classifier")
    assert config == before
    assert model.config.num_labels == 3
    model = BertForSequenceClassification.from_pretrained(folder, config=config)
    OPERATIONS["all of them"](model)
    assert config == before


# Names of labels


@pytest.mark.parametrize("make", [lambda **values: BertConfig(**values), lambda **values: BertConfig.from_dict(values)])
def test_ids_by_name_alone_name_the_labels(make: Callable[..., BertConfig]) -> None:
    config = make(label2id={"bad": 0, "so-so": 1, "good": 2})
    assert config.num_labels == 3
    assert config.id2label == {0: "bad", 1: "so-so", 2: "good"}
    assert config.label2id == {"bad": 0, "so-so": 1, "good": 2}
    backwards = make(label2id={"good": 1, "bad": 0})
    assert backwards.id2label == {0: "bad", 1: "good"}
    assert BertForSequenceClassification(BertConfig(**SMALL, label2id={"a": 0, "b": 1, "c": 2})).num_labels == 3


@pytest.mark.parametrize("make", [lambda **values: BertConfig(**values), lambda **values: BertConfig.from_dict(values)])
@pytest.mark.parametrize(
    "label2id", [{"bad": 1, "good": 0}, {"bad": 0, "fine": 1}, {"bad": 0}, {"bad": 0, "good": 1, "best": 2}]
)
def test_ids_by_name_that_contradict_names_by_id_are_refused(
    label2id: dict[str, int], make: Callable[..., BertConfig]
) -> None:
    with pytest.raises(ConfigError, match="label2id"):
        make(id2label={0: "bad", 1: "good"}, label2id=label2id)


@pytest.mark.parametrize("label2id", [{"bad": 0, "good": 0}, {"bad": 1, "good": 2}, {"bad": -1, "good": 0}])
@pytest.mark.parametrize("make", [lambda **values: BertConfig(**values), lambda **values: BertConfig.from_dict(values)])
def test_ids_by_name_that_leave_ids_out_are_refused(label2id: dict[str, int], make: Callable[..., BertConfig]) -> None:
    with pytest.raises(ConfigError, match=r"label2id|id2label"):
        make(label2id=label2id)


def test_both_ways_may_be_given_where_they_agree() -> None:
    names, ids = {"0": "bad", "1": "good"}, {"good": 1, "bad": 0}
    config = BertConfig.from_dict({"id2label": names, "label2id": ids})
    assert config == BertConfig(id2label={0: "bad", 1: "good"}, label2id=ids) == BertConfig(label2id=ids)
    assert BertConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("settings", [{"id2label": {0: "no", 1: "yes"}}, {"label2id": {"no": 0, "yes": 1}}])
def test_a_folder_is_loaded_with_other_names(settings: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    named = BertForSequenceClassification.from_pretrained(folder)
    assert named.config.id2label == {0: "bad", 1: "good"}
    model = BertForSequenceClassification.from_pretrained(folder, **settings)
    assert model.config.id2label == {0: "no", 1: "yes"}
    assert model.config.label2id == {"no": 0, "yes": 1}
    assert torch.equal(model(IDS).logits, named(IDS).logits)
    model.save_pretrained(tmp_path)
    assert BertConfig.from_pretrained(tmp_path).id2label == {0: "no", 1: "yes"}


def test_a_folder_is_loaded_with_more_names(folder: Path) -> None:
    names = {0: "no", 1: "perhaps", 2: "yes"}
    for settings in ({}, {"num_labels": 3}):
        model = BertForSequenceClassification.from_pretrained(folder, id2label=names, fresh="classifier", **settings)
        assert model.classifier.out_features == 3
        assert model.config.label2id == {"no": 0, "perhaps": 1, "yes": 2}


# Heads to cut


class Wrapped(nn.Module):
    """A module around another, as libraries of adapters make them; it has no weight of its own."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *arguments: Any, **more: Any) -> Any:
        return self.inner(*arguments, **more)


def assert_refused_unchanged(model: Any, heads: Any) -> None:
    before, config = state(model), copy.deepcopy(model.config)
    with torch.inference_mode():
        expected = model(IDS, MASK)[0]
        with pytest.raises(ConfigError):
            model.prune_heads(heads)
        assert same_state(model, before)
        assert model.config == model.base_model.config == config
        assert torch.equal(model(IDS, MASK)[0], expected)


@pytest.mark.parametrize("heads", [{1: [0]}, {0: [0], 1: [0]}, {1: [0], 0: [0]}, {-1: [2], 0: [1]}])
@pytest.mark.parametrize("name", ["query", "key", "value", "output"])
@pytest.mark.parametrize("model_class", [BertModel, BertForSequenceClassification])
def test_no_head_is_cut_where_a_linear_is_wrapped(
    model_class: type[BertPreTrainedModel], name: str, heads: dict[int, list[int]]
) -> None:
    model = build(model_class)
    attention = model.base_model.encoder.layer[1].attention
    if name == "output":
        attention.output.dense = Wrapped(attention.output.dense)
    else:
        setattr(attention.self, name, Wrapped(getattr(attention.self, name)))
    assert_refused_unchanged(model, heads)


@pytest.mark.parametrize("heads", [{1: [0]}, {0: [0], 1: [0]}, {1: [0], 0: [0]}])
@pytest.mark.parametrize("model_class", [BertModel, BertForSequenceClassification])
def test_no_head_is_cut_where_a_layer_is_wrapped(
    model_class: type[BertPreTrainedModel], heads: dict[int, list[int]]
) -> None:
    model = build(model_class)
    layers = model.base_model.encoder.layer
    layers[1] = Wrapped(layers[1])
    assert_refused_unchanged(model, heads)


@pytest.mark.parametrize("heads", [{1: 0}, {0: [1], 1: 0}, [0], 0, "0", None, {1: None}, {1: "0"}, {"1": [0]}])
@pytest.mark.parametrize("model_class", [BertModel, BertForSequenceClassification])
def test_heads_to_cut_are_lists_by_layer(model_class: type[BertPreTrainedModel], heads: Any) -> None:
    assert_refused_unchanged(build(model_class), heads)


# Losses

CLASSIFIERS = (BertForSequenceClassification, BertForTokenClassification)
SMOOTHED = (*CLASSIFIERS, BertForMultipleChoice, BertForMaskedLM, BertLMHeadModel)


@pytest.mark.parametrize("model_class", CLASSIFIERS)
@pytest.mark.parametrize("value", [-1.0, -1e-9, float("inf"), float("-inf"), float("nan")])
def test_weights_of_classes_are_finite_and_not_below_0(model_class: type[BertPreTrainedModel], value: float) -> None:
    model = build(model_class)
    labels = torch.tensor([0, 1]) if model_class is BertForSequenceClassification else IDS % 2
    for weights in (torch.tensor([1.0, value]), torch.tensor([value, 0.0], dtype=torch.float64)):
        for given in ({"labels": labels}, {}):
            with pytest.raises(InputError, match="class_weights"):
                model(IDS, class_weights=weights, **given)
    assert bool(model(IDS, labels=labels, class_weights=torch.tensor([0.0, 2.0])).loss.isfinite())


@pytest.mark.parametrize("model_class", SMOOTHED)
@pytest.mark.parametrize("value", ["a", "0.1", None, True, [0.1], float("nan"), -0.1, 1.1])
def test_smoothing_is_a_number(model_class: type[BertPreTrainedModel], value: Any) -> None:
    ids = tokens(model_class)
    with pytest.raises(InputError, match="label_smoothing"):
        build(model_class, is_decoder=model_class is BertLMHeadModel)(ids, label_smoothing=value)


@pytest.mark.parametrize("settings", [{}, {"problem_type": "multi_label_classification"}])
@pytest.mark.parametrize("value", [-0.1, 1.5, 2.0, -100.0, float("nan"), float("inf")])
def test_targets_of_several_labels_are_shares(value: float, settings: dict[str, Any]) -> None:
    model = build(BertForSequenceClassification, **settings)
    with pytest.raises(InputError, match="labels"):
        model(IDS, labels=torch.tensor([[0.0, 1.0], [value, 0.5]]))
    assert bool(model(IDS, labels=torch.tensor([[0.0, 1.0], [0.25, 0.5]])).loss.isfinite())


def test_labels_in_a_column_are_taken() -> None:
    model = build(BertForSequenceClassification)
    labels = torch.tensor([1, 0])
    assert torch.equal(model(IDS, labels=labels[:, None]).loss, model(IDS, labels=labels).loss)
    with pytest.raises(InputError, match=r"outside 0 to 1: 2"):
        model(IDS, labels=torch.tensor([[0], [2]]))
    regression = build(BertForSequenceClassification, num_labels=1)
    floats = torch.tensor([0.5, -2.0])
    assert torch.equal(regression(IDS, labels=floats[:, None]).loss, regression(IDS, labels=floats).loss)


@pytest.mark.parametrize(
    ("labels", "shown"), [(torch.tensor([0, 1]), r"\(2,\)"), (torch.tensor([[0], [1]]), r"\(2, 1\)")]
)
def test_whole_numbers_for_regression_are_refused_with_the_shape_as_given(labels: Tensor, shown: str) -> None:
    with pytest.raises(InputError, match=f"torch.int64 of shape {shown}, expected floats"):
        build(BertForSequenceClassification, num_labels=1)(IDS, labels=labels)


# Calls


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("model_class", MODEL_CLASSES.values())
def test_the_constant_of_older_files_is_passed_over(model_class: type[BertPreTrainedModel], assign: bool) -> None:
    model, fresh = build(model_class), model_class(BertConfig(**SMALL))
    given = state(model)
    prefix = "" if model_class is BertModel else "bert."
    given[f"{prefix}embeddings.position_ids"] = torch.arange(20)[None]
    names = list(given)
    result = fresh.load_state_dict(given, assign=assign)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    assert same_state(fresh, state(model))
    assert list(given) == names  # the caller's dict is left alone
    given["bert.embeddings.places"] = torch.arange(20)
    with pytest.raises(RuntimeError, match="places"):
        fresh.load_state_dict(given)


FLAGS = ["output_attentions", "output_hidden_states", "return_dict"]


@pytest.mark.parametrize("value", ["yes", "no", 1])
@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("model_class", MODEL_CLASSES.values())
def test_flags_are_true_or_false(model_class: type[BertPreTrainedModel], name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is "):
        build(model_class)(tokens(model_class), **{name: value})


@pytest.mark.parametrize("value", ["yes", "no", 1, 0])
def test_flags_of_an_encoder_of_several_layers_are_true_or_false(value: Any) -> None:
    model = SentenceEncoder(BertConfig(**SMALL), layers=2)
    with pytest.raises(InputError, match="output_hidden_states is "):
        model(IDS, output_hidden_states=value)


@pytest.mark.parametrize("value", ["yes", "no", 1, 0])
@pytest.mark.parametrize("model_class", [BertModel, BertLMHeadModel])
def test_whether_to_use_a_cache_is_true_or_false(model_class: type[BertPreTrainedModel], value: Any) -> None:
    with pytest.raises(InputError, match="use_cache is "):
        build(model_class, **DECODER)(IDS, use_cache=value)


@pytest.mark.parametrize("value", ["yes", "no", 1, 0, None])
@pytest.mark.parametrize("model_class", [BertForMaskedLM, BertForPreTraining])
def test_whether_to_read_labelled_places_alone_is_true_or_false(
    model_class: type[BertPreTrainedModel], value: Any
) -> None:
    for given in ({"labels": IDS}, {}):
        with pytest.raises(InputError, match="labelled_only is "):
            build(model_class)(IDS, labelled_only=value, **given)


# Words in, words out


@pytest.mark.parametrize(
    "words", [nn.Linear(24, 50), nn.Embedding(50, 23), nn.Embedding(60, 48), torch.zeros(50, 24), None]
)
@pytest.mark.parametrize("model_class", [BertModel, BertForSequenceClassification, BertForMaskedLM])
def test_other_words_have_the_models_width(model_class: type[BertPreTrainedModel], words: Any) -> None:
    model = build(model_class)
    before, config, table = state(model), copy.deepcopy(model.config), model.get_input_embeddings()
    with torch.inference_mode():
        expected = model(IDS, MASK)[0]
        with pytest.raises(ConfigError, match="width 24"):
            model.set_input_embeddings(words)
        assert model.get_input_embeddings() is table
        assert same_state(model, before)
        assert model.config == model.base_model.config == config
        assert torch.equal(model(IDS, MASK)[0], expected)


def test_other_words_without_the_padding_token_are_refused_and_nothing_is_changed() -> None:
    model = build(BertForSequenceClassification, pad_token_id=5)
    before, table = state(model), model.get_input_embeddings()
    with pytest.raises(ConfigError, match="pad_token_id"):
        model.set_input_embeddings(nn.Embedding(5, 24))
    assert model.get_input_embeddings() is table
    assert same_state(model, before)
    assert model.config.vocab_size == model.bert.config.vocab_size == 50


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("model_class", [BertForMaskedLM, BertForPreTraining, BertLMHeadModel])
def test_a_model_whose_projection_was_replaced_is_saved_and_loaded(
    model_class: type[BertPreTrainedModel], safe: bool, tmp_path: Path
) -> None:
    model = build(model_class, is_decoder=model_class is BertLMHeadModel)
    torch.manual_seed(3)
    with pytest.raises(ConfigError, match="with a bias"):
        model.set_output_embeddings(nn.Linear(24, 50, bias=False))
    model.set_output_embeddings(nn.Linear(24, 50))
    model.save_pretrained(tmp_path, safe_serialization=safe)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"] is False
    loaded = model_class.from_pretrained(tmp_path)
    assert same_state(loaded, state(model))
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK)[0], model(IDS, MASK)[0])
    output = loaded.get_output_embeddings()
    assert output is not None
    assert output.weight is not loaded.get_input_embeddings().weight


def test_a_model_whose_projection_is_shared_is_saved_so(tmp_path: Path) -> None:
    build(BertForMaskedLM).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"] is True


# Models without a part


@pytest.mark.parametrize("positions", ["absolute", "relative_key"])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("way", [{}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}])
def test_a_decoder_without_layers_writes_the_same_with_and_without_a_cache(
    way: dict[str, Any], cross: bool, positions: str
) -> None:
    settings = CROSS if cross else DECODER
    model = build(BertLMHeadModel, num_hidden_layers=0, position_embedding_type=positions, **settings)
    given = {"encoder_hidden_states": STATES} if cross else {}
    for mask in (None, MASK.flip(1)):
        written = []
        for use_cache in (True, False):
            torch.manual_seed(0)
            written.append(model.generate(IDS, mask, max_new_tokens=6, use_cache=use_cache, **given, **way))
        assert torch.equal(written[0], written[1])
        assert written[0].shape[1] == 11


@pytest.mark.parametrize(
    "model_class",
    [BertForSequenceClassification, BertForMultipleChoice, BertForNextSentencePrediction, BertForPreTraining],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_head_that_reads_a_pooler_says_that_there_is_none(
    backend: AttentionBackend, model_class: type[BertPreTrainedModel]
) -> None:
    model = build(model_class)
    model.bert = BertModel(model.config, add_pooling_layer=False)
    model.attention_backend = backend
    with pytest.raises(ConfigError, match="pooler"):
        model(tokens(model_class))


# Fresh weights of one's own


class Filled(BertPreTrainedModel):
    """A model that says what fresh weights are."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.gate = nn.Bilinear(4, 4, 3)
        self.head = nn.Linear(config.hidden_size, 3)
        self.init_weights()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Bilinear):
            nn.init.constant_(module.weight, 0.25)
        else:
            super()._init_weights(module)


class FilledClassifier(BertForSequenceClassification):
    """One of ours with fresh weights of one's own."""

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Bilinear):
            nn.init.constant_(module.weight, 0.25)
        else:
            super()._init_weights(module)


@pytest.mark.parametrize("model_class", [Filled, FilledClassifier])
def test_a_subclass_says_what_fresh_weights_are(model_class: type[BertPreTrainedModel]) -> None:
    torch.manual_seed(0)
    model = model_class(BertConfig(**SMALL))
    for again in (False, True):
        if again:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.fill_(7.0)
            model.init_weights()
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Bilinear):
                assert bool((module.weight == 0.25).all()), name
            elif isinstance(module, nn.LayerNorm):
                assert bool((module.weight == 1.0).all()), name
        words = model.get_input_embeddings().weight.detach()
        assert 0.015 < float(words.std()) < 0.025
        assert not words[0].any()


def test_new_parts_of_a_loaded_model_have_the_subclasss_fresh_weights(folder: Path) -> None:
    model: Any = FilledClassifier.from_pretrained(folder, num_labels=4, fresh="classifier")
    assert bool((model.classifier.weight == 0.25).all())
    assert not bool((model.bert.pooler.dense.weight == 0.25).all())
    other: Any = Filled.from_pretrained(folder, fresh=["^gate", "^head"], ignore="classifier")
    assert bool((other.gate.weight == 0.25).all())
    assert bool((other.head.weight == 0.25).all())
    assert not bool((other.bert.pooler.dense.weight == 0.25).all())
