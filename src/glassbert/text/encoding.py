"""What a tokenizer returns."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from glassbert.errors import InputError

Tensors = Literal["np", "pt"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoding:
    """One text, or a pair, as the model takes it.

    Attributes:
        ids: token ids, special tokens included.
        types: 0 for the first text with its special tokens, 1 for the second.
        special: 1 at special tokens.
        cut: how many tokens of the text were left out to keep the maximum length; 0 where it fits.
    """

    ids: list[int]
    types: list[int]
    special: list[int]
    cut: int = 0

    def __len__(self) -> int:
        """Length in tokens."""
        return len(self.ids)


class BatchEncoding(dict[str, Any]):
    """The result of calling a tokenizer: `input_ids`, `token_type_ids`, `attention_mask`, by key or attribute.

    Attributes:
        cut: for each text, how many of its tokens were left out to keep the maximum length.
    """

    def __init__(self, values: dict[str, Any], *, cut: list[int]) -> None:
        """Hold `values` and the report of what was cut."""
        super().__init__(values)
        self.cut = cut

    def __getattr__(self, name: str) -> Any:
        """Look up a key as an attribute."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this BatchEncoding has no {name!r}; it has {', '.join(self)}") from None


def as_arrays(values: dict[str, list[list[int]]], kind: Tensors) -> dict[str, Any]:
    """Turn lists of equal length into numpy arrays or torch tensors, int64; torch is imported only when asked for."""
    if kind not in ("np", "pt"):
        raise InputError(f"return_tensors is {kind!r}, expected 'np' or 'pt'")
    import numpy as np

    arrays = {name: np.asarray(rows, dtype=np.int64) for name, rows in values.items()}
    if kind == "np":
        return arrays
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}
