"""What the user reads: tables, notes, JSON. Results go to stdout, all else to stderr."""

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
from rich.table import Table

if TYPE_CHECKING:
    from glassbert.data import Skipped
    from glassbert.infer import Comparison
    from glassbert.tasks import TokenClassificationMetrics
    from glassbert.tasks.task import Metrics
    from glassbert.train import TrainingResult, TuningResult


def out() -> Console:
    """Return the console for results."""
    return Console(highlight=False, emoji=False)


def report_console() -> Console:
    """Return the console for tables that have many columns: as wide as the terminal, or 150 where there is none."""
    console = out()
    return console if console.is_terminal else Console(width=150, highlight=False, emoji=False)


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


def note_skipped(skipped: Skipped | None) -> None:
    """List on stderr the first records that were passed over, if any were."""
    for line in str(skipped).splitlines() if skipped and skipped.count else ():
        note(line.strip())


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


def print_comparison(comparison: Comparison, reference: str, other: str) -> None:
    """Print the figures of two engines side by side, those of single classes where they fit a screen."""
    console = out()
    own, others = comparison.reference.metrics.figures(), comparison.other.metrics.figures()
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in (reference, other, "difference"):
        table.add_column(heading, justify="right")
    for name, difference in comparison.difference.items():
        if "." in name and len(own) > 40:
            continue
        cells = (f"{own[name]:.4f}", f"{others[name]:.4f}", f"{difference:+.4f}")
        table.add_row(escape(name.replace("_", " ")), *cells)
    table.add_row("seconds", *(f"{one.seconds:.2f}" for one in (comparison.reference, comparison.other)))
    table.add_row("weights, MB", *(f"{one.weight_bytes / 1e6:.1f}" for one in (comparison.reference, comparison.other)))
    console.print(table)
    said = [] if comparison.equal_answers is None else [f"{comparison.equal_answers:.2%} of the answers are equal"]
    fast, slow = f"{comparison.speed:.2f} times as fast", f"{1 / comparison.speed:.2f} times as long"
    said.append(f"{other} is {fast}" if comparison.speed >= 1 else f"{other} takes {slow}")
    said.append(f"on {comparison.other.metrics.to_dict()['examples']} examples")
    console.print("   ".join(said), soft_wrap=True)


def print_pretraining(result: TrainingResult) -> None:
    """Print how well words and pairs are told, in training and on held-out text."""
    from glassbert.train.history import History

    history = History.of(result.history)
    last = max(1, len(history) // 20)
    trained = {name: float(history.figure(name)[-last:].mean()) for name in history.figures}
    held_out = {} if result.metrics is None else result.metrics.to_dict()
    table = Table(box=None, pad_edge=False, header_style="dim")
    steps = f"the last {last} steps" if last > 1 else "the last step"
    for heading in ("", steps, *(["held-out text"] if held_out else [])):
        table.add_column(heading, justify="left" if not heading else "right")

    def cells(name: str, form: str) -> list[str]:
        values = [trained.get(name), *([held_out.get(name)] if held_out else [])]
        return ["–" if value is None else format(value, form) for value in values]

    for title, name, form in (
        ("masked words, loss in nats", "masked_lm_loss", ".3f"),
        ("  of their unigrams", "unigram_entropy", ".3f"),
        ("  right", "masked_lm_accuracy", ".1%"),
        ("pairs, loss in nats", "next_sentence_loss", ".3f"),
        ("  right", "next_sentence_accuracy", ".1%"),
        ("  right by chance", "next_sentence_chance", ".1%"),
    ):
        if trained.get(name) is not None or held_out.get(name) is not None:
            table.add_row(title, *cells(name, form))
    out().print(table)


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


def print_trials(result: TuningResult) -> None:
    """Print the table of a search's trials, the best first."""
    from glassbert.train.report import duration
    from glassbert.train.trials import in_short, ranked

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("trial", justify="right")
    names = list(result.best.values)
    for name in (result.best.metric, *names, "step", "time"):
        table.add_column(escape(name.replace("_", " ")), justify="right")
    table.add_column("")
    for trial in ranked(result.trials):
        best = trial.number == result.best.number
        cells = [
            str(trial.number),
            "–" if trial.figure is None else f"{trial.figure:.4f}",
            *(in_short(trial.values[name]) for name in names),
            "–" if trial.step is None else f"{trial.step:,}",
            duration(trial.seconds),
            "the best" if best else {"pruned": "ended early", "failed": "failed"}.get(trial.state, ""),
        ]
        table.add_row(*cells, style="bold" if best else "dim" if trial.state != "done" else None)
    out().print(table)


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
