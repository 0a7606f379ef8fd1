"""Text files → records, one for each line that is not blank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from glassbert.data.decoding import undecoded
from glassbert.data.records import Record, Skipped, refuse
from glassbert.errors import DataError


def read_lines(
    lines: Iterable[str], file: str, *, skipped: Skipped | None = None, on_blank: Callable[[], object] = lambda: None
) -> Iterator[Record]:
    """Give the text of each line that is not blank, in the column "text".

    Args:
        lines: without LF; a CR at the end is none of the text.
        file: for messages.
        skipped: counts lines with bytes that are not of the encoding; where it is None, nobody has let these pass.
        on_blank: called for each line of nothing but white space.
    """
    for number, line in enumerate(lines, 1):
        text = line.removesuffix("\r")
        if not text or text.isspace():
            on_blank()
        elif skipped is not None and (found := undecoded(text)):
            refuse(DataError(found, file=file, line=number), skipped)
        else:
            yield Record(values={"text": text}, file=file, line=number)
