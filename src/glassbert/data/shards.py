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

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast, get_args

import numpy as np
from numpy.typing import NDArray

from glassbert.errors import CheckpointError, DataError
from glassbert.files import fingerprint, read_json
from glassbert.settings import Objective
from glassbert.text import BertTokenizer, BertTokenizerFast
from glassbert.text.vocabulary import vocabulary_hash

MANIFEST, PLAN, SHARD, TOKENIZER = "manifest.json", "plan.json", "shard.json", "tokenizer"
FORMAT: Final = 1
TRAINING, HELD_OUT = PARTS = ("training", "held-out")
SHARD_NAME: Final = re.compile(r"shard-(\d{5,})")
# The types of the arrays; ids have the smaller one that their vocabulary allows.
_IDS: Final = ("uint16", "uint32")
_TYPES: Final = {
    "ids": _IDS,
    "ends": ("int64",),
    "seconds": ("uint16",),
    "labels": ("uint8",),
    "inside": ("bool",),
    "masked_ends": ("int64",),
    "masked_places": ("uint16",),
    "masked_ids": _IDS,
}
# What is always counted.
_COUNTED: Final = {"tokens", "sentences", "training documents", "held-out documents", "training sequences"}
_AGAIN: Final = "remove the shard's folder and prepare it again"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# Files that are open beside those of the shards.
_OTHER_FILES: Final = 1024


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
            with (folder / f"{name}.npy").open("wb") as stream:
                # As np.save, which does not tell why the disk refused a write.
                np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
                stream.write(array.data)

    def _stored(self) -> dict[str, NDArray[Any]]:
        stored = {"ids": self.ids, "ends": np.cumsum(self.lengths)}
        stored |= {
            name: array for name in ("seconds", "labels", "inside") if (array := getattr(self, name)) is not None
        }
        if self.masked is not None and self.masked_places is not None and self.masked_ids is not None:
            stored |= {"masked_ends": np.cumsum(self.masked, dtype=np.int64)}
            stored |= {"masked_places": self.masked_places, "masked_ids": self.masked_ids}
        return stored


class _Part:
    """The sequences of one shard that are for training, or held out; memory-mapped.

    Attributes:
        arrays: by name.
        views: the same, of which single values are read several times as fast.
        sequences: how many there are.
        tokens: of all of them.
    """

    def __init__(self, folder: Path, said: Mapping[str, Any], names: Collection[str]) -> None:
        self._folder, self._files = folder, said["files"]
        self.sequences: int = said["sequences"]
        self.tokens: int = said["tokens"]
        if set(self._files) != {f"{name}.npy" for name in names}:
            found = ", ".join(self._files) or "no file"
            raise DataError(f"has {found} in {MANIFEST}, expected {', '.join(names)}; {_AGAIN}", file=folder)
        self.arrays = {name: self._array(name) for name in names}
        self.views = {name: array.data for name, array in self.arrays.items()}
        lengths = dict.fromkeys(names, self.sequences) | {"ids": self.tokens, "inside": self.tokens}
        guesses = len(self.arrays["masked_places"]) if "masked_places" in names else 0
        lengths |= {"masked_places": guesses, "masked_ids": guesses}
        for name, array in self.arrays.items():
            if len(array) != lengths[name]:
                raise self.error(name, f"holds {len(array):,} values, expected {lengths[name]:,}")
        for name, last in (("ends", self.tokens), ("masked_ends", guesses)):
            if name in names and (self.views[name][-1] if self.sequences else 0) != last:
                raise self.error(name, f"does not end with {last:,}")

    def error(self, name: str, message: str) -> DataError:
        """Make an error that names the file of an array."""
        return DataError(f"{message}; {_AGAIN}", file=self._folder / f"{name}.npy")

    def span(self, name: str, place: int, size: int) -> tuple[int, int]:
        """Return where something of a sequence begins and ends.

        Raises:
            DataError: nowhere in what has that size.
        """
        ends = self.views[name]
        begin, end = ends[place - 1] if place else 0, ends[place]
        if not 0 <= begin <= end <= size:
            raise self.error(name, f"has {begin} before {end} of {size}, which cannot be")
        return begin, end

    def check(self, longest: int, tokens: int) -> None:
        """Look at every value.

        Raises:
            DataError: a sequence without tokens or with more than `longest`, an id from `tokens` on, a place that is
                not in its sequence.
        """
        lengths = np.diff(self.arrays["ends"], prepend=0)
        limits = {"ids": tokens, "masked_ids": tokens, "labels": 2, "seconds": lengths}
        if not ((lengths > 0) & (lengths <= longest)).all():
            raise self.error("ends", f"has sequences of other than 1 to {longest} tokens")
        if "masked_ends" in self.arrays:
            guesses = np.diff(self.arrays["masked_ends"], prepend=0)
            if (guesses < 0).any():
                raise self.error("masked_ends", "does not rise")
            limits["masked_places"] = np.repeat(lengths, guesses)
        for name, limit in limits.items():
            if name in self.arrays and not (self.arrays[name] < limit).all():
                raise self.error(name, "holds values that are too large")

    def _array(self, name: str) -> NDArray[Any]:
        file = self._folder / f"{name}.npy"
        wanted = self._files[file.name]["bytes"]
        try:
            size = file.stat().st_size
        except OSError:
            raise DataError(f"is missing; {_AGAIN}", file=file) from None
        if size != wanted:
            raise DataError(f"has {size:,} bytes, but {MANIFEST} says {wanted:,}; {_AGAIN}", file=file)
        try:
            # A file of nothing but a header cannot be mapped.
            loaded = np.load(file, mmap_mode="r" if self.sequences else None, allow_pickle=False)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", file=file) from None
        except Exception as error:  # a header is Python's source, and numpy raises what its parts do
            raise DataError(f"is no array: {' '.join(str(error).split())}; {_AGAIN}", file=file) from None
        array: NDArray[Any] = np.asarray(loaded)  # slices of a memmap are slower to make, and tell no more
        if array.ndim != 1 or str(array.dtype) not in _TYPES[name]:
            expected = f"expected one dimension of {' or '.join(_TYPES[name])}"
            raise DataError(f"has shape {array.shape} and type {array.dtype}, {expected}; {_AGAIN}", file=file)
        return array


