"""`inspect why`: the questions that one asks while reading BERT's source, each answered by an experiment.

Every experiment runs on the user's own model, or, where a model has to be trained for it, on a small one that is
trained twice. What is measured stands in the finding; what it means stands beside it in a sentence.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glassbert.errors import ConfigError, InputError
from glassbert.inspect.finding import Column, Finding, Part, Prose, Table, figure, headed
from glassbert.inspect.running import Batch, Model, OnStep, Subject, layers_of, nothing, quietly
from glassbert.inspect.trial import compare_transforms
from glassbert.model import ACT2FN, BertModel
from glassbert.model.attention import Relative
from glassbert.model.config import HiddenAct
from glassbert.model.sentence import pool
from glassbert.text import BertTokenizer
from glassbert.train.plots import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Topic = Literal["mask", "positions", "layer-norm", "dropout", "feed-forward", "activation", "transform"]

# What is run where no text is given: of different lengths, so that there is padding.
TEXTS: Final = (
    "The soup is warm.",
    "After the long winter the river rose, and the people of the village carried their books up the hill.",
    "A cat sleeps on the chair.",
    "Nobody had told the new teacher that the school would be closed on Monday because of the snow.",
)
_DRAWS: Final = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """One number of an experiment.

    Attributes:
        what: was measured.
        value: the number.
        unit: of it, or what it is a share of; empty for a plain number.
    """

    what: str
    value: float
    unit: str = ""

    def text(self) -> str:
        """Return the number as one reads it."""
        if self.unit == "%":
            return f"{self.value:.2f} %"
        if self.value == int(self.value) and abs(self.value) >= 10:
            return f"{int(self.value):,}"
        small = self.value != 0 and not 1e-3 <= abs(self.value) < 1e5
        return (f"{self.value:.1e}" if small else f"{self.value:.4f}") + (f" {self.unit}" if self.unit else "")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Reason(Finding):
    """A question and what an experiment says to it.

    Attributes:
        topic: of it.
        name: of the model.
        question: as one asks it.
        how: what was done.
        measures: what came out.
        answer: what it means.
    """

    asks: ClassVar[str] = "Why is it so?"

    topic: Topic
    name: str
    question: str
    how: str
    measures: tuple[Measure, ...]
    answer: tuple[str, ...]

    @property
    def title(self) -> str:
        """Ask the question."""
        return self.question

    def value(self, what: str) -> float:
        """Return a number by its name.

        Raises:
            ConfigError: there is no such number.
        """
        for one in self.measures:
            if one.what == what:
                return one.value
        raise ConfigError(f"nothing was measured as {what!r}, but {', '.join(one.what for one in self.measures)}")

    def parts(self) -> Iterable[Part]:
        """Give the experiment, its numbers and the answer."""
        rows = [(one.what, one.text()) for one in self.measures]
        yield Table("Measured", (Column("what"), Column("number", "number")), rows, f"{self.name}: {self.how}")
        yield Prose("Answer", self.answer)

    def plot(self) -> Figure:
        """Draw the numbers, one panel for each unit."""
        units = list(dict.fromkeys(one.unit for one in self.measures))
        drawn = figure(8.0, 0.8 + 0.45 * len(self.measures) + 0.5 * len(units))
        sizes = [sum(one.unit == unit for one in self.measures) for unit in units]
        panels = list(drawn.subplots(len(units), 1, squeeze=False, height_ratios=sizes).flat)
        for panel, unit in zip(panels, units):
            shown = [one for one in self.measures if one.unit == unit]
            panel.barh(range(len(shown)), [one.value for one in shown], color=BLUE)
            panel.set_yticks(range(len(shown)), [one.what for one in shown], fontsize=8)
            panel.invert_yaxis()
            panel.set_xlabel(unit, fontsize=8)
            panel.spines[["top", "right"]].set_visible(False)
        headed(drawn, self.question)
        return drawn


def why(
    topic: Topic,
    model: Model | None = None,
    texts: str | Sequence[str] | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    kind: str | None = None,
    steps: int | None = None,
    seeds: int | None = None,
    on_step: OnStep = nothing,
) -> Reason:
    """Answer a question by an experiment.

    Args:
        topic: "mask": why a mask is added to the scores and not multiplied with them. "positions": what
            `position_embedding_type` and the einsums of relative positions are. "layer-norm": why not BatchNorm.
            "dropout": where it is and what it does. "feed-forward": what a layer needs it for. "activation": why GELU,
            and how far off its tanh form is. "transform": whether the layer before the decoder of a masked language
            model is needed; this one trains small models of its own.
        model: a model, its folder, or its name on the hub; "transform" takes none.
        texts: what is run; None takes some sentences, or random tokens where there is no tokenizer. "mask" needs texts
            of different length, and "layer-norm" two or more.
        tokenizer: of the model, where that of the folder is not meant.
        kind: name of the class to load a folder as; None takes what the folder says.
        steps: of each training of "transform"; 300 if not given.
        seeds: how many pairs of trainings "transform" makes; 3 if not given.
        on_step: called with what is being done, how much is done, and of how much; "transform" takes minutes.

    Raises:
        ConfigError: a topic that does not exist, a model that is missing or too much.
        CheckpointError: there is no such model.
        InputError: a text that is longer than the model takes, or texts on which the topic cannot be seen.
    """
    if topic not in get_args(Topic):
        raise ConfigError(f"topic is {topic!r}, expected one of {', '.join(get_args(Topic))}")
    if topic == "transform":
        if model is not None or texts is not None or kind is not None:
            raise ConfigError("the topic transform trains small models of its own; it takes no model and no text")
        return _transform(300 if steps is None else steps, 3 if seeds is None else seeds, on_step)
    if steps is not None or seeds is not None:
        raise ConfigError("steps and seeds are of the topic transform; leave them out")
    if model is None:
        raise ConfigError(f"the topic {topic} is measured on a model; give one")
    subject = Subject.of(model, tokenizer, kind=kind)
    if texts is None:
        batch = subject.sample(TEXTS)
    else:
        batch = subject.encode([texts] if isinstance(texts, str) else list(texts))
    found = _EXPERIMENTS[topic](subject.name, subject.bert, batch)
    return found if batch.tokens else dataclasses.replace(found, how=f"of random tokens: {found.how}")


# BERT's forward pass, written out: what the experiments change.

Scores = Callable[[Tensor, Tensor], Tensor]
Norm = Callable[[nn.LayerNorm, Tensor], Tensor]


def _added(scores: Tensor, real: Tensor) -> Tensor:
    return scores.masked_fill(~real, -math.inf)


def _multiplied(scores: Tensor, real: Tensor) -> Tensor:
    return scores * real


def _unmasked(scores: Tensor, real: Tensor) -> Tensor:
    return scores


@dataclasses.dataclass(kw_only=True)
class _Run:
    """What a run gave: states (B, S, H) after the embeddings and each layer, and weights (B, A, S, S) of each layer."""

    states: list[Tensor]
    weights: list[Tensor]


@torch.no_grad()
def _forward(
    bert: BertModel,
    embedded: Tensor,
    real: Tensor,
    *,
    mask: Scores = _added,
    feed_forward: bool = True,
    positions: bool = True,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> _Run:
    """Run the layers as they are written in the paper, with one thing changed.

    Args:
        bert: whose layers.
        embedded: (B, S, H), the embeddings' output.
        real: (B, S) bool, true at real tokens.
        mask: makes masked scores of scores (B, A, S, S) and (B, 1, 1, S).
        feed_forward: whether each layer's second half is run.
        positions: whether relative positions, where there are any, add to the scores.
        activation: in place of the layers' own.
    """
    hidden = embedded
    run = _Run(states=[hidden], weights=[])
    distances = torch.arange(hidden.shape[1], device=hidden.device)
    apart = (distances[:, None] - distances)[None, None]
    for layer in layers_of(bert):
        attention, after = layer.attention.self, layer.attention.output
        # (B, S, A·D) -> (B, A, S, D)
        query, key, value = (
            attention.transpose_for_scores(linear(hidden))
            for linear in (attention.query, attention.key, attention.value)
        )
        scores = query @ key.transpose(-1, -2)
        relative = attention.relative() if positions else None
        if relative is not None:
            scores = scores + relative.scores(query, key, apart, hidden.shape[1] - 1)
        scores = scores / math.sqrt(attention.attention_head_size)
        if bert.config.is_decoder:
            scores = scores.masked_fill(apart < 0, -math.inf)
        weights = mask(scores, real[:, None, None, :]).softmax(dim=-1)
        context = (weights @ value).transpose(1, 2).flatten(-2)  # (B, A, S, D) -> (B, S, A·D)
        hidden = after.LayerNorm(after.dense(context) + hidden)
        if feed_forward:
            inner = layer.intermediate.dense(hidden)
            inner = layer.intermediate.intermediate_act_fn(inner) if activation is None else activation(inner)
            hidden = layer.output.LayerNorm(layer.output.dense(inner) + hidden)
        run.states.append(hidden)
        run.weights.append(weights)
    return run


@torch.no_grad()
def _embedded(bert: BertModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the embeddings (B, S, H), and (B, S) bool, true at real tokens."""
    with quietly(bert):
        return bert.embeddings(batch.input_ids, batch.token_type_ids), batch.attention_mask.bool()


