"""`inspect tree`: which modules a model is made of, and that its layers stand one after the other."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from glassbert.inspect.finding import Column, Drawing, Finding, Lines, Part, Prose, Table, figure, headed
from glassbert.inspect.running import Model, Subject, quietly
from glassbert.train.markup import Markup, tag
from glassbert.train.plots import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Branch:
    """A module and those in it.

    Attributes:
        name: under which it stands in the module above; "" for the model.
        kind: its class.
        says: its sizes, as printing it shows them.
        parameters: numbers in it and below, each once.
        repeats: how many modules that look the same stand here one after the other, itself included.
        branches: the modules in it.
    """

    name: str
    kind: str
    says: str
    parameters: int
    repeats: int
    branches: tuple[Branch, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A layer in the sequence.

    Attributes:
        layer: its number, from 0.
        reads: whose output went into it in the run: "embeddings" or "layer 3"; None where that was none of them.
        parameters: numbers in it.
    """

    layer: int
    reads: str | None
    parameters: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Tree(Finding):
    """The modules of a model.

    Attributes:
        name: of the model.
        root: the model.
        classes: how many modules there are of each class, most first.
        parameters: numbers in all.
        sequence: of a real run, from which module each layer took its input: the same tensor, in memory.
    """

    asks: ClassVar[str] = "Which modules is it made of, and do the layers run side by side or one after the other?"

    name: str
    root: Branch
    classes: dict[str, int]
    parameters: int
    sequence: tuple[Step, ...]

    @property
    def title(self) -> str:
        """Name the model and its size."""
        kind = "" if self.name == self.root.kind else f"a {self.root.kind} of "
        return f"{self.name}: {kind}{self.parameters:,} parameters"

    @property
    def in_sequence(self) -> bool:
        """Whether each layer took what the one before gave."""
        return not self._odd()

    def _odd(self) -> list[int]:
        """Return the layers that did not take what the one before gave."""
        before = ("embeddings", *(f"layer {number}" for number in range(len(self.sequence))))
        return [step.layer for step, one in zip(self.sequence, before) if step.reads != one]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {**super().to_dict(), "in_sequence": self.in_sequence}

    def parts(self) -> Iterable[Part]:
        """Give the tree, the counts of classes, and the layers in their order."""
        yield Lines("Modules", list(_drawn(self.root)), "At the left the numbers in a module and in all below it.")
        yield Table(
            "Classes",
            (Column("class", "code"), Column("modules", "number")),
            list(self.classes.items()),
            f"{sum(self.classes.values())} modules.",
        )
        count = len(self.sequence)
        if self.in_sequence:
            said = f"None of the {count} layers runs beside another: in a run, each took the very tensor that the one "
            said += "before it gave."
        else:
            odd = ", ".join(map(str, self._odd()))
            said = f"In a run, layers {odd} did not take the tensor that the layer before gave."
        yield Lines("The layers, in the order of a run", list(_chain(self)), said)
        yield Drawing("The sequence", _drawing(self))
        yield Prose(
            "",
            [
                "What runs side by side are the heads within a layer: one weight holds them all "
                "(glassbert inspect heads)."
            ],
        )

    def plot(self) -> Figure:
        """Draw the parts of the model in the order of a run, as long as they have parameters."""
        drawn = figure(7.0, 0.9 + 0.28 * (len(self.sequence) + 2))
        axes = drawn.add_subplot()
        rows = _stations(self)
        axes.barh(range(len(rows)), [size / 1e6 for _, size in rows], color=BLUE)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.set(xlabel="parameters, millions")
        axes.spines[["top", "right"]].set_visible(False)
        headed(drawn, self.title)
        return drawn


def tree(model: Model, *, kind: str | None = None) -> Tree:
    """Take a model apart into its modules.

    Args:
        model: a model, its folder, or its name on the hub.
        kind: name of the class to load a folder as; None takes what the folder says.

    Raises:
        CheckpointError: there is no such model.
    """
    subject = Subject.of(model, kind=kind)
    return Tree(
        name=subject.name,
        root=_branch("", subject.model),
        classes=dict(Counter(type(module).__name__ for module in subject.model.modules()).most_common()),
        parameters=subject.model.num_parameters(),
        sequence=_sequence(subject),
    )


def _branch(name: str, module: nn.Module, repeats: int = 1) -> Branch:
    branches: list[Branch] = []
    for child_name, child in module.named_children():
        made = _branch(child_name, child)
        last = branches[-1] if branches else None
        alike = last is not None and isinstance(module, nn.ModuleList) and _looks(last) == _looks(made)
        if last is not None and alike:
            branches[-1] = dataclasses.replace(last, repeats=last.repeats + 1)
        else:
            branches.append(made)
    return Branch(
        name=name,
        kind=type(module).__name__,
        says=module.extra_repr(),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        repeats=repeats,
        branches=tuple(branches),
    )


