"""`inspect training`: what weight decay touches, how rates go, which tokens are masked, and how pairs are made."""

from __future__ import annotations

import dataclasses
import math
import random
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from glassbert.data.documents import Corpus, SentenceSplitter, documents_of, guess_sentences
from glassbert.data.masking import IGNORED, mask
from glassbert.data.pairs import Document, Example, ordered_pairs, sentence_pairs
from glassbert.data.preparing import masking_of
from glassbert.data.sampling import hashed
from glassbert.errors import ConfigError, InputError
from glassbert.inspect.finding import Column, Finding, Part, Prose, Table, figure, shown
from glassbert.inspect.running import Model, Subject
from glassbert.model import BertPreTrainedModel
from glassbert.tasks.task import counted
from glassbert.text import BertTokenizer
from glassbert.text.characters import check_text
from glassbert.train import markup
from glassbert.train.checks import check_count, check_number
from glassbert.train.groups import parameter_groups
from glassbert.train.markup import Curve, Markup, tag
from glassbert.train.plots import BLUE, ORANGE
from glassbert.train.schedules import SchedulerType, get_scheduler

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

Fate = Literal["masked", "random", "kept"]
Order = Literal["nsp", "sop"]

# Of a schedule, how many steps are kept; all of shorter ones.
_POINTS: Final = 1_000
# With one, as training has it, the cosine with restarts is the cosine.
_RESTARTS: Final = 3
# Readings of the text that are counted, and of them those that are shown.
_DRAWS: Final = 2_000
_READINGS: Final = 200
_COUNTED: Final = 300_000
_EPOCHS: Final = 3
_PAIRS: Final = 4
# In characters: how much of a text is read.
_READ: Final = 50_000
# In tokens: how much of a part of a pair is shown.
_SHOWN: Final = 24
_SHORT: Final = 0.1
_EXPECTED: Final[dict[Fate, float]] = {"masked": 0.8, "random": 0.1, "kept": 0.1}

