"""What all tasks have in common: the steps from a record to a typed result. Each task is a class in a file of its own.

    record ─ examples ─▶ Example ─ features ─▶ Features ─ collate ─▶ batch ─ model ─▶ output
    output ─ rows ─▶ a tensor for each of the features ─ answers ─▶ a typed result for each example ─ measure ─▶ metrics

A long example may become several windows, hence several features; `answers` joins them again. The engine, the training
loop and the commands know nothing of a task beyond these steps.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, ClassVar, Final, Generic, Protocol, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from glassbert.errors import ConfigError, DataError
from glassbert.model import BertConfig, BertPreTrainedModel, ModelOutput
from glassbert.text import BertTokenizer

# Under this key a task's own settings stand in `config.json`.
TASK: Final = "glassbert_task"


class Record(Protocol):
    """A row of a file, as the room `data` reads it."""

    @property
    def file(self) -> str:
        """The file it stands in."""

    @property
    def line(self) -> int | None:
        """The line it begins on, from 1; None where the file has no lines to count."""

    @property
    def position(self) -> int | None:
        """Its position in the file, from 1, where there is no line."""

    @property
    def values(self) -> Mapping[str, Any]:
        """What its columns hold, by name."""

    def name(self, column: str | int) -> str:
        """Return the name of a column that is given by name or number."""

    def get(self, column: str | int) -> str:
        """Return the value of a column as text, by name or number."""

    def value(self, column: str | int) -> Any:
        """Return the value of a column as it is; None for a missing one."""

    def number(self, column: str | int) -> float:
        """Return the value of a column as a finite number."""

    def strings(self, column: str | int, *, split: bool = False) -> list[str]:
        """Return the value of a column as a list of strings; with `split` also a text, for its parts between spaces."""

    def error(self, message: str) -> DataError:
        """Return an error that names the place of this record."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """What a task learns from or answers: one record, checked and typed.

    Attributes:
        file, line, position: where it stands; None for what did not come from a file.
    """

    file: str | None = None
    line: int | None = None
    position: int | None = None

    def error(self, message: str) -> DataError:
        """Return an error that names the place of this example."""
        return DataError(message, file=self.file, line=self.line, position=self.position)


class Features(Protocol):
    """An example, or a window of one, as the model takes it.

    Attributes:
        example: the number of its example, from 0.
    """

    @property
    def example(self) -> int:
        """The number of its example."""

    def __len__(self) -> int:
        """Length in tokens."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """How one answer meets what its example says, for a person to read.

    Attributes:
        text: what was asked, as one line; long texts are shortened.
        expected: what the example says.
        answered: what the model says.
        error: how far the two are apart, 0 where no answer could be better. Sorted by it, largest first, the hardest
            examples stand at the top; errors of different tasks do not compare.
    """

    text: str
    expected: str
    answered: str
    error: float


class Metrics:
    """What is measured of a task; each task has a dataclass of its figures.

    Attributes:
        main_name: the name of the figure by which models are compared unless another is chosen.
        lower_is_better: names of figures of which less is better.
    """

    main_name: ClassVar[str]
    lower_is_better: ClassVar[tuple[str, ...]] = ()

    @property
    def main(self) -> float:
        """The figure by which models are compared unless another is chosen."""
        return self.figure(self.main_name)

    def figure(self, name: str) -> float:
        """Return one figure by its name, or by several with dots, such as `f1.spam`, where there is one for each class.

        Raises:
            ConfigError: there is no such figure.
        """
        figures = self.figures()
        if name not in figures:
            known = ", ".join(list(figures)[:20])
            raise ConfigError(f"{name!r} is none of the figures that are measured: {known}")
        return figures[name]

    def value(self, name: str) -> float:
        """Return a figure so that more is better: its negative where less is."""
        return -self.figure(name) if name in self.lower_is_better else self.figure(name)

    def figures(self) -> dict[str, float]:
        """Return all figures by name; those of classes or widths with a dot, as `f1.spam`."""

        def flat(name: str, value: Any) -> Iterator[tuple[str, float]]:
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield from flat(f"{name}.{key}" if name else str(key), inner)
            elif type(value) is float:
                yield name, value

        return dict(flat("", self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]  # all are dataclasses

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make metrics of what `to_dict` gave, also after JSON, which has neither tuples nor keys that are numbers."""
        hints = get_type_hints(cls)
        return cls(**{name: _typed(value, hints[name]) for name, value in values.items()})


