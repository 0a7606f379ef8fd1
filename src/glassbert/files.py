"""Reading and writing on disk, safely: the only code of the package that replaces something that stands.

A folder is whole or it is not there. It is written under a temporary name beside its target, flushed to
the disk, and put in its place in one step; an interruption at any moment leaves either the old folder or the new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from glassbert.errors import CheckpointError, OutputExistsError, SaveError

# Folders inside a model folder: the steps of sentence-transformers, such as 1_Pooling.
_MODULE: Final = re.compile(r"\d+_[A-Za-z]+")
# The largest settings that people have are indices of weights, with some 100 kB.
_LARGEST_JSON: Final = 32 * 1024 * 1024


def check_output(folder: str | Path, *, overwrite: bool, keep: Iterable[str | Path] = ()) -> Path:
    """Return the folder that a result may be written to; asked before the work that makes the result.

    Args:
        folder: its name; a symbolic link stands for what it points to.
        overwrite: whether a folder that holds files may be replaced.
        keep: files and folders that the work needs; a folder that holds one of them is never replaced.

    Raises:
        OutputExistsError: it is a file, or holds something while `overwrite` is false, or holds what is not to be lost:
            folders, the current folder, the home folder, something of `keep`.
        SaveError: no folder can be put there: a mount point, no right to write.
    """
    path = Path(folder)
    try:
        if path.is_symlink() or path.name in ("", ".."):
            path = path.resolve()
        if path.is_dir():
            if any(path.iterdir()):
                _check_replaceable(path, overwrite, keep)
            elif path.resolve() == Path.cwd():
                raise OutputExistsError(f"{path} is the current folder; choose a folder inside it")
            if path.is_mount():
                # The new folder takes the old one's place by a rename, which a mount point does not allow.
                raise SaveError(f"cannot write {path}: it is a mount point; choose a folder inside it")
        elif path.exists():
            raise OutputExistsError(f"{path} is a file; the output must be a folder")
        parent = next(parent for parent in path.absolute().parents if parent.exists())
        os.rmdir(tempfile.mkdtemp(prefix=_prefix(path), dir=parent))
    except OSError as error:
        raise _refused(path, error) from None
    return path


def _check_replaceable(path: Path, overwrite: bool, keep: Iterable[str | Path]) -> None:
    if not overwrite:
        raise OutputExistsError(f"{path} already holds something; choose another folder or add --overwrite")
    full = path.resolve()
    for needed in (Path.cwd(), Path("~").expanduser(), *keep):
        if Path(needed).resolve().is_relative_to(full):
            raise OutputExistsError(f"{path} holds {needed}, which would be lost; choose another folder")
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink() and not _MODULE.fullmatch(entry.name):
            raise OutputExistsError(f"{path} holds the folder {entry.name}, so no model folder; choose another folder")


def _prefix(path: Path) -> str:
    # Of a name near the system's limit only a part fits beside what makes it temporary.
    return f".{path.name[:40]}."


@contextlib.contextmanager
def new_folder(target: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write into; when the block ends well it becomes `target`.

    Args:
        target: the folder's final name; parents are created.
        overwrite: whether a non-empty `target` may be replaced. It is replaced only at the very end.

    Raises:
        OutputExistsError: `target` holds something and `overwrite` is false, or is no folder.
        SaveError: the disk refused a write; `target` is as it was before.
    """
    path = check_output(target, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _stage(path, path.parent) as stage:
            os.chmod(stage, 0o777 & ~_umask())
            yield stage
            _flush_tree(stage)
            if overwrite:
                _replace(stage, path)
            else:
                os.rename(stage, path)  # refused by the system where a folder with files has appeared since
                _flush(path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    except SaveError as error:
        # A file inside was refused; the reader knows the folder by its final name only.
        raise _refused(path, error.__cause__ or error) from error


@contextlib.contextmanager
def _stage(path: Path, parent: Path) -> Iterator[Path]:
    """Give a temporary folder in `parent` for what is to become `path`; it is gone when the block ends.

    A process that is killed cannot remove its own. The next one that writes the same folder does: a lock that ends with
    its process tells the abandoned from those that are being written.
    """
    for found in parent.glob(f"{glob.escape(_prefix(path))}*.part"):
        if _STAGE.fullmatch(found.name.removeprefix(_prefix(path))):
            with contextlib.suppress(OSError), _locked(found) as abandoned:
                if abandoned:
                    shutil.rmtree(found, ignore_errors=True)
    while True:
        stage = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=".part", dir=parent))
        with _locked(stage):
            if not stage.exists():
                continue  # another writer took it for abandoned before it was locked
            try:
                yield stage
            finally:
                shutil.rmtree(stage, ignore_errors=True)
            return


