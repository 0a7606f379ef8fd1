"""Files of texts → token ids on disk: encoded once, on all cores, and read again as memory-mapped arrays."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, SupportsIndex, get_args, overload

from glassbert import __version__
from glassbert.data.decoding import decoded_blocks, lines_of
from glassbert.data.json_files import read_json_lines
from glassbert.data.parquet import read_columns
from glassbert.data.records import Record
from glassbert.errors import CheckpointError, DataError, InputError
from glassbert.files import Kind, check_output, new_folder, read_json, write_json
from glassbert.text import BertTokenizer, Encoding
from glassbert.text.checks import check_flags, check_string, shown
from glassbert.text.vocabulary import vocabulary_hash
from glassbert.text.windows import Truncation, check_way

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TextFormat = Literal["txt", "jsonl", "parquet"]
_FORMATS: Final[dict[str, TextFormat]] = {".txt": "txt", ".jsonl": "jsonl", ".parquet": "parquet"}
_IDS, _ENDS, _SECONDS, _MANIFEST = "ids.npy", "ends.npy", "seconds.npy", "manifest.json"
_KIND: Final = Kind("encoded texts", re.compile("|".join(map(re.escape, (_IDS, _ENDS, _SECONDS, _MANIFEST)))))
# Characters that are encoded together: many texts for each core, and some MB of Python's numbers.
_CHUNK: Final = 1 << 18
# Chunks on their way at once: while one becomes an array, which takes one core, others keep the cores busy.
_THREADS: Final = 3


class Row(NamedTuple):
    """A text, or two of a pair, and where it stands: on a line, of Parquet at a position."""

    text: str
    pair: str | None
    file: str
    line: int | None = None
    position: int | None = None


class EncodedTexts:
    """Encoded texts in a folder that `encode_files` wrote, memory-mapped: opened at once, whatever their number.

    `texts[i]` are the ids of text i, (n,), a view that is not to be written to. In a pickle stands the folder's path
    alone, so that worker processes share what is in memory.

    Attributes:
        folder: where they are.
        ids: the ids of all texts, one after the other, (T,), uint16 or uint32.
        ends: where each text ends in `ids`, (N,), int64.
        seconds: for pairs, where the second text begins in its own sequence, (N,), int64; None for single texts.
        manifest: what `manifest.json` says: numbers of texts and tokens, settings, files and their SHA-256.

    Raises:
        DataError: no such folder, or its files do not fit together.
    """

    ids: NDArray[Any]
    ends: NDArray[np.int64]
    seconds: NDArray[np.int64] | None

    def __init__(self, folder: str | Path) -> None:
        """Open the folder."""
        self.folder = Path(folder).absolute()
        try:
            self.manifest = read_json(self.folder / _MANIFEST)
        except CheckpointError as error:
            raise DataError(f"{error}; expected a folder that encode_files wrote") from None
        counts = {name: self.manifest.get(name) for name in ("texts", "tokens")}
        for name, count in counts.items():
            if type(count) is not int or count < 0:
                raise DataError(f"{name} is {count!r}, expected a number", file=self.folder / _MANIFEST)
        self.ids = self._array(_IDS, self.manifest.get("dtype"), counts["tokens"])
        self.ends = self._array(_ENDS, "int64", counts["texts"])
        self.seconds = self._array(_SECONDS, "int64", counts["texts"]) if self.manifest.get("pairs") else None
        last = int(self.ends[-1]) if len(self.ends) else 0
        if last != len(self.ids):
            raise DataError(f"the last text ends at {last}, but {_IDS} has {len(self.ids)}", file=self.folder / _ENDS)

    def _array(self, name: str, dtype: Any, count: Any) -> NDArray[Any]:
        import numpy as np

        file = self.folder / name
        try:
            # There is no mapping of nothing.
            loaded = np.load(file, mmap_mode="r" if count else None, allow_pickle=False)
        except FileNotFoundError:
            raise DataError("no such file", file=file) from None
        except (OSError, ValueError, EOFError) as error:
            size = file.stat().st_size
            raise DataError(f"has {size:,} bytes, not an array of {count:,} numbers: {error}", file=file) from None
        array: NDArray[Any] = np.asarray(loaded)  # slices of a memmap are slower to make, and tell no more
        if array.shape != (count,) or array.dtype.name != dtype:
            found, expected = f"{array.dtype} {array.shape}", f"{dtype} ({count},)"
            raise DataError(f"holds {found}, but {_MANIFEST} says {expected}", file=file)
        return array

    def __len__(self) -> int:
        """Number of texts (N)."""
        return len(self.ends)

    @overload
    def __getitem__(self, place: SupportsIndex) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> NDArray[Any] | list[NDArray[Any]]:
        """Return the ids of one text, (n,), or of those of a slice."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        start, end = self._span(place)
        return self.ids[start:end]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Give the ids of each text."""
        return (self[place] for place in range(len(self)))

    def _span(self, given: SupportsIndex) -> tuple[int, int]:
        place = operator.index(given)
        if not -len(self) <= place < len(self):
            raise IndexError(f"text {place} is asked for, but there are {len(self)}")
        place %= len(self)
        return int(self.ends[place - 1]) if place else 0, int(self.ends[place])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each text, (N,), int64."""
        import numpy as np

        return np.diff(self.ends, prepend=0)

    def token_type_ids(self, place: SupportsIndex) -> NDArray[np.int64]:
        """Return 0 for each token of the first text, 1 for each of the second, (n,), int64."""
        import numpy as np

        start, end = self._span(place)
        types = np.zeros(end - start, dtype=np.int64)
        if self.seconds is not None:
            types[self.seconds[place] :] = 1
        return types

    def __repr__(self) -> str:
        """Name the folder and the size."""
        return f"EncodedTexts({str(self.folder)!r}: {len(self):,} texts, {len(self.ids):,} tokens)"

    def __reduce__(self) -> tuple[type[EncodedTexts], tuple[Path]]:
        """Leave the arrays where they are."""
        return type(self), (self.folder,)


