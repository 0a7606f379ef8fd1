"""`inspect torch-encoder`: BERT's layers beside `torch.nn.TransformerEncoderLayer`, weight by weight and in a run."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from glassbert.checkpoint import to_torch_encoder
from glassbert.checkpoint.torch_encoder import torch_names
from glassbert.errors import InputError
from glassbert.inspect.finding import App, Column, Drawing, Finding, Part, Prose, Table, figure, headed
from glassbert.inspect.running import Batch, Model, Subject, finite, quietly, shape_text
from glassbert.model import BertConfig, BertModel
from glassbert.model.base import initialize_weights
from glassbert.model.bert import BertLayer
from glassbert.tasks.task import counted
from glassbert.text import BertTokenizer
from glassbert.train import markup
from glassbert.train.markup import Markup, tag
from glassbert.train.plots import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

# Tokens of each of the two random texts, where none is given.
_TOKENS: Final = 16
# The rate of dropout that is looked at where a model has none: torch's default.
_RATE: Final = 0.1
# The grid of the activations: from -_END to _END.
_END: Final = 8.0
_POINTS: Final = 160_001
# Numbers of which one differs by more are not said to be the same.
_SAME: Final = 1e-3
# By this operation of torch one sees that its fast path was taken.
_FAST: Final = "_transformer_encoder_layer_fwd"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """A parameter of torch's layer and what holds the same numbers in BERT's.

    Attributes:
        torch: its name in `torch.nn.TransformerEncoderLayer`.
        torch_shape: its shape.
        bert: names in `BertLayer`; several stand one under the other in torch's.
        bert_shapes: their shapes.
        rows: of torch's parameter, first and one behind the last, that each of `bert` is.
        equal_layers: in how many layers they are equal to the bit.
    """

    torch: str
    torch_shape: tuple[int, ...]
    bert: tuple[str, ...]
    bert_shapes: tuple[tuple[int, ...], ...]
    rows: tuple[tuple[int, int], ...]
    equal_layers: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerGap:
    """How far both are apart after a layer, over all numbers of real tokens.

    Attributes:
        layer: its number, from 0.
        fast: in eval mode by torch's fast path; None where torch does not take it.
        plain: in eval mode without it.
        training: in training mode, all rates of dropout 0.
        gradient: of the layer's parameters there, as a share of the largest gradient in the layer.
    """

    layer: int
    fast: float | None
    plain: float | None
    training: float | None
    gradient: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dropping:
    """A place where numbers are dropped in training.

    Attributes:
        place: what is dropped.
        torch: the module or attribute of torch's layer; None where it drops nothing.
        bert: the module of BERT's; None where it drops nothing.
        rate: of the run that was measured.
        torch_dropped: share of the numbers that torch's layer set to 0.
        bert_dropped: the same of BERT's.
    """

    place: str
    torch: str | None
    bert: str | None
    rate: float
    torch_dropped: float
    bert_dropped: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """Something in which the two differ, or seem to.

    Attributes:
        name: of it.
        torch: what torch has.
        bert: what BERT has.
        effect: the largest difference that it makes to this model's last states; None where that is no number.
        measured: what was seen, in words.
        remedy: what to do about it.
    """

    name: str
    torch: str
    bert: str
    effect: float | None
    measured: str
    remedy: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fresh:
    """How a weight begins.

    Attributes:
        weight: torch's name of it.
        torch_deviation: standard deviation of a fresh one of torch's.
        bert_deviation: the same of BERT's.
    """

    weight: str
    torch_deviation: float
    bert_deviation: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Approximation:
    """How far another function is from GELU, x·Φ(x) with the exact erf, in float64.

    Attributes:
        name: of the function.
        largest: absolute difference on the grid.
        at: the x ≥ 0 where that is; it is as large at -x.
    """

    name: str
    largest: float
    at: float


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TorchEncoder(Finding):
    """BERT's layers beside the same weights in `torch.nn.TransformerEncoder`.

    Attributes:
        name: of the model.
        torch_version: whose encoder it is.
        texts: that were read; empty where the ids were random.
        tokens: real ones in the run.
        layers: L.
        fast_path: whether torch took its fast path in eval mode.
        end_fast: largest difference of the last states by that path; None where it was not taken.
        end_plain: the same without it.
        matches: all parameters of a layer.
        gaps: after each layer.
        linear_modules: how many `nn.Linear` stand in one layer, of torch and of BERT.
        linear_maps: how many linear maps one layer has, of torch and of BERT: torch's `in_proj_weight` is three.
        layer_parameters: numbers in one layer, of torch and of BERT.
        outside: numbers of the model that torch's encoder has no place for, by part.
        droppings: where numbers are dropped in training.
        differences: all that differs, or seems to.
        fresh: how weights begin.
        approximations: of GELU.
    """

    asks: ClassVar[str] = "How does BERT's encoder differ from torch.nn.TransformerEncoderLayer?"

    name: str
    torch_version: str
    texts: tuple[str, ...]
    tokens: int
    layers: int
    fast_path: bool
    end_fast: float | None
    end_plain: float | None
    matches: tuple[Match, ...]
    gaps: tuple[LayerGap, ...]
    linear_modules: dict[str, int]
    linear_maps: dict[str, int]
    layer_parameters: dict[str, int]
    outside: dict[str, int]
    droppings: tuple[Dropping, ...]
    differences: tuple[Difference, ...]
    fresh: tuple[Fresh, ...]
    approximations: tuple[Approximation, ...]

    @property
    def title(self) -> str:
        """Name the model and the largest difference of what both give."""
        return (
            f"{self.name}: its {counted(self.layers, 'layer')} in torch.nn.TransformerEncoder, last states differ by "
            f"at most {_said(_largest([self.end_fast, self.end_plain]))}"
        )

    def parts(self) -> Iterable[Part]:
        """Give the answer, the map, what was measured, and every difference."""
        yield Prose("", list(self._answer()))
        yield App(
            "One layer on both sides",
            "torch_encoder",
            _sides(self),
            "Torch at the left, BERT at the right. Lines join the same weights: choose one, with a click or with Tab, "
            "arrow keys and Enter.",
        )
        yield Table(
            "Which weight is which",
            (Column("torch", "code"), Column("BERT", "code"), Column("shape", "code"), Column("equal", "code")),
            list(self._map()),
            "TransformerEncoderLayer and BertLayer; at the right, in how many layers both hold the same numbers to the "
            "bit.",
        )
        yield Table(
            "Counted",
            (Column("in one layer"), Column("torch", "number"), Column("BERT", "number")),
            [
                ["modules of the class nn.Linear", *self.linear_modules.values()],
                ["linear maps (in_proj_weight is three)", *self.linear_maps.values()],
                ["numbers in all parameters", *self.layer_parameters.values()],
            ],
        )
        yield Table(
            "Both run on the same input",
            (
                Column("layer", "number"),
                Column("eval, fast path", "number", ".1e"),
                Column("eval, without it", "number", ".1e"),
                Column("training", "number", ".1e"),
                Column("gradients", "number", ".1e"),
            ),
            [[gap.layer, gap.fast, gap.plain, gap.training, gap.gradient] for gap in self.gaps],
            f"Largest difference after each layer, over all numbers of {counted(self.tokens, 'token')}; in training "
            "with all rates of dropout at 0, gradients as a share of the layer's largest.",
        )
        yield _Differences(self.differences)
        yield Table(
            "Dropped in training",
            (
                Column("what"),
                Column("torch", "code"),
                Column("BERT", "code"),
                Column("rate", "number"),
                Column("torch", "share"),
                Column("BERT", "share"),
            ),
            [[one.place, one.torch, one.bert, one.rate, one.torch_dropped, one.bert_dropped] for one in self.droppings],
            "Share of the numbers that the first layer set to 0 in one training step.",
        )
        yield Table(
            "How weights begin",
            (Column("weight", "code"), Column("torch", "number", ".4f"), Column("BERT", "number", ".4f")),
            [[one.weight, one.torch_deviation, one.bert_deviation] for one in self.fresh],
            "Standard deviation of fresh ones. Torch draws in_proj_weight as Xavier has it and the others as nn.Linear "
            "does, all uniform; BERT draws all normal with initializer_range.",
        )
        yield Table(
            "How far from GELU",
            (Column("function"), Column("largest difference", "number", ".3e"), Column("at x = ±", "number", ".3f")),
            [[one.name, one.largest, one.at] for one in self.approximations],
            f"GELU is x·Φ(x) with the exact erf (arXiv 1606.08415): smooth where relu has a corner, so its slope also "
            f"tells small inputs apart. Measured in float64 at {_POINTS:,} places from -{_END:g} to {_END:g}.",
        )
        yield Drawing("The tanh form, less the exact one, over x", _error_curve(), "The same for -x.")

    def _map(self) -> Iterator[list[str | None]]:
        for match in self.matches:
            equal = f"{match.equal_layers} of {self.layers}"
            if len(match.bert) == 1:
                yield [match.torch, match.bert[0], shape_text(match.torch_shape), equal]
                continue
            yield [match.torch, "", shape_text(match.torch_shape), equal]
            for name, shape, (begin, end) in zip(match.bert, match.bert_shapes, match.rows, strict=True):
                yield [f"  rows {begin}–{end - 1}", name, shape_text(shape), ""]

    def _answer(self) -> Iterator[str]:
        maps = self.linear_maps
        modules = self.linear_modules
        yield (
            "BERT does not have one Linear more. What stands behind its attention, attention.output.dense, is torch's "
            f"self_attn.out_proj. One layer of BERT has {modules['bert']} nn.Linear and torch's {modules['torch']}, "
            "but torch keeps query, key and value in one in_proj_weight, so there are "
            f"{maps['torch']} linear maps in torch's and {maps['bert']} in BERT's, with "
            f"{self.layer_parameters['torch']:,} and {self.layer_parameters['bert']:,} numbers."
        )
        path = (
            f"by its fast path {_said(self.end_fast)}, without it {_said(self.end_plain)}"
            if self.fast_path
            else f"{_said(self.end_plain)} (its fast path is not taken for this model)"
        )
        training = _largest([gap.training for gap in self.gaps])
        gradient = _largest([gap.gradient for gap in self.gaps])
        read = "the texts" if self.texts else "random ids"
        yield (
            f"{self._agreement()} On {read}, {counted(self.tokens, 'token')}, the last states "
            f"differ by at most: {path}. In training without dropout layers differ by {_said(training)}, and the "
            f"gradients by {_said(gradient)} of the largest."
        )
        inner = next(one for one in self.droppings if one.bert is None)
        yield (
            "The one difference in what is computed is in training: torch also drops out inside the feed-forward, "
            f"between activation and linear2 ({inner.torch_dropped:.1%} of the numbers there; BERT "
            f"{inner.bert_dropped:.1%}). All else is defaults, names and layout."
        )

    def _agreement(self) -> str:
        """Say whether both compute the same, by what was measured."""
        found = [self.end_plain, *([self.end_fast] if self.fast_path else []), *(gap.training for gap in self.gaps)]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return "With the same weights one of them gives numbers that are not finite."
        if max(known) > _SAME:
            return f"With the same weights they do not give the same numbers: some differ by more than {_SAME:g}."
        return "With the same weights both compute the same."

    def plot(self) -> Figure:
        """Draw the difference after each layer, on a logarithmic axis; what is 0 is left out."""
        drawn = figure(7.0, 3.6)
        axes = drawn.add_subplot()
        lines = (
            ("eval, fast path", "o-", BLUE, [gap.fast for gap in self.gaps]),
            ("eval, without it", "s--", "#c8641a", [gap.plain for gap in self.gaps]),
            ("training, no dropout", "^:", "#3f8f5f", [gap.training for gap in self.gaps]),
            ("gradients, share of the largest", "d-.", "#7a5aa6", [gap.gradient for gap in self.gaps]),
        )
        for label, style, color, values in lines:
            points = [(place, value) for place, value in enumerate(values) if value]
            if points:
                axes.plot(*zip(*points, strict=True), style, color=color, label=label, markersize=4, linewidth=1.2)
        axes.axhline(1e-5, color="#888888", linewidth=0.8, linestyle=":")
        axes.set_yscale("log")
        axes.set_xticks(range(0, self.layers, 1 + self.layers // 16))
        axes.set_ylim(bottom=1e-9)
        axes.set(xlabel="layer", ylabel="largest difference")
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")
        axes.spines[["top", "right"]].set_visible(False)
        headed(drawn, f"{self.name}: BERT's layers and torch's, the same weights")
        return drawn


@dataclasses.dataclass(frozen=True)
class _Differences(Part):
    """Differences: on a terminal one under the other, on a page as a table."""

    rows: Sequence[Difference]
    title: str = "Every difference"
    about: str = "The effect is the largest difference to the last states of this model, if one does not mind it."

    def rich(self) -> Sequence[RenderableType]:
        from rich.text import Text

        shown = [Text(self.title, style="bold"), Text(self.about, style="dim")]
        for one in self.rows:
            effect = "" if one.effect is None else f"Effect: {one.effect:.2g}."
            shown.append(Text.assemble((one.name, "bold"), f" – torch: {one.torch}; BERT: {one.bert}."))
            shown.append(Text("  " + " ".join(filter(None, (effect, one.measured, one.remedy)))))
        return shown

    def html(self) -> Markup:
        heads = [("", None), ("torch", None), ("BERT", None), ("effect", "number"), ("measured, and what to do", None)]
        rows = (
            tag(
                "tr",
                tag("th", one.name, scope="row"),
                tag("td", one.torch),
                tag("td", one.bert),
                markup.cell("–" if one.effect is None else f"{one.effect:.2g}"),
                tag("td", f"{one.measured} {one.remedy}".strip()),
            )
            for one in self.rows
        )
        return markup.section(self.title, markup.table(heads, rows, class_="differences"), about=self.about)


def torch_encoder(
    model: Model,
    texts: str | Sequence[str] | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    kind: str | None = None,
    seed: int = 0,
) -> TorchEncoder:
    """Put a model's layers beside the same weights in `torch.nn.TransformerEncoder`, and run both.

    Args:
        model: a model, its folder, or its name on the hub.
        texts: what both read; None takes two texts of random ids, the second with padding.
        tokenizer: of the model, where that of the folder is not meant.
        kind: name of the class to load a folder as; None takes what the folder says.
        seed: of the random ids, of fresh weights and of dropout; torch's own random state stays as it is.

    Raises:
        CheckpointError: there is no such model, or torch's encoder cannot hold it: relative positions, pruned heads, a
            decoder.
        InputError: a text without a tokenizer, one that is too long, or damaged weights.
    """
    subject = Subject.of(model, tokenizer, kind=kind)
    bert = subject.bert
    twin = to_torch_encoder(bert.encoder, bert.config).eval()
    generator = torch.Generator().manual_seed(seed)
    given = (texts,) if isinstance(texts, str) else tuple(texts or ())
    if texts is not None and not given:
        raise InputError("there is no text; give one or more, or none at all for random ids")
    batch = subject.encode(given) if given else _random_batch(bert, generator)
    with quietly(bert), _random_state(bert, seed):
        run = _Run.of(bert, twin, batch)
        for place, state in enumerate(run.states):
            where = f"layer {place - 1}" if place else "the embeddings"
            subject.check_finite(f"the vectors of {where}", state[run.real])
        end_fast, fast_path = run.by_fast_path()
        # Dropout is looked at first: afterwards the twin has none.
        droppings = tuple(run.droppings())
        differences = tuple(run.differences(fast_path))
        fresh, copies = _beginnings(bert.config)
        gaps = tuple(run.gaps(fast_path, generator))
    layer = cast(BertLayer, bert.encoder.layer[0])
    modules = [sum(isinstance(one, nn.Linear) for one in side.modules()) for side in (twin.layers[0], layer)]
    matrices = [[p for p in side.parameters() if p.dim() == 2] for side in (twin.layers[0], layer)]
    joined = len(torch_names()["self_attn.in_proj_weight"])
    sizes = [sum(p.numel() for p in side.parameters()) for side in (twin.layers[0], layer)]
    return TorchEncoder(
        name=subject.name,
        torch_version=torch.__version__,
        texts=given,
        tokens=int(batch.attention_mask.sum()),
        layers=len(bert.encoder.layer),
        fast_path=fast_path,
        end_fast=end_fast,
        end_plain=run.gap(run.plain[-1]),
        matches=tuple(_matches(bert, twin)),
        gaps=gaps,
        linear_modules=dict(zip(("torch", "bert"), modules, strict=True)),
        linear_maps={"torch": len(matrices[0]) - 1 + joined, "bert": len(matrices[1])},
        layer_parameters=dict(zip(("torch", "bert"), sizes, strict=True)),
        outside=_outside(subject),
        droppings=droppings,
        differences=(*differences, *_beginning_differences(fresh, copies), *_elsewhere(subject)),
        fresh=fresh,
        approximations=tuple(_approximations()),
    )


def _random_batch(bert: BertModel, generator: torch.Generator) -> Batch:
    """Make two texts of random ids, of which the second has padding."""
    tokens = min(_TOKENS, bert.config.max_position_embeddings)
    ids = torch.randint(bert.config.vocab_size, (2, tokens), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, max(1, tokens - tokens // 3) :] = 0
    ids[mask == 0] = bert.config.pad_token_id
    ids, mask = ids.to(bert.device), mask.to(bert.device)
    return Batch(input_ids=ids, attention_mask=mask, token_type_ids=torch.zeros_like(ids), tokens=())


@contextlib.contextmanager
def _random_state(bert: BertModel, seed: int) -> Iterator[None]:
    """Seed torch for the block, for dropout and fresh weights, which take no generator."""
    devices = [] if bert.device.type == "cpu" else [bert.device]
    with torch.random.fork_rng(devices, device_type=bert.device.type if devices else "cuda"):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _fast_path(enabled: bool) -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Seen(TorchDispatchMode):
    """Remembers which operations of torch ran."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """Both sides on one input.

    Attributes:
        bert, twin: BERT and torch's encoder with its weights.
        real: (B, S) bool, true at real tokens.
        states: L + 1 times (B, S, H), of BERT; the first are the embeddings.
        plain: L times (B, S, H), of torch without its fast path.
    """

    bert: BertModel
    twin: nn.TransformerEncoder
    real: Tensor
    states: tuple[Tensor, ...]
    plain: tuple[Tensor, ...]

    @classmethod
    def of(cls, bert: BertModel, twin: nn.TransformerEncoder, batch: Batch) -> _Run:
        states = bert(
            **batch.arguments(), output_hidden_states=True, output_attentions=False, return_dict=True
        ).hidden_states
        real = batch.attention_mask.bool()
        return cls(
            bert=bert, twin=twin, real=real, states=states, plain=tuple(_through(twin, states[0], padding=~real))
        )

    def gap(self, other: Tensor, layer: int = -1) -> float | None:
        """Return the largest difference to the states after a layer, at real tokens; None if that is no number."""
        return finite((other - self.states[layer])[self.real].abs().amax())

    def by_fast_path(self) -> tuple[float | None, bool]:
        """Return the difference of the last states by torch's fast path, and whether it was taken."""
        with _fast_path(True), _Seen() as seen:
            end = self.twin(self.states[0], src_key_padding_mask=~self.real)
        taken = _FAST in seen.names
        return (self.gap(end) if taken else None), taken

    def gaps(self, fast_path: bool, generator: torch.Generator) -> Iterator[LayerGap]:
        """Give the differences after each layer."""
        fast: list[Tensor] = []
        if fast_path:
            with _fast_path(True):
                fast = list(_through(self.twin, self.states[0], padding=~self.real, as_it_is=True))
        trained = self._trained(generator)
        for index in range(len(self.plain)):
            training, gradient = trained[index]
            yield LayerGap(
                layer=index,
                fast=self.gap(fast[index], index + 1) if fast else None,
                plain=self.gap(self.plain[index], index + 1),
                training=training,
                gradient=gradient,
            )

    def _trained(self, generator: torch.Generator) -> list[tuple[float | None, float | None]]:
        """Return the difference after each layer in training without dropout, and that of its gradients.

        The gradient of a random sum over the last states goes down layer by layer, on each side by itself; each layer
        is computed once more for it, so that one layer's gradients are in memory at a time.
        """
        gradient = torch.randn(self.states[0].shape, generator=generator).to(self.states[0]) * self.real[:, :, None]
        ours_gradient = theirs_gradient = gradient
        found: list[tuple[float | None, float | None]] = []
        with torch.enable_grad():
            for index in reversed(range(len(self.plain))):
                ours, theirs = self._layers(index, hidden=0.0, attention=0.0)
                inputs = [self.states[index], self.states[0] if index == 0 else self.plain[index - 1]]
                ours_in, theirs_in = (one.detach().clone().requires_grad_() for one in inputs)
                ours_out = ours(ours_in, self.real[:, None, None]).hidden
                theirs_out = theirs(theirs_in, src_key_padding_mask=~self.real)
                ours_gradient, ours_found = _differentiated(ours, ours_in, ours_out, ours_gradient)
                theirs_gradient, theirs_found = _differentiated(theirs, theirs_in, theirs_out, theirs_gradient)
                pairs = [
                    (torch.cat([ours_found[name] for name in names]), theirs_found[theirs_name])
                    for theirs_name, names in torch_names().items()
                ]
                largest = max(float(one.abs().amax()) for one, _ in pairs)
                apart = max(float((one - other).abs().amax()) for one, other in pairs)
                share = finite(apart / largest) if largest else None
                apart_here = (ours_out - theirs_out).detach()[self.real].abs().amax()
                found.append((finite(apart_here), share))
        return found[::-1]

    def _layers(self, index: int, *, hidden: float, attention: float) -> tuple[BertLayer, nn.TransformerEncoderLayer]:
        """Return copies of a layer of both sides in training mode, with these rates of dropout."""
        ours = copy.deepcopy(cast(BertLayer, self.bert.encoder.layer[index])).train().requires_grad_(True)
        theirs = copy.deepcopy(cast(nn.TransformerEncoderLayer, self.twin.layers[index])).train()
        for module in (ours.attention.output, ours.output):
            _set_rate(module.dropout, hidden)
        _set_rate(ours.attention.self.dropout, attention)
        for dropout in (theirs.dropout, theirs.dropout1, theirs.dropout2):
            _set_rate(dropout, hidden)
        theirs.self_attn.dropout = attention
        return ours, theirs

    def droppings(self) -> Iterator[Dropping]:
        """Give the places of dropout, with what was dropped in the first layer."""
        config = self.bert.config
        hidden = config.hidden_dropout_prob or _RATE
        attention = config.attention_probs_dropout_prob or _RATE
        ours, theirs = self._layers(0, hidden=hidden, attention=attention)
        states = self.states[0]
        # Beside the weights that attention makes in eval mode, since a weight may be 0 by itself.
        weights = [
            (
                ours.train(training).attention.self(states, output_attentions=True).weights,
                theirs.train(training).self_attn(states, states, states, average_attn_weights=False)[1],
            )
            for training in (False, True)
        ]
        ours_share, theirs_share = (_share(*pair) for pair in zip(*weights, strict=True))
        yield Dropping(
            place="attention weights",
            torch="self_attn.dropout",
            bert="attention.self.dropout",
            rate=attention,
            torch_dropped=theirs_share,
            bert_dropped=ours_share,
        )
        shares: dict[nn.Module, float] = {}

        def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            shares[module] = _share(inputs[0], output)

        made: list[Tensor] = []
        watched = (theirs.dropout, theirs.dropout1, theirs.dropout2, ours.attention.output.dropout, ours.output.dropout)
        for module in watched:
            module.register_forward_hook(after)
        # Where torch drops, BERT hands on what the activation made: between these two modules.
        ours.intermediate.register_forward_hook(lambda module, inputs, output: made.append(output))
        ours.output.dense.register_forward_pre_hook(lambda module, inputs: made.append(inputs[0]))
        ours(states, self.real[:, None, None])
        theirs(states, src_key_padding_mask=~self.real)
        inner = _share(*made)
        yield Dropping(
            place="after attention",
            torch="dropout1",
            bert="attention.output.dropout",
            rate=hidden,
            torch_dropped=shares[theirs.dropout1],
            bert_dropped=shares[ours.attention.output.dropout],
        )
        yield Dropping(
            place="inside feed-forward",
            torch="dropout",
            bert=None,
            rate=hidden,
            torch_dropped=shares[theirs.dropout],
            bert_dropped=inner,
        )
        yield Dropping(
            place="after feed-forward",
            torch="dropout2",
            bert="output.dropout",
            rate=hidden,
            torch_dropped=shares[theirs.dropout2],
            bert_dropped=shares[ours.output.dropout],
        )

    def _otherwise(self, **changes: Any) -> float | None:
        """Return how far the last states are off if torch's encoder is made with other settings."""
        config = dataclasses.replace(self.bert.config, **changes)
        other = to_torch_encoder(self.bert.encoder, config).eval()
        *_, end = _through(other, self.states[0], padding=~self.real)
        return self.gap(end)

    def differences(self, fast_path: bool) -> Iterator[Difference]:
        """Give the differences in what is computed, and what each would do to this model."""
        config = self.bert.config
        default = {
            name: parameter.default
            for name, parameter in inspect.signature(nn.TransformerEncoderLayer).parameters.items()
        }
        act = _act_name(config)
        yield Difference(
            name="dropout in the feed-forward",
            torch="also between activation and linear2, with the same rate",
            bert="none there",
            effect=None,
            measured="In eval mode nothing differs; in training see below.",
            remedy="To train as BERT does: layer.dropout.p = 0 in each layer.",
        )
        relu = default["activation"].__name__
        yield Difference(
            name="activation",
            torch=f"{relu} unless you say otherwise",
            bert=act,
            effect=self._otherwise(hidden_act=relu),
            measured="",
            remedy=f'Give activation="{act}".' if act in ("gelu", "relu") else "Give the function as activation=.",
        )
        eps = default["layer_norm_eps"]
        yield Difference(
            name="eps of LayerNorm",
            torch=f"{eps:g} unless you say otherwise",
            bert=f"{config.layer_norm_eps:g}",
            effect=self._otherwise(layer_norm_eps=eps),
            measured="",
            remedy=f"Give layer_norm_eps={config.layer_norm_eps:g}.",
        )
        if act == "gelu":
            yield Difference(
                name="form of GELU",
                torch="exact (erf), as F.gelu",
                bert='exact too; "gelu_new" is the tanh form, of Google\'s first code',
                effect=self._otherwise(hidden_act="gelu_new"),
                measured="The effect is that of the tanh form in all layers.",
                remedy="Torch's fast path takes any nn.GELU for the exact form.",
            )
        width = default["dim_feedforward"]
        yield Difference(
            name="width of the feed-forward",
            torch=f"{width} unless you say otherwise",
            bert=f"{config.intermediate_size}",
            effect=None,
            measured="The same here." if width == config.intermediate_size else "The weights do not fit the default.",
            remedy=f"Give dim_feedforward={config.intermediate_size}.",
        )
        yield Difference(
            name="rates of dropout",
            torch=f"one for all, {default['dropout']:g} unless you say otherwise",
            bert=f"{config.hidden_dropout_prob:g}, for attention weights {config.attention_probs_dropout_prob:g}",
            effect=None,
            measured="Nothing differs in eval mode.",
            remedy="For another rate of attention set layer.self_attn.dropout.",
        )
        yield Difference(
            name="norm_first",
            torch=f"{default['norm_first']} unless you say otherwise: LayerNorm behind each part",
            bert="always behind each part, as in the first Transformer",
            effect=self._norm_first(),
            measured="The effect is that of norm_first=True with these weights.",
            remedy="Leave it out.",
        )
        yield Difference(
            name="order of the axes",
            torch=f"batch_first={default['batch_first']} unless you say otherwise: (S, B, H)",
            bert="(B, S, H)",
            effect=self._batch_second(),
            measured="Forgotten, one text is read as many of one token each, and nothing complains.",
            remedy="Give batch_first=True.",
        )
        inverted, lost = self._inverted()
        yield Difference(
            name="meaning of the mask",
            torch="src_key_padding_mask: True hides a token",
            bert="attention_mask: 1 shows a token",
            effect=inverted,
            measured=f"Given the wrong way round, {lost:.0%} of the numbers are NaN."
            if lost
            else "Given as it is, it hides the text and shows the padding.",
            remedy="Give src_key_padding_mask=attention_mask == 0.",
        )
        if fast_path:
            alone = [self._of_padding(enabled) for enabled in (True, False)]
            yield Difference(
                name="a text of padding alone",
                torch="by the fast path every score is hidden",
                bert="numbers of no meaning, but numbers",
                effect=None,
                measured="NaN by the fast path: {}; without it: {}.".format(*("yes" if one else "no" for one in alone)),
                remedy="Leave such texts out.",
            )
        yield Difference(
            name="query, key and value",
            torch="one in_proj_weight (3H, H): query over key over value",
            bert="three Linears (H, H)",
            effect=0.0 if self._is_joined() else None,
            measured="Joined, BERT's three are torch's one, to the bit." if self._is_joined() else "They differ.",
            remedy="glassbert.to_torch_encoder and from_torch_encoder turn one into the other.",
        )

    def _norm_first(self) -> float | None:
        other = copy.deepcopy(self.twin)
        for layer in other.layers:
            cast(nn.TransformerEncoderLayer, layer).norm_first = True
        *_, end = _through(other, self.states[0], padding=~self.real)
        return self.gap(end)

    def _batch_second(self) -> float | None:
        """Return what happens to the first text, without its padding, if axes are taken for each other."""
        tokens = self.real[0]
        with _axes_swapped(self.twin):
            *_, end = _through(self.twin, self.states[0][:1, tokens])
        return finite((end - self.states[-1][:1, tokens]).abs().amax())

    def _inverted(self) -> tuple[float | None, float]:
        """Return the difference if the mask is not inverted, and the share of numbers that are none."""
        *_, end = _through(self.twin, self.states[0], padding=self.real)
        return self.gap(end), float(end[self.real].isnan().float().mean())

    def _of_padding(self, fast: bool) -> bool:
        states = self.states[0][:1]
        with _fast_path(fast):
            end = self.twin(states, src_key_padding_mask=torch.ones_like(self.real[:1]))
        return bool(end.isnan().any())

    def _is_joined(self) -> bool:
        return all(match.equal_layers == len(self.plain) for match in _matches(self.bert, self.twin) if match.bert[1:])


