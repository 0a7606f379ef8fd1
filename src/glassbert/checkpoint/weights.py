"""Files of weights: tensors by name, their shapes known before a tensor is read.

A folder is untrusted. Nothing in it is run (pickles are read by torch's weights-only reader), and no file outside it is
read: what an index names has to be a plain file name, and a link has to stay inside (or lead to the blobs of the hub's
cache, whose folders are made of such links).
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from glassbert.checkpoint.place import foreign_weights, inside
from glassbert.errors import CheckpointError
from glassbert.files import LARGEST_SETTINGS, check_content, once, read_json

SAFETENSORS: Final = "model.safetensors"
PYTORCH: Final = "pytorch_model.bin"
# What `glassbert export` writes beside a program.
_EXPORTED: Final = "export.json"
# What names the tensors of a file, in JSON or in a pickle. BERT-large has 50 kB of it; much more takes seconds and
# hundreds of megabytes to read.
_LARGEST_HEADER: Final = 4 * 1024 * 1024
_LARGEST_PICKLE: Final = 512 * 1024
_LONGEST_NAME: Final = 1_024
# The older format is a row of pickles: a number, a version, sizes of numbers, the tensors, their order in the file.
_LEGACY_PICKLES: Final = 5


class Weights(Protocol):
    """Tensors by name, each read when it is asked for."""

    def keys(self) -> list[str]:
        """Return the names."""

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of one, without reading it."""

    def tensor(self, key: str) -> Tensor:
        """Read one.

        Raises:
            CheckpointError: it is damaged.
        """

    def where(self, key: str) -> str:
        """Return the file that holds one, for messages."""


class _Safetensors:
    """One or several files of the safetensors format, memory-mapped."""

    def __init__(self, files: list[Path], stack: contextlib.ExitStack) -> None:
        self._files: dict[str, Path] = {}
        self._open: dict[Path, Any] = {}
        for file in files:
            _check_file(file)
            _check_header(file)
            try:
                self._open[file] = stack.enter_context(safe_open(file, framework="pt"))
                names = list(self._open[file].keys())
            except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
                raise CheckpointError(f"{file}: not readable as safetensors: {_first_line(error)}") from None
            for name in names:
                _check_name(name, file)
                if name in self._files:
                    raise CheckpointError(f"{file}: holds {name}, which {self._files[name].name} holds too")
                self._files[name] = file

    def keys(self) -> list[str]:
        return list(self._files)

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self._open[self._files[key]].get_slice(key).get_shape())

    def tensor(self, key: str) -> Tensor:
        try:
            tensor: Tensor = self._open[self._files[key]].get_tensor(key)
        except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
            raise CheckpointError(f"{self._files[key]}: {key} is not readable: {_first_line(error)}") from None
        return tensor

    def where(self, key: str) -> str:
        return str(self._files[key])


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise CheckpointError(f"{file}: " + ("is no file" if file.exists() else "is missing"))
    check_content(file)


def _check_name(name: str, file: Path) -> None:
    """Refuse a tensor's name that does not fit into a message: several lines, signs for a terminal, too long."""
    if not name.isprintable() or len(name) > _LONGEST_NAME:
        raise CheckpointError(
            f"{file}: names a tensor {name[:40]!r}, expected one line of at most {_LONGEST_NAME} signs"
        )


def _check_header(file: Path) -> None:
    """Refuse a header that says two things of one tensor, of which the library would take the last."""
    with file.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        # Text begins with as large a number, so the file may be none of this format.
        if len(start) < 8 or length > _LARGEST_HEADER:
            raise CheckpointError(
                f"{file}: not readable as safetensors: its first bytes announce no header of up to {_LARGEST_HEADER:,}"
            )
        text = stream.read(length)
    try:
        if len(text) < length:
            raise ValueError("the header is cut off")
        json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not readable as safetensors: {_first_line(error)}") from None


