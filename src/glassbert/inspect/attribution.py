"""`inspect attribution`: how much each token of a text pushed a classifier's score up or down.

Source: integrated gradients, arXiv 1703.01365.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import torch
from torch import Tensor

from glassbert.errors import ConfigError, InputError, MissingExtraError
from glassbert.infer.progress import with_bar
from glassbert.inspect.finding import App, Column, Finding, Part, Prose, Table, figure, headed, isolated
from glassbert.inspect.running import Model, Subject, quietly
from glassbert.model import BertForSequenceClassification
from glassbert.tasks.text_classification import shown
from glassbert.tasks.texts import known_pairs
from glassbert.text import BertTokenizer, Encoding
from glassbert.train.markup import Markup, foreign, tag
from glassbert.train.markup import section as page_section
from glassbert.train.markup import table as page_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

# The attributions have to sum to the change of the score up to this share of it.
_CLOSE: Final = 0.01
# Steps up to which their number is doubled.
_MOST_STEPS: Final = 800
# Tokens that are computed at once, over all steps.
_AT_ONCE: Final = 4096
# Rows of the table and of the picture.
_ROWS: Final = 40
# Colours of what speaks for the score, and against it: on a terminal under black letters, and in the picture.
_FOR: Final = (86, 148, 230)
_AGAINST: Final = (236, 140, 70)
_PICTURE: Final = ("#2f5d9b", "#c8641a")

TextNumber = Literal[0, 1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """A token, or a word of several.

    Attributes:
        text: as the tokenizer writes it; of a word, as it stands in the text.
        value: by how much it raised the score, in logits; below 0 it lowered it.
        share: `value` over the whole change of the score; None where that is 0.
        of: the text it stands in, 0 or 1; None for [CLS] and [SEP].
        word: number of its word in that text; None for [CLS] and [SEP].
    """

    text: str
    value: float
    share: float | None
    of: int | None
    word: int | None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Attribution(Finding):
    """How much each token of a text contributed to a score.

    Attributes:
        name: of the model.
        text: what was asked about.
        pair: the second text; None where there is none.
        label: the class whose score is explained; None for a regression, whose estimate is.
        predicted: the class with the largest score; None for a regression.
        score: the logit, or the estimate, of the text.
        baseline: the same of the baseline: [PAD] in the place of every token but [CLS] and [SEP].
        steps: points on the way from the baseline to the text at which gradients were taken.
        gap: how far the sum of all attributions is from `score - baseline`, in absolute value.
        relative_gap: the same over the size of that change; None where that is 0.
        complete: whether the gap is small enough: no more than `limit` of the change, or than rounding.
        limit: see `complete`.
        tokens: each with its attribution, in their order.
        words: the same, pieces joined to the words of the text.
        joined: whether words are shown, in place of pieces.
    """

    asks: ClassVar[str] = "Which tokens made the model say that?"

    name: str
    text: str
    pair: str | None
    label: str | None
    predicted: str | None
    score: float
    baseline: float
    steps: int
    gap: float
    relative_gap: float | None
    complete: bool
    limit: float
    tokens: tuple[Piece, ...]
    words: tuple[Piece, ...]
    joined: bool

    @property
    def title(self) -> str:
        """Name what is explained."""
        what = "the estimate" if self.label is None else f"“{isolated(self.label)}”"
        return f"{self.name}: what speaks for {what}, and what against it"

    @property
    def change(self) -> float:
        """By how much the text changes the score of the baseline."""
        return self.score - self.baseline

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What is shown: tokens, or words."""
        return self.words if self.joined else self.tokens

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {**super().to_dict(), "change": self.change}

    def parts(self) -> Iterable[Part]:
        """Give the coloured text, the contributions, and whether they are complete."""
        what = "the estimate" if self.label is None else f"the logit of “{isolated(self.label)}”"
        yield _Coloured(
            "The text",
            "attribution",
            {
                "tokens": [_plain(one) for one in self.tokens],
                "words": [_plain(one) for one in self.words],
                "joined": self.joined,
            },
            f"Blue raises {what}, orange lowers it; the deeper, the more.",
            self.pieces,
        )
        counted = [one for one in self.pieces if one.of is not None]
        largest = sorted(counted, key=lambda one: -abs(one.value))[:_ROWS]
        left = len(counted) - len(largest)
        name = "word" if self.joined else "token"
        rest = f" The {left} with the least are left out here." if left else ""
        if any(one.of == 1 for one in counted):
            rest += " A word of the second text is marked ²."
        yield _Contributions(
            "What each contributes",
            name,
            largest,
            f"In logits, the largest first.{rest}" if self.label is not None else f"The largest first.{rest}",
        )
        yield Table(
            "Whether that is all",
            (Column(""), Column("value", "number", "+.4f")),
            [
                (f"{what} of the text", self.score),
                ("the same of the baseline: [PAD] for every token but [CLS] and [SEP]", self.baseline),
                ("the change, which is to be explained", self.change),
                ("the sum of all attributions", sum(one.value for one in self.tokens)),
            ],
        )
        yield Prose("", list(self._about()))

    def _about(self) -> Iterable[str]:
        share = "" if self.relative_gap is None else f", {self.relative_gap:.2%} of the change"
        yield (
            f"The sum misses the change by {self.gap:.1e}{share}, with gradients at {self.steps} points between the "
            "baseline and the text."
        )
        if not self.complete:
            yield (
                f"That is more than {self.limit:.0%}: take the numbers as rough. More points (--steps) may bring the "
                "sum nearer."
            )
        if self.label is not None:
            asked = f"; “{isolated(self.label)}” was asked for" if self.label != self.predicted else ""
            yield f"The model itself says “{isolated(str(self.predicted))}”{asked}."
        yield (
            "Positions and segments are the same in both, so that what counts is the words alone. The numbers say "
            "what this model computes with, not what is right; another baseline gives other numbers "
            "(integrated gradients, arXiv 1703.01365)."
        )

    def plot(self) -> Figure:
        """Draw a bar for each token, the first ones where there are many."""
        counted = [one for one in self.pieces if one.of is not None]
        pieces = counted[:_ROWS]
        drawn = figure(7.0, 1.0 + 0.24 * len(pieces))
        axes = drawn.add_subplot()
        colours = [_PICTURE[one.value < 0] for one in pieces]
        axes.barh(range(len(pieces)), [one.value for one in pieces], color=colours)
        names = [_short(_named(one)).replace("$", r"\$") for one in pieces]
        axes.set_yticks(range(len(pieces)), names)
        axes.invert_yaxis()
        axes.axvline(0.0, color="#6b7280", linewidth=0.8)
        more = f" (the first {len(pieces)} of {len(counted)})" if len(pieces) < len(counted) else ""
        axes.set(xlabel="attribution" + ("" if self.label is None else ", logits") + more)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params("y", length=0)
        headed(drawn, self.title)
        return drawn


