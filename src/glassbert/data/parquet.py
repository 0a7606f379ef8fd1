"""Parquet files → texts, some thousand rows at a time. `pyarrow` is imported here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from glassbert.errors import DataError

# Rows that are read together, and bytes of the file.
_ROWS: Final = 4096
_BUFFER: Final = 1 << 20


def read_columns(
    path: str | Path, columns: Sequence[str], on_block: Callable[[bytes], object] | None = None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Give the number of each row, from 1, and its strings in the order of `columns`. No other column is read.

    Args:
        path: the file.
        columns: names of columns of strings.
        on_block: called with the bytes of the whole file, block by block, before the first row.

    Raises:
        DataError: no such file, no Parquet file, no such column, one of another type, a value that is missing (null) or
            not UTF-8; with the file and, where it is one row's, its number as the line.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise DataError("reading Parquet needs pyarrow; it comes with: pip install pyarrow", file=path) from None
    try:
        with open(path, "rb") as content:
            while on_block is not None and (block := content.read(_BUFFER)):
                on_block(block)
        # With a buffer a column is read as it is needed, without one all of a row group at once.
        with parquet.ParquetFile(path, buffer_size=_BUFFER) as file:
            for column in columns:
                _check_column(file.schema_arrow, column, path)
            before = 0
            for batch in file.iter_batches(batch_size=_ROWS, columns=list(dict.fromkeys(columns))):
                values = [_strings(batch.column(column), column, path, before) for column in columns]
                yield from enumerate(zip(*values, strict=True), before + 1)
                before += batch.num_rows
    except FileNotFoundError:
        raise DataError("no such file", file=path) from None
    except IsADirectoryError:
        raise DataError("is a folder, expected a file", file=path) from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"not readable as Parquet: {error}", file=path) from None


def _check_column(schema: Any, name: str, path: str | Path) -> None:
    from pyarrow import types

    places = schema.get_all_field_indices(name)
    if len(places) != 1:
        found = "two columns" if places else "no column"
        raise DataError(f"{found} {name!r}; the columns are {', '.join(map(repr, schema.names))}", file=path)
    kind = schema.field(places[0]).type
    inner = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(inner) or types.is_large_string(inner) or types.is_string_view(inner)):
        raise DataError(f"the column {name!r} is of type {kind}, expected strings", file=path)


def _strings(values: Any, name: str, path: str | Path, before: int) -> list[str]:
    """Return a column of a batch that follows `before` rows."""
    try:
        texts: list[str] = values.to_pylist()
    except UnicodeDecodeError:
        for row, value in enumerate(values, before + 1):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                raise DataError(f"{name!r} is not UTF-8: {error}", file=path, line=row) from None
        raise
    if values.null_count:
        raise DataError(f"{name!r} is missing (null)", file=path, line=before + 1 + texts.index(None))  # type: ignore[arg-type]
    return texts
