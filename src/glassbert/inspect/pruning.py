"""`heads prune`: take the least useful heads out of a model, and see what that costs and brings."""

from __future__ import annotations

import copy
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal, get_args

import torch

from glassbert.checkpoint import save_model, save_tokenizer
from glassbert.data import Source
from glassbert.errors import ConfigError
from glassbert.files import check_output, new_folder
from glassbert.infer import Engine, compare
from glassbert.inspect.finding import Column, Finding, Part, Prose, Table, figure, headed
from glassbert.inspect.importance import Labelled, importance_of, read_labelled
from glassbert.inspect.running import Model, OnStep, Subject, heads_there, layers_of, nothing
from glassbert.model import BertPreTrainedModel
from glassbert.model.bert import BertLayer
from glassbert.settings import ReadingSettings
from glassbert.tasks.task import Metrics
from glassbert.text import BertTokenizer
from glassbert.train.plots import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Texts and tokens of each by which two models are timed where there are no data, and rounds of what is short.
_TEXTS: Final = 16
_TOKENS: Final = 64
_ROUNDS: Final = 5
# Seconds from which on one pass over the data tells how fast a model is.
_LONG: Final = 1.0

By = Literal["ablation", "gradient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """A model before or after.

    Attributes:
        heads: in all layers.
        parameters: numbers.
        weight_bytes: of the engine's weights.
        seconds: that the engine took for the same texts, both models in turns.
        metric: the task's main figure on the data; None without data.
        metric_name: its name.
    """

    heads: int
    parameters: int
    weight_bytes: int
    seconds: float
    metric: float | None
    metric_name: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Pruned(Finding):
    """A model without some of its heads.

    Attributes:
        name: of the model.
        heads: that were cut out, by layer.
        left: that each layer still has.
        before: the model as it was.
        after: the model without them.
        equal_answers: share of the examples with the same answer; None without data, or where answers are numbers.
        examples: by how many that was measured.
        chosen_by: "ablation" or "gradient", or None where the heads were named.
        chosen_on: by how many other examples.
        out: the folder that was written; None where none was.
        zeroed: whether it holds zeros for them in the whole shapes, rather than smaller weights.
        notes: what one should know of the data.
    """

    asks: ClassVar[str] = "What is left of a model without its least useful heads?"

    name: str
    heads: dict[int, tuple[int, ...]]
    left: tuple[int, ...]
    before: Size
    after: Size
    equal_answers: float | None
    examples: int
    chosen_by: By | None
    chosen_on: int
    out: str | None
    zeroed: bool
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """Say how many heads are gone."""
        gone = self.before.heads - self.after.heads
        return f"{self.name}: {gone} of {self.before.heads} heads cut out"

    @property
    def speed(self) -> float:
        """How many times as fast the model is without them."""
        return self.before.seconds / self.after.seconds

    def parts(self) -> Iterable[Part]:
        """Give what is gone, and both sides."""
        one, other = self.before, self.after
        rows: list[list[str]] = [
            ["heads", f"{one.heads}", f"{other.heads}", f"{other.heads - one.heads:+,}"],
            [
                "parameters",
                f"{one.parameters:,}",
                f"{other.parameters:,}",
                f"{other.parameters / one.parameters - 1:+.1%}",
            ],
            [
                "weights, MB",
                f"{one.weight_bytes / 1e6:.2f}",
                f"{other.weight_bytes / 1e6:.2f}",
                f"{other.weight_bytes / one.weight_bytes - 1:+.1%}",
            ],
            ["seconds", f"{one.seconds:.4f}", f"{other.seconds:.4f}", f"{self.speed:.2f} times as fast"],
        ]
        if one.metric is not None and other.metric is not None:
            name = (one.metric_name or "").replace("_", " ")
            rows.append([name, f"{one.metric:.4f}", f"{other.metric:.4f}", f"{other.metric - one.metric:+.4f}"])
        timed = f"the {self.examples:,} examples" if self.examples else f"{_TEXTS} texts of {_TOKENS} random tokens"
        about = f"Seconds of the engine for {timed}, both models in turns."
        yield Table("Before and after", _SIDES, rows, about)
        chosen = "" if self.chosen_by is None else f"; chosen by {self.chosen_by} on {self.chosen_on:,} other examples"
        cut = [
            (layer, ", ".join(map(str, gone)), self.left[layer]) for layer, gone in sorted(self.heads.items()) if gone
        ]
        columns = (Column("layer", "number"), Column("heads cut out", "code"), Column("left", "number"))
        yield Table("Which", columns, cut, f"Counted from 0, as in the whole layer{chosen}.")
        if self.notes:
            yield Prose("", self.notes)
        if self.equal_answers is not None:
            yield Prose("", [f"{self.equal_answers:.2%} of the answers are the same as before."])
        if self.out is not None:
            form = (
                "zeros in the whole shapes: any library can load it, and it takes as long as before"
                if self.zeroed
                else "smaller weights"
            )
            yield Prose("", [f"{self.out} holds it with {form}."])

    def plot(self) -> Figure:
        """Draw how many heads each layer has left."""
        drawn = figure(6.0, 1.2 + 0.3 * len(self.left))
        axes = drawn.add_subplot()
        gone = [len(self.heads.get(layer, ())) for layer in range(len(self.left))]
        axes.barh(range(len(self.left)), self.left, color=BLUE, label="left")
        axes.barh(range(len(self.left)), gone, left=self.left, color="#e3c9ae", label="cut out")
        axes.set_yticks(range(len(self.left)))
        axes.invert_yaxis()
        axes.set(xlabel="heads", ylabel="layer")
        axes.spines[["top", "right"]].set_visible(False)
        headed(drawn, self.title)
        drawn.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        return drawn


_SIDES: Final = (Column(""), Column("before", "number"), Column("after", "number"), Column("difference", "number"))


def prune(
    model: Model,
    data: Source | None = None,
    *,
    heads: Mapping[int, Sequence[int]] | None = None,
    share: float | None = None,
    by: By = "ablation",
    out: str | Path | None = None,
    zero: bool = False,
    overwrite: bool = False,
    limit: int | None = 500,
    tokenizer: BertTokenizer | None = None,
    reading: ReadingSettings | None = None,
    seed: int = 0,
    on_step: OnStep = nothing,
) -> Pruned:
    """Cut heads out of a copy of a model, measure both, and write the copy into a folder.

    Args:
        model: a model, its folder, or its name on the hub; it stays as it is.
        data: labelled examples of its task. Where heads are to be chosen, every other one chooses and both models are
            measured on the rest; where they are named, all measure; without data only size and speed are told.
        heads: heads by layer, both from 0, heads as in the whole layer.
        share: of all heads, those that go are the least useful; each layer keeps one.
        by: what tells how useful a head is; see `importance`.
        out: folder to write; None writes nothing.
        zero: write zeros in the whole shapes, which peers that know no pruned heads load too; it computes the same.
        overwrite: whether a model folder that is there may be replaced.
        limit: most examples that measure, and as many that choose; None takes all.
        tokenizer: of the model, where that of the folder is not meant.
        reading: how files are read.
        seed: of the draw of examples.
        on_step: called with what is being done, how much is done, and of how much.

    Raises:
        ConfigError: neither or both of `heads` and `share`, a head that does not exist, all heads of a layer.
        As `importance`, and as `glassbert.checkpoint.save_model`.
    """
    if (heads is None) == (share is None):
        raise ConfigError("give either the heads to cut out, or the share of all heads that goes")
    if share is not None and (not isinstance(share, int | float) or not 0.0 < share < 1.0):
        raise ConfigError(f"share is {share!r}, expected a number between 0 and 1")
    if share is not None and data is None:
        raise ConfigError("heads are chosen by what they do for labelled examples; give data, or name the heads")
    if by not in get_args(By):
        raise ConfigError(f"by is {by!r}, expected one of {', '.join(get_args(By))}")
    if out is not None:
        keep = [model] if isinstance(model, str | Path) and Path(model).is_dir() else []
        check_output(out, overwrite=overwrite, keep=keep)
    subject = Subject.of(model, tokenizer)
    layers = layers_of(subject.bert)
    there = [len(heads_there(layer.attention)) for layer in layers]
    if share is not None and round(share * sum(there)) < 1:
        raise ConfigError(f"share is {share!r}, which is no head of {sum(there)}; give {1 / sum(there):.2g} or more")
    found = None
    notes: tuple[str, ...] = ()
    chosen_on = 0
    if data is not None:
        wanted = limit if limit is None or heads is not None else 2 * limit
        found = read_labelled(subject, data, limit=wanted, reading=reading, seed=seed)
        notes = found.notes
    if heads is None:
        assert found is not None
        assert share is not None
        choosing, found = found.halves()
        chosen_on = len(choosing.examples)
        scores = importance_of(choosing, by, on_step)
        count = round(share * sum(there))
        heads = _least([(one.layer, one.head) for one in scores.order(by)], there, count)
        if (cut := sum(map(len, heads.values()))) < count:
            notes = (*notes, f"Each layer keeps one head, so {cut} heads are cut out and not {count}.")
    asked: dict[int, set[int]] = {}
    for layer, named in heads.items():  # the last layer may be named as -1 too
        asked.setdefault(layer % len(layers) if -len(layers) <= layer < len(layers) else layer, set()).update(named)
    for number, one in enumerate(layers):
        if twice := sorted(asked.get(number, set()) & one.attention.pruned_heads):
            raise ConfigError(f"head {twice[0]} of layer {number} is cut out already; name others")
    pruned = copy.deepcopy(subject.model)
    pruned.prune_heads({layer: sorted(gone) for layer, gone in asked.items()})
    before, after, equal = _both(subject.model, pruned, found)
    if out is not None:
        with new_folder(out, overwrite=overwrite) as stage:
            save_model(pruned, stage, zero_pruned_heads=zero)
            if subject.tokenizer is not None:
                save_tokenizer(subject.tokenizer, stage)
    return Pruned(
        name=subject.name,
        heads={layer: tuple(sorted(gone)) for layer, gone in asked.items() if gone},
        left=tuple(len(heads_there(layer.attention)) for layer in _layers(pruned)),
        before=before,
        after=after,
        equal_answers=equal,
        examples=0 if found is None else len(found.examples),
        chosen_by=None if share is None else by,
        chosen_on=chosen_on,
        out=None if out is None else str(out),
        zeroed=zero,
        notes=notes,
    )


def _least(order: Sequence[tuple[int, int]], there: Sequence[int], count: int) -> dict[int, list[int]]:
    """Return the first heads of an order, by layer, but never the last one of a layer."""
    going: dict[int, list[int]] = {}
    for layer, head in order:
        if count == 0:
            break
        if len(going.get(layer, ())) + 1 < there[layer]:
            going.setdefault(layer, []).append(head)
            count -= 1
    return going


def _layers(model: BertPreTrainedModel) -> list[BertLayer]:
    return layers_of(Subject.of(model).bert)


def _both(
    model: BertPreTrainedModel, pruned: BertPreTrainedModel, found: Labelled | None
) -> tuple[Size, Size, float | None]:
    """Measure both models in turns; with data also what they say."""
    models = (model, pruned)
    equal = None
    metrics: list[Metrics | None] = [None, None]
    if found is not None:
        comparison, _ = compare(found.pipeline(model), found.pipeline(pruned), found.examples)
        measured = (comparison.reference, comparison.other)
        seconds = [one.seconds for one in measured]
        if max(seconds) < _LONG:
            both = [found.pipeline(one) for one in models]
            seconds = _in_turns([functools.partial(one.rows, found.features) for one in both])
        weights = [one.weight_bytes for one in measured]
        metrics = [one.metrics for one in measured]
        equal = comparison.equal_answers
    else:
        engines = [Engine(_body(one)) for one in models]
        seconds = _timed(engines)
        weights = [one.nbytes for one in engines]
    sizes = [
        Size(
            heads=sum(len(heads_there(layer.attention)) for layer in _layers(one)),
            parameters=one.num_parameters(),
            weight_bytes=nbytes,
            seconds=spent,
            metric=None if metric is None else metric.main,
            metric_name=None if metric is None else metric.main_name,
        )
        for one, nbytes, spent, metric in zip(models, weights, seconds, metrics, strict=True)
    ]
    return sizes[0], sizes[1], equal


def _body(model: BertPreTrainedModel) -> BertPreTrainedModel:
    return model.base_model


def _timed(engines: Sequence[Engine]) -> list[float]:
    """Return the median seconds of each engine for the same random tokens, in turns."""
    config = engines[0].config
    length = min(_TOKENS, config.max_position_embeddings)
    drawn = torch.randint(config.vocab_size, (_TEXTS, length), generator=torch.Generator().manual_seed(0)).tolist()
    return _in_turns([functools.partial(engine.hidden_states, drawn) for engine in engines])


def _in_turns(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Return the median seconds of each of several calls, made in turns."""
    spent: list[list[float]] = [[] for _ in calls]
    for round_ in range(_ROUNDS + 1):
        for number, call in enumerate(calls):
            begun = time.perf_counter()
            call()
            if round_:  # the first call of each prepares more than it computes
                spent[number].append(time.perf_counter() - begun)
    return [statistics.median(one) for one in spent]
