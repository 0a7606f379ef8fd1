"""Changing a model that is there: heads cut out, words added, weights shared, activations of one's own."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertLMHeadModel,
    BertModel,
    BertPreTrainedModel,
    CheckpointError,
    ConfigError,
    InputError,
)
from glassbert.model import AttentionBackend, BertLayer
from tests.model.oracle import BACKENDS, largest_difference, seeded

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IDS = torch.randint(1, 40, (3, 7), generator=torch.Generator().manual_seed(5))
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 1, 0]])
POSITIONS = ("absolute", "relative_key", "relative_key_query")
WORDS = (BertForPreTraining, BertForMaskedLM, BertLMHeadModel)
INPUT, OUTPUT, BIAS = (
    "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
)


def build(model_class: type[BertPreTrainedModel] = BertModel, **settings: Any) -> BertPreTrainedModel:
    decoder = {"is_decoder": True} if model_class is BertLMHeadModel else {}
    return seeded(BertConfig(**{**SMALL, **decoder, **settings}), model_class)


def layers(model: BertPreTrainedModel) -> list[BertLayer]:
    return [module for module in model.modules() if isinstance(module, BertLayer)]


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_state(model: nn.Module, before: dict[str, Tensor]) -> None:
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def output(model: BertPreTrainedModel) -> nn.Linear:
    found = model.get_output_embeddings()
    assert found is not None
    return found


def words(model: BertPreTrainedModel, ids: Tensor = IDS) -> Tensor:
    result = model(ids, MASK)
    scores: Tensor = result.prediction_logits if isinstance(model, BertForPreTraining) else result.logits
    return scores


# Heads

CUTS: list[dict[int, list[int]]] = [{0: [1]}, {1: [0, 2]}, {0: [0, 1], 1: [2]}]


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pruned_head_is_one_whose_factor_is_zero(
    backend: AttentionBackend, positions: str, cut: dict[int, list[int]]
) -> None:
    model = build(position_embedding_type=positions)
    model.attention_backend = backend
    factors = torch.ones(2, 3)
    for layer, heads in cut.items():
        factors[layer, heads] = 0.0
    with torch.inference_mode():
        whole = model(IDS, MASK)
        expected = model(IDS, MASK, head_mask=factors)
        assert largest_difference(whole[0], expected[0], MASK) > 1e-3
        model.prune_heads(cut)
        found = model(IDS, MASK)
        assert largest_difference(found[0], expected[0], MASK) < 1e-5
        assert largest_difference(found[1], expected[1], None) < 1e-5


def test_shapes_after_pruning() -> None:
    model = build(BertForSequenceClassification)
    count = model.num_parameters()
    model.prune_heads({0: [1], 1: [0, 2]})
    for layer, left in zip(layers(model), (2, 1), strict=True):
        attention = layer.attention
        for part in (attention.self.query, attention.self.key, attention.self.value):
            assert tuple(part.weight.shape) == (8 * left, 24)
            assert tuple(part.bias.shape) == (8 * left,)
            assert (part.in_features, part.out_features) == (24, 8 * left)
        assert tuple(attention.output.dense.weight.shape) == (24, 8 * left)
        assert tuple(attention.output.dense.bias.shape) == (24,)
        assert (attention.self.num_attention_heads, attention.self.attention_head_size) == (left, 8)
        assert attention.self.all_head_size == 8 * left
    # A head is 3·(8·24 + 8) and 24·8 numbers.
    assert model.num_parameters() == count - 3 * (3 * (8 * 24 + 8) + 24 * 8)
    assert model.config.num_attention_heads == 3
    assert model.config.pruned_heads == {0: [1], 1: [0, 2]}
    with torch.inference_mode():
        weights = model(IDS, MASK, output_attentions=True).attentions
    assert [tuple(one.shape) for one in weights] == [(3, 2, 7, 7), (3, 1, 7, 7)]


def test_heads_keep_their_numbers_however_many_are_gone() -> None:
    at_once, in_steps = build(), build()
    at_once.prune_heads({0: [0, 2], 1: [1]})
    in_steps.prune_heads({0: [0]})
    in_steps.prune_heads({0: [2, 0], 1: [1]})
    in_steps.prune_heads({0: [0], 1: []})
    assert_same_state(in_steps, state(at_once))
    assert in_steps.config.pruned_heads == at_once.config.pruned_heads == {0: [0, 2], 1: [1]}
    assert [layer.attention.pruned_heads for layer in layers(in_steps)] == [{0, 2}, {1}]


def test_a_negative_layer_counts_from_the_last() -> None:
    one, other = build(), build()
    one.prune_heads({-1: [0], 1: [2], -2: [1]})
    other.prune_heads({0: [1], 1: [0, 2]})
    assert_same_state(one, state(other))
    assert one.config.pruned_heads == {0: [1], 1: [0, 2]}


def test_factors_of_heads_count_all_that_there_ever_were() -> None:
    model = build()
    model.prune_heads({0: [0]})
    with torch.inference_mode():
        plain = model(IDS, MASK)[1]
        gone = model(IDS, MASK, head_mask=torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]))[1]
        there = model(IDS, MASK, head_mask=torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))[1]
        with pytest.raises(InputError, match="head_mask"):
            model(IDS, MASK, head_mask=torch.ones(2, 2))
        model.prune_heads({0: [1]})
        assert largest_difference(gone, plain, None) < 1e-5
        assert largest_difference(there, plain, None) > 1e-3
        assert largest_difference(model(IDS, MASK)[1], there, None) < 1e-5


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ({0: [0], 2: [1]}, "layer 2 to prune, expected -2 to 1"),
        ({0: [0], -3: [1]}, "layer -3"),
        ({0: [0], "1": [1]}, "layer '1'"),
        ({0: [0], True: [1]}, "layer True"),
        ({0: [0], 1: [3]}, "expected 0 to 2"),
        ({0: [0], 1: [-1]}, "expected 0 to 2"),
        ({0: [0], 1: [1.0]}, "expected 0 to 2"),
        ({0: [0], 1: [0, 1, 2]}, "every head of layer 1"),
        ({0: [0], 1: [0, 1], -1: [2]}, "every head of layer 1"),
    ],
    ids=str,
)
def test_heads_that_cannot_be_cut_are_named_and_nothing_is_cut(cut: dict[int, list[int]], message: str) -> None:
    model = build()
    before = state(model)
    with pytest.raises(ConfigError, match=message):
        model.prune_heads(cut)
    assert_same_state(model, before)
    assert model.config.pruned_heads == {}


def test_the_last_head_of_a_layer_stays_also_after_others_went() -> None:
    model = build()
    model.prune_heads({1: [0, 1]})
    before = state(model)
    with pytest.raises(ConfigError, match="every head of layer 1"):
        model.prune_heads({0: [0], 1: [2]})
    with pytest.raises(ConfigError, match="at least one"):
        layers(model)[1].attention.prune_heads([2])
    with pytest.raises(ConfigError, match="expected numbers from 0 to 2"):
        layers(model)[1].attention.prune_heads([3])
    assert_same_state(model, before)
    assert model.config.pruned_heads == {1: [0, 1]}


def test_a_pruned_model_trains_and_frozen_weights_stay_frozen() -> None:
    model = build(BertForSequenceClassification).train()
    for parameter in layers(model)[0].parameters():
        parameter.requires_grad_(False)
    model.prune_heads({0: [0], 1: [2]})
    assert all(module.training for module in model.modules())
    model(IDS, MASK, labels=torch.tensor([0, 1, 1])).loss.backward()
    assert all(parameter.grad is None for parameter in layers(model)[0].parameters())
    for parameter in layers(model)[1].parameters():
        assert parameter.grad is not None
        assert parameter.grad.any() or parameter is layers(model)[1].attention.self.key.bias  # softmax cancels it


@pytest.mark.parametrize("model_class", [BertModel, BertForSequenceClassification, BertForMaskedLM])
@pytest.mark.parametrize("positions", POSITIONS)
def test_a_pruned_model_is_saved_and_loaded(
    model_class: type[BertPreTrainedModel], positions: str, tmp_path: Path
) -> None:
    model = build(model_class, position_embedding_type=positions)
    model.prune_heads({0: [1], -1: [0, 2]})
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert_same_state(loaded, state(model))
    assert loaded.config.pruned_heads == {0: [1], 1: [0, 2]}
    assert [layer.attention.pruned_heads for layer in layers(loaded)] == [{1}, {0, 2}]
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK)[0], model(IDS, MASK)[0])
    # And cut further, counting as before.
    for one in (model, loaded):
        one.prune_heads({0: [2]})
    assert_same_state(loaded, state(model))


@pytest.mark.parametrize("direct", ["_prune_heads", "attention"])
def test_heads_cut_by_the_documents_other_ways_are_remembered_in_the_folder(direct: str, tmp_path: Path) -> None:
    model = build()
    if direct == "_prune_heads":
        model._prune_heads({0: [1]})
    else:
        layers(model)[0].attention.prune_heads([1])
    model.save_pretrained(tmp_path)
    loaded = BertModel.from_pretrained(tmp_path)
    assert loaded.config.pruned_heads == {0: [1]}
    assert_same_state(loaded, state(model))


def test_a_config_with_pruned_heads_builds_the_smaller_model() -> None:
    model = build(BertForSequenceClassification, pruned_heads={1: [0, 2]})
    assert [layer.attention.self.num_attention_heads for layer in layers(model)] == [3, 1]
    whole = build(BertForSequenceClassification)
    whole.prune_heads({1: [0, 2]})
    model.load_state_dict(whole.state_dict())
    with torch.inference_mode():
        assert torch.equal(model(IDS, MASK)[0], whole(IDS, MASK)[0])
    model.init_weights()
    assert [layer.attention.self.num_attention_heads for layer in layers(model)] == [3, 1]


def test_a_pruned_decoder_with_cross_attention_steps_as_it_reads() -> None:
    model = build(is_decoder=True, add_cross_attention=True)
    states = torch.randn(3, 4, 24, generator=torch.Generator().manual_seed(1))
    crossing = [layer.crossattention for layer in layers(model)]
    model.prune_heads({0: [1], 1: [0, 2]})
    for attention in crossing:
        assert attention is not None
        assert attention.self.num_attention_heads == 3
    with torch.inference_mode():
        whole = model(IDS, encoder_hidden_states=states)
        first = model(IDS[:, :4], encoder_hidden_states=states, use_cache=True)
        rest = model(IDS[:, 4:], encoder_hidden_states=states, past_key_values=first.past_key_values)
    assert [tuple(part.shape) for part in first.past_key_values[1]] == [(3, 1, 4, 8)] * 2 + [(3, 3, 4, 8)] * 2
    assert largest_difference(torch.cat((first[0], rest[0]), dim=1), whole[0], None) < 1e-5


# Words


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", [57, 45])
@pytest.mark.parametrize("model_class", [BertModel, BertForSequenceClassification, *WORDS])
def test_a_vocabulary_grows_and_shrinks_at_its_end(
    model_class: type[BertPreTrainedModel], size: int, tied: bool, tmp_path: Path
) -> None:
    model = build(model_class, tie_word_embeddings=tied)
    before, kept = state(model), min(size, 50)
    old_words = model.get_input_embeddings().weight.detach().clone()
    found = model.resize_token_embeddings(size)
    assert found is model.get_input_embeddings()
    assert (found.num_embeddings, found.embedding_dim, found.padding_idx) == (size, 24, 0)
    assert tuple(found.weight.shape) == (size, 24)
    assert torch.equal(found.weight[:kept], old_words[:kept])
    assert found.weight[kept:].any() or size < 50
    assert model.config.vocab_size == model.base_model.config.vocab_size == size
    if model_class in WORDS:
        projection = output(model)
        assert (projection.in_features, projection.out_features) == (24, size)
        assert (projection.weight is found.weight) is tied
        assert torch.equal(projection.weight[:kept], before[OUTPUT][:kept])
        assert torch.equal(projection.bias[:kept], before[BIAS][:kept])
        assert not projection.bias[kept:].any()
        assert isinstance(model, WORDS)
        assert model.cls.predictions.bias is projection.bias
    else:
        assert model.get_output_embeddings() is None
    resized = {name for name, tensor in model.state_dict().items() if tensor.shape != before[name].shape}
    assert all(name.endswith(("word_embeddings.weight", OUTPUT, BIAS, "cls.predictions.bias")) for name in resized)
    with torch.inference_mode():
        expected = model(IDS, MASK)[0]
        old = build(model_class, tie_word_embeddings=tied)(IDS, MASK)[0]
        if model_class in WORDS:
            expected, old = expected[..., :kept], old[..., :kept]
            assert tuple(words(model).shape) == (3, 7, size)
        assert largest_difference(expected, old, MASK) < 1e-5  # old words mean what they meant
        model(torch.full_like(IDS, size - 1))
        with pytest.raises(InputError, match=f"input_ids holds {size}, expected 0 to {size - 1}"):
            model(torch.full_like(IDS, size))
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert loaded.config.vocab_size == size
    assert_same_state(loaded, state(model))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_class", WORDS)
def test_new_words_are_read_predicted_and_learned(model_class: type[BertPreTrainedModel], tied: bool) -> None:
    model = build(model_class, tie_word_embeddings=tied).train()
    assert isinstance(model, WORDS)
    model.resize_token_embeddings(60)
    assert model.get_input_embeddings().training
    ids = IDS.clone()
    ids[0, 1] = 55
    labels = torch.full_like(ids, -100)
    labels[0, 2], labels[1, 1] = 58, 3
    result = model(ids, MASK, labels=labels)
    result.loss.backward()
    read, said = model.get_input_embeddings().weight.grad, output(model).weight.grad
    bias = output(model).bias.grad
    assert read is not None
    assert said is not None
    assert bias is not None
    assert read[55].any()
    assert said[58].any()
    assert bias[58].any()
    assert bias is model.cls.predictions.bias.grad
    assert (read is said) is tied
    with pytest.raises(InputError, match="labels holds ids outside 0 to 59: 60"):
        model(ids, labels=labels.masked_fill(labels == 58, 60))


def test_new_rows_are_fresh_and_the_padding_row_is_kept() -> None:
    model = build(BertForMaskedLM, pad_token_id=7, initializer_range=0.05, tie_word_embeddings=False)
    before = state(model)
    torch.manual_seed(3)
    model.resize_token_embeddings(2050)
    table, projection = model.get_input_embeddings(), output(model)
    assert table.padding_idx == 7
    assert torch.equal(table.weight[7], before[INPUT][7])
    for weight in (table.weight, projection.weight):
        assert 0.045 < float(weight[50:].detach().std()) < 0.055
        assert abs(float(weight[50:].detach().mean())) < 0.005
    assert not torch.equal(table.weight[50:], projection.weight[50:])
    model(torch.full_like(IDS, 7)).logits.sum().backward()
    assert table.weight.grad is not None
    assert not table.weight.grad[7].any()


def test_asking_for_no_size_or_the_same_changes_nothing() -> None:
    model = build(BertForMaskedLM)
    table, before = model.get_input_embeddings(), state(model)
    assert model.resize_token_embeddings() is table
    assert model.resize_token_embeddings(None) is table
    assert model.resize_token_embeddings(50) is table
    assert_same_state(model, before)


@pytest.mark.parametrize("size", [0, -1, 7, 60.0, "60", True])
def test_a_size_that_no_vocabulary_has_is_refused_and_nothing_is_changed(size: Any) -> None:
    model = build(BertForMaskedLM, pad_token_id=7)
    before = state(model)
    with pytest.raises(ConfigError, match=r"new_num_tokens is .* above pad_token_id 7"):
        model.resize_token_embeddings(size)
    assert_same_state(model, before)
    assert model.config.vocab_size == 50


def test_resized_weights_keep_their_floats_and_stay_frozen() -> None:
    model = build(BertForMaskedLM).to(torch.float64)
    model.get_input_embeddings().weight.requires_grad_(False)
    model.resize_token_embeddings(60)
    assert model.dtype == output(model).weight.dtype == output(model).bias.dtype == torch.float64
    assert not model.get_input_embeddings().weight.requires_grad
    assert output(model).bias.requires_grad
    assert all(parameter.dtype == torch.float64 for parameter in model.parameters())


def test_growing_and_shrinking_back_gives_the_same_model() -> None:
    model = build(BertForPreTraining)
    before = state(model)
    model.resize_token_embeddings(70)
    model.resize_token_embeddings(50)
    assert_same_state(model, before)
    assert output(model).weight is model.get_input_embeddings().weight


def test_word_embeddings_are_replaced() -> None:
    for model_class in (BertModel, BertForSequenceClassification, BertForMaskedLM):
        model = build(model_class)
        table = nn.Embedding(50, 24, padding_idx=0)
        with torch.inference_mode():
            before = model(IDS, MASK)[0]
            model.set_input_embeddings(table)
            assert model.get_input_embeddings() is table
            found = model(IDS, MASK)[0]
            assert largest_difference(found, before, MASK) > 1e-3
            embedded = model(inputs_embeds=table(IDS), attention_mask=MASK)[0]
            assert largest_difference(found, embedded, MASK) == 0.0
        model.tie_weights()
        if model_class is BertForMaskedLM:
            assert output(model).weight is table.weight


def test_the_projection_is_replaced_with_its_bias() -> None:
    model = build(BertForMaskedLM, tie_word_embeddings=False)
    assert isinstance(model, BertForMaskedLM)
    projection = nn.Linear(24, 50)
    model.set_output_embeddings(projection)
    assert model.get_output_embeddings() is projection
    assert model.cls.predictions.bias is projection.bias
    with torch.inference_mode():
        states = model.cls.predictions.transform(model.bert(IDS, MASK)[0])
        assert largest_difference(model(IDS, MASK).logits, projection(states), MASK) < 1e-5
    with pytest.raises(ConfigError, match="BertModel predicts no words"):
        build().set_output_embeddings(projection)


# Shared weights


def reloaded(model: BertPreTrainedModel, **settings: Any) -> BertPreTrainedModel:
    other = build(type(model), tie_word_embeddings=model.config.tie_word_embeddings)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict(), **settings)
    return other


def pickled(model: BertPreTrainedModel) -> BertPreTrainedModel:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    assert isinstance(loaded, BertPreTrainedModel)
    return loaded


def given_memory(model: BertPreTrainedModel) -> BertPreTrainedModel:
    with torch.device("meta"):
        other = type(model)(model.config)
    other.to_empty(device="cpu")
    other.load_state_dict(model.state_dict())
    return other.eval()


def trained(model: BertPreTrainedModel) -> BertPreTrainedModel:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(IDS, MASK, labels=IDS).loss.backward()
    optimizer.step()
    return model


def fresh(model: BertPreTrainedModel) -> BertPreTrainedModel:
    model.init_weights()
    return model


WAYS: dict[str, Callable[[BertPreTrainedModel], BertPreTrainedModel]] = {
    "as built": lambda model: model,
    "float64": lambda model: model.to(torch.float64),
    "bfloat16": lambda model: model.bfloat16(),
    "the same device": lambda model: model.to("cpu"),
    "deepcopy": copy.deepcopy,
    "pickle": pickled,
    "load_state_dict": reloaded,
    "load_state_dict that assigns": lambda model: reloaded(model, assign=True),
    "built on meta, then given memory": given_memory,
    "a step of training": trained,
    "fresh weights": fresh,
    "eval and train": lambda model: model.train().eval(),
    "frozen": lambda model: model.requires_grad_(False),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model_class", WORDS)
def test_the_projection_shares_the_words_weight_whatever_is_done(
    model_class: type[BertPreTrainedModel], way: str
) -> None:
    model = WAYS[way](build(model_class))
    assert isinstance(model, WORDS)
    assert output(model).weight is model.get_input_embeddings().weight
    assert output(model).bias is model.cls.predictions.bias
    names = [name for name, _ in model.named_parameters()]
    assert INPUT in names
    assert OUTPUT not in names
    assert model.num_parameters() == sum(
        tensor.numel() for name, tensor in model.state_dict().items() if name not in (OUTPUT, BIAS)
    )


@pytest.mark.parametrize("way", WAYS)
def test_with_tying_off_the_two_stay_apart_whatever_is_done(way: str) -> None:
    model = WAYS[way](build(BertForMaskedLM, tie_word_embeddings=False))
    assert isinstance(model, BertForMaskedLM)
    assert output(model).weight is not model.get_input_embeddings().weight
    assert not torch.equal(output(model).weight, model.get_input_embeddings().weight)
    assert output(model).bias is model.cls.predictions.bias
    assert OUTPUT in dict(model.named_parameters())


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "load_state_dict", "built on meta, then given memory"])
def test_a_copy_computes_the_same(way: str) -> None:
    model = build(BertForPreTraining)
    with torch.inference_mode():
        assert torch.equal(words(WAYS[way](model)), words(model))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_class", WORDS)
def test_saving_and_loading_keeps_what_is_shared_and_what_is_not(
    model_class: type[BertPreTrainedModel], tied: bool, tmp_path: Path
) -> None:
    model = build(model_class, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    biases = [name for name in tensors if name in (BIAS, "cls.predictions.bias")]
    assert len(biases) == 1
    assert INPUT in tensors
    assert (OUTPUT in tensors) is not tied
    assert sum(tensor.numel() for tensor in tensors.values()) == model.num_parameters()
    loaded = model_class.from_pretrained(tmp_path)
    assert isinstance(loaded, WORDS)
    assert (output(loaded).weight is loaded.get_input_embeddings().weight) is tied
    assert output(loaded).bias is loaded.cls.predictions.bias
    assert loaded.loading_info.fresh == ()
    assert_same_state(loaded, state(model))


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "model.safetensors")


def test_a_file_with_equal_copies_or_with_either_name_alone_is_loaded(tmp_path: Path) -> None:
    model = build(BertForMaskedLM)
    model.save_pretrained(tmp_path)
    names = ("cls.predictions.bias", BIAS)
    changes: Sequence[Callable[[dict[str, Tensor]], object]] = (
        lambda tensors: tensors.update({OUTPUT: tensors[INPUT]}),
        lambda tensors: tensors.update(dict.fromkeys(names, model.state_dict()[BIAS])),
        lambda tensors: tensors.pop(INPUT),
        lambda tensors: tensors.pop(names[0]),
        lambda tensors: (tensors.pop(BIAS), tensors.update({names[0]: model.state_dict()[BIAS]})),
    )
    for change in changes:
        rewrite(tmp_path, change)
        loaded = BertForMaskedLM.from_pretrained(tmp_path)
        assert output(loaded).weight is loaded.get_input_embeddings().weight
        assert_same_state(loaded, state(model))


@pytest.mark.parametrize(("one", "other"), [(INPUT, OUTPUT), ("cls.predictions.bias", BIAS)])
def test_a_file_whose_copies_differ_is_refused_with_both_names(one: str, other: str, tmp_path: Path) -> None:
    build(BertForMaskedLM).save_pretrained(tmp_path)

    def part(tensors: dict[str, Tensor]) -> None:
        there = tensors[one] if one in tensors else tensors[other]
        tensors.update({one: there, other: there + 1e-6})

    rewrite(tmp_path, part)
    with pytest.raises(CheckpointError) as caught:
        BertForMaskedLM.from_pretrained(tmp_path)
    assert one in str(caught.value)
    assert other in str(caught.value)


def test_where_the_config_ties_nothing_a_file_needs_both(tmp_path: Path) -> None:
    build(BertForMaskedLM, tie_word_embeddings=False).save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.pop(OUTPUT))
    with pytest.raises(CheckpointError, match=r"cls\.predictions\.decoder\.weight of BertForMaskedLM is missing"):
        BertForMaskedLM.from_pretrained(tmp_path)


def test_fresh_heads_leave_the_words_as_they_were(tmp_path: Path) -> None:
    body = build()
    body.save_pretrained(tmp_path)
    torch.manual_seed(0)
    loaded = BertForMaskedLM.from_pretrained(tmp_path, fresh=[r"^cls\."])
    assert output(loaded).weight is loaded.get_input_embeddings().weight
    assert torch.equal(loaded.get_input_embeddings().weight, body.get_input_embeddings().weight)
    assert not output(loaded).bias.any()
    with torch.inference_mode():
        found = loaded.base_model(IDS, MASK)[0]
        assert largest_difference(found, body(IDS, MASK)[0], MASK) < 1e-5


@pytest.mark.parametrize("model_class", WORDS)
def test_the_gradient_of_a_shared_weight_is_the_sum_of_both_uses(model_class: type[BertPreTrainedModel]) -> None:
    tied, apart = build(model_class), build(model_class, tie_word_embeddings=False)
    apart.load_state_dict(tied.state_dict())
    for model in (tied, apart):
        model(IDS, MASK, labels=IDS).loss.backward()
    read, said = apart.get_input_embeddings().weight.grad, output(apart).weight.grad
    both = tied.get_input_embeddings().weight.grad
    assert read is not None
    assert said is not None
    assert both is not None
    assert read.any()
    assert said.any()
    assert largest_difference(both, read + said, None) < 1e-5


# Training


def held(model: BertPreTrainedModel) -> int:
    """How many numbers a forward call keeps for the backward pass."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(IDS, MASK, labels=torch.tensor([0, 1, 1])).loss
    assert loss.requires_grad
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    return sum(tensor.numel() for place, tensor in kept.items() if place not in parameters)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_checkpointing_is_switched_on_and_off(backend: AttentionBackend) -> None:
    model = build(BertForSequenceClassification).train()
    model.attention_backend = backend
    gradients, sizes = [], []
    for switch in (None, model.gradient_checkpointing_enable, model.gradient_checkpointing_disable):
        if switch is not None:
            switch()
        sizes.append(held(model))
        model.zero_grad()
        model(IDS, MASK, labels=torch.tensor([0, 1, 1])).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert sizes[1] < sizes[0] / 2
    assert sizes[2] == sizes[0]
    for plain, saving, again in zip(*gradients, strict=True):
        assert plain is not None
        assert saving is not None
        assert again is not None
        assert torch.equal(plain, saving)
        assert torch.equal(plain, again)


