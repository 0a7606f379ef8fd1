"""Files or records in memory → the examples of a task and what the model takes of them, in bounded memory."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from glassbert.data import Record, Skipped, Source, as_records, data_hash, guess_columns, split, to_questions
from glassbert.data.records import refuse
from glassbert.errors import ConfigError, DataError
from glassbert.settings import InputSettings, ReadingSettings, paths_of
from glassbert.tasks import AnyAnswering, AnyTask
from glassbert.tasks.batching import of_good
from glassbert.tasks.task import Columns, Example
from glassbert.text import BertTokenizer
from glassbert.train.events import OnEvent, Progress, silent
from glassbert.train.spool import Spool

Say = Callable[[str], object]
Item = TypeVar("Item")
# Columns of words, in lists or with spaces between them.
_WORDS: Final = ("tokens", "words", "characters", "chars", "token")
# Examples from one event to the next.
_EVERY: Final = 5000


def read_examples(
    task: AnyAnswering,
    source: Source,
    reading: InputSettings,
    *,
    skipped: Skipped | None = None,
    say: Say = lambda _: None,
    labelled: bool = True,
) -> Iterator[Any]:
    """Give the examples of a task that some data holds, one at a time.

    Args:
        task: whose examples.
        source: paths or records; see `glassbert.data.as_records`.
        reading: how files are read, and what their columns mean.
        skipped: counts bad records, which are then passed over; None refuses them.
        say: takes what was guessed about the columns, as one line.
        labelled: whether the examples have labels, and must.

    Raises:
        DataError: no record at all, or a bad one, with file and line.
    """
    records = records_of(source, reading, skipped)
    name = _named(paths_of(source))
    return examples_of(task, records, reading, skipped=skipped, say=say, labelled=labelled, name=name)


def examples_of(
    task: AnyAnswering,
    records: Iterator[Record],
    reading: InputSettings,
    *,
    skipped: Skipped | None = None,
    say: Say = lambda _: None,
    labelled: bool = True,
    name: str | None = None,
) -> Iterator[Any]:
    """Give the examples of a task that some records hold, as `read_examples` does; `name` is that of their source."""
    columns = given_columns(task, reading)
    if task.of_questions:
        records = to_questions(records, skipped=skipped)
    first = next(records, None)
    if first is None:
        raise DataError("holds no records" + (f"; {skipped}" if skipped and skipped.count else ""), file=name)
    if not task.of_questions:
        main = task.main or next(iter(task.roles))
        if not labelled and _is_text(task, first, columns):
            main = next(iter(task.roles))
        roles = {
            role: needed or role == main or (labelled and role in task.learned_from)
            for role, needed in task.roles.items()
            if labelled or role not in task.labels_in
        }
        # A role that stands in for the main one where there is no label, as a text does for words.
        unused = {next(iter(task.roles)), task.main or main} - {main}
        wanted = [role for role, needed in roles.items() if needed]
        optional = [role for role, needed in roles.items() if not needed and role not in unused]
        columns, note = guess_columns(first, wanted, optional=optional, given=columns)
        if note:
            say(note)
    else:
        columns = {role: role for role in task.roles}
    records = chain([first], records)
    if skipped is None:
        yield from task.examples(records, columns, labelled=labelled)
        return
    for record in records:
        try:
            yield from task.examples([record], columns, labelled=labelled)
        except DataError as error:
            refuse(error, skipped)


def _is_text(task: AnyAnswering, first: Record, columns: Columns) -> bool:
    """Whether records without labels hold texts, where a task is about words that a text may stand in for."""
    if next(iter(task.roles)) in columns:
        return True
    return task.main not in columns and not any(
        isinstance(value, list) or name.lower() in _WORDS for name, value in first.values.items()
    )


def records_of(source: Source, reading: InputSettings, skipped: Skipped | None = None) -> Iterator[Record]:
    """Give the records of some data, read as the settings say."""
    return as_records(
        source,
        format=reading.format,
        header=reading.header,
        encoding=reading.encoding,
        quoting=reading.quoting,
        skip_bad=skipped,
    )


def given_columns(task: AnyAnswering, reading: InputSettings) -> Columns:
    """Return the columns that somebody named, by role.

    Raises:
        ConfigError: a role that the task does not have.
    """
    label = reading.label_column if isinstance(reading, ReadingSettings) else None
    columns = task.columns(text=reading.text_column, pair=reading.pair_column, label=label, roles=reading.columns)
    roles: dict[str, str] = {}
    for role, column in columns.items():
        if column != "" and roles.setdefault(str(column), role) != role:
            raise ConfigError(f"the column {column!r} is given for {roles[str(column)]} and for {role}")
    return columns


@dataclasses.dataclass
class Part:
    """Some data, read: for training, validation or test.

    Attributes:
        name: training, validation or test.
        examples: as they stand in the data.
        features: of the examples, each with the number of its own.
        skipped: bad records that were passed over; None where none may be.
        source: what it was read from.
        drawn: whether it is a part of other data, drawn by chance.
    """

    name: str
    source: Source | None
    examples: Spool[Any]
    skipped: Skipped | None
    features: Spool[Any] = dataclasses.field(default_factory=Spool)
    drawn: bool = False

    @classmethod
    def read(
        cls,
        name: str,
        task: AnyTask,
        source: Source,
        reading: ReadingSettings,
        say: Say = lambda _: None,
        on_event: OnEvent = silent,
    ) -> Part:
        """Read all examples.

        Raises:
            DataError: as `read_examples`, and if there is no good example.
        """
        skipped = Skipped() if reading.skip_bad else None
        examples = read_examples(task, source, reading, skipped=skipped, say=say)
        part = cls(name, source, Spool(_counted(examples, f"reading {name} data", None, on_event)), skipped)
        part._check()
        return part

    def split(self, shares: dict[str, float], seed: int) -> dict[str, Part]:
        """Draw parts by chance; this one is among them."""
        parts = {name: Part(name, self.source, Spool(), self.skipped, drawn=True) for name in shares}
        for name, example in split(self.examples, shares, seed=seed):
            parts[name].examples.append(example)
        for name, part in parts.items():
            if not part.examples:
                share = f"a share of {shares[name]:.4g} of {len(self.examples)} examples"
                raise DataError(f"{share} left none for {name}; take a larger share, or another seed")
        return parts

    def encode(self, task: AnyTask, tokenizer: BertTokenizer, max_length: int, on_event: OnEvent = silent) -> None:
        """Turn the examples into features.

        Raises:
            DataError: an example that the task cannot have, with file and line; or none is left.
        """

        def features(examples: Iterable[Example]) -> Iterator[Any]:
            return task.features(examples, tokenizer, max_length=max_length)

        everything = _counted(self.examples, f"tokenizing {self.name} data", len(self.examples), on_event)
        if self.skipped is None:
            self.features = Spool(features(everything))
            return
        good: Spool[Any] = Spool()
        found: Spool[Any] = Spool()
        for examples, ours in of_good(everything, features, self.skipped.add):
            for feature in ours:
                found.append(dataclasses.replace(feature, example=len(good) + feature.example))
            for example in examples:
                good.append(example)
        self.examples, self.features = good, found
        self._check()

    def to_dict(self) -> dict[str, Any]:
        """Return what stands in the record of a run."""
        return {
            "files": [str(path) for path in self._paths or []],
            "sha256": self._hashes,
            "examples": len(self.examples),
            "skipped": self.skipped.count if self.skipped else 0,
        }

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells these data from others: hashes of their files, or of the examples that came from memory."""
        if self._paths is not None:
            return {"sha256": self._hashes, "examples": len(self.examples)}
        whole = hashlib.sha256()
        for example in self.examples:
            whole.update(repr(example).encode("utf-8", "surrogatepass"))
        return {"sha256": [whole.hexdigest()], "examples": len(self.examples)}

    @property
    def _paths(self) -> list[Path] | None:
        return None if self.source is None else paths_of(self.source)

    @functools.cached_property
    def _hashes(self) -> list[str]:
        return [data_hash(path) for path in self._paths or []]

    def _check(self) -> None:
        if not self.examples:
            bad = f"; {self.skipped}" if self.skipped and self.skipped.count else ""
            source = _named(self._paths)
            raise DataError(f"holds no {self.name} examples{bad}", file=source)


def _counted(items: Iterable[Item], doing: str, total: int | None, on_event: OnEvent) -> Iterator[Item]:
    """Give the items and tell how many there were."""
    for done, item in enumerate(items, 1):
        yield item
        if done % _EVERY == 0:
            on_event(Progress(doing=doing, done=done, total=total))


def _named(paths: list[Any] | None) -> str | None:
    return None if paths is None else ", ".join(map(str, paths))
