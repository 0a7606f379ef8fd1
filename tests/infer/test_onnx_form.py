"""onnxruntime's optimizer finds attention in what is exported, and the file that it writes answers as the model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest
import torch

from glassbert import (
    BertConfig,
    BertForMultipleChoice,
    BertForSequenceClassification,
    BertLMHeadModel,
    BertModel,
    BertPreTrainedModel,
    SentenceEncoder,
    export,
)
from glassbert.infer.onnx import OnnxSession
from glassbert.infer.program import is_by_token, outputs_of
from tests.model.oracle import seeded

CONFIG = BertConfig(
    vocab_size=90,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=40,
    use_cache=False,
)


def exported(model: BertPreTrainedModel, folder: Path) -> Path:
    return folder / export(model, folder).file


def optimized(file: Path) -> tuple[dict[str, int], Path]:
    """Return how many operators of each kind onnxruntime's optimizer makes, and the file."""
    reason = "onnxruntime's optimizer is not installed"
    optimizer = pytest.importorskip("onnxruntime.transformers.optimizer", reason=reason)
    options = pytest.importorskip("onnxruntime.transformers.fusion_options", reason=reason).FusionOptions("bert")
    options.use_raw_attention_mask(True)  # else padding on the left is taken for text
    written = optimizer.optimize_model(str(file), model_type="bert", optimization_options=options)
    target = file.with_name("optimized.onnx")
    written.save_model_to_file(str(target))
    return {name: count for name, count in written.get_fused_operator_statistics().items() if count}, target


def given(model: BertPreTrainedModel) -> dict[str, torch.Tensor]:
    """Make texts with padding on the right, on the left, and without any."""
    shape = (3, 2, 7) if isinstance(model, BertForMultipleChoice) else (3, 7)
    ids = torch.randint(5, 90, shape, generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, ..., 4:] = 0
    mask[1, ..., :3] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids % 2}


def answers(model: BertPreTrainedModel, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what the model says on its padded path, rows of padding too."""
    model.attention_backend = "eager"
    with torch.no_grad():
        return outputs_of(model, inputs)


@pytest.mark.parametrize(
    ("model_class", "attentions"),
    [
        (BertModel, 2),
        (SentenceEncoder, 2),
        # Its last layer has one query a text, which the operator cannot have.
        (BertForSequenceClassification, 1),
        (BertForMultipleChoice, 1),
    ],
)
def test_attention_is_found_in_each_layer(
    model_class: type[BertPreTrainedModel], attentions: int, tmp_path: Path
) -> None:
    model = seeded(CONFIG, model_class)
    made, file = optimized(exported(model, tmp_path / "out"))
    assert made == {"EmbedLayerNormalization": 1, "Attention": attentions, "BiasGelu": 2, "SkipLayerNormalization": 4}
    inputs = given(model)
    found = OnnxSession(file)(inputs)
    for name, tensor in answers(model, inputs).items():
        real = inputs["attention_mask"].bool() if is_by_token(model, name) else ...
        assert float((found[name][real] - tensor[real]).abs().max()) <= 1e-5, name


def test_a_decoder_is_left_as_it_is(tmp_path: Path) -> None:
    model = seeded(dataclasses.replace(CONFIG, is_decoder=True), BertLMHeadModel)
    file = exported(model, tmp_path / "out")
    made, _ = optimized(file)
    assert "Attention" not in made
    inputs = given(model)
    # Rows of padding on the left see no key at all: zeros, as in the model.
    assert float((OnnxSession(file)(inputs)["logits"] - answers(model, inputs)["logits"]).abs().max()) <= 1e-5


def test_the_file_holds_no_shapes_between_its_ends(tmp_path: Path) -> None:
    graph = onnx.load(exported(seeded(CONFIG, BertModel), tmp_path / "out")).graph
    weights = {one.name for one in graph.initializer}
    assert {one.name for one in graph.value_info} <= weights
    assert [len(one.type.tensor_type.shape.dim) for one in graph.output] == [3, 2]
