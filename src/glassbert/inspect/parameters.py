"""`inspect parameters`: where numbers, multiplications and memory go, predicted and measured."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from glassbert.checkpoint.filling import without_memory
from glassbert.checkpoint.folder import MODEL_CLASSES, find_source
from glassbert.errors import ConfigError, InputError
from glassbert.inspect.finding import App, Column, Drawing, Finding, Part, Prose, Table, figure, headed
from glassbert.inspect.memory import (
    MOMENTS,
    Growth,
    Measured,
    Measurement,
    OptimizerKind,
    Prediction,
    Setting,
    check_optimizer,
    costed,
    gradient_bytes,
    measured,
    optimizer_bytes,
    path_of,
    predictions,
    scores,
    settings_of,
    size_to_measure,
    small_enough,
    twin,
    weight_bytes,
)
from glassbert.inspect.running import Model, Subject
from glassbert.model import BertConfig, BertPreTrainedModel
from glassbert.train.markup import Markup, tag
from glassbert.train.plots import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Group = Literal["embeddings", "layers", "pooler", "head"]
Work = Literal["projections", "scores", "context", "feed-forward", "pooler", "head"]

GB: Final = 1_000_000_000
# No batch is larger in an answer to what fits.
_LARGEST: Final = 1_000_000
_COLOURS: Final = {"weights": BLUE, "optimizer": "#8fb0d9", "gradients": ORANGE, "activations": "#8a8f98"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """Parameters that stand under one name, in layers under the same one in each.

    Attributes:
        name: of their module, with * for the layer's number.
        group: what it belongs to.
        numbers: in all layers together; those that an earlier piece shares are counted there.
        each: in a layer; None outside of layers and where layers differ.
        trained: how many of the numbers have gradients.
        share: of all numbers of the model, from 0 to 1.
    """

    name: str
    group: Group
    numbers: int
    each: int | None
    trained: int
    share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A tensor of the files that the class has no place for.

    Attributes:
        name: in the file.
        numbers: in it.
    """

    name: str
    numbers: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flops:
    """What a batch takes, a multiplication and an addition being two operations.

    Counted by torch's own counter, matrix products alone, on the padded path with attention written out. A classifier's
    last layer computes the first tokens alone there too.

    Attributes:
        forward: of a call.
        training: of a call and the way back.
        parts: of a call, by what they are for.
        forward_growth: of a call, by batch and length.
        training_growth: of a call and the way back, likewise.
        crossing: the length from which on what grows with the square of the length is more than all else; None where
            nothing does.
    """

    forward: int
    training: int
    parts: dict[Work, int]
    forward_growth: Growth
    training_growth: Growth
    crossing: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a setting takes by the formula, at the batch and length that were asked for.

    Attributes:
        setting: the way to run.
        kept: bytes that autograd keeps.
        peak: most bytes that live at once.
    """

    setting: Setting
    kept: int
    peak: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """What fits into a memory, by the formula.

    Attributes:
        setting: the way to run.
        batch: most texts of the length that was asked for; 0 where not one fits.
        length: most tokens of a single text; 0 where not one fits.
        whole: that is as many as the model has places for.
    """

    setting: Setting
    batch: int
    length: int
    whole: bool


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Parameters(Finding):
    """Where numbers, multiplications and memory go.

    Attributes:
        name: of the model.
        model_class: of it.
        costed_class: whose steps are looked at: the same, or the BERT in a class of your own.
        numbers: of all parameters, shared ones once.
        trained: of those that have gradients.
        pieces: where they stand.
        shared: names of one tensor, for each that has several.
        words_tied: whether the projection to the vocabulary is the word embeddings; None where there is none.
        tying: numbers that it saves, or would.
        left_out: what the folder's files hold beside; empty for a model that was given as an object.
        in_files: numbers of the model and of what is left out.
        fresh: parameters that the files do not hold, which are random.
        batch: texts.
        length: tokens of each.
        positions: most tokens of a text.
        flops: of the batch.
        optimizer: that memory is said for.
        weights: bytes of parameters and buffers.
        gradients: bytes.
        states: bytes of the state of each optimizer.
        formulas: of memory, by batch and length.
        predicted: what they say of the batch.
        path: which code ran, in words; empty where nothing was measured.
        measurement: the same on this machine; None where nothing was measured.
        unmeasured: what was not measured and why, or why nothing was; None where all was.
        memory: bytes that it has to fit into, where they were said.
        fits: what does, by the formulas.
    """

    asks: ClassVar[str] = "Where do parameters, multiplications and memory go, and what fits?"

    name: str
    model_class: str
    costed_class: str
    numbers: int
    trained: int
    pieces: tuple[Piece, ...]
    shared: tuple[tuple[str, ...], ...]
    words_tied: bool | None
    tying: int
    left_out: tuple[LeftOut, ...]
    in_files: int
    fresh: tuple[str, ...]
    batch: int
    length: int
    positions: int
    flops: Flops
    optimizer: OptimizerKind
    weights: int
    gradients: int
    states: dict[OptimizerKind, int]
    formulas: tuple[Prediction, ...]
    predicted: tuple[Predicted, ...]
    path: str
    measurement: Measurement | None
    unmeasured: str | None
    memory: int | None
    fits: tuple[Fit, ...]

    @property
    def title(self) -> str:
        """Name the model and its size."""
        kind = "" if self.name == self.model_class else f"a {self.model_class} of "
        return f"{self.name}: {kind}{self.numbers:,} parameters"

    @property
    def groups(self) -> dict[Group, int]:
        """Numbers of each group, those that there are."""
        found: Counter[Group] = Counter()
        for piece in self.pieces:
            found[piece.group] += piece.numbers
        return dict(found)

    def parts(self) -> Iterable[Part]:
        """Give counts, operations, memory as predicted and as measured, and what fits."""
        yield self._pieces()
        if about := list(self._counted()):
            yield Prose("", about)
        yield self._operations()
        yield self._memory()
        yield Drawing("The same as bars", _bars(self), "Up to the line lives at once; gradients come as the rest goes.")
        if self.formulas:
            yield App(
                "Other sizes",
                "parameters",
                _data(self),
                "Change a number: the page computes with the formulas that stand in the documentation.",
            )
        if self.measurement is not None:
            yield self._measured(self.measurement)
            yield Prose("What checkpointing and chunks save and cost", list(_answers(self.measurement)))
        if self.unmeasured is not None:
            what = "Nothing" if self.measurement is None else "Left out"
            yield Prose("Measured" if self.measurement is None else "", [f"{what}: {self.unmeasured}."])
        if self.memory is not None:
            yield self._fitting(self.memory)

    def _pieces(self) -> Table:
        columns = (
            Column("part"),
            Column("module", "code"),
            Column("a layer", "number"),
            Column("numbers", "number"),
            Column("share", "share"),
        )
        rows: list[tuple[str | int | float | None, ...]] = []
        for group, numbers in self.groups.items():
            rows.append((group, "", None, numbers, numbers / self.numbers))
            rows += [("", _where(one), one.each, one.numbers, one.share) for one in self.pieces if one.group == group]
        rows.append(("all", "", None, self.numbers, 1.0))
        trained = "all are trained" if self.trained == self.numbers else f"{self.trained:,} are trained"
        return Table("Parameters", columns, rows, f"{self.numbers:,} numbers, {trained}; a shared one counts once.")

    def _counted(self) -> Iterable[str]:
        if self.left_out:
            more = sum(one.numbers for one in self.left_out)
            names = ", ".join(one.name for one in self.left_out[:6]) + (", …" if len(self.left_out) > 6 else "")
            yield (
                f"The files hold {more:,} numbers more that a {self.model_class} has no use for ({names}): "
                f"{self.in_files:,} in all."
            )
        if self.fresh:
            yield f"Not in the files, so random: {', '.join(self.fresh)}."
        for one in self.shared:
            yield f"One tensor under {len(one)} names: {', '.join(one)}."
        if self.words_tied is not None:
            said = "saves" if self.words_tied else "would save"
            now = self.numbers + self.tying if self.words_tied else self.numbers
            share = self.tying / now
            yield (
                f"Sharing the word embeddings with the projection to the vocabulary {said} {self.tying:,} numbers: "
                f"{share:.1%} of the {now:,} without it."
            )

    def _operations(self) -> Table:
        total = self.flops.forward
        rows: list[tuple[str | int | float | None, ...]] = [
            (name, value, value / total if total else 0.0) for name, value in self.flops.parts.items()
        ]
        rows.append(("forward", total, 1.0))
        ratio = self.flops.training / total if total else 0.0
        rows.append((f"forward and back: {ratio:.2f} times as many", self.flops.training, None))
        about = f"Operations of {_sized(self.batch, self.length)}, counted as torch counts them: two for each "
        about += "multiplication of a matrix product. "
        if self.flops.crossing is None:
            about += "Nothing grows with the square of the length."
        else:
            beyond = "" if self.flops.crossing <= self.positions else f", beyond the model's {self.positions} places"
            about += (
                f"Scores and context grow with the square of the length; from {self.flops.crossing:,} tokens on{beyond}"
                ", they are more than all the rest."
            )
        return Table(
            "Operations", (Column("of"), Column("operations", "number"), Column("share", "share")), rows, about
        )

    def _memory(self) -> Table:
        columns = (
            Column("setting"),
            Column("weights", "number"),
            Column("optimizer", "number"),
            Column("gradients", "number"),
            Column("activations", "number"),
            Column("peak", "number"),
        )
        rows = [
            (
                one.setting.name,
                *(megabytes(value) if value else None for value in _stack(self, one)),
                megabytes(one.peak),
            )
            for one in self.predicted
        ]
        of = f" of a {self.costed_class}" if self.costed_class != self.model_class else ""
        return Table(
            f"Memory, predicted{of}",
            columns,
            rows,
            f"{_sized(self.batch, self.length)}, {self.optimizer}, in MB. Activations are what autograd keeps, in "
            "inference what lives beside the weights. Gradients come while activations go, so the peak of a step is "
            "less than the sum.",
        )

    def _measured(self, found: Measurement) -> Table:
        columns = (
            Column("setting"),
            Column("kept", "number"),
            Column("kept, formula", "number"),
            Column("peak", "number"),
            Column("peak, formula", "number"),
            Column("ms a step", "number", ",.1f"),
        )
        rows = []
        formulas = {one.setting: one for one in self.formulas}
        for one in found.settings:
            formula = formulas[one.setting]
            training = one.setting.training
            rows.append(
                (
                    one.setting.name,
                    megabytes(one.kept) if training else None,
                    megabytes(formula.kept.at(found.batch, found.length)) if training else None,
                    megabytes(one.peak),
                    megabytes(formula.peak(found.batch, found.length)),
                    1000.0 * one.seconds,
                )
            )
        smaller = "" if (found.batch, found.length) == (self.batch, self.length) else ", smaller than asked to be quick"
        threads = "one thread" if found.threads == 1 else f"{found.threads} threads"
        about = f"{_sized(found.batch, found.length)}{smaller}; MB of torch's allocator; the median of {found.rounds} "
        about += f"steps in turns, {threads}. {self.path}"
        return Table("Memory and time, measured", columns, rows, about)

    def _fitting(self, memory: int) -> Table:
        columns = (
            Column("setting"),
            Column(f"texts of {self.length} tokens", "number"),
            Column("tokens of one text", "number"),
            Column(""),
        )
        rows = [
            (
                one.setting.name,
                one.batch,
                one.length,
                "nothing fits" if not one.length else "all places" if one.whole else "",
            )
            for one in self.fits
        ]
        about = f"The most that the formulas allow in {memory / GB:g} GB, each of 1,000,000,000 bytes; what else runs "
        about += "there, Python and torch included, comes on top."
        if all(not one.length for one in self.fits):
            about = f"Nothing fits into {memory / GB:g} GB: the weights alone take {megabytes(self.weights)} MB."
        return Table("What fits", columns, rows, about)

    def plot(self) -> Figure:
        """Draw the memory of each setting, stacked, with its peak."""
        drawn = figure(8.0, 1.5 + 0.42 * len(self.predicted))
        axes = drawn.add_subplot()
        places = range(len(self.predicted))
        begin = [0.0] * len(self.predicted)
        stacks = [_stack(self, one) for one in self.predicted]
        for number, (name, colour) in enumerate(_COLOURS.items()):
            values = [stack[number] / 1e6 for stack in stacks]
            axes.barh(places, values, left=begin, color=colour, label=name, height=0.62)
            begin = [one + two for one, two in zip(begin, values, strict=True)]
        for place, one in enumerate(self.predicted):
            label = "peak" if place == 0 else None
            axes.plot([one.peak / 1e6] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.4, label=label)
        axes.set_yticks(places, [one.setting.name for one in self.predicted])
        axes.invert_yaxis()
        axes.set(xlabel=f"MB, {_sized(self.batch, self.length)}, {self.optimizer}, predicted")
        axes.spines[["top", "right"]].set_visible(False)
        headed(drawn, self.title)
        drawn.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8)
        return drawn


def parameters(
    model: Model | BertConfig,
    *,
    batch: int = 8,
    length: int | None = None,
    optimizer: OptimizerKind = "adamw",
    memory: float | None = None,
    measure: bool = True,
    kind: str | None = None,
) -> Parameters:
    """Count parameters and operations, and say and measure what memory a step takes.

    Args:
        model: a model, its folder, or its name on the hub; or a config, which is counted without weights.
        batch: texts.
        length: tokens of each; None means 128, or as many as the model takes where that is less.
        optimizer: "adamw" and "lamb" remember two numbers of each parameter, "momentum" one, "sgd" none.
        memory: GB that it has to fit into; None asks nothing.
        measure: run the model too, a few seconds, where it is on a CPU: a large one with fewer or shorter texts, and
            without the settings that take several GB.
        kind: name of the class to load a folder as, or to make of a config.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: an unknown class or optimizer.
        InputError: a size that the model does not take, or no memory.
    """
    check_optimizer(optimizer)
    subject = _subject(model, kind)
    whole = subject.model
    positions = whole.config.max_position_embeddings
    length = min(128, positions) if length is None else length
    for name, value, limit in (("batch", batch, _LARGEST), ("length", length, positions)):
        if type(value) is not int or not 1 <= value <= limit:
            raise InputError(f"{name} is {value!r}, expected a whole number from 1 to {limit:,}")
    if memory is not None and (type(memory) not in (int, float) or not 0.0 < memory < 1e9):
        raise InputError(f"memory is {memory!r}, expected a number of GB above 0")
    most = None if memory is None else int(memory * GB)
    looked_at = costed(whole)
    settings = settings_of(looked_at)
    formulas = predictions(looked_at, settings, optimizer)
    flops = _flops(looked_at, batch, length)
    measurement, unmeasured = None, None
    if not measure:
        unmeasured = "that was not wanted"
    elif looked_at.device.type != "cpu":
        where = "has no weights" if looked_at.device.type == "meta" else f"is on {looked_at.device.type}"
        unmeasured = f"the model {where}; what is measured runs on a CPU"
    else:
        small = small_enough(looked_at, formulas)
        if len(small) < len(formulas):
            unmeasured = _too_large(small)
        if small:
            trains = any(one.setting.training for one in small)
            growth = flops.training_growth if trains else flops.forward_growth
            size = size_to_measure(small, lambda b, s: float(growth.at(b, s)), batch, length)
            chosen = [one.setting for one in small]
            measurement = measured(looked_at, chosen, batch=size[0], length=size[1], optimizer=optimizer)
    left_out = _left_out(model, whole)
    info = whole.loading_info
    output = whole.get_output_embeddings()
    return Parameters(
        name=subject.name,
        model_class=type(whole).__name__,
        costed_class=type(looked_at).__name__,
        numbers=whole.num_parameters(),
        trained=whole.num_parameters(only_trainable=True),
        pieces=_pieces(whole),
        shared=_shared(whole),
        words_tied=None if output is None else output.weight is whole.get_input_embeddings().weight,
        tying=0 if output is None else output.weight.numel(),
        left_out=left_out,
        in_files=whole.num_parameters() + sum(one.numbers for one in left_out),
        fresh=() if info is None else tuple(info.fresh),
        batch=batch,
        length=length,
        positions=positions,
        flops=flops,
        optimizer=optimizer,
        weights=weight_bytes(looked_at),
        gradients=gradient_bytes(looked_at),
        states={name: optimizer_bytes(looked_at, name) for name in MOMENTS},
        formulas=formulas,
        predicted=tuple(
            Predicted(setting=one.setting, kept=one.kept.at(batch, length), peak=one.peak(batch, length))
            for one in formulas
        ),
        path="" if measurement is None else _path(looked_at, measurement),
        measurement=measurement,
        unmeasured=unmeasured,
        memory=most,
        fits=() if most is None else tuple(_fit(one, most, length, positions) for one in formulas),
    )


def _subject(model: Model | BertConfig, kind: str | None) -> Subject:
    if not isinstance(model, BertConfig):
        return Subject.of(model, kind=kind)
    kind = kind or "BertModel"
    if kind not in MODEL_CLASSES:
        raise ConfigError(f"class is {kind!r}, expected one of {', '.join(MODEL_CLASSES)}")
    with without_memory():
        made = MODEL_CLASSES[kind](model)
    return Subject(model=made, tokenizer=None, name=kind)


def _left_out(given: Model | BertConfig, model: BertPreTrainedModel) -> tuple[LeftOut, ...]:
    """Ask the files of a folder how large what was not taken is."""
    if not isinstance(given, str | Path) or model.loading_info is None or not model.loading_info.ignored:
        return ()
    hub = {"revision": None, "token": None, "cache_dir": None, "local_files_only": True}
    source = find_source(given, hub, sentence=True)  # type: ignore[arg-type]
    with source.open(model.config) as weights:
        return tuple(LeftOut(name=key, numbers=math.prod(weights.shape(key))) for key in model.loading_info.ignored)


def _pieces(model: BertPreTrainedModel) -> tuple[Piece, ...]:
    prefix = f"{model.base_model_prefix}." if model.base_model is not model else ""
    total = model.num_parameters()
    by_name: dict[str, list[tuple[str, int, int]]] = {}  # the layer, numbers, and those that are trained
    for full, parameter in model.named_parameters():
        module = full.removeprefix(prefix).rpartition(".")[0] or full
        layer = re.match(r"encoder\.layer\.(\d+)", module)
        name = re.sub(r"^encoder\.layer\.\d+", "encoder.layer.*", module)
        size = parameter.numel()
        by_name.setdefault(name, []).append((layer[1] if layer else "", size, size if parameter.requires_grad else 0))
    pieces = []
    for name, found in by_name.items():
        layers: Counter[str] = Counter()
        for number, size, _ in found:
            layers[number] += size
        alike = "" not in layers and len(set(layers.values())) == 1
        numbers = sum(size for _, size, _ in found)
        pieces.append(
            Piece(
                name=name,
                group=_group(name),
                numbers=numbers,
                each=next(iter(layers.values())) if alike else None,
                trained=sum(trained for *_, trained in found),
                share=numbers / total if total else 0.0,
            )
        )
    order: tuple[Group, ...] = ("embeddings", "layers", "pooler", "head")
    return tuple(sorted(pieces, key=lambda one: order.index(one.group)))


def _group(name: str) -> Group:
    for beginning, group in _GROUPS.items():
        if name == beginning or name.startswith(f"{beginning}."):
            return group
    return "head"


_GROUPS: Final[dict[str, Group]] = {"embeddings": "embeddings", "encoder": "layers", "pooler": "pooler"}


def _where(piece: Piece) -> str:
    frozen = "" if piece.trained == piece.numbers else " (frozen)" if not piece.trained else " (partly frozen)"
    return piece.name.removeprefix("embeddings.").removeprefix("encoder.layer.*.") + frozen


def _shared(model: BertPreTrainedModel) -> tuple[tuple[str, ...], ...]:
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return tuple(tuple(one) for one in names.values() if len(one) > 1)


# Operations


def _flops(model: BertPreTrainedModel, batch: int, length: int) -> Flops:
    """Count on tensors without numbers, so that any size takes no time and no memory."""
    copied = twin(model, meta=True)
    copied.attention_backend = "eager"
    copied._set_gradient_checkpointing(False)
    copied.eval()
    # Frozen parameters would leave a part of the way back out; what is counted is the model's whole way.
    forward, training, modules = _counted(copied, batch, length)
    points = [_counted(copied, 1, size)[:2] for size in range(1, min(3, model.config.max_position_embeddings) + 1)]
    growths = [_growth([point[kind] for point in points]) for kind in (0, 1)]
    quadratic, linear, rest = growths[0].pair, growths[0].token, growths[0].text
    crossing = None
    if quadratic > 0.0:
        root = math.sqrt(linear * linear + 4.0 * quadratic * max(0.0, rest))
        crossing = math.floor((linear + root) / (2.0 * quadratic)) + 1
    return Flops(
        forward=forward,
        training=training,
        parts=_works(copied, modules, length),
        forward_growth=growths[0],
        training_growth=growths[1],
        crossing=crossing,
    )


def _counted(model: BertPreTrainedModel, batch: int, length: int) -> tuple[int, int, dict[str, int]]:
    """Return the operations of a call, of it and the way back, and of the call in each module."""
    ids = torch.zeros(batch, length, dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        found = scores(model, ids)
        forward = counter.get_total_flops()
        modules = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
        wanted = [one.sum() for one in found if one.requires_grad]
        if wanted:
            torch.stack(wanted).sum().backward()
    training = counter.get_total_flops()
    model.zero_grad(set_to_none=True)
    return forward, training, modules


def _growth(points: Sequence[int]) -> Growth:
    """Return the growth of a batch of 1 that has these values at lengths 1, 2 and 3, as far as a text can be."""
    one = points[0]
    two = points[1] if len(points) > 1 else one
    three = points[2] if len(points) > 2 else 2 * two - one
    second = (three - 2 * two + one) / 2
    first = two - one - 3 * second
    return Growth(text=one - first - second, token=first, pair=second)


def _works(model: BertPreTrainedModel, modules: dict[str, int], length: int) -> dict[Work, int]:
    """Sort the operations of modules by what they are for; each is taken without the modules in it."""
    found: dict[Work, int] = dict.fromkeys(("projections", "scores", "context", "feed-forward", "pooler", "head"), 0)
    top = type(model).__name__
    for name, count in modules.items():
        if name == "Global":
            continue
        own = count - sum(modules[one] for one in modules if _above(one, modules) == name)
        path = name.removeprefix(f"{top}").removeprefix(".").removeprefix(f"{model.base_model_prefix}.")
        if own and re.fullmatch(r"encoder\.layer\.\d+\.(cross)?attention\.self", path):
            context = modules[f"{name}.query"] * length // model.config.hidden_size  # 2·B·Q·A·D·K of 2·B·Q·H·A·D
            found["context"] += context
            found["scores"] += own - context
        elif own:
            found[_work(path)] += own
    return {name: count for name, count in found.items() if count}


def _above(name: str, modules: Collection[str]) -> str:
    """Return the nearest module above one that is counted too; lists of layers are not."""
    while name := name.rpartition(".")[0]:
        if name in modules:
            break
    return name


def _work(path: str) -> Work:
    if re.match(r"encoder\.layer\.\d+\.(cross)?attention\.", path):
        return "projections"
    if re.match(r"encoder\.layer\.\d+\.", path):
        return "feed-forward"
    return "pooler" if path.startswith("pooler") else "head"


# What fits


def _fit(formula: Prediction, memory: int, length: int, positions: int) -> Fit:
    tokens = _most(lambda size: formula.peak(1, size) <= memory, positions)
    texts = _most(lambda size: formula.peak(size, length) <= memory, _LARGEST)
    return Fit(setting=formula.setting, batch=texts, length=tokens, whole=tokens == positions)


def _most(fits: Callable[[int], bool], limit: int) -> int:
    """Return the largest number up to a limit that fits, where all smaller ones do."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


