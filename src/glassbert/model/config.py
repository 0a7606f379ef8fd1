"""The settings of a BERT: one plain dataclass, the `config.json` that people already have."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, get_args

from glassbert.errors import ConfigError
from glassbert.files import LARGEST_SETTINGS, new_file, output_folder, read_json, write_json
from glassbert.presets import preset_sizes

if TYPE_CHECKING:
    from torch import Tensor

HiddenAct = Literal["gelu", "gelu_new", "relu", "silu"]
PositionEmbeddingType = Literal["absolute", "relative_key", "relative_key_query"]
ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]

# Hard bounds, inclusive: beyond them a value is a mistake or an attack, not a model.
_INTEGER_BOUNDS: Final = {
    "vocab_size": (1, 10_000_000),
    "hidden_size": (1, 65_536),
    "num_hidden_layers": (0, 1_000),
    "num_attention_heads": (1, 4_096),
    "intermediate_size": (1, 1_048_576),
    "max_position_embeddings": (1, 1_048_576),
    "type_vocab_size": (1, 65_536),
    "chunk_size_feed_forward": (0, 1_048_576),
    "num_labels": (1, 1_000_000),
}
_PROBABILITIES: Final = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
_FLAGS: Final = (
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "gradient_checkpointing",
    "use_cache",
    "is_decoder",
    "add_cross_attention",
    "tie_word_embeddings",
    "torchscript",
)

# Keys of published config files that change what a model computes and have one value here.
_FIXED: Final[dict[str, Any]] = {"is_encoder_decoder": False, "tie_encoder_decoder": False}

# Left out of a file where they say what most models are.
_SELDOM: Final[dict[str, Any]] = {
    "add_cross_attention": False,
    "classifier_dropout": None,
    "problem_type": None,
    "pruned_heads": {},
    "torchscript": False,
}


@dataclasses.dataclass(kw_only=True)
class BertConfig:
    """Sizes, rates and labels of a BERT; the defaults are bert-base-uncased.

    Checked when it is built and again when a model is made from it. An unknown argument is a `TypeError`, an unknown
    attribute that is set an `AttributeError`; unknown keys of a `config.json` are kept in `extra` and written back.

    Attributes:
        vocab_size: rows of the word embeddings (V).
        hidden_size: width of a token's vector (H); must divide by `num_attention_heads` (A).
        num_hidden_layers: layers, one after the other (L).
        intermediate_size: width inside the feed-forward (I).
        hidden_act: activation of the feed-forward: `gelu` is the exact erf form, `gelu_new` the tanh form; or a
            function of your own, which no file can hold.
        hidden_dropout_prob: dropout after embeddings, attention output and feed-forward.
        attention_probs_dropout_prob: dropout on the attention weights.
        classifier_dropout: dropout before a classifier; None takes `hidden_dropout_prob`.
        max_position_embeddings: longest sequence in tokens.
        type_vocab_size: kinds of segments.
        initializer_range: standard deviation of fresh weights.
        layer_norm_eps: added to the variance in LayerNorm.
        pad_token_id: id of the padding token; its embedding row gets no gradient from the look-up.
        position_embedding_type: "absolute" adds a vector for each place; "relative_key" adds to the attention scores
            what the query makes of its distance to the key (arXiv 1803.02155), "relative_key_query" what both make of
            it (arXiv 2009.13658).
        is_decoder: a token sees none after it.
        add_cross_attention: a decoder also attends to an encoder's states.
        use_cache: a decoder gives back keys and values, for the next tokens.
        tie_word_embeddings: the vocabulary projection shares the weight of the word embeddings.
        pruned_heads: heads that are cut out of each layer, by the layer's number.
        gradient_checkpointing: recompute each layer in the backward pass in place of keeping its activations.
        chunk_size_feed_forward: tokens per feed-forward call along the sequence; 0 takes all at once.
        num_labels: classes of a classifier (C).
        id2label, label2id: names of the classes, both ways.
        problem_type: which loss a classifier takes; None decides by `num_labels` and the labels' dtype.
        output_attentions, output_hidden_states, return_dict: what a forward call gives when it does not say.
        torchscript: the model is going to be traced: plain tuples, and the padded layout from the start.
        architectures: class names, as written by whoever saved the model.
        extra: keys of a `config.json` that glassbert has no use for.

    Raises:
        ConfigError: a value of the wrong type or outside its bounds, by name.
    """

    model_type: ClassVar[str] = "bert"

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: HiddenAct | Callable[[Tensor], Tensor] = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    position_embedding_type: PositionEmbeddingType = "absolute"
    is_decoder: bool = False
    add_cross_attention: bool = False
    use_cache: bool = True
    tie_word_embeddings: bool = True
    pruned_heads: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    gradient_checkpointing: bool = False
    chunk_size_feed_forward: int = 0
    num_labels: int = 2
    id2label: dict[int, str] = dataclasses.field(default_factory=dict)
    label2id: dict[str, int] = dataclasses.field(default_factory=dict)
    problem_type: ProblemType | None = None
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True
    torchscript: bool = False
    architectures: list[str] = dataclasses.field(default_factory=list)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every value and fill in the labels."""
        if self.label2id:
            self.label2id = _label_ids(self.label2id)
            names = {index: name for name, index in self.label2id.items()}
            if len(names) != len(self.label2id):
                raise ConfigError(f"label2id is {self.label2id!r}, which gives two names the same id")
            if self.id2label and {int(index): name for index, name in self.id2label.items()} != names:
                raise ConfigError(
                    f"label2id is {self.label2id!r}, but id2label is {self.id2label!r}; leave one of them out"
                )
            self.id2label = names
        if self.id2label and self.num_labels == 2:
            # A file that names its labels need not count them.
            self.num_labels = len(self.id2label)
        self.validate()

    if not TYPE_CHECKING:  # whose own check of attributes this would switch off

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a field, or an attribute that a subclass of yours declares.

            Raises:
                AttributeError: there is no such field, with the nearest that there is.
            """
            if name not in self.__dataclass_fields__ and not hasattr(type(self), name):
                near = difflib.get_close_matches(name, self.__dataclass_fields__, n=1)
                own = f"a key of your own stands in extra[{name!r}]; a subclass declares what else it has"
                hint = f"did you mean {near[0]!r}?" if near else own
                raise AttributeError(f"{type(self).__name__} has no field {name!r}; {hint}")
            super().__setattr__(name, value)

    def copy(self) -> BertConfig:
        """Return another config with the same values, attributes that a subclass declares included."""
        other = copy.copy(self)
        for name in ("id2label", "label2id", "pruned_heads", "architectures", "extra"):
            setattr(other, name, copy.deepcopy(getattr(self, name)))
        return other

    def validate(self) -> None:
        """Check every value; called again when a model is made, since a config may be edited in between."""
        for name, (low, high) in _INTEGER_BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"{name} is {value!r}, expected a whole number from {low} to {high}")
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if value is None and name == "classifier_dropout":
                continue
            if type(value) not in (int, float) or not 0.0 <= value < 1.0:
                raise ConfigError(f"{name} is {value!r}, expected a number from 0 to below 1")
        for name in ("initializer_range", "layer_norm_eps"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value) or not 0.0 <= value <= 10.0:
                raise ConfigError(f"{name} is {value!r}, expected a number from 0 to 10")
        for name in _FLAGS:
            if type(getattr(self, name)) is not bool:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected true or false")
        if not callable(self.hidden_act):
            _check_choice("hidden_act", self.hidden_act, get_args(HiddenAct), " or a function")
        if self.problem_type is not None:
            _check_choice("problem_type", self.problem_type, get_args(ProblemType), " or null")
        _check_choice("position_embedding_type", self.position_embedding_type, get_args(PositionEmbeddingType), "")
        if self.add_cross_attention and not self.is_decoder:
            raise ConfigError("add_cross_attention is true, but is_decoder false; only a decoder attends to an encoder")
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(_heads_message(self.hidden_size, self.num_attention_heads))
        if type(self.pad_token_id) is not int or not 0 <= self.pad_token_id < self.vocab_size:
            raise ConfigError(
                f"pad_token_id is {self.pad_token_id!r}, expected an id below vocab_size {self.vocab_size}"
            )
        if not isinstance(self.extra, dict):
            raise ConfigError(f"extra is {self.extra!r}, expected a dict of further keys")
        if not isinstance(self.architectures, list) or not all(isinstance(name, str) for name in self.architectures):
            raise ConfigError(f"architectures is {self.architectures!r}, expected a list of class names")
        self.pruned_heads = _heads_by_layer(self.pruned_heads, self.num_hidden_layers, self.num_attention_heads)
        self._check_labels()

    @property
    def use_return_dict(self) -> bool:
        """Whether a forward call that does not say gives a `ModelOutput`; a traced model gives tuples."""
        return self.return_dict and not self.torchscript

    def _check_labels(self) -> None:
        default = {index: f"LABEL_{index}" for index in range(len(self.id2label))}
        if not self.id2label or (self.id2label == default and len(default) != self.num_labels):
            self.id2label = {index: f"LABEL_{index}" for index in range(self.num_labels)}
            self.label2id = {}
        if set(self.id2label) != set(range(self.num_labels)):
            raise ConfigError(
                f"id2label names the ids {sorted(self.id2label, key=str)}, expected 0 to {self.num_labels - 1}"
                f" for num_labels {self.num_labels}"
            )
        names = {name: index for index, name in self.id2label.items()}
        if len(names) != self.num_labels:
            raise ConfigError("id2label gives two ids the same name")
        self.id2label = dict(sorted(self.id2label.items()))
        self.label2id = {name: index for index, name in self.id2label.items()}

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Build a config of a size that Google has published, for a model that begins with fresh weights.

        Args:
            name: tiny, mini, small, medium, base or large, or layers and width as in 4x256 or L-4_H-256; all stand in
                `glassbert.presets.PRESETS`.
            changes: other values for any fields, such as `vocab_size` and `max_position_embeddings`.

        Raises:
            ConfigError: there is no such preset, with those that there are; or a value out of bounds.
        """
        return cls(**{**preset_sizes(name), **changes})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BertConfig:
        """Build a config from the keys of a `config.json`; keys without a meaning here go to `extra`.

        Raises:
            ConfigError: another `model_type`, a value out of bounds, or a feature that is not supported.
        """
        values = dict(values)
        kind = values.pop("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ConfigError(
                f"model_type is {kind!r}; glassbert runs models of model_type 'bert', such as bert-base-uncased or "
                "all-MiniLM-L6-v2; transformers' AutoModel loads the others"
            )
        for name, neutral in _FIXED.items():
            if name in values and values[name] not in (neutral, None):
                raise ConfigError(f"{name} is {values[name]!r}; this version supports {neutral!r} only")
        if "id2label" in values:
            values["id2label"] = _label_names(values["id2label"])
        if values.get("label2id") is None:
            values.pop("label2id", None)
        known = {field.name for field in dataclasses.fields(cls)} - {"extra"}
        extra = {key: value for key, value in values.items() if key not in known}
        given = {key: value for key, value in values.items() if key in known}
        for name in ("architectures", "pruned_heads", "position_embedding_type"):
            if given.get(name) is None:
                given.pop(name, None)
        return cls(**given, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """Return all keys, `extra` included, as they stand in a `config.json`.

        Raises:
            ConfigError: `hidden_act` is a function.
        """
        if callable(self.hidden_act):
            raise ConfigError(
                f"hidden_act is the function {self.hidden_act!r}, which no file can hold; set config.hidden_act to one "
                f"of {', '.join(get_args(HiddenAct))} to save, and give the function again when loading"
            )
        values = dataclasses.asdict(self)
        extra = values.pop("extra")
        values["id2label"] = {str(index): name for index, name in self.id2label.items()}
        values["pruned_heads"] = {str(layer): heads for layer, heads in self.pruned_heads.items()}
        for name, usual in _SELDOM.items():
            if values[name] == usual:
                del values[name]
        return {"model_type": self.model_type, **values, **extra}

    def to_json_string(self) -> str:
        """Return `to_dict` as indented JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json_file(cls, path: str | Path) -> BertConfig:
        """Read one JSON file.

        Raises:
            CheckpointError: the file is missing or no JSON object.
            ConfigError: its values make no BERT; the message begins with the file's name.
        """
        values = read_json(Path(path), most=LARGEST_SETTINGS)
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def from_pretrained(cls, folder: str | Path, **settings: Any) -> BertConfig:
        """Read the config of a model folder or of a repo on the hub; see `glassbert.checkpoint.load_config`."""
        from glassbert.checkpoint import load_config

        return load_config(folder, **settings)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write `config.json` into `folder`, which is created where it is missing; whole or not at all.

        Raises:
            OutputExistsError: the file is there and `overwrite` is false.
            ConfigError: `hidden_act` is a function, which no file can hold.
            SaveError: the disk refused a write; what stood there still stands.
        """
        values = self.to_dict()
        with new_file(output_folder(folder) / "config.json", overwrite=overwrite) as part:
            write_json(part, values)


def _check_choice(name: str, value: Any, known: tuple[str, ...], more: str) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(known)}{more}")


