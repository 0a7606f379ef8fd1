"""Bytes → text, block by block, so that a file of any size, with lines of any length, can be read."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from glassbert.errors import DataError

_BLOCK: Final = 1 << 20
# In characters. A longer line is a sign that the file has no lines at all.
_LONGEST_LINE: Final = 1 << 26
# What a byte that cannot be decoded becomes where decoding goes on: half of a character, which no text holds.
_UNDECODED: Final = re.compile("[\udc80-\udcff]")


@contextlib.contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Turn what the system says when a file is opened or read into `DataError`."""
    try:
        yield
    except FileNotFoundError:
        raise DataError("no such file", file=path) from None
    except IsADirectoryError:
        raise DataError("is a folder, expected a file", file=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path) from None
    except (EOFError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", file=path) from None


def decoded_blocks(
    path: str | Path,
    encoding: str = "utf-8",
    *,
    stream: BinaryIO | None = None,
    lenient: bool = False,
    on_block: Callable[[bytes], object] | None = None,
) -> Iterator[tuple[str, int]]:
    """Give the text of a file block by block, each with the number of bytes read so far.

    Args:
        path: the file.
        encoding: any that Python knows; a byte order mark is dropped.
        stream: read this in place of the file; `path` then names it in messages. It is not closed.
        lenient: go on behind bytes that are not of the encoding where that is possible; `undecoded` finds them.
        on_block: called with the bytes of each block as they were read.

    Raises:
        DataError: no such file or encoding, or bytes that are not of the encoding, with line and offset.
    """
    try:
        codec = codecs.lookup(encoding)
        if not codec._is_text_encoding or codec.incrementaldecoder is None or codec.name == "undefined":
            raise LookupError
        decoder = codec.incrementaldecoder("surrogateescape" if lenient else "strict")
    except (LookupError, ValueError):
        raise DataError(f"no encoding is called {encoding!r}; try utf-8, latin-1, cp1252, gb18030 or utf-16") from None
    with readable(path):
        if stream is not None:
            yield from _decoded(stream, decoder, encoding, path, on_block)
        else:
            with open(path, "rb") as file:
                yield from _decoded(file, decoder, encoding, path, on_block)


def text_blocks(
    path: str | Path, encoding: str, *, lenient: bool = False, stream: BinaryIO | None = None
) -> Iterator[str]:
    """Give the text of a file, compressed by gzip where its name ends in .gz, block by block.

    Raises:
        DataError: as `decoded_blocks`, and a compressed file that is damaged.
    """
    with contextlib.ExitStack() as opened:
        if stream is None and Path(path).suffix.lower() == ".gz":
            with readable(path):
                stream = cast(BinaryIO, opened.enter_context(gzip.open(path, "rb")))
        for text, _ in decoded_blocks(path, encoding, stream=stream, lenient=lenient):
            yield text


def lines_of(blocks: Iterable[str], path: str | Path) -> Iterator[str]:
    r"""Give the lines of a text without their LF, split there and nowhere else; a CR before it stays.

    Raises:
        DataError: a line of more than 67,108,864 characters.
    """
    rest = ""
    number = 1
    for text in blocks:
        *whole, rest = (rest + text).split("\n")
        yield from whole
        number += len(whole)
        if len(rest) > _LONGEST_LINE:
            raise DataError(f"a line of more than {_LONGEST_LINE:,} characters", file=path, line=number)
    if rest:
        yield rest


def undecoded(text: str) -> str | None:
    """Say which byte of a leniently decoded text is not of the encoding; None where all are."""
    found = None if text.isascii() else _UNDECODED.search(text)
    return None if found is None else f"the byte {ord(found[0]) - 0xDC00:#04x} is not of the file's encoding"


def _decoded(
    file: BinaryIO,
    decoder: codecs.IncrementalDecoder,
    encoding: str,
    path: str | Path,
    on_block: Callable[[bytes], object] | None,
) -> Iterator[tuple[str, int]]:
    offset = 0
    line = 1
    while True:
        block = file.read(_BLOCK)
        if on_block is not None:
            on_block(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            # The decoder's object ends where the block does, and may begin in the block before.
            place = offset + len(block) - len(error.object) + error.start
            line += codecs.decode(error.object[: error.start], error.encoding, "replace").count("\n")
            found = f"the byte {error.object[error.start]:#04x} at offset {place} is not {encoding}"
            raise DataError(f"{found}; name the file's encoding with --encoding", file=path, line=line) from None
        except UnicodeError as error:
            raise DataError(f"{error}; name the file's encoding with --encoding", file=path) from None
        if offset == 0:
            text = text.removeprefix("\ufeff")
        offset += len(block)
        line += text.count("\n")
        yield text, offset
        if not block:
            return
