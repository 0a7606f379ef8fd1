"""From text to typed results: a model, its tokenizer and the task that it has learned, on the engine."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from glassbert.checkpoint import check_vocabulary, load, load_tokenizer
from glassbert.errors import CheckpointError, ConfigError, DataError, InputError
from glassbert.infer.engine import Engine
from glassbert.model import BertPreTrainedModel
from glassbert.tasks import AnyTask, task_class, task_of
from glassbert.tasks.batching import of_good
from glassbert.text import BertTokenizer, BertTokenizerFast

# What a role is called on the command line, where that is not its name.
_FLAGS: Final = {"choices": "--choice"}
# What computes.
ENGINES: Final[dict[str, Callable[[BertPreTrainedModel], Engine]]] = {
    "torch": Engine,
    "int8": functools.partial(Engine, dtype="int8"),
}


class SkippedExamples(Protocol):
    """Counts what is passed over, as `glassbert.data.Skipped` does."""

    def add(self, error: DataError, /) -> object:
        """Count one more."""


class Pipeline:
    """Answers texts with the task that a model has learned.

    Args:
        task: what to do; made from the model.
        model: has the task's head.
        tokenizer: belongs to the model.
        engine: what computes: "torch", or "int8", which rounds (see `Engine`).

    Attributes:
        task: what it does.
        max_length: most tokens of a text; longer ones are cut, as their answers tell.

    Raises:
        ConfigError: the tokenizer has more tokens than the model has rows, or there is no such engine.
        InputError: the engine cannot run the model.
    """

    def __init__(
        self, task: AnyTask, model: BertPreTrainedModel, tokenizer: BertTokenizer, *, engine: str = "torch"
    ) -> None:
        """Make the engine."""
        check_engine(engine)
        check_vocabulary(tokenizer, model.config)
        self.task = task
        self.tokenizer = tokenizer
        self.max_length = min(tokenizer.model_max_length, model.config.max_position_embeddings)
        self.engine = ENGINES[engine](model)

    def __call__(self, inputs: Any) -> Any:
        """Answer one input, or several in their order.

        Args:
            inputs: a string; a tuple of strings (text and second text, question and context); a mapping with the
                columns that the task reads, such as `{"tokens": ["a", "b"]}` or `{"question": "a", "choices": ["b"]}`;
                or a list of such.

        Returns:
            a typed result, or a list of them.

        Raises:
            DataError: a text is empty.
            InputError: something that is no text.
        """
        single = isinstance(inputs, str | tuple | Mapping)
        if not single and (not isinstance(inputs, Sequence) or isinstance(inputs, bytes)):
            raise InputError(f"the input is of type {type(inputs).__name__}, expected a string or a list of strings")
        roles = [role for role in self.task.roles if role not in self.task.labels_in]
        rows = [_Row(one, number, roles) for number, one in enumerate([inputs] if single else inputs)]
        columns = {role: role for role in roles if rows and role in rows[0].values}
        for row in rows:
            strange = [name for name in row.values if name not in roles]
            if strange:
                raise InputError(
                    f"the input has {', '.join(map(repr, row.values))}, expected {', '.join(map(repr, roles))}"
                )
            if missing := [role for role in roles if self.task.roles[role] and role not in row.values]:
                needed = " and ".join(f"{role} ({_FLAGS.get(role, '--' + role)})" for role in missing)
                optional = ", ".join(role for role in roles if not self.task.roles[role] and role != "id")
                raise InputError(f"{self.task.name} needs {needed}" + (optional and f"; {optional} is optional"))
            if row.values.keys() != columns.keys():
                raise InputError(
                    f"an input with {', '.join(map(repr, row.values))} stands beside one with "
                    f"{', '.join(map(repr, columns))}; those of one call must be alike"
                )
        answers = self.answer(list(self.task.examples(rows, columns, labelled=False)))
        return answers[0] if single else answers

    def answer(self, examples: Sequence[Any]) -> list[Any]:
        """Answer examples of the task; errors name the file and line that an example came from."""
        features = list(self.task.features(examples, self.tokenizer, max_length=self.max_length, labelled=False))
        return self.task.answers(examples, features, self.rows(features))

    def evaluate(self, examples: Sequence[Any], *, skipped: SkippedExamples | None = None) -> tuple[Any, list[Any]]:
        """Answer labelled examples and compare.

        Args:
            examples: of the task.
            skipped: counts bad examples, which are then passed over and have no answer; None refuses them.

        Returns:
            The metrics, and the answers in order.

        Raises:
            DataError: an empty text, or a label that the model does not know, with file and line.
            InputError: no examples, or none that is good.
        """
        examples, features = self.labelled(examples, skipped=skipped)
        answers = self.task.answers(examples, features, self.rows(features))
        return self.task.measure(examples, answers), answers

    def labelled(
        self, examples: Sequence[Any], *, skipped: SkippedExamples | None = None
    ) -> tuple[Sequence[Any], list[Any]]:
        """Return labelled examples, without those that are passed over, and their features.

        Raises:
            As `evaluate`.
        """
        make = functools.partial(self.task.features, tokenizer=self.tokenizer, max_length=self.max_length)
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

    def rows(self, features: Sequence[Any]) -> list[Any]:
        """Return what the model says of each of `features`."""
        return self.engine.run(features, functools.partial(self.task.collate, tokenizer=self.tokenizer), self.task.rows)


def check_engine(name: str) -> None:
    """Raise ConfigError where there is no engine of that name."""
    if name not in ENGINES:
        raise ConfigError(f"engine is {name!r}, expected {' or '.join(ENGINES)}")


class _Row:
    """What a caller gives, as a record."""

    def __init__(self, given: Any, number: int, roles: Sequence[str]) -> None:
        if isinstance(given, Mapping):
            self.values = dict(given)
        elif isinstance(given, tuple) and 2 <= len(given) <= len(roles):
            self.values = dict(zip(roles, given))
        elif isinstance(given, tuple):
            raise InputError(
                f"a tuple is one input, ({', '.join(roles)}), but this has {len(given)} values; a list holds several"
            )
        else:
            self.values = {roles[0]: given}
        for name, value in self.values.items():
            if name in ("text", "pair", "negative", "question", "context") and not isinstance(value, str):
                raise InputError(f"the {name} is of type {type(value).__name__}, expected a string")
        self.file: Any = None
        self.line = None
        self.position = number + 1

    def name(self, column: str | int) -> str:
        """Return the name of a column."""
        return str(column)

    def value(self, column: str | int) -> Any:
        """Return a value as it is."""
        return self.values[str(column)]

    def get(self, column: str | int) -> str:
        """Return a value as text."""
        value = self.value(column)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

    def number(self, column: str | int) -> float:
        """Return a value as a number."""
        return float(self.value(column))

    def strings(self, column: str | int, *, split: bool = False) -> list[str]:
        """Return a list of strings."""
        value = self.value(column)
        if split and isinstance(value, str):
            return [part for part in value.split(" ") if part]
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise self.error(f"{column} is of type {type(value).__name__}, expected a list of strings")
        return list(value)

    def error(self, message: str) -> DataError:
        """Return an error about this input."""
        return DataError(message, file=None)


def pipeline(
    task: str | None = None,
    model: BertPreTrainedModel | str | Path | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    engine: str = "torch",
) -> Pipeline:
    """Return a callable from text to typed results.

    Args:
        task: its name, such as "text-classification"; None takes the one that the model has learned.
        model: a model folder or the name of a repo on the hub, or a model (then `tokenizer` is needed).
        tokenizer: None loads it from the folder.
        engine: what computes: "torch", or "int8", which rounds: faster, smaller, and not quite the same answers.

    Raises:
        InputError: no model, or one without a tokenizer, or one that the engine cannot run.
        ConfigError: an unknown task or engine.
        CheckpointError: no model folder, or a model that has learned another task, or none.
    """
    if model is None:
        raise InputError("no model is given: pipeline(task, model=FOLDER)")
    check_engine(engine)  # before a model is loaded in vain
    wanted = None if task is None else task_class(task)
    where = type(model).__name__ if isinstance(model, BertPreTrainedModel) else str(model)
    if isinstance(model, BertPreTrainedModel):
        if tokenizer is None:
            raise InputError("a model that is not a folder needs its tokenizer: pipeline(task, model, tokenizer=…)")
        loaded = model
    else:
        loaded = load(model)
    try:
        learned = task_of(loaded.config, type(loaded).__name__)
        if wanted is not None and type(learned) is not wanted:
            # A head that fits several tasks does what is asked.
            learned = wanted.of_model(loaded.config) if isinstance(loaded, wanted.model_class) else learned
        if wanted is not None and type(learned) is not wanted:
            raise ConfigError(f"has learned {learned.name}, not {task}")
    except ConfigError as error:
        raise CheckpointError(
            f"{where}: {error}; train it first: glassbert train DATA --model FOLDER --task {task or 'TASK'} --out OUT"
        ) from None
    return Pipeline(learned, loaded, tokenizer or load_tokenizer(BertTokenizerFast, where), engine=engine)
