"""What a training run leaves behind: the model's folder, with all that tells how it came to be."""

from __future__ import annotations

import heapq
import json
import platform
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

import glassbert
from glassbert.checkpoint import save_model, save_tokenizer
from glassbert.errors import CheckpointError, MissingExtraError
from glassbert.files import new_folder, read_json, write_json
from glassbert.model import BertPreTrainedModel
from glassbert.settings import LoopSettings
from glassbert.tasks import TASKS, ClassificationMetrics
from glassbert.tasks.task import Example, Metrics, Verdict
from glassbert.text import BertTokenizer
from glassbert.train.card import write_card
from glassbert.train.events import Notice, OnEvent, TrainingResult
from glassbert.train.history import History, curves_of, ends_of
from glassbert.train.plots import (
    CONFUSION_MATRIX,
    LEARNING_CURVE,
    MOST_CLASSES,
    plot_confusion_matrix,
    plot_learning_curve,
)
from glassbert.train.report import write_report
from glassbert.train.state import FREE

RECORD: Final = "training.json"
SETTINGS: Final = "settings.yaml"
# Examples that the report shows.
_HARDEST: Final = 50


def save_result(
    result: TrainingResult,
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    settings: LoopSettings,
    *,
    overwrite: bool,
    data: Mapping[str, Any],
    seconds: float,
    verdicts: Iterable[tuple[Example, Verdict]],
    notes: Sequence[str],
    on_event: OnEvent,
) -> None:
    """Write the folder, in one step.

    Args:
        result: of the run.
        model: trained.
        tokenizer: belongs to the model.
        settings: of the run.
        overwrite: replace what stands in the folder.
        data: what was read, by part.
        seconds: that training took, evaluations included.
        verdicts: on the examples that the saved model was measured on.
        notes: what was said on the way.
        on_event: takes what cannot be written.
    """
    record = _record(result, settings, data, seconds, verdicts, notes)
    with new_folder(result.folder, overwrite=overwrite) as stage:
        save_model(model, stage)
        save_tokenizer(tokenizer, stage)
        own = _own_task(result)
        head = f"# This run had a task of its own, {own}, which --config does not know.\n" if own else ""
        (stage / SETTINGS).write_text(head + settings.to_yaml(), encoding="utf-8")
        write_json(stage / RECORD, record)
        write_report(stage, record)
        write_card(stage, record)
        try:
            name = result.evaluations[-1].name if result.evaluations else ""
            figures = [(done.step, done.metrics.figure(name)) for done in result.evaluations]
            ends = ends_of(len(record["losses"]), record["steps"], record["steps_per_point"])
            losses = list(zip(ends, record["losses"], strict=True))
            plot_learning_curve(losses, figures, stage / LEARNING_CURVE, metric=name)
            if isinstance(result.metrics, ClassificationMetrics) and len(result.metrics.labels) <= MOST_CLASSES:
                plot_confusion_matrix(result.metrics, stage / CONFUSION_MATRIX)
        except MissingExtraError as error:
            on_event(Notice(message=f"no pictures: {error}"))


def standing_result(settings: LoopSettings, out: str | Path) -> dict[str, Any] | None:
    """Return the record of a run of these settings whose result stands in `out`; None if there is none.

    A process may be killed when its result stands and before it has left; who starts it again need not do more.
    """
    try:
        record = read_json(Path(out) / RECORD)
    except CheckpointError:
        return None
    before = record.get("settings", {})
    wanted = json.loads(json.dumps(settings.to_dict()))
    return record if all(before.get(name) == value for name, value in wanted.items() if name not in FREE) else None


def _record(
    result: TrainingResult,
    settings: LoopSettings,
    data: Mapping[str, Any],
    seconds: float,
    verdicts: Iterable[tuple[Example, Verdict]],
    notes: Sequence[str],
) -> dict[str, Any]:
    history = History.of(result.history)
    curves, last = curves_of(history), history[-1]
    saved = result.saved
    best = settings.keeps_best and saved is not None
    hardest = heapq.nlargest(_HARDEST, verdicts, key=lambda pair: pair[1].error)
    return {
        "task": result.name,
        "own_task": _own_task(result),
        "pairs": getattr(result.task, "pairs", None),
        "settings": settings.to_dict(),
        "versions": {
            "glassbert": glassbert.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "threads": torch.get_num_threads(),
        "data": dict(data),
        "epochs": last.epoch,
        "seconds": round(seconds, 3),
        "seconds_in_steps": round(float(history.column("seconds").sum()), 3),
        "tokens": int(history.column("tokens").astype("int64").sum()),
        "peak_memory_bytes": _peak_memory(),
        "steps": len(history),
        "loss": last.loss,
        **curves._asdict(),
        "evaluations": [
            {"epoch": done.epoch, "step": done.step, "main": done.name, **_plain(done.metrics, done is saved)}
            for done in result.evaluations
        ],
        "saved": {
            "step": saved.step if saved else last.step,
            "epoch": saved.epoch if saved else last.epoch,
            "why": f"the best {saved.name}" if best and saved else "the last",
        },
        "test": {"main": _main(result), **_plain(result.test, True)} if result.test else None,
        "hardest": [
            {
                "file": example.file,
                "line": example.line,
                "position": example.position,
                "text": verdict.text,
                "expected": verdict.expected,
                "answered": verdict.answered,
                "error": verdict.error,
            }
            for example, verdict in hardest
            if verdict.error > 0.0
        ],
        "notes": list(notes),
    }


def _own_task(result: TrainingResult) -> str | None:
    """Return the name of a task's class that is not one of the package's own."""
    kind = type(result.task)
    own = result.task is not None and TASKS.get(result.task.name) is not kind
    return f"{kind.__module__}.{kind.__qualname__}" if own else None


def _plain(metrics: Metrics, whole: bool) -> dict[str, Any]:
    """Return metrics for the record: confusions of the saved weights alone, of many classes only those that occur."""
    values = metrics.to_dict()
    if isinstance(metrics, ClassificationMetrics):
        if not whole:
            del values["confusion"]
        elif len(metrics.labels) > MOST_CLASSES:
            matrix, labels = values.pop("confusion"), metrics.labels
            values["confusions"] = [
                (labels[true], labels[predicted], count)
                for true, row in enumerate(matrix)
                for predicted, count in enumerate(row)
                if count and true != predicted
            ]
            values["counts"] = dict(zip(labels, map(sum, matrix), strict=True))
    return values


def _main(result: TrainingResult) -> str:
    """Return the name of the figure that models are compared by."""
    return result.saved.name if result.saved else result.test.main_name if result.test else ""


def _peak_memory() -> int:
    """Return the most memory that the process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
