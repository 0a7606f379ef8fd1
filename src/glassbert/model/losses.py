"""Losses as pure functions, beside the heads that use them, and the checks of their labels.

A mean is over the labels that count; -100 marks one that does not. Where none counts, the loss is 0 and its gradient 0,
where peers give NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.errors import InputError
from glassbert.model.config import BertConfig, ProblemType
from glassbert.model.inputs import has_values

IGNORED: Final = -100


def check_classes(name: str, labels: Tensor, shape: tuple[int, ...], classes: int) -> Tensor:
    """Return class ids as int64.

    Args:
        name: of the argument, for the message.
        labels: whole numbers from 0 to `classes` - 1, or -100.
        shape: what `labels` shall have.
        classes: how many there are.

    Raises:
        InputError: another shape or dtype, or an id that does not exist (looked at on the CPU only).
    """
    if not isinstance(labels, Tensor):
        raise InputError(f"{name} is of type {type(labels).__name__}, expected a torch.Tensor")
    if tuple(labels.shape) != shape or labels.dtype not in (torch.int64, torch.int32):
        raise InputError(
            f"{name} is {labels.dtype} of shape {tuple(labels.shape)}, expected class ids (int64) of shape {shape}"
        )
    if has_values(labels):
        low, high = (int(value) for value in labels.aminmax())
        if high >= classes or (low < 0 and bool(((labels < 0) & (labels != IGNORED)).any())):
            wrong = (labels >= classes) | ((labels < 0) & (labels != IGNORED))
            found = labels[wrong].unique().tolist()
            raise InputError(
                f"{name} holds ids outside 0 to {classes - 1}: {', '.join(map(str, found[:5]))}; "
                f"{IGNORED} marks what does not count"
            )
    return labels.long()


def check_choices(label_smoothing: float, class_weights: Tensor | None, classes: int) -> None:
    """Check what a loss may be told.

    Raises:
        InputError: smoothing outside 0 to 1, or weights of another shape than (C,).
    """
    if type(label_smoothing) not in (int, float) or not 0.0 <= label_smoothing <= 1.0:
        raise InputError(f"label_smoothing is {label_smoothing!r}, expected a number from 0 to 1")
    if class_weights is not None and (
        not isinstance(class_weights, Tensor) or tuple(class_weights.shape) != (classes,)
    ):
        found = tuple(class_weights.shape) if isinstance(class_weights, Tensor) else type(class_weights).__name__
        raise InputError(f"class_weights is {found}, expected one weight a class, a tensor of shape ({classes},)")
    if class_weights is not None and has_values(class_weights):
        low, high = (float(value) for value in class_weights.aminmax())
        if not (low >= 0.0 and high < float("inf")):
            raise InputError(f"class_weights holds {high if low >= 0.0 else low:g}, expected finite numbers from 0")


def cross_entropy(
    logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy over the labels that count, weighted by their classes.

    Args:
        logits: (N, C).
        labels: (N,) int64 class ids, or -100.
        class_weights: (C,) how much a label of each class counts.
        label_smoothing: share of each label that is spread over all classes (arXiv 1512.00567, section 7).

    Returns:
        () in float32 at least; 0 where no label counts.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()  # a sum over many labels would overflow, or round them away
    weights = None if class_weights is None else class_weights.to(logits)
    total = F.cross_entropy(
        logits, labels, weight=weights, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )
    counts = labels != IGNORED
    if weights is None:
        return total / counts.sum().clamp(min=1)
    weight = (weights[labels.clamp(min=0)] * counts).sum()
    return torch.where(weight > 0, total / torch.where(weight > 0, weight, 1.0), 0.0 * total)


class _ProjectedCrossEntropy(torch.autograd.Function):
    """Scores become probabilities where they lie, and those are what the backward pass needs.

    Through autograd the scores of N words, N·V numbers, are written and read about twice as often and kept three times.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.addmm(bias, vectors, weight.t())
        highest, guesses = scores.max(dim=-1)
        wanted = scores.gather(1, labels[:, None])[:, 0]
        torch.softmax(scores, -1, out=scores)
        # log Σ exp(score): the largest probability is at least 1/V, so its logarithm loses nothing.
        total = highest - scores.gather(1, guesses[:, None])[:, 0].log()
        ctx.save_for_backward(vectors, weight, labels, scores)
        guessed = (guesses == labels).to(scores.dtype).sum()
        ctx.mark_non_differentiable(guessed)
        return (total - wanted).sum(), guessed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        vectors, weight, labels, shares = ctx.saved_tensors
        scaled = vectors * gradients[0]
        # The gradient of the scores is their shares, less 1 at the labels; what that 1 does is taken off the products.
        by_vectors = (shares @ weight).sub_(weight[labels]).mul_(gradients[0])
        by_weight = (shares.t() @ scaled).index_add_(0, labels, scaled, alpha=-1)
        ones = gradients[0].expand(len(labels))
        by_bias = torch.mv(shares.t(), ones.contiguous()).index_add_(0, labels, ones, alpha=-1)
        return by_vectors, by_weight, by_bias, None


