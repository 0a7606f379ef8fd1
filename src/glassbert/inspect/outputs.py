"""`inspect outputs`: what BERT returns, measured: its vectors, what they are made of, and how alike they are."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.errors import InputError
from glassbert.infer.progress import with_bar
from glassbert.inspect.finding import Column, Drawing, Finding, Part, Prose, Table, figure, headed
from glassbert.inspect.running import Batch, Model, Subject, quietly
from glassbert.model import BertConfig, BertModel
from glassbert.model.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from glassbert.model.sentence import pool
from glassbert.tasks.task import counted
from glassbert.text import BertTokenizer
from glassbert.train.markup import Dot, Markup, scatter, tag
from glassbert.train.plots import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Numbers of states and weights that one call may give.
_AT_ONCE: Final = 1 << 25
# Tokens of the first text whose vectors are listed, and numbers of each that are.
_TOKENS: Final = 24
_NUMBERS: Final = 3
# Up to this two computations of one number are the same but for rounding: in float32 and more, and in 16 bits.
_ROUNDING: Final = 1e-4
_ROUNDING_16: Final = 0.05

# Takes the places of some texts; their L + 1 states (B, S, H) and the pooler's vectors (B, H), if there is one; and
# which tokens (B, S) are real.
See = Callable[[Sequence[int], Sequence[Tensor], Tensor | None, Tensor], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """One of the values that BERT returns.

    Attributes:
        name: of it.
        meaning: what it holds, in a sentence.
        letters: its shape, in letters.
        shapes: of its tensors, from the run's last batch: one, or one a layer.
        dtype: of its numbers.
        mean, std, low, high: of its numbers at real tokens.
        norm: mean length of its vectors; None where it holds none.
    """

    name: str
    meaning: str
    letters: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    mean: float
    std: float
    low: float
    high: float
    norm: float | None

    @property
    def shape(self) -> str:
        """Its shapes as one reads them, each with how often it occurs."""
        counted = Counter(self.shapes)
        several = len(self.shapes) > 1
        return ", ".join(f"{f'{count} × ' if several else ''}{shape}" for shape, count in counted.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statement:
    """Something that is said about the outputs, put to the test.

    Attributes:
        says: what.
        difference: the largest difference, in absolute value, between the two sides in this run.
        holds: whether that is no more than rounding.
    """

    says: str
    difference: float
    holds: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerVectors:
    """The vectors behind one layer, over all real tokens.

    Attributes:
        layer: counted from 0; None for the embeddings, which stand before.
        mean, std, low, high: of their numbers.
        norm: mean length of a token's vector.
        before: mean cosine of a token's vector with the one that it had before this layer; None for the embeddings.
        same_text: mean cosine of two different tokens of one text; None where no text has two.
        other_texts: mean cosine of two tokens of different texts; None for one text. Far above 0 the vectors fill a
            narrow cone (arXiv 1909.00512).
        texts: mean cosine of two texts, each the mean of its tokens' vectors; None for one text.
    """

    layer: int | None
    mean: float
    std: float
    low: float
    high: float
    norm: float
    before: float | None
    same_text: float | None
    other_texts: float | None
    texts: float | None

    @property
    def name(self) -> str:
        """What it is called."""
        return "embeddings" if self.layer is None else f"layer {self.layer}"

    @property
    def place(self) -> int:
        """Its place in `hidden_states`."""
        return 0 if self.layer is None else self.layer + 1

    @property
    def short(self) -> str:
        """What it is called at an axis."""
        return "emb" if self.layer is None else str(self.layer)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenVector:
    """A row of `last_hidden_state`.

    Attributes:
        place: its number, from 0.
        token: whose vector it is.
        norm: its length.
        begins: its first numbers.
    """

    place: int
    token: str
    norm: float
    begins: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pooler:
    """How `pooler_output` and the vector of [CLS] differ.

    Attributes:
        difference: the largest between two of their numbers, in absolute value.
        cosine: mean over the texts.
        fresh: whether the files had no weights for it, so that it has random ones.
        begins: the first numbers of `pooler_output[0]`.
        norm: its length.
    """

    difference: float
    cosine: float
    fresh: bool
    begins: tuple[float, ...]
    norm: float


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Outputs(Finding):
    """What a BERT returned for some texts.

    Attributes:
        name: of the model.
        model_class: its class.
        texts: how many there were, or pairs of them.
        tokens: real tokens in all, special ones included.
        batches: in how many calls they were computed.
        cut: texts whose end was left out because the model takes no more.
        outputs: what was returned.
        statements: what is said about them, tested in this run.
        pooler: how `pooler_output` differs from the vector of [CLS]; None without a pooler.
        remedy: how a pooler is had, where there is none.
        layers: the embeddings, then each layer.
        vectors: the first rows of `last_hidden_state[0]`, of the first text.
        tokens_of_first: how many tokens the first text has.
    """

    asks: ClassVar[str] = "What do last_hidden_state, pooler_output, hidden_states and attentions hold?"

    name: str
    model_class: str
    texts: int
    tokens: int
    batches: int
    cut: int
    outputs: tuple[Output, ...]
    statements: tuple[Statement, ...]
    pooler: Pooler | None
    remedy: str
    layers: tuple[LayerVectors, ...]
    vectors: tuple[TokenVector, ...]
    tokens_of_first: int

    @property
    def title(self) -> str:
        """Name the model and what it was given."""
        return f"{self.name}: what it returns for {counted(self.texts, 'text')} of {counted(self.tokens, 'token')}"

    def parts(self) -> Iterable[Part]:
        """Give the outputs, what is said about them, the layers, the vectors of the first text, and what to do next."""
        yield from self.sections()
        yield Prose(
            "",
            [
                "Which of these vectors serves for whole texts is measured on labelled ones: give a file of them, "
                "glassbert inspect outputs MODEL FILE."
            ],
        )

    def sections(self) -> Iterator[Part]:
        """Give all but the last of `parts`."""
        more = f" Computed in {self.batches} calls; the shapes are those of the last." if self.batches > 1 else ""
        if self.cut:
            more += f" {counted(self.cut, 'text')} had more tokens than the model takes; the end was left out."
        yield Table(
            "What is returned",
            (Column("output", "code"), Column("shape", "code"), Column("numbers", "code")),
            [(one.name, one.letters, one.shape) for one in self.outputs],
            "B texts, S tokens of the longest, H numbers a vector, A heads, L layers." + more,
        )
        yield Prose("", [f"{one.name}: {one.meaning}" for one in self.outputs])
        yield Table(
            "Their numbers",
            (
                Column("output", "code"),
                Column("dtype", "code"),
                *(Column(name, "number", ".3g") for name in ("mean", "std", "min", "max", "norm")),
            ),
            [(one.name, one.dtype, one.mean, one.std, one.low, one.high, one.norm) for one in self.outputs],
            "At real tokens alone: padding is left out. The norm is the mean length of a vector.",
        )
        yield Table(
            "What is said of them, tested",
            (Column("statement"), Column("largest difference", "number", ".2g"), Column("holds")),
            [(one.says, one.difference, "yes" if one.holds else "no") for one in self.statements],
            "Both sides of each computed in this run.",
        )
        yield Prose("", list(self._about_pooler()))
        yield Table(
            "Layer by layer: the numbers",
            (Column("after"), *(Column(name, "number", ".3g") for name in ("norm", "mean", "std", "min", "max"))),
            [(one.name, one.norm, one.mean, one.std, one.low, one.high) for one in self.layers],
        )
        yield Table(
            "Layer by layer: the directions",
            (Column("after"), *(Column(name, "number", ".3f") for name in _COSINES.values())),
            [(one.name, *(getattr(one, name) for name in _COSINES)) for one in self.layers],
            "Mean cosines: of a token with itself before the layer; of two tokens of one text; of two tokens of "
            "different texts; of two texts, each the mean of its tokens. Where tokens of different texts are near 1, "
            "all vectors point much the same way (arXiv 1909.00512), and a high cosine of two texts alone does not "
            "say that they mean the same.",
        )
        yield Drawing("Layer by layer, drawn", tag("div", *_charts(self.layers), class_="charts"))
        if self.vectors:
            left = self.tokens_of_first - len(self.vectors)
            more = f" {counted(left, 'further row')} left out." if left else ""
            rows: list[tuple[str, str, float, str]] = [
                (f"last_hidden_state[0, {one.place}]", one.token, one.norm, _begins(one.begins)) for one in self.vectors
            ]
            if self.pooler is not None:
                rows.append(("pooler_output[0]", "", self.pooler.norm, _begins(self.pooler.begins)))
            yield Table(
                "The vectors of the first text",
                (Column("vector", "code"), Column("token"), Column("norm", "number"), Column("first numbers", "code")),
                rows,
                f"Each row of last_hidden_state is the vector of one token; row 0 is that of [CLS].{more}",
            )

    def _about_pooler(self) -> Iterator[str]:
        if self.pooler is None:
            yield f"There is no pooler_output: {self.remedy}."
        else:
            yield (
                "One reads that pooler_output is the vector of [CLS] in the last layer. It is that vector after a "
                f"Linear and a tanh, and another one: their numbers differ by up to {self.pooler.difference:.3g}, and "
                f"their cosine is {self.pooler.cosine:.3f}."
            )
            if self.pooler.fresh:
                yield "This pooler has random weights: the files had none for it."

    def plot(self) -> Figure:
        """Draw the norm and the cosines by layer."""
        drawn = figure(9.0, 3.6)
        left, right = drawn.subplots(1, 2)
        places = [one.place for one in self.layers]
        left.plot(places, [one.norm for one in self.layers], marker="o", color=BLUE)
        left.set(ylabel="mean norm of a token's vector", ylim=(0.0, 1.08 * max(one.norm for one in self.layers)))
        styles = zip(_COSINES.items(), (BLUE, ORANGE, "#3a8f5c", "#8a5bb0"), "osD^", strict=True)
        for (name, said), colour, marker in styles:
            known = [(one.place, value) for one in self.layers if (value := getattr(one, name)) is not None]
            if known:
                across, up = zip(*known, strict=True)
                right.plot(across, up, marker=marker, color=colour, label=said)
        right.set(ylabel="mean cosine", ylim=(None, 1.03))
        drawn.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=4, frameon=False, fontsize=8)
        for axes in (left, right):
            axes.set(xlabel="layer (emb: the embeddings)")
            axes.set_xticks(*zip(*_ticks(self.layers), strict=True))
            axes.spines[["top", "right"]].set_visible(False)
        headed(drawn, self.title)
        return drawn


# What is drawn and listed of a layer, by its field.
_COSINES: Final = {
    "before": "itself before",
    "same_text": "same text",
    "other_texts": "other texts",
    "texts": "two texts",
}


def outputs(
    model: Model,
    texts: str | Sequence[str],
    *,
    pair: str | Sequence[str] | None = None,
    tokenizer: BertTokenizer | None = None,
    kind: str | None = None,
) -> Outputs:
    """Run a model's BERT on texts and measure what it returns.

    Args:
        model: a model, its folder, or its name on the hub; of one with a head, the BERT in it.
        texts: one or more.
        pair: the second text of each.
        tokenizer: of the model, where that of the folder is not meant.
        kind: name of the class to load a folder as, such as BertModel, which has a pooler; None takes what it says.

    Raises:
        CheckpointError: there is no such model.
        InputError: no text, a text longer than the model takes, no tokenizer, or damaged weights.
    """
    subject = Subject.of(model, tokenizer, kind=kind)
    firsts = [texts] if isinstance(texts, str) else list(texts)
    seconds = [pair] if isinstance(pair, str) else None if pair is None else list(pair)
    if seconds is not None and len(seconds) != len(firsts):
        raise InputError(f"there are {len(firsts)} texts, but {len(seconds)} second ones (pair)")
    return measured(subject, subject.encode(firsts, seconds))


def measured(subject: Subject, batch: Batch, *, cut: int = 0, see: See | None = None) -> Outputs:
    """Run a model's BERT on encoded texts and measure what it returns.

    Args:
        subject: the model.
        batch: the texts.
        cut: how many of them were too long.
        see: called with what is returned for some of the texts at a time.

    Raises:
        InputError: its vectors are not finite.
    """
    bert = subject.bert
    # Layers may have been cut away since the config was written.
    count = len(bert.encoder.layer)
    states = [_Vectors() for _ in range(count + 1)]
    pooled, weights = _Vectors(), _Numbers()
    tests = _Tests()
    first: list[TokenVector] = []
    lengths = batch.attention_mask.sum(dim=1)
    with quietly(subject.model):
        parts = list(_parts(lengths.tolist(), bert.config, count))
        for places in with_bar(parts, total=len(parts), label="running") if len(parts) > 1 else parts:
            longest = int(lengths[places].max())
            given = {name: tensor[places, :longest] for name, tensor in batch.arguments().items()}
            output = bert(**given, output_hidden_states=True, output_attentions=True, use_cache=False, return_dict=True)
            real = given["attention_mask"].bool()
            for place, state in enumerate(output.hidden_states):
                subject.check_finite(f"the vectors of {f'layer {place - 1}' if place else 'the embeddings'}", state)
            owner, _ = real.nonzero(as_tuple=True)  # (N,) which text each real token is of
            before = None
            for state, sums in zip(output.hidden_states, states, strict=True):
                vectors = state[real].double()  # (N, H)
                sums.add(vectors, owner, before)
                sums.texts.add(pool(state, real, "mean").double())
                before = vectors
            if output.pooler_output is not None:
                pooled.add(output.pooler_output.double())
            for one in output.attentions:
                rows = one.transpose(1, 2)[real]  # (B, A, S, S) -> (N, A, S): rows of real tokens alone
                weights.add(rows[real[owner][:, None, :].expand_as(rows)].double())
            tests.run(bert, given, output, real)
            if 0 in places:
                tests.keep_pooled(output, places.index(0))
                first = _first(output.last_hidden_state[places.index(0)], batch)
            if see is not None:
                see(places, output.hidden_states, output.pooler_output, real)
    return Outputs(
        name=subject.name,
        model_class=type(subject.model).__name__,
        texts=len(lengths),
        tokens=int(lengths.sum()),
        batches=len(parts),
        cut=cut,
        outputs=tuple(_outputs(output, states, pooled, weights)),
        statements=tuple(tests.statements(count)),
        pooler=tests.pooler(subject),
        remedy="" if bert.pooler is not None else _remedy(subject),
        layers=tuple(sums.layer(place) for place, sums in enumerate(states)),
        vectors=tuple(first[:_TOKENS]),
        tokens_of_first=int(lengths[0]),
    )


def _parts(lengths: Sequence[int], config: BertConfig, layers: int) -> Iterator[list[int]]:
    """Give the places of texts that are computed at once, short ones before long ones, so that memory is enough."""
    heads, width = config.num_attention_heads, config.hidden_size
    part: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        longest = lengths[place]
        each = longest * (layers * heads * longest + (layers + 1) * width)
        if part and (len(part) + 1) * each > _AT_ONCE:
            yield sorted(part)
            part = []
        part.append(place)
    yield sorted(part)


def _first(rows: Tensor, batch: Batch) -> list[TokenVector]:
    """List the vectors (S, H) of the first text's tokens."""
    tokens = batch.tokens[0] if batch.tokens else ()
    return [
        TokenVector(
            place=place, token=token, norm=float(row.double().norm()), begins=tuple(row[:_NUMBERS].double().tolist())
        )
        for place, (token, row) in enumerate(zip(tokens, rows))
    ]


