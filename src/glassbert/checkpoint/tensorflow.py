"""Google's checkpoints of BERT: TensorFlow's files, with Google's names, beside `bert_config.json`.

Names are translated by a table, both ways. What an optimizer keeps is left out by name; a name that is in neither list
is kept as it is, so that whoever loads the weights says that it has no place.

`"hidden_act": "gelu"` stays "gelu" in both directions. In Google's code that is the tanh form, here (and in
transformers, which reads these checkpoints in the same way) the erf form. The two are at most 4.73e-4 apart (at
x = ±2.70, measured in float64); with the golden model `pretraining_no_labels` (3 layers, large random weights, scores
from -4.3 to 4.3) the scores of words differ by at most 1.07e-3 and those of next sentences by 4.7e-4. For Google's own
numbers load with `hidden_act="gelu_new"`.

Source: google-research/bert, modeling.py, run_classifier.py, run_squad.py and optimization.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import torch
from torch import Tensor

from glassbert.checkpoint.bundle import INDEX, Bundle, file_inside, shard_name, write_bundle
from glassbert.checkpoint.filling import plain_state
from glassbert.checkpoint.keys import shared_names
from glassbert.errors import CheckpointError, ConfigError
from glassbert.files import LARGEST_SETTINGS, read_json, updated_folder, write_json
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig

TF_CONFIG: Final = "bert_config.json"
TF_NAME: Final = "bert_model.ckpt"
TF_STATE: Final = "checkpoint"

# Name in TensorFlow, name here, whether the matrix is turned: TensorFlow's Dense multiplies with (in, out), torch's
# Linear with (out, in). {} is the number of a layer.
_NAMES: Final = (
    ("bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight", False),
    ("bert/embeddings/position_embeddings", "bert.embeddings.position_embeddings.weight", False),
    ("bert/embeddings/token_type_embeddings", "bert.embeddings.token_type_embeddings.weight", False),
    ("bert/embeddings/LayerNorm/gamma", "bert.embeddings.LayerNorm.weight", False),
    ("bert/embeddings/LayerNorm/beta", "bert.embeddings.LayerNorm.bias", False),
    ("bert/encoder/layer_{}/attention/self/query/kernel", "bert.encoder.layer.{}.attention.self.query.weight", True),
    ("bert/encoder/layer_{}/attention/self/query/bias", "bert.encoder.layer.{}.attention.self.query.bias", False),
    ("bert/encoder/layer_{}/attention/self/key/kernel", "bert.encoder.layer.{}.attention.self.key.weight", True),
    ("bert/encoder/layer_{}/attention/self/key/bias", "bert.encoder.layer.{}.attention.self.key.bias", False),
    ("bert/encoder/layer_{}/attention/self/value/kernel", "bert.encoder.layer.{}.attention.self.value.weight", True),
    ("bert/encoder/layer_{}/attention/self/value/bias", "bert.encoder.layer.{}.attention.self.value.bias", False),
    (
        "bert/encoder/layer_{}/attention/output/dense/kernel",
        "bert.encoder.layer.{}.attention.output.dense.weight",
        True,
    ),
    ("bert/encoder/layer_{}/attention/output/dense/bias", "bert.encoder.layer.{}.attention.output.dense.bias", False),
    (
        "bert/encoder/layer_{}/attention/output/LayerNorm/gamma",
        "bert.encoder.layer.{}.attention.output.LayerNorm.weight",
        False,
    ),
    (
        "bert/encoder/layer_{}/attention/output/LayerNorm/beta",
        "bert.encoder.layer.{}.attention.output.LayerNorm.bias",
        False,
    ),
    ("bert/encoder/layer_{}/intermediate/dense/kernel", "bert.encoder.layer.{}.intermediate.dense.weight", True),
    ("bert/encoder/layer_{}/intermediate/dense/bias", "bert.encoder.layer.{}.intermediate.dense.bias", False),
    ("bert/encoder/layer_{}/output/dense/kernel", "bert.encoder.layer.{}.output.dense.weight", True),
    ("bert/encoder/layer_{}/output/dense/bias", "bert.encoder.layer.{}.output.dense.bias", False),
    ("bert/encoder/layer_{}/output/LayerNorm/gamma", "bert.encoder.layer.{}.output.LayerNorm.weight", False),
    ("bert/encoder/layer_{}/output/LayerNorm/beta", "bert.encoder.layer.{}.output.LayerNorm.bias", False),
    ("bert/pooler/dense/kernel", "bert.pooler.dense.weight", True),
    ("bert/pooler/dense/bias", "bert.pooler.dense.bias", False),
    ("cls/predictions/transform/dense/kernel", "cls.predictions.transform.dense.weight", True),
    ("cls/predictions/transform/dense/bias", "cls.predictions.transform.dense.bias", False),
    ("cls/predictions/transform/LayerNorm/gamma", "cls.predictions.transform.LayerNorm.weight", False),
    ("cls/predictions/transform/LayerNorm/beta", "cls.predictions.transform.LayerNorm.bias", False),
    ("cls/predictions/output_bias", "cls.predictions.bias", False),
    # Google multiplies with the transpose of what is called weights, so these lie as torch's do.
    ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight", False),
    ("cls/seq_relationship/output_bias", "cls.seq_relationship.bias", False),
    # run_classifier.py and run_squad.py
    ("output_weights", "classifier.weight", False),
    ("output_bias", "classifier.bias", False),
    ("cls/squad/output_weights", "qa_outputs.weight", False),
    ("cls/squad/output_bias", "qa_outputs.bias", False),
)
_FROM_TENSORFLOW: Final = {theirs: (ours, turned) for theirs, ours, turned in _NAMES}
_TO_TENSORFLOW: Final = {ours: (theirs, turned) for theirs, ours, turned in _NAMES}
_LAYER: Final = re.compile(r"^(bert/encoder/layer_|bert\.encoder\.layer\.)(0|[1-9][0-9]{0,3})(?=[/.])")

# What an optimizer and its loop keep: adam_m, Adam_1, LAMB/m and the like behind a weight's name; counters and scales.
_LEFT_OUT: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"/(adam|lamb)(w|weightdecay)?(optimizer)?(_[mv])?(_[0-9]+)?(/[mv])?$",
        r"(^|/)(global_step|beta[12]_power(_[0-9]+)?|good_steps|(current_)?loss_scale|learning_rate|save_counter)(/|$)",
        r"^_CHECKPOINTABLE_OBJECT_GRAPH$",
        r"/\.OPTIMIZER_SLOT/",
    )
)

# The keys of `bert_config.json`. Google's code takes any others beside them and does nothing with them.
_KEYS: Final = (
    "attention_probs_dropout_prob",
    "hidden_act",
    "hidden_dropout_prob",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
)
_GOOGLES_TYPES: Final = 16  # of segments, where the file does not say
_GOOGLES_EPSILON: Final = 1e-12
_GOOGLES_ACTIVATIONS: Final = ("gelu", "relu")
_LARGEST_STATE: Final = 1024 * 1024


def from_tensorflow(name: str) -> tuple[str, bool] | None:
    """Return the name here of a TensorFlow variable, and whether its matrix is turned; None where there is none."""
    return _translated(name, _FROM_TENSORFLOW)


def to_tensorflow(name: str) -> tuple[str, bool] | None:
    """Return the TensorFlow name of a state-dict name, and whether its matrix is turned; None where there is none."""
    return _translated(name, _TO_TENSORFLOW)


def _translated(name: str, table: dict[str, tuple[str, bool]]) -> tuple[str, bool] | None:
    number = _LAYER.match(name)
    found = table.get(_LAYER.sub(r"\1{}", name))
    if found is None or "{" in name:
        return None
    return found[0].replace("{}", number[2] if number else ""), found[1]


def is_left_out(name: str) -> bool:
    """Whether a TensorFlow variable belongs to an optimizer or its loop, not to a model."""
    return any(pattern.search(name) for pattern in _LEFT_OUT)


class TensorFlowWeights:
    """The weights of a TensorFlow checkpoint under the names that they have here.

    Attributes:
        names: name here → the variable's name in TensorFlow.
        left_out: variables of an optimizer and its loop, by their names in TensorFlow.
    """

    def __init__(self, prefix: str | Path) -> None:
        """Read the index.

        Args:
            prefix: the path of the checkpoint without `.index`.

        Raises:
            CheckpointError: a missing or damaged file, or two variables for one weight.
        """
        self._bundle = Bundle(Path(prefix))
        self._turned: set[str] = set()
        self.names: dict[str, str] = {}
        self.left_out: tuple[str, ...] = tuple(filter(is_left_out, self._bundle.entries))
        for theirs in self._bundle.entries:
            if is_left_out(theirs):
                continue
            ours, turned = from_tensorflow(theirs) or (theirs, False)
            if ours in self.names:
                raise CheckpointError(f"{self._bundle.index}: {self.names[ours]} and {theirs} both stand for {ours}")
            self.names[ours] = theirs
            if turned:
                self._turned.add(ours)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: each file is open only while a tensor is read."""

    def keys(self) -> list[str]:
        """Return the names."""
        return list(self.names)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of one, as `tensor` will have it, without reading it."""
        shape = self._bundle.entries[self.names[key]].shape
        return shape[::-1] if key in self._turned else shape

    def tensor(self, key: str) -> Tensor:
        """Read one, contiguous, in the dtype that it is stored in; bfloat16 becomes float32.

        Raises:
            CheckpointError: it is damaged, or holds what no weight does.
        """
        array = self._bundle.read(self.names[key])
        return torch.from_numpy(array.T.copy() if key in self._turned else array)

    def where(self, key: str) -> str:
        """Return the file that holds one, for messages."""
        return str(self._bundle.data_file(self.names[key]))


def find_checkpoint(path: str | Path) -> Path | None:
    """Find a TensorFlow checkpoint.

    Args:
        path: a folder, where the file `checkpoint` names one of several; or a checkpoint's own path, with or without
            `.index`.

    Returns:
        its path without `.index`; None where there is none.

    Raises:
        CheckpointError: several, and no telling which.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            name = path.name.removesuffix(INDEX)
            there = bool(name) and path.with_name(name + INDEX).is_file()
            return path.with_name(name) if there else None
        files = [file for file in path.glob(f"[!.]*{INDEX}") if file.is_file()]
        names = sorted(file.name.removesuffix(INDEX) for file in files)
        if len(names) > 1:
            latest = _latest(file_inside(path, TF_STATE))
            if latest not in names:
                raise CheckpointError(
                    f"{path}: holds several checkpoints ({_listed(names)}), and no file {TF_STATE} that names one of "
                    "them; give the path of one"
                )
            names = [latest]
    except OSError as error:
        raise CheckpointError(f"{error.filename or path}: {error.strerror or error}") from None
    return path / names[0] if names else None


