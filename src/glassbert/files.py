"""Reading and writing on disk, safely: the only code of the package that replaces something that stands.

A folder is whole or it is not there. It is written under a temporary name beside its target, flushed to
the disk, and put in its place in one step; an interruption at any moment leaves either the old folder or the new one.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import filecmp
import fnmatch
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from glassbert.errors import CheckpointError, OutputExistsError, SaveError

# Folders inside a model folder: the steps of sentence-transformers, such as 1_Pooling.
_MODULE: Final = re.compile(r"\d+_[A-Za-z]+")
# Files that the commands of glassbert and the libraries of models write. Only these are replaced with their folder.
_WRITTEN: Final = re.compile(
    "|".join(
        (
            r"(bert_|generation_)?config\.json",
            r"(model|pytorch_model)(-\d{5}-of-\d{5})?\.(safetensors|bin)(\.index\.json)?",
            r"(tf_model\.h5|flax_model\.msgpack|rust_model\.ot|training_args\.bin|\.gitattributes)",
            r"(vocab\.txt|(tokenizer|tokenizer_config|special_tokens_map|added_tokens)\.json)",
            r"(modules|sentence_bert_config|config_sentence_transformers)\.json",
            r"checkpoint|(?!\.).*(model|ckpt).*\.(index|meta|data-\d{5}-of-\d{5})",
            r"torch_encoder\.(json|safetensors)",
            r"training\.json|settings\.yaml|report\.html|(learning_curve|confusion_matrix)\.png",
            r"tuning\.(json|html|png)",
            r"model\.(onnx|onnx\.data|pt2)|export\.json",
            r"\..+\.\d+\.part",  # what a killed process left
        )
    )
)
# Files of these names may be a person's own; `signed` tells which are not.
_SIGNED: Final = re.compile(r"README\.md")
# The largest JSON files that people have are tokenizers, with some 20 MB. Settings of a model are smaller: an index of
# weights has 100 kB, names of 50,000 classes 3 MB. A hostile one of that size takes a second and 150 MB of memory.
_LARGEST_JSON: Final = 32 * 1024 * 1024
LARGEST_SETTINGS: Final = 4 * 1024 * 1024
# Bytes that are read and hashed together.
_TOGETHER: Final = 1 << 24


class Kind(NamedTuple):
    """What a folder is a folder of, and which files it has: these may be replaced with it, others would be lost."""

    name: str
    files: re.Pattern[str]


MODEL: Final = Kind("a model", _WRITTEN)


def check_output(
    folder: str | Path,
    *,
    overwrite: bool,
    keep: Iterable[str | Path] = (),
    again: Iterable[Path] = (),
    kind: Kind = MODEL,
) -> Path:
    """Return the folder that a result may be written to; asked before the work that makes the result.

    Args:
        folder: its name; a symbolic link stands for what it points to.
        overwrite: whether a folder of this kind that is there may be replaced.
        keep: files and folders that the work needs; a folder that holds one of them is never replaced.
        again: files that are going to be copied into it; one of the same name and content is not lost.
        kind: what is going to be written.

    Raises:
        OutputExistsError: it is a file, or holds something while `overwrite` is false, or holds what is not to be lost:
            files that no folder of this kind has, folders, the current folder, the home folder, something of `keep`.
        SaveError: no folder can be put there: a mount point, no right to write, no name.
    """
    path = output_folder(folder)
    if str(path) == "-":
        raise OutputExistsError("the output is a folder, which cannot go to standard output (-); name a folder")
    try:
        if path.is_dir():
            if any(path.iterdir()):
                _check_replaceable(path, overwrite, keep, again, kind)
            elif path.resolve() == Path.cwd():
                raise OutputExistsError(f"{path} is the current folder; choose a folder inside it")
            elif not os.access(path, os.W_OK):
                raise SaveError(f"cannot write {path}: the folder is read-only; choose another one")
            if path.is_mount():
                # The new folder takes the old one's place by a rename, which a mount point does not allow.
                raise SaveError(f"cannot write {path}: it is a mount point; choose a folder inside it")
        elif path.exists():
            raise OutputExistsError(f"{path} is a file; the output must be a folder")
        parent = next(parent for parent in path.absolute().parents if parent.exists())
        probe = tempfile.mkdtemp(prefix=_prefix(path), suffix=".part", dir=parent)
        with contextlib.suppress(FileNotFoundError):  # taken for abandoned by another process
            os.rmdir(probe)
    except OSError as error:
        raise _refused(path, error) from None
    return path


def output_folder(folder: str | Path) -> Path:
    """Return the folder to write to by its own name, a link by that of its target.

    Raises:
        SaveError: it has no name.
    """
    if not isinstance(folder, (str, os.PathLike)) or not str(folder) or "\0" in str(folder):
        raise SaveError(f"cannot write to {folder!r}, expected the name of a folder ('.' is the current one)")
    path = Path(folder)
    try:
        return path.resolve() if path.is_symlink() or path.name in ("", "..") else path
    except (OSError, ValueError) as error:
        raise _refused(path, error) from None


def _check_replaceable(
    path: Path, overwrite: bool, keep: Iterable[str | Path], again: Iterable[Path], kind: Kind
) -> None:
    if not overwrite:
        raise OutputExistsError(
            f"{path} already holds something; choose another folder, or pass overwrite=True (--overwrite)"
        )
    full = path.resolve()
    for needed in (Path.cwd(), Path("~").expanduser(), *keep):
        place = Path(needed).resolve()
        if place.is_relative_to(full):
            holds = f"holds {needed}, which" if place != full else "is needed itself and"
            raise OutputExistsError(f"{path} {holds} would be lost; choose another folder")
    copies = {file.name: file for file in again}
    for entry in _foreign(path, kind):
        if entry.is_dir() and not entry.is_symlink():
            raise OutputExistsError(f"{path} holds the folder {entry.name}, so no model folder; choose another folder")
        if entry.name not in copies or not filecmp.cmp(entry, copies[entry.name], shallow=False):
            raise OutputExistsError(
                f"{path} holds {entry.relative_to(path)}, which is no file of {kind.name}, and would be lost; "
                "choose another folder or move it"
            )


def _foreign(folder: Path, kind: Kind) -> Iterator[Path]:
    """Walk through what a folder of this kind does not have: other files, and folders that are no steps of it."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and _MODULE.fullmatch(entry.name):
            yield from _foreign(entry, kind)
        elif not kind.files.fullmatch(entry.name) and not _is_signed(entry):
            yield entry


