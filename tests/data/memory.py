"""How much memory a large corpus takes: `python -m tests.data.memory FOLDER GIGABYTES [ARGUMENT …]`.

Writes text of a seeded generator to FOLDER, prepares it with the command and the further arguments, and prints the most
that all processes had at once, each one's own, and how much text was prepared in a second.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from glassbert import learn_vocabulary
from glassbert.text import save_vocabulary

_SEED = 5
_PAUSE = 0.1


def main(folder: Path, gigabytes: float, arguments: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "text.txt"
    size = 0
    with file.open("wb") as stream:
        for number, text in enumerate(_texts()):
            if not number:
                save_vocabulary(learn_vocabulary([text], size=8000), folder / "vocab.txt")
            size += stream.write(text.encode())
            if size >= gigabytes * 1e9:
                break
    print(f"{size / 1e6:,.0f} MB of text", flush=True)
    command = [sys.executable, "-m", "glassbert", "prepare", str(file), "--vocab", str(folder / "vocab.txt")]
    command += ["--out", str(folder / "shards"), *arguments]
    begun = time.monotonic()
    most = 0
    each: dict[int, int] = {}
    with subprocess.Popen(command) as run:
        while run.poll() is None:
            now = dict(_sizes(run.pid))
            most = max(most, sum(now.values()))
            for process, one in now.items():
                each[process] = max(each.get(process, 0), one)
            time.sleep(_PAUSE)
    seconds = time.monotonic() - begun
    largest = sorted(each.items(), key=lambda pair: pair[0] != run.pid)
    shown = ", ".join(f"{one / 1e6:,.0f}" for _, one in largest)
    print(f"exit code {run.returncode}, {seconds:,.0f} s, {size / 1e6 / seconds:.1f} MB/s")
    print(f"at most {most / 1e6:,.0f} MB at once; of the first process and each of the others at most {shown} MB")


def _texts() -> Iterator[str]:
    """Give text without end, some megabytes at once: words of a vocabulary like that of prose, often the same."""
    rng = random.Random(_SEED)
    parts = ["".join(rng.choices("aeiou", k=1)) + "".join(rng.choices("bcdfghlmnprst", k=1)) for _ in range(60)]
    words = ["".join(rng.choices(parts, k=rng.randint(1, 4))) for _ in range(40_000)]
    weights = [1 / (rank + 2) for rank in range(len(words))]
    while True:
        drawn = iter(rng.choices(words, weights, k=1_000_000))
        lines = []
        for first in drawn:
            rest = [word for _, word in zip(range(rng.randint(3, 30)), drawn, strict=False)]
            lines.append(" ".join([first.capitalize(), *rest]) + ".")
            if rng.random() < 0.05:
                lines.append("")
        yield "\n".join(lines) + "\n"


def _sizes(process: int) -> Iterator[tuple[int, int]]:
    """Give the bytes of memory of a process and all that it has started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                pages = int((entry / "statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
            if process in (int(entry.name), int(fields[1])):
                yield int(entry.name), pages * 4096


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