@contextlib.contextmanager
def _axes_swapped(twin: nn.TransformerEncoder) -> Iterator[None]:
    attentions = [cast(nn.TransformerEncoderLayer, layer).self_attn for layer in twin.layers]
    for attention in attentions:
        attention.batch_first = False
    try:
        yield
    finally:
        for attention in attentions:
            attention.batch_first = True


def _through(
    twin: nn.TransformerEncoder, states: Tensor, *, padding: Tensor | None = None, as_it_is: bool = False
) -> Iterator[Tensor]:
    """Give the states after each layer of torch's encoder, without the fast path unless it is left `as_it_is`."""
    for layer in twin.layers:
        with contextlib.nullcontext() if as_it_is else _fast_path(False):
            states = layer(states, src_key_padding_mask=padding)
        yield states


def _set_rate(module: nn.Module, rate: float) -> None:
    # A layer that somebody has taken dropout out of has an Identity there.
    if isinstance(module, nn.Dropout):
        module.p = rate


def _differentiated(
    layer: nn.Module, inputs: Tensor, output: Tensor, gradient: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the gradients of a layer's input, and of its parameters by name."""
    names, parameters = zip(*layer.named_parameters(), strict=True)
    below, *found = torch.autograd.grad(output, [inputs, *parameters], gradient)
    return below, dict(zip(names, found, strict=True))


def _share(before: Tensor, after: Tensor) -> float:
    """Return the share of numbers that were not 0 and are."""
    there = before != 0
    return float((there & (after == 0)).sum()) / max(1, int(there.sum()))


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}" if value else "0"


