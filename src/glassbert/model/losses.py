"""Losses as pure functions, beside the heads that use them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from glassbert.errors import InputError
from glassbert.model.config import BertConfig, ProblemType


def problem_type(config: BertConfig, labels: Tensor) -> ProblemType:
    """Decide what a classifier is trained for: by the config, else by `num_labels` and the labels' dtype."""
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def sequence_classification(logits: Tensor, labels: Tensor, config: BertConfig) -> Tensor:
    """Mean loss of a classifier over whole sequences.

    Args:
        logits: (B, C).
        labels: (B,) class ids for a single label, floats for regression with one output; (B, C) floats for
            several labels or several outputs.
        config: `num_labels` and `problem_type` choose among cross-entropy, binary cross-entropy per class and
            squared error.

    Raises:
        InputError: labels of another shape, or a class id that does not exist.
    """
    if not isinstance(labels, Tensor):
        raise InputError(f"labels is of type {type(labels).__name__}, expected a torch.Tensor")
    kind = problem_type(config, labels)
    if kind == "single_label_classification":
        if tuple(labels.shape) != (logits.shape[0],) or labels.is_floating_point():
            raise InputError(
                f"labels are {labels.dtype} of shape {tuple(labels.shape)}, expected class ids (int64) of shape "
                f"({logits.shape[0]},)"
            )
        if labels.device.type == "cpu" and (int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]):
            found = sorted({label for label in labels.tolist() if not 0 <= label < logits.shape[1]})
            raise InputError(f"labels hold ids outside 0 to {logits.shape[1] - 1}: {found}")
        return F.cross_entropy(logits, labels)
    expected = tuple(logits.shape)
    if kind == "regression" and labels.dim() == 1 and logits.shape[1] == 1:
        labels = labels[:, None]
    if tuple(labels.shape) != expected or not labels.is_floating_point():
        raise InputError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}, expected floats of shape {expected}"
        )
    if kind == "regression":
        return F.mse_loss(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels)
