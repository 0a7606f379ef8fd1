"""Traced, exported and compiled, a padded model computes what it computed, at other shapes too."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree

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
    InputError,
    SentenceEncoder,
)
from glassbert.model import AttentionBackend
from tests.model.oracle import seeded

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 1,  # one alone is made into a program in half the time
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
HEADS: tuple[type[BertPreTrainedModel], ...] = (
    BertForPreTraining,
    BertForMaskedLM,
    BertLMHeadModel,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForMultipleChoice,
    BertForTokenClassification,
    BertForQuestionAnswering,
    SentenceEncoder,
)
MODELS: tuple[type[BertPreTrainedModel], ...] = (BertModel, *HEADS)
KINDS: list[tuple[type[BertPreTrainedModel], dict[str, Any]]] = [
    (BertModel, {"num_hidden_layers": 2}),
    *((model_class, {}) for model_class in HEADS),
    (BertModel, {"output_attentions": True, "position_embedding_type": "relative_key_query"}),
    (BertForSequenceClassification, {"output_attentions": True, "output_hidden_states": True}),
    (BertForTokenClassification, {"position_embedding_type": "relative_key"}),
]
EXAMPLE = (2, 5)
OTHERS = ((3, 7), (1, 1))

tracing = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")


@pytest.fixture(autouse=True)
def _nothing_compiled_is_left() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def build(
    model_class: type[BertPreTrainedModel], backend: AttentionBackend | None = "sdpa", **settings: Any
) -> BertPreTrainedModel:
    decoder = {"is_decoder": True, "use_cache": False} if model_class is BertLMHeadModel else {}
    model = seeded(BertConfig(**{**SMALL, **decoder, **settings}), model_class)
    if backend is not None:
        model.attention_backend = backend
    return model


def inputs(model_class: type[BertPreTrainedModel], shape: tuple[int, int], choices: int = 2) -> tuple[Tensor, ...]:
    """Ids, a mask with padding on the right, and segments."""
    generator = torch.Generator().manual_seed(100 * shape[0] + shape[1])
    size = (shape[0], choices, shape[1]) if model_class is BertForMultipleChoice else shape
    ids = torch.randint(1, 50, size, generator=generator)
    mask = torch.ones_like(ids)
    mask[0, ..., (shape[1] + 1) // 2 :] = 0
    return ids, mask, torch.randint(0, 2, size, generator=generator)


def difference(found: Any, expected: Any) -> float:
    """The largest difference between all tensors of two results, which have to be alike in number and shape."""
    pairs = list(zip(_pytree.tree_leaves(found), _pytree.tree_leaves(expected), strict=True))
    assert pairs
    assert all(one.shape == other.shape for one, other in pairs)
    return max(float((one.detach() - other.detach()).abs().max()) for one, other in pairs)


def assert_equal_at_other_shapes(program: Any, model: BertPreTrainedModel) -> None:
    for shape in (EXAMPLE, *OTHERS):
        given = inputs(type(model), shape)
        with torch.no_grad():
            assert difference(program(*given), model(*given)) <= 1e-5, shape
    # And the mask is an input of the program, not a part of it.
    ids, mask, types = inputs(type(model), (3, 7))
    with torch.no_grad():
        one, other = program(ids, mask, types), program(ids, torch.ones_like(mask), types)
    assert difference(one, other) > 1e-3


def exported(model: BertPreTrainedModel, **settings: Any) -> torch.export.ExportedProgram:
    batch, sequence = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("sequence", min=1, max=20)
    place = 2 if isinstance(model, BertForMultipleChoice) else 1
    shapes = {name: {0: batch, place: sequence} for name in ("input_ids", "attention_mask", "token_type_ids")}
    return torch.export.export(model, inputs(type(model), EXAMPLE), dynamic_shapes=shapes, **settings)


def name_of(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else ", ".join(map(str, value.values())) or "plain"


# Tracing


@tracing
@pytest.mark.parametrize(("model_class", "settings"), KINDS, ids=name_of)
def test_a_traced_model(model_class: type[BertPreTrainedModel], settings: dict[str, Any]) -> None:
    model = build(model_class, backend=None, torchscript=True, **settings)
    with torch.no_grad():
        traced = torch.jit.trace(model, inputs(model_class, EXAMPLE))
    assert_equal_at_other_shapes(traced, model)


@tracing
def test_a_traced_model_is_written_and_read() -> None:
    model = build(BertForSequenceClassification, backend=None, torchscript=True)
    buffer = io.BytesIO()
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(model, inputs(type(model), EXAMPLE)), buffer)
    buffer.seek(0)
    assert_equal_at_other_shapes(torch.jit.load(buffer), model)


@pytest.mark.parametrize("model_class", MODELS)
def test_torchscript_in_the_config_means_tuples_and_the_padded_layout(
    model_class: type[BertPreTrainedModel], tmp_path: Path
) -> None:
    model = build(model_class, backend=None, torchscript=True)
    assert model.base_model.attention_backend == model.attention_backend == "sdpa"
    given = inputs(model_class, EXAMPLE)
    with torch.no_grad():
        plain, named = model(*given), model(*given, return_dict=True)
    assert type(plain) is tuple
    assert not isinstance(named, tuple)
    assert difference(plain, tuple(named.values())) == 0.0
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert loaded.config.torchscript
    assert loaded.base_model.attention_backend == loaded.attention_backend == "sdpa"
    usual = build(model_class, backend=None)
    assert usual.attention_backend == "packed"
    with torch.no_grad():
        assert not isinstance(usual(*given), tuple)


# Export


@pytest.mark.parametrize(("model_class", "settings"), KINDS, ids=name_of)
def test_an_exported_model(model_class: type[BertPreTrainedModel], settings: dict[str, Any]) -> None:
    model = build(model_class, **settings)
    program = exported(model).module()
    assert_equal_at_other_shapes(program, model)
    with torch.no_grad():
        assert type(program(*inputs(model_class, (3, 7)))) is type(model(*inputs(model_class, (3, 7))))


@pytest.mark.parametrize("settings", [{"return_dict": False}, {"return_dict": True}], ids=str)
def test_an_exported_model_is_written_and_read(settings: dict[str, Any]) -> None:
    model = build(BertModel, **settings)
    buffer = io.BytesIO()
    torch.export.save(exported(model), buffer)
    buffer.seek(0)
    assert_equal_at_other_shapes(torch.export.load(buffer).module(), model)


def test_an_exported_model_keeps_shared_weights_shared() -> None:
    model = build(BertForMaskedLM)
    program = exported(model)
    table = program.state_dict["bert.embeddings.word_embeddings.weight"]
    shared = program.state_dict.get("cls.predictions.decoder.weight", table)
    assert shared.data_ptr() == table.data_ptr()


# The packed layout


@tracing
@pytest.mark.parametrize("backend", ["packed", "varlen"])
@pytest.mark.parametrize("model_class", MODELS)
def test_tracing_the_packed_layout_is_refused_with_the_remedy(
    model_class: type[BertPreTrainedModel], backend: AttentionBackend
) -> None:
    model = build(model_class, backend=backend)
    with pytest.raises(InputError, match=r"set model\.attention_backend = 'sdpa'"), torch.no_grad():
        torch.jit.trace(model, inputs(model_class, EXAMPLE))


@pytest.mark.parametrize("model_class", [BertModel, BertForSequenceClassification])
def test_exporting_the_packed_layout_is_refused_with_the_remedy(model_class: type[BertPreTrainedModel]) -> None:
    model = build(model_class, backend="packed")
    with pytest.raises(InputError, match=r"set model\.attention_backend = 'sdpa'"):
        exported(model)


@tracing
def test_a_packed_model_traces_where_attentions_are_asked_for_since_they_are_computed_padded() -> None:
    model = build(BertModel, backend="packed", torchscript=True, output_attentions=True)
    with torch.no_grad():
        traced = torch.jit.trace(model, inputs(BertModel, EXAMPLE))
    assert_equal_at_other_shapes(traced, model)


# Compilation


@pytest.mark.parametrize(("model_class", "settings"), KINDS[:-1], ids=name_of)
def test_a_compiled_model_is_one_graph(model_class: type[BertPreTrainedModel], settings: dict[str, Any]) -> None:
    model = build(model_class, **settings)
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=True)
    for shape in (EXAMPLE, (3, 7)):
        given = inputs(model_class, shape)
        with torch.no_grad():
            assert difference(compiled(*given), model(*given)) <= 1e-5


@pytest.mark.parametrize(
    ("model_class", "compiler"), [(BertForSequenceClassification, "aot_eager"), (BertForMaskedLM, "eager")]
)
def test_a_compiled_model_is_trained(model_class: type[BertPreTrainedModel], compiler: str) -> None:
    plain, twin = (build(model_class).train() for _ in range(2))
    compiled = torch.compile(twin, fullgraph=True, backend=compiler, dynamic=True)
    for shape in (EXAMPLE, (3, 7)):
        ids, mask, types = inputs(model_class, shape)
        labels = ids[:, 0] % 2 if model_class is BertForSequenceClassification else ids.masked_fill(mask == 0, -100)
        losses = []
        for model, call in ((plain, plain), (twin, compiled)):
            model.zero_grad()
            loss = call(ids, mask, types, labels=labels).loss
            loss.backward()
            losses.append(float(loss.detach()))
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)
        for (name, one), other in zip(plain.named_parameters(), twin.parameters(), strict=True):
            assert (one.grad is None) is (other.grad is None), name
            if one.grad is not None and other.grad is not None:
                assert difference(one.grad, other.grad) <= 1e-5, name
        assert plain.get_input_embeddings().weight.grad is not None
