"""Writing model folders in the layout of Hugging Face: config and weights."""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from glassbert.checkpoint.filling import most_numbers, plain_state, without_memory
from glassbert.checkpoint.folder import MODEL_CLASSES, no_argument
from glassbert.checkpoint.hub import push_to_hub
from glassbert.checkpoint.keys import shared_names
from glassbert.checkpoint.place import CONFIG, MODULES
from glassbert.checkpoint.sentence_folder import LENGTHS, SETTINGS, refusal, write_sentence_folder
from glassbert.checkpoint.weights import PYTORCH, SAFETENSORS
from glassbert.errors import SaveError
from glassbert.files import updated_folder, write_json
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig
from glassbert.model.sentence import SentenceEncoder

# What a model's folder holds, and what goes when another model takes its place there.
_PARTS: Final = (
    CONFIG,
    SAFETENSORS,
    PYTORCH,
    f"{SAFETENSORS}.index.json",
    f"{PYTORCH}.index.json",
    "model-*-of-*.safetensors",
    "pytorch_model-*-of-*.bin",
    MODULES,
    LENGTHS,
    SETTINGS,
    "[0-9]*_[A-Z]*/",
)

# Arguments of transformers' save_pretrained, and what does here what they are wanted for.
_ELSEWHERE: Final = {
    "max_shard_size": "one file is written, whatever its size; leave it out",
    "push_to_hub": "model.push_to_hub(repo) uploads a model",
    "repo_id": "model.push_to_hub(repo) uploads a model",
    "state_dict": "model.load_state_dict puts tensors into a model, which is then saved",
    "variant": "the files have one name each; save another variant in a folder of its own",
    "token": "nothing is uploaded; model.push_to_hub(repo, token=...) does that",
    "is_main_process": "call it in that process alone",
    "save_function": "safe_serialization chooses between safetensors and torch.save",
    "save_directory": "it is called folder here",
}


def save_pretrained(model: BertPreTrainedModel, folder: str | Path, **settings: Any) -> None:
    """Do what `save_model` does.

    Raises:
        TypeError: a setting that it does not have, with what to write in its place.
    """
    known = inspect.signature(save_model).parameters.keys() - {"model", "folder"}
    for name in settings:
        if name not in known:
            raise no_argument(f"{type(model).__name__}.save_pretrained", name, known, _ELSEWHERE)
    save_model(model, folder, **settings)


def save_model(
    model: BertPreTrainedModel,
    folder: str | Path,
    *,
    overwrite: bool = False,
    safe_serialization: bool = True,
    zero_pruned_heads: bool = False,
) -> None:
    """Write `config.json` and the weights into `folder`, whose other files stay; all at once or not at all.

    A `SentenceEncoder` also gets the files by which sentence-transformers loads it, where that has a form for it: one
    layer, absolute positions, no pruned heads. Whatever another model had in the folder (shards, an index, files of
    sentence-transformers) goes in the same step.

    Args:
        model: any of ours, or a subclass of your own.
        folder: created where it is missing.
        overwrite: whether a model that is there may be replaced.
        safe_serialization: True writes `model.safetensors`, where a tensor with several names stands once; False writes
            `pytorch_model.bin` with all names, as transformers 4.4.2 does.
        zero_pruned_heads: write pruned heads as zeros, which any library can load and which compute the same.

    Raises:
        OutputExistsError: the folder holds a model already and `overwrite` is false.
        ConfigError: the config holds a function, which no file can.
        SaveError: what could not be loaded again: numbers that are not finite, no numbers at all, another shape than
            the config says; or the disk refused a write. What stood there still stands.
    """
    config, pruned = _stored(model, zero_pruned_heads)
    state = plain_state(model)
    if zero_pruned_heads and pruned:
        state |= _whole_heads(state, pruned, model.config.num_attention_heads)
    _check_shapes(model, config, state)
    dtype = most_numbers(state.values())
    again = {name for names in shared_names(model) for name in names[1:]} if safe_serialization else set()
    state = _compact({name: tensor for name, tensor in state.items() if name not in again})
    with updated_folder(folder, _PARTS, overwrite=overwrite) as stage:
        if safe_serialization:
            try:
                save_file(state, stage / SAFETENSORS, metadata={"format": "pt"})
            except SafetensorError as error:  # how this library reports a full disk
                raise OSError(str(error)) from error
        else:
            with (stage / PYTORCH).open("wb") as stream:
                try:
                    torch.save(state, stream)
                except RuntimeError as error:  # how torch's writer does; what the system said stands behind it
                    said = error.__context__
                    raise said if isinstance(said, OSError) else OSError(str(error)) from error
        _write(model, config, dtype, stage)


