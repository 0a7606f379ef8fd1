"""BERT's layers ↔ `torch.nn.TransformerEncoder`: the same weights under other names, the same outputs.

One layer, weight by weight:

| torch | BERT |
| --- | --- |
| `self_attn.in_proj_weight` (3H, H), `in_proj_bias` | `attention.self.query`, `key` and `value`, one under the other |
| `self_attn.out_proj` | `attention.output.dense` |
| `norm1` | `attention.output.LayerNorm` |
| `linear1`, `linear2` | `intermediate.dense`, `output.dense` |
| `norm2` | `output.LayerNorm` |

In eval mode both compute the same, through torch's fast path and without it; only for a text of padding alone the fast
path gives NaN. In training they differ in one place: torch's layer also drops out between the activation and `linear2`,
with the rate `hidden_dropout_prob`; BERT's does not. What goes over to torch has that dropout too; set
`layer.dropout.p = 0` for each layer to train as BERT does.

Source: torch/nn/modules/transformer.py of torch 2.13 (`TransformerEncoderLayer`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from glassbert.checkpoint.filling import plain_state
from glassbert.checkpoint.place import TORCH_ENCODER, inside
from glassbert.errors import CheckpointError, ConfigError
from glassbert.files import LARGEST_SETTINGS, check_content, read_json, updated_folder, write_json
from glassbert.model.activations import ACT2FN, GELUActivation, NewGELUActivation, activation
from glassbert.model.bert import BertEncoder, BertLayer, BertModel
from glassbert.model.config import BertConfig, HiddenAct

WEIGHTS: Final = "torch_encoder.safetensors"
SETTINGS: Final = TORCH_ENCODER

Activation = HiddenAct | Callable[[Tensor], Tensor]

# torch's module ↔ BERT's, for those that go over as they are.
_SAME: Final = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}
_JOINED: Final = tuple(f"attention.self.{name}" for name in ("query", "key", "value"))
_KINDS: Final = ("weight", "bias")
# What one layer holds, by its own names.
_TORCH_KEYS: Final = {f"{name}.{kind}" for name in _SAME for kind in _KINDS} | {
    f"self_attn.in_proj_{kind}" for kind in _KINDS
}
_BERT_KEYS: Final = {f"{name}.{kind}" for name in (*_SAME.values(), *_JOINED) for kind in _KINDS}

# An argument of torch.nn.TransformerEncoderLayer ↔ our setting.
_ARGUMENTS: Final = {
    "d_model": "hidden_size",
    "nhead": "num_attention_heads",
    "dim_feedforward": "intermediate_size",
    "dropout": "hidden_dropout_prob",
    "activation": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
}
# Arguments that have one value in a BERT; `batch_first` is only a matter of layout.
_FIXED: Final = {"norm_first": False, "bias": True}


def torch_names() -> dict[str, tuple[str, ...]]:
    """Return the parameters of torch's layer, each with those of BERT's layer that it holds, one under the other."""
    names = {f"self_attn.in_proj_{kind}": tuple(f"{name}.{kind}" for name in _JOINED) for kind in _KINDS}
    return names | {f"{theirs}.{kind}": (f"{ours}.{kind}",) for theirs, ours in _SAME.items() for kind in _KINDS}


def to_torch_encoder(encoder: BertEncoder, config: BertConfig) -> nn.TransformerEncoder:
    """Return a `torch.nn.TransformerEncoder` with a copy of the weights of `encoder`, batch first, in the same mode.

    Its input is (B, S, H), the output of `BertEmbeddings`; its `src_key_padding_mask` (B, S) is true at padding. Rows
    of padding hold numbers of no meaning. In training it has one dropout more than BERT: between the activation and
    `linear2` of each layer, with the rate `hidden_dropout_prob`.

    Args:
        encoder: `model.encoder` of a `BertModel`.
        config: the settings that it was built from.

    Raises:
        CheckpointError: what torch's encoder cannot hold, by name: relative positions, pruned heads, cross-attention, a
            decoder, no layers, layers of another kind; or a config that is not that of `encoder`.
    """
    twin = _empty(config)
    twin.load_state_dict(_checked(encoder, config, twin), assign=True)
    return twin.train(encoder.training)


def from_torch_encoder(
    encoder: nn.TransformerEncoder, config: BertConfig | None = None
) -> tuple[BertEncoder, BertConfig]:
    """Return BERT's layers with a copy of the weights of `encoder`, in the same mode, and their config.

    Sizes, the activation, `layer_norm_eps` and the two rates of dropout (`dropout1.p`, `self_attn.dropout`) are those
    of the modules. The dropout inside the feed-forward has no place in a BERT and is left out. An activation without a
    name in BERT stays a function, so that the config cannot be saved. `nn.GELU(approximate="tanh")` becomes
    `gelu_new`, although torch's fast path takes the exact form for it. An encoder with `batch_first=False` is taken
    too: the result is batch first, as all of BERT.

    Args:
        encoder: post-norm, with biases, without a final norm.
        config: the rest of the settings; None takes the defaults.

    Raises:
        CheckpointError: what BERT cannot hold, by name: `norm_first`, a final norm, `bias=False`, layers that differ, a
            subclass; or a config of relative positions, pruned heads or a decoder.
        ConfigError: a value that no BERT has, such as a dropout of 1.
    """
    # A subclass computes something else.
    if type(encoder) is not nn.TransformerEncoder:
        raise CheckpointError(f"expected a torch.nn.TransformerEncoder, found {type(encoder).__name__}")
    if encoder.norm is not None:
        raise CheckpointError(
            f"the encoder has a final norm ({type(encoder.norm).__name__}), for which BERT has no place"
        )
    if not len(encoder.layers):
        raise CheckpointError("the encoder has no layers to read the sizes from")
    config = BertConfig() if config is None else config
    _check_config(config)
    settings: dict[str, Any] = {}
    for index, layer in enumerate(encoder.layers):
        found = _settings_of(layer, f"layers.{index}")
        settings = settings or found
        _check_same(settings, found, f"layers.{index}")
    config = dataclasses.replace(config, **settings, num_hidden_layers=len(encoder.layers))
    with torch.device("meta"):
        ours = BertEncoder(config)
    ours.load_state_dict(_bert_state(encoder.state_dict(), len(encoder.layers)), assign=True)
    return ours.train(encoder.training), config


def save_torch_encoder(model: BertModel, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a BERT so that whoever has torch, json and safetensors can build and run it, without glassbert.

    `torch_encoder.safetensors` holds the layers under torch's names (`encoder.layers.0.self_attn.in_proj_weight`) and
    the rest under ours (`embeddings.…`, `pooler.…`). `torch_encoder.json` holds the arguments of
    `torch.nn.TransformerEncoderLayer` ("layer"), "num_layers", "attention_dropout", the rest of the config ("bert"),
    and under "README" a program that builds and runs the model.

    Args:
        model: a bare model; of a model with a head, its `.bert`.
        folder: created where it is missing; its other files stay.
        overwrite: whether the two files may be replaced.

    Raises:
        CheckpointError: as `to_torch_encoder`, and for a model with a head.
        ConfigError: `hidden_act` is a function, which no file can hold.
        OutputExistsError: one of the files is there and `overwrite` is false.
        SaveError: the disk refused a write, or a weight is none; what stood there still stands.
    """
    if not isinstance(model, BertModel):
        raise CheckpointError(f"{type(model).__name__} has no form as a torch encoder; give its bare BertModel (.bert)")
    plain_state(model)
    state = _checked(model.encoder, model.config, _empty(model.config))
    tensors = {f"encoder.{name}": tensor for name, tensor in state.items()}
    tensors |= {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("encoder.")}
    bert = dataclasses.replace(model.config, architectures=[BertModel.__name__]).to_dict()
    for stale in ("dtype", "torch_dtype"):
        bert.pop(stale, None)
    layer = {theirs: bert.pop(ours) for theirs, ours in _ARGUMENTS.items()}
    settings = {
        "README": README,
        "layer": {**layer, "batch_first": True, **_FIXED},
        "num_layers": bert.pop("num_hidden_layers"),
        "attention_dropout": bert.pop("attention_probs_dropout_prob"),
        "bert": bert,
    }
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with updated_folder(folder, (WEIGHTS, SETTINGS), overwrite=overwrite) as stage:
        try:
            save_file(tensors, stage / WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:  # how this library reports a full disk
            raise OSError(str(error)) from error
        write_json(stage / SETTINGS, settings)


def load_torch_encoder(folder: str | Path) -> BertModel:
    """Load what `save_torch_encoder` wrote, in eval mode; with a pooler where the file holds one.

    Raises:
        CheckpointError: a missing or damaged file; a key that is missing, unknown or of the wrong shape; something that
            BERT cannot hold, such as `norm_first`.
        ConfigError: a setting that no model can be built from.
    """
    path = Path(folder)
    config = _read_config(inside(path, SETTINGS))
    file = inside(path, WEIGHTS)
    if not file.is_file():
        raise CheckpointError(f"{path}: holds no {WEIGHTS}")
    check_content(file)
    try:
        with safe_open(file, framework="pt") as tensors:
            names = set(tensors.keys())
            with torch.device("meta"):
                model = BertModel(config, add_pooling_layer=any(name.startswith("pooler.") for name in names))
            expected = {f"encoder.{name}": tensor for name, tensor in _empty(config).state_dict().items()}
            expected |= {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("encoder.")}
            _check_keys(str(file), names, expected)
            # All shapes before the first tensor is read.
            for name, like in expected.items():
                shape = tuple(tensors.get_slice(name).get_shape())
                if shape != tuple(like.shape):
                    raise CheckpointError(f"{file}: {name} has the shape {shape}, expected {tuple(like.shape)}")
            state = {name: _number(tensors.get_tensor(name), like, name, file) for name, like in expected.items()}
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{file}: not readable as safetensors: {error}") from None
    layers = {name.removeprefix("encoder."): state.pop(name) for name in list(state) if name.startswith("encoder.")}
    ours = _bert_state(layers, config.num_hidden_layers)
    model.load_state_dict({**state, **{f"encoder.{name}": tensor for name, tensor in ours.items()}}, assign=True)
    return model.eval()


def _number(tensor: Tensor, like: Tensor, name: str, file: Path) -> Tensor:
    """Return a tensor of a file in the model's own dtype.

    Raises:
        CheckpointError: its numbers are no floats, or not finite.
    """
    if not tensor.is_floating_point():
        raise CheckpointError(f"{file}: {name} holds {tensor.dtype}, expected floats")
    tensor = tensor.to(like.dtype)
    if not all(math.isfinite(float(end)) for end in tensor.aminmax()):
        raise CheckpointError(f"{file}: {name} holds numbers that are not finite (NaN or infinity)")
    return tensor


# What does not fit


def _check_config(config: BertConfig, where: str = "") -> None:
    """Refuse what a torch encoder cannot hold, by name."""
    cannot = None
    if config.position_embedding_type != "absolute":
        cannot = f"relative positions (position_embedding_type {config.position_embedding_type!r})"
    elif config.pruned_heads:
        cannot = f"pruned heads {config.pruned_heads}"
    elif config.add_cross_attention:
        cannot = "cross-attention (add_cross_attention)"
    elif config.is_decoder:
        cannot = "a decoder (is_decoder), whose layers hide later tokens by themselves"
    elif not config.num_hidden_layers:
        cannot = "no layers (num_hidden_layers 0)"
    if cannot:
        raise CheckpointError(f"{where}torch.nn.TransformerEncoder cannot hold {cannot}")


def _checked(encoder: BertEncoder, config: BertConfig, twin: nn.TransformerEncoder) -> dict[str, Tensor]:
    """Return the weights of `encoder` under torch's names, or refuse it by name.

    Args:
        encoder: BERT's layers.
        config: their settings.
        twin: of that config, for the shapes.
    """
    if len(encoder.layer) != config.num_hidden_layers:
        raise CheckpointError(
            f"the encoder has {len(encoder.layer)} layers, but its config counts {config.num_hidden_layers}"
        )
    for index, layer in enumerate(encoder.layer):
        where = f"layer.{index}"
        if type(layer) is not BertLayer:
            raise CheckpointError(f"{where} is a {type(layer).__name__}, expected a BertLayer")
        attention = layer.attention
        # Heads may have been cut out of a layer by itself, where the config does not hear of it.
        _check_config(
            dataclasses.replace(
                config,
                pruned_heads={index: sorted(attention.pruned_heads)},
                position_embedding_type=attention.self.position_embedding_type,
            ),
            f"{where}: ",
        )
        if attention.self.num_attention_heads != config.num_attention_heads:
            raise CheckpointError(
                f"{where} has {attention.self.num_attention_heads} heads, but its config counts "
                f"{config.num_attention_heads}"
            )
        _check_keys(where, layer.state_dict(), _BERT_KEYS)
    state = _torch_state(encoder)
    for name, like in twin.state_dict().items():
        if state[name].shape != like.shape:
            raise CheckpointError(
                f"{name} has the shape {tuple(state[name].shape)}, but by the config it is {tuple(like.shape)}"
            )
    return state


def _settings_of(layer: nn.Module, where: str) -> dict[str, Any]:
    """Read off a layer of torch what a config says; refuse what it cannot say."""
    # A subclass computes something else.
    if type(layer) is not nn.TransformerEncoderLayer:
        raise CheckpointError(f"{where} is a {type(layer).__name__}, expected a torch.nn.TransformerEncoderLayer")
    cannot = None
    if layer.norm_first:
        cannot = "norm_first=True; BERT normalizes behind each part"
    elif layer.linear1.bias is None:
        cannot = "bias=False; BERT's projections and norms have biases"
    elif layer.self_attn.add_zero_attn:
        cannot = "add_zero_attn=True"
    elif layer.norm1.eps != layer.norm2.eps:
        cannot = f"two values of layer_norm_eps, {layer.norm1.eps} and {layer.norm2.eps}"
    elif layer.dropout1.p != layer.dropout2.p:
        cannot = f"two rates of dropout, {layer.dropout1.p} behind attention and {layer.dropout2.p} at the end"
    if cannot:
        raise CheckpointError(f"{where} has {cannot}")
    # Weights of an activation of its own are among what is refused here.
    _check_keys(where, layer.state_dict(), _TORCH_KEYS)
    return {
        "hidden_size": layer.self_attn.embed_dim,
        "num_attention_heads": layer.self_attn.num_heads,
        "intermediate_size": layer.linear1.out_features,
        "hidden_act": _named(layer.activation),
        "hidden_dropout_prob": layer.dropout1.p,
        "attention_probs_dropout_prob": layer.self_attn.dropout,
        "layer_norm_eps": layer.norm1.eps,
    }


def _check_same(first: dict[str, Any], other: dict[str, Any], where: str) -> None:
    """Refuse a layer whose settings are not those of the first one."""
    for name, value in first.items():
        one, two = value, other[name]
        if name == "hidden_act" and callable(one) and callable(two) and one is not two:
            # Torch copies an activation for each layer, and copies need not be equal by `==`: what counts is what
            # they compute.
            probe = torch.linspace(-4.0, 4.0, first["intermediate_size"])[None]
            with torch.no_grad():
                one, two = one(probe).tolist(), two(probe.clone()).tolist()
        if one != two:
            raise CheckpointError(f"{where} differs from layers.0: {name} is {other[name]}, there {value}")


def _check_keys(where: str, found: Iterable[str], expected: Iterable[str]) -> None:
    """Refuse names of tensors that are missing or too many."""
    found, expected = set(found), set(expected)
    for name in sorted(expected - found):
        raise CheckpointError(f"{where}: {name} is missing")
    for name in sorted(found - expected):
        raise CheckpointError(f"{where}: {name} has no place here")


# Weights and settings, from one to the other


def _empty(config: BertConfig) -> nn.TransformerEncoder:
    """Return torch's encoder for a config, without memory."""
    _check_config(config)
    layer = nn.TransformerEncoderLayer(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        dropout=config.hidden_dropout_prob,
        activation=_for_torch(config.hidden_act),
        layer_norm_eps=config.layer_norm_eps,
        batch_first=True,
        device="meta",
    )
    # One argument sets all rates; attention has its own.
    layer.self_attn.dropout = config.attention_probs_dropout_prob
    return nn.TransformerEncoder(layer, config.num_hidden_layers, enable_nested_tensor=False)


def _for_torch(act: Activation) -> Callable[[Tensor], Tensor]:
    # By these two functions torch knows what its fast path computes. It takes any nn.GELU for the exact form, the tanh
    # form too (torch 2.13), so that one goes over as a module of ours, with which the fast path is not taken.
    if act == "gelu":
        return F.gelu
    if act == "relu":
        return F.relu
    if isinstance(act, nn.GELU) and act.approximate == "tanh":
        return ACT2FN["gelu_new"]
    return activation(act)


def _named(act: Callable[[Tensor], Tensor]) -> Activation:
    """Return the name that a function has in a config, or the function."""
    functions: tuple[tuple[Any, HiddenAct], ...] = (
        (F.relu, "relu"),
        (torch.relu, "relu"),
        (F.gelu, "gelu"),
        (F.silu, "silu"),
    )
    for function, name in functions:
        if act is function:
            return name
    if type(act) is nn.GELU:
        return "gelu_new" if act.approximate == "tanh" else "gelu"
    modules: dict[type, HiddenAct] = {
        nn.ReLU: "relu",
        nn.SiLU: "silu",
        GELUActivation: "gelu",
        NewGELUActivation: "gelu_new",
    }
    return modules.get(type(act), act)


def _torch_state(encoder: BertEncoder) -> dict[str, Tensor]:
    """Copy BERT's weights under torch's names."""
    state: dict[str, Tensor] = {}
    for index, layer in enumerate(encoder.layer):
        given = layer.state_dict()
        for kind in _KINDS:
            state[f"layers.{index}.self_attn.in_proj_{kind}"] = torch.cat([given[f"{name}.{kind}"] for name in _JOINED])
            for theirs, ours in _SAME.items():
                state[f"layers.{index}.{theirs}.{kind}"] = given[f"{ours}.{kind}"].clone()
    return state


def _bert_state(given: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Copy torch's weights under BERT's names."""
    state: dict[str, Tensor] = {}
    for index in range(layers):
        for kind in _KINDS:
            parts = given[f"layers.{index}.self_attn.in_proj_{kind}"].chunk(3)
            for ours, part in zip(_JOINED, parts, strict=True):
                state[f"layer.{index}.{ours}.{kind}"] = part.clone()
            for theirs, ours in _SAME.items():
                state[f"layer.{index}.{ours}.{kind}"] = given[f"layers.{index}.{theirs}.{kind}"].clone()
    return state


def _read_config(file: Path) -> BertConfig:
    """Make the config out of `torch_encoder.json`."""
    settings = read_json(file, most=LARGEST_SETTINGS)
    for name in ("layer", "num_layers", "attention_dropout", "bert"):
        if name not in settings:
            raise CheckpointError(f"{file}: {name} is missing")
    for name in ("layer", "bert"):
        if not isinstance(settings[name], dict):
            raise CheckpointError(f"{file}: {name} is {settings[name]!r}, expected an object")
    layer, bert = cast("dict[str, Any]", settings["layer"]), cast("dict[str, Any]", settings["bert"])
    _check_keys(f"{file}: layer", layer, {*_ARGUMENTS, "batch_first", *_FIXED})
    for name, value in _FIXED.items():
        if layer[name] is not value:
            raise CheckpointError(f"{file}: layer: {name} is {layer[name]!r}; a BERT has {value!r}")
    named = {ours: layer[theirs] for theirs, ours in _ARGUMENTS.items()}
    sizes = {
        "num_hidden_layers": settings["num_layers"],
        "attention_probs_dropout_prob": settings["attention_dropout"],
    }
    try:
        config = BertConfig.from_dict({**bert, **named, **sizes})
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    _check_config(config, f"{file}: ")
    return config


README: Final = '''\
# A BERT in the form of torch.nn.TransformerEncoder. This text is a Python program that builds and runs it with torch,
# json and safetensors alone; run it in the folder of this file:
#   python -c 'import json; exec(json.load(open("torch_encoder.json", encoding="utf-8"))["README"])'
# "layer" holds the arguments of torch.nn.TransformerEncoderLayer, "num_layers" is that of torch.nn.TransformerEncoder,
# and "bert" holds what is left of the BERT's config.json. In training, torch's layers have one dropout that BERT has
# not: between the activation and linear2. Set encoder.layers[i].dropout.p = 0 to train as BERT does.
import json

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

with open("torch_encoder.json", encoding="utf-8") as file:
    settings = json.load(file)
tensors = load_file("torch_encoder.safetensors")


def gelu_new(values):
    return F.gelu(values, approximate="tanh")  # as a function: torch's fast path takes any nn.GELU for the exact form


# torch knows "relu" and "gelu" by name.
layer = dict(settings["layer"])
layer["activation"] = {"gelu_new": gelu_new, "silu": F.silu}.get(layer["activation"], layer["activation"])
encoder = torch.nn.TransformerEncoder(
    torch.nn.TransformerEncoderLayer(**layer), settings["num_layers"], enable_nested_tensor=False
)
for each in encoder.layers:
    each.self_attn.dropout = settings["attention_dropout"]
encoder.load_state_dict(
    {name[len("encoder.") :]: tensor for name, tensor in tensors.items() if name.startswith("encoder.")}, assign=True
)
encoder.eval()


def encode(input_ids, token_type_ids, attention_mask):
    """Return the last states (B, S, H) of ids, segments and mask (1 at real tokens), each (B, S); eval mode."""
    words, positions, types, weight, bias = (
        tensors["embeddings." + name]
        for name in (
            "word_embeddings.weight",
            "position_embeddings.weight",
            "token_type_embeddings.weight",
            "LayerNorm.weight",
            "LayerNorm.bias",
        )
    )
    embedded = words[input_ids] + types[token_type_ids] + positions[: input_ids.shape[1]]
    embedded = F.layer_norm(embedded, weight.shape, weight, bias, layer["layer_norm_eps"])
    return encoder(embedded, src_key_padding_mask=attention_mask == 0)


def pool(states):
    """Return the pooler's output (B, H), for a model that has one."""
    return torch.tanh(F.linear(states[:, 0], tensors["pooler.dense.weight"], tensors["pooler.dense.bias"]))
'''
