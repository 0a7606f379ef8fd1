"""`inspect heads`: which numbers of a layer's weights belong to which head, and the proof by computing each alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glassbert.errors import ConfigError
from glassbert.inspect.finding import Column, Drawing, Finding, Lines, Part, Prose, Table, figure, headed
from glassbert.inspect.running import Batch, Model, Subject, heads_there, layers_of, quietly
from glassbert.model import BertModel
from glassbert.model.attention import ATTENTION
from glassbert.model.bert import Attended, BertAttention
from glassbert.model.layout import Padded
from glassbert.text import BertTokenizer
from glassbert.train.markup import Markup, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What is run where no text is given.
_TEXT: Final = "Where are the heads? All in one weight, one under the other."
_PROJECTIONS: Final = ("query", "key", "value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """Where a head is, and how far it is from itself when it is computed alone.

    Attributes:
        layer: from 0.
        head: from 0, counted as in the whole layer, also where others are cut out.
        rows: first and last row of the weights (A·D, H) and biases of query, key and value that make it.
        columns: first and last column of the weight (H, A·D) of `attention.output.dense` that read it.
        difference: largest difference of its context (B, S, D) computed from these rows alone to what the layer, which
            computes all at once, had in the run.
        share: of the squares of what all heads of the layer add to its output in the run.
    """

    layer: int
    head: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    difference: float
    share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reassembly:
    """A layer's heads put together again.

    Attributes:
        layer: from 0.
        pruned: heads that are cut out.
        difference: largest difference of the sum over heads of what each adds, with the bias, to the output (B, S, H)
            of `attention.output.dense` in the run.
        exact: the same in float64, where nothing is rounded that one could see.
        largest: number of that output, by its size: what the differences are to be held against.
    """

    layer: int
    pruned: tuple[int, ...]
    difference: float
    exact: float
    largest: float

    @property
    def relative(self) -> float:
        """The difference as a share of the largest number."""
        return self.difference / self.largest if self.largest else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Heads(Finding):
    """The heads of a model.

    Attributes:
        name: of the model.
        width: H.
        head_size: D.
        tokens: of the text that was run.
        heads: all that are there, layer by layer.
        layers: one for each layer.
        relative: whether distances between tokens add to the scores.
        shown: the layer whose heads are listed where not all are.
    """

    asks: ClassVar[str] = "The printed module shows one weight for the queries: where are the heads?"

    name: str
    width: int
    head_size: int
    tokens: int
    heads: tuple[Head, ...]
    layers: tuple[Reassembly, ...]
    relative: bool
    shown: int

    @property
    def title(self) -> str:
        """Say how many heads there are in how many layers."""
        counts = sorted({len(self.of_layer(one.layer)) for one in self.layers})
        each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        what = "head" if counts == [1] else "heads"
        where = "1 layer" if len(self.layers) == 1 else f"each of {len(self.layers)} layers"
        return f"{self.name}: {each} {what} of {self.head_size} in {where}"

    def of_layer(self, layer: int) -> list[Head]:
        """Return the heads of a layer."""
        return [one for one in self.heads if one.layer == layer]

    def parts(self) -> Iterable[Part]:
        """Give the places, the proof, and how one head is computed by hand."""
        count = len(self.of_layer(self.shown))
        rows = count * self.head_size
        bands = f"{count} heads of {self.head_size} rows, one under the other" if count > 1 else "those of its one head"
        yield Prose(
            "Where they are",
            [
                f"Layer {self.shown} has one weight of {rows} × {self.width} for the queries of all its heads, one for "
                f"the keys and one for the values. Its {rows} rows are {bands}; "
                "multiplied at once they are the same as one after the other, and faster. The weight "
                f"of attention.output.dense, {self.width} × {rows}, reads each head with columns of its own."
            ],
        )
        yield Drawing("As blocks", self._blocks(), "The same colour is the same head.")
        yield Table(
            f"The heads of layer {self.shown}",
            (
                Column("head", "number"),
                Column("rows of query, key, value", "code"),
                Column("columns of output.dense", "code"),
                Column("alone, difference", "number", ".1e"),
                Column("share of the output", "share"),
            ),
            [
                (one.head, _span(one.rows), _span(one.columns), one.difference, one.share)
                for one in self.of_layer(self.shown)
            ],
            "Each head was computed from its rows alone; the difference is the largest to what it was in the layer.",
        )
        yield Table(
            "All heads put together again",
            (
                Column("layer", "number"),
                Column("heads", "number"),
                Column("cut out", "code"),
                Column("largest difference", "number", ".1e"),
                Column("of the largest number", "number", ".1e"),
                Column("in float64", "number", ".1e"),
            ),
            [
                (
                    one.layer,
                    len(self.of_layer(one.layer)),
                    ", ".join(map(str, one.pruned)) or "none",
                    one.difference,
                    one.relative,
                    one.exact,
                )
                for one in self.layers
            ],
            "The sum of what each head adds, and the bias, beside the output of attention.output.dense in a run of "
            f"{self.tokens} tokens.",
        )
        said = f"x is the layer's input (S, {self.width}), without padding"
        said += "; relative positions add to the scores before the softmax." if self.relative else "."
        yield Lines("One head by hand", list(self._program()), said)

    def plot(self) -> Figure:
        """Draw the share of each head in its layer's output, layers × heads."""
        most = 1 + max(one.head for one in self.heads)
        drawn = figure(max(5.5, 1.6 + 0.42 * most), max(2.6, 1.2 + 0.36 * len(self.layers)))
        axes = drawn.add_subplot()
        shares = [[float("nan")] * most for _ in self.layers]
        for one in self.heads:
            shares[one.layer][one.head] = one.share
        image = axes.imshow(shares, cmap="Blues", vmin=0.0, aspect="auto")
        axes.set_xticks(range(most))
        axes.set_yticks(range(len(self.layers)))
        axes.set(xlabel="head", ylabel="layer")
        drawn.colorbar(image, label="share of the layer's output")
        headed(drawn, self.title)
        return drawn

    def _program(self) -> Iterator[str]:
        one = self.of_layer(self.shown)[-1]
        first, last = one.rows
        yield f"attention = model.base_model.encoder.layer[{one.layer}].attention"
        yield f"rows = slice({first}, {last + 1})  # head {one.head}"
        for letter, name in zip("qkv", _PROJECTIONS):
            yield f"{letter} = x @ attention.self.{name}.weight[rows].T + attention.self.{name}.bias[rows]"
        yield f"weights = (q @ k.transpose(-1, -2) / {self.head_size} ** 0.5).softmax(dim=-1)"
        yield "context = weights @ v"
        yield "adds = context @ attention.output.dense.weight[:, rows].T"

    def _blocks(self) -> Markup:
        """Draw query, key and value as bands of rows, and the output's weight as bands of columns."""
        found = self.of_layer(self.shown)
        count, side, gap = len(found), 132.0, 26.0
        parts: list[Markup] = []
        for place, name in enumerate((*_PROJECTIONS, "output.dense")):
            left = place * (side + gap)
            of_rows = place < len(_PROJECTIONS)
            parts.append(tag("text", name, x=left + side / 2, y=14, text_anchor="middle", class_="in"))
            for number, one in enumerate(found):
                begin, size = number * side / count, side / count
                x, y = (left, 24 + begin) if of_rows else (left + begin, 24)
                wide, high = (side, size) if of_rows else (size, side)
                colour = f"hsl({360 * number / count:.0f} 45% 50%)"
                what = f"rows {_span(one.rows)}" if of_rows else f"columns {_span(one.columns)}"
                said = tag("title", f"head {one.head}: {what}")
                parts.append(
                    tag(
                        "rect",
                        said,
                        x=f"{x:.1f}",
                        y=f"{y:.1f}",
                        width=f"{wide:.1f}",
                        height=f"{high:.1f}",
                        style=f"fill:{colour}",
                        class_="head",
                    )
                )
                if size >= (10 if of_rows else 14):
                    middle = (left + side / 2, 24 + begin + size / 2 + 4)
                    at = middle if of_rows else (left + begin + size / 2, 24 + side / 2 + 4)
                    label = tag("text", str(one.head), x=f"{at[0]:.1f}", y=f"{at[1]:.1f}", class_="onhead")
                    parts.append(label)
        title = tag("title", "The weights of a layer as bands, one for each head")
        width = 4 * side + 3 * gap
        style = f"max-width:{width:.0f}px"
        return tag("svg", title, *parts, viewBox=f"0 0 {width:.0f} {24 + side:.0f}", role="img", style=style)


