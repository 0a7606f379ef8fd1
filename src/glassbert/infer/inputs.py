"""What a caller gives to a pipeline, as the records that tasks read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from glassbert.errors import DataError, InputError
from glassbert.tasks import AnyAnswering

# Roles whose values are strings.
_TEXTS: Final = ("text", "pair", "negative", "question", "context")
# What roles are given by on the command line, where that is no file.
_FLAGS: Final = {"pair": "--pair", "context": "--context", "choices": "--choice"}
# Inputs that are in memory at once: enough to compute like lengths together, few enough not to wait for.
WINDOW: Final = 1024
WINDOW_CHARACTERS: Final = 1 << 22


class Row:
    """One input as a record.

    Attributes:
        values: what it holds, by role.
        file, line: None; a caller's value stands in no file.
        position: its number, from 1, among several; None where it came alone.
    """

    file: Any = None
    line = None

    def __init__(self, given: Any, roles: Sequence[str], number: int | None) -> None:
        """Take a string, a tuple of strings or a mapping; `number` counts from 0."""
        self.position = None if number is None else number + 1
        if isinstance(given, Mapping):
            self.values = dict(given)
        elif isinstance(given, tuple) and 2 <= len(given) <= len(roles):
            self.values = dict(zip(roles, given))
        elif isinstance(given, tuple):
            raise InputError(
                f"{self._name}a tuple is one input, ({', '.join(roles)}), but this has {len(given)} values; a list "
                "holds several"
            )
        else:
            self.values = {roles[0]: given}
        for name, value in self.values.items():
            if name in _TEXTS and not isinstance(value, str):
                raise InputError(f"{self._name}the {name} is of type {type(value).__name__}, expected a string")

    @property
    def _name(self) -> str:
        return "" if self.position is None else f"inputs[{self.position - 1}]: "

    @property
    def size(self) -> int:
        """About how many characters it has."""
        return sum(len(value) if isinstance(value, str) else 100 for value in self.values.values())

    def name(self, column: str | int) -> str:
        """Return the name of a column."""
        return str(column)

    def value(self, column: str | int) -> Any:
        """Return a value as it is."""
        return self.values[str(column)]

    def get(self, column: str | int) -> str:
        """Return a value as text."""
        value = self.value(column)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

    def number(self, column: str | int) -> float:
        """Return a value as a number."""
        return float(self.value(column))

    def strings(self, column: str | int, *, split: bool = False) -> list[str]:
        """Return a list of strings."""
        value = self.value(column)
        if split and isinstance(value, str):
            return [part for part in value.split(" ") if part]
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise self.error(f"{column} is of type {type(value).__name__}, expected a list of strings")
        return list(value)

    def error(self, message: str) -> DataError:
        """Return an error about this input."""
        return DataError(message, position=self.position)


def windows_of(task: AnyAnswering, inputs: Iterable[Any], *, alone: bool) -> Iterator[list[Any]]:
    """Give the examples of a task that inputs make, some at a time.

    Args:
        task: reads them.
        inputs: strings, tuples or mappings, all alike.
        alone: whether there is only one, which has no number then.

    Raises:
        InputError: something else, with its number; a role that is missing or strange; inputs that are not alike.
        DataError: what makes no example.
    """
    roles = [role for role in task.roles if role not in task.labels_in]
    columns: dict[str, str] | None = None
    rows: list[Row] = []
    size = 0
    for number, given in enumerate(inputs):
        row = Row(given, roles, None if alone else number)
        if columns is None:
            columns = _columns(task, row, roles)
        elif row.values.keys() != columns.keys():
            _columns(task, row, roles)  # what is wrong with it, if it is alone to blame
            raise InputError(
                f"{row._name}an input with {_quoted(row.values)} stands beside one with {_quoted(columns)}; those of "
                "one call must be alike"
            )
        if rows and (len(rows) == WINDOW or size + row.size > WINDOW_CHARACTERS):
            yield list(task.examples(rows, columns, labelled=False))
            rows, size = [], 0
        rows.append(row)
        size += row.size
    if rows and columns is not None:
        yield list(task.examples(rows, columns, labelled=False))


def _columns(task: AnyAnswering, row: Row, roles: Sequence[str]) -> dict[str, str]:
    """Return the roles that an input has, each as its own column.

    Raises:
        InputError: one that the task does not read, or does without.
    """
    strange = [name for name in row.values if name not in roles]
    if strange:
        raise InputError(f"{row._name}the input has {_quoted(row.values)}, expected {_quoted(roles)}")
    if missing := [role for role in roles if task.roles[role] and role not in row.values]:
        needed = " and ".join(role + (f" ({_FLAGS[role]})" if role in _FLAGS else "") for role in missing)
        optional = [role for role in roles if not task.roles[role] and role != "id"]
        also = f"; {' and '.join(optional)} may be given" if optional else ""
        raise InputError(f"{row._name}{task.name} needs {needed}{also}")
    return {role: role for role in roles if role in row.values}


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