def encode_files(
    files: str | Path | Iterable[str | Path],
    tokenizer: BertTokenizer,
    out: str | Path,
    *,
    text_column: str = "text",
    pair_column: str | None = None,
    format: TextFormat | None = None,
    encoding: str = "utf-8",
    add_special_tokens: bool = True,
    truncation: Truncation = False,
    max_length: int | None = None,
    on_progress: Callable[[int, int], None] = lambda texts, tokens: None,
    overwrite: bool = False,
) -> EncodedTexts:
    """Encode files of any size into arrays on disk, without holding more than some thousand texts in memory.

    The ids are those of `tokenizer(text)`. A `BertTokenizerFast` encodes on all cores, where there are more than four,
    a `BertTokenizer` on one. The files written are the same whatever the number of cores.

    In the folder stand `ids.npy` (T,), `ends.npy` (N,), for pairs `seconds.npy` (N,), and `manifest.json`; what they
    hold is said in `EncodedTexts`. It is written whole or not at all.

    Args:
        files: one or several, encoded in this order.
            txt: a text a line. Lines end at LF alone, with or without a CR before it. An empty line is an empty text,
            so that line i is text i.
            jsonl: a JSON object a line; blank lines are passed over.
            parquet: a text a row; no other column is read.
        tokenizer: makes the ids.
        out: the folder to write.
        text_column: of JSON lines and Parquet.
        pair_column: the second text of each pair; None for single texts.
        format: None tells it by the ending of each file: .txt, .jsonl or .parquet.
        encoding: of txt and jsonl; any that Python knows.
        add_special_tokens: put `[CLS]` and `[SEP]` round the texts.
        truncation: cut texts that are too long, as in calling the tokenizer. The manifest counts what was cut.
        max_length: most tokens of a text; None means the tokenizer's `model_max_length`.
        on_progress: called with the numbers of texts and tokens written so far, after some hundred thousand characters.
        overwrite: whether a folder that holds encoded texts, and nothing else, may be replaced.

    Returns:
        the folder, opened.

    Raises:
        DataError: a file that cannot be read, a line without that column or with something that is no text; with file
            and line (of Parquet the row).
        InputError: settings that mean nothing together.
        OutputExistsError: `out` holds something, or with `overwrite` other things than encoded texts.
        SaveError: the disk refused a write.
    """
    import numpy as np

    paths = _paths(files)
    if not isinstance(tokenizer, BertTokenizer):
        raise InputError(f"tokenizer is {shown(tokenizer)}, expected a BertTokenizer")
    if not isinstance(out, str | os.PathLike):
        raise InputError(f"out is {shown(out)}, expected the path of a folder")
    check_string("text_column", text_column)
    if pair_column is not None:
        check_string("pair_column", pair_column)
    check_string("encoding", encoding)
    check_flags(overwrite=overwrite)
    if not callable(on_progress):
        raise InputError(f"on_progress is {shown(on_progress)}, expected a function")
    if format is not None and not (isinstance(format, str) and format in get_args(TextFormat)):
        raise InputError(f"format is {shown(format)}, expected one of {', '.join(get_args(TextFormat))}")
    formats = [format or _format_of(path) for path in paths]
    if pair_column is not None and "txt" in formats:
        raise InputError(f"pair_column={pair_column!r} has an effect with JSON lines and Parquet; a txt has no columns")
    if max_length is not None and check_way(truncation) is False:
        raise InputError(f"max_length={shown(max_length)} has an effect with truncation=True")
    for path in paths:
        if not Path(path).is_file():
            raise DataError("is no file" if Path(path).exists() else "no such file", file=path)

    def encode(rows: list[Row]) -> list[Encoding]:
        return tokenizer.encodings(
            [row.text for row in rows],
            None if pair_column is None else [row.pair or "" for row in rows],
            add_special_tokens=add_special_tokens,
            truncation=truncation,
            max_length=max_length,
        )

    vocabulary = tokenizer.get_vocab()
    dtype = np.dtype(np.uint16 if max(vocabulary.values()) < 1 << 16 else np.uint32)
    encode([])  # complains of the settings before anything is written

    def encode_chunk(rows: list[Row]) -> _Chunk:
        try:
            return _Chunk.of(encode(rows), dtype)
        except InputError:
            for row in rows:
                _check_row(row, encode)
            raise

    columns = [text_column] if pair_column is None else [text_column, pair_column]
    prints = [_Fingerprint() for _ in paths]
    rows = chain.from_iterable(
        _read(path, kind, columns, encoding, seen.update)
        for path, kind, seen in zip(paths, formats, prints, strict=True)
    )
    check_output(out, overwrite=overwrite, keep=paths, kind=_KIND)
    with new_folder(out, overwrite=overwrite, kind=_KIND) as folder:
        texts = tokens = texts_cut = tokens_cut = 0
        with contextlib.ExitStack() as stack:
            ids = stack.enter_context(_GrowingArray(folder / _IDS, dtype))
            ends = stack.enter_context(_GrowingArray(folder / _ENDS, np.dtype(np.int64)))
            if pair_column is not None:
                seconds = stack.enter_context(_GrowingArray(folder / _SECONDS, np.dtype(np.int64)))
            for chunk in _in_threads(encode_chunk, _chunks(rows)):
                ids.append(chunk.ids)
                ends.append(tokens + np.cumsum(chunk.lengths))
                if pair_column is not None:
                    seconds.append(chunk.seconds)
                texts += len(chunk.lengths)
                tokens += len(chunk.ids)
                texts_cut += chunk.texts_cut
                tokens_cut += chunk.tokens_cut
                on_progress(texts, tokens)
        manifest = {
            "glassbert": __version__,
            "texts": texts,
            "tokens": tokens,
            "texts_cut": texts_cut,
            "tokens_cut": tokens_cut,
            "dtype": dtype.name,
            "pairs": pair_column is not None,
            "files": [
                {"name": path, "bytes": seen.size, "sha256": seen.digest}
                for path, seen in zip(paths, prints, strict=True)
            ],
            "settings": {
                "text_column": text_column,
                "pair_column": pair_column,
                "formats": formats,
                "encoding": encoding,
                "add_special_tokens": add_special_tokens,
                "truncation": truncation,
                "max_length": max_length if max_length is not None or not truncation else tokenizer.model_max_length,
                "do_lower_case": tokenizer.do_lower_case,
                "rules": tokenizer.rules,
            },
            "vocabulary": {"tokens": len(vocabulary), "sha256": vocabulary_hash(vocabulary)},
        }
        write_json(folder / _MANIFEST, manifest)
    return EncodedTexts(out)


