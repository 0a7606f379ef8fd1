"""Runs that are killed: `python -m tests.train.killed FOLDER KILLS SEED`; prints what was found after each kill.

With a last word, `pretrain`, they pretrain on shards, in two phases, in place of fine-tuning.

A run is started again and again with `--resume` and killed at a random moment, every other time inside a save, until it
has ended by itself. Its result is then that of an undisturbed run, bit for bit. So go several runs, until there were as
many kills as wanted.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.train.runs import Forked, command, left_behind, outcome, warm

# A kill this late, measured by an undisturbed run, would mostly find it ended.
_LATEST = 0.95


def main(folder: Path, kills: int, seed: int, recipe: str = "train") -> None:
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    warm(folder, pretrains=recipe == "pretrain")
    expected, seconds, saving = undisturbed(folder)
    print(
        f"undisturbed: {len(expected['losses'])} steps in {seconds:.2f} s, a save in {1000 * saving:.0f} ms", flush=True
    )
    out, checkpoints = folder / "out", folder / "out-checkpoints"
    found: Counter[str] = Counter()
    steps: list[int] = []
    while found["kills"] < kills:
        run = Forked(command(folder, "out"), folder / "log")
        rest = 1 - (steps[-1] if steps else 0) / len(expected["losses"])
        if found["kills"] % 2:
            run.wait_for("saving", chance.randint(1, 3))
            code = run.killed_after(chance.uniform(0.0, 1.1 * saving))
        else:
            code = run.killed_after(chance.uniform(0.0, _LATEST * seconds * (0.3 + 0.7 * rest)))
        assert code in (0, -signal.SIGKILL), (folder / "log").read_text()
        steps, others = left_behind(checkpoints)
        assert all(name.startswith(".step-") and name.endswith(".part") for name in others), others
        if code:
            place = next((mark for mark in ("saving", "evaluating", "writing") if run.is_in(mark)), "elsewhere")
            found.update(["kills", place, f"{len(others)} unfinished"])
            print(f"killed, {place}; checkpoints of {steps or 'no step'}, unfinished: {len(others)}", flush=True)
        if out.exists():
            assert outcome(out) == expected, "the result is not that of the undisturbed run"
            if not code:
                left = [entry.name for entry in folder.iterdir() if entry.name.startswith((".", checkpoints.name))]
                assert not left, f"{left} stays"
            found["runs"] += 1
            print("ended as the undisturbed run, to the bit", flush=True)
            shutil.rmtree(out)
            shutil.rmtree(checkpoints, ignore_errors=True)
            steps = []
    print(", ".join(f"{name}: {count}" for name, count in sorted(found.items())))


def undisturbed(folder: Path) -> tuple[dict[str, Any], float, float]:
    """Return what an undisturbed run makes, the seconds that it takes, and those of a save in it."""
    begun = time.monotonic()
    run = Forked(command(folder, "whole"), folder / "log")
    times = [time.monotonic() for mark in run if mark in ("saving", "saving.")]
    assert run.end() == 0, (folder / "log").read_text()
    saves = sorted(end - begin for begin, end in zip(times[::2], times[1::2], strict=True))
    return outcome(folder / "whole"), time.monotonic() - begun, saves[len(saves) // 2]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
