"""All that can be set about reading data and training: one field for each setting, with what it does beside it.

A field is a keyword in Python, a flag of the command and a line of a YAML file, all of one name. This module imports
neither torch nor a room, so that the help of a command, which is made of it, comes at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from glassbert.errors import ConfigError
from glassbert.presets import preset_sizes

Column = str | int
EngineName = Literal["float32", "bfloat16", "int8", "onnx"]
Format = Literal["csv", "tsv", "jsonl", "json", "parquet", "conll", "squad", "txt"]
Quoting = Literal["auto", "csv", "none"]
OptimizerName = Literal["torch", "transformers", "google", "lamb"]
Schedule = Literal["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"]
Precision = Literal["fp32", "bf16"]
Keep = Literal["last", "best"]
Objective = Literal["nsp", "sop", "mlm"]
Documents = Literal["blank-lines", "lines", "files"]
Sentences = Literal["auto", "lines", "split"]
Device = Literal["auto", "cpu", "cuda", "mps"]

# The headings of help and of YAML files, in their order.
_GROUPS = _MODEL, _DATA, _SEQUENCES, _MASKS, _OUTPUT, _SEARCH, _RESUME, _STEPS, _RATES, _LOSS, _EVALUATION, _MACHINE = (
    "Task and model",
    "Data",
    "Sequences",
    "Masked words",
    "Result",
    "Search",
    "Checkpoints",
    "Steps",
    "Optimizer",
    "Loss",
    "Evaluation",
    "Devices, memory and precision",
)


@dataclasses.dataclass(frozen=True)
class Doc:
    """What a setting does, and where help lists it.

    Attributes:
        text: what it does.
        group: the heading that it stands under.
        before: the setting that it stands before; empty where it stands as its class has it.
    """

    text: str
    group: str
    before: str = ""


class _Settings:
    """What all settings do: they check the type of every value, and know how to be read and written.

    Attributes:
        passed_over: names that a file may have for another recipe.
    """

    passed_over: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Check every value's type.

        Raises:
            ConfigError: a value that its field cannot have, by name.
        """
        for name, (kind, _) in documented(type(self)).items():
            value = getattr(self, name)
            if not _fits(value, kind):
                raise ConfigError(f"{name} is {_short(value)}, expected {_in_words(kind)}")

    def _check(self, name: str, good: Any, expected: str) -> None:
        value = getattr(self, name)
        if value is not None and not good(value):
            raise ConfigError(f"{name} is {value!r}, expected {expected}")

    @classmethod
    def read(cls, file: str | Path, **changes: Any) -> Self:
        """Make settings from a YAML file of names and values.

        Args:
            file: such as the `settings.yaml` that stands beside a trained model.
            changes: take the place of what the file says.

        Raises:
            ConfigError: a file that is not there or no mapping, an unknown name, or a value out of place.
        """
        values = _read_yaml(file)
        if values is None:
            values = {}
        if not isinstance(values, dict):
            raise ConfigError(f"{file}: expected names and values, found {type(values).__name__}")
        fields = documented(cls)
        values = {name: value for name, value in values.items() if name not in cls.passed_over}
        for name, value in values.items():
            if name not in fields:
                raise ConfigError(f"{file}: no setting {name!r}{_meant(str(name), fields)}")
            # YAML 1.1 takes 5e-5, without a point, for a string.
            if isinstance(value, str) and not _fits(value, fields[name][0]):
                values[name] = _as_number(value)
        for name, other in (("epochs", "steps"), ("steps", "epochs")):
            if changes.get(name) is not None and other not in changes:
                values.pop(other, None)  # the one takes the place of the other
        values |= changes
        if missing := cls.missing(values):
            raise ConfigError(f"{file}: missing: {', '.join(missing)}")
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None

    @classmethod
    def missing(cls, values: Iterable[str]) -> list[str]:
        """Return the settings that have to be given and are not among these."""
        return [
            name
            for name in documented(cls)
            if name not in values
            and (field := cls.__dataclass_fields__[name]).default is dataclasses.MISSING  # type: ignore[attr-defined]
            and field.default_factory is dataclasses.MISSING
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and YAML: paths as text; data from memory by its type."""
        return {name: _plain(getattr(self, name)) for name in documented(type(self))}

    def to_yaml(self) -> str:
        """Return all settings as YAML that `read` takes, each under what it does."""
        import yaml

        text, group = "", ""
        for name, (_, doc) in documented(type(self)).items():
            if doc.group != group:
                group = doc.group
                text += f"{chr(10) if text else ''}# -- {group} --\n"
            value = yaml.safe_dump({name: _plain(getattr(self, name))}, allow_unicode=True, width=10**6)
            text += f"# {doc.text}\n{value}"
        return text


def share_of(part: str | None) -> tuple[int, int]:
    """Return which part of how many `i/n` is, from 1; None is all.

    Raises:
        ConfigError: it is not of this form, or i is none of them.
    """
    if part is None:
        return 1, 1
    number, _, count = part.partition("/")
    if not (number.isdecimal() and count.isdecimal() and len(part) < 20):
        raise ConfigError(f"part is {part!r}, expected i/n such as 2/8")
    if not 1 <= int(number) <= int(count):
        raise ConfigError(f"part is {part!r}, expected i/n with i from 1 to n")
    return int(number), int(count)


# What is documented, by class: it is asked for once an option, and annotations take long to evaluate.
_documented: dict[type[Any], dict[str, tuple[Any, Doc]]] = {}


def documented(settings: type[Any]) -> dict[str, tuple[Any, Doc]]:
    """Return the type and the documentation of every field, by name, group by group."""
    if settings in _documented:
        return _documented[settings]
    hints = get_type_hints(settings, include_extras=True)
    found: dict[str, tuple[Any, Doc]] = {}
    for field in dataclasses.fields(settings):
        kind, doc = get_args(hints[field.name])
        found[field.name] = (kind, doc)
    names = list(found)
    for name, (_, doc) in found.items():
        if doc.before:  # a class adds it to what another has
            names.remove(name)
            names.insert(names.index(doc.before), name)
    ordered = sorted(names, key=lambda name: _GROUPS.index(found[name][1].group))
    return _documented.setdefault(settings, {name: found[name] for name in ordered})


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSettings(_Settings):
    """How files of records are read, and what their columns mean, where nothing is learned from them.

    Raises:
        ConfigError: a value that its field cannot have, by name.
    """

    text_column: Annotated[
        Column | None,
        Doc(
            "Column of the text, words or question, by name or by number from 0. Guessed, and said, if not given.",
            _DATA,
        ),
    ] = None
    pair_column: Annotated[Column | None, Doc("Column of the second text, where texts come in pairs.", _DATA)] = None
    columns: Annotated[
        Mapping[str, Column | Sequence[Column]],
        Doc(
            "Columns of further roles, such as context=sent1; choices=ending0,ending1 for one that has several.", _DATA
        ),
    ] = dataclasses.field(default_factory=dict)
    format: Annotated[Format | None, Doc("Format of the files. Told by their endings if not given.", _DATA)] = None
    header: Annotated[
        bool, Doc("Whether the first row of CSV and TSV files names the columns; --no-header: it does not.", _DATA)
    ] = True
    encoding: Annotated[str, Doc("Encoding of the files, such as utf-8 or latin-1.", _DATA)] = "utf-8"
    quoting: Annotated[
        Quoting,
        Doc('Whether " opens a field: csv it does, none it does not, auto it does in CSV but not in TSV.', _DATA),
    ] = "auto"
    skip_bad: Annotated[bool, Doc("Skip bad records, count and list them; else the first one ends the run.", _DATA)] = (
        False
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingSettings(InputSettings):
    """How files of labelled records are read, and what their columns mean.

    Raises:
        ConfigError: a value that its field cannot have, by name.
    """

    label_column: Annotated[
        Column | None,
        Doc("Column of what is learned: label, labels, score or tags. Guessed if not given.", _DATA, before="columns"),
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerSettings(InputSettings):
    """How texts or files of them are answered: what the commands that answer have in common.

    Raises:
        ConfigError: a value that its field cannot have, by name.
    """

    engine: Annotated[
        EngineName, Doc("What computes: float32; bfloat16 or int8, which round; onnx, an exported folder.", _MODEL)
    ] = "float32"
    options: Annotated[
        Mapping[str, Any], Doc("Options of the answers, such as top_k=3 or pooling=mean, as the task has them.", _MODEL)
    ] = dataclasses.field(default_factory=dict)
    out: Annotated[
        str | Path | None,
        Doc(
            "File of the answers: .jsonl, .csv, .tsv or .parquet, or .npy for vectors. A run that was cut off goes on.",
            _OUTPUT,
        ),
    ] = None
    overwrite: Annotated[
        bool, Doc("Replace the file of the answers, and what another run has left of it.", _OUTPUT)
    ] = False
    part: Annotated[
        str | None,
        Doc(
            "Answer the i-th of n parts, such as 2/8, each with an --out of its own; joined they are the whole.",
            _OUTPUT,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Check what would otherwise fail late."""
        super().__post_init__()
        if self.share != (1, 1) and self.out is None:
            raise ConfigError("part is given without out, the file that the part is written to")
        if self.overwrite and self.out is None:
            raise ConfigError("overwrite is given without out, the file that it is about")

    @property
    def share(self) -> tuple[int, int]:
        """Which part of how many, from 1.

        Raises:
            ConfigError: `part` is not of the form i/n, or i is none of them.
        """
        return share_of(self.part)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSettings(_Settings):
    """How a model is trained, whatever it learns: what the training loop reads.

    Raises:
        ConfigError: a value that its field cannot have, by name.
    """

    steps: Annotated[int | None, Doc("Optimizer steps, in place of epochs.", _STEPS)] = None
    batch_size: Annotated[
        int, Doc("Examples per batch, or windows of long ones, in random order whatever their length.", _STEPS)
    ] = 32
    accumulation: Annotated[int, Doc("Batches per optimizer step.", _STEPS)] = 1
    seed: Annotated[int, Doc("Decides fresh weights, splits, the order of the data and dropout.", _STEPS)] = 0
    learning_rate: Annotated[float, Doc("Highest learning rate.", _RATES)] = 5e-5
    schedule: Annotated[Schedule, Doc("How the rate goes on after its rise.", _RATES)] = "linear"
    warmup: Annotated[float, Doc("Share of all steps in which the rate rises from 0.", _RATES)] = 0.1
    optimizer: Annotated[
        OptimizerName,
        Doc("AdamW as torch, transformers 4.4.2 or Google's BERT code compute it; lamb is for big batches.", _RATES),
    ] = "torch"
    weight_decay: Annotated[float, Doc("Decay of weights; biases and LayerNorm have none.", _RATES)] = 0.01
    max_grad_norm: Annotated[float, Doc("The gradients' joint norm is clipped to this.", _RATES)] = 1.0
    layer_decay: Annotated[
        float | None, Doc("Factor of the rate from one layer to the one below, as in ELECTRA.", _RATES)
    ] = None
    freeze_embeddings: Annotated[bool, Doc("Whether the embeddings keep their weights.", _RATES)] = False
    freeze_layers: Annotated[int, Doc("How many of the first layers keep their weights.", _RATES)] = 0
    evaluate_every: Annotated[
        int | None, Doc("Steps from one evaluation to the next. Every epoch if not given.", _EVALUATION)
    ] = None
    metric: Annotated[
        str | None,
        Doc("By what models are compared, such as macro_f1 or f1.spam. The task's main one if not given.", _EVALUATION),
    ] = None
    keep: Annotated[
        Keep | None, Doc("Which weights are saved. The last if not given, but the best where patience is.", _EVALUATION)
    ] = None
    patience: Annotated[
        int | None, Doc("Evaluations without a better metric after which training stops.", _EVALUATION)
    ] = None
    device: Annotated[
        Device, Doc("Where the model computes; auto is a GPU of NVIDIA's where there is one, else the CPU.", _MACHINE)
    ] = "auto"
    precision: Annotated[
        Precision, Doc("fp32 is exact; bf16 computes in bfloat16 and keeps weights in fp32.", _MACHINE)
    ] = "fp32"
    gradient_checkpointing: Annotated[
        bool, Doc("Compute each layer a second time in place of keeping it: less memory, more time.", _MACHINE)
    ] = False
    token_budget: Annotated[
        int, Doc("Most tokens computed at once; changes memory and speed, not the result.", _MACHINE)
    ] = 8192

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        for name in ("steps", "batch_size", "accumulation", "token_budget", "evaluate_every", "patience"):
            self._check(name, lambda value: value >= 1, "1 or more")
        for name in ("learning_rate", "max_grad_norm", "layer_decay"):
            self._check(name, lambda value: 0.0 < value < math.inf, "a finite number more than 0")
        self._check("layer_decay", lambda value: value <= 1.0, "at most 1")
        self._check("weight_decay", lambda value: 0.0 <= value < math.inf, "0 or more")
        self._check("warmup", lambda value: 0.0 <= value <= 1.0, "a share from 0 to 1")
        self._check("freeze_layers", lambda value: value >= 0, "0 or more")
        self._check("seed", lambda value: 0 <= value < 2**63, "from 0 to 2^63 - 1")

    # What the loop reads as well, and not every training has; a class that has it makes a field of it.

    @property
    def epochs(self) -> int | None:
        """Passes over the training data, where they may take the place of steps."""
        return None

    @property
    def head_learning_rate(self) -> float | None:
        """The rate of a new head, where there is one."""
        return None

    @property
    def keeps_best(self) -> bool:
        """Whether the best weights are saved, and not the last."""
        return self.keep == "best" or (self.keep is None and self.patience is not None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(LoopSettings):
    """How a model is trained.

    Raises:
        ConfigError: a value that its field cannot have, by name.
    """

    epochs: Annotated[
        int | None,
        Doc("Passes over the training data; 3 where neither these nor steps are given.", _STEPS, before="steps"),
    ] = None
    token_dropout: Annotated[
        float, Doc("Share of tokens replaced by [MASK] in training, anew each time; helps on small data.", _STEPS)
    ] = 0.0
    crop: Annotated[int | None, Doc("Read longer training texts through random windows of so many tokens.", _STEPS)] = (
        None
    )
    head_learning_rate: Annotated[float | None, Doc("The head's own rate.", _RATES, before="freeze_embeddings")] = None
    class_weights: Annotated[
        Literal["balanced"] | Mapping[str, float] | None,
        Doc("How much classes count: balanced, or weights such as spam=3 (1 for classes not named).", _LOSS),
    ] = None
    label_smoothing: Annotated[float, Doc("Share of each label that is spread over all classes.", _LOSS)] = 0.0

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        self._check("epochs", lambda value: value >= 1, "1 or more")
        self._check("head_learning_rate", lambda value: 0.0 < value < math.inf, "a finite number more than 0")
        if self.epochs is not None and self.steps is not None:
            raise ConfigError(f"epochs is {self.epochs} and steps is {self.steps}; give one of them")
        for name in ("token_dropout", "label_smoothing"):
            self._check(name, lambda value: 0.0 <= value < 1.0, "a share from 0 to below 1")
        self._check("crop", lambda value: value >= 3, "3 or more: [CLS], one token, [SEP]")
        if isinstance(self.class_weights, Mapping):
            for label, weight in self.class_weights.items():
                if not 0.0 <= weight < math.inf:
                    raise ConfigError(f"class_weights has {weight!r} for {label!r}, expected 0 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputSettings(_Settings):
    """Where a result goes.

    Raises:
        ConfigError: a value that its field cannot have, by name.
    """

    out: Annotated[str | Path, Doc("Folder of the result; must be new or empty.", _OUTPUT)]
    tensorboard: Annotated[
        str | Path | None, Doc("Folder for TensorBoard: losses, rates and metrics as they come.", _OUTPUT)
    ] = None
    overwrite: Annotated[
        bool, Doc("Replace the output folder and all in it; one with files other than a model's is refused.", _OUTPUT)
    ] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointSettings(OutputSettings):
    """What of a run lasts through an interruption.

    Raises:
        ConfigError: a value that its field cannot have, by name.
    """

    resume: Annotated[
        bool, Doc("Go on from the last whole checkpoint of this run; begin where there is none.", _RESUME)
    ] = False
    save_every: Annotated[
        int | None,
        Doc("Steps from one checkpoint to the next. If not given there is one every ten minutes.", _RESUME),
    ] = None
    keep_checkpoints: Annotated[
        int | None,
        Doc(
            "How many checkpoints stay, also after the end; 0: none is written. If not given, the last one until the "
            "result stands.",
            _RESUME,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        self._check("save_every", lambda value: value >= 1, "1 or more")
        self._check("keep_checkpoints", lambda value: value >= 0, "0 or more")
        if self.keep_checkpoints == 0 and (self.resume or self.save_every is not None):
            raise ConfigError("keep_checkpoints is 0, which leaves resume and save_every nothing to do")

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, beside that of the result."""
        out = Path(self.out)
        out = out.resolve() if out.name in ("", "..") else out
        return out.with_name(f"{out.name}-checkpoints")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(LoopSettings, CheckpointSettings):
    """What the settings of every recipe have that trains one model.

    Raises:
        ConfigError: a value that its field cannot have, by name.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeSettings(TrainingSettings, ReadingSettings, OutputSettings):
    """What is trained on what, how, and where the result goes.

    Beside paths, `train`, `validation` and `test` take records in memory: a list of dicts, or a data set of the library
    `datasets`. Texts are learned as the file's columns say; see `ReadingSettings` and `TrainingSettings` for the rest.

    Raises:
        ConfigError: a value that its field cannot have, by name, or two that exclude each other.
    """

    train: Annotated[
        Any, Doc("Training data: .csv, .tsv, .jsonl, .json, .parquet or .conll; one file or several.", _DATA)
    ]
    model: Annotated[str | Path, Doc("Folder or hub name of the model to begin with.", _MODEL)]
    validation: Annotated[Any, Doc("Data to evaluate on while training.", _DATA)] = None
    test: Annotated[Any, Doc("Data to evaluate the saved model on, once, at the end.", _DATA)] = None
    validation_share: Annotated[
        float, Doc("Share of the training data that is set aside, by chance, to evaluate on.", _DATA)
    ] = 0.0
    test_share: Annotated[float, Doc("Share of the training data that is set aside, by chance, to test on.", _DATA)] = (
        0.0
    )
    task: Annotated[
        str,
        Doc(
            "text-classification, multi-label-classification, regression, token-classification, multiple-choice, "
            "question-answering or sentence-embedding.",
            _MODEL,
        ),
    ] = "text-classification"
    options: Annotated[
        Mapping[str, Any], Doc("Settings of the task, such as scheme=IOB1 or widths=[384,128].", _MODEL)
    ] = dataclasses.field(default_factory=dict)
    max_length: Annotated[
        int | None, Doc("Most tokens of a text. What the model takes if not given; cut texts are counted.", _MODEL)
    ] = None

    def __post_init__(self) -> None:
        """Check what would otherwise fail late."""
        super().__post_init__()
        for name in ("train", "validation", "test"):
            value = getattr(self, name)
            if value is not None or name == "train":
                _check_data(name, value)
        for name in ("validation", "test"):
            share = getattr(self, f"{name}_share")
            self._check(f"{name}_share", lambda value: 0.0 <= value < 1.0, "a share from 0 to below 1")
            if share and getattr(self, name) is not None:
                raise ConfigError(f"{name}_share is {share}, but there is {name} data")
        if self.validation_share + self.test_share >= 1.0:
            raise ConfigError("validation_share and test_share leave nothing to learn from")
        if not self.is_evaluated:
            for name in ("evaluate_every", "metric", "keep", "patience"):
                if getattr(self, name) not in (None, "last"):
                    raise ConfigError(f"{name} is {getattr(self, name)!r}, but there is no validation data")
        self._check("max_length", lambda value: value >= 3, "3 or more: [CLS], one token, [SEP]")

    @property
    def is_evaluated(self) -> bool:
        """Whether the model is evaluated while it is trained."""
        return self.validation is not None or self.validation_share > 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings(RecipeSettings, RunSettings):
    """The settings of `finetune`: those of `RecipeSettings`, and what lasts through an interruption.

    Raises:
        ConfigError: a value that its field cannot have, by name, or two that exclude each other.
    """


# What is searched under which name, and where nothing is given: as the appendix of BERT's paper advises (Devlin et al.
# 2019, A.3), with room on both sides of its rates.
_SEARCHED: Mapping[str, str] = {
    "learning_rate": "learning_rates",
    "batch_size": "batch_sizes",
    "epochs": "epochs_range",
    "warmup": "warmups",
    "weight_decay": "weight_decays",
}
_USUAL_SPACE: Mapping[str, tuple[float, ...]] = {
    "learning_rate": (1e-5, 1e-4),
    "batch_size": (16, 32),
    "epochs": (2, 4),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningSettings(RecipeSettings):
    """Which settings of a fine-tuning are searched, how far, and what all trials share.

    A range is a pair of numbers, or text such as "1e-5:1e-4"; batch sizes are several numbers, or text such as "16,32".
    What has a range is searched, in place of the one value of that setting; all else is the same in every trial.
    Without any range the learning rate is searched from 1e-5 to 1e-4, the batch size among 16 and 32, and the epochs
    from 2 to 4, but for those of them that have another value than their usual one.

    Raises:
        ConfigError: a value that its field cannot have, by name, or no validation data to compare trials by.
    """

    # A file of `train` may be searched around; trials are short, and one that was cut off is run again as a whole.
    passed_over: ClassVar[tuple[str, ...]] = ("resume", "save_every", "keep_checkpoints")

    trials: Annotated[int, Doc("How many trials the study has in the end, earlier ones of it included.", _SEARCH)] = 20
    learning_rates: Annotated[
        Sequence[float] | str | None,
        Doc("Rates to search, such as 1e-5:1e-4. What has a range is searched; all else is held.", _SEARCH),
    ] = None
    batch_sizes: Annotated[Sequence[int] | str | None, Doc("Batch sizes to try, such as 16,32.", _SEARCH)] = None
    epochs_range: Annotated[Sequence[int] | str | None, Doc("Epochs to search, such as 2:4.", _SEARCH)] = None
    warmups: Annotated[
        Sequence[float] | str | None, Doc("Shares of warm-up steps to search, such as 0:0.2.", _SEARCH)
    ] = None
    weight_decays: Annotated[Sequence[float] | str | None, Doc("Decays to search, such as 0:0.1.", _SEARCH)] = None
    pruning: Annotated[
        bool, Doc("Whether trials that fall behind are ended early; --no-pruning: all run to their end.", _SEARCH)
    ] = True
    workers: Annotated[int, Doc("Processes that run trials, each on its share of the cores.", _SEARCH)] = 1
    study: Annotated[str | Path | None, Doc("File in which the study goes on. OUT-study.db if not given.", _SEARCH)] = (
        None
    )

    def __post_init__(self) -> None:
        """Check what would otherwise fail late."""
        for name, field in _SEARCHED.items():
            if getattr(self, field) is not None:
                object.__setattr__(self, field, _values_to_search(name, field, getattr(self, field)))
        super().__post_init__()
        for name in ("trials", "workers"):
            self._check(name, lambda value: value >= 1, "1 or more")
        if self.epochs_range is not None and self.steps is not None:
            raise ConfigError(f"epochs_range is given and steps is {self.steps}; give one of them")
        if not self.is_evaluated:
            raise ConfigError(
                "there is no validation data to compare trials by; give validation, or a validation_share of "
                "the training data"
            )
        if not self.space:
            raise ConfigError("nothing is searched; give a range, such as learning_rates 1e-5:1e-4")
        if self.keep == "last":
            raise ConfigError("keep is 'last', but trials are compared by their best weights, which are kept")

    @property
    def space(self) -> dict[str, tuple[float, ...]]:
        """What is searched: the ends of a range by the setting's name; for the batch size all choices."""
        given = {name: tuple(getattr(self, field)) for name, field in _SEARCHED.items() if getattr(self, field)}
        if given:
            return given
        usual = {name: TrainingSettings.__dataclass_fields__[name].default for name in _USUAL_SPACE}
        fixed = {name for name in usual if getattr(self, name) != usual[name]}
        fixed |= {"epochs"} if self.steps is not None else set()
        return {name: values for name, values in _USUAL_SPACE.items() if name not in fixed}

    def of_trial(self, values: Mapping[str, float], out: str | Path) -> FinetuneSettings:
        """Return the settings of one trial: what was chosen for it, and what all share."""
        shared = {name: getattr(self, name) for name in documented(RecipeSettings)}
        return FinetuneSettings(**{**shared, **values, "keep": "best", "out": out, "keep_checkpoints": 0})


def _values_to_search(name: str, field: str, given: Any) -> tuple[float, ...]:
    """Return the two ends of a range, or several choices.

    Raises:
        ConfigError: neither, or a value that the setting cannot have.
    """
    choices = name == "batch_size"
    expected = "two or more different numbers, such as 16,32" if choices else f"LOW:HIGH, such as {_EXAMPLES[name]}"
    shown = given if isinstance(given, str) else _short(given)
    wrong = ConfigError(f"{field} is {shown}, expected {expected}")
    if isinstance(given, str):
        given = given.split("," if choices else ":")
    if not isinstance(given, list | tuple):
        raise wrong
    read: list[Any] = [_as_number(one.strip()) if isinstance(one, str) else one for one in given]
    values: list[float] = [one for one in read if type(one) in (int, float)]
    if len(values) < max(2, len(read)):
        raise wrong
    for value in values:
        try:
            TrainingSettings(**{name: value})  # type: ignore[arg-type]
        except ConfigError as error:
            raise ConfigError(f"{field} is {shown}: {error}") from None
    if choices:
        if len(set(values)) < len(values):
            raise wrong
    elif len(values) != 2:
        raise wrong
    elif values[0] == values[1]:
        raise ConfigError(f"{field} is {shown}: both ends are the same; to hold {name} at one value, give {name} alone")
    elif values[0] > values[1]:
        raise ConfigError(f"{field} is {shown}: the lower end comes first")
    return tuple(values)


_EXAMPLES: Mapping[str, str] = {
    "learning_rate": "1e-5:1e-4",
    "epochs": "2:4",
    "warmup": "0:0.2",
    "weight_decay": "0:0.1",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskingSettings(_Settings):
    """Which words a model is to guess.

    Raises:
        ConfigError: a value that its field cannot have, by name.
    """

    masked_share: Annotated[
        float | None,
        Doc("Share of tokens to guess; 0.15 if not given. 80% of them become [MASK], 10% others, 10% stay.", _MASKS),
    ] = None
    max_predictions: Annotated[
        int | None, Doc("Most tokens to guess in a sequence; no limit if not given.", _MASKS)
    ] = None
    whole_words: Annotated[
        bool,
        Doc("Guess all pieces of a word or none; in Chinese by its segmentation (--segmented).", _MASKS),
    ] = False

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        self._check("masked_share", lambda value: 0.0 < value < 1.0, "a share between 0 and 1, neither of them")
        self._check("max_predictions", lambda value: value >= 1, "1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareSettings(MaskingSettings):
    """How raw text becomes the sequences that a model is pretrained with.

    Raises:
        ConfigError: a value that its field cannot have, by name, or two that exclude each other.
    """

    texts: Annotated[
        Any,
        Doc(
            "Text files, or files of records with a text each (.jsonl, .json, .parquet, .csv, .tsv); a folder stands "
            "for the files in it.",
            _DATA,
        ),
    ]
    vocab: Annotated[
        str | Path, Doc("Vocabulary: vocab.txt, or a folder or hub name with a tokenizer, whose settings count.", _DATA)
    ]
    out: Annotated[str | Path, Doc("Folder of the shards; one that is not finished is gone on with.", _OUTPUT)]
    documents: Annotated[
        Documents, Doc("What ends a document of a text file: a blank line, each line, or only its end.", _DATA)
    ] = "blank-lines"
    document_start: Annotated[
        str | None,
        Doc("Regular expression of lines that begin a document, such as '^CHAPTER'; in place of --documents.", _DATA),
    ] = None
    sentences: Annotated[
        Sentences,
        Doc(
            "lines: each line is a sentence; split: find where sentences end; auto looks at the text, and says.", _DATA
        ),
    ] = "auto"
    language: Annotated[
        str, Doc("Language of the text, such as en or zh, whose rules and abbreviations split sentences.", _DATA)
    ] = "en"
    text_column: Annotated[Column | None, Doc("Column of the text of records. Guessed, and said.", _DATA)] = None
    header: Annotated[
        bool, Doc("Whether the first row of CSV and TSV files names the columns; --no-header: it does not.", _DATA)
    ] = True
    encoding: Annotated[str, Doc("Encoding of the files, such as utf-8 or latin-1.", _DATA)] = "utf-8"
    skip_bad: Annotated[bool, Doc("Skip bad records, count and list them; else the first one ends the run.", _DATA)] = (
        False
    )
    segmented: Annotated[
        bool,
        Doc("What stands between spaces is one word, as in segmented Chinese; for whole words.", _DATA),
    ] = False
    held_out: Annotated[
        float, Doc("Share of documents that are set aside, by chance, to measure on while pretraining.", _DATA)
    ] = 0.01
    objective: Annotated[
        Objective,
        Doc(
            "nsp: pairs, half of them with a second part from elsewhere; sop: pairs, half of them swapped; mlm: words "
            "alone, no pairs.",
            _SEQUENCES,
        ),
    ] = "nsp"
    max_length: Annotated[int, Doc("Most tokens of a sequence.", _SEQUENCES)] = 128
    short_sequences: Annotated[
        float, Doc("Share that is aimed at a random shorter length, as later tasks have them.", _SEQUENCES)
    ] = 0.1
    copies: Annotated[
        int, Doc("How many times the text is read, with other pairs each time (Google's dupe_factor).", _SEQUENCES)
    ] = 1
    seed: Annotated[int, Doc("Decides pairs, lengths, what is held out and static masks.", _SEQUENCES)] = 0
    static_masks: Annotated[
        bool, Doc("Choose words to guess now, once for each copy; else pretraining does, anew each time.", _MASKS)
    ] = False
    workers: Annotated[int | None, Doc("Processes; as many as there are cores if not given.", _MACHINE)] = None
    part: Annotated[
        str | None, Doc("Make the i-th of n parts, such as 2/8; all parts go to one folder, in any order.", _MACHINE)
    ] = None
    overwrite: Annotated[bool, Doc("Replace a folder of shards.", _OUTPUT)] = False

    def __post_init__(self) -> None:
        """Check what would otherwise fail late."""
        super().__post_init__()
        if paths_of(self.texts) is None:
            raise ConfigError(f"texts is {_short(self.texts)}, expected the path of a file or folder, or several")
        self._check("max_length", lambda value: 5 <= value < 2**16, "5 or more: [CLS], two tokens and two [SEP]")
        for name in ("short_sequences", "held_out"):
            self._check(name, lambda value: 0.0 <= value < 1.0, "a share from 0 to below 1")
        for name in ("copies", "workers"):
            self._check(name, lambda value: value >= 1, "1 or more")
        self._check("seed", lambda value: 0 <= value < 2**63, "from 0 to 2^63 - 1")
        if self.part is not None:
            _ = self.share  # one that there is not is told now
            if self.overwrite:
                raise ConfigError("part is given with overwrite, which would take what the other parts have made")
        if not self.static_masks:
            for name in ("masked_share", "max_predictions", "whole_words"):
                if getattr(self, name):
                    raise ConfigError(f"{name} is for static_masks; where words are chosen anew, pretrain takes it")
        if self.document_start is not None and self.documents != "blank-lines":
            raise ConfigError(f"document_start is given, and documents is {self.documents!r}; give one of them")

    @property
    def share(self) -> tuple[int, int]:
        """Which part of how many, from 1.

        Raises:
            ConfigError: `part` is not of the form i/n, or i is none of them.
        """
        return share_of(self.part)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainSettings(RunSettings, MaskingSettings):
    """How a model is pretrained on shards of text, and where the result goes.

    Raises:
        ConfigError: a value that its field cannot have, by name, or two that exclude each other.
    """

    shards: Annotated[
        Any,
        Doc("Folders that glassbert prepare made; several are read one after the other, such as 128 and 512.", _DATA),
    ]
    phases: Annotated[
        Sequence[float] | str | None,
        Doc("Shares of the steps for each of several folders, such as 0.9,0.1; equal ones if not given.", _DATA),
    ] = None
    validation: Annotated[
        str | Path | None,
        Doc("Shards of other text to measure on. What was held out of the first folder if not given.", _DATA),
    ] = None
    held_out_sequences: Annotated[int, Doc("Most held-out sequences to measure on.", _EVALUATION)] = 1000
    check: Annotated[
        bool, Doc("Whether all files are compared with their SHA-256 before; --no-check: their sizes alone.", _DATA)
    ] = True
    preset: Annotated[
        str | None,
        Doc("Size of a new model: tiny, mini, small, medium, base, large, or as 4x256 any of Google's.", _MODEL),
    ] = None
    model: Annotated[
        str | Path | None, Doc("Folder or hub name of a model to go on with, in place of a new one.", _MODEL)
    ] = None
    model_config: Annotated[
        Mapping[str, Any], Doc("Changes of the model's config, such as hidden_dropout_prob=0.", _MODEL)
    ] = dataclasses.field(default_factory=dict)
    batch_size: Annotated[int, Doc("Sequences per batch.", _STEPS)] = 256
    learning_rate: Annotated[float, Doc("Highest learning rate.", _RATES)] = 1e-4
    warmup: Annotated[float, Doc("Share of all steps in which the rate rises from 0.", _RATES)] = 0.01
    evaluate_every: Annotated[
        int | None, Doc("Steps from one evaluation to the next. A twentieth of all if not given.", _EVALUATION)
    ] = None

    def __post_init__(self) -> None:
        """Check what would otherwise fail late."""
        if isinstance(self.phases, str):
            shares = [_as_number(one.strip()) for one in self.phases.split(",")]
            if any(isinstance(share, str) for share in shares):
                raise ConfigError(f"phases is {self.phases!r}, expected shares such as 0.9,0.1")
            object.__setattr__(self, "phases", shares)
        super().__post_init__()
        if paths_of(self.shards) is None:
            raise ConfigError(f"shards is {_short(self.shards)}, expected the path of a folder, or several")
        if self.steps is None:
            raise ConfigError("missing: steps")
        if (self.preset is None) == (self.model is None):
            given = "both are" if self.preset is not None else "neither is"
            raise ConfigError(f"preset makes a new model, model goes on with another; {given} given")
        if self.preset is not None:
            preset_sizes(self.preset)
        self._check("held_out_sequences", lambda value: value >= 1, "1 or more")
        if self.phases is not None:
            if len(self.phases) != len(self.folders):
                there = "is one folder" if len(self.folders) == 1 else f"are {len(self.folders)}"
                raise ConfigError(
                    f"phases is {list(self.phases)!r}, which are shares for {len(self.phases)} folders; there {there}"
                )
            if not all(0.0 < float(share) < math.inf for share in self.phases):
                raise ConfigError(f"phases is {list(self.phases)!r}, expected shares more than 0")
            # Thirds may be written as 0.33.
            if abs(sum(map(float, self.phases)) - 1.0) > 0.011:
                raise ConfigError(f"phases is {list(self.phases)!r}, expected shares that add up to 1")
        if min(self.steps_of_phases) < 1:
            raise ConfigError(f"steps is {self.steps}, which leaves a folder of shards without any")

    @property
    def folders(self) -> list[Path]:
        """The folders of shards, in the order in which they are read."""
        return paths_of(self.shards) or []

    @property
    def steps_of_phases(self) -> list[int]:
        """How many steps are made with each folder."""
        shares = [float(share) for share in self.phases or [1.0] * len(self.folders)]
        steps = self.steps or 0
        ends = [round(steps * sum(shares[: number + 1]) / sum(shares)) for number in range(len(shares))]
        return [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def paths_of(data: Any) -> list[Path] | None:
    """Return the files of what `train` and its like take; None for records in memory."""
    if isinstance(data, str | Path):
        return [Path(data)]
    if isinstance(data, Sequence) and data and all(isinstance(one, str | Path) for one in data):
        return [Path(one) for one in data]
    return None


def _check_data(name: str, value: Any) -> None:
    """Check what training, validation or test data may be.

    Raises:
        ConfigError: nothing that holds records.
    """
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        raise ConfigError(f"{name} is a {type(value).__name__}; pass its records: frame.to_dict('records')")
    if isinstance(value, str) and value.startswith("<") and value.endswith(">"):
        raise ConfigError(f"{name} is {value}: that run had its data in memory; give data again")
    several = isinstance(value, Iterable) and not isinstance(value, bytes | Mapping)
    if not isinstance(value, str | Path) and not several:
        raise ConfigError(f"{name} is {_short(value)}, expected the path of a file, several paths, or records")
    if isinstance(value, list | tuple):
        kinds = {isinstance(one, str | Path) for one in value}
        if len(kinds) != 1:
            what = "paths beside records" if kinds else "empty"
            raise ConfigError(f"{name} is {what}, expected paths, or records")


def _short(value: object) -> str:
    """Show a value in a message."""
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 80 else f"{shown[:60]}… (of type {type(value).__name__})"


def _read_yaml(file: str | Path) -> Any:
    """Read a YAML file whose mappings name everything once.

    Raises:
        ConfigError: with the file, and the line where that is known.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses what is named twice, which YAML forbids and its reader lets pass, and names that are no strings."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            for place, name in enumerate(names):
                line = node.value[place][0].start_mark.line + 1
                if name in names[:place]:
                    raise ConfigError(f"{file}:{line}: {name!r} is named twice")
                if not isinstance(name, str) and type(name) is not int:
                    written = node.value[place][0].value
                    raise ConfigError(f"{file}:{line}: the name {written} means {name!r} in YAML; write '{written}'")
            values = super().construct_mapping(node, deep=deep)
            return {str(name): value for name, value in values.items()}

    try:
        return yaml.load(Path(file).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from None


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the types that an annotation allows."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type that one may annotate a setting with."""
    for part in alternatives(kind):
        origin = get_origin(part)
        if (
            part is Any
            or (part is NoneType and value is None)
            or (part is float and type(value) in (int, float))
            or (part in (bool, int, str) and type(value) is part)
            or (part is Path and isinstance(value, Path))
            or (origin is Literal and isinstance(value, str) and value in get_args(part))
        ):
            return True
        if origin is Mapping and isinstance(value, Mapping):
            keys, values = get_args(part)
            return all(_fits(key, keys) and _fits(one, values) for key, one in value.items())
        if origin is Sequence and isinstance(value, list | tuple):
            return all(_fits(one, get_args(part)[0]) for one in value)
    return False


def _in_words(kind: Any) -> str:
    """Say what values a setting may have."""
    words = []
    for part in alternatives(kind):
        if get_origin(part) is Literal:
            words += list(get_args(part))
        elif get_origin(part) is Mapping:
            words.append("values by name")
        elif part in _WORDS:
            words.append(_WORDS[part])
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


_WORDS: Mapping[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path",
}


def _meant(name: str, names: Iterable[str]) -> str:
    """Return a hint where a name is close to one that there is."""
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _as_number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple) and all(isinstance(one, str | Path | int | float) for one in value):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else f"<{type(value).__name__}>"
