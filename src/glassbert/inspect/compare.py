"""`inspect compare`: two checkpoints side by side: config, vocabulary, weights, representations, answers."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import torch
from torch import Tensor

from glassbert.data import Skipped, Source
from glassbert.errors import ConfigError, GlassbertError
from glassbert.infer import Pipeline, equal_answers, pipeline
from glassbert.inspect.finding import (
    ISOLATES,
    Column,
    Drawing,
    Finding,
    Part,
    Prose,
    Table,
    figure,
    headed,
    isolated,
    named,
    shade,
)
from glassbert.inspect.likeness import SENTENCES, Likeness, likeness
from glassbert.inspect.running import Model, Subject, finite, shape_text
from glassbert.model import BertConfig, BertPreTrainedModel
from glassbert.settings import ReadingSettings, paths_of
from glassbert.tasks import AnyTask, FeatureExtraction, TextClassification, task_of
from glassbert.tasks.multiple_choice import MultipleChoiceExample
from glassbert.tasks.question_answering import QuestionAnsweringExample
from glassbert.tasks.task import Verdict, counted
from glassbert.tasks.texts import brief
from glassbert.tasks.token_classification import TokenClassificationExample
from glassbert.text import BertTokenizer
from glassbert.train import markup
from glassbert.train.examples import read_examples, records_of
from glassbert.train.markup import Markup, tag
from glassbert.train.plots import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

# What is shown of long lists.
_SHOWN: Final = 12
_DIFFERING: Final = 20
# Columns of a heat map that a terminal has room for.
_ROOM: Final = 14

Value = str | int | float | bool | None | list[Any] | dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting that the two have differently.

    Attributes:
        name: of it.
        a: of the first; None also where it has none.
        b: of the second.
    """

    name: str
    a: Value
    b: Value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocabularies:
    """Both tokenizers.

    Attributes:
        sizes: how many tokens each has, added ones among them.
        equal: whether all tokens have the same ids in both.
        shared: how many tokens are in both.
        moved: how many of these have another id.
        only_a: tokens of the first alone, by their ids, the first of them.
        only_b: of the second.
        rules: that differ.
    """

    sizes: tuple[int, int]
    equal: bool
    shared: int
    moved: int
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    rules: tuple[Setting, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """How a weight, or several together, differ: A is the first model's, B the second's.

    Attributes:
        name: of the parameter, without the name of the BERT in a model with a head; of several "".
        place: "embeddings", "layer 0", …, "pooler" or "head".
        part: of the place, such as "query"; of a whole place "".
        numbers: how many.
        relative: ‖A - B‖ / ‖A‖; None where A is 0 and B is not, or a number is not finite.
        largest: absolute difference; None where a number is not finite.
        equal: whether all are equal to the bit.
    """

    name: str
    place: str
    part: str
    numbers: int
    relative: float | None
    largest: float | None
    equal: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reshaped:
    """A weight that has another shape in the other model.

    Attributes:
        name: of it.
        a: its shape in the first.
        b: in the second.
    """

    name: str
    a: tuple[int, ...]
    b: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Differing:
    """An example that the two answer differently.

    Attributes:
        text: shortened.
        expected: what the file says.
        a: what the first says.
        b: what the second says.
        line: of the file, from 1; None where it has no lines.
    """

    text: str
    expected: str
    a: str
    b: str
    line: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers of both to the same labelled examples.

    Attributes:
        task: that both have learned.
        examples: how many.
        metrics_a: figures of the first, by name; None where there is no number.
        metrics_b: of the second.
        equal: share of examples to which both say the same; None where answers are numbers.
        outcomes: of a classification, how many examples both, one or none has right.
        differing: examples with different answers, those first of which one is much better.
    """

    task: str
    examples: int
    metrics_a: dict[str, float | None]
    metrics_b: dict[str, float | None]
    equal: float | None
    outcomes: dict[str, int]
    differing: tuple[Differing, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ModelComparison(Finding):
    """Two models side by side; A is the first and B the second.

    Attributes:
        a: name of the first.
        b: name of the second.
        classes: of the two models.
        parameters: numbers in each.
        settings: of the config, that differ.
        vocabularies: None where one has no tokenizer.
        changes: of every weight that both have in one shape.
        places: the same, all weights of a place together.
        pieces: the same, for each part of each place.
        only_a: names of weights of the first alone.
        only_b: of the second.
        reshaped: weights of different shapes.
        likeness: of the representations; None where they cannot be compared.
        answers: None where there is no labelled file, or no task that both have learned.
        notes: what else is to be known: what was cut, left out, or could not be compared.
    """

    asks: ClassVar[str] = "What did training change, and do two models see the same?"

    a: str
    b: str
    classes: tuple[str, str]
    parameters: tuple[int, int]
    settings: tuple[Setting, ...]
    vocabularies: Vocabularies | None
    changes: tuple[Change, ...]
    places: tuple[Change, ...]
    pieces: tuple[Change, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    reshaped: tuple[Reshaped, ...]
    likeness: Likeness | None
    answers: Answers | None
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name both."""
        return f"{self.a} and {self.b}"

    @property
    def equal(self) -> bool:
        """Whether both have the same weights, to the bit."""
        return all(one.equal for one in self.changes) and not (self.only_a or self.only_b or self.reshaped)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**super().to_dict(), "equal": self.equal}

    def parts(self) -> Iterable[Part]:
        """Give all comparisons, each as a table, and what is a matrix as colours too."""
        yield Prose("", [self._answer(), *self.notes])
        yield self._configs()
        if self.vocabularies is not None:
            yield from _vocabulary_parts(self.vocabularies)
        if self.changes:
            yield from self._weights()
        if self.only_a or self.only_b or self.reshaped:
            yield self._unmatched()
        if self.likeness is not None:
            yield from self._alike(self.likeness)
        if self.answers is not None:
            yield from _answer_parts(self.answers)

    def _answer(self) -> str:
        both = zip("AB", (self.a, self.b), self.classes, self.parameters, strict=True)
        text = " ".join(f"{side} is {name}, a {kind} of {size:,} parameters." for side, name, kind, size in both) + " "
        if self.equal:
            return text + "All weights are equal to the bit."
        same = sum(one.equal for one in self.changes)
        shared = f"Of {counted(len(self.changes), 'weight')} of the same name and shape, {same} are equal to the bit"
        said = [shared if self.changes else "No weight has the same name and shape in both"]
        if self.reshaped:
            said.append(f"{len(self.reshaped)} have other shapes")
        said += [
            f"{len(names)} stand in {model} alone" for model, names in (("A", self.only_a), ("B", self.only_b)) if names
        ]
        return text + "; ".join(said) + "."

    def _configs(self) -> Part:
        if not self.settings:
            return Prose("Config", ["Both have the same config."])
        return _settings_table("Config", "setting", self.settings)

    def _weights(self) -> Iterator[Part]:
        yield Table(
            "Weights, by place",
            (
                Column("", "code"),
                Column("numbers", "number"),
                Column("relative change", "number", ".3%"),
                Column("largest difference", "number", ".3g"),
                Column("equal to the bit"),
            ),
            [[one.place, one.numbers, one.relative, one.largest, "yes" if one.equal else "no"] for one in self.places],
            "The relative change is ‖A - B‖ / ‖A‖ over all numbers of a place that both have.",
        )
        if all(one.equal for one in self.changes):
            return
        yield Drawing("Relative change, by place", _bars(self.places))
        layers = [one for one in self.pieces if one.place.startswith("layer ")]
        rows = list(dict.fromkeys(one.place for one in layers))
        columns = [name for name in _PARTS if any(one.part == name for one in layers)]
        values = {(one.place, one.part): one.relative for one in layers}
        if rows:
            yield _Heat(
                "Relative change, by layer and part",
                rows,
                columns,
                [[values.get((row, column)) for column in columns] for row in rows],
                "In percent.",
                scaled=True,
                form="{:.2f}",
            )

    def _unmatched(self) -> Part:
        rows: list[list[str]] = [[one.name, shape_text(one.a), shape_text(one.b)] for one in self.reshaped[:_SHOWN]]
        rows += [[name, "here", "–"] for name in self.only_a[:_SHOWN]]
        rows += [[name, "–", "here"] for name in self.only_b[:_SHOWN]]
        left = len(self.only_a) + len(self.only_b) + len(self.reshaped) - len(rows)
        about = "Weights of other shapes, and those of one model alone" + (
            f"; {left} more are not shown." if left else "."
        )
        return Table(
            "Weights that have no counterpart",
            (Column("weight", "code"), Column("A", "code"), Column("B", "code")),
            rows,
            about,
        )

    def _alike(self, found: Likeness) -> Iterator[Part]:
        rows, columns = (_states(count) for count in (len(found.matrix), len(found.matrix[0])))
        what = "vectors of tokens" if found.of == "tokens" else "texts, the mean of each one's tokens"
        yield _Heat(
            "How alike the representations are (CKA)",
            rows,
            columns,
            [list(row) for row in found.matrix],
            f"Rows are the layers of A, columns those of B; emb are the embeddings. 100 is the same but for rotation "
            f"and scale, 0 unrelated. Of {found.points:,} {what}, from {counted(found.texts, 'text')}; linear CKA "
            "(arXiv 1905.00414), the unbiased estimate.",
        )
        best = [_best(row) for row in found.matrix]
        yield Table(
            "Layer by layer",
            (
                Column("layer of A", "number"),
                Column("the same of B", "number", ".3f"),
                Column("most alike of B", "number"),
                Column("CKA", "number", ".3f"),
            ),
            [
                [
                    rows[number],
                    row[number] if number < len(row) else None,
                    None if place is None else columns[place],
                    None if place is None else row[place],
                ]
                for number, (row, place) in enumerate(zip(found.matrix, best, strict=True))
            ],
        )

    def plot(self) -> Figure:
        """Draw the CKA matrix, as far as there is one, and the relative change of each place."""
        matrix = None if self.likeness is None else self.likeness.matrix
        drawn = figure(9.6 if matrix else 6.4, 4.4)
        axes = list(drawn.subplots(1, 2 if matrix else 1, squeeze=False)[0])
        if matrix:
            heat = axes[0]
            numbers = [[float("nan") if value is None else value for value in row] for row in matrix]
            image = heat.imshow(numbers, vmin=0.0, vmax=1.0, cmap="Blues", aspect="auto")
            heat.set(xlabel="layer of B (emb: the embeddings)", ylabel="layer of A (emb: the embeddings)")
            for count, ticks in ((len(matrix[0]), heat.set_xticks), (len(matrix), heat.set_yticks)):
                step = -(-count // _ROOM)
                ticks(range(0, count, step), _states(count)[::step])
            heat.set_title("CKA of the representations", loc="left", fontsize=10)
            drawn.colorbar(image, ax=heat, fraction=0.046)
        bars = axes[-1]
        known = [one for one in self.places if one.relative is not None]
        top = 100.0 * _full(known)
        lengths = [min(top, 100.0 * (one.relative or 0.0)) for one in known]
        bars.barh(range(len(known)), lengths, color=BLUE)
        for place, (one, length) in enumerate(zip(known, lengths, strict=True)):
            cut = 100.0 * (one.relative or 0.0) > top
            bars.text(length + 0.02 * top, place, _change_text(one, cut=cut), va="center", fontsize=7)
        bars.set_yticks(range(len(known)), [one.place for one in known], fontsize=8)
        bars.set_xlim(0.0, 1.5 * top)
        bars.invert_yaxis()
        bars.set(xlabel="‖A - B‖ / ‖A‖, percent")
        bars.spines[["top", "right"]].set_visible(False)
        bars.set_title("Change of the weights", loc="left", fontsize=10)
        if not known:
            bars.text(0.5, 0.5, "no weights of the same shape", ha="center", transform=bars.transAxes)
        headed(drawn, f"A: {_short(self.a)}   B: {_short(self.b)}")
        return drawn


@dataclasses.dataclass(frozen=True)
class _Heat(Part):
    """A matrix as colours: on a terminal its numbers alone.

    Attributes:
        title: of it.
        rows: names.
        columns: names.
        values: from 0 to 1; None where there is none.
        about: a line that says how to read it.
        scaled: whether the largest value has the full colour, else 1 has.
        form: of a value in percent.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    about: str
    scaled: bool = False
    form: str = "{:.0f}"

    def rich(self) -> Sequence[RenderableType]:
        from rich.table import Table as RichTable
        from rich.text import Text

        step = -(-len(self.columns) // _ROOM)
        kept = sorted({*range(0, len(self.columns), step), len(self.columns) - 1})
        table = RichTable(box=None, pad_edge=False, header_style="dim")
        table.add_column("")
        for place in kept:
            table.add_column(Text(self.columns[place]), justify="right", overflow="fold")
        for name, row in zip(self.rows, self.values, strict=True):
            table.add_row(name, *(self._text(row[place]) for place in kept))
        about = self.about if step == 1 else f"{self.about} Not all columns are shown; the page has them."
        return [Text(self.title, style="bold"), Text(about, style="dim"), table]

    def html(self) -> Markup:
        top = 1.0
        if self.scaled:
            top = max((value for row in self.values for value in row if value is not None), default=0.0) or 1.0
        many = len(self.columns) > _ROOM
        tilted = max(map(len, self.columns)) > 9
        head = tag("tr", tag("th", class_="corner"), *(tag("th", name, scope="col") for name in self.columns))
        rows = [
            tag("tr", tag("th", name, scope="row"), *(self._cell(value, top) for value in row))
            for name, row in zip(self.rows, self.values, strict=True)
        ]
        class_ = " ".join(["heat", "named", *(["many"] if many else []), *(["tilted"] if tilted else [])])
        table = tag("table", tag("thead", head), tag("tbody", *rows), class_=class_)
        return markup.section(self.title, tag("div", table, class_="scroll", tabindex="0"), about=self.about)

    def _cell(self, value: float | None, top: float) -> Markup:
        if value is None:
            return tag("td", "–", class_="none")
        share = min(1.0, max(0.0, value / top))
        class_ = f"right {shade(share, blue=True)}".rstrip()
        return tag("td", self._text(value), class_=class_, style=f"--s:{share:.3f}")

    def _text(self, value: float | None) -> str:
        return "–" if value is None else self.form.format(100.0 * value)


def compare(
    a: Model,
    b: Model,
    data: Source | None = None,
    *,
    limit: int | None = 1000,
    reading: ReadingSettings | None = None,
    tokenizer: BertTokenizer | None = None,
) -> ModelComparison:
    """Put two models side by side: configs, vocabularies, weights, what they see in texts, and what they answer.

    What cannot be compared is left out, and `notes` say why.

    Args:
        a: a model, its folder, or its name on the hub.
        b: the other.
        data: labelled records as `glassbert evaluate` reads them, or a .txt file of a text each line; None takes some
            English sentences, without labels.
        limit: most examples that are answered, spread over the whole file; None takes all. The representations are
            compared on some hundred of them.
        reading: how the file is read, and what its columns mean.
        tokenizer: of both models, where those of the folders are not meant.

    Raises:
        CheckpointError: there is no such model.
        DataError: the file cannot be read, or holds no texts.
        ConfigError: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}, expected 1 or more")
    if data is not None and not isinstance(data, str | Path):
        data = list(data)  # it is read more than once
    reading = _as_text(data, reading or ReadingSettings())
    if data is not None:
        next(records_of(data, reading, Skipped()), None)  # what cannot be read at all is told before models are loaded
    one, two = Subject.of(a, tokenizer), Subject.of(b, tokenizer)
    notes: list[str] = []
    answers, texts = None, list(SENTENCES)
    if data is not None:
        answers, texts = _read(one, two, data, reading, limit, notes)
    names = [subject.name for subject in (one, two)]
    if names[0] == names[1]:  # many folders are called alike, not so those that they stand in
        names = [_longer(given, name) for given, name in zip((a, b), names, strict=True)]
    ours, theirs = _weights_of(one.model), _weights_of(two.model)
    shared = {name for name in ours if name in theirs and ours[name].shape == theirs[name].shape}
    measured = [_Measured.of(name, ours[name], theirs[name]) for name in ours if name in shared]
    return ModelComparison(
        a=names[0],
        b=names[1],
        classes=(type(one.model).__name__, type(two.model).__name__),
        parameters=(one.model.num_parameters(), two.model.num_parameters()),
        settings=tuple(_different(_config_values(one.config), _config_values(two.config))),
        vocabularies=_vocabularies(one, two, notes),
        changes=tuple(each.change(each.name) for each in measured),
        places=tuple(_joined(measured, lambda each: (each.place, ""))),
        pieces=tuple(_joined(measured, lambda each: (each.place, each.part))),
        only_a=tuple(name for name in ours if name not in theirs),
        only_b=tuple(name for name in theirs if name not in ours),
        reshaped=tuple(
            Reshaped(name=name, a=tuple(ours[name].shape), b=tuple(theirs[name].shape))
            for name in ours
            if name in theirs and name not in shared
        ),
        likeness=likeness(one, two, texts, notes),
        answers=answers,
        notes=tuple(notes),
    )


