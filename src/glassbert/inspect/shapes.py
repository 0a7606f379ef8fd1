"""`inspect shapes`: the shape of everything, from `input_ids` to the logits, as a ledger of one real run."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from typing import TYPE_CHECKING, ClassVar, Final

import torch
from torch import Tensor

from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.errors import ConfigError, InputError
from glassbert.inspect.finding import Column, Finding, Part, Prose, Table, figure, headed
from glassbert.inspect.letters import (
    MEANINGS,
    Case,
    Dim,
    Shape,
    Twins,
    in_letters,
    in_numbers,
    letters_in,
    sizes_of,
    takes_choices,
)
from glassbert.inspect.recording import Event, record
from glassbert.inspect.running import Model, Subject
from glassbert.model import BertConfig, BertPreTrainedModel
from glassbert.model.attention import AttentionBackend
from glassbert.text import BertTokenizer
from glassbert.train.markup import Markup, section, tag
from glassbert.train.plots import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

# Texts of one batch: what is to be read is not longer, and each length more is a group of its own in a packed stream.
MOST_TEXTS: Final = 32
# Numbers of a random model: 4 GB of float32.
_MOST_PARAMETERS: Final = 1_000_000_000
# Steps that a page or a terminal shows.
_MOST_STEPS: Final = 400


@dataclasses.dataclass(frozen=True, kw_only=True)
class Named:
    """A tensor with a name: an input, an output or a parameter.

    Attributes:
        name: of it.
        shape: of it.
    """

    name: str
    shape: Shape


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """An operation on the way.

    Attributes:
        module: name of the module that runs it; "" for the model itself.
        kind: that module's class.
        operation: torch's name for it.
        variable: what its result is called in the code; "" where it has no name.
        says: what happens to heads, padding or rows; "" where that is nothing.
        inputs: shapes of the tensors that go in, beside parameters.
        parameters: those that go in.
        results: shapes of what comes out: one tensor, or several of an operation that cuts.
        dtype: of the result.
        bytes: of all results.
        view: whether they lie in the memory of what went in, so that nothing is moved.
        flops: additions and multiplications of matrix products.
        file: where it is called, relative to the package.
        line: in that file.
        code: the expression.
    """

    module: str
    kind: str
    operation: str
    variable: str
    says: str
    inputs: tuple[Shape, ...]
    parameters: tuple[Named, ...]
    results: tuple[Shape, ...]
    dtype: str
    bytes: int
    view: bool
    flops: int
    file: str
    line: int
    code: str

    @property
    def layer(self) -> int | None:
        """The number of the layer that it belongs to."""
        found = _LAYER.match(self.module)
        return int(found[1]) if found else None

    @property
    def inside(self) -> str:
        """The module's name, within a layer counted from the layer."""
        return _LAYER.sub("", self.module).removeprefix(".")


_LAYER: Final = re.compile(r"^(?:.+\.)?encoder\.layer\.(\d+)(?=\.|$)")


