"""Sequences for pretraining on disk: flat arrays in shards, memory-mapped, with a manifest.

    shards/
        tokenizer/              what the text was split with
        plan.json               what was asked for
        shard-00000/
            training/ids.npy    the ids of all sequences, special tokens included, one after the other, (T,)
            training/ends.npy   where each sequence ends, (N,)
            …
            held-out/…          the same of the documents that were set aside
            shard.json          counts, sizes and SHA-256
        …
        manifest.json           written last: the sums, and what each shard says of itself

Letters: T tokens of all sequences of a shard; N sequences; P tokens to guess.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast, get_args

import numpy as np
from numpy.typing import NDArray

from glassbert.errors import CheckpointError, DataError
from glassbert.files import read_json
from glassbert.settings import Objective
from glassbert.text import BertTokenizer, BertTokenizerFast

MANIFEST, PLAN, SHARD, TOKENIZER = "manifest.json", "plan.json", "shard.json", "tokenizer"
FORMAT: Final = 1
TRAINING, HELD_OUT = PARTS = ("training", "held-out")
SHARD_NAME: Final = re.compile(r"shard-(\d{5,})")
# Bytes that are hashed between two words on how far that is.
_TELL_EVERY: Final = 1 << 26


@dataclasses.dataclass(kw_only=True, frozen=True, eq=False)
class Rows:
    """Some sequences, one after the other.

    Attributes:
        ids: (T,) with special tokens; with static masks as the model sees them.
        lengths: (N,) int64.
        seconds: (N,) the place in its sequence where the second part begins; None where there are none.
        labels: (N,) 0 where the second part follows the first, else 1; None likewise.
        inside: (T,) bool, true at tokens that go on with a word; None where the vocabulary tells.
        masked: (N,) how many tokens of each are to be guessed; None where that is chosen later, as the next two.
        masked_places: (P,) their places in their sequences.
        masked_ids: (P,) what stood there.
    """

    ids: NDArray[Any]
    lengths: NDArray[np.int64]
    seconds: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None
    inside: NDArray[np.bool_] | None = None
    masked: NDArray[Any] | None = None
    masked_places: NDArray[Any] | None = None
    masked_ids: NDArray[Any] | None = None

    @classmethod
    def joined(cls, several: Sequence[Rows]) -> Rows:
        """Put several one behind the other; all have the same arrays."""
        arrays: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            own = [getattr(one, field.name) for one in several]
            arrays[field.name] = None if own[0] is None else np.concatenate(own)
        return cls(**arrays)

    def write(self, folder: Path) -> None:
        """Write each array that there is to a file of its own."""
        folder.mkdir()
        for name, array in self._stored().items():
            np.save(folder / f"{name}.npy", array)

    def _stored(self) -> dict[str, NDArray[Any]]:
        stored = {"ids": self.ids, "ends": np.cumsum(self.lengths)}
        stored |= {
            name: array for name in ("seconds", "labels", "inside") if (array := getattr(self, name)) is not None
        }
        if self.masked is not None and self.masked_places is not None and self.masked_ids is not None:
            stored |= {"masked_ends": np.cumsum(self.masked, dtype=np.int64)}
            stored |= {"masked_places": self.masked_places, "masked_ids": self.masked_ids}
        return stored


def fingerprint(file: Path, on_bytes: Callable[[int], object] = lambda _: None) -> dict[str, Any]:
    """Return a file's size and SHA-256; `on_bytes` is told now and then how many more have been read."""
    digest = hashlib.sha256()
    size = 0
    with file.open("rb") as stream:
        while block := stream.read(_TELL_EVERY):
            digest.update(block)
            size += len(block)
            on_bytes(len(block))
    return {"bytes": size, "sha256": digest.hexdigest()}


