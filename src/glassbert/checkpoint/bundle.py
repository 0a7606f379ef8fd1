"""TensorFlow's checkpoint files, read and written without TensorFlow.

A checkpoint NAME is `NAME.index`, a sorted table of what there is, and `NAME.data-00000-of-00002` and so on, the bytes
of the tensors one after the other. Every block of the table and every tensor carries a CRC-32C, which is checked.

The files are untrusted: every number in them is bounded before it is used, each byte of the index is looked at once,
all tensors together may not be larger than the data files, and those are files of the index's folder.

Source: tensor_bundle.proto and tensor_bundle.cc of TensorFlow; the table is that of LevelDB (table_format.md).
"""

from __future__ import annotations

import dataclasses
import math
import stat
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from glassbert.checkpoint.crc32c import crc32c, masked
from glassbert.checkpoint.place import inside
from glassbert.errors import CheckpointError
from glassbert.files import check_content

Array = npt.NDArray[Any]

INDEX: Final = ".index"
_MAGIC: Final = 0xDB4775248B80FB57
_FOOTER: Final = 48
_TRAILER: Final = 5  # of a block: one byte of compression, four of CRC

# Bounds, inclusive. BERT-large with its optimizer has 1,200 names in 60 kB; beyond these an index is a mistake or an
# attack. Names are written as what differs from the one before, hence a bound on all of them together.
_LARGEST_INDEX: Final = 4 * 1024 * 1024
_MOST_ENTRIES: Final = 50_000
_LONGEST_NAME: Final = 1_024
_LONGEST_NAMES: Final = 16 * 1024 * 1024
_LONGEST_ENTRY: Final = 4_096
_MOST_SHARDS: Final = 100_000  # beyond that TensorFlow's names of files have more digits
_MOST_DIMENSIONS: Final = 8
_MOST_NUMBERS: Final = 1 << 48  # in a tensor, dimensions of 0 counted as 1

# TensorFlow's numbers of the kinds that weights have; bfloat16 is unknown to numpy.
_DTYPES: Final[dict[int, np.dtype[Any]]] = {
    number: np.dtype(name)
    for number, name in {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 19: "<f2"}.items()
}
_NUMBERS: Final = {dtype: number for number, dtype in _DTYPES.items()}
_BFLOAT16: Final = 14
_NAMES: Final = {7: "text", 8: "complex", 10: "true and false", 18: "complex", 21: "objects"}

