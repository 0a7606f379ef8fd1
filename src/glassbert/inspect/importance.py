"""`heads importance`: what each head does for the task that a model has learned.

Source: arXiv 1905.10650 (Michel, Levy and Neubig, 2019): a head's importance by taking it away, section 3, and by the
loss's gradient, section 4.1.
"""

from __future__ import annotations

import copy
import dataclasses
import random
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

import torch
from torch import Tensor, nn

from glassbert.data import Skipped, Source
from glassbert.errors import CheckpointError, ConfigError, InputError
from glassbert.infer import Engine, Pipeline, pipeline
from glassbert.inspect.finding import Column, Finding, Part, Prose, Table, figure, headed, shade
from glassbert.inspect.running import Model, OnStep, Subject, heads_there, layers_of, nothing, quietly
from glassbert.model import BertPreTrainedModel
from glassbert.model.bert import Attended
from glassbert.settings import ReadingSettings
from glassbert.tasks import AnyTask
from glassbert.tasks.task import Metrics
from glassbert.text import BertTokenizer
from glassbert.train import markup
from glassbert.train.examples import read_examples
from glassbert.train.markup import Markup, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

Method = Literal["both", "ablation", "gradient"]
# Examples of a batch for tasks whose loss compares them with each other.
_TOGETHER: Final = 16
# Heads that are listed at each end.
_LISTED: Final = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadScore:
    """What one head does.

    Attributes:
        layer, head: both from 0, heads as in the whole layer.
        change: of the metric when this head alone is taken away; below 0 (where more is better) the head helps. None
            where it was not measured.
        error: change of the mean error of the answers (see `glassbert.tasks.task.Verdict`), which tells apart what a
            share of right answers does not; above 0 the head helps. None where it was not measured.
        gradient: mean over examples of |context · ∂loss/∂context|, divided by the root of the sum of the squares of
            its layer; 0 means that the loss does not feel the head. None where it was not measured.
    """

    layer: int
    head: int
    change: float | None
    error: float | None
    gradient: float | None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Importance(Finding):
    """What the heads of a model do for its task.

    Attributes:
        name: of the model.
        task: that it has learned.
        metric: the task's main figure.
        lower_is_better: whether less of it is better.
        baseline: the metric with all heads.
        examples: how many were used.
        of: how many there are.
        layers: how many there are.
        scores: of each head that is there, layer by layer.
        notes: what one should know of the data.
    """

    asks: ClassVar[str] = "Which heads does the model need, and which could go?"

    name: str
    task: str
    metric: str
    lower_is_better: bool
    baseline: float
    examples: int
    of: int
    layers: int
    scores: tuple[HeadScore, ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name the model, the metric and the data's size."""
        return f"{self.name}: {len(self.scores)} heads, {self.metric.replace('_', ' ')} {self.baseline:.4f} with all"

    def order(self, by: Literal["ablation", "gradient"] = "ablation") -> list[HeadScore]:
        """Return all heads, the least useful first.

        Args:
            by: "ablation" goes by the change of the metric and, where that is equal, of the error; "gradient" by the
                gradient.

        Raises:
            ConfigError: that was not measured.
        """

        def use(one: HeadScore) -> tuple[float, float]:
            if by == "gradient":
                if one.gradient is None:
                    raise ConfigError("the gradient was not measured; measure it with method 'gradient' or 'both'")
                return one.gradient, 0.0
            if one.change is None or one.error is None:
                raise ConfigError("no head was taken away; measure that with method 'ablation' or 'both'")
            return (one.change if self.lower_is_better else -one.change), one.error

        return sorted(self.scores, key=use)

    def parts(self) -> Iterable[Part]:
        """Give the data, the grids, and the heads at both ends."""
        number = f"{self.examples:,}" if self.examples == self.of else f"{self.examples:,} of {self.of:,}"
        yield Prose("", [f"The task is {self.task}, measured on {number} examples.", *self.notes])
        ablated = self.scores[0].change is not None
        graded = self.scores[0].gradient is not None
        if ablated:
            about = f"By how many thousandths the {self.metric.replace('_', ' ')} changes without this head alone; "
            about += f"below 0 the head {'hinders' if self.lower_is_better else 'helps'}."
            yield Grid(
                "Each head taken away", self._grid("change", 1000.0), "+.1f", about, below=not self.lower_is_better
            )
            yield Grid(
                "The same, by the error of the answers",
                self._grid("error", 1000.0),
                "+.2f",
                "By how many thousandths the mean error of an answer grows without it (of classes, -log of the "
                "right one's probability); above 0 the head helps.",
            )
        if graded:
            yield Grid(
                "What the loss feels of each head",
                self._grid("gradient", 1.0),
                ".2f",
                "Mean of |context · gradient of the loss|; the squares of a layer add to 1.",
            )
        listed = min(_LISTED, len(self.scores) // 2)
        ordered = self.order("ablation" if ablated else "gradient")
        columns = (
            Column("layer", "number"),
            Column("head", "number"),
            *(
                [
                    Column(f"change of {self.metric.replace('_', ' ')}", "number", "+.4f"),
                    Column("of the error", "number", "+.5f"),
                ]
                if ablated
                else []
            ),
            *([Column("gradient", "number", ".3f")] if graded else []),
        )

        def rows(some: Sequence[HeadScore]) -> list[list[int | float | None]]:
            return [
                [
                    one.layer,
                    one.head,
                    *([one.change, one.error] if ablated else []),
                    *([one.gradient] if graded else []),
                ]
                for one in some
            ]

        yield Table("The most useful", columns, rows(ordered[::-1][:listed]))
        yield Table("The least useful", columns, rows(ordered[:listed]))
        if ablated:
            count = sum(
                (one.change or 0.0) <= 0.0 if self.lower_is_better else (one.change or 0.0) >= 0.0
                for one in self.scores
            )
            if not any(one.change or one.error for one in self.scores):
                yield Prose("", ["No head alone changes any answer, so their order says nothing."])
            said = f"{count} of {len(self.scores)} heads can each be taken away alone without a worse "
            yield Prose("", [said + f"{self.metric.replace('_', ' ')}; several at once is another matter."])

    def plot(self) -> Figure:
        """Draw what was measured as grids, layers × heads."""
        names = [name for name in ("change", "error", "gradient") if getattr(self.scores[0], name) is not None]
        most = 1 + max(one.head for one in self.scores)
        drawn = figure(max(7.0, (1.4 + 0.45 * most) * len(names) + 0.6), max(2.6, 1.7 + 0.4 * self.layers))
        panels: list[Axes] = list(drawn.subplots(1, len(names), squeeze=False).flat)
        for panel, name in zip(panels, names):
            values = [[float("nan") if one is None else one for one in row] for row in self._grid(name, 1.0)]
            largest = max(abs(one) for row in self._grid(name, 1.0) for one in row if one is not None) or 1.0
            # Blue is where a head helps.
            helps = "RdBu" if (name == "error") or self.lower_is_better else "RdBu_r"
            way = {"cmap": "Blues"} if name == "gradient" else {"cmap": helps, "vmin": -largest, "vmax": largest}
            image = panel.imshow(values, aspect="auto", **way)
            panel.set_xticks(range(most))
            panel.set_yticks(range(self.layers))
            titles = {"change": f"change of {self.metric.replace('_', ' ')}", "error": "change of the error"}
            panel.set(xlabel="head", ylabel="layer")
            panel.set_title(titles.get(name, name), fontsize=9, loc="left")
            drawn.colorbar(image, ax=panel)
        # A gradient has no side, and says on its own how much a head matters.
        sides = "\nblue: the head helps, red: it hinders" if names != ["gradient"] else ""
        headed(drawn, self.title + sides)
        return drawn

    def _grid(self, name: str, factor: float) -> list[list[float | None]]:
        """Return a value of each head, layers × heads; None where there is no head."""
        most = 1 + max(one.head for one in self.scores)
        grid: list[list[float | None]] = [[None] * most for _ in range(self.layers)]
        for one in self.scores:
            value = getattr(one, name)
            grid[one.layer][one.head] = None if value is None else factor * value
        return grid


@dataclasses.dataclass(frozen=True)
class Grid(Part):
    """A value of each head, layers × heads: a table on a terminal, coloured on a page.

    Attributes:
        title: of it.
        values: layers × heads; None stands for a head that is not there.
        form: of the values.
        about: a line that says how to read it.
        below: whether values below 0 are those of heads that help, which are blue, and not those above.
    """

    title: str
    values: Sequence[Sequence[float | None]]
    form: str
    about: str
    below: bool = False

    def rich(self) -> Sequence[RenderableType]:
        """Return a table."""
        columns = [Column("layer", "number")]
        columns += [Column(str(head), "number", self.form) for head in range(len(self.values[0]))]
        rows = [[layer, *row] for layer, row in enumerate(self.values)]
        return Table(self.title, columns, rows, self.about).rich()

    def html(self) -> Markup:
        """Return cells whose colour is the side and the size of the value."""
        heads = [tag("th", "layer \\ head", class_="corner", scope="col")]
        heads += [tag("th", str(head), scope="col") for head in range(len(self.values[0]))]
        largest = max((abs(value) for row in self.values for value in row if value is not None), default=0.0) or 1.0
        body = []
        for layer, row in enumerate(self.values):
            cells = [tag("th", str(layer), scope="row")]
            for value in row:
                if value is None:
                    cells.append(tag("td", "–", class_="none", title="cut out"))
                    continue
                share = abs(value) / largest
                helps = value < 0 if self.below else value > 0
                depth = 0.9 * share
                kind = " ".join(filter(None, ["right" if helps else "", shade(depth, blue=helps)]))
                cells.append(tag("td", format(value, self.form), class_=kind or None, style=f"--s:{depth:.3f}"))
            body.append(tag("tr", *cells))
        table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body), class_="heat")
        return markup.section(self.title, tag("div", table, class_="scroll", tabindex="0"), about=self.about)


