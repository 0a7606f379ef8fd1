"""Runs that are killed: `python -m tests.data.killed FOLDER KILLS SEED`; prints what was found after each kill.

`glassbert prepare` is started again and again, alone or as three parts, with one worker or two, and killed at a random
moment, two of three times while it writes, until all shards are there. They are then those of an undisturbed run, byte
for byte; and whatever shard stands after a kill is so already. So go several runs, until there were as many kills as
wanted. Before that, a run with two workers and three parts at once are compared with it too.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.data import small
from tests.data.corpora import files_of, make

if __name__ in ("__main__", "__mp_main__"):
    small.shrink()

SETTINGS = [
    "--static-masks",
    "--whole-words",
    "--copies",
    "2",
    "--held-out",
    "0.1",
    "--max-length",
    "32",
    "--sentences",
    "lines",
]
_UNFINISHED = re.compile(r"\.(plan|manifest)\.json\.\d+\.part|\.(shard-\d{5}|tokenizer)\.\w{8}\.part")
_MARKS = ("begin", "writing", "finish")
# Seconds that processes of a run that was killed may take to notice.
_PATIENCE = 60.0


def main(folder: Path, kills: int, seed: int) -> None:
    # Not above, where processes that are started for a block would load it too.
    from tests.train.runs import Forked

    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    begun = time.monotonic()
    run = Forked(_command(folder, "whole", 1, None), folder / "log")
    times = [time.monotonic() for mark in run if mark.startswith("writing")]
    assert run.end() == 0, (folder / "log").read_text()
    seconds, writing = time.monotonic() - begun, sorted(b - a for a, b in zip(times[::2], times[1::2], strict=True))
    expected = files_of(folder / "whole")
    print(f"undisturbed: {len(writing)} shards in {seconds:.2f} s, one in {1000 * writing[-1]:.0f} ms", flush=True)
    others: dict[str, list[tuple[int, str | None]]] = {
        "two workers": [(2, None)],
        "three parts at once": [(1, "3/3"), (1, "1/3"), (1, "2/3")],
    }
    for name, runs in others.items():
        together = [
            Forked(_command(folder, name, workers, part), folder / f"log {number}")
            for number, (workers, part) in enumerate(runs)
        ]
        assert [run.end() for run in together] == [0] * len(runs), name
        assert files_of(folder / name) == expected, f"{name}: the result is not that of the undisturbed run"
        print(f"{name}: as the undisturbed run, to the byte", flush=True)
    out = folder / "out"
    found: Counter[str] = Counter()
    parts: list[str | None] = []
    while found["kills"] < kills:
        if not parts:
            parts = chance.choice([[None], chance.sample(["1/3", "2/3", "3/3"], 3)])
            in_parts = len(parts) > 1
        workers = 2 if chance.random() < 0.2 else 1
        run = Forked(_command(folder, "out", workers, parts[0]), folder / "log")
        if found["kills"] % 3:
            mark = chance.choice(_MARKS)
            run.wait_for(mark, chance.randint(1, 3) if mark == "writing" else 1)
            code = run.killed_after(chance.uniform(0.0, 1.1 * writing[len(writing) // 2]))
        else:
            code = run.killed_after(chance.uniform(0.0, seconds * (1.5 if workers > 1 else 0.9)))
        assert code in (0, -signal.SIGKILL), (folder / "log").read_text()
        _wait_for_the_end_of_all(run.pid)
        shards, unfinished = _check(out, expected)
        if code:
            place = next((mark for mark in _MARKS if run.is_in(mark)), "elsewhere")
            found.update(["kills", place, f"{workers} workers", f"{unfinished} unfinished"])
            print(
                f"killed, {place}, part {parts[0]}, {workers} workers; {shards} shards stand, {unfinished} unfinished"
            )
            continue
        parts.pop(0)
        if not parts:
            left = files_of(out)
            if in_parts:  # the others might be writing these
                left = {name: content for name, content in left.items() if not _UNFINISHED.fullmatch(name)}
            assert left == expected, "the result is not that of the undisturbed run"
            hidden = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("."))
            assert not hidden, hidden
            found["runs"] += 1
            print("ended as the undisturbed run, to the byte", flush=True)
            shutil.rmtree(out)
    print(", ".join(f"{name}: {count}" for name, count in sorted(found.items())))


def _command(folder: Path, out: str, workers: int, part: str | None) -> Callable[[Callable[[str], None]], int]:
    """Return what a process of its own is to do."""
    arguments = ["prepare", str(folder / "texts"), "--vocab", str(folder / "vocab.txt"), "--out", str(folder / out)]
    arguments += [*SETTINGS, "--workers", str(workers), *(["--part", part] if part else [])]

    def be(say: Callable[[str], None]) -> int:
        from glassbert.cli.main import run
        from glassbert.data import preparing
        from tests.train.runs import marked

        os.setsid()
        for name, mark in (("begin", "begin"), ("_write", "writing"), ("finish", "finish")):
            marked(preparing._Making, name, say, mark)
        sys.argv = ["glassbert", *arguments]
        run()
        return 0

    return be


def _check(out: Path, expected: dict[str, bytes]) -> tuple[int, int]:
    """See that all that stands is right; return how many shards do, and how much is unfinished."""
    names = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    unfinished = {name for name in names if _UNFINISHED.fullmatch(name)}
    for name, content in files_of(out).items():
        top = name.split("/")[0]
        assert top in unfinished or content == expected[name], name
    shards = {name for name in names if name.startswith("shard-")}
    for name in expected:
        if name.split("/")[0] in shards | (names & {"tokenizer"}):
            assert (out / name).exists(), name
    assert names - unfinished - shards <= {"plan.json", "manifest.json", "tokenizer"}, names
    return len(shards), len(unfinished)


def _wait_for_the_end_of_all(session: int) -> None:
    """See that the processes of a run end with it."""
    end = time.monotonic() + _PATIENCE
    while left := _of_session(session):
        assert time.monotonic() < end, f"processes {left} go on"
        time.sleep(0.01)


def _of_session(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