# The kinds of fields in a protocol buffer.
_VARINT: Final = 0
_BYTES: Final = 2
_FIXED32: Final = 5


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Where one tensor lies.

    Attributes:
        dtype: TensorFlow's number of it.
        shape: of the tensor.
        shard: number of the data file.
        offset: place of its first byte there.
        size: bytes.
        crc: masked CRC-32C of the bytes.
        sliced: whether it lies in pieces under other names, as a partitioned variable; then the rest says nothing.
    """

    dtype: int = 0
    shape: tuple[int, ...] = ()
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    sliced: bool = False

    @property
    def width(self) -> int | None:
        """Bytes of one number; None where each has its own, or the dtype is not known."""
        if self.dtype == _BFLOAT16:
            return 2
        return _DTYPES[self.dtype].itemsize if self.dtype in _DTYPES else None


def shard_name(name: str, number: int, shards: int) -> str:
    """Return the name of a data file of the checkpoint `name`."""
    return f"{name}.data-{number:05d}-of-{shards:05d}"


def read_index(file: Path) -> tuple[dict[str, Entry], int]:
    """Read `NAME.index` alone.

    Returns:
        entries by name, in order; the number of data files.

    Raises:
        CheckpointError: a missing file, or one that is no such table; by name.
    """
    size = _size(file)
    if size > _LARGEST_INDEX:
        raise CheckpointError(f"{file}: has {size:,} bytes, expected at most {_LARGEST_INDEX:,} of an index")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file}: {error.strerror or error}") from None
    try:
        return _entries(data)
    except ValueError as error:
        check_content(file)
        raise CheckpointError(f"{file}: not readable as the index of a TensorFlow checkpoint: {error}") from None


class Bundle:
    """A checkpoint for reading, one tensor at a time.

    Attributes:
        prefix: folder and NAME of the checkpoint.
        index: the index's path.
        entries: tensor's name → where it lies, in order.
        shards: number of data files.
    """

    def __init__(self, prefix: Path) -> None:
        """Read `PREFIX.index` and hold it against the data files' sizes.

        Raises:
            CheckpointError: a missing file, an index that is none, a tensor that its data file is too short for.
        """
        self.prefix = prefix
        self.index = file_inside(prefix.parent, prefix.name + INDEX)
        self.entries, self.shards = read_index(self.index)
        # Only files that the index uses: it may claim any number of others.
        whole = {name: entry for name, entry in self.entries.items() if not entry.sliced}
        sizes: dict[int, int] = {}
        for name, entry in whole.items():
            if not 0 <= entry.shard < self.shards:
                raise CheckpointError(
                    f"{self.index}: {name} lies in data file {entry.shard}, expected 0 to {self.shards - 1}"
                )
            if entry.shard not in sizes:
                sizes[entry.shard] = _size(self.data_file(name))
            self._check(name, entry, sizes[entry.shard])
        together, there = sum(entry.size for entry in whole.values()), sum(sizes.values())
        if together > there:
            raise CheckpointError(
                f"{self.index}: the tensors have {together:,} bytes together, the data files only {there:,}"
            )

    def data_file(self, name: str) -> Path:
        """Return the data file that a tensor lies in."""
        return file_inside(self.prefix.parent, shard_name(self.prefix.name, self.entries[name].shard, self.shards))

    def _check(self, name: str, entry: Entry, there: int) -> None:
        if entry.width is not None and entry.size != math.prod(entry.shape) * entry.width:
            raise CheckpointError(
                f"{self.index}: {name} of shape {entry.shape} has {entry.size:,} bytes, "
                f"expected {math.prod(entry.shape) * entry.width:,}"
            )
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > there:
            check_content(self.data_file(name))
            raise CheckpointError(
                f"{self.data_file(name)}: has {there:,} bytes, but {name} is to lie from {entry.offset:,} "
                f"to {entry.offset + entry.size:,}; the file is cut off, or the index is that of another checkpoint"
            )

    def read(self, name: str) -> Array:
        """Return one tensor, its CRC checked; numbers in bfloat16 come as float32.

        Raises:
            CheckpointError: the bytes are not those that were written, or are of a kind that no weight has.
        """
        entry, file = self.entries[name], self.data_file(name)
        if entry.sliced:
            raise CheckpointError(f"{self.index}: {name} is stored in slices, expected a whole tensor")
        if entry.width is None:
            kind = _NAMES.get(entry.dtype, "a kind unknown here")
            raise CheckpointError(
                f"{self.index}: {name} holds {kind} (dtype {entry.dtype}), expected a weight's numbers"
            )
        # Plain reading: behind a memory map, a file that is cut off meanwhile would end the process.
        data = np.empty(entry.size, dtype=np.uint8)
        try:
            with file.open("rb") as stream:
                stream.seek(entry.offset)
                got = stream.readinto(data.data) if entry.size else 0
        except OSError as error:
            raise CheckpointError(f"{file}: {error.strerror or error}") from None
        if got != entry.size or masked(crc32c(data)) != entry.crc:
            raise CheckpointError(f"{file}: {name} is damaged or of another checkpoint than the index: its CRC differs")
        if entry.dtype == _BFLOAT16:
            # The upper half of a float32.
            return (data.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(entry.shape)
        dtype = _DTYPES[entry.dtype]
        return data.view(dtype).astype(dtype.newbyteorder("="), copy=False).reshape(entry.shape)


def file_inside(folder: Path, name: str) -> Path:
    """Return the file `name` of `folder`; a link may not lead out of it.

    Raises:
        CheckpointError: it does, or the name is no plain one.
    """
    return inside(folder, name)


def _size(file: Path) -> int:
    """Return a plain file's size; a pipe or a device could keep a reader for ever."""
    try:
        status = file.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(f"{file}: {reason or error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{file}: is no plain file")
    return status.st_size


# The table. What is wrong with it is a ValueError, to which `read_index` adds the file's name.


