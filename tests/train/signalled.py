"""Runs that are asked to end: `python -m tests.train.signalled FOLDER SIGNALS SEED`; prints what came of each signal.

Ctrl-C or SIGTERM comes at a random moment of a run, and every other time two more follow, 1 to 100 ms later. The run
leaves with the code of the first, says so in one line, and has saved the last step that it told of; what goes on from
there ends as the undisturbed run, to the bit. Every other run is a program of its own that calls `finetune`.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from glassbert import FinetuneSettings, finetune
from glassbert.train import Event, Step
from tests.train.runs import Forked, command, left_behind, outcome, settings, warm

# Where a signal may come, and how often a run is there at most.
MOMENTS = {"reading": 1, "tokenizing": 2, "told": 24, "evaluating": 8, "saving": 12, "writing": 1}
CODES = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}


def script(folder: Path) -> Callable[[Callable[[str], None]], int]:
    """Return a program that calls `finetune` and has handlers of its own, which stop it once."""

    def run(say: Callable[[str], None]) -> int:
        stopped: list[int] = []

        def stop(number: int, _: FrameType | None) -> None:
            stopped.append(number)
            if len(stopped) == 1:
                raise KeyboardInterrupt

        def on_event(event: Event) -> None:
            if isinstance(event, Step):
                say(f"step {event.step}")
                say("told")

        for number in CODES:
            signal.signal(number, stop)
        code = 0
        try:
            finetune(FinetuneSettings(**settings(folder, "out", resume=True)), on_event=on_event)
        except BaseException:  # torch may turn what is raised inside it into an error of its own
            if not stopped:
                raise
            code, message = CODES[signal.Signals(stopped[0])]
            print(f"glassbert: error: {message}")
        assert all(signal.getsignal(number) is stop for number in CODES), "handlers are not as they were"
        return code

    return run


def main(folder: Path, signals: int, seed: int) -> None:
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    warm(folder)
    assert Forked(command(folder, "whole"), folder / "log").end() == 0
    expected = outcome(folder / "whole")
    out, checkpoints = folder / "out", folder / "out-checkpoints"
    found: Counter[str] = Counter()
    most = 0.0
    while found["signals"] < signals:
        own = bool(found["signals"] % 4 // 2)
        run = Forked(script(folder) if own else command(folder, "out"), folder / "log")
        moment = chance.choice([*MOMENTS])
        number = chance.choice([*CODES])
        run.wait_for(moment, chance.randint(1, MOMENTS[moment]))
        time.sleep(chance.uniform(0.0, 0.02))
        begun = time.monotonic()
        run.send(number)
        if found["signals"] % 2:
            for _ in range(2):
                time.sleep(chance.uniform(0.001, 0.1))
                run.send(chance.choice([*CODES]))
        code = run.end()
        most = max(most, time.monotonic() - begun)
        lines = (folder / "log").read_text().splitlines()
        wanted, message = CODES[number]
        assert code in (0, wanted), (code, number, lines)
        assert not any("Traceback" in line or "Error" in line for line in lines), lines
        errors = [line for line in lines if "error" in line]
        assert errors == ([f"glassbert: error: {message}"] if code else []), lines
        steps, others = left_behind(checkpoints)
        assert not others, others
        told = max((int(mark.removeprefix("step ")) for mark in run.marks if mark.startswith("step ")), default=0)
        if not out.exists():
            assert code, "no result"
            assert max(steps, default=0) >= told, f"step {told} is lost, the last checkpoint is of {steps}"
        place = "in a program" if own else "at the command line"
        found.update(["signals", place, f"exit code {code}", moment])
        print(f"{number.name} {place}, {moment}: {code}; told of step {told}, saved: {steps}", flush=True)
        if out.exists():
            assert outcome(out) == expected, "the result is not that of the undisturbed run"
            found["runs"] += 1
            left = [entry.name for entry in folder.iterdir() if entry.name.startswith((".", checkpoints.name))]
            assert not left, f"{left} stays"
            shutil.rmtree(out)
    print(", ".join(f"{name}: {count}" for name, count in sorted(found.items())))
    print(f"the longest until the end of a process: {most:.2f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