def _looks(branch: Branch) -> object:
    """Return what two modules of a list share that look the same."""
    return branch.kind, branch.says, branch.parameters, [(one.name, _looks(one)) for one in branch.branches]


def _drawn(branch: Branch, before: str = "", mark: str = "") -> Iterator[str]:
    many = f" to {int(branch.name) + branch.repeats - 1}" if branch.repeats > 1 else ""
    label = f"{branch.name}{many}: " if branch.name else ""
    each = f"{branch.repeats} × " if branch.repeats > 1 else ""
    says = f"({branch.says})" if branch.says else ""
    numbers = each + format(branch.parameters, ",") if branch.parameters else ""
    # Numbers stand at the left, where a narrow terminal does not part them from their line.
    yield f"{numbers:>15}  {before}{mark}{label}{branch.kind}{says}"
    inner = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[mark]
    for place, one in enumerate(branch.branches, start=1):
        yield from _drawn(one, inner, "└─ " if place == len(branch.branches) else "├─ ")


def _sequence(subject: Subject) -> tuple[Step, ...]:
    """Run two tokens and remember whose output each layer took."""
    bert = subject.bert
    given: dict[int, str] = {}  # by the id of a tensor that is alive: all are kept until the run ends
    kept: list[Tensor] = []
    reads: list[str | None] = [None] * len(bert.encoder.layer)

    def remember(name: str, output: Tensor) -> None:
        kept.append(output)
        given[id(output)] = name

    def look(place: int, inputs: tuple[object, ...]) -> None:
        reads[place] = given.get(id(inputs[0]))

    with quietly(bert) as stack:
        taken = [bert.embeddings.register_forward_hook(lambda module, _, output: remember("embeddings", output))]
        for place, layer in enumerate(bert.encoder.layer):

            def before(module: nn.Module, inputs: tuple[object, ...], place: int = place) -> None:
                look(place, inputs)

            def after(module: nn.Module, inputs: object, output: tuple[Tensor, ...], place: int = place) -> None:
                remember(f"layer {place}", output[0])

            taken += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
        for handle in taken:
            stack.callback(handle.remove)
        words = min(2, bert.config.max_position_embeddings)
        bert(torch.zeros(1, words, dtype=torch.int64, device=bert.device))
    return tuple(
        Step(layer=place, reads=one, parameters=sum(p.numel() for p in layer.parameters()))
        for place, (one, layer) in enumerate(zip(reads, bert.encoder.layer, strict=True))
    )


def _stations(found: Tree) -> list[tuple[str, int]]:
    """Return all that stands in the sequence, with its parameters: embeddings, layers, and what is left."""
    embeddings = next(one.parameters for one in _walk(found.root) if one.name == "embeddings")
    layers = [(f"layer {step.layer}", step.parameters) for step in found.sequence]
    rest = found.parameters - embeddings - sum(size for _, size in layers)
    return [("embeddings", embeddings), *layers, *([("pooler and head", rest)] if rest > 0 else [])]


def _walk(branch: Branch) -> Iterator[Branch]:
    yield branch
    for one in branch.branches:
        yield from _walk(one)


def _chain(found: Tree) -> Iterator[str]:
    rows = _stations(found)
    width = max(len(name) for name, _ in rows)
    for place, (name, size) in enumerate(rows):
        step = found.sequence[place - 1] if 1 <= place <= len(found.sequence) else None
        source = "" if step is None else f"   takes the output of {step.reads or 'something else'}"
        yield f"{name:<{width}}  {size:>12,}{source}"


def _drawing(found: Tree) -> Markup:
    """Draw boxes one under the other, with arrows that the run has shown."""
    rows = _stations(found)
    high, gap, wide = 30, 18, 300
    parts: list[Markup] = []
    for place, (name, size) in enumerate(rows):
        top = place * (high + gap) + 2
        step = found.sequence[place - 1] if 1 <= place <= len(found.sequence) else None
        if place and (step is None or step.reads is not None):
            x, y = 2 + wide / 2, top - gap
            head = f"M{x - 4} {top - 8}L{x} {top - 2}L{x + 4} {top - 8}"
            parts.append(tag("path", class_="arrow", d=f"M{x} {y}V{top - 2}{head}"))
        parts.append(tag("rect", class_="box", x=2, y=top, width=wide, height=high, rx=6))
        parts.append(tag("text", name, class_="in", x=16, y=top + 20))
        parts.append(tag("text", f"{size:,}", x=wide - 10, y=top + 20, text_anchor="end"))
    height = len(rows) * (high + gap) - gap + 4
    title = tag("title", "The layers one under the other, each with an arrow from the one before")
    return tag("svg", title, *parts, viewBox=f"0 0 {wide + 4} {height}", role="img", style=f"max-width:{wide + 4}px")
