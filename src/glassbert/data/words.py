"""Text files of any size → how often each word occurs, on all cores.

The text of all files is one stream. It is cut into chunks at line ends, by its characters alone, and what is found in
the chunks is added up in their order; so the result does not depend on the number of processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import stat
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from glassbert.data.decoding import decoded_blocks
from glassbert.data.documents import last_gap
from glassbert.data.processes import in_order
from glassbert.errors import DataError, InputError
from glassbert.text import BasicTokenizer
from glassbert.text.checks import check_string, count_of, shown

# A longer word is unknown to a WordpieceTokenizer as a whole, whatever the vocabulary.
LONGEST_WORD: Final = 100
# In characters: what a process gets at once; how often a piece of text is held out, and how long it is.
_CHUNK: Final = 1_000_000
_HOLD_OUT_EVERY: Final = 200_000
_HELD_OUT: Final = 2_000
# In bytes of text: less is counted sooner than a process starts.
_WORTH_A_PROCESS: Final = 4_000_000
# Runs of characters between spaces whose words each process remembers: how long and how many.
_REMEMBERED_LENGTH: Final = 32
_REMEMBERED: Final = 200_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordCounts:
    """The words of a text.

    Attributes:
        words: occurrences by word.
        too_long: occurrences of words of more than 100 characters, which no tokenizer splits; they are not in `words`.
        forgotten: occurrences of rare words that had to make room; they are not in `words`.
    """

    words: Counter[str] = dataclasses.field(default_factory=Counter)
    too_long: int = 0
    forgotten: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CountedText:
    """What `count_words` returns.

    Attributes:
        words: the text without what was held out.
        held_out: the text that was held out, as each of the tokenizers for it splits it.
    """

    words: WordCounts
    held_out: tuple[WordCounts, ...]


def text_files(paths: Iterable[str | Path]) -> list[str]:
    """Put the files inside in the place of each folder, in the order of their names, hidden ones left out.

    `-` stands for standard input.

    Raises:
        DataError: no such file, no right to read it, a folder without files.
    """
    if isinstance(paths, str | bytes | os.PathLike) or not isinstance(paths, Iterable):
        raise InputError(f"the files are {shown(paths)}, expected several paths")
    found: list[str] = []
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise InputError(f"a file is {shown(path)}, expected a path")
        name = os.fspath(path)
        inside = [] if name == "-" or not os.path.isdir(name) else _files_inside(name)
        if not inside and name != "-" and os.path.isdir(name):
            raise DataError("the folder holds no files", file=name)
        for file in inside or [name]:
            if file != "-" and not os.path.exists(file):
                raise DataError("no such file", file=file)
            if file != "-" and not os.access(file, os.R_OK):
                raise DataError("cannot be read: Permission denied", file=file)
            found.append(file)
    return found


def _files_inside(folder: str) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(parent, name) for name in sorted(names) if not name.startswith(".")]
    return found


def count_words(
    files: Iterable[str | Path],
    basic: BasicTokenizer,
    *,
    held_out: Sequence[BasicTokenizer] = (),
    encoding: str = "utf-8",
    workers: int = 1,
    max_words: int = 2_000_000,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> CountedText:
    """Count the words of text files of any size.

    Memory is bounded, whatever the files hold: lines of any length are cut at white space, and when there are more
    than `max_words` different words, the rarest are forgotten until three quarters are left, equally frequent ones
    together.

    Args:
        files: text files; a folder stands for the files in it, `-` for standard input.
        basic: how text becomes words.
        held_out: with tokenizers in it, one hundredth of the text is not counted by `basic` but by each of these: of
            every 200,000 characters, the lines of 2,000 in the middle. Nothing is held out of a text of less than
            100,000 characters.
        encoding: of the files; a byte order mark is dropped.
        workers: how many processes count. More than one are started by `spawn`, so a program that asks for them runs
            its own work under `if __name__ == "__main__"`.
        max_words: most different words to remember.
        on_progress: called with the bytes read so far and those of all files; None for what has no size.

    Raises:
        DataError: a file that is not there or cannot be read, or bytes that are not of the encoding, with the line.
        InputError: `workers` or `max_words` below 1, or a process that ended by itself.
    """
    workers, max_words = count_of("workers", workers, least=1), count_of("max_words", max_words, least=1)
    check_string("encoding", encoding)
    for one in (basic, *held_out):
        if not isinstance(one, BasicTokenizer):
            raise InputError(f"what splits the text is {shown(one)}, expected a BasicTokenizer")
    names = text_files(files)
    size = _size(names)
    if size is not None:
        workers = min(workers, size // _WORTH_A_PROCESS + 1)
    basics = (basic, *held_out)
    totals = [_Total(max_words) for _ in basics]
    chunks = _chunks(names, encoding, hold_out=bool(held_out))
    counted = in_order(chunks, functools.partial(_Counter, basics), workers, doing="counts words")
    with contextlib.closing(counted):
        for done, findings in counted:
            for total, finding in zip(totals, findings, strict=True):
                total.add(finding)
            if on_progress is not None:
                on_progress(done, size)
    words, *others = [total.result() for total in totals]
    return CountedText(words=words, held_out=tuple(others))


def _size(names: list[str]) -> int | None:
    """Add the sizes of the files up; None where one of them has none: a pipe, standard input."""
    stats = [os.stat(name) for name in names if name != "-"]
    if "-" in names or not all(stat.S_ISREG(found.st_mode) for found in stats):
        return None
    return sum(found.st_size for found in stats)


# -- text → chunks ---------------------------------------------------------------------------------


class _Chunk(NamedTuple):
    text: str
    held_out: str
    done: int  # bytes of all files that were read for it and those before


def _chunks(names: list[str], encoding: str, *, hold_out: bool) -> Iterator[_Chunk]:
    parts: list[str] = []
    length = done = 0
    for name in names:
        before = done
        stream = sys.stdin.buffer if name == "-" else None
        for text, offset in decoded_blocks("standard input" if name == "-" else name, encoding, stream=stream):
            parts.append(text)
            length += len(text)
            done = before + offset
            while length >= _CHUNK:
                text = "".join(parts)
                cut = last_gap(text, _CHUNK)
                yield _chunk(text[:cut], done, hold_out)
                parts = [text[cut:]]
                length -= cut
        parts.append("\n")
        length += 1
    yield _chunk("".join(parts), done, hold_out)


def _next_gap(text: str, start: int) -> int:
    """Return where to cut at `start` or soon after: behind a line end, else behind a space, else at `start`."""
    for gap in "\n ":
        place = text.find(gap, start, start + 5 * _HELD_OUT)
        if place >= 0:
            return place + 1
    return min(start, len(text))


def _chunk(text: str, done: int, hold_out: bool) -> _Chunk:
    if not hold_out:
        return _Chunk(text, "", done)
    kept, held = [], []
    end = 0
    for middle in range(_HOLD_OUT_EVERY // 2, len(text), _HOLD_OUT_EVERY):
        start = _next_gap(text, middle)
        kept.append(text[end:start])
        end = _next_gap(text, start + _HELD_OUT)
        held.append(text[start:end])
    kept.append(text[end:])
    return _Chunk("\n".join(kept), "\n".join(held), done)


# -- chunks → counts -------------------------------------------------------------------------------


class _Finding(NamedTuple):
    words: dict[str, int]
    too_long: int


class _Counting:
    """Counts the words of one chunk after another."""

    def __init__(self, basic: BasicTokenizer) -> None:
        self._tokenize = basic.tokenize
        self._words_of: dict[str, list[str]] = {}

    def count(self, text: str) -> _Finding:
        counts: defaultdict[str, int] = defaultdict(int)
        # What stands between white space is tokenized by itself, so it is enough to do so once for equal runs. Only
        # what is white space to every tokenizer is taken as such here; the tokenizer finds the rest.
        runs = Counter(text.replace("\n", " ").replace("\t", " ").replace("\r", " ").split(" "))
        for run, count in runs.items():
            words = self._words_of.get(run)
            if words is None:
                words = self._tokenize(run)
                if len(run) <= _REMEMBERED_LENGTH:
                    if len(self._words_of) == _REMEMBERED:
                        self._words_of.clear()
                    self._words_of[run] = words
            for word in words:
                counts[word] += count
        too_long = sum(counts.pop(word) for word in [word for word in counts if len(word) > LONGEST_WORD])
        return _Finding(dict(counts), too_long)


class _Counter:
    """Counts chunks: the text with the first tokenizer, what is held out with the others."""

    def __init__(self, basics: Sequence[BasicTokenizer]) -> None:
        self._text, *self._held_out = map(_Counting, basics)

    def __call__(self, chunk: _Chunk) -> tuple[int, list[_Finding]]:
        held_out = [counting.count(chunk.held_out) for counting in self._held_out]
        return chunk.done, [self._text.count(chunk.text), *held_out]


class _Total:
    """Adds findings up, in a bounded number of words."""

    def __init__(self, max_words: int) -> None:
        self._words: Counter[str] = Counter()
        self._too_long = self._forgotten = 0
        self._max_words = max_words

    def add(self, finding: _Finding) -> None:
        self._words.update(finding.words)
        self._too_long += finding.too_long
        if len(self._words) > self._max_words:
            self._forget()

    def _forget(self) -> None:
        left = len(self._words)
        rare = 0
        for frequency, different in sorted(Counter(self._words.values()).items()):
            if left <= self._max_words * 3 // 4:
                break
            left -= different
            rare = frequency
        for word in [word for word, count in self._words.items() if count <= rare]:
            self._forgotten += self._words.pop(word)

    def result(self) -> WordCounts:
        return WordCounts(words=self._words, too_long=self._too_long, forgotten=self._forgotten)
