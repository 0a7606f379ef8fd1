"""Reading model folders in the layout of Hugging Face: config and weights."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import math
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from glassbert.checkpoint.hub import Hub, Parts, local_folder
from glassbert.checkpoint.keys import rename, shared_names
from glassbert.checkpoint.place import CONFIG, TF_CONFIG, inside, model_folder
from glassbert.checkpoint.sentence_folder import SentenceFolder, read_sentence_folder
from glassbert.checkpoint.tensorflow import TensorFlowWeights, find_checkpoint, read_tf_config
from glassbert.checkpoint.weights import Weights, open_weights
from glassbert.errors import CheckpointError
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """What there is to load.

    Attributes:
        folder: holds config and weights.
        config: the config's file.
        checkpoint: the prefix of TensorFlow's files, where the weights are in these.
        sentence: what a folder of sentence-transformers says beside.
    """

    folder: Path
    config: Path
    checkpoint: Path | None = None
    sentence: SentenceFolder | None = None

    def read_config(self) -> BertConfig:
        """Read the config."""
        return BertConfig.from_json_file(self.config) if self.checkpoint is None else read_tf_config(self.folder)

    def open(self) -> contextlib.AbstractContextManager[Weights]:
        """Open the weights."""
        return open_weights(self.folder) if self.checkpoint is None else TensorFlowWeights(self.checkpoint)


def _source(name: str | Path, hub: Hub, *, sentence: bool, parts: Parts = "model") -> _Source:
    """Find what `name` stands for: a folder, a TensorFlow checkpoint by its path, or a repo of the hub.

    Args:
        name: of the folder, the checkpoint or the repo.
        hub: settings for the hub.
        sentence: whether what a folder of sentence-transformers says beside the transformer is wanted.
        parts: what of a repo is needed.

    Raises:
        CheckpointError: it stands for nothing, or for something else.
    """
    prefix = None if Path(name).is_dir() else find_checkpoint(name)
    path = model_folder(local_folder(name, parts=parts, **hub)) if prefix is None else prefix.parent
    if prefix is None and (path / CONFIG).exists():
        found = read_sentence_folder(path) if sentence else None
        folder = path if found is None else found.transformer
        return _Source(folder=folder, config=inside(folder, CONFIG), sentence=found)
    prefix = prefix or find_checkpoint(path)
    if prefix is not None:
        return _Source(folder=prefix.parent, config=prefix.parent / TF_CONFIG, checkpoint=prefix)
    found = read_sentence_folder(path)
    if found is None:
        raise CheckpointError(f"{path}: holds no {CONFIG}, so it is no model folder")
    return _Source(folder=found.transformer, config=inside(found.transformer, CONFIG), sentence=found)


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
    return _changed(_source(name, hub, sentence=False, parts="config").read_config(), changes)


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
        the class that `architectures` in `config.json` names, else `BertModel`; from a TensorFlow checkpoint the one
        whose head is there.

    Raises:
        CheckpointError: no model, a class that glassbert does not have, or weights that do not fit.
        ConfigError: the config holds a value that no model can be built from.
    """
    hub: Hub = {
        "revision": revision,
        "token": token,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
    }
    source = _source(name, hub, sentence=True)
    if source.sentence is not None:
        return _load(SentenceEncoder, source, **settings)
    if source.checkpoint is not None:
        with source.open() as weights:
            model_class = next((kind for key, kind in _TF_HEADS.items() if key in weights.keys()), BertModel)  # noqa: SIM118
        return _load(model_class, source, **settings)
    config = source.read_config()
    wanted = config.architectures[0] if config.architectures else BertModel.__name__
    if wanted not in MODEL_CLASSES:
        known = ", ".join(MODEL_CLASSES)
        raise CheckpointError(f"{source.config}: architectures names {wanted!r}; glassbert.load knows {known}")
    return _load(MODEL_CLASSES[wanted], source, **settings)


