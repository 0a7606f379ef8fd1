"""A number for a text or a pair of texts: similarity, relevance, a rating."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Final, Self

import torch
from torch import Tensor

from glassbert.errors import ConfigError, DataError, InputError
from glassbert.model import BertConfig, BertForSequenceClassification
from glassbert.tasks.metrics import pearson, spearman
from glassbert.tasks.results import Result
from glassbert.tasks.task import TASK, Columns, Metrics, Record, Task, Verdict, counted
from glassbert.tasks.text_classification import finite
from glassbert.tasks.texts import TextExample, TextFeatures, brief, collate_texts, encoded, known_pairs, texts_of
from glassbert.text import BertTokenizer

# In spreads: how far a number may lie from the mean, so that its squared error is a number too.
_FARTHEST: Final = 1e12


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressionExample(TextExample):
    """A text, or a pair, with its number; None where nobody knows it yet."""

    score: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate(Result):
    """The answer for one text or pair.

    Attributes:
        score: the number, on the scale of the training data.
        cut: tokens left out because the text is longer than the model takes.
    """

    score: float
    cut: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressionMetrics(Metrics):
    """How well estimates meet the true numbers.

    Attributes:
        pearson: linear correlation; 0 where one side never varies.
        spearman: correlation of the ranks, equal ones sharing theirs.
        mean_squared_error: mean of the squared differences.
        examples: how many.
    """

    pearson: float
    spearman: float
    mean_squared_error: float
    examples: int
    main_name: ClassVar[str] = "spearman"
    lower_is_better: ClassVar[tuple[str, ...]] = ("mean_squared_error",)


@dataclasses.dataclass(frozen=True)
class Regression(Task[RegressionExample, TextFeatures, Estimate, RegressionMetrics]):
    """A number for a text or a pair: one output, squared error.

    The model learns the numbers less their mean and divided by their spread, and answers on their own scale.

    Attributes:
        mean, spread: of the training data's numbers.
        pairs: whether pairs of texts are learned; None where nothing tells.
    """

    mean: float = 0.0
    spread: float = 1.0
    pairs: bool | None = None
    name: ClassVar[str] = "regression"
    model_class = BertForSequenceClassification
    roles: ClassVar = {"text": True, "pair": False, "score": True}
    labels_in: ClassVar[tuple[str, ...]] = ("score",)

    def learn(self, examples: Iterable[RegressionExample]) -> Self:
        """Find mean and spread of the numbers.

        Raises:
            DataError: all numbers are the same, or so large that there is no spread.
        """
        values = []
        pairs: bool | None = None
        largest: RegressionExample | None = None
        for example in examples:
            values.append(_score(example))
            if largest is None or abs(values[-1]) > abs(_score(largest)):
                largest = example
            pairs = example.pair is not None if pairs is None else pairs
        different = len(set(values))
        if different < 2 or largest is None:
            raise DataError(f"the training data has {counted(different, 'different score')}; it takes two or more")
        scores = torch.tensor(values, dtype=torch.float64)
        mean, spread = float(scores.mean()), float(scores.std(correction=0))
        if not math.isfinite(mean) or not math.isfinite(spread):
            raise largest.error(
                f"the score is {_score(largest):g}, too large: all scores have no finite mean and spread"
            )
        if spread == 0.0:
            raise DataError(f"the {different} different scores of the training data are too near to each other")
        return dataclasses.replace(self, mean=mean, spread=spread, pairs=pairs)

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Take the scale from the model's config."""
        if config.problem_type not in (None, "regression") or config.num_labels != 1:
            raise ConfigError(f"the model's problem_type is {config.problem_type!r}, with {config.num_labels} outputs")
        stored = config.extra.get(TASK, {})
        scale = [stored.get(name, usual) for name, usual in (("mean", 0.0), ("spread", 1.0))]
        if not all(type(value) in (int, float) and math.isfinite(value) for value in scale) or not scale[1] > 0:
            raise ConfigError(
                f"{TASK} holds mean {scale[0]!r} and spread {scale[1]!r}, expected numbers, spread above 0"
            )
        return cls(mean=float(scale[0]), spread=float(scale[1]), pairs=known_pairs(config))

    def configure(self, config: BertConfig) -> BertConfig:
        """Return the config of a model with one output."""
        return dataclasses.replace(
            config,
            num_labels=1,
            id2label={},
            label2id={},
            problem_type="regression",
            extra={
                **config.extra,
                TASK: {"name": self.name, "mean": self.mean, "spread": self.spread, "pairs": self.pairs},
            },
        )

    def examples(
        self, records: Iterable[Record], columns: Columns, *, labelled: bool = True
    ) -> Iterator[RegressionExample]:
        """Take text, second text and number out of rows."""
        for record in records:
            score = record.number(columns["score"]) if labelled else None
            yield RegressionExample(**texts_of(record, columns), score=score)

    def features(
        self, examples: Iterable[RegressionExample], tokenizer: BertTokenizer, *, max_length: int, labelled: bool = True
    ) -> Iterator[TextFeatures]:
        """Turn texts into tokens, and numbers into what the model learns."""
        for number, example, encoding in encoded(examples, tokenizer, max_length, pairs=self.pairs):
            label = (_score(example) - self.mean) / self.spread if labelled else None
            if label is not None and abs(label) > _FARTHEST:
                raise example.error(
                    f"the score is {_score(example):g}, beyond all measure beside those that were learned: "
                    f"{self.mean:g} ± {self.spread:g}"
                )
            yield TextFeatures(encoding=encoding, label=label, example=number)

    def collate(self, features: Sequence[TextFeatures], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (B, S) ids, types and mask, and (B,) floats."""
        return collate_texts(features, tokenizer, torch.float32)

    def answers(
        self, examples: Sequence[RegressionExample], features: Sequence[TextFeatures], rows: Sequence[Tensor]
    ) -> list[Estimate]:
        """Bring outputs (1,) to the scale of the data."""
        return [
            Estimate(score=float(row[0]) * self.spread + self.mean, cut=feature.encoding.cut)
            for feature, row in zip(features, finite(rows), strict=True)
        ]

    def measure(self, examples: Sequence[RegressionExample], results: Sequence[Estimate]) -> RegressionMetrics:
        """Compare estimates with the true numbers."""
        if not examples:
            raise InputError("no examples to evaluate")
        gold, found = [_score(example) for example in examples], [result.score for result in results]
        return RegressionMetrics(
            pearson=pearson(gold, found),
            spearman=spearman(gold, found),
            mean_squared_error=sum((one - other) * (one - other) for one, other in zip(gold, found, strict=True))
            / len(gold),
            examples=len(gold),
        )

    def verdict(self, example: RegressionExample, result: Estimate) -> Verdict:
        """Take the difference, on the scale of the data."""
        score = _score(example)
        return Verdict(
            text=brief(example.text, example.pair),
            expected=f"{score:g}",
            answered=f"{result.score:.4g}",
            error=abs(result.score - score),
        )


def _score(example: RegressionExample) -> float:
    if example.score is None or not math.isfinite(example.score):
        raise example.error("no score" if example.score is None else f"the score is {example.score}")
    return example.score
