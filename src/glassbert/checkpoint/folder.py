"""Reading model folders in the layout of Hugging Face: config and weights."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import inspect
import re
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from glassbert.checkpoint.filling import as_device, as_dtype, as_patterns, check_sizes, fill, most_bytes, without_memory
from glassbert.checkpoint.hub import Hub, Parts, local_folder
from glassbert.checkpoint.place import CONFIG, TF_CONFIG, check_name, inside, model_folder
from glassbert.checkpoint.sentence_folder import SentenceFolder, read_sentence_folder
from glassbert.checkpoint.tensorflow import TensorFlowWeights, find_checkpoint, read_tf_config
from glassbert.checkpoint.weights import Weights, open_weights
from glassbert.errors import CheckpointError, ConfigError
from glassbert.files import fingerprint, reading
from glassbert.model.attention import AttentionBackend
from glassbert.model.base import BertPreTrainedModel
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
# What a model is, and files of such names that only tell how it was made.
_OF_MODEL: Final = re.compile(r"\.(json|txt|safetensors|bin|onnx|index|data-\d{5}-of-\d{5})$")
_OF_TRAINING: Final = ("training.json", "tuning.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What there is to load.

    Attributes:
        root: the folder that was named, where a model card stands.
        folder: holds config, weights and tokenizer.
        config: the config's file.
        checkpoint: the prefix of TensorFlow's files, where the weights are in these.
        sentence: what a folder of sentence-transformers says beside.
    """

    root: Path
    folder: Path
    config: Path
    checkpoint: Path | None = None
    sentence: SentenceFolder | None = None

    def read_config(self) -> BertConfig:
        """Read the config."""
        if self.checkpoint is None:
            config = BertConfig.from_json_file(self.config)
            if self.sentence is not None:
                config.extra.pop("sentence_encoder", None)  # modules.json and the files beside it say it all
            return config
        if not self.config.exists():
            raise CheckpointError(
                f"{self.checkpoint}: is a TensorFlow checkpoint, but {TF_CONFIG} is not beside it, which says its "
                "sizes; put that of its model there"
            )
        return read_tf_config(self.folder)

    def open(self, config: BertConfig) -> contextlib.AbstractContextManager[Weights]:
        """Open the weights of a model with this config."""
        if self.checkpoint is not None:
            return TensorFlowWeights(self.checkpoint)
        return open_weights(self.folder, most_bytes(config))


def find_source(name: str | Path, hub: Hub, *, sentence: bool, parts: Parts = "model") -> Source:
    """Find what `name` stands for: a folder, a TensorFlow checkpoint by its path, or a repo of the hub.

    Args:
        name: of the folder, the checkpoint or the repo.
        hub: settings for the hub.
        sentence: whether what a folder of sentence-transformers says beside the transformer is wanted.
        parts: what of a repo is needed.

    Raises:
        CheckpointError: it stands for nothing, or for something else.
    """
    check_name(name)
    with reading(name):
        prefix = None if Path(name).is_dir() else find_checkpoint(name)
        path = model_folder(local_folder(name, parts=parts, **hub)) if prefix is None else prefix.parent
        prefix = prefix if prefix is not None or (path / CONFIG).exists() else find_checkpoint(path)
        if prefix is not None:
            return Source(root=path, folder=path, config=path / TF_CONFIG, checkpoint=prefix)
        found = read_sentence_folder(path) if sentence or not (path / CONFIG).exists() else None
        folder = path if found is None else found.transformer
        return Source(root=path, folder=folder, config=inside(folder, CONFIG), sentence=found)


def load_config(
    name: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    **changes: Any,
) -> BertConfig:
    """Read the config of a model, without its weights.

    Args:
        name: what `load` takes.
        revision: branch, tag or commit on the hub.
        token: for the hub.
        cache_dir: of the hub's client.
        local_files_only: take what the cache has, without any request.
        changes: fields that shall differ from the file, such as `num_labels`.

    Raises:
        CheckpointError: no model, or a file that is no JSON object.
        ConfigError: values that no model can be built from.
        TypeError: a field that the config does not have.
    """
    hub: Hub = {
        "revision": revision,
        "token": token,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
    }
    _check_names("BertConfig", changes, _FIELDS)
    return _changed(find_source(name, hub, sentence=False, parts="config").read_config(), changes)


def load(
    name: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    **settings: Any,
) -> BertPreTrainedModel:
    """Load a model with the class that its files name, in eval mode.

    Args:
        name: a model folder, a folder of sentence-transformers (a `SentenceEncoder`), Google's TensorFlow checkpoint
            (its folder, or its path without `.index`), or the name of a repo on the hub.
        revision: branch, tag or commit on the hub.
        token: for the hub.
        cache_dir: of the hub's client.
        local_files_only: take what the cache has, without any request.
        settings: those of `load_model`.

    Returns:
        the class that `architectures` in the config names; without it a `BertModel`, or from a TensorFlow checkpoint
        the class whose head is there.

    Raises:
        CheckpointError: no model, a class that glassbert does not have, or weights that do not fit; also a head that
            is missing, unless `fresh` names it: the files say that it is there.
        ConfigError, InputError, TypeError: as `load_model`.
    """
    hub: Hub = {
        "revision": revision,
        "token": token,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
    }
    return load_source(find_source(name, hub, sentence=True), **settings)


