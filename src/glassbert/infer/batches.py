"""Answers for batches of columns, as Ray Data and other engines for large data hand them to their workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from glassbert.errors import InputError
from glassbert.infer.choosing import pipeline

Columns = dict[str, npt.NDArray[Any]]


class BatchAnswers:
    """A pipeline over columns: arrays in, the same arrays and those of the answers out.

    It is what `ray.data.Dataset.map_batches` takes: a class that each worker makes for itself, so that it loads the
    model once. It may be pickled, too; what `model` names is loaded again then.

        dataset.map_batches(
            BatchAnswers, fn_constructor_kwargs={"task": None, "model": "FOLDER"}, batch_size=1024, concurrency=2
        )

    Args:
        task: as `pipeline` takes it; None for what the model has learned.
        model: a folder, or the name of a repo on the hub.
        text_column: the column of the text, or whatever the task reads first, such as a question.
        columns: columns of further roles by role, such as `{"context": "passage"}`.
        prefix: put before the names of the answers' columns.
        options: as `pipeline` takes them.

    Raises:
        InputError, ConfigError, CheckpointError: as `pipeline`; a role that the task does not have.
    """

    def __init__(
        self,
        task: str | None,
        model: str | Path,
        text_column: str = "text",
        *,
        columns: Mapping[str, str] | None = None,
        prefix: str = "",
        **options: Any,
    ) -> None:
        """Load the model."""
        if not isinstance(model, str | Path):
            kind = type(model).__name__
            raise InputError(f"model is of type {kind}, expected the name of a folder, which each worker loads")
        self._arguments = (task, model, text_column)
        self._settings: dict[str, Any] = {"columns": columns, "prefix": prefix, **options}
        self.pipeline = pipeline(task, model, **options)
        self.prefix = prefix
        self.columns = {next(iter(self.pipeline.task.roles)): text_column, **(columns or {})}

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how it is made again in another process: of its arguments, without the model's numbers."""
        return _again, (self._arguments, self._settings)

    def __call__(self, batch: Mapping[str, npt.NDArray[Any]]) -> Columns:
        """Answer a batch.

        Args:
            batch: (N, …) by column. Texts are strings; a column of lists holds an array or a list in each place.

        Returns:
            the columns of the batch, and one for each value of the answers: (N,) labels, scores and counts, (N, H)
            vectors; (N,) objects for what is nested, such as the scores of all classes.

        Raises:
            InputError: a column that is not there, or one that the batch and the answers both have.
            DataError: a text is empty; `inputs[3]` is the fourth of the batch.
        """
        missing = [column for column in self.columns.values() if column not in batch]
        if missing:
            raise InputError(f"no column {missing[0]!r}; the columns are {', '.join(map(repr, batch))}")
        given = {role: [_plain(value) for value in batch[column]] for role, column in self.columns.items()}
        inputs = [dict(zip(given, values)) for values in zip(*given.values(), strict=True)]
        answers = self.pipeline(inputs)
        found: Columns = dict(batch)
        for name in answers[0].to_dict() if answers else ():
            if (column := self.prefix + name) in batch:
                fault = f"the batch and the answers both have a column {column!r}"
                raise InputError(f"{fault}; set prefix, such as 'answer_'")
            found[column] = _column(answers, name)
        return found


def _again(arguments: Sequence[Any], settings: Mapping[str, Any]) -> BatchAnswers:
    return BatchAnswers(*arguments, **settings)


def _plain(value: Any) -> Any:
    """Bring numpy's values to Python's."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _column(answers: Sequence[Any], name: str) -> npt.NDArray[Any]:
    """Return one value of all answers as an array."""
    values = [getattr(answer, name) for answer in answers]
    if all(isinstance(value, Tensor) for value in values):
        arrays = [value.numpy() for value in values]
        if len({array.shape for array in arrays}) == 1:
            return np.stack(arrays)
        return _objects(arrays)
    if all(type(value) in (str, bool, int, float) for value in values) and len(set(map(type, values))) == 1:
        return np.array(values)
    return _objects([answer.to_dict()[name] for answer in answers])


def _objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    found = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # numpy would take lists of one length apart
        found[place] = value
    return found