def _typed(value: Any, kind: Any) -> Any:
    """Bring plain values to the types of an annotation."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else _typed(value, next(one for one in inner if one is not type(None)))
    if origin is tuple:
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_typed(one, of) for one, of in zip(value, kinds, strict=True))
    if origin is list:
        return [_typed(one, inner[0]) for one in value]
    if origin is dict:
        return {inner[0](key): _typed(one, inner[1]) for key, one in value.items()}
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _typed(one, hints[name]) for name, one in value.items()})  # type: ignore[operator]
    return value


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 tag`, `2,000 tags`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


ExampleT = TypeVar("ExampleT", bound=Example)
FeatureT = TypeVar("FeatureT", bound=Features)
ResultT = TypeVar("ResultT")
MetricsT = TypeVar("MetricsT", bound=Metrics)
Column = str | int
# Role of a column (text, label, …) → its name or number. What is spread over several columns has a role for each of
# them: `choices.0`, `choices.1`, …
Columns = Mapping[str, Column]


class Answering(ABC, Generic[ExampleT, FeatureT, ResultT]):
    """One thing that a model can say of a text; `Task` is one that it can be taught, too.

    It is made from a model (`of_model`) and never changes; `chosen` returns another with other settings.

    Attributes:
        name: as `pipeline` and `--task` have it.
        model_class: the model with the head for it.
        model_classes: all whose output can be read, where those are several.
        roles: columns that a record has for it → whether it must have them; a text that comes alone is the first.
        main: the role whose column is named as that of the text; empty for the first.
        labels_in: those roles that hold what is to be learned, and are not needed to predict.
        in_several: roles that may be spread over several columns.
        of_questions: whether records are brought to the form of SQuAD's questions before, whatever form they have.
        learned_from: optional roles without which nothing can be learned or compared.
        answer_options: fields of the class that whoever asks may choose, call by call.
    """

    name: ClassVar[str]
    model_class: ClassVar[type[BertPreTrainedModel]]
    model_classes: ClassVar[tuple[type[BertPreTrainedModel], ...]] = ()
    roles: ClassVar[Mapping[str, bool]]
    main: ClassVar[str] = ""
    labels_in: ClassVar[tuple[str, ...]] = ()
    in_several: ClassVar[tuple[str, ...]] = ()
    of_questions: ClassVar[bool] = False
    learned_from: ClassVar[tuple[str, ...]] = ()
    answer_options: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def reads(cls, kind: type[BertPreTrainedModel]) -> bool:
        """Whether the output of models of a class can be read."""
        return issubclass(kind, cls.model_classes or cls.model_class)

    def chosen(self, values: Mapping[str, Any]) -> Self:
        """Return it with other values for some of `answer_options`.

        Raises:
            ConfigError: a name that is none of these, or a value that it cannot have.
        """
        for name in values:
            if name not in self.answer_options:
                known = ", ".join(self.answer_options) or "none"
                raise ConfigError(f"{self.name} has no option {name!r} for its answers; it has {known}")
        return dataclasses.replace(self, **values) if values else self  # type: ignore[type-var]  # all are dataclasses

    @property
    def states(self) -> bool:
        """Whether the hidden states of all layers are read."""
        return False

    @classmethod
    def columns(
        cls,
        *,
        text: Column | None = None,
        pair: Column | None = None,
        label: Column | None = None,
        roles: Mapping[str, Column | Sequence[Column]] | None = None,
    ) -> Columns:
        """Return the columns that somebody named, by role.

        Args:
            text: column of the main role.
            pair: column of the second text.
            label: column of what is to be learned.
            roles: further columns by role, which go before these; several for a role that is spread over them (one
                alone holds all).

        Raises:
            ConfigError: a role that the task does not have, or several columns for one that is not spread.
        """
        main = cls.main or next(iter(cls.roles))
        given: dict[str, Column | Sequence[Column] | None] = {main: text, "pair": pair}
        given |= dict.fromkeys(cls.labels_in, label)
        given |= roles or {}
        columns: dict[str, Column] = {}
        for role, column in given.items():
            if column is not None and role not in cls.roles:
                raise ConfigError(f"{cls.name} has no use for a {role} column; it reads {', '.join(cls.roles)}")
            if column is not None and not isinstance(column, str | int):
                if role not in cls.in_several:
                    raise ConfigError(f"{role} is {column!r}, expected the name or number of one column")
                several = {f"{role}.{number}": one for number, one in enumerate(column)}
                columns |= several if len(several) != 1 else {role: column[0]}
            elif column is not None:
                columns[role] = column
        return columns

    @classmethod
    @abstractmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Make the task that a model has learned.

        Raises:
            ConfigError: the config is not that of such a model.
        """

    @abstractmethod
    def examples(self, records: Iterable[Record], columns: Columns, *, labelled: bool = True) -> Iterator[ExampleT]:
        """Take examples out of records.

        Args:
            records: any number.
            columns: a column for each role that the records have.
            labelled: whether labels are read, and must be there.

        Raises:
            DataError: a record that makes no example, with file and line.
        """

    @abstractmethod
    def features(
        self, examples: Iterable[ExampleT], tokenizer: BertTokenizer, *, max_length: int, labelled: bool = True
    ) -> Iterator[FeatureT]:
        """Turn examples into what the model takes, some hundred at a time.

        Args:
            examples: any number.
            tokenizer: belongs to the model.
            max_length: most tokens of one of the features, special ones included.
            labelled: whether labels are turned into numbers too.

        Raises:
            DataError: an empty text, or a label that the task does not know, with file and line.
        """

    @abstractmethod
    def collate(self, features: Sequence[FeatureT], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make the keyword arguments of a forward call; `labels` among them where all features have one."""

    def text_limit(self, max_length: int) -> int:
        """Return the most tokens of a text that is not cut, where the model's features have at most `max_length`."""
        return max_length

    def rows(self, output: ModelOutput, features: Sequence[FeatureT]) -> list[Tensor]:
        """Return what the model said of each of the features, on the CPU."""
        return list(output["logits"].float().cpu())

    @abstractmethod
    def answers(
        self, examples: Sequence[ExampleT], features: Sequence[FeatureT], rows: Sequence[Tensor]
    ) -> list[ResultT]:
        """Turn what the model said into one typed result for each example.

        Raises:
            InputError: scores that are not finite.
        """


class Task(Answering[ExampleT, FeatureT, ResultT], Generic[ExampleT, FeatureT, ResultT, MetricsT]):
    """One thing that a model can learn to do.

    A task is made from the training data (`learn`) or from a model that has learned it (`of_model`); it never changes.

    Attributes:
        head: a pattern of the head's parameters, which are new when a model learns the task; empty where it has none.
        loss_choices: what the loss may be told beside the batch: "class_weights", "label_smoothing".
        options: fields of the class that may be chosen, where the others are learned.
    """

    head: ClassVar[str] = r"^classifier\."
    labels_in: ClassVar[tuple[str, ...]] = ("label",)
    loss_choices: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Check values for some of `options`.

        Raises:
            ConfigError: a name that is none of these, or a value that the task cannot have.
        """
        for name in options:
            if name not in cls.options:
                raise ConfigError(f"{cls.name} has no option {name!r}; it has {', '.join(cls.options) or 'none'}")
        cls(**options)

    @abstractmethod
    def learn(self, examples: Iterable[ExampleT]) -> Self:
        """Return the task as labelled examples have it: which classes are there?

        Raises:
            DataError: examples from which nothing can be learned, with file and line.
        """

    @abstractmethod
    def configure(self, config: BertConfig) -> BertConfig:
        """Return the config of a model for this task: its labels and, under `glassbert_task`, its own settings."""

    def weight(self, features: Sequence[FeatureT]) -> float:
        """Return how much the mean loss of these features counts beside that of others: what it is a mean over."""
        return float(len(features))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of their ids, where the loss is over such."""
        return ()

    def class_ids(self, feature: FeatureT) -> Sequence[int]:
        """Return the ids of the classes that the loss of one of the features is a mean over."""
        return ()

    @property
    def whole_batch(self) -> bool:
        """Whether the loss compares the texts of a batch with each other, so that the batch cannot be split."""
        return False

    def loss(self, model: BertPreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss of a batch that `collate` made, (); most models compute it themselves."""
        loss: Tensor = model(**batch).loss
        return loss

    def notes(self, examples: Sequence[ExampleT], features: Sequence[FeatureT]) -> Iterator[str]:
        """Tell what one should know of training data, a line each: what is learned from it, what cannot be."""
        return iter(())

    def calibrate(self, examples: Sequence[ExampleT], features: Sequence[FeatureT], rows: Sequence[Tensor]) -> Self:
        """Return the task with thresholds that are best on these labelled examples; most tasks have none."""
        return self

    @abstractmethod
    def measure(self, examples: Sequence[ExampleT], results: Sequence[ResultT]) -> MetricsT:
        """Compare results with what the examples say.

        Raises:
            InputError: nothing to compare.
        """

    @abstractmethod
    def verdict(self, example: ExampleT, result: ResultT) -> Verdict:
        """Tell how far an answer is from what the example says.

        Raises:
            DataError: the example does not say what is right, with file and line.
        """
