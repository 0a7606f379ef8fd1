"""What the user sees while a command works: bars on stderr, where that is a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from glassbert.cli.printing import notes

if TYPE_CHECKING:
    from glassbert.train import Evaluation, Event, Step, Trial, TrialEvent, TuningEvent


class Display:
    """Bars that come with the first thing they count and go with the last. Use as a context manager."""

    def __init__(self) -> None:
        """Open no display yet."""
        self.console = notes()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_interactive,
            transient=True,
        )
        self._bars: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Start."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars away."""
        self._progress.stop()

    def bar(self, name: str, done: float, total: int | None, amount: str, *, title: str | None = None) -> None:
        """Show how far something is.

        Args:
            name: of the bar, which is also its title unless there is another.
            done: how much.
            total: of how much; None where nobody knows.
            amount: both, as one reads them.
            title: beside the bar.
        """
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(title or name, total=total, amount=amount)
        self._progress.update(
            self._bars[name], description=title or name, completed=done, total=total, amount=escape(amount)
        )

    def drop_bar(self, name: str) -> None:
        """Take a bar away, if it is there."""
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))

    def drop_bars(self, but: str = "") -> None:
        """Take all bars away, but that of one name."""
        for name in self._bars.keys() - {but}:
            self.drop_bar(name)


class TrainingDisplay(Display):
    """Shows a run's events: a live bar, and a line for each evaluation; pass `show` as `on_event`.

    Args:
        evaluated: whether there will be evaluations; else there is a line for each epoch.
    """

    def __init__(self, *, evaluated: bool = True) -> None:
        """Open no display yet; the bar appears with the first event."""
        super().__init__()
        self._evaluated = evaluated
        self._last: Step | None = None
        self._loss = 0.0
        self._speed = 0.0
        self._metric = ""

    def show(self, event: Event) -> None:
        """Take one event of a training run."""
        from glassbert.train import Evaluation, Progress, Step

        if isinstance(event, Progress):
            self.bar(event.doing, event.done, event.total, f"{event.done:,} examples")
        elif isinstance(event, Step):
            if event.step == 1:
                self.drop_bars()
            # Single batches jump about; what one can read is a mean over about the last ten.
            keep = 0.0 if event.step == 1 else 0.9
            self._loss = keep * self._loss + (1 - keep) * event.loss
            self._speed = keep * self._speed + (1 - keep) * event.tokens / event.seconds
            figures = (
                f"{event.step:,}/{event.steps:,}",
                f"loss {self._loss:.4f}",
                self._metric,
                f"lr {event.learning_rate:.1e}",
                f"{self._speed:,.0f} tokens/s",
            )
            amount = "  ".join(filter(None, figures))
            self.bar("training", event.step, event.steps, amount, title=f"epoch {event.epoch}")
            # Where nothing is evaluated, the loss is all that tells how it goes.
            if not self._evaluated and self._last is not None and event.epoch != self._last.epoch:
                self._line(self._last)
            self._last = event
            if not self._evaluated and event.step == event.steps:
                self._line(event)
        elif isinstance(event, Evaluation):
            self.drop_bars(but="training")
            self._metric = f"{event.name.replace('_', ' ')} {event.metrics.figure(event.name):.4f}"
            self._line(event, f"held-out {self._metric}  ")
        else:
            self.console.print(escape(event.message), soft_wrap=True)

    def _line(self, event: Step | Evaluation, metric: str = "") -> None:
        line = f"epoch {event.epoch}  step {event.step:>5}  loss {self._loss:.4f}  {metric}{self._speed:,.0f} tokens/s"
        self.console.print(escape(line), soft_wrap=True)


class PretrainingDisplay(TrainingDisplay):
    """Shows a pretraining: for each evaluation how well words and pairs of held-out text are told."""

    def _line(self, event: Step | Evaluation, metric: str = "") -> None:
        from glassbert.train import PretrainingMetrics

        metrics = getattr(event, "metrics", None)
        if not isinstance(metrics, PretrainingMetrics):
            super()._line(event, metric)
            return
        known = f"unigrams {metrics.unigram_entropy:.3f}"
        parts = [f"words {metrics.masked_lm_loss:.3f} ({known}, {metrics.masked_lm_accuracy:.1%} right)"]
        if metrics.next_sentence_loss is not None and metrics.next_sentence_accuracy is not None:
            parts.append(f"pairs {metrics.next_sentence_loss:.3f} ({metrics.next_sentence_accuracy:.1%} right)")
        line = f"step {event.step:>7,}  loss {self._loss:.3f}  held-out {'  '.join(parts)}  {self._speed:,.0f} tokens/s"
        self.console.print(escape(line), soft_wrap=True)


