"""How the engine's time grows with the length of a text and with the number of texts, beside what the work takes.

The work of a text of s tokens is L·s·(8H² + 4HI + 4sH) operations; at the rate of plain matrix products of the same
shapes, measured in the same run, that is the time which nothing can go below.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from rich.console import Console
from rich.table import Table

from bench.common import forward_flops, gemm_rate, machine, minilm_folder, race, settle
from glassbert import BertModel, Engine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LENGTHS: Final = (16, 32, 64, 128, 256, 512)
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Tokens of many texts of one length, and of each text where their number grows.
_MANY: Final = 8192
_LENGTH: Final = 32
# Times of a single short text are of milliseconds; a round takes the median of several.
_REPEATS: Final = 9
_BLUE: Final = "#2f5d9b"
_ORANGE: Final = "#d9762b"
_INK: Final = "#28323c"
_FAINT: Final = "#8a929a"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """Time of some texts of one length.

    Attributes:
        texts: how many, given at once.
        length: tokens of each.
        seconds: of each round, for all of them.
        least: what the formula's work takes at the rate of plain matrix products, for all of them.
    """

    texts: int
    length: int
    seconds: tuple[float, ...]
    least: float

    @property
    def median(self) -> float:
        """Median time of a round."""
        return statistics.median(self.seconds)


def run(*, rounds: int, threads: int, file: Path | None, picture: Path | None) -> None:
    """Measure all-MiniLM-L6-v2 at all lengths and numbers of texts in turn; print a table, write what is asked for."""
    torch.set_num_threads(threads)
    model = BertModel.from_pretrained(minilm_folder())
    engine = Engine(model)
    generator = torch.Generator().manual_seed(0)

    def texts(count: int, length: int) -> list[list[int]]:
        ids: list[list[int]] = torch.randint(1000, 20000, (count, length), generator=generator).tolist()
        return ids

    shapes = {(1, length) for length in _LENGTHS} | {(_MANY // length, length) for length in _LENGTHS}
    shapes |= {(count, _LENGTH) for count in _BATCHES}
    seconds: dict[tuple[int, int], list[float]] = {shape: [] for shape in sorted(shapes)}

    def turn(shape: tuple[int, int]) -> Callable[[], None]:
        encode = functools.partial(engine.hidden_states, texts(*shape))
        repeats = _REPEATS if shape[0] * shape[1] <= 1024 else 1

        def several() -> None:
            times = race({"": encode}, rounds=repeats)[""]
            seconds[shape].append(statistics.median(times))

        return several

    turns = [turn(shape) for shape in seconds]
    rates = [gemm_rate(model.config)]
    for _ in range(rounds):
        for one in turns:
            one()
        settle()
        rates.append(gemm_rate(model.config))
    rate = max(rates)
    points = [
        Point(
            texts=count, length=length, seconds=tuple(times), least=forward_flops(model.config, [length] * count) / rate
        )
        for (count, length), times in seconds.items()
    ]
    facts = {"GEMM GFLOP/s": round(rate / 1e9, 1), **machine()}
    _print(points, facts)
    if file is not None:
        values = {"facts": facts, "points": [{**dataclasses.asdict(one), "median": one.median} for one in points]}
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    if picture is not None:
        draw(points, facts, picture)


def draw(points: Sequence[Point], facts: dict[str, Any], target: Path) -> None:
    """Write a .png: time by length and by number of texts, and the formula's least time as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    single = sorted((one for one in points if one.texts == 1), key=lambda one: one.length)
    many = sorted((one for one in points if one.texts == _MANY // one.length), key=lambda one: one.length)
    growing = sorted((one for one in points if one.length == _LENGTH), key=lambda one: one.texts)
    lengths = [one.length for one in single]
    for some, color, label in ((single, _ORANGE, "one text alone"), (many, _BLUE, "one of many")):
        _curve(left, lengths, [[1000 * value / one.texts for value in one.seconds] for one in some], color, label)
    _limit(left, lengths, [1000 * one.least for one in single])
    _axes(left, lengths, "tokens of a text", "ms for each text", "How time grows with length")
    counts = [one.texts for one in growing]
    per_text = [[1000 * value / one.texts for value in one.seconds] for one in growing]
    _curve(right, counts, per_text, _BLUE, f"texts of {_LENGTH} tokens")
    _limit(right, counts, [1000 * one.least / one.texts for one in growing])
    _axes(right, counts, "texts given at once", "ms for each text", "What company saves")
    threads = facts["threads"]
    figure.suptitle(
        f"all-MiniLM-L6-v2, float32, {threads} {'thread' if threads == 1 else 'threads'}; "
        f"plain matrix products: {facts['GEMM GFLOP/s']:.0f} GFLOP/s",
        x=0.01,
        ha="left",
        fontsize=10,
        color=_INK,
    )
    figure.savefig(target)


def _curve(axes: Axes, places: Sequence[int], rounds: Sequence[Sequence[float]], color: str, label: str) -> None:
    axes.fill_between(places, [min(one) for one in rounds], [max(one) for one in rounds], color=color, alpha=0.18, lw=0)
    middle = [statistics.median(one) for one in rounds]
    axes.plot(places, middle, color=color, marker="o", markersize=3.5, linewidth=1.4, label=label)


def _limit(axes: Axes, places: Sequence[int], least: Sequence[float]) -> None:
    label = "the formula's work at the rate of plain products"
    axes.plot(places, least, color=_INK, linewidth=1, linestyle=(0, (4, 3)), label=label)


def _axes(axes: Axes, places: Sequence[int], below: str, beside: str, title: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(places, [str(place) for place in places])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "235" else "")
    axes.tick_params(which="both", labelsize=8, colors=_INK, length=2)
    axes.grid(visible=True, which="major", color="#e8eaec", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(_FAINT)
    axes.set_xlabel(below, fontsize=8.5, color=_INK)
    axes.set_ylabel(beside, fontsize=8.5, color=_INK)
    axes.set_title(title, loc="left", fontsize=9.5, color=_INK)
    axes.legend(frameon=False, fontsize=8)


def _print(points: Sequence[Point], facts: dict[str, Any]) -> None:
    table = Table(title="all-MiniLM-L6-v2, float32", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for heading in ("texts", "tokens of each", "median ms", "min", "max", "least ms", "share"):
        table.add_column(heading, justify="right")
    for one in points:
        times = (one.median, min(one.seconds), max(one.seconds), one.least)
        milliseconds = (f"{1000 * value:.2f}" for value in times)
        table.add_row(str(one.texts), str(one.length), *milliseconds, f"{one.least / one.median:.2f}")
    console = Console(highlight=False, width=max(118, Console().width))
    console.print(table)
    console.print("  ".join(f"{name}: {value}" for name, value in facts.items()), style="dim")
