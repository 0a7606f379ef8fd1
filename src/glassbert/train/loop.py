"""The one training loop: random batches, micro-batches by tokens, AdamW, warm-up, clipping."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from glassbert.errors import ConfigError, TrainingError
from glassbert.model import BertPreTrainedModel
from glassbert.settings import Precision, TrainingSettings
from glassbert.tasks.batching import Collate, FeaturesT, RowT, by_tokens, run, without_labels
from glassbert.train.events import Step, StopTraining
from glassbert.train.gradients import EmbeddingGradients
from glassbert.train.groups import freeze
from glassbert.train.optimizer import clip_gradients, make_adamw
from glassbert.train.schedules import get_scheduler

Item = TypeVar("Item")
# Where neither epochs nor steps are given.
DEFAULT_EPOCHS: Final = 3
# Computes the mean loss of a batch.
Loss = Callable[[BertPreTrainedModel, dict[str, Tensor]], Tensor]


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
    settings: TrainingSettings,
    *,
    weight: Callable[[Sequence[FeaturesT]], float] = len,
    loss: Loss = own_loss,
    whole_batch: bool = False,
    on_step: Callable[[Step], None] = lambda _: None,
    on_evaluation: Callable[[int, int], None] = lambda epoch, step: None,
) -> list[Step]:
    """Train `model` in place.

    Args:
        model: its forward takes what `collate` returns.
        features: the training data; `len` of one is its length in tokens.
        collate: makes a forward call's arguments from some features.
        settings: rates, sizes, seed.
        weight: what the loss of some features is a mean over: their number, or that of their labels.
        loss: computes the mean loss of what `collate` returns.
        whole_batch: whether a batch has to be computed at once, whatever the settings' `token_budget` says.
        on_step: called after every optimizer step.
        on_evaluation: called with epoch and step, both from 1, after every epoch, or after every `evaluate_every`
            steps, and after the last; the model is in training mode again after it.

    Both may raise `StopTraining`, which ends the training as its last step does.

    Returns:
        A report for every step.

    Raises:
        ConfigError: settings that this model cannot have, such as more frozen layers than it has.
        TrainingError: the loss or the gradients of a batch are NaN or infinite (the model is as it was before that
            step), or the weights are at an evaluation.
    """
    at_once = settings.batch_size * settings.accumulation
    steps_per_epoch = math.ceil(len(features) / at_once)
    steps = settings.steps or steps_per_epoch * (settings.epochs or DEFAULT_EPOCHS)
    if settings.freeze_layers > model.config.num_hidden_layers:
        layers = model.config.num_hidden_layers
        raise ConfigError(f"freeze_layers is {settings.freeze_layers}, but the model has {layers} layers")
    if settings.freeze_embeddings or settings.freeze_layers:
        freeze(model, embeddings=settings.freeze_embeddings, layers=settings.freeze_layers)
    optimizer = make_adamw(
        model,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        layer_decay=settings.layer_decay,
        head_learning_rate=settings.head_learning_rate,
        form=settings.optimizer,
    )
    warmup = max(0, min(math.ceil(settings.warmup * steps), steps - 1))
    schedule = get_scheduler(settings.schedule, optimizer, warmup, steps)
    gradients = EmbeddingGradients(model)
    history: list[Step] = []
    evaluated = 0

    def evaluate(epoch: int) -> None:
        nonlocal evaluated
        for name, parameter in model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise TrainingError(f"{name} is not finite after step {len(history)}; a lower learning rate may help")
        evaluated = len(history)
        on_evaluation(epoch, evaluated)
        model.train()

    model.train()
    with _checkpointed(model, settings.gradient_checkpointing):
        try:
            for step, (epoch, chosen) in enumerate(_batches(len(features), at_once, settings.seed), 1):
                started = time.perf_counter()
                batch = [features[index] for index in chosen]
                with gradients.collected():
                    value = 0.0
                    whole = weight(batch)
                    # Where a loss compares the texts of a batch, batches of one step stay apart.
                    for part in _slices(batch, settings.batch_size) if whole_batch else (batch,):
                        budget = None if whole_batch else settings.token_budget
                        value += backward(model, part, collate, budget, weight, loss, settings.precision, whole)
                norm = clip_gradients(model, settings.max_grad_norm, rows=gradients.rows())
                for name, number in (("loss", value), ("norm of the gradients", norm)):
                    if not math.isfinite(number):
                        places = ", ".join(map(str, sorted(chosen)))
                        raise TrainingError(
                            f"the {name} is {number} at step {step}; a lower learning rate may help "
                            f"(records of the batch, counted from 0: {places})"
                        )
                rate = float(max(schedule.get_last_lr()))
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                history.append(
                    Step(
                        step=step,
                        steps=steps,
                        epoch=epoch + 1,
                        loss=value,
                        learning_rate=rate,
                        grad_norm=norm,
                        tokens=sum(map(len, batch)),
                        seconds=time.perf_counter() - started,
                    )
                )
                on_step(history[-1])
                every = settings.evaluate_every or steps_per_epoch
                if step % every == 0 or step == steps:
                    evaluate(epoch + 1)
                if step == steps:
                    break
        except StopTraining:
            if history and evaluated < len(history):
                # A second wish to stop changes nothing.
                with contextlib.suppress(StopTraining):
                    evaluate(history[-1].epoch)
    return history


def _batches(count: int, size: int, seed: int) -> Iterator[tuple[int, list[int]]]:
    """Give the epoch and the places of every batch, without end."""
    for epoch in itertools.count():
        for chosen in _slices(order_of(count, seed=seed, epoch=epoch), size):
            yield epoch, chosen


def _slices(items: list[Item], size: int) -> Iterator[list[Item]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


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
    weight: Callable[[Sequence[FeaturesT]], float] = len,
    loss: Loss = own_loss,
    precision: Precision = "fp32",
    whole: float | None = None,
) -> float:
    """Add the gradients of the mean loss over `batch`, micro-batch by micro-batch; return that loss.

    With a `token_budget` of None the batch is computed at once. Where the batch is one part of a step, `whole` is the
    weight of the step, and the loss this part's share of its mean.
    """
    total = 0.0
    whole = weight(batch) if whole is None else whole
    lengths = [len(feature) for feature in batch]
    for group in by_tokens(lengths, sum(lengths) if token_budget is None else token_budget):
        part = [batch[place] for place in group]
        share = weight(part) / whole if whole else 0.0
        with computing(model, precision):
            mean = _checked_loss(loss(model, collate(part))) * share
        mean.backward()
        total += float(mean.detach())
    return total


def _checked_loss(value: object) -> Tensor:
    """Return what a loss function gave, if gradients can be taken of it.

    Raises:
        TrainingError: it is no tensor of one number, or none that depends on the weights.
    """
    if not isinstance(value, Tensor):
        raise TrainingError(f"the loss is of type {type(value).__name__}, expected a torch.Tensor")
    if value.numel() != 1:
        raise TrainingError(f"the loss has shape {tuple(value.shape)}, expected one number, the mean over the batch")
    if not value.requires_grad:
        raise TrainingError("the loss does not depend on weights that are trained; is it detached?")
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
) -> list[RowT]:
    """Return a row for each of the features, in their order; the model is left in eval mode.

    Args:
        model: gets what `collate` makes, without what is for the loss.
        features: any number.
        collate: makes the arguments of a call.
        rows: takes the model's output apart.
        token_budget: most tokens of a call.
        precision: in which the model computes.
    """
    model.eval()

    def forward(batch: dict[str, Tensor], some: Sequence[FeaturesT]) -> Sequence[RowT]:
        with computing(model, precision):
            return rows(model(**without_labels(batch)), some)

    return run(features, collate, forward, token_budget=token_budget)
