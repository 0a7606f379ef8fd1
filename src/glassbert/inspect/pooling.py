"""Which vector of a text serves: poolings compared on labelled texts, with the model as it is."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch
from torch import Tensor

from glassbert.data import Skipped, Source
from glassbert.errors import ConfigError, DataError
from glassbert.inspect.finding import App, Column, Finding, Part, Prose, Table, figure, headed
from glassbert.inspect.outputs import Outputs, measured
from glassbert.inspect.running import Model, Subject
from glassbert.model.sentence import pool
from glassbert.settings import ReadingSettings
from glassbert.tasks import ClassificationExample, TextClassification
from glassbert.tasks.text_classification import sorted_labels
from glassbert.tasks.texts import brief
from glassbert.text import BertTokenizer
from glassbert.train.examples import read_examples
from glassbert.train.plots import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PoolingName = Literal["cls", "pooler", "mean", "mean of last layers", "max"]
# Layers that are averaged, where there are as many.
_LAST: Final = 4
_FOLDS: Final = 5
# Of the ridge, as factors of the number of texts that it learns from; the best is told by those texts alone.
_PENALTIES: Final = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Texts that a picture has at most.
_DOTS: Final = 2000
# Of the classes in pictures, one after the other.
_COLOURS: Final = (BLUE, ORANGE, "#3a8f5c", "#a3496e", "#7a5bb5", "#8c7a1e", "#2a8f99", "#6b7280")
_MARKERS: Final = "osD^"
# Classes that a legend names.
_NAMED: Final = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolingScore:
    """How well one kind of vector tells the classes apart.

    Attributes:
        pooling: its short name.
        says: what it is.
        accuracy: share of the texts whose class a ridge regression tells right, each by the folds that it is not in.
        spread: standard deviation of the folds' accuracies.
        folds: the accuracy on each fold.
        centroid: the accuracy of taking the class with the nearest mean, on the same folds.
        scatter: scatter between the classes' means over scatter within the classes; None where the latter is 0.
        shown: share of the variance that the picture of components shows.
        components: of each text its place on the first two principal components, in units of the first's deviation.
        held_out: of each text its place by what the ridge says of it that did not see it: of two classes how far it
            leans to the second, beside the first component; of more the first two components of all classes' scores.
    """

    pooling: PoolingName
    says: str
    accuracy: float
    spread: float
    folds: tuple[float, ...]
    centroid: float
    scatter: float | None
    shown: float
    components: tuple[tuple[float, float], ...]
    held_out: tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PoolingComparison(Finding):
    """Which vector of a text tells the classes of labelled texts apart best.

    Attributes:
        name: of the model.
        examples: how many texts were used.
        of: how many there were.
        columns: what was guessed about the file's columns.
        skipped: bad records that were passed over.
        labels: the classes.
        counts: how many of the texts used each class has.
        alone: classes of one text alone, which were left out: one text cannot be both learned from and asked about.
        majority: the accuracy of always saying the most frequent class.
        poolings: the best first.
        margin: by how much the first is more accurate than the second.
        margin_spread: standard deviation of that difference over the folds.
        only_first, only_second: how many texts the one gets right and the other does not, and the reverse.
        texts: of each text its beginning.
        classes: of each text the number of its class.
        outputs: what the model returned for all of them.
    """

    asks: ClassVar[str] = "Which vector should stand for a text: [CLS], the pooler, or a mean over its tokens?"

    name: str
    examples: int
    of: int
    columns: str
    skipped: int
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    alone: tuple[str, ...]
    majority: float
    poolings: tuple[PoolingScore, ...]
    margin: float
    margin_spread: float
    only_first: int
    only_second: int
    texts: tuple[str, ...]
    classes: tuple[int, ...]
    outputs: Outputs

    @property
    def title(self) -> str:
        """Name the winner."""
        first = self.poolings[0]
        return f"{self.name}: {first.says} tells {first.accuracy:.1%} of {self.examples:,} texts right"

    @property
    def clear(self) -> bool:
        """Whether the first is ahead by more than the difference varies from fold to fold."""
        return self.margin > self.margin_spread

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {**super().to_dict(), "clear": self.clear}

    def parts(self) -> Iterable[Part]:
        """Give the ranking, what it says, the pictures, and what the model returned."""
        folds = len(self.poolings[0].folds)
        rows: list[tuple[str | float | None, ...]] = [
            (one.says, one.accuracy, one.spread, one.centroid, one.scatter) for one in self.poolings
        ]
        rows.append(("always the most frequent class", self.majority, None, None, None))
        yield Table(
            "Which vector tells the classes apart",
            (
                Column("vector of a text"),
                Column("accuracy", "share"),
                Column("± over folds", "number", ".1%"),
                Column("nearest mean", "number", ".1%"),
                Column("between / within", "number", ".3f"),
            ),
            rows,
            f"The model stays as it is. Accuracy: a ridge regression on the vectors, in {folds} folds, each told by "
            "the others. Nearest mean: the class whose mean vector is nearest, on the same folds. Between / within: "
            "the scatter of the classes' means over that within the classes.",
        )
        yield Prose("", list(self._verdict()))
        yield Table(
            "The texts",
            (Column("class"), Column("texts", "number"), Column("share", "share")),
            [(name, count, count / self.examples) for name, count in zip(self.labels, self.counts, strict=True)],
            self._sample(),
        )
        yield App(
            "The texts, drawn",
            "pooling",
            self._drawn(),
            "Principal components look at no class, so they flatter none; they show where vectors vary most, which "
            "need not be where classes differ. The other picture has what the ridge regression says of texts that "
            "it did not learn from. Point at a dot, or walk over the dots with the arrow keys, to read its text.",
        )
        yield from self.outputs.sections()

    def _verdict(self) -> Iterator[str]:
        first, second = self.poolings[:2]
        head = f"First is {first.says}, {100 * self.margin:.1f} points ahead of {second.says}"
        how = f"the standard deviation of that difference over the folds, {100 * self.margin_spread:.1f} points"
        if self.clear:
            yield f"{head}, which is more than {how}."
        else:
            yield f"{head}, which is no more than {how}: on these texts the two cannot be told apart."
        yield f"Told right by the first and not by the second: {self.only_first}; the reverse: {self.only_second}."
        if self.outputs.pooler is None:
            yield f"The pooler is not among them: {self.outputs.remedy}."
        elif self.outputs.pooler.fresh:
            yield "The pooler has random weights: the files had none for it."

    def _sample(self) -> str:
        said = f"{self.examples:,} of {self.of:,} texts, drawn by chance (always the same) in each class's share."
        said = said if self.examples < self.of else f"All {self.of:,} texts."
        if self.alone:
            names = ", ".join(self.alone[:10]) + (", …" if len(self.alone) > 10 else "")
            said += f" Left out, as they have one text alone: {names}."
        if self.outputs.cut:
            said += f" Cut, as the model takes no more: {self.outputs.cut:,}."
        if self.columns:
            said += f" Guessed: {self.columns}."
        if self.skipped:
            said += f" Bad records passed over: {self.skipped:,}."
        return said

    def _drawn(self) -> dict[str, object]:
        """Return what the page draws."""

        def places(points: Sequence[tuple[float, float]]) -> list[list[float]]:
            return [[round(x, 3), round(y, 3)] for x, y in points[:_DOTS]]

        pictures = [
            {
                "name": one.says,
                "accuracy": f"{one.accuracy:.1%}",
                "shown": f"{one.shown:.0%}",
                "components": places(one.components),
                "held_out": places(one.held_out),
            }
            for one in self.poolings
        ]
        return {
            "labels": self.labels,
            "texts": self.texts[:_DOTS],
            "classes": self.classes[:_DOTS],
            "pictures": pictures,
        }

    def plot(self) -> Figure:
        """Draw the accuracies, and the texts on the first two principal components of each kind of vector."""
        count = 1 + len(self.poolings)
        drawn = figure(10.5, 7.2)
        panels = list(drawn.subplots(2, 3).flat)
        bars = panels[0]
        names = [one.pooling for one in self.poolings]
        values = [one.accuracy for one in self.poolings]
        errors = [one.spread for one in self.poolings]
        bars.barh(range(len(names)), values, xerr=errors, color=_COLOURS[0], error_kw={"ecolor": "#6b7280"})
        bars.axvline(self.majority, color=_COLOURS[1], linestyle="--", linewidth=1.2)
        bars.set_yticks(range(len(names)), [name.replace(" of ", "\nof ") for name in names])
        bars.invert_yaxis()
        bars.set(xlim=(0.0, 1.0), title="accuracy ± over folds\n(dashed: most frequent class)")
        for panel, one in zip(panels[1:], self.poolings):
            for number, label in enumerate(self.labels):
                own = [
                    point
                    for point, of in zip(one.components[:_DOTS], self.classes[:_DOTS], strict=True)
                    if of == number
                ]
                if own:
                    across, up = zip(*own, strict=True)
                    named = _legend(label) if number < _NAMED else None
                    panel.scatter(
                        across, up, s=9, alpha=0.75, linewidths=0, label=named, color=_COLOURS[number % len(_COLOURS)],
                        marker=_MARKERS[number // len(_COLOURS) % len(_MARKERS)],
                    )  # fmt: skip
            panel.set(xticks=[], yticks=[])
            panel.set_title(f"{one.pooling}\nPCA: {one.shown:.0%} of the variance", fontsize=9)
        for place, panel in enumerate(panels):
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_visible(place < count)
            panel.title.set_fontsize(9)
        handles, labels = panels[1].get_legend_handles_labels()
        columns = min(8, len(labels), max(1, int(10.2 / max(map(_inches, labels)))))
        drawn.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
        headed(drawn, self.title)
        return drawn


def pooling(
    model: Model,
    data: Source,
    *,
    reading: ReadingSettings | None = None,
    limit: int | None = 500,
    seed: int = 0,
    tokenizer: BertTokenizer | None = None,
    kind: str | None = None,
) -> PoolingComparison:
    """Compare the vectors that may stand for a text, by how well they tell the classes of labelled texts apart.

    Nothing is trained but linear classifiers on the vectors, in closed form and always with the same result.

    Args:
        model: a model, its folder, or its name on the hub.
        data: labelled texts, or pairs: paths or records, as `glassbert.finetune` takes them.
        reading: how files are read, and what their columns mean.
        limit: at most so many texts are used, drawn by chance in each class's share; None takes all.
        seed: decides which, and which fold each is in.
        tokenizer: of the model, where that of the folder is not meant.
        kind: name of the class to load a folder as, such as BertModel, which has a pooler; None takes what it says.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: a limit that is no number from 4.
        DataError: a bad record, no labels, or fewer than two classes of two texts or more.
        InputError: no tokenizer, or damaged weights.
    """
    if limit is not None and (type(limit) is not int or limit < 4):
        raise ConfigError(f"limit is {limit!r}, expected a whole number from 4, or None for all")
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise ConfigError(f"seed is {seed!r}, expected a whole number from 0")
    reading = ReadingSettings() if reading is None else reading
    skipped = Skipped() if reading.skip_bad else None
    guessed: list[str] = []
    everything: list[ClassificationExample] = list(
        read_examples(TextClassification(), data, reading, skipped=skipped, say=guessed.append)
    )
    if skipped is not None:
        everything = list(_with_text(everything, skipped))
    sample = _sampled(everything, limit, seed)
    subject = Subject.of(model, tokenizer, kind=kind)
    features = list(
        TextClassification().features(sample.examples, subject.words(), max_length=subject.limit, labelled=False)
    )
    encodings = [feature.encoding for feature in features]
    kinds = _kinds(subject)
    vectors = {kind: torch.zeros(len(encodings), subject.config.hidden_size, dtype=torch.float64) for kind in kinds}

    def see(places: Sequence[int], states: Sequence[Tensor], pooled: Tensor | None, real: Tensor) -> None:
        for kind, rows in vectors.items():
            rows[list(places)] = _vectors(kind, states, pooled, real).double().cpu()

    cut = sum(one.cut > 0 for one in encodings)
    returned = measured(subject, subject.batch(encodings), cut=cut, see=see)
    classes = torch.tensor(sample.classes)
    trials = {kind: _tried(vectors[kind], classes, sample.folds) for kind in kinds}
    scores = [trials[kind].score(kind, says) for kind, says in kinds.items()]
    scores.sort(key=lambda one: (-one.accuracy, -(one.scatter or 0.0)))
    first, second = (trials[one.pooling] for one in scores[:2])
    margins = [one - other for one, other in zip(first.folds, second.folds, strict=True)]
    return PoolingComparison(
        name=subject.name,
        examples=len(sample.examples),
        of=len(everything),
        columns="; ".join(guessed),
        skipped=skipped.count if skipped else 0,
        labels=sample.labels,
        counts=tuple(sample.classes.count(number) for number in range(len(sample.labels))),
        alone=sample.alone,
        majority=max(Counter(sample.classes).values()) / len(sample.classes),
        poolings=tuple(scores),
        margin=scores[0].accuracy - scores[1].accuracy,
        margin_spread=_deviation(margins),
        only_first=int((first.right & ~second.right).sum()),
        only_second=int((second.right & ~first.right).sum()),
        texts=tuple(brief(one.text, one.pair) for one in sample.examples),
        classes=tuple(sample.classes),
        outputs=returned,
    )


def _with_text(examples: Iterable[ClassificationExample], skipped: Skipped) -> Iterator[ClassificationExample]:
    """Pass over examples without a text, and count them."""
    for example in examples:
        if example.text.strip() and (example.pair is None or example.pair.strip()):
            yield example
        else:
            skipped.add(example.error("the text is empty"))


def _inches(label: str) -> float:
    """Return about how wide a class is in the legend, with its dot."""
    return 0.6 + 0.075 * sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in label)


def _legend(label: str) -> str:
    """Return a class's name for matplotlib, which leaves out names that begin with "_", and takes "$" for a formula."""
    short = label if len(label) <= 30 else f"{label[:29]}…"
    return "\u200b" + short.replace("$", r"\$")