@dataclasses.dataclass(frozen=True)
class Block:
    """Steps that stand together.

    Attributes:
        title: of them.
        steps: in their order.
        layers: how many layers look like this one; 1 for what is no layer.
    """

    title: str
    steps: tuple[Step, ...]
    layers: int = 1

    @property
    def flops(self) -> int:
        """Of all layers together."""
        return self.layers * sum(step.flops for step in self.steps)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Shapes(Finding):
    """The way from ids to the answer.

    Attributes:
        name: of the model.
        model: its class.
        backend: how attention was computed.
        sizes: what the letters stand for.
        places: rows of the batch, B·S, padding included.
        real_tokens: those that are no padding.
        inputs: what the model was called with.
        outputs: what it gave.
        steps: all that lies between and flows into the outputs, layer by layer.
        left_out: operations that flow into nothing, such as checks of arguments, or change nothing, such as dropout.
        flops: additions and multiplications of all matrix products, as torch's `FlopCounterMode` counts them.
        lettered: whether letters could be found; else there are numbers alone.
    """

    asks: ClassVar[str] = "What is the shape of everything, from input_ids to the answer?"

    name: str
    model: str
    backend: AttentionBackend
    sizes: dict[str, int]
    places: int
    real_tokens: int
    inputs: tuple[Named, ...]
    outputs: tuple[Named, ...]
    steps: tuple[Step, ...]
    left_out: int
    flops: int
    lettered: bool

    @property
    def title(self) -> str:
        """Name the model, what goes in and what comes out."""
        ends = " to ".join(f"{one.name} {in_numbers(one.shape)}" for one in (self.inputs[0], self.outputs[0]))
        kind = "" if self.name == self.model else f", a {self.model}"
        return f"{self.name}{kind}: from {ends}"

    @property
    def packed(self) -> bool:
        """Whether padding was squeezed out for the run."""
        return self.backend in _PACKED

    def blocks(self) -> list[Block]:
        """Return the steps in blocks: before the layers, each layer, after them; neighbours that look alike once."""
        return _blocks(self.steps)

    def parts(self) -> Iterable[Part]:
        """Give the letters, the ledger, and where the work is."""
        yield Prose("", _about(self))
        blocks = self.blocks()
        yield Ledger("The ledger", self, _shown(blocks), _HOW)
        total = max(1, self.flops)
        yield Table(
            "Where the products are",
            (
                Column("part", "code"),
                Column("steps", "number"),
                Column("FLOPs", "number"),
                Column("share", "share"),
            ),
            [(block.title, block.layers * len(block.steps), block.flops, block.flops / total) for block in blocks],
            f"{self.flops:,} FLOPs in all. A multiplication and an addition count as two, and matrix products alone "
            "count: LayerNorm, softmax and the activation are not in it.",
        )

    def plot(self) -> Figure:
        """Draw the work and the memory of one layer, step by step."""
        blocks = [block for block in self.blocks() if block.steps and block.steps[0].layer is not None]
        block = (blocks or self.blocks())[0]
        steps = [step for step, _ in _folded(block.steps) if not step.view]
        drawn = figure(11.0, 1.3 + 0.3 * len(steps))
        left, right = drawn.subplots(1, 2, sharey=True)
        for axes, values, label, colour in (
            (left, [step.flops / 1e6 for step in steps], "millions of FLOPs", BLUE),
            (right, [step.bytes / 1e3 for step in steps], "kB of the result", ORANGE),
        ):
            axes.barh(range(len(steps)), values, color=colour)
            axes.set_xlabel(label)
            axes.margins(y=0.01)
            axes.spines[["top", "right"]].set_visible(False)
        labels = [f"{step.inside} {_doing(step)}   {in_letters(step.results[0])}" for step in steps]
        left.set_yticks(range(len(steps)), labels, fontsize=8)
        left.invert_yaxis()
        headed(drawn, f"{self.title}\n{block.title}: steps that compute")
        return drawn


_PACKED: Final = ("packed", "varlen")
_HOW: Final = (
    "Shapes in letters and in numbers, as they were in the run; a number without a letter does not change with any of "
    "them. A view moves nothing in memory. ×3: so many times in a row, with the sizes of the first."
)


