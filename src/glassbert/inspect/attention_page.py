"""The data of the page of `inspect attention`: the weights of all heads, small enough for one file.

Numbers are whole numbers of two bytes, first all low bytes and then all high ones, compressed with zlib and written as
base64; a browser unpacks a head when it is looked at. The finest rounding that fits is taken:

- Up to 128 tokens every weight is there, in steps of 1/65535 or, where that is too long, down to 1/1023: an error of at
  most 5e-4.
- Beyond, or where even that is too long, the largest weights of each query are there, and how much was left out.
- Queries and keys of a head are in steps of their largest value / 32767 or, where not all fit, / 4095. They are there
  for as many layers as fit, the chosen one first.
"""

from __future__ import annotations

import base64
import dataclasses
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from glassbert.inspect.attention import Attention

Words = NDArray[np.uint16]

# Tokens up to which every weight is in the page.
_EXACT: Final = 128
# Characters of base64: of all weights, and of all that is packed; a page has 10 MB at most.
_WEIGHTS: Final = 7_000_000
_ALL: Final = 9_800_000
_STEPS: Final = (65535, 4095, 2047, 1023)
_VECTOR_STEPS: Final = (32767, 4095)
_KEPT: Final = (64, 48, 40, 32, 24, 16, 12, 8, 6, 4, 2, 1)
# Pixels of a side of a head in the overview.
_THUMB: Final = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Packed:
    """Weights of all heads as text.

    Attributes:
        steps: weights are whole numbers of 1 / steps.
        kept: weights of each query; all of them where it is the number of tokens.
        heads: of each head, layer by layer: S · kept weights; unless all are kept, S · kept numbers of keys, each the
            difference to the one before, and S sums of what was left out. None where a head is gone.
    """

    steps: int
    kept: int
    heads: tuple[str | None, ...]


def packed(found: Attention, signs: Mapping[Any, Sequence[str]]) -> dict[str, Any]:
    """Return what the program of the page reads.

    Args:
        found: what is shown.
        signs: of each kind of head its sign and what it says.
    """
    layers, heads, count, _ = found.weights.shape
    weights = pack_weights(found.weights, [one.kind == "pruned" for one in found.heads])
    # Darker from small weights on; the largest of a tile, so that thin diagonals stay.
    pooled = F.adaptive_max_pool2d(found.weights.sqrt(), min(count, _THUMB))
    thumbs = _text((pooled * 255.0).round().to(torch.uint8).numpy().tobytes())
    room = _ALL - len(thumbs) - sum(len(one) for one in weights.heads if one is not None)
    vectors, steps = _vectors(found, room)
    return {
        "tokens": found.tokens,
        "segments": found.segments,
        "special": [int(one) for one in found.special],
        "layers": layers,
        "heads": heads,
        "size": found.queries.shape[-1],
        "causal": found.causal,
        "positions": found.positions,
        "signs": signs,
        "scores": [list(dataclasses.astuple(one)[2:]) for one in found.heads],
        "names": [field.name for field in dataclasses.fields(found.heads[0])][2:],
        "thumb": min(count, _THUMB),
        "thumbs": thumbs,
        "steps": weights.steps,
        "kept": weights.kept,
        "weights": weights.heads,
        "vectors": vectors,
        "vector_steps": steps,
        "chosen": _start(found),
    }


def pack_weights(weights: Tensor, gone: Sequence[bool]) -> Packed:
    """Pack the weights of all heads as finely as fits.

    Args:
        weights: (L, A, S, S), from 0 to 1.
        gone: L · A values, true where a head is pruned.
    """
    flat = weights.flatten(0, 1)
    count = flat.shape[-1]
    ways = [(count, steps) for steps in _STEPS] if count <= _EXACT else []
    ways += [(kept, 4095) for kept in _KEPT if kept < count]
    for kept, steps in ways:
        made = _fitting(flat, gone, kept, steps)
        if made is not None:
            break
    # The last way is the shortest there is, so it is taken even if it is too long.
    return Packed(steps=steps, kept=kept, heads=made or tuple(_packed_heads(flat, gone, kept, steps)))


