"""Answers → a file: each format knows how to write some of them as a piece, and how pieces become the file.

A piece is what a run that was cut off keeps, and the file is the same whether it was made in one go or in several. So
is the file of a whole run and those of its parts, one after the other (of CSV and TSV without the headers of the later
ones).

Kinds of values are said as the typed results say them: "string", "bool", "int64", "double", "float", `[kind]`, `{name:
kind}`.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from glassbert.data.parquet import join_files, write_rows
from glassbert.errors import InputError

Row = Mapping[str, Any]
Kinds = Mapping[str, Any]
# Bytes that are copied at once.
_BLOCK: Final = 1 << 20
_ESCAPED: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Writer(ABC):
    """One format of answers.

    Attributes:
        vectors: whether it takes a vector for each input, and None for one that has none, in place of rows.
    """

    vectors: ClassVar[bool] = False

    @abstractmethod
    def write(self, file: Path, rows: Iterable[Any], kinds: Kinds) -> None:
        """Write some answers as a piece.

        Args:
            file: where to.
            rows: the answers.
            kinds: of what is in them, by name.
        """

    @abstractmethod
    def join(self, pieces: Sequence[Path], target: Path, kinds: Kinds) -> None:
        """Write the whole file from its pieces, at least one, in bounded memory."""


class JsonLines(Writer):
    """An object a line."""

    def write(self, file: Path, rows: Iterable[Row], kinds: Kinds) -> None:
        """Write a line for each."""
        with file.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)

    def join(self, pieces: Sequence[Path], target: Path, kinds: Kinds) -> None:
        """Put them one behind the other."""
        with target.open("wb") as stream:
            _append(stream, pieces)


class Table(Writer):
    r"""A row a line, with a header. Lists and objects are JSON, and nothing stands for None.

    CSV has quotes around fields that need them. TSV has none: TAB, LF, CR and backslash are `\t`, `\n`, `\r` and `\\`
    there, as in PostgreSQL's text format, so that a line is always a row.
    """

    def __init__(self, *, tabs: bool) -> None:
        """Make a TSV, or a CSV."""
        self._tabs = tabs

    def write(self, file: Path, rows: Iterable[Row], kinds: Kinds) -> None:
        """Write a line for each, without the header."""
        with file.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(self._line(row[name] for name in kinds) for row in rows)

    def join(self, pieces: Sequence[Path], target: Path, kinds: Kinds) -> None:
        """Put the header before them."""
        with target.open("wb") as stream:
            stream.write(self._line(kinds).encode())
            _append(stream, pieces)

    def _line(self, values: Iterable[Any]) -> str:
        cells = map(_cell, values)
        if self._tabs:
            return "\t".join(cell.translate(_ESCAPED) for cell in cells) + "\n"
        # A line of one empty field would be a blank line.
        return (",".join(map(_quoted, cells)) or '""') + "\n"


class Parquet(Writer):
    """A row each; lists and objects stay what they are."""

    def write(self, file: Path, rows: Iterable[Row], kinds: Kinds) -> None:
        """Write a file of them."""
        write_rows(file, rows, kinds)

    def join(self, pieces: Sequence[Path], target: Path, kinds: Kinds) -> None:
        """Write a file of all."""
        join_files(pieces, target)


class Vectors(Writer):
    """An array of numpy's, (N, H) float32: a row for each input, NaN where it has no vector.

    Of kinds it takes their size alone, as `{"vector": H}`.
    """

    vectors = True

    def write(self, file: Path, rows: Iterable[Any], kinds: Kinds) -> None:
        """Write an array of them; (N, 0) where none has a vector, and nobody knows their size."""
        found = list(rows)
        array = np.full((len(found), kinds.get("vector", 0)), np.nan, dtype="<f4")
        for place, row in enumerate(found):
            if row is not None:
                array[place] = row
        with file.open("wb") as stream:
            np.save(stream, array)

    def join(self, pieces: Sequence[Path], target: Path, kinds: Kinds) -> None:
        """Put them one below the other."""
        size = kinds["vector"]
        # One after the other: a system lets a process have so many files mapped, and there may be more pieces.
        rows = sum(len(np.load(piece, mmap_mode="r")) for piece in pieces)
        with target.open("wb") as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": (rows, size)}
            np.lib.format.write_array_header_1_0(stream, header)
            for piece in pieces:
                array = np.load(piece)
                whole = array if array.shape[1] else np.full((len(array), size), np.nan, dtype="<f4")
                stream.write(whole.tobytes())


_WRITERS: Final[dict[str, Writer]] = {
    ".jsonl": JsonLines(),
    ".csv": Table(tabs=False),
    ".tsv": Table(tabs=True),
    ".parquet": Parquet(),
    ".npy": Vectors(),
}


def writer_of(file: str | Path, *, vectors: bool = True) -> Writer:
    """Return the format that the ending of a file stands for.

    Args:
        file: its name.
        vectors: whether there are vectors to write.

    Raises:
        InputError: it stands for none, or for vectors where there are none.
    """
    ending = Path(file).suffix.lower()
    known = [name for name, writer in _WRITERS.items() if vectors or not writer.vectors]
    if ending not in known:
        raise InputError(f"out is {str(file)!r}, expected a name that ends in one of {', '.join(known)}")
    return _WRITERS[ending]


def _append(stream: Any, pieces: Sequence[Path]) -> None:
    for piece in pieces:
        with piece.open("rb") as source:
            shutil.copyfileobj(source, stream, _BLOCK)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _quoted(cell: str) -> str:
    # Also where white space stands at an edge, which some readers take away.
    if cell != cell.strip() or any(sign in cell for sign in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell
