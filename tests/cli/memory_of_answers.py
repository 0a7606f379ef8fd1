"""How much memory answering takes: `python -m tests.cli.memory_of_answers FOLDER MODEL LINES [ARGUMENT …]`.

Writes lines of a seeded generator to FOLDER, a tenth of them first, answers both files with the command and the further
arguments, and prints the most memory that the process had, and how many lines were answered in a second.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

_WORDS = ["the", "of", "a", "cat", "dog", "sat", "on", "mat", "sun", "warm", "soup", "bread", "good", "bad", "film"]


def main(folder: Path, model: str, lines: int, arguments: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for count in (lines // 10, lines):
        rng = random.Random(5)
        file = folder / "lines.txt"
        with file.open("w", encoding="utf-8") as stream:
            for _ in range(count):
                stream.write(" ".join(rng.choices(_WORDS, k=rng.randint(2, 20))) + "\n")
        out = folder / "answers.jsonl"
        command = [sys.executable, "-m", "glassbert", "predict", model, str(file), "--out", str(out), "--overwrite"]
        begun = time.monotonic()
        subprocess.run([*command, *arguments], check=True)
        seconds = time.monotonic() - begun
        # Of the largest child so far, which is this one where it had more than the one before.
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        sizes = f"{file.stat().st_size / 1e6:,.1f} MB in, {out.stat().st_size / 1e6:,.1f} MB out"
        print(f"{count:,} lines, {sizes}: at most {most:,.0f} MB, {count / seconds:,.0f} lines/s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
