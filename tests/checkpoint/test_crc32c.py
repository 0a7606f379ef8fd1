"""CRC-32C against published values and against the plain definition."""

from __future__ import annotations

import numpy as np
import pytest

from glassbert.checkpoint.crc32c import _by_bytes, crc32c, masked

# RFC 3720, appendix B.4, where the bytes stand in reversed order; the first is the usual check value.
VECTORS = (
    (b"123456789", 0xE3069283),
    (b"", 0x00000000),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(reversed(range(32))), 0x113FDB5C),
    (
        bytes.fromhex("01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018")
        + bytes.fromhex("28000000 00000000 02000000 00000000"),
        0xD9963A56,
    ),
)


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected
    assert crc32c(np.frombuffer(data, dtype=np.uint8)) == expected


def test_masked_as_leveldb_tests_it() -> None:
    value = crc32c(b"foo")
    assert masked(value) != value
    assert masked(masked(value)) not in (value, masked(value))
    assert masked(0) == 0xA282EAD8
    assert all(0 <= masked(crc) < 1 << 32 for crc in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))


def plain(data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
    return _by_bytes(0xFFFFFFFF, data) ^ 0xFFFFFFFF


def test_lanes_give_what_bytes_give() -> None:
    random = np.random.default_rng(0)
    # Around the sizes at which lanes begin (16 words in 256 lanes, in 8,192), and others.
    edges = [edge + off for edge in (16 * 1024, 17 * 1024, 512 * 1024) for off in (-1, 0, 1, 3)]
    for size in [*range(20), *edges, *random.integers(20, 200_000, 12).tolist(), 800_001]:
        data = random.integers(0, 256, size, dtype=np.uint8)
        assert crc32c(data) == plain(data), size


def test_any_place_in_memory() -> None:
    data = np.random.default_rng(1).integers(0, 256, 40_000, dtype=np.uint8)
    for begin in range(1, 5):
        assert crc32c(data[begin:]) == crc32c(data[begin:].tobytes()) == plain(data[begin:])


def test_each_bit_counts() -> None:
    data = np.random.default_rng(2).integers(0, 256, 50_000, dtype=np.uint8)
    whole = crc32c(data)
    for place in (0, 1, 16_383, 16_384, 25_000, 49_151, 49_152, 49_999):
        data[place] ^= 1
        assert crc32c(data) != whole
        data[place] ^= 1
