"""Raw text → shards of sequences for pretraining.

    files ─ blocks ─▶ text ─ (a process) ─▶ documents ─▶ sentences ─▶ ids ─▶ pairs ─▶ Rows ─ 16 blocks ─▶ a shard

What is made of a block depends on its text, its number and the settings, so any number of processes, and of parts on
several machines, makes the same files; and a run that was killed goes on with the first shard that is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from glassbert import __version__
from glassbert.data.documents import (
    BLOCK,
    LONGEST,
    Block,
    Corpus,
    SentenceSplitter,
    documents_of,
    guess_sentences,
)
from glassbert.data.masking import IGNORED, Masking, mask
from glassbert.data.pairs import Document, Example, ordered_pairs, sentence_pairs, stretches
from glassbert.data.processes import cores, in_order
from glassbert.data.records import Skipped
from glassbert.data.sampling import hashed
from glassbert.data.shards import (
    FORMAT,
    HELD_OUT,
    MANIFEST,
    PARTS,
    PLAN,
    SHARD,
    SHARD_NAME,
    TOKENIZER,
    TRAINING,
    Rows,
    Shards,
    check_shard,
    tokenizer_settings,
)
from glassbert.data.words import text_files
from glassbert.errors import CheckpointError, ConfigError, DataError, OutputExistsError, SaveError
from glassbert.files import (
    Kind,
    check_output,
    fingerprint,
    new_file,
    new_folder,
    read_json,
    remove_abandoned,
    remove_folder,
    write_json,
)
from glassbert.settings import PrepareSettings, paths_of
from glassbert.text import BertTokenizer, BertTokenizerFast
from glassbert.text.vocabulary import vocabulary_hash

# Blocks of a shard where the text is read once; with more copies it has fewer, since it is made in memory as a whole.
# What a killed run loses is a shard at most.
_BLOCKS: Final = 16
# In an id this bit says that the token goes on with a word; it is taken off before anything is written.
_INSIDE: Final = 1 << 30
# What is counted, beside what is counted by part.
_COUNTS: Final = ("characters", "divided", "sentences", "long sentences", "tokens", "unknown tokens")
# Sequences that are masked together.
_MASKED_AT_ONCE: Final = 4096
# Settings that change nothing in what is written.
_FREE: Final = ("texts", "vocab", "out", "workers", "part", "overwrite")
# Files and folders under the names that they have while they are written; a process that is killed leaves them.
_UNFINISHED_FILE: Final = re.compile(rf"\.({re.escape(PLAN)}|{re.escape(MANIFEST)})\.\d+\.part")
_UNFINISHED_FOLDER: Final = re.compile(rf"{SHARD_NAME.pattern}|{TOKENIZER}")
_UNFINISHED: Final = re.compile(rf"{_UNFINISHED_FILE.pattern}|\.({_UNFINISHED_FOLDER.pattern})\.\w{{8}}\.part")
_NOTHING: Final = Kind("shards", re.compile(r"(?!)"))


def prepare(
    settings: PrepareSettings,
    *,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
    say: Callable[[str], object] = lambda message: None,
) -> Shards | None:
    """Make shards for pretraining of raw text.

    Args:
        settings: what, of what, where to.
        on_progress: called with the bytes read so far and those of all files.
        say: takes what the user should know, as one line.

    Returns:
        the shards, opened; None where other parts of them are not made yet.

    Raises:
        ConfigError: settings that mean nothing together; or the folder holds shards of other settings.
        DataError: no text, or a file that cannot be read, with file and line or offset.
        VocabularyError: no vocabulary, or one without a special token.
        OutputExistsError: the folder holds other things than shards.
        SaveError: the disk refused a write; shards that stand are whole.
    """
    paths = [str(path) for path in paths_of(settings.texts) or ()]
    files = text_files(paths)
    if "-" in files:
        raise ConfigError("texts is standard input (-); a corpus is read from files, which a run can go on with")
    for path in paths:
        if Path(path).is_dir() and Path(settings.out).resolve().is_relative_to(Path(path).resolve()):
            raise ConfigError(f"out is {settings.out}, which lies in {path} and would be read with it; choose another")
    for file in files:
        if not Path(file).is_file():
            raise DataError("is no regular file; a corpus is read more than once", file=file)
    corpus = Corpus(
        files=files,
        documents=settings.documents,
        start=settings.document_start,
        text_column=settings.text_column,
        header=settings.header,
        encoding=settings.encoding,
        skipped=Skipped() if settings.skip_bad else None,
    )
    _ = corpus.boundary  # a wrong expression is told now
    vocab = Path(settings.vocab)
    tokenizer = BertTokenizerFast(vocab) if vocab.is_file() else BertTokenizerFast.from_pretrained(settings.vocab)
    settings = _told(settings, corpus, say)
    _Maker(settings, tokenizer)  # what is missing for the work is told now
    made = _Making(settings, tokenizer, check_folder(settings, [*files, vocab]))
    made.begin(say)
    made.run(corpus, on_progress, say)
    if corpus.skipped is not None and corpus.skipped.count:
        for line in str(corpus.skipped).splitlines():
            say(line)
    return made.finish(say)


def check_folder(settings: PrepareSettings, needed: Sequence[str | Path]) -> Path:
    """Return the folder to write to; with `overwrite` what is in it goes, if it is nothing but shards.

    Raises:
        OutputExistsError: it holds other things, or something that is needed.
        SaveError: it cannot be written to.
    """
    out = Path(settings.out)
    entries = sorted(out.iterdir()) if out.is_dir() else []
    if not entries:
        return check_output(out, overwrite=False, keep=needed)
    strange = [one for one in entries if not _is_own(one)]
    # Before the plan there is nothing but what a process that was killed has left of it.
    if strange or not any(one.name in (PLAN, MANIFEST) or _is_unfinished(one) for one in entries):
        found = (strange or entries)[0].name
        raise OutputExistsError(f"{out} holds {found}, so no shards alone; choose another folder")
    if settings.overwrite:
        full = out.resolve()
        for one in needed:
            if Path(one).resolve().is_relative_to(full):
                raise OutputExistsError(f"{out} holds {one}, which would be lost; choose another folder")
        remove_folder(out)
    return out


def _is_own(entry: Path) -> bool:
    return (
        entry.name in (MANIFEST, PLAN, TOKENIZER)
        or SHARD_NAME.fullmatch(entry.name) is not None
        or _is_unfinished(entry)
    )


def _is_unfinished(entry: Path) -> bool:
    return _UNFINISHED.fullmatch(entry.name) is not None


def _told(settings: PrepareSettings, corpus: Corpus, say: Callable[[str], object]) -> PrepareSettings:
    """Return settings in which nothing is left to be guessed.

    Raises:
        DataError: there is no text, or it cannot be read from the first.
    """
    # What is bad in it is told and counted when it is read in earnest.
    first = next(dataclasses.replace(corpus, skipped=corpus.skipped and Skipped()).blocks(), None)
    if first is None:
        raise DataError("the corpus holds no text", file=", ".join(corpus.files[:3]))
    if settings.sentences != "auto":
        return settings
    guessed = guess_sentences(first.texts)
    meaning = "each line is a sentence" if guessed == "lines" else "sentences are found within lines and across them"
    say(f"sentences: {guessed} ({meaning}), guessed from the first lines")
    return dataclasses.replace(settings, sentences=guessed)


# -- a block → sequences ---------------------------------------------------------------------------


class _Made(NamedTuple):
    """What one block has become: sequences by part, and counts."""

    rows: dict[str, Rows]
    counts: Counter[str]


class _Maker:
    """Makes sequences of blocks; there is one in each process."""

    def __init__(self, settings: PrepareSettings, tokenizer: BertTokenizer) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._split = SentenceSplitter(settings.sentences, settings.language)
        self._boundary = Corpus(files=(), documents=settings.documents, start=settings.document_start).boundary
        self._room = settings.max_length - (2 if settings.objective == "mlm" else 3)
        self._dtype = np.dtype(np.uint16 if max(tokenizer.get_vocab().values()) < 1 << 16 else np.uint32)
        self._masking = masking_of(tokenizer, settings.masked_share, settings.max_predictions, settings.whole_words)

    def __call__(self, job: tuple[int, Block]) -> _Made:
        number, block = job
        counts = Counter(dict.fromkeys(_COUNTS, 0))
        counts["divided"] = block.divided
        texts = []
        for text, is_record in zip(block.texts, block.records, strict=True):
            found, divided = documents_of(text, None if is_record else self._boundary)
            texts += found
            counts["divided"] += divided
        documents = self._documents(texts, counts)
        # Which documents are held out does not depend on anything else that is drawn.
        chance = random.Random(f"{self._settings.seed} {number} held out")
        aside = [chance.random() < self._settings.held_out for _ in documents]
        rows = {}
        for part, held_out in ((TRAINING, False), (HELD_OUT, True)):
            own = [document for document, one in zip(documents, aside, strict=True) if one == held_out]
            counts[f"{part} documents"] = len(own)
            # Held-out text is read once: it is for measuring.
            copies = 1 if held_out else self._settings.copies
            rows[part] = Rows.joined([self._copy(own, counts, number, part, copy) for copy in range(copies)])
        return _Made(rows, counts)

    def _documents(self, texts: Sequence[str], counts: Counter[str]) -> list[Document]:
        """Return the documents as ids; empty ones are left out."""
        sentences = [self._split(text) for text in texts]
        everything = list(chain.from_iterable(sentences))
        pieces = self._tokenizer.pieces(everything, details=self._settings.segmented)
        unknown = self._tokenizer.unk_token_id
        found: list[Document] = []
        rest = iter(pieces)
        for text, own in zip(texts, sentences, strict=True):
            document = []
            for piece in islice(rest, len(own)):
                ids = piece.ids
                counts["tokens"] += len(ids)
                counts["unknown tokens"] += ids.count(unknown)
                if piece.offsets is not None:
                    ids = [
                        index | _INSIDE if before is not None and before[1] == place[0] else index
                        for index, place, before in zip(ids, piece.offsets, [None, *piece.offsets[:-1]], strict=True)
                    ]
                # One that fills a sequence alone, and more, is read on in the next.
                document += [ids[begin : begin + self._room] for begin in range(0, len(ids), self._room)]
                counts["long sentences"] += len(ids) > self._room
            counts["characters"] += len(text)
            counts["sentences"] += len(own)
            if document:
                found.append(document)
        return found

    def _copy(self, documents: Sequence[Document], counts: Counter[str], number: int, part: str, copy: int) -> Rows:
        """Make the sequences of one reading of some documents."""
        examples = list(self._examples(documents, random.Random(f"{self._settings.seed} {number} {part} {copy}")))
        counts[f"{part} sequences"] += len(examples)
        counts[f"{part} label 1"] += sum(example.label for example in examples)
        keys = hashed(self._settings.seed, number, PARTS.index(part), copy, np.arange(len(examples)))
        return self._rows(examples, keys)

    def _examples(self, documents: Sequence[Document], rng: random.Random) -> Iterator[Example]:
        room, short = self._room, self._settings.short_sequences
        for place, document in enumerate(documents):
            if self._settings.objective == "nsp":
                yield from sentence_pairs(documents, place, rng, room=room, short=short)
            elif self._settings.objective == "sop":
                yield from ordered_pairs(document, rng, room=room, short=short)
            else:
                yield from stretches(document, rng, room=room, short=short)

    def _rows(self, examples: Sequence[Example], keys: Any) -> Rows:
        cls, sep = [self._tokenizer.cls_token_id], [self._tokenizer.sep_token_id]
        flat = chain.from_iterable(
            chain(cls, one.first, sep) if one.second is None else chain(cls, one.first, sep, one.second, sep)
            for one in examples
        )
        ids = np.fromiter(flat, dtype=np.int64)
        firsts = np.array([len(one.first) + 2 for one in examples], np.int64)
        others: dict[str, Any] = {}
        lengths = firsts
        if self._settings.objective != "mlm":
            lengths = firsts + np.array([len(one.second or ()) + 1 for one in examples], np.int64)
            others["seconds"] = firsts.astype(np.uint16)
            others["labels"] = np.array([one.label for one in examples], np.uint8)
        if self._settings.segmented:
            others["inside"] = (ids & _INSIDE) != 0
            ids &= _INSIDE - 1
        if self._settings.static_masks:
            ids, masked = self._masked(ids, lengths, keys, others.get("inside"))
            others |= masked
        return Rows(ids=ids.astype(self._dtype), lengths=lengths, **others)

    def _masked(self, ids: Any, lengths: Any, keys: Any, inside: Any) -> tuple[Any, dict[str, Any]]:
        """Choose the tokens to guess once and for all."""
        ends = np.cumsum(lengths)
        labels = np.full(len(ids), IGNORED, np.int64)
        seen = ids.copy()
        for begin in range(0, len(lengths), _MASKED_AT_ONCE):
            own = slice(begin, begin + _MASKED_AT_ONCE)
            tokens = slice(ends[begin] - lengths[begin], ends[own][-1])
            words = inside[tokens] if inside is not None and self._settings.whole_words else None
            seen[tokens], labels[tokens] = mask(ids[tokens], lengths[own], keys[own], self._masking, words)
        chosen = np.flatnonzero(labels != IGNORED)
        sequence = np.searchsorted(ends, chosen, side="right")
        return seen, {
            "masked": np.bincount(sequence, minlength=len(lengths)).astype(np.int64),
            "masked_places": (chosen - (ends - lengths)[sequence]).astype(np.uint16),
            "masked_ids": labels[chosen].astype(self._dtype),
        }


def masking_of(tokenizer: BertTokenizer, share: float | None, most: int | None, whole_words: bool) -> Masking:
    """Return how the tokens to guess are chosen, for a tokenizer's vocabulary."""
    vocabulary = tokenizer.get_vocab()
    size = max(vocabulary.values()) + 1
    special = np.zeros(size, dtype=bool)
    special[[tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id]] = True
    inside = None
    if whole_words:
        inside = np.zeros(size, dtype=bool)
        inside[[index for token, index in vocabulary.items() if token.startswith("##")]] = True
    return Masking(0.15 if share is None else share, most, special, tokenizer.mask_token_id, inside)


