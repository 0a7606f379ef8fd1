"""Files of weights: tensors by name, their shapes known before a tensor is read.

A folder is untrusted. Nothing in it is run (pickles are read by torch's weights-only reader), and no file outside it is
read: what an index names has to be a plain file name, and a link has to stay inside (or lead to the blobs of the hub's
cache, whose folders are made of such links).
"""

from __future__ import annotations

import contextlib
import json
import pickle
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
from glassbert.files import check_content, once, read_json

SAFETENSORS: Final = "model.safetensors"
PYTORCH: Final = "pytorch_model.bin"
# The format's own limit.
_LARGEST_HEADER: Final = 100_000_000
# The pickle beside the tensors of a .bin names them; for a BERT it has some 50 kB.
_LARGEST_PICKLE: Final = 16 * 1024 * 1024


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


def _check_header(file: Path) -> None:
    """Refuse a header that says two things of one tensor, of which the library would take the last."""
    with file.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > _LARGEST_HEADER:
            raise CheckpointError(f"{file}: not readable as safetensors: its first bytes are no header of that format")
        text = stream.read(length)
    try:
        if len(text) < length:
            raise ValueError("the header is cut off")
        json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not readable as safetensors: {_first_line(error)}") from None


class _Pickled:
    """One or several files of `torch.save`, read by the weights-only reader."""

    def __init__(self, files: list[Path]) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._files: dict[str, Path] = {}
        for file in files:
            for name, tensor in _unpickled(file).items():
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


def _unpickled(file: Path) -> dict[str, Tensor]:
    _check_file(file)
    try:
        zipped = zipfile.is_zipfile(file)
        if zipped:
            _check_archive(file)
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
            raise CheckpointError(f"{file}: {name!r} is a {type(value).__name__}, expected a tensor by name")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise CheckpointError(f"{file}: {name} is no plain tensor")
    # A file may hold parameters, which would have torch warn of every look at their numbers.
    return {name: tensor.detach() for name, tensor in loaded.items()}


def _check_archive(file: Path) -> None:
    """Refuse an archive whose parts are compressed: torch writes none, and a small one may hold a huge tensor."""
    with zipfile.ZipFile(file) as archive:
        size = file.stat().st_size
        for part in archive.infolist():
            if part.compress_type != zipfile.ZIP_STORED or part.file_size > size:
                raise CheckpointError(f"{file}: {part.filename} is compressed, as in no file of torch.save")
            if part.filename.endswith("data.pkl") and part.file_size > _LARGEST_PICKLE:
                raise CheckpointError(f"{file}: {part.filename} has {part.file_size:,} bytes, too many for names")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _shards(folder: Path, index: Path) -> tuple[dict[str, str], list[Path]]:
    """Read an index: the file of each tensor, and the files.

    Raises:
        CheckpointError: it is no index, or names anything but files of its folder.
    """
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise CheckpointError(f"{index}: weight_map is {_shown(mapping)}, expected file names by tensor")
    for key, name in mapping.items():
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
def open_weights(folder: Path) -> Iterator[Weights]:
    """Open what a folder holds: `model.safetensors`, else `pytorch_model.bin`, each whole or by an index.

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
            weights = _Safetensors(files, stack) if name == SAFETENSORS else _Pickled(files)
            if mapping is not None:
                _check_shards(weights, mapping, index)
            yield weights
            return
        found = foreign_weights(folder)
        instead = f"; {found} cannot be read: rename what is one of these, convert others with transformers"
        raise CheckpointError(f"{folder}: holds neither {SAFETENSORS} nor {PYTORCH}{instead if found else ''}")
