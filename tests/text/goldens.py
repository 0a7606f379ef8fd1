"""What other tokenizers gave for thousands of strings and hundreds of calls: `../shared/oracle`, and a sample of it.

    python -m tests.text.goldens      # writes the sample, tests/text/golden/sample.json, anew

The sample's vocabularies hold only the pieces that it needs, under their ids: the longest piece that fits is then the
same.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import random
from pathlib import Path
from typing import Any, Final

from glassbert import BertTokenizer
from glassbert.text import load_vocabulary

SHARED: Final = Path(__file__).resolve().parents[2] / "../shared"
SAMPLE: Final = Path(__file__).resolve().parent / "golden/sample.json"
# Setting → vocabulary, and whether text is lowered.
SETTINGS: Final = {
    "uncased": ("uncased", True),
    "cased": ("cased", False),
    "chinese": ("chinese", True),
    "chinese_cased": ("chinese", False),
}
SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Oracle:
    """Strings and calls in the form of `../shared/oracle/README.md`, and vocabularies by name."""

    strings: list[dict[str, Any]]
    calls: list[dict[str, Any]]
    vocabularies: dict[str, dict[str, int]]


def whole(shared: Path) -> Oracle:
    return Oracle(
        strings=_lines(shared / "oracle/tokenizer/strings.jsonl.gz"),
        calls=_lines(shared / "oracle/tokenizer/calls.jsonl.gz"),
        vocabularies={
            name: load_vocabulary(shared / f"oracle/vocab/bert-base-{name}.vocab.txt")
            for name in ("uncased", "cased", "chinese")
        },
    )


def sample() -> Oracle:
    return Oracle(**json.loads(SAMPLE.read_bytes()))


def google_ids(row: dict[str, Any], setting: str) -> list[int]:
    """Return what Google's program gave; it is left out where it is what the library gave, without special tokens."""
    ids: list[int] | None = row["google"][setting]
    return row["fast"][setting]["ids"][1:-1] if ids is None else ids


def _lines(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _chosen(oracle: Oracle, seed: int) -> Oracle:
    """Choose short strings of every group, some that the programs disagree on, and short calls of every kind."""
    rng = random.Random(seed)
    strings: dict[int, dict[str, Any]] = {}
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in oracle.strings:
        if 0 < len(row["text"]) <= 20:
            groups.setdefault(row["group"].partition(":")[0], []).append(row)
            if any(ids is not None for ids in row["google"].values()):
                groups.setdefault("google", []).append(row)
    for rows in groups.values():
        strings |= {row["id"]: row for row in rng.sample(rows, min(4, len(rows)))}
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in oracle.calls:
        kinds.setdefault(row["kind"], []).append(row)
    calls = []
    for rows in kinds.values():
        short = sorted(rows, key=lambda row: len(json.dumps(row["expect"])))[:4]
        calls.append(rng.choice(short))
    used: dict[str, set[int]] = {name: set() for name in oracle.vocabularies}
    for row in strings.values():
        for setting, (name, _) in SETTINGS.items():
            used[name].update(row["fast"][setting]["ids"], google_ids(row, setting))
    for row in calls:
        # What a call cuts off counts too: how much is cut of a pair depends on it.
        tokenizer = BertTokenizer(oracle.vocabularies[row["folder"]], do_lower_case=row["folder"] == "uncased")
        for text in filter(None, (row["text"], row["pair"])):
            strings_of = [text] if isinstance(text, str) else text
            used[row["folder"]].update(index for ids in tokenizer(strings_of).input_ids for index in ids)
    return Oracle(
        strings=[{key: row[key] for key in ("id", "text", "fast", "google")} for row in strings.values()],
        calls=calls,
        vocabularies={
            name: {token: index for token, index in vocab.items() if index in used[name] or token in SPECIAL}
            for name, vocab in oracle.vocabularies.items()
        },
    )


if __name__ == "__main__":
    text = json.dumps(dataclasses.asdict(_chosen(whole(SHARED), seed=0)), separators=(",", ":"))
    SAMPLE.write_text(text + "\n", encoding="ascii")
    print(f"{SAMPLE}: {len(text):,} bytes")