def importance(
    model: Model,
    data: Source,
    *,
    method: Method = "both",
    limit: int | None = 500,
    tokenizer: BertTokenizer | None = None,
    reading: ReadingSettings | None = None,
    seed: int = 0,
    on_step: OnStep = nothing,
) -> Importance:
    """Measure what each head does for the task that a model has learned.

    Ablation sets one head's context to zero and measures the task again, once for each head. The gradient needs one
    forward and backward pass for each example (tasks whose loss compares texts with each other: for each 16). The
    model itself is not touched: a copy of it is.

    Args:
        model: a model with a head for a task, its folder, or its name on the hub.
        data: labelled: a path, several, or records.
        method: "ablation", "gradient" or "both".
        limit: most examples that are used, drawn with `seed`; None takes all.
        tokenizer: of the model, where that of the folder is not meant.
        reading: how files are read.
        seed: of the draw.
        on_step: called with what is being done, how much is done, and of how much.

    Raises:
        CheckpointError: no such model, or one that has learned no task.
        ConfigError: a method that does not exist, or a limit below 1.
        DataError: data that cannot be read, with file and line.
        InputError: a model that the engine cannot run.
    """
    if method not in get_args(Method):
        raise ConfigError(f"method is {method!r}, expected one of {', '.join(get_args(Method))}")
    subject = Subject.of(model, tokenizer)
    found = read_labelled(subject, data, limit=limit, reading=reading, seed=seed)
    return importance_of(found, method, on_step)