_STAGE: Final = re.compile(r"[a-z0-9_]{8}\.part")  # as tempfile names them


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a lock on a folder, where the system has such locks and nobody else holds it; say whether."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except (ImportError, OSError):
            held = False
        yield held
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def updated_folder(target: str | Path, names: Sequence[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write into; when the block ends well, `target` holds its files beside its others.

    It happens in one step, but for a folder that no other can take the place of (the current one, a mount point, one in
    a folder that may not be written to): there each file is replaced by itself.

    Args:
        target: the folder's name; created where it is missing.
        names: files that belong together: those that the block does not write go from `target`.
        overwrite: whether they may be there already.

    Raises:
        OutputExistsError: one of `names` is there and `overwrite` is false, or `target` is a file.
        SaveError: the disk refused a write; `target` is as it was before.
    """
    path = Path(target)
    path = path.resolve() if path.is_symlink() or path.name in ("", "..") else path
    if path.exists() and not path.is_dir():
        raise OutputExistsError(f"{path} is a file; the output must be a folder")
    for name in names:
        if (path / name).exists() and not overwrite:
            raise OutputExistsError(f"{path / name} is already there; choose another folder or ask to overwrite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fixed = path.is_dir() and (
            path.resolve() == Path.cwd() or path.is_mount() or not os.access(path.parent, os.W_OK)
        )
        with _stage(path, path if fixed else path.parent) as stage:
            os.chmod(stage, path.stat().st_mode & 0o7777 if path.is_dir() else 0o777 & ~_umask())
            yield stage
            for file in stage.iterdir():
                file.chmod(0o666 & ~_umask())  # as any new file; some writers are stricter
            written = {file.name for file in stage.iterdir()}
            if fixed:
                _flush_tree(stage)
                for name in sorted(written):
                    os.replace(stage / name, path / name)
                for name in set(names) - written:
                    (path / name).unlink(missing_ok=True)
                _flush(path)
                return
            if path.is_dir():
                for entry in path.iterdir():
                    if entry.name not in written and entry.name not in names:
                        _copy_entry(entry, stage / entry.name)
            _flush_tree(stage)
            _replace(stage, path)
    except OSError as error:
        raise _refused(path, error) from error


def _copy_entry(entry: Path, copy: Path) -> None:
    """Let `copy` be the same file, or a folder of the same files."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.copytree(entry, copy, symlinks=True, copy_function=_same_file)
    elif entry.is_symlink():
        copy.symlink_to(os.readlink(entry))
    else:
        _same_file(str(entry), str(copy))


def _same_file(file: str, copy: str) -> None:
    try:
        os.link(file, copy)
    except OSError:  # a file system without hard links
        shutil.copy2(file, copy)


@contextlib.contextmanager
def new_file(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `target` to write to; when the block ends well it becomes `target`.

    Raises:
        OutputExistsError: `target` is there and `overwrite` is false.
        SaveError: the disk refused a write; `target` is as it was before.
    """
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} is already there; choose another folder or ask to overwrite")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.chmod(0o666 & ~_umask())  # as any new file; some writers are stricter
        _flush(part)
        os.replace(part, target)
        _flush(target.parent)
    except OSError as error:
        raise _refused(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _refused(path: Path, cause: BaseException) -> SaveError:
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return SaveError(f"cannot write {path}: {reason}; what stood there still stands")


def _replace(stage: Path, path: Path) -> None:
    """Put `stage` in the place of `path`; what stood there goes only when the new folder stands."""
    if not path.exists():
        os.rename(stage, path)
    elif _exchange(stage, path):
        shutil.rmtree(stage, ignore_errors=True)
    else:
        # Two renames: an interruption between them leaves the old folder under the name of `aside`.
        aside = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=".old", dir=path.parent))
        try:
            os.rename(path, aside / "was")
            os.rename(stage, path)
        except BaseException:
            if not path.exists():
                os.rename(aside / "was", path)
            raise
        finally:
            if path.exists():
                shutil.rmtree(aside, ignore_errors=True)
    _flush(path.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system cannot (it is Linux's renameat2)."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _flush_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            _flush(Path(parent, name))
        _flush(Path(parent))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    # The process's mask can only be read by setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs; JSON itself lets the last of two equal keys win.

    Raises:
        ValueError: two keys are equal.
    """
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in {name for name, _ in pairs[:number]})
        raise ValueError(f"the key {twice!r} stands there twice")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON with a newline at the end."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file is missing, not UTF-8, not JSON, or holds something other than an object.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise CheckpointError(f"{path}: has {path.stat().st_size:,} bytes, too many for a file of settings")
        value = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=once)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path}: is a folder, expected a JSON file") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