def shapes(
    model: Model,
    texts: Sequence[str] | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    kind: str | None = None,
    input_ids: Tensor | Sequence[Sequence[int]] | None = None,
    attention_mask: Tensor | Sequence[Sequence[int]] | None = None,
    backend: AttentionBackend | None = None,
) -> Shapes:
    """Run a model once and write down the shape of everything.

    Args:
        model: a model, its folder, or its name on the hub.
        texts: a batch. For a model that compares choices they are those of one question.
        tokenizer: the model's tokenizer, where that of the folder is not meant.
        kind: name of the class to load a folder as; None takes what the folder says.
        input_ids: (B, S) in place of texts; for a model that compares choices also (B, N, S).
        attention_mask: of the same shape, 1 at real tokens; None takes the padding ids at the end of a row as padding.
        backend: how attention is computed. None takes "eager": a padded batch, with scores and weights as tensors of
            their own. "packed" is what models do by themselves: padding is squeezed out.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: there is no such class or backend.
        InputError: neither texts nor ids, both, ids out of the vocabulary, rows of different length, too many texts,
            one that is too long.
    """
    subject = Subject.of(model, tokenizer, kind=kind)
    arguments = _arguments(subject, texts, input_ids, attention_mask)
    chosen: AttentionBackend = "eager" if backend is None else backend
    mask = arguments["attention_mask"] != 0
    choices = mask.shape[1] if takes_choices(subject.model) else None
    mask = mask.reshape(-1, mask.shape[-1])
    if len(mask) > MOST_TEXTS:
        raise InputError(f"there are {len(mask)} texts; a ledger is of at most {MOST_TEXTS}")
    if subject.model.device.type == "meta" and chosen in _PACKED:
        raise InputError(f"a model on the meta device has no numbers to pack by, so attention {chosen!r} cannot run")
    on_device = {name: one.to(subject.model.device) for name, one in arguments.items()}
    call = {**on_device, **_flags(subject.model, chosen)}
    run = record(subject.model, call, backend=chosen)
    if not run.outputs:
        raise InputError(f"{subject.name} gives no tensor")
    sizes = sizes_of(subject.model, mask, choices=choices, packed=chosen in _PACKED)
    twins = Twins(Case(subject.model, call, sizes), run.events, mask, chosen)
    steps = [_step(twins, place, event) for place, event in enumerate(run.events) if event.reached and not event.idle]
    outputs = tuple(Named(name=name, shape=twins.output(name, shape)) for name, shape in run.outputs.items())
    inputs = tuple(Named(name=name, shape=twins.input(name, tuple(one.shape))) for name, one in arguments.items())
    used = {dim.letters for shape in _every_shape(steps, inputs, outputs) for dim in shape if dim.letters}
    return Shapes(
        name=subject.name,
        model=type(subject.model).__name__,
        backend=chosen,
        sizes={letter: sizes.letters[letter] for letter in letters_in(sorted(used)) if letter in sizes.letters},
        places=mask.numel(),
        real_tokens=int(mask.sum()),
        inputs=inputs,
        outputs=outputs,
        steps=tuple(steps),
        left_out=len(run.events) - len(steps),
        flops=run.flops,
        lettered=twins.found,
    )


def random_model(config: BertConfig, kind: str) -> BertPreTrainedModel:
    """Make a model with random weights, to be looked at; torch's own random state stays as it is.

    Raises:
        ConfigError: there is no such class, or the model has more numbers than are reasonable for that.
    """
    if kind not in MODEL_CLASSES:
        raise ConfigError(f"class is {kind!r}, expected one of {', '.join(MODEL_CLASSES)}")
    with torch.device("meta"):
        count = MODEL_CLASSES[kind](config).num_parameters()
    if count > _MOST_PARAMETERS:
        raise ConfigError(f"a model with {count:,} numbers, expected at most {_MOST_PARAMETERS:,}; give smaller sizes")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODEL_CLASSES[kind](config)


def _arguments(
    subject: Subject,
    texts: Sequence[str] | None,
    input_ids: Tensor | Sequence[Sequence[int]] | None,
    attention_mask: Tensor | Sequence[Sequence[int]] | None,
) -> dict[str, Tensor]:
    """Return what the model is called with, on the CPU."""
    if isinstance(texts, str):
        texts = [texts]
    if input_ids is None:
        if attention_mask is not None:
            raise InputError("attention_mask goes with input_ids; that of texts is made with them")
        if not texts:
            raise InputError("there is neither a text nor a row of ids; give one or more")
        if len(texts) > MOST_TEXTS:
            raise InputError(f"there are {len(texts)} texts; a ledger is of at most {MOST_TEXTS}")
        if subject.model.device.type == "meta":
            raise InputError("the model is on the meta device, which holds no text; give input_ids")
        arguments = {name: one.cpu() for name, one in subject.encode(texts).arguments().items()}
    else:
        if texts:
            raise InputError("there are texts and ids; give one of them")
        arguments = _of_ids(subject.model, input_ids, attention_mask)
    if takes_choices(subject.model) and arguments["input_ids"].dim() == 2:
        arguments = {name: one[None] for name, one in arguments.items()}  # (N, S) -> (1, N, S)
    return arguments