class _Part:
    """The sequences of one shard that are for training, or held out; memory-mapped."""

    def __init__(self, folder: Path, said: Mapping[str, Any]) -> None:
        self.folder, self._files = folder, said["files"]
        self.sequences: int = said["sequences"]
        self.tokens: int = said["tokens"]
        self.ids = self._array("ids")
        self.ends = self._array("ends")
        self.others = {name: self._array(name) for name in ("seconds", "labels", "inside") if self._has(name)}
        self.masked = None
        if self._has("masked_ends"):
            self.masked = [self._array(name) for name in ("masked_ends", "masked_places", "masked_ids")]
        ends = [(self.ends, len(self.ids), "ids.npy")]
        if self.masked is not None:
            ends.append((self.masked[0], len(self.masked[1]), "masked_places.npy"))
        for found, length, of in ends:
            if len(found) != self.sequences or (int(found[-1]) if len(found) else 0) != length:
                raise DataError(f"does not fit {of}: the shard is damaged; prepare it again", file=folder)

    def _has(self, name: str) -> bool:
        return f"{name}.npy" in self._files

    def _array(self, name: str) -> NDArray[Any]:
        file = self.folder / f"{name}.npy"
        wanted = self._files.get(file.name, {}).get("bytes")
        try:
            size = file.stat().st_size
        except OSError:
            raise DataError("is missing; prepare the shard again", file=file) from None
        if size != wanted:
            raise DataError(f"has {size:,} bytes, but {MANIFEST} says {wanted}; prepare the shard again", file=file)
        try:
            # A file of nothing but a header cannot be mapped.
            loaded = np.load(file, mmap_mode="r" if self.sequences else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"is no array: {error}; prepare the shard again", file=file) from None
        array: NDArray[Any] = np.asarray(loaded)  # slices of a memmap are slower to make, and tell no more
        if array.ndim != 1:
            raise DataError(f"has shape {array.shape}, expected one dimension; prepare the shard again", file=file)
        return array


class Sequences:
    """All sequences of a kind, those of all shards one after the other: any of them is there at once.

    Attributes:
        lengths: tokens of a sequence, by its number: `lengths(numbers)`.
        pairs: whether they have two parts and a label.
        static: whether the tokens to guess are chosen.
    """

    def __init__(self, parts: Sequence[_Part]) -> None:
        """Read nothing yet."""
        self._parts = list(parts)
        self._begins = np.cumsum([0, *(part.sequences for part in self._parts)])
        self.tokens = sum(part.tokens for part in self._parts)
        self.pairs = any("seconds" in part.others for part in self._parts)
        self.static = any(part.masked is not None for part in self._parts)

    def __len__(self) -> int:
        """How many there are."""
        return int(self._begins[-1])

    def _found(self, numbers: Iterable[int]) -> Iterator[tuple[_Part, int, int, int]]:
        """Give, for each, its shard, its place there, and where its tokens begin and end."""
        places = np.fromiter(numbers, dtype=np.int64)
        shards = np.searchsorted(self._begins, places, side="right") - 1
        for shard, place in zip(shards.tolist(), (places - self._begins[shards]).tolist(), strict=True):
            part = self._parts[shard]
            begin, end = int(part.ends[place - 1]) if place else 0, int(part.ends[place])
            if not 0 <= begin < end <= len(part.ids):
                raise DataError(f"sequence {place} ends where none can: the shard is damaged", file=part.folder)
            yield part, place, begin, end

    def lengths(self, numbers: Iterable[int]) -> list[int]:
        """Return the tokens of some sequences."""
        return [end - begin for _, _, begin, end in self._found(numbers)]

    def rows(self, numbers: Iterable[int]) -> Rows:
        """Read some sequences, by their numbers from 0, in this order."""
        found = list(self._found(numbers))
        others: dict[str, Any] = {}
        if self.pairs:
            for name in ("seconds", "labels"):
                others[name] = np.array([part.others[name][place] for part, place, _, _ in found], np.int64)
        if any("inside" in part.others for part, _, _, _ in found):
            others["inside"] = np.concatenate([part.others["inside"][begin:end] for part, _, begin, end in found])
        if self.static:
            masked = [_masked(part, place) for part, place, _, _ in found]
            others["masked"] = np.array([len(places) for places, _ in masked], np.int64)
            others["masked_places"] = np.concatenate([places for places, _ in masked])
            others["masked_ids"] = np.concatenate([ids for _, ids in masked])
        return Rows(
            ids=np.concatenate([part.ids[begin:end] for part, _, begin, end in found]),
            lengths=np.array([end - begin for _, _, begin, end in found], np.int64),
            **others,
        )


def _masked(part: _Part, place: int) -> tuple[NDArray[Any], NDArray[Any]]:
    ends, places, ids = cast(list[NDArray[Any]], part.masked)
    begin = ends[place - 1] if place else 0
    return places[begin : ends[place]], ids[begin : ends[place]]