def _kinds(subject: Subject) -> dict[PoolingName, str]:
    """Return the kinds of vectors that a model has, each with what it is."""
    bert = subject.bert
    last = min(_LAST, len(bert.encoder.layer))
    kinds: dict[PoolingName, str] = {
        "cls": "[CLS] of the last layer",
        "mean": "mean over the tokens",
        "max": "largest over the tokens",
    }
    if last > 1:
        kinds["mean of last layers"] = f"mean over the tokens of the last {last} layers"
    if bert.pooler is not None:
        kinds["pooler"] = "pooler_output"
    return kinds


def _vectors(kind: PoolingName, states: Sequence[Tensor], pooled: Tensor | None, real: Tensor) -> Tensor:
    """Return one vector a text, (B, H)."""
    if kind == "pooler":
        assert pooled is not None
        return pooled
    if kind == "mean of last layers":
        last = min(_LAST, len(states) - 1)
        return pool(torch.stack(list(states[-last:])).mean(dim=0), real, "mean")
    return pool(states[-1], real, kind)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sample:
    """Texts that were drawn.

    Attributes:
        examples: the texts.
        classes: of each the number of its class.
        folds: of each the number of its fold.
        labels: names of the classes.
        alone: names of those that were left out.
    """

    examples: list[ClassificationExample]
    classes: list[int]
    folds: Tensor
    labels: tuple[str, ...]
    alone: tuple[str, ...]