def _of_ids(
    model: BertPreTrainedModel,
    input_ids: Tensor | Sequence[Sequence[int]],
    attention_mask: Tensor | Sequence[Sequence[int]] | None,
) -> dict[str, Tensor]:
    ids = _rows("input_ids", input_ids)
    if ids.dim() != 2 and not (ids.dim() == 3 and takes_choices(model)):
        raise InputError(f"input_ids has the shape {tuple(ids.shape)}, expected (batch, sequence)")
    if attention_mask is None:
        # 1 up to the last id that is not padding
        mask = (ids != model.config.pad_token_id).flip(-1).long().cummax(dim=-1).values.flip(-1)
    else:
        mask = _rows("attention_mask", attention_mask)
        if mask.shape != ids.shape:
            raise InputError(f"attention_mask has the shape {tuple(mask.shape)}, expected {tuple(ids.shape)}")
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def _rows(name: str, values: Tensor | Sequence[Sequence[int]]) -> Tensor:
    if isinstance(values, Tensor):
        found = values.detach().cpu()
    else:
        rows = [list(row) if isinstance(row, list | tuple) else row for row in values]
        for number, row in enumerate(rows):
            if not isinstance(row, list) or not all(type(one) is int for one in row):
                raise InputError(f"row {number + 1} of {name} is {row!r}, expected whole numbers")
            if len(row) != len(rows[0]):
                raise InputError(
                    f"row {number + 1} of {name} has {len(row)} numbers, row 1 has {len(rows[0])}; "
                    "rows of a batch are equally long: fill the shorter ones up with the id of padding"
                )
            for one in row:
                if not -(2**63) <= one < 2**63:
                    raise InputError(f"row {number + 1} of {name} holds {one}, which is no id")
        found = torch.tensor(rows, dtype=torch.int64)
    if found.numel() == 0:
        raise InputError(f"{name} is empty; give rows of one id or more")
    return found


def _flags(model: BertPreTrainedModel, backend: AttentionBackend) -> dict[str, bool]:
    """Return what asks for the plain way, so far as the model takes it: states and weights change what is computed."""
    known = inspect.signature(model.forward).parameters
    wanted = {"output_attentions": False, "output_hidden_states": False, "return_dict": True}
    if model.config.is_decoder and backend in _PACKED:
        wanted["use_cache"] = False  # a cache is of padded batches
    return {name: value for name, value in wanted.items() if name in known}


def _every_shape(steps: Iterable[Step], *named: Iterable[Named]) -> Iterator[Shape]:
    for step in steps:
        yield from (*step.inputs, *step.results, *(one.shape for one in step.parameters))
    for ones in named:
        yield from (one.shape for one in ones)


def _step(twins: Twins, place: int, event: Event) -> Step:
    inputs, results = twins.shapes(place, event)
    return Step(
        module=event.module,
        kind=event.kind,
        operation=event.operation,
        variable=event.place.variable,
        says=_says(event, inputs, results[0]),
        inputs=inputs,
        parameters=tuple(Named(name=name, shape=twins.parameter(name, shape)) for name, shape in event.parameters),
        results=results,
        dtype=event.dtype,
        bytes=event.bytes,
        view=event.view,
        flops=event.flops,
        file=event.place.file,
        line=event.place.line,
        code=event.place.code,
    )


def _says(event: Event, inputs: Sequence[Shape], result: Shape) -> str:
    """Say what happens to heads, padding and rows, as the letters tell it."""
    before = [dim.letters or "" for dim in inputs[0]] if inputs else []
    after = [dim.letters or "" for dim in result]
    if event.view and "D" in after and "D" not in before and len(after) == len(before) + 1:
        return "heads split"
    if "D" in before and "D" not in after and before[:-2] == after[:-1]:
        return "heads merged"
    if before and after:
        if event.operation == "index_select" and "·S" in before[0] and after[0] == "T":
            return "padding squeezed out"
        if event.operation == "index_copy" and len(inputs) > 2 and inputs[2][0].letters == "T":
            return "padding put back"
        rows = [name for name in ("S", "T") if name in before and name not in after]
        if event.operation in ("index", "index_select") and rows and before[-1] == after[-1] == "H":
            if _LAYER.match(event.module):
                return "first tokens alone: the head reads no others"
            return "first tokens alone"
    return ""