@dataclasses.dataclass
class _Numbers:
    """Sums over numbers, as they come."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, values: Tensor) -> None:
        """Take numbers of any shape, in float64."""
        low, high = values.aminmax()
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        self.count += values.numel()
        self.total += float(values.sum())
        self.squares += float(values.square().sum())

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def std(self) -> float:
        return math.sqrt(max(0.0, self.squares / self.count - self.mean**2))


class _Directions:
    """Sums from which the mean cosine of all pairs of vectors is had, without making the pairs.

    The sum of all products of two of the unit vectors is the square of their sum.
    """

    def __init__(self) -> None:
        self.count = 0
        self.selves = 0.0
        self.sum: Tensor | float = 0.0

    def add(self, vectors: Tensor) -> None:
        """Take vectors (N, H)."""
        units = F.normalize(vectors, dim=-1)
        self.count += len(units)
        self.selves += float(units.square().sum())  # as many as there are vectors, but for those that are 0
        self.sum = self.sum + units.sum(dim=0)

    @property
    def products(self) -> float:
        """The sum of the products of all ordered pairs, each vector with itself included."""
        return float(self.sum.square().sum()) if isinstance(self.sum, Tensor) else 0.0

    @property
    def cosine(self) -> float | None:
        """The mean cosine of two different vectors."""
        return _cosine(self.products - self.selves, self.count * (self.count - 1))


class _Vectors:
    """Sums over the vectors of tokens."""

    def __init__(self) -> None:
        self.numbers = _Numbers()
        self.norms = 0.0
        self.changed = 0.0
        self.all = _Directions()
        self.texts = _Directions()
        self.inside = 0.0  # the products of pairs within a text, a vector with itself included
        self.pairs = 0

    def add(self, vectors: Tensor, owner: Tensor | None = None, before: Tensor | None = None) -> None:
        """Take vectors (N, H), in float64; of which text each is; and what they were before the layer."""
        self.numbers.add(vectors)
        self.norms += float(vectors.norm(dim=-1).sum())
        self.all.add(vectors)
        if before is not None:
            self.changed += float(F.cosine_similarity(vectors, before, dim=-1).sum())
        if owner is not None:
            sizes = owner.bincount()
            sums = vectors.new_zeros(len(sizes), vectors.shape[1]).index_add_(0, owner, F.normalize(vectors, dim=-1))
            self.inside += float(sums.square().sum())
            self.pairs += int(sizes.square().sum())

    @property
    def norm(self) -> float:
        return self.norms / self.all.count

    def layer(self, place: int) -> LayerVectors:
        """Return what is told of a layer."""
        count = self.all.count
        return LayerVectors(
            layer=place - 1 if place else None,
            mean=self.numbers.mean,
            std=self.numbers.std,
            low=self.numbers.low,
            high=self.numbers.high,
            norm=self.norm,
            before=_cosine(self.changed, count) if place else None,
            same_text=_cosine(self.inside - self.all.selves, self.pairs - count),
            other_texts=_cosine(self.all.products - self.inside, count**2 - self.pairs),
            texts=self.texts.cosine,
        )


def _cosine(total: float, count: int) -> float | None:
    return max(-1.0, min(1.0, total / count)) if count else None


class _Tests:
    """Differences between what is returned and what it is said to be: the largest of all batches."""

    def __init__(self) -> None:
        self.largest = {"pooler": 0.0, "last": 0.0, "embeddings": 0.0, "sums": 0.0, "cls": 0.0}
        self.cosines = _Numbers()
        self.first: Tensor | None = None
        self.rounding = _ROUNDING

    def run(
        self,
        bert: BertModel,
        given: dict[str, Tensor],
        output: BaseModelOutputWithPoolingAndCrossAttentions,
        real: Tensor,
    ) -> None:
        """Test one batch."""
        last, states, weights = output.last_hidden_state, output.hidden_states, output.attentions
        assert last is not None
        assert states is not None
        assert weights is not None
        if torch.finfo(last.dtype).bits < 32:
            self.rounding = _ROUNDING_16
        self._keep("last", states[-1] - last)
        self._keep("embeddings", bert.embeddings(given["input_ids"], given["token_type_ids"])[real] - states[0][real])
        for one in weights:
            self._keep("sums", one.sum(dim=-1).transpose(1, 2)[real] - 1.0)  # (B, A, S) -> (N, A)
        if bert.pooler is not None:
            assert output.pooler_output is not None
            first = last[:, 0]
            weight, bias = bert.pooler.dense.weight.double(), bert.pooler.dense.bias.double()
            self._keep("pooler", torch.tanh(first.double() @ weight.T + bias) - output.pooler_output)
            self._keep("cls", first - output.pooler_output)
            self.cosines.add(F.cosine_similarity(first.double(), output.pooler_output.double(), dim=-1))

    def keep_pooled(self, output: BaseModelOutputWithPoolingAndCrossAttentions, row: int) -> None:
        """Keep the pooler's vector of the first of all texts, if there is one."""
        if output.pooler_output is not None:
            self.first = output.pooler_output[row].double()

    def _keep(self, name: str, difference: Tensor) -> None:
        if difference.numel():
            self.largest[name] = max(self.largest[name], float(difference.abs().max()))

    def statements(self, layers: int) -> Iterator[Statement]:
        """Give them, with what was found."""
        said = {
            "last": f"hidden_states[{layers}], the last of {layers + 1}, is last_hidden_state",
            "embeddings": "hidden_states[0] is what the embeddings give, before the first layer",
            "sums": "each row of attentions, one token's weights in one head, sums to 1",
        }
        if self.first is not None:
            said |= {
                "pooler": "pooler_output = tanh(last_hidden_state[:, 0] @ W.T + b), computed by hand in float64",
                "cls": "pooler_output = last_hidden_state[:, 0], without Linear and tanh",
            }
        for name, says in said.items():
            yield Statement(says=says, difference=self.largest[name], holds=self.largest[name] <= self.rounding)

    def pooler(self, subject: Subject) -> Pooler | None:
        """Return how the pooler's output differs from [CLS]."""
        if self.first is None:
            return None
        info = subject.model.loading_info
        return Pooler(
            difference=self.largest["cls"],
            cosine=self.cosines.mean,
            fresh=info is not None and any("pooler." in name for name in info.fresh),
            begins=tuple(self.first[:_NUMBERS].tolist()),
            norm=float(self.first.norm()),
        )


