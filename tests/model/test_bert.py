"""The model's parts, its inputs, and subclasses of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from glassbert import BertConfig, BertForSequenceClassification, BertModel, BertPreTrainedModel, ConfigError, InputError
from glassbert.model import apply_chunking_to_forward
from tests.model.oracle import seeded

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}
IDS = torch.arange(10).view(2, 5)


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


def test_bert_base_has_the_modules_that_the_paper_has() -> None:
    with torch.device("meta"):
        model = BertModel(BertConfig())
    # 1 + 3·12, 1 + 2·12, and 6·12 + 1 (query, key, value, output, two of the feed-forward; the pooler).
    assert (count(model, nn.Dropout), count(model, nn.LayerNorm), count(model, nn.Linear)) == (37, 25, 73)
    assert sum(parameter.numel() for parameter in model.parameters()) == 109_482_240


def test_the_printed_tree() -> None:
    config = BertConfig(**{**SMALL, "num_hidden_layers": 1}, num_labels=14)
    golden = Path(__file__).parent / "golden" / "tree.txt"
    # Newer versions of torch also print LayerNorm's own `bias=True`.
    printed = str(BertForSequenceClassification(config)).replace(
        "elementwise_affine=True, bias=True", "elementwise_affine=True"
    )
    assert printed + "\n" == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either input_ids or inputs_embeds"),
        ({"input_ids": IDS, "inputs_embeds": torch.zeros(2, 5, 24)}, "not both"),
        ({"input_ids": IDS[0]}, r"input_ids has the shape \(5,\)"),
        ({"input_ids": IDS.float()}, "dtype torch.float32"),
        ({"input_ids": IDS + 45}, "input_ids holds 54, expected 0 to 49"),
        ({"input_ids": IDS - 1}, "input_ids holds -1"),
        ({"input_ids": IDS[:, :0]}, "empty"),
        ({"input_ids": torch.zeros(1, 21, dtype=torch.int64)}, "21 tokens, but the model has 20 positions"),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 4)}, "attention_mask"),
        ({"input_ids": IDS, "token_type_ids": IDS}, "token_type_ids holds 9, expected 0 to 1"),
        ({"input_ids": IDS, "token_type_ids": IDS[:1]}, "token_type_ids has the shape"),
        ({"input_ids": IDS, "position_ids": IDS + 15}, "position_ids holds 24"),
        ({"input_ids": IDS, "position_ids": IDS[:, :3]}, "position_ids has the shape"),
        ({"inputs_embeds": torch.zeros(2, 5, 23)}, "inputs_embeds"),
    ],
)
def test_bad_inputs_are_named_before_anything_is_computed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BertModel(BertConfig(**SMALL))(**arguments)


def test_a_misspelt_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="lables"):
        BertForSequenceClassification(BertConfig(**SMALL))(IDS, lables=torch.zeros(2))


@pytest.mark.parametrize(
    ("settings", "labels", "message"),
    [
        ({}, torch.tensor([0, 2]), "outside 0 to 1"),
        ({}, torch.tensor([0, 1, 0]), "shape"),
        ({}, torch.tensor([[0, 1], [1, 0]]), "shape"),
        ({"num_labels": 1}, torch.tensor([0, 1]), "expected floats"),
        (
            {"problem_type": "multi_label_classification"},
            torch.tensor([1.0, 0.0]),
            r"expected floats of shape \(2, 2\)",
        ),
    ],
)
def test_bad_labels_are_named(settings: dict[str, Any], labels: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BertForSequenceClassification(BertConfig(**SMALL, **settings))(IDS, labels=labels)


def test_losses_follow_the_problem_type() -> None:
    torch.manual_seed(0)
    floats = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    cases: list[tuple[dict[str, Any], torch.Tensor, nn.Module]] = [
        ({}, torch.tensor([0, 1]), nn.CrossEntropyLoss()),
        ({}, floats, nn.BCEWithLogitsLoss()),
        ({"problem_type": "regression"}, floats, nn.MSELoss()),
    ]
    for settings, labels, loss in cases:
        model = BertForSequenceClassification(BertConfig(**SMALL, **settings)).eval()
        result = model(IDS, labels=labels)
        assert torch.allclose(result.loss, loss(result.logits, labels))
    model = BertForSequenceClassification(BertConfig(**SMALL, num_labels=1)).eval()
    result = model(IDS, labels=torch.tensor([0.5, -0.5]))
    assert torch.allclose(result.loss, ((result.logits[:, 0] - torch.tensor([0.5, -0.5])) ** 2).mean())


def test_gradient_checkpointing_changes_no_gradient() -> None:
    torch.manual_seed(0)
    plain = BertForSequenceClassification(BertConfig(**SMALL)).train()
    saving = BertForSequenceClassification(BertConfig(**SMALL, gradient_checkpointing=True)).train()
    saving.load_state_dict(plain.state_dict())
    for model in (plain, saving):
        torch.manual_seed(7)
        model(IDS, labels=torch.tensor([0, 1])).loss.backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunked_feed_forward_also_where_the_chunk_does_not_divide(chunk: int) -> None:
    plain = seeded(BertConfig(**SMALL), BertModel)
    chunked = BertModel(BertConfig(**SMALL, chunk_size_feed_forward=chunk)).eval()
    chunked.load_state_dict(plain.state_dict())
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    with torch.inference_mode():
        difference = chunked(IDS, mask).last_hidden_state - plain(IDS, mask).last_hidden_state
    assert difference.abs().max() < 1e-5


def test_chunking_is_called_with_pieces() -> None:
    seen = []

    def double(values: torch.Tensor) -> torch.Tensor:
        seen.append(values.shape[0])
        return 2 * values

    assert apply_chunking_to_forward(double, 2, 0, torch.arange(5)).tolist() == [0, 2, 4, 6, 8]
    assert seen == [2, 2, 1]


def test_embeddings_in_place_of_ids() -> None:
    model = seeded(BertConfig(**SMALL), BertModel)
    with torch.inference_mode():
        assert isinstance(model, BertModel)
        embeds = model.get_input_embeddings()(IDS)
        assert torch.equal(model(inputs_embeds=embeds).last_hidden_state, model(IDS).last_hidden_state)


def test_fresh_weights() -> None:
    torch.manual_seed(0)
    model = BertModel(BertConfig(**{**SMALL, "vocab_size": 3000}, initializer_range=0.05))
    for name, parameter in model.named_parameters():
        if "LayerNorm.weight" in name:
            assert (parameter == 1).all()
        elif name.endswith("bias"):
            assert (parameter == 0).all()
        elif parameter.numel() > 10_000:
            assert 0.045 < float(parameter.detach().std()) < 0.055
    assert not model.get_input_embeddings().weight[0].any()


class Mine(BertPreTrainedModel):
    """A model of a user's own."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.scale = nn.Linear(config.hidden_size, 1)
        self.register_buffer("steps", torch.arange(4))
        self.init_weights()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = self.scale(self.bert(input_ids).pooler_output)
        return scaled


