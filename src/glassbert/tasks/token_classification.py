"""A tag for each word of a sentence, and the entities that tags make: named entities, chunks, parts of speech."""

from __future__ import annotations

import bisect
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor

from glassbert.errors import ConfigError, DataError, InputError
from glassbert.model import BertConfig, BertForTokenClassification, ModelOutput
from glassbert.tasks.pieces import Grouping, scores_of_words
from glassbert.tasks.results import Result, highlighted
from glassbert.tasks.tags import Scheme, Span, completed, first_letters, fits, scheme_by_name, scheme_of, spans
from glassbert.tasks.task import TASK, Columns, Example, Metrics, Record, Task, Verdict, counted
from glassbert.tasks.text_classification import finite, shown, sorted_labels
from glassbert.tasks.texts import AT_ONCE, brief, encode_all
from glassbert.tasks.words import join_words, joined_words, split_words
from glassbert.text import BertTokenizer, Encoding
from glassbert.text.encoding import Offset
from glassbert.text.windows import windows

WordBoundaries = Literal["spaces", "marks"]
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
        encoding: its tokens; where all pieces answer, with their offsets: in the text that `word_boundaries` "marks"
            parts, else in the word that they are of.
        first: the number of the first word that begins among what is answered here.
        places: the first piece of that word and of those after it, as numbers of tokens.
        labels: the ids of their tags; None without labels.
        example: the number of its example.
        answered: the tokens that answer, where all pieces do; None where those at `places` do.
    """

    encoding: Encoding
    first: int
    places: tuple[int, ...]
    labels: tuple[int, ...] | None = None
    example: int = 0
    answered: slice | None = None

    def __len__(self) -> int:
        """Length in tokens."""
        return len(self.encoding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entity:
    """Words that belong together.

    Attributes:
        type: such as PER; `_` where tags have no types; the whole tag, such as B-PER, under the grouping "none".
        start_word, end_word: the number of its first word among the sentence's `words`, from 0, and of the one after
            its last.
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
        words: as they were given, or as the text was split; under the groupings "simple" and "none" their pieces, as
            they stand there.
        tags: the most probable tag of each.
        scores: its probability.
        entities: what the tags mean, in order; see `glassbert.tasks.tags`.
        text: what was given, where that was a text.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]
    entities: tuple[Entity, ...]
    text: str | None = dataclasses.field(default=None, repr=False)

    def _repr_html_(self) -> str:
        """Return the text for a notebook, its entities coloured by their types."""
        return highlighted(_runs(self) if self.text is None else _parts(self.text, self.entities))


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

    The first piece of each word learns its tag. A word of which the tokenizer leaves nothing, such as one of control
    characters, is read as `[UNK]`, so every word has a piece. Sentences longer than the model takes are read in windows
    that overlap; what answers counts in one of them, the one that shows most on both of its sides.

    Attributes:
        tags: their names, in the order of their ids.
        scheme: how tags make entities; None finds it in the training data.
        grouping: how the scores of pieces become tags and entities. "first": the first piece of each word answers for
            it, as it has learned; "average": the mean of its pieces' probabilities does; "max": the piece that is
            surest. "simple": each piece answers for itself, and entities are made of pieces; "none": each piece with
            another tag than O is an entity. These two are for models that have learned a tag for every piece.
        word_boundaries: where the words of a text part that is not given as words. "spaces": at white space, with
            marks at a word's edges apart (`e-mail` and `3.5` are words), as data for training has them; take it
            unless you compare. "marks": where the tokenizer parts them, at each mark (`e`, `-`, `mail`), as the
            pipeline of transformers has it; take it for a model that has learned such words, or for equal answers.

    Raises:
        ConfigError: an unknown scheme, grouping or way to part words.

    Source of the groupings: transformers, `TokenClassificationPipeline` (`aggregation_strategy`).
    """

    tags: tuple[str, ...] = ()
    scheme: Scheme | None = None
    grouping: Grouping = "first"
    word_boundaries: WordBoundaries = "spaces"
    name: ClassVar[str] = "token-classification"
    model_class = BertForTokenClassification
    roles: ClassVar = {"text": False, "tokens": False, "tags": True}
    main: ClassVar[str] = "tokens"
    loss_choices: ClassVar[tuple[str, ...]] = ("class_weights", "label_smoothing")
    learned_from: ClassVar[tuple[str, ...]] = ("tokens",)
    labels_in: ClassVar[tuple[str, ...]] = ("tags",)
    options: ClassVar[tuple[str, ...]] = ("scheme",)
    answer_options: ClassVar[tuple[str, ...]] = ("grouping", "word_boundaries")

    def __post_init__(self) -> None:
        """Check every choice, and take the scheme's other names."""
        if self.scheme is not None:
            object.__setattr__(self, "scheme", scheme_by_name(self.scheme))
        for name, choices in (("grouping", get_args(Grouping)), ("word_boundaries", get_args(WordBoundaries))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(choices)}")

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
            for (number, example), pieces in zip(batch, self._pieces(some, tokenizer), strict=True):
                labels = self._labels(example, ids) if labelled else None
                for feature in _windows(pieces, tokenizer, max_length):
                    seen = slice(feature.first, feature.first + len(feature.places))
                    yield dataclasses.replace(feature, example=number, labels=None if labels is None else labels[seen])

    @property
    def _all_answer(self) -> bool:
        """Whether all pieces answer, and not the first of each given word alone."""
        return self.grouping != "first" or self.word_boundaries == "marks"

    @property
    def _of_pieces(self) -> bool:
        """Whether pieces have tags, and not words."""
        return self.grouping in ("none", "simple")

    def _is_parted(self, example: TokenClassificationExample) -> bool:
        """Whether the tokenizer parts an example's words."""
        return self.word_boundaries == "marks" and example.text is not None

    def _pieces(self, examples: Sequence[TokenClassificationExample], tokenizer: BertTokenizer) -> Iterator[_Pieces]:
        """Give the pieces of each example."""
        texts = _of_texts([one for one in examples if self._is_parted(one)], tokenizer)
        words = _of_words([one for one in examples if not self._is_parted(one)], tokenizer, self._all_answer)
        for example in examples:
            yield next(texts if self._is_parted(example) else words)

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
                row[list(feature.places)] = torch.tensor(feature.labels, dtype=torch.int64)
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
        """Return the scores of the words, or pieces, that are answered in each window, (N, C), on the CPU."""
        logits = output["logits"].float().cpu()
        return [
            scores[list(feature.places) if feature.answered is None else feature.answered].clone()
            for scores, feature in zip(logits, features, strict=True)
        ]

    def answers(
        self,
        examples: Sequence[TokenClassificationExample],
        features: Sequence[TokenFeatures],
        rows: Sequence[Tensor],
    ) -> list[TaggedSentence]:
        """Join the windows, give each word its most probable tag, and find the entities."""
        windows: list[list[tuple[TokenFeatures, Tensor]]] = [[] for _ in examples]
        for feature, row in zip(features, finite(rows), strict=True):
            windows[feature.example].append((feature, row))
        return [self._answer(example, some) for example, some in zip(examples, windows, strict=True)]

    def _answer(
        self, example: TokenClassificationExample, windows: Sequence[tuple[TokenFeatures, Tensor]]
    ) -> TaggedSentence:
        scores = torch.cat([row for _, row in windows]) if windows else torch.empty(0, len(self.tags))
        probabilities = scores.softmax(dim=-1)
        sentence = _Sentence(example.words, example.text, example.offsets)
        if self._all_answer:
            firsts, offsets = _joined([feature for feature, _ in windows])
            if self._is_parted(example):
                sentence = _cut(example.text or "", offsets, range(len(offsets)) if self._of_pieces else firsts)
            elif self._of_pieces:
                sentence = _into_pieces(example, firsts, offsets)
            if not self._of_pieces:
                probabilities = scores_of_words(probabilities, torch.tensor(firsts, dtype=torch.int64), self.grouping)
        best, ids = probabilities.max(dim=-1)
        tags, sure = tuple(self.tags[index] for index in ids.tolist()), tuple(best.tolist())
        scheme = "none" if self.grouping == "none" else self._scheme
        return TaggedSentence(
            words=sentence.words,
            tags=tags,
            scores=sure,
            entities=tuple(_entity(sentence, span, sure, example.text is not None) for span in spans(tags, scheme)),
            text=example.text,
        )

    def measure(
        self, examples: Sequence[TokenClassificationExample], results: Sequence[TaggedSentence]
    ) -> TokenClassificationMetrics:
        """Compare predicted entities and tags with the true ones."""
        if not examples:
            raise InputError("no examples to evaluate")
        self._refuse_pieces()
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
        self._refuse_pieces()
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

    def _refuse_pieces(self) -> None:
        if self._of_pieces:
            raise InputError(
                f"grouping is {self.grouping!r}, which answers for pieces, but what is true is told of words; take "
                "first, average or max to compare them"
            )


