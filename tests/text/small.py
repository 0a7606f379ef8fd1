"""A vocabulary small enough to know by heart."""

from __future__ import annotations

# fmt: off
TOKENS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ",", "low",
    "lowest", "é", "a", "b", "c", "d", "e", "f", "g",
]
# fmt: on
VOCAB = {token: index for index, token in enumerate(TOKENS)}
PAD, UNK, CLS, SEP, MASK = range(5)
# Of the letters; those that follow a have the ids that follow.
A = VOCAB["a"]
NEXT = len(TOKENS)