def _prefix(path: Path) -> str:
    # Of a name near the system's limit only a part fits beside what makes it temporary.
    return f".{path.name[:40]}."


@contextlib.contextmanager
def new_folder(
    target: str | Path, *, overwrite: bool = False, again: Iterable[Path] = (), kind: Kind = MODEL
) -> Iterator[Path]:
    """Give a temporary folder to write into; when the block ends well it becomes `target`.

    Args:
        target: the folder's final name; parents are created.
        overwrite: whether a folder of this kind that is there may be replaced. It is replaced only at the very end.
        again: as in `check_output`.
        kind: as in `check_output`.

    Raises:
        OutputExistsError: `target` holds something and `overwrite` is false, or holds what is not to be lost, or is no
            folder.
        SaveError: the disk refused a write; `target` is as it was before.
    """
    path = check_output(target, overwrite=overwrite, again=again, kind=kind)
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
    name = _prefix(path)[1:-1]
    # What is written into a temporary folder may itself be written beside it first.
    remove_abandoned(parent, re.compile(rf"{re.escape(name)}|{re.escape(_prefix(path)[:40])}.*"))
    while True:
        stage = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=".part", dir=parent))
        with locked(stage):
            if not stage.exists():
                continue  # another writer took it for abandoned before it was locked
            try:
                yield stage
            finally:
                shutil.rmtree(stage, ignore_errors=True)
            return


_STAGE: Final = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.part")  # as tempfile names them


