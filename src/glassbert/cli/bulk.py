"""Texts, files and standard input → answers, on stdout as they come or in a file: what the commands that answer share.

    arguments ─▶ records ─▶ examples ─▶ chunks ─ the model ─▶ answers ─▶ stdout, or pieces ─▶ the file

Only a chunk of the input is in memory. Where chunks begin depends on the input alone, and a chunk is computed as a
whole, so that a run in one go, one that was cut off and went on, and the parts of a run give the same answers to the
last digit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from glassbert.cli.displays import AnsweringDisplay
from glassbert.cli.printing import note, note_cut, note_skipped, print_json
from glassbert.data import FORMATS, Record, Skipped, read_records
from glassbert.data.pieces import Pieces, already, check_free
from glassbert.errors import ConfigError, DataError, InputError
from glassbert.settings import AnswerSettings, InputSettings

if TYPE_CHECKING:
    from glassbert.data.writing import Writer
    from glassbert.infer import Pipeline

# Most inputs, and characters, of a chunk.
CHUNK = 1024
CHARACTERS = 1 << 22
# The same where answers are as large as vectors of all tokens.
_LARGE_CHUNK: Final = 128
_LARGE_CHARACTERS: Final = 1 << 15
# Inputs of the first chunk whose answers somebody waits for; each further one has twice as many.
_FIRST: Final = 32
_STDIN: Final = "-"
# What an answer is shown with, of all that its input holds. A context, which many questions share, is not.
_SHOWN: Final = ("id", "text", "pair", "negative", "question", "choices")

# The flags that say what goes with each input.
_FLAGS: Final = {"pair": "--pair", "context": "--context", "choices": "--choice"}

# Makes the lines for a person of an example, its answer and what stands for its place.
Lines = Callable[[Any, Any, list[str]], Iterable[str]]


class Given(NamedTuple):
    """What is to be answered: texts, or files, of which `-` is standard input."""

    texts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class Chunk(NamedTuple):
    """Some inputs that are computed together.

    Attributes:
        number: from 0.
        items: examples, and errors in the place of bad ones that are passed over.
        blank: blank lines that stand there.
    """

    number: int
    items: list[Any]
    blank: int


@dataclasses.dataclass(kw_only=True)
class Totals:
    """What there is to say of a run when it has ended."""

    items: int = 0
    rows: int = 0
    cut: int = 0
    blank: int = 0
    skipped: Skipped = dataclasses.field(default_factory=Skipped)

    def add(self, said: Mapping[str, Any]) -> None:
        """Add what is said of a piece."""
        for name in ("items", "rows", "cut", "blank"):
            setattr(self, name, getattr(self, name) + said[name])
        for message in said["errors"]:
            self.skipped.add(DataError(message))
        self.skipped.count += said["bad"] - len(said["errors"])


def answer_all(
    folder: Path,
    arguments: Sequence[str] | None,
    settings: AnswerSettings,
    *,
    lines: Lines,
    task: str | None = None,
    options: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
    json: bool = False,
) -> None:
    """Answer what the user gave.

    Args:
        folder: of the model.
        arguments: texts, or names of files; none for standard input.
        settings: how they are read, and where the answers go.
        lines: makes what a person reads of an answer.
        task: what to say; None for what the model has learned.
        options: of the answers, which a command has flags for.
        more: by role what goes with each input, such as a second text.
        json: whether to print JSON.

    Raises:
        GlassbertError: whatever is wrong with the input, the model, the options or the file of the answers.
    """
    given = what_is_given(arguments, settings)
    out = None if settings.out is None else Path(settings.out)
    if out is not None:
        _check_out(out, given, settings)
    if settings.part is not None and _STDIN in given.files:
        raise InputError("part is given, and standard input cannot be counted before it is read; name a file")
    more = {name: value for name, value in (more or {}).items() if value is not None}
    if "pair" in more and settings.pair_column is not None:
        raise InputError("pair and pair_column are given; the second text is one or the other")
    if given.files and _STDIN not in given.files:
        # What cannot be read at all is told before the model is loaded.
        next(_records(given, settings, "text", {}, Skipped(), lambda: None), None)
    options = {name: value for name, value in (options or {}).items() if value is not None}
    if twice := options.keys() & settings.options.keys():
        raise ConfigError(f"{min(twice)} is given twice, once as --option")

    from glassbert.infer import pipeline
    from glassbert.infer.choosing import OF_SEVERAL

    if task in OF_SEVERAL:
        raise InputError(
            f"{task} takes several texts at once, and not one after the other: glassbert rank, or in Python "
            f"pipeline({task!r}, model)"
        )
    pipe = pipeline(task, model=folder, engine=settings.engine)
    pipe.task = pipe.task.chosen({**options, **settings.options})
    if given.files and (strange := [role for role in more if role not in pipe.task.roles]):
        reads = ", ".join(role for role in pipe.task.roles if role not in pipe.task.labels_in)
        raise InputError(f"{pipe.task.name} has no use for {_FLAGS[strange[0]]}; it reads {reads}")
    run = _Run(pipe, given, settings, more)
    if out is None:
        run.to_stdout(lines, json=json)
    else:
        run.to_file(folder, out, json=json)


def what_is_given(arguments: Sequence[str] | None, settings: InputSettings) -> Given:
    """Tell texts from files.

    Raises:
        InputError: nothing, or texts beside files.
        DataError: what is a file's name by its ending, or must be one, and is none.
    """
    if not arguments:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("nothing to answer: give TEXT..., FILE..., or - for standard input")
        return Given(files=(_STDIN,))
    texts: list[str] = []
    files: list[str] = []
    for one in arguments:
        is_file = one == _STDIN or settings.format is not None or _ending(one) in (*FORMATS, ".txt")
        (files if is_file else texts).append(one)
        if is_file and one != _STDIN and not os.path.exists(one):
            hint = "a text that ends like the name of a file goes through standard input (-)"
            raise DataError(f"no such file; {hint}", file=one)
    if texts and files:
        raise InputError(f"{files[0]} is a file and {texts[0][:40]!r} a text; give files or texts, not both")
    if texts:
        usual = InputSettings()
        for name in ("text_column", "pair_column", "columns", "header", "quoting"):
            if getattr(settings, name) != getattr(usual, name):
                raise InputError(f"{name} is given, which is about files, and {texts[0][:40]!r} is a text")
    if files.count(_STDIN) > 1:
        raise InputError("standard input (-) is given twice, and can be read once")
    return Given(tuple(texts), tuple(files))


def _ending(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).suffix


def _check_out(out: Path, given: Given, settings: AnswerSettings) -> None:
    from glassbert.data.writing import writer_of
    from glassbert.errors import OutputExistsError

    writer_of(out)
    check_free(out)
    for name in given.files:
        if name != _STDIN and out.exists() and os.path.samefile(name, out):
            raise InputError(f"out is {out}, which is also read; choose another file")
    for text in given.texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"the text {text[:40]!a} cannot be written to a file: {error.reason}") from None
    if out.exists() and not settings.overwrite and not out.with_name(f"{out.name}.parts").exists():
        raise OutputExistsError(already(out))


def _records(
    given: Given,
    settings: AnswerSettings,
    main: str,
    more: Mapping[str, Any],
    skipped: Skipped | None,
    on_blank: Callable[[], object],
) -> Iterator[Record]:
    """Give the records of files, with `more` in each; a line of a text file stands in the column `main`."""
    for name in given.files:
        is_stdin = name == _STDIN
        format = settings.format or ("txt" if is_stdin or _ending(name) == ".txt" else None)
        records = read_records(
            "standard input" if is_stdin else name,
            format=format,
            header=settings.header,
            encoding=settings.encoding,
            quoting=settings.quoting,
            skip_bad=skipped,
            stream=sys.stdin.buffer if is_stdin else None,
            on_blank=on_blank,
        )
        for record in records:
            if format == "txt":
                record.values = {main: record.values["text"]}
            for role, value in more.items():
                if role in record.values or "paragraphs" in record.values:
                    raise record.error(f"has {role} of its own; leave {_FLAGS[role]} out")
                record.values[role] = value
            yield record


@dataclasses.dataclass(kw_only=True)
class _Noted(Skipped):
    """Keeps what is passed over, so that it can take its place among the good."""

    waiting: list[DataError] = dataclasses.field(default_factory=list)

    def add(self, error: DataError) -> None:
        super().add(error)
        self.waiting.append(error)

    def take(self) -> list[DataError]:
        found, self.waiting = self.waiting, []
        return found


class _Run:
    """One command at work."""

    def __init__(self, pipe: Pipeline, given: Given, settings: AnswerSettings, more: Mapping[str, Any]) -> None:
        self.pipe, self.given, self.settings, self.more = pipe, given, settings, more
        self.totals = Totals()
        self.blank = 0
        self._said: set[str] = set()

    # -- input → chunks --------------------------------------------------------------------------------

    def _items(self) -> Iterator[Any]:
        """Give the examples in order, and the errors of bad ones where these are passed over."""
        from glassbert.infer.inputs import windows_of
        from glassbert.train.examples import examples_of

        task, settings = self.pipe.task, self.settings
        main = next(iter(task.roles))
        self.blank = 0
        if self.given.texts:
            inputs = [{main: text, **self.more} for text in self.given.texts]
            yield from chain.from_iterable(windows_of(task, inputs, alone=False))
            return
        skipped = _Noted() if settings.skip_bad else None
        records = _records(self.given, settings, main, self.more, skipped, self._count_blank)
        if "pair" in self.more:
            settings = dataclasses.replace(settings, pair_column="pair")
        names = ", ".join("standard input" if name == _STDIN else name for name in self.given.files)
        examples = examples_of(task, records, settings, skipped=skipped, say=self._say, labelled=False, name=names)
        for example in examples:
            yield from skipped.take() if skipped else ()
            yield example
        yield from skipped.take() if skipped else ()

    def _count_blank(self) -> None:
        self.blank += 1

    def _say(self, message: str) -> None:
        if message not in self._said:  # the input may be read twice
            self._said.add(message)
            note(message)

    def _chunks(self, sizes: Iterator[int] | None = None, *, all_good: bool = True) -> Iterator[Chunk]:
        """Give the input in chunks.

        Args:
            sizes: most inputs of each; None for the usual.
            all_good: whether a bad record leaves those before it in its chunk unanswered.
        """
        most, characters = _limits(self.pipe)
        limits = sizes or iter(lambda: most, None)
        limit = next(limits)
        number = size = blank = 0
        items: list[Any] = []
        rest = self._items()
        while True:
            try:
                item = next(rest, None)
            except DataError:
                if items and not all_good:
                    yield Chunk(number, items, self.blank - blank)
                raise
            length = 0 if item is None else _length(item)
            if items and (item is None or len(items) == limit or size + length > characters):
                yield Chunk(number, items, self.blank - blank)
                number, size, blank, items = number + 1, 0, self.blank, []
                limit = next(limits)
            if item is None:
                return
            items.append(item)
            size += length

    # -- chunks → answers ------------------------------------------------------------------------------

    def _answers(self, items: Sequence[Any]) -> list[Any]:
        """Answer the inputs of a chunk; an error stands in the place of what has no answer."""
        good = [item for item in items if not isinstance(item, DataError)]
        try:
            found = iter(self.pipe.answer(good) if good else ())
            return [item if isinstance(item, DataError) else next(found) for item in items]
        except DataError:
            if not self.settings.skip_bad:
                raise
        checked = [item if isinstance(item, DataError) else self._fault(item) or item for item in items]
        if checked == list(items):
            self.pipe.answer(good)  # what is wrong with all of them is told
        return self._answers(checked)

    def _fault(self, example: Any) -> DataError | None:
        pipe = self.pipe
        try:
            list(pipe.task.features([example], pipe.tokenizer, max_length=pipe.max_length, labelled=False))
        except DataError as error:
            return error
        return None

    def _row(self, example: Any, answer: Any) -> dict[str, Any]:
        return {**self._place(example), **_inputs(example), **answer.to_dict()}

    def _place(self, example: Any) -> dict[str, Any]:
        if not self.given.files:
            return {}
        file = {"file": example.file} if len(self.given.files) > 1 else {}
        return {**file, **({"position": example.position} if example.line is None else {"line": example.line})}

    # -- answers → stdout ------------------------------------------------------------------------------

    def to_stdout(self, lines: Lines, *, json: bool) -> None:
        """Print each answer as it comes."""
        with AnsweringDisplay() as display:
            total = self._total(display)
            display.begin(0)
            # Those who read along do not wait for a whole chunk.
            sizes = _growing(_limits(self.pipe)[0])
            for chunk in self._chunks(sizes, all_good=False):
                for item, answer in zip(chunk.items, self._answers(chunk.items), strict=True):
                    if isinstance(answer, DataError):
                        self.totals.skipped.add(answer)
                        continue
                    self.totals.rows += 1
                    self.totals.cut += _is_cut(answer)
                    if json:
                        print_json(self._row(item, answer))
                    else:
                        for line in lines(item, answer, [str(one) for one in self._place(item).values()]):
                            print(line)
                if sys.stdout is not None:  # a process may have none
                    sys.stdout.flush()
                self.totals.items += len(chunk.items)
                self.totals.blank += chunk.blank
                display.show(self.totals.items, total)
        self._close()
        if not self.totals.rows:
            raise InputError("nothing was answered; all records are bad")

    def _close(self) -> None:
        """Say what there is to know of the input."""
        totals, pipe = self.totals, self.pipe
        note_skipped(totals.skipped)
        if totals.blank:
            note(f"{totals.blank:,} blank {'line was' if totals.blank == 1 else 'lines were'} passed over")
        note_cut(totals.cut, totals.rows, pipe.task.text_limit(pipe.max_length))

    def _total(self, display: AnsweringDisplay) -> int | None:
        """Count the records, where somebody looks and they can be read twice."""
        if self.given.texts:
            return len(self.given.texts)
        if not display.console.is_interactive or not all(map(os.path.isfile, self.given.files)):
            return None
        try:
            return sum(1 for _ in _records(self.given, self.settings, "text", {}, Skipped(), lambda: None))
        except DataError:
            return None  # told when it is read in earnest

    # -- answers → a file ------------------------------------------------------------------------------

    def to_file(self, folder: Path, out: Path, *, json: bool) -> None:
        """Write the answers piece by piece, or what is missing of them.

        Raises:
            OutputExistsError, ConfigError, SaveError, DataError: as `Pieces`.
        """
        from glassbert.data.writing import writer_of

        writer = writer_of(out, vectors=_has_vectors(self.pipe))
        pieces = Pieces(out, self._plan(folder, out), overwrite=self.settings.overwrite)
        if pieces.is_finished:
            note(f"{out} is whole already")
            pieces.remove()
            return
        if pieces.done:
            note(f"going on with {pieces.folder}; pieces that are there: {len(pieces.done)}")
        try:
            numbers, kinds = self._write(pieces, writer)
            pieces.finish(numbers, lambda files, target: writer.join(files, target, kinds))
        except BaseException:
            if pieces.done:
                note(f"what was done stands in {pieces.folder}; the same command goes on with it")
            pieces.leave()
            raise
        self._close()
        if writer.vectors and self.totals.skipped.count:
            note("a row of NaN stands for each of the skipped records")
        if json:
            bad = self.totals.skipped.count
            print_json({"out": str(out), "answers": self.totals.rows, "skipped": bad, "cut": self.totals.cut})
        else:
            note(f"{self.totals.rows:,} {'answer' if self.totals.rows == 1 else 'answers'} in {out}")

    def _plan(self, folder: Path, out: Path) -> dict[str, Any]:
        from glassbert import __version__
        from glassbert.checkpoint import model_fingerprint

        settings = self.settings.to_dict()
        reading = ("text_column", "pair_column", "columns", "format", "header", "encoding", "quoting", "part")
        return {
            "glassbert": __version__,
            "the SHA-256 of the model": model_fingerprint(str(folder)),
            "the engine": self.pipe.runner.name,
            "the task": repr(self.pipe.task),
            "what goes with each input": dict(self.more),
            **{name: settings[name] for name in reading},
            "the number of files": len(self.given.files),
            "the ending of out": out.suffix.lower(),
            "the inputs of a piece": list(_limits(self.pipe)),
        }

    def _write(self, pieces: Pieces, writer: Writer) -> tuple[list[int], Mapping[str, Any]]:
        """Write the pieces that are this run's; return their numbers and the kinds of their values."""
        number, count = self.settings.share
        mine: range | None = None
        if count > 1:
            chunks = sum(1 for _ in self._chunks())
            mine = range(chunks * (number - 1) // count, chunks * number // count)
        kinds: Mapping[str, Any] | None = None
        numbers: list[int] = []
        with AnsweringDisplay() as display:
            total = self._total(display) if mine is None else None
            has_begun = False
            for chunk in self._chunks():
                if mine is not None and chunk.number >= mine.stop and (mine or kinds is not None):
                    break
                if mine is not None and chunk.number not in mine:
                    if not mine and kinds is None:  # an empty part has the columns of the others
                        kinds = self._kinds_of(zip(chunk.items, self._answers(chunk.items), strict=True), writer)
                    continue
                digest = _digest(chunk.items)
                said = pieces.facts(chunk.number, digest)
                if said is None:
                    if not has_begun:
                        display.begin(self.totals.items)
                        has_begun = True
                    said = self._write_piece(pieces, writer, chunk, digest)
                numbers.append(chunk.number)
                self.totals.add(said)
                if kinds is not None and said["kinds"] is not None and kinds != said["kinds"]:
                    raise DataError("has other columns than those before", file=pieces.folder / str(chunk.number))
                kinds = kinds if kinds is not None else said["kinds"]
                display.show(self.totals.items, total)
        if kinds is None:
            note_skipped(self.totals.skipped)
            raise InputError("nothing was answered; all records are bad")
        if not numbers:  # fewer chunks than parts
            found = kinds
            pieces.write(0, lambda file: writer.write(file, [], found), {"input": ""})
            numbers = [0]
        return numbers, kinds

    def _write_piece(self, pieces: Pieces, writer: Writer, chunk: Chunk, digest: str) -> dict[str, Any]:
        answers = self._answers(chunk.items)
        pairs = list(zip(chunk.items, answers, strict=True))
        bad = [answer for answer in answers if isinstance(answer, DataError)]
        kinds = self._kinds_of(pairs, writer)
        rows = map(_vector, answers) if writer.vectors else self._rows(pairs, kinds or {})
        said = {
            "input": digest,
            "items": len(answers),
            "rows": len(answers) - len(bad),
            "cut": sum(map(_is_cut, answers)),
            "blank": chunk.blank,
            "bad": len(bad),
            "errors": [str(error) for error in bad[: Skipped().most]],
            "kinds": kinds,
        }
        pieces.write(chunk.number, lambda file: writer.write(file, rows, kinds or {}), said)
        return said

    def _kinds_of(self, pairs: Iterable[tuple[Any, Any]], writer: Writer) -> dict[str, Any] | None:
        """Return the kinds of the values of a row, or the size of a vector; None where nothing has an answer."""
        for item, answer in pairs:
            if not isinstance(answer, DataError):
                if writer.vectors:
                    return {"vector": len(_vector(answer))}
                known = {**self._place(item), **_inputs(item)}
                return {**{name: _kind(value) for name, value in known.items()}, **answer.kinds()}
        return None

    def _rows(self, pairs: Iterable[tuple[Any, Any]], kinds: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for item, answer in pairs:
            if not isinstance(answer, DataError):
                row = self._row(item, answer)
                if row.keys() != kinds.keys():
                    raise item.error(
                        f"gives {', '.join(row)}, but those before {', '.join(kinds)}; answer it by itself"
                    )
                yield row


def _limits(pipe: Pipeline) -> tuple[int, int]:
    """Return the most inputs and characters of a chunk."""
    from glassbert.tasks import FeatureExtraction

    if isinstance(pipe.task, FeatureExtraction) and pipe.task.pooling is None:
        return _LARGE_CHUNK, _LARGE_CHARACTERS
    return CHUNK, CHARACTERS


def _growing(most: int) -> Iterator[int]:
    size = min(_FIRST, most)
    while True:
        yield size
        size = min(2 * size, most)


def _has_vectors(pipe: Pipeline) -> bool:
    """Whether each answer is one vector."""
    from glassbert.tasks import FeatureExtraction, SentenceEmbedding

    task = pipe.task
    if isinstance(task, FeatureExtraction):
        return task.pooling is not None and (len(task.layers) == 1 or task.combine != "stack")
    return isinstance(task, SentenceEmbedding)


def _vector(answer: Any) -> Any:
    """Return an answer's vector; None for an error.

    Raises:
        InputError: it has several.
    """
    from glassbert.tasks import Embedding

    if isinstance(answer, DataError):
        return None
    if not isinstance(answer, Embedding):
        return answer.vectors.numpy()
    if answer.pair is not None:
        raise InputError(
            "an .npy file holds one vector for each input, and the texts come in pairs; write .jsonl or .parquet, or "
            "leave the second texts out (--column pair=)"
        )
    return answer.vector.numpy()


def _values(example: Any) -> dict[str, Any]:
    return {field.name: getattr(example, field.name) for field in dataclasses.fields(example)}


def _inputs(example: Any) -> dict[str, Any]:
    """Return what an answer is shown with."""
    values = _values(example)
    found = {name: values[name] for name in _SHOWN if values.get(name) is not None}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _kind(value: Any) -> Any:
    return ["string"] if isinstance(value, list) else "int64" if isinstance(value, int) else "string"


def _length(item: Any) -> int:
    """Return about how many characters an input has."""
    if isinstance(item, DataError):
        return 0
    parts = (value if isinstance(value, tuple) else (value,) for value in _values(item).values())
    return sum(len(one) for one in chain.from_iterable(parts) if isinstance(one, str))


def _digest(items: Iterable[Any]) -> str:
    """Return a SHA-256 of inputs; the names of their files are left out."""
    whole = hashlib.sha256()
    for item in items:
        told = str(item) if isinstance(item, DataError) else repr(sorted((_values(item) | {"file": ""}).items()))
        whole.update(told.encode("utf-8", "surrogatepass"))
        whole.update(b"\n")
    return whole.hexdigest()


def _is_cut(answer: Any) -> bool:
    """Whether a text was cut; none is where windows hold all of it."""
    return cast(int, getattr(answer, "cut", 0)) > 0
