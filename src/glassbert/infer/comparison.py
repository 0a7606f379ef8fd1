"""Two engines on the same labelled examples: how far their answers are apart, and how long each takes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

from glassbert.infer.pipelines import Pipeline, SkippedExamples
from glassbert.tasks import Answer, Choice, Classification, MultiLabel, TaggedSentence
from glassbert.tasks.batching import by_tokens
from glassbert.tasks.task import Metrics

# What an answer says, without how sure the model is of it; the answers of the other tasks are numbers throughout.
_SAID: Final[dict[type, Callable[[Any], Any]]] = {
    Answer: attrgetter("start", "text"),
    Choice: attrgetter("index"),
    Classification: attrgetter("label"),
    MultiLabel: attrgetter("labels"),
    TaggedSentence: attrgetter("tags"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one engine.

    Attributes:
        metrics: of its answers.
        seconds: that it computed, from features to what the model says of them.
        weight_bytes: memory of the weights that it computes with.
    """

    metrics: Metrics
    seconds: float
    weight_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """One engine beside another.

    Attributes:
        reference: of the one whose answers count.
        other: of the one in question.
        equal_answers: share of the examples to which both say the same; None where answers are numbers.
    """

    reference: Measured
    other: Measured
    equal_answers: float | None

    @property
    def difference(self) -> dict[str, float]:
        """By how much each figure of the other engine is larger."""
        own = self.reference.metrics.figures()
        return {name: value - own[name] for name, value in self.other.metrics.figures().items()}

    @property
    def speed(self) -> float:
        """How many times as fast the other engine is."""
        return self.reference.seconds / self.other.seconds

    def to_dict(self, reference: str, other: str) -> dict[str, Any]:
        """Return plain values for JSON, the engines under their names."""
        both = {reference: self.reference, other: self.other}
        return {
            "metrics": {name: one.metrics.to_dict() for name, one in both.items()},
            "difference": self.difference,
            "equal_answers": self.equal_answers,
            "seconds": {name: one.seconds for name, one in both.items()},
            "speed": self.speed,
            "weight_bytes": {name: one.weight_bytes for name, one in both.items()},
        }


def compare(
    reference: Pipeline, other: Pipeline, examples: Sequence[Any], *, skipped: SkippedExamples | None = None
) -> tuple[Comparison, list[Any]]:
    """Evaluate two pipelines of one model with different engines.

    They take turns, a call each, so that what else the machine does meets both alike; the first call of each is made
    twice and counted once, since it prepares more than it computes.

    Args:
        reference: the one whose answers count.
        other: the one in question.
        examples: labelled.
        skipped: counts bad examples, which are then passed over; None refuses them.

    Returns:
        The comparison, and the answers of `other` in order.

    Raises:
        As `Pipeline.evaluate`.
    """
    examples, features = reference.labelled(examples, skipped=skipped)
    task, both = reference.learned, (reference, other)
    groups = by_tokens([len(one) for one in features], max(one.runner.tokens_per_call for one in both))
    rows: list[list[Any]] = [[None] * len(features) for _ in both]
    seconds = [0.0, 0.0]
    for number, group in enumerate(groups):
        some = [features[place] for place in group]
        for index in (0, 1) if number % 2 == 0 else (1, 0):
            if number == 0:
                both[index].rows(some)
            begun = time.perf_counter()
            found = both[index].rows(some)
            seconds[index] += time.perf_counter() - begun
            for place, row in zip(group, found, strict=True):
                rows[index][place] = row
    answers = [task.answers(examples, features, one) for one in rows]
    measured = [
        Measured(metrics=task.measure(examples, found), seconds=spent, weight_bytes=one.runner.nbytes)
        for one, found, spent in zip(both, answers, seconds, strict=True)
    ]
    equal = equal_answers(*answers)
    share = None if equal is None else sum(equal) / len(equal)
    return Comparison(reference=measured[0], other=measured[1], equal_answers=share), answers[1]


def equal_answers(answers: Sequence[Any], others: Sequence[Any]) -> list[bool] | None:
    """Return of which examples two lists of answers say the same; None where answers are numbers.

    Args:
        answers: of a pipeline, one or more.
        others: to the same examples.
    """
    said = _SAID.get(type(answers[0]))
    return None if said is None else [said(one) == said(same) for one, same in zip(answers, others, strict=True)]
