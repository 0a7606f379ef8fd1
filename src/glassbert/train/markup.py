"""HTML that is escaped by construction, the page it stands in, and curves as SVG inside it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any, Final, NamedTuple

# A curve has at most this many points: the lowest and the highest of each of half as many parts.
MOST_POINTS: Final = 600
Point = tuple[float, float]

# Control characters have no place in HTML; each has a picture of its own in Unicode.
_PICTURES: Final = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Return any text as HTML that shows it; what is HTML already stays."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(text.translate(_PICTURES)))


def tag(name: str, *content: str, **attributes: str | float | None) -> Markup:
    """Return an element; contents and attributes are escaped.

    Args:
        name: of the element.
        content: texts and elements, in their order.
        attributes: `class_` is class and `data_label` is data-label; those that are None are left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(map(escaped, content))}</{name}>")


def document(title: str, *content: str, version: str, style: str = "", script: str = "") -> str:
    """Return a page that needs nothing else: no font, no network, and no script but the one that is given.

    Args:
        title: of the page.
        content: what stands in it.
        version: of glassbert, for its last line.
        style: more rules, after those that all pages have.
        script: a program of ours that runs when the page stands; never anything that came from data.
    """
    style = resources.files("glassbert.train").joinpath("report.css").read_text(encoding="utf-8") + style
    # Whatever the data holds, the browser fetches nothing, and runs nothing but the script of this hash.
    allowed = "default-src 'none'; style-src 'unsafe-inline'"
    if script:
        allowed += f"; script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{allowed}">'
        f"{tag('title', title)}<style>{style}</style>"
    )
    body = tag("main", *content, tag("footer", f"Written by glassbert {version}".rstrip() + "."))
    program = f"<script>{script}</script>" if script else ""
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}{program}</body></html>\n'


def data_block(name: str, value: Any) -> Markup:
    """Return plain values for a page's script, which reads them as JSON from the element of this id."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Within a script element "<" may begin what ends it; as an escape it is the same JSON.
    text = text.replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{escaped(name)}">{text}</script>')


def section(title: str, *content: str, about: str = "") -> Markup:
    """Return a part of a page under its heading and, perhaps, a line about it."""
    return tag("section", tag("h2", title), *([tag("p", about)] if about else []), *content)


def table(
    heads: Sequence[tuple[str, str | None]], rows: Iterable[Markup], *, class_: str | None = None, scroll: bool = True
) -> Markup:
    """Make a table; of each column its head and its class."""
    head = tag("tr", *(tag("th", name, scope="col", class_=kind) for name, kind in heads))
    made = tag("table", tag("thead", head), tag("tbody", *rows), class_=class_)
    return tag("div", made, class_="scroll", tabindex="0") if scroll else made


def cell(value: str) -> Markup:
    """Return a cell of a number."""
    return tag("td", value, class_="number")


def foreign(text: str) -> Markup:
    """Show text of any script; its direction does not reach what stands around it, and long names may break."""
    return tag("bdi", Markup(escaped(text).replace("_", "_<wbr>")), dir="auto")


class Curve(NamedTuple):
    """A line of a chart.

    Attributes:
        style: its class: raw, smooth or dots.
        points: in order of x; those that are not finite are left out.
    """

    style: str
    points: Sequence[Point]


class _Scale(NamedTuple):
    """Where numbers stand on an axis: from `low` at `begin` to `high` at `end`."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.begin + share * (self.end - self.begin)


# Of the drawing, which is scaled to the width that there is.
_WIDTH: Final = 480.0
_HEIGHT: Final = 230.0
_CHARACTER: Final = 7.3
_DOTS: Final = 60


