"""One label for a text: record → features → batch; logits → typed result; metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from glassbert.errors import DataError, InputError
from glassbert.tasks.metrics import accuracy, confusion_matrix, f1_by_class
from glassbert.text import BertTokenizer, Encoding

# Texts that are encoded in one call: enough for all cores.
_AT_ONCE: Final = 512


class Record(Protocol):
    """A row of a file, as the room `data` reads it."""

    @property
    def file(self) -> str:
        """The file it stands in."""

    @property
    def line(self) -> int | None:
        """The line it begins on, from 1; None where the file has no lines to count."""

    @property
    def position(self) -> int | None:
        """Its position in the file, from 1, where there is no line."""

    def get(self, column: str | int) -> str:
        """Return the value of a column, by name or number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One text and its label, with the place it came from for messages.

    Attributes:
        text: not empty.
        label: its class by name; None where nobody knows it yet.
        file, line, position: where it stands.
    """

    text: str
    label: str | None = None
    file: str | None = None
    line: int | None = None
    position: int | None = None

    def error(self, message: str) -> DataError:
        """Make an error that names this example's place."""
        return DataError(message, file=self.file, line=self.line, position=self.position)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """One example as the model takes it: tokens, and the class by id (None without a label)."""

    encoding: Encoding
    label: int | None = None

    def __len__(self) -> int:
        """Length in tokens."""
        return len(self.encoding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification:
    """The answer for one text.

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

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationMetrics:
    """How well predicted classes meet the true ones.

    Attributes:
        accuracy: share of right answers.
        macro_f1: mean of the classes' F1, over classes that occur.
        f1: F1 of each class, by name.
        labels: names of the classes, in the order of the matrix.
        confusion: (C, C) counts; rows are the true classes.
        examples: how many.
    """

    accuracy: float
    macro_f1: float
    f1: dict[str, float]
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    examples: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


def to_examples(records: Iterable[Record], *, text_column: str | int, label_column: str | int) -> Iterator[Example]:
    """Take text and label out of rows.

    Raises:
        DataError: a row without such a column, or with an empty label.
    """
    for record in records:
        text, label = record.get(text_column), record.get(label_column)
        example = Example(text=text, label=label, file=record.file, line=record.line, position=record.position)
        if not label.strip():
            raise example.error("the label is empty")
        yield example


def labels_of(examples: Iterable[Example]) -> tuple[str, ...]:
    """Return the names of the classes that occur, sorted: numbers by value, names by letter.

    Raises:
        DataError: an example without a label, or one class only.
    """
    found = dict.fromkeys(_label(example) for example in examples)
    if len(found) < 2:
        raise DataError(
            f"the training data has {len(found)} class ({', '.join(found)}); a classifier needs two or more"
        )
    return tuple(sorted(found, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))


def _label(example: Example) -> str:
    if example.label is None:
        raise example.error("no label")
    return example.label


def featurize(
    examples: Iterable[Example], tokenizer: BertTokenizer, labels: Sequence[str] | None, *, max_length: int
) -> Iterator[Features]:
    """Turn texts into tokens and labels into ids, a few hundred at a time.

    Args:
        examples: any number.
        tokenizer: cuts at `max_length`; the features tell by how much (`encoding.cut`).
        labels: the classes, in the order of their ids; None leaves labels alone.
        max_length: most tokens, special ones included.

    Raises:
        DataError: an empty text, or a label that is not among `labels`, with file and line.
    """
    ids = None if labels is None else {name: index for index, name in enumerate(labels)}
    rest = iter(examples)
    while some := list(islice(rest, _AT_ONCE)):
        known = [None if ids is None else _known_label(example, ids) for example in some]
        for encoding, label in zip(_encoded(some, tokenizer, max_length), known, strict=True):
            yield Features(encoding=encoding, label=label)


def _known_label(example: Example, ids: dict[str, int]) -> int:
    name = _label(example)
    if name not in ids:
        known = ", ".join(list(ids)[:10]) + (", …" if len(ids) > 10 else "")
        raise example.error(f"label {name!r} is not one the model knows ({known})")
    return ids[name]


def _encoded(examples: Sequence[Example], tokenizer: BertTokenizer, max_length: int) -> list[Encoding]:
    for example in examples:
        if not example.text.strip():
            raise example.error("the text is empty")
    texts = [example.text for example in examples]
    try:
        return tokenizer.encodings(texts, truncation=True, max_length=max_length)
    except InputError:
        for example in examples:  # which one is it?
            try:
                tokenizer.encodings([example.text], truncation=True, max_length=max_length)
            except InputError as error:
                raise example.error(str(error)) from None
        raise


def crop(features: Features, length: int) -> Features:
    """Keep a window of at most `length` tokens, special ones included, at a random place of one text.

    Draws from torch's own random state, once for every text that is longer.
    """
    encoding = features.encoding
    left_out = len(encoding) - length
    if left_out <= 0:
        return features
    begin = 1 + int(torch.randint(left_out + 1, ()))  # [CLS] stays where it is
    kept = [0, *range(begin, begin + length - 2), len(encoding) - 1]
    window = Encoding(
        ids=[encoding.ids[place] for place in kept],
        first=length - 2,
        cut=encoding.cut + left_out,
    )
    return dataclasses.replace(features, encoding=window)


def collate(features: Sequence[Features], tokenizer: BertTokenizer) -> dict[str, Tensor]:
    """Make the keyword arguments of a forward call: (B, S) ids, types and mask, and (B,) labels where all are known."""
    batch = dict(tokenizer.pad_encodings([feature.encoding for feature in features], return_tensors="pt"))
    labels = [feature.label for feature in features if feature.label is not None]
    if len(labels) == len(features):
        batch["labels"] = torch.tensor(labels)
    return batch


def decode(logits: Tensor, labels: Sequence[str], cut: Sequence[int]) -> list[Classification]:
    """Turn scores (B, C) into answers, one a row.

    Raises:
        InputError: scores that are NaN or infinite.
    """
    if not torch.isfinite(logits).all():
        raise InputError("the model's scores are not finite numbers; its weights are damaged")
    answers = []
    for row, left_out in zip(logits.float().softmax(dim=-1).tolist(), cut, strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        scores = dict(zip(labels, row, strict=True))
        answers.append(Classification(label=labels[best], score=row[best], scores=scores, cut=left_out))
    return answers


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
        f1=dict(zip(labels, map(float, f1), strict=True)),
        labels=tuple(labels),
        confusion=tuple(tuple(map(int, row)) for row in matrix),
        examples=len(gold),
    )
