"""Files of a corpus → blocks of text → documents → sentences.

A corpus is read once, from its beginning to its end, in blocks of some millions of characters that end where a document
ends. Which text is in which block depends on the corpus alone, so what is made of a block can be made anywhere, in any
order, and again after a crash.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from glassbert.data.columns import guess_columns
from glassbert.data.decoding import decoded_blocks, readable, text_blocks
from glassbert.data.readers import FORMATS, read_records
from glassbert.data.records import Skipped, refuse
from glassbert.errors import ConfigError, DataError, MissingExtraError
from glassbert.settings import Column, Documents, Sentences

# In characters: how much text a block has at least, and a document at most; a longer one is divided.
BLOCK: Final = 4_000_000
LONGEST: Final = 1_000_000
# Lines of the first block that are looked at to tell what a line is.
_LOOKED_AT: Final = 2_000
_BLANK: Final = r"\n(?:[^\S\n]*\n)+"
# In characters: how much of a paragraph sentences are looked for in at once. The library's time grows with the square.
_AT_ONCE: Final = 4_000
# Flags that stand before a regular expression, such as (?i).
_FLAGS: Final = re.compile(r"(?:\(\?[aiLmsux]+\))*")
# What ends a sentence, with the quotes and brackets that close behind it.
_END: Final = re.compile(r"[.!?…。！？；][\"'’”»)\]）」』]*$")
_INNER_END: Final = re.compile(r"[.!?][\"'’”»)\]]*\s+(?=[A-ZÀ-Þ\"'‘“«(])|[。！？][\"'’”»）」』]*(?=.)")


class Block(NamedTuple):
    """Some text of a corpus.

    Attributes:
        texts: each of one file, or one record; a document ends with each of them.
        records: of each, whether it is a record, and so one document whatever it holds.
        divided: documents that end here although they are longer.
        done: bytes of the files that had been read; within a file that is compressed or of records, those before it.
    """

    texts: tuple[str, ...]
    records: tuple[bool, ...]
    divided: int
    done: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """Where the text is, and where its documents end.

    Attributes:
        files: text files, and files of records by their endings: .jsonl, .json, .parquet, .csv, .tsv.
        documents: what ends a document of a text file, beside its end. A record is one.
        start: regular expression of lines that begin a document; takes the place of `documents`.
        text_column: column of the text of records; guessed if not given.
        header: whether the first row of CSV and TSV names the columns.
        encoding: of all but Parquet.
        skipped: counts bad records, which are then passed over; None refuses them.
    """

    files: Sequence[str]
    documents: Documents = "blank-lines"
    start: str | None = None
    text_column: Column | None = None
    header: bool = True
    encoding: str = "utf-8"
    skipped: Skipped | None = None

    @property
    def boundary(self) -> re.Pattern[str] | None:
        """What lies between two documents of a text; None where nothing does.

        Raises:
            ConfigError: `start` is no regular expression.
        """
        if self.start is not None:
            try:
                flags = re.compile(self.start, re.MULTILINE).flags  # by itself, or it could close our bracket
                return re.compile(rf"\n(?={_FLAGS.sub('', self.start, count=1)})", flags)
            except re.error as error:
                raise ConfigError(f"document_start is {self.start!r}, no regular expression: {error}") from None
        return {"blank-lines": re.compile(_BLANK), "lines": re.compile("\n"), "files": None}[self.documents]

    def blocks(self, say: Callable[[str], object] = lambda _: None) -> Iterator[Block]:
        """Give the text in blocks.

        Args:
            say: takes what was guessed about columns, as one line.

        Raises:
            DataError: a file that cannot be read, bytes that are not of the encoding (with line and offset), a bad
                record, no column of text.
        """
        cutter = _Cutter(self.boundary)
        before = 0
        for file in self.files:
            cutter.is_record = is_records(file)
            if cutter.is_record:
                yield from self._records(file, cutter, say)
            elif file.lower().endswith(".gz"):
                for text in text_blocks(file, self.encoding):
                    yield from cutter.add(_checked(text, file))
            else:
                for text, offset in decoded_blocks(file, self.encoding):
                    cutter.done = before + offset
                    yield from cutter.add(_checked(text, file))
            yield from cutter.end_text()
            with readable(file):
                before += os.path.getsize(file)
            cutter.done = before
        yield from cutter.finish()

    def _records(self, file: str, cutter: _Cutter, say: Callable[[str], object]) -> Iterator[Block]:
        column: Column | None = None
        for record in read_records(file, header=self.header, encoding=self.encoding, skip_bad=self.skipped):
            if column is None:
                given = {} if self.text_column is None else {"text": self.text_column}
                columns, note = guess_columns(record, ["text"], given=given)
                column = columns["text"]
                if note:
                    say(note)
            try:
                text = record.get(column)
                if wrong := _half(text):
                    raise record.error(f"in the text {wrong}")
            except DataError as error:
                refuse(error, self.skipped)
                continue
            yield from cutter.add(text)
            yield from cutter.end_text()


def _checked(text: str, file: str) -> str:
    """Return the text; some encodings, such as utf-7, can give what is none."""
    if wrong := _half(text):
        raise DataError(wrong, file=file)
    return text


def _half(text: str) -> str | None:
    """Say which half of a character stands alone in a text; None where none does."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"half of a character (U+{ord(text[error.start]):04X}) stands alone"
    return None


