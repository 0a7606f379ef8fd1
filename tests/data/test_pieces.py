"""The pieces of a result while it is being made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from glassbert import ConfigError, DataError, OutputExistsError, SaveError
from glassbert.data.pieces import Pieces
from glassbert.files import fingerprint, write_json

PLAN = {"model": "m", "top_k": 3}


def put(pieces: Pieces, number: int, text: str, digest: str = "d") -> None:
    def write(file: Path) -> None:
        file.write_text(text)

    pieces.write(number, write, {"input": digest})


def join(pieces: Sequence[Path], target: Path) -> None:
    target.write_text("".join(piece.read_text() for piece in pieces))


def test_pieces_become_the_file_and_are_gone(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "a.txt"
    pieces = Pieces(out, PLAN, overwrite=False)
    put(pieces, 0, "one ")
    assert not out.exists()
    again = Pieces(out, PLAN, overwrite=False)
    assert again.done == {0}
    assert again.facts(0, "d") == {"input": "d"}
    assert again.facts(1, "d") is None
    put(again, 1, "two")
    again.finish([0, 1], join)
    assert out.read_text() == "one two"
    assert [entry.name for entry in out.parent.iterdir()] == ["a.txt"]


def test_another_plan_or_input_is_refused_unless_all_is_begun_anew(tmp_path: Path) -> None:
    out = tmp_path / "a.txt"
    pieces = Pieces(out, PLAN, overwrite=False)
    put(pieces, 0, "one")
    with pytest.raises(ConfigError, match=r"top_k was 3 and is now 4; go on as it was begun.*--overwrite"):
        Pieces(out, {**PLAN, "top_k": 4}, overwrite=False)
    with pytest.raises(DataError, match=r"piece-000000: was made of another input.*--overwrite"):
        pieces.facts(0, "e")
    same = Pieces(out, PLAN, overwrite=True)
    assert (same.done, same.facts(0, "e")) == ({0}, None)
    assert Pieces(out, {**PLAN, "top_k": 4}, overwrite=True).done == set()


def test_a_plan_without_pieces_binds_nobody(tmp_path: Path) -> None:
    out = tmp_path / "a.txt"
    Pieces(out, PLAN, overwrite=False)
    other = Pieces(out, {"model": "n"}, overwrite=False)
    other.leave()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_said_is_not_there(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "a.txt", PLAN, overwrite=False)
    put(pieces, 0, "one")
    (pieces.folder / "piece-000001").write_text("half")
    (pieces.folder / ".piece-000002.17.part").write_text("less")
    assert Pieces(tmp_path / "a.txt", PLAN, overwrite=False).done == {0}
    assert not (pieces.folder / ".piece-000002.17.part").exists()


def test_a_file_that_is_there(tmp_path: Path) -> None:
    out = tmp_path / "a.txt"
    out.write_text("mine")
    with pytest.raises(OutputExistsError, match=r"a.txt is already there; .* --overwrite"):
        Pieces(out, PLAN, overwrite=False)
    pieces = Pieces(out, PLAN, overwrite=True)
    put(pieces, 0, "new")
    assert out.read_text() == "mine"
    pieces.finish([0], join)
    assert out.read_text() == "new"


def test_a_run_that_was_killed_at_its_very_end_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "a.txt"
    pieces = Pieces(out, PLAN, overwrite=False)
    put(pieces, 0, "one")
    out.write_text("one")
    write_json(pieces.folder / "joined.json", fingerprint(out))
    again = Pieces(out, PLAN, overwrite=False)
    assert again.is_finished
    again.remove()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    # Pieces beside another file of that name are not its remains.
    pieces = Pieces(out, PLAN, overwrite=True)
    put(pieces, 0, "two")
    with pytest.raises(OutputExistsError):
        Pieces(out, PLAN, overwrite=False)


def test_a_folder_of_somebody_else_stays(tmp_path: Path) -> None:
    mine = tmp_path / "a.txt.parts" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(OutputExistsError, match=r"holds thesis.txt, which is none of its pieces"):
        Pieces(tmp_path / "a.txt", PLAN, overwrite=True)
    assert mine.read_text() == "mine"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="is a file; choose another place"):
        Pieces(tmp_path / "file" / "a.txt", PLAN, overwrite=False)
    with pytest.raises(OutputExistsError, match="is a folder; the output must be a file"):
        Pieces(tmp_path, PLAN, overwrite=False)
    for length in (250, 300):  # too long with what is put to it, and by itself
        with pytest.raises(SaveError, match=r"cannot write .*name too long"):
            Pieces(tmp_path / f"{'a' * length}.csv", PLAN, overwrite=False)
    if os.geteuid():
        tmp_path.chmod(0o500)
        with pytest.raises(SaveError, match="read-only"):
            Pieces(tmp_path / "a.txt", PLAN, overwrite=False)