def _sampled(everything: Sequence[ClassificationExample], limit: int | None, seed: int) -> _Sample:
    """Draw texts so that each class keeps its share, and at least two; and spread each class over the folds."""
    by_label: dict[str, list[int]] = {}
    for place, example in enumerate(everything):
        assert example.label is not None
        by_label.setdefault(example.label, []).append(place)
    alone = tuple(name for name, places in by_label.items() if len(places) == 1)
    by_label = {name: places for name, places in by_label.items() if len(places) > 1}
    if len(by_label) < 2:
        found = ", ".join(by_label) or "none"
        raise DataError(
            f"the data has {len(by_label)} class{'' if len(by_label) == 1 else 'es'} of two texts or more ({found}), "
            "expected two or more classes to tell apart"
        )
    if limit is not None and limit < 2 * len(by_label):
        raise DataError(
            f"limit is {limit}, which is fewer than two texts of each of {len(by_label)} classes; raise it (--limit)"
        )
    labels = sorted_labels(by_label)
    generator = torch.Generator().manual_seed(seed)
    drawn: list[tuple[bool, float, int, int]] = []
    for number, name in enumerate(labels):
        places = by_label[name]
        order = torch.randperm(len(places), generator=generator).tolist()
        drawn += [(rank > 1, (rank + 0.5) / len(places), number, places[one]) for rank, one in enumerate(order)]
    drawn = sorted(drawn)[:limit]
    classes = [one[2] for one in drawn]
    count = min(_FOLDS, *Counter(classes).values())
    folds = torch.zeros(len(drawn), dtype=torch.int64)
    # One class goes on where the one before ended, so that the folds are of one size.
    for turn, place in enumerate(sorted(range(len(drawn)), key=lambda place: classes[place])):
        folds[place] = turn % count
    return _Sample(
        examples=[everything[one[3]] for one in drawn], classes=classes, folds=folds, labels=labels, alone=alone
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """What was found of one kind of vector.

    Attributes:
        vectors: (N, H).
        classes: (N,).
        said: (N, C) scores of the ridge for texts that it did not learn from.
        right: (N,) whether the largest is that of the text's class.
        nearest: (N,) whether the nearest mean is.
        folds: the share of right answers in each fold.
    """

    vectors: Tensor
    classes: Tensor
    said: Tensor
    right: Tensor
    nearest: Tensor
    folds: list[float]

    def score(self, name: PoolingName, says: str) -> PoolingScore:
        """Return what is told of it."""
        components, shown = _components(self.vectors)
        if self.said.shape[1] == 2:
            held_out = torch.stack([self.said[:, 1] - self.said[:, 0], components[:, 0]], dim=1)
        else:
            held_out, _ = _components(self.said)
        return PoolingScore(
            pooling=name,
            says=says,
            accuracy=float(self.right.double().mean()),
            spread=_deviation(self.folds),
            folds=tuple(self.folds),
            centroid=float(self.nearest.double().mean()),
            scatter=_scatter(self.vectors, self.classes),
            shown=shown,
            components=_pairs(components),
            held_out=_pairs(held_out),
        )


def _tried(vectors: Tensor, classes: Tensor, folds: Tensor) -> _Trial:
    """Let each fold be told by what is learned from the others."""
    count = int(classes.max()) + 1
    targets = torch.nn.functional.one_hot(classes, count).double()
    said = torch.zeros_like(targets)
    nearest = torch.zeros_like(classes)
    for fold in range(int(folds.max()) + 1):
        test = folds == fold
        learned, means = vectors[~test], _means(vectors[~test], targets[~test])
        nearest[test] = torch.cdist(vectors[test], means).argmin(dim=1)
        said[test] = ridge(learned, targets[~test], vectors[test])
    right = said.argmax(dim=1) == classes
    return _Trial(
        vectors=vectors,
        classes=classes,
        said=said,
        right=right,
        nearest=nearest == classes,
        folds=[float(right[folds == fold].double().mean()) for fold in range(int(folds.max()) + 1)],
    )


def ridge(inputs: Tensor, targets: Tensor, asked: Tensor) -> Tensor:
    """Learn a ridge regression and apply it.

    Inputs are brought to mean 0 and deviation 1. The penalty is the one with the least squared error where each row is
    told by all others, which has a closed form: its error divided by one less its leverage.

    Args:
        inputs: (N, H).
        targets: (N, C).
        asked: (M, H).

    Returns:
        (M, C).
    """
    mean, deviation = inputs.mean(dim=0), inputs.std(dim=0, correction=0).clamp(min=1e-12)
    middle = targets.mean(dim=0)
    left, sizes, right = torch.linalg.svd((inputs - mean) / deviation, full_matrices=False)  # (N, K), (K,), (K, H)
    wanted = left.T @ (targets - middle)  # (K, C)
    best: tuple[float, Tensor] | None = None
    for penalty in _PENALTIES:
        kept = sizes**2 / (sizes**2 + penalty * len(inputs))  # (K,)
        leverage = (left**2 @ kept + 1.0 / len(inputs)).clamp(max=1.0 - 1e-9)
        errors = (targets - middle - left @ (kept[:, None] * wanted)) / (1.0 - leverage)[:, None]
        error = float(errors.square().sum())
        if best is None or error < best[0]:
            weights = right.T @ ((sizes / (sizes**2 + penalty * len(inputs)))[:, None] * wanted)  # (H, C)
            best = error, weights
    assert best is not None
    return ((asked - mean) / deviation) @ best[1] + middle


def _means(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the mean vector of each class, (C, H)."""
    return targets.T @ vectors / targets.sum(dim=0)[:, None]


def _scatter(vectors: Tensor, classes: Tensor) -> float | None:
    """Return the scatter between the classes' means over that within the classes: traces of both matrices."""
    targets = torch.nn.functional.one_hot(classes).double()
    means = _means(vectors, targets)
    within = float((vectors - means[classes]).square().sum())
    between = float((means[classes] - vectors.mean(dim=0)).square().sum())
    return between / within if within > 1e-12 * between and within > 0.0 else None


def _components(vectors: Tensor) -> tuple[Tensor, float]:
    """Return each row's place on the first two principal components, (N, 2), and their share of the variance."""
    centred = vectors - vectors.mean(dim=0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    # Which way a component points is left open; the first text lies to the right and above.
    places = left[:, :2] * sizes[:2]
    places = places * torch.where(places[0] < 0, -1.0, 1.0)
    if places.shape[1] == 1:
        places = torch.cat([places, torch.zeros_like(places)], dim=1)
    whole = float(sizes.square().sum())
    share = float(sizes[:2].square().sum()) / whole if whole else 0.0
    unit = places[:, 0].std(correction=0).clamp(min=1e-12)
    return places / unit, share


def _pairs(places: Tensor) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in places.tolist())


def _deviation(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).std())