class TuningDisplay(Display):
    """Shows a search: a bar for all trials and one for each that runs, and a line for each that has ended.

    Pass `show` as `on_event`.
    """

    def __init__(self) -> None:
        """Open no display yet."""
        super().__init__()
        self._said: set[str] = set()
        self._first: int | None = None
        self._parts: dict[int, float] = {}

    def show(self, event: TuningEvent) -> None:
        """Take one event of a search."""
        from glassbert.train import Notice, TrialEvent

        if isinstance(event, TrialEvent):
            self._show_trial(event)
        elif isinstance(event, Notice):
            self._say(event.message)
        else:
            self.bar(event.doing, event.done, event.total, f"{event.done:,} examples")

    def _show_trial(self, event: TrialEvent) -> None:
        from glassbert.train import Evaluation, Notice, Step

        trial, name = event.trial, f"trial {event.trial.number}"
        self._first = trial.number if self._first is None else self._first
        if isinstance(event.event, Notice):
            if trial.number == self._first:  # the others say the same
                self._say(event.event.message)
            return
        if trial.state != "running":
            self._parts.pop(trial.number, None)
            self.drop_bar(name)
            self.console.print(escape(_of_trial(trial, event.best)), soft_wrap=True)
        elif isinstance(event.event, Step):
            for other in [other for other in self._bars if "data" in other]:
                self.drop_bar(other)
            step = event.event
            self._parts[trial.number] = step.step / step.steps
            best = "" if trial.figure is None else f"  {trial.metric.replace('_', ' ')} {trial.figure:.4f}"
            self.bar(name, step.step, step.steps, f"{step.step:,}/{step.steps:,}  loss {step.loss:.4f}{best}")
        if event.event is None or isinstance(event.event, Step | Evaluation):
            best = "" if event.best is None else f"  best {event.best.figure:.4f} (trial {event.best.number})"
            done = event.finished + sum(self._parts.values())
            self.bar("all trials", done, event.trials, f"{event.finished}/{event.trials}{best}")

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self.console.print(escape(message), soft_wrap=True)


def _of_trial(trial: Trial, best: Trial | None) -> str:
    """Return the line of a trial that has ended."""
    from glassbert.train.report import duration
    from glassbert.train.trials import in_short

    figure = "" if trial.figure is None else f"{trial.metric.replace('_', ' ')} {trial.figure:.4f}  "
    chosen = "  ".join(f"{name.replace('_', ' ')} {in_short(value)}" for name, value in trial.values.items())
    why = {"pruned": "  ended early", "failed": f"  failed: {trial.why}"}.get(trial.state, "")
    mark = "  the best so far" if best is not None and best.number == trial.number else ""
    return f"trial {trial.number:>2}  {figure}{chosen}  {duration(trial.seconds)}{why}{mark}"


class VocabularyDisplay(Display):
    """Shows how far a vocabulary is: a bar for counting words, one for learning.

    Pass `counted` and `learned` as `on_progress`.
    """

    def counted(self, done: int, total: int | None) -> None:
        """Take the bytes read so far, and of all files where that is known."""
        amount = f"{done / 1e6:,.0f} MB" if total is None else f"{done / 1e6:,.0f}/{total / 1e6:,.0f} MB"
        self.bar("counting words", done, total, amount)

    def learned(self, tokens: int, size: int) -> None:
        """Take the tokens so far and the most that there may be."""
        if tokens % 100 == 0 or tokens == size or "joining pieces" not in self._bars:
            self.bar("joining pieces", tokens, size, f"{tokens:,}/{size:,} tokens")


class PreparingDisplay(Display):
    """Shows how much of a corpus has been prepared."""

    def show(self, done: int, total: int) -> None:
        """Take the bytes read so far and those of all files."""
        self.bar("preparing", done, total, f"{done / 1e6:,.0f}/{total / 1e6:,.0f} MB")

    def say(self, message: str) -> None:
        """Take what the user should know."""
        self.console.print(escape(message), soft_wrap=True)


class AnsweringDisplay(Display):
    """Shows how many inputs have their answer, and how many come in a second."""

    def __init__(self) -> None:
        """Open no display yet."""
        super().__init__()
        self._begun = time.monotonic()
        self._before = 0

    def begin(self, done: int) -> None:
        """Count time from now on; so many inputs had their answer before."""
        self._begun, self._before = time.monotonic(), done

    def show(self, done: int, total: int | None) -> None:
        """Take the inputs so far and of how many, where that is known."""
        rate = (done - self._before) / max(1e-9, time.monotonic() - self._begun)
        of = "" if total is None else f"/{total:,}"
        self.bar("answering", done, total, f"{done:,}{of}  {rate:,.0f}/s")


class RankingDisplay(Display):
    """Shows how many documents have their score."""

    def show(self, count: int) -> None:
        """Take the number of documents so far."""
        self.bar("scoring documents", count, None, f"{count:,}")


class ExportDisplay(Display):
    """Shows which step of an export is being done; pass `show` as `on_step`."""

    def show(self, doing: str) -> None:
        """Take the step that begins."""
        self.drop_bars()
        self.bar(doing, 0, None, "")


class StepsDisplay(Display):
    """Shows how many of some equal steps are done, one kind of step at a time."""

    def show(self, doing: str, done: int, total: int) -> None:
        """Take what is being done, how much is done, and of how much."""
        self.drop_bars(but=doing)
        self.bar(doing, done, total, f"{done:,}/{total:,}")
