"""Lists in records: what the tasks take that read words, tags or choices."""

from __future__ import annotations

import json
from typing import Any

from glassbert.errors import DataError
from glassbert.tasks.task import Record


def value_of(record: Record, column: str | int) -> Any:
    """Return the value of a column as the file has it; of a text that is a JSON list or object, what it says."""
    value = record.value(column) if hasattr(record, "value") else record.get(column)
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value  # a text that begins with a bracket
    return value


def strings_of(record: Record, column: str | int) -> tuple[str, ...]:
    """Return a list of strings: from a JSON list, or a text with a space between each two.

    No other white space parts a text: an ideographic space or a no-break space may be a word.

    Raises:
        DataError: something else, with file and line.
    """
    value = value_of(record, column)
    if isinstance(value, str):
        return tuple(part for part in value.split(" ") if part)
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise DataError(
            f"the column {column!r} holds {_short(value)}, expected a list of strings, or a text with spaces",
            file=record.file,
            line=record.line,
        )
    return tuple(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
