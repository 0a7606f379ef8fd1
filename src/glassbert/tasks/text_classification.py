"""One label for a text or a pair of texts."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, Self

import torch
from torch import Tensor

from glassbert.errors import ConfigError, DataError, InputError
from glassbert.model import BertConfig, BertForSequenceClassification
from glassbert.tasks.metrics import accuracy, confusion_matrix, f1_by_class, matthews, surprise
from glassbert.tasks.results import Result
from glassbert.tasks.task import TASK, Columns, Example, Metrics, Record, Task, Verdict, counted
from glassbert.tasks.texts import TextExample, TextFeatures, brief, collate_texts, encoded, known_pairs, texts_of
from glassbert.text import BertTokenizer

# What data sets write where there is no label.
_NO_LABEL: Final = ("-", "--", "?", "n/a", "na", "null", "none", "nan", "<na>")
# So many classes that are numbers, and so large a share of the texts, are hardly classes.
_MANY: Final = 20
_SHARE: Final = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationExample(TextExample):
    """A text, or a pair, with its class by name; None where nobody knows it yet."""

    label: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(Result):
    """The answer for one text or pair.

    Attributes:
        label: the most probable class.
        score: its probability.
        scores: the probability of every class, by name.
        cut: tokens left out because the text is longer than the model takes.
    """

    label: str
    score: float
    scores: dict[str, float]
    cut: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationMetrics(Metrics):
    """How well predicted classes meet the true ones.

    Attributes:
        accuracy: share of right answers.
        macro_f1: mean of the classes' F1, over classes that occur.
        matthews: correlation of predicted and true classes (Matthews, for several classes: Gorodkin 2004).
        f1: F1 of each class, by name.
        labels: names of the classes, in the order of the matrix.
        confusion: (C, C) counts; rows are the true classes.
        examples: how many.
    """

    accuracy: float
    macro_f1: float
    matthews: float
    f1: dict[str, float]
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    examples: int
    main_name: ClassVar[str] = "accuracy"


@dataclasses.dataclass(frozen=True)
class TextClassification(Task[ClassificationExample, TextFeatures, Classification, ClassificationMetrics]):
    """Which of several classes a text, or a pair of texts, belongs to.

    Attributes:
        labels: the names of the classes, in the order of their ids.
        ignore: a label that means that there is none: labelled records that have it are left out.
        pairs: whether pairs of texts are learned; None where nothing tells.
        left_out: how many records were, by this task and those that it was made from.

    Raises:
        ConfigError: an `ignore` that is no label.
    """

    labels: tuple[str, ...] = ()
    ignore: str | None = None
    pairs: bool | None = None
    left_out: Counter[str] = dataclasses.field(default_factory=Counter, compare=False, repr=False)
    name: ClassVar[str] = "text-classification"
    model_class = BertForSequenceClassification
    roles: ClassVar = {"text": True, "pair": False, "label": True}
    loss_choices: ClassVar[tuple[str, ...]] = ("class_weights", "label_smoothing")
    options: ClassVar[tuple[str, ...]] = ("ignore",)

    def __post_init__(self) -> None:
        """Check what is ignored; a number is taken as the label that is written so."""
        ignore = self.ignore
        if isinstance(ignore, int | float) and not isinstance(ignore, bool):
            ignore = str(ignore)
        if ignore is not None and (not isinstance(ignore, str) or not ignore.strip()):
            raise ConfigError(f"ignore is {self.ignore!r}, expected the name of a label")
        object.__setattr__(self, "ignore", ignore)

    def learn(self, examples: Iterable[ClassificationExample]) -> Self:
        """Find the classes: those that occur, numbers by value and names by letter.

        Raises:
            DataError: one class only, or two that look alike.
        """
        first: dict[str, ClassificationExample] = {}
        for example in examples:
            first.setdefault(_label(example), example)
        refuse_alike(first)
        pairs = next((example.pair is not None for example in first.values()), None)
        return dataclasses.replace(self, labels=sorted_labels(first), pairs=pairs)

    def notes(self, examples: Sequence[ClassificationExample], features: Sequence[TextFeatures]) -> Iterator[str]:
        """Tell what was left out, and of classes that may be none."""
        for name, count in self.left_out.items():
            yield f"{counted(count, 'record')} with the label {name!r} left out, of all files"
        for name in self.labels:
            if name.strip().casefold() in _NO_LABEL:
                yield (
                    f"a class is named {name!r}, which may mean that there is no label; --option "
                    f"ignore={_as_option(name)} leaves such records out"
                )
        if len(self.labels) > max(_MANY, _SHARE * len(examples)) and all(map(_is_number, self.labels)):
            yield (
                f"the {len(self.labels)} classes of {counted(len(examples), 'text')} are all numbers; if more and less "
                "mean something, --task regression learns that"
            )

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Take the classes from the model's config."""
        if config.problem_type not in (None, "single_label_classification") or config.num_labels < 2:
            raise ConfigError(f"the model's problem_type is {config.problem_type!r}, with {config.num_labels} labels")
        ignore = config.extra.get(TASK, {}).get("ignore")
        return cls(labels=tuple(config.id2label.values()), ignore=ignore, pairs=known_pairs(config))

    def configure(self, config: BertConfig) -> BertConfig:
        """Return the config of a classifier for these classes."""
        return dataclasses.replace(
            config,
            num_labels=len(self.labels),
            id2label=dict(enumerate(self.labels)),
            label2id={},
            problem_type="single_label_classification",
            extra={**config.extra, TASK: {"name": self.name, "pairs": self.pairs, "ignore": self.ignore}},
        )

    def examples(
        self, records: Iterable[Record], columns: Columns, *, labelled: bool = True
    ) -> Iterator[ClassificationExample]:
        """Take text, second text and label out of rows; where labels are read, leave out those with `ignore`."""
        for record in records:
            label = None
            if labelled:
                if isinstance(record.value(columns["label"]), list | tuple | dict):
                    raise record.error(
                        f"the label is {brief(record.get(columns['label']))}, expected one name; several labels a text "
                        "are for --task multi-label-classification"
                    )
                label = record.get(columns["label"])
                if label == self.ignore:
                    self.left_out[label] += 1
                    continue
                if not label.strip():
                    raise record.error("the label is empty")
            yield ClassificationExample(**texts_of(record, columns), label=label)

    def features(
        self,
        examples: Iterable[ClassificationExample],
        tokenizer: BertTokenizer,
        *,
        max_length: int,
        labelled: bool = True,
    ) -> Iterator[TextFeatures]:
        """Turn texts into tokens and labels into ids."""
        ids = {name: index for index, name in enumerate(self.labels)}
        for number, example, encoding in encoded(examples, tokenizer, max_length, pairs=self.pairs):
            label = None
            if labelled:
                if _label(example) not in ids:
                    raise example.error(f"label {example.label!r} is not one the model knows ({shown(self.labels)})")
                label = ids[_label(example)]
            yield TextFeatures(encoding=encoding, label=label, example=number)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.labels

    def class_ids(self, feature: TextFeatures) -> Sequence[int]:
        """Return the id of the text's class."""
        return [feature.label]

    def collate(self, features: Sequence[TextFeatures], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (B, S) ids, types and mask, and (B,) labels."""
        return collate_texts(features, tokenizer)

    def answers(
        self, examples: Sequence[ClassificationExample], features: Sequence[TextFeatures], rows: Sequence[Tensor]
    ) -> list[Classification]:
        """Turn scores (C,) into probabilities."""
        results = []
        for feature, row in zip(features, finite(rows), strict=True):
            scores = dict(zip(self.labels, row.softmax(dim=-1).tolist(), strict=True))
            best = max(scores, key=scores.__getitem__)
            results.append(Classification(label=best, score=scores[best], scores=scores, cut=feature.encoding.cut))
        return results

    def measure(
        self, examples: Sequence[ClassificationExample], results: Sequence[Classification]
    ) -> ClassificationMetrics:
        """Compare predicted classes with the true ones."""
        gold = [_label(example) for example in examples]
        return measure(gold, [result.label for result in results], self.labels)

    def verdict(self, example: ClassificationExample, result: Classification) -> Verdict:
        """Take the cross-entropy: how improbable the model finds the true class."""
        label = _label(example)
        return Verdict(
            text=brief(example.text, example.pair),
            expected=label,
            answered=result.label,
            error=surprise(result.scores.get(label, 0.0)),
        )


def sorted_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the classes that occur: numbers by value, names by letter.

    Raises:
        DataError: one class only, or none.
    """
    found = dict.fromkeys(names)
    if len(found) < 2:
        classes = f"{len(found)} class" + (f" ({', '.join(found)})" if found else "es")
        raise DataError(f"the training data has {classes}; a classifier needs two or more")
    return tuple(sorted(found, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))


def refuse_alike(first: Mapping[str, Example]) -> None:
    """Refuse classes that are hardly two: 1 and 1.0, or 1 and true, as JSON and tables mix them.

    Args:
        first: of each class the example where it stands first.

    Raises:
        DataError: two such classes, with the file and line of one of them.
    """
    for name, example in first.items():
        whole = re.fullmatch(r"(-?[0-9]+)\.0+", name)
        other = whole[1] if whole else {"true": "1", "false": "0"}.get(name.lower())
        if other is not None and other in first:
            raise example.error(f"the classes {other!r} and {name!r} look alike; write all labels in one way")


def _is_number(name: str) -> bool:
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def _as_option(name: str) -> str:
    """Return a name so that a command reads it as a string."""
    try:
        json.loads(name)
    except ValueError:
        return name
    return f"'{json.dumps(name)}'"


def shown(labels: Sequence[str]) -> str:
    """Return the first names, for a message."""
    return ", ".join(labels[:10]) + (", …" if len(labels) > 10 else "")


def finite(rows: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return scores as they are.

    Raises:
        InputError: they are NaN or infinite.
    """
    # A sum is finite only where all its parts are; one of finite parts may yet be too large.
    if not all(math.isfinite(row.sum().item()) or bool(torch.isfinite(row).all()) for row in rows):
        raise InputError("the model's scores are not finite numbers; its weights are damaged")
    return rows


def _label(example: ClassificationExample) -> str:
    if example.label is None:
        raise example.error("no label")
    return example.label


def measure(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> ClassificationMetrics:
    """Compare predicted classes with the true ones.

    Raises:
        InputError: nothing to compare.
    """
    if not gold:
        raise InputError("no examples to evaluate")
    ids = {name: index for index, name in enumerate(labels)}
    matrix = confusion_matrix([ids[name] for name in gold], [ids[name] for name in predicted], len(labels))
    f1 = f1_by_class(matrix)
    occurs = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    return ClassificationMetrics(
        accuracy=accuracy(matrix),
        macro_f1=float(f1[occurs].mean()),
        matthews=matthews(matrix),
        f1=dict(zip(labels, map(float, f1), strict=True)),
        labels=tuple(labels),
        confusion=tuple(tuple(map(int, row)) for row in matrix),
        examples=len(gold),
    )