def _act_name(config: BertConfig) -> str:
    act = config.hidden_act
    if isinstance(act, str):
        return act
    return str(getattr(act, "__name__", type(act).__name__))


def _matches(bert: BertModel, twin: nn.TransformerEncoder) -> Iterator[Match]:
    """Give each parameter of torch's layers with those of BERT's, compared in all layers."""
    theirs = [dict(layer.named_parameters()) for layer in twin.layers]
    ours = [dict(layer.named_parameters()) for layer in bert.encoder.layer]
    for name, names in torch_names().items():
        shapes = [tuple(ours[0][one].shape) for one in names]
        ends = [sum(shape[0] for shape in shapes[: place + 1]) for place in range(len(shapes))]
        equal = [
            torch.equal(their[name], torch.cat([our[one] for one in names]))
            for their, our in zip(theirs, ours, strict=True)
        ]
        yield Match(
            torch=name,
            torch_shape=tuple(theirs[0][name].shape),
            bert=names,
            bert_shapes=tuple(shapes),
            rows=tuple((end - shape[0], end) for end, shape in zip(ends, shapes, strict=True)),
            equal_layers=sum(equal),
        )


def _outside(subject: Subject) -> dict[str, int]:
    """Count what torch's encoder has no place for."""
    bert = subject.bert
    counts = {
        "embeddings": sum(p.numel() for p in bert.embeddings.parameters()),
        "pooler": 0 if bert.pooler is None else sum(p.numel() for p in bert.pooler.parameters()),
    }
    counts["head"] = subject.model.num_parameters() - bert.num_parameters()
    return counts