def save_settings(model: BertPreTrainedModel, folder: Path) -> None:
    """Write what `save_model` writes beside the weights, for a program that was made of the model.

    Args:
        model: any of ours.
        folder: is there, and holds no model.

    Raises:
        ConfigError: the config holds a function, which no file can.
        OSError: the disk refused a write.
    """
    _write(model, _stored(model)[0], model.dtype, folder)


def _stored(model: BertPreTrainedModel, zero_pruned_heads: bool = False) -> tuple[BertConfig, dict[int, list[int]]]:
    """Return the config as it is written, and the heads that the model lacks."""
    base = model.base_model
    # Heads may have been cut out of a layer by itself, where the config does not hear of it.
    pruned = base.pruned_heads() if isinstance(base, BertModel) else model.config.pruned_heads
    output = model.get_output_embeddings()
    # A projection that was given weights of its own is not tied, whatever the config wished.
    tied = output is None or output.weight is model.get_input_embeddings().weight
    config = dataclasses.replace(
        model.config,
        architectures=[type(model).__name__],
        pruned_heads={} if zero_pruned_heads else pruned,
        tie_word_embeddings=model.config.tie_word_embeddings and tied,
    )
    return config, pruned


def _write(model: BertPreTrainedModel, config: BertConfig, dtype: torch.dtype, folder: Path) -> None:
    """Write the config and the files of sentence-transformers."""
    extra = {key: value for key, value in config.extra.items() if key != "torch_dtype"}
    extra["dtype"] = str(dtype).removeprefix("torch.")
    write_json(folder / CONFIG, dataclasses.replace(config, extra=extra).to_dict())
    if isinstance(model, SentenceEncoder) and refusal(model, config) is None:
        write_sentence_folder(
            model,
            folder,
            max_length=model.max_length,
            prompts=model.prompts,
            default_prompt=model.default_prompt,
            similarity=model.similarity,
            truncate_dim=model.truncate_dim,
            lower_case=model.lower_case,
        )


def _check_shapes(model: BertPreTrainedModel, config: BertConfig, state: dict[str, Tensor]) -> None:
    """Hold the weights against those of a model that is built from the config.

    Raises:
        SaveError: a shape differs, so that the folder could not be loaded.
    """
    # What a subclass of yours has beside its BERT is yours.
    ours = type(model) in MODEL_CLASSES.values()
    base = model if ours else model.base_model
    if type(base) not in MODEL_CLASSES.values():
        return
    start = "" if base is model else f"{model.base_model_prefix}."
    with without_memory():
        twin = type(base)(config)
    for name, like in twin.state_dict().items():
        tensor = state.get(start + name)
        if tensor is not None and tensor.shape != like.shape:
            raise SaveError(
                f"{start}{name} has the shape {tuple(tensor.shape)}, but by the config it is {tuple(like.shape)}; "
                "change config and weights together (resize_token_embeddings, prune_heads, num_labels)"
            )


def _compact(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU that have no numbers beside their own in memory; names of one tensor keep one."""
    copies: dict[Any, Tensor] = {}
    compact = {}
    for name, tensor in state.items():
        same = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if same not in copies:
            copy = tensor.contiguous().cpu()
            more = copy.untyped_storage().nbytes() > copy.numel() * copy.element_size()
            copies[same] = copy.clone() if more else copy
        compact[name] = copies[same]
    return compact


def push_saved(saved: Saves, repo: str, **settings: Any) -> str:
    """Upload what `saved.save_pretrained` writes; the settings and errors are those of `push_to_hub`."""
    with tempfile.TemporaryDirectory(prefix="glassbert-") as folder:
        saved.save_pretrained(folder)
        return push_to_hub(folder, repo, **settings)


class Saves(Protocol):
    """A model or a tokenizer."""

    def save_pretrained(self, folder: str | Path) -> Any:
        """Write files into `folder`."""


def _whole_heads(state: dict[str, Tensor], pruned: dict[int, list[int]], heads: int) -> dict[str, Tensor]:
    """Return the four weights of each pruned layer with zeros where heads were cut out.

    Such a head has the value 0 everywhere, and the columns that would read it are 0 as well.
    """
    whole = {}
    for layer, gone in pruned.items():
        stays = [head for head in range(heads) if head not in gone]
        for name, tensor in state.items():
            if f"encoder.layer.{layer}.attention." not in name:
                continue
            if ".attention.self." in name and "distance_embedding" not in name:
                whole[name] = _spread(tensor, stays, heads)
            elif name.endswith("attention.output.dense.weight"):
                whole[name] = _spread(tensor.T, stays, heads).T
    return whole


def _spread(rows: Tensor, stays: list[int], heads: int) -> Tensor:
    """(len(stays)·D, …) -> (heads·D, …), zeros at the heads that do not stay."""
    size = rows.shape[0] // len(stays)
    spread = rows.new_zeros(heads, size, *rows.shape[1:])
    spread[stays] = rows.unflatten(0, (len(stays), size))
    return spread.flatten(0, 1)
