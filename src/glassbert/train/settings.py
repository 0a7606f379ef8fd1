"""What can be set about training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassbert.errors import ConfigError
from glassbert.tasks import task_class
from glassbert.tasks.task import Columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
        epochs: passes over the training data.
        batch_size: examples per optimizer step, drawn in random order whatever their length.
        learning_rate: its highest value.
        warmup: share of all steps in which the rate rises from 0.
        weight_decay: decoupled decay of weights; biases and LayerNorm have none.
        max_grad_norm: the gradients' joint norm is clipped to this.
        token_dropout: share of a text's tokens that are replaced by `[MASK]`, anew in every epoch, so that the model
            learns to read all of a text and not one telling word. Helps where the data is small; 0 leaves texts alone.
        crop: most tokens of a training text; a longer one is read through a window of this length, at a random place
            and anew in every epoch. None reads whole texts.
        token_budget: most tokens that are computed at once. A larger batch is split into micro-batches; the loss is
            normalised over the whole step, so this changes memory and speed, not the result.
        seed: decides fresh weights, the order of the data and dropout.

    Raises:
        ConfigError: a value out of range, by name.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    token_dropout: float = 0.0
    crop: int | None = None
    token_budget: int = 8192
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            whole = field.name in ("epochs", "batch_size", "token_budget", "crop", "seed")
            if type(value) not in ((int,) if whole else (int, float)) and not (field.name == "crop" and value is None):
                raise ConfigError(f"{field.name} is {value!r}, expected a {'whole ' if whole else ''}number")
        for name in ("epochs", "batch_size", "token_budget"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in ("learning_rate", "max_grad_norm"):
            _check(name, getattr(self, name), 0.0 < getattr(self, name) < float("inf"), "a finite number more than 0")
        _check("warmup", self.warmup, 0.0 <= self.warmup <= 1.0, "a share from 0 to 1")
        _check("token_dropout", self.token_dropout, 0.0 <= self.token_dropout < 1.0, "a share from 0 to below 1")
        if self.crop is not None:
            _check("crop", self.crop, self.crop >= 3, "3 or more: [CLS], one token, [SEP]")
        _check("weight_decay", self.weight_decay, 0.0 <= self.weight_decay < float("inf"), "0 or more")
        _check("seed", self.seed, 0 <= self.seed < 2**63, "from 0 to 2^63 - 1")


def _check(name: str, value: float, good: bool, expected: str) -> None:
    if not good:
        raise ConfigError(f"{name} is {value!r}, expected {expected}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """What is trained on what, and where the result goes.

    Attributes:
        train: file of training records (.csv, .tsv, .jsonl).
        model: folder of the model to begin with.
        out: folder of the result; must be new or empty unless `overwrite`.
        validation: file of records to evaluate on after every epoch.
        task: what the model learns to do.
        text_column, pair_column, negative_column, label_column: by name, or by number from 0. The pair's second text is
            optional; the negative is a third one, for `sentence-embedding`. The label column holds what the task
            learns: a class, labels, a score; None is the column "label", where the task needs one. Tasks about other
            things than texts and pairs name their columns themselves.
        task_options: what can be chosen about the task, by name; see `options` of its class.
        header: whether the first row of CSV and TSV files names the columns.
        encoding: of the data files.
        max_length: most tokens of a text; None takes what the model takes.
        overwrite: replace what stands in `out`.
        training: how it is trained.
    """

    train: str | Path
    model: str | Path
    out: str | Path
    validation: str | Path | None = None
    task: str = "text-classification"
    text_column: str | int = "text"
    pair_column: str | int | None = None
    negative_column: str | int | None = None
    label_column: str | int | None = None
    task_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    header: bool = True
    encoding: str = "utf-8"
    max_length: int | None = None
    overwrite: bool = False
    training: TrainingSettings = TrainingSettings()

    def __post_init__(self) -> None:
        """Check the task, the length, and what would otherwise fail late."""
        for name in ("train", "model", "out", "validation"):
            value = getattr(self, name)
            if not isinstance(value, (str, Path)) and not (name == "validation" and value is None):
                raise ConfigError(f"{name} is {value!r}, expected the path of one file or folder")
        for name in ("header", "overwrite"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected True or False")
        if not isinstance(self.training, TrainingSettings):
            raise ConfigError(f"training is {self.training!r}, expected TrainingSettings(…)")
        if not isinstance(self.task_options, Mapping):
            raise ConfigError(f"task_options is {self.task_options!r}, expected values by name")
        task_class(self.task).check_options(self.task_options)
        if self.max_length is not None:
            _check("max_length", self.max_length, self.max_length >= 3, "3 or more: [CLS], one token, [SEP]")

    @property
    def columns(self) -> Columns:
        """A column for each role that the task has and the data holds."""
        return task_class(self.task).columns(
            text=self.text_column, pair=self.pair_column, negative=self.negative_column, label=self.label_column
        )