def _beginnings(config: BertConfig) -> tuple[tuple[Fresh, ...], bool]:
    """Draw a fresh layer of each, and see whether the layers of torch's encoder begin alike."""
    theirs = nn.TransformerEncoderLayer(
        config.hidden_size, config.num_attention_heads, config.intermediate_size, batch_first=True
    )
    ours = BertLayer(config)
    ours.apply(lambda module: initialize_weights(module, config.initializer_range))
    drawn, mine = dict(theirs.named_parameters()), dict(ours.named_parameters())
    found = []
    for name, names in torch_names().items():
        if drawn[name].dim() == 2:
            joined = torch.cat([mine[one] for one in names])
            found.append(
                Fresh(weight=name, torch_deviation=float(drawn[name].std()), bert_deviation=float(joined.std()))
            )
    # Any layer does for this, however small.
    small = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 4, batch_first=True), 2, enable_nested_tensor=False)
    one, other = (layer.state_dict() for layer in small.layers)
    return tuple(found), all(torch.equal(one[name], other[name]) for name in one)


def _beginning_differences(fresh: Sequence[Fresh], copies: bool) -> Iterator[Difference]:
    def span(values: Sequence[float]) -> str:
        return " to ".join(dict.fromkeys(f"{one:.4f}" for one in (min(values), max(values))))

    yield Difference(
        name="fresh weights",
        torch="uniform: Xavier for in_proj_weight, as nn.Linear for the others",
        bert="normal, initializer_range; biases 0",
        effect=None,
        measured=f"Standard deviations: torch {span([one.torch_deviation for one in fresh])}, BERT "
        f"{span([one.bert_deviation for one in fresh])}.",
        remedy="To pretrain as BERT does, draw them yourself.",
    )
    yield Difference(
        name="fresh layers",
        torch="copies of the one layer that TransformerEncoder is given",
        bert="each drawn by itself",
        effect=None,
        measured="Two fresh layers of torch's are equal to the bit."
        if copies
        else "Two fresh layers of torch's differ.",
        remedy="Draw each layer again before training." if copies else "",
    )


