"""Disks that refuse: `LD_PRELOAD=faults.so python -m tests.train.faults FOLDER [EVERY]`, with faults.c compiled.

One call after the other of those by which a checkpoint is written fails, for a full disk or a broken one, or writes
half of what it was given. A line tells what each kind of fault came to. Whole runs meet every EVERY-th of these calls,
every one if that is not given.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from glassbert import FinetuneSettings, SaveError, finetune
from glassbert.train import Event, Notice, Step
from glassbert.train.state import Checkpoints, State, read_state
from tests.train.runs import left_behind, make, outcome, settings

SHORT, SHORT_THEN_FULL = -1, -2
KINDS = {"full": errno.ENOSPC, "broken": errno.EIO, "short": SHORT, "short, then full": SHORT_THEN_FULL}

disk = ctypes.CDLL(None)
disk.faults_told.restype = ctypes.c_char_p
disk.faults_count.restype = ctypes.c_long


def arm(below: Path, number: int, kind: int) -> None:
    disk.faults_arm(os.fsencode(below), ctypes.c_long(number), kind)


def disarm() -> tuple[int, str]:
    """Let the disk work again; return how many calls there were, and the name of the one that met the fault."""
    found = int(disk.faults_count()), disk.faults_told().decode()
    disk.faults_arm(b"", ctypes.c_long(0), 0)
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def each(checkpoints: Path, before: State, state: State, kind: int) -> Iterator[str]:
    """Refuse one call of a save after the other; give what came of it."""
    number = 0
    writer = Checkpoints(checkpoints, {}, keep=1)
    old = writer.save(before)
    bytes_before = content(old)
    kept = shutil.copytree(old, checkpoints.with_name("kept"), dirs_exist_ok=True)
    while True:
        number += 1
        writer.clear()
        shutil.copytree(kept, old)
        arm(checkpoints, number, kind)
        came, error = "saved", ""
        try:
            writer.save(state)
        except SaveError as refusal:
            came, error = "refused", str(refusal)
        finally:
            count, call = disarm()
        if count < number:
            return
        assert came == "saved" or error.startswith(f"cannot write {checkpoints}"), error
        steps, others = left_behind(checkpoints)  # each can be read, or this raises
        assert not others, others
        if came == "refused" and before.step != state.step:
            assert content(old) == bytes_before, "the one before has changed"
        if came == "refused":
            assert before.step in steps
        assert kind != SHORT or came == "saved", "a short write is no fault"
        if not number % 5:
            writer.save(state)
            assert left_behind(checkpoints) == ([state.step], [])
        yield f"{call} {came}"


def saves(folder: Path, state: State) -> int:
    """Try all calls and all faults; return how many calls a save makes."""
    most = 0
    for name, kind in KINDS.items():
        for what, before in (("new", state._replace(step=state.step - 2)), ("again", state)):
            found = list(each(folder / "some-checkpoints", before, state, kind))
            most = max(most, len(found))
            counts = ", ".join(f"{came} {count}" for came, count in sorted(Counter(found).items()))
            print(f"{name}, {what}: {len(found)} faults: {counts}", flush=True)
    return most


def runs(folder: Path, calls: int, every: int) -> None:
    """Let whole runs meet a full disk, in a save now and then, and in one at Ctrl-C."""
    whole = outcome(folder / "whole")
    told = refused = 0
    for number in range(1, calls + 1, every):
        notices = trained(folder, "periodic", number, signal_too=False)
        assert isinstance(notices, list)
        assert outcome(folder / "periodic") == whole, f"call {number}: not the result of an undisturbed run"
        assert len(notices) <= 1, notices
        told += len(notices)
        error = trained(folder, "ended", number, signal_too=True)
        if isinstance(error, SaveError):
            refused += 1
            assert str(error).startswith("no checkpoint of step 5: cannot write "), error
            assert "\n" not in str(error)
        else:
            assert isinstance(error, KeyboardInterrupt), error
        left_behind(folder / "ended-checkpoints")
        finetune(FinetuneSettings(**settings(folder, "ended", resume=True, overwrite=True)))
        assert outcome(folder / "ended") == whole, f"call {number}: not the result of an undisturbed run"
    print(f"runs: {len(range(1, calls + 1, every))}, told: {told}; ended by Ctrl-C and refused: {refused}", flush=True)


def trained(folder: Path, out: str, number: int, *, signal_too: bool) -> list[str] | BaseException:
    """Train while the save of step 4 meets a fault, or that of step 5 and Ctrl-C; return what was told of it."""
    checkpoints = folder / f"{out}-checkpoints"
    notices: list[str] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Notice) and "checkpoint of step" in event.message:
            notices.append(event.message)
        if isinstance(event, Step) and event.step == 4 + signal_too:
            arm(checkpoints, number, errno.ENOSPC)
            if signal_too:
                os.kill(os.getpid(), signal.SIGINT)
        elif isinstance(event, Step) and event.step == 5:
            disarm()

    try:
        finetune(FinetuneSettings(**settings(folder, out, overwrite=True)), on_event=on_event)
    except (SaveError, KeyboardInterrupt) as error:
        return error
    finally:
        disarm()
    return notices


def main(folder: Path, every: int) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background may ignore it
    make(folder)
    kept: Any = settings(folder, "whole", keep_checkpoints=9)
    finetune(FinetuneSettings(**kept))
    state = read_state(folder / "whole-checkpoints" / "step-00000008")
    runs(folder, saves(folder, state), every)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