def _paths(files: Any) -> list[str]:
    several = [files] if isinstance(files, str | os.PathLike) else files
    if isinstance(several, bytes) or not isinstance(several, Iterable):
        raise InputError(f"files is {shown(files)}, expected the path of a file, or several")
    paths = list(several)
    for place, path in enumerate(paths):
        if not isinstance(path, str | os.PathLike):
            raise InputError(f"files[{place}] is {shown(path)}, expected the path of a file")
    if not paths:
        raise InputError("files is empty, expected one file or more")
    return [str(path) for path in paths]


def _format_of(path: str) -> TextFormat:
    found = _FORMATS.get(Path(path).suffix.lower())
    if found is None:
        endings = ", ".join(_FORMATS)
        raise DataError(f"cannot tell the format by the ending; expected {endings}, or pass format=", file=path)
    return found


def _read(
    path: str, kind: TextFormat, columns: Sequence[str], encoding: str, on_block: Callable[[bytes], object]
) -> Iterator[Row]:
    """Give the texts of a file, and its bytes to `on_block`."""
    if kind == "parquet":
        for number, (text, *pair) in read_columns(path, columns, on_block):
            yield Row(text, pair[0] if pair else None, path, position=number)
        return
    lines = lines_of((text for text, _ in decoded_blocks(path, encoding, on_block=on_block)), path)
    if kind == "jsonl":
        for record in read_json_lines(lines, path):
            text, *pair = [_string(record, column) for column in columns]
            yield Row(text, pair[0] if pair else None, path, record.line)
    else:
        for number, line in enumerate(lines, 1):
            yield Row(line.removesuffix("\r"), None, path, number)


