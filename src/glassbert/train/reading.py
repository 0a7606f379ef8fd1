"""In which order the sequences of shards are read, and what a model gets of them.

A run is one long row of visits: visit v reads some sequence of the shards for the n-th time. Which one, and which of
its words are masked then, depends on the seed and v alone, so a run can go on at any visit without going through those
before it, and every process finds its part of a batch by itself.

Letters: B batch, S longest sequence of the batch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from glassbert.data.masking import IGNORED, Masking, mask
from glassbert.data.sampling import Order, hashed
from glassbert.data.shards import Rows, Sequences
from glassbert.errors import DataError

# Visits that are looked up, and sequences that are masked, together.
_BLOCK: Final = 4096
# What the chance of orders and of masks begins with, beside the seed.
_ORDERS, _MASKS, _MEASURING = range(3)


@dataclasses.dataclass(frozen=True, slots=True)
class Visit:
    """One reading of one sequence.

    Attributes:
        phase: in which part of the run, from 0.
        number: of the sequence, in the shards of that phase.
        epoch: how often it has been read before in this phase.
        tokens: its length.
    """

    phase: int
    number: int
    epoch: int
    tokens: int

    def __len__(self) -> int:
        """Length in tokens."""
        return self.tokens


class Phase(NamedTuple):
    """A part of a run, with shards of its own.

    Attributes:
        sequences: what is read.
        steps: how many steps it has.
    """

    sequences: Sequences
    steps: int


class Visits(Sequence[Visit]):
    """All visits of a run, none of them written down.

    Args:
        phases: one after the other.
        batch: sequences of a step.
        seed: decides the order of each epoch.
    """

    def __init__(self, phases: Sequence[Phase], batch: int, seed: int) -> None:
        """Compute nothing yet."""
        self._phases, self._batch, self._seed = list(phases), batch, seed
        self._begins = np.cumsum([0, *(phase.steps * batch for phase in self._phases)]).tolist()
        self._some: Callable[[int, int], list[Visit]] = functools.lru_cache(maxsize=4)(self._look_up)

    def __len__(self) -> int:
        """How many there are."""
        return int(self._begins[-1])

    @overload
    def __getitem__(self, place: int) -> Visit: ...
    @overload
    def __getitem__(self, place: slice) -> list[Visit]: ...
    def __getitem__(self, place: int | slice) -> Visit | list[Visit]:
        """Return one visit, or some."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        phase = next(phase for phase, end in enumerate(self._begins[1:]) if place < end)
        block, inside = divmod(place - self._begins[phase], _BLOCK)
        visit: Visit = self._some(phase, block)[inside]
        return visit

    def _look_up(self, phase: int, block: int) -> list[Visit]:
        sequences, steps = self._phases[phase]
        visits = np.arange(block * _BLOCK, min((block + 1) * _BLOCK, steps * self._batch))
        epochs, places = np.divmod(visits, len(sequences))
        numbers = np.empty_like(visits)
        for epoch in np.unique(epochs).tolist():
            own = epochs == epoch
            numbers[own] = Order(len(sequences), self._seed, _ORDERS, phase, epoch).at(places[own])
        lengths = sequences.lengths(numbers.tolist())
        return [Visit(phase, *one) for one in zip(numbers.tolist(), epochs.tolist(), lengths, strict=True)]

    def batches(self, begin: int) -> Iterator[tuple[int, Sequence[int]]]:
        """Give the epoch and the visits of each step, from step `begin` on, counted from 0."""
        for step in range(begin, len(self) // self._batch):
            visits = range(step * self._batch, (step + 1) * self._batch)
            yield self[visits[0]].epoch, visits


class _Read(NamedTuple):
    """A sequence that has been read and masked: ids and labels (n,), where its second part begins, its label."""

    ids: Any
    labels: Any
    second: int
    label: int
    words: int


class Reader:
    """Makes batches of visits.

    What was read last is kept, since the loop asks for the weight of a whole step before it asks for its parts.

    Args:
        phases: of the run.
        masking: which words are to be guessed, for each phase; what static shards say comes first.
        seed: decides which.
        measuring: whether masks are those that a model is measured with, which are the same in every run.
    """

    def __init__(self, phases: Sequence[Phase], masking: Masking, seed: int, *, measuring: bool = False) -> None:
        """Read nothing yet."""
        self._phases, self._masking = list(phases), masking
        self._chance = (_MEASURING,) if measuring else (_MASKS, seed)
        self._pairs = self._phases[0].sequences.pairs
        self._last: dict[Visit, _Read] = {}

    def weights(self, visits: Sequence[Visit]) -> dict[str, float]:
        """Return what the losses and accuracies of some visits are means over: words to guess, and pairs."""
        words = float(sum(read.words for read in self._found(visits)))
        found = {"masked_lm_loss": words, "masked_lm_accuracy": words}
        if self._pairs:
            found |= {"next_sentence_loss": float(len(visits)), "next_sentence_accuracy": float(len(visits))}
        return found

    def __call__(self, visits: Sequence[Visit]) -> dict[str, Tensor]:
        """Return what the model takes.

        Args:
            visits: of one phase.

        Returns:
            `input_ids`, `attention_mask` and `labels`, (B, S) int64, -100 in `labels` where nothing is to be guessed;
            for pairs also `token_type_ids` (B, S) and `next_sentence_label` (B,).
        """
        found = self._found(visits)
        lengths = np.array([len(read.ids) for read in found])
        columns = np.arange(lengths.max())
        real = columns < lengths[:, None]
        batch = {
            "input_ids": _padded([read.ids for read in found], real, 0),
            "attention_mask": real.astype(np.int64),
            "labels": _padded([read.labels for read in found], real, IGNORED),
        }
        if self._pairs:
            second = columns >= np.array([read.second for read in found])[:, None]
            batch["token_type_ids"] = (second & real).astype(np.int64)
            batch["next_sentence_label"] = np.array([read.label for read in found], dtype=np.int64)
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    def _found(self, visits: Sequence[Visit]) -> list[_Read]:
        if not all(visit in self._last for visit in visits):
            blocks = (visits[begin : begin + _BLOCK] for begin in range(0, len(visits), _BLOCK))
            self._last = dict(zip(visits, chain.from_iterable(map(self._read, blocks)), strict=True))
        return [self._last[visit] for visit in visits]

    def _read(self, visits: Sequence[Visit]) -> Iterator[_Read]:
        phase = visits[0].phase
        rows = self._phases[phase].sequences.rows([visit.number for visit in visits])
        _check(rows, len(self._masking.special))
        if rows.masked is None:
            numbers, epochs = (np.array([getattr(visit, name) for visit in visits]) for name in ("number", "epoch"))
            keys = hashed(*self._chance, phase, epochs, numbers)
            whole = self._masking.inside is not None
            ids, labels = mask(rows.ids, rows.lengths, keys, self._masking, rows.inside if whole else None)
        else:
            assert rows.masked_places is not None
            assert rows.masked_ids is not None
            ids, labels = rows.ids.astype(np.int64), np.full(len(rows.ids), IGNORED, np.int64)
            starts = np.cumsum(rows.lengths) - rows.lengths
            labels[np.repeat(starts, rows.masked) + rows.masked_places] = rows.masked_ids
        ends = np.cumsum(rows.lengths)
        words = np.add.reduceat(labels != IGNORED, ends - rows.lengths, dtype=np.int64).tolist()
        nothing = [0] * len(visits)
        seconds = nothing if rows.seconds is None else rows.seconds.tolist()
        next_labels = nothing if rows.labels is None else rows.labels.tolist()
        begin = 0
        for end, second, label, count in zip(ends.tolist(), seconds, next_labels, words, strict=True):
            yield _Read(ids[begin:end], labels[begin:end], second, label, count)
            begin = end


def _check(rows: Rows, vocabulary: int) -> None:
    """Refuse what no text has become; files whose SHA-256 nobody has compared may hold anything.

    Raises:
        DataError: an id that the vocabulary does not have, a label that is neither 0 nor 1, a word to guess that stands
            outside its sequence.
    """
    good = int(rows.ids.max(initial=0)) < vocabulary and (rows.labels is None or int(rows.labels.max(initial=0)) < 2)
    if rows.masked is not None and rows.masked_places is not None and rows.masked_ids is not None:
        good &= int(rows.masked_ids.max(initial=0)) < vocabulary
        good &= bool((rows.masked_places < np.repeat(rows.lengths, rows.masked)).all())
    if not good:
        raise DataError(
            "the shards hold what no text has become, so a file is damaged; check=True (no --no-check) finds it"
        )


def _padded(rows: Sequence[Any], real: Any, fill: int) -> Any:
    padded = np.full(real.shape, fill, dtype=np.int64)
    padded[real] = np.concatenate(rows)
    return padded