@dataclasses.dataclass(frozen=True)
class _Coloured(App):
    """A text in colours: on a page with numbers where one points, on a terminal as backgrounds.

    Attributes:
        pieces: what it is made of.
    """

    pieces: Sequence[Piece] = ()

    def rich(self) -> Sequence[RenderableType]:
        """Return the text with a background under each piece."""
        from rich.text import Text

        most = max((abs(one.value) for one in self.pieces), default=0.0) or 1.0
        text = Text()
        for one in self.pieces:
            depth = abs(one.value) / most
            colour = [round(255 + (end - 255) * depth) for end in (_FOR if one.value >= 0 else _AGAINST)]
            style = "dim" if one.of is None else f"black on rgb({','.join(map(str, colour))})"
            if text:
                text.append(" ")
            text.append(_visible(one.text), style)
        return [Text(self.title, style="bold"), Text(self.about, style="dim"), text]


@dataclasses.dataclass(frozen=True)
class _Contributions(Part):
    """Pieces with numbers and bars to both sides.

    Attributes:
        title: of it.
        name: of a piece: token or word.
        pieces: in the order of the rows.
        about: a line that says how to read it.
    """

    title: str
    name: str
    pieces: Sequence[Piece]
    about: str

    def rich(self) -> Sequence[RenderableType]:
        """Return a table with bars made of characters."""
        most = max((abs(one.value) for one in self.pieces), default=0.0) or 1.0
        rows = [
            (_named(one), one.value, one.share, ("+" if one.value >= 0 else "-") * round(20 * abs(one.value) / most))
            for one in self.pieces
        ]
        columns = (
            Column(self.name),
            Column("attribution", "number", "+.4f"),
            Column("of the change", "number", ".1%"),
            Column(""),
        )
        return Table(self.title, columns, rows, self.about).rich()

    def html(self) -> Markup:
        """Return a table with bars to both sides of a line."""
        most = max((abs(one.value) for one in self.pieces), default=0.0) or 1.0
        rows = []
        for one in self.pieces:
            side = "for" if one.value >= 0 else "against"
            bar = tag("span", class_=f"leaning {side}", style=f"--s:{abs(one.value) / most:.4f}")
            share = "–" if one.share is None else f"{one.share:.1%}"
            name = tag("td", foreign(_named(one)))
            numbers = (tag("td", text, class_="number") for text in (f"{one.value:+.4f}", share))
            rows.append(tag("tr", name, *numbers, tag("td", bar)))
        heads = [(self.name, None), ("attribution", "number"), ("of the change", "number"), ("against | for", "sides")]
        return page_section(self.title, page_table(heads, rows), about=self.about)