def _string(record: Record, column: str) -> str:
    text = record.value(column)
    if not isinstance(text, str):
        raise record.error(f"{column!r} is of type {type(text).__name__}, expected a string")
    return text


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Put so many texts together that they have `_CHUNK` characters."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += 1 + len(row.text) + len(row.pair or "")
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _check_row(row: Row, encode: Callable[[list[Row]], list[Encoding]]) -> None:
    try:
        encode([row])
    except InputError as error:
        raise DataError(str(error), file=row.file, line=row.line, position=row.position) from None


class _Chunk(NamedTuple):
    """What is written of some texts: all ids; for each its length and where its second text begins; what was cut."""

    ids: NDArray[Any]
    lengths: NDArray[np.int64]
    seconds: NDArray[np.int64]
    texts_cut: int
    tokens_cut: int

    @classmethod
    def of(cls, encodings: Sequence[Encoding], dtype: np.dtype[Any]) -> _Chunk:
        """Collect the ids."""
        import numpy as np

        lists = [encoding.ids for encoding in encodings]
        lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        cuts = [encoding.cut for encoding in encodings if encoding.cut]
        return cls(
            ids=np.fromiter(chain.from_iterable(lists), dtype=dtype, count=int(lengths.sum())),
            lengths=lengths,
            seconds=np.array([len(one.ids) - sum(one.types) for one in encodings if one.second is not None], np.int64),
            texts_cut=len(cuts),
            tokens_cut=sum(cuts),
        )


def _in_threads(function: Callable[[list[Row]], _Chunk], chunks: Iterable[list[Row]]) -> Iterator[_Chunk]:
    """Map the chunks in their order, no further ahead than there are threads."""
    waiting: collections.deque[Future[_Chunk]] = collections.deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(function, chunk))
                if len(waiting) > _THREADS:
                    yield waiting.popleft().result()
        except DataError:
            for future in waiting:  # what is wrong there stands before
                future.result()
            raise
        while waiting:
            yield waiting.popleft().result()


class _GrowingArray:
    """An array (n,) in a file of numpy's format, written piece by piece."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file = path.open("wb")
        self._dtype, self._length = dtype, 0
        self._write_header()

    def _write_header(self) -> None:
        from numpy.lib.format import dtype_to_descr, write_array_header_1_0

        self._file.seek(0)
        header = {"descr": dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._length,)}
        # numpy leaves room in it for a length of any number of digits.
        write_array_header_1_0(self._file, header)

    def append(self, values: NDArray[Any]) -> None:
        self._file.write(values.astype(self._dtype, copy=False).data)
        self._length += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._write_header()


class _Fingerprint:
    """Size and SHA-256 of the bytes that were read."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()

    def update(self, block: bytes) -> None:
        self.size += len(block)
        self._hash.update(block)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