class _Pieces(NamedTuple):
    """All pieces of an example, without special tokens.

    Attributes:
        ids: of them.
        firsts: of each word, the number of its first piece.
        offsets: of each piece, as `TokenFeatures` has them; None where only first pieces answer.
    """

    ids: list[int]
    firsts: list[int]
    offsets: list[Offset] | None


class _Sentence(NamedTuple):
    """Those that have tags: words, or pieces.

    Attributes:
        words: as they stand in the text, or were given.
        text: that they are cut out of; None where they were given.
        offsets: their places there; none where there is no text.
    """

    words: tuple[str, ...]
    text: str | None
    offsets: tuple[Offset, ...]


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


def _nothing_left(word: str, tokenizer: BertTokenizer) -> Encoding:
    """Return what stands for a word of which the tokenizer leaves nothing."""
    return Encoding(ids=[tokenizer.unk_token_id], first=1, framed=False, offsets=[(0, len(word))])


def _of_texts(examples: Sequence[TokenClassificationExample], tokenizer: BertTokenizer) -> Iterator[_Pieces]:
    """Give the pieces of texts, with words as the tokenizer knows them."""

    def encode(some: Sequence[TokenClassificationExample]) -> list[Encoding]:
        return tokenizer.encodings([one.text or "" for one in some], add_special_tokens=False, details=True)

    for encoding in encode_all(examples, encode):
        words = encoding.words or []
        firsts = [place for place, word in enumerate(words) if not place or word != words[place - 1]]
        yield _Pieces(encoding.ids, firsts, encoding.offsets or [])


