"""Pictures of a training run; the only file that imports matplotlib."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glassbert.errors import MissingExtraError
from glassbert.tasks import ClassificationMetrics
from glassbert.train.markup import log_ticks, smoothed
from glassbert.train.trials import Trial, best_of, best_so_far

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEARNING_CURVE: Final = "learning_curve.png"
TUNING: Final = "tuning.png"
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
BLUE: Final = "#2f5d9b"
ORANGE: Final = "#d9762b"


def new_figure(width: float, height: float, *, extra: str = "train") -> Figure:
    """Return an empty figure.

    Args:
        width: in inches.
        height: in inches.
        extra: of glassbert, that brings matplotlib to what draws.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", extra) from None
    # The Figure object alone, without pyplot, opens no window and keeps no global state.
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def plot_learning_curve(
    losses: Sequence[tuple[int, float]],
    evaluations: Sequence[tuple[int, float]],
    path: Path,
    *,
    metric: str = "accuracy",
) -> None:
    """Draw the loss by step with its running mean and, where there are any, a metric on held-out data.

    Args:
        losses: (step, loss) pairs, of every step or of windows of them.
        evaluations: (step, metric) pairs.
        path: a .png file.
        metric: its name.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(7.0, 4.0)
    axes = figure.add_subplot()
    steps, values = zip(*losses, strict=True)
    every = "loss of each batch" if steps[-1] == len(steps) else "mean losses of some batches each"
    axes.plot(steps, values, color=BLUE, alpha=0.25, linewidth=1.0, label=every)
    axes.plot(steps, smoothed(values), color=BLUE, linewidth=2.0, label="running mean of the loss")
    axes.spines[["top", "right"]].set_visible(False)
    # On a scale of its own the same quantity could not be compared.
    same = bool(evaluations) and metric == "loss"
    right = axes if same or not evaluations else axes.twinx()
    named = metric.replace("_", " ")
    if evaluations:
        at, measured = zip(*evaluations, strict=True)
        right.plot(at, measured, color=ORANGE, marker="o", linewidth=1.5, label=f"{named} on held-out data")
    ylabel = "loss" if same else "training loss"
    axes.set(xlabel="step", ylabel=ylabel, ylim=(0.0, None), xlim=(0, 1.02 * steps[-1]))
    handles, names = axes.get_legend_handles_labels()
    if right is not axes:
        finite = [value for value in measured if math.isfinite(value)]
        right.set(ylabel=named, ylim=(min([0.0, *finite]), 1.05 * max([1.0, *finite])))
        right.spines[["top"]].set_visible(False)
        more = right.get_legend_handles_labels()
        handles, names = handles + more[0], names + more[1]
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    axes.set_title("Learning curve", loc="left")
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture, with a font for Chinese and its like where the system has one; else such a sign is a box."""
    from matplotlib import font_manager, rc_context

    there = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in _FONTS if name in there)]
    with rc_context({"font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(path, format="png")


def plot_confusion_matrix(metrics: ClassificationMetrics, path: Path) -> None:
    """Draw the confusion matrix, each row coloured by its shares.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    count = len(metrics.labels)
    side = min(14.0, 2.4 + 0.55 * count)
    figure = new_figure(side + 0.4, side)
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
    save_figure(figure, path)


def plot_tuning(trials: Sequence[Trial], space: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw the figure of every trial with the best so far, and beside it the figures over each searched setting.

    Args:
        trials: by number; those without a figure are left out.
        space: what was searched; see `TuningSettings.space`.
        path: a .png file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    count = 1 + len(space)
    columns = 2 if count in (2, 4) else 3
    rows = math.ceil(count / columns)
    figure = new_figure(3.4 * columns, 0.5 + 2.7 * rows)
    panels: list[Axes] = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    shown = [trial for trial in trials if trial.figure is not None]
    best = best_of(shown)
    name = (best.metric if best else "").replace("_", " ")
    done = best_so_far(shown)
    panels[0].step([number for number, _ in done], [value for _, value in done], where="post", color=ORANGE, alpha=0.6)
    panels[0].locator_params("x", integer=True, nbins=10)
    _draw_trials(panels[0], [float(trial.number) for trial in shown], shown, best)
    panels[0].set(xlabel="trial", xlim=(0.5, max(trial.number for trial in trials) + 0.5))
    for panel, (setting, values) in zip(panels[1:], space.items()):
        given = [float(trial.values[setting]) for trial in shown]
        if setting == "batch_size":  # choices, at equal distances
            order = sorted(values)
            given = [float(order.index(value)) for value in given]
            panel.set_xticks(range(len(order)), [f"{value:g}" for value in order])
            panel.set_xlim(-0.5, len(order) - 0.5)
        elif setting == "learning_rate":
            panel.set_xscale("log")
            marks = log_ticks(min(values), max(values))
            panel.set_xticks([mark for mark, _ in marks], [label for _, label in marks])
            panel.minorticks_off()
        elif setting == "epochs":
            panel.locator_params("x", integer=True)
            panel.set_xlim(min(values) - 0.5, max(values) + 0.5)
        _draw_trials(panel, given, shown, best)
        panel.set_xlabel(setting.replace("_", " "))
    for place, panel in enumerate(panels):
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_visible(place < count)
        panel.margins(y=0.08)
        if place % columns == 0:
            panel.set_ylabel(name)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    save_figure(figure, path)


def _draw_trials(panel: Axes, places: Sequence[float], trials: Sequence[Trial], best: Trial | None) -> None:
    """Draw a dot for each trial."""
    for name, filled, colour in (("done", True, BLUE), ("ended early", False, BLUE), ("the best", True, ORANGE)):
        kinds = ["the best" if one is best else "done" if one.state == "done" else "ended early" for one in trials]
        points = [(x, one.figure) for x, one, kind in zip(places, trials, kinds, strict=True) if kind == name]
        if points:
            across, up = zip(*points, strict=True)
            face = colour if filled else "white"
            panel.scatter(
                across, up, s=28, color=face, edgecolors=colour, linewidths=1.2, alpha=0.8, label=name, zorder=3
            )
