"""Where the files of a model are: its folder, and what may be read there.

A folder is untrusted: no file outside of it is read. What a file names has to be a plain file name, and a link has to
stay inside, or lead to the blobs of the hub's cache, whose folders are made of such links.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from glassbert.errors import CheckpointError

CONFIG: Final = "config.json"
TF_CONFIG: Final = "bert_config.json"
MODULES: Final = "modules.json"
TORCH_ENCODER: Final = "torch_encoder.json"
# Weights that glassbert does not read, to name them where there are no others.
FOREIGN: Final = re.compile(r"[^/]+\.(h5|msgpack|onnx|ot|gguf|pt|pth|tflite|ckpt|safetensors|bin)")


def check_name(name: Any) -> None:
    """Refuse what can be no name of a model.

    Raises:
        CheckpointError: it is neither a string nor a path.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise CheckpointError(f"the name is {name!r}, expected a folder or the name of a repo, as text or as a path")


def model_folder(folder: str | Path) -> Path:
    """Return `folder` as a path.

    Raises:
        CheckpointError: there is no such folder, or it holds no config.
    """
    path = Path(folder)
    try:
        known, there = path.is_dir(), path.exists()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from None
    if not known:
        raise CheckpointError(f"{path}: " + ("is a file, expected a model folder" if there else "no such folder"))
    if not inside(path, CONFIG).is_file() and not any((path / name).exists() for name in (TF_CONFIG, MODULES)):
        raise CheckpointError(f"{path}: holds no {CONFIG}, so it is no model folder{_instead(path)}")
    return path


def _instead(folder: Path) -> str:
    """Say what a folder without a config holds, and what can be done with it."""
    if (folder / TORCH_ENCODER).exists():
        return f"; {TORCH_ENCODER} is there: glassbert convert {folder} OUT --to hf makes one of it"
    for entry in sorted(folder.iterdir()):
        if entry.name.endswith(".index"):
            return f"; {entry.name} is that of a TensorFlow checkpoint: put the {TF_CONFIG} of its model beside it"
        if (entry / CONFIG).is_file():
            return f"; {entry.name} in it does: name that one"
    weights = foreign_weights(folder)
    return f"; {weights} is there: put the {CONFIG} of its model beside it" if weights else ""


def foreign_weights(folder: Path) -> str:
    """Name up to three files of a folder that look like weights."""
    return ", ".join(sorted(entry.name for entry in folder.iterdir() if FOREIGN.fullmatch(entry.name))[:3])


def inside(folder: Path, name: str, *, named_by: Path | None = None) -> Path:
    """Return the file `name` of `folder`.

    Args:
        folder: a model folder.
        name: a plain file name.
        named_by: the file that names it, for the message.

    Raises:
        CheckpointError: the name is a path, or a link that leads out of the folder.
    """
    by = "" if named_by is None else f"{named_by}: "
    if not name.isprintable() or not name or name != Path(name).name or "\\" in name or name in (".", ".."):
        raise CheckpointError(f"{by}names {name!r}, expected the plain name of a file in its folder")
    return contained(folder, folder / name)


def contained(folder: Path, path: Path) -> Path:
    """Return `path`, where it stays in `folder` when links are followed.

    Raises:
        CheckpointError: it leads elsewhere.
    """
    home = folder.resolve()
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle, a name that is too long
        raise CheckpointError(f"{path}: {error}") from None
    # The hub's cache: snapshots/REVISION/file is a link to blobs/HASH, which may be one to blobs that all repos share.
    repo = home.parent.parent
    blobs = (repo / "blobs", repo.parent / "blobs") if home.parent.name == "snapshots" else ()
    if not any(target.is_relative_to(place) for place in (home, *blobs)):
        raise CheckpointError(f"{path}: is a link to {target}, outside of its folder; put what it points to there")
    return path