# Words


def megabytes(count: int) -> str:
    """Return bytes as MB, each of 1,000,000, with as many digits as one reads."""
    value = count / 1e6
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.1f}" if value >= 10.0 else f"{value:.3g}"


def _sized(batch: int, length: int) -> str:
    texts = "one text" if batch == 1 else f"{batch:,} texts"
    return f"{texts} of {length:,} token{'s' if length > 1 else ''}"


def _too_large(small: Sequence[Prediction]) -> str:
    """Say what is too large to be measured, beside what is not."""
    if not small:
        return "the weights alone would take several GB"
    trains = any(one.setting.training for one in small)
    what = "some settings" if trains else "training"
    return f"{what}: weights, gradients and optimizer state alone would take several GB"


def _path(model: BertPreTrainedModel, found: Measurement) -> str:
    path = path_of(model)
    layout = "padded" if path.padded else "packed"
    kernels = "with the kernels in C" if path.kernels else "without the kernels in C"
    what = "Training" if any(one.setting.training for one in found.settings) else "Inference"
    return f"{what} ran in the {layout} layout ({model.attention_backend}), {kernels}."


def _stack(found: Parameters, one: Predicted) -> tuple[int, int, int, int]:
    """Return weights, optimizer state, gradients and activations of a setting."""
    if not one.setting.training:
        return found.weights, 0, 0, one.peak - found.weights
    return found.weights, found.states[found.optimizer], found.gradients, one.kept


