"""BERT's layers as torch's own encoder, and back."""

from __future__ import annotations

import copy
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
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
    BertModel,
    CheckpointError,
    ConfigError,
    OutputExistsError,
    SaveError,
)
from glassbert.checkpoint.torch_encoder import (
    from_torch_encoder,
    load_torch_encoder,
    save_torch_encoder,
    to_torch_encoder,
)
from glassbert.model.bert import BertEncoder

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu")
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]])


def mish(values: Tensor) -> Tensor:
    return F.mish(values)


def config(**changes: Any) -> BertConfig:
    values: dict[str, Any] = {
        "vocab_size": 30,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 21,
        "max_position_embeddings": 9,
        "initializer_range": 0.3,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return BertConfig(**{**values, **changes})


def build(*, pooler: bool = True, **changes: Any) -> BertModel:
    """Make a model in which biases and norms are random too, so that two swapped tensors show."""
    torch.manual_seed(0)
    model = BertModel(config(**changes), add_pooling_layer=pooler)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.3)
    return model.eval()


def ids() -> Tensor:
    return torch.randint(1, 30, MASK.shape, generator=torch.Generator().manual_seed(1))


def torch_layer(**changes: Any) -> nn.TransformerEncoderLayer:
    values: dict[str, Any] = {"d_model": 8, "nhead": 2, "dim_feedforward": 12, "batch_first": True}
    return nn.TransformerEncoderLayer(**{**values, **changes})


