"""The recipe `finetune`: data and a model folder in, a trained model folder out."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from glassbert.checkpoint import check_vocabulary, load_config, load_model, load_tokenizer
from glassbert.errors import ConfigError
from glassbert.files import check_output
from glassbert.model import BertPreTrainedModel
from glassbert.settings import FinetuneSettings, RecipeSettings, TrainingSettings, paths_of
from glassbert.tasks import AnyTask, task_class
from glassbert.tasks.batching import drop_tokens
from glassbert.tasks.multiple_choice import ChoiceFeatures
from glassbert.tasks.task import Example, Task
from glassbert.tasks.texts import TextFeatures, crop
from glassbert.text import BertTokenizer, BertTokenizerFast
from glassbert.text.vocabulary import vocabulary_hash
from glassbert.train.devices import Devices, joined
from glassbert.train.events import Notice, OnEvent, TrainingResult, silent
from glassbert.train.examples import Part, given_columns
from glassbert.train.loop import fit
from glassbert.train.outputs import save_result
from glassbert.train.run import Run, check_begin, patient, run_of
from glassbert.train.task_judge import TaskJudge


def finetune(settings: FinetuneSettings, *, task: AnyTask | None = None, on_event: OnEvent = silent) -> TrainingResult:
    """Train a model on data of your own and save it.

    The result is a model folder with `settings.yaml`, which repeats the run, `training.json` (versions, hashes of the
    data, losses, metrics), `report.html`, a model card and pictures. Torch's random state is as it was when this
    returns.

    Args:
        settings: what, on what, how, and where to.
        task: one of your own, in place of that which the settings name: a subclass of a task with another
            `model_class`, `loss` or `measure`.
        on_event: called with every step, evaluation and notice; may raise `StopTraining` to end early.

    Raises:
        GlassbertError: one of its kinds, before training begins where that can be known before; see `glassbert.errors`.
        KeyboardInterrupt: Ctrl-C; the state after the last step is saved first, and `resume` goes on from it. So it is
            at SIGTERM, which ends the process.

    Started by `torchrun`, each process calls this and gets the result; the first one writes, and it alone calls
    `on_event`.

    Runs in several threads wait for each other, since dropout draws from torch's one random state.
    """
    _check_arguments(settings, task, on_event)
    with joined(settings.device) as devices:
        return _finetune(settings, task, patient(on_event) if devices.first else silent, devices)


def _finetune(settings: FinetuneSettings, task: AnyTask | None, on_event: OnEvent, devices: Devices) -> TrainingResult:
    if task is None:
        task_class(settings.task).check_options(settings.options)
        task = task_class(settings.task)(**settings.options)
    else:
        if settings.options:
            raise ConfigError(f"options is {dict(settings.options)!r}, but the task is given; it has its own")
        settings = dataclasses.replace(settings, task=task.name)
    _check_loss(task, settings)
    given_columns(task, settings)  # a role that the task does not have is told now
    data = [settings.train, settings.validation, settings.test]
    needed = [path for one in data for path in paths_of(one) or [] if one is not None]
    out = check_output(settings.out, overwrite=settings.overwrite, keep=[*needed, settings.model])
    check_begin(settings, out)
    load_config(settings.model)  # what is no model is told before the data is read
    notes: list[str] = []

    def say(message: str) -> None:
        if message not in notes:  # one remark on the columns does for all files
            notes.append(message)
            on_event(Notice(message=message))

    parts = read_parts(task, settings, say, on_event)
    task = task.learn(parts["training"].examples)
    tokenizer = load_tokenizer(BertTokenizerFast, settings.model)
    limit = settings.max_length or tokenizer.model_max_length
    if limit > tokenizer.model_max_length:
        raise ConfigError(f"max_length is {limit}, but the model takes {tokenizer.model_max_length} tokens at most")
    # Before the model is touched: a label or text out of place is told at once.
    for part in parts.values():
        part.encode(task, tokenizer, limit, on_event)
        _tell_cut(part, limit, say)
    skipped = {id(part.skipped): part.skipped for part in parts.values() if part.skipped and part.skipped.count}
    for some in skipped.values():
        for line in str(some).splitlines():
            say(line)
    for message in task.notes(parts["training"].examples, parts["training"].features):
        say(message)
    with run_of(settings, devices, on_event) as run:
        model = model_for(task, settings.model, say)
        check_vocabulary(tokenizer, model.config)
        run.separate()
        return train_task(
            task,
            model.to(devices.device),
            tokenizer,
            parts,
            settings,
            out=out,
            overwrite=settings.overwrite,
            run=run,
            notes=notes,
        )


def _told(
    task: AnyTask, tokenizer: BertTokenizer, model: BertPreTrainedModel, parts: dict[str, Part]
) -> dict[str, Any]:
    """Return what makes a run the run that it is, beside its settings; one that goes on has to agree."""
    return {
        "task": f"{type(task).__module__}.{type(task).__qualname__}",
        "data": {name: part.fingerprint() for name, part in parts.items()},
        "model": model.config.to_dict(),
        "vocabulary": vocabulary_hash(tokenizer.get_vocab()),
    }


# Records that a message names.
_NAMED: Final = 10


def _check_arguments(settings: object, task: object, on_event: object) -> None:
    """Check what else would fail somewhere inside.

    Raises:
        ConfigError: an argument of another type.
    """
    if not isinstance(settings, FinetuneSettings):
        expected = "FinetuneSettings(…) or FinetuneSettings.read(file)"
        raise ConfigError(f"settings is of type {type(settings).__name__}, expected {expected}")
    if task is not None and not isinstance(task, Task):
        what = f"the class {task.__name__}" if isinstance(task, type) else f"of type {type(task).__name__}"
        raise ConfigError(f"task is {what}, expected an instance of a task; a name goes into the settings")
    if isinstance(task, Task) and not (
        isinstance(task.model_class, type) and issubclass(task.model_class, BertPreTrainedModel)
    ):
        raise ConfigError(f"{type(task).__name__}.model_class is {task.model_class!r}, expected a model of glassbert")
    if not callable(on_event):
        raise ConfigError(f"on_event is of type {type(on_event).__name__}, expected a function of an event")


def read_parts(task: AnyTask, settings: RecipeSettings, say: Any, on_event: OnEvent) -> dict[str, Part]:
    """Read the data; parts that are drawn from the training data begin as it does."""
    parts = {"training": Part.read("training", task, settings.train, settings, say, on_event)}
    shares = {"validation": settings.validation_share, "test": settings.test_share}
    shares = {name: share for name, share in shares.items() if share}
    if shares:
        rest = 1.0 - sum(shares.values())
        parts = parts["training"].split({"training": rest, **shares}, settings.seed)
        counts = ", ".join(f"{len(part.examples)} for {name}" for name, part in parts.items())
        say(f"examples drawn by chance (seed {settings.seed}): {counts}")
    for name, source in (("validation", settings.validation), ("test", settings.test)):
        if source is not None:
            parts[name] = Part.read(name, task, source, settings, say, on_event)
    return parts


def model_for(task: AnyTask, folder: str | Path, say: Any) -> BertPreTrainedModel:
    """Load a model for a task; its head is fresh unless the folder's own is for the same labels."""
    stored = load_config(folder)
    config = task.configure(stored)
    same = stored.id2label == config.id2label and (stored.architectures or [""])[0] == task.model_class.__name__
    model = load_model(task.model_class, folder, config=config, fresh=() if same or not task.head else (task.head,))
    if model.loading_info.fresh:
        say(f"new, with random weights: {', '.join(model.loading_info.fresh)}")
    return model


