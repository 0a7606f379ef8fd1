"""JSON lines and JSON files → records, one at a time: of a JSON file no more than a record is held."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, NoReturn

from glassbert.data.decoding import lines_of, undecoded
from glassbert.data.records import Record, Skipped, refuse
from glassbert.errors import DataError
from glassbert.files import once

_SPACE: Final = re.compile(r"[ \t\n\r]*")
# An escape of half of a character; a text may hold two such halves side by side, which are a character.
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
# In characters: the longest record of a JSON file; how near the end of the text at hand an error, or the end of a
# number, may come from there being no more of it yet.
_LONGEST: Final = 1 << 26
_NEAR: Final = 16


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=once, parse_constant=_refuse_constant)


def read_json_lines(lines: Iterable[str], file: str, *, skipped: Skipped | None = None) -> Iterator[Record]:
    """Give the object of each line that is not blank.

    Args:
        lines: without LF.
        file: for messages.
        skipped: counts bad lines; None refuses them.

    Raises:
        DataError: a line that is not JSON (NaN and Infinity are not), or no object; a key that stands twice, half of a
            character (a lone surrogate); with file and line.
    """
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        try:
            value = _DECODER.decode(line)
            if _HALF.search(line):
                _check_whole(value)
            elif skipped is not None and (found := undecoded(line)):
                raise DataError(found, file=file, line=number)
            if not isinstance(value, dict):
                raise DataError(f"expected a JSON object, found {type(value).__name__}", file=file, line=number)
        except json.JSONDecodeError as error:
            message = f"not readable as JSON: {error.msg} at column {error.colno}"
            refuse(DataError(message, file=file, line=number), skipped)
        except DataError as error:
            refuse(error, skipped)
        except (ValueError, RecursionError) as error:
            refuse(DataError(f"not readable as JSON: {error}", file=file, line=number), skipped)
        else:
            yield Record(values=value, file=file, line=number)


def read_json(blocks: Iterable[str], file: str, *, skipped: Skipped | None = None) -> Iterator[Record]:
    """Give the records of a JSON file, told by its content.

    It is an array of objects, an object with one list of objects in it (`{"data": […]}`), JSON lines, or one object.

    Args:
        blocks: the text in parts.
        file: for messages.
        skipped: counts elements that are no objects, and bad lines; None refuses them. What breaks the JSON of the
            whole file is refused in any case.

    Raises:
        DataError: an empty file, broken JSON, an element that is no object or longer than 67,108,864 characters.
    """
    parts = iter(blocks)
    head = next(parts, "")
    while (not head.strip() or head.endswith("\n")) and (part := next(parts, "")):
        head += part
    if _begins_lines(head):
        yield from read_json_lines(lines_of(chain([head], parts), file), file, skipped=skipped)
        return
    text = _Text(chain([head], parts), file)
    for number, value in enumerate(_objects(text), 1):
        try:
            if not isinstance(value, dict):
                raise DataError(f"expected a JSON object, found {type(value).__name__}", file=file, position=number)
            if skipped is not None and (found := undecoded(json.dumps(value, ensure_ascii=False))):
                raise DataError(found, file=file, position=number)
            if text.has_halves:
                _check_whole(value)
        except DataError as error:
            refuse(error, skipped)
        except ValueError as error:
            refuse(DataError(str(error), file=file, position=number), skipped)
        else:
            yield Record(values=value, file=file, position=number)
    text.end()


def _begins_lines(head: str) -> bool:
    """Whether the first line holds a whole object, and more follows; `head` is the beginning of the file."""
    first, _, more = head.strip().partition("\n")
    if not more or not first.startswith("{"):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def _objects(text: _Text) -> Iterator[Any]:
    if text.peek() == "[":
        text.take("[")
        yield from _items(text)
        return
    if text.peek() != "{":
        raise text.error("expected an array or an object")
    text.take("{")
    records: str | None = None
    others: dict[str, Any] = {}
    while text.peek() != "}":
        if others or records is not None:
            text.take(",")
        if text.peek() != '"':
            raise text.error("expected a key")
        key = text.value()
        text.take(":")
        if key in others or key == records:
            raise text.error(f"the key {key!r} stands there twice")
        if text.peek() != "[":
            others[key] = text.value()
            continue
        text.take("[")
        if text.peek() != "{":
            others[key] = list(_items(text))
        elif records is None:
            records = key
            yield from _items(text)
        else:
            raise text.error(f"two lists of records, {records!r} and {key!r}; give each a file of its own")
    text.take("}")
    if records is None:
        yield others


def _items(text: _Text) -> Iterator[Any]:
    """Give the elements of an array whose bracket has been taken."""
    if text.peek() == "]":
        text.take("]")
        return
    yield text.value()
    while text.take(",]") == ",":
        yield text.value()


class _Text:
    """A JSON text that is read as it is needed, value by value.

    Attributes:
        has_halves: whether a value so far holds an escape of half of a character.
    """

    def __init__(self, blocks: Iterable[str], file: str) -> None:
        self._blocks = iter(blocks)
        self._file = file
        self._buffer = ""
        self._place = 0
        # Where the buffer begins, both from 1.
        self._line = self._column = 1
        self.has_halves = False

    def peek(self) -> str:
        """Return the next character that is not white space; the empty text at the end."""
        while True:
            found = _SPACE.match(self._buffer, self._place)
            assert found is not None
            self._place = found.end()
            if self._place < len(self._buffer):
                return self._buffer[self._place]
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """Go past the next character, which must be one of these."""
        char = self.peek()
        if not char or char not in expected:
            raise self.error("expected " + " or ".join(map(repr, expected)))
        self._place += 1
        return char

    def value(self) -> Any:
        """Go past the next value and return it."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._place)
                if isinstance(value, int | float) and len(self._buffer) - end < _NEAR and self._more():
                    continue  # a number may go on
                self.has_halves = self.has_halves or _HALF.search(self._buffer, self._place, end) is not None
            except json.JSONDecodeError as error:
                cut_off = len(self._buffer) - error.pos < _NEAR or error.msg.startswith("Unterminated string")
                if not (cut_off and self._more()):
                    raise self.error(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:
                raise self.error(str(error)) from None
            else:
                self._place = end
                return value

    def end(self) -> None:
        """Check that nothing is left."""
        if self.peek():
            raise self.error("more text after the end (--format jsonl reads an object a line)")

    def error(self, message: str, place: int | None = None) -> DataError:
        """Make an error about what stands at a place in the buffer, by default the present one."""
        line, column = self._position(self._place if place is None else place)
        return DataError(f"not readable as JSON: {message} at column {column}", file=self._file, line=line)

    def _position(self, place: int) -> tuple[int, int]:
        lines = self._buffer.count("\n", 0, place)
        column = place - self._buffer.rfind("\n", 0, place) if lines else self._column + place
        return self._line + lines, column

    def _more(self) -> bool:
        """Forget what was read, and add as much as is left, at least; False, and nothing changed, at the end."""
        left = len(self._buffer) - self._place
        if left > _LONGEST:
            raise self.error(f"a value of more than {_LONGEST:,} characters")
        added: list[str] = []
        length = 0
        for block in self._blocks:
            added.append(block)
            length += len(block)
            # Twice as much at each attempt, so that a long value is not parsed again for every block.
            if length > left:
                break
        if not length:
            return False
        self._line, self._column = self._position(self._place)
        self._buffer, self._place = self._buffer[self._place :] + "".join(added), 0
        return True


def _check_whole(value: Any) -> None:
    """Refuse half of a character, which could not be written to any file."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(f"half of a character (the lone surrogate {half!a})") from None