def _elsewhere(subject: Subject) -> Iterator[Difference]:
    counts = _outside(subject)
    said = [f"{name} {count:,}" for name, count in counts.items() if count]
    yield Difference(
        name="what stands round it",
        torch="layers alone",
        bert="embeddings before them, and a pooler or a head behind",
        effect=None,
        measured=f"Numbers outside the layers of this model: {', '.join(said)}.",
        remedy="Compute them beside torch's encoder.",
    )


def _approximations() -> Iterator[Approximation]:
    at = torch.linspace(-_END, _END, _POINTS, dtype=torch.float64)
    exact = F.gelu(at)
    for name, values in (("tanh form (gelu_new)", F.gelu(at, approximate="tanh")), ("relu", F.relu(at))):
        apart = (values - exact).abs()
        place = int(apart.argmax())
        yield Approximation(name=name, largest=float(apart[place]), at=abs(float(at[place])))


def _error_curve() -> Markup:
    at = torch.linspace(0.0, 6.0, 241, dtype=torch.float64)
    apart = F.gelu(at, approximate="tanh") - F.gelu(at)
    points = list(zip(at.tolist(), apart.tolist(), strict=True))
    curve = markup.chart(
        [markup.Curve("smooth", points)], steps=6.0, title="tanh form less exact GELU, from x = 0 to 6"
    )
    return tag("div", tag("figure", curve), class_="charts", style="max-width:34rem")


