"""The inputs of a forward call, checked before any kernel sees them."""

from __future__ import annotations

import dataclasses
from typing import Final

import torch
from torch import Tensor

from glassbert.errors import InputError
from glassbert.model.config import BertConfig

_INTEGERS: Final = (torch.int64, torch.int32)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What goes into the embeddings and says which tokens are real.

    Attributes:
        ids: (B, S) token ids, or None where `embeds` stands for them.
        embeds: (B, S, H) word vectors, or None.
        mask: (B, S) bool, true at real tokens; None where all are.
        types: (B, S) segments.
        positions: (B, S) places.
    """

    ids: Tensor | None
    embeds: Tensor | None
    mask: Tensor | None
    types: Tensor
    positions: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(B, S)."""
        batch, length = self.positions.shape
        return batch, length

    def mask_or_ones(self) -> Tensor:
        """(B, S) bool, made where all tokens are real."""
        return torch.ones_like(self.positions, dtype=torch.bool) if self.mask is None else self.mask

    @classmethod
    def check(
        cls,
        config: BertConfig,
        *,
        ids: Tensor | None,
        embeds: Tensor | None,
        mask: Tensor | None,
        types: Tensor | None,
        positions: Tensor | None,
    ) -> Inputs:
        """Check and complete the arguments of a forward call.

        Values are looked at only where they lie in the CPU's memory: a look at a device's memory would wait
        for the device.

        Raises:
            InputError: by name, with what was found and what was expected.
        """
        for name, value in (
            ("input_ids", ids),
            ("inputs_embeds", embeds),
            ("attention_mask", mask),
            ("token_type_ids", types),
            ("position_ids", positions),
        ):
            if value is not None and not isinstance(value, Tensor):
                raise InputError(f"{name} is of type {type(value).__name__}, expected a torch.Tensor")
        if (ids is None) == (embeds is None):
            raise InputError("give either input_ids or inputs_embeds" + ("" if ids is None else ", not both"))
        if ids is not None:
            if ids.dim() != 2:
                raise InputError(f"input_ids has the shape {tuple(ids.shape)}, expected (batch, sequence)")
            _check_range("input_ids", ids, config.vocab_size, "vocab_size")
            batch, length = ids.shape
            device = ids.device
        else:
            assert embeds is not None
            if embeds.dim() != 3 or embeds.shape[2] != config.hidden_size:
                expected = f"(batch, sequence, {config.hidden_size})"
                raise InputError(f"inputs_embeds has the shape {tuple(embeds.shape)}, expected {expected}")
            batch, length = embeds.shape[:2]
            device = embeds.device
        if batch == 0 or length == 0:
            raise InputError(f"the batch is empty: {batch} sequences of {length} tokens")
        if length > config.max_position_embeddings:
            raise InputError(
                f"sequences of {length} tokens, but the model has {config.max_position_embeddings} positions; "
                "cut the text (truncation=True) or split it"
            )
        shape = (batch, length)
        if mask is not None:
            if tuple(mask.shape) != shape:
                raise InputError(f"attention_mask has the shape {tuple(mask.shape)}, expected {shape}")
            mask = mask if mask.dtype == torch.bool else mask != 0
        if types is None:
            types = torch.zeros(shape, dtype=torch.int64, device=device)
        elif tuple(types.shape) != shape:
            raise InputError(f"token_type_ids has the shape {tuple(types.shape)}, expected {shape}")
        else:
            _check_range("token_type_ids", types, config.type_vocab_size, "type_vocab_size")
        if positions is None:
            positions = torch.arange(length, device=device).expand(shape)
        elif tuple(positions.shape) not in (shape, (1, length)):
            raise InputError(f"position_ids has the shape {tuple(positions.shape)}, expected {shape} or (1, {length})")
        else:
            _check_range("position_ids", positions, config.max_position_embeddings, "max_position_embeddings")
            positions = positions.expand(shape)
        return cls(ids=ids, embeds=embeds, mask=mask, types=types, positions=positions)


def is_tracing() -> bool:
    """Whether `torch.jit.trace` is watching: shapes are known, values are not."""
    tracing: bool = torch._C._get_tracing_state() is not None
    return tracing


def _check_range(name: str, values: Tensor, end: int, end_name: str) -> None:
    if values.dtype not in _INTEGERS:
        raise InputError(f"{name} has the dtype {values.dtype}, expected torch.int64")
    # A trace has shapes but no values.
    if values.device.type == "cpu" and values.numel() and not is_tracing():
        low, high = (int(value) for value in values.aminmax())
        if low < 0 or high >= end:
            raise InputError(f"{name} holds {low if low < 0 else high}, expected 0 to {end - 1} ({end_name} {end})")
