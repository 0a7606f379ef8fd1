"""The recipe `finetune`: data files and a model folder in, a trained model folder out."""

from __future__ import annotations

import dataclasses
import functools
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

import glassbert
from glassbert.checkpoint import (
    check_vocabulary,
    load_config,
    load_model,
    load_tokenizer,
    model_folder,
    save_model,
    save_tokenizer,
)
from glassbert.data import read_records, to_questions
from glassbert.errors import ConfigError, DataError, MissingExtraError
from glassbert.files import check_output, new_folder, write_json
from glassbert.model import BertPreTrainedModel
from glassbert.tasks import AnyTask, ClassificationMetrics, QuestionAnswering, task_class
from glassbert.tasks.batching import drop_tokens
from glassbert.tasks.multiple_choice import ChoiceFeatures
from glassbert.tasks.task import Columns, Example, Metrics
from glassbert.tasks.texts import TextFeatures, crop
from glassbert.text import BertTokenizer, BertTokenizerFast
from glassbert.train.loop import Step, fit, predict
from glassbert.train.plots import CONFUSION_MATRIX, LEARNING_CURVE, plot_confusion_matrix, plot_learning_curve
from glassbert.train.settings import FinetuneSettings, TrainingSettings

REPORT: Final = "training.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics after an epoch, from 0, that ended with optimizer step `step`."""

    epoch: int
    step: int
    metrics: Metrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Notice:
    """Something the user should know, as one line."""

    message: str


