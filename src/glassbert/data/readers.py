"""Files → records, one at a time: CSV, TSV and JSON lines.

Lines end at LF, with or without a CR before it, and nowhere else (not at U+2028, U+0085 and their like). TSV has no
quoting: a `"` is a character as any other. Nothing is dropped or changed in silence.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

from glassbert.data.decoding import decoded_blocks
from glassbert.errors import DataError

Format = Literal["csv", "tsv", "jsonl"]
FORMATS: Final[dict[str, Format]] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One row: values by column name, and where it stands.

    Attributes:
        values: in the order of the columns; columns without a header are named "0", "1", …
        file, line: the file as the user named it, and the line where the row begins, from 1.
    """

    values: dict[str, str]
    file: str
    line: int

    def get(self, column: str | int) -> str:
        """Return the value of a column, by name or by number from 0.

        Raises:
            DataError: no such column; names those that are there.
        """
        column = str(column)
        if column in self.values:
            return self.values[column]
        if column.isdecimal() and int(column) < len(self.values):
            return list(self.values.values())[int(column)]
        names = ", ".join(repr(name if len(name) <= 30 else name[:29] + "…") for name in self.values)
        has_header = "0" not in self.values and not self.file.endswith(".jsonl")
        hint = " (a file without a header row needs --no-header)" if has_header else ""
        raise DataError(f"no column {column!r}; the columns are {names}{hint}", file=self.file, line=self.line)


def read_records(path: str | Path, *, header: bool = True, encoding: str = "utf-8") -> Iterator[Record]:
    """Read a file by its ending.

    Args:
        path: ends in .csv, .tsv or .jsonl.
        header: whether the first row of a CSV or TSV file names the columns; else they are "0", "1", …
        encoding: any that Python knows; a byte order mark is dropped.

    Raises:
        DataError: no such file, another ending, bytes that are not of the encoding (with their offset), a row with
            more or fewer fields than the first, a broken JSON line; with file and line.
    """
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise DataError(f"cannot tell the format by the ending; expected one of {', '.join(FORMATS)}", file=path)
    lines = read_lines(path, encoding)
    if kind == "jsonl":
        for number, value in json_objects(lines, str(path)):
            yield Record(values={name: _field(item) for name, item in value.items()}, file=str(path), line=number)
        return
    rows = _tsv_rows(lines) if kind == "tsv" else _csv_rows(lines, str(path))
    columns: list[str] | None = None
    for number, row in rows:
        if columns is None:
            columns = row if header else [str(index) for index in range(len(row))]
            if len(set(columns)) != len(columns):
                raise DataError("two columns of the header have the same name", file=path, line=number)
            if header:
                continue
        if len(row) != len(columns):
            raise DataError(f"{len(row)} fields, expected {len(columns)}", file=path, line=number)
        yield Record(values=dict(zip(columns, row, strict=True)), file=str(path), line=number)


def read_lines(
    path: str | Path, encoding: str = "utf-8", *, on_block: Callable[[bytes], object] | None = None
) -> Iterator[str]:
    """Give the lines with their ends, split at LF only; the last may lack one. See `decoded_blocks`."""
    rest = ""
    for text, _ in decoded_blocks(path, encoding, on_block=on_block):
        *whole, rest = (rest + text).split("\n")
        yield from (line + "\n" for line in whole)
    if rest:
        yield rest


def bare(line: str) -> str:
    """Return a line without its end."""
    return line.removesuffix("\n").removesuffix("\r")


def _tsv_rows(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        if bare(line):
            yield number, bare(line).split("\t")


def _csv_rows(lines: Iterator[str], file: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(1 << 30)
    reader = csv.reader(lines, strict=True)
    begin = 1
    try:
        for row in reader:
            if row:
                yield begin, row
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"not readable as CSV: {error}", file=file, line=begin) from None


def json_objects(lines: Iterable[str], file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the number of each line that is not blank, and its object.

    Raises:
        DataError: a line that is not JSON, or no object; keys that stand twice, lone surrogates; with file and line.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(bare(line), object_pairs_hook=_without_twins)
        except json.JSONDecodeError as error:
            raise DataError(
                f"not readable as JSON: {error.msg} at column {error.colno}", file=file, line=number
            ) from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"not readable as JSON: {error}", file=file, line=number) from None
        if not isinstance(value, dict):
            raise DataError(f"expected a JSON object, found {type(value).__name__}", file=file, line=number)
        yield number, value


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object, and refuse what a dict would hide or nobody could write: twin keys, half characters."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    for name, value in pairs:
        for text in (name, value):
            if isinstance(text, str) and not text.isascii() and not _is_whole(text):
                raise ValueError(f"half of a character (a lone surrogate) in {name!r}")
    return values


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _field(item: object) -> str:
    """Give a JSON value as text: strings as they are, null as the empty text, all else as JSON."""
    return item if isinstance(item, str) else "" if item is None else json.dumps(item, ensure_ascii=False)
