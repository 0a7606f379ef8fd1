"""Bytes → text, block by block, so that a file of any size, with lines of any length, can be read."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from glassbert.errors import DataError

_BLOCK: Final = 1 << 20


def decoded_blocks(
    path: str | Path,
    encoding: str = "utf-8",
    *,
    stream: BinaryIO | None = None,
    on_block: Callable[[bytes], object] | None = None,
) -> Iterator[tuple[str, int]]:
    """Give the text of a file block by block, each with the number of bytes read so far.

    Args:
        path: the file.
        encoding: any that Python knows; a byte order mark is dropped.
        stream: read this in place of the file; `path` then names it in messages. It is not closed.
        on_block: called with the bytes of each block as they were read.

    Raises:
        DataError: no such file or encoding, or bytes that are not of the encoding, with line and offset.
    """
    try:
        codec = codecs.lookup(encoding)
        if not codec._is_text_encoding or codec.incrementaldecoder is None or codec.name == "undefined":
            raise LookupError
        decoder = codec.incrementaldecoder()
    except (LookupError, ValueError):
        raise DataError(f"no encoding is called {encoding!r}; try utf-8, latin-1, cp1252, gb18030 or utf-16") from None
    try:
        if stream is not None:
            yield from _decoded(stream, decoder, encoding, path, on_block)
        else:
            with open(path, "rb") as file:
                yield from _decoded(file, decoder, encoding, path, on_block)
    except FileNotFoundError:
        raise DataError("no such file", file=path) from None
    except IsADirectoryError:
        raise DataError("is a folder, expected a file", file=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path) from None


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
