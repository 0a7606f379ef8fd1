"""Shards are what was written, or an error that says which file is not; nothing outside of their folder is read."""

from __future__ import annotations

import copy
import json
import pickle
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassbert import DataError, GlassbertError
from glassbert.data import PrepareSettings, Shards, prepare, shards
from glassbert.data.masking import mask
from glassbert.data.preparing import masking_of
from glassbert.data.sampling import hashed
from glassbert.data.shards import PARTS, Rows
from glassbert.files import fingerprint

from . import small
from .corpora import make

Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of shards: `static` with all arrays that there are, and `plain` with the fewest."""
    folder = tmp_path_factory.mktemp("shards")
    make(folder, 45)
    with pytest.MonkeyPatch.context() as patch:
        small.shrink(patch.setattr)
        same: dict[str, Any] = {"texts": folder / "texts", "vocab": folder / "vocab.txt", "sentences": "lines"}
        same |= {"max_length": 32, "held_out": 0.2, "workers": 1}
        prepare(PrepareSettings(out=folder / "static", static_masks=True, segmented=True, whole_words=True, **same))
        prepare(PrepareSettings(out=folder / "plain", objective="mlm", **same))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the shards with all arrays."""
    return Path(shutil.copytree(made / "static", tmp_path / "shards"))


def _arrays(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*/*/*.npy"))


def _change(folder: Path, change: Change) -> None:
    """Change what the manifest says."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text("utf-8"))
    change(manifest)
    file.write_text(json.dumps(manifest), encoding="utf-8")


def _error(call: Callable[[], object]) -> str:
    """Return what glassbert says against a call, on one line; nothing where it says nothing."""
    try:
        call()
    except GlassbertError as error:
        return str(error).replace("\n", "LINE")
    return ""


def _accept(folder: Path, file: Path) -> None:
    """Let the manifest say of a file what holds now."""
    shard, part, name = file.relative_to(folder).parts

    def change(manifest: Any) -> None:
        number = int(shard.removeprefix("shard-"))
        manifest["shards"][number][part]["files"][name] = fingerprint(file)

    _change(folder, change)


# -- reading


def test_rows_are_what_was_written(made: Path) -> None:
    opened = Shards(made / "static")
    opened.check()
    assert len(opened.manifest["shards"]) >= 3
    for part, sequences in zip(PARTS, (opened.training, opened.held_out), strict=True):
        whole: dict[str, list[Any]] = {name: [] for name in ("ids", "lengths", "seconds", "labels", "inside")}
        for shard in opened.manifest["shards"]:
            place = opened.folder / shard["name"] / part
            ids, ends, inside = (np.load(place / f"{name}.npy") for name in ("ids", "ends", "inside"))
            whole["ids"] += [one.tolist() for one in np.split(ids, ends[:-1])] if len(ends) else []
            whole["inside"] += [one.tolist() for one in np.split(inside, ends[:-1])] if len(ends) else []
            whole["seconds"] += np.load(place / "seconds.npy").tolist()
            whole["labels"] += np.load(place / "labels.npy").tolist()
        assert len(sequences) == len(whole["ids"]) > 0
        assert sequences.tokens == sum(map(len, whole["ids"]))
        order = random.Random(0).sample(range(len(sequences)), len(sequences))
        rows = sequences.rows(order)
        assert sequences.lengths(order) == rows.lengths.tolist() == [len(whole["ids"][number]) for number in order]
        assert rows.ids.tolist() == [index for number in order for index in whole["ids"][number]]
        assert rows.inside is not None
        assert rows.inside.tolist() == [one for number in order for one in whole["inside"][number]]
        assert rows.seconds is not None
        assert rows.seconds.tolist() == [whole["seconds"][number] for number in order]
        assert rows.labels is not None
        assert rows.labels.tolist() == [whole["labels"][number] for number in order]
        assert sequences.pairs
        assert sequences.static
        joined = Rows.joined([sequences.rows([number]) for number in order])
        for name in ("ids", "lengths", "masked", "masked_places", "masked_ids"):
            assert getattr(joined, name).tolist() == getattr(rows, name).tolist()


def test_sequences_are_framed(made: Path) -> None:
    for name in ("static", "plain"):
        opened = Shards(made / name)
        tokenizer = opened.tokenizer()
        cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        for number in range(len(opened.training)):
            rows = opened.training.rows([number])
            ids = rows.ids.copy()
            if rows.masked_places is not None:
                ids[rows.masked_places] = rows.masked_ids
            assert ids[0] == cls
            assert ids[-1] == sep
            assert (ids == cls).sum() == 1
            if rows.seconds is not None:
                assert np.flatnonzero(ids == sep).tolist() == [rows.seconds[0] - 1, len(ids) - 1]
            else:
                assert (ids == sep).sum() == 1
            assert len(ids) <= 32


def test_a_number_that_there_is_not(made: Path) -> None:
    sequences = Shards(made / "plain").training
    for number in (-1, len(sequences), 2**40):
        with pytest.raises(IndexError):
            sequences.rows([0, number])
        with pytest.raises(IndexError):
            sequences.lengths([number])


def test_masked_on_the_way(made: Path) -> None:
    opened = Shards(made / "plain")
    rows = opened.training.rows(range(len(opened.training)))
    masking = masking_of(opened.tokenizer(), None, None, True)
    found = mask(rows.ids, rows.lengths, hashed(0, np.arange(len(rows.lengths))), masking)
    assert 0.1 < (found.labels >= 0).mean() < 0.16
    assert not opened.training.pairs
    assert not opened.training.static


def test_what_is_said(made: Path) -> None:
    opened = Shards(made / "static")
    assert (opened.objective, opened.max_length) == ("nsp", 32)
    assert repr(opened).startswith(f"Shards('{made / 'static'}': nsp, ")
    assert opened.fingerprint() == Shards(made / "static").fingerprint() != Shards(made / "plain").fingerprint()
    seen: list[tuple[int, int]] = []
    opened.check(lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == sum(file.stat().st_size for file in _arrays(made / "static"))


def test_more_shards_than_files_may_be_open(made: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = len(_arrays(made / "static"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_OTHER_FILES", soft + 10 - count)
        try:
            if hard == resource.RLIM_INFINITY or hard >= soft + 10:
                Shards(made / "static")
                assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft + 10, hard)
            patch.setattr(shards, "_OTHER_FILES", 1 << 40)
            Shards(made / "static")  # as many as the system lets it
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- damaged files


def test_no_folder_no_shards(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        Shards(tmp_path / "nothing")
    with pytest.raises(DataError, match="expected a folder that glassbert prepare made"):
        Shards(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(DataError, match="is not finished; the same glassbert prepare goes on with it"):
        Shards(tmp_path)
    (tmp_path / "manifest.json").write_text("nonsense")
    with pytest.raises(DataError, match=r"manifest\.json: not readable as JSON"):
        Shards(tmp_path)


def test_every_array_truncated_missing_or_replaced(folder: Path) -> None:
    for file in _arrays(folder):
        content = file.read_bytes()
        file.write_bytes(content[:-1])
        with pytest.raises(DataError, match=rf"{file.name}: has {len(content) - 1:,} bytes, but manifest\.json says"):
            Shards(folder)
        file.write_bytes(content + b"\0")
        with pytest.raises(DataError, match="bytes, but"):
            Shards(folder)
        file.unlink()
        with pytest.raises(DataError, match=f"{file.name}: is missing"):
            Shards(folder)
        file.mkdir()
        with pytest.raises(DataError, match=r"bytes, but|cannot be read"):
            Shards(folder)
        file.rmdir()
        file.write_bytes(bytes(len(content)))
        with pytest.raises(DataError, match="is no array"):
            Shards(folder)
        file.write_bytes(content)
    Shards(folder).check()


def test_check_finds_any_byte_that_has_changed(folder: Path) -> None:
    rng = random.Random(0)
    for file in _arrays(folder):
        content = file.read_bytes()
        places = {rng.randrange(128), rng.randrange(128, len(content) + 1) - 1, len(content) - 1}
        for place in sorted(places):
            changed = bytearray(content)
            changed[place] ^= 1 << rng.randrange(8)
            file.write_bytes(changed)
            with pytest.raises(DataError, match="npy"):
                Shards(folder).check()
        file.write_bytes(content)
    Shards(folder).check()


def test_a_changed_header_is_no_crash(folder: Path) -> None:
    # Any header whatever: an error, or arrays of another kind, which is one as well; never more than the file's memory.
    rng = random.Random(1)
    file = folder / "shard-00000" / "training" / "ids.npy"
    content = file.read_bytes()
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 5])):
            changed[rng.randrange(128)] = rng.choice([rng.randrange(256), *b"0189()',[]{}<>|OVifub"])
        file.write_bytes(changed)
        assert "LINE" not in _error(lambda: Shards(folder).training.rows([0]))
    for header in (
        "(10**18,)",
        "(-5,)",
        "(2**63,)",
        "()",
        "(2, 3)",
        "__import__('os')",
        "(9223372036854775807,)",
        "(1e3,)",
    ):
        text = f"{{'descr': '<u2', 'fortran_order': False, 'shape': {header}, }}"
        file.write_bytes(content[:10] + f"{text:117}\n".encode() + content[128:])
        with pytest.raises(DataError):
            Shards(folder)


def test_nothing_is_unpickled(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    file = folder / "shard-00000" / "training" / "ids.npy"
    np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)
    contents = [file.read_bytes(), pickle.dumps(Trap())]
    for content in contents:
        file.write_bytes(content)
        _accept(folder, file)
        with pytest.raises(DataError, match="is no array"):
            Shards(folder)
    with file.open("wb") as stream:
        np.savez(stream, ids=np.zeros(3))
    _accept(folder, file)
    with pytest.raises(DataError, match=r"ids\.npy"):
        Shards(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "name", ["ids", "ends", "seconds", "labels", "inside", "masked_ends", "masked_places", "masked_ids"]
)
def test_arrays_of_another_kind(folder: Path, name: str) -> None:
    file = folder / "shard-00000" / "training" / f"{name}.npy"
    array = np.load(file)
    others = [array.astype(np.float64), array.astype(">i4"), array[:-1], np.r_[array, array[:1]], array[:, None]]
    for other in [*others, array[:0], array.astype("S3")]:
        np.save(file, other)
        _accept(folder, file)
        with pytest.raises(DataError, match=f"{name}|ends|masked_ids"):
            Shards(folder)


def _set(place: int, value: int) -> Change:
    def change(array: Any) -> None:
        array[place] = value

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ends", _set(1, -5)),
        ("ends", _set(1, 0)),
        ("ends", _set(1, 10**15)),
        ("ends", _set(1, -(2**63))),
        ("ends", _set(0, 100)),
        ("masked_ends", _set(1, -5)),
        ("masked_ends", _set(1, 10**15)),
        ("masked_places", _set(3, 60_000)),
        ("masked_ids", _set(3, 60_000)),
        ("ids", _set(3, 60_000)),
        ("seconds", _set(2, 60_000)),
        ("labels", _set(2, 7)),
    ],
)
def test_values_that_cannot_be(folder: Path, name: str, change: Change) -> None:
    file = folder / "shard-00000" / "training" / f"{name}.npy"
    array = np.load(file)
    change(array)
    np.save(file, array)
    _accept(folder, file)
    opened = Shards(folder)
    with pytest.raises(DataError, match=f"{name}.npy"):
        opened.check()
    for numbers in ([0], [1], [2], [3, 0, 1]):

        def read(numbers: list[int] = numbers) -> None:
            rows = opened.training.rows(numbers)
            assert (rows.lengths >= 0).all()
            assert rows.lengths.sum() == len(rows.ids) <= len(numbers) * opened.training.tokens

        assert f"{name}.npy" in (_error(read) or f"{name}.npy")


# -- what the manifest says


NONSENSE: list[Any] = [None, True, -1, 1.5, 10**30, 2**63, "x", "", [], {}, [1], {"a": 1}, "../..", "\0", float("nan")]


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where a manifest says something: of each kind of place one."""
    found = [place] if place else []
    if isinstance(value, dict):
        for name in value:
            found += _places(value[name], (*place, name))
    elif isinstance(value, list) and value:
        found += _places(value[0], (*place, 0))
    return found


# What tells where the shards are from, and changes nothing in how they are read.
FREE = {"glassbert", "characters of a block", "characters of a document", "counts", "settings"}


def test_nonsense_in_every_place_of_the_manifest(folder: Path) -> None:
    whole = json.loads((folder / "manifest.json").read_text("utf-8"))
    rng = random.Random(0)
    refused = 0

    def use() -> None:
        opened = Shards(folder)
        opened.training.rows([0, 1])
        repr(opened)
        opened.fingerprint()
        opened.check()

    for place in _places(whole):
        for nonsense in [*rng.sample(NONSENSE, 2), "gone"]:
            manifest = copy.deepcopy(whole)
            inner = manifest
            for step in place[:-1]:
                inner = inner[step]
            if nonsense == "gone":
                del inner[place[-1]]
            else:
                inner[place[-1]] = nonsense
            (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
            said = _error(use)
            assert "LINE" not in said
            assert said or place[0] in FREE or place[2:] == ("text",) or "counts" in place or manifest == whole, (
                place,
                nonsense,
            )
            refused += bool(said)
    assert refused > 100


@pytest.mark.parametrize("name", ["../outside", "/tmp", "shard-00001/../..", "shard-00000/training", "..", "", "\0"])
def test_nothing_outside_is_read(folder: Path, name: str) -> None:
    def other_name(manifest: Any) -> None:
        manifest["shards"][0]["name"] = name

    def other_file(manifest: Any) -> None:
        files = manifest["shards"][0]["training"]["files"]
        files[f"{name}/ids.npy"] = files.pop("ids.npy")

    shutil.copytree(folder / "shard-00000", folder.parent / "outside")
    whole = (folder / "manifest.json").read_bytes()
    for change in (other_name, other_file):
        _change(folder, change)
        with pytest.raises(DataError, match="does not describe"):
            Shards(folder)
        (folder / "manifest.json").write_bytes(whole)


def test_shards_that_are_not_of_one_kind(made: Path, folder: Path) -> None:
    def without(manifest: Any) -> None:
        del manifest["shards"][1]["training"]["files"]["seconds.npy"]

    def mixed(manifest: Any) -> None:
        manifest["shards"][1] = json.loads((made / "plain" / "manifest.json").read_text())["shards"][1]

    def twice(manifest: Any) -> None:
        manifest["shards"][1] = manifest["shards"][0]

    def other(manifest: Any) -> None:
        manifest["settings"]["objective"] = "mlm"

    whole = (folder / "manifest.json").read_bytes()
    for change in (without, mixed, twice, other):
        _change(folder, change)
        with pytest.raises(DataError):
            Shards(folder)
        (folder / "manifest.json").write_bytes(whole)


def test_another_tokenizer_is_found(folder: Path) -> None:
    file = folder / "tokenizer" / "tokenizer_config.json"
    settings = json.loads(file.read_text("utf-8"))
    for name in ("tokenizer.json",):
        (folder / "tokenizer" / name).unlink()
    file.write_text(json.dumps({**settings, "do_lower_case": False}))
    with pytest.raises(DataError, match="tokenizer: has do_lower_case False, but"):
        Shards(folder).check()
    file.write_text(json.dumps(settings))
    Shards(folder).check()
    vocabulary = folder / "tokenizer" / "vocab.txt"
    lines = vocabulary.read_text("utf-8").split("\n")
    vocabulary.write_text("\n".join([*lines[:-3], lines[-2], lines[-3], ""]), encoding="utf-8")
    with pytest.raises(DataError, match="is not the vocabulary"):
        Shards(folder).check()
