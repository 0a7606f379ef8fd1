"""Every code point of Unicode, alone and between two letters, against digests that the library `tokenizers` gave.

    python -m tests.text.exhaustive                        # both classes, all 272 blocks; some minutes
    python -m tests.text.exhaustive --tokenizer plain --blocks 5

Prints a table: blocks of 4,096 code points with another digest, by setting.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from glassbert import BertTokenizer, BertTokenizerFast

SHARED: Final = Path(__file__).resolve().parents[2] / "../shared"
CLASSES: Final[dict[str, type[BertTokenizer]]] = {"plain": BertTokenizer, "fast": BertTokenizerFast}
FORMS: Final[dict[str, Callable[[str], str]]] = {"alone": lambda char: char, "between": lambda char: f"a{char}b"}
SETTINGS: Final = ("uncased", "cased")
WHATS: Final = ("ids", "ids_offsets", "normalized")
NAMES: Final = [f"{setting}.{form}.{what}" for setting in SETTINGS for form in FORMS for what in WHATS]
SIZE: Final = 4096


def expected(shared: Path) -> dict[str, dict[str, str]]:
    """Return the digests by block and name."""
    blocks: dict[str, dict[str, str]] = json.loads((shared / "oracle/tokenizer/exhaustive.json").read_bytes())["blocks"]
    return blocks


def tokenizers(shared: Path, kind: type[BertTokenizer]) -> dict[str, BertTokenizer]:
    """Return one for each setting."""
    return {
        setting: kind(shared / f"oracle/vocab/bert-base-{setting}.vocab.txt", do_lower_case=setting == "uncased")
        for setting in SETTINGS
    }


def digests(made: dict[str, BertTokenizer], block: str) -> dict[str, str]:
    """Return what `expected` has for a block."""
    points = [point for point in range(int(block, 16), int(block, 16) + SIZE) if not 0xD800 <= point < 0xE000]
    found = {}
    for setting, tokenizer in made.items():
        for form, make in FORMS.items():
            texts = [make(chr(point)) for point in points]
            quick = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
            slow = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True) if texts else {}
            details = zip(slow.get("input_ids", ()), slow.get("offset_mapping", ()))
            lines = {
                "ids": map(_joined, quick),
                "ids_offsets": (
                    f"{_joined(ids)}:{_joined(f'{start}-{stop}' for start, stop in offsets)}"
                    for ids, offsets in details
                ),
                "normalized": (
                    _joined((f"{ord(char):X}" for char in text), " ") for text in normalized(tokenizer, texts)
                ),
            }
            for what, of_points in lines.items():
                found[f"{setting}.{form}.{what}"] = _digest(points, of_points)
    return found


def normalized(tokenizer: BertTokenizer, texts: Sequence[str]) -> Iterable[str]:
    """Normalize as the core does: ours, or the library that stands under the fast one."""
    library = getattr(tokenizer.core, "_library", None)
    return map(
        tokenizer.basic_tokenizer.normalizer.normalize if library is None else library.normalizer.normalize_str, texts
    )


def _joined(values: Iterable[object], between: str = ",") -> str:
    return between.join(map(str, values))


def _digest(points: Sequence[int], lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for point, line in zip(points, lines, strict=True):
        digest.update(f"{point:X}:{line}\n".encode())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.text.exhaustive", description="Every code point of Unicode.")
    parser.add_argument("--tokenizer", choices=CLASSES, help="one of them alone")
    parser.add_argument("--blocks", type=int, help="only so many, from the first on")
    given = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("exhaustive: no folder ../shared beside the repository")
    blocks = dict(list(expected(SHARED).items())[: given.blocks])
    kinds = [given.tokenizer] if given.tokenizer else list(CLASSES)
    wrong: dict[str, dict[str, list[str]]] = {}
    for kind in kinds:
        made = tokenizers(SHARED, CLASSES[kind])
        wrong[kind] = {name: [] for name in NAMES}
        for block, right in blocks.items():
            found = digests(made, block)
            for name in NAMES:
                if found[name] != right[name]:
                    wrong[kind][name].append(block)
    print(f"{'blocks that differ, of ' + str(len(blocks)):32}" + "".join(f"{kind:>8}" for kind in kinds))
    for name in NAMES:
        starts = sorted({block for kind in kinds for block in wrong[kind][name]})
        counts = "".join(f"{len(wrong[kind][name]):>8}" for kind in kinds)
        print(f"{name:32}{counts}  {' '.join(starts[:8])}".rstrip())
    sys.exit(1 if any(starts for names in wrong.values() for starts in names.values()) else 0)


if __name__ == "__main__":
    main()
