"""CRC-32C (Castagnoli), fast enough for files of weights, with numpy alone.

A CRC goes through bytes one after the other. But it is linear: the CRC of a whole follows from those of its parts. So
the data is cut into equal lanes, all lanes are taken through their bytes at once, and the lanes' CRCs are joined.

Source: RFC 3720, appendix B.4; joining as in zlib's crc32_combine.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

_POLYNOMIAL: Final = 0x82F63B78  # its bits reversed, as all of this is
_START: Final = 0xFFFFFFFF
# Many lanes for a matrix, fewer for what is left of it and for small tensors; the rest goes byte by byte.
_LANES: Final = (8_192, 256)
_FEWEST_WORDS: Final = 16  # in a lane, or joining costs more than it saves
_STEP: Final = 256  # words of all lanes that are turned at once, so that each is read in order
Words = npt.NDArray[np.uint32]


def _after_one_byte() -> Words:
    """Return what each byte becomes when the CRC has gone through it, (256,)."""
    table: Words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return table


def _after_one_word() -> tuple[Words, Words]:
    """Return what the lower and the upper half of a word of four bytes become, (65536,) each."""
    tables = [_TABLE]
    for _ in range(3):
        tables.append((tables[-1] >> 8) ^ _TABLE[tables[-1] & 0xFF])
    half = np.arange(1 << 16, dtype=np.uint32)
    return tables[3][half & 0xFF] ^ tables[2][half >> 8], tables[1][half & 0xFF] ^ tables[0][half >> 8]


_TABLE: Final = _after_one_byte()
_BYTES: Final[list[int]] = _TABLE.tolist()
_LOWER, _UPPER = _after_one_word()


def crc32c(data: bytes | npt.NDArray[np.uint8]) -> int:
    """Return the CRC-32C of `data`, bytes or (N,) uint8."""
    array = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else data
    crc = _START
    for lanes in _LANES:
        words = len(array) // (4 * lanes)
        if words >= _FEWEST_WORDS:
            crc = _by_lanes(crc, array[: 4 * words * lanes].view("<u4").reshape(lanes, words))
            array = array[4 * words * lanes :]
    return _by_bytes(crc, array) ^ _START


def masked(crc: int) -> int:
    """Return a CRC in the form that LevelDB's files hold, so that a CRC of data with CRCs in it stays sound."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _by_bytes(crc: int, array: npt.NDArray[np.uint8]) -> int:
    """Take a CRC through (N,) bytes, one after the other."""
    for byte in array.tobytes():
        crc = _BYTES[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def _by_lanes(crc: int, words: Words) -> int:
    """Take a CRC through the little-endian words of (lanes, W), row after row; the lanes are a power of 2."""
    # A lane by itself begins with 0; the first goes on from what came before.
    state = np.zeros(len(words), dtype=np.uint32)
    state[0] = crc
    for begin in range(0, words.shape[1], _STEP):
        for column in np.ascontiguousarray(words[:, begin : begin + _STEP].T):
            state ^= column
            state = _LOWER.take(state & 0xFFFF) ^ _UPPER.take(state >> 16)
    # Neighbours are joined: the left one's CRC goes on through as many zeros as the right one has bytes.
    length = 4 * words.shape[1]
    while len(state) > 1:
        state = _times(_zeros(length), state[0::2]) ^ state[1::2]
        length *= 2
    return int(state[0])


def _times(matrix: Words, values: Words) -> Words:
    """Multiply a matrix over bits, given by its 32 columns (32,), with each of `values` (N,)."""
    result = np.zeros_like(values)
    for bit in range(32):
        result ^= (values >> np.uint32(bit) & 1) * matrix[bit]
    return result


@functools.lru_cache(maxsize=1024)
def _zeros(length: int) -> Words:
    """Return what `length` (1 or more) bytes of 0 do to a CRC, as a matrix (32,)."""
    if length == 1:
        bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
        whole: Words = (bits >> 8) ^ _TABLE[bits & 0xFF]
        return whole
    half = _zeros(length // 2)
    whole = _times(half, half)
    return _times(_zeros(1), whole) if length % 2 else whole