def remove_abandoned(parent: Path, name: re.Pattern[str]) -> None:
    """Remove the temporary folders in `parent` of targets of some name, but for those that are being written."""
    for found in parent.glob(".*.part"):
        target = _STAGE.fullmatch(found.name)
        if target and name.fullmatch(target[1]):
            with contextlib.suppress(OSError), locked(found) as abandoned:
                if abandoned:
                    shutil.rmtree(found, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that its name is gone in one step; what a process that is killed leaves is abandoned.

    Raises:
        OSError: the system refused that.
    """
    # No other folder is made for it: the disk may be full, and this is how it gets room.
    hidden = folder.with_name(f"{_prefix(folder)}{secrets.token_hex(4)}.part")
    os.rename(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a lock on a folder, where the system has such locks and nobody else holds it; say whether.

    The lock ends with the process that holds it, however that ends.
    """
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
        names: what belongs together, as patterns (`fnmatch`) of files and, with a slash at the end, of folders; what
            the block does not write of it goes from `target`. A folder that holds more than a model's files stays.
        overwrite: whether it may be there already.

    Raises:
        OutputExistsError: something of `names` is there and `overwrite` is false, or `target` is a file.
        SaveError: the disk refused a write; `target` is as it was before.
    """
    path = output_folder(target)
    try:
        if path.exists() and not path.is_dir():
            raise OutputExistsError(f"{path} is a file; the output must be a folder")
        entries = sorted(path.iterdir()) if path.is_dir() else []
        old = [entry for name in names for entry in entries if _belongs(entry, name)]
        if old and not overwrite:
            raise OutputExistsError(_already(old[0]))
        path.parent.mkdir(parents=True, exist_ok=True)
        fixed = path.is_dir() and (
            path.resolve() == Path.cwd() or path.is_mount() or not os.access(path.parent, os.W_OK)
        )
        with _stage(path, path if fixed else path.parent) as stage:
            os.chmod(stage, path.stat().st_mode & 0o7777 if path.is_dir() else 0o777 & ~_umask())
            yield stage
            for file in stage.rglob("*"):
                file.chmod(
                    (0o777 if file.is_dir() else 0o666) & ~_umask()
                )  # as any new file; some writers are stricter
            if fixed:
                _flush_tree(stage)
                for entry in old:
                    if not (stage / entry.name).exists():
                        _remove(entry)
                for file in sorted(file for file in stage.rglob("*") if not file.is_dir()):
                    place = path / file.relative_to(stage)
                    place.parent.mkdir(exist_ok=True)
                    os.replace(file, place)
                _flush(path)
                return
            if path.is_dir():
                take_along(path, stage, old)
            _flush_tree(stage)
            _replace(stage, path)
    except OSError as error:
        raise _refused(path, error) from error
    except SaveError as error:
        raise _refused(path, error.__cause__ or error) from error


def _belongs(entry: Path, pattern: str) -> bool:
    is_folder = entry.is_dir() and not entry.is_symlink()
    if is_folder != pattern.endswith("/") or not fnmatch.fnmatchcase(entry.name, pattern.removesuffix("/")):
        return False
    return not is_folder or not any(_foreign(entry, MODEL))


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def _already(path: Path) -> str:
    return f"{path} is already there; choose another folder, or pass overwrite=True (--overwrite)"


def take_along(folder: Path, stage: Path, old: Collection[Path] = ()) -> None:
    """Let `stage` hold the same files as `folder` where it has none of their names, but not those that are `old`."""
    for entry in folder.iterdir():
        copy = stage / entry.name
        if entry in old:
            continue
        if entry.is_dir() and not entry.is_symlink():
            new = not copy.exists()
            copy.mkdir(exist_ok=True)
            take_along(entry, copy)
            if new:
                shutil.copystat(entry, copy)
        elif not copy.exists():
            if entry.is_symlink():
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
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.exists() and not overwrite:
            raise OutputExistsError(_already(target))
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


def put_in_place(file: Path, target: Path, *, overwrite: bool = False) -> None:
    """Give a file that is whole, on the same disk, its final name.

    Raises:
        OutputExistsError: `target` is there and `overwrite` is false.
        SaveError: the system refused that; what stood there still stands.
    """
    try:
        if target.exists() and not overwrite:
            raise OutputExistsError(_already(target))
        os.replace(file, target)
        _flush(target.parent)
    except OSError as error:
        raise _refused(target, error) from error


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
        (twice, _), *_ = collections.Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return value


def signed(text: str) -> str:
    """Return a text with a last line, unseen in Markdown, by which it is known as one that nobody has changed."""
    return f"{text}<!-- glassbert {hashlib.sha256(text.encode()).hexdigest()} -->\n"


def _is_signed(file: Path) -> bool:
    """Whether glassbert wrote a file such as `README.md`, and nobody changed it since, so that it is not to be lost."""
    if not _SIGNED.fullmatch(file.name) or not file.is_file():
        return False
    text = file.read_bytes().decode("utf-8", "replace")
    return text == signed(text[: text.rfind("<!-- ")])


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON with a newline at the end."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def fingerprint(file: Path, on_bytes: Callable[[int], object] = lambda _: None) -> dict[str, Any]:
    """Return a file's size and SHA-256; `on_bytes` is told now and then how many more bytes have been read."""
    digest = hashlib.sha256()
    size = 0
    with file.open("rb") as stream:
        while block := stream.read(_TOGETHER):
            digest.update(block)
            size += len(block)
            on_bytes(len(block))
    return {"bytes": size, "sha256": digest.hexdigest()}


@contextlib.contextmanager
def reading(place: str | Path) -> Iterator[None]:
    """Let what the system refuses in the block be told of the file that it refused, or else of `place`.

    Raises:
        CheckpointError: by the file's name.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{error.filename or place}: {error.strerror or error}") from None


def check_content(file: Path) -> None:
    """Refuse a file without content, and one that stands for a content that is elsewhere.

    Raises:
        CheckpointError: it is empty, a pointer of git-lfs, or not readable.
    """
    with reading(file), file.open("rb") as stream:
        start = stream.read(len(_POINTER))
    if not start:
        raise CheckpointError(f"{file}: is empty")
    if start == _POINTER:
        raise CheckpointError(f"{file}: is a pointer of git-lfs, not the file itself; run: git lfs pull")


_POINTER: Final = b"version https://git-lfs.github.com/spec/"


def read_json(path: Path, *, most: int = _LARGEST_JSON) -> dict[str, Any]:
    """Read a JSON object of at most `most` bytes.

    Raises:
        CheckpointError: the file is missing, too large, not UTF-8, not JSON, or holds something other than an object.
    """
    value = read_json_value(path, most=most)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def read_json_value(path: Path, *, most: int = _LARGEST_JSON) -> Any:
    """Read whatever a JSON file holds; the errors are those of `read_json`."""
    try:
        if path.stat().st_size > most:
            raise CheckpointError(f"{path}: has {path.stat().st_size:,} bytes, too many for a file of settings")
        return json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=once)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path}: is a folder, expected a JSON file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        check_content(path)
        raise CheckpointError(f"{path}: not readable as JSON: {error}") from None