class Sequences:
    """All sequences of a kind, those of all shards one after the other: any of them is there at once.

    Attributes:
        tokens: of all sequences.
        pairs: whether they have two parts and a label.
        static: whether the tokens to guess are chosen.
    """

    def __init__(self, parts: Sequence[_Part], names: Collection[str]) -> None:
        """Read nothing yet.

        Args:
            parts: of each shard.
            names: of their arrays.
        """
        self._parts, self._names = list(parts), names
        self._begins = np.cumsum([0, *(part.sequences for part in self._parts)])
        self.tokens = sum(part.tokens for part in self._parts)
        self.pairs = "seconds" in names
        self.static = "masked_ends" in names

    def __len__(self) -> int:
        """How many there are."""
        return int(self._begins[-1])

    def _found(self, numbers: Iterable[int]) -> list[tuple[_Part, int]]:
        """Return, for each, its shard and its place there."""
        places = np.fromiter(numbers, dtype=np.int64)
        if len(places) and not (int(places.min()) >= 0 and int(places.max()) < len(self)):
            raise IndexError(f"a number is not from 0 to {len(self) - 1}")
        shards = np.searchsorted(self._begins, places, side="right") - 1
        of = self._parts
        return [
            (of[shard], place)
            for shard, place in zip(shards.tolist(), (places - self._begins[shards]).tolist(), strict=True)
        ]

    def lengths(self, numbers: Iterable[int]) -> list[int]:
        """Return the tokens of some sequences.

        Raises:
            DataError: a damaged shard.
            IndexError: no such sequence.
        """
        spans = [part.span("ends", place, part.tokens) for part, place in self._found(numbers)]
        return [end - begin for begin, end in spans]

    def rows(self, numbers: Iterable[int]) -> Rows:
        """Read some sequences, at least one, by their numbers from 0, in this order.

        Raises:
            DataError: a damaged shard.
            IndexError: no such sequence.
        """
        found = self._found(numbers)
        spans = [part.span("ends", place, part.tokens) for part, place in found]

        def pieces(name: str, spans: Sequence[tuple[int, int]]) -> NDArray[Any]:
            return np.concatenate(
                [part.arrays[name][begin:end] for (part, _), (begin, end) in zip(found, spans, strict=True)]
            )

        others: dict[str, Any] = {}
        for name in ("seconds", "labels") if self.pairs else ():
            others[name] = np.array([part.views[name][place] for part, place in found], np.int64)
        if "inside" in self._names:
            others["inside"] = pieces("inside", spans)
        if self.static:
            masked = [part.span("masked_ends", place, len(part.arrays["masked_places"])) for part, place in found]
            others["masked"] = np.array([end - begin for begin, end in masked], np.int64)
            others["masked_places"], others["masked_ids"] = (
                pieces("masked_places", masked),
                pieces("masked_ids", masked),
            )
        lengths = np.array([end - begin for begin, end in spans], np.int64)
        return Rows(ids=pieces("ids", spans), lengths=lengths, **others)

    def check(self, longest: int, tokens: int) -> None:
        """Look at every value; see `Shards.check`."""
        for part in self._parts:
            part.check(longest, tokens)


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
        _check_manifest(self.manifest, file)
        names = _names_of(self.manifest["settings"])
        shards = [(self.folder / said["name"], said) for said in self.manifest["shards"]]
        _allow_files(len(shards) * len(PARTS) * len(names))
        self.training, self.held_out = (
            Sequences([_Part(place / part, said[part], names) for place, said in shards], names) for part in PARTS
        )

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
        if vocabulary_hash(tokenizer.get_vocab()) != self.vocabulary:
            raise DataError(f"is not the vocabulary that {MANIFEST} names", file=self.folder / TOKENIZER)
        settings, said = tokenizer_settings(tokenizer), self.manifest["tokenizer"]
        for name in {**settings, **said}:
            if settings.get(name) != said.get(name) or (name in settings) != (name in said):
                message = f"has {name} {settings.get(name)!r}, but {MANIFEST} says {said.get(name)!r}"
                raise DataError(message, file=self.folder / TOKENIZER)
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
        """Read every file, compare it with the manifest, and look at every value of the arrays.

        Args:
            on_progress: called with the bytes read so far and those of all files.

        Raises:
            DataError: a file is not as it was written, or holds what no shard does.
        """
        self.tokenizer()
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
                message = f"is not as it was written ({MANIFEST} has another SHA-256); {_AGAIN}"
                raise DataError(message, file=file)
        for sequences in (self.training, self.held_out):
            sequences.check(self.max_length, self.manifest["vocabulary"]["tokens"])

    def __repr__(self) -> str:
        """Name the folder and the size."""
        counts = f"{len(self.training):,} sequences, {self.training.tokens:,} tokens; {len(self.held_out):,} held out"
        return f"Shards({str(self.folder)!r}: {self.objective}, {counts})"


