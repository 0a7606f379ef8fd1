from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glassbert import CheckpointError, OutputExistsError, SaveError, files
from glassbert.files import check_output, new_file, new_folder, read_json, updated_folder, write_json


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder that holds a result already, with nothing beside it."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "config.json").write_text("old")
    (folder / "vocab.txt").write_text("old")
    return folder


def _content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


OLD = {"out/config.json": "old", "out/vocab.txt": "old"}


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_check_output_takes_what_is_new_or_empty(tmp_path: Path) -> None:
    assert check_output(tmp_path, overwrite=False) == tmp_path
    assert check_output(str(tmp_path / "a" / "b"), overwrite=False) == tmp_path / "a" / "b"
    assert _names(tmp_path) == []


def test_check_output_refuses_what_holds_something(old: Path) -> None:
    with pytest.raises(OutputExistsError, match="already holds something"):
        check_output(old, overwrite=False)
    assert check_output(old, overwrite=True) == old


@pytest.mark.parametrize("overwrite", [False, True])
def test_check_output_refuses_what_is_no_folder(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "out"
    path.touch()
    with pytest.raises(OutputExistsError, match="must be a folder"):
        check_output(path, overwrite=overwrite)


def test_check_output_refuses_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises((OutputExistsError, SaveError)):
        check_output(tmp_path / ("a" * 300), overwrite=False)


def test_a_new_folder_stands_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "out"
    with new_folder(target) as stage:
        assert stage.parent == target.parent
        (stage / "inner").mkdir()
        (stage / "inner" / "c.txt").write_text("new")
        assert not target.exists()
    assert _content(target) == {os.path.join("inner", "c.txt"): "new"}
    assert _names(target.parent) == ["out"]


def test_a_folder_is_replaced_as_a_whole(old: Path) -> None:
    with new_folder(old, overwrite=True) as stage:
        (stage / "c.txt").write_text("new")
        assert _content(old) == {"config.json": "old", "vocab.txt": "old"}
    assert _content(old.parent) == {os.path.join("out", "c.txt"): "new"}
    assert _names(old.parent) == ["out"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as stage:
        (stage / "c.txt").write_text("new")
    assert _content(tmp_path) == {os.path.join("out", "c.txt"): "new"}


def test_a_folder_that_holds_something_is_refused_before_the_block(old: Path) -> None:
    with pytest.raises(OutputExistsError), new_folder(old):
        raise AssertionError
    assert _content(old.parent) == OLD


class _Stop(BaseException):
    """An interruption of any kind."""


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), _Stop()], ids=repr)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_exception_inside_leaves_nothing_behind(old: Path, error: BaseException, overwrite: bool) -> None:
    target = old if overwrite else old.with_name("new")

    def write() -> None:
        with new_folder(target, overwrite=overwrite) as stage:
            (stage / "c.txt").write_text("new")
            raise error

    with pytest.raises(type(error)):
        write()
    assert _content(old.parent) == OLD
    assert _names(old.parent) == ["out"]