class _Pickled:
    """One or several files of `torch.save`, read by the weights-only reader."""

    def __init__(self, files: list[Path], most: int | None) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._files: dict[str, Path] = {}
        for file in files:
            for name, tensor in _unpickled(file, most).items():
                if name in self._files:
                    raise CheckpointError(f"{file}: holds {name}, which {self._files[name].name} holds too")
                self._tensors[name], self._files[name] = tensor, file

    def keys(self) -> list[str]:
        return list(self._tensors)

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self._tensors[key].shape)

    def tensor(self, key: str) -> Tensor:
        return self._tensors[key]

    def where(self, key: str) -> str:
        return str(self._files[key])


def _unpickled(file: Path, most: int | None) -> dict[str, Tensor]:
    """Read one file; `most` are the bytes that the older format, which is read as a whole, may have."""
    _check_file(file)
    with file.open("rb") as stream:
        start = stream.read(_LARGEST_PICKLE)
    try:
        zipped = start.startswith(b"PK\3\4")  # as torch tells the two formats apart
        if zipped:
            storages = _check_archive(file)
        else:
            _check_pickles(file, start, _LEGACY_PICKLES)
            storages = None
            if most is not None and (size := file.stat().st_size) > most:
                raise CheckpointError(f"{file}: has {size:,} bytes, but a model of its config at most {most:,}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of a pickle before it refuses it
            # A zip is mapped into memory; the older format can only be read as a whole.
            loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=zipped or None)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        # torch names what the file wants to call: "Unsupported global: GLOBAL os.system was not …".
        call = re.search(r"GLOBAL ([\w.]+)", str(error))
        if call is None:
            raise CheckpointError(f"{file}: not readable as a file of torch.save") from None
        raise CheckpointError(f"{file}: holds more than tensors: it would call {call[1]}; nothing was run") from None
    except Exception as error:  # whatever damaged bytes make of a pickle
        raise CheckpointError(f"{file}: not readable as a file of torch.save: {_first_line(error)}") from None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{file}: holds a {type(loaded).__name__}, expected tensors by name")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{file}: {_shown(name)} is a {type(value).__name__}, expected a tensor by name")
        _check_name(name, file)
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise CheckpointError(f"{file}: {name} is no plain tensor")
    if storages is not None:
        _check_storages(file, loaded, storages)
    # A file may hold parameters, which would have torch warn of every look at their numbers.
    return {name: tensor.detach() for name, tensor in loaded.items()}


def _check_archive(file: Path) -> list[int]:
    """Refuse an archive whose parts are compressed: torch writes none, and a small one may hold a huge tensor.

    Returns:
        the bytes of each storage in it.
    """
    storages = []
    with zipfile.ZipFile(file) as archive:
        size = file.stat().st_size
        for part in archive.infolist():
            if part.compress_type != zipfile.ZIP_STORED or part.file_size > size:
                raise CheckpointError(f"{file}: {part.filename[:40]!r} is compressed, as in no file of torch.save")
            if part.filename.endswith("data.pkl"):
                if part.file_size > _LARGEST_PICKLE:
                    raise CheckpointError(f"{file}: data.pkl has {part.file_size:,} bytes, too many for names")
                _check_pickles(file, archive.read(part), 1)
            elif _STORAGE.fullmatch(part.filename):
                storages.append(part.file_size)
    return storages


_STORAGE: Final = re.compile(r"[^/]+/data/[^/]+")


def _check_storages(file: Path, loaded: dict[str, Tensor], sizes: list[int]) -> None:
    """Hold what the pickle says of the storages against the archive.

    Torch maps the file and takes the bytes from where a storage begins; behind the end of one that is too short lies
    something else.
    """
    found = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in loaded.values()}
    if sorted(filter(None, found.values())) != sorted(filter(None, sizes)):
        raise CheckpointError(f"{file}: is damaged: its tensors have {sum(found.values()):,} bytes, not {sum(sizes):,}")