def _longer(given: Model, name: str) -> str:
    return name if isinstance(given, BertPreTrainedModel) else named("/".join(Path(given).parts[-2:]))


# Files


def _as_text(data: Source | None, reading: ReadingSettings) -> ReadingSettings:
    """Take a .txt file for one of a text each line."""
    paths = paths_of(data) if data is not None else None
    endings = {Path(str(path).lower().removesuffix(".gz")).suffix for path in paths or ()}
    return dataclasses.replace(reading, format="txt") if reading.format is None and endings == {".txt"} else reading


def _read(
    one: Subject, two: Subject, data: Source, reading: ReadingSettings, limit: int | None, notes: list[str]
) -> tuple[Answers | None, list[str]]:
    """Return the answers of both to the examples of a file, as far as both can answer it, and its texts."""
    if fault := _apart(one, two):
        notes.append(fault)
    elif reading.format == "txt":
        notes.append("The file has texts without labels, so answers are not compared.")
    else:
        try:
            return _answered(one, two, data, reading, limit, notes)
        except GlassbertError as error:
            notes.append(f"Answers are not compared: {error}")
    skipped = Skipped() if reading.skip_bad else None
    # Columns of labels are none of this.
    plain = dataclasses.replace(reading, label_column=None)
    examples = list(read_examples(FeatureExtraction(), data, plain, skipped=skipped, say=notes.append, labelled=False))
    _tell(skipped, notes)
    return None, [_text_of(example) for example in _spread(examples, limit, notes)]


