"""Parquet files → records, some thousand rows at a time. `pyarrow` is imported here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from glassbert.data.decoding import readable
from glassbert.data.records import Record, Skipped, refuse
from glassbert.errors import DataError

# Rows that are read together, and bytes of the file.
_ROWS: Final = 1024
_BUFFER: Final = 1 << 20


def read_parquet(path: str | Path, *, skipped: Skipped | None = None) -> Iterator[Record]:
    """Give the rows, lists and structs in them as lists and dicts.

    Args:
        path: the file.
        skipped: counts rows with text that is not UTF-8; None refuses them.

    Raises:
        DataError: no such file, no Parquet file, a damaged one, two columns with one name, text that is not UTF-8; with
            file and position.
    """
    import pyarrow
    from pyarrow import parquet

    if Path(path).is_dir():
        raise DataError("is a folder, expected a file", file=path)
    try:
        # With a buffer columns are read as they are needed, without one all of a row group at once.
        with readable(path), parquet.ParquetFile(path, buffer_size=_BUFFER) as file:
            names = file.schema_arrow.names
            if len(set(names)) != len(names):
                raise DataError("two columns have the same name", file=path)
            position = 0
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in _rows(batch):
                    position += 1
                    if isinstance(row, dict):
                        yield Record(values=row, file=str(path), position=position)
                    else:
                        refuse(DataError(f"text that is not UTF-8: {row}", file=path, position=position), skipped)
    except pyarrow.ArrowException as error:
        raise DataError(f"not readable as Parquet: {error}", file=path) from None


def _rows(batch: Any) -> Iterator[dict[str, Any] | UnicodeDecodeError]:
    """Give the rows of a batch, and an error for one that cannot be read."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass  # raised before a row is given
    for place in range(batch.num_rows):
        try:
            yield batch.slice(place, 1).to_pylist()[0]
        except UnicodeDecodeError as error:
            yield error
