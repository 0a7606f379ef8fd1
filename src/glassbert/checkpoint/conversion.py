"""From one form of model folder to another."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args

from glassbert.checkpoint.filling import LoadingInfo, without_memory
from glassbert.checkpoint.folder import find_source, load_source
from glassbert.checkpoint.hub import CARD, TOKENIZER, Hub
from glassbert.checkpoint.place import check_name, inside
from glassbert.checkpoint.saving import save_model
from glassbert.checkpoint.tensorflow import find_checkpoint, save_tensorflow
from glassbert.checkpoint.torch_encoder import SETTINGS, load_torch_encoder, save_torch_encoder
from glassbert.errors import CheckpointError, ConfigError
from glassbert.files import check_output, new_folder, reading
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel
from glassbert.model.sentence import SentenceEncoder

Form = Literal["hf", "hf-bin", "tf", "torch-encoder"]


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: Form,
    overwrite: bool = False,
    zero_pruned_heads: bool = False,
    **settings: Any,
) -> BertPreTrainedModel:
    """Read a model in any form and write it in another; the tokenizer's files go along, and the model card to "hf".

    Args:
        source: what `glassbert.load` takes, or a folder of `torch-encoder` form.
        target: a new folder.
        to: "hf": config.json and model.safetensors; "hf-bin": pytorch_model.bin in place of it, as transformers 4.4.2
            has it; "tf": Google's TensorFlow checkpoint; "torch-encoder": `torch.nn.TransformerEncoder` with embeddings
            and pooler, which torch alone can build.
        overwrite: whether a model folder that is there may be replaced, which is not that of `source`.
        zero_pruned_heads: write pruned heads as zeros ("hf" and "hf-bin").
        settings: those of `glassbert.load`, such as `hidden_act="gelu_new"` for the tanh form of Google's code, or
            `add_pooling_layer=False` for a `BertModel` without its pooler.

    Returns:
        the model.

    Raises:
        CheckpointError: what cannot be read, or what the other form cannot hold, by name.
        ConfigError: a form that does not exist.
        OutputExistsError: `target` holds something and `overwrite` is false, or what is not to be lost.
        SaveError: the disk refused a write.
    """
    if to not in get_args(Form):
        raise ConfigError(f"to is {to!r}, expected one of {', '.join(get_args(Form))}")
    if zero_pruned_heads and not to.startswith("hf"):
        raise ConfigError(f"pruned heads are written as zeros in the forms hf and hf-bin, not in {to}")
    check_name(source)
    with reading(source):
        local = Path(source).is_dir() or find_checkpoint(source) is not None
    # Whether a card that stands in the target is the source's is known when that is there.
    check_output(target, overwrite=overwrite, keep=[source] if local else [], again=[Path(target) / CARD])
    # Before anything is written, so that what cannot be read is told as that.
    with reading(source):
        model, files = _read(source, settings)
        files = [file for file in files if file.name != CARD or to.startswith("hf")]
        contents = {file.name: file.read_bytes() for file in files}
    with new_folder(target, overwrite=overwrite, again=files) as stage:
        if to == "tf":
            save_tensorflow(model, stage)
        elif to == "torch-encoder":
            model = _bare(model, source)
            save_torch_encoder(model, stage)
        else:
            save_model(model, stage, safe_serialization=to == "hf", zero_pruned_heads=zero_pruned_heads)
        for name, content in contents.items():
            (stage / name).write_bytes(content)
    return model


def _read(source: str | Path, settings: dict[str, Any]) -> tuple[BertPreTrainedModel, list[Path]]:
    """Load the model, and find the files that go along."""
    if (Path(source) / SETTINGS).exists():
        if settings:
            raise CheckpointError(f"{source}: a torch encoder takes no settings: {', '.join(settings)}")
        model: BertPreTrainedModel = _whole(load_torch_encoder(source))
        root = folder = Path(source)
    else:
        hub: Hub = {
            "revision": settings.get("revision"),
            "token": settings.get("token"),
            "cache_dir": settings.get("cache_dir"),
            "local_files_only": settings.get("local_files_only", False),
        }
        found = find_source(source, hub, sentence=True, parts="all")
        model = load_source(found, **{name: value for name, value in settings.items() if name not in hub})
        root, folder = found.root, found.folder
    files = [inside(folder, name) for name in TOKENIZER] + [inside(root, CARD)]
    return model, [file for file in files if file.is_file()]


def _whole(bert: BertModel) -> BertModel | SentenceEncoder:
    """Return the sentence encoder that a BERT was, which has no weights beside it, or the BERT."""
    if bert.pooler is not None or "sentence_encoder" not in bert.config.extra:
        return bert
    with without_memory():
        encoder = SentenceEncoder(bert.config)
    encoder.bert.load_state_dict(bert.state_dict(), assign=True)
    return encoder.eval()


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