def _answers(found: Measurement) -> Iterable[str]:
    """Say what the settings save and cost, by what was measured."""
    known = {(one.setting.training, one.setting.checkpointing, one.setting.chunk > 0): one for one in found.settings}
    fixed = found.weights + (found.gradients or 0) + (found.optimizer or 0)
    plain, saving = known.get((True, False, False)), known.get((True, True, False))
    if plain is not None and saving is not None:
        yield (
            f"Checkpointing keeps {megabytes(saving.kept)} MB of activations in place of {megabytes(plain.kept)} "
            f"({_less(saving.kept, plain.kept)}), and the peak is {megabytes(saving.peak)} in place of "
            f"{megabytes(plain.peak)} MB ({_less(saving.peak, plain.peak)}), of which weights, gradients and optimizer "
            f"state are {megabytes(fixed)} at the end. A step takes {_longer(saving, plain)}."
        )
    chunked = known.get((True, False, True))
    if plain is not None and chunked is not None:
        why = "; the way back goes piece by piece as well" if chunked.peak < 0.995 * plain.peak else ""
        yield (
            f"Chunks of {chunked.setting.chunk} tokens keep {megabytes(chunked.kept)} in place of "
            f"{megabytes(plain.kept)} MB in training: whatever the pieces, autograd needs all of them. The peak is "
            f"{megabytes(chunked.peak)} in place of {megabytes(plain.peak)} MB ({_less(chunked.peak, plain.peak)})"
            f"{why}. A step takes {_longer(chunked, plain)}."
        )
    whole, pieces = known.get((False, False, False)), known.get((False, False, True))
    if whole is None or pieces is None:
        return
    beside, fewer = whole.peak - found.weights, pieces.peak - found.weights
    yield (
        f"In inference chunks bring what lives beside the weights from {megabytes(beside)} to {megabytes(fewer)} MB "
        f"({_less(fewer, beside)}); a call takes {_longer(pieces, whole)}."
    )