def _heads_by_layer(value: Any, layers: int, heads: int) -> dict[int, list[int]]:
    """Check `pruned_heads`; the keys of a JSON object are strings."""
    expected = f"expected heads from 0 to {heads - 1} by layers from 0 to {layers - 1}, such as {{0: [1, 2]}}"
    try:
        checked = {int(layer): sorted({int(head) for head in gone}) for layer, gone in dict(value).items()}
        sound = all(str(head).isdecimal() for gone in dict(value).values() for head in gone)
    except (TypeError, ValueError):
        raise ConfigError(f"pruned_heads is {value!r}, {expected}") from None
    for layer, gone in checked.items():
        if not sound or not 0 <= layer < layers or not all(0 <= head < heads for head in gone):
            raise ConfigError(f"pruned_heads is {value!r}, {expected}")
    return {layer: gone for layer, gone in sorted(checked.items()) if gone}


def _label_names(value: Any) -> dict[int, str]:
    try:
        names = {int(index): name for index, name in value.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"id2label is {value!r}, expected an object of names by id") from None
    for index, name in names.items():
        if not isinstance(name, str):
            raise ConfigError(f"id2label[{index}] is {name!r}, expected a string")
    return names


def _label_ids(value: Any) -> dict[str, int]:
    try:
        return {str(name): int(index) for name, index in value.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"label2id is {value!r}, expected an object of ids by name") from None


def _heads_message(width: int, heads: int) -> str:
    near = sorted((h for h in range(1, min(width, 4 * heads) + 1) if width % h == 0), key=lambda h: (abs(h - heads), h))
    choices = ", ".join(str(h) for h in sorted(near[:4]))
    return f"hidden_size {width} does not divide by num_attention_heads {heads}; heads near that would be {choices}"