def _check_pickles(file: Path, data: bytes, count: int) -> None:
    """Refuse pickles that torch's weights-only reader would spend hours or gigabytes on.

    To look up a tuple that holds the same tuple twice, which does so too, takes twice as long with every level. Torch's
    own files hold no tuple twice.

    Raises:
        CheckpointError: one is such; or it would call what makes no tensor.
        ValueError: what is there is no pickle.
    """
    stream = io.BytesIO(data)
    for _ in range(count):
        tuples: set[Any] = set()
        is_tuple = False
        for operation, argument, _ in pickletools.genops(stream):
            name = operation.name
            if name == "GLOBAL" and str(argument).partition(" ")[0] in _NO_TENSORS:
                call = str(argument).replace(" ", ".")[:60]
                raise CheckpointError(f"{file}: holds more than tensors: it would call {call}; nothing was run")
            if name.endswith("PUT"):
                if is_tuple:
                    tuples.add(argument)
                continue
            if name.endswith("GET") and argument in tuples:
                raise CheckpointError(f"{file}: holds more than tensors: tuples of tuples; nothing was run")
            is_tuple = name.startswith("TUPLE")


# Modules of which torch's reader would call a function; among them is bytearray, of any size.
_NO_TENSORS: Final = ("builtins", "__builtin__", "_codecs")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _shards(folder: Path, index: Path) -> tuple[dict[str, str], list[Path]]:
    """Read an index: the file of each tensor, and the files.

    Raises:
        CheckpointError: it is no index, or names anything but files of its folder.
    """
    mapping = read_json(index, most=LARGEST_SETTINGS).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise CheckpointError(f"{index}: weight_map is {_shown(mapping)}, expected file names by tensor")
    for key, name in mapping.items():
        _check_name(key, index)
        if not isinstance(name, str):
            raise CheckpointError(f"{index}: {key} stands in {_shown(name)}, expected a file name")
    return mapping, [inside(folder, name, named_by=index) for name in sorted(set(mapping.values()))]


def _shown(value: Any) -> str:
    return repr(value)[:60]


def _check_shards(weights: Weights, mapping: dict[str, str], index: Path) -> None:
    """Hold the files to their index."""
    there = set(weights.keys())
    for key, name in mapping.items():
        if key not in there:
            raise CheckpointError(f"{index}: {key} should stand in {name}, which does not hold it")
        if Path(weights.where(key)).name != name:
            holder = Path(weights.where(key)).name
            raise CheckpointError(f"{index}: {key} should stand in {name}, but {holder} holds it")
    for key in there - mapping.keys():
        raise CheckpointError(f"{weights.where(key)}: holds {key}, which {index.name} does not name")


@contextlib.contextmanager
def open_weights(folder: Path, most: int | None = None) -> Iterator[Weights]:
    """Open what a folder holds: `model.safetensors`, else `pytorch_model.bin`, each whole or by an index.

    Args:
        folder: of the model.
        most: bytes that a file may have that can only be read as a whole; None where nobody knows the model's sizes.

    Raises:
        CheckpointError: neither is there, or what is there is damaged or hostile.
    """
    with contextlib.ExitStack() as stack:
        for name in (SAFETENSORS, PYTORCH):
            index = inside(folder, f"{name}.index.json")
            if (folder / name).exists() or (folder / name).is_symlink():
                files, mapping = [inside(folder, name)], None
            elif index.exists():
                mapping, files = _shards(folder, index)
            else:
                continue
            weights = _Safetensors(files, stack) if name == SAFETENSORS else _Pickled(files, most)
            if mapping is not None:
                _check_shards(weights, mapping, index)
            yield weights
            return
        found = foreign_weights(folder)
        instead = f"; {found} cannot be read: rename what is one of these, convert others with transformers"
        if (folder / _EXPORTED).exists():
            found = _EXPORTED
            instead = "; it was exported: model.onnx is run by engine='onnx' (--engine onnx), model.pt2 by torch.export"
        raise CheckpointError(f"{folder}: holds neither {SAFETENSORS} nor {PYTORCH}{instead if found else ''}")