def heads(
    model: Model,
    text: str | None = None,
    *,
    layer: int = 0,
    tokenizer: BertTokenizer | None = None,
    kind: str | None = None,
) -> Heads:
    """Find each head's rows and columns, compute it alone, and put all together again.

    Args:
        model: a model, its folder, or its name on the hub.
        text: what is run; None takes a sentence, or random tokens where there is no tokenizer.
        layer: whose heads are listed where not all are; a negative one counts from the last.
        tokenizer: of the model, where that of the folder is not meant.
        kind: name of the class to load a folder as; None takes what the folder says.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: there is no such layer.
        InputError: a text that is longer than the model takes, or a text without a tokenizer.
    """
    subject = Subject.of(model, tokenizer, kind=kind)
    bert = subject.bert
    attentions = [one.attention for one in layers_of(bert)]
    count = len(attentions)
    if type(layer) is not int or not -count <= layer < count:
        raise ConfigError(f"layer is {layer!r}, expected 0 to {count - 1}")
    batch = subject.sample([_TEXT]) if text is None else subject.encode([text])
    found: list[Head] = []
    layers: list[Reassembly] = []
    for number, seen in enumerate(_observed(bert, batch)):
        alone, whole = _taken_apart(number, seen)
        found += alone
        layers.append(whole)
    return Heads(
        name=subject.name,
        width=bert.config.hidden_size,
        head_size=attentions[0].self.attention_head_size,
        tokens=int(batch.attention_mask.sum()),
        heads=tuple(found),
        layers=tuple(layers),
        relative=attentions[0].self.relative() is not None,
        shown=layer % count,
    )


