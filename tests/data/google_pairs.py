"""Makes golden/google_pairs.json: `python -m tests.data.google_pairs .../create_pretraining_data.py`.

The file is that of Google's BERT, as the wheel bert-tensorflow 1.0.4 has it. It is run with a stand-in for TensorFlow,
which pairs do not need, and with masks that draw nothing, so that all that is drawn is for pairs.
"""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import types
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden" / "google_pairs.json"
# Seed and most tokens of a sequence.
CASES = [(0, 8), (1, 16), (2, 32), (3, 32), (4, 64), (5, 128), (6, 16), (7, 64)]
SHORT = 0.3
IDS = 1000


def documents_of(seed: int, room: int) -> list[list[list[int]]]:
    """Return documents of sentences of ids, none longer than there is room."""
    rng = random.Random(seed)
    return [
        [
            [rng.randrange(IDS) for _ in range(rng.randint(1, rng.choice([3, 12, 40])))][:room]
            for _ in range(rng.randint(1, 12))
        ]
        for _ in range(rng.randint(1, 6))
    ]


def main(file: Path) -> None:
    google = _load(file)
    words = [str(index) for index in range(IDS)]
    cases = []
    for seed, length in CASES:
        documents = [
            [[words[index] for index in sentence] for sentence in document]
            for document in documents_of(seed, length - 3)
        ]
        rng = random.Random(seed)
        pairs: list[list[Any]] = []
        for place in range(len(documents)):
            for one in google.create_instances_from_document(documents, place, length, SHORT, 0.15, 20, words, rng):
                cut = one.tokens.index("[SEP]")
                first, second = one.tokens[1:cut], one.tokens[cut + 1 : -1]
                pairs.append([place, list(map(int, first)), list(map(int, second)), int(one.is_random_next)])
        cases.append({"seed": seed, "length": length, "pairs": pairs, "next draw": rng.random()})
    note = "Made by `python -m tests.data.google_pairs` of create_pretraining_data.py, bert-tensorflow 1.0.4."
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    GOLDEN.write_text(f'{{"note": {json.dumps(note)}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")


def _load(file: Path) -> Any:
    class Anything(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda *_, **__: None

    tensorflow = Anything("tensorflow")
    tensorflow.flags = Anything("flags")  # type: ignore[attr-defined]
    tensorflow.flags.FLAGS = Anything("FLAGS")
    compat, package, tokenization = (types.ModuleType(name) for name in ("compat", "bert", "tokenization"))
    tensorflow.compat = compat  # type: ignore[attr-defined]
    compat.v1 = tensorflow  # type: ignore[attr-defined]
    package.tokenization = tokenization  # type: ignore[attr-defined]
    sys.modules |= {"tensorflow": tensorflow, "tensorflow.compat": compat, "tensorflow.compat.v1": tensorflow}
    sys.modules |= {"bert": package, "bert.tokenization": tokenization}
    spec = importlib.util.spec_from_file_location("google", file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.create_masked_lm_predictions = lambda tokens, *_: (tokens, [], [])
    return module


if __name__ == "__main__":
    main(Path(sys.argv[1]))
