"""Pictures of a training run; the only file that imports matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glassbert.errors import MissingExtraError
from glassbert.tasks import ClassificationMetrics
from glassbert.train.events import Step
from glassbert.train.markup import smoothed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEARNING_CURVE: Final = "learning_curve.png"
CONFUSION_MATRIX: Final = "confusion_matrix.png"
# Classes up to which a matrix of confusions is drawn, or written.
MOST_CLASSES: Final = 100
# With signs that matplotlib's own font lacks.
_FONTS: Final = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans",
)
_BLUE: Final = "#2f5d9b"
_ORANGE: Final = "#d9762b"


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "train") from None
    # The Figure object alone, without pyplot, opens no window and keeps no global state.
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def plot_learning_curve(
    history: Sequence[Step], evaluations: Sequence[tuple[int, float]], path: Path, *, metric: str = "accuracy"
) -> None:
    """Draw the loss of every step with its running mean and, where there are any, a metric on held-out data.

    Args:
        history: the steps.
        evaluations: (step, metric) pairs.
        path: a .png file.
        metric: its name.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(7.0, 4.0)
    axes = figure.add_subplot()
    steps = [step.step for step in history]
    losses = [step.loss for step in history]
    axes.plot(steps, losses, color=_BLUE, alpha=0.25, linewidth=1.0, label="loss of each batch")
    axes.plot(steps, smoothed(losses), color=_BLUE, linewidth=2.0, label="running mean of the loss")
    axes.set(xlabel="step", ylabel="training loss", ylim=(0.0, None), xlim=(0, 1.02 * len(steps)))
    axes.spines[["top", "right"]].set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    if evaluations:
        right = axes.twinx()
        named = metric.replace("_", " ")
        at, values = zip(*evaluations, strict=True)
        right.plot(at, values, color=_ORANGE, marker="o", linewidth=1.5, label=f"{named} on held-out data")
        right.set(ylabel=named, ylim=(min(0.0, *values), 1.05))
        right.spines[["top"]].set_visible(False)
        more = right.get_legend_handles_labels()
        handles, names = handles + more[0], names + more[1]
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    axes.set_title("Learning curve", loc="left")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Write a picture, with a font for Chinese and its like where the system has one; else such a sign is a box."""
    from matplotlib import font_manager, rc_context

    there = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in _FONTS if name in there)]
    with rc_context({"font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(path)


def plot_confusion_matrix(metrics: ClassificationMetrics, path: Path) -> None:
    """Draw the confusion matrix, each row coloured by its shares.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    count = len(metrics.labels)
    side = min(14.0, 2.4 + 0.55 * count)
    figure = _figure(side + 0.4, side)
    axes = figure.add_subplot()
    shares = [[value / max(1, sum(row)) for value in row] for row in metrics.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(count), metrics.labels, rotation=0 if max(map(len, metrics.labels)) <= 4 else 90)
    axes.set_yticks(range(count), metrics.labels)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(f"accuracy {metrics.accuracy:.3f} on {metrics.examples} texts", loc="left", fontsize=10)
    if count <= 25:
        for row in range(count):
            for column in range(count):
                value = metrics.confusion[row][column]
                colour = "white" if shares[row][column] > 0.5 else "#8a8a8a" if value == 0 else "black"
                axes.text(column, row, str(value), ha="center", va="center", color=colour, fontsize=9)
    _save(figure, path)