def model_fingerprint(name: str | Path) -> str:
    """Return a SHA-256 of all files of a model that can change what it says: config, weights, tokenizer.

    Args:
        name: as `load` takes it.

    Raises:
        CheckpointError: no model.
    """
    hub: Hub = {"revision": None, "token": None, "cache_dir": None, "local_files_only": False}
    root = find_source(name, hub, sentence=True).root
    whole = hashlib.sha256()
    with reading(name):
        for file in sorted((*root.glob("*"), *root.glob("[0-9]*_*/*"))):
            if file.is_file() and _OF_MODEL.search(file.name) and file.name not in _OF_TRAINING:
                whole.update(f"{file.relative_to(root).as_posix()} {fingerprint(file)['sha256']}\n".encode())
    return whole.hexdigest()


def load_source(source: Source, **settings: Any) -> BertPreTrainedModel:
    """Load what `find_source` has found, as `load` does."""
    config = source.read_config()
    if source.sentence is not None:
        return _load(SentenceEncoder, source, new_head=False, **settings)
    if config.architectures:
        wanted = config.architectures[0]
        if wanted not in MODEL_CLASSES:
            known = ", ".join(MODEL_CLASSES)
            raise CheckpointError(f"{source.config}: architectures names {wanted!r}; glassbert.load knows {known}")
        return _load(MODEL_CLASSES[wanted], source, new_head=False, **settings)
    with source.open(config) as weights:
        fitting = fitting_class(weights.keys())
    model_class = BertModel if source.checkpoint is None else fitting
    loads = f"{fitting.__name__}.from_pretrained takes these weights" if fitting is not model_class else ""
    hint = f". No class is named by architectures in {source.config}" + (f"; {loads}" if loads else "")
    return _load(model_class, source, new_head=False, hint=hint, **settings)


def fitting_class(keys: Collection[str]) -> type[BertPreTrainedModel]:
    """Return the class that has a place for the head among the names of some weights."""
    words, pairs = "cls.predictions.bias" in keys, "cls.seq_relationship.weight" in keys
    if words or pairs:
        both = BertForPreTraining if words and pairs else None
        return both or (BertForMaskedLM if words else BertForNextSentencePrediction)
    if "qa_outputs.weight" in keys:
        return BertForQuestionAnswering
    if "classifier.weight" in keys:
        pooled = any(key.endswith("pooler.dense.weight") for key in keys)
        return BertForSequenceClassification if pooled else BertForTokenClassification
    return BertModel


def load_model(
    model_class: type[ModelT],
    name: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    **settings: Any,
) -> ModelT:
    """Load `model_class`, in eval mode.

    Args:
        model_class: one of ours, or a subclass of `BertPreTrainedModel` with `__init__(self, config)`.
        name: what `load` takes.
        revision: branch, tag or commit on the hub.
        token: for the hub.
        cache_dir: of the hub's client.
        local_files_only: take what the cache has, without any request.
        settings: `config`, in place of the files' own; `fresh`, patterns (`re.search`) of parameters that get new
            random values whatever the files hold; `optional`, patterns of those that get them where the files have
            none; `ignore`, patterns of keys in the files that may be left out;
            `attention_backend`; `dtype`, the model's floats whatever the files hold (None: float32), as torch has them
            or by name ("float32", "float16", "bfloat16", "float64"), or "auto": those that most numbers of the files
            are; `device`; further arguments of the class's `__init__`, such as `add_pooling_layer`; and fields of the
            config that shall differ from the file, such as `num_labels`.

    Raises:
        CheckpointError: a missing file; a key that is missing, unexpected or of the wrong shape, unless the class
            names it (`_keys_to_ignore_on_load_missing`, `_keys_to_ignore_on_load_unexpected`) or the caller.
        ConfigError: the config holds a value that no model can be built from, or is none.
        InputError: a dtype or a device that does not exist here.
        TypeError: a setting that neither the class nor the config has.
    """
    hub: Hub = {
        "revision": revision,
        "token": token,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
    }
    return _load(model_class, find_source(name, hub, sentence=issubclass(model_class, SentenceEncoder)), **settings)