def _vectors(states: Tensor, real: Tensor) -> Tensor:
    """Return the mean of each text's real tokens, (B, H)."""
    return pool(states, real, "mean")


def _mask(name: str, bert: BertModel, batch: Batch) -> Reason:
    embedded, real = _embedded(bert, batch)
    if bool(real.all()):
        raise InputError("there is no padding among these texts, so no mask to see; give texts of different length")
    short = int(real.sum(dim=1).argmin())
    length = int(real[short].sum())
    with quietly(bert):
        alone = _forward(bert, embedded[short : short + 1, :length], real[short : short + 1, :length])
        runs = {
            way: _forward(bert, embedded, real, mask=mask)
            for way, mask in (("added", _added), ("multiplied", _multiplied), ("left out", _unmasked))
        }
    measures = []
    for way, run in runs.items():
        # Weight that the real tokens of the shortest text give to padding, mean over layers, heads and tokens.
        given = [float(weights[short, :, :length, length:].sum(dim=-1).mean()) for weights in run.weights]
        measures.append(Measure(what=f"weight on padding, mask {way}", value=100.0 * statistics.fmean(given), unit="%"))
    vector = _vectors(alone.states[-1], torch.ones_like(real[short : short + 1, :length]))
    for way, run in runs.items():
        other = _vectors(run.states[-1][short : short + 1, :length], torch.ones_like(real[short : short + 1, :length]))
        far = float((other - vector).norm() / vector.norm())
        measures.append(Measure(what=f"change of the text's vector, mask {way}", value=100.0 * far, unit="%"))
    longest = real.shape[1]
    return Reason(
        topic="mask",
        name=name,
        question="Why is the mask added to the scores, and not multiplied with them?",
        how=f"a text of {length} tokens alone, and padded to {longest} with each kind of mask.",
        measures=tuple(measures),
        answer=(
            "Softmax comes after the mask. A score of -∞ becomes a weight of e^-∞ = 0. A score multiplied with 0 "
            "becomes 0, and e^0 = 1: padding then counts as much as a token with the score 0, and the text's vector "
            "depends on how long its neighbours are.",
            "Weights could be multiplied after the softmax, but then a row would no longer add up to 1.",
        ),
    )


