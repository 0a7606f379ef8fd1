"""Model folders in the layout of Hugging Face: config, weights, vocabulary and the tokenizer's settings."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from glassbert.checkpoint.keys import rename
from glassbert.errors import CheckpointError, ConfigError, VocabularyError
from glassbert.files import new_file, read_json, write_json
from glassbert.model.attention import AttentionBackend
from glassbert.model.base import BertPreTrainedModel, initialize_weights
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig
from glassbert.model.heads import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from glassbert.model.language import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertLMHeadModel,
)
from glassbert.model.sentence import SentenceEncoder
from glassbert.text.tokenizer import BertTokenizer
from glassbert.text.vocabulary import save_vocabulary

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
VOCABULARY: Final = "vocab.txt"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"

# The class that each name in `architectures` stands for.
MODEL_CLASSES: Final[dict[str, type[BertPreTrainedModel]]] = {
    model_class.__name__: model_class
    for model_class in (
        BertModel,
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
}

ModelT = TypeVar("ModelT", bound=BertPreTrainedModel)
TokenizerT = TypeVar("TokenizerT", bound=BertTokenizer)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadingInfo:
    """What loading found, beside the tensors that had their place.

    Attributes:
        fresh: parameters that were not taken from the file and have random values (a new head).
        ignored: keys of the file that the class has no use for, and names itself.
        renamed: file key → parameter, where the two differ.
    """

    fresh: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    renamed: dict[str, str] = dataclasses.field(default_factory=dict)


def model_folder(folder: str | Path) -> Path:
    """Return `folder` as a path.

    Raises:
        CheckpointError: there is no such folder, or it holds no `config.json`.
    """
    path = Path(folder)
    try:
        known, there = path.is_dir(), path.exists()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from None
    if not known:
        raise CheckpointError(f"{path}: " + ("is a file, expected a model folder" if there else "no such folder"))
    if not (path / CONFIG).is_file():
        raise CheckpointError(f"{path}: holds no {CONFIG}, so it is no model folder")
    return path


def load(folder: str | Path) -> BertPreTrainedModel:
    """Load a model with the class that its `config.json` names (`architectures`), else `BertModel`.

    Raises:
        CheckpointError: no model folder, a class that glassbert does not have, or weights that do not fit.
        ConfigError: `config.json` holds a value that no model can be built from.
    """
    path = model_folder(folder)
    config = BertConfig.from_pretrained(path)
    name = config.architectures[0] if config.architectures else BertModel.__name__
    if name not in MODEL_CLASSES:
        known = ", ".join(MODEL_CLASSES)
        raise CheckpointError(f"{path / CONFIG}: architectures names {name!r}; glassbert.load knows {known}")
    return load_model(MODEL_CLASSES[name], path, config=config)


def load_model(
    model_class: type[ModelT],
    folder: str | Path,
    *,
    config: BertConfig | None = None,
    fresh: Sequence[str] = (),
    ignore: Sequence[str] = (),
    attention_backend: AttentionBackend | None = None,
    **settings: Any,
) -> ModelT:
    """Load `model_class` from a model folder, in eval mode.

    Args:
        model_class: one of ours, or a subclass of `BertPreTrainedModel` with `__init__(self, config)`.
        folder: holds `config.json` and `model.safetensors`.
        config: in place of the folder's own, for example with other labels.
        fresh: patterns (`re.search`) of parameters that get new random values whatever the file holds.
        ignore: patterns of keys in the file that may be left out.
        attention_backend: see `BertPreTrainedModel.attention_backend`; None leaves the model's own choice.
        settings: further arguments of the class's `__init__`, such as `add_pooling_layer`, and fields of the config
            that shall differ from the file, such as `num_labels`.

    Raises:
        CheckpointError: a missing file; a key that is missing, unexpected or of the wrong shape, unless the class
            names it (`_keys_to_ignore_on_load_missing`, `_keys_to_ignore_on_load_unexpected`) or the caller.
        ConfigError: `config.json` holds a value that no model can be built from.
        TypeError: a setting that neither the class nor the config has.
    """
    path = model_folder(folder)
    arguments, changes = _sorted_settings(model_class, settings)
    config = BertConfig.from_pretrained(path) if config is None else config
    if changes.get("num_labels", config.num_labels) != config.num_labels:
        changes.setdefault("id2label", {})  # the file's names are those of other labels
    config = dataclasses.replace(config, **changes) if changes else config
    weights = path / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{path}: holds no {WEIGHTS}")
    # Our own classes without memory and random numbers: the tensors come from the file. Any other may compute what it
    # likes when it is built, so it has to be built for real.
    with torch.device("meta") if model_class in MODEL_CLASSES.values() else contextlib.nullcontext():
        model = model_class(config, **arguments)
    model.loading_info = _fill(model, weights, fresh, ignore)
    if attention_backend is not None:
        model.attention_backend = attention_backend
    return model.eval()


def _sorted_settings(
    model_class: type[BertPreTrainedModel], settings: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell arguments of the class from fields of the config.

    Raises:
        TypeError: a name that is neither, with the nearest that is.
    """
    own = set(list(inspect.signature(model_class.__init__).parameters)[2:])  # after self and config
    fields = {field.name for field in dataclasses.fields(BertConfig)} - {"extra"}
    for name in settings:
        if name not in own | fields:
            near = difflib.get_close_matches(name, own | fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{model_class.__name__}.from_pretrained() has no argument {name!r}{hint}")
    arguments = {name: value for name, value in settings.items() if name in own}
    changes = {name: value for name, value in settings.items() if name not in own}
    return arguments, changes


def _fill(model: BertPreTrainedModel, file: Path, fresh: Sequence[str], ignore: Sequence[str] = ()) -> LoadingInfo:
    """Put the tensors of `file` into `model`, and fresh values where the class allows them to be missing."""
    expected = model.state_dict()
    state: dict[str, Tensor] = {}
    ignored, renamed = [], {}
    try:
        with safe_open(file, framework="pt") as tensors:
            for key, name in rename(tensors.keys(), set(expected), model.base_model_prefix).items():
                if name not in expected:
                    if not _matches(name, (*ignore, *model._keys_to_ignore_on_load_unexpected)):
                        raise CheckpointError(
                            f"{file}: {key} has no place in {type(model).__name__}; "
                            f"ignore=[{_pattern(name)!r}] leaves it out"
                        )
                    ignored.append(key)
                    continue
                if name in state:
                    raise CheckpointError(f"{file}: {key} and another key both stand for {name}")
                if _matches(name, fresh):
                    continue
                shape = tuple(tensors.get_slice(key).get_shape())
                if shape != tuple(expected[name].shape):
                    raise CheckpointError(
                        f"{file}: {key} has the shape {shape}, expected {tuple(expected[name].shape)}; "
                        f"fresh=[{_pattern(name)!r}] gives it new values"
                    )
                state[name] = tensors.get_tensor(key).to(expected[name].dtype)
                if key != name:
                    renamed[key] = name
    except SafetensorError as error:
        raise CheckpointError(f"{file}: not readable as safetensors: {error}") from None
    _share(model, state, file)
    missing = tuple(name for name in expected if name not in state)
    for name in missing:
        if not _matches(name, (*fresh, *model._keys_to_ignore_on_load_missing)):
            raise CheckpointError(
                f"{file}: {name} of {type(model).__name__} is missing; fresh=[{_pattern(name)!r}] gives it new values"
            )
    # Fresh values first: what a module has beside them comes from the file.
    _initialize(model, missing)
    model.load_state_dict(state, strict=False, assign=True)
    return LoadingInfo(fresh=missing, ignored=tuple(ignored), renamed=renamed)


def _shared_names(model: BertPreTrainedModel) -> list[list[str]]:
    """Group the names under which one and the same tensor stands in the model's state."""
    groups: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _share(model: BertPreTrainedModel, state: dict[str, Tensor], file: Path) -> None:
    """Give a tensor that is tied to another one that other's value; the file may hold either, or both.

    Raises:
        CheckpointError: it holds both, and they differ.
    """
    for names in _shared_names(model):
        there = [name for name in names if name in state]
        for name in there[1:]:
            if not torch.equal(state[there[0]], state[name]):
                raise CheckpointError(
                    f"{file}: {name} differs from {there[0]}, to which the config ties it; "
                    "with tie_word_embeddings false in config.json each has its own"
                )
        if there:
            state.update(dict.fromkeys(names, state[there[0]]))


def _pattern(name: str) -> str:
    """Return a pattern for the part of a model that `name` belongs to."""
    return "^" + ".".join(name.split(".")[: 2 if name.startswith("bert.") else 1])


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def _initialize(model: BertPreTrainedModel, names: Sequence[str]) -> None:
    """Give memory and fresh values to those of `names` that were built without."""
    owners: dict[str, list[str]] = {}
    for name in names:
        owner, _, last = name.rpartition(".")
        owners.setdefault(owner, []).append(last)
    for owner, lasts in owners.items():
        module = model.get_submodule(owner)
        without = [last for last in lasts if getattr(module, last).is_meta]
        for last in without:
            parameter = getattr(module, last)
            setattr(module, last, nn.Parameter(torch.empty_like(parameter, device="cpu"), parameter.requires_grad))
        if without:
            initialize_weights(module, model.config.initializer_range)


def save_model(model: BertPreTrainedModel, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write `config.json` and `model.safetensors` into `folder`, which is created where it is missing.

    Raises:
        OutputExistsError: the folder holds a model already and `overwrite` is false.
        SaveError: the disk refused a write; files that stood there are as they were.
    """
    path = Path(folder)
    # A tensor with several names is written once, under the name that loading gives to all of them.
    again = {name for names in _shared_names(model) for name in names[1:]}
    state = {
        name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items() if name not in again
    }
    base = model.base_model
    # Heads may have been cut out of a layer by itself, where the config does not hear of it.
    pruned = base.pruned_heads() if isinstance(base, BertModel) else model.config.pruned_heads
    config = dataclasses.replace(model.config, architectures=[type(model).__name__], pruned_heads=pruned).to_dict()
    with new_file(path / WEIGHTS, overwrite=overwrite) as part:
        try:
            save_file(state, part, metadata={"format": "pt"})
        except SafetensorError as error:  # how this library reports a full disk
            raise OSError(str(error)) from error
    with new_file(path / CONFIG, overwrite=overwrite) as part:
        write_json(part, config)


def save_tokenizer(tokenizer: BertTokenizer, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write `vocab.txt` and `tokenizer_config.json` into `folder`, which is created where it is missing.

    Raises:
        OutputExistsError: the folder holds a vocabulary already and `overwrite` is false.
        SaveError: the disk refused a write.
        VocabularyError: the ids have gaps.
    """
    path = Path(folder)
    settings = {
        "tokenizer_class": "BertTokenizer",
        **{name: getattr(tokenizer, name) for name in _TOKENIZER_SETTINGS},
    }
    if tokenizer.basic_tokenizer.never_split:
        settings["never_split"] = sorted(tokenizer.basic_tokenizer.never_split)
    with new_file(path / VOCABULARY, overwrite=overwrite) as part:
        save_vocabulary(tokenizer.vocab, part)
    with new_file(path / TOKENIZER_CONFIG, overwrite=overwrite) as part:
        write_json(part, settings)


_TOKENIZER_SETTINGS: Final = (
    "do_lower_case",
    "tokenize_chinese_chars",
    "strip_accents",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "model_max_length",
    "padding_side",
)


def load_tokenizer(tokenizer_class: type[TokenizerT], folder: str | Path, **settings: Any) -> TokenizerT:
    """Load a tokenizer from `vocab.txt` and, where it is there, `tokenizer_config.json`.

    `model_max_length` is at most the positions that `config.json` counts.

    Args:
        tokenizer_class: `BertTokenizer` or a subclass.
        folder: the model folder.
        settings: in place of those in the file.

    Raises:
        CheckpointError: no such folder, no `vocab.txt`, or a config file that is no JSON object.
        VocabularyError: the vocabulary cannot serve.
        TypeError: a setting that the tokenizer does not have.
    """
    path = Path(folder)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such folder")
    if not (path / VOCABULARY).is_file():
        raise CheckpointError(f"{path}: holds no {VOCABULARY}")
    stored = read_json(path / TOKENIZER_CONFIG) if (path / TOKENIZER_CONFIG).is_file() else {}
    chosen = _tokenizer_settings(stored, path / TOKENIZER_CONFIG)
    if (path / CONFIG).is_file():
        positions = BertConfig.from_pretrained(path).max_position_embeddings
        chosen["model_max_length"] = int(min(chosen.get("model_max_length", positions), positions))
    chosen.update(settings)
    try:
        return tokenizer_class(path / VOCABULARY, **chosen)
    except VocabularyError as error:
        where = "" if str(path / VOCABULARY) in str(error) else f"{path / VOCABULARY}: "
        raise VocabularyError(f"{where}{error}") from None


def _tokenizer_settings(stored: dict[str, Any], file: Path) -> dict[str, Any]:
    """Take the settings that we know out of a file, checked; null means what leaving the key out means."""
    chosen = {}
    for name in (*_TOKENIZER_SETTINGS, "never_split"):
        value = _plain(stored.get(name))
        if value is None:
            continue
        if name == "model_max_length":
            good, expected = type(value) in (int, float) and value >= 3, "a number from 3 on"
        elif name in ("do_lower_case", "tokenize_chinese_chars", "strip_accents"):
            good, expected = isinstance(value, bool), "true or false"
        elif name == "never_split":
            good, expected = isinstance(value, list) and all(isinstance(word, str) for word in value), "a list of words"
        elif name == "padding_side":
            good, expected = value in ("right", "left"), "'right' or 'left'"
        else:
            good, expected = isinstance(value, str) and bool(value), "a token"
        if not good:
            raise ConfigError(f"{file}: {name} is {value!r}, expected {expected}")
        chosen[name] = value
    return chosen


def _plain(value: Any) -> Any:
    # Newer files describe a special token by an object with its text under "content".
    return value["content"] if isinstance(value, dict) and "content" in value else value


def check_vocabulary(tokenizer: BertTokenizer, config: BertConfig) -> None:
    """Refuse a tokenizer whose ids the model has no rows for.

    Raises:
        ConfigError: by size.
    """
    if len(tokenizer) > config.vocab_size:
        raise ConfigError(f"the vocabulary has {len(tokenizer)} tokens, but the model has rows for {config.vocab_size}")
