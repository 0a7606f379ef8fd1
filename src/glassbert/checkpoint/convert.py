"""From one form of model folder to another."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any, Final, Literal, get_args

from glassbert.checkpoint.folder import LoadingInfo, load
from glassbert.checkpoint.hub import Hub, local_folder
from glassbert.checkpoint.place import inside
from glassbert.checkpoint.saving import save_model
from glassbert.checkpoint.tensorflow import find_checkpoint, save_tensorflow
from glassbert.checkpoint.torch_encoder import SETTINGS, load_torch_encoder, save_torch_encoder
from glassbert.errors import CheckpointError, ConfigError
from glassbert.files import new_folder
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel

Form = Literal["hf", "hf-bin", "tf", "torch-encoder"]

# What goes over as it is. TensorFlow's and torch's folders keep the vocabulary alone.
_TOKENIZER: Final = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: Form,
    overwrite: bool = False,
    zero_pruned_heads: bool = False,
    **settings: Any,
) -> BertPreTrainedModel:
    """Read a model in any form and write it in another; the tokenizer's files go along.

    Args:
        source: what `glassbert.load` takes, or a folder of `torch-encoder` form.
        target: a new folder.
        to: "hf": config.json and model.safetensors; "hf-bin": pytorch_model.bin in place of it, as transformers 4.4.2
            has it; "tf": Google's TensorFlow checkpoint; "torch-encoder": `torch.nn.TransformerEncoder` with embeddings
            and pooler, which torch alone can build.
        overwrite: whether `target` may be replaced.
        zero_pruned_heads: write pruned heads as zeros ("hf" and "hf-bin").
        settings: those of `glassbert.load`, such as `hidden_act="gelu_new"` for the tanh form of Google's code.

    Returns:
        the model.

    Raises:
        CheckpointError: what cannot be read, or what the other form cannot hold, by name.
        ConfigError: a form that does not exist.
        OutputExistsError: `target` holds something and `overwrite` is false.
        SaveError: the disk refused a write.
    """
    if to not in get_args(Form):
        raise ConfigError(f"to is {to!r}, expected one of {', '.join(get_args(Form))}")
    if zero_pruned_heads and not to.startswith("hf"):
        raise ConfigError(f"pruned heads are written as zeros in the forms hf and hf-bin, not in {to}")
    hub: Hub = {
        "revision": settings.get("revision"),
        "token": settings.get("token"),
        "cache_dir": settings.get("cache_dir"),
        "local_files_only": settings.get("local_files_only", False),
    }
    folder = _folder(source, hub)
    with new_folder(target, overwrite=overwrite) as stage:
        model: BertPreTrainedModel
        if (folder / SETTINGS).exists():
            if settings:
                raise CheckpointError(f"{folder}: a torch encoder takes no settings: {', '.join(settings)}")
            model = load_torch_encoder(folder)
        else:
            model = load(source, **settings)
        if to == "tf":
            save_tensorflow(model, stage)
        elif to == "torch-encoder":
            model = _bare(model, source)
            save_torch_encoder(model, stage)
        else:
            save_model(model, stage, safe_serialization=to == "hf", zero_pruned_heads=zero_pruned_heads)
        for name in _TOKENIZER if to.startswith("hf") else _TOKENIZER[:1]:
            if inside(folder, name).is_file():
                shutil.copyfile(folder / name, stage / name)
    return model


def _bare(model: BertPreTrainedModel, source: str | Path) -> BertModel:
    """Return the BERT of a model; what it loses is among `loading_info.ignored`."""
    bert = model.base_model
    if not isinstance(bert, BertModel):
        raise CheckpointError(f"{source}: is a {type(model).__name__} without a BertModel")
    if bert is not model:
        kept = {f"{model.base_model_prefix}.{name}" for name in bert.state_dict()}
        head = tuple(name for name in model.state_dict() if name not in kept)
        info = model.loading_info or LoadingInfo()
        bert.loading_info = dataclasses.replace(info, ignored=(*head, *info.ignored))
    return bert


def _folder(source: str | Path, hub: Hub) -> Path:
    """Return the folder with the tokenizer's files."""
    if Path(source).is_dir():
        return Path(source)
    prefix = find_checkpoint(source)
    return prefix.parent if prefix is not None else local_folder(source, parts="tokenizer", **hub)