def train_task(
    task: AnyTask,
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    parts: dict[str, Part],
    settings: TrainingSettings,
    *,
    out: Path,
    overwrite: bool,
    run: Run,
    notes: Sequence[str] = (),
) -> TrainingResult:
    """Train, evaluate and save; what `finetune` and the demo share.

    Args:
        task: what is learned.
        model: has the task's head.
        tokenizer: belongs to the model.
        parts: encoded data by name: training, and perhaps validation and test.
        settings: how to train.
        out: a new or empty folder, unless `overwrite`.
        overwrite: replace what stands in `out`, at the very end.
        run: what it is a part of; all processes that train together call this.
        notes: what was said about the data before.
    """
    devices, on_event, interruption = run.devices, run.on_event, run.interruption
    data = {name: part.to_dict() for name, part in parts.items()}
    hashes = {name: set(part["sha256"]) for name, part in data.items()}
    for name in ("validation", "test"):
        if hashes.get(name, set()) & hashes["training"] and not parts[name].drawn:
            on_event(Notice(message=f"the {name} data holds a file of the training data; its figures say little"))
    started = time.perf_counter()
    training = parts["training"].features
    judge = TaskJudge(task, model, tokenizer, parts.get("validation"), settings, on_event, devices, interruption)
    weight, choices = _loss_of(task, training, settings)
    choices = devices.to_device(choices)
    if task.whole_batch and settings.accumulation < devices.processes:
        message = f"{task.name} compares the texts of a batch, so each process takes whole batches; "
        message += f"with accumulation {settings.accumulation} only {settings.accumulation} of {devices.processes} work"
        on_event(Notice(message=message))

    def loss(model: BertPreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        return task.loss(model, {**batch, **choices})

    def named(places: Sequence[int]) -> str:
        return _places([parts["training"].examples[training[place].example] for place in places])

    judge.check_metric()
    keeper = run.keeper(_told(task, tokenizer, model, parts), {"judge": judge})
    history = fit(
        model,
        training,
        _training_batches(task, tokenizer, settings),
        settings,
        weight=weight,
        loss=loss,
        whole_batch=task.whole_batch,
        on_step=on_event,
        on_evaluation=judge.evaluate,
        devices=devices,
        keeper=keeper,
        interruption=interruption,
        named=named,
    )
    # What is left takes seconds, and a result is worth more than a checkpoint: a wish to end waits for it.
    seconds = time.perf_counter() - started
    judge.finish()
    task = judge.task
    model.config.extra.update(task.configure(model.config).extra)  # thresholds that were found on the way
    test, examples, answers = None, judge.examples, judge.answers or ()
    if "test" in parts:
        examples = parts["test"].examples
        answers, test = judge.measured(parts["test"])
    result = TrainingResult(
        name=task.name,
        task=task,
        folder=out,
        history=history,
        evaluations=tuple(judge.evaluations),
        saved=judge.saved,
        test=test,
    )
    if not devices.first:
        devices.wait()
        return result
    verdicts = ((example, task.verdict(example, answer)) for example, answer in zip(examples, answers, strict=True))
    save_result(
        result,
        model,
        tokenizer,
        settings,
        overwrite=overwrite,
        data=data,
        seconds=seconds,
        verdicts=verdicts,
        notes=notes,
        on_event=on_event,
    )
    devices.wait()
    run.finish()
    return result


def _places(examples: Sequence[Example]) -> str:
    """Say where examples stand: `train.tsv:3, 17, 20 and 5 more`."""
    files: dict[str, list[str]] = {}
    for one in examples[:_NAMED]:
        files.setdefault(one.file or "records", []).append(str(one.line or one.position or "?"))
    more = f" and {len(examples) - _NAMED} more" if len(examples) > _NAMED else ""
    return "; ".join(f"{file}:{', '.join(found)}" for file, found in files.items()) + more


def _training_batches(task: AnyTask, tokenizer: BertTokenizer, settings: TrainingSettings) -> Any:
    """Return what makes a batch for training: texts may be read through windows, tokens replaced."""
    special = torch.tensor(sorted(tokenizer.all_special_ids))

    def to_batch(features: Sequence[Any]) -> dict[str, Tensor]:
        if settings.crop is not None:
            features = [crop(one, settings.crop) if isinstance(one, TextFeatures) else one for one in features]
        batch = task.collate(features, tokenizer)
        if settings.token_dropout:
            batch["input_ids"] = drop_tokens(
                batch["input_ids"], settings.token_dropout, special=special, mask_id=tokenizer.mask_token_id
            )
        return batch

    return to_batch


def _check_loss(task: AnyTask, settings: TrainingSettings) -> None:
    for name in ("class_weights", "label_smoothing"):
        if getattr(settings, name) and name not in task.loss_choices:
            raise ConfigError(f"{task.name} has no use for {name}; its loss is no cross-entropy over classes")


def _loss_of(task: AnyTask, features: Sequence[Any], settings: TrainingSettings) -> tuple[Any, dict[str, Any]]:
    """Return how much features weigh in a mean, and what else the loss is told.

    Raises:
        ConfigError: weights for classes that the task does not have.
    """
    choices: dict[str, Any] = {"label_smoothing": settings.label_smoothing} if settings.label_smoothing else {}
    wanted = settings.class_weights
    if wanted is None:
        return task.weight, choices
    classes = task.classes
    if isinstance(wanted, str):
        counts = Counter(label for feature in features for label in task.class_ids(feature))
        total = counts.total()
        # As scikit-learn's "balanced": all classes together count as much as without weights, and each as the others.
        weights = [total / (len(counts) * counts[place]) if counts[place] else 1.0 for place in range(len(classes))]
    else:
        if strange := [name for name in wanted if name not in classes]:
            raise ConfigError(f"class_weights names {strange[0]!r}; the classes are {', '.join(classes[:10])}")
        weights = [float(wanted.get(name, 1.0)) for name in classes]

    def weight(features: Sequence[Any]) -> float:
        return sum(weights[label] for feature in features for label in task.class_ids(feature))

    return weight, {**choices, "class_weights": torch.tensor(weights)}


def _tell_cut(part: Part, limit: int, say: Any) -> None:
    cut = several = 0
    last = counted = -1
    for feature in part.features:
        cut += isinstance(feature, TextFeatures | ChoiceFeatures) and feature.cut > 0
        # The windows of an example follow each other.
        if feature.example == last != counted:
            several += 1
            counted = last
        last = feature.example
    longer = f"of {len(part.examples)} {part.name} texts are longer than {limit} tokens and"
    if cut:
        say(f"{cut} {longer} were cut")
    if several:
        say(f"{several} {longer} are read in windows")