# The steps of a layer, from top to bottom, as torch and as BERT name them.
_STEPS: Final = (
    ("self_attn.in_proj (query rows)", "attention.self.query"),
    ("self_attn.in_proj (key rows)", "attention.self.key"),
    ("self_attn.in_proj (value rows)", "attention.self.value"),
    ("scores, softmax, dropout", "scores, softmax, dropout"),
    ("self_attn.out_proj", "attention.output.dense"),
    ("dropout1, + input", "dropout, + input"),
    ("norm1", "attention.output.LayerNorm"),
    ("linear1", "intermediate.dense"),
    ("activation", "activation"),
    ("dropout", ""),
    ("linear2", "output.dense"),
    ("dropout2, + input", "dropout, + input"),
    ("norm2", "output.LayerNorm"),
)


def _sides(found: TorchEncoder) -> dict[str, Any]:
    """Return the rows of the drawing: both sides, and of weights what there is to say."""
    held: dict[str, list[dict[str, str]]] = {
        bert.rpartition(".")[0]: [] for match in found.matches for bert in match.bert
    }
    for match in found.matches:
        for bert, shape, (begin, end) in zip(match.bert, match.bert_shapes, match.rows, strict=True):
            held[bert.rpartition(".")[0]].append(
                {
                    "torch": match.torch + (f"[{begin}:{end}]" if len(match.bert) > 1 else ""),
                    "bert": bert,
                    "shape": shape_text(shape),
                    "equal": f"equal to the bit in {match.equal_layers} of {counted(found.layers, 'layer')}",
                }
            )
    return {"rows": [{"torch": theirs, "bert": ours, "facts": held.get(ours, [])} for theirs, ours in _STEPS]}