def test_a_subclass_saves_and_loads_as_ours_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Mine(BertConfig(**SMALL)).eval()
    model.save_pretrained(tmp_path)
    loaded = Mine.from_pretrained(tmp_path)
    assert not loaded.training
    assert torch.equal(loaded(IDS), model(IDS))
    assert loaded.steps.tolist() == [0, 1, 2, 3]  # type: ignore[operator]


def test_the_backend_is_set_for_the_whole_model_and_checked() -> None:
    model = BertForSequenceClassification(BertConfig(**SMALL))
    model.attention_backend = "sdpa"
    assert model.bert.attention_backend == "sdpa"
    with pytest.raises(ConfigError, match="flash9"):
        model.attention_backend = "flash9"  # type: ignore[assignment]


def test_a_model_needs_a_config() -> None:
    with pytest.raises(ConfigError, match="BertConfig"):
        BertModel({"hidden_size": 8})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_tracing_a_packed_model_is_refused_since_it_would_freeze_one_batch() -> None:
    model = BertModel(BertConfig(**SMALL, return_dict=False)).eval()
    with pytest.raises(InputError, match="sdpa"), torch.no_grad():
        torch.jit.trace(model, (IDS,))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_padded_model_traces_and_takes_other_lengths() -> None:
    model = seeded(BertConfig(**SMALL, return_dict=False), BertModel)
    model.attention_backend = "sdpa"
    with torch.no_grad():
        traced = torch.jit.trace(model, (IDS, torch.ones_like(IDS)))
        ids, mask = torch.arange(21).view(3, 7), torch.ones(3, 7, dtype=torch.int64)
        assert (traced(ids, mask)[0] - model(ids, mask)[0]).abs().max() < 1e-5
