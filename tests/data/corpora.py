"""A small corpus for those who prepare it, and the bytes that come of it."""

from __future__ import annotations

import functools
import random
from pathlib import Path

from glassbert import learn_vocabulary

WORDS = "the cat dog sat ran on in a house walked walking talked talking river sun moon tree and of to"


@functools.cache
def text(documents: int, seed: int = 0) -> str:
    """Return documents of some lines, one sentence each, with blank lines between them."""
    rng = random.Random(seed)

    def sentence() -> str:
        return " ".join(rng.choices(WORDS.split(), k=rng.randint(3, 12))).capitalize() + "."

    return "\n\n".join("\n".join(sentence() for _ in range(rng.randint(1, 9))) for _ in range(documents)) + "\n"


def make(folder: Path, documents: int = 70) -> None:
    """Write such a text in two files, `texts/a.txt` and `texts/b.txt`, and its vocabulary, `vocab.txt`."""
    (folder / "texts").mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate("ab"):
        (folder / "texts" / f"{name}.txt").write_text(text(documents, seed), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(_vocabulary(documents)) + "\n", encoding="utf-8")


@functools.cache
def _vocabulary(documents: int) -> list[str]:
    return list(learn_vocabulary([text(documents)], size=90, min_frequency=1))


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, hidden ones too."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