def test_gradient_checkpointing_is_known_to_the_config() -> None:
    model = build(BertForSequenceClassification)
    assert isinstance(model, BertForSequenceClassification)
    model.gradient_checkpointing_enable()
    assert model.config.gradient_checkpointing
    assert model.bert.encoder.gradient_checkpointing
    model.gradient_checkpointing_disable()
    assert not model.config.gradient_checkpointing
    assert not model.bert.encoder.gradient_checkpointing


# Properties


def test_where_a_model_is_and_what_floats_it_has() -> None:
    model = build(BertForMaskedLM)
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    for dtype in (torch.float64, torch.bfloat16):
        assert model.to(dtype).dtype == dtype
        with torch.inference_mode():
            result = model(IDS, MASK, output_attentions=True)
        assert result.logits.dtype == result.attentions[0].dtype == dtype
        assert model.get_extended_attention_mask(MASK, IDS.shape).dtype == dtype
    with torch.device("meta"):
        assert BertModel(BertConfig(**SMALL)).device == torch.device("meta")


def test_numbers_are_counted_once_and_frozen_ones_on_demand() -> None:
    tied, apart = build(BertForMaskedLM), build(BertForMaskedLM, tie_word_embeddings=False)
    assert apart.num_parameters() - tied.num_parameters() == 50 * 24
    total = tied.num_parameters()
    assert total == tied.num_parameters(only_trainable=True)
    tied.get_input_embeddings().weight.requires_grad_(False)
    assert tied.num_parameters(only_trainable=True) == total - 50 * 24
    assert tied.num_parameters() == total