def _latest(file: Path) -> str | None:
    """Return what a `checkpoint` file names as the latest, which need not be there."""
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        text = stream.read(_LARGEST_STATE).decode("utf-8", errors="replace")
    found = re.search(r'^\s*model_checkpoint_path\s*:\s*"([^"\n]*)"', text, re.MULTILINE)
    return found[1] if found else None


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def read_tf_config(folder: str | Path) -> BertConfig:
    """Read `bert_config.json`.

    Raises:
        CheckpointError: the file is missing or no JSON object.
        ConfigError: its values make no BERT; the message begins with the file's name.
    """
    file = file_inside(Path(folder), TF_CONFIG)
    values = read_json(file, most=LARGEST_SETTINGS)
    if "vocab_size" not in values:
        raise ConfigError(f"{file}: vocab_size is missing")
    try:
        return BertConfig.from_dict({"type_vocab_size": _GOOGLES_TYPES, **values})
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def save_tensorflow(model: BertPreTrainedModel, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a model as Google's are: `bert_config.json`, `bert_model.ckpt.*` and `checkpoint`.

    All files appear at once or not at all. Weights are written in float32 (float64 as it is). The config has Google's
    keys and, for whoever reads it here, the class and what else differs from a new `BertConfig`: labels, a pooling.

    Args:
        model: any of ours, or a subclass of your own with the same parts.
        folder: created where it is missing; its other files stay.
        overwrite: whether a checkpoint of these names may be replaced.

    Raises:
        ConfigError: the model computes what Google's cannot: by the setting's name.
        CheckpointError: a weight that has no name in Google's checkpoints.
        OutputExistsError: the folder holds such files already and `overwrite` is false.
        SaveError: the disk refused a write, or a weight is none; what stood there still stands.
    """
    config = _googles_config(model)
    state, tensors = plain_state(model), {}
    for theirs, (name, turned) in _googles_names(model).items():
        tensor = state[name].cpu()
        array = (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).numpy()
        tensors[theirs] = array.T if turned else array
    index, data = TF_NAME + INDEX, shard_name(TF_NAME, 0, 1)
    names = (TF_CONFIG, index, f"{TF_NAME}.data-*-of-*", TF_STATE)
    with updated_folder(folder, names, overwrite=overwrite) as stage:
        write_bundle(stage / index, stage / data, tensors)
        write_json(stage / TF_CONFIG, config)
        lines = f'model_checkpoint_path: "{TF_NAME}"\nall_model_checkpoint_paths: "{TF_NAME}"\n'
        (stage / TF_STATE).write_text(lines, encoding="utf-8")


def _googles_config(model: BertPreTrainedModel) -> dict[str, Any]:
    """Return the content of `bert_config.json`.

    Raises:
        ConfigError: a setting that changes what the model computes and has no key there.
    """
    config, base = model.config, model.base_model
    # Heads may have been cut out of a layer by itself, where the config does not hear of it.
    pruned = base.pruned_heads() if isinstance(base, BertModel) else config.pruned_heads
    for name, value, googles in (
        ("position_embedding_type", config.position_embedding_type, "absolute"),
        ("is_decoder", config.is_decoder, False),
        ("add_cross_attention", config.add_cross_attention, False),
        ("pruned_heads", pruned, {}),
        ("layer_norm_eps", config.layer_norm_eps, _GOOGLES_EPSILON),
    ):
        if value != googles:
            raise ConfigError(f"{name} is {value!r}; Google's checkpoints hold models with {googles!r} only")
    if config.hidden_act not in _GOOGLES_ACTIVATIONS:
        hint = "; what Google's code calls 'gelu' is this form, so set config.hidden_act to that"
        raise ConfigError(
            f"hidden_act is {config.hidden_act!r}; Google's checkpoints hold models with "
            f"{' or '.join(map(repr, _GOOGLES_ACTIVATIONS))} only" + (hint if config.hidden_act == "gelu_new" else "")
        )
    values = {key: getattr(config, key) for key in _KEYS}
    usual = BertConfig(**values).to_dict()
    own = {key: value for key, value in config.to_dict().items() if key not in usual or value != usual[key]}
    for stale in ("dtype", "torch_dtype"):
        own.pop(stale, None)
    return {**values, **own, "architectures": [type(model).__name__]}


def _googles_names(model: BertPreTrainedModel) -> dict[str, tuple[str, bool]]:
    """Return TensorFlow name → (state-dict name, whether it is turned) for all of a model's weights.

    Raises:
        CheckpointError: a weight without a name there.
    """
    inside = "bert." if isinstance(model, BertModel) else ""  # a bare model has Google's names as well
    shared = {name: names for names in shared_names(model) for name in names}
    names: dict[str, tuple[str, bool]] = {}
    for name in model.state_dict():
        found = to_tensorflow(inside + name)
        if found is not None:
            names[found[0]] = (name, found[1])
        elif not _any_name(inside + other for other in shared.get(name, ())):
            raise CheckpointError(f"{name} of {type(model).__name__} has no name in Google's checkpoints")
    return names


def _any_name(names: Iterable[str]) -> bool:
    return any(to_tensorflow(name) is not None for name in names)