def is_records(file: str | Path) -> bool:
    """Whether a file holds records, by its ending."""
    kind = FORMATS.get(Path(Path(file).name.lower().removesuffix(".gz")).suffix)
    return kind is not None and kind != "conll"


class _Cutter:
    """Collects text until there is a block of it.

    Attributes:
        done: bytes that have been read.
        is_record: whether what is added is of records.
    """

    def __init__(self, boundary: re.Pattern[str] | None) -> None:
        self.done = 0
        self.is_record = False
        self._boundary = boundary
        self._whole: list[str] = []  # texts of this block that have ended
        self._records: list[bool] = []  # of each of them
        self._parts: list[str] = []  # of the text that has not
        self._whole_size = self._open_size = self._divided = 0

    def add(self, text: str) -> Iterator[Block]:
        if not text:
            return
        self._parts.append(text)
        self._open_size += len(text)
        boundary = None if self.is_record else self._boundary
        while self._whole_size + self._open_size >= BLOCK + LONGEST:
            joined = "".join(self._parts)
            # How far a text is read at once depends on the file, so that what is cut must not: it lies in this range.
            first = max(0, BLOCK - self._whole_size)
            found = None if boundary is None else boundary.search(joined, first, first + LONGEST)
            cut = last_gap(joined, first + LONGEST, first) if found is None else found.end()
            self._divided += found is None
            self._end(joined[:cut])
            self._parts, self._open_size = [joined[cut:]], len(joined) - cut
            yield self._block()

    def end_text(self) -> Iterator[Block]:
        if self._open_size:
            self._end("".join(self._parts))
            self._whole_size += self._open_size
            self._parts, self._open_size = [], 0
        if self._whole_size >= BLOCK:
            yield self._block()

    def finish(self) -> Iterator[Block]:
        if self._whole:
            yield self._block()

    def _end(self, text: str) -> None:
        self._whole.append(text)
        self._records.append(self.is_record)

    def _block(self) -> Block:
        block = Block(tuple(self._whole), tuple(self._records), self._divided, self.done)
        self._whole, self._records, self._whole_size, self._divided = [], [], 0, 0
        return block


def last_gap(text: str, end: int, begin: int | None = None) -> int:
    """Return where to cut at `end` or before, from `begin` on: behind a line end, else behind a space, else at `end`.

    Args:
        text: what is cut.
        end: where at the latest.
        begin: where at the earliest; half way to `end` if not given.
    """
    for gap in "\n ":
        place = text.rfind(gap, end // 2 if begin is None else begin, end)
        if place >= 0:
            return place + 1
    return end


def documents_of(text: str, boundary: re.Pattern[str] | None) -> tuple[list[str], int]:
    """Divide a text into documents; return them, and how many ends there are that are only for the length."""
    found: list[str] = []
    divided = 0
    # Between the pieces stand the groups of the expression, if it has some.
    for document in [text] if boundary is None else boundary.split(text)[:: boundary.groups + 1]:
        while len(document) > LONGEST:
            cut = last_gap(document, LONGEST)
            found.append(document[:cut])
            document = document[cut:]
            divided += 1
        found.append(document)
    return found, divided


class SentenceSplitter:
    """Divides documents into sentences.

    Args:
        sentences: "lines" takes each line for one; "split" finds where they end, also within lines, and joins what goes
            on in the next line.
        language: of the text, as ISO 639-1 has it, for "split"; languages without rules of their own get those of
            English, which know the full stops of all scripts.

    Raises:
        MissingExtraError: "split" needs the library `sentencex`.
    """

    def __init__(self, sentences: Sentences, language: str) -> None:
        """Load the rules."""
        self._language, self._segment = language, None
        if sentences == "split":
            try:
                import sentencex
            except ImportError:
                raise MissingExtraError("sentencex", "train") from None
            self._segment = sentencex.segment

    def __call__(self, document: str) -> list[str]:
        """Return the sentences, without white space round them and without empty ones."""
        if self._segment is None:
            found = document.split("\n")
        else:
            found = []
            for paragraph in re.split(_BLANK, document):
                found += self._sentences(" ".join(paragraph.split()))
        return [stripped for sentence in found if (stripped := sentence.strip())]

    def _sentences(self, paragraph: str) -> Iterator[str]:
        """Divide a paragraph, whose white space is single spaces, since the library fails at some other."""
        assert self._segment is not None
        begin = 0
        while len(paragraph) - begin > _AT_ONCE:
            part = paragraph[begin : begin + _AT_ONCE]
            # The last one may go on behind it, and is looked at again; one that is all of it is cut somewhere.
            sentences = self._segment(self._language, part)[:-1] or [part[: last_gap(part, _AT_ONCE)]]
            yield from sentences
            begin += sum(map(len, sentences))
        yield from self._segment(self._language, paragraph[begin:])


def guess_sentences(texts: Sequence[str]) -> Sentences:
    """Tell what a line of some text is: one sentence, or a part of a wrapped paragraph, or several sentences.

    Lines are sentences where most end as sentences do and few have the end of one inside.
    """
    lines = [line for text in texts for line in map(str.strip, text[: 200 * _LOOKED_AT].split("\n")) if line]
    lines = lines[:_LOOKED_AT]
    ended = sum(_END.search(line) is not None for line in lines)
    inner = sum(_INNER_END.search(line) is not None for line in lines)
    return "lines" if 2 * ended > len(lines) and 3 * inner < len(lines) else "split"