def projected_cross_entropy(vectors: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of a projection to many classes whose scores nobody else needs.

    The same as `cross_entropy(F.linear(vectors, weight, bias), labels)`, in less time and memory; it can be
    differentiated once.

    Args:
        vectors: (N, H).
        weight: (C, H).
        bias: (C,).
        labels: (N,) int64 class ids; none is -100.

    Returns:
        The mean, () in float32 at least, and how many labels have the highest score, likewise; 0 where there are none.
    """
    count = max(1, len(labels))
    exact = vectors.dtype == weight.dtype and vectors.dtype in (torch.float32, torch.float64)
    if exact and len(labels) and not torch.is_autocast_enabled(vectors.device.type):
        total, guessed = _ProjectedCrossEntropy.apply(vectors, weight, bias, labels)  # type: ignore[no-untyped-call]
        return total / count, guessed
    scores = F.linear(vectors, weight, bias)
    with torch.no_grad():
        guessed = (scores.argmax(dim=-1) == labels).float().sum() if len(labels) else scores.new_zeros(())
    return cross_entropy(scores, labels), guessed


def multiple_choice(logits: Tensor, labels: Tensor, present: Tensor | None, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over questions, each over its own choices.

    Args:
        logits: (B, choices), the lowest number where there is no choice.
        labels: (B,) int64, or -100; a label that names no choice does not count.
        present: (B, choices) bool, true at choices; None where all are.
        label_smoothing: share of each label that is spread over the choices of its question.

    Returns:
        () in float32 at least; 0 where no label counts.
    """
    if present is None:
        return cross_entropy(logits, labels, label_smoothing=label_smoothing)
    missing = ~present.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    labels = labels.masked_fill(missing, IGNORED)
    loss = cross_entropy(logits, labels)
    if not label_smoothing:
        return loss
    # What a choice that is not there has of the spread would be infinite: each question spreads over its own alone.
    spread = logits.to(loss.dtype).log_softmax(dim=-1).masked_fill(~present, 0.0).sum(dim=-1)
    mean = -spread / present.sum(dim=-1).clamp(min=1)
    counts = labels != IGNORED
    smooth = mean.masked_fill(~counts, 0.0).sum() / counts.sum().clamp(min=1)
    return (1.0 - label_smoothing) * loss + label_smoothing * smooth


def problem_type(config: BertConfig, labels: Tensor) -> ProblemType:
    """Decide what a classifier is trained for: by the config, else by `num_labels` and the labels' dtype."""
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def check_sequence_labels(labels: Tensor, batch: int, config: BertConfig) -> Tensor:
    """Return the labels of whole sequences in the form that `sequence_classification` takes.

    Args:
        labels: (B,) class ids for a single label, floats (B,) for regression with one output; floats (B, C) for
            several labels or several outputs.
        batch: B.
        config: `num_labels` and `problem_type` say which.

    Raises:
        InputError: labels of another shape or dtype, or a class id that does not exist.
    """
    if not isinstance(labels, Tensor):
        raise InputError(f"labels is of type {type(labels).__name__}, expected a torch.Tensor")
    kind = problem_type(config, labels)
    if kind == "single_label_classification":
        if tuple(labels.shape) == (batch, 1):
            labels = labels[:, 0]
        return check_classes("labels", labels, (batch,), config.num_labels)
    expected = (batch, config.num_labels)
    flat = kind == "regression" and tuple(labels.shape) == (batch,) and config.num_labels == 1
    if (tuple(labels.shape) != expected and not flat) or not labels.is_floating_point():
        raise InputError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}, expected floats of shape {expected}"
        )
    if kind == "multi_label_classification" and has_values(labels):
        low, high = (float(value) for value in labels.aminmax())
        if not (low >= 0.0 and high <= 1.0):
            raise InputError(f"labels holds {high if low >= 0.0 else low:g}, expected numbers from 0 to 1, one a class")
    return labels[:, None] if flat else labels