def _positions(name: str, bert: BertModel, batch: Batch) -> Reason:
    config = bert.config
    real = batch.attention_mask.bool()
    longest = int(real.sum(dim=1).argmax())
    count = int(real[longest].sum())
    turned = torch.cat((torch.tensor([0]), torch.arange(count - 2, 0, -1), torch.tensor([count - 1])))
    ids, types = batch.input_ids[longest, :count], batch.token_type_ids[longest, :count]
    if torch.equal(ids[turned], ids):
        raise InputError("the longest text reads the same in reverse; give another")
    everything = torch.ones(1, count, dtype=torch.bool, device=real.device)
    apart = []
    with torch.no_grad(), quietly(bert):
        for with_positions in (True, False):
            found = []
            for order_ in (torch.arange(count), turned):
                words = bert.embeddings.word_embeddings(ids[order_]) + bert.embeddings.token_type_embeddings(types)
                if with_positions and bert.embeddings.position_embedding_type == "absolute":
                    words = words + bert.embeddings.position_embeddings.weight[:count]
                run = _forward(bert, bert.embeddings.LayerNorm(words)[None], everything, positions=with_positions)
                found.append(_vectors(run.states[-1], everything))
            apart.append(100.0 * float((found[0] - found[1]).norm() / found[0].norm()))
    # The formula of transformers 4.4.2 beside ours, on numbers of this model's sizes.
    size = layers_of(bert)[0].attention.self.attention_head_size
    generator = torch.Generator().manual_seed(0)
    length = min(16, config.max_position_embeddings)
    query, key = (torch.randn(1, 2, length, size, generator=generator, dtype=torch.float64) for _ in range(2))
    table = torch.randn(2 * config.max_position_embeddings - 1, size, generator=generator, dtype=torch.float64)
    places = torch.arange(length)
    distances = (places[:, None] - places)[None, None]
    rows = table[(distances[0, 0] + config.max_position_embeddings - 1)]  # (Q, K, D)
    by_query = torch.einsum("bhld,lrd->bhlr", query, rows)
    by_both = by_query + torch.einsum("bhrd,lrd->bhlr", key, rows)
    ours = [Relative(table, both).scores(query, key, distances, length - 1) for both in (False, True)]
    difference = max(float((one - other).abs().max()) for one, other in zip(ours, (by_query, by_both), strict=True))
    layers = config.num_hidden_layers
    table_size = config.max_position_embeddings * config.hidden_size
    return Reason(
        topic="positions",
        name=name,
        question="What is position_embedding_type, and what do the einsums compute?",
        how=f"the longest text and its tokens in reverse; and random queries and keys of {length} places in float64.",
        measures=(
            Measure(what="change of the vector by reversing, with positions", value=apart[0], unit="%"),
            Measure(what="change of the vector by reversing, without positions", value=apart[1], unit="%"),
            Measure(what="numbers in the table of absolute positions", value=float(table_size)),
            Measure(
                what="numbers that relative positions add, all layers",
                value=layers * (2 * config.max_position_embeddings - 1) * size,
            ),
            Measure(what="einsums beside our form, largest difference", value=difference),
        ),
        answer=(
            "A decoder sees some order also without positions, since each token sees only those before it."
            if config.is_decoder
            else "Attention alone sees no order: without positions the reversed text has the same vector, apart from "
            "rounding.",
            "absolute adds a vector for each place to the embeddings, once. relative_key adds query · E[i − j] to the "
            "score of places i and j in every layer, with a vector E for each distance; relative_key_query adds "
            "key · E[i − j] as well. It uses the query and the key; the value has no part in it.",
            'einsum("bhld,lrd->bhlr") multiplies the query at each place l with the vector of its distance to each '
            "place r. glassbert multiplies each query with all near distances at once and picks: the same numbers, "
            "without a tensor of places × places × D.",
        ),
    )


