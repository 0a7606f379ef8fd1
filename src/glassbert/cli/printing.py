"""What the user sees: progress bars, tables, notes. Results go to stdout, all else to stderr."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from glassbert.tasks import TokenClassificationMetrics
    from glassbert.tasks.task import Metrics
    from glassbert.train import Event


def out() -> Console:
    """Return the console for results."""
    return Console(highlight=False, emoji=False)


def notes() -> Console:
    """Return the console for everything else."""
    return Console(stderr=True, highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """Print one line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def note(message: str) -> None:
    """Say something on stderr that is worth knowing and no error."""
    notes().print(f"note: {message}", soft_wrap=True, markup=False)


def note_cut(cut: int, texts: int, limit: int) -> None:
    """Say on stderr how many texts were cut, if any were."""
    if cut:
        which = "the text is" if texts == 1 else f"{cut} of {texts} texts are"
        note(f"{which} longer than {limit} tokens; the end was cut")


class TrainingDisplay:
    """Shows a run's events: a live bar where stderr is a terminal, a line for each epoch in any case.

    Use as a context manager and pass `show` as `on_event`.
    """

    def __init__(self) -> None:
        """Open no display yet; the bar appears with the first step."""
        self._console = notes()
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TextColumn("lr {task.fields[rate]:.1e}"),
            TextColumn("{task.fields[speed]:,.0f} tokens/s"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_interactive,
            transient=True,
        )
        self._task: Any = None
        self._loss = 0.0
        self._speed = 0.0

    def __enter__(self) -> TrainingDisplay:
        """Start."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Take one event of a training run."""
        from glassbert.train import Evaluation, Step

        if isinstance(event, Step):
            # Single batches jump about; what one can read is a mean over about the last ten.
            keep = 0.0 if event.step == 1 else 0.9
            self._loss = keep * self._loss + (1 - keep) * event.loss
            self._speed = keep * self._speed + (1 - keep) * event.tokens / event.seconds
            fields: dict[str, Any] = {
                "epoch": f"{event.epoch + 1}",
                "loss": self._loss,
                "rate": event.learning_rate,
                "speed": self._speed,
            }
            if self._task is None:
                self._task = self._progress.add_task("", total=event.steps, **fields)
            self._progress.update(self._task, completed=event.step, **fields)
        elif isinstance(event, Evaluation):
            self._console.print(
                f"epoch {event.epoch + 1}  step {event.step:>5}  loss {self._loss:.4f}  "
                f"held-out {event.metrics.main_name.replace('_', ' ')} {event.metrics.main:.4f}  "
                f"{self._speed:,.0f} tokens/s",
                soft_wrap=True,
            )
        else:
            self._console.print(escape(event.message), soft_wrap=True)


class VocabularyDisplay:
    """Shows how far a vocabulary is, where stderr is a terminal: a bar for counting words, one for learning.

    Use as a context manager and pass `counted` and `learned` as `on_progress`.
    """

    def __init__(self) -> None:
        """Open no display yet."""
        console = notes()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_interactive,
            transient=True,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> VocabularyDisplay:
        """Start."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars away."""
        self._progress.stop()

    def counted(self, done: int, total: int | None) -> None:
        """Take the bytes read so far, and of all files where that is known."""
        amount = f"{done / 1e6:,.0f} MB" if total is None else f"{done / 1e6:,.0f}/{total / 1e6:,.0f} MB"
        self._show("counting words", done, total, amount)

    def learned(self, tokens: int, size: int) -> None:
        """Take the tokens so far and the most that there may be."""
        if tokens % 100 == 0 or tokens == size or "joining pieces" not in self._tasks:
            self._show("joining pieces", tokens, size, f"{tokens:,}/{size:,} tokens")

    def _show(self, name: str, done: int, total: int | None, amount: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, amount=amount)
        self._progress.update(self._tasks[name], completed=done, total=total, amount=amount)


class RankingDisplay:
    """Shows how many documents have their score, where stderr is a terminal. Use as a context manager."""

    def __init__(self) -> None:
        """Open no display yet."""
        console = notes()
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.completed:,.0f}"))
        self._progress = Progress(*columns, console=console, disable=not console.is_interactive, transient=True)
        self._task = self._progress.add_task("scoring documents", total=None)

    def __enter__(self) -> RankingDisplay:
        """Start."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self._progress.stop()

    def show(self, count: int) -> None:
        """Take the number of documents so far."""
        self._progress.update(self._task, completed=count)


def print_metrics(metrics: Metrics) -> None:
    """Print the figures of a task; for classes also, where it fits a screen, the confusion matrix."""
    from glassbert.tasks import ClassificationMetrics, TokenClassificationMetrics

    console = out()
    if isinstance(metrics, TokenClassificationMetrics):
        _print_entities(console, metrics)
        return
    if not isinstance(metrics, ClassificationMetrics):
        values = metrics.to_dict()
        figures = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in values.items() if type(value) is float]
        console.print(f"{'   '.join(figures)}   on {values['examples']} examples", soft_wrap=True)
        if isinstance(values.get("f1"), dict) and len(values["f1"]) <= 40:
            table = Table(box=None, pad_edge=False, header_style="dim")
            table.add_column("")
            table.add_column("F1", justify="right")
            for name, value in values["f1"].items():
                table.add_row(escape(name), f"{value:.3f}")
            console.print(table)
        return
    console.print(
        f"accuracy [bold]{metrics.accuracy:.4f}[/]   macro F1 {metrics.macro_f1:.4f}   on {metrics.examples} texts",
        soft_wrap=True,
    )
    if len(metrics.labels) > 12:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("true \\ predicted", justify="right", style="dim")
    for label in metrics.labels:
        table.add_column(escape(label), justify="right")
    table.add_column("F1", justify="right")
    for index, (label, row) in enumerate(zip(metrics.labels, metrics.confusion, strict=True)):
        cells = [
            f"[bold green]{value}[/]" if column == index else f"[red]{value}[/]" if value else "[dim]·[/]"
            for column, value in enumerate(row)
        ]
        table.add_row(escape(label), *cells, f"{metrics.f1[label]:.3f}")
    console.print(table)


def _print_entities(console: Console, metrics: TokenClassificationMetrics) -> None:
    console.print(
        f"F1 [bold]{metrics.f1:.4f}[/]   precision {metrics.precision:.4f}   recall {metrics.recall:.4f}   "
        f"token accuracy {metrics.token_accuracy:.4f}   on {metrics.words} words of {metrics.examples} sentences",
        soft_wrap=True,
    )
    if not 0 < len(metrics.types) <= 40:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in ("precision", "recall", "F1", "entities"):
        table.add_column(name, justify="right")
    for kind, one in metrics.types.items():
        table.add_row(escape(kind), f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}", str(one.support))
    console.print(table)


def typed(path: Path) -> str:
    """Return `path` as one types it in a shell; a name that looks like an option gets a folder before it."""
    name = shlex.quote(str(path))
    return f"./{name}" if name.startswith("-") else name


def program() -> str:
    """Return what the user has to type to run this program again."""
    name = Path(sys.argv[0])
    if name.name == "__main__.py":
        return f"{os.path.relpath(sys.executable) if not shutil.which('python') else 'python'} -m glassbert"
    found = shutil.which(name.name)
    if found and os.path.samefile(found, name):
        return name.name
    return os.path.relpath(name)