def _named(piece: Piece) -> str:
    return _visible(piece.text) + ("²" if piece.of == 1 else "")


def _visible(text: str) -> str:
    """Return a text without line ends and tabs."""
    return " ".join(text.split()) or "␣"


def _short(text: str, most: int = 30) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _plain(piece: Piece) -> dict[str, str | float | int | None]:
    """Return what the page's program needs."""
    return {"text": _visible(piece.text), "value": piece.value, "share": piece.share, "of": piece.of}


@torch.inference_mode(mode=False)  # in which nothing could be differentiated
def attribution(
    model: Model,
    text: str,
    pair: str | None = None,
    *,
    label: str | int | None = None,
    steps: int = 50,
    words: bool = False,
    tokenizer: BertTokenizer | None = None,
) -> Attribution:
    """Tell how much each token contributed to a classifier's score, by integrated gradients on the word embeddings.

    The way leads in a straight line from the embeddings of [PAD] to those of the tokens; [CLS], [SEP], positions and
    segments stay. The number of steps is doubled until the attributions sum to the change of the score, within 1%.

    Args:
        model: a `BertForSequenceClassification`, its folder, or its name on the hub.
        text: what is classified.
        pair: the second text.
        label: the class whose logit is explained, by name or number; None takes the one that is predicted.
        steps: how many points on the way the gradient is taken at, at first.
        words: show words in place of the pieces that the tokenizer makes of them.
        tokenizer: of the model, where that of the folder is not meant.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: there is no such label, or no such number of steps.
        InputError: a model of another kind; a text that is empty or too long; no tokenizer; or damaged weights.
        MissingExtraError: captum is not installed.
    """
    if type(steps) is not int or not 2 <= steps <= _MOST_STEPS:
        raise ConfigError(f"steps is {steps!r}, expected a whole number from 2 to {_MOST_STEPS}")
    integrate = _integrated_gradients()
    subject = Subject.of(model, tokenizer)
    classifier = subject.model
    if not isinstance(classifier, BertForSequenceClassification):
        raise InputError(
            f"{subject.name} is a {type(classifier).__name__}; attribution explains one score of a whole text, which a "
            "BertForSequenceClassification gives (trained for text-classification, multi-label-classification or "
            "regression)"
        )
    chosen = _chosen(classifier, label)
    pairs = known_pairs(classifier.config)
    if pairs is not None and pairs != (pair is not None):
        raise InputError(
            "the model has learned pairs of texts; give a second text"
            if pairs
            else "the model has learned single texts, but here is a second text (pair)"
        )
    batch = subject.encode([text], None if pair is None else [pair])
    (encoding,) = subject.words().encodings([text], None if pair is None else [pair], details=True)
    if all(one is None for one in encoding.texts):
        raise InputError(
            "the text has no tokens but the special ones, so there is nothing to explain; give one with words"
        )
    special = torch.tensor([one is None for one in encoding.texts], device=batch.input_ids.device)
    blank = torch.where(special, batch.input_ids, classifier.config.pad_token_id)
    embed = classifier.get_input_embeddings()
    given = {"attention_mask": batch.attention_mask, "token_type_ids": batch.token_type_ids}

    with quietly(classifier, gradients=True):
        with torch.no_grad():
            inputs, baseline = embed(batch.input_ids), embed(blank)  # (1, S, H)
            logits = classifier(inputs_embeds=inputs, return_dict=True, **given).logits[0]
            number = int(logits.argmax()) if chosen is None else chosen

        def score(embeddings: Tensor) -> Tensor:
            """(N, S, H) -> (N,)."""
            many = {name: tensor.expand(len(embeddings), -1) for name, tensor in given.items()}
            found: Tensor = classifier(inputs_embeds=embeddings, return_dict=True, **many).logits[:, number]
            return found

        with torch.no_grad():
            ends = float(score(inputs)), float(score(baseline))
        subject.check_finite("the scores", logits)
        change = ends[0] - ends[1]
        # What is no more than the rounding of the two scores says nothing.
        rounding = 8 * torch.finfo(logits.dtype).eps * max(1.0, *map(abs, ends))
        tried = [steps]
        while 2 * tried[-1] <= _MOST_STEPS:
            tried.append(2 * tried[-1])
        for steps in with_bar(tried, total=None, label="integrating"):
            values = integrate(score, inputs, baseline, steps, max(1, _AT_ONCE // inputs.shape[1]))
            each = values[0].double().sum(dim=-1)  # (S,)
            gap = abs(float(each.sum()) - change)
            complete = gap <= max(_CLOSE * abs(change), rounding)
            if complete:
                break
    tokens = _pieces(batch.tokens[0], each.tolist(), encoding, change)
    return Attribution(
        name=subject.name,
        text=text,
        pair=pair,
        label=_label(classifier, number),
        predicted=_label(classifier, int(logits.argmax())),
        score=ends[0],
        baseline=ends[1],
        steps=steps,
        gap=gap,
        relative_gap=gap / abs(change) if change else None,
        complete=complete,
        limit=_CLOSE,
        tokens=tokens,
        words=_words(tokens, encoding, (text, pair or ""), change),
        joined=words,
    )


# Takes a function of embeddings, embeddings, the baseline, the steps and how many rows at once.
_Integrate = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor, int, int], Tensor]


