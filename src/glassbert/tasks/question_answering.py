"""The answer to a question as a part of a text: SQuAD 1.1, where there always is one, and 2.0, where there may be none.

A long context becomes several windows that overlap. The answers of all its windows are compared by the sum of the
scores of their first and last tokens, and the text of an answer is cut out of the context as it stands.

Source: google-research/bert, run_squad.py; arXiv 1810.04805, sections 4.2 and 4.3.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor

from glassbert.errors import ConfigError, DataError, InputError
from glassbert.model import BertConfig, BertForQuestionAnswering, ModelOutput
from glassbert.model.losses import IGNORED
from glassbert.tasks.results import Result, as_html
from glassbert.tasks.spans import Place, best_spans, locate, stated, windows_over, with_most_context
from glassbert.tasks.squad import Scores, scores
from glassbert.tasks.task import TASK, Column, Columns, Example, Metrics, Record, Task, Verdict, counted
from glassbert.tasks.text_classification import finite
from glassbert.tasks.texts import brief
from glassbert.text import BertTokenizer, Encoding
from glassbert.text.encoding import Offset

Scoring = Literal["candidates", "windows"]
# Questions that are encoded in one call; their contexts are long.
_AT_ONCE: Final = 128
# Where a window without the answer points: at [CLS].
_NOWHERE: Final = (0, 0)
# How a person reads that there is none.
_NO_ANSWER: Final = "no answer"
# Characters of a context that a person reads before an answer.
_BEFORE: Final = 80
# Where the windows of an answer that cannot be learned point.
_UNKNOWN: Final = (IGNORED, IGNORED)
# Questions that a note names.
_NAMED: Final = 3


@dataclasses.dataclass(frozen=True)
class Reference:
    """A right answer.

    Attributes:
        text: not empty.
        start: where it begins in the context, in characters.
    """

    text: str
    start: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionAnsweringExample(Example):
    """A question with the text that may hold its answer.

    Attributes:
        question, context: not empty.
        answers: the right ones, the first of which is learned; empty where the context holds none, None where nobody
            knows them yet.
        id: of the question.
    """

    question: str
    context: str
    answers: tuple[Reference, ...] | None = None
    id: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionFeatures:
    """A question with a window over its context, as the model takes them.

    Attributes:
        encoding: its tokens, with their places in the context, or with those of their whole words.
        may_begin: (N,) bool, true at the context's tokens of this window with which an answer may begin here.
        span: first and last token of the answer; (0, 0) where it is not in this window, (-100, -100) where it cannot
            be learned, None where nobody asked for it.
        example: its number.
        cut: tokens of the question that were left out.
    """

    encoding: Encoding
    may_begin: Tensor
    span: tuple[int, int] | None = None
    example: int = 0
    cut: int = 0

    def __len__(self) -> int:
        """Length in tokens."""
        return len(self.encoding)

    @property
    def begin(self) -> int:
        """The context's first token."""
        return self.encoding.first + 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A possible answer.

    Attributes:
        text: as it stands in the context.
        start, end: where, in characters.
        score: its probability, as the task's `scoring` has it.
    """

    text: str
    start: int
    end: int
    score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer(Result):
    """The answer to a question.

    Attributes:
        text: as it stands in the context; empty for none.
        start, end: where, in characters; None for none.
        score: its probability; see `Candidate`.
        no_answer_probability: that there is none; 0 where the model has learned that there always is one.
        null_difference: the score of no answer less that of the best candidate, before they become probabilities: above
            the task's `null_threshold` there is no answer. None where there always is one.
        candidates: the best, with different texts, best first.
        cut: tokens of the question that were left out because it is too long.
    """

    text: str
    start: int | None
    end: int | None
    score: float
    no_answer_probability: float = 0.0
    null_difference: float | None = None
    candidates: tuple[Candidate, ...] = ()
    cut: int = 0

    def _shown(self) -> Iterable[tuple[str, str]]:
        yield "answer", as_html(self.text or _NO_ANSWER)
        if self.start is not None:
            yield "place", as_html(f"{self.start}–{self.end}")
        yield "score", as_html(self.score)
        scores = {one.text: one.score for one in self.candidates}
        if self.null_difference is not None:
            scores[f"({_NO_ANSWER})"] = self.no_answer_probability
        if scores:
            yield "candidates", as_html(scores)
        if self.cut:
            yield "cut", as_html(f"{counted(self.cut, 'token')} of the question")


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionAnsweringMetrics(Metrics):
    """How well answers meet the right ones, by the official scripts of SQuAD, as shares.

    Where a question has no answer, the script of 2.0 counts, else that of 1.1.

    Attributes:
        exact: share of the answers that are right to the word (articles, case and punctuation aside).
        f1: mean F1 of their words.
        has_answer_exact, has_answer_f1: of the questions with an answer; None where there are none.
        no_answer_exact, no_answer_f1: of those without; likewise.
        examples: how many.
    """

    exact: float
    f1: float
    has_answer_exact: float | None
    has_answer_f1: float | None
    no_answer_exact: float | None
    no_answer_f1: float | None
    examples: int
    main_name: ClassVar[str] = "f1"


@dataclasses.dataclass(frozen=True)
class QuestionAnswering(Task[QuestionAnsweringExample, QuestionFeatures, Answer, QuestionAnsweringMetrics]):
    """Which part of a text answers a question, if one does.

    Attributes:
        max_seq_length: most tokens of question and window, special ones included; fewer where the model takes fewer.
        doc_stride: tokens by which each window begins after the one before, but half a window at most.
        overlap: tokens that a window has in common with the next, in place of `doc_stride`; what transformers calls
            doc_stride. None where that holds.
        max_query_length: most tokens of a question, but half of a sequence at most; a longer one is cut.
        max_answer_length: most tokens of an answer that is given.
        n_best: how many candidates an answer comes with.
        scoring: how candidates are compared. "candidates", as Google's program does: those of all windows by the sum of
            the scores of their first and last tokens, each token in the window that shows most around it; `score` is a
            softmax over the candidates. "windows", as the pipeline of transformers 4.4.2 does: `score` is the
            probability of the first token times that of the last, each a softmax over [CLS] and the context of its
            window, and answers begin and end with whole words.
        characters: count Chinese characters in place of words in F1, and leave out the punctuation of all scripts.
        null_threshold: how much better no answer has to be than the best candidate to be given; None where there always
            is an answer. `learn` takes 0 where a question has none, and `calibrate` what is best for F1.
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    overlap: int | None = None
    max_query_length: int = 64
    max_answer_length: int = 30
    n_best: int = 20
    scoring: Scoring = "candidates"
    characters: bool = False
    null_threshold: float | None = None
    name: ClassVar[str] = "question-answering"
    model_class = BertForQuestionAnswering
    head: ClassVar[str] = r"^qa_outputs\."
    roles: ClassVar = {"question": True, "context": True, "id": False, "answers": True, "is_impossible": False}
    labels_in: ClassVar[tuple[str, ...]] = ("answers", "is_impossible")
    of_questions: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = (
        "max_seq_length",
        "doc_stride",
        "overlap",
        "max_query_length",
        "max_answer_length",
        "n_best",
        "scoring",
        "characters",
    )
    answer_options: ClassVar[tuple[str, ...]] = (
        "n_best",
        "max_answer_length",
        "null_threshold",
        "scoring",
        "max_seq_length",
        "max_query_length",
        "doc_stride",
        "overlap",
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigError: one out of range, by name.
        """
        leasts = {"max_seq_length": 5, "doc_stride": 1, "max_query_length": 1, "max_answer_length": 1, "n_best": 1}
        if self.overlap is not None:
            leasts["overlap"] = 0
        for name, least in leasts.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ConfigError(f"{name} is {value!r}, expected a whole number from {least}")
        if self.scoring not in get_args(Scoring):
            raise ConfigError(f"scoring is {self.scoring!r}, expected one of {', '.join(get_args(Scoring))}")
        if type(self.characters) is not bool:
            raise ConfigError(f"characters is {self.characters!r}, expected true or false")
        threshold = self.null_threshold
        if threshold is not None and (type(threshold) not in (int, float) or not math.isfinite(threshold)):
            raise ConfigError(f"null_threshold is {threshold!r}, expected a number, or None for always an answer")

    @classmethod
    def columns(
        cls,
        *,
        text: Column | None = None,
        pair: Column | None = None,
        label: Column | None = None,
        roles: Mapping[str, Column | Sequence[Column]] | None = None,
    ) -> Columns:
        """Return the columns that SQuAD has, whose names are those of the roles.

        Raises:
            ConfigError: other columns are asked for.
        """
        if roles or any(column is not None for column in (text, pair, label)):
            raise ConfigError(f"{cls.name} reads the columns {', '.join(cls.roles)}; it takes no names of others")
        return {role: role for role in cls.roles}

    def learn(self, examples: Iterable[QuestionAnsweringExample]) -> Self:
        """Find out whether there always is an answer.

        Raises:
            DataError: no question has an answer, or none that stands in its context.
        """
        with_answer = without = usable = 0
        lost: QuestionAnsweringExample | None = None
        for example in examples:
            answers = _answers(example)
            with_answer += bool(answers)
            without += not answers
            # One that can be learned is enough.
            usable = usable or any(locate(example.context, one.text, one.start) is not None for one in answers)
            lost = lost or (example if answers and not usable else None)
        if not with_answer:
            raise DataError("the training data has no question with an answer")
        if not usable and lost is not None:
            raise lost.error(
                f"none of the {counted(with_answer, 'question')} with an answer has one that stands in its context, so "
                f"nothing can be learned; the first is {brief(_answers(lost)[0].text)!r}{_identity(lost)}"
            )
        return dataclasses.replace(self, null_threshold=0.0 if without else None)

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Take the settings from the model's config; a model of another program always has an answer."""
        stored = config.extra.get(TASK, {})
        known = (*cls.options, "null_threshold")
        return cls(**{name: stored[name] for name in known if name in stored})

    def configure(self, config: BertConfig) -> BertConfig:
        """Return the config of a model with two scores a token."""
        settings = {"name": self.name, **dataclasses.asdict(self)}
        return dataclasses.replace(
            config,
            num_labels=2,
            id2label={},
            label2id={},
            problem_type=None,
            extra={**config.extra, TASK: settings},
        )

    def examples(
        self, records: Iterable[Record], columns: Columns, *, labelled: bool = True
    ) -> Iterator[QuestionAnsweringExample]:
        """Take questions, contexts and answers out of rows.

        `answers` are SQuAD's, as `{"text": […], "answer_start": […]}` or `[{"text", "answer_start"}, …]`. That there
        are none has to be said by `is_impossible`, since a file to predict on has none either.
        """
        for record in records:
            identity = record.value(columns["id"]) if _holds(record, columns, "id") else None
            yield QuestionAnsweringExample(
                question=record.get(columns["question"]),
                context=record.get(columns["context"]),
                answers=_references(record, columns) if labelled else None,
                id="" if identity is None else str(identity),
                file=record.file,
                line=record.line,
                position=record.position,
            )

    def features(
        self,
        examples: Iterable[QuestionAnsweringExample],
        tokenizer: BertTokenizer,
        *,
        max_length: int,
        labelled: bool = True,
    ) -> Iterator[QuestionFeatures]:
        """Turn each question into one or several windows over its context, and its answer into places of tokens.

        A window without the whole answer points at [CLS]. Where no window has it (an answer that does not stand in the
        context, or that is longer than a window), none of them counts in training.

        Raises:
            DataError: an empty question or context, with file and line.
            InputError: a `max_length` below 5, or what is no text.
        """
        most = self.text_limit(max_length)
        rest = iter(examples)
        number = 0
        while some := list(islice(rest, _AT_ONCE)):
            for example in some:
                _check(example)
            questions = _encoded(some, [example.question for example in some], tokenizer, most)
            # Several questions are asked about one text.
            holders = {example.context: example for example in reversed(some)}
            encodings = _encoded(list(holders.values()), list(holders), tokenizer, None)
            contexts = dict(zip(holders, encodings, strict=True))
            for example, question in zip(some, questions, strict=True):
                context = contexts[example.context]
                windows = self._windows(question, context, tokenizer, min(max_length, self.max_seq_length))
                spans = _spans(example, context.offsets or [], windows) if labelled else [None] * len(windows)
                for window, span in zip(windows, spans, strict=True):
                    yield QuestionFeatures(
                        encoding=window.encoding,
                        may_begin=window.may_begin,
                        span=span,
                        example=number,
                        cut=question.cut,
                    )
                number += 1

    def text_limit(self, max_length: int) -> int:
        """Return the most tokens of a question.

        Raises:
            InputError: a `max_length` below 5.
        """
        if max_length < 5:
            raise InputError(f"max_length is {max_length}, expected 5 or more: [CLS] question [SEP] context [SEP]")
        return min(self.max_query_length, (min(max_length, self.max_seq_length) - 3) // 2)

    def _windows(
        self, question: Encoding, context: Encoding, tokenizer: BertTokenizer, max_length: int
    ) -> list[_Window]:
        room = max_length - 3 - len(question)
        # Windows that overlap by half at least: a shorter answer than that is whole in one of them.
        step = min(self.doc_stride, max(1, room // 2)) if self.overlap is None else max(1, room - self.overlap)
        places = windows_over(len(context), room, step)
        by_itself = self.scoring == "windows"
        allowed = (
            [torch.ones(place.stop - place.start, dtype=torch.bool) for place in places]
            if by_itself
            else with_most_context(places, len(context))
        )
        offsets = _of_whole_words(context) if by_itself else context.offsets or []
        before = [(0, 0)] * (len(question) + 2)
        return [
            _Window(
                place,
                may_begin,
                Encoding(
                    ids=tokenizer.build_inputs_with_special_tokens(question.ids, context.ids[place]),
                    first=len(question),
                    second=place.stop - place.start,
                    offsets=[*before, *offsets[place], (0, 0)],
                ),
            )
            for place, may_begin in zip(places, allowed, strict=True)
        ]

    def collate(self, features: Sequence[QuestionFeatures], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (B, S) ids, types and mask, padded on the right, and (B,) places of the answers' ends."""
        encodings = [feature.encoding for feature in features]
        batch = dict(tokenizer.pad_encodings(encodings, padding_side="right", return_tensors="pt"))
        spans = [feature.span for feature in features if feature.span is not None]
        if len(spans) == len(features):
            # The model leaves out what lies past the end.
            past = batch["input_ids"].shape[1]
            ends = torch.tensor([[past if place == IGNORED else place for place in span] for span in spans])
            batch["start_positions"], batch["end_positions"] = ends.unbind(-1)
        return batch

    def weight(self, features: Sequence[QuestionFeatures]) -> float:
        """Count the windows that the loss is a mean over."""
        return float(sum(feature.span != _UNKNOWN for feature in features))

    def notes(
        self, examples: Sequence[QuestionAnsweringExample], features: Sequence[QuestionFeatures]
    ) -> Iterator[str]:
        """Tell of answers that stand elsewhere than they are said to, of those that cannot be learned, of ids twice."""
        moved = []
        ids = Counter[str]()
        for number, example in enumerate(examples):
            ids[example.id] += bool(example.id)
            for answer in _answers(example)[:1]:
                place = locate(example.context, answer.text, answer.start)
                if place is not None and place.start != stated(answer.text, answer.start):
                    moved.append(number)
        lost = list(dict.fromkeys(feature.example for feature in features if feature.span == _UNKNOWN))
        cut = len({feature.example for feature in features if feature.cut})
        if moved:
            yield (
                f"{len(moved)} of {len(examples)} answers do not stand where answer_start says; the place nearest to "
                f"it was taken: {_first(examples, moved)}"
            )
        if lost:
            yield (
                f"{len(lost)} of {len(examples)} answers are left out of training: they do not stand in their "
                f"context, or are longer than a window: {_first(examples, lost)}"
            )
        if twice := [identity for identity, count in ids.items() if count > 1]:
            yield (
                f"{counted(len(twice), 'question id')} used more than once: {', '.join(twice[:_NAMED])}"
                + (", …" if len(twice) > _NAMED else "")
            )
        if cut:
            yield f"{cut} of {len(examples)} questions are longer than a question may be and were cut"

    def rows(self, output: ModelOutput, features: Sequence[QuestionFeatures]) -> list[Tensor]:
        """Return for each window the scores of its tokens as the answer's first and last, (2, S)."""
        both = torch.stack((output["start_logits"], output["end_logits"]), dim=1).float().cpu()
        return [row[:, : len(feature)] for row, feature in zip(both, features, strict=True)]

    def answers(
        self,
        examples: Sequence[QuestionAnsweringExample],
        features: Sequence[QuestionFeatures],
        rows: Sequence[Tensor],
    ) -> list[Answer]:
        """Find the best answer in all windows of each question."""
        cuts = {feature.example: feature.cut for feature in features}
        decoded = self._decoded(examples, features, rows)
        return [self._answer(one, cuts.get(number, 0)) for number, one in enumerate(decoded)]

    def _answer(self, decoded: _Decoded, cut: int) -> Answer:
        may_be_none = self.null_threshold is not None
        values = [found.score for found in decoded.best] + [decoded.null] * may_be_none
        logarithms = torch.tensor(values, dtype=torch.float64)
        # Those of windows are logarithms of probabilities already.
        probabilities = (logarithms.exp() if self.scoring == "windows" else logarithms.softmax(dim=0)).tolist()
        candidates = tuple(
            Candidate(text=found.text, start=found.place.start, end=found.place.end, score=probability)
            for found, probability in zip(decoded.best, probabilities)
        )
        none = probabilities[-1] if may_be_none else 0.0
        difference = decoded.difference if may_be_none else None
        if not candidates or (difference is not None and difference > (self.null_threshold or 0.0)):
            chosen: dict[str, Any] = {"text": "", "start": None, "end": None, "score": none}
        else:
            chosen = dataclasses.asdict(candidates[0])
        return Answer(**chosen, no_answer_probability=none, null_difference=difference, candidates=candidates, cut=cut)

    def _decoded(
        self,
        examples: Sequence[QuestionAnsweringExample],
        features: Sequence[QuestionFeatures],
        rows: Sequence[Tensor],
    ) -> list[_Decoded]:
        windows: list[list[tuple[QuestionFeatures, Tensor]]] = [[] for _ in examples]
        for feature, row in zip(features, finite(rows), strict=True):
            scores = _in_window(row, feature.begin) if self.scoring == "windows" else row
            windows[feature.example].append((feature, scores))
        return [
            _Decoded(
                best=self._best(example.context, some),
                null=min(float(row[:, 0].double().sum()) for _, row in some),
            )
            for example, some in zip(examples, windows, strict=True)
        ]

    def _best(self, context: str, windows: Sequence[tuple[QuestionFeatures, Tensor]]) -> list[_Found]:
        """Return the best answers of different texts, best first."""
        found = []
        for feature, row in windows:
            start, end = row[:, feature.begin : -1]
            places = (feature.encoding.offsets or [])[feature.begin : -1]
            texts: set[str] = set()
            for span in best_spans(start, end, feature.may_begin, self.max_answer_length):
                place = Place(places[span.first][0], places[span.last][1])
                text = context[place.start : place.end]
                if text not in texts:
                    texts.add(text)
                    found.append(_Found(span.score, place, text))
                if len(texts) == self.n_best:
                    break
        best: dict[str, _Found] = {}
        for one in sorted(found, key=lambda one: -one.score):
            best.setdefault(one.text, one)
        return list(best.values())[: self.n_best]

    def calibrate(
        self,
        examples: Sequence[QuestionAnsweringExample],
        features: Sequence[QuestionFeatures],
        rows: Sequence[Tensor],
    ) -> Self:
        """Choose the threshold of no answer that is best for F1 on these questions."""
        if self.null_threshold is None or not examples:
            return self
        gains = []
        for example, decoded in zip(examples, self._decoded(examples, features, rows), strict=True):
            if decoded.difference is not None:
                answered, unanswered = (self._scores(example, text, True).f1 for text in (decoded.best[0].text, ""))
                gains.append((decoded.difference, answered - unanswered))
        return dataclasses.replace(self, null_threshold=_best_threshold(gains, self.null_threshold))

    def _scores(self, example: QuestionAnsweringExample, answer: str, version2: bool) -> Scores:
        references = [reference.text for reference in _answers(example)]
        return scores(answer, references, version2=version2, characters=self.characters)

    def measure(
        self, examples: Sequence[QuestionAnsweringExample], results: Sequence[Answer]
    ) -> QuestionAnsweringMetrics:
        """Compare answers with the right ones."""
        if not examples:
            raise InputError("no examples to evaluate")
        version2 = not all(_answers(example) for example in examples)
        parts: dict[bool, list[Scores]] = {True: [], False: []}
        for example, result in zip(examples, results, strict=True):
            parts[bool(_answers(example))].append(self._scores(example, result.text, version2))
        everything = parts[True] + parts[False]
        return QuestionAnsweringMetrics(
            exact=sum(one.exact for one in everything) / len(everything),
            f1=sum(one.f1 for one in everything) / len(everything),
            has_answer_exact=_mean([one.exact for one in parts[True]]),
            has_answer_f1=_mean([one.f1 for one in parts[True]]),
            no_answer_exact=_mean([one.exact for one in parts[False]]),
            no_answer_f1=_mean([one.f1 for one in parts[False]]),
            examples=len(examples),
        )

    def verdict(self, example: QuestionAnsweringExample, result: Answer) -> Verdict:
        """Take what is missing to an F1 of 1; of the context, show what stands around the answer."""
        right = _answers(example)
        version2 = self.null_threshold is not None or not right
        place = locate(example.context, right[0].text, right[0].start) if right else None
        start = place.start if place is not None else result.start or 0
        return Verdict(
            text=brief(example.question, _around(example.context, start)),
            expected=brief(" / ".join(dict.fromkeys(one.text for one in right))) or _NO_ANSWER,
            answered=brief(result.text) or _NO_ANSWER,
            error=1.0 - self._scores(example, result.text, version2).f1,
        )


class _Window(NamedTuple):
    """Which tokens of the context it shows, with which of them an answer may begin in it, and the whole sequence."""

    place: slice
    may_begin: Tensor
    encoding: Encoding


class _Found(NamedTuple):
    """A text that may be the answer: the sum of its two scores and where it stands."""

    score: float
    place: Place
    text: str


class _Decoded(NamedTuple):
    """What all windows of a question say: the best answers, and the score of none."""

    best: list[_Found]
    null: float

    @property
    def difference(self) -> float | None:
        """How much better no answer is than the best."""
        return self.null - self.best[0].score if self.best else None


def _of_whole_words(context: Encoding) -> list[Offset]:
    """Return for each token of a context begin and end of its whole word."""
    offsets, words = context.offsets or [], context.words or []
    begins: dict[int | None, int] = {}
    for word, (begin, _) in zip(words, offsets, strict=True):
        begins.setdefault(word, begin)
    ends = {word: end for word, (_, end) in zip(words, offsets, strict=True)}
    return [(begins[word], ends[word]) for word in words]


def _in_window(row: Tensor, begin: int) -> Tensor:
    """Return the logarithms of probabilities in a window, where [CLS] and the context from `begin` on share them.

    Args:
        row: (2, S) scores.
        begin: the context's first token.
    """
    shared = torch.cat((row[:, :1], row[:, begin:-1]), dim=1).double()
    return row.double() - shared.logsumexp(dim=1, keepdim=True)


def _answers(example: QuestionAnsweringExample) -> tuple[Reference, ...]:
    if example.answers is None:
        raise example.error("no answers, and nothing that says that there are none (is_impossible)")
    return example.answers


def _identity(example: QuestionAnsweringExample) -> str:
    return f" (question {example.id!r})" if example.id else ""


def _first(examples: Sequence[QuestionAnsweringExample], numbers: Sequence[int]) -> str:
    """Name the first of some questions: their place, as errors have it, and their id."""
    some = [examples[number] for number in numbers[:_NAMED]]
    named = (str(one.error(f"question {one.id!r}" if one.id else f"question {brief(one.question)!r}")) for one in some)
    return ", ".join(named) + (", …" if len(numbers) > _NAMED else "")


def _check(example: QuestionAnsweringExample) -> None:
    for name, text in (("question", example.question), ("context", example.context)):
        if not isinstance(text, str):
            raise InputError(f"the {name} is of type {type(text).__name__}, expected str")
        if not text.strip():
            raise example.error(f"the {name} is empty{_identity(example)}")


def _encoded(
    examples: Sequence[QuestionAnsweringExample], texts: Sequence[str], tokenizer: BertTokenizer, most: int | None
) -> list[Encoding]:
    """Return the tokens of a text of each example, without special ones; at most so many."""
    try:
        return tokenizer.encodings(
            texts, add_special_tokens=False, truncation=most is not None, max_length=most, details=True
        )
    except InputError as error:
        if len(examples) == 1:
            raise examples[0].error(str(error)) from None
        return [_encoded([example], [text], tokenizer, most)[0] for example, text in zip(examples, texts, strict=True)]


def _spans(
    example: QuestionAnsweringExample, offsets: Sequence[tuple[int, int]], windows: Sequence[_Window]
) -> list[tuple[int, int]]:
    """Return the answer's first and last token in each window of the example.

    Args:
        example: its first answer that is found is taken.
        offsets: of the context's tokens.
        windows: over these.
    """
    answers = _answers(example)
    if not answers:
        return [_NOWHERE] * len(windows)
    for answer in answers:
        place = locate(example.context, answer.text, answer.start)
        if place is None:
            continue
        # Begins and ends of tokens never go back.
        first = bisect_right(offsets, place.start, key=lambda offset: offset[1])
        last = bisect_left(offsets, place.end, key=lambda offset: offset[0]) - 1
        spans = []
        for window in windows:
            inside = window.place.start <= first <= last < window.place.stop
            shift = window.encoding.first + 2 - window.place.start
            spans.append((first + shift, last + shift) if inside else _NOWHERE)
        if any(span != _NOWHERE for span in spans):
            return spans
    return [_UNKNOWN] * len(windows)


def _best_threshold(gains: Sequence[tuple[float, float]], old: float) -> float:
    """Return the threshold in the middle of the gap where the sum of the gains below it is highest.

    Args:
        gains: for each question the difference that is compared with the threshold, and what is won if it is answered.
        old: what stays where there are none.
    """
    if not gains:
        return old
    ordered = sorted(gains)
    differences = [difference for difference, _ in ordered]
    # Below the lowest nothing is answered, above the highest everything.
    edges = [differences[0] - 1.0, *differences, differences[-1] + 1.0]
    best, threshold, total = 0.0, (edges[0] + edges[1]) / 2, 0.0
    for place, (difference, gain) in enumerate(ordered, 1):
        total += gain
        # A threshold cannot part equal differences.
        if total > best and edges[place + 1] > difference:
            best, threshold = total, (difference + edges[place + 1]) / 2
    return threshold


def _around(context: str, place: int) -> str:
    """Return the context from some words before a place on."""
    begin = context.find(" ", place - _BEFORE, place) if place > _BEFORE else -1
    if place > _BEFORE and begin < 0:  # a script without spaces
        begin = place - _BEFORE
    return context if begin < 0 else "…" + context[begin:].lstrip()


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _references(record: Record, columns: Columns) -> tuple[Reference, ...]:
    """Read the right answers of a record.

    Raises:
        DataError: answers of another shape, or none where nothing says that there are none.
    """
    texts, starts = _texts_and_starts(record.value(columns["answers"]))
    impossible = record.value(columns["is_impossible"]) if _holds(record, columns, "is_impossible") else None
    fault = None
    if texts is None or starts is None or len(texts) != len(starts):
        fault = "answers have neither the form {text: […], answer_start: […]} nor [{text, answer_start}, …]"
    elif faults := [found for text, start in zip(texts, starts) if (found := _fault(text, start))]:
        fault = faults[0]
    elif not isinstance(impossible, bool | None):
        fault = f"is_impossible is {impossible!r}, expected true or false"
    elif impossible and texts:
        fault = "is_impossible is true, but there are answers"
    elif not impossible and not texts:
        fault = "no answers, and is_impossible does not say that there are none"
        if record.values.get("answer") is not None:
            fault = (
                "no column answers; a column answer does not tell where the answer begins. answers are "
                '{"text": ["…"], "answer_start": [0]}, in JSON lines'
            )
    if fault is not None:
        name = record.value(columns["id"]) if _holds(record, columns, "id") else None
        raise record.error(fault if name is None else f"{fault} (question {name!r})")
    return tuple(map(Reference, texts or (), starts or ()))


def _fault(text: Any, start: Any) -> str | None:
    """Tell what is wrong with one answer."""
    if not isinstance(text, str):
        return f"an answer's text is {text!r}, expected a string"
    if not text.strip():
        return "an answer is empty; of a question without an answer is_impossible is true, and answers are []"
    if type(start) is not int:
        return f"the answer_start of {brief(text)!r} is {start!r}, expected a whole number: its place in the context"
    return None


def _texts_and_starts(given: Any) -> tuple[list[Any] | None, list[Any] | None]:
    """Take both forms of answers apart; None for what is not there."""
    if given is None:
        return [], []
    if isinstance(given, list) and all(isinstance(one, Mapping) for one in given):
        return [one.get("text") for one in given], [one.get("answer_start") for one in given]
    both = [given.get(name) if isinstance(given, Mapping) else None for name in ("text", "answer_start")]
    texts, starts = (one if isinstance(one, list) else None for one in both)
    return texts, starts


def _holds(record: Record, columns: Columns, role: str) -> bool:
    """Whether a record has the column of a role that it need not have."""
    return role in columns and columns[role] in record.values
