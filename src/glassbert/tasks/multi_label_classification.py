"""Any number of labels for a text or a pair of texts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glassbert.errors import ConfigError, DataError, InputError
from glassbert.model import BertConfig, BertForSequenceClassification
from glassbert.tasks.metrics import surprise
from glassbert.tasks.results import Result
from glassbert.tasks.task import TASK, Columns, Metrics, Record, Task, Verdict
from glassbert.tasks.text_classification import finite, refuse_alike, shown, sorted_labels
from glassbert.tasks.texts import TextExample, TextFeatures, brief, collate_texts, encoded, known_pairs, texts_of
from glassbert.text import BertTokenizer

# How a person reads that no label holds.
_NONE: Final = "none"
# What a column of one label holds, as text.
_HOLDS: Final = {"1": True, "true": True, "1.0": True, "0": False, "false": False, "0.0": False}
_HINT: Final = (
    'names are expected, such as ["toxic"]; a column of 0 and 1 for each label is read by --column labels=toxic,obscene'
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiLabelExample(TextExample):
    """A text, or a pair, with its labels by name, perhaps none; None where nobody knows them yet.

    Attributes:
        labels: those that hold.
        among: all that it might have, where its record names them; None where not.
    """

    labels: tuple[str, ...] | None = None
    among: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiLabel(Result):
    """The answer for one text or pair.

    Attributes:
        labels: those whose probability reaches their threshold, the most probable first; perhaps none.
        scores: the probability of every label, by name.
        cut: tokens left out because the text is longer than the model takes.
    """

    labels: tuple[str, ...]
    scores: dict[str, float]
    cut: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiLabelMetrics(Metrics):
    """How well predicted labels meet the true ones.

    Attributes:
        micro_f1: F1 over all decisions, one for each text and label.
        macro_f1: mean of the labels' F1, over labels that occur in truth or prediction.
        exact: share of texts with all labels right.
        f1: F1 of each label, by name; 0 where it never occurs.
        counts: how often each label is true.
        examples: how many texts.
    """

    micro_f1: float
    macro_f1: float
    exact: float
    f1: dict[str, float]
    counts: dict[str, int]
    examples: int
    main_name: ClassVar[str] = "micro_f1"


@dataclasses.dataclass(frozen=True)
class MultiLabelClassification(Task[MultiLabelExample, TextFeatures, MultiLabel, MultiLabelMetrics]):
    """Which of several labels hold for a text, or a pair; each is decided by itself.

    Attributes:
        labels: their names, in the order of their ids.
        thresholds: of each label, the probability from which it holds.
        separator: between the labels in a column of text; JSON lists need none.
        pairs: whether pairs of texts are learned; None where nothing tells.
        threshold: the probability from which a label holds, for all or by name, in place of `thresholds`.

    Raises:
        ConfigError: a `threshold` that is no number from 0 to 1, or of a label that there is not.
    """

    labels: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    separator: str = ","
    pairs: bool | None = None
    threshold: float | Mapping[str, float] | None = None
    name: ClassVar[str] = "multi-label-classification"
    model_class = BertForSequenceClassification
    roles: ClassVar = {"text": True, "pair": False, "labels": True}
    labels_in: ClassVar[tuple[str, ...]] = ("labels",)
    in_several: ClassVar[tuple[str, ...]] = ("labels",)
    answer_options: ClassVar[tuple[str, ...]] = ("threshold",)

    def __post_init__(self) -> None:
        """Check the threshold."""
        if self.threshold is None:
            return
        by_name = self.threshold if isinstance(self.threshold, Mapping) else {"": self.threshold}
        for name, least in by_name.items():
            if type(least) not in (int, float) or not 0 <= least <= 1:
                raise ConfigError(f"threshold is {self.threshold!r}, expected numbers from 0 to 1")
            if name and name not in self.labels:
                raise ConfigError(f"threshold names {name!r}, expected one of {shown(self.labels)}")

    def _least(self) -> tuple[float, ...]:
        """Return the probability from which each label holds."""
        if isinstance(self.threshold, Mapping):
            return tuple(self.threshold.get(name, least) for name, least in zip(self.labels, self.thresholds))
        return self.thresholds if self.threshold is None else (float(self.threshold),) * len(self.labels)

    def learn(self, examples: Iterable[MultiLabelExample]) -> Self:
        """Find the labels that occur; each holds from a probability of one half, until `calibrate` finds better.

        Raises:
            DataError: one label only, two that look alike, or 0 and 1 in place of names.
        """
        first: dict[str, MultiLabelExample] = {}
        pairs: bool | None = None
        sets = set()
        for example in examples:
            found = _labels(example)
            sets.add(frozenset(found))
            for label in (*found, *(example.among or ())):
                first.setdefault(label, example)
            pairs = example.pair is not None if pairs is None else pairs
        if sets == {frozenset("01")}:
            raise DataError(f"every text has the labels 0 and 1, as if lists told which labels hold; {_HINT}")
        refuse_alike(first)
        labels = sorted_labels(first)
        return dataclasses.replace(self, labels=labels, thresholds=(0.5,) * len(labels), pairs=pairs)

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Take labels and thresholds from the model's config."""
        # A model of another program need not say which of both it is; whoever asks for this decides.
        undecided = config.problem_type is None and config.num_labels > 1
        if config.problem_type != "multi_label_classification" and not undecided:
            raise ConfigError(f"the model's problem_type is {config.problem_type!r}, not multi_label_classification")
        labels = tuple(config.id2label.values())
        stored = config.extra.get(TASK, {}).get("thresholds", [0.5] * len(labels))
        if len(stored) != len(labels) or not all(type(one) in (int, float) and 0 <= one <= 1 for one in stored):
            raise ConfigError(f"{TASK}.thresholds is {stored!r}, expected {len(labels)} numbers from 0 to 1")
        return cls(labels=labels, thresholds=tuple(map(float, stored)), pairs=known_pairs(config))

    def configure(self, config: BertConfig) -> BertConfig:
        """Return the config of a classifier for these labels."""
        return dataclasses.replace(
            config,
            num_labels=len(self.labels),
            id2label=dict(enumerate(self.labels)),
            label2id={},
            problem_type="multi_label_classification",
            extra={
                **config.extra,
                TASK: {"name": self.name, "thresholds": list(self.thresholds), "pairs": self.pairs},
            },
        )

    def examples(
        self, records: Iterable[Record], columns: Columns, *, labelled: bool = True
    ) -> Iterator[MultiLabelExample]:
        """Take text, second text and labels out of rows.

        Labels are a JSON list, or names between separators; or there is a column for each that holds 0 or 1 (false or
        true), and has the label's name.
        """
        several = [column for role, column in columns.items() if role.startswith("labels.")]
        for record in records:
            labels: tuple[str, ...] | None = None
            among: tuple[str, ...] | None = None
            if labelled and several:
                among = tuple(map(record.name, several))
                labels = tuple(name for name in among if _holds(record, name))
            elif labelled:
                labels = self._names(record, columns["labels"])
            yield MultiLabelExample(**texts_of(record, columns), labels=labels, among=among)

    def _names(self, record: Record, column: str | int) -> tuple[str, ...]:
        value = record.value(column)
        if value is None:
            raise record.error("the labels are missing (null); an empty list says that there are none")
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                raise record.error(f'labels is {value!r}, which is no list of names such as ["a", "b"]') from None
        # With [0, 1] this is only known when all records are: there may be labels of these names.
        told = isinstance(value, list) and all(isinstance(one, int | float) and one in (0, 1) for one in value)
        if told and len(value) > len(set(value)):
            raise record.error(f"labels is {value!r}, as if it told which labels hold; {_HINT}")
        if isinstance(value, str):
            names = [name.strip() for name in value.split(self.separator)] if value.strip() else []
        elif isinstance(value, list) and all(type(name) in (str, int) for name in value):
            names = [str(name) for name in value]
        else:
            raise record.error(f"labels is {value!r}, expected a list of names")
        if "" in names or len(set(names)) != len(names):
            raise record.error(f"labels is {value!r}, which names an empty label, or one twice")
        return tuple(names)

    def features(
        self, examples: Iterable[MultiLabelExample], tokenizer: BertTokenizer, *, max_length: int, labelled: bool = True
    ) -> Iterator[TextFeatures]:
        """Turn texts into tokens and labels into ones and zeros."""
        for number, example, encoding in encoded(examples, tokenizer, max_length, pairs=self.pairs):
            label = None
            if labelled:
                strange = [name for name in _labels(example) if name not in self.labels]
                if strange:
                    raise example.error(f"label {strange[0]!r} is not one the model knows ({shown(self.labels)})")
                label = [float(name in _labels(example)) for name in self.labels]
            yield TextFeatures(encoding=encoding, label=label, example=number)

    def collate(self, features: Sequence[TextFeatures], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (B, S) ids, types and mask, and (B, C) floats."""
        return collate_texts(features, tokenizer, torch.float32)

    def answers(
        self, examples: Sequence[MultiLabelExample], features: Sequence[TextFeatures], rows: Sequence[Tensor]
    ) -> list[MultiLabel]:
        """Turn scores (C,) into probabilities, and those that reach their threshold into labels."""
        results = []
        least_of = self._least()
        for feature, row in zip(features, finite(rows), strict=True):
            scores = dict(zip(self.labels, row.sigmoid().tolist(), strict=True))
            held = [name for name, least in zip(self.labels, least_of, strict=True) if scores[name] >= least]
            held.sort(key=lambda name: -scores[name])
            results.append(MultiLabel(labels=tuple(held), scores=scores, cut=feature.encoding.cut))
        return results

    def calibrate(
        self, examples: Sequence[MultiLabelExample], features: Sequence[TextFeatures], rows: Sequence[Tensor]
    ) -> Self:
        """Choose for each label the threshold with the best F1; one that never holds here keeps its own."""
        if not examples:
            return self
        scores = torch.stack(list(finite(rows))).sigmoid().double().numpy()
        truth = np.array([[name in _labels(example) for name in self.labels] for example in examples])
        best = [_best_threshold(scores[:, c], truth[:, c], old) for c, old in enumerate(self.thresholds)]
        return dataclasses.replace(self, thresholds=tuple(best))

    def measure(self, examples: Sequence[MultiLabelExample], results: Sequence[MultiLabel]) -> MultiLabelMetrics:
        """Compare predicted labels with the true ones."""
        if not examples:
            raise InputError("no examples to evaluate")
        truth = np.array([[name in _labels(example) for name in self.labels] for example in examples])
        found = np.array([[name in result.labels for name in self.labels] for result in results])
        hits = (truth & found).sum(axis=0)
        either = truth.sum(axis=0) + found.sum(axis=0)
        f1 = np.divide(2.0 * hits, either, out=np.zeros(len(self.labels)), where=either > 0)
        return MultiLabelMetrics(
            micro_f1=float(2.0 * hits.sum() / max(1, either.sum())),
            macro_f1=float(f1[either > 0].mean()) if (either > 0).any() else 0.0,
            exact=float((truth == found).all(axis=1).mean()),
            f1=dict(zip(self.labels, f1.tolist(), strict=True)),
            counts=dict(zip(self.labels, truth.sum(axis=0).tolist(), strict=True)),
            examples=len(examples),
        )

    def verdict(self, example: MultiLabelExample, result: MultiLabel) -> Verdict:
        """Take the mean of the labels' cross-entropies: how improbable the model finds each decision that is right."""
        true = _labels(example)
        of_right = [score if name in true else 1.0 - score for name, score in result.scores.items()]
        return Verdict(
            text=brief(example.text, example.pair),
            expected=", ".join(true) or _NONE,
            answered=", ".join(result.labels) or _NONE,
            error=sum(map(surprise, of_right)) / max(1, len(of_right)),
        )


def _best_threshold(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_], old: float) -> float:
    """Return the threshold in the middle of the gap between scores where F1 is highest; the lowest of equals."""
    if not truth.any():
        return old
    order = np.argsort(-scores, kind="stable")
    sorted_scores, hits = scores[order], np.cumsum(truth[order])
    f1 = 2.0 * hits / (np.arange(1, len(scores) + 1) + truth.sum())
    # A threshold cannot part equal scores.
    f1[:-1][sorted_scores[:-1] == sorted_scores[1:]] = -1.0
    place = int(f1.argmax())
    below = sorted_scores[place + 1] if place + 1 < len(scores) else 0.0
    return float((sorted_scores[place] + below) / 2)


def _holds(record: Record, column: str) -> bool:
    """Whether a label holds, by its own column."""
    value = record.get(column).strip().lower()
    if value not in _HOLDS:
        raise record.error(f"the column {column!r} holds {value[:30]!r}, expected 0 or 1")
    return _HOLDS[value]


def _labels(example: MultiLabelExample) -> tuple[str, ...]:
    if example.labels is None:
        raise example.error("no labels")
    return example.labels