def tokenizer_settings(tokenizer: BertTokenizer) -> dict[str, Any]:
    """Return what decides, beside the vocabulary, how a text is split."""
    return {
        "rules": tokenizer.rules,
        "do_lower_case": tokenizer.do_lower_case,
        "do_basic_tokenize": tokenizer.do_basic_tokenize,
        "clean_text": tokenizer.clean_text,
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.tokenize_chinese_chars,
        "max_input_chars_per_word": tokenizer.wordpiece_tokenizer.max_input_chars_per_word,
        "never_split": sorted(tokenizer.basic_tokenizer.never_split),
    }


# -- what a manifest says --------------------------------------------------------------------------


def _names_of(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the arrays that shards of some settings have."""
    pairs = ["seconds", "labels"] if settings["objective"] != "mlm" else []
    static = ["masked_ends", "masked_places", "masked_ids"] if settings["static_masks"] else []
    return ["ids", "ends", *pairs, *(["inside"] if settings["segmented"] else []), *static]


def _check_manifest(manifest: Mapping[str, Any], file: Path) -> None:
    """Refuse a manifest that nothing can be made of.

    Raises:
        DataError: by the file's name.
    """
    settings, vocabulary, tokenizer = (_mapping(manifest, name) for name in ("settings", "vocabulary", "tokenizer"))
    longest: Any = settings.get("max_length")
    good = {
        "settings": settings.get("objective") in get_args(Objective)
        and (_is_count(longest) and 0 < longest < 1 << 16)
        and all(isinstance(settings.get(name), bool) for name in ("static_masks", "segmented")),
        "vocabulary": _is_count(vocabulary.get("tokens")) and _is_hash(vocabulary.get("sha256")),
        "tokenizer": bool(tokenizer),
        "counts": _are_counts(manifest.get("counts")),
        "shards": isinstance(manifest.get("shards"), list),
    }
    for name, is_good in good.items():
        if not is_good:
            raise DataError(f"does not describe shards ({name}); prepare them again", file=file)
    for number, said in enumerate(manifest["shards"]):
        if check_shard(said, file)["name"] != f"shard-{number:05d}":
            raise DataError(f"has {said['name']!r} for shard {number}; prepare the shards again", file=file)


def check_shard(said: Any, file: Path) -> dict[str, Any]:
    """Return what is said of a shard.

    Raises:
        DataError: it is of another form, or names a file that no shard has.
    """
    good = (
        isinstance(said, dict)
        and isinstance(said.get("name"), str)
        and SHARD_NAME.fullmatch(said["name"])
        and _is_hash(said.get("text"))
        and _are_counts(said.get("counts"))
    )
    if not good:
        raise DataError("does not describe a shard; prepare the shards again", file=file)
    for part in PARTS:
        own = _mapping(said, part)
        files: Any = own.get("files")
        good = _is_count(own.get("sequences")) and _is_count(own.get("tokens")) and isinstance(files, dict)
        for name, one in files.items() if good else ():
            known = name.endswith(".npy") and name.removesuffix(".npy") in _TYPES
            good = good and known and isinstance(one, dict)
            good = good and set(one) == {"bytes", "sha256"} and _is_count(one["bytes"]) and _is_hash(one["sha256"])
        if not good:
            message = f"does not describe the {part} sequences of {said['name']}; prepare the shards again"
            raise DataError(message, file=file)
    found: dict[str, Any] = said
    return found


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values())) and set(value) >= _COUNTED


def _allow_files(count: int) -> None:
    """Let this process have so many files open, as far as the system does; each array that is mapped is one."""
    try:
        import resource
    except ImportError:  # Windows, where there is no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
