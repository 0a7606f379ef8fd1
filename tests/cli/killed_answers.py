"""Answering that is killed: `python -m tests.cli.killed_answers FOLDER KILLS SEED`; prints what was found.

A command that answers a file into one of each format is started again and again, whole or as two parts, and killed at
random moments, two of three times while it writes, until the file stands. It is then that of an undisturbed run, byte
for byte, and nothing else is left. So go several runs, until there were as many kills as wanted.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.train.runs import Forked, make_model

TEXTS = 60
ENDINGS = ("jsonl", "csv", "tsv", "parquet", "npy")
_MARKS = ("writing", "joining", "placing")


def main(folder: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    make_model(folder)
    words = ["day", "night", "good", "bad", "film", "food", "people", "happy"]
    lines = [" ".join(words[(place * step) % 8] for step in range(1, 3 + place % 7)) for place in range(1, TEXTS + 1)]
    (folder / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    expected: dict[tuple[str, str | None], bytes] = {}
    seconds = 0.0
    for ending in ENDINGS:
        for part in (None, "1/2", "2/2"):
            run = Forked(_command(folder, f"whole.{ending}", part), folder / "log")
            begun = time.monotonic()
            assert run.end() == 0, (folder / "log").read_text()
            seconds = time.monotonic() - begun
            expected[ending, part] = (folder / f"whole.{ending}").read_bytes()
            (folder / f"whole.{ending}").unlink()
    print(f"undisturbed: {seconds:.2f} s", flush=True)
    found: Counter[str] = Counter()
    while found["kills"] < kills:
        ending, part = chance.choice(ENDINGS), chance.choice([None, "1/2", "2/2"])
        out = folder / f"out.{ending}"
        while True:
            run = Forked(_command(folder, out.name, part), folder / "log")
            if found["kills"] % 3:
                mark = chance.choice(_MARKS)
                run.wait_for(mark, chance.randint(1, 3) if mark == "writing" else 1)
                code = run.killed_after(chance.uniform(0.0, 0.02))
            else:
                code = run.killed_after(chance.uniform(0.0, 1.1 * seconds))
            assert code in (0, -signal.SIGKILL), (folder / "log").read_text()
            if out.exists():
                assert out.read_bytes() == expected[ending, part], f"{out}: not that of the undisturbed run"
            left = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith((".", "out")))
            if code:
                place = next((mark for mark in _MARKS if run.is_in(mark)), "elsewhere")
                found.update(["kills", place])
                print(f"killed, {place}, {ending}, part {part}; left: {', '.join(left)}", flush=True)
            if out.exists() and f"{out.name}.parts" not in left:
                break
        hidden = [name for name in left if name.startswith(".")]
        if hidden:  # a folder that was being removed; the next run of that name takes it away
            found["removals cut off"] += 1
            again = Forked(_command(folder, out.name, part, "--overwrite"), folder / "log")
            assert again.end() == 0, (folder / "log").read_text()
            assert out.read_bytes() == expected[ending, part]
            left = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith((".", "out")))
        assert left == [out.name], left
        found["runs"] += 1
        print("ended as the undisturbed run, to the byte", flush=True)
        out.unlink()
    print(", ".join(f"{name}: {count}" for name, count in sorted(found.items())))


def _command(folder: Path, out: str, part: str | None, *more: str) -> Callable[[Callable[[str], None]], int]:
    """Return what a process of its own is to do."""
    arguments = ["predict", str(folder / "base"), str(folder / "texts.txt"), "--task", "feature-extraction"]
    arguments += ["--option", "pooling=mean", "--out", str(folder / out), *(["--part", part] if part else []), *more]

    def be(say: Callable[[str], None]) -> int:
        from glassbert.cli import bulk
        from glassbert.cli.main import run
        from glassbert.data import pieces
        from tests.train.runs import marked

        bulk.CHUNK = 8
        marked(pieces.Pieces, "write", say, "writing")
        marked(pieces.Pieces, "finish", say, "joining")
        marked(pieces, "put_in_place", say, "placing")
        sys.argv = ["glassbert", *arguments]
        run()
        return 0

    return be


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
