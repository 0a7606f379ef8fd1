"""Which of several choices answers a question, or goes on with a text."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, tee
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from glassbert.errors import InputError
from glassbert.model import BertConfig, BertForMultipleChoice, ModelOutput
from glassbert.tasks.metrics import surprise
from glassbert.tasks.results import Result
from glassbert.tasks.task import TASK, Columns, Example, Metrics, Record, Task, Verdict, counted
from glassbert.tasks.text_classification import finite
from glassbert.tasks.texts import TextExample, brief, encoded
from glassbert.text import BertTokenizer, Encoding


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultipleChoiceExample(Example):
    """A question with its choices, and perhaps a text that it is about.

    The model reads `[CLS] context [SEP] question choice [SEP]` for each choice, and without a context `[CLS] question
    [SEP] choice [SEP]`.

    Attributes:
        question: not empty; beside a context it may be.
        choices: two or more, none of them empty.
        context: a text that the question is about, or what comes before it.
        label: the number of the right choice, from 0; None where nobody knows it yet.
    """

    question: str
    choices: tuple[str, ...]
    context: str | None = None
    label: int | None = None

    def texts(self) -> Iterator[TextExample]:
        """Give for each choice the pair of texts that the model reads."""
        for choice in self.choices:
            first, second = self.question, choice
            if self.context is not None:
                first, second = self.context, f"{self.question} {choice}" if self.question.strip() else choice
            yield TextExample(text=first, pair=second, file=self.file, line=self.line, position=self.position)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceFeatures:
    """A question as the model takes it.

    Attributes:
        encodings: the tokens of each choice.
        label: the number of the right one; None without a label.
        example: the number of its example.
    """

    encodings: tuple[Encoding, ...]
    label: int | None = None
    example: int = 0

    def __len__(self) -> int:
        """Length in tokens, of all choices together."""
        return sum(map(len, self.encodings))

    @property
    def cut(self) -> int:
        """Tokens left out of the longest choice because it is longer than the model takes."""
        return max(encoding.cut for encoding in self.encodings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice(Result):
    """The answer to one question.

    Attributes:
        index: the number of the most probable choice, from 0.
        text: that choice.
        score: its probability.
        scores: the probability of each choice, in their order.
        cut: tokens left out, at most, of a choice with its context, because they are longer than the model takes.
    """

    index: int
    text: str
    score: float
    scores: tuple[float, ...]
    cut: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultipleChoiceMetrics(Metrics):
    """How often the right choice is found.

    Attributes:
        accuracy: share of right answers.
        chance: that share where choices are drawn at random.
        examples: how many questions.
    """

    accuracy: float
    chance: float
    examples: int
    main_name: ClassVar[str] = "accuracy"


@dataclasses.dataclass(frozen=True)
class MultipleChoice(Task[MultipleChoiceExample, ChoiceFeatures, Choice, MultipleChoiceMetrics]):
    """Which of several choices is right; questions may differ in how many they have.

    Choices are a list in one column, or stand in a column each. A list may be of strings, of objects with `text` and
    `label`, or an object of two lists with these names. The right one is given

    - by a label of its own, where choices have them;
    - else by its number from 0, by a letter from A, or by its text.

    A label that can be read in two ways, such as 1 beside a choice "1" that is not number 1, is refused; a number in
    JSON is always a number.
    """

    name: ClassVar[str] = "multiple-choice"
    model_class = BertForMultipleChoice
    roles: ClassVar = {"question": True, "context": False, "choices": True, "label": True}
    in_several: ClassVar[tuple[str, ...]] = ("choices",)
    loss_choices: ClassVar[tuple[str, ...]] = ("label_smoothing",)

    def learn(self, examples: Iterable[MultipleChoiceExample]) -> Self:
        """Learn nothing: choices differ from question to question."""
        return self

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Make the task; nothing about it is stored."""
        return cls()

    def configure(self, config: BertConfig) -> BertConfig:
        """Return the config of a model that scores one choice at a time."""
        return dataclasses.replace(config, problem_type=None, extra={**config.extra, TASK: {"name": self.name}})

    def examples(
        self, records: Iterable[Record], columns: Columns, *, labelled: bool = True
    ) -> Iterator[MultipleChoiceExample]:
        """Take question, context, choices and the right one out of rows."""
        for record in records:
            example = MultipleChoiceExample(
                question=record.get(columns["question"]),
                context=record.get(columns["context"]) if "context" in columns else None,
                choices=(),
                file=record.file,
                line=record.line,
                position=record.position,
            )
            choices, names = _choices(example, record, columns)
            example = dataclasses.replace(example, choices=choices)
            if labelled:
                label = _index(example, names, record.value(columns["label"]))
                example = dataclasses.replace(example, label=label)
            yield example

    def features(
        self,
        examples: Iterable[MultipleChoiceExample],
        tokenizer: BertTokenizer,
        *,
        max_length: int,
        labelled: bool = True,
    ) -> Iterator[ChoiceFeatures]:
        """Turn each choice, with its question, into tokens."""
        examples, again = tee(examples)
        texts = chain.from_iterable(_checked(example).texts() for example in again)
        encodings = (encoding for _, _, encoding in encoded(texts, tokenizer, max_length))
        for number, example in enumerate(examples):
            choices = tuple(islice(encodings, len(_checked(example).choices)))
            label = _label(example) if labelled else None
            yield ChoiceFeatures(encodings=choices, label=label, example=number)

    def collate(self, features: Sequence[ChoiceFeatures], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (B, C, S) ids, types and mask, and (B,) labels; C is the most choices that a question has.

        Questions with fewer are filled up with padding, which the model takes for no choice.
        """
        most = max(len(feature.encodings) for feature in features)
        nothing = Encoding(ids=[], first=0, framed=False)
        rows = [
            encoding
            for feature in features
            for encoding in (*feature.encodings, *[nothing] * (most - len(feature.encodings)))
        ]
        # On the right whatever the tokenizer says: the model answers at the first token.
        padded = tokenizer.pad_encodings(rows, padding_side="right", return_tensors="pt")
        # (B·C, S) -> (B, C, S)
        batch = {name: values.unflatten(0, (len(features), most)) for name, values in padded.items()}
        labels = [feature.label for feature in features if feature.label is not None]
        if len(labels) == len(features):
            batch["labels"] = torch.tensor(labels)
        return batch

    def rows(self, output: ModelOutput, features: Sequence[ChoiceFeatures]) -> list[Tensor]:
        """Return the scores of each question's choices, (choices,), on the CPU."""
        logits = output["logits"].float().cpu()
        return [scores[: len(feature.encodings)] for scores, feature in zip(logits, features, strict=True)]

    def answers(
        self,
        examples: Sequence[MultipleChoiceExample],
        features: Sequence[ChoiceFeatures],
        rows: Sequence[Tensor],
    ) -> list[Choice]:
        """Turn scores into probabilities over each question's choices."""
        results = []
        for example, feature, row in zip(examples, features, finite(rows), strict=True):
            scores = tuple(row.softmax(dim=-1).tolist())
            best = max(range(len(scores)), key=scores.__getitem__)
            results.append(
                Choice(index=best, text=example.choices[best], score=scores[best], scores=scores, cut=feature.cut)
            )
        return results

    def measure(self, examples: Sequence[MultipleChoiceExample], results: Sequence[Choice]) -> MultipleChoiceMetrics:
        """Compare chosen answers with the right ones."""
        if not examples:
            raise InputError("no examples to evaluate")
        right = sum(_label(example) == result.index for example, result in zip(examples, results, strict=True))
        return MultipleChoiceMetrics(
            accuracy=right / len(examples),
            chance=sum(1 / len(example.choices) for example in examples) / len(examples),
            examples=len(examples),
        )

    def verdict(self, example: MultipleChoiceExample, result: Choice) -> Verdict:
        """Take the cross-entropy: how improbable the model finds the right choice."""
        label = _label(example)
        return Verdict(
            text=brief(example.context, example.question if example.question.strip() else None),
            expected=brief(example.choices[label]),
            answered=brief(result.text),
            error=surprise(result.scores[label]),
        )


def _choices(example: MultipleChoiceExample, record: Record, columns: Columns) -> tuple[tuple[str, ...], list[str]]:
    """Return the choices of a record and, where they have them, their own labels."""
    if "choices" not in columns:
        spread = [column for role, column in columns.items() if role.startswith("choices.")]
        return tuple(record.get(column) for column in spread), []
    value = record.value(columns["choices"])
    names: Any = []
    texts = value
    if isinstance(value, dict) and value.keys() >= {"text", "label"}:
        texts, names = value["text"], value["label"]
    elif isinstance(value, list) and value and all(isinstance(one, dict) and "text" in one for one in value):
        texts, names = [one["text"] for one in value], [one["label"] for one in value if "label" in one]
    listed = isinstance(texts, list | tuple) and isinstance(names, list | tuple)
    if not listed or not all(isinstance(text, str) for text in texts) or len(names) not in (0, len(texts)):
        raise example.error(
            f"the choices are {str(value)[:60]!r}, expected a list of strings, or of objects with text and label"
        )
    return tuple(texts), list(map(str, names))


def _index(example: MultipleChoiceExample, names: Sequence[str], value: Any) -> int:
    """Return the number of the right choice, as the label gives it."""
    count = len(example.choices)
    if value is None:
        raise example.error("the label is missing (null)")
    text = str(value).strip()
    if names:
        if names.count(text) != 1:
            raise example.error(f"the label is {text!r}, expected one of the choices' own: {', '.join(names)}")
        return list(names).index(text)
    found = {place for place, choice in enumerate(example.choices) if choice.strip() == text}
    if type(value) is int:
        found = {value}
    elif text in map(str, range(count)):
        found.add(int(text))
    elif len(text) == 1 and text in string.ascii_uppercase[:count]:
        found.add(string.ascii_uppercase.index(text))
    if len(found) > 1:
        places = " or ".join(map(str, sorted(found)))
        raise example.error(f"the label {text!r} can mean choice {places} (from 0); give a number in JSON lines")
    if not found or not 0 <= min(found) < count:
        raise example.error(
            f"the label is {text!r}, expected the number of one of {count} choices, from 0 to {count - 1}, a letter "
            "from A, or the choice itself"
        )
    return found.pop()


def _checked(example: MultipleChoiceExample) -> MultipleChoiceExample:
    texts = (example.question, *example.choices, *([] if example.context is None else [example.context]))
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"question, context and choices are strings; one is of type {type(text).__name__}")
    if example.context is None and not example.question.strip():
        raise example.error("the question is empty")
    if example.context is not None and not example.context.strip():
        raise example.error("the context is empty")
    if len(example.choices) < 2:
        raise example.error(f"a question with {counted(len(example.choices), 'choice')}; it takes two or more")
    empty = [number for number, choice in enumerate(example.choices) if not choice.strip()]
    if empty:
        raise example.error(f"choice {empty[0]} (from 0) is empty")
    return example


def _label(example: MultipleChoiceExample) -> int:
    if example.label is None or not 0 <= example.label < len(example.choices):
        found = "no label" if example.label is None else f"the label is {example.label}"
        raise example.error(f"{found}, expected the number of one of {len(example.choices)} choices, from 0")
    return example.label
