"""`inspect attention`: which token looks at which, in every head, and what each head mostly looks at."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.errors import ConfigError, InputError
from glassbert.inspect.attention_page import packed
from glassbert.inspect.finding import App, Column, Finding, Lines, Part, Prose, Table, figure, headed
from glassbert.inspect.running import Batch, Model, Subject, quietly
from glassbert.model import BertModel
from glassbert.model.attention import Relative
from glassbert.model.bert import BertAttention, BertLayer, BertSelfAttention
from glassbert.model.config import PositionEmbeddingType
from glassbert.text import BertTokenizer
from glassbert.train.markup import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HeadKind = Literal["sep", "cls", "previous", "next", "same", "broad", "mixed", "pruned"]


class Sign(NamedTuple):
    """How a kind of head is shown: one character, and in words."""

    sign: str
    says: str


SIGNS: Final[dict[HeadKind, Sign]] = {
    "sep": Sign("S", "looks at [SEP]"),
    "cls": Sign("C", "looks at [CLS]"),
    "previous": Sign("←", "looks at the previous token"),
    "next": Sign("→", "looks at the next token"),
    "same": Sign("=", "looks at the token itself"),
    "broad": Sign("≈", "spreads over all tokens"),
    "mixed": Sign("·", "mixed"),
    "pruned": Sign("×", "pruned"),
}
# The kinds that are told by where the weight goes; of two equal shares the first one counts.
_SHARES: Final[tuple[HeadKind, ...]] = ("sep", "cls", "previous", "next", "same")
# A head is of a kind when at least this share of its weight goes there, on average over the queries.
_MOST: Final = 0.5
# A head is broad when its entropy is at least this share of what equal weights would have.
_BROAD: Final = 0.8

# Weights that are computed at once: 480 MB of them.
_MOST_WEIGHTS: Final = 120_000_000
# Tokens up to which --json has the weights of every head.
_WHOLE: Final = 128
# Tokens up to which a terminal shows a matrix.
_SHADED: Final = 30
_SHADES: Final = " ·░▒▓█"
_SHADES_FROM: Final = (0.02, 0.1, 0.25, 0.5, 0.75)
# Characters of a line that any terminal has.
_LINE: Final = 80
_LINKS: Final = 20
_DARKER: Final = "darker is more, by the square root of the weight"
# Pixels of a head in the picture of all heads.
_TILE: Final = 40

# Control characters, and those that turn the direction of a whole line, do no harm as pictures.
_PICTURES: Final = {code: 0x2400 + code for code in range(32)} | dict.fromkeys(
    (*range(127, 160), *range(8234, 8239), *range(8294, 8298)), 65533
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadShares:
    """Where a head looks: shares of its weight, each the mean over all queries that can look there.

    A token may count twice: [SEP] may be the next token as well. `rest` is what goes to none of them.

    Attributes:
        layer: from 0.
        head: from 0, counted as in the whole layer, whatever was pruned.
        kind: the largest share, where it is at least 0.5; else "broad", where the entropy is at least 0.8 of that of
            equal weights; else "mixed". "pruned" for a head that is gone, of which all numbers are None.
        score: that share; of broad heads the share of the entropy, of mixed ones the largest share.
        sep: to all [SEP] together.
        cls: to [CLS].
        previous: to the token before.
        next: to the token after.
        same: to the token itself.
        rest: to all others.
        entropy: of the weights of a query, in nats.
    """

    layer: int
    head: int
    kind: HeadKind
    score: float | None = None
    sep: float | None = None
    cls: float | None = None
    previous: float | None = None
    next: float | None = None
    same: float | None = None
    rest: float | None = None
    entropy: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Attention(Finding):
    """The attention weights of every layer and head on a text, from a real run.

    Letters: L layers, A heads as in a whole layer, S tokens, D head size. Layers, heads and tokens are counted from 0.

    Attributes:
        name: of the model.
        tokens: S tokens.
        segments: S numbers: 0 at tokens of the text, 1 at those of its pair.
        special: S values: true at [CLS] and [SEP].
        heads: L · A scores, layer by layer.
        weights: (L, A, S, S) float32: of each query (the row) to each key; rows sum to 1. Zeros where a head is gone.
        queries: (L, A, S, D) float32.
        keys: (L, A, S, D) float32.
        positions: "absolute", or how distances enter the scores.
        distances: (L, 2S - 1, D) float32: the vectors of the distances -(S - 1) to S - 1, how far a query stands after
            a key; None where positions are absolute.
        causal: whether a token sees none after it.
        crossed: whether the layers also have attention to an encoder's states, which was not run.
        layer: the layer that is looked at closer; None for none.
        head: and the head of it.
    """

    asks: ClassVar[str] = "Which token looks at which, and what does each head mostly look at?"

    name: str
    tokens: tuple[str, ...]
    segments: tuple[int, ...]
    special: tuple[bool, ...]
    heads: tuple[HeadShares, ...]
    weights: Tensor
    queries: Tensor
    keys: Tensor
    positions: PositionEmbeddingType
    distances: Tensor | None
    causal: bool
    crossed: bool
    layer: int | None = None
    head: int | None = None

    @property
    def title(self) -> str:
        """Name the model and the sizes."""
        layers, heads = self.weights.shape[:2]
        return f"{self.name}: attention of {layers} × {heads} heads on {len(self.tokens)} tokens"

    @property
    def is_pair(self) -> bool:
        """Whether there are two texts."""
        return 1 in self.segments

    def of(self, layer: int, head: int) -> HeadShares:
        """Return the scores of a head."""
        return self.heads[layer * self.weights.shape[1] + head]

    def added(self, layer: int, head: int) -> Tensor | None:
        """Return what distances add to the products of queries and keys, (S, S); None where positions are absolute."""
        if self.distances is None:
            return None
        at = torch.arange(len(self.tokens))
        relative = Relative(self.distances[layer], self.positions == "relative_key_query")
        query, key = self.queries[layer, head][None, None], self.keys[layer, head][None, None]  # (1, 1, S, D)
        return relative.scores(query, key, (at[:, None] - at)[None, None], len(at) - 1)[0, 0]

    def scores(self, layer: int, head: int) -> Tensor:
        """Return what goes into the softmax, (S, S): (q·k + what distances add) / √D; -inf where a key is not seen."""
        query, key = self.queries[layer, head], self.keys[layer, head]
        products = query @ key.T
        added = self.added(layer, head)
        scores = (products if added is None else products + added) / math.sqrt(query.shape[-1])
        if self.causal:
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
        return scores

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, numbers rounded to 6 decimals.

        Weights of all heads are there up to 128 tokens, else None. At any length those of the chosen head are there
        under `chosen`, with its queries, its keys and what they come to.
        """
        # What is large is left out before it would become a list.
        names = [one.name for one in dataclasses.fields(self) if one.name not in _LARGE]
        found: dict[str, Any] = {name: _plain(getattr(self, name)) for name in names}
        found["weights"] = _rounded(self.weights) if len(self.tokens) <= _WHOLE else None
        found["chosen"] = None
        if self.layer is not None and self.head is not None:
            place = self.layer, self.head
            added = self.added(*place)
            found["chosen"] = {
                "weights": _rounded(self.weights[place]),
                "queries": _rounded(self.queries[place]),
                "keys": _rounded(self.keys[place]),
                "products": _rounded(self.queries[place] @ self.keys[place].T),
                "added_by_distances": None if added is None else _rounded(added),
            }
        return found

    def parts(self) -> Iterable[Part]:
        """Give the views, the kinds of heads, the strongest of each, and what was chosen."""
        yield _Views("Attention", "attention", self, _HOW)
        yield Lines("Kinds of heads", list(_grid(self)), "Rows are layers and columns are heads, both counted from 0.")
        yield Prose("", [_LEGEND])
        yield Table(
            "The strongest heads of each kind",
            (Column("kind", "code"), Column("layer, head and share")),
            list(_strongest(self)),
            "The mean share of the weight that goes there, whatever kind the head is counted as.",
        )
        if self.layer is not None:
            yield self._layer_table(self.layer)
        if self.layer is not None and self.head is not None:
            yield from self._head_parts(self.layer, self.head)
        yield Prose("How to read it", list(_reading(self)))

    def plot(self) -> Figure:
        """Draw the matrices of all heads side by side, or that of the chosen head; darker is more."""
        if self.layer is not None and self.head is not None:
            return self._plot_head(self.layer, self.head)
        layers, heads = self.weights.shape[:2]
        across = max(4.5, 1.2 + 0.5 * heads)
        drawn = figure(across, 1.1 + (across - 1.2) * layers / heads)
        axes = drawn.add_subplot()
        side, gap = min(len(self.tokens), _TILE), max(1, min(len(self.tokens), _TILE) // 8)
        tiles = F.adaptive_max_pool2d(self.weights.sqrt(), side)  # (L, A, side, side)
        gone = torch.tensor([one.kind == "pruned" for one in self.heads]).view(layers, heads)
        tiles[gone] = math.nan  # is drawn grey
        # A frame of nothing round each, then all of a layer side by side, and the layers below each other.
        framed = F.pad(tiles, (0, gap, 0, gap), value=-1.0)
        picture = framed.permute(0, 2, 1, 3).flatten(2, 3).flatten(0, 1)  # (L · side', A · side')
        _shaded(axes, picture)
        for numbered, count, every in ((axes.xaxis, heads, heads // 24), (axes.yaxis, layers, layers // 48)):
            shown = range(0, count, max(1, every))
            numbered.set_ticks([(side + gap) * one + side / 2 - 0.5 for one in shown], [str(one) for one in shown])
        axes.set(xlabel="head", ylabel="layer")
        headed(drawn, f"{self.title}\n{_DARKER}")
        return drawn

    def _plot_head(self, layer: int, head: int) -> Figure:
        count = len(self.tokens)
        side = min(14.0, max(4.0, 1.8 + 0.24 * count))
        drawn = figure(side + 0.6, side)
        axes = drawn.add_subplot()
        _shaded(axes, self.weights[layer, head].sqrt())
        every = max(1, count // 60)
        shown = range(0, count, every)
        names = [_plotted(self.tokens[place][:24]) for place in shown]
        axes.set_xticks(shown, names, rotation=90, fontsize=7)
        axes.set_yticks(shown, names, fontsize=7)
        axes.set(xlabel="key", ylabel="query")
        told = _told(self.of(layer, head))
        headed(drawn, f"{self.name}: layer {layer}, head {head}: {told}\n{_DARKER}")
        return drawn

    def _layer_table(self, layer: int) -> Table:
        heads = self.weights.shape[1]
        shares = [Column(name, "share") for name in ("[SEP]", "[CLS]", "previous", "next", "same", "rest")]
        rows = []
        for one in self.heads[layer * heads : (layer + 1) * heads]:
            numbers = (one.sep, one.cls, one.previous, one.next, one.same, one.rest, one.entropy)
            rows.append((one.head, SIGNS[one.kind].says, *numbers))
        return Table(
            f"Layer {layer}",
            (Column("head", "number"), Column("kind"), *shares, Column("entropy, nats", "number", ".2f")),
            rows,
            "Mean shares of the weight, over all queries that can look there.",
        )

    def _head_parts(self, layer: int, head: int) -> Iterable[Part]:
        weights = self.weights[layer, head]
        count = len(self.tokens)
        title = f"Layer {layer}, head {head}: {_told(self.of(layer, head))}"
        if count <= _SHADED:
            at = ", ".join(f"{sign} from {low:g}" for sign, low in zip(_SHADES[1:], _SHADES_FROM, strict=True))
            lines = list(_matrix(weights, self.tokens))
            yield Lines(title, lines, f"Rows are queries, columns are keys by number (last digit). {at}.")
        named = [f"{place} {_seen(token)}" for place, token in enumerate(self.tokens)]
        top = weights.flatten().topk(min(_LINKS, count * count))
        rows = [
            (named[place // count], named[place % count], value)
            for place, value in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        columns = (Column("query"), Column("key"), Column("weight", "share", ".3f"))
        yield Table(f"The strongest links of layer {layer}, head {head}", columns, rows)


_HOW: Final = (
    "Choose a head by a click, or with the arrow keys and Enter. The frame of a head has the colour of its kind. "
    "Layers, heads and tokens are counted from 0."
)
_LARGE: Final = ("weights", "queries", "keys", "distances")
_LEGEND: Final = (
    ", ".join(f"{one.sign} {one.says}" for one in SIGNS.values())
    + ". Beside the sign its share in percent: of the weight, averaged over the queries (of ≈ the share of the entropy "
    "that equal weights would have). A head is of a kind from 50% on, and broad from 80%; after Clark et al. 2019, "
    "arXiv 1906.04341."
)


class _Views(App):
    """The views of a page, whose data is packed when a page is written: that takes seconds for many heads."""

    def html(self) -> Markup:
        """Return the place where the program draws, and its data."""
        return App(self.title, self.name, packed(self.data, SIGNS), self.about).html()


def attention(
    model: Model,
    text: str,
    pair: str | None = None,
    *,
    layer: int | None = None,
    head: int | None = None,
    tokenizer: BertTokenizer | None = None,
    kind: str | None = None,
) -> Attention:
    """Run a model on a text and keep the attention weights of all heads, with their queries and keys.

    The scores of heads follow section 3 of Clark et al. 2019, arXiv 1906.04341.

    Args:
        model: a model, its folder, or its name on the hub.
        text: may be empty.
        pair: the second text of a pair.
        layer: one to look at closer, from 0.
        head: of that layer, from 0, counted as in the whole layer, whatever was pruned.
        tokenizer: of the model, where that of the folder is not meant.
        kind: name of the class to load a folder as; None takes what the folder says.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: there is no such layer or head, or it was pruned; or layers were replaced by other modules.
        InputError: a text that is too long, no tokenizer, or damaged weights.
    """
    for which, given in (("text", text), ("pair", pair)):
        if not isinstance(given, str) and (which == "text" or given is not None):
            raise InputError(f"{which} is of type {type(given).__name__}, expected a string")
    subject = Subject.of(model, tokenizer, kind=kind)
    bert = subject.bert
    layers = [_self_attention(place, one) for place, one in enumerate(bert.encoder.layer)]
    if not layers:
        raise ConfigError(f"{subject.name} has no layers, so it has no attention to show; expected one or more")
    gone = bert.pruned_heads()
    _check_chosen(bert.config.num_attention_heads, len(layers), gone, layer, head)
    words = subject.words()
    batch = subject.encode([text], None if pair is None else [pair])
    ids = batch.input_ids[0].tolist()
    numbers = len(layers) * bert.config.num_attention_heads * len(ids) ** 2
    if numbers > _MOST_WEIGHTS:
        most = math.isqrt(_MOST_WEIGHTS // (numbers // len(ids) ** 2))
        raise InputError(f"the text has {len(ids)} tokens, at most {most} are shown of this model; give a shorter one")
    weights, queries, keys = _run(subject, bert, layers, batch)
    seps = torch.tensor([one == words.sep_token_id for one in ids])
    firsts = torch.tensor([one == words.cls_token_id for one in ids])
    causal = bert.config.is_decoder
    tables = [relative.table for one in layers if (relative := one.relative()) is not None]
    reach = len(ids) - 1
    return Attention(
        name=subject.name,
        tokens=batch.tokens[0],
        segments=tuple(batch.token_type_ids[0].tolist()),
        special=tuple((seps | firsts).tolist()),
        heads=tuple(_scored(weights, seps, firsts, gone, causal=causal)),
        weights=weights,
        queries=queries,
        keys=keys,
        positions=bert.config.position_embedding_type,
        distances=torch.stack([_near(table, reach) for table in tables]) if tables else None,
        causal=causal,
        crossed=bert.config.add_cross_attention,
        layer=layer,
        head=head,
    )


def _self_attention(place: int, layer: torch.nn.Module) -> BertSelfAttention:
    attention = layer.attention if isinstance(layer, BertLayer) else layer
    if isinstance(attention, BertAttention) and isinstance(attention.self, BertSelfAttention):
        return attention.self
    raise ConfigError(
        f"encoder.layer.{place} is a {type(layer).__name__} without BERT's own attention; only that is looked into"
    )


def _near(table: Tensor, reach: int) -> Tensor:
    """Return the vectors of distances up to `reach`, (2 · reach + 1, D)."""
    middle = table.shape[0] // 2
    return table[middle - reach : middle + reach + 1].detach().float().cpu().clone()


def _check_chosen(heads: int, layers: int, gone: dict[int, list[int]], layer: int | None, head: int | None) -> None:
    if layer is None:
        if head is not None:
            raise ConfigError(f"head is {head}, but of which layer? give layer too, from 0 to {layers - 1}")
        return
    if type(layer) is not int or not 0 <= layer < layers:
        raise ConfigError(f"layer is {layer!r}, expected 0 to {layers - 1}: layers are counted from 0")
    left = [one for one in range(heads) if one not in gone.get(layer, ())]
    if head is not None and (type(head) is not int or head not in left):
        pruned = type(head) is int and 0 <= head < heads
        which = ", ".join(map(str, left)) if len(left) < heads else f"0 to {heads - 1}"
        found = f"head {head} of layer {layer} was pruned" if pruned else f"head is {head!r}"
        raise ConfigError(f"{found}, expected one that layer {layer} has: {which}; heads are counted from 0")


def _run(
    subject: Subject, bert: BertModel, layers: Sequence[BertSelfAttention], batch: Batch
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the model once; return weights (L, A, S, S), queries and keys (L, A, S, D) of whole layers."""
    vectors: dict[str, list[Tensor]] = {"query": [], "key": []}
    with quietly(bert) as stack:
        for one in layers:
            for name, kept in vectors.items():

                def keep(module: object, inputs: object, output: Tensor, kept: list[Tensor] = kept) -> None:
                    kept.append(output)

                handle = one.get_submodule(name).register_forward_hook(keep)
                stack.callback(handle.remove)
        output = bert(**batch.arguments(), output_attentions=True, use_cache=False, return_dict=True)
    gone = bert.pruned_heads()
    heads = bert.config.num_attention_heads
    left = [[one for one in range(heads) if one not in gone.get(place, ())] for place in range(len(layers))]
    length = batch.input_ids.shape[1]
    size = layers[0].attention_head_size
    weights = torch.zeros(len(layers), heads, length, length)
    both = torch.zeros(2, len(layers), heads, length, size)
    for place, own in enumerate(left):
        weights[place, own] = output.attentions[place][0].float().cpu()
        for number, kept in enumerate(vectors.values()):
            # (1, S, A·D) -> (A, S, D)
            both[number, place, own] = kept[place][0].float().cpu().unflatten(-1, (-1, size)).transpose(0, 1)
        subject.check_finite(f"the attention weights of layer {place}", weights[place, own])
    return weights, both[0], both[1]


def _scored(
    weights: Tensor, seps: Tensor, firsts: Tensor, gone: dict[int, list[int]], *, causal: bool
) -> Iterable[HeadShares]:
    """Give the scores of all heads.

    Args:
        weights: (L, A, S, S).
        seps: (S,) bool, true at [SEP].
        firsts: (S,) bool, true at [CLS].
        gone: heads that were pruned, by layer.
        causal: a query sees no key after it.
    """
    layers, heads, length, _ = weights.shape

    def beside(step: int) -> Tensor:
        """Return the mean weight to the token so many places away, (L, A); 0 where there is none."""
        found = weights.diagonal(step, 2, 3)
        return found.mean(-1) if found.shape[-1] else torch.zeros(layers, heads)

    named = seps | firsts | torch.eye(length, dtype=torch.bool)
    for step in (-1, 1):
        named = named | torch.ones(length, length, dtype=torch.bool).triu(step).tril(step)
    entropy = -torch.special.xlogy(weights, weights).sum(-1).mean(-1)
    seen = torch.arange(1.0, length + 1.0) if causal else torch.full((length,), float(length))
    equal = float(seen.log().mean())
    # A query of a decoder sees the [SEP] before it and its own.
    looking = seps.cumsum(0) > 0 if causal and bool(seps.any()) else torch.ones(length, dtype=torch.bool)
    shares = {
        "sep": weights[..., seps].sum(-1)[..., looking].mean(-1),
        "cls": weights[..., firsts].sum(-1).mean(-1),
        "previous": beside(-1),
        "next": beside(1),
        "same": beside(0),
        "rest": (weights * ~named).sum(-1).mean(-1),
        "entropy": entropy,
    }
    for layer in range(layers):
        for head in range(heads):
            if head in gone.get(layer, ()):
                yield HeadShares(layer=layer, head=head, kind="pruned")
                continue
            here = {name: float(values[layer, head]) for name, values in shares.items()}
            kind: HeadKind = max(_SHARES, key=lambda name: here[name])
            score, spread = here[kind], here["entropy"] / equal if equal else 0.0
            if score < _MOST:
                kind, score = ("broad", spread) if spread >= _BROAD else ("mixed", score)
            yield HeadShares(layer=layer, head=head, kind=kind, score=score, **here)


def _told(scores: HeadShares) -> str:
    """Say what a head looks at, and how much."""
    return SIGNS[scores.kind].says + ("" if scores.kind in ("mixed", "pruned") else f" ({scores.score:.2f})")


def _grid(found: Attention) -> Iterable[str]:
    layers, heads = found.weights.shape[:2]
    cells = [SIGNS[one.kind].sign + ("" if one.score is None else f"{100 * one.score:.0f}") for one in found.heads]
    wide = max(map(len, cells)) + 1
    side = max(5, len(str(layers)))
    blocks = math.ceil(heads * wide / (_LINE - side))
    each = math.ceil(heads / blocks)
    for first in range(0, heads, each):
        columns = range(first, min(heads, first + each))
        if first:
            yield ""
        yield f"{'':<{side}}" + "".join(f"{head:>{wide}}" for head in columns)
        for layer in range(layers):
            yield f"{layer:>{side}}" + "".join(f"{cells[layer * heads + head]:>{wide}}" for head in columns)


def _strongest(found: Attention) -> Iterable[tuple[str, str]]:
    there = [one for one in found.heads if one.kind != "pruned"]
    for kind in _SHARES:
        best = sorted(there, key=lambda one: -getattr(one, kind))[:4]
        yield (
            f"{SIGNS[kind].sign} {kind}",
            ", ".join(f"L{one.layer} H{one.head} {getattr(one, kind):.2f}" for one in best),
        )


def _matrix(weights: Tensor, tokens: Sequence[str]) -> Iterable[str]:
    # Tokens stand at the end of a line, where wide characters and those from right to left move nothing.
    side = len(str(len(tokens) - 1))
    yield " " * side + " " + "".join(f"{place % 10:>2}" for place in range(len(tokens)))
    for place, (row, token) in enumerate(zip(weights.tolist(), tokens, strict=True)):
        cells = "".join(_SHADES[sum(weight >= low for low in _SHADES_FROM)] * 2 for weight in row)
        yield f"{place:>{side}} {cells}  {_seen(token)}"


def _seen(token: str) -> str:
    return token.translate(_PICTURES)


def _plotted(text: str) -> str:
    """Return a text that matplotlib takes for no formula."""
    return _seen(text).replace("$", "\\$")


def _reading(found: Attention) -> Iterable[str]:
    terms = {"absolute": "q·k", "relative_key": "(q·k + q·r)", "relative_key_query": "(q·k + q·r + k·r)"}
    formula = f"A weight is softmax({terms[found.positions]} / √{found.queries.shape[-1]}) over the keys"
    distance = "; r is the vector of the distance between the two tokens" if found.distances is not None else ""
    yield f"{formula}, so each row sums to 1{distance}."
    if found.causal:
        yield "The model is a decoder: a token sees itself and those before it, so the weights after it are 0."
    if found.crossed:
        yield "Its attention to an encoder's states was not run, since there is no encoder: this is its self-attention."
    yield "A weight says where a head reads, not whether what it reads matters for the answer."


def _plain(value: object) -> object:
    if isinstance(value, HeadShares):
        return {name: round(one, 6) if isinstance(one, float) else one for name, one in vars(value).items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value


def _rounded(values: Tensor) -> object:
    """Return numbers with 6 decimals, as lists."""
    return ((values.double() * 1e6).round() / 1e6).tolist()


def _shaded(axes: Axes, values: Tensor) -> None:
    """Draw numbers from 0 to 1 as blues; below 0 nothing, and no number as grey."""
    from matplotlib import colormaps

    colours = colormaps["Blues"].with_extremes(under="white", bad="#dddddd")
    axes.imshow(values.numpy(), cmap=colours, vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