def importance_of(found: Labelled, method: Method, on_step: OnStep) -> Importance:
    """Do what `importance` does with examples that are read."""
    subject = found.subject
    layers = layers_of(subject.bert)
    there = [(layer, head) for layer, one in enumerate(layers) for head in heads_there(one.attention)]
    baseline, error = _measured(found, subject.model)
    main = baseline.main_name
    without: Sequence[tuple[Metrics, float] | None] = [None] * len(there)
    gradients: Sequence[float | None] = [None] * len(there)
    if method != "gradient":
        without = _without_each(found, on_step)
    if method != "ablation":
        gradients = _gradients(found, on_step)
    return Importance(
        name=subject.name,
        task=found.task.name,
        metric=main,
        lower_is_better=main in baseline.lower_is_better,
        baseline=baseline.main,
        examples=len(found.examples),
        of=found.of,
        layers=len(layers),
        scores=tuple(
            HeadScore(
                layer=layer,
                head=head,
                change=None if one is None else one[0].main - baseline.main,
                error=None if one is None else one[1] - error,
                gradient=gradient,
            )
            for (layer, head), one, gradient in zip(there, without, gradients, strict=True)
        ),
        notes=found.notes,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelled:
    """A model with labelled examples of its task.

    Attributes:
        subject: the model.
        task: that it has learned.
        tokenizer: its tokenizer.
        examples: those that are used.
        features: of them.
        of: how many examples there are.
        notes: what one should know of them.
    """

    subject: Subject
    task: AnyTask
    tokenizer: BertTokenizer
    examples: Sequence[Any]
    features: Sequence[Any]
    of: int
    notes: tuple[str, ...]

    def pipeline(self, model: BertPreTrainedModel) -> Pipeline:
        """Return what answers by a model of the same form as `subject.model`, as it is now."""
        return Pipeline(self.task, Engine(model), self.tokenizer)

    def halves(self) -> tuple[Labelled, Labelled]:
        """Return every other example, and those between.

        Raises:
            InputError: there is one example.
        """
        if len(self.examples) < 2:
            raise InputError("there is 1 example; to choose heads and to measure takes 2 or more examples")
        return self._some(slice(0, None, 2)), self._some(slice(1, None, 2))

    def _some(self, places: slice) -> Labelled:
        examples = self.examples[places]
        limit = self.pipeline(self.subject.model).max_length
        features = list(self.task.features(examples, self.tokenizer, max_length=limit))
        return dataclasses.replace(self, examples=examples, features=features)


def read_labelled(
    subject: Subject,
    data: Source,
    *,
    limit: int | None,
    reading: ReadingSettings | None,
    seed: int,
) -> Labelled:
    """Read labelled examples of a model's task, and draw some of them in random order.

    Raises:
        As `importance`.
    """
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ConfigError(f"limit is {limit!r}, expected a whole number from 1, or None")
    try:
        answering = pipeline(None, subject.model, tokenizer=subject.words())
    except CheckpointError as error:
        # The model is there already, so the message knows its class alone.
        raise CheckpointError(f"{subject.name}: {error}") from None
    task = answering.learned
    said: list[str] = []
    reading = reading or ReadingSettings()
    skipped = Skipped() if reading.skip_bad else None
    every = list(read_examples(task, data, reading, skipped=skipped, say=said.append))
    some = random.Random(seed).sample(every, len(every) if limit is None else min(limit, len(every)))
    examples, features = answering.labelled(some, skipped=skipped)
    if skipped is not None and skipped.count:
        said += str(skipped).splitlines()
    classes = {one for feature in features for one in task.class_ids(feature)}
    if task.classes and len(classes) == 1:
        only = task.classes[classes.pop()]
        said.append(f"All examples are of the class {only}, so the figures say nothing of the others.")
    return Labelled(
        subject=subject,
        task=task,
        tokenizer=subject.words(),
        examples=examples,
        features=features,
        of=len(every),
        notes=tuple(said),
    )


def _measured(found: Labelled, model: BertPreTrainedModel) -> tuple[Metrics, float]:
    """Return the metrics of a model as it is now, and the mean error of its answers."""
    rows = found.pipeline(model).rows(found.features)
    answers = found.task.answers(found.examples, found.features, rows)
    errors = [found.task.verdict(*pair).error for pair in zip(found.examples, answers, strict=True)]
    return found.task.measure(found.examples, answers), statistics.fmean(errors)


@torch.no_grad()
def _without_each(found: Labelled, on_step: OnStep) -> list[tuple[Metrics, float]]:
    """Return the metrics and the mean error without each head, layer by layer."""
    model = copy.deepcopy(found.subject.model)
    attentions = [layer.attention for layer in layers_of(dataclasses.replace(found.subject, model=model).bert)]
    total = sum(len(heads_there(one)) for one in attentions)
    measured: list[tuple[Metrics, float]] = []
    for attention in attentions:
        weight = attention.output.dense.weight
        for columns in weight.split(attention.self.attention_head_size, dim=1):
            kept = columns.clone()
            columns.zero_()  # none reads the head's context
            measured.append(_measured(found, model))
            columns.copy_(kept)
            on_step("taking heads away", len(measured), total)
    return measured


def _gradients(found: Labelled, on_step: OnStep) -> list[float]:
    """Return mean |context · ∂loss/∂context| of each head, layer by layer, brought to length 1 in each layer."""
    model = copy.deepcopy(found.subject.model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    bert = dataclasses.replace(found.subject, model=model).bert
    attentions = [layer.attention.self for layer in layers_of(bert)]
    contexts: dict[int, Tensor] = {}
    sums = [torch.zeros(one.num_attention_heads, dtype=torch.float64) for one in attentions]
    size = _TOGETHER if found.task.whole_batch else 1
    groups = [found.features[start : start + size] for start in range(0, len(found.features), size)]
    with quietly(model, gradients=True) as stack:
        # The parameters are held still, so that the backward pass ends at the embeddings' output.
        stack.callback(
            bert.embeddings.register_forward_hook(lambda module, inputs, output: output.requires_grad_()).remove
        )
        for number, attention in enumerate(attentions):

            def keep(module: nn.Module, inputs: Any, output: Attended, number: int = number) -> None:
                output.hidden.retain_grad()
                contexts[number] = output.hidden

            stack.callback(attention.register_forward_hook(keep).remove)
        for done, group in enumerate(groups, start=1):
            batch = found.task.collate(group, found.tokenizer)
            loss = found.task.loss(model, {name: one.to(model.device) for name, one in batch.items()})
            loss.backward()
            for number, attention in enumerate(attentions):
                context = contexts[number]
                if context.grad is not None:
                    product = (context * context.grad).detach().double().cpu()
                    # (…, A·D) -> (A,)
                    by_head = product.flatten(0, -2).sum(dim=0).view(attention.num_attention_heads, -1).sum(dim=1)
                    sums[number] += by_head.abs()
            contexts.clear()
            on_step("following the loss back", done, len(groups))
    means = [one / len(groups) for one in sums]
    if not all(bool(one.isfinite().all()) for one in means):
        raise InputError("the loss of these examples is not finite, so no head's gradient is")
    return [float(value) for one in means for value in one / one.norm().clamp(min=torch.finfo(one.dtype).tiny)]
