"""The vectors that BERT has for the tokens of a text, of any layers: its pieces', its words', or one for the text.

Source: google-research/bert, extract_features.py; arXiv 1810.04805, section 5.3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Literal, Self, get_args

import torch
from torch import Tensor

from glassbert.errors import ConfigError, InputError
from glassbert.model import BertConfig, BertModel, BertPreTrainedModel, ModelOutput
from glassbert.model.sentence import pool
from glassbert.tasks.results import TensorResult
from glassbert.tasks.task import Answering, Columns, Example, Record
from glassbert.tasks.text_classification import finite
from glassbert.tasks.texts import AT_ONCE, encode_all
from glassbert.text import BertTokenizer, Encoding

Combine = Literal["stack", "concat", "mean", "sum"]
Words = Literal["first", "mean"]
TokenPooling = Literal["cls", "mean", "max", "pooler"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureExample(Example):
    """A text, a pair, or a text as words.

    Attributes:
        text: a string, or the words of a text.
        pair: a second text; None without one.
    """

    text: str | tuple[str, ...]
    pair: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokensOfText:
    """A text as the model takes it.

    Attributes:
        encoding: its tokens, with their places.
        tokens: the same as strings.
        example: the number of its example.
    """

    encoding: Encoding
    tokens: tuple[str, ...]
    example: int = 0

    def __len__(self) -> int:
        """Length in tokens."""
        return len(self.encoding)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TextVectors(TensorResult):
    """The vectors of one text.

    Attributes:
        vectors: (T, H) for T tokens; (N, T, H) for N layers that are stacked; (T, N·H) for such as are joined. Without
            T where the text has one vector.
        tokens: the pieces, special ones among them, or the words; empty where the text has one vector.
        offsets: of each its begin and end in its text, in characters, (0, 0) for special ones; of words that were given
            their number and the one after it.
        texts: of each 0, or 1 in the second text; None for special ones.
        cut: tokens left out because the text is longer than the model takes.
    """

    vectors: Tensor
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    texts: tuple[int | None, ...]
    cut: int = 0


@dataclasses.dataclass(frozen=True)
class FeatureExtraction(Answering[FeatureExample, TokensOfText, TextVectors]):
    """Vectors of tokens.

    Attributes:
        layers: which are read: 0 are the embeddings, 1 the first layer's output and so on; negative numbers count from
            the end, -1 is the last layer.
        combine: how several layers become one result: "stack" keeps them apart, "concat" puts the vectors of each token
            side by side, "mean" and "sum" are what they say. One layer is never stacked.
        pooling: makes one vector for the text: "cls" that of its first token, "mean" and "max" over all tokens, special
            ones among them; "pooler" is the model's own, of the last layer. None keeps all.
        words: gives one vector for each word in place of its pieces: that of the "first" piece, or their "mean". Words
            are those that are given, or what BERT's tokenizer parts a text into before pieces. None keeps pieces.

    Raises:
        ConfigError: a value that none of these is, or two that exclude each other.
    """

    layers: tuple[int, ...] = (-1,)
    combine: Combine = "stack"
    pooling: TokenPooling | None = None
    words: Words | None = None
    name: ClassVar[str] = "feature-extraction"
    model_class = BertModel
    roles: ClassVar = {"text": False, "pair": False, "tokens": False}
    answer_options: ClassVar[tuple[str, ...]] = ("layers", "combine", "pooling", "words")

    def __post_init__(self) -> None:
        """Check every value; one layer becomes a tuple of one."""
        layers: Any = self.layers
        layers = (layers,) if type(layers) is int else layers
        if not isinstance(layers, list | tuple) or not layers or not all(type(layer) is int for layer in layers):
            raise ConfigError(f"layers is {self.layers!r}, expected whole numbers such as [-1, -2]")
        object.__setattr__(self, "layers", tuple(layers))
        for name, kind in (("combine", Combine), ("pooling", TokenPooling), ("words", Words)):
            value = getattr(self, name)
            if value not in get_args(kind) and not (value is None and name != "combine"):
                raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(get_args(kind))}")
        if self.pooling is not None and self.words is not None:
            raise ConfigError("pooling gives one vector for a text, words one for each word; choose one of them")
        if self.pooling == "pooler" and self.layers != (-1,):
            raise ConfigError(f"the pooler reads the last layer alone, but layers is {list(self.layers)}")

    @classmethod
    def reads(cls, kind: type[BertPreTrainedModel]) -> bool:
        """Whether there is a BERT inside, as in every model."""
        return issubclass(kind, BertPreTrainedModel)

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Make it; nothing about it is stored."""
        return cls()

    @property
    def states(self) -> bool:
        """Whether other layers than the last are read."""
        return self.layers != (-1,)

    def examples(
        self, records: Iterable[Record], columns: Columns, *, labelled: bool = True
    ) -> Iterator[FeatureExample]:
        """Take texts, pairs or words out of rows.

        Raises:
            DataError: neither text nor words, or both.
        """
        for record in records:
            if ("text" in columns) == ("tokens" in columns):
                raise record.error("expected a text, or its words as tokens, and not both")
            given = record.get(columns["text"]) if "text" in columns else tuple(record.strings(columns["tokens"]))
            yield FeatureExample(
                text=given,
                pair=record.get(columns["pair"]) if "pair" in columns else None,
                file=record.file,
                line=record.line,
                position=record.position,
            )

    def features(
        self, examples: Iterable[FeatureExample], tokenizer: BertTokenizer, *, max_length: int, labelled: bool = True
    ) -> Iterator[TokensOfText]:
        """Turn texts into tokens.

        Raises:
            DataError: an empty text, with file and line.
        """
        numbered = enumerate(examples)
        while some := list(islice(numbered, AT_ONCE)):
            for _, example in some:
                _check(example)
            for paired in (False, True):
                batch = [(number, example) for number, example in some if (example.pair is not None) == paired]
                if not batch:
                    continue
                encodings = encode_all(
                    [example for _, example in batch],
                    lambda some, paired=paired: tokenizer.encodings(  # type: ignore[misc]
                        [one.text if isinstance(one.text, str) else list(one.text) for one in some],
                        [one.pair for one in some if one.pair is not None] if paired else None,
                        truncation=True,
                        max_length=max_length,
                        details=True,
                    ),
                )
                for (number, _), encoding in zip(batch, encodings, strict=True):
                    tokens = tuple(tokenizer.convert_ids_to_tokens(encoding.ids))
                    yield TokensOfText(encoding=encoding, tokens=tokens, example=number)

    def collate(self, features: Sequence[TokensOfText], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (B, S) ids, types and mask, padded on the right."""
        encodings = [feature.encoding for feature in features]
        return dict(tokenizer.pad_encodings(encodings, padding_side="right", return_tensors="pt"))

    def rows(self, output: ModelOutput, features: Sequence[TokensOfText]) -> list[Tensor]:
        """Return what the layers have for each text, combined: (T, …), or one vector.

        Raises:
            InputError: layers that the model does not have, or a pooler where it has none.
        """
        if self.pooling == "pooler":
            if "pooler_output" not in output:
                raise InputError("the model has no pooler; pooling is one of cls, mean, max")
            return list(output["pooler_output"].float().cpu())
        states = output["hidden_states"] if self.states else (output["last_hidden_state"],)
        count = len(states)
        wrong = [layer for layer in self.layers if not -count <= layer < count]
        if wrong and self.states:
            raise InputError(f"layer {wrong[0]} does not exist; they go from 0, the embeddings, to {count - 1}")
        chosen = [states[layer].cpu() for layer in self.layers]
        rows = []
        for place, feature in enumerate(features):
            # (N, T, H)
            layers = torch.stack([states[place, : len(feature)] for states in chosen]).float()
            if self.pooling in ("cls", "mean", "max"):
                layers = pool(layers, None, self.pooling)  # (N, H)
            elif self.words is not None:
                layers = _of_words(layers, feature.encoding, self.words)
            rows.append(_combined(layers, self.combine))
        return rows

    def answers(
        self, examples: Sequence[FeatureExample], features: Sequence[TokensOfText], rows: Sequence[Tensor]
    ) -> list[TextVectors]:
        """Say which vector is which token's."""
        results: list[TextVectors | None] = [None] * len(examples)
        for feature, row in zip(features, finite(rows), strict=True):
            example, encoding = examples[feature.example], feature.encoding
            if self.pooling is not None:
                results[feature.example] = TextVectors(vectors=row, tokens=(), offsets=(), texts=(), cut=encoding.cut)
            elif self.words is None:
                results[feature.example] = TextVectors(
                    vectors=row,
                    tokens=feature.tokens,
                    offsets=tuple(encoding.offsets or ()),
                    texts=tuple(encoding.texts),
                    cut=encoding.cut,
                )
            else:
                results[feature.example] = _with_words(example, encoding, row)
        return [one for one in results if one is not None]


def _combined(layers: Tensor, combine: Combine) -> Tensor:
    """(N, …, H) -> one result; a single layer loses its dimension."""
    if len(layers) == 1:
        return layers[0]
    if combine == "stack":
        return layers
    if combine == "concat":
        return torch.cat(list(layers), dim=-1)
    return layers.mean(dim=0) if combine == "mean" else layers.sum(dim=0)


def _pieces_of_words(encoding: Encoding) -> list[list[int]]:
    """Return the tokens of each word, in order; those of a second text come after those of the first."""
    found: dict[tuple[int, int], list[int]] = {}
    for place, (text, word) in enumerate(zip(encoding.texts, encoding.words or (), strict=True)):
        if text is not None and word is not None:
            found.setdefault((text, word), []).append(place)
    return list(found.values())


def _of_words(layers: Tensor, encoding: Encoding, words: Words) -> Tensor:
    """(N, T, H) -> (N, words, H)."""
    pieces = _pieces_of_words(encoding)
    if words == "first":
        return layers[:, [some[0] for some in pieces]]
    means = [layers[:, some].mean(dim=1) for some in pieces]
    return torch.stack(means, dim=1) if means else layers[:, :0]


def _with_words(example: FeatureExample, encoding: Encoding, row: Tensor) -> TextVectors:
    offsets, texts, names = [], [], []
    for some in _pieces_of_words(encoding):
        text = encoding.texts[some[0]] or 0
        source = example.pair if text else example.text
        if isinstance(source, tuple):
            word = (encoding.words or [])[some[0]] or 0
            place, name = (word, word + 1), source[word]
        else:
            starts = encoding.offsets or []
            place = starts[some[0]][0], starts[some[-1]][1]
            name = (source or "")[place[0] : place[1]]
        offsets.append(place)
        texts.append(text)
        names.append(name)
    return TextVectors(vectors=row, tokens=tuple(names), offsets=tuple(offsets), texts=tuple(texts), cut=encoding.cut)


def _check(example: FeatureExample) -> None:
    for name, text in (("text", example.text), ("second text (pair)", example.pair)):
        words = [text] if isinstance(text, str) else text
        if words is None:
            continue
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise InputError(f"the {name} is of type {type(text).__name__}, expected a string or words")
        if not any(word.strip() for word in words):
            raise example.error(f"the {name} is empty")