def sequence_classification(
    logits: Tensor,
    labels: Tensor,
    config: BertConfig,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean loss of a classifier over whole sequences: cross-entropy, binary cross-entropy a class, or squared error.

    Args:
        logits: (B, C).
        labels: as `check_sequence_labels` returns them.
        config: `num_labels` and `problem_type` choose the loss.
        class_weights: (C,), for classes; with several labels, how much each one's loss counts.
        label_smoothing: for classes; with several labels, it draws each target that far towards one half.

    Raises:
        InputError: weights or smoothing for regression.
    """
    kind = problem_type(config, labels)
    if kind == "single_label_classification":
        return cross_entropy(logits, labels, class_weights=class_weights, label_smoothing=label_smoothing)
    labels = labels.to(logits.dtype)
    if kind == "regression":
        if class_weights is not None or label_smoothing:
            raise InputError("class_weights and label_smoothing are for classes, not for regression")
        return F.mse_loss(logits, labels)
    targets = labels * (1.0 - label_smoothing) + label_smoothing / 2
    weights = None if class_weights is None else class_weights.to(logits)
    return F.binary_cross_entropy_with_logits(logits, targets, weight=weights)


def causal_labels(labels: Tensor, real: Tensor | None) -> Tensor:
    """(B, S) -> (B, S): the label of each place is the next token.

    The last place has none, nor has one that sees no token: padding on the left.

    Args:
        labels: (B, S) the ids themselves.
        real: (B, S) bool, true at real tokens; None where all are.
    """
    nothing = labels.new_full((labels.shape[0], 1), IGNORED)
    shifted = torch.cat((labels[:, 1:], nothing), dim=1)
    return shifted if real is None else shifted.masked_fill(real.cumsum(dim=1) == 0, IGNORED)


def clamped_position(name: str, positions: Tensor, batch: int, length: int) -> Tensor:
    """Return positions of answers as class ids over the S places.

    As in transformers, one below 0 counts as 0, and one past the end does not count; the caller's tensor stays as it
    is.

    Args:
        name: of the argument, for the message.
        positions: (B,) or (B, 1) whole numbers.
        batch: B.
        length: S.

    Raises:
        InputError: another shape or dtype.
    """
    if not isinstance(positions, Tensor):
        raise InputError(f"{name} is of type {type(positions).__name__}, expected a torch.Tensor")
    if tuple(positions.shape) not in ((batch,), (batch, 1)) or positions.dtype not in (torch.int64, torch.int32):
        raise InputError(
            f"{name} is {positions.dtype} of shape {tuple(positions.shape)}, expected int64 of shape ({batch},)"
        )
    flat = positions.reshape(batch).long().clamp(min=0)
    return flat.masked_fill(flat >= length, IGNORED)


def cosine_regression(one: Tensor, other: Tensor, scores: Tensor) -> Tensor:
    """Mean squared difference of the cosines of pairs of vectors and what they shall be.

    Args:
        one: (B, H).
        other: (B, H).
        scores: (B,) from -1 to 1.

    Source: arXiv 1908.10084, section 3 (the regression objective); sentence-transformers' CosineSimilarityLoss.
    """
    return F.mse_loss(F.cosine_similarity(one, other), scores.to(one.dtype))


def in_batch_negatives(
    anchors: Tensor, candidates: Tensor, *, left_out: Tensor | None = None, scale: float = 20.0
) -> Tensor:
    """Mean cross-entropy of choosing each anchor's own candidate among all of the batch by cosine.

    Args:
        anchors: (B, H).
        candidates: (N, H), N ≥ B; the first B are those of the anchors, in their order, the others belong to none.
        left_out: (B, N) bool, true at a candidate that is no wrong choice for an anchor, such as the same text once
            more; its own always counts.
        scale: what cosines are multiplied by before the softmax.

    Source: arXiv 1705.00652, section 4.4; sentence-transformers' MultipleNegativesRankingLoss.
    """
    scores = scale * F.normalize(anchors, dim=-1) @ F.normalize(candidates, dim=-1).T  # (B, N)
    own = torch.arange(len(anchors), device=anchors.device)
    if left_out is not None:
        left_out = left_out.clone()
        left_out[own, own] = False
        scores = scores.masked_fill(left_out, -torch.inf)
    return cross_entropy(scores, own)


def over_widths(loss: Callable[..., Tensor], vectors: Sequence[Tensor], widths: Sequence[int]) -> Tensor:
    """Mean of a loss over the beginnings of vectors, so that each beginning is a vector by itself.

    Args:
        loss: takes the vectors.
        vectors: each (…, H).
        widths: how long the beginnings are; none means whole vectors.

    Source: arXiv 2205.13147 (Matryoshka representation learning).
    """
    if not widths:
        return loss(*vectors)
    return torch.stack([loss(*(vector[..., :width] for vector in vectors)) for width in widths]).mean()
