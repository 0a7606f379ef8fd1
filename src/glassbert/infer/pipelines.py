"""From text to typed results: a model, its tokenizer and what the model can say, on the engine."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from typing import Any, Protocol

from glassbert.checkpoint import check_vocabulary
from glassbert.errors import DataError, InputError
from glassbert.infer.inputs import windows_of
from glassbert.infer.progress import with_bar
from glassbert.infer.runner import Runner
from glassbert.tasks import AnyAnswering, AnyTask, Task
from glassbert.tasks.batching import of_good
from glassbert.text import BertTokenizer


class SkippedExamples(Protocol):
    """Counts what is passed over, as `glassbert.data.Skipped` does."""

    def add(self, error: DataError, /) -> object:
        """Count one more."""


class Pipeline:
    """Answers texts with what a model can say of them. Several threads may call it at once.

    Args:
        task: what to say; made from the model.
        runner: the model, made ready to run.
        tokenizer: belongs to the model.

    Attributes:
        task, runner, tokenizer: as they were given.
        max_length: most tokens of a text; longer ones are cut or read in windows, as their answers tell.

    Raises:
        ConfigError: the tokenizer has more tokens than the model has rows.
    """

    def __init__(self, task: AnyAnswering, runner: Runner, tokenizer: BertTokenizer) -> None:
        """Check that tokenizer and model belong together."""
        check_vocabulary(tokenizer, runner.config)
        self.task = task
        self.runner = runner
        self.tokenizer = tokenizer
        own = runner.config.extra.get("sentence_encoder", {}).get("max_length")
        limits = (tokenizer.model_max_length, runner.config.max_position_embeddings, own)
        self.max_length: int = min(limit for limit in limits if limit is not None)

    def __repr__(self) -> str:
        """Return what it says, and of how long texts."""
        return f"Pipeline({self.task!r}, max_length={self.max_length})"

    def __call__(self, inputs: Any, *, progress: bool = False, **options: Any) -> Any:
        """Answer one input, several in their order, or as many as come.

        Args:
            inputs: a string; a tuple of strings (text and second text, question and context); a mapping with the
                columns that the task reads, such as `{"tokens": ["a", "b"]}` or `{"question": "a", "choices": ["b"]}`;
                or a list of such, or an iterator.
            progress: show a bar on stderr, where that is a terminal.
            options: for this call, those of `task.answer_options`, such as `top_k=3` or `threshold=0.7`.

        Returns:
            a typed result; a list of them; of an iterator an iterator, which reads some thousand inputs ahead.

        Raises:
            ConfigError: an option that the task does not have, or a value that it cannot have.
            DataError: a text is empty; in a list `inputs[3]` is named.
            InputError: something that is no text, likewise.
        """
        task = self.task.chosen(options)
        if isinstance(inputs, str | tuple | Mapping):
            (answer,) = self._stream(task, [inputs], alone=True)
            return answer
        if not isinstance(inputs, Iterable) or isinstance(inputs, bytes | bytearray | Set):
            raise InputError(f"the input is of type {type(inputs).__name__}, expected a string, a list or an iterator")
        answers = self._stream(task, inputs)
        sized = isinstance(inputs, Sized)
        if progress:
            answers = with_bar(answers, total=len(inputs) if isinstance(inputs, Sized) else None, label=task.name)
        return list(answers) if sized else answers

    def _stream(self, task: AnyAnswering, inputs: Iterable[Any], *, alone: bool = False) -> Iterator[Any]:
        for examples in windows_of(task, inputs, alone=alone):
            yield from self._answer(task, examples)

    def answer(self, examples: Sequence[Any], **options: Any) -> list[Any]:
        """Answer examples of the task; errors name the file and line that an example came from."""
        return self._answer(self.task.chosen(options), examples)

    def evaluate(self, examples: Sequence[Any], *, skipped: SkippedExamples | None = None) -> tuple[Any, list[Any]]:
        """Answer labelled examples and compare.

        Args:
            examples: of the task.
            skipped: counts bad examples, which are then passed over and have no answer; None refuses them.

        Returns:
            The metrics, and the answers in order.

        Raises:
            DataError: an empty text, or a label that the model does not know, with file and line.
            InputError: no examples, or none that is good; nothing that can be compared.
        """
        examples, features = self.labelled(examples, skipped=skipped)
        answers = self.learned.answers(examples, features, self.rows(features))
        return self.learned.measure(examples, answers), answers

    def labelled(
        self, examples: Sequence[Any], *, skipped: SkippedExamples | None = None
    ) -> tuple[Sequence[Any], list[Any]]:
        """Return labelled examples, without those that are passed over, and their features.

        Raises:
            As `evaluate`.
        """
        make = functools.partial(self.learned.features, tokenizer=self.tokenizer, max_length=self.max_length)
        features: list[Any] = []
        if skipped is None:
            features = list(make(examples))
        else:
            good: list[Any] = []
            for some, found in of_good(examples, make, skipped.add):
                features += [dataclasses.replace(one, example=len(good) + one.example) for one in found]
                good += some
            if examples and not good:
                raise InputError(f"no examples to evaluate; {skipped}")
            examples = good
        return examples, features

    def rows(self, features: Sequence[Any], task: AnyAnswering | None = None) -> list[Any]:
        """Return what the model says of each of `features`; `task` made them, if not the pipeline's own."""
        task = self.task if task is None else task
        collate = functools.partial(task.collate, tokenizer=self.tokenizer)
        return self.runner.run(features, collate, task.rows, states=task.states)

    @property
    def learned(self) -> AnyTask:
        """The task, where it is one that is learned from labelled data.

        Raises:
            InputError: it is none.
        """
        if not isinstance(self.task, Task):
            raise InputError(f"{self.task.name} is not learned from labelled data, so it cannot be evaluated on such")
        return self.task

    def _answer(self, task: AnyAnswering, examples: Sequence[Any]) -> list[Any]:
        features = list(task.features(examples, self.tokenizer, max_length=self.max_length, labelled=False))
        return task.answers(examples, features, self.rows(features, task))