def _remedy(subject: Subject) -> str:
    """Say why there is no pooler, and how one is had."""
    info = subject.model.loading_info
    kind = type(subject.model).__name__
    if info is not None and any("pooler." in name for name in info.ignored):
        return f"a {kind} leaves the pooler of the files out; --class BertModel (kind='BertModel') loads it"
    return f"this {kind} has no pooler"


def _outputs(
    output: BaseModelOutputWithPoolingAndCrossAttentions,
    states: Sequence[_Vectors],
    pooled: _Vectors,
    weights: _Numbers,
) -> Iterator[Output]:
    """Give what was returned, with shapes of this batch and numbers of all."""
    assert output.last_hidden_state is not None
    assert output.hidden_states is not None
    assert output.attentions is not None

    def made(
        name: str, meaning: str, letters: str, tensors: Sequence[Tensor], sums: _Numbers, norm: float | None
    ) -> Output:
        return Output(
            name=name,
            meaning=meaning,
            letters=letters,
            shapes=tuple(tuple(one.shape) for one in tensors),
            dtype=str(tensors[0].dtype).removeprefix("torch."),
            mean=sums.mean,
            std=sums.std,
            low=sums.low,
            high=sums.high,
            norm=norm,
        )

    last = states[-1]
    says = "the last layer's vector of every token; row 0 is that of [CLS], the others are those of the words."
    yield made("last_hidden_state", says, "(B, S, H)", [output.last_hidden_state], last.numbers, last.norm)
    if output.pooler_output is not None:
        says = "one vector a text: that of [CLS] in the last layer after a Linear and a tanh, which were trained to "
        says += "tell whether one sentence follows the other."
        yield made("pooler_output", says, "(B, H)", [output.pooler_output], pooled.numbers, pooled.norm)
    everything = _Numbers(
        count=sum(one.numbers.count for one in states),
        total=sum(one.numbers.total for one in states),
        squares=sum(one.numbers.squares for one in states),
        low=min(one.numbers.low for one in states),
        high=max(one.numbers.high for one in states),
    )
    norm = sum(one.norm for one in states) / len(states)
    says = "the vectors of every token before the first layer and after each, L + 1 tensors."
    yield made("hidden_states", says, "(L + 1) × (B, S, H)", output.hidden_states, everything, norm)
    if output.attentions:
        says = "how much each token (row) takes from each other (column), in each head, after the softmax, L tensors."
        yield made("attentions", says, "L × (B, A, S, S)", output.attentions, weights, None)