def _tell(skipped: Skipped | None, notes: list[str]) -> None:
    """Note the bad records that were passed over; a file that is read again for its texts has them again."""
    if skipped is not None and skipped.count:
        notes.extend(line for line in str(skipped).splitlines() if line not in notes)


def _apart(one: Subject, two: Subject) -> str:
    """Return why the two have no task in common; "" where they have."""
    found: list[AnyTask] = []
    for name, subject in (("A", one), ("B", two)):
        try:
            found.append(task_of(subject.config, type(subject.model).__name__))
        except ConfigError as error:
            return f"Answers are not compared: {name} {error}."
    first, second = found
    if type(first) is not type(second):
        return f"Answers are not compared: A has learned {first.name} and B {second.name}."
    if set(first.classes) != set(second.classes):
        return f"Answers are not compared: the classes of A are {_listed(first.classes)} and those of B " + (
            f"{_listed(second.classes)}."
        )
    return ""


def _answered(
    one: Subject, two: Subject, data: Source, reading: ReadingSettings, limit: int | None, notes: list[str]
) -> tuple[Answers, list[str]]:
    """Let both answer the examples of a file, each with its own tokenizer.

    Raises:
        GlassbertError: the file has no labels, or others, or a model cannot be run.
    """
    both: list[Pipeline] = [pipeline(model=each.model, tokenizer=each.words()) for each in (one, two)]
    task = both[0].learned
    skipped = Skipped() if reading.skip_bad else None
    examples = _spread(list(read_examples(task, data, reading, skipped=skipped, say=notes.append)), limit, notes)
    _tell(skipped, notes)
    found = [each.evaluate(examples) for each in both]
    verdicts = [
        [each.learned.verdict(example, answer) for example, answer in zip(examples, answers, strict=True)]
        for each, (_, answers) in zip(both, found, strict=True)
    ]
    cut = max(sum(getattr(answer, "cut", 0) > 0 for answer in answers) for _, answers in found)
    if cut:
        notes.append(f"{cut} of {len(examples)} texts are longer than the models take; their ends were cut to answer.")
    equal = equal_answers(found[0][1], found[1][1])
    said = equal or [first.answered == second.answered for first, second in zip(*verdicts, strict=True)]
    outcomes: dict[str, int] = {}
    if isinstance(task, TextClassification):
        outcomes = _outcomes(*verdicts)
        known = {verdict.expected for verdict in verdicts[0]}
        if len(known) == 1:
            notes.append(
                f"All examples have the class {isolated(repr(known.pop()))}: a model that always answers so is right "
                "throughout."
            )
    return Answers(
        task=task.name,
        examples=len(examples),
        metrics_a=_figures(found[0][0]),
        metrics_b=_figures(found[1][0]),
        equal=None if equal is None else sum(equal) / len(equal),
        outcomes=outcomes,
        differing=tuple(_differing(examples, said, *verdicts)),
    ), [_text_of(example) for example in examples]