# Three documents, each sentence on a line of its own.
_TEXT: Final = """\
A glass box shows how it works.
Each cogwheel can be watched through the unbreakable panes.
Nothing has to be believed.

The river came down from the mountains in spring.
It carried sand and branches to the sea.
In summer the children walked through it with bare feet.
Nobody remembered the bridge that had stood there.

She opened the old bakery again in the year of the flood.
The bread was dark and tasted of smoke.
People came from the next valley to buy it.
On Sundays the queue reached the church.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters that the optimizer treats alike.

    Attributes:
        weight_decay: of them.
        learning_rate: the highest that they have.
        tensors: how many parameters.
        numbers: in all of them.
        parts: of the model that they are in.
    """

    weight_decay: float
    learning_rate: float
    tensors: int
    numbers: int
    parts: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Role:
    """Parameters of one name in modules of one class.

    Attributes:
        name: class and name, such as Linear.bias.
        decayed: whether they have weight decay; None where they are frozen.
        tensors: how many.
        numbers: in all of them.
        share: of all numbers of the model.
    """

    name: str
    decayed: bool | None
    tensors: int
    numbers: int
    share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a learning rate goes.

    Attributes:
        name: one of `SchedulerType`.
        says: in words.
        rates: at each of the finding's `points`.
        mean: over the steps.
        lost: share of a weight that decay alone takes away over the steps, where no gradient touches it.
    """

    name: str
    says: str
    rates: tuple[float, ...]
    mean: float
    lost: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedToken:
    """A token as the model sees it.

    Attributes:
        token: that stands in the text.
        seen: what the model sees in its place.
        label: the id that it is to guess; -100 where it guesses nothing.
        fate: of a chosen token, what it became; None where it was not chosen.
    """

    token: str
    seen: str
    label: int
    fate: Fate | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masks:
    """What is masked of a text.

    Attributes:
        whole_words: whether words are chosen, with all their pieces, or single tokens.
        readings: the first of them: in each epoch other tokens are chosen.
        draws: readings that were counted.
        chosen: share of all tokens, special ones counted too, that were chosen in them.
        expected: that share as the rule has it: 15% of the tokens, rounded, one at least.
        shares: of the chosen tokens, what became of them.
        expected_shares: the same as the paper has it.
    """

    whole_words: bool
    readings: tuple[tuple[MaskedToken, ...], ...]
    draws: int
    chosen: float
    expected: float
    shares: dict[Fate, float]
    expected_shares: dict[Fate, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """A sequence of two parts.

    Attributes:
        label: 0 where the second part follows the first one; 1 where it is from elsewhere, or the two are swapped.
        first: its tokens.
        second: its tokens.
        length: in tokens, with [CLS] and two [SEP].
    """

    label: int
    first: tuple[str, ...]
    second: tuple[str, ...]
    length: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of a text.

    Attributes:
        order: "nsp", the next sentence or one from elsewhere; "sop", two neighbours in their order or swapped.
        pairs: the first of one reading.
        readings: that were counted.
        counted: pairs in them.
        ones: share of them with the label 1.
        note: what is to be known of them; "" where nothing is.
    """

    order: Order
    pairs: tuple[Pair, ...]
    readings: int
    counted: int
    ones: float
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Training(Finding):
    """How a model would be trained.

    Attributes:
        name: of the model.
        numbers: of its parameters, in all, each counted once.
        weight_decay: of those that have one.
        learning_rate: the highest.
        steps: of the optimizer.
        warmup: of these steps.
        groups: as the optimizer gets them.
        roles: which parameters decay and which do not.
        points: steps at which the rates of `schedules` are given, (P,).
        schedules: the six.
        length: most tokens of a sequence.
        documents: of the text.
        sentences: of them all.
        masks: of the text, single tokens and whole words; empty where there is no tokenizer.
        pairs: of the text; empty where there is no tokenizer.
        notes: what could not be shown, and what of a long text was not read.
    """

    asks: ClassVar[str] = "How would it be trained: what decays, how does the rate go, what is masked and paired?"

    name: str
    numbers: int
    weight_decay: float
    learning_rate: float
    steps: int
    warmup: int
    groups: tuple[Group, ...]
    roles: tuple[Role, ...]
    points: tuple[int, ...]
    schedules: tuple[Schedule, ...]
    length: int
    documents: int
    sentences: int
    masks: tuple[Masks, ...]
    pairs: tuple[Pairs, ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name the model and how much of it decays."""
        return f"{self.name}: weight decay on {self._sum(True) / self.numbers:.2%} of {self.numbers:,} parameters"

    def _sum(self, decayed: bool | None) -> int:
        return sum(one.numbers for one in self.roles if one.decayed is decayed)

    def parts(self) -> Iterable[Part]:
        """Give the groups, the schedules, masks and pairs."""
        yield self._role_table()
        yield Prose("", self._why())
        yield self._group_table()
        yield _Charts(self)
        yield Prose("", self._about_warmup())
        for one in self.masks:
            yield _Masked(one)
        if self.masks:
            yield self._mask_table()
        for pairs in self.pairs:
            yield _Paired(pairs, self)
        if self.notes:
            yield Prose("Notes", self.notes)

    def _role_table(self) -> Part:
        said = {True: "decays", False: "does not", None: "frozen"}
        columns = (
            Column("parameters", "code"),
            Column("weight decay"),
            Column("tensors", "number"),
            Column("numbers", "number"),
            Column("share of the model", "share", ".3%"),
        )
        rows = [(one.name, said[one.decayed], one.tensors, one.numbers, one.share) for one in self.roles]
        return Table("What decays", columns, rows, "By the class of the module and the name in it.")

    def _why(self) -> list[str]:
        spared = [one for one in self.roles if one.decayed is False]
        numbers, tensors = self._sum(False), sum(one.tensors for one in spared)
        everything = sum(one.tensors for one in self.roles)
        linear = next((one for one in self.schedules if one.name == "linear"), self.schedules[0])
        return [
            f"No decay on bias and LayerNorm: these are {tensors} of {everything} tensors, but only {numbers:,} of "
            f"{self.numbers:,} numbers ({numbers / self.numbers:.3%}), so there is little to overfit with. Decay pulls "
            "a number towards 0 at every step. That keeps the weights of a product small; a bias only shifts, and a "
            "weight of LayerNorm, which begins at 1, would shrink what every layer passes on.",
            f"How strong it is: over these {self.steps:,} steps with the linear schedule a weight that no gradient "
            f"touches would lose {linear.lost:.3%} of itself (decay {self.weight_decay:g} times the rate, step by "
            "step).",
        ]

    def _group_table(self) -> Part:
        columns = (
            Column("group", "number"),
            Column("weight decay", "number"),
            Column("highest rate", "number"),
            Column("tensors", "number"),
            Column("numbers", "number"),
            Column("in"),
        )
        rows = [
            (number, one.weight_decay, one.learning_rate, one.tensors, one.numbers, ", ".join(one.parts))
            for number, one in enumerate(self.groups)
        ]
        return Table("Groups of the optimizer", columns, rows, "As train.parameter_groups gives them to the optimizer.")

    def _about_warmup(self) -> list[str]:
        warmed = next((one for one in self.schedules if one.name == "linear"), self.schedules[0])
        if not self.warmup:
            return [f"Without warm-up the first step has the whole rate, {warmed.rates[0]:.3g}."]
        return [
            f"The warm-up is the same line in all but constant: from {warmed.rates[0]:g} at step 0 to "
            f"{self.learning_rate:g} at step {self.warmup:,}. So the very first step changes no weight, and the next "
            "ones little, while the optimizer's moments are still means of a few gradients."
        ]

    def _mask_table(self) -> Part:
        columns = [Column("")]
        names = ("chosen, of all tokens", "of these: [MASK]", "of these: a random token", "of these: kept")
        values: list[list[str | float]] = [[name] for name in names]
        for one in self.masks:
            kind = "whole words" if one.whole_words else "single tokens"
            columns += [Column(f"{kind}, counted", "share", ".2%"), Column("expected", "share", ".2%")]
            values[0] += [one.chosen, one.expected]
            for row, fate in zip(values[1:], _EXPECTED):
                row += [one.shares[fate], one.expected_shares[fate]]
        about = f"Over {self.masks[0].draws:,} readings of this text. The paper chooses 15% of the tokens: as many as "
        about += (
            "that makes, rounded, and one at least. Of whole words it may be fewer, as only words that fit are taken."
        )
        return Table("What is masked, counted", columns, values, about)

    def plot(self) -> Figure:
        """Draw the six schedules."""
        drawn = figure(10.0, 5.2)
        places = drawn.subplots(2, 3, sharex=True, sharey=True)
        for axes, one in zip(places.flat, self.schedules):
            axes.plot(self.points, one.rates, color=BLUE, linewidth=1.8)
            if one.name != SchedulerType.CONSTANT:
                axes.axvline(self.warmup, color=ORANGE, linewidth=0.8, linestyle="--")
            axes.set_title(one.name, fontsize=10)
            axes.set_ylim(bottom=0.0)
            axes.spines[["top", "right"]].set_visible(False)
        for axes in places[1]:
            axes.set_xlabel("step")
        for axes in places[:, 0]:
            axes.set_ylabel("learning rate")
        drawn.suptitle(f"Learning rate over {self.steps:,} steps, {self.warmup:,} of them warm-up", fontsize=11)
        return drawn


def training(
    model: Model,
    texts: str | Path | Sequence[str | Path] | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    kind: str | None = None,
    steps: int = 1_000,
    warmup: int = 100,
    learning_rate: float = 5e-5,
    weight_decay: float = 0.01,
    layer_decay: float | None = None,
    length: int = 64,
    seed: int = 0,
) -> Training:
    """Show how a model would be trained; nothing is trained.

    Args:
        model: a model, its folder, or its name on the hub.
        texts: texts as strings, files as paths, whose documents stand between empty lines; None takes a few sentences
            of our own. Of long ones the beginning is read.
        tokenizer: of the model, where that of the folder is not meant.
        kind: name of the class to load a folder as; None takes what the folder says.
        steps: of the optimizer.
        warmup: of these.
        learning_rate: the highest.
        weight_decay: of the parameters that have one.
        layer_decay: factor of the rate from one layer to the one below; None for one rate.
        length: most tokens of a sequence of the masks and pairs.
        seed: of what is chosen by chance.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: a number out of range, by its name.
        DataError: a file that cannot be read, or without text.
        InputError: texts for a model without a tokenizer, or empty ones.
        VocabularyError: a vocabulary without a special token, such as [MASK].
    """
    for name, count in (("steps", steps), ("warmup", warmup), ("length", length), ("seed", seed)):
        check_count(name, count)
    if not steps:
        raise ConfigError("steps is 0, expected 1 or more")
    if warmup > steps:
        raise ConfigError(f"warmup is {warmup:,}, which is more than the {steps:,} steps")
    if length < 5:
        raise ConfigError(f"length is {length}, expected 5 or more: [CLS], two tokens and two [SEP]")
    if seed >= 2**63:
        raise ConfigError(f"seed is {seed}, expected a whole number below 2^63")
    check_number("learning_rate", learning_rate)
    check_number("weight_decay", weight_decay, least=0.0)
    subject = Subject.of(model, tokenizer, kind=kind)
    length = min(length, subject.config.max_position_embeddings)
    # `adapted` is true of the groups with decay, whatever the decay is.
    groups = parameter_groups(
        subject.model, weight_decay, learning_rate=learning_rate, layer_decay=layer_decay, adaptation=True
    )
    decayed = {id(parameter): bool(group["adapted"]) for group in groups for parameter in group["params"]}
    count = min(steps, _POINTS)
    points = sorted({round(place * steps / count) for place in range(count + 1)} | {warmup})
    notes: list[str] = []
    documents: list[Document] = []
    if subject.tokenizer is None and texts is None:
        notes.append(f"{subject.name} has no tokenizer, so no masks and no pairs are shown.")
    else:
        documents = _documents(subject.words(), _TEXT if texts is None else texts, length, notes)
    return Training(
        name=subject.name,
        numbers=subject.model.num_parameters(),
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        steps=steps,
        warmup=warmup,
        groups=tuple(_groups(subject.model, groups)),
        roles=tuple(_roles(subject.model, decayed)),
        points=tuple(points),
        schedules=tuple(_schedules(points, steps, warmup, learning_rate, weight_decay)),
        length=length,
        documents=len(documents),
        sentences=sum(map(len, documents)),
        masks=tuple(_masks(subject.words(), documents, length, seed)) if documents else (),
        pairs=tuple(_pairs(subject.words(), documents, length, seed)) if documents else (),
        notes=tuple(notes),
    )


# -- parameters and rates ---------------------------------------------------------------------------------------------


def _groups(model: BertPreTrainedModel, groups: Iterable[dict[str, Any]]) -> Iterator[Group]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in groups:
        members: list[nn.Parameter] = group["params"]
        yield Group(
            weight_decay=group["weight_decay"],
            learning_rate=group["lr"],
            tensors=len(members),
            numbers=sum(one.numel() for one in members),
            parts=tuple(_parts([names[id(one)] for one in members])),
        )


def _parts(names: Iterable[str]) -> Iterator[str]:
    """Name the parts of a model that parameters are in, such as embeddings, layers 0 to 5, pooler."""
    layers: list[int] = []
    others: dict[str, None] = {}
    for name in names:
        before, found, after = name.partition("layer.")
        if found and before.endswith("encoder."):
            layers.append(int(after.partition(".")[0]))
        else:
            inner = name.removeprefix("bert.")
            others[inner.partition(".")[0]] = None
    if layers:
        low, high = min(layers), max(layers)
        others = {"embeddings": None} | others if "embeddings" in others else others
        others[f"layer {low}" if low == high else f"layers {low} to {high}"] = None
    yield from others


def _roles(model: nn.Module, decayed: Mapping[int, bool]) -> Iterator[Role]:
    found: dict[tuple[str, bool | None], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:  # a tied weight is counted once
                seen.add(id(parameter))
                role = f"{type(module).__name__}.{name}", decayed.get(id(parameter))
                found.setdefault(role, []).append(parameter)
    whole = sum(one.numel() for members in found.values() for one in members)
    order = {True: 0, False: 1, None: 2}
    for (name, decays), members in sorted(found.items(), key=lambda one: (order[one[0][1]], one[0][0])):
        numbers = sum(one.numel() for one in members)
        yield Role(name=name, decayed=decays, tensors=len(members), numbers=numbers, share=numbers / whole)


_SAYS: Final[dict[SchedulerType, str]] = {
    SchedulerType.LINEAR: "down in a line to 0",
    SchedulerType.COSINE: "half a cosine down to 0",
    SchedulerType.COSINE_WITH_RESTARTS: f"num_cycles={_RESTARTS}; with 1, as in training, the cosine",
    SchedulerType.POLYNOMIAL: "power=1: a line down to lr_end, 1e-7",
    SchedulerType.CONSTANT: "as it is, without warm-up",
    SchedulerType.CONSTANT_WITH_WARMUP: "as it is after the warm-up",
}


def _schedules(
    points: Sequence[int], steps: int, warmup: int, learning_rate: float, weight_decay: float
) -> Iterator[Schedule]:
    """Ask the schedulers that training uses; what they give for a step does not depend on those before it."""
    every = max(1, steps // 20_000)
    for name in SchedulerType:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=learning_rate)
        specific = {"num_cycles": _RESTARTS} if name == SchedulerType.COSINE_WITH_RESTARTS else {}
        scheduler = get_scheduler(name, optimizer, warmup, steps, **specific)
        (factor,), (base,) = scheduler.lr_lambdas, scheduler.base_lrs
        rates = [float(base) * factor(step) for step in range(0, steps, every)]
        # Decay takes rate times decay of what is left, step by step.
        kept = every * math.fsum(math.log1p(-min(rate * weight_decay, 1.0 - 1e-12)) for rate in rates)
        yield Schedule(
            name=str(name),
            says=_SAYS[name],
            rates=tuple(float(base) * factor(step) for step in points),
            mean=math.fsum(rates) / len(rates),
            lost=-math.expm1(kept),
        )


# -- text -------------------------------------------------------------------------------------------------------------


def _documents(
    tokenizer: BertTokenizer, texts: str | Path | Sequence[str | Path], length: int, notes: list[str]
) -> list[Document]:
    """Return documents of sentences of ids, made as for pretraining.

    Raises:
        DataError: a file that cannot be read.
        InputError: there is no text.
    """
    given = [texts] if isinstance(texts, str | Path) else list(texts)
    found: list[str] = []
    room = _READ
    for one in given:
        for text in _read(one):
            if len(text) > room:
                notes.append(f"Of the text the first {_READ:,} characters were read.")
            found.append(text[:room])
            room -= len(found[-1])
            if not room:
                break
    if not any(text.strip() for text in found):
        raise InputError("there is no text; give one or more, or files")
    split = SentenceSplitter(guess_sentences(found), "en")
    documents: list[Document] = []
    most = length - 3
    for text in found:
        # A sentence that is longer than a sequence is divided.
        pieces = [one.ids for one in tokenizer.pieces(split(text))]
        document = [ids[begin : begin + most] for ids in pieces for begin in range(0, len(ids), most)]
        if document:
            documents.append(document)
    return documents


def _read(one: str | Path) -> Iterator[str]:
    """Give the documents of a text, or of the first block of a file."""
    corpus = Corpus(files=[str(one)] if isinstance(one, Path) else [])
    if isinstance(one, str):
        check_text(one)
        yield from documents_of(one, corpus.boundary)[0]
        return
    for block in islice(corpus.blocks(), 1):
        for text, record in zip(block.texts, block.records, strict=True):
            yield from documents_of(text, None if record else corpus.boundary)[0]


# -- masks ------------------------------------------------------------------------------------------------------------


def _masks(tokenizer: BertTokenizer, documents: Sequence[Document], length: int, seed: int) -> Iterator[Masks]:
    inner = list(chain.from_iterable(documents[0]))[: length - 2]
    ids = np.array([tokenizer.cls_token_id, *inner, tokenizer.sep_token_id], np.int64)
    lengths = np.full(_DRAWS, len(ids), np.int64)
    keys = hashed(seed, np.arange(_DRAWS))
    for whole_words in (False, True):
        masking = masking_of(tokenizer, None, None, whole_words)
        seen, labels = mask(np.tile(ids, _DRAWS), lengths, keys, masking)
        chosen = labels != IGNORED
        fates: dict[Fate, NDArray[np.bool_]] = {
            "masked": chosen & (seen == tokenizer.mask_token_id),
            "kept": chosen & (seen == labels),
        }
        fates["random"] = chosen & ~fates["masked"] & ~fates["kept"]
        count = int(chosen.sum())
        yield Masks(
            whole_words=whole_words,
            readings=tuple(
                tuple(_reading(tokenizer, ids, seen[begin : begin + len(ids)], labels[begin : begin + len(ids)]))
                for begin in range(0, _EPOCHS * len(ids), len(ids))
            ),
            draws=_DRAWS,
            chosen=count / len(labels),
            expected=min(max(1, round(len(ids) * masking.share)), len(inner)) / len(ids),
            shares={fate: float(fates[fate].sum()) / max(1, count) for fate in _EXPECTED},
            expected_shares=dict(_EXPECTED),
        )


def _reading(
    tokenizer: BertTokenizer, ids: NDArray[np.int64], seen: NDArray[np.int64], labels: NDArray[np.int64]
) -> Iterator[MaskedToken]:
    names = tokenizer.convert_ids_to_tokens
    for own, other, label in zip(ids.tolist(), seen.tolist(), labels.tolist(), strict=True):
        fate: Fate | None = None
        if label != IGNORED:
            fate = "masked" if other == tokenizer.mask_token_id else "kept" if other == own else "random"
        yield MaskedToken(token=names(own), seen=names(other), label=label, fate=fate)


# -- pairs ------------------------------------------------------------------------------------------------------------


def _pairs(tokenizer: BertTokenizer, documents: Sequence[Document], length: int, seed: int) -> Iterator[Pairs]:
    sentences = sum(map(len, documents))
    tokens = sum(map(len, chain.from_iterable(documents)))
    for order in get_args(Order):
        note = ""
        if order == "nsp" and sentences == 1:
            note = "Of one sentence alone no pairs can be made: there is none that follows, and none from elsewhere."
        elif order == "nsp" and len(documents) == 1:
            note = (
                "All text is one document, so a second part from elsewhere comes from the same document, and the label "
                "1 may be wrong; put empty lines between documents."
            )
        # As many as some hundred thousand tokens make, so that a long text takes no longer than a short one.
        most = max(1, min(_READINGS, _COUNTED // tokens))
        readings = range(0 if order == "nsp" and sentences == 1 else most)
        read = [list(_examples(order, documents, length, random.Random(f"{seed} {number}"))) for number in readings]
        counted = sum(map(len, read))
        if not counted and not note:
            note = "The text is too short for a pair."
        yield Pairs(
            order=order,
            pairs=tuple(_pair(tokenizer, one) for one in chain.from_iterable(read[:1])),
            readings=len(read),
            counted=counted,
            ones=sum(one.label for one in chain.from_iterable(read)) / max(1, counted),
            note=note,
        )


def _examples(order: Order, documents: Sequence[Document], length: int, chance: random.Random) -> Iterator[Example]:
    room = length - 3
    for place, document in enumerate(documents):
        if order == "nsp":
            yield from sentence_pairs(documents, place, chance, room=room, short=_SHORT)
        else:
            yield from ordered_pairs(document, chance, room=room, short=_SHORT)


def _pair(tokenizer: BertTokenizer, one: Example) -> Pair:
    names = tokenizer.convert_ids_to_tokens
    second = one.second or []
    return Pair(
        label=one.label,
        first=tuple(names(one.first)),
        second=tuple(names(second)),
        length=len(one.first) + len(second) + 3,
    )


# -- how it is shown --------------------------------------------------------------------------------------------------

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_WIDE, _HIGH = 34, 4


def _blocks(rates: Sequence[float], highest: float) -> list[str]:
    """Draw rates with characters that are filled in eighths, the top line first."""
    places = [round(column * (len(rates) - 1) / (_WIDE - 1)) for column in range(_WIDE)]
    heights = [round(rates[place] / highest * 8 * _HIGH) for place in places]
    return [
        "".join(_BLOCKS[min(8, max(0, height - 8 * line))] for height in heights) for line in reversed(range(_HIGH))
    ]


@dataclasses.dataclass(frozen=True)
class _Charts(Part):
    """The six schedules."""

    found: Training

    @property
    def about(self) -> str:
        """How to read them."""
        one = self.found
        return (
            f"Over {one.steps:,} steps, {one.warmup:,} of them warm-up; the highest rate is {one.learning_rate:g}. "
            "Computed by the schedulers that training uses."
        )

    def rich(self) -> Sequence[RenderableType]:
        """Return the pictures in characters, beside each other as there is room."""
        from rich.columns import Columns
        from rich.text import Text

        charts = []
        for one in self.found.schedules:
            chart = Text(f"{one.name}\n", style="bold", no_wrap=True)
            rows = "\n".join(_blocks(one.rates, self.found.learning_rate))
            chart.append(f"{rows}\n", style="not bold blue").append(
                f"{_wrapped(one.says)}\nmean {one.mean:.3g}\n", style="not bold"
            )
            charts.append(chart)
        heading = [Text("Schedules", style="bold"), Text(self.about, style="dim")]
        return [*heading, Columns(charts, padding=(0, 3))]

    def html(self) -> Markup:
        """Return the pictures as SVG."""
        figures = []
        for one in self.found.schedules:
            curve = Curve("smooth", list(zip(map(float, self.found.points), one.rates)))
            marked = None if one.name == SchedulerType.CONSTANT else float(self.found.warmup)
            chart = markup.chart([curve], steps=float(self.found.steps), title=f"Rate of {one.name}", marked=marked)
            caption = tag("figcaption", tag("code", one.name), tag("span", f" {one.says}; mean {one.mean:.3g}"))
            figures.append(tag("figure", caption, chart))
        return markup.section("Schedules", tag("div", *figures, class_="charts"), about=self.about)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _WIDE))


@dataclasses.dataclass(frozen=True)
class _Masked(Part):
    """A text as the model sees it, in some epochs."""

    found: Masks

    @property
    def title(self) -> str:
        """What is chosen."""
        return "Masked language model: " + ("whole words" if self.found.whole_words else "single tokens")

    @property
    def about(self) -> str:
        """How to read it."""
        about = "What the model sees, and with each chosen token what it is to guess. Each epoch chooses anew."
        if self.found.whole_words:
            about += " A word is chosen with all its pieces."
        return about

    def rich(self) -> Sequence[RenderableType]:
        """Return a line for each epoch."""
        from rich.text import Text

        lines: list[RenderableType] = [Text(self.title, style="bold"), Text(self.about, style="dim")]
        first = self.found.readings[0]
        lines.append(
            Text("text     ", style="dim").append(" ".join(shown(one.token) for one in first), style="not dim")
        )
        colors: dict[Fate, str] = {"masked": "bold blue", "random": "bold red", "kept": "bold green"}
        for number, reading in enumerate(self.found.readings):
            line = Text().append(f"epoch {number}  ", style="dim")
            for place, one in enumerate(reading):
                line.append(" " if place else "")
                if one.fate is None:
                    line.append(shown(one.seen))
                else:
                    line.append(f"{shown(one.seen)}({shown(one.token)})", style=colors[one.fate])
            lines.append(line)
        return lines

    def html(self) -> Markup:
        """Return a row of boxes for each epoch."""
        rows = []
        for number, reading in enumerate(self.found.readings):
            boxes: list[str] = []
            for one in reading:
                below = [] if one.fate is None else [tag("small", tag("bdi", shown(one.token)), f" {one.fate}")]
                boxes += [tag("span", tag("bdi", shown(one.seen)), *below, class_=f"box {one.fate or ''}".strip()), " "]
            rows.append(tag("div", tag("dt", f"epoch {number}"), tag("dd", *boxes)))
        return markup.section(self.title, tag("dl", *rows, class_="masks"), about=self.about)


@dataclasses.dataclass(frozen=True)
class _Paired(Part):
    """Some pairs of sentences."""

    found: Pairs
    training: Training

    @property
    def title(self) -> str:
        """What the pairs are."""
        return {"nsp": "Next sentence (BERT)", "sop": "Order of sentences (ALBERT)"}[self.found.order]

    @property
    def about(self) -> str:
        """How to read them."""
        one = self.found
        if not one.pairs:
            return one.note
        what = {
            "nsp": "Label 0: the second part follows the first; 1: it is from another document. A coin decides, but "
            "where there is one sentence left, nothing follows it, and the label is 1.",
            "sop": "Label 0: two neighbours in their order; 1: swapped. A coin decides.",
        }[one.order]
        documents, sentences = self.training.documents, self.training.sentences
        about = (
            f"{what} Of {counted(documents, 'document')} with {counted(sentences, 'sentence')}, at most "
            f"{self.training.length} tokens each. Over {counted(one.readings, 'reading')} {one.ones:.1%} of "
            f"{counted(one.counted, 'pair')} have the label 1."
        )
        return f"{about} {one.note}".rstrip()

    def rich(self) -> Sequence[RenderableType]:
        """Return a table, or why there is none."""
        return self._table().rich() if self.found.pairs else Prose(self.title, [self.about]).rich()

    def html(self) -> Markup:
        """Return the same for a page."""
        return self._table().html() if self.found.pairs else Prose(self.title, [self.about]).html()

    def _table(self) -> Table:
        columns = (Column("label", "number"), Column("tokens", "number"), Column("sequence"))
        rows = [
            (one.label, one.length, f"[CLS] {_ends(one.first)} [SEP] {_ends(one.second)} [SEP]")
            for one in self.found.pairs[:_PAIRS]
        ]
        return Table(self.title, columns, rows, self.about)


def _ends(tokens: Sequence[str]) -> str:
    """Name the first and the last tokens of a part."""
    if len(tokens) > _SHOWN:
        tokens = [*tokens[: _SHOWN - 8], "…", *tokens[-7:]]
    return shown(" ".join(tokens))