# A tensor of each head that Google's programs write.
_TF_HEADS: Final[dict[str, type[BertPreTrainedModel]]] = {
    "cls.seq_relationship.weight": BertForPreTraining,
    "cls.predictions.bias": BertForMaskedLM,
    "classifier.weight": BertForSequenceClassification,
    "qa_outputs.weight": BertForQuestionAnswering,
}


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
            random values whatever the files hold; `ignore`, patterns of keys in the files that may be left out;
            `attention_backend`; `dtype`, the model's floats whatever the files hold (None: float32); `device`;
            further arguments of the class's `__init__`, such as `add_pooling_layer`; and fields of the config that
            shall differ from the file, such as `num_labels`.

    Raises:
        CheckpointError: a missing file; a key that is missing, unexpected or of the wrong shape, unless the class
            names it (`_keys_to_ignore_on_load_missing`, `_keys_to_ignore_on_load_unexpected`) or the caller.
        ConfigError: the config holds a value that no model can be built from.
        TypeError: a setting that neither the class nor the config has.
    """
    hub: Hub = {
        "revision": revision,
        "token": token,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
    }
    return _load(model_class, _source(name, hub, sentence=issubclass(model_class, SentenceEncoder)), **settings)


def _load(
    model_class: type[ModelT],
    source: _Source,
    *,
    config: BertConfig | None = None,
    fresh: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    attention_backend: AttentionBackend | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **settings: Any,
) -> ModelT:
    fresh, ignore = _patterns("fresh", fresh), _patterns("ignore", ignore)
    arguments, changes = _sorted_settings(model_class, settings)
    if source.sentence is not None and issubclass(model_class, SentenceEncoder):
        said = source.sentence
        arguments = {
            "pooling": said.pooling,
            "layers": 1,
            "normalize": said.normalize,
            "max_length": said.max_length,
            "prompts": said.prompts,
            "default_prompt": said.default_prompt,
            **arguments,
        }
    config = _changed(source.read_config() if config is None else config, changes)
    with source.open() as weights:
        _check_sizes(config, weights, source.config, (*fresh, *ignore))
        # Our own classes without memory and random numbers: the tensors come from the file. Any other may compute what
        # it likes when it is built, so it has to be built for real.
        with _without_memory() if model_class in MODEL_CLASSES.values() else contextlib.nullcontext():
            model = model_class(config, **arguments)
        info = _fill(model, weights, str(source.folder), fresh=fresh, ignore=ignore, dtype=dtype, device=device)
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


class _NoValues(TorchFunctionMode):
    """Passes over `torch.nn.init`: meta tensors have no values, and torch needs a second to find that out."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextlib.contextmanager
def _without_memory() -> Iterator[None]:
    """Build modules whose tensors have shapes alone."""
    with torch.device("meta"), _NoValues():
        yield


