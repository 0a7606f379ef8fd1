"""What every finding has in common: facts as typed fields, and the same as text, HTML, a page and a plot.

A finding says what there is to show as a list of parts, and each part can be read on a terminal and on a page. What
needs a mouse stands on the page alone, beside the same facts in a form that does not.
"""

from __future__ import annotations

import dataclasses
import io
import unicodedata
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple

from glassbert.files import new_file
from glassbert.tasks.results import Result
from glassbert.train import markup
from glassbert.train.markup import Markup, tag
from glassbert.train.plots import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

# Characters of a line of text that nobody's terminal gives the width of.
_WIDTH: Final = 150
# Of a name, which is but a part of what stands in a line.
_NAME: Final = 80
# What stands between these moves nothing of what is around it: U+2068 and U+2069.
ISOLATES: Final = "\u2068\u2069"
# Classes of characters that run from right to left.
_LEFTWARDS: Final = frozenset({"R", "AL", "AN"})

Value = str | int | float | None


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: at its head.
        kind: "text" may be broken between words, "code" is a name or a shape, "number" stands at the right, and
            "share" is a number from 0 to 1, which a page shows as a bar.
        form: of its numbers, as `format` takes it; for whole ones "," and for others ".4g", unless it is said.
    """

    name: str
    kind: Literal["text", "code", "number", "share"] = "text"
    form: str = ""

    def text(self, value: Value) -> str:
        """Return a value as one reads it."""
        if value is None:
            return "–"
        if isinstance(value, str):
            return value
        if self.kind == "share":
            return format(value, self.form or ".1%")
        return format(value, self.form or ("," if isinstance(value, int) else ".4g"))


class Part(ABC):
    """A part of a finding, under a heading."""

    @abstractmethod
    def rich(self) -> Sequence[RenderableType]:
        """Return what stands on a terminal."""

    @abstractmethod
    def html(self) -> Markup:
        """Return what stands on a page."""


@dataclasses.dataclass(frozen=True)
class Table(Part):
    """Rows of values under columns.

    Attributes:
        title: of it.
        columns: of each row.
        rows: values, as many as there are columns.
        about: a line that says how to read it.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    about: str = ""

    def rich(self) -> Sequence[RenderableType]:
        """Return a heading and the table."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=None, pad_edge=False, header_style="dim")
        for column in self.columns:
            right = column.kind in ("number", "share")
            table.add_column(
                Text(column.name),
                justify="right" if right else "left",
                no_wrap=right,
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*(Text(column.text(value)) for column, value in zip(self.columns, row, strict=True)))
        return [*_heading(self.title, self.about), table]

    def html(self) -> Markup:
        """Return the table with bars for shares."""
        heads = [(one.name, "number" if one.kind in ("number", "share") else None) for one in self.columns]
        rows = (
            tag("tr", *(_cell(column, value) for column, value in zip(self.columns, row, strict=True)))
            for row in self.rows
        )
        return markup.section(self.title, markup.table(heads, rows), about=self.about)


def _cell(column: Column, value: Value) -> Markup:
    text = column.text(value)
    if column.kind == "share" and isinstance(value, int | float):
        bar = tag("span", class_="sharebar", style=f"--s:{min(1.0, max(0.0, float(value))):.4f}")
        return tag("td", bar, tag("span", text, class_="sharetext"), class_="number")
    if column.kind == "number":
        return markup.cell(text)
    return tag("td", tag("code", text)) if column.kind == "code" else tag("td", markup.foreign(text))


@dataclasses.dataclass(frozen=True)
class Lines(Part):
    """Text whose lines and spaces stay as they are.

    Attributes:
        title: of it.
        lines: its lines.
        about: a line that says how to read it.
    """

    title: str
    lines: Sequence[str]
    about: str = ""

    def rich(self) -> Sequence[RenderableType]:
        """Return a heading and the lines."""
        from rich.text import Text

        return [*_heading(self.title, self.about), Text("\n".join(self.lines))]

    def html(self) -> Markup:
        """Return the lines as they are."""
        lines = tag("pre", tag("code", "\n".join(self.lines)), tabindex="0")
        return markup.section(self.title, lines, about=self.about)


@dataclasses.dataclass(frozen=True)
class Prose(Part):
    """Sentences.

    Attributes:
        title: of them; without one they stand under what is before.
        paragraphs: each a string.
    """

    title: str
    paragraphs: Sequence[str]

    def rich(self) -> Sequence[RenderableType]:
        """Return a heading and the paragraphs."""
        from rich.text import Text

        return [*_heading(self.title, ""), *(Text(one) for one in self.paragraphs)]

    def html(self) -> Markup:
        """Return the paragraphs."""
        paragraphs = [tag("p", one) for one in self.paragraphs]
        return markup.section(self.title, *paragraphs) if self.title else tag("section", *paragraphs)


@dataclasses.dataclass(frozen=True)
class Drawing(Part):
    """What stands on pages alone, as the terminal has another part with the same facts.

    Attributes:
        title: of it.
        content: HTML or SVG, made with `markup.tag`.
        about: a line that says how to read it.
    """

    title: str
    content: Markup
    about: str = ""

    def rich(self) -> Sequence[RenderableType]:
        """Return nothing."""
        return []

    def html(self) -> Markup:
        """Return the drawing."""
        return markup.section(self.title, self.content, about=self.about)


@dataclasses.dataclass(frozen=True)
class App(Part):
    """What answers clicks and keys, on pages alone.

    Attributes:
        title: of it.
        name: of the program `NAME.js` in this room, with its `NAME.css`: `apps.NAME = (root, data) => …` fills `root`.
        data: plain values for it.
        about: a line that says how to use it.
    """

    title: str
    name: str
    data: Any
    about: str = ""

    def rich(self) -> Sequence[RenderableType]:
        """Return nothing."""
        return []

    def html(self) -> Markup:
        """Return the place where the program draws, and its data."""
        place = tag("div", class_=f"app {self.name}", data_app=self.name)
        return markup.section(self.title, place, markup.data_block(f"data-{self.name}", self.data), about=self.about)


def _heading(title: str, about: str) -> list[RenderableType]:
    from rich.text import Text

    return [Text(text, style=style) for text, style in ((title, "bold"), (about, "dim")) if text]


class Finding(Result, ABC):
    """What was found out about a model or a text: the base of frozen dataclasses that have `repr=False`.

    `to_dict` gives its fields as plain values for JSON.
    """

    asks: ClassVar[str]
    """The question that it answers, which is the page's kicker."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is about, in one line."""

    @abstractmethod
    def parts(self) -> Iterable[Part]:
        """Give what there is to show, in order."""

    @abstractmethod
    def plot(self) -> Figure:
        """Draw it.

        Returns:
            A figure of matplotlib; nothing is shown or kept elsewhere.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """

    def renderables(self) -> list[RenderableType]:
        """Return all of it for a console of rich."""
        from rich.text import Text

        shown: list[RenderableType] = [Text(self.title, style="bold")]
        for part in self.parts():
            if here := part.rich():
                shown += ["", *here]
        return shown

    def __repr__(self) -> str:
        """Return all of it as text."""
        from rich.console import Console

        console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, highlight=False, emoji=False)
        for one in self.renderables():
            console.print(one)
        assert isinstance(console.file, io.StringIO)
        return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())

    def _repr_html_(self) -> str:
        """Return all of it, but for what answers clicks, for a notebook."""
        style = tag("style", Markup(_file("notebook.css")))
        shown = [part.html() for part in self.parts() if not isinstance(part, App)]
        return tag("div", style, tag("p", tag("strong", self.title)), *shown, class_="glassbert-finding")

    def page(self) -> str:
        """Return one page of HTML that needs no network and no other file."""
        from glassbert import __version__

        parts = list(self.parts())
        programs = list(dict.fromkeys(part.name for part in parts if isinstance(part, App)))
        styles = ["page.css", *(f"{name}.css" for name in programs)]
        scripts = ["page.js", *(f"{name}.js" for name in programs), "mount.js"] if programs else []
        top = tag("header", tag("p", self.asks, class_="kicker"), tag("h1", self.title))
        return markup.document(
            self.title,
            top,
            *(part.html() for part in parts),
            version=__version__,
            style="\n".join(map(_file, styles)),
            script="\n".join(map(_file, scripts)),
        )

    def write_html(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write `page()` into a file.

        Raises:
            OutputExistsError: it is there and `overwrite` is false.
            SaveError: the disk refused it.
        """
        text = self.page()
        with new_file(Path(path), overwrite=overwrite) as part:
            part.write_text(text, encoding="utf-8")

    def write_png(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write `plot()` into a .png file.

        Raises:
            MissingExtraError: matplotlib is not installed.
            OutputExistsError: it is there and `overwrite` is false.
            SaveError: the disk refused it.
        """
        figure = self.plot()
        with new_file(Path(path), overwrite=overwrite) as part:
            save_figure(figure, part)


def figure(width: float, height: float) -> Figure:
    """Return an empty figure of matplotlib, sizes in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    return new_figure(width, height, extra="inspect")


def headed(figure: Figure, title: str) -> None:
    """Write a title over a figure, from its left edge; of each line as much as the figure's width holds.

    Args:
        figure: of matplotlib, which takes "$" for a formula in most places, but not here.
        title: of one line or more.
    """
    lines = ["".join(one if one in ISOLATES else shown(one) for one in line) for line in title.split("\n")]
    text = figure.suptitle("", x=0.01, ha="left", fontsize=10, parse_math=False)
    room = 0.98 * figure.bbox.width

    def fits(line: str) -> bool:
        # The font for Chinese comes only when the picture is written; a dash is as wide as its signs.
        text.set_text("".join("—" if unicodedata.east_asian_width(char) in "WF" else char for char in line))
        return text.get_window_extent().width <= room

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        lines = [_fitting(line, fits) for line in lines]
    text.set_text("\n".join(lines))


def _fitting(line: str, fits: Callable[[str], bool]) -> str:
    """Return as much of a line as fits, which is found by halves."""
    if fits(line):
        return line
    low, high = 0, len(line)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(f"{line[:middle]}…") else (low, middle)
    return f"{line[:low].rstrip()}…"


def shown(text: str) -> str:
    """Return a text with the number of each character that cannot be seen, or that moves others."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"‹U+{ord(char):04X}›" for char in text)


def isolated(text: str) -> str:
    """Return a text as `shown` has it, so that letters from right to left do not turn round what stands beside it."""
    said = shown(text)
    if any(unicodedata.bidirectional(char) in _LEFTWARDS for char in said):
        return said.join(ISOLATES)
    return said


def shade(depth: float, *, blue: bool) -> str:
    """Return the class of a coloured cell that gives its number a colour one can read.

    Args:
        depth: of the colour over the page, from 0 to 1.
        blue: whether it is that, and not orange.
    """
    return "deep" if depth >= (0.84 if blue else 0.77) else "half" if depth >= 0.65 else ""


def named(name: str) -> str:
    """Return a name as it can stand in any line: not too long, and moving nothing around it."""
    return isolated(name if len(name) <= _NAME else f"{name[: _NAME - 1]}…")


def _file(name: str) -> str:
    return resources.files("glassbert.inspect").joinpath(name).read_text(encoding="utf-8")
