"""Metrics as pure functions: of class ids, of numbers, of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

# The smallest probability that a float32 tells from 0.
_LEAST: Final = 2.0**-149


def surprise(probability: float) -> float:
    """Return -log of the probability that a model gave to what is right; finite where it was rounded to 0."""
    return max(0.0, math.log(1.0 / max(probability, _LEAST)))


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


def matthews(matrix: npt.NDArray[np.int64]) -> float:
    """Correlation of predicted and true classes in a confusion matrix; 0 where one of them never varies.

    Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.
    """
    counts = matrix.astype(np.float64)
    total, hits = counts.sum(), np.trace(counts)
    true, predicted = counts.sum(axis=1), counts.sum(axis=0)
    spread = np.sqrt((total**2 - (predicted**2).sum()) * (total**2 - (true**2).sum()))
    return float((hits * total - true @ predicted) / spread) if spread else 0.0


def pearson(one: Sequence[float], other: Sequence[float]) -> float:
    """Linear correlation of two sequences; 0 where one of them never varies."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (one, other))
    first, second = first - first.mean(), second - second.mean()
    spread = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / spread if spread else 0.0


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Correlation of the ranks of two sequences; equal values share the mean of their ranks."""
    return pearson(_ranks(one), _ranks(other))


def _ranks(values: Sequence[float]) -> list[float]:
    _, places, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: list[float] = (last - (counts - 1) / 2)[places].tolist()
    return ranks


def ranks_of(queries: npt.NDArray[np.float32], texts: npt.NDArray[np.float32], right: Sequence[set[int]]) -> list[int]:
    """Return the rank, from 1, of the first right text of each query among all texts by cosine.

    Wrong texts that are as near as the right one stand before it.

    Args:
        queries: (Q, H) of length 1.
        texts: (N, H) of length 1.
        right: for each query the numbers of the texts that belong to it.
    """
    ranks = []
    for number, wanted in enumerate(right):
        cosines = texts @ queries[number]
        rows = list(wanted)
        best = cosines[rows].max()
        before = int((cosines >= best).sum()) - int((cosines[rows] >= best).sum())
        ranks.append(before + 1)
    return ranks
