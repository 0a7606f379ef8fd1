"""The pieces of a result while it is being made: what a run that is cut off leaves, and the same command goes on with.

They stand in a folder beside the result, `OUT.parts`, each with a file that says what it was made of. The folder holds
the plan too, by which another model or other options are told. At the end the pieces become the result in one step.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from glassbert.errors import CheckpointError, ConfigError, DataError, OutputExistsError, SaveError
from glassbert.files import fingerprint, new_file, put_in_place, read_json, remove_abandoned, remove_folder, write_json

_PLAN: Final = "plan.json"
_WHOLE: Final = "whole"
_JOINED: Final = "joined.json"
# With the names that these have while they are written; a process that is killed leaves them.
_OWN: Final = re.compile(r"plan\.json|whole|joined\.json|piece-\d{6,}(\.json)?|\..+\.\d+\.part")
_SAID: Final = re.compile(r"piece-(\d{6,})\.json")


class Pieces:
    """The pieces of one file.

    Args:
        out: the file.
        plan: what it is made with: plain values for JSON, by names for a message.
        overwrite: whether the file may be there already, and pieces of another plan be removed.

    Attributes:
        folder: where they stand.
        done: numbers of those that are there.
        is_finished: whether all is done but the removal of the folder.

    Raises:
        OutputExistsError: the file is there, or the folder holds what is none of its own.
        ConfigError: there are pieces of another plan.
        SaveError: the disk refused a write.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any], *, overwrite: bool) -> None:
        """Write the plan, or compare with the one that is there."""
        self.out = out
        self.folder = out.with_name(f"{out.name}.parts")
        self._overwrite = overwrite
        self.done: set[int] = set()
        self.is_finished = False
        try:
            self._begin(json.loads(json.dumps(plan)))  # as it is read again
        except OSError as error:
            raise SaveError(f"cannot write {out}: {error.strerror or error}") from None

    def _begin(self, plan: Mapping[str, Any]) -> None:
        check_free(self.out)
        if self.out.parent.is_dir():  # what was being removed when a process was killed
            remove_abandoned(self.out.parent, re.compile(re.escape(self.folder.name[:40])))
        names = sorted(entry.name for entry in self.folder.iterdir()) if self.folder.is_dir() else []
        if strange := [name for name in names if not _OWN.fullmatch(name)]:
            raise OutputExistsError(f"{self.folder} holds {strange[0]}, which is none of its pieces; move it")
        before = _read(self.folder / _PLAN)
        done = {int(found[1]) for name in names if (found := _SAID.fullmatch(name))}
        if before == plan and self.out.is_file() and _read(self.folder / _JOINED) == fingerprint(self.out):
            self.is_finished = True
            return
        if self.out.exists() and not self._overwrite:
            raise OutputExistsError(already(self.out))
        if done and before != plan:
            if not self._overwrite:
                raise ConfigError(self._other_plan(before or {}, plan))
            done = set()
        if names and not done:  # pieces of nothing, or of another plan, bind nobody
            remove_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in names if done else ():
            if name.endswith(".part"):
                (self.folder / name).unlink(missing_ok=True)
        if not done:
            with new_file(self.folder / _PLAN, overwrite=True) as part:
                write_json(part, dict(plan))
        self.done = done

    def _other_plan(self, before: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
        name = next(name for name in (*before, *plan) if before.get(name) != plan.get(name))
        return (
            f"{self.folder} holds a part of {self.out} that was made otherwise: {name} was {_short(before.get(name))} "
            f"and is now {_short(plan.get(name))}; go on as it was begun, choose another file, or begin anew with "
            "--overwrite"
        )

    def facts(self, number: int, digest: str) -> dict[str, Any] | None:
        """Return what is said of a piece; None where it is not there, or is of another input and may be replaced.

        Args:
            number: from 0.
            digest: of the input that it has to be of.

        Raises:
            DataError: it is of another input.
        """
        if number not in self.done:
            return None
        said = read_json(self._piece(number, ".json"))
        if said.get("input") == digest:
            return said
        if not self._overwrite:
            raise DataError(
                "was made of another input: what is read, or how, has changed since; begin anew with --overwrite",
                file=self._piece(number),
            )
        return None

    def write(self, number: int, write: Callable[[Path], None], said: Mapping[str, Any]) -> None:
        """Write a piece, and then what is said of it: what is not said is not there.

        Raises:
            SaveError: the disk refused it.
        """
        with new_file(self._piece(number), overwrite=True) as part:
            write(part)
        with new_file(self._piece(number, ".json"), overwrite=True) as part:
            write_json(part, dict(said))
        self.done.add(number)

    def finish(self, numbers: Sequence[int], join: Callable[[Sequence[Path], Path], None]) -> None:
        """Make the file of its pieces, put it in its place, and remove them.

        Raises:
            OutputExistsError: it has come to be there meanwhile.
            SaveError: the disk refused it; the pieces stay.
        """
        with new_file(self.folder / _WHOLE, overwrite=True) as part:
            join([self._piece(number) for number in numbers], part)
        with new_file(self.folder / _JOINED, overwrite=True) as part:
            write_json(part, fingerprint(self.folder / _WHOLE))
        put_in_place(self.folder / _WHOLE, self.out, overwrite=self._overwrite)
        self.remove()

    def leave(self) -> None:
        """Remove the folder where there is no piece in it."""
        if not self.done:
            self.remove()

    def remove(self) -> None:
        """Remove the folder; where the system refuses that, it stays."""
        with contextlib.suppress(OSError):
            remove_folder(self.folder)

    def _piece(self, number: int, more: str = "") -> Path:
        return self.folder / f"piece-{number:06d}{more}"


def check_free(out: Path) -> None:
    """Refuse a name under which no file can be written.

    Raises:
        OutputExistsError: it is a folder.
        SaveError: its folder does not let it, or it is no name.
    """
    try:
        if out.is_dir():
            raise OutputExistsError(f"{out} is a folder; the output must be a file")
        parent = next(parent for parent in out.absolute().parents if parent.exists())
    except OSError as error:  # a name that is too long
        raise SaveError(f"cannot write {out}: {error.strerror or error}") from None
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        reason = "the folder is read-only" if parent.is_dir() else f"{parent} is a file"
        raise SaveError(f"cannot write {out}: {reason}; choose another place")


def already(out: Path) -> str:
    """Say that a file is there."""
    return f"{out} is already there; choose another name, or add --overwrite"


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return read_json(file)
    except CheckpointError:
        return None


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:79] + "…"