def _load(
    model_class: type[ModelT],
    source: Source,
    *,
    new_head: bool = True,
    hint: str = "",
    config: BertConfig | None = None,
    fresh: str | Sequence[str] | None = (),
    optional: str | Sequence[str] | None = (),
    ignore: str | Sequence[str] | None = (),
    attention_backend: AttentionBackend | None = None,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    **settings: Any,
) -> ModelT:
    """Load a class; `new_head` and `hint` are those of `fill`."""
    fresh, ignore = as_patterns("fresh", fresh), as_patterns("ignore", ignore)
    optional = as_patterns("optional", optional)
    device = as_device(device)
    if config is not None and not isinstance(config, BertConfig):
        raise ConfigError(f"config is {config!r}, expected a BertConfig; BertConfig.from_dict makes one of a dict")
    arguments, changes = _sorted_settings(model_class, settings)
    if source.sentence is not None and issubclass(model_class, SentenceEncoder):
        arguments = {**source.sentence.settings(), **arguments}
    where = str(source.config) if config is None else "the config that was given"
    config = _changed(source.read_config() if config is None else config, changes)
    with reading(source.folder), source.open(config) as weights:
        floats = as_dtype(dtype, weights)
        check_sizes(config, weights, where, changes, (*fresh, *ignore))
        # Our own classes without memory and random numbers: the tensors come from the file. Any other may compute what
        # it likes when it is built, so it has to be built for real.
        with without_memory() if model_class in MODEL_CLASSES.values() else contextlib.nullcontext():
            model = model_class(config, **arguments)
        info = fill(
            model,
            weights,
            str(source.folder),
            fresh=fresh,
            optional=optional,
            ignore=ignore,
            new_head=new_head,
            hint=hint,
            dtype=floats,
            device=device,
        )
        if isinstance(weights, TensorFlowWeights):
            info = dataclasses.replace(info, ignored=(*info.ignored, *weights.left_out))
        model.loading_info = info
    if attention_backend is not None:
        model.attention_backend = attention_backend
    return model.eval()


def _changed(config: BertConfig, changes: dict[str, Any]) -> BertConfig:
    """Return the config with other values in some fields."""
    if changes.get("num_labels", config.num_labels) != config.num_labels:
        changes = {"id2label": {}, **changes}  # the file's names are those of other labels
    if "id2label" in changes or "label2id" in changes:
        # One of the two says all, and what the file says of the other holds no more.
        changes = {"id2label": {}, "label2id": {}, **changes}
        changes.setdefault("num_labels", len(changes["id2label"] or changes["label2id"]))
    return dataclasses.replace(config, **changes) if changes else config


_FIELDS: Final = {field.name for field in dataclasses.fields(BertConfig)} - {"extra"}
# The settings that the functions here name, besides those of a class and of the config.
_SETTINGS: Final = (
    *inspect.signature(load_model).parameters.keys() - {"model_class", "name", "settings"},
    *inspect.signature(_load).parameters.keys() - {"model_class", "source", "new_head", "hint", "settings"},
)
# Arguments of transformers' from_pretrained, and what does here what they are wanted for.
_ELSEWHERE: Final = {
    "torch_dtype": "it is called dtype here",
    "device_map": "device names one device; a BERT needs no more",
    "low_cpu_mem_usage": "memory is never more than the weights and a little; leave it out",
    "ignore_mismatched_sizes": "fresh=[PATTERN] names the parameters that get new values",
    "output_loading_info": "the model has it: model.loading_info",
    "state_dict": "model.load_state_dict puts tensors into a model",
    "from_tf": "TensorFlow's checkpoints are known by their files; leave it out",
    "from_flax": "Flax's files are not read; convert them to safetensors with transformers",
    "trust_remote_code": "no code of a folder is ever run; leave it out",
    "use_safetensors": "model.safetensors is taken where it is there, else pytorch_model.bin; leave it out",
    "attn_implementation": "it is called attention_backend here",
    "subfolder": "name the folder itself; on the hub, the files of a model stand at the top of its repo",
    "variant": "of each form of weights one file is read; rename the one that is wanted",
    "force_download": "what the cache holds is checked against the hub; delete it there to fetch it anew",
    "resume_download": "broken downloads are always taken up again; leave it out",
    "proxies": "set HTTPS_PROXY",
    "use_auth_token": "it is called token here",
    "mirror": "set HF_ENDPOINT",
}


def _sorted_settings(
    model_class: type[BertPreTrainedModel], settings: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell arguments of the class from fields of the config.

    Raises:
        TypeError: a name that is neither, with the nearest that is.
    """
    own = set(list(inspect.signature(model_class.__init__).parameters)[2:])  # after self and config
    _check_names(model_class.__name__, settings, own | _FIELDS, _SETTINGS)
    arguments = {name: value for name, value in settings.items() if name in own}
    changes = {name: value for name, value in settings.items() if name not in own}
    return arguments, changes


def _check_names(owner: str, given: Iterable[str], known: Set[str], others: Iterable[str] = ()) -> None:
    """Refuse arguments of `from_pretrained` that are not `known`; `others` are known to who calls this.

    Raises:
        TypeError: by name, with what to write in its place.
    """
    for name in given:
        if name not in known:
            raise no_argument(f"{owner}.from_pretrained", name, {*known, *others}, _ELSEWHERE)


def no_argument(function: str, name: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> TypeError:
    """Return the error for an argument that does not exist.

    Args:
        function: its name.
        name: of the argument.
        known: those that exist.
        elsewhere: what does here what arguments of other libraries do.
    """
    near = difflib.get_close_matches(name, known, n=1)
    hint = elsewhere.get(name) or (f"did you mean {near[0]!r}?" if near else "")
    return TypeError(f"{function}() has no argument {name!r}" + (f"; {hint}" if hint else ""))
