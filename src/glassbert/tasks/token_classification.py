"""A tag for each word of a sentence, and the entities that tags make: named entities, chunks, parts of speech."""

from __future__ import annotations

import bisect
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor

from glassbert.errors import DataError, InputError
from glassbert.model import BertConfig, BertForTokenClassification, ModelOutput
from glassbert.tasks.results import Result
from glassbert.tasks.tags import Scheme, Span, completed, first_letters, fits, scheme_by_name, scheme_of, spans
from glassbert.tasks.task import TASK, Columns, Example, Metrics, Record, Task, Verdict, counted
from glassbert.tasks.text_classification import finite, shown, sorted_labels
from glassbert.tasks.texts import AT_ONCE, brief, encode_all
from glassbert.tasks.words import join_words, split_words
from glassbert.text import BertTokenizer, Encoding
from glassbert.text.windows import windows

# Windows of a long sentence have one token in so many in common with the next one.
_OVERLAP: Final = 4
# A label that does not count.
_NONE: Final = -100
# How a person reads that a sentence has none.
_NO_ENTITY: Final = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenClassificationExample(Example):
    """A sentence as words, with a tag for each; None where nobody knows them yet.

    Attributes:
        words: at least one, none of them empty.
        tags: as many.
        text: what the words were cut out of, where that was a text.
        offsets: begin and end of each word in the text, in characters.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None
    text: str | None = None
    offsets: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Split a text into words: at white space, marks at a word's edges apart, each Chinese character by itself."""
        offsets = tuple(split_words(text))
        return cls(words=tuple(text[start:stop] for start, stop in offsets), text=text, offsets=offsets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenFeatures:
    """A sentence, or a window of a long one, as the model takes it.

    Attributes:
        encoding: its tokens.
        first: the number of the first word that is answered here.
        places: the first piece of that word and of those after it, as numbers of tokens.
        labels: the ids of their tags; None without labels.
        example: the number of its example.
    """

    encoding: Encoding
    first: int
    places: tuple[int, ...]
    labels: tuple[int, ...] | None = None
    example: int = 0

    def __len__(self) -> int:
        """Length in tokens."""
        return len(self.encoding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entity:
    """Words that belong together.

    Attributes:
        type: such as PER; `_` where tags have no types.
        start_word, end_word: the number of its first word, from 0, and of the one after its last.
        text: as it stands in the text that was given; of given words, these with spaces between them (none beside a
            Chinese character).
        score: mean probability of its words' tags.
        start, end: begin and end in the text, in characters; None where words were given.
    """

    type: str
    start_word: int
    end_word: int
    text: str
    score: float
    start: int | None = None
    end: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaggedSentence(Result):
    """The answer for one sentence.

    Attributes:
        words: as they were given, or as the text was split.
        tags: the most probable tag of each.
        scores: its probability.
        entities: what the tags mean, in order; see `glassbert.tasks.tags`.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]
    entities: tuple[Entity, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EntityScores:
    """How well the entities of one type, or of all, are found; one is right with type and both ends.

    Attributes:
        precision: share of the found ones that are right; 0 where none was found.
        recall: share of the true ones that were found; 0 where there is none.
        f1: the harmonic mean of both; 0 where they are.
        support: how many true ones there are.
    """

    precision: float
    recall: float
    f1: float
    support: int

    @classmethod
    def of_counts(cls, hits: int, found: int, true: int) -> Self:
        """Compute them from the numbers of right, found and true entities."""
        return cls(
            precision=hits / max(1, found),
            recall=hits / max(1, true),
            f1=2 * hits / max(1, found + true),
            support=true,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenClassificationMetrics(Metrics):
    """How well entities and tags are found; the same figures as seqeval's, in its default mode.

    Attributes:
        f1: of all entities together (micro).
        precision, recall: of all entities together.
        macro_f1: mean of the types' F1, over types that occur in truth or prediction.
        token_accuracy: share of words with the right tag.
        types: scores of each type, by name.
        examples: how many sentences.
        words: how many words.
    """

    f1: float
    precision: float
    recall: float
    macro_f1: float
    token_accuracy: float
    types: dict[str, EntityScores]
    examples: int
    words: int
    main_name: ClassVar[str] = "f1"


@dataclasses.dataclass(frozen=True)
class TokenClassification(Task[TokenClassificationExample, TokenFeatures, TaggedSentence, TokenClassificationMetrics]):
    """A tag for each word.

    The first piece of each word learns and answers its tag. A word of which the tokenizer leaves nothing, such as one
    of control characters, is read as `[UNK]`, so every word has a piece. Sentences longer than the model takes are read
    in windows that overlap; each word counts in one of them, the one that shows most on both of its sides.

    Attributes:
        tags: their names, in the order of their ids.
        scheme: how tags make entities; None finds it in the training data.

    Raises:
        ConfigError: an unknown scheme.
    """

    tags: tuple[str, ...] = ()
    scheme: Scheme | None = None
    name: ClassVar[str] = "token-classification"
    model_class = BertForTokenClassification
    roles: ClassVar = {"text": False, "tokens": False, "tags": True}
    main: ClassVar[str] = "tokens"
    loss_choices: ClassVar[tuple[str, ...]] = ("class_weights", "label_smoothing")
    learned_from: ClassVar[tuple[str, ...]] = ("tokens",)
    labels_in: ClassVar[tuple[str, ...]] = ("tags",)
    options: ClassVar[tuple[str, ...]] = ("scheme",)

    def __post_init__(self) -> None:
        """Check the scheme, and take its other names."""
        if self.scheme is not None:
            object.__setattr__(self, "scheme", scheme_by_name(self.scheme))

    def learn(self, examples: Iterable[TokenClassificationExample]) -> Self:
        """Find the tags that occur and, unless it is set, their scheme.

        The scheme's other tags for the same types are added, since other data may have them.
        """
        examples = list(examples)
        tags = sorted_labels(tag for example in examples for tag in _tags(example))
        scheme = self.scheme
        if scheme is None:
            scheme = scheme_of(tags)
            if scheme is None:
                raise DataError(
                    f"the tags ({shown(tags)}) have letters of several schemes; say which: --option scheme=IOB1, "
                    "IOB2, IOBES, BMES, BILOU, or none where tags are no chunks"
                )
        for example in examples:
            strange = [place for place, tag in enumerate(_tags(example)) if not fits(tag, scheme)]
            if strange:
                raise example.error(
                    f"the tag {_tag_of(example, strange[0])} is not one of the scheme {scheme}; where tags are no "
                    "chunks: --option scheme=none"
                )
        if scheme == "IOB2" and self.scheme is None:
            begun, bare = first_letters(map(_tags, examples))
            scheme = "IOB1" if bare > begun else "IOB2"
        return dataclasses.replace(self, tags=sorted_labels(sorted(completed(tags, scheme))), scheme=scheme)

    def notes(self, examples: Sequence[TokenClassificationExample], features: Sequence[TokenFeatures]) -> Iterator[str]:
        """Tell the scheme, how many entities begin against it, and which tags never occur."""
        scheme = self._scheme
        if scheme == "none":
            yield f"the {len(self.tags)} tags are no chunks: each word is scored by itself"
            return
        types = sorted({span.type for example in examples for span in spans(_tags(example), scheme)})
        known = {tag for example in examples for tag in _tags(example)}
        unseen = [tag for tag in self.tags if tag not in known]
        line = f"the {counted(len(known), 'tag')} are read as {scheme}; types of entities: {shown(types)}"
        if scheme in ("IOB1", "IOB2"):
            letters = dict(zip("BI", first_letters(map(_tags, examples)), strict=True))
            wrong, letter = (letters["I"], "I") if scheme == "IOB2" else (letters["B"], "B")
            if wrong:
                line += f"; entities that begin with {letter}, against the scheme, and are taken as they are: {wrong}"
        yield line
        if unseen:
            yield f"tags of the scheme that never occur, but that the model knows too: {shown(unseen)}"

    @property
    def _scheme(self) -> Scheme:
        if self.scheme is None:
            raise InputError("the task has no scheme yet; it comes from the training data or the model")
        return self.scheme

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Take the tags from the model's config, and the scheme too, or by the names of the tags."""
        tags = tuple(config.id2label.values())
        stored = config.extra.get(TASK, {}).get("scheme")
        # Somebody else's tags may be of any kind; those that are no chunks count as O.
        scheme = (scheme_of(tags) or "none") if stored is None else scheme_by_name(stored)
        return cls(tags=tags, scheme=scheme)

    def configure(self, config: BertConfig) -> BertConfig:
        """Return the config of a tagger with these tags."""
        return dataclasses.replace(
            config,
            num_labels=len(self.tags),
            id2label=dict(enumerate(self.tags)),
            label2id={},
            problem_type=None,
            extra={**config.extra, TASK: {"name": self.name, "scheme": self.scheme}},
        )

    def examples(
        self, records: Iterable[Record], columns: Columns, *, labelled: bool = True
    ) -> Iterator[TokenClassificationExample]:
        """Take words and tags out of rows: lists, or texts with spaces; without words, split a text."""
        for record in records:
            place: dict[str, Any] = {"file": record.file, "line": record.line, "position": record.position}
            if "tokens" not in columns and "text" in columns and not labelled:
                yield dataclasses.replace(TokenClassificationExample.of_text(record.get(columns["text"])), **place)
                continue
            if "tokens" not in columns:
                raise InputError("a sentence is given by its words as tokens; one without tags also as a text")
            tags = tuple(record.strings(columns["tags"], split=True)) if labelled else None
            words = tuple(record.strings(columns["tokens"], split=True))
            example = TokenClassificationExample(words=words, tags=tags, **place)
            _check_words(example)
            if labelled:
                _tags(example)
            yield example

    def features(
        self,
        examples: Iterable[TokenClassificationExample],
        tokenizer: BertTokenizer,
        *,
        max_length: int,
        labelled: bool = True,
    ) -> Iterator[TokenFeatures]:
        """Turn words into tokens, in windows where it takes several, and tags into ids."""
        ids = {tag: index for index, tag in enumerate(self.tags)}
        numbered = enumerate(examples)
        while batch := list(islice(numbered, AT_ONCE)):
            some = [example for _, example in batch]
            for example in some:
                _check_words(example)
            encodings = encode_all(
                some,
                lambda some: tokenizer.encodings(
                    [example.words for example in some], add_special_tokens=False, details=True
                ),
            )
            for (number, example), encoding in zip(batch, encodings, strict=True):
                labels = self._labels(example, ids) if labelled else None
                for feature in _windows(encoding, len(example.words), tokenizer, max_length):
                    seen = slice(feature.first, feature.first + len(feature.places))
                    yield dataclasses.replace(feature, example=number, labels=None if labels is None else labels[seen])

    def _labels(self, example: TokenClassificationExample, ids: dict[str, int]) -> tuple[int, ...]:
        tags = _tags(example)
        strange = [place for place, tag in enumerate(tags) if tag not in ids]
        if strange:
            raise example.error(
                f"the tag {_tag_of(example, strange[0])} is not one the model knows ({shown(self.tags)})"
            )
        return tuple(ids[tag] for tag in tags)

    def collate(self, features: Sequence[TokenFeatures], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (B, S) ids, types, mask and labels; -100 at all but the first pieces of words that count here."""
        encodings = [feature.encoding for feature in features]
        # On the right whatever the tokenizer says, so that places are the same with padding and without.
        batch = dict(tokenizer.pad_encodings(encodings, padding_side="right", return_tensors="pt"))
        if all(feature.labels is not None for feature in features):
            labels = torch.full_like(batch["input_ids"], _NONE)
            for row, feature in zip(labels, features, strict=True):
                row[list(feature.places)] = torch.tensor(feature.labels)
            batch["labels"] = labels
        return batch

    def weight(self, features: Sequence[TokenFeatures]) -> float:
        """Return the number of words that count: the loss is a mean over them."""
        return float(sum(len(feature.places) for feature in features))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the tags."""
        return self.tags

    def class_ids(self, feature: TokenFeatures) -> Sequence[int]:
        """Return the ids of the tags of all words that count."""
        return feature.labels or ()

    def rows(self, output: ModelOutput, features: Sequence[TokenFeatures]) -> list[Tensor]:
        """Return the scores of the words that are answered in each window, (words, C), on the CPU."""
        logits = output["logits"].float().cpu()
        return [scores[list(feature.places)] for scores, feature in zip(logits, features, strict=True)]

    def answers(
        self,
        examples: Sequence[TokenClassificationExample],
        features: Sequence[TokenFeatures],
        rows: Sequence[Tensor],
    ) -> list[TaggedSentence]:
        """Join the windows, give each word its most probable tag, and find the entities."""
        tags = [[""] * len(example.words) for example in examples]
        scores = [[0.0] * len(example.words) for example in examples]
        for feature, row in zip(features, finite(rows), strict=True):
            best, ids = row.softmax(dim=-1).max(dim=-1)
            seen = slice(feature.first, feature.first + len(feature.places))
            tags[feature.example][seen] = [self.tags[index] for index in ids.tolist()]
            scores[feature.example][seen] = best.tolist()
        return [
            TaggedSentence(
                words=example.words,
                tags=tuple(found),
                scores=tuple(sure),
                entities=tuple(_entity(example, span, sure) for span in spans(found, self._scheme)),
            )
            for example, found, sure in zip(examples, tags, scores, strict=True)
        ]

    def measure(
        self, examples: Sequence[TokenClassificationExample], results: Sequence[TaggedSentence]
    ) -> TokenClassificationMetrics:
        """Compare predicted entities and tags with the true ones."""
        if not examples:
            raise InputError("no examples to evaluate")
        hits, found, true = Counter[str](), Counter[str](), Counter[str]()
        right = words = 0
        for example, result in zip(examples, results, strict=True):
            gold = _tags(example)
            right += sum(one == other for one, other in zip(gold, result.tags, strict=True))
            words += len(gold)
            expected, answered = (set(spans(tags, self._scheme)) for tags in (gold, result.tags))
            true.update(span.type for span in expected)
            found.update(span.type for span in answered)
            hits.update(span.type for span in expected & answered)
        types = {
            kind: EntityScores.of_counts(hits[kind], found[kind], true[kind]) for kind in sorted(true.keys() | found)
        }
        whole = EntityScores.of_counts(hits.total(), found.total(), true.total())
        return TokenClassificationMetrics(
            f1=whole.f1,
            precision=whole.precision,
            recall=whole.recall,
            macro_f1=sum(one.f1 for one in types.values()) / max(1, len(types)),
            token_accuracy=right / max(1, words),
            types=types,
            examples=len(examples),
            words=words,
        )

    def verdict(self, example: TokenClassificationExample, result: TaggedSentence) -> Verdict:
        """Take the share of words with a wrong tag, each as much as the model is sure of it."""
        gold = _tags(example)
        wrong = sum(score for one, other, score in zip(gold, result.tags, result.scores, strict=True) if one != other)
        expected = [
            f"{span.type} {join_words(example.words[span.start : span.stop])}" for span in spans(gold, self._scheme)
        ]
        return Verdict(
            text=brief(join_words(example.words) if example.text is None else example.text),
            expected=brief(", ".join(expected)) or _NO_ENTITY,
            answered=brief(", ".join(f"{one.type} {one.text}" for one in result.entities)) or _NO_ENTITY,
            error=wrong / len(gold),
        )


def _tags(example: TokenClassificationExample) -> tuple[str, ...]:
    if example.tags is None:
        raise example.error("no tags")
    if len(example.tags) != len(example.words):
        raise example.error(f"{counted(len(example.words), 'word')}, but {counted(len(example.tags), 'tag')}")
    if "" in example.tags:
        raise example.error(f"the tag of word {example.tags.index('') + 1} is empty")
    return example.tags


def _tag_of(example: TokenClassificationExample, place: int) -> str:
    """Name a tag with its word: only the place of the whole sentence is known."""
    return f"{_tags(example)[place]!r} of word {place + 1} ({brief(example.words[place])!r})"


def _check_words(example: TokenClassificationExample) -> None:
    if not example.words:
        raise example.error("the text is empty" if example.text is not None else "a sentence without words")
    if "" in example.words:
        raise example.error(f"word {example.words.index('') + 1} is empty")


def _windows(encoding: Encoding, words: int, tokenizer: BertTokenizer, max_length: int) -> Iterator[TokenFeatures]:
    """Give the windows of a sentence, each with the words that are answered in it.

    Args:
        encoding: all pieces, without special tokens.
        words: how many there are.
        tokenizer: knows the special tokens.
        max_length: most tokens of a window.
    """
    ids: list[int] = []
    firsts: list[int] = []  # of each word, its first piece
    for index, word in zip(encoding.ids, encoding.words or (), strict=True):
        while len(firsts) < (word or 0):  # nothing is left of this word
            firsts.append(len(ids))
            ids.append(tokenizer.unk_token_id)
        if len(firsts) == word:
            firsts.append(len(ids))
        ids.append(index)
    while len(firsts) < words:
        firsts.append(len(ids))
        ids.append(tokenizer.unk_token_id)
    room = max_length - 2
    parts = [part for part, _ in windows(len(ids), None, room, overflow=True, stride=room // _OVERLAP)]
    # Between two windows the words part where both show as much beyond them: in the middle of what they share.
    seams = [0, *((part.stop + following.start + 1) // 2 for part, following in pairwise(parts)), len(ids)]
    for part, (begin, end) in zip(parts, pairwise(seams), strict=True):
        first, stop = (bisect.bisect_left(firsts, place) for place in (begin, end))
        if first == stop:  # the middle of one huge word
            continue
        window = Encoding(
            ids=[tokenizer.cls_token_id, *ids[part], tokenizer.sep_token_id], first=part.stop - part.start
        )
        yield TokenFeatures(
            encoding=window, first=first, places=tuple(place - part.start + 1 for place in firsts[first:stop])
        )


def _entity(example: TokenClassificationExample, span: Span, scores: Sequence[float]) -> Entity:
    sure = scores[span.start : span.stop]
    start = end = None
    if example.text is None:
        text = join_words(example.words[span.start : span.stop])
    else:
        start, end = example.offsets[span.start][0], example.offsets[span.stop - 1][1]
        text = example.text[start:end]
    return Entity(
        type=span.type,
        start_word=span.start,
        end_word=span.stop,
        text=text,
        score=sum(sure) / len(sure),
        start=start,
        end=end,
    )
