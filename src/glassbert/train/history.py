"""What every step reported, in a few numbers each: a run may have a million steps."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt

from glassbert.errors import TrainingError
from glassbert.train.events import Step

# What a step reports beside figures of its own, in the order of a row.
COLUMNS: Final = ("epoch", "loss", "learning_rate", "grad_norm", "tokens", "seconds")
# Points that are kept of a longer run's curves.
MOST_RECORDED: Final = 5000


class History(Sequence[Step]):
    """The steps of one run, without gaps from the first; a row of float64 for each, made a `Step` when it is asked for.

    Attributes:
        steps: how many the run will have.
        figures: names of the figures that every step reports; those of the first one that is appended.

    Args:
        steps: as above.
        figures: likewise, where they are known.
    """

    def __init__(self, steps: int, figures: Sequence[str] = ()) -> None:
        """Hold none yet."""
        self.steps, self.figures = steps, tuple(figures)
        self._rows = array("d")

    @classmethod
    def of(cls, steps: Sequence[Step]) -> History:
        """Return the history of all steps of a run."""
        if isinstance(steps, History):
            return steps
        history = cls(steps[0].steps if steps else 0)
        for step in steps:
            history.append(step)
        return history

    @classmethod
    def of_matrix(cls, matrix: npt.ArrayLike, steps: int, figures: Sequence[str] = ()) -> Self:
        """Make it of what `to_matrix` gave."""
        history = cls(steps, figures)
        history._rows.frombytes(np.ascontiguousarray(matrix, dtype=np.float64).tobytes())
        return history

    def to_matrix(self) -> npt.NDArray[np.float64]:
        """Return a row for each step: `COLUMNS`, then the figures by name, (steps, columns)."""
        # A copy, since an array that lends its memory cannot grow.
        return np.frombuffer(self._rows, dtype=np.float64).reshape(len(self), self._width).copy()

    def append(self, step: Step) -> None:
        """Add the next step.

        Raises:
            TrainingError: it is not the next, or has other figures than those before it.
        """
        if step.step != len(self) + 1:
            raise TrainingError(f"step {step.step} is reported after {len(self)} steps")
        if not self._rows:
            self.figures = tuple(step.figures)
        if step.figures.keys() != set(self.figures):
            before, now = (", ".join(sorted(names)) or "none" for names in (self.figures, step.figures))
            raise TrainingError(f"the figures of step {step.step} are {now}; before they were {before}")
        self._rows.extend(float(getattr(step, name)) for name in COLUMNS)
        self._rows.extend(float(step.figures[name]) for name in self.figures)

    def __len__(self) -> int:
        """How many steps were made."""
        return len(self._rows) // self._width

    @overload
    def __getitem__(self, place: int) -> Step: ...
    @overload
    def __getitem__(self, place: slice) -> list[Step]: ...
    def __getitem__(self, place: int | slice) -> Step | list[Step]:
        """Return one step by its place from 0, or several."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        count = len(self)
        if not -count <= place < count:
            raise IndexError(place)
        begin = place % count * self._width
        row = self._rows[begin : begin + self._width]
        values: dict[str, Any] = dict(zip(COLUMNS, row, strict=False))
        for name in ("epoch", "tokens"):
            values[name] = int(values[name])
        figures = dict(zip(self.figures, row[len(COLUMNS) :], strict=True))
        return Step(step=place % count + 1, steps=self.steps, figures=figures, **values)

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Return what all steps reported under one of the names of `COLUMNS`, (steps,)."""
        return self._column(COLUMNS.index(name))

    def figure(self, name: str) -> npt.NDArray[np.float64]:
        """Return one of the figures of all steps, (steps,)."""
        return self._column(len(COLUMNS) + self.figures.index(name))

    def _column(self, place: int) -> npt.NDArray[np.float64]:
        return np.array(self._rows[place :: self._width], dtype=np.float64)

    @property
    def _width(self) -> int:
        return len(COLUMNS) + len(self.figures)


class Curves(NamedTuple):
    """What a run's charts are drawn of: a number for each step, or for each window of equally many steps.

    Attributes:
        steps_per_point: how many steps a point stands for; the last one may stand for fewer.
        losses, grad_norms: means over the steps of each point.
        learning_rates: of the last step of each point.
        figures: means likewise, by name.
    """

    steps_per_point: int
    losses: list[float]
    learning_rates: list[float]
    grad_norms: list[float]
    figures: dict[str, list[float]]


def curves_of(history: History) -> Curves:
    """Return the curves of a run, at most `MOST_RECORDED` points of each."""
    size = max(1, -(-len(history) // MOST_RECORDED))
    rates = history.column("learning_rate")
    last = np.minimum(np.arange(size, len(rates) + size, size), len(rates)) - 1
    return Curves(
        steps_per_point=size,
        losses=_means(history.column("loss"), size),
        learning_rates=rates[last].tolist(),
        grad_norms=_means(history.column("grad_norm"), size),
        figures={name: _means(history.figure(name), size) for name in history.figures},
    )


def _means(values: npt.NDArray[np.float64], size: int) -> list[float]:
    """Return the means over windows of so many values, of which the last may be shorter."""
    starts = np.arange(0, len(values), size)
    lengths = np.diff(np.append(starts, len(values)))
    means: list[float] = (np.add.reduceat(values, starts) / lengths).tolist()
    return means


def ends_of(points: int, steps: int, steps_per_point: int) -> list[int]:
    """Return the number of the last step that each of so many points stands for."""
    return [min(place * steps_per_point, steps) for place in range(1, points + 1)]