def _patterns(name: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return patterns as a tuple; one alone is taken too.

    Raises:
        CheckpointError: one that is none.
    """
    patterns = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    for pattern in patterns:
        try:
            if not isinstance(pattern, str) or not pattern:
                raise TypeError("expected a part of a name")
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise CheckpointError(f"{name} holds {pattern!r}, which is no pattern: {error}") from None
    return patterns


_FIELDS: Final = {field.name for field in dataclasses.fields(BertConfig)} - {"extra"}
# The settings that the functions here name, besides those of a class and of the config.
_SETTINGS: Final = (
    *inspect.signature(load_model).parameters.keys() - {"model_class", "name", "settings"},
    *inspect.signature(_load).parameters.keys() - {"model_class", "source", "settings"},
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
            near = difflib.get_close_matches(name, {*known, *others}, n=1)
            hint = _ELSEWHERE.get(name) or (f"did you mean {near[0]!r}?" if near else "")
            raise TypeError(f"{owner}.from_pretrained() has no argument {name!r}" + (f"; {hint}" if hint else ""))


def _check_sizes(config: BertConfig, weights: Weights, where: Path, leave: Sequence[str]) -> None:
    """Hold the config against the shapes in the files, before anything of its sizes is made.

    Args:
        config: what the model is built from.
        weights: the files.
        where: the config's file.
        leave: patterns of keys that are not looked at.

    Raises:
        CheckpointError: they are those of two different models.
    """
    expected = {
        "word_embeddings.weight": (config.vocab_size, config.hidden_size),
        "position_embeddings.weight": (config.max_position_embeddings, config.hidden_size),
        "token_type_embeddings.weight": (config.type_vocab_size, config.hidden_size),
        "layer.0.intermediate.dense.weight": (config.intermediate_size, config.hidden_size),
    }
    layers = -1
    keys = [key for key in weights.keys() if _BODY.match(key) and not _matches(key, leave)]  # noqa: SIM118
    for key in keys:
        for end, shape in expected.items():
            if key.endswith(end) and weights.shape(key) != shape:
                raise CheckpointError(
                    f"{weights.where(key)}: {key} has the shape {weights.shape(key)}, but by {where} it is {shape}"
                )
        number = _LAYER.search(key)
        layers = max(layers, int(number[1]) if number else -1)
    if layers + 1 != config.num_hidden_layers and layers >= 0:
        raise CheckpointError(
            f"{where}: num_hidden_layers is {config.num_hidden_layers}, but the weights have {layers + 1} layers"
        )


_BODY: Final = re.compile(r"(bert\.)?(embeddings|encoder)\.")
_LAYER: Final = re.compile(r"(?:^|\.)encoder\.layer\.(\d{1,4})\.")
_FLOATS: Final = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def _read(weights: Weights, key: str, expected: Tensor, dtype: torch.dtype | None, device: Any) -> Tensor:
    """Read one tensor as the model wants it.

    Raises:
        CheckpointError: numbers that no weight consists of, or that are not finite.
    """
    tensor = weights.tensor(key)
    if expected.is_floating_point():
        if tensor.dtype not in _FLOATS:
            raise CheckpointError(f"{weights.where(key)}: {key} holds {tensor.dtype}, expected floats of 16 to 64 bits")
        if tensor.numel() and not all(map(math.isfinite, (float(end) for end in tensor.aminmax()))):
            raise CheckpointError(f"{weights.where(key)}: {key} holds numbers that are not finite (NaN or infinity)")
    wanted = dtype if dtype is not None and expected.is_floating_point() else expected.dtype
    return tensor.to(device=device, dtype=wanted)


def _fill(
    model: BertPreTrainedModel,
    weights: Weights,
    where: str,
    *,
    fresh: Sequence[str],
    ignore: Sequence[str],
    dtype: torch.dtype | None,
    device: Any,
) -> LoadingInfo:
    """Put `weights` into `model`, and fresh values where the class or the caller allows them to be missing."""
    expected = model.state_dict()
    state: dict[str, Tensor] = {}
    ignored: list[str] = []
    renamed: dict[str, str] = {}
    for key, name in rename(weights.keys(), set(expected), model.base_model_prefix).items():
        file = weights.where(key)
        if name not in expected:
            if not _matches(name, (*ignore, *model._keys_to_ignore_on_load_unexpected)):
                raise CheckpointError(
                    f"{file}: {key} has no place in {type(model).__name__}; "
                    f"ignore=[{_pattern(name, expected)!r}] leaves it out"
                )
            ignored.append(key)
            continue
        if name in state:
            raise CheckpointError(f"{file}: {key} and another key both stand for {name}")
        if _matches(name, fresh):
            continue
        shape = weights.shape(key)
        if shape != tuple(expected[name].shape):
            raise CheckpointError(
                f"{file}: {key} has the shape {shape}, expected {tuple(expected[name].shape)}; "
                f"fresh=[{_pattern(name)!r}] gives it new values"
            )
        state[name] = _read(weights, key, expected[name], dtype, device)
        if key != name:
            renamed[key] = name
    _share(model, state, where)
    missing = tuple(name for name in expected if name not in state)
    for name in missing:
        if not _matches(name, (*fresh, *model._keys_to_ignore_on_load_missing)):
            raise CheckpointError(
                f"{where}: {name} of {type(model).__name__} is missing; "
                f"fresh=[{_pattern(name, state)!r}] gives it new values"
            )
    for pattern in (*fresh, *ignore):
        if not any(re.search(pattern, name) for name in (*expected, *ignored, *weights.keys())):
            raise CheckpointError(f"{where}: the pattern {pattern!r} fits no tensor of {type(model).__name__}")
    # Fresh values first: what a module has beside them comes from the file.
    _initialize(model, missing)
    model.load_state_dict(state, strict=False, assign=True)
    model.to(device=device, dtype=dtype)
    return LoadingInfo(fresh=missing, ignored=tuple(ignored), renamed=renamed)


def _share(model: BertPreTrainedModel, state: dict[str, Tensor], where: str) -> None:
    """Give a tensor that is tied to another one that other's value; the file may hold either, or both.

    Raises:
        CheckpointError: it holds both, and they differ.
    """
    for names in shared_names(model):
        there = [name for name in names if name in state]
        for name in there[1:]:
            if not torch.equal(state[there[0]], state[name]):
                raise CheckpointError(
                    f"{where}: {name} differs from {there[0]}, to which the config ties it; "
                    "with tie_word_embeddings false in config.json each has its own"
                )
        if there:
            state.update(dict.fromkeys(names, state[there[0]]))


def _pattern(name: str, others: Iterable[str] = ()) -> str:
    """Return a pattern for the part of a model that `name` belongs to and none of `others` does."""
    known = {part for other in others for part in other.split(".")}
    parts = name.split(".")
    own = next((place for place, part in enumerate(parts[:-1]) if part not in known), None)
    if own is None or not others:
        return ".".join(parts[:-1] or parts)
    # A layer's number says little without what it is a number of.
    return f"{parts[own - 1]}[.]{parts[own]}[.]" if parts[own].isdecimal() and own else parts[own]


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