def _integrated_gradients() -> _Integrate:
    """Return captum's integrated gradients.

    Raises:
        MissingExtraError: captum is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what captum has to say of its own imports concerns nobody here
        try:
            from captum.attr import IntegratedGradients
        except ImportError:
            raise MissingExtraError("captum", "inspect") from None

    def integrate(
        score: Callable[[Tensor], Tensor], inputs: Tensor, baseline: Tensor, steps: int, at_once: int
    ) -> Tensor:
        # Captum differentiates for the inputs alone: gradients of parameters are neither made nor touched.
        method: Any = IntegratedGradients(score, multiply_by_inputs=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Tensor = method.attribute(inputs, baselines=baseline, n_steps=steps, internal_batch_size=at_once)
        return found.detach()

    return integrate


def _chosen(model: BertForSequenceClassification, label: str | int | None) -> int | None:
    """Return the number of the class that is asked for; 0 for a regression, None where it is the predicted one.

    Raises:
        ConfigError: there is no such class.
    """
    names = model.config.id2label
    if model.config.num_labels == 1:
        if label is not None:
            raise ConfigError(f"label is {label!r}, but the model gives one number and has no classes; leave it out")
        return 0
    if label is None:
        return None
    if type(label) is int and label in names:
        return label
    found = [number for number, name in names.items() if name == label]
    if not found and isinstance(label, str) and label.isdecimal() and int(label) in names:
        return int(label)
    if not found:
        raise ConfigError(f"label is {label!r}, expected one of {shown(list(names.values()))}")
    return found[0]


def _label(model: BertForSequenceClassification, number: int) -> str | None:
    return None if model.config.num_labels == 1 else str(model.config.id2label[number])


def _pieces(tokens: Sequence[str], values: Sequence[float], encoding: Encoding, change: float) -> tuple[Piece, ...]:
    assert encoding.words is not None
    return tuple(
        Piece(text=token, value=value, share=value / change if change else None, of=of, word=word)
        for token, value, of, word in zip(tokens, values, encoding.texts, encoding.words, strict=True)
    )


def _words(tokens: Sequence[Piece], encoding: Encoding, texts: tuple[str, str], change: float) -> tuple[Piece, ...]:
    """Join the pieces of each word."""
    assert encoding.offsets is not None
    found: list[Piece] = []
    begin = 0
    for token, (start, end) in zip(tokens, encoding.offsets, strict=True):
        last = found[-1] if found else None
        if last is not None and token.of is not None and (token.of, token.word) == (last.of, last.word):
            value = last.value + token.value
            text = texts[token.of][begin:end]
            found[-1] = dataclasses.replace(last, text=text, value=value, share=value / change if change else None)
            continue
        begin = start
        text = token.text if token.of is None else texts[token.of][start:end]
        found.append(dataclasses.replace(token, text=text))
    return tuple(found)