def _layer_norm(name: str, bert: BertModel, batch: Batch) -> Reason:
    real = batch.attention_mask.bool()
    if len(real) < 2:
        raise InputError("one text has no neighbours; give two or more")
    first = layers_of(bert)[0]
    taken: list[Tensor] = []
    with quietly(bert) as stack:

        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            taken.append(inputs[0])

        stack.callback(first.attention.output.LayerNorm.register_forward_pre_hook(keep).remove)
        bert(**batch.arguments(), output_attentions=True)
    (given,) = taken  # (B, S, H), before the norm
    count = int(batch.attention_mask[0].sum())
    half = max(1, len(given) // 2)
    # The first text beside the first half of the others, and beside all.
    beside = [given[:half][real[:half]], given[real]]

    def batch_norm(rows: Tensor) -> Tensor:
        return F.batch_norm(rows, None, None, training=True)[:count]

    def layer_norm(rows: Tensor) -> Tensor:
        return F.layer_norm(rows, rows.shape[-1:])[:count]

    def change(norm: Callable[[Tensor], Tensor]) -> float:
        one, other = (norm(rows) for rows in beside)
        return 100.0 * float((one - other).norm() / one.norm())

    before = given[real]
    spread = [
        float(rows.norm(dim=-1).max() / rows.norm(dim=-1).min())
        for rows in (before, F.layer_norm(before, before.shape[-1:]))
    ]
    return Reason(
        topic="layer-norm",
        name=name,
        question="Why LayerNorm and not BatchNorm?",
        how="what goes into the first LayerNorm after attention, for one text beside fewer and more neighbours.",
        measures=(
            Measure(what="change of its vectors by its neighbours, LayerNorm", value=change(layer_norm), unit="%"),
            Measure(what="change of its vectors by its neighbours, BatchNorm", value=change(batch_norm), unit="%"),
            Measure(what="longest by shortest vector before", value=spread[0], unit="times"),
            Measure(what="longest by shortest vector after LayerNorm", value=spread[1], unit="times"),
        ),
        answer=(
            "LayerNorm takes mean and deviation over the numbers of one token, so a token is the same whatever else "
            "is in the batch, in training and afterwards. BatchNorm takes them over the batch: a text would change "
            "with its neighbours and with padding, and running means would stand in for them when it is used.",
            "All vectors come out equally long, before bias and scale: scores and gradients of all layers stay in one "
            "range.",
        ),
    )


def _dropout(name: str, bert: BertModel, batch: Batch) -> Reason:
    rate = bert.config.hidden_dropout_prob
    places = [path for path, module in bert.named_modules() if isinstance(module, nn.Dropout)]
    embedded, real = _embedded(bert, batch)
    given = embedded[real]
    shown = rate or 0.1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = torch.stack([F.dropout(given, shown) for _ in range(_DRAWS)])
    mean = float((draws.mean(dim=0) - given).norm() / given.norm())
    once = float((draws[0] - given).norm() / given.norm())
    kept = [float((one == 0).double().mean()) for one in draws[:10]]
    layers = layers_of(bert)
    inside = sum(isinstance(module, nn.Dropout) for module in layers[0].modules())
    return Reason(
        topic="dropout",
        name=name,
        question="Where is dropout, why there, and what does it do?",
        how=f"the embeddings' output {_DRAWS} times through dropout of {shown:g}.",
        measures=(
            Measure(what="dropouts in the model", value=float(len(places))),
            Measure(what="numbers set to 0", value=100.0 * statistics.fmean(kept), unit="%"),
            Measure(what="change by one draw", value=100.0 * once, unit="%"),
            Measure(what=f"change of the mean of {_DRAWS} draws", value=100.0 * mean, unit="%"),
        ),
        answer=(
            f"One stands after the embeddings and drops numbers of the stream itself. In each of the {len(layers)} "
            f"layers there are {inside}: on attention weights, and after each projection that goes back to the width "
            "of the model, before the residual is added. Those only take away some of what a layer adds.",
            f"What is kept is divided by 1 − p, so the expectation stays: the change of a mean of {_DRAWS} draws is "
            f"near that of one draw by √{_DRAWS}, {100.0 * once / math.sqrt(_DRAWS):.2f} %. In eval mode nothing is "
            "drawn.",
        ),
    )


def _feed_forward(name: str, bert: BertModel, batch: Batch) -> Reason:
    embedded, real = _embedded(bert, batch)
    with quietly(bert):
        whole = _forward(bert, embedded, real)
        without = _forward(bert, embedded, real, feed_forward=False)
    total = sum(parameter.numel() for layer in layers_of(bert) for parameter in layer.parameters())
    own = sum(
        parameter.numel()
        for layer in layers_of(bert)
        for part in (layer.intermediate, layer.output)
        for parameter in part.parameters()
    )

    def alike(states: Tensor) -> float:
        """Return the mean cosine of different tokens of a text."""
        found = []
        for text, seen in zip(states, real):
            rows = F.normalize(text[seen], dim=-1)
            count = len(rows)
            if count > 1:
                found.append(float((rows @ rows.T).sum() - count) / (count * (count - 1)))
        return statistics.fmean(found)

    return Reason(
        topic="feed-forward",
        name=name,
        question="What does a layer need the feed-forward for?",
        how="a run as it is, and one in which the second half of every layer is left out.",
        measures=(
            Measure(what="share of the layers' parameters", value=100.0 * (own / total), unit="%"),
            Measure(what="cosine of different tokens, embeddings", value=alike(whole.states[0])),
            Measure(what="cosine of different tokens, last layer", value=alike(whole.states[-1])),
            Measure(
                what="cosine of different tokens, last layer without feed-forward", value=alike(without.states[-1])
            ),
        ),
        answer=(
            "Attention gives each token a weighted mean of the values of all tokens, which is linear in the values. "
            "The feed-forward is the layer's own non-linear step, applied to each token by itself, with most of its "
            "parameters.",
            "Means bring tokens nearer to each other. How near they are in the last layer with and without the second "
            "halves is measured above, on a model that was trained with them (compare arXiv 2103.03404).",
        ),
    )


def _activation(name: str, bert: BertModel, batch: Batch) -> Reason:
    grid = torch.linspace(-8.0, 8.0, 1_600_001, dtype=torch.float64)
    exact = ACT2FN["gelu"](grid)
    off = (ACT2FN["gelu_new"](grid) - exact).abs()
    at = int(off.argmax())
    embedded, real = _embedded(bert, batch)
    with quietly(bert):
        own = _vectors(_forward(bert, embedded, real).states[-1], real)
        changed = {}
        for other in ("gelu", "gelu_new", "relu"):
            run = _forward(bert, embedded, real, activation=ACT2FN[other])
            changed[other] = float(((_vectors(run.states[-1], real) - own).norm(dim=-1) / own.norm(dim=-1)).max())

    def slope(name: HiddenAct, at: float) -> float:
        given = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        with torch.enable_grad():
            ACT2FN[name](given).backward()
        assert given.grad is not None
        return float(given.grad)

    return Reason(
        topic="activation",
        name=name,
        question="Why GELU, and how far off is its tanh form?",
        how="both forms on 1,600,001 numbers from -8 to 8 in float64; and a run with each in place of the model's own.",
        measures=(
            Measure(what="tanh form, largest difference", value=float(off[at])),
            Measure(what="tanh form, where that is, |x|", value=abs(float(grid[at]))),
            Measure(what="change of the texts' vectors, exact form", value=100.0 * changed["gelu"], unit="%"),
            Measure(what="change of the texts' vectors, tanh form", value=100.0 * changed["gelu_new"], unit="%"),
            Measure(what="change of the texts' vectors, ReLU", value=100.0 * changed["relu"], unit="%"),
            Measure(what="slope of GELU at 0", value=slope("gelu", 0.0)),
            Measure(what="slope of GELU at -0.5", value=slope("gelu", -0.5)),
            Measure(what="slope of ReLU at -0.5", value=slope("relu", -0.5)),
        ),
        answer=(
            "GELU is x · Φ(x), with Φ the normal distribution's: smooth, with a slope also below 0, where ReLU has "
            "none, so a number there still learns (arXiv 1606.08415).",
            'hidden_act="gelu" is the exact form by the error function, "gelu_new" the tanh form of Google\'s code. A '
            "model should run with the one it was trained with; the difference is that above.",
        ),
    )


def _transform(steps: int, seeds: int, on_step: OnStep) -> Reason:
    found = compare_transforms(steps=steps, seeds=seeds, on_step=on_step)
    differences = [one - other for one, other in zip(found.without, found.with_, strict=True)]
    spread = statistics.stdev(differences) if len(differences) > 1 else math.nan
    mean = statistics.fmean(differences)
    measures = [
        Measure(what="held-out loss with the transform", value=statistics.fmean(found.with_), unit="nats"),
        Measure(what="held-out loss without", value=statistics.fmean(found.without), unit="nats"),
        Measure(what="held-out loss of guessing by frequency", value=found.unigram, unit="nats"),
        Measure(what="mean difference", value=mean, unit="nats"),
    ]
    if not math.isnan(spread):
        measures.append(Measure(what="standard deviation of the difference", value=spread, unit="nats"))
    measures.append(Measure(what="numbers in the transform", value=float(found.parameters)))
    clear = not math.isnan(spread) and abs(mean) > 2 * spread / math.sqrt(len(differences))
    better = "with it" if mean > 0 else "without it"
    said = f"On this small run the loss is lower {better}" + (
        ", by more than twice the standard error of the pairs." if clear else ", but by no more than chance explains."
    )
    return Reason(
        topic="transform",
        name=f"{seeds} pairs of small models",
        question="Is the transform before the decoder needed?",
        how=f"{steps} steps of masked words on the embedded sentences, the same seed with and without it.",
        measures=tuple(measures),
        answer=(
            said,
            "The decoder shares its weight with the embeddings; the transform (Linear, GELU, LayerNorm) lets what the "
            "encoder gives differ from what that weight wants to see. A small run says little of a large one.",
        ),
    )


_EXPERIMENTS: Final[Mapping[str, Callable[[str, BertModel, Batch], Reason]]] = {
    "mask": _mask,
    "positions": _positions,
    "layer-norm": _layer_norm,
    "dropout": _dropout,
    "feed-forward": _feed_forward,
    "activation": _activation,
}