Event = Step | Evaluation | Notice
OnEvent = Callable[[Event], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a recipe returns.

    Attributes:
        folder: where the model stands now.
        history: every step.
        evaluations: after every epoch, where there was data to evaluate on.
        task: what the model has learned.
    """

    task: AnyTask
    folder: Path
    history: tuple[Step, ...]
    evaluations: tuple[Evaluation, ...]

    @property
    def metrics(self) -> Metrics | None:
        """The metrics of the saved model, if it was evaluated."""
        return self.evaluations[-1].metrics if self.evaluations else None


def _silent(_: Event) -> None:
    """Take an event and do nothing."""


def finetune(settings: FinetuneSettings, *, on_event: OnEvent = _silent) -> TrainingResult:
    """Train a model on files of your own and save it.

    The result is a model folder with `training.json` (settings, versions, losses, metrics) and pictures of the learning
    curve and the confusion matrix. Torch's random state is as it was when this returns.

    Args:
        settings: what, on what, how, and where to.
        on_event: called with every step, evaluation and notice.

    Raises:
        GlassbertError: one of its kinds, before training begins where that can be known before; see `glassbert.errors`.
    """
    needed = [path for path in (settings.train, settings.validation, settings.model) if path is not None]
    out = check_output(settings.out, overwrite=settings.overwrite, keep=needed)
    folder = model_folder(settings.model)
    blank, columns = task_class(settings.task)(**settings.task_options), settings.columns
    train = _read(blank, settings.train, columns, settings)
    validation = [] if settings.validation is None else _read(blank, settings.validation, columns, settings)
    task = dataclasses.replace(blank.learn(train), **settings.task_options)  # type: ignore[type-var]  # all are
    tokenizer = load_tokenizer(BertTokenizerFast, folder)
    limit = settings.max_length or tokenizer.model_max_length
    if limit > tokenizer.model_max_length:
        raise ConfigError(f"max_length is {limit}, but the model takes {tokenizer.model_max_length} tokens at most")
    # Before the model is touched: a label or text out of place is told at once.
    features = list(task.features(train, tokenizer, max_length=limit))
    held_out = list(task.features(validation, tokenizer, max_length=limit))
    _tell_cut(features, limit, "training", on_event)
    _tell_cut(held_out, limit, "validation", on_event)
    for message in task.notes(train, features):
        on_event(Notice(message=message))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        model = model_for(task, folder, on_event)
        check_vocabulary(tokenizer, model.config)
        return train_task(
            task,
            model,
            tokenizer,
            features,
            validation,
            held_out,
            out=out,
            overwrite=settings.overwrite,
            training=settings.training,
            record=dataclasses.asdict(settings),
            on_event=on_event,
        )


def _read(task: AnyTask, path: str | Path, columns: Columns, settings: FinetuneSettings) -> list[Any]:
    records = read_records(path, header=settings.header, encoding=settings.encoding)
    examples = list(task.examples(to_questions(records) if isinstance(task, QuestionAnswering) else records, columns))
    if not examples:
        raise DataError("holds no records", file=path)
    return examples


def model_for(task: AnyTask, folder: Path, on_event: OnEvent) -> BertPreTrainedModel:
    """Load a model for a task; its head is fresh unless the folder's own is for the same labels."""
    stored = load_config(folder)
    config = task.configure(stored)
    same = stored.id2label == config.id2label and (stored.architectures or [""])[0] == task.model_class.__name__
    model = load_model(task.model_class, folder, config=config, fresh=() if same or not task.head else (task.head,))
    if model.loading_info.fresh:
        on_event(Notice(message=f"new, with random weights: {', '.join(model.loading_info.fresh)}"))
    return model


def train_task(
    task: AnyTask,
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    features: Sequence[Any],
    examples: Sequence[Example],
    held_out: Sequence[Any],
    *,
    out: Path,
    overwrite: bool,
    training: TrainingSettings,
    record: dict[str, Any],
    on_event: OnEvent,
) -> TrainingResult:
    """Train, evaluate after every epoch and save; what `finetune` and the demo share.

    Args:
        task: what is learned.
        model: has the task's head.
        tokenizer: belongs to the model.
        features: the training data.
        examples: those to evaluate on; may be empty.
        held_out: their features.
        out: a new or empty folder, unless `overwrite`.
        overwrite: replace what stands in `out`, at the very end.
        training: how to train.
        record: the settings as they shall stand in `training.json`.
        on_event: called with every step, evaluation and notice.
    """
    to_batch = functools.partial(task.collate, tokenizer=tokenizer)
    special = torch.tensor(sorted(tokenizer.all_special_ids))

    def to_training_batch(features: Sequence[Any]) -> dict[str, Tensor]:
        if training.crop is not None:
            features = [crop(one, training.crop) if isinstance(one, TextFeatures) else one for one in features]
        batch = to_batch(features)
        if training.token_dropout:
            batch["input_ids"] = drop_tokens(
                batch["input_ids"], training.token_dropout, special=special, mask_id=tokenizer.mask_token_id
            )
        return batch

    evaluations: list[Evaluation] = []
    steps_done = 0

    def on_step(step: Step) -> None:
        nonlocal steps_done
        steps_done = step.step
        on_event(step)

    def on_epoch(epoch: int) -> None:
        nonlocal task
        if held_out:
            rows = predict(model, held_out, to_batch, task.rows, token_budget=training.token_budget)
            task = task.calibrate(examples, held_out, rows)
            metrics = task.measure(examples, task.answers(examples, held_out, rows))
            evaluations.append(Evaluation(epoch=epoch, step=steps_done, metrics=metrics))
            on_event(evaluations[-1])

    history = fit(
        model,
        features,
        to_training_batch,
        training,
        weight=task.weight,
        loss=task.loss,
        whole_batch=task.whole_batch,
        on_step=on_step,
        on_epoch=on_epoch,
    )
    model.eval()
    model.config.extra.update(task.configure(model.config).extra)  # thresholds that were found on the way
    result = TrainingResult(task=task, folder=out, history=tuple(history), evaluations=tuple(evaluations))
    with new_folder(out, overwrite=overwrite) as stage:
        save_model(model, stage)
        save_tokenizer(tokenizer, stage)
        write_json(stage / REPORT, _report(result, record))
        try:
            figures = [(done.step, done.metrics.main) for done in evaluations]
            name = evaluations[-1].metrics.main_name if evaluations else ""
            plot_learning_curve(history, figures, stage / LEARNING_CURVE, metric=name)
            if isinstance(result.metrics, ClassificationMetrics):
                plot_confusion_matrix(result.metrics, stage / CONFUSION_MATRIX)
        except MissingExtraError as error:
            on_event(Notice(message=f"no pictures: {error}"))
    return result


def _tell_cut(features: Sequence[Any], limit: int, part: str, on_event: OnEvent) -> None:
    cut = sum(feature.cut > 0 for feature in features if isinstance(feature, TextFeatures | ChoiceFeatures))
    if cut:
        on_event(Notice(message=f"{cut} of {len(features)} {part} texts are longer than {limit} tokens and were cut"))
    windows = Counter(feature.example for feature in features)
    several = sum(count > 1 for count in windows.values())
    if several:
        message = f"{several} of {len(windows)} {part} texts are longer than {limit} tokens and are read in windows"
        on_event(Notice(message=message))


def _report(result: TrainingResult, record: dict[str, Any]) -> dict[str, Any]:
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in record.items()}
    return {
        "task": result.task.name,
        "settings": plain,
        "versions": {
            "glassbert": glassbert.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "threads": torch.get_num_threads(),
        "losses": [step.loss for step in result.history],
        "learning_rates": [step.learning_rate for step in result.history],
        "evaluations": [
            {"epoch": done.epoch, "step": done.step, **done.metrics.to_dict()} for done in result.evaluations
        ],
    }