def _span(places: tuple[int, int]) -> str:
    return f"{places[0]}–{places[1]}"


@dataclasses.dataclass(kw_only=True)
class _Seen:
    """What went through a layer's attention in a run."""

    attention: BertAttention
    given: Tensor  # (B, S, H)
    layout: Padded
    context: Tensor  # (B, S, A·D)
    output: Tensor  # (B, S, H), of the dense projection


def _observed(bert: BertModel, batch: Batch) -> list[_Seen]:
    """Run a batch with eager attention, padded, and keep what each layer's attention reads and gives."""
    inputs: dict[int, tuple[Tensor, Padded]] = {}
    contexts: dict[int, Tensor] = {}
    outputs: dict[int, Tensor] = {}
    with quietly(bert) as stack:
        for number, layer in enumerate(layers_of(bert)):

            def before(module: nn.Module, args: tuple[Any, ...], number: int = number) -> None:
                inputs[number] = (args[0], args[1])

            def after(module: nn.Module, args: Any, output: Attended, number: int = number) -> None:
                contexts[number] = output.hidden

            def dense(module: nn.Module, args: Any, output: Tensor, number: int = number) -> None:
                outputs[number] = output

            attention = layer.attention
            stack.callback(attention.self.register_forward_pre_hook(before).remove)
            stack.callback(attention.self.register_forward_hook(after).remove)
            stack.callback(attention.output.dense.register_forward_hook(dense).remove)
        bert(**batch.arguments(), output_attentions=True)
    return [
        _Seen(
            attention=layer.attention,
            given=inputs[number][0],
            layout=inputs[number][1],
            context=contexts[number],
            output=outputs[number],
        )
        for number, layer in enumerate(layers_of(bert))
    ]


@torch.no_grad()
def _taken_apart(layer: int, seen: _Seen) -> tuple[list[Head], Reassembly]:
    """Compute each head of a layer from its own rows and columns, and add them up."""
    attention = seen.attention
    size = attention.self.attention_head_size
    there = heads_there(attention)
    rows = [slice(place * size, (place + 1) * size) for place in range(len(there))]
    # Narrow floats are computed in float32, so that the difference to the run shows how they round.
    wide = torch.promote_types(attention.output.dense.weight.dtype, torch.float32)
    contexts = [_context_alone(seen, one, wide) for one in rows]
    added = _added(contexts, rows, attention)
    squares = torch.stack([one.square().sum() for one in added])
    shares = (squares / squares.sum().clamp(min=torch.finfo(squares.dtype).tiny)).tolist()
    differences = [
        float((context - seen.context[..., one].to(wide)).abs().max())
        for context, one in zip(contexts, rows, strict=True)
    ]
    found = [
        Head(
            layer=layer,
            head=head,
            rows=(one.start, one.stop - 1),
            columns=(one.start, one.stop - 1),
            difference=difference,
            share=share,
        )
        for head, one, difference, share in zip(there, rows, differences, shares, strict=True)
    ]
    dense = attention.output.dense
    whole = sum(added, dense.bias.to(wide))
    exactly = _added([_context_alone(seen, one, torch.float64) for one in rows], rows, attention)
    at_once = _context_alone(seen, slice(0, len(there) * size), torch.float64, heads=len(there))
    return found, Reassembly(
        layer=layer,
        pruned=tuple(sorted(attention.pruned_heads)),
        difference=float((whole - seen.output.to(wide)).abs().max()),
        exact=float((sum(exactly) - F.linear(at_once, dense.weight.double())).abs().max()),
        largest=float(seen.output.abs().max()),
    )


def _added(contexts: Sequence[Tensor], rows: Sequence[slice], attention: BertAttention) -> list[Tensor]:
    """Return what each head adds to the output of the dense projection, (B, S, H)."""
    weight = attention.output.dense.weight
    return [F.linear(context, weight[:, one].to(context.dtype)) for context, one in zip(contexts, rows, strict=True)]


def _context_alone(seen: _Seen, rows: slice, dtype: torch.dtype, *, heads: int = 1) -> Tensor:
    """Compute the contexts (B, S, heads·D) of the heads that some rows make, as if there were no others."""
    attention = seen.attention.self
    given = seen.given.to(dtype)
    split = []
    for name in _PROJECTIONS:
        linear = attention.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        states = F.linear(given, linear.weight[rows].to(dtype), linear.bias[rows].to(dtype))
        split.append(states.unflatten(-1, (heads, -1)))  # (B, S, heads·D) -> (B, S, heads, D)
    relative = attention.relative()
    if relative is not None:
        relative = relative._replace(table=relative.table.to(dtype))
    context, _ = ATTENTION["eager"](split[0], split[1], split[2], seen.layout, dropout=0.0, relative=relative)
    return context.flatten(-2)
