"""The one training loop: random batches, micro-batches by tokens, AdamW, warm-up, clipping."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from glassbert.errors import ConfigError, TrainingError
from glassbert.model import BertPreTrainedModel
from glassbert.settings import LoopSettings, Precision
from glassbert.tasks.batching import Collate, FeaturesT, RowT, by_tokens, run, without_labels
from glassbert.train.devices import Devices
from glassbert.train.events import Step, StopTraining
from glassbert.train.gradients import EmbeddingGradients
from glassbert.train.groups import freeze
from glassbert.train.history import History
from glassbert.train.interruption import Interrupted, Interruption
from glassbert.train.optimizer import clip_gradients, make_optimizer
from glassbert.train.schedules import get_scheduler
from glassbert.train.spool import Every
from glassbert.train.state import Keeper, RandomState

Item = TypeVar("Item")
# Where neither epochs nor steps are given.
DEFAULT_EPOCHS: Final = 3
# Computes the mean loss of a batch, or several means by name, each over a number of its own.
Loss = Callable[[BertPreTrainedModel, dict[str, Tensor]], Tensor | dict[str, Tensor]]
# What the loss of some features is a mean over; where it has several parts, what each of them is, by the same names.
Weight = Callable[[Sequence[FeaturesT]], float | dict[str, float]]
# Given how many steps were made before, gives epoch, from 0, and places of the features of each batch from there on.
Batches = Callable[[int], Iterator[tuple[int, Sequence[int]]]]


def own_loss(model: BertPreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Return the loss that the model itself computes."""
    loss: Tensor = model(**batch).loss
    return loss


def order_of(count: int, *, seed: int, epoch: int) -> list[int]:
    """Return 0 … count - 1 in the random order of one epoch; it depends on nothing but the arguments."""
    # One stream for each (seed, epoch): the odd constant spreads the epochs over the 64 bits of a seed.
    generator = torch.Generator().manual_seed((seed + 0x9E3779B97F4A7C15 * (epoch + 1)) % 2**63)
    return torch.randperm(count, generator=generator).tolist()