def _charts(layers: Sequence[LayerVectors]) -> Iterator[Markup]:
    """Draw the norm and the cosines by layer, as far as there are any."""
    places = _ticks(layers)
    for name, said, about in (
        ("norm", "norm", "mean length of a token's vector"),
        ("before", "cosine with itself before", "how little each layer turns a token's vector"),
        ("other_texts", "cosine of tokens of different texts", "near 1: a narrow cone"),
        ("texts", "cosine of two texts", "each the mean of its tokens"),
        ("same_text", "cosine of tokens of one text", "how alike a text's tokens become"),
    ):
        points = [(one.place, value) for one in layers if (value := getattr(one, name)) is not None]
        if len(points) > 1 and not (name == "same_text" and layers[0].texts is not None):
            dots = [Dot(x, y, "", f"after {layers[x].name}: {y:.4g}") for x, y in points]
            drawn = scatter(dots, places=places, title=f"{said} by layer", line=points)
            yield tag("figure", tag("figcaption", f"{said} ", tag("span", about)), drawn)


def _ticks(layers: Sequence[LayerVectors]) -> list[tuple[int, str]]:
    """Return places and names of layers for an axis, not more than there is room for."""
    return [(one.place, one.short) for one in layers[:: math.ceil(len(layers) / 13)]]


def _begins(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:+.3f}" for number in numbers) + " …"
