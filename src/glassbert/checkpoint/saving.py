"""Writing model folders in the layout of Hugging Face: config and weights."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from glassbert.checkpoint.hub import push_to_hub
from glassbert.checkpoint.keys import shared_names
from glassbert.checkpoint.place import CONFIG
from glassbert.checkpoint.sentence_folder import refusal, write_sentence_folder
from glassbert.checkpoint.weights import PYTORCH, SAFETENSORS
from glassbert.files import updated_folder, write_json
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig
from glassbert.model.sentence import SentenceEncoder


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
    layer, absolute positions, no pruned heads.

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
        SaveError: the disk refused a write; what stood there still stands.
    """
    base = model.base_model
    # Heads may have been cut out of a layer by itself, where the config does not hear of it.
    pruned = base.pruned_heads() if isinstance(base, BertModel) else model.config.pruned_heads
    kept = {} if zero_pruned_heads else pruned
    output = model.get_output_embeddings()
    # A projection that was given weights of its own is not tied, whatever the config wished.
    tied = output is None or output.weight is model.get_input_embeddings().weight
    config = dataclasses.replace(
        model.config,
        architectures=[type(model).__name__],
        pruned_heads=kept,
        tie_word_embeddings=model.config.tie_word_embeddings and tied,
    ).to_dict()
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    if zero_pruned_heads and pruned:
        state |= _whole_heads(state, pruned, model.config.num_attention_heads)
    again = {name for names in shared_names(model) for name in names[1:]} if safe_serialization else set()
    state = {name: tensor.contiguous().cpu() for name, tensor in state.items() if name not in again}
    with updated_folder(folder, (CONFIG, SAFETENSORS, PYTORCH), overwrite=overwrite) as stage:
        if safe_serialization:
            try:
                save_file(state, stage / SAFETENSORS, metadata={"format": "pt"})
            except SafetensorError as error:  # how this library reports a full disk
                raise OSError(str(error)) from error
        else:
            try:
                torch.save(state, stage / PYTORCH)
            except RuntimeError as error:  # how torch's writer does
                raise OSError(str(error)) from error
        write_json(stage / CONFIG, config)
    if isinstance(model, SentenceEncoder) and refusal(model, BertConfig.from_dict(config)) is None:
        write_sentence_folder(
            model,
            folder,
            max_length=model.max_length,
            prompts=model.prompts,
            default_prompt=model.default_prompt,
            overwrite=overwrite,
        )


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
