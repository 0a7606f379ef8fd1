"""Which of many documents fit a query best: a model that reads both together, a cross-encoder, scores each pair."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from glassbert.errors import InputError
from glassbert.infer.pipelines import Pipeline
from glassbert.tasks import ClassificationExample, Regression, RegressionExample, TextClassification
from glassbert.tasks.results import Result

# Documents that are in memory at once: enough to compute like lengths together.
_WINDOW: Final = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranked(Result):
    """A document with its score.

    Attributes:
        index: its number among the documents, from 0.
        score: how well it fits the query; more is better.
        text: the document.
        cut: tokens left out because query and document, or in a search the document, are longer than the model takes.
    """

    index: int
    score: float
    text: str
    cut: int = 0


class Scoring(NamedTuple):
    """How the answer to a pair becomes its score.

    Attributes:
        said: what the score is.
        example: makes the pair.
        score: takes the score out of the answer.
    """

    said: str
    example: Callable[..., RegressionExample | ClassificationExample]
    score: Callable[[Any], float]


def scoring(pipeline: Pipeline, label: str | None = None) -> Scoring:
    """Return how a model scores pairs: by its number, or by the probability of a class.

    Args:
        pipeline: has learned regression or text-classification.
        label: the class that means that a document fits; None takes the second of two.

    Raises:
        InputError: a model of another task, or of single texts; a class that it does not have, or none named where
            there are several.
    """
    task = pipeline.task
    if isinstance(task, Regression | TextClassification) and task.pairs is False:
        raise InputError(
            "the model has learned single texts; ranking takes one that has learned pairs, query and document"
        )
    if isinstance(task, Regression):
        if label is not None:
            raise InputError(f"label is {label!r}, but the model gives a number and has no classes")
        return Scoring("the number that the model gives", RegressionExample, lambda answer: float(answer.score))
    if not isinstance(task, TextClassification):
        raise InputError(
            f"the model has learned {task.name}; ranking takes one of {Regression.name} or {TextClassification.name}"
        )
    names = ", ".join(task.labels[:10]) + (", …" if len(task.labels) > 10 else "")
    if label is None:
        if len(task.labels) != 2:
            raise InputError(f"the model has {len(task.labels)} classes ({names}); name the one that counts as label")
        label = task.labels[1]
    if label not in task.labels:
        raise InputError(f"label is {label!r}, expected one of the model's classes: {names}")
    return Scoring(f"the probability of {label!r}", ClassificationExample, lambda answer: float(answer.scores[label]))


def scored(pipeline: Pipeline, query: str, documents: Iterable[str], *, label: str | None = None) -> Iterator[Ranked]:
    """Give each document its score, in their order; only some are in memory at a time.

    Args:
        pipeline: as `scoring` takes it.
        query: not empty.
        documents: any number, none of them empty.
        label: see `scoring`.

    Raises:
        InputError: what `scoring` raises; a query or document that is empty or no string.
        DataError: a text that cannot be encoded.
    """
    how = scoring(pipeline, label)
    _check("the query", query)
    check_texts("documents", documents)
    return _scored(pipeline, how, query, documents)


def _scored(pipeline: Pipeline, how: Scoring, query: str, documents: Iterable[str]) -> Iterator[Ranked]:
    numbered = enumerate(documents)
    while window := list(islice(numbered, _WINDOW)):
        for index, text in window:
            _check(f"document {index} (from 0)", text)
        answers = pipeline.answer([how.example(text=query, pair=text) for _, text in window])
        for (index, text), answer in zip(window, answers, strict=True):
            yield Ranked(index=index, score=how.score(answer), text=text, cut=answer.cut)


def rank(
    pipeline: Pipeline, query: str, documents: Iterable[str], *, top: int | None = 10, label: str | None = None
) -> list[Ranked]:
    """Return the documents that fit a query best, best first; of equal ones the first.

    Args:
        pipeline: of a model that has learned regression or text-classification on pairs.
        query: not empty.
        documents: any number, none of them empty; they are read as they are scored.
        top: how many are returned at most; None returns all.
        label: the class that means that a document fits; None takes the second of two.

    Raises:
        InputError: as `scored`, and a `top` below 1.
        DataError: a text that cannot be encoded.
    """
    return best(scored(pipeline, query, documents, label=label), top)


def best(documents: Iterable[Ranked], top: int | None) -> list[Ranked]:
    """Return the best of documents that have their scores, best first; of equal ones the first.

    Raises:
        InputError: a `top` below 1.
    """
    check_top(top)

    def order(one: Ranked) -> tuple[float, int]:
        return -one.score, one.index

    return sorted(documents, key=order) if top is None else heapq.nsmallest(top, documents, key=order)


def check_texts(name: str, texts: object) -> None:
    """Check that several texts are given, and not one, which would be taken for its characters.

    Raises:
        InputError: a string, or nothing that holds texts.
    """
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise InputError(f"{name} is of type {type(texts).__name__}, expected several texts, such as a list of strings")


def check_top(top: int | None) -> None:
    """Check how many are asked for.

    Raises:
        InputError: no whole number from 1, and not None.
    """
    if top is not None and (type(top) is not int or top < 1):
        raise InputError(f"top is {top!r}, expected a whole number from 1, or None for all")


class Ranker:
    """Which of many documents fit a query best; `pipeline("rank", model)` makes it.

    Args:
        pipeline: of a model that has learned regression or text-classification on pairs.
        label: the class that means that a document fits; None takes the second of two.

    Raises:
        InputError: a model that cannot score pairs, or no such class.
    """

    def __init__(self, pipeline: Pipeline, *, label: str | None = None) -> None:
        """Find out how the model scores."""
        self.pipeline, self.label = pipeline, label
        self.said = scoring(pipeline, label).said

    def __repr__(self) -> str:
        """Return what the scores are."""
        return f"Ranker({self.said}, {self.pipeline!r})"

    def __call__(self, query: str, documents: Iterable[str], *, top: int | None = 10) -> list[Ranked]:
        """Return the documents that fit a query best; see `rank`."""
        return rank(self.pipeline, query, documents, top=top, label=self.label)


def _check(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise InputError(f"{what} is of type {type(text).__name__}, expected a string")
    if not text.strip():
        raise InputError(f"{what} is empty")