def chart(
    curves: Sequence[Curve], *, steps: float, title: str, marked: float | None = None, from_zero: bool = True
) -> Markup:
    """Draw curves over steps as SVG.

    Args:
        curves: the first lie below the others.
        steps: where the axis ends, which begins at 0.
        title: what a screen reader says of it.
        marked: a step that is marked.
        from_zero: whether the axis begins at 0 where no value is below.
    """
    finite = [
        Curve(style, [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]) for style, points in curves
    ]
    values = [y for _, points in finite for _, y in points]
    if not values:
        return Markup()
    low, high = (min(0.0, *values) if from_zero else min(values)), max(values)
    parts, left, up = _grid(low, high, top=1.0 if values[0] <= 1.0 and not from_zero else math.inf)
    across = _Scale(0.0, steps, left, _WIDTH - 14.0)
    below = _number(_HEIGHT - 9.0)
    parts += [
        tag("text", short(value), x=_number(across(value)), y=below, text_anchor="middle")
        for value in inner_ticks(across.low, across.high)
    ]
    if marked is not None and 0.0 <= marked <= steps:
        at = _number(across(marked))
        parts.append(tag("line", class_="marked", x1=at, x2=at, y1=_number(12.0), y2=_number(_HEIGHT - 30.0)))
    for style, points in finite:
        drawn = [(across(x), up(y)) for x, y in thinned(points)]
        if len(drawn) > 1:
            line = "L".join(f"{_number(x)} {_number(y)}" for x, y in drawn)
            parts.append(tag("path", class_=style, d=f"M{line}"))
        if len(drawn) == 1 or (style == "dots" and len(drawn) <= _DOTS):
            for (x, y), (step, value) in zip(drawn, points):
                kind = "dot marked" if style == "dots" and step == marked else "dot"
                said = tag("title", f"step {short(step)}: {value:.4f}")
                parts.append(
                    tag("circle", said, class_=kind, cx=_number(x), cy=_number(y), r="5" if step == marked else "3.5")
                )
    return tag("svg", tag("title", title), *parts, viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", role="img")


class Dot(NamedTuple):
    """A point of a scatter plot.

    Attributes:
        x, y: its place.
        kind: its class beside `dot`: marked, hollow or none.
        said: of it, where one points at it.
    """

    x: float
    y: float
    kind: str
    said: str


def scatter(
    dots: Sequence[Dot],
    *,
    places: Sequence[tuple[float, str]],
    title: str,
    line: Sequence[Point] = (),
    room: float = 0.0,
) -> Markup:
    """Draw points as SVG.

    Args:
        dots: the last lie above the others.
        places: of the axis across, each with its label.
        title: what a screen reader says of it.
        line: that lies below the dots.
        room: how far the axis goes beyond the first and the last of all places and dots.
    """
    if not dots:
        return Markup()
    heights, widths = [dot.y for dot in dots], [*(dot.x for dot in dots), *(x for x, _ in places)]
    parts, left, up = _grid(min(heights), max(heights), top=1.0 if max(heights) <= 1.0 else math.inf)
    across = _Scale(min(widths) - room, max(widths) + room, left + 14.0, _WIDTH - 28.0)
    below = _number(_HEIGHT - 9.0)
    parts += [tag("text", label, x=_number(across(x)), y=below, text_anchor="middle") for x, label in places]
    if len(line) > 1:
        drawn = "L".join(f"{_number(across(x))} {_number(up(y))}" for x, y in line)
        parts.append(tag("path", class_="best", d=f"M{drawn}"))
    for x, y, kind, said in dots:
        class_, at = f"dot {kind}".rstrip(), {"cx": _number(across(x)), "cy": _number(up(y))}
        parts.append(tag("circle", tag("title", said), class_=class_, r="5.5" if kind == "marked" else "4", **at))
    return tag("svg", tag("title", title), *parts, viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", role="img")


def _grid(low: float, high: float, *, top: float) -> tuple[list[Markup], float, _Scale]:
    """Return the lines and labels of the axis upwards, where they end on the left, and the axis itself.

    Values that are all the same get some room, but none above `top`.
    """
    if low == high:
        low, high = low - 0.1 * abs(low), min(high + (0.1 * abs(high) or 1.0), max(top, high))
    rows = ticks(low, high)
    labels = [short(value) for value in rows]
    left = max(56.0, 12.0 + _CHARACTER * max(map(len, labels)))  # so that charts below each other line up
    up = _Scale(rows[0], rows[-1], _HEIGHT - 30.0, 12.0)
    parts = []
    for value, label in zip(rows, labels, strict=True):
        at = _number(up(value))
        parts.append(tag("line", class_="grid", x1=_number(left), x2=_number(_WIDTH - 14.0), y1=at, y2=at))
        parts.append(tag("text", label, x=_number(left - 8.0), y=_number(up(value) + 4.5), text_anchor="end"))
    return parts, left, up


def _number(value: float) -> str:
    return f"{value:.1f}"


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Return at most MOST_POINTS of a curve's points: the ends, and of each part the lowest and the highest."""
    if len(points) <= MOST_POINTS:
        return points
    inner, parts = points[1:-1], (MOST_POINTS - 2) // 2
    kept = [points[0]]
    for number in range(parts):
        part = inner[number * len(inner) // parts : (number + 1) * len(inner) // parts]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the running mean of values, over about a fortieth of them."""
    keep = 1.0 - 1.0 / max(4.0, len(values) / 40)
    means, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + value, keep * weight + 1.0
        means.append(total / weight)
    return means


def _step(low: float, high: float, count: int) -> float:
    """Return 1, 2 or 5 times a power of ten, such that about so many fit between two numbers."""
    rough = (high - low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers at equal distances that begin at or below `low` and end at or above `high`."""
    step = _step(low, high, count)
    # The values themselves may be rounded: 0.3 is no more than three times 0.1.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def inner_ticks(low: float, high: float, count: int = 8) -> list[float]:
    """Return round whole numbers between two numbers, ends included."""
    step = max(1.0, _step(low, high, count))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return round numbers between two numbers above 0, each with its label, for an axis of their logarithms."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):  # as many as there is room for
        inside = [factor * 10.0**power for power in powers for factor in factors]
        inside = [one for one in inside if low * 0.999 <= one <= high * 1.001]
        if len(inside) <= 6:
            break
    chosen = inside if len(inside) > 1 else [low, high]
    return [
        (one, f"{one:.3g}" if one >= 1e-2 else f"{one:.1e}".replace(".0e", "e").replace("e-0", "e-")) for one in chosen
    ]


def short(value: float) -> str:
    """Return a number as it stands at an axis."""
    if abs(value) >= 1000.0 and value == int(value):
        return f"{value:,.0f}" if abs(value) < 1e6 else f"{value / 1e6:g}M"
    mantissa, e, exponent = f"{value:.6g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa
