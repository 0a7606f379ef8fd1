"""A vector for a text, such that texts of like meaning have vectors of like direction.

It is learned from pairs of texts with scores, or from pairs that belong together, each perhaps with a text that does
not. What is trained is a `SentenceEncoder`, and its folder is one of sentence-transformers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.errors import ConfigError, DataError, InputError
from glassbert.model import BertConfig, BertPreTrainedModel, ModelOutput, SentenceEncoder
from glassbert.model.losses import cosine_regression, in_batch_negatives, over_widths
from glassbert.tasks.metrics import pearson, ranks_of, spearman
from glassbert.tasks.results import TensorResult
from glassbert.tasks.task import TASK, Columns, Metrics, Record, Task, Verdict
from glassbert.tasks.text_classification import finite
from glassbert.tasks.texts import TextExample, brief, texts_of
from glassbert.text import BertTokenizer, Encoding

# Examples that are encoded in one call.
_AT_ONCE: Final = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingExample(TextExample):
    """A text, or a text with one that belongs to it.

    Attributes:
        negative: a text that does not belong to the first; None where there is none.
        score: how alike text and pair are; None where they simply belong together, or nobody knows.
    """

    negative: str | None = None
    score: float | None = None

    @property
    def texts(self) -> list[str]:
        """The texts that are there, in their order."""
        return [text for text in (self.text, self.pair, self.negative) if text is not None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingFeatures:
    """The texts of an example as the model takes them.

    Attributes:
        encodings: of each text.
        label: the cosine that the first two shall have; None where there is none.
        example: its number.
    """

    encodings: tuple[Encoding, ...]
    label: float | None = None
    example: int = 0

    def __len__(self) -> int:
        """Length of all texts in tokens."""
        return sum(map(len, self.encodings))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Embedding(TensorResult):
    """The vector of a text, and of those that came with it.

    Attributes:
        vector: (H,) float32.
        pair: (H,) of the second text; None without one.
        negative: (H,) of the third; likewise.
        cut: tokens left out because the texts are longer than the model takes.
    """

    vector: Tensor
    pair: Tensor | None = None
    negative: Tensor | None = None
    cut: int = 0

    @property
    def similarity(self) -> float | None:
        """Cosine of the vectors of text and second text; None without one."""
        return None if self.pair is None else float(F.cosine_similarity(self.vector, self.pair, dim=0))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: vectors as lists of numbers, of texts that are there."""
        vectors = {"vector": self.vector, "pair": self.pair, "negative": self.negative}
        values: dict[str, Any] = {name: one.tolist() for name, one in vectors.items() if one is not None}
        return values | ({} if self.pair is None else {"similarity": self.similarity}) | {"cut": self.cut}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilarityMetrics(Metrics):
    """How well cosines meet the scores of pairs.

    Attributes:
        spearman: correlation of the ranks, equal ones sharing theirs.
        pearson: linear correlation; 0 where one side never varies.
        by_width: the first of them for each width that the task has, of the vectors' beginnings.
        examples: how many.
    """

    spearman: float
    pearson: float
    by_width: dict[int, float]
    examples: int
    main_name: ClassVar[str] = "spearman"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalMetrics(Metrics):
    """How well a text finds what belongs to it among all second texts, and all third ones (negatives), by cosine.

    Attributes:
        mean_reciprocal_rank: of the first that belongs to it.
        accuracy_at_1: share of texts for which that comes first.
        by_width: the first of them for each width that the task has, of the vectors' beginnings.
        examples: how many.
    """

    mean_reciprocal_rank: float
    accuracy_at_1: float
    by_width: dict[int, float]
    examples: int
    main_name: ClassVar[str] = "mean_reciprocal_rank"


