"""The one training loop: random batches, micro-batches by tokens, AdamW, warm-up, clipping."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from glassbert.errors import TrainingError
from glassbert.model import BertPreTrainedModel
from glassbert.tasks.batching import Collate, FeaturesT, RowT, by_tokens, run, without_labels
from glassbert.train.gradients import EmbeddingGradients
from glassbert.train.groups import freeze
from glassbert.train.optimizer import clip_gradients, make_adamw
from glassbert.train.schedules import get_scheduler
from glassbert.train.settings import TrainingSettings

# Computes the mean loss of a batch.
Loss = Callable[[BertPreTrainedModel, dict[str, Tensor]], Tensor]


def own_loss(model: BertPreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Return the loss that the model itself computes."""
    loss: Tensor = model(**batch).loss
    return loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What one optimizer step did.

    Attributes:
        step, steps: its number, from 1, and how many there will be.
        epoch: from 0.
        loss: mean over the examples of the batch.
        learning_rate: that the step was made with, the highest where parts have rates of their own.
        grad_norm: joint norm of the gradients before clipping.
        tokens: real tokens of the batch.
        seconds: that the step took.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float


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
    on_epoch: Callable[[int], None] = lambda _: None,
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
        on_epoch: called after every epoch with its number, from 0; the model is in training mode again after it.

    Returns:
        A report for every step.

    Raises:
        ConfigError: settings that this model cannot have, such as more frozen layers than it has.
        TrainingError: the loss or the gradients of a batch are NaN or infinite (the model is as it was before that
            step), or the weights are after an epoch.
    """
    steps_per_epoch = math.ceil(len(features) / settings.batch_size)
    steps = steps_per_epoch * settings.epochs
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
    for epoch in range(settings.epochs):
        model.train()
        order = order_of(len(features), seed=settings.seed, epoch=epoch)
        for begin in range(0, len(order), settings.batch_size):
            started = time.perf_counter()
            chosen = order[begin : begin + settings.batch_size]
            batch = [features[index] for index in chosen]
            with gradients.collected():
                value = backward(model, batch, collate, None if whole_batch else settings.token_budget, weight, loss)
            norm = clip_gradients(model, settings.max_grad_norm, rows=gradients.rows())
            for name, number in (("loss", value), ("norm of the gradients", norm)):
                if not math.isfinite(number):
                    places = ", ".join(map(str, sorted(chosen)))
                    raise TrainingError(
                        f"the {name} is {number} at step {len(history) + 1}; a lower learning rate may help "
                        f"(records of the batch, counted from 0: {places})"
                    )
            rate = float(max(schedule.get_last_lr()))
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            history.append(
                Step(
                    step=len(history) + 1,
                    steps=steps,
                    epoch=epoch,
                    loss=value,
                    learning_rate=rate,
                    grad_norm=norm,
                    tokens=sum(map(len, batch)),
                    seconds=time.perf_counter() - started,
                )
            )
            on_step(history[-1])
        for name, parameter in model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise TrainingError(f"{name} is not finite after epoch {epoch + 1}; a lower learning rate may help")
        on_epoch(epoch)
    return history


def backward(
    model: BertPreTrainedModel,
    batch: Sequence[FeaturesT],
    collate: Collate[FeaturesT],
    token_budget: int | None,
    weight: Callable[[Sequence[FeaturesT]], float] = len,
    loss: Loss = own_loss,
) -> float:
    """Add the gradients of the mean loss over `batch`, micro-batch by micro-batch; return that loss.

    With a `token_budget` of None the batch is computed at once.
    """
    total = 0.0
    whole = weight(batch)
    lengths = [len(feature) for feature in batch]
    for group in by_tokens(lengths, sum(lengths) if token_budget is None else token_budget):
        part = [batch[place] for place in group]
        share = weight(part) / whole if whole else 0.0
        mean = loss(model, collate(part)) * share
        mean.backward()
        total += float(mean.detach())
    return total


@torch.inference_mode()
def predict(
    model: BertPreTrainedModel,
    features: Sequence[FeaturesT],
    collate: Collate[FeaturesT],
    rows: Callable[[Any, Sequence[FeaturesT]], Sequence[RowT]],
    *,
    token_budget: int,
) -> list[RowT]:
    """Return a row for each of the features, in their order; the model is left in eval mode.

    Args:
        model: gets what `collate` makes, without what is for the loss.
        features: any number.
        collate: makes the arguments of a call.
        rows: takes the model's output apart.
        token_budget: most tokens of a call.
    """
    model.eval()

    def forward(batch: dict[str, Tensor], some: Sequence[FeaturesT]) -> Sequence[RowT]:
        return rows(model(**without_labels(batch)), some)

    return run(features, collate, forward, token_budget=token_budget)
