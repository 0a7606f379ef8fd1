"""A section of figures as a picture: a bar for each contender, and the limit of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench.encode.measure import Result, Section

_OURS: Final = "#d9762b"
_THEIRS: Final = "#9db4d3"
_INK: Final = "#28323c"
_FAINT: Final = "#8a929a"
_WIDTH: Final = 9.6
# Inches for each bar, and for all that stands around them.
_BAR: Final = 0.34
_REST: Final = 1.5


def draw(section: Section, target: Path) -> None:
    """Write a .png with the useful GFLOP/s of every contender, the fastest of each kind of number first."""
    from matplotlib.figure import Figure

    rows = sorted(section.rows, key=lambda row: (row.dtype != "float32", row.dtype, -row.gflops))
    kinds = list(dict.fromkeys(row.dtype for row in rows))
    # A gap before each kind of number, for its name.
    places = [index + 1.2 * kinds.index(row.dtype) for index, row in enumerate(rows)]
    figure = Figure(figsize=(_WIDTH, _REST + _BAR * (places[-1] + 2)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(
        places,
        [row.gflops for row in rows],
        height=0.72,
        color=[_OURS if row.peer == "glassbert" else _THEIRS for row in rows],
        xerr=_spread(rows),
        error_kw={"ecolor": _INK, "elinewidth": 0.8, "alpha": 0.55},
    )
    limit = section.facts["GEMM GFLOP/s"]
    widest = max(limit, *(row.gflops + more for row, more in zip(rows, _spread(rows)[1], strict=True)))
    for bar, row, right in zip(bars, rows, _spread(rows)[1], strict=True):
        text = f"{row.gflops:.0f}" if row.ratio == 1 else f"{row.gflops:.0f}   {1 / row.ratio:.2f}×"
        middle = bar.get_y() + bar.get_height() / 2
        edge = bar.get_width() + right + 0.008 * widest
        label = axes.text(edge, middle, text, va="center", fontsize=8, color=_INK)
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    axes.axvline(limit, color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.text(limit, -1.75, f"plain matrix products in float32: {limit:.0f}", ha="right", fontsize=8, color=_INK)
    for kind in kinds:
        first = min(place for place, row in zip(places, rows, strict=True) if row.dtype == kind)
        axes.text(0, first - 0.95, kind, fontsize=9, fontweight="bold", color=_FAINT, va="center")
    axes.set_yticks(places, [_label(row) for row in rows], fontsize=8.5)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row.peer == "glassbert":
            tick.set_fontweight("bold")
    axes.set_ylim(places[-1] + 0.7, -2.1)
    axes.set_xlim(0, widest * 1.16)
    axes.tick_params(axis="both", length=0, labelsize=8.5, colors=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.set_xlabel(
        "useful GFLOP/s: work on real tokens, none on padding (thin lines: fastest and slowest round);\n"
        "beside it the speed, where glassbert in float32 is 1",
        fontsize=8.5,
        color=_INK,
    )
    threads = section.facts["threads"]
    figure.suptitle(
        f"{section.title}; mean {section.facts['mean tokens']} tokens; "
        f"{threads} {'thread' if threads == 1 else 'threads'}",
        x=0.01,
        ha="left",
        fontsize=10,
        color=_INK,
    )
    figure.savefig(target)


def _label(row: Result) -> str:
    return ", ".join(filter(None, (row.peer, row.setting)))


def _spread(rows: list[Result]) -> tuple[list[float], list[float]]:
    """Return how far the slowest round of each is below its median speed, and the fastest above."""
    below = [row.gflops * (1 - row.median / max(row.seconds)) for row in rows]
    above = [row.gflops * (row.median / min(row.seconds) - 1) for row in rows]
    return below, above