@dataclasses.dataclass(frozen=True)
class SentenceEmbedding(
    Task[EmbeddingExample, EmbeddingFeatures, Embedding, SimilarityMetrics | RetrievalMetrics],
):
    """A vector for a text, of length 1 unless the model was made otherwise.

    Pairs with scores teach the cosine of their vectors to be the score. Pairs without teach each text to find its own
    second text among those of its batch, which is therefore never split; the third texts, if there are any, are
    further ones to choose from. So a larger batch teaches more.

    A prompt that a folder of sentence-transformers puts before every text is put there when texts are answered, as that
    library does, and not in training.

    Attributes:
        scored: whether it is learned from scores.
        low, high: the scores that stand for the cosines 0 and 1. `learn` takes 0 and 1 where all scores lie between
            them, else the lowest and the highest that occur; others that are set stay.
        scale: what cosines are multiplied by before the softmax, where there are no scores.
        widths: lengths of the vectors' beginnings that are trained to be vectors by themselves (Matryoshka); whole
            vectors are trained alone where there are none, and only if they are among them else.
        prompt: what is put before every text.
        prompts: texts to put before, by name, as the model's folder has them.
        prompt_name: the one of them that is put before every text, in place of `prompt`.
        lower_case: whether texts are put in lower case first, with their prompt.
    """

    scored: bool = False
    low: float = 0.0
    high: float = 1.0
    scale: float = 20.0
    widths: tuple[int, ...] = ()
    prompt: str = ""
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, hash=False)
    prompt_name: str | None = None
    lower_case: bool = False
    name: ClassVar[str] = "sentence-embedding"
    model_class = SentenceEncoder
    head: ClassVar[str] = ""
    roles: ClassVar = {"text": True, "pair": False, "negative": False, "score": False}
    labels_in: ClassVar[tuple[str, ...]] = ("score",)
    learned_from: ClassVar[tuple[str, ...]] = ("pair",)
    options: ClassVar[tuple[str, ...]] = ("low", "high", "scale", "widths")
    answer_options: ClassVar[tuple[str, ...]] = ("prompt", "prompt_name")

    def __post_init__(self) -> None:
        """Check every value; lists of widths become tuples.

        Raises:
            ConfigError: one out of range, by name.
        """
        for name in ("low", "high", "scale"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ConfigError(f"{name} is {value!r}, expected a number")
        if not self.low < self.high:
            raise ConfigError(f"low is {self.low}, expected less than high, {self.high}")
        if not self.scale > 0:
            raise ConfigError(f"scale is {self.scale}, expected more than 0")
        if not isinstance(self.prompt, str):
            raise ConfigError(f"prompt is {self.prompt!r}, expected a text")
        if self.prompt_name is not None and self.prompt_name not in self.prompts:
            known = ", ".join(map(repr, self.prompts)) or "none"
            raise ConfigError(f"prompt_name is {self.prompt_name!r}, but the model's prompts are {known}")
        widths = tuple(self.widths) if isinstance(self.widths, list | tuple) else (None,)
        if not all(type(width) is int and width > 0 for width in widths) or len(set(widths)) != len(widths):
            raise ConfigError(f"widths is {self.widths!r}, expected different whole numbers from 1")
        object.__setattr__(self, "widths", widths)
        if not isinstance(self.prompt, str):
            raise ConfigError(f"prompt is {self.prompt!r}, expected a text")
        if self.prompt_name is not None:
            if self.prompt_name not in self.prompts:
                known = f"one of {', '.join(self.prompts)}" if self.prompts else "none: the model has no prompts"
                raise ConfigError(f"prompt_name is {self.prompt_name!r}, expected {known}")
            object.__setattr__(self, "prompt", self.prompts[self.prompt_name])

    def learn(self, examples: Iterable[EmbeddingExample]) -> Self:
        """Find out whether there are scores, and on which scale, unless that is set."""
        known = []
        for example in examples:
            if example.pair is None:
                raise example.error("no second text; sentence-embedding is learned from pairs (pair_column)")
            if example.score is not None and example.negative is not None:
                raise example.error("a score and a negative; pairs with scores have no third text")
            known.append(example.score)
        scores = [score for score in known if score is not None]
        if not scores:
            return dataclasses.replace(self, scored=False)
        if len(scores) != len(known):
            raise DataError(f"{len(scores)} of {len(known)} pairs have a score; it takes all or none")
        low, high = min(scores), max(scores)
        if low == high:
            raise DataError(f"all scores are {low}; it takes two or more different ones")
        if (self.low, self.high) != (0.0, 1.0) or (low >= 0.0 and high <= 1.0):
            return dataclasses.replace(self, scored=True)
        return dataclasses.replace(self, scored=True, low=low, high=high)

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Take the settings from the model's config; any sentence encoder will do."""
        stored = config.extra.get(TASK, {})
        encoder = config.extra.get("sentence_encoder", {})
        prompts = encoder.get("prompts") or {}
        known = ("scored", *cls.options)
        return cls(
            **{name: stored[name] for name in known if name in stored},
            prompt=prompts.get(encoder.get("default_prompt"), ""),
            prompts=prompts,
            lower_case=encoder.get("lower_case", False),
        )

    def _read(self, text: str) -> str:
        """Return a text as the tokenizer takes it."""
        before = self.prompt if self.prompt_name is None else self.prompts[self.prompt_name]
        return (before + text).lower() if self.lower_case else before + text

    def configure(self, config: BertConfig) -> BertConfig:
        """Return the config of an encoder.

        Raises:
            ConfigError: widths that its vectors do not have.
        """
        if any(width > config.hidden_size for width in self.widths):
            raise ConfigError(f"widths is {list(self.widths)}, but vectors have {config.hidden_size} numbers")
        settings = {name: getattr(self, name) for name in ("scored", *self.options)}
        return dataclasses.replace(
            config,
            num_labels=2,
            id2label={},
            label2id={},
            problem_type=None,
            extra={**config.extra, TASK: {"name": self.name, **settings, "widths": list(self.widths)}},
        )

    def examples(
        self, records: Iterable[Record], columns: Columns, *, labelled: bool = True
    ) -> Iterator[EmbeddingExample]:
        """Take texts and score out of rows."""
        for record in records:
            yield EmbeddingExample(
                **texts_of(record, columns),
                negative=record.get(columns["negative"]) if "negative" in columns else None,
                score=record.number(columns["score"]) if labelled and "score" in columns else None,
            )

    def features(
        self, examples: Iterable[EmbeddingExample], tokenizer: BertTokenizer, *, max_length: int, labelled: bool = True
    ) -> Iterator[EmbeddingFeatures]:
        """Turn texts into tokens and scores into cosines."""
        rest = iter(examples)
        number = 0
        roles: list[bool] | None = None
        while some := list(islice(rest, _AT_ONCE)):
            for example in some:
                _check(example)
                here = [example.pair is not None, example.negative is not None]
                if here != (roles := roles or here):
                    raise example.error(
                        "a second or third text stands here but not in the examples before, or the reverse"
                    )
            rows = iter(_encoded(some, tokenizer, max_length, self._read))
            for example in some:
                label = None
                if labelled and self.scored and example.score is not None:
                    label = self._cosine(example.score)
                encodings = tuple(islice(rows, len(example.texts)))
                yield EmbeddingFeatures(encodings=encodings, label=label, example=number)
                number += 1

    def collate(self, features: Sequence[EmbeddingFeatures], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (T·B, S) ids, types and mask: all first texts, then all second ones, and so on; and labels.

        Labels are (B,) cosines, or where there are no scores (T, B) numbers, the same for the same texts.
        """
        columns = list(zip(*(feature.encodings for feature in features), strict=True))
        batch = dict(tokenizer.pad_encodings(list(chain.from_iterable(columns)), return_tensors="pt"))
        if all(feature.label is not None for feature in features):
            batch["labels"] = torch.tensor([feature.label for feature in features], dtype=torch.float32)
        elif len(columns) > 1:
            seen: dict[tuple[int, ...], int] = {}
            numbers = [[seen.setdefault(tuple(one.ids), len(seen)) for one in column] for column in columns]
            batch["labels"] = torch.tensor(numbers)
        return batch

    @property
    def whole_batch(self) -> bool:
        """Whether texts are compared with all of their batch."""
        return not self.scored

    def loss(self, model: BertPreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss of a batch, over all widths."""
        inputs = dict(batch)
        labels = inputs.pop("labels")
        vectors: Tensor = model(**inputs).sentence_embedding
        if self.scored:
            one, other = vectors.chunk(2)
            return over_widths(lambda one, other: cosine_regression(one, other, labels), (one, other), self.widths)
        anchors, candidates = vectors[: labels.shape[1]], vectors[labels.shape[1] :]
        left_out = _no_negatives(labels)
        return over_widths(
            lambda one, other: in_batch_negatives(one, other, left_out=left_out, scale=self.scale),
            (anchors, candidates),
            self.widths,
        )

    def notes(self, examples: Sequence[EmbeddingExample], features: Sequence[EmbeddingFeatures]) -> Iterator[str]:
        """Tell what is learned, which depends on the columns, and how many texts were cut."""
        if self.scored:
            yield f"learning that scores from {self.low:g} to {self.high:g} are cosines from 0 to 1"
        else:
            yield "learning to find each text's pair among those of its batch, since no column of scores is named"
        cut = sum(encoding.cut > 0 for feature in features for encoding in feature.encodings)
        if cut:
            yield f"{cut} texts are longer than the model takes and were cut"

    def rows(self, output: ModelOutput, features: Sequence[EmbeddingFeatures]) -> list[Tensor]:
        """Return the vectors of each example's texts, (T, H)."""
        vectors = output["sentence_embedding"].float().cpu()
        return list(vectors.unflatten(0, (-1, len(features))).transpose(0, 1))

    def answers(
        self, examples: Sequence[EmbeddingExample], features: Sequence[EmbeddingFeatures], rows: Sequence[Tensor]
    ) -> list[Embedding]:
        """Give each vector its name."""
        results = []
        for example, feature, row in zip(examples, features, finite(rows), strict=True):
            vectors = iter(row)
            results.append(
                Embedding(
                    vector=next(vectors),
                    pair=None if example.pair is None else next(vectors),
                    negative=None if example.negative is None else next(vectors),
                    cut=sum(encoding.cut for encoding in feature.encodings),
                )
            )
        return results

    def measure(
        self, examples: Sequence[EmbeddingExample], results: Sequence[Embedding]
    ) -> SimilarityMetrics | RetrievalMetrics:
        """Compare cosines with scores where all pairs have one; else let each text find its pair among all texts.

        Raises:
            InputError: no examples.
            DataError: one without a second text, or scores that some have and others have not.
        """
        if not examples:
            raise InputError("no examples to evaluate")
        firsts, seconds = [], []
        for example, result in zip(examples, results, strict=True):
            if result.pair is None:
                raise example.error("no second text; sentence-embedding is evaluated on pairs (pair_column)")
            if (example.score is None) != (examples[0].score is None):
                raise example.error("some pairs have a score and some have none")
            firsts.append(result.vector)
            seconds.append(result.pair)
        one, other = torch.stack(firsts), torch.stack(seconds)
        if examples[0].score is None:
            negatives = [result.negative for result in results]
            return _retrieval(examples, one, other, negatives, self.widths)
        scores = [example.score for example in examples if example.score is not None]

        def cosines(width: int) -> list[float]:
            found: list[float] = F.cosine_similarity(one[:, :width], other[:, :width]).tolist()
            return found

        return SimilarityMetrics(
            spearman=spearman(scores, cosines(one.shape[1])),
            pearson=pearson(scores, cosines(one.shape[1])),
            by_width={width: spearman(scores, cosines(width)) for width in self.widths},
            examples=len(examples),
        )

    def verdict(self, example: EmbeddingExample, result: Embedding) -> Verdict:
        """Take the difference of the cosine and the one that the score stands for.

        Without a score, take what is missing to a text that is by 1 nearer to its pair than to the third text (than to
        a text at right angles, where there is no third).
        """
        cosine = result.similarity
        if cosine is None:
            raise example.error("no second text; sentence-embedding is evaluated on pairs (pair_column)")
        answered = f"cosine {cosine:.3f}"
        if example.score is not None:
            wanted = self._cosine(example.score)
            expected = f"cosine {wanted:.3f} (score {example.score:g})"
            error = abs(cosine - wanted)
        elif result.negative is not None:
            other = float(F.cosine_similarity(result.vector, result.negative, dim=0))
            expected = "nearer to the second text than to the third"
            answered += f", of the third text {other:.3f}"
            error = max(0.0, 1.0 - cosine + other)
        else:
            expected, error = "belong together", max(0.0, 1.0 - cosine)
        return Verdict(text=brief(*example.texts), expected=expected, answered=answered, error=error)

    def _cosine(self, score: float) -> float:
        """Return the cosine that a score stands for."""
        return (score - self.low) / (self.high - self.low)


def _retrieval(
    examples: Sequence[EmbeddingExample],
    one: Tensor,
    other: Tensor,
    negatives: Sequence[Tensor | None],
    widths: Sequence[int],
) -> RetrievalMetrics:
    # Each second text stands there once, and belongs to every example that has the same first text as one of its own.
    numbers: dict[str, int] = {}
    vectors: list[Tensor] = []
    right: dict[str, set[int]] = {}
    for example, vector in zip(examples, other, strict=True):
        pair = example.pair or ""
        if pair not in numbers:
            numbers[pair] = len(numbers)
            vectors.append(vector)
        right.setdefault(example.text, set()).add(numbers[pair])
    # So does each third text, which belongs to none; one that is a second text too stands there already.
    for example, negative in zip(examples, negatives, strict=True):
        if example.negative is not None and negative is not None and example.negative not in numbers:
            numbers[example.negative] = len(numbers)
            vectors.append(negative)
    candidates = torch.stack(vectors)

    def ranks(width: int) -> list[float]:
        queries, texts = (F.normalize(some[:, :width], dim=-1).numpy() for some in (one, candidates))
        return [float(rank) for rank in ranks_of(queries, texts, [right[example.text] for example in examples])]

    whole = np.array(ranks(one.shape[1]))
    return RetrievalMetrics(
        mean_reciprocal_rank=float((1.0 / whole).mean()),
        accuracy_at_1=float((whole == 1.0).mean()),
        by_width={width: float(np.mean([1.0 / rank for rank in ranks(width)])) for width in widths},
        examples=len(examples),
    )


def _no_negatives(texts: Tensor) -> Tensor:
    """Tell which candidates are no wrong choice for an anchor: (T, B) numbers of texts -> (B, (T - 1)·B).

    These are the anchor's own text, and the texts that the batch pairs it with, wherever they stand.
    """
    anchors, pairs, candidates = texts[0], texts[1], texts[1:].flatten()
    same_anchor = anchors[:, None] == anchors  # (B, B)
    same_text = pairs[:, None] == candidates  # (B, N)
    paired = (same_anchor.float() @ same_text.float()) > 0
    return paired | (anchors[:, None] == candidates)


def _check(example: EmbeddingExample) -> None:
    for name, text in (
        ("text", example.text),
        ("second text (pair)", example.pair),
        ("third text (negative)", example.negative),
    ):
        if text is not None and not isinstance(text, str):
            raise InputError(f"the {name} is of type {type(text).__name__}, expected str")
        if text is not None and not text.strip():
            raise example.error(f"the {name} is empty")
    if example.negative is not None and example.pair is None:
        raise example.error("a negative, but no second text")


def _encoded(
    examples: Sequence[EmbeddingExample], tokenizer: BertTokenizer, max_length: int, read: Callable[[str], str]
) -> list[Encoding]:
    """Encode all texts of the examples, one after the other, as `read` changes them."""
    texts = [read(text) for example in examples for text in example.texts]
    try:
        return tokenizer.encodings(texts, truncation=True, max_length=max_length)
    except InputError as error:
        if len(examples) == 1:
            raise examples[0].error(str(error)) from None
        rows = (_encoded([example], tokenizer, max_length, read) for example in examples)
        return list(chain.from_iterable(rows))
