"""Records: what the readers give, whatever the file."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any, Final

from glassbert.errors import DataError

# A list of strings as Python, numpy or JSON write it.
_WRITTEN_LIST: Final = re.compile(r"""\s*\[\s*(['"]).*\1\s*\]\s*""", re.DOTALL)


# Not frozen: that would double the time in which a million records are made.
@dataclasses.dataclass(kw_only=True, slots=True)
class Record:
    """One row: values by column name, and where it stands.

    Attributes:
        values: in the order of the columns, as the file has them: strings in CSV and TSV, what JSON and Parquet hold
            there. Columns without a header are named "0", "1", …
        file: as the user named it; `<list>` and its like for records from memory.
        line: where the record begins, from 1; None where a file has no lines to count (JSON arrays, Parquet).
        position: of the record in its file, from 1, where there is no line.
    """

    values: dict[str, Any]
    file: str
    line: int | None = None
    position: int | None = None

    def error(self, message: str) -> DataError:
        """Make an error that names this record's place."""
        return DataError(message, file=self.file, line=self.line, position=self.position)

    def name(self, column: str | int) -> str:
        """Return the name of a column that is given by name or by number from 0.

        Raises:
            DataError: no such column; names those that are there.
        """
        column = str(column)
        if column in self.values:
            return column
        if column.isdecimal() and int(column) < len(self.values):
            return list(self.values)[int(column)]
        raise self.error(f"no column {column!r}; the columns are {self.column_names()}")

    def value(self, column: str | int) -> Any:
        """Return the value of a column, by name or by number from 0, as it is; None for a missing one (NaN, NA).

        Raises:
            DataError: no such column; names those that are there.
        """
        value = self.values[self.name(column)]
        return None if _is_missing(value) else value

    def get(self, column: str | int) -> str:
        """Return a value as text: strings as they are, a missing one as the empty text, all else as JSON.

        Raises:
            DataError: no such column, or bytes in it.
        """
        value = self.value(column)
        if isinstance(value, str):
            return value
        if isinstance(value, bytes):
            raise self.error(f"the column {str(column)!r} holds bytes, expected text")
        return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)

    def number(self, column: str | int) -> float:
        """Return a value as a number.

        Raises:
            DataError: no such column, or no finite number in it.
        """
        value = self.values[self.name(column)]  # as it is, for the message
        try:
            if isinstance(value, bool) or (isinstance(value, str) and "_" in value):  # both are numbers to Python alone
                raise ValueError
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.error(f"{_short(value)} in the column {str(column)!r} is not a finite number")
        return number

    def strings(self, column: str | int, *, split: bool = False) -> list[str]:
        """Return a value as a list of strings; whole numbers in it become strings.

        Args:
            column: by name or by number from 0.
            split: take a string for its parts between spaces (and between nothing else).

        Raises:
            DataError: no such column, or no such list in it.
        """
        value = self.value(column)
        if isinstance(value, str) and _WRITTEN_LIST.fullmatch(value):
            raise self.error(
                f"{_short(value)} in the column {str(column)!r} is a list that was written as text; write JSON lines "
                "(to_json(orient='records', lines=True) in pandas), or words between spaces"
            )
        if split and isinstance(value, str):
            return [part for part in value.split(" ") if part]
        if isinstance(value, str | bytes) or not isinstance(value, list | tuple):
            raise self.error(f"{_short(value)} in the column {str(column)!r} is not a list")
        for item in value:
            if not isinstance(item, str) and (isinstance(item, bool) or not isinstance(item, int)):
                raise self.error(f"{_short(item)} in the list of the column {str(column)!r} is not a string")
        return [str(item) for item in value]

    def column_names(self) -> str:
        """Name the columns for a message, with a hint where the first row may be no header."""
        names = ", ".join(map(_short, self.values)) or "none"
        is_table = self.file.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
        return names + (" (a file without a header row needs --no-header)" if is_table and not self.is_unnamed else "")

    @property
    def is_unnamed(self) -> bool:
        """Whether the columns have no names but their numbers."""
        return all(name == str(index) for index, name in enumerate(self.values))


def _is_missing(value: object) -> bool:
    """Whether a value is one of Python's and pandas' signs for none: None, NaN, NaT, NA."""
    if value is None or isinstance(value, str | int | list | dict):
        return value is None
    try:
        return bool(value != value)  # true of NaN and NaT alone
    except TypeError:  # NA is neither equal nor different
        return True
    except ValueError:  # an array
        return False


def _short(value: object) -> str:
    """Show a value in a message."""
    if isinstance(value, str):
        return repr(value if len(value) <= 30 else value[:29] + "…")
    shown = repr(value)
    return shown if len(shown) <= 30 else shown[:29] + "…"


@dataclasses.dataclass(kw_only=True)
class Skipped:
    """What a reader passed over because it was asked to.

    Attributes:
        most: how many errors are kept.
        count: records that were passed over.
        errors: the first of them, each with file, line and reason.
    """

    most: int = 20
    count: int = 0
    errors: list[DataError] = dataclasses.field(default_factory=list)

    def add(self, error: DataError) -> None:
        """Count a record that is passed over."""
        self.count += 1
        if len(self.errors) < self.most:
            self.errors.append(error)

    def __str__(self) -> str:
        """Say how many, and list the first."""
        head = f"{self.count} bad record{'' if self.count == 1 else 's'} skipped"
        more = [f"… and {self.count - len(self.errors)} more"] if self.count > len(self.errors) else []
        return "\n  ".join([head + (":" if self.count else ""), *map(str, self.errors), *more])


def refuse(error: DataError, skipped: Skipped | None) -> None:
    """Raise the error, or count it where bad records are to be skipped."""
    if skipped is None:
        raise error
    skipped.add(error)