# -- sequences → shards ----------------------------------------------------------------------------


class _Making:
    """One run: what it was asked for, and which shards it makes."""

    def __init__(self, settings: PrepareSettings, tokenizer: BertTokenizer, out: Path) -> None:
        self._settings, self._tokenizer, self._out = settings, tokenizer, out
        self._blocks = max(1, _BLOCKS // settings.copies)
        self._plan = {
            "format": FORMAT,
            "settings": {name: value for name, value in settings.to_dict().items() if name not in _FREE},
            "vocabulary": {"tokens": len(tokenizer), "sha256": vocabulary_hash(tokenizer.get_vocab())},
            "tokenizer": tokenizer_settings(tokenizer),
            "characters of a block": BLOCK,
            "characters of a document": LONGEST,
        }
        self._shards = 0

    def begin(self, say: Callable[[str], object]) -> None:
        """Write the plan, or compare with the one that is there.

        Raises:
            ConfigError: it is another one.
        """
        plan = self._out / PLAN
        is_alone, done = self._settings.part is None, len(self._found()) if self._out.is_dir() else 0
        self._out.mkdir(parents=True, exist_ok=True)
        if is_alone and not done and _read(plan) != self._plan:
            # A run that made nothing binds nobody; such as one that found the encoding to be another.
            if (self._out / TOKENIZER).is_dir():
                remove_folder(self._out / TOKENIZER)
            plan.unlink(missing_ok=True)
        # Another part may be doing the same.
        if not plan.exists():
            with contextlib.suppress(OutputExistsError), new_file(plan) as part:
                write_json(part, self._plan)
        before, now = _named(read_json(plan)), _named(self._plan)
        for name in dict.fromkeys([*before, *now]):
            if before.get(name) != now.get(name):
                raise ConfigError(
                    f"{self._out} holds shards of other settings: {name} was {before.get(name)!r} and is now "
                    f"{now.get(name)!r}; go on as they were begun, choose another folder, or add --overwrite"
                )
        if not (self._out / TOKENIZER).is_dir():
            with contextlib.suppress(OutputExistsError):
                self._tokenizer.save_pretrained(self._out / TOKENIZER)
        if done and is_alone:
            say(f"going on with {self._out}; shards that are there: {done}")

    def _found(self) -> dict[int, Path]:
        """Return the shards that stand, by number."""
        return {
            int(name[1]): entry
            for entry in sorted(self._out.iterdir())
            if (name := SHARD_NAME.fullmatch(entry.name)) is not None
        }

    def run(self, corpus: Corpus, on_progress: Callable[[int, int], object], say: Callable[[str], object]) -> None:
        """Read the whole corpus and make the shards that are this run's and missing."""
        part, parts = self._settings.share
        there = self._found()
        total = sum(Path(file).stat().st_size for file in corpus.files)
        hashes: dict[int, Any] = {}
        done = 0

        def blocks() -> Iterator[tuple[int, Block]]:
            nonlocal done
            for number, block in enumerate(corpus.blocks(say)):
                shard = number // self._blocks
                if shard == self._shards:
                    self._compare(shard - 1, there, hashes)
                self._shards = shard + 1
                done = block.done
                digest = hashes.setdefault(shard, hashlib.sha256())
                for text, is_record in zip(block.texts, block.records, strict=True):
                    digest.update(text.encode())
                    digest.update(b"\xfe" if is_record else b"\xff")  # no byte of a text
                if shard % parts == part - 1 and shard not in there:
                    yield number, block
                else:
                    on_progress(done, total)
            self._compare(self._shards - 1, there, hashes)

        # A small corpus is done sooner than a process starts.
        workers = min(self._settings.workers or cores(), 1 + total // BLOCK)
        begin = functools.partial(_Maker, self._settings, self._tokenizer)
        made = in_order(blocks(), begin, workers, doing="prepares text")
        collected: list[_Made] = []
        numbers: list[int] = []
        with contextlib.closing(made):
            for number, one in zip(self._numbers(part, parts, there), made):
                on_progress(done, total)
                if numbers and number // self._blocks != numbers[0] // self._blocks:
                    self._write(numbers[0] // self._blocks, collected, hashes)
                    collected, numbers = [], []
                collected.append(one)
                numbers.append(number)
        if numbers:
            self._write(numbers[0] // self._blocks, collected, hashes)
        for number in there:
            if number >= self._shards:
                self._compare(number, there, hashes)

    def _compare(self, number: int, there: dict[int, Path], hashes: dict[int, Any]) -> None:
        """See that a shard that stood is of the text that has now been read.

        Raises:
            DataError: it is not.
        """
        if number not in there:
            return
        if number not in hashes or read_json(there[number] / SHARD).get("text") != hashes[number].hexdigest():
            message = "is of another text: the corpus has changed since; prepare it anew with --overwrite"
            raise DataError(message, file=there[number])

    def _numbers(self, part: int, parts: int, there: dict[int, Path]) -> Iterator[int]:
        """Give the numbers of the blocks that are made here, in order."""
        for shard in range(part - 1, 1 << 40, parts):
            if shard not in there:
                yield from range(shard * self._blocks, (shard + 1) * self._blocks)

    def _write(self, number: int, collected: Sequence[_Made], hashes: dict[int, Any]) -> None:
        """Write a shard, whole or not at all."""
        name = f"shard-{number:05d}"
        counts = _sum(one.counts for one in collected)
        with self._if_new(self._out / name), new_folder(self._out / name, kind=_NOTHING) as stage:
            said: dict[str, Any] = {"name": name, "text": hashes[number].hexdigest(), "counts": dict(counts)}
            for part in PARTS:
                rows = Rows.joined([one.rows[part] for one in collected])
                rows.write(stage / part)
                said[part] = {
                    "sequences": len(rows.lengths),
                    "tokens": len(rows.ids),
                    "files": {file.name: fingerprint(file) for file in sorted((stage / part).iterdir())},
                }
            write_json(stage / SHARD, said)

    @contextlib.contextmanager
    def _if_new(self, shard: Path) -> Iterator[None]:
        """Let it pass that another process has written the same shard in the meantime."""
        try:
            yield
        except (OutputExistsError, SaveError):
            if not (shard / SHARD).exists():
                raise

    def finish(self, say: Callable[[str], object]) -> Shards | None:
        """Write the manifest, if all shards are there."""
        there = self._found()
        missing = [number for number in range(self._shards) if number not in there]
        if missing:
            shown = ", ".join(map(str, missing[:5])) + (" …" if len(missing) > 5 else "")
            say(f"{len(missing)} of {self._shards} shards are left to the other parts: {shown}")
            return None
        shards = [read_json(there[number] / SHARD) for number in range(self._shards)]
        counts = _sum(check_shard(one, there[number] / SHARD)["counts"] for number, one in enumerate(shards))
        if not counts[f"{TRAINING} sequences"]:
            raise DataError(_nothing(counts, self._settings), file=self._out)
        file = self._out / MANIFEST
        manifest = {"glassbert": __version__, **self._plan, "counts": dict(sorted(counts.items())), "shards": shards}
        if not file.exists() or _read(file) != manifest:
            with new_file(file, overwrite=True) as part:
                write_json(part, manifest)
        self._clean()
        return Shards(self._out)

    def _clean(self) -> None:
        """Remove what processes that were killed have left, but for what other parts may be writing."""
        remove_abandoned(self._out, _UNFINISHED_FOLDER)
        if self._settings.part is None:
            for entry in self._out.iterdir():
                if _UNFINISHED_FILE.fullmatch(entry.name):
                    entry.unlink(missing_ok=True)


def _sum(several: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Add counts up; to a `Counter` itself those that are 0 would be lost."""
    total: Counter[str] = Counter()
    for counts in several:
        total.update(counts)
    return total


def _read(file: Path) -> dict[str, Any] | None:
    """Read a file that is written anew where it cannot be read."""
    try:
        return read_json(file)
    except CheckpointError:
        return None


def _named(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what a plan says, by names for a message."""
    parts = {name: value if isinstance(value, dict) else {} for name, value in plan.items()}
    others = {name: value for name, value in plan.items() if name not in ("settings", "vocabulary", "tokenizer")}
    return {
        **parts.get("settings", {}),
        "the SHA-256 of the vocabulary": parts.get("vocabulary", {}).get("sha256"),
        **{f"the tokenizer's {name}": value for name, value in parts.get("tokenizer", {}).items()},
        **others,
    }


def _nothing(counts: Counter[str], settings: PrepareSettings) -> str:
    """Say why there is no sequence to learn from."""
    if not counts["tokens"]:
        return "the corpus holds no words"
    if settings.objective == "sop" and counts["training documents"]:
        return "no document has two tokens, and sop needs pairs; take objective mlm"
    if counts["held-out sequences"]:
        return "all documents were held out by chance; lower held_out, or take another seed"
    return "the corpus gives no sequence"
