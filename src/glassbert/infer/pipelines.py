"""From text to typed results: a model, its tokenizer and what the model can say, on the engine."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from pathlib import Path
from typing import Any, Final, Protocol

from glassbert.checkpoint import check_vocabulary, load, load_tokenizer
from glassbert.errors import CheckpointError, ConfigError, DataError, InputError
from glassbert.infer.engine import Engine
from glassbert.infer.inputs import windows_of
from glassbert.infer.progress import with_bar
from glassbert.model import BertModel, BertPreTrainedModel, SentenceEncoder
from glassbert.tasks import (
    ANSWERINGS,
    AnyAnswering,
    AnyTask,
    FeatureExtraction,
    FillMask,
    MultiLabelClassification,
    NextSentence,
    Task,
    TextClassification,
    task_of,
)
from glassbert.tasks.batching import of_good
from glassbert.text import BertTokenizer, BertTokenizerFast

# Other names that people know.
_ALIASES: Final = {"ner": "token-classification", "sentiment-analysis": "text-classification"}
# What a head of pretraining, or none, is for where nobody asks for more.
_UNTAUGHT: Final[tuple[type[AnyAnswering], ...]] = (FillMask, NextSentence)


class SkippedExamples(Protocol):
    """Counts what is passed over, as `glassbert.data.Skipped` does."""

    def add(self, error: DataError, /) -> object:
        """Count one more."""


class Pipeline:
    """Answers texts with what a model can say of them. Several threads may call it at once.

    Args:
        task: what to say; made from the model.
        model: has the head for it.
        tokenizer: belongs to the model.

    Attributes:
        task: what it says.
        max_length: most tokens of a text; longer ones are cut or read in windows, as their answers tell.

    Raises:
        ConfigError: the tokenizer has more tokens than the model has rows.
    """

    def __init__(self, task: AnyAnswering, model: BertPreTrainedModel, tokenizer: BertTokenizer) -> None:
        """Make the engine."""
        check_vocabulary(tokenizer, model.config)
        self.task = task
        self.tokenizer = tokenizer
        limits = [tokenizer.model_max_length, model.config.max_position_embeddings]
        if isinstance(model, SentenceEncoder) and model.max_length is not None:
            limits.append(model.max_length)
        self.max_length = min(limits)
        if isinstance(task, FeatureExtraction) and not isinstance(model, BertModel):
            body = getattr(model, model.base_model_prefix)
            assert isinstance(body, BertPreTrainedModel)
            model = body
        self.engine = Engine(model)

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
            raise InputError(f"the input is of type {type(inputs).__name__}, expected a string or a list of strings")
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
        task = self.learned
        make = functools.partial(task.features, tokenizer=self.tokenizer, max_length=self.max_length)
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
        answers = self._answers(task, examples, features)
        return task.measure(examples, answers), answers

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
        return self._answers(task, examples, features)

    def _answers(self, task: AnyAnswering, examples: Sequence[Any], features: Sequence[Any]) -> list[Any]:
        collate = functools.partial(task.collate, tokenizer=self.tokenizer)
        rows = self.engine.run(features, collate, task.rows, states=task.states)
        return task.answers(examples, features, rows)


def pipeline(
    task: str | None = None,
    model: BertPreTrainedModel | str | Path | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    **options: Any,
) -> Pipeline:
    """Return a callable from text to typed results.

    Args:
        task: what to say, such as "text-classification" or "fill-mask" (`glassbert.tasks.ANSWERINGS` has all); "ner"
            and "sentiment-analysis" are known too. None takes what the model has learned.
        model: a model folder or the name of a repo on the hub, or a model (then `tokenizer` is needed).
        tokenizer: None loads it from the folder.
        options: those of the task's `answer_options`, for all calls that do not say otherwise.

    Raises:
        InputError: no model, or one without a tokenizer.
        ConfigError: an unknown task or option.
        CheckpointError: no model folder, or a model whose head does not do this.
    """
    if model is None:
        raise InputError("no model is given: pipeline(task, model=FOLDER)")
    task = _ALIASES.get(task, task) if task is not None else None
    if task is not None and task not in ANSWERINGS:
        raise ConfigError(f"task is {task!r}, expected one of {', '.join((*ANSWERINGS, *_ALIASES))}")
    where = type(model).__name__ if isinstance(model, BertPreTrainedModel) else str(model)
    if isinstance(model, BertPreTrainedModel):
        if tokenizer is None:
            raise InputError("a model that is not a folder needs its tokenizer: pipeline(task, model, tokenizer=…)")
        loaded = model
    else:
        loaded = load(model)
    try:
        found = answering_of(loaded, task)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from None
    return Pipeline(found.chosen(options), loaded, tokenizer or load_tokenizer(BertTokenizerFast, where))


def answering_of(model: BertPreTrainedModel, name: str | None = None) -> AnyAnswering:
    """Return what a model can say, of the name that is asked for.

    A model of several labels, asked for text-classification, answers with several labels.

    Args:
        model: any.
        name: a key of `glassbert.tasks.ANSWERINGS`; None for what the model has learned.

    Raises:
        ConfigError: its head does not do this; the message says what it does.
    """
    learned: AnyAnswering | None = None
    fault = ""
    try:
        learned = task_of(model.config, type(model).__name__)
    except ConfigError as error:
        fault = str(error)
    if name is None:
        if learned is not None:
            return learned
        for untaught in _UNTAUGHT:
            if untaught.reads(model):
                return untaught.of_model(model.config)
        known = ", ".join(abilities(model))
        raise ConfigError(fault + (f"; it does {known}, if that is named" if known else "") + f"; {_remedy('TASK')}")
    wanted = ANSWERINGS[name]
    if isinstance(learned, wanted) or (wanted is TextClassification and isinstance(learned, MultiLabelClassification)):
        return learned
    if wanted.reads(model):
        try:
            return wanted.of_model(model.config)
        except ConfigError:
            pass  # the head has the form, but not the labels
    known = ", ".join(abilities(model)) or "nothing that a pipeline asks for"
    fault = f"a {type(model).__name__} does not do {name}; this one does {known}"
    raise ConfigError(f"{fault}; {_remedy(name)}" if issubclass(wanted, Task) else fault)


def abilities(model: BertPreTrainedModel) -> list[str]:
    """Return the names of all that a model can say."""
    found = []
    for name in ANSWERINGS:
        wanted = ANSWERINGS[name]
        if not wanted.reads(model):
            continue
        try:
            wanted.of_model(model.config)
        except ConfigError:
            continue
        found.append(name)
    return found


def _remedy(name: str) -> str:
    return f"train it first: glassbert train DATA --model FOLDER --task {name} --out OUT"