def _less(now: int, before: int) -> str:
    change = now / before - 1.0 if before else 0.0
    return "the same" if abs(change) < 0.005 else f"{abs(change):.0%} {'less' if change < 0.0 else 'more'}"


def _longer(now: Measured, before: Measured) -> str:
    ratio = now.seconds / before.seconds
    return f"{1000 * now.seconds:,.1f} in place of {1000 * before.seconds:,.1f} ms ({ratio:.2f} times as long)"


# The page


def _bars(found: Parameters) -> Markup:
    """Draw what lives in each setting as bars of parts, with a line at the peak."""
    wide, high, left = 620.0, 46.0, 2.0
    stacks = [_stack(found, one) for one in found.predicted]
    most = max([*(sum(stack) for stack in stacks), *(one.peak for one in found.predicted)])
    drawn: list[Markup] = []
    for row, (one, stack) in enumerate(zip(found.predicted, stacks, strict=True)):
        top, at = row * high, left
        drawn.append(tag("text", one.setting.name, class_="in", x=left, y=top + 14))
        drawn.append(tag("text", f"{megabytes(one.peak)} MB", x=wide, y=top + 14, text_anchor="end"))
        for name, value in zip(_COLOURS, stack, strict=True):
            width = value / most * (wide - left)
            said = tag("title", f"{name}: {megabytes(value)} MB")
            bar: dict[str, str | float] = {"x": f"{at:.1f}", "y": top + 20, "width": f"{width:.1f}", "height": 14}
            drawn.append(tag("rect", said, class_=f"part {name}", fill=_COLOURS[name], **bar))
            at += width
        peak = left + one.peak / most * (wide - left)
        drawn.append(
            tag(
                "path",
                tag("title", "peak"),
                class_="peak",
                stroke="currentColor",
                d=f"M{peak:.1f} {top + 17}V{top + 37}",
            )
        )
    title = tag("title", "Memory of each setting: weights, optimizer state, gradients, activations, and the peak")
    height = len(stacks) * high
    svg = tag("svg", title, *drawn, viewBox=f"0 0 {wide:g} {height:g}", role="img", class_="memory")
    keys = [tag("span", tag("i", class_=f"key {name}"), f"{name} ") for name in (*_COLOURS, "peak")]
    return Markup(tag("p", *keys, class_="keys") + svg)


def _data(found: Parameters) -> dict[str, object]:
    """Return what the page computes with."""
    return {
        "batch": found.batch,
        "length": found.length,
        "positions": found.positions,
        "largest": _LARGEST,
        "optimizer": found.optimizer,
        "weights": found.weights,
        "gradients": found.gradients,
        "states": found.states,
        "forward": dataclasses.astuple(found.flops.forward_growth),
        "training": dataclasses.astuple(found.flops.training_growth),
        "settings": [
            {
                "name": one.setting.name,
                "training": one.setting.training,
                "kept": dataclasses.astuple(one.kept),
                "moments": [dataclasses.astuple(moment) for moment in one.moments],
                "whole": [dataclasses.astuple(moment) for moment in one.without_chunks],
            }
            for one in found.formulas
        ],
    }