@pytest.mark.parametrize("deviation", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("model_class", [BertModel, BertForSequenceClassification, *WORDS])
def test_init_weights_gives_every_weight_a_fresh_value(
    model_class: type[BertPreTrainedModel], deviation: float
) -> None:
    model = build(model_class, initializer_range=deviation, pad_token_id=7, vocab_size=400, hidden_size=48)
    old = state(model)
    torch.manual_seed(1)
    model.init_weights()
    for name, parameter in model.named_parameters():
        values = parameter.detach()
        if "LayerNorm.weight" in name:
            assert (values == 1).all(), name
        elif name.endswith("bias"):
            assert not values.any(), name
        else:
            assert not torch.equal(values, old[name])
            assert deviation * 0.7 <= float(values.std()) <= deviation * 1.3, name
    assert not model.get_input_embeddings().weight[7].any()


# Activations


def doubled(values: Tensor) -> Tensor:
    return 2.0 * values.tanh()


class Doubled(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return doubled(values)


@pytest.mark.parametrize("model_class", [BertModel, BertForMaskedLM])
def test_an_activation_may_be_a_function_or_a_module(model_class: type[BertPreTrainedModel]) -> None:
    named, function = build(model_class), build(model_class, hidden_act=F.gelu)
    own, module = build(model_class, hidden_act=doubled), build(model_class, hidden_act=Doubled())
    assert named.state_dict().keys() == function.state_dict().keys() == module.state_dict().keys()
    with torch.inference_mode():
        assert torch.equal(named(IDS, MASK)[0], function(IDS, MASK)[0])
        assert torch.equal(own(IDS, MASK)[0], module(IDS, MASK)[0])
        assert largest_difference(own(IDS, MASK)[0], named(IDS, MASK)[0], MASK) > 1e-3
    if isinstance(own, BertForMaskedLM):
        assert own.cls.predictions.transform.transform_act_fn is doubled
    assert layers(own)[0].intermediate.intermediate_act_fn is doubled


def test_an_activation_with_weights_of_its_own_is_trained() -> None:
    act = nn.PReLU(init=0.5)
    model = build(BertForSequenceClassification, hidden_act=act).train()
    model(IDS, MASK, labels=torch.tensor([0, 1, 1])).loss.backward()
    assert act.weight.grad is not None
    assert act.weight.grad.any()
    assert sum(parameter is act.weight for parameter in model.parameters()) == 1


def test_a_model_whose_activation_no_file_can_hold_writes_nothing(tmp_path: Path) -> None:
    model = build(hidden_act=doubled)
    with pytest.raises(ConfigError, match="hidden_act is the function"):
        model.save_pretrained(tmp_path / "new")
    assert not list(tmp_path.glob("new/*"))


def test_such_a_model_does_not_damage_a_folder_that_is_there(tmp_path: Path) -> None:
    build().save_pretrained(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    other = build(hidden_act=doubled, vocab_size=60)
    with pytest.raises(ConfigError, match="hidden_act is the function"):
        other.save_pretrained(tmp_path, overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_activation_of_ones_own_is_given_again_when_loading(tmp_path: Path) -> None:
    model = build(hidden_act=doubled)
    with torch.inference_mode():
        expected = model(IDS, MASK)[0]
    model.config.hidden_act = "gelu"
    model.save_pretrained(tmp_path)
    config = BertConfig.from_pretrained(tmp_path)
    config.hidden_act = doubled
    loaded = BertModel.from_pretrained(tmp_path, config=config)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK)[0], expected)
