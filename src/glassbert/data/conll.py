"""CoNLL files (a token a line, its tag in the last column) → records, one for each sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from glassbert.data.decoding import undecoded
from glassbert.data.records import Record, Skipped, refuse
from glassbert.errors import DataError

# Nothing but these is white space here: an ideographic space or an NBSP may be a token.
_WHITE_SPACE: Final = " \t\r"
_DOCUMENT: Final = "-DOCSTART-"


def read_conll(lines: Iterable[str], file: str, *, skipped: Skipped | None = None) -> Iterator[Record]:
    """Give the sentences, each with a list of strings for every column.

    The first column is named "tokens", the last of several "tags", those between by their numbers; so any column can
    be asked for by its number. Columns are divided by one TAB where the first line of the first sentence holds a TAB,
    else by spaces. A sentence ends at a line of nothing but spaces and TABs, and at `-DOCSTART-`, which is in none.

    Args:
        lines: without LF.
        file: for messages.
        skipped: counts sentences with a bad line in them; None refuses them.

    Raises:
        DataError: a line with more or fewer columns than the first one, or an empty one; with file and line.
    """
    tabs: bool | None = None
    names: list[str] = []
    rows: list[list[str]] = []
    bad: DataError | None = None
    begin = 0
    for number, line in enumerate(chain(lines, [""]), 1):
        blank = not line.strip(_WHITE_SPACE)
        if blank or line.startswith(_DOCUMENT):
            if bad is not None:
                refuse(bad, skipped)
            elif rows:
                values = dict(zip(names, map(list, zip(*rows))))
                yield Record(values=values, file=file, line=begin)
            rows, bad = [], None
            continue
        if tabs is None:
            tabs = "\t" in line
        row = line.removesuffix("\r").split("\t") if tabs else [part for part in line.rstrip("\r").split(" ") if part]
        if not names:
            names = ["tokens", *map(str, range(1, len(row) - 1)), "tags"] if len(row) > 1 else ["tokens"]
        if not rows:
            begin = number
        rows.append(row)
        if found := _fault(row, len(names), skipped):
            bad = bad or DataError(found, file=file, line=number)
            if skipped is None:
                raise bad


def _fault(row: list[str], columns: int, skipped: Skipped | None) -> str | None:
    if len(row) != columns:
        return f"{len(row)} column{'' if len(row) == 1 else 's'}, expected {columns}"
    if "" in row:
        return f"column {row.index('')} is empty"
    return None if skipped is None else undecoded("".join(row))
