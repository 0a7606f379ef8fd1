"""Files and objects in memory → records: the choice of the reader."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, get_args

from glassbert.data.conll import read_conll
from glassbert.data.decoding import lines_of, readable, text_blocks
from glassbert.data.json_files import read_json, read_json_lines
from glassbert.data.lines import read_lines
from glassbert.data.parquet import read_parquet
from glassbert.data.records import Record, Skipped, refuse
from glassbert.data.squad import to_questions
from glassbert.data.tables import read_table
from glassbert.errors import DataError, InputError
from glassbert.settings import Format, Quoting

FORMATS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".conll": "conll",
    ".ndjson": "jsonl",
    ".bio": "conll",
    ".bmes": "conll",
}

Source = str | Path | Iterable[str | Path | Mapping[str, Any]]


def read_records(
    path: str | Path,
    *,
    format: Format | None = None,
    header: bool = True,
    encoding: str = "utf-8",
    quoting: Quoting = "auto",
    skip_bad: Skipped | None = None,
    stream: BinaryIO | None = None,
    on_blank: Callable[[], object] = lambda: None,
) -> Iterator[Record]:
    """Read a file, one record at a time: a file may be larger than memory.

    Args:
        path: the file; all but Parquet may be compressed (`data.csv.gz`).
        format: None tells it by the ending.

            - csv, tsv: a row each; blank lines are none. Lines end at LF, with or without a CR before it, and nowhere
              else.
            - jsonl: the object of each line; blank lines are passed over.
            - json: an array of objects, an object with one list of objects in it, JSON lines, or articles of SQuAD,
              told by the content.
            - parquet: a row each.
            - conll: a sentence each, with the lists "tokens" and "tags"; see `read_conll`.
            - squad: a question each, from articles or from flat JSON or JSON lines; see `to_questions`.
            - txt: a text each line, in the column "text"; blank lines are passed over. No ending stands for it, since
              a text file may as well be one long text.
        header: whether the first row of a CSV or TSV file names the columns; else they are "0", "1", …
        encoding: of all but Parquet; any that Python knows. A byte order mark is dropped.
        quoting: whether `"` opens a field in CSV and TSV ("csv") or is a character as any other ("none"); "auto" is
            "csv" for CSV and "none" for TSV.
        skip_bad: counts bad records, which are then passed over; None refuses them. What leaves nothing to go on with
            is refused in any case: a bad header, a quote that is never closed, broken JSON in an array.
        stream: read this in place of the file; `path` then names it in messages, and `format` has to be given.
        on_blank: called for each blank line of a "txt".

    Raises:
        DataError: a file that is not there, of another format or encoding, a bad record; with file and line. With the
            record's position where there are no lines.
        InputError: no such format or quoting.
    """
    if format is not None and format not in get_args(Format):
        raise InputError(f"format is {format!r}, expected one of {', '.join(get_args(Format))}")
    if quoting not in get_args(Quoting):
        raise InputError(f"quoting is {quoting!r}, expected one of {', '.join(get_args(Quoting))}")
    named = FORMATS.get(Path(Path(path).name.lower().removesuffix(".gz")).suffix)
    if format is None and named is None:
        if Path(path).is_dir():
            raise DataError("is a folder, expected a file", file=path)
        expected = f"expected one of {', '.join(FORMATS)}, or a format (--format) of {', '.join(get_args(Format))}"
        raise DataError(f"cannot tell the format by the ending; {expected}", file=path)
    if format == "squad" and named == "jsonl":
        lines = read_records(path, format="jsonl", encoding=encoding, skip_bad=skip_bad)
        return to_questions(lines, skipped=skip_bad)
    if format == "parquet" and stream is not None:
        raise DataError("Parquet is read from a file alone, whose end tells what is in it", file=path)
    blocks = text_blocks(path, encoding, lenient=skip_bad is not None, stream=stream)
    return _records(path, format or named, blocks, header, quoting, skip_bad, on_blank)


def _records(
    path: str | Path,
    kind: Format | None,
    blocks: Iterator[str],
    header: bool,
    quoting: Quoting,
    skipped: Skipped | None,
    on_blank: Callable[[], object],
) -> Iterator[Record]:
    file = str(path)
    if kind == "parquet":
        yield from read_parquet(path, skipped=skipped)
    elif kind == "txt":
        yield from read_lines(lines_of(blocks, path), file, skipped=skipped, on_blank=on_blank)
    elif kind in ("csv", "tsv"):
        quotes = quoting == "csv" if quoting != "auto" else kind == "csv"
        delimiter = "," if kind == "csv" else "\t"
        lines = lines_of(blocks, path)
        yield from read_table(lines, file, delimiter=delimiter, quotes=quotes, header=header, skipped=skipped)
    elif kind == "jsonl":
        yield from read_json_lines(lines_of(blocks, path), file, skipped=skipped)
    elif kind == "conll":
        yield from read_conll(lines_of(blocks, path), file, skipped=skipped)
    else:
        records = read_json(blocks, file, skipped=skipped)
        first = next(records, None)
        if first is not None:
            records = chain([first], records)
            is_squad = kind == "squad" or "paragraphs" in first.values
            yield from to_questions(records, skipped=skipped) if is_squad else records


def as_records(
    source: Source,
    *,
    format: Format | None = None,
    header: bool = True,
    encoding: str = "utf-8",
    quoting: Quoting = "auto",
    skip_bad: Skipped | None = None,
) -> Iterator[Record]:
    """Give the records of files, or of objects in memory.

    Args:
        source: a path, several paths, or mappings from names to values: a list of dicts, a data set of the library
            `datasets`. Class numbers of such a data set become the names that its features give them; −1, its sign for
            no class, becomes None.
        format: of the files, as the other settings; see `read_records`.
        header: of the files.
        encoding: of the files.
        quoting: of the files.
        skip_bad: counts bad records, which are then passed over; None refuses them.

    Raises:
        DataError: as `read_records`, and an element that is no mapping, with its position.
        InputError: a dict, such as one of several data sets by their names.
    """

    def read(path: str | Path) -> Iterator[Record]:
        return read_records(path, format=format, header=header, encoding=encoding, quoting=quoting, skip_bad=skip_bad)

    if isinstance(source, str | Path):
        return read(source)
    if isinstance(source, Mapping):
        names = ", ".join(map(repr, list(source)[:5]))
        raise InputError(f"expected records, found a dict of {names}; pass one of its values")
    items = iter(source)
    first = next(items, None)
    if first is None:
        return iter(())
    if isinstance(first, str | Path):
        return chain.from_iterable(map(read, chain([first], items)))  # type: ignore[arg-type]
    return _from_memory(chain([first], items), f"<{type(source).__name__}>", _class_names(source), skip_bad)


def _from_memory(
    items: Iterable[Any], name: str, classes: Mapping[str, Sequence[str]], skipped: Skipped | None
) -> Iterator[Record]:
    for position, item in enumerate(items, 1):
        if not isinstance(item, Mapping):
            found = f"expected a mapping from names to values, found {type(item).__name__}"
            refuse(DataError(found, file=name, position=position), skipped)
            continue
        values = dict(item)
        for column in classes.keys() & values.keys():
            values[column] = _named(values[column], classes[column])
        yield Record(values=values, file=name, position=position)


def _class_names(source: object) -> dict[str, Sequence[str]]:
    """Return the names of the classes, by column, where `source` is a data set whose features have them."""
    features = getattr(source, "features", None)
    if not isinstance(features, Mapping):
        return {}
    # A column of lists has the feature of their elements inside.
    inner = {column: getattr(feature, "feature", feature) for column, feature in features.items()}
    return {column: names for column, feature in inner.items() if (names := getattr(feature, "names", None))}


def _named(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    if isinstance(value, int) and -1 <= value < len(names):
        return None if value == -1 else names[value]
    return value


def data_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; it is read part by part.

    Raises:
        DataError: no such file, or it cannot be read.
    """
    with readable(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
