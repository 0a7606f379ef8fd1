"""Metrics as pure functions of two sequences of class ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def confusion_matrix(gold: Sequence[int], predicted: Sequence[int], classes: int) -> npt.NDArray[np.int64]:
    """Count (C, C): rows are the true classes, columns the predicted ones."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (np.asarray(gold, dtype=np.int64), np.asarray(predicted, dtype=np.int64)), 1)
    return matrix


def accuracy(matrix: npt.NDArray[np.int64]) -> float:
    """Share of right answers in a confusion matrix; 0 for an empty one."""
    return float(np.trace(matrix) / max(1, matrix.sum()))


def f1_by_class(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """F1 of each class, (C,): the harmonic mean of precision and recall; 0 where a class never occurs."""
    hits = np.diag(matrix).astype(np.float64)
    totals = matrix.sum(axis=0) + matrix.sum(axis=1)
    scores = np.zeros_like(hits)
    np.divide(2.0 * hits, totals, out=scores, where=totals > 0)
    return scores