def _spread(examples: list[Any], limit: int | None, notes: list[str]) -> list[Any]:
    """Return at most `limit` of the examples, spread over all of them."""
    if limit is None or len(examples) <= limit:
        return examples
    note = f"Of {len(examples):,} examples {limit:,} were taken, spread over the whole file (limit)."
    if note not in notes:
        notes.append(note)
    return [examples[number * len(examples) // limit] for number in range(limit)]


def _text_of(example: Any) -> str:
    """Return the text of an example of any task; of a pair the first, of a question what it is about."""
    if isinstance(example, TokenClassificationExample):
        return example.text or " ".join(example.words)
    if isinstance(example, QuestionAnsweringExample):
        return example.context
    if isinstance(example, MultipleChoiceExample):
        return example.question or example.choices[0]
    text: str | tuple[str, ...] = example.text
    return text if isinstance(text, str) else " ".join(text)


def _figures(metrics: Any) -> dict[str, float | None]:
    figures: dict[str, float] = metrics.figures()
    return {name: finite(value) for name, value in figures.items()}


def _outcomes(ours: Sequence[Verdict], theirs: Sequence[Verdict]) -> dict[str, int]:
    counts = {"both right": 0, "A alone right": 0, "B alone right": 0, "none right": 0}
    names = list(reversed(counts))
    for one, two in zip(ours, theirs, strict=True):
        counts[names[2 * (one.answered == one.expected) + (two.answered == two.expected)]] += 1
    return counts


def _differing(
    examples: Sequence[Any], equal: Sequence[bool], ours: Sequence[Verdict], theirs: Sequence[Verdict]
) -> Iterator[Differing]:
    places = [place for place in range(len(examples)) if not equal[place]]
    for place in sorted(places, key=lambda place: -abs(ours[place].error - theirs[place].error))[:_DIFFERING]:
        one, two = ours[place], theirs[place]
        yield Differing(text=one.text, expected=one.expected, a=one.answered, b=two.answered, line=examples[place].line)


# Configs and vocabularies


def _config_values(config: BertConfig) -> dict[str, Value]:
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    extra = values.pop("extra")
    return {name: _plain(value) for name, value in {**values, **extra}.items()}


def _plain(value: Any) -> Value:
    """Return a setting as JSON has it; a function by its name."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return finite(value)
    return value if value is None or isinstance(value, str | int) else str(getattr(value, "__name__", value))


def _different(ours: Mapping[str, Value], theirs: Mapping[str, Value]) -> Iterator[Setting]:
    for name in dict.fromkeys((*ours, *theirs)):
        if ours.get(name) != theirs.get(name):
            yield Setting(name=name, a=ours.get(name), b=theirs.get(name))


def _rules(tokenizer: BertTokenizer) -> dict[str, Value]:
    return {
        "do_lower_case": tokenizer.do_lower_case,
        "do_basic_tokenize": tokenizer.do_basic_tokenize,
        "tokenize_chinese_chars": tokenizer.tokenize_chinese_chars,
        "strip_accents": tokenizer.strip_accents,
        "clean_text": tokenizer.clean_text,
        "rules": tokenizer.rules,
        "max_input_chars_per_word": tokenizer.wordpiece_tokenizer.max_input_chars_per_word,
        "never_split": sorted(tokenizer.basic_tokenizer.never_split),
        "model_max_length": tokenizer.model_max_length,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        **{name: _plain(token) for name, token in tokenizer.special_tokens_map.items()},
    }


def _vocabularies(one: Subject, two: Subject, notes: list[str]) -> Vocabularies | None:
    lacking = [name for name, subject in (("A", one), ("B", two)) if subject.tokenizer is None]
    if one.tokenizer is None or two.tokenizer is None:
        which = "Neither model has a tokenizer" if len(lacking) == 2 else f"{lacking[0]} has no tokenizer"
        notes.append(f"{which}, so that vocabularies and what is seen in texts cannot be compared.")
        return None
    ours, theirs = one.tokenizer.get_vocab(), two.tokenizer.get_vocab()
    shared = [token for token in ours if token in theirs]
    return Vocabularies(
        sizes=(len(ours), len(theirs)),
        equal=ours == theirs,
        shared=len(shared),
        moved=sum(ours[token] != theirs[token] for token in shared),
        only_a=_alone(ours, theirs),
        only_b=_alone(theirs, ours),
        rules=tuple(_different(_rules(one.tokenizer), _rules(two.tokenizer))),
    )


def _alone(ours: Mapping[str, int], theirs: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(sorted((token for token in ours if token not in theirs), key=ours.__getitem__)[:_SHOWN])


def _vocabulary_parts(found: Vocabularies) -> Iterator[Part]:
    if found.equal:
        yield Prose("Vocabulary", [f"Both have the same {found.sizes[0]:,} tokens with the same ids."])
    else:
        yield Table(
            "Vocabulary",
            (Column(""), Column("A"), Column("B")),
            [
                ["tokens", *(f"{size:,}" for size in found.sizes)],
                ["in one alone", *(f"{size - found.shared:,}" for size in found.sizes)],
                ["the first of them", *(" ".join(map(isolated, some)) or "–" for some in (found.only_a, found.only_b))],
            ],
            f"{found.shared:,} tokens are in both; {found.moved:,} of them have another id.",
        )
    if found.rules:
        yield _settings_table("Rules of the tokenizer", "rule", found.rules)


def _settings_table(title: str, name: str, settings: Sequence[Setting]) -> Part:
    rows = [[isolated(one.name), _brief(one.a), _brief(one.b)] for one in settings]
    return Table(title, (Column(name, "code"), Column("A"), Column("B")), rows, "What differs; – is not set.")


def _brief(value: Value) -> str:
    if value is None:
        return "–"
    return isolated(brief(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))


# Weights

_PLACE: Final = re.compile(r"encoder\.layer\.(\d+)\.(.*)\.(?:weight|bias)")
# The parts of a layer, by the beginnings of their names.
_PARTS: Final = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "distances": "attention.self.distance_embedding",
    "output": "attention.output.dense",
    "norm": "attention.output.LayerNorm",
    "cross": "crossattention",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "last norm": "output.LayerNorm",
}


def _weights_of(model: BertPreTrainedModel) -> dict[str, Tensor]:
    """Return all parameters, those of the BERT in a model with a head under the names of a bare one."""
    prefix = f"{model.base_model_prefix}."
    return {name.removeprefix(prefix): parameter.detach() for name, parameter in model.named_parameters()}


def _where(name: str) -> tuple[str, str]:
    """Return the place and the part of a parameter."""
    if found := _PLACE.fullmatch(name):
        part = next((part for part, begin in _PARTS.items() if found[2].startswith(begin)), found[2])
        return f"layer {found[1]}", part
    first, _, rest = name.partition(".")
    return (first, rest.rpartition(".")[0]) if first in ("embeddings", "pooler") else ("head", name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Measured:
    """Sums over one parameter, or several.

    Attributes:
        name, place, part: of it.
        numbers: how many.
        moved: sum of the squares of A - B.
        whole: sum of the squares of A.
        largest: absolute difference.
        equal: to the bit.
    """

    name: str
    place: str
    part: str
    numbers: int
    moved: float
    whole: float
    largest: float
    equal: bool

    @classmethod
    def of(cls, name: str, ours: Tensor, theirs: Tensor) -> _Measured:
        theirs = theirs.to(ours.device)
        apart = ours.float() - theirs.float()
        place, part = _where(name)
        return cls(
            name=name,
            place=place,
            part=part,
            numbers=ours.numel(),
            moved=float(torch.linalg.vector_norm(apart, dtype=torch.float64)) ** 2,
            whole=float(torch.linalg.vector_norm(ours, dtype=torch.float64)) ** 2,
            largest=float(apart.abs().amax()) if apart.numel() else 0.0,
            equal=ours.dtype == theirs.dtype and torch.equal(ours, theirs),
        )

    def change(self, name: str = "") -> Change:
        relative = 0.0 if self.moved == 0.0 else (self.moved / self.whole) ** 0.5 if self.whole else None
        return Change(
            name=name,
            place=self.place,
            part=self.part,
            numbers=self.numbers,
            relative=None if relative is None else finite(relative),
            largest=finite(self.largest),
            equal=self.equal,
        )


def _joined(measured: Sequence[_Measured], key: Callable[[_Measured], tuple[str, str]]) -> Iterator[Change]:
    """Give the changes of all parameters of one key together."""
    groups: dict[tuple[str, str], list[_Measured]] = {}
    for each in measured:
        groups.setdefault(key(each), []).append(each)
    for (place, part), some in groups.items():
        yield _Measured(
            name="",
            place=place,
            part=part,
            numbers=sum(each.numbers for each in some),
            moved=sum(each.moved for each in some),
            whole=sum(each.whole for each in some),
            largest=max(each.largest for each in some),
            equal=all(each.equal for each in some),
        ).change()


def _full(places: Sequence[Change]) -> float:
    """Return the change of a full bar: the largest of a layer, as fresh heads would leave nothing to see of these."""
    body = [one.relative or 0.0 for one in places if one.place not in ("pooler", "head")]
    return max(body, default=0.0) or max((one.relative or 0.0 for one in places), default=0.0) or 1.0


def _change_text(one: Change, *, cut: bool) -> str:
    if one.relative is None:
        return "–"
    return "equal to the bit" if one.equal else f"{one.relative:.3%}" + (" (bar cut)" if cut else "")


def _bars(places: Sequence[Change]) -> Markup:
    """Draw a bar for each place."""
    top = _full(places)
    high, left, wide = 24, 110, 520
    parts: list[Markup] = []
    for number, one in enumerate(places):
        y = number * high
        share = (one.relative or 0.0) / top
        length = wide * min(1.0, share)
        parts.append(tag("text", one.place, class_="in", x=left - 10, y=y + 16, text_anchor="end"))
        bar = f"{max(1.0, length):.1f}"
        parts.append(tag("rect", class_="change", x=left, y=y + 4, width=bar, height=high - 8, rx=3))
        parts.append(tag("text", _change_text(one, cut=share > 1.0), x=f"{left + length + 8:.1f}", y=y + 16))
    width = left + wide + 150
    title = tag("title", "Relative change of the weights, a bar for each place")
    box = f"0 0 {width} {len(places) * high}"
    return tag("svg", title, *parts, viewBox=box, role="img", style=f"max-width:{width}px")


def _states(count: int) -> list[str]:
    """Return the names of a model's states: the embeddings, then the layers from 0, as the weights' places are."""
    return ["emb", *map(str, range(count - 1))]


def _best(row: Sequence[float | None]) -> int | None:
    known = [place for place, value in enumerate(row) if value is not None]
    return max(known, key=lambda place: row[place] or 0.0) if known else None


# What is shown


def _answer_parts(found: Answers) -> Iterator[Part]:
    names = list(dict.fromkeys((*found.metrics_a, *found.metrics_b)))
    if len(names) > 40:  # figures of single classes
        names = [name for name in names if "." not in name]
    said = [] if found.equal is None else [f"{found.equal:.2%} of the answers are equal"]
    said += [f"{name}: {count}" for name, count in found.outcomes.items()]
    yield Table(
        f"Answers: {found.task}",
        (Column(""), Column("A", "number", ".4f"), Column("B", "number", ".4f"), Column("B - A", "number", "+.4f")),
        [
            [name.replace("_", " "), ours, theirs, None if ours is None or theirs is None else theirs - ours]
            for name in names
            for ours, theirs in [(found.metrics_a.get(name), found.metrics_b.get(name))]
        ],
        "; ".join([f"On {counted(found.examples, 'example')}", *said]) + ".",
    )
    if found.differing:
        yield Table(
            "Where they differ",
            (Column("text"), Column("right"), Column("A"), Column("B"), Column("line", "number")),
            [[*map(isolated, (one.text, one.expected, one.a, one.b)), one.line] for one in found.differing],
            "Those first of which one model is much surer of what is right than the other.",
        )


def _listed(names: Sequence[str]) -> str:
    said = ", ".join(map(isolated, names[:_SHOWN]))
    return said + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "") or "none"


def _short(name: str) -> str:
    # What is cut off must not be the end of an isolate.
    return name if len(name) <= 40 else isolated(f"{name.strip(ISOLATES)[:39]}…")
