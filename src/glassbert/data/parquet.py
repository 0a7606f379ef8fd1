"""Parquet files, read and written some thousand rows at a time. `pyarrow` is imported here and nowhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from glassbert.data.decoding import readable
from glassbert.data.records import Record, Skipped, refuse
from glassbert.errors import DataError

# Rows that are read together, and bytes of the file.
_ROWS: Final = 1024
_BUFFER: Final = 1 << 20
# Bytes in memory of the rows that are written together, a row group.
_TOGETHER: Final = 1 << 25


def read_parquet(path: str | Path, *, skipped: Skipped | None = None) -> Iterator[Record]:
    """Give the rows, lists and structs in them as lists and dicts.

    Args:
        path: the file.
        skipped: counts rows with text that is not UTF-8; None refuses them.

    Raises:
        DataError: no such file, no Parquet file, a damaged one, two columns with one name, text that is not UTF-8; with
            file and, where it is one row's, its position.
    """
    with _opened(path) as file:
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


def read_columns(
    path: str | Path, columns: Sequence[str], on_block: Callable[[bytes], object] | None = None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Give the position of each row, from 1, and its strings in the order of `columns`. No other column is read.

    Args:
        path: the file.
        columns: names of columns of strings.
        on_block: called with the bytes of the whole file, block by block, before the first row.

    Raises:
        DataError: no such file, no Parquet file, no such column, one of another type, a value that is missing (null) or
            not UTF-8; with file and, where it is one row's, its position.
    """
    with _opened(path, on_block) as file:
        for column in columns:
            _check_column(file.schema_arrow, column, path)
        before = 0
        for batch in file.iter_batches(batch_size=_ROWS, columns=list(dict.fromkeys(columns))):
            values = [_strings(batch.column(column), column, path, before) for column in columns]
            yield from enumerate(zip(*values, strict=True), before + 1)
            before += batch.num_rows


@contextlib.contextmanager
def _opened(path: str | Path, on_block: Callable[[bytes], object] | None = None) -> Iterator[Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError("reading Parquet needs pyarrow; it comes with: pip install pyarrow", file=path) from None
    with readable(path), open(path, "rb") as content:
        while on_block is not None and (block := content.read(_BUFFER)):
            on_block(block)
    try:
        # With a buffer columns are read as they are needed, without one all of a row group at once.
        with parquet.ParquetFile(path, buffer_size=_BUFFER) as file:
            yield file
    except (OSError, pyarrow.ArrowException) as error:
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
                raise DataError(f"{name!r} is not UTF-8: {error}", file=path, position=row) from None
        raise
    if values.null_count:
        missing = before + 1 + texts.index(None)  # type: ignore[arg-type]
        raise DataError(f"{name!r} is missing (null)", file=path, position=missing)
    return texts


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, Any]) -> None:
    """Write some rows as a file.

    Args:
        file: its name.
        rows: as many as fit into memory.
        kinds: of each column; see `glassbert.data.writing`.
    """
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, _type(kind)) for name, kind in kinds.items()])
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), file)


def join_files(files: Iterable[Path], target: Path) -> None:
    """Write the rows of several files of the same columns as one file; some of them are in memory at once."""
    import pyarrow
    from pyarrow import parquet

    writer = None
    tables: list[Any] = []
    try:
        for file in files:
            tables.append(parquet.read_table(file))
            writer = writer or parquet.ParquetWriter(target, tables[0].schema)
            if sum(table.nbytes for table in tables) >= _TOGETHER:
                writer.write_table(pyarrow.concat_tables(tables))
                tables = []
        if writer is not None and tables:
            writer.write_table(pyarrow.concat_tables(tables))
    finally:
        if writer is not None:
            writer.close()


def _type(kind: Any) -> Any:
    """Return the type of Arrow for a kind of value."""
    import pyarrow

    if isinstance(kind, list):
        return pyarrow.list_(_type(kind[0]))
    if isinstance(kind, Mapping):
        return pyarrow.struct([(name, _type(inner)) for name, inner in kind.items()])
    return pyarrow.type_for_alias(kind)