def _fitting(flat: Tensor, gone: Sequence[bool], kept: int, steps: int) -> tuple[str | None, ...] | None:
    made, length = [], 0
    for one in _packed_heads(flat, gone, kept, steps):
        made.append(one)
        length += len(one or "")
        if length > _WEIGHTS:
            return None
    return tuple(made)


def _packed_heads(flat: Tensor, gone: Sequence[bool], kept: int, steps: int) -> Iterable[str | None]:
    for head, pruned in zip(flat, gone, strict=True):
        if pruned:
            yield None
        elif kept == head.shape[-1]:
            yield _text(_two_bytes(_rounded(head, steps)))
        else:
            places = head.topk(kept).indices.sort().values  # (S, kept)
            values = head.gather(1, places)
            distances = places.diff(dim=1, prepend=torch.zeros(len(head), 1, dtype=torch.int64))
            lost = _rounded(head.sum(-1) - values.sum(-1), 65535)
            yield _text(b"".join(map(_two_bytes, (_rounded(values, steps), distances.numpy().astype(np.uint16), lost))))


def _vectors(found: Attention, room: int) -> tuple[list[dict[str, Any] | None], int]:
    """Return queries, keys and distances of as many layers as fit, None for the others, and their steps.

    Args:
        found: what is shown.
        room: characters that they may have.
    """
    layers = found.queries.shape[0]
    first = _start(found)[0]
    for steps in _VECTOR_STEPS:
        made: list[dict[str, Any] | None] = [None] * layers
        left = room
        for layer in sorted(range(layers), key=lambda one: (one != first, one)):
            one = _layer_vectors(found, layer, steps)
            left -= sum(len(text) for text in (*one["heads"], one["distances"]) if text is not None)
            if left < 0:
                break
            made[layer] = one
        if None not in made:
            break
    return made, steps


def _layer_vectors(found: Attention, layer: int, steps: int) -> dict[str, Any]:
    """Return of each head (2, S, D) queries and keys, and of the layer (2S - 1, D) distances, with their scales."""
    both = torch.stack([found.queries[layer], found.keys[layer]], dim=1)  # (A, 2, S, D)
    heads = found.heads[layer * len(both) : (layer + 1) * len(both)]
    scaled = [_scaled(one, steps) for one in both]
    near = None if found.distances is None else _scaled(found.distances[layer], steps)
    return {
        "scales": [scale for scale, _ in scaled],
        "heads": [None if one.kind == "pruned" else text for one, (_, text) in zip(heads, scaled, strict=True)],
        "scale": None if near is None else near[0],
        "distances": None if near is None else near[1],
    }


def _start(found: Attention) -> list[int]:
    """Return layer and head that a page opens with: the chosen ones, else the most decided head."""
    heads = [one for one in found.heads if one.kind != "pruned" and found.layer in (None, one.layer)]
    if found.layer is not None and found.head is not None:
        return [found.layer, found.head]
    best = max(heads, key=lambda one: (one.kind not in ("broad", "mixed"), one.score or 0.0))
    return [best.layer, best.head]


def _scaled(values: Tensor, steps: int) -> tuple[float, str]:
    """Return numbers as whole ones of two bytes with 32768 for zero, and what one of them is worth."""
    scale = max(float(values.abs().max()), 1e-30) / steps
    return scale, _text(_two_bytes(((values / scale).round() + 32768.0).numpy().astype(np.uint16)))


def _rounded(values: Tensor, steps: int) -> Words:
    rounded: Words = (values.clamp(0.0, 1.0).double() * steps).round().numpy().astype(np.uint16)
    return rounded


def _two_bytes(values: Words) -> bytes:
    """Return all low bytes, then all high ones, which is shorter when compressed."""
    return (values & 255).astype(np.uint8).tobytes() + (values >> 8).astype(np.uint8).tobytes()


def _text(values: bytes) -> str:
    return base64.b64encode(zlib.compress(values, 6)).decode("ascii")