def fit(
    model: BertPreTrainedModel,
    features: Sequence[FeaturesT],
    collate: Collate[FeaturesT],
    settings: LoopSettings,
    *,
    weight: Weight[FeaturesT] = len,
    loss: Loss = own_loss,
    batches: Batches | None = None,
    whole_batch: bool = False,
    on_step: Callable[[Step], None] = lambda _: None,
    on_evaluation: Callable[[int, int], None] = lambda epoch, step: None,
    devices: Devices | None = None,
    keeper: Keeper | None = None,
    interruption: Interruption | None = None,
    named: Callable[[Sequence[int]], str] = lambda places: f"counted from 0: {', '.join(map(str, places))}",
) -> History:
    """Train `model` in place.

    Args:
        model: its forward takes what `collate` returns.
        features: the training data; `len` of one is its length in tokens.
        collate: makes a forward call's arguments from some features.
        settings: rates, sizes, seed.
        weight: what the loss of some features is a mean over: their number, or that of their labels. For a loss of
            several parts, what each of them is a mean over.
        loss: computes the mean loss of what `collate` returns, or several means by name. Those that depend on weights
            are added up to the loss, the others are told beside it in `Step.figures`. A part with nothing to be a mean
            over is left out, whatever it says.
        batches: gives the batches, without end, from the one after so many steps; every epoch in a random order of its
            own if not given. It may not draw from torch's, numpy's or Python's own random state, and is the same on all
            devices. The settings need `steps` then, and without `evaluate_every` an epoch counts as over when as many
            batches were made as there are in all features.
        whole_batch: whether a batch has to be computed at once, whatever the settings' `token_budget` says.
        on_step: called after every optimizer step.
        on_evaluation: called with epoch and step, both from 1, after every epoch, or after every `evaluate_every`
            steps, and after the last; the model is in training mode again after it.
        devices: this process among those that train together, which all call this with the same arguments; alone, and
            where the model is, if not given. Each computes a part of every batch.
        keeper: saves the state now and then, and brings back what it has saved.
        interruption: looked at after every step, and in one where this process is alone.
        named: names features by their places, for messages.

    `on_step` and `on_evaluation` may raise `StopTraining`, which ends the training as its last step does.

    Returns:
        A report for every step, also for those that were made before a checkpoint that this run has gone on from.

    Raises:
        ConfigError: settings that this model cannot have, such as more frozen layers than it has; a checkpoint of
            another run; `batches` without a number of steps.
        TrainingError: the loss or the gradients of a batch are NaN or infinite (the model is as it was before that
            step), or the weights are at an evaluation; or there is too little memory; a loss that is none, or whose
            parts are not those of `weight`; or `batches` ends too early.
        Interrupted: that was wanted; the state after the last whole step is saved.
        SaveError: then, if it cannot be.
    """
    devices = Devices(next(model.parameters()).device) if devices is None else devices
    at_once = settings.batch_size * settings.accumulation
    steps_per_epoch = math.ceil(len(features) / at_once)
    if batches is not None and settings.steps is None:
        raise ConfigError("steps is None, but batches of one's own have no end; give steps")
    steps = settings.steps or steps_per_epoch * (settings.epochs or DEFAULT_EPOCHS)
    if settings.freeze_layers > model.config.num_hidden_layers:
        layers = model.config.num_hidden_layers
        raise ConfigError(f"freeze_layers is {settings.freeze_layers}, but the model has {layers} layers")
    if settings.freeze_embeddings or settings.freeze_layers:
        freeze(model, embeddings=settings.freeze_embeddings, layers=settings.freeze_layers)
    optimizer = make_optimizer(
        model,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        layer_decay=settings.layer_decay,
        head_learning_rate=settings.head_learning_rate,
        optimizer=settings.optimizer,
    )
    warmup = max(0, min(math.ceil(settings.warmup * steps), steps - 1))
    schedule = get_scheduler(settings.schedule, optimizer, warmup, steps)
    history, evaluated = History(steps), 0
    if keeper is not None:
        history, evaluated = keeper.restore(model, optimizer, schedule, steps)
    gradients = EmbeddingGradients(model, kept=devices.alone and devices.device.type == "cpu")
    interruption = Interruption() if interruption is None else interruption
    drawn = RandomState.now()

    def computed(part: Sequence[FeaturesT]) -> dict[str, Tensor]:
        if devices.alone:
            interruption.check()
        return devices.to_device(collate(part))

    def make_step(epoch: int, chosen: Sequence[int]) -> Step:
        started = time.perf_counter()
        batch = [features[place] for place in chosen]
        with gradients.collected():
            whole = weight(batch)
            names = list(whole) if isinstance(whole, Mapping) else []
            sums = [0.0] * (1 + len(names))
            for part in _parts(batch, settings.batch_size, devices, whole_batch):
                budget = None if whole_batch else settings.token_budget
                added, parts = backward(model, part, computed, budget, weight, loss, settings.precision, whole)
                sums = [one + more for one, more in zip(sums, [added, *(parts[name] for name in names)], strict=True)]
        value, *figures = devices.add_up(model, sums)
        norm = clip_gradients(model, settings.max_grad_norm, rows=gradients.rows())
        for name, number in (("loss", value), ("norm of the gradients", norm)):
            if not math.isfinite(number):
                raise TrainingError(
                    f"the {name} is {number} at step {len(history) + 1}; a lower learning rate may help "
                    f"(records of the batch, {named(sorted(chosen))})"
                )
        rate = float(max(schedule.get_last_lr()))
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        return Step(
            step=len(history) + 1,
            steps=steps,
            epoch=epoch + 1,
            loss=value,
            learning_rate=rate,
            grad_norm=norm,
            tokens=sum(map(len, batch)),
            seconds=time.perf_counter() - started,
            figures=dict(zip(names, figures, strict=True)),
        )

    def evaluate(epoch: int) -> bool:
        """Evaluate, and say whether the training is to end."""
        nonlocal evaluated, drawn
        for name, parameter in model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise TrainingError(f"{name} is not finite after step {len(history)}; a lower learning rate may help")
        stop = False
        try:
            on_evaluation(epoch, len(history))
        except StopTraining:
            stop = True
        evaluated, drawn = len(history), RandomState.now()
        model.train()
        return devices.any(stop)

    def is_due() -> bool:
        return evaluated < len(history) and (
            len(history) % (settings.evaluate_every or steps_per_epoch) == 0 or len(history) == steps
        )

    def save(*, needed: bool) -> None:
        if keeper is not None and history:
            keeper.save(model, optimizer, schedule, history, evaluated, drawn, needed=needed)

    model.train()
    with _checkpointed(model, settings.gradient_checkpointing):
        try:
            # The evaluation that an interruption has left undone.
            stop = bool(history) and is_due() and evaluate(history[-1].epoch)
            made = len(history)
            own = _batches(len(features), at_once, settings.seed, begin=made) if batches is None else batches(made)
            for epoch, chosen in own:
                if stop or len(history) == steps:
                    break
                with _enough_memory(settings, len(history) + 1):
                    step = make_step(epoch, chosen)
                history.append(step)
                drawn = RandomState.now()
                try:
                    on_step(step)
                except StopTraining:
                    stop = True
                now = keeper is not None and devices.first and keeper.due(len(history))
                stop, due, ended = map(any, zip(*devices.gathered((stop, now, interruption.wanted)), strict=True))
                if ended:
                    interruption.note(signal.SIGTERM)  # where it came to another process
                    interruption.check()
                if is_due() or (stop and evaluated < len(history)):
                    stop |= evaluate(epoch + 1)
                if due:
                    save(needed=False)
            else:
                if not stop and len(history) < steps:
                    raise TrainingError(f"the batches end after step {len(history)}; there are to be {steps}")
        except Interrupted:
            # The step or the evaluation that was given up has changed nothing but what is put back here.
            optimizer.zero_grad(set_to_none=True)
            drawn.put()
            save(needed=True)
            raise
        if keeper is not None and keeper.wants_last(len(history)):
            save(needed=False)
    return history


