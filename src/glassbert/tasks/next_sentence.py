"""Whether a text follows another: what BERT was pretrained with beside masked words.

Source: arXiv 1810.04805, section 3.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Self

from torch import Tensor

from glassbert.model import BertConfig, BertForNextSentencePrediction, BertForPreTraining, ModelOutput
from glassbert.tasks.results import Result
from glassbert.tasks.task import Answering, Columns, Record
from glassbert.tasks.text_classification import finite
from glassbert.tasks.texts import TextExample, TextFeatures, collate_texts, encoded, texts_of
from glassbert.text import BertTokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Following(Result):
    """The answer for a pair of texts.

    Attributes:
        follows: whether the second is more likely the text after the first than one from elsewhere.
        score: the probability that it follows.
        cut: tokens left out because the texts are longer than the model takes.
    """

    follows: bool
    score: float
    cut: int = 0


@dataclasses.dataclass(frozen=True)
class NextSentence(Answering[TextExample, TextFeatures, Following]):
    """Whether the second text of a pair follows the first."""

    name: ClassVar[str] = "next-sentence"
    model_class = BertForNextSentencePrediction
    model_classes = (BertForNextSentencePrediction, BertForPreTraining)
    roles: ClassVar = {"text": True, "pair": True}

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Make it; nothing about it is stored."""
        return cls()

    def examples(self, records: Iterable[Record], columns: Columns, *, labelled: bool = True) -> Iterator[TextExample]:
        """Take both texts out of rows."""
        for record in records:
            yield TextExample(**texts_of(record, columns))

    def features(
        self, examples: Iterable[TextExample], tokenizer: BertTokenizer, *, max_length: int, labelled: bool = True
    ) -> Iterator[TextFeatures]:
        """Turn pairs into tokens.

        Raises:
            DataError: an empty text, or no second one, with file and line.
        """
        for number, _, encoding in encoded(examples, tokenizer, max_length, pairs=True):
            yield TextFeatures(encoding=encoding, example=number)

    def collate(self, features: Sequence[TextFeatures], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (B, S) ids, types and mask."""
        return collate_texts(features, tokenizer)

    def rows(self, output: ModelOutput, features: Sequence[TextFeatures]) -> list[Tensor]:
        """Return the scores of "follows" and "is from elsewhere", (2,), on the CPU."""
        scores = output["seq_relationship_logits" if "seq_relationship_logits" in output else "logits"]
        return list(scores.float().cpu())

    def answers(
        self, examples: Sequence[TextExample], features: Sequence[TextFeatures], rows: Sequence[Tensor]
    ) -> list[Following]:
        """Turn scores into a probability."""
        shares = [float(row.softmax(dim=-1)[0]) for row in finite(rows)]
        return [
            Following(follows=share >= 0.5, score=share, cut=feature.cut)
            for feature, share in zip(features, shares, strict=True)
        ]
