"""TensorFlow's checkpoint files built by hand, sound or not; shares no code with what it tests."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from pathlib import Path

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FLOAT, DOUBLE, TEXT, BFLOAT16, HALF = 1, 2, 7, 14, 19
Pair = tuple[bytes, bytes]


def crc(data: bytes) -> int:
    """The CRC as files hold it: bit by bit, then turned and shifted."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def digits(value: int) -> bytes:
    """A number of 7 bits a byte; a negative one as 64 bits."""
    value %= 1 << 64
    out = []
    while value > 127:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return digits(field * 8) + digits(value)


def message(field: int, value: bytes) -> bytes:
    return digits(field * 8 + 2) + digits(len(value)) + value


def entry(
    *, dtype: int = FLOAT, shape: Sequence[int] = (), shard: int = 0, offset: int = 0, size: int = 4, check: int = 0
) -> bytes:
    dims = b"".join(message(2, number(1, dim)) for dim in shape)
    return (
        number(1, dtype)
        + message(2, dims)
        + number(3, shard)
        + number(4, offset)
        + number(5, size)
        + bytes([6 * 8 + 5])
        + struct.pack("<I", check)
    )


def header(shards: int = 1) -> bytes:
    return number(1, shards) + message(3, number(1, 1))


def block(pairs: Sequence[Pair], restarts: Sequence[int] = (0,)) -> bytes:
    """A block whose keys are written as what differs from the one before, as LevelDB does it."""
    out, last = b"", b""
    for key, value in pairs:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        out += digits(shared) + digits(len(key) - shared) + digits(len(value)) + key[shared:] + value
        last = key
    return out + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def sealed(content: bytes, kind: int = 0) -> bytes:
    content += bytes([kind])
    return content + struct.pack("<I", crc(content))


def table(blocks: Sequence[bytes], kind: int = 0, handles: Sequence[bytes] | None = None) -> bytes:
    """An index of blocks as `block` makes them."""
    out, found = b"", []
    for content in blocks:
        found.append(digits(len(out)) + digits(len(content)))
        out += sealed(content, kind)
    meta, listing = block([]), block([(b"%06d" % n, h) for n, h in enumerate(found if handles is None else handles)])
    footer = digits(len(out)) + digits(len(meta))
    out += sealed(meta)
    footer += digits(len(out)) + digits(len(listing))
    return out + sealed(listing) + footer.ljust(40, b"\0") + MAGIC


@dataclasses.dataclass(frozen=True)
class Given:
    """A tensor to write: TensorFlow's number of its dtype, its shape, its bytes, its data file."""

    dtype: int
    shape: tuple[int, ...]
    data: bytes
    shard: int = 0


def floats(*values: float, shape: tuple[int, ...] | None = None, shard: int = 0) -> Given:
    data = struct.pack(f"<{len(values)}f", *values)
    return Given(FLOAT, (len(values),) if shape is None else shape, data, shard)


def write(prefix: Path, tensors: dict[str, Given], *, shards: int = 1, per_block: int = 3) -> Path:
    """Write a sound checkpoint; return its prefix."""
    data = [b""] * shards
    pairs = [(b"", header(shards))]
    for name, given in sorted(tensors.items()):
        data[given.shard] += b"??"  # a hole, as alignment makes them
        place = len(data[given.shard])
        data[given.shard] += given.data
        value = entry(
            dtype=given.dtype,
            shape=given.shape,
            shard=given.shard,
            offset=place,
            size=len(given.data),
            check=crc(given.data),
        )
        pairs.append((name.encode(), value))
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for shard, content in enumerate(data):
        Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    blocks = [block(pairs[begin : begin + per_block]) for begin in range(0, len(pairs), per_block)]
    Path(f"{prefix}.index").write_bytes(table(blocks))
    return prefix
