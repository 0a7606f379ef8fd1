"""Workers that are killed: `python -m tests.train.several FOLDER KILLS SEED`; prints what was found after each kill.

`torchrun` trains in two processes. One of them is killed at a random moment, `torchrun` starts both anew, and the run
ends as the undisturbed one of two processes, to the bit.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.train.runs import command, left_behind, make, outcome

# Long enough to be hit while it trains: 120 steps, with a checkpoint after every fourth.
LONG = {"epochs": 20, "save_every": 4, "evaluate_every": 10}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


class Several:
    """What `torchrun` runs in two processes, in a group of processes of its own.

    Args:
        arguments: of `torchrun`.
        log: takes what it writes to stdout and stderr.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        """Start it."""
        with log.open("w") as stream:
            self._run = subprocess.Popen(
                [sys.executable, *TORCHRUN, *arguments],
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def workers(self) -> list[int]:
        """Return the processes that train, in the order of their start."""
        children = Path(f"/proc/{self._run.pid}/task/{self._run.pid}/children").read_text().split()
        return sorted(map(int, children))

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._run.poll() is None

    def end(self, seconds: float = 300.0) -> int:
        """Wait for its end, but not for ever; return its exit code."""
        try:
            return self._run.wait(seconds)
        finally:
            self.stop()

    def stop(self) -> None:
        """Kill what is left of it."""
        try:
            os.killpg(self._run.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._run.wait()


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    log = folder / "log"
    whole = Several(["-m", "glassbert", *command(folder, "whole", **LONG)], log)
    begun = time.monotonic()
    while whole.runs() and not (folder / "whole-checkpoints").exists():
        time.sleep(0.01)
    first = time.monotonic() - begun
    assert whole.end() == 0, log.read_text()
    seconds = time.monotonic() - begun
    expected = outcome(folder / "whole")
    print(f"undisturbed: {seconds:.1f} s, {first:.1f} to the first checkpoint; {len(expected['losses'])} steps")
    out, checkpoints = folder / "out", folder / "out-checkpoints"
    found: Counter[str] = Counter()
    while found["kills"] < kills:
        run = Several(["--max-restarts=3", "-m", "glassbert", *command(folder, "out", **LONG)], log)
        begun = time.monotonic()
        try:
            rank = chance.randrange(2)
            wait = chance.uniform(0.5 * first, seconds)
            while run.runs() and time.monotonic() - begun < wait:
                time.sleep(0.01)
            workers = run.workers() if run.runs() else []
            if len(workers) < 2:
                continue  # it had ended
            os.kill(workers[rank], signal.SIGKILL)
            steps = [int(entry.name[5:]) for entry in checkpoints.glob("step-*")]
            code = run.end()
        finally:
            run.stop()
            lines = log.read_text()
            stood = out.exists() and outcome(out) == expected
            left = left_behind(checkpoints)
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(checkpoints, ignore_errors=True)
        ended = "holds the result of this run already" in lines  # the first process had no more to do than to leave
        assert stood, f"no result, or not that of the undisturbed run\n{lines}"
        assert code == 0, lines
        assert left == ([], []), left
        place = "after the result stood" if ended else "with a checkpoint" if steps else "before the first checkpoint"
        found.update(["kills", f"rank {rank}", place, f"exit code {code}"])
        print(f"killed rank {rank}, {place} ({max(steps, default=0)}): {code}, the same bits", flush=True)
    print(", ".join(f"{name}: {count}" for name, count in sorted(found.items())))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