def torch_encoder(layers: int = 2, norm: nn.Module | None = None, **changes: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    return nn.TransformerEncoder(torch_layer(**changes), layers, norm, enable_nested_tensor=False)


def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by one with every layer that goes through torch's fast path."""
    calls: list[int] = []
    real = torch._transformer_encoder_layer_fwd

    def counted(*arguments: Any) -> Tensor:
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", counted)
    return calls


def equal(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules hold the same bits under the same names."""
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(
        torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in ours
    )


# Outputs


@pytest.mark.parametrize("act", [*ACTIVATIONS, mish, nn.GELU(approximate="tanh")], ids=str)
@pytest.mark.parametrize("heads", [1, 4])
def test_both_compute_the_same_with_and_without_torchs_fast_path(
    act: Any, heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(hidden_act=act, num_attention_heads=heads)
    encoder = to_torch_encoder(model.encoder, model.config)
    real = MASK.bool()
    expected = model(ids(), MASK).last_hidden_state[real]
    calls = taken(monkeypatch)
    embedded = model.embeddings(ids())
    slow = encoder(embedded, src_key_padding_mask=~real)[real]
    assert not calls
    with torch.inference_mode():
        fast = encoder(embedded, src_key_padding_mask=~real)[real]
    # An odd number of heads and any other activation keep torch from it.
    assert len(calls) == (3 if heads == 4 and act in ("gelu", "relu") else 0)
    assert (slow - expected).abs().max() < 1e-5
    assert (fast - expected).abs().max() < 1e-5


def test_a_batch_without_padding_needs_no_mask() -> None:
    model = build()
    encoder = to_torch_encoder(model.encoder, model.config)
    assert (encoder(model.embeddings(ids())) - model(ids()).last_hidden_state).abs().max() < 1e-5


@pytest.mark.parametrize("activation", ["relu", "gelu", F.silu, nn.GELU(approximate="tanh"), mish], ids=str)
@pytest.mark.parametrize("batch_first", [True, False])
def test_an_encoder_of_torch_computes_the_same_as_layers_of_bert(activation: Any, batch_first: bool) -> None:
    theirs = torch_encoder(activation=activation, batch_first=batch_first, layer_norm_eps=1e-3).eval()
    ours, settings = from_torch_encoder(theirs)
    hidden = torch.randn(3, 7, 8, generator=torch.Generator().manual_seed(2))
    real = MASK.bool()
    added = torch.zeros(3, 1, 1, 7).masked_fill(~real[:, None, None], torch.finfo(torch.float32).min)
    found = ours(hidden, added).last_hidden_state
    given = hidden if batch_first else hidden.transpose(0, 1)
    expected = theirs(given, src_key_padding_mask=~real)
    expected = expected if batch_first else expected.transpose(0, 1)
    assert (found - expected)[real].abs().max() < 1e-5
    assert (settings.hidden_size, settings.num_attention_heads, settings.intermediate_size) == (8, 2, 12)
    assert (settings.num_hidden_layers, settings.layer_norm_eps) == (2, 1e-3)
    assert not ours.training


# Round trips


@pytest.mark.parametrize("act", [*ACTIVATIONS, mish], ids=str)
def test_there_and_back_is_equal_to_the_bit(act: Any) -> None:
    model = build(hidden_act=act, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3, type_vocab_size=3)
    encoder = to_torch_encoder(model.encoder, model.config)
    back, settings = from_torch_encoder(encoder, model.config)
    assert settings == model.config
    assert equal(back, model.encoder)
    assert equal(to_torch_encoder(back, settings), encoder)


def test_weights_are_copies_and_keep_dtype_and_mode() -> None:
    model = build().double().train()
    encoder = to_torch_encoder(model.encoder, model.config)
    before = copy.deepcopy(model.encoder)
    with torch.no_grad():
        for parameter in encoder.parameters():
            assert parameter.requires_grad
            assert parameter.dtype == torch.float64
            parameter.zero_()
    assert encoder.training
    assert equal(model.encoder, before)
    back, _ = from_torch_encoder(encoder, model.config)
    with torch.no_grad():
        for parameter in back.parameters():
            parameter.fill_(1.0)
    assert back.training
    assert not any(parameter.any() for parameter in encoder.parameters())


def test_rates_of_dropout_go_both_ways_attention_with_its_own() -> None:
    model = build(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3)
    encoder = to_torch_encoder(model.encoder, model.config)
    for layer in encoder.layers:
        assert isinstance(layer, nn.TransformerEncoderLayer)
        assert [layer.dropout1.p, layer.dropout2.p, layer.dropout.p, layer.self_attn.dropout] == [0.2, 0.2, 0.2, 0.3]
        layer.self_attn.dropout = 0.4
    _, settings = from_torch_encoder(encoder)
    assert (settings.hidden_dropout_prob, settings.attention_probs_dropout_prob) == (0.2, 0.4)


def test_modules_say_the_sizes_and_a_config_the_rest() -> None:
    given = BertConfig(vocab_size=77, hidden_act="silu", num_labels=5, hidden_dropout_prob=0.0)
    _, settings = from_torch_encoder(torch_encoder(activation=nn.ReLU(), dropout=0.25), given)
    assert (settings.vocab_size, settings.num_labels, settings.hidden_size) == (77, 5, 8)
    assert (settings.hidden_act, settings.hidden_dropout_prob) == ("relu", 0.25)
    assert given.hidden_size == 768


# Training


def test_without_dropout_the_gradients_are_the_same() -> None:
    model = build().train()
    encoder = to_torch_encoder(model.encoder, model.config)
    real = MASK.bool()
    weights = torch.randn(int(real.sum()), 16, generator=torch.Generator().manual_seed(3))
    (model(ids(), MASK).last_hidden_state[real] * weights).mean().backward()
    expected = {name: parameter.grad for name, parameter in model.encoder.named_parameters()}
    embedded = model.embeddings(ids()).detach()
    (encoder(embedded, src_key_padding_mask=~real)[real] * weights).mean().backward()
    # The gradients have the form of weights, so they go back the way that weights do.
    for parameter in encoder.parameters():
        assert parameter.grad is not None
        parameter.data = parameter.grad
    found = dict(from_torch_encoder(encoder, model.config)[0].named_parameters())
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient is not None
        assert (found[name] - gradient).abs().max() < 1e-5, name
    assert max(float(gradient.abs().max()) for gradient in expected.values() if gradient is not None) > 1e-2


def test_in_training_torch_drops_out_at_one_place_more() -> None:
    model = build(hidden_dropout_prob=0.5).train()
    encoder = to_torch_encoder(model.encoder, model.config)
    embedded = build().embeddings(ids())
    expected = model.eval().encoder(embedded).last_hidden_state
    for module in encoder.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.dropout1.p = module.dropout2.p = 0.0
    # Now all that drops out is what BERT has no place for.
    assert (encoder(embedded) - expected).abs().max() > 0.1
    for module in encoder.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.dropout.p = 0.0
    assert encoder.training
    assert (encoder(embedded) - expected).abs().max() < 1e-5


# What does not fit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position_embedding_type": "relative_key"}, "relative positions"),
        ({"position_embedding_type": "relative_key_query"}, "relative positions"),
        ({"pruned_heads": {1: [0]}}, "pruned heads"),
        ({"is_decoder": True, "add_cross_attention": True}, "cross-attention"),
        ({"is_decoder": True}, "decoder"),
        ({"num_hidden_layers": 0}, "no layers"),
    ],
)
def test_what_torchs_encoder_cannot_hold_is_refused_by_name(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = build(**changes)
    with pytest.raises(CheckpointError, match=message):
        to_torch_encoder(model.encoder, model.config)
    with pytest.raises(CheckpointError, match=message):
        save_torch_encoder(model, tmp_path)
    assert not os.listdir(tmp_path)
    if model.config.num_hidden_layers:
        with pytest.raises(CheckpointError, match=message):
            from_torch_encoder(torch_encoder(3), model.config)


def test_heads_that_a_layer_lost_by_itself_are_seen() -> None:
    model = build()
    model._layer(1).attention.prune_heads([2])
    assert not model.config.pruned_heads
    with pytest.raises(CheckpointError, match=r"layer\.1: .*pruned heads \{1: \[2\]\}"):
        to_torch_encoder(model.encoder, model.config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 2}, "has 3 layers, but its config counts 2"),
        ({"num_attention_heads": 2}, "has 4 heads, but its config counts 2"),
        ({"intermediate_size": 20}, r"linear1\.weight has the shape \(21, 16\), but by the config it is \(20, 16\)"),
    ],
)
def test_the_config_of_another_encoder_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        to_torch_encoder(build().encoder, config(**changes))


def test_a_layer_of_another_class_or_with_more_weights_is_refused() -> None:
    model = build()
    model._layer(2).intermediate.intermediate_act_fn = nn.PReLU()
    with pytest.raises(CheckpointError, match=r"layer\.2: intermediate\.intermediate_act_fn\.weight has no place"):
        to_torch_encoder(model.encoder, model.config)
    model.encoder.layer[0] = nn.Identity()
    with pytest.raises(CheckpointError, match=r"layer\.0 is a Identity, expected a BertLayer"):
        to_torch_encoder(model.encoder, model.config)


class Mine(nn.TransformerEncoderLayer):
    pass


class Ours(nn.TransformerEncoder):
    pass


def change(encoder: nn.TransformerEncoder, apply: Callable[[Any], object]) -> nn.TransformerEncoder:
    """Apply a change to the last layer."""
    apply(encoder.layers[-1])
    return encoder


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (lambda: torch_encoder(norm_first=True), r"layers\.0 has norm_first=True"),
        (lambda: torch_encoder(norm=nn.LayerNorm(8)), r"final norm \(LayerNorm\)"),
        (lambda: torch_encoder(bias=False), r"layers\.0 has bias=False"),
        (lambda: torch_encoder(0), "no layers"),
        (lambda: torch_encoder(activation=nn.PReLU()), r"layers\.0: activation\.weight has no place"),
        (lambda: change(torch_encoder(), lambda last: setattr(last.norm2, "eps", 1e-3)), "two values of layer_norm"),
        (lambda: change(torch_encoder(), lambda last: setattr(last.dropout2, "p", 0.3)), "two rates of dropout"),
        (lambda: change(torch_encoder(), lambda last: setattr(last.self_attn, "add_zero_attn", True)), "add_zero_attn"),
        (lambda: change(torch_encoder(), lambda last: setattr(last.self_attn, "num_heads", 4)), "num_attention_heads"),
        (lambda: change(torch_encoder(), lambda last: setattr(last, "activation", F.gelu)), r"layers\.1 .* hidden_act"),
        (
            lambda: change(torch_encoder(), lambda last: setattr(last, "norm1", nn.LayerNorm(8, bias=False))),
            r"norm1\.bias",
        ),
        (
            lambda: change(torch_encoder(activation=nn.CELU()), lambda last: setattr(last.activation, "alpha", 0.5)),
            "hidden_act is CELU",
        ),
        (
            lambda: nn.TransformerEncoder(Mine(8, 2, 12), 2, enable_nested_tensor=False),
            "is a Mine, expected a torch.nn.TransformerEncoderLayer",
        ),
        (lambda: Ours(torch_layer(), 2, enable_nested_tensor=False), "found Ours"),
    ],
)
def test_what_bert_cannot_hold_is_refused_by_name(encoder: Callable[[], nn.TransformerEncoder], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        from_torch_encoder(encoder())


def test_layers_of_different_width_are_refused() -> None:
    encoder = torch_encoder()
    encoder.layers.append(torch_layer(dim_feedforward=13))
    with pytest.raises(CheckpointError, match=r"layers\.2 differs from layers\.0: intermediate_size is 13, there 12"):
        from_torch_encoder(encoder)


def test_a_rate_that_no_bert_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hidden_dropout_prob is 1\.0"):
        from_torch_encoder(torch_encoder(dropout=1.0))


@pytest.mark.parametrize("act", [nn.CELU(0.7), functools.partial(F.leaky_relu, negative_slope=0.2)], ids=str)
def test_copies_of_one_activation_are_one_activation(act: Callable[[Tensor], Tensor]) -> None:
    _, settings = from_torch_encoder(torch_encoder(activation=act))
    probe = torch.linspace(-2, 2, 9)
    assert callable(settings.hidden_act)
    assert torch.equal(settings.hidden_act(probe), act(probe))


# Files


def saved(folder: Path, **changes: Any) -> BertModel:
    model = build(**changes)
    save_torch_encoder(model, folder)
    return model


@pytest.mark.parametrize("pooler", [True, False])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_what_is_saved_is_loaded_to_the_bit(act: str, pooler: bool, tmp_path: Path) -> None:
    model = build(hidden_act=act, pooler=pooler, attention_probs_dropout_prob=0.25, num_labels=4)
    model.config.extra["made_by"] = "me"
    save_torch_encoder(model, tmp_path / "deep" / "folder")
    assert sorted(os.listdir(tmp_path / "deep" / "folder")) == ["torch_encoder.json", "torch_encoder.safetensors"]
    loaded = load_torch_encoder(tmp_path / "deep" / "folder")
    assert equal(loaded, model)
    model.config.architectures = ["BertModel"]
    assert loaded.config == model.config
    assert not loaded.training
    assert torch.equal(loaded(ids(), MASK).last_hidden_state, model(ids(), MASK).last_hidden_state)


def test_the_file_has_torchs_names_for_layers_and_ours_for_the_rest(tmp_path: Path) -> None:
    model = saved(tmp_path)
    names = set(load_file(tmp_path / "torch_encoder.safetensors"))
    twin = to_torch_encoder(model.encoder, model.config).state_dict()
    rest = {name for name in model.state_dict() if name.startswith(("embeddings.", "pooler."))}
    assert names == {f"encoder.{name}" for name in twin} | rest


@pytest.mark.parametrize("act", ["gelu", "gelu_new"])
def test_whoever_has_torch_alone_can_follow_the_readme(act: str, tmp_path: Path) -> None:
    model = saved(tmp_path, hidden_act=act, attention_probs_dropout_prob=0.25, layer_norm_eps=1e-6)
    types = (ids() % 2).contiguous()
    save_file({"ids": ids(), "types": types, "mask": MASK}, tmp_path / "in.safetensors")
    readme = json.loads((tmp_path / "torch_encoder.json").read_text(encoding="utf-8"))["README"]
    program = f"""{readme}
import sys
from safetensors.torch import save_file
given = load_file("in.safetensors")
slow = encode(given["ids"], given["types"], given["mask"])
with torch.inference_mode():
    fast = encode(given["ids"], given["types"], given["mask"])
save_file({{"slow": slow.detach(), "fast": fast, "pooled": pool(slow).detach()}}, "out.safetensors")
assert {{each.self_attn.dropout for each in encoder.layers}} == {{0.25}}
assert "glassbert" not in sys.modules
"""
    subprocess.run([sys.executable, "-I", "-W", "error", "-c", program], cwd=tmp_path, check=True, timeout=300)
    found = load_file(tmp_path / "out.safetensors")
    expected = model(ids(), MASK, types)
    real = MASK.bool()
    assert (found["slow"] - expected.last_hidden_state)[real].abs().max() < 1e-5
    assert (found["fast"] - expected.last_hidden_state)[real].abs().max() < 1e-5
    assert (found["pooled"] - expected.pooler_output).abs().max() < 1e-5


def test_a_head_and_a_function_have_no_place_in_the_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="BertForMaskedLM has no form as a torch encoder"):
        save_torch_encoder(BertForMaskedLM(config()), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="function"):
        save_torch_encoder(build(hidden_act=mish), tmp_path)
    assert not os.listdir(tmp_path)


def test_files_that_are_there_are_replaced_only_when_asked_and_others_stay(tmp_path: Path) -> None:
    first = saved(tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    second = build(intermediate_size=5)
    with pytest.raises(OutputExistsError, match="torch_encoder"):
        save_torch_encoder(second, tmp_path)
    assert equal(load_torch_encoder(tmp_path), first)
    save_torch_encoder(second, tmp_path, overwrite=True)
    assert equal(load_torch_encoder(tmp_path), second)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("glassbert.checkpoint.torch_encoder.write_json", full)
    with pytest.raises(SaveError, match="No space left"):
        save_torch_encoder(build(intermediate_size=5), tmp_path, overwrite=True)
    assert equal(load_torch_encoder(tmp_path), model)
    assert len(os.listdir(tmp_path)) == 2


def rewrite(folder: Path, apply: Callable[[dict[str, Any]], object]) -> None:
    """Change the settings through a function of them."""
    settings = json.loads((folder / "torch_encoder.json").read_text(encoding="utf-8"))
    apply(settings)
    (folder / "torch_encoder.json").write_text(json.dumps(settings), encoding="utf-8")


@pytest.mark.parametrize(
    ("apply", "error", "message"),
    [
        (lambda s: s.pop("layer"), CheckpointError, "layer is missing"),
        (lambda s: s.pop("num_layers"), CheckpointError, "num_layers is missing"),
        (lambda s: s.update(bert=[1]), CheckpointError, r"bert is \[1\], expected an object"),
        (lambda s: s["layer"].pop("nhead"), CheckpointError, "layer: nhead is missing"),
        (lambda s: s["layer"].update(device="cuda"), CheckpointError, "layer: device has no place"),
        (lambda s: s["layer"].update(norm_first=True), CheckpointError, "norm_first is True; a BERT has False"),
        (lambda s: s["layer"].update(bias=0), CheckpointError, "bias is 0; a BERT has True"),
        (lambda s: s["layer"].update(d_model="x"), ConfigError, "hidden_size is 'x'"),
        (lambda s: s["layer"].update(activation="mish"), ConfigError, "hidden_act is 'mish'"),
        (lambda s: s.update(num_layers=-1), ConfigError, "num_hidden_layers is -1"),
        (lambda s: s.update(num_layers=0), CheckpointError, "no layers"),
        (lambda s: s.update(num_layers=4), CheckpointError, r"encoder\.layers\.3\.\S+ is missing"),
        (lambda s: s.update(num_layers=2), CheckpointError, r"encoder\.layers\.2\.\S+ has no place"),
        (lambda s: s["layer"].update(dim_feedforward=9), CheckpointError, r"linear1\.\S+ has the shape \(21"),
        (lambda s: s["bert"].update(position_embedding_type="relative_key"), CheckpointError, "relative positions"),
        (lambda s: s["bert"].update(vocab_size=31), CheckpointError, r"word_embeddings\.weight has the shape \(30, 16"),
    ],
)
def test_settings_that_do_not_fit_name_file_and_key(
    apply: Callable[[dict[str, Any]], object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    saved(tmp_path)
    rewrite(tmp_path, apply)
    with pytest.raises(error, match=r"torch_encoder\.(json|safetensors): .*" + message):
        load_torch_encoder(tmp_path)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("pooler.dense.bias", None, r"pooler\.dense\.bias is missing"),
        ("encoder.layers.1.norm1.bias", torch.zeros(15), r"norm1\.bias has the shape \(15,\), expected \(16,\)"),
        ("encoder.layers.1.norm1.bias", torch.full((16,), torch.nan), "not finite"),
        ("encoder.layers.1.norm1.bias", torch.zeros(16, dtype=torch.int64), r"holds torch\.int64, expected floats"),
        ("cls.bias", torch.zeros(2), r"cls\.bias has no place"),
    ],
)
def test_weights_that_do_not_fit_name_file_and_key(
    name: str, tensor: Tensor | None, message: str, tmp_path: Path
) -> None:
    saved(tmp_path)
    file = tmp_path / "torch_encoder.safetensors"
    tensors = load_file(file)
    tensors.pop(name, None)
    save_file(tensors if tensor is None else {**tensors, name: tensor}, file)
    with pytest.raises(CheckpointError, match=r"torch_encoder\.safetensors: .*" + message):
        load_torch_encoder(tmp_path)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"torch_encoder\.json: no such file"):
        load_torch_encoder(tmp_path)
    saved(tmp_path)
    file = tmp_path / "torch_encoder.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="not readable as safetensors"):
        load_torch_encoder(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"holds no torch_encoder\.safetensors"):
        load_torch_encoder(tmp_path)


def test_an_encoder_taken_from_torch_runs_in_a_whole_model() -> None:
    model = build(hidden_size=8, num_attention_heads=2)
    encoder, settings = from_torch_encoder(torch_encoder(activation="gelu").eval(), model.config)
    whole = BertModel(settings).eval()
    whole.encoder.load_state_dict(encoder.state_dict())
    assert isinstance(whole.encoder, BertEncoder)
    states = whole(ids(), MASK).last_hidden_state
    expected = torch_encoder(activation="gelu").eval()(whole.embeddings(ids()), src_key_padding_mask=MASK == 0)
    assert (states - expected)[MASK.bool()].abs().max() < 1e-5