class Shards:
    """A folder of shards, opened at once, whatever their number.

    Attributes:
        folder: where they are.
        manifest: what `manifest.json` says: counts, settings, vocabulary, shards.
        training: the sequences to learn from.
        held_out: those to measure on.

    Raises:
        DataError: no such folder, one that is not finished, or a file that is missing or has another size than it had.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open the folder."""
        self.folder = Path(folder)
        file = self.folder / MANIFEST
        if not self.folder.is_dir():
            raise DataError("no such folder; glassbert prepare makes one of text", file=self.folder)
        if not file.exists() and (self.folder / PLAN).exists():
            message = "is not finished; the same glassbert prepare goes on with it"
            raise DataError(message, file=self.folder)
        try:
            self.manifest = read_json(file)
        except CheckpointError as error:
            raise DataError(f"{error}; expected a folder that glassbert prepare made") from None
        if self.manifest.get("format") != FORMAT:
            found = self.manifest.get("format")
            raise DataError(f"format is {found!r}, expected {FORMAT}; prepare the shards again", file=file)
        try:
            shards = [(self.folder / said["name"], said) for said in self.manifest["shards"]]
            self.training, self.held_out = (
                Sequences([_Part(place / part, said[part]) for place, said in shards]) for part in PARTS
            )
            said = (self.objective in get_args(Objective), self.max_length > 0, bool(self.vocabulary))
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"does not describe shards: {error!r}; prepare them again", file=file) from None
        if not all(said) or self.training.pairs != (self.objective != "mlm"):
            raise DataError("says other things than its shards; prepare them again", file=file)

    @property
    def objective(self) -> Objective:
        """What the sequences are for."""
        return cast(Objective, self.manifest["settings"]["objective"])

    @property
    def max_length(self) -> int:
        """Most tokens of a sequence."""
        return int(self.manifest["settings"]["max_length"])

    @property
    def vocabulary(self) -> str:
        """SHA-256 of the vocabulary."""
        return str(self.manifest["vocabulary"]["sha256"])

    def tokenizer(self) -> BertTokenizerFast:
        """Load the tokenizer that split the text.

        Raises:
            DataError: it is missing, or not the one that the manifest names.
        """
        if not (self.folder / TOKENIZER).is_dir():
            raise DataError("is missing; prepare the shards again", file=self.folder / TOKENIZER)
        tokenizer = BertTokenizerFast.from_pretrained(self.folder / TOKENIZER)
        if vocabulary_hash(tokenizer) != self.vocabulary:
            raise DataError(f"is not the vocabulary that {MANIFEST} names", file=self.folder / TOKENIZER)
        return tokenizer

    def fingerprint(self) -> str:
        """Return a hash that tells these shards from all others: of what the manifest says of each of their files."""
        files = sorted(
            f"{said['name']}/{part}/{name} {one['sha256']}\n"
            for said in self.manifest["shards"]
            for part in PARTS
            for name, one in said[part]["files"].items()
        )
        return hashlib.sha256("".join(files).encode()).hexdigest()

    def check(self, on_progress: Callable[[int, int], object] = lambda done, total: None) -> None:
        """Read every file and compare it with the manifest.

        Args:
            on_progress: called with the bytes read so far and those of all files.

        Raises:
            DataError: a file is not as it was written.
        """
        wanted = {
            self.folder / said["name"] / part / name: one
            for said in self.manifest["shards"]
            for part in PARTS
            for name, one in said[part]["files"].items()
        }
        total = sum(one["bytes"] for one in wanted.values())
        done = 0

        def tell(more: int) -> None:
            nonlocal done
            done += more
            on_progress(done, total)

        for file, one in wanted.items():
            try:
                found = fingerprint(file, tell)
            except OSError as error:
                raise DataError(f"cannot be read: {error.strerror or error}", file=file) from None
            if found != {"bytes": one["bytes"], "sha256": one["sha256"]}:
                message = f"is not as it was written ({MANIFEST} has another SHA-256); prepare the shard again"
                raise DataError(message, file=file)

    def __repr__(self) -> str:
        """Name the folder and the size."""
        counts = f"{len(self.training):,} sequences, {self.training.tokens:,} tokens; {len(self.held_out):,} held out"
        return f"Shards({str(self.folder)!r}: {self.objective}, {counts})"


def vocabulary_hash(tokenizer: BertTokenizer) -> str:
    """Return the SHA-256 of a tokenizer's tokens, in the order of their ids."""
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    lines = (f"{index}\t{token}\n" for token, index in tokens)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
