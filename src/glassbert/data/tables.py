"""CSV and TSV → records.

Lines end at LF, with or without a CR before it, and nowhere else (not at U+2028, U+0085 and their like).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Final

from glassbert.data.decoding import undecoded
from glassbert.data.records import Record, Skipped, refuse
from glassbert.errors import DataError

# In characters. A quote that nobody closes would make one field of all that follows.
_LONGEST_FIELD: Final = 1 << 24
_HINT: Final = "--quoting none takes quotes as they are"
_ENDLESS: Final = ("unexpected end of data", "field larger than field limit")


def read_table(
    lines: Iterable[str], file: str, *, delimiter: str, quotes: bool, header: bool, skipped: Skipped | None
) -> Iterator[Record]:
    """Give the records of a table; blank lines are none.

    Args:
        lines: without LF.
        file: for messages.
        delimiter: between fields.
        quotes: whether a field that begins with `"` ends at the next one, and may hold delimiters, line ends, and `""`
            for `"`; else `"` is a character as any other.
        header: whether the first row names the columns; else they are "0", "1", … So are several without a name in it.
        skipped: counts bad rows; None refuses them.

    Raises:
        DataError: two columns with one name, a row with more or fewer fields than the first, a quote out of place; with
            file and line. A quote that is never closed is refused in any case.
    """
    rows = (_quoted_rows if quotes else _plain_rows)(lines, file, delimiter)
    names: list[str] | None = None
    for line, row in rows:
        if isinstance(row, DataError):
            if header and names is None:
                raise row
            refuse(row, skipped)
            continue
        if skipped is not None and (found := undecoded("".join(row))):
            refuse(DataError(found, file=file, line=line), None if header and names is None else skipped)
            continue
        if names is None:
            names = _named(row) if header else [str(index) for index in range(len(row))]
            if twice := [name for place, name in enumerate(names) if name in names[:place]]:
                raise DataError(
                    f"the header names a column {twice[0]!r} twice; rename one, or take the header out and name "
                    "columns by number, from 0 (--no-header)",
                    file=file,
                    line=line,
                )
            if header:
                continue
        if len(row) != len(names):
            hint = (
                "" if '"' not in "".join(row) else f"; --quoting {'none' if quotes else 'csv'} reads quotes otherwise"
            )
            fields = f"{len(row)} field" + ("" if len(row) == 1 else "s")
            refuse(DataError(f"{fields}, expected {len(names)}{hint}", file=file, line=line), skipped)
            continue
        yield Record(values=dict(zip(names, row)), file=file, line=line)


def _named(header: list[str]) -> list[str]:
    """Give columns without a name their number, from 0, where there are several such, as in `a,b,,`."""
    return [name or str(place) for place, name in enumerate(header)] if header.count("") > 1 else header


def _plain_rows(lines: Iterable[str], file: str, delimiter: str) -> Iterator[tuple[int, list[str] | DataError]]:
    for number, line in enumerate(lines, 1):
        if line := line.removesuffix("\r"):
            yield number, line.split(delimiter)


def _quoted_rows(lines: Iterable[str], file: str, delimiter: str) -> Iterator[tuple[int, list[str] | DataError]]:
    # The limit is one for all of the process, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    # The reader has to see the line ends: they are part of a quoted field.
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True)
    while True:
        begin = reader.line_num + 1
        try:
            for row in reader:
                if row:
                    yield begin, row
                begin = reader.line_num + 1
            return
        except csv.Error as error:
            if str(error).startswith(_ENDLESS):
                found = "not readable as CSV: a field that is opened by a quote here is never closed"
                raise DataError(f"{found}; {_HINT}", file=file, line=begin) from None
            to = "" if reader.line_num == begin else f" in a row that goes on to line {reader.line_num}"
            yield begin, DataError(f"not readable as CSV: {error}{to}; {_HINT}", file=file, line=begin)