def _of_words(
    examples: Sequence[TokenClassificationExample], tokenizer: BertTokenizer, with_offsets: bool
) -> Iterator[_Pieces]:
    """Give the pieces of sentences whose words are known."""

    # Most words come again, and a word has the same pieces wherever it stands.
    def different(some: Sequence[TokenClassificationExample]) -> list[str]:
        return list(dict.fromkeys(word for one in some for word in one.words))

    def encode(some: Sequence[TokenClassificationExample]) -> list[Encoding]:
        return tokenizer.encodings(different(some), add_special_tokens=False, details=with_offsets)

    known = {
        word: encoding if len(encoding) else _nothing_left(word, tokenizer)
        for word, encoding in zip(different(examples), encode_all(examples, encode), strict=True)
    }
    for example in examples:
        ids: list[int] = []
        firsts: list[int] = []
        offsets: list[Offset] = []
        for word in example.words:
            firsts.append(len(ids))
            ids += known[word].ids
            offsets += known[word].offsets or ()
        yield _Pieces(ids, firsts, offsets if with_offsets else None)


def _windows(pieces: _Pieces, tokenizer: BertTokenizer, max_length: int) -> Iterator[TokenFeatures]:
    """Give the windows of a sentence, each with the words or pieces that are answered in it.

    Args:
        pieces: of the sentence.
        tokenizer: knows the special tokens.
        max_length: most tokens of a window.
    """
    ids, firsts, offsets = pieces
    room = max_length - 2
    parts = [part for part, _ in windows(len(ids), None, room, overflow=True, stride=room // _OVERLAP)]
    # Between two windows the words part where both show as much beyond them: in the middle of what they share.
    seams = [0, *((part.stop + following.start + 1) // 2 for part, following in pairwise(parts)), len(ids)]
    for part, (begin, end) in zip(parts, pairwise(seams), strict=True):
        first, stop = (bisect.bisect_left(firsts, place) for place in (begin, end))
        # The middle of one huge word says nothing where only its first piece answers.
        if begin == end or (first == stop and offsets is None):
            continue
        shift = 1 - part.start
        yield TokenFeatures(
            encoding=Encoding(
                ids=[tokenizer.cls_token_id, *ids[part], tokenizer.sep_token_id],
                first=part.stop - part.start,
                offsets=None if offsets is None else [(0, 0), *offsets[part], (0, 0)],
            ),
            first=first,
            places=tuple(place + shift for place in firsts[first:stop]),
            answered=None if offsets is None else slice(begin + shift, end + shift),
        )


def _joined(features: Sequence[TokenFeatures]) -> tuple[list[int], list[Offset]]:
    """Return the first piece of each word, and the offsets of all pieces, out of the windows of a sentence."""
    firsts: list[int] = []
    offsets: list[Offset] = []
    for feature in features:
        if feature.answered is not None:
            shift = len(offsets) - feature.answered.start
            firsts += [place + shift for place in feature.places]
            offsets += (feature.encoding.offsets or [])[feature.answered]
    return firsts, offsets


def _cut(text: str, offsets: Sequence[Offset], firsts: Sequence[int]) -> _Sentence:
    """Cut a text into words, given the places of all pieces in it and the first piece of each word."""
    places = tuple((offsets[first][0], offsets[end - 1][1]) for first, end in pairwise([*firsts, len(offsets)]))
    return _Sentence(tuple(text[start:stop] for start, stop in places), text, places)


def _into_pieces(example: TokenClassificationExample, firsts: Sequence[int], offsets: Sequence[Offset]) -> _Sentence:
    """Cut words into pieces, given the first piece of each word and the places of all pieces in their words."""
    text, of_words = (example.text, example.offsets) if example.text is not None else joined_words(example.words)
    places = [
        (word + start, word + stop)
        for (word, _), (first, end) in zip(of_words, pairwise([*firsts, len(offsets)]), strict=True)
        for start, stop in offsets[first:end]
    ]
    return _cut(text, places, range(len(places)))


def _entity(sentence: _Sentence, span: Span, scores: Sequence[float], of_text: bool) -> Entity:
    sure = scores[span.start : span.stop]
    start = end = None
    if sentence.text is None:
        text = join_words(sentence.words[span.start : span.stop])
    else:
        start, end = sentence.offsets[span.start][0], sentence.offsets[span.stop - 1][1]
        text = sentence.text[start:end]
    return Entity(
        type=span.type,
        start_word=span.start,
        end_word=span.stop,
        text=text,
        score=sum(sure) / len(sure),
        start=start if of_text else None,
        end=end if of_text else None,
    )


def _parts(text: str, entities: Iterable[Entity]) -> Iterator[tuple[str, str | None]]:
    """Cut a text into its entities, each with its type, and what stands between them."""
    done = 0
    for entity in entities:
        # Pieces of one character, such as a Korean syllable, share its place.
        start, end = max(done, entity.start or 0), max(done, entity.end or 0)
        yield text[done:start], None
        yield text[start:end], entity.type
        done = end
    yield text[done:], None


def _runs(sentence: TaggedSentence) -> Iterator[tuple[str, str | None]]:
    """Cut a sentence of given words likewise."""
    done = 0
    for entity in sentence.entities:
        before = join_words(sentence.words[done : entity.start_word])
        yield f"{before} " if before else "", None
        yield entity.text, entity.type
        yield " ", None
        done = entity.end_word
    yield join_words(sentence.words[done:]), None