def _full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "where",
    [
        "write",
        "fsync",
        "mkdtemp",
        "first rename",
        "second rename",
    ],
)
def test_a_full_disk_leaves_the_old_folder(old: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    rename, calls = os.rename, 0

    def fail_at(source: Any, target: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == {"first rename": 1, "second rename": 2}[where]:
            _full()
        rename(source, target)

    if where in ("fsync", "mkdtemp"):
        monkeypatch.setattr(os if where == "fsync" else tempfile, where, _full)
    elif where != "write":
        monkeypatch.setattr(os, "rename", fail_at)
        monkeypatch.setattr(files, "_exchange", lambda *_: False)  # as on a system that cannot swap two folders

    def write() -> None:
        with new_folder(old, overwrite=True) as stage:
            if where == "write":
                monkeypatch.setattr(Path, "write_text", _full)
            (stage / "c.txt").write_text("new")

    with pytest.raises(SaveError) as caught:
        write()
    monkeypatch.undo()
    assert str(caught.value) == f"cannot write {old}: No space left on device; what stood there still stands"
    assert _content(old.parent) == OLD
    assert _names(old.parent) == ["out"]


def test_a_refused_file_inside_names_the_folder(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_flush", _full)
    with (
        pytest.raises(SaveError) as caught,
        new_folder(old, overwrite=True) as stage,
        new_file(stage / "c.txt") as part,
    ):
        part.write_text("new")
    assert str(caught.value).startswith(f"cannot write {old}: No space left")
    assert _content(old.parent) == OLD


@pytest.mark.parametrize("when", ["between the renames", "at both renames"])
def test_an_interruption_while_replacing_keeps_the_old_folder(
    old: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    rename, calls = os.rename, 0

    def interrupted(source: Any, target: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.EIO, "broken") if when == "at both renames" else KeyboardInterrupt
        if calls == 3 and when == "at both renames":
            raise OSError(errno.EIO, "broken")
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    with pytest.raises((KeyboardInterrupt, SaveError)), new_folder(old, overwrite=True) as stage:
        (stage / "c.txt").write_text("new")
    monkeypatch.undo()
    # Under its own name or another, the old content is there.
    assert sorted(_content(old.parent).values()) == ["old", "old"]


KILLED = """
import sys, time
from pathlib import Path
from glassbert.files import new_file, new_folder

target = Path(sys.argv[2])
if sys.argv[1] == "folder":
    with new_folder(target, overwrite=True) as stage:
        (stage / "config.json").write_text("new")
        print("ready", flush=True)
        time.sleep(60)
else:
    with new_file(target / "config.json", overwrite=True) as part:
        part.write_text("ne")
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_killed_process_leaves_the_old_folder_whole(old: Path, kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, kind, str(old)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (old / "config.json").read_text() == "old"
    assert (old / "vocab.txt").read_text() == "old"
    # What is left of the dead process is in nobody's way.
    with new_folder(old, overwrite=True) as stage:
        (stage / "c.txt").write_text("new")
    assert _content(old) == {"c.txt": "new"}


@pytest.fixture
def restored_umask() -> Iterator[None]:
    mask = os.umask(0o022)
    yield
    os.umask(mask)


@pytest.mark.parametrize(("mask", "folder", "file"), [(0o022, 0o755, 0o644), (0o077, 0o700, 0o600), (0, 0o777, 0o666)])
@pytest.mark.usefixtures("restored_umask")
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, folder: int, file: int) -> None:
    os.umask(mask)
    with new_folder(tmp_path / "out") as stage, new_file(stage / "c.txt") as part:
        part.write_text("new")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == folder
    assert stat.S_IMODE((tmp_path / "out" / "c.txt").stat().st_mode) == file
    assert os.umask(0) == mask


def test_two_writers_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    barrier = threading.Barrier(2)

    def write(name: str) -> None:
        with new_folder(target, overwrite=True) as stage:
            (stage / "config.json").write_text(name)
            barrier.wait(timeout=120)
            (stage / "vocab.txt").write_text(name)
            if name == "second":
                first.join(timeout=120)

    first = threading.Thread(target=write, args=("first",))
    second = threading.Thread(target=write, args=("second",))
    first.start()
    second.start()
    second.join(timeout=300)
    assert _content(target) == {"config.json": "second", "vocab.txt": "second"}
    assert _names(tmp_path) == ["out"]


def test_a_new_file_stands_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a" / "vocab.txt"
    with new_file(target) as part:
        part.write_text("new")
        assert not target.exists()
    assert _content(tmp_path) == {os.path.join("a", "vocab.txt"): "new"}


def test_a_file_is_replaced_when_that_was_asked_for(old: Path) -> None:
    with pytest.raises(OutputExistsError, match="already there"), new_file(old / "config.json"):
        raise AssertionError
    assert (old / "config.json").read_text() == "old"
    with new_file(old / "config.json", overwrite=True) as part:
        part.write_text("new")
    assert (old / "config.json").read_text() == "new"
    assert _names(old) == ["config.json", "vocab.txt"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()], ids=repr)
def test_an_exception_inside_leaves_the_old_file(old: Path, error: BaseException) -> None:
    def write() -> None:
        with new_file(old / "config.json", overwrite=True) as part:
            part.write_text("ne")
            raise error

    with pytest.raises(type(error)):
        write()
    assert _content(old.parent) == OLD


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(old: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, name, _full)
    with (
        pytest.raises(SaveError, match=r"cannot write .*config\.json: No space left on device"),
        new_file(old / "config.json", overwrite=True) as part,
    ):
        part.write_text("new")
    monkeypatch.undo()
    assert _content(old.parent) == OLD


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_parent_that_is_a_file_is_refused(old: Path, overwrite: bool) -> None:
    with pytest.raises(SaveError, match="cannot write"), new_folder(old / "config.json" / "new", overwrite=overwrite):
        raise AssertionError
    assert _content(old.parent) == OLD


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_whose_parent_is_a_file_is_refused(old: Path, overwrite: bool) -> None:
    with pytest.raises(SaveError, match="cannot write"), new_file(old / "config.json" / "new", overwrite=overwrite):
        raise AssertionError
    assert _content(old.parent) == OLD


def test_json_is_written_as_one_reads_it(tmp_path: Path) -> None:
    value = {"b": 1, "a": ["é", None], "字": {"x": True}}
    write_json(tmp_path / "a.json", value)
    content = (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert content.startswith('{\n  "b": 1,\n  "a": [\n    "é"')
    assert content.endswith("}\n")
    assert read_json(tmp_path / "a.json") == value


def test_a_byte_order_mark_before_json_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of git-lfs"),
        (b"{", "not readable as JSON"),
        (b"\xff", "not readable as JSON"),
        (b"[" * 100_000, "not readable as JSON"),
        (b"[1]", "expected a JSON object, found list"),
        (b"null", "expected a JSON object, found NoneType"),
        (b'"a"', "expected a JSON object, found str"),
    ],
)
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_json(tmp_path / "a.json")
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: {message}")


def test_json_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_json(tmp_path)


def test_two_folders_are_swapped_in_one_step_where_the_system_can(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = old.with_name("other")
    other.mkdir()
    if not files._exchange(other, old):
        pytest.skip("this system cannot swap two folders")
    assert (other / "config.json").exists()
    assert not list(old.iterdir())
    files._exchange(other, old)
    other.rmdir()
    # Then no rename takes place while an old folder is replaced.
    monkeypatch.setattr(os, "rename", _full)
    with new_folder(old, overwrite=True) as stage:
        (stage / "c.txt").write_text("new")
    assert _names(old) == ["c.txt"]
    assert _names(old.parent) == ["out"]


def test_places_that_cannot_be_written_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputExistsError, match="the current folder"):
        check_output(".", overwrite=True)
    Path("file.txt").write_text("x")
    with pytest.raises(SaveError, match="cannot write"):
        check_output("file.txt/out", overwrite=True)
    monkeypatch.setattr(tempfile, "mkdtemp", _full)
    with pytest.raises(SaveError, match="No space left"):
        check_output("out", overwrite=True)


def test_what_must_not_be_lost_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    (work / "inner").mkdir(parents=True)
    (work / "data.tsv").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"holds .*data\.tsv, which would be lost"):
        check_output(work, overwrite=True, keep=[work / "data.tsv"])
    with pytest.raises(OutputExistsError, match=r"holds data\.tsv, which is no file of a model, and would be lost"):
        check_output(work, overwrite=True)
    (work / "data.tsv").rename(tmp_path / "data.tsv")
    with pytest.raises(OutputExistsError, match="holds the folder inner"):
        check_output(work, overwrite=True)
    monkeypatch.chdir(work / "inner")
    for name in ("..", str(tmp_path)):
        with pytest.raises(OutputExistsError, match="would be lost"):
            check_output(name, overwrite=True)
    assert (tmp_path / "data.tsv").read_text() == "mine"


def test_a_file_that_is_copied_again_is_not_lost(tmp_path: Path) -> None:
    card, folder = tmp_path / "README.md", tmp_path / "model"
    folder.mkdir()
    for file in (card, folder / "README.md"):
        file.write_text("card")
    with pytest.raises(OutputExistsError, match=r"README\.md, which is no file of a model"):
        check_output(folder, overwrite=True)
    with new_folder(folder, overwrite=True, again=[card]) as stage:
        (stage / "config.json").write_text("{}")
    (folder / "README.md").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"README\.md"):
        check_output(folder, overwrite=True, again=[card])


def test_an_empty_folder_that_may_not_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path / "out")  # root may write anywhere
    (tmp_path / "out").mkdir()
    with pytest.raises(SaveError, match="the folder is read-only"):
        check_output(tmp_path / "out", overwrite=False)


@pytest.mark.parametrize("name", ["", None, 3, b"out", "a\0b"])
def test_what_is_no_name_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for write in (new_folder, lambda target: updated_folder(target, ["one"])):
        with pytest.raises(SaveError, match="cannot write"), write(name):
            raise AssertionError
    assert _names(tmp_path) == []


@pytest.mark.parametrize("fixed", [False, True])
def test_an_update_takes_away_what_belongs_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fixed: bool
) -> None:
    for name in ("one-1.bin", "one-2.bin", "two.bin", "1_A/config.json", "2_B/config.json", "3_C/mine.txt", "1_A.txt"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("old")
    if fixed:
        monkeypatch.chdir(tmp_path / "out")
    with (
        pytest.raises(OutputExistsError, match=r"one-1\.bin is already there"),
        updated_folder(tmp_path / "out", ["one-*"]),
    ):
        raise AssertionError
    with updated_folder(tmp_path / "out", ["one-*", "[0-9]_*/"], overwrite=True) as stage:
        (stage / "1_A").mkdir()
        (stage / "3_C").mkdir()
        for name in ("one-2.bin", "1_A/config.json", "3_C/config.json"):
            (stage / name).write_text("new")
    assert _content(tmp_path / "out") == {
        **dict.fromkeys(("one-2.bin", "1_A/config.json", "3_C/config.json"), "new"),
        **dict.fromkeys(("two.bin", "3_C/mine.txt", "1_A.txt"), "old"),
    }
    assert _names(tmp_path) == ["out"]


def test_a_folder_of_a_sentence_encoder_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "model" / "1_Pooling").mkdir(parents=True)
    assert check_output(tmp_path / "model", overwrite=True) == tmp_path / "model"


@pytest.mark.parametrize("write", ["new", "updated"])
def test_what_a_killed_process_left_goes_with_the_next_save(tmp_path: Path, write: str) -> None:
    def save() -> contextlib.AbstractContextManager[Path]:
        target = tmp_path / "a[1]"
        return new_folder(target, overwrite=True) if write == "new" else updated_folder(target, ["one"], overwrite=True)

    def entries() -> set[str]:
        return {entry.name for entry in tmp_path.iterdir()}

    abandoned, other, mine = ".a[1].abcd_123.part", ".b.abcd_123.part", ".a[1].notes.part"
    for name in (abandoned, other, mine):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("x")
    with save() as outer:
        (outer / "one").write_text("outer")
        with save() as inner:
            # One that is being written stays.
            assert entries() == {outer.name, inner.name, other, mine}
            (inner / "one").write_text("inner")
    assert entries() == {"a[1]", other, mine}
    assert (tmp_path / "a[1]" / "one").read_text() == "outer"


def test_a_link_stands_for_its_target(tmp_path: Path) -> None:
    for name in ("there", "not yet"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(tmp_path / name)
    (tmp_path / "there").mkdir()
    for name in ("there", "not yet"):
        with new_folder(tmp_path / f"link to {name}") as stage:
            (stage / "config.json").write_text("new")
        assert (tmp_path / f"link to {name}").is_symlink()
        assert (tmp_path / name / "config.json").read_text() == "new"
    assert _names(tmp_path) == ["link to not yet", "link to there", "not yet", "there"]


def test_a_folder_that_another_run_filled_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def two_runs() -> None:
        with new_folder(tmp_path / "out") as stage:
            (stage / "config.json").write_text("late")
            with new_folder(tmp_path / "out") as other:
                (other / "config.json").write_text("early")

    with pytest.raises(SaveError, match="cannot write"):
        two_runs()
    assert _content(tmp_path) == {"out/config.json": "early"}


def test_a_new_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with new_file(tmp_path / "a") as part:
        part.touch(mode=0o600)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode
