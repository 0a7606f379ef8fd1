"""Names of tensors in files ↔ names in the model, as data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from torch import nn

# Spellings of checkpoints converted before 2019, and the names that stand for them now.
_OLD_NAMES: Final = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
# A constant that transformers saved until 2022: the numbers 0, 1, 2, …
_CONSTANTS: Final = re.compile(r"(^|\.)embeddings\.position_ids$")
# The parts of a bare model.
_BARE: Final = ("embeddings.", "encoder.", "pooler.")


def rename(keys: Iterable[str], expected: set[str], prefix: str) -> dict[str, str]:
    """Map each key of a file to the model's own name for it.

    Args:
        keys: as they stand in the file.
        expected: the model's state-dict names.
        prefix: the name of the bare model inside a model with a head ("bert").

    Returns:
        file key → model name; a constant that needs no loading is left out, a key without a counterpart
        keeps its (modern) name.
    """
    bare = not any(name.startswith(f"{prefix}.") for name in expected)
    names = {}
    for key in keys:
        if _CONSTANTS.search(key):
            continue
        name = key
        for old, new in _OLD_NAMES:
            if name.endswith(old):
                name = name.removesuffix(old) + new
        if name not in expected:
            # A bare model's file read into a model with a head, or the other way round.
            longer, shorter = f"{prefix}.{name}", name.removeprefix(f"{prefix}.")
            if bare or shorter in expected:
                name = shorter
            elif longer in expected or name.startswith(_BARE):
                name = longer
        names[key] = name
    return names


def shared_names(model: nn.Module) -> list[list[str]]:
    """Group the names under which one and the same tensor stands in the model's state."""
    groups: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return [names for names in groups.values() if len(names) > 1]