def _entries(data: bytes) -> tuple[dict[str, Entry], int]:
    """Read a whole index: entries by name, and the number of data files."""
    if len(data) < _FOOTER or data[-8:] != struct.pack("<Q", _MAGIC):
        raise ValueError("its last bytes are not those of a table")
    meta, blocks, end = _footer(data)
    entries: dict[str, Entry] = {}
    shards = None
    last: bytes | None = None
    letters = 0
    at = 0
    for _, handle in _pairs(_block(data, *blocks)):
        start, length = _handle(handle)
        if start != at:
            # So each byte is looked at once, however many handles there are.
            raise ValueError(f"a block begins at byte {start}, expected {at}")
        at = start + length + _TRAILER
        for key, value in _pairs(_block(data, start, length)):
            if last is not None and key <= last:
                raise ValueError(f"the name {key!r} stands there twice or is not in order")
            last = key
            letters += len(key)
            if len(entries) == _MOST_ENTRIES or letters > _LONGEST_NAMES:
                raise ValueError("it has too many names")
            if not key:
                shards = _header(value)
            elif key[0]:  # with a zero begin the names of slices, which no one asks for
                name = _name(key)
                entries[name] = _entry(name, value)
    if shards is None:
        raise ValueError("it has no header")
    if (at, meta[0] + meta[1] + _TRAILER, blocks[0] + blocks[1] + _TRAILER) != (meta[0], blocks[0], end):
        raise ValueError("its blocks do not fill it")
    _block(data, *meta)
    return entries, shards


def _footer(data: bytes) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return where two blocks lie, that of properties and that which lists the others, and the footer's own place."""
    footer = data[-_FOOTER:-8]
    numbers, at = [], 0
    for _ in range(4):
        number, at = _varint(footer, at)
        numbers.append(number)
    if footer != b"".join(map(_digits, numbers)).ljust(len(footer), b"\0"):
        raise ValueError("its footer is damaged")
    return (numbers[0], numbers[1]), (numbers[2], numbers[3]), len(data) - _FOOTER


def _handle(handle: bytes) -> tuple[int, int]:
    """Return a block's place and its length."""
    start, at = _varint(handle, 0)
    length, at = _varint(handle, at)
    if at != len(handle):
        raise ValueError("the place of a block is no pair of numbers")
    return start, length


def _block(data: bytes, start: int, length: int) -> bytes:
    """Return one block of the table, its CRC checked."""
    end = start + length
    if end + _TRAILER > len(data) - _FOOTER:
        raise ValueError(f"a block ends at byte {end}, beyond the file's {len(data)}")
    if masked(crc32c(data[start : end + 1])) != int.from_bytes(data[end + 1 : end + _TRAILER], "little"):
        raise ValueError("a block is damaged: its CRC differs")
    if data[end]:
        raise ValueError("a block is compressed, which TensorFlow's own never are")
    return data[start:end]