def _batches(count: int, size: int, seed: int, *, begin: int) -> Iterator[tuple[int, Sequence[int]]]:
    """Give the epoch and the places of every batch, without end; the first `begin` batches are left out."""
    first, skipped = divmod(begin, math.ceil(count / size))
    for epoch in itertools.count(first):
        order = order_of(count, seed=seed, epoch=epoch)
        for chosen in _slices(order[skipped * size :], size):
            yield epoch, chosen
        skipped = 0


def _slices(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def _parts(batch: Sequence[FeaturesT], size: int, devices: Devices, whole_batch: bool) -> Sequence[Sequence[FeaturesT]]:
    """Return what this process computes of the examples of a step.

    Where a loss compares the texts of a batch, batches of one step stay apart, and whole. Else each process gets about
    as many tokens as the others.
    """
    if whole_batch:
        return devices.share(list(_slices(batch, size)))
    if devices.alone:
        return [batch]
    part = devices.share(sorted(batch, key=len, reverse=True))
    return [part] if part else []


@contextlib.contextmanager
def _enough_memory(settings: LoopSettings, step: int) -> Iterator[None]:
    """Say what to lower where memory was not enough.

    Raises:
        TrainingError: then.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has a class of its own for GPUs, and words for the CPU.
        known = isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)
        if not known and "can't allocate memory" not in str(error):
            raise
        ways = [f"lower token_budget, which is {settings.token_budget}", "a shorter max_length"]
        if not settings.gradient_checkpointing:
            ways.append("gradient_checkpointing")
        reason = str(error).strip().splitlines()[0] if str(error) else "the system has no more"
        raise TrainingError(f"out of memory at step {step} ({reason}); try: {', '.join(ways)}") from error


@contextlib.contextmanager
def _checkpointed(model: BertPreTrainedModel, wanted: bool) -> Iterator[None]:
    """Compute layers anew in the backward pass, where that is wanted; the model is as before after it."""
    before = model.config.gradient_checkpointing
    if wanted:
        model.gradient_checkpointing_enable()
    try:
        yield
    finally:
        if wanted and not before:
            model.gradient_checkpointing_disable()


def computing(model: torch.nn.Module, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Return the context in which a model computes in `precision`."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype=torch.bfloat16)


def backward(
    model: BertPreTrainedModel,
    batch: Sequence[FeaturesT],
    collate: Collate[FeaturesT],
    token_budget: int | None,
    weight: Weight[FeaturesT] = len,
    loss: Loss = own_loss,
    precision: Precision = "fp32",
    whole: float | Mapping[str, float] | None = None,
) -> tuple[float, dict[str, float]]:
    """Add the gradients of the mean loss over `batch`, micro-batch by micro-batch.

    With a `token_budget` of None the batch is computed at once. Where the batch is one part of a step, `whole` is the
    weight of the step, and the loss this part's share of its mean.

    Returns:
        that loss, and the mean of each of its parts, where it has several.
    """
    whole = weight(batch) if whole is None else whole
    total, figures = 0.0, dict.fromkeys(whole if isinstance(whole, Mapping) else (), 0.0)
    lengths = [len(feature) for feature in batch]
    for group in by_tokens(lengths, sum(lengths) if token_budget is None else token_budget):
        part = [batch[place] for place in group]
        with computing(model, precision):
            added, parts = _weighted(loss(model, collate(part)), weight(part), whole)
        for name, value in parts.items():
            figures[name] += value
        if added is not None:
            added.backward()
            total += float(added.detach())
    return total, figures


def _weighted(
    means: object, weight: float | Mapping[str, float], whole: float | Mapping[str, float]
) -> tuple[Tensor | None, dict[str, float]]:
    """Return what a micro-batch adds to the loss of a step, and to each part of a loss that has several.

    Args:
        means: what the loss function gave.
        weight: what they are means over.
        whole: the same for all of the step.

    Returns:
        None in place of a loss where all of its parts are means over nothing.

    Raises:
        TrainingError: no loss, or one of other parts than those that have a weight.
    """
    if not isinstance(whole, Mapping) or not isinstance(weight, Mapping):
        if type(means) is dict:
            raise TrainingError(f"the loss has parts ({_listed(means)}), but its weight is one number for all of them")
        return _checked_loss(means) * (weight / whole if whole else 0.0), {}  # type: ignore[operator]
    if not isinstance(means, Mapping) or not means.keys() == weight.keys() == whole.keys():
        given = _listed(means) if isinstance(means, Mapping) else f"one {type(means).__name__}"
        raise TrainingError(f"the loss has the parts {given}, but the weights are those of {_listed(weight)}")
    checked = {name: _one_number(mean, f"the part {name} of the loss") for name, mean in means.items()}
    if not any(mean.requires_grad for mean in checked.values()):
        raise TrainingError(f"no part of the loss ({_listed(means)}) depends on weights that are trained")
    # A mean over nothing is no number, and has no share in any sum.
    shares = {name: weight[name] / whole[name] for name in checked if whole[name] and weight[name]}
    losses = [checked[name] * share for name, share in shares.items() if checked[name].requires_grad]
    figures = {name: float(checked[name].detach()) * share for name, share in shares.items()}
    return (functools.reduce(torch.add, losses) if losses else None), figures


def _listed(parts: Mapping[str, object]) -> str:
    return ", ".join(map(str, parts)) or "none"


def _checked_loss(value: object) -> Tensor:
    """Return what a loss function gave, if gradients can be taken of it.

    Raises:
        TrainingError: it is no tensor of one number, or none that depends on the weights.
    """
    loss = _one_number(value, "the loss")
    if not loss.requires_grad:
        raise TrainingError("the loss does not depend on weights that are trained; is it detached?")
    return loss


def _one_number(value: object, what: str) -> Tensor:
    """Return a tensor of one number, of shape ().

    Raises:
        TrainingError: it is none.
    """
    if not isinstance(value, Tensor):
        raise TrainingError(f"{what} is of type {type(value).__name__}, expected a torch.Tensor")
    if value.numel() != 1:
        raise TrainingError(f"{what} has shape {tuple(value.shape)}, expected one number, the mean over the batch")
    return value.reshape(())


@torch.inference_mode()
def predict(
    model: BertPreTrainedModel,
    features: Sequence[FeaturesT],
    collate: Collate[FeaturesT],
    rows: Callable[[Any, Sequence[FeaturesT]], Sequence[RowT]],
    *,
    token_budget: int,
    precision: Precision = "fp32",
    devices: Devices | None = None,
    interruption: Interruption | None = None,
    on_done: Callable[[int], object] = lambda count: None,
) -> list[RowT]:
    """Return a row for each of the features, in their order; the model is left in eval mode.

    Args:
        model: gets what `collate` makes, without what is for the loss.
        features: any number.
        collate: makes the arguments of a call.
        rows: takes the model's output apart.
        token_budget: most tokens of a call.
        precision: in which the model computes.
        devices: this process among those that share the work; alone if not given. All get all rows.
        interruption: looked at before each call where this process is alone.
        on_done: told how many features this process has done, after each call.

    Raises:
        Interrupted: that was wanted.
    """
    model.eval()
    done = 0
    devices = Devices(next(model.parameters()).device) if devices is None else devices

    def forward(batch: dict[str, Tensor], some: Sequence[FeaturesT]) -> Sequence[RowT]:
        if interruption is not None and devices.alone:
            interruption.check()
        nonlocal done
        with computing(model, precision):
            found = rows(model(**devices.to_device(without_labels(batch))), some)
        done += len(some)
        on_done(done)
        return found

    own = features if devices.alone else Every(features, devices.rank, devices.processes)
    found = run(own, collate, forward, token_budget=token_budget)
    if devices.alone:
        return found
    parts = devices.gathered(found)
    return [parts[place % devices.processes][place // devices.processes] for place in range(len(features))]