def _blocks(steps: Sequence[Step]) -> list[Block]:
    found: list[Block] = []
    first: int | None = None  # of the layers that the last block stands for
    groups = [(layer, tuple(group)) for layer, group in itertools.groupby(steps, lambda step: step.layer)]
    for place, (layer, here) in enumerate(groups):
        last = found[-1] if found else None
        if layer is None:
            title = "Input and embeddings" if place == 0 else "Between layers"
            title = "After the layers" if 0 < place == len(groups) - 1 else title
            found.append(Block(title if len(groups) > 1 else "All steps", here))
            first = None
        elif last is not None and first is not None and first + last.layers == layer and _alike(last.steps, here):
            found[-1] = Block(f"Layers {first} to {layer}, each", last.steps, last.layers + 1)
        else:
            found.append(Block(f"Layer {layer}", here))
            first = layer
    return found


def _alike(first: Sequence[Step], second: Sequence[Step]) -> bool:
    return [_looks(step) for step in first] == [_looks(step) for step in second]


def _looks(step: Step) -> object:
    """Return all of a step but the number of its layer."""
    parameters = [(_LAYER.sub("", one.name), one.shape) for one in step.parameters]
    return dataclasses.replace(step, module=step.inside, parameters=()), parameters


def _shown(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks that there is room for: the last one always, and of the others the first ones."""
    counts = itertools.accumulate(len(_folded(block.steps)) for block in (*blocks[-1:], *blocks[:-1]))
    room = sum(count <= _MOST_STEPS for count in counts)
    return [*blocks[: max(1, room - 1)], *blocks[-1:]] if len(blocks) > 1 else list(blocks)


def _folded(steps: Sequence[Step]) -> list[tuple[Step, int]]:
    """Return steps, those that repeat once, with how many times they come in a row."""
    keys = [(step.inside, step.operation, step.line, step.code, in_letters(step.results[0])) for step in steps]
    found: list[tuple[Step, int]] = []
    at = 0
    while at < len(steps):
        length, times = 1, 1
        for period in range(1, min(40, (len(steps) - at) // 2) + 1):
            again = 1
            while keys[at : at + period] == keys[at + again * period : at + (again + 1) * period]:
                again += 1
            if again > 1 and again * period > length * times:
                length, times = period, again
        found += [(step, times) for step in steps[at : at + length]]
        at += length * times
    return found


def _about(found: Shapes) -> list[str]:
    real = f"{found.real_tokens:,} of {found.places:,} places of the batch hold a real token"
    if found.packed:
        way = (
            f"This is the packed way (attention {found.backend!r}), which models take by themselves: tokens are a flat "
            f"stream, and nothing is computed for padding. {real}. Attention 'eager' shows the padded way, with scores "
            "and weights as tensors of their own."
        )
    else:
        way = (
            f"This is the padded way (attention {found.backend!r}): padding is computed as well, and hidden from the "
            f"others by the mask. {real}. By themselves models take the packed way, with the same answers: padding is "
            "squeezed out before the embeddings and put back at the end (attention 'packed')."
        )
    said = [way]
    if not found.lettered:
        said.append("Which letters the numbers stand for could not be found for this class of model.")
    return said


def _doing(step: Step) -> str:
    return f"{step.operation} → {step.variable}" if step.variable else step.operation


def _short(number: int, unit: str = "") -> str:
    """Return a number in three digits."""
    value, prefixes = float(number), iter(("", "k", "M", "G", "T"))
    prefix = next(prefixes)
    while value >= 999.5 and prefix != "T":
        value, prefix = value / 1000.0, next(prefixes)
    return f"{value:.3g} {prefix}{unit}".rstrip()


# Hues of letters, in degrees, and what a terminal has that is near; far from each other where letters stand together.
_HUES: Final = {
    "B": 265, "N": 290, "S": 25, "T": 25, "H": 212, "A": 145, "D": 48, "I": 185, "V": 330, "P": 90, "C": 0, "k": 300,
    "n": 60,
}  # fmt: skip
_TERMINAL: Final = {
    "B": "#9a6dd7", "N": "#c061cb", "S": "#d9762b", "T": "#d9762b", "H": "#4f8fdf", "A": "#2fa36b", "D": "#b8940f",
    "I": "#1fa2b0", "V": "#d8588f", "P": "#7aa32e", "C": "#e0524d", "k": "#c061cb", "n": "#a59a1b",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Ledger(Part):
    """The steps, each with its shape.

    Attributes:
        title: of it.
        found: whose steps they are.
        blocks: that are shown.
        about: a line that says how to read it.
    """

    title: str
    found: Shapes
    blocks: Sequence[Block]
    about: str

    def rich(self) -> Sequence[RenderableType]:
        """Return the letters, then a table for each block."""
        from rich.text import Text

        shown: list[RenderableType] = [Text("The letters", style="bold"), *self._letters(), ""]
        shown += [Text(self.title, style="bold"), Text(self.about, style="dim")]
        shown += ["", Text("In", style="bold"), *map(_line, self.found.inputs)]
        for block in self.blocks:
            shown += ["", Text(_heading(block), style="bold"), _Grid(block)]
        shown += self._missing()
        return [*shown, "", Text("Out", style="bold"), *map(_line, self.found.outputs)]

    def _letters(self) -> Iterator[RenderableType]:
        from rich.text import Text

        for letter, meaning in MEANINGS.items():
            if letter in self._used():
                size = self.found.sizes.get(letter)
                number = "" if size is None else f"{size:,}"
                yield Text.assemble((letter, _TERMINAL[letter]), f"  {number:>7}  {meaning}")

    def _used(self) -> list[str]:
        found = self.found
        every = _every_shape(found.steps, found.inputs, found.outputs)
        return letters_in(sorted({dim.letters for shape in every for dim in shape if dim.letters}))

    def _missing(self) -> list[str]:
        missing = len(self.found.blocks()) - len(self.blocks)
        return (
            [f"Layers of other looks that are left out here: {missing}; to_dict and --json have them"]
            if missing
            else []
        )

    def html(self) -> Markup:
        """Return the letters as a choice that marks them everywhere, and each step as a line that opens."""
        used = self._used()
        style = resources.files("glassbert.inspect").joinpath("shapes.css").read_text(encoding="utf-8")
        rules = "".join(
            f".is-{letter}{{--hue:{_HUES[letter]}}}"
            f".steps:has(.line .is-{letter}:hover) .is-{letter},"
            f"fieldset:has(.is-{letter}:hover)~.steps .is-{letter},"
            f'fieldset:has([value="{letter}"]:checked)~.steps .is-{letter}'
            "{background:hsl(var(--hue) 65% 38%);color:#fff}"
            for letter in used
        )
        head = tag(
            "div", *(tag("span", name) for name in ("step", "shape", "FLOPs", "bytes", "source")), class_="line head"
        )
        blocks = [
            tag("div", tag("h3", _heading(block)), head, *(_details(*one) for one in _folded(block.steps)))
            for block in self.blocks
        ]
        ends = [
            tag("div", tag("h3", title), *(_end(one) for one in ones))
            for title, ones in (("In", self.found.inputs), ("Out", self.found.outputs))
        ]
        missing = [tag("p", one) for one in self._missing()]
        steps = tag("div", ends[0], *blocks, *missing, ends[1], class_="steps")
        made = tag("div", tag("style", Markup(style + rules)), self._keys(used), steps, class_="ledger")
        return section(self.title, made, about=f"{self.about} Choose a letter, or point at one, to see where it is.")

    def _keys(self, used: Sequence[str]) -> Markup:
        keys = [
            tag(
                "label",
                tag("input", type="radio", name_="letter", value=letter),
                _chip(Dim(letter, self.found.sizes.get(letter, -1))),
                tag("span", MEANINGS[letter]),
                class_="key",
            )
            for letter in used
        ]
        none = tag(
            "label", tag("input", type="radio", name_="letter", value="", checked=""), tag("span", "none"), class_="key"
        )
        return tag("fieldset", tag("legend", "Mark a letter"), *keys, none)


def _heading(block: Block) -> str:
    flops = sum(step.flops for step in block.steps)
    return f"{block.title} · {len(block.steps)} steps · {flops:,} FLOPs"


def _line(named: Named) -> Text:
    from rich.text import Text

    return Text.assemble(f"{named.name}  ", _coloured(named.shape), f" = {in_numbers(named.shape)}")


def _coloured(shape: Shape) -> Text:
    """Return a shape in letters for a terminal."""
    from rich.text import Text

    text = Text(in_letters(shape))
    for letter, colour in _TERMINAL.items():
        text.highlight_regex(re.escape(letter), colour)
    return text


@dataclasses.dataclass(frozen=True)
class _Grid:
    """The steps of a block on a terminal: fewer columns where it is narrow."""

    block: Block

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give one table."""
        from rich.table import Table as RichTable
        from rich.text import Text

        wide = options.max_width >= 120
        table = RichTable(box=None, pad_edge=False, header_style="dim")
        table.add_column("step", overflow="fold")
        table.add_column("shape", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("FLOPs", justify="right", no_wrap=True)
        if wide:
            table.add_column("bytes", justify="right", no_wrap=True)
        table.add_column("source", overflow="fold")
        for step, times in _folded(self.block.steps):
            name = Text(f"{step.inside or '(model)'} ")
            name.append(_doing(step), style="bold")
            if times > 1:
                name.append(f" ×{times}", style="dim")
            for more in (step.says, _uses(step)):
                if more:
                    name.append(f"\n  {more}", style="dim")
            result = step.results[0]
            several = f" and {len(step.results) - 1} more" if len(step.results) > 1 and wide else ""
            where = step.file if wide else step.file.rpartition("/")[2]
            table.add_row(
                name,
                _coloured(result),
                f"{in_numbers(result)}{several}",
                _short(step.flops) if step.flops else "",
                *([_memory(step)] if wide else []),
                f"{where}:{step.line}",
            )
        yield table


def _uses(step: Step) -> str:
    return ", ".join(f"{one.name.rpartition('.')[2]} {in_letters(one.shape)}" for one in step.parameters)


def _memory(step: Step) -> str:
    return "view" if step.view else _short(step.bytes, "B")


def _chip(dim: Dim) -> Markup:
    kinds = " ".join(f"is-{letter}" for letter in letters_in([dim.letters or ""]))
    number = [] if dim.letters is None or dim.size < 0 else [tag("span", str(dim.size))]
    return tag("span", tag("b", dim.letters or str(dim.size)), *number, class_=f"dim {kinds}".rstrip())


def _chips(shape: Shape) -> Markup:
    read = f"{in_letters(shape)} = {in_numbers(shape)}"
    return tag("span", *map(_chip, shape), class_="dims", role="img", aria_label=read)


def _end(named: Named) -> Markup:
    return tag("div", tag("code", named.name, class_="step"), _chips(named.shape), class_="line")


def _details(step: Step, times: int) -> Markup:
    """Return a step as a line, and what else there is of it, which shows when the line is opened."""
    many = [tag("span", f"×{times}", class_="times")] if times > 1 else []
    says = [tag("span", step.says, class_="says")] if step.says else []
    name = tag("code", step.inside or "(model)", class_="module")
    line = tag(
        "summary",
        tag("span", name, tag("code", _doing(step), class_="doing"), *many, *says, class_="step"),
        _chips(step.results[0]),
        tag("span", _short(step.flops) if step.flops else "", class_="number"),
        tag("span", _memory(step), class_="number"),
        tag("code", f"{step.file}:{step.line}", class_="source"),
        class_="line",
    )
    memory = f"{step.bytes:,} bytes of {step.dtype}"
    rows = [
        ("in module", tag("code", f"{step.module or '(the model itself)'}: {step.kind}")),
        *(("takes", _chips(one)) for one in step.inputs),
        *(("parameter", Markup(tag("code", one.name) + _chips(one.shape))) for one in step.parameters),
        *((f"gives {step.variable}".rstrip(), _chips(one)) for one in step.results),
        ("memory", f"{memory}, a view of what went in" if step.view else memory),
        ("FLOPs", f"{step.flops:,}"),
        (f"{step.file}:{step.line}", tag("code", step.code)),
    ]
    listed = tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows))
    return tag("details", line, listed)