def _pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Walk through a block: each key is written as what differs from the one before."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block counts more restarts than it has bytes")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise ValueError("an entry runs over the end of its block")
        if shared + fresh > _LONGEST_NAME:
            raise ValueError(f"a name has {shared + fresh} bytes, expected at most {_LONGEST_NAME}")
        if length > _LONGEST_ENTRY:
            raise ValueError(f"an entry has {length} bytes, expected at most {_LONGEST_ENTRY}")
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _name(key: bytes) -> str:
    """Return a name, which can stand in one line of a message."""
    try:
        name = key.decode("utf-8")
    except UnicodeDecodeError:
        name = "\0"
    if not name.isprintable():
        raise ValueError(f"the name {key!r} is no line of text")
    return name


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte; return it and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise ValueError("a number has more than 64 bits")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(message: bytes) -> Iterator[tuple[tuple[int, int], int, bytes]]:
    """Walk through a protocol buffer: (number, kind) of each field, its value as a number, as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        number, value = 0, b""
        if kind == _VARINT:
            number, at = _varint(message, at)
        elif kind in (1, _BYTES, _FIXED32):
            length = {1: 8, _FIXED32: 4}.get(kind, 0)
            if kind == _BYTES:
                length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
            number = int.from_bytes(value, "little") if kind != _BYTES else 0
            if at > len(message):
                raise ValueError("a message is cut off")
        else:
            raise ValueError(f"a message has a field of kind {kind}")
        yield (tag >> 3, kind), number, value


def _header(message: bytes) -> int:
    """Return the number of data files."""
    shards = 0
    for field, number, value in _fields(message):
        if field == (1, _VARINT):
            shards = _signed(number)
        elif field == (2, _VARINT) and number:
            raise ValueError("it was written on a big-endian machine")
        elif field == (3, _BYTES):
            for part, least, _ in _fields(value):
                if part == (2, _VARINT) and least > 1:
                    raise ValueError(f"it asks for a reader of version {least}; this one has version 1")
    if not 1 <= shards <= _MOST_SHARDS:
        raise ValueError(f"its header counts {shards} data files, expected 1 to {_MOST_SHARDS}")
    return shards


def _entry(name: str, message: bytes) -> Entry:
    values: dict[str, Any] = {}
    for field, number, value in _fields(message):
        if field in _ENTRY_NUMBERS:
            values[_ENTRY_NUMBERS[field]] = _signed(number)
        elif field == (2, _BYTES):
            values["shape"] = _shape(name, value)
        elif field == (7, _BYTES):
            values["sliced"] = True
    return Entry(**values)


_ENTRY_NUMBERS: Final = {
    (1, _VARINT): "dtype",
    (3, _VARINT): "shard",
    (4, _VARINT): "offset",
    (5, _VARINT): "size",
    (6, _FIXED32): "crc",
}


def _shape(name: str, message: bytes) -> tuple[int, ...]:
    sizes = []
    for field, _, dimension in _fields(message):
        if field == (2, _BYTES):
            sizes.append(0)  # which is not written
            for inner, number, _ in _fields(dimension):
                if inner == (1, _VARINT):
                    sizes[-1] = _signed(number)
    if len(sizes) > _MOST_DIMENSIONS:
        raise ValueError(f"{name} has {len(sizes)} dimensions, expected at most {_MOST_DIMENSIONS}")
    if any(size < 0 for size in sizes) or math.prod(max(size, 1) for size in sizes) > _MOST_NUMBERS:
        raise ValueError(f"{name} has the shape {tuple(sizes)}, which no tensor has")
    return tuple(sizes)


# Writing


def write_bundle(index: Path, data: Path, tensors: Mapping[str, Array]) -> None:
    """Write an index and its one data file, under whatever names they have for now.

    Raises:
        CheckpointError: a dtype that is not among those written here.
        OSError: the disk refused a write.
    """
    # The header: one data file, little-endian, in version 1.
    table: list[tuple[bytes, bytes]] = [(b"", _number_field(1, 1) + _bytes_field(3, _number_field(1, 1)))]
    offset = 0
    with data.open("wb") as file:
        for key, name in sorted((name.encode(), name) for name in tensors):
            array = tensors[name]
            number = _NUMBERS.get(array.dtype.newbyteorder("<"))
            if number is None:
                raise CheckpointError(f"{name} has the dtype {array.dtype}, which is not written to such files")
            content = np.ascontiguousarray(array, dtype=_DTYPES[number]).reshape(-1).view(np.uint8)
            file.write(content.data)
            shape = b"".join(_bytes_field(2, _number_field(1, size)) for size in array.shape)
            entry = _number_field(1, number) + _bytes_field(2, shape)
            entry += _number_field(4, offset) + _number_field(5, len(content))
            entry += bytes([6 << 3 | _FIXED32]) + struct.pack("<I", masked(crc32c(content)))
            table.append((key, entry))
            offset += len(content)
    index.write_bytes(_table(table))


def _table(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Write a table of one block of data."""
    content = _sealed(_packed(pairs))
    first = _digits(0) + _digits(len(content) - _TRAILER)
    properties = _sealed(_packed([]))
    blocks = _sealed(_packed([(pairs[-1][0], first)]))
    footer = b"".join(
        map(_digits, (len(content), len(properties) - _TRAILER, len(content + properties), len(blocks) - _TRAILER))
    )
    return content + properties + blocks + footer.ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", _MAGIC)


def _packed(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Write a block, every key whole, with a place to start at before each 16th one."""
    block, restarts = bytearray(), [0]
    for number, (key, value) in enumerate(pairs):
        if number and number % 16 == 0:
            restarts.append(len(block))
        block += _digits(0) + _digits(len(key)) + _digits(len(value)) + key + value
    return bytes(block) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def _sealed(block: bytes) -> bytes:
    """Add a block's trailer: not compressed, and the CRC."""
    plain = block + b"\0"
    return plain + struct.pack("<I", masked(crc32c(plain)))


def _digits(value: int) -> bytes:
    """Write a number of 7 bits a byte."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number_field(field: int, value: int) -> bytes:
    return _digits(field << 3 | _VARINT) + _digits(value) if value else b""


def _bytes_field(field: int, value: bytes) -> bytes:
    return _digits(field << 3 | _BYTES) + _digits(len(value)) + value
