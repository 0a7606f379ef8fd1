"""The memory of a long pretraining: `python -m tests.train.memory FOLDER STEPS`; tells it ten times on the way.

What is resident must not grow: visits are computed, shards are mapped, and a step is kept in a few numbers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from glassbert.settings import PretrainSettings
from glassbert.train import Event, Step, pretrain
from tests.train.runs import make, make_shards


def resident() -> float:
    """Return the megabytes that this process holds in memory and that are its own, not files that it maps."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("/proc/self/status has no RssAnon; this needs Linux")


def main(folder: Path, steps: int) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    shards = make_shards(folder)

    def show(event: Event) -> None:
        if isinstance(event, Step) and event.step % max(1, steps // 10) == 0:
            print(f"step {event.step:>8,}: {resident():.1f} MB", flush=True)

    print(f"at the start: {resident():.1f} MB", flush=True)
    sizes: dict[str, Any] = {"steps": steps, "batch_size": 8, "save_every": max(1, steps // 20)}
    pretrain(PretrainSettings(shards=shards, model=folder / "base", out=folder / "out", **sizes), on_event=show)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
